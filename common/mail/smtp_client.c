/* SPDX-License-Identifier: ISC */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/base/str.h"
#include "common/mail/route.h"
#include "common/mail/smtp_client.h"

#define BODY_PIECE ((size_t)65536)
/* With very many recipients each keeps only so much of its reply, so that
 * all of them fit in one RESULT frame. */
#define MANY_RCPTS     1000u
#define MANY_TEXT_MAX  200u

static const char *const verb_text[SMTP_VERBS] = {
	[VERB_GREETING] = "waiting for the greeting",
	[VERB_EHLO] = "waiting for the answer to EHLO",
	[VERB_HELO] = "waiting for the answer to HELO",
	[VERB_MAIL] = "waiting for the answer to MAIL FROM",
	[VERB_RCPT] = "waiting for the answer to RCPT TO",
	[VERB_DATA] = "waiting for the answer to DATA",
	[VERB_DOT] = "waiting for the answer to the final dot",
	[VERB_RSET] = "waiting for the answer to RSET",
	[VERB_QUIT] = "waiting for the answer to QUIT",
};

/* ---- commands ---- */

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

static void
expect_push(struct smtp_client *c, enum smtp_verb verb, struct smtp_txn *t)
{
	if (c->nexpect > 0) {
		struct smtp_expect *last = &c->expect[c->nexpect - 1];

		if (last->verb == verb && last->txn == t) {
			last->n++;
			return;
		}
	} else {
		c->progress++; /* its deadline starts now */
	}
	assert(c->nexpect < SMTP_EXPECTS);
	c->expect[c->nexpect++] = (struct smtp_expect){ verb, t, 1 };
}

static struct smtp_expect
expect_take(struct smtp_client *c)
{
	struct smtp_expect e = c->expect[0];

	c->progress++;
	if (--c->expect[0].n > 0)
		return e;
	c->nexpect--;
	memmove(c->expect, c->expect + 1, c->nexpect * sizeof(c->expect[0]));
	return e;
}

