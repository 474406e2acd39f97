/* SPDX-License-Identifier: ISC */
#include <sys/wait.h>
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/spool/poison.h"
#include "common/spool/sio_mem.h"
#include "tests/unit/spool/tmpspool.h"

#define PATH "intent/suspects"

static struct tmpspool spool;
static struct poison p;

static void
setup(void)
{
	tmpspool_make(&spool);
	ck_assert_int_eq(poison_open(&p, spool.sio, PATH), 0);
}

static void
teardown(void)
{
	poison_close(&p);
	tmpspool_drop(&spool);
}

static void
again(void)
{
	poison_close(&p);
	ck_assert_int_eq(poison_open(&p, spool.sio, PATH), 0);
}

/* A life that is killed at an instruction of its own, with this marked. */
static void
life_crashes_on(uint64_t id)
{
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		poison_mark(&p, POISON_MESSAGE, id - 1, 0);
		poison_clear(&p);
		poison_mark(&p, POISON_MESSAGE, id, 0);
		(void)signal(SIGSEGV, SIG_DFL);
		raise(SIGSEGV);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	again();
}

START_TEST(test_poison_second_crash_on_the_same_counts)
{
	const struct poison_item *it;

	life_crashes_on(7);
	it = poison_blame_marked(&p, "signal 11");
	ck_assert_ptr_nonnull(it);
	ck_assert_uint_eq(it->kind, POISON_MESSAGE);
	ck_assert_uint_eq(it->a, 7);
	ck_assert_uint_eq(it->crashes, 1);
	ck_assert(!poison_is(&p, POISON_MESSAGE, 7, 0));
	ck_assert_ptr_null(poison_blame_marked(&p, "signal 11"));
	life_crashes_on(8);
	ck_assert_ptr_nonnull(poison_blame_marked(&p, "x"));
	ck_assert(!poison_is(&p, POISON_MESSAGE, 7, 0));
	life_crashes_on(7);
	ck_assert_ptr_nonnull(poison_blame_marked(&p, "signal 6"));
	ck_assert(poison_is(&p, POISON_MESSAGE, 7, 0));
	ck_assert(!poison_is(&p, POISON_MESSAGE, 8, 0));
	ck_assert(!poison_is(&p, POISON_EVENT, 7, 0));
	ck_assert_str_eq(
	    poison_find(&p, POISON_MESSAGE, 7, 0)->why, "signal 6");
	again();
	ck_assert(poison_is(&p, POISON_MESSAGE, 7, 0));
}
END_TEST

/* Whoever was not told of a crash finds the mark and forgets it. */
START_TEST(test_poison_mark_without_blame_is_overwritten)
{
	life_crashes_on(7);
	poison_mark(&p, POISON_EVENT, 3, 64);
	poison_clear(&p);
	ck_assert_ptr_null(poison_blame_marked(&p, "x"));
	ck_assert_ptr_null(poison_find(&p, POISON_MESSAGE, 7, 0));
}
END_TEST

START_TEST(test_poison_forgotten_needs_two_more)
{
	(void)poison_blame(&p, POISON_EVENT, 1, 40, "x");
	(void)poison_blame(&p, POISON_EVENT, 1, 40, "x");
	(void)poison_blame(&p, POISON_EVENT, 1, 48, "x");
	ck_assert(poison_is(&p, POISON_EVENT, 1, 40));
	poison_forget(&p, POISON_EVENT, 1, 40);
	ck_assert_ptr_null(poison_find(&p, POISON_EVENT, 1, 40));
	ck_assert_ptr_nonnull(poison_find(&p, POISON_EVENT, 1, 48));
	ck_assert_uint_eq(
	    poison_blame(&p, POISON_EVENT, 1, 40, "x")->crashes, 1);
	poison_forget(&p, POISON_EVENT, 1, 40);
	poison_forget(&p, POISON_EVENT, 1, 48);
	ck_assert_uint_eq(p.n, 0);
}
END_TEST

START_TEST(test_poison_full_table_forgets_the_oldest)
{
	for (uint64_t i = 1; i <= POISON_ITEMS; i++)
		(void)poison_blame(&p, POISON_MESSAGE, i, 0, "x");
	(void)poison_blame(&p, POISON_MESSAGE, 1, 0, "x"); /* not old */
	(void)poison_blame(&p, POISON_MESSAGE, 1000, 0, "x");
	ck_assert_ptr_null(poison_find(&p, POISON_MESSAGE, 2, 0));
	ck_assert(poison_is(&p, POISON_MESSAGE, 1, 0));
	ck_assert_uint_eq(poison_find(&p, POISON_MESSAGE, 1000, 0)->crashes, 1);
	again();
	ck_assert(poison_is(&p, POISON_MESSAGE, 1, 0));
}
END_TEST

