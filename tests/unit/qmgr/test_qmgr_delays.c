/* SPDX-License-Identifier: ISC */
/* The queue manager as a process: who is to hear that something waits. */
#include <errno.h>
#include <string.h>

#include "common/base/msgid.h"
#include "tests/unit/qmgr/qrig.h"

#define HOUR     (3600 * US_PER_SEC)
#define SOON     "<domain *>\nnotify-of-delay-every 1s\n</domain>\n"
#define LATE     "<domain *>\nnotify-of-delay-every 4h\n</domain>\n"
#define UNASKED  "<domain *>\nnotify-of-delay-unasked yes\n</domain>\n"
#define EVENTS_MAX 64

/* What DELAYED events say. */
static struct said {
	uint64_t id;
	uint32_t idx;
	uint64_t queued_us, tried_us, until_us;
	char sender[64], rcpt[64], orcpt[64], envid[64], src_mta[64];
	char status[16], diag[128], mta[64];
	uint8_t notify;
} said[EVENTS_MAX];

static void
copy(char *out, size_t size, struct sv v)
{
	ck_assert(sv_to_cstr(v, out, size));
}

/* How many DELAYED there are; what they say is in said. */
static unsigned
delayed(void)
{
	struct sio *s = qrig_sio(&rig);
	struct evlog_reader *reader =
	    evlog_reader_open(s, EVLOG_FOLDER, (struct evlog_pos){0});
	struct evlog_record rec;
	unsigned n = 0;

	while (evlog_reader_next(reader, EVLOG_NO_LIMIT, &rec) ==
	       EVLOG_RECORD) {
		const struct ev_delayed *e = &rec.any.delayed;
		struct said *t = &said[n];

		if (rec.type != EV_DELAYED)
			continue;
		ck_assert_uint_lt(n++, EVENTS_MAX);
		*t = (struct said){.id = e->id,
		    .idx = e->rcpt_idx,
		    .queued_us = e->queued_us,
		    .tried_us = e->tried_us,
		    .until_us = e->until_us,
		    .notify = e->notify};
		copy(t->sender, sizeof(t->sender), e->sender);
		copy(t->rcpt, sizeof(t->rcpt), e->rcpt);
		copy(t->orcpt, sizeof(t->orcpt), e->orcpt);
		copy(t->envid, sizeof(t->envid), e->envid);
		copy(t->src_mta, sizeof(t->src_mta), e->src_mta);
		copy(t->status, sizeof(t->status), e->status);
		copy(t->diag, sizeof(t->diag), e->diag);
		copy(t->mta, sizeof(t->mta), e->mta);
	}
	evlog_reader_close(&reader);
	sio_free(&s);
	return n;
}

static void
life(const char *conf)
{
	ck_assert_int_eq(qrig_stop(&rig), 0);
	qrig_start(&rig, conf);
	qrig_peers(&rig);
	qrig_go(&rig, 1);
}

/* Submits what arrived so long ago. */
static uint64_t
submit(const char *sender, const struct env_rcpt *to, uint32_t n,
    int64_t ago_us)
{
	struct envelope e = {.sender = sv_from(sender),
	    .envid = SV("e1"),
	    .rcpts = to,
	    .nrcpts = n,
	    .helo = SV("client.test"),
	    .client_ip = SV("192.0.2.9")};
	struct ipc_commit m;

	qpeer_write(&rig.smtpd, &e, 0, &m);
	m.arrival_us -= (uint64_t)ago_us;
	qpeer_commit(&rig.smtpd, &m, &e);
	return m.id;
}

static void
passes_wait(unsigned more)
{
	unsigned n = qrig_events(&rig, EV_DELAY_PASS, NULL);

	QWAIT(&rig, qrig_events(&rig, EV_DELAY_PASS, NULL) >= n + more);
}

static const struct env_rcpt mixed[] = {
    {.addr = {"asks@a.test", 11},
	.orcpt = {"rfc822;x@y", 10},
	.notify = NOTIFY_FAILURE | NOTIFY_DELAY},
    {.addr = {"says@a.test", 11}},
    {.addr = {"fail@a.test", 11}, .notify = NOTIFY_FAILURE},
    {.addr = {"none@a.test", 11}, .notify = NOTIFY_NEVER},
};

