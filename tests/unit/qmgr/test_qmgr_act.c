/* SPDX-License-Identifier: ISC */
/* The operator's commands: what is done to recipients. */
#include <errno.h>
#include <unistd.h>

#include "common/base/msgid.h"
#include "tests/unit/qmgr/qrig_ctl.h"

/* What is there and what comes, over a restart, until it is ended. */
START_TEST(test_standing_hold_takes_what_comes)
{
	const char *rows;

	qrig_ctl(&rig, "pause queue *.test");
	qrig_ctl(&rig, "pause queue a.test");
	submit_one("r@a.test");
	QWAIT(&rig, view_of("delivery") == 1);
	qrig_ctl(&rig, "hold --standing domain=a* --reason=incident");
	ck_assert_str_eq(rig.ctl_text,
	    "1 recipients put on hold, and what comes: standing order 1");
	submit_one("r@a2.test");
	submit_one("r@b.test");
	QWAIT(&rig, view_of("hold") == 2);
	QWAIT(&rig, rig.smtp.nopens == 1); /* b.test goes */
	rows = qrig_ctl(&rig, "show orders");
	ck_assert_msg(strstr(rows, "\"order\":1,\"action\":\"hold\","
	    "\"domain\":\"a*\",\"vmta\":\"\",\"job\":\"\"") != NULL, "%s",
	    rows);
	ck_assert(strstr(rows, "\"until\":null,\"taken\":1,"
	    "\"reason\":\"incident\"") != NULL);
	rows = qrig_ctl(&rig, "list --queue=a2.test");
	ck_assert_msg(strstr(rows, "incident") != NULL, "%s", rows);
	/* by the log, then by the checkpoint of that start */
	for (int i = 0; i < 2; i++) {
		qrig_kill(&rig);
		qrig_start(&rig, QRIG_CONF);
		qrig_peers(&rig);
		qrig_go(&rig, 1);
		submit_one("r@a.test");
		QWAIT(&rig, view_of("hold") == 3 + i);
		QWAIT(&rig, qrig_logged(&rig, "checkpoint"));
	}
	qrig_ctl(&rig, "release --order=1");
	ck_assert_str_eq(rig.ctl_text, "4 recipients released");
	ck_assert_int_eq(view_of("hold"), 0);
	ck_assert_str_eq(qrig_ctl(&rig, "show orders"), "");
	submit_one("r@a2.test");
	QWAIT(&rig, qrig_events(&rig, EV_ACCEPT, NULL) == 6);
	ck_assert_int_eq(view_of("hold"), 0);
}
END_TEST

START_TEST(test_standing_bounce_and_its_time)
{
	qrig_kill(&rig);
	qrig_hurry(4);
	qrig_start(&rig, QRIG_CONF);
	qrig_peers(&rig);
	qrig_go(&rig, 1);
	/* without --yes nothing stands */
	qrig_ctl(&rig, "bounce --standing domain=a.test");
	ck_assert_str_eq(qrig_ctl(&rig, "show orders"), "");
	qrig_ctl(&rig, "bounce --standing domain=a.test --reason=gone "
	    "--for=2s --yes");
	ck_assert_uint_eq(rig.ctl_status, 0);
	submit_one("r@a.test");
	QWAIT(&rig, view_of("bounce") == 1);
	ck_assert_uint_eq(qrig_events(&rig, EV_ATTEMPT, NULL), 1);
	QWAIT(&rig, qrig_logged(&rig, "standing order 1 has ended"));
	ck_assert_str_eq(qrig_ctl(&rig, "show orders"), "");
	submit_one("r@a.test");
	qrig_deliver_wait(&rig, 1);
}
END_TEST

