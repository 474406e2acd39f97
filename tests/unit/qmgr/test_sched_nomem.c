/* SPDX-License-Identifier: ISC */
/*
 * The Nth allocation of the scheduler fails, for each N of a life with all
 * that allocates: queues, VMTAs, sessions, deliveries, retries, timers, errors,
 * workers, what workers keep. Behind each call the invariants hold and every
 * recipient is there; in the end every message was delivered, once. Where an
 * input can fail its caller tries again.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/spool/event.h"
#include "qmgr/sched_private.h"
#include "tests/unit/qmgr/knobs.h"

#define WALL0    (INT64_C(1900000000) * US_PER_SEC)
#define STEP_US  (250 * US_PER_MS)
#define STEPS    900    /* of a life; less than the 300 s after which a queue
                         * is looked at anyway */
#define MSGS     100u   /* more queues, messages, timers than a table's first
                         * size */
#define RCPTS    3u
#define SESSIONS 64u
#define DELIVERS (SESSIONS * SCHED_WINDOW)
#define N_MOST   20000ul
#if defined(__SANITIZE_ADDRESS__) || defined(__clang__)
#define N_STEP 3u  /* minutes otherwise; the build with gcc takes each */
#else
#define N_STEP 1u
#endif

/* ---- the allocator: that of the scheduler's calls fails ---- */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t m);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t m);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t m);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t m);

static bool armed;                      /* in a call */
static unsigned long before, many;      /* so many are good, so many fail */
static unsigned long hits;

static bool
fails(void)
{
	if (!armed || many == 0)
		return false;
	if (before > 0) {
		before--;
		return false;
	}
	many--;
	hits++;
	errno = ENOMEM;
	return true;
}

void *
__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t m)
{
	return fails() ? NULL : __real_calloc(n, m);
}

void *
__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

void *
__wrap_reallocarray(void *p, size_t n, size_t m)
{
	return fails() ? NULL : __real_reallocarray(p, n, m);
}

/* ---- a world that allocates nothing ---- */

struct world {
	struct sched *s;
	struct sched_now now;
	uint32_t nrcpts[MSGS + 1];        /* by id; 0: not there */
	uint32_t tries[MSGS + 1][RCPTS];
	bool delivered[MSGS + 1][RCPTS];
	uint64_t open;                    /* recipients not delivered */
	struct { uint64_t id; bool up, closing; } se[SESSIONS];
	uint32_t nse, opened;
	struct { uint64_t session, id; uint32_t idx[RCPTS], n; }
	    d[DELIVERS];
	uint32_t nd;
	struct squeue *resolving[MSGS + 8];
	uint32_t nresolving;
	uint32_t dns_failures;
};

/* In callbacks: Check's own assertions allocate. */
static void
must(bool ok)
{
	if (!ok)
		abort();
}

static void
on_resolve(void *arg, struct squeue *q, struct sv domain, struct sv vmta,
    const struct conf_domain *conf)
{
	struct world *w = arg;

	(void)domain;
	(void)vmta;
	(void)conf;
	must(w->nresolving < MSGS + 8);
	w->resolving[w->nresolving++] = q;
}

static void
on_session_open(void *arg, const struct sched_session *se)
{
	struct world *w = arg;

	must(w->nse < SESSIONS);
	w->se[w->nse].id = se->id;
	w->se[w->nse].up = w->se[w->nse].closing = false;
	w->nse++;
}

static void
on_deliver(void *arg, const struct sched_session *se, const struct smsg *m,
    const uint32_t *idx, uint32_t n)
{
	struct world *w = arg;
	uint32_t k = w->nd++;

	must(k < DELIVERS && n <= RCPTS);
	w->d[k].session = se->id;
	w->d[k].id = m->id;
	w->d[k].n = n;
	memcpy(w->d[k].idx, idx, n * sizeof(*idx));
	for (uint32_t i = 0; i < n; i++) {
		must(smsg_rcpt_state(m, idx[i]) == SR_INFLIGHT);
		must(!w->delivered[m->id][idx[i]]);
	}
}

