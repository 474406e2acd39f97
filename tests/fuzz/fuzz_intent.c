/* SPDX-License-Identifier: ISC */
/*
 * The intent file. Any 128 bytes as a slot: what is read has a state, a count
 * within the slot and an id. And the worker's side driven by the input: take,
 * delivered, release in any order; what the file says is what was done.
 */
#include <sys/mman.h>
#include <string.h>
#include <unistd.h>

#include "common/spool/intent.h"
#include "tests/fuzz/fuzz.h"

#define SLOTS 16u
#define TXNS  8u

struct txn {
	uint32_t slot, n;
	bool open, delivered;
};

static void
slot_check(const uint8_t *data, size_t size)
{
	unsigned char mem[INTENT_SLOT_BYTES] = { 0 };
	struct intent_entry e;

	memcpy(mem, data, size < sizeof(mem) ? size : sizeof(mem));
	if (!intent_slot_read(mem, &e))
		return;
	must(e.count > 0 && e.count <= INTENT_RCPTS);
	must(e.state == INTENT_DOT_SENT || e.state == INTENT_DELIVERED);
}

/* The recipients in the file, by message and state. */
static void
file_check(const struct intent_map *m, const struct txn txns[TXNS])
{
	uint32_t got[TXNS][3] = { { 0 } };

	for (uint32_t i = 0; i < SLOTS; i++) {
		struct intent_entry e;

		if (!intent_slot_read(&m->slots[i], &e))
			continue;
		must(e.id >= 1 && e.id <= TXNS);
		got[e.id - 1][e.state] += e.count;
	}
	for (unsigned k = 0; k < TXNS; k++) {
		const struct txn *t = &txns[k];

		must(got[k][INTENT_DOT_SENT] ==
		    (t->open && !t->delivered ? t->n : 0));
		must(got[k][INTENT_DELIVERED] ==
		    (t->open && t->delivered ? t->n : 0));
	}
}

static void
step(struct intent_map *m, struct txn *t, uint64_t id, uint8_t arg)
{
	uint32_t idx[64], n = arg % 64u + 1, slots;

	if (!t->open) {
		slots = intent_slots_for(n);
		for (uint32_t i = 0; i < n; i++)
			idx[i] = i * 3;
		/* without a promise, as after a new qmgr's RESYNC */
		if (arg >= 192) {
			t->slot = intent_take(m, id, idx, n);
			t->open = t->slot != INTENT_NONE;
			t->n = n;
			t->delivered = false;
			return;
		}
		if (!intent_reserve(m, slots))
			return;
		intent_unreserve(m, slots);
		t->slot = intent_take(m, id, idx, n);
		must(t->slot != INTENT_NONE);
		t->n = n;
		t->open = true;
		t->delivered = false;
	} else if (!t->delivered && (arg & 1) != 0) {
		intent_delivered(m, t->slot);
		t->delivered = true;
	} else {
		intent_release(m, t->slot);
		t->open = false;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct txn txns[TXNS] = { { 0, 0, false, false } };
	struct intent_map m;
	int fd;

	slot_check(data, size);
	if (size < 2 || size > 512)
		return 0;
	fd = memfd_create("intent", MFD_CLOEXEC);
	must(fd >= 0 && ftruncate(fd, SLOTS * INTENT_SLOT_BYTES) == 0);
	must(intent_map_open(&m, fd, SLOTS) == 0);
	for (size_t i = 0; i + 1 < size; i += 2) {
		unsigned k = data[i] % TXNS;

		step(&m, &txns[k], k + 1, data[i + 1]);
		file_check(&m, txns);
		must(m.nreserved == 0);
	}
	intent_map_close(&m);
	close(fd);
	return 0;
}
