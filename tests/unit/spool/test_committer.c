/* SPDX-License-Identifier: ISC */
#include "tests/unit/spool/fakeqmgr.h"

static void
check_readable(const struct msg *m, size_t body)
{
	char path[SIO_PATH_MAX], text[MSGID_TEXT], want[64];
	struct record r;
	struct buf b;
	int fd;

	buf_init(&b, RECORD_MAX);
	fd = openat(spool.dirfd, sio_path(path, "segments",
	    msgid_segment(m->id), ".seg"), O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(record_read_fd(fd, msgid_segment(m->id),
	    msgid_offset(m->id), m->req.length, &b, &r), RECORD_OK);
	snprintf(want, sizeof(want), "Received: by x id %s\r\n",
	    msgid_format(m->id, text));
	ck_assert(sv_eq(r.head, sv_from(want)));
	ck_assert(sv_eq(r.env, SV("envelope")));
	ck_assert_uint_eq(r.body.n, sizeof(part_a) - 1 + body);
	ck_assert_uint_eq(r.id, m->id);
	buf_fini(&b);
	close(fd);
}

/* ---- tests ---- */

START_TEST(test_submit_one_turn_is_one_batch)
{
	struct committer_stats st;
	struct msg m[20];

	connect_qmgr(100);
	settle();
	ck_assert(committer_can_accept(committer));
	submit_all(m, 20, 4000);
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(m[i].result, COMMIT_OK);
		check_readable(&m[i], 4000);
	}
	committer_stats(committer, &st);
	ck_assert_uint_eq(st.batches, 1);
	ck_assert_uint_eq(st.syncs, 1);
	ck_assert_uint_eq(st.records, 20);
	ck_assert_uint_eq(qmgr.commits, 20);
	ck_assert_uint_eq(qmgr.last_offset, m[19].req.offset);
	ck_assert_uint_eq(committer_pending(committer), 0);
}
END_TEST

START_TEST(test_submit_without_segment_waits_for_grant)
{
	struct msg m;

	submit(&m, 10);
	settle();
	ck_assert_int_eq(m.calls, 0);
	connect_qmgr(100);
	run_until(&m.calls, 1);
	ck_assert_int_eq(m.result, COMMIT_OK);
	check_readable(&m, 10);
}
END_TEST

START_TEST(test_submit_full_segment_goes_to_next)
{
	struct msg m[10];

	qmgr.seg_size = 64 + 3 * 10200;
	connect_qmgr(100);
	settle();
	submit_all(m, 10, 10000);
	for (int i = 0; i < 10; i++)
		check_readable(&m[i], 10000);
	ck_assert_uint_eq(m[9].req.segment, 4);
	ck_assert_uint_eq(qmgr.dones, 3);
	ck_assert_uint_eq(qmgr.done_segment[0], 1);
	ck_assert_uint_eq(qmgr.done_end[0], m[2].req.offset +
	    m[2].req.length);
	ck_assert_uint_eq(qmgr.commits, 10);
}
END_TEST

START_TEST(test_credit_none_left_answers_and_pauses)
{
	struct msg m[3];

	connect_qmgr(1);
	settle();
	submit_all(m, 3, 100);
	ck_assert_int_eq(m[2].result, COMMIT_OK);
	ck_assert_uint_eq(qmgr.commits, 1);
	ck_assert(!committer_can_accept(committer));
	chan_credit_grant(qmgr.chan, 5);
	settle();
	ck_assert_uint_eq(qmgr.commits, 3);
	ck_assert(committer_can_accept(committer));
}
END_TEST

START_TEST(test_write_fails_segment_is_abandoned)
{
	struct msg m[3], good;

	qmgr.bad_grants = 1;
	connect_qmgr(10);
	settle();
	submit_all(m, 3, 100);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(m[i].result, COMMIT_IO_ERROR);
	ck_assert_uint_eq(qmgr.commits, 0);
	ck_assert_uint_eq(qmgr.dones, 1);
	ck_assert_uint_eq(qmgr.done_end[0], SEGMENT_HEADER);
	submit(&good, 100);
	run_until(&good.calls, 1);
	ck_assert_int_eq(good.result, COMMIT_OK);
	ck_assert_uint_eq(good.req.segment, 2);
}
END_TEST

