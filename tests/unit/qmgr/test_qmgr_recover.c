/* SPDX-License-Identifier: ISC */
/*
 * The queue manager as a process: what it makes of a log that the test wrote,
 * and of messages that processes crash on.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/msgid.h"
#include "common/spool/checkpoint.h"
#include "common/spool/poison.h"
#include "tests/unit/qmgr/qrig.h"

static struct u32s
just(const uint32_t *idx)
{
	return (struct u32s){.array = idx, .n = 1};
}

static long long
count_of(const char *view)
{
	qrig_ctl(&rig, "show status");
	return qrig_number(&rig, view);
}

static void
paused_submit(uint64_t *ids, unsigned n)
{
	qrig_ctl(&rig, "pause queue a.test");
	for (unsigned i = 0; i < n; i++)
		ids[i] = qrig_submit(&rig, "s@here.test", "r@a.test");
	QWAIT(&rig, count_of("delivery") == n);
	ck_assert_int_eq(qrig_stop(&rig), 0);
}

START_TEST(test_recover_each_event_has_its_effect)
{
	static const uint32_t zero = 0, far = 99;
	uint64_t ids[8], later;

	paused_submit(ids, 8);
	later = (uint64_t)clock_wall().us + 3600 * US_PER_SEC;
	qlog_begin();
	qlog_add(EV_ATTEMPT, (union ev_any){.attempt = {.id = ids[0],
					       .action = ACT_DEFERRED,
					       .attempts = 3,
					       .next_us = later}});
	qlog_add(EV_ATTEMPT, (union ev_any){.attempt = {.id = ids[1],
					       .action = ACT_FAILED,
					       .wants_dsn = 1,
					       .attempts = 1}});
	qlog_add(EV_ATTEMPT, (union ev_any){.attempt = {.id = ids[2],
					       .action = ACT_FAILED,
					       .wants_dsn = 1,
					       .attempts = 1}});
	qlog_add(EV_BOUNCED,
	    (union ev_any){.bounced = {.id = ids[2], .rcpts = just(&zero)}});
	qlog_add(EV_DELETE, (union ev_any){.delete = {.id = ids[3],
					      .rcpts = just(&zero),
					      .who = SV("uid 0")}});
	qlog_add(EV_HOLD,
	    (union ev_any){
		.hold = {.id = ids[4], .held = 1, .rcpts = just(&zero)}});
	qlog_add(EV_RCPT,
	    (union ev_any){
		.rcpt = {.id = ids[5], .state = EVR_HELD, .next_us = later}});
	qlog_add(EV_ATTEMPT,
	    (union ev_any){.attempt = {.id = ids[6], .action = ACT_DELIVERED}});
	qlog_add(EV_HOLD,
	    (union ev_any){
		.hold = {.id = ids[7], .held = 1, .rcpts = just(&zero)}});
	qlog_add(EV_HOLD,
	    (union ev_any){.hold = {.id = ids[7], .rcpts = just(&zero)}});
	qlog_add(EV_QUEUE_SET,
	    (union ev_any){
		.queue_set = {.queue = SV("b.test/{default}"), .paused = 1}});
	/* what cannot be has none */
	qlog_add(EV_QUEUE_SET,
	    (union ev_any){.queue_set = {.queue = SV("noslash"), .paused = 1}});
	qlog_add(EV_RCPT, (union ev_any){.rcpt = {.id = ids[7], .state = 77}});
	qlog_add(EV_RCPT, (union ev_any){.rcpt = {.id = 4711}});
	qlog_add(EV_ATTEMPT, (union ev_any){.attempt = {.id = ids[7],
					       .rcpt_idx = 99,
					       .action = ACT_DELIVERED}});
	qlog_add(EV_DELETE,
	    (union ev_any){
		.delete = {.id = ids[7], .rcpts = just(&far), .who = SV("")}});
	qlog_add(EV_DELETE,
	    (union ev_any){
		.delete = {.id = 4711, .rcpts = just(&zero), .who = SV("")}});
	qlog_add(EV_MOVE,
	    (union ev_any){
		.move = {
		    .id = 4711, .segment = 1, .offset = 64, .length = 80}});
	qlog_add(EV_ATTEMPT,
	    (union ev_any){.attempt = {.id = 4711, .action = ACT_DEFERRED}});
	qlog_add(EV_ATTEMPT, (union ev_any){.attempt = {.id = ids[7],
					       .rcpt_idx = 99,
					       .action = ACT_DEFERRED}});
	qlog_add(EV_HOLD, (union ev_any){.hold = {.id = 4711,
					    .held = 1,
					    .order = 1,
					    .rcpts = just(&zero)}});
	qlog_add(EV_REBIND, (union ev_any){.rebind = {.id = 4711,
					      .vmta = SV("{default}"),
					      .rcpts = just(&zero),
					      .who = SV("")}});
	qlog_add(
	    EV_ACCEPT, (union ev_any){.accept = {.id = 4711,
					  .segment = 1,
					  .vmta = SV("")}}); /* no recipients */
	qlog_end();
	qrig_start(&rig, QRIG_CONF);
	ck_assert(qrig_logged(&rig, "recovered: 5 messages, 5 recipients"));
	ck_assert_int_eq(count_of("bounce"), 1);
	ck_assert_int_eq(count_of("hold"), 2);
	ck_assert_int_eq(count_of("delivery") + count_of("retry"), 2);
	qrig_ctl(&rig, "show queues --paused=yes");
	ck_assert_ptr_nonnull(
	    strstr((const char *)buf_data(&rig.rows), "b.test/{default}"));
	/* and all of that is in the next checkpoint */
	ck_assert_int_eq(qrig_stop(&rig), 0);
	qrig_start(&rig, QRIG_CONF);
	ck_assert_int_eq(count_of("bounce"), 1);
	ck_assert_int_eq(count_of("hold"), 2);
	qrig_ctl(&rig, "list a.test");
	ck_assert_str_eq(rig.ctl_text, "5 recipients");
	ck_assert_ptr_nonnull(
	    strstr((const char *)buf_data(&rig.rows), "\"attempts\":3"));
}
END_TEST

