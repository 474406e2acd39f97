/* SPDX-License-Identifier: ISC */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/msgid.h"
#include "common/mail/envelope.h"
#include "common/spool/batch.h"
#include "common/spool/live.h"
#include "common/spool/recover.h"
#include "common/spool/segtab.h"
#include "common/spool/sio_mem.h"
#include "common/spool/spoolcheck.h"

#define SEG_SIZE UINT64_C(65536)
#define NONE     ((struct evlog_pos){ 0, 0 })

static struct sio *sio;
static struct evlog *evlog;
static struct segtab *tab;
static struct sio_file *writer;
static uint64_t segment, place;
static bool apart;         /* what is committed has two groups, both held */

struct msg {
	uint64_t id, segment, offset, length;
};

static void
open_all(struct evlog_pos end)
{
	struct segtab_conf conf = { .epoch = end.file + 1,
		.segment_size = SEG_SIZE, .free_max = 2 };

	evlog = evlog_open(sio, end);
	tab = segtab_open(sio, &conf);
	ck_assert_ptr_nonnull(evlog);
	ck_assert_ptr_nonnull(tab);
}

static void
segment_begin(void)
{
	sio_close(&writer);
	ck_assert_int_eq(segtab_grant(tab, 0, &segment), 0);
	writer = segtab_writer_open(tab, segment);
	ck_assert_ptr_nonnull(writer);
	place = SEGMENT_HEADER;
}

static void
setup(void)
{
	sio = sio_mem_new();
	ck_assert_int_eq(sio_spool_create(sio), 0);
	open_all(NONE);
	segment_begin();
}

static void
teardown(void)
{
	sio_close(&writer);
	evlog_free(&evlog);
	segtab_free(&tab);
	sio_free(&sio);
}

static struct sv
env_bytes(unsigned char mem[512])
{
	struct env_rcpt rcpts[2] = { { .addr = SV("a@x.test") },
		{ .addr = SV("b@y.test") } };
	struct env_group groups[2] = { { .hold = SV("l"),
		.priority = PRIORITY_DEFAULT }, { SV("v1"), SV("l"), 70 } };
	struct envelope e = { .sender = SV("s@z.test"), .rcpts = rcpts,
		.nrcpts = 2, .src_type = SV("smtp") };
	struct wr w;

	rcpts[0].group = apart ? 1 : 0;
	rcpts[1].group = apart ? 2 : 0;
	e.groups = groups;
	e.ngroups = apart ? 2 : 0;

	wr_init(&w, mem, 512);
	envelope_encode(&w, &e);
	ck_assert(!w.failed);
	return sv_make(mem, w.n);
}

/* A committed message of which qmgr has not heard. */
static struct msg
commit(void)
{
	unsigned char mem[512], header[RECORD_HEADER];
	char body[] = "Subject: x\r\n\r\nbody\r\n";
	struct iovec iov = { body, sizeof(body) - 1 };
	struct record_parts p = { .id = msgid_make(segment, place),
		.segment = segment, .body = &iov, .nbody = 1,
		.env = env_bytes(mem) };
	struct msg m = { p.id, segment, place, 0 };
	struct batch b;

	batch_init(&b, writer, place);
	m.length = batch_add(&b, &p, header);
	ck_assert_int_eq(batch_write(&b), 0);
	place = b.end;
	batch_fini(&b);
	return m;
}

static void
accept_msg(const struct msg *m)
{
	struct sv domains[2] = { SV("x.test"), SV("y.test") };
	union ev_any any;

	memset(&any, 0, sizeof(any));
	any.accept = (struct ev_accept){ .id = m->id, .segment = m->segment,
		.offset = m->offset, .length = m->length,
		.domains = { .array = domains, .n = 2 } };
	ck_assert_int_eq(evlog_append(evlog, EV_ACCEPT, &any), 0);
	ck_assert(segtab_ref(tab, m->segment, m->offset, m->length));
}

static void
finish_msg(const struct msg *m)
{
	union ev_any any;

	for (uint32_t i = 0; i < 2; i++) {
		memset(&any, 0, sizeof(any));
		any.attempt.id = m->id;
		any.attempt.rcpt_idx = i;
		any.attempt.action = ACT_DELIVERED;
		ck_assert_int_eq(evlog_append(evlog, EV_ATTEMPT, &any), 0);
	}
	segtab_unref(tab, m->segment, m->length, evlog_position(evlog));
}