START_TEST(test_job_is_paused_and_resumed)
{
	qrig_ctl(&rig, "pause job j1"); /* that of all that is submitted */
	ck_assert_uint_eq(rig.ctl_status, 0);
	submit_one("r@a.test");
	QWAIT(&rig, view_of("hold") == 1);
	qrig_ctl(&rig, "pause job j1");
	ck_assert_str_eq(rig.ctl_text, "paused already: standing order 1");
	qrig_ctl(&rig, "resume job other");
	ck_assert_uint_eq(rig.ctl_status, 1);
	qrig_ctl(&rig, "pause job");
	ck_assert_uint_eq(rig.ctl_status, 2);
	qrig_ctl(&rig, "resume job");
	ck_assert_uint_eq(rig.ctl_status, 2);
	qrig_ctl(&rig, "resume job j1");
	ck_assert_str_eq(rig.ctl_text, "1 recipients released");
	submit_one("r@a.test");
	qrig_deliver_wait(&rig, 1);
	ck_assert_int_eq(view_of("hold"), 0);
}
END_TEST

START_TEST(test_standing_has_its_limits)
{
	char words[64];

	qrig_ctl(&rig, "hold --standing --id=0000000000001");
	ck_assert_str_eq(rig.ctl_text,
	    "a standing order is for queues and jobs only");
	qrig_ctl(&rig, "hold --standing a.test --orig=x@y.test");
	ck_assert_uint_eq(rig.ctl_status, 1);
	qrig_ctl(&rig, "hold --standing");
	ck_assert_uint_eq(rig.ctl_status, 2);
	qrig_ctl(&rig, "hold a.test --for=4h");
	ck_assert_str_eq(rig.ctl_text,
	    "--for is for standing orders: --standing --for=4h");
	qrig_ctl(&rig, "bounce a.test --for=4h --yes");
	ck_assert_uint_eq(rig.ctl_status, 2);
	qrig_ctl(&rig, "hold --standing a.test --for=0s");
	ck_assert_uint_eq(rig.ctl_status, 2);
	for (int i = 0; i < 64; i++) {
		snprintf(words, sizeof(words), "hold --standing d%d.test", i);
		qrig_ctl(&rig, words);
		ck_assert_uint_eq(rig.ctl_status, 0);
	}
	qrig_ctl(&rig, "hold --standing e.test");
	ck_assert_str_eq(rig.ctl_text,
	    "there are 64 standing orders already");
	qrig_ctl(&rig, "release --order=2");
	qrig_ctl(&rig, "hold --standing e.test");
	ck_assert_uint_eq(rig.ctl_status, 0);
}
END_TEST

START_TEST(test_ctl_delete_counts_then_deletes)
{
	char cmd[64], id[MSGID_TEXT];
	uint64_t ids[3], got = 0;
	const char *rows;

	three_waiting(ids);
	rows = qrig_ctl(&rig, "delete a.test");
	has(rows, "\"rcp\":2");
	has(rows, "\"deleted\":false");
	ck_assert_uint_eq(qrig_events(&rig, EV_DELETE, NULL), 0);
	rows = qrig_ctl(&rig, "delete --jobId=j1 --older-than=1h --yes");
	has(rows, "\"rcp\":0");
	rows = qrig_ctl(&rig, "delete a.test --rcpt=two@* --yes");
	has(rows, "\"rcp\":1");
	has(rows, "\"deleted\":true");
	QWAIT(&rig, qrig_events(&rig, EV_DELETE, &got) == 1);
	ck_assert_uint_eq(got, ids[1]);
	snprintf(
	    cmd, sizeof(cmd), "delete --id=%s --yes", msgid_format(ids[2], id));
	rows = qrig_ctl(&rig, cmd);
	has(rows, "\"rcp\":1");
	/* what cannot be read does not match */
	qrig_fault(QF_READ, "segments", EIO);
	rows = qrig_ctl(&rig, "delete a.test --orig=* --yes");
	has(rows, "\"rcp\":0");
	qrig_fault(QF_READ, "", 0);
	rows = qrig_ctl(&rig, "delete a.test --orig=* --jobId=j* --yes");
	has(rows, "\"rcp\":1");
	qrig_ctl(&rig, "show status");
	ck_assert_int_eq(qrig_number(&rig, "msg"), 3); /* traffic in */
	says("list", "0 recipients");
	ck_assert_int_eq(qrig_stop(&rig), 0);
	qrig_start(&rig, QRIG_CONF);
	ck_assert(qrig_logged(&rig, "recovered: 0 messages"));
}
END_TEST

