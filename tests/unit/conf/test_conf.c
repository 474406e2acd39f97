/* SPDX-License-Identifier: ISC */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "common/conf/conf.h"
#include "common/conf/store.h"

#define N_OF(a) (sizeof(a) / sizeof((a)[0]))

static struct conf *
must_parse(const char *text)
{
	struct conf_report rep;
	struct conf *c;

	conf_report_init(&rep);
	c = conf_parse("t", sv_from(text), &rep);
	ck_assert_msg(c != NULL, "%s",
	    rep.nerrors > 0 ? rep.errors[0] : "no error");
	conf_report_fini(&rep);
	return c;
}

static struct route_addr
addr(const char *text)
{
	struct route_addr a = { 0 };

	ck_assert(route_addr_parse(sv_from(text), &a));
	return a;
}

/* ---- schema ---- */

START_TEST(test_schema_every_row_is_complete)
{
	union conf_any any;

	for (unsigned s = 0; s < SCOPES; s++) {
		ck_assert_uint_le(scope_infos[s].nrows, 256);
		for (size_t i = 0; i < scope_infos[s].nrows; i++) {
			const struct conf_row *r = &scope_infos[s].rows[i];

			ck_assert_ptr_nonnull(r->name);
			ck_assert_ptr_eq(row_find((enum conf_scope)s,
			    sv_from(r->name)), r);
			if (r->kind == ROW_ALIAS) {
				ck_assert_ptr_nonnull(row_find(
				    (enum conf_scope)s, sv_from(r->arg)));
				continue;
			}
			ck_assert_ptr_nonnull(r->help);
			ck_assert_msg(strlen(r->help) > 2, "%s", r->name);
			if (r->kind == ROW_KNOWN || r->def[0] == '\0')
				continue;
			ck_assert_msg(row_parse(r, sv_from(r->def), &any) ==
			    NULL, "%s: default %s", r->name, r->def);
		}
	}
}
END_TEST

START_TEST(test_defaults_are_the_documented_ones)
{
	struct conf_global g;
	struct conf_domain d;
	struct conf_source s;
	struct conf_acct a;

	conf_global_defaults(&g);
	ck_assert_int_eq(g.total_max_smtp_out, 1200);
	ck_assert_int_eq(g.spool_min_free_space_bytes, 128 << 20);
	ck_assert_int_eq(g.name_server.n, 0);
	conf_domain_defaults(&d);
	ck_assert_int_eq(d.max_smtp_out, 20);
	ck_assert_int_eq(d.bounce_after_ms, INT64_C(3) * 86400000);
	ck_assert_int_eq(d.max_retries, 40);
	ck_assert_int_eq(d.retry_after.n, 5);
	ck_assert_int_eq(d.retry_after.t[4].max_ms, 8 * 3600000);
	ck_assert_int_eq(d.max_msg_rate.period_ms, 0);
	ck_assert(d.bounce_upon_no_mx_ms == CONF_NEVER);
	ck_assert(d.bounce_upon_5xx_greeting);
	conf_source_defaults(&s);
	ck_assert(s.smtp_service);
	ck_assert(!s.always_allow_relaying);
	ck_assert_int_eq(s.bare_newline_policy, CONF_NEWLINE_REJECT);
	ck_assert_int_eq(s.max_message_size_bytes, 50 << 20);
	conf_acct_defaults(&a);
	ck_assert_int_eq(a.records, CONF_REC_D | CONF_REC_B);
	ck_assert(a.iso_times);
}
END_TEST

/* ---- grammar ---- */

START_TEST(test_empty_file_has_defaults)
{
	struct conf *c = must_parse("");

	ck_assert_int_eq(conf_nlisteners(c), 1);
	ck_assert(sv_eq(conf_listener(c, 0)->address, SV("0.0.0.0:25")));
	ck_assert_int_eq(conf_nvmtas(c), 1);
	ck_assert(sv_eq(conf_vmta(c, 0)->name, SV("{default}")));
	ck_assert(sv_eq(conf_hostname(c), SV("localhost")));
	ck_assert(!conf_relay_allows(c, SV("example.org")));
	conf_free(&c);
	ck_assert_ptr_null(c);
}
END_TEST

