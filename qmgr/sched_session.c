/* SPDX-License-Identifier: ISC */
/*
 * Workers, sessions and deliveries: who holds what, and what comes back.
 */
#include <stdlib.h>

#include "qmgr/sched_private.h"

#define IDLE_LOOKS 200
#define TAKES_NOTHING SCHED_WINDOW /* index of q->sessions */

struct session_key {
	uint64_t id;
};

static bool
session_match(const void *entry, const void *key)
{
	return ((const struct ssession *)entry)->id ==
	    ((const struct session_key *)key)->id;
}

struct ssession *
session_find(const struct sched *s, uint64_t id)
{
	struct session_key k = { id };

	return htab_find(&s->sessions, id, session_match, &k);
}

/* ---- workers ---- */

static struct sworker *
worker_find(const struct sched *s, unsigned number)
{
	struct sworker *w;

	TAILQ_FOREACH(w, &s->workers, link) {
		if (w->number == number)
			return w;
	}
	return NULL;
}

static struct sworker *
worker_least(const struct sched *s)
{
	struct sworker *w, *best = NULL;

	TAILQ_FOREACH(w, &s->workers, link) {
		if (best == NULL || w->nsessions < best->nsessions)
			best = w;
	}
	return best;
}

bool
sched_worker_add(struct sched *s, unsigned worker)
{
	struct sworker *w;

	if (worker_find(s, worker) != NULL)
		return true;
	w = calloc(1, sizeof(*w));
	if (w == NULL)
		return false;
	w->number = worker;
	TAILQ_INIT(&w->sessions);
	TAILQ_INIT(&w->kept);
	TAILQ_INSERT_TAIL(&s->workers, w, link);
	limit_cap(s, &s->worker_limit, UINT32_MAX);
	return true;
}

/* ---- the lists a session is in ---- */

static void
session_idle_set(struct sched *s, struct ssession *se, bool idle)
{
	if (se->idle == idle)
		return;
	se->idle = idle;
	if (idle) {
		TAILQ_INSERT_TAIL(&se->q->vm->idle, se, vm_idle);
		TAILQ_INSERT_TAIL(&s->idle, se, all_idle);
	} else {
		TAILQ_REMOVE(&se->q->vm->idle, se, vm_idle);
		TAILQ_REMOVE(&s->idle, se, all_idle);
	}
}

static bool
session_takes(const struct ssession *se)
{
	return se->state == SE_UP && !se->dry &&
	    se->outstanding < SCHED_WINDOW &&
	    (se->max_msgs == 0 || se->handed < se->max_msgs);
}

void
session_place(struct sched *s, struct ssession *se)
{
	uint8_t place = session_takes(se) ? (uint8_t)se->outstanding :
	    TAKES_NOTHING;

	session_idle_set(s, se, se->state == SE_UP && se->outstanding == 0);
	if (place == se->place)
		return;
	TAILQ_REMOVE(&se->q->sessions[se->place], se, qlink);
	TAILQ_INSERT_TAIL(&se->q->sessions[place], se, qlink);
	se->place = place;
}

static void
session_view(const struct ssession *se, struct sched_session *v)
{
	*v = (struct sched_session){ .id = se->id,
		.worker = se->worker->number, .queue = se->q,
		.conf = se->q->conf, .domain = se->q->domain,
		.vmta = se->q->vmta, .window = SCHED_WINDOW,
		.source = se->source_index };
}

/* ---- opening and closing ---- */

static void
session_count(struct sched *s, struct ssession *se)
{
	struct squeue *q = se->q;

	for (int i = 0; i < q->path.n; i++) {
		limit_take(s, &q->path.scope[i]->conns, q, 1);
		limit_take(s, &q->path.scope[i]->connect_rate, q, 1);
	}
	limit_take(s, &s->worker_limit, q, 1);
	se->worker->nsessions++;
	q->nsessions++;
	q->nconnecting++;
	s->nsessions++;
	s->nconnecting++;
}

