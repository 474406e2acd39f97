/* SPDX-License-Identifier: ISC */
/*
 * spoolcheck: `pinnace spool check` and `pinnace spool rebuild`. For a spool
 * that no qmgr has open.
 */
#ifndef COMMON_SPOOL_SPOOLCHECK_H
#define COMMON_SPOOL_SPOOLCHECK_H

#include "common/spool/sio.h"

struct spool_report {
	/* A line for the operator; problem: something is wrong. */
	void (*line)(void *arg, bool problem, const char *text);
	void *arg;
	/* Counted. */
	uint64_t segments, records, damaged;
	uint64_t live, unreadable; /* messages of the log; without a record */
	uint64_t found;            /* in tails, not in the log */
	uint64_t large, large_orphans;
	uint64_t problems;
};

/* Reads everything, changes nothing. 0, or -1 with errno if it could not be
 * read; problems are in the report. */
int spool_check(struct sio *s, struct spool_report *r);
/*
 * Makes a new checkpoint from the segments alone, with every message that they
 * hold; the old events are ignored. Messages that were delivered already may
 * be sent again; the report says so.
 */
int spool_rebuild(struct sio *s, struct spool_report *r);

#endif
