/* SPDX-License-Identifier: ISC */
/*
 * Stands in for common/sys/log.c, to look at each line and print none: include
 * once. Oracle: no line break, no terminal escape, nothing that is not ASCII.
 */
#ifndef TESTS_FUZZ_LOGSTUB_H
#define TESTS_FUZZ_LOGSTUB_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/str.h"
#include "common/sys/log.h"

static inline void line_check(const char *fmt, va_list ap)
    __attribute__((format(printf, 1, 0)));

static inline void
line_check(const char *fmt, va_list ap)
{
	char line[8192];
	int n = vsnprintf(line, sizeof(line), fmt, ap);

	for (int i = 0; i < n && i < (int)sizeof(line) - 1; i++) {
		if (line[i] < ' ' || line[i] > '~')
			abort();
	}
}

#define LOG_STUB(name)                  \
	void name(const char *fmt, ...) \
	{                               \
		va_list ap;             \
		va_start(ap, fmt);      \
		line_check(fmt, ap);    \
		va_end(ap);             \
	}
LOG_STUB(log_debug)
LOG_STUB(log_info)
LOG_STUB(log_warn)
LOG_STUB(log_warn_errno)

void
fatal(const char *fmt, ...)
{
	(void)fmt;
	abort();
}

void
fatal_errno(const char *fmt, ...)
{
	(void)fmt;
	abort();
}

const char *
log_safe(struct sv v, char *out, size_t out_size)
{
	struct str s;

	str_init(&s, out, out_size);
	str_add_escaped(&s, v);
	return out;
}

#endif
