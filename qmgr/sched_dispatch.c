/* SPDX-License-Identifier: ISC */
/*
 * A queue's turn: what may go out now, and if nothing, why not.
 *
 * Work goes to the windows of open sessions first. Another session is opened
 * when more messages are ready than the windows of the sessions that are
 * connecting will take, and no more sessions connect at once than are up
 * already (one at first). So three messages use one connection, and a long
 * line doubles the connections each round trip until a limit stops it.
 */
#include "qmgr/sched_private.h"

/* The first rate without a token, or NULL. */
static struct slimit *
rate_block(struct sched *s, const struct squeue *q)
{
	for (int i = 0; i < q->path.n; i++) {
		struct slimit *l = &q->path.scope[i]->msg_rate;

		if (limit_blocks(s, l, q))
			return l;
		l = &q->path.scope[i]->volume;
		if (limit_blocks(s, l, q))
			return l;
	}
	return NULL;
}

/* Who has a place of a host takes what is granted to somebody else: see
 * target_block(). */
static bool
keeps_from_opening(struct sched *s, const struct slimit *l,
    const struct squeue *q)
{
	return q->dgrant != NULL ? limit_is_full(s, l) : limit_blocks(s, l, q);
}

static struct slimit *
open_block(struct sched *s, const struct squeue *q)
{
	if (keeps_from_opening(s, &s->worker_limit, q))
		return &s->worker_limit;
	for (int i = 0; i < q->path.n; i++) {
		if (keeps_from_opening(s, &q->path.scope[i]->conns, q))
			return &q->path.scope[i]->conns;
		if (keeps_from_opening(s, &q->path.scope[i]->connect_rate, q))
			return &q->path.scope[i]->connect_rate;
	}
	return NULL;
}

/* Recipients that one transaction may have. */
static uint32_t
group_most(const struct squeue *q)
{
	uint32_t most = q->conf->max_rcpt_per_transaction;

	if (most == 0)
		most = UINT32_MAX;
	for (int i = 0; i < q->path.n; i++) {
		const struct srate *r = &q->path.scope[i]->msg_rate.rate;

		if (r->step_ns != 0 && r->most < most)
			most = r->most;
	}
	return most;
}

/* Adds the messages of a ready list to n, until that is more than `than`. */
static void
list_count(const struct srcpts *list, uint32_t most, uint32_t than,
    uint32_t *n)
{
	const struct smsg *m = NULL;
	const struct srcpt *r;
	uint32_t in_group = 0;

	TAILQ_FOREACH(r, list, u.ready) {
		if (rcpt_msg(r) != m || in_group == most) {
			m = rcpt_msg(r);
			in_group = 0;
			if (++*n > than)
				return;
		}
		in_group++;
	}
}

/* Are more than `than` messages ready (and allowed by the rates)? Looks at
 * so many at most. */
static bool
ready_more_than(struct sched *s, const struct squeue *q, uint32_t than)
{
	uint32_t most = group_most(q), n = 0;
	const struct slevel *lv;

	for (int i = 0; i < q->path.n; i++) {
		if (rate_tokens(&q->path.scope[i]->msg_rate.rate,
		    sched_mono(s)) <= than)
			return false;
	}
	TAILQ_FOREACH(lv, &q->levels, link) {
		list_count(&lv->fresh, most, than, &n);
		if (n <= than)
			list_count(&lv->due, most, than, &n);
		if (n > than)
			return true;
	}
	return false;
}

static bool
wants_session(struct sched *s, const struct squeue *q)
{
	if (q->nconnecting > 0 && q->nconnecting >= q->nup)
		return false;
	return ready_more_than(s, q, q->nconnecting * SCHED_WINDOW);
}

/* Nothing open takes more. */
static enum sched_wait
queue_open_sessions(struct sched *s, struct squeue *q)
{
	enum sched_wait wait;
	uint32_t source;
	struct slimit *l;

	/* with none left up, what it tells of the destination is stale */
	if (q->open_hold_at > sched_mono(s) && q->nup > 0) {
		queue_unpark(s, q);
		return WAIT_REMOTE;
	}
	while (wants_session(s, q)) {
		wait = source_choose(s, q, &source);
		if (wait != WAIT_NOTHING) {
			queue_unpark(s, q);
			sessions_release_idle(s, q);
			return wait;
		}
		l = open_block(s, q);
		if (l != NULL) {
			if (q->parked != l) {
				queue_park(s, q, l);
				session_reclaim(s, l);
			}
			if (l->kind == LIMIT_CONNS)
				pace_reclaim(s, q);
			return (enum sched_wait)l->cause;
		}
		if (session_open(s, q, source) == NULL) {
			q->poke_at = sched_mono(s) + NO_MEMORY_US;
			break;
		}
	}
	queue_unpark(s, q);
	return q->nconnecting > 0 ? WAIT_CONNECTING : WAIT_REMOTE;
}

