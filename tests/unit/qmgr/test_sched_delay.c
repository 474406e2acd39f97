/* SPDX-License-Identifier: ISC */
/* Who has waited long enough to be told of. */
#include <check.h>

#include "tests/unit/qmgr/fakeworld.h"

#define MIN  (60 * US_PER_SEC)
#define HOUR (60 * MIN)

static struct smsg *
add_telling(struct world *w, uint64_t id, unsigned tell, uint32_t n)
{
	struct sv domains[8];
	struct sched_msg m = { .id = id, .segment = 1, .length = 512,
		.arrival_us = w->now.wall.us, .tell = tell };

	for (uint32_t i = 0; i < n; i++)
		domains[i] = SV("a.test");
	return sched_msg_add(w->s, w->now, &m, SV("v1"), domains, n);
}

/* The rest of a walk; how many it finds. */
static uint32_t
rest(struct world *w)
{
	enum sched_delays rc;
	struct smsg *m;
	uint32_t idx, n = 0;

	while ((rc = sched_delays_next(w->s, w->now, &m, &idx)) != DELAYS_END)
		n += rc == DELAYS_ONE;
	sched_check(w->s);
	return n;
}

static uint32_t
walk(struct world *w)
{
	sched_delays_begin(w->s, w->now);
	return rest(w);
}

/* A day in walks; how many recipients they find. */
static uint32_t
day(struct world *w)
{
	uint32_t n = 0;

	for (int i = 0; i < 24 * 4; i++) {
		n += walk(w);
		pass(w, 15 * MIN);
	}
	return n;
}

START_TEST(test_delay_each_interval_tells_once)
{
	struct world *w = world_new("", 1);

	add_telling(w, 1, TELL_ASKED, 2);
	add_telling(w, 2, TELL_ASKED | TELL_UNASKED, 1);
	add_telling(w, 3, TELL_UNASKED, 1);
	add_telling(w, 4, 0, 1);
	ck_assert_uint_eq(sched_delays_count(w->s), 4);
	ck_assert_int_eq(sched_delays_every_ms(w->s), 4 * 3600 * 1000);
	ck_assert_uint_eq(walk(w), 0);
	pass(w, 4 * HOUR - 1);
	ck_assert_uint_eq(walk(w), 0);
	pass(w, 1);
	ck_assert_uint_eq(walk(w), 3);
	ck_assert_uint_eq(walk(w), 0);
	pass(w, 4 * HOUR - 1);
	ck_assert_uint_eq(walk(w), 0);
	pass(w, 1);
	ck_assert_uint_eq(walk(w), 3);
	/* after 12, 16, 20, 24, 28 and 32 hours, but for the last quarter */
	pass(w, 15 * MIN);
	ck_assert_uint_eq(day(w), 6 * 3);
	world_free(w);
}
END_TEST

START_TEST(test_delay_unasked_is_for_the_queue_to_say)
{
	struct world *w = world_new("<domain a.test>\n"
	    "notify-of-delay-unasked yes\nnotify-of-delay-every 1h\n"
	    "</domain>\n", 1);
	struct conf *old = w->conf;

	add_telling(w, 1, TELL_UNASKED, 1);
	add_telling(w, 2, TELL_ASKED, 1);
	add_telling(w, 3, 0, 1);
	ck_assert_int_eq(sched_delays_every_ms(w->s), 3600 * 1000);
	ck_assert_uint_eq(day(w), 23 * 2);
	w->conf = conf_of("<domain a.test>\nnotify-of-delay-every 0\n"
	    "</domain>\n");
	sched_conf_set(w->s, w->now, w->conf);
	conf_free(&old);
	run(w);
	ck_assert_int_eq(sched_delays_every_ms(w->s), 0);
	ck_assert_uint_eq(day(w), 0);
	world_free(w);
}
END_TEST

