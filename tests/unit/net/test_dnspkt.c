/* SPDX-License-Identifier: ISC */
/* Answers made by hand, byte by byte. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/net/dnspkt.h"

static struct dnspkt_query q;
static struct dnspkt_answer a;
static unsigned char pkt[70000];
static size_t len;

/* ---- a writer of packets ---- */

static void
put8(unsigned v)
{
	pkt[len++] = (unsigned char)v;
}

static void
put16(unsigned v)
{
	put8(v >> 8);
	put8(v & 0xff);
}

static void
put32(uint32_t v)
{
	put16(v >> 16);
	put16(v & 0xffff);
}

/* "a.test" with its root; a name that starts with "@" is a pointer: "@12" */
static void
put_name(const char *name)
{
	if (name[0] == '@') {
		put16(0xc000u | (unsigned)strtoul(name + 1, NULL, 10));
		return;
	}
	while (*name != '\0') {
		size_t n = strcspn(name, ".");

		put8((unsigned)n);
		memcpy(pkt + len, name, n);
		len += n;
		name += n;
		name += *name == '.';
	}
	put8(0);
}

static void
put_head(unsigned flags, unsigned an, unsigned ns, unsigned ar)
{
	len = 0;
	put16(q.id);
	put16(flags);
	put16(1);
	put16(an);
	put16(ns);
	put16(ar);
	memcpy(pkt + len, q.wire + 12, q.qlen);
	len += q.qlen;
}

/* Owner to the length, which put_rr_end() fills in. */
static size_t
put_rr(const char *owner, unsigned type, uint32_t ttl)
{
	put_name(owner);
	put16(type);
	put16(1);
	put32(ttl);
	put16(0);
	return len;
}

static void
put_rr_end(size_t rdata)
{
	size_t n = len - rdata;

	pkt[rdata - 2] = (unsigned char)(n >> 8);
	pkt[rdata - 1] = (unsigned char)n;
}

static void
put_mx(const char *owner, uint32_t ttl, unsigned pref, const char *host)
{
	size_t at = put_rr(owner, DNS_MX, ttl);

	put16(pref);
	put_name(host);
	put_rr_end(at);
}

static void
put_cname(const char *owner, const char *target)
{
	size_t at = put_rr(owner, DNS_CNAME, 100);

	put_name(target);
	put_rr_end(at);
}

static void
put_a(const char *owner, uint32_t ip)
{
	size_t at = put_rr(owner, DNS_A, 300);

	put32(ip);
	put_rr_end(at);
}

static void
put_soa(const char *owner, uint32_t ttl, uint32_t minimum)
{
	size_t at = put_rr(owner, DNS_SOA, ttl);

	put_name("ns.test");
	put_name("root.test");
	for (int i = 0; i < 4; i++)
		put32(1);
	put32(minimum);
	put_rr_end(at);
}

/* ---- */

#define QR 0x8180u /* answer, recursion desired and available */

static void
ask(const char *name, enum dns_type type)
{
	ck_assert(dnspkt_query_make(name, type, 0x1234, true, &q));
}

static enum dnspkt_result
parse(void)
{
	/* On the heap, so that a sanitizer sees a read past the end. */
	unsigned char *copy = malloc(len > 0 ? len : 1);
	enum dnspkt_result r;

	memcpy(copy, pkt, len);
	r = dnspkt_answer_parse(&q, copy, len, false, &a);
	free(copy);
	return r;
}

static void
setup(void)
{
	ask("d.test", DNS_MX);
}

static void
good_packet(void)
{
	put_head(QR, 3, 1, 1);
	put_cname("@12", "e.test");
	put_mx("e.test", 200, 10, "Mx1.test");
	put_mx("e.test", 150, 20, "@12");
	put_soa("test", 900, 80);
	put_name("");
	put16(DNS_OPT);
	put16(1232);
	put32(0);
	put16(0);
}

START_TEST(test_query_has_edns_and_question)
{
	static const unsigned char want[] = { 0x12, 0x34, 1, 0x20, 0, 1, 0, 0,
		0, 0, 0, 1, 1, 'd', 4, 't', 'e', 's', 't', 0, 0, 15, 0, 1,
		/* OPT */ 0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0 };

	ck_assert_uint_eq(q.len, sizeof(want));
	ck_assert_mem_eq(q.wire, want, sizeof(want));
	ck_assert_uint_eq(q.qlen, 12);
}
END_TEST

