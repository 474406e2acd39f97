/* SPDX-License-Identifier: ISC */
/*
 * A model of the whole spool protocol on the file system in memory, crashed
 * before each of its calls in every way that sio_mem knows, recovered with the
 * real code, and compared with a ledger that no crash touches:
 *
 *  - what was acknowledged and not durably finished is there, whole;
 *  - nothing is there that was not submitted, or not as it was submitted;
 *  - a recipient whose end was durable does not come back;
 *  - recovering again gives the same.
 *
 * The same with every seventh call failing, and with crashes in the start-up
 * after a crash.
 */
#include <check.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/msgid.h"
#include "common/spool/batch.h"
#include "common/spool/live.h"
#include "common/spool/recover.h"
#include "common/spool/segtab.h"
#include "common/spool/sio_mem.h"

#define SEG_SIZE  UINT64_C(8192)
#define MSGS      400
#define BODY_MAX  1500
#define WRITERS   3   /* the last one is qmgr's own, for moves */
#define MOVER     2

struct msg {
	uint64_t id, segment, offset, length, large_id;
	unsigned size;
	unsigned nrcpts;
	bool acked, accepted, gone;
	bool refused;         /* the client was told 451 */
	bool done[2];
	struct evlog_pos done_at[2];
};

struct writer {
	uint64_t segment;     /* 0: none */
	struct sio_file *file;
	uint64_t next;        /* all before it is durable */
};

struct world {
	struct sio *sio;
	struct segtab *tab;
	struct evlog *log;
	struct writer writers[WRITERS];
	struct msg msgs[MSGS];
	size_t nmsgs;
	size_t commits[MSGS]; /* acknowledged, COMMIT on its way: indices */
	size_t ncommits, taken;
	struct evlog_pos written; /* survives the process */
	uint64_t rng;
	bool crashing;        /* in a crash check: no checks within checks */
	unsigned depth, stride;
	uint64_t heal_at;     /* the disk is well again after so many calls */
};

static uint64_t states, verified_messages, deep_states, quarantined;
static enum sio_crash crash_now;
static const char *phase = "";

static uint64_t
rnd(struct world *w, uint64_t n)
{
	uint64_t z = w->rng += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (z ^ z >> 31) % n;
}

/* ---- what a message looks like ---- */

static void
body_make(size_t idx, unsigned size, unsigned char *out)
{
	uint32_t v = (uint32_t)idx * 2654435761u + 1;

	for (unsigned i = 0; i < size; i++) {
		v = v * 1664525u + 1013904223u;
		out[i] = (unsigned char)(v >> 24);
	}
}

static size_t
env_make(size_t idx, unsigned nrcpts, char out[32])
{
	return (size_t)snprintf(out, 32, "env %zu %u", idx, nrcpts);
}

/* ---- verification ---- */

struct found {
	uint64_t id, segment, offset, length, large_id;
};

struct recovered {
	struct live *live;
	struct found found[MSGS];
	size_t nfound, problems;
	struct segtab *tab;     /* or NULL: to be told of events */
	struct recover_stats st;
};

static void
on_event(void *arg, enum ev_type type, const union ev_any *m,
    struct evlog_pos at)
{
	struct recovered *r = arg;

	(void)at;
	live_event(r->live, type, m);
	if (r->tab != NULL)
		segtab_on_event(r->tab, type, m);
}

static void
on_found(void *arg, const struct record *rec)
{
	struct recovered *r = arg;

	ck_assert_uint_lt(r->nfound, MSGS);
	r->found[r->nfound++] = (struct found){ rec->id, rec->segment,
		rec->offset, rec->length, rec->large_id };
}

static void
on_problem(void *arg, const char *text)
{
	struct recovered *r = arg;

	if (r->problems++ == 0 && getenv("CRASH_VERBOSE") != NULL)
		printf("problem (%s, %d): %s\n", phase, crash_now, text);
}

static const struct recover_ops recover_ops = {
	.on_event = on_event,
	.on_found = on_found,
	.on_problem = on_problem,
};

