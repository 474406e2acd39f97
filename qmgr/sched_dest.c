/* SPDX-License-Identifier: ISC */
/*
 * Limits of what sessions connect to: hosts, networks, relays. A session that
 * connects holds a place at all that it may come to, one that is up where it
 * is. A queue waits for several places at once; the first that comes back is
 * granted to it. A limit is there as long as somebody holds a place of it.
 */
#include <stdlib.h>

#include "common/base/siphash.h"
#include "common/base/str.h"
#include "qmgr/sched_private.h"

#define WAITS_MAX 64u /* of one queue */

struct dest_key {
	enum dest_kind kind;
	struct route_addr source;
	struct sv name;
};

static bool
dest_match(const void *entry, const void *key)
{
	const struct sdest *d = entry;
	const struct dest_key *k = key;

	return d->kind == k->kind && addr_same(&d->source, &k->source) &&
	    sv_eq(d->name, k->name);
}

static uint64_t
key_hash(const struct sched *s, const struct dest_key *k)
{
	uint64_t key[2] = { siphash24(s->hash_key, k->source.ip,
	    sizeof(k->source.ip)), (uint64_t)k->kind << 8 | k->source.family };

	return siphash24(key, k->name.p, k->name.n);
}

uint64_t
dest_hash(const void *entry)
{
	const struct sdest *d = entry;
	const struct dest_key k = { .kind = (enum dest_kind)d->kind,
		.source = d->source, .name = d->name };

	return key_hash(d->s, &k);
}

static struct sdest *
dest_find(const struct sched *s, const struct dest_key *k)
{
	return htab_find(&s->dests, key_hash(s, k), dest_match, k);
}

/* Made if it is not there; NULL without memory. */
static struct sdest *
dest_get(struct sched *s, const struct dest_key *k, uint32_t cap)
{
	struct sdest *d = dest_find(s, k);

	if (d != NULL) {
		d->cap = cap;
		return d;
	}
	d = calloc(1, sizeof(*d) + k->name.n);
	if (d == NULL)
		return NULL;
	d->s = s;
	d->kind = (uint8_t)k->kind;
	d->source = k->source;
	d->name = sv_make(d->text, k->name.n);
	memcpy(d->text, k->name.p, k->name.n);
	d->cap = cap;
	TAILQ_INIT(&d->waits);
	if (htab_insert(&s->dests, d) == 0)
		return d;
	free(d);
	return NULL;
}

static void
dest_free_unused(struct sched *s, struct sdest *d)
{
	if (d->used > 0 || d->granted > 0 || d->nwaits > 0)
		return;
	htab_remove(&s->dests, d);
	free(d);
}

void
dests_free(struct sched *s)
{
	struct sdest *d;
	size_t at = 0;

	while ((d = htab_next(&s->dests, &at)) != NULL)
		free(d);
	htab_fini(&s->dests);
}

/* ---- who waits ---- */

static void
wait_end(struct sdwait *w)
{
	struct squeue *q = w->q;
	struct sdest *d = w->dest;

	TAILQ_REMOVE(&d->waits, w, of_dest);
	TAILQ_REMOVE(&q->dwaits, w, of_queue);
	d->nwaits--;
	q->ndwaits--;
	free(w);
	dest_free_unused(q->s, d);
}

static void
waits_end(struct squeue *q)
{
	struct sdwait *w;

	while ((w = TAILQ_FIRST(&q->dwaits)) != NULL)
		wait_end(w);
}

static bool
waits_for(const struct squeue *q, const struct sdest *d)
{
	const struct sdwait *w;

	TAILQ_FOREACH(w, &q->dwaits, of_queue) {
		if (w->dest == d)
			return true;
	}
	return false;
}

