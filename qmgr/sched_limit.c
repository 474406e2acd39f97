/* SPDX-License-Identifier: ISC */
/*
 * Limits: counts of connections and rates, and the queues parked on them.
 * Room is never just announced: it is granted to the queue that has waited
 * longest (of those with the highest priority, of the VMTA whose turn it is),
 * which has it until its next turn.
 */
#include "qmgr/sched_private.h"

#define NS_PER_US 1000
#define BURST_MS  100
#define DEBT_MAX_NS (400 * 86400 * 1e9)

/* ---- rates ---- */

/* A rate that changes: what was used ahead of time is owed for one token of the
 * new rate at most. What is owed beyond a burst (one large message of data
 * volume) stays owed. */
static int64_t
debt_changed(const struct srate *old, int64_t debt, int64_t step)
{
	int64_t beyond = debt - old->slack_ns - old->step_ns;
	double owed = 0;

	if (old->step_ns != 0 && beyond > 0)
		owed = (double)beyond / (double)old->step_ns * (double)step;
	if (owed > DEBT_MAX_NS)
		owed = DEBT_MAX_NS;
	return (debt < step ? debt : step) + (int64_t)owed;
}

void
rate_set(struct srate *r, const struct conf_rate *c, int64_t now)
{
	const struct srate old = *r;
	int64_t debt = r->tat_ns - now * NS_PER_US;
	int64_t period = c->period_ms * 1000000, n = (int64_t)c->n;
	int64_t burst, most;

	r->step_ns = 0;
	if (period == 0 || c->n == 0 || c->n >= (uint64_t)period)
		return;
	burst = n * BURST_MS / c->period_ms;
	if (burst > n / 100)
		burst = n / 100;
	most = n / 200;
	n -= burst + most;
	r->step_ns = (period + n - 1) / n;
	r->slack_ns = burst * r->step_ns;
	r->period_ns = period;
	r->most = most < UINT32_MAX ? (uint32_t)most + 1 : UINT32_MAX;
	if (debt > 0 && old.step_ns != r->step_ns)
		r->tat_ns = now * NS_PER_US + debt_changed(&old, debt,
		    r->step_ns);
}

bool
rate_ok(const struct srate *r, int64_t now)
{
	return r->step_ns == 0 ||
	    r->tat_ns - r->slack_ns <= now * NS_PER_US;
}

/* When rate_ok() becomes true, in microseconds, rounded up. */
int64_t
rate_next(const struct srate *r)
{
	return (r->tat_ns - r->slack_ns + NS_PER_US - 1) / NS_PER_US;
}

uint32_t
rate_tokens(const struct srate *r, int64_t now)
{
	int64_t room;

	if (r->step_ns == 0)
		return UINT32_MAX;
	room = now * NS_PER_US + r->slack_ns - r->tat_ns;
	if (room < 0)
		return 0;
	if (room > r->slack_ns)
		room = r->slack_ns;
	return (uint32_t)(room / r->step_ns) + 1;
}

void
rate_take(struct srate *r, int64_t now, uint32_t n)
{
	if (r->step_ns == 0)
		return;
	if (r->tat_ns < now * NS_PER_US || r->tat_ns == 0)
		r->tat_ns = now * NS_PER_US;
	r->tat_ns += (int64_t)n * r->step_ns;
}

void
rate_give(struct srate *r, uint32_t n)
{
	r->tat_ns -= (int64_t)n * r->step_ns;
}

/* ---- limits ---- */

void
limit_init(struct slimit *l, enum limit_kind kind, enum sched_wait cause)
{
	*l = (struct slimit){ .kind = (uint8_t)kind, .cause = (uint8_t)cause,
		.shared = NOT_SHARED, .cap = UINT32_MAX,
		.timer = { .kind = TIMER_LIMIT } };
	TAILQ_INIT(&l->groups);
}

void
scope_init(struct sscope *sc, enum sched_wait conns,
    enum sched_wait connect_rate, enum sched_wait msg_rate)
{
	limit_init(&sc->conns, LIMIT_CONNS, conns);
	limit_init(&sc->connect_rate, LIMIT_RATE, connect_rate);
	limit_init(&sc->msg_rate, LIMIT_RATE, msg_rate);
	limit_init(&sc->volume, LIMIT_RATE, WAIT_VOLUME);
}

