/* SPDX-License-Identifier: ISC */
/* Where the rows stand in XML and dom. */
#include <stdlib.h>
#include <string.h>

#include "common/base/str.h"
#include "ctl/form.h"

#define PATH_TEXT_MAX 256

/* Fields of the status that PowerMTA has elsewhere. All others keep their own
 * names, below "status". */
static const struct {
	const char *ours, *theirs;
} status_names[] = {
	{ "version", "mta.product.version" },
	{ "hostName", "mta.fullHostName" },
	{ "now", "status.timeNow" },
	{ "started", "status.startupTime" },
	{ "traffic", "status.traffic.total" },
	{ "conn.smtpOut", "status.conn.smtpOut.cur" },
	{ "queue.rcp", "status.queue.smtp.rcp" },
	{ "queue.dom", "status.queue.smtp.dom" },
	{ "spool.segmentsRecycled", "status.spool.files.recycled" },
};

/* The object in `in` under this name, made if it is missing. */
static json_t *
object_in(json_t *in, struct sv name)
{
	json_t *o = json_object_getn(in, name.p, name.n);

	if (o == NULL) {
		o = json_object();
		if (json_object_setn_new(in, name.p, name.n, o) != 0)
			abort();
	}
	return o;
}

/* Takes the value. */
static void
put_at(json_t *tree, const char *path, json_t *value)
{
	struct sv rest = sv_from(path);
	struct sv name = sv_cut(&rest, '.');

	while (rest.p != NULL) {
		tree = object_in(tree, name);
		name = sv_cut(&rest, '.');
	}
	if (json_object_setn_new(tree, name.p, name.n, value) != 0)
		abort();
}

static const char *
their_name(const char *path)
{
	for (size_t i = 0; i < sizeof(status_names) / sizeof(status_names[0]);
	    i++) {
		if (strcmp(status_names[i].ours, path) == 0)
			return status_names[i].theirs;
	}
	return NULL;
}

/* Puts all that is in o, whose own path is `under`, where it belongs. */
static void
status_move(json_t *tree, const char *under, json_t *o)
{
	char path[PATH_TEXT_MAX], own[PATH_TEXT_MAX];
	const char *key, *to;
	struct str s;
	json_t *v;

	json_object_foreach(o, key, v) {
		STR_ON(&s, path);
		str_addf(&s, "%s%s%s", under, under[0] != '\0' ? "." : "", key);
		to = their_name(path);
		if (to == NULL && json_is_object(v)) {
			status_move(tree, path, v);
			continue;
		}
		STR_ON(&s, own);
		str_addf(&s, "status.%s", path);
		put_at(tree, to != NULL ? to : own, json_incref(v));
	}
}

static json_int_t
number_of(json_t *row, const char *in, const char *key)
{
	return json_integer_value(json_object_get(json_object_get(row, in),
	    key));
}

/* What PowerMTA has as one and we have otherwise. */
static void
status_derive(json_t *tree, json_t *row)
{
	const char *status = json_string_value(json_object_get(row, "status"));
	json_int_t used = number_of(row, "spool", "segmentsWriting") +
	    number_of(row, "spool", "segmentsSealed");

	put_at(tree, "status.shuttingDown", json_boolean(status != NULL &&
	    strcmp(status, "stopping") == 0));
	put_at(tree, "status.spool.totalRcp",
	    json_integer(number_of(row, "queue", "rcp")));
	put_at(tree, "status.spool.files.inUse", json_integer(used));
	put_at(tree, "status.spool.files.total", json_integer(used +
	    number_of(row, "spool", "segmentsEmpty") +
	    number_of(row, "spool", "segmentsRecycled")));
}

json_t *
form_tree(json_t *rows, const char *name)
{
	json_t *tree = json_object();

	if (tree == NULL)
		abort();
	if (strcmp(name, "status") == 0 && json_array_size(rows) == 1) {
		status_move(tree, "", json_array_get(rows, 0));
		status_derive(tree, json_array_get(rows, 0));
	} else if (json_object_set(tree, name, rows) != 0) {
		abort();
	}
	return tree;
}
