/* SPDX-License-Identifier: ISC */
/*
 * The queue manager as a process: segments whose end cannot be read yet, or
 * whose writer is not known, and what no writer can have meant.
 */
#include <sys/socket.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/crc32c.h"
#include "common/base/msgid.h"
#include "tests/unit/qmgr/qrig.h"

/* In a record's header: doc/spool.md. */
#define BODY_LEN_AT 16
#define CRC_AT      68

static const struct env_rcpt one = {.addr = {"r@there.test", 12}};
static const struct envelope plain = {
    .sender = {"s@here.test", 11}, .rcpts = &one, .nrcpts = 1};

static long long
in_msgs(void)
{
	qrig_ctl(&rig, "show status");
	return qrig_number(&rig, "msg");
}

static void
seg_done(struct qpeer *p, uint64_t segment, uint64_t end)
{
	ipc_send_seg_done(
	    p->chan, &(struct ipc_seg_done){.segment = segment, .end = end});
}

static void
seg_want(struct qpeer *p)
{
	unsigned n = p->grants;

	ipc_send_seg_want(p->chan, &(struct ipc_seg_want){});
	QWAIT(&rig, p->grants == n + 1);
}

static uint64_t
large_make(struct qpeer *p)
{
	unsigned n = p->larges;

	ipc_send_large_want(p->chan, &(struct ipc_large_want){.token = n});
	QWAIT(&rig, p->larges == n + 1);
	ck_assert_int_eq(write(p->large_fd, "large", 5), 5);
	return p->large_id;
}

static bool
large_is_there(uint64_t id)
{
	char path[64];

	snprintf(path, sizeof(path), "large/%020llu", (unsigned long long)id);
	return faccessat(rig.spool, path, F_OK, 0) == 0;
}

/* smtpd lives on without a qmgr, with an open segment. */
static void
orphan(struct qpeer *w)
{
	*w = rig.smtpd;
	w->seg_fd = dup(w->seg_fd);
	qrig_kill(&rig);
}

/* ---- segments that cannot be read yet ---- */

static struct ipc_commit taken, refused;

/* The writer committed one record, refused the next, which has a large body,
 * and says where the segment ends: in front of that. It cannot be read now. */
static void
refused_behind_the_end(void)
{
	uint64_t large = large_make(&rig.smtpd);

	qpeer_write(&rig.smtpd, &plain, 0, &taken);
	qpeer_write(&rig.smtpd, &plain, large, &refused);
	qrig_fault(QF_READ, "segments", EIO);
	seg_done(&rig.smtpd, taken.segment, refused.offset);
	ipc_send_large_drop(
	    rig.smtpd.chan, &(struct ipc_large_drop){.large_id = large});
	QWAIT(&rig, qrig_logged(&rig, "cannot be read to its end"));
}

START_TEST(test_unread_segment_is_read_to_its_told_end_only)
{
	uint64_t id = 0;

	refused_behind_the_end();
	/* nor when its writer is gone: then all it has is read to the end */
	qpeer_leave(&rig.smtpd);
	QWAIT(&rig, qrig_logged(&rig, "channel to smtpd[0]"));
	qrig_fault(QF_READ, "", 0);
	QWAIT(&rig, qrig_events(&rig, EV_SEG_END, NULL) == 1);
	ck_assert_int_eq(in_msgs(), 1);
	ck_assert_uint_eq(qrig_events(&rig, EV_ACCEPT, &id), 1);
	ck_assert_uint_eq(id, taken.id);
	QWAIT(&rig, !large_is_there(refused.large_id));
	/* that stands in the log, too */
	ck_assert_int_eq(qrig_stop(&rig), 0);
	qrig_start(&rig, QRIG_CONF);
	ck_assert(qrig_logged(&rig, "recovered: 1 messages"));
}
END_TEST

