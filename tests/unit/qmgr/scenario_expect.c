/* SPDX-License-Identifier: ISC */
/* The expectations of a scenario. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/qmgr/scenario.h"

static const char *const what_names[] = { "dispatched", "delivers",
	"delivered", "deferred", "failed", "given-up", "opened", "closed",
	"up", "ended", "resolved", "qfail", "unread", NULL };

static int
what_of(const char *name)
{
	for (int i = 0; what_names[i] != NULL; i++) {
		if (strcmp(what_names[i], name) == 0)
			return i;
	}
	return -1;
}

/* D, D/V, /V or * */
static bool
queue_is(const char *queue, const char *x)
{
	size_t n = strlen(x), slash = strcspn(queue, "/");

	if (strcmp(x, "*") == 0)
		return true;
	if (x[0] == '/')
		return strcmp(queue + slash, x) == 0;
	if (strchr(x, '/') != NULL)
		return strcmp(queue, x) == 0;
	return n == slash && strncmp(queue, x, n) == 0;
}

static bool
happening_is(const struct script *sc, const struct happening *h, int what,
    const char *x)
{
	char queue[WORLD_NAME];
	const char *priority = strchr(x, ':');

	if (h->what != what)
		return false;
	if (priority == NULL)
		return queue_is(sc->w.names[h->queue], x);
	snprintf(queue, sizeof(queue), "%.*s", (int)(priority - x), x);
	return queue_is(sc->w.names[h->queue], queue) && h->id != 0 &&
	    sc->w.msgs[h->id - 1].spec->priority ==
	    (unsigned)atoi(priority + 1);
}

static bool
compare(int64_t got, const char *op, int64_t want)
{
	if (strcmp(op, "=") == 0)
		return got == want;
	if (strcmp(op, "<=") == 0)
		return got <= want;
	if (strcmp(op, ">=") == 0)
		return got >= want;
	if (strcmp(op, "<") == 0)
		return got < want;
	return strcmp(op, ">") == 0 && got > want;
}

static void
check_number(struct script *sc, int64_t got, int op)
{
	int64_t want;

	if (strcmp(word(sc, op), "?") == 0) {
		for (int i = 1; i < op; i++)
			printf("%s ", word(sc, i));
		printf("%lld\n", (long long)got);
		return;
	}
	want = number_of(sc, word(sc, op + 1));
	if (!compare(got, word(sc, op), want))
		wrong(sc, "got %lld, want %s %lld", (long long)got,
		    word(sc, op), (long long)want);
}

static void
check_time(struct script *sc, int64_t got, int op)
{
	int64_t want = time_of(sc, word(sc, op + 1));

	if (!compare(got, word(sc, op), want))
		wrong(sc, "got %.6f s, want %s %.6f s", (double)got / 1e6,
		    word(sc, op), (double)want / 1e6);
}

static int64_t
count_between(const struct script *sc, int what, const char *x, int64_t from,
    int64_t to)
{
	int64_t n = 0;

	for (size_t i = 0; i < sc->w.nlog; i++) {
		const struct happening *h = &sc->w.log[i];

		if (h->t >= from && h->t < to && happening_is(sc, h, what, x))
			n += what == W_QFAIL ? 1 : h->n;
	}
	return n;
}

/* What is now, summed over the queues. */
static int64_t
count_now(struct script *sc, const char *what, const char *x)
{
	struct sched_queue_info i;
	struct squeue *q;
	size_t at = 0;
	int64_t n = 0;

	while ((q = sched_queue_next(sc->w.s, &at)) != NULL) {
		uint32_t name = world_queue(&sc->w, squeue_name(q));

		if (!queue_is(sc->w.names[name], x))
			continue;
		sched_queue_info(sc->w.s, world_now(&sc->w), q, &i);
		if (strcmp(what, "queued") == 0)
			n += i.nready + i.nretry + i.ninflight + i.nheld;
		else if (strcmp(what, "ready") == 0)
			n += i.nready;
		else if (strcmp(what, "retry") == 0)
			n += i.nretry;
		else if (strcmp(what, "inflight") == 0)
			n += i.ninflight;
		else if (strcmp(what, "held") == 0)
			n += i.nheld;
		else if (strcmp(what, "sessions") == 0)
			n += i.nsessions;
		else if (strcmp(what, "queues") == 0)
			n++;
		else
			syntax(sc, "expect what?");
	}
	return n;
}

