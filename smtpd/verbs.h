/* SPDX-License-Identifier: ISC */
/*
 * verbs: the table of commands. check looks and refuses, proceed does; a
 * command is refused by its row's flags first.
 */
#ifndef SMTPD_VERBS_H
#define SMTPD_VERBS_H

#include "smtpd/session.h"

enum verb_flags {
	VERB_GREETED = 1,  /* only after HELO or EHLO */
	VERB_JUNK = 2,     /* brings no message nearer */
	VERB_NO_ARG = 4,
	VERB_NEED_ARG = 8,
};

struct verb {
	/* NO_REPLY: proceed. NULL: always. */
	enum reply (*check)(struct session *s, struct sv arg);
	void (*proceed)(struct session *s, struct sv arg);
	unsigned flags;
};

extern const struct verb smtpd_verbs[SMTP_VERB_COUNT];

void verb_run(struct session *s, struct sv line);

enum reply verb_mail_check(struct session *s, struct sv arg);
void verb_mail(struct session *s, struct sv arg);
enum reply verb_rcpt_check(struct session *s, struct sv arg);
void verb_rcpt(struct session *s, struct sv arg);
enum reply verb_data_check(struct session *s, struct sv arg);
void verb_data(struct session *s, struct sv arg);
void verb_helo(struct session *s, struct sv arg);
void verb_ehlo(struct session *s, struct sv arg);
void verb_rset(struct session *s, struct sv arg);
void verb_noop(struct session *s, struct sv arg);
void verb_quit(struct session *s, struct sv arg);
void verb_vrfy(struct session *s, struct sv arg);
void verb_help(struct session *s, struct sv arg);
void verb_http(struct session *s, struct sv arg);

#endif
