/* SPDX-License-Identifier: ISC */
/*
 * The queue manager as a process: writers of the spool and readers of the log,
 * a disk that fails, the room that compaction makes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/msgid.h"
#include "tests/unit/qmgr/qrig.h"

static const struct env_rcpt one = {.addr = {"r@there.test", 12}};

static struct envelope
envelope_plain(void)
{
	return (struct envelope){
	    .sender = SV("s@here.test"), .rcpts = &one, .nrcpts = 1};
}

static long long
in_msgs(void)
{
	/* traffic.in comes first */
	qrig_ctl(&rig, "show status");
	return qrig_number(&rig, "msg");
}

/* ---- writers ---- */

START_TEST(test_commit_that_cannot_be_is_ignored)
{
	struct envelope e = envelope_plain();
	struct ipc_commit good, m;

	qpeer_write(&rig.smtpd, &e, 0, &good);
	m = good;
	m.id++; /* not the place's own */
	qpeer_commit(&rig.smtpd, &m, &e);
	m = good;
	m.segment += 100; /* no such segment */
	m.id = msgid_make(m.segment, m.offset);
	qpeer_commit(&rig.smtpd, &m, &e);
	m = good;
	m.length = SEGMENT_SIZE; /* past the end */
	qpeer_commit(&rig.smtpd, &m, &e);
	m = good;
	m.body_len = UINT64_C(1) << 36; /* more than the queue can count */
	qpeer_commit(&rig.smtpd, &m, &e);
	m = good;
	m.offset = SEGMENT_SIZE + 8;
	m.id = msgid_make(m.segment, m.offset);
	qpeer_commit(&rig.smtpd, &m, &e);
	QWAIT(&rig, qrig_logged(&rig, "told of a message that cannot be"));
	ck_assert_int_eq(in_msgs(), 0);
	qpeer_commit(&rig.smtpd, &good, &e);
	QWAIT(&rig, in_msgs() == 1);
	/* a second time is none */
	qpeer_commit(&rig.smtpd, &good, &e);
	qrig_pass(&rig, 50);
	ck_assert_int_eq(in_msgs(), 1);
	ck_assert(!rig.smtpd.closed);
}
END_TEST

START_TEST(test_commit_without_an_envelope_is_counted)
{
	struct envelope e = envelope_plain();
	struct ipc_commit m;

	qpeer_write(&rig.smtpd, &e, 0, &m);
	m.env = SV("this is no envelope");
	ipc_send_commit(rig.smtpd.chan, &m);
	QWAIT(&rig, qrig_logged(&rig, "its envelope does not decode"));
	qrig_ctl(&rig, "show status");
	ck_assert_int_eq(qrig_number(&rig, "corrupt"), 1);
	ck_assert_int_eq(qrig_number(&rig, "msg"), 0);
}
END_TEST

START_TEST(test_commit_behind_a_gap_finds_what_lies_in_it)
{
	struct envelope e = envelope_plain();
	struct ipc_commit a, b;

	qpeer_write(&rig.smtpd, &e, 0, &a);
	qpeer_write(&rig.smtpd, &e, 0, &b);
	qpeer_commit(&rig.smtpd, &b, &e);
	QWAIT(&rig, in_msgs() == 2);
	qpeer_commit(&rig.smtpd, &a, &e); /* late: known */
	qrig_pass(&rig, 50);
	ck_assert_int_eq(in_msgs(), 2);
	ck_assert_uint_eq(qrig_events(&rig, EV_ACCEPT, NULL), 2);
}
END_TEST

START_TEST(test_writer_death_leaves_nothing_behind)
{
	struct envelope e = envelope_plain();
	struct ipc_commit m;

	qpeer_write(&rig.smtpd, &e, 0, &m);
	qpeer_leave(&rig.smtpd);
	QWAIT(&rig, in_msgs() == 1);
	QWAIT(&rig, qrig_events(&rig, EV_SEG_END, NULL) == 1);
	/* its successor gets a segment of its own */
	qpeer_join(&rig, &rig.smtpd, R_SMTPD);
	ipc_send_seg_want(rig.smtpd.chan, &(struct ipc_seg_want){});
	QWAIT(&rig, rig.smtpd.grants == 1);
	ck_assert_uint_ne(rig.smtpd.segment, m.segment);
}
END_TEST

