/* SPDX-License-Identifier: ISC */
/*
 * Two binary heaps that know where their members stand: the timers of queues
 * and limits, and the retries of one queue.
 */
#include <stdlib.h>

#include "qmgr/sched_private.h"

/* ---- timers ---- */

void
timers_fini(struct timers *t)
{
	free(t->heap);
	*t = (struct timers){ 0 };
}

static void
timer_put(struct timers *t, uint32_t i, struct stimer *tm)
{
	t->heap[i - 1] = tm;
	tm->pos = i;
}

static void
timer_up(struct timers *t, uint32_t i, struct stimer *tm)
{
	while (i > 1 && t->heap[i / 2 - 1]->due > tm->due) {
		timer_put(t, i, t->heap[i / 2 - 1]);
		i /= 2;
	}
	timer_put(t, i, tm);
}

static void
timer_down(struct timers *t, uint32_t i, struct stimer *tm)
{
	while (i * 2 <= t->n) {
		uint32_t c = i * 2;

		if (c < t->n && t->heap[c]->due < t->heap[c - 1]->due)
			c++;
		if (t->heap[c - 1]->due >= tm->due)
			break;
		timer_put(t, i, t->heap[c - 1]);
		i = c;
	}
	timer_put(t, i, tm);
}

static void
timer_clear(struct timers *t, struct stimer *tm)
{
	uint32_t i = tm->pos;
	struct stimer *last;

	if (i == 0)
		return;
	tm->pos = 0;
	last = t->heap[--t->n];
	if (last == tm)
		return;
	timer_put(t, i, last);
	timer_up(t, i, last);
	timer_down(t, last->pos, last);
}

bool
timer_set(struct timers *t, struct stimer *tm, int64_t due)
{
	if (tm->pos != 0 && tm->due == due)
		return true;
	if (due == NEVER) {
		timer_clear(t, tm);
		return true;
	}
	if (tm->pos != 0) {
		tm->due = due;
		timer_up(t, tm->pos, tm);
		timer_down(t, tm->pos, tm);
		return true;
	}
	if (t->n == t->size) {
		uint32_t size = t->size == 0 ? 64 : t->size * 2;
		struct stimer **h = reallocarray(t->heap, size, sizeof(*h));

		if (h == NULL)
			return false;
		t->heap = h;
		t->size = size;
	}
	tm->due = due;
	t->n++;
	timer_up(t, t->n, tm);
	return true;
}

struct stimer *
timers_first(const struct timers *t)
{
	return t->n == 0 ? NULL : t->heap[0];
}

/* ---- retries ---- */

/* Recipients of one message that wait for the same time come together. */
static bool
retry_before(const struct srcpt *a, const struct srcpt *b)
{
	const struct smsg *ma, *mb;

	if (a->u.retry.due != b->u.retry.due)
		return a->u.retry.due < b->u.retry.due;
	ma = rcpt_msg(a);
	mb = rcpt_msg(b);
	if (ma != mb)
		return ma->id < mb->id;
	return a->idx < b->idx;
}

static void
retry_put(struct squeue *q, uint32_t i, struct srcpt *r)
{
	q->heap[i] = r;
	r->u.retry.pos = i;
}

static void
retry_up(struct squeue *q, uint32_t i, struct srcpt *r)
{
	while (i > 0 && retry_before(r, q->heap[(i - 1) / 2])) {
		retry_put(q, i, q->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	retry_put(q, i, r);
}

static void
retry_down(struct squeue *q, uint32_t n, uint32_t i, struct srcpt *r)
{
	while (i * 2 + 1 < n) {
		uint32_t c = i * 2 + 1;

		if (c + 1 < n && retry_before(q->heap[c + 1], q->heap[c]))
			c++;
		if (!retry_before(q->heap[c], r))
			break;
		retry_put(q, i, q->heap[c]);
		i = c;
	}
	retry_put(q, i, r);
}

static bool
retry_resize(struct squeue *q, uint32_t size)
{
	struct srcpt **h = reallocarray(q->heap, size, sizeof(*h));

	if (h == NULL)
		return false;
	q->heap = h;
	q->heap_size = size;
	return true;
}

bool
retry_heap_push(struct squeue *q, struct srcpt *r)
{
	uint32_t n = q->count[SR_RETRY];

	if (n == q->heap_size && !retry_resize(q, n == 0 ? 4 : n + n / 2))
		return false;
	retry_up(q, n, r);
	return true;
}

void
retry_heap_remove(struct squeue *q, struct srcpt *r)
{
	uint32_t i = r->u.retry.pos, n = q->count[SR_RETRY] - 1;
	struct srcpt *last = q->heap[n];

	if (last != r) {
		retry_put(q, i, last);
		retry_up(q, i, last);
		retry_down(q, n, last->u.retry.pos, last);
	}
	if (q->heap_size > 64 && n < q->heap_size / 4)
		(void)retry_resize(q, q->heap_size / 2);
}
