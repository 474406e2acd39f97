/* SPDX-License-Identifier: ISC */
/* Questions to a configuration. */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/siphash.h"
#include "common/conf/store.h"

/* 127 labels, two kinds each, for all VMTAs, a pool and one, and networks. */
#define NODES_MAX   1024u
#define DOMAIN_MAX  255u
#define CACHE_MAX   (256u << 20)

static const uint64_t hash_key[2] = { 3, 4 };

/* ---- what holds ---- */

/* The last setting of the row in one node. */
static const struct setting *
node_setting(const struct node *n, const struct conf_row *row,
    const struct block **b_r)
{
	const struct setting *found = NULL;

	for (const struct node_block *nb = n->blocks; nb != NULL;
	    nb = nb->next) {
		for (const struct setting *s = nb->block->first; s != NULL;
		    s = s->next) {
			if (s->row != row)
				continue;
			found = s;
			*b_r = nb->block;
		}
	}
	return found;
}

static bool
rate_is_lower(const struct conf_rate *a, const struct conf_rate *b)
{
	if (a->period_ms == 0 || b->period_ms == 0)
		return a->period_ms != 0;
	return (double)a->n * (double)b->period_ms <
	    (double)b->n * (double)a->period_ms;
}

/* Of two settings of a limit; 0 is none. */
static bool
limit_is_lower(const struct setting *a, const struct setting *b)
{
	union conf_any va = { .as_NUM = 0 }, vb = { .as_NUM = 0 };

	(void)row_parse(a->row, a->clear ? sv_from(a->row->def) : a->value,
	    &va);
	(void)row_parse(b->row, b->clear ? sv_from(b->row->def) : b->value,
	    &vb);
	if (a->row->type != CONF_T_NUM)
		return rate_is_lower(&va.as_RATE, &vb.as_RATE);
	return va.as_NUM != 0 && (vb.as_NUM == 0 || va.as_NUM < vb.as_NUM);
}

static bool
row_is_limit(const struct conf_row *row)
{
	return (row->type == CONF_T_NUM || row->type == CONF_T_RATE ||
	    row->type == CONF_T_DRATE) && row->arg != NULL;
}

static bool
is_for_all(const struct node *n)
{
	return n->kind == '*' && n->domain.n == 0;
}

const struct setting *
nodes_effective(const struct node *const *nodes, size_t n,
    const struct conf_row *row, const struct block **b_r)
{
	const struct setting *rule = NULL, *own = NULL, *s;
	const struct block *rule_block = NULL, *b = NULL;
	bool for_all = false;

	for (size_t i = 0; i < n; i++) {
		s = node_setting(nodes[i], row, &b);
		if (s == NULL)
			continue;
		if (nodes[i]->owner == STORE_RULES) {
			rule = s;
			rule_block = b;
			continue;
		}
		own = s;
		*b_r = b;
		for_all = is_for_all(nodes[i]);
	}
	if (rule == NULL || (own != NULL && !(for_all && row_is_limit(row) &&
	    limit_is_lower(rule, own))))
		return own;
	*b_r = rule_block;
	return rule;
}

/* ---- the cache of merged structs ---- */

static uint64_t
merged_hash(const void *p)
{
	const struct merged *m = p;

	return m->hash;
}

static bool
merged_match(const void *entry, const void *key)
{
	const struct merged *a = entry, *b = key;

	return a->n == b->n && (a->n == 0 ||
	    memcmp(a->nodes, b->nodes, a->n * sizeof(struct node *)) == 0);
}

struct conf_cache *
cache_new(void)
{
	struct conf_cache *k = calloc(1, sizeof(*k));

	if (k == NULL)
		return NULL;
	arena_init(&k->arena, CACHE_MAX);
	htab_init(&k->domains, merged_hash);
	htab_init(&k->sources, merged_hash);
	return k;
}

void
cache_free(struct conf_cache **kp)
{
	struct conf_cache *k = *kp;

	if (k == NULL)
		return;
	*kp = NULL;
	htab_fini(&k->domains);
	htab_fini(&k->sources);
	arena_fini(&k->arena);
	free(k);
}

static void
gather_nodes(struct gather *g, const struct merged *m)
{
	g->n = 0;
	for (size_t i = 0; i < m->n; i++)
		for (const struct node_block *nb = m->nodes[i]->blocks;
		    nb != NULL; nb = nb->next)
			gather_block(g, nb->block);
}

