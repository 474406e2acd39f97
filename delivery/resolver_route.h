/* SPDX-License-Identifier: ISC */
/*
 * resolver_route: from a domain to a route (RFC 5321 section 5): MX records
 * by preference, the domain's own addresses if there is no MX at all, null MX
 * (RFC 7505), never ourselves or what is not better than ourselves; or the
 * hosts of smtp-hosts. One look-up of a route is a job; it waits for DNS
 * answers and ends with one call of done.
 */
#ifndef DELIVERY_RESOLVER_ROUTE_H
#define DELIVERY_RESOLVER_ROUTE_H

#include "common/mail/route.h"
#include "delivery/resolver_query.h"
#include "delivery/resolver_self.h"

#define RROUTE_TTL_MAX      3600 /* s */
#define RROUTE_TEMP_TTL_MAX 15   /* s: ask again soon */
#define RROUTE_JOBS_MAX     5000 /* of some 8 KB; the rest waits in order */

struct rroute_result {
	enum route_status status;
	uint32_t ttl_s;     /* 1..RROUTE_TTL_MAX */
	struct sv text;     /* not ROUTE_OK: a sentence */
	struct route route; /* ROUTE_OK */
};

/* Everything in res ends with the call. */
typedef void rroute_done_fn(void *arg, uint64_t token,
    const struct rroute_result *res);

struct rrouter;

/* Aborts without memory. pool and self stay the caller's. */
struct rrouter *rrouter_new(struct event_base *base, struct rquery_pool *pool,
    rroute_done_fn *done, void *arg);
void rrouter_free(struct rrouter **r);
/* Used from now on; jobs under way too. */
void rrouter_self_set(struct rrouter *r, const struct rself *self);
/* done comes during the call if everything is known, or later. domain and
 * smtp_hosts ("" for none) may be any bytes; port is that of hosts that name
 * none. */
void rrouter_resolve(struct rrouter *r, uint64_t token, struct sv domain,
    struct sv smtp_hosts, uint16_t port);
/* Forgets all jobs: done is not called for them. */
void rrouter_cancel_all(struct rrouter *r);
/* Under way and waiting. */
size_t rrouter_jobs(const struct rrouter *r);
/* For tests: instead of RROUTE_JOBS_MAX. */
void rrouter_jobs_max_set(struct rrouter *r, size_t max);

#endif
