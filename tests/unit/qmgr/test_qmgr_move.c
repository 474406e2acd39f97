/* SPDX-License-Identifier: ISC */
/* The queue manager as a process: source addresses that are disabled, and
 * recipients that are moved to another VMTA. */
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

#define MOVE_CONF                                                              \
	QRIG_CONF                                                              \
	"<smtp-pattern-list p>\n"                                              \
	"reply /blocked/ disable-source-ip,reenable-after=1h\n"                \
	"</smtp-pattern-list>\n<domain *>\nsmtp-pattern-list p\n"               \
	"disable-mx-rollup yes\n</domain>\n"                                   \
	"<domain pace.test>\nsource-ip-max-msg-rate 0/0 1/h\n</domain>\n"     \
	"<virtual-mta v1>\nsmtp-source-host 127.0.0.1 one.test\n"              \
	"smtp-source-host 127.0.0.2 two.test\n</virtual-mta>\n"                \
	"<virtual-mta v2>\nsmtp-source-host 127.0.0.1 one.test\n"              \
	"</virtual-mta>\n"

static void
life(enum again how)
{
	qrig_again(&rig, how, MOVE_CONF);
}

/* ---- sources ---- */

START_TEST(test_source_words_that_are_wrong)
{
	static const struct {
		const char *command, *text;
		unsigned status;
	} bad[] = {
	    {"disable source", "which source address?", 2},
	    {"disable source a.test", "which source address?", 2},
	    {"disable source 127.0.0.1 *.test",
		"here a star stands for a whole domain or VMTA", 2},
	    {"disable source 127.0.0.1 a.test/nope", "there is no such VMTA",
		2},
	    {"disable source 127.0.0.1 a..test/v1",
		"there can be no such domain", 2},
	    {"disable source 127.0.0.1 a.test --reenable-after=x",
		"--reenable-after=x: --reenable-after wants a time such as 4h",
		2},
	    {"enable source 127.0.0.1 a.test/v1",
		"it is not disabled for just these; see \"show disabled "
		"sources\"",
		1},
	};

	life(FIRST);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		says(bad[i].command, bad[i].text);
		ck_assert_uint_eq(rig.ctl_status, bad[i].status);
	}
	says("show disabled sources", "0 of 0 disabled sources");
}
END_TEST

/* By the log, then by the checkpoint. */
START_TEST(test_source_disabled_survives)
{
	const char *rows;

	life(FIRST);
	says("disable source 127.0.0.1 vmta=v2", "127.0.0.1 disabled for */v2");
	says("disable source --reenable-after=1h --reason=listed 127.0.0.1 "
	     "a.test/v1",
	    "127.0.0.1 disabled for a.test/v1");
	says("disable source system", "system disabled for */*");
	says("enable source system", "1 enabled");
	rig.vmta = "v2";
	qrig_submit(&rig, "s@here.test", "r@a.test");
	for (int i = 0; i < 3; i++) {
		if (i > 0)
			life(i == 1 ? KILLED : STOPPED);
		QWAIT(&rig,
		    strstr(qrig_ctl(&rig, "show queues a.test/v2"),
			"\"why\":\"sources-disabled\"") != NULL);
		ck_assert_uint_eq(rig.smtp.nopens, 0);
		rows = qrig_ctl(&rig, "show disabled sources");
		ck_assert_str_eq(rig.ctl_text, "2 of 2 disabled sources");
		has(rows, "\"domain\":\"*\",\"vmta\":\"v2\"");
		has(rows, "\"reason\":\"listed\"");
		has(rows, "\"disabledBy\":\"uid ");
		says("show disabled sources a.test/v1",
		    "1 of 1 disabled sources");
		says("show disabled sources --maxitems=1",
		    "1 of 2 disabled sources");
	}
	has(qrig_ctl(&rig, "explain queue a.test/v2"), "sources-disabled");
	says("enable source 127.0.0.1", "2 enabled");
	qrig_deliver_wait(&rig, 1);
	ck_assert_str_eq(rig.smtp.opens[0].source_ip, "127.0.0.1");
	life(KILLED);
	says("show disabled sources", "0 of 0 disabled sources");
}
END_TEST