START_TEST(test_globals_quotes_comments_and_case)
{
	struct conf *c = must_parse(
	    "\xef\xbb\xbf# a comment\r\n"
	    "  HOST-NAME mx.example.org # and another\r\n"
	    "host-name \"alt.example.org\"\n"
	    "\tpostmaster a@example.org\n"
	    "total-max-smtp-in 7\n"
	    "max-conn 9\n"
	    "name-server 127.0.0.1:5353\n"
	    "name-server ::1\n"
	    "smtp-source-host 192.0.2.7 out.example.org\n"
	    "spool /var/tmp/sp\n"
	    "spool-min-free-space 5\n"
	    "log-file /x/log\n"
	    "log-file \"\"");
	const struct conf_global *g = conf_global(c);

	ck_assert(sv_eq(conf_hostname(c), SV("mx.example.org")));
	ck_assert_int_eq(g->host_name.n, 2);
	ck_assert(conf_relay_allows(c, SV("ALT.example.org")));
	ck_assert(sv_eq(g->postmaster.v[0], SV("a@example.org")));
	ck_assert_int_eq(g->total_max_smtp_in, 7);
	ck_assert_int_eq(g->total_max_smtp_out, 9);
	ck_assert_int_eq(g->name_server.n, 2);
	ck_assert_int_eq(g->name_server.v[0].port, 5353);
	ck_assert_int_eq(g->name_server.v[1].ip.family, 6);
	ck_assert(sv_eq(g->smtp_source_host.v[0].helo,
	    SV("out.example.org")));
	ck_assert(sv_eq(g->spool, SV("/var/tmp/sp")));
	ck_assert_int_eq(conf_spool(c)->min_free_space_bytes, 5 << 20);
	ck_assert_int_eq(g->log_file.n, 0);
	conf_free(&c);
}
END_TEST

START_TEST(test_listeners_line_and_block)
{
	struct conf *c = must_parse(
	    "smtp-listener 127.0.0.1:2525 source=inner\n"
	    "<smtp-listener [::1]:2526>\n source inner\n</smtp-listener>\n"
	    "<source Inner>\n always-allow-relaying yes\n</source>\n");

	ck_assert_int_eq(conf_nlisteners(c), 2);
	ck_assert_int_eq(conf_listener(c, 0)->port, 2525);
	ck_assert(sv_eq(conf_listener(c, 0)->source, SV("inner")));
	ck_assert(sv_eq(conf_listener(c, 1)->address, SV("[::1]:2526")));
	ck_assert(sv_eq(conf_listener(c, 1)->source, SV("inner")));
	conf_free(&c);
}
END_TEST

START_TEST(test_domain_most_specific_wins)
{
	static const char text[] =
	    "<domain mail.a.org>\n max-smtp-out 5\n</domain>\n"
	    "<domain [*.]a.org>\n max-smtp-out 4\n</domain>\n"
	    "<domain *.org>\n max-smtp-out 3\n max-retries 33\n</domain>\n"
	    "<domain *>\n max-smtp-out 2\n max-retries 22\n"
	    " bounce-after 1d\n</domain>\n"
	    "<domain [192.0.2.0/24]>\n max-smtp-out 24\n</domain>\n"
	    "<domain [192.0.2.9]>\n max-smtp-out 32\n</domain>\n"
	    "<virtual-mta v>\n<domain *>\n max-smtp-out 77\n</domain>\n"
	    "<domain b.net>\n max-smtp-out 78\n</domain>\n"
	    "</virtual-mta>\n";
	static const struct {
		const char *vmta, *domain;
		uint32_t out, retries;
	} t[] = {
		{ "", "mail.a.org", 5, 33 },
		{ "", "MAIL.A.ORG", 5, 33 },
		{ "", "x.mail.a.org", 4, 33 },
		{ "", "a.org", 4, 33 },
		{ "", "ba.org", 3, 33 },
		{ "", "org", 2, 22 },
		{ "", "b.net", 2, 22 },
		{ "", "[192.0.2.1]", 24, 22 },
		{ "", "[192.0.2.9]", 32, 22 },
		{ "", "[198.51.100.1]", 2, 22 },
		{ "", "", 2, 22 },
		{ "v", "mail.a.org", 77, 33 },
		{ "V", "b.net", 78, 22 },
		{ "{default}", "b.net", 2, 22 },
		{ "nobody", "b.net", 2, 22 },
	};
	struct conf *c = must_parse(text);

	for (size_t i = 0; i < N_OF(t); i++) {
		struct conf_domain d;

		conf_domain_get(c, sv_from(t[i].vmta), sv_from(t[i].domain),
		    &d);
		ck_assert_msg(d.max_smtp_out == t[i].out &&
		    d.max_retries == t[i].retries, "%s/%s: %u %u",
		    t[i].domain, t[i].vmta, d.max_smtp_out, d.max_retries);
		ck_assert_int_eq(d.bounce_after_ms, 86400000);
	}
	conf_free(&c);
}
END_TEST

