/* SPDX-License-Identifier: ISC */
/*
 * priv: what a process gives up before it reads anything from a stranger.
 */
#ifndef COMMON_SYS_PRIV_H
#define COMMON_SYS_PRIV_H

#include <stdbool.h>

/*
 * If user is not NULL: chroot to dir (if not NULL; it must be root's and
 * writable by nobody else), change to the user and its group for good, no core
 * dumps and no debugger. Always: no new privileges. fatal()s if anything
 * fails.
 */
void priv_drop(const char *user, const char *dir);
/* Raises the soft limit of descriptors to the hard one. */
void priv_raise_nofile(void);

#endif