static void
seal(void)
{
	union ev_any any;

	any.seg_end = (struct ev_seg_end){ segment, place };
	ck_assert_int_eq(evlog_append(evlog, EV_SEG_END, &any), 0);
	segtab_seal(tab, segment, place, evlog_position(evlog));
}

struct result {
	struct live *live;
	uint64_t found[16];
	size_t nfound;
	unsigned seen[EV_TYPES];   /* events */
	char problems[1024];
	struct recover_stats st;
};

static void
on_event(void *arg, enum ev_type type, const union ev_any *m,
    struct evlog_pos at)
{
	(void)at;
	((struct result *)arg)->seen[type]++;
	live_event(((struct result *)arg)->live, type, m);
}

static void
on_found(void *arg, const struct record *r)
{
	struct result *res = arg;

	ck_assert_uint_lt(res->nfound, 16);
	res->found[res->nfound++] = r->id;
}

static void
on_problem(void *arg, const char *text)
{
	struct result *res = arg;
	size_t n = strlen(res->problems);

	snprintf(res->problems + n, sizeof(res->problems) - n, "%s\n", text);
}

static void
recover(struct result *r)
{
	static const struct recover_ops ops = { .on_event = on_event,
		.on_found = on_found, .on_problem = on_problem };

	memset(r, 0, sizeof(*r));
	r->live = live_new();
	ck_assert_int_eq(spool_recover(sio, &ops, r, &r->st), 0);
}

static void
checkpoint_now(const struct msg *live)
{
	uint64_t number;
	struct checkpoint *c;
	struct sv domains[2] = { SV("x.test"), SV("y.test") };
	union ev_any any;

	ck_assert_int_eq(evlog_rotate(evlog), 0);
	number = evlog_position(evlog).file;
	c = checkpoint_begin(sio, number);
	ck_assert_ptr_nonnull(c);
	ck_assert_int_eq(segtab_checkpoint(tab, c), 0);
	memset(&any, 0, sizeof(any));
	any.accept = (struct ev_accept){ .id = live->id,
		.segment = live->segment, .offset = live->offset,
		.length = live->length,
		.domains = { .array = domains, .n = 2 } };
	ck_assert_int_eq(checkpoint_add(c, EV_ACCEPT, &any), 0);
	ck_assert_int_eq(evlog_sync(evlog), 0);
	ck_assert_int_eq(checkpoint_commit(&c), 0);
}

START_TEST(test_recover_empty_spool_is_empty)
{
	struct result r;

	recover(&r);
	ck_assert_uint_eq(live_count(r.live), 0);
	ck_assert_uint_eq(r.nfound, 0);
	ck_assert_str_eq(r.problems, "");
	ck_assert_uint_eq(r.st.end.file, 1);
	live_free(&r.live);
}
END_TEST

START_TEST(test_recover_tail_is_found_once)
{
	struct msg a = commit(), b = commit(), c;
	struct result r;

	accept_msg(&a);
	accept_msg(&b);
	finish_msg(&a);
	c = commit();
	ck_assert_int_eq(evlog_write(evlog), 0);
	recover(&r);
	ck_assert_uint_eq(live_count(r.live), 1);
	ck_assert_ptr_nonnull(live_find(r.live, b.id));
	ck_assert_uint_eq(r.nfound, 1);
	ck_assert_uint_eq(r.found[0], c.id);
	live_free(&r.live);
}
END_TEST

START_TEST(test_recover_sealed_segment_is_not_read)
{
	struct msg a = commit();
	struct result r;

	accept_msg(&a);
	seal();
	(void)commit(); /* refused: behind the end that was logged */
	ck_assert_int_eq(evlog_write(evlog), 0);
	recover(&r);
	ck_assert_uint_eq(r.nfound, 0);
	ck_assert_uint_eq(r.st.segments, 0);
	live_free(&r.live);
}
END_TEST

static void
fault_once(unsigned ops, uint64_t after)
{
	struct sio_mem_fault f = { .ops = ops, .after = after, .count = 1,
		.err = EIO };

	(void)sio_mem_fault(sio, f);
}

