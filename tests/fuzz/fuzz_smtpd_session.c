/* SPDX-License-Identifier: ISC */
/*
 * A whole session. The first byte seeds the sizes of the segments, the second
 * says what the committer answers (bit 7: without header processing), the rest
 * is what the client sends; only behind DATA does it wait, as it must.
 *
 * Oracles: the same bytes in other segments give the same answers and the same
 * messages; a model with a parser of its own, which says when 250 and 354 may
 * come, how many recipients a message has and what is in it; every reply and
 * log line is well formed; what is committed decodes; nothing is left over.
 */
#include <stdio.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/logstub.h"
#include "tests/unit/smtpd/harness.h"

#define SIZE_MAX_BYTES 2000u
#define MESSAGES       64

#define CONF_PLAIN HARNESS_CONF "<source 0/0>\nalways-allow-relaying yes\n" \
	"max-message-size 2000\nmax-errors-per-session 0\n" \
	"log-commands yes\nlog-connections yes\n"
#define CONF_HEADERS CONF_PLAIN "process-x-virtual-mta yes\n" \
	"process-x-job yes\nprocess-x-envid yes\n" \
	"add-date-header override\nadd-message-id-header yes\n" \
	"pattern-list l\n"
#define ALIAS "al@x.y>" /* of two */
#define CONF_END "</source>\n" \
	"alias al@x.y b@x.y,e@x.y\n" \
	"<virtual-mta v1>\n</virtual-mta>\n<pattern-list l>\n" \
	"rcpt-to /^b/ hold\nheader Subject /a b/ <pattern-list>\n" \
	"rcpt-to /e/ vmta=v1\n</pattern-list>\nbody /x$/ vmta=v1\n" \
	"header x-job /./ hold,recipient-priority=70\nmail-from /^$/ vmta=v1\n" \
	"size >50b hold\n</pattern-list>\n"

/* ---- one run ---- */

struct message {
	size_t env, body, end;    /* places in bytes */
	uint8_t flags;
};

struct run {
	struct buf replies;       /* all that the server said */
	struct buf bytes;         /* envelopes and bodies */
	struct message msgs[MESSAGES];
	size_t nmsgs;
	bool eof;
};

static bool
is_data_line(struct sv line)
{
	struct sv arg;

	return smtp_verb_parse(line, &arg) == SMTP_DATA;
}

/* Bytes up to and with the next line that says DATA, or all. */
static size_t
polite_length(struct sv v)
{
	size_t at = 0;

	while (at < v.n) {
		const char *lf = memchr(v.p + at, '\n', v.n - at);
		size_t end = lf == NULL ? v.n : (size_t)(lf - v.p) + 1;
		struct sv line = sv_make(v.p + at, end - at);

		if (line.n >= 2 && line.p[line.n - 2] == '\r' &&
		    is_data_line(sv_head(line, line.n - 2)))
			return end;
		at = end;
	}
	return v.n;
}

static void
message_keep(struct run *r, struct harness *h)
{
	struct committer *c = &h->committer;
	struct message *m = &r->msgs[r->nmsgs % MESSAGES];

	r->nmsgs++;
	m->env = buf_len(&r->bytes);
	m->body = m->env + buf_len(&c->env);
	m->end = m->body + buf_len(&c->body);
	m->flags = c->flags;
	if (buf_add_sv(&r->bytes, buf_sv(&c->env)) != 0 ||
	    buf_add_sv(&r->bytes, buf_sv(&c->body)) != 0)
		abort();
}

static uint32_t
next_random(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 16;
}

/* seed 0: in as few segments as possible. */
static void
session_run_all(struct run *r, const char *conf, uint8_t how, struct sv in,
    uint32_t seed)
{
	struct harness h;
	size_t polite = 0; /* bytes that may be sent without waiting */

	memset(r, 0, sizeof(*r));
	buf_init(&r->replies, 16u << 20);
	buf_init(&r->bytes, 16u << 20);
	harness_init(&h, conf);
	h.result = (enum commit_result)((how & 0x7f) % COMMIT_RESULTS);
	harness_connect(&h, "192.0.2.1");
	harness_pump(&h);
	while (in.n > 0 && !h.eof) {
		size_t n, before = h.committer.submitted;

		if (polite == 0)
			polite = polite_length(in);
		n = polite;
		if (seed != 0 && next_random(&seed) % 4 != 0) {
			size_t most = next_random(&seed) % 16 + 1;

			n = n < most ? n : most;
		}
		polite -= n;
		harness_send(&h, sv_head(in, n), n);
		in = sv_from_at(in, n);
		if (h.committer.submitted > before + 1)
			abort();
		if (h.committer.submitted > before)
			message_keep(r, &h);
	}
	r->eof = h.eof;
	if (buf_add_sv(&r->replies, buf_sv(&h.in)) != 0)
		abort();
	harness_fini(&h);
	if (h.srv.nsessions != 0 || h.srv.pool.nused != 0 ||
	    server_expected(&h.srv) != 0 || h.committer.nlarge != 0)
		abort();
}

