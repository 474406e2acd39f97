/* SPDX-License-Identifier: ISC */
/* Aliases: a recipient is replaced by what its address stands for. */
#include "tests/unit/smtpd/session_tests.h"

#define ALIASES HARNESS_CONF \
	"alias one@here.example a@far.example\n" \
	"alias team@here.example a@far.example,b@far.example,c@far.example\n" \
	"alias *@all.example one@here.example\n" \
	"alias *@x.example *@y.example\nalias l@y.example l@x.example\n" \
	"alias bad@here.example blocked@far.example\n" \
	"alias postmaster@mx.example.org a@far.example\n" \
	"<source 0/0>\npattern-list p\nmax-rcpt-per-message 2\n</source>\n" \
	"<source 127.0.0.1>\nalways-allow-relaying yes\n</source>\n" \
	"<pattern-list p>\nrcpt-to /^blocked@/ reject=\"no\"\n" \
	"</pattern-list>\n"

/* A client, RCPTs with the begin of each answer, and what is committed:
 * "addr orcpt notify" of each recipient. */
struct row {
	const char *client;
	const char *rcpts, *answers;
	const char *want;
};

static const struct row rows[] = {
	{ "192.0.2.1", "<one@here.example>", "250",
	    "a@far.example rfc822;one@here.example 0\n" },
	{ "192.0.2.1", "<ONE@HERE.example>", "250",
	    "a@far.example rfc822;ONE@here.example 0\n" },
	{ "192.0.2.1", "<one+x@here.example>", "550", "" },
	{ "192.0.2.1", "<a@far.example>", "550", "" },
	{ "192.0.2.1", "<any+x@all.example>", "250",
	    "a@far.example rfc822;any+2Bx@all.example 0\n" },
	{ "192.0.2.1", "<one@here.example> ORCPT=rfc822;z@z NOTIFY=SUCCESS",
	    "250", "a@far.example rfc822;z@z 2\n" },
	/* one is asked for its success, all for failure */
	{ "192.0.2.1", "<team@here.example> NOTIFY=SUCCESS,FAILURE", "250",
	    "a@far.example rfc822;team@here.example 6\n"
	    "b@far.example rfc822;team@here.example 4\n"
	    "c@far.example rfc822;team@here.example 4\n" },
	{ "192.0.2.1", "<team@here.example> NOTIFY=SUCCESS", "250",
	    "a@far.example rfc822;team@here.example 2\n"
	    "b@far.example rfc822;team@here.example 1\n"
	    "c@far.example rfc822;team@here.example 1\n" },
	{ "192.0.2.1", "<team@here.example> NOTIFY=NEVER", "250",
	    "a@far.example rfc822;team@here.example 1\n"
	    "b@far.example rfc822;team@here.example 1\n"
	    "c@far.example rfc822;team@here.example 1\n" },
	/* others are as they were; aliases count once for the limit of two */
	{ "127.0.0.1", "<team@here.example>|<r@relay.example>|<one@a.b>",
	    "250 250 452", "a@far.example rfc822;team@here.example 0\n"
	    "b@far.example rfc822;team@here.example 0\n"
	    "c@far.example rfc822;team@here.example 0\n"
	    "r@relay.example  0\n" },
	{ "192.0.2.1", "<l@x.example>|<m@x.example>", "554 250",
	    "m@y.example rfc822;m@x.example 0\n" },
	/* what an alias stands for is looked at, too */
	{ "192.0.2.1", "<bad@here.example>|<one@here.example>", "550 250",
	    "a@far.example rfc822;one@here.example 0\n" },
	{ "192.0.2.1", "<postmaster>", "250",
	    "a@far.example rfc822;postmaster@mx.example.org 0\n" },
};

static void
ck_committed(struct harness *h, const char *want)
{
	char text[2000] = "";
	struct envelope e;
	struct arena a;
	size_t n = 0;

	arena_init(&a, 1u << 20);
	ck_assert(envelope_decode(buf_sv(&h->committer.env), &a, &e));
	for (uint32_t i = 0; i < e.nrcpts; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n,
		    "%.*s %.*s %u\n", SV_FMT(e.rcpts[i].addr),
		    SV_FMT(e.rcpts[i].orcpt), e.rcpts[i].notify);
	ck_assert_str_eq(text, want);
	arena_fini(&a);
}

