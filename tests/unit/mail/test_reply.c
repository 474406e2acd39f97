/* SPDX-License-Identifier: ISC */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "common/mail/received.h"
#include "common/mail/reply.h"
#include "common/mail/rfc5322_date.h"

/* RFC 2034, RFC 3463 2, RFC 5321 4.5.3.1.5 */
START_TEST(test_reply_every_row_status_matches_code)
{
	for (int i = 0; i < REPLY_COUNT; i++) {
		struct sv st = reply_status((enum reply)i);
		struct sv text = reply_text((enum reply)i);
		unsigned code = reply_code((enum reply)i);
		uint64_t subject, detail, n;
		struct sv rest = st;
		struct sv class = sv_cut(&rest, '.');
		struct sv subj = sv_cut(&rest, '.');

		ck_assert(code >= 200 && code <= 599);
		ck_assert_uint_eq(class.n, 1);
		ck_assert_uint_eq((unsigned)(class.p[0] - '0'), code / 100);
		ck_assert(sv_to_u64(subj, 7, &subject));
		ck_assert(sv_to_u64(rest, 999, &detail));
		ck_assert(sv_to_u64(sv_head(text, 3), 599, &n));
		ck_assert_uint_eq(n, code);
		ck_assert_uint_lt(text.n, 512 - 2 - 14);
		for (size_t k = 0; k < text.n; k++)
			ck_assert(text.p[k] >= ' ' && text.p[k] <= '~');
	}
}
END_TEST

START_TEST(test_reply_put_makes_lines)
{
	struct buf b;

	buf_init(&b, 60);
	ck_assert_int_eq(reply_put(&b, REPLY_RESET), 0);
	ck_assert_int_eq(reply_put_extra(&b, REPLY_QUEUED, SV("ID")), 0);
	ck_assert(sv_eq(buf_sv(&b),
	    SV("250 2.0.0 Ok\r\n250 2.0.0 queued as ID\r\n")));
	ck_assert_int_eq(reply_put(&b, REPLY_TOO_MANY_CONNS), -1);
	buf_fini(&b);
}
END_TEST

START_TEST(test_date_known_times_formatted)
{
	char out[RFC5322_DATE];

	ck_assert_str_eq(rfc5322_date((struct wall){ 0 }, out),
	    "Thu, 01 Jan 1970 00:00:00 +0000");
	ck_assert_str_eq(rfc5322_date((struct wall){
	    INT64_C(1769868309) * US_PER_SEC }, out),
	    "Sat, 31 Jan 2026 14:05:09 +0000");
	ck_assert_str_eq(rfc5322_date((struct wall){ -5 }, out),
	    "Thu, 01 Jan 1970 00:00:00 +0000");
	ck_assert_str_eq(rfc5322_date((struct wall){ INT64_MAX }, out),
	    "Fri, 31 Dec 9999 23:59:59 +0000");
}
END_TEST

static struct buf hdr;

static struct sv
received_make(struct received r)
{
	buf_fini(&hdr);
	buf_init(&hdr, RECEIVED_MAX);
	r.when.us = INT64_C(1769868309) * US_PER_SEC;
	r.id = SV("ABCDEFGHJKMNP");
	r.host = SV("mx.example.org");
	ck_assert_int_eq(received_put(&hdr, &r), 0);
	return buf_sv(&hdr);
}

START_TEST(test_received_plain_has_all_clauses)
{
	struct sv v = received_make((struct received){
	    .helo = SV("c.example"), .client_ip = SV("192.0.2.7"),
	    .rcpt = SV("a@example.net"), .esmtp = true });

	ck_assert(sv_eq(v, SV("Received: from c.example ([192.0.2.7])\r\n"
	    "\tby mx.example.org with ESMTP id ABCDEFGHJKMNP\r\n"
	    "\tfor <a@example.net>; Sat, 31 Jan 2026 14:05:09 +0000\r\n")));
}
END_TEST

START_TEST(test_received_two_rcpts_v6_utf8)
{
	struct sv v = received_make((struct received){
	    .helo = SV("c"), .client_ip = SV("2001:db8::1"),
	    .client_name = SV("c.example"), .esmtp = true, .utf8 = true });

	ck_assert(sv_eq(v, SV("Received: from c "
	    "(c.example [IPv6:2001:db8::1])\r\n"
	    "\tby mx.example.org with UTF8SMTP id ABCDEFGHJKMNP;\r\n"
	    "\tSat, 31 Jan 2026 14:05:09 +0000\r\n")));
}
END_TEST

START_TEST(test_received_hidden_source_has_no_from)
{
	struct sv v = received_make((struct received){ .helo = SV("c") });

	ck_assert(sv_starts(v, SV("Received: by mx.example.org with SMTP")));
}
END_TEST

/* Whatever HELO holds: one header field, lines in bounds, no odd byte. */
START_TEST(test_received_hostile_helo_harmless)
{
	for (int c = 0; c < 256; c++) {
		char helo[400];
		struct sv v, rest, line;

		memset(helo, 'h', sizeof(helo));
		helo[1] = (char)c;
		helo[2] = '\r';
		helo[3] = '\n';
		helo[4] = '(';
		v = received_make((struct received){
		    .helo = sv_make(helo, sizeof(helo)),
		    .client_name = sv_make(helo, sizeof(helo)),
		    .client_ip = SV("192.0.2.7"), .rcpt = SV("a@b.c") });
		ck_assert(sv_iends(v, SV("\r\n")));
		rest = sv_head(v, v.n - 2);
		for (bool first = true; rest.p != NULL; first = false) {
			line = sv_cut(&rest, '\n');
			if (rest.p != NULL)
				ck_assert(line.p[--line.n] == '\r');
			ck_assert_uint_le(line.n, 998);
			ck_assert(first || line.p[0] == '\t');
			for (size_t i = first ? 0 : 1; i < line.n; i++)
				ck_assert(line.p[i] >= ' ' &&
				    line.p[i] <= '~');
		}
		ck_assert(memmem(v.p, v.n, "h(h", 3) == NULL);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("reply");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_test(t, test_reply_every_row_status_matches_code);
	tcase_add_test(t, test_reply_put_makes_lines);
	tcase_add_test(t, test_date_known_times_formatted);
	tcase_add_test(t, test_received_plain_has_all_clauses);
	tcase_add_test(t, test_received_two_rcpts_v6_utf8);
	tcase_add_test(t, test_received_hidden_source_has_no_from);
	tcase_add_test(t, test_received_hostile_helo_harmless);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