START_TEST(test_query_longest_name_fits)
{
	char name[254], out[DNSPKT_NAME_SIZE];

	memset(name, 'a', sizeof(name));
	for (size_t i = 63; i < 253; i += 64)
		name[i] = '.';
	name[253] = '\0';
	ck_assert(dnspkt_name_parse(sv_from(name), out));
	ask(out, DNS_AAAA);
	put_head(QR, 0, 0, 0);
	ck_assert_int_eq(parse(), DNSPKT_ANSWER);
}
END_TEST

START_TEST(test_name_parse_table)
{
	static const struct {
		const char *text;
		const char *want; /* NULL: refused */
	} rows[] = {
		{ "Example.ORG", "example.org" }, { "a.", "a" },
		{ "_x.a-b", "_x.a-b" }, { "", NULL }, { ".", NULL },
		{ "a..b", NULL }, { ".a", NULL }, { "a b", NULL },
		{ "a\\.b", NULL }, { "a@b", NULL }, { "\xc3\xbc", NULL },
		{ "a..", NULL },
		{ "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL },
	};
	char out[DNSPKT_NAME_SIZE];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool ok = dnspkt_name_parse(sv_from(rows[i].text), out);

		ck_assert_msg(ok == (rows[i].want != NULL), "%s", rows[i].text);
		if (ok)
			ck_assert_str_eq(out, rows[i].want);
	}
	ck_assert(!dnspkt_name_parse(sv_make("a\0b", 3), out));
}
END_TEST

START_TEST(test_answer_good_is_read_whole)
{
	good_packet();
	ck_assert_int_eq(parse(), DNSPKT_ANSWER);
	ck_assert_uint_eq(a.n, 2);
	ck_assert_uint_eq(a.hops, 1);
	ck_assert_str_eq(a.name, "e.test");
	ck_assert_str_eq(a.rrs[0].name, "mx1.test");
	ck_assert_uint_eq(a.rrs[0].pref, 10);
	ck_assert_str_eq(a.rrs[1].name, "d.test");
	ck_assert_uint_eq(a.ttl_s, 100);
	ck_assert(a.cacheable && !a.open && !a.ad);
}
END_TEST

START_TEST(test_answer_cut_anywhere_is_never_an_answer)
{
	size_t whole;

	good_packet();
	whole = len;
	for (len = 0; len < whole; len++) {
		enum dnspkt_result r = parse();

		ck_assert_int_eq(r, len < 12 + q.qlen ? DNSPKT_IGNORE :
		    DNSPKT_BROKEN);
	}
}
END_TEST

START_TEST(test_answer_to_another_question_is_ignored)
{
	static const struct {
		size_t at;
		unsigned char xor;
	} rows[] = { { 0, 1 }, { 1, 0x80 }, { 2, 0x80 }, { 2, 0x08 },
		{ 5, 1 }, { 5, 3 }, { 13, 3 }, { 15, 0x80 }, { 21, 1 },
		{ 23, 2 }, { 12, 0xc0 } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		good_packet();
		pkt[rows[i].at] ^= rows[i].xor;
		ck_assert_msg(parse() == DNSPKT_IGNORE, "row %zu", i);
	}
	good_packet();
	pkt[13] ^= 0x20; /* the case of a letter */
	ck_assert_int_eq(parse(), DNSPKT_ANSWER);
}
END_TEST

START_TEST(test_answer_truncated_bit_counts_by_udp_only)
{
	put_head(QR | 0x0200, 1, 0, 0);
	put_mx("@12", 60, 1, "a.test");
	ck_assert_int_eq(parse(), DNSPKT_TRUNCATED);
	ck_assert_int_eq(dnspkt_answer_parse(&q, pkt, len, true, &a),
	    DNSPKT_ANSWER);
	ck_assert_uint_eq(a.n, 1);
}
END_TEST

