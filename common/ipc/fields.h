/* SPDX-License-Identifier: ISC */
/*
 * fields: makes a struct, an encoder and a decoder from one list of fields.
 *
 *	#define POINT_FIELDS(F) \
 *		F(u32, x, 0) \
 *		F(sv, label, 100)
 *	FIELDS_STRUCT(point, POINT_FIELDS)
 *	FIELDS_CODEC(point, POINT_FIELDS)
 *
 * gives struct point { uint32_t x; struct sv label; }, point_encode() and
 * point_decode(). Types: u8, u16, u32, u64; sv (bytes, at most max of them);
 * u32s (a list of at most max numbers); svs (a list of at most max texts).
 * Decoded views look into the encoded bytes.
 *
 * late_u8, late_u32, late_u64, late_sv: fields that records of an earlier
 * version end before; then they are 0 or empty. Only at the end of a list.
 */
#ifndef COMMON_IPC_FIELDS_H
#define COMMON_IPC_FIELDS_H

#include "common/base/rw.h"

/* A list of u32, either encoded (from a decoder) or an array of the caller. */
struct u32s {
	const uint32_t *array;    /* set by a sender */
	const unsigned char *enc; /* set by a decoder */
	uint32_t n;
};

/* A list of texts, either encoded or an array of the caller. */
struct svs {
	const struct sv *array;
	struct sv enc;            /* the encoded texts, one after another */
	uint32_t n;
};

#define SVS_TEXT_MAX 1024 /* bytes of one text in a list */

uint32_t u32s_get(const struct u32s *l, uint32_t i);
/*
 * Walks a list of texts: start with *it = the list's enc in an rd; or use
 * svs_get(), which is O(i) for decoded lists.
 */
struct sv svs_get(const struct svs *l, uint32_t i);
/* Walk: rd_init(&r, l->enc.p, l->enc.n), then n times svs_next(&r). */
struct sv svs_next(struct rd *r);

void wr_u32s(struct wr *w, const struct u32s *l, size_t max);
struct u32s rd_u32s(struct rd *r, size_t max);
void wr_svs(struct wr *w, const struct svs *l, size_t max);
struct svs rd_svs(struct rd *r, size_t max);

#define FIELD_C_u8   uint8_t
#define FIELD_C_u16  uint16_t
#define FIELD_C_u32  uint32_t
#define FIELD_C_u64  uint64_t
#define FIELD_C_sv   struct sv
#define FIELD_C_u32s struct u32s
#define FIELD_C_svs  struct svs

#define FIELD_C_late_u8  uint8_t
#define FIELD_C_late_u32 uint32_t
#define FIELD_C_late_u64 uint64_t
#define FIELD_C_late_sv  struct sv

#define FIELD_WR_u8(w, v, max)   wr_u8(w, v)
#define FIELD_WR_u16(w, v, max)  wr_u16(w, v)
#define FIELD_WR_u32(w, v, max)  wr_u32(w, v)
#define FIELD_WR_u64(w, v, max)  wr_u64(w, v)
#define FIELD_WR_sv(w, v, max)   wr_sv(w, v, max)
#define FIELD_WR_u32s(w, v, max) wr_u32s(w, &(v), max)
#define FIELD_WR_svs(w, v, max)  wr_svs(w, &(v), max)

#define FIELD_WR_late_u8(w, v, max)  wr_u8(w, v)
#define FIELD_WR_late_u32(w, v, max) wr_u32(w, v)
#define FIELD_WR_late_u64(w, v, max) wr_u64(w, v)
#define FIELD_WR_late_sv(w, v, max)  wr_sv(w, v, max)

#define FIELD_RD_u8(r, max)   rd_u8(r)
#define FIELD_RD_u16(r, max)  rd_u16(r)
#define FIELD_RD_u32(r, max)  rd_u32(r)
#define FIELD_RD_u64(r, max)  rd_u64(r)
#define FIELD_RD_sv(r, max)   rd_sv(r, max)
#define FIELD_RD_u32s(r, max) rd_u32s(r, max)
#define FIELD_RD_svs(r, max)  rd_svs(r, max)

#define FIELD_RD_late_u8(r, max)  (rd_done(r) ? 0 : rd_u8(r))
#define FIELD_RD_late_u32(r, max) (rd_done(r) ? 0 : rd_u32(r))
#define FIELD_RD_late_u64(r, max) (rd_done(r) ? 0 : rd_u64(r))
#define FIELD_RD_late_sv(r, max)  (rd_done(r) ? SV("") : rd_sv(r, max))

#define FIELD_MEMBER(type, name, max) FIELD_C_##type name;
#define FIELD_ENCODE(type, name, max) FIELD_WR_##type(w, m->name, max);
#define FIELD_DECODE(type, name, max) m->name = FIELD_RD_##type(r, max);

#define FIELDS_STRUCT(tag, LIST)                                              \
	struct tag {                                                          \
		LIST(FIELD_MEMBER)                                            \
	};                                                                    \
	void tag##_encode(struct wr *w, const struct tag *m);                 \
	/* True only if every field fits and nothing is left over. */        \
	bool tag##_decode(struct rd *r, struct tag *m)                        \
	    __attribute__((warn_unused_result));

#define FIELDS_CODEC(tag, LIST)                                               \
	void tag##_encode(struct wr *w, const struct tag *m)                  \
	{                                                                     \
		LIST(FIELD_ENCODE)                                            \
		(void)w;                                                      \
		(void)m;                                                      \
	}                                                                     \
	bool tag##_decode(struct rd *r, struct tag *m)                        \
	{                                                                     \
		LIST(FIELD_DECODE)                                            \
		(void)m;                                                      \
		return rd_done(r);                                            \
	}

#endif
