/* SPDX-License-Identifier: ISC */
/*
 * store: the inside of conf, for the files of this folder only.
 *
 * A configuration is a list of blocks, each a chain of settings: a row of the
 * schema with a text that its parser accepts, and where it stood. Reading a
 * file and decoding bytes both end in store_block() and store_setting();
 * build() then makes the typed structs and the indexes. All memory is in one
 * arena.
 */
#ifndef COMMON_CONF_STORE_H
#define COMMON_CONF_STORE_H

#include "common/base/arena.h"
#include "common/base/htab.h"
#include "common/conf/conf.h"

#define STORE_NONE       UINT32_MAX
#define STORE_MEMORY_MAX (1u << 30)
#define STORE_BLOCKS_MAX 200000u
#define STORE_SETTINGS_MAX 2000000u
#define STORE_RULES      UINT32_MAX  /* owner of nodes of receiver rules */
#define STORE_RULES_LIST SV("{rules}") /* name of their <mx-rollup-list> */

enum conf_scope {
#define S(NAME, strct, tag, as, most, yet, rows) SCOPE_##NAME,
	CONF_SCOPES(S)
#undef S
	SCOPES
};

enum row_kind {
	ROW_USED,      /* R */
	ROW_NOT_YET,   /* N */
	ROW_KNOWN,     /* K: no field */
	ROW_ALIAS      /* A: arg is the directive, def the suffix */
};

struct conf_row {
	const char *name;
	const char *arg;
	const char *def;
	const char *help;
	int64_t lo, hi;
	uint16_t offset;   /* of the field */
	uint8_t type;      /* enum conf_type */
	uint8_t kind;      /* enum row_kind */
};

enum scope_as {
	AS_OWN,
	AS_NAMED,
	AS_SINGLE
};

struct scope_info {
	const char *tag;
	const char *yet;   /* NULL, or what to warn of */
	const struct conf_row *rows;
	size_t size;       /* of the struct */
	uint32_t most;     /* blocks; 0: no limit of its own */
	uint16_t nrows;
	uint8_t as;        /* enum scope_as */
};

extern const struct scope_info scope_infos[SCOPES];

struct known_block {
	const char *tag, *help;
};

extern const struct known_block known_blocks[];
extern const size_t nknown_blocks;

struct place {
	uint32_t file;     /* index, or STORE_NONE: a default */
	uint32_t line;
};

struct setting {
	const struct conf_row *row; /* ROW_USED or ROW_NOT_YET */
	struct sv value;            /* "" with clear: back to the default */
	struct place at;
	bool clear;
	struct setting *next;       /* of the same block */
};

struct block {
	enum conf_scope scope;
	struct sv arg;              /* what stands behind the tag's name */
	uint32_t parent;            /* 0 is the global block, its own parent */
	uint32_t index;             /* among those of its scope; VMTAs: from 1 */
	struct place at;
	struct setting *first;
	struct setting **last;
};

/* All blocks that say something about one domain pattern in one VMTA or
 * pool. Its owner is 0 for all, a VMTA's index, a pool's behind those, or
 * STORE_RULES. */
struct node_block {
	const struct block *block;
	bool expanded;              /* by a macro: weaker than a plain one */
	struct node_block *next;    /* in the order of application */
};

struct node {
	uint32_t owner;
	char kind;                  /* '=' exact, '*' subdomains, '+' both */
	struct sv domain;           /* lower case; "" with '*': everything */
	struct conf_cidr cidr;      /* literals and sources */
	struct node_block *blocks;
};

struct nodes {
	struct node **v;
	size_t n, size;
};

/* The structs of a scope, in the order of its blocks. */
struct made {
	void *v;
	size_t n;
};

/* A struct made by merging nodes, kept for the next that asks. */
struct merged {
	uint64_t hash;
	size_t n;
	const struct node **nodes;
	void *value;                /* struct conf_domain or conf_source */
};

struct conf {
	struct arena arena;
	struct sv *files;
	uint32_t nfiles, files_size;
	uint32_t rules_file;        /* of receiver rules, or STORE_NONE */
	struct block **blocks;
	uint32_t nblocks, blocks_size;
	uint32_t nsettings;

	struct conf_global global;
	struct conf_spool spool;
	struct sv hostname;
	struct conf_listener *listeners;
	size_t nlisteners;
	struct conf_acct *accts;
	size_t naccts;
	struct conf_vmta *vmtas;
	size_t nvmtas;
	uint32_t *pool_of;          /* by VMTA: owner of nodes, 0: none */
	struct made made[SCOPES];   /* of NAMED and SINGLE scopes */
	struct htab names;          /* struct named */

