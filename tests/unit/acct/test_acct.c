/* SPDX-License-Identifier: ISC */
/*
 * The writer in this process (rotation, failures), and pinnace-acct as a
 * process that is killed at random moments: each event of the log must be in
 * the files exactly once, in order.
 */
#include <sys/resource.h>
#include <sys/stat.h>
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "acct/writer.h"
#include "tests/unit/acct/logmake.h"
#include "tests/unit/acct/proc.h"

enum { EVENTS, OFFSETS, LOGS, FDS };

#define FIRST_DAY 1769868309 /* 2026-01-31 14:05:09 UTC */

static const char *const folders[] = { "events", "offsets", "logs", NULL };

static char top[64];
static int fds[FDS];
static struct sio *spool;
static struct evlog *elog;

static void
setup(void)
{
	int fd;

	setenv("TZ", "UTC", 1);
	proc_dirs(top, folders, fds);
	fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	spool = sio_os_new(fd);
	elog = evlog_open(spool, (struct evlog_pos){ 0, 0 });
	ck_assert_ptr_nonnull(elog);
}

static void
teardown(void)
{
	evlog_free(&elog);
	sio_free(&spool);
	proc_dirs_remove(top);
}

static struct conf *
conf_make(const char *body)
{
	struct conf_report rep;
	struct conf *c;
	char text[1024];

	snprintf(text, sizeof(text), "<acct-file %s/logs/acct.csv>\n"
	    "records d,b,t\n%s\n</acct-file>\n", top, body);
	conf_report_init(&rep);
	c = conf_parse("test", sv_from(text), &rep);
	ck_assert_msg(c != NULL, "%s", conf_report_errors(&rep) > 0 ?
	    rep.errors[0] : "?");
	conf_report_fini(&rep);
	return c;
}

/* ---- looking at the files ---- */

struct found {
	unsigned files, header_only;
	uint32_t next;   /* the number expected */
	char last[256];  /* name of the last file */
};

static int
is_csv(const struct dirent *d)
{
	return strstr(d->d_name, ".csv") != NULL;
}

static void
file_check(const char *name, struct found *f)
{
	char path[512], line[2048], want[32];
	unsigned lines = 0;
	FILE *in;

	snprintf(path, sizeof(path), "%s/logs/%s", top, name);
	in = fopen(path, "r");
	ck_assert_msg(in != NULL, "%s", path);
	while (fgets(line, sizeof(line), in) != NULL) {
		if (lines++ == 0) {
			ck_assert_msg(strncmp(line, "type,timeLogged,", 16)
			    == 0, "%s", line);
			continue;
		}
		snprintf(want, sizeof(want), ",job%u,", f->next);
		ck_assert_msg(strstr(line, want) != NULL &&
		    strchr(line, '\n') != NULL, "%s:%u: want %s got %s",
		    name, lines, want, line);
		f->next++;
	}
	ck_assert_uint_gt(lines, 0);
	f->header_only += lines == 1;
	fclose(in);
	f->files++;
	snprintf(f->last, sizeof(f->last), "%s", name);
}

/* Every record from `from` on is there once and in order. */
static struct found
files_check(uint32_t from)
{
	struct found f = { .next = from };
	struct dirent **list;
	char path[128];
	int n;

	snprintf(path, sizeof(path), "%s/logs", top);
	n = scandir(path, &list, is_csv, alphasort);
	ck_assert_int_ge(n, 0);
	for (int i = 0; i < n; i++) {
		file_check(list[i]->d_name, &f);
		free(list[i]);
	}
	free(list);
	return f;
}

/* ---- the writer in this process ---- */

static struct wall
at_day(int day)
{
	return (struct wall){ (FIRST_DAY + day * (int64_t)86400) *
	    US_PER_SEC };
}

static void
writer_start(struct writer *w, struct conf *conf)
{
	writer_init(w, fds[EVENTS], fds[OFFSETS], fds[LOGS]);
	writer_conf_set(w, conf, at_day(0));
	ck_assert_int_eq(writer_recover(w), 0);
}

static void
run_all(struct writer *w, struct wall now)
{
	enum writer_result r;

	do
		r = writer_run(w, evlog_durable(elog), 1000, now);
	while (r == WRITER_MORE);
	ck_assert_int_eq(r, WRITER_IDLE);
}