/* A list is made of what all the blocks say, the most specific last. */
static bool
merge_list(struct conf_cache *k, const struct conf_row *row,
    struct merged *m)
{
	struct gather g = { .row = row };

	gather_nodes(&g, m);
	if (g.n == 0)
		return true;
	g.v = arena_alloc(&k->arena,
	    g.most * elem_size((enum conf_type)row->type));
	if (g.v == NULL)
		return false;
	gather_nodes(&g, m);
	list_set(row, m->value, g.v, g.n);
	return true;
}

/* A limit of a rule that is lower than what holds for all domains. */
static void
merge_limits(struct merged *m)
{
	const struct block *b;

	if (m->n == 0 || m->nodes[0]->owner != STORE_RULES)
		return;
	for (const struct node_block *nb = m->nodes[0]->blocks; nb != NULL;
	    nb = nb->next)
		for (const struct setting *s = nb->block->first; s != NULL;
		    s = s->next)
			if (row_is_limit(s->row) && nodes_effective(m->nodes,
			    m->n, s->row, &b) == s)
				setting_apply(s, m->value);
}

static bool
merge(struct conf_cache *k, enum conf_scope scope, struct merged *m)
{
	const struct scope_info *s = &scope_infos[scope];

	scope_defaults(scope, m->value);
	for (size_t i = 0; i < m->n; i++)
		for (const struct node_block *nb = m->nodes[i]->blocks;
		    nb != NULL; nb = nb->next)
			block_apply(nb->block, m->value);
	merge_limits(m);
	for (size_t i = 0; i < s->nrows; i++) {
		const struct conf_row *row = &s->rows[i];

		if ((row->kind == ROW_USED || row->kind == ROW_NOT_YET) &&
		    type_repeats((enum conf_type)row->type) &&
		    !merge_list(k, row, m))
			return false;
	}
	return true;
}

/* NULL without memory. */
static struct merged *
merged_make(struct conf_cache *k, struct htab *t, const struct merged *key,
    enum conf_scope scope, size_t size)
{
	size_t bytes = key->n * sizeof(struct node *);
	struct merged *m = arena_alloc(&k->arena, sizeof(*m));
	const struct node **nodes = arena_alloc(&k->arena, bytes + 1);
	void *value = arena_alloc(&k->arena, size);

	if (m == NULL || nodes == NULL || value == NULL)
		return NULL;
	if (bytes > 0)
		memcpy(nodes, key->nodes, bytes);
	*m = (struct merged){ key->hash, key->n, nodes, value };
	return merge(k, scope, m) && htab_insert(t, m) == 0 ? m : NULL;
}

static const void *
merged_get(struct conf_cache *k, struct htab *t, const struct node **nodes,
    size_t n, enum conf_scope scope, size_t size)
{
	struct merged key = { .n = n, .nodes = nodes };
	struct merged *m;

	key.hash = siphash24(hash_key, nodes, n * sizeof(struct node *));
	m = htab_find(t, key.hash, merged_match, &key);
	if (m == NULL)
		m = merged_make(k, t, &key, scope, size);
	/* As everywhere in the long-lived parts: no memory, no process. */
	if (m == NULL)
		mem_exhausted();
	return m->value;
}

/* ---- queues ---- */

struct found {
	const struct node **v;
	size_t n, max;
};

static void
found_add(struct found *f, const struct node *n)
{
	if (n != NULL && f->n < f->max)
		f->v[f->n++] = n;
}

/* A rollup is a group of domains: it stands behind all domains and before the
 * one. */
static void
find_general(const struct conf *c, uint32_t owner, struct sv rollup,
    struct found *f)
{
	found_add(f, domain_node(c, owner, '*', SV("")));
	if (rollup.n > 0)
		found_add(f, domain_node(c, owner, '=', rollup));
}

static void
find_suffixes(const struct conf *c, uint32_t owner, struct sv domain,
    struct found *f)
{
	size_t at = domain.n;

	while (at > 0) {
		at--;
		if (at > 0 && domain.p[at - 1] != '.')
			continue;
		found_add(f, domain_node(c, owner, '+',
		    sv_from_at(domain, at)));
		if (at > 0)
			found_add(f, domain_node(c, owner, '*',
			    sv_from_at(domain, at)));
	}
	found_add(f, domain_node(c, owner, '=', domain));
}

