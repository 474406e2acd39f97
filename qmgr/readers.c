/* SPDX-License-Identifier: ISC */
/*
 * The readers of the event log: acct, bounce and pickup. They are told how far
 * it is durable; they tell how far they are. bounce is also a writer (of DSNs)
 * and a reader of records, pickup a writer.
 */
#include <stdlib.h>

#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "qmgr/qmgr.h"

static void
log_at_send(const struct qmgr *q, struct chan *c)
{
	struct evlog_pos at;

	if (c == NULL || q->log == NULL)
		return;
	at = journal_durable(q);
	ipc_send_log_at(c,
	    &(struct ipc_log_at){ .file = at.file, .offset = at.offset });
}

/*
 * The first one tells pickup that all is there which the one before it has
 * committed: only then does it know which files are new.
 */
static void
pickup_log_at(const struct qmgr *q)
{
	if (q->nunread == 0 && q->pickup.chan != NULL && q->log != NULL &&
	    evlog_pos_cmp(journal_durable(q), q->pickup_from) >= 0)
		log_at_send(q, q->pickup.chan);
}

void
readers_log_at(struct qmgr *q)
{
	log_at_send(q, q->acct.chan);
	log_at_send(q, q->bounce.chan);
	pickup_log_at(q);
}

/* A reader that has not spoken yet may need everything. */
uint64_t
readers_oldest_file(const struct qmgr *q)
{
	uint64_t a = q->acct.known ? q->acct.at.file : 0;
	uint64_t b = q->bounce.known ? q->bounce.at.file : 0;
	uint64_t p = q->pickup.known ? q->pickup.at.file : 0;

	if (conf_naccts(q->conf) == 0)
		a = UINT64_MAX;
	if (conf_global(q->conf)->pickup.n == 0)
		p = UINT64_MAX;
	if (p < a)
		a = p;
	return a < b ? a : b;
}

static void
reader_at(struct qmgr *q, struct tail_reader *t, const struct ipc_reader_at *m)
{
	t->at = (struct evlog_pos){ m->file, m->offset };
	t->moved = clock_mono();
	t->known = true;
	/* not only every few seconds: this qmgr may not live that long */
	journal_cut(q);
}

/* ---- acct ---- */

static void
on_acct_at(struct chan *c, void *arg, const void *m)
{
	struct qmgr *q = arg;

	(void)c;
	reader_at(q, &q->acct, m);
}

static void
on_acct_close(struct chan *c, void *arg, const char *why)
{
	struct qmgr *q = arg;

	(void)c;
	log_debug("channel to acct: %s", why);
	chan_free(&q->acct.chan);
	control_peer_gone(q, ASKS_ACCT);
	qmgr_stop_check(q);
}

static void
on_rotated(struct chan *c, void *arg, const void *m)
{
	(void)c;
	control_rotated(arg, m);
}

static const struct chan_ops acct_ops = {
	.on = { [IPC_READER_AT] = on_acct_at, [IPC_ROTATED] = on_rotated },
	.on_close = on_acct_close,
};

void
acct_attach(struct qmgr *q, int fd)
{
	chan_free(&q->acct.chan);
	control_peer_gone(q, ASKS_ACCT);
	q->acct.chan = chan_new(q->role->base, fd, R_QMGR, R_ACCT, 0,
	    &acct_ops, q);
	log_at_send(q, q->acct.chan);
}

/* ---- bounce ---- */

static void
on_bounce_at(struct chan *c, void *arg, const void *m)
{
	struct writer *w = arg;

	(void)c;
	reader_at(w->q, &w->q->bounce, m);
}

/* It failed and waits for its DSN, or, of a delay, for its delivery. */
static bool
is_to_be_told(const struct smsg *m, uint32_t idx, bool delayed)
{
	static const bool waits[SR_STATES] = { [SR_READY] = true,
		[SR_RETRY] = true, [SR_INFLIGHT] = true, [SR_HELD] = true };
	enum srcpt_state state = smsg_rcpt_state(m, idx);

	return delayed ? waits[state] : state == SR_BOUNCING;
}

/* Of the recipients asked for, those that want their DSN still. */
static uint32_t
told_of(const struct smsg *m, const struct ipc_bounce_take *asked,
    uint32_t *list)
{
	uint32_t n = 0;

	for (uint32_t i = 0; m != NULL && i < asked->rcpts.n; i++) {
		uint32_t idx = u32s_get(&asked->rcpts, i);

		if (idx < smsg_nrcpts(m) &&
		    is_to_be_told(m, idx, asked->delayed != 0))
			list[n++] = idx;
	}
	return n;
}

