/* SPDX-License-Identifier: ISC */
/*
 * Results: what they make of a recipient and of its queue.
 */
#include "common/spool/event.h"
#include "qmgr/sched_private.h"

static void
result_delivered(struct sched *s, struct squeue *q, struct ssession *se)
{
	if (se != NULL) {
		se->delivered++;
		ip_count(s, se->ip, IP_DELIVERED);
	}
	q->failures = q->dns_failures = q->lost_ends = 0;
	q->delivered++;
	s->delivered++;
	ring_add(&q->minute, sched_mono(s), RING_MINUTE_US);
	ring_add(&q->hour, sched_mono(s), RING_HOUR_US);
}

/*
 * How long a recipient waits. The first lost connection costs it little:
 * connections get lost for many reasons. The second in a row is taken to be
 * its fault. In doubt: the longest of the range, since the message may have
 * arrived.
 */
static int64_t
result_delay(struct sched *s, struct srcpt *r,
    const struct sched_result *res)
{
	const struct conf_domain *c = queue_conf(s, r->q);
	const struct conf_times *list = &c->retry_recipients_after;
	enum outcome outcome = res->outcome;
	uint64_t key = rcpt_msg(r)->id;
	bool again = (r->flags & RF_LOST) != 0;
	int64_t delay;
	unsigned i;

	r->flags &= (uint8_t)~RF_LOST;
	if (outcome == OUT_LOST) {
		r->flags |= RF_LOST;
		if (!again)
			return sched_jitter(s, key, LOST_DELAY_US / 2,
			    LOST_DELAY_US);
	}
	if (outcome == OUT_IN_DOUBT && list->n > 0) {
		i = r->attempts < list->n ? r->attempts : list->n;
		return list->t[i - 1].max_ms * US_PER_MS;
	}
	delay = retry_delay(s, list, r->attempts, key);
	if (outcome == OUT_TEMPORARY)
		delay = hint_apply(s, c, reply_hint(res->text), delay,
		    r->attempts, key + r->attempts);
	return delay;
}

static bool
result_tries_over(struct sched *s, const struct srcpt *r)
{
	uint32_t most = queue_conf(s, r->q)->max_retries;

	return rcpt_expired(s, r) || (most != 0 && r->attempts > most);
}

static void
result_deferred(struct sched *s, struct srcpt *r,
    const struct sched_result *res, const struct conf_reply *rule,
    bool skipped, struct sched_decision *d)
{
	int64_t delay = result_delay(s, r, res);

	if (skipped)
		delay = 0;
	if (rule != NULL && (rule->actions & CONF_ACT_RETRY_AFTER) != 0)
		delay = rule->retry_after_ms * US_PER_MS;

	d->action = ACT_DEFERRED;
	d->next_us = s->now.wall.us + delay;
	if (r->state == SR_HELD)
		return;
	if ((r->flags & RF_HOLD) != 0) {
		rcpt_come_back(s, r, false);
		return;
	}
	rcpt_retry(s, r, sched_mono(s) + delay);
}

/* Delivered or failed; what the counters of the queue are told first. */
static void
result_final(struct sched *s, struct srcpt *r, struct ssession *se,
    const struct sched_result *res, struct sched_decision *d)
{
	if (res->outcome == OUT_DELIVERED) {
		d->action = ACT_DELIVERED;
		d->bouncing = res->dsn_on_success;
		result_delivered(s, r->q, se);
	} else {
		d->action = ACT_FAILED;
		d->bouncing = res->dsn_on_failure;
		r->q->failed++;
		s->failed++;
		ring_add(&r->q->refused, sched_mono(s), RING_HOUR_US);
		if (se != NULL)
			ip_count(s, se->ip, IP_FAILED);
	}
	(void)rcpt_final(s, r, d->bouncing);
}

/* A recipient in flight in another session: only what is final counts.
 * Session 0 is the caller's own knowledge, such as a dead worker's intents. */
static bool
result_is_stale(const struct srcpt *r, uint64_t session, enum outcome o)
{
	const struct sdeliv *d = r->u.deliv;

	return r->state == SR_INFLIGHT && session != 0 && d->se != NULL &&
	    d->se->id != session && o != OUT_DELIVERED && o != OUT_PERMANENT;
}

