/* SPDX-License-Identifier: ISC */
/*
 * resolver_self: is that host ourselves? By name (host-name), or because we
 * listen on its address and port. RFC 5321 5.1: mail must not be relayed to
 * us, nor to an MX that is not better than us.
 */
#ifndef DELIVERY_RESOLVER_SELF_H
#define DELIVERY_RESOLVER_SELF_H

#include "common/mail/route.h"

struct rself;

/* Knows nothing yet. Aborts without memory, as the functions below do. */
struct rself *rself_new(void);
void rself_free(struct rself **s);
void rself_name_add(struct rself *s, struct sv name);
/* 0.0.0.0 and :: stand for every address of the machine. */
void rself_listener_add(struct rself *s, const struct route_addr *ip,
    uint16_t port);
/* An address of the machine. */
void rself_addr_add(struct rself *s, const struct route_addr *ip);
/* Adds all addresses of all interfaces. */
void rself_system_addrs_add(struct rself *s);

bool rself_is_name(const struct rself *s, struct sv name);
bool rself_is_addr(const struct rself *s, const struct route_addr *ip,
    uint16_t port);

#endif
