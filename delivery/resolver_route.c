/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include <bsd/string.h>
#include <bsd/sys/queue.h>
#include <event2/event.h>

#include "common/base/str.h"
#include "common/sys/log.h"
#include "delivery/resolver_hosts.h"
#include "delivery/resolver_route.h"

#define BEGIN_A_TURN 200 /* then the sockets */
#define TEXT_SIZE 640 /* a reason of 255 bytes, a name, words */

/* An entry of the destination that we began with. */
struct item {
	struct rhost host;
	struct rquery_wait wait;   /* RHOST_MX */
	struct rset *mx;           /* NULL: no memory, as a failure */
};

/* A host that mail may go to. */
struct cand {
	uint32_t rank;             /* level and preference; lower is better */
	uint16_t pref;
	uint16_t port;
	bool direct;               /* addr, no look-up */
	bool implicit;             /* the domain itself: it has no MX */
	struct route_addr addr;
	char name[DNSPKT_NAME_SIZE];
	struct rquery_wait wait[2];
	struct rset *set[2];       /* A, AAAA */
	uint32_t left_s[2];        /* so long they hold */
	struct route_addr addrs[ROUTE_ADDRS_MAX];
	uint8_t naddrs;
	bool self;
};

struct job {
	LIST_ENTRY(job) link;
	struct rrouter *router;
	uint64_t token;
	bool explicit;             /* smtp-hosts */
	bool starting;             /* do not go on yet */
	unsigned waiting;          /* look-ups under way */
	uint32_t ttl_s;
	struct item *items;
	size_t nitems;
	struct cand *cands;
	size_t ncands;
	/* The first failure of each kind that was met. */
	bool temporary;
	bool again;                /* we lacked memory for a part of it */
	enum route_status definite; /* ROUTE_OK: none */
	char temporary_text[TEXT_SIZE];
	char definite_text[TEXT_SIZE];
	char domain[DNSPKT_NAME_SIZE];
};

LIST_HEAD(jobs, job);

/* A job that has not begun. */
struct request {
	TAILQ_ENTRY(request) link;
	uint64_t token;
	uint16_t port;
	size_t domain_n, hosts_n;
	char bytes[]; /* domain, smtp_hosts */
};

TAILQ_HEAD(requests, request);

struct rrouter {
	struct rquery_pool *pool;
	const struct rself *self;  /* may be NULL */
	rroute_done_fn *done;
	void *arg;
	struct jobs jobs;
	size_t njobs, max;
	struct requests requests;
	size_t nrequests;
	struct event *pump;        /* begins requests in the next turn */
};

static void
router_pump(struct rrouter *r)
{
	const struct timeval now = { 0 };

	if (r->njobs < r->max && !TAILQ_EMPTY(&r->requests))
		event_add(r->pump, &now);
}

/* ---- the end of a job ---- */

static void
job_free(struct job *j)
{
	struct rquery_pool *pool = j->router->pool;

	for (size_t i = 0; i < j->nitems; i++) {
		rquery_cancel(pool, &j->items[i].wait);
		rset_drop(&j->items[i].mx);
	}
	for (size_t i = 0; i < j->ncands; i++) {
		for (int k = 0; k < 2; k++) {
			rquery_cancel(pool, &j->cands[i].wait[k]);
			rset_drop(&j->cands[i].set[k]);
		}
	}
	LIST_REMOVE(j, link);
	j->router->njobs--;
	free(j->items);
	free(j->cands);
	free(j);
}

/* Tells the result and frees the job. */
static void
job_end(struct job *j, struct rroute_result *res)
{
	uint32_t max = res->status >= ROUTE_TEMPORARY ? RROUTE_TEMP_TTL_MAX :
	    RROUTE_TTL_MAX;
	struct rrouter *r = j->router;

	res->ttl_s = j->ttl_s > max ? max : j->ttl_s;
	if (res->ttl_s == 0)
		res->ttl_s = 1;
	r->done(r->arg, j->token, res);
	job_free(j);
	router_pump(r);
}

