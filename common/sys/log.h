/* SPDX-License-Identifier: ISC */
/*
 * log: one line per event on descriptor 2, which the master has opened on the
 * log file:
 *
 *	2026-01-31T14:05:09.123Z smtpd[0] info: text
 *
 * Text from outside goes through str_add_escaped() (or log_safe()) first.
 * Credentials are never logged.
 */
#ifndef COMMON_SYS_LOG_H
#define COMMON_SYS_LOG_H

#include "common/base/sv.h"

/* name and index are shown on each line. */
void log_init(const char *name, unsigned index, bool debug);
/* From now on lines go there. The descriptor is taken. */
void log_take_fd(int fd);
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* With ": " and the text of errno. */
void log_warn_errno(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));
/* Logs and exits with 111 (the system failed). Only at start-up, for a broken
 * invariant, or when the channel to the master is gone. */
void fatal(const char *fmt, ...)
    __attribute__((format(printf, 1, 2), noreturn));
void fatal_errno(const char *fmt, ...)
    __attribute__((format(printf, 1, 2), noreturn));
/* Escaped copy in out for use with %s. */
const char *log_safe(struct sv v, char *out, size_t out_size);

#endif
