/* SPDX-License-Identifier: ISC */
/*
 * Routes of queues: asked of the resolver, kept as the encoded bytes that a
 * SESSION_OPEN carries. A look-up that the resolver's death interrupted is
 * asked again of its successor; one that it lacked memory for, a second later.
 */
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "common/base/siphash.h"
#include "common/base/str.h"
#include "common/sys/log.h"
#include "qmgr/qmgr.h"

#define AGAIN_S 1 /* ROUTE_AGAIN: asked again after that */

struct qroute {
	uint64_t token;         /* of the look-up under way, 0: none */
	uint64_t hash;
	char *key;              /* domain/vmta */
	char *domain, *vmta, *smtp_hosts;
	uint16_t port;
	bool again;             /* with token: to be asked again */
	unsigned char *bytes;   /* the encoded route, without what is left out */
	size_t nbytes;
	unsigned char *full;    /* with it; NULL: the same */
	size_t nfull;
};

struct routes {
	struct htab by_name;
	struct htab by_token;
	uint64_t next_token;
	struct event *again;    /* pending while a look-up waits for it */
	uint64_t key[2];
	uint64_t site_key[2];   /* the same in each life: names are kept */
	struct arena arena;     /* of what routes_of() told last */
	struct route told;
};

static uint64_t
name_hash_of(const void *e)
{
	return ((const struct qroute *)e)->hash;
}

static uint64_t
token_hash_of(const void *e)
{
	return ((const struct qroute *)e)->token;
}

static bool
name_match(const void *e, const void *key)
{
	return strcmp(((const struct qroute *)e)->key, key) == 0;
}

static bool
token_match(const void *e, const void *key)
{
	return ((const struct qroute *)e)->token == *(const uint64_t *)key;
}

static void on_again(evutil_socket_t fd, short what, void *arg);

void
routes_init(struct qmgr *q)
{
	q->routes = calloc(1, sizeof(*q->routes));
	if (q->routes == NULL)
		fatal("out of memory");
	q->routes->again = evtimer_new(q->role->base, on_again, q);
	if (q->routes->again == NULL)
		fatal("out of memory");
	arena_init(&q->routes->arena, IPC_ROUTE_MAX * 4);
	htab_init(&q->routes->by_name, name_hash_of);
	htab_init(&q->routes->by_token, token_hash_of);
	arc4random_buf(q->routes->key, sizeof(q->routes->key));
}

static struct qroute *
route_get(struct routes *r, struct sv domain, struct sv vmta, bool create)
{
	char key[1024];
	struct qroute *qr;
	struct str s;
	uint64_t hash;

	STR_ON(&s, key);
	str_add(&s, domain);
	str_addc(&s, '/');
	str_add(&s, vmta);
	hash = siphash24(r->key, s.p, s.n);
	qr = htab_find(&r->by_name, hash, name_match, key);
	if (qr != NULL || !create)
		return qr;
	qr = calloc(1, sizeof(*qr));
	if (qr == NULL)
		fatal("out of memory");
	qr->hash = hash;
	qr->key = sv_dup(str_sv(&s));
	qr->domain = sv_dup(domain);
	qr->vmta = sv_dup(vmta);
	if (htab_insert(&r->by_name, qr) != 0)
		fatal("out of memory");
	return qr;
}

static void
route_forget(struct routes *r, struct qroute *qr)
{
	htab_remove(&r->by_name, qr);
	if (qr->token != 0)
		htab_remove(&r->by_token, qr);
	free(qr->key);
	free(qr->domain);
	free(qr->vmta);
	free(qr->smtp_hosts);
	free(qr->bytes);
	free(qr->full);
	free(qr);
}

struct sv
routes_find(struct qmgr *q, struct sv domain, struct sv vmta)
{
	struct qroute *qr = route_get(q->routes, domain, vmta, false);

	return qr == NULL ? SV("") : sv_make(qr->bytes, qr->nbytes);
}

const struct route *
routes_of(void *arg, const struct squeue *sq, bool *relay_r)
{
	struct routes *r = ((struct qmgr *)arg)->routes;
	const struct qroute *qr = route_get(r, squeue_domain(sq),
	    squeue_vmta(sq), false);

	arena_reset(&r->arena);
	if (qr == NULL || !route_decode(sv_make(qr->bytes, qr->nbytes),
	    &r->arena, &r->told))
		return NULL;
	*relay_r = qr->smtp_hosts[0] != '\0';
	return &r->told;
}

