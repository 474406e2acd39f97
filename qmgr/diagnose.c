/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "common/base/str.h"
#include "qmgr/diagnose.h"

#define SLOW_RCPTS    10u
#define SLOW_DRAIN_H  0.5
#define B_DOMAINS     3u    /* fewer are single destinations */
#define B_SHARE       0.6   /* of the active domains */
#define C_RETRY_SHARE 0.6   /* of what waits */
#define C_DEFERRED    10.0  /* an hour, at least */
#define E_PEER_H      10.0  /* what the peers deliver, at least */
#define E_WORSE       0.2   /* of what the peers deliver */
#define E_SHARE       0.6   /* of the domains that it shares */
#define OWN_LIMIT     0.5F  /* of the time */
#define HARDLY        0.1F  /* less is no reason */
#define NEVER_SEEN_MS 600000 /* before that nobody says never */
#define TOOK_LONG_MS  1000.0 /* look-up, connection, answer */
#define RATE_SHARE    0.9    /* of what a host takes */
#define A_SHOWN       5u
#define P_SHOWN       3u

/* What the queues of one domain have in common: queues[from..to). */
struct domain {
	size_t from, to;
	uint64_t backlog;       /* of its slow queues */
	bool slow;              /* and not told of yet */
	bool retries, active;
	const struct dg_queue *worst;
};

struct judge {
	struct dg_input *in;
	struct dg_finding *out;
	unsigned n;
	struct domain *domains;
	size_t ndomains;
};

static uint64_t
backlog(const struct dg_queue *q)
{
	return q->ready + q->retry + q->inflight;
}

/* Mostly tried already, and more often put off than taken. */
static bool
is_retried(const struct dg_queue *q)
{
	return (double)q->retry > C_RETRY_SHARE * (double)backlog(q) &&
	    q->deferred >= C_DEFERRED && q->deferred > q->delivered;
}

static enum sched_wait
dominant(const struct dg_queue *q)
{
	enum sched_wait most = WAIT_NOTHING;

	for (int w = 0; w < SCHED_WAITS; w++) {
		if (w != WAIT_NOTHING && (most == WAIT_NOTHING ||
		    q->share[w] > q->share[most]))
			most = (enum sched_wait)w;
	}
	return q->share[most] < HARDLY ? WAIT_NOTHING : most;
}

/* Whatever the reason. */
static bool
stands(const struct dg_input *in, const struct dg_queue *q)
{
	return !q->paused && backlog(q) >= SLOW_RCPTS &&
	    q->oldest_ms >= in->slow_ms && q->seen_ms >= in->slow_ms &&
	    q->delivered * SLOW_DRAIN_H < (double)backlog(q);
}

/* As planned. */
static bool
is_warming(const struct dg_queue *q)
{
	return dominant(q) == WAIT_WARMUP;
}

static bool
is_slow(const struct dg_input *in, const struct dg_queue *q)
{
	return stands(in, q) && !is_warming(q);
}

static bool
is_own_limit(enum sched_wait w)
{
	return w == WAIT_CONN_QUEUE || w == WAIT_CONN_VMTA ||
	    w == WAIT_CONN_GLOBAL || w == WAIT_CONN_RATE ||
	    w == WAIT_MSG_RATE || w == WAIT_VMTA_RATE ||
	    w == WAIT_CONN_POOL || w == WAIT_POOL_RATE || w == WAIT_VOLUME ||
	    w == WAIT_CONN_SITE || w == WAIT_SITE_RATE ||
	    w == WAIT_CONN_HOST || w == WAIT_CONN_NET ||
	    w == WAIT_CONN_RELAY || w == WAIT_SOURCE_RATE;
}

/* ---- words ---- */

static void
add_time(struct str *s, int64_t ms)
{
	int64_t sec = ms / 1000;

	if (sec >= 7200)
		str_addf(s, "%lld h", (long long)(sec / 3600));
	else if (sec >= 120)
		str_addf(s, "%lld min", (long long)(sec / 60));
	else
		str_addf(s, "%lld s", (long long)sec);
}

