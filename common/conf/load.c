/* SPDX-License-Identifier: ISC */
#include "common/conf/store.h"

static struct conf *
load(const char *path, const struct sv *text, struct conf_report *rep)
{
	struct conf *c = store_new();

	if (c == NULL) {
		report_error(rep, SV(""), 0, "out of memory");
		return NULL;
	}
	if (!reader_run(c, rep, path, text) ||
	    (text == NULL && !system_defaults(c, rep)) ||
	    !build(c, rep))
		conf_free(&c);
	return c;
}

struct conf *
conf_load(const char *path, struct conf_report *rep)
{
	return load(path, NULL, rep);
}

struct conf *
conf_parse(const char *name, struct sv text, struct conf_report *rep)
{
	return load(name, &text, rep);
}
