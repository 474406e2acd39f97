/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"

#define LOG_LINE_MAX 4096

static struct {
	char name[32];
	unsigned index;
	bool debug;
} self = { "pinnace", 0, false };

static void
no_memory_tell(void)
{
	fatal("out of memory");
}

void
log_init(const char *name, unsigned index, bool debug)
{
	struct str s;

	STR_ON(&s, self.name);
	str_adds(&s, name);
	self.index = index;
	self.debug = debug;
	mem_exhausted_tell(no_memory_tell);
}

void
log_take_fd(int fd)
{
	/* what libc says at an abort() goes there as well */
	if (dup3(fd, STDERR_FILENO, 0) < 0)
		log_warn_errno("the new log file cannot be used");
	close(fd);
}

static void log_line(const char *level, const char *fmt, va_list ap, int err)
    __attribute__((format(printf, 2, 0)));

static void __attribute__((format(printf, 2, 0)))
log_line(const char *level, const char *fmt, va_list ap, int err)
{
	struct wall now = clock_wall();
	time_t sec = (time_t)(now.us / US_PER_SEC);
	char line[LOG_LINE_MAX];
	struct tm tm;
	struct str s;

	gmtime_r(&sec, &tm);
	STR_ON(&s, line);
	str_addf(&s, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ %s[%u] %s: ",
	    tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
	    tm.tm_min, tm.tm_sec, (int)(now.us % US_PER_SEC / 1000),
	    self.name, self.index, level);
	str_vaddf(&s, fmt, ap);
	if (err != 0)
		str_addf(&s, ": %s", strerror(err));
	if (s.n == s.size - 1)
		s.n--;
	s.p[s.n++] = '\n';
	if (write(STDERR_FILENO, s.p, s.n) < 0)
		return; /* nowhere to say so */
}

void
log_debug(const char *fmt, ...)
{
	va_list ap;

	if (!self.debug)
		return;
	va_start(ap, fmt);
	log_line("debug", fmt, ap, 0);
	va_end(ap);
}

void
log_info(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line("info", fmt, ap, 0);
	va_end(ap);
}

void
log_warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line("warning", fmt, ap, 0);
	va_end(ap);
}

void
log_warn_errno(const char *fmt, ...)
{
	int err = errno;
	va_list ap;

	va_start(ap, fmt);
	log_line("warning", fmt, ap, err);
	va_end(ap);
}

void
fatal(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line("fatal", fmt, ap, 0);
	va_end(ap);
	_exit(111);
}

void
fatal_errno(const char *fmt, ...)
{
	int err = errno;
	va_list ap;

	va_start(ap, fmt);
	log_line("fatal", fmt, ap, err);
	va_end(ap);
	_exit(111);
}

const char *
log_safe(struct sv v, char *out, size_t out_size)
{
	struct str s;

	str_init(&s, out, out_size);
	str_add_escaped(&s, v);
	return out;
}
