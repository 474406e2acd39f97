/* SPDX-License-Identifier: ISC */
/* The schema as tables, and what derives from a row. */
#include <stddef.h>
#include <string.h>

#include "common/base/crc32c.h"
#include "common/conf/store.h"

#define ROW_FIELD(KIND, T, field, nm, ar, l, h, df, hp) \
	{ .name = nm, .arg = (const char *)ar, .def = df, .help = hp, \
	    .lo = l, .hi = h, .kind = KIND, .type = CONF_T_##T, \
	    .offset = offsetof(struct ROW_OF, field) },
#define ROW_R(...) ROW_FIELD(ROW_USED, __VA_ARGS__)
#define ROW_N(...) ROW_FIELD(ROW_NOT_YET, __VA_ARGS__)
#define ROW_K(nm, hp) { .name = nm, .help = hp, .kind = ROW_KNOWN },
#define ROW_A(nm, to, suffix) \
	{ .name = nm, .arg = to, .def = suffix, .kind = ROW_ALIAS },

#define ROW_OF conf_global
static const struct conf_row rows_GLOBAL[] = {
	CONF_GLOBAL_ROWS(ROW_R, ROW_N, ROW_K, ROW_A)
};
#undef ROW_OF
#define ROW_OF conf_spool
static const struct conf_row rows_SPOOL[] = {
	CONF_SPOOL_ROWS(ROW_R, ROW_N, ROW_K, ROW_A)
};
#undef ROW_OF
#define ROW_OF conf_listener
static const struct conf_row rows_LISTENER[] = {
	CONF_LISTENER_ROWS(ROW_R, ROW_N, ROW_K, ROW_A)
};
#undef ROW_OF
#define ROW_OF conf_source
static const struct conf_row rows_SOURCE[] = {
	CONF_SOURCE_ROWS(ROW_R, ROW_N, ROW_K, ROW_A)
};
#undef ROW_OF
#define ROW_OF conf_domain
static const struct conf_row rows_DOMAIN[] = {
	CONF_DOMAIN_ROWS(ROW_R, ROW_N, ROW_K, ROW_A)
};
#undef ROW_OF
#define ROW_OF conf_vmta
static const struct conf_row rows_VMTA[] = {
	CONF_VMTA_ROWS(ROW_R, ROW_N, ROW_K, ROW_A)
};
#undef ROW_OF
#define ROW_OF conf_acct
static const struct conf_row rows_ACCT[] = {
	CONF_ACCT_ROWS(ROW_R, ROW_N, ROW_K, ROW_A)
};
#undef ROW_OF
#define ROW_OF conf_pool
static const struct conf_row rows_POOL[] = {
	CONF_POOL_ROWS(ROW_R, ROW_N, ROW_K, ROW_A)
};
#undef ROW_OF
#define ROW_OF conf_reply_list
static const struct conf_row rows_REPLIES[] = {
	CONF_REPLIES_ROWS(ROW_R, ROW_N, ROW_K, ROW_A)
};
#undef ROW_OF
#define ROW_OF conf_pattern_list
static const struct conf_row rows_PATTERNS[] = {
	CONF_PATTERNS_ROWS(ROW_R, ROW_N, ROW_K, ROW_A)
};
#undef ROW_OF
#define ROW_OF conf_rollup_list
static const struct conf_row rows_ROLLUP[] = {
	CONF_ROLLUP_ROWS(ROW_R, ROW_N, ROW_K, ROW_A)
};
#undef ROW_OF
#define ROW_OF conf_aliases
static const struct conf_row rows_ALIASES[] = {
	CONF_ALIASES_ROWS(ROW_R, ROW_N, ROW_K, ROW_A)
};
#undef ROW_OF
#define ROW_OF conf_warmup
static const struct conf_row rows_WARMUP[] = {
	CONF_WARMUP_ROWS(ROW_R, ROW_N, ROW_K, ROW_A)
};
#undef ROW_OF

#define N_OF(a) (sizeof(a) / sizeof((a)[0]))