/* NULL without memory. The limits allow it, there is a worker. */
struct ssession *
session_open(struct sched *s, struct squeue *q, uint32_t source)
{
	struct sched_target targets[ROUTE_HOSTS_MAX * ROUTE_ADDRS_MAX];
	struct ssession *se = calloc(1, sizeof(*se));
	struct sched_session v, to = { 0 };

	if (se == NULL)
		return NULL;
	se->id = s->next_session++;
	se->q = q;
	se->source = *source_at(q, source);
	if (!pace_get(s, q, source, &se->pace) ||
	    !dest_opens(s, q, se, targets, &to) ||
	    htab_insert(&s->sessions, se) != 0) {
		dest_ended(s, se);
		free(se);
		return NULL;
	}
	se->worker = worker_least(s);
	se->state = SE_CONNECTING;
	se->opened_at = sched_mono(s);
	se->place = TAKES_NOTHING;
	se->max_msgs = q->conf->max_msg_per_connection;
	se->path = q->path;
	source_take(s, q, se, source);
	TAILQ_INIT(&se->delivs);
	TAILQ_INSERT_TAIL(&q->sessions[TAKES_NOTHING], se, qlink);
	TAILQ_INSERT_TAIL(&se->worker->sessions, se, wlink);
	session_count(s, se);
	pace_opened(s, se);
	session_view(se, &v);
	v.targets = to.targets;
	v.ntargets = to.ntargets;
	s->ops->session_open(s->arg, &v);
	return se;
}

/* Out of connecting or up. */
static void
session_leave_state(struct sched *s, struct ssession *se)
{
	if (se->state == SE_CONNECTING) {
		se->q->nconnecting--;
		s->nconnecting--;
		pace_connected(se);
	} else if (se->state == SE_UP) {
		se->q->nup--;
	}
}

/* It takes nothing any more. */
static void
session_leaves(struct sched *s, struct ssession *se)
{
	if (se->state != SE_CLOSING) {
		for (int i = 0; i < se->path.n; i++)
			se->path.scope[i]->conns.leaving++;
	}
	session_leave_state(s, se);
	pace_closes(se);
	se->state = SE_CLOSING;
	session_place(s, se);
}

void
session_close(struct sched *s, struct ssession *se)
{
	session_leaves(s, se);
	s->ops->session_close(s->arg, se->id, se->worker->number);
}

void
session_had_error(struct sched *s, struct ssession *se, bool skipped)
{
	uint32_t most = se->q->conf->max_errors_per_connection;

	se->errors++;
	if (se->state == SE_UP &&
	    (skipped || (most != 0 && se->errors >= most)))
		session_close(s, se);
}

/* One that connects is closed when it is up. */
void
sessions_sources_check(struct sched *s, struct squeue *q)
{
	struct ssession *se, *next;

	q->sources_check = false;
	for (int i = 0; i <= SCHED_WINDOW; i++) {
		for (se = TAILQ_FIRST(&q->sessions[i]); se != NULL; se = next) {
			next = TAILQ_NEXT(se, qlink);
			if (se->state == SE_UP &&
			    source_is_off(s, q, &se->source))
				session_close(s, se);
		}
	}
}

/* Not one that has just come up, or has just had its last answer, and whose
 * queue will give it work in its turn. */
static bool
is_spare(const struct ssession *se)
{
	return se->q->count[SR_READY] == 0 || !se->q->active;
}

static bool
is_held_by(const struct slimit *l, const struct ssession *se)
{
	for (int i = 0; i < se->path.n; i++) {
		if (&se->path.scope[i]->conns == l)
			return true;
	}
	return false;
}

/* One of those that have been idle longest. */
static struct ssession *
idle_of_all(const struct sched *s, const struct slimit *l)
{
	struct ssession *se;
	int looked = 0;

	TAILQ_FOREACH(se, &s->idle, all_idle) {
		if (is_spare(se) && is_held_by(l, se))
			return se;
		if (++looked == IDLE_LOOKS)
			break;
	}
	return NULL;
}

