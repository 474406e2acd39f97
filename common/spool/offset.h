/* SPDX-License-Identifier: ISC */
/*
 * offset: where a reader of the event log stands, durably, and some bytes of
 * the reader's own that belong to that place. One file per reader with two
 * slots that are written in turn, so that a kill or a power cut at any moment
 * leaves the old place or the new one.
 *
 * Slot (little-endian): magic u32, length u32 of what follows up to the CRC,
 * generation u64, file u64, offset u64, the reader's bytes, CRC-32C u32.
 */
#ifndef COMMON_SPOOL_OFFSET_H
#define COMMON_SPOOL_OFFSET_H

#include "common/base/buf.h"
#include "common/spool/evlog.h"

#define OFFSET_SLOT_SIZE 16384u
#define OFFSET_BYTES_MAX 16000u /* of the reader's own */

struct offset_store {
	struct sio_file *file;
	uint64_t generation;   /* of the last good slot */
	unsigned slot;         /* that is written next */
};

/*
 * Opens or makes the file name in folder "" of s and reads the newest good
 * slot: *pos_r (file 0 if there is none) and bytes, which is cleared first. It
 * is durable then, too.
 * 0, or -1 with errno. An unreadable slot counts as none.
 */
int offset_open(struct offset_store *o, struct sio *s, const char *name,
    struct evlog_pos *pos_r, struct buf *bytes);
/* Durable when it returns 0; on -1 (errno) the last good slot stands. */
int offset_save(struct offset_store *o, struct evlog_pos pos,
    struct sv bytes);
void offset_close(struct offset_store *o);

#endif