static void
job_end_text(struct job *j, enum route_status status, const char *text)
{
	job_end(j, &(struct rroute_result){ .status = status,
	    .text = sv_from(text) });
}

static void
ttl_lower(struct job *j, uint32_t ttl_s)
{
	if (ttl_s < j->ttl_s)
		j->ttl_s = ttl_s;
}

static void __attribute__((format(printf, 3, 4)))
definite_set(struct job *j, enum route_status status, const char *fmt, ...)
{
	struct str s;
	va_list ap;

	if (j->definite != ROUTE_OK)
		return;
	j->definite = status;
	STR_ON(&s, j->definite_text);
	va_start(ap, fmt);
	str_vaddf(&s, fmt, ap);
	va_end(ap);
}

/* set is NULL or RSET_FAILED. */
static void
temporary_set(struct job *j, const struct rset *set, unsigned type,
    const char *name)
{
	struct sv why = set != NULL ? set->text : SV("no memory");
	struct str s;

	j->again |= set == NULL;
	if (j->temporary)
		return;
	j->temporary = true;
	STR_ON(&s, j->temporary_text);
	str_add_escaped(&s, why);
	str_addf(&s, " for %s %s", dnspkt_type_name(type), name);
}

static bool
is_failed(const struct rset *set)
{
	return set == NULL || set->status == RSET_FAILED;
}

/* ---- the route ---- */

/* Addresses that no mail host has: unspecified, multicast, broadcast, and
 * IPv4 ones dressed as IPv6, which would pass by the checks of the first. */
static bool
is_unusable(const struct route_addr *a)
{
	static const unsigned char zero[12];
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (a->family == 4)
		return a->ip[0] == 0 || a->ip[0] >= 224;
	if (a->ip[0] == 0xff || memcmp(a->ip, mapped, sizeof(mapped)) == 0)
		return true;
	/* :: and the old IPv4-compatible ones, but not ::1 */
	return memcmp(a->ip, zero, sizeof(zero)) == 0 &&
	    !(a->ip[12] == 0 && a->ip[13] == 0 && a->ip[14] == 0 &&
		a->ip[15] == 1);
}

static void
cand_addr_add(struct cand *c, const struct route_addr *a)
{
	if (c->naddrs < ROUTE_ADDRS_MAX)
		c->addrs[c->naddrs++] = *a;
}

/* A and AAAA take turns, so that both families come early. */
static void
cand_addrs(struct cand *c)
{
	size_t n4 = c->set[0] != NULL ? c->set[0]->n : 0;
	size_t n6 = c->set[1] != NULL ? c->set[1]->n : 0;

	if (c->direct)
		cand_addr_add(c, &c->addr);
	for (size_t i = 0; i < n4 || i < n6; i++) {
		for (int k = 1; k >= 0; k--) {
			struct route_addr a = { .family = k == 0 ? 4 : 6 };

			if (i >= (k == 0 ? n4 : n6))
				continue;
			memcpy(a.ip, c->set[k]->rrs[i].ip, k == 0 ? 4 : 16);
			if (!is_unusable(&a))
				cand_addr_add(c, &a);
		}
	}
}

static bool
cand_is_self(const struct job *j, const struct cand *c)
{
	const struct rself *self = j->router->self;

	if (self == NULL)
		return false;
	if (!c->direct && rself_is_name(self, sv_from(c->name)))
		return true;
	for (unsigned i = 0; i < c->naddrs; i++) {
		if (rself_is_addr(self, &c->addrs[i], c->port))
			return true;
	}
	return false;
}

static void
cand_judge(struct job *j, struct cand *c)
{
	cand_addrs(c);
	/* An operator who names us as his smtp-host means it. */
	c->self = !j->explicit && cand_is_self(j, c);
}

/*
 * What the look-ups of a host that counts say about the whole. That a host
 * with addresses of one family has none of the other does not limit the time.
 */
