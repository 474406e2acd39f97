/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <string.h>

#include "common/base/str.h"

void
str_init(struct str *s, char *mem, size_t size)
{
	*s = (struct str){ .p = mem, .size = size };
	mem[0] = '\0';
}

void
str_add(struct str *s, struct sv v)
{
	size_t room = s->size - 1 - s->n;

	if (v.n > room) {
		v.n = room;
		s->truncated = true;
	}
	if (v.n > 0)
		memcpy(s->p + s->n, v.p, v.n);
	s->n += v.n;
	s->p[s->n] = '\0';
}

void
str_addc(struct str *s, char c)
{
	str_add(s, sv_make(&c, 1));
}

void
str_adds(struct str *s, const char *cstr)
{
	str_add(s, sv_from(cstr));
}

void
str_vaddf(struct str *s, const char *fmt, va_list ap)
{
	size_t room = s->size - s->n;
	int n = vsnprintf(s->p + s->n, room, fmt, ap);

	if (n < 0) {
		s->truncated = true;
		s->p[s->n] = '\0';
	} else if ((size_t)n >= room) {
		s->truncated = true;
		s->n = s->size - 1;
	} else {
		s->n += (size_t)n;
	}
}

void
str_addf(struct str *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	str_vaddf(s, fmt, ap);
	va_end(ap);
}

void
str_add_escaped(struct str *s, struct sv v)
{
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];

		if (c == '\\' || c == '"') {
			char two[2] = { '\\', (char)c };
			str_add(s, sv_make(two, 2));
		} else if (c < 0x20 || c > 0x7e) {
			char four[4] = { '\\', 'x', hex[c >> 4], hex[c & 15] };
			str_add(s, sv_make(four, 4));
		} else {
			str_addc(s, (char)c);
		}
	}
}

struct sv
str_sv(const struct str *s)
{
	return sv_make(s->p, s->n);
}