START_TEST(test_writer_death_unreadable_segment_is_read_later)
{
	struct envelope e = envelope_plain();
	struct ipc_commit m;

	qpeer_write(&rig.smtpd, &e, 0, &m);
	qrig_fault(QF_READ, "segments", EIO);
	qpeer_leave(&rig.smtpd);
	QWAIT(&rig, qrig_logged(&rig, "cannot be read to its end"));
	ck_assert_int_eq(in_msgs(), 0);
	qrig_fault(QF_READ, "", 0);
	QWAIT(&rig, in_msgs() == 1);
}
END_TEST

START_TEST(test_writer_is_through_with_a_segment)
{
	struct envelope e = envelope_plain();
	struct ipc_commit a, b;

	qpeer_write(&rig.smtpd, &e, 0, &a);
	qpeer_commit(&rig.smtpd, &a, &e);
	ipc_send_seg_done(rig.smtpd.chan,
	    &(struct ipc_seg_done){.segment = 4711, .end = 100});
	qpeer_seg_done(&rig.smtpd, &a);
	QWAIT(&rig, qrig_events(&rig, EV_SEG_END, NULL) == 1);
	/* it was not: what it says of more is looked at */
	qpeer_write(&rig.smtpd, &e, 0, &b);
	ipc_send_seg_done(
	    rig.smtpd.chan, &(struct ipc_seg_done){.segment = a.segment,
				.end = b.offset + b.length});
	QWAIT(&rig, in_msgs() == 2);
}
END_TEST

/* smtpd goes on behind that message, in the segment that it had. */
static void
writes_on(int fd, const struct ipc_commit *last)
{
	rig.smtpd.seg_fd = fd;
	rig.smtpd.segment = last->segment;
	rig.smtpd.at = last->offset + last->length;
}

START_TEST(test_restart_adopts_segments_of_living_writers)
{
	struct envelope e = envelope_plain();
	struct ipc_commit a, b;
	int fd;

	qpeer_write(&rig.smtpd, &e, 0, &a);
	fd = dup(rig.smtpd.seg_fd);
	qrig_kill(&rig);
	writes_on(fd, &a);
	qrig_start(&rig, QRIG_CONF);
	ck_assert(qrig_logged(&rig, "1 found in segments"));
	qpeer_write(&rig.smtpd, &e, 0, &b);
	close(fd);
	rig.smtpd.r = NULL;
	qpeer_join(&rig, &rig.smtpd, R_SMTPD);
	qrig_go(&rig, 0);
	ck_assert_int_eq(in_msgs(), 1);
	qpeer_commit(&rig.smtpd, &b, &e);
	QWAIT(&rig, in_msgs() == 2);
	qpeer_seg_done(&rig.smtpd, &b);
	QWAIT(&rig, qrig_events(&rig, EV_SEG_END, NULL) == 1);
}
END_TEST

START_TEST(test_restart_reads_what_an_orphan_wrote_silently)
{
	struct envelope e = envelope_plain();
	struct ipc_commit a, b;
	int fd;

	qpeer_write(&rig.smtpd, &e, 0, &a);
	fd = dup(rig.smtpd.seg_fd);
	qrig_kill(&rig);
	qrig_start(&rig, QRIG_CONF);
	qrig_go(&rig, 0);
	ck_assert_int_eq(in_msgs(), 1);
	writes_on(fd, &a);
	qpeer_write(&rig.smtpd, &e, 0, &b);
	close(fd);
	QWAIT(&rig, in_msgs() == 2);
}
END_TEST

/* ---- large bodies ---- */

