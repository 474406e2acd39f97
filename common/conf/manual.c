/* SPDX-License-Identifier: ISC */
/* The manual page, made from the schema. */
#include "common/conf/store.h"

static const char head[] =
    ".Dd November 24, 2026\n"
    ".Dt PINNACE-CONFIG 5\n"
    ".Os\n"
    ".Sh NAME\n"
    ".Nm pinnace-config\n"
    ".Nd configuration of the Pinnace mail system\n"
    ".Sh DESCRIPTION\n"
    "The file holds one directive a line: a name and a value. A\n"
    ".Sq #\n"
    "starts a comment, everywhere. Values with blanks may stand in double\n"
    "quotes;\n"
    ".Qq \\&\n"
    "takes back what was set. Directives inside of\n"
    ".Li <tag argument>\n"
    "and\n"
    ".Li </tag>\n"
    "hold for what the argument names. The order of blocks plays no part:\n"
    "the most specific one wins, and a\n"
    ".Li <domain>\n"
    "inside of a\n"
    ".Li <virtual-mta>\n"
    "or a\n"
    ".Li <virtual-mta-pool>\n"
    "wins over one outside, that of the virtual-mta over that of its pool.\n"
    ".Pp\n"
    "Times are written\n"
    ".Li 4d12h\n"
    "with the units w, d, h, m, s; sizes\n"
    ".Li 250M\n"
    "with b, k, m, g, t; rates\n"
    ".Li 500/h\n"
    "or\n"
    ".Li 83/10m ;\n"
    "for a limit, 0 and\n"
    ".Li unlimited\n"
    "are no limit.\n";

/* mdoc: no line starts with a dot or a quote, backslashes are doubled. */
static int
add_text(struct buf *out, const char *s)
{
	if ((*s == '.' || *s == '\'') && buf_add(out, "\\&", 2) == -1)
		return -1;
	for (; *s != '\0'; s++)
		if ((*s == '\\' && buf_add(out, "\\", 1) == -1) ||
		    buf_add(out, s, 1) == -1)
			return -1;
	return 0;
}

static int
add_row(struct buf *out, const struct conf_row *row)
{
	if (buf_addf(out, ".It Ic %s", row->name) == -1)
		return -1;
	if (row->type == CONF_T_ENUM && buf_addf(out, " Ar %s",
	    row->arg) == -1)
		return -1;
	if (buf_add(out, "\n", 1) == -1 || add_text(out, row->help) == -1 ||
	    buf_add(out, ".\n", 2) == -1)
		return -1;
	if (row->def[0] != '\0' &&
	    buf_addf(out, "Default: %s.\n", row->def) == -1)
		return -1;
	if (row->kind == ROW_NOT_YET &&
	    buf_addf(out, "Not implemented yet.\n") == -1)
		return -1;
	return 0;
}

static int
add_known(struct buf *out, const struct scope_info *s)
{
	const char *comma = "";
	bool any = false;

	for (size_t i = 0; i < s->nrows; i++)
		any = any || s->rows[i].kind == ROW_KNOWN;
	if (!any)
		return 0;
	if (buf_addf(out, ".Pp\nAccepted with a warning and ignored:\n") ==
	    -1)
		return -1;
	for (size_t i = 0; i < s->nrows; i++) {
		if (s->rows[i].kind != ROW_KNOWN)
			continue;
		if (buf_addf(out, "%s%s", comma, s->rows[i].name) == -1)
			return -1;
		comma = ",\n";
	}
	return buf_addf(out, ".\n");
}

static int
add_alias(struct buf *out, const struct conf_row *row)
{
	return buf_addf(out, ".It Ic %s\nAnother spelling of\n.Ic %s%s%s .\n",
	    row->name, row->arg, row->def[0] == '\0' ? "" : " N", row->def);
}

static int
add_scope(struct buf *out, const struct scope_info *s)
{
	if (s->tag[0] == '\0' ?
	    buf_addf(out, ".Sh GLOBAL DIRECTIVES\n") == -1 :
	    buf_addf(out, ".Sh <%s>\n", s->tag) == -1)
		return -1;
	if (s->yet != NULL && buf_addf(out, "This block %s.\n", s->yet) == -1)
		return -1;
	if (buf_addf(out, ".Bl -tag -width Ds\n") == -1)
		return -1;
	for (size_t i = 0; i < s->nrows; i++) {
		const struct conf_row *row = &s->rows[i];
		int rc = 0;

		if (row->kind == ROW_ALIAS)
			rc = add_alias(out, row);
		else if (row->kind != ROW_KNOWN)
			rc = add_row(out, row);
		if (rc == -1)
			return -1;
	}
	if (buf_addf(out, ".El\n") == -1)
		return -1;
	return add_known(out, s);
}

int
conf_manual(struct buf *out)
{
	if (buf_add(out, head, sizeof(head) - 1) == -1)
		return -1;
	for (size_t i = 0; i < SCOPES; i++)
		if (add_scope(out, &scope_infos[i]) == -1)
			return -1;
	return buf_addf(out, ".Sh SEE ALSO\n.Xr pinnace 1\n");
}
