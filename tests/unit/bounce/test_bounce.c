/* SPDX-License-Identifier: ISC */
/*
 * pinnace-bounce as a process against a qmgr of this test's own, killed at
 * random moments: each failed recipient is reported exactly once, null senders
 * never.
 */
#include <sys/socket.h>
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bounce/job.h"
#include "common/base/msgid.h"
#include "common/mail/envelope.h"
#include "common/spool/poison.h"
#include "common/sys/clock.h"
#include "tests/unit/acct/proc.h"

enum { EVENTS, OFFSETS, FDS, SEGMENTS = FDS, FOLDERS };

#define MESSAGES   1200u
#define RCPTS      3u     /* of each message; all fail */
#define DAMAGED    7u     /* this message's body is */
#define NULL_EVERY 50u    /* each 50th has the null sender */
#define SEGS_MAX   200u
#define CREDITS    50u
#define CONF       "host-name mx.example.org\n"
#define RETRY_MS   5000   /* as in bounce/engine.c */

static const char *const folders[] = { "events", "offsets", "segments",
	NULL };

struct original {
	uint64_t id, offset, length;
	unsigned reported[RCPTS], dropped[RCPTS];
	struct mono asked;    /* the last TAKE; 0: none */
	unsigned takes;
	int64_t wait_ms;      /* least between two TAKEs; 0: none */
};

struct granted {
	struct sio_file *file;
	uint64_t number, end; /* behind the last COMMIT */
};

/* What a qmgr would know. */
struct stub {
	struct proc proc;
	struct sio *spool;
	struct evlog *log;
	struct sio_file *originals;
	struct original msg[MESSAGES];
	struct granted segs[SEGS_MAX];
	size_t nsegs;
	unsigned drops;
	uint32_t logged;      /* messages whose failure was logged */
	bool opened, done;
	bool lazy;            /* leaves a TAKE unanswered now and then */
	bool deaf;            /* takes no notice of a DROP: it is dying */
	unsigned bad_grants;  /* so many are read-only descriptors */
	unsigned takes;
	unsigned delay_takes; /* of them for delays */
	bool arrived;         /* nobody waits any more */
	unsigned warnings;    /* DSNs that end nothing */
	struct evlog_pos at;
};

static char top[64];
static int fds[FOLDERS];
static struct stub *st;

static bool
is_null(uint32_t m)
{
	return m % NULL_EVERY == NULL_EVERY - 1;
}

/* ---- originals and their failures ---- */

static struct sv
original_env(struct buf *b, uint32_t m)
{
	struct env_rcpt rcpts[RCPTS];
	struct envelope e = {
		.sender = is_null(m) ? SV("") : SV("s@Sender.Example"),
		.src_type = SV("smtp"), .rcpts = rcpts, .nrcpts = RCPTS,
		.flags = ENV_RET_FULL,
	};
	struct wr w;

	for (uint32_t i = 0; i < RCPTS; i++)
		rcpts[i] = (struct env_rcpt){ .addr = SV("r@dest.example") };
	buf_clear(b);
	wr_init_buf(&w, b);
	envelope_encode(&w, &e);
	ck_assert(!w.failed);
	return buf_sv(b);
}

