/* SPDX-License-Identifier: ISC */
/* The operator's commands: what they may, what outlives a restart. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "common/mail/ctl_headers.h"
#include "tests/unit/qmgr/qrig_ctl.h"

/* What changes something is in the audit log, over a restart; what only looks,
 * or would change something, is not. */
START_TEST(test_audit_has_every_change)
{
	const char *rows;
	char last[64];
	int fd;

	qrig_ctl(&rig, "show status");
	qrig_ctl(&rig, "show audit");
	ck_assert_str_eq(rig.ctl_text, "0 commands");
	qrig_ctl(&rig, "pause queue a.test");
	qrig_ctl(&rig, "set queue a.test --mode=fast"); /* refused */
	(void)qrig_submit(&rig, "s@here.test", "r@a.test");
	QWAIT(&rig, qrig_ctl(&rig, "show status") != NULL &&
	    qrig_number(&rig, "delivery") == 1);
	qrig_ctl(&rig, "delete --queue=a.test");
	qrig_ctl(&rig, "delete --queue=a.test --yes");
	rows = qrig_ctl(&rig, "show audit");
	ck_assert_msg(strstr(rows, "\"command\":\"pause queue a.test\","
	    "\"result\":\"done\",\"text\":\"1 queues paused\"") != NULL,
	    "%s", rows);
	ck_assert(strstr(rows, "--mode=fast\",\"result\":\"misuse\"") != NULL);
	ck_assert(strstr(rows, "--yes\",\"result\":\"done\","
	    "\"text\":\"1 recipients deleted\"") != NULL);
	ck_assert_str_eq(rig.ctl_text, "3 commands");
	snprintf(last, sizeof(last), "\"uid\":%u,", (unsigned)getuid());
	ck_assert(strstr(rows, last) != NULL);
	rows = qrig_ctl(&rig, "show audit --maxitems=1");
	ck_assert(strstr(rows, "--yes") != NULL);
	ck_assert(strstr(rows, "pause") == NULL);
	qrig_kill(&rig);
	/* cut by the crash */
	fd = openat(rig.spool, "audit.log", O_WRONLY | O_APPEND);
	ck_assert_int_eq(write(fd, "{\"time\":", 8), 8);
	close(fd);
	qrig_start(&rig, QRIG_CONF);
	qrig_ctl(&rig, "resume queue a.test");
	rows = qrig_ctl(&rig, "show audit");
	ck_assert_str_eq(rig.ctl_text, "4 commands");
	ck_assert(strstr(rows, "resume queue") != NULL);
}
END_TEST

START_TEST(test_audit_begins_anew_and_bears_errors)
{
	const char *rows;
	int fd = openat(rig.spool, "audit.log", O_WRONLY | O_CREAT, 0600);

	/* room for one more line */
	ck_assert_int_eq(pwrite(fd, "\n", 1, (4 << 20) - 200), 1);
	close(fd);
	qrig_ctl(&rig, "pause queue a.test");
	ck_assert_int_ne(faccessat(rig.spool, "audit.old", F_OK, 0), 0);
	/* it becomes the old one, and both are shown */
	qrig_ctl(&rig, "resume queue a.test");
	rows = qrig_ctl(&rig, "show audit");
	ck_assert_msg(lines_of(rows) == 2, "%s", rows);
	ck_assert(strstr(rows, "pause") < strstr(rows, "resume"));
	ck_assert_int_eq(faccessat(rig.spool, "audit.old", F_OK, 0), 0);
	qrig_fault_once(0, QF_WRITE, "audit.log", ENOSPC);
	qrig_ctl(&rig, "pause queue a.test");
	ck_assert_uint_eq(rig.ctl_status, 0);
	ck_assert(qrig_logged(&rig, "audit.log cannot be written: No space"));
	qrig_fault(QF_OPEN, "audit.log", EIO);
	qrig_ctl(&rig, "pause queue b.test");
	ck_assert_uint_eq(rig.ctl_status, 0);
	ck_assert_uint_eq(qrig_logged_times(&rig, "audit.log cannot be"), 2);
	qrig_fault(QF_OPEN, "", 0);
	qrig_ctl(&rig, "pause queue c.test");
	rows = qrig_ctl(&rig, "show audit");
	ck_assert_msg(lines_of(rows) == 3, "%s", rows);
	ck_assert(strstr(rows, "pause queue c.test") != NULL);
}
END_TEST

