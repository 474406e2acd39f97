/* SPDX-License-Identifier: ISC */
/*
 * resolver_query: asks name servers. One question is one struct rquery: it is
 * joined by all who ask the same, sent by UDP from a socket of its own with a
 * random port and id, sent again to the next server when the time is over or
 * the answer is a failure, and sent by TCP when the answer was truncated.
 * Packets that are no answer to it are counted and ignored: the wait goes on.
 *
 * Answers go into the cache. A failure of all servers is an answer too, kept
 * for RQUERY_FAILED_TTL_S.
 */
#ifndef DELIVERY_RESOLVER_QUERY_H
#define DELIVERY_RESOLVER_QUERY_H

#include <sys/socket.h>
#include <bsd/sys/queue.h>

#include "delivery/resolver_cache.h"

#define RQUERY_SERVERS_MAX  8
#define RQUERY_ACTIVE_MAX   1000  /* with a socket; the rest waits in order */
#define RQUERY_TOTAL_MS     20000 /* from the first packet to the last, all
                                   * servers, TCP and CNAMEs included */
#define RQUERY_TCP_MS       5000
#define RQUERY_FAILED_TTL_S 5

struct event_base;
struct rquery;
struct rquery_pool;

struct rquery_server {
	struct sockaddr_storage addr;
	socklen_t len;
	bool secure;       /* its AD bit is believed */
	char text[64];     /* "127.0.0.1" or "127.0.0.1:5353" */
};

struct rquery_wait;
/* set is the waiter's to drop; left_s is how long it holds. */
typedef void rquery_done_fn(struct rquery_wait *w, struct rset *set,
    uint32_t left_s);

/* One who waits; memory of the caller, all zero before the first use. */
struct rquery_wait {
	TAILQ_ENTRY(rquery_wait) link;
	struct rquery *query;  /* NULL: waits for nothing */
	rquery_done_fn *done;
	void *arg;
};

struct rquery_stats {
	uint64_t asked, joined, cached, sent, ignored, timeouts, tcp;
};

/* Aborts without memory. The cache stays the caller's. */
struct rquery_pool *rquery_pool_new(struct event_base *base,
    struct rcache *cache);
/* Nobody may be waiting any more. */
void rquery_pool_free(struct rquery_pool **p);
/* Questions under way go on with the new servers. */
void rquery_servers_set(struct rquery_pool *p,
    const struct rquery_server *list, size_t n);
/* For tests: the time until the first retransmission. */
void rquery_patience_set(struct rquery_pool *p, unsigned first_ms,
    unsigned total_ms, unsigned active_max);

/*
 * Returns the answer (a reference for the caller) if it is known, with
 * *left_s_r; else NULL, and w->done is called later, from the event loop. name
 * as from dnspkt_name_parse(). NULL without w->query: no memory.
 */
struct rset *rquery_ask(struct rquery_pool *p, const char *name,
    uint16_t type, struct rquery_wait *w, uint32_t *left_s_r);
/* The waiter waits no more; does nothing if it does not. */
void rquery_cancel(struct rquery_pool *p, struct rquery_wait *w);

const struct rquery_stats *rquery_stats(const struct rquery_pool *p);

struct route_addr;
/* A server at ip; its AD bit is believed if it is this machine. */
void rquery_server_make(const struct route_addr *ip, uint16_t port,
    struct rquery_server *s_r);

#endif
