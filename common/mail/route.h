/* SPDX-License-Identifier: ISC */
/*
 * route: where the mail of a domain goes, as the resolver found it: hosts in
 * order of preference with their addresses. Made by the resolver, carried by
 * qmgr, used by the delivery workers.
 */
#ifndef COMMON_MAIL_ROUTE_H
#define COMMON_MAIL_ROUTE_H

#include "common/base/arena.h"
#include "common/base/rw.h"

#define ROUTE_HOSTS_MAX 32   /* more MX hosts than that are left out */
#define ROUTE_ADDRS_MAX 16   /* of one host */
#define ROUTE_NAME_MAX  255

enum route_status {
	ROUTE_OK,
	ROUTE_NO_DOMAIN,  /* NXDOMAIN, or neither MX nor address: 5.1.2 */
	ROUTE_NULL_MX,    /* RFC 7505: 5.1.10 */
	ROUTE_UNUSABLE,   /* MX hosts without an address: 5.4.4 */
	ROUTE_SELF,       /* the best MX is ourselves: 5.4.6 */
	ROUTE_TEMPORARY,  /* no answer, SERVFAIL, ...: 4.4.3 */
	ROUTE_AGAIN,      /* nothing is known, the resolver lacked memory or a
	                   * descriptor: to be asked again soon */
	ROUTE_STATUSES
};

struct route_addr {
	uint8_t family;            /* 4 or 6 */
	unsigned char ip[16];      /* network order; 4 bytes used for family 4 */
};

struct route_host {
	uint16_t preference;       /* lower is better; equal ones are shuffled
	                            * by each session */
	uint16_t port;
	struct sv name;            /* "mx1.example.org" or "[192.0.2.1]" */
	const struct route_addr *addrs;
	uint8_t naddrs;
};

struct route {
	const struct route_host *hosts;
	uint8_t nhosts;
};

/* Flags of a SESSION_OPEN. */
enum session_flags {
	SESSION_NO_PIPELINING = 1,
	SESSION_NO_8BITMIME = 2,
	SESSION_NO_DSN = 4,
	SESSION_421_IS_QUEUE = 8,  /* 421 in a transaction ends the session */
	SESSION_TRACE = 16,        /* TRACE what is said, */
	SESSION_TRACE_DATA = 32,   /* and the messages */
};

void route_encode(struct wr *w, const struct route *r);
/* Arrays in a. False on anything malformed. */
bool route_decode(struct sv bytes, struct arena *a, struct route *r_r)
    __attribute__((warn_unused_result));
/* "192.0.2.1" or "2001:db8::1"; out has room for 46 bytes. */
const char *route_addr_format(const struct route_addr *a, char out[46]);
bool route_addr_parse(struct sv text, struct route_addr *a_r);

#endif