START_TEST(test_domain_equal_answers_share_one_struct)
{
	struct conf *c = must_parse(
	    "<domain a.org b.org>\n max-smtp-out 5\n</domain>\n");

	ck_assert_ptr_eq(conf_domain_find(c, SV(""), SV("x.net")),
	    conf_domain_find(c, SV(""), SV("y.net")));
	ck_assert_ptr_ne(conf_domain_find(c, SV(""), SV("a.org")),
	    conf_domain_find(c, SV(""), SV("y.net")));
	ck_assert_int_eq(conf_domain_find(c, SV(""), SV("b.org"))->
	    max_smtp_out, 5);
	conf_free(&c);
}
END_TEST

START_TEST(test_domain_long_name_gets_general_settings)
{
	struct conf *c = must_parse(
	    "<domain *>\n max-smtp-out 5\n</domain>\n");
	char name[5000];

	memset(name, 'a', sizeof(name));
	ck_assert_int_eq(conf_domain_find(c, SV(""),
	    sv_make(name, sizeof(name)))->max_smtp_out, 5);
	for (size_t i = 0; i < sizeof(name); i++)
		name[i] = '.';
	(void)conf_domain_find(c, SV(""), sv_make(name, 255));
	conf_free(&c);
}
END_TEST

START_TEST(test_domain_clear_takes_the_default)
{
	struct conf *c = must_parse(
	    "<domain *>\n max-smtp-out 5\n smtp-hosts \"h1,h2\"\n</domain>\n"
	    "<domain a.org>\n max-smtp-out \"\"\n smtp-hosts \"\"\n"
	    "</domain>\n");
	const struct conf_domain *d = conf_domain_find(c, SV(""),
	    SV("a.org"));

	ck_assert_int_eq(d->max_smtp_out, 20);
	ck_assert_int_eq(d->smtp_hosts.n, 0);
	d = conf_domain_find(c, SV(""), SV("b.org"));
	ck_assert(sv_eq(d->smtp_hosts, SV("h1,h2")));
	conf_free(&c);
}
END_TEST

START_TEST(test_aliases_set_the_real_directive)
{
	struct conf *c = must_parse("<domain *>\n max-msg-per-hour 500\n"
	    " back-off-retry-after 1h\n max-conn-per-destination 3\n"
	    "</domain>\n<domain d.org>\n max-msg-per-day 7\n</domain>\n");
	const struct conf_domain *d = conf_domain_find(c, SV(""), SV("x"));

	ck_assert_int_eq(d->max_msg_rate.n, 500);
	ck_assert_int_eq(d->max_msg_rate.period_ms, 3600000);
	ck_assert_int_eq(d->backoff_retry_after.n, 1);
	ck_assert_int_eq(d->max_smtp_out, 3);
	d = conf_domain_find(c, SV(""), SV("d.org"));
	ck_assert_int_eq(d->max_msg_rate.period_ms, 86400000);
	conf_free(&c);
}
END_TEST

