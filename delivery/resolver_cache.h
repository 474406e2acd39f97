/* SPDX-License-Identifier: ISC */
/*
 * resolver_cache: answers to DNS questions, positive and negative, until
 * their time is over. Pure: the time comes in. Bounded by entries and bytes;
 * what was used longest ago goes first.
 *
 * An answer is a struct rset, which never changes and lives as long as
 * somebody holds it (rset_hold, rset_drop).
 */
#ifndef DELIVERY_RESOLVER_CACHE_H
#define DELIVERY_RESOLVER_CACHE_H

#include "common/base/timeval.h"
#include "common/net/dnspkt.h"

enum rset_status {
	RSET_OK,        /* at least one record, or at least one left out */
	RSET_NODATA,    /* the name exists, no record of this type does */
	RSET_NXDOMAIN,
	RSET_FAILED,    /* no usable answer; text says why */
};

struct rset_rr {
	uint16_t pref;         /* MX */
	struct sv name;        /* MX: lower case, with a NUL; "" is the root */
	unsigned char ip[16];  /* A, AAAA */
};

struct rset {
	unsigned refs;
	enum rset_status status;
	uint16_t type;
	uint16_t n;
	uint32_t ttl_s;        /* when it came; 0: not to be kept */
	bool secure;           /* AD from a name server that may say so */
	size_t bytes;          /* of memory */
	struct sv text;        /* RSET_FAILED: "SERVFAIL from 127.0.0.1" */
	const struct rset_rr *rrs;
};

/* One reference is the caller's. NULL without memory. */
struct rset *rset_from_answer(uint16_t type, const struct dnspkt_answer *a,
    bool secure);
struct rset *rset_failed(uint16_t type, struct sv text, uint32_t ttl_s);
struct rset *rset_hold(struct rset *s);
/* Sets NULL. */
void rset_drop(struct rset **s);

struct rcache;

/* max_entries and max_bytes: at least 1. Aborts without memory. */
struct rcache *rcache_new(size_t max_entries, size_t max_bytes);
void rcache_free(struct rcache **c);
/* A reference for the caller and the seconds it still holds (at least 1), or
 * NULL. name as from dnspkt_name_parse(). */
struct rset *rcache_get(struct rcache *c, struct mono now, struct sv name,
    uint16_t type, uint32_t *left_s_r);
/* Keeps a reference of its own for s->ttl_s seconds; replaces an older
 * answer. Does nothing if ttl_s is 0 or memory is short. */
void rcache_put(struct rcache *c, struct mono now, struct sv name,
    uint16_t type, struct rset *s);
size_t rcache_entries(const struct rcache *c);
size_t rcache_bytes(const struct rcache *c);

/* The hash of a question, for tables keyed by strangers' names. */
uint64_t rcache_hash(const uint64_t key[2], struct sv name, uint16_t type);

#endif
