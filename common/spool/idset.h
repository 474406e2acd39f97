/* SPDX-License-Identifier: ISC */
/*
 * idset: a set of queue IDs, 8 bytes a slot, at most 3/4 full.
 */
#ifndef COMMON_SPOOL_IDSET_H
#define COMMON_SPOOL_IDSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct idset;

/* NULL without memory. */
struct idset *idset_new(void);
void idset_free(struct idset **s);
/* True if it was not there. id is not 0. Aborts without memory. */
bool idset_add(struct idset *s, uint64_t id);
bool idset_has(const struct idset *s, uint64_t id);
size_t idset_count(const struct idset *s);
/* The next one, in no order; *at starts at 0. 0: there are no more. */
uint64_t idset_next(const struct idset *s, size_t *at);

#endif
