/* SPDX-License-Identifier: ISC */
#include <check.h>
#include <stdlib.h>

#include "common/base/str.h"
#include "common/conf/value.h"

#define N_OF(a) (sizeof(a) / sizeof((a)[0]))
#define DAY INT64_C(86400000)
#define BAD (-1)

START_TEST(test_bool_spellings_are_four)
{
	bool b = false;

	ck_assert_ptr_null(conf_parse_bool(SV("Yes"), &b));
	ck_assert(b);
	ck_assert_ptr_null(conf_parse_bool(SV("false"), &b));
	ck_assert(!b);
	ck_assert_ptr_null(conf_parse_bool(SV("TRUE"), &b));
	ck_assert_ptr_null(conf_parse_bool(SV("no"), &b));
	ck_assert_ptr_nonnull(conf_parse_bool(SV("on"), &b));
	ck_assert_ptr_nonnull(conf_parse_bool(SV(""), &b));
	ck_assert_ptr_nonnull(conf_parse_bool(SV("1"), &b));
}
END_TEST

START_TEST(test_num_limits_hold)
{
	static const struct {
		const char *in;
		int64_t want;
	} t[] = {
		{ "1", 1 }, { "65535", 65535 }, { "0", BAD }, { "65536", BAD },
		{ "", BAD }, { "-1", BAD }, { "1k", BAD }, { "+1", BAD },
		{ "99999999999999999999999", BAD }, { "0x10", BAD },
		{ "unlimited", BAD },
	};

	for (size_t i = 0; i < N_OF(t); i++) {
		uint64_t n = 0;
		const char *why = conf_parse_num(sv_from(t[i].in), 1, 65535,
		    &n);

		ck_assert_msg((why != NULL) == (t[i].want == BAD), "%s",
		    t[i].in);
		if (why == NULL)
			ck_assert_int_eq((int64_t)n, t[i].want);
	}
}
END_TEST

START_TEST(test_num_unlimited_is_zero_where_zero_may_be)
{
	uint64_t n = 5;

	ck_assert_ptr_null(conf_parse_num(SV("unlimited"), 0, 9, &n));
	ck_assert_int_eq(n, 0);
}
END_TEST

START_TEST(test_time_table)
{
	static const struct {
		const char *in;
		int64_t want;
	} t[] = {
		{ "4d12h", 4 * DAY + DAY / 2 },
		{ "2h15m", 8100000 },
		{ "300s", 300000 },
		{ "1w", 7 * DAY },
		{ "0", 0 },
		{ "0s", 0 },
		{ "10M", 600000 },
		{ "never", BAD },
		{ "", BAD },
		{ "5", BAD },
		{ "5x", BAD },
		{ "h", BAD },
		{ "12h4d", BAD },
		{ "1h1h", BAD },
		{ "-5m", BAD },
		{ "1.5h", BAD },
		{ "1h 5m", BAD },
		{ "366d", BAD },
		{ "365d", 365 * DAY },
		{ "999999999999999w", BAD },
		{ "99999999999999999999s", BAD },
	};

	for (size_t i = 0; i < N_OF(t); i++) {
		int64_t ms = 0;
		const char *why = conf_parse_time(sv_from(t[i].in), 0,
		    365 * DAY, &ms);

		ck_assert_msg((why != NULL) == (t[i].want == BAD), "%s",
		    t[i].in);
		if (why == NULL)
			ck_assert_int_eq(ms, t[i].want);
	}
}
END_TEST

START_TEST(test_time_never_needs_permission)
{
	int64_t ms = 0;

	ck_assert_ptr_null(conf_parse_time(SV("never"), 0, CONF_NEVER, &ms));
	ck_assert(ms == CONF_NEVER);
	ck_assert_ptr_nonnull(conf_parse_time(SV("1s"), 2000, 5000, &ms));
	ck_assert_ptr_null(conf_parse_time(SV("2s"), 2000, 5000, &ms));
	ck_assert_ptr_null(conf_parse_time(SV("5s"), 2000, 5000, &ms));
	ck_assert_ptr_nonnull(conf_parse_time(SV("6s"), 2000, 5000, &ms));
}
END_TEST

START_TEST(test_times_with_ranges)
{
	struct conf_times t;

	ck_assert_ptr_null(conf_parse_times(SV("15m-30m,1h,2h-2h"), 1, DAY,
	    &t));
	ck_assert_int_eq(t.n, 3);
	ck_assert_int_eq(t.t[0].min_ms, 900000);
	ck_assert_int_eq(t.t[0].max_ms, 1800000);
	ck_assert_int_eq(t.t[1].min_ms, 3600000);
	ck_assert_int_eq(t.t[1].max_ms, 3600000);
	ck_assert_int_eq(t.t[2].max_ms, 7200000);
}
END_TEST

