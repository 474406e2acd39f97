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

#define CHOOSE HARNESS_CONF "%s<virtual-mta v1>\n" \
	"smtp-source-host 127.0.0.1 v1.example\n</virtual-mta>\n" \
	"<virtual-mta v2>\nsmtp-source-host 127.0.0.1 v2.example\n" \
	"</virtual-mta>\n<source 127.0.0.1>\nalways-allow-relaying yes\n" \
	"process-x-virtual-mta yes\nprocess-x-job yes\n%s</source>\n"

static struct {
	char name[64];
	enum vmta_taken how;
	unsigned times;
} unknown;

static void
on_vmta_unknown(struct server *srv, struct sv name, struct sv client_ip,
    enum vmta_taken how)
{
	(void)srv;
	ck_assert(sv_eq(client_ip, sv_from(LOCAL)));
	snprintf(unknown.name, sizeof(unknown.name), "%.*s", SV_FMT(name));
	unknown.how = how;
	unknown.times++;
}

/* One row: settings, header; what becomes of it. */
static const struct {
	const char *global, *source, *header, *reply, *vmta, *job, *head, *body;
	const char *unknown;
	enum vmta_taken how;
} choices[] = {
	/* the mission document's header */
	{ "", "virtual-mta-header Source\n", "Source: v2\r\nA: b\r\n", "250",
	    "v2", "", NULL, "A: b\r\n", NULL, VMTA_TAKEN },
	{ "", "virtual-mta-header Source\n", "x-virtual-mta: v2\r\n", "250",
	    "", "", NULL, "x-virtual-mta: v2\r\n", NULL, VMTA_TAKEN },
	{ "", "jobid-header X-Campaign\njobid-prefix acme/\n",
	    "x-campaign: 7\r\n", "250", "", "acme/7", NULL, "", NULL,
	    VMTA_TAKEN },
	{ "", "jobid-prefix acme/\n", "A: b\r\n", "250", "", "", NULL,
	    "A: b\r\n", NULL, VMTA_TAKEN },
	{ "", "jobid-prefix {auth}\n", "x-job: j\r\n", "250", "", "j", NULL, "",
	    NULL, VMTA_TAKEN },
	/* one that does not exist */
	{ "", "", "x-virtual-mta: nope\r\n", "550 5.7.1", "", "", NULL, "",
	    "nope", VMTA_REFUSED },
	{ "", "reject-invalid-virtual-mta no\ndefault-virtual-mta v1\n",
	    "x-virtual-mta: nope\r\n", "250", "v1", "", NULL, "", "nope",
	    VMTA_DEFAULT },
	{ "invalid-virtual-mta-fallback v2\n", "default-virtual-mta v1\n",
	    "x-virtual-mta: nope\r\n", "250", "v2", "", NULL, "", "nope",
	    VMTA_FALLBACK },
	/* an empty one */
	{ "", "", "x-virtual-mta:\r\n", "550 5.7.1", "", "", NULL, "", "",
	    VMTA_REFUSED },
	{ "", "allow-empty-x-virtual-mta yes\ndefault-virtual-mta v1\n",
	    "x-virtual-mta: \r\n", "250", "v1", "", NULL, "", NULL,
	    VMTA_TAKEN },
	/* what goes and what comes */
	{ "", "remove-header X-Secret,x-more\n",
	    "X-Secret: 1\r\n 2\r\nA: b\r\nX-More: 3\r\n", "250", "", "", NULL,
	    "A: b\r\n", NULL, VMTA_TAKEN },
	{ "", "add-x-virtual-mta-header yes\ndefault-virtual-mta v1\n",
	    "x-virtual-mta: v2\r\n", "250", "v2", "",
	    "x-virtual-mta: v2\r\n", "", NULL, VMTA_TAKEN },
	{ "", "add-x-virtual-mta-header yes\n", "A: b\r\n", "250", "", "",
	    "!x-virtual-mta", "A: b\r\n", NULL, VMTA_TAKEN },
};

