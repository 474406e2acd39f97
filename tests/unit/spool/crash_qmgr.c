/* SPDX-License-Identifier: ISC */
/*
 * qmgr's part: what qmgr/journal.c, upkeep.c, intake.c, recover.c and
 * readers.c do with the spool, in the same order, without their event loop.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/spool/crash.h"

#define SECTOR_BYTES 512u /* as in sio_mem_private.h */

/* ---- the log ---- */

void
qmgr_append(struct world *w, enum ev_type type, const union ev_any *any)
{
	MUST(evlog_append(w->log, type, any) == 0, "no memory");
}

static bool
reserve_drop(struct world *w)
{
	if (sio_unlink(w->sio, "reserve") != 0)
		return false;
	w->reserve = false;
	return true;
}

int
qmgr_log_write(struct world *w)
{
	if (evlog_write(w->log) != 0 && (errno != ENOSPC ||
	    !reserve_drop(w) || evlog_write(w->log) != 0))
		return -1;
	w->written = evlog_position(w->log);
	return 0;
}

/* What qmgr takes for durable must be. */
static void
durable_take(struct world *w)
{
	struct evlog_pos at = evlog_durable(w->log);
	char path[SIO_PATH_MAX];

	if (evlog_pos_cmp(at, w->durable) > 0)
		MUST(sio_mem_is_durable(w->sio, sio_path(path, EVLOG_FOLDER,
		    at.file, EVLOG_SUFFIX), 0, at.offset),
		    "the log is told durable to %llu/%llu and is not",
		    (unsigned long long)at.file,
		    (unsigned long long)at.offset);
	w->durable = at;
	if (evlog_pos_cmp(w->written, at) < 0)
		w->written = at;
}

void
qmgr_sync_begin(struct world *w)
{
	if (w->syncing || !evlog_sync_begin(w->log, &w->sync))
		return;
	w->written = w->sync.upto;
	w->syncing = true;
}

void
qmgr_sync_end(struct world *w)
{
	int err;

	if (!w->syncing)
		return;
	crash_phase = "sync";
	err = evlog_sync_run(&w->sync);
	w->syncing = false;
	if (evlog_sync_done(w->log, &w->sync, err) == 0 && err != 0)
		w->written = evlog_position(w->log);
	durable_take(w);
}

int
qmgr_log_sync(struct world *w)
{
	int rc;

	qmgr_sync_end(w);
	crash_phase = "sync";
	(void)qmgr_log_write(w);
	rc = evlog_sync(w->log);
	if (rc == 0)
		w->written = evlog_position(w->log);
	durable_take(w);
	return rc;
}

void
qmgr_release(struct world *w)
{
	crash_phase = "release";
	(void)segtab_release(w->tab, evlog_durable(w->log));
}

static bool
log_rotate(struct world *w)
{
	qmgr_sync_end(w);
	crash_phase = "rotate";
	if (evlog_rotate(w->log) != 0)
		return false;
	durable_take(w);
	return true;
}

/* ---- messages ---- */

static void
accept_event(const struct world *w, const struct msg *m, union ev_any *any,
    struct sv domains[RCPTS])
{
	domains[0] = SV("a.test");
	domains[1] = SV("b.test");
	memset(any, 0, sizeof(*any));
	any->accept = (struct ev_accept){
		.id = m->id, .segment = m->segment, .offset = m->offset,
		.length = m->length, .large_id = m->large_id,
		.body_len = m->size,
		.dsn_for = m->is_dsn ? w->msgs[m->orig].id : 0,
		.domains = { .array = domains, .n = m->nrcpts },
	};
}

static void
rcpt_end(struct world *w, struct msg *m, unsigned k)
{
	struct evlog_pos at = evlog_position(w->log);

	m->st[k] = RCPT_DONE;
	m->at[k] = at;
	m->gone = true;
	for (unsigned i = 0; i < m->nrcpts; i++)
		m->gone = m->gone && m->st[i] == RCPT_DONE;
	if (!m->gone)
		return;
	segtab_unref(w->tab, m->segment, m->length, at);
	if (m->large_id != 0)
		segtab_large_unref(w->tab, m->large_id, at);
}

