/* SPDX-License-Identifier: ISC */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/crc32c.h"
#include "tests/bench/loadgen.h"

#define LINE_BYTES 78 /* of a line of the pool, with CRLF */

static char *pool; /* text that bodies are cut from */
static char date[64];

/* Lines of letters that never begin with a dot, twice as long as a body may
 * be, so that one can begin at any line. */
static void
pool_make(void)
{
	static const char letters[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint64_t x = 88172645463325252; /* xorshift64, any seed but 0 */
	size_t size = 2 * POOL_BYTES;

	pool = malloc(size);
	if (pool == NULL)
		err(111, "malloc");
	for (size_t i = 0; i < size; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		pool[i] = letters[x % 64];
		if (i % LINE_BYTES == LINE_BYTES - 2)
			pool[i] = '\r';
		else if (i % LINE_BYTES == LINE_BYTES - 1)
			pool[i] = '\n';
	}
}

void
text_init(void)
{
	time_t t = time(NULL);
	struct tm tm;

	pool_make();
	gmtime_r(&t, &tm);
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S +0000", &tm);
}

/* When it was sent, for the receiver's ledger. */
static void
put_time(struct buf *b)
{
	struct wall now = kit_wall();

	kit_must(buf_addf(b, "\r\nX-Bench-Time: %jd.%06jd",
	    (intmax_t)(now.us / US_PER_SEC), (intmax_t)(now.us % US_PER_SEC)));
}

/* The header; its checksum stays blank and is written where the return value
 * points, as 8 digits. */
static size_t
put_header(struct buf *b, const struct message *m)
{
	kit_must(buf_addf(b, "From: <s%ju@%s>\r\nTo: ",
	    m->number % opt.users, opt.sender_domain));
	message_rcpt_put(b, m, 0);
	if (opt.stamp)
		put_time(b);
	kit_must(buf_addf(b, "\r\nSubject: message %ju\r\nDate: %s\r\n"
	    "Message-ID: <%s-%ju@%s>\r\nX-Bench-ID: %s-%ju\r\n"
	    "X-Bench-Sum: 00000000\r\n\r\n", m->number, date, opt.run_id,
	    m->number, opt.sender_domain, opt.run_id, m->number));
	return buf_len(b) - 12;
}

void
text_put(const struct message *m, struct buf *b, struct iovec *body_r,
    struct buf *after)
{
	const char *dot;
	char lines[160], sum[9];
	size_t begin, want, nlines, at, had = buf_len(b);
	uint32_t crc;

	at = put_header(b, m);
	nlines = (size_t)snprintf(lines, sizeof(lines),
	    "message %.60s-%ju\r\n.a line with a dot\r\n", opt.run_id,
	    m->number);
	want = buf_len(b) - had + nlines + 2;
	want = opt.size > want ? opt.size - want : 0;
	want -= want % LINE_BYTES == LINE_BYTES - 1; /* not between CR and LF */
	begin = (size_t)(m->number * 7919 % (POOL_BYTES / LINE_BYTES)) *
	    LINE_BYTES;
	*body_r = (struct iovec){ pool + begin, want };
	crc = crc32c(crc32c(0, lines, nlines), pool + begin, want);
	crc = crc32c(crc, "\r\n", 2);
	snprintf(sum, sizeof(sum), "%08x", crc);
	memcpy(b->mem + b->head + at, sum, 8);
	dot = memmem(lines, nlines, "\r\n.", 3);
	kit_must(buf_add(b, lines, (size_t)(dot - lines) + 3));
	kit_must(buf_add(b, dot + 2, nlines - (size_t)(dot - lines) - 2));
	kit_must(buf_add(after, "\r\n", 2));
}
