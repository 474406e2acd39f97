/* SPDX-License-Identifier: ISC */
/* RFC 5321 4.1.1.4, 4.5.2, 2.3.8 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "common/mail/data_dec.h"

#define B(lit) { lit, sizeof(lit) - 1 }

struct got {
	unsigned char out[4096];
	size_t n, used;
	struct data_dec d;
};

/* Feeds at most step bytes at a time. */
static void
decode(struct got *g, struct sv in, enum data_policy policy, size_t step,
    uint64_t max)
{
	size_t at = 0;

	memset(g, 0, sizeof(*g));
	data_dec_init(&g->d, policy, max);
	while (at < in.n && !data_dec_is_done(&g->d)) {
		size_t n = in.n - at < step ? in.n - at : step, wrote, used;
		/* exactly the room that is asked for: sanitizers watch */
		unsigned char *room = malloc(data_dec_room(&g->d, n));

		used = data_dec_feed(&g->d, sv_make(in.p + at, n), room,
		    &wrote);
		ck_assert_uint_le(wrote, data_dec_room(&g->d, n));
		ck_assert_uint_le(g->n + wrote, sizeof(g->out));
		memcpy(g->out + g->n, room, wrote);
		g->n += wrote;
		free(room);
		if (!data_dec_is_done(&g->d))
			ck_assert_uint_eq(used, n);
		at += used;
	}
	g->used = at;
}

static const struct {
	struct sv in, want;
	bool dots;
} good[] = {
	{ B(".\r\n"), B(""), false },
	{ B("a\r\n.\r\n"), B("a\r\n"), false },
	{ B("\r\n.\r\n"), B("\r\n"), false },
	{ B("a\r\n..\r\n.\r\n"), B("a\r\n.\r\n"), true },
	{ B("..\r\n.\r\n"), B(".\r\n"), true },
	{ B("...a\r\n.\r\n"), B("..a\r\n"), true },
	{ B(".a\r\n.\r\n"), B("a\r\n"), false },
	{ B("a.\r\n.\r\n"), B("a.\r\n"), false },
	{ B("a\r\n.b\r\n..c\r\n.\r\n"), B("a\r\nb\r\n.c\r\n"), true },
	{ B("S: x\r\n\r\nbody\r\n\r\n\r\n.\r\n"),
	    B("S: x\r\n\r\nbody\r\n\r\n\r\n"), false },
};

START_TEST(test_data_good_any_split_same_output)
{
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		for (size_t step = 1; step <= good[i].in.n; step++) {
			struct got g;

			decode(&g, good[i].in, DATA_REJECT, step, 0);
			ck_assert(data_dec_is_done(&g.d));
			ck_assert_int_eq(g.d.error, DATA_FINE);
			ck_assert(sv_eq(sv_make(g.out, g.n), good[i].want));
			ck_assert_uint_eq(g.d.bytes, g.n);
			ck_assert_int_eq(g.d.leading_dot, good[i].dots);
			ck_assert_uint_eq(g.used, good[i].in.n);
		}
	}
}
END_TEST

START_TEST(test_data_end_leaves_what_follows)
{
	struct got g;

	decode(&g, SV("a\r\n.\r\nMAIL FROM:<>\r\n"), DATA_REJECT, 100, 0);
	ck_assert(data_dec_is_done(&g.d));
	ck_assert_uint_eq(g.used, 6);
}
END_TEST

/* Ends of data that other servers have taken for one. None may end it; the
 * message is refused, or its newlines become CR LF. */
