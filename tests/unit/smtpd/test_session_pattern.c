/* SPDX-License-Identifier: ISC */
/* The <pattern-list> of a source. */
#include "tests/unit/smtpd/session_tests.h"

#define LISTS HARNESS_CONF \
	"<virtual-mta v1>\n</virtual-mta>\n<virtual-mta v2>\n</virtual-mta>\n" \
	"<virtual-mta v3>\n</virtual-mta>\n" \
	"<source 127.0.0.1>\nalways-allow-relaying yes\npattern-list l\n" \
	"max-message-size 2M\n%s</source>\n" \
	"<pattern-list l>\n%s</pattern-list>\n" \
	"<pattern-list other>\nmail-from /^boss@/ vmta=v3\n" \
	"rcpt-to /^held@/ hold,vmta=v2\n</pattern-list>\n"

#define BODY "\r\nbody\r\n"

/* Lines of the source and of the list, a message; what becomes of it. */
struct row {
	const char *source, *list;
	const char *sender, *rcpts;   /* those with blanks between */
	const char *message;
	const char *rcpt_replies;     /* "2", "5": one for each */
	const char *reply;            /* to the end of data */
	const char *groups;           /* of each recipient: "vmta",
	                               * "vmta:hold", "+priority" behind it if
	                               * it is not 50; with blanks between */
	const char *head;             /* stands in it; with "!": does not */
};