/* Room goes to who has waited longest, until that queue's next turn. */
static void
dest_wake(struct sched *s, struct sdest *d)
{
	struct sdwait *w;
	struct squeue *q;

	while (d->used + d->granted < d->cap &&
	    (w = TAILQ_FIRST(&d->waits)) != NULL) {
		q = w->q;
		d->granted++;
		waits_end(q);
		dest_grant_end(s, q);
		q->dgrant = d;
		q->all_full = 0;
		queue_activate(s, q);
	}
}

static void
dest_release(struct sched *s, struct sdest *d)
{
	d->used--;
	dest_wake(s, d);
	dest_free_unused(s, d);
}

void
dest_grant_end(struct sched *s, struct squeue *q)
{
	struct sdest *d = q->dgrant;

	if (d == NULL)
		return;
	q->dgrant = NULL;
	d->granted--;
	dest_wake(s, d);
	dest_free_unused(s, d);
}

/* Without memory the queue looks again. */
static void
wait_begin(struct sched *s, struct squeue *q, struct sdest *d)
{
	struct sdwait *w;

	TAILQ_FOREACH(w, &q->dwaits, of_queue) {
		if (w->dest != d)
			continue;
		w->mark = q->dmark;
		return;
	}
	if (q->ndwaits == WAITS_MAX)
		return;
	w = calloc(1, sizeof(*w));
	if (w == NULL) {
		q->poke_at = sched_mono(s) + NO_MEMORY_US;
		return;
	}
	w->q = q;
	w->dest = d;
	w->mark = q->dmark;
	if (q->dgrant == d) /* it was taken from it */
		TAILQ_INSERT_HEAD(&d->waits, w, of_dest);
	else
		TAILQ_INSERT_TAIL(&d->waits, w, of_dest);
	TAILQ_INSERT_TAIL(&q->dwaits, w, of_queue);
	d->nwaits++;
	if (q->ndwaits++ == 0)
		session_reclaim_dest(s, d);
}

void
dest_choice_begin(struct squeue *q)
{
	q->dmark++;
}

void
dest_choice_end(struct squeue *q, bool found)
{
	struct sdwait *w, *next;

	for (w = TAILQ_FIRST(&q->dwaits); w != NULL; w = next) {
		next = TAILQ_NEXT(w, of_queue);
		if (found || w->mark != q->dmark)
			wait_end(w);
	}
}

void
dest_turn_end(struct sched *s, struct squeue *q)
{
	if (!q->chooses)
		waits_end(q);
	dest_grant_end(s, q);
}

/* ---- the targets of a queue ---- */

static bool
any_limits(const struct conf_global *g)
{
	return g->mx_connection_limit.n > 0 || g->ip_connection_limit.n > 0 ||
	    g->max_conn_per_relay != 0;
}

/* What limits there are of this address of this host; 0: none. */
static void
caps_get(const struct sched *s, struct sv host, const struct route_addr *ip,
    bool relay, struct starget *t)
{
	const struct conf_global *g = conf_global(s->conf);
	const struct conf_mx_num *m = conf_mx_num_find(
	    &g->mx_connection_limit, host);

	t->net = conf_cidr_num_find(&g->ip_connection_limit, ip);
	t->cap[DEST_HOST] = m == NULL ? 0 : m->n;
	t->cap[DEST_NET] = t->net == NULL ? 0 : t->net->n;
	t->cap[DEST_RELAY] = relay ? g->max_conn_per_relay : 0;
}

static bool
is_limited(const struct starget *t)
{
	return t->cap[DEST_HOST] != 0 || t->cap[DEST_NET] != 0 ||
	    t->cap[DEST_RELAY] != 0;
}

static struct sv
text_lower(char **to, struct sv v)
{
	struct sv r = sv_make(*to, v.n);

	for (size_t i = 0; i < v.n; i++)
		*(*to)++ = ascii_lower(v.p[i]);
	return r;
}