START_TEST(test_macros_nest_and_lose_to_plain_names)
{
	struct conf *c = must_parse(
	    "<domain yahoo.com>\n max-smtp-out 1\n</domain>\n"
	    "<domain yahoo.$tld $more>\n max-smtp-out 2\n</domain>\n"
	    "domain-macro tld com,net,$uk\n"
	    "domain-macro uk co.uk,org.uk\n"
	    "domain-macro more aol.$tld,*.x.org\n"
	    "relay-domain in.$tld\n");
	static const struct {
		const char *domain;
		uint32_t want;
	} t[] = { { "yahoo.com", 1 }, { "yahoo.net", 2 },
		{ "yahoo.co.uk", 2 }, { "aol.org.uk", 2 }, { "a.x.org", 2 },
		{ "x.org", 20 }, { "yahoo.fr", 20 } };

	for (size_t i = 0; i < N_OF(t); i++)
		ck_assert_msg(conf_domain_find(c, SV(""),
		    sv_from(t[i].domain))->max_smtp_out == t[i].want, "%s",
		    t[i].domain);
	ck_assert(conf_relay_allows(c, SV("in.co.uk")));
	ck_assert(!conf_relay_allows(c, SV("in.fr")));
	conf_free(&c);
}
END_TEST

START_TEST(test_source_most_specific_wins)
{
	struct conf *c = must_parse(
	    "<source 10.1.2.3>\n max-message-hops 3\n</source>\n"
	    "<source 10.1/16>\n max-message-hops 2\n</source>\n"
	    "<source 0/0>\n max-message-hops 1\n smtp-service no\n"
	    "</source>\n"
	    "<source named>\n max-message-hops 9\n</source>\n");
	static const struct {
		const char *ip, *name;
		uint32_t want;
	} t[] = { { "10.1.2.3", "", 3 }, { "10.1.2.4", "", 2 },
		{ "10.2.0.0", "", 1 }, { "2001:db8::1", "", 1 },
		{ "10.1.2.3", "NAMED", 9 }, { "10.1.2.3", "other", 3 } };

	for (size_t i = 0; i < N_OF(t); i++) {
		struct route_addr a = addr(t[i].ip);
		const struct conf_source *s = conf_source_get(c, &a,
		    sv_from(t[i].name));

		ck_assert_msg(s->max_message_hops == t[i].want, "%s %s",
		    t[i].ip, t[i].name);
		ck_assert(!s->smtp_service);
	}
	conf_free(&c);
}
END_TEST

START_TEST(test_vmta_inherits_what_it_does_not_say)
{
	struct conf *c = must_parse(
	    "host-name g.example\nsmtp-source-host 192.0.2.1 g1.example\n"
	    "<virtual-mta a>\n smtp-source-host 192.0.2.2 a.example\n"
	    " smtp-source-host 2001:db8::2 \"a6.example\"\n"
	    " host-name a.example\n max-smtp-out 30\n"
	    " max-smtp-msg-rate 9/m\n</virtual-mta>\n"
	    "<virtual-mta b>\n</virtual-mta>\n");
	const struct conf_vmta *a = conf_vmta_find(c, SV("A"));
	const struct conf_vmta *b = conf_vmta_find(c, SV("b"));

	ck_assert_int_eq(a->smtp_source_host.n, 2);
	ck_assert(sv_eq(a->smtp_source_host.v[1].helo, SV("a6.example")));
	ck_assert_int_eq(a->max_smtp_out, 30);
	ck_assert_int_eq(a->max_smtp_msg_rate.n, 9);
	ck_assert_int_eq(b->smtp_source_host.n, 1);
	ck_assert(sv_eq(b->host_name, SV("g.example")));
	ck_assert_ptr_null(conf_vmta_find(c, SV("c")));
	ck_assert_ptr_eq(conf_vmta_find(c, SV("")), conf_vmta(c, 0));
	conf_free(&c);
}
END_TEST

START_TEST(test_acct_files)
{
	struct conf *c = must_parse(
	    "<acct-file /a/acct.csv>\n records d,b,t\n max-size 1M\n"
	    " delete-after never\n record-fields d,b *,!vmta\n"
	    " record-fields t timeLogged,rcpt\n</acct-file>\n"
	    "<acct-file \"/b dir/x.csv\">\n</acct-file>\n");
	const struct conf_acct *a = conf_acct(c, 0);

	ck_assert_int_eq(conf_naccts(c), 2);
	ck_assert_int_eq(a->records, CONF_REC_D | CONF_REC_B | CONF_REC_T);
	ck_assert(a->delete_after_ms == CONF_NEVER);
	ck_assert_int_eq(a->record_fields.n, 2);
	ck_assert(sv_eq(a->record_fields.v[1], SV("t timeLogged,rcpt")));
	ck_assert(sv_eq(conf_acct(c, 1)->path, SV("/b dir/x.csv")));
	conf_free(&c);
}
END_TEST

