/* SPDX-License-Identifier: ISC */
/*
 * Delivery workers: their channels, their intent files, what they still have
 * when qmgr is new, and what is left of them when they die.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/str.h"
#include "common/sys/log.h"
#include "qmgr/qmgr.h"

#define INTENT_FOLDER "intent"
#define INTENT_SUFFIX ".map"
#define INTENT_BYTES  intent_file_bytes(INTENT_SLOTS)

static const struct chan_ops worker_ops;

unsigned
workers_count(const struct qmgr *q)
{
	unsigned n = 0;

	for (unsigned i = 0; i < WORKERS_MAX; i++)
		n += q->workers[i].reader.chan != NULL;
	return n;
}

/* ---- intent files ---- */

static void
entry_apply(struct qmgr *q, const struct intent_entry *e, bool inflight_only)
{
	bool delivered = e->state == INTENT_DELIVERED;
	struct sched_why why = {
		.status = delivered ? SV("2.0.0") : SV("4.4.2"),
		.diag = delivered ?
		    SV("250 accepted; the delivery process died before it "
		    "could report the reply") :
		    SV("final dot sent, reply unknown: the delivery process "
		    "died"),
	};

	for (uint32_t i = 0; i < e->count; i++) {
		struct smsg *m = sched_msg_find(q->sched, e->id);
		enum srcpt_state s;

		if (m == NULL || e->idx[i] >= smsg_nrcpts(m))
			continue;
		s = smsg_rcpt_state(m, e->idx[i]);
		/* at a start, in flight means: a living worker has it */
		if (inflight_only != (s == SR_INFLIGHT))
			continue;
		if (s == SR_DONE || s == SR_BOUNCING)
			continue;
		(void)outcome_from_record(q, m, e->idx[i],
		    delivered ? OUT_DELIVERED : OUT_IN_DOUBT, &why);
	}
}

/* False if it cannot be read. */
static bool
intent_apply(struct qmgr *q, struct sio_file *f, const char *path,
    bool inflight_only)
{
	unsigned char block[INTENT_SLOT_BYTES * 512];
	struct intent_entry e;
	uint64_t at = 0;
	ssize_t n;

	while ((n = sio_read_all(f, block, sizeof(block), at)) > 0) {
		size_t slots = (size_t)n / INTENT_SLOT_BYTES;

		for (size_t i = 0; i < slots; i++) {
			if (intent_slot_read(block + i * INTENT_SLOT_BYTES,
			    &e))
				entry_apply(q, &e, inflight_only);
		}
		at += (uint64_t)n;
	}
	if (n < 0)
		log_warn_errno("%s cannot be read: what was under way is in "
		    "doubt", path);
	return n >= 0;
}

/* The message that its worker was at; 0 if it was at none. */
static uint64_t
intent_suspect(struct sio_file *f)
{
	unsigned char mark[INTENT_SLOT_BYTES];

	return sio_read_all(f, mark, sizeof(mark),
	    INTENT_BYTES - INTENT_SLOT_BYTES) == sizeof(mark) ?
	    intent_mark_read(mark) : 0;
}

/* Nobody can say what became of what the worker had. */
static void
all_in_doubt(struct qmgr *q, unsigned worker)
{
	static const struct intent_entry none = { .state = INTENT_DOT_SENT };
	struct intent_entry e = none;
	struct smsg *m;
	struct sched_msg info;

	while (sched_worker_rcpt(q->sched, worker, &m, &e.idx[0])) {
		smsg_info(m, &info);
		e.id = info.id;
		e.count = 1;
		entry_apply(q, &e, true);
		if (smsg_rcpt_state(m, e.idx[0]) == SR_INFLIGHT)
			break; /* it would be found for ever */
	}
}

/* It is needed until what it told is recorded. */
static void
intent_remove(struct qmgr *q, const char *path)
{
	if (journal_write(q))
		sio_unlink(q->sio, path);
}

