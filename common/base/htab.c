/* SPDX-License-Identifier: ISC */
#include <assert.h>
#include <stdlib.h>

#include "common/base/htab.h"
#include "common/base/mem.h"

#define HTAB_FIRST 64
#define MOVE_STEP 8 /* slots moved per insert or remove while growing */
#define WALK_AHEAD 12 /* entries of a walk that are fetched meanwhile */

void
htab_init(struct htab *t, htab_hash_fn *hash)
{
	*t = (struct htab){ .hash = hash };
}

void
htab_fini(struct htab *t)
{
	free(t->slots);
	free(t->old);
	htab_init(t, t->hash);
}

size_t
htab_count(const struct htab *t)
{
	return t->used + t->old_used;
}

/* Spreads hashes whose low bits are poor, such as queue IDs. */
static size_t
home(uint64_t hash, size_t nslots)
{
	hash *= 0x9e3779b97f4a7c15u;
	return (size_t)(hash >> 32) & (nslots - 1);
}

/*
 * A slot is the address of an entry plus how far from its home the entry lies,
 * in the bits that alignment leaves free. So a search looks only at entries
 * that have its own home, and a removal at none: in a table of millions each
 * look is some hundred nanoseconds of waiting for memory.
 */
#define FAR 7u /* so far, or farther: ask the entry */

static unsigned
slot_far(const void *slot)
{
	return (unsigned)((uintptr_t)slot & FAR);
}

static void *
slot_entry(void *slot)
{
	return slot == NULL ? NULL : (char *)slot - slot_far(slot);
}

static void *
slot_of(void *entry, size_t distance)
{
	assert(slot_far(entry) == 0);
	return (char *)entry + (distance < FAR ? distance : FAR);
}

static size_t
slot_distance(const struct htab *t, void **slots, size_t mask, size_t i)
{
	unsigned far = slot_far(slots[i]);

	if (far < FAR)
		return far;
	return (i - home(t->hash(slot_entry(slots[i])), mask + 1)) & mask;
}

static void
slots_put(struct htab *t, void **slots, size_t nslots, void *entry)
{
	size_t i = home(t->hash(entry), nslots), distance = 0;

	while (slots[i] != NULL) {
		i = (i + 1) & (nslots - 1);
		distance++;
	}
	slots[i] = slot_of(entry, distance);
}

static void *
slots_find(void *const *slots, size_t nslots, uint64_t hash,
    htab_match_fn *match, const void *key)
{
	size_t i;
	unsigned far = 0;

	if (nslots == 0)
		return NULL;
	for (i = home(hash, nslots); slots[i] != NULL;
	    i = (i + 1) & (nslots - 1)) {
		if (slot_far(slots[i]) == far &&
		    match(slot_entry(slots[i]), key))
			return slot_entry(slots[i]);
		if (far < FAR)
			far++;
	}
	return NULL;
}

/* Deletion by shifting back: no tombstones, probes stay short. */
static bool
slots_remove(struct htab *t, void **slots, size_t nslots, const void *entry)
{
	size_t mask = nslots - 1, i, j;

	if (nslots == 0)
		return false;
	i = home(t->hash(entry), nslots);
	while (slots[i] != NULL && slot_entry(slots[i]) != entry)
		i = (i + 1) & mask;
	if (slots[i] == NULL)
		return false;
	for (j = (i + 1) & mask; slots[j] != NULL; j = (j + 1) & mask) {
		size_t distance = slot_distance(t, slots, mask, j);
		size_t back = (j - i) & mask;

		if (distance >= back) {
			slots[i] = slot_of(slot_entry(slots[j]),
			    distance - back);
			i = j;
		}
	}
	slots[i] = NULL;
	return true;
}

/*
 * Moves some entries of the old table. Removing from the old table shifts
 * later entries back, perhaps into the slot just emptied, so the same slot is
 * looked at until it is empty.
 */
static void
move_some(struct htab *t)
{
	for (int k = 0; k < MOVE_STEP && t->old != NULL; k++) {
		void *entry = slot_entry(t->old[t->old_at]);

		if (entry != NULL) {
			slots_remove(t, t->old, t->old_nslots, entry);
			t->old_used--;
			slots_put(t, t->slots, t->nslots, entry);
			t->used++;
			continue;
		}
		t->old_at++;
		if (t->old_at == t->old_nslots || t->old_used == 0) {
			free(t->old);
			t->old = NULL;
			t->old_nslots = t->old_at = t->old_used = 0;
		}
	}
}

static int
grow(struct htab *t, size_t n)
{
	void **slots;

	while (t->old != NULL)
		move_some(t);
	slots = calloc(n, sizeof(*slots));
	if (slots == NULL) {
		mem_failed(n * sizeof(*slots));
		return -1;
	}
	t->old = t->slots;
	t->old_nslots = t->nslots;
	t->old_used = t->used;
	t->old_at = 0;
	t->slots = slots;
	t->nslots = n;
	t->used = 0;
	if (t->old_used == 0) {
		free(t->old);
		t->old = NULL;
		t->old_nslots = 0;
	}
	return 0;
}

void *
htab_find(const struct htab *t, uint64_t hash, htab_match_fn *match,
    const void *key)
{
	void *e = slots_find(t->slots, t->nslots, hash, match, key);

	if (e == NULL && t->old != NULL)
		e = slots_find(t->old, t->old_nslots, hash, match, key);
	return e;
}

/* Slots for n entries, at most 3/4 of them used. */
static size_t
slots_for(const struct htab *t, size_t n)
{
	size_t nslots = t->nslots == 0 ? HTAB_FIRST : t->nslots;

	while (n > nslots - nslots / 4)
		nslots *= 2;
	return nslots;
}

int
htab_reserve(struct htab *t, size_t n)
{
	size_t nslots = slots_for(t, n);

	return nslots > t->nslots ? grow(t, nslots) : 0;
}

int
htab_insert(struct htab *t, void *entry)
{
	size_t nslots = slots_for(t, htab_count(t) + 1);

	if (nslots > t->nslots && grow(t, nslots) != 0)
		return -1;
	move_some(t);
	slots_put(t, t->slots, t->nslots, entry);
	t->used++;
	return 0;
}

bool
htab_remove(struct htab *t, const void *entry)
{
	bool found;

	if (t->old != NULL)
		move_some(t);
	if (slots_remove(t, t->slots, t->nslots, entry)) {
		t->used--;
		return true;
	}
	found = t->old != NULL &&
	    slots_remove(t, t->old, t->old_nslots, entry);
	if (found)
		t->old_used--;
	return found;
}

/*
 * Entries lie anywhere, so each step of a walk over a large table would wait
 * for the memory: what comes soon is asked for now.
 */
static void
walk_ahead(const struct htab *t, size_t i)
{
	char *e;

	if (i + WALK_AHEAD >= t->nslots)
		return;
	e = slot_entry(t->slots[i + WALK_AHEAD]);
	if (e == NULL)
		return;
	__builtin_prefetch(e);
	__builtin_prefetch(e + 64);
}

void *
htab_next(const struct htab *t, size_t *at)
{
	while (*at < t->nslots + t->old_nslots) {
		size_t i = (*at)++;
		void *e = slot_entry(i < t->nslots ? t->slots[i] :
		    t->old[i - t->nslots]);

		walk_ahead(t, i);
		if (e != NULL)
			return e;
	}
	return NULL;
}
