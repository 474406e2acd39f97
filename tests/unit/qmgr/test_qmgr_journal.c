/* SPDX-License-Identifier: ISC */
/*
 * The queue manager as a process: its log and its checkpoints, when they come
 * and when they do not.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/msgid.h"
#include "common/spool/sio.h"
#include "tests/unit/qmgr/qrig.h"

#define HURRY 25 /* looks come each 200 ms */

/* The highest number in that folder; 0: nothing. */
static uint64_t
newest(const char *folder, const char *suffix)
{
	struct sio *s = qrig_sio(&rig);
	uint64_t *list, last = 0;
	size_t n;

	ck_assert_int_eq(sio_numbers(s, folder, suffix, &list, &n), 0);
	if (n > 0)
		last = list[n - 1];
	free(list);
	sio_free(&s);
	return last;
}

static uint64_t
checkpoint(void)
{
	return newest("checkpoint", "");
}

static uint64_t before; /* the one of the life before */

static void
again(void)
{
	qrig_kill(&rig);
	before = checkpoint();
	qrig_start(&rig, QRIG_CONF);
}

/* An event, durable. */
static void
event_log(void)
{
	static unsigned n;
	char cmd[64];
	unsigned ats = rig.acct.log_ats;

	snprintf(cmd, sizeof(cmd), "pause queue d%u.test", n++);
	qrig_ctl(&rig, cmd);
	QWAIT(&rig, rig.acct.log_ats > ats);
}

/* As if the log had grown by a file: its sync fails, and it goes on in the
 * next one. */
static void
log_grow(unsigned files)
{
	uint64_t first = newest("events", ".log");

	qpeer_join(&rig, &rig.acct, R_ACCT);
	QWAIT(&rig, rig.acct.log_ats > 0);
	for (unsigned i = 0; i < files; i++) {
		qrig_fault_once(0, QF_SYNC, "events", EIO);
		event_log();
		QWAIT(&rig, newest("events", ".log") > first + i);
	}
	event_log();
}

/* The process that writes the checkpoint. */
static pid_t
child_find(void)
{
	char path[64];
	long pid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%ld/task/%ld/children",
	    (long)rig.pid, (long)rig.pid);
	f = fopen(path, "re");
	ck_assert_ptr_nonnull(f);
	if (fscanf(f, "%ld", &pid) != 1)
		pid = 0;
	fclose(f);
	return (pid_t)pid;
}

START_TEST(test_checkpoint_when_the_log_has_grown)
{
	uint64_t first;

	qrig_hurry(HURRY);
	again();
	QWAIT(&rig, checkpoint() > before);
	first = checkpoint();
	log_grow(1);
	qrig_pass(&rig, 500);
	ck_assert_uint_eq(checkpoint(), first);
	log_grow(2);
	QWAIT(&rig, checkpoint() > first);
}
END_TEST

START_TEST(test_checkpoint_waits_for_as_much_as_the_last_one_has)
{
	uint64_t first;

	qrig_hurry(HURRY);
	qrig_size("checkpoint", UINT64_C(64) << 30);
	again();
	QWAIT(&rig, checkpoint() > before);
	first = checkpoint();
	log_grow(3);
	qrig_pass(&rig, 500);
	ck_assert_uint_eq(checkpoint(), first);
	/* so much is not left to be replayed by a stop */
	ck_assert_int_eq(qrig_stop(&rig), 0);
	ck_assert_uint_gt(checkpoint(), first);
}
END_TEST

START_TEST(test_checkpoint_of_unknown_size_is_a_small_one)
{
	qrig_fault(QF_SIZE, "checkpoint", EIO);
	again();
	QWAIT(&rig, checkpoint() > before);
	ck_assert_int_eq(qrig_stop(&rig), 0);
	ck_assert(!qrig_logged(&rig, "failed"));
}
END_TEST

START_TEST(test_checkpoint_one_at_a_time)
{
	uint64_t number;

	qrig_hurry(HURRY);
	qrig_hold(QF_WRITE, "checkpoint");
	again();
	QWAIT(&rig, qrig_held(QF_WRITE));
	number = newest("checkpoint", ".tmp");
	log_grow(3);
	/* nor does a child of nobody end it */
	kill(rig.pid, SIGCHLD);
	qrig_pass(&rig, 500);
	ck_assert_uint_eq(newest("checkpoint", ".tmp"), number);
	qrig_release(QF_WRITE);
	/* it is done, and now it is the next one's turn */
	QWAIT(&rig, checkpoint() > number);
	kill(rig.pid, SIGCHLD);
	event_log();
}
END_TEST

