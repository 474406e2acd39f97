/* SPDX-License-Identifier: ISC */
/*
 * A whole session: the first byte is the size of segments, the second what
 * the committer answers, the rest is what the client sends. Oracle: every
 * reply is well formed; 354 only as often as there were MAIL and RCPT with
 * 250 before it; log lines are plain text; what is committed decodes; nothing
 * is left over.
 */
#include <stdarg.h>
#include <stdio.h>

#include "common/base/str.h"
#include "common/sys/log.h"
#include "tests/unit/smtpd/harness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CONF HARNESS_CONF "<source 0/0>\nalways-allow-relaying yes\n" \
	"process-x-virtual-mta yes\nprocess-x-job yes\n" \
	"process-x-envid yes\nadd-date-header override\n" \
	"add-message-id-header yes\nmax-message-size 2000\n" \
	"log-commands yes\nlog-connections yes\n" \
	"max-errors-per-session 0\n</source>\n"

/* ---- the log: instead of common/sys/log.c, to look at each line ---- */

static void line_check(const char *fmt, va_list ap)
    __attribute__((format(printf, 1, 0)));

static void
line_check(const char *fmt, va_list ap)
{
	char line[8192];
	int n = vsnprintf(line, sizeof(line), fmt, ap);

	/* no line break, no terminal escape, nothing that is not ASCII */
	for (int i = 0; i < n && i < (int)sizeof(line) - 1; i++) {
		if (line[i] < ' ' || line[i] > '~')
			abort();
	}
}

#define LOG_STUB(name)                  \
	void name(const char *fmt, ...) \
	{                               \
		va_list ap;             \
		va_start(ap, fmt);      \
		line_check(fmt, ap);    \
		va_end(ap);             \
	}
LOG_STUB(log_debug)
LOG_STUB(log_info)
LOG_STUB(log_warn)
LOG_STUB(log_warn_errno)

void
fatal(const char *fmt, ...)
{
	(void)fmt;
	abort();
}

void
fatal_errno(const char *fmt, ...)
{
	(void)fmt;
	abort();
}

const char *
log_safe(struct sv v, char *out, size_t out_size)
{
	struct str s;

	str_init(&s, out, out_size);
	str_add_escaped(&s, v);
	return out;
}

static void
reply_check(struct sv line)
{
	if (line.n < 4 || line.n > 510 || line.p[0] < '2' ||
	    line.p[0] > '5' || !ascii_is_digit(line.p[1]) ||
	    !ascii_is_digit(line.p[2]))
		abort();
	for (size_t i = 0; i < line.n; i++) {
		if (line.p[i] < ' ' || line.p[i] > '~')
			abort();
	}
}

static void
replies_check(struct harness *h, size_t submitted)
{
	size_t mails = 0, rcpts = 0, data = 0, queued = 0;
	char mem[600];

	for (;;) {
		struct sv line = harness_reply(h, mem, sizeof(mem));

		if (line.n == 0)
			break;
		reply_check(line);
		mails += sv_starts(line, SV("250 2.1.0"));
		rcpts += sv_starts(line, SV("250 2.1.5"));
		data += sv_starts(line, SV("354"));
		queued += sv_starts(line, SV("250 2.0.0 queued"));
	}
	if (buf_len(&h->in) != 0 || data > mails || data > rcpts ||
	    queued > data || queued > submitted)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct harness h;
	struct arena a;
	struct envelope e;

	if (size < 3 || size > 8192)
		return 0;
	harness_init(&h, CONF);
	h.result = (enum commit_result)(data[1] % COMMIT_RESULTS);
	harness_connect(&h, "192.0.2.1");
	harness_send(&h, sv_make(data + 2, size - 2),
	    data[0] == 0 ? size : data[0]);
	replies_check(&h, h.committer.submitted);
	arena_init(&a, 1u << 20);
	if (buf_len(&h.committer.env) > 0 &&
	    !envelope_decode(buf_sv(&h.committer.env), &a, &e))
		abort();
	arena_fini(&a);
	harness_fini(&h);
	if (h.srv.nsessions != 0 || h.srv.pool.nused != 0 ||
	    h.committer.nlarge != 0)
		abort();
	return 0;
}