static const struct row rows[] = {
	/* each kind of line */
	{ "", "header X-Stream /^bulk$/ virtual-mta=v1\n", "s@x", "a@y",
	    "x-stream:\r\n bulk\r\n" BODY, "2", "250", "v1", NULL },
	{ "", "header X-Stream /^bulk$/ virtual-mta=v1\n", "s@x", "a@y",
	    "x-stream: bulky\r\nX-Stream: other\r\n" BODY, "2", "250", "",
	    NULL },
	{ "", "header X-Stream /^bulk$/ virtual-mta=v1\n", "s@x", "a@y",
	    "x-stream: no\r\nno field\r\nX-Stream: BULK \r\n" BODY, "2", "250",
	    "v1", NULL },
	/* not in the body */
	{ "", "header X-Stream /bulk/ virtual-mta=v1\n", "s@x", "a@y",
	    "\r\nX-Stream: bulk\r\n", "2", "250", "", NULL },
	{ "", "header X-Stream /^$/ virtual-mta=v1\n", "s@x", "a@y",
	    "X-Stream:\r\n" BODY, "2", "250", "v1", NULL },
	{ "", "mail-from /@news\\./ vmta=v2\n", "s@news.x", "a@y", BODY, "2",
	    "250", "v2", NULL },
	{ "", "mail-from /^$/ vmta=v2\n", "", "a@y", BODY, "2", "250", "v2",
	    NULL },
	{ "", "rcpt-to /@y\\.example$/ vmta=v2\n", "s@x", "a@y", BODY, "2",
	    "250", "v2", NULL },
	{ "", "body /win a prize/ vmta=v2\n", "s@x", "a@y",
	    "Subject: win a prize\r\n\r\nbody\r\n", "2", "250", "", NULL },
	{ "", "body /win a prize/ vmta=v2\n", "s@x", "a@y",
	    "A: b\r\n\r\nyou WIN A PRIZE\r\n", "2", "250", "v2", NULL },
	{ "", "size >20 vmta=v1\n* vmta=v2\n", "s@x", "a@y",
	    "A: b\r\n\r\n123456789012\r\n", "2", "250", "v1", NULL },
	{ "", "size >22 vmta=v1\n* vmta=v2\n", "s@x", "a@y",
	    "A: b\r\n\r\n123456789012\r\n", "2", "250", "v2", NULL },
	/* the first that matches decides */
	{ "", "header A /b/ vmta=v1\nrcpt-to /y/ vmta=v2\n", "s@x", "a@y",
	    "A: b\r\n" BODY, "2", "250", "v1", NULL },
	{ "", "rcpt-to /y/ recipient-priority=80\n* vmta=v1\n", "s@x",
	    "a@y b@z", BODY, "22", "250", "+80 v1", NULL },
	/* priorities: a message with one alone has a group as well */
	{ "", "mail-from /^s/ vmta=v1,recipient-priority=0\n", "s@x",
	    "a@y b@y", BODY, "22", "250", "v1+0 v1+0", NULL },
	{ "", "mail-from /^s/ recipient-priority=50\n", "s@x", "a@y", BODY,
	    "2", "250", "", NULL },
	{ "", "rcpt-to /^a/ recipient-priority=100,hold\n"
	    "rcpt-to /^b/ recipient-priority=50\nrcpt-to /^c/ vmta=v1\n",
	    "s@x", "a@y b@y c@y d@y", BODY, "2222", "250", ":l+100  v1 ",
	    NULL },
	{ "process-x-virtual-mta yes\n", "* vmta=v1,recipient-priority=90\n",
	    "s@x", "a@y", "x-virtual-mta: v2\r\n" BODY, "2", "250", "v2+90",
	    NULL },
	/* the client, then the list, then the source */
	{ "process-x-virtual-mta yes\ndefault-virtual-mta v3\n",
	    "mail-from /^s/ vmta=v1\n", "s@x", "a@y",
	    "x-virtual-mta: v2\r\n" BODY, "2", "250", "v2", NULL },
	{ "process-x-virtual-mta yes\ndefault-virtual-mta v3\n",
	    "mail-from /^s/ vmta=v1\n", "s@x", "a@y", BODY, "2", "250", "v1",
	    NULL },
	{ "process-x-virtual-mta yes\ndefault-virtual-mta v3\n",
	    "mail-from /^s/ vmta=v1\n", "t@x", "a@y", BODY, "2", "250", "v3",
	    NULL },
	{ "process-x-virtual-mta yes\nreject-invalid-virtual-mta no\n",
	    "mail-from /^s/ vmta=v1\n", "s@x", "a@y",
	    "x-virtual-mta: nope\r\n" BODY, "2", "250", "v1", NULL },
	/* what the client names does not set it free */
	{ "process-x-virtual-mta yes\n", "* hold,vmta=v1\n", "s@x", "a@y",
	    "x-virtual-mta: v2\r\n" BODY, "2", "250", "v2:l", NULL },
	{ "process-x-virtual-mta yes\n", "size >1b reject=\"no\"\n", "s@x",
	    "a@y", "x-virtual-mta: v2\r\n" BODY, "2", "550 5.7.1 no\r\n",
	    NULL, NULL },
	/* a header that is taken out is still seen */
	{ "remove-header A\n", "header A /b/ vmta=v1\n", "s@x", "a@y",
	    "A: b\r\n" BODY, "2", "250", "v1", NULL },
	/* recipients part */
	{ "default-virtual-mta v3\n", "rcpt-to /^a/ vmta=v1\n"
	    "rcpt-to /^b/ vmta=v2\nrcpt-to /^c/ hold\n", "s@x",
	    "d@y a@y c@y b@y a2@y", BODY, "22222", "250",
	    "v3 v1 v3:l v2 v1", NULL },
	/* and come to the same */
	{ "", "rcpt-to /^a/ vmta=v1\nrcpt-to /^b/ vmta=V1\n", "s@x",
	    "a@y b@y", BODY, "22", "250", "v1 v1", NULL },
	{ "", "* hold\n", "s@x", "a@y b@y", BODY, "22", "250", ":l :l",
	    NULL },
	/* lists in lists; what none of their lines takes goes on */
	{ "", "header A /b/ <pattern-list>\nrcpt-to /^a/ vmta=v1\n"
	    "mail-from /z/ vmta=v2\n</pattern-list>\n* vmta=v3\n", "s@x",
	    "b@y a@y", "A: b\r\n" BODY, "22", "250", "v3 v1", NULL },
	{ "", "header A /b/ <pattern-list>\nrcpt-to /^a/ vmta=v1\n"
	    "</pattern-list>\n* vmta=v3\n", "s@x", "b@y a@y", BODY, "22",
	    "250", "v3 v3", NULL },
	{ "", "* call-to:other\nrcpt-to /^a/ vmta=v1\n", "s@x",
	    "a@y held@y b@y", BODY, "222", "250", "v1 v2:other ", NULL },
	{ "", "rcpt-to /^(a|held)/ call-to:other\n* vmta=v1\n", "boss@x",
	    "a@y b@y held@y", BODY, "222", "250", "v3 v1 v3", NULL },
	/* refused at RCPT: the recipient alone */
	{ "", "rcpt-to /^bad@/ reject=\"Not this one\"\n"
	    "header A /b/ vmta=v1\n", "s@x", "a@y bad@y", "A: b\r\n" BODY,
	    "25", "250", "v1", NULL },
	{ "", "* <pattern-list>\nmail-from /nobody/ reject=\"x\"\n"
	    "rcpt-to /^bad@/ reject=\"x\"\n</pattern-list>\n", "s@x",
	    "a@y bad@y", BODY, "25", "250", "", NULL },
	{ "", "mail-from /^s/ reject=\"x\"\n", "s@x", "a@y", NULL, "5", NULL,
	    NULL, NULL },
	/* a line before it may decide otherwise */
	{ "", "rcpt-to /^bad@good/ vmta=v1\nrcpt-to /^bad@/ reject=\"x\"\n",
	    "s@x", "bad@good bad@y", BODY, "25", "250", "v1", NULL },
	{ "", "header A /b/ vmta=v1\nrcpt-to /^bad@/ reject=\"x y, z\"\n",
	    "s@x", "a@y bad@y", "A: b\r\n" BODY, "22", "250", "v1 v1", NULL },
	{ "", "header A /b/ vmta=v1\nrcpt-to /^bad@/ reject=\"x y, z\"\n",
	    "s@x", "a@y bad@y", BODY, "22", "550 5.7.1 x y, z\r\n", NULL,
	    NULL },
	/* at the end of data */
	{ "", "header Subject /lottery/ reject=\"No games\"\n", "s@x", "a@y",
	    "Subject: The Lottery\r\n" BODY, "2", "550 5.7.1 No games\r\n",
	    NULL, NULL },
	{ "", "body /lottery/ reject=\"No games\"\n", "s@x", "a@y",
	    "\r\nThe Lottery\r\n", "2", "550 5.7.1 No games\r\n", NULL, NULL },
	/* too many steps */
	{ "", "body /^(a+)+$/ hold\n", "s@x", "a@y",
	    "\r\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\r\n", "2", "451 4.3.0",
	    NULL, NULL },
	{ "", "mail-from /^(a+)+$/ reject=\"x\"\n",
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!@x", "a@y", NULL, "4", NULL,
	    NULL, NULL },
	/* the header that names it */
	{ "add-x-virtual-mta-header yes\n", "rcpt-to /^a/ vmta=v1\n", "s@x",
	    "a@y a2@y", BODY, "22", "250", "v1 v1", "x-virtual-mta: v1" },
	{ "add-x-virtual-mta-header yes\n", "rcpt-to /^a/ hold,vmta=v1\n"
	    "* vmta=v1\n", "s@x", "a@y b@y", BODY, "22", "250", "v1:l v1",
	    "x-virtual-mta: v1" },
	{ "add-x-virtual-mta-header yes\n", "rcpt-to /^a/ vmta=v1\n"
	    "* vmta=v2\n", "s@x", "a@y b@y", BODY, "22", "250", "v1 v2",
	    "!x-virtual-mta" },
};

