/* SPDX-License-Identifier: ISC */
/*
 * priv: what a process gives up before it reads anything from a stranger.
 */
#ifndef COMMON_SYS_PRIV_H
#define COMMON_SYS_PRIV_H

#include <stddef.h>

/*
 * If user is not NULL: chroot to dir (if not NULL; it must be root's and
 * writable by nobody else) and change to the user and its group for good.
 * Always: no capabilities, also for root, and no new privileges. fatal()s if
 * anything fails.
 */
void priv_drop(const char *user, const char *dir);
/*
 * Gives up every capability that is not in keep (CAP_* of
 * linux/capability.h), for this process and what it starts. Does nothing
 * without capabilities.
 */
void priv_caps_keep(const int *keep, size_t n);
/* No core dumps and no debugger but root's. */
void priv_conceal(void);
/* Raises the soft limit of descriptors to the hard one. */
void priv_raise_nofile(void);

#endif
