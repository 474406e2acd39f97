/* SPDX-License-Identifier: ISC */
/* The resolver without its process: questions and routes against name servers
 * of the test, on one event loop. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bsd/string.h>
#include <event2/event.h>

#include "delivery/resolver_hosts.h"
#include "delivery/resolver_route.h"
#include "tests/unit/delivery/fakens.h"
#include "tests/unit/delivery/route_text.h"

static struct event_base *base;
static struct fakens *ns1, *ns2;
static struct rcache *cache;
static struct rquery_pool *pool;
static struct rrouter *router;
static struct rself *self;

static unsigned done;
static enum route_status status;
static uint32_t ttl_s;
static char text[512];
static char route[4096]; /* "10 mx.test:25 192.0.2.1 2001:db8::1; ..." */

static void
on_route(void *arg, uint64_t token, const struct rroute_result *res)
{
	(void)arg;
	(void)token;
	done++;
	status = res->status;
	ttl_s = res->ttl_s;
	ck_assert(sv_to_cstr(res->text, text, sizeof(text)));
	route_text(&res->route, route, sizeof(route));
}

static void
servers_set(int n)
{
	struct rquery_server list[2];
	struct route_addr ip = { .family = 4, .ip = { 127, 0, 0, 1 } };

	rquery_server_make(&ip, fakens_port(ns1), &list[0]);
	rquery_server_make(&ip, fakens_port(ns2), &list[1]);
	rquery_servers_set(pool, list, (size_t)n);
}

static void
setup(void)
{
	base = event_base_new();
	ns1 = fakens_new(base);
	ns2 = fakens_new(base);
	cache = rcache_new(1000, 1u << 20);
	pool = rquery_pool_new(base, cache);
	rquery_patience_set(pool, 30, 5000, 1000);
	router = rrouter_new(base, pool, on_route, NULL);
	self = rself_new();
	rrouter_self_set(router, self);
	servers_set(1);
	done = 0;
}

static void
teardown(void)
{
	rrouter_free(&router);
	rquery_pool_free(&pool);
	rcache_free(&cache);
	rself_free(&self);
	fakens_free(&ns1);
	fakens_free(&ns2);
	event_base_free(base);
}

static void
resolve_hosts(const char *domain, const char *hosts)
{
	unsigned want = done + 1;

	rrouter_resolve(router, 1, sv_from(domain), sv_from(hosts), 25);
	while (done < want)
		event_base_loop(base, EVLOOP_ONCE);
	ck_assert_uint_eq(done, want);
}

static void
resolve(const char *domain)
{
	resolve_hosts(domain, "");
}

#define SOA "test. 600 IN SOA ns.test. root.test. 1 2 3 4 120\n"

/* ---- routes ---- */

START_TEST(test_route_mx_sorted_by_preference)
{
	fakens_zone(ns1, SOA "d.test. 300 IN MX 20 b.test.\n"
	    "d.test. 300 IN MX 10 a.test.\n"
	    "a.test. 200 IN A 192.0.2.1\n"
	    "a.test. 250 IN AAAA 2001:db8::1\n"
	    "b.test. 300 IN A 192.0.2.2\nb.test. 300 IN A 192.0.2.3\n");
	resolve("D.Test.");
	ck_assert_int_eq(status, ROUTE_OK);
	ck_assert_str_eq(route, "10 a.test:25 2001:db8::1 192.0.2.1; "
	    "20 b.test:25 192.0.2.2 192.0.2.3");
	ck_assert_uint_eq(ttl_s, 200);
}
END_TEST

START_TEST(test_route_implicit_mx_only_without_mx)
{
	fakens_zone(ns1, SOA "d.test. 300 IN A 192.0.2.1\n"
	    "e.test. 300 IN A 192.0.2.1\ne.test. 300 IN MX 10 gone.test.\n");
	resolve("d.test");
	ck_assert_int_eq(status, ROUTE_OK);
	ck_assert_str_eq(route, "0 d.test:25 192.0.2.1");
	ck_assert_uint_eq(ttl_s, 120); /* of the negative MX answer */
	resolve("e.test");
	ck_assert_int_eq(status, ROUTE_UNUSABLE);
	ck_assert_str_eq(text, "no MX host of e.test has an address");
}
END_TEST

