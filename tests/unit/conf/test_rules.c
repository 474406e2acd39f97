/* SPDX-License-Identifier: ISC */
/* Lists of rules: lines of which the first that matches decides. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/conf/conf.h"
#include "common/conf/store.h"
#include "tests/unit/conf/mistakes.h"

/* ---- <smtp-pattern-list> ---- */

#define REPLIES(lines) "<smtp-pattern-list l>\n" lines \
    "\n</smtp-pattern-list>\n"

static const char replies[] = REPLIES(
    "# a comment\n"
    "reply /^421 .*rate \"limit\"/ mode=backoff,for=2h\n"
    "sample \"421 4.7.0 \"rate\" and rate \"limit\"\"\n"
    "sample \"421 RATE \"LIMIT\"\"\n"
    "reply /a\\/ b <x>/ skip-mx, disable-source-ip,reenable-after=1d\n"
    "reply /^4../ defer-queue=5m,set-max-smtp-out=2,set-max-msg-rate=10/m,"
    "for=30m,after=3/1h\n"
    "sample \"451 x\"\n"
    "reply /^452/ retry-after=20m,after=5/h\n"
    "reply /^55/ bounce-queue\nreply /^550/ defer-queue\n"
    "reply /^45/ bounce-rcpt\nreply /^2/ mode=normal");

START_TEST(test_replies_have_actions)
{
	struct conf *c = must_parse(replies);
	const struct conf_reply_list *l = conf_reply_list_find(c, SV("L"));

	ck_assert_int_eq(conf_nreply_lists(c), 1);
	ck_assert_ptr_eq(l, conf_reply_list(c, 0));
	ck_assert_ptr_null(conf_reply_list_find(c, SV("m")));
	ck_assert_int_eq(l->n, 8);
	ck_assert_int_eq(l->reply, 8);
	ck_assert_int_eq(l->sample, 3);
	ck_assert_uint_eq(l->v[0].actions, CONF_ACT_BACKOFF);
	ck_assert_int_eq(l->v[0].for_ms, 7200000);
	ck_assert_int_eq(l->v[0].after_n, 1);
	ck_assert_int_eq(l->v[0].line, 3);
	ck_assert(sv_eq(l->v[0].file, SV("t")));
	ck_assert(sv_eq(l->v[1].regex, SV("/a\\/ b <x>/")));
	ck_assert_uint_eq(l->v[1].actions, CONF_ACT_SKIP_MX |
	    CONF_ACT_DISABLE_SOURCE_IP);
	ck_assert_int_eq(l->v[1].reenable_after_ms, 86400000);
	ck_assert_uint_eq(l->v[2].actions, CONF_ACT_DEFER_QUEUE |
	    CONF_ACT_MAX_SMTP_OUT | CONF_ACT_MAX_MSG_RATE);
	ck_assert_int_eq(l->v[2].defer_ms, 300000);
	ck_assert_int_eq(l->v[2].max_smtp_out, 2);
	ck_assert_int_eq(l->v[2].max_msg_rate.n, 10);
	ck_assert_int_eq(l->v[2].for_ms, 1800000);
	ck_assert_int_eq(l->v[2].after_n, 3);
	ck_assert_int_eq(l->v[2].after_ms, 3600000);
	ck_assert_uint_eq(l->v[3].actions, CONF_ACT_RETRY_AFTER);
	ck_assert_int_eq(l->v[3].retry_after_ms, 1200000);
	ck_assert_int_eq(l->v[3].after_ms, 3600000);
	ck_assert_uint_eq(l->v[4].actions, CONF_ACT_BOUNCE_QUEUE);
	ck_assert_uint_eq(l->v[5].actions, CONF_ACT_DEFER_QUEUE);
	ck_assert_int_eq(l->v[5].defer_ms, 0);
	ck_assert_uint_eq(l->v[6].actions, CONF_ACT_BOUNCE_RCPT);
	ck_assert_uint_eq(l->v[7].actions, CONF_ACT_NORMAL);
	conf_free(&c);
}
END_TEST

START_TEST(test_replies_first_match_decides)
{
	struct conf *c = must_parse(replies);
	const struct conf_reply_list *l = conf_reply_list(c, 0);
	static const struct {
		const char *text;
		int want; /* index, -1: none */
	} t[] = { { "421 Rate \"Limit\"", 0 }, { "x A/ B <X>", 1 },
		{ "452 full", 2 }, { "550 no", 4 }, { "250 ok", 7 },
		{ "354 go", -1 }, { "", -1 } };

	for (size_t i = 0; i < N_OF(t); i++) {
		const struct conf_reply *r = conf_reply_find(c, l,
		    sv_from(t[i].text));

		ck_assert_msg(r == (t[i].want < 0 ? NULL :
		    &l->v[t[i].want]), "%s", t[i].text);
	}
	conf_free(&c);
}
END_TEST

