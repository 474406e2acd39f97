/* SPDX-License-Identifier: ISC */
#include <sys/socket.h>
#include <check.h>
#include <errno.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/base/msgid.h"
#include "common/spool/committer.h"
#include "tests/unit/spool/tmpspool.h"

#define SEGS 16

/* A qmgr that grants segments of its own size and notes what it is told. */
struct fake_qmgr {
	struct chan *chan;
	uint64_t seg_size;
	int bad_grants;        /* so many grants are read-only descriptors */
	unsigned wants, commits, larges, drops;
	uint64_t last_segment, last_offset, last_length, last_large;
	uint64_t done_segment[SEGS], done_end[SEGS];
	unsigned dones;
	char first_frame[16];
};

static struct event_base *base;
static struct tmpspool spool;
static struct fake_qmgr qmgr;
static struct committer *committer;
static struct chan *writer_chan;
static uint64_t next_segment;
static const struct chan_ops qmgr_ops, writer_ops;

static void
note_first(const char *name)
{
	if (qmgr.first_frame[0] == '\0')
		snprintf(qmgr.first_frame, sizeof(qmgr.first_frame), "%s",
		    name);
}

static void
grant(struct chan *c)
{
	char path[SIO_PATH_MAX];
	struct ipc_seg_grant m = { .segment = next_segment++,
		.offset = SEGMENT_HEADER, .size = qmgr.seg_size };
	bool bad = qmgr.bad_grants > 0;
	int fd;

	sio_path(path, "segments", m.segment, ".seg");
	fd = openat(spool.dirfd, path,
	    O_CREAT | O_CLOEXEC | (bad ? O_RDONLY : O_WRONLY), 0600);
	ck_assert_int_ge(fd, 0);
	qmgr.bad_grants -= bad;
	ipc_send_seg_grant(c, &m, fd);
}

static void
on_seg_want(struct chan *c, void *arg, const void *m)
{
	(void)arg;
	(void)m;
	note_first("SEG_WANT");
	qmgr.wants++;
	if (qmgr.seg_size > 0)
		grant(c);
}

static void
on_seg_done(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_seg_done *m = msg;

	(void)c;
	(void)arg;
	note_first("SEG_DONE");
	ck_assert_uint_lt(qmgr.dones, SEGS);
	qmgr.done_segment[qmgr.dones] = m->segment;
	qmgr.done_end[qmgr.dones++] = m->end;
}

static void
on_commit(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_commit *m = msg;

	(void)c;
	(void)arg;
	note_first("COMMIT");
	qmgr.commits++;
	qmgr.last_segment = m->segment;
	qmgr.last_offset = m->offset;
	qmgr.last_length = m->length;
	qmgr.last_large = m->large_id;
}

static void
on_large_want(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_large_want *m = msg;
	char path[SIO_PATH_MAX];
	int fd = openat(spool.dirfd, sio_path(path, "large", 77, ""),
	    O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	(void)arg;
	qmgr.larges++;
	ipc_send_large_grant(c,
	    &(struct ipc_large_grant){ .token = m->token, .large_id = 77 },
	    fd);
}

static void
on_large_drop(struct chan *c, void *arg, const void *m)
{
	(void)c;
	(void)arg;
	(void)m;
	qmgr.drops++;
}

static void
on_qmgr_close(struct chan *c, void *arg, const char *why)
{
	(void)c;
	(void)arg;
	(void)why;
	chan_free(&qmgr.chan);
}

static const struct chan_ops qmgr_ops = {
	.on = { [IPC_SEG_WANT] = on_seg_want, [IPC_SEG_DONE] = on_seg_done,
	    [IPC_COMMIT] = on_commit, [IPC_LARGE_WANT] = on_large_want,
	    [IPC_LARGE_DROP] = on_large_drop },
	.on_close = on_qmgr_close,
};

static void
on_seg_grant(struct chan *c, void *arg, const void *m)
{
	(void)arg;
	committer_on_seg_grant(committer, c, m);
}

static void
on_large_grant(struct chan *c, void *arg, const void *m)
{
	(void)arg;
	committer_on_large_grant(committer, c, m);
}

static void
on_space(struct chan *c, void *arg, const void *m)
{
	(void)c;
	(void)arg;
	committer_on_space(committer, m);
}

static void
on_writer_credit(struct chan *c, void *arg)
{
	(void)c;
	(void)arg;
	committer_on_credit(committer);
}

static void
on_writer_close(struct chan *c, void *arg, const char *why)
{
	(void)c;
	(void)arg;
	(void)why;
	committer_chan_set(committer, NULL);
	chan_free(&writer_chan);
}

static const struct chan_ops writer_ops = {
	.on = { [IPC_SEG_GRANT] = on_seg_grant,
	    [IPC_LARGE_GRANT] = on_large_grant, [IPC_SPACE] = on_space },
	.on_close = on_writer_close,
	.on_credit = on_writer_credit,
};

/* A new qmgr comes up. */
static void
connect_qmgr(uint32_t credits)
{
	int sp[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
	    sp), 0);
	qmgr.chan = chan_new(base, sp[0], R_QMGR, R_SMTPD, 0, &qmgr_ops, NULL);
	writer_chan = chan_new(base, sp[1], R_SMTPD, R_QMGR, 0, &writer_ops,
	    NULL);
	if (credits > 0)
		chan_credit_grant(qmgr.chan, credits);
	committer_chan_set(committer, writer_chan);
}

