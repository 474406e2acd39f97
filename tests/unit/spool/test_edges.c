/* SPDX-License-Identifier: ISC */
/* The branches of commit and recovery that a life of the spool seldom takes:
 * calls out of turn, damaged files, what is not there, and limits. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/crc32c.h"
#include "common/base/msgid.h"
#include "common/base/rw.h"
#include "common/spool/batch.h"
#include "common/spool/evframe.h"
#include "common/spool/intent.h"
#include "common/spool/live.h"
#include "common/spool/offset.h"
#include "common/spool/recover.h"
#include "common/spool/segtab.h"
#include "common/spool/sio_mem.h"

#define NONE     ((struct evlog_pos){ 0, 0 })
#define SEG_SIZE UINT64_C(65536)

static struct sio *sio;
static uint64_t messages; /* of the checkpoint looked at last */

static void
setup(void)
{
	sio = sio_mem_new();
	ck_assert_int_eq(sio_spool_create(sio), 0);
}

static void
teardown(void)
{
	sio_free(&sio);
}

static void
fault(unsigned ops, uint64_t after, int err)
{
	(void)sio_mem_fault(sio, (struct sio_mem_fault){ .ops = ops,
		.after = after, .count = 1, .err = err });
}

static void
file_write(const char *path, const void *p, size_t n)
{
	struct sio_file *f = sio_open(sio, path,
	    SIO_WRITE | SIO_CREATE | SIO_TRUNC);

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(sio_pwrite(f, p, n, 0), 0);
	sio_close(&f);
}

static void
seg_end_add(struct evlog *l, uint64_t n)
{
	union ev_any any = { .seg_end = { n, 64 } };

	ck_assert_int_eq(evlog_append(l, EV_SEG_END, &any), 0);
}

/* ---- the log ---- */

START_TEST(test_log_calls_out_of_turn_are_refused)
{
	struct evlog *l = evlog_open(sio, NONE);
	struct evlog_sync sync, other;

	seg_end_add(l, 1);
	ck_assert(evlog_sync_begin(l, &sync));
	ck_assert(!evlog_sync_begin(l, &other));
	ck_assert_int_eq(evlog_sync(l), -1);
	ck_assert_int_eq(errno, EBUSY);
	ck_assert_int_eq(evlog_rotate(l), -1);
	ck_assert_int_eq(errno, EBUSY);
	/* a write fails meanwhile: nothing more goes to that file */
	seg_end_add(l, 2);
	fault(SIO_OP_WRITE, 0, EIO);
	ck_assert_int_eq(evlog_write(l), -1);
	ck_assert_int_eq(evlog_write(l), -1);
	ck_assert_int_eq(errno, EIO);
	ck_assert_int_eq(evlog_sync_done(l, &sync, evlog_sync_run(&sync)), 0);
	ck_assert_int_eq(evlog_sync(l), 0);
	ck_assert_uint_eq(evlog_position(l).file, 2);
	evlog_free(&l);
}
END_TEST

START_TEST(test_log_full_in_any_way_stays_in_its_file)
{
	static const int errs[] = { ENOSPC, EDQUOT, ENOMEM };
	struct evlog *l = evlog_open(sio, NONE);

	for (size_t i = 0; i < 3; i++) {
		seg_end_add(l, i);
		fault(SIO_OP_WRITE, 0, errs[i]);
		ck_assert_int_eq(evlog_write(l), -1);
		ck_assert_int_eq(evlog_sync(l), 0);
	}
	ck_assert_uint_eq(evlog_position(l).file, 1);
	ck_assert_uint_eq(evlog_failures(l), 0);
	evlog_free(&l);
}
END_TEST

START_TEST(test_log_full_file_gets_successor_and_cut_tells)
{
	static char name[200];
	struct sv *domains = calloc(100000, sizeof(*domains));
	struct evlog *l = evlog_open(sio, NONE);
	union ev_any any = { .accept = { .id = 1,
		.domains = { .array = domains, .n = 100000 } } };

	memset(name, 'a', sizeof(name));
	for (size_t i = 0; i < 100000; i++)
		domains[i] = sv_make(name, sizeof(name));
	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(evlog_append(l, EV_ACCEPT, &any), 0);
	ck_assert_int_eq(evlog_sync(l), 0);
	ck_assert_uint_eq(evlog_position(l).file, 2);
	fault(SIO_OP_UNLINK, 0, EIO);
	ck_assert_int_eq(evlog_cut(l, 2), -1);
	/* never the file in use */
	ck_assert_int_eq(evlog_cut(l, UINT64_MAX), 0);
	seg_end_add(l, 1);
	ck_assert_int_eq(evlog_sync(l), 0);
	evlog_free(&l);
	free(domains);
}
END_TEST