/* A disk that stands still holds up the checkpoint, and nobody else. */
START_TEST(test_checkpoint_waits_for_the_sync_under_way)
{
	uint64_t first;

	qrig_hurry(5); /* looks come each second */
	again();
	QWAIT(&rig, checkpoint() > before);
	for (;;) {
		first = checkpoint();
		log_grow(3);
		qrig_hold(QF_SYNC, "events");
		qrig_ctl(&rig, "pause queue last.test");
		QWAIT(&rig, qrig_held(QF_SYNC));
		if (checkpoint() == first && child_find() == 0)
			break;
		qrig_release(QF_SYNC); /* a look came too early */
		QWAIT(&rig, checkpoint() > first);
	}
	for (int i = 0; i < 25; i++) {
		qrig_ctl(&rig, "show version");
		ck_assert_uint_eq(rig.ctl_status, 0);
		qrig_pass(&rig, 100);
	}
	ck_assert_uint_eq(checkpoint(), first);
	qrig_release(QF_SYNC);
	QWAIT(&rig, checkpoint() > first);
}
END_TEST

START_TEST(test_checkpoint_child_killed_is_told)
{
	qrig_hold(QF_WRITE, "checkpoint");
	again();
	QWAIT(&rig, qrig_held(QF_WRITE));
	ck_assert_int_gt(child_find(), 0);
	kill(child_find(), SIGKILL);
	QWAIT(&rig, qrig_logged(&rig, "failed; the one before it stays"));
	qrig_release(QF_WRITE);
	/* the one that was missed is made at the stop */
	ck_assert_int_eq(qrig_stop(&rig), 0);
	qrig_start(&rig, QRIG_CONF);
	ck_assert(qrig_logged(&rig, "recovered: 0 messages"));
}
END_TEST

START_TEST(test_checkpoint_without_a_process_or_a_file_is_told)
{
	QWAIT(&rig, checkpoint() > 0);
	qrig_fault(QF_FORK, "", EAGAIN);
	again();
	ck_assert(qrig_logged(&rig, "no checkpoint: fork"));
	ck_assert_uint_eq(checkpoint(), before);
	/* the stop needs none for it */
	ck_assert_int_eq(qrig_stop(&rig), 0);
	ck_assert_uint_gt(checkpoint(), before);
	before = checkpoint();
	qrig_fault(QF_FORK, "", 0);
	/* the first is that of the log itself */
	qrig_fault_after(1, QF_OPEN, "events", EIO);
	qrig_start(&rig, QRIG_CONF);
	ck_assert(qrig_logged(&rig, "the event log has no new file"));
	ck_assert_uint_eq(checkpoint(), before);
	/* nor is there one at the stop */
	ck_assert_int_eq(qrig_stop(&rig), 0);
	ck_assert_uint_eq(checkpoint(), before);
	qrig_fault(QF_OPEN, "checkpoint", EIO);
	qrig_start(&rig, QRIG_CONF);
	QWAIT(&rig, qrig_logged(&rig, "failed; the one before it stays"));
	ck_assert_int_eq(qrig_stop(&rig), 0);
	ck_assert_uint_eq(checkpoint(), before);
	qrig_fault(QF_OPEN, "", 0);
	qrig_start(&rig, QRIG_CONF);
	QWAIT(&rig, checkpoint() > before);
}
END_TEST

