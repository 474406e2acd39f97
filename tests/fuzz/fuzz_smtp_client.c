/* SPDX-License-Identifier: ISC */
/*
 * A server that says anything at all. The first two bytes choose flags, the
 * rest is what it says, in pieces cut at 0xff bytes; at the end it hangs up.
 *
 * Oracles: every transaction comes back once, every recipient decided; no bare
 * CR or LF in what the client sends; and a model that reads both directions
 * with parsers of its own and matches reply by reply: no body without 354 and
 * an accepted recipient, a recipient is delivered only if RCPT and the dot of
 * its own transaction had 2xx, and a refusal has the code of a reply that
 * belongs to it.
 */
#include <sys/types.h>
#include <string.h>

#include "common/mail/smtp_client.h"
#include "tests/fuzz/fuzz.h"

#define MSGS    4
#define RCPTS   3
#define CMDS    128
#define REPLIES 4096

/* ---- the model ---- */

enum cmd_kind { C_OTHER, C_MAIL, C_RCPT, C_DATA, C_DOT };

struct cmd {
	enum cmd_kind kind;
	unsigned msg, rcpt;
};

struct model {
	struct cmd cmds[CMDS];    /* the greeting is the first */
	size_t ncmds;
	uint16_t replies[REPLIES];
	size_t nreplies;
	bool bad;                 /* the server's last line was no SMTP */
	unsigned lines;           /* of a reply under way */
	struct buf in, out;       /* not looked at yet */
	bool in_body;
	size_t body;              /* bytes of it */
	unsigned msg;             /* of the last MAIL */
};

