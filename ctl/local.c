/* SPDX-License-Identifier: ISC */
/* What needs no daemon. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/str.h"
#include "common/conf/conf.h"
#include "ctl/ctl.h"

#define MANUAL_MAX (4u << 20)

static json_t *
json_sv(struct sv v)
{
	json_t *j = json_stringn(v.p == NULL ? "" : v.p, v.n);

	return j != NULL ? j : json_string("(not UTF-8)");
}

/* ---- test config ---- */

static void
add_problem(struct ctl_reply *r, const char *kind, const char *text)
{
	json_t *row = json_object();

	if (row == NULL ||
	    json_object_set_new(row, "kind", json_string(kind)) != 0 ||
	    json_object_set_new(row, "text", json_sv(sv_from(text))) != 0)
		abort();
	ctl_reply_row(r, row);
}

static void
add_report(struct ctl_reply *r, const struct conf_report *rep)
{
	for (uint32_t i = 0; i < conf_report_errors(rep); i++)
		add_problem(r, "error", rep->errors[i]);
	for (uint32_t i = 0; i < conf_report_warnings(rep); i++)
		add_problem(r, "warning", rep->warnings[i]);
}

int
local_test_config(const struct ctl *ctl, const struct ctl_command *cmd)
{
	const char *path = ctl->nwords > 2 ? ctl->words[2] : ctl->config;
	struct conf_report rep;
	struct ctl_reply r;
	struct conf *c;
	int rc;

	if (ctl->nwords > 3) {
		ctl_complain("test config takes one file");
		return CTL_MISUSE;
	}
	conf_report_init(&rep);
	c = conf_load(path, ctl->rules, &rep);
	ctl_reply_init(&r);
	r.status = c == NULL ? CTL_FAILED : CTL_OK;
	add_report(&r, &rep);
	ctl_reply_text(&r, "%s: %u errors, %u warnings", path, rep.nerrors,
	    rep.nwarnings);
	conf_free(&c);
	conf_report_fini(&rep);
	rc = ctl_print(ctl, cmd, &r);
	ctl_reply_fini(&r);
	return rc;
}

/* The file on disk, or NULL after a complaint. */
static struct conf *
load_config(const struct ctl *ctl)
{
	struct conf_report rep;
	struct conf *c;

	conf_report_init(&rep);
	c = conf_load(ctl->config, ctl->rules, &rep);
	for (uint32_t i = 0; i < conf_report_errors(&rep); i++)
		ctl_complain("%s", rep.errors[i]);
	conf_report_fini(&rep);
	return c;
}

/* ---- show settings ---- */

static json_t *
setting_row(struct sv scope, struct sv name, struct sv value, struct sv file,
    uint32_t line)
{
	json_t *row = json_object();

	if (row == NULL ||
	    json_object_set_new(row, "scope", json_sv(scope)) != 0 ||
	    json_object_set_new(row, "name", json_sv(name)) != 0 ||
	    json_object_set_new(row, "value", json_sv(value)) != 0 ||
	    json_object_set_new(row, "file", json_sv(file)) != 0 ||
	    json_object_set_new(row, "line", json_integer(line)) != 0)
		abort();
	return row;
}

static void
on_setting(void *arg, struct sv scope, struct sv name, struct sv value,
    struct sv file, uint32_t line)
{
	ctl_reply_row(arg, setting_row(scope, name, value, file, line));
}

/* domain, domain/vmta, domain=D, vmta=V, rollup=R */
static bool
queue_words(const struct ctl *ctl, unsigned from, struct sv *domain,
    struct sv *vmta, struct sv *rollup)
{
	*domain = SV("");
	*vmta = SV("");
	*rollup = SV("");
	for (unsigned i = from; i < ctl->nwords; i++) {
		struct sv w = sv_from(ctl->words[i]);

		if (sv_starts(w, SV("--")))
			w = sv_from_at(w, 2);
		if (sv_starts(w, SV("domain="))) {
			*domain = sv_from_at(w, 7);
		} else if (sv_starts(w, SV("vmta="))) {
			*vmta = sv_from_at(w, 5);
		} else if (sv_starts(w, SV("rollup="))) {
			*rollup = sv_from_at(w, 7);
		} else {
			if (sv_starts(w, SV("queue=")))
				w = sv_from_at(w, 6);
			*domain = sv_cut(&w, '/');
			*vmta = w.p == NULL ? SV("") : w;
		}
	}
	return domain->n > 0;
}

