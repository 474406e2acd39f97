/* SPDX-License-Identifier: ISC */
/*
 * smtp: the delivery worker. qmgr opens sessions and hands over messages; the
 * worker connects, reads the records, runs the protocol (which lives in
 * common/mail/smtp_client) and reports what became of each recipient.
 *
 *	smtp_main.c      channel to qmgr, start and stop
 *	smtp_session.c   one session from SESSION_OPEN to SESSION_END
 *	smtp_connect.c   which address next, and when to give up
 *	smtp_delivery.c  one message in one session: its record, its body
 *	smtp_result.c    results until they are acknowledged, intents, resync
 *	smtp_trace.c     for an operator who looks on
 */
#ifndef DELIVERY_SMTP_H
#define DELIVERY_SMTP_H

#include <bsd/sys/queue.h>

#include "common/base/htab.h"
#include "common/base/timeval.h"
#include "common/ipc/role.h"
#include "common/mail/route.h"
#include "common/mail/smtp_client.h"
#include "common/spool/intent.h"
#include "common/spool/segment.h"
#include "common/sys/conn.h"

#define SMTP_TARGETS_MAX      (ROUTE_HOSTS_MAX * ROUTE_ADDRS_MAX)
#define SMTP_SPARE_DELIVERIES 256
#define SMTP_NAME_MAX         256

struct session;
struct worker;

/* One DELIVER: a transaction of the session, with its record. */
struct delivery {
	STAILQ_ENTRY(delivery) link;  /* in the session's queue, or spare */
	struct session *session;
	uint64_t id, segment, offset, length, large_id;
	int large_fd;                 /* -1: none */
	uint32_t large_crc;           /* so far */
	uint32_t *idx;                /* in arena */
	uint32_t nidx;
	uint32_t reserved;            /* intent slots */
	uint32_t slot;                /* first intent slot, INTENT_NONE */
	struct arena arena;
	struct buf bytes;             /* the record */
	struct record record;
	struct envelope env;
	struct mono begun;            /* when it became a transaction */
	struct smtp_txn txn;
};

STAILQ_HEAD(delivery_list, delivery);

struct trace;
struct result;
TAILQ_HEAD(result_list, result);

/* Why the session could not be set up. */
struct session_failure {
	bool any;
	enum session_end why;
	uint16_t code;
	char status[16];
	char text[1024];
	char host[SMTP_NAME_MAX];
	char host_ip[46];
};

enum session_state {
	SESSION_CONNECTING,
	SESSION_TALKING,      /* from the greeting on */
	SESSION_QUITTING,     /* QUIT was sent; takes no more */
};

/* An address of the route, in the order of trying. */
struct target {
	uint8_t host, addr;
};

struct session {
	TAILQ_ENTRY(session) link;
	TAILQ_ENTRY(session) dirty_link;
	TAILQ_ENTRY(session) slot_link;
	bool dirty;                   /* to be run at the end of the batch */
	bool wants_slots;             /* waits for intent slots */
	struct worker *w;
	uint64_t id;                  /* 0: qmgr does not know it any more */
	uint64_t quit_id;             /* while QUITTING; 0: the same */
	enum session_end quit_why;
	enum session_state state;
	struct arena arena;
	/* as ordered */
	struct sv helo;
	struct route route;
	bool has_source;
	struct route_addr source;
	uint32_t max_msgs, max_rcpts, max_attempts, flags;
	uint32_t idle_ms, connect_ms, greeting_ms, command_ms, data_ms,
	    final_ms, session_ms;
	struct mono opened;           /* when it was ordered */
	/* connecting */
	struct target *targets;
	unsigned ntargets, next_target, attempts;
	const struct route_host *host;
	struct session_failure failure;
	/* talking */
	struct conn *conn;
	struct smtp_client client;
	uint32_t progress;            /* of the client when last looked */
	struct delivery_list queue;   /* not begun */
	uint32_t nmsgs;
	bool close_asked;
	char host_name[SMTP_NAME_MAX];
	char host_ip[46], source_ip[46];
	char esmtp[128];
	struct trace *trace;          /* NULL: nobody looks on */
};

