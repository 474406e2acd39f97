/* SPDX-License-Identifier: ISC */
/*
 * The queue manager as a process: segments that a start could not read after
 * damage of the log, and that it reads later.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/msgid.h"
#include "common/spool/skipped.h"
#include "tests/unit/qmgr/qrig.h"

static char seg_path[SIO_PATH_MAX], skipped_path[SIO_PATH_MAX];
static uint64_t segment;

static long long
count_of(const char *view)
{
	qrig_ctl(&rig, "show status");
	return qrig_number(&rig, view);
}

static size_t
nskipped(void)
{
	struct sio *s = qrig_sio(&rig);
	uint64_t *list;
	size_t n;

	ck_assert_int_eq(skipped_list(s, &list, &n), 0);
	free(list);
	sio_free(&s);
	return n;
}

/* Messages in a segment that no event names: all events are lost. What is
 * logged from here to unreadable() remains. */
static void
unnamed(uint64_t *ids, unsigned n)
{
	qrig_ctl(&rig, "pause queue a.test");
	for (unsigned i = 0; i < n; i++)
		ids[i] = qrig_submit(&rig, "s@here.test", "r@a.test");
	QWAIT(&rig, count_of("delivery") == n);
	ck_assert_int_eq(qrig_stop(&rig), 0);
	segment = rig.smtpd.segment;
	sio_path(seg_path, "segments", segment, ".seg");
	sio_path(skipped_path, "segments", segment, SKIPPED_SUFFIX);
	qlog_begin();
}

/* The start cannot read the segment; its checkpoint hides the damage. */
static void
unreadable(void)
{
	unsigned n = qrig_logged_times(&rig, "debug: checkpoint ");

	qlog_end();
	qlog_lose();
	qrig_fault(QF_REOPEN, seg_path, EIO);
	qrig_start(&rig, QRIG_CONF);
	ck_assert(qrig_logged(&rig, "duplicates are possible"));
	ck_assert_uint_eq(nskipped(), 1);
	if (count_of("delivery") != 0)
		qrig_fail(&rig, "no message", __LINE__);
	QWAIT(&rig, qrig_logged_times(&rig, "debug: checkpoint ") > n);
}

static void
skip(uint64_t *ids, unsigned n)
{
	unnamed(ids, n);
	qlog_add(EV_SEG_END,
	    (union ev_any){.seg_end = {segment, rig.smtpd.at}});
	unreadable();
}

static unsigned
tries_failed(void)
{
	return qrig_logged_times(&rig, "skipped at a start, cannot be read");
}

/* Its file says that this message is not to be taken from it. */
static bool
is_noted(uint64_t id)
{
	struct sio *s = qrig_sio(&rig);
	struct skipped k;
	bool whole, has;

	ck_assert_int_eq(skipped_load(s, segment, &k, &whole), 0);
	ck_assert(whole);
	has = idset_has(k.ids, id);
	idset_free(&k.ids);
	sio_free(&s);
	return has;
}

static void
run(void)
{
	qrig_peers(&rig);
	qrig_go(&rig, 1);
}

static void
start_all(void)
{
	qrig_start(&rig, QRIG_CONF);
	run();
}

/* The next checkpoint hides the damage, so a start must be told what an earlier
 * one has skipped. */
START_TEST(test_skipped_is_read_by_a_later_start)
{
	uint64_t id;

	skip(&id, 1);
	QWAIT(&rig, tries_failed() > 0);
	qrig_kill(&rig);
	start_all();
	ck_assert_uint_eq(
	    qrig_logged_times(&rig, "duplicates are possible"), 1);
	ck_assert_uint_eq(nskipped(), 1);
	qrig_fault(QF_REOPEN, "", 0);
	qrig_deliver_wait(&rig, 1);
	ck_assert(rig.smtp.delivers[0].id == id);
	QWAIT(&rig, qrig_logged(&rig, "has been read"));
	ck_assert_uint_eq(nskipped(), 0);
	qrig_result(&rig, 0, OUT_DELIVERED, 250, "2.0.0", "ok");
	/* and can be used again then */
	QWAIT(&rig, faccessat(rig.spool, seg_path, F_OK, 0) != 0);
	ck_assert_uint_eq(rig.smtp.ndelivers, 1);
}
END_TEST

