/* SPDX-License-Identifier: ISC */
/* The queue manager as a process: priorities, where they come from and that they
 * stay. */
#include <stdio.h>
#include <string.h>

#include "common/base/msgid.h"
#include "qmgr/qmgr.h"
#include "tests/unit/qmgr/qrig.h"

#define has(text, part)                                                        \
	ck_assert_msg(strstr(text, part) != NULL, "no %s in:\n%s", part, text)
#define says(command, text)                                                    \
	do {                                                                   \
		qrig_ctl(&rig, command);                                       \
		ck_assert_str_eq(rig.ctl_text, text);                          \
	} while (0)

#define PRIORITY_CONF QRIG_CONF "<virtual-mta v1>\n</virtual-mta>\n"

enum again { FIRST, KILLED, STOPPED };

static void
life(enum again how)
{
	if (how == KILLED)
		qrig_kill(&rig);
	else
		ck_assert_int_eq(qrig_stop(&rig), 0);
	qrig_start(&rig, PRIORITY_CONF);
	qrig_peers(&rig);
	qrig_go(&rig, 1);
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
queued(int n)
{
	QWAIT(&rig, (qrig_ctl(&rig, "show status"),
			qrig_number(&rig, "rcp") >= 0 &&
			qrig_number(&rig, "delivery") == n));
}

/* ---- what comes with the message ---- */

static const struct env_group groups[] = {
    {.priority = 80},
    {.vmta = SV("v1"), .priority = 0},
    {.hold = SV("gate"), .priority = 100},
    {.priority = PRIORITY_DEFAULT},
};

static const struct env_rcpt asked[] = {
    {.addr = SV("r0@a.test")},
    {.addr = SV("r1@a.test"), .group = 1},
    {.addr = SV("r2@a.test"), .group = 2},
    {.addr = SV("r3@a.test"), .group = 3},
    {.addr = SV("r4@a.test"), .group = 4},
    {.addr = SV("r5@a.test"), .group = 1},
};

static const struct envelope urgent = {
    .sender = SV("s@here.test"),
    .envid = SV("env-1"),
    .src_type = SV("smtp"),
    .groups = groups,
    .ngroups = 4,
    .rcpts = asked,
    .nrcpts = 6,
};

static void
ck_urgent(void)
{
	const char *rows;

	ck_assert_uint_eq(with_priority(80), 2);
	ck_assert_uint_eq(with_priority(PRIORITY_DEFAULT), 2);
	ck_assert_uint_eq(with_priority(0), 1);
	ck_assert_uint_eq(with_priority(100), 1);
	rows = qrig_ctl(&rig, "list --rcpt=r2@*");
	has(rows, "\"queue\":\"a.test/v1\"");
	has(rows, "\"priority\":0,");
	rows = qrig_ctl(&rig, "list --rcpt=r3@*");
	has(rows, "\"state\":\"hold\"");
	has(rows, "\"priority\":100,");
}

/* By the log, then by the checkpoint; those of a higher priority go first. */
START_TEST(test_priority_of_groups_survives)
{
	struct ipc_commit m;

	life(FIRST);
	qrig_ctl(&rig, "pause queue a.test");
	qrig_ctl(&rig, "pause queue a.test/v1");
	qpeer_write(&rig.smtpd, &urgent, 0, &m);
	qpeer_commit(&rig.smtpd, &m, &urgent);
	queued(5);
	ck_assert_uint_eq(qrig_events(&rig, EV_PRIORITY, NULL), 3);
	ck_urgent();
	for (int i = 1; i < 3; i++) {
		life(i == 1 ? KILLED : STOPPED);
		ck_urgent();
	}
	qrig_ctl(&rig, "resume queue a.test/{default}");
	qrig_deliver_wait(&rig, 2);
	ck_assert_uint_eq(rig.smtp.delivers[0].n, 2);
	ck_assert_uint_eq(rig.smtp.delivers[0].idx[0] +
	    rig.smtp.delivers[0].idx[1], 6);
	ck_assert_uint_eq(rig.smtp.delivers[1].n, 2);
	ck_assert_uint_eq(rig.smtp.delivers[1].idx[0] +
	    rig.smtp.delivers[1].idx[1], 4);
}
END_TEST

/* The crash came before the ACCEPT, and a log may say what is no priority. */
START_TEST(test_priority_before_its_accept_is_nothing)
{
	uint32_t all[] = { 0, 1, 2, 3, 4, 5, 6 };
	struct ipc_commit m;

	life(FIRST);
	qrig_ctl(&rig, "pause queue a.test");
	qrig_ctl(&rig, "pause queue a.test/v1");
	qpeer_write(&rig.smtpd, &urgent, 0, &m);
	qrig_kill(&rig);
	qlog_begin();
	qlog_add(EV_PRIORITY, (union ev_any){ .priority = { .id = m.id,
	    .priority = 20, .rcpts = { .array = all, .n = 6 },
	    .who = SV("") } });
	qlog_end();
	qrig_start(&rig, PRIORITY_CONF);
	ck_assert(qrig_logged(&rig, "1 found in segments"));
	qrig_peers(&rig);
	qrig_go(&rig, 1);
	ck_urgent();
	qrig_kill(&rig);
	qlog_begin();
	qlog_add(EV_PRIORITY, (union ev_any){ .priority = { .id = m.id,
	    .priority = 255, .rcpts = { .array = all, .n = 7 },
	    .who = SV("") } });
	qlog_add(EV_PRIORITY, (union ev_any){ .priority = { .id = m.id + 8,
	    .priority = 7, .rcpts = { .array = all, .n = 7 },
	    .who = SV("") } });
	qlog_end();
	qrig_start(&rig, PRIORITY_CONF);
	ck_assert_uint_eq(with_priority(PRIORITY_MAX), 6);
}
END_TEST

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
 * alone. */
START_TEST(test_set_priority_survives)
{
	struct ipc_commit m;
	char words[80], id[MSGID_TEXT];
	uint64_t other;

	life(FIRST);
	qrig_ctl(&rig, "pause queue a.test/{default}");
	qrig_ctl(&rig, "pause queue a.test/v1");
	other = qrig_submit(&rig, "s2@here.test", "r9@a.test");
	qpeer_write(&rig.smtpd, &urgent, 0, &m);
	qpeer_commit(&rig.smtpd, &m, &urgent);
	queued(6);
	says("set priority --envId=ENV-* 30", "6 recipients have priority 30 "
	    "now");
	ck_assert_uint_eq(with_priority(30), 6);
	says("set priority --envId=none 31", "0 recipients have priority 31 "
	    "now");
	says("set priority --queue=a.test --orig=s2@* 90", "1 recipients have "
	    "priority 90 now");
	says("set priority --queue=a.test/v1 0", "1 recipients have priority "
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
		ck_assert_uint_eq(with_priority(30), 4);
		ck_assert_uint_eq(with_priority(90), 1);
		ck_assert_uint_eq(with_priority(91), 1);
		ck_assert_uint_eq(with_priority(0), 1);
	}
	qrig_ctl(&rig, "resume queue a.test/{default}");
	qrig_deliver_wait(&rig, 3);
	ck_assert_uint_eq(rig.smtp.delivers[0].idx[0], 5);
	ck_assert_uint_eq(rig.smtp.delivers[1].id, other);
	ck_assert_uint_eq(rig.smtp.delivers[2].n, 3);
}
END_TEST

/* Many recipients of one message: some in each event, in the log and in the
 * checkpoint. */
START_TEST(test_set_priority_of_many_survives)
{
	static struct env_rcpt rcpts[200];
	static char names[200][24];
	struct envelope e = { .sender = SV("s@here.test"),
		.src_type = SV("smtp"), .rcpts = rcpts, .nrcpts = 200 };
	struct ipc_commit m;

	for (unsigned i = 0; i < 200; i++) {
		snprintf(names[i], sizeof(names[i]), "r%u@a.test", i);
		rcpts[i].addr = sv_from(names[i]);
	}
	life(FIRST);
	qrig_ctl(&rig, "pause queue a.test/{default}");
	qpeer_write(&rig.smtpd, &e, 0, &m);
	qpeer_commit(&rig.smtpd, &m, &e);
	queued(200);
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

	ck_assert_int_eq(qrig_stop(&rig), 0);
	qrig_start(&rig, RATE_CONF);
	qrig_peers(&rig);
	qrig_go(&rig, 1);
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

	tcase_add_test(tc, test_priority_of_groups_survives);
	tcase_add_test(tc, test_priority_before_its_accept_is_nothing);
	tcase_add_test(tc, test_set_priority_words_that_are_wrong);
	tcase_add_test(tc, test_set_priority_survives);
	tcase_add_test(tc, test_set_priority_of_many_survives);
	tcase_add_test(tc, test_set_priority_in_flight);
	tcase_add_test(tc, test_explain_names_who_goes_first);
}