static int64_t
max_sessions(const struct script *sc, const char *x)
{
	int64_t n = 0;

	if (strcmp(x, "*") == 0)
		return sc->w.max_all;
	if (x[0] == '/') {
		/* of a VMTA: counted from the record */
		int64_t now = 0;

		for (size_t i = 0; i < sc->w.nlog; i++) {
			now += happening_is(sc, &sc->w.log[i], W_OPENED, x);
			now -= happening_is(sc, &sc->w.log[i], W_ENDED, x);
			n = now > n ? now : n;
		}
		return n;
	}
	for (uint32_t i = 0; i < sc->w.nnames; i++) {
		if (queue_is(sc->w.names[i], x) &&
		    sc->w.max_sessions[i] > n)
			n = sc->w.max_sessions[i];
	}
	return n;
}

static void
expect_edge(struct script *sc, bool first)
{
	int what = what_of(word(sc, 2));
	int64_t t = -1;

	for (size_t i = 0; i < sc->w.nlog; i++) {
		if (!happening_is(sc, &sc->w.log[i], what, word(sc, 3)))
			continue;
		t = sc->w.log[i].t;
		if (first)
			break;
	}
	if (t < 0)
		wrong(sc, "it never happened");
	else
		check_time(sc, t, 4);
}

static void
expect_gap(struct script *sc)
{
	int what = what_of(word(sc, 2));
	int64_t last = -1, gap = INT64_MAX;

	for (size_t i = 0; i < sc->w.nlog; i++) {
		const struct happening *h = &sc->w.log[i];

		if (!happening_is(sc, h, what, word(sc, 3)))
			continue;
		if (last >= 0 && h->t - last < gap)
			gap = h->t - last;
		last = h->t;
	}
	check_time(sc, gap, 4);
}

/* expect try N X between T1 T2 */
static void
expect_try(struct script *sc)
{
	uint32_t n = number_of(sc, word(sc, 2)), seen = 0;
	int64_t lo = time_of(sc, word(sc, 5)), hi = time_of(sc, word(sc, 6));
	int64_t start = 0;
	uint64_t id = 0;

	for (size_t i = 0; i < sc->w.nlog; i++) {
		const struct happening *h = &sc->w.log[i];

		if (!happening_is(sc, h, W_DELIVERS, word(sc, 3)) ||
		    (id != 0 && h->id != id))
			continue;
		if (id == 0)
			start = h->t;
		id = h->id;
		if (++seen == n) {
			if (h->t - start < lo || h->t - start > hi)
				wrong(sc, "got %.3f s, want %s to %s",
				    (double)(h->t - start) / 1e6, word(sc, 5),
				    word(sc, 6));
			return;
		}
	}
	wrong(sc, "got %u tries, want %u", seen, n);
}

static void
expect_text(struct script *sc, const char *got)
{
	char want[600] = "";

	for (int i = 3; i < sc->nwords; i++)
		snprintf(want + strlen(want), sizeof(want) - strlen(want),
		    "%s%s", i > 3 ? " " : "", sc->words[i]);
	if (strncmp(got, want, strlen(want)) != 0)
		wrong(sc, "got \"%s\", want \"%s\"", got, want);
}

