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
	tcase_add_test(tc, test_second_command_while_one_waits_is_refused);
}
