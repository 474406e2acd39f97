/* SPDX-License-Identifier: ISC */
/*
 * heartbeat: how the master sees that a child's event loop still turns. Each
 * child shares one page of memory with the master and counts up in it: from a
 * timer of its loop, and by heartbeat_beat() in work that legitimately holds
 * the loop for long (recovery of a large spool). The master only compares; it
 * takes nothing from the page for granted.
 *
 * The page is a memory file of fixed size, sealed, so that a child that was
 * taken over cannot make it shorter under the master.
 *
 * Why no frame: a frame needs a loop that turns to be sent, so recovery, which
 * runs inside of one callback, could not speak; and a counter costs nothing.
 */
#ifndef COMMON_IPC_HEARTBEAT_H
#define COMMON_IPC_HEARTBEAT_H

#include <stdint.h>

#define HEARTBEAT_MS 1000 /* of the loop's timer */

struct event_base;

struct heartbeat {
	_Atomic uint64_t beats;
};

/* ---- the master's side ---- */

/* A new page: its descriptor, close-on-exec, or -1 with errno. */
int heartbeat_make(void);
/* NULL with errno. Lives as long as the process. */
struct heartbeat *heartbeat_map(int fd);
uint64_t heartbeat_count(const struct heartbeat *h);

/* ---- the child's side; there is one page per process ---- */

/* Takes fd if it is such a page; leaves anything else alone (a test's role
 * without a master). */
void heartbeat_take(int fd);
/* Beats from the loop from now on. Aborts without memory. */
void heartbeat_start(struct event_base *base);
/* Beats. Cheap enough for each of a million records; without a page it does
 * nothing. */
void heartbeat_beat(void);

#endif