static int
recover_failing(struct result *r, unsigned ops, uint64_t after)
{
	static const struct recover_ops rec_ops = { .on_event = on_event,
		.on_found = on_found, .on_problem = on_problem };
	int rc;

	memset(r, 0, sizeof(*r));
	r->live = live_new();
	fault_once(ops, after);
	rc = spool_recover(sio, &rec_ops, r, &r->st);
	fault_once(0, 0);
	return rc;
}

/* What is found and cannot be made durable is not told: its ACCEPT would be
 * durable before it. */
START_TEST(test_recover_tail_that_cannot_be_synced_is_left)
{
	static const struct {
		unsigned op;
		uint64_t after; /* those of the log */
	} failing[] = { { SIO_OP_SYNC, 1 }, { SIO_OP_WRITE, 1 } };
	struct msg a = commit(), b;
	struct result r;

	accept_msg(&a);
	b = commit();
	(void)commit();
	ck_assert_int_eq(evlog_write(evlog), 0);
	for (size_t i = 0; i < 2; i++) {
		ck_assert_int_eq(recover_failing(&r, failing[i].op,
		    failing[i].after), 0);
		ck_assert_uint_eq(r.nfound, 0);
		ck_assert_uint_eq(r.st.found, 0);
		ck_assert_ptr_nonnull(strstr(r.problems, "cannot be synced"));
		live_free(&r.live);
	}
	recover(&r);
	ck_assert_uint_eq(r.nfound, 2);
	ck_assert_uint_eq(r.found[0], b.id);
	live_free(&r.live);
}
END_TEST

/* The same for one segment, later: the rest of it is not told. */
START_TEST(test_recover_tail_later_that_cannot_be_read_is_told_in_part)
{
	static const struct recover_ops ops = { .on_event = on_event,
		.on_found = on_found, .on_problem = on_problem };
	struct msg a = commit(), b = commit();
	struct result r;
	uint64_t end;

	memset(&r, 0, sizeof(r));
	fault_once(SIO_OP_SYNC, 0);
	ck_assert_int_eq(spool_recover_tail(sio, segment, SEGMENT_HEADER,
	    UINT64_MAX, NULL, &ops, &r, &end), -1);
	ck_assert_int_eq(errno, EIO);
	ck_assert_uint_eq(r.nfound, 0);
	/* each record is read once more when all are durable */
	for (uint64_t n = 1; r.nfound < 2; n++) {
		ck_assert_uint_lt(n, 20);
		r.nfound = 0;
		fault_once(SIO_OP_READ, n);
		if (spool_recover_tail(sio, segment, SEGMENT_HEADER,
	    UINT64_MAX, NULL, &ops, &r, &end) == 0)
			break;
		ck_assert_uint_lt(r.nfound, 2);
	}
	fault_once(0, 0);
	ck_assert_uint_eq(r.nfound, 2);
	ck_assert_uint_eq(r.found[0], a.id);
	ck_assert_uint_eq(end, b.offset + b.length);
}
END_TEST

/* A record whose writer is in the middle of it looks damaged. */
START_TEST(test_recover_live_tail_waits_for_a_half_written_record)
{
	static const struct recover_ops live = { .on_event = on_event,
		.on_found = on_found, .on_problem = on_problem, .live = true };
	static const struct recover_ops done = { .on_event = on_event,
		.on_found = on_found, .on_problem = on_problem };
	struct msg a = commit(), b = commit(), c = commit();
	struct result r;
	uint64_t end;
	char path[SIO_PATH_MAX];

	sio_path(path, "segments", segment, ".seg");
	ck_assert(sio_mem_flip(sio, path, b.offset + b.length - 9));
	memset(&r, 0, sizeof(r));
	ck_assert_int_eq(spool_recover_tail(sio, segment, SEGMENT_HEADER,
	    UINT64_MAX, NULL, &live, &r, &end), 0);
	ck_assert_uint_eq(r.nfound, 1);
	ck_assert_uint_eq(end, a.offset + a.length);
	/* it comes to its end */
	ck_assert(sio_mem_flip(sio, path, b.offset + b.length - 9));
	ck_assert_int_eq(spool_recover_tail(sio, segment, end, UINT64_MAX,
	    NULL, &live, &r, &end), 0);
	ck_assert_uint_eq(r.nfound, 3);
	ck_assert_uint_eq(r.found[1], b.id);
	ck_assert_uint_eq(r.found[2], c.id);
	/* nobody is at it any more: it is damaged, and the rest is taken */
	memset(&r, 0, sizeof(r));
	ck_assert(sio_mem_flip(sio, path, b.offset + b.length - 9));
	ck_assert_int_eq(spool_recover_tail(sio, segment, SEGMENT_HEADER,
	    UINT64_MAX, NULL, &done, &r, &end), 0);
	ck_assert_uint_eq(r.nfound, 2);
	ck_assert_uint_eq(r.found[1], c.id);
}
END_TEST

