/* SPDX-License-Identifier: ISC */
#include <sys/stat.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/base/str.h"
#include "common/conf/store.h"

#define RULES_FILE "receivers.conf"

struct source {
	const char *path;
	const struct sv *text;       /* NULL: the file of that name */
	const char *rules;           /* file, or NULL: none */
	const struct sv *rules_text; /* the same */
};

/* The value of receiver-rules, its place, and whether it is set at all. */
static struct sv
rules_setting(const struct conf *c, struct place *at, bool *is_set)
{
	const struct conf_row *row = row_find(SCOPE_GLOBAL,
	    SV("receiver-rules"));
	struct sv value = sv_from(row->def);

	*is_set = false;
	for (const struct setting *s = c->blocks[0]->first; s != NULL;
	    s = s->next) {
		if (s->row != row)
			continue;
		value = s->clear ? sv_from(row->def) : s->value;
		*is_set = !s->clear;
		*at = s->at;
	}
	return value;
}

/* Nobody asked for the file that comes with Pinnace: without it mail goes out
 * as the configuration says. */
static bool
rules_missing(const struct conf *c, const char *path, struct place at,
    bool is_set, struct conf_report *rep)
{
	struct stat st;

	if (stat(path, &st) == 0)
		return false;
	if (is_set)
		report_error(rep, place_file(c, at), at.line,
		    "receiver-rules: %s: %s", path, strerror(errno));
	else
		report_warning(rep, SV(""), 0, "the receiver rules %s are "
		    "left out: %s (\"receiver-rules no\" says that this is "
		    "meant)", path, strerror(errno));
	return true;
}

static bool
load_rules(struct conf *c, const struct source *src, struct conf_report *rep)
{
	struct place at = { STORE_NONE, 0 };
	const char *path = src->rules;
	char mem[4096];
	bool is_set;
	struct sv value = rules_setting(c, &at, &is_set);

	if (src->rules_text != NULL)
		return sv_ieq(value, SV("no")) ||
		    reader_rules(c, rep, path, src->rules_text);
	if (sv_ieq(value, SV("no")) || src->text != NULL)
		return true;
	if (sv_starts(value, SV("/")))
		path = sv_to_cstr(value, mem, sizeof(mem)) ? mem : NULL;
	if (path == NULL)
		return true;
	if (rules_missing(c, path, at, is_set, rep))
		return !is_set;
	return reader_rules(c, rep, path, NULL);
}

static struct conf *
load(const struct source *src, struct conf_report *rep)
{
	struct conf *c = store_new();

	if (c == NULL) {
		report_error(rep, SV(""), 0, "out of memory");
		return NULL;
	}
	if (!reader_run(c, rep, src->path, src->text) ||
	    !load_rules(c, src, rep) ||
	    (src->text == NULL && !system_defaults(c, rep)) ||
	    !build(c, rep))
		conf_free(&c);
	return c;
}

struct conf *
conf_load(const char *path, const char *rules, struct conf_report *rep)
{
	struct source src = { .path = path, .rules = rules };

	return load(&src, rep);
}

struct conf *
conf_parse(const char *name, struct sv text, struct conf_report *rep)
{
	struct source src = { .path = name, .text = &text };

	return load(&src, rep);
}

struct conf *
conf_parse_with(const char *name, struct sv text, const char *rules_name,
    struct sv rules, struct conf_report *rep)
{
	struct source src = { name, &text, rules_name, &rules };

	return load(&src, rep);
}

const char *
conf_rules_path(char *mem, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", mem, size);
	struct sv exe = sv_make(mem, n < 0 ? 0 : (size_t)n);
	ptrdiff_t slash = sv_rfind(exe, '/');
	struct str s;

	/* DIR/master/pinnaced has DIR/receivers.conf */
	if (slash > 0)
		slash = sv_rfind(sv_head(exe, (size_t)slash), '/');
	if (slash > 0 && (size_t)slash + sizeof("/" RULES_FILE) <= size) {
		memcpy(mem + slash, "/" RULES_FILE, sizeof("/" RULES_FILE));
		if (access(mem, R_OK) == 0)
			return mem;
	}
	str_init(&s, mem, size);
	str_adds(&s, PINNACE_DATADIR "/" RULES_FILE);
	return mem;
}
