/* SPDX-License-Identifier: ISC */
/*
 * session: one client connection, RFC 5321 server side. Private to smtpd.
 *
 * A session owns its connection and one transaction. What a client sends
 * while an answer is still to come (a commit, a large file) waits in the
 * connection's buffer, so answers keep their order. A session whose
 * connection ended during a commit lives on, without it, until the committer
 * has answered.
 */
#ifndef SMTPD_SESSION_H
#define SMTPD_SESSION_H

#include "common/base/arena.h"
#include "common/base/timeval.h"
#include "common/mail/ctl_headers.h"
#include "common/mail/data_dec.h"
#include "common/mail/reply.h"
#include "common/mail/smtp_cmd.h"
#include "common/sys/conn.h"
#include "smtpd/server.h"

/* RFC 5321 4.5.3.1.4 asks for 512; ESMTP parameters need more. As Postfix. */
#define COMMAND_MAX 2048u
#define SESSION_IN  65536u           /* input kept while it has to wait */
#define SESSION_OUT 65536u
#define OUT_SOFT    16384u           /* answers unread: take no commands */
/* Of a command line that is too long, bytes thrown away before 421. */
#define SKIP_MAX    65536u
/* Of a message that will be refused; then 421. A message is sent again and
 * again by a client that does not hear the refusal, so this is generous. */
#define SWALLOW_MAX (256u << 20)
#define JUNK_MAX    100u             /* commands without a message, as Postfix */
#define WAIT_MS     60000            /* for the spool, before a 4xx */
#define DELAY_MS    1000             /* after each error over half the limit */
#define LINGER_MS   5000
#define RATE_GRACE_MS 30000          /* before the data rate is looked at */
#define TXN_MEMORY  (64u << 20)      /* 100,000 recipients fit */
#define PATTERN_TEXT 32768u          /* of a message, that patterns look at */

enum session_state {
	S_COMMAND,       /* for the next command */
	S_DELAY,         /* for time to pass after an error */
	S_ACCEPT_WAIT,   /* for the committer, before 354 */
	S_DATA,          /* for message data */
	S_LARGE_WAIT,    /* for a large file from qmgr */
	S_COMMIT,        /* for the committer's answer */
	S_DEAD,          /* freed at the end of the turn */
};

/* MAIL to end of data. */
struct txn {
	struct arena arena;         /* addresses and the recipients' array */
	bool active;                /* MAIL was accepted */
	bool expected;              /* counted in server.expected, ... */
	int64_t expect_tick;        /* ... if this is not long ago */
	struct sv sender;
	uint32_t flags;             /* enum env_flags */
	struct sv envid;
	struct env_rcpt *rcpts;
	uint32_t nrcpts, rcpts_size;
	uint32_t given;             /* RCPTs accepted: aliases count as one */
	/* what the address of this RCPT stands for; none: it is no alias */
	struct sv *targets;
	uint32_t ntargets;
	size_t env_bytes;           /* about what the envelope will take */
	bool rcpt_refused;
	uint32_t rcpts_over;        /* refused since there are too many */
	struct data_dec dec;
	struct body body;
	struct commit_large *large; /* ours until submitted */
	struct ctl_headers ctl;
	bool ctl_done;              /* the header was looked at */
	bool vmta_fallback;         /* it names a VMTA that does not exist */
	char *text;                 /* its start, PATTERN_TEXT bytes, as it
	                             * came; NULL: no pattern looks at it */
	size_t ntext;               /* bytes in it */
	/* by recipient: the line of the pattern list, or NULL; NULL: no list */
	const struct conf_pattern **decided;
	struct sv vmta;             /* of all recipients, "" if they differ */
	enum reply fail;            /* why data is only swallowed, or NO_REPLY */
	int64_t data_start_ms;
	uint64_t data_in;           /* bytes taken, as they came */
	struct wall arrival;
	struct buf env;             /* encoded */
	struct commit_req req;
};