START_TEST(test_event_over_its_limit_adds_nothing)
{
	static char name[EV_NAME_MAX + 1];
	struct evlog *l = evlog_open(sio, NONE);
	struct checkpoint *c = checkpoint_begin(sio, 1);
	struct evlog_pos at = evlog_position(l);
	union ev_any any = { .queue_set = {
		.queue = { name, sizeof(name) } } };

	ck_assert_int_eq(evlog_append(l, EV_QUEUE_SET, &any), -1);
	ck_assert_int_eq(evlog_pos_cmp(at, evlog_position(l)), 0);
	ck_assert_int_eq(checkpoint_add(c, EV_QUEUE_SET, &any), -1);
	ck_assert_int_eq(errno, EOVERFLOW);
	checkpoint_abort(&c);
	checkpoint_abort(&c); /* none */
	evlog_free(&l);
}
END_TEST

/* ---- checkpoints ---- */

static int
stop_at(void *arg, enum ev_type type, const union ev_any *m)
{
	unsigned *n = arg;

	(void)type;
	(void)m;
	return --*n == 0 ? 7 : 0;
}

START_TEST(test_checkpoint_of_many_blocks_is_read)
{
	struct checkpoint *c = checkpoint_begin(sio, 3);
	unsigned n = UINT32_MAX;

	for (unsigned i = 0; i < 20000; i++) {
		union ev_any any = { .seg_end = { i, 64 } };

		ck_assert_int_eq(checkpoint_add(c, EV_SEG_END, &any), 0);
	}
	ck_assert_int_eq(checkpoint_commit(&c), 0);
	ck_assert(checkpoint_check(sio, 3, &messages));
	ck_assert_int_eq(checkpoint_read(sio, 3, stop_at, &n), 0);
	ck_assert_uint_eq(UINT32_MAX - n, 20000);
	n = 5;
	ck_assert_int_eq(checkpoint_read(sio, 3, stop_at, &n), 7);
}
END_TEST

/* A checkpoint with one frame of that type and a trailer of these numbers. */
static bool
is_whole(unsigned type, uint64_t number, uint64_t count, uint32_t crc_add,
    size_t extra)
{
	unsigned char mem[512];
	struct evframe_file info = { .number = number };
	uint32_t crc;
	size_t start, n;
	struct wr w;
	struct buf b;

	buf_init(&b, sizeof(mem));
	evframe_header_make(mem, EVFRAME_CHECKPOINT, &info);
	start = evframe_begin(&b);
	wr_init_buf(&w, &b);
	wr_u64(&w, 1);
	wr_u64(&w, 64);
	ck_assert_int_eq(evframe_end(&b, start, number, type), 0);
	crc = crc32c(0, buf_data(&b), EVFRAME_HEAD) + crc_add;
	start = evframe_begin(&b);
	wr_init_buf(&w, &b);
	wr_u64(&w, count);
	wr_u32(&w, crc);
	for (size_t i = 0; i < extra; i++)
		wr_u8(&w, 0);
	ck_assert_int_eq(evframe_end(&b, start, number, 0xffff), 0);
	n = buf_len(&b);
	memcpy(mem + EVFRAME_FILE_HEADER, buf_data(&b), n);
	buf_fini(&b);
	file_write("checkpoint/0000000009", mem, EVFRAME_FILE_HEADER + n);
	return checkpoint_check(sio, 9, &messages);
}

START_TEST(test_checkpoint_not_whole_is_none)
{
	unsigned char head[EVFRAME_FILE_HEADER] = { 0 };
	struct sio_file *f;

	ck_assert(is_whole(EV_SEG_END, 9, 1, 0, 0));
	ck_assert(!is_whole(EV_SEG_END, 8, 1, 0, 0));  /* another's */
	ck_assert(!is_whole(EV_SEG_END, 9, 2, 0, 0));  /* records */
	ck_assert(!is_whole(EV_SEG_END, 9, 1, 1, 0));  /* their CRC */
	ck_assert(!is_whole(EV_SEG_END, 9, 1, 0, 1));  /* left over */
	ck_assert(!is_whole(4711, 9, 1, 0, 0));        /* no such type */
	file_write("checkpoint/0000000009", head, 8);
	ck_assert(!checkpoint_check(sio, 9, &messages));
	file_write("checkpoint/0000000009", head, sizeof(head));
	ck_assert(!checkpoint_check(sio, 9, &messages));
	ck_assert(!checkpoint_check(sio, 10, &messages));
	ck_assert(is_whole(EV_SEG_END, 9, 1, 0, 0));
	f = sio_open(sio, "checkpoint/0000000009", SIO_WRITE);
	ck_assert_int_eq(sio_ftruncate(f, EVFRAME_FILE_HEADER + 40), 0);
	sio_close(&f);
	ck_assert(!checkpoint_check(sio, 9, &messages));
}
END_TEST

