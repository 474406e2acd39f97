/* SPDX-License-Identifier: ISC */
#include <check.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/spool/event.h"
#include "qmgr/sched_private.h"

/*
 * A fake world: it remembers what the scheduler decided and checks at once
 * that nothing is dispatched twice and no limit is exceeded.
 */
#define WORLD_SESSIONS 4096
#define WORLD_DELIVERS 65536
#define WALL0 (INT64_C(1900000000) * US_PER_SEC)

struct wdeliver {
	uint64_t session, id;
	uint32_t idx[8], n;
};

struct world {
	struct sched *s;
	struct conf *conf;
	struct sched_now now;
	struct { uint64_t id; struct squeue *q; bool up, closing; }
	    se[WORLD_SESSIONS];
	uint32_t nse;
	struct wdeliver d[WORLD_DELIVERS];
	uint32_t nd;
	struct squeue *resolving[256];
	uint32_t nresolving;
	uint64_t delivered_rcpts, given_up, done, deferrals;
	char last_status[16];
	char last_diag[512];
	bool keep_give_up;          /* give_up() does nothing */
	bool random;                /* few deliveries, checked closely */
	uint64_t rng;
};

static void
on_resolve(void *arg, struct squeue *q, struct sv domain, struct sv vmta,
    const struct conf_domain *conf)
{
	struct world *w = arg;

	(void)domain;
	(void)vmta;
	ck_assert_ptr_nonnull(conf);
	ck_assert_uint_lt(w->nresolving, 256);
	w->resolving[w->nresolving++] = q;
}

static void
on_session_open(void *arg, const struct sched_session *se)
{
	struct world *w = arg;

	ck_assert_uint_lt(w->nse, WORLD_SESSIONS);
	w->se[w->nse].id = se->id;
	w->se[w->nse].up = w->se[w->nse].closing = false;
	w->se[w->nse++].q = (struct squeue *)(uintptr_t)se->queue;
}