/* Those that are left stand in the order of the route. */
struct sv
routes_left(struct qmgr *q, const struct sched_session *se, struct buf *b)
{
	struct route_addr addrs[ROUTE_HOSTS_MAX * ROUTE_ADDRS_MAX];
	struct route_host hosts[ROUTE_HOSTS_MAX];
	struct route left = { .hosts = hosts };
	const struct route *r;
	bool relay;
	struct wr w;

	r = routes_of(q, se->queue, &relay);
	for (uint32_t i = 0; r != NULL && i < se->ntargets; i++) {
		struct sched_target t = se->targets[i];

		if (t.host >= r->nhosts || t.addr >= r->hosts[t.host].naddrs)
			break; /* it is another route */
		if (i == 0 || se->targets[i - 1].host != t.host) {
			hosts[left.nhosts] = r->hosts[t.host];
			hosts[left.nhosts].addrs = &addrs[i];
			hosts[left.nhosts++].naddrs = 0;
		}
		addrs[i] = r->hosts[t.host].addrs[t.addr];
		hosts[left.nhosts - 1].naddrs++;
	}
	wr_init_buf(&w, b);
	route_encode(&w, &left);
	return buf_sv(b);
}

static void
resolve_send(struct qmgr *q, const struct qroute *qr)
{
	struct ipc_resolve m = {
		.token = qr->token,
		.domain = sv_from(qr->domain),
		.smtp_hosts = sv_from(qr->smtp_hosts),
		.port = qr->port,
	};

	if (q->resolver != NULL)
		ipc_send_resolve(q->resolver, &m);
}

bool
routes_ask(const struct qmgr *q, uint64_t token, struct sv domain,
    struct sv vmta)
{
	const struct conf_domain *own = conf_domain_find(q->conf, vmta,
	    domain);

	if (q->resolver == NULL)
		return false;
	ipc_send_resolve(q->resolver, &(struct ipc_resolve){
	    .token = token | ROUTES_ASKED, .domain = domain,
	    .smtp_hosts = own->smtp_hosts,
	    .port = (uint16_t)own->default_smtp_port });
	return true;
}

void
routes_resolve(void *arg, struct squeue *sq, struct sv domain, struct sv vmta,
    const struct conf_domain *conf)
{
	struct qmgr *q = arg;
	/* not those of its rollup, which conf may be */
	const struct conf_domain *own = conf_domain_find(q->conf, vmta,
	    domain);
	struct routes *r = q->routes;
	struct qroute *qr = route_get(r, domain, vmta, true);

	(void)sq;
	(void)conf;
	if (qr->token != 0)
		return; /* under way */
	free(qr->smtp_hosts);
	qr->smtp_hosts = sv_dup(own->smtp_hosts);
	qr->port = (uint16_t)own->default_smtp_port;
	qr->token = ++r->next_token;
	if (htab_insert(&r->by_token, qr) != 0)
		fatal("out of memory");
	resolve_send(q, qr);
}

static unsigned char *
bytes_copy(struct sv bytes)
{
	unsigned char *copy = malloc(bytes.n == 0 ? 1 : bytes.n);

	if (copy == NULL)
		fatal("out of memory");
	if (bytes.n > 0)
		memcpy(copy, bytes.p, bytes.n);
	return copy;
}

static void
route_store(struct qroute *qr, struct sv bytes)
{
	free(qr->full);
	free(qr->bytes);
	qr->full = NULL;
	qr->bytes = bytes_copy(bytes);
	qr->nbytes = bytes.n;
}

const char *
route_status_code(enum route_status s)
{
	switch (s) {
	case ROUTE_NO_DOMAIN:
		return "5.1.2";
	case ROUTE_NULL_MX:
		return "5.1.10";
	case ROUTE_UNUSABLE:
		return "5.4.4";
	case ROUTE_SELF:
		return "5.4.6";
	case ROUTE_OK:
	case ROUTE_TEMPORARY:
	case ROUTE_AGAIN:
	case ROUTE_STATUSES:
	default:
		return "4.4.3";
	}
}

/* The queue knows of nothing: its look-up is still under way. */
static void
ask_later(struct qmgr *q, struct qroute *qr)
{
	static const struct timeval later = { .tv_sec = AGAIN_S };

	qr->again = true;
	if (!evtimer_pending(q->routes->again, NULL))
		event_add(q->routes->again, &later);
}

static void
on_again(evutil_socket_t fd, short what, void *arg)
{
	struct qmgr *q = arg;
	struct qroute *qr;
	size_t at = 0, n = 0;

	(void)fd;
	(void)what;
	while ((qr = htab_next(&q->routes->by_token, &at)) != NULL) {
		if (!qr->again)
			continue;
		qr->again = false;
		resolve_send(q, qr);
		n++;
	}
	log_warn("the resolver lacks memory or descriptors: asked again for "
	    "%zu domains", n);
}

