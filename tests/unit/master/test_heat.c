/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include <check.h>

#include "master/heat.h"

struct life {
	struct heat h;
	struct mono now;
};

/* It starts, lives so long and ends; then the wait passes. */
static int64_t
live(struct life *l, int64_t ms, bool crashed)
{
	struct mono started = l->now;
	int64_t delay;

	l->now = mono_add_ms(l->now, ms);
	delay = heat_ended(&l->h, started, l->now, crashed);
	l->now = mono_add_ms(l->now, delay);
	return delay;
}

START_TEST(test_heat_few_crashes_cost_nothing)
{
	struct life l = {.now = {1}};

	for (int i = 0; i < HEAT_FREE; i++)
		ck_assert_int_eq(live(&l, 2000, true), 0);
	ck_assert(!heat_is_hot(&l.h));
}
END_TEST

/* Ten seconds after each start: slowed to one start in half a minute. */
START_TEST(test_heat_crashes_again_and_again_slowed)
{
	struct life l = {.now = {1}};
	int64_t last = 0;
	int free_starts = 0;

	for (int i = 0; i < 40; i++) {
		int64_t d = live(&l, 10000, true);

		ck_assert_int_ge(d, last);
		ck_assert_int_le(d, HEAT_DELAY_MAX_MS);
		free_starts += d == 0;
		last = d;
	}
	ck_assert_int_eq(last, HEAT_DELAY_MAX_MS);
	ck_assert_int_ge(free_starts, HEAT_FREE);
	ck_assert_int_le(free_starts, 2 * HEAT_FREE);
	ck_assert(heat_is_hot(&l.h));
	ck_assert_uint_eq(l.h.crashes, 40);
}
END_TEST

/* Three a minute are borne for ever. */
START_TEST(test_heat_rare_crashes_never_slowed)
{
	struct life l = {.now = {1}};

	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(live(&l, HEAT_COOL_MS, true), 0);
}
END_TEST

START_TEST(test_heat_long_life_forgives)
{
	struct life l = {.now = {1}};
	struct mono end;

	for (int i = 0; i < 100; i++)
		live(&l, 1000, true);
	ck_assert(heat_is_hot(&l.h));
	end = mono_add_ms(l.now, (int64_t)HEAT_MAX * HEAT_COOL_MS);
	ck_assert(!heat_cooled(&l.h, l.now, mono_add_ms(l.now, 1000)));
	ck_assert(heat_cooled(&l.h, l.now, end));
	ck_assert(!heat_is_hot(&l.h));
	ck_assert_uint_eq(l.h.crashes, 0);
	ck_assert(!heat_cooled(&l.h, l.now, end));
	l.now = end;
	ck_assert_int_eq(live(&l, 2000, true), 0);
}
END_TEST

/* The same when nobody looked while it lived. */
START_TEST(test_heat_long_life_before_an_end_forgives)
{
	struct life l = {.now = {1}};

	for (int i = 0; i < 100; i++)
		live(&l, 1000, true);
	ck_assert_int_eq(live(&l, (int64_t)HEAT_MAX * HEAT_COOL_MS, true), 0);
	ck_assert_uint_eq(l.h.crashes, 1);
}
END_TEST

START_TEST(test_heat_killed_from_outside_never_slowed)
{
	struct life l = {.now = {1}};

	for (int i = 0; i < 2000; i++)
		ck_assert_int_eq(live(&l, HEAT_SETTLED_MS + 1, false), 0);
}
END_TEST

/* Whatever ends it at its start, a processor is not taken by it. */
START_TEST(test_heat_quick_ends_back_off)
{
	static const int64_t want[] = {
	    0, 1000, 2000, 4000, 8000, 16000, 30000, 30000};
	struct life l = {.now = {1}};

	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		ck_assert_int_eq(live(&l, 10, false), want[i]);
	ck_assert_int_eq(live(&l, HEAT_SETTLED_MS + 1, false), 0);
	ck_assert_int_eq(live(&l, 10, false), 0);
	ck_assert_int_eq(live(&l, 10, false), 1000);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("heat");
	TCase *tc = tcase_create("heat");
	SRunner *r;
	int failed;

	tcase_add_test(tc, test_heat_few_crashes_cost_nothing);
	tcase_add_test(tc, test_heat_crashes_again_and_again_slowed);
	tcase_add_test(tc, test_heat_rare_crashes_never_slowed);
	tcase_add_test(tc, test_heat_long_life_forgives);
	tcase_add_test(tc, test_heat_long_life_before_an_end_forgives);
	tcase_add_test(tc, test_heat_killed_from_outside_never_slowed);
	tcase_add_test(tc, test_heat_quick_ends_back_off);
	suite_add_tcase(s, tc);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