/* The next qmgr knows of no end: what it finds must be whole. */
START_TEST(test_unread_segment_keeps_the_bodies_behind_its_end)
{
	unsigned n;

	refused_behind_the_end();
	qpeer_join(&rig, &rig.acct, R_ACCT);
	QWAIT(&rig, rig.acct.log_ats > 0);
	n = rig.acct.log_ats;
	qrig_ctl(&rig, "pause queue other.test");
	/* what was dropped goes when the log is durable */
	QWAIT(&rig, rig.acct.log_ats > n);
	ck_assert(large_is_there(refused.large_id));
	qrig_kill(&rig);
	qrig_fault(QF_READ, "", 0);
	qrig_start(&rig, QRIG_CONF);
	ck_assert(qrig_logged(&rig, "2 found in segments"));
	qrig_peers(&rig);
	qrig_go(&rig, 1);
	/* each in a session of its own or the next in the same */
	qrig_deliver_wait(&rig, 1);
	qrig_result(&rig, 0, OUT_DELIVERED, 250, "2.0.0", "250 ok");
	qrig_deliver_wait(&rig, 2);
	ck_assert_uint_eq(rig.smtp.large_opens, 1);
}
END_TEST

START_TEST(test_unread_segments_in_number_are_all_read)
{
	struct ipc_commit m[18];

	qrig_fault(QF_READ, "segments", EIO);
	for (unsigned i = 0; i < 18; i++) {
		qpeer_write(&rig.smtpd, &plain, 0, &m[i]);
		seg_done(&rig.smtpd, m[i].segment, m[i].offset + m[i].length);
		/* told twice: it is the same segment */
		seg_done(&rig.smtpd, m[i].segment, m[i].offset + m[i].length);
		seg_want(&rig.smtpd);
	}
	ck_assert_int_eq(in_msgs(), 0);
	qrig_fault(QF_READ, "", 0);
	QWAIT(&rig, in_msgs() == 18);
	QWAIT(&rig, qrig_events(&rig, EV_SEG_END, NULL) == 18);
}
END_TEST

/* A COMMIT behind records that nobody told of, which cannot be read now. */
START_TEST(test_commit_behind_what_cannot_be_read_comes_with_it)
{
	struct ipc_commit a, b;

	qpeer_write(&rig.smtpd, &plain, 0, &a);
	qpeer_write(&rig.smtpd, &plain, 0, &b);
	qrig_fault(QF_READ, "segments", EIO);
	qpeer_commit(&rig.smtpd, &b, &plain);
	QWAIT(&rig, qrig_logged(&rig, "cannot be read to its end"));
	ck_assert_int_eq(in_msgs(), 0);
	qrig_fault(QF_READ, "", 0);
	seg_done(&rig.smtpd, b.segment, b.offset + b.length);
	QWAIT(&rig, in_msgs() == 2);
}
END_TEST

/* ---- what cannot be ---- */

START_TEST(test_commit_of_no_place_is_ignored)
{
	struct ipc_commit good, m;

	qpeer_write(&rig.smtpd, &plain, 0, &good);
	for (unsigned i = 0; i < 7; i++) {
		m = good;
		m.id = i == 0 ? 0 : m.id;
		m.offset += i == 1 ? 4 : 0;
		m.offset = i == 2 ? SEGMENT_SIZE : m.offset;
		m.length += i == 3 ? 4 : 0;
		m.length = i == 4 ? RECORD_HEADER - 8 : m.length;
		m.length = i == 5 ? SEGMENT_SIZE - m.offset + 8 : m.length;
		m.body_len = i == 6 ? UINT64_C(1) << 40 : m.body_len;
		qpeer_commit(&rig.smtpd, &m, &plain);
	}
	/* nor of what is not its own */
	qpeer_join(&rig, &rig.bounce, R_BOUNCE);
	qpeer_commit(&rig.bounce, &good, &plain);
	QWAIT(&rig, qrig_logged(&rig, "bounce[0] told of a message that"));
	ck_assert_int_eq(in_msgs(), 0);
	qpeer_commit(&rig.smtpd, &good, &plain);
	QWAIT(&rig, in_msgs() == 1);
}
END_TEST

/* A record without an envelope. */
static void
record_write(struct qpeer *p)
{
	unsigned char header[RECORD_HEADER];
	struct record_parts parts = {.segment = p->segment,
	    .id = msgid_make(p->segment, p->at),
	    .env = SV("no envelope")};
	struct iovec iov[8];
	size_t n = record_build(&parts, header, iov);

	ck_assert_int_gt(
	    pwritev(p->seg_fd, iov, (int)n, (off_t)p->at), 0);
	p->at += record_length(&parts);
}