static struct dg_finding *
finding(struct judge *j, char pattern, const char *title, struct sv subject)
{
	struct dg_finding *f;
	struct str s;

	if (j->n == DG_FINDINGS_MAX)
		return NULL;
	f = &j->out[j->n++];
	memset(f, 0, sizeof(*f));
	f->pattern = pattern;
	f->title = title;
	STR_ON(&s, f->subject);
	str_add(&s, subject);
	return f;
}

/* "120 wait (100 of them for a retry), the oldest for 2 h; 12 an hour come,
 * 0 are delivered, 300 put off" */
static void
add_counts(struct str *s, const struct dg_queue *q)
{
	str_addf(s, "%llu wait in %.*s (%llu of them for a retry), the oldest "
	    "for ", (unsigned long long)backlog(q), SV_FMT(q->name),
	    (unsigned long long)q->retry);
	add_time(s, q->oldest_ms);
	str_addf(s, "; in an hour %.0f come, %.0f are delivered, %.0f put off, "
	    "%.0f fail", q->arrived, q->delivered, q->deferred, q->failed);
}

/* What takes a second or more outside. */
static void
add_took(struct str *s, const struct dg_queue *q)
{
	static const char *const what[SCHED_TIMES] = { "a DNS look-up",
		"a connection", "an answer" };

	for (int i = 0; i < SCHED_TIMES; i++)
		if (q->took_ms[i] >= TOOK_LONG_MS)
			str_addf(s, "; %s takes %.1f s", what[i],
			    q->took_ms[i] / 1000);
}

/* What a host that puts mail off would bear. */
static void
add_rate(struct str *s, const struct dg_queue *q)
{
	if (q->error.n > 0 && q->error.p[0] == '4' && q->deferred > 0 &&
	    q->delivered * RATE_SHARE >= 1)
		str_addf(s, "; max-msg-rate %.0f/h is what it would bear",
		    q->delivered * RATE_SHARE);
}

static void
add_wait(struct str *s, const struct dg_queue *q)
{
	enum sched_wait w = dominant(q);

	if (w != WAIT_NOTHING)
		str_addf(s, "; it waits for: %s (%.0f %% of the last 10 "
		    "minutes)", sched_wait_name(w),
		    (double)q->share[w] * 100);
	add_took(s, q);
	add_rate(s, q);
	if (q->error.n > 0)
		str_addf(s, "; the last error: %.*s", SV_FMT(q->error));
}

static void
evidence_queue(struct dg_finding *f, const struct dg_queue *q)
{
	struct str s;

	STR_ON(&s, f->evidence);
	add_counts(&s, q);
	add_wait(&s, q);
}

/* What fits a destination that does not take our mail. */
static void
command_queue(struct dg_finding *f, const struct dg_queue *q)
{
	enum sched_wait w = dominant(q);
	struct str s;

	STR_ON(&s, f->command);
	if (is_own_limit(w) && q->share[w] >= OWN_LIMIT && q->rule.n > 0)
		str_addf(&s, "raise %.*s, then: pinnace reload",
		    SV_FMT(q->rule));
	else if (w == WAIT_DNS)
		str_addf(&s, "dig %.*s MX", SV_FMT(q->domain));
	else if (q->error.n > 0 && q->error.p[0] == '5')
		str_addf(&s, "pinnace pause queue %.*s", SV_FMT(q->name));
	else if (q->error.n > 0 && q->error.p[0] == '4')
		str_addf(&s, "pinnace set queue %.*s --mode=backoff",
		    SV_FMT(q->name));
	else
		str_addf(&s, "pinnace explain queue %.*s", SV_FMT(q->name));
}

/* ---- domains ---- */

static int
text_cmp(struct sv a, struct sv b)
{
	int c = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);

	return c != 0 ? c : a.n < b.n ? -1 : a.n > b.n;
}

static int
queue_cmp(const void *a, const void *b)
{
	const struct dg_queue *x = a, *y = b;
	int c = text_cmp(x->domain, y->domain);

	return c != 0 ? c : text_cmp(x->vmta, y->vmta);
}

