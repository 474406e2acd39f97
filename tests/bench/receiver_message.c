/* SPDX-License-Identifier: ISC */
/*
 * A message on its way in: dots, checksum, counting, the ledger, the mailbox
 * directory.
 */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/crc32c.h"
#include "tests/bench/receiver.h"

static uint64_t mbox_number;

/* The value of a header field that stands on one line; empty if none. */
static struct sv
header_find(struct sv header, struct sv name)
{
	while (header.p != NULL && header.n > 0) {
		struct sv line = sv_cut(&header, '\n');

		if (sv_istarts(line, name) && line.n > name.n &&
		    line.p[name.n] == ':') {
			line = sv_from_at(line, name.n + 1);
			if (line.n > 0 && line.p[line.n - 1] == '\r')
				line.n--;
			return sv_trim(line);
		}
	}
	return sv_make("", 0);
}

static const char *
checksum_word(const struct session *s, struct sv sum, struct sv id)
{
	char hex[9];

	if (sum.n == 0) {
		rv.totals.no_checksum++;
		return "none";
	}
	snprintf(hex, sizeof(hex), "%08x", s->crc);
	if (sv_ieq(sum, sv_from(hex)))
		return "ok";
	rv.totals.bad_checksum++;
	warnx("message %.*s: body has checksum %s, its header says %.*s",
	    SV_FMT(id), hex, SV_FMT(sum));
	return "bad";
}

static void
ledger_add(const struct session *s, struct sv id, const char *rcpt,
    const char *sum_word)
{
	struct sv sent;

	if (rv.ledger.fd < 0)
		return;
	kit_must(buf_addf(&rv.ledger.lines, "%.*s %s %08x %s %jd.%06jd",
	    SV_FMT(id), rcpt, s->crc, sum_word,
	    (intmax_t)(rv.now_wall.us / US_PER_SEC),
	    (intmax_t)(rv.now_wall.us % US_PER_SEC)));
	sent = header_find(buf_sv(&s->header), SV("X-Bench-Time"));
	if (sent.n > 0)
		kit_must(buf_addf(&rv.ledger.lines, " %.*s", SV_FMT(sent)));
	kit_must(buf_add(&rv.ledger.lines, "\n", 1));
}

/* Goes on behind the highest number in the directory. */
void
mbox_open(void)
{
	struct dirent *e;
	uint64_t n;
	DIR *d;

	if (mkdir(opt.mbox_dir, 0777) != 0 && errno != EEXIST)
		err(111, "%s", opt.mbox_dir);
	d = opendir(opt.mbox_dir);
	if (d == NULL)
		err(111, "%s", opt.mbox_dir);
	while ((e = readdir(d)) != NULL) {
		struct sv name = sv_from(e->d_name);

		if (sv_iends(name, SV(".eml")) &&
		    sv_to_u64(sv_head(name, name.n - 4), INT64_MAX, &n) &&
		    n > mbox_number)
			mbox_number = n;
	}
	closedir(d);
}

/* Writes DIR/N.eml under another name first, so that nobody sees half. */
static void
mbox_write(const struct session *s)
{
	char path[4096], temp[4096];
	FILE *f;

	mbox_number++;
	snprintf(path, sizeof(path), "%s/%ju.eml", opt.mbox_dir, mbox_number);
	snprintf(temp, sizeof(temp), "%s/.%ju.tmp", opt.mbox_dir, mbox_number);
	f = fopen(temp, "we");
	if (f == NULL) {
		warn("%s", temp);
		return;
	}
	fwrite(buf_data(&s->args), 1, buf_len(&s->args), f);
	fwrite(buf_data(&s->whole), 1, buf_len(&s->whole), f);
	if (fclose(f) != 0 || rename(temp, path) != 0)
		warn("%s", path);
}

static void
count_recipients(const struct session *s, struct sv id, const char *sum_word)
{
	const char *r = (const char *)buf_data(&s->rcpts);
	uint64_t id_hash = idset_hash(7, id);

	if (id.n == 0)
		rv.totals.no_id++;
	else
		idset_add(&rv.ids, id_hash);
	for (size_t i = 0; i < s->nrcpts; i++, r += strlen(r) + 1) {
		struct sv rcpt = sv_from(r);

		rv.totals.recipients++;
		if (id.n > 0 &&
		    idset_add(&rv.pairs, idset_hash(id_hash, rcpt)) > 1)
			rv.totals.duplicates++;
		ledger_add(s, id.n > 0 ? id : SV("-"), r, sum_word);
	}
}