START_TEST(test_recover_message_without_its_segment_is_said)
{
	static const struct sv domains[] = {{"a.test", 6}};
	uint64_t id = msgid_make(77, 64);

	ck_assert_int_eq(qrig_stop(&rig), 0);
	qlog_begin();
	qlog_add(EV_ACCEPT,
	    (union ev_any){.accept = {.id = id,
			       .segment = 77,
			       .offset = 64,
			       .length = 80,
			       .large_id = 4711,
			       .arrival_us = (uint64_t)clock_wall().us,
			       .vmta = SV("{default}"),
			       .domains = {.array = domains, .n = 1}}});
	qlog_end();
	qrig_start(&rig, QRIG_CONF);
	ck_assert(qrig_logged(&rig, "its segment 77 is not there"));
	ck_assert_int_eq(count_of("corrupt"), 1);
	/* it is tried, cannot be read, and that is an error of the disk */
	qrig_peers(&rig);
	qrig_go(&rig, 1);
	qrig_deliver_wait(&rig, 1);
	ck_assert_uint_eq(rig.smtp.seg_opens, 0);
	qrig_result(&rig, 0, OUT_UNREADABLE, 0, "4.3.0", "no such segment");
	QWAIT(&rig, rig.smtp.acked == 1);
	ck_assert_int_eq(count_of("failed"), 0);
	/* gone before its time: the worker is not asked */
	qrig_ctl(&rig, "show message 0000000000101");
	ck_assert_uint_eq(rig.ctl_status, 1);
}
END_TEST

/* The writer lives on while qmgr ends; its segment stays open in the log. */
static void
writer_survives(struct qpeer *w)
{
	*w = rig.smtpd;
	w->seg_fd = dup(w->seg_fd);
	ipc_send_stop(rig.master, &(struct ipc_stop){.drain_ms = 1000});
	ck_assert_int_eq(qrig_wait_end(&rig), 0);
}

START_TEST(test_recover_records_that_nobody_told_of_are_found)
{
	static const struct env_rcpt to = {.addr = {"r@a.test", 8}};
	struct envelope e = {
	    .sender = SV("s@here.test"), .rcpts = &to, .nrcpts = 1};
	struct ipc_commit m;
	struct qpeer w;

	writer_survives(&w);
	qpeer_write(&w, &e, 0, &m);
	qpeer_write(&w, &e, 0, &m);
	qrig_start(&rig, QRIG_CONF);
	ck_assert(qrig_logged(&rig, "2 found in segments"));
	qpeer_write(&w, &e, 0, &m);
	close(w.seg_fd);
	/* it joins again and tells of the third */
	qpeer_join(&rig, &rig.smtpd, R_SMTPD);
	qrig_go(&rig, 0);
	qpeer_commit(&rig.smtpd, &m, &e);
	QWAIT(&rig, count_of("delivery") == 3);
	qpeer_seg_done(&rig.smtpd, &m);
	QWAIT(&rig, qrig_events(&rig, EV_SEG_END, NULL) == 1);
}
END_TEST

START_TEST(test_recover_dsn_ends_what_it_reports)
{
	static const struct env_rcpt to = {.addr = {"s@here.test", 11}};
	static const uint32_t zero = 0;
	struct envelope dsn = {.sender = SV(""),
	    .rcpts = &to,
	    .nrcpts = 1,
	    .dsn_rcpts = &zero,
	    .dsn_nrcpts = 1};
	static const struct sv domains[] = {{"here.test", 9}};
	struct ipc_commit m;
	struct qpeer w;
	uint64_t id;
	unsigned n = qrig_deliver(&rig, "s@here.test", "r@a.test", &id);

	qrig_result(&rig, n, OUT_PERMANENT, 550, "5.1.1", "550 nobody");
	QWAIT(&rig, rig.smtp.acked == 1);
	writer_survives(&w);
	dsn.dsn_for = id;
	qpeer_write(&w, &dsn, 0, &m);
	close(w.seg_fd);
	qlog_begin();
	qlog_commit(&m, domains, id);
	qlog_end();
	/* qmgr ended between the two events */
	qrig_start(&rig, QRIG_CONF);
	ck_assert_uint_eq(qrig_events(&rig, EV_BOUNCED, NULL), 1);
	ck_assert_int_eq(count_of("bounce"), 0);
	ck_assert_int_eq(count_of("bounced"), 1);
}
END_TEST