/* "v1 v2:l": what each recipient of the envelope has. */
static void
groups_text(const struct envelope *e, char *out, size_t size)
{
	size_t n = 0;

	out[0] = '\0';
	for (uint32_t i = 0; i < e->nrcpts; i++) {
		struct sv hold = envelope_hold(e, i);

		n += (size_t)snprintf(out + n, size - n, "%s%.*s%s%.*s",
		    i > 0 ? " " : "", SV_FMT(envelope_vmta(e, i)),
		    hold.n > 0 ? ":" : "", SV_FMT(hold));
		ck_assert_uint_lt(n, size);
		if (envelope_priority(e, i) != PRIORITY_DEFAULT)
			n += (size_t)snprintf(out + n, size - n, "+%u",
			    envelope_priority(e, i));
		ck_assert_uint_lt(n, size);
	}
}

static void
rcpts_say(struct harness *h, const struct row *r, size_t i)
{
	struct sv rest = sv_from(r->rcpts);
	char line[200], mem[600];

	for (size_t k = 0; rest.p != NULL; k++) {
		struct sv rcpt = sv_cut(&rest, ' '), got;

		snprintf(line, sizeof(line), "RCPT TO:<%.*s.example>\r\n",
		    SV_FMT(rcpt));
		harness_send(h, sv_from(line), 9999);
		got = harness_reply(h, mem, sizeof(mem));
		ck_assert_msg(got.n > 0 && got.p[0] == r->rcpt_replies[k],
		    "row %zu: %.*s: %.*s", i, SV_FMT(rcpt), SV_FMT(got));
	}
}

