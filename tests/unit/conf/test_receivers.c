/* SPDX-License-Identifier: ISC */
/* Receiver rules: what goes before what, and the file that comes with us. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/conf/conf.h"
#include "common/conf/store.h"
#include "tests/unit/conf/mistakes.h"

static const char rules[] =
    "<mx-rollup-list>\nmx *.big.test big.rollup\nmx *.own.test own.rollup\n"
    "</mx-rollup-list>\n"
    "<domain big.rollup own.rollup>\nmax-smtp-out 5\nmax-msg-rate 10/s\n"
    "max-msg-per-connection 50\nbounce-after 1d\n"
    "smtp-pattern-list {big}\n</domain>\n"
    "<smtp-pattern-list {big}>\nreply /slow/ defer-queue\nsample \"slow\"\n"
    "</smtp-pattern-list>\n";

static struct conf *
parse_with(const char *text)
{
	struct conf_report rep;
	struct conf *c;

	conf_report_init(&rep);
	c = conf_parse_with("t", sv_from(text), "r", sv_from(rules), &rep);
	ck_assert_msg(c != NULL, "%s",
	    rep.nerrors > 0 ? rep.errors[0] : "no error");
	ck_assert_uint_eq(rep.nwarnings, 0);
	conf_report_fini(&rep);
	return c;
}

struct want {
	const char *name, *value, *at; /* at: "file:line", "" for a default */
	bool seen;
};

static void
on_setting(void *arg, struct sv scope, struct sv name, struct sv value,
    struct sv file, uint32_t line)
{
	struct want *w = arg;
	char at[300] = "";

	(void)scope;
	if (!sv_eq(name, sv_from(w->name)))
		return;
	if (line > 0)
		(void)snprintf(at, sizeof(at), "%.*s:%u", SV_FMT(file), line);
	ck_assert_msg(sv_eq(value, sv_from(w->value)), "%s: %.*s", w->name,
	    SV_FMT(value));
	ck_assert_str_eq(at, w->at);
	w->seen = true;
}

static void
ck_shown(const struct conf *c, const char *vmta, const char *rollup,
    const char *name, const char *value, const char *at)
{
	struct want w = { name, value, at, false };

	conf_domain_show(c, sv_from(vmta), SV("a.test"), sv_from(rollup),
	    on_setting, &w);
	ck_assert(w.seen);
}

/* A setting of max-smtp-out, and what holds for a.test in big.rollup. */
static const struct {
	const char *text;
	uint32_t want;
	const char *at;
} limits[] = {
	{ "", 5, "r:6" },
	{ "<domain *>\nmax-smtp-out 20\n</domain>\n", 5, "r:6" },
	{ "<domain *>\nmax-smtp-out 0\n</domain>\n", 5, "r:6" },
	{ "<domain *>\nmax-smtp-out \"\"\n</domain>\n", 5, "r:6" },
	{ "<domain *>\nmax-smtp-out 3\n</domain>\n", 3, "t:2" },
	{ "<domain *.test>\nmax-smtp-out 20\n</domain>\n", 20, "t:2" },
	{ "<domain a.test>\nmax-smtp-out 20\n</domain>\n", 20, "t:2" },
	{ "<domain a.test>\nmax-smtp-out \"\"\n</domain>\n", 20, "t:2" },
	{ "<domain big.rollup>\nmax-smtp-out 20\n</domain>\n", 20, "t:2" },
	{ "<domain big.rollup>\nmax-smtp-out 30\n</domain>\n"
	  "<domain *>\nmax-smtp-out 3\n</domain>\n", 30, "t:2" },
	{ "<domain a.test>\nmax-smtp-out 20\n</domain>\n"
	  "<domain big.rollup>\nmax-smtp-out 30\n</domain>\n", 20, "t:2" },
	{ "<domain b.test>\nmax-smtp-out 20\n</domain>\n", 5, "r:6" },
	{ "<virtual-mta v>\n<domain *>\nmax-smtp-out 9\n</domain>\n"
	  "</virtual-mta>\n", 5, "r:6" },
	{ "<virtual-mta v>\n<domain *>\nmax-smtp-out 4\n</domain>\n"
	  "</virtual-mta>\n", 4, "t:3" },
	{ "<virtual-mta v>\n<domain a.test>\nmax-smtp-out 9\n</domain>\n"
	  "</virtual-mta>\n", 9, "t:3" },
	{ "<domain a.test>\nmax-smtp-out 7\n</domain>\n<virtual-mta v>\n"
	  "<domain *>\nmax-smtp-out 9\n</domain>\n</virtual-mta>\n", 5,
	  "r:6" },
};

