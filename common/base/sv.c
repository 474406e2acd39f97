/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/sv.h"

char
ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool
ascii_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

bool
ascii_is_alnum(char c)
{
	char l = ascii_lower(c);

	return ascii_is_digit(c) || (l >= 'a' && l <= 'z');
}

struct sv
sv_from(const char *s)
{
	return sv_make(s, s == NULL ? 0 : strlen(s));
}

bool
sv_eq(struct sv a, struct sv b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool
sv_ieq(struct sv a, struct sv b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++) {
		if (ascii_lower(a.p[i]) != ascii_lower(b.p[i]))
			return false;
	}
	return true;
}

struct sv
sv_head(struct sv v, size_t n)
{
	return sv_make(v.p, n < v.n ? n : v.n);
}

bool
sv_starts(struct sv v, struct sv prefix)
{
	return v.n >= prefix.n && sv_eq(sv_head(v, prefix.n), prefix);
}

bool
sv_istarts(struct sv v, struct sv prefix)
{
	return v.n >= prefix.n && sv_ieq(sv_head(v, prefix.n), prefix);
}

struct sv
sv_from_at(struct sv v, size_t from)
{
	if (from >= v.n)
		return sv_make(v.n == 0 ? v.p : v.p + v.n, 0);
	return sv_make(v.p + from, v.n - from);
}

bool
sv_iends(struct sv v, struct sv suffix)
{
	return v.n >= suffix.n &&
	    sv_ieq(sv_from_at(v, v.n - suffix.n), suffix);
}

struct sv
sv_trim(struct sv v)
{
	while (v.n > 0 && (v.p[0] == ' ' || v.p[0] == '\t'))
		v = sv_make(v.p + 1, v.n - 1);
	while (v.n > 0 && (v.p[v.n - 1] == ' ' || v.p[v.n - 1] == '\t'))
		v.n--;
	return v;
}

ptrdiff_t
sv_find(struct sv v, char c)
{
	const char *at = v.n == 0 ? NULL : memchr(v.p, c, v.n);

	return at == NULL ? -1 : at - v.p;
}

ptrdiff_t
sv_rfind(struct sv v, char c)
{
	for (size_t i = v.n; i > 0; i--) {
		if (v.p[i - 1] == c)
			return (ptrdiff_t)(i - 1);
	}
	return -1;
}

struct sv
sv_cut(struct sv *rest, char sep)
{
	ptrdiff_t at = sv_find(*rest, sep);
	struct sv piece = *rest;

	if (at < 0) {
		*rest = sv_make(NULL, 0);
		return piece;
	}
	*rest = sv_from_at(piece, (size_t)at + 1);
	return sv_head(piece, (size_t)at);
}

bool
sv_to_u64(struct sv v, uint64_t max, uint64_t *out_r)
{
	uint64_t n = 0;

	if (v.n == 0)
		return false;
	for (size_t i = 0; i < v.n; i++) {
		uint64_t d;

		if (!ascii_is_digit(v.p[i]))
			return false;
		d = (uint64_t)(v.p[i] - '0');
		if (n > max / 10 || n * 10 > max - d)
			return false;
		n = n * 10 + d;
	}
	*out_r = n;
	return true;
}

bool
sv_to_cstr(struct sv v, char *dst, size_t dst_size)
{
	if (v.n >= dst_size || sv_find(v, '\0') >= 0)
		return false;
	if (v.n > 0)
		memcpy(dst, v.p, v.n);
	dst[v.n] = '\0';
	return true;
}

char *
sv_dup(struct sv v)
{
	char *s = malloc(v.n + 1);

	if (s == NULL)
		mem_exhausted();
	if (v.n > 0)
		memcpy(s, v.p, v.n);
	s[v.n] = '\0';
	return s;
}
