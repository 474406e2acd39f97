/* SPDX-License-Identifier: ISC */
#include <arpa/inet.h>
#include <string.h>

#include "common/mail/route.h"

const char *
route_addr_format(const struct route_addr *a, char out[46])
{
	int af = a->family == 6 ? AF_INET6 : AF_INET;

	if (inet_ntop(af, a->ip, out, 46) == NULL)
		out[0] = '\0';
	return out;
}

bool
route_addr_parse(struct sv text, struct route_addr *a_r)
{
	struct route_addr a = { 0 };
	char s[46];

	if (!sv_to_cstr(text, s, sizeof(s)))
		return false;
	if (inet_pton(AF_INET, s, a.ip) == 1)
		a.family = 4;
	else if (inet_pton(AF_INET6, s, a.ip) == 1)
		a.family = 6;
	else
		return false;
	*a_r = a;
	return true;
}

void
route_encode(struct wr *w, const struct route *r)
{
	wr_u8(w, r->nhosts);
	if (r->nhosts > ROUTE_HOSTS_MAX)
		w->failed = true;
	for (unsigned i = 0; i < r->nhosts; i++) {
		const struct route_host *h = &r->hosts[i];

		wr_u16(w, h->preference);
		wr_u16(w, h->port);
		wr_sv(w, h->name, ROUTE_NAME_MAX);
		wr_u8(w, h->naddrs);
		if (h->naddrs > ROUTE_ADDRS_MAX)
			w->failed = true;
		for (unsigned k = 0; k < h->naddrs && !w->failed; k++) {
			wr_u8(w, h->addrs[k].family);
			wr_bytes(w, h->addrs[k].ip, sizeof(h->addrs[k].ip));
		}
	}
}

static bool
addrs_decode(struct rd *r, struct arena *a, struct route_host *h)
{
	struct route_addr *list;

	h->naddrs = rd_u8(r);
	if (r->failed || h->naddrs > ROUTE_ADDRS_MAX)
		return false;
	list = arena_alloc(a, h->naddrs * sizeof(*list));
	if (list == NULL)
		return false;
	for (unsigned k = 0; k < h->naddrs; k++) {
		struct sv ip;

		list[k].family = rd_u8(r);
		ip = rd_bytes(r, sizeof(list[k].ip));
		if (r->failed ||
		    (list[k].family != 4 && list[k].family != 6))
			return false;
		memcpy(list[k].ip, ip.p, sizeof(list[k].ip));
	}
	h->addrs = list;
	return true;
}

bool
route_decode(struct sv bytes, struct arena *a, struct route *r_r)
{
	struct route_host *hosts;
	struct route route = { 0 };
	struct rd r;

	rd_init(&r, bytes.p, bytes.n);
	route.nhosts = rd_u8(&r);
	if (r.failed || route.nhosts > ROUTE_HOSTS_MAX)
		return false;
	hosts = arena_alloc(a, route.nhosts * sizeof(*hosts));
	if (hosts == NULL)
		return false;
	for (unsigned i = 0; i < route.nhosts; i++) {
		hosts[i].preference = rd_u16(&r);
		hosts[i].port = rd_u16(&r);
		hosts[i].name = rd_sv(&r, ROUTE_NAME_MAX);
		if (!addrs_decode(&r, a, &hosts[i]))
			return false;
	}
	if (!rd_done(&r))
		return false;
	route.hosts = hosts;
	*r_r = route;
	return true;
}