START_TEST(test_limit_of_a_rule_is_the_weakest_but_where_lower)
{
	const char *text = limits[_i].text;
	struct conf *c = parse_with(text);
	const char *vmta = strstr(text, "virtual-mta") == NULL ? "" : "v";
	char want[16];

	(void)snprintf(want, sizeof(want), "%u", limits[_i].want);
	ck_assert_uint_eq(conf_rolled_find(c, sv_from(vmta), SV("a.test"),
	    SV("big.rollup"))->max_smtp_out, limits[_i].want);
	if (strstr(text, "\"\"") == NULL || limits[_i].want == 5)
		ck_shown(c, vmta, "big.rollup", "max-smtp-out", want,
		    limits[_i].at);
	conf_free(&c);
}
END_TEST

START_TEST(test_other_settings_of_all_domains_go_before_a_rule)
{
	struct conf *c = parse_with("<domain *>\nbounce-after 2d\n"
	    "max-msg-rate 100/m\nmax-msg-per-connection 0\n"
	    "smtp-pattern-list mine\n</domain>\n"
	    "<smtp-pattern-list mine>\nreply /x/ skip-mx\n"
	    "</smtp-pattern-list>\n");

	ck_shown(c, "", "big.rollup", "bounce-after", "2d", "t:2");
	ck_shown(c, "", "big.rollup", "max-msg-rate", "100/m", "t:3");
	ck_shown(c, "", "big.rollup", "max-msg-per-connection", "50", "r:8");
	ck_shown(c, "", "big.rollup", "smtp-pattern-list", "mine", "t:5");
	conf_free(&c);
	c = parse_with("");
	ck_shown(c, "", "big.rollup", "bounce-after", "1d", "r:9");
	ck_shown(c, "", "big.rollup", "smtp-pattern-list", "{big}", "r:10");
	ck_assert_ptr_nonnull(conf_reply_list_find(c, SV("{big}")));
	conf_free(&c);
}
END_TEST

START_TEST(test_domain_in_no_rollup_has_nothing_of_the_rules)
{
	struct conf *c = parse_with("");

	ck_shown(c, "", "", "max-smtp-out", "20", "");
	ck_shown(c, "", "", "smtp-pattern-list", "", "");
	/* of an older configuration */
	ck_shown(c, "", "gone.rollup", "max-smtp-out", "20", "");
	ck_assert_uint_eq(conf_domain_find(c, SV(""), SV("big.rollup"))->
	    max_smtp_out, 5);
	conf_free(&c);
}
END_TEST

START_TEST(test_rollup_list_of_the_configuration_is_asked_first)
{
	static const struct sv big[] = { SV("mx1.big.test") };
	static const struct sv own[] = { SV("mx1.own.test") };
	static const struct sv other[] = { SV("mx1.other.test") };
	struct conf *c = parse_with("<mx-rollup-list>\n"
	    "mx *.own.test own.rollup\nmx mx1.big.test mine.rollup\n"
	    "</mx-rollup-list>\n<domain own.rollup>\nmax-smtp-out 40\n"
	    "</domain>\n<domain a.test>\nmax-smtp-out 1\n"
	    "bounce-after 1h\n</domain>\n");

	ck_assert(sv_eq(conf_rollup_of(c, big, 1), SV("mine.rollup")));
	ck_assert(sv_eq(conf_rollup_of(c, own, 1), SV("own.rollup")));
	ck_assert_uint_eq(conf_rollup_of(c, other, 1).n, 0);
	/* a name of one's own: its settings, not the domain's, as ever */
	ck_shown(c, "", "own.rollup", "max-smtp-out", "40", "t:6");
	ck_shown(c, "", "own.rollup", "max-msg-per-connection", "50", "r:8");
	ck_shown(c, "", "own.rollup", "bounce-after", "1d", "r:9");
	conf_free(&c);
	c = parse_with("");
	ck_assert(sv_eq(conf_rollup_of(c, big, 1), SV("big.rollup")));
	conf_free(&c);
	c = must_parse("");
	ck_assert_uint_eq(conf_rollup_of(c, big, 1).n, 0);
	conf_free(&c);
}
END_TEST