/* Rarer each time, and at least each 60 looks: here a look is 5 ms. */
START_TEST(test_skipped_is_tried_on_and_on)
{
	const int most = 1000000;
	uint64_t id;
	int left;

	qrig_fault_after(most, QF_SPACE, "", EIO); /* one a look */
	qrig_hurry(200);
	skip(&id, 1);
	QWAIT(&rig, tries_failed() >= 8);
	left = qrig_fault_left(QF_SPACE);
	/* 1 + 2 + 4 + ... + 60 */
	ck_assert_int_ge(most - left, 120);
	QWAIT(&rig, tries_failed() >= 12);
	/* 4 * 61, not 128 + 256 + 512 + 1024 */
	ck_assert_int_lt(left - qrig_fault_left(QF_SPACE), 1000);
	qrig_fault(QF_REOPEN, "", 0);
	QWAIT(&rig, qrig_logged(&rig, "has been read"));
	ck_assert_int_eq(count_of("delivery"), 1);
}
END_TEST

static const struct env_rcpt to = {.addr = {"r@b.test", 8}};
static const struct envelope plain = {
    .sender = {"s@here.test", 11}, .rcpts = &to, .nrcpts = 1};

/* Of a message that stands elsewhere, and no event says that it moved. */
static void
copy_write(struct qpeer *p, uint64_t id)
{
	unsigned char header[RECORD_HEADER];
	struct record_parts parts = {.segment = p->segment, .id = id};
	struct iovec iov[8];
	struct buf b;
	struct wr w;
	size_t n;

	buf_init(&b, RECORD_ENV_MAX);
	wr_init_buf(&w, &b);
	envelope_encode(&w, &plain);
	parts.env = buf_sv(&b);
	n = record_build(&parts, header, iov);
	ck_assert_int_eq(pwritev(p->seg_fd, iov, (int)n, (off_t)p->at),
	    (ssize_t)record_length(&parts));
	p->at += record_length(&parts);
	buf_fini(&b);
}

/* There a copy is none, whatever is known of the one that was skipped. */
START_TEST(test_skipped_concerns_no_other_segment)
{
	struct ipc_commit m;
	uint64_t id;

	skip(&id, 1);
	qpeer_join(&rig, &rig.smtpd, R_SMTPD);
	ipc_send_seg_want(rig.smtpd.chan, &(struct ipc_seg_want){});
	QWAIT(&rig, rig.smtpd.grants == 1);
	ck_assert_uint_ne(rig.smtpd.segment, segment);
	copy_write(&rig.smtpd, msgid_make(segment, 4711 * 8));
	qpeer_write(&rig.smtpd, &plain, 0, &m);
	/* it told nobody */
	qpeer_leave(&rig.smtpd);
	QWAIT(&rig, count_of("delivery") == 1);
	ck_assert_uint_eq(nskipped(), 1);
	qrig_fault(QF_REOPEN, "", 0);
	QWAIT(&rig, count_of("delivery") == 2);
	ck_assert_uint_eq(qrig_events(&rig, EV_ACCEPT, NULL), 2);
	QWAIT(&rig, nskipped() == 0);
}
END_TEST

/* It is read to its end as one whose writer is gone, too: one of the messages
 * stands elsewhere, and is over. */
