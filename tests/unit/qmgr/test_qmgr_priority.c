/* SPDX-License-Identifier: ISC */
/* The queue manager as a process: priorities, where they come from and that they
 * stay. */
#include <stdio.h>
#include <string.h>

#include "common/base/msgid.h"
#include "qmgr/qmgr.h"
#include "tests/unit/qmgr/qrig.h"

#define PRIORITY_CONF QRIG_CONF "<virtual-mta v1>\n</virtual-mta>\n"

static void
has(const char *rows, const char *part)
{
	ck_assert_msg(strstr(rows, part) != NULL, "no %s in:\n%s", part, rows);
}

static void
says(const char *command, const char *text)
{
	(void)qrig_ctl(&rig, command);
	ck_assert_str_eq(rig.ctl_text, text);
}

static void
life(enum again how)
{
	qrig_again(&rig, how, PRIORITY_CONF);
}

/* So many recipients have that priority. */
static unsigned
with_priority(unsigned priority)
{
	const char *at = qrig_ctl(&rig, "list --maxitems=1000");
	char part[40];
	unsigned n = 0;

	snprintf(part, sizeof(part), "\"priority\":%u,", priority);
	while ((at = strstr(at, part)) != NULL) {
		at += strlen(part);
		n++;
	}
	return n;
}

static void
queued(long long n)
{
	QWAIT(&rig, (qrig_ctl(&rig, "show status"),
			qrig_number(&rig, "rcp") >= 0 &&
			qrig_number(&rig, "delivery") == n));
}

#define RCPTS 200u

/* A message to r0@a.test, r1@a.test, ... */
static struct ipc_commit
submit(uint32_t n, const char *envid)
{
	static char names[RCPTS][24];
	struct env_rcpt rcpts[RCPTS] = { 0 };
	struct envelope e = { .sender = SV("s@here.test"),
		.envid = sv_from(envid), .src_type = SV("smtp"),
		.rcpts = rcpts, .nrcpts = n };
	struct ipc_commit m;

	for (uint32_t i = 0; i < n; i++) {
		snprintf(names[i], sizeof(names[i]), "r%u@a.test", i);
		rcpts[i].addr = sv_from(names[i]);
	}
	qpeer_write(&rig.smtpd, &e, 0, &m);
	qpeer_commit(&rig.smtpd, &m, &e);
	return m;
}

/* ---- set priority ---- */

START_TEST(test_set_priority_words_that_are_wrong)
{
	static const char which[] =
	    "which priority? 0 to 100, as the last word";

	life(FIRST);
	says("set priority", which);
	ck_assert_uint_eq(rig.ctl_status, 2);
	says("set priority a.test", which);
	says("set priority 80 a.test", which);
	says("set priority a.test 101", which);
	says("set priority a.test -1", which);
	says("set priority 80",
	    "set priority wants --queue, --jobId, --envId or --id");
	says("set priority --rcpt=r@a.test 80",
	    "set priority wants --queue, --jobId, --envId or --id");
	says("set priority --queue= 80",
	    "--queue=: an empty word selects nothing; * is any");
	says("set priority --priority a.test 80", "--priority is for list");
	says("set priority nobody.test 80", "0 recipients have priority 80 "
	    "now");
	ck_assert_uint_eq(rig.ctl_status, 0);
}
END_TEST

/* By the log, then by the checkpoint, which has it of those that were changed
 * alone; who has the highest goes first. */
START_TEST(test_set_priority_survives)
{
	char words[80], id[MSGID_TEXT];
	struct ipc_commit m;
	uint64_t other;

	life(FIRST);
	qrig_ctl(&rig, "pause queue a.test/{default}");
	other = qrig_submit(&rig, "s2@here.test", "r9@a.test");
	m = submit(6, "env-1");
	queued(7);
	says("set priority --envId=ENV-* 30", "6 recipients have priority 30 "
	    "now");
	ck_assert_uint_eq(with_priority(30), 6);
	says("set priority --envId=none 31", "0 recipients have priority 31 "
	    "now");
	says("set priority --queue=a.test --orig=s2@* 90", "1 recipients have "
	    "priority 90 now");
	says("set priority --queue=a.test/v1 0", "0 recipients have priority "
	    "0 now");
	snprintf(words, sizeof(words), "set priority --id=%s --rcpt=r5@* 91",
	    msgid_format(m.id, id));
	says(words, "1 recipients have priority 91 now");
	says("set priority --id=0000000000101 91", "0 recipients have priority "
	    "91 now");
	has(qrig_ctl(&rig, "show audit --maxitems=1"),
	    "\"command\":\"set priority --id=0000000000101 91\"");
	for (int i = 0; i < 3; i++) {
		if (i > 0)
			life(i == 1 ? KILLED : STOPPED);
		ck_assert_uint_eq(with_priority(30), 5);
		ck_assert_uint_eq(with_priority(90), 1);
		ck_assert_uint_eq(with_priority(91), 1);
	}
	qrig_ctl(&rig, "resume queue a.test/{default}");
	qrig_deliver_wait(&rig, 3);
	ck_assert_uint_eq(rig.smtp.delivers[0].idx[0], 5);
	ck_assert_uint_eq(rig.smtp.delivers[1].id, other);
	ck_assert_uint_eq(rig.smtp.delivers[2].n, 5);
}
END_TEST

