/* SPDX-License-Identifier: ISC */
/*
 * Queues and VMTAs: the table, their settings, their state as the operator
 * sees it.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/siphash.h"
#include "qmgr/sched_private.h"

struct queue_key {
	struct sv name;
};

static bool
queue_match(const void *entry, const void *key)
{
	const struct squeue *q = entry;
	const struct queue_key *k = key;

	return sv_eq(q->name, k->name);
}

/* "domain/vmta", the domain in small letters; false if it is too long. */
static bool
queue_name(struct sv domain, struct sv vmta, char out[QUEUE_NAME_MAX],
    struct sv *name_r)
{
	if (domain.n + vmta.n + 1 > QUEUE_NAME_MAX)
		return false;
	for (size_t i = 0; i < domain.n; i++)
		out[i] = ascii_lower(domain.p[i]);
	out[domain.n] = '/';
	if (vmta.n > 0)
		memcpy(out + domain.n + 1, vmta.p, vmta.n);
	*name_r = sv_make(out, domain.n + 1 + vmta.n);
	return true;
}

struct squeue *
sched_queue_find(const struct sched *s, struct sv domain, struct sv vmta)
{
	char buf[QUEUE_NAME_MAX];
	struct queue_key k;

	if (!queue_name(domain, vmta, buf, &k.name))
		return NULL;
	return htab_find(&s->queues,
	    siphash24(s->hash_key, k.name.p, k.name.n), queue_match, &k);
}

/* ---- VMTAs and pools: few, so lists do ---- */

static uint32_t
cap_of(uint32_t n)
{
	return n == 0 ? UINT32_MAX : n;
}

struct svmta *
vmta_get(struct sched *s, struct sv name)
{
	struct svmta *vm;

	TAILQ_FOREACH(vm, &s->vmtas, link) {
		if (sv_eq(vm->name, name))
			return vm;
	}
	vm = calloc(1, sizeof(*vm) + name.n + 1);
	if (vm == NULL)
		return NULL;
	vm->s = s;
	vm->text[0] = '/';
	if (name.n > 0)
		memcpy(vm->text + 1, name.p, name.n);
	vm->path_name = sv_make(vm->text, name.n + 1);
	vm->name = sv_from_at(vm->path_name, 1);
	scope_init(&vm->scope, WAIT_CONN_VMTA, WAIT_CONN_RATE,
	    WAIT_VMTA_RATE);
	TAILQ_INIT(&vm->idle);
	TAILQ_INIT(&vm->warmups);
	TAILQ_INIT(&vm->active);
	TAILQ_INIT(&vm->ips);
	vm->number = s->nvmtas++;
	TAILQ_INSERT_TAIL(&s->vmtas, vm, link);
	vmta_conf(s, vm);
	return vm;
}

struct svmta *
vmta_numbered(const struct sched *s, uint32_t number)
{
	struct svmta *vm;

	TAILQ_FOREACH(vm, &s->vmtas, link) {
		if (vm->number == number)
			return vm;
	}
	return NULL;
}

struct svpool *
pool_get(struct sched *s, struct sv name)
{
	struct svpool *p;
	char *text;

	TAILQ_FOREACH(p, &s->pools, link) {
		if (sv_ieq(p->name, name))
			return p;
	}
	p = calloc(1, sizeof(*p));
	text = malloc(name.n + 2);
	if (p == NULL || text == NULL) {
		free(p);
		free(text);
		return NULL;
	}
	text[0] = text[1] = '/';
	if (name.n > 0)
		memcpy(text + 2, name.p, name.n);
	p->path_name = sv_make(text, name.n + 2);
	p->name = sv_from_at(p->path_name, 2);
	scope_init(&p->scope, WAIT_CONN_POOL, WAIT_CONN_RATE, WAIT_POOL_RATE);
	TAILQ_INSERT_TAIL(&s->pools, p, link);
	return p;
}

