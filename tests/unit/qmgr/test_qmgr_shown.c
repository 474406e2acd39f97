/* SPDX-License-Identifier: ISC */
/* The operator's commands: what is shown. */
#include <errno.h>
#include <unistd.h>

#include "common/base/msgid.h"
#include "tests/unit/qmgr/qrig_ctl.h"

/* A message of some job, or of none. */
static void
submit_of_job(struct sv job, const struct env_rcpt *rcpts, uint32_t n)
{
	struct envelope e = { .flags = 0, .sender = SV("s@here.test"),
		.job = job, .vmta = SV(""), .src_type = SV("smtp"),
		.helo = SV("client.test"), .client_ip = SV("192.0.2.9"),
		.rcpts = rcpts, .nrcpts = n };
	struct ipc_commit m;

	qpeer_write(&rig.smtpd, &e, 0, &m);
	qpeer_commit(&rig.smtpd, &m, &e);
}

START_TEST(test_jobs_are_added_up)
{
	static const struct env_rcpt both[] = { { .addr = SV("r@a.test") },
		{ .addr = SV("q@a.test") }, { .addr = SV("r@b.test") } };
	const char *rows;
	uint64_t ids[3];

	says("show jobs", "0 of 0 jobs");
	three_waiting(ids); /* of j1 */
	submit_of_job(SV(""), both, 1);
	submit_of_job(SV("big"), both, 3);
	submit_of_job(SV("big"), both, 3);
	QWAIT(&rig, view_of("delivery") == 10);
	rows = qrig_ctl(&rig, "show jobs");
	ck_assert_str_eq(rig.ctl_text, "2 of 2 jobs; 1 recipients of no job");
	has(rows, "{\"job\":\"big\",\"rcp\":6,\"ready\":6,\"retry\":0,"
	    "\"inflight\":0,\"hold\":0,\"bounce\":0,\"kb\":");
	ck_assert(strstr(rows, "\"big\"") < strstr(rows, "\"j1\""));
	hasnt(rows, "\"paused\":true");
	qrig_ctl(&rig, "pause job j1");
	rows = qrig_ctl(&rig, "show jobs --sort=oldest");
	has(rows, "{\"job\":\"j1\",\"rcp\":3,\"ready\":0,\"retry\":0,"
	    "\"inflight\":0,\"hold\":3,");
	ck_assert(strstr(rows, "\"big\"") > strstr(rows, "\"j1\""));
	has(rows, "\"paused\":true}");
	has(qrig_ctl(&rig, "show jobs b.test --sort=size"),
	    "{\"job\":\"big\",\"rcp\":2,");
	says("show jobs jobId=j2", "0 of 0 jobs; 10 recipients of others");
	says("show jobs jobId=j* --maxitems=0",
	    "0 of 1 jobs; 7 recipients of others");
	says("show jobs --sort=rate",
	    "here --sort is rcpt, name, size or oldest");
	ends("show jobs --nonsense", 2);
}
END_TEST

/* Queues of one domain come together, whatever lies between their names. */
START_TEST(test_show_domains_and_vmtas_add_up)
{
	const char *rows;

	qrig_ctl(&rig, "pause queue a.test");
	qrig_ctl(&rig, "pause queue a-b.test");
	rig.vmta = "{default}";
	for (int i = 0; i < 3; i++)
		submit_one("r@a.test");
	submit_one("r@a-b.test");
	QWAIT(&rig, view_of("delivery") == 4);
	rows = qrig_ctl(&rig, "show domains");
	ck_assert_msg(strstr(rows, "{\"name\":\"a.test\",\"queues\":1,"
	    "\"rcp\":3,\"ready\":3,") != NULL, "%s", rows);
	ck_assert(strstr(rows, "{\"name\":\"a-b.test\",\"queues\":1,"
	    "\"rcp\":1,") != NULL);
	ck_assert_str_eq(rig.ctl_text, "2 of 2 matching domains");
	rows = qrig_ctl(&rig, "show vmtas");
	ck_assert_msg(strstr(rows, "{\"name\":\"{default}\",\"queues\":2,"
	    "\"rcp\":4,") != NULL, "%s", rows);
	ck_assert(strstr(rows, "\"paused\":2") != NULL);
	ck_assert_str_eq(rig.ctl_text, "1 of 1 matching VMTAs");
	rows = qrig_ctl(&rig, "show domains --maxitems=1");
	ck_assert_uint_eq(lines_of(rows), 1);
	ck_assert_str_eq(rig.ctl_text, "1 of 2 matching domains");
	rows = qrig_ctl(&rig, "show domains");
	ck_assert(strstr(rows, "a.test") > strstr(rows, "a-b.test"));
	rows = qrig_ctl(&rig, "show topdomains");
	ck_assert(strstr(rows, "\"a.test") < strstr(rows, "\"a-b.test"));
	rows = qrig_ctl(&rig, "show topdomains --sort=name");
	ck_assert(strstr(rows, "\"a.test") > strstr(rows, "\"a-b.test"));
	rows = qrig_ctl(&rig, "show domains --sort=rcpt --maxitems=1");
	ck_assert_uint_eq(lines_of(rows), 1);
	has(rows, "\"name\":\"a.test\"");
	ck_assert_str_eq(rig.ctl_text, "1 of 2 matching domains");
	says("show domains --sort=oldest", "here --sort is name or rcpt");
	says("show topdomains domain=c.test", "0 of 0 matching domains");
	ck_assert_str_eq(qrig_ctl(&rig, "show vmtas vmta=x"), "");
	qrig_ctl(&rig, "show domains --nonsense");
	ck_assert_uint_eq(rig.ctl_status, 2);
}
END_TEST

