/* SPDX-License-Identifier: ISC */
#include "smtpd/verbs.h"

static enum reply
mail_refusal(enum cmd_result res)
{
	switch (res) {
	case CMD_OK:
		return NO_REPLY;
	case CMD_SYNTAX:
		return REPLY_SYNTAX;
	case CMD_ADDR_BAD:
		return REPLY_SENDER_BAD;
	case CMD_ADDR_LONG:
		return REPLY_SENDER_LONG;
	case CMD_UNQUALIFIED:
		return REPLY_SENDER_UNQUAL;
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

enum reply
verb_mail_check(struct session *s, struct sv arg)
{
	const struct conf_source *src = s->src;
	struct smtp_mail *m = &s->cmd.mail;
	struct sv suffix = session_suffix(s);
	enum cmd_result res;
	enum reply r;

	if (s->txn.active)
		return REPLY_NESTED_MAIL;
	if (src->max_msg_per_session != 0 &&
	    s->messages >= src->max_msg_per_session)
		return REPLY_TOO_MANY_MSGS;
	res = smtp_mail_parse(arg, src->allow_smtputf8, m);
	if (res == CMD_UNQUALIFIED && suffix.n > 0)
		res = addr_qualify(m->local, suffix,
		    (m->flags & ENV_SMTPUTF8) != 0, &m->from);
	r = mail_refusal(res);
	if (r != NO_REPLY)
		return r;
	/* RFC 1870 6.1 */
	if (src->max_message_size_bytes != 0 &&
	    m->size > src->max_message_size_bytes)
		return REPLY_TOO_BIG;
	if (committer_refusal(s->srv->committer).n > 0)
		return REPLY_NO_SPACE;
	return NO_REPLY;
}

void
verb_mail(struct session *s, struct sv arg)
{
	const struct smtp_mail *m = &s->cmd.mail;
	struct txn *t = &s->txn;

	(void)arg;
	t->flags = m->flags;
	t->sender = arena_sv(&t->arena, addr_text(&m->from));
	t->envid = arena_sv(&t->arena, m->envid);
	if (t->sender.p == NULL || t->envid.p == NULL) {
		txn_reset(s);
		session_reply(s, REPLY_LOCAL_ERROR);
		return;
	}
	t->env_bytes = t->sender.n + t->envid.n + 2048;
	t->active = true;
	txn_expect(s, true);
	session_reply(s, REPLY_MAIL_OK);
}