static void
expect_wait(struct script *sc)
{
	struct sched_queue_info i;
	struct sv domain, vmta;
	struct squeue *q = queue_named(sc, word(sc, 2), &domain, &vmta);

	if (q == NULL) {
		wrong(sc, "no such queue");
		return;
	}
	sched_queue_info(sc->w.s, world_now(&sc->w), q, &i);
	if (strcmp(sched_wait_name(i.wait), word(sc, 4)) != 0)
		wrong(sc, "got %s, want %s", sched_wait_name(i.wait),
		    word(sc, 4));
}

static void
expect_mode(struct script *sc)
{
	struct sv domain, vmta;
	const struct squeue *q = queue_named(sc, word(sc, 2), &domain, &vmta);
	struct sched_queue_state st = { .backoff = false };

	if (q != NULL)
		sched_queue_state(q, &st);
	if (strcmp(st.backoff ? "backoff" : "normal", word(sc, 4)) != 0)
		wrong(sc, "it is in the other one");
}

static bool
why_get(struct script *sc, struct squeue **q_r, struct sched_queue_why *why_r)
{
	struct sv domain, vmta;

	*q_r = queue_named(sc, word(sc, 2), &domain, &vmta);
	if (*q_r == NULL) {
		wrong(sc, "no such queue");
		return false;
	}
	sched_queue_why(sc->w.s, world_now(&sc->w), *q_r, why_r);
	return true;
}

/* expect share D/V 1m|10m|1h NAME OP PERCENT */
static void
expect_share(struct script *sc)
{
	static const char *const windows[SCHED_WINDOWS] = { "1m", "10m", "1h" };
	struct sched_queue_why why;
	struct squeue *q;

	if (!why_get(sc, &q, &why))
		return;
	for (int i = 0; i < SCHED_WINDOWS; i++) {
		float sum = 0;

		for (unsigned k = 0; k < SCHED_WAITS; k++) {
			const char *name = sched_wait_name((enum sched_wait)k);

			sum += why.share[i][k];
			if (strcmp(word(sc, 3), windows[i]) == 0 &&
			    strcmp(word(sc, 4), name) == 0)
				check_number(sc, (int64_t)(why.share[i][k] *
				    100 + 0.5F), 5);
		}
		if (sum < 0.99F || sum > 1.01F)
			wrong(sc, "the shares of %s are %f together",
			    windows[i], (double)sum);
	}
}

/* expect rule D/V = DIRECTIVE|reply|none */
static void
expect_rule(struct script *sc)
{
	struct sched_queue_why why;
	struct squeue *q;
	const char *got;

	if (!why_get(sc, &q, &why))
		return;
	got = !why.limited ? "none" : why.setting == NULL ? "reply" :
	    why.setting;
	if (strcmp(got, word(sc, 4)) != 0)
		wrong(sc, "got %s, want %s", got, word(sc, 4));
}

/* expect ahead D/V = D/V|none */
static void
expect_ahead(struct script *sc)
{
	struct sched_queue_why why;
	struct squeue *q;

	if (!why_get(sc, &q, &why))
		return;
	if (why.ahead.n == 0)
		why.ahead = SV("none");
	if (!sv_eq(why.ahead, sv_from(word(sc, 4))))
		wrong(sc, "got %.*s, want %s", SV_FMT(why.ahead), word(sc, 4));
}

static void
expect_why_number(struct script *sc, const char *what)
{
	const struct squeue *v[100];
	struct sched_queue_why why;
	struct squeue *q;

	if (!why_get(sc, &q, &why))
		return;
	if (strcmp(what, "rivals") == 0)
		check_number(sc, sched_queue_rivals(q, v, 100), 3);
	else if (strcmp(what, "arrive") == 0)
		check_number(sc, (int64_t)why.arrived_per_hour, 3);
	else
		check_number(sc, (int64_t)why.delivered_per_hour, 3);
}

/* ---- warmup ---- */