static void
vmta_unknown(const char *name, enum vmta_taken how)
{
	ipc_send_vmta_unknown(rig.smtpd.chan,
	    &(struct ipc_vmta_unknown){.name = sv_from(name),
		.client_ip = SV("192.0.2.7"),
		.taken = (uint8_t)how});
}

/* A VMTA that clients name and that does not exist is counted and shown; of
 * the names the last ones. */
START_TEST(test_status_shows_unknown_vmtas)
{
	const char *rows;
	char name[16];

	vmta_unknown("nope", VMTA_REFUSED);
	vmta_unknown("NOPE", VMTA_DEFAULT);
	vmta_unknown("\xff", VMTA_FALLBACK);
	vmta_unknown("x", VMTA_TAKEN); /* makes no sense */
	QWAIT(&rig, qrig_ctl(&rig, "show status") != NULL &&
	    qrig_number(&rig, "toFallback") == 1);
	ck_assert_int_eq(qrig_number(&rig, "refused"), 1);
	ck_assert_int_eq(qrig_number(&rig, "toDefault"), 1);
	rows = qrig_ctl(&rig, "show status");
	ck_assert_msg(strstr(rows, "\"name\":\"NOPE\",\"count\":2") != NULL,
	    "%s", rows);
	ck_assert(strstr(rows, "\"client\":\"192.0.2.7\"") != NULL);
	for (int i = 0; i < 16; i++) {
		snprintf(name, sizeof(name), "other%d", i);
		vmta_unknown(name, VMTA_REFUSED);
	}
	QWAIT(&rig, qrig_ctl(&rig, "show status") != NULL &&
	    qrig_number(&rig, "refused") == 17);
	ck_assert(strstr(qrig_ctl(&rig, "show status"), "NOPE") == NULL);
	qrig_ctl(&rig, "reset counters");
	ck_assert_uint_eq(rig.ctl_status, 0);
	rows = qrig_ctl(&rig, "show status");
	ck_assert_int_eq(qrig_number(&rig, "refused"), 0);
	ck_assert(strstr(rows, "other") == NULL);
}
END_TEST

START_TEST(test_ctl_wrong_commands_are_misuse)
{
	static const char *const wrong[] = {
	    "dance",
	    "show",
	    "show message",
	    "show message 123",
	    "show queues --maxitems=x",
	    "show queues --no-such",
	    "delete --id=x",
	    "delete --older-than=x --jobId=1",
	    "delete",
	    "delete  --yes",
	    "delete --queue= --yes",
	    "delete domain= --yes",
	    "pause queue ",
	    "pause queue",
	    "resume queue",
	    "hold",
	    "bounce --yes",
	    "set queue a.test",
	    "set queue --mode=backoff",
	    "set queue --mode=other a.test",
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		qrig_ctl(&rig, wrong[i]);
		ck_assert_msg(rig.ctl_status == 2, "%s: %u %s", wrong[i],
		    rig.ctl_status, rig.ctl_text);
		ck_assert_uint_gt(strlen(rig.ctl_text), 0);
	}
	ends("show message 0000000000101", 1);
	ends("pause queue *.nowhere.test", 1);
}
END_TEST