/* What a writer puts there without telling of it is looked at, too. */
START_TEST(test_found_records_that_cannot_be_are_counted)
{
	struct ipc_commit m;

	qpeer_write(&rig.smtpd, &plain, 0, &m);
	record_write(&rig.smtpd);
	qpeer_leave(&rig.smtpd);
	QWAIT(&rig, in_msgs() == 1);
	ck_assert_int_eq(qrig_number(&rig, "corrupt"), 1);
}
END_TEST

START_TEST(test_found_at_a_start_records_that_cannot_be_are_counted)
{
	struct qpeer w;

	record_write(&rig.smtpd);
	orphan(&w);
	close(w.seg_fd);
	qrig_start(&rig, QRIG_CONF);
	qrig_ctl(&rig, "show status");
	ck_assert_int_eq(qrig_number(&rig, "corrupt"), 1);
	ck_assert(qrig_logged(&rig, "1 found in segments"));
	ck_assert_int_eq(in_msgs(), 0);
}
END_TEST

/* A record whose large body is longer than any may be. */
static void
record_write_too_large(struct qpeer *p)
{
	struct ipc_commit m;
	unsigned char header[RECORD_HEADER];
	uint64_t seed = htole64(p->segment), len = htole64(UINT64_C(1) << 40);
	char path[64];
	uint32_t crc;
	int fd;

	qpeer_write(p, &plain, 4711, &m);
	snprintf(path, sizeof(path), "segments/%010llu.seg",
	    (unsigned long long)p->segment);
	fd = openat(rig.spool, path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(
	    pread(fd, header, sizeof(header), (off_t)m.offset), RECORD_HEADER);
	memcpy(header + BODY_LEN_AT, &len, sizeof(len));
	crc = htole32(crc32c(crc32c(0, &seed, sizeof(seed)), header, CRC_AT));
	memcpy(header + CRC_AT, &crc, sizeof(crc));
	ck_assert_int_eq(
	    pwrite(fd, header, sizeof(header), (off_t)m.offset), RECORD_HEADER);
	close(fd);
}

START_TEST(test_found_record_that_is_too_large_is_counted)
{
	struct ipc_commit m;

	record_write_too_large(&rig.smtpd);
	qpeer_write(&rig.smtpd, &plain, 0, &m);
	qpeer_leave(&rig.smtpd);
	QWAIT(&rig, in_msgs() == 1);
	ck_assert_int_eq(qrig_number(&rig, "corrupt"), 1);
	ck_assert_uint_eq(qrig_events(&rig, EV_ACCEPT, NULL), 1);
}
END_TEST

/* A DSN ends what it names and what waits for one. */
START_TEST(test_dsn_of_what_waits_for_none_ends_nothing)
{
	static const struct env_rcpt both[] = {
	    {.addr = {"r@there.test", 12}}, {.addr = {"r@later.test", 12}}};
	static const uint32_t idx[] = {0, 1, 7};
	struct envelope e = plain, dsn = plain;
	struct ipc_commit m, d;

	qrig_ctl(&rig, "pause queue later.test");
	e.rcpts = both;
	e.nrcpts = 2;
	qpeer_write(&rig.smtpd, &e, 0, &m);
	qpeer_commit(&rig.smtpd, &m, &e);
	qrig_deliver_wait(&rig, 1);
	qrig_result(&rig, 0, OUT_PERMANENT, 550, "5.1.1", "550 nobody");
	QWAIT(&rig, rig.smtp.acked == 1);
	qpeer_join(&rig, &rig.bounce, R_BOUNCE);
	seg_want(&rig.bounce);
	dsn.sender = SV("");
	dsn.dsn_rcpts = idx;
	dsn.dsn_nrcpts = 3;
	for (unsigned i = 0; i < 2; i++) {
		dsn.dsn_for = i == 0 ? 4711 : m.id;
		qpeer_write(&rig.bounce, &dsn, 0, &d);
		qpeer_commit(&rig.bounce, &d, &dsn);
		QWAIT(&rig, qrig_events(&rig, EV_BOUNCED, NULL) == i + 1);
		qrig_ctl(&rig, "show status");
		ck_assert_int_eq(qrig_number(&rig, "bounced"), i);
	}
	qrig_ctl(&rig, "list later.test");
	ck_assert_str_eq(rig.ctl_text, "1 recipients");
}
END_TEST

static void
commit_for(const char *addr, const char *vmta)
{
	struct env_rcpt rcpt = {.addr = sv_from(addr)};
	struct envelope e = plain;
	struct ipc_commit m;

	e.vmta = sv_from(vmta);
	e.rcpts = &rcpt;
	e.nrcpts = 1;
	qpeer_write(&rig.smtpd, &e, 0, &m);
	qpeer_commit(&rig.smtpd, &m, &e);
}

START_TEST(test_vmta_that_is_not_configured_is_the_default)
{
	struct envelope e = plain;
	struct ipc_commit m;

	e.vmta = SV("removed");
	qpeer_write(&rig.smtpd, &e, 0, &m);
	qpeer_commit(&rig.smtpd, &m, &e);
	qrig_deliver_wait(&rig, 1);
	ck_assert_str_eq(rig.smtp.opens[0].queue, "there.test/{default}");
}
END_TEST

/* Over a restart as well: it is what ACCEPT says. */
START_TEST(test_queue_to_and_reroute)
{
	qrig_conf(&rig, QRIG_CONF
	    "<virtual-mta v1>\n<domain there.test>\n"
	    "reroute-to-virtual-mta v2\n</domain>\n</virtual-mta>\n"
	    "<virtual-mta v2>\n</virtual-mta>\n"
	    "<virtual-mta v3>\n<domain *>\nreroute-to-virtual-mta v4\n"
	    "</domain>\n</virtual-mta>\n"
	    "<virtual-mta v4>\n<domain *>\nreroute-to-virtual-mta v3\n"
	    "</domain>\n</virtual-mta>\n"
	    "<domain old.test>\nqueue-to new.test\n</domain>\n");
	commit_for("a@there.test", "v1");
	commit_for("a@else.test", "v1");
	commit_for("a@old.test", "v2");
	commit_for("a@loop.test", "v3");
	for (int i = 0; i < 3; i++) {
		ck_assert_ptr_nonnull(strstr(qrig_ctl(&rig, "show queues"),
		    "there.test/v2"));
		ck_assert_ptr_nonnull(strstr(qrig_ctl(&rig, "show queues"),
		    "else.test/v1"));
		ck_assert_ptr_nonnull(strstr(qrig_ctl(&rig, "show queues"),
		    "new.test/v2"));
		ck_assert_ptr_null(strstr(qrig_ctl(&rig, "show queues"),
		    "old.test"));
		ck_assert_ptr_nonnull(strstr(qrig_ctl(&rig, "show queues"),
		    "loop.test/v"));
		if (i == 0)
			ck_assert_int_eq(qrig_stop(&rig), 0);
		else
			qrig_kill(&rig);
		qrig_start(&rig, QRIG_CONF);
		qrig_peers(&rig);
	}
}
END_TEST

START_TEST(test_bad_frame_behind_a_commit_costs_the_channel_only)
{
	struct ipc_commit m;

	qpeer_write(&rig.smtpd, &plain, 0, &m);
	qpeer_commit(&rig.smtpd, &m, &plain);
	/* smtpd may not say this */
	ipc_send_reader_at(rig.smtpd.chan, &(struct ipc_reader_at){.file = 1});
	QWAIT(&rig, rig.smtpd.closed);
	QWAIT(&rig, in_msgs() == 1);
}
END_TEST

START_TEST(test_writers_more_than_there_may_be_are_refused)
{
	static struct qpeer p;
	int sp[2];

	ck_assert_int_eq(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sp), 0);
	ipc_send_peer(rig.master,
	    &(struct ipc_peer){.role = R_SMTPD, .index = 66}, sp[1]);
	p = (struct qpeer){.seg_fd = -1, .large_fd = -1};
	ck_assert_int_eq(in_msgs(), 0);
	/* its end was closed */
	ck_assert_int_eq(read(sp[0], &p, 1), 0);
	close(sp[0]);
}
END_TEST

