/* SPDX-License-Identifier: ISC */
/*
 * The queue manager as a process: deliveries, their workers and what becomes
 * of them when a worker, the resolver or qmgr itself dies.
 */
#include <sys/stat.h>
#include <fcntl.h>
#include <stdio.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/msgid.h"
#include "qmgr/qmgr.h"
#include "tests/unit/qmgr/qrig.h"

struct qrig rig;

void
qrig_setup(void)
{
	qrig_init(&rig);
	qrig_start(&rig, QRIG_CONF);
	qrig_peers(&rig);
	qrig_go(&rig, 1);
}

void
qrig_teardown(void)
{
	qrig_fini(&rig);
}

START_TEST(test_delivery_delivered_is_recorded_then_acknowledged)
{
	uint64_t id, got = 0;
	unsigned n = qrig_deliver(&rig, "s@here.test", "r@there.test", &id);

	ck_assert_str_eq(rig.smtp.opens[0].queue, "there.test/{default}");
	ck_assert_str_eq(rig.smtp.opens[0].helo, "q.test");
	ck_assert_uint_gt(rig.smtp.opens[0].route_n, 0);
	ck_assert_uint_eq(rig.smtp.seg_opens, 1);
	ck_assert_uint_eq(rig.smtp.delivers[n].segment, rig.smtpd.segment);
	qrig_result(&rig, n, OUT_DELIVERED, 250, "2.0.0", "250 ok");
	QWAIT(&rig, rig.smtp.acked == 1);
	/* what was acknowledged is in the log */
	ck_assert_uint_eq(qrig_events(&rig, EV_ATTEMPT, &got), 1);
	ck_assert_uint_eq(got, id);
	qrig_ctl(&rig, "show status");
	ck_assert_int_eq(qrig_number(&rig, "delivered"), 1);
	ck_assert_int_eq(qrig_stop(&rig), 0);
	/* and is not there again */
	qrig_start(&rig, QRIG_CONF);
	ck_assert(qrig_logged(&rig, "recovered: 0 messages"));
}
END_TEST

START_TEST(test_delivery_deferred_is_tried_again)
{
	uint64_t id;
	unsigned n = qrig_deliver(&rig, "s@here.test", "r@there.test", &id);

	qrig_result(&rig, n, OUT_TEMPORARY, 450, "4.2.0", "450 later");
	qrig_deliver_wait(&rig, 2);
	ck_assert_uint_eq(rig.smtp.delivers[1].id, id);
	qrig_ctl(&rig, "show status");
	ck_assert_int_eq(qrig_number(&rig, "deferred"), 1);
	ck_assert_int_eq(qrig_number(&rig, "inflight"), 1);
}
END_TEST

START_TEST(test_delivery_untried_is_tried_again_at_once)
{
	unsigned n = qrig_deliver(&rig, "s@here.test", "r@there.test", NULL);

	qrig_result(&rig, n, OUT_UNTRIED, 0, "", "");
	qrig_deliver_wait(&rig, 2);
	ck_assert_uint_eq(qrig_events(&rig, EV_ATTEMPT, NULL), 0);
}
END_TEST

START_TEST(test_result_senseless_ones_hurt_nobody)
{
	uint64_t id;
	unsigned n = qrig_deliver(&rig, "s@here.test", "r@there.test", &id);
	struct ipc_result m = {.seq = 1,
	    .session = 4711,
	    .id = 4711,
	    .sender = SV(""),
	    .envid = SV(""),
	    .job = SV(""),
	    .src_type = SV(""),
	    .src_mta = SV(""),
	    .host = SV(""),
	    .host_ip = SV(""),
	    .source_ip = SV(""),
	    .esmtp = SV(""),
	    .rcpts = SV("not a result")};

	ipc_send_result(rig.smtp.chan, &m);
	m.seq = 2;
	m.id = id;
	ipc_send_result(rig.smtp.chan, &m);
	rig.smtp.seq = 2;
	/* a recipient that is not in the message */
	rig.smtp.delivers[n].idx[0] = 7;
	qrig_result(&rig, n, OUT_DELIVERED, 250, "2.0.0", "250 ok");
	QWAIT(&rig, rig.smtp.acked == 3);
	qrig_result(&rig, n, OUT_UNREADABLE, 0, "4.3.0", "no such record");
	QWAIT(&rig, rig.smtp.acked == 4);
	ck_assert(qrig_logged(&rig, "a result does not decode"));
	ck_assert_uint_eq(qrig_events(&rig, EV_ATTEMPT, NULL), 0);
	/* the channel is open still, and the message in the worker's hands */
	rig.smtp.delivers[n].idx[0] = 0;
	qrig_result(&rig, n, OUT_DELIVERED, 250, "2.0.0", "250 ok");
	QWAIT(&rig, rig.smtp.acked == 5);
	/* twice is once */
	qrig_result(&rig, n, OUT_DELIVERED, 250, "2.0.0", "250 ok");
	QWAIT(&rig, rig.smtp.acked == 6);
	ck_assert_uint_eq(qrig_events(&rig, EV_ATTEMPT, NULL), 1);
}
END_TEST

