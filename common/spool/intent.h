/* SPDX-License-Identifier: ISC */
/*
 * intent: the file in which a delivery worker writes down what it is about to
 * commit to. It is mapped shared, so that what was written survives the
 * worker's death at any instruction; it need not survive the machine's.
 *
 * Before a final dot is sent the recipients that hang on it stand in slots as
 * "dot sent"; when the answer is 2xx they become "delivered", and only then
 * the result is told to qmgr, which acknowledges it; then they are emptied.
 * qmgr reads the file of a dead worker: "delivered" is recorded, "dot sent"
 * is in doubt.
 *
 * Behind the slots stands one more, the mark: which message's bytes, or which
 * replies to it, the worker is looking at right now. It says nothing of the
 * message's fate; but if the worker crashes, it names the suspect.
 *
 * Byte order is the machine's: nobody else reads it. qmgr makes the file with
 * intent_file_bytes(slots) zeros, a new one (or a zeroed one) for each INTENT.
 */
#ifndef COMMON_SPOOL_INTENT_H
#define COMMON_SPOOL_INTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INTENT_SLOT_BYTES 128u
#define INTENT_RCPTS      28u        /* of one slot */
#define INTENT_NONE       UINT32_MAX /* no slot */

enum intent_state {
	INTENT_EMPTY,
	INTENT_DOT_SENT,
	INTENT_DELIVERED,
	INTENT_WORKING,    /* the mark only */
};

/* One slot as it stands in the file. */
struct intent_slot {
	uint64_t id;             /* of the message */
	_Atomic uint32_t state;  /* enum intent_state; written last */
	uint32_t count;
	uint32_t idx[INTENT_RCPTS];
};

/* What was found in a slot. */
struct intent_entry {
	uint64_t id;
	enum intent_state state;
	uint32_t count;
	uint32_t idx[INTENT_RCPTS];
};

static inline uint64_t
intent_file_bytes(uint32_t slots)
{
	return ((uint64_t)slots + 1) * INTENT_SLOT_BYTES;
}

/* Reads the 128 bytes of a slot. False if it is empty or senseless. */
bool intent_slot_read(const void *bytes, struct intent_entry *e_r);
/* Reads the mark: the message's id, 0 if nothing was being looked at. */
uint64_t intent_mark_read(const void *bytes);

/* ---- the worker's side ---- */

struct intent_map {
	struct intent_slot *slots; /* NULL: none */
	struct intent_slot *mark;  /* NULL: the file has none */
	uint32_t n;
	uint32_t *next;            /* of the same owner, or of the free list */
	uint32_t free;             /* head of the free list */
	uint32_t nfree;
	uint32_t nreserved;        /* of the free ones */
};

/* Maps the file, which must have the size (the mark may be missing); fd stays
 * the caller's. 0 or -1 with errno. */
int intent_map_open(struct intent_map *m, int fd, uint32_t slots);
void intent_map_close(struct intent_map *m);
/* Empties every slot in the file, when another file says it all. */
void intent_map_wipe(struct intent_map *m);
/* What is done from here on is done for this message; 0: for none. Cheap. */
void intent_mark(struct intent_map *m, uint64_t id);
/* Slots that so many recipients need. */
uint32_t intent_slots_for(uint32_t nrcpts);
/* Promises n slots to a transaction that begins; false if there are too few.
 * Given back by intent_unreserve(), also in front of its intent_take(). */
bool intent_reserve(struct intent_map *m, uint32_t n);
void intent_unreserve(struct intent_map *m, uint32_t n);
/*
 * Writes recipients as "dot sent" into free slots. Returns the first slot;
 * INTENT_NONE if there are too few.
 */
uint32_t intent_take(struct intent_map *m, uint64_t id, const uint32_t *idx,
    uint32_t n);
void intent_delivered(struct intent_map *m, uint32_t slot);
/* Empties a slot and those that belong to it; INTENT_NONE is fine. */
void intent_release(struct intent_map *m, uint32_t slot);

#endif