START_TEST(test_rules_survive_the_wire)
{
	struct conf *c = parse_with("<domain *>\nmax-smtp-out 20\n"
	    "</domain>\n"), *d;
	struct buf b;

	buf_init(&b, 1 << 20);
	ck_assert_int_eq(conf_encode(c, &b), 0);
	d = conf_decode(buf_sv(&b));
	ck_assert_ptr_nonnull(d);
	ck_assert(!conf_diff(c, d, NULL, NULL));
	ck_shown(d, "", "big.rollup", "max-smtp-out", "5", "r:6");
	conf_free(&d);
	/* blocks of the rules that are taken to be the operator's */
	memset((char *)(uintptr_t)buf_data(&b) + buf_len(&b) - 4, 0xff, 4);
	ck_assert_ptr_null(conf_decode(buf_sv(&b)));
	d = must_parse("<domain *>\nmax-smtp-out 20\n</domain>\n");
	ck_assert(conf_diff(c, d, NULL, NULL));
	conf_free(&d);
	conf_free(&c);
	buf_fini(&b);
}
END_TEST

static const struct mistake mistakes[] = {
	{ "max-smtp-in-per-address 5\n", "r:1: \"max-smtp-in-per-address\" "
	    "cannot stand in receiver rules" },
	{ "include /etc/passwd\n", "r:1: \"include\" cannot be used here" },
	{ "<source 0/0>\n</source>\n", "r:1: <source>: \"0/0\" cannot stand "
	    "in receiver rules" },
	{ "<domain gmail.com>\n</domain>\n", "r:1: <domain>: \"gmail.com\" is "
	    "not a name that ends in .rollup" },
	{ "<domain a.rollup *.rollup>\n</domain>\n", "r:1: <domain>: "
	    "\"a.rollup *.rollup\" is not a name that ends in .rollup" },
	{ "<smtp-pattern-list x>\n</smtp-pattern-list>\n", "r:1: "
	    "<smtp-pattern-list>: \"x\" is not a name in { and }: others are "
	    "the operator's" },
	{ "<domain a.rollup>\nsmtp-pattern-list {x}\n</domain>\n", "r:2: "
	    "smtp-pattern-list: there is no <smtp-pattern-list {x}>" },
	{ "<smtp-pattern-list {x}>\nreply /a/ skip-mx\nsample \"b\"\n"
	    "</smtp-pattern-list>\n", "r:3: sample: the reply of line 2 does "
	    "not match this text" },
	{ "<mx-rollup-list>\n</mx-rollup-list>\n<mx-rollup-list>\n"
	    "</mx-rollup-list>\n", "r:3: there is a <mx-rollup-list> "
	    "already" },
};

START_TEST(test_mistakes_in_rules)
{
	struct conf_report rep;
	struct conf *c;

	conf_report_init(&rep);
	c = conf_parse_with("t", SV("<mx-rollup-list>\n</mx-rollup-list>\n"),
	    "r", sv_from(mistakes[_i].text), &rep);
	ck_assert_msg(c == NULL, "accepted: %s", mistakes[_i].text);
	ck_assert_str_eq(rep.errors[0], mistakes[_i].want);
	conf_report_fini(&rep);
}
END_TEST

/* ---- files ---- */

static char dir[] = "/tmp/pinnace-rules-XXXXXX";

static char main_path[100], rules_path[100];

static void
put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

static void
setup(void)
{
	memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(main_path, sizeof(main_path), "%s/main", dir);
	(void)snprintf(rules_path, sizeof(rules_path), "%s/rules", dir);
}

static void
teardown(void)
{
	(void)unlink(main_path);
	(void)unlink(rules_path);
	ck_assert_int_eq(rmdir(dir), 0);
}