static void
row_try(struct harness *h, const struct row *r, size_t i)
{
	char line[200], mem[600], groups[300];
	struct envelope e;
	struct arena a;
	struct sv got, head;

	snprintf(line, sizeof(line), "MAIL FROM:<%s%s>\r\n", r->sender,
	    r->sender[0] == '\0' ? "" : ".example");
	harness_send(h, sv_from(line), 9999);
	harness_reply(h, mem, sizeof(mem));
	rcpts_say(h, r, i);
	if (r->message == NULL)
		return;
	harness_send(h, SV("DATA\r\n"), 9999);
	harness_reply(h, mem, sizeof(mem));
	harness_send(h, sv_from(r->message), 9999);
	harness_send(h, SV(".\r\n"), 9999);
	got = harness_reply(h, mem, sizeof(mem));
	ck_assert_msg(strncmp(mem, r->reply, strcspn(r->reply, "\r")) == 0,
	    "row %zu: %.*s", i, SV_FMT(got));
	ck_assert_uint_eq(h->committer.submitted, r->groups != NULL);
	if (r->groups == NULL)
		return;
	arena_init(&a, 65536);
	ck_assert(envelope_decode(buf_sv(&h->committer.env), &a, &e));
	groups_text(&e, groups, sizeof(groups));
	ck_assert_msg(strcasecmp(groups, r->groups) == 0,
	    "row %zu: \"%s\"", i, groups);
	head = buf_sv(&h->committer.head);
	if (r->head != NULL && r->head[0] == '!')
		ck_assert_msg(memmem(head.p, head.n, r->head + 1,
		    strlen(r->head + 1)) == NULL, "row %zu", i);
	else if (r->head != NULL)
		ck_assert_msg(memmem(head.p, head.n, r->head,
		    strlen(r->head)) != NULL, "row %zu", i);
	arena_fini(&a);
}

static void
row_begin(struct harness *h, const char *source, const char *list)
{
	char conf[4000], mem[600];

	snprintf(conf, sizeof(conf), LISTS, source, list);
	harness_init(h, conf);
	harness_connect(h, LOCAL);
	harness_send(h, SV("EHLO c\r\n"), 9999);
	harness_reply(h, mem, sizeof(mem));
	harness_reply(h, mem, sizeof(mem));
	buf_clear(&h->in);
}

START_TEST(test_session_pattern_decides)
{
	const struct row *r = &rows[_i];
	struct harness h;

	row_begin(&h, r->source, r->list);
	row_try(&h, r, (size_t)_i);
	harness_fini(&h);
}
END_TEST

