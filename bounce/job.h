/* SPDX-License-Identifier: ISC */
/*
 * job: one DSN on its way: what the event log said about some recipients of
 * one message, then the DSN made of it, then its commit. No I/O: the engine
 * (engine.h) moves it from state to state.
 */
#ifndef BOUNCE_JOB_H
#define BOUNCE_JOB_H

#include <sys/queue.h>

#include "common/base/arena.h"
#include "common/mail/dsn.h"
#include "common/spool/committer.h"
#include "common/spool/evlog.h"

#define JOB_RCPTS_MAX 500u       /* more make another DSN */
#define JOB_BYTES_MAX (2u << 20) /* of facts; one event has at most 10 KiB */

enum job_state {
	JOB_GATHERING,  /* takes more recipients of this read batch */
	JOB_READY,      /* to be asked for */
	JOB_ASKED,      /* waits for GO */
	JOB_COMMITTING, /* waits for the disk */
};

struct job_rcpt {
	uint32_t idx;           /* in the original's envelope */
	bool wanted;            /* GO named it */
	struct dsn_rcpt facts;  /* views into the arena */
};

struct engine;

struct job {
	TAILQ_ENTRY(job) link;
	struct engine *engine;
	enum job_state state;
	const char *why_none;   /* nobody gets a DSN; NULL: it is not so */
	struct mono retry_at;   /* not asked for before */
	uint64_t token;
	uint64_t id;            /* of the original */
	bool delayed;           /* a warning; nothing ends by it */
	uint64_t said_us;       /* when the first event was logged */
	struct evlog_pos first; /* its first event */
	struct sv sender, envid, from_mta;
	struct wall arrival;
	struct job_rcpt *rcpts; /* JOB_RCPTS_MAX at most */
	uint32_t nrcpts, size;
	struct arena arena;
	struct buf body, env;   /* of the DSN */
	struct iovec iov;
	struct commit_req req;
};

enum job_build {
	JOB_BUILT,
	JOB_NOBODY,      /* no recipient that wants one: let it be */
	JOB_IMPOSSIBLE,  /* no sender to tell, or no DSN can be made */
};

/* What is known of the original; NULL views where nothing is. */
struct job_original {
	bool readable;
	struct sv env;   /* encoded */
	struct sv head;
	struct sv body;  /* at least the headers */
	bool whole;      /* body is all of it */
};

/* The same facts as those of an attempt that was deferred. */
struct ev_attempt job_delayed(const struct ev_delayed *e);
/* Should this event lead to a DSN? (RFC 3461 4.1 again, and null senders.) */
bool job_is_for(const struct ev_attempt *a);
/* For delays, or for all else, as a is one. Aborts without memory. */
struct job *job_new(const struct ev_attempt *a, struct evlog_pos at);
void job_free(struct job **j);
/* Adds the recipient, or replaces what was known of it. retry_until: 0 if
 * unknown. False if there is no room: another job is needed. */
bool job_add(struct job *j, const struct ev_attempt *a,
    struct wall retry_until);
/* Marks those that GO named. */
void job_want(struct job *j, const struct u32s *list);
/* Bytes held. */
size_t job_bytes(const struct job *j);
/*
 * Makes body and envelope of the DSN, ready for the committer (req without
 * done and arg).
 */
enum job_build job_build(struct job *j, const struct job_original *o,
    struct sv host, struct wall now);

#endif
