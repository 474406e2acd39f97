/* SPDX-License-Identifier: ISC */
#include <sys/socket.h>
#include <netinet/in.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bsd/stdlib.h>
#include <event2/event.h>

#include "common/base/htab.h"
#include "common/base/mem.h"
#include "common/base/siphash.h"
#include "common/mail/reply.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "smtpd/listener.h"
#include "smtpd/session.h"

#define PAUSE_MS 100 /* without descriptors */
#define TURNED_LOG_MS 1000

struct listener {
	TAILQ_ENTRY(listener) link;
	struct listeners *all;
	uint32_t id;
	int fd;
	struct event *ev;
	struct event *ev_pause;
	bool paused;                  /* since the last connection: said once */
	char source[129];
};

/* Connections of one client address. */
struct client {
	uint64_t hash;
	unsigned char net[9]; /* family and the counted part of the address */
	uint32_t n;
};

struct listeners {
	struct server *srv;
	TAILQ_HEAD(, listener) list;
	struct htab clients;
	uint64_t key[2];
	uint32_t nconns;
	uint32_t cpus;
	uint32_t turned;              /* away, and not logged */
	struct mono turned_logged;
};

/* ---- counting ---- */

static uint64_t
client_hash(const void *entry)
{
	const struct client *c = entry;

	return c->hash;
}

static bool
client_matches(const void *entry, const void *net)
{
	const struct client *c = entry;

	return memcmp(c->net, net, sizeof(c->net)) == 0;
}

static struct client *
client_find(struct listeners *ls, const struct route_addr *ip,
    struct client *key_r)
{
	memset(key_r, 0, sizeof(*key_r));
	key_r->net[0] = ip->family;
	memcpy(key_r->net + 1, ip->ip, ip->family == 4 ? 4 : 8);
	key_r->hash = siphash24(ls->key, key_r->net, sizeof(key_r->net));
	return htab_find(&ls->clients, key_r->hash, client_matches,
	    key_r->net);
}

static void
client_drop(struct server *srv, const struct route_addr *ip)
{
	struct listeners *ls = srv->listeners;
	struct client key, *c = client_find(ls, ip, &key);

	ls->nconns--;
	if (c == NULL || --c->n > 0)
		return;
	htab_remove(&ls->clients, c);
	free(c);
}

/* This process's part of a limit of the whole system. */
static uint32_t
share(const struct listeners *ls, const struct conf_global *g,
    uint32_t limit)
{
	uint32_t n = g->smtpd_processes;

	if (n == 0)
		n = ls->cpus;
	return limit / n + (limit % n != 0);
}

/*
 * Once half of all is in use an address gets no more than a quarter of what
 * is left, so that a crowd from some addresses leaves room for others. Not
 * where one address may have all.
 */
static bool
is_greedy(const struct listeners *ls, const struct client *c, uint32_t each,
    uint32_t total)
{
	uint32_t room = total - ls->nconns;

	return each != 0 && each < total && room <= total / 2 &&
	    c != NULL && c->n >= room / 4;
}

/* Counts one more; false if that would be too many. */
static bool
client_add(struct listeners *ls, const struct route_addr *ip)
{
	const struct conf_global *g = conf_global(ls->srv->settings->conf);
	uint32_t total = share(ls, g, g->total_max_smtp_in);
	uint32_t each = share(ls, g, g->max_smtp_in_per_address);
	struct client key, *c = client_find(ls, ip, &key);

	if (total != 0 &&
	    (ls->nconns >= total || is_greedy(ls, c, each, total)))
		return false;
	if (c != NULL && each != 0 && c->n >= each)
		return false;
	if (c == NULL) {
		c = malloc(sizeof(*c));
		if (c == NULL)
			return false;
		*c = key;
		if (htab_insert(&ls->clients, c) != 0) {
			free(c);
			return false;
		}
	}
	c->n++;
	ls->nconns++;
	return true;
}

/* ---- accepting ---- */

static bool
addr_from(const struct sockaddr_storage *ss, struct route_addr *ip_r)
{
	memset(ip_r, 0, sizeof(*ip_r));
	if (ss->ss_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, ss, sizeof(in));
		ip_r->family = 4;
		memcpy(ip_r->ip, &in.sin_addr, 4);
		return true;
	}
	if (ss->ss_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, ss, sizeof(in6));
		if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr)) {
			ip_r->family = 4;
			memcpy(ip_r->ip, in6.sin6_addr.s6_addr + 12, 4);
		} else {
			ip_r->family = 6;
			memcpy(ip_r->ip, &in6.sin6_addr, 16);
		}
		return true;
	}
	return false;
}

