/* SPDX-License-Identifier: ISC */
/* What becomes of the recipients, the transactions and the session: outcomes
 * from replies, and the end of a session for whatever reason. */
#include <string.h>

#include "common/base/str.h"
#include "common/mail/route.h"
#include "common/mail/smtp_client_private.h"

/* With very many recipients each keeps only so much of its reply, so that
 * all of them fit in one RESULT frame. */
#define MANY_RCPTS     1000u
#define MANY_TEXT_MAX  200u

/* ---- outcomes ---- */

void
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

void
txn_decide(struct smtp_txn *t, enum outcome o, uint16_t code,
    struct sv status, struct sv text)
{
	for (uint32_t i = 0; i < t->nrcpts; i++)
		rcpt_decide(&t->rcpts[i], o, code, status, text);
}

/* Keeps a text with the transaction; nothing at worst. */
struct sv
txn_text(struct smtp_txn *t, struct sv text)
{
	if (t->nrcpts > MANY_RCPTS)
		text = sv_head(text, MANY_TEXT_MAX);
	text = arena_sv(t->arena, text);
	return text.p == NULL ? SV("") : text;
}

/* The server's own code if it gave one, but of the class that counts here. */
struct sv
txn_reply_status(struct smtp_txn *t, const struct smtp_reply *r,
    enum outcome o)
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

/* All that are not decided have this reply as their outcome. */
void
txn_decide_reply(struct smtp_txn *t, const struct smtp_reply *r,
    enum outcome o)
{
	txn_decide(t, o, r->code, txn_reply_status(t, r, o),
	    txn_text(t, reply_text(r)));
}

bool
txn_all_decided(const struct smtp_txn *t)
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

void
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

void
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

void
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

void
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
void
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
void
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

/*
 * Between transactions the server may have had enough of us: that is no fault
 * of the queue or of the next message, whose MAIL may be on its way already.
 */
bool
client_is_between(const struct smtp_client *c)
{
	const struct smtp_txn *t = c->txn;

	if (t == NULL)
		return c->nstarted > 0;
	return c->nstarted > 1 && !any_decided(t) && !t->mail_ok &&
	    (c->flags & SESSION_421_IS_QUEUE) == 0;
}

void
client_421_between(struct smtp_client *c)
{
	end_reply(c, END_LOST);
	if (c->txn != NULL)
		txn_give_back(c, c->txn);
}
