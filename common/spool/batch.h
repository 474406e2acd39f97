/* SPDX-License-Identifier: ISC */
/*
 * batch: records that are written to one segment and made durable together:
 * large files first, then one write, then one fdatasync. No threads here; the
 * committer runs batch_write() in one. After a failure the segment must not be
 * written or synced again.
 */
#ifndef COMMON_SPOOL_BATCH_H
#define COMMON_SPOOL_BATCH_H

#include "common/spool/segment.h"

struct batch {
	struct sio_file *file;    /* the segment; the caller's */
	uint64_t offset, end;     /* what it covers */
	struct iovec *iov;
	size_t niov, iov_size;
	struct sio_file **larges; /* to be synced; the caller's */
	size_t nlarges, larges_size;
};

void batch_init(struct batch *b, struct sio_file *file, uint64_t offset);
void batch_fini(struct batch *b);
/* Adds a record at b->end; header and parts live until the batch is written.
 * Its length, or 0 if a part exceeds its limit. Aborts without memory. */
uint64_t batch_add(struct batch *b, const struct record_parts *p,
    unsigned char header[RECORD_HEADER]);
void batch_large(struct batch *b, struct sio_file *large);
/* 0 or an errno. Uses up the iov. */
int batch_write(struct batch *b);

#endif
