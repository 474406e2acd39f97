/* SPDX-License-Identifier: ISC */
/*
 * The columns of `show top`, fitted to the width. A narrow screen loses
 * columns, those of least worth first; what is left shrinks: numbers become
 * 12.3k, names lose their middle, texts their end. A wide one has the columns
 * besides if all others have what they need.
 */
#include <string.h>

#include "common/base/str.h"
#include "ctl/table.h"
#include "ctl/top.h"
#include "ctl/view.h"

#define CELL_MAX 200u

enum kind { NAME, NUMBER, REAL, AGE, STATE, TIME, TEXT };

/* In the order of the screen. */
static const struct column {
	const char *title, *key;
	uint8_t kind;
	uint8_t least, most;     /* its width; a text's end is not needed */
	uint8_t worth;           /* the least goes first */
	bool besides;            /* only if there is room */
} columns[TOP_COLUMNS] = {
	{ "queue", "name", NAME, 16, 60, 16, false },
	{ "#rcpt", "rcp", NUMBER, 5, 12, 15, false },
	{ "ready", "ready", NUMBER, 5, 12, 8, false },
	{ "retry", "retry", NUMBER, 5, 12, 12, false },
	{ "out", "inflight", NUMBER, 4, 7, 5, true },
	{ "hold", "hold", NUMBER, 4, 12, 6, false },
	{ "bounce", "bounce", NUMBER, 6, 12, 4, true },
	{ "kbytes", "kb", NUMBER, 6, 12, 3, true },
	{ "conn", "conn", NUMBER, 4, 6, 13, false },
	{ "/min", "rate1m", REAL, 5, 9, 14, false },
	{ "/hour", "rate1h", REAL, 5, 10, 2, true },
	{ "oldest", "oldest_s", AGE, 6, 8, 11, false },
	{ "st", "mode", STATE, 2, 2, 10, false },
	{ "next", "retryTime", TIME, 8, 11, 1, true },
	{ "waits for", "why", TEXT, 12, 18, 9, false },
	{ "last error", "lastError", TEXT, 10, 120, 7, false },
};

/* A text that is cut may be enough; besides nothing is added before each has
 * so much. */
#define COMFORT 60u

static const struct {
	const char *name, *key;
} sorts[TOP_SORTS] = {
	[TOP_RCPT] = { "rcpt", "rcp" },
	[TOP_RATE] = { "rate", "rate1m" },
	[TOP_OLDEST] = { "oldest", "oldest_s" },
	[TOP_CONN] = { "conn", "conn" },
	[TOP_NAME] = { "name", "name" },
};

const char *
top_sort_name(enum top_sort sort)
{
	return sorts[sort].name;
}

bool
top_sort_find(struct sv name, enum top_sort *sort_r)
{
	for (int i = 0; i < TOP_SORTS; i++) {
		if (sv_ieq(name, sv_from(sorts[i].name))) {
			*sort_r = (enum top_sort)i;
			return true;
		}
	}
	return false;
}

static bool
is_right(const struct column *c)
{
	return c->kind == NUMBER || c->kind == REAL || c->kind == AGE;
}

/* ---- cells ---- */

/* "1234", "1.2k", "123k", "1.2M" within the width. */
static void
number_add(struct str *s, double v, unsigned width)
{
	static const char units[] = "kMGT";
	char mem[32];
	struct str t;

	STR_ON(&t, mem);
	str_addf(&t, "%.0f", v);
	for (int i = 0; t.n > width && units[i] != '\0'; i++) {
		v /= 1000;
		STR_ON(&t, mem);
		str_addf(&t, "%.*f%c", v < 99.95 ? 1 : 0, v, units[i]);
		if (t.n <= width)
			break;
		STR_ON(&t, mem);
		str_addf(&t, "%.0f%c", v, units[i]);
	}
	str_add(s, str_sv(&t));
}

/* N or B for the mode, P for paused, as show queues has it. */
static void
state_add(struct str *s, const json_t *row)
{
	str_addc(s, sv_eq(text_of(row, "mode"), SV("backoff")) ? 'B' : 'N');
	if (json_is_true(json_object_get(row, "paused")))
		str_addc(s, 'P');
}

static void
cell_add(struct str *s, const struct column *c, const json_t *row,
    unsigned width)
{
	long long n = num_of(row, NULL, c->key);
	char mem[32];

	switch (c->kind) {
	case NUMBER:
		number_add(s, (double)n, width);
		break;
	case REAL:
		number_add(s, json_number_value(json_object_get(row, c->key)),
		    width);
		break;
	case AGE:
		if (n > 0)
			add_age(s, n);
		else
			str_addc(s, '-');
		break;
	case STATE:
		state_add(s, row);
		break;
	case TIME:
		str_adds(s, local_time(text_of(row, c->key), false, mem));
		break;
	case NAME:
	case TEXT:
	default:
		table_add_safe(s, text_of(row, c->key));
		break;
	}
}

/* How much of the end of a name is to be seen: the VMTA, if that is not too
 * long. */
static size_t
name_tail(struct sv name, unsigned width)
{
	ptrdiff_t slash = sv_rfind(name, '/');
	size_t n = slash < 0 ? 0 : name.n - (size_t)slash;

	return n <= (width - 1) / 2 ? n : (width - 1) / 3;
}

/* Cuts what is longer. */
static void
fit_add(struct str *s, const struct column *c, struct sv text, unsigned width)
{
	size_t tail;

	if (text.n <= width) {
		str_add(s, text);
		return;
	}
	if (width == 0)
		return;
	tail = c->kind == NAME ? name_tail(text, width) : 0;
	str_add(s, sv_head(text, width - 1 - tail));
	str_addc(s, '~');
	str_add(s, sv_from_at(text, text.n - tail));
}