/* Messages that say they are DSNs, of which the log has no end. */
START_TEST(test_recover_dsns_that_end_nothing)
{
	static const struct env_rcpt to = {.addr = {"s@here.test", 11}};
	struct envelope e = {
	    .sender = SV(""), .rcpts = &to, .nrcpts = 1};
	struct ipc_commit none, done;
	struct qpeer w;
	uint64_t id, waiting;
	unsigned n = qrig_deliver(&rig, "s@here.test", "r@a.test", &id);

	qrig_result(&rig, n, OUT_PERMANENT, 550, "5.1.1", "550 nobody");
	QWAIT(&rig, rig.smtp.acked == 1);
	qrig_ctl(&rig, "pause queue b.test");
	waiting = qrig_submit(&rig, "s@here.test", "r@b.test");
	QWAIT(&rig, count_of("delivery") == 1);
	writer_survives(&w);
	qpeer_write(&w, &e, 0, &none);
	qpeer_write(&w, &e, 0, &done);
	close(w.seg_fd);
	qlog_begin();
	/* its envelope names nothing; twice is once */
	qlog_accept(none.segment, none.offset, none.length, id);
	qlog_accept(none.segment, none.offset, none.length, id);
	/* it is over */
	qlog_accept(done.segment, done.offset, done.length, id);
	qlog_add(EV_ATTEMPT,
	    (union ev_any){.attempt = {.id = done.id, .action = ACT_DELIVERED}});
	/* its record cannot be read */
	qlog_accept(77, 64, 80, id);
	/* nobody waits for it, or it is of nothing */
	qlog_accept(77, 144, 80, waiting);
	for (uint64_t i = 0; i < 70; i++)
		qlog_accept(78, 64 + i * 80, 80, 4711);
	qlog_end();
	qrig_start(&rig, QRIG_CONF);
	ck_assert_uint_eq(qrig_events(&rig, EV_BOUNCED, NULL), 0);
	ck_assert_int_eq(count_of("bounce"), 1);
	ck_assert_int_eq(count_of("delivery"), 1 + 1 + 2 + 70);
}
END_TEST

/* More than is noted at once ends in one turn. */
START_TEST(test_recover_many_end_at_once)
{
	static const uint32_t zero = 0;
	unsigned n = 600;

	ck_assert_int_eq(qrig_stop(&rig), 0);
	qlog_begin();
	for (uint64_t i = 0; i < n; i++) {
		qlog_accept(77, 64 + i * 80, 80, 0);
		qlog_add(EV_ATTEMPT,
		    (union ev_any){
			.attempt = {.id = msgid_make(77, 64 + i * 80),
			    .action = ACT_FAILED,
			    .wants_dsn = 1,
			    .attempts = 1}});
	}
	qlog_end();
	qrig_start(&rig, QRIG_CONF);
	ck_assert_int_eq(count_of("bounce"), n);
	qpeer_join(&rig, &rig.bounce, R_BOUNCE);
	for (uint64_t i = 0; i < n; i++)
		ipc_send_bounce_drop(rig.bounce.chan,
		    &(struct ipc_bounce_drop){
			.id = msgid_make(77, 64 + i * 80),
			.rcpts = just(&zero),
			.reason = SV("unreadable")});
	QWAIT(&rig, count_of("bounce") == 0);
}
END_TEST

/* The log is the queue manager's; the envelope is what a writer wrote. */
START_TEST(test_recover_recipient_that_the_envelope_has_not)
{
	static const struct env_rcpt to = {.addr = {"r@a.test", 8}};
	static const struct sv domains[] = {{"a.test", 6}, {"a.test", 6}};
	static const uint32_t second = 1;
	struct envelope e = {
	    .sender = SV("s@here.test"), .rcpts = &to, .nrcpts = 1};
	struct ipc_commit m;
	struct qpeer w;

	writer_survives(&w);
	qpeer_write(&w, &e, 0, &m);
	close(w.seg_fd);
	qlog_begin();
	qlog_add(EV_ACCEPT,
	    (union ev_any){.accept = {.id = m.id,
			       .segment = m.segment,
			       .offset = m.offset,
			       .length = m.length,
			       .arrival_us = m.arrival_us,
			       .vmta = SV("{default}"),
			       .domains = {.array = domains, .n = 2}}});
	qlog_end();
	qrig_start(&rig, QRIG_CONF);
	qrig_peers(&rig);
	qrig_go(&rig, 1);
	qrig_deliver_wait(&rig, 1);
	ck_assert_uint_eq(rig.smtp.delivers[0].n, 2);
	ck_assert(intent_reserve(&rig.smtp.intent, 1));
	ck_assert_uint_ne(
	    intent_take(&rig.smtp.intent, m.id, &second, 1), INTENT_NONE);
	qpeer_leave(&rig.smtp);
	QWAIT(&rig, qrig_events(&rig, EV_ATTEMPT, NULL) == 1);
	ck_assert_int_eq(count_of("inDoubt"), 1);
}
END_TEST

