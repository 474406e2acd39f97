/* SPDX-License-Identifier: ISC */
/*
 * What an operator looks on at: the lines of one session, mirrored to qmgr.
 * They may cost the mail nothing: more than BUDGET_BYTES in a second, or what
 * qmgr does not take, is left out and counted.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/str.h"
#include "common/sys/clock.h"
#include "delivery/smtp.h"

#define BUDGET_BYTES ((int64_t)256 << 10)
#define LINE_COST    16               /* of a line, besides its bytes */
#define LINE_BYTES   1000             /* longer ones are cut */
#define FRAME_BYTES  ((size_t)16384)  /* of a TRACE, about */
#define BACKLOG_MAX  ((size_t)1 << 20)

struct trace {
	uint64_t session;
	bool data;              /* the message as well */
	int64_t budget;
	struct mono filled;
	uint32_t lost;          /* lines since the last frame */
	uint64_t body;          /* bytes of the message so far */
	char part[LINE_BYTES];  /* the beginning of a line of it */
	size_t npart;
	struct buf lines;       /* not sent yet */
};

/* ---- frames ---- */

static void
frame_send(struct session *s, bool end)
{
	struct trace *t = s->trace;
	struct ipc_trace m = { .session = t->session, .end = end,
		.lost = t->lost, .text = buf_sv(&t->lines) };

	if (m.text.n == 0 && !end)
		return;
	if (s->w->qmgr != NULL)
		ipc_send_trace(s->w->qmgr, &m);
	t->lost = 0;
	buf_clear(&t->lines);
}

static bool
budget_takes(struct session *s, size_t n)
{
	struct trace *t = s->trace;
	struct mono now = clock_mono();
	int64_t more = mono_diff_ms(now, t->filled) * (BUDGET_BYTES / 1000);

	if (more > 0) {
		t->filled = now;
		t->budget = t->budget + more > BUDGET_BYTES ? BUDGET_BYTES :
		    t->budget + more;
	}
	if (s->w->qmgr == NULL || t->budget < (int64_t)n ||
	    chan_backlog(s->w->qmgr) > BACKLOG_MAX)
		return false;
	t->budget -= (int64_t)n;
	return true;
}

/* mark: ">>> " and so on, four bytes. */
static void
line_add(struct session *s, const char *mark, struct sv line)
{
	struct trace *t = s->trace;

	if (line.n > 0 && line.p[line.n - 1] == '\r')
		line.n--;
	line = sv_head(line, LINE_BYTES);
	if (!budget_takes(s, line.n + LINE_COST) ||
	    buf_reserve(&t->lines, line.n + 5) == NULL ||
	    buf_add(&t->lines, mark, 4) != 0 ||
	    buf_add_sv(&t->lines, line) != 0 ||
	    buf_add(&t->lines, "\n", 1) != 0) {
		t->lost++;
		return;
	}
	if (buf_len(&t->lines) >= FRAME_BYTES)
		frame_send(s, false);
}

/* Whole lines. */
static void
lines_add(struct session *s, const char *mark, struct sv bytes)
{
	while (bytes.n > 0)
		line_add(s, mark, sv_cut(&bytes, '\n'));
}

/* Of the message: the last line may go on with the next piece. */
static void
body_add(struct session *s, struct sv bytes)
{
	struct trace *t = s->trace;

	while (bytes.n > 0) {
		bool whole = sv_find(bytes, '\n') >= 0;
		struct sv v = sv_cut(&bytes, '\n');

		v = sv_head(v, sizeof(t->part) - t->npart);
		if (v.n > 0)
			memcpy(t->part + t->npart, v.p, v.n);
		t->npart += v.n;
		if (!whole)
			return;
		line_add(s, "<<< ", sv_make(t->part, t->npart));
		t->npart = 0;
	}
}

/* ---- what is seen ---- */

void
trace_begin(struct session *s, bool data)
{
	s->trace = calloc(1, sizeof(*s->trace));
	if (s->trace == NULL)
		return;
	s->trace->session = s->id;
	s->trace->data = data;
	s->trace->budget = BUDGET_BYTES;
	s->trace->filled = clock_mono();
	buf_init(&s->trace->lines, FRAME_BYTES + LINE_BYTES + 64);
}

void
trace_event(struct session *s, const char *fmt, ...)
{
	char text[LINE_BYTES];
	struct str out;
	va_list ap;

	if (s->trace == NULL)
		return;
	STR_ON(&out, text);
	va_start(ap, fmt);
	str_vaddf(&out, fmt, ap);
	va_end(ap);
	line_add(s, "--- ", str_sv(&out));
	frame_send(s, false);
}

void
trace_heard(struct session *s, struct sv bytes)
{
	if (s->trace == NULL)
		return;
	lines_add(s, ">>> ", bytes);
	frame_send(s, false);
}

void
trace_said(struct session *s, enum smtp_said what, struct sv bytes)
{
	struct trace *t = s->trace;

	if (t == NULL)
		return;
	if (what == SAID_COMMAND)
		lines_add(s, "<<< ", bytes);
	else if (t->data)
		body_add(s, bytes);
	else
		t->body += bytes.n;
	if (what == SAID_DOT && !t->data) {
		trace_event(s, "%llu bytes of the message, its last line is "
		    "the dot", (unsigned long long)t->body);
		t->body = 0;
	}
	frame_send(s, false);
}

void
trace_end(struct session *s, bool tell)
{
	if (s->trace == NULL)
		return;
	if (tell)
		frame_send(s, true);
	buf_fini(&s->trace->lines);
	free(s->trace);
	s->trace = NULL;
}
