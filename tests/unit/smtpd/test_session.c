/* SPDX-License-Identifier: ISC */
#include <check.h>
#include <stdio.h>

#include "tests/unit/smtpd/harness.h"

#define LOCAL "127.0.0.1"
#define CONF HARNESS_CONF \
	"<source 127.0.0.1>\nalways-allow-relaying yes\n" \
	"max-message-size 600000\nmax-rcpt-per-message 100\n</source>\n"
#define M "MAIL FROM:<s@x.example>\r\n"
#define R "RCPT TO:<r@relay.example>\r\n"
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

/* ---- what is committed ---- */

static struct harness H;
static char reply_mem[600];

static void
setup(void)
{
	harness_init(&H, CONF);
	harness_connect(&H, LOCAL);
	harness_pump(&H);
	buf_clear(&H.in);
}

static void
teardown(void)
{
	harness_fini(&H);
	ck_assert_uint_eq(H.srv.nsessions, 0);
	ck_assert_uint_eq(H.srv.pool.nused, 0);
	ck_assert_uint_eq(H.committer.nlarge, 0);
}

static void
say(const char *text)
{
	harness_send(&H, sv_from(text), 100000);
}

static void
expect(const char *want)
{
	struct sv got = harness_reply(&H, reply_mem, sizeof(reply_mem));

	ck_assert_msg(got.n > 0 && sv_starts(got, sv_from(want)),
	    "want %s, got %.*s", want, SV_FMT(got));
}

static void
begin(void)
{
	say("EHLO c.example\r\n" M R "DATA\r\n");
	expect("250 DSN");
	expect("250 2.1.0");
	expect("250 2.1.5");
	expect("354");
}

START_TEST(test_session_message_record_is_whole)
{
	struct arena a;
	struct envelope e;
	char text[MSGID_TEXT];

	say("EHLO c(.example\r\nMAIL FROM:<S@X.example> RET=HDRS ENVID=e+2B "
	    "BODY=8BITMIME\r\nRCPT TO:<R@Y.example> NOTIFY=DELAY "
	    "ORCPT=rfc822;r@z\r\nDATA\r\n");
	buf_clear(&H.in);
	say("Subject: x\r\n\r\n..dot \xc3\xbc\r\n.\r\n");
	expect("250 2.0.0 queued as ");
	ck_assert(sv_iends(sv_from(reply_mem), SV("")));
	ck_assert(memmem(reply_mem, sizeof(reply_mem),
	    msgid_format(H.committer.id, text), MSGID_TEXT - 1) != NULL);
	ck_assert(sv_eq(buf_sv(&H.committer.body),
	    SV("Subject: x\r\n\r\n.dot \xc3\xbc\r\n")));
	ck_assert_int_eq(H.committer.flags, RECORD_DOTS | RECORD_8BIT);
	arena_init(&a, 65536);
	ck_assert(envelope_decode(buf_sv(&H.committer.env), &a, &e));
	ck_assert(sv_eq(e.sender, SV("S@x.example")));
	ck_assert(sv_eq(e.envid, SV("e+2B")));
	ck_assert(sv_eq(e.helo, SV("c(.example")));
	ck_assert(sv_eq(e.client_ip, SV(LOCAL)));
	ck_assert(sv_eq(e.src_type, SV("smtp")));
	ck_assert_uint_eq(e.flags, ENV_RET_HDRS | ENV_8BITMIME);
	ck_assert_uint_eq(e.nrcpts, 1);
	ck_assert(sv_eq(e.rcpts[0].addr, SV("R@y.example")));
	ck_assert(sv_eq(e.rcpts[0].orcpt, SV("rfc822;r@z")));
	ck_assert_uint_eq(e.rcpts[0].notify, NOTIFY_DELAY);
	arena_fini(&a);
	ck_assert(sv_starts(buf_sv(&H.committer.head),
	    SV("Received: from c?.example ([127.0.0.1])\r\n\tby "
	    "mx.example.org with ESMTP id ")));
	ck_assert(memmem(buf_data(&H.committer.head),
	    buf_len(&H.committer.head), "for <R@y.example>;", 18) != NULL);
}
END_TEST

