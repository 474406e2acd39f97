/* SPDX-License-Identifier: ISC */
/* The committer when something fails, waits or ends in the middle. Linked with
 * --wrap of fdatasync and clock_mono. */
#include <pthread.h>

#include "common/base/mem.h"
#include "common/sys/clock.h"
#include "tests/unit/spool/fakeqmgr.h"

/* ---- syncs that wait and fail, a clock that jumps ---- */

int __wrap_fdatasync(int fd);
struct mono __real_clock_mono(void);
struct mono __wrap_clock_mono(void);

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static int sync_errno; /* read behind the gate */
static int64_t clock_add_us;

int
__wrap_fdatasync(int fd)
{
	int err;

	(void)fd;
	pthread_mutex_lock(&gate);
	err = sync_errno;
	pthread_mutex_unlock(&gate);
	errno = err;
	return err == 0 ? 0 : -1;
}

struct mono
__wrap_clock_mono(void)
{
	struct mono t = __real_clock_mono();

	t.us += clock_add_us;
	return t;
}

static void
begin(uint32_t credits)
{
	sync_errno = 0;
	clock_add_us = 0;
	connect_qmgr(credits);
	settle();
}

static void
qmgr_dies(void)
{
	chan_free(&qmgr.chan);
	settle();
	ck_assert_ptr_null(writer_chan);
}

static void
check_all(struct msg *m, int n, enum commit_result want)
{
	for (int i = 0; i < n; i++) {
		run_until(&m[i].calls, 1);
		ck_assert_int_eq(m[i].calls, 1);
		ck_assert_int_eq(m[i].result, want);
	}
}

/* ---- batches ---- */

START_TEST(test_sync_error_is_told_by_its_kind)
{
	static const struct {
		int err;
		enum commit_result want;
	} cases[] = { { ENOSPC, COMMIT_NO_SPACE }, { EDQUOT, COMMIT_NO_SPACE },
		{ EIO, COMMIT_IO_ERROR }, { 0, COMMIT_OK } };
	struct committer_stats st;
	struct msg m;

	begin(10);
	for (size_t i = 0; i < 4; i++) {
		sync_errno = cases[i].err;
		submit(&m, 100);
		check_all(&m, 1, cases[i].want);
		settle();
		ck_assert_uint_eq(m.id != 0, cases[i].err == 0);
	}
	/* three segments were given up with nothing in them */
	ck_assert_uint_eq(qmgr.dones, 3);
	ck_assert_uint_eq(qmgr.done_end[2], SEGMENT_HEADER);
	committer_stats(committer, &st);
	ck_assert_uint_eq(st.failures, 3);
}
END_TEST

/* Its own batches go with a failed segment, those of the next one do not. */
START_TEST(test_sync_fails_what_is_queued_for_the_segment_fails)
{
	struct msg m[5];

	qmgr.seg_size = 64 + 3 * 10200;
	begin(10);
	/* the spare one comes when the first is used to three quarters */
	submit(&m[0], 10000);
	check_all(m, 1, COMMIT_OK);
	submit(&m[1], 10000);
	pthread_mutex_lock(&gate);
	settle(); /* m[1] is in the thread */
	submit(&m[2], 10000);
	settle();
	submit(&m[3], 10000);
	submit(&m[4], 10000);
	settle();
	ck_assert_uint_eq(m[2].req.segment, 1);
	ck_assert_uint_eq(m[3].req.segment, 2);
	sync_errno = EIO;
	pthread_mutex_unlock(&gate);
	run_until(&m[1].calls, 1);
	sync_errno = 0; /* perhaps late for the next one */
	check_all(&m[1], 2, COMMIT_IO_ERROR);
	run_until(&m[3].calls, 1);
	run_until(&m[4].calls, 1);
	settle();
	ck_assert_uint_eq(m[4].result, m[3].result);
	ck_assert_uint_eq(qmgr.done_segment[0], 1);
	ck_assert_uint_eq(qmgr.done_end[0], m[1].req.offset);
}
END_TEST

static unsigned expected, expect_calls;

static unsigned
expect(void *arg)
{
	(void)arg;
	expect_calls++;
	return expected;
}

