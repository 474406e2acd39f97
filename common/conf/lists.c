/* SPDX-License-Identifier: ISC */
/* Values that are a list, or a name or network with a value of its own. */
#include "common/conf/store.h"

#define LIMIT_MAX  100000u  /* of connections: as max-smtp-out */
#define HEADER_MAX 128u     /* RFC 5322 would let 997 be */

const char *
conf_parse_member(struct sv v, struct conf_member *r)
{
	struct conf_member m = { .name = text_word(&v), .weight = 1 };
	const char *why = conf_check_name(m.name);
	uint64_t n;

	if (why != NULL)
		return why;
	if (v.n > 0) {
		if (!sv_istarts(v, SV("weight=")))
			return "has something else than weight=N behind the "
			       "name";
		if (!sv_to_u64(sv_from_at(v, 7), CONF_WEIGHT_MAX, &n) ||
		    n == 0)
			return "has a weight that is not a number of 1 to "
			       "1000";
		m.weight = (uint32_t)n;
	}
	*r = m;
	return NULL;
}

static const char *
parse_limit(struct sv v, uint32_t *r)
{
	uint64_t n = 0;

	if (v.n == 0)
		return "has no limit behind it";
	if (conf_parse_num(v, 0, LIMIT_MAX, &n) != NULL)
		return "has a limit that is not a number up to 100000";
	*r = (uint32_t)n;
	return NULL;
}

const char *
conf_parse_cidr_num(struct sv v, bool bare, struct conf_cidr_num *r)
{
	struct sv first = text_word(&v);
	const char *why;

	if (bare && v.n == 0 && sv_find(first, '.') < 0 &&
	    sv_find(first, '/') < 0) {
		v = first;
		first = SV("0/0");
	}
	if ((why = conf_parse_cidr(first, &r->cidr)) != NULL)
		return why;
	return parse_limit(v, &r->n);
}

const char *
conf_parse_cidr_rate(struct sv v, bool bytes, struct conf_cidr_rate *r)
{
	struct sv first = text_word(&v);
	const char *why = conf_parse_cidr(first, &r->cidr);

	if (why != NULL)
		return why;
	if (v.n == 0)
		return "has no rate behind the network";
	return bytes ? conf_parse_data_rate(v, &r->rate) :
		       conf_parse_rate(v, &r->rate);
}

const char *
conf_check_mx_pattern(struct sv v)
{
	if (v.n > 0 && v.p[0] == '[' && !sv_starts(v, SV("[*.]")))
		return "is an address: MX hosts have names";
	return conf_check_pattern(v);
}

const char *
conf_parse_mx_num(struct sv v, struct conf_mx_num *r)
{
	const char *why;

	r->pattern = text_word(&v);
	if ((why = conf_check_mx_pattern(r->pattern)) != NULL)
		return why;
	return parse_limit(v, &r->n);
}

const char *
conf_parse_rollup(struct sv v, struct conf_rollup *r)
{
	const char *why;

	r->pattern = text_word(&v);
	if ((why = conf_check_mx_pattern(r->pattern)) != NULL)
		return why;
	r->name = text_word(&v);
	if (conf_check_domain(r->name) != NULL ||
	    !sv_iends(r->name, SV(".rollup")))
		return "has no name behind the host that ends in .rollup";
	r->by_ip = sv_ieq(v, SV("rollup-by-ip"));
	return v.n == 0 || r->by_ip ? NULL :
	    "has something behind the name";
}

const char *
conf_parse_days(struct sv v, struct conf_days *r)
{
	struct conf_days d = { 0 };

	if (v.n == 0)
		return "is an empty list";
	while (v.p != NULL) {
		struct sv day = sv_cut(&v, ','), num = sv_cut(&day, '/');
		uint64_t n;

		if (d.n == CONF_DAYS_MAX)
			return "has more than 120 days";
		if (!sv_to_u64(num, CONF_DAY_NUM_MAX, &n) ||
		    (day.p != NULL && !sv_ieq(day, SV("d"))))
			return "is not a list such as 100/d,200/d,400/d";
		d.day[d.n++] = (uint32_t)n;
	}
	*r = d;
	return NULL;
}

const char *
conf_check_header(struct sv v)
{
	if (v.n == 0)
		return "is empty";
	if (v.n > HEADER_MAX)
		return "is longer than 128 characters";
	for (size_t i = 0; i < v.n; i++)
		if (v.p[i] <= ' ' || v.p[i] > '~' || v.p[i] == ':' ||
		    v.p[i] == ',')
			return "is not the name of a header";
	return NULL;
}

typedef const char *check_fn(struct sv v);

static const char *
check_each(struct sv v, check_fn *check)
{
	const char *why = NULL;

	while (why == NULL && v.p != NULL)
		why = check(sv_trim(sv_cut(&v, ',')));
	return why;
}

