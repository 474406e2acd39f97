/* SPDX-License-Identifier: ISC */
#include <sys/stat.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "acct/out.h"
#include "common/base/crc32c.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/sys/log.h"

#define BUF_CAP   (1u << 20)   /* a record has at most 200 KiB */
#define BUF_WRITE (256u << 10) /* handed to the system from here on */
#define DATE_LEN  10           /* YYYY-MM-DD */
#define SEQ_LEN   4            /* NNNN, more when there are more */
#define SEQ_MAX   99999999u

/* ---- set up ---- */

static bool
names_set(struct out *o, struct sv path)
{
	ptrdiff_t slash = sv_rfind(path, '/'), dot;
	struct sv base = sv_from_at(path, (size_t)(slash + 1)), ext = SV("");

	dot = sv_rfind(base, '.');
	if (dot > 0) {
		ext = sv_from_at(base, (size_t)dot);
		base = sv_head(base, (size_t)dot);
	}
	o->dir = sv_dup(sv_head(path, (size_t)(slash < 0 ? 0 : slash)));
	return base.n > 0 && sv_to_cstr(base, o->stem, sizeof(o->stem)) &&
	    sv_to_cstr(ext, o->ext, sizeof(o->ext));
}

bool
out_init(struct out *o, int dirfd, const struct conf_acct *c,
    const char **why_r)
{
	struct sv unknown;
	struct buf head;

	*o = (struct out){ .dirfd = dirfd, .fd = -1 };
	buf_init(&o->buf, BUF_CAP);
	*why_r = "pipes are not supported yet: nothing is written to it";
	if (sv_starts(c->path, SV("|")))
		return false;
	*why_r = "this is no usable file name";
	if (!names_set(o, c->path))
		return false;
	o->move_to = sv_dup(c->move_to);
	o->user_string = sv_dup(c->user_string);
	o->records = c->records & ACCT_ALL;
	o->max_size_bytes = c->max_size_bytes;
	o->delete_after_ms = c->delete_after_ms;
	o->move_interval_ms = c->move_interval_ms;
	o->mode = c->world_readable ? 0644 : 0640;
	o->sync = c->sync;
	o->style.iso_times = c->iso_times;
	o->style.user_string = sv_from(o->user_string);
	acct_columns_make(&o->columns, o->records, &c->record_fields,
	    &unknown);
	if (unknown.n > 0)
		log_warn("%s%s: record-fields: there is no column \"%.*s\"",
		    o->stem, o->ext, SV_FMT(unknown));
	buf_init(&head, BUF_CAP);
	if (acct_header_add(&head, &o->columns) != 0)
		mem_exhausted();
	o->header_crc = crc32c(0, buf_data(&head), buf_len(&head));
	buf_fini(&head);
	return true;
}

void
out_fini(struct out *o)
{
	if (o->fd >= 0)
		close(o->fd);
	o->fd = -1;
	buf_fini(&o->buf);
	free(o->dir);
	free(o->move_to);
	free(o->user_string);
	o->dir = o->move_to = o->user_string = NULL;
}

/* ---- names ---- */

/* Is this one of our series? Its date and number. */
static bool
name_parse(const struct out *o, struct sv name, struct sv *date_r,
    uint64_t *seq_r)
{
	struct sv stem = sv_from(o->stem), ext = sv_from(o->ext), rest;

	if (!sv_starts(name, stem) || name.n < stem.n + ext.n +
	    DATE_LEN + SEQ_LEN + 2)
		return false;
	rest = sv_from_at(name, stem.n);
	if (!sv_eq(sv_from_at(rest, rest.n - ext.n), ext))
		return false;
	rest = sv_head(rest, rest.n - ext.n);
	if (rest.p[0] != '-' || rest.p[DATE_LEN + 1] != '-')
		return false;
	*date_r = sv_head(sv_from_at(rest, 1), DATE_LEN);
	for (size_t i = 0; i < DATE_LEN; i++) {
		if (i == 4 || i == 7 ? date_r->p[i] != '-' :
		    !ascii_is_digit(date_r->p[i]))
			return false;
	}
	return sv_to_u64(sv_from_at(rest, DATE_LEN + 2), SEQ_MAX, seq_r);
}