START_TEST(test_route_nothing_at_all_is_no_domain)
{
	fakens_zone(ns1, SOA "d.test. 300 IN TXT \"x\"\n");
	resolve("d.test");
	ck_assert_int_eq(status, ROUTE_NO_DOMAIN);
	ck_assert_str_eq(text, "no MX or address records for d.test");
	resolve("gone.test");
	ck_assert_int_eq(status, ROUTE_NO_DOMAIN);
	ck_assert_str_eq(text, "the domain gone.test does not exist");
	ck_assert_uint_eq(ttl_s, 120);
}
END_TEST

START_TEST(test_route_null_mx_is_final_without_address_lookup)
{
	fakens_zone(ns1, SOA "d.test. 300 IN MX 0 .\n"
	    "d.test. 300 IN A 192.0.2.1\n");
	resolve("d.test");
	ck_assert_int_eq(status, ROUTE_NULL_MX);
	ck_assert_uint_eq(fakens_udp(ns1), 1);
}
END_TEST

START_TEST(test_route_null_mx_next_to_another_is_ignored)
{
	fakens_zone(ns1, SOA "d.test. 300 IN MX 0 .\n"
	    "d.test. 300 IN MX 5 a.test.\na.test. 300 IN A 192.0.2.1\n");
	resolve("d.test");
	ck_assert_int_eq(status, ROUTE_OK);
	ck_assert_str_eq(route, "5 a.test:25 192.0.2.1");
}
END_TEST

START_TEST(test_route_cname_is_followed)
{
	fakens_zone(ns1, SOA "d.test. 300 IN CNAME e.test.\n"
	    "e.test. 300 IN MX 10 a.test.\na.test. 50 IN CNAME b.test.\n"
	    "b.test. 300 IN A 192.0.2.1\n");
	resolve("d.test");
	ck_assert_int_eq(status, ROUTE_OK);
	ck_assert_str_eq(route, "10 a.test:25 192.0.2.1");
	ck_assert_uint_eq(ttl_s, 50);
}
END_TEST

START_TEST(test_route_cname_out_of_the_packet_is_asked_for)
{
	/* No SOA: the server says nothing about the target. */
	fakens_zone(ns1, "d.test. 300 IN CNAME e.other.\n");
	fakens_script(ns1, "e.other", "servfail*");
	fakens_zone(ns2, "e.other. 300 IN MX 10 a.other.\n"
	    "a.other. 300 IN A 192.0.2.1\n");
	fakens_script(ns1, "a.other", "refused*");
	servers_set(2);
	resolve("d.test");
	ck_assert_int_eq(status, ROUTE_OK);
	ck_assert_str_eq(route, "10 a.other:25 192.0.2.1");
}
END_TEST

START_TEST(test_route_cname_loop_is_temporary)
{
	fakens_zone(ns1, SOA "d.test. 300 IN CNAME e.test.\n"
	    "e.test. 300 IN CNAME d.test.\n");
	resolve("d.test");
	ck_assert_int_eq(status, ROUTE_TEMPORARY);
	ck_assert_ptr_nonnull(strstr(text, "loop"));
}
END_TEST

START_TEST(test_route_servfail_is_temporary_and_says_where)
{
	char want[128];

	fakens_script(ns1, "d.test", "servfail*");
	resolve("d.test");
	ck_assert_int_eq(status, ROUTE_TEMPORARY);
	snprintf(want, sizeof(want), "SERVFAIL from 127.0.0.1:%u for MX d.test",
	    fakens_port(ns1));
	ck_assert_str_eq(text, want);
	ck_assert_uint_le(ttl_s, RROUTE_TEMP_TTL_MAX);
}
END_TEST

START_TEST(test_route_one_host_fails_other_is_used)
{
	fakens_zone(ns1, SOA "d.test. 300 IN MX 10 a.test.\n"
	    "d.test. 300 IN MX 20 b.test.\nb.test. 300 IN A 192.0.2.2\n");
	fakens_script(ns1, "a.test", "servfail*");
	resolve("d.test");
	ck_assert_int_eq(status, ROUTE_OK);
	ck_assert_str_eq(route, "20 b.test:25 192.0.2.2");
}
END_TEST

START_TEST(test_route_all_hosts_fail_one_for_now_is_temporary)
{
	fakens_zone(ns1, SOA "d.test. 300 IN MX 10 a.test.\n"
	    "d.test. 300 IN MX 20 gone.test.\n");
	fakens_script(ns1, "a.test", "servfail*");
	resolve("d.test");
	ck_assert_int_eq(status, ROUTE_TEMPORARY);
	ck_assert_ptr_nonnull(strstr(text, "for A a.test"));
}
END_TEST