static bool
expects_any(const struct smtp_client *c, const struct smtp_txn *t)
{
	for (unsigned i = 0; i < c->nexpect; i++)
		if (c->expect[i].txn == t)
			return true;
	return false;
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

/* ---- outcomes ---- */

static void
rcpt_decide(struct smtp_rcpt *r, enum outcome o, uint16_t code,
    struct sv status, struct sv text)
{
	if (r->decided)
		return;
	r->decided = true;
	r->outcome = (uint8_t)o;
	r->code = code;
	r->status = status;
	r->text = text;
}

static void
txn_decide(struct smtp_txn *t, enum outcome o, uint16_t code,
    struct sv status, struct sv text)
{
	for (uint32_t i = 0; i < t->nrcpts; i++)
		rcpt_decide(&t->rcpts[i], o, code, status, text);
}

/* Keeps a text with the transaction; nothing at worst. */
static struct sv
txn_text(struct smtp_txn *t, struct sv text)
{
	if (t->nrcpts > MANY_RCPTS)
		text = sv_head(text, MANY_TEXT_MAX);
	text = arena_sv(t->arena, text);
	return text.p == NULL ? SV("") : text;
}

/* The server's own code if it gave one, but of the class that counts here. */
static struct sv
reply_status(struct smtp_txn *t, const struct smtp_reply *r, enum outcome o)
{
	char s[sizeof(r->status)] = "2.0.0";

	if (r->status[0] != '\0')
		memcpy(s, r->status, sizeof(s));
	if (o == OUT_TEMPORARY || o == OUT_UNTRIED)
		s[0] = '4';
	else if (o == OUT_PERMANENT)
		s[0] = '5';
	return txn_text(t, sv_from(s));
}

static struct sv
reply_text(const struct smtp_reply *r)
{
	return sv_make(r->text, r->text_n);
}

/* All that are not decided have this reply as their outcome. */
static void
txn_decide_reply(struct smtp_txn *t, const struct smtp_reply *r,
    enum outcome o)
{
	txn_decide(t, o, r->code, reply_status(t, r, o),
	    txn_text(t, reply_text(r)));
}

static bool
all_decided(const struct smtp_txn *t)
{
	for (uint32_t i = 0; i < t->nrcpts; i++)
		if (!t->rcpts[i].decided)
			return false;
	return true;
}

static bool
any_decided(const struct smtp_txn *t)
{
	for (uint32_t i = 0; i < t->nrcpts; i++)
		if (t->rcpts[i].decided)
			return true;
	return false;
}

static void
txn_detach(struct smtp_client *c, struct smtp_txn *t)
{
	if (c->txn == t)
		c->txn = NULL;
	if (c->dotted == t)
		c->dotted = NULL;
	for (unsigned i = 0; i < c->nexpect; i++)
		if (c->expect[i].txn == t)
			c->expect[i].txn = NULL;
}

static void
txn_finish(struct smtp_client *c, struct smtp_txn *t)
{
	txn_detach(c, t);
	c->ops->txn_done(c->arg, t);
}

/* Untried if the server said nothing about any recipient. */
static void
txn_give_back(struct smtp_client *c, struct smtp_txn *t)
{
	txn_detach(c, t);
	if (!any_decided(t)) {
		c->ops->txn_untried(c->arg, t);
		return;
	}
	txn_decide(t, OUT_UNTRIED, 0, SV("4.0.0"), SV("not tried"));
	c->ops->txn_done(c->arg, t);
}

/* ---- the end ---- */

static void
end_set(struct smtp_client *c, enum session_end why, uint16_t code,
    struct sv status, struct sv text)
{
	struct str s;

	if (c->ended)
		return;
	c->ended = true;
	c->why = why;
	c->end_code = code;
	STR_ON(&s, c->end_status);
	str_add(&s, status);
	STR_ON(&s, c->end_text);
	str_add(&s, text);
}

static void
end_reply(struct smtp_client *c, enum session_end why)
{
	const struct smtp_reply *r = &c->reply;
	char s[sizeof(r->status)] = "4.0.0";

	if (smtp_reply_class(r) == 5)
		s[0] = '5';
	end_set(c, why, r->code, sv_from(r->status[0] != '\0' ? r->status : s),
	    reply_text(r));
}

/* Before the final dot it is lost, after it in doubt. */
static void
txn_lose(struct smtp_client *c, struct smtp_txn *t, uint64_t sent,
    struct sv text)
{
	bool doubt = t->phase == TXN_DOT && sent >= t->dot_at;

	/* not for the first one, or a server that hangs up on every MAIL
	 * would be called again and again without a pause */
	if (!t->answered && c->nstarted > 1) {
		txn_give_back(c, t);
		return;
	}
	txn_decide(t, doubt ? OUT_IN_DOUBT : OUT_LOST, 0, SV("4.4.2"),
	    txn_text(t, text));
	txn_detach(c, t);
	c->ops->txn_done(c->arg, t);
}

static void
lose_all(struct smtp_client *c, uint64_t sent, struct sv text)
{
	struct smtp_txn *t = c->txn;

	/* the one that waits for its dot was first */
	if (c->dotted != NULL)
		txn_lose(c, c->dotted, sent, text);
	if (t != NULL)
		txn_lose(c, t, sent, text);
}

static enum session_end
end_of_loss(const struct smtp_client *c)
{
	return c->up ? END_LOST : END_GREETING_TEMP;
}

void
smtp_client_lost(struct smtp_client *c, size_t unsent, bool timeout,
    struct sv reason)
{
	char mem[256];
	struct str s;

	if (c->ended)
		return;
	STR_ON(&s, mem);
	str_addf(&s, "%s while %s", timeout ? "timeout" : "connection lost",
	    smtp_client_state_text(c));
	if (reason.n > 0) {
		str_adds(&s, ": ");
		str_add_escaped(&s, reason);
	}
	end_set(c, c->quit_sent ? END_IDLE : end_of_loss(c), 0, SV("4.4.2"),
	    str_sv(&s));
	lose_all(c, c->emitted - unsent, str_sv(&s));
}

/* The server said what it may not say here. */
static void
client_broken(struct smtp_client *c, const char *what)
{
	char mem[256];
	struct str s;

	STR_ON(&s, mem);
	str_addf(&s, "%s while %s", what, smtp_client_state_text(c));
	if (c->reply.done) {
		str_adds(&s, ": ");
		str_add_escaped(&s, reply_text(&c->reply));
	}
	end_set(c, end_of_loss(c), 0, SV("4.5.0"), str_sv(&s));
	lose_all(c, c->emitted, str_sv(&s));
}

/*
 * 421: the service is closing. What it was said about is temporary, or with
 * SESSION_421_IS_QUEUE not its fault; the rest was not tried.
 */
static void
client_421(struct smtp_client *c, struct smtp_txn *t)
{
	struct smtp_txn *next;

	end_reply(c, c->up ? END_421 : END_GREETING_TEMP);
	if (t != NULL && (c->flags & SESSION_421_IS_QUEUE) != 0) {
		txn_give_back(c, t);
	} else if (t != NULL) {
		txn_decide_reply(t, &c->reply, OUT_TEMPORARY);
		txn_finish(c, t);
	}
	/* an answer to the earlier one's dot will not come any more */
	if (c->dotted != NULL)
		txn_lose(c, c->dotted, c->emitted, reply_text(&c->reply));
	next = c->txn;
	if (next != NULL)
		txn_give_back(c, next);
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
		if (!all_decided(t)) {
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
		if (t->mail_refused || (t->naccepted == 0 && all_decided(t)))
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

static void
client_emit_all(struct smtp_client *c, const struct buf *in, struct buf *out)
{
	/* What a server has sent before it was asked answers nothing: it is
	 * looked at first, and we say no more. */
	if (c->nexpect == 0 && buf_len(in) > 0)
		return;
	while (!c->ended && buf_len(out) < SMTP_CLIENT_HIGH_WATER) {
		size_t before = buf_len(out);
		bool more = client_emit(c, out);

		c->emitted += buf_len(out) - before;
		if (!more)
			return;
	}
}

/* ---- replies ---- */

/* Greeting, EHLO and HELO. */
static void
reply_hello(struct smtp_client *c, enum smtp_verb verb, struct buf *out)
{
	unsigned class = smtp_reply_class(&c->reply);

	if (class == 2 && verb == VERB_GREETING) {
		c->say_hello = VERB_EHLO;
	} else if (class == 2) {
		c->esmtp = verb == VERB_EHLO;
		c->up = true;
		c->ops->on_up(c->arg);
	} else if (class == 5 && verb == VERB_EHLO) {
		c->say_hello = VERB_HELO; /* RFC 5321 3.2 */
	} else if (class == 4 || class == 5) {
		end_reply(c, class == 4 ? END_GREETING_TEMP :
		    END_GREETING_PERM);
		c->polite = smtp_command_add(out, SV("QUIT")) == 0;
	} else {
		client_broken(c, "unexpected reply");
	}
}

static void
reply_mail(struct smtp_client *c, struct smtp_txn *t)
{
	unsigned class = smtp_reply_class(&c->reply);

	if (class == 2) {
		t->mail_ok = true;
	} else if (class == 4 || class == 5) {
		t->mail_refused = true;
		txn_decide_reply(t, &c->reply,
		    class == 4 ? OUT_TEMPORARY : OUT_PERMANENT);
	} else {
		client_broken(c, "unexpected reply");
	}
}

/*
 * 452, or 552 from old servers, with nothing or X.5.3 behind it: the
 * transaction is full (RFC 5321 4.5.3.1.10).
 */
static bool
is_too_many_rcpts(const struct smtp_reply *r)
{
	return (r->code == 452 || r->code == 552) &&
	    (r->status[0] == '\0' ||
	        sv_eq(sv_from_at(sv_from(r->status), 1), SV(".5.3")));
}

static void
reply_rcpt(struct smtp_client *c, struct smtp_txn *t)
{
	const struct smtp_reply *reply = &c->reply;
	unsigned class = smtp_reply_class(reply);
	enum outcome o = OUT_PERMANENT;
	struct smtp_rcpt *r;

	while (!t->rcpts[t->next_reply].sent)
		t->next_reply++;
	r = &t->rcpts[t->next_reply++];
	if (r->decided)
		return; /* MAIL was refused */
	if (class == 2) {
		r->accepted = true;
		t->naccepted++;
		return;
	}
	if (class == 3) {
		client_broken(c, "unexpected reply");
		return;
	}
	if (class == 4 || reply->code == 552)
		o = OUT_TEMPORARY;
	/* those that were taken go now, this one at once after them */
	if (is_too_many_rcpts(reply) && t->naccepted > 0)
		o = OUT_UNTRIED;
	rcpt_decide(r, o, reply->code, reply_status(t, reply, o),
	    txn_text(t, reply_text(reply)));
}

static void
reply_data(struct smtp_client *c, struct smtp_txn *t)
{
	unsigned class = smtp_reply_class(&c->reply);

	if (class == 3) {
		t->phase = TXN_BODY;
		/* RFC 2920 3.1: nobody was accepted, send only the dot */
		t->lone_dot = t->naccepted == 0;
		smtp_stuff_init(&t->stuff);
	} else if (class == 2) {
		client_broken(c, "unexpected reply");
	} else {
		txn_decide_reply(t, &c->reply,
		    class == 4 ? OUT_TEMPORARY : OUT_PERMANENT);
		c->need_rset = c->need_rset || t->mail_ok;
		txn_finish(c, t);
	}
}

static void
reply_dot(struct smtp_client *c, struct smtp_txn *t)
{
	unsigned class = smtp_reply_class(&c->reply);

	if (t == NULL)
		return;
	if (class == 3) {
		client_broken(c, "unexpected reply");
		return;
	}
	txn_decide_reply(t, &c->reply, class == 2 ? OUT_DELIVERED :
	    class == 4 ? OUT_TEMPORARY : OUT_PERMANENT);
	txn_finish(c, t);
}

static void
reply_quit(struct smtp_client *c)
{
	end_set(c, END_IDLE, 0, SV(""), SV(""));
}

/* The server has seen enough of the body; it will not get the rest. */
static void
reply_early(struct smtp_client *c, struct smtp_txn *t)
{
	end_reply(c, END_LOST);
	txn_decide_reply(t, &c->reply, smtp_reply_class(&c->reply) == 4 ?
	    OUT_TEMPORARY : OUT_PERMANENT);
	txn_finish(c, t);
}

/* A reply that nobody asked for. */
static void
reply_unasked(struct smtp_client *c)
{
	unsigned class = smtp_reply_class(&c->reply);
	struct smtp_txn *t = c->txn;

	/* between transactions the server may have had enough of us: it is
	 * no failure of the queue */
	if (c->reply.code == 421 && c->up && t == NULL && c->nstarted > 0)
		end_reply(c, END_LOST);
	else if (c->reply.code == 421)
		client_421(c, t);
	else if (t != NULL && t->phase == TXN_BODY && class >= 4)
		reply_early(c, t);
	else
		client_broken(c, "a reply to nothing");
}

static void
reply_handle(struct smtp_client *c, struct buf *out)
{
	struct smtp_expect e;

	if (c->nexpect == 0) {
		reply_unasked(c);
		return;
	}
	e = expect_take(c);
	c->handling = e.verb;
	if (e.txn != NULL)
		e.txn->answered = true;
	if (e.txn == NULL &&
	    (e.verb == VERB_MAIL || e.verb == VERB_RCPT ||
	        e.verb == VERB_DATA)) {
		/* of an abandoned transaction: say no more */
		if (e.verb == VERB_DATA)
			end_set(c, END_LOST, 0, SV("4.3.0"), SV("abandoned"));
		return;
	}
	if (c->reply.code == 421 && e.verb != VERB_QUIT) {
		client_421(c, e.txn);
		return;
	}
	switch (e.verb) {
	case VERB_GREETING:
	case VERB_EHLO:
	case VERB_HELO:
		reply_hello(c, e.verb, out);
		break;
	case VERB_MAIL:
		reply_mail(c, e.txn);
		break;
	case VERB_RCPT:
		reply_rcpt(c, e.txn);
		break;
	case VERB_DATA:
		reply_data(c, e.txn);
		break;
	case VERB_DOT:
		reply_dot(c, e.txn);
		break;
	case VERB_QUIT:
		reply_quit(c);
		break;
	case VERB_RSET:
		if (smtp_reply_class(&c->reply) != 2)
			client_broken(c, "unexpected reply");
		break;
	case SMTP_VERBS:
		break;
	}
}

/* ---- the owner's calls ---- */

void
smtp_client_init(struct smtp_client *c, struct sv helo, unsigned flags,
    const struct smtp_client_ops *ops, void *arg)
{
	memset(c, 0, sizeof(*c));
	smtp_reply_init(&c->reply);
	c->helo = helo;
	c->flags = flags;
	c->ops = ops;
	c->arg = arg;
	c->say_hello = SMTP_VERBS;
	c->handling = SMTP_VERBS;
	expect_push(c, VERB_GREETING, NULL);
}

bool
smtp_client_run(struct smtp_client *c, struct buf *in, struct buf *out)
{
	client_emit_all(c, in, out);
	while (!c->ended && buf_len(in) > 0) {
		enum smtp_reply_result res;

		if (c->reply.done)
			smtp_reply_init(&c->reply);
		if (c->nexpect > 0 && c->expect[0].verb == VERB_EHLO)
			c->reply.ehlo = &c->ehlo;
		res = smtp_reply_read(&c->reply, in);
		if (res == SMTP_REPLY_MORE)
			break;
		if (res == SMTP_REPLY_DONE) {
			reply_handle(c, out);
			c->handling = SMTP_VERBS;
		} else if (res == SMTP_REPLY_TOO_LONG)
			client_broken(c, "a reply without end");
		else
			client_broken(c, "an answer that is not SMTP");
		client_emit_all(c, in, out);
	}
	return !c->ended;
}

void
smtp_client_quit(struct smtp_client *c)
{
	c->want_quit = true;
}

static void
txn_abandon(struct smtp_client *c, struct smtp_txn *t)
{
	if (t == NULL)
		return;
	txn_detach(c, t);
	c->ops->txn_untried(c->arg, t);
}

bool
smtp_client_abandon(struct smtp_client *c)
{
	c->no_more = true;
	txn_abandon(c, c->txn);
	/* nothing hangs on the answer to a lone dot */
	if (c->dotted != NULL && c->dotted->lone_dot)
		txn_abandon(c, c->dotted);
	return c->dotted != NULL;
}

bool
smtp_client_is_idle(const struct smtp_client *c)
{
	return c->up && c->nexpect == 0 && c->txn == NULL;
}

enum smtp_verb
smtp_client_waits_for(const struct smtp_client *c)
{
	return c->nexpect > 0 ? c->expect[0].verb : SMTP_VERBS;
}

const char *
smtp_client_state_text(const struct smtp_client *c)
{
	if (c->handling != SMTP_VERBS)
		return verb_text[c->handling];
	if (c->nexpect > 0)
		return verb_text[c->expect[0].verb];
	return c->txn != NULL ? "sending the message" : "idle";
}