static void
domain_sum(const struct judge *j, struct domain *d)
{
	for (size_t i = d->from; i < d->to; i++) {
		const struct dg_queue *q = &j->in->queues[i];

		d->active = d->active || (!q->paused && backlog(q) > 0) ||
		    q->delivered > 0;
		if (!is_slow(j->in, q))
			continue;
		d->slow = true;
		d->backlog += backlog(q);
		d->retries = d->retries || is_retried(q);
		if (d->worst == NULL || backlog(q) > backlog(d->worst))
			d->worst = q;
	}
}

static int
domain_cmp(const void *a, const void *b)
{
	const struct domain *x = a, *y = b;

	return x->backlog < y->backlog ? 1 : x->backlog > y->backlog ? -1 : 0;
}

/* The one with most waiting first. */
static bool
domains_make(struct judge *j)
{
	struct dg_input *in = j->in;

	j->domains = calloc(in->nqueues + 1, sizeof(*j->domains));
	if (j->domains == NULL)
		return false;
	if (in->nqueues > 0)
		qsort(in->queues, in->nqueues, sizeof(*in->queues), queue_cmp);
	for (size_t i = 0, to; i < in->nqueues; i = to) {
		struct domain *d = &j->domains[j->ndomains++];

		for (to = i + 1; to < in->nqueues && sv_eq(
		    in->queues[to].domain, in->queues[i].domain); to++)
			;
		*d = (struct domain){ .from = i, .to = to };
		domain_sum(j, d);
	}
	qsort(j->domains, j->ndomains, sizeof(*j->domains), domain_cmp);
	return true;
}

/* ---- E: one VMTA ---- */

/* What the best of the other VMTAs delivers there; -1: none has mail there, or
 * it is slow, too. */
static double
peers_deliver(const struct judge *j, const struct domain *d,
    const struct dg_queue *q)
{
	double most = -1;

	for (size_t i = d->from; i < d->to; i++) {
		const struct dg_queue *o = &j->in->queues[i];

		if (o != q && !is_slow(j->in, o) && o->delivered > most)
			most = o->delivered;
	}
	return most;
}

struct vmta {
	struct sv name;
	unsigned shared, worse;
	const struct dg_queue *worst;
	double peers;          /* of that queue */
};

static void
vmta_look(const struct judge *j, struct vmta *v)
{
	for (size_t k = 0; k < j->ndomains; k++) {
		const struct domain *d = &j->domains[k];

		for (size_t i = d->from; i < d->to; i++) {
			const struct dg_queue *q = &j->in->queues[i];
			double peers;

			if (!sv_eq(q->vmta, v->name) || q->paused ||
			    (backlog(q) == 0 && q->delivered <= 0))
				continue;
			peers = peers_deliver(j, d, q);
			if (peers < E_PEER_H)
				continue;
			v->shared++;
			if (!is_slow(j->in, q) ||
			    q->delivered >= E_WORSE * peers)
				continue;
			v->worse++;
			if (v->worst == NULL ||
			    backlog(q) > backlog(v->worst)) {
				v->worst = q;
				v->peers = peers;
			}
		}
	}
}

static bool
vmta_is_sick(const struct vmta *v)
{
	return v->worse > 0 && v->worse >= E_SHARE * v->shared;
}

static void
find_vmta(struct judge *j, const struct vmta *v)
{
	struct dg_finding *f = finding(j, 'E', "one VMTA fares worse than the "
	    "others at the same destinations", v->name);
	struct str s;

	if (f == NULL)
		return;
	STR_ON(&s, f->evidence);
	str_addf(&s, "at %u of %u domains that other VMTAs reach; ",
	    v->worse, v->shared);
	add_counts(&s, v->worst);
	str_addf(&s, "; another VMTA delivers %.0f an hour there", v->peers);
	add_wait(&s, v->worst);
	STR_ON(&s, f->command);
	str_addf(&s, "pinnace pause queue vmta=%.*s", SV_FMT(v->name));
}

/* Each VMTA that has a slow queue is looked at once. */
static void
vmtas_judge(struct judge *j)
{
	struct sv done[DG_FINDINGS_MAX];
	unsigned n = 0;

	for (size_t k = 0; k < j->ndomains && j->domains[k].backlog > 0; k++) {
		struct vmta v = { .name = j->domains[k].worst->vmta };
		bool seen = false;

		for (unsigned i = 0; i < n; i++)
			seen = seen || sv_eq(done[i], v.name);
		if (seen || n == DG_FINDINGS_MAX)
			continue;
		done[n++] = v.name;
		vmta_look(j, &v);
		if (!vmta_is_sick(&v))
			continue;
		find_vmta(j, &v);
		for (size_t i = 0; i < j->ndomains; i++) {
			struct domain *d = &j->domains[i];

			/* that tells of it */
			if (d->slow && sv_eq(d->worst->vmta, v.name))
				d->slow = false;
		}
	}
}

