/* SPDX-License-Identifier: ISC */
#include <endian.h>
#include <string.h>

#include "common/ipc/fields.h"

uint32_t
u32s_get(const struct u32s *l, uint32_t i)
{
	uint32_t v;

	if (i >= l->n)
		return 0;
	if (l->array != NULL)
		return l->array[i];
	memcpy(&v, l->enc + (size_t)i * 4, 4);
	return le32toh(v);
}

struct sv
svs_next(struct rd *r)
{
	return rd_sv(r, SVS_TEXT_MAX);
}

struct sv
svs_get(const struct svs *l, uint32_t i)
{
	struct rd r;

	if (i >= l->n)
		return SV("");
	if (l->array != NULL)
		return l->array[i];
	rd_init(&r, l->enc.p, l->enc.n);
	while (i-- > 0)
		(void)svs_next(&r);
	return svs_next(&r);
}

void
wr_u32s(struct wr *w, const struct u32s *l, size_t max)
{
	if (l->n > max) {
		w->failed = true;
		return;
	}
	wr_u32(w, l->n);
	for (uint32_t i = 0; i < l->n; i++)
		wr_u32(w, u32s_get(l, i));
}

struct u32s
rd_u32s(struct rd *r, size_t max)
{
	struct u32s l = { .n = rd_u32(r) };
	struct sv v;

	if (l.n > max) {
		r->failed = true;
		return (struct u32s){ .n = 0 };
	}
	v = rd_bytes(r, (size_t)l.n * 4);
	l.enc = (const unsigned char *)v.p;
	if (r->failed)
		l.n = 0;
	return l;
}

void
wr_svs(struct wr *w, const struct svs *l, size_t max)
{
	struct rd r;

	if (l->n > max) {
		w->failed = true;
		return;
	}
	wr_u32(w, l->n);
	rd_init(&r, l->enc.p, l->enc.n);
	for (uint32_t i = 0; i < l->n; i++) {
		wr_sv(w, l->array != NULL ? l->array[i] : svs_next(&r),
		    SVS_TEXT_MAX);
	}
}

struct svs
rd_svs(struct rd *r, size_t max)
{
	struct svs l = { .n = rd_u32(r) };

	if (l.n > max)
		r->failed = true;
	l.enc.p = (const char *)r->p;
	for (uint32_t i = 0; i < l.n && !r->failed; i++)
		(void)svs_next(r);
	if (r->failed)
		return (struct svs){ .n = 0 };
	l.enc.n = (size_t)((const char *)r->p - l.enc.p);
	return l;
}