/* A message goes, from this address. */
static void
goes_from(const char *ip, const char *rcpt)
{
	unsigned n;

	rig.vmta = "v1";
	n = qrig_deliver(&rig, "s@here.test", rcpt, NULL);
	ck_assert_str_eq(rig.smtp.opens[0].source_ip, ip);
	rig.smtp.from = ip;
	qrig_result(&rig, n, OUT_DELIVERED, 250, "2.0.0", "250 ok");
	QWAIT(&rig, rig.smtp.acked == 1);
}

/* By the attempt in the log, then by what is written at a stop. */
START_TEST(test_source_rate_survives)
{
	life(FIRST);
	goes_from("127.0.0.1", "r1@pace.test");
	life(KILLED);
	goes_from("127.0.0.2", "r2@pace.test");
	life(STOPPED);
	rig.vmta = "v1";
	(void)qrig_submit(&rig, "s@here.test", "r3@pace.test");
	QWAIT(&rig, strstr(qrig_ctl(&rig, "show queues pace.test"),
	    "\"why\":\"source-message-rate\"") != NULL);
	ck_assert_uint_eq(rig.smtp.nopens, 0);
}
END_TEST

START_TEST(test_source_disabled_by_reply_survives)
{
	const char *rows;
	unsigned n;

	life(FIRST);
	rig.vmta = "v1";
	n = qrig_deliver(&rig, "s@here.test", "r1@a.test", NULL);
	ck_assert_str_eq(rig.smtp.opens[0].helo, "one.test");
	qrig_result(&rig, n, OUT_TEMPORARY, 450, "4.7.0", "450 blocked");
	QWAIT(&rig, rig.smtp.acked == 1);
	ck_assert(qrig_logged(&rig,
	    "a.test/v1: source address 127.0.0.1 disabled by"));
	QWAIT(&rig, rig.smtp.ncloses == 1);
	life(KILLED);
	rows = qrig_ctl(&rig, "show disabled sources");
	has(rows, "\"source\":\"127.0.0.1\",\"domain\":\"a.test\"");
	has(rows, "450 blocked");
	/* the retry goes from the other one */
	qrig_deliver_wait(&rig, 1);
	ck_assert_str_eq(rig.smtp.opens[0].source_ip, "127.0.0.2");
	ck_assert_str_eq(rig.smtp.opens[0].helo, "two.test");
}
END_TEST

/* ---- rebind ---- */

/* The last session that was opened finds no host. */
static void
connect_fails(void)
{
	unsigned n = rig.smtp.nopens;

	ipc_send_session_end(rig.smtp.chan, &(struct ipc_session_end){
	    .session = rig.smtp.opens[n - 1].session, .why = END_CONNECT,
	    .status = SV("4.4.1"), .text = SV("no"), .host = SV(""),
	    .host_ip = SV(""), .source_ip = SV("") });
}