/* max-smtp-out of big.rollup; 0: the file was refused. */
static uint32_t
out_of(const char *text, const char *path, struct conf_report *rep)
{
	struct conf *c;
	uint32_t out = 0;

	conf_report_init(rep);
	put(main_path, text);
	c = conf_load(main_path, path, rep);
	if (c != NULL)
		out = conf_domain_find(c, SV(""), SV("big.rollup"))->
		    max_smtp_out;
	conf_free(&c);
	return out;
}

START_TEST(test_load_default_no_and_another_file)
{
	const char *path = rules_path;
	struct conf_report rep;
	char text[200];

	put(path, rules);
	ck_assert_uint_eq(out_of("\n", path, &rep), 5);
	conf_report_fini(&rep);
	ck_assert_uint_eq(out_of("receiver-rules no\n", path, &rep), 20);
	ck_assert_uint_eq(rep.nwarnings, 0);
	conf_report_fini(&rep);
	ck_assert_uint_eq(out_of("receiver-rules yes\n", path, &rep), 5);
	conf_report_fini(&rep);
	ck_assert_uint_eq(out_of("\n", NULL, &rep), 20);
	conf_report_fini(&rep);
	(void)snprintf(text, sizeof(text), "receiver-rules %s\n", path);
	ck_assert_uint_eq(out_of(text, NULL, &rep), 5);
	ck_assert_uint_eq(rep.nwarnings, 0);
	conf_report_fini(&rep);
	ck_assert_uint_eq(out_of("receiver-rules maybe\n", path, &rep), 0);
	ck_assert_ptr_nonnull(strstr(rep.errors[0], "is neither yes, no, nor "
	    "an absolute path"));
	conf_report_fini(&rep);
}
END_TEST

START_TEST(test_load_missing_file_is_told)
{
	struct conf_report rep;

	/* nobody asked for it */
	ck_assert_uint_eq(out_of("\n", "/nowhere/r", &rep), 20);
	ck_assert_uint_eq(rep.nwarnings, 1);
	ck_assert_ptr_nonnull(strstr(rep.warnings[0], "/nowhere/r"));
	conf_report_fini(&rep);
	ck_assert_uint_eq(out_of("\nreceiver-rules /nowhere/x\n",
	    "/nowhere/r", &rep), 0);
	ck_assert_ptr_nonnull(strstr(rep.errors[0], "/main:2: "
	    "receiver-rules: /nowhere/x: No such file or directory"));
	conf_report_fini(&rep);
	ck_assert_uint_eq(out_of("receiver-rules yes\n", "/nowhere/r", &rep),
	    0);
	ck_assert_uint_eq(rep.nerrors, 1);
	conf_report_fini(&rep);
	/* one that is broken is never left out */
	put(rules_path, "x\n");
	ck_assert_uint_eq(out_of("\n", rules_path, &rep), 0);
	conf_report_fini(&rep);
}
END_TEST

/* ---- the file that comes with us ---- */

struct line_state {
	bool named;    /* a [source] since the last blank line or value */
	unsigned values, replies, samples;
};

/* "[comcast]" */
static bool
names_source(const char *line)
{
	const char *at = strchr(line, '[');

	return at != NULL && strchr(at, ']') != NULL;
}

/* In a comment above each number and reply stands a source, and behind each
 * reply a sample. */
static void
look_at(const char *line, unsigned n, struct line_state *s)
{
	static const char *const need[] = { "  max-", "  reply " };
	bool value = false;

	if (strncmp(line, "  #", 3) == 0)
		s->named |= names_source(line);
	for (size_t i = 0; i < N_OF(need); i++)
		value |= strncmp(line, need[i], strlen(need[i])) == 0;
	if (strncmp(line, "  sample ", 9) == 0)
		s->samples = s->replies;
	if (strncmp(line, "  reply ", 8) == 0) {
		ck_assert_msg(s->samples == s->replies,
		    "line %u: the reply before has no sample", n);
		s->replies++;
	}
	if (value) {
		ck_assert_msg(s->named, "line %u has no source", n);
		s->values++;
	}
	if (line[0] == '\n' || line[0] == '<')
		s->named = false;
}