static void
originals_write(void)
{
	static char body[] = "Subject: original\r\n\r\n.hello\r\n";
	struct iovec chunk = { body, sizeof(body) - 1 };
	unsigned char head[SEGMENT_HEADER];
	uint64_t at = SEGMENT_HEADER;
	struct buf env;

	buf_init(&env, 65536);
	st->originals = sio_open(st->spool, "segments/0000000001.seg",
	    SIO_READ | SIO_WRITE | SIO_CREATE);
	ck_assert_ptr_nonnull(st->originals);
	segment_header_make(head, 1, SEGMENT_SIZE);
	ck_assert_int_eq(sio_pwrite(st->originals, head, sizeof(head), 0), 0);
	for (uint32_t m = 0; m < MESSAGES; m++) {
		struct original *o = &st->msg[m];
		struct record_parts p = {
			.id = msgid_make(1, at), .segment = 1,
			.arrival_us = UINT64_C(1769868300000000),
			.env = original_env(&env, m),
			.head = SV("Received: x\r\n"),
			.body = &chunk, .nbody = 1,
		};
		unsigned char rec[RECORD_HEADER];
		struct iovec iov[5];
		size_t n = record_build(&p, rec, iov);

		ck_assert_uint_gt(n, 0);
		*o = (struct original){ .id = p.id, .offset = at,
			.length = record_length(&p) };
		ck_assert_int_eq(sio_write_all(st->originals, iov, n, at), 0);
		if (m == DAMAGED)
			ck_assert_int_eq(sio_pwrite(st->originals, "X", 1,
			    at + o->length - 12), 0);
		at += o->length;
	}
	buf_fini(&env);
}

static void
failures_log(uint32_t n)
{
	for (; n > 0 && st->logged < MESSAGES; n--, st->logged++) {
		for (uint32_t i = 0; i < RCPTS; i++) {
			union ev_any any = { .attempt = {
				.id = st->msg[st->logged].id, .rcpt_idx = i,
				.action = ACT_FAILED, .wants_dsn = 1,
				.time_us = UINT64_C(1769868309000000),
				.queued_us = UINT64_C(1769868308000000),
				.queue = SV("dest.example/{default}"),
				.sender = is_null(st->logged) ? SV("") :
				    SV("s@Sender.Example"),
				.rcpt = SV("r@dest.example"),
				.status = SV("5.1.1"),
				.diag = SV("550 5.1.1 no such user"),
				.mta = SV("mx.dest.example (192.0.2.1)"),
			} };

			ck_assert_int_eq(evlog_append(st->log, EV_ATTEMPT,
			    &any), 0);
		}
	}
	ck_assert_int_eq(evlog_sync(st->log), 0);
}

static void
delay_log(uint32_t m, uint32_t idx, struct sv sender, uint8_t notify,
    uint64_t time_us)
{
	union ev_any any = { .delayed = {
		.id = st->msg[m].id, .rcpt_idx = idx, .time_us = time_us,
		.queued_us = UINT64_C(1769868308000000),
		.tried_us = UINT64_C(1769868309000000),
		.until_us = UINT64_C(1769868308000000) +
		    (uint64_t)(72 * 3600 * US_PER_SEC),
		.sender = sender, .rcpt = SV("r@dest.example"),
		.orcpt = SV(""), .envid = SV("e+2B1"), .notify = notify,
		.src_mta = SV(""), .status = SV("4.7.1"),
		.diag = SV("451 4.7.1 later"),
		.mta = SV("mx.dest.example (192.0.2.1)"),
	} };

	ck_assert_int_eq(evlog_append(st->log, EV_DELAYED, &any), 0);
	ck_assert_int_eq(evlog_sync(st->log), 0);
}

/* ---- qmgr ---- */

static struct original *
original_find(uint64_t id)
{
	for (uint32_t m = 0; m < MESSAGES; m++) {
		if (st->msg[m].id == id)
			return &st->msg[m];
	}
	ck_abort_msg("a message that there is not");
	return NULL;
}

static void
done_check(void)
{
	st->done = true;
	for (uint32_t m = 0; m < MESSAGES; m++) {
		for (uint32_t i = 0; i < RCPTS; i++) {
			if (st->msg[m].reported[i] + st->msg[m].dropped[i] ==
			    0)
				st->done = false;
		}
	}
}

