/* SPDX-License-Identifier: ISC */
/* Whole dialogues with smtpd, as a table. */
#include "tests/unit/smtpd/session_tests.h"

#define HELLO { "EHLO c.example\r\n", "250 DSN" }
#define MR { M R, "250 2.1.0|250 2.1.5" }
#define D { "DATA\r\n", "354" }

/* want: beginnings of the replies, "|" between; "EOF": closed. */
struct step {
	const char *send, *want;
};

struct dialog {
	const char *name, *ip;
	struct step steps[16];
};

static const struct dialog dialogs[] = {
	{ "plain", "192.0.2.1", { HELLO, MR, D,
	    { "Subject: x\r\n\r\nhi\r\n.\r\n", "250 2.0.0 queued as " },
	    { "QUIT\r\n", "221 2.0.0|EOF" } } },
	{ "helo", "192.0.2.1", { { "HELO c\r\n", "250 mx.example.org" }, MR,
	    D, { ".\r\n", "250 2.0.0" } } },
	{ "order", "192.0.2.1", { { M, "503 5.5.1" }, { R, "503 5.5.1" },
	    { "DATA\r\n", "503 5.5.1" }, HELLO, { R, "503 5.5.1" },
	    { "DATA\r\n", "503 5.5.1" }, { M, "250" }, { M, "503 5.5.1" },
	    { "DATA\r\n", "503 5.5.1" } } },
	{ "rset", "192.0.2.1", { HELLO, MR, { "RSET\r\n", "250 2.0.0" },
	    { "DATA\r\n", "503" }, { R, "503" }, MR, D } },
	{ "ehlo resets", "192.0.2.1", { HELLO, MR, HELLO,
	    { "DATA\r\n", "503" } } },
	{ "small verbs", "192.0.2.1", { { "NOOP x y\r\n", "250 2.0.0" },
	    { "VRFY a\r\n", "252 2.5.0" }, { "EXPN a\r\n", "502 5.5.1" },
	    { "HELP\r\n", "214 2.0.0" }, { "FOO\r\n", "500 5.5.1" },
	    { "\r\n", "500 5.5.1" }, { "EHLO\r\n", "501 5.5.4" },
	    { "STARTTLS\r\n", "502 5.5.1" }, { "AUTH PLAIN\r\n", "502" },
	    { "BDAT 3 LAST\r\n", "502" }, { "QUIT x\r\n", "501" },
	    { "quit\r\n", "221|EOF" } } },
	{ "vrfy in a transaction", "192.0.2.1", { HELLO, MR,
	    { "VRFY x\r\n", "252" }, { "NOOP\r\n", "250" }, D } },
	{ "all pipelined", "192.0.2.1", { HELLO,
	    { M R R "DATA\r\n", "250|250|250|354" },
	    { "x\r\n.\r\n" M R "DATA\r\n", "250 2.0.0|250|250|354" },
	    { "y\r\n.\r\nQUIT\r\n", "250 2.0.0|221|EOF" } } },
	/* RFC 2920 3.1 */
	{ "pipelined, all refused", "192.0.2.1", { HELLO,
	    { M "RCPT TO:<a@other.example>\r\nDATA\r\n",
	    "250|550 5.7.1|554 5.5.1" }, { "RSET\r\n", "250" } } },
	{ "data before 354", "192.0.2.1", { HELLO,
	    { M R "DATA\r\nSubject: x\r\n\r\n.\r\n",
	    "250|250|503 5.5.1|EOF" } } },
	/* RFC 5321 3.6.2: relay only to or from those named */
	{ "relay", "192.0.2.1", { HELLO, { M, "250" },
	    { "RCPT TO:<a@other.example>\r\n", "550 5.7.1" },
	    { "RCPT TO:<a%other.example@relay.example>\r\n", "250" },
	    { "RCPT TO:<@relay.example:a@other.example>\r\n", "550 5.7.1" },
	    { "RCPT TO:<\"a@relay.example\"@other.example>\r\n", "550" },
	    { "RCPT TO:<\"a@other.example\"@RELAY.example>\r\n", "250" },
	    { "RCPT TO:<a@[192.0.2.9]>\r\n", "550 5.7.1" },
	    { "RCPT TO:<a@mx.example.org>\r\n", "250" },
	    { "RCPT TO:<a@relay.example.other.example>\r\n", "550" },
	    { "RCPT TO:<a@xrelay.example>\r\n", "550" },
	    { "RCPT TO:<a@relay.example.>\r\n", "501" } } },
	{ "relay from a named source", LOCAL, { HELLO, { M, "250" },
	    { "RCPT TO:<a@other.example>\r\n", "250 2.1.5" } } },
	/* RFC 5321 4.5.1, 4.5.5 */
	{ "postmaster and null sender", "192.0.2.1", { HELLO,
	    { "MAIL FROM:<>\r\n", "250" },
	    { "RCPT TO:<Postmaster>\r\n", "250" },
	    { "RCPT TO:<a>\r\n", "553 5.1.3" }, D, { "x\r\n.\r\n", "250" } } },
	/* RFC 1870 */
	{ "size", LOCAL, { HELLO,
	    { "MAIL FROM:<s@x.example> SIZE=600001\r\n", "552 5.3.4" },
	    { "MAIL FROM:<s@x.example> SIZE=600000\r\n", "250" } } },
	{ "parameters", LOCAL, { HELLO,
	    { "MAIL FROM:<s@x.example> X=1\r\n", "555 5.5.4" },
	    { "MAIL FROM:<s@x.example> RET=x\r\n", "501 5.5.4" },
	    { "MAIL FROM:<s@x.example> RET=FULL RET=FULL\r\n", "501 5.5.4" },
	    { "MAIL FROM:<\xc3\xbc@x.example>\r\n", "553 5.6.7" },
	    { "MAIL FROM:<\xc3\xbc@x.example> SMTPUTF8\r\n", "250" },
	    { "RCPT TO:<\xc3\xb6@x.example> NOTIFY=NEVER,DELAY\r\n", "501" },
	    { "RCPT TO:<\xc3\xb6@x.example> NOTIFY=DELAY\r\n", "250" } } },
	{ "syntax", LOCAL, { HELLO, { "MAIL FROM:s@x\r\n", "501 5.5.4" },
	    { "MAIL FROM:<s@@x>\r\n", "501 5.1.7" },
	    { "MAIL FROM:<s>\r\n", "553 5.1.7" }, { M, "250" },
	    { "RCPT TO:<r@-x>\r\n", "501 5.1.3" } } },
	/* bytes that have no place in a command */
	{ "bare newlines", LOCAL, { HELLO, { "NOOP\n", "500 5.5.2" },
	    { "NOOP\rRSET\r\n", "500 5.5.2" }, { "NOOP\r\r\n", "500 5.5.2" },
	    { M, "250" }, { "RSET\n", "500 5.5.2" }, { R, "250" } } },
	{ "smuggled end", LOCAL, { HELLO, MR, D,
	    { "x\r\n\n.\r\n" M R "DATA\r\nevil\r\n.\r\n",
	    "550 5.6.11" }, { "NOOP\r\n", "250" }, { R, "503" } } },
	{ "http", LOCAL, { { "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "EOF" } } },
	{ "http post", LOCAL, { { "POST / HTTP/1.1\r\nQUIT\r\n", "EOF" } } },
	{ "no valid end", LOCAL, { HELLO, MR, D, { "x\r\n.\n", "" },
	    { "y\r\n.\r\n", "550 5.6.11" } } },
};

static void
dialog_run(const struct dialog *d, size_t step)
{
	struct harness h;

	harness_init(&h, CONF);
	harness_connect(&h, d->ip);
	harness_pump(&h);
	for (size_t i = 0; i < 16 && d->steps[i].send != NULL; i++) {
		struct sv rest = sv_from(d->steps[i].want);
		char mem[600];

		if (i == 0) {
			struct sv greet = harness_reply(&h, mem, sizeof(mem));

			ck_assert(sv_starts(greet, SV("220 mx.example.org ")));
		}
		harness_send(&h, sv_from(d->steps[i].send), step);
		while (rest.p != NULL && rest.n > 0) {
			struct sv want = sv_cut(&rest, '|');
			struct sv got = harness_reply(&h, mem, sizeof(mem));

			ck_assert_msg(sv_eq(want, SV("EOF")) ?
			    got.n == 0 && h.eof : sv_starts(got, want) &&
			    got.n > 0, "%s, step %zu by %zu: want %.*s, got "
			    "%.*s", d->name, i, step, SV_FMT(want),
			    SV_FMT(got));
		}
		ck_assert_msg(harness_reply(&h, mem, sizeof(mem)).n == 0,
		    "%s, step %zu: more than was wanted", d->name, i);
	}
	harness_fini(&h);
	ck_assert_uint_eq(h.srv.nsessions, 0);
	ck_assert_uint_eq(h.srv.pool.nused, 0);
	ck_assert_uint_eq(h.committer.nlarge, 0);
}

START_TEST(test_dialog_table_whole_segments)
{
	for (size_t i = 0; i < sizeof(dialogs) / sizeof(dialogs[0]); i++)
		dialog_run(&dialogs[i], 100000);
}
END_TEST

/* RFC 2920: the split of the input plays no part. Data before 354 is only
 * told from data after it by when it comes. */
START_TEST(test_dialog_table_byte_by_byte_same)
{
	for (size_t i = 0; i < sizeof(dialogs) / sizeof(dialogs[0]); i++) {
		if (strcmp(dialogs[i].name, "data before 354") != 0)
			dialog_run(&dialogs[i], 1);
	}
}
END_TEST

void
session_tests_dialogs(Suite *s)
{
	TCase *tc = tcase_create("dialogs");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_dialog_table_whole_segments);
	tcase_add_test(tc, test_dialog_table_byte_by_byte_same);
	suite_add_tcase(s, tc);
}
