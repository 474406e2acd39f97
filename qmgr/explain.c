/* SPDX-License-Identifier: ISC */
/* Why a queue or a message does not move: which rule, of which line, binds
 * whom, and until when. */
#include <stdlib.h>
#include <string.h>

#include "common/base/msgid.h"
#include "common/base/str.h"
#include "common/sys/log.h"
#include "qmgr/control.h"

#define RIVALS_SHOWN 10
#define QUEUES_SHOWN 10 /* of one message */
#define EARLY_MS     600000 /* before that nobody says never */

/* ---- the line of the configuration ---- */

struct rule {
	const struct qmgr *q;
	struct sv scope, name;     /* wanted; scope.p NULL: whichever */
	const struct limit_of *of;
	int bits;                  /* of the network that was found */
	bool found;
	json_t *o;                 /* value, scope, file, line go here */
};

/* Of lines with networks the most specific one that has the address. */
static bool
is_for_source(struct rule *r, struct sv first)
{
	struct conf_cidr c;

	if (conf_parse_cidr(first, &c) != NULL)
		return !r->found;
	if (!conf_cidr_has(&c, r->of->source) || c.bits < r->bits)
		return false;
	r->bits = c.bits;
	return true;
}

static bool
is_for_network(struct sv network, struct sv first)
{
	struct conf_cidr a, b;

	return conf_parse_cidr(network, &a) == NULL &&
	    conf_parse_cidr(first, &b) == NULL && a.bits == b.bits &&
	    a.ip.family == b.ip.family &&
	    memcmp(a.ip.ip, b.ip.ip, sizeof(a.ip.ip)) == 0;
}

/* Lines that begin with a pattern or a network are for whom that holds. */
static bool
is_for(const struct qmgr *q, struct rule *r, struct sv value)
{
	struct sv rest = value, first = sv_cut(&rest, ' ');
	const struct conf_mx_num *m;

	if (r->of == NULL || rest.p == NULL)
		return true;
	if (r->of->dest_kind == NULL)
		return r->of->source == NULL || is_for_source(r, first);
	if (strcmp(r->of->dest_kind, "network") == 0)
		return is_for_network(r->of->dest, first);
	m = conf_mx_num_find(&conf_global(q->conf)->mx_connection_limit,
	    r->of->dest);
	return m != NULL && sv_eq(m->pattern, first);
}

/* The last one is the one that counts. */
static void
on_setting(void *arg, struct sv scope, struct sv name, struct sv value,
    struct sv file, uint32_t line)
{
	struct rule *r = arg;

	if (!sv_eq(name, r->name) ||
	    (r->scope.p != NULL && !sv_ieq(scope, r->scope)) ||
	    !is_for(r->q, r, value))
		return;
	r->found = true;
	json_object_set_new(r->o, "value", json_sv(value));
	json_object_set_new(r->o, "scope", json_sv(scope));
	json_object_set_new(r->o, "file", json_sv(file));
	json_object_set_new(r->o, "line", json_integer(line));
}

/* The queue has what its site has, or less: the scope says who they are. */
static void
site_rule_put(const struct qmgr *q, const struct squeue *sq, struct sv scope,
    struct rule *r)
{
	struct sv key = sv_from_at(sv_head(scope,
	    (size_t)sv_rfind(scope, '/')), 1);

	conf_domain_show(q->conf, squeue_vmta(sq), squeue_domain(sq),
	    squeue_rollup(sq), on_setting, r);
	json_object_set_new(r->o, "site", json_sv(key));
}

void
rule_put(const struct qmgr *q, const struct squeue *sq,
    const struct limit_of *l, json_t *o)
{
	struct rule r = { .q = q, .name = sv_from(l->setting), .of = l,
		.o = o };
	struct sv scope = l->scope;
	char text[300], ip[46];
	struct str s;

	STR_ON(&s, text);
	if (l->dest_kind != NULL)
		json_object_set_new(o, l->dest_kind, json_sv(l->dest));
	if (l->source != NULL)
		json_object_set_new(o, "source",
		    json_sv(source_ip_text(l->source, ip)));
	if (sq != NULL && sv_eq(scope, squeue_name(sq))) {
		conf_domain_show(q->conf, squeue_vmta(sq), squeue_domain(sq),
		    squeue_rollup(sq), on_setting, &r);
		return;
	}
	if (sv_starts(scope, SV("="))) {
		site_rule_put(q, sq, scope, &r);
		return;
	}
	if (sv_starts(scope, SV("///")))
		str_addf(&s, "warmup %.*s", SV_FMT(sv_from_at(scope, 3)));
	else if (sv_starts(scope, SV("//")))
		str_addf(&s, "virtual-mta-pool %.*s",
		    SV_FMT(sv_from_at(scope, 2)));
	else if (sv_starts(scope, SV("/")))
		str_addf(&s, "virtual-mta %.*s",
		    SV_FMT(sv_from_at(scope, 1)));
	r.scope = str_sv(&s);
	conf_show(q->conf, true, on_setting, &r);
	if (!r.found) /* nobody has set it */
		on_setting(&r, r.scope, r.name, SV(""), SV(""), 0);
}