/* A DSN is durable: its recipients are done. */
static void
dsn_count(struct sv env)
{
	struct original *o;
	struct envelope e;
	struct arena a;

	arena_init(&a, 1u << 20);
	ck_assert(envelope_decode(env, &a, &e));
	ck_assert_uint_eq(e.sender.n, 0);
	ck_assert_uint_eq(e.nrcpts, 1);
	ck_assert(sv_eq(e.rcpts[0].addr, SV("s@sender.example")));
	ck_assert_uint_eq(e.rcpts[0].notify, NOTIFY_NEVER);
	ck_assert(sv_eq(e.src_type, SV("bounce")));
	if (e.dsn_for == 0) {
		ck_assert_uint_eq(e.dsn_nrcpts, 0);
		st->warnings++;
		arena_fini(&a);
		return;
	}
	o = original_find(e.dsn_for);
	ck_assert_uint_gt(e.dsn_nrcpts, 0);
	for (uint32_t i = 0; i < e.dsn_nrcpts; i++) {
		ck_assert_uint_lt(e.dsn_rcpts[i], RCPTS);
		o->reported[e.dsn_rcpts[i]]++;
	}
	arena_fini(&a);
}

static void
take_note(struct original *o)
{
	struct mono now = clock_mono();
	int64_t ms = mono_diff_ms(now, o->asked);

	if (o->takes > 0 && (o->wait_ms == 0 || ms < o->wait_ms))
		o->wait_ms = ms;
	o->asked = now;
	o->takes++;
	st->takes++;
}

static void
on_take(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_bounce_take *m = msg;
	struct original *o = original_find(m->id);
	uint32_t list[RCPTS], n = 0;

	(void)arg;
	take_note(o);
	st->delay_takes += m->delayed;
	if (st->lazy && rand() % 30 == 0)
		return;
	for (uint32_t i = 0; i < m->rcpts.n; i++) {
		uint32_t idx = u32s_get(&m->rcpts, i);

		ck_assert_uint_lt(idx, RCPTS);
		if (m->delayed ? !st->arrived :
		    o->reported[idx] + o->dropped[idx] == 0)
			list[n++] = idx;
	}
	if (!st->opened)
		ipc_send_seg_open(c, &(struct ipc_seg_open){ .segment = 1 },
		    openat(fds[SEGMENTS], "0000000001.seg",
		    O_RDONLY | O_CLOEXEC));
	st->opened = true;
	ipc_send_bounce_go(c, &(struct ipc_bounce_go){
	    .token = m->token, .id = m->id, .segment = 1,
	    .offset = o->offset, .length = o->length,
	    .rcpts = { .array = list, .n = n } });
}

static void
on_drop(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_bounce_drop *m = msg;
	struct original *o = original_find(m->id);

	(void)c;
	(void)arg;
	st->drops++;
	for (uint32_t i = 0; !st->deaf && i < m->rcpts.n; i++)
		o->dropped[u32s_get(&m->rcpts, i)]++;
	done_check();
}

static void
on_seg_want(struct chan *c, void *arg, const void *msg)
{
	struct granted *g = &st->segs[st->nsegs++];
	bool bad = st->bad_grants > 0;
	unsigned char head[SEGMENT_HEADER];
	char path[SIO_PATH_MAX];

	(void)arg;
	(void)msg;
	ck_assert_uint_le(st->nsegs, SEGS_MAX);
	*g = (struct granted){ .number = 1 + st->nsegs,
		.end = SEGMENT_HEADER };
	sio_path(path, "segments", g->number, ".seg");
	g->file = sio_open(st->spool, path,
	    SIO_READ | SIO_WRITE | SIO_CREATE);
	ck_assert_ptr_nonnull(g->file);
	segment_header_make(head, g->number, SEGMENT_SIZE);
	ck_assert_int_eq(sio_pwrite(g->file, head, sizeof(head), 0), 0);
	ipc_send_seg_grant(c, &(struct ipc_seg_grant){
	    .segment = g->number, .offset = SEGMENT_HEADER,
	    .size = SEGMENT_SIZE },
	    openat(fds[SEGMENTS], path + strlen("segments/"),
	    (bad ? O_RDONLY : O_WRONLY) | O_CLOEXEC));
	st->bad_grants -= bad;
}

