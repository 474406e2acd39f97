/* SPDX-License-Identifier: ISC */
/*
 * value: the types of configuration values: their C types and one strict
 * parser for each. A parser gets the text after the directive with quotes
 * removed, writes the value and returns NULL, or returns why not: the rest of
 * a sentence, "is not a time such as 4d12h". No parser allocates.
 */
#ifndef COMMON_CONF_VALUE_H
#define COMMON_CONF_VALUE_H

#include "common/base/sv.h"
#include "common/mail/route.h"

#define CONF_NEVER     INT64_MAX  /* a time */
#define CONF_TIMES_MAX 30         /* PowerMTA's limit */
#define CONF_DAYS_MAX  120        /* the usual plans have 30 to 45 */
#define CONF_DAY_NUM_MAX 1000000000u
#define CONF_WEIGHT_MAX 1000u     /* a thousandth is the smallest share */

struct conf_range {
	int64_t min_ms, max_ms; /* equal for a plain time; min <= max */
};

struct conf_times {
	uint8_t n;              /* the last one repeats */
	struct conf_range t[CONF_TIMES_MAX];
};

/* n per period; period_ms 0: no limit. n is at least 1 otherwise. */
struct conf_rate {
	uint64_t n;             /* of messages, connections, or bytes */
	int64_t period_ms;
};

struct conf_cidr {
	struct route_addr ip;   /* host bits are 0 */
	uint8_t bits;
};

/* A list of texts. */
struct conf_svs {
	const struct sv *v;
	uint32_t n;
};

struct conf_server {            /* name server */
	struct route_addr ip;
	uint16_t port;
};

struct conf_servers {
	const struct conf_server *v;
	uint32_t n;
};

struct conf_srchost {           /* smtp-source-host */
	struct route_addr ip;   /* family 0: the system chooses */
	struct sv helo;         /* "" if none was given */
};

struct conf_srchosts {
	const struct conf_srchost *v;
	uint32_t n;
};

struct conf_member {            /* of a pool */
	struct sv name;
	uint32_t weight;        /* 1..CONF_WEIGHT_MAX */
};

struct conf_members {
	const struct conf_member *v;
	uint32_t n;
};

/* A limit for the addresses of a network. */
struct conf_cidr_num {
	struct conf_cidr cidr;
	uint32_t n;             /* 0: no limit */
};

struct conf_cidr_nums {
	const struct conf_cidr_num *v;
	uint32_t n;
};

struct conf_cidr_rate {
	struct conf_cidr cidr;
	struct conf_rate rate;
};

struct conf_cidr_rates {
	const struct conf_cidr_rate *v;
	uint32_t n;
};

/* A limit for the MX hosts that match. */
struct conf_mx_num {
	struct sv pattern;
	uint32_t n;             /* 0: no limit */
};

struct conf_mx_nums {
	const struct conf_mx_num *v;
	uint32_t n;
};

/* A line of <mx-rollup-list>: hosts whose domains share one set of limits. */
struct conf_rollup {
	struct sv pattern;
	struct sv name;         /* "gmail.rollup" */
	bool by_ip;             /* PowerMTA's rollup-by-ip: nothing to us */
};

struct conf_rollups {
	const struct conf_rollup *v;
	uint32_t n;
};

/* How many on the 1st, 2nd, ... day. */
struct conf_days {
	uint8_t n;              /* the last one repeats */
	uint32_t day[CONF_DAYS_MAX];
};

/* What becomes of mail that a warmup has no room for. */
enum conf_overflow_kind { CONF_OVERFLOW_WAIT, CONF_OVERFLOW_HOLD,
	CONF_OVERFLOW_VMTA };
struct conf_overflow {
	uint8_t kind;           /* enum conf_overflow_kind */
	struct sv name;         /* of a VMTA or pool, "" otherwise */
};

/* Bits of type RECORDS. */
enum conf_record {
	CONF_REC_D = 1,    /* delivery */
	CONF_REC_B = 2,    /* bounce */
	CONF_REC_T = 4,    /* transient */
	CONF_REC_TQ = 8,   /* transient-queue */
	CONF_REC_R = 16,   /* receipt */
	CONF_REC_RB = 32,  /* remote-bounce */
	CONF_REC_RS = 64,  /* remote-status */
	CONF_REC_F = 128,  /* feedback-loop */
};

/* X(TYPE, C type, may be repeated): repeated ones (1) collect into a list, which
 * is always a pointer and a uint32_t. Of those whose order among other rows
 * counts (2) the field is the number; see rules.h. */