START_TEST(test_session_two_rcpts_received_without_for)
{
	say("EHLO c\r\n" M R R "DATA\r\n");
	say(".\r\n");
	ck_assert(memmem(buf_data(&H.committer.head),
	    buf_len(&H.committer.head), "for <", 5) == NULL);
}
END_TEST

static void
commit_fails(enum commit_result result, const char *want)
{
	H.result = result;
	say(M R "DATA\r\n");
	say("x\r\n.\r\n");
	expect("250");
	expect("250");
	expect("354");
	expect(want);
}

START_TEST(test_session_commit_fails_4xx_and_txn_empty)
{
	say("EHLO c\r\n");
	expect("250 DSN");
	commit_fails(COMMIT_NO_SPACE, "452 4.3.1");
	say(R);
	expect("503");
	commit_fails(COMMIT_IO_ERROR, "451 4.3.0");
	say("DATA\r\n");
	expect("503");
	commit_fails(COMMIT_TOO_LARGE, "552 5.3.4");
	commit_fails(COMMIT_SHUTDOWN, "421 4.3.2");
	ck_assert(H.eof);
}
END_TEST

START_TEST(test_session_commit_pending_input_waits)
{
	begin();
	H.hold = true;
	say("x\r\n.\r\nNOOP\r\nQUIT\r\n");
	ck_assert_uint_eq(harness_reply(&H, reply_mem, 600).n, 0);
	H.hold = false;
	harness_pump(&H);
	expect("250 2.0.0 queued");
	expect("250 2.0.0 Ok");
	expect("221");
	ck_assert(H.eof);
}
END_TEST

START_TEST(test_session_client_gone_in_commit_survives)
{
	begin();
	H.hold = true;
	say("x\r\n.\r\n");
	harness_disconnect(&H);
	harness_pump(&H);
	ck_assert_uint_eq(H.srv.nsessions, 1);
	H.hold = false;
	harness_pump(&H);
	ck_assert_uint_eq(H.srv.nsessions, 0);
	ck_assert(sv_eq(buf_sv(&H.committer.body), SV("x\r\n")));
}
END_TEST

/* Much more than the buffer while a commit is pending: nothing is lost. */
START_TEST(test_session_flood_in_commit_answered_in_order)
{
	struct sv noop = SV("NOOP\r\n");
	size_t sent = 0, got = 0;
	char all[120000];

	for (size_t i = 0; i + noop.n <= sizeof(all); i += noop.n)
		memcpy(all + i, noop.p, noop.n);
	begin();
	H.hold = true;
	say("x\r\n.\r\n");
	/* one command is over the junk limit: so 100 answers, then 421 */
	while (sent < sizeof(all)) {
		ssize_t n = send(H.client, all + sent, sizeof(all) - sent,
		    MSG_NOSIGNAL);

		if (n <= 0)
			break;
		sent += (size_t)n;
		harness_pump(&H);
	}
	H.hold = false;
	harness_pump(&H);
	expect("250 2.0.0 queued");
	while (sv_starts(harness_reply(&H, reply_mem, 600), SV("250")))
		got++;
	ck_assert_uint_eq(got, JUNK_MAX);
	ck_assert(sv_starts(sv_from(reply_mem), SV("421 4.7.0")));
}
END_TEST

/* A client that sends commands and reads no answers makes us wait, not grow;
 * when it reads, every answer is there. */
