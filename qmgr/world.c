/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/spool/event.h"
#include "qmgr/sched_private.h"
#include "qmgr/world.h"

enum wevent_kind { E_ROUTE, E_CONNECTED, E_ANSWER, E_IDLE };

struct wevent {
	int64_t t;
	uint64_t seq, session, stamp;
	uint32_t queue;
	uint8_t kind;
};

struct wdeliver {
	struct wdeliver *next;
	uint64_t id;
	uint32_t n, idx[];
};

struct wsession {
	uint64_t id;
	uint32_t at;         /* in w->sessions */
	uint32_t queue, worker, source, host;
	uint32_t nmsgs, max_msgs;
	int64_t idle;
	uint64_t stamp;      /* idle events with another one are void */
	struct sched_target *to; /* tries in turn, in its remote's mx */
	uint32_t nto, at_to;
	uint32_t peer;       /* where it is, from 1; 0: not told */
	bool up, closing;
	struct wdeliver *first, **last;
};

struct wname {           /* of a queue */
	uint32_t queue, n;
	char text[];
};

static void *
grown(void *p, size_t *size, size_t n, size_t each)
{
	if (n < *size)
		return p;
	*size = *size == 0 ? 1024 : *size * 2;
	p = reallocarray(p, *size, each);
	if (p == NULL)
		abort();
	return p;
}

static void
fail(const char *what)
{
	fprintf(stderr, "world: %s\n", what);
	abort();
}

struct sched_now
world_now(const struct world *w)
{
	return (struct sched_now){ .mono = { w->t + US_PER_SEC },
		.wall = { WORLD_WALL0 + w->t + w->wall_off } };
}

static uint64_t
name_hash(struct sv name)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < name.n; i++)
		h = (h ^ (unsigned char)name.p[i]) *
		    UINT64_C(0x100000001b3);
	return h ^ h >> 32;
}

static uint64_t
wname_hash(const void *entry)
{
	const struct wname *n = entry;

	return name_hash(sv_make(n->text, n->n));
}

static bool
wname_is(const void *entry, const void *key)
{
	const struct wname *n = entry;

	return sv_eq(sv_make(n->text, n->n), *(const struct sv *)key);
}

static void
name_keep(struct world *w, struct sv name, uint32_t queue)
{
	struct wname *n = malloc(sizeof(*n) + name.n);

	if (n == NULL)
		abort();
	n->queue = queue;
	n->n = (uint32_t)name.n;
	memcpy(n->text, name.p, name.n);
	if (htab_insert(&w->by_name, n) != 0)
		abort();
}

uint32_t
world_queue(struct world *w, struct sv name)
{
	const struct wname *known = htab_find(&w->by_name, name_hash(name),
	    wname_is, &name);

	if (known != NULL)
		return known->queue;
	name_keep(w, name, w->nnames);
	w->names = reallocarray(w->names, w->nnames + 1, sizeof(*w->names));
	w->max_sessions = reallocarray(w->max_sessions, w->nnames + 1, 4);
	w->now_sessions = reallocarray(w->now_sessions, w->nnames + 1, 4);
	w->own = reallocarray(w->own, w->nnames + 1, sizeof(struct remote *));
	if (w->names == NULL || w->max_sessions == NULL ||
	    w->now_sessions == NULL || w->own == NULL)
		abort();
	snprintf(w->names[w->nnames], WORLD_NAME, "%.*s", SV_FMT(name));
	w->own[w->nnames] = NULL;
	w->max_sessions[w->nnames] = w->now_sessions[w->nnames] = 0;
	return w->nnames++;
}

/* The queue's number is kept in the scheduler, next to the queue. */
static uint32_t
queue_of(struct world *w, const struct squeue *q)
{
	uintptr_t u = (uintptr_t)sched_queue_user(q);

	if (u == 0) {
		u = world_queue(w, squeue_name(q)) + 1;
		sched_queue_user_set((struct squeue *)(uintptr_t)q, (void *)u);
	}
	return (uint32_t)(u - 1);
}

static void
note_from(struct world *w, enum what what, uint32_t queue, uint64_t id,
    uint32_t n, uint32_t source)
{
	struct happening h = { .t = w->t, .id = id, .queue = queue, .n = n,
		.source = source, .what = (uint8_t)what };

	if (w->told != NULL) {
		w->told(w->told_arg, &h);
		return;
	}
	w->log = grown(w->log, &w->log_size, w->nlog, sizeof(*w->log));
	w->log[w->nlog++] = h;
}

