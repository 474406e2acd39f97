/* SPDX-License-Identifier: ISC */
/* Aliases: what an address stands for, and loops. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/str.h"
#include "common/mail/envelope.h"
#include "tests/unit/conf/mistakes.h"

static const char conf[] =
    "host-name mx.org\n"
    "alias one@a.org two@b.org\n"
    "alias Team@A.org x@b.org, y@B.org,x@b.org\n"
    "alias team@a.org z@c.org\n"
    "alias keep@a.org keep@a.org,copy@b.org\n"
    "alias chain@a.org one@a.org,team@a.org\n"
    "alias *@all.org one@a.org\n"
    "alias me@all.org me@all.org\n"
    "alias *@old.org *@new.org\n"
    "alias bob@new.org robert@new.org\n"
    "<aliases>\n"
    "postmaster root,one@a.org\n"
    "alias sub@a.org two@b.org\n"
    "sub@a.org x@b.org\n"
    "</aliases>\n";

static const struct {
	const char *local, *domain, *want;
} rows[] = {
	{ "nobody", "a.org", "" },
	{ "one", "a.org", "two@b.org" },
	{ "ONE", "A.ORG", "two@b.org" },
	{ "team", "a.org", "x@b.org y@b.org z@c.org" },
	{ "keep", "a.org", "keep@a.org copy@b.org" },
	{ "chain", "a.org", "two@b.org x@b.org y@b.org z@c.org" },
	{ "any", "all.org", "two@b.org" },
	{ "me", "all.org", "me@all.org" },
	{ "any", "sub.all.org", "" },
	{ "Ann", "old.org", "Ann@new.org" },
	{ "bob", "old.org", "robert@new.org" },
	{ "postmaster", "mx.org", "root@mx.org two@b.org" },
	{ "sub", "a.org", "two@b.org x@b.org" },
};

static enum conf_expand
expand(const struct conf *c, const char *local, const char *domain,
    struct str *out)
{
	struct sv v[CONF_ALIAS_MAX];
	enum conf_expand res;
	struct arena a;
	uint32_t n;

	arena_init(&a, 1u << 20);
	res = conf_alias_expand(c, sv_from(local), sv_from(domain), &a, v, &n);
	ck_assert(conf_alias_has(c, sv_from(local), sv_from(domain)) ==
	    (res != CONF_EXPAND_NONE));
	ck_assert(res == CONF_EXPAND_OK || n == 0);
	for (uint32_t i = 0; i < n; i++) {
		if (i > 0)
			str_addc(out, ' ');
		str_add(out, v[i]);
	}
	arena_fini(&a);
	return res;
}

START_TEST(test_alias_stands_for)
{
	struct conf *c = must_parse(conf);
	char mem[1000];
	struct str s;

	STR_ON(&s, mem);
	ck_assert_int_eq(expand(c, rows[_i].local, rows[_i].domain, &s),
	    rows[_i].want[0] == '\0' ? CONF_EXPAND_NONE : CONF_EXPAND_OK);
	ck_assert_msg(sv_eq(str_sv(&s), sv_from(rows[_i].want)), "%.*s",
	    SV_FMT(str_sv(&s)));
	conf_free(&c);
}
END_TEST

START_TEST(test_alias_taken_back)
{
	struct conf *c = must_parse("alias a@a.org b@b.org\nalias \"\"\n"
	    "alias c@a.org b@b.org\n");

	ck_assert(!conf_alias_has(c, SV("a"), SV("a.org")));
	ck_assert(conf_alias_has(c, SV("c"), SV("a.org")));
	conf_free(&c);
	c = must_parse("");
	ck_assert(!conf_alias_has(c, SV("a"), SV("a.org")));
	conf_free(&c);
}
END_TEST

START_TEST(test_alias_survives_the_wire)
{
	struct conf *c = must_parse(conf), *d;
	struct buf b;
	char mem[1000];
	struct str s;

	buf_init(&b, 1 << 20);
	ck_assert_int_eq(conf_encode(c, &b), 0);
	d = conf_decode(buf_sv(&b));
	ck_assert_ptr_nonnull(d);
	STR_ON(&s, mem);
	ck_assert_int_eq(expand(d, "postmaster", "mx.org", &s),
	    CONF_EXPAND_OK);
	ck_assert(sv_eq(str_sv(&s), SV("root@mx.org two@b.org")));
	conf_free(&c);
	conf_free(&d);
	buf_fini(&b);
}
END_TEST

/* n aliases, each for the next one. */
static char *
chain(unsigned n)
{
	char *text = malloc(n * 40 + 1), *at = text;

	ck_assert_ptr_nonnull(text);
	for (unsigned i = 0; i < n; i++)
		at += sprintf(at, "alias a%u@x.org a%u@x.org\n", i, i + 1);
	return text;
}