	struct htab aliases;        /* struct alias */
	struct htab domains;        /* struct node by owner, kind, domain */
	struct nodes literals;      /* of all owners; sorted by bits */
	struct nodes sources;       /* networks; sorted by bits */
	struct htab source_names;   /* struct node by domain = name */
	struct regexes *regexes;
	struct conf_cache *cache;
};

/* Not for other threads: grows in conf_domain_find(), conf_source_get(). */
struct conf_cache {
	struct arena arena;
	struct htab domains, sources; /* struct merged */
};

/* ---- schema.c ---- */

/* NULL if there is none. Aliases are rows too. */
const struct conf_row *row_find(enum conf_scope scope, struct sv name);
/* SCOPES if there is none. */
enum conf_scope scope_find(struct sv tag);
const struct known_block *known_block_find(struct sv tag);
/* Another scope with that directive, or SCOPES. */
enum conf_scope row_scope_elsewhere(enum conf_scope scope, struct sv name);
/* The nearest directive or alias of the scope, NULL if none is near. */
const char *row_suggest(enum conf_scope scope, struct sv name);
/* The same among the tags of all blocks. */
const char *tag_suggest(struct sv tag);
bool type_repeats(enum conf_type type);
bool type_is_ordered(enum conf_type type);
size_t type_size(enum conf_type type);  /* of the field */
size_t elem_size(enum conf_type type);  /* of one element of a list */
/* Writes a field, or for a repeated type one element. NULL if all is well. */
const char *row_parse(const struct conf_row *row, struct sv text, void *out);
/* A number that changes with the schema. */
uint32_t schema_sum(void);

/* Room for any value or element. */
union conf_any {
#define X(T, ctype, repeat) ctype as_##T;
	CONF_TYPES(X)
#undef X
	struct conf_server server;
	struct conf_srchost srchost;
	struct conf_member member;
	struct conf_cidr_num cidr_num;
	struct conf_cidr_rate cidr_rate;
	struct conf_mx_num mx_num;
	struct conf_rollup rollup;
	struct conf_reply reply;
	struct conf_pattern pattern;
	struct sv text;
};

/* ---- store.c ---- */

struct conf *store_new(void);
/* NULL without room. */
void *store_alloc(struct conf *c, size_t n);
bool store_sv(struct conf *c, struct sv in, struct sv *out);
/* False without room. */
bool store_file(struct conf *c, struct sv name, uint32_t *id_r);
bool store_block(struct conf *c, enum conf_scope scope, struct sv arg,
    uint32_t parent, struct place at, uint32_t *id_r);
bool store_setting(struct conf *c, uint32_t block, const struct conf_row *row,
    struct sv value, bool clear, struct place at);
/* Does it stand in the receiver rules? */
bool store_is_rule(const struct conf *c, const struct block *b);
/* Writes the defaults of a scope into its struct. */
void scope_defaults(enum conf_scope scope, void *out);
/* Applies one that is no list. */
void setting_apply(const struct setting *s, void *out);
/* Applies the settings of a block that are no lists. */
void block_apply(const struct block *b, void *out);
/* One repeated row over blocks in order. Without v it only counts: most is the
 * room that v needs. */
struct gather {
	const struct conf_row *row;
	char *v;
	uint32_t n, most;
};
void gather_block(struct gather *g, const struct block *b);
/* Writes a list of that row into its struct. */
void list_set(const struct conf_row *row, void *out, void *v, uint32_t n);
/* Makes the lists of a block. False without room. */
bool block_lists(struct conf *c, const struct block *b, void *out);
/* "" for a default. */
struct sv place_file(const struct conf *c, struct place at);

/* ---- report.c ---- */