START_TEST(test_large_file_goes_along)
{
	struct envelope e = envelope_plain();
	struct ipc_commit m;

	ipc_send_large_want(
	    rig.smtpd.chan, &(struct ipc_large_want){.token = 1});
	QWAIT(&rig, rig.smtpd.larges == 1);
	ck_assert_int_eq(write(rig.smtpd.large_fd, "large", 5), 5);
	qpeer_write(&rig.smtpd, &e, rig.smtpd.large_id, &m);
	qpeer_commit(&rig.smtpd, &m, &e);
	qrig_deliver_wait(&rig, 1);
	ck_assert_uint_eq(rig.smtp.delivers[0].large_id, m.large_id);
	ck_assert_uint_eq(rig.smtp.large_opens, 1);
	/* known again after a start, gone after the delivery */
	qrig_kill(&rig);
	qrig_start(&rig, QRIG_CONF);
	qrig_peers(&rig);
	qrig_go(&rig, 1);
	QWAIT(&rig, rig.smtp.nopens == 1);
	qrig_session_up(&rig);
	QWAIT(&rig, rig.smtp.large_opens == 1);
	qrig_result(&rig, 0, OUT_DELIVERED, 250, "2.0.0", "250 ok");
	QWAIT(&rig,
	    faccessat(rig.spool, "large", F_OK, 0) == 0 && rig.smtp.acked == 1);
}
END_TEST

START_TEST(test_large_file_that_is_gone_is_not_handed_out)
{
	struct envelope e = envelope_plain();
	struct ipc_commit m;
	char path[64];

	ipc_send_large_want(
	    rig.smtpd.chan, &(struct ipc_large_want){.token = 1});
	QWAIT(&rig, rig.smtpd.larges == 1);
	qrig_ctl(&rig, "pause queue there.test");
	qpeer_write(&rig.smtpd, &e, rig.smtpd.large_id, &m);
	qpeer_commit(&rig.smtpd, &m, &e);
	QWAIT(&rig, in_msgs() == 1);
	snprintf(path, sizeof(path), "large/%020llu",
	    (unsigned long long)m.large_id);
	ck_assert_int_eq(unlinkat(rig.spool, path, 0), 0);
	qrig_ctl(&rig, "resume queue there.test");
	qrig_deliver_wait(&rig, 1);
	ck_assert_uint_eq(rig.smtp.large_opens, 0);
}
END_TEST

START_TEST(test_large_file_given_up_is_removed)
{
	ipc_send_large_want(
	    rig.smtpd.chan, &(struct ipc_large_want){.token = 1});
	QWAIT(&rig, rig.smtpd.larges == 1);
	ipc_send_large_drop(rig.smtpd.chan,
	    &(struct ipc_large_drop){.large_id = rig.smtpd.large_id});
	ipc_send_large_drop(
	    rig.smtpd.chan, &(struct ipc_large_drop){.large_id = 4711});
	ipc_send_large_want(
	    rig.smtpd.chan, &(struct ipc_large_want){.token = 2});
	QWAIT(&rig, rig.smtpd.larges == 2);
}
END_TEST

/* ---- a disk that fails ---- */

START_TEST(test_space_no_segment_refuses_mail_until_there_is_one)
{
	qrig_fault(QF_ALLOCATE, "", ENOSPC);
	qrig_fault(QF_OPEN, "", ENOSPC);
	qrig_fault(QF_RENAME, "", ENOSPC);
	qpeer_join(&rig, &rig.smtpd, R_SMTPD);
	ipc_send_seg_want(rig.smtpd.chan, &(struct ipc_seg_want){});
	ipc_send_large_want(
	    rig.smtpd.chan, &(struct ipc_large_want){.token = 1});
	QWAIT(&rig, rig.smtpd.refused);
	ck_assert(qrig_logged(&rig, "new mail is refused"));
	ck_assert_uint_eq(rig.smtpd.grants, 0);
	/* who comes meanwhile is told */
	qpeer_join(&rig, &rig.smtpd, R_SMTPD);
	QWAIT(&rig, rig.smtpd.refused);
	ipc_send_seg_want(rig.smtpd.chan, &(struct ipc_seg_want){});
	qrig_pass(&rig, 100);
	qrig_fault(QF_ALLOCATE, "", 0);
	qrig_fault(QF_OPEN, "", 0);
	qrig_fault(QF_RENAME, "", 0);
	QWAIT(&rig, !rig.smtpd.refused && rig.smtpd.spaces > 1);
	QWAIT(&rig, rig.smtpd.grants == 1);
	qrig_deliver(&rig, "s@here.test", "r@there.test", NULL);
}
END_TEST

