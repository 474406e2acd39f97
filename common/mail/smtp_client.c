/* SPDX-License-Identifier: ISC */
/* The replies: which are to come, what each of them changes; and the calls of
 * the owner. */
#include <assert.h>
#include <string.h>

#include "common/mail/smtp_client_private.h"

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

/* ---- the replies that are to come ---- */

void
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

bool
expects_any(const struct smtp_client *c, const struct smtp_txn *t)
{
	for (unsigned i = 0; i < c->nexpect; i++)
		if (c->expect[i].txn == t)
			return true;
	return false;
}

/* ---- replies ---- */

/* The host gives our own name as its own: what we send there comes back. */
static bool
is_our_name(const struct smtp_client *c)
{
	struct sv rest = sv_from_at(reply_text(&c->reply), 3);

	rest = sv_trim(rest);
	return sv_ieq(sv_cut(&rest, ' '), c->helo);
}

static void
end_loop(struct smtp_client *c, struct buf *out)
{
	end_set(c, END_GREETING_TEMP, 0, SV("4.4.6"),
	    SV("the host calls itself by our own name: mail would loop"));
	c->polite = smtp_command_add(out, SV("QUIT")) == 0;
}

/* Greeting, EHLO and HELO. */
static void
reply_hello(struct smtp_client *c, enum smtp_verb verb, struct buf *out)
{
	unsigned class = smtp_reply_class(&c->reply);

	if (class == 2 && verb == VERB_GREETING) {
		c->say_hello = VERB_EHLO;
	} else if (class == 2 && is_our_name(c)) {
		end_loop(c, out);
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
	rcpt_decide(r, o, reply->code, txn_reply_status(t, reply, o),
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

	if (c->reply.code == 421 && c->up && t == NULL &&
	    client_is_between(c))
		client_421_between(c);
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
		if (e.verb == VERB_MAIL && client_is_between(c))
			client_421_between(c);
		else
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

static enum smtp_reply_result
reply_read(struct smtp_client *c, struct buf *in)
{
	struct sv all = buf_sv(in);
	enum smtp_reply_result res = smtp_reply_read(&c->reply, in);

	/* what was consumed stays where it is until more comes in */
	if (c->tap != NULL && buf_len(in) < all.n)
		c->tap->heard(c->arg, sv_head(all, all.n - buf_len(in)));
	return res;
}

bool
smtp_client_run(struct smtp_client *c, struct buf *in, struct buf *out)
{
	client_emit_all(c, in, out);
	while (!c->ended && buf_len(in) > 0) {
		enum smtp_reply_result res;
		size_t before = buf_len(out);

		if (c->reply.done)
			smtp_reply_init(&c->reply);
		if (c->nexpect > 0 && c->expect[0].verb == VERB_EHLO)
			c->reply.ehlo = &c->ehlo;
		res = reply_read(c, in);
		if (res == SMTP_REPLY_MORE)
			break;
		if (res == SMTP_REPLY_DONE) {
			reply_handle(c, out);
			c->handling = SMTP_VERBS;
			client_said(c, SAID_COMMAND, out, before);
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
