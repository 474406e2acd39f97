/* SPDX-License-Identifier: ISC */
/*
 * Rates of source addresses (source-ip-max-msg-rate and its like): each
 * address of a queue's VMTA has its own. Only that queue waits for them, so
 * nobody parks: a timer of the address wakes the queue when there is room.
 * Sessions from an address that must send nothing now are dry: the queue does
 * not look at them until then.
 */
#include <stdlib.h>

#include "common/base/str.h"
#include "qmgr/sched_private.h"

#define NS_PER_US 1000
#define PACE_LEAST_US US_PER_MS /* between two looks at dry sessions */

const char *
pace_setting(enum sched_rate rate)
{
	switch (rate) {
	case RATE_CONNECTS:
		return "source-ip-max-connect-rate";
	case RATE_VOLUME:
		return "source-ip-max-data-volume-rate";
	case RATE_MSGS:
	case SCHED_RATES:
	default:
		return "source-ip-max-msg-rate";
	}
}

enum sched_wait
pace_cause(enum sched_rate rate)
{
	return rate == RATE_VOLUME ? WAIT_VOLUME :
	    rate == RATE_CONNECTS ? WAIT_CONN_RATE : WAIT_SOURCE_RATE;
}

/* ---- settings ---- */

static void
rate_apply(struct sched *s, struct spacing *p, enum sched_rate rate,
    const struct conf_cidr_rates *l)
{
	const struct conf_cidr_rate *c = conf_cidr_rate_find(l, &p->ip);
	struct conf_rate r = { 0 };

	if (c != NULL)
		r = c->rate;
	if (rate == RATE_VOLUME)
		r.n = (r.n + 1023) / 1024;
	rate_set(&p->rate[rate], &r, sched_mono(s));
	if (p->rate[rate].step_ns == 0)
		return;
	if (p->until[rate] != 0)
		used_set(s, &p->rate[rate], p->until[rate]);
	p->until[rate] = 0;
}

static void
rates_apply(struct sched *s, struct spacing *p)
{
	const struct conf_domain *c = p->q->conf;

	rate_apply(s, p, RATE_MSGS, &c->source_ip_max_msg_rate);
	rate_apply(s, p, RATE_CONNECTS, &c->source_ip_max_connect_rate);
	rate_apply(s, p, RATE_VOLUME, &c->source_ip_max_data_volume_rate);
}

static struct spacing *
pace_of(struct sched *s, struct squeue *q, const struct route_addr *ip)
{
	struct srate *connects;
	struct spacing *p;

	TAILQ_FOREACH(p, &q->paces, link) {
		if (addr_same(&p->ip, ip))
			return p;
	}
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return NULL;
	p->q = q;
	p->ip = *ip;
	p->timer.kind = TIMER_PACE;
	TAILQ_INIT(&p->dry);
	TAILQ_INSERT_TAIL(&q->paces, p, link);
	rates_apply(s, p);
	connects = &p->rate[RATE_CONNECTS];
	if (s->unknown_at != 0)
		used_set(s, connects,
		    s->unknown_at + connects->step_ns / NS_PER_US);
	return p;
}

bool
pace_get(struct sched *s, struct squeue *q, uint32_t i, struct spacing **p_r)
{
	struct spacing **known = i < q->npace_at ? &q->pace_at[i] : NULL;

	*p_r = NULL;
	if (!q->paced)
		return true;
	*p_r = known != NULL && *known != NULL ? *known :
	    pace_of(s, q, source_at(q, i));
	if (known != NULL)
		*known = *p_r;
	return *p_r != NULL;
}

static void
pace_free(struct sched *s, struct spacing *p)
{
	(void)timer_set(&s->timers, &p->timer, NEVER);
	TAILQ_REMOVE(&p->q->paces, p, link);
	free(p);
}

static void
cache_drop(struct squeue *q)
{
	free(q->pace_at);
	q->pace_at = NULL;
	q->npace_at = 0;
	q->pace_first = NULL;
	q->all_full = 0;
}

void
paces_free(struct sched *s, struct squeue *q)
{
	struct spacing *p;

	cache_drop(q);
	while ((p = TAILQ_FIRST(&q->paces)) != NULL)
		pace_free(s, p);
}

static int64_t
until_of(const struct spacing *p)
{
	int64_t until = 0;

	for (int i = 0; i < SCHED_RATES; i++) {
		int64_t at = p->rate[i].step_ns != 0 ?
		    p->rate[i].tat_ns / NS_PER_US : p->until[i];

		if (at > until)
			until = at;
	}
	return until;
}

int64_t
pace_until(const struct squeue *q)
{
	const struct spacing *p;
	int64_t until = 0;

	TAILQ_FOREACH(p, &q->paces, link) {
		if (until_of(p) > until)
			until = until_of(p);
	}
	return until;
}

/* ---- dry sessions ---- */