START_TEST(test_session_ends_by_unknown_ones_and_by_failure)
{
	struct ipc_session_end m = {.session = 4711,
	    .why = END_LOST,
	    .status = SV("4.4.2"),
	    .text = SV("lost"),
	    .host = SV("mx"),
	    .host_ip = SV("127.0.0.1"),
	    .source_ip = SV("")};

	ipc_send_session_end(rig.smtp.chan, &m);
	m.why = 250; /* no reason of ours: as a lost connection */
	ipc_send_session_end(rig.smtp.chan, &m);
	ipc_send_session_up(
	    rig.smtp.chan, &(struct ipc_session_up){.session = 4711,
			       .host = SV(""),
			       .host_ip = SV(""),
			       .source_ip = SV(""),
			       .esmtp = SV("")});
	qrig_submit(&rig, "s@here.test", "r@there.test");
	QWAIT(&rig, rig.smtp.nopens == 1);
	m.session = rig.smtp.opens[0].session;
	m.why = END_CONNECT;
	m.text = SV("connection refused");
	ipc_send_session_end(rig.smtp.chan, &m);
	/* the queue waits, then tries again */
	QWAIT(&rig, qrig_events(&rig, EV_QUEUE_FAIL, NULL) > 0);
	qrig_ctl(&rig, "show queues --errors");
	ck_assert_ptr_nonnull(
	    strstr((const char *)buf_data(&rig.rows), "connection refused"));
	QWAIT(&rig, rig.smtp.nopens == 2);
	ck_assert_uint_eq(qrig_events(&rig, EV_ATTEMPT, NULL), 0);
}
END_TEST

/* ---- records that cannot be read ---- */

static void
intent_write(uint64_t id, uint32_t idx, bool delivered)
{
	uint32_t slot;

	ck_assert(intent_reserve(&rig.smtp.intent, 1));
	slot = intent_take(&rig.smtp.intent, id, &idx, 1);
	ck_assert_uint_ne(slot, INTENT_NONE);
	if (delivered)
		intent_delivered(&rig.smtp.intent, slot);
}

START_TEST(test_unreadable_whole_record_is_tried_again)
{
	unsigned n = qrig_deliver(&rig, "s@here.test", "r@there.test", NULL);

	qrig_result(&rig, n, OUT_UNREADABLE, 0, "4.3.0", "cannot be read");
	qrig_deliver_wait(&rig, 2);
	/* an error of the disk is none of the record */
	qrig_fault(QF_READ, "segments", EIO);
	qrig_result(&rig, 1, OUT_UNREADABLE, 0, "4.3.0", "cannot be read");
	QWAIT(&rig, rig.smtp.acked == 2);
	qrig_fault(QF_READ, "", 0);
	qrig_deliver_wait(&rig, 3);
	qrig_ctl(&rig, "show status");
	ck_assert_int_eq(qrig_number(&rig, "corrupt"), 0);
}
END_TEST

/* A worker that cannot read the record does not know whom to tell: a try of
 * which it says so is never the last one. */
