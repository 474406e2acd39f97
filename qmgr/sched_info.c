/* SPDX-License-Identifier: ISC */
/*
 * What the operator sees and does.
 */
#include <stdlib.h>

#include "qmgr/sched_private.h"

const char *
sched_wait_name(enum sched_wait w)
{
	static const char *const names[SCHED_WAITS] = { "nothing", "paused",
		"retry", "dns", "connecting", "remote", "queue-connections",
		"vmta-connections", "total-connections", "connect-rate",
		"message-rate", "vmta-message-rate", "workers",
		"pool-connections", "pool-message-rate", "data-volume",
		"warmup", "sources-disabled", "source-connections",
		"site-connections", "site-message-rate",
		"host-connections", "network-connections",
		"relay-connections", "source-message-rate" };

	return w < SCHED_WAITS ? names[w] : "?";
}

struct squeue *
sched_queue_next(const struct sched *s, size_t *at)
{
	return htab_next(&s->queues, at);
}

struct sched_walk *
sched_walk_new(struct sched *s)
{
	struct sched_walk *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return NULL;
	w->s = s;
	w->next = TAILQ_FIRST(&s->all_queues);
	TAILQ_INSERT_TAIL(&s->walks, w, link);
	return w;
}

struct squeue *
sched_walk_next(struct sched_walk *w)
{
	struct squeue *q = w->next;

	if (q != NULL)
		w->next = TAILQ_NEXT(q, link);
	return q;
}

void
sched_walk_free(struct sched_walk **wp)
{
	struct sched_walk *w = *wp;

	*wp = NULL;
	if (w == NULL)
		return;
	if (w->s != NULL)
		TAILQ_REMOVE(&w->s->walks, w, link);
	free(w);
}

/* The scheduler ends first. */
void
walks_end(struct sched *s)
{
	struct sched_walk *w;

	while ((w = TAILQ_FIRST(&s->walks)) != NULL) {
		TAILQ_REMOVE(&s->walks, w, link);
		w->s = NULL;
		w->next = NULL;
	}
}

void
walks_pass(struct sched *s, const struct squeue *q)
{
	struct sched_walk *w;

	TAILQ_FOREACH(w, &s->walks, link) {
		if (w->next == q)
			w->next = TAILQ_NEXT(q, link);
	}
}

uint64_t
squeue_rcpts(const struct squeue *q)
{
	uint64_t n = 0;

	for (int i = 0; i < SR_DONE; i++)
		n += q->count[i];
	return n;
}

struct sv
squeue_name(const struct squeue *q)
{
	return q == NULL ? SV("") : q->name;
}

struct sv
squeue_rollup(const struct squeue *q)
{
	return q->site != NULL && q->site->rollup ? q->site->key : SV("");
}

struct sv
squeue_domain(const struct squeue *q)
{
	return q == NULL ? SV("") : q->domain;
}

struct sv
squeue_vmta(const struct squeue *q)
{
	return q == NULL ? SV("") : q->vmta;
}

/* The queue may not have noticed a new configuration yet. */
const struct conf_domain *
squeue_conf(const struct squeue *q)
{
	if (q->conf_gen == q->s->conf_gen)
		return q->conf;
	return conf_rolled_find(q->s->conf, q->vmta, q->domain,
	    squeue_rollup(q));
}

bool
squeue_error(const struct squeue *q, struct sched_error *e_r)
{
	const struct qerror *e = q->error;

	if (e == NULL)
		return false;
	*e_r = (struct sched_error){ .at_us = e->at_us,
		.status = e->status, .text = e->text,
		.host = e->host, .host_ip = e->ip };
	return true;
}

static int64_t
oldest(const struct squeue *q)
{
	const struct srcpt *a = TAILQ_FIRST(&q->live);
	const struct srcpt *b = TAILQ_FIRST(&q->aside);
	int64_t at = a == NULL ? INT64_MAX : rcpt_msg(a)->arrival_us;

	if (b != NULL && rcpt_msg(b)->arrival_us < at)
		at = rcpt_msg(b)->arrival_us;
	return at == INT64_MAX ? 0 : at;
}

uint64_t
sched_queue_figure(const struct squeue *q, struct sched_now now,
    enum sched_figure f)
{
	int64_t at;

	switch (f) {
	case FIGURE_BYTES:
		return q->bytes;
	case FIGURE_AGE:
		at = oldest(q);
		return at == 0 || at > now.wall.us ? 0 :
		    (uint64_t)(now.wall.us - at);
	case FIGURE_RATE:
		return ring_sum(&q->minute, now.mono.us, RING_MINUTE_US);
	case FIGURE_SESSIONS:
		return q->nsessions;
	case FIGURE_RCPTS:
	default:
		return squeue_rcpts(q);
	}
}