static int
recover_try(struct sio *s, struct recovered *r, struct segtab *tab)
{
	memset(r, 0, sizeof(*r));
	r->live = live_new();
	r->tab = tab;
	return spool_recover(s, &recover_ops, r, &r->st);
}

static void
recover_run(struct sio *s, struct recovered *r)
{
	ck_assert_int_eq(recover_try(s, r, NULL), 0);
}

static const struct msg *
ledger_find(const struct world *w, uint64_t id)
{
	for (size_t i = 0; i < w->nmsgs; i++) {
		if (w->msgs[i].id == id)
			return &w->msgs[i];
	}
	return NULL;
}

static void
large_verify(struct sio *s, const struct msg *m, const unsigned char *want)
{
	unsigned char got[BODY_MAX + 1];
	char path[SIO_PATH_MAX];
	struct sio_file *f;

	snprintf(path, sizeof(path), "large/%020llu",
	    (unsigned long long)m->large_id);
	f = sio_open(s, path, SIO_READ);
	ck_assert_msg(f != NULL, "large file of a live message is gone");
	ck_assert_int_eq(sio_read_all(f, got, sizeof(got), 0), m->size);
	ck_assert_mem_eq(got, want, m->size);
	sio_close(&f);
}

/* The record is whole and what was submitted. */
static void
record_verify(const struct world *w, struct sio *s, uint64_t id,
    uint64_t segment, uint64_t offset, uint64_t length)
{
	const struct msg *m = ledger_find(w, id);
	unsigned char body[BODY_MAX];
	char path[SIO_PATH_MAX], env[32];
	struct sio_file *f;
	struct record rec;
	struct buf b;
	enum record_result got;

	ck_assert_msg(m != NULL, "a message that nobody submitted (%s)",
	    phase);
	buf_init(&b, RECORD_MAX);
	f = sio_open(s, sio_path(path, "segments", segment, ".seg"), SIO_READ);
	ck_assert_msg(f != NULL, "%s, crash %d: segment %llu is gone", phase,
	    (int)crash_now, (unsigned long long)segment);
	got = record_read(f, segment, offset, length, &b, &rec);
	if (got != RECORD_OK && m->refused && w->heal_at != 0) {
		/* The sync failed, qmgr was killed before it could log that,
		 * found the record readable, could not write it anew on the
		 * same bad disk, and then the power went: a message that
		 * nobody was promised is quarantined when it is read. */
		quarantined++;
		buf_fini(&b);
		sio_close(&f);
		return;
	}
	ck_assert_msg(got == RECORD_OK, "%s, crash %d: %llu/%llu: %s", phase,
	    (int)crash_now, (unsigned long long)segment,
	    (unsigned long long)offset, record_result_text(got));
	ck_assert_uint_eq(rec.id, id);
	ck_assert(sv_eq(rec.env, sv_make(env, env_make((size_t)(m - w->msgs),
	    m->nrcpts, env))));
	body_make((size_t)(m - w->msgs), m->size, body);
	if (m->large_id != 0) {
		ck_assert_uint_eq(rec.large_id, m->large_id);
		large_verify(s, m, body);
	} else {
		ck_assert(sv_eq(rec.body, sv_make(body, m->size)));
	}
	buf_fini(&b);
	sio_close(&f);
	verified_messages++;
}

static bool
is_found(const struct recovered *r, uint64_t id)
{
	for (size_t i = 0; i < r->nfound; i++) {
		if (r->found[i].id == id)
			return true;
	}
	return false;
}

/* Is the end of this recipient certain to have survived? */
static bool
done_surely(const struct world *w, const struct msg *m, unsigned k)
{
	struct evlog_pos safe = crash_now == SIO_CRASH_KILL ? w->written :
	    evlog_durable(w->log);

	return m->done[k] && evlog_pos_cmp(m->done_at[k], safe) <= 0;
}

