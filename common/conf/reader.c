/* SPDX-License-Identifier: ISC */
/*
 * The reader of configuration files: lines, comments, quotes, blocks and
 * includes. It knows the grammar; what a directive means stands in schema.c.
 * After a mistake it goes on with the next line, so that one run shows all.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/conf/store.h"

#define BLOCKS_DEEP 8u
#define ROWS_MAX    256u   /* of one scope; the test counts */
#define TAG_MAX     64u

struct open_block {
	uint32_t id;               /* in the store */
	enum conf_scope scope;
	uint32_t line;
	unsigned depth;            /* of the file that opened it */
	uint32_t seen[ROWS_MAX];   /* line of the row before, 0: none */
};

struct open_file {
	dev_t dev;
	ino_t ino;
};

struct reader {
	struct conf *c;
	struct conf_report *rep;
	bool files;                /* includes may be read */
	bool rules;                /* it is a file of receiver rules */
	bool warned[SCOPES];       /* that such blocks have no effect yet */
	unsigned depth;            /* of includes */
	struct open_file stack[CONF_INCLUDE_DEEP + 1];
	uint32_t nfiles;
	struct open_block blocks[BLOCKS_DEEP];
	unsigned nblocks;          /* at least 1: the global one */

	/* of the file being read */
	uint32_t file;
	uint32_t line;
	struct sv path;
	char skip[TAG_MAX];        /* tag of the block being skipped, or "" */
	unsigned skip_deep;
	uint32_t skip_line;
};

static void read_file(struct reader *r, const char *path);

#define error_at(r, ...) report_error((r)->rep, (r)->path, (r)->line, \
    __VA_ARGS__)
#define warn_at(r, ...) report_warning((r)->rep, (r)->path, (r)->line, \
    __VA_ARGS__)

static struct open_block *
top(struct reader *r)
{
	return &r->blocks[r->nblocks - 1];
}

static struct place
here(const struct reader *r)
{
	return (struct place){ r->file, r->line };
}

static const char *
scope_place(enum conf_scope scope)
{
	return scope == SCOPE_GLOBAL ? "outside of all blocks" : "in a block";
}

/* ---- directives ---- */

static void
unknown_directive(struct reader *r, struct sv name)
{
	enum conf_scope scope = top(r)->scope;
	enum conf_scope other = row_scope_elsewhere(scope, name);
	const char *near;

	if (other == SCOPE_GLOBAL) {
		error_at(r, "\"%.*s\" cannot stand in a <%s> block: move it "
		    "outside of all blocks", SV_FMT(name),
		    scope_infos[scope].tag);
		return;
	}
	if (other != SCOPES) {
		error_at(r, "\"%.*s\" cannot stand %s: it belongs into a <%s> "
		    "block", SV_FMT(name), scope_place(scope),
		    scope_infos[other].tag);
		return;
	}
	near = row_suggest(scope, name);
	if (near != NULL)
		error_at(r, "there is no directive \"%.*s\": did you mean "
		    "\"%s\"?", SV_FMT(name), near);
	else
		error_at(r, "there is no directive \"%.*s\"", SV_FMT(name));
}

/* Notes the row and warns of a value that is overridden. */
static void
note_seen(struct reader *r, const struct conf_row *row)
{
	struct open_block *b = top(r);
	size_t i = (size_t)(row - scope_infos[b->scope].rows);

	if (type_repeats((enum conf_type)row->type))
		return;
	if (b->seen[i] != 0)
		warn_at(r, "\"%s\" was given in line %u already: this one "
		    "counts", row->name, b->seen[i]);
	b->seen[i] = r->line;
}

/* A value and the suffix of an alias: "500" and "/h". */
static bool
alias_value(struct reader *r, const struct conf_row *alias, struct sv *value)
{
	struct sv suffix = sv_from(alias->def);
	char *p;

	if (suffix.n == 0 || sv_ieq(*value, SV("unlimited")) ||
	    sv_eq(*value, SV("0")))
		return true;
	p = store_alloc(r->c, value->n + suffix.n + 1);
	if (p == NULL) {
		error_at(r, "the configuration is too large");
		return false;
	}
	memcpy(p, value->p, value->n);
	memcpy(p + value->n, suffix.p, suffix.n);
	*value = sv_make(p, value->n + suffix.n);
	return true;
}

