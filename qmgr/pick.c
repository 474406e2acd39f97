/* SPDX-License-Identifier: ISC */
/*
 * The queues that come first by name or by some figure, of all that a command
 * means. All queues are looked at, in slices; no more are kept than are wanted,
 * in a heap with the last of them on top, which goes when a better one comes.
 */
#include <stdlib.h>
#include <string.h>

#include "common/sys/log.h"
#include "qmgr/control.h"

struct picked {
	uint64_t key;
	char *name;
};

struct pick {
	const struct walk_ops *ops;  /* of the walk over them */
	enum queue_sort sort;
	uint64_t most;
	struct picked *v;            /* a heap when there are as many */
	size_t n, size;
};

void
pick_free(struct client *cl)
{
	struct pick *p = cl->pick;

	cl->pick = NULL;
	if (p == NULL)
		return;
	for (size_t i = 0; i < p->n; i++)
		free(p->v[i].name);
	free(p->v);
	free(p);
}

/* ---- the order ---- */

static uint64_t
key_of(const struct squeue *sq, enum queue_sort sort)
{
	static const enum sched_figure figures[QUEUE_SORTS] = {
		[SORT_RCPT] = FIGURE_RCPTS, [SORT_SIZE] = FIGURE_BYTES,
		[SORT_OLDEST] = FIGURE_AGE, [SORT_RATE] = FIGURE_RATE,
		[SORT_CONN] = FIGURE_SESSIONS };

	return sort == SORT_NAME ? 0 :
	    sched_queue_figure(sq, qmgr_now(), figures[sort]);
}

static int
name_cmp(struct sv x, struct sv y)
{
	int c = memcmp(x.p, y.p, x.n < y.n ? x.n : y.n);

	return c != 0 ? c : x.n < y.n ? -1 : x.n > y.n;
}

/* The greatest first; of equal ones by name. */
static bool
comes_before(uint64_t key, struct sv name, const struct picked *than)
{
	if (key != than->key)
		return key > than->key;
	return name_cmp(name, sv_from(than->name)) < 0;
}

static int
picked_cmp(const void *a, const void *b)
{
	const struct picked *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? 1 : -1;
	return strcmp(x->name, y->name);
}

/* ---- the heap ---- */

static void
picked_swap(struct picked *a, struct picked *b)
{
	struct picked t = *a;

	*a = *b;
	*b = t;
}

static void
sink(struct pick *p, size_t i)
{
	for (;;) {
		size_t last = i;

		for (size_t k = 2 * i + 1; k <= 2 * i + 2 && k < p->n; k++)
			if (picked_cmp(&p->v[k], &p->v[last]) > 0)
				last = k;
		if (last == i)
			return;
		picked_swap(&p->v[i], &p->v[last]);
		i = last;
	}
}

static void
grow(struct pick *p)
{
	p->size = p->size == 0 ? 128 : p->size * 2;
	p->v = reallocarray(p->v, p->size, sizeof(*p->v));
	if (p->v == NULL)
		fatal("out of memory");
}

static void
pick_offer(struct pick *p, const struct squeue *sq)
{
	struct sv name = squeue_name(sq);
	uint64_t key = key_of(sq, p->sort);

	if (p->n < p->most) {
		if (p->n == p->size)
			grow(p);
		p->v[p->n++] = (struct picked){ key, sv_dup(name) };
		if (p->n == p->most)
			for (size_t i = p->n / 2; i-- > 0;)
				sink(p, i);
	} else if (p->n > 0 && comes_before(key, name, &p->v[0])) {
		free(p->v[0].name);
		p->v[0] = (struct picked){ key, sv_dup(name) };
		sink(p, 0);
	}
}

/* ---- the walk ---- */

static bool
queue_is_wanted(struct qmgr *q, const struct selector *s,
    const struct squeue *sq)
{
	struct sched_queue_info i;

	if (!selector_matches(s, sq))
		return false;
	if (s->connected_set && s->connected !=
	    (sched_queue_figure(sq, qmgr_now(), FIGURE_SESSIONS) > 0))
		return false;
	if (!s->paused_set && !s->mode_set && !s->errors)
		return true; /* the rest is looked up for what is shown */
	sched_queue_info(q->sched, qmgr_now(), sq, &i);
	if ((s->paused_set && s->paused != i.paused) ||
	    (s->mode_set && s->backoff != i.backoff))
		return false;
	return !s->errors || i.last_error.n > 0;
}

static bool
pick_queue(struct client *cl, struct squeue *sq)
{
	if (queue_is_wanted(cl->q, &cl->sel, sq)) {
		cl->count++;
		pick_offer(cl->pick, sq);
	}
	return true;
}

static void
pick_end(struct client *cl)
{
	struct pick *p = cl->pick;
	const struct walk_ops *ops = p->ops;
	size_t n = p->n;
	char **names = calloc(n + 1, sizeof(*names));

	if (names == NULL)
		fatal("out of memory");
	if (n > 0)
		qsort(p->v, n, sizeof(*p->v), picked_cmp);
	for (size_t i = 0; i < n; i++)
		names[i] = p->v[i].name;
	p->n = 0;
	pick_free(cl);
	walk_start(cl, ops, names, n);
}

void
pick_start(struct client *cl, const struct walk_ops *ops,
    enum queue_sort sort, uint64_t most)
{
	static const struct walk_ops picking = { .queue = pick_queue,
		.end = pick_end };

	cl->pick = calloc(1, sizeof(*cl->pick));
	if (cl->pick == NULL)
		fatal("out of memory");
	cl->pick->ops = ops;
	cl->pick->sort = sort;
	cl->pick->most = most;
	cl->count = 0;
	walk_all_start(cl, &picking);
}
