/* SPDX-License-Identifier: ISC */
/*
 * The crash model: the whole spool protocol on the file system in memory.
 *
 *  crash_ledger.c  what was promised, outside of the file system, and what a
 *                  recovered spool must hold of it: the invariants
 *  crash_qmgr.c    qmgr's part of the protocol, starting up, the readers
 *  crash_writer.c  the writers' part, and steps of all
 *  crash_enum.c    what a crash may leave at each call; lives after a crash
 *  test_crash.c    runs and options
 *
 * It is one process in one thread; a process of Pinnace is what loses its
 * variables when it is killed.
 */
#ifndef TESTS_UNIT_SPOOL_CRASH_H
#define TESTS_UNIT_SPOOL_CRASH_H

#include "common/spool/live.h"
#include "common/spool/offset.h"
#include "common/spool/recover.h"
#include "common/spool/segtab.h"
#include "common/spool/sio_mem.h"

#define SEG_SIZE  UINT64_C(8192)
#define MSGS      512u
#define ATTEMPTS  2048u
#define RCPTS     2u
#define BODY_MAX  1500u
#define RAW_MAX   (BODY_MAX + 256u)
#define ENV_MAX   48u
#define RESERVE   UINT64_C(16384)

enum writer_name { SMTPD_0, SMTPD_1, BOUNCE, MOVER, WRITERS };
enum reader_name { R_ACCT_READS, R_BOUNCE_READS, READERS };

enum rcpt_state { RCPT_OPEN, RCPT_BOUNCING, RCPT_DONE };

struct msg {
	uint64_t id, segment, offset, length, large_id;
	unsigned size, nrcpts;
	bool acked;            /* the client has its 250 */
	bool refused;          /* ... or its 451 */
	bool accepted;         /* in qmgr's queue, now or before */
	bool gone;             /* all recipients are done */
	bool drop_waits;       /* LARGE_DROP came while a segment was unread */
	enum rcpt_state st[RCPTS];
	struct evlog_pos at[RCPTS]; /* of the event that made it DONE */
	uint64_t failed_seq[RCPTS]; /* ATTEMPT that made it BOUNCING */
	/* of a DSN: whose it is */
	bool is_dsn;
	unsigned orig, orig_rcpt;
};

/* An ATTEMPT event; its number goes through the log as time_us. */
struct attempt {
	struct evlog_pos at;
	bool durable, lost;
};

struct writer {
	uint64_t segment;      /* 0: none */
	struct sio_file *file;
	uint64_t next;         /* all before it is durable */
	bool foreign;          /* granted by a qmgr that is gone */
};

/* A process that tails the event log. */
struct tailer {
	bool runs;
	struct offset_store store;
	struct evlog_reader *reader;
	uint64_t last;         /* number of the last ATTEMPT it took */
	struct evlog_pos told; /* to qmgr; file 0: nothing yet */
};

/* A checkpoint that a forked child writes. */
struct snapshot {
	struct checkpoint *file;
	uint64_t number;
};

struct world {
	struct sio *sio;
	uint64_t seed, rng;
	/* the ledger */
	struct msg msgs[MSGS];
	unsigned nmsgs;
	struct attempt attempts[ATTEMPTS];
	uint64_t nattempts;    /* numbers begin at 1 */
	struct evlog_pos written, durable; /* qmgr saw it succeed */
	bool faulty;           /* a fault was injected in this or an earlier
	                        * life */
	bool full;             /* ENOSPC is of a full disk, not injected */
	/* processes */
	bool up;               /* qmgr has recovered */
	struct segtab *tab;
	struct evlog *log;
	bool syncing;
	struct evlog_sync sync;
	struct snapshot snapshot;
	struct writer writers[WRITERS];
	struct tailer tailers[READERS];
	unsigned commits[MSGS];/* COMMIT frames on their way */
	enum writer_name commit_of[MSGS];
	unsigned ncommits, taken;
	struct { uint64_t segment, upto; } unread[MSGS];
	unsigned nunread;
	bool reserve;
	bool torn;             /* the last DSN's ACCEPT and BOUNCED do not end
	                        * in the same sector of the log */
	/* the enumerator's */
	unsigned depth;
	bool quiet;            /* no crashes now */
	unsigned near;         /* only at so many calls after one that failed,
	                        * and at every 41st; 0: at all */
	unsigned most;         /* states at each call; 0: all */
};

/* What a recovery says. */
struct found {
	uint64_t id, segment, offset, length, large_id;
};

struct view {
	struct live *live;
	struct found found[MSGS];
	unsigned nfound;
	uint8_t bouncing[MSGS];         /* bits: recipients */
	uint8_t seen[ATTEMPTS / 8 + 1]; /* bits: numbers of ATTEMPTs */
	const struct world *w;
	struct segtab *tab;             /* is told of the events, or NULL */
	unsigned problems;
	struct recover_stats st;
};