static void
cand_account(struct job *j, const struct cand *c)
{
	static const uint16_t types[2] = { DNS_A, DNS_AAAA };

	for (int k = 0; k < 2 && !c->direct; k++) {
		const struct rset *set = c->set[k];

		if (c->naddrs == 0 || is_failed(set) || set->n > 0)
			ttl_lower(j, c->left_s[k]);
		if (c->naddrs == 0 && is_failed(set))
			temporary_set(j, set, types[k], c->name);
	}
}

/* The rank from which on nothing may be used. */
static uint32_t
self_rank(const struct job *j)
{
	uint32_t rank = UINT32_MAX;

	for (size_t i = 0; i < j->ncands; i++) {
		if (j->cands[i].self && j->cands[i].rank < rank)
			rank = j->cands[i].rank;
	}
	return rank;
}

/* Nothing to send to. left: candidates that are better than ourselves. */
static void
job_end_without(struct job *j, size_t left, uint32_t self)
{
	char text[TEXT_SIZE];
	struct str s;

	if (j->temporary) {
		job_end_text(j, j->again ? ROUTE_AGAIN : ROUTE_TEMPORARY,
		    j->temporary_text);
		return;
	}
	STR_ON(&s, text);
	if (left == 0 && self != UINT32_MAX) {
		str_addf(&s, "the best mail host of %s is this machine",
		    j->domain);
		job_end_text(j, ROUTE_SELF, text);
	} else if (j->definite != ROUTE_OK && left == 0) {
		job_end_text(j, j->definite, j->definite_text);
	} else if (j->explicit) {
		/* A slip in the configuration: keep the mail until it is
		 * mended. */
		str_addf(&s, "no host of smtp-hosts for %s has an address",
		    j->domain);
		job_end_text(j, ROUTE_TEMPORARY, text);
	} else if (left == 1 && j->cands[0].implicit) {
		str_addf(&s, "no MX or address records for %s", j->domain);
		job_end_text(j, ROUTE_NO_DOMAIN, text);
	} else {
		str_addf(&s, "no MX host of %s has an address", j->domain);
		job_end_text(j, ROUTE_UNUSABLE, text);
	}
}

static void
job_finish(struct job *j)
{
	struct route_host hosts[ROUTE_HOSTS_MAX];
	struct rroute_result res = { .status = ROUTE_OK };
	size_t left = 0;
	uint32_t self;

	for (size_t i = 0; i < j->ncands; i++)
		cand_judge(j, &j->cands[i]);
	self = self_rank(j);
	res.route.hosts = hosts;
	for (size_t i = 0; i < j->ncands; i++) {
		const struct cand *c = &j->cands[i];

		if (c->rank >= self)
			continue;
		left++;
		cand_account(j, c);
		if (c->naddrs == 0)
			continue;
		hosts[res.route.nhosts++] = (struct route_host){
			.preference = c->pref, .port = c->port,
			.name = sv_from(c->name),
			.addrs = c->addrs, .naddrs = c->naddrs };
	}
	if (res.route.nhosts > 0)
		job_end(j, &res);
	else
		job_end_without(j, left, self);
}

/* ---- addresses of hosts ---- */

static void
job_step(struct job *j)
{
	if (j->waiting == 0 && !j->starting)
		job_finish(j);
}

static void
on_addr(struct rquery_wait *w, struct rset *set, uint32_t left_s)
{
	struct job *j = w->arg;

	for (size_t i = 0; i < j->ncands; i++) {
		for (int k = 0; k < 2; k++) {
			if (&j->cands[i].wait[k] != w)
				continue;
			j->cands[i].set[k] = set;
			j->cands[i].left_s[k] = left_s;
		}
	}
	j->waiting--;
	job_step(j);
}

