/* SPDX-License-Identifier: ISC */
/* The real pinnace-smtp between a rig and a sink. */
#include <sys/mman.h>
#include <sys/wait.h>
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/ipc/chan.h"
#include "common/mail/outcome.h"
#include "common/mail/route.h"
#include "common/spool/intent.h"
#include "common/spool/segment.h"
#include "tests/unit/delivery/sink.h"
#include "tests/unit/delivery/smtp_rig.h"

START_TEST(test_deliver_good_server_arrives_byte_for_byte)
{
	struct fx f;
	struct sink sink;
	struct where at;
	size_t n;
	char *text;

	sink_start(&sink, SINK_GOOD);
	fx_start(&f);
	at = record_put(&f, 1, SV("Subject: x\r\n\r\n.dot\r\n..\r\nend\r\n"),
	    false);
	open_session(&f, 1, &sink);
	deliver(&f, 1, &at, 1);
	fx_wait(&f, &f.nresults, 1);
	ck_assert_uint_eq(f.nup, 1);
	ck_assert_uint_eq(f.results[0].outcome[0], OUT_DELIVERED);
	ck_assert_uint_eq(f.results[0].code[0], 250);
	ck_assert_str_eq(f.results[0].text[0], "250 2.0.0 taken");
	ck_assert(!f.results[0].relayed_no_dsn);
	ck_assert_uint_eq(slots_in_state(&f, INTENT_DELIVERED), 1);
	text = sink_message(&sink, &n);
	ck_assert_str_eq(text, "Received: by test\r\nSubject: x\r\n\r\n.dot"
	                       "\r\n..\r\nend\r\n");
	free(text);
	ipc_send_result_ack(f.qmgr, &(struct ipc_result_ack){ .seq = 1 });
	ipc_send_session_close(f.qmgr,
	    &(struct ipc_session_close){ .session = 1 });
	fx_wait(&f, &f.nend, 1);
	ck_assert_uint_eq(f.end.why, END_IDLE);
	ck_assert_uint_eq(slots_in_state(&f, INTENT_DELIVERED), 0);
	fx_stop(&f);
	sink_stop(&sink);
}
END_TEST

START_TEST(test_deliver_many_pipelined_all_arrive_in_order)
{
	struct fx f;
	struct sink sink;
	struct where at;

	sink_start(&sink, SINK_GOOD);
	fx_start(&f);
	open_session(&f, 1, &sink);
	for (unsigned i = 0; i < 50; i++) {
		char body[64];
		int n = snprintf(body, sizeof(body), "number %u\r\n", i);

		at = record_put(&f, 2, sv_make(body, (size_t)n), false);
		deliver(&f, 1, &at, 2);
	}
	/* 16 slots only: the acknowledgements let it go on */
	for (unsigned i = 1; i <= 50; i++) {
		size_t n;
		char want[32], *text;

		fx_wait(&f, &f.nresults, i);
		ipc_send_result_ack(f.qmgr,
		    &(struct ipc_result_ack){ .seq = i });
		text = sink_message(&sink, &n);
		snprintf(want, sizeof(want), "number %u\r\n", i - 1);
		ck_assert_ptr_nonnull(strstr(text, want));
		free(text);
		ck_assert_uint_eq(f.results[i - 1].n, 2);
		ck_assert_uint_eq(f.results[i - 1].outcome[1], OUT_DELIVERED);
	}
	fx_stop(&f);
	sink_stop(&sink);
}
END_TEST

START_TEST(test_deliver_one_recipient_refused_each_own_outcome)
{
	struct fx f;
	struct sink sink;
	struct where at;

	sink_start(&sink, SINK_REFUSE_RCPT_B);
	fx_start(&f);
	at = record_put(&f, 3, SV("x\r\n"), false);
	open_session(&f, 1, &sink);
	deliver(&f, 1, &at, 3);
	fx_wait(&f, &f.nresults, 1);
	ck_assert_uint_eq(f.results[0].n, 3);
	ck_assert_uint_eq(f.results[0].outcome[0], OUT_DELIVERED);
	ck_assert_uint_eq(f.results[0].outcome[1], OUT_PERMANENT);
	ck_assert_uint_eq(f.results[0].code[1], 550);
	ck_assert_uint_eq(f.results[0].outcome[2], OUT_DELIVERED);
	fx_stop(&f);
	sink_stop(&sink);
}
END_TEST

