/* SPDX-License-Identifier: ISC */
/* RFC 5321 3.3, 4.1.2, 4.5.3.1; RFC 1870, 3461, 6152, 6531 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "common/mail/smtp_cmd.h"

#define B(lit) { lit, sizeof(lit) - 1 }
#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define L63 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

/* Addresses: want NULL means that the result is res. */
static const struct {
	struct sv in;
	enum cmd_result res;
	const char *want, *domain;
} addrs[] = {
	/* plain */
	{ B("a@b.c"), 0, "a@b.c", "b.c" },
	{ B("user@example.org"), 0, "user@example.org", "example.org" },
	{ B("User@Example.ORG"), 0, "User@example.org", "example.org" },
	{ B("a.b.c@d.e"), 0, "a.b.c@d.e", "d.e" },
	{ B("a+b=c@d.e"), 0, "a+b=c@d.e", "d.e" },
	{ B("!#$%&'*+-/=?^_`{|}~@d.e"), 0, "!#$%&'*+-/=?^_`{|}~@d.e", "d.e" },
	{ B("1@2.com"), 0, "1@2.com", "2.com" },
	{ B("a@b"), 0, "a@b", "b" },
	{ B("a@localhost"), 0, "a@localhost", "localhost" },
	{ B("a@b-c.d"), 0, "a@b-c.d", "b-c.d" },
	{ B("a@b--c.d"), 0, "a@b--c.d", "b--c.d" },
	{ B("a@xn--bcher-kva.example"), 0, "a@xn--bcher-kva.example",
	    "xn--bcher-kva.example" },
	{ B("a@_dmarc.d"), 0, "a@_dmarc.d", "_dmarc.d" },
	{ B("a@b_c.d"), 0, "a@b_c.d", "b_c.d" },
	{ B("a@3com.com"), 0, "a@3com.com", "3com.com" },
	{ B("a@1.2.3.4a"), 0, "a@1.2.3.4a", "1.2.3.4a" },
	{ B("-a@b.c"), 0, "-a@b.c", "b.c" },
	{ B("-oProxy=x@b.c"), 0, "-oProxy=x@b.c", "b.c" },
	{ B("|cmd@b.c"), 0, "|cmd@b.c", "b.c" },
	{ B("/etc/passwd@b.c"), 0, "/etc/passwd@b.c", "b.c" },
	/* relay tricks: the domain is what stands behind the last '@' */
	{ B("a%b@c.d"), 0, "a%b@c.d", "c.d" },
	{ B("a%evil.example@us.example"), 0, "a%evil.example@us.example",
	    "us.example" },
	{ B("evil.example!a@us.example"), 0, "evil.example!a@us.example",
	    "us.example" },
	{ B("\"a@evil.example\"@us.example"), 0,
	    "\"a@evil.example\"@us.example", "us.example" },
	{ B("\"a@us.example\"@evil.example"), 0,
	    "\"a@us.example\"@evil.example", "evil.example" },
	{ B("a@us.example@evil.example"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a%us.example@evil.example"), 0, "a%us.example@evil.example",
	    "evil.example" },
	{ B("a@[us.example]"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@us.example."), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@.us.example"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@us..example"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@us.example:evil"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@us.example,evil"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@us.example/evil"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@us.example\\evil"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@us.example%evil"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@us.example!evil"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@us.example(evil)"), CMD_ADDR_BAD, NULL, NULL },
	{ B("(evil)a@us.example"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a(evil)@us.example"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a @us.example"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@ us.example"), CMD_ADDR_BAD, NULL, NULL },
	{ B(" a@us.example"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@us.example "), CMD_ADDR_BAD, NULL, NULL },
	{ B("<a@us.example>"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a:b@us.example"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a;b@us.example"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a,b@us.example"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a\\b@us.example"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a[b]@us.example"), CMD_ADDR_BAD, NULL, NULL },
	{ B("=?x?q?a=40b?=@us.example"), 0, "=?x?q?a=40b?=@us.example",
	    "us.example" },
	/* dots */
	{ B(".a@b.c"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a.@b.c"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a..b@b.c"), CMD_ADDR_BAD, NULL, NULL },
	{ B(".@b.c"), CMD_ADDR_BAD, NULL, NULL },
	{ B("..@b.c"), CMD_ADDR_BAD, NULL, NULL },
	{ B("@b.c"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@."), CMD_ADDR_BAD, NULL, NULL },
	{ B("@"), CMD_ADDR_BAD, NULL, NULL },
	{ B(""), CMD_ADDR_BAD, NULL, NULL },
	{ B("a"), CMD_UNQUALIFIED, NULL, NULL },
	{ B("\"a b\""), CMD_UNQUALIFIED, NULL, NULL },
	/* quoted */
	{ B("\"\"@b.c"), 0, "\"\"@b.c", "b.c" },
	{ B("\"a b\"@b.c"), 0, "\"a b\"@b.c", "b.c" },
	{ B("\"a\\\"b\"@b.c"), 0, "\"a\\\"b\"@b.c", "b.c" },
	{ B("\"a\\\\\"@b.c"), 0, "\"a\\\\\"@b.c", "b.c" },
	{ B("\"a>b\"@b.c"), 0, "\"a>b\"@b.c", "b.c" },
	{ B("\".a..b.\"@b.c"), 0, "\".a..b.\"@b.c", "b.c" },
	{ B("\"<>()[],;:@\"@B.C"), 0, "\"<>()[],;:@\"@b.c", "b.c" },
	{ B("\"a@b.c"), CMD_ADDR_BAD, NULL, NULL },
	{ B("\"a\\\"@b.c"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a\"b\"@b.c"), CMD_ADDR_BAD, NULL, NULL },
	{ B("\"a\"b@b.c"), CMD_ADDR_BAD, NULL, NULL },
	{ B("\"a\".\"b\"@b.c"), CMD_ADDR_BAD, NULL, NULL },
	{ B("\"a\tb\"@b.c"), CMD_ADDR_BAD, NULL, NULL },
	{ B("\"a\rb\"@b.c"), CMD_ADDR_BAD, NULL, NULL },
	{ B("\"a\nb\"@b.c"), CMD_ADDR_BAD, NULL, NULL },
	{ B("\"a\0b\"@b.c"), CMD_ADDR_BAD, NULL, NULL },
	{ B("\"a\\\nb\"@b.c"), CMD_ADDR_BAD, NULL, NULL },
	{ B("\"a\\\0b\"@b.c"), CMD_ADDR_BAD, NULL, NULL },
	{ B("\"a\x7f\"@b.c"), CMD_ADDR_BAD, NULL, NULL },
	/* control bytes */
	{ B("a\0@b.c"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@b.c\0"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@b\0.c"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a\r@b.c"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@b.c\n"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a\x01@b.c"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@b.c\x1b[2J"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a\x7f@b.c"), CMD_ADDR_BAD, NULL, NULL },
	/* domains */
	{ B("a@-b.c"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@b-.c"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@b.-c"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@b.c-"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@1.2.3.4"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@12345"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@b.123"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@b+c.d"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@\"b.c\""), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@*.c"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@$b.c"), CMD_ADDR_BAD, NULL, NULL },
	/* literals */
	{ B("a@[192.0.2.1]"), 0, "a@[192.0.2.1]", "[192.0.2.1]" },
	{ B("a@[255.255.255.255]"), 0, "a@[255.255.255.255]",
	    "[255.255.255.255]" },
	{ B("a@[IPv6:2001:DB8::1]"), 0, "a@[ipv6:2001:db8::1]",
	    "[ipv6:2001:db8::1]" },
	{ B("a@[ipv6:::1]"), 0, "a@[ipv6:::1]", "[ipv6:::1]" },
	{ B("a@[IPv6:::ffff:192.0.2.1]"), 0, "a@[ipv6:::ffff:192.0.2.1]",
	    "[ipv6:::ffff:192.0.2.1]" },
	{ B("a@[256.0.0.1]"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@[1.2.3]"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@[1.2.3.4.5]"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@[1.2.3.4"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@1.2.3.4]"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@[]"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@[ 1.2.3.4]"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@[1.2.3.4]x"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@[::1]"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@[IPv6:]"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@[IPv6:1]"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@[IPv6:fe80::1%eth0]"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@[x:y]"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@[1.2.3.4\0]"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@[0x7f.1]"), CMD_ADDR_BAD, NULL, NULL },
	/* lengths: RFC 5321 4.5.3.1.1, .2 */
	{ B(A64 "@b.c"), 0, A64 "@b.c", "b.c" },
	{ B(A64 A64 A64 "@b.c"), 0, A64 A64 A64 "@b.c", "b.c" },
	{ B(A64 A64 A64 A64 "@b.c"), CMD_ADDR_LONG, NULL, NULL },
	{ B("a@" L63 ".c"), 0, "a@" L63 ".c", L63 ".c" },
	{ B("a@b" L63 ".c"), CMD_ADDR_BAD, NULL, NULL },
	{ B(A64 "@" L63 "." L63 "." L63 "." L63), 0,
	    A64 "@" L63 "." L63 "." L63 "." L63,
	    L63 "." L63 "." L63 "." L63 },
	{ B("a@" L63 "." L63 "." L63 "." L63 ".c"), CMD_ADDR_LONG, NULL,
	    NULL },
	{ B("a" A64 "@" L63 "." L63 "." L63 "." L63), CMD_ADDR_LONG, NULL,
	    NULL },
	/* UTF-8 without leave, and broken */
	{ B("\xc3\xbc@b.c"), CMD_UTF8_NEEDED, NULL, NULL },
	{ B("a@b\xc3\xbc.c"), CMD_UTF8_NEEDED, NULL, NULL },
	{ B("\"\xc3\xbc\"@b.c"), CMD_UTF8_NEEDED, NULL, NULL },
	{ B("\xff@b.c"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a\xc3@b.c"), CMD_ADDR_BAD, NULL, NULL },
	{ B("\xc0\x80@b.c"), CMD_ADDR_BAD, NULL, NULL },
	{ B("\xed\xa0\x80@b.c"), CMD_ADDR_BAD, NULL, NULL },
	{ B("\xc2\x85@b.c"), CMD_ADDR_BAD, NULL, NULL },
	{ B("a@b.\xc3"), CMD_ADDR_BAD, NULL, NULL },
};

START_TEST(test_addr_table_parsed_or_refused)
{
	for (size_t i = 0; i < sizeof(addrs) / sizeof(addrs[0]); i++) {
		struct addr a;
		enum cmd_result res = addr_parse(addrs[i].in, false, &a);

		ck_assert_msg(res == addrs[i].res, "row %zu \"%.*s\": %d", i,
		    (int)addrs[i].in.n, addrs[i].in.p, res);
		if (res != CMD_OK) {
			ck_assert_uint_eq(a.n, 0);
			continue;
		}
		ck_assert_str_eq(a.text, addrs[i].want);
		ck_assert(sv_eq(addr_domain(addr_text(&a)),
		    sv_from(addrs[i].domain)));
		ck_assert_uint_eq(a.local_n + 1u + strlen(addrs[i].domain),
		    a.n);
	}
}
END_TEST

START_TEST(test_addr_utf8_allowed_accepted_if_valid)
{
	static const struct {
		struct sv in;
		bool ok;
	} t[] = {
		{ B("\xc3\xbc@b\xc3\xbc.example"), true },
		{ B("\xe7\x94\xa8\xe6\x88\xb7@\xe4\xbe\x8b.\xe5\xb9\xbf"),
		    true },
		{ B("\xf0\x9f\x98\x80@b.c"), true },
		{ B("\"\xc3\xbc x\"@b.c"), true },
		{ B("a@\xd7\x90.c"), true },
		{ B("\xff@b.c"), false },
		{ B("\xf4\x90\x80\x80@b.c"), false },
		{ B("\xe0\x80\xaf@b.c"), false },
		{ B("\xf0\x80\x80\xaf@b.c"), false },
		{ B("a@\xc3.c"), false },
		/* a character cut by the '@' */
		{ B("\xc3@\xbc.c"), false },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct addr a;

		ck_assert_int_eq(addr_parse(t[i].in, true, &a) == CMD_OK,
		    t[i].ok);
		if (t[i].ok)
			ck_assert(a.utf8);
	}
}
END_TEST

/* Parsing what was printed gives the same. */
START_TEST(test_addr_print_and_parse_same)
{
	for (size_t i = 0; i < sizeof(addrs) / sizeof(addrs[0]); i++) {
		struct addr a, b;

		if (addr_parse(addrs[i].in, false, &a) != CMD_OK)
			continue;
		ck_assert_int_eq(addr_parse(addr_text(&a), false, &b),
		    CMD_OK);
		ck_assert_str_eq(a.text, b.text);
	}
}
END_TEST

START_TEST(test_verb_any_case_and_blanks)
{
	static const struct {
		struct sv in;
		enum smtp_verb verb;
		const char *arg;
	} t[] = {
		{ B("QUIT"), SMTP_QUIT, "" },
		{ B("quit  "), SMTP_QUIT, "" },
		{ B("Mail FROM:<>"), SMTP_MAIL, "FROM:<>" },
		{ B("EHLO   x "), SMTP_EHLO, "x" },
		{ B("EHLOx"), SMTP_UNKNOWN, "" },
		{ B(""), SMTP_UNKNOWN, "" },
		{ B("GET / HTTP/1.1"), SMTP_HTTP, "/ HTTP/1.1" },
		{ B("Host: x"), SMTP_HTTP, "x" },
		{ B("STARTTLS"), SMTP_STARTTLS, "" },
		{ B("QUIT\0"), SMTP_UNKNOWN, "" },
		{ B("DATA\0x"), SMTP_UNKNOWN, "" },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct sv arg;

		ck_assert_int_eq(smtp_verb_parse(t[i].in, &arg), t[i].verb);
		ck_assert(sv_eq(arg, sv_from(t[i].arg)));
	}
}
END_TEST

#define X101 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" \
	"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static const struct {
	struct sv arg;
	enum cmd_result res;
	const char *from;
	uint64_t size;
	uint32_t flags;
	const char *envid;
} mails[] = {
	{ B("FROM:<>"), 0, "", 0, 0, "" },
	{ B("FROM: <>"), 0, "", 0, 0, "" },
	{ B("from:<a@B.c>"), 0, "a@b.c", 0, 0, "" },
	{ B("FROM:<@x.y,@z:a@b.c>"), 0, "a@b.c", 0, 0, "" },
	{ B("FROM:<a@b.c> SIZE=12"), 0, "a@b.c", 12, 0, "" },
	{ B("FROM:<a@b.c>  size=12  body=8bitmime "), 0, "a@b.c", 12,
	    ENV_8BITMIME, "" },
	{ B("FROM:<a@b.c> BODY=7BIT"), 0, "a@b.c", 0, 0, "" },
	{ B("FROM:<a@b.c> RET=HDRS ENVID=q+2Bx"), 0, "a@b.c", 0,
	    ENV_RET_HDRS, "q+2Bx" },
	{ B("FROM:<a@b.c> RET=FULL SMTPUTF8"), 0, "a@b.c", 0,
	    ENV_RET_FULL | ENV_SMTPUTF8, "" },
	{ B("FROM:<\xc3\xbc@b.c> SMTPUTF8"), 0, "\xc3\xbc@b.c", 0,
	    ENV_SMTPUTF8, "" },
	{ B("FROM:<a@b.c> SIZE=99999999999999999999"), 0, "a@b.c",
	    UINT64_MAX, 0, "" },
	{ B("FROM:<\xc3\xbc@b.c>"), CMD_UTF8_NEEDED, 0, 0, 0, 0 },
	{ B("FROM:<a@b.c> SIZE=999999999999999999999"), CMD_PARAM_BAD, 0, 0,
	    0, 0 },
	{ B("FROM:<a@b.c> SIZE"), CMD_PARAM_BAD, 0, 0, 0, 0 },
	{ B("FROM:<a@b.c> SIZE="), CMD_PARAM_BAD, 0, 0, 0, 0 },
	{ B("FROM:<a@b.c> SIZE=-1"), CMD_PARAM_BAD, 0, 0, 0, 0 },
	{ B("FROM:<a@b.c> SIZE=1x"), CMD_PARAM_BAD, 0, 0, 0, 0 },
	{ B("FROM:<a@b.c> SIZE=1 SIZE=2"), CMD_PARAM_TWICE, 0, 0, 0, 0 },
	{ B("FROM:<a@b.c> BODY=BINARYMIME"), CMD_PARAM_BAD, 0, 0, 0, 0 },
	{ B("FROM:<a@b.c> SMTPUTF8=1"), CMD_PARAM_BAD, 0, 0, 0, 0 },
	{ B("FROM:<a@b.c> RET=BOTH"), CMD_PARAM_BAD, 0, 0, 0, 0 },
	{ B("FROM:<a@b.c> ENVID=+00"), CMD_PARAM_BAD, 0, 0, 0, 0 },
	{ B("FROM:<a@b.c> ENVID=+0D+0A"), CMD_PARAM_BAD, 0, 0, 0, 0 },
	{ B("FROM:<a@b.c> ENVID=+2"), CMD_PARAM_BAD, 0, 0, 0, 0 },
	{ B("FROM:<a@b.c> ENVID=+2b"), CMD_PARAM_BAD, 0, 0, 0, 0 },
	{ B("FROM:<a@b.c> ENVID=+7F"), CMD_PARAM_BAD, 0, 0, 0, 0 },
	{ B("FROM:<a@b.c> ENVID=" X101), CMD_PARAM_BAD, 0, 0, 0, 0 },
	{ B("FROM:<a@b.c> AUTH=<>"), CMD_PARAM_UNKNOWN, 0, 0, 0, 0 },
	{ B("FROM:<a@b.c> NOTIFY=NEVER"), CMD_PARAM_UNKNOWN, 0, 0, 0, 0 },
	{ B("FROM:<a@b.c> X=1"), CMD_PARAM_UNKNOWN, 0, 0, 0, 0 },
	{ B("FROM:<a@b.c> =1"), CMD_PARAM_BAD, 0, 0, 0, 0 },
	{ B("FROM:<a@b.c>SIZE=1"), CMD_SYNTAX, 0, 0, 0, 0 },
	{ B("FROM:a@b.c"), CMD_SYNTAX, 0, 0, 0, 0 },
	{ B("FROM:<a@b.c"), CMD_SYNTAX, 0, 0, 0, 0 },
	{ B("FROM a@b.c"), CMD_SYNTAX, 0, 0, 0, 0 },
	{ B("TO:<a@b.c>"), CMD_SYNTAX, 0, 0, 0, 0 },
	{ B("FROM:"), CMD_SYNTAX, 0, 0, 0, 0 },
	{ B("FROM:<a>"), CMD_UNQUALIFIED, 0, 0, 0, 0 },
	{ B("FROM:< >"), CMD_ADDR_BAD, 0, 0, 0, 0 },
	{ B("FROM:<@x>"), CMD_ADDR_BAD, 0, 0, 0, 0 },
	{ B("FROM:<@x,y:a@b.c>"), CMD_ADDR_BAD, 0, 0, 0, 0 },
	{ B("FROM:<a@b.c>>"), CMD_SYNTAX, 0, 0, 0, 0 },
	{ B("FROM:<<a@b.c>"), CMD_ADDR_BAD, 0, 0, 0, 0 },
};

START_TEST(test_mail_table_parsed_or_refused)
{
	for (size_t i = 0; i < sizeof(mails) / sizeof(mails[0]); i++) {
		struct smtp_mail m;
		enum cmd_result res = smtp_mail_parse(mails[i].arg, true, &m);

		ck_assert_msg(res == mails[i].res, "row %zu \"%.*s\": %d", i,
		    (int)mails[i].arg.n, mails[i].arg.p, res);
		if (res != CMD_OK)
			continue;
		ck_assert_str_eq(m.from.text, mails[i].from);
		ck_assert_uint_eq(m.size, mails[i].size);
		ck_assert_uint_eq(m.flags, mails[i].flags);
		ck_assert(sv_eq(m.envid, sv_from(mails[i].envid)));
	}
}
END_TEST

START_TEST(test_mail_smtputf8_not_offered_unknown)
{
	struct smtp_mail m;

	ck_assert_int_eq(smtp_mail_parse(SV("FROM:<> SMTPUTF8"), false, &m),
	    CMD_PARAM_UNKNOWN);
}
END_TEST

static const struct {
	struct sv arg;
	enum cmd_result res;
	const char *to;
	uint8_t notify;
	const char *orcpt;
	bool postmaster;
} rcpts[] = {
	{ B("TO:<a@b.c>"), 0, "a@b.c", 0, "", false },
	{ B("to:<@x.y:a@b.c>"), 0, "a@b.c", 0, "", false },
	{ B("TO:<\"a>b\"@b.c>"), 0, "\"a>b\"@b.c", 0, "", false },
	{ B("TO:<postmaster>"), 0, "", 0, "", true },
	{ B("TO:<PostMaster>"), 0, "", 0, "", true },
	{ B("TO:<postmaster@b.c>"), 0, "postmaster@b.c", 0, "", false },
	{ B("TO:<a@b.c> NOTIFY=NEVER"), 0, "a@b.c", NOTIFY_NEVER, "", false },
	{ B("TO:<a@b.c> NOTIFY=success,DELAY,Failure"), 0, "a@b.c",
	    NOTIFY_SUCCESS | NOTIFY_DELAY | NOTIFY_FAILURE, "", false },
	{ B("TO:<a@b.c> ORCPT=rfc822;a+2Bx@b.c"), 0, "a@b.c", 0,
	    "rfc822;a+2Bx@b.c", false },
	{ B("TO:<a@b.c> NOTIFY=NEVER,DELAY"), CMD_PARAM_BAD, 0, 0, 0, 0 },
	{ B("TO:<a@b.c> NOTIFY=DELAY,DELAY"), CMD_PARAM_BAD, 0, 0, 0, 0 },
	{ B("TO:<a@b.c> NOTIFY=DELAY,"), CMD_PARAM_BAD, 0, 0, 0, 0 },
	{ B("TO:<a@b.c> NOTIFY="), CMD_PARAM_BAD, 0, 0, 0, 0 },
	{ B("TO:<a@b.c> NOTIFY"), CMD_PARAM_BAD, 0, 0, 0, 0 },
	{ B("TO:<a@b.c> NOTIFY=X"), CMD_PARAM_BAD, 0, 0, 0, 0 },
	{ B("TO:<a@b.c> NOTIFY=NEVER NOTIFY=NEVER"), CMD_PARAM_TWICE, 0, 0,
	    0, 0 },
	{ B("TO:<a@b.c> ORCPT=a@b.c"), CMD_PARAM_BAD, 0, 0, 0, 0 },
	{ B("TO:<a@b.c> ORCPT=;a@b.c"), CMD_PARAM_BAD, 0, 0, 0, 0 },
	{ B("TO:<a@b.c> ORCPT=rfc822;"), CMD_PARAM_BAD, 0, 0, 0, 0 },
	{ B("TO:<a@b.c> ORCPT=rfc822;a+00"), CMD_PARAM_BAD, 0, 0, 0, 0 },
	{ B("TO:<a@b.c> ORCPT=rfc822;a+0A"), CMD_PARAM_BAD, 0, 0, 0, 0 },
	{ B("TO:<a@b.c> ORCPT=rf c;a"), CMD_PARAM_BAD, 0, 0, 0, 0 },
	{ B("TO:<a@b.c> ORCPT=rfc822;\xc3\xbc"), CMD_PARAM_BAD, 0, 0, 0, 0 },
	{ B("TO:<a@b.c> SIZE=1"), CMD_PARAM_UNKNOWN, 0, 0, 0, 0 },
	{ B("TO:<>"), CMD_ADDR_BAD, 0, 0, 0, 0 },
	{ B("TO:<a>"), CMD_UNQUALIFIED, 0, 0, 0, 0 },
	{ B("TO:<\xc3\xbc@b.c>"), CMD_UTF8_NEEDED, 0, 0, 0, 0 },
	{ B("FROM:<a@b.c>"), CMD_SYNTAX, 0, 0, 0, 0 },
	{ B("TO:<\"a>@b.c"), CMD_SYNTAX, 0, 0, 0, 0 },
};

START_TEST(test_rcpt_table_parsed_or_refused)
{
	for (size_t i = 0; i < sizeof(rcpts) / sizeof(rcpts[0]); i++) {
		struct smtp_rcpt r;
		enum cmd_result res = smtp_rcpt_parse(rcpts[i].arg, false,
		    &r);

		ck_assert_msg(res == rcpts[i].res, "row %zu \"%.*s\": %d", i,
		    (int)rcpts[i].arg.n, rcpts[i].arg.p, res);
		if (res != CMD_OK)
			continue;
		ck_assert_str_eq(r.to.text, rcpts[i].to);
		ck_assert_uint_eq(r.notify, rcpts[i].notify);
		ck_assert(sv_eq(r.orcpt, sv_from(rcpts[i].orcpt)));
		ck_assert_int_eq(r.postmaster, rcpts[i].postmaster);
	}
}
END_TEST

START_TEST(test_rcpt_orcpt_limit_500)
{
	char arg[700] = "TO:<a@b.c> ORCPT=rfc822;";
	size_t n = strlen(arg), value = strlen("rfc822;");
	struct smtp_rcpt r;

	memset(arg + n, 'x', 500);
	ck_assert_int_eq(smtp_rcpt_parse(sv_make(arg, n + 500 - value), false,
	    &r), CMD_OK);
	ck_assert_int_eq(smtp_rcpt_parse(sv_make(arg, n + 501 - value), false,
	    &r), CMD_PARAM_BAD);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("smtp_cmd");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_add_test(t, test_addr_table_parsed_or_refused);
	tcase_add_test(t, test_addr_utf8_allowed_accepted_if_valid);
	tcase_add_test(t, test_addr_print_and_parse_same);
	tcase_add_test(t, test_verb_any_case_and_blanks);
	tcase_add_test(t, test_mail_table_parsed_or_refused);
	tcase_add_test(t, test_mail_smtputf8_not_offered_unknown);
	tcase_add_test(t, test_rcpt_table_parsed_or_refused);
	tcase_add_test(t, test_rcpt_orcpt_limit_500);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