/* Each kind of recipient is in it, as it was. */
START_TEST(test_checkpoint_has_every_state)
{
	static const struct env_rcpt to[] = {{.addr = {"a@there.test", 12}},
	    {.addr = {"b@there.test", 12}}, {.addr = {"c@held.test", 11}}};
	struct envelope e = {
	    .sender = SV("s@here.test"), .rcpts = to, .nrcpts = 3};
	struct ipc_commit m;

	qrig_hurry(HURRY);
	again();
	qrig_peers(&rig);
	qrig_go(&rig, 1);
	qrig_ctl(&rig, "pause queue held.test");
	qpeer_write(&rig.smtpd, &e, 0, &m);
	qpeer_commit(&rig.smtpd, &m, &e);
	/* two are in flight, for the first time */
	qrig_deliver_wait(&rig, 1);
	ck_assert_uint_eq(rig.smtp.delivers[0].n, 2);
	before = checkpoint();
	log_grow(3);
	QWAIT(&rig, checkpoint() > before && child_find() == 0);
	/* one is delivered, one in flight again */
	rig.smtp.delivers[0].n = 1;
	qrig_result(&rig, 0, OUT_DELIVERED, 250, "2.0.0", "250 ok");
	rig.smtp.delivers[0].idx[0] = 1;
	qrig_result(&rig, 0, OUT_TEMPORARY, 450, "4.2.0", "450 later");
	qrig_deliver_wait(&rig, 2);
	before = checkpoint();
	log_grow(3);
	QWAIT(&rig, checkpoint() > before && child_find() == 0);
	qrig_kill(&rig);
	qrig_start(&rig, QRIG_CONF);
	ck_assert(qrig_logged(&rig, "recovered: 1 messages, 2 recipients"));
	qrig_ctl(&rig, "list there.test");
	ck_assert_str_eq(rig.ctl_text, "1 recipients");
	ck_assert_ptr_nonnull(
	    strstr((const char *)buf_data(&rig.rows), "\"attempts\":1"));
	/* it is ready, for the second time, and nobody takes it */
	qrig_go(&rig, 0);
	QWAIT(&rig, (qrig_ctl(&rig, "show status"),
			qrig_number(&rig, "delivery") == 2));
	before = checkpoint();
	log_grow(3);
	QWAIT(&rig, checkpoint() > before && child_find() == 0);
	qrig_kill(&rig);
	qrig_start(&rig, QRIG_CONF);
	qrig_ctl(&rig, "list there.test");
	ck_assert_ptr_nonnull(
	    strstr((const char *)buf_data(&rig.rows), "\"attempts\":1"));
}
END_TEST

/* Files that cannot be removed now are removed later. */
START_TEST(test_log_files_go_when_nobody_needs_them)
{
	qrig_hurry(HURRY);
	again();
	QWAIT(&rig, checkpoint() > 0 && child_find() == 0);
	qrig_fault(QF_UNLINK, "events", EIO);
	qpeer_join(&rig, &rig.bounce, R_BOUNCE);
	ipc_send_reader_at(
	    rig.bounce.chan, &(struct ipc_reader_at){.file = 4711});
	qrig_ctl(&rig, "show version");
	qrig_pass(&rig, 50);
	ck_assert_int_eq(
	    faccessat(rig.spool, "events/0000000001.log", F_OK, 0), 0);
	qrig_fault(QF_UNLINK, "", 0);
	QWAIT(&rig,
	    faccessat(rig.spool, "events/0000000001.log", F_OK, 0) != 0);
}
END_TEST

START_TEST(test_log_events_of_a_slow_sync_wait_for_the_next)
{
	qpeer_join(&rig, &rig.acct, R_ACCT);
	QWAIT(&rig, rig.acct.log_ats > 0);
	qrig_hold(QF_SYNC, "events");
	qrig_ctl(&rig, "pause queue a.test");
	QWAIT(&rig, qrig_held(QF_SYNC));
	qrig_ctl(&rig, "pause queue b.test");
	qrig_pass(&rig, 50);
	qrig_release(QF_SYNC);
	/* both, without anything more being logged */
	QWAIT(&rig,
	    (qrig_ctl(&rig, "show status"),
		rig.acct.log_at.file == newest("events", ".log")) &&
		qrig_events(&rig, EV_QUEUE_SET, NULL) == 2);
}
END_TEST

START_TEST(test_log_full_disk_without_the_reserve)
{
	unsigned n = qrig_deliver(&rig, "s@here.test", "r@there.test", NULL);

	/* nothing can be had, and the reserve is gone already */
	qrig_fault(QF_OPEN, "", ENOSPC);
	(void)unlinkat(rig.spool, "reserve", 0);
	qrig_fault(QF_WRITE, "events", ENOSPC);
	qrig_result(&rig, n, OUT_DELIVERED, 250, "2.0.0", "250 ok");
	QWAIT(&rig, qrig_logged(&rig, "the event log cannot be written"));
	ck_assert(!qrig_logged(&rig, "the reserve is used"));
	qrig_fault(QF_OPEN, "", 0);
	qrig_fault(QF_WRITE, "", 0);
	QWAIT(&rig, rig.smtp.acked == 1);
}
END_TEST

