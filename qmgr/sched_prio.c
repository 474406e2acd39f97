/* SPDX-License-Identifier: ISC */
/*
 * Priorities: the levels of a queue's ready recipients, and the groups in which
 * queues wait for the room of a limit. There are 101 priorities at most, and
 * mostly one: a search among them looks at those that are in use.
 */
#include <stdlib.h>

#include "qmgr/sched_private.h"

/* ---- levels ---- */

static bool
level_is_empty(const struct slevel *lv)
{
	return TAILQ_EMPTY(&lv->fresh) && TAILQ_EMPTY(&lv->due);
}

struct slevel *
level_below(const struct squeue *q, unsigned priority)
{
	struct slevel *lv;

	TAILQ_FOREACH(lv, &q->levels, link) {
		if (lv->priority < priority)
			break;
	}
	return lv;
}

/* NULL without memory. */
static struct slevel *
level_get(struct squeue *q, uint8_t priority)
{
	struct slevel *next = level_below(q, priority + 1u), *lv;

	if (next != NULL && next->priority == priority)
		return next;
	lv = level_is_empty(&q->level) ? &q->level : malloc(sizeof(*lv));
	if (lv == NULL)
		return NULL;
	TAILQ_INIT(&lv->fresh);
	TAILQ_INIT(&lv->due);
	lv->due_credit = 0;
	lv->priority = priority;
	if (next != NULL)
		TAILQ_INSERT_BEFORE(next, lv, link);
	else
		TAILQ_INSERT_TAIL(&q->levels, lv, link);
	return lv;
}

static struct srcpts *
level_list(struct slevel *lv, const struct srcpt *r)
{
	return (r->flags & RF_DUE) != 0 ? &lv->due : &lv->fresh;
}

void
ready_put(struct squeue *q, struct srcpt *r, bool at_head)
{
	struct slevel *lv = level_get(q, r->priority);

	if (lv == NULL) {
		lv = &q->level;
		r->flags |= RF_ASTRAY;
	}
	if (at_head)
		TAILQ_INSERT_HEAD(level_list(lv, r), r, u.ready);
	else
		TAILQ_INSERT_TAIL(level_list(lv, r), r, u.ready);
}

void
ready_remove(struct squeue *q, struct srcpt *r)
{
	struct slevel *lv = (r->flags & RF_ASTRAY) != 0 ? &q->level :
	    level_below(q, r->priority + 1u);

	r->flags &= (uint8_t)~RF_ASTRAY;
	TAILQ_REMOVE(level_list(lv, r), r, u.ready);
	if (!level_is_empty(lv))
		return;
	TAILQ_REMOVE(&q->levels, lv, link);
	if (lv != &q->level)
		free(lv);
}

void
levels_free(struct squeue *q)
{
	struct slevel *lv;

	while ((lv = TAILQ_FIRST(&q->levels)) != NULL) {
		TAILQ_REMOVE(&q->levels, lv, link);
		if (lv != &q->level)
			free(lv);
	}
}

void
sched_rcpt_prioritize(struct sched *s, struct sched_now now, struct smsg *m,
    uint32_t idx, unsigned priority)
{
	struct srcpt *r;
	bool ready;

	sched_clock_advance(s, now);
	if (idx >= m->nrcpts)
		return;
	r = &m->rcpts[idx];
	if (priority > PRIORITY_MAX)
		priority = PRIORITY_MAX;
	if (r->state == SR_DONE || r->priority == priority)
		return;
	ready = r->state == SR_READY;
	if (ready)
		ready_remove(r->q, r);
	r->priority = priority & 127;
	if (ready)
		ready_put(r->q, r, false);
}

/* ---- groups ---- */

/* Of this queue's priority; of its VMTA, if l is shared. NULL: none waits. */
static struct sgroup *
group_find(const struct slimit *l, const struct squeue *q)
{
	struct sgroup *g;

	if (l->shared == NOT_SHARED) {
		TAILQ_FOREACH(g, &l->groups, link) {
			if (g->priority <= q->priority)
				break;
		}
		return g != NULL && g->priority == q->priority ? g : NULL;
	}
	for (g = q->vm->groups[l->shared]; g != NULL; g = g->next) {
		if (g->priority == q->priority)
			break;
	}
	return g;
}