static void
bad_value(struct reader *r, const struct conf_row *row, struct sv value,
    const char *why)
{
	/* Long values are cut: the line number finds them. */
	struct sv shown = sv_head(value, 80);

	if (row->type == CONF_T_ENUM) {
		error_at(r, "%s: \"%.*s\" %s (%s)", row->name, SV_FMT(shown),
		    why, row->arg);
		return;
	}
	error_at(r, "%s: \"%.*s\" %s", row->name, SV_FMT(shown), why);
}

/* A switch that is off, as it is by default: it asks for nothing. */
static bool
is_off(const struct conf_row *row, struct sv value)
{
	bool on;

	return row->type == CONF_T_BOOL && sv_eq(sv_from(row->def),
	    SV("no")) && conf_parse_bool(value, &on) == NULL && !on;
}

/* False: it was reported why not. */
static bool
add_setting(struct reader *r, const struct conf_row *row, struct sv value,
    bool clear)
{
	union conf_any scratch;
	const char *why;

	if (!clear && (why = row_parse(row, value, &scratch)) != NULL) {
		bad_value(r, row, value, why);
		return false;
	}
	/* Of a block that has no effect, that was said once for all. */
	if (row->kind == ROW_NOT_YET && !is_off(row, value) &&
	    scope_infos[top(r)->scope].yet == NULL)
		warn_at(r, "\"%s\" has no effect yet", row->name);
	if (!clear && row->type == CONF_T_ROLLUPS && scratch.rollup.by_ip)
		warn_at(r, "rollup-by-ip has no effect: hosts are told by "
		    "their names");
	note_seen(r, row);
	if (store_setting(r->c, top(r)->id, row, value, clear, here(r)))
		return true;
	error_at(r, "the configuration is too large");
	return false;
}

static bool
is_by_source_ip(const struct conf_row *row, struct sv value)
{
	return row->type == CONF_T_NAME && row->arg == NULL &&
	    sv_ieq(value, SV("by-smtp-source-ip"));
}

static void
on_row(struct reader *r, const struct conf_row *row, struct sv value,
    bool clear)
{
	if (row->kind == ROW_KNOWN || is_by_source_ip(row, value)) {
		warn_at(r, "\"%s%s\" is a directive of PowerMTA that is not "
		    "implemented: ignored", row->name,
		    row->kind == ROW_KNOWN ? "" : " by-smtp-source-ip");
		return;
	}
	if (row->kind == ROW_ALIAS) {
		if (!clear && !alias_value(r, row, &value))
			return;
		row = row_find(top(r)->scope, sv_from(row->arg));
	}
	if (value.n == 0 && !clear) {
		error_at(r, "\"%s\" needs a value (\"\" takes back what was "
		    "set)", row->name);
		return;
	}
	(void)add_setting(r, row, value, clear);
}

/* ---- includes ---- */

static bool
has_wildcard(const char *s)
{
	return strpbrk(s, "*?[") != NULL;
}

/* Relative names are taken from the directory of the including file. */
static char *
include_path(struct reader *r, struct sv value)
{
	ptrdiff_t slash = sv_rfind(r->path, '/');
	struct buf b;
	char *out = NULL;

	buf_init(&b, 8192);
	if ((value.p[0] == '/' || slash < 0 ||
	    buf_add(&b, r->path.p, (size_t)slash + 1) == 0) &&
	    buf_add_sv(&b, value) == 0)
		out = sv_dup(buf_sv(&b));
	buf_fini(&b);
	return out;
}

static void
include_glob(struct reader *r, const char *pattern)
{
	glob_t g;
	int rc = glob(pattern, GLOB_ERR, NULL, &g);

	if (rc == GLOB_NOMATCH)
		return;
	if (rc != 0) {
		error_at(r, "include: \"%s\" cannot be searched: %s", pattern,
		    strerror(errno));
		return;
	}
	for (size_t i = 0; i < g.gl_pathc; i++)
		read_file(r, g.gl_pathv[i]);
	globfree(&g);
}

static void
on_include(struct reader *r, struct sv value)
{
	char *path;

	if (value.n == 0) {
		error_at(r, "\"include\" needs a file");
		return;
	}
	if (!r->files) {
		error_at(r, "\"include\" cannot be used here");
		return;
	}
	if (sv_istarts(value, SV("http:")) || sv_istarts(value,
	    SV("https:"))) {
		error_at(r, "include: addresses of the web are not "
		    "supported: fetch the file first");
		return;
	}
	if (r->depth >= CONF_INCLUDE_DEEP) {
		error_at(r, "include: more than %u files deep",
		    CONF_INCLUDE_DEEP);
		return;
	}
	path = include_path(r, value);
	if (path == NULL)
		error_at(r, "include: the name is too long");
	else if (has_wildcard(path))
		include_glob(r, path);
	else
		read_file(r, path);
	free(path);
}