START_TEST(test_space_limit_of_recipients_refuses_mail)
{
	qrig_ctl(&rig, "pause queue there.test");
	qrig_submit(&rig, "s@here.test", "r@there.test");
	qrig_conf(&rig, "host-name q.test\nspool-max-recipients 1\n");
	QWAIT(&rig, rig.smtpd.refused);
	ck_assert_str_eq(rig.smtpd.reason, "too many recipients in the queue");
	qrig_ctl(&rig, "delete there.test --yes");
	QWAIT(&rig, !rig.smtpd.refused);
}
END_TEST

/* The queue is too long, and only DSNs could make it shorter: bounce gets the
 * segment that it asked for while the disk was full. */
START_TEST(test_space_limit_of_recipients_holds_up_no_dsn)
{
	qrig_ctl(&rig, "pause queue there.test");
	qrig_submit(&rig, "s@here.test", "r@there.test");
	qrig_conf(&rig, "host-name q.test\nspool-max-recipients 1\n");
	QWAIT(&rig, rig.smtpd.refused);
	qrig_fault(QF_ALLOCATE, "", ENOSPC);
	qrig_fault(QF_OPEN, "", ENOSPC);
	qrig_fault(QF_RENAME, "", ENOSPC);
	qpeer_join(&rig, &rig.bounce, R_BOUNCE);
	ipc_send_seg_want(rig.bounce.chan, &(struct ipc_seg_want){});
	QWAIT(&rig, qrig_logged(&rig, "no new segment"));
	ck_assert_uint_eq(rig.bounce.grants, 0);
	qrig_fault(QF_ALLOCATE, "", 0);
	qrig_fault(QF_OPEN, "", 0);
	qrig_fault(QF_RENAME, "", 0);
	QWAIT(&rig, rig.bounce.grants == 1);
	ck_assert(rig.smtpd.refused);
}
END_TEST

START_TEST(test_log_that_cannot_be_written_stops_deliveries)
{
	unsigned n = qrig_deliver(&rig, "s@here.test", "r@there.test", NULL);

	qrig_fault(QF_WRITE, "events", ENOSPC);
	qrig_result(&rig, n, OUT_DELIVERED, 250, "2.0.0", "250 ok");
	QWAIT(&rig, rig.smtpd.refused);
	ck_assert(qrig_logged(&rig, "the event log cannot be"));
	/* what is not written is not acknowledged, nothing is begun */
	qrig_submit(&rig, "s@here.test", "other@there.test");
	qrig_pass(&rig, 300);
	ck_assert_uint_eq(rig.smtp.acked, 0);
	ck_assert_uint_eq(rig.smtp.ndelivers, 1);
	qrig_fault(QF_WRITE, "", 0);
	QWAIT(&rig, rig.smtp.acked == 1);
	QWAIT(&rig, qrig_logged(&rig, "the event log can be written again"));
	qrig_deliver_wait(&rig, 2);
	QWAIT(&rig, !rig.smtpd.refused);
}
END_TEST