static void
model_reply_line(struct model *m, struct sv line)
{
	uint16_t code;

	if (line.n > 0 && line.p[line.n - 1] == '\r')
		line.n--;
	if (line.n < 3 || line.p[0] < '2' || line.p[0] > '5' ||
	    !ascii_is_digit(line.p[1]) || !ascii_is_digit(line.p[2]) ||
	    (line.n > 3 && line.p[3] != ' ' && line.p[3] != '-')) {
		m->bad = true;
		return;
	}
	if (line.n > 3 && line.p[3] == '-') {
		m->lines++;
		return;
	}
	code = (uint16_t)((line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 +
	    (line.p[2] - '0'));
	m->lines = 0;
	if (m->nreplies < REPLIES)
		m->replies[m->nreplies++] = code;
}

static void
model_hear(struct model *m, const void *p, size_t n)
{
	must(buf_add(&m->in, p, n) == 0);
	while (!m->bad) {
		struct sv v = buf_sv(&m->in);
		ptrdiff_t lf = sv_find(v, '\n');

		if (lf < 0)
			break;
		model_reply_line(m, sv_head(v, (size_t)lf));
		buf_consume(&m->in, (size_t)lf + 1);
	}
}

/* The code of the reply to command i, or 0. */
static uint16_t
reply_to(const struct model *m, size_t i)
{
	return i < m->nreplies ? m->replies[i] : 0;
}

/* The command of this kind of a message (and recipient), or SIZE_MAX. */
static size_t
cmd_find(const struct model *m, enum cmd_kind kind, unsigned msg,
    unsigned rcpt)
{
	for (size_t i = 0; i < m->ncmds; i++) {
		if (m->cmds[i].kind == kind && m->cmds[i].msg == msg &&
		    (kind != C_RCPT || m->cmds[i].rcpt == rcpt))
			return i;
	}
	return SIZE_MAX;
}

static bool
said(const struct model *m, enum cmd_kind kind, unsigned msg, unsigned rcpt,
    unsigned class)
{
	size_t i = cmd_find(m, kind, msg, rcpt);

	return i != SIZE_MAX && reply_to(m, i) / 100 == class;
}

static bool
any_accepted(const struct model *m, unsigned msg)
{
	bool any = false;

	for (unsigned k = 0; k < RCPTS; k++)
		any = any || said(m, C_RCPT, msg, k, 2);
	return any && said(m, C_MAIL, msg, 0, 2);
}

static void
cmd_push(struct model *m, enum cmd_kind kind, unsigned msg, unsigned rcpt)
{
	must(m->ncmds < CMDS);
	m->cmds[m->ncmds++] = (struct cmd){ kind, msg, rcpt };
}

static void
model_command(struct model *m, struct sv line)
{
	if (sv_starts(line, SV("MAIL FROM:<s"))) {
		m->msg = (unsigned)(line.p[12] - '0');
		must(m->msg < MSGS);
		must(cmd_find(m, C_MAIL, m->msg, 0) == SIZE_MAX);
		cmd_push(m, C_MAIL, m->msg, 0);
	} else if (sv_starts(line, SV("RCPT TO:<r"))) {
		/* r, its message, its number */
		must((unsigned)(line.p[10] - '0') == m->msg);
		cmd_push(m, C_RCPT, m->msg, (unsigned)(line.p[11] - '0'));
	} else if (sv_eq(line, SV("DATA"))) {
		cmd_push(m, C_DATA, m->msg, 0);
	} else {
		cmd_push(m, C_OTHER, 0, 0);
	}
}

/* Before anything follows DATA its reply was there; 354 makes it a body. */
static void
model_after_data(struct model *m)
{
	const struct cmd *last = &m->cmds[m->ncmds - 1];
	uint16_t code;

	if (m->ncmds == 0 || last->kind != C_DATA)
		return;
	code = reply_to(m, m->ncmds - 1);
	must(code != 0);
	m->in_body = code / 100 == 3;
	m->body = 0;
}

static void
model_say(struct model *m, struct sv v)
{
	must(buf_add_sv(&m->out, v) == 0);
	while (buf_len(&m->out) > 0) {
		struct sv all = buf_sv(&m->out), line;
		ptrdiff_t lf = sv_find(all, '\n');

		if (!m->in_body)
			model_after_data(m);
		if (lf < 0)
			break;
		must(lf > 0 && all.p[lf - 1] == '\r');
		line = sv_head(all, (size_t)lf - 1);
		must(memchr(line.p, '\r', line.n) == NULL);
		if (!m->in_body) {
			model_command(m, line);
		} else if (sv_eq(line, SV("."))) {
			must(m->body == 0 || any_accepted(m, m->msg));
			m->in_body = false;
			cmd_push(m, C_DOT, m->msg, 0);
		} else {
			must(line.n == 0 || line.p[0] != '.' ||
			    line.p[1] == '.');
			m->body += line.n + 2;
		}
		buf_consume(&m->out, (size_t)lf + 1);
	}
	/* a piece of a body without its end */
	must(!m->in_body || m->body + buf_len(&m->out) == 0 ||
	    any_accepted(m, m->msg));
}

/* ---- the owner ---- */

struct owner {
	struct smtp_txn txns[MSGS];
	struct smtp_rcpt rcpts[MSGS][RCPTS];
	char names[MSGS][RCPTS][8], senders[MSGS][8];
	bool done[MSGS], untried[MSGS];
	struct arena arena;
	unsigned next;
	bool abandoned;
	struct buf said;          /* since the last look */
	size_t heard;
};

static void
on_up(void *arg)
{
	(void)arg;
}

static struct smtp_txn *
on_next(void *arg)
{
	struct owner *o = arg;

	return o->next < MSGS ? &o->txns[o->next++] : NULL;
}

static ssize_t
on_read(void *arg, struct smtp_txn *t, uint64_t at, void *p, size_t n)
{
	(void)arg;
	if (n > t->body_len - at)
		n = (size_t)(t->body_len - at);
	memset(p, '.', n);
	return (ssize_t)n;
}

static void
on_dot(void *arg, struct smtp_txn *t)
{
	(void)arg;
	must(t->naccepted > 0 && t->phase != TXN_DOT);
}

static void
on_done(void *arg, struct smtp_txn *t)
{
	struct owner *o = arg;
	size_t i = (size_t)(t - o->txns);

	must(!o->done[i] && !o->untried[i]);
	o->done[i] = true;
	for (uint32_t k = 0; k < t->nrcpts; k++) {
		const struct smtp_rcpt *r = &t->rcpts[k];

		must(r->decided && r->outcome < OUTCOMES);
		must(r->outcome != OUT_DELIVERED ||
		    (r->accepted && t->dot_at != 0));
		must(r->outcome != OUT_IN_DOUBT || t->dot_at != 0);
	}
}

static void
on_untried(void *arg, struct smtp_txn *t)
{
	struct owner *o = arg;
	size_t i = (size_t)(t - o->txns);

	must(!o->done[i] && !o->untried[i]);
	o->untried[i] = true;
	for (uint32_t k = 0; k < t->nrcpts; k++)
		must(!t->rcpts[k].decided || o->abandoned);
}

/* Whoever looks on sees the same as the network. */
static void
on_said(void *arg, enum smtp_said what, struct sv bytes)
{
	struct owner *o = arg;

	must(what != SAID_COMMAND || sv_find(bytes, '\r') ==
	    (ptrdiff_t)bytes.n - 2);
	must(buf_add_sv(&o->said, bytes) == 0);
}

static void
on_heard(void *arg, struct sv bytes)
{
	must(bytes.n > 0 && bytes.p[bytes.n - 1] == '\n');
	((struct owner *)arg)->heard += bytes.n;
}

static const struct smtp_client_ops ops = {
	.on_up = on_up,
	.txn_next = on_next,
	.body_read = on_read,
	.before_dot = on_dot,
	.txn_done = on_done,
	.txn_untried = on_untried,
};

static const struct smtp_tap tap = { .heard = on_heard, .said = on_said };

static void
owner_init(struct owner *o, uint8_t how)
{
	memset(o, 0, sizeof(*o));
	arena_init(&o->arena, 1 << 20);
	buf_init(&o->said, SMTP_CLIENT_OUT_CAP);
	for (unsigned i = 0; i < MSGS; i++) {
		struct smtp_txn *t = &o->txns[i];

		memcpy(o->senders[i], "s0@x", 4);
		o->senders[i][1] = (char)('0' + i);
		t->sender = sv_make(o->senders[i], 4);
		t->head = SV("Received: x\r\n");
		t->body = SV("a\r\n.\r\nb\rc\nd");
		t->body_len = t->body.n;
		t->has_8bit = (how & 1) != 0 && i == 1;
		t->flags = (how & 2) != 0 && i == 2 ? ENV_SMTPUTF8 : 0;
		if ((how & 4) != 0 && i == 3) {
			t->body = SV("");
			t->body_len = 70000;
		}
		t->rcpts = o->rcpts[i];
		t->nrcpts = RCPTS;
		t->arena = &o->arena;
		for (unsigned k = 0; k < RCPTS; k++) {
			memcpy(o->names[i][k], "r00@x", 5);
			o->names[i][k][1] = (char)('0' + i);
			o->names[i][k][2] = (char)('0' + k);
			t->rcpts[k].addr = sv_make(o->names[i][k], 5);
		}
	}
}

/* A refusal by a reply has the code of one that concerns this recipient; 421
 * and the reply that ended the session concern all. */
static bool
refusal_is_true(const struct model *m, unsigned msg, unsigned rcpt,
    uint16_t code)
{
	static const enum cmd_kind kinds[] = { C_MAIL, C_RCPT, C_DATA, C_DOT };

	for (size_t i = 0; i < 4; i++) {
		size_t at = cmd_find(m, kinds[i], msg, rcpt);

		if (at != SIZE_MAX && reply_to(m, at) == code)
			return true;
	}
	for (size_t i = 0; i < m->nreplies; i++) {
		if (m->replies[i] == code &&
		    (code == 421 || i >= m->ncmds - 1))
			return true;
	}
	return false;
}

static void
outcomes_check(const struct model *m, const struct owner *o)
{
	for (unsigned i = 0; i < MSGS; i++) {
		for (unsigned k = 0; o->done[i] && k < RCPTS; k++) {
			const struct smtp_rcpt *r = &o->rcpts[i][k];

			must(r->outcome != OUT_DELIVERED ||
			    (said(m, C_MAIL, i, 0, 2) &&
			    said(m, C_RCPT, i, k, 2) &&
			    said(m, C_DATA, i, 0, 3) &&
			    said(m, C_DOT, i, 0, 2)));
			must((r->outcome != OUT_PERMANENT &&
			    r->outcome != OUT_TEMPORARY) || r->code == 0 ||
			    refusal_is_true(m, i, k, r->code));
		}
		/* nobody has a copy of what is said not to be tried: 421 to
		 * the dot may be the queue's matter, but is an answer */
		must(!o->untried[i] || !any_accepted(m, i) ||
		    cmd_find(m, C_DOT, i, 0) == SIZE_MAX ||
		    said(m, C_DOT, i, 0, 4));
	}
}

static void
dialog_run(struct smtp_client *c, struct model *m, const uint8_t *p, size_t n)
{
	struct owner *o = c->arg;
	struct buf in, out;
	bool alive = true;
	size_t given = 0;

	buf_init(&in, SMTP_CLIENT_IN_CAP);
	buf_init(&out, SMTP_CLIENT_OUT_CAP);
	for (size_t i = 0; i < n && alive;) {
		const uint8_t *cut = memchr(p + i, 0xff, n - i);
		size_t piece = cut != NULL ? (size_t)(cut - p) - i : n - i;

		if (piece > in.cap - buf_len(&in))
			break;
		must(buf_add(&in, p + i, piece) == 0);
		model_hear(m, p + i, piece);
		i += piece + 1;
		given += piece;
		alive = smtp_client_run(c, &in, &out);
		must(sv_eq(buf_sv(&o->said), buf_sv(&out)));
		must(o->heard == given - buf_len(&in));
		buf_clear(&o->said);
		if (alive || c->polite)
			model_say(m, buf_sv(&out));
		buf_clear(&out);
		if (i > 200)
			smtp_client_quit(c);
	}
	buf_fini(&in);
	buf_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smtp_client c;
	struct owner o;
	struct model m = { .ncmds = 1 };

	if (size < 2 || size > 65536)
		return 0;
	owner_init(&o, data[0]);
	buf_init(&m.in, 1u << 20);
	buf_init(&m.out, 1u << 20);
	smtp_client_init(&c, SV("h"), data[1] & 0x0f, &ops, &o);
	c.tap = &tap;
	dialog_run(&c, &m, data + 2, size - 2);
	o.abandoned = (data[0] & 0x40) != 0;
	if (o.abandoned)
		(void)smtp_client_abandon(&c);
	smtp_client_lost(&c, 0, (data[0] & 0x80) != 0, SV("gone"));
	must(c.ended && c.txn == NULL && c.dotted == NULL);
	for (unsigned i = 0; i < o.next; i++)
		must(o.done[i] || o.untried[i]);
	outcomes_check(&m, &o);
	buf_fini(&m.in);
	buf_fini(&m.out);
	buf_fini(&o.said);
	arena_fini(&o.arena);
	return 0;
}
