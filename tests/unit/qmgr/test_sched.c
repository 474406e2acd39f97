/* SPDX-License-Identifier: ISC */
#include <check.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/spool/event.h"
#include "qmgr/sched_private.h"
#include "tests/unit/qmgr/fakeworld.h"

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

/* Queues that go and queues that come between the steps of a walk. */
START_TEST(test_walk_sees_what_stays_once)
{
	struct world *w = world_new("", 1);
	struct sched_walk *walk, *other;
	const struct squeue *a;

	add(w, 1, "a.test", 1);
	add(w, 2, "b.test", 1);
	run(w);
	answer_routes(w);
	walk = sched_walk_new(w->s);
	other = sched_walk_new(w->s);
	a = sched_walk_next(walk);
	ck_assert(sv_eq(squeue_domain(a), SV("a.test")));
	sessions_up(w);
	while (w->nd > 0)
		result(w, 0, OUT_DELIVERED);
	while (w->nse > 0)
		session_drop(w, 0, END_IDLE);
	for (int i = 0; i < 40; i++) {
		pass(w, 60 * US_PER_SEC);
		run(w);
	}
	ck_assert_ptr_null(sched_walk_next(walk));
	add(w, 3, "c.test", 1);
	ck_assert_ptr_null(sched_walk_next(other));
	sched_walk_free(&walk);
	walk = sched_walk_new(w->s);
	ck_assert(sv_eq(squeue_domain(sched_walk_next(walk)), SV("c.test")));
	ck_assert_ptr_null(sched_walk_next(walk));
	sched_walk_free(&walk);
	world_free(w);
	/* the scheduler has ended first */
	ck_assert_ptr_null(sched_walk_next(other));
	sched_walk_free(&other);
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

START_TEST(test_msg_info_is_what_was_added)
{
	static const struct sched_msg in[] = {
		{ .id = 1, .segment = 3, .offset = 64, .length = 512,
		    .body_len = 400, .arrival_us = WALL0 },
		{ .id = 2, .segment = 3, .offset = 1024, .length = 256,
		    .body_len = 1 << 30, .arrival_us = WALL0,
		    .large_id = UINT64_C(77) << 32, .tell = TELL_ASKED },
		{ .id = 3, .segment = 1, .offset = 4096, .length = 128,
		    .body_len = 40, .arrival_us = WALL0, .dsn_for = 1,
		    .tell = TELL_ASKED | TELL_UNASKED },
	};
	struct sv domains[3] = { SV("a.test"), SV("b.test"), SV("a.test") };
	struct world *w = world_new("", 1);
	struct sched_msg out;

	for (uint32_t i = 0; i < 3; i++) {
		const struct smsg *m = sched_msg_add(w->s, w->now, &in[i],
		    SV("v1"), domains, i + 1);

		ck_assert_ptr_nonnull(m);
		memset(&out, 0xff, sizeof(out));
		smsg_info(m, &out);
		ck_assert_mem_eq(&out, &in[i], sizeof(out));
		ck_assert_uint_eq(smsg_nrcpts(m), i + 1);
	}
	sched_check(w->s);
	world_free(w);
}
END_TEST

START_TEST(test_result_lost_soon_then_later)
{
	struct world *w = world_new("", 1);
	struct sched_decision d;

	add(w, 1, "a.test", 1);
	run_up(w);
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
	run_up(w);
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

	run_up(w);
	ck_assert(!sched_result(w->s, w->now, 12345, m, 0, &res, &d));
	ck_assert(sched_result(w->s, w->now, 0, m, 0, &res, &d));
	sched_worker_remove(w->s, w->now, 0);
	ck_assert_int_eq(smsg_rcpt_state(m, 0), SR_RETRY);
	run(w);
	world_free(w);
}
END_TEST

/* A worker that forgets a recipient: it waits, or is held if that was asked
 * for meanwhile. */
START_TEST(test_deliver_done_without_result_waits_or_is_held)
{
	struct world *w = world_new("", 1);
	struct smsg *m[2] = { add(w, 1, "a.test", 1), add(w, 2, "a.test", 1) };

	run(w);
	answer_routes(w);
	sessions_up(w);
	ck_assert_uint_eq(w->nd, 2);
	sched_rcpt_hold(w->s, w->now, m[1], 0, true, 0);
	for (uint64_t id = 1; id <= 2; id++)
		sched_deliver_done(w->s, w->now, w->se[0].id, id);
	ck_assert_int_eq(smsg_rcpt_state(m[0], 0), SR_RETRY);
	ck_assert_int_eq(smsg_rcpt_state(m[1], 0), SR_HELD);
	run(w);
	world_free(w);
}
END_TEST

START_TEST(test_session_end_gives_back_in_order)
{
	struct world *w = world_new("", 1);

	for (uint64_t i = 1; i <= 6; i++)
		add(w, i, "a.test", 2);
	run_up(w);
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

/* The IDs of the deliveries that are under way. */
static void
ck_handed(const struct world *w, const char *want)
{
	char got[256] = "";

	for (uint32_t i = 0; i < w->nd; i++)
		snprintf(got + strlen(got), sizeof(got) - strlen(got),
		    "%llu/%u ", (unsigned long long)w->d[i].id, w->d[i].n);
	ck_assert_str_eq(got, want);
}

/* Equals go in order, and together if they are of one message; what comes back
 * untried is the first of its priority again. */
START_TEST(test_priority_order_is_kept)
{
	struct world *w = world_new("<domain *>\nmax-smtp-out 1\n</domain>\n",
	    1);
	struct smsg *m = add(w, 1, "a.test", 5);

	sched_rcpt_prioritize(w->s, w->now, m, 1, 80);
	sched_rcpt_prioritize(w->s, w->now, m, 3, 80);
	add(w, 2, "a.test", 1);
	m = add(w, 3, "a.test", 2);
	sched_rcpt_prioritize(w->s, w->now, m, 0, 80);
	sched_rcpt_prioritize(w->s, w->now, m, 1, 101);
	ck_assert_uint_eq(smsg_rcpt_priority(m, 0), 80);
	ck_assert_uint_eq(smsg_rcpt_priority(m, 1), PRIORITY_MAX);
	run_up(w);
	ck_handed(w, "3/1 1/2 3/1 1/3 ");
	session_drop(w, 0, END_LOST);
	run(w);
	sessions_up(w);
	ck_handed(w, "3/1 1/2 3/1 1/3 ");
	sched_rcpt_prioritize(w->s, w->now, m, 0, 60);
	sched_rcpt_prioritize(w->s, w->now, m, 7, 60); /* there is none */
	session_drop(w, 0, END_LOST);
	m = add(w, 4, "a.test", 1);
	sched_rcpt_prioritize(w->s, w->now, m, 0, 60);
	run(w);
	sessions_up(w);
	ck_handed(w, "3/1 1/2 3/1 4/1 ");
	world_free(w);
}
END_TEST

/* A host still sees it. */
START_TEST(test_session_that_quits_counts_until_its_end)
{
	struct world *w = world_new("<domain *>\nmax-smtp-out 1\n</domain>\n",
	    1);

	add(w, 1, "a.test", 2);
	run_up(w);
	ck_assert_uint_eq(w->nd, 1);
	session_quits(w, 0);
	run(w);
	ck_assert_int_eq(smsg_rcpt_state(sched_msg_find(w->s, 1), 0),
	    SR_READY);
	ck_assert_uint_eq(w->nse, 1);
	session_quits(w, 0);
	run(w);
	session_drop(w, 0, END_IDLE);
	run(w);
	ck_assert_uint_eq(w->nse, 1);
	sessions_up(w);
	ck_assert_uint_eq(w->nd, 1);
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

/* Its writer had looked at the clock when that was set a year ahead. */
START_TEST(test_clock_year_forward_expires_nothing_on_its_way)
{
	struct world *w = world_new("", 1);
	struct sched_msg m = { .id = 2, .segment = 1, .offset = 64,
		.length = 80 };
	struct sv domain = SV("a.test");

	add(w, 1, "a.test", 1);
	run(w);
	m.arrival_us = w->now.wall.us;
	w->now.wall.us += 365 * 86400 * US_PER_SEC;
	ck_assert_ptr_nonnull(sched_msg_add(w->s, w->now, &m, SV("{default}"),
	    &domain, 1));
	pass(w, 3600 * US_PER_SEC);
	run(w);
	ck_assert_uint_eq(w->given_up, 0);
	pass(w, 72 * 3600 * US_PER_SEC);
	run(w);
	ck_assert_uint_eq(w->given_up, 2);
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
	ck_assert_int_eq(rate_tokens(&r, now), 11);
	rate_set(&r, &(struct conf_rate){ 100000, 86400000 }, now);
	ck_assert_int_eq(rate_tokens(&r, now), 1);
	rate_set(&r, &(struct conf_rate){ 0, 0 }, now);
	ck_assert_uint_eq(rate_tokens(&r, now), UINT32_MAX);
}
END_TEST

static const struct conf_rate window_rates[] = { { 1, 1000 }, { 7, 1000 },
	{ 199, 1000 }, { 200, 1000 }, { 1000, 1000 }, { 54321, 1000 },
	{ 1000, 60000 }, { 100000, 3600000 }, { 1, 3600000 } };

/* Whoever takes all that he gets, as much as he may at once: in no period more
 * than N, and 98 % of that. After a pause as well. */
START_TEST(test_rate_no_window_sees_more_than_n)
{
	const struct conf_rate *c = &window_rates[_i];
	int64_t period = c->period_ms * US_PER_MS, now = US_PER_SEC;
	struct { int64_t at; uint64_t n; } *taken;
	uint64_t sum = 0, all = 0;
	size_t n = 0, from = 0;
	struct srate r = { 0 };

	taken = calloc(8 * c->n + 8, sizeof(*taken));
	ck_assert_ptr_nonnull(taken);
	rate_set(&r, c, now);
	while (now < US_PER_SEC + 8 * period) {
		uint64_t lump = n % 3 == 0 ? 1 : r.most;

		if (!rate_ok(&r, now))
			now = rate_next(&r);
		if (n == 2 * c->n)
			now += period / 3;
		rate_take(&r, now, (uint32_t)lump);
		taken[n].at = now;
		taken[n++].n = lump;
		for (sum += lump; taken[from].at <= now - period; from++)
			sum -= taken[from].n;
		all += lump;
		ck_assert_uint_le(sum, c->n);
		ck_assert_uint_lt(n, 8 * c->n + 8);
	}
	ck_assert_uint_ge(all, (uint64_t)(0.98 * 7.6 * (double)c->n));
	free(taken);
}
END_TEST

/* One message may take more than there is: that stays owed when the rate is
 * set again, as often as that is, and when it becomes another one. A burst of
 * a fast rate is not owed to a slow one. */
START_TEST(test_rate_what_is_owed_stays_owed)
{
	const struct conf_rate per_minute = { 60, 60000 };
	struct srate r = { 0 };
	int64_t now = 5 * US_PER_SEC;

	rate_set(&r, &per_minute, now);
	rate_take(&r, now, 600);
	for (int i = 0; i < 3; i++)
		rate_set(&r, &per_minute, now);
	ck_assert_int_eq(rate_next(&r), now + 600 * US_PER_SEC);
	rate_set(&r, &(struct conf_rate){ 120, 60000 }, now);
	ck_assert_int_ge(rate_next(&r), now + 295 * US_PER_SEC);
	ck_assert_int_le(rate_next(&r), now + 300 * US_PER_SEC);
	rate_set(&r, &(struct conf_rate){ 1, 3600000 }, now);
	rate_set(&r, &(struct conf_rate){ 1, 86400000 }, now);
	ck_assert_int_gt(rate_next(&r), now + 300 * 86400 * US_PER_SEC);
	r = (struct srate){ 0 };
	rate_set(&r, &(struct conf_rate){ 1000, 1000 }, now);
	rate_take(&r, now, rate_tokens(&r, now));
	rate_set(&r, &(struct conf_rate){ 10, 3600000 }, now);
	ck_assert_int_le(rate_next(&r), now + 360 * US_PER_SEC);
	ck_assert_int_gt(rate_next(&r), now);
}
END_TEST

/* A long queue whose retries are due all at once is not made ready in one go:
 * the loop has other work. */
START_TEST(test_retries_due_together_take_many_runs)
{
	enum { N = 50000 };
	struct world *w = world_new("", 1);
	struct sched_totals t;
	unsigned runs = 0;
	bool more;

	for (uint64_t i = 1; i <= N; i++)
		sched_rcpt_restore(w->s, w->now, add(w, i, "a.test", 1), 0,
		    SR_RETRY, 1, w->now.wall.us + US_PER_SEC);
	run(w);
	pass(w, 2 * US_PER_SEC);
	add(w, N + 1, "b.test", 1);
	do {
		uint64_t before;

		sched_totals(w->s, &t);
		before = t.ready;
		more = sched_run(w->s, w->now);
		sched_totals(w->s, &t);
		ck_assert_uint_le(t.ready - before, RUN_PROMOTIONS);
		ck_assert(t.retry == 0 || more);
		/* nor does the other queue wait for the end of it */
		if (runs++ == 0)
			ck_assert_uint_eq(w->nresolving, 2);
	} while (more);
	ck_assert_uint_eq(t.ready, N + 1);
	ck_assert_uint_ge(runs, N / RUN_PROMOTIONS);
	world_free(w);
}
END_TEST

START_TEST(test_queue_empty_freed_after_a_while)
{
	struct world *w = world_new("", 1);
	struct sched_totals t;

	add(w, 1, "a.test", 1);
	run_up(w);
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

static double
took(struct world *w, enum sched_time t)
{
	struct sched_queue_why why;

	sched_queue_why(w->s, w->now, sched_queue_find(w->s, SV("a.test"),
	    SV("v1")), &why);
	return why.took_ms[t];
}

/* Of two deliveries in one session the second begins when the first ends. */
START_TEST(test_took_looks_connections_answers)
{
	struct world *w = world_new("<domain *>\nmax-smtp-out 1\n</domain>\n",
	    1);

	for (uint64_t id = 1; id <= 2; id++)
		add(w, id, "a.test", 1);
	run(w);
	ck_assert_double_eq(took(w, TIME_DNS), 0);
	pass(w, 300 * US_PER_MS);
	answer_routes(w);
	ck_assert_double_eq_tol(took(w, TIME_DNS), 300, 0.1);
	pass(w, 50 * US_PER_MS);
	sessions_up(w);
	ck_assert_double_eq_tol(took(w, TIME_CONNECT), 50, 0.1);
	ck_assert_uint_eq(w->nd, 2);
	pass(w, 800 * US_PER_MS);
	result(w, 0, OUT_DELIVERED);
	ck_assert_double_eq_tol(took(w, TIME_ANSWER), 800, 0.1);
	pass(w, 1600 * US_PER_MS);
	result(w, 0, OUT_DELIVERED);
	/* a new one counts for an eighth */
	ck_assert_double_eq_tol(took(w, TIME_ANSWER), 900, 0.1);
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

START_TEST(test_reply_hint_table)
{
	static const struct { const char *text; int64_t s; } t[] = {
		{ "451 4.7.1 Greylisted, please try again in 300 seconds", 300 },
		{ "450 4.2.0 Try again in 15 minutes.", 900 },
		{ "451 try again after 1 hour", 3600 },
		{ "421 4.7.0 wait 5m", 300 }, { "451 retry in 2h", 7200 },
		{ "450 come back in 00:04:59", 299 },
		{ "450 come back in 4:59", 299 },
		{ "451 wait at least 10 min", 600 },
		{ "451 in  7\tminutes", 420 }, { "451 IN 7 MINUTES", 420 },
		/* the first that is a time */
		{ "451 in doubt, for 2 senders; retry in 90 secs", 90 },
		/* none */
		{ "451 4.7.1 try again later", 0 },
		{ "451 at most 20 messages per 60 minutes", 0 },
		{ "451 in 5 messages", 0 }, { "451 in", 0 }, { "451 in 5", 0 },
		{ "451 in 0 minutes", 0 }, { "451 within5 minutes", 0 },
		{ "451 in 99999999999999999999 hours", 0 },
		{ "451 in 12:", 0 }, { "451 in 12:x", 0 },
		{ "451 in 12:30:", 0 }, { "", 0 }, { "451", 0 },
		{ "451 in -5 minutes", 0 },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		ck_assert_msg(reply_hint(sv_from(t[i].text)) ==
		    t[i].s * US_PER_SEC, "%s: %lld us", t[i].text,
		    (long long)reply_hint(sv_from(t[i].text)));
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
	tcase_add_test(tc, test_session_that_quits_counts_until_its_end);
	tcase_add_test(tc, test_walk_sees_what_stays_once);
	tcase_add_test(tc, test_msg_add_known_id_refused);
	tcase_add_test(tc, test_msg_info_is_what_was_added);
	tcase_add_test(tc, test_result_lost_soon_then_later);
	tcase_add_test(tc, test_result_in_doubt_longest_delay);
	tcase_add_test(tc, test_result_session_zero_in_flight_accepted);
	tcase_add_test(tc, test_deliver_done_without_result_waits_or_is_held);
	tcase_add_test(tc, test_session_end_gives_back_in_order);
	tcase_add_test(tc,
	    test_session_lost_thrice_without_delivery_queue_waits);
	tcase_add_test(tc, test_result_over_already_refused);
	tcase_add_test(tc, test_give_up_refused_tries_again_without_spinning);
	tcase_add_test(tc, test_clock_year_forward_expires_nothing_at_once);
	tcase_add_test(tc, test_clock_year_forward_expires_nothing_on_its_way);
	tcase_add_test(tc, test_rate_ten_a_second_evenly_spread);
	tcase_add_loop_test(tc, test_rate_no_window_sees_more_than_n, 0,
	    (int)(sizeof(window_rates) / sizeof(window_rates[0])));
	tcase_add_test(tc, test_rate_what_is_owed_stays_owed);
	tcase_add_test(tc, test_retries_due_together_take_many_runs);
	tcase_add_test(tc, test_reply_hint_table);
	tcase_add_test(tc, test_queue_empty_freed_after_a_while);
	tcase_add_test(tc, test_list_restored_out_of_order_sorted);
	tcase_add_test(tc, test_took_looks_connections_answers);
	tcase_add_test(tc, test_priority_order_is_kept);
	tcase_add_test(tc, test_memory_million_messages_below_160_bytes);
	sched_tests_random(tc);
	sched_tests_delay(tc);
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