/* ---- blocks ---- */

static void
skip_block(struct reader *r, struct sv tag)
{
	/* Only a tag that is too long to be any does not fit. */
	if (!sv_to_cstr(sv_head(tag, TAG_MAX - 1), r->skip, TAG_MAX))
		r->skip[0] = '\0';
	r->skip_deep = 1;
	r->skip_line = r->line;
}

static void
unknown_block(struct reader *r, struct sv tag)
{
	const char *near = tag_suggest(tag);

	if (known_block_find(tag) != NULL)
		warn_at(r, "<%.*s> is a block of PowerMTA that is not "
		    "implemented: ignored to its end", SV_FMT(tag));
	else if (near != NULL)
		error_at(r, "there is no block <%.*s>: did you mean <%s>?",
		    SV_FMT(tag), near);
	else
		error_at(r, "there is no block <%.*s>", SV_FMT(tag));
	skip_block(r, tag);
}

/* Is the block in order? If not, it was reported. */
static bool
block_ok(struct reader *r, enum conf_scope scope, struct sv arg)
{
	const char *tag = scope_infos[scope].tag;
	enum conf_scope in = top(r)->scope;
	const char *why;

	if (scope == SCOPE_ACCT && arg.n > 0 && arg.p[0] == '|') {
		warn_at(r, "<acct-file> with a pipe is not implemented: "
		    "ignored to its end");
		return false;
	}
	if (!block_may_nest(scope, in)) {
		error_at(r, "<%s> cannot stand in a <%s> block (of line %u): "
		    "is a </%s> missing?", tag, scope_infos[in].tag,
		    top(r)->line, scope_infos[in].tag);
		return false;
	}
	why = r->rules ? block_rule_check(scope, in, arg) :
			 block_arg_check(scope, in, arg);
	if (why != NULL) {
		error_at(r, "<%s>: \"%.*s\" %s", tag, SV_FMT(sv_head(arg, 80)),
		    why);
		return false;
	}
	return true;
}

static void
warn_not_yet(struct reader *r, enum conf_scope scope)
{
	const struct scope_info *s = &scope_infos[scope];

	if (s->yet != NULL && !r->warned[scope])
		warn_at(r, "<%s> %s", s->tag, s->yet);
	r->warned[scope] = true;
}

static void
open_block(struct reader *r, struct sv tag, struct sv arg)
{
	enum conf_scope scope = scope_find(tag);
	struct open_block *b;
	uint32_t id;

	if (scope == SCOPES) {
		unknown_block(r, tag);
		return;
	}
	if (scope != SCOPE_DOMAIN)
		arg = text_unquote(arg);
	if (r->nblocks == BLOCKS_DEEP)
		error_at(r, "<%s>: blocks are more than %u deep here",
		    scope_infos[scope].tag, BLOCKS_DEEP - 1);
	if (r->nblocks == BLOCKS_DEEP || !block_ok(r, scope, arg)) {
		skip_block(r, tag);
		return;
	}
	if (!store_block(r->c, scope, arg, top(r)->id, here(r), &id)) {
		error_at(r, "the configuration has too many blocks");
		skip_block(r, tag);
		return;
	}
	warn_not_yet(r, scope);
	b = &r->blocks[r->nblocks++];
	memset(b, 0, sizeof(*b));
	b->id = id;
	b->scope = scope;
	b->line = r->line;
	b->depth = r->depth;
}

static void
close_block(struct reader *r, struct sv tag)
{
	const struct open_block *b = top(r);

	if (r->nblocks == 1 || b->depth != r->depth) {
		error_at(r, "</%.*s> closes nothing: there is no block open "
		    "in this file", SV_FMT(tag));
		return;
	}
	if (!sv_ieq(tag, sv_from(scope_infos[b->scope].tag))) {
		error_at(r, "</%.*s> cannot close the <%s> block of line %u",
		    SV_FMT(tag), scope_infos[b->scope].tag, b->line);
		return;
	}
	r->nblocks--;
}

/* "<tag arg>" taken apart; false if it is no tag. */
static bool
cut_tag(struct sv line, struct sv *tag, struct sv *arg, bool *closes)
{
	if (line.n < 3 || line.p[line.n - 1] != '>')
		return false;
	line = sv_from_at(sv_head(line, line.n - 1), 1);
	*closes = line.p[0] == '/';
	if (*closes)
		line = sv_from_at(line, 1);
	*arg = line;
	*tag = text_word(arg);
	return tag->n > 0;
}