static const struct {
	struct sv in;
	enum data_error why;
	struct sv normal;     /* what DATA_NORMALIZE makes of it */
} smuggle[] = {
	{ B("\n.\n"), DATA_BARE_LF, B("\r\n.\r\n") },
	{ B("\n.\r\n"), DATA_BARE_LF, B("\r\n.\r\n") },
	{ B("\r\n.\n"), DATA_BARE_LF, B("\r\n\r\n") },
	{ B("\r.\r"), DATA_BARE_CR, B("\r\n.\r\n") },
	{ B("\r.\r\n"), DATA_BARE_CR, B("\r\n.\r\n") },
	{ B("\r\n.\r"), DATA_BARE_CR, B("\r\n\r\n") },
	{ B("\r.\n"), DATA_BARE_CR, B("\r\n.\r\n") },
	{ B("\n.\r"), DATA_BARE_CR, B("\r\n.\r\n") },
	{ B("\r\n\0.\r\n"), DATA_NUL, B("") },
	{ B("\r\n.\0\r\n"), DATA_NUL, B("") },
	{ B("\r\n.\r\0\n"), DATA_BARE_CR, B("") },
	{ B("\r\r\n.\r\r\n"), DATA_BARE_CR, B("\r\n\r\n\r\n\r\n") },
	{ B("\n\n.\n\n"), DATA_BARE_LF, B("\r\n\r\n.\r\n\r\n") },
};

static void
smuggle_try(size_t i, enum data_policy policy)
{
	char in[64], want[64];
	size_t n = 0, want_n = 0;

	in[n++] = 'a';
	memcpy(in + n, smuggle[i].in.p, smuggle[i].in.n);
	n += smuggle[i].in.n;
	memcpy(in + n, "b\r\n.\r\nX", 7);
	n += 7;
	want[want_n++] = 'a';
	memcpy(want + want_n, smuggle[i].normal.p, smuggle[i].normal.n);
	want_n += smuggle[i].normal.n;
	memcpy(want + want_n, "b\r\n", 3);
	want_n += 3;
	for (size_t step = 1; step <= n; step++) {
		struct got g;

		decode(&g, sv_make(in, n), policy, step, 0);
		ck_assert(data_dec_is_done(&g.d));
		ck_assert_uint_eq(g.used, n - 1);
		if (policy == DATA_REJECT) {
			ck_assert_int_eq(g.d.error, smuggle[i].why);
		} else if (smuggle[i].normal.n == 0) {
			ck_assert_int_eq(g.d.error, DATA_NUL);
		} else {
			ck_assert_int_eq(g.d.error, DATA_FINE);
			ck_assert(sv_eq(sv_make(g.out, g.n),
			    sv_make(want, want_n)));
		}
	}
}

START_TEST(test_data_smuggling_reject_refused_at_real_end)
{
	for (size_t i = 0; i < sizeof(smuggle) / sizeof(smuggle[0]); i++)
		smuggle_try(i, DATA_REJECT);
}
END_TEST

START_TEST(test_data_smuggling_normalize_never_ends)
{
	for (size_t i = 0; i < sizeof(smuggle) / sizeof(smuggle[0]); i++)
		smuggle_try(i, DATA_NORMALIZE);
}
END_TEST

/* All strings over a small alphabet: whole and byte by byte agree, and the
 * end is exactly the first CR LF . CR LF. */
START_TEST(test_data_all_short_inputs_splits_agree)
{
	static const char alphabet[] = "\r\n.a\0";
	enum { LETTERS = 5, LEN = 7 };
	size_t total = 1;

	for (int k = 0; k < LEN; k++)
		total *= LETTERS;
	for (size_t x = 0; x < total; x++) {
		char in[LEN + 2] = "\r\n";
		struct got a, b;
		size_t v = x;
		const char *end;

		for (int k = 0; k < LEN; k++, v /= LETTERS)
			in[2 + k] = alphabet[v % LETTERS];
		end = memmem(in, sizeof(in), "\r\n.\r\n", 5);
		for (int policy = DATA_REJECT; policy <= DATA_NORMALIZE;
		    policy++) {
			decode(&a, sv_make(in + 2, LEN), policy, LEN, 0);
			decode(&b, sv_make(in + 2, LEN), policy, 1, 0);
			ck_assert_int_eq(data_dec_is_done(&a.d), end != NULL);
			ck_assert_int_eq(data_dec_is_done(&b.d), end != NULL);
			ck_assert_uint_eq(a.used, b.used);
			if (end != NULL) {
				ck_assert_uint_eq(a.used,
				    (size_t)(end - in) + 5 - 2);
				ck_assert_int_eq(a.d.error, b.d.error);
			}
			if (end == NULL || a.d.error != DATA_FINE)
				continue;
			ck_assert(sv_eq(sv_make(a.out, a.n),
			    sv_make(b.out, b.n)));
			ck_assert_uint_eq(a.d.bytes, b.d.bytes);
			ck_assert_int_eq(a.d.leading_dot, b.d.leading_dot);
		}
	}
}
END_TEST

