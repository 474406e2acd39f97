/* SPDX-License-Identifier: ISC */
/* For tests: a route as "10 mx.test:25 192.0.2.1 2001:db8::1; ..." */
#ifndef TESTS_UNIT_DELIVERY_ROUTE_TEXT_H
#define TESTS_UNIT_DELIVERY_ROUTE_TEXT_H

#include "common/base/str.h"
#include "common/mail/route.h"

static inline void
route_text(const struct route *r, char *out, size_t size)
{
	struct str s;
	char ip[46];

	str_init(&s, out, size);
	for (unsigned i = 0; i < r->nhosts; i++) {
		const struct route_host *h = &r->hosts[i];

		str_addf(&s, "%s%u %.*s:%u", i > 0 ? "; " : "",
		    (unsigned)h->preference, SV_FMT(h->name),
		    (unsigned)h->port);
		for (unsigned k = 0; k < h->naddrs; k++)
			str_addf(&s, " %s",
			    route_addr_format(&h->addrs[k], ip));
	}
}

#endif