START_TEST(test_route_own_name_drops_equal_and_worse)
{
	rself_name_add(self, SV("Me.test"));
	fakens_zone(ns1, SOA "d.test. 300 IN MX 10 a.test.\n"
	    "d.test. 300 IN MX 20 me.test.\nd.test. 300 IN MX 20 b.test.\n"
	    "d.test. 300 IN MX 30 b.test.\na.test. 300 IN A 192.0.2.1\n"
	    "b.test. 300 IN A 192.0.2.2\nme.test. 300 IN A 192.0.2.3\n");
	resolve("d.test");
	ck_assert_int_eq(status, ROUTE_OK);
	ck_assert_str_eq(route, "10 a.test:25 192.0.2.1");
}
END_TEST

START_TEST(test_route_own_address_best_is_self)
{
	struct route_addr any = { .family = 4 },
			  ip = { .family = 4, .ip = { 192, 0, 2, 3 } };

	rself_listener_add(self, &any, 25);
	rself_addr_add(self, &ip);
	fakens_zone(ns1, SOA "d.test. 300 IN MX 10 a.test.\n"
	    "d.test. 300 IN MX 20 b.test.\na.test. 300 IN A 192.0.2.3\n"
	    "b.test. 300 IN A 192.0.2.2\n");
	fakens_script(ns1, "b.test", "servfail*");
	resolve("d.test");
	ck_assert_int_eq(status, ROUTE_SELF);
	ck_assert_str_eq(text,
	    "the best mail host of d.test is this machine");
	/* The port is another one: not us. */
	rrouter_resolve(router, 1, SV("d.test"), SV(""), 2525);
	while (done < 2)
		event_base_loop(base, EVLOOP_ONCE);
	ck_assert_int_eq(status, ROUTE_OK);
}
END_TEST

START_TEST(test_route_better_than_us_without_address_is_not_self)
{
	rself_name_add(self, SV("me.test"));
	fakens_zone(ns1, SOA "d.test. 300 IN MX 10 gone.test.\n"
	    "d.test. 300 IN MX 20 me.test.\nme.test. 300 IN A 192.0.2.3\n");
	resolve("d.test");
	ck_assert_int_eq(status, ROUTE_UNUSABLE);
}
END_TEST

START_TEST(test_route_useless_addresses_are_left_out)
{
	fakens_zone(ns1, SOA "d.test. 300 IN MX 10 a.test.\n"
	    "a.test. 300 IN A 0.0.0.0\na.test. 300 IN A 224.0.0.1\n"
	    "a.test. 300 IN AAAA ::\na.test. 300 IN AAAA ff02::1\n"
	    "a.test. 300 IN AAAA ::ffff:127.0.0.1\n");
	resolve("d.test");
	ck_assert_int_eq(status, ROUTE_UNUSABLE);
}
END_TEST

START_TEST(test_route_literals_need_no_lookup)
{
	resolve("[192.0.2.7]");
	ck_assert_str_eq(route, "0 [192.0.2.7]:25 192.0.2.7");
	resolve("[IPv6:2001:db8::7]");
	ck_assert_str_eq(route, "0 [2001:db8::7]:25 2001:db8::7");
	resolve("[IPv6:192.0.2.7]");
	ck_assert_int_eq(status, ROUTE_NO_DOMAIN);
	ck_assert_uint_eq(fakens_udp(ns1), 0);
}
END_TEST

START_TEST(test_route_bad_domains_are_refused_without_lookup)
{
	static const char *const bad[] = { "", ".", "a..test", ".test",
		"a b.test", "a\x01.test", "[x]", "-\xff-.test", "a/b.test" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		resolve(bad[i]);
		ck_assert_msg(status == ROUTE_NO_DOMAIN, "%s", bad[i]);
	}
	ck_assert_uint_eq(fakens_udp(ns1), 0);
}
END_TEST

START_TEST(test_route_u_label_is_asked_as_a_label)
{
	fakens_zone(ns1, SOA "xn--bcher-kva.test. 300 IN A 192.0.2.1\n");
	resolve("B\xc3\xbc""cher.test");
	ck_assert_int_eq(status, ROUTE_OK);
	ck_assert_str_eq(route, "0 xn--bcher-kva.test:25 192.0.2.1");
}
END_TEST