START_TEST(test_checkpoint_commit_failing_leaves_nothing)
{
	static const unsigned ops[] = { SIO_OP_WRITE, SIO_OP_SYNC,
		SIO_OP_RENAME, SIO_OP_SYNC_DIR };
	uint64_t *list;
	size_t n;

	for (size_t i = 0; i < 3; i++) {
		struct checkpoint *c = checkpoint_begin(sio, 4);

		fault(ops[i], 0, EIO);
		ck_assert_int_eq(checkpoint_commit(&c), -1);
		ck_assert_ptr_null(c);
	}
	ck_assert_int_eq(sio_numbers(sio, "checkpoint", ".tmp", &list, &n), 0);
	ck_assert_uint_eq(n, 0);
	free(list);
	file_write("checkpoint/0000000001.tmp", "x", 1);
	fault(SIO_OP_UNLINK, 0, EIO);
	ck_assert_int_eq(checkpoint_cut(sio, 4), -1);
	ck_assert_int_eq(checkpoint_cut(sio, 4), 0);
	fault(SIO_OP_LIST, 1, EIO);
	ck_assert_int_eq(checkpoint_cut(sio, 4), -1);
}
END_TEST

/* ---- segments and records ---- */

static uint64_t
parts_length(size_t env, size_t head, size_t body, uint64_t large)
{
	struct iovec iov = { NULL, body };
	struct record_parts p = { .env = { "", env }, .head = { "", head },
		.body = &iov, .nbody = 1, .large_id = large };

	return record_length(&p);
}

START_TEST(test_record_over_a_limit_has_no_length)
{
	unsigned char header[RECORD_HEADER];
	struct record_parts p = { .env = { "", RECORD_ENV_MAX + 1 } };
	struct record_parts large = { .large_id = 1 };
	struct iovec iov[8];
	struct batch b;

	for (int r = RECORD_OK; r <= RECORD_ERROR; r++)
		ck_assert_uint_gt(strlen(record_result_text(
		    (enum record_result)r)), 0);
	ck_assert_uint_eq(parts_length(0, 0, 0, 0), RECORD_HEADER);
	ck_assert_uint_eq(parts_length(RECORD_ENV_MAX + 1, 0, 0, 0), 0);
	ck_assert_uint_eq(parts_length(0, RECORD_HEAD_MAX + 1, 0, 0), 0);
	ck_assert_uint_eq(parts_length(0, 0, RECORD_BODY_MAX + 1, 0), 0);
	ck_assert_uint_eq(parts_length(0, 0, 1, 1), 0);
	large.large_len = RECORD_LARGE_MAX;
	ck_assert_uint_eq(record_length(&large), RECORD_HEADER);
	large.large_len++;
	ck_assert_uint_eq(record_length(&large), 0);
	ck_assert_uint_eq(record_build(&p, header, iov), 0);
	batch_init(&b, NULL, 64);
	ck_assert_uint_eq(batch_add(&b, &p, header), 0);
	batch_fini(&b);
}
END_TEST

struct told {
	unsigned records, damages;
	int stop;
};

static int
on_record(void *arg, const struct record *r)
{
	struct told *t = arg;

	(void)r;
	t->records++;
	return t->stop;
}

/* A record of that body at offset; its length. */
static uint64_t
record_put(struct sio_file *f, uint64_t offset, size_t body)
{
	unsigned char header[RECORD_HEADER], *mem = calloc(1, body + 1);
	struct iovec iov = { mem, body };
	struct record_parts p = { .segment = 5, .id = msgid_make(5, offset),
		.body = &iov, .nbody = 1 };
	struct batch b;
	uint64_t n;

	batch_init(&b, f, offset);
	n = batch_add(&b, &p, header);
	ck_assert_int_eq(batch_write(&b), 0);
	batch_fini(&b);
	free(mem);
	return n;
}

static uint64_t
record_flags_put(struct sio_file *f, unsigned flags)
{
	unsigned char header[RECORD_HEADER];
	struct record_parts p = { .segment = 5, .id = 1,
		.flags = (uint8_t)flags };
	struct batch b;
	uint64_t n;

	batch_init(&b, f, SEGMENT_HEADER);
	n = batch_add(&b, &p, header);
	ck_assert_int_eq(batch_write(&b), 0);
	batch_fini(&b);
	return n;
}

