/* SPDX-License-Identifier: ISC */
/*
 * The invariants, checked by walking everything: for tests.
 */
#include <stdio.h>
#include <stdlib.h>

#include "qmgr/sched_private.h"

#define CHECK(cond, q) do { \
	if (!(cond)) \
		check_failed(#cond, __LINE__, (q)); \
} while (0)

static void
check_failed(const char *what, int line, const struct squeue *q)
{
	fprintf(stderr, "sched_check:%d: %s does not hold", line, what);
	if (q != NULL)
		fprintf(stderr, " in %.*s", SV_FMT(q->name));
	fprintf(stderr, "\n");
	abort();
}

/* As many spares as queues, but for the one in use. It is the only one of its
 * kind. */
static void
check_group(const struct slimit *l, const struct sgroup *g)
{
	const struct squeue *first = TAILQ_FIRST(&g->queues), *q;
	const struct sgroup *other;
	uint32_t n = 0, spares = 1;

	CHECK(first != NULL, NULL);
	TAILQ_FOREACH(q, &g->queues, park) {
		CHECK(l->shared == NOT_SHARED || q->vm == first->vm, q);
		n++;
	}
	for (other = g->spares; other != NULL; other = other->next)
		spares++;
	CHECK(n == g->n && spares == n, first);
	TAILQ_FOREACH(other, &l->groups, link)
		CHECK(other == g || other->priority != g->priority ||
		    (l->shared != NOT_SHARED &&
		    TAILQ_FIRST(&other->queues)->vm != first->vm), first);
	if (l->shared == NOT_SHARED)
		return;
	for (other = first->vm->groups[l->shared]; other != g;
	    other = other->next)
		CHECK(other != NULL, first);
	other = TAILQ_NEXT(g, link);
	CHECK(first->s->last[l->shared][g->priority] == g ||
	    (other != NULL && other->priority == g->priority), first);
}

static void
check_limit(const struct slimit *l)
{
	const struct sgroup *g;
	const struct squeue *q;
	unsigned above = PRIORITY_MAX;
	uint32_t n = 0;

	TAILQ_FOREACH(g, &l->groups, link) {
		CHECK(g->priority <= above, NULL);
		above = g->priority;
		check_group(l, g);
		TAILQ_FOREACH(q, &g->queues, park) {
			CHECK(q->parked == l && q->group == g, q);
			CHECK(q->grant == NULL, q);
			CHECK(q->priority == g->priority, q);
			n++;
		}
	}
	CHECK(n == l->nparked && l->leaving <= l->used, NULL);
	if (n == 0)
		return;
	/* Whoever is parked has a reason, and something to wake it. */
	if (l->kind == LIMIT_RATE)
		CHECK(l->granted > 0 || l->timer.pos != 0, NULL);
	else
		CHECK(l->used + l->granted >= l->cap, NULL);
}

static void
check_scope(const struct sscope *sc)
{
	check_limit(&sc->conns);
	check_limit(&sc->connect_rate);
	check_limit(&sc->msg_rate);
	check_limit(&sc->volume);
}

static void
check_rcpt(const struct squeue *q, const struct srcpt *r)
{
	const struct smsg *m = rcpt_msg(r);

	CHECK(r->q == q, q);
	CHECK(r->idx < m->nrcpts && &m->rcpts[r->idx] == r, q);
	CHECK(m->nopen > 0 && m->nopen <= m->nrcpts, q);
	CHECK(m->first <= r->idx && m->rcpts[m->first].state != SR_DONE, q);
	if (r->state == SR_RETRY)
		CHECK(r->u.retry.pos < q->count[SR_RETRY] &&
		    q->heap[r->u.retry.pos] == r, q);
	if ((r->flags & RF_MOVE) != 0)
		CHECK(r->state == SR_INFLIGHT &&
		    vmta_numbered(q->s, r->u.held.vmta) != NULL, q);
	if (r->state == SR_INFLIGHT)
		CHECK(r->u.deliv->open > 0 && r->u.deliv->msg == m, q);
}

/* The number of recipients in a list of a level. */
static uint32_t
check_ready(const struct squeue *q, const struct slevel *lv,
    const struct srcpts *list, int due)
{
	const struct srcpt *r;
	uint32_t n = 0;

	TAILQ_FOREACH(r, list, u.ready) {
		CHECK(r->state == SR_READY && (r->flags & RF_DUE) == due, q);
		CHECK((r->flags & RF_ASTRAY) != 0 ? lv == &q->level :
		    r->priority == lv->priority, q);
		n++;
	}
	return n;
}