START_TEST(test_unreadable_is_never_the_last_try)
{
	struct ipc_result m = {.seq = 1, .sender = SV("")};
	unsigned char mem[256];
	struct wr w;
	unsigned n;

	qrig_conf(&rig, "host-name q.test\n"
			"<domain *>\nmax-retries 1\nretry-recipients-after "
			"1s\n</domain>\n");
	n = qrig_deliver(&rig, "s@here.test", "r@there.test", &m.id);
	qrig_result(&rig, n, OUT_TEMPORARY, 450, "4.2.0", "450 later");
	qrig_deliver_wait(&rig, 2);
	wr_init(&w, mem, sizeof(mem));
	rcpt_result_put(&w,
	    &(struct rcpt_result){.outcome = OUT_UNREADABLE,
		.addr = SV(""),
		.orcpt = SV(""),
		.status = SV("4.3.0"),
		.text = SV("the message cannot be read from the spool")});
	ck_assert(!w.failed);
	m.seq = ++rig.smtp.seq;
	m.session = rig.smtp.delivers[1].session;
	m.envid = m.job = m.src_type = m.src_mta = m.host = m.host_ip =
	    m.source_ip = m.esmtp = SV("");
	m.rcpts = sv_make(mem, w.n);
	ipc_send_result(rig.smtp.chan, &m);
	QWAIT(&rig, rig.smtp.acked == 2);
	/* it is read then, and the sender is told */
	qrig_deliver_wait(&rig, 3);
	qrig_result(&rig, 2, OUT_TEMPORARY, 450, "4.2.0", "450 later");
	QWAIT(&rig,
	    (qrig_ctl(&rig, "show status"), qrig_number(&rig, "bounce") == 1));
}
END_TEST

/* The lifetime is over when the worker dies behind the dot and the disk does
 * not give the record: give_up() comes again, and the sender is told. */
START_TEST(test_in_doubt_without_a_record_is_never_the_last_try)
{
	uint64_t id;

	qrig_deliver(&rig, "s@here.test", "r@there.test", &id);
	intent_write(id, 0, false);
	qrig_conf(&rig, "host-name q.test\n"
			"<domain *>\nbounce-after 1s\nretry-recipients-after "
			"1s\n</domain>\n");
	qrig_pass(&rig, 1100);
	qrig_fault(QF_READ, "segments", EIO);
	qpeer_leave(&rig.smtp);
	QWAIT(&rig, qrig_events(&rig, EV_ATTEMPT, NULL) == 1);
	qrig_fault(QF_READ, "", 0);
	QWAIT(&rig,
	    (qrig_ctl(&rig, "show status"), qrig_number(&rig, "bounce") == 1));
}
END_TEST

START_TEST(test_unreadable_damaged_record_is_put_aside_and_fails)
{
	uint64_t id;
	unsigned n = qrig_deliver(&rig, "s@here.test", "r@there.test", &id);
	char path[128], text[MSGID_TEXT];
	struct stat st;

	/* the last byte of the body */
	snprintf(path, sizeof(path), "%s/segments/%010llu.seg", rig.dir,
	    (unsigned long long)rig.smtpd.segment);
	{
		int fd = open(path, O_WRONLY);

		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(pwrite(fd, "!!!!!!!!", 8,
				     (off_t)(rig.smtp.delivers[n].offset +
					     rig.smtp.delivers[n].length - 16)),
		    8);
		close(fd);
	}
	qrig_result(&rig, n, OUT_UNREADABLE, 0, "4.3.0", "cannot be read");
	QWAIT(&rig, rig.smtp.acked == 1);
	snprintf(path, sizeof(path), "%s/corrupt/%s", rig.dir,
	    msgid_format(id, text));
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_size, (off_t)rig.smtp.delivers[n].length);
	ck_assert_uint_eq(qrig_events(&rig, EV_ATTEMPT, NULL), 1);
	/* its sender is to be told */
	qrig_ctl(&rig, "show status");
	ck_assert_int_eq(qrig_number(&rig, "bounce"), 1);
	ck_assert_int_eq(qrig_number(&rig, "corrupt"), 1);
}
END_TEST

/* Given up without a try: what there is of it is put aside all the same. */
START_TEST(test_expired_damaged_record_is_put_aside)
{
	char path[128], text[MSGID_TEXT];
	struct stat st;
	uint64_t id;
	int fd;

	qrig_ctl(&rig, "pause queue there.test");
	id = qrig_submit(&rig, "s@here.test", "r@there.test");
	QWAIT(&rig, (qrig_ctl(&rig, "show status"),
			qrig_number(&rig, "delivery") == 1));
	snprintf(path, sizeof(path), "%s/segments/%010llu.seg", rig.dir,
	    (unsigned long long)rig.smtpd.segment);
	fd = open(path, O_WRONLY);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, "!!!!!!!!", 8, SEGMENT_HEADER + 16), 8);
	close(fd);
	qrig_conf(&rig, "host-name q.test\n"
			"<domain *>\nbounce-after 1s\n</domain>\n");
	QWAIT(&rig, qrig_events(&rig, EV_ATTEMPT, NULL) == 1);
	snprintf(path, sizeof(path), "%s/corrupt/%s", rig.dir,
	    msgid_format(id, text));
	ck_assert_int_eq(stat(path, &st), 0);
	qrig_ctl(&rig, "show status");
	ck_assert_int_eq(qrig_number(&rig, "corrupt"), 1);
}
END_TEST

