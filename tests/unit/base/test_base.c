/* SPDX-License-Identifier: ISC */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/crc32c.h"
#include "common/base/htab.h"
#include "common/base/msgid.h"
#include "common/base/rw.h"
#include "common/base/siphash.h"
#include "common/base/str.h"

START_TEST(test_sv_number_over_max_refused)
{
	static const struct {
		const char *in;
		uint64_t max;
		bool ok;
		uint64_t want;
	} t[] = {
		{ "0", 10, true, 0 }, { "10", 10, true, 10 },
		{ "11", 10, false, 0 }, { "", 10, false, 0 },
		{ "1a", 10, false, 0 }, { "-1", 10, false, 0 },
		{ "18446744073709551615", UINT64_MAX, true, UINT64_MAX },
		{ "18446744073709551616", UINT64_MAX, false, 0 },
		{ "99999999999999999999", UINT64_MAX, false, 0 },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		uint64_t got = 0;

		ck_assert_int_eq(sv_to_u64(sv_from(t[i].in), t[i].max, &got),
		    t[i].ok);
		if (t[i].ok)
			ck_assert_uint_eq(got, t[i].want);
	}
}
END_TEST

START_TEST(test_sv_cut_walks_all_pieces)
{
	struct sv rest = SV("a,,b");

	ck_assert(sv_eq(sv_cut(&rest, ','), SV("a")));
	ck_assert(sv_eq(sv_cut(&rest, ','), SV("")));
	ck_assert(sv_eq(sv_cut(&rest, ','), SV("b")));
	ck_assert_ptr_null(rest.p);
}
END_TEST

START_TEST(test_str_full_truncates_and_says_so)
{
	char mem[8];
	struct str s;

	STR_ON(&s, mem);
	str_addf(&s, "%s", "1234567");
	ck_assert(!s.truncated);
	str_addf(&s, "%d", 8);
	ck_assert(s.truncated);
	ck_assert_str_eq(mem, "1234567");
	STR_ON(&s, mem);
	str_addf(&s, "%s", "12345678");
	ck_assert(s.truncated);
	ck_assert_str_eq(mem, "1234567");
}
END_TEST

START_TEST(test_str_escape_hides_controls)
{
	char mem[64];
	struct str s;

	STR_ON(&s, mem);
	str_add_escaped(&s, SV("a\r\n\x1b\"\\\xff"));
	ck_assert_str_eq(mem, "a\\x0d\\x0a\\x1b\\\"\\\\\\xff");
}
END_TEST

START_TEST(test_buf_over_cap_refused)
{
	struct buf b;

	buf_init(&b, 10);
	ck_assert_int_eq(buf_add(&b, "12345678", 8), 0);
	ck_assert_int_eq(buf_add(&b, "abc", 3), -1);
	buf_consume(&b, 5);
	ck_assert_int_eq(buf_add(&b, "abc", 3), 0);
	ck_assert(sv_eq(buf_sv(&b), SV("678abc")));
	buf_fini(&b);
}
END_TEST

START_TEST(test_rd_past_end_is_sticky)
{
	struct rd r;

	rd_init(&r, "\x01\x02\x03", 3);
	ck_assert_uint_eq(rd_u16(&r), 0x0201);
	ck_assert_uint_eq(rd_u32(&r), 0);
	ck_assert(r.failed);
	ck_assert_uint_eq(rd_u8(&r), 0);
	ck_assert(!rd_done(&r));
}
END_TEST

START_TEST(test_wr_rd_round_trip)
{
	unsigned char mem[64];
	struct wr w;
	struct rd r;

	wr_init(&w, mem, sizeof(mem));
	wr_u8(&w, 7);
	wr_u64(&w, 0x1122334455667788u);
	wr_sv(&w, SV("hello"), 5);
	ck_assert(!w.failed);
	rd_init(&r, mem, w.n);
	ck_assert_uint_eq(rd_u8(&r), 7);
	ck_assert_uint_eq(rd_u64(&r), 0x1122334455667788u);
	ck_assert(sv_eq(rd_sv(&r, 5), SV("hello")));
	ck_assert(rd_done(&r));
	rd_init(&r, mem + 9, w.n - 9);
	rd_sv(&r, 4);
	ck_assert(r.failed);
	wr_init(&w, mem, 3);
	wr_u32(&w, 1);
	ck_assert(w.failed);
	ck_assert_uint_eq(w.n, 0);
}
END_TEST

START_TEST(test_arena_cap_gives_null)
{
	struct arena a;

	arena_init(&a, 10000);
	ck_assert_ptr_nonnull(arena_alloc(&a, 9000));
	ck_assert_ptr_null(arena_alloc(&a, 2000));
	arena_reset(&a);
	ck_assert(sv_eq(arena_sv(&a, SV("xy")), SV("xy")));
	arena_fini(&a);
}
END_TEST

