/* SPDX-License-Identifier: ISC */
/*
 * sv: a view of bytes that somebody else owns: pointer and length. It is not
 * a C string: there may be no NUL behind it and there may be NULs inside.
 * A view lives as long as the memory it looks at.
 */
#ifndef COMMON_BASE_SV_H
#define COMMON_BASE_SV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sv {
	const char *p;
	size_t n;
};

#define SV(lit) ((struct sv){ "" lit, sizeof(lit) - 1 })
/* For printf's "%.*s". Only for text that is known to be printable. */
#define SV_FMT(v) (int)(v).n, (v).p

static inline struct sv
sv_make(const void *p, size_t n)
{
	return (struct sv){ p, n };
}

/* View of a C string; NULL gives the empty view. */
struct sv sv_from(const char *s);
bool sv_eq(struct sv a, struct sv b);
/* ASCII case-insensitive; the locale plays no part. */
bool sv_ieq(struct sv a, struct sv b);
bool sv_starts(struct sv v, struct sv prefix);
bool sv_istarts(struct sv v, struct sv prefix);
bool sv_iends(struct sv v, struct sv suffix);
/* Bytes from (clipped to the length) to the end. */
struct sv sv_from_at(struct sv v, size_t from);
struct sv sv_head(struct sv v, size_t n);
/* Without leading and trailing blanks and tabs. */
struct sv sv_trim(struct sv v);
/* Index of the first (last) c, or -1. */
ptrdiff_t sv_find(struct sv v, char c);
ptrdiff_t sv_rfind(struct sv v, char c);
/*
 * Cuts the text up to the first sep off *rest and returns it; *rest is moved
 * behind sep. At the end *rest is the empty view with p == NULL.
 */
struct sv sv_cut(struct sv *rest, char sep);
/*
 * Decimal digits only, whole view, at most max. True and *out_r on success.
 */
bool sv_to_u64(struct sv v, uint64_t max, uint64_t *out_r);
/* Copies into dst with a NUL; false if it does not fit or holds a NUL. */
bool sv_to_cstr(struct sv v, char *dst, size_t dst_size);
/* Heap copy with a NUL behind it; the caller frees. Aborts on no memory. */
char *sv_dup(struct sv v);
char ascii_lower(char c);
bool ascii_is_alnum(char c);
bool ascii_is_digit(char c);

#endif