START_TEST(test_session_answers_unread_waits_then_all_there)
{
	enum { N = 20000 };
	static char all[3 * N];
	struct harness h;
	char mem[600];
	size_t sent = 0, got = 0;
	int small = 4096, stuck = 0;
	struct session *s;

	for (size_t i = 0; i < sizeof(all); i += 3)
		memcpy(all + i, "X\r\n", 3);
	harness_init(&h, HARNESS_CONF
	    "<source 0/0>\nmax-errors-per-session 0\n</source>\n");
	harness_connect(&h, "192.0.2.1");
	s = TAILQ_FIRST(&h.srv.sessions);
	setsockopt(conn_fd(s->conn), SOL_SOCKET, SO_SNDBUF, &small,
	    sizeof(small));
	while (stuck < 5 && sent < sizeof(all)) {
		ssize_t n = send(h.client, all + sent, sizeof(all) - sent,
		    MSG_NOSIGNAL);

		sent += n > 0 ? (size_t)n : 0;
		stuck = n > 0 ? 0 : stuck + 1;
		event_base_loop(h.base, EVLOOP_NONBLOCK);
		ck_assert_uint_le(buf_len(conn_out(s->conn)), OUT_SOFT + 64);
	}
	harness_send(&h, sv_make(all + sent, sizeof(all) - sent), 100000);
	ck_assert(sv_starts(harness_reply(&h, mem, 600), SV("220")));
	while (sv_starts(harness_reply(&h, mem, 600), SV("500")))
		got++;
	ck_assert_uint_eq(got, N);
	harness_fini(&h);
}
END_TEST

/* ---- limits ---- */

/* RFC 5321 4.5.3.1.10: a list sent ahead ends in no 421. */
START_TEST(test_session_rcpts_far_over_limit_message_still_accepted)
{
	say("EHLO c\r\n" M);
	expect("250 DSN");
	expect("250");
	for (int i = 0; i < 400; i++) {
		say(R);
		expect(i < 100 ? "250 2.1.5" : "452 4.5.3");
	}
	say("DATA\r\n");
	expect("354");
	say("x\r\n.\r\n");
	expect("250 2.0.0");
}
END_TEST

START_TEST(test_session_rcpts_at_limit_ok_over_452)
{
	say("EHLO c\r\n" M);
	expect("250 DSN");
	expect("250");
	for (int i = 0; i < 100; i++) {
		say(R);
		expect("250 2.1.5");
	}
	say(R);
	expect("452 4.5.3");
	say("DATA\r\n");
	expect("354");
	say("x\r\n.\r\n");
	expect("250 2.0.0");
}
END_TEST

static void
body_send(size_t n)
{
	char *body = malloc(n + 3);

	for (size_t i = 0; i < n; i++)
		body[i] = i % 80 == 78 ? '\r' : i % 80 == 79 ? '\n' : 'x';
	body[n - 2] = '\r';
	body[n - 1] = '\n';
	if (body[n - 3] == '\r')
		body[n - 3] = 'x';
	memcpy(body + n, ".\r\n", 3);
	harness_send(&H, sv_make(body, n + 3), 30000);
	free(body);
}

START_TEST(test_session_body_at_limit_ok_over_552)
{
	begin();
	body_send(600000);
	expect("250 2.0.0");
	ck_assert_uint_eq(buf_len(&H.committer.body), 600000);
	say(M R "DATA\r\n");
	expect("250");
	expect("250");
	expect("354");
	body_send(600001);
	expect("552 5.3.4");
	say(R);
	expect("503");
}
END_TEST

START_TEST(test_session_large_body_goes_to_file_whole)
{
	for (size_t n = LARGE_THRESHOLD - 40; n < LARGE_THRESHOLD + 40000;
	    n += 9001) {
		say("EHLO c\r\n" M R "DATA\r\n");
		buf_clear(&H.in);
		body_send(n);
		expect("250 2.0.0");
		ck_assert_uint_eq(buf_len(&H.committer.body), n);
		ck_assert_uint_eq(H.srv.pool.nused, 0);
	}
}
END_TEST

