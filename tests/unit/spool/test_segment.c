/* SPDX-License-Identifier: ISC */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/msgid.h"
#include "common/spool/batch.h"
#include "common/spool/segment.h"
#include "common/spool/sio_mem.h"

#define SEG UINT64_C(7)
#define N   40

static struct sio *sio;
static struct sio_file *file;
static uint64_t places[N], lengths[N];
static char bodies[N][3000];

static void
setup(void)
{
	sio = sio_mem_new();
	file = sio_open(sio, "seg", SIO_READ | SIO_WRITE | SIO_CREATE);
	ck_assert_ptr_nonnull(file);
}

static void
teardown(void)
{
	sio_close(&file);
	sio_free(&sio);
}

static void
parts_make(int i, struct record_parts *p, struct iovec *iov)
{
	size_t n = (size_t)i * 70;

	memset(bodies[i], 'a' + i % 26, sizeof(bodies[i]));
	iov[0] = (struct iovec){ bodies[i], n / 2 };
	iov[1] = (struct iovec){ bodies[i] + n / 2, n - n / 2 };
	*p = (struct record_parts){ .flags = RECORD_DOTS, .segment = SEG,
		.arrival_us = 99, .env = SV("env"), .head = SV("head\r\n"),
		.body = iov, .nbody = 2 };
}

/* N records from SEGMENT_HEADER on; short writes on the way. */
static void
segment_fill(void)
{
	unsigned char headers[N][RECORD_HEADER];
	struct iovec iov[N][2];
	struct batch b;

	sio_mem_short(sio, 777);
	batch_init(&b, file, SEGMENT_HEADER);
	for (int i = 0; i < N; i++) {
		struct record_parts p;

		parts_make(i, &p, iov[i]);
		places[i] = b.end;
		p.id = msgid_make(SEG, b.end);
		lengths[i] = batch_add(&b, &p, headers[i]);
		ck_assert_uint_eq(lengths[i] % 8, 0);
	}
	ck_assert_int_eq(batch_write(&b), 0);
	batch_fini(&b);
	sio_mem_short(sio, 0);
}

START_TEST(test_header_changed_byte_is_refused)
{
	unsigned char h[SEGMENT_HEADER];
	uint64_t seg, size;

	segment_header_make(h, 5, SEGMENT_SIZE);
	ck_assert(segment_header_check(h, &seg, &size));
	ck_assert_uint_eq(seg, 5);
	ck_assert_uint_eq(size, SEGMENT_SIZE);
	for (int i = 0; i < 28; i++) {
		h[i] ^= 4;
		ck_assert(!segment_header_check(h, &seg, &size));
		h[i] ^= 4;
	}
}
END_TEST

START_TEST(test_read_gives_what_was_built)
{
	struct record r;
	struct buf b;

	segment_fill();
	buf_init(&b, RECORD_MAX);
	for (int i = 0; i < N; i++) {
		ck_assert_int_eq(record_read(file, SEG, places[i], lengths[i],
		    &b, &r), RECORD_OK);
		ck_assert(sv_eq(r.env, SV("env")));
		ck_assert(sv_eq(r.head, SV("head\r\n")));
		ck_assert(sv_eq(r.body, sv_make(bodies[i], (size_t)i * 70)));
		ck_assert_uint_eq(r.id, msgid_make(SEG, places[i]));
		ck_assert_uint_eq(r.length, lengths[i]);
		ck_assert_uint_eq(r.flags, RECORD_DOTS);
	}
	buf_fini(&b);
}
END_TEST

START_TEST(test_read_any_flipped_bit_is_noticed)
{
	struct record r;
	struct buf b;

	segment_fill();
	buf_init(&b, RECORD_MAX);
	for (uint64_t i = 0; i < RECORD_HEADER + 3 + 6 + 70; i++) {
		ck_assert(sio_mem_flip(sio, "seg", places[1] + i));
		ck_assert_int_ne(record_read(file, SEG, places[1], lengths[1],
		    &b, &r), RECORD_OK);
		ck_assert(sio_mem_flip(sio, "seg", places[1] + i));
	}
	ck_assert_int_eq(record_read(file, SEG, places[1], lengths[1], &b,
	    &r), RECORD_OK);
	buf_fini(&b);
}
END_TEST

START_TEST(test_read_other_life_of_file_is_no_record)
{
	struct record r;
	struct buf b;

	segment_fill();
	buf_init(&b, RECORD_MAX);
	ck_assert_int_eq(record_read(file, SEG + 1, places[1], lengths[1], &b,
	    &r), RECORD_NONE);
	ck_assert_int_eq(record_read(file, SEG, places[1], 1, &b, &r),
	    RECORD_NONE);
	ck_assert_int_eq(record_read(file, SEG, places[N - 1],
	    lengths[N - 1] + 800, &b, &r), RECORD_SHORT);
	buf_fini(&b);
}
END_TEST

START_TEST(test_build_over_limit_is_refused)
{
	static char big[RECORD_HEAD_MAX + 1];
	struct iovec iov[6];
	unsigned char h[RECORD_HEADER];
	struct record_parts p = { .segment = 1, .env = SV("e"),
		.head = sv_make(big, sizeof(big)) };

	ck_assert_uint_eq(record_length(&p), 0);
	ck_assert_uint_eq(record_build(&p, h, iov), 0);
	p.head.n--;
	ck_assert_uint_ne(record_build(&p, h, iov), 0);
}
END_TEST