static const char *
our_file(void)
{
	static char path[4096];
	const char *src = getenv("srcdir");

	(void)snprintf(path, sizeof(path), "%s/packaging/receivers.conf",
	    src == NULL ? "." : src);
	return path;
}

START_TEST(test_our_file_names_its_sources)
{
	struct line_state s = { .named = false };
	FILE *f = fopen(our_file(), "r");
	char line[1000];
	unsigned n = 0;

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f) != NULL)
		look_at(line, ++n, &s);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_uint_eq(s.samples, s.replies);
	ck_assert_uint_gt(s.replies, 20);
	ck_assert_uint_gt(s.values, 30);
}
END_TEST

START_TEST(test_our_file_knows_its_receivers)
{
	static const struct {
		struct sv host;
		const char *name, *list;
	} t[] = {
		{ SV("gmail-smtp-in.l.google.com"), "gmail.rollup",
		    "{google}" },
		{ SV("aspmx.l.google.com"), "gmail.rollup", "{google}" },
		{ SV("mta5.am0.yahoodns.net"), "yahoo.rollup", "{yahoo}" },
		{ SV("outlook-com.olc.protection.outlook.com"),
		    "outlook.rollup", "{outlook}" },
		{ SV("example-com.mail.protection.outlook.com"), "", "" },
		{ SV("mx01.mail.icloud.com"), "icloud.rollup", "{icloud}" },
		{ SV("mx00.gmx.net"), "gmx.rollup", "{gmx}" },
		{ SV("mx-ha02.web.de"), "webde.rollup", "{gmx}" },
		{ SV("mx00.mail.com"), "mailcom.rollup", "{gmx}" },
		{ SV("smtp-in.orange.fr"), "orange.rollup", "{orange}" },
		{ SV("smtpz4.laposte.net"), "laposte.rollup", "{laposte}" },
		{ SV("mx1a1.comcast.net"), "comcast.rollup", "{comcast}" },
		{ SV("mx3.qq.com"), "qq.rollup", "{qq}" },
		{ SV("mx.example.com"), "", "" },
	};
	struct conf_report rep;
	struct conf *c;

	conf_report_init(&rep);
	put(main_path, "<domain *>\nmax-smtp-out 50\n</domain>\n");
	c = conf_load(main_path, our_file(), &rep);
	ck_assert_msg(c != NULL, "%s", rep.nerrors > 0 ? rep.errors[0] : "");
	ck_assert_uint_eq(rep.nwarnings, 0);
	for (size_t i = 0; i < N_OF(t); i++) {
		struct sv name = conf_rollup_of(c, &t[i].host, 1);

		ck_assert(sv_eq(name, sv_from(t[i].name)));
		ck_assert(sv_eq(conf_rolled_find(c, SV(""), SV("a.test"),
		    name)->smtp_pattern_list, sv_from(t[i].list)));
	}
	ck_assert_uint_eq(conf_rolled_find(c, SV(""), SV("a.test"),
	    SV("orange.rollup"))->max_smtp_out, 3);
	ck_assert_uint_eq(conf_rolled_find(c, SV(""), SV("a.test"),
	    SV("gmail.rollup"))->max_smtp_out, 50);
	conf_free(&c);
	conf_report_fini(&rep);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("receiver rules");
	TCase *t = tcase_create("precedence");

	tcase_add_loop_test(t,
	    test_limit_of_a_rule_is_the_weakest_but_where_lower, 0,
	    (int)N_OF(limits));
	tcase_add_test(t, test_other_settings_of_all_domains_go_before_a_rule);
	tcase_add_test(t, test_domain_in_no_rollup_has_nothing_of_the_rules);
	tcase_add_test(t, test_rollup_list_of_the_configuration_is_asked_first);
	tcase_add_test(t, test_rules_survive_the_wire);
	tcase_add_loop_test(t, test_mistakes_in_rules, 0,
	    (int)N_OF(mistakes));
	suite_add_tcase(s, t);
	t = tcase_create("files");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_load_default_no_and_another_file);
	tcase_add_test(t, test_load_missing_file_is_told);
	tcase_add_test(t, test_our_file_names_its_sources);
	tcase_add_test(t, test_our_file_knows_its_receivers);
	suite_add_tcase(s, t);
	return suite_run(s);
}
