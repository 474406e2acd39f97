/* SPDX-License-Identifier: ISC */
/*
 * Source addresses: which of its VMTA's a queue uses for its next session, and
 * which are disabled: for one queue (they hang on it), or for any domain or
 * VMTA (few, in a list of their own). A queue that has none left waits, and is
 * woken by whatever enables one.
 */
#include <stdlib.h>
#include <string.h>

#include "qmgr/sched_private.h"

#define OFF_MAX   100000u /* disabled addresses: a listing walks them */
#define WIDE_MAX  1000u   /* those are looked through for each session */
#define RUN_WAKES 500     /* queues that are woken in one sched_run() */

bool
addr_same(const struct route_addr *a, const struct route_addr *b)
{
	return a->family == b->family &&
	    memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

static bool
is_any(struct sv v)
{
	return v.n == 0 || sv_eq(v, SV("*"));
}

static bool
covers(const struct soff *o, const struct squeue *q)
{
	return (is_any(o->domain) || sv_ieq(o->domain, q->domain)) &&
	    (is_any(o->vmta) || sv_ieq(o->vmta, q->vmta));
}

bool
source_is_off(const struct sched *s, const struct squeue *q,
    const struct route_addr *ip)
{
	const struct soff *o;

	TAILQ_FOREACH(o, &q->off, of) {
		if (addr_same(&o->ip, ip))
			return true;
	}
	TAILQ_FOREACH(o, &s->off_wide, of) {
		if (addr_same(&o->ip, ip) && covers(o, q))
			return true;
	}
	return false;
}

/* ---- the choice ---- */

const struct route_addr *
source_at(const struct squeue *q, uint32_t i)
{
	static const struct route_addr system_chooses;
	const struct conf_srchosts *v = q->vm->sources;

	return v == NULL || v->n == 0 ? &system_chooses : &v->v[i].ip;
}

uint32_t
sources_count(const struct squeue *q)
{
	const struct conf_srchosts *v = q->vm->sources;

	return v == NULL || v->n == 0 ? 1 : v->n;
}

/* Connections that the queue may have from this address; UINT32_MAX: no limit.
 * Of several networks the smallest holds. */
static uint32_t
source_most(const struct squeue *q, const struct route_addr *ip)
{
	const struct conf_cidr_nums *l = &q->conf->source_ip_max_smtp_out;
	uint32_t most = 0;
	int bits = -1;

	for (uint32_t i = 0; i < l->n; i++) {
		if ((int)l->v[i].cidr.bits < bits ||
		    !conf_cidr_has(&l->v[i].cidr, ip))
			continue;
		bits = l->v[i].cidr.bits;
		most = l->v[i].n;
	}
	return most == 0 ? UINT32_MAX : most;
}

static uint32_t
source_used(const struct squeue *q, const struct route_addr *ip)
{
	const struct ssession *se;
	uint32_t n = 0;

	for (int i = 0; i <= SCHED_WINDOW; i++) {
		TAILQ_FOREACH(se, &q->sessions[i], qlink)
			n += addr_same(&se->source, ip);
	}
	return n;
}

bool
source_is_full(const struct squeue *q, const struct route_addr *ip)
{
	uint32_t most;

	if (q->conf->source_ip_max_smtp_out.n == 0)
		return false;
	most = source_most(q, ip);
	return most <= q->nsessions && source_used(q, ip) >= most;
}

/* What keeps a session from there; *due_r is when that ends, or NEVER.
 * WAIT_WORKERS: without memory it is not known. */
static enum sched_wait
source_wait(struct sched *s, struct squeue *q, uint32_t at, int64_t *due_r,
    struct spacing **p_r)
{
	enum sched_wait wait;

	*due_r = NEVER;
	*p_r = NULL;
	if (source_is_off(s, q, source_at(q, at)))
		return WAIT_SOURCES;
	if (source_is_full(q, source_at(q, at)))
		return WAIT_CONN_SOURCE;
	if (!pace_get(s, q, at, p_r)) {
		q->poke_at = sched_mono(s) + NO_MEMORY_US;
		return WAIT_WORKERS;
	}
	wait = *p_r == NULL ? WAIT_NOTHING : pace_wait(s, *p_r, due_r);
	if (wait != WAIT_NOTHING)
		return wait;
	wait = dest_wait(s, q, at);
	if (wait == WAIT_WORKERS)
		q->poke_at = sched_mono(s) + NO_MEMORY_US;
	return wait;
}

/* Of several reasons the one that ends first is told. */
enum sched_wait
source_choose(struct sched *s, struct squeue *q, uint32_t *index_r)
{
	uint32_t n = sources_count(q);
	enum sched_wait wait = WAIT_SOURCES;
	int64_t first = NEVER;

	q->chooses = true;
	if (q->none_left == s->sources_gen)
		return WAIT_SOURCES;
	if (q->all_full == s->sources_gen)
		return q->full_wait;
	q->pace_first = NULL;
	dest_choice_begin(q);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = (uint32_t)((q->source_turn + i) % n);
		struct spacing *p;
		int64_t due;
		enum sched_wait w = source_wait(s, q, at, &due, &p);

		if (w == WAIT_NOTHING || w == WAIT_WORKERS) {
			*index_r = at;
			q->chooses = false;
			dest_choice_end(q, true);
			return w;
		}
		if (w == WAIT_SOURCES || (wait != WAIT_SOURCES && due >= first))
			continue;
		wait = w;
		first = due;
		q->pace_first = due == NEVER ? NULL : p;
	}
	dest_choice_end(q, false);
	if (wait != WAIT_SOURCES) {
		q->all_full = s->sources_gen;
		q->full_wait = wait;
		return wait;
	}
	q->none_left = s->sources_gen;
	react_sourceless(s, q);
	return WAIT_SOURCES;
}

