/* SPDX-License-Identifier: ISC */
/*
 * The writers' part (common/spool/committer.c without its event loop), the
 * readers of the log, and the steps that a life is made of.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/msgid.h"
#include "common/spool/batch.h"
#include "tests/unit/spool/crash.h"

#define PLACE_BYTES 900 /* of a reader's own: a slot is more than a sector */

static const char *const tailer_names[READERS] = { "acct", "bounce" };

/* ---- segments of writers ---- */

static void
segment_close(struct writer *wr)
{
	sio_close(&wr->file);
	wr->segment = 0;
	wr->foreign = false;
}

/* SEG_DONE; the COMMITs come before it. */
void
writer_leave(struct world *w, enum writer_name n)
{
	struct writer *wr = &w->writers[n];
	uint64_t segment = wr->segment, next = wr->next;

	if (segment == 0)
		return;
	qmgr_commits_take(w, MSGS);
	segment_close(wr);
	qmgr_segment_finish(w, segment, next);
}

bool
writer_ready(struct world *w, enum writer_name n, uint64_t need)
{
	struct writer *wr = &w->writers[n];

	if (wr->segment != 0 && !wr->foreign && need <= SEG_SIZE - wr->next)
		return true;
	if (n != MOVER)
		writer_leave(w, n);
	crash_phase = "grant";
	if (!w->reserve || segtab_grant(w->tab, n, &wr->segment) != 0) {
		wr->segment = 0;
		return false;
	}
	wr->file = segtab_writer_open(w->tab, wr->segment);
	wr->next = SEGMENT_HEADER;
	wr->foreign = false;
	if (wr->file != NULL)
		return true;
	MUST(w->faulty, "a granted segment cannot be opened");
	wr->segment = 0; /* the table has it: sealed as nobody's */
	return false;
}

/* What it had not told is found by reading its segment. */
void
writer_kill(struct world *w, enum writer_name n)
{
	struct writer *wr = &w->writers[n];
	uint64_t segment = wr->segment;
	unsigned kept = w->taken;
	bool unsent = false;

	for (unsigned i = w->taken; i < w->ncommits; i++) {
		unsent = unsent || (w->commit_of[i] == n && rnd(w, 2) == 0);
		if (w->commit_of[i] == n && unsent)
			continue; /* it waited for credit */
		w->commits[kept] = w->commits[i];
		w->commit_of[kept++] = w->commit_of[i];
	}
	w->ncommits = kept;
	if (segment == 0)
		return;
	segment_close(wr);
	qmgr_commits_take(w, MSGS); /* those that are in the socket */
	qmgr_segment_finish(w, segment, UINT64_MAX);
}

/* ---- batches ---- */

struct draft {
	struct msg *m;
	unsigned idx;
	unsigned char header[RECORD_HEADER];
	char env[ENV_MAX];
	struct iovec iov;
	struct sio_file *large;
};

static struct iovec
body_iov(unsigned idx, unsigned n)
{
	const unsigned char *p = ledger_body(idx);
	struct iovec v = { .iov_len = n };

	memcpy(&v.iov_base, &p, sizeof(p));
	return v;
}

static bool
draft_large(struct world *w, struct draft *d, struct record_parts *p)
{
	struct msg *m = d->m;

	d->large = segtab_large_create(w->tab, &m->large_id);
	if (d->large == NULL) {
		m->large_id = 0;
		return false;
	}
	p->large_id = m->large_id;
	p->large_len = m->size;
	p->large_crc = record_large_crc(p->large_id, 0, 0,
	    ledger_body(d->idx), m->size);
	p->nbody = 0;
	if (sio_pwrite(d->large, ledger_body(d->idx), m->size, 0) == 0)
		return true;
	segtab_large_drop(w->tab, m->large_id, evlog_position(w->log));
	return false;
}

