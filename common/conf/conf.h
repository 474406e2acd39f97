/* SPDX-License-Identifier: ISC */
/*
 * conf: the configuration: read from a file in PowerMTA's grammar, checked,
 * and held as typed structs with every default filled in. One struct conf is
 * one generation; it never changes, all that its functions hand out (views,
 * pointers) lives until conf_free().
 *
 * The master reads it and hands it to its children as bytes (conf_encode,
 * conf_decode); decoding checks everything again.
 *
 * All directives stand in schema.def, from which the structs below are made:
 * the field of `max-smtp-out` is max_smtp_out, of type uint32_t; times end
 * in _ms (CONF_NEVER: never), sizes in _bytes. For a limit, 0 is "no limit".
 */
#ifndef COMMON_CONF_CONF_H
#define COMMON_CONF_CONF_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/sv.h"
#include "common/conf/rules.h"
#include "common/conf/schema.def"

#define CONF_FILE_MAX     (16u << 20) /* bytes of one file */
#define CONF_LINE_MAX     65536u
#define CONF_INCLUDE_DEEP 16u
#define CONF_FILES_MAX    1000u
#define CONF_PROBLEMS_MAX 1000u       /* of each kind that are kept */
#define CONF_ENCODED_MAX  (256u << 20)

/* Blocks of one kind: far more than anybody has. */
#define CONF_VMTAS_MAX     10000u
#define CONF_POOLS_MAX     10000u
#define CONF_LISTENERS_MAX 1000u
#define CONF_ACCTS_MAX     100u
#define CONF_REPLY_LISTS_MAX 1000u
#define CONF_WARMUPS_MAX   1000u
#define CONF_PATTERN_LISTS_MAX 1000u /* nested ones, too */

#define CONF_FIELD(T, field, name, arg, lo, hi, def, help) \
	conf_t_##T field;
#define CONF_NO_FIELD(...)

struct conf_global {
	CONF_GLOBAL_ROWS(CONF_FIELD, CONF_FIELD, CONF_NO_FIELD, CONF_NO_FIELD)
};

struct conf_spool {
	CONF_SPOOL_ROWS(CONF_FIELD, CONF_FIELD, CONF_NO_FIELD, CONF_NO_FIELD)
};

/* Policy for a client. */
struct conf_source {
	CONF_SOURCE_ROWS(CONF_FIELD, CONF_FIELD, CONF_NO_FIELD, CONF_NO_FIELD)
};

/* Effective settings of the queue domain/vmta. */
struct conf_domain {
	CONF_DOMAIN_ROWS(CONF_FIELD, CONF_FIELD, CONF_NO_FIELD, CONF_NO_FIELD)
};

struct conf_listener {
	struct sv address;     /* as bound: "127.0.0.1:25", "[::1]:25" */
	struct route_addr ip;
	uint16_t port;
	CONF_LISTENER_ROWS(CONF_FIELD, CONF_FIELD, CONF_NO_FIELD,
	    CONF_NO_FIELD)
};

struct conf_vmta {
	struct sv name;        /* "{default}" or as configured */
	/* A VMTA without smtp_source_host has the global ones; there may be
	 * none: the system chooses. host_name is never empty: it is the EHLO
	 * name where smtp_source_host gives none. */
	CONF_VMTA_ROWS(CONF_FIELD, CONF_FIELD, CONF_NO_FIELD, CONF_NO_FIELD)
};

#define CONF_VMTA_POOLS_MAX 13 /* pools that one VMTA is in */

struct conf_pool {
	struct sv name;
	/* virtual_mta: the members, at least one; all of them exist. */
	CONF_POOL_ROWS(CONF_FIELD, CONF_FIELD, CONF_NO_FIELD, CONF_NO_FIELD)
};

struct conf_reply_list {
	struct sv name;
	CONF_REPLIES_ROWS(CONF_FIELD, CONF_FIELD, CONF_NO_FIELD,
	    CONF_NO_FIELD)
	const struct conf_reply *v; /* in order; each sample fits its line */
	uint32_t n;
};