START_TEST(test_run_uncommitted_cut_back)
{
	struct conf *conf = conf_make("");
	struct writer w;

	logmake_append(elog, 0, 100);
	writer_start(&w, conf);
	run_all(&w, at_day(0));
	ck_assert_int_eq(writer_commit(&w), 0);
	logmake_append(elog, 100, 300);
	run_all(&w, at_day(0));
	writer_fini(&w); /* as good as a kill: nothing was committed */
	ck_assert_uint_eq(files_check(0).next, 300);
	writer_start(&w, conf);
	ck_assert_uint_eq(files_check(0).next, 100);
	run_all(&w, at_day(0));
	ck_assert_int_eq(writer_commit(&w), 0);
	ck_assert_uint_eq(files_check(0).next, 300);
	ck_assert(!writer_is_dirty(&w));
	writer_fini(&w);
	conf_free(&conf);
}
END_TEST

START_TEST(test_run_limit_not_passed)
{
	struct conf *conf = conf_make("");
	struct evlog_pos half;
	struct writer w;

	logmake_append(elog, 0, 50);
	half = evlog_durable(elog);
	logmake_append(elog, 50, 100);
	writer_start(&w, conf);
	ck_assert_int_eq(writer_run(&w, half, 1000, at_day(0)), WRITER_IDLE);
	ck_assert_uint_eq(files_check(0).next, 50);
	writer_fini(&w);
	conf_free(&conf);
}
END_TEST

START_TEST(test_run_limit_unknown_nothing_read_again)
{
	struct conf *conf = conf_make("");
	struct writer w;

	logmake_append(elog, 0, 50);
	writer_start(&w, conf);
	run_all(&w, at_day(0));
	ck_assert_int_eq(writer_commit(&w), 0);
	writer_fini(&w);
	writer_start(&w, conf);
	ck_assert_int_eq(writer_run(&w, (struct evlog_pos){ 0, 0 }, 1000,
	    at_day(0)), WRITER_IDLE);
	run_all(&w, at_day(0));
	ck_assert_uint_eq(files_check(0).next, 50);
	writer_fini(&w);
	conf_free(&conf);
}
END_TEST

START_TEST(test_run_next_day_new_file)
{
	struct conf *conf = conf_make("");
	struct found f;
	struct writer w;

	logmake_append(elog, 0, 10);
	writer_start(&w, conf);
	run_all(&w, at_day(0));
	ck_assert_str_eq(files_check(0).last, "acct-2026-01-31-0000.csv");
	logmake_append(elog, 10, 20);
	run_all(&w, at_day(1));
	ck_assert_int_eq(writer_commit(&w), 0);
	f = files_check(0);
	ck_assert_uint_eq(f.files, 2);
	ck_assert_uint_eq(f.next, 20);
	ck_assert_str_eq(f.last, "acct-2026-02-01-0000.csv");
	writer_fini(&w);
	conf_free(&conf);
}
END_TEST

static void
rotated(struct writer *w, const char *name, unsigned found, const char *closed)
{
	struct writer_rotation r;

	ck_assert_int_eq(writer_rotate(w, sv_from(name), &r), 0);
	ck_assert_uint_eq(r.found, found);
	ck_assert_uint_eq(r.n, closed != NULL);
	if (closed != NULL)
		ck_assert_str_eq(r.closed[0], closed);
}

START_TEST(test_rotate_next_record_in_next_file)
{
	struct conf *conf = conf_make("");
	struct writer w;
	char name[128];

	writer_start(&w, conf);
	run_all(&w, at_day(0));
	rotated(&w, "", 1, NULL); /* none has begun */
	logmake_append(elog, 0, 10);
	run_all(&w, at_day(0));
	rotated(&w, "acct", 0, NULL);
	rotated(&w, "other.csv", 0, NULL);
	rotated(&w, "/elsewhere/acct.csv", 0, NULL);
	rotated(&w, "acct-2026-01-31-0001.csv", 0, NULL);
	rotated(&w, "", 1, "acct-2026-01-31-0000.csv");
	ck_assert(!writer_is_dirty(&w));
	rotated(&w, "acct.csv", 1, NULL); /* nothing is open any more */
	logmake_append(elog, 10, 20);
	run_all(&w, at_day(0));
	rotated(&w, "acct-2026-01-31-0001.csv", 1, "acct-2026-01-31-0001.csv");
	/* a death does not open it again */
	writer_fini(&w);
	writer_start(&w, conf);
	logmake_append(elog, 20, 30);
	run_all(&w, at_day(0));
	snprintf(name, sizeof(name), "%s/logs/acct.csv", top);
	rotated(&w, name, 1, "acct-2026-01-31-0002.csv");
	ck_assert_uint_eq(files_check(0).next, 30);
	ck_assert_uint_eq(files_check(0).files, 3);
	writer_fini(&w);
	conf_free(&conf);
}
END_TEST