static void
on_session_close(void *arg, uint64_t session, unsigned worker)
{
	struct world *w = arg;

	(void)worker;
	for (uint32_t i = 0; i < w->nse; i++) {
		if (w->se[i].id == session)
			w->se[i].closing = true;
	}
}

static void
on_give_up(void *arg, struct smsg *m, uint32_t idx,
    const struct sched_why *why)
{
	(void)arg;
	(void)m;
	(void)idx;
	(void)why;
	must(false); /* nothing is old */
}

static void
on_queue_deferred(void *arg, const struct squeue *q, struct wall next,
    uint32_t failures, const struct sched_why *why)
{
	(void)arg;
	(void)q;
	(void)next;
	(void)failures;
	(void)why;
}

static void
on_msg_done(void *arg, const struct smsg *m)
{
	(void)arg;
	(void)m;
}

/* The hosts of all. */
static const struct route *
on_route(void *arg, const struct squeue *q, bool *relay_r)
{
	static const struct route_addr addr = { 4, { 192, 0, 2, 1 } };
	static const struct route_host hosts[] = {
		{ 10, 25, { "mx1.test", 8 }, &addr, 1 },
		{ 10, 25, { "mx2.test", 8 }, &addr, 1 } };
	static const struct route r = { hosts, 2 };

	(void)arg;
	(void)q;
	*relay_r = false;
	return &r;
}

static const struct sched_ops ops = {
	.resolve = on_resolve, .route = on_route, .session_open = on_session_open,
	.deliver = on_deliver, .session_close = on_session_close,
	.give_up = on_give_up, .queue_deferred = on_queue_deferred,
	.msg_done = on_msg_done,
};

/* ---- calls ---- */

/* Behind each of them. */
static void
verify(const struct world *w)
{
	struct sched_totals t;

	armed = false;
	sched_check(w->s);
	sched_totals(w->s, &t);
	ck_assert_uint_eq(t.rcpts, w->open);
}

#define CALL(w, what) do { \
	armed = true; \
	what; \
	verify(w); \
} while (0)

/* An input that may fail: only for want of memory, and not for ever. */
#define CALL_UNTIL(w, what) do { \
	unsigned long hits_before; \
	bool ok; \
	do { \
		hits_before = hits; \
		armed = true; \
		ok = (what); \
		armed = false; \
		ck_assert(ok || hits != hits_before); \
		sched_check((w)->s); \
	} while (!ok); \
} while (0)

static bool
add_try(struct world *w, uint64_t id, const char *const *domains, uint32_t n,
    const char *vmta)
{
	struct sched_msg m = { .id = id, .segment = 1, .length = 512,
		.body_len = 400, .arrival_us = w->now.wall.us };
	struct sv list[RCPTS];

	for (uint32_t i = 0; i < n; i++)
		list[i] = sv_from(domains[i]);
	if (sched_msg_add(w->s, w->now, &m, sv_from(vmta), list, n) == NULL)
		return false;
	w->nrcpts[id] = n;
	w->open += n;
	return true;
}

static void
add(struct world *w, uint64_t id, const char *a, const char *b,
    const char *vmta)
{
	const char *domains[RCPTS] = { a, b, b };

	CALL_UNTIL(w, add_try(w, id, domains, b == NULL ? 1 : 3, vmta));
	verify(w);
	for (uint32_t i = 0; id % 3 == 1 && i < w->nrcpts[id]; i++)
		CALL(w, sched_rcpt_prioritize(w->s, w->now,
		    sched_msg_find(w->s, id), i,
		    (unsigned)(40 + id % 30)));
}

static void
session_forget(struct world *w, uint32_t i)
{
	uint64_t id = w->se[i].id;

	for (uint32_t k = w->nd; k-- > 0; ) {
		if (w->d[k].session == id)
			w->d[k] = w->d[--w->nd];
	}
	w->se[i] = w->se[--w->nse];
}

