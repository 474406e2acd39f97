/* SPDX-License-Identifier: ISC */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <string.h>

#include "common/base/str.h"
#include "common/conf/rules.h"

#define HOST_MAX 253u
#define NAME_MAX_BYTES 128u
#define MAIL_MAX 320u           /* RFC 5321: 64 + 1 + 255 */
#define PERIOD_MAX (365 * INT64_C(86400000))

struct unit {
	struct sv name;
	int64_t ms;
};

static const struct unit time_units[] = {
	{ SV("w"), 604800000 },
	{ SV("d"), 86400000 },
	{ SV("h"), 3600000 },
	{ SV("m"), 60000 },
	{ SV("s"), 1000 },
};

static const struct unit rate_units[] = {
	{ SV("d"), 86400000 }, { SV("day"), 86400000 },
	{ SV("h"), 3600000 }, { SV("hr"), 3600000 },
	{ SV("m"), 60000 }, { SV("min"), 60000 },
	{ SV("s"), 1000 }, { SV("sec"), 1000 },
};

#define N_OF(a) (sizeof(a) / sizeof((a)[0]))

const char *
conf_parse_bool(struct sv v, bool *r)
{
	if (sv_ieq(v, SV("yes")) || sv_ieq(v, SV("true"))) {
		*r = true;
		return NULL;
	}
	if (sv_ieq(v, SV("no")) || sv_ieq(v, SV("false"))) {
		*r = false;
		return NULL;
	}
	return "is neither yes nor no";
}

const char *
conf_parse_num(struct sv v, uint64_t lo, uint64_t hi, uint64_t *r)
{
	uint64_t n;

	if (lo == 0 && sv_ieq(v, SV("unlimited"))) {
		*r = 0;
		return NULL;
	}
	if (v.n == 0 || !ascii_is_digit(v.p[0]))
		return "is not a whole number";
	if (!sv_to_u64(v, UINT64_MAX, &n)) {
		for (size_t i = 0; i < v.n; i++)
			if (!ascii_is_digit(v.p[i]))
				return "is not a whole number";
		return "is too large";
	}
	if (n < lo)
		return "is too small";
	if (n > hi)
		return "is too large";
	*r = n;
	return NULL;
}

/* Cuts the digits off the front; false if there are none or too many. */
static bool
cut_number(struct sv *v, uint64_t *r)
{
	size_t n = 0;

	while (n < v->n && ascii_is_digit(v->p[n]))
		n++;
	if (n == 0 || n > 15 || !sv_to_u64(sv_head(*v, n), UINT64_MAX, r))
		return false;
	*v = sv_from_at(*v, n);
	return true;
}

static const struct unit *
find_unit(const struct unit *units, size_t n, struct sv name)
{
	for (size_t i = 0; i < n; i++)
		if (sv_ieq(units[i].name, name))
			return &units[i];
	return NULL;
}

/* "4d12h" in ms; -1 if it is no time. Each unit is smaller than the one
 * before it, so that 5m5m and 1s2d are mistakes. */
static int64_t
time_ms(struct sv v)
{
	const struct unit *u;
	int64_t sum = 0, before = INT64_MAX;
	uint64_t n;

	if (v.n == 0)
		return -1;
	while (v.n > 0) {
		if (!cut_number(&v, &n) || v.n == 0)
			return -1;
		u = find_unit(time_units, N_OF(time_units), sv_head(v, 1));
		if (u == NULL || u->ms >= before)
			return -1;
		if (n > (uint64_t)((INT64_MAX - 1 - sum) / u->ms))
			return -1;
		sum += (int64_t)n * u->ms;
		before = u->ms;
		v = sv_from_at(v, 1);
	}
	return sum;
}

const char *
conf_parse_time(struct sv v, int64_t lo, int64_t hi, int64_t *r)
{
	int64_t ms;

	if (sv_ieq(v, SV("never"))) {
		if (hi != CONF_NEVER)
			return "is not possible here: give a time such as "
			       "4d12h";
		*r = CONF_NEVER;
		return NULL;
	}
	/* No unit is needed where there is nothing to count. */
	ms = sv_eq(v, SV("0")) ? 0 : time_ms(v);
	if (ms < 0)
		return "is not a time such as 4d12h or 300s";
	if (ms < lo)
		return "is too short";
	if (ms > hi)
		return "is too long";
	*r = ms;
	return NULL;
}