static void
run_fini(struct run *r)
{
	buf_fini(&r->replies);
	buf_fini(&r->bytes);
}

/* A browser is dropped with the answers that have not left yet. */
static bool
has_http(struct sv in)
{
	while (in.n > 0) {
		struct sv arg, line = sv_cut(&in, '\n');

		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		if (smtp_verb_parse(line, &arg) == SMTP_HTTP)
			return true;
	}
	return false;
}

static void
runs_compare(const struct run *a, const struct run *b, bool http)
{
	struct sv x = buf_sv(&a->replies), y = buf_sv(&b->replies);

	if (http && a->eof && b->eof)
		x.n = y.n = x.n < y.n ? x.n : y.n;
	if (!sv_eq(x, y) ||
	    !sv_eq(buf_sv(&a->bytes), buf_sv(&b->bytes)) ||
	    a->nmsgs != b->nmsgs || a->eof != b->eof)
		abort();
	for (size_t i = 0; i < a->nmsgs && i < MESSAGES; i++) {
		if (a->msgs[i].flags != b->msgs[i].flags)
			abort();
	}
}

/* ---- the model ---- */

struct model {
	const struct run *run;
	struct sv in, replies;
	bool plain, http;
	bool commits;             /* the committer says yes */
	bool greeted, mail;
	size_t nrcpts, nqueued;
};

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

/* The last line of the next reply, without CR LF; false if there is none. */
static bool
reply_next(struct model *m, struct sv *line_r)
{
	while (m->replies.n > 0) {
		ptrdiff_t lf = sv_find(m->replies, '\n');

		if (lf < 1 || m->replies.p[lf - 1] != '\r')
			abort();
		*line_r = sv_head(m->replies, (size_t)lf - 1);
		m->replies = sv_from_at(m->replies, (size_t)lf + 1);
		reply_check(*line_r);
		if (line_r->p[3] == ' ')
			return true;
		if (line_r->p[3] != '-')
			abort();
	}
	return false;
}

static void
forget(struct model *m)
{
	m->mail = false;
	m->nrcpts = 0;
}

/* How many recipients an accepted RCPT makes. */
static size_t
rcpts_of(struct sv line)
{
	for (size_t i = 1; i + sizeof(ALIAS) - 1 <= line.n; i++)
		if ((line.p[i - 1] == '<' || line.p[i - 1] == ':') &&
		    sv_istarts(sv_from_at(line, i), SV(ALIAS)))
			return 2;
	return 1;
}

static bool
data_is_clean(struct sv d)
{
	for (size_t i = 0; i < d.n; i++) {
		if (d.p[i] == '\0' ||
		    (d.p[i] == '\n' && (i == 0 || d.p[i - 1] != '\r')) ||
		    (d.p[i] == '\r' && (i + 1 == d.n || d.p[i + 1] != '\n')))
			return false;
	}
	return true;
}

/* Unstuffs d and compares; the size of it. */
static size_t
data_compare(struct sv d, const char *body, size_t n, bool compare)
{
	size_t size = 0;

	for (size_t i = 0; i < d.n; i++) {
		if (d.p[i] == '.' && (i == 0 || d.p[i - 1] == '\n'))
			continue;
		if (compare)
			must(size < n && body[size] == d.p[i]);
		size++;
	}
	must(!compare || size == n);
	return size;
}

static void
message_check(struct model *m, struct sv data)
{
	const struct message *msg = &m->run->msgs[(m->nqueued - 1) % MESSAGES];
	const char *bytes = buf_sv(&m->run->bytes).p;
	struct envelope e;
	struct arena a;

	if (m->run->nmsgs > MESSAGES)
		return;
	arena_init(&a, 1u << 20);
	must(envelope_decode(sv_make(bytes + msg->env, msg->body - msg->env),
	    &a, &e));
	must(e.nrcpts == m->nrcpts && e.nrcpts > 0);
	arena_fini(&a);
	if (m->plain)
		(void)data_compare(data, bytes + msg->body,
		    msg->end - msg->body, true);
}

