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

enum conf_scope {
#define S(NAME, strct, tag, rows) SCOPE_##NAME,
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

struct scope_info {
	const char *tag;
	const struct conf_row *rows;
	uint16_t nrows;
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
	struct place at;
	struct setting *first;
	struct setting **last;
};

/* All blocks that say something about one domain pattern in one VMTA. */
struct node_block {
	const struct block *block;
	bool expanded;              /* by a macro: weaker than a plain one */
	struct node_block *next;    /* in the order of application */
};

struct node {
	uint32_t vmta;              /* 0: all */
	char kind;                  /* '=' exact, '*' subdomains, '+' both */
	struct sv domain;           /* lower case; "" with '*': everything */
	struct conf_cidr cidr;      /* literals and sources */
	struct node_block *blocks;
};

struct nodes {
	struct node **v;
	size_t n, size;
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

	struct htab domains;        /* struct node by vmta, kind, domain */
	struct nodes literals;      /* of all VMTAs; sorted by bits */
	struct nodes sources;       /* networks; sorted by bits */
	struct htab source_names;   /* struct node by domain = name */
	struct relay_regexes *regexes;
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
const struct known_block *known_block_find(struct sv tag);
/* Another scope with that directive, or SCOPES. */
enum conf_scope row_scope_elsewhere(enum conf_scope scope, struct sv name);
/* The nearest directive or alias of the scope, NULL if none is near. */
const char *row_suggest(enum conf_scope scope, struct sv name);
/* The same among the tags of all blocks. */
const char *tag_suggest(struct sv tag);
bool type_repeats(enum conf_type type);
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
/* Writes the defaults of a scope into its struct. */
void scope_defaults(enum conf_scope scope, void *out);
/* Applies the settings of a block that are no lists. */
void block_apply(const struct block *b, void *out);
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

/* ---- block.c ---- */

/* Why this cannot stand behind the tag of a block, or NULL. */
const char *block_arg_check(enum conf_scope scope, struct sv arg);
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

/* ---- build.c ---- */

/* Makes structs and indexes. False with a report if something is wrong. */
bool build(struct conf *c, struct conf_report *rep);

/* ---- node.c ---- */

/* The node of a <domain> pattern, NULL if there is none; domain in lower
 * case. */
struct node *domain_node(const struct conf *c, uint32_t vmta, char kind,
    struct sv domain);
/* The node of <source NAME>. */
struct node *source_node(const struct conf *c, struct sv name);
uint64_t node_hash(const void *node);
/* Adds a block to the node of its pattern, network or name. False without
 * room. */
bool domain_node_add(struct conf *c, uint32_t vmta, struct sv pattern,
    const struct block *b, bool expanded);
bool source_node_add(struct conf *c, const struct block *b);
/* Sorts the networks, the widest first. */
void nodes_sort(struct conf *c);

/* ---- system.c ---- */

/* What the machine knows and the file does not say: host name, resolvers,
 * addresses in source ranges. */
bool system_defaults(struct conf *c, struct conf_report *rep);

/* ---- regex.c ---- */

/* Compiles the expressions of relay-address. False without memory. */
bool regexes_make(struct conf *c);
void regexes_free(struct relay_regexes **r);
/* Does any of them match? One that takes too many steps does not. */
bool regexes_match(const struct relay_regexes *r, struct sv text);

/* ---- query.c ---- */

struct conf_cache *cache_new(void);
void cache_free(struct conf_cache **cache);
/* Nodes that apply to the queue, in order of application. */
size_t domain_nodes(const struct conf *c, uint32_t vmta, struct sv domain,
    const struct node **out, size_t max);

#endif