static void
on_deliver(void *arg, const struct sched_session *se, const struct smsg *m,
    const uint32_t *idx, uint32_t n)
{
	struct world *w = arg;
	struct wdeliver *d = &w->d[w->nd++];

	ck_assert_uint_lt(w->nd, WORLD_DELIVERS);
	ck_assert_uint_le(n, 8);
	d->session = se->id;
	d->id = m->id;
	d->n = n;
	memcpy(d->idx, idx, n * sizeof(*idx));
	for (uint32_t i = 0; i < n; i++)
		ck_assert_int_eq(smsg_rcpt_state(m, idx[i]), SR_INFLIGHT);
	for (uint32_t j = 0; w->random && j + 1 < w->nd; j++) {
		for (uint32_t i = 0; i < n * w->d[j].n; i++)
			ck_assert(w->d[j].id != m->id ||
			    w->d[j].idx[i / n] != idx[i % n]);
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
	struct world *w = arg;

	snprintf(w->last_status, sizeof(w->last_status), "%.*s",
	    SV_FMT(why->status));
	snprintf(w->last_diag, sizeof(w->last_diag), "%.*s",
	    SV_FMT(why->diag));
	if (w->keep_give_up)
		return;
	w->given_up++;
	sched_final(w->s, w->now, m, idx, SR_DONE);
}

static void
on_queue_deferred(void *arg, const struct squeue *q, struct wall next,
    uint32_t failures, const struct sched_why *why)
{
	struct world *w = arg;

	(void)q;
	(void)failures;
	(void)why;
	ck_assert_int_gt(next.us, w->now.wall.us);
	w->deferrals++;
}

static void
on_msg_done(void *arg, const struct smsg *m)
{
	(void)m;
	((struct world *)arg)->done++;
}

static const struct sched_ops ops = {
	.resolve = on_resolve, .session_open = on_session_open,
	.deliver = on_deliver, .session_close = on_session_close,
	.give_up = on_give_up, .queue_deferred = on_queue_deferred,
	.msg_done = on_msg_done,
};

static struct conf *
conf_of(const char *text)
{
	struct conf_report rep;
	struct conf *c;

	conf_report_init(&rep);
	c = conf_parse("test", sv_from(text), &rep);
	if (c == NULL)
		ck_abort_msg("%s", rep.errors[0]);
	conf_report_fini(&rep);
	return c;
}

static struct world *
world_new(const char *text, uint64_t seed)
{
	struct world *w = calloc(1, sizeof(*w));

	w->conf = conf_of(text);
	w->now.mono.us = 1000000;
	w->now.wall.us = WALL0;
	w->s = sched_new(&ops, w, w->conf, seed);
	sched_worker_add(w->s, 0);
	return w;
}

static void
world_free(struct world *w)
{
	sched_free(&w->s);
	conf_free(&w->conf);
	free(w);
}

static void
pass(struct world *w, int64_t us)
{
	w->now.mono.us += us;
	w->now.wall.us += us;
}

static void
run(struct world *w)
{
	for (int i = 0; sched_run(w->s, w->now); i++)
		ck_assert_int_lt(i, 100000);
	sched_check(w->s);
}

static struct smsg *
add(struct world *w, uint64_t id, const char *domain, uint32_t n)
{
	struct sv domains[8];
	struct sched_msg m = { .id = id, .segment = 1, .offset = 64,
		.length = 512, .body_len = 400,
		.arrival_us = w->now.wall.us };

	for (uint32_t i = 0; i < n; i++)
		domains[i] = sv_from(domain);
	return sched_msg_add(w->s, w->now, &m, SV("v1"), domains, n);
}

static void
answer_routes(struct world *w)
{
	while (w->nresolving > 0)
		sched_route(w->s, w->now, w->resolving[--w->nresolving],
		    ROUTE_OK, 3600000, NULL);
	run(w);
}

/* Brings everything up that connects. */
static void
sessions_up(struct world *w)
{
	for (uint32_t i = 0; i < w->nse; i++) {
		if (!w->se[i].up) {
			w->se[i].up = true;
			sched_session_up(w->s, w->now, w->se[i].id);
		}
	}
	run(w);
}

static void
session_drop(struct world *w, uint32_t i, enum session_end end)
{
	uint64_t id = w->se[i].id;

	for (uint32_t j = 0; j < w->nd; ) {
		if (w->d[j].session == id)
			w->d[j] = w->d[--w->nd];
		else
			j++;
	}
	w->se[i] = w->se[--w->nse];
	sched_session_end(w->s, w->now, id, end, 0, NULL);
}

/* The outcome for all recipients of delivery i. */
static struct sched_decision
result(struct world *w, uint32_t i, enum outcome o)
{
	struct wdeliver d = w->d[i];
	struct sched_result res = { .outcome = o, .status = SV("4.0.0"),
		.text = SV("451 4.0.0 try again later") };
	struct sched_decision dec = { 0 };
	struct smsg *m;

	for (uint32_t k = 0; k < d.n; k++) {
		m = sched_msg_find(w->s, d.id);
		if (m == NULL)
			break;
		if (sched_result(w->s, w->now, d.session, m, d.idx[k], &res,
		    &dec) && dec.action == ACT_DELIVERED)
			w->delivered_rcpts++;
	}
	w->d[i] = w->d[--w->nd];
	sched_deliver_done(w->s, w->now, d.session, d.id);
	return dec;
}

START_TEST(test_dispatch_three_messages_one_session)
{
	struct world *w = world_new("", 1);

	for (uint64_t i = 1; i <= 3; i++)
		ck_assert_ptr_nonnull(add(w, i, "a.test", 1));
	run(w);
	ck_assert_uint_eq(w->nresolving, 1);
	answer_routes(w);
	ck_assert_uint_eq(w->nse, 1);
	sessions_up(w);
	ck_assert_uint_eq(w->nse, 1);
	ck_assert_uint_eq(w->nd, 3);
	while (w->nd > 0)
		result(w, 0, OUT_DELIVERED);
	run(w);
	ck_assert_uint_eq(w->done, 3);
	world_free(w);
}
END_TEST

START_TEST(test_dispatch_long_line_sessions_double)
{
	struct world *w = world_new("", 1);
	uint32_t want[] = { 1, 2, 4, 8, 16, 20, 20 };

	for (uint64_t i = 1; i <= 1000; i++)
		add(w, i, "a.test", 1);
	run(w);
	answer_routes(w);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		ck_assert_uint_eq(w->nse, want[i]);
		sessions_up(w);
	}
	ck_assert_uint_eq(w->nd, 20 * SCHED_WINDOW);
	world_free(w);
}
END_TEST

