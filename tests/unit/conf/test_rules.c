/* SPDX-License-Identifier: ISC */
/* Lists of rules: lines of which the first that matches decides. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/conf/conf.h"
#include "common/conf/store.h"
#include "common/sys/clock.h"
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

/* ---- <pattern-list> ---- */

#define VMTAS "<virtual-mta v1>\n</virtual-mta>\n<virtual-mta-pool p>\n" \
    "virtual-mta v1\n</virtual-mta-pool>\n"
#define PATTERNS(lines) "<pattern-list l>\n" lines "\n</pattern-list>\n"

static const char patterns[] = VMTAS PATTERNS(
    "# a comment\n"
    "header X-Stream /^bulk\\/ \"x\"/ virtual-mta=V1, hold\n"
    "sample \"bulk/ \"x\" and more\"\n"
    "mail-from /@news\\./ vmta=p,recipient-priority=70\n"
    "rcpt-to /^abuse@/ reject=\"Not here, <a@b>\"\n"
    "body /viagra/ hold\n"
    "size >10M hold\n"
    "* <pattern-list>\n"
    "rcpt-to /x/ call-to:OTHER\n"
    "<pattern-list inner>\n* hold\n</pattern-list>\n"
    "</pattern-list>\n"
    "header Subject /y/ <pattern-list inner2>\nsize >1b vmta=v1\n"
    "</pattern-list>\n"
    "* vmta={default}")
    "<pattern-list other>\nmail-from /^$/ call-to:inner\n</pattern-list>\n"
    "<source 0/0>\npattern-list L\n</source>\n";

static void
ck_patterns(const struct conf *c)
{
	const struct conf_pattern_list *l = conf_pattern_list_find(c,
	    SV("L")), *in;

	ck_assert_ptr_nonnull(l);
	ck_assert_ptr_null(conf_pattern_list_find(c, SV("m")));
	ck_assert_int_eq(l->n, 8);
	ck_assert_int_eq(l->v[0].what, CONF_PAT_HEADER);
	ck_assert(sv_eq(l->v[0].header, SV("X-Stream")));
	ck_assert(sv_eq(l->v[0].regex, SV("/^bulk\\/ \"x\"/")));
	ck_assert(sv_eq(l->v[0].vmta, SV("V1")));
	ck_assert(sv_eq(l->v[0].in, SV("l")));
	ck_assert(l->v[0].hold && !l->v[0].has_priority);
	ck_assert_int_eq(l->v[0].line, 8);
	ck_assert_int_eq(l->v[1].what, CONF_PAT_MAIL_FROM);
	ck_assert(sv_eq(l->v[1].vmta, SV("p")));
	ck_assert(l->v[1].has_priority);
	ck_assert_int_eq(l->v[1].priority, 70);
	ck_assert_int_eq(l->v[2].what, CONF_PAT_RCPT_TO);
	ck_assert(sv_eq(l->v[2].reject, SV("Not here, <a@b>")));
	ck_assert_int_eq(l->v[3].what, CONF_PAT_BODY);
	ck_assert_int_eq(l->v[4].what, CONF_PAT_SIZE);
	ck_assert_uint_eq(l->v[4].size_bytes, 10 << 20);
	in = l->v[5].list;
	ck_assert_int_eq(l->v[5].what, CONF_PAT_ANY);
	ck_assert_int_eq(in->n, 2);
	ck_assert(sv_eq(in->v[0].in, SV("l")));
	ck_assert_ptr_eq(in->v[0].list, conf_pattern_list_find(c,
	    SV("other")));
	ck_assert_ptr_eq(in->v[1].list, conf_pattern_list_find(c,
	    SV("inner")));
	ck_assert(sv_eq(in->v[1].list->v[0].in, SV("inner")));
	ck_assert_ptr_eq(l->v[6].list, conf_pattern_list_find(c,
	    SV("inner2")));
	ck_assert_ptr_null(l->v[7].list);
	/* 8, in the first list 2, inner 1, other 1 and inner again, inner2 1 */
	ck_assert_uint_eq(l->lines, 14);
	ck_assert_uint_eq(l->deep, 4);
	ck_assert_uint_eq(l->looks, 63);
	ck_assert(l->rejects);
	ck_assert(!in->rejects);
	ck_assert_uint_eq(in->looks, 1 << CONF_PAT_MAIL_FROM |
	    1 << CONF_PAT_RCPT_TO | 1 << CONF_PAT_ANY);
}

