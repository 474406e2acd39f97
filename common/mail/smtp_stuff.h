/* SPDX-License-Identifier: ISC */
/*
 * smtp_stuff: the body of a message as it goes on the wire after DATA (RFC
 * 5321 4.5.2), given in any pieces. Whatever comes in, what goes out has no
 * bare CR and no bare LF (each becomes CRLF), a second dot on each line that
 * begins with one, and ends with the one CRLF.CRLF it may have.
 */
#ifndef COMMON_MAIL_SMTP_STUFF_H
#define COMMON_MAIL_SMTP_STUFF_H

#include "common/base/buf.h"

struct smtp_stuff {
	bool in_line;    /* something stands on the line already */
	bool cr;         /* a CR came, nothing was written for it yet */
};

void smtp_stuff_init(struct smtp_stuff *s);
/* 0, or -1 if out is full; then the state is lost. Adds at most 2n + 2. */
int smtp_stuff_add(struct smtp_stuff *s, struct buf *out, struct sv piece)
    __attribute__((warn_unused_result));
/* CRLF if it is missing, and the final dot. */
int smtp_stuff_end(struct smtp_stuff *s, struct buf *out)
    __attribute__((warn_unused_result));

#endif
