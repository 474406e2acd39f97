/* SPDX-License-Identifier: ISC */
/*
 * The Nth allocation fails, for each N: whatever the spool was about to do
 * says so, nothing leaks, and the spool is as good as before. Linked with
 * --wrap of malloc, calloc and realloc; those of reallocarray() end the
 * process where they fail and stay out of it.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/msgid.h"
#include "common/spool/batch.h"
#include "common/spool/intent.h"
#include "common/spool/offset.h"
#include "common/spool/recover.h"
#include "common/spool/segtab.h"
#include "common/spool/skipped.h"
#include "tests/unit/spool/tmpspool.h"

#define SEG_SIZE UINT64_C(8192)

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t m);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t m);
void *__wrap_realloc(void *p, size_t n);

static unsigned long left; /* so many are good before one fails; 0: off */
static bool failed;

static bool
fails(void)
{
	if (left == 0 || --left > 0)
		return false;
	failed = true;
	errno = ENOMEM;
	return true;
}

void *
__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t m)
{
	return fails() ? NULL : __real_calloc(n, m);
}

void *
__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

/* ---- a spool with one message, of which the log knows nothing ---- */

static struct tmpspool spool;
static uint64_t segment;
static unsigned found;

static void
message_write(struct segtab *t)
{
	unsigned char header[RECORD_HEADER];
	char body[] = "body\r\n";
	struct iovec iov = {body, sizeof(body) - 1};
	struct record_parts p = {
	    .body = &iov, .nbody = 1, .env = SV("envelope")};
	struct sio_file *f;
	struct batch b;

	ck_assert_int_eq(segtab_grant(t, 0, &segment), 0);
	f = segtab_writer_open(t, segment);
	p.segment = segment;
	p.id = msgid_make(segment, SEGMENT_HEADER);
	batch_init(&b, f, SEGMENT_HEADER);
	ck_assert_uint_gt(batch_add(&b, &p, header), 0);
	ck_assert_int_eq(batch_write(&b), 0);
	batch_fini(&b);
	sio_close(&f);
}

static void
spool_make(void)
{
	struct segtab_conf conf = {.segment_size = SEG_SIZE, .epoch = 1};
	struct segtab *t;
	struct evlog *l;
	union ev_any any = {.seg_end = {77, 8}};

	tmpspool_make(&spool);
	l = evlog_open(spool.sio, (struct evlog_pos){ 0, 0 });
	t = segtab_open(spool.sio, &conf);
	ck_assert(l != NULL && t != NULL);
	message_write(t);
	ck_assert_int_eq(evlog_append(l, EV_SEG_END, &any), 0);
	ck_assert_int_eq(evlog_sync(l), 0);
	evlog_free(&l);
	segtab_free(&t);
}

/* ---- what is tried ---- */

/* Check's own assertions allocate. */
static void
must(bool ok)
{
	if (!ok)
		abort();
}

static int
try_log(void)
{
	struct evlog *l = evlog_open(spool.sio, (struct evlog_pos){ 1, 64 });
	union ev_any any = {.seg_end = {1, 8}};
	int rc = -1;

	if (l == NULL)
		return -1;
	if (evlog_append(l, EV_SEG_END, &any) == 0 && evlog_sync(l) == 0 &&
	    evlog_rotate(l) == 0)
		rc = evlog_cut(l, 1);
	evlog_free(&l);
	return rc;
}

static int
on_checkpoint(void *arg, enum ev_type type, const union ev_any *m)
{
	(void)arg;
	(void)type;
	(void)m;
	return 0;
}

static int
try_checkpoint(void)
{
	struct checkpoint *c = checkpoint_begin(spool.sio, 9);
	union ev_any any = {.seg_end = {1, 8}};
	int rc;

	if (c == NULL)
		return -1;
	if (checkpoint_add(c, EV_SEG_END, &any) != 0) {
		checkpoint_abort(&c);
		return -1;
	}
	if (checkpoint_commit(&c) != 0)
		return -1;
	rc = checkpoint_read(spool.sio, 9, on_checkpoint, NULL);
	must(sio_unlink(spool.sio, "checkpoint/0000000009") == 0);
	return rc;
}