START_TEST(test_skipped_that_was_not_closed_is_read_once)
{
	static const struct sv domain = {"a.test", 6};
	struct ipc_commit m = {.segment = 77, .offset = 64, .length = 80};
	uint64_t ids[2];

	unnamed(ids, 2);
	m.id = ids[1];
	qlog_commit(&m, &domain, 0);
	qlog_add(EV_ATTEMPT,
	    (union ev_any){
		.attempt = {.id = ids[1], .action = ACT_DELIVERED}});
	unreadable();
	ck_assert(is_noted(ids[1]));
	ck_assert(!is_noted(ids[0]));
	QWAIT(&rig, qrig_logged(&rig, "cannot be read to its end"));
	qrig_fault(QF_REOPEN, "", 0);
	QWAIT(&rig, qrig_events(&rig, EV_SEG_END, NULL) == 1);
	QWAIT(&rig, nskipped() == 0);
	ck_assert_int_eq(count_of("delivery"), 1);
	run();
	qrig_deliver_wait(&rig, 1);
	ck_assert_uint_eq(rig.smtp.delivers[0].id, ids[0]);
}
END_TEST

/* What could be read of it may end before the rest can be read. */
START_TEST(test_skipped_notes_what_was_found)
{
	char tmp[SIO_PATH_MAX];
	uint64_t ids[2];

	qrig_hurry(20); /* a look is 50 ms */
	skip(ids, 2);
	sio_path(tmp, "segments", segment, ".skipped-tmp");
	/* the scan and the first record can be read, and nothing more */
	qrig_fault_after(2, QF_READ, "segments", EIO);
	qrig_hold(QF_SYNC, "events");
	qrig_fault(QF_REOPEN, "", 0);
	QWAIT(&rig, count_of("delivery") == 1);
	QWAIT(&rig, qrig_held(QF_SYNC));
	/* not before the log has it; then it fails at first */
	qrig_fault_once(0, QF_OPEN, tmp, EIO);
	qrig_pass(&rig, 300);
	ck_assert(!is_noted(ids[0]));
	qrig_release(QF_SYNC);
	QWAIT(&rig, is_noted(ids[0]));
	ck_assert(!is_noted(ids[1]));
	run();
	qrig_deliver_wait(&rig, 1);
	ck_assert_uint_eq(rig.smtp.delivers[0].id, ids[0]);
	qrig_result(&rig, 0, OUT_DELIVERED, 250, "2.0.0", "ok");
	QWAIT(&rig, rig.smtp.acked == 1);
	qrig_fault(QF_REOPEN, seg_path, EIO);
	ck_assert_int_eq(qrig_stop(&rig), 0);
	qrig_fault(QF_READ, "", 0);
	/* it is not found again */
	start_all();
	qrig_fault(QF_REOPEN, "", 0);
	qrig_deliver_wait(&rig, 1);
	ck_assert_uint_eq(rig.smtp.delivers[0].id, ids[1]);
	qrig_result(&rig, 0, OUT_DELIVERED, 250, "2.0.0", "ok");
	QWAIT(&rig, nskipped() == 0);
	QWAIT(&rig, rig.smtp.acked == 1);
	ck_assert_int_eq(count_of("delivery"), 0);
	ck_assert_uint_eq(rig.smtp.ndelivers, 1);
}
END_TEST

START_TEST(test_skipped_goes_when_the_log_has_what_was_found)
{
	uint64_t id;

	qrig_hurry(20);
	skip(&id, 1);
	qrig_hold(QF_SYNC, "events");
	qrig_fault_once(0, QF_UNLINK, skipped_path, EIO);
	qrig_fault(QF_REOPEN, "", 0);
	QWAIT(&rig, count_of("delivery") == 1);
	QWAIT(&rig, qrig_held(QF_SYNC));
	qrig_pass(&rig, 300);
	ck_assert_uint_eq(nskipped(), 1);
	qrig_release(QF_SYNC);
	/* at the second try */
	QWAIT(&rig, qrig_logged(&rig, "has been read"));
	ck_assert_uint_eq(nskipped(), 0);
	ck_assert_int_eq(qrig_stop(&rig), 0);
	qrig_start(&rig, QRIG_CONF);
	ck_assert_int_eq(count_of("delivery"), 1);
}
END_TEST