static const struct swarmup *
warmup_named(struct script *sc, const char *name)
{
	const struct swarmup *w = NULL;
	struct sv rest = sv_from(name), plan = sv_cut(&rest, '/');
	struct sched_warmup i;

	while ((w = sched_warmup_next(sc->w.s, w)) != NULL) {
		sched_warmup(sc->w.s, world_now(&sc->w), w, &i);
		if (sv_eq(i.name, plan) && sv_eq(i.vmta, rest))
			return w;
	}
	syntax(sc, "no such warmup");
	return NULL;
}

/* The nth day, from 1. */
static struct sched_warmup_day
warmup_day(struct script *sc, const struct swarmup *w, uint32_t n)
{
	struct sched_warmup i;
	struct sched_warmup_day d;

	sched_warmup(sc->w.s, world_now(&sc->w), w, &i);
	(void)sched_warmup_day(sc->w.s, w, i.first, &d);
	if (!sched_warmup_day(sc->w.s, w, d.start + (int32_t)n - 1, &d))
		wrong(sc, "nothing is planned for day %u", n);
	return d;
}

/* expect kept NAME/V N1 N2 PERCENT */
static void
expect_kept(struct script *sc)
{
	const struct swarmup *w = warmup_named(sc, word(sc, 2));
	uint32_t last = number_of(sc, word(sc, 4));
	uint32_t percent = number_of(sc, word(sc, 5));

	for (uint32_t n = number_of(sc, word(sc, 3)); n <= last; n++) {
		struct sched_warmup_day d = warmup_day(sc, w, n);

		if (d.done > d.plan ||
		    (uint64_t)d.done * 100 < (uint64_t)d.plan * percent)
			wrong(sc, "day %u: %u delivered, planned %u", n,
			    d.done, d.plan);
	}
}

/* expect plan|actual NAME/V N OP COUNT; expect behind NAME/V OP DAYS */
static void
expect_warmup(struct script *sc, char what)
{
	const struct swarmup *w = warmup_named(sc, word(sc, 2));
	struct sched_warmup_day d = warmup_day(sc, w, what == 'b' ? 1 :
	    number_of(sc, word(sc, 3)));

	if (what == 'b')
		check_number(sc, d.behind, 3);
	else
		check_number(sc, what == 'p' ? d.plan : d.done, 4);
}

/* expect source IP opened|now|max OP N */
static void
expect_source(struct script *sc)
{
	const struct wsource *so = NULL;
	const char *what = word(sc, 3);

	for (uint32_t i = 0; i < sc->w.nsources; i++) {
		if (strcmp(sc->w.sources[i].ip, word(sc, 2)) == 0)
			so = &sc->w.sources[i];
	}
	if (so == NULL)
		check_number(sc, 0, 4);
	else if (strcmp(what, "opened") == 0)
		check_number(sc, so->opened, 4);
	else if (strcmp(what, "now") == 0)
		check_number(sc, so->now, 4);
	else
		check_number(sc, so->max, 4);
}

static bool
is_from(const struct script *sc, const struct happening *h, const char *ip,
    const char *x)
{
	return happening_is(sc, h, W_DISPATCHED, x) && (strcmp(ip, "*") == 0 ||
	    strcmp(sc->w.sources[h->source].ip, ip) == 0);
}

/* expect rate IP X WINDOW OP N */
static void
expect_rate(struct script *sc)
{
	int64_t window = time_of(sc, word(sc, 4)), sum = 0, most = 0;
	const struct happening *log = sc->w.log;
	size_t from = 0;

	for (size_t i = 0; i < sc->w.nlog; i++) {
		if (!is_from(sc, &log[i], word(sc, 2), word(sc, 3)))
			continue;
		sum += log[i].n;
		for (; log[from].t <= log[i].t - window; from++)
			if (is_from(sc, &log[from], word(sc, 2), word(sc, 3)))
				sum -= log[from].n;
		most = sum > most ? sum : most;
	}
	check_number(sc, most, 5);
}