static const char *
parse_range(struct sv v, int64_t lo, int64_t hi, struct conf_range *r)
{
	struct sv first;
	const char *why;

	if (v.n == 0)
		return "has an empty element";
	first = sv_cut(&v, '-');
	if ((why = conf_parse_time(first, lo, hi, &r->min_ms)) != NULL)
		return why;
	if (v.p == NULL) {
		r->max_ms = r->min_ms;
		return NULL;
	}
	if ((why = conf_parse_time(v, lo, hi, &r->max_ms)) != NULL)
		return why;
	if (r->max_ms < r->min_ms)
		return "has a range whose end is before its start";
	return NULL;
}

const char *
conf_parse_times(struct sv v, int64_t lo, int64_t hi, struct conf_times *r)
{
	struct conf_times t = { 0 };
	const char *why;

	if (v.n == 0)
		return "is an empty list";
	while (v.p != NULL) {
		if (t.n == CONF_TIMES_MAX)
			return "has more than 30 elements";
		why = parse_range(sv_cut(&v, ','), lo, hi, &t.t[t.n]);
		if (why != NULL)
			return why;
		t.n++;
	}
	*r = t;
	return NULL;
}

/* Number and unit of a size, "12M" or "12"; false if it is none. */
static bool
size_bytes(struct sv v, uint64_t unit, uint64_t *r)
{
	static const char letters[] = "bkmgt";
	const char *at;
	uint64_t n;

	if (!cut_number(&v, &n) || v.n > 1)
		return false;
	if (v.n == 1) {
		at = memchr(letters, ascii_lower(v.p[0]), 5);
		if (at == NULL)
			return false;
		unit = UINT64_C(1) << (10 * (at - letters));
	}
	if (n > UINT64_MAX / unit)
		return false;
	*r = n * unit;
	return true;
}

const char *
conf_parse_size(struct sv v, uint64_t lo, uint64_t hi, uint64_t unit,
    uint64_t *r)
{
	uint64_t n;

	if (sv_ieq(v, SV("unlimited")))
		n = 0;
	else if (!size_bytes(v, unit, &n))
		return "is not a size such as 250M";
	if (n < lo)
		return "is too small";
	if (n > hi)
		return "is too large";
	*r = n;
	return NULL;
}

/* "/h", "/10m": the part behind the number. */
static const char *
parse_period(struct sv v, int64_t *ms_r)
{
	const struct unit *u;
	uint64_t n = 1;

	if (v.n > 0 && ascii_is_digit(v.p[0]) && !cut_number(&v, &n))
		return "has too large a period";
	u = find_unit(rate_units, N_OF(rate_units), v);
	if (u == NULL || n == 0)
		return "does not end in a period such as /h, /10m or /d";
	if (n > (uint64_t)(PERIOD_MAX / u->ms))
		return "has a period of more than a year";
	*ms_r = (int64_t)n * u->ms;
	return NULL;
}

static const char *
parse_any_rate(struct sv v, bool bytes, struct conf_rate *r)
{
	struct conf_rate rate = { 0 };
	struct sv num;
	const char *why;

	if (sv_ieq(v, SV("unlimited")) || sv_eq(v, SV("0"))) {
		*r = rate;
		return NULL;
	}
	num = sv_cut(&v, '/');
	if (v.p == NULL)
		return bytes ? "is not a rate such as 12M/m" :
			       "is not a rate such as 500/h";
	if (bytes ? !size_bytes(num, 1, &rate.n) :
		    (!cut_number(&num, &rate.n) || num.n != 0))
		return bytes ? "does not start with a size such as 12M" :
			       "does not start with a whole number";
	if (rate.n == 0)
		return "would let nothing through: pause the queue instead, "
		       "or say unlimited";
	if ((why = parse_period(v, &rate.period_ms)) != NULL)
		return why;
	*r = rate;
	return NULL;
}

const char *
conf_parse_rate(struct sv v, struct conf_rate *r)
{
	return parse_any_rate(v, false, r);
}

const char *
conf_parse_data_rate(struct sv v, struct conf_rate *r)
{
	return parse_any_rate(v, true, r);
}

const char *
conf_parse_enum(struct sv v, const char *choices, uint8_t *r)
{
	struct sv rest = sv_from(choices);
	uint8_t i = 0;

	while (rest.p != NULL) {
		if (sv_ieq(sv_cut(&rest, '|'), v)) {
			*r = i;
			return NULL;
		}
		i++;
	}
	return "is none of the possible values";
}