static void
cand_ask(struct job *j, struct cand *c)
{
	static const uint16_t types[2] = { DNS_A, DNS_AAAA };

	for (int k = 0; k < 2; k++) {
		c->wait[k].done = on_addr;
		c->wait[k].arg = j;
		c->set[k] = rquery_ask(j->router->pool, c->name, types[k],
		    &c->wait[k], &c->left_s[k]);
		if (c->wait[k].query != NULL)
			j->waiting++;
	}
}

/* Many jobs may be under way, and few have many hosts. */
static void
cands_trim(struct job *j)
{
	size_t n = j->ncands > 0 ? j->ncands : 1;
	struct cand *list = reallocarray(j->cands, n, sizeof(*list));

	if (list != NULL)
		j->cands = list;
}

static void
job_addrs(struct job *j)
{
	cands_trim(j);
	j->starting = true;
	for (size_t i = 0; i < j->ncands; i++) {
		if (!j->cands[i].direct)
			cand_ask(j, &j->cands[i]);
	}
	j->starting = false;
	job_step(j);
}

/* ---- from items to candidates ---- */

/* Keeps the list sorted and the best ones in it; equal ones stay in order. */
static void
cand_add(struct job *j, const struct cand *c)
{
	size_t at = j->ncands;

	while (at > 0 && j->cands[at - 1].rank > c->rank)
		at--;
	if (at == ROUTE_HOSTS_MAX)
		return;
	if (j->ncands == ROUTE_HOSTS_MAX)
		j->ncands--;
	memmove(&j->cands[at + 1], &j->cands[at],
	    (j->ncands - at) * sizeof(*c));
	j->cands[at] = *c;
	j->ncands++;
}

static void
cand_add_name(struct job *j, const struct rhost *h, uint16_t pref,
    const char *name, bool implicit)
{
	struct cand c = { .rank = (uint32_t)h->level << 16 | pref,
		.pref = pref, .port = h->port, .implicit = implicit };

	strlcpy(c.name, name, sizeof(c.name));
	cand_add(j, &c);
}

static void
item_mx_hosts(struct job *j, const struct item *it)
{
	const struct rset *mx = it->mx;
	bool any = false;

	if (mx->n == 1 && mx->rrs[0].name.n == 0) {
		definite_set(j, ROUTE_NULL_MX, "%s accepts no mail (null MX)",
		    it->host.name);
		return;
	}
	for (size_t i = 0; i < mx->n; i++) {
		/* RFC 7505 3: "." next to others means nothing */
		if (mx->rrs[i].name.n == 0)
			continue;
		any = true;
		cand_add_name(j, &it->host, mx->rrs[i].pref,
		    mx->rrs[i].name.p, false);
	}
	if (!any)
		definite_set(j, ROUTE_UNUSABLE,
		    "no MX record of %s names a host", it->host.name);
}

static void
item_mx(struct job *j, const struct item *it)
{
	if (is_failed(it->mx)) {
		temporary_set(j, it->mx, DNS_MX, it->host.name);
		return;
	}
	switch (it->mx->status) {
	case RSET_OK:
		item_mx_hosts(j, it);
		break;
	case RSET_NODATA:
		/* RFC 5321 5.1: the implicit MX, of preference 0 */
		cand_add_name(j, &it->host, 0, it->host.name, true);
		break;
	case RSET_NXDOMAIN:
		definite_set(j, ROUTE_NO_DOMAIN, "the domain %s does not exist",
		    it->host.name);
		break;
	case RSET_FAILED:
		break;
	}
}

static void
item_expand(struct job *j, const struct item *it)
{
	struct cand c = { .rank = (uint32_t)it->host.level << 16,
		.port = it->host.port, .direct = true };

	switch (it->host.kind) {
	case RHOST_MX:
		item_mx(j, it);
		return;
	case RHOST_NAME:
		cand_add_name(j, &it->host, 0, it->host.name, false);
		return;
	case RHOST_ADDR:
		c.addr = it->host.addr;
		strlcpy(c.name, it->host.name, sizeof(c.name));
		cand_add(j, &c);
		return;
	}
}

