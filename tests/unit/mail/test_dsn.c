/* SPDX-License-Identifier: ISC */
/*
 * Without arguments: the unit tests. With the name of a sample: writes that
 * DSN to standard output, for test_dsn_python.py.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mail/dsn.h"
#include "common/mail/envelope.h"

static const char original[] =
    "From: a@sender.example\r\nTo: b@dest.example\r\n"
    "Subject: hello\r\n\r\nbody line\r\n.dot line\r\n";

static struct dsn_rcpt
sample_rcpt(void)
{
	return (struct dsn_rcpt){
		.addr = SV("nobody@dest.example"),
		.orcpt = SV("rfc822;No+2BBody@dest.example"),
		.action = DSN_FAILED,
		.status = SV("5.1.1"),
		.diag = SV("550 5.1.1 no such user"),
		.mta = SV("mx1.dest.example (192.0.2.9)"),
		.last_attempt = { 1769868309 * US_PER_SEC },
	};
}

static struct dsn
sample(const struct dsn_rcpt *rcpts, uint32_t n)
{
	return (struct dsn){
		.host = SV("mx.example.org"),
		.to = SV("a@sender.example"),
		.queue_id = SV("00000001zzzzz"),
		.envid = SV("env+2B1"),
		.from_mta = SV("client.example (192.0.2.77)"),
		.arrival = { 1769868000 * US_PER_SEC },
		.now = { 1769868310 * US_PER_SEC },
		.unique = 0x1122334455667788,
		.rcpts = rcpts, .nrcpts = n,
		.has_original = true,
		.head = SV("Received: from client.example\r\n"
		    "\tby mx.example.org; Sat, 31 Jan 2026 14:00:00 +0000\r\n"),
		.body = sv_make(original, sizeof(original) - 1),
	};
}

/* The DSN as text; out is the caller's to free. */
static struct sv
build(const struct dsn *d, struct buf *out, uint32_t *flags)
{
	buf_init(out, 1u << 20);
	ck_assert_int_eq(dsn_build(d, out, flags), DSN_OK);
	return buf_sv(out);
}

static bool
has(struct sv v, const char *needle)
{
	return memmem(v.p, v.n, needle, strlen(needle)) != NULL;
}

/* CRLF only, no control byte but TAB, no line over 998 bytes. */
static void
check_lines(struct sv v)
{
	size_t line = 0;

	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];

		if (c == '\r') {
			ck_assert(i + 1 < v.n && v.p[i + 1] == '\n');
			i++;
			line = 0;
			continue;
		}
		ck_assert_msg((c >= 0x20 || c == '\t') && c != 0x7f,
		    "byte %u at %zu", c, i);
		ck_assert_uint_le(++line, 998);
	}
	ck_assert_uint_eq(line, 0);
}

START_TEST(test_build_null_sender_refused)
{
	struct dsn_rcpt r = sample_rcpt();
	struct dsn d = sample(&r, 1);
	uint32_t flags;
	struct buf out;

	buf_init(&out, 1u << 20);
	d.to = SV("");
	ck_assert_int_eq(dsn_build(&d, &out, &flags), DSN_NULL_SENDER);
	d.to = SV("<>");
	ck_assert_int_eq(dsn_build(&d, &out, &flags), DSN_NULL_SENDER);
	d = sample(&r, 0);
	ck_assert_int_eq(dsn_build(&d, &out, &flags), DSN_NULL_SENDER);
	ck_assert_uint_eq(buf_len(&out), 0);
	buf_fini(&out);
}
END_TEST

START_TEST(test_build_small_cap_too_big)
{
	struct dsn_rcpt r = sample_rcpt();
	struct dsn d = sample(&r, 1);
	uint32_t flags;
	struct buf out;

	buf_init(&out, 300);
	ck_assert_int_eq(dsn_build(&d, &out, &flags), DSN_TOO_BIG);
	buf_fini(&out);
}
END_TEST

START_TEST(test_build_hostile_bytes_made_safe)
{
	struct dsn_rcpt r = sample_rcpt();
	struct dsn d = sample(&r, 1);
	char all[256], big[5000];
	uint32_t flags;
	struct buf out;
	struct sv v;

	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (char)i;
	memset(big, 0xff, sizeof(big));
	r.diag = sv_make(all, sizeof(all));
	r.mta = sv_make(all, sizeof(all));
	d.host = SV("mx.example.org");
	d.from_mta = sv_make(big, sizeof(big));
	d.queue_id = sv_make(all, sizeof(all));
	v = build(&d, &out, &flags);
	check_lines(v);
	buf_fini(&out);
	r.diag = sv_make(big, sizeof(big));
	r.addr = sv_make(big, sizeof(big));
	r.orcpt = SV("rfc822;a+0D+0ABcc:x");
	d.envid = SV("a+0D");
	v = build(&d, &out, &flags);
	check_lines(v);
	ck_assert(!has(v, "Original-Recipient"));
	ck_assert(!has(v, "Original-Envelope-Id"));
	buf_fini(&out);
}
END_TEST

