/* SPDX-License-Identifier: ISC */
/* The queue manager as a process: the operator's commands. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/msgid.h"
#include "qmgr/qmgr.h"
#include "common/mail/ctl_headers.h"
#include "tests/unit/qmgr/qrig.h"

#define has(text, part)                                                        \
	ck_assert_msg(strstr(text, part) != NULL, "no %s in:\n%s", part, text)
#define hasnt(text, part)                                                      \
	ck_assert_msg(strstr(text, part) == NULL, "%s in:\n%s", part, text)
/* How a command ends: its text, its status. */
#define says(command, text)                                                    \
	do {                                                                   \
		qrig_ctl(&rig, command);                                       \
		ck_assert_str_eq(rig.ctl_text, text);                          \
	} while (0)
#define ends(command, status)                                                  \
	do {                                                                   \
		qrig_ctl(&rig, command);                                       \
		ck_assert_uint_eq(rig.ctl_status, status);                     \
	} while (0)

/* Three recipients in two queues that do not move. */
static void
three_waiting(uint64_t ids[3])
{
	ends("pause queue a.test", 0);
	qrig_ctl(&rig, "pause queue b.test/{default}");
	ids[0] = qrig_submit(&rig, "s1@here.test", "one@a.test");
	ids[1] = qrig_submit(&rig, "s2@here.test", "two@a.test");
	ids[2] = qrig_submit(&rig, "s1@here.test", "three@b.test");
	QWAIT(&rig, (qrig_ctl(&rig, "show status"),
			qrig_number(&rig, "delivery") == 3));
}

static unsigned
lines_of(const char *rows)
{
	unsigned n = 0;

	for (; *rows != '\0'; rows++)
		n += *rows == '\n';
	return n;
}

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

static long long
view_of(const char *view)
{
	qrig_ctl(&rig, "show status");
	return qrig_number(&rig, view);
}

static void
submit_one(const char *rcpt)
{
	(void)qrig_submit(&rig, "s@here.test", rcpt);
}

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

static void
trash_again(bool kill, const char *conf)
{
	if (kill)
		qrig_kill(&rig);
	else
		ck_assert_int_eq(qrig_stop(&rig), 0);
	qrig_start(&rig, conf);
	qrig_peers(&rig);
	qrig_go(&rig, 1);
}

/* One of each state goes and comes back as it was, over a crash (the log) and a
 * stop (the checkpoint). */
START_TEST(test_ctl_undo_brings_back_what_was_deleted)
{
	char next[64] = "", *at;
	const char *rows;
	unsigned n;

	trash_again(false, TRASH_CONF("1h"));
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
		trash_again(i == 0, TRASH_CONF("1h"));
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
		trash_again(i == 0, TRASH_CONF("1h"));
	}
}
END_TEST

START_TEST(test_ctl_trash_ends_and_gives_its_space_back)
{
	trash_again(false, TRASH_CONF("2s"));
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
	trash_again(false, TRASH_CONF("2s"));
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

static void
again(bool kill)
{
	if (kill)
		qrig_kill(&rig);
	else
		ck_assert_int_eq(qrig_stop(&rig), 0);
	qrig_start(&rig, QRIG_CONF);
	qrig_peers(&rig);
	qrig_go(&rig, 1);
}

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
		again(i < 2);
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
	again(true);
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

#define RATE_CONF \
	QRIG_CONF "<domain there.test>\nmax-msg-rate 10/h\n" \
	"max-connect-rate 20/h\n</domain>\n"

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

static void
life_with(const char *conf)
{
	ck_assert_int_eq(qrig_stop(&rig), 0);
	qrig_start(&rig, conf);
	qrig_peers(&rig);
	qrig_go(&rig, 1);
}

#define REPLY_CONF \
	QRIG_CONF "<smtp-pattern-list p>\n" \
	"reply /slow down/ mode=backoff,for=1h\n" \
	"reply /no mailbox/ bounce-rcpt\n" \
	"</smtp-pattern-list>\n<domain *>\nsmtp-pattern-list p\n" \
	"retry-recipients-after 1h\n</domain>\n"

START_TEST(test_ctl_replies_act_and_are_remembered)
{
	unsigned n;

	life_with(REPLY_CONF);
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

	life_with(LIMITS_CONF);
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

	life_with(SOURCE_CONF);
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

	life_with(HOST_CONF);
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

	tcase_add_test(tc, test_status_shows_unknown_vmtas);
	tcase_add_test(tc, test_standing_hold_takes_what_comes);
	tcase_add_test(tc, test_standing_bounce_and_its_time);
	tcase_add_test(tc, test_job_is_paused_and_resumed);
	tcase_add_test(tc, test_jobs_are_added_up);
	tcase_add_test(tc, test_standing_has_its_limits);
	tcase_add_test(tc, test_show_domains_and_vmtas_add_up);
	tcase_add_test(tc, test_diagnose_says_what_is_wrong);
	tcase_add_test(tc, test_simulate_tells_figures);
	tcase_add_test(tc, test_audit_has_every_change);
	tcase_add_test(tc, test_audit_begins_anew_and_bears_errors);
	tcase_add_test(tc, test_ctl_wrong_commands_are_misuse);
	tcase_add_test(tc, test_ctl_queues_are_shown_sorted_and_filtered);
	tcase_add_test(tc, test_ctl_queues_are_sorted_by_figures);
	tcase_add_test(tc, test_ctl_first_of_many_queues);
	tcase_add_test(tc, test_ctl_recipients_are_listed_by_envelope);
	tcase_add_test(tc, test_ctl_delete_counts_then_deletes);
	tcase_add_test(tc, test_ctl_delete_leaves_what_a_worker_has);
	tcase_add_test(tc, test_ctl_undo_brings_back_what_was_deleted);
	tcase_add_test(tc, test_ctl_trash_ends_and_gives_its_space_back);
	tcase_add_test(tc, test_ctl_hold_keeps_reason_and_who);
	tcase_add_test(tc, test_ctl_hold_waits_for_what_is_in_flight);
	tcase_add_test(tc, test_ctl_bounce_tells_the_sender);
	tcase_add_test(tc, test_ctl_pause_survives_and_resume_moves);
	tcase_add_test(tc, test_ctl_mode_survives_beside_pause);
	tcase_add_test(tc, test_ctl_rates_survive);
	tcase_add_test(tc, test_pool_members_take_turns_by_weight);
	tcase_add_test(tc, test_pool_is_another_after_a_reload);
	tcase_add_test(tc, test_ctl_replies_act_and_are_remembered);
	tcase_add_test(tc, test_ctl_explain_names_the_rule);
	tcase_add_test(tc, test_ctl_limits_are_all_shown);
	tcase_add_test(tc, test_ctl_limits_of_source_addresses);
	tcase_add_test(tc, test_ctl_limits_of_hosts_and_networks);
	tcase_add_test(tc, test_ctl_schedule_ends_the_wait);
	tcase_add_test(tc, test_ctl_config_and_version_are_shown);
	tcase_add_test(tc, test_ctl_reload_is_the_masters);
	tcase_add_test(tc, test_ctl_orphan_says_so_and_stops);
	tcase_add_test(tc, test_ctl_two_commands_at_once_are_refused);
	tcase_add_test(tc, test_ctl_rows_end_when_the_client_goes);
}
