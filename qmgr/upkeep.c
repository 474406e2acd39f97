/* SPDX-License-Identifier: ISC */
/*
 * What the spool needs now and then: free space watched, empty segments
 * recycled, new ones prepared, old ones that are mostly empty compacted.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "common/base/msgid.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "common/sys/offload.h"
#include "qmgr/qmgr.h"

#define LOOK_MS       1000
/* Old segment read at a time, and how often: bounds what compaction takes
 * from delivery. */
#define COMPACT_SLICE (UINT64_C(4) << 20)
#define SLICE_EVERY_MS 50
#define SELF_WRITER   (WRITERS_MAX) /* the compaction writes, too */
/* After a start, until segments of an earlier life are closed: longer than
 * any orphan drains. */
#define ADOPTED_WAIT_LOOKS 60
#define ADOPTED_READ_LOOKS 15
/* Nothing could be made although there seemed to be space: wait that long. */
#define SPACE_LOST_LOOKS   5

/*
 * Blocks that nobody may take, so that on a full disk outcomes can still be
 * recorded and qmgr can start: a file of the event log and some intent files.
 */
#define RESERVE_NAME  "reserve"
#define RESERVE_BYTES (EVLOG_FILE_SIZE + (UINT64_C(8) << 20))

struct upkeep {
	struct event *timer, *slice_timer;
	bool reserve;           /* the file is there */
	struct offload *thread;
	struct segtab_fill *fill;
	bool space_open;
	bool recycle_fails;     /* said once */
	unsigned looks;
	unsigned space_lost;    /* looks until it is believed again */
	/* compaction */
	uint64_t from;          /* segment being emptied, 0: none */
	uint64_t from_at;
	uint64_t last_from;     /* not picked twice in a row */
	uint64_t to, to_at;     /* segment being filled, 0: none */
	struct sio_file *to_file;
	struct ev_move *moves;  /* of this slice */
	size_t nmoves, moves_size;
};

/* ---- the reserve ---- */

bool
upkeep_reserve_drop(struct qmgr *q)
{
	if (sio_unlink(q->sio, RESERVE_NAME) != 0)
		return false;
	log_warn("the disk is full: the reserve is used");
	if (q->upkeep != NULL)
		q->upkeep->reserve = false;
	return true;
}

bool
upkeep_has_reserve(const struct qmgr *q)
{
	return q->upkeep->reserve;
}

static void
reserve_make(struct qmgr *q)
{
	struct sio_file *f;

	if (q->upkeep->reserve)
		return;
	f = sio_open(q->sio, RESERVE_NAME, SIO_WRITE | SIO_CREATE);
	q->upkeep->reserve = f != NULL &&
	    (sio_allocate(f, RESERVE_BYTES) == 0 || errno == EOPNOTSUPP);
	sio_close(&f);
	if (!q->upkeep->reserve)
		(void)sio_unlink(q->sio, RESERVE_NAME);
}

/* ---- segments for later ---- */

static int
fill_run(void *arg)
{
	const struct qmgr *q = arg;

	return segtab_fill_run(q->upkeep->fill);
}

static void
fill_done(void *arg, int result)
{
	struct qmgr *q = arg;

	segtab_fill_done(q->segtab, &q->upkeep->fill, result);
	if (result == 0)
		upkeep_fill(q);
}

void
upkeep_fill(struct qmgr *q)
{
	struct upkeep *u = q->upkeep;

	if (u == NULL || !u->reserve || offload_busy(u->thread))
		return;
	u->fill = segtab_fill_begin(q->segtab);
	if (u->fill != NULL)
		offload_start(u->thread, fill_run, fill_done, q);
}

/* ---- recycling ---- */

/* Tried with each sync. */
static void
recycle_note(struct qmgr *q, bool failed)
{
	bool *was = &q->upkeep->recycle_fails;

	if (failed && !*was)
		log_warn_errno("segments cannot be recycled; trying on");
	else if (!failed && *was)
		log_info("segments are recycled again");
	*was = failed;
}

/* The log is durable further than before. */
void
upkeep_durable(struct qmgr *q)
{
	struct evlog_pos durable = journal_durable(q);
	struct seg_info info;
	size_t at = 0;

	/* readers' descriptors first: the file gets a new life */
	while (segtab_next(q->segtab, &at, &info)) {
		if (info.state == SEG_EMPTY)
			readers_segment_close(q, info.number);
	}
	recycle_note(q, segtab_release(q->segtab, durable) < 0);
}

/* ---- space ---- */

static uint64_t
rcpts_limit(const struct qmgr *q)
{
	uint32_t n = conf_global(q->conf)->spool_max_recipients;

	/* auto: 10 million take about 1.6 GB here */
	return n == 0 ? 10000000 : n;
}