START_TEST(test_relay_lists)
{
	struct conf *c = must_parse("relay-domain a.org\n"
	    "relay-domain *.b.org\nrelay-domain [*.]c.org\n"
	    "relay-domain [10/8]\nrelay-address abuse@d.org\n"
	    "relay-address /^list-[a-z]+@e\\.org$/\n");
	static const struct {
		const char *domain;
		bool want;
	} t[] = { { "A.ORG", true }, { "x.a.org", false }, { "b.org", false },
		{ "x.b.org", true }, { "xb.org", false }, { "c.org", true },
		{ "x.c.org", true }, { "xc.org", false }, { "", false },
		{ "[10.1.1.1]", true }, { "[11.1.1.1]", false } };

	for (size_t i = 0; i < N_OF(t); i++)
		ck_assert_msg(conf_relay_allows(c, sv_from(t[i].domain)) ==
		    t[i].want, "%s", t[i].domain);
	ck_assert(conf_relay_allows_rcpt(c, SV("any"), SV("a.org")));
	ck_assert(conf_relay_allows_rcpt(c, SV("Abuse"), SV("d.org")));
	ck_assert(!conf_relay_allows_rcpt(c, SV("other"), SV("d.org")));
	ck_assert(conf_relay_allows_rcpt(c, SV("list-A"), SV("e.org")));
	ck_assert(!conf_relay_allows_rcpt(c, SV("xlist-a"), SV("e.org")));
	conf_free(&c);
}
END_TEST

START_TEST(test_relay_regex_that_never_ends_does_not_match)
{
	struct conf *c = must_parse("relay-address /^(a+)+@x$/\n");
	char text[301];

	memset(text, 'a', sizeof(text));
	text[300] = '!';
	ck_assert(!conf_relay_allows_rcpt(c, sv_make(text, 301), SV("x")));
	ck_assert(conf_relay_allows_rcpt(c, sv_make(text, 9), SV("x")));
	conf_free(&c);
}
END_TEST

/* ---- mistakes ---- */