/* ---- a disk that fails ---- */

START_TEST(test_granted_segment_that_cannot_be_opened_is_closed)
{
	unsigned n = rig.smtpd.grants;

	/* the first is that of the free file which becomes it */
	qrig_fault_once(1, QF_REOPEN, "segments", EMFILE);
	ipc_send_seg_want(rig.smtpd.chan, &(struct ipc_seg_want){});
	QWAIT(&rig, qrig_logged(&rig, "cannot be opened"));
	QWAIT(&rig, qrig_events(&rig, EV_SEG_END, NULL) == 1);
	/* and another one comes */
	QWAIT(&rig, rig.smtpd.grants == n + 1);
}
END_TEST

START_TEST(test_space_without_the_reserve_no_segment_is_granted)
{
	ck_assert_int_eq(qrig_stop(&rig), 0);
	(void)unlinkat(rig.spool, "reserve", 0);
	qrig_fault(QF_OPEN, "reserve", ENOSPC);
	qrig_start(&rig, QRIG_CONF);
	qpeer_join(&rig, &rig.smtpd, R_SMTPD);
	ipc_send_seg_want(rig.smtpd.chan, &(struct ipc_seg_want){});
	QWAIT(&rig, rig.smtpd.refused);
	ck_assert_uint_eq(rig.smtpd.grants, 0);
	qrig_fault(QF_OPEN, "", 0);
	QWAIT(&rig, rig.smtpd.grants == 1);
}
END_TEST