void report_error(struct conf_report *rep, struct sv file, uint32_t line,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void report_warning(struct conf_report *rep, struct sv file, uint32_t line,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* ---- macro.c ---- */

/* Each text that text stands for, as it was if it names no macro. False with
 * a report if a macro is unknown, loops, or makes too much. */
typedef bool macro_fn(void *arg, struct sv text, bool expanded);
bool macro_expand(const struct conf *c, struct conf_report *rep,
    struct place at, struct sv text, macro_fn *fn, void *arg);
/* Checks all macros once, before the first expansion. */
bool macro_check(const struct conf *c, struct conf_report *rep);

/* ---- alias.c ---- */

uint64_t alias_hash(const void *alias);
/* Makes the table and looks for loops. False without memory; mistakes are
 * reported. */
bool aliases_make(struct conf *c, struct conf_report *rep);

/* ---- block.c ---- */

/* Why this cannot stand behind the tag of a block in one of the scope in, or
 * NULL. */
const char *block_arg_check(enum conf_scope scope, enum conf_scope in,
    struct sv arg);
/* The same in a file of receiver rules. */
const char *block_rule_check(enum conf_scope scope, enum conf_scope in,
    struct sv arg);
/* May a block of this scope stand inside one of that? */
bool block_may_nest(enum conf_scope scope, enum conf_scope parent);
/* Cuts the first word off, moves *v to the next. */
struct sv text_word(struct sv *v);
/* Without the quotes around it, if there are any. */
struct sv text_unquote(struct sv v);

/* ---- reader.c ---- */

/* Reads text into c; with files, includes are followed. */
bool reader_run(struct conf *c, struct conf_report *rep, const char *path,
    const struct sv *text);
/* Reads receiver rules, which include nothing. */
bool reader_rules(struct conf *c, struct conf_report *rep, const char *path,
    const struct sv *text);

/* ---- names.c ---- */

/* Counts the blocks of each scope, gives them their index and notes their
 * names. False with a report if there are too many or one name is there
 * twice. */
bool names_make(struct conf *c, struct conf_report *rep);
/* The index of a block with that name, STORE_NONE if there is none. */
uint32_t name_find(const struct conf *c, enum conf_scope scope,
    struct sv name);
size_t blocks_count(const struct conf *c, enum conf_scope scope);
uint64_t named_hash(const void *named);

/* ---- refs.c ---- */

/* Reports each value that names a block which is not there. */
void refs_check(const struct conf *c, struct conf_report *rep);

/* ---- pool.c ---- */

/* Makes the structs of all NAMED and SINGLE scopes. False without room;
 * mistakes are reported. */
bool blocks_make(struct conf *c, struct conf_report *rep);
/* Checks the pools and notes which VMTA has the settings of which. False
 * without room; mistakes are reported. */
bool pools_make(struct conf *c, struct conf_report *rep);

/* ---- warmup.c ---- */

/* Makes the plans and domains of all <warmup>, after the macros were checked.
 * False without room; mistakes are reported. */
bool warmups_make(struct conf *c, struct conf_report *rep);

/* ---- build.c ---- */

/* Makes structs and indexes. False with a report if something is wrong. */
bool build(struct conf *c, struct conf_report *rep);

/* ---- node.c ---- */

/* The node of a <domain> pattern, NULL if there is none; domain in lower
 * case. */
struct node *domain_node(const struct conf *c, uint32_t owner, char kind,
    struct sv domain);
/* The node of <source NAME>. */
struct node *source_node(const struct conf *c, struct sv name);
uint64_t node_hash(const void *node);
/* Adds a block to the node of its pattern, network or name. False without
 * room. */
bool domain_node_add(struct conf *c, uint32_t owner, struct sv pattern,
    const struct block *b, bool expanded);
bool source_node_add(struct conf *c, const struct block *b);
/* Sorts the networks, the widest first. */
void nodes_sort(struct conf *c);

/* ---- system.c ---- */

/* What the machine knows and the file does not say: host name, resolvers,
 * addresses in source ranges. */
bool system_defaults(struct conf *c, struct conf_report *rep);

/* ---- regex.c ---- */

struct regexes *regexes_new(void);
void regexes_free(struct regexes **r);
/* Compiles "/re/", which was checked. NULL without memory. */
const struct conf_regex *regex_add(struct conf *c, struct sv text);
/* Compiles the expressions of relay-address. False without memory. */
bool relay_regexes_make(struct conf *c);
/* Does any of them match? One that takes too many steps does not. */
bool relay_regexes_match(const struct conf *c, struct sv text);

/* ---- reply.c ---- */

/* Cuts "/re/" off the front. A slash ends it if a blank or nothing follows. */
const char *rule_cut_regex(struct sv *v, struct sv *re);
/* Makes the lines of all <smtp-pattern-list> and tries their samples. False
 * without memory; mistakes are reported. */
bool replies_make(struct conf *c, struct conf_report *rep);

/* ---- pattern.c ---- */

/* Makes the lines of all <pattern-list>, tries their samples and looks for
 * loops. False without memory; mistakes are reported. */
bool patterns_make(struct conf *c, struct conf_report *rep);

/* ---- query.c ---- */

struct conf_cache *cache_new(void);
void cache_free(struct conf_cache **cache);
/* Nodes that apply to the queue, in order of application; those of receiver
 * rules are the first. */
size_t domain_nodes(const struct conf *c, uint32_t vmta, struct sv domain,
    struct sv rollup, const struct node **out, size_t max);
/* The setting of a row that holds, and its block. NULL: the default. */
const struct setting *nodes_effective(const struct node *const *nodes,
    size_t n, const struct conf_row *row, const struct block **b_r);

#endif
