/* SPDX-License-Identifier: ISC */
/* The blocks that choose, limit and react: pools, lists of patterns, limits. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/conf/conf.h"
#include "common/conf/store.h"
#include "tests/unit/conf/mistakes.h"

/* ---- pools ---- */

static const char pools[] =
    "<virtual-mta a>\n</virtual-mta>\n"
    "<virtual-mta b>\n<domain y.org>\nmax-smtp-out 7\n</domain>\n"
    "</virtual-mta>\n<virtual-mta c>\n</virtual-mta>\n"
    "<virtual-mta-pool p>\nvirtual-mta A\nvirtual-mta b weight=30\n"
    "max-smtp-out 90\nmax-smtp-msg-rate 5/s\n"
    "max-smtp-data-volume-rate 1M/s\n"
    "<domain *>\nmax-smtp-out 5\nmax-retries 5\n</domain>\n"
    "<domain y.org>\nmax-smtp-out 6\n</domain>\n"
    "</virtual-mta-pool>\n"
    "<virtual-mta-pool q>\nvirtual-mta a\nvirtual-mta c\n"
    "</virtual-mta-pool>\n"
    "<domain y.org>\nmax-smtp-out 3\nmax-retries 3\nbounce-after 1d\n"
    "</domain>\n";

START_TEST(test_pool_has_members_and_limits)
{
	struct conf *c = must_parse(pools);
	const struct conf_pool *p = conf_pool_find(c, SV("P"));

	ck_assert_int_eq(conf_npools(c), 2);
	ck_assert_ptr_eq(p, conf_pool(c, 0));
	ck_assert(sv_eq(p->name, SV("p")));
	ck_assert_int_eq(p->virtual_mta.n, 2);
	ck_assert(sv_eq(p->virtual_mta.v[0].name, SV("A")));
	ck_assert_int_eq(p->virtual_mta.v[0].weight, 1);
	ck_assert_int_eq(p->virtual_mta.v[1].weight, 30);
	ck_assert_int_eq(p->max_smtp_out, 90);
	ck_assert_int_eq(p->max_smtp_msg_rate.n, 5);
	ck_assert_int_eq(p->max_smtp_data_volume_rate.n, 1 << 20);
	ck_assert_ptr_eq(conf_pool_find(c, SV("q")), conf_pool(c, 1));
	ck_assert_ptr_null(conf_pool_find(c, SV("a")));
	ck_assert_ptr_null(conf_vmta_find(c, SV("p")));
	conf_free(&c);
}
END_TEST

START_TEST(test_pool_domain_stands_between_global_and_vmta)
{
	static const struct {
		const char *vmta, *domain;
		uint32_t out, retries;
	} t[] = { { "", "y.org", 3, 3 }, { "c", "y.org", 3, 3 },
		{ "a", "y.org", 6, 5 }, { "b", "y.org", 7, 5 },
		{ "a", "z.org", 5, 5 }, { "b", "z.org", 5, 5 },
		{ "c", "z.org", 20, 40 } };
	struct conf *c = must_parse(pools);

	for (size_t i = 0; i < N_OF(t); i++) {
		const struct conf_domain *d = conf_domain_find(c,
		    sv_from(t[i].vmta), sv_from(t[i].domain));

		ck_assert_msg(d->max_smtp_out == t[i].out &&
		    d->max_retries == t[i].retries, "%s/%s: %u %u",
		    t[i].domain, t[i].vmta, d->max_smtp_out, d->max_retries);
	}
	ck_assert_int_eq(conf_domain_find(c, SV("b"), SV("y.org"))->
	    bounce_after_ms, 86400000);
	conf_free(&c);
}
END_TEST