static void
on_seg_done(struct chan *c, void *arg, const void *msg)
{
	(void)c;
	(void)arg;
	(void)msg;
}

static void
on_commit(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_commit *m = msg;
	struct granted *g = &st->segs[m->segment - 2];

	(void)arg;
	ck_assert_uint_lt(m->segment - 2, st->nsegs);
	dsn_count(m->env);
	g->end = m->offset + m->length;
	chan_credit_grant(c, 1);
	done_check();
}

static void
on_reader_at(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_reader_at *m = msg;

	(void)c;
	(void)arg;
	st->at = (struct evlog_pos){ m->file, m->offset };
	ck_assert_int_le(evlog_pos_cmp(st->at, evlog_durable(st->log)), 0);
}

static const struct chan_ops qmgr_ops = {
	.on = {
		[IPC_BOUNCE_TAKE] = on_take,
		[IPC_BOUNCE_DROP] = on_drop,
		[IPC_SEG_WANT] = on_seg_want,
		[IPC_SEG_DONE] = on_seg_done,
		[IPC_COMMIT] = on_commit,
		[IPC_READER_AT] = on_reader_at,
	},
	.on_close = proc_on_close,
};

/* What is in the segments and was not told: as qmgr does when a writer is
 * gone. */
static int
on_record(void *arg, const struct record *r)
{
	struct granted *g = arg;

	dsn_count(r->env);
	g->end = r->offset + r->length;
	return 0;
}

static void
segments_scan(void)
{
	static const struct segment_scan_ops ops = {
		.on_record = on_record,
	};

	for (size_t i = 0; i < st->nsegs; i++) {
		struct granted *g = &st->segs[i];
		uint64_t end;

		ck_assert_int_eq(segment_scan(g->file, g->number, g->end,
		    UINT64_MAX, &ops, g, &end), 0);
	}
	done_check();
}

static void
log_at(void)
{
	struct evlog_pos at = evlog_durable(st->log);

	ipc_send_log_at(st->proc.qmgr, &(struct ipc_log_at){
	    .file = at.file, .offset = at.offset });
}

static void
start_with(const char *text)
{
	struct conf_report rep;
	struct conf *conf;

	conf_report_init(&rep);
	conf = conf_parse("test", sv_from(text), &rep);
	conf_report_fini(&rep);
	ck_assert_ptr_nonnull(conf);
	st->opened = false;
	proc_start(&st->proc, "bounce/pinnace-bounce", R_BOUNCE, fds, FDS,
	    conf, &qmgr_ops, st);
	chan_credit_grant(st->proc.qmgr, CREDITS);
	log_at();
	conf_free(&conf);
}

static void
start(void)
{
	start_with(CONF);
}

static void
setup(void)
{
	int fd;

	proc_dirs(top, folders, fds);
	fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	st = calloc(1, sizeof(*st));
	ck_assert_ptr_nonnull(st);
	st->spool = sio_os_new(fd);
	st->log = evlog_open(st->spool, (struct evlog_pos){ 0, 0 });
	ck_assert_ptr_nonnull(st->log);
	originals_write();
}

static void
teardown(void)
{
	for (size_t i = 0; i < st->nsegs; i++)
		sio_close(&st->segs[i].file);
	sio_close(&st->originals);
	evlog_free(&st->log);
	sio_free(&st->spool);
	free(st);
	proc_dirs_remove(top);
}

static void
each_once_check(void)
{
	for (uint32_t m = 0; m < MESSAGES; m++) {
		for (uint32_t i = 0; i < RCPTS; i++) {
			ck_assert_msg(st->msg[m].reported[i] ==
			    (is_null(m) ? 0u : 1u), "message %u recipient "
			    "%u: reported %u times", m, i,
			    st->msg[m].reported[i]);
			ck_assert_int_eq(st->msg[m].dropped[i] > 0,
			    is_null(m));
		}
	}
}

