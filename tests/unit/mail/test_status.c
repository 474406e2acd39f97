/* SPDX-License-Identifier: ISC */
#include <check.h>
#include <stdlib.h>

#include "common/mail/status.h"

static void
want_sv(struct sv got, const char *want, const char *what)
{
	ck_assert_msg(sv_eq(got, sv_from(want)), "%s: got \"%.*s\" want \"%s\"",
	    what, SV_FMT(got), want);
}

START_TEST(test_status_syntax_checked)
{
	static const struct {
		const char *input;
		bool want;
	} cases[] = {
		{ "2.0.0", true }, { "4.4.1", true }, { "5.123.999", true },
		{ "", false }, { "5", false }, { "5.1", false },
		{ "5.1.", false }, { "5..1", false }, { "3.1.1", false },
		{ "5.1.1000", false }, { "5.1.1.1", false },
		{ "55.1.1", false }, { "5.1.1 ", false }, { "5.0001.1", false },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_msg(status_is_valid(sv_from(cases[i].input)) ==
		    cases[i].want, "%s", cases[i].input);
}
END_TEST

START_TEST(test_words_known_and_unknown_found)
{
	want_sv(status_words(SV("2.0.0")), "success", "2.0.0");
	want_sv(status_words(SV("5.1.1")), "bad destination mailbox address",
	    "5.1.1");
	want_sv(status_words(SV("4.4.1")), "no answer from host", "4.4.1");
	want_sv(status_words(SV("5.7.99")),
	    "other or undefined security status", "of the subject");
	want_sv(status_words(SV("5.17.9")), "undefined status", "no subject");
	want_sv(status_words(SV("x")), "undefined status", "malformed");
	want_sv(status_words(SV("")), "undefined status", "empty");
}
END_TEST

START_TEST(test_category_table_matches)
{
	static const struct {
		const char *status, *text, *want;
	} cases[] = {
		{ "5.1.1", "550 5.1.1 x", "bad-mailbox" },
		{ "5.1.2", "", "bad-domain" },
		{ "5.1.8", "", "invalid-sender" },
		{ "5.2.1", "", "inactive-mailbox" },
		{ "4.2.2", "", "quota-issues" },
		{ "5.3.5", "", "bad-configuration" },
		{ "4.4.1", "", "no-answer-from-host" },
		{ "4.4.2", "", "bad-connection" },
		{ "5.4.6", "", "routing-errors" },
		{ "5.4.7", "", "message-expired" },
		{ "5.5.3", "", "policy-related" },
		{ "5.5.9", "", "protocol-errors" },
		{ "5.6.42", "", "content-related" },
		{ "5.7.1", "550 5.7.1 go away", "policy-related" },
		{ "5.7.1", "550 5.7.1 looks like SPAM", "spam-related" },
		{ "5.7.1", "Relaying denied", "relaying-issues" },
		{ "5.7.7", "", "content-related" },
		{ "5.0.0", "550 User unknown", "bad-mailbox" },
		{ "5.0.0", "552 over quota", "quota-issues" },
		{ "5.0.0", "550 no", "other" },
		{ "", "", "other" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		want_sv(status_category(sv_from(cases[i].status),
		    sv_from(cases[i].text)), cases[i].want, cases[i].status);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("status");
	TCase *t = tcase_create("status");
	SRunner *r;
	int failed;

	tcase_add_test(t, test_status_syntax_checked);
	tcase_add_test(t, test_words_known_and_unknown_found);
	tcase_add_test(t, test_category_table_matches);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