/* ---- a worker dies ---- */

static void
worker_new(void)
{
	qpeer_join(&rig, &rig.smtp, R_SMTP);
	ipc_send_resync_end(rig.smtp.chan, &(struct ipc_resync_end){});
}

START_TEST(test_worker_death_before_the_dot_is_tried_again)
{
	uint64_t id;

	qrig_deliver(&rig, "s@here.test", "r@there.test", &id);
	worker_new();
	QWAIT(&rig, rig.smtp.nopens == 1);
	qrig_session_up(&rig);
	qrig_deliver_wait(&rig, 1);
	ck_assert_uint_eq(rig.smtp.delivers[0].id, id);
	ck_assert_uint_eq(qrig_events(&rig, EV_ATTEMPT, NULL), 0);
}
END_TEST

START_TEST(test_worker_death_behind_the_dot_is_in_doubt)
{
	uint64_t id;

	qrig_deliver(&rig, "s@here.test", "r@there.test", &id);
	intent_write(id, 0, false);
	intent_write(id, 9, false);  /* no such recipient */
	intent_write(4711, 0, true); /* no such message */
	qpeer_leave(&rig.smtp);
	QWAIT(&rig, qrig_events(&rig, EV_ATTEMPT, NULL) == 1);
	ck_assert(qrig_logged(&rig, "in doubt to=r@there.test"));
	qrig_ctl(&rig, "show status");
	ck_assert_int_eq(qrig_number(&rig, "inDoubt"), 1);
	ck_assert_int_eq(qrig_number(&rig, "delivered"), 0);
}
END_TEST

START_TEST(test_worker_death_behind_the_answer_is_delivered)
{
	uint64_t id;

	qrig_deliver(&rig, "s@here.test", "r@there.test", &id);
	intent_write(id, 0, true);
	qpeer_leave(&rig.smtp);
	QWAIT(&rig, qrig_events(&rig, EV_ATTEMPT, NULL) == 1);
	qrig_ctl(&rig, "show status");
	ck_assert_int_eq(qrig_number(&rig, "delivered"), 1);
	ck_assert_int_eq(qrig_number(&rig, "inDoubt"), 0);
}
END_TEST

/* Nobody can say whether the dot was sent: announced, not guessed. */
START_TEST(test_worker_death_with_an_unreadable_intent_is_in_doubt)
{
	uint64_t id;

	qrig_deliver(&rig, "s@here.test", "r@there.test", &id);
	intent_write(id, 0, true);
	qrig_fault(QF_READ, "intent", EIO);
	qpeer_leave(&rig.smtp);
	QWAIT(&rig, qrig_events(&rig, EV_ATTEMPT, NULL) == 1);
	ck_assert(qrig_logged(&rig, "in doubt to=r@there.test"));
	qrig_ctl(&rig, "show status");
	ck_assert_int_eq(qrig_number(&rig, "inDoubt"), 1);
	qrig_fault(QF_READ, "", 0);
}
END_TEST

START_TEST(test_worker_without_an_intent_file_waits_for_it)
{
	qpeer_leave(&rig.smtp);
	qrig_fault(QF_TRUNCATE, "intent", ENOSPC);
	worker_new();
	QWAIT(&rig, qrig_logged(&rig, "no intent file"));
	qrig_submit(&rig, "s@here.test", "r@there.test");
	qrig_pass(&rig, 200);
	/* what it would have begun could not be written down */
	ck_assert_uint_eq(rig.smtp.ndelivers, 0);
	qrig_fault(QF_TRUNCATE, "", 0);
	QWAIT(&rig, rig.smtp.intent.slots != NULL);
	qrig_deliver_wait(&rig, 1);
}
END_TEST

/* A file with holes would be the worker's death on a full disk; the reserve
 * has blocks for it. */
