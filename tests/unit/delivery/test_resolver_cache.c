/* SPDX-License-Identifier: ISC */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bsd/string.h>

#include "delivery/resolver_cache.h"

static struct rcache *c;
static struct mono now;

static void
setup(void)
{
	c = rcache_new(100, 1u << 20);
	now = (struct mono){ 5 * US_PER_SEC };
}

static void
teardown(void)
{
	rcache_free(&c);
}

static struct rset *
answer(uint32_t ttl_s, const char *mx)
{
	struct dnspkt_answer *a = calloc(1, sizeof(*a));
	struct rset *s;

	a->cacheable = true;
	a->ttl_s = ttl_s;
	if (mx != NULL) {
		a->n = 1;
		a->rrs[0].pref = 10;
		strlcpy(a->rrs[0].name, mx, sizeof(a->rrs[0].name));
	}
	s = rset_from_answer(DNS_MX, a, false);
	free(a);
	return s;
}

static void
put(const char *name, uint32_t ttl_s, const char *mx)
{
	struct rset *s = answer(ttl_s, mx);

	rcache_put(c, now, sv_from(name), DNS_MX, s);
	rset_drop(&s);
}

/* Seconds left, or -1. */
static int
get(const char *name)
{
	uint32_t left;
	struct rset *s = rcache_get(c, now, sv_from(name), DNS_MX, &left);

	if (s == NULL)
		return -1;
	rset_drop(&s);
	return (int)left;
}

START_TEST(test_cache_holds_until_ttl_is_over)
{
	put("d.test", 10, "a.test");
	ck_assert_int_eq(get("d.test"), 10);
	now.us += 9 * US_PER_SEC + 1;
	ck_assert_int_eq(get("d.test"), 1);
	now.us += US_PER_SEC - 1;
	ck_assert_int_eq(get("d.test"), -1);
	ck_assert_uint_eq(rcache_entries(c), 0);
	ck_assert_uint_eq(rcache_bytes(c), 0);
}
END_TEST

START_TEST(test_cache_zero_ttl_is_not_kept)
{
	put("d.test", 10, "a.test");
	put("d.test", 0, "a.test");
	ck_assert_int_eq(get("d.test"), -1);
}
END_TEST

START_TEST(test_cache_type_is_part_of_the_key)
{
	uint32_t left;

	put("d.test", 10, "a.test");
	ck_assert_ptr_null(rcache_get(c, now, SV("d.test"), DNS_A, &left));
	ck_assert_ptr_null(rcache_get(c, now, SV("d.tes"), DNS_MX, &left));
}
END_TEST

START_TEST(test_cache_new_answer_replaces_old)
{
	uint32_t left;
	struct rset *s;

	put("d.test", 10, "a.test");
	put("d.test", 20, "b.test");
	ck_assert_uint_eq(rcache_entries(c), 1);
	s = rcache_get(c, now, SV("d.test"), DNS_MX, &left);
	ck_assert_str_eq(s->rrs[0].name.p, "b.test");
	rset_drop(&s);
}
END_TEST

START_TEST(test_cache_negative_and_failed_answers_are_kept)
{
	struct rset *s = rset_failed(DNS_MX, SV("SERVFAIL from x"), 5);
	uint32_t left;

	rcache_put(c, now, SV("f.test"), DNS_MX, s);
	rset_drop(&s);
	put("n.test", 30, NULL);
	s = rcache_get(c, now, SV("n.test"), DNS_MX, &left);
	ck_assert_int_eq(s->status, RSET_NODATA);
	rset_drop(&s);
	s = rcache_get(c, now, SV("f.test"), DNS_MX, &left);
	ck_assert_int_eq(s->status, RSET_FAILED);
	ck_assert(sv_eq(s->text, SV("SERVFAIL from x")));
	rset_drop(&s);
}
END_TEST

START_TEST(test_cache_full_of_entries_drops_least_recently_used)
{
	char name[32];

	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "d%d.test", i);
		put(name, 100, "a.test");
	}
	ck_assert_int_eq(get("d0.test"), 100);
	put("new.test", 100, "a.test");
	ck_assert_uint_eq(rcache_entries(c), 100);
	ck_assert_int_eq(get("d0.test"), 100);
	ck_assert_int_eq(get("d1.test"), -1);
	ck_assert_int_eq(get("new.test"), 100);
}
END_TEST

START_TEST(test_cache_full_of_bytes_stays_below_the_cap)
{
	char name[32];

	rcache_free(&c);
	c = rcache_new(100000, 20000);
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "d%d.test", i);
		put(name, 100, "a-long-name-of-a-mail-host.example.test");
		ck_assert_uint_le(rcache_bytes(c), 20000);
	}
	ck_assert_uint_gt(rcache_entries(c), 20);
	ck_assert_int_eq(get("d999.test"), 100);
}
END_TEST

START_TEST(test_cache_answer_outlives_its_entry)
{
	uint32_t left;
	struct rset *s;

	put("d.test", 10, "a.test");
	s = rcache_get(c, now, SV("d.test"), DNS_MX, &left);
	put("d.test", 10, "b.test");
	ck_assert_str_eq(s->rrs[0].name.p, "a.test");
	rset_drop(&s);
	ck_assert_ptr_null(s);
}
END_TEST

START_TEST(test_cache_answer_bigger_than_all_is_not_kept)
{
	rcache_free(&c);
	c = rcache_new(10, 50);
	put("d.test", 10, "a.test");
	ck_assert_int_eq(get("d.test"), -1);
	ck_assert_uint_eq(rcache_bytes(c), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("resolver_cache");
	TCase *tc = tcase_create("cache");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_cache_holds_until_ttl_is_over);
	tcase_add_test(tc, test_cache_zero_ttl_is_not_kept);
	tcase_add_test(tc, test_cache_type_is_part_of_the_key);
	tcase_add_test(tc, test_cache_new_answer_replaces_old);
	tcase_add_test(tc, test_cache_negative_and_failed_answers_are_kept);
	tcase_add_test(tc,
	    test_cache_full_of_entries_drops_least_recently_used);
	tcase_add_test(tc, test_cache_full_of_bytes_stays_below_the_cap);
	tcase_add_test(tc, test_cache_answer_outlives_its_entry);
	tcase_add_test(tc, test_cache_answer_bigger_than_all_is_not_kept);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