START_TEST(test_process_killed_each_recipient_once)
{
	srand(20260131);
	st->lazy = true;
	for (int round = 0; round < 20; round++) {
		start();
		for (int i = 0; i < 2; i++) {
			failures_log(25);
			log_at();
			proc_run(&st->proc, NULL, 60 + rand() % 100);
		}
		/* an orderly stop stores the offset with DSNs unfinished */
		if (round % 3 == 2)
			ck_assert_int_eq(proc_stop(&st->proc), 0);
		else
			proc_kill(&st->proc);
		segments_scan();
	}
	st->lazy = false;
	failures_log(MESSAGES);
	start();
	proc_run(&st->proc, &st->done, 30000);
	ck_assert_int_eq(proc_stop(&st->proc), 0);
	ck_assert(st->done);
	each_once_check();
	/* nothing is left to do, and the offset says so */
	ck_assert_int_eq(evlog_pos_cmp(st->at, evlog_durable(st->log)), 0);
}
END_TEST

/* qmgr dies with a DROP unread: its successor is told again. */
START_TEST(test_process_drop_is_told_to_the_next_qmgr)
{
	int q[2];

	failures_log(NULL_EVERY); /* the last one has the null sender */
	st->deaf = true;
	start();
	proc_run(&st->proc, NULL, 500);
	ck_assert_uint_gt(st->drops, 0);
	st->deaf = false;
	chan_free(&st->proc.qmgr);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, q),
	    0);
	st->proc.qmgr = chan_new(st->proc.base, q[0], R_QMGR, R_BOUNCE, 0,
	    &qmgr_ops, st);
	st->opened = false;
	ipc_send_peer(st->proc.master, &(struct ipc_peer){ .role = R_QMGR },
	    q[1]);
	chan_credit_grant(st->proc.qmgr, CREDITS);
	log_at();
	proc_run(&st->proc, NULL, 500);
	ck_assert_int_eq(proc_stop(&st->proc), 0);
	for (uint32_t i = 0; i < RCPTS; i++)
		ck_assert_uint_eq(st->msg[NULL_EVERY - 1].dropped[i], 1);
	/* and the place is behind it */
	ck_assert_int_eq(evlog_pos_cmp(st->at, evlog_durable(st->log)), 0);
}
END_TEST

/* A long queue has a segment for each 64 MiB, and bounce may get them all. */
START_TEST(test_process_many_segments_are_borne)
{
	failures_log(2);
	start();
	for (uint64_t n = 1000; n < 2100; n++) {
		ipc_send_seg_open(st->proc.qmgr,
		    &(struct ipc_seg_open){ .segment = n },
		    openat(fds[SEGMENTS], "0000000001.seg",
		    O_RDONLY | O_CLOEXEC));
		if (n % 50 == 0)
			proc_run(&st->proc, NULL, 10);
	}
	proc_run(&st->proc, NULL, 500);
	ck_assert(!st->proc.gone);
	failures_log(1);
	log_at();
	proc_run(&st->proc, NULL, 500);
	ck_assert_int_eq(proc_stop(&st->proc), 0);
	ck_assert_uint_eq(st->msg[2].reported[0], 1);
}
END_TEST

static bool
has(struct sv v, const char *needle)
{
	return memmem(v.p, v.n, needle, strlen(needle)) != NULL;
}

static int
on_dsn(void *arg, const struct record *r)
{
	unsigned *seen = arg;
	bool damaged = has(r->body, "could not be read again");

	ck_assert(has(r->body, "Final-Recipient: rfc822; r@dest.example"));
	ck_assert(has(r->body, "Action: failed\r\nStatus: 5.1.1\r\n"));
	ck_assert(has(r->body, "To: s@Sender.Example\r\n"));
	ck_assert(has(r->body, "mailer-daemon@mx.example.org"));
	ck_assert_int_eq(damaged, !has(r->body, "Subject: original"));
	ck_assert_int_eq(damaged, !has(r->body, "\r\n.hello\r\n"));
	ck_assert_int_eq(damaged, (r->flags & RECORD_DOTS) == 0);
	seen[damaged]++;
	return 0;
}

