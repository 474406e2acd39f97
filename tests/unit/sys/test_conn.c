/* SPDX-License-Identifier: ISC */
#include <sys/socket.h>
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/sys/conn.h"

static struct event_base *base;
static struct conn *conn;
static int peer, closes, timeouts, drains, close_err;
static char got[64];
static size_t want_reply;

static void
on_data(struct conn *c, void *arg)
{
	struct sv v = buf_sv(conn_in(c));

	(void)arg;
	ck_assert(sv_to_cstr(v, got, sizeof(got)));
	buf_consume(conn_in(c), v.n);
	for (size_t i = 0; i < want_reply; i++)
		ck_assert_int_eq(buf_add(conn_out(c), "x", 1), 0);
	if (sv_eq(v, SV("free")))
		conn_free(&conn);
}

static void
on_close(struct conn *c, void *arg, int err)
{
	(void)c;
	(void)arg;
	closes++;
	close_err = err;
	conn_free(&conn);
}

static void
on_timeout(struct conn *c, void *arg)
{
	(void)c;
	(void)arg;
	timeouts++;
}

static void
on_drain(struct conn *c, void *arg)
{
	(void)c;
	(void)arg;
	drains++;
}

static const struct conn_ops ops = {
	.on_data = on_data,
	.on_close = on_close,
	.on_timeout = on_timeout,
	.on_drain = on_drain,
};

static int eofs;

static void
on_eof(struct conn *c, void *arg)
{
	(void)arg;
	eofs++;
	ck_assert_int_eq(buf_add(conn_out(c), "still here", 10), 0);
}

static const struct conn_ops eof_ops = {
	.on_data = on_data,
	.on_eof = on_eof,
	.on_close = on_close,
	.on_timeout = on_timeout,
};

/* One end of a pair; the other one is peer. */
static struct conn *
conn_open(const struct conn_ops *o)
{
	int sp[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sp), 0);
	peer = sp[1];
	return conn_new(base, sp[0], o, NULL, 1000, 1u << 20);
}

static void
setup(void)
{
	base = event_base_new();
	conn = conn_open(&ops);
	closes = timeouts = drains = 0;
	want_reply = 0;
	got[0] = '\0';
}

static void
teardown(void)
{
	conn_free(&conn);
	if (peer >= 0)
		close(peer);
	event_base_free(base);
}

