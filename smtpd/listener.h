/* SPDX-License-Identifier: ISC */
/*
 * listener: takes connections from the listening sockets that the master
 * sends, within the limits of connections in all and per client address (an
 * IPv4 address, an IPv6 /64). Over a limit a client gets 421. Without
 * descriptors accepting pauses; the sockets stay open.
 *
 * Both limits are shared out evenly among the smtpd processes. Once half of
 * the connections are in use, an address gets no more than a quarter of what
 * is left, so that a crowd from some addresses leaves room for others.
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