START_TEST(test_pool_mistakes)
{
	static const struct mistake t[] = {
		{ "<virtual-mta a>\n</virtual-mta>\n<virtual-mta-pool A>\n"
		    "virtual-mta a\n</virtual-mta-pool>\n", "t:3: there is a "
		    "<virtual-mta A>: a pool needs a name of its own" },
		{ "<virtual-mta-pool p>\nvirtual-mta x\n"
		    "</virtual-mta-pool>\n", "t:2: virtual-mta: there is no "
		    "<virtual-mta x>" },
		{ "\n<virtual-mta-pool p>\n</virtual-mta-pool>\n", "t:2: "
		    "<virtual-mta-pool p> is empty: it needs a virtual-mta" },
		{ "<virtual-mta-pool p>\nvirtual-mta {default}\n"
		    "virtual-mta \"\"\n</virtual-mta-pool>\n", "t:1: "
		    "<virtual-mta-pool p> is empty: it needs a virtual-mta" },
		{ "<virtual-mta a>\n</virtual-mta>\n"
		    "<virtual-mta-pool p>\nvirtual-mta a\n<domain x>\n"
		    "</domain>\n</virtual-mta-pool>\n"
		    "<virtual-mta-pool q>\nvirtual-mta a\n<domain y>\n"
		    "</domain>\n</virtual-mta-pool>\n", "t:8: <virtual-mta "
		    "a> is in this pool and in <virtual-mta-pool p>, and both "
		    "contain <domain>: only one of them may" },
		{ "<virtual-mta-pool p>\nvirtual-mta {default}\n"
		    "</virtual-mta-pool>\n<virtual-mta-pool P>\n"
		    "virtual-mta {default}\n</virtual-mta-pool>\n", "t:4: "
		    "there is a <virtual-mta-pool P> already" },
		{ "<virtual-mta-pool {x}>\n</virtual-mta-pool>\n", "t:1: "
		    "<virtual-mta-pool>: \"{x}\" is a reserved name: no { or "
		    "} in names" },
		{ "<virtual-mta-pool p>\nvirtual-mta a weight=0\n"
		    "</virtual-mta-pool>\n", "t:2: virtual-mta: \"a "
		    "weight=0\" has a weight that is not a number of 1 to "
		    "1000" },
		{ "<virtual-mta-pool p>\nvirtual-mta a wait=1\n"
		    "</virtual-mta-pool>\n", "t:2: virtual-mta: \"a "
		    "wait=1\" has something else than weight=N behind the "
		    "name" },
		{ "<virtual-mta-pool p>\n<source x>\n</source>\n"
		    "</virtual-mta-pool>\n", "t:2: <source> cannot stand in a "
		    "<virtual-mta-pool> block (of line 1): is a "
		    "</virtual-mta-pool> missing?" },
	};

	ck_mistakes(t, N_OF(t));
}
END_TEST

/* Twice in one pool is once. */
START_TEST(test_pool_many_with_one_member)
{
	struct conf_report rep;
	struct conf *c;
	struct buf b;

	buf_init(&b, 65536);
	for (int i = 0; i <= CONF_VMTA_POOLS_MAX; i++) {
		char text[128];
		int n = snprintf(text, sizeof(text), "<virtual-mta-pool p%d>\n"
		    "virtual-mta {default}\nvirtual-mta {default}\n"
		    "</virtual-mta-pool>\n", i);

		ck_assert_int_eq(buf_add(&b, text, (size_t)n), 0);
		conf_report_init(&rep);
		c = conf_parse("t", buf_sv(&b), &rep);
		if (i < CONF_VMTA_POOLS_MAX) {
			ck_assert_ptr_nonnull(c);
			conf_free(&c);
		} else {
			ck_assert_ptr_null(c);
			ck_assert_int_eq(rep.nerrors, 1);
			ck_assert_str_eq(rep.errors[0], "t:54: <virtual-mta "
			    "{default}> is in more than 13 pools");
		}
		conf_report_fini(&rep);
	}
	buf_fini(&b);
}
END_TEST

