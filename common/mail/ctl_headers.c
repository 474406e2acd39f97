/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "common/mail/ctl_headers.h"

static const char *const names[CTL_FIELDS] = {
	[CTL_VMTA] = "x-virtual-mta",
	[CTL_JOB] = "x-job",
	[CTL_ENVID] = "x-envid",
	[CTL_DATE] = "date",
	[CTL_MESSAGE_ID] = "message-id",
};

/* The field at the start of v with its continuation lines; 0 if it is not
 * complete, or the header has ended. */
static size_t
field_length(struct sv v)
{
	size_t at = 0;

	if (v.n == 0 || v.p[0] == '\r')
		return 0;
	for (;;) {
		const char *lf = memchr(v.p + at, '\n', v.n - at);

		if (lf == NULL)
			return 0;
		at = (size_t)(lf - v.p) + 1;
		if (at == v.n)
			return 0;
		if (v.p[at] != ' ' && v.p[at] != '\t')
			return at;
	}
}

/* Both are empty if it is no field. */
static void
field_cut(struct sv field, struct sv *name_r, struct sv *value_r)
{
	ptrdiff_t colon = sv_find(field, ':');

	*name_r = *value_r = SV("");
	if (colon < 0)
		return;
	*name_r = sv_trim(sv_head(field, (size_t)colon));
	*value_r = sv_from_at(field, (size_t)colon + 1);
}

bool
ctl_field_next(struct sv *header, struct sv *name_r, struct sv *value_r)
{
	size_t n = field_length(*header);

	if (n == 0)
		return false;
	field_cut(sv_head(*header, n), name_r, value_r);
	*header = sv_from_at(*header, n);
	return true;
}

static struct sv
name_of(const struct ctl_rules *rules, enum ctl_field f)
{
	if (f == CTL_VMTA && rules->vmta.n > 0)
		return rules->vmta;
	if (f == CTL_JOB && rules->job.n > 0)
		return rules->job;
	return sv_from(names[f]);
}

static bool
is_listed(struct sv list, struct sv name)
{
	while (list.n > 0) {
		if (sv_ieq(sv_trim(sv_cut(&list, ',')), name))
			return true;
	}
	return false;
}

/* name and value are empty if it is no field. */
static enum ctl_field
field_find(const struct ctl_rules *rules, struct sv field, struct sv *name_r,
    struct sv *value_r)
{
	field_cut(field, name_r, value_r);
	for (int i = 0; name_r->n > 0 && i < CTL_FIELDS; i++) {
		if (sv_ieq(*name_r, name_of(rules, (enum ctl_field)i)))
			return (enum ctl_field)i;
	}
	return CTL_FIELDS;
}

/* Without line ends and with blanks for other control bytes. */
static void
value_keep(struct sv v, char out[CTL_VALUE_MAX + 1])
{
	size_t n = 0;

	while (v.n > 0 && (unsigned char)v.p[0] <= ' ')
		v = sv_from_at(v, 1);
	while (v.n > 0 && (unsigned char)v.p[v.n - 1] <= ' ')
		v.n--;
	for (size_t i = 0; i < v.n && n < CTL_VALUE_MAX; i++) {
		char c = v.p[i];

		if (c == '\r' || c == '\n')
			continue;
		out[n++] = (unsigned char)c < ' ' || c == 0x7f ? ' ' : c;
	}
	out[n] = '\0';
}

/* Keeps what it says; true: it is to go. */
static bool
field_take(const struct ctl_rules *rules, struct sv field,
    struct ctl_headers *h)
{
	struct sv name, value;
	enum ctl_field f = field_find(rules, field, &name, &value);

	if (f < CTL_FIELDS) {
		if (f <= CTL_ENVID && !h->seen[f])
			value_keep(value, h->value[f]);
		h->seen[f] = true;
		if ((rules->drop & (1u << f)) != 0)
			return true;
	}
	return name.n > 0 && is_listed(rules->remove, name);
}

size_t
ctl_headers_take(unsigned char *mem, size_t n, const struct ctl_rules *rules,
    struct ctl_headers *h_r)
{
	size_t from = 0, to = 0, len;

	memset(h_r, 0, sizeof(*h_r));
	while ((len = field_length(sv_make(mem + from, n - from))) > 0) {
		if (field_take(rules, sv_make(mem + from, len), h_r)) {
			from += len;
			continue;
		}
		if (to != from)
			memmove(mem + to, mem + from, len);
		to += len;
		from += len;
	}
	if (to != from)
		memmove(mem + to, mem + from, n - from);
	return n - (from - to);
}

struct sv
ctl_value(const struct ctl_headers *h, enum ctl_field f)
{
	return sv_from(h->value[f]);
}