/* A pool that is no longer configured limits nothing. */
void
pools_conf(struct sched *s)
{
	static const struct conf_rate no_limit;
	struct svpool *p;

	for (size_t i = 0; i < conf_npools(s->conf); i++)
		(void)pool_get(s, conf_pool(s->conf, i)->name);
	TAILQ_FOREACH(p, &s->pools, link) {
		const struct conf_pool *c = conf_pool_find(s->conf, p->name);

		limit_cap(s, &p->scope.conns, c == NULL ? UINT32_MAX :
		    cap_of(c->max_smtp_out));
		limit_rate(s, &p->scope.msg_rate, c == NULL ? &no_limit :
		    &c->max_smtp_msg_rate);
		limit_volume(s, &p->scope.volume, c == NULL ? &no_limit :
		    &c->max_smtp_data_volume_rate);
	}
}

void
pools_free(struct sched *s)
{
	struct svpool *p;

	while ((p = TAILQ_FIRST(&s->pools)) != NULL) {
		TAILQ_REMOVE(&s->pools, p, link);
		(void)timer_set(&s->timers, &p->scope.msg_rate.timer, NEVER);
		(void)timer_set(&s->timers, &p->scope.volume.timer, NEVER);
		free((char *)(uintptr_t)p->path_name.p);
		free(p);
	}
}

static bool
pool_has(const struct conf_pool *c, struct sv vmta)
{
	for (uint32_t i = 0; i < c->virtual_mta.n; i++) {
		if (sv_ieq(c->virtual_mta.v[i].name, vmta))
			return true;
	}
	return false;
}

/* The pools that a VMTA is in. */
static void
vmta_pools(struct sched *s, struct svmta *vm)
{
	vm->npools = 0;
	for (size_t i = 0; i < conf_npools(s->conf); i++) {
		const struct conf_pool *c = conf_pool(s->conf, i);
		struct svpool *p;

		if (pool_has(c, vm->name) &&
		    (p = pool_get(s, c->name)) != NULL)
			vm->pools[vm->npools++] = p;
	}
}

void
vmta_conf(struct sched *s, struct svmta *vm)
{
	const struct conf_vmta *c = conf_vmta_find(s->conf, vm->name);
	static const struct conf_rate no_limit;

	limit_cap(s, &vm->scope.conns, c == NULL ? UINT32_MAX :
	    cap_of(c->max_smtp_out));
	limit_rate(s, &vm->scope.msg_rate, c == NULL ? &no_limit :
	    &c->max_smtp_msg_rate);
	limit_volume(s, &vm->scope.volume, c == NULL ? &no_limit :
	    &c->max_smtp_data_volume_rate);
	vm->sources = c == NULL ? NULL : &c->smtp_source_host;
	ips_conf(vm);
	vmta_pools(s, vm);
}

void
vmtas_free(struct sched *s)
{
	struct svmta *vm;

	while ((vm = TAILQ_FIRST(&s->vmtas)) != NULL) {
		TAILQ_REMOVE(&s->vmtas, vm, link);
		(void)timer_set(&s->timers, &vm->scope.msg_rate.timer, NEVER);
		(void)timer_set(&s->timers, &vm->scope.volume.timer, NEVER);
		ips_free(vm);
		free(vm);
	}
}

/* ---- queues ---- */

const struct conf_rate *
rate_lower(const struct conf_rate *a, const struct conf_rate *b)
{
	if (a->period_ms == 0 || b->period_ms == 0)
		return a->period_ms == 0 ? b : a;
	return (double)a->n / (double)a->period_ms <=
	    (double)b->n / (double)b->period_ms ? a : b;
}

/* Mode backoff never allows more than mode normal does. */
void
queue_usual_limits(const struct squeue *q, uint32_t *most,
    const struct conf_rate **rate)
{
	const struct conf_domain *c = q->conf;

	*most = cap_of(c->max_smtp_out);
	*rate = &c->max_msg_rate;
	if (!q->backoff)
		return;
	if (cap_of(c->backoff_max_smtp_out) < *most)
		*most = cap_of(c->backoff_max_smtp_out);
	*rate = rate_lower(*rate, &c->backoff_max_msg_rate);
}

/* A pause between connections is a rate of them, too. */
struct conf_rate
rampup_rate(const struct conf_domain *c)
{
	struct conf_rate r = { .n = 1,
		.period_ms = c->smtp_out_rampup_interval_ms };

	return r;
}