START_TEST(test_worker_on_a_full_disk_gets_its_blocks_or_waits)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/reserve", rig.dir);
	ck_assert_int_eq(stat(path, &st), 0);
	qpeer_leave(&rig.smtp);
	qrig_fault(QF_OPEN, "reserve", ENOSPC); /* once used it is gone */
	qrig_fault(QF_ALLOCATE, "intent", ENOSPC);
	worker_new();
	QWAIT(&rig, qrig_logged(&rig, "no intent file"));
	ck_assert_int_ne(stat(path, &st), 0);
	qrig_submit(&rig, "s@here.test", "r@there.test");
	qrig_pass(&rig, 1200);
	ck_assert_ptr_null(rig.smtp.intent.slots);
	ck_assert_uint_eq(rig.smtp.ndelivers, 0);
	qrig_fault(QF_ALLOCATE, "", 0);
	QWAIT(&rig, rig.smtp.intent.slots != NULL);
	qrig_deliver_wait(&rig, 1);
	qrig_fault(QF_OPEN, "", 0);
}
END_TEST

/* ---- qmgr dies ---- */

static void
qmgr_again(bool killed)
{
	if (killed)
		qrig_kill(&rig);
	else
		ck_assert_int_eq(qrig_stop(&rig), 0);
	qrig_start(&rig, QRIG_CONF);
}

START_TEST(test_restart_what_a_worker_still_has_is_not_sent_twice)
{
	struct u32s rcpts = {.n = 2, .array = (const uint32_t[]){0, 99}};
	uint64_t id;

	qrig_deliver(&rig, "s@here.test", "r@there.test", &id);
	qmgr_again(true);
	qpeer_join(&rig, &rig.smtp, R_SMTP);
	qpeer_join(&rig, &rig.resolver, R_RESOLVER);
	rig.resolver.answers = true;
	qrig_go(&rig, 1);
	ipc_send_resync(
	    rig.smtp.chan, &(struct ipc_resync){.id = id, .rcpts = rcpts});
	ipc_send_resync(
	    rig.smtp.chan, &(struct ipc_resync){.id = 4711, .rcpts = rcpts});
	ipc_send_resync_end(rig.smtp.chan, &(struct ipc_resync_end){});
	QWAIT(&rig, (qrig_ctl(&rig, "show status"),
			qrig_number(&rig, "inflight") == 1));
	qrig_pass(&rig, 200);
	ck_assert_uint_eq(rig.smtp.nopens, 0);
	/* its answer comes, in a session that this qmgr does not know */
	rig.smtp.delivers[0].id = id;
	rig.smtp.delivers[0].session = 1;
	rig.smtp.delivers[0].n = 1;
	qrig_result(&rig, 0, OUT_DELIVERED, 250, "2.0.0", "250 ok");
	QWAIT(&rig, rig.smtp.acked == 1);
	qrig_ctl(&rig, "show status");
	ck_assert_int_eq(qrig_number(&rig, "delivered"), 1);
}
END_TEST

START_TEST(test_restart_old_intents_are_applied_when_it_runs)
{
	uint64_t id;

	qrig_deliver(&rig, "s@here.test", "r@there.test", &id);
	intent_write(id, 0, true);
	/* both die at once; nobody told what the file says */
	qmgr_again(true);
	ck_assert(qrig_logged(&rig, "recovered: 1 messages"));
	qrig_go(&rig, 0);
	QWAIT(&rig, qrig_events(&rig, EV_ATTEMPT, NULL) == 1);
	qrig_ctl(&rig, "show status");
	ck_assert_int_eq(qrig_number(&rig, "delivered"), 1);
}
END_TEST

START_TEST(test_restart_silent_workers_are_waited_for_only_so_long)
{
	qrig_submit(&rig, "s@here.test", "r@there.test");
	QWAIT(&rig, rig.smtp.nopens == 1);
	qmgr_again(true);
	qpeer_join(&rig, &rig.resolver, R_RESOLVER);
	rig.resolver.answers = true;
	qpeer_join(&rig, &rig.smtp, R_SMTP);
	qrig_go(&rig, 1);
	qrig_ctl(&rig, "show status");
	ck_assert_ptr_nonnull(strstr(
	    (const char *)buf_data(&rig.rows), "\"status\":\"starting\""));
	QWAIT(&rig, qrig_logged(&rig, "1 delivery processes did not say"));
	ipc_send_resync_end(rig.smtp.chan, &(struct ipc_resync_end){});
	QWAIT(&rig, rig.smtp.nopens == 1);
}
END_TEST