START_TEST(test_ctl_pause_survives_and_resume_moves)
{
	uint64_t ids[3];
	const char *rows;

	three_waiting(ids);
	ck_assert_int_eq(qrig_stop(&rig), 0);
	qrig_start(&rig, QRIG_CONF);
	qrig_peers(&rig);
	qrig_go(&rig, 1);
	rows = qrig_ctl(&rig, "show queues --paused=yes");
	has(rows, "a.test/{default}");
	has(rows, "b.test/{default}");
	ck_assert_uint_eq(rig.smtp.nopens, 0);
	ends("resume queue b.test", 0);
	QWAIT(&rig, rig.smtp.nopens == 1);
	ck_assert_str_eq(rig.smtp.opens[0].queue, "b.test/{default}");
}
END_TEST

/* By the attempts in the log, then by the checkpoint that a start makes, then by
 * what is written at a stop. */
START_TEST(test_ctl_rates_survive)
{
	unsigned n;

	ck_assert_int_eq(qrig_stop(&rig), 0);
	qrig_start(&rig, RATE_CONF);
	qrig_peers(&rig);
	qrig_go(&rig, 1);
	n = qrig_deliver(&rig, "s@here.test", "r1@there.test", NULL);
	qrig_result(&rig, n, OUT_DELIVERED, 250, "2.0.0", "250 ok");
	QWAIT(&rig, rig.smtp.acked == 1);
	for (int i = 0; i < 4; i++) {
		usleep(i == 1 ? 300000 : 0); /* for the checkpoint */
		if (i < 2)
			qrig_kill(&rig);
		else
			ck_assert_int_eq(qrig_stop(&rig), 0);
		qrig_start(&rig, RATE_CONF);
		qrig_peers(&rig);
		qrig_go(&rig, 1);
		if (i == 0)
			(void)qrig_submit(&rig, "s@here.test",
			    "r2@there.test");
		QWAIT(&rig, strstr(qrig_ctl(&rig, "show queues there.test"),
		    "\"why\":\"message-rate\"") != NULL);
		ck_assert_uint_eq(rig.smtp.nopens, 0);
	}
}
END_TEST

/* Through the log, then through the checkpoint. */
START_TEST(test_ctl_mode_survives_beside_pause)
{
	uint64_t ids[3];
	const char *rows;

	three_waiting(ids);
	qrig_ctl(&rig, "set queue --mode=backoff a.test");
	ck_assert_uint_eq(rig.ctl_status, 0);
	qrig_ctl(&rig, "set queue mode=backoff later.test/{default}");
	ck_assert_str_eq(rig.ctl_text, "1 queues in mode backoff");
	for (int i = 0; i < 2; i++) {
		if (i == 0)
			qrig_kill(&rig);
		else
			ck_assert_int_eq(qrig_stop(&rig), 0);
		qrig_start(&rig, QRIG_CONF);
		qrig_peers(&rig);
		qrig_go(&rig, 1);
		rows = qrig_ctl(&rig, "show queues --mode=backoff");
		has(rows, "a.test/{default}");
		has(rows, "later.test/{default}");
		ck_assert_ptr_null(strstr(rows, "b.test/"));
		rows = qrig_ctl(&rig, "show queues --paused=yes");
		has(rows, "a.test/{default}");
		has(rows, "b.test/{default}");
		ck_assert_ptr_null(strstr(rows, "later.test/"));
	}
	qrig_ctl(&rig, "set queue --mode=normal *");
	rows = qrig_ctl(&rig, "show queues --mode=backoff");
	ck_assert_ptr_null(strstr(rows, "test/"));
	has(qrig_ctl(&rig, "show queues --paused=yes"), "a.test/{default}");
}
END_TEST

#define REPLY_CONF \
	QRIG_CONF "<smtp-pattern-list p>\n" \
	"reply /slow down/ mode=backoff,for=1h\n" \
	"reply /no mailbox/ bounce-rcpt\n" \
	"</smtp-pattern-list>\n<domain *>\nsmtp-pattern-list p\n" \
	"retry-recipients-after 1h\n</domain>\n"