/* ---- a start that fails ---- */

START_TEST(test_start_fails_where_the_spool_does)
{
	ck_assert_int_eq(qrig_stop(&rig), 0);
	qrig_fault(QF_LIST, "segments", EIO);
	qrig_start_fails(&rig, "cannot read the spool's segments");
	qrig_fault(QF_LIST, "", 0);
	qrig_fault(QF_SYNC_DIR, "segments", EIO);
	qrig_start_fails(&rig, "cannot recover the spool");
	qrig_fault(QF_SYNC_DIR, "", 0);
	qrig_fault(QF_OPEN, "events", EIO);
	qrig_start_fails(&rig, "cannot open the event log: Input");
	ck_assert_int_eq(faccessat(rig.spool, "reserve", F_OK, 0), 0);
	qrig_fault(QF_OPEN, "events", ENOSPC);
	qrig_start_fails(&rig, "cannot open the event log: No space");
	ck_assert_int_ne(faccessat(rig.spool, "reserve", F_OK, 0), 0);
	qrig_start_fails(&rig, "cannot open the event log: No space");
	qrig_fault(QF_OPEN, "", 0);
	/* with the reserve there is room for it */
	qrig_start(&rig, QRIG_CONF);
	ck_assert_int_eq(qrig_stop(&rig), 0);
	qrig_fault_once(0, QF_OPEN, "events", ENOSPC);
	qrig_start(&rig, QRIG_CONF);
	ck_assert_uint_eq(
	    qrig_logged_times(&rig, "the reserve is used"), 2);
	ck_assert(qrig_logged(&rig, "recovered: 0 messages"));
}
END_TEST

START_TEST(test_start_with_a_damaged_log_says_so)
{
	uint64_t id;

	paused_submit(&id, 1);
	qlog_lose();
	qrig_start(&rig, QRIG_CONF);
	ck_assert(qrig_logged(&rig, "duplicates are possible"));
	ck_assert_int_eq(count_of("delivery"), 1);
}
END_TEST

/* ---- crashes ---- */

/* The master's word of how the worker ended. */
static void
child_end(enum ipc_ended ended, const char *reason)
{
	ipc_send_child(rig.master, &(struct ipc_child){.role = R_SMTP,
				       .ended = (uint8_t)ended,
				       .restarts = 1,
				       .crashes = ended == ENDED_CRASH,
				       .ended_us = 1000000,
				       .delay_ms = 1000,
				       .reason = sv_from(reason)});
}

static void
smtp_crashes(const char *reason, enum ipc_ended ended)
{
	qpeer_leave(&rig.smtp);
	child_end(ended, reason);
	qpeer_join(&rig, &rig.smtp, R_SMTP);
	ipc_send_resync_end(rig.smtp.chan, &(struct ipc_resync_end){});
}

START_TEST(test_suspect_two_crashes_put_it_on_hold_until_released)
{
	char cmd[64], text[MSGID_TEXT];
	uint64_t id;

	qrig_deliver(&rig, "s@here.test", "r@a.test", &id);
	intent_mark(&rig.smtp.intent, id);
	smtp_crashes("signal 11", ENDED_CRASH);
	qrig_deliver_wait(&rig, 1);
	ck_assert_uint_eq(rig.smtp.delivers[0].id, id);
	ck_assert(qrig_logged(&rig, "delivery crashed on it, smtp[0]: sig"));
	intent_mark(&rig.smtp.intent, id);
	smtp_crashes("signal 6", ENDED_CRASH);
	QWAIT(&rig, count_of("hold") == 1);
	ck_assert(qrig_logged(&rig, "quarantined"));
	QWAIT(&rig, qrig_events(&rig, EV_HOLD, NULL) == 1);
	snprintf(cmd, sizeof(cmd), "show message %s", msgid_format(id, text));
	qrig_ctl(&rig, cmd);
	ck_assert_ptr_nonnull(strstr((const char *)buf_data(&rig.rows),
	    "2 crashes, the last: smtp[0]: signal 6"));
	/* it stays so over a restart */
	ck_assert_int_eq(qrig_stop(&rig), 0);
	qrig_start(&rig, QRIG_CONF);
	qrig_peers(&rig);
	qrig_go(&rig, 1);
	ck_assert_int_eq(count_of("hold"), 1);
	qrig_ctl(&rig, "release");
	ck_assert_uint_eq(rig.ctl_status, 2);
	qrig_ctl(&rig, "release --id=x");
	ck_assert_uint_eq(rig.ctl_status, 2);
	snprintf(cmd, sizeof(cmd), "release --id=%s", text);
	qrig_ctl(&rig, cmd);
	ck_assert_str_eq(rig.ctl_text, "1 recipients released");
	qrig_deliver_wait(&rig, 1);
	ck_assert_uint_eq(rig.smtp.delivers[0].id, id);
	/* what is not on hold is not released */
	qrig_ctl(&rig, cmd);
	ck_assert_str_eq(rig.ctl_text, "0 recipients released");
}
END_TEST

