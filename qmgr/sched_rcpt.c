/* SPDX-License-Identifier: ISC */
/*
 * The states of a recipient: the only functions that change them. Each takes
 * it out of the place that belongs to the old state and puts it into the one
 * of the new.
 */
#include <stdlib.h>

#include "qmgr/sched_private.h"

static bool
is_live(enum srcpt_state state)
{
	return state == SR_READY || state == SR_RETRY || state == SR_INFLIGHT;
}

/* live is in order of arrival; what does not fit is sorted when needed. */
static void
live_insert(struct squeue *q, struct srcpt *r)
{
	const struct sched *s = q->s;
	int64_t at = msg_arrived(s, rcpt_msg(r));
	const struct srcpt *first = TAILQ_FIRST(&q->live);
	const struct srcpt *last = TAILQ_LAST(&q->live, srcpts);

	if (first != NULL && at < msg_arrived(s, rcpt_msg(last))) {
		if (at <= msg_arrived(s, rcpt_msg(first))) {
			TAILQ_INSERT_HEAD(&q->live, r, all);
			return;
		}
		q->unsorted = true;
	}
	TAILQ_INSERT_TAIL(&q->live, r, all);
}

/* The list that recipients of this state are in; NULL: none. */
static struct srcpts *
home(struct squeue *q, enum srcpt_state state)
{
	if (is_live(state))
		return &q->live;
	if (state == SR_TRASHED)
		return &q->trash;
	return state == SR_DONE ? NULL : &q->aside;
}

/* What is in the trash counts for nothing but its space. */
static void
rcpt_count(struct sched *s, struct srcpt *r, bool more)
{
	uint64_t bytes = rcpt_msg(r)->body_len;

	r->q->bytes += more ? bytes : -bytes;
	s->nrcpts += more ? 1 : (uint64_t)-1;
}

/* Out of the place of its state. */
static void
rcpt_leave(struct sched *s, struct srcpt *r)
{
	struct squeue *q = r->q;

	switch (r->state) {
	case SR_READY:
		ready_remove(q, r);
		break;
	case SR_RETRY:
		retry_heap_remove(q, r);
		break;
	case SR_INFLIGHT:
		deliv_detach(s, r);
		break;
	case SR_TRASHED:
		rcpt_count(s, r, true);
		break;
	default:
		break;
	}
	q->count[r->state]--;
	s->count[r->state]--;
}

/* Who was to go on with r goes on with the next one. */
static void
live_leave(struct squeue *q, const struct srcpt *r)
{
	if (q->expire_next == r)
		q->expire_next = TAILQ_NEXT(r, all);
	delays_leave(q->s, r);
}

static void
rcpt_enter(struct sched *s, struct srcpt *r, enum srcpt_state state)
{
	struct squeue *q = r->q;
	struct srcpts *from = home(q, (enum srcpt_state)r->state);
	struct srcpts *to = home(q, state);

	if (!is_live(state))
		live_leave(q, r);
	if (from != to) {
		TAILQ_REMOVE(from, r, all);
		if (to == &q->live)
			live_insert(q, r);
		else if (to != NULL)
			TAILQ_INSERT_TAIL(to, r, all);
	}
	if (state == SR_TRASHED)
		rcpt_count(s, r, false);
	r->state = (uint8_t)state;
	q->count[state]++;
	s->count[state]++;
}

/* When the queue is to look for expired recipients again. */
static void
expire_soon(struct sched *s, struct squeue *q, const struct srcpt *r)
{
	int64_t at = EXPIRE_CHECK_US, life = queue_conf(s, q)->bounce_after_ms;
	int64_t left;

	if (q->expire_at != NEVER)
		return;
	left = msg_arrived(s, rcpt_msg(r)) - s->clock + life * US_PER_MS;
	if (left < at)
		at = left < 0 ? 0 : left;
	q->expire_at = sched_mono(s) + at;
}

/* A new recipient, ready. */
void
rcpt_add(struct sched *s, struct squeue *q, struct srcpt *r)
{
	r->q = q;
	r->state = SR_READY;
	r->priority = PRIORITY_DEFAULT;
	ready_put(q, r, false);
	live_insert(q, r);
	q->count[SR_READY]++;
	s->count[SR_READY]++;
	q->bytes += rcpt_msg(r)->body_len;
	s->nrcpts++;
	if (q->warmup != NULL)
		q->warmup->nrcpts++;
	expire_soon(s, q, r);
	queue_activate(s, q);
}