static void
find_literals(const struct conf *c, uint32_t owner, struct sv domain,
    struct found *f)
{
	struct sv text = sv_from_at(sv_head(domain, domain.n - 1), 1);
	struct route_addr ip;

	if (sv_istarts(text, SV("IPv6:")))
		text = sv_from_at(text, 5);
	if (conf_parse_ip(text, &ip) != NULL)
		return;
	for (size_t i = 0; i < c->literals.n; i++) {
		const struct node *n = c->literals.v[i];

		if (n->owner == owner && conf_cidr_has(&n->cidr, &ip))
			found_add(f, n);
	}
}

static void
find_in(const struct conf *c, uint32_t owner, struct sv domain,
    struct sv rollup, struct found *f)
{
	find_general(c, owner, rollup, f);
	if (domain.n > 2 && domain.p[0] == '[')
		find_literals(c, owner, domain, f);
	else
		find_suffixes(c, owner, domain, f);
}

static struct sv
lower(struct sv v, char *mem)
{
	/* A longer name is no domain; the general settings hold for it. */
	size_t n = v.n > DOMAIN_MAX ? 0 : v.n;

	for (size_t i = 0; i < n; i++)
		mem[i] = ascii_lower(v.p[i]);
	return sv_make(mem, n);
}

static const struct conf_rollups *
rollups(const struct conf *c, struct sv list)
{
	static const struct conf_rollups none = { NULL, 0 };
	const struct conf_rollup_list *v = c->made[SCOPE_ROLLUP].v;
	uint32_t i = name_find(c, SCOPE_ROLLUP, list);

	return i == STORE_NONE ? &none : &v[i].mx;
}

static bool
has_rollup(const struct conf_rollups *l, struct sv name)
{
	for (uint32_t i = 0; i < l->n; i++)
		if (sv_ieq(l->v[i].name, name))
			return true;
	return false;
}

size_t
domain_nodes(const struct conf *c, uint32_t vmta, struct sv domain,
    struct sv rollup, const struct node **out, size_t max)
{
	struct found f = { out, 0, max };
	char mem[DOMAIN_MAX], rmem[DOMAIN_MAX];

	domain = lower(domain, mem);
	rollup = lower(rollup, rmem);
	if (rollup.n == 0 && sv_iends(domain, SV(".rollup")))
		rollup = domain;
	if (has_rollup(rollups(c, SV("")), rollup))
		domain = rollup;
	else if (!has_rollup(rollups(c, STORE_RULES_LIST), rollup))
		rollup = SV(""); /* of an older configuration */
	if (rollup.n > 0)
		found_add(&f, domain_node(c, STORE_RULES, '=', rollup));
	if (sv_eq(domain, rollup))
		rollup = SV("");
	find_in(c, 0, domain, rollup, &f);
	if (c->pool_of[vmta] != 0)
		find_in(c, c->pool_of[vmta], domain, rollup, &f);
	if (vmta != 0)
		find_in(c, vmta, domain, rollup, &f);
	return f.n;
}

static uint32_t
vmta_index(const struct conf *c, struct sv vmta)
{
	const struct conf_vmta *v = conf_vmta_find(c, vmta);

	return v == NULL ? 0 : (uint32_t)(v - c->vmtas);
}

const struct conf_domain *
conf_rolled_find(const struct conf *c, struct sv vmta, struct sv domain,
    struct sv rollup)
{
	const struct node *nodes[NODES_MAX];
	size_t n = domain_nodes(c, vmta_index(c, vmta), domain, rollup, nodes,
	    NODES_MAX);

	return merged_get(c->cache, &c->cache->domains, nodes, n,
	    SCOPE_DOMAIN, sizeof(struct conf_domain));
}

const struct conf_domain *
conf_domain_find(const struct conf *c, struct sv vmta, struct sv domain)
{
	return conf_rolled_find(c, vmta, domain, SV(""));
}

void
conf_domain_get(const struct conf *c, struct sv vmta, struct sv domain,
    struct conf_domain *out)
{
	*out = *conf_domain_find(c, vmta, domain);
}

/* ---- sources ---- */

const struct conf_source *
conf_source_get(const struct conf *c, const struct route_addr *ip,
    struct sv name)
{
	const struct node *nodes[NODES_MAX];
	struct found f = { nodes, 0, NODES_MAX - 1 };

