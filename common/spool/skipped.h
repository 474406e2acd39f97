/* SPDX-License-Identifier: ISC */
/*
 * skipped: a segment that could not be read when the event log was damaged,
 * and so every segment had to be. What it holds and no event names would be
 * lost with the next checkpoint, which hides the damage: so a file says that
 * it is still to be read, until it was.
 *
 * segments/NNNNNNNNNN.skipped (little-endian): magic u32, zero u32, segment
 * u64, upto u64, number of IDs u64, the IDs u64 each, CRC-32C u32 of all that.
 */
#ifndef COMMON_SPOOL_SKIPPED_H
#define COMMON_SPOOL_SKIPPED_H

#include "common/spool/idset.h"
#include "common/spool/sio.h"

#define SKIPPED_SUFFIX ".skipped"

struct skipped {
	uint64_t segment;
	uint64_t upto;     /* what stands behind it is known otherwise */
	struct idset *ids; /* messages that are not to be taken from it: events
	                    * named them, or they were found elsewhere */
};

/* Numbers of all of them, ascending; the caller frees *list_r. */
int skipped_list(struct sio *s, uint64_t **list_r, size_t *n_r);
/* Durable when it returns 0; -1 with errno. Of the IDs those that can stand in
 * the segment are written: of it or of an older one. */
int skipped_save(struct sio *s, const struct skipped *k);
/*
 * 0, or -1 with errno. *whole_r false: it is damaged, and *k_r means the whole
 * segment and has no IDs, so messages may be taken twice. The caller frees ids.
 */
int skipped_load(struct sio *s, uint64_t segment, struct skipped *k_r,
    bool *whole_r);
/* Durably; only when what was found is durable. One that is not there is
 * fine. */
int skipped_remove(struct sio *s, uint64_t segment);

#endif