START_TEST(test_delay_tells_who_asked_again_and_again)
{
	uint64_t id;

	life(QRIG_CONF SOON);
	qrig_ctl(&rig, "pause queue a.test");
	(void)submit("", mixed, 4, 0);
	(void)submit("s@here.test", mixed + 1, 3, 0);
	id = submit("s@here.test", mixed, 4, 0);
	QWAIT(&rig, delayed() == 1);
	ck_assert_uint_eq(said[0].id, id);
	ck_assert_uint_eq(said[0].idx, 0);
	ck_assert_uint_eq(
	    said[0].until_us, said[0].queued_us + (uint64_t)(72 * HOUR));
	ck_assert_str_eq(said[0].sender, "s@here.test");
	ck_assert_str_eq(said[0].rcpt, "asks@a.test");
	ck_assert_str_eq(said[0].orcpt, "rfc822;x@y");
	ck_assert_str_eq(said[0].envid, "e1");
	ck_assert_str_eq(said[0].src_mta, "client.test (192.0.2.9)");
	ck_assert_uint_eq(said[0].notify, NOTIFY_FAILURE | NOTIFY_DELAY);
	/* nobody was asked yet */
	ck_assert_str_eq(said[0].status, "4.4.7");
	ck_assert_str_eq(said[0].diag, "it is waiting for its delivery");
	ck_assert_str_eq(said[0].mta, "");
	ck_assert_uint_eq(said[0].tried_us, 0);
	QWAIT(&rig, delayed() == 3);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(said[i].id, id);
}
END_TEST

START_TEST(test_delay_tells_what_the_host_said)
{
	static const struct env_rcpt asks = {
	    .addr = {"r@there.test", 12}, .notify = NOTIFY_DELAY};
	uint64_t id;

	life(QRIG_CONF SOON "<domain *>\nretry-recipients-after 1h\n"
			    "</domain>\n");
	id = submit("s@here.test", &asks, 1, 0);
	qrig_deliver_wait(&rig, 1);
	ck_assert_uint_eq(rig.smtp.delivers[0].id, id);
	qrig_result(&rig, 0, OUT_TEMPORARY, 451, "4.7.1", "451 4.7.1 later");
	QWAIT(&rig, delayed() == 1);
	ck_assert_str_eq(said[0].status, "4.7.1");
	ck_assert_str_eq(said[0].diag, "451 4.7.1 later");
	ck_assert_ptr_nonnull(strstr(said[0].mta, " ("));
	ck_assert_uint_gt(said[0].tried_us, said[0].queued_us);
}
END_TEST

START_TEST(test_delay_unasked_is_told_where_configured)
{
	life(QRIG_CONF SOON UNASKED);
	qrig_ctl(&rig, "pause queue a.test");
	(void)submit("s@here.test", mixed, 4, 0);
	QWAIT(&rig, delayed() == 2);
	ck_assert_str_eq(said[0].rcpt, "asks@a.test");
	ck_assert_str_eq(said[1].rcpt, "says@a.test");
	ck_assert_uint_eq(said[1].notify, 0);
}
END_TEST

START_TEST(test_delay_nobody_asks_no_passes)
{
	qrig_hurry(4);
	life(QRIG_CONF SOON);
	qrig_hurry(0);
	qrig_ctl(&rig, "pause queue a.test");
	(void)submit("s@here.test", mixed + 2, 2, 0);
	(void)submit("", mixed, 4, 0);
	qrig_pass(&rig, 1500);
	ck_assert_uint_eq(qrig_events(&rig, EV_DELAY_PASS, NULL), 0);
	ck_assert_uint_eq(delayed(), 0);
}
END_TEST

/* The first pass after a start tells what came due meanwhile, once, and the
 * next start does not. */
START_TEST(test_delay_missed_while_down_is_told_once)
{
	life(QRIG_CONF LATE);
	qrig_ctl(&rig, "pause queue a.test");
	(void)submit("s@here.test", mixed, 4, 13 * HOUR);
	/* the first pass ever: since when, it does not know */
	passes_wait(1);
	ck_assert_uint_eq(delayed(), 0);
	ck_assert_int_eq(qrig_stop(&rig), 0);
	qlog_begin();
	qlog_add(EV_DELAY_PASS,
	    (union ev_any){.delay_pass = {
			       .time_us = (uint64_t)(clock_wall().us -
						     12 * HOUR)}});
	qlog_end();
	qrig_start(&rig, QRIG_CONF LATE);
	qrig_peers(&rig);
	qrig_go(&rig, 1);
	QWAIT(&rig, delayed() == 1);
	ck_assert_str_eq(said[0].rcpt, "asks@a.test");
	ck_assert(qrig_logged(&rig, "1 recipients are delayed"));
	/* killed or stopped, with a checkpoint that holds all of it */
	qrig_kill(&rig);
	qrig_start(&rig, QRIG_CONF LATE);
	qrig_peers(&rig);
	qrig_go(&rig, 1);
	passes_wait(1);
	life(QRIG_CONF LATE);
	passes_wait(1);
	ck_assert_uint_le(delayed(), 1); /* its file may be gone */
	ck_assert_uint_eq(
	    qrig_logged_times(&rig, "1 recipients are delayed"), 1);
}
END_TEST

/* It is not tried again before the next delay, and the pass comes to an end. */
START_TEST(test_delay_unreadable_record_is_said)
{
	life(QRIG_CONF SOON);
	qrig_ctl(&rig, "pause queue a.test");
	(void)submit("s@here.test", mixed, 1, 0);
	qrig_fault(QF_READ, "segments", EIO);
	QWAIT(&rig, qrig_logged(&rig, "the records cannot be read"));
	ck_assert_uint_eq(delayed(), 0);
	qrig_fault(QF_READ, "", 0);
	QWAIT(&rig, delayed() >= 1);
}
END_TEST