struct conf_pattern_list {
	struct sv name;             /* "": it is nested and has none */
	CONF_PATTERNS_ROWS(CONF_FIELD, CONF_FIELD, CONF_NO_FIELD,
	    CONF_NO_FIELD)
	const struct conf_pattern *v; /* in order; each sample fits its line */
	uint32_t n;
	/* of all lines, and of those of the lists that they call */
	uint32_t lines;             /* at most CONF_PATTERN_LINES_MAX */
	uint32_t deep;              /* lists: at most CONF_PATTERN_DEEP_MAX */
	uint32_t looks;             /* at 1 << enum conf_pattern_what */
	bool rejects;               /* one of them does */
};

struct conf_warmup {
	struct sv name;
	/* virtual_mta: at least one; all of them exist. */
	CONF_WARMUP_ROWS(CONF_FIELD, CONF_FIELD, CONF_NO_FIELD, CONF_NO_FIELD)
	struct conf_svs domains; /* without macros; at least "*" */
	const uint32_t *plan;    /* deliveries on each day, */
	uint32_t nplan;          /* 1..CONF_DAYS_MAX of them */
};

struct conf_rollup_list {
	struct sv name;        /* "" */
	CONF_ROLLUP_ROWS(CONF_FIELD, CONF_FIELD, CONF_NO_FIELD, CONF_NO_FIELD)
};

struct conf_aliases {
	CONF_ALIASES_ROWS(CONF_FIELD, CONF_FIELD, CONF_NO_FIELD,
	    CONF_NO_FIELD)
};

struct conf_acct {
	struct sv path;        /* "/x/acct.csv"; a pipe starts with "|" */
	CONF_ACCT_ROWS(CONF_FIELD, CONF_FIELD, CONF_NO_FIELD, CONF_NO_FIELD)
};

/* The values of the ENUM rows, in the order of their choices. */
enum conf_newline {
	CONF_NEWLINE_REJECT,
	CONF_NEWLINE_NORMALIZE
};
enum conf_add_date {
	CONF_ADD_DATE_NO,
	CONF_ADD_DATE_YES,
	CONF_ADD_DATE_OVERRIDE
};
enum conf_dsn_return {
	CONF_DSN_RETURN_HEADERS,
	CONF_DSN_RETURN_FULL,
	CONF_DSN_RETURN_SYSTEM
};
enum conf_curve {
	CONF_CURVE_LINEAR,
	CONF_CURVE_EXPONENTIAL
};
enum conf_on_deferral {
	CONF_DEFERRAL_HOLD,
	CONF_DEFERRAL_STEP_BACK
};
enum conf_domain_type {
	CONF_TYPE_SMTP,
	CONF_TYPE_DISCARD,
	CONF_TYPE_PIPE,
	CONF_TYPE_FILE,
	CONF_TYPE_HTTP
};

struct conf;

/* What was found wrong: sentences "file:line: ..." that a person can act on. */
struct conf_report {
	char *errors[CONF_PROBLEMS_MAX];
	char *warnings[CONF_PROBLEMS_MAX];
	uint32_t nerrors, nwarnings; /* found; maybe more than are kept */
};

void conf_report_init(struct conf_report *rep);
void conf_report_fini(struct conf_report *rep);
/* Errors kept, nerrors clipped to the array. */
uint32_t conf_report_errors(const struct conf_report *rep);
uint32_t conf_report_warnings(const struct conf_report *rep);

/* Reads path and what it includes, and the receiver rules: those in the file
 * rules unless path says otherwise; NULL: none. NULL if there is any error; rep
 * holds errors and warnings, all of them, not just the first. */
struct conf *conf_load(const char *path, const char *rules,
    struct conf_report *rep);