static void
note(struct world *w, enum what what, uint32_t queue, uint64_t id, uint32_t n)
{
	note_from(w, what, queue, id, n, 0);
}

/* ---- events to come: a heap by time, then by order of making ---- */

static bool
before(const struct wevent *a, const struct wevent *b)
{
	return a->t != b->t ? a->t < b->t : a->seq < b->seq;
}

static void
event_push(struct world *w, struct wevent e)
{
	size_t i;

	w->events = grown(w->events, &w->events_size, w->nevents,
	    sizeof(*w->events));
	e.seq = w->seq++;
	for (i = w->nevents++; i > 0 && before(&e, &w->events[(i - 1) / 2]);
	    i = (i - 1) / 2)
		w->events[i] = w->events[(i - 1) / 2];
	w->events[i] = e;
}

static struct wevent
event_pop(struct world *w)
{
	struct wevent top = w->events[0], e = w->events[--w->nevents];
	size_t i = 0, c;

	while ((c = i * 2 + 1) < w->nevents) {
		if (c + 1 < w->nevents &&
		    before(&w->events[c + 1], &w->events[c]))
			c++;
		if (!before(&w->events[c], &e))
			break;
		w->events[i] = w->events[c];
		i = c;
	}
	w->events[i] = e;
	return top;
}

/* ---- remotes ---- */

static void
remote_init(struct remote *r)
{
	*r = (struct remote){ .latency = 10 * US_PER_MS,
		.connect_latency = 10 * US_PER_MS,
		.dns_latency = 10 * US_PER_MS, .ttl = 3600 * US_PER_SEC,
		.reply = 250, .connect = -1 };
}

struct remote *
world_remote(struct world *w, const char *domain)
{
	struct remote *r;

	for (uint32_t i = 0; i < w->nremotes; i++) {
		if (strcmp(w->remotes[i].domain, domain) == 0)
			return &w->remotes[i];
	}
	w->remotes = reallocarray(w->remotes, w->nremotes + 1, sizeof(*r));
	if (w->remotes == NULL)
		abort();
	r = &w->remotes[w->nremotes++];
	remote_init(r);
	snprintf(r->domain, sizeof(r->domain), "%s", domain);
	return r;
}

struct remote *
world_queue_remote(struct world *w, uint32_t queue)
{
	if (w->own[queue] == NULL) {
		w->own[queue] = malloc(sizeof(struct remote));
		if (w->own[queue] == NULL)
			abort();
		remote_init(w->own[queue]);
	}
	return w->own[queue];
}

static struct remote *
remote_of(struct world *w, uint32_t queue)
{
	char domain[128];
	struct remote *r;

	if (w->own[queue] != NULL)
		return w->own[queue];
	snprintf(domain, sizeof(domain), "%.*s",
	    (int)strcspn(w->names[queue], "/"), w->names[queue]);
	for (uint32_t i = 0; i < w->nremotes; i++) {
		r = &w->remotes[i];
		if (strcmp(r->domain, domain) == 0 &&
		    (r->until == 0 || w->t < r->until))
			return r;
	}
	return world_remote(w, "*");
}

/* ---- sessions ---- */

static uint64_t
id_hash(uint64_t id)
{
	id *= UINT64_C(0x9e3779b97f4a7c15);
	return id ^ id >> 32;
}

static uint64_t
wsession_hash(const void *entry)
{
	return id_hash(((const struct wsession *)entry)->id);
}

static bool
wsession_is(const void *entry, const void *key)
{
	return ((const struct wsession *)entry)->id == *(const uint64_t *)key;
}

static struct wsession *
wsession_find(const struct world *w, uint64_t id, uint32_t *at_r)
{
	struct wsession *se = htab_find(&w->by_id, id_hash(id), wsession_is,
	    &id);

	if (se != NULL)
		*at_r = se->at;
	return se;
}

static void
peer_leave(struct world *w, struct wsession *se)
{
	if (se->peer != 0)
		note_from(w, W_LEFT, se->queue, 0, 1, se->peer - 1);
	se->peer = 0;
}

