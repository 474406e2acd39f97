/* SPDX-License-Identifier: ISC */
/*
 * Recovery with each of its calls failing, once: it says so or goes on, it
 * changes nothing, it forgets no message, and the next one is as good as if
 * nothing had been. And spools that a life makes seldom.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crc32c.h"
#include "common/base/msgid.h"
#include "common/base/rw.h"
#include "common/spool/checkpoint.h"
#include "common/spool/idset.h"
#include "common/spool/recover.h"
#include "common/spool/sio_mem.h"
#include "common/spool/skipped.h"
#include "tests/unit/spool/tmpspool.h"

#define NONE     ((struct evlog_pos){ 0, 0 })
#define SEALED   UINT64_C(5)
#define OPEN     UINT64_C(7)
/* Records in OPEN: more than recovery notes at once. The first is named by
 * the checkpoint, the second by the log. */
#define RECORDS  70u
#define NAMED    2u
#define LENGTH   (RECORD_HEADER + 8u) /* of each */
#define LONG_LIST 40000u /* domains: an event of more than 1 MiB */

static struct sio *sio;

struct result {
	int rc, err;
	bool seen[RECORDS], sealed_seen;
	unsigned found, events;
	char problems[2048];
	struct recover_stats st;
};

/* ---- the spool ---- */

static uint64_t
place(unsigned i)
{
	return SEGMENT_HEADER + (uint64_t)i * LENGTH;
}

/* The header of a segment is not read, nor is an envelope. */
static void
segment_write(uint64_t number, unsigned n)
{
	char path[SIO_PATH_MAX];
	struct sio_file *f = sio_open(sio, sio_path(path, "segments", number,
	    ".seg"), SIO_WRITE | SIO_CREATE);

	ck_assert_ptr_nonnull(f);
	for (unsigned i = 0; i < n; i++) {
		unsigned char header[RECORD_HEADER];
		struct record_parts p = { .segment = number,
			.id = msgid_make(number, place(i)),
			.env = SV("envelope") };
		struct iovec iov[8];
		size_t k = record_build(&p, header, iov);

		ck_assert_int_eq(sio_write_all(f, iov, k, place(i)), 0);
	}
	sio_close(&f);
}

static union ev_any
accept_of(unsigned i, const struct sv *domains, uint32_t n)
{
	return (union ev_any){ .accept = { .id = msgid_make(OPEN, place(i)),
		.segment = OPEN, .offset = place(i), .length = LENGTH,
		.domains = { .array = domains, .n = n } } };
}

static void
log_add(struct evlog *l, enum ev_type type, union ev_any any)
{
	ck_assert_int_eq(evlog_append(l, type, &any), 0);
}

/* File 2, with which the checkpoint goes on. */
static void
log_write(void)
{
	struct evlog *l = evlog_open(sio, NONE);
	struct sv domain = SV("x.test");

	ck_assert_ptr_nonnull(l);
	ck_assert_int_eq(evlog_rotate(l), 0);
	log_add(l, EV_ACCEPT, accept_of(1, &domain, 1));
	/* segments that are gone: lower, between, higher */
	for (uint64_t n = 4; n <= 8; n += 2)
		log_add(l, EV_SEG_END,
		    (union ev_any){ .seg_end = { n, 4711 } });
	ck_assert_int_eq(evlog_sync(l), 0);
	ck_assert_int_eq(evlog_cut(l, 2), 0);
	evlog_free(&l);
}

static void
checkpoint_write(uint64_t number)
{
	struct checkpoint *c = checkpoint_begin(sio, number);
	struct sv domain = SV("x.test");
	union ev_any any = { .seg_end = { SEALED, place(1) } };

	ck_assert_ptr_nonnull(c);
	ck_assert_int_eq(checkpoint_add(c, EV_SEG_END, &any), 0);
	any.seg_at = (struct ev_seg_at){ OPEN, place(1) };
	ck_assert_int_eq(checkpoint_add(c, EV_SEG_AT, &any), 0);
	any = accept_of(0, &domain, 1);
	ck_assert_int_eq(checkpoint_add(c, EV_ACCEPT, &any), 0);
	ck_assert_int_eq(checkpoint_commit(&c), 0);
}