START_TEST(test_ctl_replies_act_and_are_remembered)
{
	unsigned n;

	qrig_again(&rig, STOPPED, REPLY_CONF);
	n = qrig_deliver(&rig, "s@here.test", "r1@there.test", NULL);
	qrig_result(&rig, n, OUT_TEMPORARY, 450, "4.7.0", "450 slow down");
	QWAIT(&rig, rig.smtp.acked == 1);
	QWAIT(&rig, strstr(qrig_ctl(&rig, "show queues --mode=backoff"),
	    "there.test/{default}") != NULL);
	ck_assert(qrig_logged(&rig, "there.test/{default}: mode backoff by"));
	qrig_kill(&rig);
	qrig_start(&rig, REPLY_CONF);
	qrig_peers(&rig);
	qrig_go(&rig, 1);
	has(qrig_ctl(&rig, "show queues --mode=backoff"),
	    "there.test/{default}");
	/* a 4xx that is to be a bounce */
	n = qrig_deliver(&rig, "s@here.test", "r2@other.test", NULL);
	qrig_result(&rig, n, OUT_TEMPORARY, 450, "4.2.0", "450 no mailbox");
	QWAIT(&rig, rig.smtp.acked == 1);
	has(qrig_ctl(&rig, "show queues other.test"), "\"bounce\":1");
}
END_TEST

/* 3 to 1, mixed; a pool that is not there has nobody. */
START_TEST(test_pool_members_take_turns_by_weight)
{
	static struct qmgr q;
	struct conf_report rep;
	struct conf *c;
	unsigned n[2] = { 0, 0 }, row = 0, most = 0;

	conf_report_init(&rep);
	c = conf_parse("t", SV("<virtual-mta v1>\n</virtual-mta>\n"
	    "<virtual-mta v2>\n</virtual-mta>\n"
	    "<virtual-mta-pool p>\nvirtual-mta v1 weight=3\n"
	    "virtual-mta v2\n</virtual-mta-pool>\n"), &rep);
	ck_assert_ptr_nonnull(c);
	q.conf = c;
	for (int i = 0; i < 40; i++) {
		bool second = sv_eq(pool_pick(&q, SV("P")), SV("v2"));

		n[second]++;
		row = second ? 0 : row + 1;
		most = row > most ? row : most;
	}
	ck_assert_uint_eq(n[0], 30);
	ck_assert_uint_eq(n[1], 10);
	ck_assert_uint_le(most, 3);
	ck_assert_uint_eq(pool_pick(&q, SV("v1")).n, 0);
	pools_forget(&q);
	conf_free(&c);
	conf_report_fini(&rep);
}
END_TEST

#define POOL_CONF(members)                                                     \
	QRIG_CONF "<virtual-mta v1>\n</virtual-mta>\n"                         \
		  "<virtual-mta v2>\n</virtual-mta>\n"                         \
		  "<virtual-mta v3>\n</virtual-mta>\n"                         \
		  "<virtual-mta-pool p>\n" members "</virtual-mta-pool>\n"

/* New members have no credit from the old ones. */
START_TEST(test_pool_is_another_after_a_reload)
{
	qrig_conf(&rig, POOL_CONF("virtual-mta v1\n"));
	ends("pause queue *.test/*", 1);
	ends("pause queue a.test/v1", 0);
	ends("pause queue a.test/v2", 0);
	ends("pause queue a.test/v3", 0);
	rig.vmta = "p";
	(void)qrig_submit(&rig, "s@here.test", "r@a.test");
	QWAIT(&rig, (qrig_ctl(&rig, "list a.test/v1"),
			strcmp(rig.ctl_text, "1 recipients") == 0));
	qrig_conf(&rig, POOL_CONF("virtual-mta v2\nvirtual-mta v3\n"));
	for (int i = 0; i < 4; i++)
		(void)qrig_submit(&rig, "s@here.test", "r@a.test");
	QWAIT(&rig, (qrig_ctl(&rig, "list a.test"),
			strcmp(rig.ctl_text, "5 recipients") == 0));
	says("list a.test/v1", "1 recipients");
	says("list a.test/v2", "2 recipients");
	says("list a.test/v3", "2 recipients");
}
END_TEST