static struct ssession *
idle_of_vmta(const struct svmta *vm)
{
	struct ssession *se;
	int looked = 0;

	TAILQ_FOREACH(se, &vm->idle, vm_idle) {
		if (is_spare(se))
			return se;
		if (++looked == IDLE_LOOKS)
			break;
	}
	return NULL;
}

/* A queue waits for l, which idle sessions hold: the one that has been idle
 * longest is closed. */
void
session_reclaim(struct sched *s, struct slimit *l)
{
	struct ssession *se = NULL;

	if (l->cause == WAIT_CONN_POOL || l->cause == WAIT_CONN_SITE ||
	    l == &s->scope.conns)
		se = idle_of_all(s, l);
	else if (l->cause == WAIT_CONN_VMTA)
		se = idle_of_vmta((struct svmta *)((uintptr_t)l -
		    offsetof(struct svmta, scope.conns)));
	if (se != NULL)
		session_close(s, se);
}

/* The same for a place of a host or a network. */
void
session_reclaim_dest(struct sched *s, const struct sdest *d)
{
	struct ssession *se;
	int looked = 0;

	TAILQ_FOREACH(se, &s->idle, all_idle) {
		if (is_spare(se) && dest_holds(se, d)) {
			session_close(s, se);
			return;
		}
		if (++looked == IDLE_LOOKS)
			return;
	}
}

/* Others wait for connections that this queue shares with them: those that have
 * that priority at least. */
static bool
others_wait(const struct squeue *q, unsigned priority)
{
	for (int i = 1; i < q->path.n; i++) {
		const struct slimit *l = &q->path.scope[i]->conns;

		if (l->nparked > 0 && limit_is_wanted(l, q, priority))
			return true;
	}
	return false;
}

/* An idle session is not kept while somebody else could use its slot. */
void
sessions_release_idle(struct sched *s, struct squeue *q)
{
	struct ssession *se, *next;
	bool wait;

	if (TAILQ_EMPTY(&q->sessions[0]) && TAILQ_EMPTY(&q->paces))
		return;
	wait = others_wait(q, 0);
	if (wait)
		pace_release_idle(s, q);
	for (se = TAILQ_FIRST(&q->sessions[0]); se != NULL; se = next) {
		next = TAILQ_NEXT(se, qlink);
		if (wait || dest_is_wanted(se))
			session_close(s, se);
	}
}

static void
session_remove(struct sched *s, struct ssession *se)
{
	struct squeue *q = se->q;

	session_idle_set(s, se, false);
	session_leave_state(s, se);
	pace_closes(se);
	pace_ended(se);
	TAILQ_REMOVE(&q->sessions[se->place], se, qlink);
	TAILQ_REMOVE(&se->worker->sessions, se, wlink);
	htab_remove(&s->sessions, se);
	se->worker->nsessions--;
	if (se->ip != NULL)
		se->ip->nsessions--;
	q->nsessions--;
	q->all_full = 0;
	s->nsessions--;
	for (int i = 0; i < se->path.n; i++) {
		struct slimit *l = &se->path.scope[i]->conns;

		l->leaving -= se->state == SE_CLOSING;
		limit_release(s, l);
	}
	limit_release(s, &s->worker_limit);
	dest_ended(s, se);
	free(se);
	queue_activate(s, q);
}

/* ---- handing out ---- */

/* Queues of a higher priority wait for a connection that it holds, and no other
 * session is about to give them one. */
static bool
is_interrupted(const struct ssession *se)
{
	if (!se->q->conf->allow_priority_interruption)
		return false;
	for (int i = 1; i < se->path.n; i++) {
		const struct slimit *l = &se->path.scope[i]->conns;

		if (l->nparked > 0 && limit_is_pressed(l, se->q->priority))
			return true;
	}
	return false;
}

/* Not all at the same time: a queue that may connect once at a time would get
 * one of many slots that are free at once, and nothing until the next time. */