START_TEST(test_replies_hard_expression_does_not_match)
{
	struct conf *c = must_parse(REPLIES("reply /^(a+)+$/ mode=backoff\n"
	    "reply /^(?:a|b)*[cd]/ skip-mx"));
	const struct conf_reply_list *l = conf_reply_list(c, 0);
	static char text[4500];

	memset(text, 'a', sizeof(text));
	text[300] = '!';
	ck_assert_int_eq(conf_regex_match(c, l->v[0].re, sv_make(text, 301)),
	    CONF_MATCH_TOO_HARD);
	ck_assert_ptr_null(conf_reply_find(c, l, sv_make(text, 301)));
	ck_assert_int_eq(conf_regex_match(c, l->v[0].re, sv_make(text, 300)),
	    CONF_MATCH_YES);
	/* Too deep, long before it takes too many steps. */
	text[300] = 'a';
	ck_assert_int_eq(conf_regex_match(c, l->v[1].re, sv_make(text,
	    sizeof(text))), CONF_MATCH_TOO_HARD);
	conf_free(&c);
}
END_TEST

START_TEST(test_replies_mistakes)
{
	static const struct mistake t[] = {
		{ REPLIES("reply"), "t:2: reply: \"\" is not a regular "
		    "expression between slashes" },
		{ REPLIES("reply x mode=normal"), "t:2: reply: \"x "
		    "mode=normal\" is not a regular expression between "
		    "slashes" },
		{ REPLIES("reply /x"), "t:2: reply: \"/x\" is not a regular "
		    "expression between slashes" },
		{ REPLIES("reply /x\\/ mode=normal"), "t:2: reply: \"/x\\/ "
		    "mode=normal\" is not a regular expression between "
		    "slashes" },
		{ REPLIES("reply /(x/ mode=normal"), "t:2: reply: \"/(x/ "
		    "mode=normal\" is not a regular expression that PCRE2 "
		    "understands" },
		{ REPLIES("reply \"\""), "t:2: reply: \"\"\"\" is not a "
		    "regular expression between slashes" },
		{ REPLIES("reply /x/"), "t:2: reply: \"/x/\" has no action" },
		{ REPLIES("reply /x/ after=3/h"), "t:2: reply: \"/x/ "
		    "after=3/h\" has no action" },
		{ REPLIES("reply /x/ mode=bakoff"), "t:2: reply: \"/x/ "
		    "mode=bakoff\" has an action that is none of mode=normal, "
		    "mode=backoff, skip-mx, bounce-queue, bounce-rcpt, "
		    "disable-source-ip, reenable-after=T, defer-queue, "
		    "defer-queue=T, set-max-smtp-out=N, set-max-msg-rate=R, "
		    "retry-after=T, for=T, after=N/T" },
		{ REPLIES("reply /x/ skip-mx,,"), "t:2: reply: \"/x/ "
		    "skip-mx,,\" has an action that is none of mode=normal, "
		    "mode=backoff, skip-mx, bounce-queue, bounce-rcpt, "
		    "disable-source-ip, reenable-after=T, defer-queue, "
		    "defer-queue=T, set-max-smtp-out=N, set-max-msg-rate=R, "
		    "retry-after=T, for=T, after=N/T" },
		{ REPLIES("reply /x/ retry-after"), "t:2: reply: \"/x/ "
		    "retry-after\" has an action without its value" },
		{ REPLIES("reply /x/ skip-mx,SKIP-MX"), "t:2: reply: \"/x/ "
		    "skip-mx,SKIP-MX\" has an action twice" },
		{ REPLIES("reply /x/ defer-queue=x"), "t:2: reply: \"/x/ "
		    "defer-queue=x\" has an action whose value is not a time "
		    "such as 30m" },
		{ REPLIES("reply /x/ retry-after=0s"), "t:2: reply: \"/x/ "
		    "retry-after=0s\" has an action whose value is not a time "
		    "such as 30m" },
		{ REPLIES("reply /x/ set-max-smtp-out=0"), "t:2: reply: "
		    "\"/x/ set-max-smtp-out=0\" has a set-max-smtp-out that "
		    "is not a number of 1 to 100000" },
		{ REPLIES("reply /x/ set-max-msg-rate=unlimited"), "t:2: "
		    "reply: \"/x/ set-max-msg-rate=unlimited\" has a "
		    "set-max-msg-rate that is not a rate such as 10/m" },
		{ REPLIES("reply /x/ skip-mx,after=3"), "t:2: reply: \"/x/ "
		    "skip-mx,after=3\" has an after= that is not a number and "
		    "a time such as 3/1h" },
		{ REPLIES("reply /x/ skip-mx,after=0/1h"), "t:2: reply: \"/x/ "
		    "skip-mx,after=0/1h\" has an after= that is not a number "
		    "and a time such as 3/1h" },
		{ REPLIES("reply /x/ skip-mx,after=3/x"), "t:2: reply: \"/x/ "
		    "skip-mx,after=3/x\" has an after= that is not a number "
		    "and a time such as 3/1h" },
		{ REPLIES("reply /x/ skip-mx,reenable-after=1h"), "t:2: "
		    "reply: \"/x/ skip-mx,reenable-after=1h\" has "
		    "reenable-after, but not disable-source-ip" },
		{ REPLIES("reply /x/ skip-mx,for=1h"), "t:2: reply: \"/x/ "
		    "skip-mx,for=1h\" has for, but neither mode=backoff, "
		    "set-max-smtp-out nor set-max-msg-rate" },
		{ REPLIES("sample \"x\""), "t:2: sample: there is no reply "
		    "line before it" },
		{ REPLIES("reply /x/ skip-mx\nsample x"), "t:3: sample: "
		    "\"x\" is not a text in quotes" },
		{ REPLIES("reply /x/ skip-mx\nsample \"y\""), "t:3: sample: "
		    "the reply of line 2 does not match this text" },
		{ REPLIES("reply /y/ skip-mx\nreply /x/ skip-mx\n"
		    "sample \"xy\""), "t:4: sample: the reply of line 2 comes "
		    "first and matches this text" },
		{ REPLIES("reply /^(a+)+$/ skip-mx\nsample "
		    "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\""), "t:3: sample: "
		    "the reply of line 2 takes too many steps to match this "
		    "text" },
		{ REPLIES("replay /x/ y"), "t:2: there is no directive "
		    "\"replay\": did you mean \"reply\"?" },
		{ "reply /x/ skip-mx\n", "t:1: \"reply\" cannot stand outside "
		    "of all blocks: it belongs into a <smtp-pattern-list> "
		    "block" },
		{ "<domain *>\nsmtp-pattern-list x\n</domain>\n", "t:2: "
		    "smtp-pattern-list: there is no <smtp-pattern-list x>" },
		{ "<smtp-pattern-list>\n</smtp-pattern-list>\n", "t:1: "
		    "<smtp-pattern-list>: \"\" is empty" },
		{ REPLIES("") REPLIES(""), "t:4: there is a "
		    "<smtp-pattern-list l> already" },
	};

	ck_mistakes(t, N_OF(t));
}
END_TEST

