/* SPDX-License-Identifier: ISC */
/*
 * pickup_file: a message that somebody put into the pickup directory. Pure:
 * text in, the commands of an SMTP dialogue and the message out. Two forms:
 *
 *	x-sender: a@example.org         HELO client.example.org
 *	x-receiver: b@example.net       MAIL FROM:<a@example.org>
 *	x-job: news                     RCPT TO:<b@example.net> NOTIFY=NEVER
 *	Subject: ...                    DATA
 *	                                Subject: ...
 *	...
 *	                                ..
 *	                                .
 *
 * Lines end with LF or CRLF. Whether the commands are any good is for the
 * session that gets them to say; here is only seen to it that each is one
 * line.
 */
#ifndef COMMON_MAIL_PICKUP_FILE_H
#define COMMON_MAIL_PICKUP_FILE_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/mail/smtp_stuff.h"

#define PICKUP_COMMAND_MAX 2000u /* a session takes 2048 with verb and CRLF */

struct pickup_file {
	struct sv helo;      /* "" if the file has none */
	struct sv mail;      /* argument of MAIL: "FROM:<a@b> ENVID=x" */
	struct sv *rcpts;    /* arguments of RCPT */
	uint32_t nrcpts;     /* at least 1 */
	struct sv vmta, job; /* "": none */
	struct sv message;   /* the rest of the text */
	bool stuffed;        /* with a second dot on lines that begin with one */
};

/* NULL, or why it is none. Views look into text and a. remove_dot: a last line
 * that is a lone dot is no part of the message in the first form. */
const char *pickup_file_parse(struct sv text, bool remove_dot,
    struct arena *a, struct pickup_file *f_r);

/* Gives the message piece by piece as it goes on the wire behind DATA. */
struct pickup_feed {
	const struct pickup_file *file;
	struct sv rest;
	struct smtp_stuff stuff;
	bool headed, ended;
};

void pickup_feed_init(struct pickup_feed *f, const struct pickup_file *file);
/* Adds what fits into out while that holds less than want bytes. 0, or -1 if a
 * line does not fit. f->ended: the final dot was added. */
int pickup_feed_add(struct pickup_feed *f, struct buf *out, size_t want)
    __attribute__((warn_unused_result));

#endif