START_TEST(test_answer_pointer_loops_are_broken)
{
	/* To itself, forwards, into the header, two that point at each
	 * other. */
	static const char *const owners[] = { "@24", "@60", "@4", "@26" };

	for (size_t i = 0; i < sizeof(owners) / sizeof(owners[0]); i++) {
		put_head(QR, 1, 0, 0);
		put_mx(owners[i], 60, 1, "a.test");
		ck_assert_msg(parse() == DNSPKT_BROKEN, "%s", owners[i]);
	}
	put_head(QR, 1, 0, 0);
	put_mx("@12", 60, 1, "@38"); /* rdata that points at itself */
	ck_assert_int_eq(parse(), DNSPKT_BROKEN);
}
END_TEST

/* An MX whose owner is reached by so many pointers. */
static enum dnspkt_result
parse_pointers(unsigned pointers)
{
	size_t prev = 12, at;

	put_head(QR, 2, 0, 0);
	at = put_rr("@12", 99, 60);
	for (unsigned i = 1; i < pointers; i++) {
		size_t here = len;

		put16((unsigned)(0xc000u | prev));
		prev = here;
	}
	put_rr_end(at);
	put16((unsigned)(0xc000u | prev));
	put16(DNS_MX);
	put16(1);
	put32(60);
	put16(3);
	put16(1);
	put8(0);
	return parse();
}

START_TEST(test_answer_long_pointer_chain_is_broken)
{
	ck_assert_int_eq(parse_pointers(32), DNSPKT_ANSWER);
	ck_assert_uint_eq(a.n, 1);
	ck_assert_int_eq(parse_pointers(33), DNSPKT_BROKEN);
	ck_assert_int_eq(parse_pointers(8000), DNSPKT_BROKEN);
}
END_TEST

START_TEST(test_answer_name_over_255_bytes_is_broken)
{
	put_head(QR, 1, 0, 0);
	for (int i = 0; i < 5; i++) {
		put8(60);
		memset(pkt + len, 'a', 60);
		len += 60;
	}
	put8(0);
	put16(DNS_A);
	put16(1);
	put32(60);
	put16(4);
	put32(1);
	ck_assert_int_eq(parse(), DNSPKT_BROKEN);
}
END_TEST

START_TEST(test_answer_mx_rdata_too_short_is_broken)
{
	for (unsigned n = 0; n < 3; n++) {
		size_t at;

		put_head(QR, 1, 0, 0);
		at = put_rr("@12", DNS_MX, 60);
		for (unsigned i = 0; i < n; i++)
			put8(0);
		put_rr_end(at);
		ck_assert_int_eq(parse(), DNSPKT_BROKEN);
	}
}
END_TEST

START_TEST(test_answer_mx_rdata_with_rest_is_broken)
{
	size_t at;

	put_head(QR, 1, 0, 0);
	at = put_rr("@12", DNS_MX, 60);
	put16(1);
	put_name("a.test");
	put8(0);
	put_rr_end(at);
	ck_assert_int_eq(parse(), DNSPKT_BROKEN);
}
END_TEST

START_TEST(test_answer_address_of_wrong_length_is_broken)
{
	static const enum dns_type types[] = { DNS_A, DNS_AAAA };

	for (int k = 0; k < 2; k++) {
		ask("d.test", types[k]);
		for (unsigned n = 0; n < 20; n++) {
			bool right = n == (k == 0 ? 4 : 16);
			size_t at;

			put_head(QR, 1, 0, 0);
			at = put_rr("@12", types[k], 60);
			for (unsigned i = 0; i < n; i++)
				put8(i);
			put_rr_end(at);
			ck_assert_int_eq(parse(),
			    right ? DNSPKT_ANSWER : DNSPKT_BROKEN);
		}
	}
}
END_TEST

START_TEST(test_answer_cname_loop_is_broken)
{
	put_head(QR, 2, 0, 0);
	put_cname("@12", "e.test");
	put_cname("e.test", "@12");
	ck_assert_int_eq(parse(), DNSPKT_BROKEN);
	put_head(QR, 1, 0, 0);
	put_cname("@12", "@12");
	ck_assert_int_eq(parse(), DNSPKT_BROKEN);
}
END_TEST