/* ---- the resolver ---- */

START_TEST(test_resolver_no_domain_fails_the_mail)
{
	rig.resolver.answers = false;
	qrig_submit(&rig, "s@here.test", "r@nowhere.test");
	QWAIT(&rig, rig.resolver.nresolves == 1);
	/* of nobody; of no known kind */
	ipc_send_route(rig.resolver.chan, &(struct ipc_route){.token = 4711,
					      .status = ROUTE_OK,
					      .text = SV(""),
					      .route = SV("")});
	ipc_send_route(rig.resolver.chan,
	    &(struct ipc_route){.token = rig.resolver.resolves[0].token,
		.status = ROUTE_NO_DOMAIN,
		.ttl_s = 60,
		.text = SV("no such domain"),
		.route = SV("")});
	QWAIT(&rig, qrig_events(&rig, EV_ATTEMPT, NULL) == 1);
	qrig_ctl(&rig, "show status");
	ck_assert_int_eq(qrig_number(&rig, "failed"), 1);
	ck_assert_int_eq(qrig_number(&rig, "bounce"), 1);
}
END_TEST

START_TEST(test_resolver_each_status_has_its_code)
{
	static const struct {
		enum route_status status;
		const char *code;
	} t[] = {
	    {ROUTE_NULL_MX, "5.1.10"}, {ROUTE_UNUSABLE, "5.4.4"},
	    {ROUTE_SELF, "5.4.6"}, {ROUTE_TEMPORARY, "4.4.3"},
	    {ROUTE_STATUSES, "4.4.3"}, /* no kind of ours */
	};
	char rcpt[32];

	rig.resolver.answers = false;
	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		snprintf(rcpt, sizeof(rcpt), "r@d%u.test", i);
		qrig_submit(&rig, "s@here.test", rcpt);
		QWAIT(&rig, rig.resolver.nresolves == i + 1);
		ipc_send_route(rig.resolver.chan,
		    &(struct ipc_route){.token = rig.resolver.resolves[i].token,
			.status = (uint8_t)t[i].status,
			.ttl_s = 60,
			.text = SV("says the test"),
			.route = SV("")});
	}
	QWAIT(&rig, qrig_events(&rig, EV_ATTEMPT, NULL) == 3 &&
			qrig_events(&rig, EV_QUEUE_FAIL, NULL) >= 2);
	qrig_ctl(&rig, "show status");
	ck_assert_int_eq(qrig_number(&rig, "failed"), 3);
}
END_TEST

START_TEST(test_resolver_death_asks_its_successor)
{
	/* what it answers goes with its queue: test_routes */
	ck_assert(qmgr_sched_ops.queue_gone == routes_queue_gone);
	rig.resolver.answers = false;
	qrig_submit(&rig, "s@here.test", "r@there.test");
	QWAIT(&rig, rig.resolver.nresolves == 1);
	qpeer_join(&rig, &rig.resolver, R_RESOLVER);
	rig.resolver.answers = true;
	QWAIT(&rig, rig.smtp.nopens == 1);
}
END_TEST

/* ---- lifetimes, configuration ---- */

START_TEST(test_message_expired_is_given_up)
{
	unsigned n = qrig_deliver(&rig, "s@here.test", "r@there.test", NULL);

	qrig_conf(&rig, "host-name q.test\n"
			"<domain *>\nbounce-after 1s\nretry-recipients-after "
			"1s\n</domain>\n");
	qrig_result(&rig, n, OUT_TEMPORARY, 450, "4.2.0", "450 later");
	QWAIT(&rig, qrig_events(&rig, EV_ATTEMPT, NULL) >= 1);
	qrig_ctl(&rig, "show status");
	QWAIT(&rig,
	    (qrig_ctl(&rig, "show status"), qrig_number(&rig, "bounce") == 1));
}
END_TEST

START_TEST(test_conf_source_addresses_go_with_sessions)
{
	qrig_conf(&rig, "host-name q.test\n"
			"smtp-source-host 127.0.0.9 nine.test\n");
	qrig_submit(&rig, "s@here.test", "r@there.test");
	QWAIT(&rig, rig.smtp.nopens == 1);
	ck_assert_str_eq(rig.smtp.opens[0].source_ip, "127.0.0.9");
	ck_assert_str_eq(rig.smtp.opens[0].helo, "nine.test");
}
END_TEST