START_TEST(test_deliver_large_body_streams_whole)
{
	size_t size = (size_t)3 << 20, n;
	char *body = malloc(size), *text;
	struct fx f;
	struct sink sink;
	struct where at;

	for (size_t i = 0; i < size; i++)
		body[i] = i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' :
		    i % 64 == 0 && i % 128 == 0 ? '.' : 'x';
	sink_start(&sink, SINK_NO_EHLO);
	fx_start(&f);
	at = record_put(&f, 1, sv_make(body, size), true);
	open_session(&f, 1, &sink);
	ipc_send_large_open(f.qmgr, &(struct ipc_large_open){ .large_id = 99 },
	    f.large_fd);
	deliver(&f, 1, &at, 1);
	chan_flush(f.qmgr);
	text = sink_message(&sink, &n);
	fx_wait(&f, &f.nresults, 1);
	ck_assert_uint_eq(f.results[0].outcome[0], OUT_DELIVERED);
	ck_assert(f.results[0].relayed_no_dsn);
	ck_assert_uint_eq(n, size + strlen("Received: by test\r\n"));
	ck_assert_int_eq(memcmp(text + n - size, body, size), 0);
	free(text);
	free(body);
	fx_stop(&f);
	sink_stop(&sink);
}
END_TEST

START_TEST(test_deliver_corrupt_records_unreadable)
{
	struct fx f;
	struct sink sink;
	struct where at, large, gone;
	int fd;

	sink_start(&sink, SINK_GOOD);
	fx_start(&f);
	at = record_put(&f, 1, SV("some body\r\n"), false);
	large = record_put(&f, 1, SV("another body\r\n"), true);
	fd = dup(f.large_fd);
	gone = large;
	gone.offset += 8;
	ck_assert_int_eq(pwrite(f.seg_fd, "X", 1,
	                     (off_t)(at.offset + RECORD_HEADER + 100)), 1);
	ck_assert_int_eq(pwrite(fd, "X", 1, 3), 1);
	close(fd);
	open_session(&f, 1, &sink);
	deliver(&f, 1, &at, 1);
	deliver(&f, 1, &gone, 1);
	ipc_send_large_open(f.qmgr, &(struct ipc_large_open){ .large_id = 99 },
	    f.large_fd);
	deliver(&f, 1, &large, 1);
	fx_wait(&f, &f.nresults, 3);
	for (int i = 0; i < 3; i++)
		ck_assert_uint_eq(f.results[i].outcome[0], OUT_UNREADABLE);
	fx_stop(&f);
	sink_stop(&sink);
}
END_TEST

START_TEST(test_deliver_lost_after_dot_in_doubt)
{
	struct fx f;
	struct sink sink;
	struct where at;

	sink_start(&sink, SINK_DROP_AT_DOT);
	fx_start(&f);
	at = record_put(&f, 1, SV("x\r\n"), false);
	open_session(&f, 1, &sink);
	deliver(&f, 1, &at, 1);
	deliver(&f, 1, &at, 1);
	fx_wait(&f, &f.nend, 1);
	ck_assert_uint_eq(f.nresults, 1);
	ck_assert_uint_eq(f.results[0].outcome[0], OUT_IN_DOUBT);
	ck_assert_uint_eq(f.end.why, END_LOST);
	ck_assert_uint_eq(slots_in_state(&f, INTENT_DOT_SENT), 1);
	fx_stop(&f);
	sink_stop(&sink);
}
END_TEST

START_TEST(test_deliver_no_answer_to_dot_in_doubt_after_timeout)
{
	const struct sink *to;
	struct fx f;
	struct sink sink;
	struct where at;

	sink_start(&sink, SINK_HANG_AT_DOT);
	fx_start(&f);
	at = record_put(&f, 1, SV("x\r\n"), false);
	to = &sink;
	open_session_to(&f, 1, &to, 1, 0, 300);
	deliver(&f, 1, &at, 1);
	fx_wait(&f, &f.nend, 1);
	ck_assert_uint_eq(f.nresults, 1);
	ck_assert_uint_eq(f.results[0].outcome[0], OUT_IN_DOUBT);
	ck_assert_ptr_nonnull(strstr(f.results[0].text[0], "timeout"));
	fx_stop(&f);
	sink_stop(&sink);
}
END_TEST