/* The DSN is in the queue: what it reports is over. */
static void
original_finish(struct world *w, const struct msg *dsn)
{
	struct msg *m = &w->msgs[dsn->orig];
	uint64_t before = evlog_position(w->log).offset;
	uint32_t rcpt = dsn->orig_rcpt;
	union ev_any any;

	memset(&any, 0, sizeof(any));
	any.bounced = (struct ev_bounced){ .id = m->id, .dsn_id = dsn->id,
		.rcpts = { .array = &rcpt, .n = 1 } };
	qmgr_append(w, EV_BOUNCED, &any);
	w->torn = (before + SECTOR_BYTES - 1) / SECTOR_BYTES * SECTOR_BYTES <
	    evlog_position(w->log).offset;
	if (m->st[rcpt] == RCPT_BOUNCING)
		rcpt_end(w, m, rcpt);
}

void
qmgr_accept(struct world *w, unsigned idx)
{
	struct msg *m = &w->msgs[idx];
	struct sv domains[RCPTS];
	union ev_any any;

	accept_event(w, m, &any, domains);
	qmgr_append(w, EV_ACCEPT, &any);
	m->accepted = true;
	MUST(segtab_ref(w->tab, m->segment, m->offset, m->length),
	    "message %u in a segment that is not in the table", idx);
	if (m->large_id != 0)
		MUST(segtab_large_ref(w->tab, m->large_id) || w->faulty,
		    "message %u has a large file that is not in the table",
		    idx);
	if (m->is_dsn)
		original_finish(w, m);
}

struct msg *
qmgr_some(struct world *w)
{
	unsigned start = (unsigned)rnd(w, w->nmsgs + 1u);

	for (unsigned i = 0; i < w->nmsgs; i++) {
		struct msg *m = &w->msgs[(start + i) % w->nmsgs];

		if (m->accepted && !m->gone)
			return m;
	}
	return NULL;
}

static void
attempt_append(struct world *w, const struct msg *m, unsigned k,
    enum ev_action action, bool wants_dsn)
{
	uint64_t seq = ledger_attempt(w);
	union ev_any any;

	memset(&any, 0, sizeof(any));
	any.attempt.id = m->id;
	any.attempt.rcpt_idx = k;
	any.attempt.action = (uint8_t)action;
	any.attempt.wants_dsn = wants_dsn;
	any.attempt.time_us = seq;
	qmgr_append(w, EV_ATTEMPT, &any);
	w->attempts[seq].at = evlog_position(w->log);
}

void
qmgr_outcome(struct world *w, struct msg *m, unsigned k, enum outcome what)
{
	uint32_t rcpt = k;
	union ev_any any;

	if (m->st[k] != RCPT_OPEN)
		return;
	if (what == OUT_DEFERRED) {
		attempt_append(w, m, k, ACT_DEFERRED, false);
	} else if (what == OUT_DELETED) {
		memset(&any, 0, sizeof(any));
		any.delete = (struct ev_delete){ .id = m->id,
			.rcpts = { .array = &rcpt, .n = 1 } };
		qmgr_append(w, EV_DELETE, &any);
		rcpt_end(w, m, k);
	} else if (what == OUT_FAILED && !m->is_dsn) {
		attempt_append(w, m, k, ACT_FAILED, true);
		m->st[k] = RCPT_BOUNCING;
		m->failed_seq[k] = w->nattempts;
	} else {
		attempt_append(w, m, k, what == OUT_FAILED ? ACT_FAILED :
		    ACT_DELIVERED, false);
		rcpt_end(w, m, k);
	}
}

/* ---- segments ---- */

static void
found_accept(struct world *w, const struct found *f)
{
	int idx = ledger_find(w, f->id);
	struct msg *m;

	MUST(idx >= 0, "found a message that nobody submitted");
	m = &w->msgs[idx];
	if (m->accepted && !m->gone)
		return; /* as intake_message(): in the queue already */
	m->gone = false;
	for (unsigned k = 0; k < m->nrcpts; k++) {
		m->st[k] = RCPT_OPEN;
		m->failed_seq[k] = 0;
	}
	m->segment = f->segment;
	m->offset = f->offset;
	m->length = f->length;
	segtab_known(w->tab, f->segment, f->offset + f->length);
	qmgr_accept(w, (unsigned)idx);
}