static void
setup(void)
{
	tmpspool_make(&spool);
	base = event_base_new();
	qmgr = (struct fake_qmgr){ .seg_size = SEGMENT_SIZE };
	next_segment = 1;
	committer = committer_new(base);
	ck_assert(!committer_can_accept(committer));
}

static void
teardown(void)
{
	committer_free(&committer);
	chan_free(&writer_chan);
	chan_free(&qmgr.chan);
	event_base_free(base);
	tmpspool_drop(&spool);
}

/* ---- messages ---- */

struct msg {
	struct commit_req req;
	struct iovec body[2];
	enum commit_result result;
	uint64_t id;
	int calls;
};

static int
head_make(const struct commit_req *req, uint64_t id, struct buf *head,
    void *arg)
{
	char text[MSGID_TEXT];

	(void)req;
	(void)arg;
	return buf_addf(head, "Received: by x id %s\r\n",
	    msgid_format(id, text));
}

static void
on_done(struct commit_req *req, enum commit_result result, uint64_t id,
    void *arg)
{
	struct msg *m = arg;

	ck_assert_ptr_eq(req, &m->req);
	m->result = result;
	m->id = id;
	m->calls++;
}

static char part_a[] = "Subject: x\r\n\r\n", part_b[20000] = "body";

static void
submit(struct msg *m, size_t body)
{
	memset(m, 0, sizeof(*m));
	m->body[0] = (struct iovec){ part_a, sizeof(part_a) - 1 };
	m->body[1] = (struct iovec){ part_b, body };
	m->req.env = SV("envelope");
	m->req.make_head = head_make;
	m->req.body = m->body;
	m->req.nbody = 2;
	m->req.arrival_us = 5;
	m->req.done = on_done;
	m->req.arg = m;
	committer_submit(committer, &m->req);
	ck_assert_int_eq(m->calls, 0);
}

static void
run_until(const int *counter, int want)
{
	while (*counter < want)
		ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
}

/* Everything that is on its way between the two ends. */
static void
settle(void)
{
	for (int i = 0; i < 50; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

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
	for (int i = 0; i < 20; i++)
		submit(&m[i], 4000);
	for (int i = 0; i < 20; i++)
		run_until(&m[i].calls, 1);
	settle();
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
	for (int i = 0; i < 10; i++)
		submit(&m[i], 10000);
	for (int i = 0; i < 10; i++)
		run_until(&m[i].calls, 1);
	settle();
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
	for (int i = 0; i < 3; i++)
		submit(&m[i], 100);
	for (int i = 0; i < 3; i++)
		run_until(&m[i].calls, 1);
	settle();
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
	for (int i = 0; i < 3; i++)
		submit(&m[i], 100);
	for (int i = 0; i < 3; i++)
		run_until(&m[i].calls, 1);
	settle();
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
	qmgr.first_frame[0] = '\0';
	for (int i = 0; i < 4; i++)
		submit(&m[i], 20000);
	event_base_loop(base, EVLOOP_NONBLOCK);
	committer_chan_set(committer, NULL);
	chan_free(&writer_chan);
	chan_free(&qmgr.chan);
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

static struct commit_large *granted;
static int large_calls;

static void
on_large(struct commit_large *l, bool ok, void *arg)
{
	(void)arg;
	granted = ok ? l : NULL;
	large_calls++;
}

START_TEST(test_large_body_is_committed_with_its_crc)
{
	char path[SIO_PATH_MAX], got[64];
	struct record r;
	struct buf b;
	struct msg m;
	int fd;

	large_calls = 0;
	connect_qmgr(10);
	settle();
	ck_assert_ptr_nonnull(committer_large_open(committer, on_large, NULL));
	run_until(&large_calls, 1);
	ck_assert_ptr_nonnull(granted);
	ck_assert_int_eq(commit_large_write(granted, "hello ", 6), 0);
	ck_assert_int_eq(commit_large_write(granted, "world", 5), 0);
	memset(&m, 0, sizeof(m));
	m.req.env = SV("envelope");
	m.req.large = granted;
	m.req.done = on_done;
	m.req.arg = &m;
	committer_submit(committer, &m.req);
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

		large_calls = 0;
		connect_qmgr(10);
		settle();
		ck_assert_ptr_nonnull(committer_large_open(committer,
		    on_large, NULL));
		run_until(&large_calls, 1);
		ck_assert_int_eq(commit_large_write(granted, "body", 4), 0);
		for (int i = 0; i < restarts; i++) {
			chan_free(&qmgr.chan);
			settle();
			connect_qmgr(10);
			settle();
		}
		memset(&m, 0, sizeof(m));
		m.req.env = SV("envelope");
		m.req.large = granted;
		m.req.done = on_done;
		m.req.arg = &m;
		committer_submit(committer, &m.req);
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