/* The next of its addresses; false if there is none. */
static bool
peer_reach(struct world *w, struct wsession *se)
{
	const struct whost *h;
	uint32_t i;

	peer_leave(w, se);
	if (se->at_to == se->nto)
		return false;
	h = &remote_of(w, se->queue)->mx[se->to[se->at_to].host];
	for (i = 0; i < w->npeers; i++) {
		if (w->peers[i].source == se->source &&
		    strcmp(w->peers[i].host, h->name) == 0 &&
		    memcmp(&w->peers[i].ip, &h->addrs[se->to[se->at_to].addr],
		    sizeof(h->addrs[0])) == 0)
			break;
	}
	if (i == w->npeers) {
		w->peers = reallocarray(w->peers, ++w->npeers,
		    sizeof(*w->peers));
		if (w->peers == NULL)
			abort();
		w->peers[i] = (struct wpeer){ .source = se->source,
			.ip = h->addrs[se->to[se->at_to].addr] };
		memcpy(w->peers[i].host, h->name, sizeof(h->name));
	}
	se->peer = i + 1;
	note_from(w, W_REACHED, se->queue, 0, 1, i);
	return true;
}

static void
session_free(struct world *w, uint32_t at)
{
	struct wsession *se = w->sessions[at];
	struct wdeliver *d;

	peer_leave(w, se);
	free(se->to);
	while ((d = se->first) != NULL) {
		se->first = d->next;
		free(d);
	}
	w->now_sessions[se->queue]--;
	w->sources[se->source].now--;
	(void)htab_remove(&w->by_id, se);
	w->sessions[at] = w->sessions[--w->nsessions];
	w->sessions[at]->at = at;
	free(se);
}

static struct sv
host_name(const struct wsession *se, char name[16])
{
	snprintf(name, 16, "mx%u", se->host);
	return sv_from(name);
}

static void
session_over(struct world *w, uint64_t id, enum session_end end,
    const char *text)
{
	struct sched_why why = { .status = SV("4.4.2"),
		.diag = sv_from(text) };
	uint32_t at = 0;
	struct wsession *se = wsession_find(w, id, &at);
	char host[16];

	why.host = host_name(se, host);

	if (end == END_GREETING_PERM)
		why.status = SV("5.3.2");
	note(w, W_ENDED, se->queue, 0, 1);
	session_free(w, at);
	sched_session_end(w->s, world_now(w), id, end, 0, &why);
}

static void
on_resolve(void *arg, struct squeue *q, struct sv domain, struct sv vmta,
    const struct conf_domain *conf)
{
	struct world *w = arg;
	uint32_t queue = queue_of(w, q);

	(void)domain;
	(void)vmta;
	(void)conf;
	note(w, W_RESOLVED, queue, 0, 1);
	event_push(w, (struct wevent){ .t = w->t +
	    remote_of(w, queue)->dns_latency, .queue = queue,
	    .kind = E_ROUTE });
}

/* From which address; a world does not have many. */
static uint32_t
source_of(struct world *w, const struct sched_session *v)
{
	const struct conf_vmta *c = conf_vmta_find(w->conf, v->vmta);
	char ip[46] = "system";
	uint32_t i;

	if (c != NULL && v->source < c->smtp_source_host.n)
		(void)route_addr_format(&c->smtp_source_host.v[v->source].ip,
		    ip);
	for (i = 0; i < w->nsources; i++) {
		if (strcmp(w->sources[i].ip, ip) == 0)
			return i;
	}
	if (i == 64)
		fail("too many source addresses");
	memcpy(w->sources[w->nsources++].ip, ip, sizeof(ip));
	return i;
}

static void
source_count(struct wsource *so)
{
	so->opened++;
	if (++so->now > so->max)
		so->max = so->now;
}

static const struct route *
on_route(void *arg, const struct squeue *q, bool *relay_r)
{
	struct world *w = arg;
	struct remote *r = remote_of(w, queue_of(w, q));

	if (r->nmx == 0)
		return NULL;
	for (unsigned i = 0; i < r->nmx; i++)
		w->route_hosts[i] = (struct route_host){
			.preference = r->mx[i].preference, .port = 25,
			.name = sv_from(r->mx[i].name),
			.addrs = r->mx[i].addrs,
			.naddrs = (uint8_t)r->mx[i].naddrs };
	w->route = (struct route){ .hosts = w->route_hosts,
		.nhosts = (uint8_t)r->nmx };
	*relay_r = r->relay;
	return &w->route;
}

