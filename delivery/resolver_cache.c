/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include <bsd/stdlib.h>
#include <bsd/sys/queue.h>

#include "common/base/htab.h"
#include "common/base/siphash.h"
#include "common/sys/log.h"
#include "delivery/resolver_cache.h"

struct rcache_entry {
	TAILQ_ENTRY(rcache_entry) lru;
	uint64_t hash;
	struct mono until;
	struct rset *set;
	size_t bytes;      /* of all that this entry costs */
	uint16_t type;
	uint16_t name_n;
	char name[];
};

TAILQ_HEAD(rcache_lru, rcache_entry);

struct rcache {
	struct htab table;
	struct rcache_lru lru;  /* the next to go is the last */
	uint64_t key[2];
	size_t max_entries, max_bytes;
	size_t bytes;
};

struct question {
	struct sv name;
	uint16_t type;
};

static enum rset_status
answer_status(const struct dnspkt_answer *a)
{
	if (a->rcode == DNS_NXDOMAIN)
		return RSET_NXDOMAIN;
	return a->n > 0 || a->nbad > 0 ? RSET_OK : RSET_NODATA;
}

static struct rset *
rset_alloc(uint16_t type, size_t n, size_t text)
{
	size_t bytes = sizeof(struct rset) + n * sizeof(struct rset_rr) + text;
	struct rset *s = calloc(1, bytes);

	if (s == NULL)
		return NULL;
	s->refs = 1;
	s->type = type;
	s->bytes = bytes;
	s->n = (uint16_t)n;
	return s;
}

struct rset *
rset_from_answer(uint16_t type, const struct dnspkt_answer *a, bool secure)
{
	struct rset_rr *rrs;
	size_t text = 0;
	struct rset *s;
	char *p;

	for (unsigned i = 0; i < a->n; i++)
		text += strlen(a->rrs[i].name) + 1;
	s = rset_alloc(type, a->n, text);
	if (s == NULL)
		return NULL;
	s->status = answer_status(a);
	s->secure = secure;
	s->ttl_s = a->cacheable ? a->ttl_s : 0;
	rrs = (struct rset_rr *)(s + 1);
	p = (char *)(rrs + a->n);
	for (unsigned i = 0; i < a->n; i++) {
		size_t n = strlen(a->rrs[i].name);

		rrs[i].pref = a->rrs[i].pref;
		memcpy(rrs[i].ip, a->rrs[i].ip, sizeof(rrs[i].ip));
		memcpy(p, a->rrs[i].name, n + 1);
		rrs[i].name = sv_make(p, n);
		p += n + 1;
	}
	s->rrs = rrs;
	return s;
}

struct rset *
rset_failed(uint16_t type, struct sv text, uint32_t ttl_s)
{
	struct rset *s = rset_alloc(type, 0, text.n + 1);
	char *p;

	if (s == NULL)
		return NULL;
	p = (char *)(s + 1);
	memcpy(p, text.p, text.n);
	s->status = RSET_FAILED;
	s->text = sv_make(p, text.n);
	s->ttl_s = ttl_s;
	return s;
}

struct rset *
rset_hold(struct rset *s)
{
	s->refs++;
	return s;
}

void
rset_drop(struct rset **sp)
{
	struct rset *s = *sp;

	*sp = NULL;
	if (s != NULL && --s->refs == 0)
		free(s);
}

uint64_t
rcache_hash(const uint64_t key[2], struct sv name, uint16_t type)
{
	return siphash24(key, name.p, name.n) ^ (uint64_t)type << 32;
}

static uint64_t
entry_hash(const void *entry)
{
	const struct rcache_entry *e = entry;

	return e->hash;
}

static bool
entry_match(const void *entry, const void *key)
{
	const struct rcache_entry *e = entry;
	const struct question *q = key;

	return e->type == q->type &&
	    sv_eq(sv_make(e->name, e->name_n), q->name);
}

struct rcache *
rcache_new(size_t max_entries, size_t max_bytes)
{
	struct rcache *c = calloc(1, sizeof(*c));

	if (c == NULL)
		fatal("no memory for the cache");
	htab_init(&c->table, entry_hash);
	TAILQ_INIT(&c->lru);
	arc4random_buf(c->key, sizeof(c->key));
	c->max_entries = max_entries;
	c->max_bytes = max_bytes;
	return c;
}

static void
entry_remove(struct rcache *c, struct rcache_entry *e)
{
	htab_remove(&c->table, e);
	TAILQ_REMOVE(&c->lru, e, lru);
	c->bytes -= e->bytes;
	rset_drop(&e->set);
	free(e);
}

void
rcache_free(struct rcache **cp)
{
	struct rcache *c = *cp;
	struct rcache_entry *e;

	*cp = NULL;
	if (c == NULL)
		return;
	while ((e = TAILQ_FIRST(&c->lru)) != NULL)
		entry_remove(c, e);
	htab_fini(&c->table);
	free(c);
}

static struct rcache_entry *
entry_find(const struct rcache *c, struct sv name, uint16_t type)
{
	struct question q = { .name = name, .type = type };

	return htab_find(&c->table, rcache_hash(c->key, name, type),
	    entry_match, &q);
}

struct rset *
rcache_get(struct rcache *c, struct mono now, struct sv name, uint16_t type,
    uint32_t *left_s_r)
{
	struct rcache_entry *e = entry_find(c, name, type);
	int64_t left;

	if (e == NULL)
		return NULL;
	left = e->until.us - now.us;
	if (left <= 0) {
		entry_remove(c, e);
		return NULL;
	}
	TAILQ_REMOVE(&c->lru, e, lru);
	TAILQ_INSERT_HEAD(&c->lru, e, lru);
	*left_s_r = (uint32_t)((left + US_PER_SEC - 1) / US_PER_SEC);
	return rset_hold(e->set);
}

static struct rcache_entry *
entry_new(const struct rcache *c, struct sv name, uint16_t type,
    struct rset *s)
{
	struct rcache_entry *e = calloc(1, sizeof(*e) + name.n);

	if (e == NULL)
		return NULL;
	e->hash = rcache_hash(c->key, name, type);
	e->type = type;
	e->name_n = (uint16_t)name.n;
	memcpy(e->name, name.p, name.n);
	/* 32: two slots of the table and what malloc adds. */
	e->bytes = sizeof(*e) + name.n + s->bytes + 32;
	e->set = rset_hold(s);
	return e;
}

void
rcache_put(struct rcache *c, struct mono now, struct sv name, uint16_t type,
    struct rset *s)
{
	struct rcache_entry *e = entry_find(c, name, type);

	if (e != NULL)
		entry_remove(c, e);
	if (s->ttl_s == 0 || name.n > UINT16_MAX)
		return;
	e = entry_new(c, name, type, s);
	if (e == NULL)
		return;
	e->until = mono_add_ms(now, (int64_t)s->ttl_s * 1000);
	if (htab_insert(&c->table, e) != 0) {
		rset_drop(&e->set);
		free(e);
		return;
	}
	TAILQ_INSERT_HEAD(&c->lru, e, lru);
	c->bytes += e->bytes;
	while (c->bytes > c->max_bytes ||
	    htab_count(&c->table) > c->max_entries)
		entry_remove(c, TAILQ_LAST(&c->lru, rcache_lru));
}

size_t
rcache_entries(const struct rcache *c)
{
	return htab_count(&c->table);
}

size_t
rcache_bytes(const struct rcache *c)
{
	return c->bytes;
}
