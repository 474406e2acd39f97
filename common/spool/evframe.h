/* SPDX-License-Identifier: ISC */
/*
 * evframe: files of framed event records, for the event log and checkpoints:
 * a file header with number and kind, then frames whose CRC is seeded with the
 * number. doc/spool.md has the layout.
 */
#ifndef COMMON_SPOOL_EVFRAME_H
#define COMMON_SPOOL_EVFRAME_H

#include "common/base/buf.h"
#include "common/base/sv.h"
#include "common/spool/sio.h"

#define EVFRAME_FILE_HEADER 40u
#define EVFRAME_HEAD        12u
#define EVFRAME_PAYLOAD_MAX (128u << 20)

#define EVFRAME_LOG        "PNEVT001"
#define EVFRAME_CHECKPOINT "PNCKP001"

struct evframe_file {
	uint64_t number;
	uint64_t prev_file, prev_end; /* the valid end of the log before */
};

struct evframe {
	unsigned type;
	struct sv payload;  /* a view */
	size_t length;      /* of the frame with padding */
};

void evframe_header_make(unsigned char out[EVFRAME_FILE_HEADER],
    const char magic[8], const struct evframe_file *f);
/* False unless all of it is right. */
bool evframe_header_check(const unsigned char in[EVFRAME_FILE_HEADER],
    const char magic[8], struct evframe_file *f_r);

/*
 * Appending in place: begin reserves the head in b, the payload is added by
 * the caller, end fills the head in and pads. start is what begin returned.
 */
size_t evframe_begin(struct buf *b);
/* 0, or -1 without memory or over the limit; then b is as before begin. */
int evframe_end(struct buf *b, size_t start, uint64_t number, unsigned type);
/* Writes the CRC of all frames in b anew for another file. */
void evframe_renumber(struct buf *b, uint64_t number);
/* 1, 0 if the bytes end too early (*need_r: how many are needed), -1 if it is
 * no good frame. */
int evframe_parse(const unsigned char *p, size_t n, uint64_t number,
    struct evframe *f_r, size_t *need_r);

#endif
