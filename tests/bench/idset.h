/* SPDX-License-Identifier: ISC */
/*
 * idset: how often was this seen? A table from a 64-bit hash to a count,
 * 12 bytes a slot. The keys themselves are not kept: two texts with the same
 * hash would count as one, which among ten million happens with a chance of
 * one in 370,000.
 */
#ifndef TESTS_BENCH_IDSET_H
#define TESTS_BENCH_IDSET_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/sv.h"

struct idset {
	uint64_t *keys; /* 0 is a free slot */
	uint32_t *counts;
	size_t nslots; /* a power of two, or 0 */
	size_t used;   /* distinct keys */
};

void idset_init(struct idset *s);
void idset_fini(struct idset *s);
/* Counts the key once more; returns how often it was seen, this time
 * included. Exits when there is no memory. */
uint32_t idset_add(struct idset *s, uint64_t key);
/* Hash of a text without regard to ASCII case, mixed with seed. */
uint64_t idset_hash(uint64_t seed, struct sv text);

#endif
