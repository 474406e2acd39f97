/* SPDX-License-Identifier: ISC */
/* Showing and comparing configurations. */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/conf/store.h"

#define SCOPE_TEXT_MAX 1024u
#define NODES_MAX 1024u

/* "virtual-mta v1 domain gmail.com" or "receiver-rules domain gmail.rollup" */
static void
scope_text(const struct conf *c, const struct block *b, struct str *out)
{
	if (b->scope == SCOPE_GLOBAL)
		return;
	if (store_is_rule(c, b))
		str_adds(out, "receiver-rules ");
	if (b->parent != 0) {
		scope_text(c, c->blocks[b->parent], out);
		str_addc(out, ' ');
	}
	str_adds(out, scope_infos[b->scope].tag);
	if (b->arg.n == 0)
		return;
	str_addc(out, ' ');
	str_add(out, b->arg);
}

static bool
is_set(const struct block *b, const struct conf_row *row)
{
	for (const struct setting *s = b->first; s != NULL; s = s->next)
		if (s->row == row)
			return true;
	return false;
}

static void
show_defaults(const struct conf *c, conf_show_fn *fn, void *arg)
{
	const struct scope_info *g = &scope_infos[SCOPE_GLOBAL];

	for (size_t i = 0; i < g->nrows; i++) {
		const struct conf_row *row = &g->rows[i];

		if (row->kind == ROW_USED && row->def[0] != '\0' &&
		    !is_set(c->blocks[0], row))
			fn(arg, SV(""), sv_from(row->name),
			    sv_from(row->def), SV(""), 0);
	}
}

void
conf_show(const struct conf *c, bool defaults, conf_show_fn *fn, void *arg)
{
	char mem[SCOPE_TEXT_MAX];
	struct str scope;

	if (defaults)
		show_defaults(c, fn, arg);
	for (uint32_t i = 0; i < c->nblocks; i++) {
		const struct block *b = c->blocks[i];

		STR_ON(&scope, mem);
		scope_text(c, b, &scope);
		for (const struct setting *s = b->first; s != NULL;
		    s = s->next)
			fn(arg, str_sv(&scope), sv_from(s->row->name),
			    s->value, place_file(c, s->at), s->at.line);
	}
}

/* A walk over the settings of row in the nodes. */
struct cursor {
	const struct node *const *nodes;
	size_t n, i;
	const struct conf_row *row;
	const struct node_block *nb;
	const struct setting *s;
	bool begun;
};

static void
block_next(struct cursor *k)
{
	k->nb = k->begun && k->nb != NULL ? k->nb->next : NULL;
	k->begun = true;
	while (k->nb == NULL && k->i < k->n)
		k->nb = k->nodes[k->i++]->blocks;
	k->s = k->nb == NULL ? NULL : k->nb->block->first;
}

static bool
cursor_next(struct cursor *k)
{
	if (k->s != NULL)
		k->s = k->s->next;
	for (;;) {
		while (k->s != NULL && k->s->row != k->row)
			k->s = k->s->next;
		if (k->s != NULL)
			return true;
		block_next(k);
		if (k->nb == NULL)
			return false;
	}
}

static void
show_setting(const struct conf *c, const struct block *b,
    const struct setting *s, conf_show_fn *fn, void *arg)
{
	char mem[SCOPE_TEXT_MAX];
	struct str scope;

	STR_ON(&scope, mem);
	scope_text(c, b, &scope);
	fn(arg, str_sv(&scope), sv_from(s->row->name),
	    s->clear ? sv_from(s->row->def) : s->value,
	    place_file(c, s->at), s->at.line);
}

/* All lines behind the last one that clears the list, or that one. False: there
 * is none. */
static bool
show_list(const struct conf *c, const struct node *const *nodes, size_t n,
    const struct conf_row *row, conf_show_fn *fn, void *arg)
{
	struct cursor k = { .nodes = nodes, .n = n, .row = row }, first;
	bool any = false;

	while (cursor_next(&k)) {
		if (!any || k.s->clear || first.s->clear)
			first = k;
		any = true;
	}
	if (!any)
		return false;
	do {
		show_setting(c, first.nb->block, first.s, fn, arg);
	} while (cursor_next(&first));
	return true;
}

static void
show_row(const struct conf *c, const struct node *const *nodes, size_t n,
    const struct conf_row *row, conf_show_fn *fn, void *arg)
{
	const struct block *b = NULL;
	const struct setting *s;

	if (type_repeats((enum conf_type)row->type)) {
		if (show_list(c, nodes, n, row, fn, arg))
			return;
		s = NULL;
	} else {
		s = nodes_effective(nodes, n, row, &b);
	}
	if (s != NULL)
		show_setting(c, b, s, fn, arg);
	else
		fn(arg, SV(""), sv_from(row->name), sv_from(row->def), SV(""),
		    0);
}

