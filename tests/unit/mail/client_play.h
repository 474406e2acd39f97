/* SPDX-License-Identifier: ISC */
/*
 * For tests: the client and a scripted server play a session to its end, on
 * buffers. The server is as good or as evil as its script.
 */
#ifndef TESTS_UNIT_MAIL_CLIENT_PLAY_H
#define TESTS_UNIT_MAIL_CLIENT_PLAY_H

#include "common/mail/smtp_client.h"

#define MSGS  3
#define RCPTS 3

/* What the server says; NULL: the usual. "!" closes instead, "~" falls silent,
 * a '!' behind the text closes after it. */
struct script {
	const char *name;
	const char *greeting, *ehlo, *helo, *mail, *rcpt[RCPTS], *data, *dot,
	    *rset, *quit;
	const char *during;  /* said when the body begins to come */
	unsigned flags;      /* enum session_flags */
	unsigned from, to;   /* transactions that this is about; to 0: all */
	unsigned nmsgs;
	bool at_once;        /* too early only if it is seen at once */
	/* per transaction a letter per recipient, see letter() */
	const char *want[MSGS];
	enum session_end why;
};

struct server {
	const struct script *s;
	struct buf in, out;      /* from and to the client */
	unsigned ntxn;           /* MAILs seen */
	bool in_data, closed, silent;
	unsigned nrcpts_ok;      /* of this transaction */
	unsigned nmessages;      /* bodies that came whole */
	char log[8192];          /* the commands */
};

/* The client's owner; the body cannot be read in pieces. */
struct owner {
	const struct script *s;
	struct smtp_txn txns[MSGS];
	struct smtp_rcpt rcpts[MSGS][RCPTS];
	struct arena arena;
	unsigned next;
	unsigned nup;
	unsigned returned[MSGS]; /* times handed back */
	bool untried[MSGS];
	unsigned ndots;
};

extern const struct smtp_client_ops play_ops;

/* Its messages have three recipients each: a@x, b@x, c@x. */
void owner_init(struct owner *o, const struct script *s);
/* The outcome of one. */
char letter(const struct smtp_rcpt *r);
/* Plays one session to its end. piece: bytes that the client gets at once. */
void play(const struct script *s, size_t piece, struct owner *o,
    struct server *v, struct smtp_client *c);
void play_end(struct owner *o, struct server *v);

#endif