START_TEST(test_space_who_is_gone_wants_nothing)
{
	qpeer_join(&rig, &rig.bounce, R_BOUNCE);
	qrig_fault(QF_OPEN, "", ENOSPC);
	qrig_fault(QF_RENAME, "", ENOSPC);
	ipc_send_seg_want(rig.smtpd.chan, &(struct ipc_seg_want){});
	QWAIT(&rig, rig.smtpd.refused);
	/* DSNs go on */
	ck_assert_uint_eq(rig.bounce.spaces, 0);
	qpeer_leave(&rig.smtpd);
	qrig_fault(QF_OPEN, "", 0);
	qrig_fault(QF_RENAME, "", 0);
	QWAIT(&rig, qrig_logged(&rig, "new mail is accepted again"));
}
END_TEST

/* A DSN makes room in a queue that is too long; other mail waits for it. */
START_TEST(test_space_in_a_long_queue_is_for_bounce_only)
{
	unsigned n = rig.smtpd.grants;

	qrig_ctl(&rig, "pause queue there.test");
	commit_for("a@there.test", "");
	qrig_conf(&rig, QRIG_CONF "spool-max-recipients 1\n");
	QWAIT(&rig, qrig_logged(&rig, "too many recipients in the queue"));
	qpeer_join(&rig, &rig.bounce, R_BOUNCE);
	qrig_fault(QF_OPEN, "", ENOSPC);
	qrig_fault(QF_RENAME, "", ENOSPC);
	ipc_send_seg_want(rig.smtpd.chan, &(struct ipc_seg_want){});
	ipc_send_seg_want(rig.bounce.chan, &(struct ipc_seg_want){});
	QWAIT(&rig, qrig_logged_times(&rig, "no new segment") == 2);
	qrig_fault(QF_OPEN, "", 0);
	qrig_fault(QF_RENAME, "", 0);
	QWAIT(&rig, rig.bounce.grants == 1);
	/* some looks more */
	qrig_pass(&rig, 500);
	ck_assert_uint_eq(rig.smtpd.grants, n);
	ck_assert(rig.smtpd.refused);
	qrig_ctl(&rig, "delete there.test --yes");
	QWAIT(&rig, rig.smtpd.grants == n + 1);
	ck_assert(!rig.smtpd.refused);
}
END_TEST

/* ---- segments of a qmgr before this one ---- */

START_TEST(test_adopted_segments_are_closed_after_a_minute)
{
	struct ipc_commit m;
	struct qpeer w;

	qpeer_write(&rig.smtpd, &plain, 0, &m);
	orphan(&w);
	/* it is not emptied meanwhile */
	qrig_fault(QF_RENAME, "segments", EIO);
	qrig_hurry(50);
	qrig_start(&rig, QRIG_CONF);
	ck_assert_int_eq(in_msgs(), 1);
	QWAIT(&rig, qrig_events(&rig, EV_SEG_END, NULL) == 1);
	qpeer_write(&w, &plain, 0, &m);
	qrig_pass(&rig, 50);
	ck_assert_int_eq(in_msgs(), 1);
	/* until it says itself how far it got */
	qpeer_join(&rig, &rig.smtpd, R_SMTPD);
	seg_done(&rig.smtpd, m.segment, m.offset + m.length);
	QWAIT(&rig, in_msgs() == 2);
	/* that is known now */
	seg_done(&rig.smtpd, m.segment, m.offset + m.length);
	qrig_pass(&rig, 50);
	ck_assert_int_eq(in_msgs(), 2);
	close(w.seg_fd);
}
END_TEST