static void
on_tail_found(void *arg, const struct record *r)
{
	struct world *w = arg;

	found_accept(w, &(struct found){ r->id, r->segment, r->offset,
	    r->length, r->large_id });
	w->msgs[ledger_find(w, r->id)].acked = true;
}

static void
on_tail_problem(void *arg, const char *text)
{
	(void)arg;
	(void)text; /* damage is what a torn tail looks like */
}

static void
on_tail_event(void *arg, enum ev_type type, const union ev_any *m,
    struct evlog_pos at)
{
	(void)arg;
	(void)type;
	(void)m;
	(void)at;
}

static bool
tail_read(struct world *w, uint64_t segment, uint64_t upto)
{
	static const struct recover_ops ops = { .on_event = on_tail_event,
		.on_found = on_tail_found, .on_problem = on_tail_problem };
	struct seg_info info;
	uint64_t end;

	if (!segtab_info(w->tab, segment, &info) || info.known >= upto)
		return true;
	if (spool_recover_tail(w->sio, segment, info.known, upto, NULL, &ops, w,
	    &end) != 0)
		return false;
	segtab_known(w->tab, segment, end);
	return true;
}

void
qmgr_commits_take(struct world *w, unsigned n)
{
	for (; n > 0 && w->taken < w->ncommits; n--) {
		unsigned idx = w->commits[w->taken++];
		const struct msg *m = &w->msgs[idx];
		struct seg_info info;

		if (!segtab_info(w->tab, m->segment, &info))
			info.known = m->offset;
		if (m->offset < info.known)
			continue; /* found by reading the segment already */
		if (m->offset > info.known &&
		    !tail_read(w, m->segment, m->offset))
			continue; /* found with the rest later */
		segtab_known(w->tab, m->segment, m->offset + m->length);
		qmgr_accept(w, idx);
	}
	if (w->taken == w->ncommits)
		w->taken = w->ncommits = 0;
}

/* The end that its writer told, if it could not be read up to there yet. */
static unsigned
unread_find(const struct world *w, uint64_t segment)
{
	unsigned i = 0;

	while (i < w->nunread && w->unread[i].segment != segment)
		i++;
	return i;
}

void
qmgr_segment_finish(struct world *w, uint64_t segment, uint64_t upto)
{
	unsigned at = unread_find(w, segment);
	struct seg_info info;
	union ev_any any;

	crash_phase = "segment's end";
	if (at < w->nunread && w->unread[at].upto < upto)
		upto = w->unread[at].upto;
	if (!tail_read(w, segment, upto)) {
		w->unread[at].segment = segment;
		w->unread[at].upto = upto;
		w->nunread += at == w->nunread;
		return; /* later, in qmgr_look() */
	}
	if (at < w->nunread)
		w->unread[at] = w->unread[--w->nunread];
	if (!segtab_info(w->tab, segment, &info) ||
	    info.state == SEG_SEALED || info.state == SEG_EMPTY)
		return;
	any.seg_end = (struct ev_seg_end){ segment, info.known };
	qmgr_append(w, EV_SEG_END, &any);
	segtab_seal(w->tab, segment, info.known, evlog_position(w->log));
}

void
qmgr_large_drop(struct world *w, struct msg *m)
{
	m->drop_waits = w->nunread > 0;
	if (!m->drop_waits)
		segtab_large_drop(w->tab, m->large_id,
		    evlog_position(w->log));
}

static void
unread_retry(struct world *w)
{
	for (unsigned i = w->nunread; i-- > 0;)
		qmgr_segment_finish(w, w->unread[i].segment, UINT64_MAX);
	for (unsigned i = 0; i < w->nmsgs && w->nunread == 0; i++) {
		if (w->msgs[i].drop_waits)
			qmgr_large_drop(w, &w->msgs[i]);
	}
}

