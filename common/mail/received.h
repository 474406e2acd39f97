/* SPDX-License-Identifier: ISC */
/*
 * received: the trace header that the server adds (RFC 5321 4.4). What the
 * client said about itself is made harmless: bytes that have no place in a
 * host name become '?'. Lines are folded; none is longer than 998 bytes.
 */
#ifndef COMMON_MAIL_RECEIVED_H
#define COMMON_MAIL_RECEIVED_H

#include "common/base/buf.h"
#include "common/base/timeval.h"

#define RECEIVED_MAX 2048 /* more than the longest one */

struct received {
	struct sv helo;         /* as the client gave it */
	struct sv client_name;  /* "": unknown */
	struct sv client_ip;    /* "": leave the client out altogether */
	struct sv host;         /* ours */
	struct sv id;           /* queue ID */
	struct sv rcpt;         /* the only recipient, or "" */
	bool esmtp, utf8;
	struct wall when;
};

/* Adds the header with its CR LF. 0, or -1 if it does not fit. */
int received_put(struct buf *out, const struct received *r)
    __attribute__((warn_unused_result));

#endif