START_TEST(test_session_large_refused_4xx_at_end)
{
	static const struct {
		bool none, ok;
		int err;
		const char *want;
	} t[] = {
		{ true, true, 0, "452 4.3.1" },
		{ false, false, 0, "451 4.3.0" },
		{ false, true, ENOSPC, "452 4.3.1" },
		{ false, true, EIO, "451 4.3.0" },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		H.committer.no_large = t[i].none;
		H.committer.large_errno = t[i].err;
		H.large_ok = t[i].ok;
		say("EHLO c\r\n" M R "DATA\r\n");
		buf_clear(&H.in);
		body_send(500000);
		expect(t[i].want);
		say(R);
		expect("503");
	}
}
END_TEST

START_TEST(test_session_client_gone_waiting_for_large_dropped)
{
	begin();
	H.hold_large = true;
	body_send(270000);
	ck_assert_uint_eq(H.committer.nlarge, 1);
	harness_disconnect(&H);
	harness_pump(&H);
	ck_assert_uint_eq(H.committer.nlarge, 0);
	ck_assert_uint_eq(H.srv.nsessions, 0);
}
END_TEST

START_TEST(test_session_hops_over_limit_554)
{
	begin();
	for (int i = 0; i < 100; i++)
		say("Received: x\r\n");
	say("\r\n.\r\n");
	expect("250 2.0.0");
	say(M R "DATA\r\n");
	expect("250");
	expect("250");
	expect("354");
	for (int i = 0; i < 101; i++)
		say("Received: x\r\n");
	say("\r\n.\r\n");
	expect("554 5.4.6");
}
END_TEST

/* RFC 5321 4.5.3.1.4 */
START_TEST(test_session_line_at_limit_ok_over_500)
{
	char line[COMMAND_MAX + 100];

	memset(line, 'x', sizeof(line));
	memcpy(line, "NOOP ", 5);
	memcpy(line + COMMAND_MAX - 2, "\r\n", 2);
	harness_send(&H, sv_make(line, COMMAND_MAX), 700);
	expect("250");
	line[COMMAND_MAX - 2] = 'x';
	memcpy(line + COMMAND_MAX - 1, "\r\n", 2);
	harness_send(&H, sv_make(line, COMMAND_MAX + 1), 700);
	expect("500 5.5.2");
	harness_send(&H, sv_make(line, COMMAND_MAX + 1), 100000);
	expect("500 5.5.2");
	say("NOOP\r\n");
	expect("250");
}
END_TEST

START_TEST(test_session_endless_line_closed)
{
	char line[4096];

	memset(line, 'x', sizeof(line));
	for (int i = 0; i < 100 && !H.eof; i++)
		harness_send(&H, sv_make(line, sizeof(line)), 4096);
	expect("421");
	ck_assert(H.eof);
}
END_TEST

START_TEST(test_session_junk_commands_421)
{
	for (unsigned i = 0; i < JUNK_MAX; i++) {
		say("NOOP\r\n");
		expect("250");
	}
	say("NOOP\r\n");
	expect("421 4.7.0");
	ck_assert(H.eof);
}
END_TEST

START_TEST(test_session_no_space_452_at_mail)
{
	H.committer.refusal = "disk is full";
	say("EHLO c\r\n" M);
	expect("250 DSN");
	expect("452 4.3.1");
	H.committer.refusal = NULL;
	say(M);
	expect("250 2.1.0");
}
END_TEST

START_TEST(test_session_no_credit_354_waits)
{
	H.committer.closed = true;
	say("EHLO c\r\n" M R "DATA\r\n");
	expect("250 DSN");
	expect("250");
	expect("250");
	ck_assert_uint_eq(harness_reply(&H, reply_mem, 600).n, 0);
	H.committer.closed = false;
	server_on_ready(&H.srv);
	harness_pump(&H);
	expect("354");
	say("x\r\n.\r\n");
	expect("250 2.0.0");
}
END_TEST

