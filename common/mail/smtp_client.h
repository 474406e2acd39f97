/* SPDX-License-Identifier: ISC */
/*
 * smtp_client: one SMTP session from the client's side, as a pure state
 * machine: it takes the server's bytes off one buffer and adds ours to
 * another. It opens nothing, reads no clock and knows no queue. It asks its
 * owner for the next transaction when one may begin, and tells what became of
 * each recipient.
 *
 * With PIPELINING, MAIL, all RCPTs and DATA leave together, and so do the
 * final dot and the next transaction's commands. Answers are matched in order.
 * At most two transactions are under way: one whose dot waits for its answer,
 * and the next one.
 *
 * An answer that is not SMTP ends the session. What it leaves behind is the
 * same as after a lost connection: before the final dot OUT_LOST, after it
 * OUT_IN_DOUBT, and a transaction that the server has said nothing about yet
 * goes back to the owner untried, if the session had done anything before.
 */
#ifndef COMMON_MAIL_SMTP_CLIENT_H
#define COMMON_MAIL_SMTP_CLIENT_H

#include "common/base/arena.h"
#include "common/mail/envelope.h"
#include "common/mail/outcome.h"
#include "common/mail/smtp_reply.h"
#include "common/mail/smtp_stuff.h"

/* One command with CRLF: 512 (RFC 5321 4.5.3.1.4) and what RFC 3461, 1870,
 * 6152 and 6531 add to MAIL and RCPT, generously. */
#define SMTP_COMMAND_MAX 1500
/* Output is not made beyond this before some has left. */
#define SMTP_CLIENT_HIGH_WATER ((size_t)256 << 10)
/* The buffers that the owner gives: input, and output with what one step may
 * add to the above (a piece of body, doubled at worst). */
#define SMTP_CLIENT_IN_CAP  ((size_t)16384)
#define SMTP_CLIENT_OUT_CAP ((size_t)1 << 20)

struct smtp_rcpt {
	/* the owner's */
	struct sv addr, orcpt;
	uint32_t idx;
	uint8_t notify;       /* enum env_notify */
	/* the outcome */
	uint8_t outcome;      /* enum outcome, if decided */
	bool decided;
	bool accepted;        /* RCPT was answered with 2xx */
	uint16_t code;
	struct sv status, text; /* live as long as the transaction's arena */
	/* the machine's */
	bool sent;
};

enum smtp_txn_phase {
	TXN_MAIL, TXN_RCPT, TXN_DATA, /* to be sent next */
	TXN_WAIT,                     /* for the answer to DATA */
	TXN_BODY,                     /* being sent */
	TXN_DOT,                      /* waits for the answer to the dot */
};

struct smtp_txn {
	/* the owner's */
	struct sv sender, envid;
	uint32_t flags;         /* enum env_flags */
	bool has_8bit;          /* in head or body */
	struct sv head;         /* trace headers */
	struct sv body;         /* all of it, or "" with body_len set: then
	                         * ops->body_read gives it in pieces */
	uint64_t body_len;
	struct smtp_rcpt *rcpts;
	uint32_t nrcpts;
	struct arena *arena;    /* for reply texts */
	void *owner;
	/* the machine's; the caller zeroes it */
	enum smtp_txn_phase phase;
	uint32_t next_rcpt;     /* to be sent */
	uint32_t next_reply;    /* to be answered */
	uint32_t naccepted;
	bool answered;          /* the server said something about it */
	bool mail_ok, mail_refused;
	bool lone_dot;          /* 354 though nobody was accepted */
	uint64_t body_at;       /* sent so far, head included */
	uint64_t dot_at;        /* place in the output stream behind the dot */
	struct smtp_stuff stuff;
};

struct smtp_client;

enum smtp_said {
	SAID_COMMAND,
	SAID_BODY,              /* a piece of head or body, as it is sent */
	SAID_DOT,               /* the end of it, with the dot */
};

struct smtp_client_ops {
	/* Greeting and EHLO are done; c->ehlo says what the server offers. */
	void (*on_up)(void *arg);
	/* The next transaction, or NULL if there is none (the owner calls
	 * smtp_client_run() when there is). */
	struct smtp_txn *(*txn_next)(void *arg);
	/* Up to n bytes of the body at this place into p: how many, or -1 if
	 * it cannot be read or is corrupt. */
	ssize_t (*body_read)(void *arg, struct smtp_txn *t, uint64_t at,
	    void *p, size_t n);
	/* The final dot is about to be added to the output, for the accepted
	 * recipients. */
	void (*before_dot)(void *arg, struct smtp_txn *t);
	/* Every recipient is decided. The transaction is the owner's again. */
	void (*txn_done)(void *arg, struct smtp_txn *t);
	/* Nothing was tried. The transaction is the owner's again. */
	void (*txn_untried)(void *arg, struct smtp_txn *t);
};