START_TEST(test_expected_messages_are_awaited_a_moment)
{
	struct committer_stats st;
	struct msg m[4];

	begin(20);
	committer_expect_set(committer, expect, NULL);
	expected = 100;
	submit(&m[0], 10);
	event_base_loop(base, EVLOOP_NONBLOCK);
	submit(&m[1], 10); /* asked again while it gathers */
	check_all(m, 2, COMMIT_OK); /* a millisecond later */
	committer_stats(committer, &st);
	ck_assert_uint_eq(st.batches, 1);
	/* all came: at once */
	submit(&m[0], 10);
	event_base_loop(base, EVLOOP_NONBLOCK);
	expected = 0;
	submit(&m[1], 10);
	check_all(m, 2, COMMIT_OK);
	committer_stats(committer, &st);
	ck_assert_uint_eq(st.batches, 2);
	ck_assert_uint_gt(expect_calls, 2);
}
END_TEST

/* Nobody comes: after each vain wait twice as many batches do not wait. */
START_TEST(test_expected_messages_that_never_come_are_not_awaited)
{
	struct msg m;

	begin(1000);
	committer_expect_set(committer, expect, NULL);
	expected = 100;
	expect_calls = 0;
	for (int i = 0; i < 300; i++) {
		submit(&m, 10);
		check_all(&m, 1, COMMIT_OK);
	}
	/* waits in front of batches 1, 3, 6, 11, 20, 37, 70, 135, 200, 265 */
	ck_assert_uint_ge(expect_calls, 10);
	ck_assert_uint_lt(expect_calls, 60);
}
END_TEST

/* A batch that takes no more is not held. */
START_TEST(test_expected_messages_do_not_hold_a_full_segment)
{
	struct msg m[4];

	qmgr.seg_size = 64 + 2 * 10200;
	begin(20);
	submit(&m[0], 10000);
	check_all(m, 1, COMMIT_OK);
	settle(); /* a spare one is there */
	committer_expect_set(committer, expect, NULL);
	expected = 100;
	submit(&m[1], 10000);
	submit(&m[2], 10000); /* in the next segment */
	check_all(&m[1], 2, COMMIT_OK);
	ck_assert_uint_ne(m[1].req.segment, m[2].req.segment);
}
END_TEST

/* ---- requests ---- */

static int
head_fails(const struct commit_req *req, uint64_t id, struct buf *head,
    void *arg)
{
	(void)req;
	(void)id;
	(void)head;
	(void)arg;
	return -1;
}

static int
head_without_memory(const struct commit_req *req, uint64_t id,
    struct buf *head, void *arg)
{
	mem_failed(100);
	return head_fails(req, id, head, arg);
}

START_TEST(test_part_over_its_limit_is_refused)
{
	char *env = calloc(1, 5 << 20);
	struct msg m[3];

	begin(10);
	memset(m, 0, sizeof(m));
	for (int i = 0; i < 3; i++) {
		m[i].req.env = SV("envelope");
		m[i].req.done = on_done;
		m[i].req.arg = &m[i];
	}
	m[0].req.make_head = head_fails;
	m[1].req.env = sv_make(env, 5 << 20);
	committer_submit(committer, &m[0].req);
	m[2].req.make_head = head_without_memory;
	committer_submit(committer, &m[1].req);
	committer_submit(committer, &m[2].req);
	ck_assert_int_eq(m[0].calls + m[1].calls + m[2].calls, 0);
	check_all(m, 2, COMMIT_TOO_LARGE);
	check_all(&m[2], 1, COMMIT_IO_ERROR); /* not the client's fault */
	ck_assert_str_eq(commit_result_text(m[0].result),
	    "552 5.3.4 Message exceeds a size limit");
	free(env);
}
END_TEST

static void
count(void *arg)
{
	++*(int *)arg;
}

START_TEST(test_ready_is_not_told_while_it_is_not)
{
	int calls = 0;
	struct msg m;

	committer_on_ready_set(committer, count, &calls);
	submit(&m, 10); /* waits for a segment */
	settle();
	ck_assert_int_eq(calls, 0);
	begin(10);
	check_all(&m, 1, COMMIT_OK);
	ck_assert_int_gt(calls, 0);
}
END_TEST

/* Frames may come when there is no committer any more. */
START_TEST(test_without_committer_nothing_happens)
{
	struct committer *none = NULL;

	committer_free(&none);
	committer_chan_set(NULL, NULL);
	committer_on_space(NULL, NULL);
	committer_on_credit(NULL);
	committer_on_seg_grant(NULL, NULL, NULL);
	committer_on_large_grant(NULL, NULL, NULL);
	begin(10);
	committer_chan_set(committer, writer_chan); /* the same */
	settle();
	ck_assert_uint_eq(qmgr.dones, 0);
}
END_TEST

/* ---- segments and frames ---- */

START_TEST(test_grants_that_nobody_wants_are_given_back)
{
	begin(10);
	grant(qmgr.chan);
	grant(qmgr.chan);
	settle();
	ck_assert_uint_eq(qmgr.dones, 1);
	ck_assert_uint_eq(qmgr.done_segment[0], 3);
	ck_assert_uint_eq(qmgr.done_end[0], SEGMENT_HEADER);
}
END_TEST