static void
message_verify(const struct world *w, const struct recovered *r,
    const struct msg *m)
{
	struct live_msg *l = live_find(r->live, m->id);
	bool found = is_found(r, m->id), surely_gone = true, maybe_gone = true;

	for (unsigned k = 0; k < m->nrcpts; k++) {
		surely_gone = surely_gone && done_surely(w, m, k);
		maybe_gone = maybe_gone && m->done[k];
		if (l != NULL && l->done[k] != 0)
			ck_assert_msg(m->done[k], "%s: a recipient is done "
			    "that was never tried", phase);
		if (l != NULL && l->done[k] == 0)
			ck_assert_msg(!done_surely(w, m, k),
			    "%s, crash %d: a durable end was forgotten",
			    phase, (int)crash_now);
	}
	ck_assert_msg(l == NULL || !found, "%s: found twice", phase);
	if (m->acked && !maybe_gone)
		ck_assert_msg(l != NULL || found,
		    "%s, crash %d: acknowledged message %zu is lost", phase,
		    (int)crash_now, (size_t)(m - w->msgs));
	if (surely_gone)
		ck_assert_msg(l == NULL && !found,
		    "%s, crash %d: finished message %zu came back", phase,
		    (int)crash_now, (size_t)(m - w->msgs));
}

static void
verify(const struct world *w, struct sio *s, const struct recovered *r)
{
	struct live_msg *l;
	size_t at = 0;

	ck_assert_msg(!r->st.rescanned, "%s, crash %d: the log is damaged",
	    phase, (int)crash_now);
	while ((l = live_next(r->live, &at)) != NULL)
		record_verify(w, s, l->id, l->segment, l->offset, l->length);
	for (size_t i = 0; i < r->nfound; i++)
		record_verify(w, s, r->found[i].id, r->found[i].segment,
		    r->found[i].offset, r->found[i].length);
	for (size_t i = 0; i < w->nmsgs; i++)
		message_verify(w, r, &w->msgs[i]);
}

static void
same_verify(struct sio *s, const struct recovered *a)
{
	struct recovered *b = malloc(sizeof(*b));
	struct live_msg *l;
	size_t at = 0;

	ck_assert_ptr_nonnull(b);
	recover_run(s, b);
	ck_assert_uint_eq(live_count(a->live), live_count(b->live));
	while ((l = live_next(a->live, &at)) != NULL)
		ck_assert_ptr_nonnull(live_find(b->live, l->id));
	ck_assert_uint_eq(a->nfound, b->nfound);
	for (size_t i = 0; i < a->nfound; i++)
		ck_assert_uint_eq(a->found[i].id, b->found[i].id);
	live_free(&b->live);
	free(b);
}

static void life_after(const struct world *w, struct sio *s);

/* Before each call of the model: all that a crash may leave. */
static void
on_call(void *arg)
{
	struct world *w = arg;
	uint64_t call = sio_mem_calls(w->sio);

	if (w->crashing || w->log == NULL || call % w->stride != 0)
		return;
	w->crashing = true;
	for (unsigned how = 0; how < SIO_CRASHES + 2; how++) {
		enum sio_crash kind = how < SIO_CRASHES ? (enum sio_crash)how :
		    SIO_CRASH_RANDOM;
		struct recovered *r = malloc(sizeof(*r));
		struct sio *s;

		ck_assert_ptr_nonnull(r);
		/* In the lives after a crash, fewer. */
		if (w->depth > 0 && (call + how) % 3 != 0) {
			free(r);
			continue;
		}
		crash_now = kind;
		s = sio_mem_crash(w->sio, kind, call * 16 + how);
		recover_run(s, r);
		verify(w, s, r);
		states++;
		if (states % 4 == 0)
			same_verify(s, r);
		live_free(&r->live);
		free(r);
		if (w->depth == 0 && states % 131 == 0)
			life_after(w, s);
		crash_now = kind;
		sio_free(&s);
	}
	w->crashing = false;
}

/* ---- the protocol: qmgr's side ---- */

static void
log_write(struct world *w)
{
	if (evlog_write(w->log) == 0)
		w->written = evlog_position(w->log);
}

static int
log_sync(struct world *w)
{
	log_write(w);
	if (evlog_sync(w->log) != 0)
		return -1;
	w->written = evlog_position(w->log);
	return 0;
}