static bool
session_must_yield(struct sched *s, const struct ssession *se)
{
	int64_t most = sched_jitter(s, se->id, YIELD_MSGS - YIELD_MSGS / 4,
	    YIELD_MSGS + YIELD_MSGS / 4);

	if (is_interrupted(se))
		return true;
	return (se->handed >= most ||
	    sched_mono(s) - se->up_at >= YIELD_US) &&
	    (others_wait(se->q, se->q->priority) || dest_is_wanted(se));
}

/* The session with the least to do that takes one more message; sessions
 * that had their share while others wait are closed on the way. */
struct ssession *
session_pick(struct sched *s, struct squeue *q)
{
	for (int i = 0; i < SCHED_WINDOW; i++) {
		struct ssession *se;

		while ((se = TAILQ_FIRST(&q->sessions[i])) != NULL) {
			if (pace_dries(s, se))
				continue;
			if (!session_must_yield(s, se))
				return se;
			session_close(s, se);
		}
	}
	return NULL;
}

/*
 * Of the highest priority. Fresh mail and retries that are due share as
 * max-retry-share says, if there are both: each turn gives the retries that
 * many percent of a message, and one of them goes when there is a whole one.
 */
static struct srcpt *
queue_next_rcpt(struct squeue *q)
{
	struct slevel *lv = TAILQ_FIRST(&q->levels);
	struct srcpt *fresh = TAILQ_FIRST(&lv->fresh);
	struct srcpt *due = TAILQ_FIRST(&lv->due);

	if (fresh == NULL || due == NULL) {
		lv->due_credit = 0;
		return fresh != NULL ? fresh : due;
	}
	lv->due_credit = (int16_t)(lv->due_credit +
	    (int16_t)q->conf->max_retry_share);
	if (lv->due_credit < 100)
		return fresh;
	lv->due_credit = (int16_t)(lv->due_credit - 100);
	return due;
}

static uint32_t
group_size(const struct srcpt *first, uint32_t most)
{
	const struct srcpt *r = first;
	uint32_t n = 0;

	while (r != NULL && n < most && rcpt_msg(r) == rcpt_msg(first)) {
		n++;
		r = TAILQ_NEXT(r, u.ready);
	}
	return n;
}

static void
deliv_free(struct sdeliv *d)
{
	if (d->site != NULL)
		d->site->ndelivs--;
	free(d);
}

static struct sdeliv *
deliv_new(struct srcpt *first, uint32_t n)
{
	struct sdeliv *d = malloc(sizeof(*d) + n * sizeof(d->idx[0]));

	if (d == NULL)
		return NULL;
	d->msg = rcpt_msg(first);
	d->id = d->msg->id;
	d->n = d->open = n;
	d->kib = (uint32_t)((d->msg->body_len + 1023) / 1024);
	d->sent_at = 0;
	d->delivered = d->paced = false;
	d->path.n = 0;
	d->warmup = NULL;
	d->site = NULL;
	d->se = NULL;
	d->kept_by = NULL;
	return d;
}

/* A message takes a period's tokens at most. */
static uint32_t
pace_most(const struct ssession *se, uint32_t most)
{
	const struct srate *r;

	if (se->pace == NULL)
		return most;
	r = &se->pace->rate[RATE_MSGS];
	return r->step_ns != 0 && r->most < most ? r->most : most;
}

/* Gives the next message to se: at most `most` of its recipients. False
 * without memory. */
bool
session_hand(struct sched *s, struct squeue *q, struct ssession *se,
    uint32_t most, uint32_t *n_r)
{
	struct srcpt *r = queue_next_rcpt(q), *next;
	struct sdeliv *d = deliv_new(r, group_size(r, pace_most(se, most)));
	struct sched_session v;

	if (d == NULL)
		return false;
	for (uint32_t i = 0; i < d->n; i++, r = next) {
		next = TAILQ_NEXT(r, u.ready);
		d->idx[i] = r->idx;
		rcpt_inflight(s, r, d);
	}
	d->se = se;
	d->sent_at = sched_mono(s);
	TAILQ_INSERT_TAIL(&se->delivs, d, link);
	se->outstanding++;
	se->handed++;
	session_place(s, se);
	d->path = q->path;
	d->site = q->site;
	if (d->site != NULL)
		d->site->ndelivs++;
	for (int i = 0; i < d->path.n; i++) {
		limit_take(s, &d->path.scope[i]->msg_rate, q, d->n);
		limit_take(s, &d->path.scope[i]->volume, q, d->kib);
	}
	pace_take(s, d);
	warmup_taken(s, d, q->warmup, d->n);
	*n_r = d->n;
	session_view(se, &v);
	s->ops->deliver(s->arg, &v, d->msg, d->idx, d->n);
	return true;
}