START_TEST(test_session_stop_idle_421_transaction_finishes)
{
	struct harness h;

	begin();
	harness_init(&h, CONF);
	harness_connect(&h, LOCAL);
	harness_pump(&h);
	server_stop(&h.srv);
	harness_pump(&h);
	ck_assert(memmem(buf_data(&h.in), buf_len(&h.in), "421 4.3.2", 9) !=
	    NULL);
	ck_assert(h.eof);
	harness_fini(&h);

	server_stop(&H.srv);
	harness_pump(&H);
	ck_assert(!H.eof);
	say("x\r\n.\r\n");
	expect("250 2.0.0");
	expect("421 4.3.2");
	ck_assert(H.eof);
}
END_TEST

START_TEST(test_session_reload_keeps_old_settings_until_end)
{
	say("EHLO c\r\n");
	expect("250 DSN");
	server_conf_set(&H.srv, harness_conf("host-name new.example\n"));
	say("HELO c\r\n");
	expect("250 mx.example.org");
}
END_TEST

START_TEST(test_session_errors_over_limit_421)
{
	struct harness h;
	char mem[600];
	unsigned n = 0;

	harness_init(&h, HARNESS_CONF
	    "<source 0/0>\nmax-errors-per-session 3\n</source>\n");
	harness_connect(&h, "192.0.2.1");
	harness_pump(&h);
	buf_clear(&h.in);
	harness_send(&h, SV("X\r\n"), 100);
	ck_assert(sv_starts(harness_reply(&h, mem, 600), SV("500")));
	harness_send(&h, SV("X\r\nX\r\n"), 100);
	ck_assert(sv_starts(harness_reply(&h, mem, 600), SV("500")));
	/* over half of the limit: the next one has to wait a second */
	ck_assert_uint_eq(harness_reply(&h, mem, 600).n, 0);
	while (!h.eof && n++ < 100) {
		event_base_loop(h.base, EVLOOP_ONCE);
		harness_pump(&h);
	}
	ck_assert(sv_starts(harness_reply(&h, mem, 600), SV("500")));
	ck_assert(sv_starts(harness_reply(&h, mem, 600), SV("421 4.7.0")));
	harness_fini(&h);
}
END_TEST

START_TEST(test_session_timeout_421)
{
	struct harness h;
	char mem[600];

	harness_init(&h, HARNESS_CONF
	    "<source 0/0>\nsmtp-command-timeout 1s\n</source>\n");
	harness_connect(&h, "192.0.2.1");
	harness_pump(&h);
	buf_clear(&h.in);
	/* a part of a command does not move the deadline */
	harness_send(&h, SV("NOO"), 100);
	for (int i = 0; i < 10 && !h.eof; i++) {
		event_base_loop(h.base, EVLOOP_ONCE);
		harness_pump(&h);
	}
	ck_assert(sv_starts(harness_reply(&h, mem, 600), SV("421 4.4.2")));
	harness_fini(&h);
}
END_TEST

START_TEST(test_session_no_service_554)
{
	struct harness h;
	char mem[600];

	harness_init(&h, HARNESS_CONF
	    "<source 192.0.2.0/24>\nsmtp-service no\n</source>\n");
	harness_connect(&h, "192.0.2.1");
	harness_pump(&h);
	ck_assert(sv_starts(harness_reply(&h, mem, 600), SV("554 5.7.1")));
	ck_assert(h.eof);
	harness_fini(&h);
}
END_TEST

/* ---- control fields, headers added, qualification ---- */

#define STEER HARNESS_CONF "domain-suffix suffix.example\n" \
	"<virtual-mta v1>\nsmtp-source-host 127.0.0.1 v1.example\n" \
	"</virtual-mta>\n<source 127.0.0.1>\nalways-allow-relaying yes\n" \
	"process-x-virtual-mta yes\nprocess-x-job yes\n" \
	"process-x-envid yes\nadd-date-header yes\n" \
	"add-message-id-header yes\ndsn-return-default full\n</source>\n"