/* The same, of all. */
static uint32_t
check_levels(const struct squeue *q)
{
	unsigned above = PRIORITY_MAX + 1;
	const struct slevel *lv;
	uint32_t sum = 0, n;

	TAILQ_FOREACH(lv, &q->levels, link) {
		CHECK(lv->priority < above, q);
		above = lv->priority;
		n = check_ready(q, lv, &lv->fresh, 0) +
		    check_ready(q, lv, &lv->due, RF_DUE);
		CHECK(n > 0, q);
		sum += n;
	}
	return sum;
}

static void
check_lists(const struct squeue *q)
{
	uint32_t count[SR_STATES] = { 0 };
	const struct srcpt *r;
	int64_t last = INT64_MIN;
	bool next_is_live = q->expire_next == NULL;
	const struct sdelays *dl = &q->s->delays;
	bool walk_is_live = dl->q != q || !dl->in || dl->next == NULL;

	TAILQ_FOREACH(r, &q->live, all) {
		next_is_live = next_is_live || r == q->expire_next;
		walk_is_live = walk_is_live || r == dl->next;
		CHECK(r->state <= SR_INFLIGHT, q);
		CHECK(q->unsorted || msg_arrived(q->s, rcpt_msg(r)) >= last, q);
		last = msg_arrived(q->s, rcpt_msg(r));
		check_rcpt(q, r);
		count[r->state]++;
	}
	CHECK(next_is_live && walk_is_live, q);
	TAILQ_FOREACH(r, &q->aside, all) {
		CHECK(r->state == SR_HELD || r->state == SR_BOUNCING, q);
		check_rcpt(q, r);
		count[r->state]++;
	}
	TAILQ_FOREACH(r, &q->trash, all) {
		CHECK(r->state == SR_TRASHED && r->u.trash.number != 0, q);
		check_rcpt(q, r);
		count[r->state]++;
	}
	for (int i = 0; i < SR_STATES; i++)
		CHECK(count[i] == q->count[i], q);
	CHECK(check_levels(q) == q->count[SR_READY], q);
	for (uint32_t i = 1; i < q->count[SR_RETRY]; i++)
		CHECK(q->heap[(i - 1) / 2]->u.retry.due <=
		    q->heap[i]->u.retry.due, q);
}

static void
check_ips(const struct sched *s, const struct svmta *vm)
{
	const struct ssession *se;
	const struct sworker *w;
	const struct soff *o;
	const struct sip *i;

	TAILQ_FOREACH(i, &vm->ips, link) {
		uint32_t sessions = 0, off = 0;

		TAILQ_FOREACH(w, &s->workers, link) {
			TAILQ_FOREACH(se, &w->sessions, wlink)
				sessions += se->ip == i;
		}
		TAILQ_FOREACH(o, &s->off_all, all)
			off += o->counted == i;
		CHECK(sessions == i->nsessions && off == i->noff, NULL);
	}
}

static uint32_t
check_session(const struct squeue *q, const struct ssession *se, int place)
{
	const struct sdeliv *d;
	uint32_t n = 0, inflight = 0;

	CHECK(se->q == q && se->place == place, q);
	CHECK(se->ip == NULL || se->ip->vm == q->vm, q);
	CHECK(se->outstanding <= SCHED_WINDOW, q);
	/* taken before it was disabled, and not looked at yet */
	CHECK(se->state != SE_UP || q->sources_check ||
	    !source_is_off(q->s, q, &se->source), q);
	CHECK(se->max_msgs == 0 || se->handed <= se->max_msgs, q);
	CHECK(!se->dry || (se->state == SE_UP && place == SCHED_WINDOW), q);
	CHECK(se->idle == (se->state == SE_UP && se->outstanding == 0), q);
	TAILQ_FOREACH(d, &se->delivs, link) {
		CHECK(d->se == se && d->open <= d->n, q);
		inflight += d->open;
		n++;
	}
	CHECK(n == se->outstanding, q);
	return inflight;
}

/* Sessions that wait for the rates of their address. */
static void
check_paces(const struct squeue *q)
{
	const struct spacing *p;
	const struct ssession *se;

	TAILQ_FOREACH(p, &q->paces, link) {
		uint32_t n = 0, connecting = 0, dry = 0, in_list = 0;

		for (int i = 0; i <= SCHED_WINDOW; i++) {
			TAILQ_FOREACH(se, &q->sessions[i], qlink) {
				if (se->pace != p)
					continue;
				n++;
				connecting += se->state == SE_CONNECTING;
				dry += se->dry;
			}
		}
		TAILQ_FOREACH(se, &p->dry, dry_link)
			in_list++;
		CHECK(n == p->nsessions && connecting == p->nconnecting, q);
		CHECK(dry == in_list, q);
		CHECK(dry == 0 || p->timer.pos != 0 || q->poke_at != NEVER, q);
		CHECK(q->pace_first != p || q->active || q->all_full == 0 ||
		    p->timer.pos != 0 || q->poke_at != NEVER, q);
	}
}