/* ---- test_crash.c ---- */

extern const char *crash_phase;
/* Prints what is wrong and how to see it again, and ends the process. */
void crash_fail(const char *fmt, ...)
    __attribute__((format(printf, 1, 2), noreturn));
#define MUST(cond, ...) \
	do { \
		if (!(cond)) \
			crash_fail(__VA_ARGS__); \
	} while (0)

/* ---- crash_ledger.c ---- */

/* A number below n; what a life does depends on nothing else. */
uint64_t rnd(struct world *w, uint64_t n);
/* Message number idx as it must be: body, envelope; both stay. */
const unsigned char *ledger_body(unsigned idx);
struct sv ledger_env(const struct world *w, unsigned idx, char out[ENV_MAX]);
/* The bytes of the record, kept to compare. */
void ledger_raw_keep(const struct world *w, unsigned idx,
    const struct iovec *iov, size_t n);
int ledger_find(const struct world *w, uint64_t id);
/* The record of another process or life is in the queue from now on. */
void ledger_adopt(struct world *w, const struct view *v);
uint64_t ledger_attempt(struct world *w);

/* 0 or -1, as spool_recover(); view_free() in any case. */
int view_recover(struct sio *s, struct view *v, const struct world *w,
    struct segtab *tab);
void view_free(struct view *v);
/* Of what is in the queue: equal if the queues are. */
uint64_t view_digest(const struct view *v);
/* The invariants; kill: the kernel lost nothing. */
void ledger_verify(const struct world *w, struct sio *s, const struct view *v,
    bool kill);
/* I7, after everything was delivered and cleaned. */
void ledger_verify_drained(struct world *w);
/* A DSN is in the queue, and the log does not say that what it reports is
 * over: qmgr's start has to. */
bool ledger_has_unfinished(const struct world *w, const struct view *v);
uint64_t ledger_compared(void);

/* ---- crash_qmgr.c ---- */

void qmgr_start(struct world *w);
/* Killed: what it had not handed to the system is gone. */
void qmgr_kill(struct world *w);
void qmgr_append(struct world *w, enum ev_type type, const union ev_any *any);
void qmgr_accept(struct world *w, unsigned idx);
void qmgr_commits_take(struct world *w, unsigned n);
/* SEG_DONE, or the end of a writer: reads the tail, seals. */
void qmgr_segment_finish(struct world *w, uint64_t segment, uint64_t upto);
/* LARGE_DROP */
void qmgr_large_drop(struct world *w, struct msg *m);
/* Adopted segments that nobody writes. */
void qmgr_adopted_finish(struct world *w);
int qmgr_log_write(struct world *w);
int qmgr_log_sync(struct world *w);
void qmgr_sync_begin(struct world *w);
void qmgr_sync_end(struct world *w);
void qmgr_release(struct world *w);
void qmgr_checkpoint(struct world *w);         /* in slices */
void qmgr_snapshot_begin(struct world *w);     /* by a child */
void qmgr_snapshot_end(struct world *w);
void qmgr_compact(struct world *w);
void qmgr_fill(struct world *w);
void qmgr_look(struct world *w);
/* One recipient comes to an end of that kind. */
enum outcome { OUT_DEFERRED, OUT_DELIVERED, OUT_FAILED, OUT_DELETED };
void qmgr_outcome(struct world *w, struct msg *m, unsigned k,
    enum outcome what);
struct msg *qmgr_some(struct world *w);

/* ---- crash_writer.c ---- */

bool writer_ready(struct world *w, enum writer_name n, uint64_t need);
void writer_leave(struct world *w, enum writer_name n);
void writer_kill(struct world *w, enum writer_name n);
void tailer_run(struct world *w, enum reader_name n, unsigned events);
void tailer_kill(struct world *w, enum reader_name n);
void world_step(struct world *w);
void world_kill(struct world *w);
/* A refused message with a large body in a segment that cannot be read now. */
void world_unread(struct world *w);
/* DSNs, until a power cut can keep the ACCEPT of one and lose its BOUNCED. */
void world_torn_dsn(struct world *w);
/* All mail is delivered, all processes end, and a new qmgr cleans up. */
void world_drain(struct world *w);

/* ---- crash_enum.c ---- */

struct enum_conf {
	bool off;            /* no crashes: only the lives themselves */
	const char *path;    /* "CALL.STATE/CALL.STATE": only this; or NULL */
};
extern struct enum_conf enum_conf;

void enum_watch(struct world *w);
/* All that a crash here may leave. */
void enum_point(struct world *w);
/* "12.3/4.1": where we are. */
const char *enum_where(void);
struct enum_stats {
	uint64_t points, full; /* calls; of these with all subsets */
	uint64_t states;       /* recovered and compared, of these: */
	uint64_t distinct;     /* different disks */
	uint64_t later;        /* in lives after a crash */
	uint64_t lives;
};
const struct enum_stats *enum_stats(void);

#endif