static bool
limit_room(const struct sched *s, const struct slimit *l)
{
	if (l->kind == LIMIT_RATE)
		return l->granted == 0 && rate_ok(&l->rate, sched_mono(s));
	return l->used < l->cap && l->granted < l->cap - l->used;
}

bool
limit_is_full(const struct sched *s, const struct slimit *l)
{
	return l->kind == LIMIT_RATE ? !rate_ok(&l->rate, sched_mono(s)) :
	    l->used >= l->cap;
}

bool
limit_blocks(struct sched *s, const struct slimit *l, const struct squeue *q)
{
	if (q->grant == l)
		return limit_is_full(s, l);
	return l->nparked > 0 || !limit_room(s, l);
}

void
limit_take(struct sched *s, struct slimit *l, struct squeue *q, uint32_t n)
{
	if (l->kind == LIMIT_RATE) {
		rate_take(&l->rate, sched_mono(s), n);
		return;
	}
	if (q->grant == l) {
		q->grant = NULL;
		l->granted--;
	}
	l->used += n;
}

void
limit_release(struct sched *s, struct slimit *l)
{
	l->used--;
	limit_wake(s, l);
}

/* First queue of the group whose turn it is. */
static struct squeue *
limit_next(const struct slimit *l)
{
	const struct sgroup *g = TAILQ_FIRST(&l->groups);

	return TAILQ_FIRST(&g->queues);
}

void
limit_wake(struct sched *s, struct slimit *l)
{
	while (l->nparked > 0 && limit_room(s, l)) {
		struct squeue *q = limit_next(l);
		struct sgroup *g = q->group;

		queue_unpark(s, q);
		if (g->n > 0)
			group_to_end(s, l, g);
		q->grant = l;
		l->granted++;
		queue_activate(s, q);
	}
	if (l->kind != LIMIT_RATE)
		return;
	/* Without memory for the timer the first queue looks again. */
	if (!timer_set(&s->timers, &l->timer, l->nparked > 0 &&
	    l->granted == 0 ? rate_next(&l->rate) : NEVER))
		queue_activate(s, limit_next(l));
}

void
limit_cap(struct sched *s, struct slimit *l, uint32_t cap)
{
	l->cap = cap;
	limit_wake(s, l);
}

void
limit_rate(struct sched *s, struct slimit *l, const struct conf_rate *c)
{
	rate_set(&l->rate, c, sched_mono(s));
	limit_wake(s, l);
}

void
limit_volume(struct sched *s, struct slimit *l, const struct conf_rate *c)
{
	struct conf_rate kib = *c;

	kib.n = (kib.n + 1023) / 1024;
	limit_rate(s, l, &kib);
}

/* ---- parked queues ---- */

void
queue_park(struct sched *s, struct squeue *q, struct slimit *l)
{
	if (q->parked == l) {
		/* there was no memory for its timer, see limit_wake() */
		if (l->kind == LIMIT_RATE && l->granted == 0 &&
		    l->timer.pos == 0)
			limit_wake(s, l);
		return;
	}
	queue_unpark(s, q);
	/* a grant that was taken away keeps its place */
	group_join(s, l, q, q->grant == l && l->kind == LIMIT_CONNS);
	q->parked = l;
	l->nparked++;
	if (l->kind == LIMIT_RATE)
		limit_wake(s, l); /* sets the timer */
}

void
queue_unpark(struct sched *s, struct squeue *q)
{
	struct slimit *l = q->parked;

	if (l == NULL)
		return;
	group_leave(s, l, q);
	q->parked = NULL;
	l->nparked--;
	if (l->kind == LIMIT_RATE && l->nparked == 0)
		(void)timer_set(&s->timers, &l->timer, NEVER);
}

/* What was granted and not used goes to the next. */
void
queue_grant_end(struct sched *s, struct squeue *q)
{
	struct slimit *l = q->grant;

	if (l == NULL)
		return;
	q->grant = NULL;
	l->granted--;
	limit_wake(s, l);
}