static void
check_sessions(const struct squeue *q, uint64_t *inflight)
{
	const struct ssession *se;
	uint32_t n = 0, connecting = 0, up = 0;

	for (int i = 0; i <= SCHED_WINDOW; i++) {
		TAILQ_FOREACH(se, &q->sessions[i], qlink) {
			*inflight += check_session(q, se, i);
			n++;
			connecting += se->state == SE_CONNECTING;
			up += se->state == SE_UP;
		}
	}
	CHECK(n == q->nsessions && connecting == q->nconnecting, q);
	CHECK(up == q->nup, q);
	CHECK(q->scope.conns.used == n, q);
	CHECK(q->scope.conns.leaving == n - connecting - up, q);
}

static void
check_queue(const struct squeue *q)
{
	check_lists(q);
	check_scope(&q->scope);
	CHECK(q->priority == q->conf->queue_priority || q->conf_gen !=
	    q->s->conf_gen, q);
	check_paces(q);
	if (q->parked != NULL)
		CHECK(q->parked->nparked > 0, q);
	if (q->grant != NULL)
		CHECK(q->active && q->grant->granted > 0, q);
	/* Something is going to happen to a queue with mail. */
	if (q->count[SR_READY] > 0)
		CHECK(q->active || q->parked != NULL || q->paused ||
		    q->timer.pos != 0 || q->resolving || q->nsessions > 0 ||
		    q->sourceless, q);
	if (q->sourceless)
		CHECK(q->active || q->s->sources_wake > 0 ||
		    q->none_left == q->s->sources_gen, q);
	if (q->sources_check)
		CHECK(q->active, q);
	if (q->count[SR_RETRY] > 0)
		CHECK(q->active || q->timer.pos != 0, q);
	if (!TAILQ_EMPTY(&q->live))
		CHECK(q->expire_at != NEVER, q);
}

/* Its queues, and the sessions that count for it. */
static void
check_site(const struct sched *s, const struct ssite *t)
{
	const struct squeue *q, *member;
	const struct ssession *se;
	uint32_t n = 0, members = 0, used = 0, leaving = 0;

	TAILQ_FOREACH(member, &t->queues, site_link)
		members++;
	TAILQ_FOREACH(q, &s->all_queues, link) {
		n += q->site == t;
		for (int i = 0; t->scope != NULL && i <= SCHED_WINDOW; i++)
			TAILQ_FOREACH(se, &q->sessions[i], qlink)
				for (int k = 0; k < se->path.n; k++) {
					bool in = se->path.scope[k] ==
					    t->scope;

					used += in;
					leaving += in &&
					    se->state == SE_CLOSING;
				}
	}
	CHECK(n == members, NULL);
	CHECK(members > 0 || t->timer.pos != 0, NULL);
	if (t->scope == NULL)
		return;
	check_scope(t->scope);
	CHECK(t->scope->conns.used == used, NULL);
	CHECK(t->scope->conns.leaving == leaving, NULL);
}

/* What is queued and under way in each plan. */
static void
check_warmup(const struct sched *s, const struct swarmup *w)
{
	const struct squeue *q;
	uint64_t n = 0;

	check_scope(&w->scope);
	TAILQ_FOREACH(q, &s->all_queues, link)
		n += q->warmup == w ? squeue_rcpts(q) : 0;
	CHECK(n == w->nrcpts, NULL);
	n = 0;
	for (uint32_t i = 0; i < w->ndays; i++) {
		n += w->days[i].inflight;
		CHECK(i == 0 || w->days[i - 1].day < w->days[i].day, NULL);
	}
	CHECK(n <= s->count[SR_INFLIGHT], NULL);
}