START_TEST(test_diagnose_says_what_is_wrong)
{
	qrig_ctl(&rig, "diagnose");
	ck_assert_uint_eq(rig.ctl_status, 0);
	ck_assert_msg(strncmp(rig.ctl_text, "healthy", 7) == 0, "%s",
	    rig.ctl_text);
	qrig_ctl(&rig, "pause queue a.test");
	for (int i = 0; i < 10; i++)
		(void)qrig_submit(&rig, "s@here.test", "r@a.test");
	/* other queues are not asked about; a younger one is not judged */
	QWAIT(&rig, strstr(qrig_ctl(&rig, "diagnose --older-than=1s"),
	    "\"pattern\":\"P\"") != NULL);
	ck_assert(strstr(qrig_ctl(&rig, "diagnose --older-than=1s"),
	    "resume queue a.test/{default}") != NULL);
	ck_assert_str_eq(qrig_ctl(&rig, "diagnose b.test --older-than=1s"),
	    "");
	ck_assert_str_eq(qrig_ctl(&rig, "diagnose"), "");
	qrig_ctl(&rig, "diagnose --nonsense");
	ck_assert_uint_eq(rig.ctl_status, 2);
	/* one that goes away in the middle */
	qrig_ctl_send(&rig, "diagnose");
	chan_free(&rig.ctl);
	ck_assert_str_eq(qrig_ctl(&rig, "diagnose"), "");
}
END_TEST

/* The configuration, and the queues that matter; the client does the rest. */
START_TEST(test_simulate_tells_figures)
{
	const char *rows;

	rows = qrig_ctl(&rig, "simulate");
	ck_assert_uint_eq(rig.ctl_status, 0);
	ck_assert_str_eq(rig.ctl_text, "0 queues");
	has(rows, "{\"conf\":\"");
	qrig_ctl(&rig, "pause queue a.test");
	qrig_ctl(&rig, "pause queue empty.test/{default}");
	(void)qrig_submit(&rig, "s@here.test", "r@a.test");
	QWAIT(&rig, (rows = qrig_ctl(&rig, "simulate"),
	    strstr(rows, "\"domain\":\"a.test\"") != NULL));
	ck_assert_str_eq(rig.ctl_text, "1 queues");
	has(rows, "\"waiting\":1");
	has(rows, "\"arrived\":60.0");
	has(rows, "\"down\":false");
	hasnt(rows, "empty.test");
	hasnt(qrig_ctl(&rig, "simulate b.test"), "a.test");
	ends("simulate --nonsense", 2);
}
END_TEST