START_TEST(test_msg_add_known_id_refused)
{
	struct world *w = world_new("", 1);

	ck_assert_ptr_nonnull(add(w, 7, "a.test", 1));
	ck_assert_ptr_null(add(w, 7, "a.test", 1));
	world_free(w);
}
END_TEST

START_TEST(test_result_lost_soon_then_later)
{
	struct world *w = world_new("", 1);
	struct sched_decision d;

	add(w, 1, "a.test", 1);
	run(w);
	answer_routes(w);
	sessions_up(w);
	d = result(w, 0, OUT_LOST);
	ck_assert_int_le(d.next_us - w->now.wall.us, LOST_DELAY_US);
	ck_assert_uint_eq(d.attempts, 1);
	session_drop(w, 0, END_LOST);
	pass(w, LOST_DELAY_US);
	run(w);
	sessions_up(w);
	ck_assert_uint_eq(w->nd, 1);
	d = result(w, 0, OUT_LOST);
	ck_assert_int_ge(d.next_us - w->now.wall.us, 30 * 60 * US_PER_SEC);
	world_free(w);
}
END_TEST

START_TEST(test_result_in_doubt_longest_delay)
{
	struct world *w = world_new("", 1);
	struct sched_decision d;

	add(w, 1, "a.test", 1);
	run(w);
	answer_routes(w);
	sessions_up(w);
	d = result(w, 0, OUT_IN_DOUBT);
	ck_assert_int_eq(d.action, ACT_DEFERRED);
	ck_assert_int_eq(d.next_us - w->now.wall.us, 30 * 60 * US_PER_SEC);
	world_free(w);
}
END_TEST

START_TEST(test_result_session_zero_in_flight_accepted)
{
	struct world *w = world_new("", 1);
	struct sched_result res = { .outcome = OUT_IN_DOUBT };
	struct sched_decision d;
	struct smsg *m = add(w, 1, "a.test", 1);

	run(w);
	answer_routes(w);
	sessions_up(w);
	ck_assert(!sched_result(w->s, w->now, 12345, m, 0, &res, &d));
	ck_assert(sched_result(w->s, w->now, 0, m, 0, &res, &d));
	sched_worker_remove(w->s, w->now, 0);
	ck_assert_int_eq(smsg_rcpt_state(m, 0), SR_RETRY);
	run(w);
	world_free(w);
}
END_TEST

START_TEST(test_session_end_gives_back_in_order)
{
	struct world *w = world_new("", 1);

	for (uint64_t i = 1; i <= 6; i++)
		add(w, i, "a.test", 2);
	run(w);
	answer_routes(w);
	sessions_up(w);
	ck_assert_uint_eq(w->nd, 4);
	session_drop(w, 0, END_LOST);
	while (w->nse > 0)
		session_drop(w, 0, END_LOST);
	run(w);
	sessions_up(w);
	for (uint32_t i = 0; i < 4; i++) {
		ck_assert_uint_eq(w->d[i].id, i + 1);
		ck_assert_uint_eq(w->d[i].n, 2);
		ck_assert_uint_eq(w->d[i].idx[0], 0);
	}
	world_free(w);
}
END_TEST

START_TEST(test_session_lost_thrice_without_delivery_queue_waits)
{
	struct world *w = world_new("", 1);

	add(w, 1, "a.test", 1);
	run(w);
	answer_routes(w);
	for (int i = 0; i < 3; i++) {
		ck_assert_uint_eq(w->nse, 1);
		sessions_up(w);
		session_drop(w, 0, END_LOST);
		run(w);
	}
	ck_assert_uint_eq(w->nse, 0);
	ck_assert_uint_eq(w->deferrals, 1);
	world_free(w);
}
END_TEST