	for (size_t i = 0; i < c->sources.n; i++)
		if (conf_cidr_has(&c->sources.v[i]->cidr, ip))
			found_add(&f, c->sources.v[i]);
	f.max = NODES_MAX;
	if (name.n > 0)
		found_add(&f, source_node(c, name));
	return merged_get(c->cache, &c->cache->sources, nodes, f.n,
	    SCOPE_SOURCE, sizeof(struct conf_source));
}

/* ---- relaying ---- */

bool
conf_relay_allows(const struct conf *c, struct sv domain)
{
	const struct conf_svs *relay = &c->global.relay_domain;
	const struct conf_svs *hosts = &c->global.host_name;

	if (domain.n == 0)
		return false;
	for (uint32_t i = 0; i < hosts->n; i++)
		if (sv_ieq(hosts->v[i], domain))
			return true;
	for (uint32_t i = 0; i < relay->n; i++)
		if (conf_pattern_has(relay->v[i], domain))
			return true;
	return false;
}

bool
conf_relay_allows_rcpt(const struct conf *c, struct sv local,
    struct sv domain)
{
	const struct conf_svs *list = &c->global.relay_address;
	struct sv addr;
	struct buf b;
	bool found = conf_relay_allows(c, domain);

	if (found || list->n == 0)
		return found;
	buf_init(&b, 2048);
	if (buf_add_sv(&b, local) == 0 && buf_add(&b, "@", 1) == 0 &&
	    buf_add_sv(&b, domain) == 0) {
		addr = buf_sv(&b);
		for (uint32_t i = 0; !found && i < list->n; i++)
			found = sv_ieq(list->v[i], addr);
		found = found || relay_regexes_match(c, addr);
	}
	buf_fini(&b);
	return found;
}

/* ---- plain getters ---- */

const struct conf_global *
conf_global(const struct conf *c)
{
	return &c->global;
}

const struct conf_spool *
conf_spool(const struct conf *c)
{
	return &c->spool;
}

bool
conf_pickup(const struct conf *c, struct sv *dir_r, struct sv *bad_r)
{
	*bad_r = c->global.pickup;
	*dir_r = text_word(bad_r);
	return dir_r->n > 0;
}

struct sv
conf_hostname(const struct conf *c)
{
	return c->hostname;
}

size_t
conf_nlisteners(const struct conf *c)
{
	return c->nlisteners;
}

const struct conf_listener *
conf_listener(const struct conf *c, size_t i)
{
	return &c->listeners[i];
}

size_t
conf_naccts(const struct conf *c)
{
	return c->naccts;
}

const struct conf_acct *
conf_acct(const struct conf *c, size_t i)
{
	return &c->accts[i];
}

size_t
conf_nvmtas(const struct conf *c)
{
	return c->nvmtas;
}

const struct conf_vmta *
conf_vmta(const struct conf *c, size_t i)
{
	return &c->vmtas[i];
}

const struct conf_vmta *
conf_vmta_find(const struct conf *c, struct sv name)
{
	uint32_t i = name.n == 0 ? 0 : name_find(c, SCOPE_VMTA, name);

	return i == STORE_NONE ? NULL : &c->vmtas[i];
}

size_t
conf_npools(const struct conf *c)
{
	return c->made[SCOPE_POOL].n;
}

const struct conf_pool *
conf_pool(const struct conf *c, size_t i)
{
	const struct conf_pool *v = c->made[SCOPE_POOL].v;

	return &v[i];
}

const struct conf_pool *
conf_pool_find(const struct conf *c, struct sv name)
{
	uint32_t i = name_find(c, SCOPE_POOL, name);

	return i == STORE_NONE ? NULL : conf_pool(c, i);
}

size_t
conf_nreply_lists(const struct conf *c)
{
	return c->made[SCOPE_REPLIES].n;
}

const struct conf_reply_list *
conf_reply_list(const struct conf *c, size_t i)
{
	const struct conf_reply_list *v = c->made[SCOPE_REPLIES].v;

	return &v[i];
}

struct sv
conf_rollup_of(const struct conf *c, const struct sv *hosts, size_t n)
{
	struct sv name = conf_rollup_find(rollups(c, SV("")), hosts, n);

	return name.n > 0 ? name :
	    conf_rollup_find(rollups(c, STORE_RULES_LIST), hosts, n);
}

const struct conf_reply_list *
conf_reply_list_find(const struct conf *c, struct sv name)
{
	uint32_t i = name_find(c, SCOPE_REPLIES, name);

	return i == STORE_NONE ? NULL : conf_reply_list(c, i);
}