START_TEST(test_scan_of_large_and_damaged_records)
{
	struct segment_scan_ops ops = { .on_record = on_record };
	struct sio_file *f = sio_open(sio, "segments/0000000005.seg",
	    SIO_READ | SIO_WRITE | SIO_CREATE);
	struct told t = { .records = 0 };
	uint64_t a, b, end;
	struct record r;
	struct buf buf;

	a = record_put(f, SEGMENT_HEADER, 3u << 20);
	b = record_put(f, SEGMENT_HEADER + a, 100);
	ck_assert_int_eq(segment_scan(f, 5, SEGMENT_HEADER, UINT64_MAX, &ops,
	    &t, &end), 0);
	ck_assert_uint_eq(t.records, 2);
	ck_assert_uint_eq(end, SEGMENT_HEADER + a + b);
	/* damage with nobody to tell */
	ck_assert(sio_mem_flip(sio, "segments/0000000005.seg",
	    SEGMENT_HEADER + 5000));
	ck_assert_int_eq(segment_scan(f, 5, SEGMENT_HEADER, UINT64_MAX, &ops,
	    &t, &end), 0);
	ck_assert_uint_eq(t.records, 3);
	t.stop = 9;
	ck_assert_int_eq(segment_scan(f, 5, SEGMENT_HEADER, UINT64_MAX, &ops,
	    &t, &end), 9);
	for (uint64_t n = 0; n < 2; n++) {
		fault(SIO_OP_READ, n, EIO);
		ck_assert_int_eq(segment_scan(f, 5, SEGMENT_HEADER,
		    UINT64_MAX, &ops, &t, &end), -1);
	}
	buf_init(&buf, RECORD_MAX);
	ck_assert_int_eq(record_read(f, 5, SEGMENT_HEADER + a, b - 8, &buf,
	    &r), RECORD_SHORT);
	ck_assert_int_eq(record_read(f, 5, SEGMENT_HEADER, 8, &buf, &r),
	    RECORD_NONE);
	ck_assert_int_eq(record_read(f, 5, SEGMENT_HEADER, UINT64_MAX, &buf,
	    &r), RECORD_NONE);
	ck_assert_int_eq(record_parse_header(buf_data(&buf), 8, 5, 64, &r),
	    RECORD_NONE);
	ck_assert_uint_gt(record_flags_put(f, 0x80), 0);
	ck_assert_int_eq(record_read(f, 5, SEGMENT_HEADER, RECORD_HEADER,
	    &buf, &r), RECORD_NONE);
	buf_fini(&buf);
	sio_close(&f);
}
END_TEST

START_TEST(test_batch_of_many_large_files)
{
	struct sio_file *f = sio_open(sio, "large/x", SIO_WRITE | SIO_CREATE);
	struct batch b;

	batch_init(&b, f, 64);
	for (unsigned i = 0; i < 9; i++)
		batch_large(&b, f);
	ck_assert_int_eq(batch_write(&b), 0);
	batch_fini(&b);
	sio_close(&f);
}
END_TEST

/* ---- the table of segments ---- */

static struct segtab *
tab_open(unsigned free_max)
{
	struct segtab_conf conf = { .segment_size = SEG_SIZE,
		.free_max = free_max, .epoch = 3 };
	struct segtab *t = segtab_open(sio, &conf);

	ck_assert_ptr_nonnull(t);
	return t;
}

START_TEST(test_segtab_of_what_is_not_there)
{
	struct segtab *t = tab_open(1);
	struct evlog_pos at = { 1, 100 };
	struct seg_info info;
	union ev_any any = { .seg_end = { 99, 64 } };

	ck_assert(!segtab_ref(t, 99, 64, 80));
	ck_assert(!segtab_info(t, 99, &info));
	ck_assert_ptr_null(segtab_reader(t, 99));
	ck_assert(!segtab_large_ref(t, 99));
	segtab_unref(t, 99, 80, at);
	segtab_known(t, 99, 80);
	segtab_seal(t, 99, 80, at);
	segtab_on_event(t, EV_SEG_END, &any);
	segtab_on_event(t, EV_START, &any);
	segtab_skipped_set(t, 99, true);
	segtab_large_owner_set(t, 99, 1);
	segtab_large_unref(t, 99, at);
	segtab_large_drop(t, 99, at);
	ck_assert_int_eq(segtab_release(t, at), 0);
	ck_assert(!segtab_info(t, 99, &info));
	segtab_free(&t);
	segtab_free(&t);
}
END_TEST

START_TEST(test_segtab_life_of_a_segment)
{
	struct evlog_pos one = { 1, 100 }, two = { 1, 200 };
	struct segtab *t = tab_open(1);
	struct seg_info info;
	uint64_t n, other;

	ck_assert_int_eq(segtab_grant(t, 0, &n), 0);
	ck_assert_uint_eq(segtab_segment_size(t), SEG_SIZE);
	ck_assert(segtab_ref(t, n, 64, 80));
	segtab_seal(t, n, 144, two);
	segtab_seal(t, n, 144, one);
	segtab_recovered(t, one);
	segtab_unref(t, n, 1000, one); /* more than there is */
	segtab_unref(t, n, 80, two);   /* once too often */
	ck_assert(segtab_info(t, n, &info));
	ck_assert_int_eq(info.state, SEG_EMPTY);
	segtab_seal(t, n, 144, two);
	/* a message that was very late */
	ck_assert(segtab_ref(t, n, 144, 80));
	ck_assert(segtab_info(t, n, &info));
	ck_assert_int_eq(info.state, SEG_SEALED);
	segtab_unref(t, n, 80, two);
	ck_assert_int_eq(segtab_release(t, one), 0);
	fault(SIO_OP_RENAME, 0, EIO);
	ck_assert_int_eq(segtab_release(t, two), -1);
	fault(SIO_OP_SYNC_DIR, 0, EIO);
	ck_assert_int_eq(segtab_release(t, two), -1);
	ck_assert(!segtab_ref(t, n, 64, 80));
	ck_assert_ptr_null(segtab_reader(t, n));
	ck_assert_int_eq(segtab_release(t, two), 1);
	ck_assert_int_eq(segtab_grant(t, 0, &other), 0);
	ck_assert_uint_gt(other, n);
	segtab_free(&t);
	/* sealed by the log, and its messages not counted yet */
	t = tab_open(1);
	for (int i = 0; i < 2; i++)
		segtab_on_event(t, EV_SEG_END,
		    &(union ev_any){ .seg_end = { other, 64 } });
	ck_assert(!segtab_compact_pick(t, &n));
	segtab_recovered(t, two);
	ck_assert_int_eq(segtab_release(t, two), 1);
	ck_assert_uint_eq(segtab_free_count(t), 1);
	ck_assert_ptr_null(segtab_fill_begin(t));
	ck_assert_int_eq(errno, 0);
	segtab_free(&t);
}
END_TEST

