/* SPDX-License-Identifier: ISC */
/*
 * rd and wr: the bounded reader and writer for bytes with a sticky error.
 * Reads after an error return zeros and empty views, writes after an error
 * do nothing; check once at the end. Integers are little-endian on the wire
 * and in the spool. A wr writes either to fixed memory or to a buf.
 */
#ifndef COMMON_BASE_RW_H
#define COMMON_BASE_RW_H

#include <endian.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/sv.h"

struct rd {
	const unsigned char *p;
	size_t n;      /* bytes left */
	bool failed;
};

struct wr {
	unsigned char *p; /* fixed memory, or NULL with buf set */
	size_t size;
	size_t n;         /* bytes written */
	struct buf *buf;
	bool failed;
};

static inline void
rd_init(struct rd *r, const void *p, size_t n)
{
	*r = (struct rd){ .p = p, .n = n };
}

/* A view of the next n bytes. */
static inline struct sv
rd_bytes(struct rd *r, size_t n)
{
	struct sv v;

	if (r->failed || n > r->n) {
		r->failed = true;
		return sv_make("", 0);
	}
	v = sv_make(r->p, n);
	r->p += n;
	r->n -= n;
	return v;
}

/* The compiler makes one load of it where the size is known: millions of
 * records are read at a start. */
static inline void
rd_fixed(struct rd *r, void *to, size_t n)
{
	if (r->failed || n > r->n) {
		r->failed = true;
		memset(to, 0, n);
		return;
	}
	memcpy(to, r->p, n);
	r->p += n;
	r->n -= n;
}

static inline uint8_t
rd_u8(struct rd *r)
{
	uint8_t x;

	rd_fixed(r, &x, sizeof(x));
	return x;
}

static inline uint16_t
rd_u16(struct rd *r)
{
	uint16_t x;

	rd_fixed(r, &x, sizeof(x));
	return le16toh(x);
}

static inline uint32_t
rd_u32(struct rd *r)
{
	uint32_t x;

	rd_fixed(r, &x, sizeof(x));
	return le32toh(x);
}

static inline uint64_t
rd_u64(struct rd *r)
{
	uint64_t x;

	rd_fixed(r, &x, sizeof(x));
	return le64toh(x);
}

/* A u32 length, at most max, and so many bytes. */
struct sv rd_sv(struct rd *r, size_t max);
/* True if nothing failed and nothing is left. */
bool rd_done(const struct rd *r);

void wr_init(struct wr *w, void *mem, size_t size);
void wr_init_buf(struct wr *w, struct buf *b);
void wr_u8(struct wr *w, uint8_t v);
void wr_u16(struct wr *w, uint16_t v);
void wr_u32(struct wr *w, uint32_t v);
void wr_u64(struct wr *w, uint64_t v);
void wr_bytes(struct wr *w, const void *p, size_t n);
/* A u32 length and the bytes; fails if longer than max. */
void wr_sv(struct wr *w, struct sv v, size_t max);

#endif