/* A message for the ledger and the batch; not if its large file failed. */
static void
draft_make(struct world *w, struct draft *d, struct batch *b,
    const struct writer *wr, const struct msg *like)
{
	struct msg *m = &w->msgs[w->nmsgs];
	size_t before = b->niov;
	struct record_parts p;

	*m = *like;
	*d = (struct draft){ .m = m, .idx = w->nmsgs };
	m->segment = wr->segment;
	m->offset = b->end;
	m->id = msgid_make(m->segment, m->offset);
	d->iov = body_iov(d->idx, m->size);
	w->nmsgs++; /* so that it has an envelope */
	p = (struct record_parts){
		.id = m->id, .segment = m->segment,
		.env = ledger_env(w, d->idx, d->env),
		.body = &d->iov, .nbody = 1,
	};
	if (m->large_id != 0 && !draft_large(w, d, &p)) {
		sio_close(&d->large);
		d->m = NULL;
		w->nmsgs--;
		return;
	}
	m->length = batch_add(b, &p, d->header);
	MUST(m->length > 0, "a record over the limit");
	ledger_raw_keep(w, d->idx, b->iov + before, b->niov - before);
	if (d->large != NULL)
		batch_large(b, d->large);
}

/* What is told durable must be. */
static void
batch_verify(const struct world *w, const struct batch *b,
    const struct draft *drafts, unsigned n)
{
	char path[SIO_PATH_MAX];

	for (unsigned i = 0; i < n; i++) {
		const struct msg *m = drafts[i].m;

		if (m == NULL)
			continue;
		sio_path(path, SEGTAB_FOLDER, m->segment, ".seg");
		MUST(sio_mem_is_durable(w->sio, path, b->offset, b->end),
		    "a batch is told durable and is not");
	}
}

static void
draft_end(struct world *w, const struct writer *wr, enum writer_name n,
    struct draft *d, bool ok)
{
	struct msg *m = d->m;

	sio_close(&d->large);
	if (m == NULL)
		return;
	m->acked = ok;
	m->refused = !ok;
	if (ok && !wr->foreign) {
		w->commit_of[w->ncommits] = n;
		w->commits[w->ncommits++] = d->idx;
	}
}

/* After SEG_DONE. */
static void
larges_drop(struct world *w, unsigned from)
{
	for (unsigned i = from; i < w->nmsgs; i++) {
		if (w->msgs[i].refused && w->msgs[i].large_id != 0)
			qmgr_large_drop(w, &w->msgs[i]);
	}
}

/* 0, or -1 and the segment is left. */
static int
batch_commit(struct world *w, enum writer_name n, const struct msg *likes,
    unsigned count)
{
	struct writer *wr = &w->writers[n];
	struct draft drafts[4];
	struct batch b;
	int err;

	crash_phase = "batch";
	batch_init(&b, wr->file, wr->next);
	for (unsigned i = 0; i < count; i++)
		draft_make(w, &drafts[i], &b, wr, &likes[i]);
	err = batch_write(&b);
	if (err == 0) {
		wr->next = b.end;
		batch_verify(w, &b, drafts, count);
	}
	for (unsigned i = 0; i < count; i++)
		draft_end(w, wr, n, &drafts[i], err == 0);
	batch_fini(&b);
	return err == 0 ? 0 : -1;
}

/* Killed between its write and its sync: nobody was told anything. */
static void
batch_kill(struct world *w, enum writer_name n, const struct msg *like)
{
	struct writer *wr = &w->writers[n];
	struct draft d;
	struct batch b;

	crash_phase = "unsynced batch";
	batch_init(&b, wr->file, wr->next);
	draft_make(w, &d, &b, wr, like);
	if (d.m != NULL) {
		d.m->refused = d.m->large_id != 0; /* as its body is lost */
		if (d.large != NULL)
			(void)sio_fdatasync(d.large);
		(void)sio_write_all(b.file, b.iov, b.niov, b.offset);
		sio_close(&d.large);
	}
	batch_fini(&b);
	writer_kill(w, n);
}

static void
like_some(struct world *w, struct msg *m)
{
	memset(m, 0, sizeof(*m));
	m->size = 1 + (unsigned)rnd(w, rnd(w, 3) == 0 ? BODY_MAX : 200);
	m->nrcpts = 1 + (unsigned)rnd(w, 2);
	m->large_id = w->up && rnd(w, 8) == 0; /* 1: is to have one */
}

static bool
ledger_has_room(const struct world *w)
{
	return w->nmsgs + 8 < MSGS && w->ncommits + 8 < MSGS;
}

static void
step_batch(struct world *w)
{
	enum writer_name n = (enum writer_name)rnd(w, 2);
	unsigned count = 1 + (unsigned)rnd(w, 4), from = w->nmsgs;
	struct msg likes[4];

	if (!ledger_has_room(w) ||
	    !writer_ready(w, n, count * (BODY_MAX + 200)))
		return;
	for (unsigned i = 0; i < count; i++)
		like_some(w, &likes[i]);
	if (batch_commit(w, n, likes, count) == 0)
		return;
	if (rnd(w, 4) == 0) {
		writer_kill(w, n); /* W4 */
		return;
	}
	writer_leave(w, n); /* never synced again */
	larges_drop(w, from);
}

