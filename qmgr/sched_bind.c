/* SPDX-License-Identifier: ISC */
/*
 * Limits as the operator sees them: of whom one is, by which directive, and what
 * of it is used. Of the one that a queue is parked on, and of all.
 */
#include "qmgr/sched_private.h"

/* ---- the limit that a queue is parked on ---- */

/* The scope of the queue's path that the limit is in; NULL: the workers. */
static const struct sscope *
limit_scope(const struct squeue *q, const struct slimit *l)
{
	for (int i = 0; i < q->path.n; i++) {
		const struct sscope *sc = q->path.scope[i];

		if (l == &sc->conns || l == &sc->connect_rate ||
		    l == &sc->msg_rate || l == &sc->volume)
			return sc;
	}
	return NULL;
}

static bool
is_site(const struct squeue *q, const struct sscope *sc)
{
	return q->site != NULL && sc == q->site->scope;
}

/* Name as in struct sched_used; "" for all. */
static struct sv
scope_name(const struct squeue *q, const struct sscope *sc)
{
	if (sc == &q->scope)
		return q->name;
	if (sc == &q->vm->scope)
		return q->vm->path_name;
	for (int i = 0; i < q->vm->npools; i++)
		if (sc == &q->vm->pools[i]->scope)
			return q->vm->pools[i]->path_name;
	if (is_site(q, sc))
		return q->site->path_name;
	if (q->warmup != NULL && sc == &q->warmup->scope)
		return q->warmup->path_name;
	return SV("");
}

static bool
backoff_binds(const struct squeue *q, const struct conf_rate *usual,
    const struct conf_rate *backoff)
{
	return q->backoff && rate_lower(usual, backoff) == backoff;
}

static const char *
connects_setting(const struct squeue *q, const struct conf_domain *c)
{
	const struct conf_rate rampup = rampup_rate(c);
	const struct conf_rate *usual = &c->max_connect_rate;
	bool backoff = backoff_binds(q, usual, &c->backoff_max_connect_rate);

	if (backoff)
		usual = &c->backoff_max_connect_rate;
	if (rampup.period_ms != 0 && rate_lower(usual, &rampup) == &rampup)
		return "smtp-out-rampup-interval";
	return backoff ? "backoff-max-connect-rate" : "max-connect-rate";
}

/* The directive whose value is in force; NULL: a reply has set it. */
static const char *
own_setting(const struct squeue *q, enum sched_wait w)
{
	const struct conf_domain *c = q->conf;
	const struct conf_rate *usual, *rate;
	uint32_t most, cap;

	queue_usual_limits(q, &most, &usual);
	cap = most;
	rate = usual;
	react_limits(q, &cap, &rate);
	switch (w) {
	case WAIT_CONN_QUEUE:
		if (q->adapt != NULL && q->adapt->conns < cap)
			return "adaptive-delivery";
		if (cap != most)
			return NULL;
		return most != c->max_smtp_out && q->backoff ?
		    "backoff-max-smtp-out" : "max-smtp-out";
	case WAIT_CONN_RATE:
		return connects_setting(q, c);
	case WAIT_VOLUME:
		return backoff_binds(q, &c->max_data_volume_rate,
		    &c->backoff_max_data_volume_rate) ?
		    "backoff-max-data-volume-rate" : "max-data-volume-rate";
	default:
		if (q->adapt != NULL && q->adapt->rate.period_ms != 0 &&
		    rate_lower(rate, &q->adapt->rate) == &q->adapt->rate)
			return "adaptive-delivery";
		if (rate != usual)
			return NULL;
		return usual == &c->backoff_max_msg_rate ?
		    "backoff-max-msg-rate" : "max-msg-rate";
	}
}

static const char *
site_setting(enum sched_wait w)
{
	switch (w) {
	case WAIT_CONN_SITE:
		return "max-smtp-out";
	case WAIT_CONN_RATE:
		return "max-connect-rate";
	case WAIT_VOLUME:
		return "max-data-volume-rate";
	default:
		return "max-msg-rate";
	}
}

/* Of a VMTA or a pool. */
static const char *
shared_setting(enum sched_wait w)
{
	switch (w) {
	case WAIT_CONN_VMTA:
	case WAIT_CONN_POOL:
		return "max-smtp-out";
	case WAIT_VOLUME:
		return "max-smtp-data-volume-rate";
	default:
		return "max-smtp-msg-rate";
	}
}

/* One that is not configured has no queues that wait. */
static const char *
warmup_setting(const struct swarmup *w)
{
	return w->conf != NULL && w->conf->days > 0 ? "to" : "day-list";
}

static const char *
setting_of(const struct sched *s, const struct squeue *q,
    const struct sscope *sc, enum sched_wait w)
{
	if (sc == &q->scope)
		return own_setting(q, w);
	if (is_site(q, sc))
		return site_setting(w);
	if (sc == &s->scope)
		return "total-max-smtp-out";
	return w == WAIT_WARMUP ? warmup_setting(q->warmup) :
	    shared_setting(w);
}

/* Parked as well, it has room before q. */
static void
ahead_tell(const struct squeue *q, const struct slimit *l,
    struct sched_queue_why *why)
{
	const struct sgroup *g = TAILQ_FIRST(&l->groups);

	if (g->priority <= q->priority)
		return;
	why->ahead = TAILQ_FIRST(&g->queues)->name;
	why->ahead_priority = g->priority;
}

void
queue_limit_tell(const struct sched *s, const struct squeue *q,
    struct sched_queue_why *why)
{
	const struct slimit *l = q->parked;
	const struct sscope *sc = limit_scope(q, l);