static void
setup(void)
{
	sio = sio_mem_new();
	ck_assert_int_eq(sio_spool_create(sio), 0);
	segment_write(SEALED, 1);
	segment_write(OPEN, RECORDS);
	log_write();
	checkpoint_write(2);
}

static void
teardown(void)
{
	sio_free(&sio);
}

/* ---- recovery ---- */

static void
seen(struct result *r, uint64_t id)
{
	for (unsigned i = 0; i < RECORDS; i++)
		if (id == msgid_make(OPEN, place(i)))
			r->seen[i] = true;
	if (id == msgid_make(SEALED, place(0)))
		r->sealed_seen = true;
}

static void
on_event(void *arg, enum ev_type type, const union ev_any *m,
    struct evlog_pos at)
{
	struct result *r = arg;

	(void)at;
	r->events++;
	if (type == EV_ACCEPT)
		seen(r, m->accept.id);
}

static void
on_found(void *arg, const struct record *rec)
{
	struct result *r = arg;

	r->found++;
	seen(r, rec->id);
}

static void
on_problem(void *arg, const char *text)
{
	struct result *r = arg;
	size_t n = strlen(r->problems);

	snprintf(r->problems + n, sizeof(r->problems) - n, "%s\n", text);
}

static void
recover(struct sio *s, struct result *r)
{
	static const struct recover_ops ops = { .on_event = on_event,
		.on_found = on_found, .on_problem = on_problem };

	memset(r, 0, sizeof(*r));
	r->rc = spool_recover(s, &ops, r, &r->st);
	r->err = errno;
}

static bool
told(const struct result *r, const char *what)
{
	return strstr(r->problems, what) != NULL;
}

static void
tail_later(struct sio *s, struct skipped *k, uint64_t from, uint64_t to,
    struct result *r)
{
	static const struct recover_ops ops = { .on_event = on_event,
		.on_found = on_found, .on_problem = on_problem };
	uint64_t end;

	ck_assert_int_eq(spool_recover_tail(s, k->segment, from, to, k->ids,
	    &ops, r, &end), 0);
}

/* As qmgr does: what was skipped, and the tail behind it. */
static void
skipped_take(struct sio *s, struct result *r)
{
	uint64_t *list;
	size_t n;

	ck_assert_int_eq(skipped_list(s, &list, &n), 0);
	for (size_t i = 0; i < n; i++) {
		struct skipped k;
		bool whole;

		ck_assert_int_eq(skipped_load(s, list[i], &k, &whole), 0);
		ck_assert(whole);
		tail_later(s, &k, SEGMENT_HEADER, k.upto, r);
		tail_later(s, &k, k.upto, UINT64_MAX, r);
		idset_free(&k.ids);
		ck_assert_int_eq(skipped_remove(s, list[i]), 0);
	}
	free(list);
}

/* All that was committed, but for a tail that is left for later. */
static void
forgot_nothing(const struct result *r)
{
	bool later = !r->st.rescanned && (told(r, "cannot be read") ||
	    told(r, "cannot be synced"));

	ck_assert(r->sealed_seen || !r->st.rescanned);
	for (unsigned i = 0; i < RECORDS; i++)
		ck_assert_msg(r->seen[i] || later, "message %u: %s", i,
		    r->problems);
}

static struct sio_mem_fault
fault(struct sio *s, unsigned op, uint64_t after, int err)
{
	return sio_mem_fault(s, (struct sio_mem_fault){ .ops = op,
		.after = after, .count = 1, .err = err });
}

