/* SPDX-License-Identifier: ISC */
/* Files of the pickup directory: both forms, what is none, and the message on
 * the wire. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/str.h"
#include "common/mail/pickup_file.h"

#define N_OF(a) (sizeof(a) / sizeof((a)[0]))

/* A file; "helo|mail|rcpts with blanks|vmta|job" and what goes on the wire. */
static const struct {
	const char *text;
	bool remove_dot;
	const char *want, *wire;
} rows[] = {
	{ "x-sender: a@x.org\nx-receiver: b@y.org\nSubject: s\n\nhi\n", false,
	  "|FROM:<a@x.org>|TO:<b@y.org>||", "Subject: s\r\n\r\nhi\r\n.\r\n" },
	{ "X-Sender: <a@x.org>\r\nx-receiver:b@y.org\r\nX-RECEIVER: <c@y.org>"
	  "\r\nx-envid: e 1\r\nx-job: j\r\nx-virtual-mta: v\r\n\r\nhi", false,
	  "|FROM:<a@x.org> ENVID=e+201|TO:<b@y.org> TO:<c@y.org>|v|j",
	  "x-virtual-mta: v\r\nx-job: j\r\n\r\nhi\r\n.\r\n" },
	{ "x-sender:\nx-receiver: b@y.org\n\n..\n.\n", false,
	  "|FROM:<>|TO:<b@y.org>||", "\r\n...\r\n..\r\n.\r\n" },
	{ "x-sender: a\nx-receiver: b@y.org\n\nhi\n.\n", true,
	  "|FROM:<a>|TO:<b@y.org>||", "\r\nhi\r\n.\r\n" },
	{ "x-sender: a@x.org\nx-sender-override: c@x.org\nx-receiver: b@y.org"
	  "\n\nhi\r\n.\r\n", true,
	  "|FROM:<c@x.org>|TO:<b@y.org>||", "\r\nhi\r\n.\r\n" },
	{ "x-sender: a@x.org\nx-receiver: \xc3\xbc@y.org\n\n\xc3\xbc\n", false,
	  "|FROM:<a@x.org> BODY=8BITMIME SMTPUTF8|TO:<\xc3\xbc@y.org>||",
	  "\r\n\xc3\xbc\r\n.\r\n" },
	{ "x-sender: a@x.org\nx-receiver: b@y.org\n", false,
	  "|FROM:<a@x.org>|TO:<b@y.org>||", ".\r\n" },
	{ "HELO me\nMAIL FROM:<a@x.org> RET=HDRS\nrcpt TO:<b@y.org> "
	  "NOTIFY=NEVER\nRCPT TO:<c@y.org>\nDATA\nA: b\n\n..x\n.\nQUIT\n",
	  false, "me|FROM:<a@x.org> RET=HDRS|TO:<b@y.org> NOTIFY=NEVER "
	  "TO:<c@y.org>||", "A: b\r\n\r\n..x\r\n.\r\n" },
	{ "MAIL FROM:<>\r\nRCPT TO:<b@y.org>\r\nDATA\r\n.\r\n", false,
	  "|FROM:<>|TO:<b@y.org>||", ".\r\n" },
};

START_TEST(test_pickup_file_is_taken)
{
	char mem[1000], wire[2000];
	struct pickup_file f;
	struct pickup_feed feed;
	const char *why;
	struct arena a;
	struct buf out;
	struct str s;

	arena_init(&a, 1u << 20);
	why = pickup_file_parse(sv_from(rows[_i].text), rows[_i].remove_dot,
	    &a, &f);
	ck_assert_msg(why == NULL, "%s", why);
	STR_ON(&s, mem);
	str_addf(&s, "%.*s|%.*s|", SV_FMT(f.helo), SV_FMT(f.mail));
	for (uint32_t i = 0; i < f.nrcpts; i++)
		str_addf(&s, "%s%.*s", i > 0 ? " " : "", SV_FMT(f.rcpts[i]));
	str_addf(&s, "|%.*s|%.*s", SV_FMT(f.vmta), SV_FMT(f.job));
	ck_assert_msg(sv_eq(str_sv(&s), sv_from(rows[_i].want)), "%.*s",
	    SV_FMT(str_sv(&s)));
	buf_init(&out, sizeof(wire));
	pickup_feed_init(&feed, &f);
	ck_assert_int_eq(pickup_feed_add(&feed, &out, 4000), 0);
	ck_assert(feed.ended);
	ck_assert_msg(sv_eq(buf_sv(&out), sv_from(rows[_i].wire)), "%.*s",
	    SV_FMT(buf_sv(&out)));
	buf_fini(&out);
	arena_fini(&a);
}
END_TEST

