/* SPDX-License-Identifier: ISC */
/* The queue manager as a process: warmup plans. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/msgid.h"
#include "qmgr/qmgr.h"
#include "tests/unit/qmgr/qrig.h"

#define has(text, part)                                                        \
	ck_assert_msg(strstr(text, part) != NULL, "no %s in:\n%s", part, text)
#define hasnt(text, part)                                                      \
	ck_assert_msg(strstr(text, part) == NULL, "%s in:\n%s", part, text)

/* It is about noon where the days begin: no test runs over midnight. */
static void
start_with(const char *rows)
{
	time_t now = time(NULL);
	struct tm tm;
	char text[1024];

	ck_assert_ptr_nonnull(gmtime_r(&now, &tm));
	snprintf(text, sizeof(text), QRIG_CONF "<virtual-mta cold>\n"
	    "</virtual-mta>\n<virtual-mta warm>\n</virtual-mta>\n"
	    "<warmup w>\nvirtual-mta cold\ntime-zone %+d\n%s</warmup>\n",
	    12 - tm.tm_hour, rows);
	qrig_start(&rig, text);
	qrig_peers(&rig);
	qrig_go(&rig, 1);
	rig.vmta = "cold";
}

static void
start_anew(const char *rows)
{
	ck_assert_int_eq(qrig_stop(&rig), 0);
	start_with(rows);
}

static void
deliver_one(const char *rcpt, enum outcome o)
{
	unsigned n = qrig_deliver(&rig, "s@here.test", rcpt, NULL);
	uint64_t acked = rig.smtp.acked;

	if (o == OUT_DELIVERED)
		qrig_result(&rig, n, o, 250, "2.0.0", "250 ok");
	else
		qrig_result(&rig, n, o, 450, "4.7.0", "450 slow down");
	QWAIT(&rig, rig.smtp.acked > acked);
}

START_TEST(test_warmup_is_shown_and_survives)
{
	static const char rows[] = "day-list 2,5,9\n";
	const char *text;

	start_anew(rows);
	deliver_one("r1@there.test", OUT_DELIVERED);
	(void)qrig_submit(&rig, "s@here.test", "r2@there.test");
	QWAIT(&rig, strstr(qrig_ctl(&rig, "show queues there.test"),
	    "\"why\":\"warmup\"") != NULL);
	ck_assert(qrig_logged(&rig, "warmup w of cold: day 1, 2 planned"));
	for (int i = 0; i < 4; i++) {
		text = qrig_ctl(&rig, "show warmup");
		has(text, "\"warmup\":\"w\",\"vmta\":\"cold\",\"day\":1,");
		has(text, "\"plan\":2,\"actual\":1,");
		has(text, "\"state\":\"today\",\"inflight\":0,\"queued\":1,");
		has(text, "\"plan\":5,\"actual\":0,\"forecast\":5,"
			  "\"state\":\"planned\"");
		has(text, "\"day\":3,");
		hasnt(text, "\"day\":4,");
		usleep(i == 1 ? 300000 : 0); /* for the checkpoint */
		if (i < 2)
			qrig_kill(&rig);
		else
			ck_assert_int_eq(qrig_stop(&rig), 0);
		start_with(rows);
	}
	QWAIT(&rig, strstr(qrig_ctl(&rig, "explain queue there.test"),
	    "\"why\":\"warmup\"") != NULL);
	text = qrig_ctl(&rig, "explain queue there.test");
	has(text, "\"setting\":\"day-list\",\"value\":\"2,5,9\","
		  "\"scope\":\"warmup w\"");
	has(text, "\"used\":1,\"most\":2");
}
END_TEST

START_TEST(test_warmup_is_shown_by_name)
{
	qrig_ctl(&rig, "show warmup");
	ck_assert_str_eq(rig.ctl_text, "no warmup is configured");
	ck_assert_uint_eq(rig.ctl_status, 0);
	start_anew("from 1\nto 50\ndays 2\n");
	QWAIT(&rig, strstr(qrig_ctl(&rig, "show warmup w"), "\"plan\":50") !=
	    NULL);
	has(qrig_ctl(&rig, "show warmup *"), "\"plan\":50");
	hasnt(qrig_ctl(&rig, "show warmup x"), "\"plan\"");
	ck_assert_str_eq(rig.ctl_text, "there is no warmup x");
	ck_assert_uint_eq(rig.ctl_status, 1);
	qrig_ctl(&rig, "show warmup w x");
	ck_assert_uint_eq(rig.ctl_status, 2);
}
END_TEST