/* Why no message may go from there now. */
static enum sched_wait
dry_wait(const struct sched *s, const struct spacing *p)
{
	if (!rate_ok(&p->rate[RATE_MSGS], sched_mono(s)))
		return WAIT_SOURCE_RATE;
	if (!rate_ok(&p->rate[RATE_VOLUME], sched_mono(s)))
		return WAIT_VOLUME;
	return WAIT_NOTHING;
}

static int64_t
dry_until(const struct sched *s, const struct spacing *p)
{
	int64_t msgs = rate_next(&p->rate[RATE_MSGS]);
	int64_t volume = rate_next(&p->rate[RATE_VOLUME]);

	switch (dry_wait(s, p)) {
	case WAIT_NOTHING:
		return sched_mono(s);
	case WAIT_VOLUME:
		return volume;
	default:
		return !rate_ok(&p->rate[RATE_VOLUME], sched_mono(s)) &&
		    volume > msgs ? volume : msgs;
	}
}

static void
alarm_set(struct sched *s, struct spacing *p, int64_t due)
{
	if (!timer_set(&s->timers, &p->timer, due))
		p->q->poke_at = sched_mono(s) + NO_MEMORY_US;
}

static void
dry_end(struct ssession *se)
{
	if (!se->dry)
		return;
	se->dry = false;
	TAILQ_REMOVE(&se->pace->dry, se, dry_link);
}

bool
pace_dries(struct sched *s, struct ssession *se)
{
	struct spacing *p = se->pace;

	if (p == NULL || dry_wait(s, p) == WAIT_NOTHING)
		return false;
	se->dry = true;
	TAILQ_INSERT_TAIL(&p->dry, se, dry_link);
	session_place(s, se);
	alarm_set(s, p, dry_until(s, p));
	return true;
}

/* As many sessions go on as there are messages to send; if those do not send
 * them, the others have their turn after another look. */
static void
pace_wake(struct sched *s, struct spacing *p)
{
	uint32_t n = rate_tokens(&p->rate[RATE_MSGS], sched_mono(s));
	int64_t again = dry_until(s, p);
	struct ssession *se;

	if (dry_wait(s, p) == WAIT_NOTHING) {
		again = sched_mono(s) + PACE_LEAST_US;
		while (n-- > 0 && (se = TAILQ_FIRST(&p->dry)) != NULL) {
			dry_end(se);
			session_place(s, se);
		}
	}
	alarm_set(s, p, TAILQ_EMPTY(&p->dry) ? NEVER : again);
	p->q->all_full = 0;
	queue_activate(s, p->q);
}

void
pace_timer(struct sched *s, struct stimer *t)
{
	pace_wake(s, (struct spacing *)((uintptr_t)t -
	    offsetof(struct spacing, timer)));
}

void
pace_look_again(struct sched *s, struct squeue *q)
{
	struct spacing *p;

	q->all_full = 0;
	TAILQ_FOREACH(p, &q->paces, link) {
		if (!TAILQ_EMPTY(&p->dry) && p->timer.pos == 0)
			pace_wake(s, p);
	}
}

/* ---- sessions ---- */

enum sched_wait
pace_wait(struct sched *s, struct spacing *p, int64_t *due_r)
{
	enum sched_wait wait = dry_wait(s, p);

	*due_r = dry_until(s, p);
	if (wait == WAIT_NOTHING &&
	    !rate_ok(&p->rate[RATE_CONNECTS], sched_mono(s))) {
		wait = WAIT_CONN_RATE;
		*due_r = rate_next(&p->rate[RATE_CONNECTS]);
	}
	if (wait != WAIT_NOTHING) {
		alarm_set(s, p, *due_r);
		return wait;
	}
	*due_r = NEVER;
	/* what may be sent is what those will send that connect */
	return rate_tokens(&p->rate[RATE_MSGS], sched_mono(s)) <=
	    p->nconnecting ? WAIT_CONNECTING : WAIT_NOTHING;
}

void
pace_opened(struct sched *s, struct ssession *se)
{
	if (se->pace == NULL)
		return;
	se->pace->nsessions++;
	se->pace->nconnecting++;
	rate_take(&se->pace->rate[RATE_CONNECTS], sched_mono(s), 1);
}

void
pace_connected(struct ssession *se)
{
	if (se->pace != NULL)
		se->pace->nconnecting--;
}

void
pace_closes(struct ssession *se)
{
	if (se->pace != NULL)
		dry_end(se);
}

void
pace_ended(struct ssession *se)
{
	if (se->pace != NULL)
		se->pace->nsessions--;
}

void
pace_take(struct sched *s, struct sdeliv *d)
{
	struct spacing *p = d->se->pace;

	if (p == NULL)
		return;
	d->paced = true;
	rate_take(&p->rate[RATE_MSGS], sched_mono(s), d->n);
	rate_take(&p->rate[RATE_VOLUME], sched_mono(s), d->kib);
}

void
pace_give(struct sched *s, const struct sdeliv *d)
{
	if (!d->paced)
		return;
	rate_give(&d->se->pace->rate[RATE_VOLUME], d->kib);
	pace_wake(s, d->se->pace);
}