START_TEST(test_run_other_columns_new_file)
{
	struct conf *conf = conf_make(""), *other;
	struct found f;
	struct writer w;

	logmake_append(elog, 0, 10);
	writer_start(&w, conf);
	run_all(&w, at_day(0));
	other = conf_make("record-fields d,b,t timeLogged,jobId,rcpt");
	writer_conf_set(&w, other, at_day(0));
	ck_assert_int_eq(writer_recover(&w), 0);
	logmake_append(elog, 10, 20);
	run_all(&w, at_day(0));
	f = files_check(0);
	ck_assert_uint_eq(f.next, 20);
	ck_assert_str_eq(f.last, "acct-2026-01-31-0001.csv");
	writer_fini(&w);
	conf_free(&conf);
	conf_free(&other);
}
END_TEST

START_TEST(test_run_file_gone_goes_on_in_next)
{
	struct conf *conf = conf_make("");
	struct found f;
	struct writer w;
	char path[256];

	logmake_append(elog, 0, 10);
	writer_start(&w, conf);
	run_all(&w, at_day(0));
	ck_assert_int_eq(writer_commit(&w), 0);
	writer_fini(&w);
	snprintf(path, sizeof(path), "%s/logs/acct-2026-01-31-0000.csv", top);
	ck_assert_int_eq(unlink(path), 0);
	logmake_append(elog, 10, 20);
	writer_start(&w, conf);
	run_all(&w, at_day(0));
	f = files_check(10);
	ck_assert_uint_eq(f.next, 20);
	ck_assert_str_eq(f.last, "acct-2026-01-31-0001.csv");
	writer_fini(&w);
	conf_free(&conf);
}
END_TEST

START_TEST(test_run_write_fails_nothing_lost)
{
	struct rlimit small = { 60000, RLIM_INFINITY }, old;
	struct conf *conf = conf_make("");
	enum writer_result r;
	struct writer w;

	logmake_append(elog, 0, 2000);
	writer_start(&w, conf);
	run_all(&w, at_day(0));
	ck_assert_int_eq(writer_commit(&w), 0);
	logmake_append(elog, 2000, 4000);
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	do
		r = writer_run(&w, evlog_durable(elog), 1000, at_day(0));
	while (r == WRITER_MORE);
	ck_assert_int_eq(r, WRITER_FAILED);
	ck_assert_int_eq(writer_recover(&w), 0);
	ck_assert_int_eq(writer_run(&w, evlog_durable(elog), 1000,
	    at_day(0)), WRITER_FAILED);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	ck_assert_int_eq(writer_recover(&w), 0);
	run_all(&w, at_day(0));
	ck_assert_int_eq(writer_commit(&w), 0);
	ck_assert_uint_eq(files_check(0).next, 4000);
	writer_fini(&w);
	conf_free(&conf);
}
END_TEST

/* A reload between a failure and the next try is no success of it. */
START_TEST(test_run_reload_after_a_failure_nothing_lost)
{
	struct rlimit small = { 60000, RLIM_INFINITY }, old;
	struct conf *conf = conf_make(""), *again = conf_make("");
	enum writer_result r;
	struct writer w;

	logmake_append(elog, 0, 4000);
	writer_start(&w, conf);
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	do
		r = writer_run(&w, evlog_durable(elog), 1000, at_day(0));
	while (r == WRITER_MORE);
	ck_assert_int_eq(r, WRITER_FAILED);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	writer_conf_set(&w, again, at_day(0));
	ck_assert_int_eq(writer_recover(&w), 0);
	run_all(&w, at_day(0));
	ck_assert_int_eq(writer_commit(&w), 0);
	ck_assert_uint_eq(files_check(0).next, 4000);
	writer_fini(&w);
	conf_free(&conf);
	conf_free(&again);
}
END_TEST