START_TEST(test_route_smtp_hosts_levels_ports_and_mx)
{
	rself_name_add(self, SV("a.test")); /* no self check */
	fakens_zone(ns1, SOA "a.test. 300 IN A 192.0.2.1\n"
	    "b.test. 300 IN A 192.0.2.2\ne.test. 300 IN MX 5 b.test.\n"
	    "e.test. 300 IN MX 7 a.test.\n");
	resolve_hosts("d.test", "a.test, b.test:26;[192.0.2.9]:2525;"
	    "lookup-mx:e.test:27; 192.0.2.10");
	ck_assert_int_eq(status, ROUTE_OK);
	ck_assert_str_eq(route, "0 a.test:25 192.0.2.1; "
	    "0 b.test:26 192.0.2.2; 1 [192.0.2.9]:2525 192.0.2.9; "
	    "2 b.test:27 192.0.2.2; 3 a.test:27 192.0.2.1; "
	    "4 [192.0.2.10]:25 192.0.2.10");
}
END_TEST

START_TEST(test_route_smtp_hosts_wrong_is_temporary)
{
	fakens_zone(ns1, SOA);
	resolve_hosts("d.test", "a.test:99999");
	ck_assert_int_eq(status, ROUTE_TEMPORARY);
	ck_assert_str_eq(text, "smtp-hosts: \"a.test:99999\" is not a host");
	resolve_hosts("d.test", "gone.test");
	ck_assert_int_eq(status, ROUTE_TEMPORARY);
	resolve_hosts("d.test", " ;,");
	ck_assert_int_eq(status, ROUTE_TEMPORARY);
}
END_TEST

START_TEST(test_route_forty_mx_keeps_the_best)
{
	char line[128];

	for (int i = 40; i > 0; i--) {
		snprintf(line, sizeof(line), "d.test. 300 IN MX %d h.test.\n",
		    i);
		fakens_zone(ns1, line);
	}
	fakens_zone(ns1, SOA "h.test. 300 IN A 192.0.2.1\n");
	resolve("d.test");
	ck_assert_int_eq(status, ROUTE_OK);
	ck_assert_int_eq(strncmp(route, "1 h.test:25 192.0.2.1; 2 ", 25), 0);
	ck_assert_ptr_nonnull(strstr(route, "; 32 h.test"));
	ck_assert_ptr_null(strstr(route, "; 33 h.test"));
}
END_TEST

/* ---- questions ---- */

START_TEST(test_query_second_from_cache)
{
	fakens_zone(ns1, SOA "d.test. 300 IN A 192.0.2.1\n");
	resolve("d.test");
	ck_assert_uint_eq(fakens_udp(ns1), 3);
	resolve("d.test");
	ck_assert_uint_eq(fakens_udp(ns1), 3);
	ck_assert_int_eq(status, ROUTE_OK);
}
END_TEST

START_TEST(test_query_same_in_flight_is_sent_once)
{
	fakens_zone(ns1, SOA "d.test. 300 IN A 192.0.2.1\n");
	for (int i = 0; i < 50; i++)
		rrouter_resolve(router, 1, SV("d.test"), SV(""), 25);
	while (done < 50)
		event_base_loop(base, EVLOOP_ONCE);
	ck_assert_uint_eq(fakens_udp(ns1), 3);
	ck_assert_uint_eq(rquery_stats(pool)->joined, 147);
}
END_TEST

START_TEST(test_query_forged_packets_are_ignored)
{
	fakens_zone(ns1, SOA "d.test. 300 IN MX 10 a.test.\n"
	    "a.test. 300 IN A 192.0.2.1\n");
	fakens_script(ns1, "d.test", "spoof");
	resolve("d.test");
	ck_assert_int_eq(status, ROUTE_OK);
	ck_assert_uint_eq(rquery_stats(pool)->ignored, 5);
	ck_assert_uint_eq(rquery_stats(pool)->timeouts, 0);
}
END_TEST