/* Of a record for which it needs more memory than it has. */
static int
try_reader(void)
{
	static struct sv domains[20000];
	union ev_any any = {
	    .accept = {.domains = {.array = domains, .n = 20000}}};
	struct evlog *l = evlog_open(spool.sio, (struct evlog_pos){ 8, 40 });
	struct evlog_reader *r = NULL;
	struct evlog_record rec;
	int rc = -1;

	for (size_t i = 0; i < 20000; i++)
		domains[i] = SV("a-domain-of-some-length.test");
	if (l != NULL && evlog_append(l, EV_ACCEPT, &any) == 0 &&
	    evlog_sync(l) == 0)
		r = evlog_reader_open(spool.sio, EVLOG_FOLDER,
		    (struct evlog_pos){ 9, 0 });
	if (r != NULL && evlog_reader_next(r, EVLOG_NO_LIMIT, &rec) ==
	    EVLOG_RECORD)
		rc = 0;
	evlog_reader_close(&r);
	evlog_free(&l);
	(void)sio_unlink(spool.sio, "events/0000000009.log");
	return rc;
}

/* Of a log that was made anew: told each time until it is read anew. */
static int
try_reader_anew(void)
{
	struct evlog_pos end = { 1, 64 };
	struct evlog_reader *r = evlog_reader_open(spool.sio, EVLOG_FOLDER,
	    (struct evlog_pos){ 9, 40 });
	int rc;

	if (r == NULL)
		return -1;
	must(evlog_reader_anew(&r, end));
	rc = evlog_reader_position(r).file == 0 ? 0 : -1;
	must(rc == 0 || evlog_reader_position(r).file == 9);
	must(evlog_reader_anew(&r, end) == (rc != 0));
	must(evlog_reader_position(r).file == 0);
	evlog_reader_close(&r);
	return rc;
}

static void
file_cut(const char *path)
{
	int fd = openat(spool.dirfd, path, O_WRONLY);

	must(fd >= 0);
	must(ftruncate(fd, 40) == 0);
	close(fd);
}

/* Read, or told that it could not be; never a part. */
static int
skipped_try_load(uint64_t upto, bool want_whole)
{
	struct skipped k;
	bool whole;

	if (skipped_load(spool.sio, 77, &k, &whole) != 0) {
		must(errno == ENOMEM && k.ids == NULL);
		return -1;
	}
	must(whole == want_whole && k.upto == upto);
	must(idset_has(k.ids, msgid_make(77, 64)) == want_whole);
	idset_free(&k.ids);
	return 0;
}

/* One that is there is replaced, or stays as it is. */
static int
try_skipped(void)
{
	struct skipped k = {.segment = 77, .ids = idset_new()};
	int rc = k.ids != NULL ? 0 : -1;

	if (rc == 0)
		idset_add(k.ids, msgid_make(77, 64));
	for (k.upto = 640; rc == 0 && k.upto <= 641; k.upto++) {
		rc = skipped_save(spool.sio, &k);
		must(rc == 0 || errno == ENOMEM);
		if (rc == 0)
			rc = skipped_try_load(k.upto, true);
		else if (k.upto == 641)
			must(skipped_try_load(640, true) == 0);
	}
	idset_free(&k.ids);
	if (rc == 0) {
		file_cut("segments/0000000077.skipped");
		rc = skipped_try_load(UINT64_MAX, false);
	}
	(void)skipped_remove(spool.sio, 77);
	return rc;
}

static int
try_segments(void)
{
	struct segtab_conf conf = {.segment_size = SEG_SIZE, .epoch = 2};
	struct segtab *t = segtab_open(spool.sio, &conf);
	struct segtab_fill *f;
	uint64_t number, large;
	struct sio_file *file;
	int rc = -1;

	if (t == NULL)
		return -1;
	f = segtab_fill_begin(t);
	if (f != NULL) {
		rc = segtab_fill_run(f);
		segtab_fill_done(t, &f, rc);
	}
	file = segtab_large_create(t, &large);
	if (file == NULL)
		rc = -1;
	else
		segtab_large_drop(t, large, (struct evlog_pos){ 0, 0 });
	sio_close(&file);
	if (segtab_grant(t, 0, &number) != 0)
		rc = -1;
	(void)segtab_release(t, (struct evlog_pos){ 1, 0 });
	segtab_free(&t);
	return rc;
}