static void
message_accept(struct session *s)
{
	struct sv header = buf_sv(&s->header);
	struct sv id = header_find(header, SV("X-Bench-ID"));
	struct sv sum = header_find(header, SV("X-Bench-Sum"));

	if (rv.totals.messages++ == 0)
		rv.totals.first = rv.now_wall;
	rv.totals.last = rv.now_wall;
	rv.totals.bytes += s->bytes;
	count_recipients(s, id, checksum_word(s, sum, id));
	if (opt.mbox_dir != NULL)
		mbox_write(s);
}

static void
message_end(struct session *s)
{
	struct script_answer a;
	int said = 1;

	ask(STAGE_DOT, (const char *)buf_data(&s->rcpts), s->nrcpts, &a);
	if (s->bytes > opt.size)
		reply(s, 552, "5.3.4", "message too big");
	else
		said = obey(s, &a, 250, "2.0.0", "taken");
	if (said != 1)
		message_accept(s);
	if (said == 0)
		REPLY_OK(s, "2.0.0", "taken");
	txn_reset(s);
}

/* Takes n bytes of the message, dots already undone. */
static void
message_feed(struct session *s, const unsigned char *p, size_t n)
{
	const unsigned char *end;
	size_t before, body;

	if (n == 0)
		return;
	s->bytes += n;
	if (opt.mbox_dir != NULL && s->bytes <= opt.size)
		kit_must(buf_add(&s->whole, p, n));
	if (!s->in_header) {
		s->crc = crc32c(s->crc, p, n);
		return;
	}
	before = buf_len(&s->header);
	kit_must(buf_add(&s->header, p, n));
	if (before == 0 && n >= 2 && memcmp(p, "\r\n", 2) == 0)
		end = buf_data(&s->header) - 2;
	else
		end = memmem(buf_data(&s->header), buf_len(&s->header),
		    "\r\n\r\n", 4);
	if (end == NULL) {
		if (buf_len(&s->header) > HEADER_BYTES)
			s->in_header = false;
		return;
	}
	s->in_header = false;
	body = (size_t)(end - buf_data(&s->header)) + 4;
	s->crc = crc32c(s->crc, p + (body - before), n - (body - before));
	s->header.tail = s->header.head + body;
}

/*
 * At the start of a line that begins with a dot: 0 if more bytes are needed
 * to judge it, 3 if it ends the message (CRLF.CRLF and nothing else does), 1
 * for a dot to take away.
 */
static size_t
judge_dot(const unsigned char *p, size_t n)
{
	if (n < 2 || (n == 2 && p[1] == '\r'))
		return 0;
	return p[1] == '\r' && p[2] == '\n' ? 3 : 1;
}

/* The next dot behind CRLF at or after p[i]; n if there is none. */
static size_t
find_line_dot(const unsigned char *p, size_t i, size_t n)
{
	while (i < n) {
		const unsigned char *d = memchr(p + i, '.', n - i);

		if (d == NULL)
			return n;
		i = (size_t)(d - p);
		if (i >= 2 && p[i - 1] == '\n' && p[i - 2] == '\r')
			return i;
		i++;
	}
	return n;
}

size_t
session_data(struct session *s, const unsigned char *p, size_t n)
{
	size_t i = 0, j;

	while (i < n) {
		if (s->at_line_start && p[i] == '.') {
			size_t what = judge_dot(p + i, n - i);

			if (what == 0)
				return i;
			i += what;
			s->at_line_start = false;
			if (what == 3) {
				message_end(s);
				return i;
			}
		}
		s->at_line_start = false;
		j = find_line_dot(p, i, n);
		if (j == n && p[n - 1] == '\r')
			j--; /* judged with what follows it */
		message_feed(s, p + i, j - i);
		s->at_line_start = j >= 2 && j > i && p[j - 1] == '\n' &&
		    p[j - 2] == '\r';
		if (j < n && p[j] == '\r')
			return j;
		i = j;
	}
	return n;
}