START_TEST(test_data_over_size_refused_at_limit_accepted)
{
	struct got g;

	decode(&g, SV("12345678\r\n.\r\n"), DATA_REJECT, 3, 10);
	ck_assert_int_eq(g.d.error, DATA_FINE);
	decode(&g, SV("123456789\r\n.\r\n"), DATA_REJECT, 3, 10);
	ck_assert_int_eq(g.d.error, DATA_TOO_BIG);
	ck_assert(data_dec_is_done(&g.d));
	ck_assert_uint_gt(g.d.swallowed, 0);
}
END_TEST

static enum data_error
long_line(size_t n, size_t step)
{
	char *in = malloc(n + 5);
	unsigned char *out = malloc(n + 100);
	struct data_dec d;
	size_t at = 0, wrote;

	memset(in, 'x', n);
	memcpy(in + n, "\r\n.\r\n", 5);
	data_dec_init(&d, DATA_REJECT, 0);
	while (at < n + 5) {
		size_t k = n + 5 - at < step ? n + 5 - at : step;

		at += data_dec_feed(&d, sv_make(in + at, k), out, &wrote);
	}
	ck_assert(data_dec_is_done(&d));
	free(in);
	free(out);
	return d.error;
}

START_TEST(test_data_long_line_refused_over_limit_only)
{
	ck_assert_int_eq(long_line(998, 4096), DATA_FINE);
	for (size_t step = 1000; step <= 100000; step *= 10) {
		ck_assert_int_eq(long_line(DATA_LINE_MAX, step), DATA_FINE);
		ck_assert_int_eq(long_line(DATA_LINE_MAX + 1, step),
		    DATA_LINE_LONG);
	}
}
END_TEST

START_TEST(test_data_received_counted_in_header_only)
{
	static const struct sv in = B("Received: a\r\n\tReceived: no\r\n"
	    "RECEIVED:b\r\nX-Received: c\r\nReceivedd: d\r\n"
	    "received : e\r\n\r\nReceived: body\r\n.\r\n");
	struct got g;

	for (size_t step = 1; step <= in.n; step++) {
		decode(&g, in, DATA_REJECT, step, 0);
		ck_assert_uint_eq(g.d.received, 2);
		ck_assert(!g.d.in_header);
	}
}
END_TEST

START_TEST(test_data_eight_bit_seen_at_every_place)
{
	for (size_t at = 0; at < 100; at++) {
		char in[105];
		struct got g;

		memset(in, 'x', 100);
		memcpy(in + 100, "\r\n.\r\n", 5);
		decode(&g, sv_make(in, 105), DATA_REJECT, 200, 0);
		ck_assert(!g.d.eight_bit);
		in[at] = (char)0x80;
		decode(&g, sv_make(in, 105), DATA_REJECT, 200, 0);
		ck_assert(g.d.eight_bit);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("data_dec");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_data_good_any_split_same_output);
	tcase_add_test(t, test_data_end_leaves_what_follows);
	tcase_add_test(t, test_data_smuggling_reject_refused_at_real_end);
	tcase_add_test(t, test_data_smuggling_normalize_never_ends);
	tcase_add_test(t, test_data_all_short_inputs_splits_agree);
	tcase_add_test(t, test_data_over_size_refused_at_limit_accepted);
	tcase_add_test(t, test_data_long_line_refused_over_limit_only);
	tcase_add_test(t, test_data_received_counted_in_header_only);
	tcase_add_test(t, test_data_eight_bit_seen_at_every_place);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