static bool
large_stays(struct segtab *t, uint64_t id)
{
	struct sio_file *f;
	bool there;

	ck_assert_int_eq(segtab_large_sweep(t), 0);
	f = segtab_large_open(t, id);
	there = f != NULL;
	sio_close(&f);
	return there;
}

/* A start could not read it: messages are to be found there yet, and the bodies
 * that they name. */
START_TEST(test_segtab_skipped_segment_is_kept)
{
	struct evlog_pos at = { 1, 100 };
	struct segtab *t = tab_open(1);
	struct seg_info info;
	struct sio_file *f;
	uint64_t n, large, pick;

	f = segtab_large_create(t, &large);
	sio_close(&f);
	segtab_free(&t);
	t = tab_open(2);
	ck_assert_int_eq(segtab_grant(t, 0, &n), 0);
	segtab_skipped_set(t, n, true);
	segtab_seal(t, n, SEG_SIZE, at);
	ck_assert_int_eq(segtab_release(t, at), 0);
	/* two are found there, and one ends */
	ck_assert(segtab_ref(t, n, 64, 80));
	ck_assert(segtab_ref(t, n, 144, 80));
	segtab_unref(t, n, 80, at);
	ck_assert(!segtab_compact_pick(t, &pick));
	segtab_unref(t, n, 80, at);
	ck_assert_int_eq(segtab_release(t, at), 0);
	ck_assert(segtab_info(t, n, &info));
	ck_assert_int_eq(info.state, SEG_SEALED);
	ck_assert(large_stays(t, large));
	segtab_skipped_set(t, n, false);
	ck_assert(!large_stays(t, large));
	ck_assert_int_eq(segtab_release(t, at), 1);
	ck_assert(!segtab_info(t, n, &info));
	segtab_free(&t);
}
END_TEST

START_TEST(test_segtab_many_segments_are_trimmed)
{
	struct evlog_pos at = { 1, 100 };
	struct segtab *t = tab_open(2);
	uint64_t n[20];
	size_t walk = 0;
	struct seg_info info;
	struct sio_file *f;

	for (size_t i = 0; i < 20; i++)
		ck_assert_int_eq(segtab_grant(t, 0, &n[i]), 0);
	while (segtab_next(t, &walk, &info))
		segtab_seal(t, info.number, 64, at);
	f = segtab_reader(t, n[3]);
	ck_assert_ptr_nonnull(f);
	ck_assert_ptr_eq(segtab_reader(t, n[3]), f);
	fault(SIO_OP_RENAME, 0, EIO);
	ck_assert_int_eq(segtab_release(t, at), -1);
	/* a few at a time */
	ck_assert_uint_eq(segtab_free_count(t), 11);
	ck_assert_int_eq(segtab_release(t, at), 1);
	ck_assert_uint_eq(segtab_free_count(t), 4);
	ck_assert_int_eq(segtab_release(t, at), 0);
	ck_assert_uint_eq(segtab_free_count(t), 2);
	segtab_free(&t);
	/* names that are not ours */
	file_write("segments/free.x", "x", 1);
	file_write("segments/other", "x", 1);
	t = tab_open(1);
	ck_assert_uint_eq(segtab_free_count(t), 2);
	segtab_free(&t);
}
END_TEST

static int
count_name(const char *name, void *arg)
{
	size_t *n = arg;

	(void)name;
	++*n;
	return 0;
}

static size_t
files_in(const char *folder)
{
	size_t n = 0;

	ck_assert_int_eq(sio_list(sio, folder, count_name, &n), 0);
	return n;
}

/* What cannot be granted leaves no file behind, but for one with the highest
 * number: a start must see that. */
