/* SPDX-License-Identifier: ISC */
/*
 * notify: tells the service manager how we do, as sd_notify(3) does: one
 * datagram to the socket that NOTIFY_SOCKET names (a path, or an abstract name
 * behind '@'). Without that variable everything here does nothing. Only the
 * master speaks: children have an empty environment.
 */
#ifndef MASTER_NOTIFY_H
#define MASTER_NOTIFY_H

#include <stdint.h>

/* Reads and removes the variables. Before any thread or fork. */
void notify_init(void);
/* Lines such as "READY=1\nSTATUS=..."; never blocks, failures are logged
 * once. */
void notify_send(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Between two WATCHDOG=1, in ms; 0: nobody waits for them. */
int64_t notify_watchdog_ms(void);

#endif