/* What waits for nothing but its delivery. */
START_TEST(test_delay_only_what_waits)
{
	struct world *w = world_new("", 1);
	struct smsg *m = add_telling(w, 1, TELL_ASKED, 6);

	ck_assert_uint_eq(walk(w), 0);
	run_up(w);
	result(w, 0, OUT_TEMPORARY);
	sched_rcpt_hold(w->s, w->now, m, 0, true, 0);
	ck_assert(sched_rcpt_trash(w->s, w->now, m, 1, 7));
	sched_final(w->s, w->now, m, 2, SR_BOUNCING);
	sched_final(w->s, w->now, m, 3, SR_DONE);
	pass(w, 4 * HOUR);
	ck_assert_uint_eq(walk(w), 2);
	/* in flight, it has not arrived either */
	run_up(w);
	ck_assert_int_eq(smsg_rcpt_state(m, 4), SR_INFLIGHT);
	pass(w, 4 * HOUR);
	ck_assert_uint_eq(walk(w), 2);
	/* its failure is told soon */
	pass(w, 72 * HOUR);
	ck_assert_uint_eq(walk(w), 0);
	sched_final(w->s, w->now, m, 0, SR_DONE);
	sched_final(w->s, w->now, m, 1, SR_DONE);
	sched_final(w->s, w->now, m, 2, SR_DONE);
	sched_final(w->s, w->now, m, 4, SR_DONE);
	sched_final(w->s, w->now, m, 5, SR_DONE);
	ck_assert_uint_eq(sched_delays_count(w->s), 0);
	world_free(w);
}
END_TEST

START_TEST(test_delay_missed_while_down_is_told_once)
{
	struct world *w = world_new("", 1);

	ck_assert_int_eq(sched_delays_since_us(w->s), 0);
	add_telling(w, 1, TELL_ASKED, 1);
	sched_delays_restore(w->s, w->now, w->now.wall.us - MIN);
	ck_assert_int_eq(sched_delays_since_us(w->s), w->now.wall.us - MIN);
	pass(w, 13 * HOUR);
	ck_assert_uint_eq(walk(w), 1);
	ck_assert_int_eq(sched_delays_since_us(w->s), w->now.wall.us);
	ck_assert_uint_eq(walk(w), 0);
	/* the clock was wrong then: it was today */
	sched_delays_restore(w->s, w->now, w->now.wall.us + 9000 * HOUR);
	ck_assert_int_eq(sched_delays_since_us(w->s), w->now.wall.us);
	ck_assert_uint_eq(walk(w), 0);
	pass(w, 3 * HOUR);
	ck_assert_uint_eq(walk(w), 1);
	world_free(w);
}
END_TEST

START_TEST(test_delay_clock_jumps_tell_nothing)
{
	static const int64_t jumps[] = { 365 * 24 * HOUR, -400 * 24 * HOUR,
		-50 * MIN };
	struct world *w = world_new("", 1);

	add_telling(w, 1, TELL_ASKED, 1);
	ck_assert_uint_eq(walk(w), 0);
	pass(w, 4 * HOUR);
	ck_assert_uint_eq(walk(w), 1);
	for (size_t i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++) {
		w->now.wall.us += jumps[i];
		ck_assert_uint_eq(walk(w), 0);
		pass(w, HOUR);
		ck_assert_uint_eq(walk(w), 0);
	}
	/* the small one is followed */
	pass(w, HOUR);
	ck_assert_uint_eq(walk(w), 0);
	pass(w, HOUR);
	ck_assert_uint_eq(walk(w), 1);
	world_free(w);
}
END_TEST