START_TEST(test_result_over_already_refused)
{
	struct world *w = world_new("", 1);
	struct sched_result res = { .outcome = OUT_PERMANENT,
		.dsn_on_failure = true };
	struct sched_decision d;
	struct smsg *m = add(w, 1, "a.test", 1);

	ck_assert(sched_result(w->s, w->now, 9, m, 0, &res, &d));
	ck_assert(d.bouncing);
	ck_assert(!sched_result(w->s, w->now, 9, m, 0, &res, &d));
	ck_assert_uint_eq(w->done, 0);
	sched_final(w->s, w->now, m, 0, SR_DONE);
	ck_assert_uint_eq(w->done, 1);
	run(w);
	world_free(w);
}
END_TEST

START_TEST(test_give_up_refused_tries_again_without_spinning)
{
	struct world *w = world_new("<domain *>\nbounce-after 1h\n"
	    "</domain>\n", 1);

	w->keep_give_up = true;
	add(w, 1, "a.test", 1);
	run(w);
	pass(w, 2 * 3600 * US_PER_SEC);
	run(w);
	ck_assert_str_eq(w->last_status, "4.4.7");
	ck_assert_int_gt(sched_next(w->s).us, w->now.mono.us);
	w->keep_give_up = false;
	pass(w, 2 * US_PER_SEC);
	run(w);
	ck_assert_uint_eq(w->done, 1);
	world_free(w);
}
END_TEST

START_TEST(test_clock_year_forward_expires_nothing_at_once)
{
	struct world *w = world_new("", 1);

	for (uint64_t i = 1; i <= 100; i++)
		add(w, i, "a.test", 1);
	run(w);
	w->now.wall.us += 365 * 86400 * US_PER_SEC;
	pass(w, 3600 * US_PER_SEC);
	run(w);
	ck_assert_uint_eq(w->given_up, 0);
	/* neither earlier nor later than without the jump */
	pass(w, 70 * 3600 * US_PER_SEC);
	run(w);
	ck_assert_uint_eq(w->given_up, 0);
	pass(w, 3600 * US_PER_SEC);
	run(w);
	ck_assert_uint_eq(w->given_up, 100);
	w->now.wall.us -= 365 * 86400 * US_PER_SEC;
	add(w, 101, "a.test", 1);
	run(w);
	ck_assert_uint_eq(w->given_up, 100);
	pass(w, 72 * 3600 * US_PER_SEC);
	run(w);
	ck_assert_uint_eq(w->given_up, 101);
	world_free(w);
}
END_TEST

START_TEST(test_rate_ten_a_second_evenly_spread)
{
	struct srate r = { 0 };
	int64_t now = 5 * US_PER_SEC;

	rate_set(&r, &(struct conf_rate){ 10, 1000 }, now);
	ck_assert_int_eq(rate_tokens(&r, now), 1);
	rate_set(&r, &(struct conf_rate){ 1000, 1000 }, now);
	ck_assert_int_eq(rate_tokens(&r, now), 100);
	rate_set(&r, &(struct conf_rate){ 100000, 86400000 }, now);
	ck_assert_int_eq(rate_tokens(&r, now), 1);
	rate_set(&r, &(struct conf_rate){ 0, 0 }, now);
	ck_assert_uint_eq(rate_tokens(&r, now), UINT32_MAX);
}
END_TEST

START_TEST(test_queue_empty_freed_after_a_while)
{
	struct world *w = world_new("", 1);
	struct sched_totals t;

	add(w, 1, "a.test", 1);
	run(w);
	answer_routes(w);
	sessions_up(w);
	result(w, 0, OUT_DELIVERED);
	session_drop(w, 0, END_IDLE);
	run(w);
	sched_totals(w->s, &t);
	ck_assert_uint_eq(t.queues, 1);
	pass(w, QUEUE_KEEP_US);
	run(w);
	sched_totals(w->s, &t);
	ck_assert_uint_eq(t.queues, 0);
	world_free(w);
}
END_TEST

START_TEST(test_list_restored_out_of_order_sorted)
{
	struct world *w = world_new("", 1);
	const struct smsg *m;
	const void *at = NULL;
	struct squeue *q;
	uint32_t idx;
	int64_t last = 0;
	int n = 0;

	for (uint64_t i = 1; i <= 1000; i++) {
		w->now.wall.us = WALL0 + (int64_t)(i * 7919 % 1000);
		add(w, i, "a.test", 1);
	}
	q = sched_queue_find(w->s, SV("a.test"), SV("v1"));
	while (sched_queue_rcpt_next(q, &at, &m, &idx)) {
		ck_assert_int_ge(m->arrival_us, last);
		last = m->arrival_us;
		n++;
	}
	ck_assert_int_eq(n, 1000);
	run(w);
	world_free(w);
}
END_TEST

