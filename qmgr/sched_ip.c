/* SPDX-License-Identifier: ISC */
/*
 * Source addresses as the operator sees them: what became, within an hour, of
 * the connections that a VMTA made from each of its addresses. It decides
 * nothing. Without memory an address is not counted.
 */
#include <stdlib.h>
#include <string.h>

#include "qmgr/sched_private.h"

static bool
ip_same(const struct route_addr *a, const struct route_addr *b)
{
	return a->family == b->family &&
	    memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

/* They are few: a list does. */
struct sip *
ip_get(struct svmta *vm, const struct route_addr *ip)
{
	struct sip *i;

	TAILQ_FOREACH(i, &vm->ips, link) {
		if (ip_same(&i->ip, ip))
			return i;
	}
	i = calloc(1, sizeof(*i));
	if (i == NULL)
		return NULL;
	i->vm = vm;
	i->ip = *ip;
	TAILQ_INSERT_TAIL(&vm->ips, i, link);
	return i;
}

static void
ip_free(struct sip *i)
{
	TAILQ_REMOVE(&i->vm->ips, i, link);
	free(i);
}

/* An address that is no longer configured is forgotten when nothing is left of
 * it. */
void
ips_conf(struct svmta *vm)
{
	static const struct route_addr system_chooses;
	const struct conf_srchosts *v = vm->sources;
	struct sip *i, *next;

	TAILQ_FOREACH(i, &vm->ips, link)
		i->configured = false;
	for (uint32_t k = 0; k < (v == NULL || v->n == 0 ? 1 : v->n); k++) {
		i = ip_get(vm, v == NULL || v->n == 0 ? &system_chooses :
		    &v->v[k].ip);
		if (i != NULL)
			i->configured = true;
	}
	for (i = TAILQ_FIRST(&vm->ips); i != NULL; i = next) {
		next = TAILQ_NEXT(i, link);
		if (!i->configured && i->nsessions == 0 && i->noff == 0)
			ip_free(i);
	}
}

void
ips_free(struct svmta *vm)
{
	struct sip *i;

	while ((i = TAILQ_FIRST(&vm->ips)) != NULL)
		ip_free(i);
}

void
ip_count(const struct sched *s, struct sip *i, enum sched_ip_count c)
{
	if (i != NULL)
		ring_add(&i->count[c], sched_mono(s), RING_HOUR_US);
}

/* ---- told ---- */

static bool
is_any(struct sv v)
{
	return v.n == 0 || sv_eq(v, SV("*"));
}

/* Disabled for all that the VMTA has, or for some: those for one queue are
 * counted already. */
static void
off_tell(const struct sched *s, const struct sip *i, struct sched_ip *r)
{
	const struct soff *o;

	r->disabled_for = i->noff;
	TAILQ_FOREACH(o, &s->off_wide, of) {
		if (!ip_same(&o->ip, &i->ip) ||
		    (!is_any(o->vmta) && !sv_ieq(o->vmta, i->vm->name)))
			continue;
		if (!is_any(o->domain)) {
			r->disabled_for++;
			continue;
		}
		/* the last one to end counts; 0 does not end */
		if (!r->disabled || (r->until_us != 0 &&
		    (o->until_us == 0 || o->until_us > r->until_us)))
			r->until_us = o->until_us;
		r->disabled = true;
	}
}

static const struct sip *
ip_next(const struct sched *s, const struct sip *i)
{
	const struct svmta *vm = i == NULL ? TAILQ_FIRST(&s->vmtas) : i->vm;

	if (i != NULL) {
		if (TAILQ_NEXT(i, link) != NULL)
			return TAILQ_NEXT(i, link);
		vm = TAILQ_NEXT(vm, link);
	}
	while (vm != NULL && TAILQ_EMPTY(&vm->ips))
		vm = TAILQ_NEXT(vm, link);
	return vm == NULL ? NULL : TAILQ_FIRST(&vm->ips);
}

bool
sched_ip_next(const struct sched *s, struct sched_now now, const void **at,
    struct sched_ip *r)
{
	const struct sip *i = ip_next(s, *at);

	if (i == NULL)
		return false;
	*at = i;
	*r = (struct sched_ip){ .vmta = i->vm->name, .ip = i->ip,
		.configured = i->configured, .sessions = i->nsessions };
	for (int c = 0; c < IP_COUNTS; c++)
		r->count[c] = ring_sum(&i->count[c], now.mono.us,
		    RING_HOUR_US);
	off_tell(s, i, r);
	return true;
}
