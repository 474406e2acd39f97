/* SPDX-License-Identifier: ISC */
/*
 * The scheduler's decisions as frames to the delivery workers, and the
 * descriptors that the readers of records need.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/str.h"
#include "common/sys/log.h"
#include "qmgr/qmgr.h"

#define MS_MAX INT32_MAX /* a timeout longer than 24 days is one of 24 days */

/* ---- descriptors of segments ---- */

void
reader_attach(struct reader *r, struct chan *c)
{
	reader_detach(r);
	r->chan = c;
}

void
reader_detach(struct reader *r)
{
	chan_free(&r->chan);
	free(r->open);
	*r = (struct reader){ .chan = NULL };
}

/* Place of the segment in the sorted list, or where it would go. */
static size_t
reader_find(const struct reader *r, uint64_t segment)
{
	size_t lo = 0, hi = r->nopen;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (r->open[mid] < segment)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool
reader_open_segment(struct qmgr *q, struct reader *r, uint64_t segment)
{
	size_t at = reader_find(r, segment);
	struct sio_file *f;
	int fd;

	if (at < r->nopen && r->open[at] == segment)
		return true;
	f = segtab_reader(q->segtab, segment);
	fd = f == NULL ? -1 : fcntl(sio_fd(f), F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return false;
	if (r->nopen == r->open_size) {
		size_t n = r->open_size == 0 ? 16 : r->open_size * 2;
		uint64_t *p = reallocarray(r->open, n, sizeof(*p));

		if (p == NULL)
			fatal("out of memory");
		r->open = p;
		r->open_size = n;
	}
	memmove(r->open + at + 1, r->open + at,
	    (r->nopen - at) * sizeof(*r->open));
	r->open[at] = segment;
	r->nopen++;
	ipc_send_seg_open(r->chan, &(struct ipc_seg_open){ segment }, fd);
	return true;
}

bool
reader_give(struct qmgr *q, struct reader *r, uint64_t segment,
    uint64_t large_id)
{
	struct sio_file *f;
	int fd;

	if (r->chan == NULL || !reader_open_segment(q, r, segment))
		return false;
	if (large_id == 0)
		return true;
	f = segtab_large_open(q->segtab, large_id);
	fd = f == NULL ? -1 : fcntl(sio_fd(f), F_DUPFD_CLOEXEC, 0);
	sio_close(&f);
	if (fd < 0)
		return false;
	ipc_send_large_open(r->chan, &(struct ipc_large_open){ large_id }, fd);
	return true;
}

static void
reader_close_segment(struct reader *r, uint64_t segment)
{
	size_t at = reader_find(r, segment);

	if (r->chan == NULL || at == r->nopen || r->open[at] != segment)
		return;
	r->nopen--;
	memmove(r->open + at, r->open + at + 1,
	    (r->nopen - at) * sizeof(*r->open));
	ipc_send_seg_close(r->chan, &(struct ipc_seg_close){ segment });
}

void
readers_segment_close(struct qmgr *q, uint64_t segment)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		reader_close_segment(&q->workers[i].reader, segment);
	reader_close_segment(&q->bounce_reader, segment);
}

/* ---- decisions ---- */

static uint32_t
ms32(int64_t ms)
{
	return ms > MS_MAX ? MS_MAX : ms < 0 ? 0 : (uint32_t)ms;
}

static uint32_t
session_flags(const struct conf_domain *c)
{
	return (c->ignore_pipelining ? SESSION_NO_PIPELINING : 0) |
	    (c->ignore_8bitmime ? SESSION_NO_8BITMIME : 0) |
	    (c->ignore_dsn ? SESSION_NO_DSN : 0) |
	    (c->smtp_421_means_mx_unavailable ? SESSION_421_IS_QUEUE : 0);
}

/* The source address that the scheduler chose, with its EHLO name. */
static void
source_put(const struct qmgr *q, const struct sched_session *se,
    struct ipc_session_open *m, char ip[46])
{
	const struct conf_vmta *v = conf_vmta_find(q->conf, se->vmta);

	m->helo = conf_hostname(q->conf);
	if (v == NULL)
		return;
	if (v->host_name.n > 0)
		m->helo = v->host_name;
	if (se->source < v->smtp_source_host.n) {
		const struct conf_srchost *h =
		    &v->smtp_source_host.v[se->source];

		if (h->ip.family != 0)
			m->source_ip = sv_from(route_addr_format(&h->ip, ip));
		if (h->helo.n > 0)
			m->helo = h->helo;
	}
}

static void
on_session_open(void *arg, const struct sched_session *se)
{
	struct qmgr *q = arg;
	const struct conf_domain *c = se->conf;
	struct ipc_session_open m = {
		.session = se->id,
		.queue = squeue_name(se->queue),
		.route = routes_find(q, se->domain, se->vmta),
		.window = se->window,
		.max_msgs = c->max_msg_per_connection,
		.max_rcpts = c->max_rcpt_per_transaction,
		.idle_ms = ms32(c->connection_idle_timeout_ms),
		.connect_ms = ms32(c->connect_timeout_ms),
		.greeting_ms = ms32(c->smtp_greeting_timeout_ms),
		.command_ms = ms32(c->smtp_command_timeout_ms),
		.data_ms = ms32(c->data_send_timeout_ms),
		.final_ms = ms32(c->smtp_data_termination_timeout_ms),
		.session_ms = ms32(c->smtp_session_timeout_ms),
		.attempts = c->mx_connection_attempts,
		.flags = session_flags(c),
	};
	struct buf b;
	char ip[46];

	buf_init(&b, IPC_ROUTE_MAX);
	if (se->targets != NULL)
		m.route = routes_left(q, se, &b);
	source_put(q, se, &m, ip);
	if (q->traces != NULL)
		m.flags |= trace_session(q, se, m.source_ip);
	ipc_send_session_open(q->workers[se->worker].reader.chan, &m);
	buf_fini(&b);
}

static void
on_deliver(void *arg, const struct sched_session *se, const struct smsg *msg,
    const uint32_t *idx, uint32_t n)
{
	struct qmgr *q = arg;
	struct worker *w = &q->workers[se->worker];
	struct sched_msg info;
	struct ipc_deliver m = {
		.session = se->id, .rcpts = { .array = idx, .n = n },
	};

	smsg_info(msg, &info);
	m.id = info.id;
	m.segment = info.segment;
	m.offset = info.offset;
	m.length = info.length;
	m.large_id = info.large_id;
	/* without a descriptor the worker answers OUT_UNREADABLE */
	(void)reader_give(q, &w->reader, info.segment, info.large_id);
	ipc_send_deliver(w->reader.chan, &m);
}

static void
on_session_close(void *arg, uint64_t session, unsigned worker)
{
	struct qmgr *q = arg;

	ipc_send_session_close(q->workers[worker].reader.chan,
	    &(struct ipc_session_close){ session });
}

static void
on_give_up(void *arg, struct smsg *msg, uint32_t idx,
    const struct sched_why *why)
{
	(void)outcome_from_record(arg, msg, idx, OUT_PERMANENT, why);
}

static void
mta_text(char out[600], const struct sched_why *why)
{
	struct str s;

	str_init(&s, out, 600);
	if (why->host.n > 0)
		str_addf(&s, "%.*s (%.*s)", SV_FMT(why->host),
		    SV_FMT(why->host_ip));
}

static void
on_queue_deferred(void *arg, const struct squeue *sq, struct wall next,
    uint32_t failures, const struct sched_why *why)
{
	struct qmgr *q = arg;
	char mta[600];
	union ev_any ev = { .queue_fail = {
		.time_us = (uint64_t)qmgr_now().wall.us,
		.queue = squeue_name(sq),
		.next_us = (uint64_t)next.us,
		.failures = failures,
		.status = sv_head(why->status, 16),
		.diag = sv_head(why->diag, EV_TEXT_MAX),
		.source_ip = why->source_ip,
		.dest_ip = why->host_ip,
	} };

	mta_text(mta, why);
	ev.queue_fail.mta = sv_head(sv_from(mta), EV_NAME_MAX);
	journal_append(q, EV_QUEUE_FAIL, &ev);
}

static void
on_queue_changed(void *arg, const struct squeue *sq, const char *what,
    const struct conf_reply *rule, struct sv reply)
{
	struct sched_queue_state st;
	struct qmgr *q = arg;

	sched_queue_state(sq, &st);
	journal_queue_set(q, squeue_name(sq), &st);
	if (rule != NULL)
		log_info("%.*s: %s by %.*s:%u: %.*s", SV_FMT(squeue_name(sq)),
		    what, SV_FMT(rule->file), rule->line, SV_FMT(reply));
	else
		log_info("%.*s: %s", SV_FMT(squeue_name(sq)), what);
}

static void
on_msg_done(void *arg, const struct smsg *msg)
{
	struct qmgr *q = arg;
	struct sched_msg info;

	if (!q->recovered)
		return; /* not counted yet */
	smsg_info(msg, &info);
	suspect_forget(q, info.id);
	journal_ended(q, &info);
}

const struct sched_ops qmgr_sched_ops = {
	.resolve = routes_resolve,
	.route = routes_of,
	.session_open = on_session_open,
	.deliver = on_deliver,
	.session_close = on_session_close,
	.give_up = on_give_up,
	.queue_deferred = on_queue_deferred,
	.queue_changed = on_queue_changed,
	.msg_done = on_msg_done,
	.queue_gone = routes_queue_gone,
	.warmup_changed = warmup_changed,
	.source_disabled = sources_by_reply,
	.mx_skipped = routes_skip,
};