void
conf_domain_show(const struct conf *c, struct sv vmta, struct sv domain,
    struct sv rollup, conf_show_fn *fn, void *arg)
{
	const struct scope_info *s = &scope_infos[SCOPE_DOMAIN];
	const struct conf_vmta *v = conf_vmta_find(c, vmta);
	const struct node *nodes[NODES_MAX];
	size_t n = domain_nodes(c,
	    v == NULL ? 0 : (uint32_t)(v - c->vmtas), domain, rollup,
	    nodes, NODES_MAX);

	for (size_t i = 0; i < s->nrows; i++)
		if (s->rows[i].kind == ROW_USED)
			show_row(c, nodes, n, &s->rows[i], fn, arg);
}

/* ---- differences ---- */

struct line {
	char *scope;             /* owned */
	const struct setting *s;
	const struct setting *before; /* the rule before, where that counts */
	size_t order;            /* equal lines stay in order */
};

struct lines {
	struct line *v;
	size_t n, size;
};

static void
lines_add(struct lines *l, struct sv scope, const struct setting *s,
    const struct setting *before)
{
	if (l->n == l->size) {
		l->size = l->size == 0 ? 64 : l->size * 2;
		l->v = reallocarray(l->v, l->size, sizeof(*l->v));
		if (l->v == NULL)
			mem_exhausted();
	}
	l->v[l->n] = (struct line){ sv_dup(scope), s, before, l->n };
	l->n++;
}

static int
sv_cmp(struct sv a, struct sv b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int d = n == 0 ? 0 : memcmp(a.p, b.p, n);

	if (d != 0)
		return d;
	return a.n < b.n ? -1 : a.n > b.n;
}

static int
setting_cmp(const struct setting *a, const struct setting *b)
{
	int d;

	if (a == NULL || b == NULL)
		return (a != NULL) - (b != NULL);
	d = strcmp(a->row->name, b->row->name);
	return d != 0 ? d : sv_cmp(a->value, b->value);
}

static int
compare(const struct line *a, const struct line *b)
{
	int d = strcmp(a->scope, b->scope);

	if (d == 0)
		d = setting_cmp(a->s, b->s);
	if (d == 0)
		d = setting_cmp(a->before, b->before);
	return d;
}

static int
by_text(const void *pa, const void *pb)
{
	const struct line *a = pa, *b = pb;
	int d = compare(a, b);

	return d != 0 ? d : a->order < b->order ? -1 : 1;
}

static void
lines_of_block(const struct conf *c, const struct block *b, struct lines *l)
{
	const struct setting *before = NULL;
	char mem[SCOPE_TEXT_MAX];
	struct str scope;

	STR_ON(&scope, mem);
	scope_text(c, b, &scope);
	for (const struct setting *s = b->first; s != NULL; s = s->next) {
		bool ordered = type_is_ordered((enum conf_type)s->row->type);

		lines_add(l, str_sv(&scope), s, ordered ? before : NULL);
		if (ordered)
			before = s;
	}
}

static void
lines_make(const struct conf *c, struct lines *l)
{
	*l = (struct lines){ 0 };
	for (uint32_t i = 0; i < c->nblocks; i++)
		lines_of_block(c, c->blocks[i], l);
	if (l->n > 1)
		qsort(l->v, l->n, sizeof(*l->v), by_text);
}

static void
lines_free(struct lines *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i].scope);
	free(l->v);
}

/* gcc 12's analyzer does not see that an empty list is never the lesser. */
#ifndef __clang__
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-null-dereference"
#endif
bool
conf_diff(const struct conf *a, const struct conf *b, conf_diff_fn *fn,
    void *arg)
{
	struct lines la, lb;
	size_t i = 0, j = 0;
	bool any = false;

	lines_make(a, &la);
	lines_make(b, &lb);
	while (i < la.n || j < lb.n) {
		int d = i == la.n ? 1 : j == lb.n ? -1 :
		    compare(&la.v[i], &lb.v[j]);
		const struct line *l = d > 0 ? &lb.v[j] : &la.v[i];

		i += d <= 0;
		j += d >= 0;
		if (d == 0)
			continue;
		any = true;
		if (fn == NULL)
			break;
		fn(arg, d > 0, sv_from(l->scope), sv_from(l->s->row->name),
		    l->s->value, place_file(d > 0 ? b : a, l->s->at),
		    l->s->at.line);
	}
	lines_free(&la);
	lines_free(&lb);
	return any;
}
#ifndef __clang__
#pragma GCC diagnostic pop
#endif
