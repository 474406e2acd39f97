/* SPDX-License-Identifier: ISC */
/* What stands in the lines of `show top`. */
#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/str.h"
#include "ctl/ctl.h"
#include "ctl/top.h"

/* The one thing of main.c that view.c wants. */
void
ctl_complain(const char *fmt, ...)
{
	(void)fmt;
}

/* ---- rows ---- */

static json_t *
queue_make(const char *name, long long rcp, const char *why,
    const char *error)
{
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f,"
	    " s:f, s:I, s:s, s:b, s:s, s:s}", "name", name, "rcp",
	    (json_int_t)rcp, "ready", (json_int_t)rcp, "retry", (json_int_t)0,
	    "inflight", (json_int_t)0, "hold", (json_int_t)0, "bounce",
	    (json_int_t)0, "kb", (json_int_t)rcp, "conn", (json_int_t)3,
	    "rate1m", 12.0, "rate1h", 700.0, "oldest_s", (json_int_t)3661,
	    "mode", "backoff", "paused", 1, "why", why, "lastError", error);
}

static json_t *
two_queues(void)
{
	json_t *rows = json_array();

	json_array_append_new(rows, queue_make("a.org/v1", 12, "nothing",
	    ""));
	json_array_append_new(rows, queue_make(
	    "mail.of.a.very.long.domain.name.example.org/v27", 1234567,
	    "vmta-message-rate", "421 4.7.0 \x1b[2J come back when you have "
	    "something better to do than this"));
	return rows;
}

static void
lines_make(const json_t *rows, unsigned width, char titles[TOP_LINE_MAX],
    char line[2][TOP_LINE_MAX])
{
	struct top_widths w = { { 0 } };
	struct top_layout l;

	top_widths_add(&w, rows);
	top_layout(&w, width, &l);
	top_line(&l, NULL, titles);
	for (size_t i = 0; i < 2; i++)
		top_line(&l, json_array_get(rows, i), line[i]);
}

#define has(text, part)                                                        \
	ck_assert_msg(strstr(text, part) != NULL, "no \"%s\" in\n%s", part,    \
	    text)
#define hasnt(text, part)                                                      \
	ck_assert_msg(strstr(text, part) == NULL, "\"%s\" in\n%s", part, text)

/* ---- the table ---- */

START_TEST(test_table_at_80_has_all_but_the_least)
{
	char titles[TOP_LINE_MAX], line[2][TOP_LINE_MAX];
	json_t *rows = two_queues();

	lines_make(rows, 80, titles, line);
	ck_assert_uint_le(strlen(titles), 80);
	ck_assert_uint_le(strlen(line[1]), 80);
	has(titles, "#rcpt ready retry conn  /min oldest st waits for");
	has(titles, "last error");
	hasnt(titles, "hold");
	hasnt(titles, "kbytes");
	has(line[0], "a.org/v1 ");
	has(line[0], "   12    12     0    3    12  1h01m BP nothing");
	has(line[1], "mail.of.a.ve~/v27 "); /* whose it is stays to be seen */
	has(line[1], " 1235k 1235k ");
	has(line[1], "421 4.7.");
	json_decref(rows);
}
END_TEST

START_TEST(test_table_at_200_has_all)
{
	char titles[TOP_LINE_MAX], line[2][TOP_LINE_MAX];
	json_t *rows = two_queues();

	lines_make(rows, 200, titles, line);
	ck_assert_uint_le(strlen(titles), 200);
	ck_assert_uint_le(strlen(line[1]), 200);
	has(titles, "hold");
	has(titles, "kbytes");
	has(titles, "bounce");
	has(titles, "/hour");
	has(line[1], "mail.of.a.very.long.domain.name.example.org/v27 1234567");
	has(line[1], "vmta-message-rate 421 4.7.0 \\x1b[2J come back");
	json_decref(rows);
}
END_TEST

/* Whatever the width is: no line is longer, and the columns stand below their
 * titles. */
START_TEST(test_table_fits_every_width)
{
	json_t *rows = two_queues();

	for (unsigned width = 1; width < 600; width++) {
		char titles[TOP_LINE_MAX], line[2][TOP_LINE_MAX];
		unsigned most = width < TOP_LINE_MAX ? width :
		    TOP_LINE_MAX - 1;
		struct top_widths w = { { 0 } };
		struct top_layout l;

		lines_make(rows, width, titles, line);
		ck_assert_uint_le(strlen(titles), most);
		ck_assert_uint_le(strlen(line[0]), most);
		ck_assert_uint_le(strlen(line[1]), most);
		top_widths_add(&w, rows);
		top_layout(&w, width, &l);
		ck_assert_uint_ge(l.n, 1);
		for (unsigned i = 1; i < l.n; i++)
			ck_assert_uint_eq(l.v[i].x, l.v[i - 1].x +
			    l.v[i - 1].width + 1);
		ck_assert_int_eq(top_layout_sorted(&l, TOP_NAME), 0);
	}
	json_decref(rows);
}
END_TEST

/* A row that goes leaves its place. */
START_TEST(test_table_does_not_jump)
{
	json_t *rows = two_queues(), *less = json_array();
	struct top_widths w = { { 0 } };
	struct top_layout a, b;

	json_array_append(less, json_array_get(rows, 0));
	top_widths_add(&w, rows);
	top_layout(&w, 100, &a);
	top_widths_add(&w, less);
	top_layout(&w, 100, &b);
	ck_assert_mem_eq(&a, &b, sizeof(a));
	json_decref(rows);
	json_decref(less);
}
END_TEST