const char *
conf_check_headers(struct sv v)
{
	return check_each(v, conf_check_header);
}

const char *
conf_check_mails(struct sv v)
{
	return check_each(v, conf_check_mail);
}

/* ---- what holds ---- */

static unsigned
width(const struct conf_cidr *c)
{
	return c->bits == 0 ? 0 : c->bits + (c->ip.family == 4 ? 96u : 0u);
}

/* Is this at least as good as the best so far? */
static bool
is_better(const struct conf_cidr *c, const struct conf_cidr *best,
    const struct route_addr *ip)
{
	return conf_cidr_has(c, ip) &&
	    (best == NULL || width(c) >= width(best));
}

const struct conf_cidr_num *
conf_cidr_num_find(const struct conf_cidr_nums *l,
    const struct route_addr *ip)
{
	const struct conf_cidr_num *best = NULL;

	for (uint32_t i = 0; i < l->n; i++)
		if (is_better(&l->v[i].cidr, best == NULL ? NULL :
		    &best->cidr, ip))
			best = &l->v[i];
	return best;
}

const struct conf_cidr_rate *
conf_cidr_rate_find(const struct conf_cidr_rates *l,
    const struct route_addr *ip)
{
	const struct conf_cidr_rate *best = NULL;

	for (uint32_t i = 0; i < l->n; i++)
		if (is_better(&l->v[i].cidr, best == NULL ? NULL :
		    &best->cidr, ip))
			best = &l->v[i];
	return best;
}

bool
conf_pattern_has(struct sv pattern, struct sv domain)
{
	struct conf_cidr cidr;
	struct route_addr ip;
	struct sv tail;

	if (sv_eq(pattern, SV("*")))
		return true;
	if (sv_starts(pattern, SV("[*.]"))) {
		tail = sv_from_at(pattern, 4);
		return sv_ieq(tail, domain) || (domain.n > tail.n &&
		    domain.p[domain.n - tail.n - 1] == '.' &&
		    sv_iends(domain, tail));
	}
	if (sv_starts(pattern, SV("*.")))
		return domain.n > pattern.n - 1 &&
		    sv_iends(domain, sv_from_at(pattern, 1));
	if (!sv_starts(pattern, SV("[")) || !sv_starts(domain, SV("[")) ||
	    domain.n < 3)
		return sv_ieq(pattern, domain);
	pattern = sv_from_at(sv_head(pattern, pattern.n - 1), 1);
	domain = sv_from_at(sv_head(domain, domain.n - 1), 1);
	if (sv_istarts(domain, SV("IPv6:")))
		domain = sv_from_at(domain, 5);
	return conf_parse_cidr(pattern, &cidr) == NULL &&
	    conf_parse_ip(domain, &ip) == NULL && conf_cidr_has(&cidr, &ip);
}

/* Longer is more specific: of patterns that all hold one name, each is a part
 * of the longer ones. A name stands above "[*.]name", that above "*.name". */
static size_t
rank(struct sv pattern)
{
	if (sv_starts(pattern, SV("[*.]")))
		return 4 * (pattern.n - 4) + 2;
	if (sv_starts(pattern, SV("*")))
		return pattern.n < 2 ? 0 : 4 * (pattern.n - 2) + 1;
	return 4 * pattern.n + 3;
}

const struct conf_mx_num *
conf_mx_num_find(const struct conf_mx_nums *l, struct sv host)
{
	const struct conf_mx_num *best = NULL;

	for (uint32_t i = 0; i < l->n; i++)
		if (conf_pattern_has(l->v[i].pattern, host) && (best == NULL ||
		    rank(l->v[i].pattern) >= rank(best->pattern)))
			best = &l->v[i];
	return best;
}

static const struct conf_rollup *
rollup_of_host(const struct conf_rollups *l, struct sv host)
{
	const struct conf_rollup *best = NULL;

	for (uint32_t i = 0; i < l->n; i++)
		if (conf_pattern_has(l->v[i].pattern, host) && (best == NULL ||
		    rank(l->v[i].pattern) > rank(best->pattern)))
			best = &l->v[i];
	return best;
}

struct sv
conf_rollup_find(const struct conf_rollups *l, const struct sv *hosts,
    size_t n)
{
	const struct conf_rollup *r = NULL;
	size_t named = 0;

	for (size_t i = 0; i < n; i++) {
		const struct conf_rollup *of = rollup_of_host(l, hosts[i]);

		if (of == NULL || (r != NULL && !sv_ieq(of->name, r->name)))
			return SV("");
		r = of;
	}
	for (uint32_t i = 0; r != NULL && i < l->n; i++)
		named += sv_ieq(l->v[i].name, r->name) &&
		    sv_find(l->v[i].pattern, '*') < 0;
	return r == NULL || named > n ? SV("") : r->name;
}