/* Sessions that are over a lower limit go on; no new ones are opened. */
void
queue_limits_apply(struct sched *s, struct squeue *q)
{
	const struct conf_rate *connects = &q->conf->max_connect_rate, *msgs;
	const struct conf_rate *volume = &q->conf->max_data_volume_rate;
	const struct conf_rate rampup = rampup_rate(q->conf);
	uint32_t most;

	queue_usual_limits(q, &most, &msgs);
	react_limits(q, &most, &msgs);
	adapt_limits(q, &most, &msgs);
	if (q->backoff) {
		connects = rate_lower(connects,
		    &q->conf->backoff_max_connect_rate);
		volume = rate_lower(volume,
		    &q->conf->backoff_max_data_volume_rate);
	}
	connects = rate_lower(connects, &rampup);
	limit_cap(s, &q->scope.conns, most);
	limit_rate(s, &q->scope.connect_rate, connects);
	limit_rate(s, &q->scope.msg_rate, msgs);
	limit_volume(s, &q->scope.volume, volume);
}

static bool
path_same(const struct spath *a, const struct spath *b)
{
	for (int i = 0; i < a->n && i < b->n; i++) {
		if (a->scope[i] != b->scope[i])
			return false;
	}
	return a->n == b->n;
}

/* Who waits on a limit that is not on the new path looks again. */
static void
queue_path_set(struct sched *s, struct squeue *q)
{
	struct swarmup *w = warmup_of(q->vm, q->domain);
	struct spath p = { 0 };

	p.scope[p.n++] = &q->scope;
	if (q->site != NULL && q->site->scope != NULL)
		p.scope[p.n++] = q->site->scope;
	p.scope[p.n++] = &q->vm->scope;
	for (int i = 0; i < q->vm->npools; i++)
		p.scope[p.n++] = &q->vm->pools[i]->scope;
	if (w != NULL)
		p.scope[p.n++] = &w->scope;
	p.scope[p.n++] = &s->scope;
	queue_warmup_set(q, w);
	if (path_same(&p, &q->path))
		return;
	queue_unpark(s, q);
	queue_grant_end(s, q);
	q->path = p;
}

/* One that waits for a turn waits among others then. */
static void
queue_priority_set(struct sched *s, struct squeue *q)
{
	uint8_t priority = (uint8_t)q->conf->queue_priority;

	if (q->priority == priority)
		return;
	queue_unpark(s, q);
	q->priority = priority;
	queue_activate(s, q);
}

static void
queue_conf_apply(struct sched *s, struct squeue *q)
{
	q->conf = conf_rolled_find(s->conf, q->vmta, q->domain,
	    squeue_rollup(q));
	q->conf_gen = s->conf_gen;
	queue_priority_set(s, q);
	queue_path_set(s, q);
	site_conf(s, q);
	react_conf(s, q);
	adapt_conf(s, q);
	queue_limits_apply(s, q);
	pace_conf(s, q);
	delays_conf(s, q);
}

const struct conf_times *
queue_retry_after(struct sched *s, struct squeue *q)
{
	const struct conf_domain *c = queue_conf(s, q);

	return q->backoff ? &c->backoff_retry_after : &c->retry_after;
}

void
queue_conf_again(struct sched *s, struct squeue *q)
{
	queue_conf_apply(s, q);
	/* The lifetime may be shorter now. */
	q->expire_at = sched_mono(s);
	queue_activate(s, q);
}

const struct conf_domain *
queue_conf(struct sched *s, struct squeue *q)
{
	if (q->conf_gen != s->conf_gen)
		queue_conf_again(s, q);
	return q->conf;
}

static void
queue_init(struct sched *s, struct squeue *q, struct sv name, size_t ndomain)
{
	memcpy(q->text, name.p, name.n);
	q->s = s;
	q->name = sv_make(q->text, name.n);
	q->domain = sv_head(q->name, ndomain);
	q->vmta = sv_from_at(q->name, ndomain + 1);
	TAILQ_INIT(&q->level.fresh);
	TAILQ_INIT(&q->level.due);
	TAILQ_INIT(&q->levels);
	TAILQ_INIT(&q->live);
	TAILQ_INIT(&q->aside);
	TAILQ_INIT(&q->off);
	TAILQ_INIT(&q->trash);
	TAILQ_INIT(&q->paces);
	TAILQ_INIT(&q->dwaits);
	for (int i = 0; i <= SCHED_WINDOW; i++)
		TAILQ_INIT(&q->sessions[i]);
	scope_init(&q->scope, WAIT_CONN_QUEUE, WAIT_CONN_RATE, WAIT_MSG_RATE);
	q->timer.kind = TIMER_QUEUE;
	q->expire_at = NEVER;
	q->poke_at = NEVER;
	waits_init(q, sched_mono(s));
}