/* The same from memory, name being the file's name in sentences; it can
 * include nothing, asks the system nothing and has no receiver rules. */
struct conf *conf_parse(const char *name, struct sv text,
    struct conf_report *rep);
/* With the text of receiver rules, whose file is called rules_name. */
struct conf *conf_parse_with(const char *name, struct sv text,
    const char *rules_name, struct sv rules, struct conf_report *rep);
/* Where the receiver rules that come with Pinnace are: beside the folder of
 * this program if it runs from where it was built, else where they are
 * installed. */
const char *conf_rules_path(char *mem, size_t size);
void conf_free(struct conf **c);

/* 0, or -1 if it does not fit into b. */
int conf_encode(const struct conf *c, struct buf *b)
    __attribute__((warn_unused_result));
/* NULL on anything malformed. */
struct conf *conf_decode(struct sv bytes);

const struct conf_global *conf_global(const struct conf *c);
const struct conf_spool *conf_spool(const struct conf *c);
/* The directories of pickup; false: there are none. */
bool conf_pickup(const struct conf *c, struct sv *dir_r, struct sv *bad_r);
/* Our own name; never empty. */
struct sv conf_hostname(const struct conf *c);

size_t conf_nlisteners(const struct conf *c);
const struct conf_listener *conf_listener(const struct conf *c, size_t i);
size_t conf_naccts(const struct conf *c);
const struct conf_acct *conf_acct(const struct conf *c, size_t i);

/* [0] is {default}. */
size_t conf_nvmtas(const struct conf *c);
const struct conf_vmta *conf_vmta(const struct conf *c, size_t i);
/* NULL if there is none. "" is {default}. Names ignore case. */
const struct conf_vmta *conf_vmta_find(const struct conf *c, struct sv name);

size_t conf_npools(const struct conf *c);
const struct conf_pool *conf_pool(const struct conf *c, size_t i);
/* NULL if there is none. A pool is never called as a VMTA is. */
const struct conf_pool *conf_pool_find(const struct conf *c, struct sv name);

size_t conf_nreply_lists(const struct conf *c);
const struct conf_reply_list *conf_reply_list(const struct conf *c, size_t i);
/* NULL if there is none. */
const struct conf_reply_list *conf_reply_list_find(const struct conf *c,
    struct sv name);
/* The first line that matches a reply, NULL if none does. */
const struct conf_reply *conf_reply_find(const struct conf *c,
    const struct conf_reply_list *l, struct sv text);
enum conf_match conf_regex_match(const struct conf *c,
    const struct conf_regex *re, struct sv text);

/* NULL if there is none. What it calls is there, without loops. */
const struct conf_pattern_list *conf_pattern_list_find(const struct conf *c,
    struct sv name);

/* The name that a domain with these best MX hosts is rolled up under; "":
 * none. See conf_rollup_find(). The receiver rules are asked last. */
struct sv conf_rollup_of(const struct conf *c, const struct sv *hosts,
    size_t n);

/* In the order of the file. */
size_t conf_nwarmups(const struct conf *c);
const struct conf_warmup *conf_warmup(const struct conf *c, size_t i);
/* NULL if there is none. */
const struct conf_warmup *conf_warmup_find(const struct conf *c,
    struct sv name);
/* Is this plan for the domain? */
bool conf_warmup_has(const struct conf_warmup *w, struct sv domain);

/*
 * Policy for a client: the <source> blocks whose networks hold its address,
 * the most specific last, then <source NAME> of the listener (name may be
 * ""). Equal answers are one struct: no cost per client.
 */
const struct conf_source *conf_source_get(const struct conf *c,
    const struct route_addr *ip, struct sv name);

/*
 * Effective settings of a queue: defaults, then the global <domain> blocks
 * that match from the most general to the most specific, then those of the
 * pool that the VMTA is in, then those of the VMTA. Lists are made of what all
 * of them say, in that order. Equal answers are one struct, so the pointer may
 * be kept per queue. Time is in the number of labels, not of blocks.
 */
