/* SPDX-License-Identifier: ISC */
/* What the client says: its commands and the message, as far as it may at the
 * moment. */
#include <string.h>

#include "common/base/str.h"
#include "common/mail/route.h"
#include "common/mail/smtp_client_private.h"

#define BODY_PIECE ((size_t)65536)

int
smtp_command_add(struct buf *out, struct sv command)
{
	unsigned char *at;

	if (command.n + 2 > SMTP_COMMAND_MAX)
		return -1;
	for (size_t i = 0; i < command.n; i++) {
		char b = command.p[i];

		if (b == '\r' || b == '\n' || b == '\0')
			return -1;
	}
	at = buf_reserve(out, command.n + 2);
	if (at == NULL)
		return -1;
	memcpy(at, command.p, command.n);
	at[command.n] = '\r';
	at[command.n + 1] = '\n';
	buf_commit(out, command.n + 2);
	return 0;
}

static bool
has_cap(const struct smtp_client *c, unsigned cap)
{
	if (cap == CAP_PIPELINING && (c->flags & SESSION_NO_PIPELINING) != 0)
		return false;
	if (cap == CAP_8BITMIME && (c->flags & SESSION_NO_8BITMIME) != 0)
		return false;
	if (cap == CAP_DSN && (c->flags & SESSION_NO_DSN) != 0)
		return false;
	return (c->ehlo.caps & cap) != 0;
}

/* ---- starting a transaction ---- */

static bool
is_ascii(struct sv v)
{
	for (size_t i = 0; i < v.n; i++)
		if ((unsigned char)v.p[i] > 0x7f)
			return false;
	return true;
}

static uint64_t
txn_size(const struct smtp_txn *t)
{
	return (uint64_t)t->head.n + t->body_len;
}

/* RFC 6531 3.4 for the whole message, or for this address alone. */
static void
check_utf8(struct smtp_txn *t)
{
	struct sv text = SV("the message needs SMTPUTF8, which the "
	                    "destination does not offer");
	bool all = (t->flags & ENV_SMTPUTF8) != 0 || !is_ascii(t->sender);

	for (uint32_t i = 0; i < t->nrcpts; i++)
		if (all || !is_ascii(t->rcpts[i].addr))
			rcpt_decide(&t->rcpts[i], OUT_PERMANENT, 0,
			    SV("5.6.7"), text);
}

/* Decides what need not be asked. */
static void
txn_check(struct smtp_client *c, struct smtp_txn *t)
{
	if (has_cap(c, CAP_SIZE) && c->ehlo.size_max != 0 &&
	    txn_size(t) > c->ehlo.size_max) {
		char mem[120];
		struct str s;

		STR_ON(&s, mem);
		str_addf(&s, "the message has %llu bytes, the destination "
		    "takes at most %llu", (unsigned long long)txn_size(t),
		    (unsigned long long)c->ehlo.size_max);
		txn_decide(t, OUT_PERMANENT, 0, SV("5.3.4"),
		    txn_text(t, str_sv(&s)));
	}
	/* RFC 6152 3: convert or bounce; there is no converter yet */
	if (t->has_8bit && !has_cap(c, CAP_8BITMIME))
		txn_decide(t, OUT_PERMANENT, 0, SV("5.6.3"),
		    SV("the message has 8-bit text, which the destination "
		       "does not take"));
	if (!has_cap(c, CAP_SMTPUTF8))
		check_utf8(t);
}

/* The next transaction of the owner that has something to say. */
static bool
txn_start(struct smtp_client *c)
{
	while (!c->no_more && !c->want_quit && !c->ended) {
		struct smtp_txn *t = c->ops->txn_next(c->arg);

		if (t == NULL)
			return false;
		txn_check(c, t);
		if (!txn_all_decided(t)) {
			c->txn = t;
			c->nstarted++;
			return true;
		}
		c->ops->txn_done(c->arg, t);
	}
	return false;
}

/* ---- the commands of a transaction ---- */

