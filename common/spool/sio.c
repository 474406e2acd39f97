/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/sv.h"
#include "common/spool/sio.h"

#define IOV_AT_ONCE 1024 /* IOV_MAX on Linux and the BSDs */

/* The folders of doc/spool.md. */
static const char *const folders[] = {
	"segments", "large", "events", "checkpoint", "offsets", "intent",
	"corrupt",
};

void
sio_free(struct sio **s)
{
	if (*s != NULL)
		(*s)->ops->destroy(*s);
	*s = NULL;
}

struct sio_file *
sio_open(struct sio *s, const char *path, unsigned flags)
{
	struct sio_file *f = calloc(1, sizeof(*f));

	if (f == NULL) {
		mem_failed(sizeof(*f));
		return NULL;
	}
	f->sio = s;
	f->fd = -1;
	if (s->ops->open(s, path, flags, f) != 0) {
		free(f);
		return NULL;
	}
	return f;
}

void
sio_close(struct sio_file **fp)
{
	struct sio_file *f = *fp;

	*fp = NULL;
	if (f == NULL)
		return;
	f->sio->ops->close(f);
	free(f);
}

int
sio_fd(const struct sio_file *f)
{
	return f->fd;
}

ssize_t
sio_pread(struct sio_file *f, void *p, size_t n, uint64_t at)
{
	return f->sio->ops->pread(f, p, n, at);
}

ssize_t
sio_pwritev(struct sio_file *f, const struct iovec *iov, int n, uint64_t at)
{
	return f->sio->ops->pwritev(f, iov, n, at);
}

/* Moves the vector over done bytes; returns the entries left behind. */
static size_t
iov_advance(struct iovec *iov, size_t n, size_t done)
{
	size_t i = 0;

	while (i < n && done >= iov[i].iov_len)
		done -= iov[i++].iov_len;
	if (i < n && done > 0) {
		iov[i].iov_base = (char *)iov[i].iov_base + done;
		iov[i].iov_len -= done;
	}
	return i;
}

int
sio_write_all(struct sio_file *f, struct iovec *iov, size_t n, uint64_t at)
{
	while (n > 0) {
		size_t now = n < IOV_AT_ONCE ? n : IOV_AT_ONCE, gone;
		ssize_t got = sio_pwritev(f, iov, (int)now, at);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		gone = iov_advance(iov, n, (size_t)got);
		if (got == 0 && gone == 0) {
			errno = ENOSPC;
			return -1;
		}
		at += (uint64_t)got;
		iov += gone;
		n -= gone;
	}
	return 0;
}

int
sio_pwrite(struct sio_file *f, const void *p, size_t n, uint64_t at)
{
	struct iovec iov = { .iov_len = n };

	memcpy(&iov.iov_base, &p, sizeof(p));
	return sio_write_all(f, &iov, 1, at);
}

ssize_t
sio_read_all(struct sio_file *f, void *p, size_t n, uint64_t at)
{
	size_t done = 0;

	while (done < n) {
		ssize_t got = sio_pread(f, (char *)p + done, n - done,
		    at + done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

int
sio_ftruncate(struct sio_file *f, uint64_t size)
{
	return f->sio->ops->ftruncate(f, size);
}

int
sio_fdatasync(struct sio_file *f)
{
	return f->sio->ops->fdatasync(f);
}

int
sio_allocate(struct sio_file *f, uint64_t size)
{
	return f->sio->ops->allocate(f, size);
}

int
sio_size(struct sio_file *f, uint64_t *size_r)
{
	return f->sio->ops->size(f, size_r);
}

int
sio_fsync_dir(struct sio *s, const char *folder)
{
	return s->ops->fsync_dir(s, folder);
}

int
sio_rename(struct sio *s, const char *from, const char *to)
{
	return s->ops->rename(s, from, to);
}

int
sio_unlink(struct sio *s, const char *path)
{
	return s->ops->unlink(s, path);
}

int
sio_mkdir(struct sio *s, const char *path)
{
	return s->ops->mkdir(s, path);
}

int
sio_list(struct sio *s, const char *folder, sio_list_fn *fn, void *arg)
{
	return s->ops->list(s, folder, fn, arg);
}

int
sio_space(struct sio *s, struct sio_space *space_r)
{
	return s->ops->space(s, space_r);
}

int
sio_spool_create(struct sio *s)
{
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		if (sio_mkdir(s, folders[i]) != 0 && errno != EEXIST)
			return -1;
	}
	return sio_fsync_dir(s, "");
}

const char *
sio_path(char out[SIO_PATH_MAX], const char *folder, uint64_t number,
    const char *suffix)
{
	int n = snprintf(out, SIO_PATH_MAX, "%s%s%010llu%s", folder,
	    folder[0] == '\0' ? "" : "/", (unsigned long long)number, suffix);

	if (n < 0 || n >= SIO_PATH_MAX)
		abort(); /* folder and suffix are constants */
	return out;
}

bool
sio_number(const char *name, const char *suffix, uint64_t *number_r)
{
	struct sv v = sv_from(name), tail = sv_from(suffix);

	if (v.n < tail.n + 10 || !sv_eq(sv_from_at(v, v.n - tail.n), tail))
		return false;
	return sv_to_u64(sv_head(v, v.n - tail.n), UINT64_MAX, number_r);
}

struct numbers {
	const char *suffix;
	uint64_t *list;
	size_t n, size;
};

static int
number_add(const char *name, void *arg)
{
	struct numbers *l = arg;
	uint64_t number;

	if (!sio_number(name, l->suffix, &number))
		return 0;
	if (l->n == l->size) {
		size_t size = l->size == 0 ? 16 : l->size * 2;
		uint64_t *list = reallocarray(l->list, size, sizeof(*list));

		if (list == NULL)
			return -1;
		l->list = list;
		l->size = size;
	}
	l->list[l->n++] = number;
	return 0;
}

static int
number_cmp(const void *a, const void *b)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return (x > y) - (x < y);
}

int
sio_numbers(struct sio *s, const char *folder, const char *suffix,
    uint64_t **list_r, size_t *n_r)
{
	struct numbers l = { .suffix = suffix };

	if (sio_list(s, folder, number_add, &l) != 0) {
		free(l.list);
		return -1;
	}
	if (l.n > 0)
		qsort(l.list, l.n, sizeof(*l.list), number_cmp);
	*list_r = l.list;
	*n_r = l.n;
	return 0;
}