int
local_settings(const struct ctl *ctl, const struct ctl_command *cmd)
{
	struct sv domain, vmta, rollup;
	struct ctl_reply r;
	struct conf *c;
	int rc;

	if (!queue_words(ctl, 2, &domain, &vmta, &rollup)) {
		ctl_complain("which queue? show settings domain/vmta");
		return CTL_MISUSE;
	}
	c = load_config(ctl);
	if (c == NULL)
		return CTL_FAILED;
	ctl_reply_init(&r);
	if (conf_vmta_find(c, vmta) == NULL) {
		r.status = CTL_FAILED;
		ctl_reply_text(&r, "there is no <virtual-mta %.*s>",
		    SV_FMT(vmta));
	} else {
		conf_domain_show(c, vmta, domain, rollup, on_setting, &r);
	}
	conf_free(&c);
	rc = ctl_print(ctl, cmd, &r);
	ctl_reply_fini(&r);
	return rc;
}

/* ---- show config --diff ---- */

/* A row as one text that sorts; the caller frees. */
struct keyed {
	char *key;
	json_t *row;       /* borrowed */
};

static int
by_key(const void *a, const void *b)
{
	return strcmp(((const struct keyed *)a)->key,
	    ((const struct keyed *)b)->key);
}

static const char *
field(const json_t *row, const char *name)
{
	const char *s = json_string_value(json_object_get(row, name));

	return s == NULL ? "" : s;
}

static char *
key_of(const json_t *row)
{
	char *key;

	if (asprintf(&key, "%s\x1f%s\x1f%s", field(row, "scope"),
	    field(row, "name"), field(row, "value")) == -1)
		abort();
	return key;
}

static struct keyed *
keyed_rows(const struct ctl_reply *r, size_t *n_r)
{
	size_t n = json_array_size(r->rows);
	struct keyed *v = calloc(n + 1, sizeof(*v));

	if (v == NULL)
		abort();
	for (size_t i = 0; i < n; i++) {
		v[i].row = json_array_get(r->rows, i);
		v[i].key = key_of(v[i].row);
	}
	qsort(v, n, sizeof(*v), by_key);
	*n_r = n;
	return v;
}

static void
keyed_free(struct keyed *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(v[i].key);
	free(v);
}

static void
add_change(struct ctl_reply *out, json_t *row, const char *change)
{
	json_t *copy = json_copy(row);

	if (copy == NULL ||
	    json_object_set_new(copy, "change", json_string(change)) != 0)
		abort();
	ctl_reply_row(out, copy);
}

static void
diff_rows(const struct ctl_reply *running, const struct ctl_reply *disk,
    struct ctl_reply *out)
{
	size_t na, nb, i = 0, j = 0;
	struct keyed *a = keyed_rows(running, &na);
	struct keyed *b = keyed_rows(disk, &nb);

	while (i < na || j < nb) {
		int d = i == na ? 1 : j == nb ? -1 :
		    strcmp(a[i].key, b[j].key);

		if (d < 0)
			add_change(out, a[i].row, "-");
		else if (d > 0)
			add_change(out, b[j].row, "+");
		i += d <= 0;
		j += d >= 0;
	}
	keyed_free(a, na);
	keyed_free(b, nb);
}

int
local_diff(const struct ctl *ctl, const struct ctl_reply *running,
    struct ctl_reply *out)
{
	struct conf *c = load_config(ctl);
	struct ctl_reply disk;

	if (c == NULL)
		return -1;
	ctl_reply_init(&disk);
	ctl_reply_init(out);
	conf_show(c, false, on_setting, &disk);
	diff_rows(running, &disk, out);
	ctl_reply_text(out, "%s", json_array_size(out->rows) == 0 ?
	    "the file is what runs" :
	    "- runs, + is in the file and takes effect with a reload");
	ctl_reply_fini(&disk);
	conf_free(&c);
	return 0;
}

/* ---- manual ---- */

int
local_manual(const struct ctl *ctl, const struct ctl_command *cmd)
{
	struct buf b;
	bool ok;

	(void)ctl;
	(void)cmd;
	buf_init(&b, MANUAL_MAX);
	ok = conf_manual(&b) == 0 &&
	    fwrite(buf_data(&b), 1, buf_len(&b), stdout) == buf_len(&b) &&
	    fflush(stdout) == 0;
	buf_fini(&b);
	return ok ? CTL_OK : CTL_FAILED;
}
