/* SPDX-License-Identifier: ISC */
/*
 * What a queue waits for, now and of late. The shares of the last minute, ten
 * minutes and hour are means that forget: what was t ago counts about
 * exp(-t/window). Time is collected and folded in about once a second, so that a
 * queue that changes thousands of times a second pays two additions each.
 */
#include "qmgr/sched_private.h"

#define FOLD_US     US_PER_SEC
#define NS_PER_HOUR 3600e9

/* ---- shares ---- */

/* elapsed: of w, besides what is in acc_us. */
static void
waits_fold(struct swaits *ws, int64_t now, enum sched_wait w, int64_t elapsed)
{
	static const float window_us[SCHED_WINDOWS] = { 60e6F, 600e6F,
		3600e6F };
	float all = (float)(now - ws->folded_at);

	if (all <= 0)
		return;
	for (int i = 0; i < SCHED_WINDOWS; i++) {
		float win = window_us[i];

		for (int k = 0; k < SCHED_WAITS; k++) {
			float us = (float)ws->acc_us[k];

			if (k == (int)w)
				us += (float)elapsed;
			ws->share[i][k] = (ws->share[i][k] * win + us) /
			    (win + all);
		}
	}
	ws->folded_at = now;
	memset(ws->acc_us, 0, sizeof(ws->acc_us));
}

void
waits_init(struct squeue *q, int64_t now)
{
	q->wait_since = now;
	q->waits.folded_at = q->waits.born_at = now;
}

void
queue_wait_set(struct sched *s, struct squeue *q, enum sched_wait w)
{
	int64_t now = sched_mono(s), elapsed = now - q->wait_since;

	if (q->wait == w)
		return;
	q->wait_us[q->wait] += elapsed;
	if (now - q->waits.folded_at >= FOLD_US)
		waits_fold(&q->waits, now, q->wait, elapsed);
	else
		q->waits.acc_us[q->wait] += (uint32_t)elapsed;
	q->wait_since = now;
	q->wait = w;
}

/* Of the time that the queue has been there: they add up to 1. */
static void
shares_get(const struct squeue *q, int64_t now,
    float share[SCHED_WINDOWS][SCHED_WAITS])
{
	struct swaits ws = q->waits;

	waits_fold(&ws, now, q->wait, now - q->wait_since);
	for (int i = 0; i < SCHED_WINDOWS; i++) {
		float sum = 0;

		for (int k = 0; k < SCHED_WAITS; k++)
			sum += ws.share[i][k];
		for (int k = 0; k < SCHED_WAITS; k++)
			share[i][k] = sum > 0 ? ws.share[i][k] / sum :
			    k == (int)q->wait;
	}
}

/* ---- the limit that binds ---- */

/* The scope of the queue's path that the limit is in; NULL: the workers. */
static const struct sscope *
limit_scope(const struct squeue *q, const struct slimit *l)
{
	for (int i = 0; i < q->path.n; i++) {
		const struct sscope *sc = q->path.scope[i];

		if (l == &sc->conns || l == &sc->connect_rate ||
		    l == &sc->msg_rate || l == &sc->volume)
			return sc;
	}
	return NULL;
}

static bool
is_site(const struct squeue *q, const struct sscope *sc)
{
	return q->site != NULL && sc == q->site->scope;
}

/* Name as in struct sched_used; "" for all. */
static struct sv
scope_name(const struct squeue *q, const struct sscope *sc)
{
	if (sc == &q->scope)
		return q->name;
	if (sc == &q->vm->scope)
		return q->vm->path_name;
	for (int i = 0; i < q->vm->npools; i++)
		if (sc == &q->vm->pools[i]->scope)
			return q->vm->pools[i]->path_name;
	if (is_site(q, sc))
		return q->site->path_name;
	if (q->warmup != NULL && sc == &q->warmup->scope)
		return q->warmup->path_name;
	return SV("");
}

static bool
backoff_binds(const struct squeue *q, const struct conf_rate *usual,
    const struct conf_rate *backoff)
{
	return q->backoff && rate_lower(usual, backoff) == backoff;
}

static const char *
connects_setting(const struct squeue *q, const struct conf_domain *c)
{
	const struct conf_rate rampup = rampup_rate(c);
	const struct conf_rate *usual = &c->max_connect_rate;
	bool backoff = backoff_binds(q, usual, &c->backoff_max_connect_rate);

	if (backoff)
		usual = &c->backoff_max_connect_rate;
	if (rampup.period_ms != 0 && rate_lower(usual, &rampup) == &rampup)
		return "smtp-out-rampup-interval";
	return backoff ? "backoff-max-connect-rate" : "max-connect-rate";
}

/* The directive whose value is in force; NULL: a reply has set it. */
static const char *
own_setting(const struct squeue *q, enum sched_wait w)
{
	const struct conf_domain *c = q->conf;
	const struct conf_rate *usual, *rate;
	uint32_t most, cap;

	queue_usual_limits(q, &most, &usual);
	cap = most;
	rate = usual;
	react_limits(q, &cap, &rate);
	switch (w) {
	case WAIT_CONN_QUEUE:
		if (q->adapt != NULL && q->adapt->conns < cap)
			return "adaptive-delivery";
		if (cap != most)
			return NULL;
		return most != c->max_smtp_out && q->backoff ?
		    "backoff-max-smtp-out" : "max-smtp-out";
	case WAIT_CONN_RATE:
		return connects_setting(q, c);
	case WAIT_VOLUME:
		return backoff_binds(q, &c->max_data_volume_rate,
		    &c->backoff_max_data_volume_rate) ?
		    "backoff-max-data-volume-rate" : "max-data-volume-rate";
	default:
		if (q->adapt != NULL && q->adapt->rate.period_ms != 0 &&
		    rate_lower(rate, &q->adapt->rate) == &q->adapt->rate)
			return "adaptive-delivery";
		if (rate != usual)
			return NULL;
		return usual == &c->backoff_max_msg_rate ?
		    "backoff-max-msg-rate" : "max-msg-rate";
	}
}