START_TEST(test_process_damaged_original_reported_without)
{
	static const struct segment_scan_ops ops = {
		.on_record = on_dsn,
	};
	unsigned seen[2] = { 0, 0 };
	uint64_t end;

	failures_log(20);
	start();
	proc_run(&st->proc, NULL, 400);
	ck_assert_int_eq(proc_stop(&st->proc), 0);
	ck_assert_uint_eq(st->nsegs, 1);
	ck_assert_int_eq(segment_scan(st->segs[0].file, 2, SEGMENT_HEADER,
	    UINT64_MAX, &ops, seen, &end), 0);
	ck_assert_uint_eq(seen[0], 19);
	ck_assert_uint_eq(seen[1], 1);
}
END_TEST

/* Runs until so many messages have their DSNs. */
static void
reported_wait(uint32_t n, int64_t ms)
{
	struct mono until = mono_add_ms(clock_mono(), ms);
	uint32_t m = 0;

	while (m < n) {
		ck_assert_int_gt(mono_diff_ms(until, clock_mono()), 0);
		proc_run(&st->proc, NULL, 5);
		while (m < n && st->msg[m].reported[RCPTS - 1] > 0)
			m++;
	}
}

/* Nothing can be written: each is tried again, but not in a circle. */
START_TEST(test_process_commits_fail_tried_again_after_a_while)
{
	enum { N = 20 };

	failures_log(N);
	st->bad_grants = 1;
	start();
	reported_wait(N, 60000);
	ck_assert_int_eq(proc_stop(&st->proc), 0);
	for (uint32_t m = 0; m < N; m++) {
		/* those that were not in the batch are asked for once */
		ck_assert_uint_le(st->msg[m].takes, 2);
		ck_assert(st->msg[m].takes == 1 ||
		    st->msg[m].wait_ms >= RETRY_MS - 10);
		for (uint32_t i = 0; i < RCPTS; i++)
			ck_assert_uint_eq(st->msg[m].reported[i], 1);
	}
	ck_assert_uint_eq(st->msg[0].takes, 2);
}
END_TEST

/* max-dsn-rate: what a rate yields in 100 ms at once, the rest evenly, and
 * nothing is saved up meanwhile. */
START_TEST(test_process_dsn_rate_holds)
{
	enum { N = 30, RATE = 20, AT_ONCE = RATE / 10 + 1 };
	struct mono began;
	int64_t ms;

	start_with(CONF "max-dsn-rate 20/s\n");
	for (uint32_t wave = 1; wave <= 2; wave++) {
		proc_run(&st->proc, NULL, 500);
		failures_log(N / 2);
		began = clock_mono();
		log_at();
		reported_wait(wave * N / 2, 60000);
		ms = mono_diff_ms(clock_mono(), began);
		ck_assert_int_ge(ms, (N / 2 - AT_ONCE) * 1000 / RATE - 10);
	}
	ck_assert_uint_eq(st->takes, N);
	ck_assert_int_eq(proc_stop(&st->proc), 0);
}
END_TEST

/* ---- delays ---- */

struct seen {
	unsigned delayed, failed;
	char message_id[2][128];
};

