/* SPDX-License-Identifier: ISC */
/* The structs of blocks with a name, and what pools ask for beyond their
 * rows. */
#include <stdlib.h>
#include <string.h>

#include "common/conf/store.h"

/* Lines whose order counts are tried one by one. */
static void
check_lines(const struct conf *c, struct conf_report *rep,
    const struct block *b)
{
	uint32_t n = 0;

	for (const struct setting *s = b->first; s != NULL; s = s->next)
		n += type_is_ordered((enum conf_type)s->row->type);
	if (n > CONF_RULES_MAX)
		report_error(rep, place_file(c, b->at), b->at.line, "<%s> has "
		    "more than %u lines", scope_infos[b->scope].tag,
		    CONF_RULES_MAX);
}

static bool
scope_make(struct conf *c, struct conf_report *rep, enum conf_scope scope)
{
	const struct scope_info *info = &scope_infos[scope];
	struct made *made = &c->made[scope];
	char *at;

	made->n = blocks_count(c, scope);
	if (made->n == 0)
		return true;
	at = made->v = store_alloc(c, made->n * info->size);
	if (at == NULL)
		return false;
	memset(at, 0, made->n * info->size);
	for (uint32_t i = 1; i < c->nblocks; i++) {
		const struct block *b = c->blocks[i];

		if (b->scope != scope)
			continue;
		scope_defaults(scope, at);
		/* Each of these structs starts with its name. */
		memcpy(at, &b->arg, sizeof(b->arg));
		block_apply(b, at);
		if (!block_lists(c, b, at))
			return false;
		check_lines(c, rep, b);
		at += info->size;
	}
	return true;
}

bool
blocks_make(struct conf *c, struct conf_report *rep)
{
	for (unsigned s = 0; s < SCOPES; s++)
		if (scope_infos[s].as != AS_OWN &&
		    !scope_make(c, rep, (enum conf_scope)s))
			return false;
	return true;
}

/* ---- pools ---- */

struct pools {
	struct conf *c;
	struct conf_report *rep;
	const struct block **blocks; /* by index */
	bool *has_domain;            /* by index */
	uint32_t *in;                /* by VMTA: pools that it is in, */
	uint32_t *last;              /* and the last of them, from 1 */
};

#define error_at(p, at, ...) report_error((p)->rep, \
    place_file((p)->c, at), (at).line, __VA_ARGS__)

static void
find_pools(struct pools *p)
{
	const struct conf *c = p->c;

	for (uint32_t i = 1; i < c->nblocks; i++) {
		const struct block *b = c->blocks[i];
		const struct block *parent = c->blocks[b->parent];

		if (b->scope == SCOPE_POOL)
			p->blocks[b->index] = b;
		if (b->scope == SCOPE_DOMAIN && parent->scope == SCOPE_POOL)
			p->has_domain[parent->index] = true;
	}
}

/* The members of a pool with <domain> blocks get those. */
static void
pool_owns(struct pools *p, uint32_t pool, uint32_t vmta)
{
	uint32_t owner = (uint32_t)p->c->nvmtas + pool;
	uint32_t *of = &p->c->pool_of[vmta];
	const struct block *b = p->blocks[pool];

	if (!p->has_domain[pool] || *of == owner)
		return;
	if (*of != 0) {
		error_at(p, b->at, "<virtual-mta %.*s> is in this pool and in "
		    "<virtual-mta-pool %.*s>, and both contain <domain>: only "
		    "one of them may", SV_FMT(p->c->vmtas[vmta].name),
		    SV_FMT(p->blocks[*of - p->c->nvmtas]->arg));
		return;
	}
	*of = owner;
}

/* A member may stand in a pool twice. */
static void
pool_count(struct pools *p, uint32_t pool, uint32_t vmta,
    const struct setting *s)
{
	if (p->last[vmta] == pool + 1)
		return;
	p->last[vmta] = pool + 1;
	if (++p->in[vmta] == CONF_VMTA_POOLS_MAX + 1)
		error_at(p, s->at, "<virtual-mta %.*s> is in more than %u "
		    "pools", SV_FMT(p->c->vmtas[vmta].name),
		    (unsigned)CONF_VMTA_POOLS_MAX);
}

static void
pool_members(struct pools *p, uint32_t pool)
{
	const struct block *b = p->blocks[pool];
	const struct conf_row *row = row_find(SCOPE_POOL, SV("virtual-mta"));
	struct conf_member m;

	for (const struct setting *s = b->first; s != NULL; s = s->next) {
		uint32_t vmta;

		if (s->row != row || s->clear ||
		    row_parse(row, s->value, &m) != NULL)
			continue;
		vmta = name_find(p->c, SCOPE_VMTA, m.name);
		if (vmta == STORE_NONE) {
			error_at(p, s->at, "virtual-mta: there is no "
			    "<virtual-mta %.*s>", SV_FMT(m.name));
			continue;
		}
		pool_owns(p, pool, vmta);
		pool_count(p, pool, vmta, s);
	}
}

static void
pool_check(struct pools *p, uint32_t pool)
{
	const struct block *b = p->blocks[pool];

	if (name_find(p->c, SCOPE_VMTA, b->arg) != STORE_NONE)
		error_at(p, b->at, "there is a <virtual-mta %.*s>: a pool "
		    "needs a name of its own", SV_FMT(b->arg));
	if (conf_pool(p->c, pool)->virtual_mta.n == 0)
		error_at(p, b->at, "<virtual-mta-pool %.*s> is empty: it "
		    "needs a virtual-mta", SV_FMT(b->arg));
	pool_members(p, pool);
}

bool
pools_make(struct conf *c, struct conf_report *rep)
{
	uint32_t n = (uint32_t)conf_npools(c);
	struct pools p = { .c = c, .rep = rep };
	bool ok;

	p.blocks = calloc(n + 1, sizeof(struct block *));
	p.has_domain = calloc(n + 1, 1);
	p.in = calloc(c->nvmtas, sizeof(*p.in));
	p.last = calloc(c->nvmtas, sizeof(*p.last));
	c->pool_of = store_alloc(c, c->nvmtas * sizeof(*c->pool_of));
	ok = p.blocks != NULL && p.has_domain != NULL && p.in != NULL &&
	    p.last != NULL && c->pool_of != NULL;
	if (ok) {
		memset(c->pool_of, 0, c->nvmtas * sizeof(*c->pool_of));
		find_pools(&p);
		for (uint32_t i = 0; i < n; i++)
			if (p.blocks[i] != NULL)
				pool_check(&p, i);
	}
	free(p.blocks);
	free(p.has_domain);
	free(p.in);
	free(p.last);
	return ok;
}