START_TEST(test_ctl_queues_are_shown_sorted_and_filtered)
{
	uint64_t ids[3];
	const char *rows;

	three_waiting(ids);
	rows = qrig_ctl(&rig, "show queues");
	has(rows, "\"name\":\"a.test/{default}\"");
	has(rows, "\"why\":\"paused\"");
	ck_assert_str_eq(rig.ctl_text, "2 of 2 matching queues");
	/* the one with two recipients is the first */
	ck_assert(strstr(rows, "a.test/") < strstr(rows, "b.test/"));
	says("show topqueues --maxitems=1", "1 of 2 matching queues");
	rows = qrig_ctl(&rig, "show queues --sort=name");
	ck_assert(strstr(rows, "a.test/") < strstr(rows, "b.test/"));
	says("show queues domain=b.* vmta={default}", "1 of 1 matching queues");
	says("show queues --queue=b.test/other", "0 of 0 matching queues");
	says("show queues --paused=no", "0 of 0 matching queues");
	says("show queues --paused=maybe",
	    "--paused=maybe: --paused is yes or no");
	says("show queues --paused=yes", "2 of 2 matching queues");
	says("show queues --errors", "0 of 0 matching queues");
	says("show queues --connected=no", "2 of 2 matching queues");
	says("show queues --connected=yes", "0 of 0 matching queues");
	says("show queues --connected=so",
	    "--connected=so: --connected is yes or no");
	rows = qrig_ctl(&rig, "show queues --match=B.T");
	has(rows, "\"name\":\"b.test/{default}\"");
	ck_assert_str_eq(rig.ctl_text, "1 of 1 matching queues");
	says("show queues --match=t/{def", "2 of 2 matching queues");
	says("show queues --match=test/x", "0 of 0 matching queues");
	says("show queues --sort=weight", "--sort=weight: --sort is rcpt, "
	    "name, size, oldest, rate or conn");
	/* they would have selected nothing */
	ends("delete --queue=* --paused=yes", 2);
	ends("delete --queue=* --match=b.test", 2);
	says("list --sort=name", "--match, --sort, --connected, --paused, "
	    "--errors and --waiting are for show");
}
END_TEST

/* Which queue is the first by each figure. */
START_TEST(test_ctl_queues_are_sorted_by_figures)
{
	static const struct {
		const char *sort, *first;
	} t[] = {
		{ "rcpt", "\"name\":\"a.test" },
		{ "name", "\"name\":\"a.test" },
		{ "size", "\"name\":\"a.test" },
		{ "oldest", "\"name\":\"a.test" },
		{ "rate", "\"name\":\"there.test" },
		{ "conn", "\"name\":\"there.test" },
	};
	uint64_t ids[3];
	unsigned n;

	three_waiting(ids);
	n = qrig_deliver(&rig, "s@here.test", "r@there.test", NULL);
	qrig_result(&rig, n, OUT_DELIVERED, 250, "2.0.0", "250 ok");
	QWAIT(&rig, strstr(qrig_ctl(&rig, "show queues there.test"),
	    "\"delivered\":1") != NULL);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		char words[64];

		snprintf(words, sizeof(words), "show queues --maxitems=1 "
		    "--sort=%s", t[i].sort);
		has(qrig_ctl(&rig, words), t[i].first);
		ck_assert_str_eq(rig.ctl_text, "1 of 3 matching queues");
	}
}
END_TEST

/* The first few of many, also if they are the last to be looked at. */
START_TEST(test_ctl_first_of_many_queues)
{
	const char *rows, *at;
	char text[64];

	ends("pause queue *", 1);
	for (int i = 0; i < 60; i++) {
		snprintf(text, sizeof(text), "pause queue d%02d.test", i);
		ends(text, 0);
	}
	for (int i = 0; i < 5; i++) {
		for (int k = 0; k <= i; k++) {
			snprintf(text, sizeof(text), "r@d%02d.test",
			    i == 2 ? 59 : 7 * i + 1);
			submit_one(text);
		}
	}
	QWAIT(&rig, view_of("delivery") == 15);
	for (int most = 1; most <= 70; most++) {
		static const char *const first[] = { "d29.", "d22.", "d59.",
			"d08.", "d01.", "d00.", "d02." };

		snprintf(text, sizeof(text), "show queues --maxitems=%d",
		    most);
		at = rows = qrig_ctl(&rig, text);
		ck_assert_uint_eq(lines_of(rows), most < 60 ? most : 60);
		for (int i = 0; i < 7 && i < most; i++) {
			at = strstr(at, "\"name\":\"");
			ck_assert_ptr_nonnull(at);
			at += strlen("\"name\":\"");
			ck_assert_msg(strncmp(at, first[i], 4) == 0,
			    "%d of %d: %.12s", i, most, at);
		}
	}
	says("show queues --maxitems=0", "0 of 60 matching queues");
	rows = qrig_ctl(&rig, "show queues --maxitems=2 --sort=name");
	has(rows, "\"name\":\"d00.test");
	has(rows, "\"name\":\"d01.test");
}
END_TEST