START_TEST(test_tidy_yesterday_moved_and_old_deleted)
{
	char move[300], path[256];
	struct conf *conf, *del;
	struct writer w;
	struct stat st;

	snprintf(path, sizeof(path), "%s/logs/done", top);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	snprintf(move, sizeof(move), "move-to %s", path);
	conf = conf_make(move);
	logmake_append(elog, 0, 10);
	writer_start(&w, conf);
	run_all(&w, at_day(0));
	ck_assert_int_eq(writer_tidy(&w, at_day(0)), 0);
	snprintf(path, sizeof(path),
	    "%s/logs/done/acct-2026-01-31-0000.csv", top);
	ck_assert_int_ne(stat(path, &st), 0);
	ck_assert_int_eq(writer_tidy(&w, at_day(1)), 0);
	ck_assert_int_eq(stat(path, &st), 0);
	del = conf_make("delete-after 8d");
	writer_conf_set(&w, del, at_day(1));
	ck_assert_int_eq(writer_recover(&w), 0);
	logmake_append(elog, 10, 20);
	run_all(&w, at_day(1));
	/* what the file system says is the real time of this test */
	snprintf(path, sizeof(path), "%s/logs/acct-2026-02-01-0000.csv", top);
	writer_clock(&w, (struct mono){ 1 }, (struct wall){ time(NULL) *
	    US_PER_SEC });
	/* a clock set ahead deletes nothing */
	writer_clock(&w, (struct mono){ 2 }, at_day(20000));
	ck_assert_int_eq(writer_tidy(&w, at_day(20000)), 0);
	ck_assert_int_eq(stat(path, &st), 0);
	/* time that passes does */
	writer_clock(&w, (struct mono){ at_day(9).us - at_day(0).us },
	    (struct wall){ at_day(20009).us });
	ck_assert_int_eq(writer_tidy(&w, at_day(20009)), 0);
	ck_assert_int_ne(stat(path, &st), 0);
	writer_fini(&w);
	conf_free(&conf);
	conf_free(&del);
}
END_TEST

/* ---- the process ---- */

struct watch {
	struct evlog_pos at, want;
	bool done;
};

static void
on_reader_at(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_reader_at *m = msg;
	struct watch *w = arg;

	(void)c;
	w->at = (struct evlog_pos){ m->file, m->offset };
	ck_assert_int_le(evlog_pos_cmp(w->at, w->want), 0);
	w->done = evlog_pos_cmp(w->at, w->want) == 0;
}

static const struct chan_ops qmgr_ops = {
	.on = { [IPC_READER_AT] = on_reader_at },
	.on_close = proc_on_close,
};

static void
log_at(struct proc *p, struct watch *w)
{
	w->want = evlog_durable(elog);
	w->done = false;
	ipc_send_log_at(p->qmgr, &(struct ipc_log_at){
	    .file = w->want.file, .offset = w->want.offset });
}

START_TEST(test_process_killed_each_record_once)
{
	struct conf *conf = conf_make("max-size 1M");
	struct watch watch = { .done = false };
	uint32_t n = 0;
	struct found f;
	struct proc p;

	srand(20260131);
	for (int round = 0; round < 25; round++) {
		proc_start(&p, "acct/pinnace-acct", R_ACCT, fds, FDS, conf,
		    &qmgr_ops, &watch);
		for (int i = 0; i < 3; i++) {
			logmake_append(elog, n, n + 900);
			n += 900;
			log_at(&p, &watch);
			proc_run(&p, NULL, rand() % 50);
		}
		proc_kill(&p);
	}
	proc_start(&p, "acct/pinnace-acct", R_ACCT, fds, FDS, conf, &qmgr_ops,
	    &watch);
	log_at(&p, &watch);
	proc_run(&p, &watch.done, 20000);
	ck_assert(watch.done);
	f = files_check(0);
	ck_assert_uint_eq(f.next, n);
	ck_assert_uint_gt(f.files, 5);
	logmake_append(elog, n, n + 1);
	log_at(&p, &watch);
	proc_run(&p, NULL, 30);
	ck_assert_int_eq(proc_stop(&p), 0);
	ck_assert_uint_eq(files_check(0).next, n + 1);
	conf_free(&conf);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("acct");
	TCase *t = tcase_create("acct");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_run_uncommitted_cut_back);
	tcase_add_test(t, test_run_limit_not_passed);
	tcase_add_test(t, test_run_limit_unknown_nothing_read_again);
	tcase_add_test(t, test_run_next_day_new_file);
	tcase_add_test(t, test_rotate_next_record_in_next_file);
	tcase_add_test(t, test_run_other_columns_new_file);
	tcase_add_test(t, test_run_file_gone_goes_on_in_next);
	tcase_add_test(t, test_run_write_fails_nothing_lost);
	tcase_add_test(t, test_run_reload_after_a_failure_nothing_lost);
	tcase_add_test(t, test_tidy_yesterday_moved_and_old_deleted);
	tcase_add_test(t, test_process_killed_each_record_once);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