START_TEST(test_warmup_overflows_to_another_vmta)
{
	start_anew("day-list 1,5\noverflow virtual-mta warm\n");
	deliver_one("r1@there.test", OUT_DELIVERED);
	(void)qrig_submit(&rig, "s@here.test", "r2@there.test");
	QWAIT(&rig, strstr(qrig_ctl(&rig, "show queues there.test/warm"),
	    "\"rcpt\"") != NULL || strstr(qrig_ctl(&rig,
	    "show queues there.test/warm"), "there.test/warm") != NULL);
	has(qrig_ctl(&rig, "show warmup"), "\"queued\":0");
}
END_TEST

START_TEST(test_warmup_puts_the_rest_on_hold)
{
	char cmd[64], id[MSGID_TEXT];
	uint64_t m;

	start_anew("day-list 1,5\noverflow hold\n");
	deliver_one("r1@there.test", OUT_DELIVERED);
	m = qrig_submit(&rig, "s@here.test", "r2@there.test");
	snprintf(cmd, sizeof(cmd), "show message %s", msgid_format(m, id));
	QWAIT(&rig, strstr(qrig_ctl(&rig, cmd), "\"hold\"") != NULL);
	has(qrig_ctl(&rig, cmd), "warmup w has no room today");
	/* the next one by the same order */
	(void)qrig_submit(&rig, "s@here.test", "r3@there.test");
	QWAIT(&rig, (qrig_ctl(&rig, "show status"),
	    qrig_number(&rig, "hold") == 2));
	ck_assert_uint_eq(qrig_events(&rig, EV_HOLD_ORDER, NULL), 1);
	qrig_kill(&rig);
	start_with("day-list 1,5\noverflow hold\n");
	has(qrig_ctl(&rig, cmd), "warmup w has no room today");
	/* nor has it now */
	(void)qrig_submit(&rig, "s@here.test", "r4@there.test");
	QWAIT(&rig, (qrig_ctl(&rig, "show status"),
	    qrig_number(&rig, "hold") == 3));
}
END_TEST

START_TEST(test_warmup_steps_back_and_remembers)
{
	static const char rows[] = "day-list 900000,900000,7\n"
	    "start-date 2020-01-01\nmax-deferral-percent 50\n"
	    "deferral-sample 2\non-deferral step-back\n";

	/* long over */
	start_anew(rows);
	deliver_one("r1@there.test", OUT_TEMPORARY);
	deliver_one("r2@there.test", OUT_TEMPORARY);
	hasnt(qrig_ctl(&rig, "show warmup"), "step-back");
	start_anew("day-list 800000,900000\nmax-deferral-percent 50\n"
	    "deferral-sample 2\non-deferral step-back\n");
	deliver_one("r3@there.test", OUT_TEMPORARY);
	deliver_one("r4@there.test", OUT_TEMPORARY);
	/* there is no day before the first */
	QWAIT(&rig, strstr(qrig_ctl(&rig, "show warmup"),
	    "\"state\":\"held\"") != NULL);
	ck_assert(qrig_logged(&rig, "2 of 2 replies of the last hour were "
	    "deferrals: tomorrow is planned as today, 800000 planned today"));
	has(qrig_ctl(&rig, "show warmup"), "\"day\":2,");
	has(qrig_ctl(&rig, "show warmup"), "\"day\":3,");
	qrig_kill(&rig);
	start_with("day-list 800000,900000\n");
	has(qrig_ctl(&rig, "show warmup"), "\"state\":\"held\"");
	has(qrig_ctl(&rig, "show warmup"), "\"day\":3,");
}
END_TEST

static void
log_day(const char *plan, const char *vmta, uint32_t day, uint32_t start,
    uint32_t behind, uint32_t done, uint8_t flags)
{
	qlog_add(EV_WARMUP, (union ev_any){ .warmup = { .plan = sv_from(plan),
	    .vmta = sv_from(vmta), .day = day, .start = start,
	    .behind = behind, .planned = 2, .done = done, .flags = flags } });
}

static void
log_attempt(const char *queue, enum outcome o, uint64_t time_us)
{
	qlog_add(EV_ATTEMPT, (union ev_any){ .attempt = { .id = 4711,
	    .outcome = (uint8_t)o, .time_us = time_us,
	    .queue = sv_from(queue) } });
}