/* Nobody would come back to it. */
START_TEST(test_recover_after_damage_needs_its_syncs)
{
	struct result r;

	(void)commit();
	ck_assert_int_eq(evlog_rotate(evlog), 0);
	ck_assert_int_eq(sio_unlink(sio, "events/0000000001.log"), 0);
	ck_assert_int_eq(recover_failing(&r, SIO_OP_SYNC, 1), -1);
	ck_assert_uint_eq(r.nfound, 0);
	live_free(&r.live);
	recover(&r);
	ck_assert_uint_eq(r.nfound, 1);
	live_free(&r.live);
}
END_TEST

START_TEST(test_recover_from_checkpoint_and_log)
{
	struct msg a = commit(), b = commit(), c;
	struct result r;

	accept_msg(&a);
	accept_msg(&b);
	finish_msg(&a);
	checkpoint_now(&b);
	ck_assert_int_eq(evlog_cut(evlog, 2), 0);
	c = commit();
	accept_msg(&c);
	ck_assert_int_eq(evlog_write(evlog), 0);
	recover(&r);
	ck_assert_uint_eq(r.st.checkpoint, 2);
	ck_assert_str_eq(r.problems, "");
	ck_assert_uint_eq(live_count(r.live), 2);
	ck_assert_ptr_null(live_find(r.live, a.id));
	ck_assert_uint_eq(r.nfound, 0);
	live_free(&r.live);
}
END_TEST

START_TEST(test_recover_damaged_checkpoint_uses_the_one_before)
{
	struct msg a = commit(), b = commit();
	struct result r;
	uint64_t messages;

	accept_msg(&a);
	checkpoint_now(&a);
	accept_msg(&b);
	finish_msg(&a);
	checkpoint_now(&b);
	ck_assert(checkpoint_check(sio, 3, &messages));
	ck_assert_uint_eq(messages, 1);
	ck_assert(sio_mem_flip(sio, "checkpoint/0000000003", 90));
	ck_assert(!checkpoint_check(sio, 3, &messages));
	recover(&r);
	ck_assert_uint_eq(r.st.checkpoint, 2);
	ck_assert_ptr_nonnull(strstr(r.problems, "checkpoint 3 is damaged"));
	ck_assert(!r.st.rescanned);
	ck_assert_uint_eq(live_count(r.live), 1);
	ck_assert_ptr_nonnull(live_find(r.live, b.id));
	live_free(&r.live);
}
END_TEST

START_TEST(test_recover_lost_log_finds_every_message)
{
	struct msg a = commit(), b = commit();
	struct result r;

	accept_msg(&a);
	accept_msg(&b);
	ck_assert_int_eq(evlog_rotate(evlog), 0);
	ck_assert_int_eq(sio_unlink(sio, "events/0000000001.log"), 0);
	recover(&r);
	ck_assert(r.st.rescanned);
	ck_assert_uint_eq(live_count(r.live), 0);
	ck_assert_uint_eq(r.nfound, 2);
	live_free(&r.live);
}
END_TEST

START_TEST(test_recover_damaged_log_loses_no_message)
{
	struct msg a = commit(), b = commit();
	struct result r;

	accept_msg(&a);
	ck_assert_int_eq(evlog_sync(evlog), 0);
	accept_msg(&b);
	seal();
	ck_assert_int_eq(evlog_rotate(evlog), 0);
	ck_assert(sio_mem_flip(sio, "events/0000000001.log",
	    EVLOG_FILE_START + 14));
	recover(&r);
	ck_assert(r.st.rescanned);
	ck_assert_uint_eq(live_count(r.live) + r.nfound, 2);
	live_free(&r.live);
}
END_TEST

