/* SPDX-License-Identifier: ISC */
/* Answers of `pinnace show warmup`: a table for each plan and VMTA. */
#include <stdio.h>

#include "ctl/ctl.h"
#include "ctl/table.h"
#include "ctl/view.h"

static bool
is_same(const json_t *a, const json_t *b)
{
	return a != NULL && sv_eq(text_of(a, "warmup"), text_of(b, "warmup")) &&
	    sv_eq(text_of(a, "vmta"), text_of(b, "vmta"));
}

static void
table_end(struct table **t)
{
	if (*t == NULL)
		return;
	table_print(*t, stdout);
	table_free(t);
	puts("");
}

static struct table *
table_begin(const json_t *row)
{
	printf("warmup %.*s of %.*s\n", SV_FMT(text_of(row, "warmup")),
	    SV_FMT(text_of(row, "vmta")));
	return table_new(">DAY|DATE|>PLAN|>ACTUAL|>FORECAST|STATE");
}

static void
add_day(struct table *t, const json_t *row)
{
	table_cellf(t, "%lld", num_of(row, NULL, "day"));
	table_cell(t, text_of(row, "date"));
	table_cellf(t, "%lld", num_of(row, NULL, "plan"));
	table_cellf(t, "%lld", num_of(row, NULL, "actual"));
	table_cellf(t, "%lld", num_of(row, NULL, "forecast"));
	if (json_object_get(row, "queued") == NULL)
		table_cell(t, text_of(row, "state"));
	else
		table_cellf(t, "%.*s: %lld queued, %lld of %lld replies in "
		    "the last hour were deferrals",
		    SV_FMT(text_of(row, "state")), num_of(row, NULL, "queued"),
		    num_of(row, NULL, "deferrals"),
		    num_of(row, NULL, "replies"));
}

void
view_warmup(const struct ctl_reply *r)
{
	const json_t *last = NULL;
	struct table *t = NULL;
	size_t i;
	json_t *row;

	json_array_foreach(r->rows, i, row) {
		if (!is_same(last, row)) {
			table_end(&t);
			t = table_begin(row);
		}
		add_day(t, row);
		last = row;
	}
	table_end(&t);
}