START_TEST(test_suspect_ends_from_outside_are_nobodys_fault)
{
	uint64_t id;

	qrig_deliver(&rig, "s@here.test", "r@a.test", &id);
	for (int i = 0; i < 3; i++) {
		intent_mark(&rig.smtp.intent, id);
		smtp_crashes("signal 9", ENDED_OUTSIDE);
		qrig_deliver_wait(&rig, 1);
	}
	intent_mark(&rig.smtp.intent, 4711); /* no such message */
	smtp_crashes("signal 11", ENDED_CRASH);
	qrig_deliver_wait(&rig, 1);
	ck_assert(!qrig_logged(&rig, "delivery crashed"));
	ck_assert_int_eq(count_of("hold"), 0);
}
END_TEST

START_TEST(test_suspect_without_word_of_the_end_goes_on)
{
	uint64_t id;

	qrig_deliver(&rig, "s@here.test", "r@a.test", &id);
	intent_mark(&rig.smtp.intent, id);
	/* nobody says how it ended; its successor is there */
	qpeer_join(&rig, &rig.smtp, R_SMTP);
	ipc_send_resync_end(rig.smtp.chan, &(struct ipc_resync_end){});
	qrig_deliver_wait(&rig, 1);
	/* nor will anybody, without a master */
	intent_mark(&rig.smtp.intent, id);
	chan_free(&rig.master);
	QWAIT(&rig, qrig_logged(&rig, "the master is gone"));
	qpeer_leave(&rig.smtp);
	QWAIT(&rig, count_of("inflight") == 0);
	ck_assert_int_eq(count_of("hold"), 0);
	qrig_ctl(&rig, "stop");
	ck_assert_int_eq(qrig_wait_end(&rig), 0);
}
END_TEST

/* It stops, or its master dies, before anybody says how the worker ended. */
START_TEST(test_suspect_that_nobody_settled_is_not_held_for_ever)
{
	uint64_t id;

	/* so that the stop has a checkpoint to write */
	qrig_fault(QF_WRITE, "checkpoint", EIO);
	ck_assert_int_eq(qrig_stop(&rig), 0);
	qrig_start(&rig, QRIG_CONF);
	qrig_peers(&rig);
	qrig_go(&rig, 1);
	QWAIT(&rig, qrig_logged(&rig, "failed; the one before it stays"));
	qrig_fault(QF_WRITE, "", 0);
	qrig_deliver(&rig, "s@here.test", "r@a.test", &id);
	intent_mark(&rig.smtp.intent, id);
	qpeer_leave(&rig.smtp);
	QWAIT(&rig, count_of("hold") == 1);
	ck_assert_int_eq(qrig_stop(&rig), 0);
	qrig_start(&rig, QRIG_CONF);
	ck_assert_int_eq(count_of("hold"), 0);
	qrig_peers(&rig);
	qrig_go(&rig, 1);
	qrig_deliver_wait(&rig, 1);
	intent_mark(&rig.smtp.intent, id);
	qpeer_leave(&rig.smtp);
	QWAIT(&rig, count_of("hold") == 1);
	chan_free(&rig.master);
	QWAIT(&rig, qrig_logged(&rig, "the master is gone"));
	ck_assert_int_eq(count_of("hold"), 0);
	qrig_ctl(&rig, "stop");
	ck_assert_int_eq(qrig_wait_end(&rig), 0);
}
END_TEST

/* An order takes what only waits for word of a worker's end, so that it stays
 * when the word has come. */
START_TEST(test_suspect_may_be_put_on_hold)
{
	uint64_t id;

	qrig_deliver(&rig, "s@here.test", "r@a.test", &id);
	intent_mark(&rig.smtp.intent, id);
	qpeer_leave(&rig.smtp);
	QWAIT(&rig, count_of("hold") == 1);
	qrig_ctl(&rig, "hold a.test --reason=unsure");
	ck_assert_str_eq(rig.ctl_text, "1 recipients put on hold");
	qrig_ctl(&rig, "hold a.test --reason=again");
	ck_assert_str_eq(rig.ctl_text, "0 recipients put on hold");
	child_end(ENDED_OUTSIDE, "signal 9");
	qrig_pass(&rig, 50);
	ck_assert_int_eq(count_of("hold"), 1);
	ck_assert_ptr_nonnull(strstr(qrig_ctl(&rig, "list a.test"),
	    "\"reason\":\"unsure\""));
}
END_TEST

/* What was under way at another worker when the message was quarantined, and
 * came back, is on hold after a restart, too; by the log and by a checkpoint.
 */
