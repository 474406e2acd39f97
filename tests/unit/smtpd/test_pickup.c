/* SPDX-License-Identifier: ISC */
/*
 * The pickup directory with a stub committer and an event log that the test
 * writes: a file is named after its ID before its message is committed, and is
 * removed once, whenever the process ends.
 */
#include <sys/stat.h>
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#include "smtpd/pickup_private.h"
#include "tests/unit/smtpd/harness.h"

#define FILE_TEXT "x-sender: a@x.example\nx-receiver: b@y.example\n\nhi\n"

static struct harness h;
static struct pickup *p;
static char root[] = "/tmp/pinnace-pickup-XXXXXX";
static int fds[4];               /* pick, bad, events, offsets */
static struct sio *events;
static struct evlog *evlog;
static struct evlog_pos told;
static unsigned idles;

static void
on_at(void *arg, struct evlog_pos at)
{
	(void)arg;
	told = at;
}

static void
on_idle(void *arg)
{
	(void)arg;
	idles++;
}

static const struct pickup_ops ops = { .at = on_at, .idle = on_idle };

static void
put(const char *name, const char *text)
{
	int fd = openat(fds[0], name, O_WRONLY | O_CREAT | O_EXCL, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

/* Names in a directory, or the first that begins so. */
static unsigned
count(int dirfd, const char *begin, char *name_r)
{
	DIR *d = fdopendir(openat(dirfd, ".", O_RDONLY | O_DIRECTORY));
	const struct dirent *e;
	unsigned n = 0;

	ck_assert_ptr_nonnull(d);
	while ((e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 ||
		    strcmp(e->d_name, "..") == 0 ||
		    strncmp(e->d_name, begin, strlen(begin)) != 0)
			continue;
		n++;
		if (name_r != NULL)
			(void)snprintf(name_r, NAME_MAX + 1, "%s", e->d_name);
	}
	closedir(d);
	return n;
}

static void
begin(void)
{
	p = pickup_new(&h.srv, fds, &ops, NULL);
	pickup_conf(p);
}

/* As if the process had died: what its session had begun goes on nowhere. */
static void
end(void)
{
	for (size_t i = 0; i < h.committer.npending; i++)
		h.committer.pending[i]->make_head = NULL;
	/* p, which does not read now, outlives what the session says */
	(void)stub_answer(&h.committer, COMMIT_SHUTDOWN);
	pickup_free(&p);
	harness_fini(&h);
	harness_init(&h, HARNESS_CONF);
}

static void
setup(void)
{
	static const char *const names[] = { "pick", "bad", "events",
		"offsets" };

	memcpy(root + sizeof(root) - 7, "XXXXXX", 6);
	ck_assert_ptr_nonnull(mkdtemp(root));
	for (int i = 0; i < 4; i++) {
		char path[100];

		(void)snprintf(path, sizeof(path), "%s/%s", root, names[i]);
		ck_assert_int_eq(mkdir(path, 0700), 0);
		fds[i] = open(path, O_RDONLY | O_DIRECTORY);
	}
	told = (struct evlog_pos){ 0, 0 };
	idles = 0;
	events = sio_os_new(open(root, O_RDONLY | O_DIRECTORY));
	evlog = evlog_open(events, (struct evlog_pos){ 0, 0 });
	ck_assert_ptr_nonnull(evlog);
	ck_assert_int_eq(evlog_sync(evlog), 0);
	harness_init(&h, HARNESS_CONF);
	begin();
}

static void
teardown(void)
{
	char cmd[200];

	pickup_free(&p);
	harness_fini(&h);
	evlog_free(&evlog);
	sio_free(&events);
	for (int i = 0; i < 4; i++)
		close(fds[i]);
	(void)snprintf(cmd, sizeof(cmd), "rm -rf %s", root);
	ck_assert_int_eq(system(cmd), 0);
}

/* Lets a second pass, in which the directory is looked at. */
static void
pass(void)
{
	for (int i = 0; i < 13; i++) {
		struct timeval tv = { .tv_usec = 100000 };

		event_base_loopexit(h.base, &tv);
		event_base_dispatch(h.base);
		harness_pump(&h);
	}
}

static void
accept_write(uint64_t id, int64_t arrival_us)
{
	union ev_any ev = { .accept = { .id = id, .segment = 1, .offset = 64,
		.length = 80, .arrival_us = (uint64_t)arrival_us,
		.vmta = SV("") } };

	ck_assert_int_eq(evlog_append(evlog, EV_ACCEPT, &ev), 0);
	ck_assert_int_eq(evlog_sync(evlog), 0);
}

/* The name of the file while its message is being committed. */
static void
taken(char *name, uint64_t *id, int64_t *arrival)
{
	struct commit_req *req;
	struct buf head;

	h.hold = true;
	put("f", FILE_TEXT);
	pickup_log_at(p, evlog_durable(evlog));
	pass();
	ck_assert_uint_eq(h.committer.submitted, 1);
	/* the committer has a place for it */
	req = h.committer.pending[0];
	buf_init(&head, 4096);
	ck_assert_int_eq(req->make_head(req, msgid_make(1, 64 + 8 *
	    h.committer.next), &head, req->arg), 0);
	buf_fini(&head);
	ck_assert_uint_eq(count(fds[0], "", name), 1);
	ck_assert_str_eq(taken_parse(name, id, arrival), "f");
}

START_TEST(test_pickup_nothing_before_the_log_is_known)
{
	put("f", FILE_TEXT);
	pass();
	ck_assert_uint_eq(h.committer.submitted, 0);
	pickup_log_at(p, evlog_durable(evlog));
	pass();
	ck_assert_uint_eq(h.committer.submitted, 1);
	ck_assert_uint_eq(count(fds[0], "", NULL), 0);
}
END_TEST

/* The life after a crash: the log is known to its end. */
static void
begin_with_log(void)
{
	begin();
	pickup_log_at(p, evlog_durable(evlog));
	pass();
}

START_TEST(test_pickup_named_after_id_then_removed)
{
	char name[NAME_MAX + 1];
	struct envelope e;
	struct arena a;
	int64_t arrival;
	uint64_t id;

	taken(name, &id, &arrival);
	arena_init(&a, 1u << 20);
	h.hold = false;
	pass();
	ck_assert_uint_eq(id, h.committer.id);
	ck_assert_uint_eq(count(fds[0], "", NULL), 0);
	ck_assert(envelope_decode(buf_sv(&h.committer.env), &a, &e));
	ck_assert(sv_eq(e.src_type, SV("pickup")));
	ck_assert(sv_eq(e.rcpts[0].addr, SV("b@y.example")));
	arena_fini(&a);
	pickup_stop(p);
	ck_assert_uint_eq(idles, 1);
}
END_TEST

/* It died between the commit and the removal. */
START_TEST(test_pickup_died_behind_the_commit_removed_not_taken_again)
{
	char name[NAME_MAX + 1];
	int64_t arrival;
	uint64_t id;

	taken(name, &id, &arrival);
	end();
	accept_write(id + 1, arrival);
	accept_write(id, arrival);
	begin();
	pass();
	ck_assert_uint_eq(count(fds[0], "", NULL), 1);
	pickup_log_at(p, evlog_durable(evlog));
	pass();
	ck_assert_uint_eq(count(fds[0], "", NULL), 0);
	ck_assert_uint_eq(h.committer.submitted, 0);
}
END_TEST

/* Another message with its ID, at another time, is not it. */
START_TEST(test_pickup_died_before_the_commit_taken_again)
{
	char name[NAME_MAX + 1];
	int64_t arrival;
	uint64_t id;

	taken(name, &id, &arrival);
	end();
	accept_write(id, arrival + 1);
	begin_with_log();
	ck_assert_uint_eq(h.committer.submitted, 1);
	ck_assert_uint_eq(count(fds[0], "", NULL), 0);
}
END_TEST

/* The name is another file's by now. */
START_TEST(test_pickup_name_back_replaces_no_file)
{
	char name[NAME_MAX + 1];
	int64_t arrival;
	uint64_t id;

	taken(name, &id, &arrival);
	put("f", FILE_TEXT);
	end();
	begin_with_log();
	ck_assert_uint_eq(h.committer.submitted, 2);
	ck_assert_uint_eq(count(fds[0], "", NULL), 0);
}
END_TEST

/* The place is stored behind the files that are through, not behind one that
 * is under way; a next life reads on there. */
START_TEST(test_pickup_place_is_that_of_what_is_under_way)
{
	char name[NAME_MAX + 1];
	struct evlog_pos before = evlog_durable(evlog);
	int64_t arrival;
	uint64_t id;

	taken(name, &id, &arrival);
	accept_write(77, 1);
	pickup_log_at(p, evlog_durable(evlog));
	pass();
	ck_assert_int_eq(evlog_pos_cmp(told, before), 0);
	accept_write(id, arrival);
	end();
	begin_with_log();
	ck_assert_uint_eq(count(fds[0], "", NULL), 0);
	ck_assert_uint_eq(h.committer.submitted, 0);
}
END_TEST

START_TEST(test_pickup_refused_waits_or_is_bad)
{
	char name[NAME_MAX + 1];

	h.result = COMMIT_NO_SPACE;
	put("f", FILE_TEXT);
	pickup_log_at(p, evlog_durable(evlog));
	pass();
	ck_assert_uint_eq(count(fds[0], "", name), 1);
	ck_assert_str_eq(name, "f");
	ck_assert_uint_eq(count(fds[1], "", NULL), 0);
	end();
	h.result = COMMIT_TOO_LARGE;
	begin_with_log();
	ck_assert_uint_eq(count(fds[0], "", NULL), 0);
	ck_assert_uint_eq(count(fds[1], "f", NULL), 1);
}
END_TEST

START_TEST(test_pickup_names)
{
	static const char *const none[] = { "f", ".taken-", ".taken-1-2-f",
		".taken-0000000000000001-0000000000000002-",
		".taken-000000000000000g-0000000000000002-f",
		".taken-0000000000000001_0000000000000002-f" };
	char name[NAME_MAX + 1], long_name[NAME_MAX + 1];
	int64_t arrival;
	uint64_t id;

	ck_assert(taken_name(name, sizeof(name), 0xfedcba9876543210,
	    1790000000000000, "a-b"));
	ck_assert_str_eq(taken_parse(name, &id, &arrival), "a-b");
	ck_assert(id == 0xfedcba9876543210 && arrival == 1790000000000000);
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		ck_assert_ptr_null(taken_parse(none[i], &id, &arrival));
	memset(long_name, 'x', sizeof(long_name));
	long_name[NAME_KEEP_MAX] = '\0';
	ck_assert(taken_name(name, sizeof(name), 1, 2, long_name));
	long_name[NAME_KEEP_MAX] = 'x';
	long_name[NAME_MAX] = '\0';
	ck_assert(!taken_name(name, sizeof(name), 1, 2, long_name));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("pickup");
	TCase *t = tcase_create("all");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_pickup_nothing_before_the_log_is_known);
	tcase_add_test(t, test_pickup_named_after_id_then_removed);
	tcase_add_test(t,
	    test_pickup_died_behind_the_commit_removed_not_taken_again);
	tcase_add_test(t, test_pickup_died_before_the_commit_taken_again);
	tcase_add_test(t, test_pickup_name_back_replaces_no_file);
	tcase_add_test(t, test_pickup_place_is_that_of_what_is_under_way);
	tcase_add_test(t, test_pickup_refused_waits_or_is_bad);
	tcase_add_test(t, test_pickup_names);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
