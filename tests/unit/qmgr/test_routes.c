/* SPDX-License-Identifier: ISC */
/* The table of routes, seen from within, with the scheduler that it is for. */
#include <check.h>

#include "qmgr/sched_private.h"

#include "qmgr/routes.c"

static struct sched_now now = {{1000000}, {INT64_C(1900000000) * US_PER_SEC}};

struct sched_now
qmgr_now(void)
{
	return now;
}

void
qmgr_turn_end(struct qmgr *q)
{
	(void)q;
}

void
qmgr_stop_check(struct qmgr *q)
{
	(void)q;
}

static void
on_msg_done(void *arg, const struct smsg *m)
{
	(void)arg;
	(void)m;
}

static void
on_queue_deferred(void *arg, const struct squeue *sq, struct wall next,
    uint32_t failures, const struct sched_why *why)
{
	(void)arg;
	(void)sq;
	(void)next;
	(void)failures;
	(void)why;
}

static const struct sched_ops ops = {
    .resolve = routes_resolve,
    .queue_gone = routes_queue_gone,
    .queue_deferred = on_queue_deferred,
    .msg_done = on_msg_done,
};

static struct role role;
static struct qmgr qm;
static struct conf *conf;

static void
setup(void)
{
	struct conf_report rep;

	conf_report_init(&rep);
	conf = conf_parse("test", SV(""), &rep);
	conf_report_fini(&rep);
	role.base = event_base_new();
	qm.role = &role;
	routes_init(&qm);
	qm.sched = sched_new(&ops, &qm, conf, 1);
}

static void
pass(int64_t us)
{
	now.mono.us += us;
	now.wall.us += us;
	while (sched_run(qm.sched, now))
		;
}

static struct smsg *
add(uint64_t id, const char *domain)
{
	struct sched_msg m = {.id = id,
	    .segment = 1,
	    .offset = 64,
	    .length = 80,
	    .arrival_us = now.wall.us};
	struct sv d = sv_from(domain);
	struct smsg *sm =
	    sched_msg_add(qm.sched, now, &m, SV("v"), &d, 1);

	ck_assert_ptr_nonnull(sm);
	pass(1);
	return sm;
}

static void
answer(uint64_t token, enum route_status status)
{
	on_route(NULL, &qm,
	    &(struct ipc_route){.token = token,
		.status = (uint8_t)status,
		.ttl_s = 60,
		.route = SV("a route"),
		.text = SV("")});
}

static size_t
routes(void)
{
	return htab_count(&qm.routes->by_name);
}

START_TEST(test_route_goes_with_its_queue)
{
	struct smsg *m = add(1, "a.test");

	answer(1, ROUTE_OK);
	ck_assert(
	    sv_eq(routes_find(&qm, SV("a.test"), SV("v")), SV("a route")));
	sched_final(qm.sched, now, m, 0, SR_DONE);
	pass(1);
	ck_assert_uint_eq(routes(), 1);
	pass(QUEUE_KEEP_US);
	ck_assert_ptr_null(sched_queue_find(qm.sched, SV("a.test"), SV("v")));
	ck_assert_uint_eq(routes(), 0);
	/* and it is asked for anew */
	add(2, "a.test");
	answer(2, ROUTE_OK);
	ck_assert_uint_eq(routes(), 1);
}
END_TEST

START_TEST(test_route_that_there_is_not_is_not_kept)
{
	add(1, "a.test");
	ck_assert_uint_eq(routes(), 1);
	answer(1, ROUTE_TEMPORARY);
	ck_assert_uint_eq(routes(), 0);
	answer(1, ROUTE_OK); /* late, twice */
	ck_assert_uint_eq(routes(), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("routes");
	TCase *tc = tcase_create("routes");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, test_route_goes_with_its_queue);
	tcase_add_test(tc, test_route_that_there_is_not_is_not_kept);
	suite_add_tcase(s, tc);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