START_TEST(test_suspect_hold_outlives_what_was_under_way)
{
	static const uint32_t zero = 0;
	uint64_t ids[2];

	paused_submit(ids, 2);
	qlog_begin();
	qlog_add(EV_HOLD,
	    (union ev_any){
		.hold = {.id = ids[0], .held = 1, .rcpts = just(&zero)}});
	qlog_add(EV_ATTEMPT, (union ev_any){.attempt = {.id = ids[0],
					       .action = ACT_DEFERRED,
					       .attempts = 1,
					       .next_us = 1}});
	qlog_end();
	qrig_start(&rig, QRIG_CONF);
	ck_assert_int_eq(count_of("hold"), 1);
	ck_assert_int_eq(count_of("delivery") + count_of("retry"), 1);
	/* a worker of the time before still has it */
	qrig_kill(&rig);
	qrig_fault(QF_WRITE, "checkpoint", EIO);
	qrig_start(&rig, QRIG_CONF);
	qpeer_join(&rig, &rig.smtp, R_SMTP);
	qrig_go(&rig, 1);
	ipc_send_resync(rig.smtp.chan,
	    &(struct ipc_resync){.id = ids[0], .rcpts = just(&zero)});
	ipc_send_resync_end(rig.smtp.chan, &(struct ipc_resync_end){});
	QWAIT(&rig, count_of("inflight") == 1);
	QWAIT(&rig, qrig_logged(&rig, "failed; the one before it stays"));
	qrig_fault(QF_WRITE, "", 0);
	/* the worker stays, so that the checkpoint has it under way */
	ipc_send_stop(rig.master, &(struct ipc_stop){.drain_ms = 500});
	ck_assert_int_eq(qrig_wait_end(&rig), 0);
	qrig_start(&rig, QRIG_CONF);
	ck_assert_int_eq(count_of("hold"), 1);
}
END_TEST

START_TEST(test_children_are_shown)
{
	const char *rows;

	smtp_crashes("signal 11", ENDED_CRASH);
	ipc_send_child(rig.master,
	    &(struct ipc_child){
		.role = R_ACCT, .pid = 4711, .ready = 1, .reason = SV("")});
	ipc_send_child(
	    rig.master, &(struct ipc_child){
			    .role = R_BOUNCE, .pid = 4712, .reason = SV("")});
	QWAIT(&rig, strstr(rows = qrig_ctl(&rig, "show status"),
			"\"name\":\"bounce\"") != NULL);
	ck_assert_ptr_nonnull(strstr(rows, "\"lastEnd\":\"signal 11\""));
	ck_assert_ptr_nonnull(strstr(rows, "\"pid\":4711,\"state\":\"run"));
	ck_assert_ptr_nonnull(strstr(rows, "\"pid\":4712,\"state\":\"star"));
	ck_assert_ptr_nonnull(strstr(rows, "\"state\":\"waiting\""));
}
END_TEST

/* One life ended at it already; another one, just now. */
static void
poison_write(enum poison_kind kind, uint64_t a, uint64_t b)
{
	struct sio *spool = qrig_sio(&rig);
	struct poison p;

	ck_assert_int_eq(poison_open(&p, spool, "intent/suspects"), 0);
	ck_assert_ptr_nonnull(poison_blame(&p, kind, a, b, "qmgr: signal 11"));
	poison_mark(&p, kind, a, b);
	poison_close(&p);
	sio_free(&spool);
}

START_TEST(test_suspect_event_that_qmgr_crashes_on_is_left_out)
{
	static const struct env_rcpt to = {.addr = {"r@a.test", 8}};
	static const struct sv domains[] = {{"a.test", 6}};
	struct envelope e = {
	    .sender = SV("s@here.test"), .rcpts = &to, .nrcpts = 1};
	struct ipc_commit m;
	struct evlog_pos at;
	struct qpeer w;

	writer_survives(&w);
	qpeer_write(&w, &e, 0, &m);
	close(w.seg_fd);
	qlog_begin();
	at = qlog_at();
	qlog_commit(&m, domains, 0);
	qlog_end();
	/* twice it ended there */
	poison_write(POISON_EVENT, at.file, at.offset);
	rig.crash = "signal 11";
	qrig_start(&rig, QRIG_CONF);
	ck_assert(qrig_logged(&rig, "the qmgr before crashed on the event"));
	ck_assert(qrig_logged(&rig, "is left out: qmgr crashes on it"));
	ck_assert_int_eq(count_of("corrupt"), 1);
}
END_TEST

/* The newest checkpoint that is whole. */
static uint64_t
checkpoint_newest(void)
{
	struct sio *spool = qrig_sio(&rig);
	uint64_t *list, number = 0;
	size_t n;

	ck_assert_int_eq(checkpoint_list(spool, &list, &n), 0);
	if (n > 0)
		number = list[n - 1];
	free(list);
	sio_free(&spool);
	return number;
}

struct nth {
	uint64_t n, accept; /* of the first ACCEPT */
};

static int
on_saved(void *arg, enum ev_type type, const union ev_any *e)
{
	struct nth *t = arg;

	(void)e;
	t->n++;
	if (type == EV_ACCEPT && t->accept == 0)
		t->accept = t->n;
	return 0;
}