static void
append(struct world *w, enum ev_type type, const union ev_any *any)
{
	ck_assert_int_eq(evlog_append(w->log, type, any), 0);
}

static void
accept_event(const struct msg *m, union ev_any *any, struct sv domains[2])
{
	domains[0] = SV("a.test");
	domains[1] = SV("b.test");
	memset(any, 0, sizeof(*any));
	any->accept = (struct ev_accept){
		.id = m->id, .segment = m->segment, .offset = m->offset,
		.length = m->length, .large_id = m->large_id,
		.domains = { .array = domains, .n = m->nrcpts },
	};
}

static void
qmgr_accept(struct world *w, struct msg *m)
{
	union ev_any any;
	struct sv domains[2];

	accept_event(m, &any, domains);
	append(w, EV_ACCEPT, &any);
	m->accepted = true;
	ck_assert(segtab_ref(w->tab, m->segment, m->offset, m->length));
	if (m->large_id != 0)
		ck_assert(segtab_large_ref(w->tab, m->large_id));
}

static void
commits_take(struct world *w, size_t n)
{
	for (; n > 0 && w->taken < w->ncommits; n--)
		qmgr_accept(w, &w->msgs[w->commits[w->taken++]]);
}

static void
seg_end_event(struct world *w, uint64_t segment, uint64_t end)
{
	union ev_any any;

	any.seg_end = (struct ev_seg_end){ segment, end };
	append(w, EV_SEG_END, &any);
	segtab_seal(w->tab, segment, end, evlog_position(w->log));
}

/* The writer leaves its segment; its COMMITs come before its SEG_DONE. */
static void
writer_leave(struct world *w, struct writer *wr)
{
	if (wr->segment == 0)
		return;
	commits_take(w, MSGS);
	seg_end_event(w, wr->segment, wr->next);
	sio_close(&wr->file);
	wr->segment = 0;
}

static bool
writer_ready(struct world *w, unsigned n, uint64_t need)
{
	struct writer *wr = &w->writers[n];

	if (wr->segment != 0 && need <= SEG_SIZE - wr->next)
		return true;
	writer_leave(w, wr);
	phase = "grant";
	if (segtab_grant(w->tab, n, &wr->segment) != 0) {
		wr->segment = 0;
		return false;
	}
	wr->file = segtab_writer_open(w->tab, wr->segment);
	ck_assert_ptr_nonnull(wr->file);
	wr->next = SEGMENT_HEADER;
	return true;
}

/* ---- the writers' side ---- */

struct draft {
	struct msg *m;
	unsigned char body[BODY_MAX], header[RECORD_HEADER];
	char env[32];
	struct iovec iov;
	struct sio_file *large;
};

static bool
draft_large(struct world *w, struct draft *d, struct record_parts *p)
{
	d->large = segtab_large_create(w->tab, &d->m->large_id);
	if (d->large == NULL) {
		d->m->large_id = 0;
		return false;
	}
	p->large_id = d->m->large_id;
	p->large_len = d->m->size;
	p->large_crc = record_large_crc(p->large_id, 0, 0, d->body,
	    d->m->size);
	p->nbody = 0;
	return sio_pwrite(d->large, d->body, d->m->size, 0) == 0;
}

static void
draft_make(struct world *w, struct draft *d, struct batch *b,
    const struct writer *wr)
{
	struct msg *m = &w->msgs[w->nmsgs];
	struct record_parts p;
	bool ok = true;

	memset(m, 0, sizeof(*m));
	*d = (struct draft){ .m = m };
	m->size = 1 + (unsigned)rnd(w, BODY_MAX);
	m->nrcpts = 1 + (unsigned)rnd(w, 2);
	m->segment = wr->segment;
	m->offset = b->end;
	m->id = msgid_make(m->segment, m->offset);
	body_make(w->nmsgs, m->size, d->body);
	d->iov = (struct iovec){ d->body, m->size };
	p = (struct record_parts){
		.id = m->id, .segment = m->segment,
		.env = sv_make(d->env, env_make(w->nmsgs, m->nrcpts, d->env)),
		.body = &d->iov, .nbody = 1,
	};
	if (rnd(w, 8) == 0)
		ok = draft_large(w, d, &p);
	if (!ok) {
		sio_close(&d->large);
		d->m = NULL;
		return;
	}
	m->length = batch_add(b, &p, d->header);
	ck_assert_uint_gt(m->length, 0);
	if (d->large != NULL)
		batch_large(b, d->large);
	w->nmsgs++;
}

