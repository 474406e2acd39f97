/* SPDX-License-Identifier: ISC */
#include "smtpd/verbs.h"

enum reply
verb_data_check(struct session *s, struct sv arg)
{
	(void)arg;
	if (!s->txn.active)
		return REPLY_MAIL_FIRST;
	if (s->txn.nrcpts > 0)
		return NO_REPLY;
	/* RFC 2920 3.1: sent together with recipients that were refused */
	return s->txn.rcpt_refused ? REPLY_NO_RCPTS : REPLY_RCPT_FIRST;
}

void
verb_data(struct session *s, struct sv arg)
{
	(void)arg;
	data_begin(s);
}