START_TEST(test_ctl_recipients_are_listed_by_envelope)
{
	char cmd[64], id[MSGID_TEXT];
	uint64_t ids[3];
	const char *rows;

	three_waiting(ids);
	rows = qrig_ctl(&rig, "list");
	has(rows, "\"rcpt\":\"one@a.test\"");
	has(rows, "\"rcpt\":\"three@b.test\"");
	ck_assert_str_eq(rig.ctl_text, "3 recipients");
	rows = qrig_ctl(&rig, "list a.test --orig=S2@*");
	has(rows, "two@a.test");
	hasnt(rows, "one@a.test");
	says("list --rcpt=*@b.test", "1 recipients");
	says("list --jobId=other", "0 recipients");
	says("list --maxitems=2", "2 recipients");
	says("list --maxitems=0", "0 recipients");
	snprintf(cmd, sizeof(cmd), "show message %s", msgid_format(ids[1], id));
	rows = qrig_ctl(&rig, cmd);
	has(rows, "\"orig\":\"s2@here.test\"");
	has(rows, "\"client\":\"192.0.2.9\"");
	has(rows, "\"state\":\"ready\"");
	/* a record that cannot be read is shown as far as it is known */
	qrig_fault(QF_READ, "segments", EIO);
	rows = qrig_ctl(&rig, cmd);
	has(rows, id);
	has(rows, "\"orig\":\"\"");
	rows = qrig_ctl(&rig, "list a.test");
	ck_assert_str_eq(rig.ctl_text, "2 recipients");
}
END_TEST

/* The rule with its place, the forecast; a message with its queue. */
START_TEST(test_ctl_explain_names_the_rule)
{
	char cmd[64], text[MSGID_TEXT];
	const char *rows;
	uint64_t id;
	unsigned n;

	ck_assert_int_eq(qrig_stop(&rig), 0);
	qrig_start(&rig, RATE_CONF);
	qrig_peers(&rig);
	qrig_go(&rig, 1);
	n = qrig_deliver(&rig, "s@here.test", "r1@there.test", NULL);
	qrig_result(&rig, n, OUT_DELIVERED, 250, "2.0.0", "250 ok");
	QWAIT(&rig, rig.smtp.acked == 1);
	id = qrig_submit(&rig, "s@here.test", "r2@there.test");
	QWAIT(&rig, strstr(qrig_ctl(&rig, "explain queue there.test"),
			"\"why\":\"message-rate\"") != NULL);
	rows = qrig_ctl(&rig, "explain queue there.test");
	has(rows, "\"setting\":\"max-msg-rate\",\"value\":\"10/h\","
		  "\"scope\":\"domain there.test\",\"file\":\"test\","
		  "\"line\":9,\"perHour\":10.0");
	has(rows, "\"1m\":{\"");
	has(rows, "\"backlog\":1");
	has(rows, "\"forecast\":\"early\"");
	hasnt(rows, "\"next\":null");
	snprintf(cmd, sizeof(cmd), "explain message %s", msgid_format(id, text));
	rows = qrig_ctl(&rig, cmd);
	has(rows, "\"rcpt\":\"r2@there.test\"");
	has(rows, "\"queue\":\"there.test/{default}\"");
	ends("pause queue there.test", 0);
	QWAIT(&rig, strstr(qrig_ctl(&rig, "explain queue there.test"),
			"\"why\":\"paused\",") != NULL);
	rows = qrig_ctl(&rig, "explain queue there.test");
	has(rows, "\"limit\":null");
	has(rows, "\"forecast\":\"paused\"");
	ends("explain queue", 2);
	ends("explain message", 2);
	ends("explain queue nobody.test", 1);
	ends("explain message 0000000000101", 1);
}
END_TEST

#define LIMITS_CONF \
	RATE_CONF "total-max-smtp-out 50\n<virtual-mta v1>\n" \
	"max-smtp-out 7\nmax-smtp-msg-rate 1000/h\n" \
	"</virtual-mta>\n<virtual-mta-pool p>\nvirtual-mta v1\n" \
	"max-smtp-out 5\n</virtual-mta-pool>\n" \
	"<warmup w>\nvirtual-mta v1\nday-list 100,200\n</warmup>\n"