/* The nth call of that kind fails; false if there are not so many. */
static bool
nth_fails(unsigned op, uint64_t n, int err, const struct result *want)
{
	struct sio *s = sio_mem_clone(sio);
	uint64_t hash = sio_mem_hash(s);
	struct result r;
	bool failed;

	(void)fault(s, op, n, err);
	recover(s, &r);
	failed = sio_mem_fault(s, (struct sio_mem_fault){ 0 }).count == 0;
	if (r.rc == 0) {
		skipped_take(s, &r);
		ck_assert_msg(!want->st.rescanned || r.found >= want->found,
		    "%u found, %u wanted: %s", r.found, want->found,
		    r.problems);
		forgot_nothing(&r);
	} else {
		ck_assert_int_ne(r.err, 0);
	}
	recover(s, &r);
	ck_assert_int_eq(r.rc, 0);
	ck_assert_uint_eq(r.found, want->found);
	ck_assert_uint_eq(r.events, want->events);
	ck_assert(sio_mem_hash(s) == hash);
	sio_free(&s);
	return failed;
}

static void
each_fails(const struct result *want)
{
	static const struct {
		unsigned op;
		int err;
	} t[] = {
		{ SIO_OP_OPEN, EIO }, { SIO_OP_OPEN, EMFILE },
		{ SIO_OP_READ, EIO }, { SIO_OP_LIST, EIO },
		{ SIO_OP_WRITE, EIO }, { SIO_OP_WRITE, ENOSPC },
		{ SIO_OP_SYNC, EIO }, { SIO_OP_SYNC_DIR, EIO },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		uint64_t n = 0;

		while (nth_fails(t[i].op, n, t[i].err, want))
			n++;
		ck_assert_uint_gt(n, 0);
	}
}

START_TEST(test_recover_each_call_failing_forgets_nothing)
{
	struct result want;

	recover(sio, &want);
	ck_assert_str_eq(want.problems, "");
	ck_assert_uint_eq(want.st.checkpoint, 2);
	ck_assert_uint_eq(want.found, RECORDS - NAMED);
	each_fails(&want);
}
END_TEST

/* The file with which the checkpoint goes on is lost; a third one names a
 * message, and is read to its end. */
START_TEST(test_recover_damaged_each_call_failing_forgets_nothing)
{
	struct evlog *l = evlog_open(sio, (struct evlog_pos){ 2,
	    EVLOG_FILE_START });
	struct sv domain = SV("x.test");
	struct result want;

	log_add(l, EV_ACCEPT, accept_of(2, &domain, 1));
	ck_assert_int_eq(evlog_sync(l), 0);
	evlog_free(&l);
	ck_assert_int_eq(sio_unlink(sio, "events/0000000002.log"), 0);
	recover(sio, &want);
	ck_assert(want.st.rescanned);
	/* also what stands in the segment that was sealed */
	ck_assert_uint_eq(want.found, RECORDS - 2 + 1);
	each_fails(&want);
}
END_TEST

static void
skipped_check(struct sio *s, uint64_t upto, uint64_t id, bool want_whole)
{
	struct skipped k;
	bool whole;

	ck_assert_int_eq(skipped_load(s, SEALED, &k, &whole), 0);
	ck_assert(whole == want_whole);
	ck_assert_uint_eq(k.segment, SEALED);
	ck_assert_uint_eq(k.upto, upto);
	ck_assert_uint_eq(idset_count(k.ids), id != 0);
	ck_assert(id == 0 || idset_has(k.ids, id));
	idset_free(&k.ids);
}

START_TEST(test_skipped_is_kept_or_told)
{
	static const unsigned ops[] = { SIO_OP_CREATE, SIO_OP_WRITE,
		SIO_OP_SYNC, SIO_OP_RENAME, SIO_OP_SYNC_DIR };
	struct skipped k = { .segment = SEALED, .upto = 640,
		.ids = idset_new() }, got;
	uint64_t old = msgid_make(SEALED - 1, 64);
	bool whole;

	ck_assert_int_eq(skipped_load(sio, SEALED, &got, &whole), -1);
	ck_assert_int_eq(errno, ENOENT);
	ck_assert_ptr_null(got.ids);
	idset_add(k.ids, old);
	idset_add(k.ids, msgid_make(SEALED + 1, 64)); /* cannot be in it */
	ck_assert_int_eq(skipped_save(sio, &k), 0);
	skipped_check(sio, 640, old, true);
	k.upto = 704;
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		(void)fault(sio, ops[i], 0, EIO);
		ck_assert_msg(skipped_save(sio, &k) == -1, "call %zu", i);
		ck_assert_int_eq(errno, EIO);
		skipped_check(sio, ops[i] == SIO_OP_SYNC_DIR ? 704 : 640, old,
		    true);
	}
	(void)fault(sio, SIO_OP_READ, 0, EIO);
	ck_assert_int_eq(skipped_load(sio, SEALED, &got, &whole), -1);
	ck_assert_ptr_null(got.ids);
	ck_assert(sio_mem_flip(sio, "segments/0000000005.skipped", 33));
	skipped_check(sio, UINT64_MAX, 0, false);
	(void)fault(sio, SIO_OP_UNLINK, 0, EIO);
	ck_assert_int_eq(skipped_remove(sio, SEALED), -1);
	ck_assert_int_eq(skipped_remove(sio, SEALED), 0);
	ck_assert_int_eq(skipped_remove(sio, SEALED), 0);
	idset_free(&k.ids);
}
END_TEST