START_TEST(test_log_that_cannot_be_synced_goes_on_in_a_new_file)
{
	unsigned n = qrig_deliver(&rig, "s@here.test", "r@there.test", NULL);
	uint64_t file;

	qpeer_join(&rig, &rig.acct, R_ACCT);
	QWAIT(&rig, rig.acct.log_ats > 0);
	file = rig.acct.log_at.file;
	qrig_fault(QF_SYNC, "events", EIO);
	qrig_result(&rig, n, OUT_DELIVERED, 250, "2.0.0", "250 ok");
	QWAIT(&rig, qrig_logged(&rig, "the event log cannot be synced"));
	qrig_fault(QF_SYNC, "", 0);
	QWAIT(&rig, rig.acct.log_at.file > file);
	QWAIT(&rig, rig.smtp.acked == 1);
	ck_assert_int_eq(qrig_stop(&rig), 0);
	qrig_start(&rig, QRIG_CONF);
	ck_assert(qrig_logged(&rig, "recovered: 0 messages"));
}
END_TEST

START_TEST(test_checkpoint_that_fails_loses_nothing)
{
	qrig_ctl(&rig, "pause queue there.test");
	qrig_submit(&rig, "s@here.test", "r@there.test");
	QWAIT(&rig, in_msgs() == 1);
	qrig_fault(QF_WRITE, "checkpoint", EIO);
	ck_assert_int_eq(qrig_stop(&rig), 0);
	qrig_start(&rig, QRIG_CONF);
	QWAIT(&rig, qrig_logged(&rig, "failed; the one before it stays"));
	ck_assert(qrig_logged(&rig, "recovered: 1 messages"));
	qrig_fault(QF_WRITE, "", 0);
	qrig_fault(QF_SYNC, "events", EIO);
	qrig_fault(QF_OPEN, "events", EIO);
	/* the last words are not durable, and that is said */
	qrig_ctl(&rig, "resume queue there.test");
	ck_assert_int_eq(qrig_stop(&rig), 0);
	ck_assert(qrig_logged(&rig, "the last events are not durable") ||
		  qrig_logged(&rig, "cannot be synced"));
}
END_TEST

static unsigned
log_count(const char *text)
{
	char path[128], line[4096];
	unsigned n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/log.test", rig.dir);
	f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f) != NULL)
		n += strstr(line, text) != NULL;
	fclose(f);
	return n;
}

START_TEST(test_segment_that_cannot_be_recycled_is_said_once)
{
	qrig_fault(QF_RENAME, "segments", EIO);
	ipc_send_seg_done(
	    rig.smtpd.chan, &(struct ipc_seg_done){.segment = rig.smtpd.segment,
				.end = SEGMENT_HEADER});
	QWAIT(&rig, qrig_logged(&rig, "segments cannot be recycled"));
	qrig_pass(&rig, 2500);
	ck_assert_uint_eq(log_count("segments cannot be recycled"), 1);
	qrig_fault(QF_RENAME, "", 0);
	QWAIT(&rig, qrig_logged(&rig, "segments are recycled again"));
}
END_TEST

/* ---- compaction ---- */

START_TEST(test_compaction_moves_the_living)
{
	struct envelope e = envelope_plain();
	struct ipc_commit m;
	uint64_t got = 0;

	qrig_ctl(&rig, "pause queue there.test");
	qpeer_write(&rig.smtpd, &e, 0, &m);
	qpeer_commit(&rig.smtpd, &m, &e);
	qpeer_seg_done(&rig.smtpd, &m);
	QWAIT(&rig, qrig_events(&rig, EV_MOVE, &got) == 1);
	ck_assert_uint_eq(got, m.id);
	qrig_kill(&rig);
	qrig_start(&rig, QRIG_CONF);
	ck_assert(qrig_logged(&rig, "recovered: 1 messages"));
	qrig_peers(&rig);
	qrig_go(&rig, 1);
	qrig_ctl(&rig, "resume queue there.test");
	qrig_deliver_wait(&rig, 1);
	ck_assert_uint_eq(rig.smtp.delivers[0].id, m.id);
	ck_assert_uint_ne(rig.smtp.delivers[0].segment, m.segment);
}
END_TEST