static void
session_drop(struct world *w, uint32_t i, enum session_end end)
{
	static const struct sched_why why = { .status = SV("4.4.2"),
		.diag = SV("as told") };
	uint64_t id = w->se[i].id;

	session_forget(w, i);
	CALL(w, sched_session_end(w->s, w->now, id, end, 0, &why));
}

/* Some recipients fail once, some connections get lost. */
static enum outcome
outcome_of(struct world *w, uint64_t id, uint32_t idx)
{
	if (w->tries[id][idx]++ > 0)
		return OUT_DELIVERED;
	return id % 11 == 1 ? OUT_LOST : id % 4 == 2 ? OUT_TEMPORARY :
	    OUT_DELIVERED;
}

static void
rcpt_result(struct world *w, uint64_t session, uint64_t id, uint32_t idx,
    enum outcome o)
{
	struct sched_result res = { .outcome = o, .status = SV("4.0.0"),
		.text = SV("451 4.0.0 try again later") };
	struct smsg *m = sched_msg_find(w->s, id);
	struct sched_decision dec = { 0 };
	bool taken;

	ck_assert_ptr_nonnull(m);
	armed = true;
	taken = sched_result(w->s, w->now, session, m, idx, &res, &dec);
	armed = false;
	ck_assert(taken);
	if (dec.action == ACT_DELIVERED) {
		ck_assert(!w->delivered[id][idx]);
		w->delivered[id][idx] = true;
		w->open--;
	}
	verify(w);
}

static void
deliver_answer(struct world *w, uint32_t k)
{
	uint64_t session = w->d[k].session, id = w->d[k].id;
	enum outcome o = OUT_DELIVERED;

	for (uint32_t i = 0; i < w->d[k].n; i++) {
		o = outcome_of(w, id, w->d[k].idx[i]);
		rcpt_result(w, session, id, w->d[k].idx[i], o);
	}
	w->d[k] = w->d[--w->nd];
	CALL(w, sched_deliver_done(w->s, w->now, session, id));
	for (uint32_t i = 0; o == OUT_LOST && i < w->nse; i++) {
		if (w->se[i].id == session) {
			session_drop(w, i, END_LOST);
			break;
		}
	}
}

static void
run(struct world *w)
{
	bool more = true;

	for (int i = 0; more; i++) {
		CALL(w, more = sched_run(w->s, w->now));
		ck_assert_int_lt(i, 1000);
	}
}

static void
routes_answer(struct world *w)
{
	while (w->nresolving > 0) {
		struct squeue *q = w->resolving[--w->nresolving];
		bool fail = w->dns_failures++ % 9 == 2;

		CALL(w, sched_site(w->s, w->now, q, SV("mx.test"), false));
		CALL(w, sched_route(w->s, w->now, q, fail ? ROUTE_TEMPORARY :
		    ROUTE_OK, 3600000, NULL));
	}
}

static void
sessions_go_on(struct world *w)
{
	for (uint32_t i = w->nse; i-- > 0; ) {
		if (w->se[i].closing || (!w->se[i].up && ++w->opened % 5 == 3))
			session_drop(w, i, w->se[i].closing ? END_IDLE :
			    END_CONNECT);
		else if (!w->se[i].up) {
			w->se[i].up = true;
			CALL(w, sched_session_up(w->s, w->now, w->se[i].id,
			    SV("mx1.test"), SV("192.0.2.1")));
		}
	}
}

static void
step(struct world *w)
{
	w->now.mono.us += STEP_US;
	w->now.wall.us += STEP_US;
	run(w);
	routes_answer(w);
	run(w);
	sessions_go_on(w);
	run(w);
	while (w->nd > 0)
		deliver_answer(w, 0);
}

static bool
messages_left(const struct world *w)
{
	return w->open > 0;
}

/* ---- a life ---- */

static struct conf *conf;

