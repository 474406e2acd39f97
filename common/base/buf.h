/* SPDX-License-Identifier: ISC */
/*
 * buf: a growable queue of bytes with a hard cap: append at the end, consume
 * at the front. One owner. Memory doubles up to the cap and is given back by
 * buf_trim() when the queue is empty and the memory large.
 */
#ifndef COMMON_BASE_BUF_H
#define COMMON_BASE_BUF_H

#include "common/base/sv.h"

struct buf {
	unsigned char *mem;
	size_t head;   /* first unread byte */
	size_t tail;   /* behind the last byte */
	size_t size;   /* of mem */
	size_t cap;    /* never holds more unread bytes than this */
};

void buf_init(struct buf *b, size_t cap);
void buf_fini(struct buf *b);
static inline size_t
buf_len(const struct buf *b)
{
	return b->tail - b->head;
}
static inline const unsigned char *
buf_data(const struct buf *b)
{
	return b->mem + b->head;
}
static inline struct sv
buf_sv(const struct buf *b)
{
	if (b->mem == NULL)
		return sv_make("", 0);
	return sv_make(b->mem + b->head, b->tail - b->head);
}
/* Room for n bytes at the end, or NULL if the cap forbids it (or no memory).
 * Moves memory: earlier views of the buffer end. */
unsigned char *buf_reserve(struct buf *b, size_t n);
/* Tells that n bytes of the reserved room were filled. */
void buf_commit(struct buf *b, size_t n);
/* 0, or -1 if it does not fit; then nothing was added. */
int buf_add(struct buf *b, const void *p, size_t n)
    __attribute__((warn_unused_result));
int buf_add_sv(struct buf *b, struct sv v)
    __attribute__((warn_unused_result));
int buf_addf(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), warn_unused_result));
/* For messages to people: what does not fit is left out. */
void buf_sayf(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Drops n bytes at the front; n <= buf_len. */
void buf_consume(struct buf *b, size_t n);
void buf_clear(struct buf *b);
/* Frees the memory if the queue is empty and holds more than keep bytes. */
void buf_trim(struct buf *b, size_t keep);

#endif