static void
step_writer_kill(struct world *w)
{
	enum writer_name n = (enum writer_name)rnd(w, 2);
	struct msg like;

	like_some(w, &like);
	if (rnd(w, 2) == 0 && ledger_has_room(w) &&
	    writer_ready(w, n, BODY_MAX + 200))
		batch_kill(w, n, &like);
	else
		writer_kill(w, n);
}

/* ---- readers of the log ---- */

static bool
tailer_start(struct world *w, enum reader_name n)
{
	struct tailer *t = &w->tailers[n];
	struct evlog_pos pos;
	struct buf b;
	bool ok;

	crash_phase = "a reader's start";
	buf_init(&b, OFFSET_BYTES_MAX);
	ok = offset_open(&t->store, w->sio, tailer_names[n], &pos, &b) == 0;
	t->last = 0;
	if (ok && buf_len(&b) >= sizeof(t->last))
		memcpy(&t->last, buf_data(&b), sizeof(t->last));
	buf_fini(&b);
	if (!ok)
		return false;
	t->reader = evlog_reader_open(w->sio, EVLOG_FOLDER, pos);
	MUST(t->reader != NULL, "no memory");
	t->told = pos;
	t->runs = true;
	return true;
}

void
tailer_kill(struct world *w, enum reader_name n)
{
	struct tailer *t = &w->tailers[n];

	evlog_reader_close(&t->reader);
	if (t->runs)
		offset_close(&t->store);
	t->runs = false;
}

/* False: the DSN cannot be written now. */
static bool
dsn_make(struct world *w, const struct ev_attempt *e)
{
	int idx = ledger_find(w, e->id);
	struct msg dsn = { .size = 60, .nrcpts = 1, .is_dsn = true,
		.orig = (unsigned)idx, .orig_rcpt = e->rcpt_idx };

	MUST(idx >= 0, "bounce is told of a message of nobody");
	qmgr_commits_take(w, MSGS); /* on the channel before BOUNCE_TAKE */
	if (w->msgs[idx].gone || w->msgs[idx].st[e->rcpt_idx] !=
	    RCPT_BOUNCING)
		return true; /* BOUNCE_GO without recipients */
	if (!ledger_has_room(w) || !writer_ready(w, BOUNCE, 400))
		return false;
	if (batch_commit(w, BOUNCE, &dsn, 1) == 0)
		return true;
	writer_leave(w, BOUNCE);
	return false;
}

/* False: this record is to be read again later. */
static bool
tailer_take(struct world *w, enum reader_name n, const struct ev_attempt *e)
{
	struct tailer *t = &w->tailers[n];

	MUST(e->time_us > t->last, "attempt %llu is read after %llu",
	    (unsigned long long)e->time_us, (unsigned long long)t->last);
	for (uint64_t seq = t->last + 1; seq < e->time_us; seq++)
		MUST(w->attempts[seq].lost, "attempt %llu was not read",
		    (unsigned long long)seq);
	if (n == R_BOUNCE_READS && e->wants_dsn && !dsn_make(w, e))
		return false;
	t->last = e->time_us;
	return true;
}

void
tailer_run(struct world *w, enum reader_name n, unsigned events)
{
	struct tailer *t = &w->tailers[n];
	struct evlog_record rec;
	enum evlog_next got = EVLOG_END;
	struct evlog_pos pos;
	char bytes[PLACE_BYTES];

	if (!t->runs && !tailer_start(w, n))
		return;
	while (events-- > 0) {
		crash_phase = "a reader";
		got = evlog_reader_next(t->reader, evlog_durable(w->log),
		    &rec);
		if (got != EVLOG_RECORD)
			break;
		if (rec.type == EV_ATTEMPT &&
		    !tailer_take(w, n, &rec.any.attempt)) {
			tailer_kill(w, n);
			return;
		}
	}
	if (got != EVLOG_RECORD && got != EVLOG_END) {
		MUST(got == EVLOG_ERROR && w->faulty,
		    "%s finds the log damaged", tailer_names[n]);
		tailer_kill(w, n);
		return;
	}
	crash_phase = "a reader's place";
	pos = evlog_reader_position(t->reader);
	memset(bytes, (int)t->last, sizeof(bytes));
	memcpy(bytes, &t->last, sizeof(t->last));
	if (offset_save(&t->store, pos, sv_make(bytes, sizeof(bytes))) == 0)
		t->told = pos;
}