static void
on_bounce_take(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_bounce_take *m = msg;
	struct writer *w = arg;
	struct qmgr *q = w->q;
	struct smsg *sm = sched_msg_find(q->sched, m->id);
	struct ipc_bounce_go go = { .token = m->token, .id = m->id };
	uint32_t *list = calloc(m->rcpts.n + 1, sizeof(*list));
	struct sched_msg info;

	if (list == NULL)
		fatal("out of memory");
	go.rcpts.array = list;
	go.rcpts.n = told_of(sm, m, list);
	if (go.rcpts.n > 0) {
		smsg_info(sm, &info);
		go.segment = info.segment;
		go.offset = info.offset;
		go.length = info.length;
		go.large_id = info.large_id;
		(void)reader_give(q, &q->bounce_reader, info.segment,
		    info.large_id);
	}
	ipc_send_bounce_go(c, &go);
	free(list);
}

static void
on_bounce_drop(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_bounce_drop *m = msg;
	struct writer *w = arg;
	struct qmgr *q = w->q;
	union ev_any ev = { .bounced = { .id = m->id, .rcpts = m->rcpts } };
	char why[512];

	(void)c;
	log_warn("no DSN can be made: %s",
	    log_safe(m->reason, why, sizeof(why)));
	journal_append(q, EV_BOUNCED, &ev);
	q->count.dropped_dsn++;
	for (uint32_t i = 0; i < m->rcpts.n; i++) {
		struct smsg *sm = sched_msg_find(q->sched, m->id);
		uint32_t idx = u32s_get(&m->rcpts, i);

		if (sm != NULL && idx < smsg_nrcpts(sm) &&
		    smsg_rcpt_state(sm, idx) == SR_BOUNCING)
			sched_final(q->sched, qmgr_now(), sm, idx, SR_DONE);
	}
}

static void
on_bounce_close(struct chan *c, void *arg, const char *why)
{
	struct writer *w = arg;
	struct qmgr *q = w->q;

	(void)c;
	log_debug("channel to bounce: %s", why);
	w->chan = NULL; /* one channel, three owners: freed as the reader's */
	q->bounce.chan = NULL;
	reader_detach(&q->bounce_reader);
	writer_gone(w);
	qmgr_turn_end(q);
	qmgr_stop_check(q);
}

static const struct chan_ops bounce_ops = {
	.on = {
		WRITER_HANDLERS,
		[IPC_READER_AT] = on_bounce_at,
		[IPC_BOUNCE_TAKE] = on_bounce_take,
		[IPC_BOUNCE_DROP] = on_bounce_drop,
	},
	.on_close = on_bounce_close,
	.on_batch_end = writer_batch_end,
};

void
bounce_attach(struct qmgr *q, int fd)
{
	struct writer *w;
	struct chan *c;

	if (q->bounce.chan != NULL)
		on_bounce_close(q->bounce.chan, &q->writers[WRITERS_MAX - 1],
		    "replaced");
	w = writer_attach(q, R_BOUNCE, 0);
	c = chan_new(q->role->base, fd, R_QMGR, R_BOUNCE, 0, &bounce_ops, w);
	w->chan = c;
	q->bounce.chan = c;
	q->bounce.moved = clock_mono();
	reader_attach(&q->bounce_reader, c);
	chan_credit_grant(c, WRITER_CREDITS);
	log_at_send(q, c);
}

/* ---- pickup ---- */

static void
on_pickup_at(struct chan *c, void *arg, const void *m)
{
	struct writer *w = arg;

	(void)c;
	reader_at(w->q, &w->q->pickup, m);
}

static void
on_pickup_close(struct chan *c, void *arg, const char *why)
{
	struct writer *w = arg;
	struct qmgr *q = w->q;

	(void)c;
	log_debug("channel to pickup: %s", why);
	q->pickup.chan = NULL; /* freed as the writer's */
	writer_gone(w);
	qmgr_turn_end(q);
	qmgr_stop_check(q);
}

static const struct chan_ops pickup_ops = {
	.on = {
		WRITER_HANDLERS,
		[IPC_VMTA_UNKNOWN] = writer_vmta_unknown,
		[IPC_READER_AT] = on_pickup_at,
	},
	.on_close = on_pickup_close,
	.on_batch_end = writer_batch_end,
};

void
pickup_attach(struct qmgr *q, int fd)
{
	struct writer *w;

	/* reads to the end what the one before it wrote */
	w = writer_attach(q, R_PICKUP, 0);
	w->chan = chan_new(q->role->base, fd, R_QMGR, R_PICKUP, 0,
	    &pickup_ops, w);
	q->pickup.chan = w->chan;
	q->pickup.moved = clock_mono();
	chan_credit_grant(w->chan, WRITER_CREDITS);
	upkeep_space_tell(q, w->chan);
	q->pickup_from = evlog_position(q->log);
	pickup_log_at(q);
}