static void
spin(void)
{
	for (int i = 0; i < 10; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

START_TEST(test_conn_reply_is_sent_after_callback)
{
	char buf[8];

	want_reply = 3;
	ck_assert_int_eq(write(peer, "hello", 5), 5);
	spin();
	ck_assert_str_eq(got, "hello");
	ck_assert_int_eq(read(peer, buf, sizeof(buf)), 3);
}
END_TEST

START_TEST(test_conn_eof_reports_close_once)
{
	close(peer);
	peer = -1;
	spin();
	ck_assert_int_eq(closes, 1);
	ck_assert_int_eq(close_err, 0);
	ck_assert_ptr_null(conn);
}
END_TEST

/* A peer that has only half closed reads on. */
START_TEST(test_conn_eof_owner_may_go_on_writing)
{
	char buf[16];

	conn_free(&conn);
	close(peer);
	eofs = 0;
	conn = conn_open(&eof_ops);
	shutdown(peer, SHUT_WR);
	spin();
	ck_assert_int_eq(eofs, 1);
	ck_assert_int_eq(closes, 0);
	ck_assert_int_eq(read(peer, buf, sizeof(buf)), 10);
	conn_resume(conn);
	spin();
	ck_assert_int_eq(eofs, 1);
	conn_free(&conn);
	ck_assert_int_eq(read(peer, buf, sizeof(buf)), 0);
}
END_TEST

START_TEST(test_conn_linger_half_closed_peer_gets_it_all)
{
	size_t want = 600000, n = 0;
	char buf[4096] = { 0 };
	ssize_t r;

	for (size_t i = 0; i < want; i += 100)
		ck_assert_int_eq(buf_add(conn_out(conn), buf, 100), 0);
	shutdown(peer, SHUT_WR);
	conn_linger(&conn, 1000);
	spin();
	while (n < want && (r = read(peer, buf, sizeof(buf))) > 0) {
		n += (size_t)r;
		spin();
	}
	ck_assert_uint_eq(n, want);
}
END_TEST

START_TEST(test_conn_free_in_callback_is_safe)
{
	ck_assert_int_eq(write(peer, "free", 4), 4);
	spin();
	ck_assert_ptr_null(conn);
	ck_assert_int_eq(closes, 0);
}
END_TEST

START_TEST(test_conn_paused_reads_nothing_until_resume)
{
	conn_pause(conn);
	ck_assert_int_eq(write(peer, "late", 4), 4);
	spin();
	ck_assert_str_eq(got, "");
	conn_resume(conn);
	spin();
	ck_assert_str_eq(got, "late");
}
END_TEST

START_TEST(test_conn_deadline_fires_once)
{
	conn_deadline_set(conn, 1);
	event_base_loop(base, EVLOOP_ONCE);
	spin();
	ck_assert_int_eq(timeouts, 1);
}
END_TEST

START_TEST(test_conn_deadline_moved_does_not_fire_early)
{
	conn_deadline_set(conn, 1);
	conn_deadline_set(conn, 100000);
	event_base_loop(base, EVLOOP_ONCE);
	ck_assert_int_eq(timeouts, 0);
}
END_TEST

START_TEST(test_conn_big_output_drains)
{
	char *big = calloc(1, 1u << 20), buf[65536];
	size_t total = 0;

	ck_assert_int_eq(buf_add(conn_out(conn), big, 1u << 20), 0);
	conn_flush(conn);
	while (total < 1u << 20) {
		ssize_t n = read(peer, buf, sizeof(buf));

		ck_assert_int_gt(n, 0);
		total += (size_t)n;
		event_base_loop(base, EVLOOP_NONBLOCK);
	}
	spin();
	ck_assert_int_eq(drains, 1);
	free(big);
}
END_TEST

START_TEST(test_conn_write_to_closed_peer_reports_error)
{
	close(peer);
	peer = -1;
	ck_assert_int_eq(buf_add(conn_out(conn), "x", 1), 0);
	conn_flush(conn);
	spin();
	ck_assert_int_eq(closes, 1);
	ck_assert_int_eq(close_err, EPIPE);
}
END_TEST

START_TEST(test_conn_linger_sends_then_closes)
{
	char buf[8];

	ck_assert_int_eq(buf_add(conn_out(conn), "bye", 3), 0);
	conn_linger(&conn, 1000);
	spin();
	ck_assert_int_eq(read(peer, buf, sizeof(buf)), 3);
	ck_assert_int_eq(read(peer, buf, sizeof(buf)), 0);
	ck_assert_int_eq(closes, 0);
}
END_TEST

/* close() with input unread would reset: no last words, ECONNRESET. */
START_TEST(test_conn_linger_input_unread_is_no_reset)
{
	char buf[8], flood[20000] = { 0 };

	conn_pause(conn);
	ck_assert_int_eq(write(peer, flood, sizeof(flood)), sizeof(flood));
	ck_assert_int_eq(buf_add(conn_out(conn), "bye", 3), 0);
	conn_linger(&conn, 1000);
	spin();
	ck_assert_int_eq(read(peer, buf, sizeof(buf)), 3);
	ck_assert_int_eq(read(peer, buf, sizeof(buf)), 0);
	ck_assert_int_eq(shutdown(peer, SHUT_WR), 0);
	spin();
	ck_assert_int_eq(event_base_get_num_events(base,
	    EVENT_BASE_COUNT_ADDED), 0);
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("conn");
	Suite *s = suite_create("conn");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_conn_reply_is_sent_after_callback);
	tcase_add_test(tc, test_conn_eof_reports_close_once);
	tcase_add_test(tc, test_conn_eof_owner_may_go_on_writing);
	tcase_add_test(tc, test_conn_linger_half_closed_peer_gets_it_all);
	tcase_add_test(tc, test_conn_free_in_callback_is_safe);
	tcase_add_test(tc, test_conn_paused_reads_nothing_until_resume);
	tcase_add_test(tc, test_conn_deadline_fires_once);
	tcase_add_test(tc, test_conn_deadline_moved_does_not_fire_early);
	tcase_add_test(tc, test_conn_big_output_drains);
	tcase_add_test(tc, test_conn_write_to_closed_peer_reports_error);
	tcase_add_test(tc, test_conn_linger_sends_then_closes);
	tcase_add_test(tc, test_conn_linger_input_unread_is_no_reset);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