/* ---- B, C, A, N ---- */

/* Its own limit binds and lets out less than comes in. */
static bool
never_drains(const struct dg_queue *q)
{
	enum sched_wait w = dominant(q);

	return q->seen_ms >= NEVER_SEEN_MS && is_own_limit(w) &&
	    q->share[w] >= OWN_LIMIT && q->rule.n > 0 && q->arrived > q->delivered;
}

static void
find_domain(struct judge *j, const struct domain *d)
{
	const struct dg_queue *q = d->worst;
	struct dg_finding *f;

	if (never_drains(q))
		f = finding(j, 'N', "more comes in than a limit lets out: it "
		    "never drains", q->name);
	else if (d->retries)
		f = finding(j, 'C', "mail is tried again and again, and put "
		    "off", q->domain);
	else
		f = finding(j, 'A', "one destination is backed up", q->domain);
	if (f == NULL)
		return;
	evidence_queue(f, q);
	command_queue(f, q);
}

static const struct {
	enum sched_wait wait;
	const char *why, *command;
} b_reasons[] = {
	{ WAIT_DNS, "the name server answers late or not at all",
	    "pinnace show config | grep name-server" },
	{ WAIT_CONN_GLOBAL, "all connections of the system are in use",
	    "raise total-max-smtp-out, then: pinnace reload" },
	{ WAIT_WORKERS, "there is no delivery process",
	    "pinnace show status" },
	{ WAIT_RETRY, "connections fail everywhere: look at our own network",
	    "pinnace show queues --errors" },
	{ WAIT_CONNECTING, "connections take long everywhere: look at our own "
	    "network", "pinnace show queues --errors" },
};

static double
took_of_all(const struct judge *j, enum sched_time t, size_t slow)
{
	double sum = 0;

	for (size_t k = 0; k < j->ndomains; k++)
		if (j->domains[k].slow)
			sum += j->domains[k].worst->took_ms[t];
	return sum / (double)slow;
}

static void
find_all_slow(struct judge *j, size_t slow, size_t active)
{
	float sum[SCHED_WAITS] = { 0 };
	struct dg_queue all = { .name = SV("all") };
	struct dg_finding *f = finding(j, 'B', "all destinations are slow: the "
	    "reason is here", SV("all"));
	size_t i = 0;
	struct str s;

	if (f == NULL)
		return;
	for (size_t k = 0; k < j->ndomains; k++) {
		for (int w = 0; j->domains[k].slow && w < SCHED_WAITS; w++)
			sum[w] += j->domains[k].worst->share[w];
	}
	for (int w = 0; w < SCHED_WAITS; w++)
		all.share[w] = sum[w] / (float)slow;
	for (int t = 0; t < SCHED_TIMES; t++)
		all.took_ms[t] = took_of_all(j, (enum sched_time)t, slow);
	all.error = j->domains[0].worst->error;
	while (i < sizeof(b_reasons) / sizeof(b_reasons[0]) &&
	    b_reasons[i].wait != dominant(&all))
		i++;
	STR_ON(&s, f->evidence);
	str_addf(&s, "%zu of %zu active domains are slow", slow, active);
	if (i < sizeof(b_reasons) / sizeof(b_reasons[0]))
		str_addf(&s, "; %s", b_reasons[i].why);
	add_wait(&s, &all);
	STR_ON(&s, f->command);
	str_adds(&s, i < sizeof(b_reasons) / sizeof(b_reasons[0]) ?
	    b_reasons[i].command : "pinnace show queues --errors");
}