START_TEST(test_compaction_that_cannot_be_synced_moves_nothing)
{
	struct envelope e = envelope_plain();
	struct ipc_commit m;

	qrig_ctl(&rig, "pause queue there.test");
	qpeer_write(&rig.smtpd, &e, 0, &m);
	qpeer_commit(&rig.smtpd, &m, &e);
	QWAIT(&rig, in_msgs() == 1);
	/* files for later are there: the next sync is that of a number */
	QWAIT(&rig, (qrig_ctl(&rig, "show status"),
			qrig_number(&rig, "segmentsRecycled") == 4));
	qrig_fault_after(1, QF_SYNC, "segments", EIO);
	qpeer_seg_done(&rig.smtpd, &m);
	QWAIT(&rig, qrig_logged(&rig, "is given up") ||
			qrig_logged(&rig, "no new segment"));
	ck_assert_uint_eq(qrig_events(&rig, EV_MOVE, NULL), 0);
	qrig_fault(QF_SYNC, "", 0);
	QWAIT(&rig, qrig_events(&rig, EV_MOVE, NULL) == 1);
	qrig_ctl(&rig, "list");
	ck_assert_str_eq(rig.ctl_text, "1 recipients");
}
END_TEST

/* ---- readers of the log ---- */

static uint64_t
bouncing_one(void)
{
	uint64_t id;
	unsigned n = qrig_deliver(&rig, "s@here.test", "r@there.test", &id);

	qrig_result(&rig, n, OUT_PERMANENT, 550, "5.1.1", "550 nobody");
	QWAIT(&rig, rig.smtp.acked == 1);
	return id;
}

static void
bounce_take(uint64_t id, uint32_t n)
{
	static const uint32_t idx[] = {0, 5};

	ipc_send_bounce_take(rig.bounce.chan,
	    &(struct ipc_bounce_take){
		.token = 1, .id = id, .rcpts = {.array = idx, .n = n}});
}

static void
dsn_commit(struct qpeer *p, uint64_t id)
{
	static const uint32_t idx[] = {0, 7};
	static const struct env_rcpt to = {.addr = {"s@here.test", 11}};
	struct envelope e = {.sender = SV(""),
	    .rcpts = &to,
	    .nrcpts = 1,
	    .dsn_for = id,
	    .dsn_rcpts = idx,
	    .dsn_nrcpts = 2};
	struct ipc_commit m;

	qpeer_write(p, &e, 0, &m);
	qpeer_commit(p, &m, &e);
}

START_TEST(test_bounce_dsn_ends_what_it_reports)
{
	uint64_t id = bouncing_one(), got = 0;

	qpeer_join(&rig, &rig.bounce, R_BOUNCE);
	bounce_take(4711, 1);
	QWAIT(&rig, rig.bounce.goes == 1);
	ck_assert_uint_eq(rig.bounce.go_n, 0);
	bounce_take(id, 2);
	QWAIT(&rig, rig.bounce.goes == 2);
	ck_assert_uint_eq(rig.bounce.go_id, id);
	ck_assert_uint_eq(rig.bounce.go_n, 1);
	ck_assert_uint_eq(rig.bounce.seg_opens, 1);
	ipc_send_seg_want(rig.bounce.chan, &(struct ipc_seg_want){});
	QWAIT(&rig, rig.bounce.grants == 1);
	dsn_commit(&rig.bounce, id);
	QWAIT(&rig, qrig_events(&rig, EV_BOUNCED, &got) == 1);
	ck_assert_uint_eq(got, id);
	qrig_ctl(&rig, "show status");
	ck_assert_int_eq(qrig_number(&rig, "bounced"), 1);
	ck_assert_int_eq(qrig_number(&rig, "bounce"), 0);
	/* asked again it is over */
	bounce_take(id, 1);
	QWAIT(&rig, rig.bounce.goes == 3);
	ck_assert_uint_eq(rig.bounce.go_n, 0);
}
END_TEST

START_TEST(test_bounce_only_its_dsns_end_anything)
{
	uint64_t id = bouncing_one();

	dsn_commit(&rig.smtpd, id);
	QWAIT(&rig, in_msgs() == 2);
	ck_assert_uint_eq(qrig_events(&rig, EV_BOUNCED, NULL), 0);
	qrig_ctl(&rig, "show status");
	ck_assert_int_eq(qrig_number(&rig, "bounce"), 1);
}
END_TEST

