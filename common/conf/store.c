/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "common/conf/store.h"

struct conf *
store_new(void)
{
	struct conf *c = calloc(1, sizeof(*c));
	struct place nowhere = { STORE_NONE, 0 };
	uint32_t id;

	if (c == NULL)
		return NULL;
	arena_init(&c->arena, STORE_MEMORY_MAX);
	htab_init(&c->aliases, alias_hash);
	htab_init(&c->domains, node_hash);
	htab_init(&c->source_names, node_hash);
	htab_init(&c->names, named_hash);
	c->rules_file = STORE_NONE;
	c->cache = cache_new();
	c->regexes = regexes_new();
	if (c->cache == NULL || c->regexes == NULL ||
	    !store_block(c, SCOPE_GLOBAL, SV(""), 0, nowhere, &id))
		conf_free(&c);
	return c;
}

void
conf_free(struct conf **cp)
{
	struct conf *c = *cp;

	if (c == NULL)
		return;
	*cp = NULL;
	cache_free(&c->cache);
	regexes_free(&c->regexes);
	htab_fini(&c->aliases);
	htab_fini(&c->domains);
	htab_fini(&c->source_names);
	htab_fini(&c->names);
	free(c->literals.v);
	free(c->sources.v);
	free(c->files);
	free(c->blocks);
	arena_fini(&c->arena);
	free(c);
}

void *
store_alloc(struct conf *c, size_t n)
{
	return arena_alloc(&c->arena, n);
}

bool
store_sv(struct conf *c, struct sv in, struct sv *out)
{
	if (in.n == 0) {
		*out = SV("");
		return true;
	}
	*out = arena_sv(&c->arena, in);
	return out->p != NULL;
}

/* Room for one more in an array of n; doubles. */
static bool
grow(void **v, uint32_t n, uint32_t *size, size_t each)
{
	uint32_t want = *size == 0 ? 16 : *size * 2;
	void *p;

	if (n < *size)
		return true;
	p = reallocarray(*v, want, each);
	if (p == NULL)
		return false;
	*v = p;
	*size = want;
	return true;
}

bool
store_file(struct conf *c, struct sv name, uint32_t *id_r)
{
	void *v = c->files;
	bool ok;

	if (c->nfiles >= CONF_FILES_MAX)
		return false;
	ok = grow(&v, c->nfiles, &c->files_size, sizeof(*c->files));
	c->files = v;
	if (!ok || !store_sv(c, name, &c->files[c->nfiles]))
		return false;
	*id_r = c->nfiles++;
	return true;
}

bool
store_block(struct conf *c, enum conf_scope scope, struct sv arg,
    uint32_t parent, struct place at, uint32_t *id_r)
{
	struct block *b = store_alloc(c, sizeof(*b));
	void *v = c->blocks;
	bool ok;

	if (b == NULL || c->nblocks >= STORE_BLOCKS_MAX)
		return false;
	ok = grow(&v, c->nblocks, &c->blocks_size, sizeof(*c->blocks));
	c->blocks = v;
	if (!ok || !store_sv(c, arg, &b->arg))
		return false;
	b->scope = scope;
	b->parent = parent;
	b->at = at;
	b->last = &b->first;
	c->blocks[c->nblocks] = b;
	*id_r = c->nblocks++;
	return true;
}

bool
store_setting(struct conf *c, uint32_t block, const struct conf_row *row,
    struct sv value, bool clear, struct place at)
{
	struct setting *s = store_alloc(c, sizeof(*s));

	if (s == NULL || c->nsettings >= STORE_SETTINGS_MAX ||
	    !store_sv(c, value, &s->value))
		return false;
	s->row = row;
	s->clear = clear;
	s->at = at;
	*c->blocks[block]->last = s;
	c->blocks[block]->last = &s->next;
	c->nsettings++;
	return true;
}

bool
store_is_rule(const struct conf *c, const struct block *b)
{
	return c->rules_file != STORE_NONE && b->at.file == c->rules_file;
}

static void *
field_of(void *out, const struct conf_row *row)
{
	return (char *)out + row->offset;
}