START_TEST(test_qmgr_restart_goes_on_and_finishes_segment)
{
	struct msg m[3];

	connect_qmgr(10);
	settle();
	submit(&m[0], 100);
	run_until(&m[0].calls, 1);
	settle();
	chan_free(&qmgr.chan);
	settle();
	ck_assert_ptr_null(writer_chan);
	/* No qmgr: still durable. */
	ck_assert(committer_can_accept(committer));
	submit(&m[1], 100);
	run_until(&m[1].calls, 1);
	ck_assert_int_eq(m[1].result, COMMIT_OK);
	ck_assert_uint_eq(m[1].req.segment, 1);
	qmgr.commits = 0;
	qmgr.first_frame[0] = '\0';
	connect_qmgr(10);
	submit(&m[2], 100);
	run_until(&m[2].calls, 1);
	settle();
	ck_assert_str_eq(qmgr.first_frame, "SEG_DONE");
	ck_assert_uint_eq(qmgr.done_segment[0], 1);
	ck_assert_uint_eq(qmgr.done_end[0], m[1].req.offset +
	    m[1].req.length);
	ck_assert_uint_eq(m[2].req.segment, 2);
	ck_assert_uint_eq(qmgr.commits, 1);
}
END_TEST

START_TEST(test_qmgr_restart_batch_in_flight_ends_before_done)
{
	struct msg m[4];

	connect_qmgr(10);
	settle();
	for (int i = 0; i < 4; i++)
		submit(&m[i], 20000);
	event_base_loop(base, EVLOOP_NONBLOCK);
	committer_chan_set(committer, NULL);
	chan_free(&writer_chan);
	chan_free(&qmgr.chan);
	/* a fast disk may have been through with the batch before that */
	qmgr.first_frame[0] = '\0';
	qmgr.commits = 0;
	connect_qmgr(10);
	for (int i = 0; i < 4; i++)
		run_until(&m[i].calls, 1);
	settle();
	ck_assert_str_eq(qmgr.first_frame, "SEG_DONE");
	ck_assert_uint_eq(qmgr.done_end[0], m[3].req.offset +
	    m[3].req.length);
	ck_assert_uint_eq(qmgr.commits, 0);
	ck_assert_int_eq(m[3].result, COMMIT_OK);
	ck_assert(committer_can_accept(committer));
}
END_TEST

START_TEST(test_space_closed_refuses)
{
	struct msg m;

	connect_qmgr(10);
	settle();
	ipc_send_space(qmgr.chan,
	    &(struct ipc_space){ .open = 0, .reason = SV("disk") });
	settle();
	ck_assert(!committer_can_accept(committer));
	ck_assert(sv_eq(committer_refusal(committer), SV("disk")));
	submit(&m, 100);
	run_until(&m.calls, 1);
	ck_assert_int_eq(m.result, COMMIT_NO_SPACE);
	ipc_send_space(qmgr.chan, &(struct ipc_space){ .open = 1 });
	settle();
	ck_assert(committer_can_accept(committer));
}
END_TEST

/* Whoever waits for a segment when the disk is found to be full is answered
 * now, not when there is space. */
START_TEST(test_space_closed_refuses_those_that_wait)
{
	struct ipc_space full = { .open = 0, .reason = SV("disk") };
	struct msg m[3];

	for (int i = 0; i < 2; i++)
		submit(&m[i], 100);
	settle();
	ck_assert_int_eq(m[0].calls, 0);
	committer_on_space(committer, &full);
	for (int i = 0; i < 2; i++) {
		run_until(&m[i].calls, 1);
		ck_assert_int_eq(m[i].result, COMMIT_NO_SPACE);
	}
	ck_assert_uint_eq(committer_pending(committer), 0);
	/* and the next ones go as before */
	full.open = 1;
	committer_on_space(committer, &full);
	connect_qmgr(10);
	settle();
	submit(&m[2], 100);
	run_until(&m[2].calls, 1);
	ck_assert_int_eq(m[2].result, COMMIT_OK);
}
END_TEST

START_TEST(test_large_body_is_committed_with_its_crc)
{
	char path[SIO_PATH_MAX], got[64];
	struct record r;
	struct buf b;
	struct msg m;
	int fd;

	connect_qmgr(10);
	settle();
	(void)large_get();
	ck_assert_int_eq(commit_large_write(granted, "hello ", 6), 0);
	ck_assert_int_eq(commit_large_write(granted, "world", 5), 0);
	large_submit(&m, granted);
	run_until(&m.calls, 1);
	settle();
	ck_assert_int_eq(m.result, COMMIT_OK);
	ck_assert_uint_eq(qmgr.last_large, 77);
	ck_assert_uint_eq(qmgr.drops, 0);
	buf_init(&b, RECORD_MAX);
	fd = openat(spool.dirfd, "segments/0000000001.seg", O_RDONLY);
	ck_assert_int_eq(record_read_fd(fd, 1, m.req.offset, m.req.length, &b,
	    &r), RECORD_OK);
	close(fd);
	ck_assert_uint_eq(r.large_id, 77);
	ck_assert_uint_eq(r.body_len, 11);
	ck_assert_uint_eq(r.crc_body, record_large_crc(77, 0, 0,
	    "hello world", 11));
	buf_fini(&b);
	fd = openat(spool.dirfd, sio_path(path, "large", 77, ""), O_RDONLY);
	ck_assert_int_eq(read(fd, got, sizeof(got)), 11);
	ck_assert_mem_eq(got, "hello world", 11);
	close(fd);
}
END_TEST