/* ---- lives ---- */

/* qmgr dies and comes back while the writers go on into what they have. */
static void
step_restart(struct world *w)
{
	bool goes_on = rnd(w, 2) == 0;
	unsigned from = w->nmsgs;
	struct msg like;

	qmgr_kill(w);
	if (rnd(w, 2) == 0) {
		/* the whole tree */
		for (unsigned i = 0; i < WRITERS; i++)
			segment_close(&w->writers[i]);
		for (unsigned i = 0; i < READERS; i++)
			tailer_kill(w, (enum reader_name)i);
	}
	qmgr_start(w);
	like_some(w, &like);
	like.large_id = like.size % 2;
	for (unsigned i = 0; i < MOVER; i++) {
		struct writer *wr = &w->writers[i];

		if (goes_on && i != BOUNCE && wr->segment != 0 &&
		    ledger_has_room(w) &&
		    wr->next + BODY_MAX + 200 < SEG_SIZE)
			(void)batch_commit(w, (enum writer_name)i, &like, 1);
		writer_leave(w, (enum writer_name)i);
	}
	larges_drop(w, from);
	qmgr_look(w);
	(void)qmgr_log_sync(w);
	crash_phase = "sweep";
	if (rnd(w, 2) == 0)
		(void)segtab_large_sweep(w->tab);
	qmgr_checkpoint(w);
	qmgr_release(w);
}

void
world_unread(struct world *w)
{
	/* the large file is synced, the segment is not */
	static const struct sio_mem_fault no_sync = { .ops = SIO_OP_SYNC,
		.after = 1, .count = 1, .err = EIO };
	static const struct sio_mem_fault no_read = {
		.ops = SIO_OP_OPEN | SIO_OP_READ, .count = 40, .err = EIO };
	static const struct sio_mem_fault none;
	struct msg like = { .size = 300, .nrcpts = 1 };
	unsigned from;

	if (!ledger_has_room(w) ||
	    !writer_ready(w, SMTPD_0, 3 * (BODY_MAX + 200)))
		return;
	/* qmgr is a new one: it has to read what went on meanwhile */
	qmgr_kill(w);
	qmgr_start(w);
	(void)batch_commit(w, SMTPD_0, &like, 1);
	from = w->nmsgs;
	like.large_id = 1;
	(void)sio_mem_fault(w->sio, no_sync);
	MUST(batch_commit(w, SMTPD_0, &like, 1) != 0, "a sync does not fail");
	(void)sio_mem_fault(w->sio, no_read);
	writer_leave(w, SMTPD_0);
	(void)sio_mem_fault(w->sio, none);
	MUST(w->nunread > 0, "the segment was read");
	larges_drop(w, from);
	/* the log is durable before it can be read */
	(void)qmgr_log_sync(w);
	qmgr_release(w);
	crash_phase = "an unread segment";
	enum_point(w);
	qmgr_look(w);
	(void)qmgr_log_sync(w);
	qmgr_release(w);
}

/* One message that fails, and its DSN up to its COMMIT. */
static bool
dsn_round(struct world *w)
{
	struct msg like = { .size = 50, .nrcpts = 1 };
	unsigned idx = w->nmsgs;

	if (!ledger_has_room(w) || w->nattempts + 8 >= ATTEMPTS ||
	    !writer_ready(w, SMTPD_0, 400) ||
	    batch_commit(w, SMTPD_0, &like, 1) != 0)
		return false;
	qmgr_commits_take(w, MSGS);
	qmgr_outcome(w, &w->msgs[idx], 0, OUT_FAILED);
	(void)qmgr_log_sync(w);
	tailer_run(w, R_BOUNCE_READS, UINT32_MAX);
	(void)qmgr_log_sync(w);
	return true;
}

void
world_torn_dsn(struct world *w)
{
	w->quiet = true;
	do {
		w->torn = false;
		if (!dsn_round(w))
			break;
		qmgr_commits_take(w, MSGS);
	} while (!w->torn);
	(void)qmgr_log_write(w);
	w->quiet = false;
	crash_phase = "a DSN in two sectors";
	if (w->torn)
		enum_point(w);
}

