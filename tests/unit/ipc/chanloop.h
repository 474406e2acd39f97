/* SPDX-License-Identifier: ISC */
/* For tests of channels: the loop that both ends are in. */
#ifndef TESTS_UNIT_IPC_CHANLOOP_H
#define TESTS_UNIT_IPC_CHANLOOP_H

#include <event2/event.h>

static struct event_base *base;

/* Everything that is on its way comes. */
static inline void
spin(void)
{
	for (int i = 0; i < 20; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

#endif