#define CONF_TYPES(X) \
	X(BOOL, bool, 0) \
	X(NUM, uint32_t, 0)          /* lo..hi; arg CONF_LIMIT: see schema.def */ \
	X(AUTONUM, uint32_t, 0)      /* the same, or auto: 0 */ \
	X(TIME, int64_t, 0)          /* ms in lo..hi; never if hi allows */ \
	X(BOOLTIME, int64_t, 0)      /* yes: 0; no, never: CONF_NEVER */ \
	X(TIMES, struct conf_times, 0) /* each lo..hi ms */ \
	X(SIZE, uint64_t, 0)         /* bytes in lo..hi; unlimited: 0 */ \
	X(MEGS, uint64_t, 0)         /* the same; bare number: megabytes */ \
	X(RATE, struct conf_rate, 0) /* arg CONF_LIMIT: as for NUM */ \
	X(DRATE, struct conf_rate, 0) /* the same */ \
	X(ENUM, uint8_t, 0)          /* index into arg "a|b|c"; hi: last one
	                              * implemented, 0: all */ \
	X(RECORDS, uint32_t, 0)      /* enum conf_record bits */ \
	X(STR, struct sv, 0)         /* printable, at most hi bytes */ \
	X(NAME, struct sv, 0)        /* name of a block: no blank or slash;
	                              * arg: tags of the blocks of which one
	                              * must have it, or words: "=w|tag" */ \
	X(PATH, struct sv, 0)        /* absolute */ \
	X(RULES, struct sv, 0)       /* yes, no, or as PATH */ \
	X(PICKUP, struct sv, 0)      /* "DIR BADDIR", both as PATH */ \
	X(HOST, struct sv, 0) \
	X(DOMAIN, struct sv, 0) \
	X(DAYS, struct conf_days, 0) \
	X(HEADER, struct sv, 0)      /* name of a header */ \
	X(HEADERS, struct sv, 0)     /* "NAME,NAME": sv_cut() at commas */ \
	X(MAILLIST, struct sv, 0)    /* "a@b,c@d": the same */ \
	X(MAILS, struct conf_svs, 1) \
	X(HOSTS, struct conf_svs, 1) \
	X(PATTERNS, struct conf_svs, 1) \
	X(RELAYADDRS, struct conf_svs, 1) \
	X(LISTENERS, struct conf_svs, 1) /* use conf_listener() instead */ \
	X(MACROS, struct conf_svs, 1)    /* "NAME LIST" */ \
	X(ALIASES, struct conf_svs, 1)   /* use conf_alias_expand() instead */ \
	X(FIELDS, struct conf_svs, 1)    /* "TYPES FIELDS" */ \
	X(INCLUDE, struct conf_svs, 1)   /* always empty: see reader.c */ \
	X(SERVERS, struct conf_servers, 1) \
	X(SOURCES, struct conf_srchosts, 1) \
	X(MEMBERS, struct conf_members, 1) \
	X(NAMES, struct conf_svs, 1) /* as NAME */ \
	X(CIDRNUMS, struct conf_cidr_nums, 1)  /* lo 1: bare number: all */ \
	X(CIDRRATES, struct conf_cidr_rates, 1) \
	X(CIDRDRATES, struct conf_cidr_rates, 1) \
	X(MXNUMS, struct conf_mx_nums, 1) \
	X(ROLLUPS, struct conf_rollups, 1) \
	X(REPLY, uint32_t, 2) \
	X(SAMPLE, uint32_t, 2) \
	X(PATTERN, uint32_t, 2)      /* lo: enum conf_pattern_what */ \
	X(DATE, uint32_t, 0)         /* days since 1970-01-01; 0: none */ \
	X(ZONE, int32_t, 0)          /* minutes east of UTC */ \
	X(OVERFLOW, struct conf_overflow, 0)

enum conf_type {
#define X(T, ctype, repeat) CONF_T_##T,
	CONF_TYPES(X)
#undef X
	CONF_TYPE_COUNT
};

/* The one place with typedefs: rows of the schema name types by token. */
#define X(T, ctype, repeat) typedef ctype conf_t_##T;
CONF_TYPES(X)
#undef X

const char *conf_parse_bool(struct sv v, bool *r);
/* Digits only, lo..hi. */
const char *conf_parse_num(struct sv v, uint64_t lo, uint64_t hi,
    uint64_t *r);
/* "4d12h", "300s", "never"; a bare number is refused. */
const char *conf_parse_time(struct sv v, int64_t lo, int64_t hi, int64_t *r);
/* "10m,1h-2h,4h". */
const char *conf_parse_times(struct sv v, int64_t lo, int64_t hi,
    struct conf_times *r);
