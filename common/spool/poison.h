/* SPDX-License-Identifier: ISC */
/*
 * poison: what a process was at when it crashed, so that it does not crash on
 * the same thing for ever. A small file mapped shared holds a mark ("I am at
 * this") and a table of what crashed how often; both survive the process at
 * any instruction, and need not survive the machine.
 *
 * The process marks what it begins and clears the mark after it. The next
 * life, told by the master that the one before it crashed, blames what is
 * marked; what was blamed POISON_LIMIT times is left alone and reported by
 * its owner. Byte order is the machine's.
 *
 * Everything works, and finds nothing, without a file.
 */
#ifndef COMMON_SPOOL_POISON_H
#define COMMON_SPOOL_POISON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/spool/sio.h"

#define POISON_LIMIT 2u   /* crashes on one thing */
#define POISON_ITEMS 255u /* more: the one blamed longest ago is forgotten */
#define POISON_TEXT  64u  /* with NUL */

enum poison_kind {
	POISON_NONE,
	POISON_MESSAGE,   /* a: queue ID */
	POISON_EVENT,     /* a, b: file and offset in the event log; with this
	                   * bit in a: the b-th event of that checkpoint */
	POISON_RESULT,    /* a: queue ID; what became of its delivery */
};

#define POISON_CHECKPOINT (UINT64_C(1) << 63)

struct poison_item {
	_Atomic uint32_t kind; /* enum poison_kind; of the mark written last */
	uint32_t crashes;
	uint64_t a, b;
	uint64_t turn;         /* grows with each blame */
	char why[POISON_TEXT]; /* "smtp[0]: signal 11" */
};

struct poison {
	struct poison_item *mark;  /* NULL: no file */
	struct poison_item *items; /* POISON_ITEMS of them */
	uint32_t n;                /* that are not empty: at most */
};

/* Opens or makes the file. On failure (-1 with errno; a full disk, say) p
 * works all the same, but knows nothing of the life before and leaves nothing
 * to the next. */
int poison_open(struct poison *p, struct sio *s, const char *path);
void poison_close(struct poison *p);
void poison_mark(struct poison *p, enum poison_kind kind, uint64_t a,
    uint64_t b);
void poison_clear(struct poison *p);
/* The life before crashed: counts what it had marked and clears the mark.
 * NULL if it had marked nothing. */
const struct poison_item *poison_blame_marked(struct poison *p,
    const char *why);
/* Counts one more crash on it. NULL without a file. */
const struct poison_item *poison_blame(struct poison *p,
    enum poison_kind kind, uint64_t a, uint64_t b, const char *why);
/* What is known of it; NULL: nothing. Costs nothing while the table is
 * empty. */
const struct poison_item *poison_find(const struct poison *p,
    enum poison_kind kind, uint64_t a, uint64_t b);
/* It was blamed so often that it is to be left alone. */
bool poison_is(const struct poison *p, enum poison_kind kind, uint64_t a,
    uint64_t b);
void poison_forget(struct poison *p, enum poison_kind kind, uint64_t a,
    uint64_t b);

#endif