START_TEST(test_sorts_have_names_and_columns)
{
	struct top_widths w = { { 0 } };
	struct top_layout l;

	top_widths_add(&w, NULL);
	top_layout(&w, 80, &l);
	for (int i = 0; i < TOP_SORTS; i++) {
		enum top_sort s;

		ck_assert(top_sort_find(sv_from(top_sort_name(
		    (enum top_sort)i)), &s));
		ck_assert_int_eq((int)s, i);
		ck_assert_int_ge(top_layout_sorted(&l, s), 0);
	}
	ck_assert(!top_sort_find(SV("weight"), &(enum top_sort){ 0 }));
}
END_TEST

/* ---- the head ---- */

static json_t *
status_make(long long in, long long delivered)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I,"
	    " s:{s:{s:I, s:I}}, s:{s:I, s:I}, s:{s:I, s:I, s:I, s:I}}",
	    "status", "running", "version", "0.1.0", "hostName",
	    "mx1.a\x1b.org", "now", "2026-01-31T14:05:09Z", "uptime_s",
	    (json_int_t)273845, "delivered", (json_int_t)delivered,
	    "deferred", (json_int_t)0, "failed", (json_int_t)0, "traffic",
	    "in", "rcp", (json_int_t)in, "msg", (json_int_t)in / 2, "conn",
	    "smtpOut", (json_int_t)812, "smtpOutConnecting", (json_int_t)12,
	    "queue", "rcp", (json_int_t)1300000, "msg", (json_int_t)1234567,
	    "dom", (json_int_t)5213, "retry", (json_int_t)77);
}

START_TEST(test_head_fits_and_tells)
{
	json_t *s = status_make(0, 0);
	struct top_rates t = { .n = 0 };
	struct top_head h;

	top_head_format(s, &t, 80, &h);
	has(h.line[0], "Pinnace 0.1.0 on mx1.a\\x1b.org, running");
	has(h.line[0], "2026-01-31 14:05:09  up 3d04h");
	ck_assert_uint_eq(strlen(h.line[0]), 80);
	has(h.line[1], "rcpts 1300000  messages 1234567  queues 5213");
	has(h.line[2], "retry 77");
	has(h.line[3], "Last minute  in -  delivered -");
	for (unsigned width = 1; width < 600; width++) {
		top_head_format(s, &t, width, &h);
		for (unsigned i = 0; i < TOP_HEAD_LINES; i++)
			ck_assert_uint_le(strlen(h.line[i]), width);
	}
	json_decref(s);
}
END_TEST

static void
add(struct top_rates *t, int64_t s, long long in, long long delivered)
{
	json_t *o = status_make(in, delivered);

	top_rates_add(t, (struct mono){ s * US_PER_SEC }, o);
	json_decref(o);
}

START_TEST(test_rates_are_of_the_last_minute)
{
	struct top_rates t = { .n = 0 };
	json_t *s = status_make(0, 0);
	struct top_head h;

	add(&t, 1000, 50, 7);
	ck_assert_double_eq(top_rate(&t, TOP_IN_RCPTS), 0);
	add(&t, 1002, 60, 9);
	ck_assert_double_eq(top_rate(&t, TOP_IN_RCPTS), 5);
	ck_assert_double_eq(top_rate(&t, TOP_DELIVERED), 1);
	top_head_format(s, &t, 80, &h);
	has(h.line[3], "in 5.0/s  delivered 1.0/s  deferred 0/s");
	has(h.line[3], "(of 2 s)");
	for (int i = 4; i <= 200; i += 2)
		add(&t, 1000 + i, 60 + i * 100, 9);
	ck_assert_double_eq(top_rate(&t, TOP_IN_RCPTS), 100);
	ck_assert_double_eq(top_rate(&t, TOP_DELIVERED), 0);
	ck_assert_double_eq(top_rates_span(&t), 60);
	json_decref(s);
}
END_TEST

START_TEST(test_rates_begin_anew_and_have_room)
{
	struct top_rates t = { .n = 0 };

	add(&t, 1, 500, 7);
	add(&t, 3, 600, 8);
	add(&t, 5, 3, 0); /* started again */
	ck_assert_uint_eq(t.n, 1);
	ck_assert_double_eq(top_rates_span(&t), 0);
	for (int i = 0; i < 1000; i++) {
		json_t *o = status_make(3 + i, 0);

		/* four answers a second */
		top_rates_add(&t, (struct mono){ 5 * US_PER_SEC +
		    i * (US_PER_SEC / 4) }, o);
		json_decref(o);
		ck_assert_uint_le(t.n, TOP_SAMPLES);
	}
	ck_assert_double_ge(top_rates_span(&t), 59);
	ck_assert_double_le(top_rates_span(&t), 62);
	ck_assert_double_eq_tol(top_rate(&t, TOP_IN_RCPTS), 4, 0.1);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("top");
	TCase *tc = tcase_create("lines");
	SRunner *sr;
	int failed;

	(void)setenv("TZ", "UTC", 1);
	tcase_add_test(tc, test_table_at_80_has_all_but_the_least);
	tcase_add_test(tc, test_table_at_200_has_all);
	tcase_add_test(tc, test_table_fits_every_width);
	tcase_add_test(tc, test_table_does_not_jump);
	tcase_add_test(tc, test_sorts_have_names_and_columns);
	tcase_add_test(tc, test_head_fits_and_tells);
	tcase_add_test(tc, test_rates_are_of_the_last_minute);
	tcase_add_test(tc, test_rates_begin_anew_and_have_room);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
