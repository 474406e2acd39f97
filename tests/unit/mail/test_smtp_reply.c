/* SPDX-License-Identifier: ISC */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "common/mail/smtp_reply.h"

struct reply_case {
	const char *name;
	const char *in;
	enum smtp_reply_result want;
	unsigned code;
	const char *status;
	const char *text;
};

static const struct reply_case cases[] = {
	{ "plain", "250 ok\r\n", SMTP_REPLY_DONE, 250, "", "250 ok" },
	{ "enhanced", "550 5.1.1 no such user\r\n", SMTP_REPLY_DONE, 550,
	    "5.1.1", "550 5.1.1 no such user" },
	{ "enhanced alone", "250 2.0.0\r\n", SMTP_REPLY_DONE, 250, "2.0.0",
	    "250 2.0.0" },
	{ "no text", "250\r\n", SMTP_REPLY_DONE, 250, "", "250" },
	{ "blank only", "250 \r\n", SMTP_REPLY_DONE, 250, "", "250" },
	{ "bare LF", "250 ok\n", SMTP_REPLY_DONE, 250, "", "250 ok" },
	{ "lines", "550-5.7.1 go\r\n550-5.7.1 away\r\n550 5.7.1 now\r\n",
	    SMTP_REPLY_DONE, 550, "5.7.1", "550 5.7.1 go away now" },
	{ "lines without text", "250-\r\n250-\r\n250\r\n", SMTP_REPLY_DONE,
	    250, "", "250" },
	{ "codes of one class", "450-x\r\n451 y\r\n", SMTP_REPLY_DONE, 451, "",
	    "450 x y" },
	{ "codes of two classes", "250-x\r\n550 y\r\n", SMTP_REPLY_BAD, 0, "",
	    "" },
	{ "wrong class of status", "550 4.7.1 hm\r\n", SMTP_REPLY_DONE, 550,
	    "", "550 4.7.1 hm" },
	{ "status too long", "550 5.1000.1 hm\r\n", SMTP_REPLY_DONE, 550, "",
	    "550 5.1000.1 hm" },
	{ "status with tail", "550 5.1.1x hm\r\n", SMTP_REPLY_DONE, 550, "",
	    "550 5.1.1x hm" },
	{ "longest status", "550 5.111.222 hm\r\n", SMTP_REPLY_DONE, 550,
	    "5.111.222", "550 5.111.222 hm" },
	{ "control bytes", "250 a\001\033[2J\177\200z\r\n", SMTP_REPLY_DONE,
	    250, "", "250 a??[2J??z" },
	{ "CR inside", "250 a\rb\r\n", SMTP_REPLY_DONE, 250, "", "250 a?b" },
	{ "no code", "hello\r\n", SMTP_REPLY_BAD, 0, "", "" },
	{ "empty line", "\r\n", SMTP_REPLY_BAD, 0, "", "" },
	{ "two digits", "25 ok\r\n", SMTP_REPLY_BAD, 0, "", "" },
	{ "four digits", "2500 ok\r\n", SMTP_REPLY_BAD, 0, "", "" },
	{ "class 1", "150 ok\r\n", SMTP_REPLY_BAD, 0, "", "" },
	{ "class 6", "650 ok\r\n", SMTP_REPLY_BAD, 0, "", "" },
	{ "class 0", "000 ok\r\n", SMTP_REPLY_BAD, 0, "", "" },
	{ "blank before", " 250 ok\r\n", SMTP_REPLY_BAD, 0, "", "" },
	{ "HTTP", "HTTP/1.0 200 OK\r\n", SMTP_REPLY_BAD, 0, "", "" },
	{ "cut", "250-ok\r\n250 o", SMTP_REPLY_MORE, 0, "", "" },
	{ "nothing", "", SMTP_REPLY_MORE, 0, "", "" },
};

#define NCASES (sizeof(cases) / sizeof(cases[0]))

/* Feeds the bytes in pieces of this size. */
static enum smtp_reply_result
feed(struct smtp_reply *r, struct sv in, size_t piece)
{
	enum smtp_reply_result res = SMTP_REPLY_MORE;
	struct buf b;

	buf_init(&b, 1 << 20);
	while (in.n > 0 && res == SMTP_REPLY_MORE) {
		ck_assert_int_eq(buf_add_sv(&b, sv_head(in, piece)), 0);
		in = sv_from_at(in, piece);
		res = smtp_reply_read(r, &b);
	}
	buf_fini(&b);
	return res;
}