static void
step_batch(struct world *w)
{
	struct draft drafts[4];
	unsigned n = (unsigned)rnd(w, MOVER), count = 1 +
	    (unsigned)rnd(w, 4);
	struct writer *wr = &w->writers[n];
	struct batch b;
	int err;

	if (w->nmsgs + count > MSGS ||
	    !writer_ready(w, n, count * (BODY_MAX + 200)))
		return;
	phase = "batch";
	batch_init(&b, wr->file, wr->next);
	for (unsigned i = 0; i < count; i++)
		draft_make(w, &drafts[i], &b, wr);
	err = batch_write(&b);
	if (err == 0)
		wr->next = b.end;
	for (unsigned i = 0; i < count; i++) {
		struct msg *m = drafts[i].m;

		sio_close(&drafts[i].large);
		if (m == NULL)
			continue;
		m->acked = err == 0;
		m->refused = err != 0;
		if (m->acked)
			w->commits[w->ncommits++] = (size_t)(m - w->msgs);
		else if (m->large_id != 0)
			segtab_large_drop(w->tab, m->large_id);
	}
	batch_fini(&b);
	if (err != 0)
		writer_leave(w, wr); /* never synced again */
}

/* ---- deliveries, moves, checkpoints ---- */

static struct msg *
some_accepted(struct world *w)
{
	size_t start = (size_t)rnd(w, w->nmsgs + 1);

	for (size_t i = 0; i < w->nmsgs; i++) {
		struct msg *m = &w->msgs[(start + i) % w->nmsgs];

		if (m->accepted && !m->gone)
			return m;
	}
	return NULL;
}

static void
rcpt_end(struct world *w, struct msg *m, unsigned k)
{
	m->done[k] = true;
	m->done_at[k] = evlog_position(w->log);
	m->gone = m->done[0] && (m->nrcpts == 1 || m->done[1]);
	if (!m->gone)
		return;
	segtab_unref(w->tab, m->segment, m->length, m->done_at[k]);
	if (m->large_id != 0)
		segtab_large_unref(w->tab, m->large_id, m->done_at[k]);
}

/* Delivered, deferred, or failed and bounced. */
static void
step_result(struct world *w)
{
	struct msg *m = some_accepted(w);
	union ev_any any;
	unsigned k;
	uint64_t kind = rnd(w, 6);

	if (m == NULL)
		return;
	k = m->done[0] ? 1 : 0;
	memset(&any, 0, sizeof(any));
	any.attempt.id = m->id;
	any.attempt.rcpt_idx = k;
	any.attempt.action = kind == 0 ? ACT_DEFERRED :
	    kind == 1 ? ACT_FAILED : ACT_DELIVERED;
	any.attempt.wants_dsn = kind == 1;
	append(w, EV_ATTEMPT, &any);
	if (kind == 0)
		return;
	if (kind == 1) {
		uint32_t idx = k;

		memset(&any, 0, sizeof(any));
		any.bounced = (struct ev_bounced){ .id = m->id,
			.rcpts = { .array = &idx, .n = 1 } };
		append(w, EV_BOUNCED, &any);
	}
	rcpt_end(w, m, k);
}

static void
step_sync(struct world *w)
{
	phase = "sync";
	if (log_sync(w) != 0)
		return;
	phase = "release";
	(void)segtab_release(w->tab, evlog_durable(w->log));
}

