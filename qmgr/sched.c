/* SPDX-License-Identifier: ISC */
/*
 * The scheduler as a whole: its life, its clock, its turns.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/siphash.h"
#include "qmgr/sched_private.h"

static uint64_t
msg_hash(const void *entry)
{
	return ((const struct smsg *)entry)->id;
}

static uint64_t
queue_hash(const void *entry)
{
	const struct squeue *q = entry;

	return siphash24(q->s->hash_key, q->name.p, q->name.n);
}

static uint64_t
session_hash(const void *entry)
{
	return ((const struct ssession *)entry)->id;
}

/* splitmix64 */
static uint64_t
mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

int64_t
sched_jitter(const struct sched *s, uint64_t key, int64_t lo, int64_t hi)
{
	if (hi <= lo)
		return lo;
	return lo + (int64_t)(mix(s->seed ^ mix(key)) %
	    ((uint64_t)(hi - lo) + 1));
}

static void
global_conf(struct sched *s)
{
	uint32_t most = conf_global(s->conf)->total_max_smtp_out;

	limit_cap(s, &s->scope.conns, most == 0 ? UINT32_MAX : most);
}

struct sched *
sched_new(const struct sched_ops *ops, void *arg, const struct conf *conf,
    uint64_t seed)
{
	struct sched *s = calloc(1, sizeof(*s));

	if (s == NULL)
		mem_exhausted();
	s->ops = ops;
	s->arg = arg;
	s->conf = conf;
	s->conf_gen = 1;
	s->seed = seed;
	s->hash_key[0] = mix(seed);
	s->hash_key[1] = mix(~seed);
	/* Not those of the process before: its results may still come. */
	s->next_session = (mix(seed + 1) & 0x7fffffff00000000u) | 1;
	htab_init(&s->msgs, msg_hash);
	htab_init(&s->queues, queue_hash);
	htab_init(&s->sessions, session_hash);
	htab_init(&s->sites, site_hash);
	htab_init(&s->dests, dest_hash);
	TAILQ_INIT(&s->all_sites);
	TAILQ_INIT(&s->all_queues);
	TAILQ_INIT(&s->walks);
	TAILQ_INIT(&s->resolving);
	TAILQ_INIT(&s->vmtas);
	TAILQ_INIT(&s->pools);
	TAILQ_INIT(&s->warmups);
	TAILQ_INIT(&s->active);
	TAILQ_INIT(&s->workers);
	TAILQ_INIT(&s->idle);
	TAILQ_INIT(&s->off_all);
	TAILQ_INIT(&s->off_wide);
	TAILQ_INIT(&s->sourceless);
	s->sources_gen = 1;
	scope_init(&s->scope, WAIT_CONN_GLOBAL, WAIT_CONN_RATE,
	    WAIT_MSG_RATE);
	s->scope.conns.shared = SHARED_CONNS;
	limit_init(&s->worker_limit, LIMIT_CONNS, WAIT_WORKERS);
	s->worker_limit.shared = SHARED_WORKERS;
	s->worker_limit.cap = 0;
	global_conf(s);
	pools_conf(s);
	warmups_conf(s);
	return s;
}

void
sched_free(struct sched **sp)
{
	struct sched *s = *sp;
	struct squeue *q;
	struct smsg *m;
	size_t at = 0;

	if (s == NULL)
		return;
	*sp = NULL;
	walks_end(s);
	workers_free(s);
	while ((m = htab_next(&s->msgs, &at)) != NULL)
		free(m);
	while ((q = TAILQ_FIRST(&s->all_queues)) != NULL)
		queue_free(s, q);
	sites_free(s);
	dests_free(s);
	warmups_free(s);
	sources_free(s);
	vmtas_free(s);
	pools_free(s);
	htab_fini(&s->msgs);
	htab_fini(&s->queues);
	htab_fini(&s->sessions);
	htab_fini(&s->sites);
	timers_fini(&s->timers);
	free(s);
}

