/* SPDX-License-Identifier: ISC */
#include <check.h>
#include <stdlib.h>

#include "qmgr/simulate.h"

#define MIN_US  (60 * US_PER_SEC)
#define HOUR_US (60 * MIN_US)

static struct conf *
conf_of(const char *text)
{
	struct conf_report rep;
	struct conf *c;

	conf_report_init(&rep);
	c = conf_parse("new", sv_from(text), &rep);
	if (c == NULL)
		ck_abort_msg("%s", rep.errors[0]);
	conf_report_fini(&rep);
	return c;
}

static struct sim_queue
queue(const char *domain, uint64_t waiting, double arrived)
{
	return (struct sim_queue){ .domain = sv_from(domain),
		.vmta = SV("{default}"), .waiting = waiting,
		.arrived = arrived, .oldest_ms = 60000 };
}

static struct sim_result
run_one(const char *text, struct sim_queue q, unsigned hours)
{
	struct conf *c = conf_of(text);
	struct sim_result r;

	sim_run(c, &q, 1, hours, 1, &r);
	conf_free(&c);
	return r;
}

#define assert_near(got, want, percent) \
	ck_assert_double_eq_tol((double)(got), (double)(want), \
	    (double)(want) * (percent) / 100)

START_TEST(test_half_the_rate_takes_twice_the_time)
{
	struct sim_queue q = queue("a.test", 1000, 0);
	struct sim_result fast = run_one("<domain a.test>\nmax-msg-rate "
	    "1000/h\n</domain>\n", q, 6);
	struct sim_result slow = run_one("<domain a.test>\nmax-msg-rate "
	    "500/h\n</domain>\n", q, 6);

	ck_assert_int_eq(fast.end, SIM_DRAINS);
	ck_assert_int_eq(slow.end, SIM_DRAINS);
	assert_near(fast.drained_us, HOUR_US, 2);
	assert_near(slow.drained_us, 2 * fast.drained_us, 2);
	assert_near(fast.per_hour, 1000, 2);
	assert_near(slow.per_hour, 500, 2);
	ck_assert_int_eq(slow.most, WAIT_MSG_RATE);
	ck_assert_uint_eq(slow.peak, 1000);
	ck_assert_uint_eq(slow.delivered, 1000);
	ck_assert_uint_eq(slow.left, 0);
}
END_TEST

START_TEST(test_a_cap_below_what_comes_never_drains)
{
	static const char conf[] =
	    "<domain a.test>\nmax-msg-rate 100/h\n</domain>\n";
	struct sim_result never = run_one(conf, queue("a.test", 0, 110), 10);
	struct sim_result fine = run_one(conf, queue("a.test", 0, 90), 10);

	ck_assert_int_eq(never.end, SIM_NEVER);
	assert_near(never.left, 100, 5);
	ck_assert_uint_eq(never.peak, never.left);
	ck_assert_int_eq(fine.end, SIM_DRAINS);
	ck_assert_uint_le(fine.left, 2);
	assert_near(fine.delivered, 900, 2);
}
END_TEST

START_TEST(test_what_shrinks_slowly_drains_later)
{
	struct sim_result r = run_one("<domain a.test>\nmax-msg-rate "
	    "300/h\n</domain>\n", queue("a.test", 2000, 100), 4);

	/* 200 an hour less: in 10 hours */
	ck_assert_int_eq(r.end, SIM_LATER);
	assert_near(r.left, 1200, 2);
	assert_near(r.later_us, 10 * HOUR_US, 3);
}
END_TEST

/* 3 connections, an answer each 2 s */
START_TEST(test_latency_and_connections_make_the_rate)
{
	struct sim_queue q = queue("a.test", 20000, 0);
	struct sim_result r;

	q.took_us[TIME_ANSWER] = 2 * US_PER_SEC;
	r = run_one("<domain a.test>\nmax-smtp-out 3\nmax-msg-per-connection 0"
	    "\n</domain>\n", q, 1);
	ck_assert_uint_eq(r.sessions, 3);
	assert_near(r.per_hour, 5400, 3);
	ck_assert_int_eq(r.end, SIM_LATER);
}
END_TEST

START_TEST(test_the_host_answers_as_of_late)
{
	static const char conf[] = "<domain *>\nretry-recipients-after 10m\n"
	    "bounce-after 1h\n</domain>\n";
	struct sim_queue q = queue("a.test", 10000, 0);
	struct sim_result r;

	q.delivered = 60;
	q.deferred = 30;
	q.failed = 10;
	r = run_one(conf, q, 4);
	ck_assert_int_eq(r.end, SIM_DRAINS);
	/* of six answers that are final, one is a refusal */
	assert_near(r.failed, 10000 / 7.0, 5);
	assert_near(r.delivered, 60000 / 7.0, 5);
	ck_assert_int_gt(r.drained_us, 30 * MIN_US);

	q = queue("a.test", 100, 0);
	q.down = true;
	r = run_one("", q, 2);
	ck_assert_int_eq(r.end, SIM_NEVER);
	ck_assert_uint_eq(r.left, 100);
	ck_assert_int_eq(r.most, WAIT_RETRY);
}
END_TEST

