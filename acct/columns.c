/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "acct/columns.h"
#include "common/base/str.h"
#include "common/base/timeval.h"
#include "common/mail/status.h"
#include "common/mail/utf8.h"

/* The longest column: a diagnostic of which every byte becomes \xNN, and a
 * prefix. */
#define FIELD_MAX (EV_TEXT_MAX * 4 + 64)

static const struct {
	struct sv name;
	uint32_t by_default, can;
} table[ACCT_NCOLUMNS] = {
#define X(name, def, can) \
	[ACCT_COL_##name] = { { #name, sizeof(#name) - 1 }, def, can },
	ACCT_COLUMNS(X)
#undef X
};

/* ---- which columns ---- */

static size_t
list_find(const uint8_t *list, size_t n, uint8_t col)
{
	for (size_t i = 0; i < n; i++) {
		if (list[i] == col)
			return i;
	}
	return n;
}

static size_t
list_add(uint8_t *list, size_t n, uint8_t col)
{
	if (list_find(list, n, col) == n)
		list[n++] = col;
	return n;
}

static size_t
list_remove(uint8_t *list, size_t n, uint8_t col)
{
	size_t i = list_find(list, n, col);

	if (i == n)
		return n;
	memmove(list + i, list + i + 1, n - i - 1);
	return n - 1;
}

static size_t
list_add_defaults(uint8_t *list, size_t n, uint32_t type)
{
	for (unsigned col = 0; col < ACCT_NCOLUMNS; col++) {
		if (table[col].by_default & type)
			n = list_add(list, n, (uint8_t)col);
	}
	return n;
}

static bool
column_find(struct sv name, uint32_t type, uint8_t *col_r)
{
	for (unsigned col = 0; col < ACCT_NCOLUMNS; col++) {
		if (sv_ieq(table[col].name, name) && (table[col].can & type)) {
			*col_r = (uint8_t)col;
			return true;
		}
	}
	return false;
}

/* Next name of a list separated by commas and blanks; false at the end. */
static bool
name_next(struct sv *rest, struct sv *name_r)
{
	size_t n = 0;

	while (rest->n > 0 && (rest->p[0] == ',' || rest->p[0] == ' ' ||
	    rest->p[0] == '\t'))
		*rest = sv_from_at(*rest, 1);
	while (n < rest->n && rest->p[n] != ',' && rest->p[n] != ' ' &&
	    rest->p[n] != '\t')
		n++;
	*name_r = sv_head(*rest, n);
	*rest = sv_from_at(*rest, n);
	return n > 0;
}

/* Columns of one type as its list says. */
static size_t
list_parse(uint8_t *list, uint32_t type, struct sv text, struct sv *unknown_r)
{
	bool first = true;
	struct sv name;
	size_t n = 0;

	while (name_next(&text, &name)) {
		bool negated = name.p[0] == '!';
		uint8_t col;

		if (negated)
			name = sv_from_at(name, 1);
		if (sv_eq(name, SV("*")) || (negated && first))
			n = list_add_defaults(list, n, type);
		first = false;
		if (sv_eq(name, SV("*")))
			continue;
		if (!column_find(name, type, &col)) {
			if (unknown_r != NULL && unknown_r->n == 0)
				*unknown_r = name;
			continue;
		}
		n = negated ? list_remove(list, n, col) :
		    list_add(list, n, col);
	}
	return n;
}

/* The last record-fields that names the type counts; none: the default. */
static size_t
type_columns(uint8_t *list, uint32_t type, const struct conf_svs *fields,
    struct sv *unknown_r)
{
	for (uint32_t i = fields->n; i > 0; i--) {
		struct sv rest = sv_trim(fields->v[i - 1]);
		struct sv types = sv_cut(&rest, ' ');
		uint32_t mask = 0;

		if (conf_parse_records(types, &mask) == NULL &&
		    (mask & type) != 0)
			return list_parse(list, type, rest, unknown_r);
	}
	return list_add_defaults(list, 0, type);
}

static void
columns_merge(struct acct_columns *c, const uint8_t *list, size_t n,
    uint32_t type)
{
	for (size_t i = 0; i < n; i++) {
		size_t at = list_find(c->col, c->n, list[i]);

		if (at == c->n) {
			c->col[c->n++] = list[i];
			c->types[at] = 0;
		}
		c->types[at] |= type;
	}
}

void
acct_columns_make(struct acct_columns *c, uint32_t records,
    const struct conf_svs *fields, struct sv *unknown_r)
{
	static const uint32_t order[] = {
		CONF_REC_D, CONF_REC_B, CONF_REC_T, CONF_REC_TQ,
	};

	*c = (struct acct_columns){ .n = 1 };
	c->col[0] = ACCT_COL_type;
	c->types[0] = ACCT_ALL;
	if (unknown_r != NULL)
		*unknown_r = SV("");
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		uint8_t list[ACCT_NCOLUMNS];

		if ((records & order[i]) != 0)
			columns_merge(c, list, type_columns(list, order[i],
			    fields, unknown_r), order[i]);
	}
}

