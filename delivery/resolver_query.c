/* SPDX-License-Identifier: ISC */
#include <netinet/in.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bsd/stdlib.h>
#include <bsd/string.h>
#include <event2/event.h>

#include "common/base/htab.h"
#include "common/base/str.h"
#include "common/mail/route.h"
#include "common/sys/clock.h"
#include "common/sys/conn.h"
#include "common/sys/log.h"
#include "common/sys/sockaddr.h"
#include "delivery/resolver_query.h"

#define FIRST_MS       1500
#define DOWN_AFTER     3      /* timeouts in a row */
#define DOWN_MS        10000  /* asked last for so long */
#define PACKET_MAX     65535
#define PACKETS_A_TURN 16     /* of one socket, then the others */
#define WHY_SIZE       256

TAILQ_HEAD(rquery_waits, rquery_wait);
TAILQ_HEAD(rquery_list, rquery);

struct rquery {
	TAILQ_ENTRY(rquery) fifo;  /* while !active */
	struct rquery_pool *pool;
	struct rquery_waits waits;
	uint64_t hash;
	uint16_t type;
	bool active;               /* counts against the cap */
	bool edns;
	uint8_t hops;              /* CNAMEs so far */
	uint32_t ttl_s;            /* of these CNAMEs */
	unsigned attempt;          /* timeouts so far */
	unsigned server;           /* index of the one that is asked */
	unsigned failed;           /* mask: answered, but not usably */
	unsigned refused;          /* mask: not reachable in this attempt */
	struct mono started;
	int fd;
	struct event *ev_read;     /* with fd */
	struct event *timer;       /* while active */
	struct conn *tcp;
	struct dnspkt_query pkt;
	char name[DNSPKT_NAME_SIZE]; /* the question */
	char ask[DNSPKT_NAME_SIZE];  /* behind the CNAMEs so far */
	char why[WHY_SIZE];          /* the last failure */
};

struct server {
	struct rquery_server s;
	unsigned timeouts;         /* in a row */
	struct mono asked_last_until;
};

struct rquery_pool {
	struct event_base *base;
	struct rcache *cache;
	struct htab table;         /* of all queries */
	struct rquery_list fifo;
	struct event *pump;
	unsigned active, active_max;
	unsigned first_ms, total_ms;
	uint64_t key[2];
	struct server servers[RQUERY_SERVERS_MAX];
	unsigned nservers;
	unsigned rotation;
	struct rquery_stats stats;
	struct dnspkt_answer answer;        /* of the packet in hand */
	unsigned char packet[PACKET_MAX];
};

static void query_send(struct rquery *q);

/* ---- the end of a query ---- */

static void
query_close(struct rquery *q)
{
	conn_free(&q->tcp);
	if (q->ev_read != NULL)
		event_free(q->ev_read);
	q->ev_read = NULL;
	if (q->fd >= 0)
		close(q->fd);
	q->fd = -1;
}

/* Out of the table, the socket closed; only the memory is left. */
static void
query_detach(struct rquery *q)
{
	struct rquery_pool *p = q->pool;

	htab_remove(&p->table, q);
	query_close(q);
	if (q->timer != NULL)
		event_free(q->timer);
	q->timer = NULL;
	if (!q->active) {
		TAILQ_REMOVE(&p->fifo, q, fifo);
		return;
	}
	p->active--;
	if (!TAILQ_EMPTY(&p->fifo))
		event_active(p->pump, 0, 0);
}

/* Takes the reference; set may be NULL: we lack memory or a descriptor. */
static void
query_finish(struct rquery *q, struct rset *set)
{
	uint32_t left = set != NULL && set->ttl_s > 0 ? set->ttl_s : 1;
	struct rquery_pool *p = q->pool;
	struct rquery_wait *w;

	query_detach(q);
	if (set != NULL)
		rcache_put(p->cache, clock_mono(), sv_from(q->name), q->type,
		    set);
	/* A waiter may cancel others of the list: they are still in it. */
	while ((w = TAILQ_FIRST(&q->waits)) != NULL) {
		TAILQ_REMOVE(&q->waits, w, link);
		w->query = NULL;
		w->done(w, set != NULL ? rset_hold(set) : NULL, left);
	}
	rset_drop(&set);
	free(q);
}

static void
query_fail(struct rquery *q)
{
	query_finish(q, rset_failed(q->type, sv_from(q->why),
	    RQUERY_FAILED_TTL_S));
}