START_TEST(test_query_failures_go_to_next_server)
{
	static const char *const kinds[] = { "servfail", "refused", "lame",
		"broken", "formerr", "drop", "tcservfail", "tcclose",
		"tcwrong" };
	char name[32], line[64];

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		snprintf(name, sizeof(name), "%s.test", kinds[i]);
		snprintf(line, sizeof(line), "%s*", kinds[i]);
		fakens_script(ns1, name, line);
		snprintf(line, sizeof(line), "%s. 300 IN A 192.0.2.1\n", name);
		fakens_zone(ns1, line);
		fakens_zone(ns2, line);
		servers_set(2); /* begins with the first again */
		resolve(name);
		ck_assert_msg(status == ROUTE_OK, "%s: %s", kinds[i], text);
	}
}
END_TEST

START_TEST(test_query_dropped_is_sent_again)
{
	fakens_zone(ns1, SOA "d.test. 300 IN A 192.0.2.1\n");
	fakens_script(ns1, "d.test", "drop drop");
	resolve("d.test");
	ck_assert_int_eq(status, ROUTE_OK);
	ck_assert_uint_ge(rquery_stats(pool)->timeouts, 2);
}
END_TEST

START_TEST(test_query_silence_ends_in_time)
{
	rquery_patience_set(pool, 10, 60, 1000);
	fakens_script(ns1, "d.test", "drop*");
	resolve("d.test");
	ck_assert_int_eq(status, ROUTE_TEMPORARY);
	ck_assert_ptr_nonnull(strstr(text, "no answer in time from 127.0.0.1"));
}
END_TEST

START_TEST(test_query_truncated_goes_to_tcp)
{
	char line[128];

	for (int i = 0; i < 60; i++) {
		snprintf(line, sizeof(line), "d.test. 300 IN MX %d "
		    "a-quite-long-host-name-number-%d.test.\n", i, i);
		fakens_zone(ns1, line);
	}
	fakens_zone(ns1, SOA "a-quite-long-host-name-number-3.test. IN A "
	    "192.0.2.1\n");
	fakens_script(ns1, "d.test", "tc");
	resolve("d.test");
	ck_assert_int_eq(status, ROUTE_OK);
	ck_assert_str_eq(route,
	    "3 a-quite-long-host-name-number-3.test:25 192.0.2.1");
	ck_assert_uint_eq(fakens_tcp(ns1), 1);
}
END_TEST

START_TEST(test_query_server_without_edns_is_asked_without)
{
	fakens_zone(ns1, SOA "d.test. 300 IN A 192.0.2.1\n");
	fakens_script(ns1, "d.test", "noedns*");
	resolve("d.test");
	ck_assert_int_eq(status, ROUTE_OK);
}
END_TEST

START_TEST(test_query_no_servers_is_temporary)
{
	servers_set(0);
	resolve("d.test");
	ck_assert_int_eq(status, ROUTE_TEMPORARY);
	ck_assert_str_eq(text, "no name server is configured for MX d.test");
}
END_TEST

START_TEST(test_query_nobody_listens_is_temporary)
{
	struct rquery_server s;
	struct route_addr ip = { .family = 4, .ip = { 127, 0, 0, 1 } };
	struct fakens *gone = fakens_new(base);

	rquery_server_make(&ip, fakens_port(gone), &s);
	fakens_free(&gone);
	rquery_servers_set(pool, &s, 1);
	rquery_patience_set(pool, 10, 60, 1000);
	resolve("d.test");
	ck_assert_int_eq(status, ROUTE_TEMPORARY);
	ck_assert_ptr_nonnull(strstr(text, "refused"));
}
END_TEST

START_TEST(test_query_over_the_cap_waits_its_turn)
{
	char name[32];

	rquery_patience_set(pool, 2000, 5000, 4);
	fakens_zone(ns1, SOA);
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "d%d.test", i);
		rrouter_resolve(router, 1, sv_from(name), SV(""), 25);
	}
	while (done < 100)
		event_base_loop(base, EVLOOP_ONCE);
	ck_assert_int_eq(status, ROUTE_NO_DOMAIN);
	ck_assert_uint_eq(fakens_udp(ns1), 100);
}
END_TEST

START_TEST(test_query_ports_and_ids_are_random)
{
	char name[32];

	fakens_zone(ns1, SOA);
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "d%d.test", i);
		resolve(name);
	}
	/* By chance a few are equal: 200 of 65,536 ids give 0.3 pairs, of
	 * 28,000 ports 0.7. */
	ck_assert_uint_ge(fakens_ids(ns1), 190);
	ck_assert_uint_ge(fakens_ports(ns1), 190);
}
END_TEST