static const char conf_text[] =
    "total-max-smtp-out 20\nmx-connection-limit mx1.test 12\n"
    "mx-connection-limit mx2.test 9\n"
    "<domain *>\nretry-after 1s\nretry-recipients-after 2s\n"
    "retry-after-dns-error 1s\nconnection-idle-timeout 1s\n</domain>\n"
    "<domain a.test>\nmax-smtp-out 2\n</domain>\n"
    "<domain b.test>\nmax-msg-rate 5/s\nsource-ip-max-msg-rate 0/0 5/s\n"
    "queue-priority 80\n</domain>\n"
    "<domain c.test>\nmax-connect-rate 30/m\nmax-msg-per-connection 3\n"
    "</domain>\n"
    "<virtual-mta v2>\nmax-smtp-msg-rate 60/m\n</virtual-mta>\n";

static void
mail_come(struct world *w)
{
	static const char *const domains[] = { "a.test", "b.test", "c.test" };
	char name[32];

	for (uint64_t id = 1; id <= MSGS; id++) {
		snprintf(name, sizeof(name), "d%llu.test",
		    (unsigned long long)id);
		if (id > 30)
			add(w, id, name, NULL, "v1");
		else
			add(w, id, domains[id % 3], id % 5 == 0 ?
			    domains[(id + 1) % 3] : NULL,
			    id % 6 == 1 ? "v2" : "v1");
	}
}

/* qmgr was restarted, and the worker has some of what is ready. */
static void
worker_keeps(struct world *w)
{
	for (uint64_t id = 1; id <= MSGS; id += 3) {
		struct smsg *m = sched_msg_find(w->s, id);

		if (m == NULL || smsg_rcpt_state(m, 0) == SR_DONE)
			continue;
		CALL_UNTIL(w, sched_rcpt_held_by(w->s, m, 0, 0));
		ck_assert_int_eq(smsg_rcpt_state(m, 0), SR_INFLIGHT);
	}
	verify(w);
}

/* One of those it kept is answered, the others come back as it dies. */
static void
worker_dies(struct world *w)
{
	rcpt_result(w, 77, 34, 0, OUT_TEMPORARY);
	rcpt_result(w, 77, 7, 0, OUT_DELIVERED);
	while (w->nse > 0)
		session_forget(w, 0);
	CALL(w, sched_worker_remove(w->s, w->now, 0));
	run(w);
	CALL_UNTIL(w, sched_worker_add(w->s, 0));
	verify(w);
}

static void
pause_comes_before_the_mail(struct world *w)
{
	struct sched_queue_info info;
	const struct squeue *q;

	CALL_UNTIL(w, queue_pause(w->s, w->now, SV("z.test"), SV("v9"),
	    true));
	q = sched_queue_find(w->s, SV("z.test"), SV("v9"));
	ck_assert_ptr_nonnull(q);
	sched_queue_info(w->s, w->now, q, &info);
	ck_assert(info.paused);
	run(w);
	CALL_UNTIL(w, queue_pause(w->s, w->now, SV("z.test"), SV("v9"),
	    false));
}

static void
restore(struct world *w, uint64_t id)
{
	struct smsg *m = sched_msg_find(w->s, id);

	CALL(w, sched_rcpt_restore(w->s, w->now, m, 0, SR_RETRY, 1,
	    w->now.wall.us + US_PER_SEC));
}

static void
life(struct world *w)
{
	int steps;

	CALL_UNTIL(w, sched_worker_add(w->s, 0));
	mail_come(w);
	for (uint64_t id = 40; id < 50; id++)
		restore(w, id);
	worker_keeps(w);
	for (int i = 0; i < 3; i++)
		step(w);
	worker_dies(w);
	pause_comes_before_the_mail(w);
	for (steps = 0; messages_left(w); steps++) {
		ck_assert_int_lt(steps, STEPS);
		step(w);
	}
	while (w->nse > 0)
		session_drop(w, 0, END_IDLE);
	w->now.mono.us += 2 * QUEUE_KEEP_US;
	w->now.wall.us += 2 * QUEUE_KEEP_US;
	run(w);
}