START_TEST(test_alias_chain_at_limit_ok_over_refused)
{
	char *text = chain(CONF_ALIAS_DEEP_MAX), mem[100];
	struct conf *c = must_parse(text);
	struct conf_report rep;
	struct str s;

	STR_ON(&s, mem);
	ck_assert_int_eq(expand(c, "a0", "x.org", &s), CONF_EXPAND_OK);
	ck_assert(sv_eq(str_sv(&s), SV("a16@x.org")));
	conf_free(&c);
	free(text);
	text = chain(CONF_ALIAS_DEEP_MAX + 1);
	conf_report_init(&rep);
	ck_assert_ptr_null(conf_parse("t", sv_from(text), &rep));
	ck_assert_ptr_nonnull(strstr(rep.errors[0], "is more than 16 aliases "
	    "deep"));
	conf_report_fini(&rep);
	free(text);
}
END_TEST

START_TEST(test_alias_targets_at_limit_ok_over_too_many)
{
	for (unsigned over = 0; over < 2; over++) {
		unsigned n = CONF_ALIAS_MAX + over;
		char *text = malloc(n * 40), *at = text, *mem = malloc(20000);
		struct conf *c;
		struct str s;

		ck_assert(text != NULL && mem != NULL);
		for (unsigned i = 0; i < n; i++)
			at += sprintf(at, "alias a@x.org a%u@y.org\n", i);
		c = must_parse(text);
		str_init(&s, mem, 20000);
		ck_assert_int_eq(expand(c, "a", "x.org", &s), over == 0 ?
		    CONF_EXPAND_OK : CONF_EXPAND_TOO_MANY);
		conf_free(&c);
		free(text);
		free(mem);
	}
}
END_TEST

/* What only shows when a local part is there. */
START_TEST(test_alias_late_loop_and_long_address)
{
	struct conf *c = must_parse("alias *@a.org *@b.org\n"
	    "alias x@b.org x@a.org\nalias *@long.org *@"
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.org"
	    "\n");
	char mem[400], local[ENV_ADDR_MAX];
	struct str s;

	STR_ON(&s, mem);
	ck_assert_int_eq(expand(c, "x", "a.org", &s), CONF_EXPAND_LOOP);
	ck_assert_int_eq(expand(c, "y", "a.org", &s), CONF_EXPAND_OK);
	memset(local, 'x', sizeof(local));
	local[sizeof(local) - 40] = '\0';
	ck_assert_int_eq(expand(c, local, "long.org", &s), CONF_EXPAND_BAD);
	conf_free(&c);
}
END_TEST

static const struct mistake mistakes[] = {
	{ "alias a@b.org\n", "t:1: alias: \"a@b.org\" has no address behind "
	    "the alias" },
	{ "alias a@b.org c d@e.org\n", "t:1: alias: \"a@b.org c d@e.org\" has "
	    "something that is not an address such as a@example.org" },
	{ "alias a@b.org /etc/passwd,|sh\n", "t:1: alias: \"a@b.org "
	    "/etc/passwd,|sh\" is no" },
	{ "alias a@b.org c@d.org,,\n", "t:1: alias: \"a@b.org c@d.org,,\" has "
	    "something that is not an address such as a@example.org" },
	{ "alias a@b.org *@c.org\n", "t:1: alias: \"a@b.org *@c.org\" has *@ "
	    "for an alias that is one address" },
	{ "alias a@x.org b@x.org\nalias b@x.org c@x.org\n"
	    "alias c@x.org d@x.org,a@x.org\n", NULL },
	{ "alias *@x.org a@y.org\nalias *@y.org b@x.org\n", NULL },
	{ "alias *@x.org *@y.org\nalias *@y.org *@x.org\n", NULL },
};

START_TEST(test_alias_mistakes)
{
	const struct mistake *m = &mistakes[_i];
	struct conf_report rep;

	conf_report_init(&rep);
	ck_assert_msg(conf_parse("t", sv_from(m->text), &rep) == NULL,
	    "accepted: %s", m->text);
	if (m->want == NULL)
		ck_assert_msg(strstr(rep.errors[0], "a loop") != NULL, "%s",
		    rep.errors[0]);
	else if (strstr(m->want, "is no") == NULL)
		ck_assert_str_eq(rep.errors[0], m->want);
	conf_report_fini(&rep);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("aliases");
	TCase *t = tcase_create("all");

	tcase_add_loop_test(t, test_alias_stands_for, 0, (int)N_OF(rows));
	tcase_add_test(t, test_alias_taken_back);
	tcase_add_test(t, test_alias_survives_the_wire);
	tcase_add_test(t, test_alias_chain_at_limit_ok_over_refused);
	tcase_add_test(t, test_alias_targets_at_limit_ok_over_too_many);
	tcase_add_test(t, test_alias_late_loop_and_long_address);
	tcase_add_loop_test(t, test_alias_mistakes, 0, (int)N_OF(mistakes));
	suite_add_tcase(s, t);
	return suite_run(s);
}