/* Of the life before: what nobody told of any more. */
void
workers_old_intents(struct qmgr *q)
{
	uint64_t *list = NULL;
	size_t n = 0;

	if (sio_numbers(q->sio, INTENT_FOLDER, INTENT_SUFFIX, &list, &n) != 0)
		return;
	for (size_t i = 0; i < n; i++) {
		char path[SIO_PATH_MAX];
		struct sio_file *f;

		if (list[i] >= q->first_intent)
			continue;
		sio_path(path, INTENT_FOLDER, list[i], INTENT_SUFFIX);
		f = sio_open(q->sio, path, SIO_READ);
		if (f == NULL)
			log_warn_errno("%s cannot be opened", path);
		else if (intent_apply(q, f, path, false))
			intent_remove(q, path);
		sio_close(&f);
	}
	free(list);
}

void
workers_init(struct qmgr *q)
{
	uint64_t *list = NULL;
	size_t n = 0;

	q->first_intent = 1;
	if (sio_numbers(q->sio, INTENT_FOLDER, INTENT_SUFFIX, &list, &n) == 0 &&
	    n > 0)
		q->first_intent = list[n - 1] + 1;
	q->next_intent = q->first_intent;
	free(list);
}

/* With its blocks, or on a full disk the worker dies of SIGBUS, again and
 * again, and a message is blamed for it. This is what the reserve is for. */
static bool
intent_blocks_take(struct qmgr *q, struct sio_file *f)
{
	int err;

	if (sio_allocate(f, INTENT_BYTES) == 0 || errno == EOPNOTSUPP)
		return true;
	err = errno;
	if (err == ENOSPC && upkeep_reserve_drop(q) &&
	    sio_allocate(f, INTENT_BYTES) == 0)
		return true;
	errno = err;
	return false;
}

static int
intent_make(struct qmgr *q, struct worker *w)
{
	struct sio_file *f;
	int fd = -1, err = 0;

	w->intent = q->next_intent++;
	sio_path(w->intent_path, INTENT_FOLDER, w->intent, INTENT_SUFFIX);
	f = sio_open(q->sio, w->intent_path,
	    SIO_READ | SIO_WRITE | SIO_CREATE | SIO_TRUNC);
	if (f != NULL && intent_blocks_take(q, f) &&
	    sio_ftruncate(f, INTENT_BYTES) == 0)
		fd = fcntl(sio_fd(f), F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		err = errno;
	if (fd < 0)
		sio_close(&f);
	w->intent_file = f;
	if (fd < 0) {
		(void)sio_unlink(q->sio, w->intent_path);
		errno = err;
	}
	return fd;
}

/* Without one it may send nothing: tried until there is one. */
static void
intent_give(struct qmgr *q, struct worker *w)
{
	int fd = intent_make(q, w);

	if (fd < 0 && !w->wants_intent)
		log_warn_errno("no intent file for smtp[%u]; trying on",
		    w->index);
	w->wants_intent = fd < 0;
	if (fd >= 0)
		ipc_send_intent(w->reader.chan,
		    &(struct ipc_intent){ .slots = INTENT_SLOTS }, fd);
}

void
workers_intents_retry(struct qmgr *q)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		struct worker *w = &q->workers[i];

		if (w->wants_intent && w->reader.chan != NULL)
			intent_give(q, w);
	}
}

/* ---- coming and going ---- */

static void
resync_counted(struct qmgr *q, struct worker *w)
{
	if (w->resynced)
		return;
	w->resynced = true;
	if (q->resync_wait > 0)
		q->resync_wait--;
}

static void
worker_gone(struct worker *w)
{
	struct qmgr *q = w->q;
	uint64_t suspect = 0;
	bool read = false;

	if (q == NULL || w->reader.chan == NULL)
		return;
	reader_detach(&w->reader);
	trace_worker_gone(q, w->index);
	/* it died over its RESYNC: what it had from a qmgr before us stands
	 * in its new file only, and we hold it for nobody's */
	if (w->intent_file != NULL) {
		if (!w->told)
			(void)intent_apply(q, w->intent_file, w->intent_path,
			    false);
		read = intent_apply(q, w->intent_file, w->intent_path, true);
		if (!read)
			all_in_doubt(q, w->index);
		suspect = intent_suspect(w->intent_file);
	}
	sio_close(&w->intent_file);
	sched_worker_remove(q->sched, qmgr_now(), w->index);
	if (suspect != 0)
		suspect_found(w, suspect);
	if (read)
		intent_remove(q, w->intent_path);
	resync_counted(q, w);
}