static void
waits_get(const struct squeue *q, int64_t now, struct sched_queue_info *i)
{
	i->wait = q->wait;
	for (int w = 0; w < SCHED_WAITS; w++) {
		int64_t us = q->wait_us[w];

		if (w == (int)q->wait)
			us += now - q->wait_since;
		i->wait_ms[w] = (uint64_t)(us / US_PER_MS);
	}
}

void
sched_queue_info(const struct sched *s, struct sched_now now,
    const struct squeue *q, struct sched_queue_info *i)
{
	(void)s;
	*i = (struct sched_queue_info){ .name = q->name,
		.domain = q->domain, .vmta = q->vmta,
		.site = q->site == NULL ? SV("") : q->site->key,
		.nready = q->count[SR_READY], .nretry = q->count[SR_RETRY],
		.ninflight = q->count[SR_INFLIGHT],
		.nheld = q->count[SR_HELD],
		.nbouncing = q->count[SR_BOUNCING],
		.nsessions = q->nsessions, .nconnecting = q->nconnecting,
		.kb = (q->bytes + 1023) / 1024, .paused = q->paused,
		.backoff = q->backoff,
		.oldest_us = oldest(q), .delivered = q->delivered,
		.deferred = q->deferred, .failed = q->failed,
		.last_error = SV("") };
	if (!TAILQ_EMPTY(&q->live))
		i->oldest_live_us =
		    rcpt_msg(TAILQ_FIRST(&q->live))->arrival_us;
	if (q->retry_at > now.mono.us)
		i->retry_us = q->retry_at - now.mono.us + now.wall.us;
	waits_get(q, now.mono.us, i);
	i->rate_1m = (double)ring_sum(&q->minute, now.mono.us,
	    RING_MINUTE_US);
	i->rate_1h = (double)ring_sum(&q->hour, now.mono.us, RING_HOUR_US);
	if (q->error != NULL) {
		i->last_error = q->error->text;
		i->last_error_us = q->error->at_us;
	}
}

bool
sched_queue_rcpt_next(struct squeue *q, const void **at,
    const struct smsg **msg_r, uint32_t *idx_r)
{
	const struct srcpt *r = *at;
	enum { LIVE, ASIDE, TRASH } list = LIVE;

	if (r == NULL) {
		queue_sort(q);
		r = TAILQ_FIRST(&q->live);
	} else {
		if (r->state == SR_HELD || r->state == SR_BOUNCING)
			list = ASIDE;
		else if (r->state == SR_TRASHED)
			list = TRASH;
		r = TAILQ_NEXT(r, all);
	}
	if (r == NULL && list < ASIDE) {
		r = TAILQ_FIRST(&q->aside);
		list = ASIDE;
	}
	if (r == NULL && list < TRASH)
		r = TAILQ_FIRST(&q->trash);
	if (r == NULL)
		return false;
	/* the next one may lie anywhere: see walk_ahead() of the table */
	__builtin_prefetch(TAILQ_NEXT(r, all));
	*at = r;
	*msg_r = rcpt_msg(r);
	*idx_r = r->idx;
	return true;
}

void
sched_totals(const struct sched *s, struct sched_totals *t)
{
	*t = (struct sched_totals){ .queues = htab_count(&s->queues),
		.messages = htab_count(&s->msgs), .rcpts = s->nrcpts,
		.ready = s->count[SR_READY], .retry = s->count[SR_RETRY],
		.inflight = s->count[SR_INFLIGHT],
		.held = s->count[SR_HELD],
		.bouncing = s->count[SR_BOUNCING],
		.sessions = s->nsessions, .connecting = s->nconnecting,
		.delivered = s->delivered, .deferred = s->deferred,
		.failed = s->failed, .in_doubt = s->in_doubt };
}

void
sched_totals_reset(struct sched *s)
{
	s->delivered = s->deferred = s->failed = s->in_doubt = 0;
}

void
sched_queue_schedule(struct sched *s, struct sched_now now, struct squeue *q,
    bool rcpts)
{
	sched_clock_advance(s, now);
	q->retry_at = 0;
	q->open_hold_at = 0;
	if (rcpts)
		q->promote = q->count[SR_RETRY];
	queue_activate(s, q);
}

void *
sched_queue_user(const struct squeue *q)
{
	return q->user;
}

void
sched_queue_user_set(struct squeue *q, void *user)
{
	q->user = user;
}