/* One line a second: a flood must not fill the disk. */
static void
turned_log(struct listeners *ls, const struct route_addr *ip)
{
	struct mono now = clock_mono();
	char client[46];

	ls->turned++;
	if (ls->turned_logged.us != 0 &&
	    mono_diff_ms(now, ls->turned_logged) < TURNED_LOG_MS)
		return;
	log_info("too many connections: %u turned away, the last one [%s]",
	    ls->turned, route_addr_format(ip, client));
	ls->turned = 0;
	ls->turned_logged = now;
}

/* One try, since a client over a limit is owed no waiting. */
static void
turn_away(struct listeners *ls, int fd, const struct route_addr *ip)
{
	struct sv text = reply_text(REPLY_TOO_MANY_CONNS);
	char line[128];

	if (text.n + 2 <= sizeof(line)) {
		memcpy(line, text.p, text.n);
		memcpy(line + text.n, "\r\n", 2);
		(void)!send(fd, line, text.n + 2, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	close(fd);
	turned_log(ls, ip);
}

static void
listener_pause(struct listener *l)
{
	struct timeval tv = { .tv_usec = PAUSE_MS * 1000 };

	if (!l->paused)
		log_warn_errno("cannot accept connections, pausing");
	l->paused = true;
	event_del(l->ev);
	event_add(l->ev_pause, &tv);
}

static void
on_pause_over(evutil_socket_t fd, short what, void *arg)
{
	struct listener *l = arg;

	(void)fd;
	(void)what;
	event_add(l->ev, NULL);
}

/* One connection a turn, so that idle processes get their part. */
static void
on_accept(evutil_socket_t lfd, short what, void *arg)
{
	struct listener *l = arg;
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct route_addr ip;
	int fd;

	(void)what;
	memset(&ss, 0, sizeof(ss));
	fd = accept4(lfd, (struct sockaddr *)&ss, &len,
	    SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
		    errno == ENOMEM)
			listener_pause(l);
		return;
	}
	if (l->paused)
		log_info("connections are accepted again");
	l->paused = false;
	if (!addr_from(&ss, &ip)) {
		close(fd);
		return;
	}
	if (!client_add(l->all, &ip)) {
		turn_away(l->all, fd, &ip);
		return;
	}
	session_start(l->all->srv, fd, &ip, sv_from(l->source));
}

/* ---- the sockets ---- */

struct listeners *
listeners_new(struct server *srv)
{
	struct listeners *ls = calloc(1, sizeof(*ls));
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (ls == NULL)
		mem_exhausted();
	ls->srv = srv;
	ls->cpus = cpus > 0 ? (uint32_t)cpus : 1;
	TAILQ_INIT(&ls->list);
	htab_init(&ls->clients, client_hash);
	arc4random_buf(ls->key, sizeof(ls->key));
	srv->listeners = ls;
	srv->on_conn_end = client_drop;
	return ls;
}

static void
listener_free(struct listener *l)
{
	TAILQ_REMOVE(&l->all->list, l, link);
	event_free(l->ev);
	event_free(l->ev_pause);
	close(l->fd);
	free(l);
}

void
listeners_close_all(struct listeners *ls)
{
	struct listener *l, *next;

	TAILQ_FOREACH_SAFE(l, &ls->list, link, next)
		listener_free(l);
}

void
listeners_close(struct listeners *ls, uint32_t id)
{
	struct listener *l, *next;

	TAILQ_FOREACH_SAFE(l, &ls->list, link, next) {
		if (l->id == id)
			listener_free(l);
	}
}

void
listeners_add(struct listeners *ls, uint32_t id, int fd, struct sv source)
{
	struct listener *l = calloc(1, sizeof(*l));

	if (l == NULL)
		mem_exhausted(); /* nobody would listen there any more */
	if (!sv_to_cstr(source, l->source, sizeof(l->source))) {
		log_warn("listener %u is not taken", id);
		close(fd);
		free(l);
		return;
	}
	l->all = ls;
	l->id = id;
	l->fd = fd;
	evutil_make_socket_nonblocking(fd);
	l->ev = event_new(ls->srv->base, fd, EV_READ | EV_PERSIST, on_accept,
	    l);
	l->ev_pause = event_new(ls->srv->base, -1, 0, on_pause_over, l);
	if (l->ev == NULL || l->ev_pause == NULL)
		mem_exhausted();
	TAILQ_INSERT_TAIL(&ls->list, l, link);
	event_add(l->ev, NULL);
}

void
listeners_free(struct listeners **lsp)
{
	struct listeners *ls = *lsp;
	size_t at = 0;
	void *c;

	*lsp = NULL;
	listeners_close_all(ls);
	while ((c = htab_next(&ls->clients, &at)) != NULL)
		free(c);
	htab_fini(&ls->clients);
	ls->srv->on_conn_end = NULL;
	free(ls);
}