START_TEST(test_segtab_failed_grants_leave_no_files)
{
	static const struct { unsigned op; uint64_t nth; } calls[] = {
		{ SIO_OP_WRITE, 0 }, { SIO_OP_SYNC, 0 }, { SIO_OP_RENAME, 0 },
		{ SIO_OP_SYNC_DIR, 0 } };
	struct evlog_pos at = { 1, 100 };
	struct segtab *t = tab_open(9);
	struct seg_info info;
	uint64_t n[5], got;
	size_t place = 0;

	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(segtab_grant(t, 0, &n[i]), 0);
	for (int i = 0; i < 4; i++)
		segtab_seal(t, n[i], 64, at);
	ck_assert_int_eq(segtab_release(t, at), 4);
	for (size_t i = 0; i < 4; i++) {
		fault(calls[i].op, calls[i].nth, EIO);
		ck_assert_int_eq(segtab_grant(t, 0, &got), -1);
		ck_assert_uint_eq(segtab_free_count(t), 3 - i);
		ck_assert_uint_eq(files_in(SEGTAB_FOLDER), 4 - i);
	}
	segtab_seal(t, n[4], 64, at);
	ck_assert_int_eq(segtab_release(t, at), 1);
	fault(SIO_OP_SYNC_DIR, 0, EIO);
	ck_assert_int_eq(segtab_grant(t, 0, &got), -1);
	ck_assert_uint_eq(files_in(SEGTAB_FOLDER), 1);
	/* one that was made for it was never granted */
	for (size_t i = 0; i < 4; i++) {
		/* of the writes, behind those that make it */
		fault(calls[i].op, i == 0 ? 2 : 0, EIO);
		ck_assert_int_eq(segtab_grant(t, 0, &got), -1);
		ck_assert_uint_eq(files_in(SEGTAB_FOLDER), 1);
	}
	segtab_free(&t);
	t = tab_open(9);
	ck_assert_int_eq(segtab_grant(t, 0, &got), 0);
	ck_assert_uint_gt(got, n[4]);
	/* a name that is kept goes with the next grant */
	while (segtab_next(t, &place, &info))
		segtab_seal(t, info.number, 64, at);
	ck_assert_int_eq(segtab_release(t, at), 2);
	fault(SIO_OP_SYNC_DIR, 0, EIO);
	ck_assert_int_eq(segtab_grant(t, 0, &got), -1);
	fault(SIO_OP_SYNC_DIR, 0, EIO);
	ck_assert_int_eq(segtab_grant(t, 0, &got), -1);
	ck_assert_int_eq(segtab_grant(t, 0, &got), 0);
	ck_assert_uint_eq(files_in(SEGTAB_FOLDER), 1);
	segtab_free(&t);
}
END_TEST

/* A free file of a higher number is there: that of the grant that failed says
 * nothing to a start. */
START_TEST(test_segtab_failed_grant_of_a_lower_number_leaves_no_file)
{
	struct evlog_pos at = { 1, 100 };
	struct segtab *t = tab_open(9);
	uint64_t low, high, got;

	ck_assert_int_eq(segtab_grant(t, 0, &low), 0);
	ck_assert_int_eq(segtab_grant(t, 0, &high), 0);
	segtab_seal(t, high, 64, at);
	ck_assert_int_eq(segtab_release(t, at), 1);
	segtab_seal(t, low, 64, at);
	ck_assert_int_eq(segtab_release(t, at), 1);
	fault(SIO_OP_RENAME, 0, EIO);
	ck_assert_int_eq(segtab_grant(t, 0, &got), -1);
	ck_assert_uint_eq(segtab_free_count(t), 1);
	ck_assert_uint_eq(files_in(SEGTAB_FOLDER), 1);
	segtab_free(&t);
	t = tab_open(9);
	ck_assert_int_eq(segtab_grant(t, 0, &got), 0);
	ck_assert_uint_gt(got, high);
	segtab_free(&t);
}
END_TEST