void
sched_conf_set(struct sched *s, struct sched_now now, const struct conf *conf)
{
	struct svmta *vm;

	sched_clock_advance(s, now);
	s->conf = conf;
	s->conf_gen++;
	s->delays.every_ms = 0;
	global_conf(s);
	pools_conf(s);
	TAILQ_FOREACH(vm, &s->vmtas, link)
		vmta_conf(s, vm);
	warmups_conf(s);
	dests_conf(s);
	sources_changed(s);
	s->conf_walk = TAILQ_FIRST(&s->all_queues);
}

/* The queues learn of new settings in slices (or when they are used). */
static void
conf_walk(struct sched *s)
{
	for (int i = 0; i < RUN_CONF_QUEUES && s->conf_walk != NULL; i++) {
		struct squeue *q = s->conf_walk;

		s->conf_walk = TAILQ_NEXT(q, link);
		(void)queue_conf(s, q);
	}
}

/* ---- time ---- */

/*
 * s->clock is the wall clock for lifetimes. It follows the wall clock as long
 * as that agrees with the monotonic clock to an hour. A greater jump, forward
 * or back, is remembered as a skew and not followed; each message remembers
 * which skew its arrival time has. So no jump makes anything older or younger.
 */
void
sched_clock_advance(struct sched *s, struct sched_now now)
{
	int64_t passed, off;

	if (!s->started) {
		s->started = true;
		s->now = now;
		s->clock = now.wall.us;
		return;
	}
	passed = now.mono.us - s->now.mono.us;
	if (passed < 0) {
		passed = 0;
		now.mono = s->now.mono;
	}
	s->now = now;
	s->clock += passed;
	off = now.wall.us - s->skew[s->nskew] - s->clock;
	if (off <= CLOCK_JUMP_US && off >= -CLOCK_JUMP_US) {
		s->clock += off;
		return;
	}
	if (s->nskew < CLOCKS - 1)
		s->nskew++;
	s->skew[s->nskew] = now.wall.us - s->clock;
}

static void
timer_fire(struct sched *s, struct stimer *t)
{
	struct slimit *l;
	struct squeue *q;

	(void)timer_set(&s->timers, t, NEVER);
	if (t->kind == TIMER_SOURCE) {
		source_timer(s, t);
		return;
	}
	if (t->kind == TIMER_PACE) {
		pace_timer(s, t);
		return;
	}
	if (t->kind == TIMER_SITE) {
		site_timer(s, t);
		return;
	}
	if (t->kind == TIMER_LIMIT) {
		l = (struct slimit *)((uintptr_t)t -
		    offsetof(struct slimit, timer));
		limit_wake(s, l);
		return;
	}
	q = (struct squeue *)((uintptr_t)t - offsetof(struct squeue, timer));
	queue_activate(s, q);
}

static bool
timers_due(const struct sched *s)
{
	const struct stimer *t = timers_first(&s->timers);

	return t != NULL && t->due <= sched_mono(s);
}

/* ---- turns ---- */

/* The VMTA at the front gives turns to its queues until its deficit is used
 * up, then it goes to the end. */
static void
vmta_turns(struct sched *s, struct svmta *vm, uint32_t *turns)
{
	vm->deficit += VMTA_QUANTUM;
	while (vm->deficit > 0 && *turns > 0) {
		struct squeue *q = TAILQ_FIRST(&vm->active);
		bool again;

		if (q == NULL)
			break;
		(*turns)--;
		TAILQ_REMOVE(&vm->active, q, active_link);
		q->active = false;
		vm->deficit -= 1 + (int64_t)queue_turn(s, q, &again);
		if (again)
			queue_activate(s, q);
	}
	TAILQ_REMOVE(&s->active, vm, active_link);
	if (TAILQ_EMPTY(&vm->active)) {
		vm->active_on = false;
		vm->deficit = 0;
		return;
	}
	TAILQ_INSERT_TAIL(&s->active, vm, active_link);
}