START_TEST(test_memory_million_messages_below_160_bytes)
{
	struct world *w = world_new("", 1);
	struct mallinfo2 before = mallinfo2(), after = before;
	double per = 0, worst = 0;

	for (uint64_t i = 1; i <= 1000000; i++) {
		ck_assert_ptr_nonnull(add(w, i, "a.test", 1));
		if (i % 10000 != 0 && (i < 786400 || i > 786500))
			continue;
		after = mallinfo2();
		per = (double)(after.uordblks + after.hblkhd -
		    before.uordblks - before.hblkhd) / (double)i;
		if (i >= 100000 && per > worst)
			worst = per;
	}
	fprintf(stderr, "memory: %.1f bytes per message, %.1f at worst\n",
	    per, worst);
	/* sanitizers have an allocator of their own that counts nothing */
	ck_assert(worst < 160 && (worst > 100 || after.uordblks == 0));
	world_free(w);
}
END_TEST

/* ---- anything may happen ---- */

static const char random_conf[] =
    "total-max-smtp-out 6\n"
    "<domain *>\nbounce-after 12h\nretry-after 1m-2m\n"
    "retry-recipients-after 1m-5m\nconnection-idle-timeout 5s\n"
    "retry-after-dns-error 10s\nmax-retries 5\n</domain>\n"
    "<domain a.test>\nmax-smtp-out 2\n</domain>\n"
    "<domain b.test>\nmax-msg-rate 5/s\n</domain>\n"
    "<domain c.test>\nmax-connect-rate 6/m\nmax-msg-per-connection 3\n"
    "</domain>\n"
    "<domain d.test>\nmax-rcpt-per-transaction 2\n</domain>\n"
    "<virtual-mta v1>\nmax-smtp-out 3\n</virtual-mta>\n"
    "<virtual-mta v2>\nmax-smtp-msg-rate 30/m\n</virtual-mta>\n";
static const char free_conf[] = "<domain *>\nbounce-after 20d\n"
    "retry-recipients-after 1m\nretry-after 1m\nmax-retries 0\n</domain>\n";

static uint32_t
rnd(struct world *w, uint32_t n)
{
	w->rng = w->rng * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(w->rng >> 33) % n;
}

static const char *const random_domains[] = { "a.test", "b.test", "c.test",
	"d.test", "e.test" };
static const char *const random_vmtas[] = { "v1", "v2", "v3" };

static uint32_t
random_add(struct world *w, uint64_t id)
{
	struct sched_msg m = { .id = id, .segment = id >> 20, .length = 80,
		.arrival_us = w->now.wall.us - rnd(w, 100) * US_PER_SEC };
	uint32_t n = 1 + rnd(w, 6);
	struct sv domains[8];

	for (uint32_t i = 0; i < n; i++)
		domains[i] = i > 0 && rnd(w, 2) == 0 ? domains[i - 1] :
		    sv_from(random_domains[rnd(w, 5)]);
	ck_assert_ptr_nonnull(sched_msg_add(w->s, w->now, &m,
	    sv_from(random_vmtas[rnd(w, 3)]), domains, n));
	return n;
}

static void
random_limits_hold(struct world *w)
{
	uint32_t v1 = 0, a[3] = { 0 };

	ck_assert_uint_le(w->nse, 6);
	for (uint32_t i = 0; i < w->nse; i++) {
		struct sv vmta = squeue_vmta(w->se[i].q);

		v1 += sv_eq(vmta, SV("v1"));
		if (sv_eq(squeue_domain(w->se[i].q), SV("a.test")))
			a[vmta.p[1] - '1']++;
	}
	ck_assert_uint_le(v1, 3);
	for (int i = 0; i < 3; i++)
		ck_assert_uint_le(a[i], 2);
}

