/* SPDX-License-Identifier: ISC */
#include <err.h>
#include <stdlib.h>

#include "common/base/siphash.h"
#include "tests/bench/idset.h"

#define FIRST_SLOTS 1024

void
idset_init(struct idset *s)
{
	*s = (struct idset){ 0 };
}

void
idset_fini(struct idset *s)
{
	free(s->keys);
	free(s->counts);
	idset_init(s);
}

static size_t
slot_of(const struct idset *s, uint64_t key)
{
	size_t i = (size_t)key & (s->nslots - 1);

	while (s->keys[i] != 0 && s->keys[i] != key)
		i = (i + 1) & (s->nslots - 1);
	return i;
}

static void
grow(struct idset *s)
{
	struct idset old = *s;

	s->nslots = old.nslots == 0 ? FIRST_SLOTS : old.nslots * 2;
	s->keys = calloc(s->nslots, sizeof(*s->keys));
	s->counts = calloc(s->nslots, sizeof(*s->counts));
	if (s->keys == NULL || s->counts == NULL)
		errx(111, "out of memory");
	for (size_t i = 0; i < old.nslots; i++) {
		size_t to;

		if (old.keys[i] == 0)
			continue;
		to = slot_of(s, old.keys[i]);
		s->keys[to] = old.keys[i];
		s->counts[to] = old.counts[i];
	}
	free(old.keys);
	free(old.counts);
}

uint32_t
idset_add(struct idset *s, uint64_t key)
{
	size_t i;

	if (key == 0)
		key = 1;
	if (s->used * 3 >= s->nslots * 2)
		grow(s);
	i = slot_of(s, key);
	if (s->keys[i] == 0) {
		s->keys[i] = key;
		s->used++;
	}
	return ++s->counts[i];
}

uint64_t
idset_hash(uint64_t seed, struct sv text)
{
	uint64_t key[2] = { seed, 0x62656e6368 };
	char low[512];
	size_t n = text.n < sizeof(low) ? text.n : sizeof(low);

	for (size_t i = 0; i < n; i++)
		low[i] = ascii_lower(text.p[i]);
	return siphash24(key, low, n);
}