/* ---- widths ---- */

static unsigned
title_width(const struct column *c)
{
	return (unsigned)strlen(c->title);
}

static void
width_add(unsigned *w, const struct column *c, const json_t *row)
{
	char mem[CELL_MAX];
	struct str s;

	STR_ON(&s, mem);
	cell_add(&s, c, row, CELL_MAX);
	if (s.n > c->most)
		s.n = c->most;
	if (*w < s.n)
		*w = (unsigned)s.n;
}

void
top_widths_add(struct top_widths *w, const json_t *rows)
{
	const json_t *row;
	size_t at;

	for (unsigned i = 0; i < TOP_COLUMNS; i++) {
		if (w->v[i] < title_width(&columns[i]))
			w->v[i] = title_width(&columns[i]);
		json_array_foreach(rows, at, row)
			width_add(&w->v[i], &columns[i], row);
	}
}

/* What a text does not need it leaves to others; numbers keep their place. */
static unsigned
least(const struct top_widths *w, unsigned i)
{
	const struct column *c = &columns[i];

	return is_right(c) || c->kind == STATE || w->v[i] > c->least ?
	    c->least : w->v[i];
}

static unsigned
wanted(const struct top_widths *w, unsigned i)
{
	return w->v[i] > columns[i].least ? w->v[i] : least(w, i);
}

static unsigned
comfort(const struct top_widths *w, unsigned i)
{
	return wanted(w, i) < COMFORT ? wanted(w, i) : COMFORT;
}

typedef unsigned width_fn(const struct top_widths *w, unsigned i);

/* With a blank between them. */
static unsigned
sum(const struct top_widths *w, const bool *on, width_fn *of)
{
	unsigned all = 0;

	for (unsigned i = 0; i < TOP_COLUMNS; i++)
		all += on[i] ? of(w, i) + 1 : 0;
	return all == 0 ? 0 : all - 1;
}

/* ---- the layout ---- */

/* The column of least or most worth among these; TOP_COLUMNS: none. */
static unsigned
by_worth(const bool *among, bool most)
{
	unsigned best = TOP_COLUMNS;

	for (unsigned i = 0; i < TOP_COLUMNS; i++) {
		if (!among[i])
			continue;
		if (best == TOP_COLUMNS ||
		    (columns[i].worth > columns[best].worth) == most)
			best = i;
	}
	return best;
}

static void
columns_choose(const struct top_widths *w, unsigned width, bool *on)
{
	bool besides[TOP_COLUMNS];
	unsigned i;

	for (i = 0; i < TOP_COLUMNS; i++) {
		on[i] = !columns[i].besides;
		besides[i] = columns[i].besides;
	}
	while (sum(w, on, least) > width && by_worth(on, false) != 0)
		on[by_worth(on, false)] = false;
	while ((i = by_worth(besides, true)) != TOP_COLUMNS) {
		besides[i] = false;
		on[i] = true;
		if (sum(w, on, comfort) > width) {
			on[i] = false;
			return;
		}
	}
}

/* The columns get what they want, first the name, then by worth. */
static void
room_share(const struct top_widths *w, unsigned width, const bool *on,
    unsigned *of)
{
	bool hungry[TOP_COLUMNS];
	unsigned used = sum(w, on, least), spare, i;

	spare = used < width ? width - used : 0;
	for (i = 0; i < TOP_COLUMNS; i++) {
		hungry[i] = on[i];
		of[i] = least(w, i);
	}
	while ((i = by_worth(hungry, true)) != TOP_COLUMNS) {
		unsigned more = wanted(w, i) - of[i];

		if (more > spare)
			more = spare;
		of[i] += more;
		spare -= more;
		hungry[i] = false;
	}
}

void
top_layout(const struct top_widths *w, unsigned width, struct top_layout *l)
{
	unsigned of[TOP_COLUMNS], x = 0;
	bool on[TOP_COLUMNS];

	if (width >= TOP_LINE_MAX)
		width = TOP_LINE_MAX - 1;
	columns_choose(w, width, on);
	room_share(w, width, on, of);
	*l = (struct top_layout){ .n = 0 };
	for (unsigned i = 0; i < TOP_COLUMNS; i++) {
		if (!on[i] || x >= width)
			continue;
		if (x + of[i] > width)
			of[i] = width - x;
		l->v[l->n].column = (uint8_t)i;
		l->v[l->n].x = x;
		l->v[l->n++].width = of[i];
		x += of[i] + 1;
	}
}

int
top_layout_sorted(const struct top_layout *l, enum top_sort sort)
{
	for (unsigned i = 0; i < l->n; i++) {
		if (strcmp(columns[l->v[i].column].key, sorts[sort].key) == 0)
			return (int)i;
	}
	return -1;
}

void
top_line(const struct top_layout *l, const json_t *row, char out[TOP_LINE_MAX])
{
	struct str line;

	str_init(&line, out, TOP_LINE_MAX);
	for (unsigned i = 0; i < l->n; i++) {
		const struct column *c = &columns[l->v[i].column];
		unsigned width = l->v[i].width;
		char mem[CELL_MAX], fit[CELL_MAX];
		struct str s, f;

		STR_ON(&s, mem);
		if (row == NULL)
			str_adds(&s, c->title);
		else
			cell_add(&s, c, row, width);
		STR_ON(&f, fit);
		fit_add(&f, c, str_sv(&s), width);
		if (i > 0)
			str_addc(&line, ' ');
		if (is_right(c))
			str_addf(&line, "%*s", (int)width, fit);
		else
			str_addf(&line, "%-*s", (int)width, fit);
	}
}