/* All that it may connect to; of equal preference by turns. */
static void
targets_set(struct world *w, struct wsession *se,
    const struct sched_session *v)
{
	struct remote *r = remote_of(w, se->queue);
	uint32_t best = 0;

	if (r->nmx == 0)
		return;
	se->to = calloc(8 * WORLD_HOST_ADDRS + 1, sizeof(*se->to));
	if (se->to == NULL)
		abort();
	for (unsigned h = 0; h < r->nmx; h++)
		for (unsigned a = 0; a < r->mx[h].naddrs; a++) {
			bool may = v->targets == NULL;

			for (uint32_t i = 0; i < v->ntargets; i++)
				may |= v->targets[i].host == h &&
				    v->targets[i].addr == a;
			if (!may)
				continue;
			se->to[se->nto].host = (uint8_t)h;
			se->to[se->nto++].addr = (uint8_t)a;
			best += r->mx[h].preference ==
			    r->mx[se->to[0].host].preference;
		}
	if (best > 1) {
		uint32_t k = (uint32_t)(se->id % best);
		uint32_t last = se->nto - 1;

		/* the first one changes, that is enough */
		se->to[last + 1] = se->to[0];
		se->to[0] = se->to[k];
		se->to[k] = se->to[last + 1];
	}
}

static void
on_session_open(void *arg, const struct sched_session *v)
{
	struct world *w = arg;
	struct wsession *se = calloc(1, sizeof(*se));
	size_t size = w->sessions_size;

	if (se == NULL)
		abort();
	se->id = v->id;
	se->worker = v->worker;
	se->queue = queue_of(w, v->queue);
	se->max_msgs = v->conf->max_msg_per_connection;
	se->idle = v->conf->connection_idle_timeout_ms * US_PER_MS;
	se->last = &se->first;
	w->sessions = grown(w->sessions, &size, w->nsessions, sizeof(se));
	w->sessions_size = (uint32_t)size;
	se->at = w->nsessions;
	w->sessions[w->nsessions++] = se;
	if (htab_insert(&w->by_id, se) != 0)
		abort();
	if (++w->now_sessions[se->queue] > w->max_sessions[se->queue])
		w->max_sessions[se->queue] = w->now_sessions[se->queue];
	if (w->nsessions > w->max_all)
		w->max_all = w->nsessions;
	se->host = remote_of(w, se->queue)->skipped;
	se->source = source_of(w, v);
	source_count(&w->sources[se->source]);
	targets_set(w, se, v);
	(void)peer_reach(w, se);
	note(w, W_OPENED, se->queue, 0, 1);
	event_push(w, (struct wevent){ .t = w->t +
	    remote_of(w, se->queue)->connect_latency, .session = se->id,
	    .kind = E_CONNECTED });
}

static void
answer_later(struct world *w, const struct wsession *se)
{
	event_push(w, (struct wevent){ .t = w->t +
	    remote_of(w, se->queue)->latency, .session = se->id,
	    .kind = E_ANSWER });
}

static void
on_deliver(void *arg, const struct sched_session *v, const struct smsg *m,
    const uint32_t *idx, uint32_t n)
{
	struct world *w = arg;
	struct wdeliver *d = malloc(sizeof(*d) + n * sizeof(*idx));
	uint32_t at = 0;
	struct wsession *se = wsession_find(w, v->id, &at);

	if (d == NULL || se == NULL || !se->up || se->closing)
		fail("DELIVER for a session that takes none");
	for (uint32_t i = 0; i < n; i++) {
		if (smsg_rcpt_state(m, idx[i]) != SR_INFLIGHT)
			fail("DELIVER of a recipient that is not in flight");
	}
	d->next = NULL;
	d->id = m->id;
	d->n = n;
	memcpy(d->idx, idx, n * sizeof(*idx));
	if (n > w->max_group)
		w->max_group = n;
	if (se->first == NULL)
		answer_later(w, se);
	*se->last = d;
	se->last = &d->next;
	se->stamp++;
	note_from(w, W_DISPATCHED, se->queue, m->id, n, se->source);
	note(w, W_DELIVERS, se->queue, m->id, 1);
}

/* A new session waits a second for its first message. */
static void
idle_start(struct world *w, struct wsession *se)
{
	int64_t idle = se->idle;

	if (se->closing)
		idle = 0;
	else if (se->nmsgs == 0 && idle < US_PER_SEC)
		idle = US_PER_SEC;
	se->stamp++;
	event_push(w, (struct wevent){ .t = w->t + idle, .session = se->id,
	    .stamp = se->stamp, .kind = E_IDLE });
}

