/* SPDX-License-Identifier: ISC */
/* <warmup>: its values, and from its settings to a number for each day. */
#include <stdlib.h>
#include <string.h>

#include "common/conf/store.h"

#define ZONE_MAX_H 14    /* the line islands are the furthest */
#define FACTOR_MAX 2e9   /* from 1 to CONF_DAY_NUM_MAX in one step */
#define HALVINGS   100   /* more than a double has bits */

/* ---- values ---- */

/* Days from 1970-01-01 to the first of March of that year, and on: leap days
 * are then at the end of a year. */
static int64_t
days_to(int64_t year, int64_t month, int64_t day)
{
	int64_t y = month > 2 ? year : year - 1;
	int64_t m = month > 2 ? month - 3 : month + 9;

	return y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 +
	    day - 1 - 719468;
}

static bool
is_date(uint64_t year, uint64_t month, uint64_t day)
{
	int64_t y = (int64_t)year, m = (int64_t)month;
	int64_t next = m == 12 ? days_to(y + 1, 1, 1) : days_to(y, m + 1, 1);

	return year >= 2000 && year < 3000 && month >= 1 && month <= 12 &&
	    day >= 1 && days_to(y, m, (int64_t)day) < next;
}

const char *
conf_parse_date(struct sv v, uint32_t *r)
{
	struct sv rest = v, y = sv_cut(&rest, '-'), m = sv_cut(&rest, '-');
	uint64_t year, month, day;

	if (v.n == 0) {
		*r = 0;
		return NULL;
	}
	if (v.n != 10 || y.n != 4 || m.n != 2 || rest.n != 2 ||
	    !sv_to_u64(y, 9999, &year) || !sv_to_u64(m, 12, &month) ||
	    !sv_to_u64(rest, 31, &day) || !is_date(year, month, day))
		return "is not a date such as 2026-01-31";
	*r = (uint32_t)days_to((int64_t)year, (int64_t)month, (int64_t)day);
	return NULL;
}

const char *
conf_parse_zone(struct sv v, int32_t *r)
{
	static const char why[] = "is not a difference to UTC such as +02:00";
	bool minus = sv_starts(v, SV("-"));
	uint64_t hours, minutes = 0;
	struct sv h, m;

	if (minus || sv_starts(v, SV("+")))
		v = sv_from_at(v, 1);
	m = v;
	h = sv_cut(&m, ':');
	if (m.p == NULL && v.n == 4) {
		h = sv_head(v, 2);
		m = sv_from_at(v, 2);
	}
	if (h.n > 2 || !sv_to_u64(h, ZONE_MAX_H, &hours) ||
	    (m.p != NULL && (m.n != 2 || !sv_to_u64(m, 59, &minutes))))
		return why;
	*r = (int32_t)(hours * 60 + minutes) * (minus ? -1 : 1);
	return NULL;
}

const char *
conf_parse_overflow(struct sv v, struct conf_overflow *r)
{
	struct conf_overflow o = { .name = SV("") };
	struct sv word = text_word(&v);

	if (sv_ieq(word, SV("virtual-mta"))) {
		o.kind = CONF_OVERFLOW_VMTA;
		o.name = v;
		*r = o;
		return v.n == 0 ? "names no VMTA" : conf_check_name(v);
	}
	if (v.n > 0 || (!sv_ieq(word, SV("wait")) &&
	    !sv_ieq(word, SV("hold"))))
		return "is not wait, hold, or virtual-mta NAME";
	o.kind = sv_ieq(word, SV("hold")) ? CONF_OVERFLOW_HOLD :
	    CONF_OVERFLOW_WAIT;
	*r = o;
	return NULL;
}

/* ---- plans ---- */

struct maker {
	struct conf *c;
	struct conf_report *rep;
	const struct block *b;
	struct conf_warmup *w;
	struct sv *domains;          /* expanded so far */
	uint32_t ndomains, size;
	struct place at;             /* of the domain being expanded */
	bool no_room;
};

#define error_at(m, at, ...) report_error((m)->rep, \
    place_file((m)->c, at), (at).line, __VA_ARGS__)

