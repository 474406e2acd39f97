/* SPDX-License-Identifier: ISC */
/*
 * Which VMTA of a pool gets a message: by turns, by weight, and evenly mixed
 * (smooth weighted round robin: each member gains its weight, the richest is
 * chosen and pays for all). Begins anew with new settings and at a start.
 */
#include <stdlib.h>

#include "common/sys/log.h"
#include "qmgr/qmgr.h"

struct pools {
	int64_t **credit;        /* by pool and member of q->conf */
	size_t n;
};

static struct pools *
pools_new(const struct conf *conf)
{
	struct pools *p = calloc(1, sizeof(*p));

	if (p == NULL)
		fatal("out of memory");
	p->n = conf_npools(conf);
	p->credit = calloc(p->n, sizeof(*p->credit));
	if (p->credit == NULL)
		fatal("out of memory");
	for (size_t i = 0; i < p->n; i++) {
		p->credit[i] = calloc(conf_pool(conf, i)->virtual_mta.n,
		    sizeof(**p->credit));
		if (p->credit[i] == NULL)
			fatal("out of memory");
	}
	return p;
}

void
pools_forget(struct qmgr *q)
{
	struct pools *p = q->pools;

	if (p == NULL)
		return;
	q->pools = NULL;
	for (size_t i = 0; i < p->n; i++)
		free(p->credit[i]);
	free(p->credit);
	free(p);
}

static struct sv
member_pick(const struct conf_members *m, int64_t *credit)
{
	int64_t total = 0;
	uint32_t best = 0;

	for (uint32_t i = 0; i < m->n; i++) {
		credit[i] += m->v[i].weight;
		total += m->v[i].weight;
		if (credit[i] > credit[best])
			best = i;
	}
	credit[best] -= total;
	return m->v[best].name;
}

struct sv
pool_pick(struct qmgr *q, struct sv name)
{
	const struct conf_pool *c = conf_pool_find(q->conf, name);

	if (c == NULL)
		return SV("");
	if (q->pools == NULL)
		q->pools = pools_new(q->conf);
	return member_pick(&c->virtual_mta,
	    q->pools->credit[c - conf_pool(q->conf, 0)]);
}
