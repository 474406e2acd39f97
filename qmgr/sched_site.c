/* SPDX-License-Identifier: ISC */
/*
 * Sites: the queues of a VMTA whose mail goes to the same hosts. They share one
 * scope of limits, so that a host does not see the limit of each domain added
 * up. Such a scope is made when a second queue comes, or at once for a site
 * with settings of its own (a rollup); with that it has the path name
 * "=KEY/vmta". What its rates have used up outlives its queues, and a restart.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/siphash.h"
#include "qmgr/sched_private.h"

struct site_key {
	struct sv name;
};

static bool
site_match(const void *entry, const void *key)
{
	const struct ssite *t = entry;
	const struct site_key *k = key;

	return sv_eq(t->path_name, k->name);
}

uint64_t
site_hash(const void *entry)
{
	const struct ssite *t = entry;

	return siphash24(t->vm->s->hash_key, t->path_name.p, t->path_name.n);
}

static struct ssite *
site_new(struct svmta *vm, struct sv name, size_t nkey)
{
	struct ssite *t = calloc(1, sizeof(*t) + name.n);

	if (t == NULL)
		return NULL;
	memcpy(t->text, name.p, name.n);
	t->vm = vm;
	t->path_name = sv_make(t->text, name.n);
	t->key = sv_head(sv_from_at(t->path_name, 1), nkey);
	t->timer.kind = TIMER_SITE;
	TAILQ_INIT(&t->queues);
	if (htab_insert(&vm->s->sites, t) != 0) {
		free(t);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&vm->s->all_sites, t, link);
	return t;
}

/* NULL without memory, or if the name is too long. */
static struct ssite *
site_get(struct sched *s, struct svmta *vm, struct sv key)
{
	char buf[QUEUE_NAME_MAX];
	size_t n = key.n + vm->path_name.n + 1;
	struct site_key k = { .name = sv_make(buf, n) };
	struct ssite *t;

	if (n > sizeof(buf))
		return NULL;
	buf[0] = '=';
	memcpy(buf + 1, key.p, key.n);
	memcpy(buf + 1 + key.n, vm->path_name.p, vm->path_name.n);
	t = htab_find(&s->sites, siphash24(s->hash_key, buf, n), site_match,
	    &k);
	return t != NULL ? t : site_new(vm, k.name, key.n);
}

static void
site_free(struct sched *s, struct ssite *t)
{
	if (t->scope != NULL) {
		(void)timer_set(&s->timers, &t->scope->connect_rate.timer,
		    NEVER);
		(void)timer_set(&s->timers, &t->scope->msg_rate.timer, NEVER);
		(void)timer_set(&s->timers, &t->scope->volume.timer, NEVER);
	}
	(void)timer_set(&s->timers, &t->timer, NEVER);
	TAILQ_REMOVE(&s->all_sites, t, link);
	htab_remove(&s->sites, t);
	free(t->scope);
	free(t);
}

void
sites_free(struct sched *s)
{
	struct ssite *t;

	while ((t = TAILQ_FIRST(&s->all_sites)) != NULL)
		site_free(s, t);
}

/* ---- the shared scope ---- */

/* The sessions that are there count for it, even if they are too many. */
static void
sessions_join(const struct squeue *q, struct sscope *sc)
{
	struct ssession *se;

	for (int i = 0; i <= SCHED_WINDOW; i++) {
		TAILQ_FOREACH(se, &q->sessions[i], qlink) {
			/* it has been in several sites already */
			if (se->path.n == SCOPES_MAX)
				continue;
			se->path.scope[se->path.n++] = sc;
			sc->conns.used++;
			sc->conns.leaving += se->state == SE_CLOSING;
		}
	}
}

/* False without memory: then its queues have only their own limits. */
static bool
scope_make(struct ssite *t)
{
	struct squeue *q;

	if (t->scope != NULL)
		return true;
	t->scope = malloc(sizeof(*t->scope));
	if (t->scope == NULL)
		return false;
	scope_init(t->scope, WAIT_CONN_SITE, WAIT_CONN_RATE, WAIT_SITE_RATE);
	TAILQ_FOREACH(q, &t->queues, site_link)
		sessions_join(q, t->scope);
	return true;
}

static const struct conf_rate *
rate_higher(const struct conf_rate *a, const struct conf_rate *b)
{
	return rate_lower(a, b) == a ? b : a;
}

/* The highest limits that one of its queues has; a rollup has its own, which
 * all of them have. With new settings each queue comes again. */