static void
skipped_line(struct reader *r, struct sv line)
{
	ptrdiff_t at = sv_rfind(line, '<');
	struct sv tag, arg;
	bool closes;

	/* In a list of patterns, a block may open at the end of a line. */
	if (at < 0)
		return;
	line = sv_from_at(line, (size_t)at);
	if (!cut_tag(line, &tag, &arg, &closes) ||
	    !sv_ieq(sv_head(tag, TAG_MAX - 1), sv_from(r->skip)))
		return;
	if (!closes)
		r->skip_deep++;
	else if (--r->skip_deep == 0)
		r->skip[0] = '\0';
}

/* A line of a <pattern-list>; it may end with the tag of a list in the list. */
static void
on_pattern(struct reader *r, const struct conf_row *row, struct sv value)
{
	ptrdiff_t at = sv_rfind(value, '<');
	struct sv tag, arg;
	bool closes, ok = add_setting(r, row, value, false);

	if (at < 0 || !cut_tag(sv_from_at(value, (size_t)at), &tag, &arg,
	    &closes) || closes || scope_find(tag) != SCOPE_PATTERNS)
		return;
	if (ok)
		open_block(r, tag, arg);
	else
		skip_block(r, tag);
}

static void
on_tag(struct reader *r, struct sv line)
{
	struct sv tag, arg;
	bool closes;

	if (!cut_tag(line, &tag, &arg, &closes))
		error_at(r, "a line that starts with < is to end with >");
	else if (!closes && top(r)->scope == SCOPE_PATTERNS &&
	    scope_find(tag) == SCOPE_PATTERNS)
		on_pattern(r, row_find(SCOPE_PATTERNS, SV("*")), line);
	else if (closes)
		close_block(r, tag);
	else
		open_block(r, tag, arg);
}

/* ---- lines ---- */