START_TEST(test_bounce_drop_ends_without_a_dsn)
{
	static const uint32_t idx[] = {0, 5};
	uint64_t id = bouncing_one();

	qpeer_join(&rig, &rig.bounce, R_BOUNCE);
	ipc_send_bounce_drop(
	    rig.bounce.chan, &(struct ipc_bounce_drop){.id = id,
				 .rcpts = {.array = idx, .n = 2},
				 .reason = SV("unreadable")});
	QWAIT(&rig, qrig_logged(&rig, "no DSN can be made: unreadable"));
	qrig_ctl(&rig, "show status");
	ck_assert_int_eq(qrig_number(&rig, "bounce"), 0);
	ck_assert_uint_eq(qrig_events(&rig, EV_BOUNCED, NULL), 1);
}
END_TEST

START_TEST(test_bounce_death_finds_its_dsn)
{
	static const uint32_t idx[] = {0};
	static struct qpeer second;
	struct envelope e = envelope_plain();
	struct ipc_commit m;

	e.dsn_for = bouncing_one();
	e.dsn_rcpts = idx;
	e.dsn_nrcpts = 1;
	qpeer_join(&rig, &rig.bounce, R_BOUNCE);
	ipc_send_seg_want(rig.bounce.chan, &(struct ipc_seg_want){});
	QWAIT(&rig, rig.bounce.grants == 1);
	qpeer_write(&rig.bounce, &e, 0, &m);
	/* a new one comes before qmgr has seen the old one go */
	qpeer_join(&rig, &second, R_BOUNCE);
	QWAIT(&rig, rig.bounce.closed);
	QWAIT(&rig, qrig_events(&rig, EV_BOUNCED, NULL) == 1);
	ck_assert(!second.closed);
	qpeer_leave(&second);
}
END_TEST

START_TEST(test_restart_dsn_without_its_end_is_seen)
{
	uint64_t id = bouncing_one();

	qpeer_join(&rig, &rig.bounce, R_BOUNCE);
	ipc_send_seg_want(rig.bounce.chan, &(struct ipc_seg_want){});
	QWAIT(&rig, rig.bounce.grants == 1);
	/* found at the start only */
	qrig_fault(QF_WRITE, "events", EIO);
	dsn_commit(&rig.bounce, id);
	chan_flush(rig.bounce.chan);
	QWAIT(&rig, qrig_logged(&rig, "cannot be written"));
	qrig_kill(&rig);
	qrig_fault(QF_WRITE, "", 0);
	qrig_start(&rig, QRIG_CONF);
	ck_assert_uint_eq(qrig_events(&rig, EV_BOUNCED, NULL), 1);
	qrig_ctl(&rig, "show status");
	ck_assert_int_eq(qrig_number(&rig, "bounce"), 0);
	ck_assert_int_eq(qrig_number(&rig, "delivery"), 1);
}
END_TEST

START_TEST(test_readers_hold_the_files_that_they_need)
{
	struct evlog_pos at;

	qpeer_join(&rig, &rig.bounce, R_BOUNCE);
	qpeer_join(&rig, &rig.acct, R_ACCT);
	bouncing_one();
	QWAIT(&rig, rig.bounce.log_ats > 1 && rig.acct.log_ats > 1);
	at = rig.bounce.log_at;
	ipc_send_reader_at(rig.acct.chan,
	    &(struct ipc_reader_at){.file = at.file, .offset = at.offset});
	ipc_send_reader_at(rig.bounce.chan,
	    &(struct ipc_reader_at){.file = at.file, .offset = at.offset});
	qpeer_leave(&rig.acct);
	qrig_ctl(&rig, "show version"); /* it is read */
	ck_assert_int_eq(qrig_stop(&rig), 0);
	/* the file that bounce stands in is there still */
	ck_assert_uint_eq(qrig_events(&rig, EV_ATTEMPT, NULL), 1);
}
END_TEST

