/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "qmgr/simulate.h"
#include "qmgr/world.h"

#define LOOKS_MAX 50000000.0 /* at queues, in a run: a second or so */
#define HOUR_US   (3600 * US_PER_SEC)
#define MINUTE_US (60 * US_PER_SEC)
/* of a host that nobody knows yet */
#define USUAL_DNS_US     (20 * US_PER_MS)
#define USUAL_CONNECT_US (100 * US_PER_MS)
#define USUAL_ANSWER_US  (200 * US_PER_MS)

struct track {
	struct spec spec;
	struct sv domain;         /* spec.domains points here */
	double due;               /* arrivals not made yet: 0 to 1 */
	uint64_t backlog, half;   /* now, in the middle of the time */
	int64_t drained_us, last_drained_us; /* -1: not yet */
	uint64_t by_then;         /* delivered */
	bool used;
};

struct sim {
	struct world w;
	const struct sim_queue *q;
	size_t n;
	struct sim_result *out;
	struct track *t;
	int64_t step_us;          /* arrivals are made, queues looked at */
	size_t *of;               /* by queue of the world: index + 1 */
	size_t nof;
};

const char *
sim_end_name(enum sim_end e)
{
	static const char *const names[SIM_ENDS] = { "empty", "drains",
		"later", "steady", "never", "paused" };

	return e < SIM_ENDS ? names[e] : "?";
}

double
sim_messages(const struct sim_queue *q, size_t n, unsigned hours)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double)q[i].waiting + q[i].arrived * hours;
	return sum;
}

/* ---- what is told ---- */

/* The queue it is of; the world numbers them as they come. */
static size_t
index_of(struct sim *s, uint32_t queue)
{
	return queue < s->nof ? s->of[queue] - 1 : SIZE_MAX;
}

static void
on_told(void *arg, const struct happening *h)
{
	struct sim *s = arg;
	size_t i = index_of(s, h->queue);

	if (i >= s->n || (h->what != W_DELIVERED && h->what != W_FAILED &&
	    h->what != W_GIVEN_UP))
		return;
	s->t[i].backlog -= s->t[i].backlog > 0;
	if (h->what == W_DELIVERED)
		s->out[i].delivered++;
	else
		s->out[i].failed++;
}

/* What it waited for; a queue that comes again begins anew. */
static void
on_gone(void *arg, const struct squeue *q)
{
	struct sim *s = arg;
	struct sched_queue_info info;
	size_t i = index_of(s, world_queue(&s->w, squeue_name(q)));

	if (i >= s->n)
		return;
	sched_queue_info(s->w.s, world_now(&s->w), q, &info);
	for (int k = 0; k < SCHED_WAITS; k++)
		s->out[i].wait_ms[k] += info.wait_ms[k];
}

/* ---- the start ---- */

static int64_t
or_usual(int64_t us, int64_t usual)
{
	return us > 0 ? us : usual;
}

static void
remote_as(struct remote *r, const struct sim_queue *q)
{
	double all = q->delivered + q->deferred + q->failed;

	r->dns_latency = or_usual(q->took_us[TIME_DNS], USUAL_DNS_US);
	r->connect_latency = or_usual(q->took_us[TIME_CONNECT],
	    USUAL_CONNECT_US);
	r->latency = or_usual(q->took_us[TIME_ANSWER], USUAL_ANSWER_US);
	if (all > 0) {
		r->defer = (float)(q->deferred / all);
		r->refuse = (float)(q->failed / all);
	}
	if (q->down)
		r->connect = END_CONNECT;
}

static void
name_of(const struct sim_queue *q, char *out)
{
	memcpy(out, q->domain.p, q->domain.n);
	out[q->domain.n] = '/';
	memcpy(out + q->domain.n + 1, q->vmta.p, q->vmta.n);
	out[q->domain.n + 1 + q->vmta.n] = '\0';
}

static void
message_add(struct sim *s, size_t i, int64_t age_us)
{
	struct track *t = &s->t[i];

	world_add(&s->w, &t->spec, age_us);
	t->backlog++;
	if (t->backlog > s->out[i].peak)
		s->out[i].peak = t->backlog;
}