START_TEST(test_segtab_disk_errors_are_told)
{
	struct segtab_conf conf = { .segment_size = (1u << 20) + 8 };
	struct evlog_pos at = { 1, 100 };
	struct segtab *t;
	struct segtab_fill *fill;
	struct sio_file *f;
	uint64_t n, large, kept;
	char path[SIO_PATH_MAX];
	struct seg_info info;
	size_t place = 0;

	for (uint64_t i = 0; i < 2; i++) {
		fault(SIO_OP_LIST, i, EIO);
		ck_assert_ptr_null(segtab_open(sio, &conf));
	}
	t = segtab_open(sio, &conf);
	segtab_epoch_set(t, 4);
	for (uint64_t i = 0; i < 2; i++) {
		fault(SIO_OP_WRITE, i, ENOSPC);
		ck_assert_int_eq(segtab_grant(t, 0, &n), -1);
	}
	fault(SIO_OP_WRITE, 1, EOPNOTSUPP); /* then without reserving */
	ck_assert_int_eq(segtab_grant(t, 0, &n), 0);
	fill = segtab_fill_begin(t);
	ck_assert_ptr_nonnull(fill);
	ck_assert_ptr_null(segtab_fill_begin(t));
	segtab_fill_done(t, &fill, segtab_fill_run(fill));
	fill = segtab_fill_begin(t);
	fault(SIO_OP_WRITE, 1, ENOSPC);
	segtab_fill_done(t, &fill, segtab_fill_run(fill));
	ck_assert_uint_eq(segtab_free_count(t), 1);
	f = segtab_large_create(t, &large);
	sio_close(&f);
	f = segtab_large_create(t, &kept);
	sio_close(&f);
	ck_assert(!segtab_large_ref(t, 1));
	segtab_large_unref(t, kept, at); /* not in use */
	ck_assert(segtab_large_ref(t, kept));
	ck_assert(segtab_large_ref(t, kept));
	segtab_large_unref(t, kept, at);
	segtab_large_drop(t, kept, at);
	segtab_large_drop(t, large, at);
	segtab_large_drop(t, large, at);
	fault(SIO_OP_UNLINK, 0, EIO);
	ck_assert_int_eq(segtab_release(t, at), -1);
	segtab_free(&t);
	t = segtab_open(sio, &conf);
	f = segtab_large_open(t, large);
	ck_assert_ptr_nonnull(f);
	sio_close(&f);
	segtab_epoch_set(t, 5);
	f = segtab_large_create(t, &n);
	sio_close(&f);
	/* somebody removed it */
	snprintf(path, sizeof(path), "large/%020llu", (unsigned long long)n);
	ck_assert_int_eq(sio_unlink(sio, path), 0);
	segtab_large_drop(t, n, at);
	ck_assert_int_eq(segtab_release(t, at), 0);
	ck_assert(segtab_large_ref(t, kept));
	f = segtab_large_create(t, &n);
	sio_close(&f);
	/* a segment that is not read to its end may name it */
	ck_assert_int_eq(segtab_large_sweep(t), 0);
	f = segtab_large_open(t, large);
	ck_assert_ptr_nonnull(f);
	sio_close(&f);
	while (segtab_next(t, &place, &info))
		segtab_seal(t, info.number, SEGMENT_HEADER, at);
	ck_assert_int_eq(segtab_large_sweep(t), 0);
	ck_assert_ptr_null(segtab_large_open(t, large));
	f = segtab_large_open(t, n); /* of this start: somebody has it */
	ck_assert_ptr_nonnull(f);
	sio_close(&f);
	ck_assert(segtab_space_ok(t, 1));
	sio_mem_space(sio, 10);
	ck_assert(!segtab_space_ok(t, 11));
	fault(SIO_OP_LIST, 0, EIO);
	ck_assert(!segtab_space_ok(t, 1));
	segtab_free(&t);
}
END_TEST

/* ---- live, offset, intent ---- */

START_TEST(test_live_bears_events_of_nobody)
{
	struct live *l = live_new();
	uint32_t rcpts[] = { 0, 0, 7 };
	struct sv domain = SV("x.test");
	union ev_any any = { .bounced = { .id = 1,
		.rcpts = { .array = rcpts, .n = 3 } } };

	live_event(l, EV_BOUNCED, &any);
	any.move = (struct ev_move){ .id = 1 };
	live_event(l, EV_MOVE, &any);
	any.accept = (struct ev_accept){ .id = 1,
		.domains = { .array = &domain, .n = 1 } };
	live_event(l, EV_ACCEPT, &any);
	live_event(l, EV_ACCEPT, &any);
	ck_assert_uint_eq(live_count(l), 1);
	any.attempt = (struct ev_attempt){ .id = 1, .rcpt_idx = 7 };
	live_event(l, EV_ATTEMPT, &any);
	ck_assert_uint_eq(live_count(l), 1);
	any.bounced = (struct ev_bounced){ .id = 1,
		.rcpts = { .array = rcpts, .n = 3 } };
	live_event(l, EV_BOUNCED, &any);
	ck_assert_uint_eq(live_count(l), 0);
	live_free(&l);
	live_free(&l);
}
END_TEST

START_TEST(test_offset_senseless_slot_is_none)
{
	static char big[OFFSET_SLOT_SIZE];
	unsigned char mem[64] = { 0x50, 0x4f, 0x46, 0x46, 0xff, 0xff, 0xff };
	struct offset_store o;
	struct evlog_pos pos;
	struct buf b;

	buf_init(&b, OFFSET_BYTES_MAX);
	for (unsigned i = 0; i < 2; i++) {
		file_write("acct", mem, sizeof(mem));
		ck_assert_int_eq(offset_open(&o, sio, "acct", &pos, &b), 0);
		ck_assert_uint_eq(pos.file, 0);
		offset_close(&o);
		memset(mem + 4, 0, 4); /* too short, then */
	}
	ck_assert_int_eq(offset_open(&o, sio, "acct", &pos, &b), 0);
	ck_assert_int_eq(offset_save(&o, (struct evlog_pos){ 1, 40 },
	    SV("x")), 0);
	ck_assert_int_eq(offset_save(&o, (struct evlog_pos){ 1, 40 },
	    sv_make(big, sizeof(big))), -1);
	offset_close(&o);
	for (unsigned i = 0; i < 4; i++) {
		static const unsigned ops[] = { SIO_OP_SYNC_DIR, SIO_OP_SYNC,
			SIO_OP_READ, SIO_OP_WRITE };

		fault(ops[i], 0, EIO);
		ck_assert_int_eq(offset_open(&o, sio, "acct", &pos, &b), -1);
	}
	fault(SIO_OP_CREATE, 0, EIO);
	ck_assert_int_eq(offset_open(&o, sio, "acct", &pos, &b), -1);
	buf_fini(&b);
}
END_TEST