START_TEST(test_build_original_with_bare_ends_only_headers)
{
	struct dsn_rcpt r = sample_rcpt();
	struct dsn d = sample(&r, 1);
	char line[3000];
	uint32_t flags;
	struct buf out;
	struct sv v;

	d.full = true;
	d.body = SV("Subject: a\rb\nX: y\r\n\r\nsecret\n.\r\n");
	v = build(&d, &out, &flags);
	check_lines(v);
	ck_assert(has(v, "text/rfc822-headers"));
	ck_assert(has(v, "Subject: a?b\r\nX: y\r\n"));
	ck_assert(!has(v, "secret"));
	buf_fini(&out);
	memset(line, 'x', sizeof(line));
	d.body = sv_make(line, sizeof(line));
	v = build(&d, &out, &flags);
	check_lines(v);
	buf_fini(&out);
}
END_TEST

START_TEST(test_build_ret_full_kept_and_capped)
{
	struct dsn_rcpt r = sample_rcpt();
	struct dsn d = sample(&r, 1);
	char *big = malloc(DSN_RETURN_MAX);
	uint32_t flags;
	struct buf out;
	struct sv v;

	d.full = true;
	v = build(&d, &out, &flags);
	ck_assert(has(v, "message/rfc822") && has(v, "\r\n.dot line\r\n"));
	ck_assert_uint_eq(flags, 0);
	buf_fini(&out);
	memset(big, 'a', DSN_RETURN_MAX);
	for (size_t i = 78; i + 1 < DSN_RETURN_MAX; i += 80)
		memcpy(big + i, "\r\n", 2);
	memcpy(big, "S: t\r\n\r\n", 8);
	d.body = sv_make(big, DSN_RETURN_MAX);
	v = build(&d, &out, &flags);
	ck_assert(has(v, "text/rfc822-headers") && has(v, "S: t\r\n"));
	ck_assert_uint_lt(v.n, 10000);
	buf_fini(&out);
	free(big);
	d = sample(&r, 1);
	d.full = true;
	r.action = DSN_DELAYED;
	v = build(&d, &out, &flags);
	ck_assert_msg(has(v, "text/rfc822-headers"), "RET is for failures");
	buf_fini(&out);
}
END_TEST

START_TEST(test_build_boundary_in_content_other_chosen)
{
	struct dsn_rcpt r = sample_rcpt();
	struct dsn d = sample(&r, 1);
	struct buf out, again;
	uint32_t flags;
	char first[64], mem[200];
	struct sv v;
	const char *at;
	struct sv boundary;

	v = build(&d, &out, &flags);
	at = memmem(v.p, v.n, "boundary=\"", 10);
	ck_assert_ptr_nonnull(at);
	boundary = sv_make(at + 10, 26);
	ck_assert(sv_to_cstr(boundary, first, sizeof(first)));
	snprintf(mem, sizeof(mem), "550 --%s--", first);
	r.diag = sv_from(mem);
	v = build(&d, &again, &flags);
	at = memmem(v.p, v.n, "boundary=\"", 10);
	ck_assert_ptr_nonnull(at);
	ck_assert(memcmp(at + 10, first, 26) != 0);
	buf_fini(&out);
	buf_fini(&again);
}
END_TEST

START_TEST(test_build_8bit_sets_flags)
{
	struct dsn_rcpt r = sample_rcpt();
	struct dsn d = sample(&r, 1);
	uint32_t flags;
	struct buf out;
	struct sv v;

	d.body = SV("Subject: gr\xc3\xbc\xc3\x9f\r\n\r\nx\r\n");
	v = build(&d, &out, &flags);
	ck_assert_uint_eq(flags, ENV_8BITMIME);
	ck_assert(has(v, "text/rfc822-headers\r\n"
	    "Content-Transfer-Encoding: 8bit"));
	buf_fini(&out);
	r.addr = SV("j\xc3\xbcrgen@dest.example");
	d.to = SV("ren\xc3\xa9@sender.example");
	v = build(&d, &out, &flags);
	ck_assert_uint_eq(flags, ENV_8BITMIME | ENV_SMTPUTF8);
	ck_assert(has(v, "message/global-delivery-status"));
	ck_assert(has(v, "Final-Recipient: utf-8; j\xc3\xbcrgen@"));
	buf_fini(&out);
}
END_TEST

