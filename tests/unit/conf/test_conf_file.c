/* SPDX-License-Identifier: ISC */
/* Files and includes, the wire form, showing and comparing. */
#include <sys/stat.h>

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/conf/conf.h"
#include "common/conf/store.h"

static char dir[] = "/tmp/pinnace-conf-XXXXXX";

static void
path_of(const char *name, char *out, size_t size)
{
	int n = snprintf(out, size, "%s/%s", dir, name);

	ck_assert_int_gt(n, 0);
	ck_assert_uint_lt((size_t)n, size);
}

static void
put(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	path_of(name, path, sizeof(path));
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

static struct conf *
load(const char *name, struct conf_report *rep)
{
	char path[256];

	path_of(name, path, sizeof(path));
	conf_report_init(rep);
	return conf_load(path, NULL, rep);
}

static void
setup(void)
{
	memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void
teardown(void)
{
	static const char *const names[] = { "main", "a.conf", "b.conf", "c",
		"d" };
	char path[256];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		path_of(names[i], path, sizeof(path));
		(void)unlink(path);
	}
	ck_assert_int_eq(rmdir(dir), 0);
}

static struct conf *
parse(const char *text)
{
	struct conf_report rep;
	struct conf *c;

	conf_report_init(&rep);
	c = conf_parse("t", sv_from(text), &rep);
	ck_assert_msg(c != NULL, "%s", rep.nerrors > 0 ? rep.errors[0] : "");
	conf_report_fini(&rep);
	return c;
}

/* ---- files ---- */

START_TEST(test_load_missing_file_is_an_error)
{
	struct conf_report rep;

	ck_assert_ptr_null(load("none", &rep));
	ck_assert_int_eq(rep.nerrors, 1);
	ck_assert_ptr_nonnull(strstr(rep.errors[0],
	    "/none cannot be read: No such file or directory"));
	conf_report_fini(&rep);
}
END_TEST

START_TEST(test_load_fills_in_what_the_system_knows)
{
	struct conf_report rep;
	struct conf *c;

	put("main", "\n");
	c = load("main", &rep);
	ck_assert_ptr_nonnull(c);
	ck_assert_int_gt(conf_hostname(c).n, 0);
	ck_assert_int_gt(conf_global(c)->name_server.n, 0);
	conf_free(&c);
	conf_report_fini(&rep);
}
END_TEST

START_TEST(test_load_source_range_becomes_addresses)
{
	struct conf_report rep;
	struct conf *c;

	put("main", "host-name x.org\nsmtp-source-host 127/8 h.x.org\n");
	c = load("main", &rep);
	ck_assert_ptr_nonnull(c);
	ck_assert_int_ge(conf_global(c)->smtp_source_host.n, 1);
	ck_assert_int_eq(conf_global(c)->smtp_source_host.v[0].ip.ip[0], 127);
	ck_assert(sv_eq(conf_global(c)->smtp_source_host.v[0].helo,
	    SV("h.x.org")));
	conf_free(&c);
	conf_report_fini(&rep);
	put("main", "smtp-source-host 203.0.113/24 h.x.org\n");
	ck_assert_ptr_null(load("main", &rep));
	ck_assert_ptr_nonnull(strstr(rep.errors[0], "/main:1: "
	    "smtp-source-host: this host has no address in 203.0.113/24"));
	conf_report_fini(&rep);
}
END_TEST

START_TEST(test_include_wildcard_and_place)
{
	struct conf_report rep;
	struct conf *c;

	put("main", "host-name x.org\ninclude *.conf\n<domain a.org>\n"
	    " include c\n</domain>\ninclude none*.conf\n");
	put("a.conf", "total-max-smtp-in 5\n");
	put("b.conf", "\n\ntotal-max-smtp-out x\n");
	put("c", "max-smtp-out 3\n");
	ck_assert_ptr_null(load("main", &rep));
	ck_assert_int_eq(rep.nerrors, 1);
	ck_assert_ptr_nonnull(strstr(rep.errors[0],
	    "/b.conf:3: total-max-smtp-out: \"x\" is not"));
	conf_report_fini(&rep);

	put("b.conf", "total-max-smtp-out 7\n");
	c = load("main", &rep);
	ck_assert_ptr_nonnull(c);
	ck_assert_int_eq(conf_global(c)->total_max_smtp_in, 5);
	ck_assert_int_eq(conf_global(c)->total_max_smtp_out, 7);
	ck_assert_int_eq(conf_domain_find(c, SV(""), SV("a.org"))->
	    max_smtp_out, 3);
	conf_report_fini(&rep);
	conf_free(&c);
}
END_TEST

START_TEST(test_include_loop_is_found)
{
	struct conf_report rep;

	put("main", "include c\n");
	put("c", "include d\n");
	put("d", "\ninclude main\n");
	ck_assert_ptr_null(load("main", &rep));
	ck_assert_int_eq(rep.nerrors, 1);
	ck_assert_ptr_nonnull(strstr(rep.errors[0], "/d:2: "));
	ck_assert_ptr_nonnull(strstr(rep.errors[0], "it includes itself"));
	conf_report_fini(&rep);
}
END_TEST

START_TEST(test_include_block_must_close_in_its_file)
{
	struct conf_report rep;

	put("main", "<domain a>\ninclude c\n</domain>\n");
	put("c", "</domain>\n");
	ck_assert_ptr_null(load("main", &rep));
	ck_assert_ptr_nonnull(strstr(rep.errors[0], "/c:1: </domain> closes "
	    "nothing"));
	conf_report_fini(&rep);
	put("main", "include c\nmax-smtp-out 3\n</domain>\n");
	put("c", "<domain a>\n");
	ck_assert_ptr_null(load("main", &rep));
	ck_assert_ptr_nonnull(strstr(rep.errors[0], "/c:1: <domain> is not "
	    "closed"));
	conf_report_fini(&rep);
}
END_TEST

START_TEST(test_include_in_a_list_of_patterns)
{
	struct conf_report rep;
	struct conf *c;

	put("main", "<smtp-pattern-list l>\nreply /a/ skip-mx\ninclude c\n"
	    "reply /c/ skip-mx\n</smtp-pattern-list>\n");
	put("c", "reply /b/ mode=normal\nsample \"b\"\n");
	c = load("main", &rep);
	ck_assert_ptr_nonnull(c);
	ck_assert_int_eq(conf_reply_list(c, 0)->n, 3);
	ck_assert_int_eq(conf_reply_list(c, 0)->v[1].actions,
	    CONF_ACT_NORMAL);
	ck_assert_int_eq(conf_reply_list(c, 0)->v[1].line, 1);
	conf_report_fini(&rep);
	conf_free(&c);
	put("c", "reply /b/ mode=normal\nsample \"ab\"\n");
	ck_assert_ptr_null(load("main", &rep));
	ck_assert_ptr_nonnull(strstr(rep.errors[0], "/c:2: sample: the reply "
	    "of line 2 comes first"));
	conf_report_fini(&rep);
}
END_TEST

START_TEST(test_include_directory_and_web_are_refused)
{
	struct conf_report rep;

	put("main", "include /tmp\ninclude https://x.org/c\ninclude\n");
	ck_assert_ptr_null(load("main", &rep));
	ck_assert_int_eq(rep.nerrors, 3);
	ck_assert_ptr_nonnull(strstr(rep.errors[0], "not a regular file"));
	ck_assert_ptr_nonnull(strstr(rep.errors[1], "addresses of the web"));
	ck_assert_ptr_nonnull(strstr(rep.errors[2], "needs a file"));
	conf_report_fini(&rep);
}
END_TEST

static struct conf *
load_named(const char *name, struct conf_report *rep)
{
	const char *src = getenv("srcdir");
	char path[4096];

	(void)snprintf(path, sizeof(path), "%s/tests/unit/conf/%s",
	    src == NULL ? "." : src, name);
	conf_report_init(rep);
	return conf_load(path, NULL, rep);
}

static struct conf *
load_sample(struct conf_report *rep)
{
	return load_named("powermta.config", rep);
}

START_TEST(test_powermta_file_loads_with_warnings_only)
{
	struct conf_report rep;
	struct conf *c = load_sample(&rep);
	const struct conf_domain *d;

	ck_assert_msg(c != NULL, "%s", rep.nerrors > 0 ? rep.errors[0] : "");
	ck_assert_int_gt(rep.nwarnings, 10);
	d = conf_domain_find(c, SV("vmta-bulk"), SV("aim.com"));
	ck_assert_int_eq(d->max_smtp_out, 2);
	ck_assert_int_eq(d->max_msg_rate.n, 3000);
	d = conf_domain_find(c, SV("vmta-main"), SV("gmail.com"));
	ck_assert_int_eq(d->max_msg_rate.n, 200);
	ck_assert_int_eq(d->retry_after.n, 3);
	d = conf_domain_find(c, SV(""), SV("live.co.uk"));
	ck_assert_int_eq(d->max_rcpt_per_transaction, 50);
	ck_assert_int_eq(d->bounce_upon_no_mx_ms, 0);
	d = conf_domain_find(c, SV(""), SV("discard.example.com"));
	ck_assert_int_eq(d->type, CONF_TYPE_DISCARD);
	d = conf_domain_find(c, SV(""), SV("smart.example.com"));
	ck_assert(sv_eq(d->smtp_hosts, SV("[192.0.2.99]:2525")));
	ck_assert_int_eq(conf_naccts(c), 2);
	ck_assert_int_eq(conf_spool(c)->min_free_space_bytes, 512 << 20);
	ck_assert(sv_eq(conf_global(c)->spool, SV("/var/spool/pmta")));
	conf_report_fini(&rep);
	conf_free(&c);
}
END_TEST

/* A warning that names its file and line. */
static bool
is_warned_of(const struct conf_report *rep, const char *name)
{
	for (uint32_t i = 0; i < conf_report_warnings(rep); i++) {
		const char *at = strstr(rep->warnings[i],
		    "powermta-all.config:");

		ck_assert_msg(at != NULL && at[20] >= '1' && at[20] <= '9',
		    "%s", rep->warnings[i]);
		if (strstr(at, name) != NULL)
			return true;
	}
	return false;
}

/* Every block and every directive that PowerMTA has is known; what nothing acts
 * on says so, with its line. */
START_TEST(test_powermta_all_of_it_is_known)
{
	struct conf_report rep;
	struct conf *c = load_named("powermta-all.config", &rep);
	unsigned n = 0;
	char name[200];

	ck_assert_msg(c != NULL, "%s", rep.nerrors > 0 ? rep.errors[0] : "");
	for (unsigned s = 0; s < SCOPES; s++) {
		for (size_t i = 0; i < scope_infos[s].nrows; i++) {
			const struct conf_row *row = &scope_infos[s].rows[i];

			if ((row->kind != ROW_NOT_YET &&
			    row->kind != ROW_KNOWN) || (row->help != NULL &&
			    strstr(row->help, "not in PowerMTA") != NULL))
				continue;
			(void)snprintf(name, sizeof(name), "\"%s\"",
			    row->name);
			ck_assert_msg(is_warned_of(&rep, name), "%s", name);
			n++;
		}
	}
	for (size_t i = 0; i < nknown_blocks; i++) {
		/* stands in another one, which is skipped whole */
		if (strcmp(known_blocks[i].tag, "email-patterns") == 0)
			continue;
		(void)snprintf(name, sizeof(name), "<%s", known_blocks[i].tag);
		ck_assert_msg(is_warned_of(&rep, name), "%s", name);
	}
	ck_assert_uint_gt(n, 100);
	conf_report_fini(&rep);
	conf_free(&c);
}
END_TEST

/* ---- the wire form ---- */

static void
ck_same(const struct conf *a, const struct conf *b)
{
	ck_assert(!conf_diff(a, b, NULL, NULL));
	ck_assert_int_eq(conf_nvmtas(a), conf_nvmtas(b));
	ck_assert_int_eq(conf_nlisteners(a), conf_nlisteners(b));
	ck_assert_int_eq(conf_naccts(a), conf_naccts(b));
	ck_assert(sv_eq(conf_hostname(a), conf_hostname(b)));
}

START_TEST(test_wire_round_trip)
{
	struct conf_report rep;
	struct conf *c = load_sample(&rep), *d;
	struct buf b, again;

	ck_assert_ptr_nonnull(c);
	buf_init(&b, CONF_ENCODED_MAX);
	buf_init(&again, CONF_ENCODED_MAX);
	ck_assert_int_eq(conf_encode(c, &b), 0);
	d = conf_decode(buf_sv(&b));
	ck_assert_ptr_nonnull(d);
	ck_same(c, d);
	ck_assert_int_eq(conf_domain_find(d, SV("vmta-bulk"), SV("aim.com"))->
	    max_smtp_out, 2);
	ck_assert_int_eq(conf_encode(d, &again), 0);
	ck_assert(sv_eq(buf_sv(&b), buf_sv(&again)));
	conf_free(&c);
	conf_free(&d);
	buf_fini(&b);
	buf_fini(&again);
	conf_report_fini(&rep);
}
END_TEST

static const char small[] = "host-name a.org\n<virtual-mta v>\n"
    "<domain $m>\nmax-smtp-out 3\n</domain>\n</virtual-mta>\n"
    "domain-macro m b.org,c.org\n<source 10/8>\nsmtp-service no\n</source>\n";

START_TEST(test_wire_every_prefix_is_refused)
{
	struct conf *c = parse(small), *d;
	struct buf b;

	buf_init(&b, 1 << 20);
	ck_assert_int_eq(conf_encode(c, &b), 0);
	for (size_t n = 0; n < buf_len(&b); n++) {
		/* A copy of its own, so that reading on is seen. */
		char *p = malloc(n + 1);

		ck_assert_ptr_nonnull(p);
		memcpy(p, buf_data(&b), n);
		d = conf_decode(sv_make(p, n));
		ck_assert_ptr_null(d);
		free(p);
	}
	ck_assert_int_eq(buf_add(&b, "x", 1), 0);
	ck_assert_ptr_null(conf_decode(buf_sv(&b)));
	conf_free(&c);
	buf_fini(&b);
}
END_TEST

START_TEST(test_wire_every_changed_byte_is_survived)
{
	struct conf *c = parse(small), *d;
	struct buf b;
	unsigned char *p;

	buf_init(&b, 1 << 20);
	ck_assert_int_eq(conf_encode(c, &b), 0);
	p = malloc(buf_len(&b));
	ck_assert_ptr_nonnull(p);
	for (size_t i = 0; i < buf_len(&b); i++) {
		static const unsigned char change[] = { 1, 0x80, 0xff };

		for (size_t k = 0; k < sizeof(change); k++) {
			memcpy(p, buf_data(&b), buf_len(&b));
			p[i] ^= change[k];
			d = conf_decode(sv_make(p, buf_len(&b)));
			conf_free(&d);
		}
	}
	free(p);
	conf_free(&c);
	buf_fini(&b);
}
END_TEST

/* ---- show and diff ---- */

struct seen {
	struct buf b;
};

static void
note(void *arg, struct sv scope, struct sv name, struct sv value,
    struct sv file, uint32_t line)
{
	struct seen *s = arg;

	ck_assert_int_eq(buf_addf(&s->b, "[%.*s] %.*s=%.*s %.*s:%u\n",
	    SV_FMT(scope), SV_FMT(name), SV_FMT(value), SV_FMT(file), line),
	    0);
}

static void
note_diff(void *arg, bool added, struct sv scope, struct sv name,
    struct sv value, struct sv file, uint32_t line)
{
	struct seen *s = arg;

	ck_assert_int_eq(buf_addf(&s->b, "%c", added ? '+' : '-'), 0);
	note(arg, scope, name, value, file, line);
}

static void
ck_seen(struct seen *s, const char *want)
{
	ck_assert_int_eq(buf_add(&s->b, "", 1), 0);
	ck_assert_str_eq((const char *)buf_data(&s->b), want);
	buf_fini(&s->b);
}

START_TEST(test_show_keeps_places)
{
	struct conf *c = parse("host-name a.org\n\n<virtual-mta v>\n"
	    " max-smtp-out 5\n <domain b.org>\n  max-conn-per-destination 3\n"
	    " </domain>\n</virtual-mta>\n");
	struct seen s;

	buf_init(&s.b, 1 << 20);
	conf_show(c, false, note, &s);
	ck_seen(&s, "[] host-name=a.org t:1\n"
	    "[virtual-mta v] max-smtp-out=5 t:4\n"
	    "[virtual-mta v domain b.org] max-smtp-out=3 t:6\n");
	conf_free(&c);
}
END_TEST

START_TEST(test_domain_show_names_the_winner)
{
	struct conf *c = parse("<domain *>\nmax-smtp-out 5\n</domain>\n"
	    "<domain a.org>\nmax-smtp-out 6\nmax-retries \"\"\n</domain>\n");
	struct seen s;

	buf_init(&s.b, 1 << 20);
	conf_domain_show(c, SV(""), SV("a.org"), SV(""), note, &s);
	ck_assert_int_eq(buf_add(&s.b, "", 1), 0);
	ck_assert_ptr_nonnull(strstr((const char *)buf_data(&s.b),
	    "[domain a.org] max-smtp-out=6 t:5\n"));
	ck_assert_ptr_nonnull(strstr((const char *)buf_data(&s.b),
	    "[domain a.org] max-retries=40 t:6\n"));
	ck_assert_ptr_nonnull(strstr((const char *)buf_data(&s.b),
	    "[] default-smtp-port=25 :0\n"));
	buf_fini(&s.b);
	conf_free(&c);
}
END_TEST

START_TEST(test_domain_show_tells_all_lines_of_a_list)
{
	struct conf *c = parse("<domain *>\n"
	    "source-ip-max-smtp-out 10/8 5\n"
	    "source-ip-max-msg-rate 10/8 5/s\n</domain>\n"
	    "<domain a.org>\nsource-ip-max-smtp-out 11/8 6\n"
	    "source-ip-max-msg-rate \"\"\n"
	    "source-ip-max-msg-rate 12/8 7/s\n"
	    "source-ip-max-msg-rate 13/8 8/s\n</domain>\n");
	struct seen s;

	buf_init(&s.b, 1 << 20);
	conf_domain_show(c, SV(""), SV("a.org"), SV(""), note, &s);
	ck_assert_int_eq(buf_add(&s.b, "", 1), 0);
	ck_assert_ptr_nonnull(strstr((const char *)buf_data(&s.b),
	    "[domain *] source-ip-max-smtp-out=10/8 5 t:2\n"
	    "[domain a.org] source-ip-max-smtp-out=11/8 6 t:6\n"));
	ck_assert_ptr_nonnull(strstr((const char *)buf_data(&s.b),
	    "[domain a.org] source-ip-max-msg-rate=12/8 7/s t:8\n"
	    "[domain a.org] source-ip-max-msg-rate=13/8 8/s t:9\n"));
	ck_assert_ptr_null(strstr((const char *)buf_data(&s.b), "10/8 5/s"));
	buf_fini(&s.b);
	conf_free(&c);
}
END_TEST

START_TEST(test_diff_tells_both_sides)
{
	struct conf *a = parse("log-file /a\nrelay-domain x.org\n");
	struct conf *b = parse("relay-domain x.org\nlog-file /b\n"
	    "relay-domain x.org\n");
	struct seen s;

	buf_init(&s.b, 1 << 20);
	ck_assert(conf_diff(a, b, note_diff, &s));
	ck_seen(&s, "-[] log-file=/a t:1\n+[] log-file=/b t:2\n"
	    "+[] relay-domain=x.org t:3\n");
	conf_free(&a);
	conf_free(&b);
}
END_TEST

START_TEST(test_manual_names_every_directive)
{
	struct buf b;

	buf_init(&b, 1 << 20);
	ck_assert_int_eq(conf_manual(&b), 0);
	ck_assert_int_eq(buf_add(&b, "", 1), 0);
	for (unsigned s = 0; s < SCOPES; s++)
		for (size_t i = 0; i < scope_infos[s].nrows; i++)
			ck_assert_ptr_nonnull(strstr(
			    (const char *)buf_data(&b),
			    scope_infos[s].rows[i].name));
	buf_fini(&b);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("conf files");
	TCase *tc = tcase_create("files");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_load_missing_file_is_an_error);
	tcase_add_test(tc, test_load_fills_in_what_the_system_knows);
	tcase_add_test(tc, test_load_source_range_becomes_addresses);
	tcase_add_test(tc, test_include_wildcard_and_place);
	tcase_add_test(tc, test_include_loop_is_found);
	tcase_add_test(tc, test_include_block_must_close_in_its_file);
	tcase_add_test(tc, test_include_in_a_list_of_patterns);
	tcase_add_test(tc, test_include_directory_and_web_are_refused);
	tcase_add_test(tc, test_powermta_file_loads_with_warnings_only);
	tcase_add_test(tc, test_powermta_all_of_it_is_known);
	tcase_add_test(tc, test_wire_round_trip);
	tcase_add_test(tc, test_wire_every_prefix_is_refused);
	tcase_add_test(tc, test_wire_every_changed_byte_is_survived);
	tcase_add_test(tc, test_show_keeps_places);
	tcase_add_test(tc, test_domain_show_names_the_winner);
	tcase_add_test(tc, test_domain_show_tells_all_lines_of_a_list);
	tcase_add_test(tc, test_diff_tells_both_sides);
	tcase_add_test(tc, test_manual_names_every_directive);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