/* NULL: new mail is accepted. Said when it changes. */
static void
space_set(struct qmgr *q, const char *reason)
{
	struct upkeep *u = q->upkeep;

	if ((reason == NULL) == u->space_open)
		return;
	u->space_open = reason == NULL;
	if (reason != NULL)
		log_warn("new mail is refused: %s", reason);
	else
		log_info("new mail is accepted again");
	writers_space_send(q, u->space_open, reason == NULL ? "" : reason);
}

static void
space_look(struct qmgr *q)
{
	struct upkeep *u = q->upkeep;
	struct sched_totals t;
	const char *reason = NULL;

	sched_totals(q->sched, &t);
	if (u->space_lost > 0)
		u->space_lost--;
	reserve_make(q);
	if (u->space_lost > 0 || !u->reserve || !segtab_space_ok(q->segtab,
	    conf_spool(q->conf)->min_free_space_bytes))
		reason = "not enough free space in the spool";
	else if (!journal_is_well(q))
		reason = "the event log cannot be written";
	else if (t.rcpts >= rcpts_limit(q))
		reason = "too many recipients in the queue";
	space_set(q, reason);
	/* a DSN makes room in a queue that is too long, too */
	if (u->space_open || (u->space_lost == 0 && u->reserve))
		intake_wants_retry(q, u->space_open);
}

void
upkeep_space_lost(struct qmgr *q)
{
	q->upkeep->space_lost = SPACE_LOST_LOOKS;
	space_set(q, "no space in the spool");
}

bool
upkeep_takes_mail(const struct qmgr *q)
{
	return q->upkeep->space_open;
}

void
upkeep_space_tell(const struct qmgr *q, struct chan *c)
{
	if (!q->upkeep->space_open)
		ipc_send_space(c, &(struct ipc_space){ .open = 0,
		    .reason = SV("not enough space in the spool") });
}

/* ---- compaction ---- */

/* The copies are durable: from now on they are the messages. */
static void
moves_apply(struct qmgr *q)
{
	struct upkeep *u = q->upkeep;

	for (size_t i = 0; i < u->nmoves; i++) {
		const struct ev_move *mv = &u->moves[i];
		struct smsg *m = sched_msg_find(q->sched, mv->id);
		union ev_any ev = { .move = *mv };
		struct sched_msg old;

		if (m == NULL)
			continue;
		smsg_info(m, &old);
		journal_append(q, EV_MOVE, &ev);
		segtab_ref(q->segtab, mv->segment, mv->offset, mv->length);
		sched_msg_moved(q->sched, m, mv->segment, mv->offset,
		    mv->length);
		segtab_unref(q->segtab, old.segment, old.length,
		    evlog_position(q->log));
	}
	u->nmoves = 0;
}

/* Not 0: the copies since the last time may be lost, and count for nothing. */
static int
target_sync(struct qmgr *q)
{
	struct upkeep *u = q->upkeep;

	if (u->nmoves == 0)
		return 0;
	if (sio_fdatasync(u->to_file) != 0) {
		log_warn_errno("compaction: segment %llu is given up",
		    (unsigned long long)u->to);
		u->nmoves = 0;
		return -1;
	}
	moves_apply(q);
	return 0;
}

/* Everything that was moved there has been synced before. */
static void
target_close(struct qmgr *q)
{
	struct upkeep *u = q->upkeep;

	if (u->to == 0)
		return;
	sio_close(&u->to_file);
	segtab_seal(q->segtab, u->to, u->to_at, evlog_position(q->log));
	u->to = 0;
}

static bool
target_room(struct qmgr *q, uint64_t length)
{
	struct upkeep *u = q->upkeep;

	if (u->to != 0 && length <= SEGMENT_SIZE - u->to_at)
		return true;
	if (target_sync(q) != 0) {
		target_close(q);
		return false;
	}
	target_close(q);
	if (segtab_grant(q->segtab, SELF_WRITER, &u->to) != 0) {
		u->to = 0;
		return false;
	}
	u->to_file = segtab_writer_open(q->segtab, u->to);
	u->to_at = SEGMENT_HEADER;
	if (u->to_file != NULL)
		return true;
	target_close(q);
	return false;
}

static void
move_note(struct upkeep *u, const struct ev_move *m)
{
	if (u->nmoves == u->moves_size) {
		size_t n = u->moves_size == 0 ? 256 : u->moves_size * 2;

		u->moves = reallocarray(u->moves, n, sizeof(*u->moves));
		if (u->moves == NULL)
			fatal("out of memory");
		u->moves_size = n;
	}
	u->moves[u->nmoves++] = *m;
}

static bool
message_is_movable(const struct qmgr *q, const struct record *r)
{
	const struct smsg *m = sched_msg_find(q->sched, r->id);
	struct sched_msg info;

	if (m == NULL)
		return false;
	smsg_info(m, &info);
	if (info.segment != r->segment || info.offset != r->offset)
		return false;
	for (uint32_t i = 0; i < smsg_nrcpts(m); i++) {
		/* a reader may be at it */
		if (smsg_rcpt_state(m, i) == SR_INFLIGHT ||
		    smsg_rcpt_state(m, i) == SR_BOUNCING)
			return false;
	}
	return true;
}

