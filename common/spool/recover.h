/* SPDX-License-Identifier: ISC */
/*
 * recover: the queue from the spool: the newest whole checkpoint, the event
 * log from there to its valid end, then the tail of each segment behind what
 * the log knows of it. Changes nothing (but for a note that a segment was
 * skipped): what it takes for true and may not be durable (the last log file,
 * records found in tails) is written anew as it is and synced. So it can be run
 * again.
 *
 * The caller writes a checkpoint when it has started.
 */
#ifndef COMMON_SPOOL_RECOVER_H
#define COMMON_SPOOL_RECOVER_H

#include "common/spool/evlog.h"
#include "common/spool/idset.h"
#include "common/spool/segment.h"

struct recover_ops {
	/* Events of the checkpoint (at.file 0, at.offset its number), then of
	 * the log, in order. Must bear an event over a state that has it already, and events of
	 * messages that it does not know. */
	void (*on_event)(void *arg, enum ev_type type, const union ev_any *m,
	    struct evlog_pos at);
	/* A committed message of which the log knows nothing, durable from now
	 * on; r->env is its envelope. The owner logs its ACCEPT. */
	void (*on_found)(void *arg, const struct record *r);
	/* A sentence for the log. */
	void (*on_problem)(void *arg, const char *text);
	/* Writers may be at work: a tail ends in front of a record that is
	 * damaged, which may be one that is only half written. It is to be
	 * read again when its writer is done. */
	bool live;
	/* Comes first: the checkpoint has so many messages. May be NULL. */
	void (*on_checkpoint)(void *arg, uint64_t messages);
};

struct recover_stats {
	uint64_t checkpoint;      /* used; 0: none */
	struct evlog_pos end;     /* for evlog_open() */
	uint64_t events, found, problems;
	uint64_t segments, tail_bytes; /* scanned */
	bool rescanned;           /* the log was damaged: all segments were
	                           * read, duplicates are possible */
};

/*
 * 0, or -1 with errno if the log cannot be read, or not be made durable. A
 * tail that cannot be is a problem, and spool_recover_tail() is for later.
 * After damage of the log what was found has to be made durable, else it is
 * -1; a segment that cannot be read is noted (skipped.h), and the owner reads
 * what was skipped later.
 */
int spool_recover(struct sio *s, const struct recover_ops *ops, void *arg,
    struct recover_stats *stats_r);
/*
 * The tail of one segment, from known up to end, for a SEG_DONE or a writer
 * that died. *end_r: behind the last good record. -1 with errno: the rest, or
 * all, could not be read or not be made durable, and was not told; it may be
 * tried again from where the last record that was told ends. ids: of a segment
 * that was skipped, and then added to; else NULL.
 */
int spool_recover_tail(struct sio *s, uint64_t segment, uint64_t known,
    uint64_t end, struct idset *ids, const struct recover_ops *ops, void *arg,
    uint64_t *end_r);

#endif