START_TEST(test_paused_and_empty)
{
	struct sim_queue q = queue("a.test", 10, 5);
	struct sim_result r;

	q.paused = true;
	r = run_one("", q, 2);
	ck_assert_int_eq(r.end, SIM_PAUSED);
	assert_near(r.left, 20, 6);
	r = run_one("", queue("a.test", 0, 0), 1);
	ck_assert_int_eq(r.end, SIM_IDLE);
	r = run_one("", queue("a.test", 10, 0), 1);
	ck_assert_int_eq(r.end, SIM_DRAINS);
	ck_assert_int_lt(r.drained_us, MIN_US);
}
END_TEST

START_TEST(test_the_seed_decides)
{
	struct sim_queue q = queue("a.test", 1000, 100);
	struct conf *c = conf_of("");
	struct sim_result a, b, other;

	q.delivered = q.deferred = 1;
	sim_run(c, &q, 1, 3, 7, &a);
	sim_run(c, &q, 1, 3, 7, &b);
	sim_run(c, &q, 1, 3, 8, &other);
	ck_assert_int_eq(a.drained_us, b.drained_us);
	ck_assert_uint_eq(a.delivered, b.delivered);
	ck_assert_mem_eq(a.wait_ms, b.wait_ms, sizeof(a.wait_ms));
	ck_assert_mem_ne(a.wait_ms, other.wait_ms, sizeof(a.wait_ms));
	conf_free(&c);
}
END_TEST

/* ---- what is never reached ---- */

struct seen {
	struct sim_unreached u[8];
	unsigned n;
};

static void
on_unreached(void *arg, const struct sim_unreached *u)
{
	struct seen *s = arg;

	ck_assert_uint_lt(s->n, 8);
	s->u[s->n++] = *u;
}

static void
unreached(const char *text, struct sim_queue *q, size_t n, struct seen *s,
    struct conf **c)
{
	struct sim_result r[4];

	*c = conf_of(text);
	s->n = 0;
	sim_run(*c, q, n, 1, 1, r);
	sim_unreached_each(*c, q, r, n, on_unreached, s);
}

START_TEST(test_a_limit_that_is_never_reached_is_named)
{
	struct sim_queue q[2] = { queue("a.test", 40, 0),
		queue("b.test", 5000, 0) };
	struct seen s;
	struct conf *c;

	unreached("<domain a.test>\nmax-smtp-out 500\n</domain>\n"
	    "<domain b.test>\nmax-smtp-out 2\nmax-msg-rate 100000/m\n"
	    "</domain>\n", q, 2, &s, &c);
	ck_assert_uint_eq(s.n, 2);
	ck_assert(sv_eq(s.u[0].name, SV("max-smtp-out")));
	ck_assert(sv_eq(s.u[0].value, SV("500")));
	ck_assert(sv_eq(s.u[0].file, SV("new")));
	ck_assert_uint_eq(s.u[0].line, 2);
	ck_assert_uint_gt(s.u[0].most, 0);
	ck_assert_uint_lt(s.u[0].most, 500);
	ck_assert(!s.u[0].never);
	ck_assert(sv_eq(s.u[1].name, SV("max-msg-rate")));
	conf_free(&c);
}
END_TEST

START_TEST(test_a_limit_above_that_of_the_vmta_can_never_be_reached)
{
	struct sim_queue q = queue("a.test", 5000, 0);
	struct seen s;
	struct conf *c;

	q.vmta = SV("v1");
	unreached("<virtual-mta v1>\nmax-smtp-out 3\n</virtual-mta>\n"
	    "<domain a.test>\nmax-smtp-out 10\n</domain>\n", &q, 1, &s, &c);
	ck_assert_uint_eq(s.n, 1);
	ck_assert(s.u[0].never);
	ck_assert_uint_eq(s.u[0].line, 5);
	conf_free(&c);
	unreached("<virtual-mta v1>\nmax-smtp-out 10\n</virtual-mta>\n"
	    "<domain a.test>\nmax-smtp-out 10\n</domain>\n", &q, 1, &s, &c);
	ck_assert_uint_eq(s.n, 0);
	conf_free(&c);
}
END_TEST

START_TEST(test_how_much_it_is)
{
	struct sim_queue q[2] = { queue("a.test", 40, 10),
		queue("b.test", 5, 0.5) };

	ck_assert_double_eq(sim_messages(q, 2, 10), 40 + 100 + 5 + 5);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("simulate");
	TCase *tc = tcase_create("simulate");
	SRunner *r;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_half_the_rate_takes_twice_the_time);
	tcase_add_test(tc, test_a_cap_below_what_comes_never_drains);
	tcase_add_test(tc, test_what_shrinks_slowly_drains_later);
	tcase_add_test(tc, test_latency_and_connections_make_the_rate);
	tcase_add_test(tc, test_the_host_answers_as_of_late);
	tcase_add_test(tc, test_paused_and_empty);
	tcase_add_test(tc, test_the_seed_decides);
	tcase_add_test(tc, test_a_limit_that_is_never_reached_is_named);
	tcase_add_test(tc,
	    test_a_limit_above_that_of_the_vmta_can_never_be_reached);
	tcase_add_test(tc, test_how_much_it_is);
	suite_add_tcase(s, tc);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