/* A piece of a walk is bounded, and what it stood at may go. */
START_TEST(test_delay_walk_goes_on_when_things_change)
{
	enum { N = 1000 };
	struct world *w = world_new("", 1);
	struct smsg *m;
	uint32_t idx;

	ck_assert_uint_eq(walk(w), 0);
	for (uint64_t i = 1; i <= N; i++)
		add_telling(w, i, 0, 1);
	for (uint64_t i = N + 1; i <= 2 * N; i++)
		add_telling(w, i, TELL_ASKED, 1);
	pass(w, 4 * HOUR);
	for (uint64_t i = 2 * N + 1; i <= 3 * N; i++)
		add_telling(w, i, TELL_ASKED, 1);
	sched_delays_begin(w->s, w->now);
	for (int i = 0; i < N / 256; i++)
		ck_assert_int_eq(sched_delays_next(w->s, w->now, &m, &idx),
		    DELAYS_MORE);
	ck_assert_int_eq(sched_delays_next(w->s, w->now, &m, &idx),
	    DELAYS_ONE);
	ck_assert_uint_eq(m->id, N + 1);
	/* the next hundred go */
	for (uint64_t i = N + 2; i <= N + 101; i++)
		sched_final(w->s, w->now, sched_msg_find(w->s, i), 0,
		    i % 2 == 0 ? SR_DONE : SR_BOUNCING);
	/* to another queue, which comes later */
	ck_assert(sched_rcpt_move(w->s, w->now,
	    sched_msg_find(w->s, N + 102), 0, SV("v2")));
	sched_check(w->s);
	ck_assert_int_eq(sched_delays_next(w->s, w->now, &m, &idx),
	    DELAYS_ONE);
	ck_assert_uint_eq(m->id, N + 103);
	ck_assert_uint_eq(rest(w), N - 102);
	/* the young ones are not looked at */
	pass(w, 15 * MIN);
	sched_delays_begin(w->s, w->now);
	for (int i = 0; i < (2 * N) / 256; i++)
		ck_assert_int_eq(sched_delays_next(w->s, w->now, &m, &idx),
		    DELAYS_MORE);
	ck_assert_int_eq(sched_delays_next(w->s, w->now, &m, &idx),
	    DELAYS_END);
	world_free(w);
}
END_TEST

START_TEST(test_delay_walk_outlives_its_queue)
{
	struct world *w = world_new("", 1);
	struct smsg *m;
	uint32_t idx;

	ck_assert_uint_eq(walk(w), 0);
	add_telling(w, 1, TELL_ASKED, 2);
	run(w);
	w->nresolving = 0;
	add(w, 2, "b.test", 1);
	pass(w, 4 * HOUR);
	sched_delays_begin(w->s, w->now);
	ck_assert_int_eq(sched_delays_next(w->s, w->now, &m, &idx),
	    DELAYS_ONE);
	sched_final(w->s, w->now, m, 0, SR_DONE);
	sched_final(w->s, w->now, m, 1, SR_DONE);
	sched_route(w->s, w->now, sched_queue_find(w->s, SV("a.test"),
	    SV("v1")), ROUTE_OK, 3600000, NULL);
	run(w);
	pass(w, HOUR);
	run(w);
	ck_assert_ptr_null(sched_queue_find(w->s, SV("a.test"), SV("v1")));
	ck_assert_uint_eq(rest(w), 0);
	world_free(w);
}
END_TEST

/* What a host said last stands in the DSN. */
START_TEST(test_delay_error_of_the_queue_is_told)
{
	struct world *w = world_new("", 1);
	struct smsg *m = add_telling(w, 1, TELL_ASKED, 1);
	const struct squeue *q = smsg_rcpt_queue(m, 0);
	struct sched_result res = { .outcome = OUT_TEMPORARY,
		.status = SV("4.7.1"), .text = SV("451 4.7.1 later"),
		.host = SV("mx.a.test"), .host_ip = SV("192.0.2.1") };
	struct sched_decision d;
	struct sched_error e;

	ck_assert(!squeue_error(q, &e));
	ck_assert(sched_result(w->s, w->now, 0, m, 0, &res, &d));
	ck_assert(squeue_error(q, &e));
	ck_assert_int_eq(e.at_us, w->now.wall.us);
	ck_assert(sv_eq(e.status, SV("4.7.1")));
	ck_assert(sv_eq(e.text, SV("451 4.7.1 later")));
	ck_assert(sv_eq(e.host, SV("mx.a.test")));
	ck_assert(sv_eq(e.host_ip, SV("192.0.2.1")));
	world_free(w);
}
END_TEST

void
sched_tests_delay(TCase *tc)
{
	tcase_add_test(tc, test_delay_each_interval_tells_once);
	tcase_add_test(tc, test_delay_unasked_is_for_the_queue_to_say);
	tcase_add_test(tc, test_delay_only_what_waits);
	tcase_add_test(tc, test_delay_missed_while_down_is_told_once);
	tcase_add_test(tc, test_delay_clock_jumps_tell_nothing);
	tcase_add_test(tc, test_delay_walk_goes_on_when_things_change);
	tcase_add_test(tc, test_delay_walk_outlives_its_queue);
	tcase_add_test(tc, test_delay_error_of_the_queue_is_told);
}