const struct conf_domain *conf_domain_find(const struct conf *c,
    struct sv vmta, struct sv domain);
/*
 * The same of a domain that is rolled up under a name ("": it is not). A name in
 * the configuration's own list is asked in place of the domain. One of the
 * receiver rules is a group of domains: what its <domain> says stands behind
 * <domain *> and before what speaks of the domain itself. What the receiver
 * rules say of a name holds where nothing else is said, and as a limit that is
 * lower than one of a <domain *>.
 */
const struct conf_domain *conf_rolled_find(const struct conf *c,
    struct sv vmta, struct sv domain, struct sv rollup);
/* The same as conf_domain_find(), copied. */
void conf_domain_get(const struct conf *c, struct sv vmta, struct sv domain,
    struct conf_domain *out);

/* May anybody send to this domain? (relay-domain, host-name) */
bool conf_relay_allows(const struct conf *c, struct sv domain);
/* May anybody send to this address? (the same, or relay-address) */
bool conf_relay_allows_rcpt(const struct conf *c, struct sv local,
    struct sv domain);

#define CONF_ALIAS_MAX 1000u     /* addresses that one may stand for */
#define CONF_ALIAS_DEEP_MAX 16u  /* aliases of aliases */

enum conf_expand {
	CONF_EXPAND_NONE,        /* it is no alias */
	CONF_EXPAND_OK,
	CONF_EXPAND_LOOP,        /* or too deep */
	CONF_EXPAND_TOO_MANY,
	CONF_EXPAND_BAD,         /* an address becomes too long */
	CONF_EXPAND_NO_MEMORY
};

/* Is there an alias for this address? Its local part ignores case. */
bool conf_alias_has(const struct conf *c, struct sv local, struct sv domain);
/* The addresses that it stands for, each once, in a; none of them is an alias,
 * but for what keeps a copy. v holds CONF_ALIAS_MAX. */
enum conf_expand conf_alias_expand(const struct conf *c, struct sv local,
    struct sv domain, struct arena *a, struct sv *v, uint32_t *n_r);

/* Structs with the defaults of the schema, for tests and for roles that have
 * no configuration yet. */
void conf_global_defaults(struct conf_global *g);
void conf_source_defaults(struct conf_source *s);
void conf_domain_defaults(struct conf_domain *d);
void conf_vmta_defaults(struct conf_vmta *v);
void conf_acct_defaults(struct conf_acct *a);

/*
 * One value: scope is "" or as in "domain gmail.com", "virtual-mta v1 domain
 * gmail.com" or "receiver-rules domain gmail.rollup"; file is "" for a default.
 */
typedef void conf_show_fn(void *arg, struct sv scope, struct sv name,
    struct sv value, struct sv file, uint32_t line);
/* Everything that is set, in the order of the file, then the receiver rules;
 * with defaults, global directives that are not set come too. */
void conf_show(const struct conf *c, bool defaults, conf_show_fn *fn,
    void *arg);
/* Every effective setting of one queue and where it comes from, of a list each
 * line that counts; see conf_rolled_find(). */
void conf_domain_show(const struct conf *c, struct sv vmta, struct sv domain,
    struct sv rollup, conf_show_fn *fn, void *arg);
/* What b has and a has not (added true), and the other way round; places do
 * not count, nor does order but for lines of which the first decides: one that
 * stands behind another than before is taken away and added. True if there is
 * any difference; fn may be NULL to ask that. */
typedef void conf_diff_fn(void *arg, bool added, struct sv scope,
    struct sv name, struct sv value, struct sv file, uint32_t line);
bool conf_diff(const struct conf *a, const struct conf *b, conf_diff_fn *fn,
    void *arg);

/* The manual page of the configuration, pinnace-config(5), in mdoc. */
int conf_manual(struct buf *out) __attribute__((warn_unused_result));

#endif
