/* SPDX-License-Identifier: ISC */
/*
 * cold-virtual-mta, as PowerMTA has it: each day the first so many messages for
 * a domain in a VMTA go to one of its cold VMTAs instead. Decided when a
 * message arrives, by the domain of its first recipient; days are those of
 * UTC. Counts are kept by events and checkpoints. See <warmup> for plans.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/siphash.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "qmgr/qmgr.h"

#define DOMAINS_MAX  100000 /* of one day; those that come later stay warm */
#define DOMAIN_MAX   255

/* A domain's messages of today. */
struct cold_domain {
	uint32_t count;
	struct sv name;          /* in text[], small letters */
	char text[];
};

/* A VMTA that has cold ones. */
struct cold_vmta {
	struct cold_vmta *next;
	struct sv name;          /* in text[] */
	uint32_t start;          /* day of its first; days since 1970-01-01 */
	uint32_t day;            /* of the counts */
	uint32_t turn;
	struct htab domains;
	char text[];
};

struct colds {
	struct cold_vmta *first;
};

static const uint64_t hash_key[2] = { 7, 8 };

static uint64_t
domain_hash(const void *entry)
{
	const struct cold_domain *d = entry;

	return siphash24(hash_key, d->name.p, d->name.n);
}

static bool
domain_match(const void *entry, const void *key)
{
	return sv_eq(((const struct cold_domain *)entry)->name,
	    ((const struct cold_domain *)key)->name);
}

/* Another day: nothing is counted yet. */
static void
domains_clear(struct cold_vmta *v)
{
	struct cold_domain *d;
	size_t at = 0;

	while ((d = htab_next(&v->domains, &at)) != NULL)
		free(d);
	htab_fini(&v->domains);
	htab_init(&v->domains, domain_hash);
}

static struct cold_vmta *
vmta_get(struct qmgr *q, struct sv name)
{
	struct cold_vmta *v;

	if (q->colds == NULL && (q->colds = calloc(1, sizeof(*q->colds))) ==
	    NULL)
		fatal("out of memory");
	for (v = q->colds->first; v != NULL; v = v->next)
		if (sv_ieq(v->name, name))
			return v;
	v = calloc(1, sizeof(*v) + name.n);
	if (v == NULL)
		fatal("out of memory");
	if (name.n > 0)
		memcpy(v->text, name.p, name.n);
	v->name = sv_make(v->text, name.n);
	htab_init(&v->domains, domain_hash);
	v->next = q->colds->first;
	q->colds->first = v;
	return v;
}

/* NULL if there are too many. */
static struct cold_domain *
domain_get(struct cold_vmta *v, struct sv name)
{
	struct cold_domain key, *d;
	char small[DOMAIN_MAX];

	if (name.n > sizeof(small))
		return NULL;
	for (size_t i = 0; i < name.n; i++)
		small[i] = ascii_lower(name.p[i]);
	key.name = sv_make(small, name.n);
	d = htab_find(&v->domains, domain_hash(&key), domain_match, &key);
	if (d != NULL || htab_count(&v->domains) >= DOMAINS_MAX)
		return d;
	d = calloc(1, sizeof(*d) + name.n);
	if (d == NULL)
		fatal("out of memory");
	if (name.n > 0)
		memcpy(d->text, small, name.n);
	d->name = sv_make(d->text, name.n);
	if (htab_insert(&v->domains, d) != 0)
		fatal("out of memory");
	return d;
}

static void
day_set(struct cold_vmta *v, uint32_t day)
{
	if (v->day == day)
		return;
	domains_clear(v);
	v->day = day;
}

/* How many each domain may have today. */
static uint32_t
day_most(const struct cold_vmta *v, const struct conf_days *days)
{
	uint32_t i = v->day > v->start ? v->day - v->start : 0;

	return days->day[i < days->n ? i : days->n - 1u];
}

static bool
has_days(const struct conf_days *days)
{
	for (uint32_t i = 0; i < days->n; i++)
		if (days->day[i] > 0)
			return true;
	return false;
}

static void
cold_log(struct qmgr *q, const struct cold_vmta *v,
    const struct cold_domain *d)
{
	union ev_any e = { .cold = { .vmta = v->name, .domain = d->name,
	    .start = v->start, .day = v->day, .count = d->count } };

	journal_append(q, EV_COLD, &e);
}

struct sv
cold_pick(struct qmgr *q, struct sv vmta, struct sv domain)
{
	const struct conf_vmta *warm = conf_vmta_find(q->conf, vmta);
	const struct conf_svs *cold = &warm->cold_virtual_mta;
	const struct conf_days *days;
	struct cold_domain *d;
	struct cold_vmta *v;

	if (cold->n == 0)
		return vmta;
	days = &conf_domain_find(q->conf, vmta,
	    domain)->max_cold_virtual_mta_msg;
	if (!has_days(days))
		return vmta;
	v = vmta_get(q, vmta);
	day_set(v, (uint32_t)(clock_wall().us / (86400 * US_PER_SEC)));
	if (v->start == 0)
		v->start = v->day;
	d = domain_get(v, domain);
	if (d == NULL || d->count >= day_most(v, days))
		return vmta;
	d->count++;
	cold_log(q, v, d);
	/* its name as the VMTA's block spells it */
	return conf_vmta_find(q->conf, cold->v[v->turn++ % cold->n])->name;
}

/* ---- over a restart ---- */

void
cold_replay(struct qmgr *q, const struct ev_cold *e)
{
	struct cold_vmta *v = vmta_get(q, e->vmta);
	struct cold_domain *d;

	day_set(v, e->day);
	v->start = e->start;
	d = e->domain.n == 0 ? NULL : domain_get(v, e->domain);
	if (d == NULL)
		return;
	d->count = e->count;
	v->turn++;
}

int
colds_save(const struct qmgr *q, struct checkpoint *cp)
{
	const struct cold_vmta *v = q->colds == NULL ? NULL : q->colds->first;

	for (; v != NULL; v = v->next) {
		union ev_any e = { .cold = { .vmta = v->name,
		    .domain = SV(""), .start = v->start, .day = v->day } };
		const struct cold_domain *d;
		size_t at = 0;

		if (checkpoint_add(cp, EV_COLD, &e) != 0)
			return -1;
		while ((d = htab_next(&v->domains, &at)) != NULL) {
			e.cold.domain = d->name;
			e.cold.count = d->count;
			if (checkpoint_add(cp, EV_COLD, &e) != 0)
				return -1;
		}
	}
	return 0;
}