/* Who holds a place of a host, and who waits for one. */
static void
check_dest(const struct sched *s, const struct sdest *d)
{
	uint32_t used = 0, waits = 0, granted = 0, listed = 0;
	const struct ssession *se;
	const struct squeue *q;
	const struct sdwait *w;

	TAILQ_FOREACH(q, &s->all_queues, link) {
		granted += q->dgrant == d;
		for (int i = 0; i <= SCHED_WINDOW; i++)
			TAILQ_FOREACH(se, &q->sessions[i], qlink)
				used += dest_holds(se, d);
		TAILQ_FOREACH(w, &q->dwaits, of_queue)
			waits += w->dest == d;
	}
	TAILQ_FOREACH(w, &d->waits, of_dest) {
		CHECK(w->q->dgrant == NULL, w->q);
		/* what it waits for comes, or it looks again */
		CHECK(d->used + d->granted >= d->cap || w->q->active ||
		    w->q->conf_gen != s->conf_gen, w->q);
		listed++;
	}
	CHECK(used == d->used && granted == d->granted, NULL);
	CHECK(waits == d->nwaits && listed == waits, NULL);
	CHECK(used + waits + granted > 0, NULL);
}

static void
check_dests(const struct sched *s)
{
	const struct squeue *q;
	const struct sdest *d;
	const struct sdwait *w;
	size_t at = 0;

	while ((d = htab_next(&s->dests, &at)) != NULL)
		check_dest(s, d);
	TAILQ_FOREACH(q, &s->all_queues, link) {
		uint32_t n = 0;

		TAILQ_FOREACH(w, &q->dwaits, of_queue)
			n++;
		CHECK(n == q->ndwaits, q);
		CHECK(q->dgrant == NULL || q->active, q);
	}
}

static void
check_sources(const struct sched *s)
{
	const struct squeue *q;
	const struct soff *o;
	uint32_t n = 0, wide = 0, none = 0;

	TAILQ_FOREACH(o, &s->off_all, all) {
		n++;
		wide += o->q == NULL;
		CHECK((o->until_us == 0) == (o->timer.pos == 0), o->q);
	}
	CHECK(n == s->noff && wide == s->noff_wide, NULL);
	TAILQ_FOREACH(q, &s->sourceless, sourceless_link) {
		CHECK(q->sourceless, q);
		none++;
	}
	CHECK(none == s->nsourceless, NULL);
}

static void
check_delays(const struct sched *s)
{
	uint64_t asked = 0, unasked = 0;
	const struct smsg *m;
	size_t at = 0;

	while ((m = sched_msg_next(s, &at)) != NULL) {
		asked += (m->tell & TELL_ASKED) != 0;
		unasked += (m->tell & TELL_UNASKED) != 0;
	}
	CHECK(asked == s->delays.nasked && unasked == s->delays.nunasked,
	    NULL);
}

static void
check_timers(const struct sched *s)
{
	const struct timers *t = &s->timers;

	for (uint32_t i = 1; i <= t->n; i++) {
		CHECK(t->heap[i - 1]->pos == i, NULL);
		CHECK(i == 1 || t->heap[i / 2 - 1]->due <=
		    t->heap[i - 1]->due, NULL);
	}
}

void
sched_check(const struct sched *s)
{
	uint64_t count[SR_STATES] = { 0 }, inflight = 0, sessions = 0;
	uint64_t vm_used = 0, leaving = 0;
	const struct squeue *q;
	const struct svmta *vm;
	const struct svpool *p;
	const struct swarmup *wu;
	const struct ssite *t;
	const struct sworker *w;
	const struct sdeliv *d;

	TAILQ_FOREACH(q, &s->all_queues, link) {
		check_queue(q);
		check_sessions(q, &inflight);
		sessions += q->nsessions;
		leaving += q->scope.conns.leaving;
		for (int i = 0; i < SR_STATES; i++)
			count[i] += q->count[i];
	}
	TAILQ_FOREACH(vm, &s->vmtas, link) {
		check_scope(&vm->scope);
		check_ips(s, vm);
		vm_used += vm->scope.conns.used;
	}
	TAILQ_FOREACH(p, &s->pools, link)
		check_scope(&p->scope);
	TAILQ_FOREACH(t, &s->all_sites, link)
		check_site(s, t);
	TAILQ_FOREACH(wu, &s->warmups, link)
		check_warmup(s, wu);
	TAILQ_FOREACH(w, &s->workers, link) {
		TAILQ_FOREACH(d, &w->kept, link)
			inflight += d->open;
	}
	for (int i = 0; i < SR_STATES; i++)
		CHECK(count[i] == s->count[i], NULL);
	CHECK(inflight == s->count[SR_INFLIGHT], NULL);
	CHECK(sessions == s->nsessions && vm_used == sessions, NULL);
	CHECK(s->scope.conns.used == sessions, NULL);
	CHECK(s->scope.conns.leaving == leaving, NULL);
	CHECK(htab_count(&s->sessions) == sessions, NULL);
	check_scope(&s->scope);
	check_limit(&s->worker_limit);
	check_dests(s);
	check_sources(s);
	check_delays(s);
	check_timers(s);
}
