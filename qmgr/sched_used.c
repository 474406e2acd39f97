/* SPDX-License-Identifier: ISC */
/*
 * What rates have used up, over a restart: 10/d is one message each 2.4 hours,
 * whoever counts. A rate's whole state is the time from which on it is as if
 * it had never been used.
 */
#include "common/base/str.h"
#include "qmgr/sched_private.h"

#define NS_PER_US 1000
/* Of faster rates than one a second, what is over sooner than that is not
 * worth writing down. */
#define USED_LEAST_US US_PER_SEC

static int
used_tell(const struct sched *s, const struct srate *r, struct sv queue,
    enum sched_rate rate, sched_used_fn *fn, void *arg)
{
	int64_t until = r->tat_ns / NS_PER_US, least = sched_mono(s);
	struct sched_used u = { .queue = queue, .rate = rate };

	if (r->step_ns < USED_LEAST_US * NS_PER_US)
		least += USED_LEAST_US;
	if (r->step_ns == 0 || until <= least)
		return 0;
	u.until_us = until - s->now.mono.us + s->now.wall.us;
	return fn(arg, &u);
}

struct srate *
scope_rate(struct sscope *sc, enum sched_rate rate)
{
	switch (rate) {
	case RATE_CONNECTS:
		return &sc->connect_rate.rate;
	case RATE_VOLUME:
		return &sc->volume.rate;
	case RATE_MSGS:
	case SCHED_RATES:
	default:
		return &sc->msg_rate.rate;
	}
}

static int
scope_tell(const struct sched *s, struct sscope *sc, struct sv queue,
    sched_used_fn *fn, void *arg)
{
	int rc = 0;

	for (int i = 0; i < SCHED_RATES && rc == 0; i++)
		rc = used_tell(s, scope_rate(sc, (enum sched_rate)i), queue,
		    (enum sched_rate)i, fn, arg);
	return rc;
}

/* What is not known to be a limit yet is told on. */
static int
site_tell(const struct sched *s, struct ssite *t, sched_used_fn *fn,
    void *arg)
{
	int rc = 0;

	if (t->scope != NULL)
		rc = scope_tell(s, t->scope, t->path_name, fn, arg);
	for (int i = 0; i < SCHED_RATES && rc == 0; i++) {
		struct sched_used u = { .queue = t->path_name,
			.rate = (enum sched_rate)i,
			.until_us = t->until[i] - s->now.mono.us +
			    s->now.wall.us };

		if (t->until[i] > sched_mono(s))
			rc = fn(arg, &u);
	}
	return rc;
}

static int
pace_used_tell(const struct sched *s, const struct spacing *p,
    sched_used_fn *fn, void *arg)
{
	char ip[46] = "system", mem[QUEUE_NAME_MAX + 48];
	int rc = 0;
	struct str name;

	if (p->ip.family != 0)
		(void)route_addr_format(&p->ip, ip);
	STR_ON(&name, mem);
	str_addf(&name, "@%s=%.*s", ip, SV_FMT(p->q->name));
	for (int i = 0; i < SCHED_RATES && rc == 0; i++) {
		struct sched_used u = { .queue = str_sv(&name),
			.rate = (enum sched_rate)i,
			.until_us = p->until[i] - s->now.mono.us +
			    s->now.wall.us };

		if (p->until[i] > sched_mono(s))
			rc = fn(arg, &u);
		else
			rc = used_tell(s, &p->rate[i], str_sv(&name),
			    (enum sched_rate)i, fn, arg);
	}
	return rc;
}

static int
queue_tell(const struct sched *s, struct squeue *q, sched_used_fn *fn,
    void *arg)
{
	int rc = scope_tell(s, &q->scope, q->name, fn, arg);
	const struct spacing *p;

	TAILQ_FOREACH(p, &q->paces, link) {
		if (rc == 0)
			rc = pace_used_tell(s, p, fn, arg);
	}
	return rc;
}

int
sched_used_each(const struct sched *s, sched_used_fn *fn, void *arg)
{
	struct squeue *q;
	struct svmta *vm;
	struct svpool *p;
	struct ssite *t;
	int rc = 0;

	TAILQ_FOREACH(q, &s->all_queues, link) {
		rc = queue_tell(s, q, fn, arg);
		if (rc != 0)
			return rc;
	}
	TAILQ_FOREACH(vm, &s->vmtas, link) {
		rc = scope_tell(s, &vm->scope, vm->path_name, fn, arg);
		if (rc != 0)
			return rc;
	}
	TAILQ_FOREACH(p, &s->pools, link) {
		rc = scope_tell(s, &p->scope, p->path_name, fn, arg);
		if (rc != 0)
			return rc;
	}
	TAILQ_FOREACH(t, &s->all_sites, link) {
		rc = site_tell(s, t, fn, arg);
		if (rc != 0)
			return rc;
	}
	return 0;
}

