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
#define INTENT_BYTES  ((uint64_t)INTENT_SLOTS * INTENT_SLOT_BYTES)

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
		outcome_from_record(q, m, e->idx[i],
		    delivered ? OUT_DELIVERED : OUT_IN_DOUBT, &why);
	}
}

static void
intent_apply(struct qmgr *q, const char *path, bool inflight_only)
{
	struct sio_file *f = sio_open(q->sio, path, SIO_READ);
	unsigned char block[INTENT_SLOT_BYTES * 512];
	struct intent_entry e;
	uint64_t at = 0;
	ssize_t n;

	if (f == NULL)
		return;
	while ((n = sio_read_all(f, block, sizeof(block), at)) > 0) {
		size_t slots = (size_t)n / INTENT_SLOT_BYTES;

		for (size_t i = 0; i < slots; i++) {
			if (intent_slot_read(block + i * INTENT_SLOT_BYTES,
			    &e))
				entry_apply(q, &e, inflight_only);
		}
		at += (uint64_t)n;
	}
	sio_close(&f);
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

		if (list[i] >= q->first_intent)
			continue;
		sio_path(path, INTENT_FOLDER, list[i], INTENT_SUFFIX);
		intent_apply(q, path, false);
		intent_remove(q, path);
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

static int
intent_make(struct qmgr *q, struct worker *w)
{
	struct sio_file *f;
	int fd = -1;

	w->intent = q->next_intent++;
	sio_path(w->intent_path, INTENT_FOLDER, w->intent, INTENT_SUFFIX);
	f = sio_open(q->sio, w->intent_path,
	    SIO_READ | SIO_WRITE | SIO_CREATE | SIO_TRUNC);
	/* with its blocks, or on a full disk the worker dies of SIGBUS; where
	 * there are none left it has to do without */
	if (f != NULL)
		(void)sio_allocate(f, INTENT_BYTES);
	if (f != NULL && sio_ftruncate(f, INTENT_BYTES) == 0)
		fd = fcntl(sio_fd(f), F_DUPFD_CLOEXEC, 0);
	sio_close(&f);
	return fd;
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

	if (q == NULL || w->reader.chan == NULL)
		return;
	reader_detach(&w->reader);
	intent_apply(q, w->intent_path, true);
	sched_worker_remove(q->sched, qmgr_now(), w->index);
	intent_remove(q, w->intent_path);
	resync_counted(q, w);
}

void
worker_attach(struct qmgr *q, unsigned index, int fd)
{
	struct worker *w;
	struct chan *c;
	int map;

	if (index >= WORKERS_MAX) {
		close(fd);
		return;
	}
	w = &q->workers[index];
	worker_gone(w);
	/* its predecessor is counted already */
	*w = (struct worker){ .q = q, .index = index,
		.resynced = w->resynced };
	map = intent_make(q, w);
	if (map < 0) {
		log_warn_errno("no intent file for smtp[%u]", index);
		close(fd);
		return;
	}
	c = chan_new(q->role->base, fd, R_QMGR, R_SMTP, index, &worker_ops, w);
	reader_attach(&w->reader, c);
	ipc_send_intent(c, &(struct ipc_intent){ .slots = INTENT_SLOTS }, map);
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
	sched_session_up(w->q->sched, qmgr_now(), m->session);
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
on_resync(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_resync *m = msg;
	struct worker *w = arg;
	struct smsg *sm = sched_msg_find(w->q->sched, m->id);

	(void)c;
	for (uint32_t i = 0; sm != NULL && i < m->rcpts.n; i++) {
		uint32_t idx = u32s_get(&m->rcpts, i);
		enum srcpt_state s;

		if (idx >= smsg_nrcpts(sm))
			continue;
		s = smsg_rcpt_state(sm, idx);
		if (s == SR_READY || s == SR_RETRY)
			sched_rcpt_held_by(w->q->sched, sm, idx, w->index);
	}
}

static void
on_resync_end(struct chan *c, void *arg, const void *msg)
{
	struct worker *w = arg;

	(void)c;
	(void)msg;
	resync_counted(w->q, w);
	sched_worker_add(w->q->sched, w->index);
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
		[IPC_SESSION_END] = on_session_end,
		[IPC_RESULT] = on_result,
		[IPC_RESYNC] = on_resync,
		[IPC_RESYNC_END] = on_resync_end,
	},
	.on_close = on_close,
	.on_batch_end = on_batch_end,
};
