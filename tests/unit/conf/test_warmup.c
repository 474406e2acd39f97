/* SPDX-License-Identifier: ISC */
/* <warmup>: plans, dates, mistakes. */
#include <check.h>
#include <stdlib.h>

#include "common/conf/conf.h"
#include "tests/unit/conf/mistakes.h"

#define VMTAS "<virtual-mta v>\n</virtual-mta>\n" \
	"<virtual-mta w>\n</virtual-mta>\n"
#define WARMUP(rows) VMTAS "<warmup g>\nvirtual-mta v\n" rows "</warmup>\n"

START_TEST(test_warmup_has_values)
{
	struct conf *c = must_parse("domain-macro mail a.test,*.b.test\n"
	    WARMUP("virtual-mta w\ndomain $mail\ndomain c.test\n"
	    "start-date 2026-03-01\nday-list 50,100/d,400\n"
	    "time-zone -05:30\noverflow hold\nmax-deferral-percent 10\n"
	    "deferral-sample 20\non-deferral step-back\n"));
	const struct conf_warmup *w = conf_warmup_find(c, SV("G"));

	ck_assert_int_eq(conf_nwarmups(c), 1);
	ck_assert_ptr_eq(w, conf_warmup(c, 0));
	ck_assert_ptr_null(conf_warmup_find(c, SV("v")));
	ck_assert_int_eq(w->virtual_mta.n, 2);
	ck_assert_int_eq(w->nplan, 3);
	ck_assert_int_eq(w->plan[0], 50);
	ck_assert_int_eq(w->plan[2], 400);
	ck_assert_int_eq(w->start_date, 20513);
	ck_assert_int_eq(w->time_zone, -330);
	ck_assert_int_eq(w->overflow.kind, CONF_OVERFLOW_HOLD);
	ck_assert_int_eq(w->max_deferral_percent, 10);
	ck_assert_int_eq(w->deferral_sample, 20);
	ck_assert_int_eq(w->on_deferral, CONF_DEFERRAL_STEP_BACK);
	ck_assert(conf_warmup_has(w, SV("A.test")));
	ck_assert(conf_warmup_has(w, SV("x.b.test")));
	ck_assert(!conf_warmup_has(w, SV("b.test")));
	ck_assert(conf_warmup_has(w, SV("c.test")));
	ck_assert(!conf_warmup_has(w, SV("d.test")));
	conf_free(&c);
}
END_TEST

START_TEST(test_warmup_has_defaults)
{
	struct conf *c = must_parse(WARMUP("day-list 5\n"));
	const struct conf_warmup *w = conf_warmup(c, 0);

	ck_assert_int_eq(w->start_date, 0);
	ck_assert_int_eq(w->time_zone, 0);
	ck_assert_int_eq(w->overflow.kind, CONF_OVERFLOW_WAIT);
	ck_assert_int_eq(w->max_deferral_percent, 0);
	ck_assert_int_eq(w->deferral_sample, 50);
	ck_assert_int_eq(w->on_deferral, CONF_DEFERRAL_HOLD);
	ck_assert(conf_warmup_has(w, SV("any.test")));
	conf_free(&c);
}
END_TEST

START_TEST(test_warmup_curves)
{
	static const struct {
		const char *text;
		uint32_t n, first, second, middle, last;
	} t[] = {
		{ WARMUP("from 50\nto 450\ndays 5\ncurve linear\n"), 5, 50, 150,
		    250, 450 },
		{ WARMUP("from 50\nto 800\ndays 5\ncurve exponential\n"), 5, 50,
		    100, 200, 800 },
		{ WARMUP("from 50\nto 800\ndays 5\n"), 5, 50, 100, 200, 800 },
		{ WARMUP("from 7\nto 7\ndays 2\n"), 2, 7, 7, 7, 7 },
		{ WARMUP("from 1\nto 1000000000\ndays 2\n"), 2, 1,
		    1000000000, 1000000000, 1000000000 },
		/* a factor of 1.1914 */
		{ WARMUP("from 100\nto 100000\ndays 45\n"), 45, 100, 117,
		    3162, 100000 },
	};

	for (size_t i = 0; i < N_OF(t); i++) {
		struct conf *c = must_parse(t[i].text);
		const struct conf_warmup *w = conf_warmup(c, 0);

		ck_assert_int_eq(w->nplan, t[i].n);
		ck_assert_int_eq(w->plan[0], t[i].first);
		ck_assert_int_eq(w->plan[1], t[i].second);
		ck_assert_int_eq(w->plan[t[i].n / 2], t[i].middle);
		ck_assert_int_eq(w->plan[t[i].n - 1], t[i].last);
		for (uint32_t k = 1; k < w->nplan; k++)
			ck_assert_int_ge(w->plan[k], w->plan[k - 1]);
		conf_free(&c);
	}
}
END_TEST

START_TEST(test_warmup_survives_the_wire)
{
	struct conf *c = must_parse(WARMUP("overflow virtual-mta w\n"
	    "from 5\nto 50\ndays 9\n")), *d;
	struct buf b;

	buf_init(&b, CONF_ENCODED_MAX);
	ck_assert_int_eq(conf_encode(c, &b), 0);
	conf_free(&c);
	d = conf_decode(buf_sv(&b));
	ck_assert_ptr_nonnull(d);
	ck_assert_int_eq(conf_warmup(d, 0)->nplan, 9);
	ck_assert_int_eq(conf_warmup(d, 0)->plan[8], 50);
	ck_assert(sv_eq(conf_warmup(d, 0)->overflow.name, SV("w")));
	conf_free(&d);
	buf_fini(&b);
}
END_TEST

