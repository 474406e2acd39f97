/* SPDX-License-Identifier: ISC */
/*
 * sandbox: what is left to a process when it meets bytes of others. Files are
 * cut off by Landlock, system calls by seccomp, memory and processes by
 * limits; the table is sandbox.def, the reasons stand in doc/security.md.
 * A forbidden file gives EACCES, a forbidden system call ends the process
 * with SIGSYS.
 *
 * Both are for good and for all threads and children that come later, so the
 * order is: sandbox_files() before the first thread, then whatever a role
 * prepares, sandbox_calls() last.
 *
 * Instrumented builds (sanitizers, coverage) have runtimes that open files,
 * map code and trace their own threads at the end: there only the part that
 * they can live with is in force, and a log line says so.
 */
#ifndef COMMON_SYS_SANDBOX_H
#define COMMON_SYS_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

/* A directory that the role holds open: files in it and beneath. */
struct sandbox_dir {
	int fd;
	bool change; /* make, write and remove them, too */
};

/* Says in the log what the running kernel cannot do; for the master, so that
 * it is said once. */
void sandbox_report(void);
/*
 * No file but those beneath dirs, no TCP but what the role is for, no signal
 * and no abstract socket of another process; the parts that the kernel does
 * not know are left out. A descriptor that is not open is skipped. fatal()s if
 * the kernel knows it and it fails.
 */
void sandbox_files(const char *role, const struct sandbox_dir *dirs,
    size_t n);
/* No other system calls than those of the role, if the kernel has filters.
 * fatal()s if that fails. */
void sandbox_calls(const char *role);
/* May the role use this call in any way? For tests. */
bool sandbox_has_call(const char *role, int call);

#endif