/* ---- the stop ---- */

START_TEST(test_stop_waits_for_workers_and_begins_nothing)
{
	qrig_deliver(&rig, "s@here.test", "r@there.test", NULL);
	ipc_send_stop(rig.master, &(struct ipc_stop){.drain_ms = 30000});
	qrig_ctl(&rig, "show status");
	QWAIT(&rig,
	    (qrig_ctl(&rig, "show status"),
		strstr((const char *)buf_data(&rig.rows), "stopping") != NULL));
	qrig_submit(&rig, "s@here.test", "r@other.test");
	qpeer_leave(&rig.smtpd);
	qrig_pass(&rig, 100);
	ck_assert_uint_eq(rig.smtp.nopens, 1);
	qrig_result(&rig, 0, OUT_DELIVERED, 250, "2.0.0", "250 ok");
	QWAIT(&rig, rig.smtp.acked == 1);
	qpeer_leave(&rig.smtp);
	ck_assert_int_eq(qrig_wait_end(&rig), 0);
	qrig_start(&rig, QRIG_CONF);
	ck_assert(qrig_logged(&rig, "recovered: 1 messages"));
}
END_TEST

START_TEST(test_stop_ends_when_the_drain_is_over)
{
	qrig_deliver(&rig, "s@here.test", "r@there.test", NULL);
	ipc_send_stop(rig.master, &(struct ipc_stop){.drain_ms = 1000});
	/* the worker stays */
	ck_assert_int_eq(qrig_wait_end(&rig), 0);
}
END_TEST

void
qmgr_tests_spool(Suite *s)
{
	TCase *tc = qrig_tcase(s, "spool");

	tcase_add_test(tc, test_commit_that_cannot_be_is_ignored);
	tcase_add_test(tc, test_commit_without_an_envelope_is_counted);
	tcase_add_test(tc, test_commit_behind_a_gap_finds_what_lies_in_it);
	tcase_add_test(tc, test_writer_death_leaves_nothing_behind);
	tcase_add_test(tc, test_writer_death_unreadable_segment_is_read_later);
	tcase_add_test(tc, test_writer_is_through_with_a_segment);
	tcase_add_test(tc, test_restart_adopts_segments_of_living_writers);
	tcase_add_test(tc, test_restart_reads_what_an_orphan_wrote_silently);
	tcase_add_test(tc, test_large_file_goes_along);
	tcase_add_test(tc, test_large_file_that_is_gone_is_not_handed_out);
	tcase_add_test(tc, test_large_file_given_up_is_removed);
	tcase_add_test(
	    tc, test_space_no_segment_refuses_mail_until_there_is_one);
	tcase_add_test(tc, test_space_limit_of_recipients_refuses_mail);
	tcase_add_test(tc, test_space_limit_of_recipients_holds_up_no_dsn);
	tcase_add_test(tc, test_log_that_cannot_be_written_stops_deliveries);
	tcase_add_test(
	    tc, test_log_that_cannot_be_synced_goes_on_in_a_new_file);
	tcase_add_test(tc, test_checkpoint_that_fails_loses_nothing);
	tcase_add_test(tc, test_segment_that_cannot_be_recycled_is_said_once);
	tcase_add_test(tc, test_compaction_moves_the_living);
	tcase_add_test(tc, test_compaction_that_cannot_be_synced_moves_nothing);
	tcase_add_test(tc, test_bounce_dsn_ends_what_it_reports);
	tcase_add_test(tc, test_bounce_only_its_dsns_end_anything);
	tcase_add_test(tc, test_bounce_drop_ends_without_a_dsn);
	tcase_add_test(tc, test_bounce_death_finds_its_dsn);
	tcase_add_test(tc, test_restart_dsn_without_its_end_is_seen);
	tcase_add_test(tc, test_readers_hold_the_files_that_they_need);
	tcase_add_test(tc, test_stop_waits_for_workers_and_begins_nothing);
	tcase_add_test(tc, test_stop_ends_when_the_drain_is_over);
}