struct seen {
	int n;
	uint64_t last, damage_at[N], damage_len[N];
	int damages, stop_at;
};

static int
on_record(void *arg, const struct record *r)
{
	struct seen *s = arg;

	s->last = r->offset;
	return ++s->n == s->stop_at ? 17 : 0;
}

static void
on_damage(void *arg, uint64_t offset, uint64_t length)
{
	struct seen *s = arg;

	s->damage_at[s->damages] = offset;
	s->damage_len[s->damages++] = length;
}

static int
scan(struct seen *s, bool search, uint64_t from, uint64_t limit,
    uint64_t *end_r)
{
	struct segment_scan_ops ops = { .on_record = on_record,
		.on_damage = on_damage, .search = search };

	return segment_scan(file, SEG, from, limit, &ops, s, end_r);
}

START_TEST(test_scan_whole_segment_finds_all)
{
	struct seen s = { .n = 0 };
	uint64_t end;

	segment_fill();
	ck_assert_int_eq(scan(&s, false, SEGMENT_HEADER, UINT64_MAX, &end), 0);
	ck_assert_int_eq(s.n, N);
	ck_assert_int_eq(s.damages, 0);
	ck_assert_uint_eq(end, places[N - 1] + lengths[N - 1]);
	s = (struct seen){ .stop_at = 3 };
	ck_assert_int_eq(scan(&s, false, places[5], UINT64_MAX, &end), 17);
	ck_assert_uint_eq(s.last, places[7]);
	s = (struct seen){ .n = 0 };
	ck_assert_int_eq(scan(&s, false, places[5], places[9], &end), 0);
	ck_assert_int_eq(s.n, 4);
	ck_assert_uint_eq(end, places[9]);
}
END_TEST

START_TEST(test_scan_damaged_body_is_skipped_by_length)
{
	struct seen s = { .n = 0 };
	uint64_t end;

	segment_fill();
	ck_assert(sio_mem_flip(sio, "seg", places[10] + 200));
	ck_assert_int_eq(scan(&s, false, SEGMENT_HEADER, UINT64_MAX, &end), 0);
	ck_assert_int_eq(s.n, N - 1);
	ck_assert_int_eq(s.damages, 1);
	ck_assert_uint_eq(s.damage_at[0], places[10]);
	ck_assert_uint_eq(s.damage_len[0], lengths[10]);
}
END_TEST

START_TEST(test_scan_damaged_header_ends_or_is_searched_over)
{
	struct seen s = { .n = 0 };
	uint64_t end;

	segment_fill();
	ck_assert(sio_mem_flip(sio, "seg", places[10] + 9));
	ck_assert_int_eq(scan(&s, false, SEGMENT_HEADER, UINT64_MAX, &end), 0);
	ck_assert_int_eq(s.n, 10);
	ck_assert_uint_eq(end, places[10]);
	s = (struct seen){ .n = 0 };
	ck_assert_int_eq(scan(&s, true, SEGMENT_HEADER, UINT64_MAX, &end), 0);
	ck_assert_int_eq(s.n, N - 1);
	ck_assert_int_eq(s.damages, 1);
	ck_assert_uint_eq(s.damage_at[0], places[10]);
	ck_assert_uint_eq(s.damage_len[0], lengths[10]);
}
END_TEST

/* A message whose body is a record: found by a search only. */
START_TEST(test_scan_record_in_a_body_is_no_record)
{
	unsigned char inner[4096], h[RECORD_HEADER], h2[RECORD_HEADER];
	struct record_parts p = { .segment = SEG, .id = 1, .env = SV("fake") };
	struct iovec iov[6], body;
	struct seen s = { .n = 0 };
	struct batch b;
	uint64_t end;
	size_t n = 0, k = record_build(&p, h, iov);

	for (size_t i = 0; i < k; i++) {
		memcpy(inner + n, iov[i].iov_base, iov[i].iov_len);
		n += iov[i].iov_len;
	}
	body = (struct iovec){ inner, n };
	p = (struct record_parts){ .segment = SEG, .id = 2,
		.env = SV("real env"), .body = &body, .nbody = 1 };
	batch_init(&b, file, SEGMENT_HEADER);
	batch_add(&b, &p, h2);
	ck_assert_int_eq(batch_write(&b), 0);
	batch_fini(&b);
	ck_assert(sio_mem_flip(sio, "seg", SEGMENT_HEADER));
	ck_assert_int_eq(scan(&s, false, SEGMENT_HEADER, UINT64_MAX, &end), 0);
	ck_assert_int_eq(s.n, 0);
	ck_assert_int_eq(scan(&s, true, SEGMENT_HEADER, UINT64_MAX, &end), 0);
	ck_assert_int_eq(s.n, 1); /* which is why recovery does not search */
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("segment");
	TCase *tc = tcase_create("segment");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_header_changed_byte_is_refused);
	tcase_add_test(tc, test_read_gives_what_was_built);
	tcase_add_test(tc, test_read_any_flipped_bit_is_noticed);
	tcase_add_test(tc, test_read_other_life_of_file_is_no_record);
	tcase_add_test(tc, test_build_over_limit_is_refused);
	tcase_add_test(tc, test_scan_whole_segment_finds_all);
	tcase_add_test(tc, test_scan_damaged_body_is_skipped_by_length);
	tcase_add_test(tc, test_scan_damaged_header_ends_or_is_searched_over);
	tcase_add_test(tc, test_scan_record_in_a_body_is_no_record);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