static void
random_route(struct world *w)
{
	static const enum route_status st[] = { ROUTE_OK, ROUTE_OK, ROUTE_OK,
		ROUTE_OK, ROUTE_TEMPORARY, ROUTE_NO_DOMAIN };
	uint32_t i;

	if (w->nresolving == 0)
		return;
	i = rnd(w, w->nresolving);
	sched_route(w->s, w->now, w->resolving[i], st[rnd(w, 6)],
	    (int64_t)rnd(w, 100000), NULL);
	w->resolving[i] = w->resolving[--w->nresolving];
}

static void
random_session(struct world *w)
{
	uint32_t i;

	if (w->nse == 0)
		return;
	i = rnd(w, w->nse);
	if (rnd(w, 4) != 0 && !w->se[i].up) {
		w->se[i].up = true;
		sched_session_up(w->s, w->now, w->se[i].id);
	} else if (w->se[i].closing || rnd(w, 4) == 0) {
		session_drop(w, i, w->se[i].closing ? END_IDLE :
		    (enum session_end)rnd(w, SESSION_ENDS));
	}
}

/* The old configuration goes away at once. */
static void
random_reload(struct world *w)
{
	struct conf *old = w->conf;

	w->conf = conf_of(random_conf);
	sched_conf_set(w->s, w->now, w->conf);
	conf_free(&old);
}

static void
random_final(struct world *w)
{
	struct smsg *m = sched_msg_find(w->s, 1 + rnd(w, 500));

	if (m != NULL)
		sched_final(w->s, w->now, m, rnd(w, smsg_nrcpts(m)),
		    rnd(w, 2) == 0 ? SR_BOUNCING : SR_DONE);
}

static void
random_operator(struct world *w)
{
	struct sv domain = sv_from(random_domains[rnd(w, 5)]);
	struct sv vmta = sv_from(random_vmtas[rnd(w, 3)]);
	struct squeue *q = sched_queue_find(w->s, domain, vmta);
	const struct smsg *m;
	const void *at = NULL;
	uint32_t idx;

	switch (rnd(w, 8)) {
	case 0:
		sched_queue_pause(w->s, w->now, domain, vmta,
		    rnd(w, 3) == 0);
		return;
	case 1:
		if (q != NULL)
			sched_queue_schedule(w->s, w->now, q, rnd(w, 2) == 0);
		return;
	case 2:
	case 3:
		for (uint32_t i = rnd(w, 10); q != NULL &&
		    sched_queue_rcpt_next(q, &at, &m, &idx); i--) {
			if (i == 0)
				break;
		}
		if (at != NULL)
			sched_rcpt_hold(w->s, w->now,
			    sched_msg_find(w->s, m->id), idx,
			    rnd(w, 3) == 0);
		return;
	case 4:
		if (rnd(w, 20) == 0)
			w->now.wall.us += ((int64_t)rnd(w, 400) - 200) *
			    86400 * US_PER_SEC;
		return;
	case 5:
		if (rnd(w, 10) == 0)
			random_reload(w);
		return;
	case 6:
		random_final(w);
		return;
	default:
		if (rnd(w, 5) == 0) {
			for (uint32_t i = w->nse; i-- > 0; )
				w->se[i] = w->se[--w->nse];
			w->nd = 0;
			sched_worker_remove(w->s, w->now, 0);
		}
		sched_worker_add(w->s, 0);
		return;
	}
}

static void
random_step(struct world *w, uint64_t *next_id, uint64_t *rcpts)
{
	static const enum outcome outs[] = { OUT_DELIVERED, OUT_DELIVERED,
		OUT_TEMPORARY, OUT_PERMANENT, OUT_LOST, OUT_IN_DOUBT,
		OUT_UNREADABLE, OUT_UNTRIED };

	switch (rnd(w, 8)) {
	case 0:
		if (*next_id < 100000)
			*rcpts += random_add(w, ++*next_id);
		return;
	case 1:
		random_route(w);
		return;
	case 2:
	case 3:
		random_session(w);
		return;
	case 4:
	case 5:
		if (w->nd > 0)
			result(w, rnd(w, w->nd), outs[rnd(w, 8)]);
		return;
	case 6:
		pass(w, rnd(w, 30) == 0 ? 600 * US_PER_SEC :
		    (int64_t)rnd(w, 2000000));
		return;
	default:
		random_operator(w);
		return;
	}
}