#define NO_REPLY REPLY_COUNT

/* The client is in this process. */
struct session_local {
	const struct conf_source *src;
	struct sv src_type;             /* instead of "smtp" */
	/* The message of the transaction gets this ID, unless false; it may
	 * be called again with another one, of which the last holds. */
	bool (*on_id)(void *arg, uint64_t id, int64_t arrival_us);
	void *arg;
};

struct session {
	TAILQ_ENTRY(session) link;      /* in server.sessions */
	TAILQ_ENTRY(session) wait_link; /* in server.waiting */
	struct server *srv;
	struct settings *settings;
	const struct conf_source *src;
	const struct session_local *local; /* NULL: it came from outside */
	struct conn *conn;              /* NULL once it has ended */
	enum session_state state;
	struct route_addr ip;
	char client_ip[46];
	char helo[ENV_NAME_MAX + 1];
	bool greeted, esmtp;
	bool eof;                       /* the client sends no more */
	bool skipping;                  /* a command line too long */
	size_t skipped;
	uint32_t errors, junk, commands, messages;
	union {                         /* from check to proceed */
		struct smtp_mail mail;
		struct smtp_rcpt rcpt;
	} cmd;
	struct ctl_rules ctl_rules;
	bool ctl_look;                  /* the header matters to us */
	const struct conf_pattern_list *patterns; /* NULL: none */
	struct sv refusal;              /* text of the next REPLY_PATTERN */
	struct txn txn;
};

/* Takes fd, a connected socket, and greets. False if it was refused. */
bool session_start(struct server *srv, int fd, const struct route_addr *ip,
    struct sv source);
/* The same for a client in this process; l lives as long as the session. */
bool session_start_local(struct server *srv, int fd,
    const struct session_local *l);
/* 421 if idle (or later, when idle). */
void session_stop(struct session *s);
/* The transaction may become a message; or it has, or never will. */
void txn_expect(struct session *s, bool expected);
/* The only way back to no transaction. */
void txn_reset(struct session *s);
/* Answers; counts errors. */
void session_reply(struct session *s, enum reply r);
/* Answers and ends the session. */
void session_close(struct session *s, enum reply r);
/* Ends it without a word. */
void session_abort(struct session *s);
/* For entries other than the connection's callbacks: goes on with input that
 * waited, sends, frees. s is gone afterwards if it ended. */
void session_resume(struct session *s);
/* What completes addresses without a domain from this client, or "". */
struct sv session_suffix(const struct session *s);
/* To S_COMMAND, with the deadline for it. */
void session_command_wait(struct session *s);
void session_log_refusal(const struct session *s, const char *what,
    struct sv arg, enum reply r);

/* control.c: what the client's header fields and settings add. */
void control_init(struct session *s);
/* Looks at the header once it is there; NO_REPLY or why to refuse. */
enum reply control_take(struct session *s);
/* Sets VMTA, job, ENVID and RET of e, and the groups of its recipients. False
 * without memory. */
bool control_apply(struct session *s, struct envelope *e);
/* Adds Date and Message-ID where wanted. 0, or -1 if they do not fit. */
int control_head(const struct session *s, struct sv id, struct buf *head);

/* pattern.c: what the source's pattern list says. */
void pattern_init(struct session *s);
/* A recipient of the transaction; NO_REPLY or why to refuse it. */
enum reply pattern_rcpt(struct session *s, struct sv rcpt);
/* More of the message, in order. */
void pattern_feed(struct session *s, const void *bytes, size_t n);
/* All of it is there: decides on each recipient. NO_REPLY or why to refuse the
 * message. */
enum reply pattern_decide(struct session *s);

/* data.c: from DATA to the answer of the committer. */
void data_begin(struct session *s);
void data_read(struct session *s);
void data_on_ready(struct session *s);
void data_on_wait_timeout(struct session *s);

#endif