static void
domains_judge(struct judge *j)
{
	size_t slow = 0, active = 0, retried = 0;
	unsigned shown = 0;

	for (size_t k = 0; k < j->ndomains; k++) {
		slow += j->domains[k].slow;
		active += j->domains[k].active;
		retried += j->domains[k].slow && j->domains[k].retries;
	}
	if (slow - retried >= B_DOMAINS &&
	    (double)(slow - retried) >= B_SHARE * (double)active) {
		find_all_slow(j, slow, active);
		return;
	}
	for (size_t k = 0; k < j->ndomains && shown < A_SHOWN; k++) {
		if (!j->domains[k].slow)
			continue;
		find_domain(j, &j->domains[k]);
		shown++;
	}
}

/* ---- D, S, P ---- */

static void
bounces_judge(struct judge *j)
{
	const struct dg_input *in = j->in;
	int64_t behind = in->slow_ms < DG_BEHIND_MS ? in->slow_ms :
	    DG_BEHIND_MS;
	struct dg_finding *f;
	struct str s;

	if (in->bouncing == 0 || (in->bounce_behind_ms >= 0 &&
	    in->bounce_behind_ms < behind))
		return;
	f = finding(j, 'D', "bounces are not worked off; mail itself is "
	    "delivered", SV("bounce"));
	if (f == NULL)
		return;
	STR_ON(&s, f->evidence);
	str_addf(&s, "%llu recipients wait for their DSN; ",
	    (unsigned long long)in->bouncing);
	if (in->bounce_behind_ms < 0) {
		str_adds(&s, "the bounce process is not there");
	} else {
		str_adds(&s, "the bounce process has not moved for ");
		add_time(&s, in->bounce_behind_ms);
	}
	STR_ON(&s, f->command);
	str_adds(&s, "pinnace show status");
}

static void
selection_judge(struct judge *j)
{
	struct dg_finding *f;
	struct str s;

	if (j->in->unknown_vmta == 0 ||
	    j->in->unknown_ago_ms > DG_UNKNOWN_MS)
		return;
	f = finding(j, 'S', "clients name VMTAs that do not exist",
	    j->in->unknown_name);
	if (f == NULL)
		return;
	STR_ON(&s, f->evidence);
	str_addf(&s, "%llu messages since the start; the last name was "
	    "\"%.*s\"", (unsigned long long)j->in->unknown_vmta,
	    SV_FMT(j->in->unknown_name));
	STR_ON(&s, f->command);
	str_adds(&s, "correct the header that the submitting program writes "
	    "(pinnace show status names the clients)");
}

static void
paused_judge(struct judge *j)
{
	unsigned shown = 0;

	for (size_t i = 0; i < j->in->nqueues && shown < P_SHOWN; i++) {
		const struct dg_queue *q = &j->in->queues[i];
		struct dg_finding *f;
		struct str s;

		if (!q->paused || backlog(q) < SLOW_RCPTS ||
		    q->oldest_ms < j->in->slow_ms)
			continue;
		f = finding(j, 'P', "an operator has paused it", q->name);
		if (f == NULL)
			return;
		STR_ON(&s, f->evidence);
		add_counts(&s, q);
		STR_ON(&s, f->command);
		str_addf(&s, "pinnace resume queue %.*s", SV_FMT(q->name));
		shown++;
	}
}

static void
warmups_judge(struct judge *j)
{
	unsigned shown = 0;

	for (size_t i = 0; i < j->in->nqueues && shown < P_SHOWN; i++) {
		const struct dg_queue *q = &j->in->queues[i];
		struct dg_finding *f;
		struct str s;

		if (!is_warming(q) || !stands(j->in, q))
			continue;
		f = finding(j, 'W', "a warmup goes by its plan: nothing is "
		    "wrong", q->name);
		if (f == NULL)
			return;
		STR_ON(&s, f->evidence);
		add_counts(&s, q);
		STR_ON(&s, f->command);
		str_adds(&s, "pinnace show warmup");
		shown++;
	}
}

unsigned
dg_judge(struct dg_input *in, struct dg_finding *out)
{
	struct judge j = { .in = in, .out = out };

	if (!domains_make(&j))
		return 0;
	vmtas_judge(&j);
	domains_judge(&j);
	bounces_judge(&j);
	selection_judge(&j);
	paused_judge(&j);
	warmups_judge(&j);
	free(j.domains);
	return j.n;
}