/* What cannot be logged waits. */
START_TEST(test_delay_log_that_cannot_be_written_is_waited_for)
{
	life(QRIG_CONF SOON);
	qrig_ctl(&rig, "pause queue a.test");
	(void)submit("s@here.test", mixed, 1, 0);
	passes_wait(1);
	qrig_fault(QF_WRITE, "events", EIO);
	QWAIT(&rig, qrig_logged(&rig, "the event log cannot be written"));
	qrig_pass(&rig, 3000);
	qrig_fault(QF_WRITE, "", 0);
	QWAIT(&rig, delayed() >= 2);
}
END_TEST

/* A warning is new mail: none while there is no room for any. */
START_TEST(test_delay_full_disk_is_waited_for)
{
	unsigned n;

	life(QRIG_CONF SOON);
	qrig_ctl(&rig, "pause queue a.test");
	(void)submit("s@here.test", mixed, 1, 0);
	passes_wait(1);
	qrig_fault(QF_SPACE, "", ENOSPC);
	QWAIT(&rig, qrig_logged(&rig, "new mail is refused"));
	n = delayed();
	qrig_pass(&rig, 3000);
	ck_assert_uint_eq(delayed(), n);
	qrig_fault(QF_SPACE, "", 0);
	QWAIT(&rig, delayed() >= n + 1);
}
END_TEST

/* ---- bounce ---- */

static void
take(uint64_t id, bool is_delayed)
{
	static const uint32_t idx[] = {0, 1, 2, 3, 9};
	unsigned n = rig.bounce.goes;

	ipc_send_bounce_take(rig.bounce.chan,
	    &(struct ipc_bounce_take){.token = 1,
		.id = id,
		.delayed = is_delayed,
		.rcpts = {.array = idx, .n = 5}});
	QWAIT(&rig, rig.bounce.goes == n + 1);
}

START_TEST(test_delay_bounce_is_told_of_what_waits)
{
	static const struct env_rcpt dsn_to = {.addr = {"s@here.test", 11}};
	struct envelope dsn = {
	    .sender = SV(""), .rcpts = &dsn_to, .nrcpts = 1};
	struct ipc_commit m;
	uint64_t id;

	qpeer_join(&rig, &rig.bounce, R_BOUNCE);
	qrig_ctl(&rig, "pause queue a.test");
	qrig_ctl(&rig, "pause queue here.test");
	id = submit("s@here.test", mixed, 4, 0);
	take(4711, true);
	ck_assert_uint_eq(rig.bounce.go_n, 0);
	take(id, false);
	ck_assert_uint_eq(rig.bounce.go_n, 0);
	take(id, true);
	ck_assert_uint_eq(rig.bounce.go_n, 4);
	/* on hold it waits, too */
	qrig_ctl(&rig, "hold --queue=a.test --rcpt=asks@a.test --yes");
	ck_assert_uint_eq(rig.ctl_status, 0);
	qrig_ctl(&rig, "show status");
	ck_assert_int_eq(qrig_number(&rig, "hold"), 1);
	qrig_ctl(&rig, "delete --queue=a.test --rcpt=says@a.test --yes");
	take(id, true);
	ck_assert_uint_eq(rig.bounce.go_n, 3);
	/* a DSN that is the end of nothing */
	ipc_send_seg_want(rig.bounce.chan, &(struct ipc_seg_want){});
	QWAIT(&rig, rig.bounce.grants == 1);
	qpeer_write(&rig.bounce, &dsn, 0, &m);
	qpeer_commit(&rig.bounce, &m, &dsn);
	QWAIT(&rig, qrig_events(&rig, EV_ACCEPT, NULL) == 2);
	ck_assert_uint_eq(qrig_events(&rig, EV_BOUNCED, NULL), 0);
	take(id, true);
	ck_assert_uint_eq(rig.bounce.go_n, 3);
}
END_TEST

void
qmgr_tests_delays(Suite *s)
{
	TCase *tc = qrig_tcase(s, "delays");

	tcase_add_test(tc, test_delay_tells_who_asked_again_and_again);
	tcase_add_test(tc, test_delay_tells_what_the_host_said);
	tcase_add_test(tc, test_delay_unasked_is_told_where_configured);
	tcase_add_test(tc, test_delay_nobody_asks_no_passes);
	tcase_add_test(tc, test_delay_missed_while_down_is_told_once);
	tcase_add_test(tc, test_delay_unreadable_record_is_said);
	tcase_add_test(
	    tc, test_delay_log_that_cannot_be_written_is_waited_for);
	tcase_add_test(tc, test_delay_full_disk_is_waited_for);
	tcase_add_test(tc, test_delay_bounce_is_told_of_what_waits);
}