/* The last group of l that is not behind a new one of this priority. Those of a
 * shared limit may be many. */
static struct sgroup *
group_before(const struct sched *s, const struct slimit *l, uint8_t priority)
{
	struct sgroup *g;

	if (l->shared == NOT_SHARED) {
		TAILQ_FOREACH_REVERSE(g, &l->groups, sgroups, link) {
			if (g->priority >= priority)
				break;
		}
		return g;
	}
	for (unsigned p = priority; p <= PRIORITY_MAX; p++) {
		if (s->last[l->shared][p] != NULL)
			return s->last[l->shared][p];
	}
	return NULL;
}

static void
group_insert(struct sched *s, struct slimit *l, struct sgroup *g)
{
	struct sgroup *before = group_before(s, l, g->priority);

	if (before != NULL)
		TAILQ_INSERT_AFTER(&l->groups, before, g, link);
	else
		TAILQ_INSERT_HEAD(&l->groups, g, link);
	if (l->shared != NOT_SHARED)
		s->last[l->shared][g->priority] = g;
}

static void
group_remove(struct sched *s, struct slimit *l, struct sgroup *g)
{
	struct sgroup *prev = TAILQ_PREV(g, sgroups, link);

	TAILQ_REMOVE(&l->groups, g, link);
	if (l->shared == NOT_SHARED ||
	    s->last[l->shared][g->priority] != g)
		return;
	if (prev != NULL && prev->priority != g->priority)
		prev = NULL;
	s->last[l->shared][g->priority] = prev;
}

void
group_join(struct sched *s, struct slimit *l, struct squeue *q, bool first)
{
	struct sgroup *g = group_find(l, q), *own = q->group;

	if (g != NULL) {
		own->next = g->spares;
		g->spares = own;
	} else {
		g = own;
		*g = (struct sgroup){ .priority = q->priority };
		TAILQ_INIT(&g->queues);
		group_insert(s, l, g);
		if (l->shared != NOT_SHARED) {
			g->next = q->vm->groups[l->shared];
			q->vm->groups[l->shared] = g;
		}
	}
	q->group = g;
	g->n++;
	if (first)
		TAILQ_INSERT_HEAD(&g->queues, q, park);
	else
		TAILQ_INSERT_TAIL(&g->queues, q, park);
}

void
group_leave(struct sched *s, struct slimit *l, struct squeue *q)
{
	struct sgroup *g = q->group, **at;

	TAILQ_REMOVE(&g->queues, q, park);
	if (--g->n > 0) {
		q->group = g->spares;
		g->spares = g->spares->next;
		return;
	}
	group_remove(s, l, g);
	if (l->shared == NOT_SHARED)
		return;
	at = &q->vm->groups[l->shared];
	while (*at != g)
		at = &(*at)->next;
	*at = g->next;
}

void
group_to_end(struct sched *s, struct slimit *l, struct sgroup *g)
{
	const struct sgroup *next = TAILQ_NEXT(g, link);

	if (next == NULL || next->priority != g->priority)
		return;
	group_remove(s, l, g);
	group_insert(s, l, g);
}

bool
limit_is_wanted(const struct slimit *l, const struct squeue *q,
    unsigned priority)
{
	const struct sgroup *g;

	TAILQ_FOREACH(g, &l->groups, link) {
		if (g->priority < priority)
			return false;
		if (q->parked != l || q->group != g || g->n > 1)
			return true;
	}
	return false;
}

bool
limit_is_pressed(const struct slimit *l, unsigned priority)
{
	const struct sgroup *g;
	uint32_t n = 0;

	TAILQ_FOREACH(g, &l->groups, link) {
		if (g->priority <= priority)
			return false;
		n += g->n;
		if (n > l->leaving)
			return true;
	}
	return false;
}