static bool
move_one(struct world *w, struct msg *m)
{
	struct writer *wr = &w->writers[MOVER];
	unsigned char header[RECORD_HEADER];
	struct sio_file *from = segtab_reader(w->tab, m->segment);
	struct record_parts p;
	struct record rec;
	struct iovec iov;
	struct batch b;
	struct buf in;
	union ev_any any;
	uint64_t offset, length;
	int err;

	if (!writer_ready(w, MOVER, m->length))
		return false;
	ck_assert_ptr_nonnull(from);
	buf_init(&in, RECORD_MAX);
	ck_assert_int_eq(record_read(from, m->segment, m->offset, m->length,
	    &in, &rec), RECORD_OK);
	record_parts_of(&rec, wr->segment, &iov, &p);
	phase = "move";
	batch_init(&b, wr->file, wr->next);
	offset = b.end;
	length = batch_add(&b, &p, header);
	err = batch_write(&b);
	buf_fini(&in);
	if (err == 0)
		wr->next = b.end;
	batch_fini(&b);
	if (err != 0) {
		writer_leave(w, wr);
		return false;
	}
	any.move = (struct ev_move){ m->id, wr->segment, offset, length };
	append(w, EV_MOVE, &any);
	segtab_unref(w->tab, m->segment, m->length, evlog_position(w->log));
	m->segment = wr->segment;
	m->offset = offset;
	m->length = length;
	ck_assert(segtab_ref(w->tab, m->segment, m->offset, m->length));
	return true;
}

static void
step_compact(struct world *w)
{
	uint64_t number;

	if (!segtab_compact_pick(w->tab, &number))
		return;
	for (size_t i = 0; i < w->nmsgs; i++) {
		struct msg *m = &w->msgs[i];

		if (m->accepted && !m->gone && m->segment == number &&
		    !move_one(w, m))
			return;
	}
}

static int
checkpoint_msgs(struct world *w, struct checkpoint *c, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		const struct msg *m = &w->msgs[i];
		struct sv domains[2];
		union ev_any any;

		if (!m->accepted || m->gone)
			continue;
		accept_event(m, &any, domains);
		if (checkpoint_add(c, EV_ACCEPT, &any) != 0)
			return -1;
		for (unsigned k = 0; k < m->nrcpts; k++) {
			memset(&any, 0, sizeof(any));
			any.rcpt = (struct ev_rcpt){ .id = m->id,
				.rcpt_idx = k, .state = EVR_DONE };
			if (m->done[k] &&
			    checkpoint_add(c, EV_RCPT, &any) != 0)
				return -1;
		}
	}
	return 0;
}

static void
step_checkpoint(struct world *w)
{
	struct checkpoint *c;
	uint64_t number;
	size_t half;

	phase = "checkpoint";
	if (evlog_rotate(w->log) != 0)
		return;
	w->written = evlog_position(w->log);
	number = evlog_position(w->log).file;
	c = checkpoint_begin(w->sio, number);
	if (c == NULL)
		return;
	half = w->nmsgs / 2;
	if (segtab_checkpoint(w->tab, c) != 0 ||
	    checkpoint_msgs(w, c, 0, half) != 0) {
		checkpoint_abort(&c);
		return;
	}
	/* The queue goes on meanwhile. */
	step_batch(w);
	commits_take(w, 3);
	step_result(w);
	step_result(w);
	phase = "checkpoint 2";
	if (checkpoint_msgs(w, c, half, w->nmsgs) != 0 || log_sync(w) != 0) {
		checkpoint_abort(&c);
		return;
	}
	if (checkpoint_commit(&c) == 0) {
		(void)checkpoint_cut(w->sio, number);
		(void)evlog_cut(w->log, number);
	}
}

/* ---- starting up ---- */

/* What recovery says is the truth from now on. */
static void
ledger_adopt(struct world *w, const struct recovered *r)
{
	for (size_t i = 0; i < w->nmsgs; i++) {
		struct msg *m = &w->msgs[i];
		const struct live_msg *l = live_find(r->live, m->id);

		if (l != NULL) {
			m->acked = m->accepted = true;
			m->gone = false;
			m->segment = l->segment;
			m->offset = l->offset;
			m->length = l->length;
			for (unsigned k = 0; k < m->nrcpts; k++) {
				m->done[k] = l->done[k] != 0;
				m->done_at[k] = r->st.end;
			}
		} else if (m->acked && !is_found(r, m->id)) {
			m->gone = m->accepted = true;
			for (unsigned k = 0; k < m->nrcpts; k++) {
				m->done[k] = true;
				m->done_at[k] = r->st.end;
			}
		}
	}
}