static bool
mark_is_of(const struct out *o, const char *today)
{
	struct sv date;
	uint64_t seq;

	return name_parse(o, sv_from(o->live.name), &date, &seq) &&
	    sv_eq(date, sv_from(today));
}

static DIR *
dir_open(const struct out *o)
{
	int fd = openat(o->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (d == NULL && fd >= 0)
		close(fd);
	return d;
}

/* Writes the name behind all of this day that there are or were. */
static int
name_next(const struct out *o, const char *today, char out[OUT_NAME_MAX])
{
	uint64_t next = 0, seq;
	struct dirent *e;
	struct sv date;
	struct str s;
	DIR *d = dir_open(o);

	if (d == NULL)
		return -1;
	while ((e = readdir(d)) != NULL) {
		if (name_parse(o, sv_from(e->d_name), &date, &seq) &&
		    sv_eq(date, sv_from(today)) && seq >= next)
			next = seq + 1;
	}
	closedir(d);
	/* it may have been moved away */
	if (name_parse(o, sv_from(o->live.name), &date, &seq) &&
	    sv_eq(date, sv_from(today)) && seq >= next)
		next = seq + 1;
	str_init(&s, out, OUT_NAME_MAX);
	str_addf(&s, "%s-%s-%04llu%s", o->stem, today,
	    (unsigned long long)next, o->ext);
	if (s.truncated) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return 0;
}

/* ---- the open file ---- */

static void
file_close(struct out *o)
{
	if (o->fd >= 0)
		close(o->fd);
	o->fd = -1;
	o->dirty = false;
}

static int
file_open(struct out *o, int flags)
{
	file_close(o);
	o->fd = openat(o->dirfd, o->live.name, O_WRONLY | O_CLOEXEC |
	    O_NOFOLLOW | flags, o->mode);
	return o->fd < 0 ? -1 : 0;
}

/* The saved file at its saved length. One that somebody took away or cut
 * shorter is left alone: the next record begins a new one. */
int
out_recover(struct out *o)
{
	struct stat st;

	file_close(o);
	buf_clear(&o->buf);
	o->live = o->saved;
	if (!o->live.open || o->live.len == 0)
		return 0; /* created, or emptied, with the first record */
	if (file_open(o, 0) != 0) {
		if (errno != ENOENT)
			return -1;
		log_warn("%s is gone: going on in a new file", o->live.name);
		o->live.open = false;
		return 0;
	}
	if (fstat(o->fd, &st) != 0)
		return -1;
	if ((uint64_t)st.st_size < o->live.len) {
		log_warn("%s is shorter than it was: going on in a new file",
		    o->live.name);
		out_end(o);
		return 0;
	}
	if ((uint64_t)st.st_size > o->live.len &&
	    ftruncate(o->fd, (off_t)o->live.len) != 0)
		return -1;
	o->dirty = true;
	return 0;
}

static bool
is_to_move(const struct out *o, struct wall now)
{
	return o->move_to[0] != '\0' && o->move_interval_ms != CONF_NEVER &&
	    (now.us - (int64_t)o->live.begun_us) / US_PER_MS >=
	    o->move_interval_ms;
}

bool
out_must_begin(const struct out *o, const char *today, struct wall now)
{
	if (!o->live.open || o->live.header_crc != o->header_crc ||
	    !mark_is_of(o, today))
		return true;
	if (o->live.len == 0)
		return false;
	return (o->max_size_bytes > 0 && o->live.len >= o->max_size_bytes) ||
	    is_to_move(o, now);
}

bool
out_must_end(const struct out *o, const char *today, struct wall now)
{
	return o->live.open && o->live.len > 0 &&
	    (!mark_is_of(o, today) || is_to_move(o, now));
}

bool
out_is_called(const struct out *o, struct sv name)
{
	ptrdiff_t slash = sv_rfind(name, '/');
	struct sv stem = sv_from(o->stem);

	if (slash >= 0 && !sv_eq(sv_head(name, (size_t)slash),
	    sv_from(o->dir)))
		return false;
	name = sv_from_at(name, (size_t)(slash + 1));
	return name.n == 0 || sv_eq(name, sv_from(o->live.name)) ||
	    (sv_starts(name, stem) &&
	    sv_eq(sv_from_at(name, stem.n), sv_from(o->ext)));
}

int
out_begin(struct out *o, const char *today, struct wall now)
{
	struct out_mark m = {
		.open = true, .begun_us = (uint64_t)now.us,
		.header_crc = o->header_crc,
	};

	if (name_next(o, today, m.name) != 0)
		return -1;
	file_close(o);
	o->live = m;
	return 0;
}

void
out_end(struct out *o)
{
	file_close(o);
	o->live.open = false;
}

/* What stands under this name has never counted: cut to nothing. */
static int
file_create(struct out *o)
{
	if (file_open(o, O_CREAT | O_TRUNC) != 0)
		return -1;
	if (fsync(o->dirfd) != 0) /* the name is durable before the offset */
		return -1;
	if (acct_header_add(&o->buf, &o->columns) != 0) {
		errno = ENOMEM;
		return -1;
	}
	o->live.len = buf_len(&o->buf);
	return 0;
}

int
out_add(struct out *o, const struct acct_record *r)
{
	size_t before;

	if (o->fd < 0 && file_create(o) != 0)
		return -1;
	if (buf_len(&o->buf) >= BUF_WRITE && out_write(o) != 0)
		return -1;
	before = buf_len(&o->buf);
	if (acct_record_add(&o->buf, &o->columns, &o->style, r) != 0) {
		errno = ENOMEM;
		return -1;
	}
	o->live.len += buf_len(&o->buf) - before;
	return 0;
}

int
out_write(struct out *o)
{
	while (buf_len(&o->buf) > 0) {
		uint64_t at = o->live.len - buf_len(&o->buf);
		ssize_t n = pwrite(o->fd, buf_data(&o->buf),
		    buf_len(&o->buf), (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			errno = n == 0 ? EIO : errno;
			return -1;
		}
		buf_consume(&o->buf, (size_t)n);
		o->dirty = true;
	}
	return 0;
}

int
out_sync(struct out *o)
{
	if (out_write(o) != 0)
		return -1;
	if (o->dirty && fdatasync(o->fd) != 0)
		return -1;
	o->dirty = false;
	return 0;
}

/* ---- finished files ---- */

static void
file_move(struct out *o, const char *name)
{
	struct sv to = sv_from(o->move_to), dir = sv_from(o->dir);
	int dirfd = AT_FDCWD;
	char path[4096];
	struct str s;

	/* below the log directory it is reachable without a name outside */
	if (sv_starts(to, dir) && to.n > dir.n + 1 && to.p[dir.n] == '/') {
		to = sv_from_at(to, dir.n + 1);
		dirfd = o->dirfd;
	}
	STR_ON(&s, path);
	str_add(&s, to);
	str_addc(&s, '/');
	str_adds(&s, name);
	if (!s.truncated && renameat2(o->dirfd, name, dirfd, path,
	    RENAME_NOREPLACE) == 0)
		return;
	if (!o->move_warned)
		log_warn_errno("%s cannot be moved to %s (a directory below "
		    "that of the acct-file always can be reached)", name,
		    o->move_to);
	o->move_warned = true;
}

static void
file_delete(struct out *o, const char *name, struct wall now)
{
	struct stat st;
	int64_t age_ms;

	if (fstatat(o->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
	    !S_ISREG(st.st_mode))
		return;
	age_ms = (now.us / US_PER_SEC - (int64_t)st.st_mtim.tv_sec) * 1000;
	if (age_ms < o->delete_after_ms)
		return;
	if (unlinkat(o->dirfd, name, 0) == 0)
		log_info("%s deleted: delete-after", name);
	else
		log_warn_errno("%s cannot be deleted", name);
}

void
out_tidy(struct out *o, struct wall now)
{
	bool move = o->move_to[0] != '\0';
	struct dirent *e;
	struct sv date;
	uint64_t seq;
	DIR *d;

	if (!move && o->delete_after_ms == CONF_NEVER)
		return;
	d = dir_open(o);
	while (d != NULL && (e = readdir(d)) != NULL) {
		if (!name_parse(o, sv_from(e->d_name), &date, &seq) ||
		    (strcmp(e->d_name, o->live.name) == 0 &&
		    (o->live.open || o->saved.open)))
			continue;
		if (move)
			file_move(o, e->d_name);
		else
			file_delete(o, e->d_name, now);
	}
	if (d != NULL)
		closedir(d);
}