static void
targets_fill(const struct sched *s, struct stargets *ts,
    const struct route *r, bool relay)
{
	char *text = (char *)&ts->v[ts->n];
	uint32_t n = 0;

	for (unsigned h = 0; h < r->nhosts; h++) {
		struct sv name = text_lower(&text, r->hosts[h].name);

		for (unsigned a = 0; a < r->hosts[h].naddrs; a++) {
			struct starget *t = &ts->v[n++];

			t->name = name;
			t->ip = r->hosts[h].addrs[a];
			t->preference = r->hosts[h].preference;
			t->at.host = (uint8_t)h;
			t->at.addr = (uint8_t)a;
			caps_get(s, name, &t->ip, relay, t);
			ts->limited |= is_limited(t);
		}
	}
}

void
dest_route_changed(struct squeue *q)
{
	free(q->targets);
	q->targets = NULL;
	q->targets_gen = 0;
	q->all_full = 0;
}

/* False without memory; NULL: nothing that it may connect to is limited. */
static bool
targets_get(struct sched *s, struct squeue *q, const struct stargets **ts_r)
{
	const struct route *r;
	struct stargets *ts;
	size_t n = 0, text = 0;
	bool relay = false;

	*ts_r = q->targets;
	if (q->targets_gen == s->conf_gen)
		return true;
	dest_route_changed(q);
	*ts_r = NULL;
	if (s->ops->route == NULL || !any_limits(conf_global(s->conf)) ||
	    (r = s->ops->route(s->arg, q, &relay)) == NULL)
		return true;
	for (unsigned h = 0; h < r->nhosts; h++) {
		n += r->hosts[h].naddrs;
		text += r->hosts[h].name.n;
	}
	ts = calloc(1, sizeof(*ts) + n * sizeof(ts->v[0]) + text);
	if (ts == NULL)
		return false;
	ts->n = (uint32_t)n;
	ts->relay = relay;
	targets_fill(s, ts, r, relay);
	if (!ts->limited) {
		free(ts);
		ts = NULL;
	}
	*ts_r = q->targets = ts;
	q->targets_gen = s->conf_gen;
	return true;
}

static bool
is_usable(const struct starget *t, const struct route_addr *source)
{
	return source->family == 0 || source->family == t->ip.family;
}

/* name_mem: for that of a network. */
static struct dest_key
target_key(const struct starget *t, enum dest_kind kind,
    const struct route_addr *source, char name_mem[64])
{
	struct dest_key k = { .kind = kind, .name = t->name };
	char ip[46];
	struct str s;

	if (kind != DEST_RELAY)
		k.source = *source;
	if (kind == DEST_NET && t->net != NULL) {
		str_init(&s, name_mem, 64);
		str_addf(&s, "%s/%u", route_addr_format(&t->net->cidr.ip, ip),
		    t->net->cidr.bits);
		k.name = str_sv(&s);
	}
	return k;
}

/* NULL: nobody is there, or there is no limit. */
static struct sdest *
target_dest(const struct sched *s, const struct starget *t,
    enum dest_kind kind, const struct route_addr *source)
{
	char mem[64];
	const struct dest_key key = target_key(t, kind, source, mem);

	return t->cap[kind] == 0 ? NULL : dest_find(s, &key);
}

static bool
is_held(const struct ssession *se, const struct sdest *d)
{
	for (uint32_t i = 0; se != NULL && i < se->nheld; i++) {
		if (se->held[i] == d)
			return true;
	}
	return false;
}

/*
 * The limit that keeps q from this target; NULL: none does. What se holds
 * already is no reason. Who has a place and needs another one takes that even
 * if it is granted to somebody else: passing on what it has, while that one
 * does the same, could go on for ever.
 */
static struct sdest *
target_block(const struct sched *s, const struct squeue *q,
    const struct starget *t, const struct route_addr *source,
    const struct ssession *se)
{
	for (int k = 0; k < DEST_KINDS; k++) {
		struct sdest *d = target_dest(s, t, (enum dest_kind)k, source);

		if (d == NULL || is_held(se, d))
			continue;
		d->cap = t->cap[k];
		if (d->used >= d->cap || (q->dgrant == NULL &&
		    d->used + d->granted >= d->cap))
			return d;
	}
	return NULL;
}

