/* SPDX-License-Identifier: ISC */
/*
 * pinnace-resolver: answers qmgr's RESOLVE with a ROUTE. It holds one cache
 * for all and talks to the name servers of the configuration. A new
 * configuration replaces the servers and what we know of ourselves; the cache
 * stays. When qmgr's channel is replaced, look-ups of the old one are
 * forgotten.
 */
#include <string.h>

#include <event2/event.h>

#include "common/conf/conf.h"
#include "common/ipc/role.h"
#include "common/sys/log.h"
#include "delivery/resolver_route.h"

#define CACHE_ENTRIES 500000u
#define CACHE_BYTES   (128u << 20)
#define ROUTE_BYTES   20480  /* 32 hosts with 16 addresses each */
#define ADDRS_EVERY_S 60     /* addresses of the machine may change */

struct resolver {
	struct role *role;
	struct rcache *cache;
	struct rquery_pool *pool;
	struct rrouter *router;
	struct rself *self;
	struct conf *conf;
	struct chan *qmgr;
	struct event *refresh;
};

static struct resolver resolver;

/* ---- qmgr ---- */

static void
on_route(void *arg, uint64_t token, const struct rroute_result *res)
{
	unsigned char mem[ROUTE_BYTES];
	struct ipc_route m = { .token = token, .ttl_s = res->ttl_s,
		.status = (uint8_t)res->status, .text = res->text };
	struct resolver *rs = arg;
	struct wr w;

	wr_init(&w, mem, sizeof(mem));
	route_encode(&w, &res->route);
	if (w.failed) {
		log_warn("a route does not fit its frame");
		m.status = ROUTE_TEMPORARY;
		m.text = SV("the route is too long");
		wr_init(&w, mem, sizeof(mem));
		route_encode(&w, &(struct route){ 0 });
	}
	m.route = sv_make(mem, w.n);
	if (rs->qmgr != NULL)
		ipc_send_route(rs->qmgr, &m);
}

static void
on_resolve(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_resolve *m = msg;
	struct resolver *rs = arg;

	(void)c;
	rrouter_resolve(rs->router, m->token, m->domain, m->smtp_hosts,
	    m->port);
}

static void
qmgr_drop(struct resolver *rs)
{
	rrouter_cancel_all(rs->router);
	chan_free(&rs->qmgr);
}

static void
on_qmgr_close(struct chan *c, void *arg, const char *why)
{
	(void)c;
	log_info("qmgr is gone: %s", why);
	qmgr_drop(arg);
	role_qmgr_gone();
}

static const struct chan_ops qmgr_ops = {
	.on = { [IPC_RESOLVE] = on_resolve },
	.on_close = on_qmgr_close,
};

/* ---- configuration ---- */

static void
servers_read(struct resolver *rs)
{
	const struct conf_global *g = conf_global(rs->conf);
	struct rquery_server list[RQUERY_SERVERS_MAX];
	size_t n = 0;

	for (uint32_t i = 0; i < g->name_server.n; i++) {
		const struct conf_server *s = &g->name_server.v[i];

		if (n == RQUERY_SERVERS_MAX) {
			log_warn("only the first %d name servers are used",
			    RQUERY_SERVERS_MAX);
			break;
		}
		rquery_server_make(&s->ip, s->port, &list[n++]);
	}
	if (n == 0)
		log_warn("no name server is configured");
	rquery_servers_set(rs->pool, list, n);
}

static void
self_read(struct resolver *rs)
{
	const struct conf_global *g = conf_global(rs->conf);
	struct rself *self = rself_new();

	rself_name_add(self, conf_hostname(rs->conf));
	for (uint32_t i = 0; i < g->host_name.n; i++)
		rself_name_add(self, g->host_name.v[i]);
	for (size_t i = 0; i < conf_nlisteners(rs->conf); i++) {
		const struct conf_listener *l = conf_listener(rs->conf, i);

		rself_listener_add(self, &l->ip, l->port);
	}
	rself_system_addrs_add(self);
	rrouter_self_set(rs->router, self);
	rself_free(&rs->self);
	rs->self = self;
}

static void
on_refresh(evutil_socket_t fd, short what, void *arg)
{
	struct resolver *rs = arg;

	(void)fd;
	(void)what;
	if (rs->conf != NULL)
		self_read(rs);
}

static void
resolver_conf(struct role *r, struct sv bytes)
{
	struct resolver *rs = r->arg;
	struct conf *conf = conf_decode(bytes);

	if (conf == NULL)
		fatal("the configuration does not decode");
	conf_free(&rs->conf);
	rs->conf = conf;
	servers_read(rs);
	self_read(rs);
}

/* ---- the role ---- */

static void
resolver_init(struct role *r)
{
	const struct timeval every = { .tv_sec = ADDRS_EVERY_S };
	struct resolver *rs = &resolver;

	rs->role = r;
	r->arg = rs;
	rs->cache = rcache_new(CACHE_ENTRIES, CACHE_BYTES);
	rs->pool = rquery_pool_new(r->base, rs->cache);
	rs->router = rrouter_new(r->base, rs->pool, on_route, rs);
	rs->refresh = event_new(r->base, -1, EV_PERSIST, on_refresh, rs);
	if (rs->refresh == NULL || event_add(rs->refresh, &every) != 0)
		fatal("no memory for a timer");
}

static void
resolver_peer(struct role *r, enum ipc_role peer, unsigned index, int fd)
{
	struct resolver *rs = r->arg;

	if (peer != R_QMGR)
		fatal("a channel to %s", ipc_role_name(peer));
	qmgr_drop(rs);
	rs->qmgr = chan_new(r->base, fd, R_RESOLVER, peer, index, &qmgr_ops,
	    rs);
}

static const struct role_ops ops = {
	.self = R_RESOLVER,
	.name = "resolver",
	.init = resolver_init,
	.conf = resolver_conf,
	.peer = resolver_peer,
};

int
main(int argc, char **argv)
{
	int rc = role_main(argc, argv, &ops);
	const struct rquery_stats *st = rquery_stats(resolver.pool);

	log_info("asked %llu, from the cache %llu, joined %llu, sent %llu, "
	    "TCP %llu, no answer %llu, ignored packets %llu",
	    (unsigned long long)st->asked, (unsigned long long)st->cached,
	    (unsigned long long)st->joined, (unsigned long long)st->sent,
	    (unsigned long long)st->tcp, (unsigned long long)st->timeouts,
	    (unsigned long long)st->ignored);
	return rc;
}
