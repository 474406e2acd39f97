/* SPDX-License-Identifier: ISC */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crc32c.h"
#include "common/base/rw.h"
#include "common/spool/segment.h"

#define SEGMENT_MAGIC  "PNSEG001"
#define RECORD_MAGIC   0x524d4e50u /* "PNMR" */
#define RECORD_VERSION 1
#define RECORD_FLAGS   (RECORD_LARGE | RECORD_DOTS | RECORD_8BIT)
#define HEADER_SUMMED  68u         /* bytes that the header's CRC covers */
#define SCAN_BLOCK     (1u << 20)

static const unsigned char padding[RECORD_ALIGN];

const char *
record_result_text(enum record_result r)
{
	switch (r) { /* GCOVR_EXCL_BR_LINE: no other value */
	case RECORD_OK:
		return "record is good";
	case RECORD_NONE:
		return "no record there";
	case RECORD_DAMAGED:
		return "record is damaged";
	case RECORD_SHORT:
		return "file ends within the record";
	case RECORD_ERROR:
		break;
	}
	return "record cannot be read";
}

static uint32_t
seed_of(uint64_t number)
{
	number = htole64(number);
	return crc32c(0, &number, sizeof(number));
}

/* ---- segment header ---- */

void
segment_header_make(unsigned char out[SEGMENT_HEADER], uint64_t segment,
    uint64_t size)
{
	struct wr w;

	memset(out, 0, SEGMENT_HEADER);
	wr_init(&w, out, SEGMENT_HEADER);
	wr_bytes(&w, SEGMENT_MAGIC, 8);
	wr_u64(&w, segment);
	wr_u64(&w, size);
	wr_u32(&w, crc32c(0, out, 24));
}

bool
segment_header_check(const unsigned char in[SEGMENT_HEADER],
    uint64_t *segment_r, uint64_t *size_r)
{
	struct rd r;

	rd_init(&r, in, SEGMENT_HEADER);
	if (memcmp(rd_bytes(&r, 8).p, SEGMENT_MAGIC, 8) != 0)
		return false;
	*segment_r = rd_u64(&r);
	*size_r = rd_u64(&r);
	return rd_u32(&r) == crc32c(0, in, 24);
}

/* ---- building ---- */

static uint64_t
body_length(const struct record_parts *p)
{
	uint64_t n = 0;

	for (size_t i = 0; i < p->nbody; i++)
		n += p->body[i].iov_len;
	return n;
}

static uint64_t
align8(uint64_t n)
{
	return (n + RECORD_ALIGN - 1) & ~(uint64_t)(RECORD_ALIGN - 1);
}

uint64_t
record_length(const struct record_parts *p)
{
	uint64_t body = body_length(p);

	if (p->env.n > RECORD_ENV_MAX || p->head.n > RECORD_HEAD_MAX ||
	    body > RECORD_BODY_MAX || (p->large_id != 0 &&
	    (body != 0 || p->large_len > RECORD_LARGE_MAX)))
		return 0;
	return align8(RECORD_HEADER + p->env.n + p->head.n + body);
}

uint32_t
record_large_crc(uint64_t large_id, uint32_t crc, uint64_t at, const void *p,
    size_t n)
{
	return crc32c(at == 0 ? seed_of(large_id) : crc, p, n);
}

static struct iovec
iov_of(const void *p, size_t n)
{
	struct iovec v = { .iov_len = n };

	memcpy(&v.iov_base, &p, sizeof(p)); /* writev does not write to it */
	return v;
}

void
record_parts_of(const struct record *r, uint64_t segment, struct iovec *body,
    struct record_parts *p_r)
{
	*body = iov_of(r->body.p, r->body.n);
	*p_r = (struct record_parts){
		.flags = r->flags,
		.id = r->id,
		.segment = segment,
		.arrival_us = r->arrival_us,
		.env = r->env,
		.head = r->head,
		.body = body,
		.nbody = r->large_id != 0 ? 0 : 1,
		.large_id = r->large_id,
		.large_len = r->body_len,
		.large_crc = r->crc_body,
	};
}

static void
header_fill(const struct record_parts *p, uint64_t body_len,
    unsigned char header[RECORD_HEADER])
{
	uint32_t seed = seed_of(p->segment), body = seed;
	unsigned flags = p->flags & ~(unsigned)RECORD_LARGE;
	struct wr w;

	for (size_t i = 0; i < p->nbody; i++)
		body = crc32c(body, p->body[i].iov_base, p->body[i].iov_len);
	if (p->large_id != 0) {
		flags |= RECORD_LARGE;
		body_len = p->large_len;
		body = p->large_crc;
	}
	wr_init(&w, header, RECORD_HEADER);
	wr_u32(&w, RECORD_MAGIC);
	wr_u8(&w, RECORD_VERSION);
	wr_u8(&w, (uint8_t)flags);
	wr_u16(&w, 0);
	wr_u32(&w, (uint32_t)p->env.n);
	wr_u32(&w, (uint32_t)p->head.n);
	wr_u64(&w, body_len);
	wr_u64(&w, p->id);
	wr_u64(&w, p->segment);
	wr_u64(&w, p->arrival_us);
	wr_u64(&w, p->large_id);
	wr_u32(&w, crc32c(seed, p->env.p, p->env.n));
	wr_u32(&w, crc32c(seed, p->head.p, p->head.n));
	wr_u32(&w, body);
	wr_u32(&w, crc32c(seed, header, HEADER_SUMMED));
}