	if (sc == NULL)
		return;
	why->limited = true;
	why->scope = scope_name(q, sc);
	why->setting = setting_of(s, q, sc, q->wait);
	why->nparked = l->nparked;
	ahead_tell(q, l, why);
	if (l->kind == LIMIT_RATE && l->rate.step_ns > 0) {
		why->per_hour = NS_PER_HOUR / (double)l->rate.step_ns;
		why->next_us = rate_next(&l->rate);
	} else {
		why->used = l->used;
		why->cap = l->cap;
	}
	if (q->wait == WAIT_WARMUP)
		warmup_used(q->warmup, &why->used, &why->cap);
}

uint32_t
sched_queue_rivals(const struct squeue *q, const struct squeue **v,
    uint32_t max)
{
	const struct sgroup *g;
	const struct squeue *other;
	uint32_t n = 0;

	if (q->parked == NULL)
		return dest_rivals(q, v, max);
	TAILQ_FOREACH(g, &q->parked->groups, link) {
		TAILQ_FOREACH(other, &g->queues, park) {
			if (n == max)
				return n;
			if (other != q)
				v[n++] = other;
		}
	}
	return n;
}

/* ---- all ---- */

struct teller {
	const struct sched *s;
	struct sched_now now;
	sched_limit_fn *fn;
	void *arg;
};

static void
rate_tell(const struct teller *t, const struct srate *r,
    struct sched_limit *l)
{
	int64_t next = rate_next(r);

	l->per_hour = NS_PER_HOUR / (double)r->step_ns;
	if (next > t->now.mono.us)
		l->next_us = next - t->now.mono.us + t->now.wall.us;
}

/* What is not limited is not told. */
static void
limit_tell(const struct teller *t, const struct slimit *l, struct sv scope,
    const char *setting)
{
	struct sched_limit i = { .scope = scope, .setting = setting,
		.nparked = l->nparked };

	if (l->kind == LIMIT_RATE && l->rate.step_ns == 0)
		return;
	if (l->kind == LIMIT_CONNS && l->cap == UINT32_MAX)
		return;
	if (l->kind == LIMIT_RATE) {
		rate_tell(t, &l->rate, &i);
	} else {
		i.used = l->used;
		i.cap = l->cap;
	}
	t->fn(t->arg, &i);
}

typedef const char *setting_fn(const struct squeue *q, enum sched_wait w);

static void
scope_tell(const struct teller *t, const struct sscope *sc, struct sv name,
    const struct squeue *q, setting_fn *setting)
{
	const struct slimit *all[] = { &sc->conns, &sc->connect_rate,
		&sc->msg_rate, &sc->volume };

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		limit_tell(t, all[i], name, setting(q,
		    (enum sched_wait)all[i]->cause));
}

static const char *
site_setting_q(const struct squeue *q, enum sched_wait w)
{
	(void)q;
	return site_setting(w);
}

static const char *
shared_setting_q(const struct squeue *q, enum sched_wait w)
{
	(void)q;
	return shared_setting(w);
}

/* Those that have been used. */
static void
paces_tell(const struct teller *t, const struct squeue *q)
{
	const struct spacing *p;

	TAILQ_FOREACH(p, &q->paces, link) {
		for (int i = 0; i < SCHED_RATES; i++) {
			struct sched_limit l = { .scope = q->name,
				.source = &p->ip,
				.setting = pace_setting((enum sched_rate)i),
				.nparked = q->pace_first == p &&
				    q->wait == pace_cause((enum sched_rate)i) };

			if (p->rate[i].step_ns == 0)
				continue;
			rate_tell(t, &p->rate[i], &l);
			t->fn(t->arg, &l);
		}
	}
}

void
sched_queue_limits(const struct sched *s, struct sched_now now,
    const struct squeue *q, bool site, sched_limit_fn *fn, void *arg)
{
	struct teller t = { .s = s, .now = now, .fn = fn, .arg = arg };

	if (!site) {
		scope_tell(&t, &q->scope, q->name, q, own_setting);
		paces_tell(&t, q);
	} else if (q->site != NULL && q->site->scope != NULL)
		scope_tell(&t, q->site->scope, q->site->path_name, q,
		    site_setting_q);
}

const struct squeue *
sched_site_prev(const struct squeue *q)
{
	return q->site == NULL ? NULL :
	    TAILQ_PREV(q, squeues, site_link);
}

static void
warmup_tell(const struct teller *t, const struct swarmup *w)
{
	const struct slimit *l = &w->scope.msg_rate;
	struct sched_limit i = { .scope = w->path_name, .vmta = w->vm->name,
		.setting = warmup_setting(w), .nparked = l->nparked };

	if (l->rate.step_ns == 0)
		return;
	i.per_hour = NS_PER_HOUR / (double)l->rate.step_ns;
	warmup_used(w, &i.used, &i.cap);
	t->fn(t->arg, &i);
}

void
sched_shared_limits(const struct sched *s, struct sched_now now,
    sched_limit_fn *fn, void *arg)
{
	struct teller t = { .s = s, .now = now, .fn = fn, .arg = arg };
	const struct swarmup *w;
	const struct svpool *p;
	const struct svmta *vm;

	limit_tell(&t, &s->scope.conns, SV(""), "total-max-smtp-out");
	TAILQ_FOREACH(p, &s->pools, link)
		scope_tell(&t, &p->scope, p->path_name, NULL,
		    shared_setting_q);
	TAILQ_FOREACH(vm, &s->vmtas, link)
		scope_tell(&t, &vm->scope, vm->path_name, NULL,
		    shared_setting_q);
	TAILQ_FOREACH(w, &s->warmups, link)
		warmup_tell(&t, w);
	dests_tell(s, fn, arg);
}