static void
on_session_close(void *arg, uint64_t session, unsigned worker)
{
	struct world *w = arg;
	uint32_t at = 0;
	struct wsession *se = wsession_find(w, session, &at);

	(void)worker;
	if (se == NULL || se->closing)
		fail("closing a session that is not there");
	se->closing = true;
	note(w, W_CLOSED, se->queue, 0, 1);
	if (se->first == NULL)
		idle_start(w, se);
}

static void
on_give_up(void *arg, struct smsg *m, uint32_t idx,
    const struct sched_why *why)
{
	struct world *w = arg;
	uint32_t queue = queue_of(w, smsg_rcpt_queue(m, idx));

	if (m->id <= remote_of(w, queue)->unread) {
		note(w, W_UNREAD, queue, m->id, 1);
		return;
	}
	snprintf(w->last_status, sizeof(w->last_status), "%.*s",
	    SV_FMT(why->status));
	snprintf(w->last_diag, sizeof(w->last_diag), "%.*s",
	    SV_FMT(why->diag));
	note(w, W_GIVEN_UP, queue, m->id, 1);
	sched_final(w->s, world_now(w), m, idx, SR_DONE);
}

static void
on_queue_deferred(void *arg, const struct squeue *q, struct wall next,
    uint32_t failures, const struct sched_why *why)
{
	struct world *w = arg;

	(void)why;
	if (next.us <= world_now(w).wall.us)
		fail("a queue is deferred to the past");
	note(w, W_QFAIL, queue_of(w, q), 0, failures);
}

static void
on_msg_done(void *arg, const struct smsg *m)
{
	struct world *w = arg;

	(void)m;
	w->done++;
}

static void
on_queue_gone(void *arg, struct squeue *q)
{
	struct world *w = arg;

	if (w->gone != NULL)
		w->gone(w->told_arg, q);
}

static bool
on_mx_skipped(void *arg, const struct squeue *q, struct sv host,
    const struct conf_reply *rule, struct sv reply)
{
	struct world *w = arg;
	struct remote *r = remote_of(w, queue_of(w, q));
	uint64_t n;

	(void)rule;
	(void)reply;
	if (!sv_to_u64(sv_from_at(host, 2), UINT32_MAX, &n) || n < r->skipped)
		return n < r->skipped;
	if (r->skipped + 1 >= r->hosts)
		return false;
	r->skipped++;
	return true;
}

static const struct sched_ops world_ops = {
	.resolve = on_resolve, .route = on_route,
	.session_open = on_session_open,
	.deliver = on_deliver, .session_close = on_session_close,
	.give_up = on_give_up, .queue_deferred = on_queue_deferred,
	.msg_done = on_msg_done, .queue_gone = on_queue_gone,
	.mx_skipped = on_mx_skipped,
};

/* ---- what happens ---- */

static void
happens_route(struct world *w, uint32_t queue)
{
	static const enum route_status status[] = { ROUTE_OK, ROUTE_TEMPORARY,
		ROUTE_NO_DOMAIN, ROUTE_NULL_MX, ROUTE_UNUSABLE, ROUTE_SELF,
		ROUTE_AGAIN };
	struct remote *r = remote_of(w, queue);
	const char *name = w->names[queue];
	size_t n = strcspn(name, "/");
	struct squeue *q = sched_queue_find(w->s, sv_make(name, n),
	    sv_from(name + n + 1));

	if (q == NULL)
		return;
	r->skipped = 0;
	if (r->dns == DNS_OK)
		sched_site(w->s, world_now(w), q, sv_from(r->site),
		    sv_iends(sv_from(r->site), SV(".rollup")));
	sched_route(w->s, world_now(w), q, status[r->dns],
	    r->ttl / US_PER_MS, NULL);
}

static bool
host_is_bad(const struct remote *r, const struct wsession *se)
{
	return r->hosts == 0 || se->host < r->bad_hosts;
}