size_t
record_build(const struct record_parts *p,
    unsigned char header[RECORD_HEADER], struct iovec *iov)
{
	uint64_t length = record_length(p), body = body_length(p);
	size_t n = 0, pad;

	if (length == 0)
		return 0;
	header_fill(p, body, header);
	iov[n++] = iov_of(header, RECORD_HEADER);
	if (p->env.n > 0)
		iov[n++] = iov_of(p->env.p, p->env.n);
	if (p->head.n > 0)
		iov[n++] = iov_of(p->head.p, p->head.n);
	for (size_t i = 0; i < p->nbody; i++) {
		if (p->body[i].iov_len > 0)
			iov[n++] = p->body[i];
	}
	pad = (size_t)(length - RECORD_HEADER - p->env.n - p->head.n - body);
	if (pad > 0)
		iov[n++] = iov_of(padding, pad);
	return n;
}

/* ---- parsing and reading ---- */

static bool
header_sane(const struct record *r)
{
	if (r->env_len > RECORD_ENV_MAX || r->head_len > RECORD_HEAD_MAX ||
	    (r->flags & ~(unsigned)RECORD_FLAGS) != 0)
		return false;
	if (((r->flags & RECORD_LARGE) != 0) != (r->large_id != 0))
		return false;
	return r->large_id != 0 || r->body_len <= RECORD_BODY_MAX;
}

enum record_result
record_parse_header(const void *p, size_t n, uint64_t segment,
    uint64_t offset, struct record *r_r)
{
	struct record r = { .offset = offset };
	struct rd in;
	uint8_t version;
	uint64_t inline_len;

	rd_init(&in, p, n);
	if (n < RECORD_HEADER || rd_u32(&in) != RECORD_MAGIC)
		return RECORD_NONE;
	version = rd_u8(&in);
	r.flags = rd_u8(&in);
	if (rd_u16(&in) != 0 || version != RECORD_VERSION)
		return RECORD_NONE;
	r.env_len = rd_u32(&in);
	r.head_len = rd_u32(&in);
	r.body_len = rd_u64(&in);
	r.id = rd_u64(&in);
	r.segment = rd_u64(&in);
	r.arrival_us = rd_u64(&in);
	r.large_id = rd_u64(&in);
	r.crc_env = rd_u32(&in);
	r.crc_head = rd_u32(&in);
	r.crc_body = rd_u32(&in);
	if (r.segment != segment || !header_sane(&r) ||
	    rd_u32(&in) != crc32c(seed_of(segment), p, HEADER_SUMMED))
		return RECORD_NONE;
	inline_len = r.large_id != 0 ? 0 : r.body_len;
	r.length = align8((uint64_t)RECORD_HEADER + r.env_len + r.head_len +
	    inline_len);
	*r_r = r;
	return RECORD_OK;
}

enum record_result
record_parse(const void *p, size_t n, uint64_t segment, uint64_t offset,
    struct record *r_r)
{
	uint32_t seed = seed_of(segment);
	struct record r;
	const char *at = p;

	if (record_parse_header(p, n, segment, offset, &r) != RECORD_OK)
		return RECORD_NONE;
	if (r.length > n)
		return RECORD_SHORT;
	r.env = sv_make(at + RECORD_HEADER, r.env_len);
	r.head = sv_make(r.env.p + r.env.n, r.head_len);
	r.body = sv_make(r.head.p + r.head.n,
	    r.large_id != 0 ? 0 : (size_t)r.body_len);
	if (crc32c(seed, r.env.p, r.env.n) != r.crc_env)
		r.env = sv_make("", 0);
	if (r.env.n != r.env_len ||
	    crc32c(seed, r.head.p, r.head.n) != r.crc_head ||
	    (r.large_id == 0 &&
		crc32c(seed, r.body.p, r.body.n) != r.crc_body)) {
		r.head = r.body = sv_make("", 0);
		*r_r = r;
		return RECORD_DAMAGED;
	}
	*r_r = r;
	return RECORD_OK;
}

enum record_result
record_read(struct sio_file *f, uint64_t segment, uint64_t offset,
    uint64_t length, struct buf *b, struct record *r_r)
{
	unsigned char *mem;
	ssize_t n;

	if (length < RECORD_HEADER || length > RECORD_MAX)
		return RECORD_NONE;
	buf_clear(b);
	mem = buf_reserve(b, (size_t)length);
	if (mem == NULL) {
		errno = ENOMEM;
		return RECORD_ERROR;
	}
	n = sio_read_all(f, mem, (size_t)length, offset);
	if (n < 0)
		return RECORD_ERROR;
	buf_commit(b, (size_t)n);
	if ((size_t)n < length)
		return RECORD_SHORT;
	return record_parse(mem, (size_t)n, segment, offset, r_r);
}