/* What was decided for one message is not for the next one. */
START_TEST(test_session_pattern_is_for_one_message)
{
	static const struct row steps[] = {
		{ "", "", "s@x", "bad@y", NULL, "5", NULL, NULL, NULL },
		{ "", "", "s@x", "a@y", "A: no\r\n" BODY, "2",
		    "550 5.7.1 second\r\n", NULL, NULL },
		{ "", "", "s@x", "a@y held@y", BODY, "22", "250",
		    " v2:other", NULL },
	};
	struct harness h;

	row_begin(&h, "", "rcpt-to /^bad@/ reject=\"first\"\n"
	    "header A /no/ reject=\"second\"\n* call-to:other\n");
	for (size_t i = 0; i < 3; i++) {
		row_try(&h, &steps[i], i);
		harness_send(&h, SV("RSET\r\n"), 9999);
		buf_clear(&h.in);
	}
	harness_fini(&h);
}
END_TEST

/* Patterns look at the first 32 KiB, however the message comes, and though it
 * has gone into a file by then. */
START_TEST(test_session_pattern_looks_at_the_start_of_large_ones)
{
	static const struct {
		size_t at;            /* of the word */
		const char *reply;
	} t[] = {
		{ 32768 - 4, "550 5.7.1 found" }, { 32768 - 3, "250" },
		{ 100, "550 5.7.1 found" },
	};
	static char message[700000];
	struct harness h;
	char mem[600];

	for (size_t i = 0; i < 6; i++) {
		size_t n = i < 3 ? 690000 : 40000, len;

		memcpy(message, "A: b\r\n\r\n", 8);
		for (size_t k = 8; k < n; k += 100) {
			memset(message + k, 'x', 98);
			memcpy(message + k + 98, "\r\n", 2);
		}
		len = 8 + (n - 8) / 100 * 100;
		memcpy(message + t[i % 3].at, "word", 4);
		memcpy(message + len, ".\r\n", 4);
		row_begin(&h, "", "body /word/ reject=\"found\"\n");
		harness_send(&h, SV(M R "DATA\r\n"), 9999);
		buf_clear(&h.in);
		harness_send(&h, sv_from(message), i < 3 ? 9999 : 777);
		harness_reply(&h, mem, sizeof(mem));
		ck_assert_msg(strncmp(mem, t[i % 3].reply,
		    strlen(t[i % 3].reply)) == 0, "%zu: %s", i, mem);
		harness_fini(&h);
	}
}
END_TEST

/* Byte by byte it is the same. */
START_TEST(test_session_pattern_byte_by_byte)
{
	struct harness h;
	char mem[600];

	row_begin(&h, "", "header Subject /^one two$/ reject=\"seen\"\n");
	harness_send(&h, SV(M R "DATA\r\n"), 9999);
	buf_clear(&h.in);
	harness_send(&h, SV("Subject: one\r\n two\r\nA: b\r\n\r\nx\r\n.\r\n"),
	    1);
	harness_reply(&h, mem, sizeof(mem));
	ck_assert_msg(strncmp(mem, "550 5.7.1 seen", 14) == 0, "%s", mem);
	harness_fini(&h);
}
END_TEST

/* RFC 5321 4.5.1: no list keeps mail from <Postmaster>. */
START_TEST(test_session_pattern_postmaster_is_taken)
{
	struct harness h;
	char mem[600];

	row_begin(&h, "", "rcpt-to /postmaster@/ reject=\"no\"\n");
	harness_send(&h, SV("MAIL FROM:<>\r\n"), 9999);
	harness_reply(&h, mem, sizeof(mem));
	harness_send(&h, SV("RCPT TO:<postmaster>\r\n"), 9999);
	harness_reply(&h, mem, sizeof(mem));
	ck_assert_msg(mem[0] == '2', "%s", mem);
	harness_fini(&h);
}
END_TEST

void
session_tests_pattern(Suite *s)
{
	TCase *tc = tcase_create("pattern");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_session_pattern_decides, 0,
	    (int)(sizeof(rows) / sizeof(rows[0])));
	tcase_add_test(tc, test_session_pattern_is_for_one_message);
	tcase_add_test(tc,
	    test_session_pattern_looks_at_the_start_of_large_ones);
	tcase_add_test(tc, test_session_pattern_byte_by_byte);
	tcase_add_test(tc, test_session_pattern_postmaster_is_taken);
	suite_add_tcase(s, tc);
}