/* What stands in the same place of the next checkpoint is innocent. */
START_TEST(test_suspect_event_of_a_checkpoint_is_of_that_one_only)
{
	struct nth nth = {0, 0};
	uint64_t ids[3], first;
	struct sio *spool;

	paused_submit(ids, 3);
	first = checkpoint_newest();
	qrig_start(&rig, QRIG_CONF);
	QWAIT(&rig, checkpoint_newest() > first);
	qrig_kill(&rig);
	first = checkpoint_newest();
	spool = qrig_sio(&rig);
	ck_assert_int_eq(checkpoint_read(spool, first, on_saved, &nth), 0);
	sio_free(&spool);
	ck_assert_uint_gt(nth.accept, 0);
	/* twice it ended there */
	poison_write(POISON_EVENT, POISON_CHECKPOINT | first, nth.accept);
	rig.crash = "signal 11";
	qrig_start(&rig, QRIG_CONF);
	ck_assert(qrig_logged(&rig, "is left out: qmgr crashes on it"));
	ck_assert(qrig_logged(&rig, "recovered: 2 messages"));
	QWAIT(&rig, checkpoint_newest() > first);
	rig.crash = NULL;
	qrig_kill(&rig);
	qrig_start(&rig, QRIG_CONF);
	ck_assert_int_eq(count_of("delivery"), 2);
}
END_TEST

/* What only it knew is lost. */
START_TEST(test_suspect_event_of_another_kind_is_left_out)
{
	struct evlog_pos at;

	ck_assert_int_eq(qrig_stop(&rig), 0);
	qlog_begin();
	at = qlog_at();
	qlog_add(EV_QUEUE_SET,
	    (union ev_any){
		.queue_set = {.queue = SV("b.test/{default}"), .paused = 1}});
	qlog_end();
	poison_write(POISON_EVENT, at.file, at.offset);
	rig.crash = "signal 11";
	qrig_start(&rig, QRIG_CONF);
	ck_assert(qrig_logged(&rig, "the event QUEUE_SET at"));
	qrig_ctl(&rig, "show queues --paused=yes");
	ck_assert_ptr_null(
	    strstr((const char *)buf_data(&rig.rows), "b.test"));
}
END_TEST

START_TEST(test_suspect_record_that_qmgr_crashes_on_is_put_aside)
{
	static const struct env_rcpt to = {.addr = {"r@a.test", 8}};
	struct envelope e = {
	    .sender = SV("s@here.test"), .rcpts = &to, .nrcpts = 1};
	char path[64], text[MSGID_TEXT];
	struct ipc_commit m;
	struct qpeer w;

	writer_survives(&w);
	qpeer_write(&w, &e, 0, &m);
	close(w.seg_fd);
	/* twice it cost a life before it was taken in */
	poison_write(POISON_MESSAGE, m.id, 0);
	rig.crash = "signal 6";
	qrig_start(&rig, QRIG_CONF);
	ck_assert(qrig_logged(&rig, "crashed on it, qmgr: signal 6 (2 tim"));
	ck_assert(qrig_logged(&rig, "recovered: 0 messages"));
	snprintf(path, sizeof(path), "corrupt/%s", msgid_format(m.id, text));
	ck_assert_int_eq(faccessat(rig.spool, path, F_OK, 0), 0);
	ck_assert_int_eq(count_of("corrupt"), 1);
}
END_TEST

/* Another qmgr, which nobody has told anything yet. */
static void
qmgr_comes_back(const char *conf)
{
	qrig_start(&rig, conf);
	qpeer_join(&rig, &rig.smtp, R_SMTP);
	qpeer_join(&rig, &rig.resolver, R_RESOLVER);
	rig.resolver.answers = true;
	qrig_go(&rig, 1);
}

/* The worker, which lives, tells it that it has the message's recipient. */
static void
worker_tells(uint64_t id, uint64_t session)
{
	struct u32s rcpts = {.n = 1, .array = (const uint32_t[]){0}};

	ipc_send_resync(
	    rig.smtp.chan, &(struct ipc_resync){.id = id, .rcpts = rcpts});
	ipc_send_resync_end(rig.smtp.chan, &(struct ipc_resync_end){});
	QWAIT(&rig, count_of("inflight") == 1);
	rig.smtp.delivers[0].session = session;
	rig.smtp.delivers[0].id = id;
	rig.smtp.delivers[0].n = 1;
}

/* qmgr ends at the RESULT of this message, and did so once before. */
static void
qmgr_ends_at_result(uint64_t id, const char *crash)
{
	uint64_t session = rig.smtp.delivers[0].session;

	qrig_kill(&rig);
	poison_write(POISON_RESULT, id, 0);
	rig.crash = crash;
	qmgr_comes_back(QRIG_CONF);
	worker_tells(id, session);
}

/* Deleted before the worker that has it has said so: it is passed over, as all
 * that is in flight; undo must not send it a second time. */
START_TEST(test_resync_of_what_is_in_the_trash)
{
	char cmd[64], text[MSGID_TEXT];
	uint64_t id, session;

	qrig_deliver(&rig, "s@here.test", "r@a.test", &id);
	session = rig.smtp.delivers[0].session;
	qrig_kill(&rig);
	qmgr_comes_back("host-name q.test\ntrash-ttl 1h\n");
	snprintf(cmd, sizeof(cmd), "delete --id=%s --yes",
	    msgid_format(id, text));
	qrig_ctl(&rig, cmd);
	ck_assert_str_eq(rig.ctl_text, "1 recipients deleted");
	worker_tells(id, session);
	qrig_ctl(&rig, "undo");
	ck_assert_str_eq(rig.ctl_text, "0 recipients brought back");
	rig.smtp.ndelivers = 1;
	qrig_result(&rig, 0, OUT_TEMPORARY, 450, "4.2.0", "450 later");
	QWAIT(&rig, count_of("retry") == 1);
	ck_assert_uint_eq(rig.smtp.ndelivers, 1);
}
END_TEST