static void
random_bounces_done(struct world *w)
{
	struct smsg *m;

	for (uint64_t id = 1; id < 100000; id++) {
		for (uint32_t i = 0; (m = sched_msg_find(w->s, id)) != NULL &&
		    i < smsg_nrcpts(m); i++) {
			if (smsg_rcpt_state(m, i) == SR_BOUNCING)
				sched_final(w->s, w->now, m, i, SR_DONE);
		}
	}
}

/* Nothing is stuck: freed of all limits, everything comes to its end. */
static void
random_drain(struct world *w)
{
	struct conf *old = w->conf;
	struct sched_totals t;
	const struct smsg *m;
	size_t at = 0;

	sched_worker_add(w->s, 0);
	w->conf = conf_of(free_conf);
	sched_conf_set(w->s, w->now, w->conf);
	conf_free(&old);
	for (int d = 0; d < 5; d++) {
		for (int v = 0; v < 3; v++)
			sched_queue_pause(w->s, w->now,
			    sv_from(random_domains[d]),
			    sv_from(random_vmtas[v]), false);
	}
	while ((m = sched_msg_next(w->s, &at)) != NULL) {
		for (uint32_t i = 0; i < m->nrcpts; i++)
			sched_rcpt_hold(w->s, w->now,
			    sched_msg_find(w->s, m->id), i, false);
	}
	random_bounces_done(w);
	for (int i = 0; ; i++) {
		run(w);
		answer_routes(w);
		sessions_up(w);
		while (w->nd > 0)
			result(w, 0, OUT_DELIVERED);
		for (uint32_t k = w->nse; k-- > 0; ) {
			if (w->se[k].closing)
				session_drop(w, k, END_IDLE);
		}
		sched_totals(w->s, &t);
		if (t.rcpts == 0)
			return;
		ck_assert_int_lt(i, 2000);
		pass(w, 30 * US_PER_SEC);
	}
}

START_TEST(test_random_sequence_invariants_hold)
{
	struct world *w = world_new(random_conf, (uint64_t)_i);
	uint64_t next_id = 0, rcpts = 0;

	w->random = true;
	w->rng = (uint64_t)_i * 77 + 1;
	for (int i = 0; i < 6000; i++) {
		random_step(w, &next_id, &rcpts);
		(void)sched_run(w->s, w->now);
		sched_check(w->s);
		random_limits_hold(w);
	}
	ck_assert_uint_gt(w->delivered_rcpts, 20);
	random_drain(w);
	ck_assert_uint_eq(w->done, next_id);
	world_free(w);
}
END_TEST

static Suite *
sched_suite(void)
{
	Suite *s = suite_create("sched");
	TCase *tc = tcase_create("sched");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_dispatch_three_messages_one_session);
	tcase_add_test(tc, test_dispatch_long_line_sessions_double);
	tcase_add_test(tc, test_msg_add_known_id_refused);
	tcase_add_test(tc, test_result_lost_soon_then_later);
	tcase_add_test(tc, test_result_in_doubt_longest_delay);
	tcase_add_test(tc, test_result_session_zero_in_flight_accepted);
	tcase_add_test(tc, test_session_end_gives_back_in_order);
	tcase_add_test(tc,
	    test_session_lost_thrice_without_delivery_queue_waits);
	tcase_add_test(tc, test_result_over_already_refused);
	tcase_add_test(tc, test_give_up_refused_tries_again_without_spinning);
	tcase_add_test(tc, test_clock_year_forward_expires_nothing_at_once);
	tcase_add_test(tc, test_rate_ten_a_second_evenly_spread);
	tcase_add_test(tc, test_queue_empty_freed_after_a_while);
	tcase_add_test(tc, test_list_restored_out_of_order_sorted);
	tcase_add_test(tc, test_memory_million_messages_below_160_bytes);
	tcase_add_loop_test(tc, test_random_sequence_invariants_hold, 0, 12);
	suite_add_tcase(s, tc);
	return s;
}

int
main(void)
{
	SRunner *sr = srunner_create(sched_suite());
	int failed;

	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