START_TEST(test_times_bad_are_refused)
{
	static const char *const bad[] = { "", ",", "1m,", ",1m", "1m,,2m",
		"2m-1m", "1m-", "-1m", "1m-2m-3m", "1m, 2m", "0s", "2d" };
	struct conf_times t;

	for (size_t i = 0; i < N_OF(bad); i++)
		ck_assert_msg(conf_parse_times(sv_from(bad[i]), 1, DAY, &t) !=
		    NULL, "%s", bad[i]);
}
END_TEST

START_TEST(test_times_thirty_are_the_most)
{
	char text[31 * 3 + 1];
	struct conf_times t;

	for (size_t i = 0; i < 31; i++) {
		text[3 * i] = '1';
		text[3 * i + 1] = 'm';
		text[3 * i + 2] = ',';
	}
	ck_assert_ptr_null(conf_parse_times(sv_make(text, 30 * 3 - 1), 1, DAY,
	    &t));
	ck_assert_int_eq(t.n, 30);
	ck_assert_ptr_nonnull(conf_parse_times(sv_make(text, 31 * 3 - 1), 1,
	    DAY, &t));
}
END_TEST

START_TEST(test_size_table)
{
	static const struct {
		const char *in;
		int64_t want;
	} t[] = {
		{ "250M", 250 << 20 }, { "250m", 250 << 20 }, { "1k", 1024 },
		{ "0", 0 }, { "unlimited", 0 }, { "17b", 17 }, { "17", 17 },
		{ "1g", 1 << 30 }, { "1025m", BAD }, { "M", BAD },
		{ "1 M", BAD }, { "1MB", BAD }, { "-1", BAD }, { "", BAD },
		{ "1x", BAD }, { "99999999999999t", BAD },
		{ "9999999999999999999", BAD },
	};

	for (size_t i = 0; i < N_OF(t); i++) {
		uint64_t n = 0;
		const char *why = conf_parse_size(sv_from(t[i].in), 0,
		    1 << 30, 1, &n);

		ck_assert_msg((why != NULL) == (t[i].want == BAD), "%s",
		    t[i].in);
		if (why == NULL)
			ck_assert_int_eq((int64_t)n, t[i].want);
	}
}
END_TEST

START_TEST(test_rate_table)
{
	static const struct {
		const char *in;
		int64_t n, ms;
	} t[] = {
		{ "500/h", 500, 3600000 }, { "83/10m", 83, 600000 },
		{ "5/hr", 5, 3600000 }, { "1/sec", 1, 1000 },
		{ "7/2day", 7, 2 * DAY }, { "1/min", 1, 60000 },
		{ "unlimited", 0, 0 }, { "0", 0, 0 },
		{ "1/365d", 1, 365 * DAY },
		{ "1/366d", BAD, 0 }, { "0/h", BAD, 0 }, { "500", BAD, 0 },
		{ "/h", BAD, 0 }, { "5/", BAD, 0 }, { "5/x", BAD, 0 },
		{ "5/0m", BAD, 0 }, { "5/h/h", BAD, 0 }, { "-5/h", BAD, 0 },
		{ "5M/h", BAD, 0 }, { "5/9999999999999999999d", BAD, 0 },
		{ "", BAD, 0 },
	};

	for (size_t i = 0; i < N_OF(t); i++) {
		struct conf_rate r = { 9, 9 };
		const char *why = conf_parse_rate(sv_from(t[i].in), &r);

		ck_assert_msg((why != NULL) == (t[i].n == BAD), "%s", t[i].in);
		if (why != NULL)
			continue;
		ck_assert_int_eq((int64_t)r.n, t[i].n);
		ck_assert_int_eq(r.period_ms, t[i].ms);
	}
}
END_TEST

START_TEST(test_data_rate_counts_bytes)
{
	struct conf_rate r;

	ck_assert_ptr_null(conf_parse_data_rate(SV("12M/m"), &r));
	ck_assert_int_eq(r.n, 12 << 20);
	ck_assert_int_eq(r.period_ms, 60000);
	ck_assert_ptr_null(conf_parse_data_rate(SV("64/s"), &r));
	ck_assert_int_eq(r.n, 64);
	ck_assert_ptr_null(conf_parse_data_rate(SV("1T/7d"), &r));
	ck_assert_int_eq(r.period_ms, 7 * DAY);
	ck_assert_ptr_nonnull(conf_parse_data_rate(SV("12Q/m"), &r));
}
END_TEST

