/* SPDX-License-Identifier: ISC */
/*
 * outcome: what became of a recipient in one attempt, and why a session
 * ended. Shared by the delivery workers, which find out, qmgr, which acts, and
 * the event log.
 */
#ifndef COMMON_MAIL_OUTCOME_H
#define COMMON_MAIL_OUTCOME_H

#include "common/base/rw.h"

enum outcome {
	OUT_DELIVERED,     /* 2xx */
	OUT_TEMPORARY,     /* 4xx to this recipient or to the message */
	OUT_PERMANENT,     /* 5xx */
	OUT_LOST,          /* connection lost or timeout before the final dot */
	OUT_IN_DOUBT,      /* final dot sent, no answer */
	OUT_UNREADABLE,    /* the record could not be read; tried again later,
	                    * a corrupt one is quarantined by qmgr */
	OUT_UNTRIED,       /* not attempted: nobody's fault, try again now */
	OUTCOMES
};

enum session_end {
	END_IDLE,          /* nothing more to do: QUIT, all well */
	END_LIMIT,         /* max-msg-per-connection reached */
	END_LOST,          /* connection lost after greeting, no queue failure */
	END_CONNECT,       /* no host could be connected */
	END_GREETING_TEMP, /* greeting or EHLO 4xx, or no greeting in time */
	END_GREETING_PERM, /* greeting or EHLO 5xx */
	END_421,           /* 421: the service is closing */
	END_ROUTE,         /* route has no usable address */
	SESSION_ENDS
};

#define RCPT_TEXT_MAX 2048

struct rcpt_result {
	uint32_t idx;       /* of the recipient in the envelope */
	uint8_t outcome;    /* enum outcome */
	uint8_t notify;     /* enum env_notify, from the envelope */
	uint8_t relayed_no_dsn; /* delivered, and the peer has no DSN */
	uint16_t code;      /* SMTP reply code, 0 if there was none */
	struct sv addr;     /* from the envelope, for the log */
	struct sv orcpt;
	struct sv status;   /* "5.1.1": from the reply, or derived */
	struct sv text;     /* the reply "550 5.1.1 no such user", lines joined
	                     * by a blank; or our own words */
};

const char *outcome_name(enum outcome o);
const char *session_end_name(enum session_end e);
void rcpt_result_put(struct wr *w, const struct rcpt_result *r);
/* False at the end or if malformed; then r->failed tells which. */
bool rcpt_result_next(struct rd *r, struct rcpt_result *res_r);

#endif