START_TEST(test_segtab_recycles_only_behind_durable_log)
{
	struct msg a = commit();
	uint64_t first = segment, second;

	accept_msg(&a);
	seal();
	ck_assert_int_eq(evlog_sync(evlog), 0);
	finish_msg(&a);
	ck_assert_int_eq(segtab_release(tab, evlog_durable(evlog)), 0);
	ck_assert_int_eq(evlog_sync(evlog), 0);
	ck_assert_int_eq(segtab_release(tab, evlog_durable(evlog)), 1);
	ck_assert_uint_eq(segtab_free_count(tab), 1);
	ck_assert_int_eq(segtab_grant(tab, 1, &second), 0);
	ck_assert_uint_gt(second, first);
	ck_assert_uint_eq(segtab_free_count(tab), 0);
	ck_assert(!segtab_ref(tab, first, 64, 100));
}
END_TEST

START_TEST(test_segtab_numbers_never_come_again)
{
	uint64_t highest = segment, number;

	for (int i = 0; i < 12; i++) {
		seal();
		ck_assert_int_eq(evlog_sync(evlog), 0);
		ck_assert_int_ge(segtab_release(tab, evlog_durable(evlog)),
		    0);
		/* A restart in the middle. */
		segtab_free(&tab);
		evlog_free(&evlog);
		open_all((struct evlog_pos){ (uint64_t)i + 1,
			EVLOG_FILE_START });
		ck_assert_int_eq(segtab_grant(tab, 0, &number), 0);
		ck_assert_uint_gt(number, highest);
		highest = segment = number;
		place = SEGMENT_HEADER;
	}
}
END_TEST

START_TEST(test_segtab_picks_sparse_segment)
{
	struct msg m[100];
	uint64_t pick;

	for (int i = 0; i < 100; i++) {
		m[i] = commit();
		accept_msg(&m[i]);
	}
	for (int i = 1; i < 100; i++)
		finish_msg(&m[i]);
	ck_assert(!segtab_compact_pick(tab, &pick)); /* still written */
	seal();
	ck_assert(segtab_compact_pick(tab, &pick));
	ck_assert_uint_eq(pick, segment);
}
END_TEST

START_TEST(test_segtab_fill_gives_full_file)
{
	struct segtab_fill *f = segtab_fill_begin(tab);
	struct sio *after;
	struct segtab *t;
	uint64_t number;

	ck_assert_ptr_nonnull(f);
	ck_assert_ptr_null(segtab_fill_begin(tab));
	ck_assert_int_eq(segtab_fill_run(f), 0);
	segtab_fill_done(tab, &f, 0);
	ck_assert_uint_eq(segtab_free_count(tab), 1);
	ck_assert_int_eq(segtab_grant(tab, 0, &number), 0);
	after = sio_mem_crash(sio, SIO_CRASH_LOSE, 1);
	t = segtab_open(after, &(struct segtab_conf){ .epoch = 9 });
	ck_assert(segtab_info(t, number, &(struct seg_info){ .live = 0 }));
	segtab_free(&t);
	sio_free(&after);
}
END_TEST

static size_t
larges_there(void)
{
	uint64_t *list;
	size_t n;

	ck_assert_int_ge(segtab_release(tab, NONE), 0);
	ck_assert_int_eq(sio_numbers(sio, "large", "", &list, &n), 0);
	free(list);
	return n;
}

START_TEST(test_segtab_larges_of_a_dead_writer_go)
{
	uint64_t used, unused, others;

	for (int i = 0; i < 3; i++) {
		uint64_t *id[] = { &used, &unused, &others };
		struct sio_file *f = segtab_large_create(tab, id[i]);

		sio_close(&f);
		segtab_large_owner_set(tab, *id[i], i < 2 ? 1 : 2);
	}
	ck_assert(segtab_large_ref(tab, used));
	segtab_larges_gone(tab, 3);
	segtab_larges_drop(tab, NONE);
	ck_assert_uint_eq(larges_there(), 3);
	segtab_larges_gone(tab, 1);
	segtab_larges_drop(tab, NONE);
	ck_assert_uint_eq(larges_there(), 2);
	ck_assert(!segtab_large_ref(tab, unused));
}
END_TEST

