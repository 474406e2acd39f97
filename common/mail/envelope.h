/* SPDX-License-Identifier: ISC */
/*
 * envelope: who a message is from and for, and how it came in. This is what
 * the spool keeps in front of each message and what a COMMIT frame carries.
 * Encoded with a version byte, 1 without groups, 2 with them, 3 if one of them
 * has another priority than the default; decoding refuses NUL, CR and LF in
 * every text and checks every limit again.
 *
 * All views in a decoded envelope look into the encoded bytes.
 */
#ifndef COMMON_MAIL_ENVELOPE_H
#define COMMON_MAIL_ENVELOPE_H

#include "common/base/arena.h"
#include "common/base/rw.h"
#include "common/mail/priority.h"

#define ENV_ADDR_MAX  320   /* local part 64, @, domain 255: RFC 5321 4.5.3.1 */
#define ENV_ENVID_MAX 100   /* RFC 3461 4.4 */
#define ENV_ORCPT_MAX 500   /* RFC 3461 4.2 */
#define ENV_NAME_MAX  255
#define ENV_RCPTS_MAX 100000u
#define ENV_GROUPS_MAX 65535u

enum env_flags {
	ENV_8BITMIME = 1,  /* BODY=8BITMIME was given */
	ENV_SMTPUTF8 = 2,
	ENV_RET_FULL = 4,  /* RET=FULL */
	ENV_RET_HDRS = 8,  /* RET=HDRS */
};

enum env_notify {          /* RFC 3461 4.1; 0: not given */
	NOTIFY_NEVER = 1,
	NOTIFY_SUCCESS = 2,
	NOTIFY_FAILURE = 4,
	NOTIFY_DELAY = 8,
};

struct env_rcpt {
	struct sv addr;    /* local@domain; domain lower-cased, never empty */
	struct sv orcpt;   /* "rfc822;a@b" as given (xtext), or "" */
	uint8_t notify;
	uint16_t group;    /* groups[group - 1]; 0: as the envelope says */
};

/* What some of the recipients have for themselves. */
struct env_group {
	struct sv vmta;    /* "" is {default} */
	struct sv hold;    /* why they come on hold: the name of a pattern-list;
	                    * "": they do not */
	uint8_t priority;  /* at most PRIORITY_MAX */
};

struct envelope {
	uint32_t flags;
	struct sv sender;      /* "" is the null sender */
	struct sv envid;       /* xtext as given, or "" */
	struct sv vmta;        /* "" is {default} */
	struct sv job;
	struct sv src_type;    /* "smtp", "bounce", ... */
	struct sv helo;        /* as the client gave it */
	struct sv client_ip;   /* text, "" if there was no client */
	struct sv client_name; /* "" if unknown */
	struct sv user;        /* authenticated user, or "" */
	uint64_t dsn_for;      /* queue ID this DSN reports on, or 0 */
	const uint32_t *dsn_rcpts; /* indices of its recipients */
	uint32_t dsn_nrcpts;
	const struct env_group *groups; /* none: all recipients have vmta */
	uint16_t ngroups;
	const struct env_rcpt *rcpts;
	uint32_t nrcpts;
};

/* w->failed if something exceeds its limit. */
void envelope_encode(struct wr *w, const struct envelope *e);
/* Arrays are allocated in a. False on anything malformed or no memory. */
bool envelope_decode(struct sv bytes, struct arena *a, struct envelope *e_r)
    __attribute__((warn_unused_result));
/* Of a recipient; what is none has what the envelope has. */
struct sv envelope_vmta(const struct envelope *e, uint32_t rcpt);
struct sv envelope_hold(const struct envelope *e, uint32_t rcpt);
unsigned envelope_priority(const struct envelope *e, uint32_t rcpt);
/* Text behind the last '@'. */
struct sv addr_domain(struct sv addr);

#endif