int
acct_header_add(struct buf *b, const struct acct_columns *c)
{
	for (size_t i = 0; i < c->n; i++) {
		if (i > 0 && buf_add(b, ",", 1) != 0)
			return -1;
		if (buf_add_sv(b, table[c->col[i]].name) != 0)
			return -1;
	}
	return buf_add(b, "\n", 1);
}

/* ---- one field ---- */

static bool
is_plain(struct sv v)
{
	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];

		if (c < 0x20 || c > 0x7e || c == '"' || c == ',')
			return false;
	}
	return true;
}

static int
field_add_odd(struct buf *b, struct sv v)
{
	static const char hex[] = "0123456789abcdef";
	int bad = buf_add(b, "\"", 1);

	for (size_t i = 0; i < v.n && bad == 0;) {
		unsigned char c = (unsigned char)v.p[i];
		size_t n = c < 0x80 ? 1 : utf8_len(sv_from_at(v, i));

		if (c == '"') {
			bad = buf_add(b, "\"\"", 2);
		} else if (c < 0x20 || c == 0x7f || n == 0) {
			char four[4] = { '\\', 'x', hex[c >> 4], hex[c & 15] };

			bad = buf_add(b, four, 4);
			n = 1;
		} else {
			bad = buf_add(b, v.p + i, n);
		}
		i += n;
	}
	return bad != 0 ? -1 : buf_add(b, "\"", 1);
}

static int
field_add(struct buf *b, struct sv v)
{
	return is_plain(v) ? buf_add_sv(b, v) : field_add_odd(b, v);
}

/* prefix, text, and suffix in brackets if there is one, as one field. */
static int
joined_add(struct buf *b, struct sv prefix, struct sv v, struct sv suffix)
{
	char mem[FIELD_MAX];
	struct str s;

	STR_ON(&s, mem);
	str_add(&s, prefix);
	str_add(&s, v);
	if (suffix.n > 0) {
		str_adds(&s, " (");
		str_add(&s, suffix);
		str_addc(&s, ')');
	}
	return field_add(b, str_sv(&s));
}

static size_t
digits_put(char *p, uint64_t v, size_t width)
{
	char rev[20];
	size_t n = 0;

	do {
		rev[n++] = (char)('0' + v % 10);
		v /= 10;
	} while (v > 0 || n < width);
	for (size_t i = 0; i < n; i++)
		p[i] = rev[n - 1 - i];
	return n;
}

static int
number_add(struct buf *b, uint64_t v)
{
	char mem[20];

	return buf_add(b, mem, digits_put(mem, v, 1));
}