static void
life_verify(struct world *w)
{
	struct sched_totals t;

	for (uint64_t id = 1; id <= MSGS; id++) {
		for (uint32_t i = 0; i < w->nrcpts[id]; i++)
			ck_assert(w->delivered[id][i]);
	}
	sched_totals(w->s, &t);
	ck_assert_uint_eq(t.messages, 0);
	ck_assert_uint_eq(t.sessions, 0);
}

static const unsigned long bursts[] = { 1, 3, 50 };

START_TEST(test_nth_allocation_fails_nothing_is_lost)
{
	static struct world w;
	unsigned long n;

	for (n = (unsigned)_i % N_STEP; n < N_MOST; n += N_STEP) {
		w = (struct world){ .now = { .mono = { US_PER_SEC },
			.wall = { WALL0 } } };
		w.s = sched_new(&ops, &w, conf, n);
		before = n;
		many = bursts[_i];
		hits = 0;
		life(&w);
		life_verify(&w);
		sched_free(&w.s);
		if (hits == 0)
			break;
	}
	/* it reached the end, and there were many */
	ck_assert_uint_gt(n, 300);
	ck_assert_uint_lt(n, N_MOST);
}
END_TEST

/* All places for timers are taken, and the next one is a rate's. */
static void
rate_life(struct world *w)
{
	uint64_t id = 1;

	CALL_UNTIL(w, sched_worker_add(w->s, 0));
	add(w, id, "b.test", NULL, "v1");
	for (int i = 0; w->open > 0; i++) {
		ck_assert_int_lt(i, STEPS);
		step(w);
	}
	while (w->s->timers.n < w->s->timers.size) {
		char name[32];

		snprintf(name, sizeof(name), "d%llu.test",
		    (unsigned long long)++id);
		add(w, id, name, NULL, "v1");
		run(w);
	}
	for (int i = 0; i < 12; i++)
		add(w, ++id, "b.test", NULL, "v1");
}

START_TEST(test_rate_without_memory_for_its_timer_goes_on)
{
	static struct world w;
	unsigned long n;

	for (n = (unsigned)_i % N_STEP; n < N_MOST; n += N_STEP) {
		w = (struct world){ .now = { .mono = { US_PER_SEC },
			.wall = { WALL0 } } };
		w.s = sched_new(&ops, &w, conf, 1);
		many = 0;
		rate_life(&w);
		before = n;
		many = 1;
		hits = 0;
		for (int i = 0; w.open > 0; i++) {
			ck_assert_int_lt(i, STEPS);
			step(&w);
		}
		sched_free(&w.s);
		if (hits == 0)
			break;
	}
	ck_assert_uint_gt(n, 2);
	ck_assert_uint_lt(n, N_MOST);
}
END_TEST

static struct conf *
conf_of(const char *text)
{
	struct conf_report rep;
	struct conf *c;

	conf_report_init(&rep);
	c = conf_parse("test", sv_from(text), &rep);
	if (c == NULL) {
		fprintf(stderr, "%s\n", rep.errors[0]);
		exit(1);
	}
	conf_report_fini(&rep);
	return c;
}

int
main(void)
{
	Suite *s = suite_create("sched_nomem");
	TCase *tc = tcase_create("sched_nomem");
	SRunner *sr;
	int bad;

	conf = conf_of(conf_text);
	tcase_set_timeout(tc, 300);
	tcase_add_loop_test(tc, test_nth_allocation_fails_nothing_is_lost, 0,
	    (int)(sizeof(bursts) / sizeof(bursts[0])));
	tcase_add_test(tc, test_rate_without_memory_for_its_timer_goes_on);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	bad = srunner_ntests_failed(sr);
	srunner_free(sr);
	conf_free(&conf);
	return bad == 0 ? 0 : 1;
}
