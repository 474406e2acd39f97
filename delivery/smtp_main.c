/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/sys/log.h"
#include "delivery/smtp.h"

void
worker_check_exit(struct worker *w)
{
	if (!w->role->stopping || w->nsessions > 0)
		return;
	if (w->qmgr != NULL && w->synced && !result_none_waiting(w))
		return; /* they will be acknowledged */
	if (w->qmgr != NULL)
		chan_flush(w->qmgr);
	role_exit(w->role);
}

/* ---- frames of qmgr ---- */

static void
on_intent(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_intent *m = msg;

	resync(arg, m->slots, chan_take_fd(c));
}

static void
on_seg_open(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_seg_open *m = msg;

	segment_add(arg, m->segment, chan_take_fd(c));
}

static void
on_seg_close(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_seg_close *m = msg;

	(void)c;
	segment_remove(arg, m->segment);
}

static void
on_large_open(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_large_open *m = msg;

	large_add(arg, m->large_id, chan_take_fd(c));
}

static void
on_session_open(struct chan *c, void *arg, const void *msg)
{
	(void)c;
	session_open(arg, msg);
}

static void
on_deliver(struct chan *c, void *arg, const void *msg)
{
	(void)c;
	delivery_accept(arg, msg);
}

static void
on_session_close(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_session_close *m = msg;
	struct session *s = session_find(arg, m->session);

	(void)c;
	if (s == NULL)
		return;
	s->close_asked = true;
	if (s->state == SESSION_CONNECTING)
		session_fail(s, END_IDLE, 0, SV(""), SV(""));
	else
		session_mark(s);
}

static void
on_result_ack(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_result_ack *m = msg;

	(void)c;
	result_ack(arg, m->seq);
	worker_check_exit(arg);
}

static void
on_trace_stop(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_trace_stop *m = msg;
	struct session *s = session_find(arg, m->session);

	(void)c;
	if (s != NULL)
		trace_end(s, false);
}

static void
on_batch_end(struct chan *c, void *arg)
{
	(void)c;
	session_run_dirty(arg);
}

/* May come from within a send; what it means is done by the event loop. */
static void
on_qmgr_close(struct chan *c, void *arg, const char *why)
{
	struct worker *w = arg;

	(void)c;
	log_warn("the channel to qmgr is gone: %s", why);
	w->qmgr_lost = true;
	event_active(w->ev_lost, EV_WRITE, 0);
	role_qmgr_gone();
}

static const struct chan_ops qmgr_ops = {
	.on = {
		[IPC_INTENT] = on_intent,
		[IPC_SEG_OPEN] = on_seg_open,
		[IPC_SEG_CLOSE] = on_seg_close,
		[IPC_LARGE_OPEN] = on_large_open,
		[IPC_SESSION_OPEN] = on_session_open,
		[IPC_DELIVER] = on_deliver,
		[IPC_SESSION_CLOSE] = on_session_close,
		[IPC_RESULT_ACK] = on_result_ack,
		[IPC_TRACE_STOP] = on_trace_stop,
	},
	.on_close = on_qmgr_close,
	.on_batch_end = on_batch_end,
};

/* ---- the role ---- */

static void
qmgr_forget(struct worker *w)
{
	if (w->qmgr == NULL)
		return;
	chan_free(&w->qmgr);
	w->qmgr_lost = false;
	w->synced = false;
	session_orphan_all(w);
	spool_forget(w);
	worker_check_exit(w);
}

static void
on_lost(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd;
	(void)what;
	if (w->qmgr_lost)
		qmgr_forget(w);
}

static void
on_dirty(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	session_run_dirty(arg);
}

static void
smtp_init(struct role *r)
{
	struct worker *w = calloc(1, sizeof(*w));

	if (w == NULL)
		fatal("out of memory");
	w->role = r;
	r->arg = w;
	TAILQ_INIT(&w->sessions);
	TAILQ_INIT(&w->dirty);
	TAILQ_INIT(&w->slot_waiters);
	TAILQ_INIT(&w->results);
	STAILQ_INIT(&w->spare);
	buf_init(&w->scratch, (size_t)64 << 20);
	w->intents.free = INTENT_NONE;
	w->ev_lost = event_new(r->base, -1, 0, on_lost, w);
	w->ev_dirty = event_new(r->base, -1, 0, on_dirty, w);
	if (w->ev_lost == NULL || w->ev_dirty == NULL)
		fatal("out of memory");
}

/* Whatever a session must know comes with its SESSION_OPEN. */
static void
smtp_conf(struct role *r, struct sv bytes)
{
	(void)r;
	(void)bytes;
}

static void
smtp_peer(struct role *r, enum ipc_role peer, unsigned index, int fd)
{
	struct worker *w = r->arg;

	if (peer != R_QMGR) {
		close(fd);
		return;
	}
	qmgr_forget(w);
	w->qmgr = chan_new(r->base, fd, R_SMTP, R_QMGR, index, &qmgr_ops, w);
}

static void
smtp_stop(struct role *r, uint32_t drain_ms)
{
	struct worker *w = r->arg;

	(void)drain_ms;
	session_stop_all(w);
	worker_check_exit(w);
}

static const struct role_ops smtp_ops = {
	.self = R_SMTP,
	.name = "smtp",
	.init = smtp_init,
	.conf = smtp_conf,
	.peer = smtp_peer,
	.stop = smtp_stop,
};

int
main(int argc, char **argv)
{
	return role_main(argc, argv, &smtp_ops);
}
