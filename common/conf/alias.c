/* SPDX-License-Identifier: ISC */
/*
 * Aliases: addresses that stand for others. At loading, loops are refused; what
 * cannot be seen there ("*@a" to "*@b" keeps any local part) ends at a depth.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/siphash.h"
#include "common/conf/store.h"
#include "common/mail/smtp_cmd.h"

#define EVERYBODY SV("*")

/* Addresses in the index come from the operator's file: no key is needed. */
static const uint64_t hash_key[2] = { 7, 8 };

struct target {
	struct sv local, domain;   /* local is EVERYBODY: as it was */
	struct target *next;
};

/* From one address, or from all of a domain that have no alias of their own. */
struct alias {
	struct sv local, domain;   /* lower case; local may be EVERYBODY */
	struct target *first, **last;
	struct place at;
	/* of the search for loops */
	uint8_t color;
	uint8_t deep;              /* aliases behind one another, from here */
};

enum { WHITE, GREY, BLACK };

/* ---- one line ---- */

static const char *
check_address(struct sv v, bool *everybody)
{
	struct addr a;

	*everybody = sv_starts(v, SV("*@"));
	if (*everybody)
		return conf_check_domain(sv_from_at(v, 2));
	/* aliases(5) has files, programs and lists of those */
	if (v.n > 0 && strchr("/|:", v.p[0]) != NULL)
		return "has a target that is not an address";
	return (sv_find(v, '@') < 0 ?
	    addr_qualify(v, SV("example.org"), false, &a) :
	    addr_parse(v, false, &a)) == CMD_OK ? NULL :
	    "has something that is not an address such as a@example.org";
}

const char *
conf_check_alias(struct sv v)
{
	struct sv from = text_word(&v);
	bool everybody, to_everybody;
	const char *why = check_address(from, &everybody);

	if (why != NULL)
		return why;
	if (v.n == 0)
		return "has no address behind the alias";
	while (why == NULL && v.p != NULL) {
		why = check_address(sv_trim(sv_cut(&v, ',')), &to_everybody);
		if (why == NULL && to_everybody && !everybody)
			why = "has *@ for an alias that is one address";
	}
	return why;
}

/* ---- the table ---- */

uint64_t
alias_hash(const void *entry)
{
	const struct alias *a = entry;
	char mem[ENV_ADDR_MAX + 1];
	size_t n = a->local.n + 1 + a->domain.n;

	if (n > sizeof(mem))
		return 0;
	memcpy(mem, a->local.p, a->local.n);
	mem[a->local.n] = '@';
	memcpy(mem + a->local.n + 1, a->domain.p, a->domain.n);
	return siphash24(hash_key, mem, n);
}

static bool
alias_match(const void *entry, const void *key)
{
	const struct alias *a = entry, *k = key;

	return sv_eq(a->local, k->local) && sv_eq(a->domain, k->domain);
}

static struct alias *
find_exactly(const struct conf *c, struct sv local, struct sv domain)
{
	struct alias key = { .local = local, .domain = domain };

	return htab_find(&c->aliases, alias_hash(&key), alias_match, &key);
}

/* In lower case; NULL: it is none. */
static struct alias *
find(const struct conf *c, struct sv local, struct sv domain)
{
	char mem[ENV_ADDR_MAX];
	struct alias *a;

	if (htab_count(&c->aliases) == 0 ||
	    local.n + domain.n > sizeof(mem))
		return NULL;
	for (size_t i = 0; i < local.n; i++)
		mem[i] = ascii_lower(local.p[i]);
	for (size_t i = 0; i < domain.n; i++)
		mem[local.n + i] = ascii_lower(domain.p[i]);
	local = sv_make(mem, local.n);
	domain = sv_make(mem + local.n, domain.n);
	a = find_exactly(c, local, domain);
	return a != NULL ? a : find_exactly(c, EVERYBODY, domain);
}

static bool
lower_copy(struct conf *c, struct sv v, struct sv *out)
{
	char *p = store_alloc(c, v.n + 1);

	if (p == NULL)
		return false;
	for (size_t i = 0; i < v.n; i++)
		p[i] = ascii_lower(v.p[i]);
	*out = sv_make(p, v.n);
	return true;
}

/* One without a domain is ours. */
static void
cut_address(const struct conf *c, struct sv v, struct sv *local,
    struct sv *domain)
{
	ptrdiff_t at = sv_rfind(v, '@');

	*local = at < 0 ? v : sv_head(v, (size_t)at);
	*domain = at < 0 ? c->hostname : sv_from_at(v, (size_t)at + 1);
}

static struct alias *
alias_make(struct conf *c, struct sv from, struct place at)
{
	struct alias key = { .at = at }, *a;

	cut_address(c, from, &key.local, &key.domain);
	if (!lower_copy(c, key.local, &key.local) ||
	    !lower_copy(c, key.domain, &key.domain))
		return NULL;
	a = find_exactly(c, key.local, key.domain);
	if (a != NULL)
		return a;
	a = store_alloc(c, sizeof(*a));
	if (a == NULL)
		return NULL;
	*a = key;
	a->last = &a->first;
	return htab_insert(&c->aliases, a) == 0 ? a : NULL;
}

/* Several lines for one address add up. */
static bool
line_add(struct conf *c, const struct setting *s)
{
	struct sv v = s->value, from = text_word(&v);
	struct alias *a = alias_make(c, from, s->at);

	if (a == NULL)
		return false;
	while (v.p != NULL) {
		struct target *t = store_alloc(c, sizeof(*t));

		if (t == NULL)
			return false;
		/* the setting's text lives as long */
		cut_address(c, sv_trim(sv_cut(&v, ',')), &t->local,
		    &t->domain);
		t->next = NULL;
		*a->last = t;
		a->last = &t->next;
	}
	return true;
}

