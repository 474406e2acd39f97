/* SPDX-License-Identifier: ISC */
#include <endian.h>
#include <string.h>

#include "common/base/rw.h"

struct sv
rd_sv(struct rd *r, size_t max)
{
	uint32_t n = rd_u32(r);

	if (n > max) {
		r->failed = true;
		return sv_make("", 0);
	}
	return rd_bytes(r, n);
}

bool
rd_done(const struct rd *r)
{
	return !r->failed && r->n == 0;
}

void
wr_init(struct wr *w, void *mem, size_t size)
{
	*w = (struct wr){ .p = mem, .size = size };
}

void
wr_init_buf(struct wr *w, struct buf *b)
{
	*w = (struct wr){ .buf = b };
}

void
wr_bytes(struct wr *w, const void *p, size_t n)
{
	if (w->failed)
		return;
	if (w->buf != NULL) {
		if (buf_add(w->buf, p, n) != 0)
			w->failed = true;
	} else if (n > w->size - w->n) {
		w->failed = true;
	} else if (n > 0) {
		memcpy(w->p + w->n, p, n);
	}
	if (!w->failed)
		w->n += n;
}

void
wr_u8(struct wr *w, uint8_t v)
{
	wr_bytes(w, &v, sizeof(v));
}

void
wr_u16(struct wr *w, uint16_t v)
{
	v = htole16(v);
	wr_bytes(w, &v, sizeof(v));
}

void
wr_u32(struct wr *w, uint32_t v)
{
	v = htole32(v);
	wr_bytes(w, &v, sizeof(v));
}

void
wr_u64(struct wr *w, uint64_t v)
{
	v = htole64(v);
	wr_bytes(w, &v, sizeof(v));
}

void
wr_sv(struct wr *w, struct sv v, size_t max)
{
	if (v.n > max || v.n > UINT32_MAX) {
		w->failed = true;
		return;
	}
	wr_u32(w, (uint32_t)v.n);
	wr_bytes(w, v.p, v.n);
}