START_TEST(test_poison_long_reason_is_cut)
{
	char why[200];
	const struct poison_item *it;

	memset(why, 'a', sizeof(why));
	why[sizeof(why) - 1] = '\0';
	it = poison_blame(&p, POISON_MESSAGE, 1, 0, why);
	ck_assert_uint_eq(strlen(it->why), POISON_TEXT - 1);
}
END_TEST

/* Without a file it knows what happens in this life. */
START_TEST(test_poison_without_a_file_works)
{
	struct poison q;

	ck_assert_int_eq(poison_open(&q, spool.sio, "nowhere/x"), -1);
	poison_mark(&q, POISON_MESSAGE, 1, 0);
	(void)poison_blame(&q, POISON_MESSAGE, 5, 0, "x");
	(void)poison_blame(&q, POISON_MESSAGE, 5, 0, "x");
	ck_assert(poison_is(&q, POISON_MESSAGE, 5, 0));
	poison_close(&q);
	ck_assert(!poison_is(&q, POISON_MESSAGE, 5, 0));
	poison_mark(&q, POISON_MESSAGE, 1, 0);
	ck_assert_ptr_null(poison_blame_marked(&q, "x"));
	ck_assert_ptr_null(poison_blame(&q, POISON_MESSAGE, 1, 0, "x"));
}
END_TEST

/* What stands in the file was written by a process that was crashing. */
START_TEST(test_poison_garbage_file_is_borne)
{
	unsigned char junk[40000];
	struct sio_file *f;

	poison_close(&p);
	memset(junk, 0xa5, sizeof(junk));
	f = sio_open(spool.sio, PATH, SIO_WRITE);
	ck_assert_int_eq(sio_pwrite(f, junk, sizeof(junk), 0), 0);
	sio_close(&f);
	ck_assert_int_eq(poison_open(&p, spool.sio, PATH), 0);
	(void)poison_blame_marked(&p, "x");
	ck_assert(!poison_is(&p, POISON_MESSAGE, 1, 0));
	(void)poison_blame(&p, POISON_MESSAGE, 1, 0, "x");
	(void)poison_blame(&p, POISON_MESSAGE, 1, 0, "x");
	ck_assert(poison_is(&p, POISON_MESSAGE, 1, 0));
}
END_TEST

/* Each call that makes the file fails: it says so and works without one. */
START_TEST(test_poison_file_that_fails_is_told)
{
	struct sio *mem = sio_mem_new();
	struct poison o;

	ck_assert_int_eq(sio_spool_create(mem), 0);
	for (uint64_t n = 0; n < 3; n++) { /* the last: no file to map */
		(void)sio_mem_fault(mem, (struct sio_mem_fault){
		    .ops = SIO_OP_WRITE, .after = n, .count = 1,
		    .err = ENOSPC });
		ck_assert_int_eq(poison_open(&o, mem, PATH), -1);
		ck_assert(n == 2 || errno == ENOSPC);
		(void)poison_blame(&o, POISON_MESSAGE, 1, 0, "x");
		(void)poison_blame(&o, POISON_MESSAGE, 1, 0, "x");
		ck_assert(poison_is(&o, POISON_MESSAGE, 1, 0));
		poison_close(&o);
	}
	sio_free(&mem);
	/* and one that is closed bears what comes late */
	poison_clear(&o);
	poison_close(&o);
}
END_TEST

START_TEST(test_poison_forgetting_what_is_not_there)
{
	(void)poison_blame(&p, POISON_MESSAGE, 1, 0, "x");
	(void)poison_blame(&p, POISON_MESSAGE, 1, 0, "x");
	poison_forget(&p, POISON_MESSAGE, 2, 0);
	ck_assert(poison_is(&p, POISON_MESSAGE, 1, 0));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("poison");
	TCase *t = tcase_create("poison");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_poison_second_crash_on_the_same_counts);
	tcase_add_test(t, test_poison_mark_without_blame_is_overwritten);
	tcase_add_test(t, test_poison_forgotten_needs_two_more);
	tcase_add_test(t, test_poison_full_table_forgets_the_oldest);
	tcase_add_test(t, test_poison_long_reason_is_cut);
	tcase_add_test(t, test_poison_without_a_file_works);
	tcase_add_test(t, test_poison_garbage_file_is_borne);
	tcase_add_test(t, test_poison_file_that_fails_is_told);
	tcase_add_test(t, test_poison_forgetting_what_is_not_there);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