static bool
has_writer(const struct world *w, uint64_t segment)
{
	for (unsigned i = 0; i < WRITERS; i++) {
		if (w->writers[i].segment == segment)
			return true;
	}
	return false;
}

void
qmgr_adopted_finish(struct world *w)
{
	struct seg_info info;
	size_t at = 0;

	while (segtab_next(w->tab, &at, &info)) {
		if ((info.state == SEG_ADOPTED || info.state == SEG_GRANTED) &&
		    !has_writer(w, info.number))
			qmgr_segment_finish(w, info.number, UINT64_MAX);
	}
}

void
qmgr_fill(struct world *w)
{
	struct segtab_fill *f;

	crash_phase = "fill";
	if (!w->reserve)
		return;
	f = segtab_fill_begin(w->tab);
	if (f != NULL)
		segtab_fill_done(w->tab, &f, segtab_fill_run(f));
}

/* What is done every second: the reserve, what could not be read. */
void
qmgr_look(struct world *w)
{
	struct sio_file *f;

	crash_phase = "reserve";
	if (!w->reserve) {
		f = sio_open(w->sio, "reserve", SIO_WRITE | SIO_CREATE);
		w->reserve = f != NULL && sio_allocate(f, RESERVE) == 0;
		sio_close(&f);
		if (!w->reserve)
			(void)sio_unlink(w->sio, "reserve");
	}
	qmgr_adopted_finish(w);
	unread_retry(w);
}

/* ---- compaction ---- */

static void
target_close(struct world *w)
{
	struct writer *wr = &w->writers[MOVER];

	if (wr->segment == 0)
		return;
	sio_close(&wr->file);
	segtab_seal(w->tab, wr->segment, wr->next, evlog_position(w->log));
	wr->segment = 0;
}

static void
move_apply(struct world *w, const struct ev_move *mv)
{
	struct msg *m = &w->msgs[ledger_find(w, mv->id)];
	union ev_any any = { .move = *mv };

	qmgr_append(w, EV_MOVE, &any);
	MUST(segtab_ref(w->tab, mv->segment, mv->offset, mv->length),
	    "moved to a segment that is not in the table");
	segtab_unref(w->tab, m->segment, m->length, evlog_position(w->log));
	m->segment = mv->segment;
	m->offset = mv->offset;
	m->length = mv->length;
}

/* The copy of one record; its place. */
static bool
copy_write(struct world *w, const struct msg *m, struct ev_move *mv)
{
	struct writer *wr = &w->writers[MOVER];
	struct sio_file *from = segtab_reader(w->tab, m->segment);
	unsigned char header[RECORD_HEADER];
	struct iovec body, iov[8];
	struct record_parts p;
	struct record rec;
	struct buf in;
	bool ok;

	if (from == NULL)
		return false;
	buf_init(&in, RECORD_MAX);
	ok = record_read(from, m->segment, m->offset, m->length, &in, &rec) ==
	    RECORD_OK;
	MUST(ok || w->faulty, "a live message cannot be read");
	if (ok) {
		record_parts_of(&rec, wr->segment, &body, &p);
		*mv = (struct ev_move){ m->id, wr->segment, wr->next,
			record_length(&p) };
		ok = sio_write_all(wr->file, iov,
		    record_build(&p, header, iov), wr->next) == 0;
	}
	buf_fini(&in);
	if (ok)
		wr->next += mv->length;
	return ok;
}

void
qmgr_compact(struct world *w)
{
	struct writer *wr = &w->writers[MOVER];
	struct ev_move moves[16];
	unsigned n = 0;
	uint64_t number;

	crash_phase = "compaction";
	if (!segtab_compact_pick(w->tab, &number))
		return;
	for (unsigned i = 0; i < w->nmsgs && n < 16; i++) {
		const struct msg *m = &w->msgs[i];

		if (!m->accepted || m->gone || m->segment != number ||
		    m->st[0] == RCPT_BOUNCING || m->st[1] == RCPT_BOUNCING)
			continue;
		if (wr->segment != 0 && m->length > SEG_SIZE - wr->next) {
			if (n > 0)
				break; /* synced first, in another slice */
			target_close(w);
		}
		if (!writer_ready(w, MOVER, m->length) ||
		    !copy_write(w, m, &moves[n]))
			break;
		n++;
	}
	crash_phase = "compaction's sync";
	if (n == 0)
		return;
	if (sio_fdatasync(wr->file) != 0) {
		target_close(w);
		return;
	}
	for (unsigned i = 0; i < n; i++)
		move_apply(w, &moves[i]);
}

