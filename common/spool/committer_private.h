/* SPDX-License-Identifier: ISC */
/*
 * What the files of the committer share: committer.c (requests and life),
 * committer_batch.c, committer_seg.c, committer_frame.c, committer_large.c.
 */
#ifndef COMMON_SPOOL_COMMITTER_PRIVATE_H
#define COMMON_SPOOL_COMMITTER_PRIVATE_H

#include <event2/event.h>

#include "common/spool/batch.h"
#include "common/spool/committer.h"
#include "common/sys/clock.h"
#include "common/sys/offload.h"

/* A segment that qmgr granted. It is freed when it was left and its last
 * batch is done. */
struct cseg {
	struct sio_file *file;
	uint64_t number, size;
	uint64_t next;        /* offset of the next record */
	uint64_t durable;     /* end of the last good batch */
	unsigned batches;     /* not done yet */
	bool left;            /* takes no new records */
	bool told;            /* its SEG_DONE is sent, or waits */
	bool foreign;         /* granted by a qmgr that is gone */
};

struct cbatch {
	struct batch batch;
	struct cseg *seg;
	struct commit_req *first, **last;
	size_t n;
	int err;              /* of batch_write() */
	uint64_t us;          /* it took */
	struct cbatch *next;
};

/* A frame that waits for credit, or for a channel. */
struct cframe {
	enum ipc_type type;   /* COMMIT, SEG_DONE or LARGE_DROP */
	union {
		struct ipc_commit commit;
		struct ipc_seg_done seg_done;
		struct ipc_large_drop large_drop;
	} u;
	char *env;
	struct cframe *next;
};

struct commit_large {
	uint64_t token, id;
	struct sio_file *file;   /* NULL: not granted yet */
	commit_large_fn *fn;     /* until it was called */
	void *arg;
	uint64_t length;
	uint32_t crc;
	bool failed;             /* a write failed, or no grant will come */
	unsigned epoch;          /* of the qmgr that was asked for it */
	struct commit_large *next; /* while it waits for its grant */
};

struct committer {
	struct event_base *base;
	struct event *ev_turn;
	struct chan *chan;
	struct cseg *cur, *spare;
	unsigned foreign;           /* such segments not finished */
	bool wanted;                /* a SEG_WANT is unanswered */
	struct cbatch *queue, **queue_tail; /* not begun */
	struct cbatch *queue_last;
	struct cbatch *running;     /* in the thread */
	struct commit_req *waiting, **waiting_tail; /* for a segment */
	struct commit_req *failed, **failed_tail;   /* to be told */
	struct cframe *frames, **frames_tail;
	size_t commits_waiting;     /* COMMITs among frames */
	struct commit_large *larges;/* waiting for their grant */
	uint64_t large_token;
	unsigned epoch;             /* counts the qmgrs */
	struct mono epoch_at;        /* when the last one came */
	size_t pending;
	char *refusal;              /* SPACE said so; or NULL */
	void (*on_ready)(void *arg);
	void *on_ready_arg;
	struct committer_stats stats;

	unsigned (*expect)(void *arg);
	void *expect_arg;
	struct event *ev_gather;    /* a batch has waited long enough */
	bool gathering, gathered;
	size_t gather_from;         /* records when the wait began */
	unsigned gather_skip;       /* batches that do not wait */
	unsigned gather_vain;       /* what it was after the last vain wait */
	struct offload *thread;     /* runs batch_write() */
};

/* ---- committer.c ---- */

/* Whatever this turn made possible. */
void committer_turn_end(struct committer *c);
/* The end of a request: it may be freed by its owner. */
void committer_req_done(struct committer *c, struct commit_req *req,
    enum commit_result result);

/* ---- committer_batch.c ---- */

/* The batch that the next record of the current segment goes to. */
struct cbatch *committer_batch_open(struct committer *c);
/* Gives the next one to the thread, if that is idle and it is time. */
void committer_batch_start(struct committer *c);
/* A batch has waited long enough for more. */
void committer_on_gathered(evutil_socket_t fd, short what, void *arg);
/* At the end of the committer: the one in the thread, which has returned, and
 * those not begun. */
void committer_batches_end(struct committer *c);

/* ---- committer_seg.c ---- */

/* Asks for a segment if there will be none soon. */
void committer_seg_want(struct committer *c);
/* Sends SEG_DONE: nothing behind what is durable now will ever be. */
void committer_seg_tell(struct committer *c, struct cseg *seg);
/* Tells qmgr and frees it, if it was left and nothing is under way. */
void committer_seg_finish(struct committer *c, struct cseg *seg);
/* No new records for it. *seg may be NULL, and is then. */
void committer_seg_leave(struct committer *c, struct cseg **seg);
/* The spare one becomes the current one. */
void committer_seg_next(struct committer *c);
/* A new qmgr: all segments are finished. */
void committer_segs_foreign_mark(struct committer *c);
void committer_segs_foreign_leave(struct committer *c);

/* ---- committer_frame.c ---- */

/* Sends at once or keeps a copy. */
void committer_frame_out(struct committer *c, const struct cframe *frame);
/* Sends waiting frames in order, as far as credit goes. */
void committer_frames_drain(struct committer *c);
/* Without a channel, or for a new one: the next qmgr reads the segments. */
void committer_commits_forget(struct committer *c);
void committer_frames_free(struct committer *c);

/* ---- committer_large.c ---- */

/* Its file is there and will stay. */
bool committer_large_is_good(const struct committer *c,
    const struct commit_large *l);
void committer_large_free(struct commit_large *l);
/* No grant comes any more for those that wait for one. */
void committer_larges_fail(struct committer *c);
/* Calls the owners of those that failed waiting. */
void committer_larges_tell(struct committer *c);

#endif
