/* SPDX-License-Identifier: ISC */
/*
 * smtp_reply: reads the replies of an SMTP server, however they are cut into
 * pieces. Pure: bytes in, a checked reply out. Everything is bounded; what is
 * not SMTP, or more than the bounds, is refused and the connection with it.
 *
 * The text kept is printable ASCII only: "550 5.1.1 no such user", lines
 * joined by a blank, a code that every line repeats only once.
 */
#ifndef COMMON_MAIL_SMTP_REPLY_H
#define COMMON_MAIL_SMTP_REPLY_H

#include "common/base/buf.h"

#define SMTP_REPLY_LINE_MAX  4096  /* 512 in RFC 5321 4.5.3.1.5; be liberal */
#define SMTP_REPLY_LINES_MAX 100
#define SMTP_REPLY_TEXT_MAX  2048  /* kept; the rest is read and dropped */

/* What a server says it can do, as far as it matters here. */
enum smtp_cap {
	CAP_PIPELINING = 1,
	CAP_SIZE = 2,
	CAP_8BITMIME = 4,
	CAP_SMTPUTF8 = 8,
	CAP_DSN = 16,
	CAP_ENHANCEDSTATUSCODES = 32,
	CAP_CHUNKING = 64,
	CAP_STARTTLS = 128,
};

struct smtp_ehlo {
	unsigned caps;      /* enum smtp_cap bits */
	uint64_t size_max;  /* of SIZE; 0: no limit known */
};

enum smtp_reply_result {
	SMTP_REPLY_MORE,     /* not complete */
	SMTP_REPLY_DONE,
	SMTP_REPLY_BAD,      /* not an SMTP reply: give up the connection */
	SMTP_REPLY_TOO_LONG, /* a line, or too many lines */
};

struct smtp_reply {
	uint16_t code;      /* 200 to 599 when done */
	char status[12];    /* "5.1.1"; "" without one of the code's class */
	char text[SMTP_REPLY_TEXT_MAX + 1];
	size_t text_n;
	unsigned lines;
	bool done;          /* the next byte begins a new reply */
	struct smtp_ehlo *ehlo; /* filled from the lines, or NULL */
};

void smtp_reply_init(struct smtp_reply *r);
/*
 * Takes whole lines off in until a reply is complete. A reply that was
 * complete is forgotten by the next call, and r->ehlo with it.
 */
enum smtp_reply_result smtp_reply_read(struct smtp_reply *r, struct buf *in);
/* 2 to 5: all that decides what happens next. */
unsigned smtp_reply_class(const struct smtp_reply *r);
/* The length of an RFC 3463 code at the start of v with this class (2, 4, 5;
 * 0: any), or 0 if there is none. */
size_t smtp_status_scan(struct sv v, unsigned class);
/* One line of the answer to EHLO, behind the code; not the first one. */
void smtp_ehlo_line(struct smtp_ehlo *e, struct sv line);
/* "PIPELINING,8BITMIME,DSN"; returns out. */
const char *smtp_ehlo_format(const struct smtp_ehlo *e, char *out,
    size_t out_size);

#endif