/* ---- checkpoints ---- */

static int
message_save(const struct world *w, struct checkpoint *c, const struct msg *m)
{
	struct sv domains[RCPTS];
	union ev_any any;

	if (!m->accepted || m->gone)
		return 0;
	accept_event(w, m, &any, domains);
	if (checkpoint_add(c, EV_ACCEPT, &any) != 0)
		return -1;
	for (unsigned k = 0; k < m->nrcpts; k++) {
		memset(&any, 0, sizeof(any));
		any.rcpt = (struct ev_rcpt){ .id = m->id, .rcpt_idx = k,
			.state = m->st[k] == RCPT_DONE ? EVR_DONE :
			    EVR_BOUNCING };
		if (m->st[k] != RCPT_OPEN &&
		    checkpoint_add(c, EV_RCPT, &any) != 0)
			return -1;
	}
	return 0;
}

static int
messages_save(const struct world *w, struct checkpoint *c, unsigned from,
    unsigned to)
{
	int rc = 0;

	for (unsigned i = from; rc == 0 && i < to; i++)
		rc = message_save(w, c, &w->msgs[i]);
	return rc;
}

/* Older checkpoints and event files go when nobody needs them. */
static void
checkpoint_done(struct world *w, uint64_t number)
{
	uint64_t keep = number;

	for (unsigned i = 0; i < READERS; i++) {
		if (w->tailers[i].told.file < keep)
			keep = w->tailers[i].told.file;
	}
	(void)checkpoint_cut(w->sio, number);
	(void)evlog_cut(w->log, keep);
}

static struct checkpoint *
checkpoint_start(struct world *w, uint64_t *number_r)
{
	struct checkpoint *c;

	if (!log_rotate(w))
		return NULL;
	crash_phase = "checkpoint";
	*number_r = evlog_position(w->log).file;
	c = checkpoint_begin(w->sio, *number_r);
	if (c != NULL && segtab_checkpoint(w->tab, c) != 0)
		checkpoint_abort(&c);
	return c;
}

void
qmgr_checkpoint(struct world *w)
{
	unsigned half = w->nmsgs / 2;
	struct checkpoint *c;
	uint64_t number;

	if (w->snapshot.file != NULL)
		return;
	c = checkpoint_start(w, &number);
	if (c == NULL)
		return;
	if (messages_save(w, c, 0, half) != 0) {
		checkpoint_abort(&c);
		return;
	}
	/* The queue goes on meanwhile. */
	qmgr_commits_take(w, 3);
	for (unsigned i = 0; i < 3; i++) {
		struct msg *m = qmgr_some(w);

		if (m != NULL)
			qmgr_outcome(w, m, m->st[0] == RCPT_OPEN ? 0 :
			    m->nrcpts - 1, OUT_DELIVERED);
	}
	crash_phase = "checkpoint";
	if (messages_save(w, c, half, w->nmsgs) != 0 ||
	    qmgr_log_sync(w) != 0) {
		checkpoint_abort(&c);
		return;
	}
	crash_phase = "checkpoint's end";
	if (checkpoint_commit(&c) == 0)
		checkpoint_done(w, number);
}

void
qmgr_snapshot_begin(struct world *w)
{
	struct snapshot *sn = &w->snapshot;

	if (sn->file != NULL)
		return;
	sn->file = checkpoint_start(w, &sn->number);
	if (sn->file != NULL && messages_save(w, sn->file, 0, w->nmsgs) != 0)
		checkpoint_abort(&sn->file);
}

void
qmgr_snapshot_end(struct world *w)
{
	crash_phase = "snapshot's end";
	if (w->snapshot.file != NULL && checkpoint_commit(&w->snapshot.file) ==
	    0)
		checkpoint_done(w, w->snapshot.number);
}