static void
mail_emit(struct smtp_client *c, struct smtp_txn *t, struct buf *out)
{
	char mem[SMTP_COMMAND_MAX];
	struct str s;

	STR_ON(&s, mem);
	str_add(&s, SV("MAIL FROM:<"));
	str_add(&s, t->sender);
	str_addc(&s, '>');
	if (has_cap(c, CAP_SIZE))
		str_addf(&s, " SIZE=%llu", (unsigned long long)txn_size(t));
	if (t->has_8bit)
		str_add(&s, SV(" BODY=8BITMIME"));
	if ((t->flags & ENV_SMTPUTF8) != 0 && has_cap(c, CAP_SMTPUTF8))
		str_add(&s, SV(" SMTPUTF8"));
	if (has_cap(c, CAP_DSN)) {
		if ((t->flags & (ENV_RET_FULL | ENV_RET_HDRS)) != 0)
			str_adds(&s, (t->flags & ENV_RET_FULL) != 0 ?
			    " RET=FULL" : " RET=HDRS");
		if (t->envid.n > 0) {
			str_add(&s, SV(" ENVID="));
			str_add(&s, t->envid);
		}
	}
	t->phase = TXN_RCPT;
	if (s.truncated || smtp_command_add(out, str_sv(&s)) != 0) {
		txn_decide(t, OUT_PERMANENT, 0, SV("5.1.7"),
		    SV("the sender's address cannot be sent"));
		t->mail_refused = true;
		return;
	}
	expect_push(c, VERB_MAIL, t);
}

static void
notify_add(struct str *s, unsigned notify)
{
	static const struct {
		unsigned bit;
		const char *word;
	} words[] = {
		{ NOTIFY_NEVER, "NEVER" }, { NOTIFY_SUCCESS, "SUCCESS" },
		{ NOTIFY_FAILURE, "FAILURE" }, { NOTIFY_DELAY, "DELAY" },
	};
	const char *sep = " NOTIFY=";

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if ((notify & words[i].bit) == 0)
			continue;
		str_adds(s, sep);
		str_adds(s, words[i].word);
		if (words[i].bit == NOTIFY_NEVER)
			return; /* RFC 3461 4.1: alone */
		sep = ",";
	}
}

static void
rcpt_emit(struct smtp_client *c, struct smtp_txn *t, struct buf *out)
{
	struct smtp_rcpt *r = &t->rcpts[t->next_rcpt++];
	char mem[SMTP_COMMAND_MAX];
	struct str s;

	if (r->decided)
		return;
	STR_ON(&s, mem);
	str_add(&s, SV("RCPT TO:<"));
	str_add(&s, r->addr);
	str_addc(&s, '>');
	if (has_cap(c, CAP_DSN)) {
		notify_add(&s, r->notify);
		if (r->orcpt.n > 0) {
			str_add(&s, SV(" ORCPT="));
			str_add(&s, r->orcpt);
		}
	}
	if (s.truncated || smtp_command_add(out, str_sv(&s)) != 0) {
		rcpt_decide(r, OUT_PERMANENT, 0, SV("5.1.3"),
		    SV("the address cannot be sent"));
		return;
	}
	r->sent = true;
	expect_push(c, VERB_RCPT, t);
}

/* Nobody takes it: over as soon as every answer is there. False: wait. */
static bool
txn_end_early(struct smtp_client *c, struct smtp_txn *t)
{
	if (expects_any(c, t))
		return false;
	c->need_rset = c->need_rset || t->mail_ok;
	txn_finish(c, t);
	return true;
}

static bool
body_fail(struct smtp_client *c, struct smtp_txn *t)
{
	txn_decide(t, OUT_UNREADABLE, 0, SV("4.3.0"),
	    SV("the message cannot be read from the spool"));
	/* the server must not take what it has got for a message */
	end_set(c, END_LOST, 0, SV("4.3.0"),
	    SV("closed: the message cannot be read from the spool"));
	txn_finish(c, t);
	return false;
}

static bool
dot_emit(struct smtp_client *c, struct smtp_txn *t, struct buf *out)
{
	size_t before = buf_len(out);

	if (!t->lone_dot)
		c->ops->before_dot(c->arg, t);
	if (smtp_stuff_end(&t->stuff, out) != 0)
		return body_fail(c, t);
	t->phase = TXN_DOT;
	t->dot_at = c->emitted + (buf_len(out) - before);
	c->txn = NULL;
	c->dotted = t;
	expect_push(c, VERB_DOT, t);
	return true;
}

/* A function of its own for the size of its frame. */
__attribute__((noinline)) static bool
body_read_emit(struct smtp_client *c, struct smtp_txn *t, struct buf *out)
{
	unsigned char mem[BODY_PIECE];
	uint64_t at = t->body_at - t->head.n;
	ssize_t n = c->ops->body_read(c->arg, t, at, mem, sizeof(mem));

	if (n <= 0 || (uint64_t)n > t->body_len - at)
		return body_fail(c, t);
	t->body_at += (uint64_t)n;
	if (smtp_stuff_add(&t->stuff, out, sv_make(mem, (size_t)n)) != 0)
		return body_fail(c, t);
	return true;
}