static bool
block_add(struct conf *c, const struct block *b)
{
	const struct setting *from = b->first;

	for (const struct setting *s = from; s != NULL; s = s->next)
		if (s->row->type == CONF_T_ALIASES && s->clear)
			from = s->next;
	for (const struct setting *s = from; s != NULL; s = s->next)
		if (s->row->type == CONF_T_ALIASES && !line_add(c, s))
			return false;
	return true;
}

/* ---- loops ---- */

static struct alias *
target_alias(const struct conf *c, const struct target *t)
{
	return sv_eq(t->local, EVERYBODY) ?
	    find(c, EVERYBODY, t->domain) : find(c, t->local, t->domain);
}

static void
loop_report(const struct conf *c, struct conf_report *rep,
    const struct alias *a, const struct alias *b)
{
	report_error(rep, place_file(c, a->at), a->at.line, "alias: "
	    "%.*s@%.*s comes back to %.*s@%.*s of line %u: a loop",
	    SV_FMT(a->local), SV_FMT(a->domain), SV_FMT(b->local),
	    SV_FMT(b->domain), b->at.line);
}

/* An alias that names itself keeps a copy: that ends there. depth bounds the
 * stack; what was searched before says how deep it goes. */
static void
search(const struct conf *c, struct conf_report *rep, struct alias *a,
    unsigned depth)
{
	a->color = GREY;
	a->deep = 1;
	for (const struct target *t = a->first; t != NULL; t = t->next) {
		struct alias *b = target_alias(c, t);

		if (b == NULL || b == a)
			continue;
		if (b->color == GREY) {
			loop_report(c, rep, a, b);
			continue;
		}
		if (b->color == WHITE && depth <= CONF_ALIAS_DEEP_MAX)
			search(c, rep, b, depth + 1);
		if (b->deep >= a->deep)
			a->deep = b->deep + 1;
	}
	if (a->deep == CONF_ALIAS_DEEP_MAX + 1)
		report_error(rep, place_file(c, a->at), a->at.line, "alias: "
		    "%.*s@%.*s is more than %u aliases deep",
		    SV_FMT(a->local), SV_FMT(a->domain), CONF_ALIAS_DEEP_MAX);
	if (a->deep > CONF_ALIAS_DEEP_MAX)
		a->deep = CONF_ALIAS_DEEP_MAX; /* each is told once */
	a->color = BLACK;
}

bool
aliases_make(struct conf *c, struct conf_report *rep)
{
	size_t at = 0;
	struct alias *a;

	for (uint32_t i = 0; i < c->nblocks; i++)
		if (!block_add(c, c->blocks[i]))
			return false;
	while ((a = htab_next(&c->aliases, &at)) != NULL)
		if (a->color == WHITE)
			search(c, rep, a, 1);
	return true;
}

/* ---- what an address stands for ---- */

struct expansion {
	const struct conf *c;
	struct arena *arena;
	struct sv *v;
	uint32_t n;
	enum conf_expand result;
};

static bool
address_add(struct expansion *e, struct sv local, struct sv domain)
{
	size_t n = local.n + 1 + domain.n;
	char mem[ENV_ADDR_MAX];
	struct sv text = sv_make(mem, n);

	if (n > sizeof(mem)) {
		e->result = CONF_EXPAND_BAD;
		return false;
	}
	memcpy(mem, local.p, local.n);
	mem[local.n] = '@';
	for (size_t i = 0; i < domain.n; i++)
		mem[local.n + 1 + i] = ascii_lower(domain.p[i]);
	for (uint32_t i = 0; i < e->n; i++)
		if (sv_eq(e->v[i], text))
			return true;
	e->result = CONF_EXPAND_TOO_MANY;
	if (e->n == CONF_ALIAS_MAX)
		return false;
	e->result = CONF_EXPAND_NO_MEMORY;
	e->v[e->n] = arena_sv(e->arena, text);
	if (e->v[e->n].p == NULL)
		return false;
	e->n++;
	e->result = CONF_EXPAND_OK;
	return true;
}

static bool
expand(struct expansion *e, const struct alias *a, struct sv local,
    unsigned depth)
{
	for (const struct target *t = a->first; t != NULL; t = t->next) {
		struct sv to = sv_eq(t->local, EVERYBODY) ? local : t->local;
		const struct alias *b = find(e->c, to, t->domain);
		bool ok;

		if (depth > CONF_ALIAS_DEEP_MAX) {
			e->result = CONF_EXPAND_LOOP;
			return false;
		}
		ok = b == NULL || b == a ? address_add(e, to, t->domain) :
		    expand(e, b, to, depth + 1);
		if (!ok)
			return false;
	}
	return true;
}

bool
conf_alias_has(const struct conf *c, struct sv local, struct sv domain)
{
	return find(c, local, domain) != NULL;
}

enum conf_expand
conf_alias_expand(const struct conf *c, struct sv local, struct sv domain,
    struct arena *arena, struct sv *v, uint32_t *n_r)
{
	struct expansion e = { .c = c, .arena = arena, .v = v,
		.result = CONF_EXPAND_NONE };
	const struct alias *a = find(c, local, domain);

	*n_r = 0;
	if (a != NULL && expand(&e, a, local, 1))
		*n_r = e.n;
	return e.result;
}
