/* SPDX-License-Identifier: ISC */
/* Commands whose answer comes from another process: the test is all of
 * them. */
#include <string.h>

#include "common/base/buf.h"
#include "tests/unit/qmgr/qrig.h"

/* It has ended like that, with these words. */
static void
ended(unsigned status, const char *text)
{
	QWAIT(&rig, rig.ctl_end);
	ck_assert_str_eq(rig.ctl_text, text);
	ck_assert_uint_eq(rig.ctl_status, status);
}

static void
has_row(const char *row)
{
	ck_assert_int_eq(buf_add(&rig.rows, "", 1), 0);
	ck_assert_msg(strstr((const char *)buf_data(&rig.rows), row) != NULL,
	    "no %s in %s", row, (const char *)buf_data(&rig.rows));
}

static void
refused(const char *words, unsigned status, const char *text)
{
	qrig_ctl(&rig, words);
	ended(status, text);
}

/* ---- rotate ---- */

static void
rotate_asked(const char *words, const char *file)
{
	unsigned before = rig.acct.rotates;

	qrig_ctl_send(&rig, words);
	QWAIT(&rig, rig.acct.rotates > before);
	ck_assert_str_eq(rig.acct.rotate_file, file);
}

static void
rotate_answer(bool ok, const char *text, struct sv *files, uint32_t n)
{
	ipc_send_rotated(rig.acct.chan,
	    &(struct ipc_rotated){ .token = rig.acct.rotate_token, .ok = ok,
		.text = sv_from(text), .files = { .array = files, .n = n } });
}

START_TEST(test_rotate_acct_says_what_was_closed)
{
	struct sv files[] = { SV("acct-1.csv"), SV("d\"iag-1.csv") };

	qpeer_join(&rig, &rig.acct, R_ACCT);
	rotate_asked("rotate acct", "");
	/* an answer to nobody, then ours */
	ipc_send_rotated(rig.acct.chan,
	    &(struct ipc_rotated){ .token = 4711, .ok = 1 });
	rotate_answer(true, "", files, 2);
	ended(0, "2 closed; the next record begins a new one");
	has_row("{\"closed\":\"acct-1.csv\"}\n"
	    "{\"closed\":\"d\\\"iag-1.csv\"}\n");
	rotate_asked("rotate acct diag.csv", "diag.csv");
	rotate_answer(true, "", NULL, 0);
	ended(0, "no accounting file is open");
	rotate_asked("rotate acct other.csv", "other.csv");
	rotate_answer(false, "there is no such", NULL, 0);
	ended(1, "there is no such");
	refused("rotate acct a b", 2, "rotate acct takes one file");
	ck_assert_uint_eq(rig.acct.rotates, 3);
}
END_TEST

START_TEST(test_rotate_acct_without_acct_is_refused)
{
	refused("rotate acct", 1, "the accounting process does not run");
	qpeer_join(&rig, &rig.acct, R_ACCT);
	rotate_asked("rotate acct", "");
	qpeer_leave(&rig.acct);
	ended(1, "the accounting process has ended; whether it closed its "
	    "files is not known");
}
END_TEST

START_TEST(test_rotate_log_is_the_masters)
{
	refused("rotate log x", 2, "rotate log takes no words");
	qrig_ctl_send(&rig, "rotate log");
	QWAIT(&rig, rig.command_token != 0);
	ck_assert_str_eq(rig.command, "rotate log");
	/* the end of acct is nothing to it */
	qpeer_join(&rig, &rig.acct, R_ACCT);
	qpeer_leave(&rig.acct);
	qrig_pass(&rig, 50);
	ck_assert(!rig.ctl_end);
	ipc_send_master_reply(rig.master, &(struct ipc_master_reply){
	    .token = rig.command_token, .ok = 1, .text = SV("log.1") });
	ended(0, "log.1");
}
END_TEST

/* ---- resolve ---- */

static const struct route_addr addrs[] = { { 4, { 192, 0, 2, 1 } },
	{ 6, { 0x20, 1, 0xd, 0xb8, [15] = 1 } } };
static const struct route_host hosts[] = {
	{ 10, 2525, SV("mx1.test"), addrs, 2 },
	{ 20, 2525, SV("mx2.test"), addrs, 1 } };