/* ---- which server, how long ---- */

static struct server *
query_server(struct rquery *q)
{
	return &q->pool->servers[q->server];
}

static void
why_set(struct rquery *q, const char *what)
{
	struct str s;

	STR_ON(&s, q->why);
	str_addf(&s, "%s from %s", what, query_server(q)->s.text);
}

static bool
server_is_down(const struct server *s, struct mono now)
{
	return s->timeouts >= DOWN_AFTER && now.us < s->asked_last_until.us;
}

/* From q->server on, round and round: one that neither failed nor is down; or
 * else one that is down. False if there is none. */
static bool
server_pick(struct rquery *q)
{
	const struct rquery_pool *p = q->pool;
	struct mono now = clock_mono();

	for (int down_too = 0; down_too < 2; down_too++) {
		for (unsigned i = 0; i < p->nservers; i++) {
			unsigned at = (q->server + i) % p->nservers;

			if ((q->failed | q->refused) & 1u << at)
				continue;
			if (!down_too && server_is_down(&p->servers[at], now))
				continue;
			q->server = at;
			return true;
		}
	}
	return false;
}

static void
server_timed_out(struct server *s)
{
	s->asked_last_until = mono_add_ms(clock_mono(), DOWN_MS);
	if (++s->timeouts == DOWN_AFTER)
		log_warn("name server %s does not answer", s->s.text);
}

static void
server_answered(struct server *s)
{
	if (s->timeouts >= DOWN_AFTER)
		log_info("name server %s answers again", s->s.text);
	s->timeouts = 0;
}

static int64_t
query_left_ms(const struct rquery *q)
{
	return q->pool->total_ms - mono_diff_ms(clock_mono(), q->started);
}

static void
timer_set(struct rquery *q, int64_t ms)
{
	struct timeval tv = { .tv_sec = ms / 1000,
		.tv_usec = (suseconds_t)(ms % 1000) * 1000 };

	event_add(q->timer, &tv);
}

/* 1.5 s, 3 s, then 5 s each. */
static void
timer_set_attempt(struct rquery *q)
{
	int64_t ms = q->pool->first_ms, left = query_left_ms(q);

	if (q->attempt == 1)
		ms *= 2;
	else if (q->attempt > 1)
		ms = ms * 10 / 3;
	if (ms > left)
		ms = left > 1 ? left : 1;
	timer_set(q, ms);
}

/* ---- outcomes of one server ---- */

/* We lack something: that says nothing about the server. */
static bool
is_lack(int err)
{
	return err == ENOMEM || err == ENOBUFS || err == EMFILE ||
	    err == ENFILE;
}

/* The server gave no usable answer: the next one, if there is one. */
static void
server_failed(struct rquery *q, const char *what)
{
	why_set(q, what);
	query_close(q);
	q->failed |= 1u << q->server;
	if (query_left_ms(q) <= 0) {
		query_fail(q);
		return;
	}
	query_send(q);
}

/* Nothing there, or no way there: another one now, the same one when the
 * time of this attempt is over. */
static void
server_unreachable(struct rquery *q, int err)
{
	char text[128];
	struct str s;

	STR_ON(&s, text);
	str_addf(&s, "no answer (%s)", strerror(err));
	why_set(q, text);
	query_close(q);
	q->refused |= 1u << q->server;
	if (server_pick(q))
		query_send(q);
}

static void
answer_final(struct rquery *q, struct dnspkt_answer *a)
{
	bool secure = a->ad && q->hops == 0 && query_server(q)->s.secure;

	if (q->ttl_s < a->ttl_s)
		a->ttl_s = q->ttl_s;
	query_finish(q, rset_from_answer(q->type, a, secure));
}

/* The chain of CNAMEs leads out of the packet. */
static void
answer_open(struct rquery *q, const struct dnspkt_answer *a)
{
	q->hops = (uint8_t)(q->hops + a->hops);
	if (q->hops > DNSPKT_HOPS_MAX) {
		server_failed(q, "a loop or too long a chain of CNAMEs");
		return;
	}
	if (query_left_ms(q) <= 0) {
		why_set(q, "no answer in time, only CNAMEs,");
		query_fail(q);
		return;
	}
	if (a->ttl_s < q->ttl_s)
		q->ttl_s = a->ttl_s;
	strlcpy(q->ask, a->name, sizeof(q->ask));
	query_close(q);
	query_send(q);
}

