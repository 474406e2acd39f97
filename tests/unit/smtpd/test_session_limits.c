/* SPDX-License-Identifier: ISC */
/* Limits of a session: sizes, counts, times, and what else makes it refuse. */
#include "tests/unit/smtpd/session_tests.h"

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
	static char part[270000];

	for (size_t i = 0; i < sizeof(part); i++)
		part[i] = i % 80 == 78 ? '\r' : i % 80 == 79 ? '\n' : 'x';
	begin();
	H.hold_large = true;
	harness_send(&H, sv_make(part, sizeof(part)), 30000);
	ck_assert_uint_eq(H.committer.nlarge, 1);
	harness_disconnect(&H);
	harness_pump(&H);
	ck_assert_uint_eq(H.committer.nlarge, 0);
	ck_assert_uint_eq(H.srv.nsessions, 0);
}
END_TEST

/* Whoever half closes behind the dot wants the answer. */
START_TEST(test_session_half_closed_behind_dot_answered)
{
	begin();
	H.hold_large = true;
	body_send(270000);
	ck_assert_uint_eq(H.committer.nlarge, 1);
	shutdown(H.client, SHUT_WR);
	harness_pump(&H);
	ck_assert_uint_eq(H.srv.nsessions, 1);
	H.hold_large = false;
	harness_pump(&H);
	expect("250 2.0.0");
	ck_assert_uint_eq(H.srv.nsessions, 0);
}
END_TEST

/* Answers to all that was sent ahead, and then the end. */
START_TEST(test_session_half_closed_hears_the_rest)
{
	say("EHLO c\r\n" M R "RSET\r\nNOOP\r\nMAI");
	shutdown(H.client, SHUT_WR);
	harness_pump(&H);
	for (int i = 0; i < 4; i++)
		expect("250");
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

void
session_tests_limits(Suite *s)
{
	TCase *tc = tcase_create("limits");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, session_setup, session_teardown);
	tcase_add_test(tc,
	    test_session_rcpts_far_over_limit_message_still_accepted);
	tcase_add_test(tc, test_session_rcpts_at_limit_ok_over_452);
	tcase_add_test(tc, test_session_body_at_limit_ok_over_552);
	tcase_add_test(tc, test_session_large_body_goes_to_file_whole);
	tcase_add_test(tc, test_session_large_refused_4xx_at_end);
	tcase_add_test(tc, test_session_client_gone_waiting_for_large_dropped);
	tcase_add_test(tc, test_session_half_closed_behind_dot_answered);
	tcase_add_test(tc, test_session_half_closed_hears_the_rest);
	tcase_add_test(tc, test_session_hops_over_limit_554);
	tcase_add_test(tc, test_session_line_at_limit_ok_over_500);
	tcase_add_test(tc, test_session_endless_line_closed);
	tcase_add_test(tc, test_session_junk_commands_421);
	tcase_add_test(tc, test_session_no_space_452_at_mail);
	tcase_add_test(tc, test_session_no_credit_354_waits);
	tcase_add_test(tc, test_session_stop_idle_421_transaction_finishes);
	tcase_add_test(tc, test_session_reload_keeps_old_settings_until_end);
	tcase_add_test(tc, test_session_data_too_slow_421);
	suite_add_tcase(s, tc);

	tc = tcase_create("own limits");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_session_errors_over_limit_421);
	tcase_add_test(tc, test_session_timeout_421);
	tcase_add_test(tc, test_session_no_service_554);
	suite_add_tcase(s, tc);
}