/* Sends it, and waits until the resolver was asked for that domain. */
static void
resolve_asked(const char *words, const char *domain)
{
	unsigned before = rig.resolver.nresolves;

	qrig_ctl_send(&rig, words);
	QWAIT(&rig, rig.resolver.nresolves > before || rig.ctl_end);
	ck_assert_msg(!rig.ctl_end, "%s", rig.ctl_text);
	ck_assert_str_eq(rig.resolver.resolves[before % QRIG_LISTS].domain,
	    domain);
}

static void
resolve_answer(enum route_status status, const char *text)
{
	unsigned last = (rig.resolver.nresolves - 1) % QRIG_LISTS;
	struct route r = { .hosts = hosts, .nhosts = 2 };
	unsigned char mem[1024];
	struct wr w;

	wr_init(&w, mem, sizeof(mem));
	route_encode(&w, &r);
	ipc_send_route(rig.resolver.chan, &(struct ipc_route){
	    .token = rig.resolver.resolves[last].token, .status = (uint8_t)status,
	    .ttl_s = 300, .text = sv_from(text),
	    .route = status == ROUTE_OK ? sv_make(mem, w.n) : SV("") });
}

#define RESOLVE_CONF QRIG_CONF \
	"<virtual-mta V1>\nhost-name out.test\n" \
	"smtp-source-host 192.0.2.7 seven.test\n" \
	"smtp-source-host 2001:db8::7 seven.test\n" \
	"<domain to.test>\nqueue-to there.test\n</domain>\n" \
	"<domain fixed.test>\nsmtp-hosts mx1.test:2525\n</domain>\n" \
	"</virtual-mta>\n<mx-rollup-list>\nmx * big.rollup\n" \
	"</mx-rollup-list>\n"

START_TEST(test_resolve_is_what_delivery_would_get)
{
	rig.resolver.answers = false;
	resolve_asked("resolve A.test", "a.test");
	resolve_answer(ROUTE_OK, "");
	ended(0, "");
	has_row("{\"queue\":\"a.test/{default}\",\"status\":\"ok\","
	    "\"action\":\"deliver\",\"code\":\"\",\"text\":\"\","
	    "\"validity_s\":300,\"smtpHosts\":\"\",\"site\":\"mx1.test\","
	    "\"rollup\":false,\"hosts\":[{\"preference\":10,"
	    "\"name\":\"mx1.test\",\"port\":2525,\"addresses\":"
	    "[\"192.0.2.1\",\"2001:db8::1\"],\"leftOut\":false},"
	    "{\"preference\":20,\"name\":\"mx2.test\"");
	has_row("\"sources\":[{\"ip\":\"\",\"helo\":\"q.test\"}]");
	/* no queue was made */
	ck_assert_ptr_null(strstr(qrig_ctl(&rig, "show queues"), "a.test"));
}
END_TEST

START_TEST(test_resolve_has_the_settings_of_the_queue)
{
	qrig_conf(&rig, RESOLVE_CONF);
	rig.resolver.answers = false;
	resolve_asked("resolve to.test/v1", "there.test");
	resolve_answer(ROUTE_OK, "");
	ended(0, "");
	has_row("{\"queue\":\"there.test/V1\"");
	has_row("\"site\":\"big.rollup\",\"rollup\":true");
	has_row("\"sources\":[{\"ip\":\"192.0.2.7\","
	    "\"helo\":\"seven.test\"},{\"ip\":\"2001:db8::7\"");
	resolve_asked("resolve fixed.test/V1", "fixed.test");
	resolve_answer(ROUTE_OK, "");
	ended(0, "");
	has_row("\"smtpHosts\":\"mx1.test:2525\",\"site\":\"\","
	    "\"rollup\":false");
}
END_TEST