/* One reply begins so. */
static void
ck_reply(struct harness *h, struct sv want)
{
	char mem[600];
	struct sv got = harness_reply(h, mem, sizeof(mem));

	ck_assert_msg(sv_starts(got, want), "want %.*s, got %.*s",
	    SV_FMT(want), SV_FMT(got));
}

static void
talk(struct harness *h, const char *text, const char *want)
{
	harness_send(h, sv_from(text), 100000);
	ck_reply(h, sv_from(want));
}

START_TEST(test_session_alias_replaces_recipients)
{
	const struct row *r = &rows[_i];
	struct sv rcpts = sv_from(r->rcpts), answers = sv_from(r->answers);
	struct harness h;
	char line[400];

	harness_init(&h, ALIASES);
	harness_connect(&h, r->client);
	harness_pump(&h);
	buf_clear(&h.in);
	talk(&h, "EHLO c.example\r\n", "250");
	talk(&h, "MAIL FROM:<s@s.example>\r\n", "250");
	while (rcpts.p != NULL) {
		struct sv one = sv_cut(&rcpts, '|');

		(void)snprintf(line, sizeof(line), "RCPT TO:%.*s\r\n",
		    SV_FMT(one));
		harness_send(&h, sv_from(line), 100000);
		ck_reply(&h, sv_cut(&answers, ' '));
	}
	if (r->want[0] != '\0') {
		talk(&h, "DATA\r\n", "354");
		talk(&h, "\r\nbody\r\n.\r\n", "250");
		ck_committed(&h, r->want);
	}
	harness_fini(&h);
}
END_TEST

/* Five RCPTs of an alias for 1,000: fits; 99 others more do as well, a message
 * holds 100,000 in all. */
START_TEST(test_session_alias_too_many_recipients)
{
	const unsigned each = CONF_ALIAS_MAX, most = ENV_RCPTS_MAX / each;
	char *conf = malloc(each * 50 + 500), *at;
	unsigned ok = 0;
	struct harness h;
	char mem[600];

	ck_assert_ptr_nonnull(conf);
	at = conf + sprintf(conf, "%s", HARNESS_CONF
	    "<source 0/0>\nmax-errors-per-session 0\n</source>\n");
	for (unsigned i = 0; i < each; i++)
		at += sprintf(at, "alias t@here.example a%u@far.example\n", i);
	for (unsigned i = 0; i < 2; i++)
		at += sprintf(at, "alias u@here.example t@here.example,"
		    "b%u@far.example\n", i);
	harness_init(&h, conf);
	harness_connect(&h, "192.0.2.1");
	harness_pump(&h);
	buf_clear(&h.in);
	talk(&h, "EHLO c.example\r\n", "250");
	talk(&h, "MAIL FROM:<s@s.example>\r\n", "250");
	/* alone it never fits */
	talk(&h, "RCPT TO:<u@here.example>\r\n", "554 5.2.4");
	for (unsigned i = 0; i <= most; i++) {
		harness_send(&h, SV("RCPT TO:<t@here.example>\r\n"), 9999);
		if (!sv_starts(harness_reply(&h, mem, sizeof(mem)),
		    SV("250")))
			break;
		ok++;
	}
	/* the envelope's bytes are the narrower limit */
	ck_assert_uint_gt(ok, 5);
	ck_assert_uint_le(ok, most);
	ck_assert_msg(strncmp(mem, "452 4.5.3", 9) == 0, "%s", mem);
	talk(&h, "DATA\r\n", "354");
	talk(&h, "\r\nbody\r\n.\r\n", "250");
	harness_fini(&h);
	free(conf);
}
END_TEST

void
session_tests_alias(Suite *s)
{
	TCase *tc = tcase_create("alias");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_session_alias_replaces_recipients, 0,
	    (int)(sizeof(rows) / sizeof(rows[0])));
	tcase_add_test(tc, test_session_alias_too_many_recipients);
	suite_add_tcase(s, tc);
}