START_TEST(test_host_and_domain_limits)
{
	static const char *const good[] = { "a", "mx1.example.org", "x_y.z",
		"1.2.3.4", "xn--bcher-kva.example" };
	static const char *const bad[] = { "", ".", "a.", ".a", "a..b", "-a.b",
		"a-.b", "a b", "a/b", "b\xc3\xbc" "cher.example",
		"a234567890123456789012345678901234567890123456789012345678"
		"901234.b" };

	for (size_t i = 0; i < N_OF(good); i++)
		ck_assert_ptr_null(conf_check_host(sv_from(good[i])));
	for (size_t i = 0; i < N_OF(bad); i++)
		ck_assert_msg(conf_check_host(sv_from(bad[i])) != NULL, "%s",
		    bad[i]);
	ck_assert_ptr_null(conf_check_domain(SV("b\xc3\xbc" "cher.example")));
}
END_TEST

START_TEST(test_host_253_is_the_most)
{
	char text[256];

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = i % 2 == 0 ? 'a' : '.';
	ck_assert_ptr_null(conf_check_host(sv_make(text, 253)));
	text[253] = 'a';
	text[252] = 'a';
	ck_assert_ptr_nonnull(conf_check_host(sv_make(text, 254)));
}
END_TEST

START_TEST(test_pattern_forms)
{
	static const char *const good[] = { "*", "a.org", "*.a.org",
		"[*.]a.org", "[192.0.2.0/24]", "[10/8]", "[192.0.2.1]",
		"[2001:db8::/32]", "[IPv6:2001:db8::1]", "{bounce}",
		"gmail.rollup" };
	static const char *const bad[] = { "", "**", "*a.org", "a.*", "*.",
		"[*.]", "[]", "[x]", "[10/33]", "a.org/vmta", "{}" };

	for (size_t i = 0; i < N_OF(good); i++)
		ck_assert_msg(conf_check_pattern(sv_from(good[i])) == NULL,
		    "%s", good[i]);
	for (size_t i = 0; i < N_OF(bad); i++)
		ck_assert_msg(conf_check_pattern(sv_from(bad[i])) != NULL,
		    "%s", bad[i]);
}
END_TEST

START_TEST(test_cidr_table)
{
	static const struct {
		const char *net, *ip;
		bool in;
	} t[] = {
		{ "10/8", "10.255.0.1", true }, { "10/8", "11.0.0.0", false },
		{ "0/0", "2001:db8::1", true }, { "0/0", "192.0.2.1", true },
		{ "192.0.2.1", "192.0.2.1", true },
		{ "192.0.2.1", "192.0.2.0", false },
		{ "192.0.2.77/24", "192.0.2.1", true },
		{ "172.16/12", "172.31.255.255", true },
		{ "172.16/12", "172.32.0.0", false },
		{ "2001:db8::/33", "2001:db8:7fff::1", true },
		{ "2001:db8::/33", "2001:db8:8000::1", false },
		{ "::/0", "::1", true }, { "::/0", "127.0.0.1", false },
		{ "192.0.2.128/31", "192.0.2.129", true },
		{ "192.0.2.128/31", "192.0.2.130", false },
	};

	for (size_t i = 0; i < N_OF(t); i++) {
		struct conf_cidr c;
		struct route_addr a;

		ck_assert_ptr_null(conf_parse_cidr(sv_from(t[i].net), &c));
		ck_assert_ptr_null(conf_parse_ip(sv_from(t[i].ip), &a));
		ck_assert_msg(conf_cidr_has(&c, &a) == t[i].in, "%s %s",
		    t[i].net, t[i].ip);
	}
}
END_TEST

START_TEST(test_cidr_bad_is_refused)
{
	static const char *const bad[] = { "", "10", "10/", "10/33", "/8",
		"10.0.0.0.0/8", "256/8", "10..1/8", "x/8", "::/129", "10/8x",
		"10/-1" };
	struct conf_cidr c;

	for (size_t i = 0; i < N_OF(bad); i++)
		ck_assert_msg(conf_parse_cidr(sv_from(bad[i]), &c) != NULL,
		    "%s", bad[i]);
}
END_TEST