/* ---- hosts that are left out ---- */

/* The hosts of the route but this one; false if it is not one of them. */
static bool
hosts_without(const struct route *r, struct sv host,
    struct route_host *left, uint8_t *nleft)
{
	*nleft = 0;
	for (unsigned i = 0; i < r->nhosts; i++)
		if (!sv_ieq(r->hosts[i].name, host))
			left[(*nleft)++] = r->hosts[i];
	return *nleft < r->nhosts;
}

static void
route_less(struct qroute *qr, const struct route *less)
{
	struct buf b;
	struct wr w;

	buf_init(&b, IPC_ROUTE_MAX);
	wr_init_buf(&w, &b);
	route_encode(&w, less);
	if (!w.failed) {
		if (qr->full == NULL) {
			qr->full = qr->bytes;
			qr->nfull = qr->nbytes;
		} else {
			free(qr->bytes);
		}
		qr->bytes = bytes_copy(buf_sv(&b));
		qr->nbytes = buf_len(&b);
	}
	buf_fini(&b);
}

/* Several sessions may say so of one host; of a host that is not in the route
 * as it was found nothing can be said. */
bool
routes_skip(void *arg, const struct squeue *sq, struct sv host,
    const struct conf_reply *rule, struct sv reply)
{
	struct route_host left[ROUTE_HOSTS_MAX];
	struct route r, full, less = { .hosts = left };
	struct qmgr *q = arg;
	struct qroute *qr = route_get(q->routes, squeue_domain(sq),
	    squeue_vmta(sq), false);

	arena_reset(&q->env_arena);
	if (qr == NULL || !route_decode(sv_make(qr->bytes, qr->nbytes),
	    &q->env_arena, &r))
		return false;
	if (hosts_without(&r, host, left, &less.nhosts)) {
		if (less.nhosts == 0)
			return false;
		route_less(qr, &less);
		log_info("%.*s: %.*s is left out until the next look-up, by "
		    "%.*s:%u: %.*s", SV_FMT(squeue_name(sq)), SV_FMT(host),
		    SV_FMT(rule->file), rule->line, SV_FMT(reply));
		return true;
	}
	return qr->full != NULL && route_decode(sv_make(qr->full, qr->nfull),
	    &q->env_arena, &full) && hosts_without(&full, host, left,
	    &less.nhosts);
}

/* ---- sites ---- */

static int
by_name(const void *a, const void *b)
{
	const struct sv *x = a, *y = b;
	int c = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);

	return c != 0 ? c : (x->n > y->n) - (x->n < y->n);
}

/* The names of the hosts that are preferred, in order, each once. */
static size_t
best_hosts(const struct route *r, struct sv hosts[ROUTE_HOSTS_MAX])
{
	size_t n = 0, k = 0;

	for (unsigned i = 0; i < r->nhosts; i++)
		if (r->hosts[i].preference == r->hosts[0].preference)
			hosts[n++] = r->hosts[i].name;
	qsort(hosts, n, sizeof(*hosts), by_name);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || !sv_eq(hosts[i], hosts[k - 1]))
			hosts[k++] = hosts[i];
	return k;
}

/* "mx1.a.org,mx2.a.org", as long as there are few. */
static void
site_name(const struct routes *r, const struct sv *hosts, size_t n,
    struct str *out)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t key[2] = { sum, 0 };

		if (i < ROUTES_SITE_HOSTS)
			str_addf(out, "%s%.*s", i == 0 ? "" : ",",
			    SV_FMT(hosts[i]));
		sum = siphash24(i == 0 ? r->site_key : key, hosts[i].p,
		    hosts[i].n);
	}
	if (n > ROUTES_SITE_HOSTS)
		str_addf(out, ",+%zu:%016llx", n - ROUTES_SITE_HOSTS,
		    (unsigned long long)sum);
}

/* Where mail goes by smtp-hosts says nothing about others. A domain that is
 * its own host has no other in its site. */
bool
routes_site(const struct qmgr *q, struct sv domain, struct sv vmta,
    const struct route *r, char name[ROUTES_SITE_MAX])
{
	const struct conf_domain *own = conf_domain_find(q->conf, vmta,
	    domain);
	struct sv hosts[ROUTE_HOSTS_MAX], rollup;
	struct str s;
	size_t n;

	str_init(&s, name, ROUTES_SITE_MAX);
	if (own->smtp_hosts.n > 0 || own->disable_mx_rollup || r->nhosts == 0)
		return false;
	n = best_hosts(r, hosts);
	rollup = conf_rollup_of(q->conf, hosts, n);
	str_add(&s, rollup);
	if (rollup.n == 0 && !(n == 1 && sv_ieq(hosts[0], domain)))
		site_name(q->routes, hosts, n, &s);
	return rollup.n > 0;
}

