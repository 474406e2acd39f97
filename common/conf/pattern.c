/* SPDX-License-Identifier: ISC */
/* The lines of <pattern-list>: what submissions match, and what then. */
#include <stdlib.h>
#include <string.h>

#include "common/conf/store.h"
#include "common/mail/priority.h"

#define NESTED      SV("<pattern-list")
#define REJECT_MAX  200u /* with "550 5.7.1 " far below RFC 5321's 512 */

/* ---- a line ---- */

static const char *
cut_header(struct sv *v, struct conf_pattern *p)
{
	const char *why;

	p->header = text_word(v);
	if (sv_starts(p->header, SV("/")))
		return "names no header in front of the expression";
	why = conf_check_header(p->header);
	return why != NULL ? why : rule_cut_regex(v, &p->regex);
}

static const char *
cut_size(struct sv *v, struct conf_pattern *p)
{
	struct sv word = text_word(v);

	if (!sv_starts(word, SV(">")) || conf_parse_size(sv_from_at(word, 1),
	    1, (uint64_t)TIB, 1, &p->size_bytes) != NULL ||
	    p->size_bytes == 0)
		return "is not a size and what to do, such as >10M hold";
	return NULL;
}

static const char *
cut_condition(struct sv *v, struct conf_pattern *p)
{
	switch ((enum conf_pattern_what)p->what) {
	case CONF_PAT_HEADER:
		return cut_header(v, p);
	case CONF_PAT_SIZE:
		return cut_size(v, p);
	case CONF_PAT_ANY:
		return NULL;
	case CONF_PAT_MAIL_FROM:
	case CONF_PAT_RCPT_TO:
	case CONF_PAT_BODY:
		break;
	}
	return rule_cut_regex(v, &p->regex);
}

/* It goes into a reply: RFC 5321 4.2 allows ASCII alone. */
static const char *
get_reject(struct sv v, struct conf_pattern *p)
{
	if (conf_parse_sample(v, &p->reject) != NULL)
		return "has a reject= without a text in quotes behind it";
	if (p->reject.n > REJECT_MAX)
		return "has a reject= of more than 200 characters";
	for (size_t i = 0; i < p->reject.n; i++)
		if (p->reject.p[i] < ' ' || p->reject.p[i] > '~')
			return "has a reject= whose text is not ASCII";
	return NULL;
}

static const char *
get_vmta(struct sv name, struct conf_pattern *p)
{
	if (p->vmta.n > 0)
		return "has a virtual-mta twice";
	if (conf_check_name(name) != NULL)
		return "has a virtual-mta= without a name behind it";
	p->vmta = name;
	return NULL;
}

static const char *
get_priority(struct sv v, struct conf_pattern *p)
{
	uint64_t n;

	if (p->has_priority)
		return "has a recipient-priority twice";
	if (!sv_to_u64(v, PRIORITY_MAX, &n))
		return "has a recipient-priority that is not a number of 0 "
		       "to 100";
	p->has_priority = true;
	p->priority = (uint8_t)n;
	return NULL;
}

/* One of those that may stand together. */
static const char *
get_part(struct sv v, struct conf_pattern *p)
{
	struct sv value = v, name = sv_cut(&value, '=');

	if (sv_ieq(v, SV("hold"))) {
		if (p->hold)
			return "has hold twice";
		p->hold = true;
		return NULL;
	}
	if (value.p != NULL && (sv_ieq(name, SV("virtual-mta")) ||
	    sv_ieq(name, SV("vmta"))))
		return get_vmta(value, p);
	if (value.p != NULL && sv_ieq(name, SV("recipient-priority")))
		return get_priority(value, p);
	if (sv_istarts(v, SV("reject=")) || sv_istarts(v, SV("call-to:")) ||
	    sv_istarts(v, NESTED))
		return "has something beside reject=, call-to: or a list: "
		       "these stand alone";
	return "has a result that is none of virtual-mta=NAME, hold, "
	       "reject=\"TEXT\", call-to:LIST, recipient-priority=N, "
	       "<pattern-list>";
}

/* "<pattern-list>", "<pattern-list NAME>" */
static const char *
get_nested(struct sv v, struct conf_pattern *p)
{
	struct sv rest = sv_from_at(v, NESTED.n);

	if (rest.n == 0 || rest.p[rest.n - 1] != '>' ||
	    (rest.p[0] != '>' && rest.p[0] != ' ' && rest.p[0] != '\t'))
		return "has a list that does not begin as <pattern-list>";
	p->nested = true;
	return NULL;
}

