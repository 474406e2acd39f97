/* SPDX-License-Identifier: ISC */
/*
 * landlock: a process gives up files, TCP, and reaching others by abstract
 * sockets and signals, as far as its kernel knows how to. The constants are
 * declared here because the headers of a system may be older than its kernel.
 */
#ifndef COMMON_SYS_LANDLOCK_H
#define COMMON_SYS_LANDLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* Rights on files beneath a directory. */
#define LANDLOCK_READ   0x000cu /* read file, list directory */
#define LANDLOCK_CHANGE 0x61a2u /* write, truncate; make, rename and remove
				 * files and directories */

/* The newest interface of the running kernel, 0 if it has none. */
int landlock_abi(void);
/*
 * A set of rules that forbids all files and TCP, abstract sockets and signals
 * of others. With can_connect TCP may connect, also from a source address
 * with a port of the kernel's choice. -1 and errno if that fails. The
 * descriptor is the caller's.
 */
int landlock_rules_new(int abi, bool can_connect);
/* Allows rights (LANDLOCK_*) beneath the open directory. */
int landlock_beneath(int rules, int abi, int dirfd, uint64_t rights);
/* In force for this thread and what comes from it. Wants no_new_privs. */
int landlock_enter(int rules);

#endif
