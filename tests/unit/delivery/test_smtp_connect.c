/* SPDX-License-Identifier: ISC */
/* The order of addresses, and which failure is told. */
#include <sys/socket.h>
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "delivery/smtp.h"

/* ---- in place of smtp_session.c ---- */

const struct conn_ops session_conn_ops;

void
session_fail(struct session *s, enum session_end why, uint16_t code,
    struct sv status, struct sv text)
{
	(void)s;
	(void)why;
	(void)code;
	(void)status;
	(void)text;
}

void
session_deadline_set(struct session *s, int64_t ms)
{
	(void)s;
	(void)ms;
}

bool
session_is_overdue(const struct session *s)
{
	(void)s;
	return false;
}

/* ---- routes ---- */

/* One letter a host: its preference as a digit, then 4 and 6 for each
 * address. "1:46,1:4,2:6" */
static void
route_make(struct session *s, const char *spec)
{
	static struct route_host hosts[ROUTE_HOSTS_MAX];
	static struct route_addr addrs[ROUTE_HOSTS_MAX][ROUTE_ADDRS_MAX];
	uint8_t n = 0;

	memset(s, 0, sizeof(*s));
	arena_init(&s->arena, 1 << 16);
	memset(hosts, 0, sizeof(hosts));
	while (*spec != '\0') {
		struct route_host *h = &hosts[n];

		h->preference = (uint16_t)(*spec - '0');
		h->addrs = addrs[n++];
		for (spec += 2; *spec != '\0' && *spec != ','; spec++)
			addrs[n - 1][h->naddrs++].family =
			    (uint8_t)(*spec - '0');
		spec += *spec == ',';
	}
	s->route.hosts = hosts;
	s->route.nhosts = n;
	ck_assert(connect_plan(s));
}

static unsigned
family_at(const struct session *s, unsigned i)
{
	const struct target *t = &s->targets[i];

	return s->route.hosts[t->host].addrs[t->addr].family;
}

START_TEST(test_plan_preferences_kept_in_order)
{
	for (int round = 0; round < 50; round++) {
		struct session s;

		route_make(&s, "1:4,1:4,1:4,2:4,3:4,3:4");
		ck_assert_uint_eq(s.ntargets, 6);
		for (unsigned i = 0; i < 6; i++) {
			static const unsigned want[] = { 1, 1, 1, 2, 3, 3 };
			unsigned h = s.targets[i].host;

			ck_assert_uint_eq(s.route.hosts[h].preference,
			    want[i]);
		}
		arena_fini(&s.arena);
	}
}
END_TEST

START_TEST(test_plan_equal_hosts_each_is_first_sometimes)
{
	unsigned first[3] = { 0 };

	for (int round = 0; round < 300; round++) {
		struct session s;

		route_make(&s, "1:4,1:4,1:4");
		first[s.targets[0].host]++;
		arena_fini(&s.arena);
	}
	for (int i = 0; i < 3; i++)
		ck_assert_uint_gt(first[i], 30); /* 100 are expected */
}
END_TEST

START_TEST(test_plan_families_take_turns)
{
	static const unsigned want[] = { 6, 4, 6, 4, 4 };
	struct session s;

	route_make(&s, "1:44466");
	ck_assert_uint_eq(s.ntargets, 5);
	for (unsigned i = 0; i < 5; i++)
		ck_assert_uint_eq(family_at(&s, i), want[i]);
	arena_fini(&s.arena);
}
END_TEST

START_TEST(test_plan_source_address_its_family_only)
{
	struct session s;

	route_make(&s, "1:4466,2:6");
	s.has_source = true;
	s.source.family = 4;
	s.ntargets = 0;
	ck_assert(connect_plan(&s));
	ck_assert_uint_eq(s.ntargets, 2);
	ck_assert_uint_eq(family_at(&s, 0), 4);
	arena_fini(&s.arena);
}
END_TEST

START_TEST(test_skip_host_goes_behind_its_addresses)
{
	struct session s;

	route_make(&s, "1:4444,2:44");
	s.next_target = 2;
	connect_skip_host(&s);
	ck_assert_uint_eq(s.next_target, 4);
	s.next_target = 6;
	connect_skip_host(&s);
	ck_assert_uint_eq(s.next_target, 6);
	arena_fini(&s.arena);
}
END_TEST

START_TEST(test_failures_permanent_only_if_all_are)
{
	struct session s = { 0 };

	connect_failed(&s, END_GREETING_PERM, 554, SV("5.7.1"), SV("one"));
	ck_assert_int_eq(s.failure.why, END_GREETING_PERM);
	connect_failed(&s, END_CONNECT, 0, SV("4.4.1"), SV("two"));
	ck_assert_int_eq(s.failure.why, END_CONNECT);
	connect_failed(&s, END_GREETING_PERM, 554, SV("5.7.1"), SV("three"));
	ck_assert_int_eq(s.failure.why, END_CONNECT);
	connect_failed(&s, END_GREETING_TEMP, 450, SV("4.7.1"), SV("four"));
	ck_assert_int_eq(s.failure.why, END_GREETING_TEMP);
	ck_assert_str_eq(s.failure.text, "four");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("smtp_connect");
	TCase *t = tcase_create("connect");
	SRunner *r;
	int failed;

	tcase_add_test(t, test_plan_preferences_kept_in_order);
	tcase_add_test(t, test_plan_equal_hosts_each_is_first_sometimes);
	tcase_add_test(t, test_plan_families_take_turns);
	tcase_add_test(t, test_plan_source_address_its_family_only);
	tcase_add_test(t, test_skip_host_goes_behind_its_addresses);
	tcase_add_test(t, test_failures_permanent_only_if_all_are);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
