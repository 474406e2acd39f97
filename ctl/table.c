/* SPDX-License-Identifier: ISC */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/str.h"
#include "ctl/table.h"

#define CELL_MAX 600u /* longer text is cut, with "..." */

struct table {
	unsigned ncols;
	bool right[TABLE_COLUMNS_MAX];
	size_t width[TABLE_COLUMNS_MAX];
	char **cells;        /* the titles first */
	size_t n, size;
};

static void
push(struct table *t, char *text)
{
	size_t col = t->n % t->ncols, len = strlen(text);

	if (t->n == t->size) {
		t->size = t->size == 0 ? 256 : t->size * 2;
		t->cells = reallocarray(t->cells, t->size, sizeof(char *));
		if (t->cells == NULL)
			abort();
	}
	t->cells[t->n++] = text;
	if (t->width[col] < len)
		t->width[col] = len;
}

struct table *
table_new(const char *titles)
{
	struct table *t = calloc(1, sizeof(*t));
	struct sv rest = sv_from(titles);

	if (t == NULL)
		abort();
	for (const char *p = titles; *p != '\0'; p++)
		t->ncols += *p == '|';
	t->ncols++;
	if (t->ncols > TABLE_COLUMNS_MAX)
		abort();
	for (unsigned i = 0; i < t->ncols; i++) {
		struct sv title = sv_cut(&rest, '|');

		t->right[i] = sv_starts(title, SV(">"));
		push(t, sv_dup(sv_from_at(title, t->right[i])));
	}
	return t;
}

void
table_free(struct table **tp)
{
	struct table *t = *tp;

	*tp = NULL;
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->n; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t);
}

void
table_add_safe(struct str *s, struct sv text)
{
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];

		if (c >= ' ' && c < 0x7f)
			str_addc(s, (char)c);
		else
			str_addf(s, "\\x%02x", c);
	}
}

void
table_cell(struct table *t, struct sv text)
{
	char mem[CELL_MAX];
	struct str s;

	STR_ON(&s, mem);
	table_add_safe(&s, text);
	if (s.truncated)
		memcpy(mem + s.n - 3, "...", 3);
	push(t, sv_dup(str_sv(&s)));
}

void
table_cellf(struct table *t, const char *fmt, ...)
{
	char mem[CELL_MAX];
	struct str s;
	va_list ap;

	STR_ON(&s, mem);
	va_start(ap, fmt);
	str_vaddf(&s, fmt, ap);
	va_end(ap);
	table_cell(t, str_sv(&s));
}

static void
print_cell(const struct table *t, unsigned col, const char *text, FILE *out)
{
	size_t pad = t->width[col] - strlen(text);

	if (col > 0)
		fputc(' ', out);
	if (t->right[col])
		fprintf(out, "%*s%s", (int)pad, "", text);
	else if (col + 1 < t->ncols)
		fprintf(out, "%s%*s", text, (int)pad, "");
	else
		fputs(text, out);
}

static void
print_dashes(const struct table *t, FILE *out)
{
	for (unsigned i = 0; i < t->ncols; i++) {
		/* The last column is as long as it likes. */
		size_t n = i + 1 < t->ncols || t->width[i] < 10 ?
		    t->width[i] : 10;

		if (i > 0)
			fputc(' ', out);
		while (n-- > 0)
			fputc('-', out);
	}
	fputc('\n', out);
}

void
table_print(const struct table *t, FILE *out)
{
	for (size_t i = 0; i < t->n; i++) {
		unsigned col = (unsigned)(i % t->ncols);

		print_cell(t, col, t->cells[i], out);
		if (col + 1 < t->ncols)
			continue;
		fputc('\n', out);
		if (i + 1 == t->ncols)
			print_dashes(t, out);
	}
}