START_TEST(test_killed_after_dot_intent_says_so)
{
	struct fx f;
	struct sink sink;
	struct where at;
	size_t n;

	sink_start(&sink, SINK_HANG_AT_DOT);
	fx_start(&f);
	at = record_put(&f, 1, SV("x\r\n"), false);
	open_session(&f, 1, &sink);
	deliver(&f, 1, &at, 1);
	chan_flush(f.qmgr);
	free(sink_message(&sink, &n));
	kill(f.pid, SIGKILL);
	waitpid(f.pid, NULL, 0);
	ck_assert_uint_eq(slots_in_state(&f, INTENT_DOT_SENT), 1);
	chan_free(&f.master);
	chan_free(&f.qmgr);
	event_base_free(f.base);
	free(f.results);
	sink_stop(&sink);
}
END_TEST

START_TEST(test_open_failing_hosts_next_is_used)
{
	struct fx f;
	struct sink dead, busy, good;
	const struct sink *to[] = { &dead, &busy, &good };
	struct where at;

	sink_start(&dead, SINK_GOOD);
	sink_stop(&dead); /* nobody listens there any more */
	sink_start(&busy, SINK_GREETING_450);
	sink_start(&good, SINK_GOOD);
	fx_start(&f);
	at = record_put(&f, 1, SV("x\r\n"), false);
	open_session_to(&f, 1, to, 3, 0, 0);
	deliver(&f, 1, &at, 1);
	fx_wait(&f, &f.nresults, 1);
	ck_assert_uint_eq(f.results[0].outcome[0], OUT_DELIVERED);
	ck_assert_uint_eq(f.nend, 0);
	fx_stop(&f);
	sink_stop(&busy);
	sink_stop(&good);
}
END_TEST

START_TEST(test_open_all_hosts_fail_end_says_why)
{
	struct fx f;
	struct sink dead, busy, never;
	const struct sink *to[] = { &busy, &never, &dead };

	sink_start(&dead, SINK_GOOD);
	sink_stop(&dead);
	sink_start(&busy, SINK_GREETING_450);
	sink_start(&never, SINK_GREETING_554);
	fx_start(&f);
	open_session_to(&f, 1, to + 2, 1, 0, 0);
	fx_wait(&f, &f.nend, 1);
	ck_assert_uint_eq(f.end.why, END_CONNECT);
	ck_assert_ptr_nonnull(strstr(f.end_text, "refused"));
	open_session_to(&f, 2, to + 1, 1, 0, 0);
	fx_wait(&f, &f.nend, 2);
	ck_assert_uint_eq(f.end.why, END_GREETING_PERM);
	ck_assert_uint_eq(f.end.code, 554);
	/* permanent at one host only is not permanent */
	open_session_to(&f, 3, to, 2, 0, 0);
	fx_wait(&f, &f.nend, 3);
	ck_assert_uint_eq(f.end.why, END_GREETING_TEMP);
	ck_assert_str_eq(f.end_text, "450 4.3.2 not now");
	open_session_to(&f, 4, to, 0, 0, 0);
	fx_wait(&f, &f.nend, 4);
	ck_assert_uint_eq(f.end.why, END_ROUTE);
	fx_stop(&f);
	sink_stop(&busy);
	sink_stop(&never);
}
END_TEST

START_TEST(test_session_max_msgs_ends_with_limit)
{
	const struct sink *to;
	struct fx f;
	struct sink sink;
	struct where at;

	sink_start(&sink, SINK_GOOD);
	fx_start(&f);
	at = record_put(&f, 1, SV("x\r\n"), false);
	to = &sink;
	open_session_to(&f, 1, &to, 1, 2, 0);
	for (int i = 0; i < 3; i++)
		deliver(&f, 1, &at, 1);
	fx_wait(&f, &f.nend, 1);
	ck_assert_uint_eq(f.end.why, END_LIMIT);
	ck_assert_uint_eq(f.nresults, 2);
	fx_stop(&f);
	sink_stop(&sink);
}
END_TEST