/* The second qmgr after the one that granted the file may have thrown it
 * away, and nobody must be told that the message is safe. */
START_TEST(test_large_after_qmgr_restarts_is_taken_once_only)
{
	for (int restarts = 1; restarts <= 2; restarts++) {
		struct msg m;

		connect_qmgr(10);
		settle();
		(void)large_get();
		ck_assert_int_eq(commit_large_write(granted, "body", 4), 0);
		for (int i = 0; i < restarts; i++) {
			chan_free(&qmgr.chan);
			settle();
			connect_qmgr(10);
			settle();
		}
		large_submit(&m, granted);
		run_until(&m.calls, 1);
		ck_assert_int_eq(m.result, restarts == 1 ? COMMIT_OK :
		    COMMIT_IO_ERROR);
		chan_free(&qmgr.chan);
		settle();
	}
}
END_TEST

static void
count_ready(void *arg)
{
	(*(int *)arg)++;
}

/* Whoever asked in between was told to wait. */
START_TEST(test_ready_after_a_moment_of_not_is_told)
{
	struct ipc_space m = { .open = false, .reason = SV("full") };
	int calls = 0;

	connect_qmgr(10);
	settle();
	ck_assert(committer_can_accept(committer));
	committer_on_ready_set(committer, count_ready, &calls);
	committer_on_space(committer, &m);
	ck_assert(!committer_can_accept(committer));
	m.open = true;
	committer_on_space(committer, &m);
	settle();
	ck_assert_int_ge(calls, 1);
}
END_TEST

START_TEST(test_large_dropped_tells_qmgr)
{
	struct commit_large *l;

	large_calls = 0;
	connect_qmgr(10);
	settle();
	l = committer_large_open(committer, on_large, NULL);
	committer_large_drop(committer, &l); /* before its grant */
	settle();
	ck_assert_int_eq(large_calls, 0);
	ck_assert_uint_eq(qmgr.drops, 1);
	committer_large_open(committer, on_large, NULL);
	run_until(&large_calls, 1);
	committer_large_drop(committer, &granted);
	settle();
	ck_assert_uint_eq(qmgr.drops, 2);
}
END_TEST

START_TEST(test_free_with_waiting_requests_fails_them)
{
	struct msg m[2];

	qmgr.seg_size = 0; /* grants nothing */
	connect_qmgr(10);
	submit(&m[0], 100);
	submit(&m[1], 100);
	settle();
	committer_free(&committer);
	ck_assert_int_eq(m[0].calls, 1);
	ck_assert_int_eq(m[1].result, COMMIT_SHUTDOWN);
}
END_TEST

START_TEST(test_free_with_batch_in_flight_awaits_it)
{
	struct msg m[2];

	connect_qmgr(10);
	settle();
	submit(&m[0], 100);
	event_base_loop(base, EVLOOP_NONBLOCK);
	submit(&m[1], 100);
	committer_free(&committer);
	ck_assert_int_eq(m[0].calls, 1);
	ck_assert_int_eq(m[0].result, COMMIT_OK);
	ck_assert_int_eq(m[1].calls, 1);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("committer");
	TCase *tc = tcase_create("committer");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, test_submit_one_turn_is_one_batch);
	tcase_add_test(tc, test_submit_without_segment_waits_for_grant);
	tcase_add_test(tc, test_submit_full_segment_goes_to_next);
	tcase_add_test(tc, test_credit_none_left_answers_and_pauses);
	tcase_add_test(tc, test_write_fails_segment_is_abandoned);
	tcase_add_test(tc, test_qmgr_restart_goes_on_and_finishes_segment);
	tcase_add_test(tc, test_qmgr_restart_batch_in_flight_ends_before_done);
	tcase_add_test(tc, test_space_closed_refuses);
	tcase_add_test(tc, test_space_closed_refuses_those_that_wait);
	tcase_add_test(tc, test_large_body_is_committed_with_its_crc);
	tcase_add_test(tc, test_large_dropped_tells_qmgr);
	tcase_add_test(tc,
	    test_large_after_qmgr_restarts_is_taken_once_only);
	tcase_add_test(tc, test_ready_after_a_moment_of_not_is_told);
	tcase_add_test(tc, test_free_with_waiting_requests_fails_them);
	tcase_add_test(tc, test_free_with_batch_in_flight_awaits_it);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