START_TEST(test_crc32c_known_vectors)
{
	unsigned char zero[32] = { 0 };

	/* RFC 3720 B.4 */
	ck_assert_uint_eq(crc32c(0, zero, 32), 0x8a9136aau);
	ck_assert_uint_eq(crc32c(0, "123456789", 9), 0xe3069283u);
	ck_assert_uint_eq(crc32c(crc32c(0, "1234", 4), "56789", 5),
	    0xe3069283u);
}
END_TEST

START_TEST(test_siphash_known_vector)
{
	unsigned char in[15];
	uint64_t key[2] = { 0x0706050403020100u, 0x0f0e0d0c0b0a0908u };

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (unsigned char)i;
	/* the vector of the SipHash paper, appendix A */
	ck_assert_uint_eq(siphash24(key, in, sizeof(in)),
	    0xa129ca6149be45e5u);
}
END_TEST

START_TEST(test_msgid_text_round_trip)
{
	uint64_t id = msgid_make(42, 4096), back = 0;
	char text[MSGID_TEXT];

	ck_assert_uint_eq(msgid_segment(id), 42);
	ck_assert_uint_eq(msgid_offset(id), 4096);
	ck_assert(msgid_parse(sv_from(msgid_format(id, text)), &back));
	ck_assert_uint_eq(back, id);
	ck_assert(msgid_parse(
	    sv_from(msgid_format(UINT64_MAX, text)), &back));
	ck_assert_uint_eq(back, UINT64_MAX);
	ck_assert(!msgid_parse(SV("0000000000000"), &back));
	ck_assert(!msgid_parse(SV("../../../../x"), &back));
	ck_assert(!msgid_parse(SV("zzzzzzzzzzzzz"), &back));
}
END_TEST

struct item {
	uint64_t key;
	bool in;
};

static uint64_t
item_hash(const void *e)
{
	return ((const struct item *)e)->key;
}

static bool
item_match(const void *e, const void *key)
{
	return ((const struct item *)e)->key == *(const uint64_t *)key;
}

START_TEST(test_htab_random_inserts_and_removes_agree)
{
	enum { N = 5000 };
	static struct item items[N];
	struct htab t;
	size_t n = 0, at = 0, seen = 0;

	htab_init(&t, item_hash);
	srandom(1);
	for (uint64_t i = 0; i < N; i++)
		items[i] = (struct item){ .key = i * 8 };
	for (int step = 0; step < 60000; step++) {
		struct item *it = &items[random() % N];
		void *got = htab_find(&t, it->key, item_match, &it->key);

		ck_assert_ptr_eq(got, it->in ? it : NULL);
		if (it->in) {
			ck_assert(htab_remove(&t, it));
			n--;
		} else {
			ck_assert_int_eq(htab_insert(&t, it), 0);
			n++;
		}
		it->in = !it->in;
		ck_assert_uint_eq(htab_count(&t), n);
	}
	while (htab_next(&t, &at) != NULL)
		seen++;
	ck_assert_uint_eq(seen, n);
	htab_fini(&t);
}
END_TEST

START_TEST(test_htab_reserved_room_never_grows)
{
	enum { N = 1000 };
	static struct item items[N];
	struct htab t;
	size_t nslots;

	htab_init(&t, item_hash);
	ck_assert_int_eq(htab_reserve(&t, N), 0);
	nslots = t.nslots;
	ck_assert_uint_ge(nslots - nslots / 4, N);
	for (uint64_t i = 0; i < N; i++) {
		items[i] = (struct item){ .key = i * 8 };
		ck_assert_int_eq(htab_insert(&t, &items[i]), 0);
		ck_assert_uint_eq(t.nslots, nslots);
		ck_assert_ptr_null(t.old);
	}
	for (uint64_t i = 0; i < N; i++)
		ck_assert_ptr_eq(htab_find(&t, items[i].key, item_match,
		    &items[i].key), &items[i]);
	htab_fini(&t);
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("base");
	Suite *s = suite_create("base");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, test_sv_number_over_max_refused);
	tcase_add_test(tc, test_sv_cut_walks_all_pieces);
	tcase_add_test(tc, test_str_full_truncates_and_says_so);
	tcase_add_test(tc, test_str_escape_hides_controls);
	tcase_add_test(tc, test_buf_over_cap_refused);
	tcase_add_test(tc, test_rd_past_end_is_sticky);
	tcase_add_test(tc, test_wr_rd_round_trip);
	tcase_add_test(tc, test_arena_cap_gives_null);
	tcase_add_test(tc, test_crc32c_known_vectors);
	tcase_add_test(tc, test_siphash_known_vector);
	tcase_add_test(tc, test_msgid_text_round_trip);
	tcase_add_test(tc, test_htab_random_inserts_and_removes_agree);
	tcase_add_test(tc, test_htab_reserved_room_never_grows);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