START_TEST(test_segtab_larges_stay_while_a_segment_is_unread)
{
	struct seg_info info;
	struct sio_file *f;
	uint64_t number, id;
	size_t at = 0;

	ck_assert_int_eq(segtab_grant(tab, 1, &number), 0);
	segtab_free(&tab);
	tab = segtab_open(sio, &(struct segtab_conf){ .epoch = 9 });
	f = segtab_large_create(tab, &id);
	sio_close(&f);
	segtab_large_owner_set(tab, id, 1);
	segtab_larges_gone(tab, 1);
	segtab_larges_drop(tab, NONE);
	ck_assert_uint_eq(larges_there(), 1);
	while (segtab_next(tab, &at, &info))
		segtab_seal(tab, info.number, SEGMENT_HEADER, NONE);
	segtab_larges_drop(tab, NONE);
	ck_assert_uint_eq(larges_there(), 0);
}
END_TEST

START_TEST(test_segtab_large_lives_as_its_message)
{
	uint64_t id, other, path_n;
	struct sio_file *f = segtab_large_create(tab, &id);
	uint64_t *list;

	ck_assert_ptr_nonnull(f);
	sio_close(&f);
	f = segtab_large_create(tab, &other);
	sio_close(&f);
	ck_assert(segtab_large_ref(tab, id));
	segtab_large_drop(tab, id, NONE); /* in use: stays */
	segtab_large_drop(tab, other, NONE);
	ck_assert_int_ge(segtab_release(tab, NONE), 0);
	ck_assert_int_eq(sio_numbers(sio, "large", "", &list, &path_n), 0);
	ck_assert_uint_eq(path_n, 1);
	free(list);
	segtab_large_unref(tab, id, (struct evlog_pos){ 1, 500 });
	ck_assert_int_ge(segtab_release(tab, (struct evlog_pos){ 1, 499 }),
	    0);
	f = segtab_large_open(tab, id);
	ck_assert_ptr_nonnull(f);
	sio_close(&f);
	ck_assert_int_ge(segtab_release(tab, (struct evlog_pos){ 1, 500 }),
	    0);
	ck_assert_ptr_null(segtab_large_open(tab, id));
	ck_assert(!segtab_large_ref(tab, id));
}
END_TEST

START_TEST(test_segtab_space_floor)
{
	sio_mem_space(sio, 1000);
	ck_assert(segtab_space_ok(tab, 1000));
	ck_assert(!segtab_space_ok(tab, 1001));
}
END_TEST

START_TEST(test_check_good_spool_has_no_problem)
{
	struct msg a = commit(), b = commit();
	struct spool_report r = { .line = NULL };

	accept_msg(&a);
	accept_msg(&b);
	finish_msg(&a);
	(void)commit();
	ck_assert_int_eq(evlog_sync(evlog), 0);
	ck_assert_int_eq(spool_check(sio, &r), 0);
	ck_assert_uint_eq(r.problems, 0);
	ck_assert_uint_eq(r.records, 3);
	ck_assert_uint_eq(r.live, 1);
	ck_assert_uint_eq(r.found, 1);
}
END_TEST

START_TEST(test_check_corrupt_live_message_is_reported)
{
	struct msg a = commit(), b = commit();
	struct spool_report r = { .line = NULL };

	accept_msg(&a);
	accept_msg(&b);
	ck_assert_int_eq(evlog_sync(evlog), 0);
	ck_assert(sio_mem_flip(sio, "segments/0000000002.seg",
	    a.offset + RECORD_HEADER + 3));
	ck_assert_int_eq(spool_check(sio, &r), 0);
	ck_assert_uint_eq(r.unreadable, 1);
	ck_assert_uint_eq(r.damaged, 1);
	ck_assert_uint_eq(r.records, 1);
}
END_TEST