START_TEST(test_build_status_class_corrected)
{
	static const struct {
		enum dsn_action action;
		const char *status, *want;
	} cases[] = {
		{ DSN_FAILED, "5.1.1", "Status: 5.1.1\r\n" },
		{ DSN_FAILED, "4.4.7", "Status: 4.4.7\r\n" },
		{ DSN_FAILED, "2.0.0", "Status: 5.0.0\r\n" },
		{ DSN_FAILED, "", "Status: 5.0.0\r\n" },
		{ DSN_DELAYED, "5.0.0", "Status: 4.0.0\r\n" },
		{ DSN_RELAYED, "2.1.5", "Status: 2.1.5\r\n" },
		{ DSN_DELIVERED, "x", "Status: 2.0.0\r\n" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct dsn_rcpt r = sample_rcpt();
		struct dsn d = sample(&r, 1);
		struct buf out;
		uint32_t flags;

		r.action = cases[i].action;
		r.status = sv_from(cases[i].status);
		ck_assert_msg(has(build(&d, &out, &flags), cases[i].want),
		    "%zu", i);
		buf_fini(&out);
	}
}
END_TEST

START_TEST(test_xtext_table_decoded)
{
	static const struct {
		const char *input, *want; /* NULL: refused */
	} cases[] = {
		{ "", "" }, { "abc", "abc" }, { "a+2Bb+3D", "a+b=" },
		{ "+", NULL }, { "+2", NULL }, { "a+2b", NULL },
		{ "a+0D", NULL }, { "a+00", NULL }, { "a+7F", NULL },
		{ "123456789", NULL },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char mem[8];
		struct sv got;
		bool ok = xtext_decode(sv_from(cases[i].input), mem,
		    sizeof(mem), &got);

		ck_assert_msg(ok == (cases[i].want != NULL), "%s",
		    cases[i].input);
		ck_assert(!ok || sv_eq(got, sv_from(cases[i].want)));
	}
}
END_TEST

/* ---- samples for another parser ---- */

static void
sample_many(struct dsn_rcpt *r)
{
	for (int i = 0; i < 4; i++) {
		r[i] = sample_rcpt();
		r[i].action = (enum dsn_action)i;
	}
	r[1].addr = SV("slow@dest.example");
	r[1].orcpt = SV("");
	r[1].status = SV("4.4.1");
	r[1].diag = SV("no answer from any host of dest.example");
	r[1].mta = SV("");
	r[1].retry_until = (struct wall){ 1769968000 * US_PER_SEC };
	r[2].addr = SV("\"two  blanks\"@dest.example");
	r[2].status = SV("2.0.0");
	r[2].diag = SV("250 2.0.0 OK");
	r[3].addr = SV("relayed@dest.example");
	r[3].status = SV("2.1.5");
	r[3].diag = SV("250 2.1.5 OK");
}

static int
write_sample(const char *name)
{
	struct dsn_rcpt r[4];
	struct dsn d;
	uint32_t flags;
	struct buf out;

	sample_many(r);
	d = sample(r, 4);
	if (strcmp(name, "full") == 0) {
		d = sample(r, 1);
		d.full = true;
	} else if (strcmp(name, "utf8") == 0) {
		r[0].addr = SV("j\xc3\xbcrgen@dest.example");
		d = sample(r, 1);
		d.original_utf8 = true;
	} else if (strcmp(name, "lost") == 0) {
		d = sample(r, 1);
		d.has_original = false;
	} else if (strcmp(name, "many") != 0) {
		return 2;
	}
	buf_init(&out, 1u << 20);
	if (dsn_build(&d, &out, &flags) != DSN_OK)
		return 1;
	fwrite(buf_data(&out), 1, buf_len(&out), stdout);
	buf_fini(&out);
	return 0;
}

static int
run_tests(void)
{
	Suite *s = suite_create("dsn");
	TCase *t = tcase_create("dsn");
	SRunner *r;
	int failed;

	tcase_add_test(t, test_build_null_sender_refused);
	tcase_add_test(t, test_build_small_cap_too_big);
	tcase_add_test(t, test_build_hostile_bytes_made_safe);
	tcase_add_test(t, test_build_original_with_bare_ends_only_headers);
	tcase_add_test(t, test_build_ret_full_kept_and_capped);
	tcase_add_test(t, test_build_boundary_in_content_other_chosen);
	tcase_add_test(t, test_build_8bit_sets_flags);
	tcase_add_test(t, test_build_status_class_corrected);
	tcase_add_test(t, test_xtext_table_decoded);
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
	if (argc > 1)
		return write_sample(argv[1]);
	return run_tests();
}