static void
happens_connected(struct world *w, uint64_t id)
{
	uint32_t at = 0;
	struct wsession *se = wsession_find(w, id, &at);
	const struct remote *r;

	if (se == NULL)
		return;
	r = remote_of(w, se->queue);
	if (se->peer != 0 && r->mx[se->to[se->at_to].host].down) {
		se->at_to++;
		if (peer_reach(w, se))
			event_push(w, (struct wevent){ .t = w->t +
			    r->connect_latency, .session = se->id,
			    .kind = E_CONNECTED });
		else
			session_over(w, id, END_CONNECT, "all are down");
		return;
	}
	if (r->connect >= 0 && host_is_bad(r, se)) {
		session_over(w, id, (enum session_end)r->connect,
		    r->say[0] != '\0' ? r->say : "cannot connect");
		return;
	}
	if (r->max_sessions != 0 &&
	    w->now_sessions[se->queue] > r->max_sessions) {
		session_over(w, id, END_GREETING_TEMP, "too many connections");
		return;
	}
	se->up = true;
	note(w, W_UP, se->queue, 0, 1);
	if (se->peer == 0) {
		sched_session_up(w->s, world_now(w), id, SV(""), SV(""));
	} else {
		const struct wpeer *p = &w->peers[se->peer - 1];
		char ip[46];

		sched_session_up(w->s, world_now(w), id, sv_from(p->host),
		    sv_from(route_addr_format(&p->ip, ip)));
	}
	if (se->closing || se->first == NULL)
		idle_start(w, se);
}

/* The same for the same try of the same message, whatever else happens: what
 * two configurations make of it can be compared. */
static float
chance(const struct world *w, const struct smsg *m, uint32_t idx)
{
	uint64_t x = w->seed * UINT64_C(0x9e3779b97f4a7c15) + m->id * 1024 +
	    smsg_rcpt_attempts(m, idx);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (float)((x ^ (x >> 31)) >> 40) / (float)(1 << 24);
}

static enum outcome
outcome_of(const struct world *w, struct remote *r, const struct smsg *m,
    uint32_t idx)
{
	if (r->defer > 0 || r->refuse > 0) {
		float c = chance(w, m, idx);

		return c < r->defer ? OUT_TEMPORARY :
		    c < r->defer + r->refuse ? OUT_PERMANENT : OUT_DELIVERED;
	}
	if (smsg_rcpt_attempts(m, idx) < r->fail_first)
		return OUT_TEMPORARY;
	if (r->drop != 0 && r->count % r->drop == 0)
		return OUT_LOST;
	if (r->doubt != 0 && r->count % r->doubt == 0)
		return OUT_IN_DOUBT;
	return r->reply < 400 ? OUT_DELIVERED :
	    r->reply < 500 ? OUT_TEMPORARY : OUT_PERMANENT;
}

static enum outcome
answer(struct world *w, struct wsession *se, const struct wdeliver *d,
    struct remote *r)
{
	static const enum what whats[] = { W_DELIVERED, W_DEFERRED, W_FAILED };
	enum outcome out = OUT_DELIVERED;
	uint64_t session = se->id;
	uint32_t queue = se->queue;

	r->count++;
	for (uint32_t i = 0; i < d->n; i++) {
		struct smsg *m = sched_msg_find(w->s, d->id);
		char text[96], host[16];
		struct sched_result res = { .status = SV("4.2.0"),
			.host = host_name(se, host) };
		struct sched_decision dec;

		if (m == NULL)
			continue;
		out = res.outcome = host_is_bad(r, se) ?
		    outcome_of(w, r, m, d->idx[i]) : OUT_DELIVERED;
		snprintf(text, sizeof(text), "%u %s", out == OUT_DELIVERED ?
		    250 : r->reply < 400 ? 451 : r->reply,
		    r->say[0] != '\0' ? r->say : "4.2.0 as told");
		res.text = sv_from(text);
		if (sched_result(w->s, world_now(w), session, m, d->idx[i],
		    &res, &dec))
			note(w, whats[dec.action], queue, d->id, 1);
	}
	sched_deliver_done(w->s, world_now(w), session, d->id);
	return out;
}

static void
happens_answer(struct world *w, uint64_t id)
{
	uint32_t at = 0;
	struct wsession *se = wsession_find(w, id, &at);
	struct wdeliver *d;
	struct remote *r;
	enum outcome out;

	if (se == NULL)
		return;
	d = se->first;
	se->first = d->next;
	if (se->first == NULL)
		se->last = &se->first;
	r = remote_of(w, se->queue);
	out = answer(w, se, d, r);
	free(d);
	se->nmsgs++;
	if (out == OUT_LOST || out == OUT_IN_DOUBT)
		session_over(w, id, END_LOST, "connection lost");
	else if (r->limit != 0 && se->nmsgs >= r->limit)
		session_over(w, id, END_421, "421 closing");
	else if (se->max_msgs != 0 && se->nmsgs >= se->max_msgs)
		session_over(w, id, END_LIMIT, "");
	else if (se->first != NULL)
		answer_later(w, se);
	else
		idle_start(w, se);
}