START_TEST(test_answer_cname_chain_has_a_cap)
{
	char from[16], to[16];

	for (int hops = 8; hops <= 9; hops++) {
		put_head(QR, (unsigned)hops + 1, 0, 0);
		for (int i = hops; i > 0; i--) { /* backwards, too */
			snprintf(from, sizeof(from), i == 1 ? "@12" : "n%d",
			    i);
			snprintf(to, sizeof(to), "n%d", i + 1);
			put_cname(from, to);
		}
		put_mx("n2", 60, 1, "a.test"); /* not at the end: no use */
		if (hops == 9) {
			ck_assert_int_eq(parse(), DNSPKT_BROKEN);
		} else {
			ck_assert_int_eq(parse(), DNSPKT_ANSWER);
			ck_assert_uint_eq(a.n, 0);
			ck_assert(a.open);
			ck_assert_str_eq(a.name, "n9");
		}
	}
}
END_TEST

START_TEST(test_answer_records_of_others_do_not_count)
{
	put_head(QR, 2, 1, 0);
	put_mx("x.test", 60, 1, "evil.test");
	put_a("@12", 1);
	put_soa("test", 60, 60);
	ck_assert_int_eq(parse(), DNSPKT_ANSWER);
	ck_assert_uint_eq(a.n, 0);
}
END_TEST

/* "No such record" would bounce the mail. */
START_TEST(test_answer_of_only_strangers_is_broken)
{
	put_head(QR, 1, 1, 0);
	put_mx("x.test", 60, 1, "evil.test");
	put_soa("test", 60, 60);
	ck_assert_int_eq(parse(), DNSPKT_BROKEN);
}
END_TEST

START_TEST(test_answer_negative_ttl_is_the_least_and_capped)
{
	static const struct {
		uint32_t ttl, minimum, want;
	} rows[] = { { 900, 80, 80 }, { 50, 80, 50 }, { 90000, 90000, 3600 },
		{ 0x80000000u, 80, 0 } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		put_head(QR | DNS_NXDOMAIN, 0, 1, 0);
		put_soa("test", rows[i].ttl, rows[i].minimum);
		ck_assert_int_eq(parse(), DNSPKT_ANSWER);
		ck_assert_uint_eq(a.rcode, DNS_NXDOMAIN);
		ck_assert_uint_eq(a.ttl_s, rows[i].want);
		ck_assert(a.cacheable);
	}
}
END_TEST

START_TEST(test_answer_negative_with_strange_soa_is_not_kept)
{
	put_head(QR, 0, 1, 0);
	put_soa("other", 900, 900);
	ck_assert_int_eq(parse(), DNSPKT_ANSWER);
	ck_assert(!a.cacheable);
	put_head(QR, 0, 1, 0);
	put_soa("xd.test", 900, 900); /* ends alike, but is not above */
	ck_assert_int_eq(parse(), DNSPKT_ANSWER);
	ck_assert(!a.cacheable);
}
END_TEST

START_TEST(test_answer_referral_is_broken)
{
	size_t at;

	put_head(QR, 0, 1, 0);
	at = put_rr("test", DNS_NS, 60);
	put_name("ns.test");
	put_rr_end(at);
	ck_assert_int_eq(parse(), DNSPKT_BROKEN);
	put_head(0x8000, 0, 0, 0); /* no recursion, nothing said */
	ck_assert_int_eq(parse(), DNSPKT_BROKEN);
}
END_TEST

START_TEST(test_answer_positive_ttl_is_capped)
{
	put_head(QR, 1, 0, 0);
	put_mx("@12", 0x7fffffff, 1, "a.test");
	ck_assert_int_eq(parse(), DNSPKT_ANSWER);
	ck_assert_uint_eq(a.ttl_s, DNSPKT_TTL_MAX);
}
END_TEST

START_TEST(test_answer_mx_that_is_no_host_name_is_left_out)
{
	put_head(QR, 2, 0, 0);
	put_mx("@12", 60, 1, "a b.test");
	put_mx("@12", 60, 2, "");
	ck_assert_int_eq(parse(), DNSPKT_ANSWER);
	ck_assert_uint_eq(a.nbad, 1);
	ck_assert_uint_eq(a.n, 1);
	ck_assert_str_eq(a.rrs[0].name, "");
}
END_TEST

START_TEST(test_answer_extended_rcode_is_seen)
{
	put_head(QR, 0, 0, 1);
	put_name("");
	put16(DNS_OPT);
	put16(1232);
	put32(1u << 24); /* BADVERS */
	put16(0);
	ck_assert_int_eq(parse(), DNSPKT_ANSWER);
	ck_assert_uint_eq(a.rcode, 16);
}
END_TEST