static bool
is_peer(struct script *sc, const struct wpeer *p)
{
	struct sv from = sv_from(word(sc, 2));
	struct sv to = sv_from(word(sc, 3));
	struct conf_cidr net;

	if (!sv_eq(from, SV("*")) &&
	    !sv_eq(from, sv_from(sc->w.sources[p->source].ip)))
		return false;
	if (sv_find(to, '/') >= 0)
		return conf_parse_cidr(to, &net) == NULL &&
		    conf_cidr_has(&net, &p->ip);
	return sv_eq(to, SV("*")) || sv_eq(to, sv_from(p->host));
}

/* expect peers IP|* HOST|NETWORK|* OP N */
static void
expect_peers(struct script *sc)
{
	int64_t now = 0, most = 0;

	for (size_t i = 0; i < sc->w.nlog; i++) {
		const struct happening *h = &sc->w.log[i];

		if ((h->what != W_REACHED && h->what != W_LEFT) ||
		    !is_peer(sc, &sc->w.peers[h->source]))
			continue;
		now += h->what == W_REACHED ? 1 : -1;
		most = now > most ? now : most;
	}
	check_number(sc, most, 4);
}

static int64_t
count_disabled(const struct script *sc)
{
	struct sched_source so;
	const void *at = NULL;
	int64_t n = 0;

	while (sched_source_next(sc->w.s, &at, &so))
		n++;
	return n;
}

void
do_expect(struct script *sc)
{
	const char *w = word(sc, 1);

	if (strcmp(w, "between") == 0)
		check_number(sc, count_between(sc, what_of(word(sc, 4)),
		    word(sc, 5), time_of(sc, word(sc, 2)),
		    time_of(sc, word(sc, 3))), 6);
	else if (strcmp(w, "first") == 0 || strcmp(w, "last") == 0)
		expect_edge(sc, w[0] == 'f');
	else if (strcmp(w, "gap") == 0)
		expect_gap(sc);
	else if (strcmp(w, "try") == 0)
		expect_try(sc);
	else if (strcmp(w, "wait") == 0)
		expect_wait(sc);
	else if (strcmp(w, "share") == 0)
		expect_share(sc);
	else if (strcmp(w, "rule") == 0)
		expect_rule(sc);
	else if (strcmp(w, "ahead") == 0)
		expect_ahead(sc);
	else if (strcmp(w, "rivals") == 0 || strcmp(w, "arrive") == 0 ||
	    strcmp(w, "leave") == 0)
		expect_why_number(sc, w);
	else if (strcmp(w, "kept") == 0)
		expect_kept(sc);
	else if (strcmp(w, "plan") == 0 || strcmp(w, "actual") == 0 ||
	    strcmp(w, "behind") == 0)
		expect_warmup(sc, w[0]);
	else if (strcmp(w, "mode") == 0)
		expect_mode(sc);
	else if (strcmp(w, "source") == 0)
		expect_source(sc);
	else if (strcmp(w, "peers") == 0)
		expect_peers(sc);
	else if (strcmp(w, "rate") == 0)
		expect_rate(sc);
	else if (strcmp(w, "disabled") == 0)
		check_number(sc, count_disabled(sc), 2);
	else if (strcmp(w, "status") == 0)
		expect_text(sc, sc->w.last_status);
	else if (strcmp(w, "diag") == 0)
		expect_text(sc, sc->w.last_diag);
	else if (strcmp(w, "done") == 0)
		check_number(sc, (int64_t)sc->w.done, 2);
	else if (strcmp(w, "max-group") == 0)
		check_number(sc, sc->w.max_group, 2);
	else if (strcmp(w, "max-sessions") == 0)
		check_number(sc, max_sessions(sc, word(sc, 2)), 3);
	else if (what_of(w) >= 0)
		check_number(sc, count_between(sc, what_of(w), word(sc, 2), 0,
		    INT64_MAX), 3);
	else
		check_number(sc, count_now(sc, w, word(sc, 2)), 3);
}