enum record_result
record_read_fd(int fd, uint64_t segment, uint64_t offset, uint64_t length,
    struct buf *b, struct record *r_r)
{
	struct sio_file *f = sio_wrap(fd);
	enum record_result rc;

	if (f == NULL)
		return RECORD_ERROR;
	rc = record_read(f, segment, offset, length, b, r_r);
	free(f); /* not sio_close(): the descriptor is the caller's */
	return rc;
}

/* ---- scanning ---- */

/* A window of the file: mem holds bytes [at, at + n). */
struct window {
	struct sio_file *f;
	unsigned char *mem;
	size_t size, n;
	uint64_t at, limit;
};

/* At least `want` bytes at `offset` in the window, unless the file or the
 * limit ends before. Bytes there, or -1. */
static ssize_t
window_at(struct window *w, uint64_t offset, size_t want)
{
	ssize_t got;

	/* GCOVR_EXCL_BR_START: scans go forward, without gaps */
	if (offset >= w->at && offset - w->at <= w->n &&
	    w->n - (size_t)(offset - w->at) >= want)
		return (ssize_t)(w->n - (size_t)(offset - w->at));
	/* GCOVR_EXCL_BR_STOP */
	if (want > w->size) {
		unsigned char *mem = realloc(w->mem, want);

		if (mem == NULL) /* GCOVR_EXCL_BR_LINE: memory */
			return -1;
		w->mem = mem;
		w->size = want;
	}
	w->at = offset;
	w->n = 0;
	if (offset >= w->limit)
		return 0;
	want = w->limit - offset < w->size ? (size_t)(w->limit - offset) :
	    w->size;
	got = sio_read_all(w->f, w->mem, want, offset);
	if (got > 0)
		w->n = (size_t)got;
	return got;
}

/* Looks through n bytes that stand at `offset` for a good header; *seen_r:
 * the bytes of which it can be said that none begins there. */
static bool
header_in(const unsigned char *p, size_t n, uint64_t segment, uint64_t offset,
    size_t *seen_r, struct record *r_r)
{
	size_t i = 0;

	for (; n - i >= RECORD_HEADER; i += RECORD_ALIGN) {
		if (p[i] == (RECORD_MAGIC & 0xff) &&
		    record_parse_header(p + i, n - i, segment, offset + i,
			r_r) == RECORD_OK)
			return true;
	}
	*seen_r = i;
	return false;
}

/* Finds the next place from offset on with a good header; its record to r_r.
 * 1, 0 if there is none, -1. */
static int
header_find(struct window *w, uint64_t segment, uint64_t offset, bool search,
    struct record *r_r)
{
	for (;;) {
		ssize_t n = window_at(w, offset, RECORD_HEADER);
		const unsigned char *p = w->mem + (offset - w->at);
		size_t seen;

		if (n < 0)
			return -1;
		if ((size_t)n < RECORD_HEADER)
			return 0;
		if (record_parse_header(p, (size_t)n, segment, offset, r_r) ==
		    RECORD_OK)
			return 1;
		if (!search)
			return 0;
		if (header_in(p, (size_t)n, segment, offset, &seen, r_r))
			return 1;
		offset += seen;
	}
}

static void
damage_tell(const struct segment_scan_ops *ops, void *arg, uint64_t from,
    uint64_t to)
{
	if (to > from && ops->on_damage != NULL)
		ops->on_damage(arg, from, to - from);
}

static int
scan(struct window *w, uint64_t segment, uint64_t from,
    const struct segment_scan_ops *ops, void *arg, uint64_t *end_r)
{
	uint64_t good = from; /* all before this was told */
	struct record r;
	int rc;

	while ((rc = header_find(w, segment, from, ops->search,
		    &r)) == 1) {
		ssize_t n = window_at(w, r.offset, (size_t)r.length);
		enum record_result got;

		if (n < 0)
			return -1;
		got = record_parse(w->mem + (r.offset - w->at), (size_t)n,
		    segment, r.offset, &r);
		if (got != RECORD_OK && ops->live)
			return 0;
		damage_tell(ops, arg, good, r.offset);
		good = from = r.offset + r.length;
		if (got != RECORD_OK) {
			damage_tell(ops, arg, r.offset, good);
			continue;
		}
		*end_r = good;
		rc = ops->on_record(arg, &r);
		if (rc != 0)
			return rc;
	}
	return rc;
}

int
segment_scan(struct sio_file *f, uint64_t segment, uint64_t from,
    uint64_t limit, const struct segment_scan_ops *ops, void *arg,
    uint64_t *end_r)
{
	struct window w = { .f = f, .size = SCAN_BLOCK, .limit = limit };
	int rc;

	*end_r = from;
	w.mem = malloc(w.size);
	if (w.mem == NULL)
		return -1;
	w.at = from;
	rc = scan(&w, segment, from, ops, arg, end_r);
	free(w.mem);
	return rc;
}