bool
sched_run(struct sched *s, struct sched_now now)
{
	uint32_t turns = RUN_TURNS;

	sched_clock_advance(s, now);
	s->give_ups_left = RUN_GIVE_UPS;
	s->promotions_left = RUN_PROMOTIONS;
	conf_walk(s);
	warmups_turn(s);
	for (int i = 0; i < RUN_TIMERS && timers_due(s); i++)
		timer_fire(s, timers_first(&s->timers));
	(void)sources_wake(s);
	while (turns > 0 && !TAILQ_EMPTY(&s->active))
		vmta_turns(s, TAILQ_FIRST(&s->active), &turns);
	return !TAILQ_EMPTY(&s->active) || timers_due(s) ||
	    s->conf_walk != NULL || s->sources_wake > 0;
}

struct mono
sched_next(const struct sched *s)
{
	const struct stimer *t = timers_first(&s->timers);

	if (!TAILQ_EMPTY(&s->active) || s->conf_walk != NULL ||
	    s->warmup_at < s->now.mono.us || s->sources_wake > 0)
		return s->now.mono;
	return (struct mono){ t != NULL && t->due < s->warmup_at ? t->due :
	    s->warmup_at };
}

/* ---- routes ---- */

static const struct {
	const char *status, *text;
} route_failures[ROUTE_STATUSES] = {
	[ROUTE_NO_DOMAIN] = { "5.1.2", "no such domain" },
	[ROUTE_NULL_MX] = { "5.1.10", "domain accepts no mail (null MX)" },
	[ROUTE_UNUSABLE] = { "5.4.4", "mail exchangers have no address" },
	[ROUTE_SELF] = { "5.4.6", "mail loops back to us" },
	[ROUTE_TEMPORARY] = { "4.4.3", "name server failure" },
	[ROUTE_AGAIN] = { "4.4.3", "the resolver lacks memory" },
};

static struct sched_why
route_why(enum route_status status, const struct sched_why *why)
{
	struct sched_why w = { .status = SV(""), .diag = SV("") };

	if (why != NULL)
		w = *why;
	if (w.status.n == 0)
		w.status = sv_from(route_failures[status].status);
	if (w.diag.n == 0)
		w.diag = sv_from(route_failures[status].text);
	return w;
}

void
sched_route(struct sched *s, struct sched_now now, struct squeue *q,
    enum route_status status, int64_t ttl_ms, const struct sched_why *why)
{
	struct sched_why w = route_why(status, why);

	sched_clock_advance(s, now);
	if (q->resolving) {
		q->resolving = false;
		TAILQ_REMOVE(&s->resolving, q, resolve_link);
		queue_took(q, TIME_DNS, sched_mono(s) - q->asked_at);
	}
	dest_route_changed(q);
	queue_activate(s, q);
	if (status == ROUTE_TEMPORARY || status == ROUTE_AGAIN) {
		queue_fail(s, q, &queue_conf(s, q)->retry_after_dns_error,
		    &q->dns_failures, &w);
		return;
	}
	/* An answer for no time at all serves what is ready now. */
	if (ttl_ms < ROUTE_LEAST_MS)
		ttl_ms = ROUTE_LEAST_MS;
	q->route = status;
	q->route_until = sched_mono(s) + ttl_ms * US_PER_MS;
	q->dns_failures = 0;
	if (status == ROUTE_OK)
		return;
	queue_error_set(s, q, &w);
	q->doomed = true;
}

void
sched_routes_forget(struct sched *s)
{
	struct squeue *q;

	while ((q = TAILQ_FIRST(&s->resolving)) != NULL) {
		TAILQ_REMOVE(&s->resolving, q, resolve_link);
		q->resolving = false;
		queue_activate(s, q);
	}
}
