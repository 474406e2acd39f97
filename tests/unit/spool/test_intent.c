/* SPDX-License-Identifier: ISC */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/spool/intent.h"

#define SLOTS 4u

static int
file_make(size_t size)
{
	char name[] = "/tmp/pinnace-intent-XXXXXX";
	int fd = mkstemp(name);

	ck_assert_int_ge(fd, 0);
	unlink(name);
	ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
	return fd;
}

/* As qmgr reads it. */
static unsigned
count(int fd, enum intent_state state, uint32_t *nrcpts_r)
{
	unsigned char bytes[INTENT_SLOT_BYTES];
	unsigned n = 0;

	*nrcpts_r = 0;
	for (unsigned i = 0; i < SLOTS; i++) {
		struct intent_entry e;

		ck_assert_int_eq(pread(fd, bytes, sizeof(bytes),
		    (off_t)(i * sizeof(bytes))), (int)sizeof(bytes));
		if (!intent_slot_read(bytes, &e) || e.state != state)
			continue;
		n++;
		*nrcpts_r += e.count;
	}
	return n;
}

START_TEST(test_intent_life_of_a_transaction_seen_in_the_file)
{
	uint32_t idx[60], n, slot, nrcpts;
	struct intent_map m;
	int fd = file_make(SLOTS * INTENT_SLOT_BYTES);

	for (n = 0; n < 60; n++)
		idx[n] = n;
	ck_assert_int_eq(intent_map_open(&m, fd, SLOTS), 0);
	slot = intent_take(&m, 77, idx, 60);
	ck_assert_uint_ne(slot, INTENT_NONE);
	ck_assert_uint_eq(count(fd, INTENT_DOT_SENT, &nrcpts), 3);
	ck_assert_uint_eq(nrcpts, 60);
	intent_delivered(&m, slot);
	ck_assert_uint_eq(count(fd, INTENT_DELIVERED, &nrcpts), 3);
	ck_assert_uint_eq(count(fd, INTENT_DOT_SENT, &nrcpts), 0);
	intent_release(&m, slot);
	ck_assert_uint_eq(count(fd, INTENT_DELIVERED, &nrcpts), 0);
	ck_assert_uint_eq(m.nfree, SLOTS);
	ck_assert_uint_ne(intent_take(&m, 78, idx, 1), INTENT_NONE);
	intent_map_wipe(&m);
	ck_assert_uint_eq(count(fd, INTENT_DOT_SENT, &nrcpts), 0);
	intent_map_close(&m);
	close(fd);
}
END_TEST

START_TEST(test_intent_slots_run_out_refused)
{
	uint32_t idx[INTENT_RCPTS * SLOTS + 1] = { 0 }, slot;
	struct intent_map m;
	int fd = file_make(SLOTS * INTENT_SLOT_BYTES);

	ck_assert_int_eq(intent_map_open(&m, fd, SLOTS), 0);
	ck_assert_uint_eq(intent_slots_for(INTENT_RCPTS * SLOTS), SLOTS);
	ck_assert_uint_eq(intent_slots_for(INTENT_RCPTS * SLOTS + 1),
	    SLOTS + 1);
	ck_assert_uint_eq(intent_take(&m, 1, idx, INTENT_RCPTS * SLOTS + 1),
	    INTENT_NONE);
	ck_assert_uint_eq(m.nfree, SLOTS);
	ck_assert(intent_reserve(&m, 3));
	ck_assert(!intent_reserve(&m, 2));
	ck_assert(intent_reserve(&m, 1));
	intent_unreserve(&m, 4);
	slot = intent_take(&m, 1, idx, INTENT_RCPTS * SLOTS);
	ck_assert_uint_ne(slot, INTENT_NONE);
	ck_assert(!intent_reserve(&m, 1));
	intent_release(&m, slot);
	ck_assert(intent_reserve(&m, SLOTS));
	intent_release(&m, INTENT_NONE);
	/* taken without a promise: one of those made cannot be kept */
	slot = intent_take(&m, 1, idx, 1);
	ck_assert(!intent_reserve(&m, 1));
	intent_release(&m, slot);
	intent_map_close(&m);
	close(fd);
}
END_TEST

