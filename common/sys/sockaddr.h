/* SPDX-License-Identifier: ISC */
/* sockaddr: what the system calls take, from an address of a route. */
#ifndef COMMON_SYS_SOCKADDR_H
#define COMMON_SYS_SOCKADDR_H

#include <sys/socket.h>

#include "common/mail/route.h"

/* Its length. */
socklen_t sockaddr_make(const struct route_addr *a, uint16_t port,
    struct sockaddr_storage *ss_r);

#endif
