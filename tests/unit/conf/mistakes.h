/* SPDX-License-Identifier: ISC */
/* For tests of the configuration: texts that must load, texts that must not and
 * what is said about them, and a suite's run. */
#ifndef TESTS_UNIT_CONF_MISTAKES_H
#define TESTS_UNIT_CONF_MISTAKES_H

#include <check.h>

#include "common/conf/conf.h"

#define N_OF(a) (sizeof(a) / sizeof((a)[0]))

/* A configuration and the first thing that is wrong with it. */
struct mistake {
	const char *text, *want;
};

static inline struct conf *
must_parse(const char *text)
{
	struct conf_report rep;
	struct conf *c;

	conf_report_init(&rep);
	c = conf_parse("t", sv_from(text), &rep);
	ck_assert_msg(c != NULL, "%s",
	    rep.nerrors > 0 ? rep.errors[0] : "no error");
	conf_report_fini(&rep);
	return c;
}

static inline void
ck_mistakes(const struct mistake *m, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct conf_report rep;

		conf_report_init(&rep);
		ck_assert_msg(conf_parse("t", sv_from(m[i].text), &rep) ==
		    NULL, "accepted: %s", m[i].text);
		ck_assert_int_ge(rep.nerrors, 1);
		ck_assert_str_eq(rep.errors[0], m[i].want);
		conf_report_fini(&rep);
	}
}

/* Runs it; what main() returns. */
static inline int
suite_run(Suite *s)
{
	SRunner *sr = srunner_create(s);
	int failed;

	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}

#endif
