/* SPDX-License-Identifier: ISC */
/*
 * resolver_hosts: the text of a destination, without any look-up: domain
 * names (internationalised ones become A-labels), address literals, and the
 * value of smtp-hosts:
 *
 *	"h1,h2;[192.0.2.1]:2525;lookup-mx:example.org"
 *
 * A comma separates hosts of the same preference, a semicolon starts the next
 * one. Pure.
 */
#ifndef DELIVERY_RESOLVER_HOSTS_H
#define DELIVERY_RESOLVER_HOSTS_H

#include "common/mail/route.h"
#include "common/net/dnspkt.h"

enum rhost_kind {
	RHOST_ADDR,  /* "192.0.2.1", "[192.0.2.1]", "[IPv6:2001:db8::1]" */
	RHOST_NAME,  /* its A and AAAA records */
	RHOST_MX,    /* the MX records of name */
};

struct rhost {
	enum rhost_kind kind;
	uint16_t level;              /* 0 is tried first */
	uint16_t port;
	struct route_addr addr;
	char name[DNSPKT_NAME_SIZE]; /* to ask for; ADDR: "[192.0.2.1]" */
};

/* As it is asked for: lower case A-labels. False if it is no host name. */
bool rhost_name(struct sv text, char *out);
/* RFC 5321 4.1.3: "[192.0.2.1]" or "[IPv6:2001:db8::1]"; without the tag too.
 * port stays as it is. */
bool rhost_literal(struct sv text, struct rhost *h_r);
/*
 * The number of hosts, at most max (1 at least), or 0: then *bad_r is the
 * entry that is wrong. More than max hosts: the last ones are left out.
 */
size_t rhosts_parse(struct sv text, uint16_t port, struct rhost *list,
    size_t max, struct sv *bad_r);

#endif