static const char *
get_result(struct sv v, struct conf_pattern *p)
{
	const char *why = NULL;

	if (v.n == 0)
		return "does not say what to do";
	if (sv_istarts(v, NESTED))
		return get_nested(v, p);
	if (sv_istarts(v, SV("reject=")))
		return get_reject(sv_trim(sv_from_at(v, 7)), p);
	if (sv_istarts(v, SV("call-to:"))) {
		p->call = sv_trim(sv_from_at(v, 8));
		return conf_check_name(p->call) == NULL ? NULL :
		    "has a call-to: without the name of a list behind it";
	}
	while (why == NULL && v.p != NULL)
		why = get_part(sv_trim(sv_cut(&v, ',')), p);
	return why;
}

const char *
conf_parse_pattern(struct sv v, enum conf_pattern_what what,
    struct conf_pattern *r)
{
	struct conf_pattern got = { .what = (uint8_t)what };
	const char *why;

	v = sv_trim(v);
	why = cut_condition(&v, &got);
	if (why == NULL)
		why = get_result(v, &got);
	if (why == NULL)
		*r = got;
	return why;
}

/* ---- lists ---- */

struct maker {
	struct conf *c;
	struct conf_report *rep;
	struct conf_pattern_list *lists;
	uint32_t nlists;
	/* of the block at hand */
	uint32_t id;
	const struct block *b;
	struct conf_pattern *v;
	uint32_t n;
	uint32_t child;              /* where the next nested list may be */
};

#define error_of(m, s, ...) report_error((m)->rep, \
    place_file((m)->c, (s)->at), (s)->at.line, __VA_ARGS__)

/* The name of the nearest list around it that has one. */
static struct sv
list_name(const struct conf *c, const struct block *b)
{
	while (b->arg.n == 0 && b->parent != 0)
		b = c->blocks[b->parent];
	return b->arg;
}

static bool
is_nested_in(const struct conf *c, uint32_t id, uint32_t parent)
{
	return c->blocks[id]->scope == SCOPE_PATTERNS &&
	    c->blocks[id]->parent == parent;
}

/* Nested lists stand in the order of the lines that open them. */
static bool
nested_find(struct maker *m, const struct setting *s, struct conf_pattern *p)
{
	const struct conf *c = m->c;

	while (m->child < c->nblocks && !is_nested_in(c, m->child, m->id))
		m->child++;
	if (m->child == c->nblocks) {
		error_of(m, s, "the list of this line is not there");
		return false;
	}
	p->list = &m->lists[c->blocks[m->child++]->index];
	return true;
}

static bool
called_find(struct maker *m, const struct setting *s, struct conf_pattern *p)
{
	uint32_t i = name_find(m->c, SCOPE_PATTERNS, p->call);

	if (i == STORE_NONE) {
		error_of(m, s, "call-to: there is no <pattern-list %.*s>",
		    SV_FMT(p->call));
		return false;
	}
	p->list = &m->lists[i];
	return true;
}

static bool
refs_find(struct maker *m, const struct setting *s, struct conf_pattern *p)
{
	if (p->nested)
		return nested_find(m, s, p);
	if (p->call.n > 0)
		return called_find(m, s, p);
	if (p->vmta.n > 0 && conf_vmta_find(m->c, p->vmta) == NULL &&
	    conf_pool_find(m->c, p->vmta) == NULL) {
		error_of(m, s, "virtual-mta: there is no <virtual-mta %.*s> "
		    "or <virtual-mta-pool %.*s>", SV_FMT(p->vmta),
		    SV_FMT(p->vmta));
		return false;
	}
	return true;
}

/* False without memory. */
static bool
add_line(struct maker *m, const struct setting *s)
{
	struct conf_pattern *p = &m->v[m->n];

	if (conf_parse_pattern(s->value,
	    (enum conf_pattern_what)s->row->lo, p) != NULL)
		return false;
	if (p->regex.n > 0) {
		p->re = regex_add(m->c, p->regex);
		if (p->re == NULL)
			return false;
	}
	p->in = list_name(m->c, m->b);
	p->file = place_file(m->c, s->at);
	p->line = s->at.line;
	m->n += refs_find(m, s, p); /* else the mistake was reported */
	return true;
}

/* Do these look at the same text? */
static bool
are_alike(const struct conf_pattern *a, const struct conf_pattern *b)
{
	return a->what == b->what && sv_ieq(a->header, b->header);
}

