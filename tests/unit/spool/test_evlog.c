/* SPDX-License-Identifier: ISC */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rw.h"
#include "common/spool/evframe.h"
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

START_TEST(test_reader_of_another_log_begins_anew)
{
	struct evlog_reader *r;
	enum evlog_next last;

	add(0);
	add(1);
	ck_assert_int_eq(evlog_sync(evlog), 0);
	r = evlog_reader_open(sio, EVLOG_FOLDER, evlog_durable(evlog));
	ck_assert(!evlog_reader_anew(&r, evlog_durable(evlog)));
	ck_assert_uint_eq(read_from(r, EVLOG_NO_LIMIT, 0, &last), 0);
	evlog_reader_close(&r);
	r = evlog_reader_open(sio, EVLOG_FOLDER, (struct evlog_pos){ 2, 64 });
	ck_assert(evlog_reader_anew(&r, evlog_durable(evlog)));
	ck_assert_uint_eq(read_from(r, EVLOG_NO_LIMIT, 0, &last), 2);
	ck_assert(!evlog_reader_anew(&r, evlog_durable(evlog)));
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

/* Behind a file that is missing: the next one is there and must be read, even
 * if it can be opened only the second time. */
START_TEST(test_file_behind_a_missing_one_is_not_passed_over)
{
	for (uint64_t i = 0; i < 3; i++) {
		add(i);
		ck_assert_int_eq(evlog_rotate(evlog), 0);
	}
	ck_assert_int_eq(sio_unlink(sio, "events/0000000002.log"), 0);
	for (uint64_t n = 0; n < 6; n++) {
		struct evlog_reader *r = evlog_reader_open(sio, EVLOG_FOLDER,
		    NONE);
		struct evlog_record rec;
		enum evlog_next got;
		uint64_t sum = 0;

		(void)sio_mem_fault(sio, (struct sio_mem_fault){
		    .ops = SIO_OP_OPEN, .after = n, .count = 1, .err = EIO });
		for (int i = 0; i < 10; i++) {
			got = evlog_reader_next(r, EVLOG_NO_LIMIT, &rec);
			if (got == EVLOG_RECORD)
				sum += 10 + rec.any.seg_end.segment;
		}
		ck_assert_int_eq(got, EVLOG_END);
		ck_assert_uint_eq(sum, 22); /* records 0 and 2 */
		evlog_reader_close(&r);
	}
	(void)sio_mem_fault(sio, (struct sio_mem_fault){ .ops = 0 });
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

	/* a log file that could not reserve its room */
	sio_mem_space(sio, 1 << 20);
	ck_assert_int_eq(evlog_rotate(evlog), 0);
	add(0);
	sio_mem_space(sio, 8);
	ck_assert_int_eq(evlog_write(evlog), -1);
	ck_assert_int_eq(errno, ENOSPC);
	add(1);
	sio_mem_space(sio, 1 << 20);
	ck_assert_int_eq(evlog_sync(evlog), 0);
	ck_assert_uint_eq(count(sio, &last), 2);
	ck_assert_uint_eq(evlog_durable(evlog).file, 2);
}
END_TEST

/* Else qmgr would wait for a sync for which there is nothing to do. */
START_TEST(test_rotate_that_failed_is_durable_when_file_is_made)
{
	add(0);
	ck_assert_int_eq(evlog_sync(evlog), 0);
	sio_mem_fail(sio, 1, EIO, false);
	ck_assert_int_eq(evlog_rotate(evlog), -1);
	ck_assert_uint_eq(evlog_durable(evlog).file, 1);
	/* tried again it leaves no number out */
	sio_mem_fail(sio, 1, EIO, false);
	ck_assert_int_eq(evlog_rotate(evlog), -1);
	ck_assert_uint_eq(evlog_position(evlog).file, 2);
	ck_assert_int_eq(evlog_write(evlog), 0);
	ck_assert_int_eq(evlog_pos_cmp(evlog_durable(evlog),
	    evlog_position(evlog)), 0);
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

/* ---- each call failing ---- */

static void
fault(unsigned op, uint64_t after, int err)
{
	(void)sio_mem_fault(sio, (struct sio_mem_fault){ .ops = op,
		.after = after, .count = 1, .err = err });
}

/* The fault has come; none is left. */
static bool
failed(void)
{
	return sio_mem_fault(sio, (struct sio_mem_fault){ .ops = 0 }).count ==
	    0;
}

/* Whatever fails: what was appended is in the log, in order, once, when a sync
 * went well. */
static bool
log_nth_fails(unsigned op, uint64_t n, int err)
{
	enum evlog_next last;
	struct sio *after;
	bool did;

	teardown();
	setup();
	fault(op, n, err);
	for (uint64_t i = 0; i < 6; i++) {
		add(i);
		(void)(i % 3 == 0 ? evlog_write(evlog) :
		    i % 3 == 1 ? evlog_sync(evlog) : evlog_rotate(evlog));
	}
	did = failed();
	ck_assert_int_eq(evlog_sync(evlog), 0);
	ck_assert_uint_eq(count(sio, &last), 6);
	ck_assert_int_eq(last, EVLOG_END);
	after = sio_mem_crash(sio, SIO_CRASH_LOSE, 1);
	ck_assert_uint_eq(count(after, &last), 6);
	ck_assert_int_eq(last, EVLOG_END);
	sio_free(&after);
	return did;
}

START_TEST(test_log_each_call_failing_keeps_every_record)
{
	static const unsigned ops[] = { SIO_OP_CREATE, SIO_OP_WRITE,
		SIO_OP_SYNC, SIO_OP_SYNC_DIR };
	static const int errs[] = { EIO, ENOSPC };

	for (size_t i = 0; i < 4; i++) {
		for (size_t k = 0; k < 2; k++) {
			uint64_t n = 0;

			while (log_nth_fails(ops[i], n, errs[k]))
				n++;
			ck_assert_uint_gt(n, 1);
		}
	}
}
END_TEST

START_TEST(test_open_each_call_failing_leaves_nothing)
{
	static const unsigned ops[] = { SIO_OP_CREATE, SIO_OP_WRITE,
		SIO_OP_SYNC, SIO_OP_SYNC_DIR };

	for (size_t i = 0; i < 4; i++) {
		struct evlog *l;
		uint64_t *list;
		size_t n;

		/* the first write is to reserve room, and may fail */
		fault(ops[i], ops[i] == SIO_OP_WRITE, EIO);
		l = evlog_open(sio, (struct evlog_pos){ 6, 40 });
		ck_assert_ptr_null(l);
		ck_assert_int_eq(errno, EIO);
		ck_assert(failed());
		ck_assert_int_eq(sio_numbers(sio, EVLOG_FOLDER, EVLOG_SUFFIX,
		    &list, &n), 0);
		ck_assert_uint_eq(n, 1);
		free(list);
	}
	fault(SIO_OP_LIST, 0, EIO);
	ck_assert_int_eq(evlog_cut(evlog, 1), -1);
}
END_TEST

/* More than a reader has room for at first. */
static void
add_long(void)
{
	static struct sv domains[20000];
	union ev_any any = { .accept = { .domains = { .array = domains,
		.n = 20000 } } };

	for (size_t i = 0; i < 20000; i++)
		domains[i] = SV("a-domain-of-some-length.test");
	ck_assert_int_eq(evlog_append(evlog, EV_ACCEPT, &any), 0);
}

/* All of a log of three files, by a reader that is told to try again. */
static bool
reader_nth_fails(unsigned op, uint64_t n)
{
	struct evlog_reader *r = evlog_reader_open(sio, EVLOG_FOLDER, NONE);
	struct evlog_record rec;
	enum evlog_next got;
	uint64_t seen = 0;

	fault(op, n, EIO);
	while ((got = evlog_reader_next(r, EVLOG_NO_LIMIT, &rec)) !=
	    EVLOG_END) {
		ck_assert_int_ne(got, EVLOG_DAMAGED);
		if (got == EVLOG_RECORD && rec.type == EV_SEG_END)
			ck_assert_uint_eq(rec.any.seg_end.segment, seen++);
		else if (got == EVLOG_ERROR)
			ck_assert_int_eq(errno, EIO);
	}
	ck_assert_uint_eq(seen, 6);
	evlog_reader_close(&r);
	return failed();
}

START_TEST(test_reader_each_call_failing_passes_nothing_over)
{
	static const unsigned ops[] = { SIO_OP_LIST, SIO_OP_OPEN,
		SIO_OP_READ };

	for (uint64_t i = 0; i < 6; i++) {
		add(i);
		if (i % 2 == 0)
			add_long();
		else
			ck_assert_int_eq(evlog_rotate(evlog), 0);
	}
	/* and one file is not there */
	ck_assert_int_eq(evlog_rotate(evlog), 0);
	ck_assert_int_eq(sio_unlink(sio, "events/0000000004.log"), 0);
	for (size_t i = 0; i < 3; i++) {
		uint64_t n = 0;

		while (reader_nth_fails(ops[i], n))
			n++;
		ck_assert_uint_gt(n, 0);
	}
}
END_TEST

START_TEST(test_reader_of_nothing_is_at_the_end)
{
	struct evlog_record rec;
	struct evlog_reader *r;

	ck_assert_int_eq(sio_unlink(sio, "events/0000000001.log"), 0);
	r = evlog_reader_open(sio, EVLOG_FOLDER, NONE);
	ck_assert_int_eq(evlog_reader_next(r, EVLOG_NO_LIMIT, &rec),
	    EVLOG_END);
	ck_assert(!evlog_reader_has_file(r));
	evlog_reader_close(&r);
	evlog_reader_close(&r); /* none */
}
END_TEST

/* Nobody tells a limit that is no place; the reader says so and goes on. */
START_TEST(test_reader_limit_within_a_record_is_damage)
{
	struct evlog_reader *r = evlog_reader_open(sio, EVLOG_FOLDER, NONE);
	struct evlog_pos limit;
	struct evlog_record rec;

	add(0);
	limit = evlog_position(evlog);
	add(1);
	add(2);
	ck_assert_int_eq(evlog_sync(evlog), 0);
	limit.offset += 8;
	ck_assert_int_eq(evlog_reader_next(r, limit, &rec), EVLOG_RECORD);
	ck_assert_int_eq(evlog_reader_next(r, limit, &rec), EVLOG_DAMAGED);
	ck_assert_int_eq(evlog_reader_next(r, limit, &rec), EVLOG_END);
	ck_assert_uint_eq(evlog_reader_position(r).offset, limit.offset);
	evlog_reader_close(&r);
}
END_TEST

/* A live log, read while its end was written. */
START_TEST(test_reader_reads_again_what_was_half_written)
{
	struct evlog_reader *r = evlog_reader_open(sio, EVLOG_FOLDER, NONE);
	struct evlog_pos limit;
	enum evlog_next last;

	add(0);
	limit = evlog_position(evlog);
	add(1);
	ck_assert_int_eq(evlog_sync(evlog), 0);
	ck_assert(sio_mem_flip(sio, "events/0000000001.log",
	    limit.offset + EVFRAME_HEAD));
	ck_assert_uint_eq(read_from(r, limit, 0, &last), 1);
	ck_assert(sio_mem_flip(sio, "events/0000000001.log",
	    limit.offset + EVFRAME_HEAD));
	ck_assert_uint_eq(read_from(r, evlog_position(evlog), 1, &last), 1);
	ck_assert_int_eq(last, EVLOG_END);
	evlog_reader_close(&r);
}
END_TEST

/* Once the end of a file is known, a limit in it may stand behind. */
START_TEST(test_reader_end_of_a_file_is_in_front_of_the_limit)
{
	struct evlog_reader *r = evlog_reader_open(sio, EVLOG_FOLDER, NONE);
	struct evlog_record rec;
	enum evlog_next last;

	add(0);
	add(1);
	ck_assert_int_eq(evlog_rotate(evlog), 0);
	add(2);
	ck_assert_int_eq(evlog_sync(evlog), 0);
	ck_assert_int_eq(evlog_reader_next(r,
	    (struct evlog_pos){ 2, EVLOG_FILE_START }, &rec), EVLOG_RECORD);
	ck_assert_uint_eq(read_from(r, (struct evlog_pos){ 1, UINT64_MAX }, 1,
	    &last), 1);
	ck_assert_int_eq(last, EVLOG_END);
	ck_assert_uint_eq(read_from(r, EVLOG_NO_LIMIT, 2, &last), 1);
	evlog_reader_close(&r);
}
END_TEST

static void
file_write(const char *path, const struct evframe_file *info, unsigned type)
{
	unsigned char head[EVFRAME_FILE_HEADER];
	struct sio_file *f = sio_open(sio, path,
	    SIO_WRITE | SIO_CREATE | SIO_TRUNC);
	struct buf b;
	size_t start;

	ck_assert_ptr_nonnull(f);
	buf_init(&b, 4096);
	start = evframe_begin(&b);
	ck_assert_int_eq(evframe_end(&b, start, info->number, type), 0);
	evframe_header_make(head, EVFRAME_LOG, info);
	ck_assert_int_eq(sio_pwrite(f, head, sizeof(head), 0), 0);
	ck_assert_int_eq(sio_pwrite(f, buf_data(&b), buf_len(&b),
	    sizeof(head)), 0);
	buf_fini(&b);
	sio_close(&f);
}

START_TEST(test_reader_event_of_no_known_type_is_damage)
{
	struct evlog_reader *r;
	struct evlog_record rec;
	struct evframe_file info = { 2, 1, EVLOG_FILE_START };

	file_write("events/0000000002.log", &info, EV_TYPES);
	r = evlog_reader_open(sio, EVLOG_FOLDER, NONE);
	ck_assert_int_eq(evlog_reader_next(r, EVLOG_NO_LIMIT, &rec),
	    EVLOG_DAMAGED);
	ck_assert_int_eq(evlog_reader_next(r, EVLOG_NO_LIMIT, &rec),
	    EVLOG_END);
	evlog_reader_close(&r);
}
END_TEST

START_TEST(test_reader_successor_of_another_file_is_a_gap)
{
	struct evframe_file info = { 2, 7, EVLOG_FILE_START };
	struct evlog_reader *r;
	struct evlog_record rec;

	add(0);
	ck_assert_int_eq(evlog_sync(evlog), 0);
	file_write("events/0000000002.log", &info, EV_TYPES);
	/* no file at all, whatever its name says */
	info = (struct evframe_file){ 4711, 2, EVLOG_FILE_START };
	file_write("events/0000000003.log", &info, EV_TYPES);
	r = evlog_reader_open(sio, EVLOG_FOLDER, NONE);
	ck_assert_int_eq(evlog_reader_next(r, EVLOG_NO_LIMIT, &rec),
	    EVLOG_RECORD);
	ck_assert_int_eq(evlog_reader_next(r, EVLOG_NO_LIMIT, &rec),
	    EVLOG_MISSING);
	ck_assert_uint_eq(evlog_reader_position(r).file, 2);
	ck_assert_int_eq(evlog_reader_next(r, EVLOG_NO_LIMIT, &rec),
	    EVLOG_DAMAGED);
	ck_assert_int_eq(evlog_reader_next(r, EVLOG_NO_LIMIT, &rec),
	    EVLOG_END);
	evlog_reader_close(&r);
}
END_TEST

/* ---- frames ---- */

START_TEST(test_frame_over_its_limit_adds_nothing)
{
	struct buf b;
	size_t start;

	buf_init(&b, (size_t)EVFRAME_PAYLOAD_MAX + 64);
	ck_assert_int_eq(buf_add(&b, "12345678", 8), 0);
	start = evframe_begin(&b);
	ck_assert_ptr_nonnull(buf_reserve(&b, EVFRAME_PAYLOAD_MAX + 8));
	buf_commit(&b, EVFRAME_PAYLOAD_MAX + 8);
	ck_assert_int_eq(evframe_end(&b, start, 1, 1), -1);
	ck_assert_uint_eq(buf_len(&b), 8);
	buf_fini(&b);
	/* no room for what makes it a multiple of 8 */
	buf_init(&b, EVFRAME_HEAD + 1);
	start = evframe_begin(&b);
	ck_assert_int_eq(buf_add(&b, "x", 1), 0);
	ck_assert_int_eq(evframe_end(&b, start, 1, 1), -1);
	ck_assert_uint_eq(buf_len(&b), 0);
	buf_fini(&b);
}
END_TEST

START_TEST(test_frame_senseless_head_is_none)
{
	static const struct {
		uint32_t length;
		uint16_t type, zero;
		int want;
	} t[] = {
		{ 8, 1, 0, 0 }, /* not all of it is there */
		{ EVFRAME_PAYLOAD_MAX, 1, 0, 0 },
		{ EVFRAME_PAYLOAD_MAX + 1, 1, 0, -1 },
		{ 8, 0, 0, -1 },
		{ 8, 1, 1, -1 },
	};
	unsigned char mem[EVFRAME_HEAD];
	struct evframe f;
	size_t need;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct wr w;

		wr_init(&w, mem, sizeof(mem));
		wr_u32(&w, t[i].length);
		wr_u16(&w, t[i].type);
		wr_u16(&w, t[i].zero);
		wr_u32(&w, 0);
		ck_assert_int_eq(evframe_parse(mem, sizeof(mem), 1, &f,
		    &need), t[i].want);
	}
}
END_TEST

START_TEST(test_event_without_a_name)
{
	ck_assert_str_eq(ev_name(EV_ACCEPT), "ACCEPT");
	ck_assert_ptr_null(ev_name(EV_NONE));
	ck_assert_ptr_null(ev_name(EV_TYPES));
}
END_TEST

/* Decodes the first n bytes of this record. */
static bool
cut_decodes(enum ev_type type, const union ev_any *m, size_t n,
    union ev_any *out)
{
	unsigned char mem[1024];
	struct wr w;

	wr_init(&w, mem, sizeof(mem));
	ev_encode(&w, type, m);
	ck_assert(!w.failed && n <= w.n);
	return ev_decode(type, sv_make(mem, w.n - n), out);
}

/* What an earlier version wrote has fewer fields. */
START_TEST(test_event_of_an_earlier_version_is_read)
{
	static const struct sv domain = { "a.test", 6 };
	static const uint32_t idx = 3;
	union ev_any out, attempt = { .attempt = { .id = 5,
	    .esmtp = SV("250 ok"), .pool = SV("p"), .volume_kib = 9 } };
	union ev_any hold = { .hold = { .id = 6, .held = 1, .order = 7,
	    .rcpts = { .array = &idx, .n = 1 } } };
	union ev_any set = { .queue_set = { .queue = SV("a/b"), .paused = 1,
	    .backoff = 1, .backoff_until_us = 1, .max_out = 2,
	    .rate_n = 3, .rate_step_us = 4 } };
	union ev_any accept = { .accept = { .id = 8, .vmta = SV("v"),
	    .domains = { .array = &domain, .n = 1 }, .tell = 3 } };

	ck_assert(cut_decodes(EV_ATTEMPT, &attempt, 0, &out));
	ck_assert(sv_eq(out.attempt.pool, SV("p")));
	ck_assert_uint_eq(out.attempt.volume_kib, 9);
	ck_assert(cut_decodes(EV_ATTEMPT, &attempt, 4, &out));
	ck_assert(sv_eq(out.attempt.pool, SV("p")));
	ck_assert_uint_eq(out.attempt.volume_kib, 0);
	ck_assert(cut_decodes(EV_ATTEMPT, &attempt, 4 + 5, &out));
	ck_assert(sv_eq(out.attempt.esmtp, SV("250 ok")));
	ck_assert_uint_eq(out.attempt.pool.n, 0);
	ck_assert(cut_decodes(EV_HOLD, &hold, 4, &out));
	ck_assert_uint_eq(out.hold.order, 0);
	ck_assert_uint_eq(u32s_get(&out.hold.rcpts, 0), 3);
	ck_assert(cut_decodes(EV_QUEUE_SET, &set, 7 * 8 + 4 + 20, &out));
	ck_assert_uint_eq(out.queue_set.backoff, 1);
	ck_assert_uint_eq(out.queue_set.backoff_until_us, 0);
	ck_assert_uint_eq(out.queue_set.rate_step_us, 0);
	ck_assert(cut_decodes(EV_ACCEPT, &accept, 0, &out));
	ck_assert_uint_eq(out.accept.tell, 3);
	ck_assert(cut_decodes(EV_ACCEPT, &accept, 1, &out));
	ck_assert_uint_eq(out.accept.tell, 0);
	ck_assert_uint_eq(out.accept.domains.n, 1);
	/* not in the middle of a field, nor before one that always was there */
	ck_assert(!cut_decodes(EV_ATTEMPT, &attempt, 3, &out));
	ck_assert(!cut_decodes(EV_ATTEMPT, &attempt, 4 + 4, &out));
	ck_assert(!cut_decodes(EV_ATTEMPT, &attempt, 4 + 5 + 10, &out));
	ck_assert(!cut_decodes(EV_HOLD, &hold, 4 + 8, &out));
	ck_assert(!cut_decodes(EV_QUEUE_SET, &set, 7 * 8 + 4 + 20 + 1, &out));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("evlog");
	TCase *tc = tcase_create("evlog");
	SRunner *sr;
	int bad;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_reader_stops_at_limit_and_goes_on);
	tcase_add_test(tc, test_reader_from_position_reads_the_rest);
	tcase_add_test(tc, test_reader_of_another_log_begins_anew);
	tcase_add_test(tc, test_torn_tail_ends_log_and_next_file_goes_on);
	tcase_add_test(tc, test_damage_before_known_end_is_told);
	tcase_add_test(tc, test_event_without_a_name);
	tcase_add_test(tc, test_event_of_an_earlier_version_is_read);
	tcase_add_test(tc, test_missing_file_is_told);
	tcase_add_test(tc, test_file_behind_a_missing_one_is_not_passed_over);
	tcase_add_test(tc, test_failed_sync_moves_records_to_next_file);
	tcase_add_test(tc, test_full_disk_keeps_records_for_later);
	tcase_add_test(tc,
	    test_rotate_that_failed_is_durable_when_file_is_made);
	tcase_add_test(tc, test_cut_removes_old_files_only);
	tcase_add_test(tc, test_log_each_call_failing_keeps_every_record);
	tcase_add_test(tc, test_open_each_call_failing_leaves_nothing);
	tcase_add_test(tc,
	    test_reader_each_call_failing_passes_nothing_over);
	tcase_add_test(tc, test_reader_of_nothing_is_at_the_end);
	tcase_add_test(tc, test_reader_limit_within_a_record_is_damage);
	tcase_add_test(tc, test_reader_reads_again_what_was_half_written);
	tcase_add_test(tc,
	    test_reader_end_of_a_file_is_in_front_of_the_limit);
	tcase_add_test(tc, test_frame_over_its_limit_adds_nothing);
	tcase_add_test(tc, test_frame_senseless_head_is_none);
	tcase_add_test(tc, test_reader_event_of_no_known_type_is_damage);
	tcase_add_test(tc, test_reader_successor_of_another_file_is_a_gap);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	bad = srunner_ntests_failed(sr);
	srunner_free(sr);
	return bad == 0 ? 0 : 1;
}