START_TEST(test_session_without_work_ends_idle)
{
	const struct sink *to;
	struct fx f;
	struct sink sink;

	sink_start(&sink, SINK_GOOD);
	fx_start(&f);
	to = &sink;
	f.idle_ms = 50;
	open_session_to(&f, 1, &to, 1, 0, 0);
	fx_wait(&f, &f.nend, 1);
	ck_assert_uint_eq(f.nup, 1);
	ck_assert_uint_eq(f.nquit, 1);
	ck_assert_uint_eq(f.end.why, END_IDLE);
	fx_stop(&f);
	sink_stop(&sink);
}
END_TEST

START_TEST(test_no_slots_left_waiting_session_goes_on)
{
	struct fx f;
	struct sink refuses, good;
	struct where at;

	sink_start(&refuses, SINK_REFUSE_ALL);
	sink_start(&good, SINK_GOOD);
	fx_start(&f);
	at = record_put(&f, 1, SV("x\r\n"), false);
	/* all slots but one are taken by results without acknowledgement */
	open_session(&f, 1, &good);
	for (unsigned i = 0; i < SLOTS - 1; i++)
		deliver(&f, 1, &at, 1);
	fx_wait(&f, &f.nresults, SLOTS - 1);
	/* two sessions share the last; what is refused gives it back */
	open_session(&f, 2, &refuses);
	open_session(&f, 3, &refuses);
	for (unsigned i = 0; i < 10; i++) {
		deliver(&f, 2, &at, 1);
		deliver(&f, 3, &at, 1);
	}
	fx_wait(&f, &f.nresults, SLOTS - 1 + 20);
	ck_assert_uint_eq(f.results[SLOTS + 5].outcome[0], OUT_PERMANENT);
	fx_stop(&f);
	sink_stop(&refuses);
	sink_stop(&good);
}
END_TEST

START_TEST(test_stop_queued_given_back_and_begun_finished)
{
	struct fx f;
	struct sink wait;
	struct where at;
	size_t n;

	sink_start(&wait, SINK_WAIT_AT_DOT);
	fx_start(&f);
	at = record_put(&f, 1, SV("x\r\n"), false);
	open_session(&f, 1, &wait);
	for (int i = 0; i < 4; i++)
		deliver(&f, 1, &at, 1);
	chan_flush(f.qmgr);
	free(sink_message(&wait, &n));
	ipc_send_stop(f.master, &(struct ipc_stop){ .drain_ms = 5000 });
	chan_flush(f.master);
	usleep(200000); /* for the worker to hear of it */
	/* the next one's MAIL left with the first one's dot: both go; a worker
	 * that is slow to hear begins one more */
	ck_assert_int_eq(write(wait.gate, "gggg", 4), 4);
	fx_wait(&f, &f.nend, 1);
	ck_assert_uint_le(f.nresults, 3);
	ck_assert_uint_ge(f.nresults, 1);
	for (unsigned i = 0; i < f.nresults; i++)
		ck_assert_uint_eq(f.results[i].outcome[0], OUT_DELIVERED);
	ck_assert_uint_eq(f.end.why, END_IDLE);
	fx_stop(&f);
	sink_stop(&wait);
}
END_TEST

START_TEST(test_qmgr_restart_waiting_and_unacknowledged_come_again)
{
	struct fx f;
	struct sink good, wait;
	struct where at, at2;
	size_t n;

	sink_start(&good, SINK_GOOD);
	sink_start(&wait, SINK_WAIT_AT_DOT);
	fx_start(&f);
	at = record_put(&f, 1, SV("x\r\n"), false);
	at2 = record_put(&f, 2, SV("y\r\n"), false);
	open_session(&f, 1, &good);
	deliver(&f, 1, &at, 1);
	fx_wait(&f, &f.nresults, 1);
	open_session(&f, 2, &wait);
	deliver(&f, 2, &at2, 2);
	chan_flush(f.qmgr);
	free(sink_message(&wait, &n));
	/* the worker has seen no acknowledgement of the first */
	chan_free(&f.qmgr);
	munmap(f.intents, SLOTS * INTENT_SLOT_BYTES);
	close(f.intent_fd);
	fx_qmgr(&f);
	ck_assert_uint_eq(f.nresync, 1);
	ck_assert_uint_eq(f.resync_id, at2.id);
	ck_assert_uint_eq(f.resync_n, 2);
	ck_assert_uint_eq(f.nresults, 2);
	ck_assert_uint_eq(f.results[1].id, at.id);
	ck_assert_uint_eq(f.results[1].seq, 1);
	ck_assert_uint_eq(slots_in_state(&f, INTENT_DOT_SENT), 1);
	ck_assert_uint_eq(slots_in_state(&f, INTENT_DELIVERED), 1);
	ck_assert_int_eq(write(wait.gate, "g", 1), 1);
	fx_wait(&f, &f.nresults, 3);
	ck_assert_uint_eq(f.results[2].id, at2.id);
	ck_assert_uint_eq(f.results[2].seq, 2);
	ck_assert_uint_eq(f.results[2].outcome[1], OUT_DELIVERED);
	/* and it works on for the new one */
	open_session(&f, 1, &good);
	deliver(&f, 1, &at, 1);
	fx_wait(&f, &f.nresults, 4);
	ck_assert_uint_eq(f.results[3].session, 1);
	fx_stop(&f);
	sink_stop(&good);
	sink_stop(&wait);
}
END_TEST

