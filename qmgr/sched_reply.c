/* SPDX-License-Identifier: ISC */
/*
 * What replies do to their queue: the lines of its smtp-pattern-list. The mode
 * of a queue and the limits that a line sets for a time are kept in a struct
 * that most queues do not have.
 *
 * A limit set for T holds for T, then is doubled each T/4 until it has come
 * back to the usual one: a receiver that just said "too much" does not get
 * everything at once.
 */
#include <stdlib.h>

#include "qmgr/sched_private.h"

#define MATCHES_MAX 256u /* times kept for one line */
#define STEPS       4    /* of `for` between two doublings */
#define LEAST_STEP_US US_PER_SEC
#define MOST_CONNS  1000 /* nothing is held back by so many */

/* Matches of a line that acts only at the Nth within a time. */
struct smatch {
	struct smatch *next;
	uint32_t rule;           /* its number in the list */
	uint32_t each, count;    /* one time is kept for so many matches */
	uint32_t n, at;          /* times[at]: the oldest */
	int64_t times[];
};

static struct sreact *
react_get(struct squeue *q)
{
	if (q->react == NULL)
		q->react = calloc(1, sizeof(*q->react));
	if (q->react != NULL && q->react->backoff_until == 0)
		q->react->backoff_until = NEVER;
	return q->react;
}

static void
matches_free(struct sreact *re)
{
	struct smatch *m;

	while ((m = re->matches) != NULL) {
		re->matches = m->next;
		free(m);
	}
}

void
react_free(struct squeue *q)
{
	if (q->react != NULL)
		matches_free(q->react);
	free(q->react);
	q->react = NULL;
}

bool
react_holds(const struct squeue *q)
{
	return q->backoff || (q->react != NULL &&
	    (q->react->conns.every_us != 0 || q->react->rate.every_us != 0));
}

/* ---- thresholds ---- */

static struct smatch *
match_get(struct sreact *re, const struct conf_reply *rule, uint32_t number)
{
	uint32_t each = (rule->after_n + MATCHES_MAX - 1) / MATCHES_MAX;
	uint32_t n = (rule->after_n + each - 1) / each;
	struct smatch *m;

	for (m = re->matches; m != NULL; m = m->next) {
		if (m->rule == number)
			return m;
	}
	m = calloc(1, sizeof(*m) + n * sizeof(m->times[0]));
	if (m == NULL)
		return NULL;
	m->rule = number;
	m->each = each;
	m->n = n;
	for (uint32_t i = 0; i < n; i++)
		m->times[i] = INT64_MIN;
	m->next = re->matches;
	re->matches = m;
	return m;
}

/* Is this the Nth match within the time? Without memory every one is. */
static bool
match_counts(struct sched *s, struct squeue *q, const struct conf_reply *rule)
{
	struct sreact *re;
	struct smatch *m;
	int64_t oldest;

	if (rule->after_n <= 1 || (re = react_get(q)) == NULL)
		return true;
	m = match_get(re, rule, (uint32_t)(rule - q->replies->v));
	if (m == NULL)
		return true;
	if (++m->count % m->each != 0)
		return false;
	m->times[m->at] = sched_mono(s);
	m->at = (m->at + 1) % m->n;
	oldest = m->times[m->at];
	if (oldest == INT64_MIN ||
	    sched_mono(s) - oldest > rule->after_ms * US_PER_MS)
		return false;
	for (uint32_t i = 0; i < m->n; i++)
		m->times[i] = INT64_MIN;
	return true;
}

/* ---- what a line sets ---- */

static void
changed(struct sched *s, struct squeue *q, const char *what,
    const struct conf_reply *rule, struct sv reply)
{
	queue_limits_apply(s, q);
	queue_activate(s, q);
	if (s->ops->queue_changed != NULL)
		s->ops->queue_changed(s->arg, q, what, rule, reply);
}

static int64_t
until(struct sched *s, int64_t ms)
{
	return ms == 0 || ms == CONF_NEVER ? NEVER :
	    sched_mono(s) + ms * US_PER_MS;
}

