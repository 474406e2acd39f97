/* SPDX-License-Identifier: ISC */
/* The table of routes, seen from within, with the scheduler that it is for. */
#include <check.h>

#include "qmgr/sched_private.h"

#include "common/base/buf.h"

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

void
control_route(struct qmgr *q, uint64_t token, enum route_status status,
    const struct ipc_route *m)
{
	(void)q;
	(void)token;
	(void)status;
	(void)m;
}

void
control_peer_gone(struct qmgr *q, enum control_asks who)
{
	(void)q;
	(void)who;
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
	conf = conf_parse("test", SV("<mx-rollup-list>\n"
	    "mx *.big.test big.rollup\nmx mx1.two.test two.rollup\n"
	    "mx mx2.two.test two.rollup\n</mx-rollup-list>\n"
	    "<domain alone.test>\ndisable-mx-rollup yes\n</domain>\n"
	    "<domain fixed.test>\nsmtp-hosts mx1.same.test\n</domain>\n"),
	    &rep);
	ck_assert_ptr_nonnull(conf);
	conf_report_fini(&rep);
	role.base = event_base_new();
	qm.role = &role;
	qm.conf = conf;
	arena_init(&qm.env_arena, 1 << 20);
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

/* "10 mx1.a.test 20 mx2.a.test" */
static void
answer_hosts(uint64_t token, const char *words)
{
	struct route_host h[ROUTE_HOSTS_MAX];
	struct route_addr addr = {.family = 4, .ip = {192, 0, 2, 1}};
	struct route r = {.hosts = h};
	struct sv rest = sv_from(words);
	struct buf b;
	struct wr w;

	while (rest.p != NULL) {
		uint64_t preference;

		ck_assert(sv_to_u64(sv_cut(&rest, ' '), 99, &preference));
		h[r.nhosts++] = (struct route_host){
		    .preference = (uint16_t)preference,
		    .port = 25,
		    .name = sv_cut(&rest, ' '),
		    .addrs = &addr,
		    .naddrs = 1};
	}
	buf_init(&b, 65536);
	wr_init_buf(&w, &b);
	route_encode(&w, &r);
	ck_assert(!w.failed);
	on_route(NULL, &qm,
	    &(struct ipc_route){.token = token,
		.status = ROUTE_OK,
		.ttl_s = 60,
		.route = buf_sv(&b),
		.text = SV("")});
	buf_fini(&b);
}

/* The site that a domain with these hosts is in; "": none. */
static struct sv
site(const char *domain, const char *hosts)
{
	static uint64_t id = 100;
	const struct squeue *q;

	add(++id, domain);
	answer_hosts(qm.routes->next_token, hosts);
	q = sched_queue_find(qm.sched, sv_from(domain), SV("v"));
	return q->site == NULL ? SV("") : q->site->key;
}

static void
site_is(const char *domain, const char *hosts, const char *key)
{
	struct sv is = site(domain, hosts);

	ck_assert_msg(sv_eq(is, sv_from(key)), "%s is in \"%.*s\"", domain,
	    SV_FMT(is));
}

START_TEST(test_best_hosts_make_a_site)
{
	site_is("a.test", "10 mx2.same.test 10 mx1.same.test 20 x.a.test",
	    "mx1.same.test,mx2.same.test");
	site_is("b.test", "5 mx1.same.test 5 mx2.same.test",
	    "mx1.same.test,mx2.same.test");
	/* only one of them, the same one twice */
	site_is("c.test", "10 mx1.same.test 11 mx2.same.test",
	    "mx1.same.test");
	site_is("d.test", "10 mx1.same.test 10 mx1.same.test",
	    "mx1.same.test");
	/* no MX, told not to, told where */
	site_is("e.test", "0 e.test", "");
	site_is("alone.test", "10 mx1.same.test", "");
	site_is("fixed.test", "10 mx1.same.test", "");
}
END_TEST

START_TEST(test_many_hosts_have_a_short_name)
{
	struct sv name = site("a.test", "1 e.test 1 d.test 1 c.test 1 b.test"),
	    again = site("b.test", "1 b.test 1 c.test 1 d.test 1 e.test"),
	    other = site("c.test", "1 b.test 1 c.test 1 d.test 1 f.test");

	ck_assert(sv_starts(name, SV("b.test,c.test,d.test,+1:")));
	ck_assert(sv_starts(other, SV("b.test,c.test,d.test,+1:")));
	ck_assert(sv_eq(name, again));
	ck_assert(!sv_eq(name, other));
}
END_TEST

START_TEST(test_rollup_list)
{
	site_is("a.test", "10 mx1.big.test 10 mx7.big.test", "big.rollup");
	site_is("b.test", "10 mx1.big.test 10 mx.else.test",
	    "mx.else.test,mx1.big.test");
	site_is("c.test", "10 mx1.two.test 10 mx2.two.test", "two.rollup");
	/* the list has two hosts for it */
	site_is("d.test", "10 mx1.two.test", "mx1.two.test");
	ck_assert(sched_queue_find(qm.sched, SV("a.test"), SV("v"))->site
		      ->rollup);
	ck_assert(!sched_queue_find(qm.sched, SV("b.test"), SV("v"))->site
		       ->rollup);
}
END_TEST

/* The hosts of the route that sessions get, "mx1 mx2 ". */
static const char *
hosts_of(const char *domain)
{
	static char text[500];
	struct route r;
	struct arena a;
	struct str s;

	arena_init(&a, 1 << 20);
	ck_assert(route_decode(routes_find(&qm, sv_from(domain), SV("v")), &a,
	    &r));
	STR_ON(&s, text);
	for (unsigned i = 0; i < r.nhosts; i++)
		str_addf(&s, "%.*s ", SV_FMT(r.hosts[i].name));
	arena_fini(&a);
	return text;
}

START_TEST(test_host_is_left_out_until_the_next_answer)
{
	static const struct conf_reply rule = {.file = {.p = "f", .n = 1}};
	const struct squeue *q;

	add(1, "a.test");
	answer_hosts(1, "10 mx1.a.test 10 mx2.a.test 20 mx3.a.test");
	q = sched_queue_find(qm.sched, SV("a.test"), SV("v"));
	ck_assert(!routes_skip(&qm, q, SV("mx9.a.test"), &rule, SV("no")));
	ck_assert(!routes_leaves_out(&qm, SV("a.test"), SV("v"),
	    SV("mx2.a.test")));
	ck_assert(routes_skip(&qm, q, SV("MX2.a.test"), &rule, SV("no")));
	ck_assert(routes_leaves_out(&qm, SV("a.test"), SV("v"),
	    SV("mx2.a.test")));
	ck_assert(!routes_leaves_out(&qm, SV("a.test"), SV("v"),
	    SV("mx3.a.test")));
	ck_assert(!routes_leaves_out(&qm, SV("a.test"), SV("v"),
	    SV("mx9.a.test")));
	ck_assert(!routes_leaves_out(&qm, SV("b.test"), SV("v"),
	    SV("mx2.a.test")));
	ck_assert_str_eq(hosts_of("a.test"), "mx1.a.test mx3.a.test ");
	/* another session that was still with it; one that never was there */
	ck_assert(routes_skip(&qm, q, SV("mx2.a.test"), &rule, SV("no")));
	ck_assert(!routes_skip(&qm, q, SV("mx9.a.test"), &rule, SV("no")));
	ck_assert(routes_skip(&qm, q, SV("mx3.a.test"), &rule, SV("no")));
	ck_assert_str_eq(hosts_of("a.test"), "mx1.a.test ");
	/* the last one stays */
	ck_assert(!routes_skip(&qm, q, SV("mx1.a.test"), &rule, SV("no")));
	ck_assert_str_eq(hosts_of("a.test"), "mx1.a.test ");
	pass(61 * US_PER_SEC);
	add(2, "a.test");
	answer_hosts(2, "10 mx1.a.test 20 mx2.a.test");
	ck_assert_str_eq(hosts_of("a.test"), "mx1.a.test mx2.a.test ");
	/* what was left out before is in doubt no more */
	ck_assert(!routes_skip(&qm, q, SV("mx3.a.test"), &rule, SV("no")));
}
END_TEST

/* What limits of hosts leave of it. */
START_TEST(test_route_of_some_targets)
{
	static const struct sched_target some[] = { { 0, 0 }, { 2, 0 },
		{ 3, 0 } };
	struct sched_session se = { .targets = some, .ntargets = 2 };
	struct arena a;
	struct route r;
	struct buf b;
	bool relay;

	add(1, "a.test");
	answer_hosts(1, "10 mx1.a.test 10 mx2.a.test 20 mx3.a.test");
	se.queue = sched_queue_find(qm.sched, SV("a.test"), SV("v"));
	buf_init(&b, IPC_ROUTE_MAX);
	arena_init(&a, 1 << 20);
	ck_assert(route_decode(routes_left(&qm, &se, &b), &a, &r));
	ck_assert_uint_eq(r.nhosts, 2);
	ck_assert(sv_eq(r.hosts[0].name, SV("mx1.a.test")));
	ck_assert(sv_eq(r.hosts[1].name, SV("mx3.a.test")));
	ck_assert_uint_eq(r.hosts[1].preference, 20);
	ck_assert_uint_eq(r.hosts[1].naddrs, 1);
	ck_assert_uint_eq(r.hosts[1].addrs[0].ip[0], 192);
	/* one that is not there any more */
	se.ntargets = 3;
	buf_clear(&b);
	ck_assert(route_decode(routes_left(&qm, &se, &b), &a, &r));
	ck_assert_uint_eq(r.nhosts, 2);
	buf_fini(&b);
	arena_fini(&a);
	(void)routes_of(&qm, se.queue, &relay);
	ck_assert(!relay);
	add(2, "fixed.test");
	answer_hosts(2, "10 mx1.same.test");
	ck_assert_ptr_nonnull(routes_of(&qm, sched_queue_find(qm.sched,
	    SV("fixed.test"), SV("v")), &relay));
	ck_assert(relay);
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
	tcase_add_test(tc, test_best_hosts_make_a_site);
	tcase_add_test(tc, test_many_hosts_have_a_short_name);
	tcase_add_test(tc, test_rollup_list);
	tcase_add_test(tc, test_host_is_left_out_until_the_next_answer);
	tcase_add_test(tc, test_route_of_some_targets);
	suite_add_tcase(s, tc);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