static struct envelope
steer(struct harness *h, const char *ip, const char *message,
    const char *want, struct arena *a)
{
	struct envelope e = { 0 };
	char mem[600];
	struct sv got = SV("");

	harness_init(h, STEER);
	harness_connect(h, ip);
	harness_send(h, SV("EHLO c\r\n" M R "DATA\r\n"), 9999);
	buf_clear(&h->in);
	harness_send(h, sv_from(message), 9999);
	got = harness_reply(h, mem, sizeof(mem));
	ck_assert_msg(sv_starts(got, sv_from(want)), "got %.*s",
	    SV_FMT(got));
	if (sv_starts(got, SV("250")))
		ck_assert(envelope_decode(buf_sv(&h->committer.env), a, &e));
	return e;
}

START_TEST(test_session_control_fields_trusted_obeyed_and_removed)
{
	struct harness h;
	struct envelope e;
	struct arena a;
	struct sv head;

	arena_init(&a, 65536);
	e = steer(&h, LOCAL, "X-Virtual-MTA: v1\r\nA: b\r\nx-job: j 1\r\n"
	    "x-envid: e=1\r\n\r\nbody\r\n.\r\n", "250", &a);
	ck_assert(sv_eq(buf_sv(&h.committer.body),
	    SV("A: b\r\n\r\nbody\r\n")));
	ck_assert(sv_eq(e.vmta, SV("v1")));
	ck_assert(sv_eq(e.job, SV("j 1")));
	ck_assert(sv_eq(e.envid, SV("e+3D1")));
	ck_assert_uint_eq(e.flags, ENV_RET_FULL);
	head = buf_sv(&h.committer.head);
	ck_assert(memmem(head.p, head.n, "\r\nDate: ", 8) != NULL);
	ck_assert(memmem(head.p, head.n, "\r\nMessage-ID: <", 15) != NULL);
	harness_fini(&h);
	arena_fini(&a);
}
END_TEST

START_TEST(test_session_control_fields_stranger_mean_nothing)
{
	struct harness h;
	struct envelope e;
	struct arena a;

	arena_init(&a, 65536);
	e = steer(&h, "192.0.2.1", "X-Virtual-MTA: v1\r\nx-job: j\r\n\r\n"
	    ".\r\n", "250", &a);
	ck_assert_uint_eq(e.vmta.n, 0);
	ck_assert_uint_eq(e.job.n, 0);
	ck_assert(sv_eq(buf_sv(&h.committer.body),
	    SV("X-Virtual-MTA: v1\r\nx-job: j\r\n\r\n")));
	harness_fini(&h);
	arena_fini(&a);
}
END_TEST

START_TEST(test_session_control_unknown_vmta_550)
{
	struct harness h;
	struct arena a;

	arena_init(&a, 65536);
	steer(&h, LOCAL, "x-virtual-mta: nope\r\n\r\n.\r\n", "550 5.7.1",
	    &a);
	ck_assert_uint_eq(h.committer.submitted, 0);
	harness_fini(&h);
	arena_fini(&a);
}
END_TEST

START_TEST(test_session_qualify_trusted_only)
{
	struct harness h;
	char mem[600];

	for (int i = 0; i < 2; i++) {
		harness_init(&h, STEER);
		harness_connect(&h, i == 0 ? LOCAL : "192.0.2.1");
		harness_send(&h, SV("EHLO c\r\nMAIL FROM:<>\r\n"
		    "RCPT TO:<joe>\r\n"), 9999);
		harness_reply(&h, mem, sizeof(mem));
		harness_reply(&h, mem, sizeof(mem));
		harness_reply(&h, mem, sizeof(mem));
		ck_assert(sv_starts(harness_reply(&h, mem, sizeof(mem)),
		    i == 0 ? SV("250 2.1.5") : SV("553 5.1.3")));
		harness_fini(&h);
	}
}
END_TEST