static void
backoff_enter(struct sched *s, struct squeue *q, const struct conf_reply *rule,
    struct sv reply)
{
	const struct conf_domain *c = queue_conf(s, q);
	struct sreact *re = react_get(q);
	bool was = q->backoff;

	if (re == NULL)
		return;
	q->backoff = true;
	re->backoff_until = until(s, rule->for_ms != 0 ? rule->for_ms :
	    c->backoff_to_normal_after_ms);
	if (!was)
		changed(s, q, "mode backoff", rule, reply);
}

void
react_sourceless(struct sched *s, struct squeue *q)
{
	struct sreact *re;

	if (q->backoff || !q->conf->backoff_upon_all_sources_disabled ||
	    (re = react_get(q)) == NULL)
		return;
	q->backoff = true;
	re->backoff_until = until(s, q->conf->backoff_to_normal_after_ms);
	changed(s, q, "mode backoff, all its source addresses are disabled",
	    NULL, SV(""));
}

/* False if it holds for about as long already: a storm of such replies is one
 * event. */
static bool
temp_set(struct sched *s, struct stemp *t, bool same, int64_t for_ms)
{
	int64_t at = until(s, for_ms);
	int64_t every = for_ms == 0 ? NEVER : for_ms * US_PER_MS / STEPS;

	if (every < LEAST_STEP_US)
		every = LEAST_STEP_US;
	if (same && t->every_us == every && at - t->at < every / 4)
		return false;
	*t = (struct stemp){ at, every };
	return true;
}

static bool
rate_same(const struct conf_rate *a, const struct conf_rate *b)
{
	return a->n == b->n && a->period_ms == b->period_ms;
}

static void
normal_again(struct sched *s, struct squeue *q, const char *what,
    const struct conf_reply *rule, struct sv reply)
{
	if (!react_holds(q))
		return;
	q->backoff = false;
	if (q->react != NULL) {
		q->react->backoff_until = NEVER;
		q->react->conns = (struct stemp){ .every_us = 0 };
		q->react->rate = (struct stemp){ .every_us = 0 };
	}
	changed(s, q, what, rule, reply);
}

static void
limits_set(struct sched *s, struct squeue *q, const struct conf_reply *rule,
    struct sv reply)
{
	struct sreact *re = react_get(q);
	bool news = false;

	if (re == NULL)
		return;
	if ((rule->actions & CONF_ACT_MAX_SMTP_OUT) != 0) {
		news |= temp_set(s, &re->conns,
		    re->max_out == rule->max_smtp_out, rule->for_ms);
		re->max_out = rule->max_smtp_out;
	}
	if ((rule->actions & CONF_ACT_MAX_MSG_RATE) != 0) {
		news |= temp_set(s, &re->rate,
		    rate_same(&re->max_rate, &rule->max_msg_rate),
		    rule->for_ms);
		re->max_rate = rule->max_msg_rate;
	}
	if (news)
		changed(s, q, "limits set", rule, reply);
}

static void
queue_defer(struct sched *s, struct squeue *q, const struct conf_reply *rule,
    const struct sched_why *why)
{
	struct conf_times own = { .n = 1, .t = { { rule->defer_ms,
	    rule->defer_ms } } };

	queue_fail(s, q, rule->defer_ms != 0 ? &own : queue_retry_after(s, q),
	    &q->failures, why);
}

/* All of it: what waits as well. */
static void
queue_bounce(struct sched *s, struct squeue *q, const struct sched_why *why)
{
	queue_error_set(s, q, why);
	if (q->error != NULL && q->error->status.n > 0)
		q->error->mem[0] = '5';
	q->promote = q->count[SR_RETRY];
	q->doomed = true;
	queue_activate(s, q);
}

static const struct conf_reply *
rule_find(struct sched *s, struct squeue *q, struct sv reply)
{
	const struct conf_reply *rule;

	(void)queue_conf(s, q);
	if (q->replies == NULL || reply.n == 0)
		return NULL;
	rule = conf_reply_find(s->conf, q->replies, reply);
	return rule != NULL && match_counts(s, q, rule) ? rule : NULL;
}