START_TEST(test_intent_map_of_nothing_is_refused)
{
	struct intent_map m;
	int fd;

	ck_assert_int_eq(intent_map_open(&m, -1, 0), -1);
	ck_assert_int_eq(intent_map_open(&m, -1, INTENT_NONE), -1);
	ck_assert_int_eq(intent_map_open(&m, -1, 4), -1);
	fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	/* not to be written */
	ck_assert_int_eq(intent_map_open(&m, fd, 4), -1);
	close(fd);
	intent_map_close(&m);
}
END_TEST

/* ---- recovery ---- */

static void
on_event(void *arg, enum ev_type type, const union ev_any *m,
    struct evlog_pos at)
{
	(void)arg;
	(void)type;
	(void)m;
	(void)at;
}

static void
on_found(void *arg, const struct record *r)
{
	(void)r;
	++*(unsigned *)arg;
}

/* The log is lost but for its last file, which names one of two messages;
 * nobody wants to hear of it. */
START_TEST(test_recovery_after_damage_finds_what_the_log_does_not_name)
{
	static const struct recover_ops ops = { .on_event = on_event,
		.on_found = on_found };
	struct evlog *l = evlog_open(sio, NONE);
	struct segtab *t = tab_open(1);
	struct recover_stats st;
	struct sv domain = SV("x.test");
	union ev_any any;
	struct sio_file *f;
	unsigned found = 0;
	uint64_t n, length;

	do
		ck_assert_int_eq(segtab_grant(t, 0, &n), 0);
	while (n < 5);
	f = segtab_writer_open(t, n);
	ck_assert_uint_ge(n, 5);
	sio_close(&f);
	f = sio_open(sio, "segments/0000000005.seg",
	    SIO_READ | SIO_WRITE | SIO_CREATE);
	length = record_put(f, SEGMENT_HEADER, 10);
	(void)record_put(f, SEGMENT_HEADER + length, 10);
	sio_close(&f);
	ck_assert_int_eq(evlog_rotate(l), 0);
	any.accept = (struct ev_accept){ .id = msgid_make(5, SEGMENT_HEADER),
		.segment = 5, .offset = SEGMENT_HEADER, .length = length,
		.domains = { .array = &domain, .n = 1 } };
	ck_assert_int_eq(evlog_append(l, EV_ACCEPT, &any), 0);
	ck_assert_int_eq(evlog_sync(l), 0);
	ck_assert_int_eq(sio_unlink(sio, "events/0000000001.log"), 0);
	ck_assert_int_eq(spool_recover(sio, &ops, &found, &st), 0);
	ck_assert(st.rescanned);
	ck_assert_uint_eq(found, 1);
	/* nor the file that a checkpoint begins with */
	ck_assert(is_whole(EV_SEG_END, 9, 1, 0, 0));
	ck_assert_int_eq(spool_recover(sio, &ops, &found, &st), 0);
	ck_assert(st.rescanned);
	ck_assert_uint_eq(st.checkpoint, 9);
	evlog_free(&l);
	segtab_free(&t);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("edges");
	TCase *tc = tcase_create("edges");
	SRunner *sr;
	int bad;

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_log_calls_out_of_turn_are_refused);
	tcase_add_test(tc, test_log_full_in_any_way_stays_in_its_file);
	tcase_add_test(tc, test_log_full_file_gets_successor_and_cut_tells);
	tcase_add_test(tc, test_event_over_its_limit_adds_nothing);
	tcase_add_test(tc, test_checkpoint_of_many_blocks_is_read);
	tcase_add_test(tc, test_checkpoint_not_whole_is_none);
	tcase_add_test(tc, test_checkpoint_commit_failing_leaves_nothing);
	tcase_add_test(tc, test_record_over_a_limit_has_no_length);
	tcase_add_test(tc, test_scan_of_large_and_damaged_records);
	tcase_add_test(tc, test_batch_of_many_large_files);
	tcase_add_test(tc, test_segtab_of_what_is_not_there);
	tcase_add_test(tc, test_segtab_life_of_a_segment);
	tcase_add_test(tc, test_segtab_skipped_segment_is_kept);
	tcase_add_test(tc, test_segtab_many_segments_are_trimmed);
	tcase_add_test(tc, test_segtab_failed_grants_leave_no_files);
	tcase_add_test(tc,
	    test_segtab_failed_grant_of_a_lower_number_leaves_no_file);
	tcase_add_test(tc, test_segtab_disk_errors_are_told);
	tcase_add_test(tc, test_live_bears_events_of_nobody);
	tcase_add_test(tc, test_offset_senseless_slot_is_none);
	tcase_add_test(tc, test_intent_map_of_nothing_is_refused);
	tcase_add_test(tc,
	    test_recovery_after_damage_finds_what_the_log_does_not_name);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	bad = srunner_ntests_failed(sr);
	srunner_free(sr);
	return bad == 0 ? 0 : 1;
}
