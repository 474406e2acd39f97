/* SPDX-License-Identifier: ISC */
/* The indexes: from a domain or an address to the blocks that speak of it. */
#include <stdlib.h>
#include <string.h>

#include "common/base/siphash.h"
#include "common/conf/store.h"

#define KEY_MAX 300u

/* Names in the index come from the operator's file: no key is needed. */
static const uint64_t hash_key[2] = { 1, 2 };

static uint64_t
key_hash(uint32_t owner, char kind, struct sv domain)
{
	unsigned char mem[KEY_MAX];
	size_t n = domain.n < sizeof(mem) - 5 ? domain.n : sizeof(mem) - 5;

	memcpy(mem, &owner, 4);
	mem[4] = (unsigned char)kind;
	if (n > 0)
		memcpy(mem + 5, domain.p, n);
	return siphash24(hash_key, mem, n + 5);
}

uint64_t
node_hash(const void *p)
{
	const struct node *n = p;

	return key_hash(n->owner, n->kind, n->domain);
}

static bool
node_match(const void *entry, const void *key)
{
	const struct node *n = entry, *k = key;

	return n->owner == k->owner && n->kind == k->kind &&
	    sv_eq(n->domain, k->domain);
}

static struct node *
node_find(const struct htab *t, uint32_t owner, char kind, struct sv domain)
{
	struct node key = { .owner = owner, .kind = kind, .domain = domain };

	return htab_find(t, node_hash(&key), node_match, &key);
}

struct node *
domain_node(const struct conf *c, uint32_t owner, char kind, struct sv domain)
{
	return node_find(&c->domains, owner, kind, domain);
}

static struct sv
lower_into(struct sv v, char *mem, size_t size)
{
	size_t n = v.n < size ? v.n : size;

	for (size_t i = 0; i < n; i++)
		mem[i] = ascii_lower(v.p[i]);
	return sv_make(mem, n);
}

struct node *
source_node(const struct conf *c, struct sv name)
{
	char mem[KEY_MAX];

	return node_find(&c->source_names, 0, '=',
	    lower_into(name, mem, sizeof(mem)));
}

/* Expanded blocks go before plain ones: what is applied later wins. */
static bool
node_link(struct conf *c, struct node *n, const struct block *b,
    bool expanded)
{
	struct node_block *nb = store_alloc(c, sizeof(*nb));
	struct node_block **at = &n->blocks;

	if (nb == NULL)
		return false;
	nb->block = b;
	nb->expanded = expanded;
	while (*at != NULL && ((*at)->expanded || !expanded))
		at = &(*at)->next;
	nb->next = *at;
	*at = nb;
	return true;
}

/* Finds or makes the node of a name. */
static struct node *
node_make(struct conf *c, struct htab *t, uint32_t owner, char kind,
    struct sv domain)
{
	struct node *n = node_find(t, owner, kind, domain);

	if (n != NULL)
		return n;
	n = store_alloc(c, sizeof(*n));
	if (n == NULL || !store_sv(c, domain, &n->domain))
		return NULL;
	n->owner = owner;
	n->kind = kind;
	return htab_insert(t, n) == 0 ? n : NULL;
}

static bool
nodes_push(struct nodes *l, struct node *n)
{
	struct node **v;
	size_t size = l->size == 0 ? 16 : l->size * 2;

	if (l->n == l->size) {
		v = reallocarray(l->v, size, sizeof(struct node *));
		if (v == NULL)
			return false;
		l->v = v;
		l->size = size;
	}
	l->v[l->n++] = n;
	return true;
}

/* Equal networks share a node, so that one address is in few nodes. */
static struct node *
cidr_node(struct conf *c, struct nodes *l, uint32_t owner,
    const struct conf_cidr *cidr)
{
	struct node *n;

	for (size_t i = 0; i < l->n; i++) {
		n = l->v[i];
		if (n->owner == owner && n->cidr.bits == cidr->bits &&
		    n->cidr.ip.family == cidr->ip.family &&
		    memcmp(n->cidr.ip.ip, cidr->ip.ip, 16) == 0)
			return n;
	}
	n = store_alloc(c, sizeof(*n));
	if (n == NULL)
		return NULL;
	*n = (struct node){ .owner = owner, .kind = '/', .domain = SV(""),
	    .cidr = *cidr };
	return nodes_push(l, n) ? n : NULL;
}

static bool
cidr_add(struct conf *c, struct nodes *l, uint32_t owner,
    const struct conf_cidr *cidr, const struct block *b, bool expanded)
{
	struct node *n = cidr_node(c, l, owner, cidr);

	return n != NULL && node_link(c, n, b, expanded);
}

static bool
literal_add(struct conf *c, uint32_t owner, struct sv text,
    const struct block *b, bool expanded)
{
	struct conf_cidr cidr;

	text = sv_from_at(sv_head(text, text.n - 1), 1);
	if (sv_istarts(text, SV("IPv6:")))
		text = sv_from_at(text, 5);
	if (conf_parse_cidr(text, &cidr) != NULL)
		return false;
	return cidr_add(c, &c->literals, owner, &cidr, b, expanded);
}

bool
domain_node_add(struct conf *c, uint32_t owner, struct sv pattern,
    const struct block *b, bool expanded)
{
	char mem[KEY_MAX];
	struct node *n;
	char kind = '=';

	if (sv_eq(pattern, SV("*"))) {
		kind = '*';
		pattern = SV("");
	} else if (sv_starts(pattern, SV("*."))) {
		kind = '*';
		pattern = sv_from_at(pattern, 2);
	} else if (sv_starts(pattern, SV("[*.]"))) {
		kind = '+';
		pattern = sv_from_at(pattern, 4);
	} else if (sv_starts(pattern, SV("["))) {
		return literal_add(c, owner, pattern, b, expanded);
	}
	n = node_make(c, &c->domains, owner, kind,
	    lower_into(pattern, mem, sizeof(mem)));
	return n != NULL && node_link(c, n, b, expanded);
}

bool
source_node_add(struct conf *c, const struct block *b)
{
	char mem[KEY_MAX];
	struct conf_cidr cidr;
	struct node *n;

	if (conf_parse_cidr(b->arg, &cidr) == NULL)
		return cidr_add(c, &c->sources, 0, &cidr, b, false);
	n = node_make(c, &c->source_names, 0, '=',
	    lower_into(b->arg, mem, sizeof(mem)));
	return n != NULL && node_link(c, n, b, false);
}

/* 0/0 holds both protocols and is the widest. */
static unsigned
width(const struct node *n)
{
	if (n->cidr.bits == 0)
		return 0;
	return n->cidr.bits + (n->cidr.ip.family == 4 ? 96u : 0u);
}

/* Wide before narrow; those of equal width hold no address in common. */
static int
by_width(const void *pa, const void *pb)
{
	unsigned a = width(*(struct node *const *)pa);
	unsigned b = width(*(struct node *const *)pb);

	return a < b ? -1 : a > b;
}

void
nodes_sort(struct conf *c)
{
	if (c->literals.n > 1)
		qsort(c->literals.v, c->literals.n, sizeof(struct node *),
		    by_width);
	if (c->sources.n > 1)
		qsort(c->sources.v, c->sources.n, sizeof(struct node *),
		    by_width);
}
