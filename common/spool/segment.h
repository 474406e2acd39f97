/* SPDX-License-Identifier: ISC */
/*
 * segment: the format of segments and of the records in them; doc/spool.md
 * has the layout. Building, parsing, reading and scanning; no knowledge of who
 * writes or of what is live.
 *
 * The seed of every CRC is the segment number, so that what stands in a
 * recycled file from its earlier life is never a record.
 */
#ifndef COMMON_SPOOL_SEGMENT_H
#define COMMON_SPOOL_SEGMENT_H

#include "common/base/buf.h"
#include "common/base/sv.h"
#include "common/spool/sio.h"

#define SEGMENT_SIZE    (UINT64_C(64) << 20)
#define SEGMENT_HEADER  64u
#define RECORD_HEADER   72u
#define RECORD_ALIGN    8u
#define RECORD_ENV_MAX  (4u << 20)   /* as IPC_ENV_MAX */
#define RECORD_HEAD_MAX (64u << 10)
/* Bodies over this go to a large file of their own ... */
#define LARGE_THRESHOLD (256u << 10)
/* ... and must, over this. */
#define RECORD_BODY_MAX (4u << 20)
#define RECORD_LARGE_MAX ((UINT64_C(1) << 36) - 1) /* in a large file */
#define RECORD_MAX \
	(RECORD_HEADER + RECORD_ENV_MAX + RECORD_HEAD_MAX + RECORD_BODY_MAX + \
	    RECORD_ALIGN)

enum record_flags {
	RECORD_LARGE = 1,  /* the body is in a large file */
	RECORD_DOTS = 2,   /* a line of the body begins with a dot */
	RECORD_8BIT = 4,   /* the body has bytes over 127 */
};

/* A parsed record. */
struct record {
	uint8_t flags;             /* enum record_flags */
	uint64_t id;               /* where it was first committed */
	uint64_t segment, offset;  /* where it stands */
	uint64_t length;           /* with header and padding, in bytes */
	uint64_t arrival_us;       /* wall clock */
	uint64_t large_id;         /* 0: none */
	uint64_t body_len;         /* also of a body in a large file */
	uint32_t env_len, head_len;
	uint32_t crc_env, crc_head, crc_body;
	struct sv env, head;       /* views into the buffer it was read to */
	struct sv body;            /* empty if RECORD_LARGE */
};

/* What record_build() needs; everything stays the caller's. */
struct record_parts {
	uint8_t flags;             /* RECORD_LARGE as large_id is */
	uint64_t id, segment;
	uint64_t arrival_us;
	struct sv env, head;
	const struct iovec *body;  /* chunks; none with large_id */
	size_t nbody;
	uint64_t large_id;         /* 0: body is in chunks */
	uint64_t large_len;        /* with large_id: its length and CRC, */
	uint32_t large_crc;        /* from record_large_crc() */
};

enum record_result {
	RECORD_OK,
	RECORD_NONE,     /* no header of this segment there */
	RECORD_DAMAGED,  /* a good header, but a part does not match its CRC;
	                  * the record has env if that is whole */
	RECORD_SHORT,    /* the file ends before the record does */
	RECORD_ERROR,    /* errno */
};

/* "record is damaged" */
const char *record_result_text(enum record_result r);

/* ---- segment header ---- */

void segment_header_make(unsigned char out[SEGMENT_HEADER], uint64_t segment,
    uint64_t size);
/* False unless all of it is right. */
bool segment_header_check(const unsigned char in[SEGMENT_HEADER],
    uint64_t *segment_r, uint64_t *size_r);

/* ---- building ---- */

/* Bytes in the segment, a multiple of 8; 0 if a part exceeds its limit. */
uint64_t record_length(const struct record_parts *p);
/*
 * Fills the header and iov: header, env, head, body chunks, padding. iov has
 * room for p->nbody + 4; header and the parts must live until it is written.
 * Returns the entries used, 0 if a part exceeds its limit.
 */
size_t record_build(const struct record_parts *p,
    unsigned char header[RECORD_HEADER], struct iovec *iov);
/* The parts of a record that was read, to be written to another segment with
 * its old id. body: one entry for p. */
void record_parts_of(const struct record *r, uint64_t segment,
    struct iovec *body, struct record_parts *p_r);
/* CRC of a large body, piece by piece; start with crc 0 and at 0. */
uint32_t record_large_crc(uint64_t large_id, uint32_t crc, uint64_t at,
    const void *p, size_t n);

/* ---- parsing and reading ---- */

/* Header only: RECORD_OK or RECORD_NONE. n bytes are there. */
enum record_result record_parse_header(const void *p, size_t n,
    uint64_t segment, uint64_t offset, struct record *r_r);
/* All of it, every CRC. */
enum record_result record_parse(const void *p, size_t n, uint64_t segment,
    uint64_t offset, struct record *r_r);
/* Reads into b (cleared first) and parses; length as the COMMIT said. */
enum record_result record_read(struct sio_file *f, uint64_t segment,
    uint64_t offset, uint64_t length, struct buf *b, struct record *r_r);
/* The same for a process that has only a descriptor: one pread. */
enum record_result record_read_fd(int fd, uint64_t segment, uint64_t offset,
    uint64_t length, struct buf *b, struct record *r_r);

/* ---- scanning ---- */

struct segment_scan_ops {
	/* A good record. Not 0 stops the scan. */
	int (*on_record)(void *arg, const struct record *r);
	/* No good record there, but more behind it, or a good header. May be
	 * NULL. */
	void (*on_damage)(void *arg, uint64_t offset, uint64_t length);
	/* What to do where no good header stands: end there, or search on for
	 * one at each multiple of 8. A search may look into the body of a
	 * message, where a stranger can have put anything, even a record: not
	 * for recovery. */
	bool search;
	/* End at the first damaged record, too, and tell nobody: its writer
	 * may be at work, and it may be whole in a moment. */
	bool live;
};

/*
 * From an offset that is the start of a record up to limit (UINT64_MAX: the
 * end of the file). A record with a good header and damaged parts is told and
 * skipped, unless live. 0, the callback's value, or -1 with errno. *end_r:
 * behind the last good record (or from).
 */
int segment_scan(struct sio_file *f, uint64_t segment, uint64_t from,
    uint64_t limit, const struct segment_scan_ops *ops, void *arg,
    uint64_t *end_r);

#endif