static void
idle_close(struct sched *s, struct squeue *q, bool all)
{
	struct ssession *se, *next;
	struct spacing *p;

	TAILQ_FOREACH(p, &q->paces, link) {
		if (dry_until(s, p) <= sched_mono(s) + RATE_IDLE_US)
			continue;
		for (se = TAILQ_FIRST(&p->dry); se != NULL; se = next) {
			next = TAILQ_NEXT(se, dry_link);
			if (!se->idle)
				continue;
			session_close(s, se);
			if (!all)
				return;
		}
	}
}

void
pace_reclaim(struct sched *s, struct squeue *q)
{
	idle_close(s, q, false);
}

void
pace_release_idle(struct sched *s, struct squeue *q)
{
	idle_close(s, q, true);
}

/* ---- new settings ---- */

/* Sessions that were opened when there were no such rates. Without memory one
 * goes on without them. */
static void
session_join(struct sched *s, struct ssession *se)
{
	if (se->pace != NULL)
		return;
	se->pace = pace_of(s, se->q, &se->source);
	if (se->pace == NULL)
		return;
	se->pace->nsessions++;
	se->pace->nconnecting += se->state == SE_CONNECTING;
}

static void
sessions_join(struct sched *s, struct squeue *q)
{
	struct ssession *se;

	for (int i = 0; i <= SCHED_WINDOW; i++) {
		TAILQ_FOREACH(se, &q->sessions[i], qlink)
			session_join(s, se);
	}
}

void
pace_conf(struct sched *s, struct squeue *q)
{
	struct spacing *p, *next;

	q->paced = q->conf->source_ip_max_msg_rate.n > 0 ||
	    q->conf->source_ip_max_connect_rate.n > 0 ||
	    q->conf->source_ip_max_data_volume_rate.n > 0;
	cache_drop(q);
	for (p = TAILQ_FIRST(&q->paces); p != NULL; p = next) {
		next = TAILQ_NEXT(p, link);
		rates_apply(s, p);
		if (p->nsessions == 0 && until_of(p) <= sched_mono(s))
			pace_free(s, p);
		else
			pace_wake(s, p);
	}
	if (!q->paced)
		return;
	/* without memory they are searched for */
	q->pace_at = calloc(sources_count(q), sizeof(struct spacing *));
	q->npace_at = q->pace_at == NULL ? 0 : sources_count(q);
	sessions_join(s, q);
}

/* ---- over a restart ---- */

/* "@IP=domain/vmta" */
struct spacing *
pace_named(struct sched *s, struct sv name)
{
	struct sv rest = sv_from_at(name, 1), ip = sv_cut(&rest, '=');
	ptrdiff_t slash = rest.p == NULL ? -1 : sv_rfind(rest, '/');
	struct route_addr a = { .family = 0 };
	struct squeue *q;

	if (slash < 0 ||
	    (!sv_eq(ip, SV("system")) && !route_addr_parse(ip, &a)))
		return NULL;
	q = queue_get(s, sv_head(rest, (size_t)slash),
	    sv_from_at(rest, (size_t)slash + 1));
	return q == NULL ? NULL : pace_of(s, q, &a);
}

void
pace_until_set(struct sched *s, struct spacing *p, enum sched_rate rate,
    int64_t until)
{
	if (p->rate[rate].step_ns != 0)
		used_set(s, &p->rate[rate], until);
	else if (until > p->until[rate])
		p->until[rate] = until;
}

static void
used_at(struct sched *s, struct spacing *p, int64_t at, uint32_t n,
    uint32_t kib)
{
	rate_take(&p->rate[RATE_MSGS], at, n);
	used_bound(s, &p->rate[RATE_MSGS]);
	rate_take(&p->rate[RATE_VOLUME], at, kib);
}

/* One that is none of the VMTA's addresses may have been any of them. */
void
pace_tried(struct sched *s, struct squeue *q, const struct route_addr *ip,
    int64_t at, uint32_t n, uint32_t kib)
{
	struct spacing *p;
	bool known = false;

	if (!q->paced)
		return;
	for (uint32_t i = 0; ip != NULL && i < sources_count(q); i++) {
		if (!addr_same(source_at(q, i), ip))
			continue;
		known = true;
		if (pace_get(s, q, i, &p))
			used_at(s, p, at, n, kib);
	}
	for (uint32_t i = 0; !known && i < sources_count(q); i++) {
		if (pace_get(s, q, i, &p))
			used_at(s, p, at, n, kib);
	}
}

/* ---- told ---- */

void
pace_tell(const struct squeue *q, struct sched_queue_why *why)
{
	enum sched_rate rate = q->wait == WAIT_VOLUME ? RATE_VOLUME :
	    q->wait == WAIT_CONN_RATE ? RATE_CONNECTS : RATE_MSGS;
	const struct srate *r = &q->pace_first->rate[rate];

	why->limited = true;
	why->scope = q->name;
	why->source = &q->pace_first->ip;
	why->setting = pace_setting(rate);
	why->nparked = 1;
	why->next_us = rate_next(r);
	if (r->step_ns != 0)
		why->per_hour = NS_PER_HOUR / (double)r->step_ns;
}
