/* SPDX-License-Identifier: ISC */
/*
 * sink: for tests, a small scripted SMTP server in a process of its own, which
 * forks for each connection.
 */
#ifndef TESTS_UNIT_DELIVERY_SINK_H
#define TESTS_UNIT_DELIVERY_SINK_H

#include <sys/types.h>

enum sink_mode {
	SINK_GOOD,
	SINK_REFUSE_RCPT_B,  /* 550 to b@ */
	SINK_REFUSE_ALL,     /* 550 to each RCPT */
	SINK_DROP_AT_DOT,    /* reads the message, then closes */
	SINK_HANG_AT_DOT,    /* reads the message, says nothing */
	SINK_GREETING_450,
	SINK_GREETING_554,
	SINK_NO_EHLO,        /* 500 to EHLO: HELO, and no extension */
	SINK_WAIT_AT_DOT,    /* answers the dot after a byte on the gate */
};

struct sink {
	int fd, port;
	pid_t pid;
	int messages;  /* read end: what was received, dot-unstuffed */
	int gate;      /* write end */
};

void sink_start(struct sink *s, enum sink_mode mode);
void sink_stop(struct sink *s);
/* The next message received, without the dots added; the caller frees. */
char *sink_message(struct sink *s, size_t *n_r);

#endif