#define TRASH_CONF(ttl)                                                        \
	"host-name q.test\ntrash-ttl " ttl "\n"                                \
	"<domain *>\nmax-smtp-out 1\nretry-after 1h\n"                         \
	"retry-recipients-after 1h\n</domain>\n"

/* One of each state goes and comes back as it was, over a crash (the log) and a
 * stop (the checkpoint). */
START_TEST(test_ctl_undo_brings_back_what_was_deleted)
{
	char next[64] = "", *at;
	const char *rows;
	unsigned n;

	qrig_again(&rig, STOPPED, TRASH_CONF("1h"));
	says("undo", "the trash is empty");
	n = qrig_deliver(&rig, "s@here.test", "tried@there.test", NULL);
	qrig_result(&rig, n, OUT_TEMPORARY, 450, "4.2.0", "450 later");
	QWAIT(&rig, rig.smtp.acked == 1);
	ends("pause queue there.test", 0);
	(void)qrig_submit(&rig, "s@here.test", "held@there.test");
	(void)qrig_submit(&rig, "s@here.test", "fresh@there.test");
	QWAIT(&rig, strstr(qrig_ctl(&rig, "list"), "fresh@") != NULL);
	says("hold there.test --rcpt=held@* --reason=abuse",
	    "1 recipients put on hold");
	rows = qrig_ctl(&rig, "list --rcpt=tried@*");
	at = strstr(rows, "\"nextTry\":");
	ck_assert_ptr_nonnull(at);
	snprintf(next, sizeof(next), "%.32s", at);
	has(next, "T");
	rows = qrig_ctl(&rig, "delete there.test");
	has(rows, "\"sample\":[{");
	has(rows, "tried@there.test");
	says("show trash", "0 deletions that can be undone");
	rows = qrig_ctl(&rig, "delete there.test --yes");
	has(rows, "\"rcp\":3");
	has(rows, "\"deletion\":1");
	for (int i = 0; i < 3; i++) {
		says("list", "0 recipients");
		rows = qrig_ctl(&rig, "show queues there.test");
		has(rows, "\"rcp\":0");
		has(rows, "\"kb\":0");
		rows = qrig_ctl(&rig, "show trash");
		has(rows, "\"command\":\"delete there.test --yes\"");
		ck_assert_int_eq(qrig_number(&rig, "rcp"), 3);
		says("release there.test", "0 recipients released");
		has(qrig_ctl(&rig, "delete there.test --yes"), "\"rcp\":0");
		qrig_again(&rig, i == 0 ? KILLED : STOPPED, TRASH_CONF("1h"));
	}
	says("undo 7", "that deletion is not in the trash");
	ends("undo x", 2);
	says("undo", "3 recipients brought back");
	for (int i = 0; i < 2; i++) {
		rows = qrig_ctl(&rig, "list --rcpt=tried@*");
		has(rows, "\"state\":\"retry\",\"attempts\":1");
		/* to the second that the two clocks may differ by */
		next[strlen(next) - 3] = '\0';
		has(rows, next);
		rows = qrig_ctl(&rig, "list --rcpt=held@*");
		has(rows, "\"state\":\"hold\"");
		has(rows, "\"reason\":\"abuse\"");
		has(qrig_ctl(&rig, "list --rcpt=fresh@*"),
		    "\"state\":\"ready\",\"attempts\":0");
		says("show trash", "0 deletions that can be undone");
		qrig_again(&rig, i == 0 ? KILLED : STOPPED, TRASH_CONF("1h"));
	}
}
END_TEST