/* So many bytes of a .skipped file of SEALED with one ID, and a good checksum
 * behind them; the u32 at `at` is changed to v. */
static void
skipped_forge(size_t n, size_t at, uint32_t v)
{
	unsigned char mem[64] = { 0 };
	struct sio_file *f;
	struct wr w;

	wr_init(&w, mem, sizeof(mem));
	wr_u32(&w, 0x504b5350);
	wr_u32(&w, 0);
	wr_u64(&w, SEALED);
	wr_u64(&w, 640);
	wr_u64(&w, 1);
	wr_u64(&w, msgid_make(SEALED, 64));
	wr_init(&w, mem + at, 4);
	wr_u32(&w, v);
	wr_init(&w, mem + n, 4);
	wr_u32(&w, crc32c(0, mem, n));
	f = sio_open(sio, "segments/0000000005.skipped",
	    SIO_WRITE | SIO_CREATE | SIO_TRUNC);
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(sio_pwrite(f, mem, n + 4, 0), 0);
	sio_close(&f);
}

START_TEST(test_skipped_senseless_with_good_checksum_is_damaged)
{
	static const struct {
		size_t n, at;
		uint32_t v;
	} t[] = {
		{ 40, 0, 0x504b5351 },  /* another kind of file */
		{ 40, 4, 1 },           /* of a later version */
		{ 40, 8, SEALED + 1 },  /* of another segment */
		{ 40, 24, 0 },          /* more than it says */
		{ 40, 24, 2 },          /* less */
		{ 40, 28, 1 },          /* far less */
		{ 44, 16, 640 },        /* half an ID more */
		{ 24, 16, 640 },        /* no whole head */
		{ 0, 16, 640 },
	};

	skipped_forge(40, 16, 704);
	skipped_check(sio, 704, msgid_make(SEALED, 64), true);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		skipped_forge(t[i].n, t[i].at, t[i].v);
		skipped_check(sio, UINT64_MAX, 0, false);
	}
	skipped_forge(48, 24, 2); /* the second ID is 0 */
	skipped_check(sio, UINT64_MAX, 0, false);
}
END_TEST

/* It would keep qmgr from starting. */
START_TEST(test_skipped_larger_than_any_is_damaged)
{
	struct tmpspool t;
	struct sio_file *f;
	struct skipped k;
	bool whole = true;

	tmpspool_make(&t);
	f = sio_open(t.sio, "segments/0000000005.skipped",
	    SIO_WRITE | SIO_CREATE);
	ck_assert_ptr_nonnull(f);
	/* of no blocks */
	ck_assert_int_eq(sio_ftruncate(f, UINT64_C(1) << 31), 0);
	sio_close(&f);
	ck_assert_int_eq(skipped_load(t.sio, SEALED, &k, &whole), 0);
	ck_assert(!whole);
	ck_assert_uint_eq(k.upto, UINT64_MAX);
	ck_assert_uint_eq(idset_count(k.ids), 0);
	idset_free(&k.ids);
	tmpspool_drop(&t);
}
END_TEST