/* The text is for the last line, and for none before it that decides. */
static void
check_sample(struct maker *m, const struct setting *s)
{
	const struct conf_pattern *last = m->n == 0 ? NULL : &m->v[m->n - 1];
	enum conf_match match;
	struct sv text;

	if (last == NULL || last->re == NULL) {
		error_of(m, s, "sample: there is no line with an expression "
		    "before it");
		return;
	}
	if (conf_parse_sample(s->value, &text) != NULL)
		return;
	for (const struct conf_pattern *p = m->v; p < last; p++) {
		if (p->list != NULL || !are_alike(p, last) ||
		    conf_regex_match(m->c, p->re, text) != CONF_MATCH_YES)
			continue;
		error_of(m, s, "sample: line %u comes first and matches this "
		    "text", p->line);
		return;
	}
	match = conf_regex_match(m->c, last->re, text);
	if (match != CONF_MATCH_YES)
		error_of(m, s, match == CONF_MATCH_NO ? "sample: line %u does "
		    "not match this text" : "sample: line %u takes too many "
		    "steps to match this text", last->line);
}

/* False without memory. */
static bool
list_make(struct maker *m, uint32_t id)
{
	const struct block *b = m->c->blocks[id];
	struct conf_pattern_list *l = &m->lists[b->index];
	uint32_t n = 0;

	for (const struct setting *s = b->first; s != NULL; s = s->next)
		n++;
	if (n > CONF_RULES_MAX)
		return true; /* was reported */
	m->id = id;
	m->b = b;
	m->child = id + 1;
	m->n = 0;
	m->v = store_alloc(m->c, (n + 1) * sizeof(*m->v));
	if (m->v == NULL)
		return false;
	for (const struct setting *s = b->first; s != NULL; s = s->next) {
		if (s->row->type == CONF_T_SAMPLE)
			check_sample(m, s);
		else if (!add_line(m, s))
			return false;
	}
	l->v = m->v;
	l->n = m->n;
	return true;
}

/* ---- what a list comes to with those it calls ---- */

enum colour { WHITE, GREY, BLACK };

static void
line_sum(struct conf_pattern_list *l, const struct conf_pattern *p)
{
	l->looks |= 1u << p->what;
	l->rejects |= p->reject.n > 0;
	if (p->list == NULL)
		return;
	l->looks |= p->list->looks;
	l->rejects |= p->list->rejects;
	l->lines += p->list->lines; /* each at most a bit over the limit */
	if (p->list->deep >= l->deep)
		l->deep = p->list->deep + 1;
}

/* False: a mistake was reported. */
static bool
list_sum(struct maker *m, uint8_t *colours, struct conf_pattern_list *l)
{
	uint8_t *colour = &colours[l - m->lists];

	*colour = GREY;
	l->lines = l->n;
	l->deep = 1;
	for (uint32_t i = 0; i < l->n; i++) {
		const struct conf_pattern *p = &l->v[i];
		ptrdiff_t at = p->list == NULL ? 0 : p->list - m->lists;

		if (p->list != NULL && colours[at] == GREY) {
			report_error(m->rep, p->file, p->line, "call-to: "
			    "<pattern-list %.*s> comes back to this line: a "
			    "loop", SV_FMT(p->list->name));
			return false;
		}
		if (p->list != NULL && colours[at] == WHITE &&
		    !list_sum(m, colours, &m->lists[at]))
			return false;
		line_sum(l, p);
		if (l->lines > CONF_PATTERN_LINES_MAX ||
		    l->deep > CONF_PATTERN_DEEP_MAX) {
			report_error(m->rep, p->file, p->line, "with this "
			    "line and what it calls the list has more than "
			    "%u lines, or is more than %u deep",
			    CONF_PATTERN_LINES_MAX, CONF_PATTERN_DEEP_MAX);
			return false;
		}
	}
	*colour = BLACK;
	return true;
}

/* False without memory. */
static bool
lists_sum(struct maker *m)
{
	uint8_t *colours = calloc(m->nlists + 1u, 1);
	bool ok = colours != NULL;

	for (uint32_t i = 0; colours != NULL && i < m->nlists; i++)
		if (colours[i] == WHITE &&
		    !list_sum(m, colours, &m->lists[i]))
			break;
	free(colours);
	return ok;
}

bool
patterns_make(struct conf *c, struct conf_report *rep)
{
	struct maker m = { .c = c, .rep = rep,
		.lists = c->made[SCOPE_PATTERNS].v,
		.nlists = (uint32_t)c->made[SCOPE_PATTERNS].n };

	for (uint32_t i = 1; i < c->nblocks; i++)
		if (c->blocks[i]->scope == SCOPE_PATTERNS &&
		    !list_make(&m, i))
			return false;
	return rep->nerrors > 0 || lists_sum(&m);
}

const struct conf_pattern_list *
conf_pattern_list_find(const struct conf *c, struct sv name)
{
	const struct conf_pattern_list *v = c->made[SCOPE_PATTERNS].v;
	uint32_t i = name_find(c, SCOPE_PATTERNS, name);

	return i == STORE_NONE ? NULL : &v[i];
}