START_TEST(test_ctl_trash_ends_and_gives_its_space_back)
{
	qrig_again(&rig, STOPPED, TRASH_CONF("2s"));
	ends("pause queue a.test", 0);
	(void)qrig_submit(&rig, "s@here.test", "one@a.test");
	(void)qrig_submit(&rig, "s@here.test", "two@a.test");
	QWAIT(&rig, strstr(qrig_ctl(&rig, "list"), "two@") != NULL);
	ends("delete a.test --rcpt=one@* --no-trash --yes", 0);
	ck_assert_uint_eq(qrig_events(&rig, EV_DELETE, NULL), 1);
	says("show trash", "0 deletions that can be undone");
	ends("delete a.test --yes", 0);
	says("show trash", "1 deletions that can be undone");
	ck_assert_uint_eq(qrig_events(&rig, EV_DELETE, NULL), 1);
	QWAIT(&rig, qrig_events(&rig, EV_DELETE, NULL) == 2);
	says("show trash", "0 deletions that can be undone");
	says("undo", "the trash is empty");
	qrig_again(&rig, STOPPED, TRASH_CONF("2s"));
	ck_assert(qrig_logged(&rig, "recovered: 0 messages"));
}
END_TEST

START_TEST(test_ctl_delete_leaves_what_a_worker_has)
{
	const char *rows;

	qrig_deliver(&rig, "s@here.test", "r@there.test", NULL);
	rows = qrig_ctl(&rig, "delete there.test --yes");
	has(rows, "\"rcp\":0");
	has(rows, "\"inflight\":1");
	qrig_result(&rig, 0, OUT_DELIVERED, 250, "2.0.0", "250 ok");
	QWAIT(&rig, rig.smtp.acked == 1);
}
END_TEST

/* Two orders; through the log, through the checkpoint of the start, through
 * that of a stop. */
START_TEST(test_ctl_hold_keeps_reason_and_who)
{
	char show[64], id[MSGID_TEXT];
	uint64_t ids[3];
	const char *rows;

	three_waiting(ids);
	says("hold a.test --rcpt=one@* --reason=abuse",
	    "1 recipients put on hold");
	says("hold a.test --reason=unsure", "1 recipients put on hold");
	qrig_ctl(&rig, "resume queue *");
	QWAIT(&rig, rig.smtp.nopens == 1);
	ck_assert_str_eq(rig.smtp.opens[0].queue, "b.test/{default}");
	for (int i = 0; i < 4; i++) {
		rows = qrig_ctl(&rig, "show queues a.test");
		has(rows, "\"hold\":2");
		snprintf(show, sizeof(show), "show message %s",
		    msgid_format(ids[0], id));
		rows = qrig_ctl(&rig, show);
		has(rows, "\"state\":\"hold\"");
		has(rows, "\"reason\":\"abuse\"");
		has(rows, "\"heldBy\":\"uid ");
		ck_assert_ptr_null(strstr(rows, "\"heldAt\":null"));
		snprintf(show, sizeof(show), "show message %s",
		    msgid_format(ids[1], id));
		has(qrig_ctl(&rig, show), "\"reason\":\"unsure\"");
		usleep(i == 1 ? 300000 : 0); /* for the checkpoint */
		qrig_again(&rig, i < 2 ? KILLED : STOPPED, QRIG_CONF);
	}
	/* a new order does not take an old one's number */
	(void)qrig_submit(&rig, "s@here.test", "late@late.test");
	says("hold late.test --reason=third", "1 recipients put on hold");
	has(qrig_ctl(&rig, show), "\"reason\":\"unsure\"");
	says("release a.test --rcpt=two@*", "1 recipients released");
	QWAIT(&rig, strstr(qrig_ctl(&rig, "list a.test --rcpt=two@*"),
	    "\"state\":\"hold\"") == NULL);
	has(qrig_ctl(&rig, "show queues a.test"), "\"hold\":1");
}
END_TEST