/* ---- what comes back ---- */

/* The recipient leaves its delivery. */
void
deliv_detach(struct sched *s, struct srcpt *r)
{
	struct sdeliv *d = r->u.deliv;

	d->open--;
	warmup_given_back(s, d);
	if (d->kept_by != NULL && d->open == 0) {
		/* Kept over a restart of qmgr: no end will be announced. */
		TAILQ_REMOVE(&d->kept_by->kept, d, link);
		deliv_free(d);
	}
}

/* Back in line, or on hold if that was asked for meanwhile. */
void
rcpt_come_back(struct sched *s, struct srcpt *r, bool at_head)
{
	if ((r->flags & RF_HOLD) != 0) {
		r->flags &= (uint8_t)~RF_HOLD;
		rcpt_hold(s, r, r->u.held.order);
		return;
	}
	rcpt_ready(s, r, at_head);
}

/* Untried: its recipients are first in line again, in their old order. A kept
 * delivery is gone with its only recipient. */
static void
deliv_give_back(struct sched *s, struct sdeliv *d)
{
	for (uint32_t i = d->n; i-- > 0 && d->open > 0; ) {
		struct srcpt *r = &d->msg->rcpts[d->idx[i]];

		if (r->state == SR_INFLIGHT && r->u.deliv == d)
			rcpt_come_back(s, r, true);
	}
}

/* Data volume counts what was delivered. */
static void
deliv_volume_end(struct sched *s, const struct sdeliv *d)
{
	for (int i = 0; i < d->path.n && !d->delivered; i++) {
		struct slimit *l = &d->path.scope[i]->volume;

		rate_give(&l->rate, d->kib);
		limit_wake(s, l);
	}
	if (!d->delivered)
		pace_give(s, d);
}