static bool
mx_skip(struct sched *s, struct squeue *q, const struct conf_reply *rule,
    const struct sched_why *why)
{
	if (why->host.n == 0 || s->ops->mx_skipped == NULL ||
	    !s->ops->mx_skipped(s->arg, q, why->host, rule, why->diag))
		return false;
	dest_route_changed(q);
	return true;
}

const struct conf_reply *
reply_act(struct sched *s, struct squeue *q, const struct sched_why *why,
    const struct route_addr *source, bool *skipped_r)
{
	const struct conf_reply *rule = rule_find(s, q, why->diag);

	*skipped_r = false;
	if (rule == NULL)
		return NULL;
	if ((rule->actions & CONF_ACT_SKIP_MX) != 0)
		*skipped_r = mx_skip(s, q, rule, why);
	if ((rule->actions & CONF_ACT_BACKOFF) != 0)
		backoff_enter(s, q, rule, why->diag);
	if ((rule->actions & CONF_ACT_NORMAL) != 0)
		normal_again(s, q, "mode normal", rule, why->diag);
	if ((rule->actions &
	    (CONF_ACT_MAX_SMTP_OUT | CONF_ACT_MAX_MSG_RATE)) != 0)
		limits_set(s, q, rule, why->diag);
	if ((rule->actions & CONF_ACT_DEFER_QUEUE) != 0)
		queue_defer(s, q, rule, why);
	if ((rule->actions & CONF_ACT_BOUNCE_QUEUE) != 0)
		queue_bounce(s, q, why);
	if ((rule->actions & CONF_ACT_DISABLE_SOURCE_IP) != 0)
		source_react(s, q, rule, source, why->diag);
	return rule;
}

void
reply_delivered(struct sched *s, struct squeue *q, struct sv reply,
    const struct route_addr *source)
{
	const struct sched_why why = { .diag = reply };
	bool skipped;

	if (!react_holds(q))
		return;
	if (q->backoff && queue_conf(s, q)->backoff_to_normal_after_delivery)
		normal_again(s, q, "mode normal, by a delivery", NULL, reply);
	else
		(void)reply_act(s, q, &why, source, &skipped);
}

/* ---- settings and time ---- */

/* After new settings: the list may be another one. */
void
react_conf(struct sched *s, struct squeue *q)
{
	q->replies = NULL;
	if (q->conf->smtp_pattern_list.n > 0)
		q->replies = conf_reply_list_find(s->conf,
		    q->conf->smtp_pattern_list);
	if (q->react != NULL)
		matches_free(q->react);
}

/* What the limits are now, for whom they are lower. */
void
react_limits(const struct squeue *q, uint32_t *most,
    const struct conf_rate **rate)
{
	const struct sreact *re = q->react;

	if (re == NULL)
		return;
	if (re->conns.every_us != 0 && re->max_out < *most)
		*most = re->max_out;
	if (re->rate.every_us != 0)
		*rate = rate_lower(*rate, &re->max_rate);
}

/* Doubled, or gone if it is not lower than the usual one any more. */
static void
conns_step(struct squeue *q, uint32_t usual)
{
	struct sreact *re = q->react;

	if (usual > MOST_CONNS)
		usual = MOST_CONNS;
	re->conns.at += re->conns.every_us;
	if (re->max_out >= usual / 2)
		re->conns = (struct stemp){ .every_us = 0 };
	else
		re->max_out *= 2;
}

static void
rate_step(struct squeue *q, const struct conf_rate *usual)
{
	struct sreact *re = q->react;

	re->max_rate.n *= 2;
	re->rate.at += re->rate.every_us;
	if (rate_lower(usual, &re->max_rate) == usual && usual->period_ms != 0)
		re->rate = (struct stemp){ .every_us = 0 };
	/* without a usual one: after so many steps nothing is held back */
	if (usual->period_ms == 0 && re->max_rate.n / (uint64_t)
	    re->max_rate.period_ms >= 1)
		re->rate = (struct stemp){ .every_us = 0 };
}

