/* SPDX-License-Identifier: ISC */
/* domain-macro: finding, checking and expanding. */
#include <stdlib.h>
#include <string.h>

#include "common/conf/store.h"

#define MACROS_MAX   2000u
#define NEST_MAX     16u
#define EXPAND_MAX   100000u /* texts from one tag */
#define TEXT_MAX     512u    /* no pattern is longer */
#define REPLACE_MAX  200u    /* in one text: bounds the recursion */

struct macro {
	struct sv name, list;
};

static struct macro
macro_at(const struct conf *c, uint32_t i)
{
	struct sv list = c->global.domain_macro.v[i];
	struct sv name = text_word(&list);

	return (struct macro){ name, list };
}

/* The macro with the longest name that text starts with; -1 if none. */
static int64_t
macro_of(const struct conf *c, struct sv text)
{
	size_t best = 0;
	int64_t at = -1;

	for (uint32_t i = 0; i < c->global.domain_macro.n; i++) {
		struct macro m = macro_at(c, i);

		/* The last of one name counts, as for other directives. */
		if (m.name.n >= best && sv_istarts(text, m.name)) {
			best = m.name.n;
			at = i;
		}
	}
	return at;
}

/* ---- loops ---- */

enum color {
	WHITE,    /* not seen */
	GREY,     /* being looked at: to come back here is a loop */
	BLACK     /* in order */
};

struct check {
	const struct conf *c;
	struct conf_report *rep;
	unsigned char *color;
	const char *why;
};

static bool
check_macro(struct check *k, uint32_t i, unsigned depth)
{
	struct sv list = macro_at(k->c, i).list;
	ptrdiff_t at;
	int64_t next;

	if (k->color[i] == BLACK)
		return true;
	if (k->color[i] == GREY) {
		k->why = "leads back to itself";
		return false;
	}
	if (depth > NEST_MAX) {
		k->why = "nests more than 16 deep";
		return false;
	}
	k->color[i] = GREY;
	while ((at = sv_find(list, '$')) >= 0) {
		list = sv_from_at(list, (size_t)at + 1);
		next = macro_of(k->c, list);
		if (next < 0) {
			k->why = "uses a $macro that is defined nowhere";
			return false;
		}
		if (!check_macro(k, (uint32_t)next, depth + 1))
			return false;
	}
	k->color[i] = BLACK;
	return true;
}

static struct place
macro_place(const struct conf *c, uint32_t i)
{
	const struct conf_row *row = row_find(SCOPE_GLOBAL,
	    SV("domain-macro"));

	for (struct setting *s = c->blocks[0]->first; s != NULL; s = s->next)
		if (s->row == row && sv_eq(s->value,
		    c->global.domain_macro.v[i]))
			return s->at;
	return (struct place){ STORE_NONE, 0 };
}

bool
macro_check(const struct conf *c, struct conf_report *rep)
{
	uint32_t n = c->global.domain_macro.n;
	struct check k = { .c = c, .rep = rep };
	bool ok = true;

	if (n == 0)
		return true;
	if (n > MACROS_MAX) {
		report_error(rep, SV(""), 0, "more than %u domain-macros",
		    MACROS_MAX);
		return false;
	}
	k.color = calloc(n, 1);
	if (k.color == NULL)
		return false;
	for (uint32_t i = 0; ok && i < n; i++) {
		struct place at = macro_place(c, i);

		ok = check_macro(&k, i, 0);
		if (!ok)
			report_error(rep, place_file(c, at), at.line,
			    "domain-macro \"%.*s\" %s",
			    SV_FMT(macro_at(c, i).name), k.why);
	}
	free(k.color);
	return ok;
}

/* ---- expansion ---- */

struct expansion {
	const struct conf *c;
	macro_fn *fn;
	void *arg;
	uint32_t made;
	unsigned depth;       /* macros replaced on the way here */
	const char *why;
};

static bool expand(struct expansion *e, struct sv text, bool expanded);

static bool
expand_one(struct expansion *e, struct sv text, size_t dollar, struct sv name,
    struct sv elem)
{
	struct sv before = sv_head(text, dollar);
	struct sv after = sv_from_at(text, dollar + 1 + name.n);
	char mem[TEXT_MAX];
	bool ok;

	if (e->depth == REPLACE_MAX) {
		e->why = "uses too many macros";
		return false;
	}
	if (before.n + elem.n + after.n > sizeof(mem)) {
		e->why = "becomes too long";
		return false;
	}
	memcpy(mem, before.p, before.n);
	memcpy(mem + before.n, elem.p, elem.n);
	memcpy(mem + before.n + elem.n, after.p, after.n);
	e->depth++;
	ok = expand(e, sv_make(mem, before.n + elem.n + after.n), true);
	e->depth--;
	return ok;
}

static bool
expand(struct expansion *e, struct sv text, bool expanded)
{
	ptrdiff_t at = sv_find(text, '$');
	struct macro m;
	int64_t i;

	if (++e->made > EXPAND_MAX) {
		e->why = "stands for too many domains";
		return false;
	}
	if (at < 0)
		return e->fn(e->arg, text, expanded);
	i = macro_of(e->c, sv_from_at(text, (size_t)at + 1));
	if (i < 0) {
		e->why = "uses a $macro that is defined nowhere";
		return false;
	}
	m = macro_at(e->c, (uint32_t)i);
	while (m.list.p != NULL) {
		struct sv elem = sv_cut(&m.list, ',');

		if (elem.n > 0 &&
		    !expand_one(e, text, (size_t)at, m.name, elem))
			return false;
	}
	return true;
}

bool
macro_expand(const struct conf *c, struct conf_report *rep, struct place at,
    struct sv text, macro_fn *fn, void *arg)
{
	struct expansion e = { .c = c, .fn = fn, .arg = arg };
	bool ok = expand(&e, text, false);

	if (e.why != NULL)
		report_error(rep, place_file(c, at), at.line, "\"%.*s\" %s",
		    SV_FMT(sv_head(text, 80)), e.why);
	return ok;
}