/* For whoever looks on: whole lines that were taken off the input, and what
 * was added to the output. */
struct smtp_tap {
	void (*heard)(void *arg, struct sv bytes);
	void (*said)(void *arg, enum smtp_said what, struct sv bytes);
};

/* What the next reply belongs to. */
enum smtp_verb {
	VERB_GREETING, VERB_EHLO, VERB_HELO, VERB_MAIL, VERB_RCPT, VERB_DATA,
	VERB_DOT, VERB_RSET, VERB_QUIT, SMTP_VERBS
};

struct smtp_expect {
	enum smtp_verb verb;
	struct smtp_txn *txn; /* NULL where it has none */
	uint32_t n;           /* so many replies */
};

#define SMTP_EXPECTS 8  /* DOT, RSET, MAIL, RCPT, DATA, QUIT at most */

struct smtp_client {
	const struct smtp_client_ops *ops;
	void *arg;
	const struct smtp_tap *tap; /* the owner's; NULL: nobody looks on */
	struct sv helo;         /* the owner's */
	unsigned flags;         /* enum session_flags */
	struct smtp_ehlo ehlo;
	bool esmtp;             /* EHLO was accepted, not HELO */
	bool up;
	struct smtp_reply reply;
	struct smtp_expect expect[SMTP_EXPECTS];
	unsigned nexpect;
	struct smtp_txn *txn;   /* under way, up to its final dot */
	struct smtp_txn *dotted;
	uint64_t emitted;       /* bytes added to the output */
	uint32_t nstarted;      /* transactions */
	uint32_t progress;      /* changes when the deadline is to be moved */
	enum smtp_verb say_hello; /* VERB_EHLO, VERB_HELO: to be sent */
	enum smtp_verb handling;  /* whose reply is being looked at */
	bool need_rset;
	bool polite;            /* ended, and out holds a QUIT to be sent */
	bool want_quit, quit_sent;
	bool no_more;           /* do not ask for transactions */
	/* the end */
	bool ended;
	enum session_end why;
	uint16_t end_code;
	char end_status[12];
	char end_text[SMTP_REPLY_TEXT_MAX + 1];
};

/* helo and ops stay the caller's. Waits for the greeting. */
void smtp_client_init(struct smtp_client *c, struct sv helo, unsigned flags,
    const struct smtp_client_ops *ops, void *arg);
/*
 * Takes what is complete off in and adds to out what can be said now. To be
 * called when either changed or there is a new transaction. False when the
 * session is over: why, end_code, ... are set, every transaction was handed
 * back; what is in out is to be sent only if c->polite. why is END_IDLE after
 * our QUIT was answered.
 */
bool smtp_client_run(struct smtp_client *c, struct buf *in, struct buf *out);
/* QUIT as soon as the transactions under way are done; no new ones. */
void smtp_client_quit(struct smtp_client *c);
/*
 * The connection is gone, or a deadline passed. Hands all transactions back.
 * unsent: bytes of the output that never left.
 */
void smtp_client_lost(struct smtp_client *c, size_t unsent, bool timeout,
    struct sv reason);
/* Hands back as untried, whatever the server said, what has no final dot yet;
 * no new transactions. True if an answer to a dot is still to come: then go
 * on. */
bool smtp_client_abandon(struct smtp_client *c);

/* Nothing under way: no answer is waited for, nothing is being sent. */
bool smtp_client_is_idle(const struct smtp_client *c);
/* The verb whose answer is waited for, SMTP_VERBS if none. */
enum smtp_verb smtp_client_waits_for(const struct smtp_client *c);
/* "waiting for the answer to RCPT TO" */
const char *smtp_client_state_text(const struct smtp_client *c);

/*
 * Adds one command with CRLF. Every command goes through here: -1 if it holds
 * CR, LF or NUL, is too long, or does not fit.
 */
int smtp_command_add(struct buf *out, struct sv command)
    __attribute__((warn_unused_result));

#endif