static void
found_accept(struct world *w, const struct recovered *r)
{
	for (size_t i = 0; i < r->nfound; i++) {
		size_t k = 0;

		while (w->msgs[k].id != r->found[i].id)
			k++;
		w->msgs[k].acked = true;
		for (unsigned j = 0; j < w->msgs[k].nrcpts; j++)
			w->msgs[k].done[j] = false;
		w->msgs[k].gone = false;
		w->msgs[k].segment = r->found[i].segment;
		w->msgs[k].offset = r->found[i].offset;
		qmgr_accept(w, &w->msgs[k]);
	}
}

static void
adopted_seal(struct world *w)
{
	struct seg_info info;
	size_t at = 0;

	while (segtab_next(w->tab, &at, &info)) {
		if (info.state == SEG_ADOPTED)
			seg_end_event(w, info.number, info.known);
	}
}

static void
heal(struct world *w)
{
	if (w->heal_at != 0 && sio_mem_calls(w->sio) > w->heal_at)
		sio_mem_fail(w->sio, 0, 0, false);
}

static void
start_up(struct world *w)
{
	struct segtab_conf conf = { .segment_size = SEG_SIZE, .free_max = 2 };
	struct recovered *r = malloc(sizeof(*r));
	const struct live_msg *l;
	size_t at = 0;

	ck_assert_ptr_nonnull(r);
	phase = "start";
	w->tab = segtab_open(w->sio, &conf);
	ck_assert_ptr_nonnull(w->tab);
	while (recover_try(w->sio, r, w->tab) != 0) {
		live_free(&r->live);
		heal(w);
	}
	ledger_adopt(w, r);
	while ((w->log = evlog_open(w->sio, r->st.end)) == NULL) {
		ck_assert(errno == EIO || errno == ENOSPC);
		heal(w);
	}
	w->written = evlog_position(w->log);
	segtab_epoch_set(w->tab, w->written.file);
	while ((l = live_next(r->live, &at)) != NULL) {
		ck_assert(segtab_ref(w->tab, l->segment, l->offset,
		    l->length));
		if (l->large_id != 0)
			ck_assert(segtab_large_ref(w->tab, l->large_id));
	}
	found_accept(w, r);
	adopted_seal(w);
	segtab_recovered(w->tab, evlog_position(w->log));
	(void)log_sync(w);
	(void)segtab_large_sweep(w->tab);
	step_checkpoint(w);
	(void)segtab_release(w->tab, evlog_durable(w->log));
	live_free(&r->live);
	free(r);
}

static void
shut_down(struct world *w)
{
	for (unsigned i = 0; i < WRITERS; i++) {
		sio_close(&w->writers[i].file);
		w->writers[i].segment = 0;
	}
	w->ncommits = w->taken = 0;
	evlog_free(&w->log);
	segtab_free(&w->tab);
}

/* qmgr is killed and comes back; the writers live on and leave their
 * segments. What it had not handed to the system is gone. */
static void
step_restart(struct world *w)
{
	shut_down(w);
	start_up(w);
}

static void
step(struct world *w)
{
	uint64_t what = rnd(w, 100);

	if (what < 25)
		step_batch(w);
	else if (what < 40)
		commits_take(w, 1 + rnd(w, 5));
	else if (what < 75)
		step_result(w);
	else if (what < 82)
		log_write(w);
	else if (what < 92)
		step_sync(w);
	else if (what < 96)
		step_compact(w);
	else if (what < 98)
		step_checkpoint(w);
	else if (what < 99)
		step_restart(w);
	phase = "between";
}

static void
world_init(struct world *w, struct sio *s, uint64_t seed)
{
	memset(w, 0, sizeof(*w));
	w->sio = s;
	w->rng = seed;
	w->stride = 1;
	sio_mem_on_call(s, on_call, w);
}