static const struct {
	struct sv name, long_name;
	uint32_t bit;
} record_types[] = {
	{ SV("d"), SV("delivery"), CONF_REC_D },
	{ SV("b"), SV("bounce"), CONF_REC_B },
	{ SV("t"), SV("transient"), CONF_REC_T },
	{ SV("tq"), SV("transient-queue"), CONF_REC_TQ },
	{ SV("r"), SV("receipt"), CONF_REC_R },
	{ SV("rb"), SV("remote-bounce"), CONF_REC_RB },
	{ SV("rs"), SV("remote-status"), CONF_REC_RS },
	{ SV("f"), SV("feedback-loop"), CONF_REC_F },
};

static uint32_t
record_bit(struct sv v)
{
	for (size_t i = 0; i < N_OF(record_types); i++)
		if (sv_ieq(v, record_types[i].name) ||
		    sv_ieq(v, record_types[i].long_name))
			return record_types[i].bit;
	return 0;
}

const char *
conf_parse_records(struct sv v, uint32_t *r)
{
	uint32_t bits = 0, bit;

	if (v.n == 0)
		v.p = NULL;
	while (v.p != NULL) {
		bit = record_bit(sv_trim(sv_cut(&v, ',')));
		if (bit == 0)
			return "is not a list of d, b, t, tq, r, rb, rs, f";
		bits |= bit;
	}
	*r = bits;
	return NULL;
}

static bool
is_label_char(char c, bool utf8)
{
	return ascii_is_alnum(c) || c == '-' || c == '_' ||
	    (utf8 && (c & 0x80) != 0);
}

static const char *
check_labels(struct sv v, bool utf8)
{
	struct sv label;

	if (v.n == 0)
		return "is empty";
	if (v.n > HOST_MAX)
		return "is longer than 253 characters";
	while (v.p != NULL) {
		label = sv_cut(&v, '.');
		if (label.n == 0)
			return "has an empty label: a dot too many";
		if (label.n > 63)
			return "has a label of more than 63 characters";
		if (label.p[0] == '-' || label.p[label.n - 1] == '-')
			return "has a label that starts or ends with a hyphen";
		for (size_t i = 0; i < label.n; i++)
			if (!is_label_char(label.p[i], utf8))
				return "has a character that no host name has";
	}
	return NULL;
}

const char *
conf_check_host(struct sv v)
{
	return check_labels(v, false);
}

const char *
conf_check_domain(struct sv v)
{
	return check_labels(v, true);
}

/* "[ip/bits]" or "[ip]" */
static const char *
check_literal(struct sv v)
{
	struct conf_cidr c;

	v = sv_from_at(sv_head(v, v.n - 1), 1);
	if (sv_istarts(v, SV("IPv6:")))
		v = sv_from_at(v, 5);
	return conf_parse_cidr(v, &c);
}

const char *
conf_check_pattern(struct sv v)
{
	if (sv_eq(v, SV("*")))
		return NULL;
	if (sv_starts(v, SV("[*.]")))
		return conf_check_domain(sv_from_at(v, 4));
	if (sv_starts(v, SV("*.")))
		return conf_check_domain(sv_from_at(v, 2));
	if (v.n > 2 && v.p[0] == '[' && v.p[v.n - 1] == ']')
		return check_literal(v);
	/* PowerMTA's own domains, such as {bounce}. */
	if (v.n > 2 && v.p[0] == '{' && v.p[v.n - 1] == '}')
		return conf_check_domain(sv_from_at(sv_head(v, v.n - 1), 1));
	return conf_check_domain(v);
}

const char *
conf_check_name(struct sv v)
{
	if (v.n == 0)
		return "is empty";
	if (v.n > NAME_MAX_BYTES)
		return "is longer than 128 characters";
	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];

		if (c <= ' ' || c == 0x7f || strchr("\"/,<>*=#$", c) != NULL)
			return "is not a name: no blanks, quotes, or any of "
			       "/ , < > * = $";
	}
	return NULL;
}

const char *
conf_check_mail(struct sv v)
{
	ptrdiff_t at = sv_rfind(v, '@');

	if (at <= 0)
		return "is not an address such as a@example.org";
	if (v.n > MAIL_MAX)
		return "is longer than an address may be";
	for (ptrdiff_t i = 0; i < at; i++)
		if ((unsigned char)v.p[i] <= ' ' || v.p[i] == 0x7f)
			return "is not an address such as a@example.org";
	return conf_check_domain(sv_from_at(v, (size_t)at + 1));
}