static void
happens_idle(struct world *w, uint64_t id, uint64_t stamp)
{
	uint32_t at = 0;
	struct wsession *se = wsession_find(w, id, &at);

	if (se != NULL && se->first == NULL && se->up && se->stamp == stamp)
		session_over(w, id, END_IDLE, "");
}

static void
happens(struct world *w, const struct wevent *e)
{
	switch (e->kind) {
	case E_ROUTE:
		happens_route(w, e->queue);
		return;
	case E_CONNECTED:
		happens_connected(w, e->session);
		return;
	case E_ANSWER:
		happens_answer(w, e->session);
		return;
	default:
		happens_idle(w, e->session, e->stamp);
		return;
	}
}

static void
decide(struct world *w)
{
	for (int i = 0; sched_run(w->s, world_now(w)); i++) {
		if (i == 1000000)
			fail("sched_run() finds no end");
	}
}

void
world_until(struct world *w, int64_t t)
{
	int same = 0;

	decide(w);
	for (;;) {
		int64_t next = sched_next(w->s).us, was = w->t;

		if (next != INT64_MAX)
			next -= US_PER_SEC;
		if (w->nevents > 0 && w->events[0].t < next)
			next = w->events[0].t;
		if (next > t)
			break;
		if (next > w->t)
			w->t = next;
		while (w->nevents > 0 && w->events[0].t <= w->t) {
			struct wevent e = event_pop(w);

			happens(w, &e);
		}
		decide(w);
		same = w->t == was ? same + 1 : 0;
		if (same > 1000000)
			fail("time stands still");
	}
	w->t = t;
	decide(w);
}

/* ---- from the script ---- */

void
world_init(struct world *w)
{
	*w = (struct world){ .seed = 1 };
	htab_init(&w->by_id, wsession_hash);
	htab_init(&w->by_name, wname_hash);
	(void)world_remote(w, "*");
}

void
world_fini(struct world *w)
{
	void *name;
	size_t at = 0;

	while (w->nsessions > 0)
		session_free(w, 0);
	sched_free(&w->s);
	if (!w->borrowed)
		conf_free(&w->conf);
	for (uint32_t i = 0; i < w->nnames; i++)
		free(w->own[i]);
	while ((name = htab_next(&w->by_name, &at)) != NULL)
		free(name);
	htab_fini(&w->by_name);
	htab_fini(&w->by_id);
	free(w->own);
	free(w->remotes);
	free(w->events);
	free(w->sessions);
	free(w->names);
	free(w->log);
	free(w->msgs);
	free(w->peers);
	free(w->max_sessions);
	free(w->now_sessions);
}

void
world_conf(struct world *w, struct conf *conf)
{
	struct conf *old = w->conf;

	w->conf = conf;
	if (w->s == NULL) {
		w->s = sched_new(&world_ops, w, conf, w->seed);
		sched_worker_add(w->s, 0);
	} else {
		sched_conf_set(w->s, world_now(w), conf);
	}
	conf_free(&old);
}

void
world_conf_borrow(struct world *w, const struct conf *conf)
{
	w->borrowed = true;
	w->conf = (struct conf *)(uintptr_t)conf;
	w->s = sched_new(&world_ops, w, conf, w->seed);
	sched_worker_add(w->s, 0);
}

/* The domains of message number i of a spec, one per recipient. */
static uint32_t
msg_domains(const struct spec *sp, uint32_t i, struct sv *out)
{
	uint32_t n = 0;

	for (uint32_t d = 0; d < (sp->together ? sp->ndomains : 1); d++) {
		for (uint32_t k = 0; k < sp->rcpts; k++)
			out[n++] = sp->domains[sp->together ? d :
			    i % sp->ndomains];
	}
	return n;
}

