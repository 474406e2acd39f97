/* SPDX-License-Identifier: ISC */
/* The verbs that are one answer. */
#include "common/sys/log.h"
#include "smtpd/verbs.h"

void
verb_rset(struct session *s, struct sv arg)
{
	(void)arg;
	txn_reset(s);
	session_reply(s, REPLY_RESET);
}

void
verb_noop(struct session *s, struct sv arg)
{
	(void)arg;
	session_reply(s, REPLY_NOOP);
}

void
verb_quit(struct session *s, struct sv arg)
{
	(void)arg;
	session_close(s, REPLY_BYE);
}

/* RFC 5321 3.5.3: tells nothing about users. */
void
verb_vrfy(struct session *s, struct sv arg)
{
	(void)arg;
	session_reply(s, REPLY_VRFY);
}

void
verb_help(struct session *s, struct sv arg)
{
	(void)arg;
	session_reply(s, REPLY_HELP);
}

/* A browser was made to talk to us: not one byte more. */
void
verb_http(struct session *s, struct sv arg)
{
	(void)arg;
	log_info("client [%s] speaks HTTP: dropped", s->client_ip);
	session_abort(s);
}