/* One message to the sink, and the end of the session; what was traced. */
static const char *
traced(struct fx *f, struct sink *sink, uint32_t flags, struct sv body)
{
	struct where at;
	size_t n;

	fx_start(f);
	f->flags = flags;
	at = record_put(f, 1, body, false);
	open_session(f, 1, sink);
	deliver(f, 1, &at, 1);
	chan_flush(f->qmgr);
	free(sink_message(sink, &n));
	ck_assert_uint_ge(n, body.n);
	fx_wait(f, &f->nresults, 1);
	ck_assert_uint_eq(f->results[0].outcome[0], OUT_DELIVERED);
	ipc_send_session_close(f->qmgr,
	    &(struct ipc_session_close){ .session = 1 });
	fx_wait(f, &f->nend, 1);
	if (flags != 0)
		fx_wait(f, &f->ntrace_end, 1);
	ck_assert_int_eq(buf_add(&f->trace, "", 1), 0);
	return (const char *)buf_data(&f->trace);
}

START_TEST(test_trace_mirrors_the_dialogue)
{
	struct sink sink;
	char want[1024];
	struct fx f;

	sink_start(&sink, SINK_GOOD);
	snprintf(want, sizeof(want),
	    "--- connecting to sink.test[127.0.0.1]:%d\n"
	    "--- connected from 127.0.0.1\n"
	    ">>> 220 sink.test\n<<< EHLO here.test\n"
	    ">>> 250-sink.test hello\n>>> 250-PIPELINING\n>>> 250-DSN\n"
	    ">>> 250 SIZE 1000000\n"
	    "<<< MAIL FROM:<from@here.test> SIZE=35\n"
	    "<<< RCPT TO:<a@sink.test>\n<<< DATA\n"
	    ">>> 250 2.0.0 ok\n>>> 250 2.0.0 ok\n>>> 354 go on\n"
	    "--- 41 bytes of the message, its last line is the dot\n"
	    ">>> 250 2.0.0 taken\n<<< QUIT\n"
	    ">>> 221 bye\n--- the session is over: idle\n", sink.port);
	ck_assert_str_eq(traced(&f, &sink, SESSION_TRACE,
	    SV("Subject: x\r\n\r\n.x")), want);
	ck_assert_uint_eq(f.ntrace_lost, 0);
	fx_stop(&f);
	/* and nothing without it */
	ck_assert_str_eq(traced(&f, &sink, 0, SV("Subject: x\r\n\r\nx")),
	    "");
	ck_assert_uint_eq(f.ntrace, 0);
	fx_stop(&f);
	sink_stop(&sink);
}
END_TEST

START_TEST(test_trace_has_the_message_if_that_is_wanted)
{
	struct sink sink;
	const char *text;
	struct fx f;

	sink_start(&sink, SINK_GOOD);
	text = traced(&f, &sink, SESSION_TRACE | SESSION_TRACE_DATA,
	    SV("Subject: \xff\r\n\r\n.dot\r\nend"));
	ck_assert_msg(strstr(text, ">>> 354 go on\n<<< Received: by test\n"
	    "<<< Subject: \xff\n<<< \n<<< ..dot\n<<< end\n<<< .\n"
	    ">>> 250 2.0.0 taken\n") != NULL, "%s", text);
	fx_stop(&f);
	sink_stop(&sink);
}
END_TEST