/* Each beside the other addresses of its VMTA. */
START_TEST(test_sources_are_counted)
{
	const char *rows;
	unsigned n;

	life(FIRST);
	says("show ips", "0 of 0 source addresses");
	rig.vmta = "v1";
	n = qrig_deliver(&rig, "s@here.test", "r1@a.test", NULL);
	qrig_result(&rig, n, OUT_TEMPORARY, 450, "4.7.0", "450 later");
	QWAIT(&rig, rig.smtp.acked == 1);
	says("disable source 127.0.0.1 vmta=v1",
	    "127.0.0.1 disabled for */v1");
	says("disable source 127.0.0.2 other.test/v1",
	    "127.0.0.2 disabled for other.test/v1");
	n = qrig_deliver(&rig, "s@here.test", "r2@b.test", NULL);
	qrig_result(&rig, n, OUT_DELIVERED, 250, "2.0.0", "250 ok");
	QWAIT(&rig, rig.smtp.acked == 2);
	n = qrig_deliver(&rig, "s@here.test", "r3@b.test", NULL);
	qrig_result(&rig, n, OUT_PERMANENT, 550, "5.1.1", "550 who");
	QWAIT(&rig, rig.smtp.acked == 3);
	qrig_submit(&rig, "s@here.test", "r4@c.test");
	QWAIT(&rig, rig.smtp.nopens == 3 &&
	    strcmp(rig.smtp.opens[2].queue, "c.test/v1") == 0);
	connect_fails();
	QWAIT(&rig, strstr(qrig_ctl(&rig, "show ips"),
	    "\"connectFailed\":1") != NULL);
	rows = qrig_ctl(&rig, "show ips");
	ck_assert_str_eq(rig.ctl_text, "2 of 2 source addresses");
	has(rows, "{\"source\":\"127.0.0.1\",\"vmta\":\"v1\","
	    "\"configured\":true,\"conn\":0,\"opened\":1,"
	    "\"connectFailed\":0,\"delivered\":0,\"deferred\":1,"
	    "\"failed\":0,\"deferredPercent\":100.0,"
	    "\"othersDeferredPercent\":0.0,\"failedPercent\":0.0,"
	    "\"othersFailedPercent\":50.0,\"disabled\":true,"
	    "\"disabledUntil\":null,\"disabledFor\":0}");
	has(rows, "{\"source\":\"127.0.0.2\",\"vmta\":\"v1\","
	    "\"configured\":true,\"conn\":1,\"opened\":2,"
	    "\"connectFailed\":1,\"delivered\":1,\"deferred\":0,"
	    "\"failed\":1,\"deferredPercent\":0.0,"
	    "\"othersDeferredPercent\":100.0,\"failedPercent\":50.0,"
	    "\"othersFailedPercent\":0.0,\"disabled\":false,"
	    "\"disabledUntil\":null,\"disabledFor\":1}");
	rig.vmta = NULL;
	(void)qrig_deliver(&rig, "s@here.test", "r5@a.test", NULL);
	rows = qrig_ctl(&rig, "show ips vmta={default}");
	has(rows, "{\"source\":\"system\",\"vmta\":\"{default}\","
	    "\"configured\":true,\"conn\":1,");
	has(rows, "\"deferredPercent\":null,\"othersDeferredPercent\":null");
	says("show ips --maxitems=1", "1 of 3 source addresses");
	says("show ips a.test", "addresses are counted by VMTA: vmta=V");
	says("show ips --nonsense", "--nonsense: unknown option");
	/* one that is no longer configured goes when nothing is left of it */
	says("enable source 127.0.0.2 other.test/v1", "1 enabled");
	qrig_conf(&rig, QRIG_CONF "<virtual-mta v1>\n"
	    "smtp-source-host 127.0.0.2 two.test\n</virtual-mta>\n");
	QWAIT(&rig, strstr(qrig_ctl(&rig, "show ips vmta=v1"),
	    "127.0.0.1") == NULL);
	has(qrig_ctl(&rig, "show ips vmta=v1"), "\"delivered\":1");
}
END_TEST

START_TEST(test_rebind_words_that_are_wrong)
{
	life(FIRST);
	says("rebind a.test", "to which VMTA? --vmta=NAME");
	says("rebind a.test --vmta=nope", "there is no such VMTA");
	ck_assert_uint_eq(rig.ctl_status, 2);
	says("rebind --vmta=v1", "rebind wants --queue, --jobId, "
				 "--envId or --id");
	says("rebind --queue= --vmta=v1",
	    "--queue=: an empty word selects nothing; * is any");
}
END_TEST

