/* SPDX-License-Identifier: ISC */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "common/mail/ctl_headers.h"

#define DROP_VMTA (1u << CTL_VMTA)
#define DROP_ALL (DROP_VMTA | 1u << CTL_JOB | 1u << CTL_ENVID)

static const struct {
	const char *in;
	unsigned drop;
	const char *want, *vmta, *job;
} rows[] = {
	{ "Subject: x\r\n\r\nb", DROP_ALL, "Subject: x\r\n\r\nb", "", "" },
	{ "X-Virtual-MTA: v1\r\nSubject: x\r\n\r\nb", DROP_ALL,
	    "Subject: x\r\n\r\nb", "v1", "" },
	{ "Subject: x\r\nx-virtual-mta:v1 \r\n\r\nb", DROP_ALL,
	    "Subject: x\r\n\r\nb", "v1", "" },
	{ "Subject: x\r\nx-virtual-mta: v1\r\n\r\nb", 0,
	    "Subject: x\r\nx-virtual-mta: v1\r\n\r\nb", "v1", "" },
	/* the first one counts, all go */
	{ "x-job: a\r\nA: b\r\nX-JOB: c\r\nC: d\r\n\r\n", DROP_ALL,
	    "A: b\r\nC: d\r\n\r\n", "", "a" },
	{ "x-job:\r\n\ta\r\n b\r\nA: b\r\n\r\n", DROP_ALL, "A: b\r\n\r\n", "",
	    "a b" },
	{ "x-job: a\x01\x1b[2Jb\r\nA: b\r\n\r\n", DROP_ALL, "A: b\r\n\r\n",
	    "", "a  [2Jb" },
	/* not in the body, not in another name, not in a continuation */
	{ "A: b\r\n\r\nx-job: a\r\nx\r\n", DROP_ALL,
	    "A: b\r\n\r\nx-job: a\r\nx\r\n", "", "" },
	{ "xx-job: a\r\nx-job2: b\r\nA: c\r\n\tx-job: d\r\n\r\n", DROP_ALL,
	    "xx-job: a\r\nx-job2: b\r\nA: c\r\n\tx-job: d\r\n\r\n", "", "" },
	{ "no colon\r\nx-job: a\r\n\r\n", DROP_ALL, "no colon\r\n\r\n", "",
	    "a" },
	/* incomplete: what follows may be a continuation */
	{ "x-job: a\r\n", DROP_ALL, "x-job: a\r\n", "", "" },
	{ "x-job: a", DROP_ALL, "x-job: a", "", "" },
	{ "", DROP_ALL, "", "", "" },
	{ "\r\nx-job: a\r\n\r\n", DROP_ALL, "\r\nx-job: a\r\n\r\n", "", "" },
};

START_TEST(test_ctl_table_taken_and_dropped)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t n = strlen(rows[i].in);
		unsigned char *mem = malloc(n + 1);
		struct ctl_headers h;

		memcpy(mem, rows[i].in, n);
		n = ctl_headers_take(mem, n,
		    &(struct ctl_rules){ .drop = rows[i].drop }, &h);
		ck_assert_msg(sv_eq(sv_make(mem, n), sv_from(rows[i].want)),
		    "row %zu: %.*s", i, (int)n, mem);
		ck_assert_str_eq(h.value[CTL_VMTA], rows[i].vmta);
		ck_assert_str_eq(h.value[CTL_JOB], rows[i].job);
		free(mem);
	}
}
END_TEST

START_TEST(test_ctl_long_value_cut)
{
	unsigned char mem[1000] = "x-job: ";
	struct ctl_headers h;

	memset(mem + 7, 'y', 500);
	memcpy(mem + 507, "\r\n\r\n", 4);
	ck_assert_uint_eq(ctl_headers_take(mem, 511,
	    &(struct ctl_rules){ .drop = DROP_ALL }, &h), 2);
	ck_assert_uint_eq(strlen(h.value[CTL_JOB]), CTL_VALUE_MAX);
}
END_TEST

START_TEST(test_ctl_other_names_and_removal)
{
	unsigned char mem[] = "Source: v1\r\nx-virtual-mta: v2\r\n"
	    "Campaign: c 1\r\nX-A: 1\r\n folded\r\nx-abc: 2\r\nX-B: 3\r\n"
	    "\r\nX-A: body\r\n";
	const struct ctl_rules rules = { .vmta = SV("source"),
		.job = SV("campaign"), .remove = SV("x-a, x-b"),
		.drop = DROP_ALL };
	struct ctl_headers h;
	size_t n = ctl_headers_take(mem, sizeof(mem) - 1, &rules, &h);

	ck_assert(sv_eq(sv_make(mem, n), SV("x-virtual-mta: v2\r\n"
	    "x-abc: 2\r\n\r\nX-A: body\r\n")));
	ck_assert_str_eq(h.value[CTL_VMTA], "v1");
	ck_assert_str_eq(h.value[CTL_JOB], "c 1");
}
END_TEST

START_TEST(test_ctl_date_and_message_id_seen)
{
	unsigned char mem[] = "DATE: x\r\nMessage-Id : y\r\n\r\n";
	struct ctl_headers h;

	ctl_headers_take(mem, sizeof(mem) - 1, &(struct ctl_rules){ .drop = 0 },
	    &h);
	ck_assert(h.seen[CTL_DATE]);
	ck_assert(h.seen[CTL_MESSAGE_ID]);
	ck_assert(!h.seen[CTL_JOB]);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("ctl_headers");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_test(t, test_ctl_table_taken_and_dropped);
	tcase_add_test(t, test_ctl_long_value_cut);
	tcase_add_test(t, test_ctl_other_names_and_removal);
	tcase_add_test(t, test_ctl_date_and_message_id_seen);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