START_TEST(test_ctl_hold_waits_for_what_is_in_flight)
{
	unsigned n = qrig_deliver(&rig, "s@here.test", "r@there.test", NULL);

	says("hold there.test --reason=unsure", "1 recipients put on hold");
	has(qrig_ctl(&rig, "list there.test"), "\"state\":\"inflight\"");
	qrig_result(&rig, n, OUT_TEMPORARY, 450, "4.2.0", "450 later");
	QWAIT(&rig, rig.smtp.acked == 1);
	has(qrig_ctl(&rig, "list there.test"), "\"state\":\"hold\"");
	has(qrig_ctl(&rig, "list there.test"), "\"reason\":\"unsure\"");
	qrig_again(&rig, KILLED, QRIG_CONF);
	has(qrig_ctl(&rig, "list there.test"), "\"reason\":\"unsure\"");
}
END_TEST

START_TEST(test_ctl_bounce_tells_the_sender)
{
	uint64_t ids[3];
	const char *rows;

	three_waiting(ids);
	rows = qrig_ctl(&rig, "bounce a.test --reason=abuse");
	has(rows, "\"rcp\":2");
	has(rows, "\"bounced\":false");
	ck_assert_uint_eq(qrig_events(&rig, EV_ATTEMPT, NULL), 0);
	says("hold a.test --rcpt=two@*", "1 recipients put on hold");
	rows = qrig_ctl(&rig, "bounce a.test --reason=abuse --yes");
	has(rows, "\"rcp\":2");
	has(rows, "\"bounced\":true");
	QWAIT(&rig, qrig_events(&rig, EV_ATTEMPT, NULL) == 2);
	has(qrig_ctl(&rig, "show queues a.test"), "\"bounce\":2");
	/* not twice */
	has(qrig_ctl(&rig, "bounce a.test --yes"), "\"rcp\":0");
	has(qrig_ctl(&rig, "show queues b.test"), "\"ready\":1");
	/* what cannot be read is not given up, nor counted */
	qrig_fault(QF_READ, "segments", EIO);
	rows = qrig_ctl(&rig, "bounce b.test --yes");
	has(rows, "\"rcp\":0");
	qrig_fault(QF_READ, "", 0);
	has(qrig_ctl(&rig, "show queues b.test"), "\"ready\":1");
	/* deleting spares the sender the DSN */
	has(qrig_ctl(&rig, "delete a.test --yes"), "\"rcp\":2");
	says("list a.test", "0 recipients");
}
END_TEST

START_TEST(test_ctl_schedule_ends_the_wait)
{
	unsigned n = qrig_deliver(&rig, "s@here.test", "r@there.test", NULL);

	qrig_conf(&rig, "host-name q.test\n"
			"<domain *>\nretry-recipients-after 1h\n</domain>\n");
	qrig_result(&rig, n, OUT_TEMPORARY, 450, "4.2.0", "450 later");
	QWAIT(&rig, rig.smtp.acked == 1);
	has(qrig_ctl(&rig, "show queues there.test"), "\"retry\":1");
	has(qrig_ctl(&rig, "list there.test"), "\"state\":\"retry\"");
	says("schedule there.test --retry-recipients", "1 queues scheduled");
	qrig_deliver_wait(&rig, 2);
}
END_TEST

void
qmgr_tests_act(Suite *s)
{
	TCase *tc = qrig_tcase(s, "control");

	tcase_add_test(tc, test_standing_hold_takes_what_comes);
	tcase_add_test(tc, test_standing_bounce_and_its_time);
	tcase_add_test(tc, test_job_is_paused_and_resumed);
	tcase_add_test(tc, test_standing_has_its_limits);
	tcase_add_test(tc, test_ctl_delete_counts_then_deletes);
	tcase_add_test(tc, test_ctl_undo_brings_back_what_was_deleted);
	tcase_add_test(tc, test_ctl_trash_ends_and_gives_its_space_back);
	tcase_add_test(tc, test_ctl_delete_leaves_what_a_worker_has);
	tcase_add_test(tc, test_ctl_hold_keeps_reason_and_who);
	tcase_add_test(tc, test_ctl_hold_waits_for_what_is_in_flight);
	tcase_add_test(tc, test_ctl_bounce_tells_the_sender);
	tcase_add_test(tc, test_ctl_schedule_ends_the_wait);
}