START_TEST(test_session_large_with_control_fields_removed)
{
	static char message[400000];
	struct harness h;
	struct arena a;
	struct envelope e;
	size_t n;

	n = (size_t)snprintf(message, sizeof(message), "x-job: j\r\n\r\n");
	for (; n < 390000; n += 10)
		memcpy(message + n, "12345678\r\n", 10);
	memcpy(message + n, ".\r\n", 4);
	arena_init(&a, 65536);
	e = steer(&h, LOCAL, message, "250", &a);
	ck_assert(sv_eq(e.job, SV("j")));
	ck_assert_uint_eq(buf_len(&h.committer.body), n - 10);
	harness_fini(&h);
	arena_fini(&a);
}
END_TEST

START_TEST(test_session_data_too_slow_421)
{
	begin();
	say("x\r\n");
	ck_assert(!H.eof);
	TAILQ_FIRST(&H.srv.sessions)->txn.data_start_ms -= 60000;
	say("y\r\n");
	expect("421 4.4.2");
	ck_assert(H.eof);
}
END_TEST

/* ---- random sequences against a model ---- */

static uint32_t seed;

static uint32_t
rnd(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

struct model {
	bool greeted, mail, refused;
	uint32_t nrcpts;
};

/* Number of the last reply. */
static unsigned
turn(struct harness *h, const char *text)
{
	struct sv got;
	uint64_t code;
	char mem[600];

	harness_send(h, sv_from(text), 1 + rnd(100));
	got = harness_reply(h, mem, sizeof(mem));
	ck_assert(sv_to_u64(sv_head(got, 3), 599, &code));
	ck_assert_uint_eq(harness_reply(h, mem, sizeof(mem)).n, 0);
	return (unsigned)code;
}

static void
model_data(struct harness *h, struct model *m)
{
	static const struct {
		const char *text;
		bool good;
	} bodies[] = {
		{ "x\r\n.\r\n", true }, { ".\r\n", true },
		{ "x\ny\r\n.\r\n", false }, { "\r\n.\r.\r\n.\r\n", false },
	};
	static const enum commit_result results[] = {
		COMMIT_OK, COMMIT_OK, COMMIT_IO_ERROR, COMMIT_NO_SPACE,
	};
	size_t before = h->committer.submitted;
	uint32_t b = rnd(4);
	unsigned code = turn(h, "DATA\r\n");
	bool may = m->greeted && m->mail && m->nrcpts > 0;

	ck_assert_int_eq(code == 354, may);
	if (!may)
		return;
	h->result = results[rnd(4)];
	code = turn(h, bodies[b].text);
	ck_assert_int_eq(code == 250, bodies[b].good &&
	    h->result == COMMIT_OK);
	ck_assert_uint_eq(h->committer.submitted - before, bodies[b].good);
	if (bodies[b].good) {
		struct arena a;
		struct envelope e;

		arena_init(&a, 1u << 20);
		ck_assert(envelope_decode(buf_sv(&h->committer.env), &a, &e));
		ck_assert_uint_eq(e.nrcpts, m->nrcpts);
		arena_fini(&a);
	}
	m->mail = false;
	m->nrcpts = 0;
}

static void
model_step(struct harness *h, struct model *m)
{
	switch (rnd(10)) {
	case 0:
		ck_assert_uint_eq(turn(h, rnd(2) ? "EHLO c\r\n" :
		    "HELO c\r\n"), 250);
		*m = (struct model){ .greeted = true };
		break;
	case 1:
		ck_assert_uint_eq(turn(h, "RSET\r\n"), 250);
		m->mail = false;
		m->nrcpts = 0;
		break;
	case 2:
	case 3:
		if (turn(h, M) == 250) {
			ck_assert(m->greeted && !m->mail);
			m->mail = true;
			m->nrcpts = 0;
		} else {
			ck_assert(!m->greeted || m->mail);
		}
		break;
	case 4:
		ck_assert_uint_ge(turn(h, "MAIL FROM:<x>\r\n"), 500);
		break;
	case 5:
	case 6:
		if (turn(h, R) == 250) {
			ck_assert(m->greeted && m->mail);
			m->nrcpts++;
		} else {
			ck_assert(!m->greeted || !m->mail);
		}
		break;
	case 7:
		ck_assert_uint_ge(turn(h, "RCPT TO:<x@y.z>\r\n"), 500);
		break;
	case 8:
		turn(h, "VRFY x\r\n");
		break;
	default:
		model_data(h, m);
		break;
	}
}

START_TEST(test_session_random_sequences_follow_model)
{
	for (seed = 1; seed < 100000; seed += 997) {
		struct model m = { 0 };
		struct harness h;
		uint32_t keep = seed;

		harness_init(&h, HARNESS_CONF
		    "<source 0/0>\nmax-errors-per-session 0\n</source>\n");
		harness_connect(&h, "192.0.2.1");
		harness_pump(&h);
		buf_clear(&h.in);
		for (int i = 0; i < 80; i++)
			model_step(&h, &m);
		harness_fini(&h);
		ck_assert_uint_eq(h.srv.pool.nused, 0);
		seed = keep;
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("session");
	TCase *t = tcase_create("table"), *f = tcase_create("fixture");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_set_timeout(f, 60);
	tcase_add_test(t, test_dialog_table_whole_segments);
	tcase_add_test(t, test_dialog_table_byte_by_byte_same);
	tcase_add_test(t, test_session_errors_over_limit_421);
	tcase_add_test(t, test_session_timeout_421);
	tcase_add_test(t, test_session_no_service_554);
	tcase_add_test(t, test_session_answers_unread_waits_then_all_there);
	tcase_add_test(t,
	    test_session_control_fields_trusted_obeyed_and_removed);
	tcase_add_test(t, test_session_control_fields_stranger_mean_nothing);
	tcase_add_test(t, test_session_control_unknown_vmta_550);
	tcase_add_test(t, test_session_qualify_trusted_only);
	tcase_add_test(t, test_session_large_with_control_fields_removed);
	tcase_add_test(f, test_session_data_too_slow_421);
	tcase_add_test(t, test_session_random_sequences_follow_model);
	tcase_add_checked_fixture(f, setup, teardown);
	tcase_add_test(f, test_session_message_record_is_whole);
	tcase_add_test(f, test_session_two_rcpts_received_without_for);
	tcase_add_test(f, test_session_commit_fails_4xx_and_txn_empty);
	tcase_add_test(f, test_session_commit_pending_input_waits);
	tcase_add_test(f, test_session_client_gone_in_commit_survives);
	tcase_add_test(f, test_session_flood_in_commit_answered_in_order);
	tcase_add_test(f, test_session_rcpts_at_limit_ok_over_452);
	tcase_add_test(f,
	    test_session_rcpts_far_over_limit_message_still_accepted);
	tcase_add_test(f, test_session_body_at_limit_ok_over_552);
	tcase_add_test(f, test_session_large_body_goes_to_file_whole);
	tcase_add_test(f, test_session_large_refused_4xx_at_end);
	tcase_add_test(f, test_session_client_gone_waiting_for_large_dropped);
	tcase_add_test(f, test_session_hops_over_limit_554);
	tcase_add_test(f, test_session_line_at_limit_ok_over_500);
	tcase_add_test(f, test_session_endless_line_closed);
	tcase_add_test(f, test_session_junk_commands_421);
	tcase_add_test(f, test_session_no_space_452_at_mail);
	tcase_add_test(f, test_session_no_credit_354_waits);
	tcase_add_test(f, test_session_stop_idle_421_transaction_finishes);
	tcase_add_test(f, test_session_reload_keeps_old_settings_until_end);
	suite_add_tcase(s, t);
	suite_add_tcase(s, f);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