/* No new segment before those of the qmgr before are finished. */
START_TEST(test_two_restarts_with_a_batch_under_way)
{
	struct msg m[3];

	begin(10);
	pthread_mutex_lock(&gate);
	submit(&m[0], 10);
	settle();
	submit(&m[1], 10);
	settle();
	for (int i = 0; i < 2; i++) {
		qmgr_dies();
		qmgr.wants = 0;
		connect_qmgr(10);
		settle();
		ck_assert_uint_eq(qmgr.wants, 0);
	}
	submit(&m[2], 10); /* waits */
	settle();
	pthread_mutex_unlock(&gate);
	check_all(m, 3, COMMIT_OK);
	settle();
	ck_assert_uint_eq(qmgr.wants, 1);
	ck_assert_uint_eq(qmgr.dones, 1);
	ck_assert_uint_eq(qmgr.done_end[0], m[1].req.offset +
	    m[1].req.length);
	ck_assert_uint_eq(m[2].req.segment, 2);
	ck_assert_uint_eq(qmgr.commits, 1);
}
END_TEST

/* COMMITs that waited are for nobody; the end of a segment is for the next
 * qmgr. */
START_TEST(test_waiting_frames_at_a_restart)
{
	struct msg m[4];

	begin(1);
	for (int i = 0; i < 3; i++)
		submit(&m[i], 10);
	check_all(m, 3, COMMIT_OK);
	settle();
	chan_credit_grant(qmgr.chan, 1);
	settle();
	ck_assert_uint_eq(qmgr.commits, 2);
	sync_errno = EIO;
	submit(&m[3], 10);
	check_all(&m[3], 1, COMMIT_IO_ERROR);
	settle(); /* its SEG_DONE waits behind a COMMIT */
	ck_assert_uint_eq(qmgr.dones, 0);
	qmgr_dies();
	committer_on_credit(committer);
	sync_errno = 0;
	qmgr.first_frame[0] = '\0';
	connect_qmgr(10);
	settle();
	ck_assert_str_eq(qmgr.first_frame, "SEG_DONE");
	ck_assert_uint_eq(qmgr.done_segment[0], 1);
	ck_assert_uint_eq(qmgr.done_end[0], m[3].req.offset);
	ck_assert_uint_eq(qmgr.commits, 2);
}
END_TEST

/* ---- large bodies ---- */

START_TEST(test_large_without_channel_or_space_is_refused)
{
	struct ipc_space full = { .open = false, .reason = SV("full") };
	struct commit_large *none = NULL;

	ck_assert_ptr_null(committer_large_open(committer, on_large, NULL));
	begin(10);
	committer_on_space(committer, &full);
	ck_assert_ptr_null(committer_large_open(committer, on_large, NULL));
	committer_large_drop(committer, &none);
	settle();
	ck_assert_uint_eq(qmgr.larges + qmgr.drops, 0);
}
END_TEST

START_TEST(test_large_empty_is_committed)
{
	struct record r;
	struct msg m;
	struct buf b;
	int fd;

	begin(10);
	large_submit(&m, large_get());
	check_all(&m, 1, COMMIT_OK);
	settle();
	buf_init(&b, RECORD_MAX);
	fd = openat(spool.dirfd, "segments/0000000001.seg", O_RDONLY);
	ck_assert_int_eq(record_read_fd(fd, 1, m.req.offset, m.req.length, &b,
	    &r), RECORD_OK);
	ck_assert_uint_eq(r.body_len, 0);
	ck_assert_uint_eq(r.crc_body, record_large_crc(77, 0, 0, "", 0));
	buf_fini(&b);
	close(fd);
}
END_TEST

START_TEST(test_large_that_failed_is_not_committed)
{
	struct commit_large *l;
	struct msg m;

	qmgr.bad_larges = true;
	begin(10);
	l = large_get();
	ck_assert_int_eq(commit_large_write(l, "body", 4), -1);
	ck_assert_int_eq(commit_large_write(l, "body", 4), -1);
	ck_assert_uint_eq(commit_large_length(l), 0);
	large_submit(&m, l);
	check_all(&m, 1, COMMIT_IO_ERROR);
	settle();
	ck_assert_uint_eq(qmgr.drops, 1);
	/* nor one that has no file yet */
	qmgr.slow_larges = true;
	large_submit(&m, large_open());
	check_all(&m, 1, COMMIT_IO_ERROR);
}
END_TEST