void
source_take(struct sched *s, struct squeue *q, struct ssession *se,
    uint32_t index)
{
	q->source_turn = (index + 1) % sources_count(q);
	se->source = *source_at(q, index);
	se->source_index = index;
	se->ip = ip_get(q->vm, &se->source);
	if (se->ip != NULL)
		se->ip->nsessions++;
	ip_count(s, se->ip, IP_OPENED);
}

/* ---- queues that have none left ---- */

void
sourceless_set(struct sched *s, struct squeue *q, bool on)
{
	if (q->sourceless == on)
		return;
	q->sourceless = on;
	if (on) {
		TAILQ_INSERT_TAIL(&s->sourceless, q, sourceless_link);
		s->nsourceless++;
	} else {
		TAILQ_REMOVE(&s->sourceless, q, sourceless_link);
		s->nsourceless--;
	}
}

/* Something is enabled, or there are new settings: all of them look again, in
 * slices. */
void
sources_changed(struct sched *s)
{
	s->sources_gen++;
	s->sources_wake = s->nsourceless;
}

/* Those that find none stand behind the others then. */
bool
sources_wake(struct sched *s)
{
	struct squeue *q;

	for (int i = 0; i < RUN_WAKES && s->sources_wake > 0; i++) {
		s->sources_wake--;
		q = TAILQ_FIRST(&s->sourceless);
		if (q == NULL) {
			s->sources_wake = 0;
			break;
		}
		sourceless_set(s, q, false);
		queue_activate(s, q);
	}
	return s->sources_wake > 0;
}

/* ---- what is disabled ---- */

static void
off_free(struct sched *s, struct soff *o)
{
	(void)timer_set(&s->timers, &o->timer, NEVER);
	TAILQ_REMOVE(&s->off_all, o, all);
	if (o->q != NULL) {
		TAILQ_REMOVE(&o->q->off, o, of);
		if (o->counted != NULL)
			o->counted->noff--;
	} else {
		TAILQ_REMOVE(&s->off_wide, o, of);
		s->noff_wide--;
	}
	s->noff--;
	free(o);
}

static void
off_end(struct sched *s, struct soff *o)
{
	struct squeue *q = o->q;

	off_free(s, o);
	if (q == NULL) {
		sources_changed(s);
		return;
	}
	q->none_left = q->all_full = 0;
	queue_activate(s, q);
}

void
source_timer(struct sched *s, struct stimer *t)
{
	off_end(s, (struct soff *)((uintptr_t)t -
	    offsetof(struct soff, timer)));
}

void
queue_sources_free(struct sched *s, struct squeue *q)
{
	struct soff *o;

	while ((o = TAILQ_FIRST(&q->off)) != NULL)
		off_free(s, o);
	sourceless_set(s, q, false);
}

void
sources_free(struct sched *s)
{
	struct soff *o;

	while ((o = TAILQ_FIRST(&s->off_all)) != NULL)
		off_free(s, o);
}

static struct soff *
off_find(struct sched *s, const struct squeue *q,
    const struct sched_source *so)
{
	struct soff *o;

	TAILQ_FOREACH(o, q != NULL ? &q->off : &s->off_wide, of) {
		if (addr_same(&o->ip, &so->ip) &&
		    (q != NULL || (sv_ieq(o->domain, so->domain) &&
		    sv_ieq(o->vmta, so->vmta))))
			return o;
	}
	return NULL;
}

static struct sv
text_put(char **to, struct sv v)
{
	struct sv r = sv_make(*to, v.n);

	if (v.n > 0)
		memcpy(*to, v.p, v.n);
	*to += v.n;
	return r;
}

