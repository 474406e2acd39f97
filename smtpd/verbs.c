/* SPDX-License-Identifier: ISC */
#include "common/sys/log.h"
#include "smtpd/verbs.h"

const struct verb smtpd_verbs[SMTP_VERB_COUNT] = {
	[SMTP_HELO] = { NULL, verb_helo, VERB_JUNK | VERB_NEED_ARG },
	[SMTP_EHLO] = { NULL, verb_ehlo, VERB_JUNK | VERB_NEED_ARG },
	[SMTP_MAIL] = { verb_mail_check, verb_mail,
	    VERB_GREETED | VERB_NEED_ARG },
	[SMTP_RCPT] = { verb_rcpt_check, verb_rcpt,
	    VERB_GREETED | VERB_NEED_ARG },
	[SMTP_DATA] = { verb_data_check, verb_data,
	    VERB_GREETED | VERB_NO_ARG },
	[SMTP_RSET] = { NULL, verb_rset, VERB_JUNK | VERB_NO_ARG },
	[SMTP_NOOP] = { NULL, verb_noop, VERB_JUNK },
	[SMTP_QUIT] = { NULL, verb_quit, VERB_NO_ARG },
	[SMTP_VRFY] = { NULL, verb_vrfy, VERB_JUNK | VERB_NEED_ARG },
	[SMTP_HELP] = { NULL, verb_help, VERB_JUNK },
	[SMTP_HTTP] = { NULL, verb_http, 0 },
	/* EXPN, BDAT, AUTH, STARTTLS: known, not offered */
};

static enum reply
verb_refusal(struct session *s, enum smtp_verb verb, struct sv arg)
{
	const struct verb *v = &smtpd_verbs[verb];

	if (verb == SMTP_UNKNOWN)
		return REPLY_UNKNOWN;
	if (v->proceed == NULL)
		return REPLY_NOT_OFFERED;
	if ((v->flags & VERB_GREETED) != 0 && !s->greeted)
		return REPLY_HELO_FIRST;
	if ((v->flags & VERB_NO_ARG) != 0 && arg.n > 0)
		return REPLY_SYNTAX;
	if ((v->flags & VERB_NEED_ARG) != 0 && arg.n == 0)
		return REPLY_SYNTAX;
	return v->check != NULL ? v->check(s, arg) : NO_REPLY;
}

static bool
is_over(uint32_t n, uint32_t limit)
{
	return limit != 0 && n > limit;
}

void
verb_run(struct session *s, struct sv line)
{
	struct sv arg;
	enum smtp_verb verb = smtp_verb_parse(line, &arg);
	const struct verb *v = &smtpd_verbs[verb];
	enum reply r;

	if (s->src->log_commands) {
		char text[COMMAND_MAX];

		log_info("command from [%s]: %s", s->client_ip,
		    log_safe(line, text, sizeof(text)));
	}
	if (is_over(++s->commands, s->src->max_commands_per_session) ||
	    ((v->flags & VERB_JUNK) != 0 && ++s->junk > JUNK_MAX)) {
		session_close(s, REPLY_TOO_MANY_CMDS);
		return;
	}
	r = verb_refusal(s, verb, arg);
	if (r == NO_REPLY) {
		v->proceed(s, arg);
		return;
	}
	if ((verb == SMTP_MAIL || verb == SMTP_RCPT || verb == SMTP_DATA) &&
	    (r != REPLY_TOO_MANY_RCPTS || s->txn.rcpts_over == 1))
		session_log_refusal(s, smtp_verb_name(verb), arg, r);
	if (reply_code(r) == 421)
		session_close(s, r);
	else
		session_reply(s, r);
}
