/* SPDX-License-Identifier: ISC */
/*
 * dsn: builds the body of a delivery status notification: a multipart/report
 * (RFC 3464, 6522; RFC 6533 where an address is not ASCII) with a part for
 * people, a part for programs and what may be returned of the original. Pure:
 * no clock, no I/O. Everything in it that came from outside is made safe:
 * control bytes never reach the output, lines end with CRLF and have at most
 * 998 bytes, the boundary does not occur in the content.
 *
 * Whether a DSN is to be made at all is the caller's decision, except that
 * none is ever made for the null sender.
 */
#ifndef COMMON_MAIL_DSN_H
#define COMMON_MAIL_DSN_H

#include "common/base/buf.h"
#include "common/base/timeval.h"

/* Headers and bodies over this are not returned: a DSN must not be a way to
 * make much out of little. */
#define DSN_RETURN_MAX (50u * 1024)
/* What dsn_build() needs at most besides the returned original, for one
 * recipient and for the rest; for the cap of the output. */
#define DSN_RCPT_BYTES 32768u
#define DSN_FIXED_BYTES 16384u

enum dsn_action {
	DSN_FAILED,
	DSN_DELAYED,
	DSN_DELIVERED,
	DSN_RELAYED,        /* to a host that makes no DSNs */
	DSN_ACTIONS
};

struct dsn_rcpt {
	struct sv addr;
	struct sv orcpt;    /* "rfc822;a+2Bb@c": xtext as given, or "" */
	enum dsn_action action;
	struct sv status;   /* "5.1.1"; replaced if its class does not match */
	struct sv diag;     /* "550 5.1.1 no such user", or our own words */
	struct sv mta;      /* "name (ip)" of the remote host, or "" */
	struct wall last_attempt; /* 0: unknown */
	struct wall retry_until;  /* 0: unknown; only for DSN_DELAYED */
};

struct dsn {
	struct sv host;     /* our name */
	struct sv to;       /* the original's sender, never empty */
	struct sv queue_id; /* of the original, for people */
	struct sv envid;    /* xtext as given, or "" */
	struct sv from_mta; /* "name (ip)" the original came from, or "" */
	struct wall arrival; /* of the original; 0: unknown */
	struct wall now;
	uint64_t unique;    /* makes Message-ID and boundary */
	const struct dsn_rcpt *rcpts;
	uint32_t nrcpts;    /* at least 1 */
	bool has_original;
	struct sv head;     /* the original: headers that we added ... */
	struct sv body;     /* ... and the message as received */
	bool full;          /* RET=FULL; else, and over the cap, headers only */
	bool original_utf8; /* the original was sent with SMTPUTF8 */
};

enum dsn_result {
	DSN_OK,
	DSN_NULL_SENDER,    /* d->to is empty or "<>", or there is no recipient */
	DSN_TOO_BIG,        /* out's cap is too small, or no memory */
};

/*
 * Adds header and body to out. *env_flags_r gets ENV_8BITMIME and ENV_SMTPUTF8
 * as the DSN's envelope needs them. On failure out holds rubbish.
 */
enum dsn_result dsn_build(const struct dsn *d, struct buf *out,
    uint32_t *env_flags_r) __attribute__((warn_unused_result));

/*
 * Decodes xtext (RFC 3461 4) into mem; false if it is malformed, decodes to a
 * control byte, or does not fit.
 */
bool xtext_decode(struct sv v, char *mem, size_t size, struct sv *out_r);

#endif