static void
step_outcome(struct world *w)
{
	static const enum outcome outcomes[] = { OUT_DEFERRED, OUT_DELIVERED,
		OUT_DELIVERED, OUT_DELIVERED, OUT_FAILED, OUT_DELIVERED,
		OUT_DELETED, OUT_DELIVERED };
	struct msg *m = qmgr_some(w);
	enum outcome what = outcomes[rnd(w, 8)];

	if (m != NULL && w->nattempts + 8 < ATTEMPTS)
		qmgr_outcome(w, m, (unsigned)rnd(w, m->nrcpts), what);
}

static void
step_readers(struct world *w)
{
	enum reader_name n = (enum reader_name)rnd(w, READERS);

	if (rnd(w, 8) == 0)
		tailer_kill(w, n);
	else
		tailer_run(w, n, 1 + (unsigned)rnd(w, 20));
}

static void
step_sync(struct world *w)
{
	switch (rnd(w, 4)) {
	case 0:
	case 1:
		qmgr_sync_begin(w);
		break;
	case 2:
		qmgr_sync_end(w);
		break;
	default:
		(void)qmgr_log_sync(w);
		break;
	}
	if (!w->syncing)
		qmgr_release(w);
}

static void
step_checkpoint(struct world *w)
{
	if (w->snapshot.file != NULL)
		qmgr_snapshot_end(w);
	else if (rnd(w, 2) == 0)
		qmgr_snapshot_begin(w);
	else
		qmgr_checkpoint(w);
}

void
world_step(struct world *w)
{
	static const struct {
		unsigned weight;
		void (*fn)(struct world *w);
	} steps[] = {
		{ 20, step_batch }, { 30, step_outcome }, { 12, step_sync },
		{ 6, step_readers }, { 4, qmgr_compact },
		{ 4, step_checkpoint }, { 2, qmgr_fill }, { 2, qmgr_look },
		{ 2, step_writer_kill }, { 1, step_restart },
	};
	uint64_t what = rnd(w, 100);

	if (what < 10) {
		qmgr_commits_take(w, 1 + (unsigned)rnd(w, 5));
	} else if (what < 17) {
		crash_phase = "write";
		(void)qmgr_log_write(w);
	} else {
		what -= 17;
		for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
			if (what < steps[i].weight) {
				steps[i].fn(w);
				break;
			}
			what -= steps[i].weight;
		}
	}
	crash_phase = "between";
}

void
world_kill(struct world *w)
{
	qmgr_kill(w);
	for (unsigned i = 0; i < WRITERS; i++)
		segment_close(&w->writers[i]);
	for (unsigned i = 0; i < READERS; i++)
		tailer_kill(w, (enum reader_name)i);
}

static void
deliver_all(struct world *w)
{
	for (unsigned i = 0; i < w->nmsgs; i++) {
		struct msg *m = &w->msgs[i];

		for (unsigned k = 0; m->accepted && k < m->nrcpts; k++)
			qmgr_outcome(w, m, k, OUT_DELIVERED);
	}
}

/* A qmgr whose processes are all new: it may sweep at once. */
static void
clean_start(struct world *w)
{
	world_kill(w);
	qmgr_start(w);
	qmgr_look(w);
	(void)qmgr_log_sync(w);
	(void)segtab_large_sweep(w->tab);
}

void
world_drain(struct world *w)
{
	clean_start(w);
	for (unsigned i = 0; i < 3; i++) {
		/* what bounces has a DSN, which is delivered, too */
		deliver_all(w);
		(void)qmgr_log_sync(w);
		tailer_run(w, R_BOUNCE_READS, UINT32_MAX);
		tailer_run(w, R_ACCT_READS, UINT32_MAX);
		qmgr_commits_take(w, MSGS);
		for (unsigned n = 0; n < WRITERS - 1; n++)
			writer_leave(w, (enum writer_name)n);
	}
	clean_start(w);
	for (unsigned i = 0; i < 2; i++) {
		(void)qmgr_log_sync(w);
		tailer_run(w, R_BOUNCE_READS, UINT32_MAX);
		tailer_run(w, R_ACCT_READS, UINT32_MAX);
		qmgr_release(w);
		qmgr_checkpoint(w);
	}
	ledger_verify_drained(w);
}