/* ---- the file ---- */

START_TEST(test_skipped_file_of_a_segment_that_is_gone_is_removed)
{
	struct skipped k = {.segment = 4711, .upto = UINT64_MAX};
	struct sio *s;

	ck_assert_int_eq(qrig_stop(&rig), 0);
	s = qrig_sio(&rig);
	k.ids = idset_new();
	ck_assert_int_eq(skipped_save(s, &k), 0);
	idset_free(&k.ids);
	sio_free(&s);
	ck_assert_uint_eq(nskipped(), 1);
	qrig_start(&rig, QRIG_CONF);
	ck_assert_uint_eq(nskipped(), 0);
}
END_TEST

/* All of the segment is meant then: rather twice than never. */
START_TEST(test_skipped_file_that_is_damaged_means_all)
{
	uint64_t id;
	int fd;

	skip(&id, 1);
	qrig_kill(&rig);
	fd = openat(rig.spool, skipped_path, O_WRONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, "!", 1, 0), 1);
	close(fd);
	qrig_start(&rig, QRIG_CONF);
	ck_assert(qrig_logged(&rig, "is damaged: messages of that segment may "
				    "be sent again"));
	qrig_fault(QF_REOPEN, "", 0);
	QWAIT(&rig, nskipped() == 0);
	ck_assert_int_eq(count_of("delivery"), 1);
}
END_TEST

/* Nobody would know any more which segment it was. */
START_TEST(test_skipped_file_that_cannot_be_read_fails_the_start)
{
	uint64_t id;

	skip(&id, 1);
	qrig_kill(&rig);
	/* recovery can */
	qrig_fault_after(1, QF_REOPEN, skipped_path, EIO);
	qrig_start_fails(&rig, ".skipped cannot be read");
	qrig_fault(QF_REOPEN, "", 0);
	qrig_start(&rig, QRIG_CONF);
	QWAIT(&rig, count_of("delivery") == 1);
}
END_TEST

/* The folder is listed four times. */
START_TEST(test_skipped_files_that_cannot_be_listed_fail_the_start)
{
	static const char *const words[] = {
	    "cannot read the spool's segments", "cannot recover the spool",
	    "cannot recover the spool", "cannot read the spool's segments"};

	ck_assert_int_eq(qrig_stop(&rig), 0);
	for (int i = 0; i < 4; i++) {
		qrig_fault_after(i, QF_LIST, "segments", EIO);
		qrig_start_fails(&rig, words[i]);
	}
	ck_assert_uint_eq(qrig_logged_times(&rig, words[0]), 2);
	ck_assert_uint_eq(qrig_logged_times(&rig, words[1]), 2);
	qrig_fault(QF_LIST, "", 0);
	qrig_start(&rig, QRIG_CONF);
}
END_TEST

void
qmgr_tests_skipped(Suite *s)
{
	TCase *tc = qrig_tcase(s, "skipped");

	tcase_add_test(tc, test_skipped_is_read_by_a_later_start);
	tcase_add_test(tc, test_skipped_is_tried_on_and_on);
	tcase_add_test(tc, test_skipped_concerns_no_other_segment);
	tcase_add_test(tc, test_skipped_that_was_not_closed_is_read_once);
	tcase_add_test(tc, test_skipped_notes_what_was_found);
	tcase_add_test(tc, test_skipped_goes_when_the_log_has_what_was_found);
	tcase_add_test(
	    tc, test_skipped_file_of_a_segment_that_is_gone_is_removed);
	tcase_add_test(tc, test_skipped_file_that_is_damaged_means_all);
	tcase_add_test(
	    tc, test_skipped_file_that_cannot_be_read_fails_the_start);
	tcase_add_test(
	    tc, test_skipped_files_that_cannot_be_listed_fail_the_start);
}