START_TEST(test_ctl_config_and_version_are_shown)
{
	has(qrig_ctl(&rig, "show version"), "\"name\":\"Pinnace\"");
	has(qrig_ctl(&rig, "show config"), "max-smtp-out");
	has(qrig_ctl(&rig, "show config --defaults"), "total-max-smtp-in");
}
END_TEST

START_TEST(test_ctl_reload_is_the_masters)
{
	qrig_ctl_send(&rig, "reload");
	QWAIT(&rig, rig.command_token != 0);
	ck_assert_str_eq(rig.command, "reload");
	/* an answer to nobody, then ours */
	ipc_send_master_reply(
	    rig.master, &(struct ipc_master_reply){
			    .token = 4711, .ok = 1, .text = SV("?")});
	ipc_send_master_reply(rig.master,
	    &(struct ipc_master_reply){
		.token = rig.command_token, .ok = 0, .text = SV("line 7")});
	QWAIT(&rig, rig.ctl_end);
	ck_assert_uint_eq(rig.ctl_status, 1);
	ck_assert_str_eq(rig.ctl_text, "line 7");
}
END_TEST

START_TEST(test_ctl_orphan_says_so_and_stops)
{
	chan_free(&rig.master);
	QWAIT(&rig, qrig_logged(&rig, "the master is gone"));
	ends("reload", 1);
	ends("stop", 0);
	ck_assert_str_eq(rig.ctl_text, "stopping");
	ck_assert_int_eq(qrig_wait_end(&rig), 0);
}
END_TEST

START_TEST(test_ctl_two_commands_at_once_are_refused)
{
	struct sv words[] = {SV("list")};
	struct ipc_ctl_request m = {{.array = words, .n = 1}};
	uint64_t ids[3];

	three_waiting(ids);
	qrig_ctl_send(&rig, "list");
	ipc_send_ctl_request(rig.ctl, &m);
	QWAIT(&rig, rig.ctl_ends == 2);
	ck_assert(rig.ctl_refused);
	ck_assert_str_eq(rig.ctl_text, "3 recipients");
}
END_TEST

START_TEST(test_ctl_rows_end_when_the_client_goes)
{
	uint64_t ids[3];

	three_waiting(ids);
	qrig_ctl_send(&rig, "list");
	chan_flush(rig.ctl);
	chan_free(&rig.ctl);
	ends("show version", 0);
}
END_TEST

void
qmgr_tests_control(Suite *s)
{
	TCase *tc = qrig_tcase(s, "control");

	tcase_add_test(tc, test_audit_has_every_change);
	tcase_add_test(tc, test_audit_begins_anew_and_bears_errors);
	tcase_add_test(tc, test_status_shows_unknown_vmtas);
	tcase_add_test(tc, test_ctl_wrong_commands_are_misuse);
	tcase_add_test(tc, test_ctl_pause_survives_and_resume_moves);
	tcase_add_test(tc, test_ctl_rates_survive);
	tcase_add_test(tc, test_ctl_mode_survives_beside_pause);
	tcase_add_test(tc, test_ctl_replies_act_and_are_remembered);
	tcase_add_test(tc, test_pool_members_take_turns_by_weight);
	tcase_add_test(tc, test_pool_is_another_after_a_reload);
	tcase_add_test(tc, test_ctl_config_and_version_are_shown);
	tcase_add_test(tc, test_ctl_reload_is_the_masters);
	tcase_add_test(tc, test_ctl_orphan_says_so_and_stops);
	tcase_add_test(tc, test_ctl_two_commands_at_once_are_refused);
	tcase_add_test(tc, test_ctl_rows_end_when_the_client_goes);
}