/* The wall clock may say worse. */
void
used_bound(const struct sched *s, struct srate *r)
{
	int64_t most = sched_mono(s) * NS_PER_US + r->period_ns;

	if (r->tat_ns > most)
		r->tat_ns = most;
}

void
used_set(const struct sched *s, struct srate *r, int64_t until)
{
	if (r->step_ns == 0 || r->tat_ns >= until * NS_PER_US)
		return;
	r->tat_ns = until * NS_PER_US;
	used_bound(s, r);
}

static struct sscope *
scope_named(struct sched *s, struct sv name)
{
	ptrdiff_t slash = sv_rfind(name, '/');
	struct svpool *p;
	struct svmta *vm;
	struct squeue *q;
	struct sv last;

	if (slash < 0)
		return NULL;
	last = sv_from_at(name, (size_t)slash + 1);
	if (slash == 1 && name.p[0] == '/')
		return (p = pool_get(s, last)) == NULL ? NULL : &p->scope;
	if (slash == 0)
		return (vm = vmta_get(s, last)) == NULL ? NULL : &vm->scope;
	q = queue_get(s, sv_head(name, (size_t)slash), last);
	return q == NULL ? NULL : &q->scope;
}

/* Which limits it has is known when its first queue comes. */
static void
site_restore(struct sched *s, const struct sched_used *u, int64_t until)
{
	ptrdiff_t slash = sv_rfind(u->queue, '/');
	struct ssite *t;

	if (slash < 1)
		return;
	t = site_named(s, sv_from_at(sv_head(u->queue, (size_t)slash), 1),
	    sv_from_at(u->queue, (size_t)slash + 1));
	if (t != NULL)
		site_until_set(s, t, u->rate, until);
}

void
sched_used_restore(struct sched *s, struct sched_now now,
    const struct sched_used *u)
{
	int64_t until = u->until_us - now.wall.us + now.mono.us;
	struct sscope *sc;
	struct spacing *p;

	sched_clock_advance(s, now);
	if (u->rate >= SCHED_RATES)
		return;
	if (sv_starts(u->queue, SV("@"))) {
		if ((p = pace_named(s, u->queue)) != NULL)
			pace_until_set(s, p, u->rate, until);
		return;
	}
	if (sv_starts(u->queue, SV("=")))
		site_restore(s, u, until);
	else if ((sc = scope_named(s, u->queue)) != NULL)
		used_set(s, scope_rate(sc, u->rate), until);
}

void
volume_take(const struct squeue *q, int64_t at, uint32_t kib)
{
	for (int i = 0; i < q->path.n; i++)
		rate_take(&q->path.scope[i]->volume.rate, at, kib);
}

void
sched_rcpt_tried(struct sched *s, struct sched_now now, struct smsg *m,
    uint32_t idx, int64_t at_us, uint32_t volume_kib,
    const struct route_addr *source)
{
	int64_t at = at_us - now.wall.us + now.mono.us;
	struct squeue *q;

	sched_clock_advance(s, now);
	if (idx >= m->nrcpts || m->rcpts[idx].q == NULL)
		return;
	q = m->rcpts[idx].q;
	if (at > now.mono.us)
		at = now.mono.us;
	for (int i = 0; i < q->path.n; i++) {
		struct srate *r = &q->path.scope[i]->msg_rate.rate;

		rate_take(r, at, 1);
		used_bound(s, r);
	}
	volume_take(q, at, volume_kib);
	pace_tried(s, q, source, at, 1, volume_kib);
}

void
connects_unknown(struct sched *s, struct squeue *q)
{
	struct srate *r = &q->scope.connect_rate.rate;

	if (s->unknown_at != 0)
		used_set(s, r, s->unknown_at + r->step_ns / NS_PER_US);
}

void
sched_connects_unknown(struct sched *s, struct sched_now now)
{
	struct squeue *q;

	sched_clock_advance(s, now);
	s->unknown_at = sched_mono(s);
	TAILQ_FOREACH(q, &s->all_queues, link)
		connects_unknown(s, q);
}
