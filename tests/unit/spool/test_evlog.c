/* SPDX-License-Identifier: ISC */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/spool/evlog.h"
#include "common/spool/sio_mem.h"

#define NONE ((struct evlog_pos){ 0, 0 })

static struct sio *sio;
static struct evlog *evlog;

static void
setup(void)
{
	sio = sio_mem_new();
	ck_assert_int_eq(sio_spool_create(sio), 0);
	evlog = evlog_open(sio, NONE);
	ck_assert_ptr_nonnull(evlog);
}

static void
teardown(void)
{
	evlog_free(&evlog);
	sio_free(&sio);
}

static void
add(uint64_t n)
{
	union ev_any any;

	any.seg_end = (struct ev_seg_end){ n, n * 2 };
	ck_assert_int_eq(evlog_append(evlog, EV_SEG_END, &any), 0);
}

/* Reads to the limit; the records must count up from `first`; how many. */
static uint64_t
read_from(struct evlog_reader *r, struct evlog_pos limit, uint64_t first,
    enum evlog_next *last_r)
{
	struct evlog_record rec;
	uint64_t n = 0;

	while ((*last_r = evlog_reader_next(r, limit, &rec)) ==
	    EVLOG_RECORD) {
		ck_assert_int_eq(rec.type, EV_SEG_END);
		ck_assert_uint_eq(rec.any.seg_end.segment, first + n);
		n++;
	}
	return n;
}

static uint64_t
count(struct sio *s, enum evlog_next *last_r)
{
	struct evlog_reader *r = evlog_reader_open(s, EVLOG_FOLDER, NONE);
	uint64_t n = read_from(r, EVLOG_NO_LIMIT, 0, last_r);

	evlog_reader_close(&r);
	return n;
}

START_TEST(test_reader_stops_at_limit_and_goes_on)
{
	struct evlog_reader *r = evlog_reader_open(sio, EVLOG_FOLDER, NONE);
	struct evlog_pos limit;
	enum evlog_next last;

	for (uint64_t i = 0; i < 10; i++)
		add(i);
	limit = evlog_position(evlog);
	add(10);
	add(11);
	ck_assert_int_eq(evlog_sync(evlog), 0);
	ck_assert_uint_eq(read_from(r, limit, 0, &last), 10);
	ck_assert_int_eq(last, EVLOG_END);
	ck_assert_int_eq(evlog_rotate(evlog), 0);
	add(12);
	ck_assert_int_eq(evlog_sync(evlog), 0);
	ck_assert_uint_eq(read_from(r, evlog_durable(evlog), 10, &last), 3);
	ck_assert_int_eq(last, EVLOG_END);
	ck_assert_uint_eq(evlog_reader_position(r).file, 2);
	evlog_reader_close(&r);
}
END_TEST

START_TEST(test_reader_from_position_reads_the_rest)
{
	struct evlog_reader *r;
	struct evlog_pos at;
	enum evlog_next last;

	add(0);
	at = evlog_position(evlog);
	add(1);
	add(2);
	ck_assert_int_eq(evlog_write(evlog), 0);
	r = evlog_reader_open(sio, EVLOG_FOLDER, at);
	ck_assert_uint_eq(read_from(r, EVLOG_NO_LIMIT, 1, &last), 2);
	evlog_reader_close(&r);
}
END_TEST

START_TEST(test_torn_tail_ends_log_and_next_file_goes_on)
{
	struct evlog_pos end;
	struct evlog_reader *r;
	enum evlog_next last;
	struct sio *after;

	for (uint64_t i = 0; i < 5; i++)
		add(i);
	ck_assert_int_eq(evlog_sync(evlog), 0);
	end = evlog_durable(evlog);
	for (uint64_t i = 5; i < 100; i++)
		add(i);
	ck_assert_int_eq(evlog_write(evlog), 0);
	after = sio_mem_crash(sio, SIO_CRASH_REORDER, 8);
	r = evlog_reader_open(after, EVLOG_FOLDER, NONE);
	ck_assert_uint_ge(read_from(r, EVLOG_NO_LIMIT, 0, &last), 5);
	ck_assert_int_eq(last, EVLOG_END);
	evlog_reader_close(&r);
	evlog_free(&evlog);
	evlog = evlog_open(after, end);
	ck_assert_ptr_nonnull(evlog);
	add(5);
	ck_assert_int_eq(evlog_sync(evlog), 0);
	ck_assert_uint_eq(count(after, &last), 6);
	ck_assert_int_eq(last, EVLOG_END);
	evlog_free(&evlog);
	sio_free(&after);
}
END_TEST