START_TEST(test_replies_conflicts)
{
	static const char *const t[][2] = {
		{ "mode=normal", "mode=backoff" },
		{ "bounce-queue", "defer-queue" },
		{ "bounce-queue", "skip-mx" },
		{ "bounce-queue", "bounce-rcpt" },
		{ "defer-queue", "skip-mx" },
	};
	char text[200], want[200];

	for (size_t i = 0; i < N_OF(t); i++) {
		struct mistake m = { text, want };

		(void)snprintf(text, sizeof(text), REPLIES("reply /x/ %s,%s"),
		    t[i][1], t[i][0]);
		(void)snprintf(want, sizeof(want), "t:2: reply: \"/x/ %s,%s\" "
		    "has both %s and %s, which exclude each other", t[i][1],
		    t[i][0], t[i][0], t[i][1]);
		ck_mistakes(&m, 1);
	}
}
END_TEST

START_TEST(test_replies_conflicts_of_values)
{
	static const struct mistake t[] = {
		{ REPLIES("reply /x/ mode=normal,set-max-smtp-out=3"), "t:2: "
		    "reply: \"/x/ mode=normal,set-max-smtp-out=3\" has both "
		    "mode=normal and set-max-smtp-out, which exclude each "
		    "other" },
		{ REPLIES("reply /x/ set-max-msg-rate=3/h,mode=normal"),
		    "t:2: reply: \"/x/ set-max-msg-rate=3/h,mode=normal\" has "
		    "both mode=normal and set-max-msg-rate, which exclude "
		    "each other" },
		{ REPLIES("reply /x/ retry-after=1h,bounce-rcpt"), "t:2: "
		    "reply: \"/x/ retry-after=1h,bounce-rcpt\" has both "
		    "bounce-rcpt and retry-after, which exclude each other" },
		{ REPLIES("reply /x/ retry-after=1h,bounce-queue"), "t:2: "
		    "reply: \"/x/ retry-after=1h,bounce-queue\" has both "
		    "bounce-queue and retry-after, which exclude each other" },
	};

	ck_mistakes(t, N_OF(t));
}
END_TEST