/* Copies one live record; not 0 stops the scan. */
static int
on_old_record(void *arg, const struct record *r)
{
	struct qmgr *q = arg;
	struct upkeep *u = q->upkeep;
	struct iovec body = { .iov_len = r->body.n }, iov[8];
	unsigned char header[RECORD_HEADER];
	struct record_parts p = {
		.flags = r->flags, .id = r->id, .arrival_us = r->arrival_us,
		.env = r->env, .head = r->head, .body = &body,
		.nbody = r->large_id == 0, .large_id = r->large_id,
		.large_len = r->body_len, .large_crc = r->crc_body,
	};
	uint64_t length = record_length(&p);
	size_t n;

	memcpy(&body.iov_base, &r->body.p, sizeof(body.iov_base));
	if (!message_is_movable(q, r))
		return 0;
	if (length == 0 || !target_room(q, length))
		return 1;
	p.segment = u->to;
	n = record_build(&p, header, iov);
	if (n == 0 || sio_write_all(u->to_file, iov, n, u->to_at) != 0)
		return 1;
	move_note(u, &(struct ev_move){ .id = r->id, .segment = u->to,
	    .offset = u->to_at, .length = length });
	u->to_at += length;
	return 0;
}

static void
compact_slice(struct qmgr *q)
{
	static const struct segment_scan_ops ops = {
		.on_record = on_old_record,
	};
	struct upkeep *u = q->upkeep;
	struct sio_file *f = segtab_reader(q->segtab, u->from);
	uint64_t limit = u->from_at + COMPACT_SLICE, end = 0;
	int rc;

	if (f == NULL) {
		u->from = 0;
		return;
	}
	rc = segment_scan(f, u->from, u->from_at, limit, &ops, q, &end);
	if (target_sync(q) != 0) {
		target_close(q);
		rc = -1;
	}
	if (rc != 0 || end <= u->from_at || end >= SEGMENT_SIZE)
		u->from = 0;
	else
		u->from_at = end;
}

/* Once begun, a segment is emptied slice by slice, with room in between. */
static void
compact_look(struct qmgr *q)
{
	static const struct timeval next = { .tv_usec = SLICE_EVERY_MS * 1000 };
	struct upkeep *u = q->upkeep;

	if (!journal_is_well(q))
		return;
	if (u->from == 0) {
		if (!segtab_compact_pick(q->segtab, &u->from) ||
		    u->from == u->last_from) {
			/* the target stays open: closed half full it would be
			 * the next one to be emptied */
			u->last_from = 0;
			u->from = 0;
			return;
		}
		u->from_at = SEGMENT_HEADER;
		u->last_from = u->from;
	}
	compact_slice(q);
	event_add(u->slice_timer, &next);
}

static void
on_slice(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	compact_look(arg);
	qmgr_turn_end(arg);
}

/* ---- the timer ---- */

/* With nothing to do it is not late. */
static void
bounce_look(struct qmgr *q)
{
	struct sched_totals t;

	sched_totals(q->sched, &t);
	if (t.bouncing == 0)
		q->bounce.moved = clock_mono();
}

static void
on_look(evutil_socket_t fd, short what, void *arg)
{
	struct qmgr *q = arg;
	struct upkeep *u = q->upkeep;

	(void)fd;
	(void)what;
	space_look(q);
	if (u->from == 0)
		compact_look(q);
	if (++u->looks < ADOPTED_WAIT_LOOKS)
		intake_adopted_look(q, u->looks < ADOPTED_READ_LOOKS);
	else if (u->looks == ADOPTED_WAIT_LOOKS)
		intake_adopted_finish(q);
	intake_unread_retry(q);
	skipped_look(q);
	bounce_look(q);
	standing_look(q);
	trash_look(q);
	delays_look(q);
	workers_intents_retry(q);
	qmgr_confs_forget(q);
	if (u->looks % 3600 == 0)
		segtab_large_sweep(q->segtab);
	/* large files that were dropped while no event was written: else
	 * clients that never finish a message could fill the disk */
	upkeep_durable(q);
	upkeep_fill(q);
	qmgr_turn_end(q);
}

void
upkeep_init(struct qmgr *q)
{
	struct upkeep *u = calloc(1, sizeof(*u));
	struct timeval tv = { .tv_sec = LOOK_MS / 1000 };

	if (u == NULL)
		fatal("out of memory");
	q->upkeep = u;
	u->space_open = true;
	reserve_make(q);
	u->thread = offload_new(q->role->base);
	u->timer = event_new(q->role->base, -1, EV_PERSIST, on_look, q);
	u->slice_timer = event_new(q->role->base, -1, 0, on_slice, q);
	if (u->timer == NULL || u->slice_timer == NULL ||
	    event_add(u->timer, &tv) != 0)
		fatal("out of memory");
	upkeep_fill(q);
}