START_TEST(test_pool_may_be_the_default)
{
	struct conf_report rep;
	struct conf *c;

	conf_report_init(&rep);
	c = conf_parse("t", SV("<virtual-mta-pool p>\n"
	    "virtual-mta {default}\n</virtual-mta-pool>\n<source 0/0>\n"
	    "default-virtual-mta p\n</source>\n"), &rep);
	ck_assert_ptr_nonnull(c);
	ck_assert_int_eq(rep.nwarnings, 0);
	conf_report_fini(&rep);
	conf_free(&c);
}
END_TEST

START_TEST(test_block_count_is_limited)
{
	struct conf_report rep;
	struct buf b;

	buf_init(&b, 1 << 24);
	for (unsigned i = 0; i <= CONF_POOLS_MAX; i++)
		ck_assert_int_eq(buf_addf(&b, "<virtual-mta-pool p%u>\n"
		    "virtual-mta {default}\n</virtual-mta-pool>\n", i), 0);
	conf_report_init(&rep);
	ck_assert_ptr_null(conf_parse("t", buf_sv(&b), &rep));
	ck_assert_str_eq(rep.errors[0],
	    "there are more than 10000 of <virtual-mta-pool>");
	conf_report_fini(&rep);
	buf_fini(&b);
}
END_TEST

/* ---- directives of queues ---- */

static struct route_addr
addr(const char *text)
{
	struct route_addr a = { 0 };

	ck_assert(route_addr_parse(sv_from(text), &a));
	return a;
}

static uint32_t
num_for(const struct conf_cidr_nums *l, const char *ip)
{
	struct route_addr a = addr(ip);
	const struct conf_cidr_num *n = conf_cidr_num_find(l, &a);

	return n == NULL ? UINT32_MAX : n->n;
}

START_TEST(test_source_ip_limits_are_merged)
{
	struct conf *c = must_parse(
	    "<domain *>\nsource-ip-max-smtp-out 192.0.2.0/24 5\n"
	    "source-ip-max-smtp-out 192.0.2.9 unlimited\n</domain>\n"
	    "<domain a.org>\nsource-ip-max-smtp-out 192.0.2.0/25 3\n"
	    "source-ip-max-smtp-out 192.0.2.0/24 7\n"
	    "max-smtp-out-per-source-ip 90\n</domain>\n"
	    "<domain b.org>\nsource-ip-max-smtp-out \"\"\n"
	    "source-ip-max-smtp-out 2001:db8::/32 4\n"
	    "source-ip-max-connect-rate 10/8 6/m\n"
	    "source-ip-max-msg-rate 10/8 7/h\n"
	    "source-ip-max-data-volume-rate 10/8 2K/s\n</domain>\n");
	const struct conf_cidr_nums *l = &conf_domain_find(c, SV(""),
	    SV("x.org"))->source_ip_max_smtp_out;
	const struct conf_domain *d;
	struct route_addr ip = addr("10.1.1.1");

	ck_assert_int_eq(l->n, 2);
	ck_assert_uint_eq(num_for(l, "192.0.2.1"), 5);
	ck_assert_uint_eq(num_for(l, "192.0.2.9"), 0);
	ck_assert_uint_eq(num_for(l, "10.0.0.1"), UINT32_MAX);
	l = &conf_domain_find(c, SV(""), SV("a.org"))->source_ip_max_smtp_out;
	ck_assert_int_eq(l->n, 5);
	ck_assert_uint_eq(num_for(l, "192.0.2.1"), 3);
	ck_assert_uint_eq(num_for(l, "192.0.2.200"), 7);
	ck_assert_uint_eq(num_for(l, "2001:db8::1"), 90);
	d = conf_domain_find(c, SV(""), SV("b.org"));
	l = &d->source_ip_max_smtp_out;
	ck_assert_int_eq(l->n, 1);
	ck_assert_uint_eq(num_for(l, "2001:db8::1"), 4);
	ck_assert_int_eq(conf_cidr_rate_find(&d->source_ip_max_connect_rate,
	    &ip)->rate.n, 6);
	ck_assert_int_eq(conf_cidr_rate_find(&d->source_ip_max_msg_rate,
	    &ip)->rate.period_ms, 3600000);
	ck_assert_int_eq(conf_cidr_rate_find(
	    &d->source_ip_max_data_volume_rate, &ip)->rate.n, 2048);
	ip = addr("11.1.1.1");
	ck_assert_ptr_null(conf_cidr_rate_find(&d->source_ip_max_msg_rate,
	    &ip));
	conf_free(&c);
}
END_TEST