/* Ask for the route again when it is no longer valid. */
static bool
route_valid(struct sched *s, struct squeue *q)
{
	if (q->route_until > sched_mono(s) && q->route == ROUTE_OK)
		return true;
	if (q->route_until > sched_mono(s)) {
		/* if it is already, what is left could not be given up now */
		if (!q->doomed)
			queue_activate(s, q);
		q->doomed = true;
		return false;
	}
	if (!q->resolving) {
		q->resolving = true;
		q->asked_at = sched_mono(s);
		TAILQ_INSERT_TAIL(&s->resolving, q, resolve_link);
		s->ops->resolve(s->arg, q, q->domain, q->vmta, q->conf);
	}
	return false;
}

/* Hands out as much as windows, rates and the deficit allow. True: nothing
 * keeps it from going on but a missing session. */
static bool
queue_hand_out(struct sched *s, struct squeue *q, uint32_t *sent,
    enum sched_wait *wait)
{
	uint32_t n;
	struct ssession *se;
	struct slimit *l;

	while (q->count[SR_READY] > 0) {
		l = rate_block(s, q);
		if (l != NULL) {
			queue_park(s, q, l);
			*wait = (enum sched_wait)l->cause;
			return false;
		}
		se = session_pick(s, q);
		if (se == NULL)
			return true;
		if (q->deficit <= 0) {
			*wait = q->wait;
			return false;
		}
		if (!session_hand(s, q, se, group_most(q), &n)) {
			q->poke_at = sched_mono(s) + NO_MEMORY_US;
			*wait = WAIT_WORKERS;
			return false;
		}
		q->deficit -= n;
		*sent += n;
	}
	*wait = WAIT_NOTHING;
	return false;
}

static enum sched_wait
queue_work(struct sched *s, struct squeue *q, uint32_t *sent)
{
	enum sched_wait wait = WAIT_NOTHING;

	if (q->paused)
		wait = WAIT_PAUSED;
	else if (q->retry_at > sched_mono(s))
		wait = WAIT_RETRY;
	else if (q->count[SR_READY] > 0 && !route_valid(s, q))
		wait = WAIT_DNS;
	else if (q->count[SR_READY] > 0) {
		if (queue_hand_out(s, q, sent, &wait))
			return queue_open_sessions(s, q);
		if (q->parked != NULL && wait == q->parked->cause) {
			if (rate_next(&q->parked->rate) >
			    sched_mono(s) + RATE_IDLE_US)
				sessions_release_idle(s, q);
			return wait;
		}
	}
	queue_unpark(s, q);
	sessions_release_idle(s, q);
	return wait;
}

static int64_t
earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static void
queue_timer(struct sched *s, struct squeue *q)
{
	int64_t due = earlier(q->expire_at, q->poke_at), now = sched_mono(s);

	due = earlier(due, react_next(q));
	due = earlier(due, adapt_next(q));
	if (q->count[SR_RETRY] > 0)
		due = earlier(due, q->heap[0]->u.retry.due);
	if (q->retry_at > now)
		due = earlier(due, q->retry_at);
	if (q->open_hold_at > now && q->count[SR_READY] > 0)
		due = earlier(due, q->open_hold_at);
	due = earlier(due, q->gc_at);
	if (!timer_set(&s->timers, &q->timer, due))
		queue_activate(s, q);
}

uint32_t
queue_turn(struct sched *s, struct squeue *q, bool *again)
{
	uint32_t sent = 0;
	enum sched_wait wait;
	bool more;

	(void)queue_conf(s, q);
	if (q->poke_at <= sched_mono(s)) {
		q->poke_at = NEVER;
		pace_look_again(s, q);
	}
	react_turn(s, q);
	adapt_turn(s, q);
	q->chooses = false;
	if (q->sources_check)
		sessions_sources_check(s, q);
	more = retry_promote(s, q);
	more |= queue_expire(s, q);
	if (q->doomed)
		more |= queue_doom(s, q);
	if (q->deficit <= 0)
		q->deficit += TURN_QUANTUM;
	wait = queue_work(s, q, &sent);
	if (q->count[SR_READY] == 0)
		q->deficit = 0;
	else if (q->deficit <= 0)
		more = true;
	queue_wait_set(s, q, wait);
	sourceless_set(s, q, wait == WAIT_SOURCES);
	queue_grant_end(s, q);
	dest_turn_end(s, q);
	*again = more;
	if (!queue_collect(s, q))
		queue_timer(s, q);
	else
		*again = false;
	return sent;
}