/* The next life on what a crash left: start-up and some steps, with crashes
 * again. */
static void
life_after(const struct world *w, struct sio *s)
{
	struct world *next = malloc(sizeof(*next));
	uint64_t before = states;

	ck_assert_ptr_nonnull(next);
	*next = *w;
	next->sio = s;
	next->crashing = false;
	next->depth = w->depth + 1;
	next->stride = 1;
	next->log = NULL;
	next->tab = NULL;
	next->rng += 77;
	memset(next->writers, 0, sizeof(next->writers));
	next->ncommits = next->taken = 0;
	sio_mem_on_call(s, on_call, next);
	start_up(next);
	for (int i = 0; i < 6; i++)
		step(next);
	shut_down(next);
	sio_mem_on_call(s, NULL, NULL);
	free(next);
	deep_states += states - before;
	states = before;
}

static void
world_run(struct world *w, unsigned steps)
{
	ck_assert_int_eq(sio_spool_create(w->sio), 0);
	start_up(w);
	for (unsigned i = 0; i < steps; i++)
		step(w);
}

START_TEST(test_crash_at_every_call_loses_nothing)
{
	struct world *w = malloc(sizeof(*w));

	ck_assert_ptr_nonnull(w);
	states = deep_states = verified_messages = 0;
	for (uint64_t seed = 1; seed <= 2; seed++) {
		struct sio *s = sio_mem_new();

		world_init(w, s, seed);
		world_run(w, 170);
		shut_down(w);
		sio_free(&s);
	}
	printf("crash states: %llu, in lives after a crash: %llu, records "
	    "compared: %llu\n", (unsigned long long)states,
	    (unsigned long long)deep_states,
	    (unsigned long long)verified_messages);
	ck_assert_uint_ge(states, 5000);
	free(w);
}
END_TEST

static const struct {
	int err;
	bool sticky;
} faults[] = { { EIO, false }, { ENOSPC, false }, { EIO, true },
	{ ENOSPC, true } };

START_TEST(test_failing_call_loses_nothing)
{
	struct world *w = malloc(sizeof(*w));
	uint64_t runs = 0, calls = 1000;

	ck_assert_ptr_nonnull(w);
	states = quarantined = 0;
	for (uint64_t n = 12 + (uint64_t)_i * 2; n < calls; n += 7) {
		struct sio *s = sio_mem_new();

		world_init(w, s, 5);
		w->stride = 97;
		ck_assert_int_eq(sio_spool_create(s), 0);
		start_up(w);
		w->heal_at = sio_mem_calls(s) + n + 40;
		sio_mem_fail(s, n, faults[_i].err, faults[_i].sticky);
		for (unsigned i = 0; i < 80; i++) {
			step(w);
			heal(w);
		}
		calls = sio_mem_calls(s);
		sio_mem_fail(s, 0, 0, false);
		w->stride = 1;
		step_sync(w); /* the disk is well again: this must go */
		ck_assert_int_eq(evlog_pos_cmp(evlog_durable(w->log),
		    evlog_position(w->log)), 0);
		on_call(w);
		shut_down(w);
		sio_free(&s);
		runs++;
	}
	printf("%s%s at every seventh call: %llu runs, %llu crash states, %llu "
	    "quarantined\n",
	    faults[_i].err == EIO ? "EIO" : "ENOSPC",
	    faults[_i].sticky ? " from then on" : "",
	    (unsigned long long)runs, (unsigned long long)states,
	    (unsigned long long)quarantined);
	free(w);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("crash");
	TCase *tc = tcase_create("crash");
	SRunner *sr;
	int failed;

#ifdef M_MMAP_THRESHOLD
	/* Recovery takes and gives back large blocks thousands of times. */
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
#endif
	tcase_set_timeout(tc, 300);
	tcase_add_test(tc, test_crash_at_every_call_loses_nothing);
	tcase_add_loop_test(tc, test_failing_call_loses_nothing, 0,
	    (int)(sizeof(faults) / sizeof(faults[0])));
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
