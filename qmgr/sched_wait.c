/* SPDX-License-Identifier: ISC */
/*
 * What a queue waits for, now and of late. The shares of the last minute, ten
 * minutes and hour are means that forget: what was t ago counts about
 * exp(-t/window). Time is collected and folded in about once a second, so that a
 * queue that changes thousands of times a second pays two additions each.
 */
#include "qmgr/sched_private.h"

#define FOLD_US US_PER_SEC

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

/* ---- why ---- */

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
		.priority = q->priority, .since_us = q->wait_since + skew };
	shares_get(q, now.mono.us, why->share);
	why->seen_ms = seen / US_PER_MS;
	why->arrived_per_hour = per_hour(&q->arrived, now.mono.us, seen);
	why->delivered_per_hour = per_hour(&q->hour, now.mono.us, seen);
	why->deferred_per_hour = per_hour(&q->put_off, now.mono.us, seen);
	why->failed_per_hour = per_hour(&q->refused, now.mono.us, seen);
	for (int i = 0; i < SCHED_TIMES; i++)
		why->took_ms[i] = (double)q->took_us[i] / US_PER_MS;
	if (q->parked != NULL)
		queue_limit_tell(s, q, why);
	else if (!TAILQ_EMPTY(&q->dwaits) && q->wait >= WAIT_CONN_HOST &&
	    q->wait <= WAIT_CONN_RELAY)
		dest_tell(q, why);
	else if (q->wait == q->full_wait && q->pace_first != NULL)
		pace_tell(q, why);
	else if (q->wait == WAIT_RETRY)
		why->next_us = q->retry_at;
	else if (q->wait == WAIT_NOTHING && q->count[SR_RETRY] > 0)
		why->next_us = q->heap[0]->u.retry.due;
	if (why->next_us != 0)
		why->next_us += skew;
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