/* ---- starting up and dying ---- */

/* A DSN in the queue without the end of what it reports: qmgr was killed in
 * between. */
static void
dsns_check(struct world *w)
{
	for (unsigned i = 0; i < w->nmsgs; i++) {
		const struct msg *m = &w->msgs[i];

		if (m->is_dsn && m->accepted && !m->gone &&
		    w->msgs[m->orig].st[m->orig_rcpt] == RCPT_BOUNCING &&
		    !w->msgs[m->orig].gone)
			original_finish(w, m);
	}
}

static void
refs_take(struct world *w, const struct view *v)
{
	const struct live_msg *l;
	size_t at = 0;

	while ((l = live_next(v->live, &at)) != NULL) {
		MUST(segtab_ref(w->tab, l->segment, l->offset, l->length),
		    "a live message in a segment that is not there");
		if (l->large_id != 0)
			MUST(segtab_large_ref(w->tab, l->large_id) ||
			    w->faulty, "a live message's large file is gone");
	}
}

static bool
start_try(struct world *w, struct view *v)
{
	struct segtab_conf conf = { .segment_size = SEG_SIZE, .free_max = 2 };

	crash_phase = "recovery";
	w->tab = segtab_open(w->sio, &conf);
	v->live = NULL;
	if (w->tab == NULL || view_recover(w->sio, v, w, w->tab) != 0)
		return false;
	crash_phase = "start";
	w->log = evlog_open(w->sio, v->st.end);
	if (w->log == NULL && errno == ENOSPC && reserve_drop(w))
		w->log = evlog_open(w->sio, v->st.end);
	return w->log != NULL;
}

void
qmgr_start(struct world *w)
{
	struct view *v = malloc(sizeof(*v));
	unsigned tries = 0;

	MUST(v != NULL, "no memory");
	for (unsigned i = 0; i < w->nmsgs; i++)
		w->msgs[i].drop_waits = false;
	while (!start_try(w, v)) {
		MUST(w->faulty, "qmgr does not start");
		MUST(++tries < 10000, "qmgr never starts");
		if (w->full && tries == 100)
			sio_mem_space(w->sio, 1 << 20); /* a person */
		view_free(v);
		segtab_free(&w->tab);
	}
	ledger_adopt(w, v);
	w->written = w->durable = evlog_position(w->log);
	segtab_epoch_set(w->tab, w->written.file);
	refs_take(w, v);
	segtab_recovered(w->tab, w->written);
	w->up = true;
	for (unsigned i = 0; i < v->nfound; i++) {
		found_accept(w, &v->found[i]);
		/* durable from now on, as if it had been acknowledged */
		w->msgs[ledger_find(w, v->found[i].id)].acked = true;
	}
	dsns_check(w);
	view_free(v);
	free(v);
	(void)qmgr_log_write(w);
}

/* The child dies with its parent: nobody removes its file. */
static void
snapshot_kill(struct world *w)
{
	struct sio_mem_fault no = { .ops = SIO_OP_UNLINK, .count = 1,
		.err = EIO }, before;
	bool quiet = w->quiet;

	if (w->snapshot.file == NULL)
		return;
	w->quiet = true;
	before = sio_mem_fault(w->sio, no);
	checkpoint_abort(&w->snapshot.file);
	(void)sio_mem_fault(w->sio, before);
	w->quiet = quiet;
}

void
qmgr_kill(struct world *w)
{
	snapshot_kill(w);
	sio_close(&w->writers[MOVER].file);
	w->writers[MOVER].segment = 0;
	w->ncommits = w->taken = w->nunread = 0;
	w->syncing = w->up = w->reserve = false;
	for (unsigned i = 0; i < READERS; i++)
		w->tailers[i].told = (struct evlog_pos){ 0, 0 };
	for (unsigned i = 0; i < WRITERS; i++)
		w->writers[i].foreign = w->writers[i].segment != 0;
	evlog_free(&w->log);
	segtab_free(&w->tab);
}
