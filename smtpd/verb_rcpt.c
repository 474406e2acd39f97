/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "common/base/str.h"
#include "smtpd/verbs.h"

/* Of an encoded recipient: two lengths, NOTIFY, group. */
#define RCPT_FIXED 11u

static enum reply
rcpt_refusal(enum cmd_result res)
{
	switch (res) {
	case CMD_OK:
		return NO_REPLY;
	case CMD_SYNTAX:
		return REPLY_SYNTAX;
	case CMD_ADDR_BAD:
		return REPLY_RCPT_BAD;
	case CMD_ADDR_LONG:
		return REPLY_RCPT_LONG;
	case CMD_UNQUALIFIED:
		return REPLY_UNQUALIFIED;
	case CMD_UTF8_NEEDED:
		return REPLY_NO_UTF8;
	case CMD_PARAM_UNKNOWN:
		return REPLY_PARAM_UNKNOWN;
	case CMD_PARAM_TWICE:
		return REPLY_PARAM_TWICE;
	case CMD_PARAM_BAD:
		return REPLY_PARAM_BAD;
	}
	return REPLY_SYNTAX;
}

/* RFC 5321 4.5.1: <postmaster> is ours. */
static struct sv
rcpt_local(const struct smtp_rcpt *r)
{
	return r->postmaster ? SV("postmaster") : addr_local(&r->to);
}

static struct sv
rcpt_domain(const struct session *s, const struct smtp_rcpt *r)
{
	return r->postmaster ? conf_hostname(s->settings->conf) :
	    addr_domain(addr_text(&r->to));
}

/* The decision is on the parsed final domain and nothing else. */
static bool
may_relay(const struct session *s, const struct smtp_rcpt *r)
{
	const struct conf *c = s->settings->conf;

	if (s->src->always_allow_relaying || r->postmaster)
		return true;
	return conf_relay_allows_rcpt(c, addr_local(&r->to),
	    rcpt_domain(s, r)) ||
	    conf_alias_has(c, addr_local(&r->to), rcpt_domain(s, r));
}

/* Is there no room for n more, that take so many bytes? */
static bool
is_over(const struct txn *t, uint32_t n, size_t bytes)
{
	return n > ENV_RCPTS_MAX - t->nrcpts ||
	    t->env_bytes + bytes > RECORD_ENV_MAX;
}

static bool
is_full(const struct session *s)
{
	const struct txn *t = &s->txn;
	uint32_t limit = s->src->max_rcpt_per_message;

	return (limit != 0 && t->given >= limit) ||
	    is_over(t, 1, ENV_ADDR_MAX + s->cmd.rcpt.orcpt.n + RCPT_FIXED);
}

/* ---- aliases ---- */

static enum reply
alias_refusal(enum conf_expand result)
{
	switch (result) {
	case CONF_EXPAND_NONE:
	case CONF_EXPAND_OK:
		return NO_REPLY;
	case CONF_EXPAND_LOOP:
		return REPLY_ALIAS_LOOP;
	case CONF_EXPAND_TOO_MANY:
		return REPLY_ALIAS_LARGE;
	case CONF_EXPAND_BAD:
		return REPLY_RCPT_LONG;
	case CONF_EXPAND_NO_MEMORY:
		break;
	}
	return REPLY_LOCAL_ERROR;
}

/* Some of a message's recipients may be tried again without the others, but
 * one alone that does not fit never will. */
static enum reply
targets_fit(const struct session *s)
{
	const struct txn *t = &s->txn;
	size_t bytes = 0;

	for (uint32_t i = 0; i < t->ntargets; i++)
		bytes += t->targets[i].n + ENV_ORCPT_MAX + RCPT_FIXED;
	if (!is_over(t, t->ntargets, bytes))
		return NO_REPLY;
	return t->nrcpts == 0 ? REPLY_ALIAS_LARGE : REPLY_TOO_MANY_RCPTS;
}

/* What the address stands for, and what the pattern list says of those. */
static enum reply
targets_find(struct session *s)
{
	const struct smtp_rcpt *r = &s->cmd.rcpt;
	struct txn *t = &s->txn;
	struct sv v[CONF_ALIAS_MAX];
	enum reply res;

	t->ntargets = 0;
	res = alias_refusal(conf_alias_expand(s->settings->conf,
	    rcpt_local(r), rcpt_domain(s, r), &t->arena, v, &t->ntargets));
	if (res != NO_REPLY || t->ntargets == 0)
		return res;
	t->targets = arena_alloc(&t->arena, t->ntargets * sizeof(*v));
	if (t->targets == NULL)
		return REPLY_LOCAL_ERROR;
	memcpy(t->targets, v, t->ntargets * sizeof(*v));
	res = targets_fit(s);
	for (uint32_t i = 0; res == NO_REPLY && !r->postmaster &&
	    i < t->ntargets; i++)
		res = pattern_rcpt(s, t->targets[i]);
	return res;
}

