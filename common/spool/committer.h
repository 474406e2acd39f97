/* SPDX-License-Identifier: ISC */
/*
 * committer: writes messages to the spool for a process that has only what
 * qmgr grants it (smtpd, bounce). One fdatasync covers all messages that were
 * submitted while the one before it ran; it runs in a thread of the
 * committer's own, everything else in the caller's event loop.
 *
 * A message's ID is its place, given to it in committer_submit(), in order.
 * When a batch fails, its segment is given up with everything not yet
 * acknowledged in it: there is never a hole in front of an acknowledged record.
 *
 * qmgr going away stops nothing: records go on into the segment at hand, and
 * the next qmgr finds them by reading it up to SEG_DONE.end.
 *
 * Credits: each COMMIT frame costs one. A message that is durable is
 * acknowledged whether there is a credit or not (its COMMIT waits in memory);
 * but while COMMITs wait committer_can_accept() is false, and the owner stops
 * reading new message data. So what waits is bounded by the messages that were
 * under way at that moment.
 */
#ifndef COMMON_SPOOL_COMMITTER_H
#define COMMON_SPOOL_COMMITTER_H

#include "common/base/buf.h"
#include "common/ipc/chan.h"
#include "common/spool/segment.h"

enum commit_result {
	COMMIT_OK,          /* durable */
	COMMIT_NO_SPACE,    /* "452 4.3.1": refused by SPACE, or ENOSPC */
	COMMIT_IO_ERROR,    /* "451 4.3.0": writing or syncing failed */
	COMMIT_TOO_LARGE,   /* "552 5.3.4": a part exceeds its limit */
	COMMIT_SHUTDOWN,    /* "421 4.3.2": committer_free() came first */
	COMMIT_RESULTS
};

/* "452 4.3.1 Insufficient system storage"; "" for COMMIT_OK. */
const char *commit_result_text(enum commit_result r);

struct commit_req;
typedef void commit_done_fn(struct commit_req *req, enum commit_result result,
    uint64_t id, void *arg);
/* Writes the trace headers, which may name the id, into head. 0, or -1 if
 * they do not fit. */
typedef int commit_head_fn(const struct commit_req *req, uint64_t id,
    struct buf *head, void *arg);

/*
 * One message. Filled by the owner up to the line; it and all that it points
 * to live until done was called, which is exactly once and never from within
 * committer_submit(). done may free it.
 */
struct commit_req {
	struct sv env;             /* an encoded envelope */
	commit_head_fn *make_head; /* NULL: no head */
	const struct iovec *body;  /* chunks; none with large */
	size_t nbody;
	uint8_t flags;             /* RECORD_DOTS, RECORD_8BIT */
	uint64_t arrival_us;
	struct commit_large *large;/* the body, or NULL; from then on the
	                            * committer's */
	commit_done_fn *done;
	void *arg;
	/* ---- the committer's own ---- */
	uint64_t id, segment, offset, length, body_len;
	enum commit_result result;
	struct buf head;
	unsigned char header[RECORD_HEADER];
	struct commit_req *next;
};

struct committer_stats {
	uint64_t batches, records, bytes;
	uint64_t syncs;          /* fdatasyncs of segments */
	uint64_t large_syncs;
	uint64_t failures;       /* batches that failed */
	uint64_t batch_max;      /* records in the largest batch */
	uint64_t sync_us, sync_max_us; /* write and sync, all and longest */
};

struct committer;

/* Starts the thread. Aborts without memory or thread: at start only. */
struct committer *committer_new(struct event_base *base);
/* What is under way is awaited, what is not begun fails with
 * COMMIT_SHUTDOWN. Sends SEG_DONE if there is a channel. */
void committer_free(struct committer **c);
/*
 * The channel to qmgr, or NULL when it is gone; the committer does not free
 * it. A new one means a new qmgr: segments of the old one are finished.
 */
void committer_chan_set(struct committer *c, struct chan *ch);
/* For the chan_ops of the owner: frame handlers, and on_credit. NULL is fine:
 * frames may still come after committer_free(). */
void committer_on_seg_grant(struct committer *c, struct chan *ch,
    const struct ipc_seg_grant *m);
void committer_on_large_grant(struct committer *c, struct chan *ch,
    const struct ipc_large_grant *m);
void committer_on_space(struct committer *c, const struct ipc_space *m);
void committer_on_credit(struct committer *c);

/* False: do not begin to read new message data now. */
bool committer_can_accept(const struct committer *c);
/* While there is no space by order of qmgr: its reason, else "". */
struct sv committer_refusal(const struct committer *c);
/* Called at the end of a turn in which something was done and
 * committer_can_accept() is true; often for nothing, so it should be cheap. */
void committer_on_ready_set(struct committer *c, void (*fn)(void *arg),
    void *arg);
/*
 * Tells how many messages the owner is receiving right now. A batch waits for
 * them while they are more than half of it, at most a millisecond: fewer syncs
 * when there is much to do, no delay for one who is alone.
 */
void committer_expect_set(struct committer *c, unsigned (*fn)(void *arg),
    void *arg);
void committer_submit(struct committer *c, struct commit_req *req);
/* Submitted and not yet called back. */
size_t committer_pending(const struct committer *c);
void committer_stats(const struct committer *c, struct committer_stats *s_r);

/* ---- large bodies ---- */

struct commit_large;
/* ok: append with commit_large_write(). Not ok: the large is gone. */
typedef void commit_large_fn(struct commit_large *l, bool ok, void *arg);

/* Asks qmgr for a file; fn is called later, once. NULL if there is no channel
 * or space now (a 4xx). */
struct commit_large *committer_large_open(struct committer *c,
    commit_large_fn *fn, void *arg);
/* Appends, with write(2), and keeps length and CRC. 0, or -1 with errno. */
int commit_large_write(struct commit_large *l, const void *p, size_t n);
uint64_t commit_large_length(const struct commit_large *l);
/* For a body that will not be committed; also before fn was called. */
void committer_large_drop(struct committer *c, struct commit_large **l);

#endif