static void
skipped_write(uint64_t upto, uint64_t id)
{
	struct skipped k = { .segment = OPEN, .upto = upto,
		.ids = idset_new() };

	idset_add(k.ids, id);
	ck_assert_int_eq(skipped_save(sio, &k), 0);
	idset_free(&k.ids);
}

/* A start at which just segment OPEN cannot be opened. */
static void
recover_without_open(struct result *r)
{
	for (uint64_t i = 0; ; i++) {
		struct sio *s = sio_mem_clone(sio);

		(void)fault(s, SIO_OP_OPEN, i, EIO);
		recover(s, r);
		if (r->rc == 0 && told(r, "segment 7 cannot be read")) {
			sio_free(&sio);
			sio = s;
			return;
		}
		sio_free(&s);
		ck_assert_uint_lt(i, 50);
	}
}

/* A second damage before the segment could be read: what the first start knew
 * counts as well. */
START_TEST(test_skipped_twice_knows_what_both_starts_knew)
{
	uint64_t *list;
	struct result r;
	size_t n;

	skipped_write(place(5), msgid_make(OPEN, place(9)));
	ck_assert_int_eq(sio_unlink(sio, "events/0000000002.log"), 0);
	recover_without_open(&r);
	ck_assert_int_eq(skipped_list(sio, &list, &n), 0);
	ck_assert_uint_eq(n, 1);
	free(list);
	skipped_take(sio, &r);
	for (unsigned i = 0; i < RECORDS; i++)
		ck_assert_msg(r.seen[i] == (i != 9), "message %u", i);
}
END_TEST

/* The nth call of these kinds fails and the next as well; false if there are
 * not so many. *seen_r counts the starts that ended because of both. */
static bool
two_fail(unsigned ops, uint64_t n, const char *second, unsigned *seen_r)
{
	struct sio *s = sio_mem_clone(sio);
	struct result r;
	bool failed;

	(void)sio_mem_fault(s, (struct sio_mem_fault){ .ops = ops, .after = n,
		.count = 2, .err = EIO });
	recover(s, &r);
	failed = sio_mem_fault(s, (struct sio_mem_fault){ 0 }).count < 2;
	if (told(&r, "segment 7 cannot be read") && told(&r, second)) {
		ck_assert_int_eq(r.rc, -1);
		ck_assert_int_eq(r.err, EIO);
		++*seen_r;
	}
	/* nothing that was known is lost */
	recover(s, &r);
	ck_assert_int_eq(r.rc, 0);
	skipped_take(s, &r);
	forgot_nothing(&r);
	sio_free(&s);
	return failed;
}

/* The next checkpoint would hide that the segment is to be read. */
START_TEST(test_recover_segment_that_cannot_be_noted_ends_the_start)
{
	static const unsigned ops[] = { SIO_OP_CREATE, SIO_OP_WRITE,
		SIO_OP_SYNC, SIO_OP_RENAME, SIO_OP_SYNC_DIR };

	ck_assert_int_eq(sio_unlink(sio, "events/0000000002.log"), 0);
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		unsigned seen = 0;

		for (uint64_t n = 0; two_fail(SIO_OP_OPEN | ops[i], n,
		    "it cannot be noted that it was skipped", &seen); n++)
			;
		ck_assert_msg(seen > 0, "call %zu", i);
	}
}
END_TEST

/* Nor is what an earlier start knew of it given up. */
START_TEST(test_recover_segment_with_a_note_not_to_be_read_ends_the_start)
{
	unsigned seen = 0;

	skipped_write(place(5), msgid_make(OPEN, place(0)));
	ck_assert_int_eq(sio_unlink(sio, "events/0000000002.log"), 0);
	for (uint64_t n = 0; two_fail(SIO_OP_OPEN, n,
	    "what is known of it cannot be read", &seen); n++)
		;
	ck_assert_uint_eq(seen, 1);
}
END_TEST

/* Nothing is known any more of what is to be found in the segment: its owner
 * takes all of it, and the start none. */
