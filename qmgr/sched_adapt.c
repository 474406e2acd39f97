/* SPDX-License-Identifier: ISC */
/*
 * Adaptive delivery: how many connections a queue has, and how fast it sends,
 * by what the destination answers. Both rise by steps while few recipients are
 * put off, and are cut when many are, or when the host refuses a connection:
 * between an operator's floor and the usual limits, which are the ceiling.
 *
 * Each interval has one verdict. A rate is there only after a cut: a little
 * less than what was accepted in that interval.
 */
#include <stdio.h>
#include <stdlib.h>

#include "qmgr/sched_private.h"

#define SAMPLE      10    /* replies that make a verdict; with less the */
#define LONGEST     10    /* interval goes on, for so many of them */
#define MOST_CONNS  1000u /* ceiling where there is none */
#define RATE_MS     60000 /* period of the rates that are set */
#define KEEP_US     (24 * 3600 * US_PER_SEC) /* of an empty queue */

static uint32_t
ceiling(const struct conf_domain *c)
{
	return c->max_smtp_out == 0 || c->max_smtp_out > MOST_CONNS ?
	    MOST_CONNS : c->max_smtp_out;
}

static uint32_t
within(const struct conf_domain *c, uint32_t n)
{
	if (n < c->adaptive_min_smtp_out)
		n = c->adaptive_min_smtp_out;
	return n < ceiling(c) ? n : ceiling(c);
}

static int64_t
interval(const struct squeue *q)
{
	return q->conf->adaptive_interval_ms * US_PER_MS;
}

/* Of the interval so far. */
static double
per_minute(const struct sched *s, const struct sadapt *a)
{
	int64_t us = sched_mono(s) - a->began;

	return (double)a->ok * RATE_MS * US_PER_MS /
	    (double)(us < US_PER_SEC ? US_PER_SEC : us);
}

static void
interval_begin(struct sched *s, struct squeue *q)
{
	struct sadapt *a = q->adapt;

	a->before = per_minute(s, a);
	a->began = sched_mono(s);
	a->at = a->began + interval(q);
	a->ok = a->bad = 0;
	a->cut = false;
}

/* New settings; without memory the queue has its usual limits. */
void
adapt_conf(struct sched *s, struct squeue *q)
{
	if (!q->conf->adaptive_delivery) {
		free(q->adapt);
		q->adapt = NULL;
		return;
	}
	if (q->adapt == NULL) {
		q->adapt = calloc(1, sizeof(*q->adapt));
		if (q->adapt == NULL)
			return;
		q->adapt->began = q->adapt->changed_at = sched_mono(s);
		interval_begin(s, q);
	}
	q->adapt->conns = within(q->conf, q->adapt->conns);
}

void
adapt_limits(const struct squeue *q, uint32_t *most,
    const struct conf_rate **rate)
{
	const struct sadapt *a = q->adapt;

	if (a == NULL)
		return;
	if (a->conns < *most)
		*most = a->conns;
	if (a->rate.period_ms != 0)
		*rate = rate_lower(*rate, &a->rate);
}

static void
changed(struct sched *s, struct squeue *q, const char *how, struct sv reply)
{
	const struct sadapt *a = q->adapt;
	char what[128];
	int n = snprintf(what, sizeof(what), "adaptive, %s: %u connections",
	    how, a->conns);

	q->adapt->changed_at = sched_mono(s);
	if (a->rate.period_ms != 0)
		(void)snprintf(what + n, sizeof(what) - (size_t)n,
		    ", %llu messages a minute", (unsigned long long)a->rate.n);
	queue_limits_apply(s, q);
	queue_activate(s, q);
	if (s->ops->queue_changed != NULL)
		s->ops->queue_changed(s->arg, q, what, NULL, reply);
}

/* ---- down ---- */