START_TEST(test_answer_failure_needs_no_records)
{
	put_head(QR | DNS_SERVFAIL, 0, 0, 0);
	ck_assert_int_eq(parse(), DNSPKT_ANSWER);
	ck_assert_uint_eq(a.rcode, DNS_SERVFAIL);
}
END_TEST

START_TEST(test_answer_of_65535_bytes_keeps_the_best_and_is_quick)
{
	clock_t start = clock();
	unsigned n = 0;

	put_head(QR, 0, 0, 0);
	while (len < 65535 - 16) {
		put_mx("@12", 60, 60000 - n, "@12");
		n++;
	}
	while (len < 65535)
		put8(0);
	pkt[6] = (unsigned char)(n >> 8);
	pkt[7] = (unsigned char)n;
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(parse(), DNSPKT_ANSWER);
	ck_assert_uint_eq(a.n, DNSPKT_RRS_MAX);
	for (unsigned i = 0; i < a.n; i++)
		ck_assert_uint_le(a.rrs[i].pref, 60000 - n + DNSPKT_RRS_MAX);
	/* Of processor time; a millisecond each is usual. */
	ck_assert_int_lt((clock() - start) / (CLOCKS_PER_SEC / 1000), 4000);
}
END_TEST

START_TEST(test_answer_counts_beyond_the_packet_are_broken)
{
	put_head(QR, 65535, 65535, 65535);
	ck_assert_int_eq(parse(), DNSPKT_BROKEN);
	put_head(QR, 2, 0, 0);
	put_mx("@12", 60, 1, "a.test");
	ck_assert_int_eq(parse(), DNSPKT_BROKEN);
}
END_TEST

START_TEST(test_answer_any_byte_changed_is_survived)
{
	size_t whole;

	good_packet();
	whole = len;
	for (size_t i = 0; i < whole; i++) {
		for (unsigned v = 0; v < 256; v++) {
			good_packet();
			pkt[i] = (unsigned char)v;
			if (parse() == DNSPKT_ANSWER)
				ck_assert_uint_le(a.n, DNSPKT_RRS_MAX);
		}
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("dnspkt");
	TCase *tc = tcase_create("dnspkt");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, test_query_has_edns_and_question);
	tcase_add_test(tc, test_query_longest_name_fits);
	tcase_add_test(tc, test_name_parse_table);
	tcase_add_test(tc, test_answer_good_is_read_whole);
	tcase_add_test(tc, test_answer_cut_anywhere_is_never_an_answer);
	tcase_add_test(tc, test_answer_to_another_question_is_ignored);
	tcase_add_test(tc, test_answer_truncated_bit_counts_by_udp_only);
	tcase_add_test(tc, test_answer_pointer_loops_are_broken);
	tcase_add_test(tc, test_answer_long_pointer_chain_is_broken);
	tcase_add_test(tc, test_answer_name_over_255_bytes_is_broken);
	tcase_add_test(tc, test_answer_mx_rdata_too_short_is_broken);
	tcase_add_test(tc, test_answer_mx_rdata_with_rest_is_broken);
	tcase_add_test(tc, test_answer_address_of_wrong_length_is_broken);
	tcase_add_test(tc, test_answer_cname_loop_is_broken);
	tcase_add_test(tc, test_answer_cname_chain_has_a_cap);
	tcase_add_test(tc, test_answer_records_of_others_do_not_count);
	tcase_add_test(tc, test_answer_of_only_strangers_is_broken);
	tcase_add_test(tc, test_answer_negative_ttl_is_the_least_and_capped);
	tcase_add_test(tc, test_answer_negative_with_strange_soa_is_not_kept);
	tcase_add_test(tc, test_answer_referral_is_broken);
	tcase_add_test(tc, test_answer_positive_ttl_is_capped);
	tcase_add_test(tc, test_answer_mx_that_is_no_host_name_is_left_out);
	tcase_add_test(tc, test_answer_extended_rcode_is_seen);
	tcase_add_test(tc, test_answer_failure_needs_no_records);
	tcase_add_test(tc,
	    test_answer_of_65535_bytes_keeps_the_best_and_is_quick);
	tcase_add_test(tc, test_answer_counts_beyond_the_packet_are_broken);
	tcase_add_test(tc, test_answer_any_byte_changed_is_survived);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