static struct soff *
off_new(struct sched *s, struct squeue *q, const struct sched_source *so)
{
	size_t n = so->domain.n + so->vmta.n + so->reason.n + so->who.n;
	struct soff *o;
	char *to;

	if (s->noff >= OFF_MAX || (q == NULL && s->noff_wide >= WIDE_MAX))
		return NULL;
	o = calloc(1, sizeof(*o) + n);
	if (o == NULL)
		return NULL;
	to = o->text;
	o->q = q;
	o->ip = so->ip;
	o->timer.kind = TIMER_SOURCE;
	o->domain = text_put(&to, so->domain);
	o->vmta = text_put(&to, so->vmta);
	o->reason = text_put(&to, so->reason);
	o->who = text_put(&to, so->who);
	o->since_us = so->since_us;
	o->until_us = so->until_us;
	TAILQ_INSERT_TAIL(&s->off_all, o, all);
	if (q != NULL) {
		TAILQ_INSERT_TAIL(&q->off, o, of);
		o->counted = ip_get(q->vm, &o->ip);
		if (o->counted != NULL)
			o->counted->noff++;
	} else {
		TAILQ_INSERT_TAIL(&s->off_wide, o, of);
		s->noff_wide++;
	}
	s->noff++;
	return o;
}

/* Sessions from that address are to be closed. They are few compared with
 * queues: the total limit bounds them. */
static void
sessions_check(struct sched *s, struct squeue *q)
{
	const struct ssession *se;
	const struct sworker *w;

	if (q != NULL) {
		q->sources_check = true;
		queue_activate(s, q);
		return;
	}
	TAILQ_FOREACH(w, &s->workers, link) {
		TAILQ_FOREACH(se, &w->sessions, wlink) {
			se->q->sources_check = true;
			queue_activate(s, se->q);
		}
	}
}

static bool
off_set(struct sched *s, struct squeue *q, const struct sched_source *so)
{
	struct soff *old = off_find(s, q, so), *o;
	int64_t due = NEVER;

	if (so->until_us != 0)
		due = so->until_us - s->now.wall.us + sched_mono(s);
	if (due <= sched_mono(s)) {
		if (old != NULL)
			off_end(s, old);
		return true;
	}
	o = off_new(s, q, so);
	if (o == NULL)
		return false;
	if (!timer_set(&s->timers, &o->timer, due)) {
		off_free(s, o);
		return false;
	}
	if (old != NULL)
		off_free(s, old);
	sessions_check(s, q);
	return true;
}

bool
sched_source_disable(struct sched *s, struct sched_now now,
    const struct sched_source *so)
{
	struct squeue *q = NULL;

	sched_clock_advance(s, now);
	if (!is_any(so->domain) && !is_any(so->vmta)) {
		q = queue_get(s, so->domain, so->vmta);
		if (q == NULL)
			return false;
	}
	return off_set(s, q, so);
}

/* Is all that o means meant by the names? */
static bool
is_within(const struct soff *o, struct sv domain, struct sv vmta)
{
	return (is_any(domain) || sv_ieq(o->domain, domain)) &&
	    (is_any(vmta) || sv_ieq(o->vmta, vmta));
}

uint32_t
sched_source_enable(struct sched *s, struct sched_now now, struct sv domain,
    struct sv vmta, const struct route_addr *ip)
{
	struct soff *o, *next;
	uint32_t n = 0;

	sched_clock_advance(s, now);
	for (o = TAILQ_FIRST(&s->off_all); o != NULL; o = next) {
		next = TAILQ_NEXT(o, all);
		if (!addr_same(&o->ip, ip) || !is_within(o, domain, vmta))
			continue;
		off_end(s, o);
		n++;
	}
	return n;
}

bool
sched_source_next(const struct sched *s, const void **at,
    struct sched_source *so_r)
{
	const struct soff *o = *at;

	o = o == NULL ? TAILQ_FIRST(&s->off_all) : TAILQ_NEXT(o, all);
	if (o == NULL)
		return false;
	*at = o;
	*so_r = (struct sched_source){ .domain = o->domain, .vmta = o->vmta,
		.ip = o->ip, .until_us = o->until_us,
		.since_us = o->since_us, .reason = o->reason, .who = o->who };
	return true;
}

/* A reply has disabled it: the first says so, the others find it done. */
void
source_react(struct sched *s, struct squeue *q, const struct conf_reply *rule,
    const struct route_addr *ip, struct sv reply)
{
	int64_t ms = rule->reenable_after_ms;
	struct sched_source so = { .domain = q->domain, .vmta = q->vmta,
		.since_us = s->now.wall.us, .reason = sv_head(reply, 256),
		.who = SV("smtp-pattern-list") };

	if (ip == NULL || source_is_off(s, q, ip))
		return;
	so.ip = *ip;
	if (ms == 0)
		ms = q->conf->reenable_source_ip_after_ms;
	if (ms != 0 && ms != CONF_NEVER)
		so.until_us = s->now.wall.us + ms * US_PER_MS;
	if (off_set(s, q, &so) && s->ops->source_disabled != NULL)
		s->ops->source_disabled(s->arg, &so, rule);
}