static enum sched_wait
cause_of(const struct sdest *d)
{
	return d->kind == DEST_HOST ? WAIT_CONN_HOST :
	    d->kind == DEST_NET ? WAIT_CONN_NET : WAIT_CONN_RELAY;
}

/* One of the hosts that are preferred must have room: our own limit is no
 * reason to go to another one. */
enum sched_wait
dest_wait(struct sched *s, struct squeue *q, uint32_t source)
{
	const struct route_addr *from = source_at(q, source);
	enum sched_wait wait = WAIT_NOTHING;
	const struct starget *best = NULL;
	const struct stargets *ts;

	if (!targets_get(s, q, &ts))
		return WAIT_WORKERS;
	for (uint32_t i = 0; ts != NULL && i < ts->n; i++) {
		const struct starget *t = &ts->v[i];

		if (!is_usable(t, from))
			continue;
		if (best == NULL)
			best = t;
		if (t->preference == best->preference &&
		    target_block(s, q, t, from, NULL) == NULL)
			return WAIT_NOTHING;
	}
	for (uint32_t i = 0; best != NULL && i < ts->n; i++) {
		const struct starget *t = &ts->v[i];
		struct sdest *d;

		if (!is_usable(t, from) || t->preference != best->preference)
			continue;
		d = target_block(s, q, t, from, NULL);
		if (d == NULL)
			continue;
		wait_begin(s, q, d);
		if (wait == WAIT_NOTHING)
			wait = cause_of(d);
	}
	return wait;
}

/* ---- places that sessions hold ---- */

void
dest_ended(struct sched *s, struct ssession *se)
{
	while (se->nheld > 0)
		dest_release(s, se->held[--se->nheld]);
	dest_session_free(se);
}

void
dest_session_free(struct ssession *se)
{
	free(se->held);
	free(se->host);
	se->held = NULL;
	se->host = NULL;
}

/* False without memory. q: whose grant is used, if it has one; or NULL. */
static bool
target_hold(struct sched *s, struct squeue *q, struct ssession *se,
    const struct starget *t)
{
	for (int k = 0; k < DEST_KINDS; k++) {
		char mem[64];
		struct dest_key key;
		struct sdest *d;

		if (t->cap[k] == 0)
			continue;
		key = target_key(t, (enum dest_kind)k, &se->source, mem);
		d = dest_get(s, &key, t->cap[k]);
		if (d == NULL)
			return false;
		if (is_held(se, d))
			continue;
		if (q != NULL && q->dgrant == d) {
			q->dgrant = NULL;
			d->granted--;
		}
		d->used++;
		se->held[se->nheld++] = d;
	}
	return true;
}

bool
dest_opens(struct sched *s, struct squeue *q, struct ssession *se,
    struct sched_target *v, struct sched_session *view)
{
	const struct stargets *ts;
	uint32_t n = 0;

	if (!targets_get(s, q, &ts))
		return false;
	if (ts == NULL)
		return true;
	se->relay = ts->relay;
	se->held = calloc((size_t)ts->n * DEST_KINDS, sizeof(struct sdest *));
	if (se->held == NULL)
		return false;
	for (uint32_t i = 0; i < ts->n; i++) {
		const struct starget *t = &ts->v[i];

		if (!is_usable(t, &se->source) ||
		    target_block(s, q, t, &se->source, se) != NULL)
			continue;
		v[n++] = t->at;
		if (!target_hold(s, q, se, t)) {
			dest_ended(s, se);
			return false;
		}
	}
	view->targets = v;
	view->ntargets = n;
	return true;
}

/* Only what counts for where it is now; even if that is too many, for limits
 * that were not there when it was opened. Without memory it keeps what it
 * has. */