static void
answer_take(struct rquery *q)
{
	struct dnspkt_answer *a = &q->pool->answer;

	server_answered(query_server(q));
	switch (a->rcode) {
	case DNS_NOERROR:
	case DNS_NXDOMAIN:
		if (a->open)
			answer_open(q, a);
		else
			answer_final(q, a);
		return;
	case DNS_FORMERR:
	case DNS_NOTIMP:
		/* RFC 6891 7: a server that does not know EDNS */
		if (q->edns) {
			q->edns = false;
			query_close(q);
			query_send(q);
			return;
		}
		break;
	default:
		break;
	}
	server_failed(q, dnspkt_rcode_name(a->rcode));
}

/* ---- TCP ---- */

static void
on_tcp_connected(struct conn *c, void *arg)
{
	struct rquery *q = arg;
	unsigned char len[2] = { (unsigned char)(q->pkt.len >> 8),
		(unsigned char)q->pkt.len };

	if (buf_add(conn_out(c), len, sizeof(len)) != 0 ||
	    buf_add(conn_out(c), q->pkt.wire, q->pkt.len) != 0)
		query_finish(q, NULL);
}

static void
on_tcp_data(struct conn *c, void *arg)
{
	const unsigned char *p = buf_data(conn_in(c));
	size_t n = buf_len(conn_in(c)), want;
	struct rquery *q = arg;

	if (n < 2)
		return;
	want = (size_t)p[0] << 8 | p[1];
	if (n - 2 < want)
		return;
	switch (dnspkt_answer_parse(&q->pkt, p + 2, want, true,
	    &q->pool->answer)) {
	case DNSPKT_ANSWER:
		answer_take(q);
		break;
	case DNSPKT_BROKEN:
		server_failed(q, q->pool->answer.why);
		break;
	default:
		/* It is the server's own connection: nobody else's packet. */
		server_failed(q, "an answer to another question");
		break;
	}
}

static void
on_tcp_close(struct conn *c, void *arg, int err)
{
	struct rquery *q = arg;

	(void)c;
	if (err != 0)
		server_failed(q, "a broken TCP connection");
	else
		server_failed(q, "end of file (TCP)");
}

static void
on_tcp_timeout(struct conn *c, void *arg)
{
	(void)c;
	server_failed(arg, "no answer in time (TCP)");
}

static const struct conn_ops tcp_ops = {
	.on_connected = on_tcp_connected,
	.on_data = on_tcp_data,
	.on_close = on_tcp_close,
	.on_timeout = on_tcp_timeout,
};

static void
tcp_start(struct rquery *q)
{
	const struct rquery_server *s = &query_server(q)->s;
	int64_t left;

	q->pool->stats.tcp++;
	query_close(q);
	event_del(q->timer);
	q->tcp = conn_connect(q->pool->base,
	    (const struct sockaddr *)(const void *)&s->addr, s->len, NULL, 0,
	    &tcp_ops, q, PACKET_MAX + 2, sizeof(q->pkt.wire) + 2);
	if (q->tcp == NULL) {
		if (is_lack(errno))
			query_finish(q, NULL);
		else
			server_failed(q, "no TCP connection");
		return;
	}
	left = query_left_ms(q);
	conn_deadline_set(q->tcp, left > RQUERY_TCP_MS ? RQUERY_TCP_MS :
	    left > 1 ? left : 1);
}

/* ---- UDP ---- */

/* True if the query goes on waiting for a packet. */
static bool
packet_take(struct rquery *q, size_t n)
{
	struct rquery_pool *p = q->pool;

	switch (dnspkt_answer_parse(&q->pkt, p->packet, n, false, &p->answer)) {
	case DNSPKT_IGNORE:
		p->stats.ignored++;
		return true;
	case DNSPKT_BROKEN:
		server_failed(q, p->answer.why);
		return false;
	case DNSPKT_TRUNCATED:
		tcp_start(q);
		return false;
	case DNSPKT_ANSWER:
		answer_take(q);
		return false;
	}
	return true;
}

/* What has come in. 0: wait on; -1: the query has moved on and may be gone; or
 * the errno of the socket. */
static int
packets_take(struct rquery *q)
{
	for (int i = 0; i < PACKETS_A_TURN; i++) {
		ssize_t n = recv(q->fd, q->pool->packet, PACKET_MAX, 0);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : errno;
		if (!packet_take(q, (size_t)n))
			return -1;
	}
	return 0;
}