int64_t
react_next(const struct squeue *q)
{
	const struct sreact *re = q->react;
	int64_t at = NEVER;

	if (re == NULL)
		return NEVER;
	if (q->backoff)
		at = re->backoff_until;
	if (re->conns.every_us != 0 && re->conns.at < at)
		at = re->conns.at;
	if (re->rate.every_us != 0 && re->rate.at < at)
		at = re->rate.at;
	return at;
}

void
react_turn(struct sched *s, struct squeue *q)
{
	struct sreact *re = q->react;
	const struct conf_rate *rate;
	uint32_t most;
	bool stepped = false;

	if (react_next(q) > sched_mono(s))
		return;
	if (q->backoff && re->backoff_until <= sched_mono(s)) {
		q->backoff = false;
		re->backoff_until = NEVER;
		changed(s, q, "mode normal, its time is over", NULL, SV(""));
	}
	while (re->conns.every_us != 0 && re->conns.at <= sched_mono(s)) {
		queue_usual_limits(q, &most, &rate);
		conns_step(q, most);
		stepped = true;
	}
	while (re->rate.every_us != 0 && re->rate.at <= sched_mono(s)) {
		queue_usual_limits(q, &most, &rate);
		rate_step(q, rate);
		stepped = true;
	}
	if (stepped)
		changed(s, q, "limits raised", NULL, SV(""));
}

/* ---- over a restart ---- */

static int64_t
to_wall(const struct sched *s, int64_t at)
{
	return at == NEVER ? 0 : at - s->now.mono.us + s->now.wall.us;
}

static int64_t
from_wall(const struct sched *s, int64_t us)
{
	return us == 0 ? NEVER : us - s->now.wall.us + s->now.mono.us;
}

void
sched_queue_state(const struct squeue *q, struct sched_queue_state *st_r)
{
	const struct sreact *re = q->react;
	const struct sched *s = q->s;

	*st_r = (struct sched_queue_state){ .paused = q->paused,
		.backoff = q->backoff };
	adapt_state(q, st_r);
	if (re == NULL)
		return;
	if (q->backoff)
		st_r->backoff_until_us = to_wall(s, re->backoff_until);
	if (re->conns.every_us != 0) {
		st_r->max_out = re->max_out;
		st_r->max_out_until_us = to_wall(s, re->conns.at);
		st_r->max_out_step_us = re->conns.every_us;
	}
	if (re->rate.every_us != 0) {
		st_r->max_rate = re->max_rate;
		st_r->max_rate_until_us = to_wall(s, re->rate.at);
		st_r->max_rate_step_us = re->rate.every_us;
	}
}

static bool
react_restore(struct sched *s, struct squeue *q,
    const struct sched_queue_state *st)
{
	struct sreact *re;

	if (st->backoff_until_us == 0 && st->max_out_step_us == 0 &&
	    st->max_rate_step_us == 0 && q->react == NULL)
		return true;
	re = react_get(q);
	if (re == NULL)
		return false;
	re->backoff_until = from_wall(s, st->backoff_until_us);
	re->max_out = st->max_out;
	re->conns = (struct stemp){ from_wall(s, st->max_out_until_us),
		st->max_out_step_us };
	re->max_rate = st->max_rate;
	re->rate = (struct stemp){ from_wall(s, st->max_rate_until_us),
		st->max_rate_step_us };
	return true;
}

bool
sched_queue_state_set(struct sched *s, struct sched_now now, struct sv domain,
    struct sv vmta, const struct sched_queue_state *st)
{
	bool keep = st->paused || st->backoff || st->max_out_step_us != 0 ||
	    st->max_rate_step_us != 0 || st->adapt_conns != 0;
	struct squeue *q;

	sched_clock_advance(s, now);
	q = keep ? queue_get(s, domain, vmta) :
	    sched_queue_find(s, domain, vmta);
	if (q == NULL)
		return !keep;
	if (!react_restore(s, q, st))
		return false;
	q->paused = st->paused;
	q->backoff = st->backoff;
	(void)queue_conf(s, q);
	adapt_restore(s, q, st);
	queue_limits_apply(s, q);
	queue_activate(s, q);
	return true;
}