/* "250M", "0", "unlimited" (0); lo..hi applies to what is not 0. unit is what
 * a bare number counts. */
const char *conf_parse_size(struct sv v, uint64_t lo, uint64_t hi,
    uint64_t unit, uint64_t *r);
/* "500/h", "83/10m", "unlimited", "0". */
const char *conf_parse_rate(struct sv v, struct conf_rate *r);
/* "12M/m", "1T/7d", "unlimited", "0". */
const char *conf_parse_data_rate(struct sv v, struct conf_rate *r);
const char *conf_parse_enum(struct sv v, const char *choices, uint8_t *r);
const char *conf_parse_records(struct sv v, uint32_t *r);
/* Letters, digits, inner hyphens, dots; at most 253; no empty label. */
const char *conf_check_host(struct sv v);
/* A host, or UTF-8 labels. */
const char *conf_check_domain(struct sv v);
/* "*", "d", "*.d", "[*.]d", "[ip/bits]". */
const char *conf_check_pattern(struct sv v);
/* A name of a VMTA, source, ...: printable, no blank, quote, slash, comma,
 * "<" or ">"; at most 128. */
const char *conf_check_name(struct sv v);
const char *conf_check_mail(struct sv v);
/* "/re/", compiled to see. */
const char *conf_check_regex(struct sv v);
const char *conf_parse_ip(struct sv v, struct route_addr *r);
/* "10/8", "0/0", "192.0.2.0/24", "2001:db8::/32", a plain address. */
const char *conf_parse_cidr(struct sv v, struct conf_cidr *r);
bool conf_cidr_has(const struct conf_cidr *c, const struct route_addr *ip);
/* "192.0.2.1", "192.0.2.1:53", "[2001:db8::1]:53", "2001:db8::1". */
const char *conf_parse_server(struct sv v, uint16_t default_port,
    struct conf_server *r);

/* ---- lists.c ---- */

/* "NAME", "NAME weight=3". */
const char *conf_parse_member(struct sv v, struct conf_member *r);
/* "10/8 20"; if bare, "20" is for all networks. */
const char *conf_parse_cidr_num(struct sv v, bool bare,
    struct conf_cidr_num *r);
/* "10/8 500/h", or, if bytes, "10/8 12M/m". */
const char *conf_parse_cidr_rate(struct sv v, bool bytes,
    struct conf_cidr_rate *r);
/* "*.example.com 20" */
const char *conf_parse_mx_num(struct sv v, struct conf_mx_num *r);
/* "*.example.com NAME.rollup" */
const char *conf_parse_rollup(struct sv v, struct conf_rollup *r);
/* "100/d,200/d", "100,200". */
const char *conf_parse_days(struct sv v, struct conf_days *r);
/* "2026-01-31" */
const char *conf_parse_date(struct sv v, uint32_t *r);
/* "+02:00", "-0530", "+2", "0"; minutes. */
const char *conf_parse_zone(struct sv v, int32_t *r);
/* "wait", "hold", "virtual-mta NAME". */
const char *conf_parse_overflow(struct sv v, struct conf_overflow *r);
/* A pattern of host names: as conf_check_pattern(), but no address. */
const char *conf_check_mx_pattern(struct sv v);
const char *conf_check_header(struct sv v);
const char *conf_check_headers(struct sv v);
const char *conf_check_mails(struct sv v);

/* ---- alias.c ---- */

/* "a@b c@d,e@f", "*@b a@c", "*@b *@c". */
const char *conf_check_alias(struct sv v);
/* Does the pattern hold the domain? */
bool conf_pattern_has(struct sv pattern, struct sv domain);

/* The limit that holds: of the most specific network or pattern, of equal ones
 * the last. NULL if there is none. */
const struct conf_cidr_num *conf_cidr_num_find(const struct conf_cidr_nums *l,
    const struct route_addr *ip);
const struct conf_cidr_rate *conf_cidr_rate_find(
    const struct conf_cidr_rates *l, const struct route_addr *ip);
const struct conf_mx_num *conf_mx_num_find(const struct conf_mx_nums *l,
    struct sv host);

/*
 * The name that all of these hosts are rolled up under, "" if there is none:
 * the best MX hosts of a domain. A name that has more lines without a star than
 * there are hosts is for other domains.
 */
struct sv conf_rollup_find(const struct conf_rollups *l, const struct sv *hosts,
    size_t n);

/* Text that the parsers read back to the same value; for messages. */
struct str;
void conf_format_time(int64_t ms, struct str *out);

#endif
