/* SPDX-License-Identifier: ISC */
/*
 * dnspkt: one DNS question as a packet, and what an answer packet says about
 * it. Pure: bytes in, a checked struct out; no socket, no clock.
 *
 * Not with ldns: it follows compression pointers forwards and in chains of
 * thousands, allocates for each record of a packet that a stranger wrote, and
 * aborts when an allocation fails. Here a pointer must point backwards, a name
 * has at most 255 bytes, and nothing is allocated.
 */
#ifndef COMMON_NET_DNSPKT_H
#define COMMON_NET_DNSPKT_H

#include "common/base/sv.h"

#define DNSPKT_NAME_SIZE  256    /* text of a name and a NUL */
#define DNSPKT_QUERY_MAX  320    /* header, longest name, OPT */
#define DNSPKT_EDNS_BYTES 1232   /* DNS flag day 2020: no fragments */
#define DNSPKT_RRS_MAX    64     /* kept of one answer */
#define DNSPKT_HOPS_MAX   8      /* CNAMEs to follow */
#define DNSPKT_TTL_MAX    86400u /* s */
#define DNSPKT_NEG_MAX    3600u  /* s, RFC 2308 5 suggests 1 to 3 hours */

enum dns_type {
	DNS_A = 1,
	DNS_NS = 2,
	DNS_CNAME = 5,
	DNS_SOA = 6,
	DNS_MX = 15,
	DNS_AAAA = 28,
	DNS_OPT = 41,
};

enum dns_rcode {
	DNS_NOERROR = 0,
	DNS_FORMERR = 1,
	DNS_SERVFAIL = 2,
	DNS_NXDOMAIN = 3,
	DNS_NOTIMP = 4,
	DNS_REFUSED = 5,
};

struct dnspkt_query {
	uint16_t id;
	uint16_t type;
	size_t len;        /* of wire */
	size_t qlen;       /* of the question: name, type, class */
	unsigned char wire[DNSPKT_QUERY_MAX];
};

/* What a packet that came in is. */
enum dnspkt_result {
	DNSPKT_IGNORE,    /* not an answer to this query: wait on */
	DNSPKT_BROKEN,    /* the answer, but it cannot be used; see why */
	DNSPKT_TRUNCATED, /* the answer; ask again by TCP */
	DNSPKT_ANSWER,
};

struct dnspkt_rr {
	uint16_t pref;                /* MX */
	unsigned char ip[16];         /* A: 4 bytes, AAAA: 16, network order */
	char name[DNSPKT_NAME_SIZE];  /* MX: lower case, "" is the root */
};

struct dnspkt_answer {
	uint16_t rcode;    /* with the extended bits of EDNS */
	bool ad;           /* as it stands there: trust is the caller's */
	bool open;         /* ends in a CNAME to `name`, about which the packet
	                    * says nothing: ask for that name */
	bool cacheable;    /* false: a negative answer without SOA */
	uint8_t hops;      /* CNAMEs followed */
	uint16_t nbad;     /* MX records left out: not a host name */
	uint16_t n;
	uint32_t ttl_s;    /* the least of all records used; negative answers:
	                    * RFC 2308 5 */
	const char *why;   /* DNSPKT_BROKEN: what is wrong, a constant */
	char name[DNSPKT_NAME_SIZE];  /* behind all CNAMEs */
	struct dnspkt_rr rrs[DNSPKT_RRS_MAX];
};

/*
 * A host name in the form that is asked for: lower case, no dot at the end,
 * labels of 1 to 63 letters, digits, hyphens and underscores, at most 253
 * bytes. False if text is none; out has DNSPKT_NAME_SIZE bytes.
 */
bool dnspkt_name_parse(struct sv text, char *out);

/* name as from dnspkt_name_parse(); false if it is not. */
bool dnspkt_query_make(const char *name, enum dns_type type, uint16_t id,
    bool edns, struct dnspkt_query *q_r) __attribute__((warn_unused_result));

/* tcp: the truncation bit means nothing. Only *a_r of a DNSPKT_ANSWER is to
 * be used, and of DNSPKT_BROKEN why and rcode. */
enum dnspkt_result dnspkt_answer_parse(const struct dnspkt_query *q,
    const void *bytes, size_t n, bool tcp, struct dnspkt_answer *a_r);

/* "MX"; "?" for others. */
const char *dnspkt_type_name(unsigned type);
/* "SERVFAIL"; "RCODE" for the unusual. */
const char *dnspkt_rcode_name(unsigned rcode);

#endif