/* What is more than can be shown is left out; the message is not. */
START_TEST(test_trace_of_much_loses_lines)
{
	size_t size = 960000; /* the sink takes a million */
	char *body = malloc(size);
	struct sink sink;
	struct fx f;

	for (size_t i = 0; i < size; i++)
		body[i] = i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' : 'x';
	/* one line that has no end for long */
	memset(body, 'y', 200000);
	sink_start(&sink, SINK_GOOD);
	(void)traced(&f, &sink, SESSION_TRACE | SESSION_TRACE_DATA,
	    sv_make(body, size));
	ck_assert_uint_gt(f.ntrace_lost, 1000);
	ck_assert_uint_gt(buf_len(&f.trace), 100000);
	ck_assert_uint_lt(buf_len(&f.trace), 700000);
	free(body);
	fx_stop(&f);
	sink_stop(&sink);
}
END_TEST

START_TEST(test_trace_ends_when_nobody_looks_on)
{
	struct sink sink;
	struct where at;
	struct fx f;

	sink_start(&sink, SINK_GOOD);
	fx_start(&f);
	f.flags = SESSION_TRACE;
	at = record_put(&f, 1, SV("x\r\n"), false);
	open_session(&f, 1, &sink);
	fx_wait(&f, &f.nup, 1);
	ck_assert_uint_gt(f.ntrace, 0);
	ipc_send_trace_stop(f.qmgr, &(struct ipc_trace_stop){ .session = 9 });
	ipc_send_trace_stop(f.qmgr, &(struct ipc_trace_stop){ .session = 1 });
	ipc_send_trace_stop(f.qmgr, &(struct ipc_trace_stop){ .session = 1 });
	f.ntrace = 0;
	deliver(&f, 1, &at, 1);
	fx_wait(&f, &f.nresults, 1);
	ck_assert_uint_eq(f.ntrace, 0);
	fx_stop(&f);
	sink_stop(&sink);
}
END_TEST

START_TEST(test_trace_says_why_there_is_no_session)
{
	struct sink sink = { .port = 1 };
	struct fx f;
	const char *text;

	fx_start(&f);
	f.flags = SESSION_TRACE;
	open_session(&f, 1, &sink);
	fx_wait(&f, &f.ntrace_end, 1);
	ck_assert_int_eq(buf_add(&f.trace, "", 1), 0);
	text = (const char *)buf_data(&f.trace);
	ck_assert_str_eq(text, "--- connecting to sink.test[127.0.0.1]:1\n"
	    "--- connect to sink.test[127.0.0.1]: Connection refused\n"
	    "--- the session is over: connect: connect to "
	    "sink.test[127.0.0.1]: Connection refused\n");
	fx_stop(&f);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("smtp_process");
	TCase *t = tcase_create("process");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, WAIT_S * 3);
	tcase_add_test(t, test_deliver_good_server_arrives_byte_for_byte);
	tcase_add_test(t, test_deliver_many_pipelined_all_arrive_in_order);
	tcase_add_test(t, test_deliver_one_recipient_refused_each_own_outcome);
	tcase_add_test(t, test_deliver_large_body_streams_whole);
	tcase_add_test(t, test_trace_mirrors_the_dialogue);
	tcase_add_test(t, test_trace_has_the_message_if_that_is_wanted);
	tcase_add_test(t, test_trace_of_much_loses_lines);
	tcase_add_test(t, test_trace_ends_when_nobody_looks_on);
	tcase_add_test(t, test_trace_says_why_there_is_no_session);
	tcase_add_test(t, test_deliver_corrupt_records_unreadable);
	tcase_add_test(t, test_deliver_lost_after_dot_in_doubt);
	tcase_add_test(t,
	    test_deliver_no_answer_to_dot_in_doubt_after_timeout);
	tcase_add_test(t, test_killed_after_dot_intent_says_so);
	tcase_add_test(t, test_open_failing_hosts_next_is_used);
	tcase_add_test(t, test_open_all_hosts_fail_end_says_why);
	tcase_add_test(t, test_session_max_msgs_ends_with_limit);
	tcase_add_test(t, test_session_without_work_ends_idle);
	tcase_add_test(t, test_no_slots_left_waiting_session_goes_on);
	tcase_add_test(t, test_stop_queued_given_back_and_begun_finished);
	tcase_add_test(t,
	    test_qmgr_restart_waiting_and_unacknowledged_come_again);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
