/* SPDX-License-Identifier: ISC */
/*
 * arena: memory that is freed as a whole, for one session or one transaction.
 * It has a cap; the returning forms give NULL when it is reached, so that
 * sizes from outside become a 4xx and not a crash.
 */
#ifndef COMMON_BASE_ARENA_H
#define COMMON_BASE_ARENA_H

#include "common/base/sv.h"

struct arena_chunk;

struct arena {
	struct arena_chunk *chunks;
	size_t used;   /* bytes handed out */
	size_t cap;
};

void arena_init(struct arena *a, size_t cap);
/* Frees everything but keeps one small chunk for the next user. */
void arena_reset(struct arena *a);
void arena_fini(struct arena *a);
/* Zeroed memory, aligned for any type; NULL over the cap or out of memory. */
void *arena_alloc(struct arena *a, size_t n);
/* Copy of a view; p is NULL in the result when there is no room. The copy has
 * a NUL behind its n bytes. */
struct sv arena_sv(struct arena *a, struct sv v);

#endif