START_TEST(test_recover_damaged_skipped_means_the_whole_segment)
{
	struct result r;
	struct skipped k;
	bool whole;

	skipped_write(place(5), msgid_make(OPEN, place(9)));
	ck_assert(sio_mem_flip(sio, "segments/0000000007.skipped", 33));
	ck_assert_int_eq(sio_unlink(sio, "events/0000000002.log"), 0);
	recover(sio, &r);
	ck_assert_int_eq(r.rc, 0);
	ck_assert(r.st.rescanned);
	ck_assert(told(&r, "segment 7 was skipped, and what was known of it "
	    "is damaged"));
	ck_assert(r.sealed_seen);
	ck_assert_uint_eq(r.found, 1);
	ck_assert_int_eq(skipped_load(sio, OPEN, &k, &whole), 0);
	ck_assert(!whole);
	tail_later(sio, &k, SEGMENT_HEADER, k.upto, &r);
	idset_free(&k.ids);
	ck_assert_uint_eq(r.found, 1 + RECORDS);
	forgot_nothing(&r);
}
END_TEST

/* The log knows more of the segment than when it was skipped first. */
START_TEST(test_skipped_again_reaches_to_what_the_log_knows)
{
	struct evlog *l = evlog_open(sio, (struct evlog_pos){ 2,
	    EVLOG_FILE_START });
	struct sv domain = SV("x.test");
	struct skipped k;
	struct result r;
	bool whole;

	log_add(l, EV_ACCEPT, accept_of(4, &domain, 1));
	ck_assert_int_eq(evlog_sync(l), 0);
	evlog_free(&l);
	ck_assert_int_eq(sio_unlink(sio, "events/0000000002.log"), 0);
	skipped_write(place(2), msgid_make(OPEN, place(9)));
	recover_without_open(&r);
	ck_assert_int_eq(skipped_load(sio, OPEN, &k, &whole), 0);
	ck_assert(whole);
	ck_assert_uint_eq(k.upto, place(5));
	/* its owner reads up to there, and behind what the log knows */
	tail_later(sio, &k, SEGMENT_HEADER, k.upto, &r);
	tail_later(sio, &k, place(5), UINT64_MAX, &r);
	idset_free(&k.ids);
	/* the checkpoint names 0 and the log 4; each other one once */
	ck_assert_uint_eq(r.found, RECORDS - 3 + 1);
	for (unsigned i = 0; i < RECORDS; i++)
		ck_assert_msg(r.seen[i] == (i != 9), "message %u", i);
}
END_TEST

/* Another one would be taken in its place, and what came since be lost. */
START_TEST(test_recover_checkpoint_without_a_descriptor_is_not_damaged)
{
	static const int errs[] = { EMFILE, ENFILE, ENOMEM };
	struct result r;

	checkpoint_write(1); /* an older one */
	for (size_t i = 0; i < sizeof(errs) / sizeof(errs[0]); i++) {
		(void)fault(sio, SIO_OP_OPEN, 0, errs[i]);
		recover(sio, &r);
		ck_assert_int_eq(r.rc, -1);
		ck_assert_int_eq(r.err, errs[i]);
		ck_assert_str_eq(r.problems, "");
		ck_assert_uint_eq(r.events, 0);
	}
	ck_assert_uint_eq(checkpoint_size(sio, 3), 0);
	(void)fault(sio, SIO_OP_READ, 0, EIO);
	ck_assert_uint_eq(checkpoint_size(sio, 2), 0);
	ck_assert_uint_gt(checkpoint_size(sio, 2), 0);
	(void)fault(sio, SIO_OP_OPEN, 0, EIO);
	recover(sio, &r);
	ck_assert_int_eq(r.rc, 0);
	ck_assert(told(&r, "checkpoint 2 is damaged"));
	ck_assert_uint_eq(r.st.checkpoint, 1);
	ck_assert(r.st.rescanned);
}
END_TEST

/* Nobody would come back to what stands behind a damaged record, even if its
 * writer may be at work: it is read on. */