START_TEST(test_limits_by_mx_and_network)
{
	static const struct {
		const char *host;
		uint32_t want;
	} t[] = { { "mx.a.org", 2 }, { "MX.A.ORG", 2 }, { "x.a.org", 3 },
		{ "a.org", 4 }, { "b.org", 1 }, { "y.x.a.org", 5 } };
	struct conf *c = must_parse("mx-connection-limit mx.a.org 9\n"
	    "mx-connection-limit * 1\nmx-connection-limit *.x.a.org 5\n"
	    "mx-connection-limit *.a.org 3\nmx-connection-limit [*.]a.org 4\n"
	    "mx-connection-limit x.a.org 3\n"
	    "mx-connection-limit mx.a.org 2\n"
	    "ip-connection-limit 198.51.100/24 8\n"
	    "ip-connection-limit 198.51.100.7 0\n");
	const struct conf_global *g = conf_global(c);

	for (size_t i = 0; i < N_OF(t); i++)
		ck_assert_msg(conf_mx_num_find(&g->mx_connection_limit,
		    sv_from(t[i].host))->n == t[i].want, "%s", t[i].host);
	ck_assert_uint_eq(num_for(&g->ip_connection_limit, "198.51.100.1"),
	    8);
	ck_assert_uint_eq(num_for(&g->ip_connection_limit, "198.51.100.7"),
	    0);
	conf_free(&c);
}
END_TEST

/* All of the best hosts must be of one name. */
START_TEST(test_rollup_list)
{
	struct conf *c = must_parse("<mx-rollup-list>\n"
	    "mx *.google.com gmail.rollup\nmx *.mx.google.com ws.rollup\n"
	    "mx mx1.a.org a.rollup\nmx mx2.a.org a.rollup\n"
	    "mx *.a.net a.rollup rollup-by-ip\n</mx-rollup-list>\n");
	struct sv gmail = SV("alt1.google.com"), ws = SV("a.mx.google.com");
	struct sv two[] = { SV("MX1.a.org"), SV("mx2.A.org") };
	struct sv mixed[] = { gmail, ws };

	ck_assert(sv_eq(conf_rollup_of(c, &gmail, 1), SV("gmail.rollup")));
	ck_assert(sv_eq(conf_rollup_of(c, &ws, 1), SV("ws.rollup")));
	ck_assert(sv_eq(conf_rollup_of(c, two, 2), SV("a.rollup")));
	/* two hosts are named */
	ck_assert(sv_eq(conf_rollup_of(c, two, 1), SV("")));
	ck_assert(sv_eq(conf_rollup_of(c, mixed, 2), SV("")));
	ck_assert(sv_eq(conf_rollup_of(c, NULL, 0), SV("")));
	conf_free(&c);
	c = must_parse("");
	ck_assert(sv_eq(conf_rollup_of(c, &gmail, 1), SV("")));
	conf_free(&c);
}
END_TEST