static int
on_report(void *arg, const struct record *r)
{
	struct seen *s = arg;
	const char *id;

	if (has(r->body, "Action: failed")) {
		ck_assert(!has(r->body, "Action: delayed"));
		s->failed++;
		return 0;
	}
	ck_assert(has(r->body, "Delivery Status Notification (Delay)"));
	ck_assert(has(r->body, "Nothing needs"));
	ck_assert(has(r->body, "Original-Envelope-Id: e+1\r\n"));
	ck_assert(has(r->body, "Action: delayed\r\nStatus: 4.7.1\r\n"
	    "Remote-MTA: dns; mx.dest.example\r\n"
	    "Diagnostic-Code: smtp; 451 4.7.1 later\r\n"
	    "Last-Attempt-Date: "));
	ck_assert(has(r->body, "\r\nWill-Retry-Until: "));
	ck_assert(has(r->body, "Subject: original"));
	/* RFC 3461 4.3: RET=FULL is for failures */
	ck_assert(!has(r->body, "hello"));
	id = memmem(r->body.p, r->body.n, "Message-ID: ", 12);
	ck_assert_ptr_nonnull(id);
	if (s->delayed < 2)
		memcpy(s->message_id[s->delayed], id + 12, 60);
	s->delayed++;
	return 0;
}

static struct seen
reports_read(void)
{
	static const struct segment_scan_ops ops = { .on_record = on_report };
	struct seen s = { .delayed = 0 };
	uint64_t end;

	for (size_t i = 0; i < st->nsegs; i++)
		ck_assert_int_eq(segment_scan(st->segs[i].file,
		    st->segs[i].number, SEGMENT_HEADER, UINT64_MAX, &ops, &s,
		    &end), 0);
	return s;
}

/* A warning is a DSN of its own and the end of nothing. */
/* Until so many warnings were written, or long enough for a busy machine. */
static void
run_until_warnings(unsigned n)
{
	for (int i = 0; i < 100 && st->warnings < n; i++)
		proc_run(&st->proc, NULL, 100);
	proc_run(&st->proc, NULL, 300); /* and no more */
}

START_TEST(test_process_delay_is_reported_apart_from_failures)
{
	struct sv sender = SV("s@Sender.Example");
	struct seen s;

	delay_log(0, 0, sender, NOTIFY_DELAY, 5000);
	failures_log(1);
	delay_log(0, 1, sender, 0, 5000);
	start();
	run_until_warnings(1);
	ck_assert_uint_eq(st->takes, 2);
	ck_assert_uint_eq(st->delay_takes, 1);
	ck_assert_uint_eq(st->warnings, 1);
	for (uint32_t i = 0; i < RCPTS; i++)
		ck_assert_uint_eq(st->msg[0].reported[i], 1);
	/* the next one is another message */
	delay_log(0, 0, sender, NOTIFY_DELAY, 9000);
	log_at();
	run_until_warnings(2);
	ck_assert_uint_eq(st->warnings, 2);
	ck_assert_int_eq(proc_stop(&st->proc), 0);
	s = reports_read();
	ck_assert_uint_eq(s.delayed, 2);
	ck_assert_uint_eq(s.failed, 1);
	ck_assert_str_ne(s.message_id[0], s.message_id[1]);
	ck_assert_uint_eq(st->drops, 0);
	ck_assert_int_eq(evlog_pos_cmp(st->at, evlog_durable(st->log)), 0);
}
END_TEST

START_TEST(test_process_delay_nobody_is_to_hear_of)
{
	struct sv sender = SV("s@Sender.Example");

	delay_log(0, 0, SV(""), NOTIFY_DELAY, 5000);
	delay_log(1, 0, sender, NOTIFY_NEVER, 5000);
	delay_log(2, 0, sender, NOTIFY_FAILURE, 5000);
	start();
	proc_run(&st->proc, NULL, 400);
	ck_assert_uint_eq(st->takes, 0);
	/* it has been delivered meanwhile */
	st->arrived = true;
	delay_log(3, 0, sender, NOTIFY_DELAY, 5000);
	log_at();
	proc_run(&st->proc, NULL, 400);
	ck_assert_uint_eq(st->delay_takes, 1);
	/* no DSN can be made: that must not end the recipient */
	st->arrived = false;
	delay_log(4, 0, SV("nobody"), NOTIFY_DELAY, 5000);
	log_at();
	proc_run(&st->proc, NULL, 400);
	ck_assert_uint_eq(st->delay_takes, 2);
	ck_assert_uint_eq(st->warnings, 0);
	ck_assert_uint_eq(st->drops, 0);
	ck_assert_int_eq(proc_stop(&st->proc), 0);
	ck_assert_int_eq(evlog_pos_cmp(st->at, evlog_durable(st->log)), 0);
}
END_TEST