static struct squeue *
queue_new(struct sched *s, struct sv name, size_t ndomain)
{
	struct squeue *q = calloc(1, sizeof(*q) + name.n);

	if (q == NULL)
		return NULL;
	queue_init(s, q, name, ndomain);
	q->vm = vmta_get(s, q->vmta);
	q->group = calloc(1, sizeof(*q->group));
	if (q->vm == NULL || q->group == NULL ||
	    htab_insert(&s->queues, q) != 0) {
		free(q->group);
		free(q);
		return NULL;
	}
	q->vm->nqueues++;
	TAILQ_INSERT_TAIL(&s->all_queues, q, link);
	queue_conf_apply(s, q);
	connects_unknown(s, q);
	queue_activate(s, q);
	return q;
}

struct squeue *
queue_get(struct sched *s, struct sv domain, struct sv vmta)
{
	char buf[QUEUE_NAME_MAX];
	struct queue_key k;
	struct squeue *q;

	q = s->last_queue;
	if (q != NULL && sv_ieq(q->domain, domain) && sv_eq(q->vmta, vmta))
		return q;
	if (!queue_name(domain, vmta, buf, &k.name))
		return NULL;
	q = htab_find(&s->queues, siphash24(s->hash_key, k.name.p, k.name.n),
	    queue_match, &k);
	if (q == NULL)
		q = queue_new(s, k.name, domain.n);
	s->last_queue = q;
	return q;
}

void
queue_free(struct sched *s, struct squeue *q)
{
	if (s->ops->queue_gone != NULL)
		s->ops->queue_gone(s->arg, q);
	queue_sources_free(s, q);
	paces_free(s, q);
	dest_queue_free(s, q);
	queue_unpark(s, q);
	site_leave(s, q);
	queue_deactivate(s, q);
	if (s->conf_walk == q)
		s->conf_walk = TAILQ_NEXT(q, link);
	delays_queue_gone(s, q);
	walks_pass(s, q);
	if (s->last_queue == q)
		s->last_queue = NULL;
	if (q->resolving)
		TAILQ_REMOVE(&s->resolving, q, resolve_link);
	(void)timer_set(&s->timers, &q->timer, NEVER);
	(void)timer_set(&s->timers, &q->scope.connect_rate.timer, NEVER);
	(void)timer_set(&s->timers, &q->scope.msg_rate.timer, NEVER);
	(void)timer_set(&s->timers, &q->scope.volume.timer, NEVER);
	TAILQ_REMOVE(&s->all_queues, q, link);
	htab_remove(&s->queues, q);
	q->vm->nqueues--;
	react_free(q);
	levels_free(q);
	free(q->adapt);
	free(q->heap);
	free(q->group);
	free(q->error);
	free(q);
}

/* A queue is kept as long as its rates remember something. */
static int64_t
rates_until(const struct squeue *q)
{
	const struct srate *rates[] = { &q->scope.msg_rate.rate,
		&q->scope.connect_rate.rate, &q->scope.volume.rate };
	int64_t ns = 0;

	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		if (rates[i]->step_ns != 0 && rates[i]->tat_ns > ns)
			ns = rates[i]->tat_ns;
	}
	return ns / 1000;
}

bool
queue_collect(struct sched *s, struct squeue *q)
{
	int64_t until;

	if (!TAILQ_EMPTY(&q->live) || !TAILQ_EMPTY(&q->aside) ||
	    !TAILQ_EMPTY(&q->trash) ||
	    q->nsessions > 0 || q->paused || react_holds(q) || q->resolving ||
	    q->retry_at > sched_mono(s) || q->grant != NULL ||
	    q->dgrant != NULL ||
	    !TAILQ_EMPTY(&q->off)) {
		q->gc_at = NEVER;
		return false;
	}
	if (q->gc_at == NEVER || q->gc_at == 0) {
		until = rates_until(q);
		if (until < adapt_until(q))
			until = adapt_until(q);
		if (until < pace_until(q))
			until = pace_until(q);
		q->gc_at = sched_mono(s) + QUEUE_KEEP_US;
		if (q->gc_at < until)
			q->gc_at = until;
	}
	if (q->gc_at > sched_mono(s))
		return false;
	queue_free(s, q);
	return true;
}