START_TEST(test_patterns_have_conditions_and_results)
{
	struct conf *c = must_parse(patterns), *d;
	struct buf b;

	ck_patterns(c);
	buf_init(&b, CONF_ENCODED_MAX);
	ck_assert_int_eq(conf_encode(c, &b), 0);
	d = conf_decode(buf_sv(&b));
	ck_assert_ptr_nonnull(d);
	ck_assert(!conf_diff(c, d, NULL, NULL));
	ck_patterns(d);
	conf_free(&c);
	conf_free(&d);
	buf_fini(&b);
}
END_TEST

#define NO_RESULT "has a result that is none of virtual-mta=NAME, hold, " \
    "reject=\"TEXT\", call-to:LIST, recipient-priority=N, <pattern-list>"

START_TEST(test_patterns_mistakes)
{
	static const struct mistake t[] = {
		{ PATTERNS("header"), "t:2: header: \"\" is empty" },
		{ PATTERNS("header /x/ hold"), "t:2: header: \"/x/ hold\" "
		    "names no header in front of the expression" },
		{ PATTERNS("header A: /x/ hold"), "t:2: header: \"A: /x/ "
		    "hold\" is not the name of a header" },
		{ PATTERNS("header A x hold"), "t:2: header: \"A x hold\" is "
		    "not a regular expression between slashes" },
		{ PATTERNS("mail-from /(/ hold"), "t:2: mail-from: \"/(/ "
		    "hold\" is not a regular expression that PCRE2 "
		    "understands" },
		{ PATTERNS("mail-from /x/"), "t:2: mail-from: \"/x/\" does "
		    "not say what to do" },
		{ PATTERNS("*"), "t:2: *: \"\" does not say what to do" },
		{ PATTERNS("* holt"), "t:2: *: \"holt\" " NO_RESULT },
		{ PATTERNS("* hold,"), "t:2: *: \"hold,\" " NO_RESULT },
		{ PATTERNS("* hold,hold"), "t:2: *: \"hold,hold\" has hold "
		    "twice" },
		{ PATTERNS("* vmta=a,virtual-mta=a"), "t:2: *: "
		    "\"vmta=a,virtual-mta=a\" has a virtual-mta twice" },
		{ PATTERNS("* vmta="), "t:2: *: \"vmta=\" has a virtual-mta= "
		    "without a name behind it" },
		{ PATTERNS("* recipient-priority=101"), "t:2: *: "
		    "\"recipient-priority=101\" has a recipient-priority that "
		    "is not a number of 0 to 100" },
		{ PATTERNS("* reject=no"), "t:2: *: \"reject=no\" has a "
		    "reject= without a text in quotes behind it" },
		{ PATTERNS("* reject=\"n\xc3\xb6\""), "t:2: *: "
		    "\"reject=\"n\xc3\xb6\"\" has a reject= whose text is not "
		    "ASCII" },
		{ PATTERNS("* hold,reject=\"no\""), "t:2: *: "
		    "\"hold,reject=\"no\"\" has something beside reject=, "
		    "call-to: or a list: these stand alone" },
		{ PATTERNS("* call-to:"), "t:2: *: \"call-to:\" has a "
		    "call-to: without the name of a list behind it" },
		{ PATTERNS("size 10M hold"), "t:2: size: \"10M hold\" is not "
		    "a size and what to do, such as >10M hold" },
		{ PATTERNS("size >0 hold"), "t:2: size: \">0 hold\" is not a "
		    "size and what to do, such as >10M hold" },
		{ PATTERNS("* <pattern-lists>\n* hold"), "t:2: *: "
		    "\"<pattern-lists>\" has a list that does not begin as "
		    "<pattern-list>" },
		/* what is wrong with its line, is not said of its list again */
		{ PATTERNS("header /x/ <pattern-list>\n* nonsense\n"
		    "</pattern-list>\n* nope"), "t:2: header: \"/x/ "
		    "<pattern-list>\" names no header in front of the "
		    "expression" },
		{ PATTERNS("* <pattern-list>"), "t:1: <pattern-list> is not "
		    "closed: </pattern-list> is missing" },
		{ "<pattern-list>\n</pattern-list>\n", "t:1: <pattern-list>: "
		    "\"\" is empty" },
		{ PATTERNS("") PATTERNS(""), "t:4: there is a <pattern-list "
		    "l> already" },
		{ PATTERNS("<pattern-list l>\n</pattern-list>"), "t:2: there "
		    "is a <pattern-list l> already" },
		{ "<source 0/0>\npattern-list x\n</source>\n", "t:2: "
		    "pattern-list: there is no <pattern-list x>" },
		{ PATTERNS("* virtual-mta=v1"), "t:2: virtual-mta: there is "
		    "no <virtual-mta v1> or <virtual-mta-pool v1>" },
		{ PATTERNS("* call-to:x"), "t:2: call-to: there is no "
		    "<pattern-list x>" },
		/* loops */
		{ PATTERNS("* call-to:L"), "t:2: call-to: <pattern-list l> "
		    "comes back to this line: a loop" },
		{ "<pattern-list a>\n* call-to:b\n</pattern-list>\n"
		    "<pattern-list b>\n* <pattern-list c>\n* call-to:a\n"
		    "</pattern-list>\n</pattern-list>\n", "t:6: call-to: "
		    "<pattern-list a> comes back to this line: a loop" },
		{ "<pattern-list b>\n<pattern-list c>\nmail-from /x/ call-to:d"
		    "\n</pattern-list>\n</pattern-list>\n<pattern-list d>\n"
		    "* call-to:c\n</pattern-list>\n", "t:7: call-to: "
		    "<pattern-list c> comes back to this line: a loop" },
		/* samples */
		{ PATTERNS("sample \"x\""), "t:2: sample: there is no line "
		    "with an expression before it" },
		{ PATTERNS("* hold\nsample \"x\""), "t:3: sample: there is no "
		    "line with an expression before it" },
		{ PATTERNS("body /x/ hold\nsample \"y\""), "t:3: sample: line "
		    "2 does not match this text" },
		{ PATTERNS("header A /x/ hold\nheader B /x/ hold\nheader a "
		    "/xy/ hold\nsample \"xy\""), "t:5: sample: line 2 comes "
		    "first and matches this text" },
		{ PATTERNS("body /^(a+)+$/ hold\nsample "
		    "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\""), "t:3: sample: "
		    "line 2 takes too many steps to match this text" },
	};

	ck_mistakes(t, N_OF(t));
}
END_TEST