/* Events that crashed bounce twice are left out, with nothing said to qmgr. */
START_TEST(test_process_delay_that_crashes_is_left_out)
{
	struct evlog_pos at = evlog_position(st->log);
	struct poison p;
	struct sio *s = sio_os_new(fds[OFFSETS]);

	delay_log(0, 0, SV("s@Sender.Example"), NOTIFY_DELAY, 5000);
	ck_assert_int_eq(poison_open(&p, s, "bounce.suspects"), 0);
	for (int i = 0; i < 2; i++) {
		poison_mark(&p, POISON_EVENT, at.file, at.offset);
		ck_assert_ptr_nonnull(poison_blame_marked(&p, "signal 11"));
	}
	poison_close(&p);
	sio_free(&s);
	start();
	proc_run(&st->proc, NULL, 400);
	ck_assert_uint_eq(st->takes, 0);
	ck_assert_uint_eq(st->drops, 0);
	ck_assert_int_eq(proc_stop(&st->proc), 0);
	ck_assert_int_eq(evlog_pos_cmp(st->at, evlog_durable(st->log)), 0);
}
END_TEST

START_TEST(test_notify_table_obeyed)
{
	static const struct {
		uint8_t action, notify;
		bool want;
	} cases[] = {
		{ ACT_FAILED, 0, true },
		{ ACT_FAILED, NOTIFY_FAILURE, true },
		{ ACT_FAILED, NOTIFY_SUCCESS | NOTIFY_DELAY, false },
		{ ACT_FAILED, NOTIFY_NEVER, false },
		{ ACT_DEFERRED, 0, true },
		{ ACT_DEFERRED, NOTIFY_FAILURE, false },
		{ ACT_DEFERRED, NOTIFY_DELAY, true },
		{ ACT_DELIVERED, 0, false },
		{ ACT_DELIVERED, NOTIFY_SUCCESS, true },
		{ ACT_DELIVERED, NOTIFY_NEVER, false },
		{ 99, 0, false },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ev_attempt a = {
			.sender = SV("a@b"), .action = cases[i].action,
			.notify = cases[i].notify,
		};

		ck_assert_msg(job_is_for(&a) == cases[i].want, "%zu", i);
		a.sender = SV("");
		ck_assert(!job_is_for(&a));
		a.sender = SV("<>");
		ck_assert(!job_is_for(&a));
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("bounce");
	TCase *t = tcase_create("job"), *p = tcase_create("process");
	SRunner *r;
	int failed;

	tcase_set_timeout(p, 60);
	tcase_add_checked_fixture(p, setup, teardown);
	tcase_add_test(t, test_notify_table_obeyed);
	tcase_add_test(p, test_process_damaged_original_reported_without);
	tcase_add_test(p, test_process_killed_each_recipient_once);
	tcase_add_test(p, test_process_many_segments_are_borne);
	tcase_add_test(p, test_process_drop_is_told_to_the_next_qmgr);
	tcase_add_test(p,
	    test_process_commits_fail_tried_again_after_a_while);
	tcase_add_test(p, test_process_dsn_rate_holds);
	tcase_add_test(p, test_process_delay_is_reported_apart_from_failures);
	tcase_add_test(p, test_process_delay_nobody_is_to_hear_of);
	tcase_add_test(p, test_process_delay_that_crashes_is_left_out);
	suite_add_tcase(s, t);
	suite_add_tcase(s, p);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