void
worker_attach(struct qmgr *q, unsigned index, int fd)
{
	struct worker *w;
	struct chan *c;

	if (index >= WORKERS_MAX) {
		close(fd);
		return;
	}
	w = &q->workers[index];
	worker_gone(w);
	if (w->suspect != 0)
		suspect_settle(w);
	/* its predecessor is counted already */
	*w = (struct worker){ .q = q, .index = index,
		.resynced = w->resynced };
	c = chan_new(q->role->base, fd, R_QMGR, R_SMTP, index, &worker_ops, w);
	reader_attach(&w->reader, c);
	intent_give(q, w);
}

void
workers_ack(struct qmgr *q)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		struct worker *w = &q->workers[i];

		if (!w->ack_due || w->reader.chan == NULL)
			continue;
		w->ack_due = false;
		ipc_send_result_ack(w->reader.chan,
		    &(struct ipc_result_ack){ .seq = w->acked });
	}
}

/* ---- frames ---- */

static void
on_session_up(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_session_up *m = msg;
	struct worker *w = arg;

	(void)c;
	sched_session_up(w->q->sched, qmgr_now(), m->session, m->host,
	    m->host_ip);
}

static void
on_session_quit(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_session_quit *m = msg;
	struct worker *w = arg;

	(void)c;
	sched_session_quits(w->q->sched, qmgr_now(), m->session);
}

static void
on_session_end(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_session_end *m = msg;
	struct worker *w = arg;
	struct sched_why why = {
		.status = m->status, .diag = m->text, .host = m->host,
		.host_ip = m->host_ip, .source_ip = m->source_ip,
	};
	enum session_end end = m->why < SESSION_ENDS ?
	    (enum session_end)m->why : END_LOST;

	(void)c;
	sched_session_end(w->q->sched, qmgr_now(), m->session, end, m->code,
	    &why);
}

static void
on_trace(struct chan *c, void *arg, const void *msg)
{
	struct worker *w = arg;

	(void)c;
	trace_lines(w->q, w->index, msg);
}

/* One that is not known gets no mail until it dies. */
static void
worker_add(struct worker *w)
{
	if (!sched_worker_add(w->q->sched, w->index))
		fatal("out of memory");
}

static void
on_resync(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_resync *m = msg;
	struct worker *w = arg;
	struct smsg *sm = sched_msg_find(w->q->sched, m->id);

	(void)c;
	/* it can hold something from here on; RESYNC_END may come later */
	worker_add(w);
	for (uint32_t i = 0; sm != NULL && i < m->rcpts.n; i++) {
		uint32_t idx = u32s_get(&m->rcpts, i);
		enum srcpt_state s;

		if (idx >= smsg_nrcpts(sm))
			continue;
		s = smsg_rcpt_state(sm, idx);
		if (s == SR_TRASHED) {
			/* deleted before we knew: as all that is in flight, it
			 * is passed over, or undo could send it twice */
			trash_take(w->q, sm, idx);
			s = smsg_rcpt_state(sm, idx);
		}
		if ((s == SR_READY || s == SR_RETRY || s == SR_HELD) &&
		    !sched_rcpt_held_by(w->q->sched, sm, idx, w->index))
			fatal("out of memory"); /* or it is sent twice */
	}
}

static void
on_resync_end(struct chan *c, void *arg, const void *msg)
{
	struct worker *w = arg;

	(void)c;
	(void)msg;
	w->told = true;
	resync_counted(w->q, w);
	worker_add(w);
}

static void
on_close(struct chan *c, void *arg, const char *why)
{
	struct worker *w = arg;

	(void)c;
	log_debug("channel to smtp[%u]: %s", w->index, why);
	worker_gone(w);
	qmgr_turn_end(w->q);
	qmgr_stop_check(w->q);
}

static void
on_batch_end(struct chan *c, void *arg)
{
	struct worker *w = arg;

	(void)c;
	qmgr_turn_end(w->q);
}

static const struct chan_ops worker_ops = {
	.on = {
		[IPC_SESSION_UP] = on_session_up,
		[IPC_SESSION_QUIT] = on_session_quit,
		[IPC_SESSION_END] = on_session_end,
		[IPC_RESULT] = on_result,
		[IPC_RESYNC] = on_resync,
		[IPC_RESYNC_END] = on_resync_end,
		[IPC_TRACE] = on_trace,
	},
	.on_close = on_close,
	.on_batch_end = on_batch_end,
};