START_TEST(test_errors_are_sentences_with_file_and_line)
{
	static const struct {
		const char *text, *want;
	} t[] = {
		{ "\nmax-smtp-outt 5\n", "t:2: there is no directive "
		    "\"max-smtp-outt\"" },
		{ "<domain a.org>\nmax-smtp-uot 5\n</domain>", "t:2: there is "
		    "no directive \"max-smtp-uot\": did you mean "
		    "\"max-smtp-out\"?" },
		{ "bounce-after 5d\n", "t:1: \"bounce-after\" cannot stand "
		    "outside of all blocks: it belongs into a <domain> "
		    "block" },
		{ "<domain a>\nlog-file /x\n</domain>", "t:2: \"log-file\" "
		    "cannot stand in a <domain> block: move it outside of "
		    "all blocks" },
		{ "total-max-smtp-in many", "t:1: total-max-smtp-in: "
		    "\"many\" is not a whole number" },
		{ "total-max-smtp-in", "t:1: \"total-max-smtp-in\" needs a "
		    "value (\"\" takes back what was set)" },
		{ "log-file \"x", "t:1: a quote (\") is missing" },
		{ "log-file x", "t:1: log-file: \"x\" is not an absolute "
		    "path: start it with /" },
		{ "<domain a.org>\n", "t:1: <domain> is not closed: "
		    "</domain> is missing" },
		{ "<dns>\nx\n", "t:1: <dns> is not closed: </dns> is "
		    "missing" },
		{ "</domain>\n", "t:1: </domain> closes nothing: there is no "
		    "block open in this file" },
		{ "<domain a>\n</source>\n</domain>", "t:2: </source> cannot "
		    "close the <domain> block of line 1" },
		{ "<domian a>\n x\n</domian>", "t:1: there is no block "
		    "<domian>: did you mean <domain>?" },
		{ "<domain a>\n<source b>\n</source>\n</domain>", "t:2: "
		    "<source> cannot stand in a <domain> block (of line 1): "
		    "is a </domain> missing?" },
		{ "<domain>\n</domain>", "t:1: <domain>: \"\" needs a domain, "
		    "such as <domain example.org>" },
		{ "<domain a..b>\n</domain>", "t:1: <domain>: \"a..b\" has an "
		    "empty label: a dot too many" },
		{ "<domain a", "t:1: a line that starts with < is to end "
		    "with >" },
		{ "<domain $x>\n</domain>", "t:1: \"$x\" uses a $macro that "
		    "is defined nowhere" },
		{ "domain-macro a $b\ndomain-macro b $a\n", "t:1: "
		    "domain-macro \"a\" leads back to itself" },
		{ "domain-macro a b..c\n<domain $a>\n</domain>", "t:2: "
		    "<domain>: \"b..c\" has an empty label: a dot too many" },
		{ "<virtual-mta a>\n</virtual-mta>\n<virtual-mta A>\n"
		    "</virtual-mta>", "t:3: there is a <virtual-mta A> "
		    "already" },
		{ "<virtual-mta {x}>\n</virtual-mta>", "t:1: <virtual-mta>: "
		    "\"{x}\" is a reserved name: no { or } in names" },
		{ "smtp-listener 127.0.0.1:25\nsmtp-listener 127.0.0.1\n",
		    "t:2: smtp-listener 127.0.0.1:25 stands here for the "
		    "second time" },
		{ "smtp-listener 127.0.0.1:25 source=x\n", "smtp-listener "
		    "127.0.0.1:25 names the source \"x\", but there is no "
		    "<source x>" },
		{ "include x\n", "t:1: \"include\" cannot be used here" },
		{ "<domain *>\ntype pipe\n</domain>", "t:2: type: \"pipe\" is "
		    "not there yet (smtp|discard|pipe|file|http-delivery)" },
		{ "host-name a\x01" "b\n", "t:1: the line holds control "
		    "characters or is not UTF-8" },
		{ "host-name a\xff" "b\n", "t:1: the line holds control "
		    "characters or is not UTF-8" },
	};

	for (size_t i = 0; i < N_OF(t); i++) {
		struct conf_report rep;

		conf_report_init(&rep);
		ck_assert_msg(conf_parse("t", sv_from(t[i].text), &rep) ==
		    NULL, "accepted: %s", t[i].text);
		ck_assert_int_ge(rep.nerrors, 1);
		ck_assert_str_eq(rep.errors[0], t[i].want);
		conf_report_fini(&rep);
	}
}
END_TEST

START_TEST(test_errors_are_all_collected)
{
	struct conf_report rep;
	struct buf b;

	conf_report_init(&rep);
	ck_assert_ptr_null(conf_parse("t", SV("xx1 1\nlog-file 2\nyy1 3\n"),
	    &rep));
	ck_assert_int_eq(rep.nerrors, 3);
	conf_report_fini(&rep);

	buf_init(&b, 1 << 20);
	for (unsigned i = 0; i < CONF_PROBLEMS_MAX + 100; i++)
		ck_assert_int_eq(buf_addf(&b, "nonsense%u x\n", i), 0);
	ck_assert_ptr_null(conf_parse("t", buf_sv(&b), &rep));
	ck_assert_int_eq(rep.nerrors, CONF_PROBLEMS_MAX + 100);
	ck_assert_int_eq(conf_report_errors(&rep), CONF_PROBLEMS_MAX);
	conf_report_fini(&rep);
	buf_fini(&b);
}
END_TEST