/* The last setting of that name, NULL if there is none. */
static const struct setting *
setting_find(const struct maker *m, const char *name)
{
	const struct setting *found = NULL;

	for (const struct setting *s = m->b->first; s != NULL; s = s->next)
		if (sv_eq(sv_from(s->row->name), sv_from(name)))
			found = s->clear ? NULL : s;
	return found;
}

static uint32_t *
plan_new(struct maker *m, uint32_t n)
{
	uint32_t *plan = store_alloc(m->c, n * sizeof(*plan));

	m->no_room = m->no_room || plan == NULL;
	m->w->plan = plan;
	m->w->nplan = plan == NULL ? 0 : n;
	return plan;
}

static double
power(double x, uint32_t n)
{
	double y = 1;

	while (n-- > 0)
		y *= x;
	return y;
}

/* The n-th root of a number from 0 to FACTOR_MAX. */
static double
root(double x, uint32_t n)
{
	double lo = 0, hi = FACTOR_MAX;

	for (int i = 0; i < HALVINGS; i++) {
		double mid = lo + (hi - lo) / 2;

		if (power(mid, n) < x)
			lo = mid;
		else
			hi = mid;
	}
	return hi;
}

static void
curve_make(struct maker *m)
{
	const struct conf_warmup *w = m->w;
	double from = w->from, to = w->to, steps = w->days - 1;
	double factor = root(to / from, w->days - 1);
	uint32_t *plan = plan_new(m, w->days);

	for (uint32_t i = 0; plan != NULL && i < w->days; i++)
		plan[i] = (uint32_t)((w->curve == CONF_CURVE_LINEAR ?
		    from + (to - from) * i / steps :
		    from * power(factor, i)) + 0.5);
	if (plan != NULL)
		plan[w->days - 1] = w->to;
}

static void
curve_check(struct maker *m)
{
	static const char *const names[] = { "from", "to", "days" };
	const struct conf_warmup *w = m->w;
	const struct setting *s[3];

	for (int i = 0; i < 3; i++) {
		s[i] = setting_find(m, names[i]);
		if (s[i] != NULL)
			continue;
		error_at(m, m->b->at, "<warmup %.*s> needs a day-list, or "
		    "from, to and days: %s is missing", SV_FMT(w->name),
		    names[i]);
		return;
	}
	if (w->days < 2)
		error_at(m, s[2]->at, "days: a warmup has 2 days at least");
	else if (w->from == 0)
		error_at(m, s[0]->at, "from: must be 1 at least");
	else if (w->to < w->from)
		error_at(m, s[1]->at, "to: %u is less than from, %u", w->to,
		    w->from);
	else
		curve_make(m);
}

static void
list_make(struct maker *m, const struct setting *list)
{
	static const char *const others[] = { "from", "to", "days", "curve" };
	const struct conf_days *d = &m->w->day_list;
	uint32_t *plan;

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		const struct setting *s = setting_find(m, others[i]);

		if (s == NULL)
			continue;
		error_at(m, s->at, "%s: there is a day-list in line %u: one of "
		    "them is too much", others[i], list->at.line);
		return;
	}
	plan = plan_new(m, d->n);
	if (plan != NULL)
		memcpy(plan, d->day, d->n * sizeof(*plan));
}

static void
overflow_name_check(struct maker *m, struct place at, struct sv name)
{
	for (uint32_t i = 0; i < m->w->virtual_mta.n; i++)
		if (sv_ieq(m->w->virtual_mta.v[i], name))
			error_at(m, at, "overflow: \"%.*s\" is one of the "
			    "VMTAs that are warmed", SV_FMT(name));
}

static void
overflow_check(struct maker *m)
{
	const struct conf_overflow *o = &m->w->overflow;
	const struct setting *s = setting_find(m, "overflow");
	const struct conf_pool *pool;

	if (o->kind != CONF_OVERFLOW_VMTA || s == NULL)
		return;
	if (conf_vmta_find(m->c, o->name) == NULL &&
	    conf_pool_find(m->c, o->name) == NULL)
		error_at(m, s->at, "overflow: there is no <virtual-mta %.*s> "
		    "or <virtual-mta-pool %.*s>", SV_FMT(o->name),
		    SV_FMT(o->name));
	overflow_name_check(m, s->at, o->name);
	pool = conf_pool_find(m->c, o->name);
	for (uint32_t i = 0; pool != NULL && i < pool->virtual_mta.n; i++)
		overflow_name_check(m, s->at, pool->virtual_mta.v[i].name);
}