static void
queue_start(struct sim *s, size_t i)
{
	const struct sim_queue *q = &s->q[i];
	struct sched_queue_state st = { .paused = q->paused,
		.backoff = q->backoff };
	struct track *t = &s->t[i];
	char name[WORLD_NAME];
	uint32_t number;

	t->drained_us = t->last_drained_us = -1;
	t->domain = q->domain;
	t->spec.domains = &t->domain;
	t->spec.ndomains = t->spec.rcpts = 1;
	t->spec.priority = PRIORITY_DEFAULT;
	if (q->domain.n + q->vmta.n + 2 > sizeof(name))
		return; /* there is no such domain */
	(void)sv_to_cstr(q->vmta, t->spec.vmta, sizeof(t->spec.vmta));
	name_of(q, name);
	number = world_queue(&s->w, sv_from(name));
	if (number >= s->nof || s->of[number] != 0)
		return;
	s->of[number] = i + 1;
	t->used = true;
	remote_as(world_queue_remote(&s->w, number), q);
	/* not all queues get their next message in the same second */
	t->due = (double)((s->w.seed + i * 7919) % 1000) / 1000;
	if (q->paused || q->backoff)
		(void)sched_queue_state_set(s->w.s, world_now(&s->w), q->domain,
		    q->vmta, &st);
	for (uint64_t k = 0; k < q->waiting; k++)
		message_add(s, i, (int64_t)((double)q->oldest_ms * US_PER_MS *
		    (double)(q->waiting - k) / (double)q->waiting));
}

/* ---- an hour after the other ---- */

static void
queue_look(struct sim *s, size_t i)
{
	struct track *t = &s->t[i];

	if ((double)t->backlog > s->q[i].arrived / 60)
		return;
	t->last_drained_us = s->w.t;
	if (t->drained_us >= 0)
		return;
	t->drained_us = s->w.t;
	t->by_then = s->out[i].delivered;
}

static void
step(struct sim *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct track *t = &s->t[i];

		queue_look(s, i);
		if (!t->used)
			continue;
		t->due += s->q[i].arrived * (double)s->step_us / HOUR_US;
		while (t->due >= 1) {
			t->due -= 1;
			message_add(s, i, 0);
		}
	}
	world_until(&s->w, s->w.t + s->step_us);
}

/* A second; more for many queues and hours. */
static int64_t
step_length(size_t n, int64_t end)
{
	double looks = (double)n * (double)end / US_PER_SEC / LOOKS_MAX;

	return looks <= 1 ? US_PER_SEC : (int64_t)(looks * US_PER_SEC);
}

static void
play(struct sim *s, int64_t end)
{
	bool halved = false;

	s->step_us = step_length(s->n, end);
	while (s->w.t < end) {
		if (!halved && s->w.t >= end / 2) {
			for (size_t i = 0; i < s->n; i++)
				s->t[i].half = s->t[i].backlog;
			halved = true;
		}
		step(s);
	}
	for (size_t i = 0; i < s->n; i++)
		queue_look(s, i);
}

/* ---- the end ---- */

static bool
is_steady(const struct sim_queue *q, const struct track *t)
{
	double left = (double)t->backlog, half = (double)t->half;
	double minute = q->arrived / 60;

	return q->arrived > 0 && left <= q->arrived &&
	    left <= half * 1.1 + minute && left >= half * 0.9 - minute;
}

static enum sim_end
end_of(const struct sim_queue *q, const struct track *t,
    const struct sim_result *r, int64_t end)
{
	if (r->peak == 0)
		return SIM_IDLE;
	if (q->paused)
		return SIM_PAUSED;
	if (t->last_drained_us >= end / 2)
		return SIM_DRAINS;
	if (is_steady(q, t))
		return SIM_STEADY;
	return t->backlog < t->half ? SIM_LATER : SIM_NEVER;
}

static void
result_make(struct sim *s, size_t i, int64_t end)
{
	const struct track *t = &s->t[i];
	struct sim_result *r = &s->out[i];
	int64_t second = end - end / 2; /* half of the time */
	uint64_t shrunk;

	r->left = t->backlog;
	r->end = end_of(&s->q[i], t, r, end);
	r->per_hour = (double)r->delivered * HOUR_US / (double)end;
	if (r->end == SIM_DRAINS) {
		r->drained_us = t->drained_us;
		if (t->drained_us >= MINUTE_US)
			r->per_hour = (double)t->by_then * HOUR_US /
			    (double)t->drained_us;
	} else if (r->end == SIM_LATER) {
		shrunk = t->half - t->backlog;
		r->later_us = end + (int64_t)((double)t->backlog /
		    (double)shrunk * (double)second);
	}
	r->most = WAIT_NOTHING;
	for (int k = 0; k < SCHED_WAITS; k++)
		if (k != WAIT_NOTHING && r->wait_ms[k] > 0 &&
		    (r->most == WAIT_NOTHING ||
		    r->wait_ms[k] > r->wait_ms[r->most]))
			r->most = (enum sched_wait)k;
}

static void
sim_end(struct sim *s, int64_t end)
{
	struct squeue *sq;
	size_t at = 0;

	while ((sq = sched_queue_next(s->w.s, &at)) != NULL)
		on_gone(s, sq);
	for (uint32_t k = 0; k < s->w.nnames; k++) {
		size_t i = index_of(s, k);

		if (i < s->n)
			s->out[i].sessions = s->w.max_sessions[k];
	}
	for (size_t i = 0; i < s->n; i++)
		result_make(s, i, end);
}