static void
choice_accepted(struct harness *h, size_t i)
{
	struct sv head = buf_sv(&h->committer.head);
	const char *want = choices[i].head;
	char body[300];
	struct envelope e;
	struct arena a;

	arena_init(&a, 65536);
	ck_assert(envelope_decode(buf_sv(&h->committer.env), &a, &e));
	ck_assert_msg(sv_eq(e.vmta, sv_from(choices[i].vmta)), "row %zu", i);
	ck_assert_msg(sv_eq(e.job, sv_from(choices[i].job)), "row %zu", i);
	snprintf(body, sizeof(body), "%s\r\nbody\r\n", choices[i].body);
	ck_assert_msg(sv_eq(buf_sv(&h->committer.body), sv_from(body)),
	    "row %zu: %.*s", i, SV_FMT(buf_sv(&h->committer.body)));
	if (want != NULL && want[0] == '!')
		ck_assert(memmem(head.p, head.n, want + 1,
		    strlen(want + 1)) == NULL);
	else if (want != NULL)
		ck_assert(memmem(head.p, head.n, want, strlen(want)) != NULL);
	arena_fini(&a);
}

START_TEST(test_session_control_chooses)
{
	char conf[2000], mem[600], message[400];
	struct harness h;
	struct sv got;

	for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
		unknown.times = 0;
		snprintf(conf, sizeof(conf), CHOOSE, choices[i].global,
		    choices[i].source);
		harness_init(&h, conf);
		h.srv.on_vmta_unknown = on_vmta_unknown;
		harness_connect(&h, LOCAL);
		harness_send(&h, SV("EHLO c\r\n" M R "DATA\r\n"), 9999);
		buf_clear(&h.in);
		snprintf(message, sizeof(message), "%s\r\nbody\r\n.\r\n",
		    choices[i].header);
		harness_send(&h, sv_from(message), 9999);
		got = harness_reply(&h, mem, sizeof(mem));
		ck_assert_msg(sv_starts(got, sv_from(choices[i].reply)),
		    "row %zu: got %.*s", i, SV_FMT(got));
		if (choices[i].reply[0] == '2')
			choice_accepted(&h, i);
		else
			ck_assert_uint_eq(h.committer.submitted, 0);
		ck_assert_uint_eq(unknown.times, choices[i].unknown != NULL);
		if (choices[i].unknown != NULL) {
			ck_assert_str_eq(unknown.name, choices[i].unknown);
			ck_assert_int_eq(unknown.how, choices[i].how);
		}
		harness_fini(&h);
	}
}
END_TEST

/* What was decided for one message is not for the next one. */
START_TEST(test_session_control_fallback_is_for_one_message)
{
	char conf[2000];
	struct harness h;
	struct envelope e;
	struct arena a;

	snprintf(conf, sizeof(conf), CHOOSE,
	    "invalid-virtual-mta-fallback v2\n", "default-virtual-mta v1\n");
	arena_init(&a, 65536);
	harness_init(&h, conf);
	harness_connect(&h, LOCAL);
	harness_send(&h, SV("EHLO c\r\n" M R "DATA\r\n"), 9999);
	harness_send(&h, SV("x-virtual-mta: no\r\n\r\n.\r\n"), 9999);
	ck_assert(envelope_decode(buf_sv(&h.committer.env), &a, &e));
	ck_assert(sv_eq(e.vmta, SV("v2")));
	harness_send(&h, SV(M R "DATA\r\n"), 9999);
	harness_send(&h, SV("A: b\r\n\r\n.\r\n"), 9999);
	ck_assert(envelope_decode(buf_sv(&h.committer.env), &a, &e));
	ck_assert(sv_eq(e.vmta, SV("v1")));
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
	tcase_add_test(tc, test_session_control_chooses);
	tcase_add_test(tc, test_session_control_fallback_is_for_one_message);
	tcase_add_test(tc, test_session_qualify_trusted_only);
	tcase_add_test(tc, test_session_large_with_control_fields_removed);
	suite_add_tcase(s, tc);
}
