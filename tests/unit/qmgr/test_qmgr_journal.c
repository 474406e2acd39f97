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
#include <time.h>
#include <unistd.h>

#include "common/base/msgid.h"
#include "common/spool/checkpoint.h"
#include "common/spool/sio.h"
#include "qmgr/qmgr.h"
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

/* Written by the child at the start; the first, the second, ... call fails,
 * the first time that all are good ends it. How many failed. */
static unsigned
checkpoint_each_fails(enum qfault call, const char *folder, const char *conf)
{
	unsigned n = 0;

	for (;; n++) {
		before = checkpoint();
		qrig_fault_once((int)n, call, folder, EIO);
		qrig_start(&rig, conf);
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
	ck_assert_uint_gt(checkpoint_each_fails(QF_WRITE,
			     "checkpoint", QRIG_CONF), 3);
	/* it is in the checkpoint now, and the log that had it is gone */
	qrig_start(&rig, QRIG_CONF);
	qrig_ctl(&rig, "show status");
	ck_assert_int_eq(qrig_number(&rig, "hold"), LONG_LIST);
	qrig_ctl(&rig, "show queues queue-4711.* --paused=yes");
	ck_assert_ptr_nonnull(
	    strstr((const char *)buf_data(&rig.rows), "queue-4711.of"));
}
END_TEST

/* ---- each kind of record ---- */

/* What is in the newest checkpoint. */
struct saved {
	unsigned all, of[64]; /* by type */
	unsigned tells;       /* of all ACCEPTs */
	struct ev_queue_set queues[8];
	char names[8][64];
};

static int
on_saved(void *arg, enum ev_type type, const union ev_any *e)
{
	struct saved *v = arg;
	unsigned n = v->of[type]++;

	v->all++;
	if (type == EV_ACCEPT)
		v->tells += e->accept.tell;
	if (type != EV_QUEUE_SET)
		return 0;
	ck_assert_uint_lt(n, 8);
	v->queues[n] = e->queue_set;
	ck_assert(sv_to_cstr(e->queue_set.queue, v->names[n], 64));
	return 0;
}

static void
saved_read(struct saved *v)
{
	struct sio *s = qrig_sio(&rig);

	memset(v, 0, sizeof(*v));
	ck_assert_int_eq(checkpoint_read(s, checkpoint(), on_saved, v), 0);
	sio_free(&s);
}

static const struct ev_queue_set *
saved_queue(const struct saved *v, const char *name)
{
	for (unsigned i = 0; i < v->of[EV_QUEUE_SET]; i++)
		if (strcmp(v->names[i], name) == 0)
			return &v->queues[i];
	ck_abort_msg("%s is not in the checkpoint", name);
}

/* It is about noon where the warmup's days begin. */
static const char *
every_conf(void)
{
	static char text[1024];
	time_t now = time(NULL);
	struct tm tm;

	ck_assert_ptr_nonnull(gmtime_r(&now, &tm));
	snprintf(text, sizeof(text),
	    "host-name q.test\ntrash-ttl 1h\n<domain *>\nmax-smtp-out 1\n"
	    "max-msg-rate 4/h\n</domain>\n"
	    "<domain adapt.test>\nadaptive-delivery yes\nmax-smtp-out 20\n"
	    "</domain>\n"
	    "<virtual-mta v2>\n</virtual-mta>\n"
	    "<warmup w>\nvirtual-mta v2\ntime-zone %+d\nday-list 2,5,9\n"
	    "</warmup>\n",
	    12 - tm.tm_hour);
	return text;
}

#define ID(i) msgid_make(77, 64 + (i) * 80)

static void
queue_log(const char *name, struct ev_queue_set e)
{
	e.queue = sv_from(name);
	qlog_add(EV_QUEUE_SET, (union ev_any){.queue_set = e});
}

static void
rcpt_log(uint64_t id, enum ev_rcpt_state state, uint32_t attempts,
    uint64_t next_us)
{
	qlog_add(EV_RCPT, (union ev_any){.rcpt = {.id = id,
					     .state = (uint8_t)state,
					     .attempts = attempts,
					     .next_us = next_us}});
}

static void
two_log(uint64_t i)
{
	static const struct sv domains[] = {{"a.test", 6}, {"a.test", 6}};

	qlog_add(EV_ACCEPT,
	    (union ev_any){.accept = {.id = ID(i),
			       .segment = 77,
			       .offset = 64 + i * 80,
			       .length = 80,
			       .arrival_us = (uint64_t)clock_wall().us,
			       .vmta = SV("{default}"),
			       .domains = {.array = domains, .n = 2},
			       .tell = (uint8_t)(1 + i)}});
}

/* Messages: 0 has a recipient in another VMTA, and two priorities; 1 one that is done; 2 is on
 * hold; 3, 4 and 5 are in the trash and were fresh, on hold, to be tried again.
 * All begin in one queue, so that their order is the same in each life. */
static void
messages_log(uint64_t later)
{
	static const uint32_t zero = 0, one = 1;
	struct u32s first = {.array = &zero, .n = 1};

	two_log(0);
	two_log(1);
	qlog_add(EV_REBIND, (union ev_any){.rebind = {.id = ID(0),
					      .vmta = SV("v2"),
					      .rcpts = {.array = &one, .n = 1},
					      .who = SV("")}});
	for (uint32_t i = 0; i < 2; i++)
		qlog_add(EV_PRIORITY,
		    (union ev_any){.priority = {.id = ID(0),
				       .priority = (uint8_t)(i + 79),
				       .rcpts = {.array = &i, .n = 1},
				       .who = SV("")}});
	qlog_add(EV_DELETE, (union ev_any){.delete = {.id = ID(1),
					      .rcpts = first,
					      .who = SV("")}});
	for (uint64_t i = 2; i < 6; i++)
		qlog_accept(77, 64 + i * 80, 80, 0);
	for (uint64_t i = 2; i < 5; i += 2)
		qlog_add(EV_HOLD, (union ev_any){.hold = {.id = ID(i),
						    .held = 1,
						    .order = 1,
						    .rcpts = first}});
	rcpt_log(ID(5), EVR_WAITING, 2, later);
	for (uint64_t i = 3; i < 6; i++)
		qlog_add(EV_TRASH, (union ev_any){.trash = {.id = ID(i),
						     .trashed = 1,
						     .number = 1,
						     .rcpts = first}});
}

static void
delays_log(void)
{
	uint64_t then = (uint64_t)(clock_wall().us - 60 * US_PER_SEC);

	qlog_add(EV_DELAY_PASS,
	    (union ev_any){.delay_pass = {.time_us = then}});
}

static void
every_log(void)
{
	uint64_t now = (uint64_t)clock_wall().us;
	uint64_t later = now + 3000 * (uint64_t)US_PER_SEC;
	uint32_t today = (uint32_t)(time(NULL) / 86400);

	qlog_add(EV_HOLD_ORDER,
	    (union ev_any){.hold_order = {.number = 1,
			       .time_us = now,
			       .reason = SV("why"),
			       .who = SV("me")}});
	qlog_add(EV_STANDING,
	    (union ev_any){.standing = {.number = 1,
			       .what = STANDING_HOLD,
			       .domain = SV("held.test"),
			       .vmta = SV(""),
			       .job = SV("")}});
	qlog_add(EV_DELETION,
	    (union ev_any){.deletion = {.number = 1,
			       .time_us = now,
			       .until_us = later,
			       .who = SV("me"),
			       .words = SV("delete it")}});
	messages_log(later);
	delays_log();
	queue_log("paused.test/v2", (struct ev_queue_set){.paused = 1});
	queue_log("back.test/v2",
	    (struct ev_queue_set){.backoff = 1, .backoff_until_us = later});
	queue_log("out.test/v2",
	    (struct ev_queue_set){.max_out = 3,
		.max_out_until_us = later,
		.max_out_step_us = 600 * (uint64_t)US_PER_SEC});
	queue_log("rate.test/v2",
	    (struct ev_queue_set){.rate_n = 5,
		.rate_period_ms = 60000,
		.rate_until_us = later,
		.rate_step_us = 600 * (uint64_t)US_PER_SEC});
	queue_log("adapt.test/v2", (struct ev_queue_set){.adapt_conns = 7});
	qlog_add(EV_SOURCE, (union ev_any){.source = {.queue = SV("*/v2"),
					      .ip = SV("127.0.0.1"),
					      .disabled = 1,
					      .time_us = now,
					      .reason = SV("listed"),
					      .who = SV("me")}});
	qlog_add(EV_RATE,
	    (union ev_any){.rate = {.queue = SV("a.test/{default}"),
			       .rate = RATE_MSGS,
			       .until_us = later}});
	qlog_add(EV_WARMUP, (union ev_any){.warmup = {.plan = SV("w"),
					      .vmta = SV("v2"),
					      .day = today,
					      .start = today,
					      .planned = 2,
					      .done = 1}});
	qlog_add(EV_COLD, (union ev_any){.cold = {.vmta = SV("v2"),
					    .domain = SV("c.test"),
					    .start = today,
					    .day = today,
					    .count = 4}});
}

static void
every_check(void)
{
	const char *rows = qrig_ctl(&rig, "list");

	ck_assert_str_eq(rig.ctl_text, "4 recipients");
	ck_assert_ptr_nonnull(strstr(rows, "a.test/{default}"));
	ck_assert_ptr_nonnull(strstr(rows, "a.test/v2"));
	ck_assert_ptr_nonnull(strstr(rows, "\"reason\":\"why\""));
	ck_assert_ptr_nonnull(strstr(rows, "\"priority\":79,"));
	ck_assert_ptr_nonnull(strstr(rows, "\"priority\":80,"));
	qrig_ctl(&rig, "show trash");
	ck_assert_int_eq(qrig_number(&rig, "rcp"), 3);
	qrig_ctl(&rig, "show orders");
	ck_assert_str_eq(rig.ctl_text, "1 standing orders");
	qrig_ctl(&rig, "show disabled sources */v2");
	ck_assert_str_eq(rig.ctl_text, "1 of 1 disabled sources");
	rows = qrig_ctl(&rig, "show warmup");
	ck_assert_ptr_nonnull(strstr(rows, "\"plan\":2,\"actual\":1"));
}

static void
saved_check(const struct saved *v)
{
	static const enum ev_type once[] = {
	    EV_STANDING, EV_HOLD_ORDER, EV_DELETION, EV_SOURCE, EV_RATE,
	    EV_DELAY_PASS};
	const struct ev_queue_set *e;

	for (size_t i = 0; i < sizeof(once) / sizeof(once[0]); i++)
		ck_assert_msg(v->of[once[i]] == 1, "%s", ev_name(once[i]));
	ck_assert_uint_eq(v->of[EV_ACCEPT], 6);
	ck_assert_uint_eq(v->tells, 1 + 2);
	ck_assert_uint_eq(v->of[EV_REBIND], 1);
	ck_assert_uint_eq(v->of[EV_PRIORITY], 2);
	ck_assert_uint_eq(v->of[EV_TRASH], 3);
	ck_assert_uint_eq(v->of[EV_HOLD], 2);
	ck_assert_uint_eq(v->of[EV_COLD], 2); /* the VMTA's and the domain's */
	ck_assert_uint_eq(v->of[EV_QUEUE_SET], 5);
	ck_assert_uint_eq(saved_queue(v, "paused.test/v2")->paused, 1);
	ck_assert_uint_eq(saved_queue(v, "back.test/v2")->backoff, 1);
	e = saved_queue(v, "out.test/v2");
	ck_assert_uint_eq(e->max_out, 3);
	ck_assert_uint_eq(e->max_out_step_us, 600 * (uint64_t)US_PER_SEC);
	e = saved_queue(v, "rate.test/v2");
	ck_assert_uint_eq(e->rate_n, 5);
	ck_assert_uint_eq(e->rate_step_us, 600 * (uint64_t)US_PER_SEC);
	ck_assert_uint_eq(saved_queue(v, "adapt.test/v2")->adapt_conns, 7);
}

/* The log has it all; each record of the checkpoint fails once, and in the end
 * the checkpoint has it all. */
START_TEST(test_checkpoint_each_record_failing_loses_nothing)
{
	struct saved v;
	unsigned n;

	ck_assert_int_eq(qrig_stop(&rig), 0);
	qlog_begin();
	every_log();
	qlog_end();
	/* all lives have the same segments */
	qrig_fault(QF_RENAME, "segments", EIO);
	n = checkpoint_each_fails(QF_SAVE, "", every_conf());
	qrig_fault(QF_RENAME, "", 0);
	saved_read(&v);
	ck_assert_uint_eq(v.all, n);
	saved_check(&v);
	/* from that alone */
	qrig_start(&rig, every_conf());
	every_check();
	QWAIT(&rig, checkpoint() > before);
	saved_read(&v);
	saved_check(&v);
}
END_TEST

/* A stop whose checkpoint fails leaves the log, which has it all. */
START_TEST(test_checkpoint_of_a_stop_failing_loses_nothing)
{
	ck_assert_int_eq(qrig_stop(&rig), 0);
	qlog_begin();
	every_log();
	qlog_end();
	qrig_fault(QF_SAVE, "", EIO);
	qrig_start(&rig, every_conf());
	QWAIT(&rig, checkpoints_failed() == 1);
	before = checkpoint();
	qrig_fault(QF_SAVE, "STOP", EIO);
	ck_assert_int_eq(qrig_stop(&rig), 0);
	ck_assert_uint_eq(checkpoint(), before);
	qrig_fault(QF_SAVE, "", EIO);
	qrig_start(&rig, every_conf());
	every_check();
	QWAIT(&rig, checkpoints_failed() == 2);
	qrig_fault(QF_SAVE, "", 0);
	ck_assert_int_eq(qrig_stop(&rig), 0);
	ck_assert_uint_gt(checkpoint(), before);
}
END_TEST

/* It had been tried, and was due again, when it was deleted. */
START_TEST(test_checkpoint_has_what_was_due_in_the_trash)
{
	const char *rows;
	struct saved v;

	ck_assert_int_eq(qrig_stop(&rig), 0);
	qlog_begin();
	qlog_accept(77, 64, 80, 0);
	rcpt_log(ID(0), EVR_WAITING, 2, 1);
	qlog_end();
	qrig_hurry(HURRY);
	before = checkpoint();
	qrig_start(&rig, every_conf());
	QWAIT(&rig, checkpoint() > before && child_find() == 0);
	qrig_go(&rig, 0);
	QWAIT(&rig, (qrig_ctl(&rig, "show status"),
			qrig_number(&rig, "delivery") == 1));
	qrig_ctl(&rig, "delete a.test --yes");
	ck_assert_str_eq(rig.ctl_text, "1 recipients deleted");
	before = checkpoint();
	log_grow(3);
	QWAIT(&rig, checkpoint() > before && child_find() == 0);
	saved_read(&v);
	ck_assert_uint_eq(v.of[EV_RCPT], 1);
	ck_assert_uint_eq(v.of[EV_TRASH], 1);
	qrig_kill(&rig);
	qrig_start(&rig, every_conf());
	qrig_ctl(&rig, "undo");
	ck_assert_str_eq(rig.ctl_text, "1 recipients brought back");
	rows = qrig_ctl(&rig, "list a.test");
	ck_assert_ptr_nonnull(strstr(rows, "\"attempts\":2"));
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
	tcase_add_test(tc, test_checkpoint_each_record_failing_loses_nothing);
	tcase_add_test(tc, test_checkpoint_of_a_stop_failing_loses_nothing);
	tcase_add_test(tc, test_checkpoint_has_what_was_due_in_the_trash);
	tcase_add_test(tc, test_log_files_go_when_nobody_needs_them);
	tcase_add_test(tc, test_log_events_of_a_slow_sync_wait_for_the_next);
	tcase_add_test(tc, test_log_full_disk_without_the_reserve);
}