START_TEST(test_query_new_servers_finish_old_questions)
{
	fakens_zone(ns2, SOA "d.test. 300 IN A 192.0.2.1\n");
	fakens_script(ns1, "d.test", "drop*");
	rrouter_resolve(router, 1, SV("d.test"), SV(""), 25);
	event_base_loop(base, EVLOOP_NONBLOCK);
	event_base_loop(base, EVLOOP_NONBLOCK);
	{
		struct rquery_server s;
		struct route_addr ip = { .family = 4, .ip = { 127, 0, 0, 1 } };

		rquery_server_make(&ip, fakens_port(ns2), &s);
		rquery_servers_set(pool, &s, 1);
	}
	while (done < 1)
		event_base_loop(base, EVLOOP_ONCE);
	ck_assert_int_eq(status, ROUTE_OK);
}
END_TEST

START_TEST(test_query_cancel_while_under_way_and_waiting)
{
	rquery_patience_set(pool, 20, 60, 1);
	fakens_zone(ns1, SOA);
	fakens_script(ns1, "d.test", "drop*");
	rrouter_resolve(router, 1, SV("d.test"), SV(""), 25);
	rrouter_resolve(router, 2, SV("e.test"), SV(""), 25);
	event_base_loop(base, EVLOOP_NONBLOCK);
	rrouter_cancel_all(router);
	ck_assert_uint_eq(rrouter_jobs(router), 0);
	resolve("f.test");
	ck_assert_uint_eq(done, 1);
	ck_assert_int_eq(status, ROUTE_NO_DOMAIN);
}
END_TEST

START_TEST(test_route_jobs_over_the_cap_wait_their_turn)
{
	char name[32];

	rrouter_jobs_max_set(router, 3);
	fakens_zone(ns1, SOA "c.test. 300 IN A 192.0.2.1\n");
	resolve("c.test");
	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "d%d.test", i);
		rrouter_resolve(router, 1, sv_from(name), SV(""), 25);
	}
	/* These end at once when they begin. */
	for (int i = 0; i < 100000; i++)
		rrouter_resolve(router, 1, SV("c.test"), SV(""), 25);
	ck_assert_uint_eq(rrouter_jobs(router), 100003);
	while (done < 100004)
		event_base_loop(base, EVLOOP_ONCE);
	ck_assert_int_eq(status, ROUTE_OK);
	ck_assert_uint_eq(rrouter_jobs(router), 0);
}
END_TEST

START_TEST(test_route_cancel_drops_what_waits)
{
	rrouter_jobs_max_set(router, 1);
	fakens_zone(ns1, SOA);
	for (int i = 0; i < 10; i++)
		rrouter_resolve(router, 1, SV("d.test"), SV("h.test"), 25);
	rrouter_cancel_all(router);
	ck_assert_uint_eq(rrouter_jobs(router), 0);
	resolve("e.test");
	ck_assert_uint_eq(done, 1);
}
END_TEST

