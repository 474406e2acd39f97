/* SPDX-License-Identifier: ISC */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "common/mail/smtp_stuff.h"

struct stuff_case {
	const char *in;
	const char *want;
};

static const struct stuff_case cases[] = {
	{ "", ".\r\n" },
	{ "a\r\n", "a\r\n.\r\n" },
	{ "a", "a\r\n.\r\n" },
	{ ".", "..\r\n.\r\n" },
	{ ".\r\n", "..\r\n.\r\n" },
	{ "a\r\n.\r\nb\r\n", "a\r\n..\r\nb\r\n.\r\n" },
	{ "a\r\n..\r\n", "a\r\n...\r\n.\r\n" },
	{ "a.b\r\nc.\r\n", "a.b\r\nc.\r\n.\r\n" },
	{ "a\nb", "a\r\nb\r\n.\r\n" },
	{ "a\rb", "a\r\nb\r\n.\r\n" },
	{ "a\r", "a\r\n.\r\n" },
	{ "\r\r\n", "\r\n\r\n.\r\n" },
	{ "\n.\n", "\r\n..\r\n.\r\n" },
	{ "a\r.\rb", "a\r\n..\r\nb\r\n.\r\n" },
	{ "a\n.\r\nMAIL FROM:<x>\r\n",
	    "a\r\n..\r\nMAIL FROM:<x>\r\n.\r\n" },
	{ "a\r\n\r\n\r\n", "a\r\n\r\n\r\n.\r\n" },
};

#define NCASES (sizeof(cases) / sizeof(cases[0]))

static void
stuff(struct sv in, size_t piece, struct buf *out)
{
	struct smtp_stuff s;

	buf_clear(out);
	smtp_stuff_init(&s);
	while (in.n > 0) {
		ck_assert_int_eq(smtp_stuff_add(&s, out, sv_head(in, piece)),
		    0);
		in = sv_from_at(in, piece);
	}
	ck_assert_int_eq(smtp_stuff_end(&s, out), 0);
}

START_TEST(test_stuff_table_any_pieces_same)
{
	struct buf out;

	buf_init(&out, 65536);
	for (size_t piece = 1; piece < 64; piece++) {
		stuff(sv_from(cases[_i].in), piece, &out);
		ck_assert_msg(sv_eq(buf_sv(&out), sv_from(cases[_i].want)),
		    "%s", cases[_i].in);
	}
	buf_fini(&out);
}
END_TEST

/* What a server makes of it; the number of line ends that are not CRLF and
 * of final dots before the end are counted as wrong. */
static size_t
unstuff(struct sv in, struct buf *out)
{
	size_t wrong = 0;

	buf_clear(out);
	while (in.n > 0) {
		ptrdiff_t at = sv_find(in, '\n');
		struct sv line;

		if (at < 1 || in.p[at - 1] != '\r')
			return wrong + 1;
		line = sv_head(in, (size_t)at + 1);
		in = sv_from_at(in, line.n);
		wrong += (size_t)(sv_find(line, '\r') != at - 1);
		if (sv_eq(line, SV(".\r\n")))
			return wrong + (in.n > 0);
		if (line.p[0] == '.')
			line = sv_from_at(line, 1);
		ck_assert_int_eq(buf_add_sv(out, line), 0);
	}
	return wrong + 1; /* no end */
}

/* The plain way to say what must arrive. */
static void
normalise(struct sv in, struct buf *out)
{
	bool in_line = false;

	buf_clear(out);
	for (size_t i = 0; i < in.n; i++) {
		char c = in.p[i];

		if (c == '\r' || c == '\n') {
			if (c == '\r' && i + 1 < in.n && in.p[i + 1] == '\n')
				i++;
			ck_assert_int_eq(buf_add(out, "\r\n", 2), 0);
			in_line = false;
		} else {
			ck_assert_int_eq(buf_add(out, &c, 1), 0);
			in_line = true;
		}
	}
	if (in_line)
		ck_assert_int_eq(buf_add(out, "\r\n", 2), 0);
}

START_TEST(test_stuff_random_bodies_round_trip)
{
	static const char alphabet[] = "..ab\r\n\r\n";
	struct buf out, back, want;
	unsigned seed = 1;

	buf_init(&out, 65536);
	buf_init(&back, 65536);
	buf_init(&want, 65536);
	for (int round = 0; round < 20000; round++) {
		char body[48];
		size_t n;

		seed = seed * 1103515245u + 12345u;
		n = seed / 65536 % sizeof(body);
		for (size_t i = 0; i < n; i++) {
			seed = seed * 1103515245u + 12345u;
			body[i] = alphabet[seed / 65536 % 8];
		}
		stuff(sv_make(body, n), 1 + (size_t)round % 50, &out);
		ck_assert_uint_eq(unstuff(buf_sv(&out), &back), 0);
		normalise(sv_make(body, n), &want);
		ck_assert(sv_eq(buf_sv(&back), buf_sv(&want)));
	}
	buf_fini(&out);
	buf_fini(&back);
	buf_fini(&want);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("smtp_stuff");
	TCase *t = tcase_create("stuff");
	SRunner *r;
	int failed;

	tcase_add_loop_test(t, test_stuff_table_any_pieces_same, 0,
	    (int)NCASES);
	tcase_add_test(t, test_stuff_random_bodies_round_trip);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