static void
limits_join(struct ssite *t, const struct squeue *q)
{
	const struct conf_domain *c = q->conf;
	uint32_t most = c->max_smtp_out == 0 ? UINT32_MAX : c->max_smtp_out;

	if (t->conf_gen != q->conf_gen) {
		t->conf_gen = q->conf_gen;
		t->most = most;
		t->connects = c->max_connect_rate;
		t->msgs = c->max_msg_rate;
		t->volume = c->max_data_volume_rate;
		return;
	}
	if (most > t->most)
		t->most = most;
	t->connects = *rate_higher(&t->connects, &c->max_connect_rate);
	t->msgs = *rate_higher(&t->msgs, &c->max_msg_rate);
	t->volume = *rate_higher(&t->volume, &c->max_data_volume_rate);
}

static void
limits_apply(struct sched *s, struct ssite *t)
{
	struct sscope *sc = t->scope;

	limit_cap(s, &sc->conns, t->most);
	limit_rate(s, &sc->connect_rate, &t->connects);
	limit_rate(s, &sc->msg_rate, &t->msgs);
	limit_volume(s, &sc->volume, &t->volume);
	for (int i = 0; i < SCHED_RATES; i++) {
		if (t->until[i] != 0)
			used_set(s, scope_rate(sc, (enum sched_rate)i),
			    t->until[i]);
		t->until[i] = 0;
	}
}

void
site_conf(struct sched *s, struct squeue *q)
{
	struct ssite *t = q->site;

	if (t == NULL)
		return;
	limits_join(t, q);
	if (t->scope != NULL)
		limits_apply(s, t);
}

/* ---- queues come and go ---- */

static int64_t
site_until(const struct sched *s, const struct ssite *t)
{
	int64_t at = sched_mono(s) + QUEUE_KEEP_US;

	for (int i = 0; i < SCHED_RATES; i++) {
		int64_t until = t->until[i];

		if (t->scope != NULL &&
		    scope_rate(t->scope, (enum sched_rate)i)->step_ns != 0)
			until = scope_rate(t->scope,
			    (enum sched_rate)i)->tat_ns / 1000;
		if (until > at)
			at = until;
	}
	return at;
}

/* Without memory for its timer it stays until a queue has come and gone. */
static void
site_empty(struct sched *s, struct ssite *t)
{
	(void)timer_set(&s->timers, &t->timer, site_until(s, t));
}

void
site_timer(struct sched *s, struct stimer *tm)
{
	struct ssite *t = (struct ssite *)((uintptr_t)tm -
	    offsetof(struct ssite, timer));

	if (!TAILQ_EMPTY(&t->queues))
		return;
	/* sessions and deliveries may be under way that count for it */
	if ((t->scope != NULL && t->scope->conns.used > 0) ||
	    t->ndelivs > 0)
		site_empty(s, t);
	else
		site_free(s, t);
}

void
site_leave(struct sched *s, struct squeue *q)
{
	struct ssite *t = q->site;

	if (t == NULL)
		return;
	q->site = NULL;
	TAILQ_REMOVE(&t->queues, q, site_link);
	if (TAILQ_EMPTY(&t->queues))
		site_empty(s, t);
}

static void
site_join(struct sched *s, struct squeue *q, struct ssite *t)
{
	struct squeue *first = TAILQ_FIRST(&t->queues);

	(void)timer_set(&s->timers, &t->timer, NEVER);
	q->site = t;
	TAILQ_INSERT_TAIL(&t->queues, q, site_link);
	if (t->scope != NULL || (first == NULL && !t->rollup))
		return;
	if (scope_make(t) && first != NULL)
		queue_conf_again(s, first);
}

void
sched_site(struct sched *s, struct sched_now now, struct squeue *q,
    struct sv key, bool rollup)
{
	struct ssite *t = NULL;

	sched_clock_advance(s, now);
	if (q->site != NULL && sv_eq(q->site->key, key) &&
	    q->site->rollup == rollup)
		return;
	if (q->site == NULL && key.n == 0)
		return;
	site_leave(s, q);
	if (key.n > 0)
		t = site_get(s, q->vm, key);
	if (t != NULL) {
		t->rollup = rollup;
		site_join(s, q, t);
	}
	queue_conf_again(s, q);
}

/* ---- over a restart ---- */

struct ssite *
site_named(struct sched *s, struct sv key, struct sv vmta)
{
	struct svmta *vm = vmta_get(s, vmta);

	return vm == NULL ? NULL : site_get(s, vm, key);
}

void
site_until_set(struct sched *s, struct ssite *t, enum sched_rate rate,
    int64_t until)
{
	/* it does not wait for a second queue, which may be long in coming */
	if (!scope_make(t))
		return;
	if (t->conf_gen != 0)
		used_set(s, scope_rate(t->scope, rate), until);
	else
		t->until[rate] = until;
	if (TAILQ_EMPTY(&t->queues))
		site_empty(s, t);
}