static void
on_udp(evutil_socket_t fd, short what, void *arg)
{
	struct rquery *q = arg;
	int err = packets_take(q);

	(void)fd;
	(void)what;
	if (err > 0)
		server_unreachable(q, err);
}

/* 0 or an errno. */
static int
udp_send(struct rquery *q)
{
	const struct rquery_server *s = &query_server(q)->s;

	q->fd = socket(s->addr.ss_family,
	    SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (q->fd < 0)
		return errno;
	/* Connected: only this server's packets come in. The kernel chooses
	 * a random port. */
	if (connect(q->fd, (const struct sockaddr *)(const void *)&s->addr,
	    s->len) != 0 || send(q->fd, q->pkt.wire, q->pkt.len, 0) < 0)
		return errno;
	q->ev_read = event_new(q->pool->base, q->fd, EV_READ | EV_PERSIST,
	    on_udp, q);
	if (q->ev_read == NULL || event_add(q->ev_read, NULL) != 0)
		return ENOMEM;
	q->pool->stats.sent++;
	return 0;
}

/* Asks the next server in turn. Depth: server_unreachable() comes back here
 * at most once for each server. */
static void
query_send(struct rquery *q)
{
	int err;

	if (q->pool->nservers == 0) {
		strlcpy(q->why, "no name server is configured", sizeof(q->why));
		query_fail(q);
		return;
	}
	if (!server_pick(q)) {
		query_fail(q);
		return;
	}
	if (!dnspkt_query_make(q->ask, (enum dns_type)q->type,
	    (uint16_t)arc4random(), q->edns, &q->pkt)) {
		strlcpy(q->why, "the question cannot be put", sizeof(q->why));
		query_fail(q);
		return;
	}
	timer_set_attempt(q);
	err = udp_send(q);
	if (is_lack(err))
		query_finish(q, NULL);
	else if (err != 0)
		server_unreachable(q, err);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct rquery *q = arg;

	(void)fd;
	(void)what;
	/* If the loop was late, the answer may be here all the same. */
	if (q->fd >= 0 && packets_take(q) < 0)
		return;
	/* Without a socket all servers were unreachable. */
	if (q->fd >= 0) {
		q->pool->stats.timeouts++;
		why_set(q, "no answer in time");
		server_timed_out(query_server(q));
	}
	query_close(q);
	q->refused = 0;
	q->attempt++;
	q->server++;
	if (query_left_ms(q) <= 0)
		query_fail(q);
	else
		query_send(q);
}

/* ---- questions ---- */

static void
query_start(struct rquery *q)
{
	struct rquery_pool *p = q->pool;

	TAILQ_REMOVE(&p->fifo, q, fifo);
	q->active = true;
	p->active++;
	q->started = clock_mono();
	q->server = p->rotation++;
	query_send(q);
}

static void
on_pump(evutil_socket_t fd, short what, void *arg)
{
	struct rquery_pool *p = arg;

	(void)fd;
	(void)what;
	while (p->active < p->active_max && !TAILQ_EMPTY(&p->fifo))
		/* What is freed has left the list, by its other end.
		 * NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		query_start(TAILQ_FIRST(&p->fifo));
}

static uint64_t
query_hash(const void *entry)
{
	const struct rquery *q = entry;

	return q->hash;
}

struct question {
	const char *name;
	uint16_t type;
};

static bool
query_match(const void *entry, const void *key)
{
	const struct rquery *q = entry;
	const struct question *k = key;

	return q->type == k->type && strcmp(q->name, k->name) == 0;
}

static struct rquery *
query_new(struct rquery_pool *p, const char *name, uint16_t type,
    uint64_t hash)
{
	struct rquery *q = calloc(1, sizeof(*q));

	if (q == NULL)
		return NULL;
	q->pool = p;
	q->hash = hash;
	q->type = type;
	q->edns = true;
	q->fd = -1;
	q->ttl_s = DNSPKT_TTL_MAX;
	TAILQ_INIT(&q->waits);
	strlcpy(q->name, name, sizeof(q->name));
	strlcpy(q->ask, name, sizeof(q->ask));
	q->timer = evtimer_new(p->base, on_timer, q);
	if (q->timer == NULL || htab_insert(&p->table, q) != 0) {
		if (q->timer != NULL)
			event_free(q->timer);
		free(q);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&p->fifo, q, fifo);
	event_active(p->pump, 0, 0);
	return q;
}

struct rset *
rquery_ask(struct rquery_pool *p, const char *name, uint16_t type,
    struct rquery_wait *w, uint32_t *left_s_r)
{
	struct question k = { .name = name, .type = type };
	uint64_t hash = rcache_hash(p->key, sv_from(name), type);
	struct rquery *q;
	struct rset *set;

	p->stats.asked++;
	set = rcache_get(p->cache, clock_mono(), sv_from(name), type, left_s_r);
	if (set != NULL) {
		p->stats.cached++;
		return set;
	}
	q = htab_find(&p->table, hash, query_match, &k);
	if (q != NULL)
		p->stats.joined++;
	else
		q = query_new(p, name, type, hash);
	w->query = q;
	if (q != NULL)
		TAILQ_INSERT_TAIL(&q->waits, w, link);
	return NULL;
}

void
rquery_cancel(struct rquery_pool *p, struct rquery_wait *w)
{
	struct rquery *q = w->query;

	(void)p;
	if (q == NULL)
		return;
	TAILQ_REMOVE(&q->waits, w, link);
	w->query = NULL;
	/* One that is under way goes on: its answer will be in the cache. */
	if (TAILQ_EMPTY(&q->waits) && !q->active) {
		query_detach(q);
		free(q);
	}
}

/* ---- the pool ---- */

struct rquery_pool *
rquery_pool_new(struct event_base *base, struct rcache *cache)
{
	struct rquery_pool *p = calloc(1, sizeof(*p));

	if (p == NULL)
		fatal("no memory for the resolver");
	p->base = base;
	p->cache = cache;
	htab_init(&p->table, query_hash);
	TAILQ_INIT(&p->fifo);
	arc4random_buf(p->key, sizeof(p->key));
	p->pump = event_new(base, -1, 0, on_pump, p);
	if (p->pump == NULL)
		fatal("no memory for the resolver");
	rquery_patience_set(p, FIRST_MS, RQUERY_TOTAL_MS, RQUERY_ACTIVE_MAX);
	return p;
}

void
rquery_pool_free(struct rquery_pool **pp)
{
	struct rquery_pool *p = *pp;
	struct rquery *q;
	size_t at = 0;

	*pp = NULL;
	if (p == NULL)
		return;
	while ((q = htab_next(&p->table, &at)) != NULL) {
		query_detach(q);
		free(q);
		at = 0;
	}
	htab_fini(&p->table);
	event_free(p->pump);
	free(p);
}

void
rquery_servers_set(struct rquery_pool *p, const struct rquery_server *list,
    size_t n)
{
	struct rquery *q;
	size_t at = 0;

	if (n > RQUERY_SERVERS_MAX)
		n = RQUERY_SERVERS_MAX;
	memset(p->servers, 0, sizeof(p->servers));
	for (size_t i = 0; i < n; i++)
		p->servers[i].s = list[i];
	p->nservers = (unsigned)n;
	p->rotation = 0;
	/* Their numbers mean other servers now. */
	while ((q = htab_next(&p->table, &at)) != NULL) {
		q->failed = q->refused = 0;
		q->server = 0;
	}
}

void
rquery_patience_set(struct rquery_pool *p, unsigned first_ms,
    unsigned total_ms, unsigned active_max)
{
	p->first_ms = first_ms;
	p->total_ms = total_ms;
	p->active_max = active_max;
}

const struct rquery_stats *
rquery_stats(const struct rquery_pool *p)
{
	return &p->stats;
}

static bool
is_loopback(const struct route_addr *ip)
{
	static const unsigned char one[16] = { [15] = 1 };

	if (ip->family == 4)
		return ip->ip[0] == 127;
	return memcmp(ip->ip, one, sizeof(one)) == 0;
}

void
rquery_server_make(const struct route_addr *ip, uint16_t port,
    struct rquery_server *s_r)
{
	char text[46];
	struct str s;

	memset(s_r, 0, sizeof(*s_r));
	s_r->secure = is_loopback(ip);
	s_r->len = sockaddr_make(ip, port, &s_r->addr);
	STR_ON(&s, s_r->text);
	route_addr_format(ip, text);
	if (port == 53)
		str_adds(&s, text);
	else
		str_addf(&s, ip->family == 6 ? "[%s]:%u" : "%s:%u", text,
		    (unsigned)port);
}