/* Nine tenths of what was accepted of late; never above what was set. */
static void
rate_cut(struct sched *s, struct squeue *q)
{
	struct sadapt *a = q->adapt;
	const struct conf_rate *least = &q->conf->adaptive_min_msg_rate;
	struct conf_rate r = { .n = 1, .period_ms = RATE_MS };
	double n = per_minute(s, a);

	/* one that has just begun tells little */
	if (n < a->before && sched_mono(s) - a->began < interval(q) / 4)
		n = a->before;
	if (n * .9 > 1)
		r.n = (uint64_t)(n * .9);
	if (least->period_ms != 0 && rate_lower(&r, least) == &r)
		r = *least;
	a->rate = a->rate.period_ms == 0 ? r : *rate_lower(&r, &a->rate);
	a->step = a->rate.n / 10 + 1;
}

static void
cut(struct sched *s, struct squeue *q, bool rate, struct sv reply)
{
	struct sadapt *a = q->adapt;

	a->conns = within(q->conf, a->conns / 2);
	if (rate)
		rate_cut(s, q);
	changed(s, q, "cut", reply);
	interval_begin(s, q);
	a->cut = true;
}

/* Once in an interval: a storm of them is one event. */
void
adapt_refused(struct sched *s, struct squeue *q, struct sv reply)
{
	if (q->adapt != NULL && !q->adapt->cut)
		cut(s, q, false, reply);
}

static bool
too_many_bad(const struct squeue *q)
{
	const struct sadapt *a = q->adapt;

	return (uint64_t)a->bad * 100 > (uint64_t)(a->ok + a->bad) *
	    q->conf->adaptive_deferral_percent;
}

void
adapt_reply(struct sched *s, struct squeue *q, bool bad, struct sv reply)
{
	struct sadapt *a = q->adapt;

	if (a == NULL)
		return;
	*(bad ? &a->bad : &a->ok) += 1;
	if (bad && !a->cut && a->ok + a->bad >= SAMPLE && too_many_bad(q))
		cut(s, q, true, reply);
}

/* ---- up ---- */

static bool
uses_all(const struct squeue *q)
{
	return q->nsessions >= q->adapt->conns ||
	    q->parked == &q->scope.conns;
}

static bool
rate_raise(struct squeue *q)
{
	struct sadapt *a = q->adapt;
	const struct conf_rate *usual = &q->conf->max_msg_rate;

	if (a->rate.period_ms == 0)
		return false;
	a->rate.n += a->step;
	/* it has come back, or to three times what it was */
	if (usual->period_ms != 0 ? rate_lower(usual, &a->rate) == usual :
	    a->rate.n / 30 >= a->step)
		a->rate = (struct conf_rate){ .n = 0 };
	return true;
}

int64_t
adapt_next(const struct squeue *q)
{
	return q->adapt == NULL || q->nsessions == 0 ? NEVER : q->adapt->at;
}

void
adapt_turn(struct sched *s, struct squeue *q)
{
	struct sadapt *a = q->adapt;
	bool raised = false;

	if (adapt_next(q) > sched_mono(s))
		return;
	if (a->ok + a->bad < SAMPLE &&
	    a->at - a->began < LONGEST * interval(q)) {
		a->at = sched_mono(s) + interval(q);
		return;
	}
	if (!a->cut && a->ok + a->bad >= SAMPLE) {
		raised = rate_raise(q);
		if (uses_all(q) && a->conns < ceiling(q->conf)) {
			a->conns++;
			raised = true;
		}
	}
	if (raised)
		changed(s, q, "raised", SV(""));
	interval_begin(s, q);
}

/* ---- kept ---- */

int64_t
adapt_until(const struct squeue *q)
{
	return q->adapt == NULL ? 0 : q->adapt->changed_at + KEEP_US;
}

void
adapt_state(const struct squeue *q, struct sched_queue_state *st_r)
{
	if (q->adapt == NULL || (q->adapt->rate.period_ms == 0 &&
	    q->adapt->conns <= q->conf->adaptive_min_smtp_out))
		return;
	st_r->adapt_conns = q->adapt->conns;
	st_r->adapt_rate = q->adapt->rate;
}

void
adapt_restore(struct sched *s, struct squeue *q,
    const struct sched_queue_state *st)
{
	if (st->adapt_conns == 0 || q->adapt == NULL)
		return;
	q->adapt->conns = within(q->conf, st->adapt_conns);
	q->adapt->rate = st->adapt_rate;
	q->adapt->step = st->adapt_rate.n / 10 + 1;
	q->adapt->changed_at = sched_mono(s);
}