static bool
row_has_field(const struct conf_row *row)
{
	return row->kind == ROW_USED || row->kind == ROW_NOT_YET;
}

static void
row_default(const struct conf_row *row, void *out)
{
	void *field = field_of(out, row);

	memset(field, 0, type_size((enum conf_type)row->type));
	/* A test parses every default. */
	if (!type_repeats((enum conf_type)row->type))
		(void)row_parse(row, sv_from(row->def), field);
}

void
scope_defaults(enum conf_scope scope, void *out)
{
	const struct scope_info *s = &scope_infos[scope];

	for (size_t i = 0; i < s->nrows; i++)
		if (row_has_field(&s->rows[i]))
			row_default(&s->rows[i], out);
}

void
setting_apply(const struct setting *s, void *out)
{
	/* The text was accepted when it was stored. */
	if (s->clear)
		row_default(s->row, out);
	else
		(void)row_parse(s->row, s->value, field_of(out, s->row));
}

void
block_apply(const struct block *b, void *out)
{
	for (const struct setting *s = b->first; s != NULL; s = s->next)
		if (!type_repeats((enum conf_type)s->row->type))
			setting_apply(s, out);
}

void
gather_block(struct gather *g, const struct block *b)
{
	size_t each = elem_size((enum conf_type)g->row->type);

	for (const struct setting *s = b->first; s != NULL; s = s->next) {
		if (s->row != g->row)
			continue;
		if (s->clear) {
			g->n = 0;
			continue;
		}
		/* The text was accepted when it was stored. */
		if (g->v != NULL)
			(void)row_parse(g->row, s->value, g->v + each * g->n);
		if (++g->n > g->most)
			g->most = g->n;
	}
}

/* What all lists are; see value.h. */
struct any_list {
	const void *v;
	uint32_t n;
};

void
list_set(const struct conf_row *row, void *out, void *v, uint32_t n)
{
	struct any_list l = { v, n };

	memcpy(field_of(out, row), &l, sizeof(l));
}

static bool
row_list(struct conf *c, const struct block *b, const struct conf_row *row,
    void *out)
{
	struct gather g = { .row = row };

	gather_block(&g, b);
	if (type_is_ordered((enum conf_type)row->type))
		*(uint32_t *)field_of(out, row) = g.n;
	if (g.n == 0 || type_is_ordered((enum conf_type)row->type))
		return true;
	g.v = store_alloc(c, g.most * elem_size((enum conf_type)row->type));
	if (g.v == NULL)
		return false;
	g.n = 0;
	gather_block(&g, b);
	list_set(row, out, g.v, g.n);
	return true;
}

bool
block_lists(struct conf *c, const struct block *b, void *out)
{
	const struct scope_info *s = &scope_infos[b->scope];

	for (size_t i = 0; i < s->nrows; i++) {
		const struct conf_row *row = &s->rows[i];

		if (row_has_field(row) &&
		    type_repeats((enum conf_type)row->type) &&
		    !row_list(c, b, row, out))
			return false;
	}
	return true;
}

struct sv
place_file(const struct conf *c, struct place at)
{
	return at.file < c->nfiles ? c->files[at.file] : SV("");
}

void
conf_global_defaults(struct conf_global *g)
{
	*g = (struct conf_global){ 0 };
	scope_defaults(SCOPE_GLOBAL, g);
}

void
conf_source_defaults(struct conf_source *s)
{
	*s = (struct conf_source){ 0 };
	scope_defaults(SCOPE_SOURCE, s);
}

void
conf_domain_defaults(struct conf_domain *d)
{
	*d = (struct conf_domain){ 0 };
	scope_defaults(SCOPE_DOMAIN, d);
}

void
conf_vmta_defaults(struct conf_vmta *v)
{
	*v = (struct conf_vmta){ .name = SV("{default}") };
	scope_defaults(SCOPE_VMTA, v);
}

void
conf_acct_defaults(struct conf_acct *a)
{
	*a = (struct conf_acct){ .path = SV("") };
	scope_defaults(SCOPE_ACCT, a);
}