/* By the log, then by the checkpoint; one of the two recipients' queues. */
START_TEST(test_rebind_survives)
{
	const char *rows;
	uint64_t ids[2];
	char words[80], id[MSGID_TEXT];

	life(FIRST);
	qrig_ctl(&rig, "pause queue a.test/v1");
	qrig_ctl(&rig, "pause queue a.test/v2");
	rig.vmta = "v1";
	ids[0] = qrig_submit(&rig, "s@here.test", "r1@a.test");
	ids[1] = qrig_submit(&rig, "s@here.test", "r2@a.test");
	QWAIT(&rig, (qrig_ctl(&rig, "show status"),
			qrig_number(&rig, "delivery") == 2));
	snprintf(words, sizeof(words), "hold --id=%s --reason=why",
	    msgid_format(ids[1], id));
	qrig_ctl(&rig, words);
	rows = qrig_ctl(&rig, "rebind a.test/v1 --vmta=V2");
	has(rows, "\"rebound\":false");
	ck_assert_str_eq(rig.ctl_text, "2 recipients would be moved to v2; "
				       "--yes does it");
	has(qrig_ctl(&rig, "show queues a.test/v1"), "\"rcp\":2");
	says("rebind a.test --vmta=v2 --yes", "2 recipients moved to v2");
	says("rebind a.test --vmta=v2 --yes", "0 recipients moved to v2");
	has(qrig_ctl(&rig, "show audit --maxitems=1"),
	    "\"command\":\"rebind a.test --vmta=v2 --yes\"");
	ck_assert_uint_eq(qrig_events(&rig, EV_REBIND, NULL), 2);
	for (int i = 0; i < 3; i++) {
		if (i > 0)
			life(i == 1 ? KILLED : STOPPED);
		rows = qrig_ctl(&rig, "show queues a.test/v2");
		has(rows, "\"rcp\":2");
		has(rows, "\"hold\":1");
		rows = qrig_ctl(&rig, "list a.test");
		has(rows, "\"queue\":\"a.test/v2\"");
		has(rows, "\"reason\":\"why\"");
		ck_assert_ptr_null(strstr(rows, "a.test/v1"));
	}
	qrig_ctl(&rig, "resume queue a.test/v2");
	qrig_deliver_wait(&rig, 1);
	ck_assert_uint_eq(rig.smtp.delivers[0].id, ids[0]);
	ck_assert_str_eq(rig.smtp.opens[0].queue, "a.test/v2");
}
END_TEST

/* ---- recipients that come apart ---- */

static const struct env_group apart[] = {
    {.vmta = SV("v2"), .priority = 80},
    {.vmta = SV("v1"), .hold = SV("gate"), .priority = PRIORITY_DEFAULT},
    {.vmta = SV("v2"), .hold = SV("gate"), .priority = 0},
};

static const struct env_rcpt asked[] = {
    {.addr = SV("r0@a.test")},
    {.addr = SV("r1@a.test"), .group = 1},
    {.addr = SV("r2@a.test"), .group = 2},
    {.addr = SV("r3@b.test"), .group = 3},
    {.addr = SV("r4@a.test"), .group = 1},
};

static const struct envelope split = {
    .sender = SV("s@here.test"),
    .vmta = SV("v1"),
    .src_type = SV("smtp"),
    .groups = apart,
    .ngroups = 3,
    .rcpts = asked,
    .nrcpts = 5,
};

