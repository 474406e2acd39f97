/* SPDX-License-Identifier: ISC */
#include <string.h>

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

/* The decision is on the parsed final domain and nothing else. */
static bool
may_relay(const struct session *s, const struct smtp_rcpt *r)
{
	if (s->src->always_allow_relaying || r->postmaster)
		return true;
	return conf_relay_allows_rcpt(s->settings->conf, addr_local(&r->to),
	    addr_domain(addr_text(&r->to)));
}

static bool
is_full(const struct session *s)
{
	const struct smtp_rcpt *r = &s->cmd.rcpt;
	const struct txn *t = &s->txn;
	uint32_t limit = s->src->max_rcpt_per_message;

	if (limit == 0 || limit > ENV_RCPTS_MAX)
		limit = ENV_RCPTS_MAX;
	return t->nrcpts >= limit ||
	    t->env_bytes + ENV_ADDR_MAX + r->orcpt.n + RCPT_FIXED >
	    RECORD_ENV_MAX;
}

static enum reply
rcpt_check(struct session *s, struct sv arg)
{
	struct smtp_rcpt *r = &s->cmd.rcpt;
	bool utf8 = (s->txn.flags & ENV_SMTPUTF8) != 0;
	struct sv suffix = session_suffix(s);
	enum cmd_result res;

	res = smtp_rcpt_parse(arg, utf8, r);
	if (res == CMD_UNQUALIFIED && suffix.n > 0)
		res = addr_qualify(r->local, suffix, utf8, &r->to);
	if (res != CMD_OK)
		return rcpt_refusal(res);
	if (!may_relay(s, r))
		return REPLY_RELAY_DENIED;
	if (!is_full(s))
		return r->postmaster ? NO_REPLY :
		    pattern_rcpt(s, addr_text(&r->to));
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

/* RFC 5321 4.5.1: <postmaster> is ours. */
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

void
verb_rcpt(struct session *s, struct sv arg)
{
	const struct smtp_rcpt *r = &s->cmd.rcpt;
	struct txn *t = &s->txn;
	struct env_rcpt *slot = rcpt_add(t);
	struct sv addr, orcpt;

	(void)arg;
	addr = r->postmaster ? postmaster_addr(s) :
	    arena_sv(&t->arena, addr_text(&r->to));
	orcpt = arena_sv(&t->arena, r->orcpt);
	if (slot == NULL || addr.p == NULL || orcpt.p == NULL) {
		session_reply(s, REPLY_LOCAL_ERROR);
		return;
	}
	*slot = (struct env_rcpt){
		.addr = addr, .orcpt = orcpt, .notify = r->notify,
	};
	t->nrcpts++;
	t->env_bytes += addr.n + orcpt.n + RCPT_FIXED;
	session_reply(s, REPLY_RCPT_OK);
}