START_TEST(test_reply_table_any_pieces_same)
{
	const struct reply_case *c = &cases[_i];

	for (size_t piece = 1; piece < 64; piece = piece * 2 + 1) {
		struct smtp_reply r;

		smtp_reply_init(&r);
		ck_assert_msg(feed(&r, sv_from(c->in), piece) == c->want,
		    "%s", c->name);
		if (c->want != SMTP_REPLY_DONE)
			continue;
		ck_assert_msg(r.code == c->code, "%s: %u", c->name, r.code);
		ck_assert_str_eq(r.status, c->status);
		ck_assert_str_eq(r.text, c->text);
		ck_assert_uint_eq(r.text_n, strlen(c->text));
	}
}
END_TEST

START_TEST(test_reply_two_at_once_one_by_one)
{
	struct smtp_reply r;
	struct buf b;

	smtp_reply_init(&r);
	buf_init(&b, 4096);
	ck_assert_int_eq(buf_add_sv(&b, SV("250 one\r\n550 5.0.0 two\r\n2")),
	    0);
	ck_assert_int_eq(smtp_reply_read(&r, &b), SMTP_REPLY_DONE);
	ck_assert_str_eq(r.text, "250 one");
	ck_assert_int_eq(smtp_reply_read(&r, &b), SMTP_REPLY_DONE);
	ck_assert_str_eq(r.text, "550 5.0.0 two");
	ck_assert_int_eq(smtp_reply_read(&r, &b), SMTP_REPLY_MORE);
	ck_assert_uint_eq(buf_len(&b), 1);
	buf_fini(&b);
}
END_TEST

START_TEST(test_reply_bounds_kept)
{
	struct smtp_reply r;
	char *line = malloc(SMTP_REPLY_LINE_MAX + 2);
	struct buf b;

	/* a line without end */
	memset(line, '2', SMTP_REPLY_LINE_MAX + 2);
	smtp_reply_init(&r);
	ck_assert_int_eq(feed(&r, sv_make(line, SMTP_REPLY_LINE_MAX + 1), 100),
	    SMTP_REPLY_TOO_LONG);
	/* the longest line: its text is cut */
	memcpy(line, "250 ", 4);
	memcpy(line + SMTP_REPLY_LINE_MAX - 2, "\r\n", 2);
	smtp_reply_init(&r);
	ck_assert_int_eq(feed(&r, sv_make(line, SMTP_REPLY_LINE_MAX), 4096),
	    SMTP_REPLY_DONE);
	ck_assert_uint_eq(r.text_n, SMTP_REPLY_TEXT_MAX);
	free(line);
	/* lines without end */
	smtp_reply_init(&r);
	buf_init(&b, 1 << 20);
	for (int i = 0; i < SMTP_REPLY_LINES_MAX; i++)
		ck_assert_int_eq(buf_add_sv(&b, SV("250-x\r\n")), 0);
	ck_assert_int_eq(smtp_reply_read(&r, &b), SMTP_REPLY_MORE);
	ck_assert_int_eq(buf_add_sv(&b, SV("250 x\r\n")), 0);
	ck_assert_int_eq(smtp_reply_read(&r, &b), SMTP_REPLY_TOO_LONG);
	buf_fini(&b);
}
END_TEST

START_TEST(test_ehlo_keywords_known)
{
	struct smtp_ehlo e = { 0 };
	struct smtp_reply r;
	char text[128];

	smtp_reply_init(&r);
	r.ehlo = &e;
	ck_assert_int_eq(feed(&r, SV("250-DSN is my name\r\n"
	                             "250-pipelining\r\n250-SIZE 1000\r\n"
	                             "250-AUTH PLAIN\r\n250-8BITMIMEX\r\n"
	                             "250 SMTPUTF8\r\n"),
	                     7),
	    SMTP_REPLY_DONE);
	ck_assert_uint_eq(e.caps, CAP_PIPELINING | CAP_SIZE | CAP_SMTPUTF8);
	ck_assert_uint_eq(e.size_max, 1000);
	ck_assert_str_eq(smtp_ehlo_format(&e, text, sizeof(text)),
	    "PIPELINING,SIZE,SMTPUTF8");
	smtp_ehlo_line(&e, SV("SIZE"));
	ck_assert_uint_eq(e.size_max, 0);
	smtp_ehlo_line(&e, SV("SIZE 99999999999999999999999"));
	ck_assert_uint_eq(e.size_max, 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("smtp_reply");
	TCase *t = tcase_create("reply");
	SRunner *r;
	int failed;

	tcase_add_loop_test(t, test_reply_table_any_pieces_same, 0,
	    (int)NCASES);
	tcase_add_test(t, test_reply_two_at_once_one_by_one);
	tcase_add_test(t, test_reply_bounds_kept);
	tcase_add_test(t, test_ehlo_keywords_known);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