void
why_rule_put(const struct qmgr *q, const struct squeue *sq,
    const struct sched_queue_why *why, json_t *o)
{
	const struct limit_of l = { .scope = why->scope,
		.setting = why->setting, .source = why->source,
		.dest_kind = why->dest_kind, .dest = why->dest };

	rule_put(q, sq, &l, o);
}

/* ---- rows ---- */

static json_t *
limit_row(const struct qmgr *q, const struct squeue *sq,
    const struct sched_queue_why *why)
{
	const struct squeue *others[RIVALS_SHOWN];
	uint32_t n = sched_queue_rivals(sq, others, RIVALS_SHOWN);
	json_t *o = json_object(), *names = json_array();

	json_object_set_new(o, "setting", json_string(why->setting == NULL ?
	    "" : why->setting));
	if (why->setting != NULL)
		why_rule_put(q, sq, why, o);
	if (why->per_hour > 0)
		json_object_set_new(o, "perHour", json_real(why->per_hour));
	if (why->per_hour <= 0 || why->wait == WAIT_WARMUP) {
		json_object_set_new(o, "used", json_u64(why->used));
		json_object_set_new(o, "most", json_u64(why->cap));
	}
	json_object_set_new(o, "waiting", json_u64(why->nparked));
	if (why->ahead.n > 0) {
		json_object_set_new(o, "ahead", json_sv(why->ahead));
		json_object_set_new(o, "aheadPriority",
		    json_u64(why->ahead_priority));
	}
	for (uint32_t i = 0; i < n; i++)
		json_array_append_new(names, json_sv(squeue_name(others[i])));
	json_object_set_new(o, "others", names);
	return o;
}

static json_t *
shares_row(const struct sched_queue_why *why)
{
	static const char *const names[SCHED_WINDOWS] = { "1m", "10m", "1h" };
	json_t *o = json_object();

	for (int i = 0; i < SCHED_WINDOWS; i++) {
		json_t *w = json_object();

		for (unsigned k = 0; k < SCHED_WAITS; k++)
			if (why->share[i][k] >= 0.005F)
				json_object_set_new(w, sched_wait_name(
				    (enum sched_wait)k),
				    json_real((double)why->share[i][k]));
		json_object_set_new(o, names[i], w);
	}
	return o;
}

/* What leaves in an hour: a limit of its own says it, else what has left of
 * late. */
static double
leaving(const struct squeue *sq, const struct sched_queue_why *why)
{
	if (why->wait == WAIT_MSG_RATE && why->per_hour > 0 &&
	    sv_eq(why->scope, squeue_name(sq)))
		return why->per_hour;
	return why->delivered_per_hour;
}

static void
forecast_put(json_t *o, const struct squeue *sq,
    const struct sched_queue_info *i, const struct sched_queue_why *why)
{
	uint64_t backlog = (uint64_t)i->nready + i->nretry + i->ninflight;
	double out = leaving(sq, why), net = out - why->arrived_per_hour;
	const char *how = "drains";
	int64_t at = 0;

	if (backlog == 0)
		how = "empty";
	else if (i->paused)
		how = "paused";
	else if (net <= 0 && why->seen_ms < EARLY_MS)
		how = "early";
	else if (out <= 0)
		how = "stands";
	else if (net <= 0)
		how = "never";
	else
		at = qmgr_now().wall.us +
		    (int64_t)((double)backlog / net * 3600e6);
	json_object_set_new(o, "backlog", json_u64(backlog));
	json_object_set_new(o, "arrivedPerHour",
	    json_real(why->arrived_per_hour));
	json_object_set_new(o, "leavingPerHour", json_real(out));
	json_object_set_new(o, "seen_s",
	    json_integer(why->seen_ms / 1000));
	json_object_set_new(o, "forecast", json_string(how));
	json_object_set_new(o, "drained", json_time(at));
}

/* The directive that says how long it waits after a failure. */
static const char *
retry_setting(const struct sched_queue_info *i)
{
	return i->backoff ? "backoff-retry-after" : "retry-after";
}

