/* SPDX-License-Identifier: ISC */
/*
 * str: a bounded text builder on memory of the caller. It never writes past
 * its end; what does not fit is cut and remembered in `truncated`. The text
 * always ends with a NUL.
 */
#ifndef COMMON_BASE_STR_H
#define COMMON_BASE_STR_H

#include <stdarg.h>

#include "common/base/sv.h"

struct str {
	char *p;
	size_t n;      /* bytes written, without the NUL */
	size_t size;   /* of the memory, with the NUL */
	bool truncated;
};

/* Starts an empty text on mem; size is at least 1. */
void str_init(struct str *s, char *mem, size_t size);
#define STR_ON(s, array) str_init((s), (array), sizeof(array))
void str_add(struct str *s, struct sv v);
void str_addc(struct str *s, char c);
void str_adds(struct str *s, const char *cstr);
void str_addf(struct str *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void str_vaddf(struct str *s, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));
/*
 * Adds text from outside made safe for a log line or a terminal: control
 * bytes, DEL, bytes over 0x7e, backslash and double quote become \xNN, \\
 * and \".
 */
void str_add_escaped(struct str *s, struct sv v);
struct sv str_sv(const struct str *s);

#endif