static void
held_now(struct sched *s, struct ssession *se)
{
	struct starget t = { .name = se->host_name, .ip = se->host_ip };
	struct ssession now = { .q = se->q, .source = se->source };

	caps_get(s, t.name, &t.ip, se->relay, &t);
	if (se->nheld == 0 && !is_limited(&t))
		return;
	now.held = calloc(DEST_KINDS, sizeof(struct sdest *));
	if (now.held == NULL || !target_hold(s, NULL, &now, &t)) {
		while (now.nheld > 0)
			dest_release(s, now.held[--now.nheld]);
		free(now.held);
		return;
	}
	while (se->nheld > 0)
		dest_release(s, se->held[--se->nheld]);
	free(se->held);
	se->held = now.held;
	se->nheld = now.nheld;
}

void
dest_up(struct sched *s, struct ssession *se, struct sv host, struct sv ip)
{
	char *text;

	if (host.n == 0 || !route_addr_parse(ip, &se->host_ip) ||
	    (se->host = text = malloc(host.n)) == NULL)
		return;
	se->host_name = text_lower(&text, host);
	held_now(s, se);
}

void
dests_conf(struct sched *s)
{
	struct ssession *se;
	struct sworker *w;

	TAILQ_FOREACH(w, &s->workers, link) {
		TAILQ_FOREACH(se, &w->sessions, wlink) {
			if (se->host != NULL)
				held_now(s, se);
		}
	}
}

bool
dest_holds(const struct ssession *se, const struct sdest *d)
{
	return is_held(se, d);
}

bool
dest_is_wanted(const struct ssession *se)
{
	for (uint32_t i = 0; i < se->nheld; i++) {
		const struct sdest *d = se->held[i];

		if (d->nwaits > (waits_for(se->q, d) ? 1u : 0u))
			return true;
	}
	return false;
}

void
dest_queue_free(struct sched *s, struct squeue *q)
{
	waits_end(q);
	dest_grant_end(s, q);
	dest_route_changed(q);
}

/* ---- told ---- */

static const char *const kinds[DEST_KINDS] = {
	[DEST_HOST] = "host", [DEST_NET] = "network", [DEST_RELAY] = "relay",
};

static const char *const settings[DEST_KINDS] = {
	[DEST_HOST] = "mx-connection-limit",
	[DEST_NET] = "ip-connection-limit",
	[DEST_RELAY] = "max-conn-per-relay",
};

void
dest_tell(const struct squeue *q, struct sched_queue_why *why)
{
	const struct sdwait *w;

	TAILQ_FOREACH(w, &q->dwaits, of_queue) {
		const struct sdest *d = w->dest;

		if (cause_of(d) != q->wait)
			continue;
		why->limited = true;
		why->dest_kind = kinds[d->kind];
		why->dest = d->name;
		why->source = d->kind == DEST_RELAY ? NULL : &d->source;
		why->scope = SV("");
		why->setting = settings[d->kind];
		why->used = d->used;
		why->cap = d->cap;
		why->nparked = d->nwaits;
		return;
	}
}

uint32_t
dest_rivals(const struct squeue *q, const struct squeue **v, uint32_t max)
{
	const struct sdwait *own = TAILQ_FIRST(&q->dwaits), *w;
	uint32_t n = 0;

	if (own == NULL)
		return 0;
	TAILQ_FOREACH(w, &own->dest->waits, of_dest) {
		if (w->q != q && n < max)
			v[n++] = w->q;
	}
	return n;
}

void
dests_tell(const struct sched *s, sched_limit_fn *fn, void *arg)
{
	const struct sdest *d;
	size_t at = 0;

	while ((d = htab_next(&s->dests, &at)) != NULL) {
		const struct sched_limit l = { .scope = SV(""),
			.dest_kind = kinds[d->kind], .dest = d->name,
			.source = d->kind == DEST_RELAY ? NULL : &d->source,
			.setting = settings[d->kind], .used = d->used,
			.cap = d->cap, .nparked = d->nwaits };

		fn(arg, &l);
	}
}
