/* SPDX-License-Identifier: ISC */
/* Control fields, headers added, qualification. */
#include "tests/unit/smtpd/session_tests.h"

#define STEER HARNESS_CONF "domain-suffix suffix.example\n" \
	"<virtual-mta v1>\nsmtp-source-host 127.0.0.1 v1.example\n" \
	"</virtual-mta>\n<source 127.0.0.1>\nalways-allow-relaying yes\n" \
	"process-x-virtual-mta yes\nprocess-x-job yes\n" \
	"process-x-envid yes\nadd-date-header yes\n" \
	"add-message-id-header yes\ndsn-return-default full\n</source>\n"

static struct envelope
steer(struct harness *h, const char *ip, const char *message,
    const char *want, struct arena *a)
{
	struct envelope e = { 0 };
	char mem[600];
	struct sv got = SV("");

	harness_init(h, STEER);
	harness_connect(h, ip);
	harness_send(h, SV("EHLO c\r\n" M R "DATA\r\n"), 9999);
	buf_clear(&h->in);
	harness_send(h, sv_from(message), 9999);
	got = harness_reply(h, mem, sizeof(mem));
	ck_assert_msg(sv_starts(got, sv_from(want)), "got %.*s",
	    SV_FMT(got));
	if (sv_starts(got, SV("250")))
		ck_assert(envelope_decode(buf_sv(&h->committer.env), a, &e));
	return e;
}

START_TEST(test_session_control_fields_trusted_obeyed_and_removed)
{
	struct harness h;
	struct envelope e;
	struct arena a;
	struct sv head;

	arena_init(&a, 65536);
	e = steer(&h, LOCAL, "X-Virtual-MTA: v1\r\nA: b\r\nx-job: j 1\r\n"
	    "x-envid: e=1\r\n\r\nbody\r\n.\r\n", "250", &a);
	ck_assert(sv_eq(buf_sv(&h.committer.body),
	    SV("A: b\r\n\r\nbody\r\n")));
	ck_assert(sv_eq(e.vmta, SV("v1")));
	ck_assert(sv_eq(e.job, SV("j 1")));
	ck_assert(sv_eq(e.envid, SV("e+3D1")));
	ck_assert_uint_eq(e.flags, ENV_RET_FULL);
	head = buf_sv(&h.committer.head);
	ck_assert(memmem(head.p, head.n, "\r\nDate: ", 8) != NULL);
	ck_assert(memmem(head.p, head.n, "\r\nMessage-ID: <", 15) != NULL);
	harness_fini(&h);
	arena_fini(&a);
}
END_TEST

START_TEST(test_session_control_fields_stranger_mean_nothing)
{
	struct harness h;
	struct envelope e;
	struct arena a;

	arena_init(&a, 65536);
	e = steer(&h, "192.0.2.1", "X-Virtual-MTA: v1\r\nx-job: j\r\n\r\n"
	    ".\r\n", "250", &a);
	ck_assert_uint_eq(e.vmta.n, 0);
	ck_assert_uint_eq(e.job.n, 0);
	ck_assert(sv_eq(buf_sv(&h.committer.body),
	    SV("X-Virtual-MTA: v1\r\nx-job: j\r\n\r\n")));
	harness_fini(&h);
	arena_fini(&a);
}
END_TEST

START_TEST(test_session_control_unknown_vmta_550)
{
	struct harness h;
	struct arena a;

	arena_init(&a, 65536);
	steer(&h, LOCAL, "x-virtual-mta: nope\r\n\r\n.\r\n", "550 5.7.1",
	    &a);
	ck_assert_uint_eq(h.committer.submitted, 0);
	harness_fini(&h);
	arena_fini(&a);
}
END_TEST

START_TEST(test_session_qualify_trusted_only)
{
	struct harness h;
	char mem[600];

	for (int i = 0; i < 2; i++) {
		harness_init(&h, STEER);
		harness_connect(&h, i == 0 ? LOCAL : "192.0.2.1");
		harness_send(&h, SV("EHLO c\r\nMAIL FROM:<>\r\n"
		    "RCPT TO:<joe>\r\n"), 9999);
		harness_reply(&h, mem, sizeof(mem));
		harness_reply(&h, mem, sizeof(mem));
		harness_reply(&h, mem, sizeof(mem));
		ck_assert(sv_starts(harness_reply(&h, mem, sizeof(mem)),
		    i == 0 ? SV("250 2.1.5") : SV("553 5.1.3")));
		harness_fini(&h);
	}
}
END_TEST

START_TEST(test_session_large_with_control_fields_removed)
{
	static char message[400000];
	struct harness h;
	struct arena a;
	struct envelope e;
	size_t n;

	n = (size_t)snprintf(message, sizeof(message), "x-job: j\r\n\r\n");
	for (; n < 390000; n += 10)
		memcpy(message + n, "12345678\r\n", 10);
	memcpy(message + n, ".\r\n", 4);
	arena_init(&a, 65536);
	e = steer(&h, LOCAL, message, "250", &a);
	ck_assert(sv_eq(e.job, SV("j")));
	ck_assert_uint_eq(buf_len(&h.committer.body), n - 10);
	harness_fini(&h);
	arena_fini(&a);
}
END_TEST

void
session_tests_control(Suite *s)
{
	TCase *tc = tcase_create("control");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc,
	    test_session_control_fields_trusted_obeyed_and_removed);
	tcase_add_test(tc, test_session_control_fields_stranger_mean_nothing);
	tcase_add_test(tc, test_session_control_unknown_vmta_550);
	tcase_add_test(tc, test_session_qualify_trusted_only);
	tcase_add_test(tc, test_session_large_with_control_fields_removed);
	suite_add_tcase(s, tc);
}