static void
ck_apart(void)
{
	const char *rows;

	has(qrig_ctl(&rig, "show queues a.test/v1"), "\"rcp\":2");
	has(qrig_ctl(&rig, "show queues a.test/v1"), "\"hold\":1");
	has(qrig_ctl(&rig, "show queues a.test/v2"), "\"rcp\":2");
	has(qrig_ctl(&rig, "show queues a.test/v2"), "\"hold\":0");
	rows = qrig_ctl(&rig, "show queues b.test/v2");
	has(rows, "\"rcp\":1");
	has(rows, "\"hold\":1");
	rows = qrig_ctl(&rig, "list a.test/v2");
	has(rows, "\"priority\":80,");
	ck_assert_ptr_null(strstr(rows, "\"priority\":50,"));
	rows = qrig_ctl(&rig, "list a.test/v1");
	has(rows, "\"priority\":50,");
	ck_assert_ptr_null(strstr(rows, "\"priority\":80,"));
	rows = qrig_ctl(&rig, "list b.test");
	has(rows, "\"priority\":0,");
	has(rows, "\"reason\":\"pattern-list gate\"");
	has(rows, "\"heldBy\":\"pattern-list\"");
}

/* Each to its VMTA or on hold, with its priority; by the log, then by the checkpoint. */
START_TEST(test_groups_go_apart_and_survive)
{
	struct ipc_commit m;

	life(FIRST);
	qrig_ctl(&rig, "pause queue a.test/v1");
	qrig_ctl(&rig, "pause queue a.test/v2");
	qpeer_write(&rig.smtpd, &split, 0, &m);
	qpeer_commit(&rig.smtpd, &m, &split);
	QWAIT(&rig, (qrig_ctl(&rig, "show status"),
			qrig_number(&rig, "hold") == 2));
	ck_assert_uint_eq(qrig_events(&rig, EV_REBIND, NULL), 2);
	ck_assert_uint_eq(qrig_events(&rig, EV_HOLD, NULL), 2);
	ck_assert_uint_eq(qrig_events(&rig, EV_HOLD_ORDER, NULL), 1);
	ck_assert_uint_eq(qrig_events(&rig, EV_PRIORITY, NULL), 2);
	ck_apart();
	for (int i = 1; i < 3; i++) {
		life(i == 1 ? KILLED : STOPPED);
		ck_apart();
	}
	qrig_ctl(&rig, "resume queue a.test/v2");
	qrig_deliver_wait(&rig, 1);
	ck_assert_uint_eq(rig.smtp.delivers[0].id, m.id);
	ck_assert_uint_eq(rig.smtp.delivers[0].n, 2);
	ck_assert_uint_eq(rig.smtp.delivers[0].idx[0] +
	    rig.smtp.delivers[0].idx[1], 5);
	ck_assert_str_eq(rig.smtp.opens[0].queue, "a.test/v2");
	/* what is held goes when it is released, by its VMTA */
	qrig_ctl(&rig, "release b.test");
	qrig_deliver_wait(&rig, 2);
	ck_assert_str_eq(rig.smtp.opens[1].queue, "b.test/v2");
}
END_TEST

/* The crash came between what sets the recipients apart and the ACCEPT: there
 * is no message in the log that could go without it. */
START_TEST(test_groups_before_their_accept_are_nothing)
{
	uint32_t r1 = 1, all[] = { 0, 1, 2, 3, 4 };
	struct ipc_commit m;

	life(FIRST);
	qrig_ctl(&rig, "pause queue a.test/v1");
	qrig_ctl(&rig, "pause queue a.test/v2");
	qpeer_write(&rig.smtpd, &split, 0, &m);
	qrig_kill(&rig);
	qlog_begin();
	qlog_add(EV_REBIND, (union ev_any){ .rebind = { .id = m.id,
	    .vmta = SV("v2"), .rcpts = { .array = &r1, .n = 1 },
	    .who = SV("") } });
	qlog_add(EV_HOLD, (union ev_any){ .hold = { .id = m.id, .held = 1,
	    .rcpts = { .array = all, .n = 5 } } });
	qlog_add(EV_PRIORITY, (union ev_any){ .priority = { .id = m.id,
	    .priority = 20, .rcpts = { .array = all, .n = 5 },
	    .who = SV("") } });
	/* another one's */
	qlog_add(EV_HOLD, (union ev_any){ .hold = { .id = m.id + 8,
	    .held = 1, .rcpts = { .array = &r1, .n = 1 } } });
	qlog_end();
	qrig_start(&rig, MOVE_CONF);
	ck_assert(qrig_logged(&rig, "1 found in segments"));
	qrig_peers(&rig);
	qrig_go(&rig, 1);
	ck_apart();
}
END_TEST