/* Bytes of the UTF-8 character at p, 0 if it is none. */
static size_t
utf8_len(const unsigned char *p, size_t n)
{
	size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 :
	    p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;

	if (len == 0 || len > n)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

static bool
is_clean_text(struct sv v)
{
	size_t len;

	for (size_t i = 0; i < v.n; i += len) {
		unsigned char c = (unsigned char)v.p[i];

		if ((c < ' ' && c != '\t') || c == 0x7f)
			return false;
		len = utf8_len((const unsigned char *)v.p + i, v.n - i);
		if (len == 0)
			return false;
	}
	return true;
}

/* Takes the quotes off; *clear for "". False if one is missing. */
static bool
take_quotes(struct sv *value, bool *clear)
{
	size_t quotes = 0;

	*clear = sv_eq(*value, SV("\"\""));
	if (value->n > 0 && value->p[0] == '/')
		return true;
	for (size_t i = 0; i < value->n; i++)
		quotes += value->p[i] == '"';
	if (quotes % 2 != 0)
		return false;
	if (quotes == 2)
		*value = text_unquote(*value);
	return true;
}

static void
on_directive(struct reader *r, struct sv line)
{
	struct sv value = line, name = text_word(&value);
	const struct conf_row *row;
	bool clear;

	/* Some lines are an expression and what it stands for. */
	if (name.p[0] == '/') {
		name = SV("/regex/");
		value = line;
	}
	/* "a@b c@d": the word alias may be left out */
	if (top(r)->scope == SCOPE_ALIASES && !sv_ieq(name, SV("alias")) &&
	    !sv_ieq(name, SV("include"))) {
		name = SV("alias");
		value = line;
	}
	row = row_find(top(r)->scope, name);
	if (row != NULL && row->type == CONF_T_PATTERN) {
		on_pattern(r, row, value);
		return;
	}
	if (row != NULL && type_is_ordered((enum conf_type)row->type)) {
		(void)add_setting(r, row, value, false);
		return;
	}
	if (!take_quotes(&value, &clear)) {
		error_at(r, "a quote (\") is missing");
		return;
	}
	if (sv_ieq(name, SV("include"))) {
		on_include(r, value);
		return;
	}
	if (row == NULL)
		unknown_directive(r, sv_head(name, 64));
	else if (r->rules && r->nblocks == 1)
		error_at(r, "\"%s\" cannot stand in receiver rules",
		    row->name);
	else
		on_row(r, row, value, clear);
}

static void
on_line(struct reader *r, struct sv line)
{
	ptrdiff_t hash;

	if (line.n > 0 && line.p[line.n - 1] == '\r')
		line.n--;
	if (line.n > CONF_LINE_MAX) {
		error_at(r, "the line is longer than %u bytes", CONF_LINE_MAX);
		return;
	}
	if ((hash = sv_find(line, '#')) >= 0)
		line = sv_head(line, (size_t)hash);
	line = sv_trim(line);
	if (line.n == 0)
		return;
	if (!is_clean_text(line)) {
		error_at(r, "the line holds control characters or is not "
		    "UTF-8");
		return;
	}
	if (r->skip[0] != '\0')
		skipped_line(r, line);
	else if (line.p[0] == '<')
		on_tag(r, line);
	else
		on_directive(r, line);
}

/* ---- files ---- */

static void
end_of_file(struct reader *r)
{
	if (r->skip[0] != '\0') {
		r->line = r->skip_line;
		error_at(r, "<%s> is not closed: </%s> is missing", r->skip,
		    r->skip);
		r->skip[0] = '\0';
	}
	while (r->nblocks > 1 && top(r)->depth == r->depth) {
		const char *tag = scope_infos[top(r)->scope].tag;

		r->line = top(r)->line;
		error_at(r, "<%s> is not closed: </%s> is missing", tag, tag);
		r->nblocks--;
	}
}

static void
read_text(struct reader *r, struct sv name, struct sv text)
{
	if (!store_file(r->c, name, &r->file)) {
		error_at(r, "more than %u files", CONF_FILES_MAX);
		return;
	}
	r->path = r->c->files[r->file];
	r->line = 0;
	if (r->rules)
		r->c->rules_file = r->file;
	if (sv_starts(text, SV("\xef\xbb\xbf")))
		text = sv_from_at(text, 3);
	while (text.p != NULL && text.n > 0) {
		r->line++;
		on_line(r, sv_cut(&text, '\n'));
	}
	end_of_file(r);
}

/* Reads at most CONF_FILE_MAX bytes into b. */
static const char *
slurp(int fd, struct buf *b)
{
	for (;;) {
		unsigned char *p = buf_reserve(b, 65536);
		ssize_t n;

		if (p == NULL)
			return "is larger than 16 MiB";
		n = read(fd, p, 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return strerror(errno);
		if (n == 0)
			return NULL;
		buf_commit(b, (size_t)n);
	}
}

static bool
is_open(const struct reader *r, const struct stat *st)
{
	for (unsigned i = 0; i < r->depth; i++)
		if (r->stack[i].dev == st->st_dev &&
		    r->stack[i].ino == st->st_ino)
			return true;
	return false;
}

static const char *
open_and_slurp(struct reader *r, const char *path, struct buf *b)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	const char *why = NULL;
	struct stat st;

	if (fd == -1)
		return strerror(errno);
	if (fstat(fd, &st) == -1)
		why = strerror(errno);
	else if (!S_ISREG(st.st_mode))
		why = "not a regular file";
	else if (is_open(r, &st))
		why = "it includes itself";
	else
		why = slurp(fd, b);
	if (why == NULL)
		r->stack[r->depth] =
		    (struct open_file){ st.st_dev, st.st_ino };
	close(fd);
	return why;
}

static void
read_file(struct reader *r, const char *path)
{
	uint32_t file = r->file, line = r->line;
	struct sv outer = r->path;
	const char *why;
	struct buf b;

	/* One read ahead of the cap, to see that there is nothing left. */
	buf_init(&b, CONF_FILE_MAX + 65536);
	why = open_and_slurp(r, path, &b);
	if (why == NULL && buf_len(&b) > CONF_FILE_MAX)
		why = "is larger than 16 MiB";
	if (why != NULL) {
		error_at(r, "%s cannot be read: %s", path, why);
		buf_fini(&b);
		return;
	}
	r->depth++;
	read_text(r, sv_from(path), buf_sv(&b));
	r->depth--;
	r->file = file;
	r->line = line;
	r->path = outer;
	buf_fini(&b);
}

static bool
run(struct conf *c, struct conf_report *rep, const char *path,
    const struct sv *text, bool rules)
{
	struct reader *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return false;
	r->c = c;
	r->rep = rep;
	r->files = text == NULL && !rules;
	r->rules = rules;
	r->nblocks = 1;
	r->path = SV("");
	if (text == NULL)
		read_file(r, path);
	else
		read_text(r, sv_from(path), *text);
	free(r);
	return rep->nerrors == 0;
}

bool
reader_run(struct conf *c, struct conf_report *rep, const char *path,
    const struct sv *text)
{
	return run(c, rep, path, text, false);
}

bool
reader_rules(struct conf *c, struct conf_report *rep, const char *path,
    const struct sv *text)
{
	return run(c, rep, path, text, true);
}