static enum reply
rcpt_check(struct session *s, struct sv arg)
{
	struct smtp_rcpt *r = &s->cmd.rcpt;
	bool utf8 = (s->txn.flags & ENV_SMTPUTF8) != 0;
	struct sv suffix = session_suffix(s);
	enum cmd_result res;
	enum reply refusal = REPLY_TOO_MANY_RCPTS;

	res = smtp_rcpt_parse(arg, utf8, r);
	if (res == CMD_UNQUALIFIED && suffix.n > 0)
		res = addr_qualify(r->local, suffix, utf8, &r->to);
	if (res != CMD_OK)
		return rcpt_refusal(res);
	if (!may_relay(s, r))
		return REPLY_RELAY_DENIED;
	if (!is_full(s)) {
		refusal = r->postmaster ? NO_REPLY :
		    pattern_rcpt(s, addr_text(&r->to));
		if (refusal == NO_REPLY)
			refusal = targets_find(s);
	}
	if (refusal != REPLY_TOO_MANY_RCPTS)
		return refusal;
	return ++s->txn.rcpts_over > ENV_RCPTS_MAX ? REPLY_TOO_MANY_ERRS :
	    REPLY_TOO_MANY_RCPTS;
}

enum reply
verb_rcpt_check(struct session *s, struct sv arg)
{
	enum reply r;

	if (!s->txn.active)
		return REPLY_MAIL_FIRST;
	r = rcpt_check(s, arg);
	if (r != NO_REPLY)
		s->txn.rcpt_refused = true;
	return r;
}

/* One more place in the array; the arena bounds it. */
static struct env_rcpt *
rcpt_add(struct txn *t)
{
	if (t->nrcpts == t->rcpts_size) {
		uint32_t size = t->rcpts_size == 0 ? 4 : t->rcpts_size * 2;
		struct env_rcpt *list = arena_alloc(&t->arena,
		    size * sizeof(*list));

		if (list == NULL)
			return NULL;
		if (t->nrcpts > 0)
			memcpy(list, t->rcpts, t->nrcpts * sizeof(*list));
		t->rcpts = list;
		t->rcpts_size = size;
	}
	return &t->rcpts[t->nrcpts];
}

static struct sv
postmaster_addr(struct session *s)
{
	struct sv host = conf_hostname(s->settings->conf);
	size_t n = strlen("postmaster@") + host.n;
	char *p = arena_alloc(&s->txn.arena, n + 1);

	if (p == NULL)
		return sv_make(NULL, 0);
	memcpy(p, "postmaster@", n - host.n);
	for (size_t i = 0; i < host.n; i++)
		p[n - host.n + i] = ascii_lower(host.p[i]);
	return sv_make(p, n);
}

static bool
rcpt_put(struct txn *t, const struct env_rcpt *r)
{
	struct env_rcpt *slot = rcpt_add(t);

	if (slot == NULL)
		return false;
	*slot = *r;
	t->nrcpts++;
	t->env_bytes += r->addr.n + r->orcpt.n + RCPT_FIXED;
	return true;
}

/* RFC 3461 5.2.1: who was given none may add the address of this RCPT. p is
 * NULL without memory. */
static struct sv
orcpt_make(struct txn *t, struct sv addr, struct sv orcpt)
{
	char mem[ENV_ORCPT_MAX + 1];
	struct str s;

	/* its type rfc822 is for ASCII: RFC 6533 3 */
	if (orcpt.n > 0 || (t->flags & ENV_SMTPUTF8) != 0)
		return orcpt;
	STR_ON(&s, mem);
	str_adds(&s, "rfc822;");
	xtext_add(&s, addr);
	return s.truncated ? orcpt : arena_sv(&t->arena, str_sv(&s));
}

/*
 * RFC 3461 5.2.7: to the only target of an alias everything goes on. Of several
 * the first alone is asked for its success, as in 5.2.7.2 (b), since nobody
 * tells the sender that the alias was expanded; failures of all of them are
 * told, as in (c).
 */
static uint8_t
target_notify(uint8_t notify, uint32_t i)
{
	uint8_t rest = notify & (uint8_t)~NOTIFY_SUCCESS;

	if (i == 0 || (notify & NOTIFY_SUCCESS) == 0)
		return notify;
	return rest == 0 ? NOTIFY_NEVER : rest;
}

/* All of them or none. */
static bool
targets_put(struct txn *t, const struct env_rcpt *alias)
{
	uint32_t before = t->nrcpts;
	size_t bytes = t->env_bytes;

	for (uint32_t i = 0; i < t->ntargets; i++) {
		struct env_rcpt r = { .addr = t->targets[i],
			.orcpt = alias->orcpt,
			.notify = target_notify(alias->notify, i) };

		if (rcpt_put(t, &r))
			continue;
		t->nrcpts = before;
		t->env_bytes = bytes;
		return false;
	}
	return true;
}

void
verb_rcpt(struct session *s, struct sv arg)
{
	const struct smtp_rcpt *r = &s->cmd.rcpt;
	struct txn *t = &s->txn;
	struct env_rcpt rcpt = { .notify = r->notify };
	bool ok;

	(void)arg;
	rcpt.addr = r->postmaster ? postmaster_addr(s) :
	    arena_sv(&t->arena, addr_text(&r->to));
	rcpt.orcpt = arena_sv(&t->arena, r->orcpt);
	ok = rcpt.addr.p != NULL && rcpt.orcpt.p != NULL;
	if (ok && t->ntargets > 0) {
		rcpt.orcpt = orcpt_make(t, rcpt.addr, rcpt.orcpt);
		ok = rcpt.orcpt.p != NULL && targets_put(t, &rcpt);
	} else if (ok) {
		ok = rcpt_put(t, &rcpt);
	}
	if (!ok) {
		session_reply(s, REPLY_LOCAL_ERROR);
		return;
	}
	t->given++;
	session_reply(s, REPLY_RCPT_OK);
}
