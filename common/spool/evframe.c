/* SPDX-License-Identifier: ISC */
#include <endian.h>
#include <string.h>

#include "common/base/crc32c.h"
#include "common/base/rw.h"
#include "common/spool/evframe.h"

static size_t
align8(size_t n)
{
	return (n + 7) & ~(size_t)7;
}

static uint32_t
frame_crc(uint64_t number, const unsigned char *head, const void *payload,
    size_t n)
{
	uint32_t crc;

	number = htole64(number);
	crc = crc32c(0, &number, sizeof(number));
	crc = crc32c(crc, head, 8); /* length, type, zero */
	return crc32c(crc, payload, n);
}

void
evframe_header_make(unsigned char out[EVFRAME_FILE_HEADER],
    const char magic[8], const struct evframe_file *f)
{
	struct wr w;

	memset(out, 0, EVFRAME_FILE_HEADER);
	wr_init(&w, out, EVFRAME_FILE_HEADER);
	wr_bytes(&w, magic, 8);
	wr_u64(&w, f->number);
	wr_u64(&w, f->prev_file);
	wr_u64(&w, f->prev_end);
	wr_u32(&w, crc32c(0, out, 32));
}

bool
evframe_header_check(const unsigned char in[EVFRAME_FILE_HEADER],
    const char magic[8], struct evframe_file *f_r)
{
	struct rd r;

	rd_init(&r, in, EVFRAME_FILE_HEADER);
	if (memcmp(rd_bytes(&r, 8).p, magic, 8) != 0)
		return false;
	f_r->number = rd_u64(&r);
	f_r->prev_file = rd_u64(&r);
	f_r->prev_end = rd_u64(&r);
	return rd_u32(&r) == crc32c(0, in, 32);
}

size_t
evframe_begin(struct buf *b)
{
	size_t start = buf_len(b);

	if (buf_reserve(b, EVFRAME_HEAD) == NULL)
		return SIZE_MAX;
	buf_commit(b, EVFRAME_HEAD);
	return start;
}

static void
buf_cut(struct buf *b, size_t len)
{
	b->tail = b->head + len;
}

int
evframe_end(struct buf *b, size_t start, uint64_t number, unsigned type)
{
	size_t n = buf_len(b) - start - EVFRAME_HEAD;
	size_t pad = align8(n + EVFRAME_HEAD) - n - EVFRAME_HEAD;
	static const unsigned char zeros[8];
	unsigned char *head;
	struct wr w;

	if (n > EVFRAME_PAYLOAD_MAX || buf_add(b, zeros, pad) != 0) {
		buf_cut(b, start);
		return -1;
	}
	head = b->mem + b->head + start;
	wr_init(&w, head, EVFRAME_HEAD);
	wr_u32(&w, (uint32_t)n);
	wr_u16(&w, (uint16_t)type);
	wr_u16(&w, 0);
	wr_u32(&w, frame_crc(number, head, head + EVFRAME_HEAD, n));
	return 0;
}

void
evframe_renumber(struct buf *b, uint64_t number)
{
	size_t left = buf_len(b);
	unsigned char *p = b->mem + b->head;

	while (left > 0) {
		struct rd r;
		struct wr w;
		size_t n;

		rd_init(&r, p, left);
		n = rd_u32(&r);
		wr_init(&w, p + 8, 4);
		wr_u32(&w, frame_crc(number, p, p + EVFRAME_HEAD, n));
		n = align8(n + EVFRAME_HEAD);
		p += n;
		left -= n;
	}
}

int
evframe_parse(const unsigned char *p, size_t n, uint64_t number,
    struct evframe *f_r, size_t *need_r)
{
	struct rd r;
	uint32_t len, crc;

	*need_r = EVFRAME_HEAD;
	if (n < EVFRAME_HEAD)
		return 0;
	rd_init(&r, p, n);
	len = rd_u32(&r);
	f_r->type = rd_u16(&r);
	if (rd_u16(&r) != 0 || f_r->type == 0 || len > EVFRAME_PAYLOAD_MAX)
		return -1;
	crc = rd_u32(&r);
	f_r->length = align8((size_t)len + EVFRAME_HEAD);
	*need_r = f_r->length;
	if (n < f_r->length)
		return 0;
	if (crc != frame_crc(number, p, p + EVFRAME_HEAD, len))
		return -1;
	f_r->payload = sv_make(p + EVFRAME_HEAD, len);
	return 1;
}