static void
session_give_back(struct sched *s, struct ssession *se)
{
	struct sdeliv *d;

	while ((d = TAILQ_LAST(&se->delivs, sdelivs)) != NULL) {
		/* What is freed has left the list.
		 * NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		deliv_give_back(s, d);
		deliv_volume_end(s, d);
		TAILQ_REMOVE(&se->delivs, d, link);
		deliv_free(d);
	}
}

/* The first recipient of the delivery that is still in flight with it. */
static bool
deliv_rcpt(struct sdeliv *d, struct smsg **m_r, uint32_t *idx_r)
{
	for (uint32_t i = 0; i < d->n && d->open > 0; i++) {
		const struct srcpt *r = &d->msg->rcpts[d->idx[i]];

		if (r->state == SR_INFLIGHT && r->u.deliv == d) {
			*m_r = d->msg;
			*idx_r = d->idx[i];
			return true;
		}
	}
	return false;
}

bool
sched_worker_rcpt(struct sched *s, unsigned worker, struct smsg **m_r,
    uint32_t *idx_r)
{
	struct sworker *w = worker_find(s, worker);
	struct ssession *se;
	struct sdeliv *d;

	if (w == NULL)
		return false;
	TAILQ_FOREACH(d, &w->kept, link) {
		if (deliv_rcpt(d, m_r, idx_r))
			return true;
	}
	TAILQ_FOREACH(se, &w->sessions, wlink) {
		TAILQ_FOREACH(d, &se->delivs, link) {
			if (deliv_rcpt(d, m_r, idx_r))
				return true;
		}
	}
	return false;
}

void
sched_worker_remove(struct sched *s, struct sched_now now, unsigned worker)
{
	struct sworker *w = worker_find(s, worker);
	struct ssession *se;
	struct sdeliv *d;

	sched_clock_advance(s, now);
	if (w == NULL)
		return;
	TAILQ_REMOVE(&s->workers, w, link);
	if (TAILQ_EMPTY(&s->workers))
		s->worker_limit.cap = 0;
	while ((se = TAILQ_FIRST(&w->sessions)) != NULL) {
		session_give_back(s, se);
		session_remove(s, se);
	}
	/* The last recipient that leaves a kept delivery frees it. */
	while ((d = TAILQ_FIRST(&w->kept)) != NULL)
		deliv_give_back(s, d);
	free(w);
}

bool
sched_rcpt_held_by(struct sched *s, struct smsg *m, uint32_t idx,
    unsigned worker)
{
	struct sworker *w = worker_find(s, worker);
	struct srcpt *r = &m->rcpts[idx];
	struct sdeliv *d;

	if (w == NULL || idx >= m->nrcpts ||
	    (r->state != SR_READY && r->state != SR_RETRY &&
	    r->state != SR_HELD))
		return true;
	d = deliv_new(r, 1);
	if (d == NULL)
		return false;
	d->idx[0] = idx;
	d->kept_by = w;
	if (r->state == SR_HELD)
		r->flags |= RF_HOLD;
	TAILQ_INSERT_TAIL(&w->kept, d, link);
	sched_rcpt_tried(s, s->now, m, idx, s->now.wall.us, 0, NULL);
	warmup_taken(s, d, r->q->warmup, 1);
	rcpt_inflight(s, r, d);
	return true;
}

void
workers_free(struct sched *s)
{
	struct sworker *w;
	struct ssession *se;
	struct sdeliv *d;

	while ((w = TAILQ_FIRST(&s->workers)) != NULL) {
		TAILQ_REMOVE(&s->workers, w, link);
		while ((se = TAILQ_FIRST(&w->sessions)) != NULL) {
			TAILQ_REMOVE(&w->sessions, se, wlink);
			while ((d = TAILQ_FIRST(&se->delivs)) != NULL) {
				TAILQ_REMOVE(&se->delivs, d, link);
				deliv_free(d);
			}
			dest_session_free(se);
			free(se);
		}
		while ((d = TAILQ_FIRST(&w->kept)) != NULL) {
			TAILQ_REMOVE(&w->kept, d, link);
			deliv_free(d);
		}
		free(w);
	}
}

void
sched_session_up(struct sched *s, struct sched_now now, uint64_t session,
    struct sv host, struct sv host_ip)
{
	struct ssession *se;

	sched_clock_advance(s, now);
	se = session_find(s, session);
	if (se == NULL || se->state != SE_CONNECTING)
		return;
	session_leave_state(s, se);
	dest_up(s, se, host, host_ip);
	se->state = SE_UP;
	se->up_at = sched_mono(s);
	queue_took(se->q, TIME_CONNECT, se->up_at - se->opened_at);
	se->q->nup++;
	se->q->all_full = 0;
	se->q->sources_check = s->noff > 0;
	session_place(s, se);
	queue_activate(s, se->q);
}

/*
 * No session could be made. If others of the queue are up, the destination
 * works and only wants no more of them: the queue goes on with what it has.
 */
static void
session_failed(struct sched *s, struct squeue *q, const struct sched_why *why)
{
	if (q->nup > 0) {
		queue_error_set(s, q, why);
		q->open_hold_at = sched_mono(s) + OPEN_HOLD_US;
		return;
	}
	queue_fail(s, q, queue_retry_after(s, q), &q->failures, why);
}

static void
session_end_act(struct sched *s, struct squeue *q, enum session_end end,
    uint32_t delivered, const struct sched_why *why)
{
	switch (end) {
	case END_LOST:
		if (delivered > 0 || ++q->lost_ends < LOST_ENDS_MAX)
			return;
		q->lost_ends = 0;
		session_failed(s, q, why);
		return;
	case END_GREETING_PERM:
		if (!queue_conf(s, q)->bounce_upon_5xx_greeting ||
		    q->nup > 0) {
			session_failed(s, q, why);
			return;
		}
		queue_error_set(s, q, why);
		q->doomed = true;
		return;
	case END_421:
		queue_fail(s, q, queue_retry_after(s, q), &q->failures, why);
		return;
	case END_ROUTE:
		q->route_until = 0;
		session_failed(s, q, why);
		return;
	case END_CONNECT:
	case END_GREETING_TEMP:
		session_failed(s, q, why);
		return;
	default:
		return;
	}
}

void
sched_session_end(struct sched *s, struct sched_now now, uint64_t session,
    enum session_end end, uint16_t code, const struct sched_why *why)
{
	static const struct sched_why no_why;
	struct sched_why w;
	struct ssession *se;
	struct route_addr source;
	struct squeue *q;
	uint32_t delivered;
	bool skipped = false;

	(void)code;
	sched_clock_advance(s, now);
	se = session_find(s, session);
	if (se == NULL)
		return;
	q = se->q;
	delivered = se->delivered;
	source = se->source;
	if (se->state == SE_CONNECTING && end >= END_LOST && end != END_ROUTE)
		ip_count(s, se->ip, IP_CONNECT_FAILED);
	session_give_back(s, se);
	session_remove(s, se);
	w = why != NULL ? *why : no_why;
	/* what a host said; our own words for it are no reply */
	w.said = end == END_421 || end == END_GREETING_TEMP ||
	    end == END_GREETING_PERM;
	if (w.said)
		(void)reply_act(s, q, &w, &source, &skipped);
	if (end == END_421 || end == END_GREETING_TEMP || end == END_CONNECT)
		adapt_refused(s, q, w.diag);
	if (skipped)
		queue_error_set(s, q, &w);
	else
		session_end_act(s, q, end, delivered, &w);
	queue_activate(s, q);
}

void
sched_session_quits(struct sched *s, struct sched_now now, uint64_t session)
{
	struct ssession *se;

	sched_clock_advance(s, now);
	se = session_find(s, session);
	if (se == NULL)
		return;
	session_give_back(s, se);
	se->outstanding = 0;
	session_leaves(s, se);
	queue_activate(s, se->q);
}

/* A message may be in a session twice, with different recipients: the
 * delivery that has all its results is the one that is done. */
static struct sdeliv *
deliv_find(const struct ssession *se, uint64_t id)
{
	struct sdeliv *d, *first = NULL;

	TAILQ_FOREACH(d, &se->delivs, link) {
		if (d->id != id)
			continue;
		if (d->open == 0)
			return d;
		if (first == NULL)
			first = d;
	}
	return first;
}

/* One after the other: it had its turn when that before it was answered. */
static void
deliv_took(struct sched *s, struct ssession *se, const struct sdeliv *d)
{
	int64_t now = sched_mono(s), began = d->sent_at;

	if (began < se->answered_at)
		began = se->answered_at;
	queue_took(se->q, TIME_ANSWER, now - began);
	se->answered_at = now;
}

void
sched_deliver_done(struct sched *s, struct sched_now now, uint64_t session,
    uint64_t id)
{
	struct ssession *se;
	struct sdeliv *d;

	sched_clock_advance(s, now);
	se = session_find(s, session);
	if (se == NULL)
		return;
	d = deliv_find(se, id);
	if (d == NULL)
		return;
	/* A worker that forgets a recipient must not loop on it. */
	for (uint32_t i = 0; i < d->n && d->open > 0; i++) {
		struct srcpt *r = &d->msg->rcpts[d->idx[i]];

		if (r->state != SR_INFLIGHT || r->u.deliv != d)
			continue;
		if ((r->flags & RF_HOLD) != 0)
			rcpt_come_back(s, r, false);
		else
			rcpt_retry(s, r, sched_mono(s) + LOST_DELAY_US);
	}
	deliv_took(s, se, d);
	deliv_volume_end(s, d);
	TAILQ_REMOVE(&se->delivs, d, link);
	deliv_free(d);
	se->outstanding--;
	session_place(s, se);
	queue_activate(s, se->q);
}