static void
site_tell(struct qmgr *q, struct squeue *sq, const struct qroute *qr)
{
	char name[ROUTES_SITE_MAX] = "";
	bool rollup = false;
	struct route r;

	arena_reset(&q->env_arena);
	if (route_decode(sv_make(qr->bytes, qr->nbytes), &q->env_arena, &r))
		rollup = routes_site(q, sv_from(qr->domain),
		    sv_from(qr->vmta), &r, name);
	sched_site(q->sched, qmgr_now(), sq, sv_from(name), rollup);
}

bool
routes_leaves_out(struct qmgr *q, struct sv domain, struct sv vmta,
    struct sv host)
{
	struct qroute *qr = route_get(q->routes, domain, vmta, false);
	struct route full, used;
	unsigned n = 0;

	if (qr == NULL || qr->full == NULL ||
	    !route_decode(sv_make(qr->full, qr->nfull), &q->env_arena,
	    &full) || !route_decode(sv_make(qr->bytes, qr->nbytes),
	    &q->env_arena, &used))
		return false;
	for (unsigned i = 0; i < full.nhosts; i++)
		n += sv_ieq(full.hosts[i].name, host);
	for (unsigned i = 0; i < used.nhosts; i++)
		if (sv_ieq(used.hosts[i].name, host))
			return false;
	return n > 0;
}

static void
on_route(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_route *m = msg;
	struct qmgr *q = arg;
	struct qroute *qr = htab_find(&q->routes->by_token, m->token,
	    token_match, &m->token);
	enum route_status status = m->status < ROUTE_STATUSES ?
	    (enum route_status)m->status : ROUTE_TEMPORARY;
	struct sched_why why = {
		.status = sv_from(route_status_code(status)),
		.diag = m->text,
	};
	struct squeue *sq;

	(void)c;
	if ((m->token & ROUTES_ASKED) != 0)
		control_route(q, m->token & ~ROUTES_ASKED, status, m);
	if (qr == NULL)
		return;
	if (status == ROUTE_AGAIN) {
		ask_later(q, qr);
		return;
	}
	htab_remove(&q->routes->by_token, qr);
	qr->token = 0;
	if (status == ROUTE_OK)
		route_store(qr, m->route);
	sq = sched_queue_find(q->sched, sv_from(qr->domain),
	    sv_from(qr->vmta));
	if (sq != NULL && status == ROUTE_OK)
		site_tell(q, sq, qr);
	if (sq != NULL)
		sched_route(q->sched, qmgr_now(), sq, status,
		    (int64_t)m->ttl_s * 1000, &why);
	if (sq == NULL || status != ROUTE_OK)
		route_forget(q->routes, qr);
}

/* As many routes as queues: what else would bound them. */
void
routes_queue_gone(void *arg, struct squeue *sq)
{
	struct qmgr *q = arg;
	struct qroute *qr = route_get(q->routes, squeue_domain(sq),
	    squeue_vmta(sq), false);

	/* an answer that is awaited finds no queue, and the route goes then */
	if (qr != NULL && qr->token == 0)
		route_forget(q->routes, qr);
}

static void
on_batch_end(struct chan *c, void *arg)
{
	(void)c;
	qmgr_turn_end(arg);
}

static void
on_close(struct chan *c, void *arg, const char *why)
{
	struct qmgr *q = arg;

	(void)c;
	log_debug("the resolver's channel: %s", why);
	chan_free(&q->resolver);
	control_peer_gone(q, ASKS_RESOLVER);
	qmgr_stop_check(q);
}

static const struct chan_ops resolver_ops = {
	.on = { [IPC_ROUTE] = on_route },
	.on_close = on_close,
	.on_batch_end = on_batch_end,
};

void
routes_chan_set(struct qmgr *q, int fd)
{
	struct qroute *qr;
	size_t at = 0;

	chan_free(&q->resolver);
	control_peer_gone(q, ASKS_RESOLVER);
	q->resolver = chan_new(q->role->base, fd, R_QMGR, R_RESOLVER, 0,
	    &resolver_ops, q);
	while ((qr = htab_next(&q->routes->by_token, &at)) != NULL) {
		qr->again = false;
		resolve_send(q, qr);
	}
}
