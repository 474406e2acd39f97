/* SPDX-License-Identifier: ISC */
#include <sys/socket.h>
#include <netinet/in.h>
#include <ifaddrs.h>
#include <stdlib.h>
#include <string.h>

#include "common/sys/log.h"
#include "delivery/resolver_self.h"

struct listener {
	struct route_addr ip;
	uint16_t port;
};

struct rself {
	char **names;
	size_t nnames;
	struct listener *listeners;
	size_t nlisteners;
	struct route_addr *addrs;  /* sorted, unless dirty */
	size_t naddrs;
};

/* Room for one more element: doubles at powers of two. */
static void *
grow(void *list, size_t n, size_t size)
{
	if (n == 0 || (n & (n - 1)) == 0) {
		list = reallocarray(list, n == 0 ? 1 : 2 * n, size);
		if (list == NULL)
			fatal("no memory for our own addresses");
	}
	return list;
}

struct rself *
rself_new(void)
{
	struct rself *s = calloc(1, sizeof(*s));

	if (s == NULL)
		fatal("no memory for our own addresses");
	return s;
}

void
rself_free(struct rself **sp)
{
	struct rself *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->nnames; i++)
		free(s->names[i]);
	free(s->names);
	free(s->listeners);
	free(s->addrs);
	free(s);
}

void
rself_name_add(struct rself *s, struct sv name)
{
	s->names = grow(s->names, s->nnames, sizeof(*s->names));
	s->names[s->nnames++] = sv_dup(name);
}

void
rself_listener_add(struct rself *s, const struct route_addr *ip, uint16_t port)
{
	s->listeners = grow(s->listeners, s->nlisteners,
	    sizeof(*s->listeners));
	s->listeners[s->nlisteners++] =
	    (struct listener){ .ip = *ip, .port = port };
}

static int
addr_cmp(const void *av, const void *bv)
{
	const struct route_addr *a = av, *b = bv;

	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return memcmp(a->ip, b->ip, a->family == 4 ? 4 : 16);
}

void
rself_addr_add(struct rself *s, const struct route_addr *ip)
{
	s->addrs = grow(s->addrs, s->naddrs, sizeof(*s->addrs));
	s->addrs[s->naddrs++] = *ip;
	qsort(s->addrs, s->naddrs, sizeof(*s->addrs), addr_cmp);
}

static bool
addr_of(const struct sockaddr *sa, struct route_addr *ip_r)
{
	struct route_addr ip = { 0 };

	if (sa == NULL)
		return false;
	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)sa;

		ip.family = 4;
		memcpy(ip.ip, &in->sin_addr, 4);
	} else if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)sa;

		ip.family = 6;
		memcpy(ip.ip, &in6->sin6_addr, 16);
	} else {
		return false;
	}
	*ip_r = ip;
	return true;
}

void
rself_system_addrs_add(struct rself *s)
{
	struct ifaddrs *list;
	struct route_addr ip;

	if (getifaddrs(&list) != 0) {
		log_warn_errno("cannot list the addresses of this machine");
		return;
	}
	for (const struct ifaddrs *i = list; i != NULL; i = i->ifa_next) {
		if (!addr_of(i->ifa_addr, &ip))
			continue;
		s->addrs = grow(s->addrs, s->naddrs, sizeof(*s->addrs));
		s->addrs[s->naddrs++] = ip;
	}
	freeifaddrs(list);
	if (s->naddrs > 0)
		qsort(s->addrs, s->naddrs, sizeof(*s->addrs), addr_cmp);
}

bool
rself_is_name(const struct rself *s, struct sv name)
{
	for (size_t i = 0; i < s->nnames; i++) {
		if (sv_ieq(sv_from(s->names[i]), name))
			return true;
	}
	return false;
}

static bool
is_unspecified(const struct route_addr *ip)
{
	static const unsigned char zero[16];

	return memcmp(ip->ip, zero, ip->family == 4 ? 4 : 16) == 0;
}

/* The machine answers on it: an interface's address, or a loopback one. A
 * connection to 0.0.0.0 goes to the machine itself too. */
static bool
is_machine(const struct rself *s, const struct route_addr *ip)
{
	if (is_unspecified(ip) || (ip->family == 4 && ip->ip[0] == 127))
		return true;
	return s->naddrs > 0 && bsearch(ip, s->addrs, s->naddrs,
	    sizeof(*s->addrs), addr_cmp) != NULL;
}

bool
rself_is_addr(const struct rself *s, const struct route_addr *ip,
    uint16_t port)
{
	for (size_t i = 0; i < s->nlisteners; i++) {
		const struct listener *l = &s->listeners[i];

		if (l->port != port)
			continue;
		if (addr_cmp(&l->ip, ip) == 0)
			return true;
		/* :: may take IPv4 too */
		if (is_unspecified(&l->ip) &&
		    (l->ip.family == ip->family || l->ip.family == 6) &&
		    is_machine(s, ip))
			return true;
	}
	return false;
}