const char *
conf_check_regex(struct sv v)
{
	pcre2_code *code;
	PCRE2_SIZE off;
	int err;

	if (v.n < 2 || v.p[0] != '/' || v.p[v.n - 1] != '/')
		return "is not a regular expression between slashes";
	if (v.n > CONF_REGEX_MAX)
		return "has a regular expression of more than 2048 "
		       "characters";
	code = pcre2_compile((PCRE2_SPTR)(const void *)(v.p + 1), v.n - 2,
	    PCRE2_CASELESS, &err, &off, NULL);
	if (code == NULL)
		return "is not a regular expression that PCRE2 understands";
	pcre2_code_free(code);
	return NULL;
}

const char *
conf_parse_ip(struct sv v, struct route_addr *r)
{
	if (!route_addr_parse(v, r))
		return "is not an IP address";
	return NULL;
}

/* "10", "10.1", "10.1.2": the missing bytes are 0. */
static bool
parse_short_ipv4(struct sv v, struct route_addr *r)
{
	uint64_t byte;
	size_t n = 0;

	*r = (struct route_addr){ .family = 4 };
	while (v.p != NULL) {
		if (n == 4 || !sv_to_u64(sv_cut(&v, '.'), 255, &byte))
			return false;
		r->ip[n++] = (unsigned char)byte;
	}
	return n > 0;
}

static void
mask_host_bits(struct conf_cidr *c)
{
	unsigned width = c->ip.family == 4 ? 4 : 16;

	for (unsigned i = 0; i < width; i++) {
		unsigned keep = c->bits <= 8 * i ? 0 : c->bits - 8 * i;

		if (keep < 8)
			c->ip.ip[i] &= (unsigned char)(0xff00u >> keep);
	}
}

const char *
conf_parse_cidr(struct sv v, struct conf_cidr *r)
{
	struct conf_cidr c;
	struct sv ip = sv_cut(&v, '/');
	uint64_t bits, max;

	if (v.p == NULL) {
		if (!route_addr_parse(ip, &c.ip))
			return "is not an address or a network such as 10/8";
		c.bits = c.ip.family == 4 ? 32 : 128;
		*r = c;
		return NULL;
	}
	if (!route_addr_parse(ip, &c.ip) && !parse_short_ipv4(ip, &c.ip))
		return "is not an address or a network such as 10/8";
	max = c.ip.family == 4 ? 32 : 128;
	if (!sv_to_u64(v, max, &bits))
		return "has no valid number of bits behind the slash";
	c.bits = (uint8_t)bits;
	mask_host_bits(&c);
	*r = c;
	return NULL;
}

bool
conf_cidr_has(const struct conf_cidr *c, const struct route_addr *ip)
{
	struct conf_cidr other = { *ip, c->bits };

	/* 0/0 is everybody, by either protocol. */
	if (c->bits == 0 && c->ip.family == 4)
		return true;
	if (c->ip.family != ip->family)
		return false;
	mask_host_bits(&other);
	return memcmp(other.ip.ip, c->ip.ip, ip->family == 4 ? 4 : 16) == 0;
}

const char *
conf_parse_server(struct sv v, uint16_t default_port, struct conf_server *r)
{
	uint64_t port = default_port;
	ptrdiff_t colon = sv_rfind(v, ':');
	struct sv ip = v;

	if (v.n > 0 && v.p[0] == '[') {
		ptrdiff_t end = sv_find(v, ']');

		if (end < 0 || (colon != end + 1 && (size_t)end + 1 != v.n))
			return "is not an address such as [2001:db8::1]:25";
		ip = sv_from_at(sv_head(v, (size_t)end), 1);
		v = sv_from_at(v, (size_t)end + 1);
	} else if (colon >= 0 && sv_find(v, ':') == colon) {
		ip = sv_head(v, (size_t)colon);
		v = sv_from_at(v, (size_t)colon);
	} else {
		v = sv_make("", 0);
	}
	if (!route_addr_parse(ip, &r->ip))
		return "is not an address such as 192.0.2.1 or 192.0.2.1:25";
	if (v.n > 0 && (!sv_to_u64(sv_from_at(v, 1), 65535, &port) ||
	    port == 0))
		return "has no valid port behind the colon";
	r->port = (uint16_t)port;
	return NULL;
}

void
conf_format_time(int64_t ms, struct str *out)
{
	bool any = false;

	if (ms == CONF_NEVER) {
		str_adds(out, "never");
		return;
	}
	for (size_t i = 0; i < N_OF(time_units); i++) {
		int64_t n = ms / time_units[i].ms;

		if (n == 0)
			continue;
		str_addf(out, "%lld", (long long)n);
		str_add(out, time_units[i].name);
		ms -= n * time_units[i].ms;
		any = true;
	}
	if (!any)
		str_adds(out, "0s");
}