/* Where it goes when it comes back; NULL: it stays. Asked while it is still in
 * flight. Without memory for the queue it stays, too. */
static struct squeue *
move_target(struct sched *s, struct srcpt *r)
{
	const struct svmta *vm;

	if ((r->flags & RF_MOVE) == 0)
		return NULL;
	r->flags &= (uint8_t)~RF_MOVE;
	vm = vmta_numbered(s, r->u.held.vmta);
	return vm == NULL ? NULL : queue_get(s, r->q->domain, vm->name);
}

/* Into the place that its state has in r->q. */
static void
place_enter(struct sched *s, struct srcpt *r, int64_t due)
{
	struct squeue *q = r->q;

	if (r->state == SR_RETRY) {
		r->u.retry.due = due;
		if (!retry_heap_push(q, r))
			r->state = SR_READY;
	}
	if (r->state == SR_READY)
		ready_put(q, r, false);
	q->count[r->state]++;
	s->count[r->state]++;
	if (!is_live((enum srcpt_state)r->state)) {
		TAILQ_INSERT_TAIL(&q->aside, r, all);
		return;
	}
	live_insert(q, r);
	expire_soon(s, q, r);
}

void
rcpt_move(struct sched *s, struct srcpt *r, struct squeue *to)
{
	int64_t due = r->state == SR_RETRY ? r->u.retry.due : 0;
	struct squeue *q = r->q;

	if (q == to)
		return;
	rcpt_leave(s, r);
	live_leave(q, r);
	TAILQ_REMOVE(is_live((enum srcpt_state)r->state) ? &q->live :
	    &q->aside, r, all);
	q->bytes -= rcpt_msg(r)->body_len;
	to->bytes += rcpt_msg(r)->body_len;
	if (q->warmup != NULL)
		q->warmup->nrcpts--;
	if (to->warmup != NULL)
		to->warmup->nrcpts++;
	r->q = to;
	place_enter(s, r, due);
	queue_activate(s, q);
	queue_activate(s, to);
}

static void
move_end(struct sched *s, struct srcpt *r, struct squeue *to)
{
	if (to != NULL)
		rcpt_move(s, r, to);
}

void
rcpt_ready(struct sched *s, struct srcpt *r, bool at_head)
{
	struct squeue *q = r->q, *to = move_target(s, r);

	rcpt_leave(s, r);
	rcpt_enter(s, r, SR_READY);
	ready_put(q, r, at_head);
	expire_soon(s, q, r);
	queue_activate(s, q);
	move_end(s, r, to);
}

void
rcpt_retry(struct sched *s, struct srcpt *r, int64_t due)
{
	struct squeue *q = r->q, *to = move_target(s, r);

	rcpt_leave(s, r);
	r->u.retry.due = due;
	r->flags |= RF_DUE;
	if (retry_heap_push(q, r)) {
		rcpt_enter(s, r, SR_RETRY);
	} else {
		/* No memory to wait properly: at the end of the line. */
		rcpt_enter(s, r, SR_READY);
		ready_put(q, r, false);
	}
	expire_soon(s, q, r);
	queue_activate(s, q);
	move_end(s, r, to);
}

void
rcpt_inflight(struct sched *s, struct srcpt *r, struct sdeliv *d)
{
	rcpt_leave(s, r);
	rcpt_enter(s, r, SR_INFLIGHT);
	r->u.deliv = d;
}

/* Held, bouncing or in the trash. */
void
rcpt_aside(struct sched *s, struct srcpt *r, enum srcpt_state state)
{
	r->flags &= (uint8_t)~RF_MOVE;
	rcpt_leave(s, r);
	rcpt_enter(s, r, state);
	queue_activate(s, r->q);
}

void
rcpt_hold(struct sched *s, struct srcpt *r, uint32_t order)
{
	struct squeue *to = move_target(s, r);

	rcpt_aside(s, r, SR_HELD);
	r->u.held.order = order;
	move_end(s, r, to);
}