/* Each with its line, and what is used of it. */
START_TEST(test_ctl_limits_are_all_shown)
{
	const char *rows;
	unsigned n;

	qrig_again(&rig, STOPPED, LIMITS_CONF);
	n = qrig_deliver(&rig, "s@here.test", "r1@there.test", NULL);
	qrig_result(&rig, n, OUT_DELIVERED, 250, "2.0.0", "250 ok");
	QWAIT(&rig, rig.smtp.acked == 1);
	(void)qrig_submit(&rig, "s@here.test", "r2@there.test");
	QWAIT(&rig, strstr(qrig_ctl(&rig, "explain queue there.test"),
	    "\"why\":\"message-rate\"") != NULL);
	ends("pause queue a.test/v1", 0);
	rows = qrig_ctl(&rig, "show limits");
	has(rows, "{\"kind\":\"all\",\"of\":\"\",\"setting\":"
	    "\"total-max-smtp-out\",\"value\":\"50\",\"scope\":\"\",");
	has(rows, "\"used\":1,\"most\":50,\"next\":null,\"waiting\":0}");
	has(rows, "{\"kind\":\"pool\",\"of\":\"p\",\"setting\":"
	    "\"max-smtp-out\",\"value\":\"5\",\"scope\":"
	    "\"virtual-mta-pool p\",");
	has(rows, "{\"kind\":\"vmta\",\"of\":\"v1\",\"setting\":"
	    "\"max-smtp-out\",\"value\":\"7\",\"scope\":"
	    "\"virtual-mta v1\",");
	has(rows, "\"setting\":\"max-smtp-msg-rate\",\"value\":\"1000/h\"");
	has(rows, "{\"kind\":\"warmup\",\"of\":\"w\",\"vmta\":\"v1\","
	    "\"setting\":\"day-list\",\"value\":\"100,200\",");
	has(rows, "{\"kind\":\"queue\",\"of\":\"there.test/{default}\","
	    "\"setting\":\"max-smtp-out\",\"value\":\"1\",\"scope\":"
	    "\"domain *\",");
	has(rows, "\"setting\":\"max-connect-rate\",\"value\":\"20/h\"");
	rows = qrig_ctl(&rig, "show limits --waiting");
	ck_assert_uint_eq(lines_of(rows), 1);
	has(rows, "{\"kind\":\"queue\",\"of\":\"there.test/{default}\","
	    "\"setting\":\"max-msg-rate\",\"value\":\"10/h\",\"scope\":"
	    "\"domain there.test\",\"file\":");
	has(rows, "\"perHour\":10.0,\"next\":\"20");
	ck_assert_str_eq(rig.ctl_text, "1 of 1 limits");
	rows = qrig_ctl(&rig, "show limits nowhere.test/v2");
	hasnt(rows, "\"kind\":\"vmta\"");
	hasnt(rows, "\"kind\":\"queue\"");
	has(rows, "\"kind\":\"pool\"");
	rows = qrig_ctl(&rig, "show limits --maxitems=2");
	ck_assert_uint_eq(lines_of(rows), 2);
	ends("show limits --nonsense", 2);
	/* of all that go to the same host, once */
	(void)qrig_submit(&rig, "s@here.test", "r3@also.test");
	QWAIT(&rig, strstr(qrig_ctl(&rig, "show limits"),
	    "\"kind\":\"site\",\"of\":\"") != NULL);
	has(qrig_ctl(&rig, "show limits also.test"), "\"kind\":\"site\"");
	rows = strstr(qrig_ctl(&rig, "show limits"), "\"kind\":\"site\"");
	ck_assert_ptr_nonnull(rows);
	hasnt(rows + 1, "\"kind\":\"site\"");
}
END_TEST

#define SOURCE_CONF \
	"host-name q.test\n" \
	"smtp-source-host 127.0.0.1 a.test\n" \
	"smtp-source-host 127.0.0.2 b.test\n" \
	"<domain *>\nsource-ip-max-msg-rate 10/8 1/h\n" \
	"source-ip-max-msg-rate 127.0.0.0/8 2/h\n" \
	"source-ip-max-msg-rate 127.0.0.2 3/h\n" \
	"source-ip-max-msg-rate 127.0.0.3 4/h\n</domain>\n"

/* What explain says of it then. */
static const char *
waits_for(const char *domain, const char *why)
{
	char command[100], text[100];

	snprintf(command, sizeof(command), "explain queue %s", domain);
	snprintf(text, sizeof(text), "\"why\":\"%s\"", why);
	QWAIT(&rig, strstr(qrig_ctl(&rig, command), text) != NULL);
	return qrig_ctl(&rig, command);
}