/* A transaction counts once for data volume, however many recipients it has.
 * What was under way when qmgr started has not been counted yet. */
static uint32_t
volume_count(struct sched *s, const struct srcpt *r)
{
	struct sdeliv *d = r->u.deliv;

	if (d->delivered)
		return 0;
	d->delivered = true;
	if (d->se == NULL) {
		volume_take(r->q, sched_mono(s), d->kib);
		pace_tried(s, r->q, NULL, sched_mono(s), 0, d->kib);
	}
	return d->kib;
}

bool
sched_result(struct sched *s, struct sched_now now, uint64_t session,
    struct smsg *m, uint32_t idx, const struct sched_result *res,
    struct sched_decision *d_r)
{
	struct sched_why why = { .status = res->status, .diag = res->text,
		.host = res->host, .host_ip = res->host_ip };
	const struct conf_reply *rule = NULL;
	struct ssession *se;
	bool skipped = false;
	struct srcpt *r;

	sched_clock_advance(s, now);
	*d_r = (struct sched_decision){ .action = ACT_DEFERRED };
	if (idx >= m->nrcpts)
		return false;
	r = &m->rcpts[idx];
	if (r->state == SR_DONE || r->state == SR_BOUNCING ||
	    (r->state == SR_TRASHED && res->outcome != OUT_DELIVERED) ||
	    result_is_stale(r, session, res->outcome))
		return false;
	if (res->outcome == OUT_UNTRIED) {
		if (r->state == SR_INFLIGHT)
			rcpt_come_back(s, r, true);
		return false;
	}
	/* of an earlier life: the rates do not know of it */
	if (session == 0 && r->state != SR_INFLIGHT &&
	    res->outcome == OUT_IN_DOUBT)
		sched_rcpt_tried(s, now, m, idx, now.wall.us, 0, NULL);
	warmup_result(s, r, res->outcome);
	if (r->attempts < UINT16_MAX)
		r->attempts++;
	d_r->attempts = r->attempts;
	if (res->outcome == OUT_DELIVERED || res->outcome == OUT_TEMPORARY)
		adapt_reply(s, r->q, res->outcome == OUT_TEMPORARY, res->text);
	if (res->outcome != OUT_DELIVERED)
		queue_error_set(s, r->q, &why);
	se = session_find(s, session);
	if (se == NULL)
		why.host = SV(""); /* there is none to be passed over */
	if (res->outcome == OUT_TEMPORARY || res->outcome == OUT_PERMANENT)
		rule = reply_act(s, r->q, &why,
		    se == NULL ? NULL : &se->source, &skipped);
	else if (res->outcome == OUT_DELIVERED)
		reply_delivered(s, r->q, res->text,
		    se == NULL ? NULL : &se->source);
	if (res->outcome == OUT_DELIVERED && r->state == SR_INFLIGHT)
		d_r->volume_kib = volume_count(s, r);
	if (se != NULL && res->outcome != OUT_DELIVERED)
		session_had_error(s, se, skipped);
	d_r->hardened = rule != NULL && res->outcome == OUT_TEMPORARY &&
	    !res->keep && (rule->actions &
	    (CONF_ACT_BOUNCE_RCPT | CONF_ACT_BOUNCE_QUEUE)) != 0;
	if (res->outcome == OUT_IN_DOUBT)
		s->in_doubt++;
	if (res->outcome != OUT_DELIVERED && res->outcome != OUT_PERMANENT &&
	    !d_r->hardened) {
		d_r->expired = !res->keep && result_tries_over(s, r);
		if (!d_r->expired) {
			r->q->deferred++;
			ring_add(&r->q->put_off, sched_mono(s), RING_HOUR_US);
			s->deferred++;
			if (se != NULL)
				ip_count(s, se->ip, IP_DEFERRED);
			result_deferred(s, r, res, rule, skipped, d_r);
			return true;
		}
	}
	result_final(s, r, se, res, d_r);
	return true;
}