START_TEST(test_rebuild_without_log_keeps_every_message)
{
	struct msg a = commit(), b = commit();
	struct spool_report rep = { .line = NULL };
	struct result r;

	apart = true;
	commit();
	apart = false;
	accept_msg(&a);
	ck_assert_int_eq(evlog_rotate(evlog), 0);
	evlog_free(&evlog);
	ck_assert_int_eq(sio_unlink(sio, "events/0000000001.log"), 0);
	ck_assert_int_eq(sio_unlink(sio, "events/0000000002.log"), 0);
	ck_assert_int_eq(spool_rebuild(sio, &rep), 0);
	ck_assert_uint_eq(rep.live, 3);
	recover(&r);
	ck_assert_str_eq(r.problems, "");
	ck_assert_uint_eq(live_count(r.live), 3);
	ck_assert_ptr_nonnull(live_find(r.live, a.id));
	ck_assert_uint_eq(live_find(r.live, b.id)->nrcpts, 2);
	/* each recipient is where it was asked for, and on hold */
	ck_assert_uint_eq(r.seen[EV_REBIND], 1);
	ck_assert_uint_eq(r.seen[EV_HOLD], 2);
	ck_assert_uint_eq(r.seen[EV_HOLD_ORDER], 1);
	ck_assert_uint_eq(r.seen[EV_PRIORITY], 1);
	ck_assert_uint_eq(r.nfound, 0);
	live_free(&r.live);
}
END_TEST

/* Quarantined: both names are durable, or it is told. */
START_TEST(test_segtab_large_move_each_call_failing)
{
	static const struct {
		unsigned op;
		uint64_t after;
	} failing[] = { { SIO_OP_RENAME, 0 }, { SIO_OP_SYNC_DIR, 0 },
		{ SIO_OP_SYNC_DIR, 1 } };

	for (size_t i = 0; i < 4; i++) {
		uint64_t id;
		struct sio_file *f = segtab_large_create(tab, &id);

		ck_assert_ptr_nonnull(f);
		sio_close(&f);
		if (i < 3)
			fault_once(failing[i].op, failing[i].after);
		ck_assert_int_eq(segtab_large_move(tab, id, "corrupt",
		    "corrupt/X.large"), i < 3 ? -1 : 0);
		fault_once(0, 0);
		f = segtab_large_open(tab, id);
		ck_assert_int_eq(f != NULL, i == 0);
		sio_close(&f);
	}
}
END_TEST

static void
add_tests(TCase *tc)
{
	tcase_add_test(tc, test_recover_empty_spool_is_empty);
	tcase_add_test(tc, test_recover_tail_is_found_once);
	tcase_add_test(tc, test_recover_sealed_segment_is_not_read);
	tcase_add_test(tc, test_recover_tail_that_cannot_be_synced_is_left);
	tcase_add_test(tc,
	    test_recover_tail_later_that_cannot_be_read_is_told_in_part);
	tcase_add_test(tc,
	    test_recover_live_tail_waits_for_a_half_written_record);
	tcase_add_test(tc, test_recover_after_damage_needs_its_syncs);
	tcase_add_test(tc, test_segtab_large_move_each_call_failing);
	tcase_add_test(tc, test_recover_from_checkpoint_and_log);
	tcase_add_test(tc, test_recover_damaged_checkpoint_uses_the_one_before);
	tcase_add_test(tc, test_recover_lost_log_finds_every_message);
	tcase_add_test(tc, test_recover_damaged_log_loses_no_message);
	tcase_add_test(tc, test_segtab_recycles_only_behind_durable_log);
	tcase_add_test(tc, test_segtab_numbers_never_come_again);
	tcase_add_test(tc, test_segtab_picks_sparse_segment);
	tcase_add_test(tc, test_segtab_fill_gives_full_file);
	tcase_add_test(tc, test_segtab_large_lives_as_its_message);
	tcase_add_test(tc, test_segtab_larges_of_a_dead_writer_go);
	tcase_add_test(tc, test_segtab_larges_stay_while_a_segment_is_unread);
	tcase_add_test(tc, test_segtab_space_floor);
	tcase_add_test(tc, test_check_good_spool_has_no_problem);
	tcase_add_test(tc, test_check_corrupt_live_message_is_reported);
	tcase_add_test(tc, test_rebuild_without_log_keeps_every_message);
}

int
main(void)
{
	Suite *s = suite_create("recover");
	TCase *tc = tcase_create("recover");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	add_tests(tc);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