START_TEST(test_server_forms)
{
	static const struct {
		const char *in;
		int port;
		uint8_t family;
	} t[] = {
		{ "127.0.0.1", 53, 4 }, { "127.0.0.1:5353", 5353, 4 },
		{ "[::1]:5353", 5353, 6 }, { "[::1]", 53, 6 },
		{ "2001:db8::1", 53, 6 }, { "127.0.0.1:0", BAD, 0 },
		{ "127.0.0.1:65536", BAD, 0 }, { "127.0.0.1:", BAD, 0 },
		{ "[::1", BAD, 0 }, { "[::1]x", BAD, 0 }, { "", BAD, 0 },
		{ "localhost:53", BAD, 0 }, { "[::1]:", BAD, 0 },
		{ "[]:53", BAD, 0 }, { ":53", BAD, 0 }, { "[::1]:5:6", BAD, 0 },
	};

	for (size_t i = 0; i < N_OF(t); i++) {
		struct conf_server s;
		const char *why = conf_parse_server(sv_from(t[i].in), 53, &s);

		ck_assert_msg((why != NULL) == (t[i].port == BAD), "%s",
		    t[i].in);
		if (why != NULL)
			continue;
		ck_assert_int_eq(s.port, t[i].port);
		ck_assert_int_eq(s.ip.family, t[i].family);
	}
}
END_TEST

START_TEST(test_records_and_enum)
{
	uint32_t bits = 0;
	uint8_t e = 9;

	ck_assert_ptr_null(conf_parse_records(SV("d,bounce,tq"), &bits));
	ck_assert_int_eq(bits, CONF_REC_D | CONF_REC_B | CONF_REC_TQ);
	ck_assert_ptr_null(conf_parse_records(SV(""), &bits));
	ck_assert_int_eq(bits, 0);
	ck_assert_ptr_nonnull(conf_parse_records(SV("d,x"), &bits));
	ck_assert_ptr_nonnull(conf_parse_records(SV("d,"), &bits));
	ck_assert_ptr_null(conf_parse_enum(SV("B"), "a|b|c", &e));
	ck_assert_int_eq(e, 1);
	ck_assert_ptr_nonnull(conf_parse_enum(SV("a|b"), "a|b|c", &e));
	ck_assert_ptr_nonnull(conf_parse_enum(SV(""), "a|b|c", &e));
}
END_TEST

START_TEST(test_names_mail_and_regex)
{
	ck_assert_ptr_null(conf_check_name(SV("pool-a.1")));
	ck_assert_ptr_nonnull(conf_check_name(SV("")));
	ck_assert_ptr_nonnull(conf_check_name(SV("a b")));
	ck_assert_ptr_nonnull(conf_check_name(SV("a/b")));
	ck_assert_ptr_null(conf_check_mail(SV("a@example.org")));
	ck_assert_ptr_nonnull(conf_check_mail(SV("@example.org")));
	ck_assert_ptr_nonnull(conf_check_mail(SV("a@")));
	ck_assert_ptr_nonnull(conf_check_mail(SV("a b@example.org")));
	ck_assert_ptr_null(conf_check_regex(SV("/^a.*@b$/")));
	ck_assert_ptr_nonnull(conf_check_regex(SV("/(/")));
	ck_assert_ptr_nonnull(conf_check_regex(SV("abc")));
	ck_assert_ptr_nonnull(conf_check_regex(SV("/")));
}
END_TEST

START_TEST(test_time_format_reads_back)
{
	static const int64_t t[] = { 0, 1000, 60000, 388800000, DAY,
		8 * DAY + 3661000, CONF_NEVER };

	for (size_t i = 0; i < N_OF(t); i++) {
		char mem[64];
		struct str s;
		int64_t back = -1;

		STR_ON(&s, mem);
		conf_format_time(t[i], &s);
		ck_assert_ptr_null(conf_parse_time(str_sv(&s), 0, CONF_NEVER,
		    &back));
		ck_assert_int_eq(back, t[i]);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("conf value");
	TCase *tc = tcase_create("value");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, test_bool_spellings_are_four);
	tcase_add_test(tc, test_num_limits_hold);
	tcase_add_test(tc, test_num_unlimited_is_zero_where_zero_may_be);
	tcase_add_test(tc, test_time_table);
	tcase_add_test(tc, test_time_never_needs_permission);
	tcase_add_test(tc, test_times_with_ranges);
	tcase_add_test(tc, test_times_bad_are_refused);
	tcase_add_test(tc, test_times_thirty_are_the_most);
	tcase_add_test(tc, test_size_table);
	tcase_add_test(tc, test_rate_table);
	tcase_add_test(tc, test_data_rate_counts_bytes);
	tcase_add_test(tc, test_host_and_domain_limits);
	tcase_add_test(tc, test_host_253_is_the_most);
	tcase_add_test(tc, test_pattern_forms);
	tcase_add_test(tc, test_cidr_table);
	tcase_add_test(tc, test_cidr_bad_is_refused);
	tcase_add_test(tc, test_server_forms);
	tcase_add_test(tc, test_records_and_enum);
	tcase_add_test(tc, test_names_mail_and_regex);
	tcase_add_test(tc, test_time_format_reads_back);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