START_TEST(test_suspect_result_that_qmgr_crashes_on_is_not_believed)
{
	char cmd[64], text[MSGID_TEXT];
	uint64_t id, other;

	qrig_deliver(&rig, "s@here.test", "r@a.test", &id);
	qmgr_ends_at_result(id, "signal 11");
	ck_assert(qrig_logged(&rig, "crashed on it, qmgr: signal 11 (2 tim"));
	qrig_result(&rig, 0, OUT_DELIVERED, 250, "2.0.0", "250 ok");
	QWAIT(&rig, count_of("hold") == 1);
	ck_assert(qrig_logged(&rig, "quarantined: qmgr crashed on what"));
	/* it is heard, so that the worker can forget it, and not believed */
	QWAIT(&rig, rig.smtp.acked == 1);
	ck_assert_uint_eq(qrig_events(&rig, EV_ATTEMPT, NULL), 0);
	ck_assert_uint_eq(qrig_events(&rig, EV_HOLD, NULL), 1);
	snprintf(cmd, sizeof(cmd), "show message %s", msgid_format(id, text));
	qrig_ctl(&rig, cmd);
	ck_assert_ptr_nonnull(strstr((const char *)buf_data(&rig.rows),
	    "2 crashes, the last: qmgr: signal 11"));
	snprintf(cmd, sizeof(cmd), "release --id=%s", text);
	qrig_ctl(&rig, cmd);
	ck_assert_str_eq(rig.ctl_text, "1 recipients released");
	rig.smtp.ndelivers = 0;
	qrig_deliver_wait(&rig, 1);
	ck_assert_uint_eq(rig.smtp.delivers[0].id, id);
	/* and is believed again */
	qrig_result(&rig, 0, OUT_DELIVERED, 250, "2.0.0", "250 ok");
	QWAIT(&rig, qrig_events(&rig, EV_ATTEMPT, &other) == 1);
	ck_assert_uint_eq(other, id);
}
END_TEST

/* The second end was nobody's crash. */
START_TEST(test_suspect_result_one_crash_is_believed)
{
	uint64_t id;

	qrig_deliver(&rig, "s@here.test", "r@a.test", &id);
	qmgr_ends_at_result(id, NULL);
	qrig_result(&rig, 0, OUT_DELIVERED, 250, "2.0.0", "250 ok");
	QWAIT(&rig, qrig_events(&rig, EV_ATTEMPT, NULL) == 1);
	ck_assert_int_eq(count_of("hold"), 0);
}
END_TEST

void
qmgr_tests_recover(Suite *s)
{
	TCase *tc = qrig_tcase(s, "recover");

	tcase_add_test(tc, test_recover_each_event_has_its_effect);
	tcase_add_test(tc, test_recover_message_without_its_segment_is_said);
	tcase_add_test(tc, test_recover_records_that_nobody_told_of_are_found);
	tcase_add_test(tc, test_recover_dsn_ends_what_it_reports);
	tcase_add_test(tc, test_recover_dsns_that_end_nothing);
	tcase_add_test(tc, test_recover_many_end_at_once);
	tcase_add_test(tc, test_recover_recipient_that_the_envelope_has_not);
	tcase_add_test(tc, test_start_fails_where_the_spool_does);
	tcase_add_test(tc, test_start_with_a_damaged_log_says_so);
	tcase_add_test(tc, test_suspect_event_of_another_kind_is_left_out);
	tcase_add_test(
	    tc, test_suspect_two_crashes_put_it_on_hold_until_released);
	tcase_add_test(tc, test_suspect_ends_from_outside_are_nobodys_fault);
	tcase_add_test(tc, test_suspect_without_word_of_the_end_goes_on);
	tcase_add_test(
	    tc, test_suspect_that_nobody_settled_is_not_held_for_ever);
	tcase_add_test(tc, test_suspect_may_be_put_on_hold);
	tcase_add_test(tc, test_suspect_hold_outlives_what_was_under_way);
	tcase_add_test(tc, test_children_are_shown);
	tcase_add_test(tc, test_suspect_event_that_qmgr_crashes_on_is_left_out);
	tcase_add_test(
	    tc, test_suspect_event_of_a_checkpoint_is_of_that_one_only);
	tcase_add_test(
	    tc, test_suspect_record_that_qmgr_crashes_on_is_put_aside);
	tcase_add_test(tc, test_resync_of_what_is_in_the_trash);
	tcase_add_test(
	    tc, test_suspect_result_that_qmgr_crashes_on_is_not_believed);
	tcase_add_test(tc, test_suspect_result_one_crash_is_believed);
}