START_TEST(test_queue_directives_have_values)
{
	struct conf *c = must_parse("<virtual-mta v>\n"
	    "max-smtp-data-volume-rate 3M/h\n</virtual-mta>\n"
	    "<virtual-mta w>\ncold-virtual-mta v\ncold-virtual-mta W\n"
	    "</virtual-mta>\n<virtual-mta-pool p>\nvirtual-mta v\n"
	    "</virtual-mta-pool>\ninvalid-virtual-mta-fallback P\n"
	    "<domain *>\nmax-data-volume-rate 1G/d\n"
	    "backoff-max-data-volume-rate 1M/m\nsmtp-out-rampup-interval 5s\n"
	    "max-errors-per-connection 4\nmx-connection-attempts 3\n"
	    "disable-mx-rollup yes\nqueue-to slow.queue\n"
	    "notify-of-delay-every 90m\nnotify-of-delay-unasked yes\n"
	    "reroute-to-virtual-mta v\nbackoff-reroute-to-virtual-mta p\n"
	    "backoff-notify a@x.org, b@x.org\nbackoff-to-normal-after 2h\n"
	    "backoff-to-normal-after-delivery yes\n"
	    "backoff-upon-all-sources-disabled yes\n"
	    "reenable-source-ip-after 1d\ndisabled-source-ip-notify c@x.org\n"
	    "max-cold-virtual-mta-msg 50/d,100/d,0/d\n"
	    "remove-header X-A,X-B\n</domain>\n");
	const struct conf_domain *d = conf_domain_find(c, SV("v"), SV("a"));
	const struct conf_vmta *w = conf_vmta_find(c, SV("w"));

	ck_assert_int_eq(conf_vmta_find(c, SV("v"))->
	    max_smtp_data_volume_rate.n, 3 << 20);
	ck_assert_int_eq(w->cold_virtual_mta.n, 2);
	ck_assert(sv_eq(w->cold_virtual_mta.v[1], SV("W")));
	ck_assert(sv_eq(conf_global(c)->invalid_virtual_mta_fallback,
	    SV("P")));
	ck_assert_int_eq(d->max_data_volume_rate.n, 1 << 30);
	ck_assert_int_eq(d->backoff_max_data_volume_rate.n, 1 << 20);
	ck_assert_int_eq(d->smtp_out_rampup_interval_ms, 5000);
	ck_assert_int_eq(d->max_errors_per_connection, 4);
	ck_assert_int_eq(d->mx_connection_attempts, 3);
	ck_assert(d->disable_mx_rollup);
	ck_assert_int_eq(d->notify_of_delay_every_ms, 90 * 60 * 1000);
	ck_assert(d->notify_of_delay_unasked);
	ck_assert(sv_eq(d->queue_to, SV("slow.queue")));
	ck_assert(sv_eq(d->reroute_to_virtual_mta, SV("v")));
	ck_assert(sv_eq(d->backoff_reroute_to_virtual_mta, SV("p")));
	ck_assert(sv_eq(d->backoff_notify, SV("a@x.org, b@x.org")));
	ck_assert_int_eq(d->backoff_to_normal_after_ms, 7200000);
	ck_assert(d->backoff_to_normal_after_delivery);
	ck_assert(d->backoff_upon_all_sources_disabled);
	ck_assert_int_eq(d->reenable_source_ip_after_ms, 86400000);
	ck_assert(sv_eq(d->disabled_source_ip_notify, SV("c@x.org")));
	ck_assert_int_eq(d->max_cold_virtual_mta_msg.n, 3);
	ck_assert_int_eq(d->max_cold_virtual_mta_msg.day[1], 100);
	ck_assert(sv_eq(d->remove_header, SV("X-A,X-B")));
	conf_free(&c);
}
END_TEST

START_TEST(test_queue_directives_have_defaults)
{
	struct conf_domain d;

	conf_domain_defaults(&d);
	ck_assert_int_eq(d.max_data_volume_rate.period_ms, 0);
	ck_assert_int_eq(d.mx_connection_attempts, 10);
	ck_assert_int_eq(d.smtp_out_rampup_interval_ms, 0);
	ck_assert_int_eq(d.max_errors_per_connection, 0);
	ck_assert(!d.disable_mx_rollup);
	ck_assert_int_eq(d.notify_of_delay_every_ms, 4 * 3600 * 1000);
	ck_assert(!d.notify_of_delay_unasked);
	ck_assert(d.backoff_to_normal_after_ms == CONF_NEVER);
	ck_assert(d.reenable_source_ip_after_ms == CONF_NEVER);
	ck_assert_int_eq(d.max_cold_virtual_mta_msg.n, 1);
	ck_assert_int_eq(d.max_cold_virtual_mta_msg.day[0], 0);
	ck_assert_int_eq(d.source_ip_max_smtp_out.n, 0);
}
END_TEST