START_TEST(test_damage_before_known_end_is_told)
{
	enum evlog_next last;
	struct evlog_reader *r;
	struct evlog_record rec;

	for (uint64_t i = 0; i < 5; i++)
		add(i);
	ck_assert_int_eq(evlog_rotate(evlog), 0);
	add(77);
	ck_assert_int_eq(evlog_sync(evlog), 0);
	ck_assert(sio_mem_flip(sio, "events/0000000001.log",
	    EVLOG_FILE_START + 2 * 32 + 15));
	r = evlog_reader_open(sio, EVLOG_FOLDER, NONE);
	ck_assert_uint_eq(read_from(r, EVLOG_NO_LIMIT, 0, &last), 2);
	ck_assert_int_eq(last, EVLOG_DAMAGED);
	ck_assert_int_eq(evlog_reader_next(r, EVLOG_NO_LIMIT, &rec),
	    EVLOG_RECORD);
	ck_assert_uint_eq(rec.any.seg_end.segment, 77);
	evlog_reader_close(&r);
}
END_TEST

START_TEST(test_missing_file_is_told)
{
	struct evlog_record rec;
	struct evlog_reader *r;

	for (uint64_t i = 0; i < 3; i++) {
		add(i);
		ck_assert_int_eq(evlog_rotate(evlog), 0);
	}
	ck_assert_int_eq(sio_unlink(sio, "events/0000000002.log"), 0);
	r = evlog_reader_open(sio, EVLOG_FOLDER, NONE);
	ck_assert_int_eq(evlog_reader_next(r, EVLOG_NO_LIMIT, &rec),
	    EVLOG_RECORD);
	ck_assert_int_eq(evlog_reader_next(r, EVLOG_NO_LIMIT, &rec),
	    EVLOG_MISSING);
	ck_assert_int_eq(evlog_reader_next(r, EVLOG_NO_LIMIT, &rec),
	    EVLOG_RECORD);
	ck_assert_uint_eq(rec.any.seg_end.segment, 2);
	evlog_reader_close(&r);
	r = evlog_reader_open(sio, EVLOG_FOLDER,
	    (struct evlog_pos){ 2, 100 });
	ck_assert_int_eq(evlog_reader_next(r, EVLOG_NO_LIMIT, &rec),
	    EVLOG_MISSING);
	evlog_reader_close(&r);
}
END_TEST

START_TEST(test_failed_sync_moves_records_to_next_file)
{
	struct evlog_sync sync;
	struct evlog_pos old;
	enum evlog_next last;
	struct sio *after;
	int err;

	add(0);
	ck_assert_int_eq(evlog_sync(evlog), 0);
	old = evlog_durable(evlog);
	add(1);
	ck_assert(evlog_sync_begin(evlog, &sync));
	add(2);
	sio_mem_fail(sio, 1, EIO, false);
	err = evlog_sync_run(&sync);
	ck_assert_int_eq(err, EIO);
	ck_assert_int_eq(evlog_sync_done(evlog, &sync, err), 0);
	/* Not told durable before a sync that covers them. */
	ck_assert_int_eq(evlog_pos_cmp(evlog_durable(evlog), old), 0);
	ck_assert_int_eq(evlog_sync(evlog), 0);
	ck_assert_uint_eq(evlog_durable(evlog).file, 2);
	ck_assert_uint_eq(evlog_failures(evlog), 1);
	after = sio_mem_crash(sio, SIO_CRASH_LOSE, 1);
	ck_assert_uint_eq(count(after, &last), 3);
	ck_assert_int_eq(last, EVLOG_END);
	sio_free(&after);
	ck_assert_uint_eq(count(sio, &last), 3);
}
END_TEST

START_TEST(test_full_disk_keeps_records_for_later)
{
	enum evlog_next last;

	add(0);
	sio_mem_space(sio, 8);
	ck_assert_int_eq(evlog_write(evlog), -1);
	ck_assert_int_eq(errno, ENOSPC);
	add(1);
	sio_mem_space(sio, 1 << 20);
	ck_assert_int_eq(evlog_sync(evlog), 0);
	ck_assert_uint_eq(count(sio, &last), 2);
	ck_assert_uint_eq(evlog_durable(evlog).file, 1);
}
END_TEST

START_TEST(test_cut_removes_old_files_only)
{
	uint64_t *list;
	size_t n;

	for (uint64_t i = 0; i < 4; i++)
		ck_assert_int_eq(evlog_rotate(evlog), 0);
	ck_assert_int_eq(evlog_cut(evlog, 4), 0);
	ck_assert_int_eq(sio_numbers(sio, EVLOG_FOLDER, EVLOG_SUFFIX, &list,
	    &n), 0);
	ck_assert_uint_eq(n, 2);
	ck_assert_uint_eq(list[0], 4);
	free(list);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("evlog");
	TCase *tc = tcase_create("evlog");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_reader_stops_at_limit_and_goes_on);
	tcase_add_test(tc, test_reader_from_position_reads_the_rest);
	tcase_add_test(tc, test_torn_tail_ends_log_and_next_file_goes_on);
	tcase_add_test(tc, test_damage_before_known_end_is_told);
	tcase_add_test(tc, test_missing_file_is_told);
	tcase_add_test(tc, test_failed_sync_moves_records_to_next_file);
	tcase_add_test(tc, test_full_disk_keeps_records_for_later);
	tcase_add_test(tc, test_cut_removes_old_files_only);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
