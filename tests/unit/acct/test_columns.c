/* SPDX-License-Identifier: ISC */
/*
 * Without arguments: the unit tests. With "bytes": writes one record for each
 * byte value in a diagnostic, for test_columns_python.py.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "acct/columns.h"
#include "tests/unit/acct/logmake.h"

static const struct conf_svs no_fields;

static struct acct_columns
columns(uint32_t records, const char *fields)
{
	struct sv v = sv_from(fields), unknown;
	struct conf_svs list = { &v, 1 };
	struct acct_columns c;

	acct_columns_make(&c, records, fields == NULL ? &no_fields : &list,
	    &unknown);
	return c;
}

static void
want_text(struct buf *b, const char *want)
{
	struct sv got = buf_sv(b);

	ck_assert_msg(sv_eq(got, sv_from(want)), "got:\n%.*s\nwant:\n%s",
	    SV_FMT(got), want);
	buf_clear(b);
}

static void
want_header(uint32_t records, const char *fields, const char *want)
{
	struct acct_columns c = columns(records, fields);
	struct buf b;

	buf_init(&b, 65536);
	ck_assert_int_eq(acct_header_add(&b, &c), 0);
	want_text(&b, want);
	buf_fini(&b);
}

START_TEST(test_header_types_as_powermta)
{
	static const char dbt[] =
	    "type,timeLogged,timeQueued,orig,rcpt,orcpt,dsnAction,dsnStatus,"
	    "dsnDiag,dsnMta,bounceCat,srcType,srcMta,dlvType,dlvSourceIp,"
	    "dlvDestinationIp,dlvEsmtpAvailable,dlvSize,vmta,jobId,envId,"
	    "queue,vmtaPool\n";

	want_header(CONF_REC_D | CONF_REC_B, NULL, dbt);
	want_header(CONF_REC_T, NULL, dbt);
	want_header(ACCT_ALL, NULL, dbt);
	want_header(CONF_REC_TQ, NULL, "type,timeLogged,dsnStatus,dsnDiag,"
	    "dsnMta,dlvType,dlvSourceIp,dlvDestinationIp,vmta,queue\n");
}
END_TEST

START_TEST(test_header_fields_selected)
{
	want_header(CONF_REC_D, "d rcpt,timeLogged", "type,rcpt,timeLogged\n");
	want_header(CONF_REC_D, "b rcpt", "type,timeLogged,timeQueued,orig,"
	    "rcpt,orcpt,dsnAction,dsnStatus,dsnDiag,dsnMta,bounceCat,srcType,"
	    "srcMta,dlvType,dlvSourceIp,dlvDestinationIp,dlvEsmtpAvailable,"
	    "dlvSize,vmta,jobId,envId,queue,vmtaPool\n");
	want_header(CONF_REC_TQ, "tq *, !queue, !vmta userString",
	    "type,timeLogged,dsnStatus,dsnDiag,dsnMta,dlvType,dlvSourceIp,"
	    "dlvDestinationIp,userString\n");
	want_header(CONF_REC_TQ, "tq !dsnDiag", "type,timeLogged,dsnStatus,"
	    "dsnMta,dlvType,dlvSourceIp,dlvDestinationIp,vmta,queue\n");
	want_header(CONF_REC_D | CONF_REC_B, "d,b RCPT,nonsense",
	    "type,rcpt\n");
}
END_TEST

START_TEST(test_header_unknown_name_reported)
{
	struct sv v = SV("d rcpt,nonsense,alsonot"), unknown;
	struct conf_svs list = { &v, 1 };
	struct acct_columns c;

	acct_columns_make(&c, CONF_REC_D, &list, &unknown);
	ck_assert(sv_eq(unknown, SV("nonsense")));
	ck_assert_uint_eq(c.n, 2);
}
END_TEST

START_TEST(test_record_types_as_powermta)
{
	struct acct_columns c = columns(ACCT_ALL, NULL);
	struct acct_style style = { .iso_times = true };
	struct ev_attempt a;
	struct ev_queue_fail q = {
		.time_us = UINT64_C(1769868360000000),
		.queue = SV("slow.example/vmtaA"), .status = SV("4.4.1"),
		.mta = SV("mx.slow.example (203.0.113.5)"),
		.source_ip = SV("198.51.100.7"), .dest_ip = SV("203.0.113.5"),
	};
	struct acct_record r = { CONF_REC_D, &a, NULL, SV("smtp") };
	struct buf b;
	char job[16];

	buf_init(&b, 65536);
	a = logmake_attempt(1, job);
	ck_assert_int_eq(acct_record_add(&b, &c, &style, &r), 0);
	want_text(&b, "d,2026-01-31 14:05:09+0000,2026-01-31 14:05:08+0000,"
	    "b-7@bnc.example.org,u1@dest.example,,relayed,2.0.0 (success),"
	    "smtp;250 ok,mx1.dest.example (192.0.2.9),,smtp,"
	    "app1 (10.0.0.4),smtp,198.51.100.7,192.0.2.9,"
	    "\"PIPELINING,SIZE\",18234,vmtaA,job1,,dest.example/vmtaA,\n");
	a = logmake_attempt(5, job);
	r.type = CONF_REC_B;
	ck_assert_int_eq(acct_record_add(&b, &c, &style, &r), 0);
	want_text(&b, "b,2026-01-31 14:05:09+0000,2026-01-31 14:05:08+0000,"
	    "b-7@bnc.example.org,u1@dest.example,,failed,"
	    "5.1.1 (bad destination mailbox address),"
	    "smtp;550 5.1.1 no such user,mx1.dest.example (192.0.2.9),"
	    "bad-mailbox,smtp,app1 (10.0.0.4),smtp,198.51.100.7,192.0.2.9,"
	    "\"PIPELINING,SIZE\",,vmtaA,job5,,dest.example/vmtaA,\n");
	r = (struct acct_record){ CONF_REC_TQ, NULL, &q, SV("smtp") };
	ck_assert_int_eq(acct_record_add(&b, &c, &style, &r), 0);
	want_text(&b, "tq,2026-01-31 14:06:00+0000,,,,,,"
	    "4.4.1 (no answer from host),,mx.slow.example (203.0.113.5),,,,"
	    "smtp,198.51.100.7,203.0.113.5,,,vmtaA,,,slow.example/vmtaA,\n");
	buf_fini(&b);
}
END_TEST

START_TEST(test_record_no_room_nothing_added)
{
	struct acct_columns c = columns(CONF_REC_D, NULL);
	struct acct_style style = { .iso_times = false };
	char job[16];
	struct ev_attempt a = logmake_attempt(1, job);
	struct acct_record r = { CONF_REC_D, &a, NULL, SV("smtp") };
	struct buf b;

	for (size_t cap = 10; cap < 200; cap++) {
		buf_init(&b, cap);
		ck_assert_int_eq(buf_add(&b, "before", 6), 0);
		ck_assert_int_eq(acct_record_add(&b, &c, &style, &r), -1);
		ck_assert(sv_eq(buf_sv(&b), SV("before")));
		buf_fini(&b);
	}
}
END_TEST

START_TEST(test_record_longest_texts_fit)
{
	struct acct_columns c = columns(CONF_REC_D, "d dsnDiag,timeLogged");
	struct acct_style style = { .iso_times = false };
	char job[16], text[EV_TEXT_MAX];
	struct ev_attempt a = logmake_attempt(1, job);
	struct acct_record r = { CONF_REC_D, &a, NULL, SV("smtp") };
	struct buf b;

	memset(text, 0xff, sizeof(text));
	a.diag = sv_make(text, sizeof(text));
	buf_init(&b, 1u << 20);
	ck_assert_int_eq(acct_record_add(&b, &c, &style, &r), 0);
	ck_assert_uint_eq(buf_len(&b), strlen("d,\"x-pinnace;\",1769868309\n")
	    + 4 * sizeof(text));
	buf_fini(&b);
}
END_TEST

static int
write_bytes(void)
{
	struct acct_columns c = columns(CONF_REC_B, "b jobId,dsnDiag");
	struct acct_style style = { .iso_times = true };
	struct buf b;

	buf_init(&b, 1u << 20);
	if (acct_header_add(&b, &c) != 0)
		return 1;
	for (unsigned i = 0; i < 256; i++) {
		char diag[] = "550 a, b ?", job[16];
		struct ev_attempt a = logmake_attempt(i, job);
		struct acct_record r = { CONF_REC_B, &a, NULL, SV("smtp") };

		diag[sizeof(diag) - 2] = (char)i;
		a.diag = sv_make(diag, sizeof(diag) - 1);
		if (acct_record_add(&b, &c, &style, &r) != 0)
			return 1;
	}
	fwrite(buf_data(&b), 1, buf_len(&b), stdout);
	buf_fini(&b);
	return 0;
}

static int
run_tests(void)
{
	Suite *s = suite_create("columns");
	TCase *t = tcase_create("columns");
	SRunner *r;
	int failed;

	tcase_add_test(t, test_header_types_as_powermta);
	tcase_add_test(t, test_header_fields_selected);
	tcase_add_test(t, test_header_unknown_name_reported);
	tcase_add_test(t, test_record_types_as_powermta);
	tcase_add_test(t, test_record_no_room_nothing_added);
	tcase_add_test(t, test_record_longest_texts_fit);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}

int
main(int argc, char **argv)
{
	setenv("TZ", "UTC", 1);
	if (argc > 1 && strcmp(argv[1], "bytes") == 0)
		return write_bytes();
	return run_tests();
}