START_TEST(test_source_directives_have_values)
{
	struct conf *c = must_parse("<source 10/8>\nremove-header X-C\n"
	    "add-x-virtual-mta-header yes\nallow-empty-x-virtual-mta yes\n"
	    "virtual-mta-header Source\njobid-header X-Campaign\n"
	    "jobid-prefix {auth}\nprocess-x-schedule yes\n"
	    "verp-default yes\n</source>\n");
	struct route_addr ip = addr("10.1.1.1");
	const struct conf_source *s = conf_source_get(c, &ip, SV(""));

	ck_assert(sv_eq(s->remove_header, SV("X-C")));
	ck_assert(s->add_x_virtual_mta_header);
	ck_assert(s->allow_empty_x_virtual_mta);
	ck_assert(sv_eq(s->virtual_mta_header, SV("Source")));
	ck_assert(sv_eq(s->jobid_header, SV("X-Campaign")));
	ck_assert(sv_eq(s->jobid_prefix, SV("{auth}")));
	ck_assert(s->process_x_schedule);
	ck_assert(s->verp_default);
	conf_free(&c);
}
END_TEST

#define IN_DOMAIN(line) "<domain *>\n" line "\n</domain>\n"
#define IN_ROLLUP(line) "<mx-rollup-list>\n" line "\n</mx-rollup-list>\n"
#define IN_SOURCE(line) "<source 0/0>\n" line "\n</source>\n"

START_TEST(test_directive_mistakes)
{
	static const struct mistake t[] = {
		{ IN_DOMAIN("source-ip-max-smtp-out 10/8"), "t:2: "
		    "source-ip-max-smtp-out: \"10/8\" has no limit behind "
		    "it" },
		{ IN_DOMAIN("source-ip-max-smtp-out 10/8 x"), "t:2: "
		    "source-ip-max-smtp-out: \"10/8 x\" has a limit that is "
		    "not a number up to 100000" },
		{ IN_DOMAIN("source-ip-max-smtp-out 10/40 1"), "t:2: "
		    "source-ip-max-smtp-out: \"10/40 1\" has no valid number "
		    "of bits behind the slash" },
		{ IN_DOMAIN("source-ip-max-msg-rate 10/8"), "t:2: "
		    "source-ip-max-msg-rate: \"10/8\" has no rate behind the "
		    "network" },
		{ IN_DOMAIN("source-ip-max-msg-rate 10/8 5"), "t:2: "
		    "source-ip-max-msg-rate: \"10/8 5\" is not a rate such "
		    "as 500/h" },
		{ IN_DOMAIN("source-ip-max-data-volume-rate 10/8 5"), "t:2: "
		    "source-ip-max-data-volume-rate: \"10/8 5\" is not a "
		    "rate such as 12M/m" },
		{ "ip-connection-limit 5\n", "t:1: ip-connection-limit: "
		    "\"5\" is not an address or a network such as 10/8" },
		{ "mx-connection-limit [10.1.1.1] 5\n", "t:1: "
		    "mx-connection-limit: \"[10.1.1.1] 5\" is an address: MX "
		    "hosts have names" },
		{ "mx-connection-limit a..b 5\n", "t:1: "
		    "mx-connection-limit: \"a..b 5\" has an empty label: a "
		    "dot too many" },
		{ IN_ROLLUP("mx [10.1.1.1] a.rollup"), "t:2: mx: \"[10.1.1.1] "
		    "a.rollup\" is an address: MX hosts have names" },
		{ IN_ROLLUP("mx *.a.org a.org"), "t:2: mx: \"*.a.org a.org\" "
		    "has no name behind the host that ends in .rollup" },
		{ IN_ROLLUP("mx *.a.org a.rollup by-ip"), "t:2: mx: \"*.a.org "
		    "a.rollup by-ip\" has something behind the name" },
		{ IN_ROLLUP("") IN_ROLLUP(""), "t:4: there is a "
		    "<mx-rollup-list> already" },
		{ IN_DOMAIN("max-cold-virtual-mta-msg 5/h"), "t:2: "
		    "max-cold-virtual-mta-msg: \"5/h\" is not a list such as "
		    "100/d,200/d,400/d" },
		{ IN_DOMAIN("backoff-notify a@b.org,c"), "t:2: "
		    "backoff-notify: \"a@b.org,c\" is not an address such as "
		    "a@example.org" },
		{ IN_DOMAIN("remove-header A,,B"), "t:2: remove-header: "
		    "\"A,,B\" is empty" },
		{ IN_SOURCE("jobid-header a:b"), "t:2: jobid-header: \"a:b\" "
		    "is not the name of a header" },
		{ IN_SOURCE("virtual-mta-header a b"), "t:2: "
		    "virtual-mta-header: \"a b\" is not the name of a "
		    "header" },
		{ IN_DOMAIN("reroute-to-virtual-mta x"), "t:2: "
		    "reroute-to-virtual-mta: there is no <virtual-mta x> or "
		    "<virtual-mta-pool x>" },
		{ IN_DOMAIN("backoff-reroute-to-virtual-mta x"), "t:2: "
		    "backoff-reroute-to-virtual-mta: there is no <virtual-mta "
		    "x> or <virtual-mta-pool x>" },
		{ "invalid-virtual-mta-fallback x\n", "t:1: "
		    "invalid-virtual-mta-fallback: there is no <virtual-mta "
		    "x> or <virtual-mta-pool x>" },
		{ "<virtual-mta v>\ncold-virtual-mta x\n</virtual-mta>\n",
		    "t:2: cold-virtual-mta: there is no <virtual-mta x>" },
	};

	ck_mistakes(t, N_OF(t));
}
END_TEST