static void
msg_put(struct world *w, const struct sched_msg *m, const struct wmsg *wm)
{
	const struct spec *sp = wm->spec;
	struct sv *domains = calloc((size_t)sp->ndomains * sp->rcpts + 1,
	    sizeof(*domains));
	struct smsg *added;
	uint32_t n;

	if (domains == NULL)
		abort();
	n = msg_domains(sp, wm->i, domains);
	added = sched_msg_add(w->s, world_now(w), m, sv_from(sp->vmta),
	    domains, n);
	if (added == NULL)
		fail("sched_msg_add() refused a message");
	for (uint32_t i = 0; i < n; i++)
		sched_rcpt_prioritize(w->s, world_now(w), added, i,
		    sp->priority);
	free(domains);
}

void
world_add(struct world *w, const struct spec *spec, int64_t age)
{
	struct sched_msg m = { .id = w->nmsgs + 1, .segment = 1,
		.length = 800, .body_len = 600,
		.arrival_us = world_now(w).wall.us - age };
	struct wmsg wm = { .spec = spec, .i = (uint32_t)w->nmsgs };

	w->msgs = grown(w->msgs, &w->msgs_size, w->nmsgs, sizeof(*w->msgs));
	w->msgs[w->nmsgs++] = wm;
	w->added++;
	msg_put(w, &m, &wm);
}

void
world_worker_kill(struct world *w, unsigned number)
{
	for (uint32_t i = w->nsessions; i-- > 0; ) {
		if (w->sessions[i]->worker == number)
			session_free(w, i);
	}
	sched_worker_remove(w->s, world_now(w), number);
}

static void
msg_restore(struct world *w, struct sched *old, const struct smsg *om)
{
	struct sched_msg info;
	struct smsg *m;

	(void)old;
	smsg_info(om, &info);
	msg_put(w, &info, &w->msgs[info.id - 1]);
	for (uint32_t i = 0; i < om->nrcpts; i++) {
		enum srcpt_state st = smsg_rcpt_state(om, i);

		m = sched_msg_find(w->s, info.id);
		if (st != SR_DONE)
			(void)sched_rcpt_move(w->s, world_now(w), m, i,
			    smsg_rcpt_vmta(om, i));
		sched_rcpt_prioritize(w->s, world_now(w), m, i,
		    smsg_rcpt_priority(om, i));
		sched_rcpt_restore(w->s, world_now(w), m, i,
		    st == SR_INFLIGHT ? SR_READY : st,
		    smsg_rcpt_attempts(om, i), smsg_rcpt_next_us(om, i));
	}
}

static void
workers_kept(struct world *w)
{
	for (uint32_t i = 0; i < w->nsessions; i++) {
		const struct wsession *se = w->sessions[i];

		for (struct wdeliver *d = se->first; d != NULL; d = d->next) {
			for (uint32_t k = 0; k < d->n; k++)
				sched_rcpt_held_by(w->s,
				    sched_msg_find(w->s, d->id), d->idx[k],
				    se->worker);
		}
		w->sessions[i]->closing = true;
		if (se->first == NULL)
			idle_start(w, w->sessions[i]);
	}
}

static int
used_restore(void *arg, const struct sched_used *u)
{
	const struct world *w = arg;

	sched_used_restore(w->s, world_now(w), u);
	return 0;
}

static int
warmup_restore(void *arg, const struct sched_warmup_day *d)
{
	const struct world *w = arg;

	sched_warmup_restore(w->s, world_now(w), d);
	return 0;
}

/* In order; or, keep, a crash after which the workers live on. */
void
world_restart(struct world *w, bool keep)
{
	struct sched *old = w->s;
	const struct smsg *m;
	struct sched_source so;
	const void *off = NULL;
	struct squeue *q;
	size_t at = 0;

	if (!keep) {
		while (w->nsessions > 0)
			session_free(w, 0);
	}
	w->s = sched_new(&world_ops, w, w->conf, ++w->seed);
	while ((m = sched_msg_next(old, &at)) != NULL)
		msg_restore(w, old, m);
	(void)sched_used_each(old, used_restore, w);
	(void)sched_warmup_each(old, warmup_restore, w);
	at = 0;
	while ((q = sched_queue_next(old, &at)) != NULL) {
		struct sched_queue_state st;

		sched_queue_state(q, &st);
		(void)sched_queue_state_set(w->s, world_now(w), squeue_domain(q),
		    squeue_vmta(q), &st);
	}
	while (sched_source_next(old, &off, &so))
		(void)sched_source_disable(w->s, world_now(w), &so);
	if (keep)
		sched_connects_unknown(w->s, world_now(w));
	sched_worker_add(w->s, 0);
	if (keep)
		workers_kept(w);
	sched_free(&old);
}