void
sim_run(const struct conf *conf, const struct sim_queue *q, size_t n,
    unsigned hours, uint64_t seed, struct sim_result *out)
{
	struct sim s = { .q = q, .n = n, .out = out, .nof = n };

	memset(out, 0, n * sizeof(*out));
	s.t = calloc(n + 1, sizeof(*s.t));
	s.of = calloc(n + 1, sizeof(*s.of));
	if (s.t == NULL || s.of == NULL)
		abort();
	world_init(&s.w);
	s.w.seed = seed;
	s.w.told = on_told;
	s.w.gone = on_gone;
	s.w.told_arg = &s;
	world_conf_borrow(&s.w, conf);
	for (size_t i = 0; i < n; i++)
		queue_start(&s, i);
	play(&s, (int64_t)hours * HOUR_US);
	sim_end(&s, (int64_t)hours * HOUR_US);
	s.w.gone = NULL;
	world_fini(&s.w);
	free(s.t);
	free(s.of);
}

/* ---- limits that are never reached ---- */

struct unreached {
	struct sim_unreached u;
	bool reached;
};

struct limits {
	const struct conf *conf;
	const struct sim_queue *q;      /* the one at hand */
	const struct sim_result *r;
	struct unreached *v;
	size_t n;
};

static struct unreached *
limit_at(struct limits *l, struct sv name, struct sv value, struct sv file,
    uint32_t line)
{
	struct unreached *u;

	for (size_t i = 0; i < l->n; i++) {
		u = &l->v[i];
		if (u->u.line == line && sv_eq(u->u.name, name) &&
		    sv_eq(u->u.file, file))
			return u;
	}
	l->v = reallocarray(l->v, l->n + 1, sizeof(*l->v));
	if (l->v == NULL)
		abort();
	u = &l->v[l->n++];
	*u = (struct unreached){ .u = { .name = name, .value = value,
	    .file = file, .line = line, .never = true } };
	return u;
}

/* What is above it lets no queue of this VMTA have so many. */
static bool
connections_capped(const struct limits *l, uint32_t most)
{
	const struct conf_vmta *v = conf_vmta_find(l->conf, l->q->vmta);
	uint32_t total = conf_global(l->conf)->total_max_smtp_out;

	return (v != NULL && v->max_smtp_out > 0 && v->max_smtp_out < most) ||
	    (total > 0 && total < most);
}

/* For a hundredth of the time at least that the queue had mail: the first
 * moment of a burst does not count. */
static bool
was_bound(const struct limits *l, enum sched_wait w)
{
	uint64_t all = 0;

	for (int k = 0; k < SCHED_WAITS; k++)
		if (k != WAIT_NOTHING)
			all += l->r->wait_ms[k];
	return l->r->wait_ms[w] > all / 100;
}

static void
connections_look(struct limits *l, struct unreached *u, uint32_t most)
{
	if (l->r->sessions >= most || was_bound(l, WAIT_CONN_QUEUE))
		u->reached = true;
	if (l->r->sessions > u->u.most)
		u->u.most = l->r->sessions;
	if (!connections_capped(l, most))
		u->u.never = false;
}

static void
on_setting(void *arg, struct sv scope, struct sv name, struct sv value,
    struct sv file, uint32_t line)
{
	struct limits *l = arg;
	const struct conf_domain *d = conf_domain_find(l->conf, l->q->vmta,
	    l->q->domain);
	struct unreached *u;

	(void)scope;
	if (line == 0)
		return; /* a default */
	if (sv_eq(name, SV("max-smtp-out")) && d->max_smtp_out > 0) {
		connections_look(l, limit_at(l, name, value, file, line),
		    d->max_smtp_out);
	} else if (sv_eq(name, SV("max-msg-rate")) && d->max_msg_rate.period_ms > 0) {
		u = limit_at(l, name, value, file, line);
		u->u.never = false;
		u->reached |= was_bound(l, WAIT_MSG_RATE);
	} else if (sv_eq(name, SV("max-connect-rate")) &&
	    d->max_connect_rate.period_ms > 0) {
		u = limit_at(l, name, value, file, line);
		u->u.never = false;
		u->reached |= was_bound(l, WAIT_CONN_RATE);
	}
}

void
sim_unreached_each(const struct conf *conf, const struct sim_queue *q,
    const struct sim_result *r, size_t n, sim_unreached_fn *fn, void *arg)
{
	struct limits l = { .conf = conf };

	for (size_t i = 0; i < n; i++) {
		l.q = &q[i];
		l.r = &r[i];
		if (r[i].end != SIM_IDLE && r[i].end != SIM_PAUSED)
			conf_domain_show(conf, q[i].vmta, q[i].domain,
			    SV(""), on_setting, &l);
	}
	for (size_t i = 0; i < l.n; i++)
		if (!l.v[i].reached)
			fn(arg, &l.v[i].u);
	free(l.v);
}