/* Two days of a plan, what was tried behind them, and what makes no sense. */
START_TEST(test_warmup_events_have_their_effect)
{
	uint32_t today = (uint32_t)(time(NULL) / 86400);
	uint64_t now = (uint64_t)time(NULL) * 1000000;
	const char *text;

	qrig_kill(&rig);
	qlog_begin();
	log_day("w", "cold", today - 1, today - 1, 0, 1, 1);
	log_attempt("there.test/cold", OUT_DELIVERED, now - 86400000000);
	log_day("w", "cold", today, today - 1, 1, 0, 0);
	log_attempt("there.test/cold", OUT_DELIVERED, now);
	log_attempt("other.test/cold", OUT_IN_DOUBT, now);
	log_attempt("there.test/cold", OUT_TEMPORARY, now);
	log_attempt("there.test/warm", OUT_DELIVERED, now);
	log_attempt("there.test/gone", OUT_DELIVERED, now);
	log_attempt("there.test", OUT_DELIVERED, now);
	log_day("x", "cold", today, today, 1, 7, 0);
	log_day("w", "x", today, today, 1, 7, 0);
	log_day("w", "cold", UINT32_MAX, today, 1, 7, 0);
	log_day("w", "cold", today, UINT32_MAX, 1, 7, 0);
	log_day("w", "cold", today, today, UINT32_MAX, 7, 0);
	log_day("w", "cold", 0, 0, 1, 7, 0);
	qlog_add(EV_COLD, (union ev_any){ .cold = { .vmta = SV("gone"),
	    .domain = SV("there.test"), .start = UINT32_MAX,
	    .day = UINT32_MAX, .count = UINT32_MAX } });
	qlog_end();
	start_with("day-list 2,5,9\n");
	QWAIT(&rig, qrig_logged(&rig, "running"));
	text = qrig_ctl(&rig, "show warmup");
	has(text, "\"day\":1,");
	has(text, "\"plan\":2,\"actual\":2,\"forecast\":2,"
		  "\"state\":\"held\"");
	has(text, "\"plan\":2,\"actual\":2,\"forecast\":2,"
		  "\"state\":\"today\"");
	has(text, "\"day\":3,");
	has(text, "\"plan\":5,");
	has(text, "\"day\":4,");
	hasnt(text, "\"day\":5,");
	hasnt(text, "\"actual\":7");
}
END_TEST

/* PowerMTA's spelling: the first 3 messages of the day for each domain go to
 * the cold VMTAs by turns, over any restart. */
START_TEST(test_cold_vmtas_get_the_first_of_each_domain)
{
	static const char conf[] = QRIG_CONF
	    "<virtual-mta c1>\n</virtual-mta>\n"
	    "<virtual-mta c2>\n</virtual-mta>\n"
	    "<virtual-mta warm>\ncold-virtual-mta C1\ncold-virtual-mta c2\n"
	    "<domain *>\nmax-cold-virtual-mta-msg 3/d\n</domain>\n"
	    "<domain never.test>\nmax-cold-virtual-mta-msg 0/d\n</domain>\n"
	    "</virtual-mta>\n";
	long long cold;

	/* its days are those of UTC */
	if (time(NULL) % 86400 > 86400 - 60)
		return;
	for (int i = 0; i < 6; i++) {
		if (i < 3)
			qrig_kill(&rig);
		else
			ck_assert_int_eq(qrig_stop(&rig), 0);
		qrig_start(&rig, conf);
		qrig_peers(&rig);
		rig.resolver.answers = false;
		qrig_go(&rig, 1);
		rig.vmta = i == 5 ? "c2" : "warm";
		(void)qrig_submit(&rig, "s@here.test", "r@there.test");
		rig.vmta = "warm";
		(void)qrig_submit(&rig, "s@here.test", "r@never.test");
		QWAIT(&rig, (qrig_ctl(&rig, "show status"),
		    qrig_number(&rig, "delivery") == 2 * (i + 1)));
	}
	qrig_ctl(&rig, "show queues there.test/warm");
	ck_assert_int_eq(qrig_number(&rig, "rcp"), 2);
	qrig_ctl(&rig, "show queues there.test/c1");
	cold = qrig_number(&rig, "rcp");
	qrig_ctl(&rig, "show queues there.test/c2");
	ck_assert_int_eq(cold + qrig_number(&rig, "rcp"), 4);
	ck_assert_int_ge(cold, 1);
	qrig_ctl(&rig, "show queues never.test/warm");
	ck_assert_int_eq(qrig_number(&rig, "rcp"), 6);
}
END_TEST

void
qmgr_tests_warmup(Suite *s)
{
	TCase *tc = qrig_tcase(s, "warmup");

	tcase_add_test(tc, test_warmup_is_shown_and_survives);
	tcase_add_test(tc, test_warmup_is_shown_by_name);
	tcase_add_test(tc, test_warmup_overflows_to_another_vmta);
	tcase_add_test(tc, test_warmup_puts_the_rest_on_hold);
	tcase_add_test(tc, test_warmup_steps_back_and_remembers);
	tcase_add_test(tc, test_warmup_events_have_their_effect);
	tcase_add_test(tc, test_cold_vmtas_get_the_first_of_each_domain);
}
