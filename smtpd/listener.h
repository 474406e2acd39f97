/* SPDX-License-Identifier: ISC */
/*
 * listener: takes connections from the listening sockets that the master
 * sends, within the limits of connections in all and per client address (an
 * IPv4 address, an IPv6 /64). Over a limit a client gets 421. Without
 * descriptors accepting pauses; the sockets stay open.
 *
 * The limit of the whole system is shared out evenly among the smtpd
 * processes; that per address holds in each process, since the kernel may
 * give one client's connections all to one of them.
 */
#ifndef SMTPD_LISTENER_H
#define SMTPD_LISTENER_H

#include "smtpd/server.h"

struct listeners;

/* Aborts without memory. */
struct listeners *listeners_new(struct server *srv);
void listeners_free(struct listeners **ls);
/* Takes fd. source names a <source> or is "". */
void listeners_add(struct listeners *ls, uint32_t id, int fd,
    struct sv source);
void listeners_close(struct listeners *ls, uint32_t id);
void listeners_close_all(struct listeners *ls);

#endif