START_TEST(test_recover_damaged_log_reads_on_behind_a_damaged_record)
{
	static const struct recover_ops ops = { .on_event = on_event,
		.on_found = on_found, .on_problem = on_problem, .live = true };
	static struct result r;

	ck_assert(sio_mem_flip(sio, "segments/0000000007.seg",
	    place(1) + RECORD_HEADER));
	ck_assert_int_eq(sio_unlink(sio, "events/0000000002.log"), 0);
	ck_assert_int_eq(spool_recover(sio, &ops, &r, &r.st), 0);
	ck_assert(r.st.rescanned);
	ck_assert(told(&r, "a damaged record of 80 bytes"));
	ck_assert_uint_eq(r.found, RECORDS - 2 + 1);
}
END_TEST

START_TEST(test_idset_of_many)
{
	struct idset *s = idset_new();

	for (uint64_t i = 1; i < 5000; i++)
		ck_assert(idset_add(s, msgid_make(i, SEGMENT_HEADER)));
	for (uint64_t i = 1; i < 10000; i++)
		ck_assert(idset_has(s, msgid_make(i, SEGMENT_HEADER)) ==
		    (i < 5000));
	ck_assert(!idset_add(s, msgid_make(1, SEGMENT_HEADER)));
	idset_free(&s);
	idset_free(&s); /* none */
}
END_TEST

START_TEST(test_recover_log_longer_than_what_is_written_anew_at_once)
{
	static struct sv domains[LONG_LIST];
	struct evlog *l = evlog_open(sio, (struct evlog_pos){ 2, 0 });
	struct result r;

	for (size_t i = 0; i < LONG_LIST; i++)
		domains[i] = SV("a-domain-of-some-length.test");
	log_add(l, EV_ACCEPT, accept_of(2, domains, LONG_LIST));
	ck_assert_int_eq(evlog_write(l), 0);
	recover(sio, &r);
	ck_assert_int_eq(r.rc, 0);
	ck_assert_uint_gt(r.st.end.offset, UINT64_C(1) << 20);
	ck_assert(sio_mem_is_durable(sio, "events/0000000003.log", 0,
	    r.st.end.offset));
	evlog_free(&l);
}
END_TEST

START_TEST(test_recover_segments_without_any_log_are_read)
{
	struct result r;

	ck_assert_int_eq(sio_unlink(sio, "checkpoint/0000000002"), 0);
	ck_assert_int_eq(sio_unlink(sio, "events/0000000002.log"), 0);
	recover(sio, &r);
	ck_assert_int_eq(r.rc, 0);
	ck_assert(told(&r, "does not begin at file 1"));
	ck_assert_uint_eq(r.found, RECORDS + 1);
	ck_assert_uint_eq(r.st.end.file, 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("recover calls");
	TCase *tc = tcase_create("recover calls");
	SRunner *sr;
	int bad;

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_recover_each_call_failing_forgets_nothing);
	tcase_add_test(tc,
	    test_recover_damaged_each_call_failing_forgets_nothing);
	tcase_add_test(tc,
	    test_recover_checkpoint_without_a_descriptor_is_not_damaged);
	tcase_add_test(tc,
	    test_recover_log_longer_than_what_is_written_anew_at_once);
	tcase_add_test(tc,
	    test_recover_damaged_log_reads_on_behind_a_damaged_record);
	tcase_add_test(tc, test_skipped_is_kept_or_told);
	tcase_add_test(tc,
	    test_skipped_senseless_with_good_checksum_is_damaged);
	tcase_add_test(tc, test_skipped_larger_than_any_is_damaged);
	tcase_add_test(tc, test_skipped_twice_knows_what_both_starts_knew);
	tcase_add_test(tc,
	    test_recover_segment_that_cannot_be_noted_ends_the_start);
	tcase_add_test(tc,
	    test_recover_segment_with_a_note_not_to_be_read_ends_the_start);
	tcase_add_test(tc,
	    test_recover_damaged_skipped_means_the_whole_segment);
	tcase_add_test(tc, test_skipped_again_reaches_to_what_the_log_knows);
	tcase_add_test(tc, test_idset_of_many);
	tcase_add_test(tc, test_recover_segments_without_any_log_are_read);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	bad = srunner_ntests_failed(sr);
	srunner_free(sr);
	return bad == 0 ? 0 : 1;
}