/* ---- checkpoints that are written in more than one piece ---- */

#define LONG_LIST 8000u
#define QUEUES    5000u

static unsigned
checkpoints_failed(void)
{
	return qrig_logged_times(&rig, "failed; the one before it stays");
}

/* Written by the child at the start; the first, the second, ... write fails,
 * the first time that all are good ends it. How many failed. */
static unsigned
checkpoint_each_write_fails(void)
{
	unsigned n = 0;

	for (;; n++) {
		before = checkpoint();
		qrig_fault_once((int)n, QF_WRITE, "checkpoint", EIO);
		qrig_start(&rig, QRIG_CONF);
		QWAIT(&rig, checkpoints_failed() == n + 1 ||
				checkpoint() > before);
		qrig_kill(&rig);
		if (checkpoints_failed() == n)
			return n;
	}
}

START_TEST(test_checkpoint_long_each_write_failing_loses_nothing)
{
	static struct sv domains[LONG_LIST];
	static uint32_t all[LONG_LIST];

	ck_assert_int_eq(qrig_stop(&rig), 0);
	qlog_begin();
	for (uint32_t i = 0; i < LONG_LIST; i++) {
		domains[i] = SV("a-domain-of-some-length.in.a.test");
		all[i] = i;
	}
	qlog_add(EV_ACCEPT,
	    (union ev_any){.accept = {.id = msgid_make(77, 64),
			       .segment = 77,
			       .offset = 64,
			       .length = 80,
			       .arrival_us = (uint64_t)clock_wall().us,
			       .vmta = SV("{default}"),
			       .domains = {.array = domains, .n = LONG_LIST}}});
	qlog_add(EV_HOLD,
	    (union ev_any){.hold = {.id = msgid_make(77, 64),
			       .held = 1,
			       .rcpts = {.array = all, .n = LONG_LIST}}});
	for (unsigned i = 0; i < QUEUES; i++) {
		char name[64];

		snprintf(name, sizeof(name),
		    "queue-%u.of.some.length.test/{default}", i);
		qlog_add(EV_QUEUE_SET,
		    (union ev_any){
			.queue_set = {.queue = sv_from(name), .paused = 1}});
	}
	qlog_end();
	ck_assert_uint_gt(checkpoint_each_write_fails(), 3);
	/* it is in the checkpoint now, and the log that had it is gone */
	qrig_start(&rig, QRIG_CONF);
	qrig_ctl(&rig, "show status");
	ck_assert_int_eq(qrig_number(&rig, "hold"), LONG_LIST);
	qrig_ctl(&rig, "show queues queue-4711.* --paused=yes");
	ck_assert_ptr_nonnull(
	    strstr((const char *)buf_data(&rig.rows), "queue-4711.of"));
}
END_TEST

void
qmgr_tests_journal(Suite *s)
{
	TCase *tc = qrig_tcase(s, "journal");

	tcase_add_test(tc, test_checkpoint_when_the_log_has_grown);
	tcase_add_test(
	    tc, test_checkpoint_waits_for_as_much_as_the_last_one_has);
	tcase_add_test(tc, test_checkpoint_of_unknown_size_is_a_small_one);
	tcase_add_test(tc, test_checkpoint_one_at_a_time);
	tcase_add_test(tc, test_checkpoint_waits_for_the_sync_under_way);
	tcase_add_test(tc, test_checkpoint_child_killed_is_told);
	tcase_add_test(tc, test_checkpoint_without_a_process_or_a_file_is_told);
	tcase_add_test(tc, test_checkpoint_has_every_state);
	tcase_add_test(
	    tc, test_checkpoint_long_each_write_failing_loses_nothing);
	tcase_add_test(tc, test_log_files_go_when_nobody_needs_them);
	tcase_add_test(tc, test_log_events_of_a_slow_sync_wait_for_the_next);
	tcase_add_test(tc, test_log_full_disk_without_the_reserve);
}