/* One piece of head or body, or the dot. False: the session is over. */
static bool
body_emit(struct smtp_client *c, struct smtp_txn *t, struct buf *out)
{
	struct sv piece;

	if (t->lone_dot || t->body_at == txn_size(t))
		return dot_emit(c, t, out);
	if (t->body_at < t->head.n)
		piece = sv_from_at(t->head, (size_t)t->body_at);
	else if (t->body.n == t->body_len)
		piece = sv_from_at(t->body,
		    (size_t)(t->body_at - t->head.n));
	else
		return body_read_emit(c, t, out);
	piece = sv_head(piece, BODY_PIECE);
	t->body_at += piece.n;
	if (smtp_stuff_add(&t->stuff, out, piece) != 0)
		return body_fail(c, t);
	return true;
}

/* Says one thing of the transaction. False: nothing more can be said now. */
static bool
txn_emit(struct smtp_client *c, struct smtp_txn *t, struct buf *out)
{
	switch (t->phase) {
	case TXN_MAIL:
		mail_emit(c, t, out);
		return true;
	case TXN_RCPT:
		if (t->mail_refused)
			return txn_end_early(c, t);
		if (t->next_rcpt == t->nrcpts)
			t->phase = TXN_DATA;
		else
			rcpt_emit(c, t, out);
		return true;
	case TXN_DATA:
		if (t->mail_refused ||
		    (t->naccepted == 0 && txn_all_decided(t)))
			return txn_end_early(c, t);
		if (smtp_command_add(out, SV("DATA")) != 0)
			return false;
		t->phase = TXN_WAIT;
		expect_push(c, VERB_DATA, t);
		return true;
	case TXN_BODY:
		return body_emit(c, t, out);
	case TXN_WAIT:
	case TXN_DOT:
		break;
	}
	return false;
}

static bool
quit_emit(struct smtp_client *c, struct buf *out)
{
	if (!c->want_quit || c->quit_sent || c->nexpect > 0)
		return false;
	if (smtp_command_add(out, SV("QUIT")) != 0)
		return false;
	c->quit_sent = true;
	expect_push(c, VERB_QUIT, NULL);
	return true;
}

static bool
hello_emit(struct smtp_client *c, struct buf *out)
{
	enum smtp_verb verb = c->say_hello;
	char mem[SMTP_COMMAND_MAX];
	struct str s;

	STR_ON(&s, mem);
	str_adds(&s, verb == VERB_EHLO ? "EHLO " : "HELO ");
	str_add(&s, c->helo);
	c->say_hello = SMTP_VERBS;
	if (s.truncated || smtp_command_add(out, str_sv(&s)) != 0) {
		client_broken(c, "our own name cannot be sent");
		return false;
	}
	c->ehlo = (struct smtp_ehlo){ 0 };
	expect_push(c, verb, NULL);
	return true;
}

/* Says one thing. False: nothing can be said now. */
static bool
client_emit(struct smtp_client *c, struct buf *out)
{
	bool free_line = c->nexpect == 0 || has_cap(c, CAP_PIPELINING);

	if (c->say_hello != SMTP_VERBS)
		return hello_emit(c, out);
	if (!c->up || c->quit_sent || !free_line)
		return false;
	/* the dot of the one before may still wait for its answer */
	if (c->txn == NULL && !txn_start(c))
		return quit_emit(c, out);
	if (c->need_rset) {
		if (smtp_command_add(out, SV("RSET")) != 0)
			return false;
		c->need_rset = false;
		expect_push(c, VERB_RSET, NULL);
		return true;
	}
	return txn_emit(c, c->txn, out);
}

void
client_said(const struct smtp_client *c, enum smtp_said what,
    const struct buf *out, size_t before)
{
	if (c->tap != NULL && buf_len(out) > before)
		c->tap->said(c->arg, what, sv_from_at(buf_sv(out), before));
}

/* What the next thing said is. */
static enum smtp_said
said_next(const struct smtp_client *c)
{
	if (c->txn == NULL || c->txn->phase != TXN_BODY)
		return SAID_COMMAND;
	return c->txn->lone_dot || c->txn->body_at == txn_size(c->txn) ?
	    SAID_DOT : SAID_BODY;
}

void
client_emit_all(struct smtp_client *c, const struct buf *in, struct buf *out)
{
	/* What a server has sent before it was asked answers nothing: it is
	 * looked at first, and we say no more. */
	if (c->nexpect == 0 && buf_len(in) > 0)
		return;
	while (!c->ended && buf_len(out) < SMTP_CLIENT_HIGH_WATER) {
		enum smtp_said what = said_next(c);
		size_t before = buf_len(out);
		bool more;

		/* so that behind this only an address can be at fault */
		if (buf_reserve(out, SMTP_COMMAND_MAX) == NULL) {
			client_broken(c, "out of memory");
			return;
		}
		more = client_emit(c, out);
		c->emitted += buf_len(out) - before;
		client_said(c, what, out, before);
		if (!more)
			return;
	}
}
