/* SPDX-License-Identifier: ISC */
/*
 * Commands over many queues or recipients, in slices between which mail goes
 * on. What the walk goes over is noted by name and ID, since everything may be
 * gone when its turn comes. Of recipients only those of one queue at a time
 * are noted. A walk over all queues notes nothing: the scheduler helps it.
 */
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "qmgr/control.h"

#define SLICE_US    2000         /* what a slice may take from the mail */
#define BACKLOG_MAX (1u << 20)   /* a client that reads slowly is waited for */
#define BACKLOG_WAIT_MS 20

struct place {
	uint64_t id;
	uint32_t idx;
};

struct walk {
	const struct walk_ops *ops;
	struct event *timer;
	struct sched_walk *all;  /* NULL: the names */
	char **names;
	size_t nnames, name_at;
	struct place *places;    /* recipients of the queue at hand */
	size_t nplaces, place_at, places_size;
};

void
names_free(char **names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(names[i]);
	free(names);
}

void
name_split(const char *name, struct sv *domain_r, struct sv *vmta_r)
{
	struct sv v = sv_from(name);
	size_t slash = (size_t)sv_rfind(v, '/');

	*domain_r = sv_head(v, slash);
	*vmta_r = sv_from_at(v, slash + 1);
}

/*
 * A setting may free an empty queue or make one, so the names are collected
 * before anything changes.
 */
size_t
names_collect(struct qmgr *q, const struct selector *s, char ***names_r)
{
	char **names = NULL;
	size_t n = 0, size = 0, at = 0;
	struct squeue *sq;

	while ((sq = sched_queue_next(q->sched, &at)) != NULL) {
		if (!selector_matches(s, sq))
			continue;
		if (n == size) {
			size = size == 0 ? 64 : size * 2;
			names = reallocarray(names, size, sizeof(*names));
			if (names == NULL)
				fatal("out of memory");
		}
		names[n++] = sv_dup(squeue_name(sq));
	}
	*names_r = names;
	return n;
}

static void
place_add(struct walk *w, uint64_t id, uint32_t idx)
{
	if (w->nplaces == w->places_size) {
		size_t n = w->places_size == 0 ? 256 : w->places_size * 2;

		w->places = reallocarray(w->places, n, sizeof(*w->places));
		if (w->places == NULL)
			fatal("out of memory");
		w->places_size = n;
	}
	w->places[w->nplaces++] = (struct place){ id, idx };
}

static struct squeue *
queue_next(struct client *cl)
{
	struct walk *w = cl->walk;
	struct sv domain, vmta;

	name_split(w->names[w->name_at++], &domain, &vmta);
	return sched_queue_find(cl->q->sched, domain, vmta);
}

static void
places_load(struct client *cl)
{
	struct squeue *sq = queue_next(cl);
	struct walk *w = cl->walk;
	const struct smsg *m;
	const void *at = NULL;
	uint32_t idx;

	w->nplaces = w->place_at = 0;
	while (sq != NULL && w->nplaces < cl->most &&
	    sched_queue_rcpt_next(sq, &at, &m, &idx)) {
		struct sched_msg info;

		smsg_info(m, &info);
		place_add(w, info.id, idx);
	}
}

/* One recipient or queue; false at the end. */
static bool
walk_step(struct client *cl)
{
	struct walk *w = cl->walk;
	const struct place *p;
	struct squeue *sq;
	struct smsg *m;

	if (w->place_at < w->nplaces) {
		p = &w->places[w->place_at++];
		m = sched_msg_find(cl->q->sched, p->id);
		if (m == NULL || p->idx >= smsg_nrcpts(m) ||
		    smsg_rcpt_state(m, p->idx) == SR_DONE ||
		    (smsg_rcpt_deletion(m, p->idx) != 0) != w->ops->trash)
			return true;
		return w->ops->rcpt(cl, m, p->idx);
	}
	if (w->all != NULL) {
		sq = sched_walk_next(w->all);
		return sq != NULL && w->ops->queue(cl, sq);
	}
	if (w->name_at == w->nnames)
		return false;
	if (w->ops->name != NULL)
		return w->ops->name(cl, w->names[w->name_at++]);
	if (w->ops->queue == NULL) {
		places_load(cl);
		return true;
	}
	sq = queue_next(cl);
	return sq == NULL || w->ops->queue(cl, sq);
}

static void
walk_wait(struct walk *w, int ms)
{
	event_add(w->timer, &(struct timeval){ .tv_usec = ms * 1000 });
}

static void
on_slice(evutil_socket_t fd, short what, void *arg)
{
	struct client *cl = arg;
	const struct walk_ops *ops = cl->walk->ops;
	struct mono began = clock_mono();
	bool more = true;

	(void)fd;
	(void)what;
	if (chan_backlog(cl->chan) > BACKLOG_MAX) {
		walk_wait(cl->walk, BACKLOG_WAIT_MS);
		return;
	}
	while (more && chan_backlog(cl->chan) <= BACKLOG_MAX &&
	    clock_mono().us - began.us < SLICE_US)
		more = walk_step(cl);
	client_lives(cl);
	if (more) {
		walk_wait(cl->walk, 0);
	} else {
		walk_free(cl);
		ops->end(cl);
	}
	qmgr_turn_end(cl->q);
}

void
walk_free(struct client *cl)
{
	struct walk *w = cl->walk;

	cl->walk = NULL;
	if (w == NULL)
		return;
	event_free(w->timer);
	sched_walk_free(&w->all);
	names_free(w->names, w->nnames);
	free(w->places);
	free(w);
}

static struct walk *
walk_new(struct client *cl, const struct walk_ops *ops)
{
	struct walk *w = calloc(1, sizeof(*w));

	if (w == NULL)
		fatal("out of memory");
	w->ops = ops;
	w->timer = event_new(cl->q->role->base, -1, 0, on_slice, cl);
	if (w->timer == NULL)
		fatal("out of memory");
	cl->walk = w;
	walk_wait(w, 0);
	return w;
}

void
walk_start(struct client *cl, const struct walk_ops *ops, char **names,
    size_t n)
{
	struct walk *w = walk_new(cl, ops);

	w->names = names;
	w->nnames = n;
}

void
walk_all_start(struct client *cl, const struct walk_ops *ops)
{
	struct walk *w = walk_new(cl, ops);

	w->all = sched_walk_new(cl->q->sched);
	if (w->all == NULL)
		fatal("out of memory");
}
