/* SPDX-License-Identifier: ISC */
/*
 * evmem: libevent's allocations. event_new() may fail: its callers look. What
 * event_add() and event_active() allocate inside may not: an event that is
 * never seen would be a timer or a connection that hangs for good, so there
 * the process ends.
 */
#ifndef COMMON_SYS_EVMEM_H
#define COMMON_SYS_EVMEM_H

/* Before anything else of libevent. */
void evmem_init(void);

#endif