/* n lists, each of which has the line so many times for the next; then one
 * that ends it. */
static uint32_t
chain_lines(unsigned n, unsigned times, const char *want)
{
	struct conf_report rep;
	uint32_t lines = 0;
	struct conf *c;
	struct buf b;

	buf_init(&b, 1 << 20);
	for (unsigned i = 0; i < n; i++) {
		ck_assert_int_eq(buf_addf(&b, "<pattern-list l%u>\n", i), 0);
		for (unsigned k = 0; k < times; k++)
			ck_assert_int_eq(buf_addf(&b, "* call-to:l%u\n",
			    i + 1), 0);
		ck_assert_int_eq(buf_addf(&b, "</pattern-list>\n"), 0);
	}
	ck_assert_int_eq(buf_addf(&b, "<pattern-list l%u>\n* hold\n"
	    "</pattern-list>\n", n), 0);
	conf_report_init(&rep);
	c = conf_parse("t", buf_sv(&b), &rep);
	ck_assert_int_eq(c == NULL, want != NULL);
	if (want != NULL)
		ck_assert_str_eq(rep.errors[0], want);
	else
		lines = conf_pattern_list_find(c, SV("l0"))->lines;
	conf_free(&c);
	conf_report_fini(&rep);
	buf_fini(&b);
	return lines;
}