START_TEST(test_resolve_failures_say_what_becomes_of_mail)
{
	rig.resolver.answers = false;
	resolve_asked("resolve a.test", "a.test");
	resolve_answer(ROUTE_NO_DOMAIN, "no \033 such");
	ended(1, "mail for it is returned with 5.1.2");
	has_row("\"status\":\"no-domain\",\"action\":\"bounce\","
	    "\"code\":\"5.1.2\",\"text\":\"no \\u001B such\"");
	has_row("\"hosts\":[]");
	resolve_asked("resolve a.test", "a.test");
	resolve_answer(ROUTE_TEMPORARY, "SERVFAIL");
	ended(1, "mail for it waits and is tried again");
	has_row("\"status\":\"temporary\",\"action\":\"retry\","
	    "\"code\":\"4.4.3\"");
}
END_TEST

START_TEST(test_resolve_is_refused)
{
	refused("resolve", 2, "which domain? resolve domain[/vmta]");
	refused("resolve a b", 2, "which domain? resolve domain[/vmta]");
	refused("resolve --x", 2, "which domain? resolve domain[/vmta]");
	refused("resolve a..b", 2, "which domain? resolve domain[/vmta]");
	refused("resolve a.test/nope", 1, "there is no <virtual-mta nope>");
	rig.resolver.answers = false;
	resolve_asked("resolve a.test", "a.test");
	qpeer_leave(&rig.resolver);
	ended(1, "the resolver has ended; it is started again");
	refused("resolve a.test", 1,
	    "the resolver does not run; it is started again");
}
END_TEST

/* ---- trace ---- */

/* Waits until these words are in the rows that came. */
static bool
row_came(const char *words)
{
	struct sv all = buf_sv(&rig.rows);

	return all.n > 0 && memmem(all.p, all.n, words, strlen(words)) != NULL;
}

static void
trace_begun(const char *words)
{
	qrig_ctl_send(&rig, words);
	QWAIT(&rig, row_came("waits for the next session") || rig.ctl_end);
	ck_assert_msg(!rig.ctl_end, "%s", rig.ctl_text);
}

static void
trace_send(unsigned open, const char *text, uint32_t lost, bool end)
{
	ipc_send_trace(rig.smtp.chan, &(struct ipc_trace){
	    .session = rig.smtp.opens[open].session, .lost = lost,
	    .end = end, .text = sv_from(text) });
}

/* All domains have the same host: one connection would be for one of them. */
#define TRACE_CONF "host-name q.test\n<domain *>\nmax-smtp-out 9\n</domain>\n"

START_TEST(test_trace_is_of_the_next_session_of_the_queue)
{
	qrig_conf(&rig, TRACE_CONF);
	qrig_deliver(&rig, "s@x.test", "r@b.test", NULL);
	ck_assert_uint_eq(rig.smtp.opens[0].flags & SESSION_TRACE, 0);
	trace_begun("trace a.test");
	qrig_deliver(&rig, "s@x.test", "r@c.test", NULL);
	ck_assert_uint_eq(rig.smtp.opens[1].flags & SESSION_TRACE, 0);
	/* nobody waits for that */
	trace_send(1, ">>> 220 not for us\n", 0, true);
	qrig_deliver(&rig, "s@x.test", "r@a.test", NULL);
	ck_assert_uint_eq(rig.smtp.opens[2].flags &
	    (SESSION_TRACE | SESSION_TRACE_DATA), SESSION_TRACE);
	trace_send(2, ">>> 220 \033[2J\n<<< EHLO us\n", 0, false);
	trace_send(2, "", 7, false);
	trace_send(2, "--- bye\n", 0, true);
	ended(0, "the session is over: 4 lines, 7 left out");
	has_row("\"what\":\"received\",\"text\":\"220 \\u001B[2J\"}");
	has_row("\"what\":\"sent\",\"text\":\"EHLO us\"}");
	has_row("{\"lost\":7}\n{\"time\":");
	has_row("\"what\":\"event\",\"text\":\"bye\"}");
	ck_assert_ptr_null(strstr((const char *)buf_data(&rig.rows),
	    "not for us"));
	ck_assert_uint_eq(rig.smtp.trace_stops, 0);
}
END_TEST