/* The preference that the route shows: with smtp-hosts, where preferences of
 * several sources meet, 0, 1, 2 and so on. */
static void
prefs_number(struct job *j)
{
	uint16_t pref = 0;

	for (size_t i = 0; i < j->ncands; i++) {
		if (i > 0 && j->cands[i].rank != j->cands[i - 1].rank)
			pref++;
		j->cands[i].pref = pref;
	}
}

static void
job_expand(struct job *j)
{
	j->cands = calloc(ROUTE_HOSTS_MAX, sizeof(*j->cands));
	if (j->cands == NULL) {
		job_end_text(j, ROUTE_AGAIN, "no memory");
		return;
	}
	for (size_t i = 0; i < j->nitems; i++)
		item_expand(j, &j->items[i]);
	if (j->explicit)
		prefs_number(j);
	job_addrs(j);
}

/* ---- the start of a job ---- */

static void
on_mx(struct rquery_wait *w, struct rset *set, uint32_t left_s)
{
	struct job *j = w->arg;

	for (size_t i = 0; i < j->nitems; i++) {
		if (&j->items[i].wait == w)
			j->items[i].mx = set;
	}
	ttl_lower(j, left_s);
	if (--j->waiting == 0 && !j->starting)
		job_expand(j);
}

static void
job_start(struct job *j)
{
	j->starting = true;
	for (size_t i = 0; i < j->nitems; i++) {
		struct item *it = &j->items[i];
		uint32_t left_s = UINT32_MAX;

		if (it->host.kind != RHOST_MX)
			continue;
		it->wait.done = on_mx;
		it->wait.arg = j;
		it->mx = rquery_ask(j->router->pool, it->host.name, DNS_MX,
		    &it->wait, &left_s);
		ttl_lower(j, left_s);
		if (it->wait.query != NULL)
			j->waiting++;
	}
	j->starting = false;
	if (j->waiting == 0)
		job_expand(j);
}

/* False: the job has ended with an error. */
static bool
job_items(struct job *j, struct sv domain, struct sv smtp_hosts, uint16_t port)
{
	struct rhost list[ROUTE_HOSTS_MAX], *h = &list[0];
	char safe[300], text[TEXT_SIZE];
	struct sv bad = SV("");
	struct str s;

	memset(h, 0, sizeof(*h));
	STR_ON(&s, text);
	if (j->explicit) {
		j->nitems = rhosts_parse(smtp_hosts, port, list,
		    ROUTE_HOSTS_MAX, &bad);
		str_addf(&s, "smtp-hosts: \"%s\" is not a host",
		    log_safe(bad, safe, sizeof(safe)));
	} else {
		j->nitems = 1;
		h->port = port;
		h->kind = RHOST_MX;
		if (!rhost_literal(domain, h) && !rhost_name(domain, h->name))
			j->nitems = 0;
		str_addf(&s, "\"%s\" is not a domain name",
		    log_safe(domain, safe, sizeof(safe)));
	}
	if (j->nitems == 0) {
		job_end_text(j, j->explicit ? ROUTE_TEMPORARY :
		    ROUTE_NO_DOMAIN, text);
		return false;
	}
	j->items = calloc(j->nitems, sizeof(*j->items));
	if (j->items == NULL) {
		j->nitems = 0;
		job_end_text(j, ROUTE_AGAIN, "no memory");
		return false;
	}
	for (size_t i = 0; i < j->nitems; i++)
		j->items[i].host = list[i];
	return true;
}

static void
no_memory(struct rrouter *r, uint64_t token)
{
	r->done(r->arg, token, &(struct rroute_result){
	    .status = ROUTE_AGAIN, .ttl_s = 1, .text = SV("no memory") });
}

static void
job_begin(struct rrouter *r, uint64_t token, struct sv domain,
    struct sv smtp_hosts, uint16_t port)
{
	struct job *j = calloc(1, sizeof(*j));