/* ---- frames that may not be ---- */

START_TEST(test_peer_a_bad_frame_costs_its_channel_only)
{
	/* smtpd may not say this */
	ipc_send_session_up(
	    rig.smtpd.chan, &(struct ipc_session_up){.session = 1,
				.host = SV(""),
				.host_ip = SV(""),
				.source_ip = SV(""),
				.esmtp = SV("")});
	QWAIT(&rig, rig.smtpd.closed);
	qpeer_join(&rig, &rig.smtpd, R_SMTPD);
	ipc_send_seg_want(rig.smtpd.chan, &(struct ipc_seg_want){});
	QWAIT(&rig, rig.smtpd.grants == 1);
	qrig_deliver(&rig, "s@here.test", "r@there.test", NULL);
}
END_TEST

TCase *
qrig_tcase(Suite *s, const char *name)
{
	TCase *tc = tcase_create(name);

	tcase_set_timeout(tc, 240);
	tcase_add_checked_fixture(tc, qrig_setup, qrig_teardown);
	suite_add_tcase(s, tc);
	return tc;
}

static Suite *
qmgr_suite(void)
{
	Suite *s = suite_create("qmgr");
	TCase *tc = qrig_tcase(s, "delivery");

	tcase_add_test(
	    tc, test_delivery_delivered_is_recorded_then_acknowledged);
	tcase_add_test(tc, test_delivery_deferred_is_tried_again);
	tcase_add_test(tc, test_delivery_untried_is_tried_again_at_once);
	tcase_add_test(tc, test_result_senseless_ones_hurt_nobody);
	tcase_add_test(tc, test_session_ends_by_unknown_ones_and_by_failure);
	tcase_add_test(tc, test_unreadable_whole_record_is_tried_again);
	tcase_add_test(
	    tc, test_unreadable_damaged_record_is_put_aside_and_fails);
	tcase_add_test(tc, test_unreadable_is_never_the_last_try);
	tcase_add_test(
	    tc, test_in_doubt_without_a_record_is_never_the_last_try);
	tcase_add_test(tc, test_expired_damaged_record_is_put_aside);
	tcase_add_test(tc, test_worker_death_before_the_dot_is_tried_again);
	tcase_add_test(tc, test_worker_death_behind_the_dot_is_in_doubt);
	tcase_add_test(tc,
	    test_worker_death_with_an_unreadable_intent_is_in_doubt);
	tcase_add_test(tc, test_worker_death_behind_the_answer_is_delivered);
	tcase_add_test(tc, test_worker_without_an_intent_file_waits_for_it);
	tcase_add_test(
	    tc, test_worker_on_a_full_disk_gets_its_blocks_or_waits);
	tcase_add_test(
	    tc, test_restart_what_a_worker_still_has_is_not_sent_twice);
	tcase_add_test(tc, test_restart_old_intents_are_applied_when_it_runs);
	tcase_add_test(
	    tc, test_restart_silent_workers_are_waited_for_only_so_long);
	tcase_add_test(tc, test_resolver_no_domain_fails_the_mail);
	tcase_add_test(tc, test_resolver_each_status_has_its_code);
	tcase_add_test(tc, test_resolver_death_asks_its_successor);
	tcase_add_test(tc, test_message_expired_is_given_up);
	tcase_add_test(tc, test_conf_source_addresses_go_with_sessions);
	tcase_add_test(tc, test_peer_a_bad_frame_costs_its_channel_only);
	qmgr_tests_spool(s);
	qmgr_tests_intake(s);
	qmgr_tests_journal(s);
	qmgr_tests_outcome(s);
	qmgr_tests_control(s);
	qmgr_tests_act(s);
	qmgr_tests_shown(s);
	qmgr_tests_recover(s);
	qmgr_tests_skipped(s);
	qmgr_tests_warmup(s);
	qmgr_tests_move(s);
	qmgr_tests_ask(s);
	qmgr_tests_priority(s);
	qmgr_tests_delays(s);
	return s;
}

int
main(void)
{
	SRunner *sr = srunner_create(qmgr_suite());
	int failed;

	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