START_TEST(test_intent_file_too_small_refused)
{
	struct intent_map m;
	int fd = file_make(SLOTS * INTENT_SLOT_BYTES - 1);

	ck_assert_int_eq(intent_map_open(&m, fd, SLOTS), -1);
	ck_assert_int_eq(intent_map_open(&m, fd, 0), -1);
	ck_assert(!intent_reserve(&m, 1));
	close(fd);
}
END_TEST

START_TEST(test_intent_slot_read_senseless_refused)
{
	unsigned char bytes[INTENT_SLOT_BYTES] = { 1 };
	struct intent_entry e;

	ck_assert(!intent_slot_read(bytes, &e)); /* empty */
	bytes[8] = INTENT_DOT_SENT;
	ck_assert(!intent_slot_read(bytes, &e)); /* no recipient */
	bytes[12] = INTENT_RCPTS;
	ck_assert(intent_slot_read(bytes, &e));
	bytes[12] = INTENT_RCPTS + 1;
	ck_assert(!intent_slot_read(bytes, &e));
	bytes[12] = 1;
	bytes[8] = 3;
	ck_assert(!intent_slot_read(bytes, &e));
	bytes[8] = INTENT_DELIVERED;
	bytes[0] = 0;
	ck_assert(!intent_slot_read(bytes, &e)); /* no message */
}
END_TEST

/* As qmgr reads it when the worker is gone. */
static uint64_t
marked(int fd)
{
	unsigned char bytes[INTENT_SLOT_BYTES];

	ck_assert_int_eq(pread(fd, bytes, sizeof(bytes),
	    (off_t)(SLOTS * sizeof(bytes))), (int)sizeof(bytes));
	return intent_mark_read(bytes);
}

START_TEST(test_intent_mark_seen_in_the_file_and_no_slot)
{
	int fd = file_make((size_t)intent_file_bytes(SLOTS));
	struct intent_map m;
	uint32_t n;

	ck_assert_int_eq(intent_map_open(&m, fd, SLOTS), 0);
	ck_assert_uint_eq(marked(fd), 0);
	intent_mark(&m, 77);
	intent_mark(&m, 77);
	ck_assert_uint_eq(marked(fd), 77);
	intent_mark(&m, 78);
	ck_assert_uint_eq(marked(fd), 78);
	ck_assert_uint_eq(count(fd, INTENT_DOT_SENT, &n), 0);
	ck_assert_uint_eq(count(fd, INTENT_DELIVERED, &n), 0);
	intent_map_wipe(&m);
	ck_assert_uint_eq(marked(fd), 78);
	intent_mark(&m, 0);
	ck_assert_uint_eq(marked(fd), 0);
	/* every slot is still to be had, and no more */
	for (uint32_t i = 0; i < SLOTS; i++)
		ck_assert_uint_ne(intent_take(&m, 1, &i, 1), INTENT_NONE);
	ck_assert_uint_eq(intent_take(&m, 1, &n, 1), INTENT_NONE);
	ck_assert_uint_eq(marked(fd), 0);
	intent_map_close(&m);
	close(fd);
}
END_TEST

START_TEST(test_intent_mark_file_without_one_is_fine)
{
	int fd = file_make(SLOTS * INTENT_SLOT_BYTES);
	struct intent_map m;

	ck_assert_int_eq(intent_map_open(&m, fd, SLOTS), 0);
	intent_mark(&m, 77);
	intent_map_close(&m);
	intent_mark(&m, 77);
	close(fd);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("intent");
	TCase *t = tcase_create("intent");
	SRunner *r;
	int failed;

	tcase_add_test(t,
	    test_intent_life_of_a_transaction_seen_in_the_file);
	tcase_add_test(t, test_intent_slots_run_out_refused);
	tcase_add_test(t, test_intent_file_too_small_refused);
	tcase_add_test(t, test_intent_slot_read_senseless_refused);
	tcase_add_test(t, test_intent_mark_seen_in_the_file_and_no_slot);
	tcase_add_test(t, test_intent_mark_file_without_one_is_fine);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