	if (j == NULL) {
		no_memory(r, token);
		return;
	}
	j->router = r;
	j->token = token;
	j->explicit = sv_trim(smtp_hosts).n > 0;
	j->ttl_s = RROUTE_TTL_MAX;
	log_safe(domain, j->domain, sizeof(j->domain));
	LIST_INSERT_HEAD(&r->jobs, j, link);
	r->njobs++;
	if (job_items(j, domain, smtp_hosts, port))
		job_start(j);
}

/* ---- jobs that wait for others to end ---- */

/* The first one, now the caller's to free; NULL without any. */
static struct request *
request_take(struct rrouter *r)
{
	struct request *q = TAILQ_FIRST(&r->requests);

	if (q == NULL)
		return NULL;
	TAILQ_REMOVE(&r->requests, q, link);
	r->nrequests--;
	return q;
}

static void
request_add(struct rrouter *r, uint64_t token, struct sv domain,
    struct sv smtp_hosts, uint16_t port)
{
	struct request *q = calloc(1, sizeof(*q) + domain.n + smtp_hosts.n);

	if (q == NULL) {
		no_memory(r, token);
		return;
	}
	q->token = token;
	q->port = port;
	q->domain_n = domain.n;
	q->hosts_n = smtp_hosts.n;
	if (domain.n > 0)
		memcpy(q->bytes, domain.p, domain.n);
	if (smtp_hosts.n > 0)
		memcpy(q->bytes + domain.n, smtp_hosts.p, smtp_hosts.n);
	TAILQ_INSERT_TAIL(&r->requests, q, link);
	r->nrequests++;
}

static void
on_pump(evutil_socket_t fd, short what, void *arg)
{
	struct rrouter *r = arg;
	struct request *q;

	(void)fd;
	(void)what;
	for (int i = 0; i < BEGIN_A_TURN && r->njobs < r->max; i++) {
		q = request_take(r);
		if (q == NULL)
			return;
		job_begin(r, q->token, sv_make(q->bytes, q->domain_n),
		    sv_make(q->bytes + q->domain_n, q->hosts_n), q->port);
		free(q);
	}
	router_pump(r);
}

void
rrouter_resolve(struct rrouter *r, uint64_t token, struct sv domain,
    struct sv smtp_hosts, uint16_t port)
{
	if (r->njobs < r->max && TAILQ_EMPTY(&r->requests))
		job_begin(r, token, domain, smtp_hosts, port);
	else
		request_add(r, token, domain, smtp_hosts, port);
}

/* ---- the router ---- */

struct rrouter *
rrouter_new(struct event_base *base, struct rquery_pool *pool,
    rroute_done_fn *done, void *arg)
{
	struct rrouter *r = calloc(1, sizeof(*r));

	if (r == NULL)
		fatal("no memory for the resolver");
	r->pool = pool;
	r->done = done;
	r->arg = arg;
	r->max = RROUTE_JOBS_MAX;
	r->pump = evtimer_new(base, on_pump, r);
	if (r->pump == NULL)
		fatal("no memory for the resolver");
	LIST_INIT(&r->jobs);
	TAILQ_INIT(&r->requests);
	return r;
}

void
rrouter_cancel_all(struct rrouter *r)
{
	struct request *q;
	struct job *j;

	while ((q = request_take(r)) != NULL)
		free(q);
	while ((j = LIST_FIRST(&r->jobs)) != NULL)
		/* It takes itself off the list.
		 * NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		job_free(j);
}

void
rrouter_free(struct rrouter **rp)
{
	struct rrouter *r = *rp;

	*rp = NULL;
	if (r == NULL)
		return;
	rrouter_cancel_all(r);
	event_free(r->pump);
	free(r);
}

void
rrouter_self_set(struct rrouter *r, const struct rself *self)
{
	r->self = self;
}

size_t
rrouter_jobs(const struct rrouter *r)
{
	return r->njobs + r->nrequests;
}

void
rrouter_jobs_max_set(struct rrouter *r, size_t max)
{
	r->max = max;
}
