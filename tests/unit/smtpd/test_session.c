/* SPDX-License-Identifier: ISC */
/* What a session commits, and how it goes on meanwhile. */
#include "tests/unit/smtpd/session_tests.h"

struct harness H;
char reply_mem[600];

void
session_setup(void)
{
	harness_init(&H, CONF);
	harness_connect(&H, LOCAL);
	harness_pump(&H);
	buf_clear(&H.in);
}

void
session_teardown(void)
{
	harness_fini(&H);
	ck_assert_uint_eq(H.srv.nsessions, 0);
	ck_assert_uint_eq(H.srv.pool.nused, 0);
	ck_assert_uint_eq(H.committer.nlarge, 0);
}

void
say(const char *text)
{
	harness_send(&H, sv_from(text), 100000);
}

void
expect(const char *want)
{
	struct sv got = harness_reply(&H, reply_mem, sizeof(reply_mem));

	ck_assert_msg(got.n > 0 && sv_starts(got, sv_from(want)),
	    "want %s, got %.*s", want, SV_FMT(got));
}

void
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

static void
session_tests_commit(Suite *s)
{
	TCase *tc = tcase_create("commit");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, session_setup, session_teardown);
	tcase_add_test(tc, test_session_message_record_is_whole);
	tcase_add_test(tc, test_session_two_rcpts_received_without_for);
	tcase_add_test(tc, test_session_commit_fails_4xx_and_txn_empty);
	tcase_add_test(tc, test_session_commit_pending_input_waits);
	tcase_add_test(tc, test_session_client_gone_in_commit_survives);
	tcase_add_test(tc, test_session_flood_in_commit_answered_in_order);
	suite_add_tcase(s, tc);

	tc = tcase_create("flood");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc,
	    test_session_answers_unread_waits_then_all_there);
	suite_add_tcase(s, tc);
}

int
main(void)
{
	Suite *s = suite_create("session");
	SRunner *r;
	int failed;

	session_tests_dialogs(s);
	session_tests_commit(s);
	session_tests_limits(s);
	session_tests_control(s);
	session_tests_model(s);
	session_tests_pattern(s);
	session_tests_alias(s);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