START_TEST(test_hosts_table)
{
	static const struct {
		const char *text;
		int n;            /* 0: refused */
		const char *name; /* of the last one */
		uint16_t level, port;
	} rows[] = {
		{ "a", 1, "a", 0, 25 }, { "A.B.", 1, "a.b", 0, 25 },
		{ "a:1", 1, "a", 0, 1 }, { "a:65535", 1, "a", 0, 65535 },
		{ "a:0", 0, "", 0, 0 }, { "a:65536", 0, "", 0, 0 },
		{ "a:", 0, "", 0, 0 }, { "a:b", 0, "", 0, 0 },
		{ ":25", 0, "", 0, 0 }, { "[", 0, "", 0, 0 },
		{ "[]", 0, "", 0, 0 }, { "[a]", 1, "a", 0, 25 },
		{ "[192.0.2.1]x", 0, "", 0, 0 },
		{ "[192.0.2.1]:", 0, "", 0, 0 },
		{ "192.0.2.1:26", 1, "[192.0.2.1]", 0, 26 },
		{ "2001:db8::1", 1, "[2001:db8::1]", 0, 25 },
		{ "[2001:db8::1]:26", 1, "[2001:db8::1]", 0, 26 },
		{ "[IPv6:2001:db8::1]", 1, "[2001:db8::1]", 0, 25 },
		{ "lookup-mx:", 0, "", 0, 0 },
		{ "LOOKUP-MX: d.test:26", 1, "d.test", 0, 26 },
		{ "a,,b;;c", 3, "c", 2, 25 }, { "a b", 0, "", 0, 0 },
		{ "a,b c,d", 0, "", 0, 0 }, { "", 0, "", 0, 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rhost list[8];
		struct sv bad;
		size_t n = rhosts_parse(sv_from(rows[i].text), 25, list, 8,
		    &bad);

		ck_assert_msg((int)n == rows[i].n, "%s", rows[i].text);
		if (n == 0)
			continue;
		ck_assert_str_eq(list[n - 1].name, rows[i].name);
		ck_assert_uint_eq(list[n - 1].level, rows[i].level);
		ck_assert_uint_eq(list[n - 1].port, rows[i].port);
	}
}
END_TEST

START_TEST(test_query_twice_in_one_job_is_safe)
{
	fakens_zone(ns1, SOA "a.test. 300 IN A 192.0.2.1\n");
	resolve_hosts("d.test", "a.test,a.test;lookup-mx:a.test;"
	    "lookup-mx:a.test");
	ck_assert_int_eq(status, ROUTE_OK);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("resolver");
	TCase *t = tcase_create("route"), *q = tcase_create("query");
	SRunner *r = srunner_create(s);
	int failed;

	suite_add_tcase(s, t);
	suite_add_tcase(s, q);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_checked_fixture(q, setup, teardown);
	tcase_add_test(t, test_route_mx_sorted_by_preference);
	tcase_add_test(t, test_route_implicit_mx_only_without_mx);
	tcase_add_test(t, test_route_nothing_at_all_is_no_domain);
	tcase_add_test(t, test_route_null_mx_is_final_without_address_lookup);
	tcase_add_test(t, test_route_null_mx_next_to_another_is_ignored);
	tcase_add_test(t, test_route_cname_is_followed);
	tcase_add_test(t, test_route_cname_out_of_the_packet_is_asked_for);
	tcase_add_test(t, test_route_cname_loop_is_temporary);
	tcase_add_test(t, test_route_servfail_is_temporary_and_says_where);
	tcase_add_test(t, test_route_one_host_fails_other_is_used);
	tcase_add_test(t, test_route_all_hosts_fail_one_for_now_is_temporary);
	tcase_add_test(t, test_route_own_name_drops_equal_and_worse);
	tcase_add_test(t, test_route_own_address_best_is_self);
	tcase_add_test(t,
	    test_route_better_than_us_without_address_is_not_self);
	tcase_add_test(t, test_route_useless_addresses_are_left_out);
	tcase_add_test(t, test_route_literals_need_no_lookup);
	tcase_add_test(t, test_route_bad_domains_are_refused_without_lookup);
	tcase_add_test(t, test_route_u_label_is_asked_as_a_label);
	tcase_add_test(t, test_route_smtp_hosts_levels_ports_and_mx);
	tcase_add_test(t, test_route_smtp_hosts_wrong_is_temporary);
	tcase_add_test(t, test_route_forty_mx_keeps_the_best);
	tcase_add_test(q, test_query_second_from_cache);
	tcase_add_test(q, test_query_same_in_flight_is_sent_once);
	tcase_add_test(q, test_query_forged_packets_are_ignored);
	tcase_add_test(q, test_query_failures_go_to_next_server);
	tcase_add_test(q, test_query_dropped_is_sent_again);
	tcase_add_test(q, test_query_silence_ends_in_time);
	tcase_add_test(q, test_query_truncated_goes_to_tcp);
	tcase_add_test(q, test_query_server_without_edns_is_asked_without);
	tcase_add_test(q, test_query_no_servers_is_temporary);
	tcase_add_test(q, test_query_nobody_listens_is_temporary);
	tcase_add_test(q, test_query_over_the_cap_waits_its_turn);
	tcase_add_test(q, test_query_ports_and_ids_are_random);
	tcase_add_test(q, test_query_new_servers_finish_old_questions);
	tcase_add_test(q, test_query_cancel_while_under_way_and_waiting);
	tcase_add_test(t, test_route_jobs_over_the_cap_wait_their_turn);
	tcase_add_test(t, test_route_cancel_drops_what_waits);
	tcase_add_test(t, test_hosts_table);
	tcase_add_test(q, test_query_twice_in_one_job_is_safe);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
