/* SPDX-License-Identifier: ISC */
/*
 * recover: the queue from the spool: the newest whole checkpoint, the event
 * log from there to its valid end, then the tail of each segment behind what
 * the log knows of it. Changes nothing: what it takes for true and may not be
 * durable (the last log file, records found in tails) is written anew as it is
 * and synced. So it can be run again.
 *
 * The caller writes a checkpoint when it has started.
 */
#ifndef COMMON_SPOOL_RECOVER_H
#define COMMON_SPOOL_RECOVER_H

#include "common/spool/evlog.h"
#include "common/spool/segment.h"

struct recover_ops {
	/* Events of the checkpoint (at.file 0), then of the log, in order.
	 * Must bear an event over a state that has it already, and events of
	 * messages that it does not know. */
	void (*on_event)(void *arg, enum ev_type type, const union ev_any *m,
	    struct evlog_pos at);
	/* A committed message of which the log knows nothing; r->env is its
	 * envelope. The owner logs its ACCEPT. */
	void (*on_found)(void *arg, const struct record *r);
	/* A sentence for the log. */
	void (*on_problem)(void *arg, const char *text);
};

struct recover_stats {
	uint64_t checkpoint;      /* used; 0: none */
	struct evlog_pos end;     /* for evlog_open() */
	uint64_t events, found, problems;
	uint64_t segments, tail_bytes; /* scanned */
	bool rescanned;           /* the log was damaged: all segments were
	                           * read, duplicates are possible */
};

/* 0, or -1 with errno if the log cannot be read, or not be made durable. */
int spool_recover(struct sio *s, const struct recover_ops *ops, void *arg,
    struct recover_stats *stats_r);
/* The tail of one segment, from known up to end, for a SEG_DONE or a writer
 * that died. Syncs the segment if there was something. *end_r: behind the last
 * good record. */
int spool_recover_tail(struct sio *s, uint64_t segment, uint64_t known,
    uint64_t end, const struct recover_ops *ops, void *arg, uint64_t *end_r);

#endif