static void
queue_explain(struct client *cl, const struct squeue *sq)
{
	struct qmgr *q = cl->q;
	json_t *o = json_object();
	struct sched_queue_info i;
	struct sched_queue_why why;

	sched_queue_info(q->sched, qmgr_now(), sq, &i);
	sched_queue_why(q->sched, qmgr_now(), sq, &why);
	json_object_set_new(o, "queue", json_sv(i.name));
	json_object_set_new(o, "ready", json_u64(i.nready));
	json_object_set_new(o, "retry", json_u64(i.nretry));
	json_object_set_new(o, "inflight", json_u64(i.ninflight));
	json_object_set_new(o, "hold", json_u64(i.nheld));
	json_object_set_new(o, "bounce", json_u64(i.nbouncing));
	json_object_set_new(o, "conn", json_u64(i.nsessions));
	json_object_set_new(o, "mode", json_string(i.backoff ? "backoff" :
	    "normal"));
	json_object_set_new(o, "priority", json_u64(why.priority));
	json_object_set_new(o, "why", json_string(sched_wait_name(i.wait)));
	json_object_set_new(o, "since", json_time(why.since_us));
	json_object_set_new(o, "next", json_time(why.next_us));
	if (why.limited) {
		json_object_set_new(o, "limit", limit_row(q, sq, &why));
	} else if (i.wait == WAIT_RETRY) {
		const struct limit_of of = { .scope = squeue_name(sq),
			.setting = retry_setting(&i) };
		json_t *l = json_object();

		json_object_set_new(l, "setting", json_string(of.setting));
		rule_put(q, sq, &of, l);
		json_object_set_new(o, "limit", l);
	} else {
		json_object_set_new(o, "limit", json_null());
	}
	json_object_set_new(o, "shares", shares_row(&why));
	forecast_put(o, sq, &i, &why);
	json_object_set_new(o, "lastError", json_sv(i.last_error));
	json_object_set_new(o, "lastErrorTime", json_time(i.last_error_us));
	client_row(cl, o);
}

/* ---- queues ---- */

static bool
explain_one(struct client *cl, struct squeue *sq)
{
	queue_explain(cl, sq);
	return true;
}

static void
explain_end(struct client *cl)
{
	client_end(cl, cl->count > 0 ? 0 : 1, "%llu of %llu matching queues",
	    (unsigned long long)cl->left, (unsigned long long)cl->count);
}

/* Those that match, in no order: who asks why asks of a few. */
void
cmd_explain_queue(struct client *cl, const struct words *w)
{
	static const struct walk_ops ops = { .queue = explain_one,
		.end = explain_end };
	const struct selector *s = &cl->sel;
	struct squeue *sq;
	char **names;
	size_t at = 0, n = 0;

	if (!selector_parse(cl, w, &cl->sel))
		return;
	if (!s->given) {
		client_end(cl, 2, "which queue? domain/vmta");
		return;
	}
	names = calloc((size_t)s->maxitems + 1, sizeof(*names));
	if (names == NULL)
		fatal("out of memory");
	cl->count = 0;
	while ((sq = sched_queue_next(cl->q->sched, &at)) != NULL) {
		if (!selector_matches(s, sq))
			continue;
		cl->count++;
		if (n < s->maxitems)
			names[n++] = sv_dup(squeue_name(sq));
	}
	cl->left = n;
	walk_start(cl, &ops, names, n);
}

/* ---- messages ---- */

static bool
is_among(const struct squeue *const *v, uint32_t n, const struct squeue *sq)
{
	for (uint32_t i = 0; i < n; i++)
		if (v[i] == sq)
			return true;
	return false;
}

static void
rcpt_explain(struct client *cl, const struct smsg *m, uint32_t idx,
    const struct envelope *e)
{
	enum srcpt_state state = smsg_rcpt_state(m, idx);
	json_t *o = json_object();
	struct sched_msg info;
	char id[MSGID_TEXT];

	smsg_info(m, &info);
	json_object_set_new(o, "id", json_string(msgid_format(info.id, id)));
	json_object_set_new(o, "rcpt", json_sv(e != NULL && idx < e->nrcpts ?
	    e->rcpts[idx].addr : SV("")));
	json_object_set_new(o, "of",
	    json_sv(squeue_name(smsg_rcpt_queue(m, idx))));
	json_object_set_new(o, "state", json_string(rcpt_state_name(state)));
	json_object_set_new(o, "attempts",
	    json_u64(smsg_rcpt_attempts(m, idx)));
	json_object_set_new(o, "nextTry", json_time(state == SR_RETRY ?
	    smsg_rcpt_next_us(m, idx) : 0));
	reason_put(cl->q, o, m, idx);
	client_row(cl, o);
}

void
cmd_explain_message(struct client *cl, const struct words *w)
{
	const struct squeue *queues[QUEUES_SHOWN], *sq;
	const struct smsg *m = message_word(cl, w);
	struct envelope e;
	uint32_t n = 0;
	bool ok;

	if (m == NULL)
		return;
	ok = envelope_read(cl->q, m, &e);
	for (uint32_t i = 0; i < smsg_nrcpts(m); i++) {
		if (smsg_rcpt_state(m, i) == SR_DONE)
			continue;
		rcpt_explain(cl, m, i, ok ? &e : NULL);
		sq = smsg_rcpt_queue(m, i);
		if (n < QUEUES_SHOWN && !is_among(queues, n, sq))
			queues[n++] = sq;
	}
	for (uint32_t i = 0; i < n; i++)
		queue_explain(cl, queues[i]);
	client_end(cl, 0, "%s", "");
}