TAILQ_HEAD(session_list, session);

struct segment_fd {
	uint64_t segment;
	int fd;
};

struct large_fd {
	uint64_t large_id;
	int fd;
};

struct worker {
	struct role *role;
	struct chan *qmgr;
	struct event *ev_lost;        /* the channel broke */
	struct event *ev_dirty;       /* sessions are to be run */
	bool qmgr_lost;
	bool synced;                  /* INTENT came on this channel */
	struct htab by_id;
	struct session_list sessions, dirty, slot_waiters;
	size_t nsessions;
	struct segment_fd *segs;
	size_t nsegs, segs_size;
	struct large_fd *larges;      /* given, their DELIVER not here yet */
	size_t nlarges, larges_size;
	struct delivery_list spare;
	unsigned nspare;
	struct intent_map intents;
	struct result_list results;
	uint64_t seq;                 /* of the last result */
	struct buf scratch;           /* for encoding */
};

/* ---- smtp_main.c ---- */
/* Leaves when told to stop and nothing is left to do. */
void worker_check_exit(struct worker *w);

/* ---- smtp_session.c ---- */
void session_open(struct worker *w, const struct ipc_session_open *m);
struct session *session_find(const struct worker *w, uint64_t id);
/* To be run when all frames of this turn were seen. */
void session_mark(struct session *s);
void session_run_dirty(struct worker *w);
/* Intent slots were freed; those that wait run from the event loop. */
void session_wake_slot_waiters(struct worker *w);
/* qmgr is gone: whatever has no final dot out is dropped. */
void session_orphan_all(struct worker *w);
/* No new transactions. */
void session_stop_all(struct worker *w);
/* Reports the end and frees everything; text is cleaned by the caller. */
void session_fail(struct session *s, enum session_end why, uint16_t code,
    struct sv status, struct sv text);
void session_free(struct session *s);
/* Waits ms, or as long as session_ms leaves. */
void session_deadline_set(struct session *s, int64_t ms);
/* Setting it up, or the message under way, has taken more than session_ms. */
bool session_is_overdue(const struct session *s);
extern const struct conn_ops session_conn_ops;

/* ---- smtp_connect.c ---- */
/* Puts the addresses in their order. False without memory. */
bool connect_plan(struct session *s);
/* Tries the next address; ends the session if there is none: s is gone if
 * false. */
bool connect_next(struct session *s);
/* Remembers why this address did not do. */
void connect_failed(struct session *s, enum session_end why, uint16_t code,
    struct sv status, struct sv text);
void connect_failed_errno(struct session *s, int err);
/* No other address of this host. */
void connect_skip_host(struct session *s);

/* ---- smtp_delivery.c ---- */
void delivery_accept(struct worker *w, const struct ipc_deliver *m);
/* Reads the record and fills d->txn; false: all recipients are decided. */
bool delivery_load(struct delivery *d);
ssize_t delivery_body_read(struct delivery *d, uint64_t at, void *p,
    size_t n);
void delivery_free(struct delivery *d);
void segment_add(struct worker *w, uint64_t segment, int fd);
void segment_remove(struct worker *w, uint64_t segment);
void large_add(struct worker *w, uint64_t large_id, int fd);
/* Closes all descriptors of the spool. */
void spool_forget(struct worker *w);

/* ---- smtp_trace.c ---- */
/* data: messages are mirrored, too. All others do nothing without it. */
void trace_begin(struct session *s, bool data);
void trace_event(struct session *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void trace_heard(struct session *s, struct sv bytes);
void trace_said(struct session *s, enum smtp_said what, struct sv bytes);
void trace_end(struct session *s, bool tell);

/* ---- smtp_result.c ---- */
void result_report(struct delivery *d);
void result_ack(struct worker *w, uint64_t seq);
bool result_none_waiting(const struct worker *w);
/* The accepted recipients go into intent slots. */
void intent_write(struct delivery *d);
/* A new intent file from a qmgr, the first frame of its channel. */
void resync(struct worker *w, uint32_t slots, int fd);

#endif