/* "2026-01-31 14:05:09+0000" in local time, or seconds. */
static void
time_format(struct acct_time *t, time_t second, bool iso)
{
	struct tm tm;
	long off;
	char *p = t->text;

	t->valid = true;
	t->second = second;
	if (!iso || localtime_r(&second, &tm) == NULL || tm.tm_year < 0) {
		t->n = digits_put(p, (uint64_t)second, 1);
		return;
	}
	p += digits_put(p, (uint64_t)tm.tm_year + 1900, 4);
	*p++ = '-';
	p += digits_put(p, (uint64_t)tm.tm_mon + 1, 2);
	*p++ = '-';
	p += digits_put(p, (uint64_t)tm.tm_mday, 2);
	*p++ = ' ';
	p += digits_put(p, (uint64_t)tm.tm_hour, 2);
	*p++ = ':';
	p += digits_put(p, (uint64_t)tm.tm_min, 2);
	*p++ = ':';
	p += digits_put(p, (uint64_t)tm.tm_sec, 2);
	off = tm.tm_gmtoff / 60;
	*p++ = off < 0 ? '-' : '+';
	off = off < 0 ? -off : off;
	p += digits_put(p, (uint64_t)(off / 60 * 100 + off % 60), 4);
	t->n = (size_t)(p - t->text);
}

static int
time_add(struct buf *b, struct acct_time *t, uint64_t us, bool iso)
{
	/* far beyond any calendar: a damaged record, not a time */
	time_t second = us > INT64_MAX / 1024 ? 0 :
	    (time_t)(us / (uint64_t)US_PER_SEC);

	if (!t->valid || t->second != second)
		time_format(t, second, iso);
	return buf_add(b, t->text, t->n);
}

/* ---- the columns of a record ---- */

static struct sv
type_name(uint32_t type)
{
	switch (type) {
	case CONF_REC_D:
		return SV("d");
	case CONF_REC_B:
		return SV("b");
	case CONF_REC_T:
		return SV("t");
	default:
		return SV("tq");
	}
}

static struct sv
action_name(uint32_t type)
{
	return type == CONF_REC_D ? SV("relayed") :
	    type == CONF_REC_B ? SV("failed") : SV("delayed");
}

static struct sv
status_or_default(struct sv status, uint32_t type)
{
	if (status_is_valid(status))
		return status;
	return type == CONF_REC_D ? SV("2.0.0") :
	    type == CONF_REC_B ? SV("5.0.0") : SV("4.0.0");
}

static int
status_add(struct buf *b, struct sv status, uint32_t type)
{
	struct sv s = status_or_default(status, type);

	return joined_add(b, SV(""), s, status_words(s));
}

static bool
is_reply(struct sv diag)
{
	return diag.n >= 3 && ascii_is_digit(diag.p[0]) &&
	    ascii_is_digit(diag.p[1]) && ascii_is_digit(diag.p[2]);
}

/* "smtp;250 ok"; our own words are not SMTP's. */
static int
diag_add(struct buf *b, struct sv diag)
{
	if (diag.n == 0)
		return 0;
	return joined_add(b, is_reply(diag) ? SV("smtp;") :
	    SV("x-pinnace;"), diag, SV(""));
}

static struct sv
queue_vmta(struct sv queue)
{
	ptrdiff_t at = sv_rfind(queue, '/');

	return at < 0 ? SV("") : sv_from_at(queue, (size_t)at + 1);
}

/* Columns that every type has. */
static int
common_add(struct buf *b, enum acct_column col, struct acct_style *style,
    const struct acct_record *r, struct sv queue)
{
	switch (col) {
	case ACCT_COL_type:
		return field_add(b, type_name(r->type));
	case ACCT_COL_dlvType:
		return field_add(b, r->dlv_type);
	case ACCT_COL_vmta:
		return field_add(b, queue_vmta(queue));
	case ACCT_COL_queue:
		return field_add(b, queue);
	case ACCT_COL_userString:
		return field_add(b, style->user_string);
	default:
		return 0;
	}
}