static void
vmtas_check(struct maker *m)
{
	const struct conf_svs *v = &m->w->virtual_mta;

	if (v->n == 0)
		error_at(m, m->b->at, "<warmup %.*s> needs a virtual-mta",
		    SV_FMT(m->w->name));
	for (uint32_t i = 0; i < v->n; i++)
		for (uint32_t k = 0; k < i; k++)
			if (sv_ieq(v->v[i], v->v[k]))
				error_at(m, m->b->at, "<warmup %.*s> has the "
				    "virtual-mta \"%.*s\" twice",
				    SV_FMT(m->w->name), SV_FMT(v->v[i]));
}

static bool
on_warmup_domain(void *arg, struct sv text, bool expanded)
{
	struct maker *m = arg;
	const char *why = conf_check_pattern(text);
	struct sv *v;

	(void)expanded;
	if (why != NULL) {
		error_at(m, m->at, "domain: \"%.*s\" %s",
		    SV_FMT(sv_head(text, 80)), why);
		return false;
	}
	if (m->ndomains == m->size) {
		m->size = m->size == 0 ? 16 : m->size * 2;
		v = reallocarray(m->domains, m->size, sizeof(*v));
		if (v == NULL) {
			m->no_room = true;
			return false;
		}
		m->domains = v;
	}
	m->no_room = !store_sv(m->c, text, &m->domains[m->ndomains++]);
	return !m->no_room;
}

static void
domains_make(struct maker *m)
{
	bool ok = true;
	struct sv *v;

	m->ndomains = 0;
	for (const struct setting *s = m->b->first; ok && s != NULL;
	    s = s->next) {
		if (!sv_eq(sv_from(s->row->name), SV("domain")))
			continue;
		m->at = s->at;
		if (s->clear)
			m->ndomains = 0;
		else
			ok = macro_expand(m->c, m->rep, s->at, s->value,
			    on_warmup_domain, m);
	}
	if (ok && m->ndomains == 0)
		ok = on_warmup_domain(m, SV("*"), false);
	if (!ok)
		return;
	v = store_alloc(m->c, m->ndomains * sizeof(*v));
	m->no_room = m->no_room || v == NULL;
	if (v != NULL)
		memcpy(v, m->domains, m->ndomains * sizeof(*v));
	m->w->domains = (struct conf_svs){ v, v == NULL ? 0 : m->ndomains };
}

bool
warmups_make(struct conf *c, struct conf_report *rep)
{
	struct conf_warmup *all = c->made[SCOPE_WARMUP].v;
	struct maker m = { .c = c, .rep = rep };

	for (uint32_t i = 1; i < c->nblocks && !m.no_room; i++) {
		const struct setting *list;

		if (c->blocks[i]->scope != SCOPE_WARMUP)
			continue;
		m.b = c->blocks[i];
		m.w = &all[m.b->index];
		list = setting_find(&m, "day-list");
		if (list != NULL)
			list_make(&m, list);
		else
			curve_check(&m);
		vmtas_check(&m);
		overflow_check(&m);
		domains_make(&m);
	}
	free(m.domains);
	return !m.no_room;
}

/* ---- questions ---- */

size_t
conf_nwarmups(const struct conf *c)
{
	return c->made[SCOPE_WARMUP].n;
}

const struct conf_warmup *
conf_warmup(const struct conf *c, size_t i)
{
	const struct conf_warmup *v = c->made[SCOPE_WARMUP].v;

	return &v[i];
}

const struct conf_warmup *
conf_warmup_find(const struct conf *c, struct sv name)
{
	uint32_t i = name_find(c, SCOPE_WARMUP, name);

	return i == STORE_NONE ? NULL : conf_warmup(c, i);
}

bool
conf_warmup_has(const struct conf_warmup *w, struct sv domain)
{
	for (uint32_t i = 0; i < w->domains.n; i++)
		if (conf_pattern_has(w->domains.v[i], domain))
			return true;
	return false;
}