START_TEST(test_large_grants_find_theirs)
{
	struct commit_large *first, *second;
	struct msg m;

	large_calls = 0;
	qmgr.slow_larges = true;
	begin(10);
	first = large_open();
	second = large_open();
	settle();
	ck_assert_uint_eq(qmgr.larges, 2);
	submit(&m, 10); /* they wait on */
	check_all(&m, 1, COMMIT_OK);
	ck_assert_int_eq(large_calls, 0);
	grant_large(qmgr.chan, qmgr.last_token - 1);
	run_until(&large_calls, 1);
	ck_assert_ptr_eq(granted, first);
	committer_large_drop(committer, &first);
	first = large_open();
	committer_large_drop(committer, &second); /* the older, waiting */
	settle();
	ck_assert_uint_eq(qmgr.drops, 1);
	grant_large(qmgr.chan, qmgr.last_token);
	run_until(&large_calls, 2);
	ck_assert_ptr_eq(granted, first);
	committer_large_drop(committer, &first);
}
END_TEST

START_TEST(test_large_waiting_at_the_end_of_qmgr_is_gone)
{
	large_calls = larges_gone = 0;
	qmgr.slow_larges = true;
	begin(10);
	(void)large_open();
	settle();
	qmgr_dies();
	run_until(&large_calls, 1);
	ck_assert_int_eq(larges_gone, 1);
	/* and at the end of the committer */
	connect_qmgr(10);
	settle();
	(void)large_open();
	committer_free(&committer);
	ck_assert_int_eq(larges_gone, 2);
}
END_TEST

/* The next qmgr may have swept it. */
START_TEST(test_large_of_long_ago_is_not_committed)
{
	struct commit_large *l;
	struct msg m;

	begin(10);
	l = large_get();
	qmgr_dies();
	connect_qmgr(10);
	settle();
	clock_add_us = INT64_C(1800) * 1000000;
	large_submit(&m, l);
	check_all(&m, 1, COMMIT_IO_ERROR);
	/* without a qmgr nobody is told: the next one sweeps */
	l = large_get();
	qmgr_dies();
	qmgr.drops = 0;
	committer_large_drop(committer, &l);
	connect_qmgr(10);
	settle();
	ck_assert_uint_eq(qmgr.drops, 0);
}
END_TEST

/* Until qmgr has logged where the segment ends, a refused record may be found
 * and want its body. */
START_TEST(test_large_refused_is_dropped_after_its_segment)
{
	struct msg m;

	for (int i = 0; i < 2; i++) {
		if (qmgr.chan == NULL)
			begin(10);
		qmgr.drops = qmgr.dones = 0;
		pthread_mutex_lock(&gate);
		large_submit(&m, large_get());
		settle(); /* in the thread */
		sync_errno = EIO;
		pthread_mutex_unlock(&gate);
		if (i == 1) /* in the middle of it */
			committer_free(&committer);
		check_all(&m, 1, COMMIT_IO_ERROR);
		settle();
		ck_assert_uint_eq(qmgr.drops, 1);
		ck_assert_uint_eq(qmgr.dones_at_drop, 1);
		sync_errno = 0;
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("committer_edges");
	TCase *tc = tcase_create("committer_edges");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_sync_error_is_told_by_its_kind);
	tcase_add_test(tc,
	    test_sync_fails_what_is_queued_for_the_segment_fails);
	tcase_add_test(tc, test_expected_messages_are_awaited_a_moment);
	tcase_add_test(tc,
	    test_expected_messages_that_never_come_are_not_awaited);
	tcase_add_test(tc, test_expected_messages_do_not_hold_a_full_segment);
	tcase_add_test(tc, test_part_over_its_limit_is_refused);
	tcase_add_test(tc, test_ready_is_not_told_while_it_is_not);
	tcase_add_test(tc, test_without_committer_nothing_happens);
	tcase_add_test(tc, test_grants_that_nobody_wants_are_given_back);
	tcase_add_test(tc, test_two_restarts_with_a_batch_under_way);
	tcase_add_test(tc, test_waiting_frames_at_a_restart);
	tcase_add_test(tc, test_large_without_channel_or_space_is_refused);
	tcase_add_test(tc, test_large_empty_is_committed);
	tcase_add_test(tc, test_large_that_failed_is_not_committed);
	tcase_add_test(tc, test_large_grants_find_theirs);
	tcase_add_test(tc, test_large_waiting_at_the_end_of_qmgr_is_gone);
	tcase_add_test(tc, test_large_of_long_ago_is_not_committed);
	tcase_add_test(tc, test_large_refused_is_dropped_after_its_segment);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
