/* SPDX-License-Identifier: ISC */
#include <sys/mman.h>
#include <sys/stat.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/spool/intent.h"

_Static_assert(sizeof(struct intent_slot) == INTENT_SLOT_BYTES,
    "the layout of the file");

bool
intent_slot_read(const void *bytes, struct intent_entry *e_r)
{
	uint32_t state;

	memcpy(&e_r->id, bytes, sizeof(e_r->id));
	memcpy(&state, (const char *)bytes + 8, sizeof(state));
	memcpy(&e_r->count, (const char *)bytes + 12, sizeof(e_r->count));
	memcpy(e_r->idx, (const char *)bytes + 16, sizeof(e_r->idx));
	if (state != INTENT_DOT_SENT && state != INTENT_DELIVERED)
		return false;
	e_r->state = (enum intent_state)state;
	return e_r->id != 0 && e_r->count > 0 && e_r->count <= INTENT_RCPTS;
}

uint64_t
intent_mark_read(const void *bytes)
{
	uint64_t id;
	uint32_t state;

	memcpy(&id, bytes, sizeof(id));
	memcpy(&state, (const char *)bytes + 8, sizeof(state));
	return state == INTENT_WORKING ? id : 0;
}

int
intent_map_open(struct intent_map *m, int fd, uint32_t slots)
{
	size_t bytes = (size_t)slots * INTENT_SLOT_BYTES;
	struct stat st;
	void *p;

	*m = (struct intent_map){ .free = INTENT_NONE };
	if (slots == 0 || slots == INTENT_NONE || fstat(fd, &st) != 0)
		return -1;
	if ((uint64_t)st.st_size < bytes) {
		errno = EINVAL; /* touching it would be a SIGBUS */
		return -1;
	}
	m->next = calloc(slots, sizeof(*m->next));
	if (m->next == NULL)
		return -1;
	if ((uint64_t)st.st_size >= intent_file_bytes(slots))
		bytes = (size_t)intent_file_bytes(slots);
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		free(m->next);
		m->next = NULL;
		return -1;
	}
	m->slots = p;
	m->n = slots;
	if (bytes == intent_file_bytes(slots))
		m->mark = &m->slots[slots];
	for (uint32_t i = slots; i > 0; i--) {
		m->next[i - 1] = m->free;
		m->free = i - 1;
	}
	m->nfree = slots;
	return 0;
}

void
intent_map_close(struct intent_map *m)
{
	if (m->slots != NULL)
		munmap(m->slots, m->mark != NULL ?
		    (size_t)intent_file_bytes(m->n) :
		    (size_t)m->n * INTENT_SLOT_BYTES);
	free(m->next);
	*m = (struct intent_map){ .free = INTENT_NONE };
}

static void
state_set(struct intent_slot *s, enum intent_state state)
{
	atomic_store_explicit(&s->state, (uint32_t)state,
	    memory_order_release);
}

void
intent_map_wipe(struct intent_map *m)
{
	for (uint32_t i = 0; i < m->n; i++)
		state_set(&m->slots[i], INTENT_EMPTY);
}

void
intent_mark(struct intent_map *m, uint64_t id)
{
	struct intent_slot *s = m->mark;

	if (s == NULL || s->id == id)
		return;
	state_set(s, INTENT_EMPTY);
	atomic_signal_fence(memory_order_seq_cst);
	s->id = id;
	state_set(s, id != 0 ? INTENT_WORKING : INTENT_EMPTY);
	/* the work comes behind the mark */
	atomic_signal_fence(memory_order_seq_cst);
}

uint32_t
intent_slots_for(uint32_t nrcpts)
{
	return nrcpts / INTENT_RCPTS + (nrcpts % INTENT_RCPTS != 0);
}

bool
intent_reserve(struct intent_map *m, uint32_t n)
{
	/* what was taken without a promise may be more than was left */
	if (m->nreserved > m->nfree || n > m->nfree - m->nreserved)
		return false;
	m->nreserved += n;
	return true;
}

void
intent_unreserve(struct intent_map *m, uint32_t n)
{
	m->nreserved -= n < m->nreserved ? n : m->nreserved;
}

uint32_t
intent_take(struct intent_map *m, uint64_t id, const uint32_t *idx,
    uint32_t n)
{
	uint32_t first = INTENT_NONE;

	if (intent_slots_for(n) > m->nfree)
		return INTENT_NONE;
	while (n > 0) {
		uint32_t at = m->free;
		uint32_t count = n < INTENT_RCPTS ? n : INTENT_RCPTS;
		struct intent_slot *s = &m->slots[at];

		m->free = m->next[at];
		m->nfree--;
		m->next[at] = first;
		first = at;
		state_set(s, INTENT_EMPTY);
		s->id = id;
		s->count = count;
		memcpy(s->idx, idx, count * sizeof(*idx));
		state_set(s, INTENT_DOT_SENT);
		idx += count;
		n -= count;
	}
	return first;
}

void
intent_delivered(struct intent_map *m, uint32_t slot)
{
	for (; slot != INTENT_NONE; slot = m->next[slot])
		state_set(&m->slots[slot], INTENT_DELIVERED);
}

void
intent_release(struct intent_map *m, uint32_t slot)
{
	while (slot != INTENT_NONE) {
		uint32_t next = m->next[slot];

		state_set(&m->slots[slot], INTENT_EMPTY);
		m->next[slot] = m->free;
		m->free = slot;
		m->nfree++;
		slot = next;
	}
}