/* n times the line, in a block of its own. */
static void
ck_many(const char *tag, const char *line, unsigned n, const char *want)
{
	struct conf_report rep;
	struct conf *c;
	struct buf b;

	buf_init(&b, 1 << 24);
	ck_assert_int_eq(buf_addf(&b, "<%s>\n", tag), 0);
	for (unsigned i = 0; i < n; i++)
		ck_assert_int_eq(buf_addf(&b, "%s\n", line), 0);
	ck_assert_int_eq(buf_addf(&b, "</%.*s>\n", (int)strcspn(tag, " "),
	    tag), 0);
	conf_report_init(&rep);
	c = conf_parse("t", buf_sv(&b), &rep);
	if (want == NULL)
		ck_assert_ptr_nonnull(c);
	else
		ck_assert_str_eq(rep.nerrors == 0 ? "" : rep.errors[0], want);
	conf_free(&c);
	conf_report_fini(&rep);
	buf_fini(&b);
}

START_TEST(test_rules_are_limited)
{
	char text[CONF_REGEX_MAX + 20];
	struct conf_reply r;

	ck_many("smtp-pattern-list l", "reply /x/ skip-mx", CONF_RULES_MAX,
	    NULL);
	ck_many("smtp-pattern-list l", "reply /x/ skip-mx",
	    CONF_RULES_MAX + 1, "t:1: <smtp-pattern-list> has more than 1000 "
	    "lines");
	memset(text, 'x', sizeof(text));
	text[0] = text[CONF_REGEX_MAX - 1] = '/';
	ck_assert_ptr_null(conf_check_regex(sv_make(text, CONF_REGEX_MAX)));
	text[CONF_REGEX_MAX] = '/';
	ck_assert_str_eq(conf_check_regex(sv_make(text, CONF_REGEX_MAX + 1)),
	    "has a regular expression of more than 2048 characters");
	ck_assert_ptr_nonnull(conf_parse_reply(SV(""), &r));
}
END_TEST

/* ---- order ---- */

static void
count(void *arg, bool added, struct sv scope, struct sv name, struct sv value,
    struct sv file, uint32_t line)
{
	int *n = arg;

	(void)scope;
	(void)name;
	(void)value;
	(void)file;
	(void)line;
	n[added]++;
}

START_TEST(test_diff_sees_the_order_of_rules)
{
	struct conf *a = must_parse(REPLIES("reply /a/ skip-mx\n"
	    "reply /b/ skip-mx\nreply /c/ skip-mx"));
	struct conf *b = must_parse(REPLIES("reply /b/ skip-mx\n"
	    "reply /a/ skip-mx\nreply /c/ skip-mx"));
	struct conf *d = must_parse(REPLIES("reply /x/ skip-mx\n"
	    "reply /a/ skip-mx\nreply /b/ skip-mx\nreply /c/ skip-mx"));
	int n[2] = { 0, 0 };

	ck_assert(conf_diff(a, b, NULL, NULL));
	ck_assert(!conf_diff(a, a, NULL, NULL));
	/* What stands behind the new line is another place for it. */
	ck_assert(conf_diff(a, d, count, n));
	ck_assert_int_eq(n[0], 1);
	ck_assert_int_eq(n[1], 2);
	conf_free(&a);
	conf_free(&b);
	conf_free(&d);
}
END_TEST

START_TEST(test_rules_survive_the_wire)
{
	struct conf *c = must_parse(replies), *d;
	const struct conf_reply_list *l;
	struct buf b;

	buf_init(&b, CONF_ENCODED_MAX);
	ck_assert_int_eq(conf_encode(c, &b), 0);
	d = conf_decode(buf_sv(&b));
	ck_assert_ptr_nonnull(d);
	ck_assert(!conf_diff(c, d, NULL, NULL));
	l = conf_reply_list(d, 0);
	ck_assert_int_eq(l->n, 8);
	ck_assert_ptr_eq(conf_reply_find(d, l, SV("250 ok")), &l->v[7]);
	ck_assert_int_eq(l->v[7].line, 13);
	conf_free(&c);
	conf_free(&d);
	buf_fini(&b);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("conf rules");
	TCase *tc = tcase_create("rules");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, test_replies_have_actions);
	tcase_add_test(tc, test_replies_first_match_decides);
	tcase_add_test(tc, test_replies_hard_expression_does_not_match);
	tcase_add_test(tc, test_replies_mistakes);
	tcase_add_test(tc, test_replies_conflicts);
	tcase_add_test(tc, test_replies_conflicts_of_values);
	tcase_add_test(tc, test_rules_are_limited);
	tcase_add_test(tc, test_diff_sees_the_order_of_rules);
	tcase_add_test(tc, test_rules_survive_the_wire);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
