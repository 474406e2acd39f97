/* SPDX-License-Identifier: ISC */
/*
 * Why recipients are on hold. Each command that holds is an order with a
 * number; a held recipient has the number. Orders are kept by events and by
 * checkpoints, which leave out those that no recipient has any more. Number 0
 * is for what qmgr holds itself (suspects.c). The table is bounded: the oldest
 * orders go, then their recipients stay on hold without a reason.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/str.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "qmgr/qmgr.h"

#define ORDERS_MAX 4096

struct order {
	uint32_t number;
	bool used;               /* by a recipient in this checkpoint */
	uint64_t time_us;
	char reason[HOLD_REASON_MAX + 1];
	char who[HOLD_WHO_MAX + 1];
};

/* Sorted by number. */
struct holds {
	struct order *v;
	size_t n, size;
	uint32_t last;           /* highest number so far */
};

static struct order *
order_find(const struct qmgr *q, uint32_t number)
{
	const struct holds *h = q->holds;
	size_t lo = 0, hi = h == NULL ? 0 : h->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (h->v[mid].number < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	return h != NULL && lo < h->n && h->v[lo].number == number ?
	    &h->v[lo] : NULL;
}

static void
text_set(char *out, size_t max, struct sv v)
{
	size_t n = v.n < max ? v.n : max;

	if (n > 0)
		memcpy(out, v.p, n);
	out[n] = '\0';
}

/* Numbers only grow, so it goes to the end. */
static void
order_add(struct qmgr *q, const struct ev_hold_order *e)
{
	struct holds *h = q->holds;
	struct order *o;

	if (h == NULL) {
		h = q->holds = calloc(1, sizeof(*h));
		if (h == NULL)
			fatal("out of memory");
	}
	if (e->number <= h->last)
		return; /* known, from the checkpoint */
	if (h->n == ORDERS_MAX) {
		memmove(h->v, h->v + 1, (h->n - 1) * sizeof(*h->v));
		h->n--;
	}
	if (h->n == h->size) {
		h->size = h->size == 0 ? 16 : h->size * 2;
		h->v = reallocarray(h->v, h->size, sizeof(*h->v));
		if (h->v == NULL)
			fatal("out of memory");
	}
	o = &h->v[h->n++];
	*o = (struct order){ .number = e->number, .time_us = e->time_us };
	text_set(o->reason, HOLD_REASON_MAX, e->reason);
	text_set(o->who, HOLD_WHO_MAX, e->who);
	h->last = e->number;
}

uint32_t
hold_order_new(struct qmgr *q, struct sv reason, struct sv who)
{
	union ev_any ev = { .hold_order = {
		.number = (q->holds == NULL ? 0 : q->holds->last) + 1,
		.time_us = (uint64_t)clock_wall().us,
		.reason = sv_head(reason, HOLD_REASON_MAX),
		.who = sv_head(who, HOLD_WHO_MAX),
	} };

	journal_append(q, EV_HOLD_ORDER, &ev);
	order_add(q, &ev.hold_order);
	return ev.hold_order.number;
}

/* A new one each day, so that one that is long forgotten does not come back. */
uint32_t
hold_order_of_list(struct qmgr *q, struct sv list)
{
	uint64_t day_us = (uint64_t)86400 * US_PER_SEC;
	uint64_t today = (uint64_t)clock_wall().us / day_us;
	const struct holds *h = q->holds;
	char reason[HOLD_REASON_MAX + 1];
	struct str s;

	str_init(&s, reason, HOLD_REASON_MAX + 1);
	str_addf(&s, "pattern-list %.*s", SV_FMT(list));
	for (size_t i = h == NULL ? 0 : h->n; i-- > 0;) {
		const struct order *o = &h->v[i];

		if (o->time_us / day_us != today)
			break;
		if (sv_eq(sv_from(o->who), SV("pattern-list")) &&
		    sv_eq(sv_from(o->reason), str_sv(&s)))
			return o->number;
	}
	return hold_order_new(q, str_sv(&s), SV("pattern-list"));
}

void
hold_order_replay(struct qmgr *q, const struct ev_hold_order *e)
{
	order_add(q, e);
}

bool
hold_order_find(const struct qmgr *q, uint32_t number,
    struct hold_order *o_r)
{
	const struct order *o = order_find(q, number);

	if (o == NULL)
		return false;
	*o_r = (struct hold_order){ .reason = sv_from(o->reason),
		.who = sv_from(o->who), .time_us = o->time_us };
	return true;
}

void
hold_order_use(struct qmgr *q, uint32_t number)
{
	struct order *o = order_find(q, number);

	if (o != NULL)
		o->used = true;
}

/* By the child that writes a checkpoint, or before the process ends: the marks
 * need not be taken back. */
int
hold_orders_save(const struct qmgr *q, struct checkpoint *cp)
{
	const struct holds *h = q->holds;

	for (size_t i = 0; h != NULL && i < h->n; i++) {
		const struct order *o = &h->v[i];
		union ev_any e = { .hold_order = { .number = o->number,
		    .time_us = o->time_us, .reason = sv_from(o->reason),
		    .who = sv_from(o->who) } };

		if (o->used && checkpoint_add(cp, EV_HOLD_ORDER, &e) != 0)
			return -1;
	}
	return 0;
}