void
rcpt_trash(struct sched *s, struct srcpt *r, uint32_t number)
{
	int64_t due = 0;

	if (r->state == SR_RETRY)
		due = r->u.retry.due > 0 ? r->u.retry.due : 1;
	else if (r->state == SR_HELD)
		due = -(int64_t)r->u.held.order - 1;
	rcpt_aside(s, r, SR_TRASHED);
	r->u.trash.due = due;
	r->u.trash.number = number;
}

void
rcpt_untrash(struct sched *s, struct srcpt *r)
{
	int64_t due = r->u.trash.due;

	if (due > 0)
		rcpt_retry(s, r, due);
	else if (due < 0)
		rcpt_hold(s, r, (uint32_t)(-due - 1));
	else
		rcpt_ready(s, r, false);
}

static void
msg_end(struct sched *s, struct smsg *m)
{
	s->ops->msg_done(s->arg, m);
	delays_count(s, m, false);
	htab_remove(&s->msgs, m);
	free(m);
}

bool
rcpt_done(struct sched *s, struct srcpt *r)
{
	struct smsg *m = rcpt_msg(r);
	struct squeue *q = r->q;

	rcpt_leave(s, r);
	rcpt_enter(s, r, SR_DONE);
	q->count[SR_DONE]--;
	s->count[SR_DONE]--;
	q->bytes -= m->body_len;
	s->nrcpts--;
	if (q->warmup != NULL)
		q->warmup->nrcpts--;
	r->q = NULL;
	queue_activate(s, q);
	m->nopen--;
	if (m->nopen == 0) {
		msg_end(s, m);
		return true;
	}
	while (m->rcpts[m->first].state == SR_DONE)
		m->first++;
	return false;
}

bool
rcpt_final(struct sched *s, struct srcpt *r, bool bouncing)
{
	s->finals++;
	if (!bouncing)
		return rcpt_done(s, r);
	if (r->state != SR_BOUNCING)
		rcpt_aside(s, r, SR_BOUNCING);
	return false;
}

/* ---- merge sort of the live list by arrival ---- */

static bool
arrived_before(const struct srcpt *a, const struct srcpt *b)
{
	return msg_arrived(a->q->s, rcpt_msg(a)) <
	    msg_arrived(b->q->s, rcpt_msg(b));
}

/* Merges the sorted lists a and b into a, a's first among equals. */
static void
merge(struct srcpts *a, struct srcpts *b)
{
	struct srcpts out = TAILQ_HEAD_INITIALIZER(out);

	while (!TAILQ_EMPTY(a) && !TAILQ_EMPTY(b)) {
		struct srcpt *x = TAILQ_FIRST(a), *y = TAILQ_FIRST(b);

		if (arrived_before(y, x)) {
			TAILQ_REMOVE(b, y, all);
			TAILQ_INSERT_TAIL(&out, y, all);
		} else {
			TAILQ_REMOVE(a, x, all);
			TAILQ_INSERT_TAIL(&out, x, all);
		}
	}
	TAILQ_CONCAT(&out, a, all);
	TAILQ_CONCAT(&out, b, all);
	TAILQ_CONCAT(a, &out, all);
}

#define SORT_BINS 32 /* bin i holds 2^i recipients */

void
queue_sort(struct squeue *q)
{
	struct srcpts bins[SORT_BINS], one;
	struct srcpt *r;
	int i;

	if (!q->unsorted)
		return;
	for (i = 0; i < SORT_BINS; i++)
		TAILQ_INIT(&bins[i]);
	while ((r = TAILQ_FIRST(&q->live)) != NULL) {
		TAILQ_REMOVE(&q->live, r, all);
		TAILQ_INIT(&one);
		TAILQ_INSERT_TAIL(&one, r, all);
		for (i = 0; i < SORT_BINS - 1 && !TAILQ_EMPTY(&bins[i]); i++) {
			merge(&bins[i], &one);
			TAILQ_CONCAT(&one, &bins[i], all);
		}
		TAILQ_CONCAT(&bins[i], &one, all);
	}
	for (i = SORT_BINS - 1; i >= 0; i--)
		merge(&q->live, &bins[i]);
	q->unsorted = false;
}