/* Many recipients of one message: some in each event, in the log and in the
 * checkpoint. */
START_TEST(test_set_priority_of_many_survives)
{
	life(FIRST);
	qrig_ctl(&rig, "pause queue a.test/{default}");
	(void)submit(RCPTS, "");
	queued(RCPTS);
	says("set priority a.test 70", "200 recipients have priority 70 now");
	ck_assert_uint_eq(qrig_events(&rig, EV_PRIORITY, NULL), 4);
	says("set priority a.test --rcpt=r1* 60", "111 recipients have "
	    "priority 60 now");
	for (int i = 0; i < 3; i++) {
		if (i > 0)
			life(i == 1 ? KILLED : STOPPED);
		ck_assert_uint_eq(with_priority(70), 89);
		ck_assert_uint_eq(with_priority(60), 111);
	}
}
END_TEST

/* A log may name what is no priority, no recipient, no message. */
START_TEST(test_priority_of_a_strange_log)
{
	static const uint32_t all[] = { 0, 1, 2 };
	struct u32s rcpts = { .array = all, .n = 3 };
	struct ipc_commit m;

	life(FIRST);
	qrig_ctl(&rig, "pause queue a.test/{default}");
	m = submit(2, "");
	queued(2);
	qrig_kill(&rig);
	qlog_begin();
	for (uint64_t i = 0; i < 2; i++)
		qlog_add(EV_PRIORITY, (union ev_any){ .priority = {
		    .id = m.id + i * 8, .priority = 255, .rcpts = rcpts,
		    .who = SV("") } });
	qlog_end();
	qrig_start(&rig, PRIORITY_CONF);
	ck_assert_uint_eq(with_priority(PRIORITY_MAX), 2);
}
END_TEST

/* What is in flight comes back with its new one. */
START_TEST(test_set_priority_in_flight)
{
	unsigned n;

	life(FIRST);
	n = qrig_deliver(&rig, "s@here.test", "r1@a.test", NULL);
	says("set priority a.test 75", "1 recipients have priority 75 now");
	qrig_result(&rig, n, OUT_TEMPORARY, 450, "4.2.0", "450 later");
	QWAIT(&rig, rig.smtp.acked == 1);
	ck_assert_uint_eq(with_priority(75), 1);
	life(KILLED);
	ck_assert_uint_eq(with_priority(75), 1);
}
END_TEST

/* ---- queues ---- */

#define RATE_CONF                                                              \
	"host-name q.test\n<virtual-mta v1>\nmax-smtp-msg-rate 1/h\n"          \
	"</virtual-mta>\n<domain b.test>\nqueue-priority 90\n</domain>\n"

START_TEST(test_explain_names_who_goes_first)
{
	const char *rows;

	qrig_again(&rig, FIRST, RATE_CONF);
	rig.vmta = "v1";
	(void)qrig_deliver(&rig, "s@here.test", "r1@a.test", NULL);
	qrig_submit(&rig, "s@here.test", "r2@a.test");
	QWAIT(&rig, strstr(qrig_ctl(&rig, "explain queue a.test/v1"),
	    "\"why\":\"vmta-message-rate\"") != NULL);
	rows = qrig_ctl(&rig, "explain queue a.test/v1");
	ck_assert_ptr_null(strstr(rows, "ahead"));
	qrig_submit(&rig, "s@here.test", "r2@b.test");
	QWAIT(&rig, strstr(qrig_ctl(&rig, "explain queue b.test/v1"),
	    "\"why\":\"vmta-message-rate\"") != NULL);
	rows = qrig_ctl(&rig, "explain queue a.test/v1");
	has(rows, "\"priority\":50,");
	has(rows, "\"waiting\":2,\"ahead\":\"b.test/v1\","
	    "\"aheadPriority\":90,");
	rows = qrig_ctl(&rig, "explain queue b.test/v1");
	has(rows, "\"priority\":90,");
	ck_assert_ptr_null(strstr(rows, "\"ahead\":"));
}
END_TEST

void
qmgr_tests_priority(Suite *s)
{
	TCase *tc = qrig_tcase(s, "priority");

	tcase_add_test(tc, test_set_priority_words_that_are_wrong);
	tcase_add_test(tc, test_set_priority_survives);
	tcase_add_test(tc, test_set_priority_of_many_survives);
	tcase_add_test(tc, test_priority_of_a_strange_log);
	tcase_add_test(tc, test_set_priority_in_flight);
	tcase_add_test(tc, test_explain_names_who_goes_first);
}