START_TEST(test_day_list_and_header_are_limited)
{
	char text[4 * CONF_DAYS_MAX + 8] = "", name[130];
	struct conf_days d;

	for (unsigned i = 0; i < CONF_DAYS_MAX; i++)
		memcpy(text + 2 * i, "7,", 3);
	ck_assert_ptr_null(conf_parse_days(sv_make(text,
	    2 * CONF_DAYS_MAX - 1), &d));
	ck_assert_int_eq(d.n, CONF_DAYS_MAX);
	memcpy(text + 2 * CONF_DAYS_MAX, "7", 2);
	ck_assert_str_eq(conf_parse_days(sv_from(text), &d),
	    "has more than 120 days");
	ck_assert_ptr_nonnull(conf_parse_days(SV("1000000001/d"), &d));
	ck_assert_str_eq(conf_parse_days(SV(""), &d), "is an empty list");
	memset(name, 'a', sizeof(name));
	ck_assert_ptr_null(conf_check_header(sv_make(name, 128)));
	ck_assert_str_eq(conf_check_header(sv_make(name, 129)),
	    "is longer than 128 characters");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("conf blocks");
	TCase *tc = tcase_create("blocks");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, test_pool_has_members_and_limits);
	tcase_add_test(tc, test_pool_domain_stands_between_global_and_vmta);
	tcase_add_test(tc, test_pool_mistakes);
	tcase_add_test(tc, test_pool_may_be_the_default);
	tcase_add_test(tc, test_pool_many_with_one_member);
	tcase_add_test(tc, test_block_count_is_limited);
	tcase_add_test(tc, test_source_ip_limits_are_merged);
	tcase_add_test(tc, test_limits_by_mx_and_network);
	tcase_add_test(tc, test_rollup_list);
	tcase_add_test(tc, test_queue_directives_have_values);
	tcase_add_test(tc, test_queue_directives_have_defaults);
	tcase_add_test(tc, test_source_directives_have_values);
	tcase_add_test(tc, test_directive_mistakes);
	tcase_add_test(tc, test_day_list_and_header_are_limited);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