const struct scope_info scope_infos[SCOPES] = {
#define S(NAME, strct, tg, how, max, text, macro) \
	{ .tag = tg, .rows = rows_##NAME, .nrows = N_OF(rows_##NAME), \
	    .yet = text, .size = sizeof(struct strct), .most = max, \
	    .as = AS_##how },
	CONF_SCOPES(S)
#undef S
};

const struct known_block known_blocks[] = {
#define B(tag, help) { tag, help },
	CONF_KNOWN_BLOCKS(B)
#undef B
};
const size_t nknown_blocks = N_OF(known_blocks);

static const struct {
	uint16_t size;
	uint8_t repeat;
} types[CONF_TYPE_COUNT] = {
#define X(T, ctype, rep) { sizeof(conf_t_##T), rep },
	CONF_TYPES(X)
#undef X
};

bool
type_repeats(enum conf_type type)
{
	return types[type].repeat != 0;
}

bool
type_is_ordered(enum conf_type type)
{
	return types[type].repeat == 2;
}

size_t
type_size(enum conf_type type)
{
	return types[type].size;
}

size_t
elem_size(enum conf_type type)
{
	switch (type) {
	case CONF_T_SERVERS:
		return sizeof(struct conf_server);
	case CONF_T_SOURCES:
		return sizeof(struct conf_srchost);
	case CONF_T_MEMBERS:
		return sizeof(struct conf_member);
	case CONF_T_CIDRNUMS:
		return sizeof(struct conf_cidr_num);
	case CONF_T_CIDRRATES:
	case CONF_T_CIDRDRATES:
		return sizeof(struct conf_cidr_rate);
	case CONF_T_MXNUMS:
		return sizeof(struct conf_mx_num);
	case CONF_T_ROLLUPS:
		return sizeof(struct conf_rollup);
	default:
		return sizeof(struct sv);
	}
}

const struct conf_row *
row_find(enum conf_scope scope, struct sv name)
{
	const struct scope_info *s = &scope_infos[scope];

	for (size_t i = 0; i < s->nrows; i++)
		if (sv_ieq(sv_from(s->rows[i].name), name))
			return &s->rows[i];
	return NULL;
}

enum conf_scope
scope_find(struct sv tag)
{
	for (unsigned s = 1; s < SCOPES; s++)
		if (sv_ieq(sv_from(scope_infos[s].tag), tag))
			return (enum conf_scope)s;
	return SCOPES;
}

const struct known_block *
known_block_find(struct sv tag)
{
	for (size_t i = 0; i < nknown_blocks; i++)
		if (sv_ieq(sv_from(known_blocks[i].tag), tag))
			return &known_blocks[i];
	return NULL;
}

enum conf_scope
row_scope_elsewhere(enum conf_scope scope, struct sv name)
{
	for (unsigned s = 0; s < SCOPES; s++)
		if (s != scope && row_find((enum conf_scope)s, name) != NULL)
			return (enum conf_scope)s;
	return SCOPES;
}

#define NEAR_MAX 48u /* longer names are not compared */

/* Levenshtein's distance; names longer than NEAR_MAX are far. */
static unsigned
distance(struct sv a, struct sv b)
{
	unsigned char row[NEAR_MAX + 1];

	if (a.n > NEAR_MAX || b.n > NEAR_MAX)
		return UINT8_MAX;
	for (size_t j = 0; j <= b.n; j++)
		row[j] = (unsigned char)j;
	for (size_t i = 1; i <= a.n; i++) {
		unsigned diag = row[0];

		row[0] = (unsigned char)i;
		for (size_t j = 1; j <= b.n; j++) {
			unsigned cost = ascii_lower(a.p[i - 1]) !=
			    ascii_lower(b.p[j - 1]);
			unsigned best = diag + cost;

			diag = row[j];
			if (best > diag + 1)
				best = diag + 1;
			if (best > row[j - 1] + 1u)
				best = row[j - 1] + 1u;
			row[j] = (unsigned char)best;
		}
	}
	return row[b.n];
}

struct nearest {
	const char *name;
	unsigned at;
};

static void
nearest_try(struct nearest *n, struct sv want, const char *name)
{
	unsigned d = distance(want, sv_from(name));

	if (d < n->at) {
		n->at = d;
		n->name = name;
	}
}

/* A third of the letters wrong, but at most 5: then it is another word. */
static struct nearest
nearest_start(struct sv want)
{
	unsigned max = (unsigned)(want.n / 3 + 1);

	return (struct nearest){ NULL, (max > 5 ? 5 : max) + 1 };
}

const char *
row_suggest(enum conf_scope scope, struct sv name)
{
	const struct scope_info *s = &scope_infos[scope];
	struct nearest n = nearest_start(name);

	for (size_t i = 0; i < s->nrows; i++)
		nearest_try(&n, name, s->rows[i].name);
	return n.name;
}

const char *
tag_suggest(struct sv tag)
{
	struct nearest n = nearest_start(tag);

	for (size_t i = 1; i < SCOPES; i++)
		nearest_try(&n, tag, scope_infos[i].tag);
	for (size_t i = 0; i < nknown_blocks; i++)
		nearest_try(&n, tag, known_blocks[i].tag);
	return n.name;
}

static const char *
check_text(struct sv v, int64_t max)
{
	if (v.n > (uint64_t)max)
		return "is too long";
	for (size_t i = 0; i < v.n; i++)
		if ((unsigned char)v.p[i] < ' ' || v.p[i] == 0x7f)
			return "has control characters";
	return NULL;
}

static const char *
check_path(struct sv v)
{
	if (v.n == 0 || v.p[0] != '/')
		return "is not an absolute path: start it with /";
	if (sv_find(v, '\0') >= 0)
		return "has control characters";
	return check_text(v, 4000);
}

static const char *
check_pickup(struct sv v)
{
	struct sv dir = text_word(&v);
	const char *why = check_path(dir);

	if (why == NULL && v.n == 0)
		return "has no directory for bad files behind it";
	if (why == NULL)
		why = check_path(v);
	return why == NULL && sv_eq(dir, v) ? "is twice the same directory" :
					      why;
}

static const char *
check_rules(struct sv v)
{
	if (sv_ieq(v, SV("yes")) || sv_ieq(v, SV("no")))
		return NULL;
	return v.p[0] == '/' ? check_path(v) :
	    "is neither yes, no, nor an absolute path";
}

static const char *
check_relay_address(struct sv v)
{
	if (v.n > 0 && v.p[0] == '/')
		return conf_check_regex(v);
	return conf_check_mail(v);
}

/* "IP|CIDR [NAME]". A range other than 0/0 is taken apart by system.c. */
static const char *
parse_source_host(struct sv v, struct conf_srchost *r)
{
	struct sv word = text_word(&v);
	struct conf_cidr c;
	const char *why;

	if ((why = conf_parse_cidr(word, &c)) != NULL)
		return why;
	*r = (struct conf_srchost){ .ip = c.ip, .helo = text_unquote(v) };
	if (c.bits != (c.ip.family == 4 ? 32 : 128))
		r->ip = (struct route_addr){ 0 };
	if (r->helo.n > 0 && conf_check_host(r->helo) != NULL)
		return "names no valid host behind the address";
	return NULL;
}

/* "ADDR:PORT [source=NAME]" */
static const char *
check_listener(struct sv v)
{
	struct conf_server s;
	const char *why = conf_parse_server(text_word(&v), 25, &s);

	if (why != NULL || v.n == 0)
		return why;
	if (!sv_istarts(v, SV("source=")))
		return "has something else than source=NAME behind the address";
	return conf_check_name(sv_from_at(v, 7));
}

static const char *
check_macro(struct sv v)
{
	struct sv name = text_word(&v);

	for (size_t i = 0; i < name.n; i++)
		if (!ascii_is_alnum(name.p[i]) && name.p[i] != '-' &&
		    name.p[i] != '_')
			return "has a name with other characters than "
			       "letters, digits, - and _";
	if (name.n == 0 || v.n == 0)
		return "is not a name and a list such as: mail a.com,b.com";
	if (sv_find(v, ' ') >= 0 || sv_find(v, '\t') >= 0)
		return "has blanks in its list: separate by commas only";
	return NULL;
}

static const char *
check_fields(struct sv v)
{
	struct sv word = text_word(&v);
	uint32_t bits;

	if (word.n == 0 || v.n == 0)
		return "is not a type and a list such as: d timeLogged,rcpt";
	if (conf_parse_records(word, &bits) != NULL)
		return "does not start with a record type: "
		       "d, b, t, tq, r, rb, rs, f";
	return check_text(v, 65000);
}

static const char *
parse_number(const struct conf_row *row, struct sv v, uint32_t *out)
{
	uint64_t n = 0;
	const char *why;

	if (row->type == CONF_T_AUTONUM && sv_ieq(v, SV("auto"))) {
		*out = 0;
		return NULL;
	}
	why = conf_parse_num(v, (uint64_t)row->lo, (uint64_t)row->hi, &n);
	if (why == NULL)
		*out = (uint32_t)n;
	return why;
}

static const char *
parse_bool_time(const struct conf_row *row, struct sv v, int64_t *out)
{
	bool b;

	if (sv_ieq(v, SV("never")) || conf_parse_bool(v, &b) == NULL) {
		*out = sv_ieq(v, SV("yes")) || sv_ieq(v, SV("true")) ? 0 :
		    CONF_NEVER;
		return NULL;
	}
	return conf_parse_time(v, row->lo, row->hi, out);
}

static const char *
parse_enum(const struct conf_row *row, struct sv v, uint8_t *out)
{
	uint8_t n = 0;
	const char *why = conf_parse_enum(v, row->arg, &n);

	if (why != NULL)
		return why;
	if (row->hi > 0 && n > row->hi)
		return "is not there yet";
	*out = n;
	return NULL;
}

/* A line whose order counts; its expression is compiled to see. */
static const char *
parse_ordered(const struct conf_row *row, struct sv v, union conf_any *out)
{
	const char *why;

	switch ((enum conf_type)row->type) {
	case CONF_T_REPLY:
		why = conf_parse_reply(v, &out->reply);
		return why != NULL ? why : conf_check_regex(out->reply.regex);
	case CONF_T_PATTERN:
		why = conf_parse_pattern(v,
		    (enum conf_pattern_what)row->lo, &out->pattern);
		return why != NULL || out->pattern.regex.n == 0 ? why :
		    conf_check_regex(out->pattern.regex);
	case CONF_T_SAMPLE:
		return conf_parse_sample(v, &out->text);
	default:
		return "cannot stand here";
	}
}

static const char *
parse_list_element(const struct conf_row *row, struct sv v, void *out)
{
	const char *why = NULL;

	switch ((enum conf_type)row->type) {
	case CONF_T_SERVERS:
		return conf_parse_server(v, 53, out);
	case CONF_T_SOURCES:
		return parse_source_host(v, out);
	case CONF_T_MEMBERS:
		return conf_parse_member(v, out);
	case CONF_T_CIDRNUMS:
		return conf_parse_cidr_num(v, row->lo == 1, out);
	case CONF_T_CIDRRATES:
	case CONF_T_CIDRDRATES:
		return conf_parse_cidr_rate(v, row->type ==
		    CONF_T_CIDRDRATES, out);
	case CONF_T_MXNUMS:
		return conf_parse_mx_num(v, out);
	case CONF_T_ROLLUPS:
		return conf_parse_rollup(v, out);
	case CONF_T_NAMES:
		why = conf_check_name(v);
		break;
	case CONF_T_MAILS:
		why = conf_check_mail(v);
		break;
	case CONF_T_HOSTS:
		why = conf_check_host(v);
		break;
	case CONF_T_PATTERNS:
		if (sv_find(v, '$') < 0)
			why = conf_check_pattern(v);
		break;
	case CONF_T_RELAYADDRS:
		why = check_relay_address(v);
		break;
	case CONF_T_LISTENERS:
		why = check_listener(v);
		break;
	case CONF_T_MACROS:
		why = check_macro(v);
		break;
	case CONF_T_ALIASES:
		why = conf_check_alias(v);
		break;
	case CONF_T_FIELDS:
		why = check_fields(v);
		break;
	default:
		return "cannot stand here";
	}
	if (why == NULL)
		*(struct sv *)out = v;
	return why;
}

static const char *
parse_text(const struct conf_row *row, struct sv v, struct sv *out)
{
	const char *why = NULL;

	if (v.n == 0) {
		*out = SV("");
		return NULL;
	}
	switch ((enum conf_type)row->type) {
	case CONF_T_NAME:
		why = conf_check_name(v);
		break;
	case CONF_T_PATH:
		why = check_path(v);
		break;
	case CONF_T_RULES:
		why = check_rules(v);
		break;
	case CONF_T_PICKUP:
		why = check_pickup(v);
		break;
	case CONF_T_HOST:
		why = conf_check_host(v);
		break;
	case CONF_T_DOMAIN:
		why = conf_check_domain(v);
		break;
	case CONF_T_HEADER:
		why = conf_check_header(v);
		break;
	case CONF_T_HEADERS:
		why = conf_check_headers(v);
		break;
	case CONF_T_MAILLIST:
		why = conf_check_mails(v);
		break;
	default:
		why = check_text(v, row->hi);
		break;
	}
	if (why == NULL)
		*out = v;
	return why;
}

/* A value of <warmup>; an empty one is the default. */
static const char *
parse_warmup(const struct conf_row *row, struct sv v, void *out)
{
	switch ((enum conf_type)row->type) {
	case CONF_T_DATE:
		return conf_parse_date(v, out);
	case CONF_T_ZONE:
		return conf_parse_zone(v, out);
	default:
		return conf_parse_overflow(v, out);
	}
}

const char *
row_parse(const struct conf_row *row, struct sv v, void *out)
{
	switch ((enum conf_type)row->type) {
	case CONF_T_BOOL:
		return conf_parse_bool(v, out);
	case CONF_T_NUM:
	case CONF_T_AUTONUM:
		return parse_number(row, v, out);
	case CONF_T_TIME:
		return conf_parse_time(v, row->lo, row->hi, out);
	case CONF_T_BOOLTIME:
		return parse_bool_time(row, v, out);
	case CONF_T_TIMES:
		return conf_parse_times(v, row->lo, row->hi, out);
	case CONF_T_SIZE:
	case CONF_T_MEGS:
		return conf_parse_size(v, (uint64_t)row->lo,
		    (uint64_t)row->hi, row->type == CONF_T_MEGS ? MIB : 1,
		    out);
	case CONF_T_RATE:
		return conf_parse_rate(v, out);
	case CONF_T_DRATE:
		return conf_parse_data_rate(v, out);
	case CONF_T_ENUM:
		return parse_enum(row, v, out);
	case CONF_T_DAYS:
		return conf_parse_days(v, out);
	case CONF_T_RECORDS:
		return conf_parse_records(v, out);
	case CONF_T_DATE:
	case CONF_T_ZONE:
	case CONF_T_OVERFLOW:
		return parse_warmup(row, v, out);
	case CONF_T_STR:
	case CONF_T_NAME:
	case CONF_T_PATH:
	case CONF_T_RULES:
	case CONF_T_PICKUP:
	case CONF_T_HOST:
	case CONF_T_DOMAIN:
	case CONF_T_HEADER:
	case CONF_T_HEADERS:
	case CONF_T_MAILLIST:
		return parse_text(row, v, out);
	default:
		if (type_is_ordered((enum conf_type)row->type))
			return parse_ordered(row, v, out);
		return parse_list_element(row, v, out);
	}
}

uint32_t
schema_sum(void)
{
	uint32_t sum = 1;

	for (size_t s = 0; s < SCOPES; s++) {
		for (size_t i = 0; i < scope_infos[s].nrows; i++) {
			const struct conf_row *r = &scope_infos[s].rows[i];

			sum = crc32c(sum, r->name, strlen(r->name));
			sum = crc32c(sum, &r->type, sizeof(r->type));
			sum = crc32c(sum, &r->offset, sizeof(r->offset));
		}
	}
	return sum;
}