/* The line is the one of the address's network. */
START_TEST(test_ctl_limits_of_source_addresses)
{
	unsigned n;

	qrig_again(&rig, STOPPED, SOURCE_CONF);
	for (int i = 1; i <= 2; i++) {
		n = qrig_deliver(&rig, "s@here.test", "r@there.test", NULL);
		qrig_result(&rig, n, OUT_DELIVERED, 250, "2.0.0", "250 ok");
		QWAIT(&rig, rig.smtp.acked == (unsigned)i);
	}
	(void)qrig_submit(&rig, "s@here.test", "r2@there.test");
	has(waits_for("there.test", "source-message-rate"), "\"limit\":{"
	    "\"setting\":\"source-ip-max-msg-rate\","
	    "\"source\":\"127.0.0.2\",\"value\":\"127.0.0.2 3/h\","
	    "\"scope\":\"domain *\",");
	has(qrig_ctl(&rig, "show limits"), "{\"kind\":\"queue\",\"of\":"
	    "\"there.test/{default}\",\"setting\":"
	    "\"source-ip-max-msg-rate\",\"source\":\"127.0.0.1\","
	    "\"value\":\"127.0.0.0/8 2/h\",");
	has(qrig_ctl(&rig, "show limits --waiting"),
	    "\"source\":\"127.0.0.2\"");
}
END_TEST

#define HOST_CONF \
	"host-name q.test\nmx-connection-limit *.test 5\n" \
	"mx-connection-limit mx.test 1\nip-connection-limit 127/8 7\n" \
	"<domain *>\ndisable-mx-rollup yes\n</domain>\n"

START_TEST(test_ctl_limits_of_hosts_and_networks)
{
	const char *rows;

	qrig_again(&rig, STOPPED, HOST_CONF);
	(void)qrig_deliver(&rig, "s@here.test", "r@there.test", NULL);
	(void)qrig_submit(&rig, "s@here.test", "r2@also.test");
	has(waits_for("also.test", "host-connections"), "\"limit\":{"
	    "\"setting\":\"mx-connection-limit\",\"host\":\"mx.test\","
	    "\"source\":\"system\",\"value\":\"mx.test 1\","
	    "\"scope\":\"\",");
	rows = qrig_ctl(&rig, "show limits");
	has(rows, "{\"kind\":\"host\",\"of\":\"mx.test\",\"setting\":"
	    "\"mx-connection-limit\",");
	has(rows, "{\"kind\":\"network\",\"of\":\"127.0.0.0/8\",\"setting\":"
	    "\"ip-connection-limit\",\"network\":\"127.0.0.0/8\","
	    "\"source\":\"system\",\"value\":\"127/8 7\",");
	has(rows, "\"used\":1,\"most\":7,");
	has(qrig_ctl(&rig, "show limits --waiting"),
	    "\"used\":1,\"most\":1,");
	ck_assert_str_eq(rig.ctl_text, "1 of 1 limits");
	/* its place goes to the other */
	qrig_result(&rig, 0, OUT_DELIVERED, 250, "2.0.0", "250 ok");
	QWAIT(&rig, rig.smtp.nopens == 2);
	ck_assert_str_eq(rig.smtp.opens[1].queue, "also.test/{default}");
}
END_TEST

void
qmgr_tests_shown(Suite *s)
{
	TCase *tc = qrig_tcase(s, "control");

	tcase_add_test(tc, test_jobs_are_added_up);
	tcase_add_test(tc, test_show_domains_and_vmtas_add_up);
	tcase_add_test(tc, test_diagnose_says_what_is_wrong);
	tcase_add_test(tc, test_simulate_tells_figures);
	tcase_add_test(tc, test_ctl_queues_are_shown_sorted_and_filtered);
	tcase_add_test(tc, test_ctl_queues_are_sorted_by_figures);
	tcase_add_test(tc, test_ctl_first_of_many_queues);
	tcase_add_test(tc, test_ctl_recipients_are_listed_by_envelope);
	tcase_add_test(tc, test_ctl_explain_names_the_rule);
	tcase_add_test(tc, test_ctl_limits_are_all_shown);
	tcase_add_test(tc, test_ctl_limits_of_source_addresses);
	tcase_add_test(tc, test_ctl_limits_of_hosts_and_networks);
}