static const char *
site_setting(enum sched_wait w)
{
	switch (w) {
	case WAIT_CONN_SITE:
		return "max-smtp-out";
	case WAIT_CONN_RATE:
		return "max-connect-rate";
	case WAIT_VOLUME:
		return "max-data-volume-rate";
	default:
		return "max-msg-rate";
	}
}

static const char *
setting_of(const struct sched *s, const struct squeue *q,
    const struct sscope *sc)
{
	if (sc == &q->scope)
		return own_setting(q, q->wait);
	if (is_site(q, sc))
		return site_setting(q->wait);
	if (sc == &s->scope)
		return "total-max-smtp-out";
	switch (q->wait) {
	case WAIT_CONN_VMTA:
	case WAIT_CONN_POOL:
		return "max-smtp-out";
	case WAIT_VOLUME:
		return "max-smtp-data-volume-rate";
	case WAIT_WARMUP:
		/* one that is not configured has no queues that wait */
		return q->warmup->conf != NULL &&
		    q->warmup->conf->days > 0 ? "to" : "day-list";
	default:
		return "max-smtp-msg-rate";
	}
}

static void
limit_tell(const struct sched *s, const struct squeue *q,
    struct sched_queue_why *why)
{
	const struct slimit *l = q->parked;
	const struct sscope *sc = limit_scope(q, l);

	if (sc == NULL)
		return;
	why->limited = true;
	why->scope = scope_name(q, sc);
	why->setting = setting_of(s, q, sc);
	why->nparked = l->nparked;
	if (l->kind == LIMIT_RATE && l->rate.step_ns > 0) {
		why->per_hour = NS_PER_HOUR / (double)l->rate.step_ns;
		why->next_us = rate_next(&l->rate);
	} else {
		why->used = l->used;
		why->cap = l->cap;
	}
	if (q->wait == WAIT_WARMUP)
		warmup_used(q->warmup, &why->used, &why->cap);
}

static double
per_hour(const struct sring *g, int64_t now, int64_t seen_us)
{
	if (seen_us < 60 * US_PER_SEC)
		seen_us = 60 * US_PER_SEC;
	return (double)ring_sum(g, now, RING_HOUR_US) * 3600e6 /
	    (double)seen_us;
}

void
sched_queue_why(const struct sched *s, struct sched_now now,
    const struct squeue *q, struct sched_queue_why *why)
{
	int64_t skew = now.wall.us - now.mono.us;
	int64_t seen = now.mono.us - q->waits.born_at;

	if (seen > RING_SLOTS * RING_HOUR_US)
		seen = RING_SLOTS * RING_HOUR_US;
	*why = (struct sched_queue_why){ .wait = q->wait,
		.since_us = q->wait_since + skew };
	shares_get(q, now.mono.us, why->share);
	why->seen_ms = seen / US_PER_MS;
	why->arrived_per_hour = per_hour(&q->arrived, now.mono.us, seen);
	why->delivered_per_hour = per_hour(&q->hour, now.mono.us, seen);
	why->deferred_per_hour = per_hour(&q->put_off, now.mono.us, seen);
	why->failed_per_hour = per_hour(&q->refused, now.mono.us, seen);
	for (int i = 0; i < SCHED_TIMES; i++)
		why->took_ms[i] = (double)q->took_us[i] / US_PER_MS;
	if (q->parked != NULL)
		limit_tell(s, q, why);
	else if (q->wait == WAIT_RETRY)
		why->next_us = q->retry_at;
	else if (q->wait == WAIT_NOTHING && q->count[SR_RETRY] > 0)
		why->next_us = q->heap[0]->u.retry.due;
	if (why->next_us != 0)
		why->next_us += skew;
}

uint32_t
sched_queue_rivals(const struct squeue *q, const struct squeue **v,
    uint32_t max)
{
	const struct sgroup *g;
	const struct squeue *other;
	uint32_t n = 0;

	if (q->parked == NULL)
		return 0;
	TAILQ_FOREACH(g, &q->parked->groups, link) {
		TAILQ_FOREACH(other, &g->queues, park) {
			if (n == max)
				return n;
			if (other != q)
				v[n++] = other;
		}
	}
	return n;
}

/* A new one counts for an eighth. */
void
queue_took(struct squeue *q, enum sched_time t, int64_t us)
{
	float took = us > 0 ? (float)us : 1;

	if (q->took_us[t] <= 0)
		q->took_us[t] = took;
	else
		q->took_us[t] += (took - q->took_us[t]) / 8;
}

void
queue_arrived(struct sched *s, struct squeue *q, const struct smsg *m)
{
	/* what is found at a start came at some other time */
	if (msg_arrived(s, m) > s->clock - 60 * US_PER_SEC)
		ring_add(&q->arrived, sched_mono(s), RING_HOUR_US);
}