START_TEST(test_rebind_moves_what_is_in_flight_later)
{
	const char *rows;
	unsigned n;

	life(FIRST);
	rig.vmta = "v1";
	n = qrig_deliver(&rig, "s@here.test", "r1@a.test", NULL);
	rows = qrig_ctl(&rig, "rebind a.test/v1 --vmta=v2 --yes");
	has(rows, "\"inflight\":1");
	has(qrig_ctl(&rig, "show queues a.test/v1"), "\"inflight\":1");
	qrig_result(&rig, n, OUT_TEMPORARY, 450, "4.2.0", "450 later");
	QWAIT(&rig, rig.smtp.acked == 1);
	QWAIT(&rig, strstr(qrig_ctl(&rig, "show queues a.test/v2"),
	    "\"rcp\":1") != NULL);
	qrig_deliver_wait(&rig, 2);
	ck_assert_str_eq(rig.smtp.opens[1].queue, "a.test/v2");
}
END_TEST

#define MANY 100000u

/* 100,000 messages in one place of the spool: they are not read. */
START_TEST(test_rebind_of_many_is_fast)
{
	static const struct sv domain = {"a.test", 6};
	struct ipc_commit m = {.id = 0};
	struct mono began;

	life(FIRST);
	qrig_ctl(&rig, "pause queue a.test/{default}");
	qrig_ctl(&rig, "pause queue a.test/v2");
	qrig_submit(&rig, "s@here.test", "r@a.test");
	QWAIT(&rig, (qrig_ctl(&rig, "show status"),
			qrig_number(&rig, "delivery") == 1));
	ck_assert_int_eq(qrig_stop(&rig), 0);
	m.segment = rig.smtpd.segment;
	m.offset = SEGMENT_HEADER;
	m.length = 512;
	m.arrival_us = (uint64_t)clock_wall().us;
	qlog_begin();
	for (uint32_t i = 0; i < MANY; i++) {
		m.id = (UINT64_C(1) << 40) + i;
		qlog_commit(&m, &domain, 0);
	}
	qlog_end();
	qrig_start(&rig, MOVE_CONF);
	qrig_peers(&rig);
	qrig_go(&rig, 1);
	began = clock_mono();
	says("rebind a.test --vmta=v2 --yes", "100001 recipients moved to v2");
	fprintf(stderr, "rebind of %u messages: %lld ms\n", MANY,
	    (long long)mono_diff_ms(clock_mono(), began));
	has(qrig_ctl(&rig, "show queues a.test/v2"), "\"rcp\":100001");
	qrig_kill(&rig);
	qrig_start(&rig, MOVE_CONF);
	has(qrig_ctl(&rig, "show queues a.test/v2"), "\"rcp\":100001");
}
END_TEST

void
qmgr_tests_move(Suite *s)
{
	TCase *tc = qrig_tcase(s, "move");

	tcase_add_test(tc, test_source_words_that_are_wrong);
	tcase_add_test(tc, test_source_disabled_survives);
	tcase_add_test(tc, test_source_rate_survives);
	tcase_add_test(tc, test_source_disabled_by_reply_survives);
	tcase_add_test(tc, test_sources_are_counted);
	tcase_add_test(tc, test_rebind_words_that_are_wrong);
	tcase_add_test(tc, test_rebind_survives);
	tcase_add_test(tc, test_groups_go_apart_and_survive);
	tcase_add_test(tc, test_groups_before_their_accept_are_nothing);
	tcase_add_test(tc, test_rebind_moves_what_is_in_flight_later);
	tcase_add_test(tc, test_rebind_of_many_is_fast);
}
