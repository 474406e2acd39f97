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

static enum ctl_field
field_find(struct sv field, struct sv *value_r)
{
	ptrdiff_t colon = sv_find(field, ':');
	struct sv name;

	if (colon < 0)
		return CTL_FIELDS;
	name = sv_trim(sv_head(field, (size_t)colon));
	*value_r = sv_from_at(field, (size_t)colon + 1);
	for (int i = 0; i < CTL_FIELDS; i++) {
		if (sv_ieq(name, sv_from(names[i])))
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

size_t
ctl_headers_take(unsigned char *mem, size_t n, unsigned drop,
    struct ctl_headers *h_r)
{
	size_t from = 0, to = 0, len;

	memset(h_r, 0, sizeof(*h_r));
	while ((len = field_length(sv_make(mem + from, n - from))) > 0) {
		struct sv value = SV("");
		enum ctl_field f = field_find(sv_make(mem + from, len),
		    &value);

		if (f < CTL_FIELDS) {
			if (f <= CTL_ENVID && !h_r->seen[f])
				value_keep(value, h_r->value[f]);
			h_r->seen[f] = true;
		}
		if (f < CTL_FIELDS && (drop & (1u << f)) != 0) {
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