/* ---- turns ---- */

void
queue_activate(struct sched *s, struct squeue *q)
{
	struct svmta *vm = q->vm;

	if (q->active)
		return;
	q->active = true;
	TAILQ_INSERT_TAIL(&vm->active, q, active_link);
	if (!vm->active_on) {
		vm->active_on = true;
		TAILQ_INSERT_TAIL(&s->active, vm, active_link);
	}
}

void
queue_deactivate(struct sched *s, struct squeue *q)
{
	struct svmta *vm = q->vm;

	if (!q->active)
		return;
	q->active = false;
	TAILQ_REMOVE(&vm->active, q, active_link);
	if (TAILQ_EMPTY(&vm->active)) {
		vm->active_on = false;
		vm->deficit = 0;
		TAILQ_REMOVE(&s->active, vm, active_link);
	}
}

/* ---- failures ---- */

static struct sv
text_put(char **at, struct sv v)
{
	struct sv copy = sv_make(*at, v.n);

	if (v.n > 0)
		memcpy(*at, v.p, v.n);
	*at += v.n;
	return copy;
}

/* Without memory the error is not remembered. */
void
queue_error_set(struct sched *s, struct squeue *q,
    const struct sched_why *why)
{
	struct sv status = sv_head(why->status, 16);
	struct sv text = sv_head(why->diag, QUEUE_ERROR_MAX);
	struct sv host = sv_head(why->host, QUEUE_ERROR_MAX);
	struct sv ip = sv_head(why->host_ip, 46);
	struct qerror *e = malloc(sizeof(*e) + status.n + text.n + host.n +
	    ip.n);
	char *at;

	if (e == NULL)
		return;
	at = e->mem;
	e->at_us = s->now.wall.us;
	e->status = text_put(&at, status);
	e->text = text_put(&at, text);
	e->host = text_put(&at, host);
	e->ip = text_put(&at, ip);
	/* they may be parts of the last one */
	free(q->error);
	q->error = e;
}

void
queue_fail(struct sched *s, struct squeue *q, const struct conf_times *list,
    uint32_t *failures, const struct sched_why *why)
{
	uint64_t key = siphash24(s->hash_key, q->name.p, q->name.n) +
	    q->failures + q->dns_failures;
	int64_t delay;

	queue_error_set(s, q, why);
	queue_activate(s, q);
	if (q->retry_at > sched_mono(s))
		return; /* several sessions fail together: one failure */
	(*failures)++;
	delay = retry_delay(s, list, *failures, key);
	if (why->said)
		delay = hint_apply(s, q->conf, reply_hint(why->diag), delay,
		    *failures, key);
	q->retry_at = sched_mono(s) + delay;
	s->ops->queue_deferred(s->arg, q,
	    (struct wall){ s->now.wall.us + delay }, *failures, why);
}

/* ---- counts over the last minute and hour ---- */

void
ring_add(struct sring *g, int64_t now, int64_t slot_us)
{
	int64_t slot = now / slot_us;

	if (slot - g->slot >= RING_SLOTS)
		memset(g->n, 0, sizeof(g->n));
	else
		for (int64_t i = g->slot + 1; i <= slot; i++)
			g->n[i % RING_SLOTS] = 0;
	g->slot = slot;
	g->n[slot % RING_SLOTS]++;
}

uint64_t
ring_sum(const struct sring *g, int64_t now, int64_t slot_us)
{
	int64_t slot = now / slot_us;
	uint64_t sum = 0;

	for (int64_t i = slot - RING_SLOTS + 1; i <= g->slot; i++) {
		if (i >= 0 && i > g->slot - RING_SLOTS)
			sum += g->n[i % RING_SLOTS];
	}
	return sum;
}
