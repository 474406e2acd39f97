/* SPDX-License-Identifier: ISC */
#include <stddef.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/spool/idset.h"

struct idset {
	uint64_t *slots;
	size_t size;   /* a power of two */
	size_t used;
};

struct idset *
idset_new(void)
{
	struct idset *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->size = 1024;
	s->slots = calloc(s->size, sizeof(*s->slots));
	if (s->slots == NULL) {
		free(s);
		return NULL;
	}
	return s;
}

void
idset_free(struct idset **sp)
{
	struct idset *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	free(s->slots);
	free(s);
}

/* The slot of id, or the empty one where it belongs. */
static size_t
slot_of(const uint64_t *slots, size_t size, uint64_t id)
{
	/* IDs are ours, not a stranger's: a multiplication will do. */
	size_t i = (size_t)(id * UINT64_C(0x9e3779b97f4a7c15) >> 20) &
	    (size - 1);

	while (slots[i] != 0 && slots[i] != id)
		i = (i + 1) & (size - 1);
	return i;
}

static void
grow(struct idset *s)
{
	size_t size = s->size * 2;
	uint64_t *slots = calloc(size, sizeof(*slots));

	if (slots == NULL) /* GCOVR_EXCL_BR_LINE: memory */
		mem_exhausted();
	for (size_t i = 0; i < s->size; i++) {
		if (s->slots[i] != 0)
			slots[slot_of(slots, size, s->slots[i])] =
			    s->slots[i];
	}
	free(s->slots);
	s->slots = slots;
	s->size = size;
}

bool
idset_add(struct idset *s, uint64_t id)
{
	size_t i;

	if (s->used >= s->size / 4 * 3)
		grow(s);
	i = slot_of(s->slots, s->size, id);
	if (s->slots[i] == id)
		return false;
	s->slots[i] = id;
	s->used++;
	return true;
}

bool
idset_has(const struct idset *s, uint64_t id)
{
	return s->slots[slot_of(s->slots, s->size, id)] == id;
}

size_t
idset_count(const struct idset *s)
{
	return s->used;
}

uint64_t
idset_next(const struct idset *s, size_t *at)
{
	while (*at < s->size) {
		uint64_t id = s->slots[(*at)++];

		if (id != 0)
			return id;
	}
	return 0;
}