static int
try_record(void)
{
	char path[SIO_PATH_MAX];
	struct sio_file *f = sio_open(
	    spool.sio, sio_path(path, "segments", segment, ".seg"), SIO_READ);
	struct record r;
	struct buf b;
	int rc = -1;

	if (f == NULL)
		return -1;
	buf_init(&b, RECORD_MAX);
	if (record_read(f, segment, SEGMENT_HEADER, 96, &b, &r) == RECORD_OK &&
	    record_read_fd(sio_fd(f), segment, SEGMENT_HEADER, 96, &b, &r) ==
		RECORD_OK)
		rc = 0;
	buf_fini(&b);
	sio_close(&f);
	return rc;
}

static int
try_offset(void)
{
	struct offset_store o;
	struct evlog_pos pos;
	struct buf b;
	int rc;

	buf_init(&b, OFFSET_BYTES_MAX);
	rc = offset_open(&o, spool.sio, "acct", &pos, &b);
	if (rc == 0)
		rc = offset_save(&o, (struct evlog_pos){ 1, 40 }, SV("mine"));
	if (rc == 0) {
		offset_close(&o);
		buf_fini(&b);
		buf_init(&b, OFFSET_BYTES_MAX);
		rc = offset_open(&o, spool.sio, "acct", &pos, &b);
	}
	if (o.file != NULL)
		offset_close(&o);
	buf_fini(&b);
	return rc;
}

static int
try_intent(void)
{
	int fd = openat(spool.dirfd, "intent/0", O_RDWR | O_CREAT, 0600);
	struct intent_map m;
	int rc;

	must(fd >= 0);
	must(ftruncate(fd, 4 * INTENT_SLOT_BYTES) == 0);
	rc = intent_map_open(&m, fd, 4);
	if (rc == 0)
		intent_map_close(&m);
	close(fd);
	return rc;
}

static void
on_event(
    void *arg, enum ev_type type, const union ev_any *m, struct evlog_pos at)
{
	(void)arg;
	(void)type;
	(void)m;
	(void)at;
}

static void
on_found(void *arg, const struct record *r)
{
	(void)arg;
	found += r->segment == segment;
}

static const struct recover_ops ops = {
    .on_event = on_event, .on_found = on_found};

/* Whole, and as after damage. */
static int
try_recovery(void)
{
	struct recover_stats st;
	int rc = spool_recover(spool.sio, &ops, NULL, &st);

	if (rc != 0)
		return -1;
	must(renameat(spool.dirfd, "events/0000000001.log", spool.dirfd,
		 "away") == 0);
	rc = spool_recover(spool.sio, &ops, NULL, &st);
	must(renameat(spool.dirfd, "away", spool.dirfd,
		 "events/0000000001.log") == 0);
	return rc;
}

static int (*const tries[])(void) = {try_record, try_offset, try_recovery,
    try_intent, try_checkpoint, try_segments, try_log, try_reader,
    try_reader_anew, try_skipped};

START_TEST(test_nth_allocation_fails_nothing_is_lost)
{
	struct recover_stats st;
	unsigned long n;

	for (n = 1; n < 10000; n++) {
		int rc;

		spool_make();
		failed = false;
		left = n;
		rc = tries[_i]();
		left = 0;
		/* a tail that could not be read is read again later */
		ck_assert(rc == 0 || failed);
		found = 0;
		ck_assert_int_eq(spool_recover(spool.sio, &ops, NULL, &st), 0);
		ck_assert_uint_eq(found, 1);
		tmpspool_drop(&spool);
		if (!failed)
			break;
	}
	ck_assert_uint_gt(n, 1);
	ck_assert_uint_lt(n, 10000);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("nomem");
	TCase *tc = tcase_create("nomem");
	SRunner *sr;
	int bad;

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_nth_allocation_fails_nothing_is_lost, 0,
	    (int)(sizeof(tries) / sizeof(tries[0])));
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	bad = srunner_ntests_failed(sr);
	srunner_free(sr);
	return bad == 0 ? 0 : 1;
}