#define X "x-sender: a@x.org\n"

static const struct {
	const char *text, *why;
} bad[] = {
	{ "", "is empty" },
	{ "hello\n", "has a line that is none of HELO" },
	{ "x-receiver: b@y.org\n\nhi\n", "has no x-sender" },
	{ X "\nhi\n", "has no x-receiver" },
	{ X "x-receiver:\n\n", "has an x-receiver that is not an address" },
	{ X "x-receiver: b@y.org> NOTIFY=NEVER <x\n\n",
	  "has an x-receiver that is not an address" },
	{ "x-sender: a b@x\nx-receiver: b@y.org\n\n",
	  "has an x-sender that is not an address" },
	{ X "x-receiver: b@y.org\nx-job:\n\n", "has an x-job that is none" },
	{ X "x-receiver: b@y.org\n\na\rb\n", "has a CR that ends no line" },
	{ "MAIL FROM:<>\nRCPT TO:<b@y>\nDATA\nhi\n", "has no final dot" },
	{ "MAIL FROM:<>\nDATA\n.\n", "has no RCPT" },
	{ "RCPT TO:<b@y>\nDATA\n.\n", "has no MAIL" },
	{ "MAIL FROM:<>\nMAIL FROM:<>\n", "has MAIL twice" },
	{ "MAIL FROM:<>\nRCPT TO:<b@y>\nDATA\n.\nMAIL FROM:<>\n",
	  "has something behind its message" },
	{ "EHLO x\nXMRG FROM:<>\n", "is a mail merge" },
	{ "VRFY x\n", "has a line that is none of HELO" },
	{ "MAIL\n", "has a MAIL that is none" },
	{ "MAIL FROM:<>\nRCPT\n", "has a RCPT that is none" },
};

START_TEST(test_pickup_file_is_refused)
{
	struct pickup_file f;
	const char *why;
	struct arena a;

	arena_init(&a, 1u << 20);
	why = pickup_file_parse(sv_from(bad[_i].text), false, &a, &f);
	ck_assert_msg(why != NULL && strncmp(why, bad[_i].why,
	    strlen(bad[_i].why)) == 0, "%s: %s", bad[_i].text,
	    why == NULL ? "accepted" : why);
	arena_fini(&a);
}
END_TEST

/* The same in small amounts, over long lines and dots. */
START_TEST(test_pickup_feed_in_pieces_same)
{
	char *text = malloc(40000);
	struct pickup_file f;
	struct pickup_feed feed;
	struct buf whole, part;
	struct arena a;
	size_t n;

	ck_assert_ptr_nonnull(text);
	n = (size_t)sprintf(text, X "x-receiver: b@y.org\n\n");
	for (int i = 0; i < 3; i++) {
		memset(text + n, '.', 8191);
		n += 8191;
		n += (size_t)sprintf(text + n, i == 1 ? "\r\n" : "\n");
	}
	arena_init(&a, 1u << 20);
	buf_init(&whole, 80000);
	buf_init(&part, 80000);
	ck_assert_ptr_null(pickup_file_parse(sv_make(text, n), false, &a,
	    &f));
	pickup_feed_init(&feed, &f);
	ck_assert_int_eq(pickup_feed_add(&feed, &whole, 80000), 0);
	pickup_feed_init(&feed, &f);
	while (!feed.ended)
		ck_assert_int_eq(pickup_feed_add(&feed, &part,
		    buf_len(&part) + 1), 0);
	ck_assert(sv_eq(buf_sv(&whole), buf_sv(&part)));
	/* a dot for each line, and the end */
	ck_assert_uint_eq(buf_len(&whole), 2 + 3 * (8191 + 1 + 2) + 3);
	buf_fini(&whole);
	buf_fini(&part);
	arena_fini(&a);
	free(text);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("pickup file");
	TCase *t = tcase_create("all");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_loop_test(t, test_pickup_file_is_taken, 0,
	    (int)N_OF(rows));
	tcase_add_loop_test(t, test_pickup_file_is_refused, 0,
	    (int)N_OF(bad));
	tcase_add_test(t, test_pickup_feed_in_pieces_same);
	suite_add_tcase(s, t);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