START_TEST(test_patterns_are_limited)
{
	ck_assert_uint_eq(chain_lines(11, 2, NULL), 6142);
	chain_lines(12, 2, "t:3: with this line and what it calls the list has "
	    "more than 10000 lines, or is more than 16 deep");
	ck_assert_uint_eq(chain_lines(15, 1, NULL), 16);
	chain_lines(16, 1, "t:2: with this line and what it calls the list has "
	    "more than 10000 lines, or is more than 16 deep");
	ck_many("pattern-list l", "* hold", CONF_RULES_MAX + 1, "t:1: "
	    "<pattern-list> has more than 1000 lines");
}
END_TEST

START_TEST(test_patterns_nested_too_deep)
{
	static const struct mistake deep = { PATTERNS("* <pattern-list>\n"
	    "* <pattern-list>\n* <pattern-list>\n* <pattern-list>\n"
	    "* <pattern-list>\n* <pattern-list>\n* <pattern-list>\n* nope\n"
	    "</pattern-list>\n</pattern-list>\n</pattern-list>\n"
	    "</pattern-list>\n</pattern-list>\n</pattern-list>\n"
	    "</pattern-list>"), "t:8: <pattern-list>: blocks are more than 7 "
	    "deep here" };

	ck_mistakes(&deep, 1);
}
END_TEST

/* The warnings of a text, which is good. */
static uint32_t
warnings_of(struct sv text)
{
	struct conf_report rep;
	struct conf *c;
	uint32_t n;

	conf_report_init(&rep);
	c = conf_parse("t", text, &rep);
	ck_assert_ptr_nonnull(c);
	n = rep.nwarnings;
	conf_report_fini(&rep);
	conf_free(&c);
	return n;
}

START_TEST(test_priorities_what_does_nothing_is_warned_of)
{
	uint32_t usual = warnings_of(SV(PATTERNS("* hold")));

	ck_assert_uint_eq(warnings_of(SV(PATTERNS("* recipient-priority=9"))),
	    usual);
	ck_assert_uint_eq(warnings_of(SV("<domain *>\nqueue-priority 70\n"
	    "allow-priority-interruption no\n"
	    "allow-priority-interruption-during-transfer no\n</domain>\n")),
	    warnings_of(SV("")));
	ck_assert_uint_eq(warnings_of(SV("<domain *>\n"
	    "allow-priority-interruption-during-transfer yes\n</domain>\n")),
	    warnings_of(SV("")) + 1);
}
END_TEST

/* An expression that is sane for a line finds its text at the end of 32 KiB;
 * one that tries all of the text from each byte of it is given up soon. */
START_TEST(test_regex_in_long_texts)
{
	struct conf *c = must_parse(PATTERNS("body /free.*money/ hold\n"
	    "body /(?s)x.*x.*[yz]/ hold"));
	const struct conf_pattern_list *l = conf_pattern_list_find(c, SV("l"));
	static char text[32768];
	struct mono before;

	memset(text, 'x', sizeof(text));
	for (size_t i = 900; i < sizeof(text); i += 900)
		memcpy(text + i, "free\r\n", 6);
	memcpy(text + sizeof(text) - 100, "free ... money", 14);
	ck_assert_int_eq(conf_regex_match(c, l->v[0].re,
	    sv_make(text, sizeof(text))), CONF_MATCH_YES);
	before = clock_mono();
	ck_assert_int_eq(conf_regex_match(c, l->v[1].re,
	    sv_make(text, sizeof(text) - 100)), CONF_MATCH_TOO_HARD);
	ck_assert_int_lt(mono_diff_ms(clock_mono(), before), 2000);
	conf_free(&c);
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
	tcase_add_test(tc, test_patterns_have_conditions_and_results);
	tcase_add_test(tc, test_patterns_mistakes);
	tcase_add_test(tc, test_patterns_are_limited);
	tcase_add_test(tc, test_patterns_nested_too_deep);
	tcase_add_test(tc,
	    test_priorities_what_does_nothing_is_warned_of);
	tcase_add_test(tc, test_regex_in_long_texts);
	tcase_add_test(tc, test_diff_sees_the_order_of_rules);
	tcase_add_test(tc, test_rules_survive_the_wire);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