START_TEST(test_warmup_mistakes)
{
	static const struct mistake t[] = {
		{ WARMUP(""), "t:5: <warmup g> needs a day-list, or from, to "
		    "and days: from is missing" },
		{ WARMUP("from 5\ndays 3\n"), "t:5: <warmup g> needs a "
		    "day-list, or from, to and days: to is missing" },
		{ WARMUP("from 5\nto 9\n"), "t:5: <warmup g> needs a "
		    "day-list, or from, to and days: days is missing" },
		{ WARMUP("from 5\nto 4\ndays 3\n"),
		    "t:8: to: 4 is less than from, 5" },
		{ WARMUP("from 0\nto 4\ndays 3\n"),
		    "t:7: from: must be 1 at least" },
		{ WARMUP("from 1\nto 4\ndays 1\n"),
		    "t:9: days: a warmup has 2 days at least" },
		{ WARMUP("day-list 5\nfrom 9\n"), "t:8: from: there is a "
		    "day-list in line 7: one of them is too much" },
		{ WARMUP("day-list 5\ncurve linear\n"), "t:8: curve: there is "
		    "a day-list in line 7: one of them is too much" },
		{ WARMUP("day-list 5\nstart-date 2026-02-29\n"),
		    "t:8: start-date: \"2026-02-29\" is not a date such as "
		    "2026-01-31" },
		{ WARMUP("day-list 5\nstart-date 1.3.2026\n"),
		    "t:8: start-date: \"1.3.2026\" is not a date such as "
		    "2026-01-31" },
		{ WARMUP("day-list 5\ntime-zone CET\n"),
		    "t:8: time-zone: \"CET\" is not a difference to UTC such "
		    "as +02:00" },
		{ WARMUP("day-list 5\noverflow drop\n"), "t:8: overflow: "
		    "\"drop\" is not wait, hold, or virtual-mta NAME" },
		{ WARMUP("day-list 5\noverflow virtual-mta\n"),
		    "t:8: overflow: \"virtual-mta\" names no VMTA" },
		{ WARMUP("day-list 5\noverflow virtual-mta x\n"),
		    "t:8: overflow: there is no <virtual-mta x> or "
		    "<virtual-mta-pool x>" },
		{ WARMUP("day-list 5\noverflow virtual-mta V\n"),
		    "t:8: overflow: \"V\" is one of the VMTAs that are "
		    "warmed" },
		{ "<virtual-mta-pool p>\nvirtual-mta w\nvirtual-mta V\n"
		  "</virtual-mta-pool>\n"
		  WARMUP("day-list 5\noverflow virtual-mta p\n"),
		    "t:12: overflow: \"V\" is one of the VMTAs that are "
		    "warmed" },
		{ WARMUP("day-list 5\ndomain $no\n"),
		    "t:8: \"$no\" uses a $macro that is defined nowhere" },
		{ WARMUP("day-list 5\nvirtual-mta V\n"),
		    "t:5: <warmup g> has the virtual-mta \"V\" twice" },
		{ WARMUP("day-list 5\nvirtual-mta x\n"),
		    "t:8: virtual-mta: there is no <virtual-mta x>" },
		{ VMTAS "<warmup g>\nday-list 5\n</warmup>\n",
		    "t:5: <warmup g> needs a virtual-mta" },
		{ WARMUP("day-list 5\n") "<warmup G>\n</warmup>\n",
		    "t:9: there is a <warmup G> already" },
	};

	ck_mistakes(t, N_OF(t));
}
END_TEST

START_TEST(test_warmup_dates_and_zones)
{
	static const struct { const char *text; int want; } dates[] = {
		{ "2000-01-01", 10957 }, { "2024-02-29", 19782 },
		{ "2026-01-31", 20484 }, { "2999-12-31", 376199 } };
	static const struct { const char *text; int want; } zones[] = {
		{ "0", 0 }, { "+2", 120 }, { "+02:00", 120 }, { "-0530", -330 },
		{ "+14:00", 840 }, { "-00:30", -30 } };
	static const char *const bad_dates[] = { "2023-02-29", "2026-00-01",
		"2026-13-01", "2026-04-31", "1999-01-01", "2026-1-31",
		"2026-01-31x", "2026-01", "-026-01-31" };
	static const char *const bad_zones[] = { "", "+", "+15", "+02:60",
		"+2:0", "02:00:00", "+123" };
	uint32_t date;
	int32_t zone;

	for (size_t i = 0; i < N_OF(dates); i++) {
		ck_assert_ptr_null(conf_parse_date(sv_from(dates[i].text),
		    &date));
		ck_assert_int_eq(date, dates[i].want);
	}
	for (size_t i = 0; i < N_OF(zones); i++) {
		ck_assert_ptr_null(conf_parse_zone(sv_from(zones[i].text),
		    &zone));
		ck_assert_int_eq(zone, zones[i].want);
	}
	for (size_t i = 0; i < N_OF(bad_dates); i++)
		ck_assert_msg(conf_parse_date(sv_from(bad_dates[i]), &date) !=
		    NULL, "accepted: %s", bad_dates[i]);
	for (size_t i = 0; i < N_OF(bad_zones); i++)
		ck_assert_msg(conf_parse_zone(sv_from(bad_zones[i]), &zone) !=
		    NULL, "accepted: %s", bad_zones[i]);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("conf warmup");
	TCase *tc = tcase_create("warmup");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, test_warmup_has_values);
	tcase_add_test(tc, test_warmup_has_defaults);
	tcase_add_test(tc, test_warmup_curves);
	tcase_add_test(tc, test_warmup_survives_the_wire);
	tcase_add_test(tc, test_warmup_mistakes);
	tcase_add_test(tc, test_warmup_dates_and_zones);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