static int
queue_fail_add(struct buf *b, enum acct_column col, struct acct_style *style,
    const struct acct_record *r)
{
	const struct ev_queue_fail *q = r->queue_fail;

	switch (col) {
	case ACCT_COL_timeLogged:
		return time_add(b, &style->logged, q->time_us,
		    style->iso_times);
	case ACCT_COL_dsnStatus:
		return status_add(b, q->status, r->type);
	case ACCT_COL_dsnDiag:
		return diag_add(b, q->diag);
	case ACCT_COL_dsnMta:
		return field_add(b, q->mta);
	case ACCT_COL_dlvSourceIp:
		return field_add(b, q->source_ip);
	case ACCT_COL_dlvDestinationIp:
		return field_add(b, q->dest_ip);
	default:
		return common_add(b, col, style, r, q->queue);
	}
}

/* What became of it. */
static int
attempt_outcome_add(struct buf *b, enum acct_column col,
    struct acct_style *style, const struct acct_record *r)
{
	const struct ev_attempt *a = r->attempt;

	switch (col) {
	case ACCT_COL_dsnAction:
		return field_add(b, action_name(r->type));
	case ACCT_COL_dsnStatus:
		return status_add(b, a->status, r->type);
	case ACCT_COL_dsnDiag:
		return diag_add(b, a->diag);
	case ACCT_COL_dsnMta:
		return field_add(b, a->mta);
	case ACCT_COL_bounceCat:
		return r->type != CONF_REC_B ? 0 :
		    field_add(b, status_category(a->status, a->diag));
	case ACCT_COL_dlvSourceIp:
		return field_add(b, a->source_ip);
	case ACCT_COL_dlvDestinationIp:
		return field_add(b, a->dest_ip);
	case ACCT_COL_dlvEsmtpAvailable:
		return field_add(b, a->esmtp);
	case ACCT_COL_dlvSize:
		return r->type != CONF_REC_D ? 0 : number_add(b, a->size);
	default:
		return common_add(b, col, style, r, a->queue);
	}
}

static int
attempt_add(struct buf *b, enum acct_column col, struct acct_style *style,
    const struct acct_record *r)
{
	const struct ev_attempt *a = r->attempt;

	switch (col) {
	case ACCT_COL_timeLogged:
		return time_add(b, &style->logged, a->time_us,
		    style->iso_times);
	case ACCT_COL_timeQueued:
		return time_add(b, &style->queued, a->queued_us,
		    style->iso_times);
	case ACCT_COL_orig:
		return field_add(b, a->sender);
	case ACCT_COL_rcpt:
		return field_add(b, a->rcpt);
	case ACCT_COL_orcpt:
		return field_add(b, a->orcpt);
	case ACCT_COL_srcType:
		return field_add(b, a->src_type);
	case ACCT_COL_srcMta:
		return field_add(b, a->src_mta);
	case ACCT_COL_jobId:
		return field_add(b, a->job);
	case ACCT_COL_vmtaPool:
		return field_add(b, a->pool);
	case ACCT_COL_envId:
		return field_add(b, a->envid);
	case ACCT_COL_totalSecondsQueued:
		return number_add(b, a->time_us < a->queued_us ? 0 :
		    (a->time_us - a->queued_us) / (uint64_t)US_PER_SEC);
	default:
		return attempt_outcome_add(b, col, style, r);
	}
}

int
acct_record_add(struct buf *b, const struct acct_columns *c,
    struct acct_style *style, const struct acct_record *r)
{
	size_t start = buf_len(b);

	for (size_t i = 0; i < c->n; i++) {
		enum acct_column col = (enum acct_column)c->col[i];
		int bad = i > 0 ? buf_add(b, ",", 1) : 0;

		if (bad == 0 && (c->types[i] & r->type) != 0)
			bad = r->type == CONF_REC_TQ ?
			    queue_fail_add(b, col, style, r) :
			    attempt_add(b, col, style, r);
		if (bad != 0)
			goto full;
	}
	if (buf_add(b, "\n", 1) == 0)
		return 0;
full:
	b->tail = b->head + start;
	return -1;
}