START_TEST(test_trace_stops_with_its_client)
{
	trace_begun("trace --log-data */{default}");
	qrig_deliver(&rig, "s@x.test", "r@a.test", NULL);
	ck_assert_uint_eq(rig.smtp.opens[0].flags &
	    (SESSION_TRACE | SESSION_TRACE_DATA),
	    SESSION_TRACE | SESSION_TRACE_DATA);
	chan_free(&rig.ctl);
	QWAIT(&rig, rig.smtp.trace_stops == 1);
	trace_send(0, ">>> 220 x\n", 0, true);
	/* one that waits yet has nothing to stop */
	trace_begun("trace z.test");
	chan_free(&rig.ctl);
	qrig_ctl(&rig, "show version");
	ck_assert_uint_eq(rig.smtp.trace_stops, 1);
}
END_TEST

START_TEST(test_trace_ends_with_its_worker)
{
	trace_begun("trace a.test");
	qrig_deliver(&rig, "s@x.test", "r@a.test", NULL);
	trace_send(0, ">>> 220 x\n", 0, false);
	QWAIT(&rig, row_came("220 x"));
	qpeer_leave(&rig.smtp);
	ended(0, "the delivery process has ended: 2 lines");
}
END_TEST

START_TEST(test_trace_of_a_source_address)
{
	qrig_conf(&rig, TRACE_CONF "smtp-source-host 192.0.2.7 x.test\n");
	trace_begun("trace --source-ip=192.0.2.9 a.test");
	qrig_deliver(&rig, "s@x.test", "r@a.test", NULL);
	ck_assert_str_eq(rig.smtp.opens[0].source_ip, "192.0.2.7");
	ck_assert_uint_eq(rig.smtp.opens[0].flags & SESSION_TRACE, 0);
	trace_begun("trace --source-ip=192.0.2.7 b.test");
	qrig_deliver(&rig, "s@x.test", "r@b.test", NULL);
	ck_assert_uint_ne(rig.smtp.opens[1].flags & SESSION_TRACE, 0);
}
END_TEST

START_TEST(test_trace_is_refused)
{
	struct chan *others[8];

	refused("trace", 2, "which queue? domain/vmta");
	refused("trace --source-ip=x a.test", 2,
	    "--source-ip wants an address");
	refused("trace --sort=name a.test", 2, "--match, --sort, --connected, "
	    "--paused, --errors and --waiting are for show");
	for (size_t i = 0; i < 8; i++) {
		trace_begun("trace a.test");
		others[i] = rig.ctl;
		rig.ctl = NULL;
	}
	refused("trace a.test", 1, "there are 8 traces already");
	chan_free(&others[3]);
	trace_begun("trace a.test");
	for (size_t i = 0; i < 8; i++)
		chan_free(&others[i]);
}
END_TEST

START_TEST(test_second_command_while_one_waits_is_refused)
{
	struct sv words[] = { SV("list") };
	struct ipc_ctl_request m = { { .array = words, .n = 1 } };

	qpeer_join(&rig, &rig.acct, R_ACCT);
	rotate_asked("rotate acct", "");
	ipc_send_ctl_request(rig.ctl, &m);
	ended(1, "one command at a time");
	rotate_answer(true, "", NULL, 0);
	QWAIT(&rig, rig.ctl_ends == 2);
	ck_assert_str_eq(rig.ctl_text, "no accounting file is open");
}
END_TEST

void
qmgr_tests_ask(Suite *s)
{
	TCase *tc = qrig_tcase(s, "ask");

	tcase_add_test(tc, test_rotate_acct_says_what_was_closed);
	tcase_add_test(tc, test_rotate_acct_without_acct_is_refused);
	tcase_add_test(tc, test_rotate_log_is_the_masters);
	tcase_add_test(tc, test_resolve_is_what_delivery_would_get);
	tcase_add_test(tc, test_resolve_has_the_settings_of_the_queue);
	tcase_add_test(tc, test_resolve_failures_say_what_becomes_of_mail);
	tcase_add_test(tc, test_resolve_is_refused);
	tcase_add_test(tc, test_trace_is_of_the_next_session_of_the_queue);
	tcase_add_test(tc, test_trace_stops_with_its_client);
	tcase_add_test(tc, test_trace_ends_with_its_worker);
	tcase_add_test(tc, test_trace_of_a_source_address);
	tcase_add_test(tc, test_trace_is_refused);
	tcase_add_test(tc, test_second_command_while_one_waits_is_refused);
}