START_TEST(test_warnings_do_not_stop)
{
	static const struct {
		const char *text, *want;
	} t[] = {
		{ "http-mgmt-port 8080\n", "t:1: \"http-mgmt-port\" is a "
		    "directive of PowerMTA that is not implemented: "
		    "ignored" },
		{ "<dns>\n precached-max-domains 7\n</dns>\n", "t:1: <dns> is "
		    "a block of PowerMTA that is not implemented: ignored to "
		    "its end" },
		{ "run-as-root no\n", "t:1: \"run-as-root\" has no effect "
		    "yet" },
		{ "spool /a\nspool /b\n", "t:2: \"spool\" was given in line 1 "
		    "already: this one counts" },
		{ "<source 0/0>\n default-virtual-mta x\n</source>\n", "t:2: "
		    "default-virtual-mta: there is no <virtual-mta x>: "
		    "messages that need it are refused" },
		{ "<acct-file \"|prog x\">\n records d\n</acct-file>\n",
		    "t:1: <acct-file> with a pipe is not implemented: ignored "
		    "to its end" },
	};

	for (size_t i = 0; i < N_OF(t); i++) {
		struct conf_report rep;
		struct conf *c;

		conf_report_init(&rep);
		c = conf_parse("t", sv_from(t[i].text), &rep);
		ck_assert_msg(c != NULL, "%s", t[i].text);
		ck_assert_int_eq(rep.nwarnings, 1);
		ck_assert_str_eq(rep.warnings[0], t[i].want);
		conf_report_fini(&rep);
		conf_free(&c);
	}
}
END_TEST

START_TEST(test_line_too_long_is_refused)
{
	struct conf_report rep;
	struct buf b;
	unsigned char *p;

	buf_init(&b, 1 << 20);
	p = buf_reserve(&b, CONF_LINE_MAX + 1);
	ck_assert_ptr_nonnull(p);
	memset(p, '#', CONF_LINE_MAX + 1);
	buf_commit(&b, CONF_LINE_MAX + 1);
	conf_report_init(&rep);
	ck_assert_ptr_null(conf_parse("t", buf_sv(&b), &rep));
	ck_assert_str_eq(rep.errors[0],
	    "t:1: the line is longer than 65536 bytes");
	conf_report_fini(&rep);
	buf_fini(&b);
}
END_TEST

START_TEST(test_macro_that_explodes_is_refused)
{
	struct conf_report rep;

	conf_report_init(&rep);
	ck_assert_ptr_null(conf_parse("t", SV(
	    "domain-macro a 1,2,3,4,5,6,7,8,9,0\n"
	    "domain-macro b $a$a,$a$a,$a$a,$a$a\n"
	    "domain-macro c $b$b$b,$b$b$b\n"
	    "<domain $c$c.org>\n</domain>\n"), &rep));
	ck_assert_str_eq(rep.errors[0],
	    "t:4: \"$c$c.org\" stands for too many domains");
	conf_report_fini(&rep);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("conf");
	TCase *tc = tcase_create("conf");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, test_schema_every_row_is_complete);
	tcase_add_test(tc, test_defaults_are_the_documented_ones);
	tcase_add_test(tc, test_empty_file_has_defaults);
	tcase_add_test(tc, test_globals_quotes_comments_and_case);
	tcase_add_test(tc, test_listeners_line_and_block);
	tcase_add_test(tc, test_domain_most_specific_wins);
	tcase_add_test(tc, test_domain_equal_answers_share_one_struct);
	tcase_add_test(tc, test_domain_long_name_gets_general_settings);
	tcase_add_test(tc, test_domain_clear_takes_the_default);
	tcase_add_test(tc, test_aliases_set_the_real_directive);
	tcase_add_test(tc, test_macros_nest_and_lose_to_plain_names);
	tcase_add_test(tc, test_source_most_specific_wins);
	tcase_add_test(tc, test_vmta_inherits_what_it_does_not_say);
	tcase_add_test(tc, test_acct_files);
	tcase_add_test(tc, test_relay_lists);
	tcase_add_test(tc, test_relay_regex_that_never_ends_does_not_match);
	tcase_add_test(tc, test_errors_are_sentences_with_file_and_line);
	tcase_add_test(tc, test_errors_are_all_collected);
	tcase_add_test(tc, test_warnings_do_not_stop);
	tcase_add_test(tc, test_line_too_long_is_refused);
	tcase_add_test(tc, test_macro_that_explodes_is_refused);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
