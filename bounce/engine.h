/* SPDX-License-Identifier: ISC */
/*
 * engine: reads the event log, asks qmgr which of the failed or delayed
 * recipients still want a DSN, builds it and commits it to the spool. That of a
 * failure is durable before qmgr marks the originals; the offset never passes
 * an event whose DSN is not durable or refused: after any death the events are
 * read again, and qmgr's answer says what is still to do. That of a delay marks
 * nothing and may be made again.
 */
#ifndef BOUNCE_ENGINE_H
#define BOUNCE_ENGINE_H

#include "bounce/job.h"
#include "common/conf/conf.h"
#include "common/spool/offset.h"
#include "common/spool/poison.h"

#define ENGINE_JOBS_MAX  64u
#define ENGINE_BYTES_MAX (16u << 20)
#define ENGINE_LARGE_MAX 8u          /* given, their GO not here yet */

TAILQ_HEAD(job_list, job);

struct seg_fd {
	uint64_t number;
	int fd;
};

struct engine {
	struct event_base *base;
	struct event *work;          /* the next turn */
	struct sio *events, *offsets;
	struct offset_store store;
	struct poison poison;        /* what this program crashed on */
	struct evlog_reader *reader; /* NULL until the offset could be read */
	struct evlog_pos limit;      /* of LOG_AT */
	struct evlog_pos saved, told;
	struct mono saved_at, due;
	struct mono dsn_next;        /* when max-dsn-rate lets one more go */
	bool scheduled, failing, stopping;
	struct chan *qmgr;           /* NULL while it is gone */
	struct committer *committer;
	struct conf *conf;           /* NULL before the first */
	struct job_list jobs;        /* by their first event */
	size_t njobs;
	uint64_t next_token;
	struct seg_fd *segs;
	size_t nsegs, segs_size;
	struct seg_fd large[ENGINE_LARGE_MAX]; /* fd -1: free */
	uint64_t made;               /* DSNs, for the log */
};

/* Aborts without memory. The descriptors stay the caller's. */
void engine_init(struct engine *e, struct event_base *base, int events_fd,
    int offsets_fd);
/*
 * The process before this one crashed, as why tells. The event that it was at
 * is left out from the second time on, its recipient gets no DSN. A DSN that
 * it was making is made without looking at the original then, and if that does
 * not help either, not at all.
 */
void engine_blame(struct engine *e, struct sv why);
/* Takes conf. */
void engine_conf_set(struct engine *e, struct conf *conf);
/* Takes fd: the channel to qmgr. */
void engine_attach(struct engine *e, int fd, unsigned index);
/* Waits for what is being committed, stores the offset. */
void engine_stop(struct engine *e);

#endif