/* The answer to the end of data. */
static void
data_answered(struct model *m, struct sv data, struct sv r)
{
	bool queued = sv_starts(r, SV("250 2.0.0 queued as "));
	bool clean = data_is_clean(data);
	size_t size = data_compare(data, NULL, 0, false);

	must(!queued || (clean && m->commits && size <= SIZE_MAX_BYTES));
	/* and the other way round; Received headers are another matter */
	if (m->plain && m->commits && clean && size <= SIZE_MAX_BYTES)
		must(queued || sv_starts(r, SV("554 5.4.6")));
	must(queued || r.p[0] == '4' || r.p[0] == '5');
	if (queued) {
		must(m->nqueued++ < m->run->nmsgs);
		message_check(m, data);
	}
	forget(m);
}

/* Takes the data off the input. False at the end of all. */
static bool
data_model(struct model *m)
{
	const char *end;
	struct sv data, r;

	if (sv_starts(m->in, SV(".\r\n"))) {
		data = sv_head(m->in, 0);
		m->in = sv_from_at(m->in, 3);
	} else {
		end = memmem(m->in.p, m->in.n, "\r\n.\r\n", 5);
		if (end == NULL)
			return false;
		data = sv_head(m->in, (size_t)(end - m->in.p) + 2);
		m->in = sv_from_at(m->in, data.n + 3);
	}
	if (!reply_next(m, &r)) {
		must(m->http && m->run->eof);
		return false;
	}
	data_answered(m, data, r);
	return !sv_starts(r, SV("421"));
}

/* True if DATA was taken. */
static bool
command_answered(struct model *m, struct sv line, struct sv r)
{
	bool yes = r.p[0] == '2';
	struct sv word;

	must(!sv_starts(r, SV("250 2.0.0 queued")));
	while (line.n > 0 && (line.p[0] == ' ' || line.p[0] == '\t'))
		line = sv_from_at(line, 1);
	word = sv_head(line, 4);
	if (sv_ieq(word, SV("EHLO")) || sv_ieq(word, SV("HELO"))) {
		if (yes) {
			m->greeted = true;
			forget(m);
		}
	} else if (sv_ieq(word, SV("MAIL"))) {
		must(!yes || (m->greeted && !m->mail));
		m->mail = m->mail || yes;
	} else if (sv_ieq(word, SV("RCPT"))) {
		must(!yes || m->mail);
		m->nrcpts += yes ? rcpts_of(line) : 0;
	} else if (sv_ieq(word, SV("RSET"))) {
		if (yes)
			forget(m);
	} else if (sv_ieq(word, SV("DATA"))) {
		must(!yes);
		must(r.p[0] != '3' || (m->mail && m->nrcpts > 0));
		if (r.p[0] == '4')
			forget(m);
		return r.p[0] == '3';
	}
	must(r.p[0] != '3');
	return false;
}

static void
model_run(struct model *m)
{
	struct sv r = SV("");
	bool open = true;

	must(reply_next(m, &r) && sv_starts(r, SV("220 ")));
	while (open) {
		ptrdiff_t lf = sv_find(m->in, '\n');
		struct sv line;

		if (lf < 0)
			break;
		line = sv_head(m->in, (size_t)lf);
		m->in = sv_from_at(m->in, (size_t)lf + 1);
		if (!reply_next(m, &r)) {
			/* only a browser is left without an answer */
			must(m->run->eof);
			break;
		}
		if (command_answered(m, line, r))
			open = data_model(m);
		else
			open = !sv_starts(r, SV("421")) &&
			    !sv_starts(r, SV("221"));
	}
	must(m->replies.n == 0);
	must(m->nqueued == (m->commits ? m->run->nmsgs : 0) ||
	    (m->http && m->run->eof));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run whole, split;
	struct model m = { .run = &whole };
	const char *conf;

	if (size < 3 || size > 8192)
		return 0;
	m.plain = (data[1] & 0x80) != 0;
	m.commits = (data[1] & 0x7f) % COMMIT_RESULTS == COMMIT_OK;
	conf = m.plain ? CONF_PLAIN CONF_END : CONF_HEADERS CONF_END;
	m.in = sv_make(data + 2, size - 2);
	session_run_all(&whole, conf, data[1], m.in, 0);
	session_run_all(&split, conf, data[1], m.in, data[0] + 1u);
	m.http = has_http(m.in);
	runs_compare(&whole, &split, m.http);
	m.replies = buf_sv(&whole.replies);
	model_run(&m);
	run_fini(&whole);
	run_fini(&split);
	return 0;
}