/* The same without a message in it; it is on its way to the free ones. */
START_TEST(test_adopted_segment_that_was_empty_is_read_on)
{
	struct ipc_commit m;
	struct qpeer w;

	orphan(&w);
	qrig_fault(QF_RENAME, "segments/0", EIO); /* not that of a grant */
	qrig_hurry(50);
	qrig_start(&rig, QRIG_CONF);
	/* a new one is not concerned */
	qpeer_join(&rig, &rig.smtpd, R_SMTPD);
	seg_want(&rig.smtpd);
	QWAIT(&rig, qrig_events(&rig, EV_SEG_END, NULL) == 1);
	/* nothing is there */
	seg_done(&rig.smtpd, w.segment, w.at + 800);
	qrig_ctl(&rig, "show version");
	qpeer_write(&w, &plain, 0, &m);
	seg_done(&rig.smtpd, m.segment, m.offset + m.length);
	QWAIT(&rig, in_msgs() == 1);
	close(w.seg_fd);
}
END_TEST

START_TEST(test_adopted_segment_that_cannot_be_looked_at_may_be_written)
{
	struct ipc_commit m;
	struct qpeer w;

	orphan(&w);
	qpeer_write(&w, &plain, 0, &m);
	close(w.seg_fd);
	qrig_fault(QF_REOPEN, "segments", EMFILE);
	qrig_hurry(20);
	qrig_start(&rig, QRIG_CONF);
	QWAIT(&rig, qrig_logged(&rig, "cannot be read to its end"));
	ck_assert_uint_eq(qrig_events(&rig, EV_SEG_END, NULL), 0);
	qrig_fault(QF_REOPEN, "", 0);
	QWAIT(&rig, qrig_events(&rig, EV_SEG_END, NULL) == 1);
	ck_assert_int_eq(in_msgs(), 1);
}
END_TEST

/* Segments are looked at each second: here ten times as often. */
static void
setup(void)
{
	qrig_init(&rig);
	qrig_hurry(10);
	qrig_start(&rig, QRIG_CONF);
	qrig_peers(&rig);
	qrig_go(&rig, 1);
}

void
qmgr_tests_intake(Suite *s)
{
	TCase *tc = tcase_create("intake");

	tcase_set_timeout(tc, 240);
	tcase_add_checked_fixture(tc, setup, qrig_teardown);
	suite_add_tcase(s, tc);
	tcase_add_test(tc, test_unread_segment_is_read_to_its_told_end_only);
	tcase_add_test(tc, test_unread_segment_keeps_the_bodies_behind_its_end);
	tcase_add_test(tc, test_unread_segments_in_number_are_all_read);
	tcase_add_test(tc, test_commit_behind_what_cannot_be_read_comes_with_it);
	tcase_add_test(tc, test_commit_of_no_place_is_ignored);
	tcase_add_test(tc, test_found_records_that_cannot_be_are_counted);
	tcase_add_test(tc, test_found_record_that_is_too_large_is_counted);
	tcase_add_test(
	    tc, test_found_at_a_start_records_that_cannot_be_are_counted);
	tcase_add_test(tc, test_vmta_that_is_not_configured_is_the_default);
	tcase_add_test(tc, test_queue_to_and_reroute);
	tcase_add_test(tc, test_bad_frame_behind_a_commit_costs_the_channel_only);
	tcase_add_test(tc, test_writers_more_than_there_may_be_are_refused);
	tcase_add_test(tc, test_granted_segment_that_cannot_be_opened_is_closed);
	tcase_add_test(tc, test_space_who_is_gone_wants_nothing);
	tcase_add_test(tc, test_space_in_a_long_queue_is_for_bounce_only);
	tcase_add_test(tc, test_adopted_segments_are_closed_after_a_minute);
	tcase_add_test(tc, test_adopted_segment_that_was_empty_is_read_on);
	tcase_add_test(tc, test_dsn_of_what_waits_for_none_ends_nothing);
	tcase_add_test(
	    tc, test_space_without_the_reserve_no_segment_is_granted);
	tcase_add_test(
	    tc, test_adopted_segment_that_cannot_be_looked_at_may_be_written);
}
