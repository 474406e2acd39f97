/* SPDX-License-Identifier: ISC */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/spool/offset.h"

#define TORN 200 /* bytes of a slot that a cut-off write may have left */

static char dir[64];
static struct sio *sio;
static int fd;

static void
setup(void)
{
	int top;

	snprintf(dir, sizeof(dir), "/tmp/pinnace-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	top = open(dir, O_RDONLY | O_DIRECTORY);
	ck_assert_int_ge(top, 0);
	sio = sio_os_new(top);
	fd = openat(top, "acct", O_RDWR | O_CREAT, 0600);
	ck_assert_int_ge(fd, 0);
}

static void
teardown(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/acct", dir);
	unlink(path);
	rmdir(dir);
	sio_free(&sio);
}

/* What a new process finds. */
static struct evlog_pos
found(struct sv bytes)
{
	struct offset_store o;
	struct evlog_pos pos;
	struct buf b;

	buf_init(&b, OFFSET_SLOT_SIZE);
	ck_assert_int_eq(offset_open(&o, sio, "acct", &pos, &b), 0);
	ck_assert(pos.file == 0 || sv_eq(buf_sv(&b), bytes));
	offset_close(&o);
	buf_fini(&b);
	return pos;
}

static void
save(uint64_t n, struct sv bytes)
{
	struct offset_store o;
	struct evlog_pos pos;
	struct buf b;

	buf_init(&b, OFFSET_SLOT_SIZE);
	ck_assert_int_eq(offset_open(&o, sio, "acct", &pos, &b), 0);
	ck_assert_int_eq(offset_save(&o, (struct evlog_pos){ n, n * 10 },
	    bytes), 0);
	offset_close(&o);
	buf_fini(&b);
}

START_TEST(test_open_nothing_saved_none)
{
	ck_assert_uint_eq(found(SV("")).file, 0);
	ck_assert_int_eq(pwrite(fd, "rubbish that is no slot", 23, 0), 23);
	ck_assert_uint_eq(found(SV("")).file, 0);
}
END_TEST

START_TEST(test_save_many_newest_found)
{
	for (uint64_t n = 1; n < 10; n++) {
		save(n, SV("state"));
		ck_assert_uint_eq(found(SV("state")).file, n);
		ck_assert_uint_eq(found(SV("state")).offset, n * 10);
	}
}
END_TEST

START_TEST(test_save_torn_at_any_byte_old_or_new_found)
{
	struct evlog_pos pos;
	char slots[2][TORN];

	/* slot 0 holds 1, slot 1 holds 2; 3 goes over 1 */
	save(1, SV("state of mine"));
	save(2, SV("state of mine"));
	ck_assert_int_eq(pread(fd, slots[0], TORN, 0), TORN);
	save(3, SV("state of mine"));
	ck_assert_int_eq(pread(fd, slots[1], TORN, 0), TORN);
	for (size_t n = 0; n <= TORN; n++) {
		ck_assert_int_eq(pwrite(fd, slots[0], TORN, 0), TORN);
		ck_assert_int_eq(pwrite(fd, slots[1], n, 0), (ssize_t)n);
		pos = found(SV("state of mine"));
		ck_assert(pos.file == 2 || pos.file == 3);
		ck_assert_uint_eq(pos.offset, pos.file * 10);
	}
	ck_assert_uint_eq(pos.file, 3);
}
END_TEST

START_TEST(test_open_flipped_bit_other_slot_found)
{
	save(1, SV("x"));
	save(2, SV("x"));
	for (off_t at = 0; at < 8 + 24 + 1 + 4; at++) {
		unsigned char c, bad;

		ck_assert_int_eq(pread(fd, &c, 1, OFFSET_SLOT_SIZE + at), 1);
		bad = c ^ 1;
		ck_assert_int_eq(pwrite(fd, &bad, 1, OFFSET_SLOT_SIZE + at),
		    1);
		ck_assert_uint_eq(found(SV("x")).file, 1);
		ck_assert_int_eq(pwrite(fd, &c, 1, OFFSET_SLOT_SIZE + at), 1);
	}
	ck_assert_uint_eq(found(SV("x")).file, 2);
}
END_TEST

START_TEST(test_save_too_many_bytes_refused)
{
	static char big[OFFSET_BYTES_MAX + 1];
	struct offset_store o;
	struct evlog_pos pos;
	struct buf b;

	buf_init(&b, OFFSET_SLOT_SIZE);
	save(1, SV("y"));
	ck_assert_int_eq(offset_open(&o, sio, "acct", &pos, &b), 0);
	ck_assert_int_eq(offset_save(&o, (struct evlog_pos){ 2, 2 },
	    sv_make(big, sizeof(big))), -1);
	ck_assert_int_eq(offset_save(&o, (struct evlog_pos){ 2, 20 },
	    sv_make(big, sizeof(big) - 1)), 0);
	offset_close(&o);
	buf_fini(&b);
	ck_assert_uint_eq(found(sv_make(big, sizeof(big) - 1)).file, 2);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("offset");
	TCase *t = tcase_create("offset");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_open_nothing_saved_none);
	tcase_add_test(t, test_save_many_newest_found);
	tcase_add_test(t, test_save_torn_at_any_byte_old_or_new_found);
	tcase_add_test(t, test_open_flipped_bit_other_slot_found);
	tcase_add_test(t, test_save_too_many_bytes_refused);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
