/* SPDX-License-Identifier: ISC */
/*
 * The event log as qmgr uses it: append during a turn, write at its end, sync
 * every SYNC_EVERY_MS in a thread, checkpoint now and then in a forked child.
 */
#include <sys/prctl.h>
#include <sys/wait.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "common/sys/offload.h"
#include "qmgr/qmgr.h"

/* A checkpoint when the log has grown by this much, looked at every so often:
 * bounds what a start has to replay to about a second of work. With a long
 * queue as much as the last checkpoint has: writing 10,000,000 messages takes
 * five seconds, and that for each 300,000 that come and go would be a quarter
 * of their cost. So a start replays at most as much as it loads. */
#define CHECKPOINT_BYTES   (UINT64_C(128) << 20)
/* A stop leaves so much to be replayed. */
#define STOP_BYTES         (UINT64_C(4) << 20)
#define CHECKPOINT_LOOK_S  5
/* Recipients in one event of a checkpoint. */
#define PRIORITY_RUN       64u
/* Between tries while the disk takes nothing. */
#define SYNC_FAILED_MS     1000

/* What a message that ended holds until its last event is durable. */
struct ended {
	uint64_t segment, length, large_id;
};

struct journal {
	struct offload *thread;
	struct evlog_sync sync;
	struct event *sync_timer, *look_timer, *sigchld;
	bool sync_planned;
	bool wanted;             /* a checkpoint, when the sync is over */
	bool failing;            /* the last write or sync failed: said once */
	struct evlog_pos last;   /* of the last checkpoint */
	uint64_t size;           /* of the last one that was finished */
	bool finished;           /* it is that of `last` */
	uint64_t files;          /* event files begun since then */
	struct ended *ended;     /* of this turn */
	size_t nended, ended_size;
	pid_t child;             /* writes the checkpoint */
	uint64_t child_number;
	uint64_t done;           /* the newest checkpoint of this life */
	uint64_t cut;            /* event files below are gone */
};

static void
failure_note(struct qmgr *q, bool failed, const char *what)
{
	if (failed && !q->journal->failing)
		log_warn_errno("the event log cannot be %s; trying on", what);
	else if (!failed && q->journal->failing)
		log_info("the event log can be written again");
	q->journal->failing = failed;
}

/* ---- append and write ---- */

static void
sync_plan(struct qmgr *q)
{
	int ms = q->journal->failing ? SYNC_FAILED_MS : SYNC_EVERY_MS;
	struct timeval tv = { .tv_sec = ms / 1000,
		.tv_usec = ms % 1000 * 1000 };

	if (q->journal->sync_planned)
		return;
	q->journal->sync_planned = true;
	event_add(q->journal->sync_timer, &tv);
}

void
journal_append(struct qmgr *q, enum ev_type type, const union ev_any *e)
{
	/* what is in memory only is found again in the spool */
	if (evlog_append(q->log, type, e) != 0) /* GCOVR_EXCL_BR_LINE: memory */
		fatal("no memory for a %s event", ev_name(type));
	sync_plan(q);
}

/* The event that ended the message may come behind the call, in the same
 * turn: so places are given back when the turn is written. */
void
journal_ended(struct qmgr *q, const struct sched_msg *m)
{
	struct journal *j = q->journal;

	if (j->nended == j->ended_size) {
		size_t n = j->ended_size == 0 ? 256 : j->ended_size * 2;

		j->ended = reallocarray(j->ended, n, sizeof(*j->ended));
		if (j->ended == NULL) /* GCOVR_EXCL_BR_LINE: memory */
			fatal("out of memory");
		j->ended_size = n;
	}
	j->ended[j->nended++] =
	    (struct ended){ m->segment, m->length, m->large_id };
}

static void
ended_release(struct qmgr *q)
{
	struct evlog_pos at = evlog_position(q->log);
	struct journal *j = q->journal;

	for (size_t i = 0; i < j->nended; i++) {
		const struct ended *e = &j->ended[i];

		segtab_unref(q->segtab, e->segment, e->length, at);
		if (e->large_id != 0)
			segtab_large_unref(q->segtab, e->large_id, at);
	}
	j->nended = 0;
}

bool
journal_write(struct qmgr *q)
{
	bool ok = evlog_write(q->log) == 0;

	if (!ok && errno == ENOSPC) {
		if (upkeep_reserve_drop(q))
			ok = evlog_write(q->log) == 0;
		else
			errno = ENOSPC;
	}
	if (!ok)
		failure_note(q, true, "written");
	else if (q->journal->failing && !q->journal->sync_planned)
		sync_plan(q);
	ended_release(q);
	return ok;
}

bool
journal_is_well(const struct qmgr *q)
{
	return !q->journal->failing;
}

struct evlog_pos
journal_durable(const struct qmgr *q)
{
	return evlog_durable(q->log);
}

/* ---- sync ---- */

static int
sync_run(void *arg)
{
	const struct qmgr *q = arg;

	return evlog_sync_run(&q->journal->sync);
}

static void
sync_note(struct qmgr *q, bool failed, const char *what)
{
	bool was_failing = q->journal->failing;

	failure_note(q, failed, what);
	if (was_failing && !failed)
		qmgr_turn_end(q); /* deliveries go on */
}

static void
sync_done(void *arg, int err)
{
	struct qmgr *q = arg;

	/* what could not be written anew is tried again with the next call */
	(void)evlog_sync_done(q->log, &q->journal->sync, err);
	errno = err;
	sync_note(q, err != 0, "synced");
	if (evlog_pos_cmp(evlog_durable(q->log), evlog_position(q->log)) < 0)
		sync_plan(q);
	upkeep_durable(q);
	readers_log_at(q);
	if (q->journal->wanted)
		journal_checkpoint(q);
}

static void
on_sync_timer(evutil_socket_t fd, short what, void *arg)
{
	struct qmgr *q = arg;

	(void)fd;
	(void)what;
	q->journal->sync_planned = false;
	if (offload_busy(q->journal->thread))
		return; /* its end plans the next one */
	if (evlog_sync_begin(q->log, &q->journal->sync)) {
		offload_start(q->journal->thread, sync_run, sync_done, q);
	} else if (evlog_pos_cmp(evlog_durable(q->log),
	    evlog_position(q->log)) < 0) {
		failure_note(q, true, "written");
		sync_plan(q);
	} else {
		/* a checkpoint did it: the readers may go on */
		sync_note(q, false, "written");
		readers_log_at(q);
	}
}

/* ---- checkpoints ---- */

/* What a checkpoint says of a recipient. A hold that only waits for word of a
 * worker's end is none: nobody would ever end it after a restart. */
static enum ev_rcpt_state
rcpt_state_saved(const struct smsg *m, uint32_t i, bool hold_is_quiet)
{
	enum srcpt_state s = smsg_rcpt_state(m, i);

	if (s == SR_BOUNCING)
		return EVR_BOUNCING;
	if (s == SR_DONE)
		return EVR_DONE;
	return smsg_rcpt_is_held(m, i) && !hold_is_quiet ? EVR_HELD :
	    EVR_WAITING;
}

/* By which order it is on hold. */
static int
hold_save(struct qmgr *q, uint64_t id, uint32_t i, uint32_t order,
    struct checkpoint *cp)
{
	union ev_any e = { .hold = { .id = id, .held = 1, .order = order,
	    .rcpts = { .array = &i, .n = 1 } } };

	hold_order_use(q, order);
	return checkpoint_add(cp, EV_HOLD, &e);
}

/* What it was before, then that it is in the trash. */
static int
trashed_save(struct qmgr *q, const struct smsg *m, uint32_t i,
    struct checkpoint *cp)
{
	struct sched_msg info;
	enum srcpt_state before;
	union ev_any e;
	uint32_t order;
	int64_t next;

	smsg_info(m, &info);
	before = smsg_rcpt_before(m, i, &next, &order);
	e.rcpt = (struct ev_rcpt){ .id = info.id, .rcpt_idx = i,
		.state = before == SR_HELD ? EVR_HELD : EVR_WAITING,
		.attempts = smsg_rcpt_attempts(m, i),
		.next_us = (uint64_t)next };
	if ((before != SR_READY || e.rcpt.attempts > 0) &&
	    checkpoint_add(cp, EV_RCPT, &e) != 0)
		return -1;
	if (order != 0 && hold_save(q, info.id, i, order, cp) != 0)
		return -1;
	e.trash = (struct ev_trash){ .id = info.id, .trashed = 1,
		.number = smsg_rcpt_deletion(m, i),
		.rcpts = { .array = &i, .n = 1 } };
	return checkpoint_add(cp, EV_TRASH, &e);
}

/* As its ACCEPT alone would make it. */
static bool
rcpt_is_fresh(const struct smsg *m, uint32_t i, enum ev_rcpt_state saved)
{
	return saved == EVR_WAITING && smsg_rcpt_state(m, i) != SR_RETRY &&
	    smsg_rcpt_attempts(m, i) == 0;
}

static int
order_save(struct qmgr *q, const struct smsg *m, uint32_t i,
    struct checkpoint *cp)
{
	uint32_t order = smsg_rcpt_order(m, i);
	struct sched_msg info;

	smsg_info(m, &info);
	return order == 0 ? 0 : hold_save(q, info.id, i, order, cp);
}

/* Recipients that are with another VMTA than the one that ACCEPT names. */
static int
vmtas_save(const struct smsg *m, struct sv vmta, struct checkpoint *cp)
{
	struct sched_msg info;

	smsg_info(m, &info);
	for (uint32_t i = 0; i < smsg_nrcpts(m); i++) {
		struct sv own = smsg_rcpt_vmta(m, i);
		union ev_any e = { .rebind = { .id = info.id, .vmta = own,
		    .rcpts = { .array = &i, .n = 1 }, .who = SV("") } };

		if (own.n > 0 && !sv_eq(own, vmta) &&
		    checkpoint_add(cp, EV_REBIND, &e) != 0)
			return -1;
	}
	return 0;
}

static int
priority_save(const struct smsg *m, unsigned priority, const uint32_t *idx,
    uint32_t n, struct checkpoint *cp)
{
	struct sched_msg info;
	union ev_any e;

	smsg_info(m, &info);
	e.priority = (struct ev_priority){ .id = info.id,
		.priority = (uint8_t)priority, .who = SV(""),
		.rcpts = { .array = idx, .n = n } };
	return n == 0 ? 0 : checkpoint_add(cp, EV_PRIORITY, &e);
}

/* Recipients whose priority is not the default: some of the same one in one
 * event. */
static int
priorities_save(const struct smsg *m, struct checkpoint *cp)
{
	unsigned last = PRIORITY_DEFAULT;
	uint32_t idx[PRIORITY_RUN], n = 0;

	for (uint32_t i = smsg_first_open(m); i < smsg_nrcpts(m); i++) {
		unsigned priority = smsg_rcpt_priority(m, i);

		if (priority == PRIORITY_DEFAULT ||
		    smsg_rcpt_state(m, i) == SR_DONE)
			continue;
		if (priority != last || n == PRIORITY_RUN) {
			if (priority_save(m, last, idx, n, cp) != 0)
				return -1;
			n = 0;
		}
		last = priority;
		idx[n++] = i;
	}
	return priority_save(m, last, idx, n, cp);
}

static int
message_save(struct qmgr *q, const struct smsg *m, struct checkpoint *cp,
    struct sv *domains, uint32_t ndomains)
{
	uint32_t n = smsg_nrcpts(m), open = smsg_first_open(m);
	struct sched_msg info;
	bool quiet;
	union ev_any e;

	if (n > ndomains) /* GCOVR_EXCL_BR_LINE: no envelope has more */
		return -1;
	smsg_info(m, &info);
	quiet = suspect_is_open(q, info.id);
	/* recipients that are done have no queue any more: any other's does */
	for (uint32_t i = 0; i < n; i++)
		domains[i] = squeue_domain(smsg_rcpt_queue(m,
		    smsg_rcpt_state(m, i) == SR_DONE ? open : i));
	e.accept = (struct ev_accept){
		.id = info.id, .segment = info.segment,
		.offset = info.offset, .length = info.length,
		.body_len = info.body_len, .large_id = info.large_id,
		.arrival_us = (uint64_t)info.arrival_us,
		.vmta = smsg_rcpt_vmta(m, open),
		.dsn_for = info.dsn_for,
		.domains = { .array = domains, .n = n },
		.tell = (uint8_t)info.tell,
	};
	if (checkpoint_add(cp, EV_ACCEPT, &e) != 0 ||
	    vmtas_save(m, e.accept.vmta, cp) != 0 ||
	    priorities_save(m, cp) != 0)
		return -1;
	for (uint32_t i = 0; i < n; i++) {
		enum ev_rcpt_state state = rcpt_state_saved(m, i, quiet);

		if (smsg_rcpt_deletion(m, i) != 0) {
			if (trashed_save(q, m, i, cp) != 0)
				return -1;
			continue;
		}
		if (rcpt_is_fresh(m, i, state))
			continue;
		e.rcpt = (struct ev_rcpt){
			.id = info.id, .rcpt_idx = i,
			.state = (uint8_t)state,
			.attempts = smsg_rcpt_attempts(m, i),
			.next_us = (uint64_t)smsg_rcpt_next_us(m, i),
		};
		if (checkpoint_add(cp, EV_RCPT, &e) != 0 ||
		    order_save(q, m, i, cp) != 0)
			return -1;
	}
	return 0;
}

/* In the order of the queues, each in order of arrival: a start finds what
 * belongs together one after the other, and the queues sorted. */
static int
messages_save(struct qmgr *q, struct checkpoint *cp)
{
	struct sv *domains = calloc(ENV_RCPTS_MAX, sizeof(*domains));
	struct squeue *sq;
	size_t at = 0;
	int rc = 0;

	if (domains == NULL) /* GCOVR_EXCL_BR_LINE: memory */
		return -1;
	while (rc == 0 && (sq = sched_queue_next(q->sched, &at)) != NULL) {
		const struct smsg *m;
		const void *place = NULL;
		uint32_t idx;

		while (rc == 0 && sched_queue_rcpt_next(sq, &place, &m, &idx))
			if (idx == smsg_first_open(m))
				rc = message_save(q, m, cp, domains,
				    ENV_RCPTS_MAX);
	}
	free(domains);
	return rc;
}

static union ev_any
queue_event(struct sv name, const struct sched_queue_state *st)
{
	return (union ev_any){ .queue_set = { .queue = name,
	    .paused = st->paused, .backoff = st->backoff,
	    .backoff_until_us = (uint64_t)st->backoff_until_us,
	    .max_out = st->max_out,
	    .max_out_until_us = (uint64_t)st->max_out_until_us,
	    .max_out_step_us = (uint64_t)st->max_out_step_us,
	    .rate_n = st->max_rate.n,
	    .rate_period_ms = (uint64_t)st->max_rate.period_ms,
	    .rate_until_us = (uint64_t)st->max_rate_until_us,
	    .rate_step_us = (uint64_t)st->max_rate_step_us,
	    .adapt_conns = st->adapt_conns,
	    .adapt_rate_n = st->adapt_rate.n,
	    .adapt_period_ms = (uint64_t)st->adapt_rate.period_ms } };
}

void
journal_queue_set(struct qmgr *q, struct sv name,
    const struct sched_queue_state *st)
{
	union ev_any e = queue_event(name, st);

	journal_append(q, EV_QUEUE_SET, &e);
}

static int
queues_save(const struct sched *s, struct checkpoint *cp)
{
	struct sched_queue_state st;
	struct squeue *sq;
	size_t at = 0;

	while ((sq = sched_queue_next(s, &at)) != NULL) {
		union ev_any e;

		sched_queue_state(sq, &st);
		if (!st.paused && !st.backoff && st.max_out_step_us == 0 &&
		    st.max_rate_step_us == 0 && st.adapt_conns == 0)
			continue;
		e = queue_event(squeue_name(sq), &st);
		if (checkpoint_add(cp, EV_QUEUE_SET, &e) != 0)
			return -1;
	}
	return 0;
}

/* ---- rates ---- */

static union ev_any
rate_event(const struct sched_used *u)
{
	return (union ev_any){ .rate = { .queue = u->queue,
	    .rate = (uint8_t)u->rate, .until_us = (uint64_t)u->until_us } };
}

static int
on_used_save(void *arg, const struct sched_used *u)
{
	union ev_any e = rate_event(u);

	return checkpoint_add(arg, EV_RATE, &e);
}

static int
on_used_log(void *arg, const struct sched_used *u)
{
	union ev_any e = rate_event(u);

	journal_append(arg, EV_RATE, &e);
	return 0;
}

static int
checkpoint_write(struct qmgr *q, uint64_t number, const union ev_any *stop)
{
	struct checkpoint *cp = checkpoint_begin(q->sio, number);

	if (cp == NULL)
		return -1;
	/* GCOVR_EXCL_BR_START: 8,000 segments fit in the buffer */
	if (segtab_checkpoint(q->segtab, cp) != 0 ||
	    /* GCOVR_EXCL_BR_STOP */
	    deletions_save(q, cp) != 0 ||
	    messages_save(q, cp) != 0 ||
	    standing_save(q, cp) != 0 || hold_orders_save(q, cp) != 0 ||
	    queues_save(q->sched, cp) != 0 ||
	    sources_save(q, cp) != 0 ||
	    sched_used_each(q->sched, on_used_save, cp) != 0 ||
	    warmups_save(q, cp) != 0 ||
	    colds_save(q, cp) != 0 ||
	    delays_save(q, cp) != 0 ||
	    (stop != NULL && checkpoint_add(cp, EV_STOP, stop) != 0)) {
		checkpoint_abort(&cp);
		return -1;
	}
	return checkpoint_commit(&cp);
}

/* Event files go when nobody needs them: each holds 64 MiB of the disk, and
 * after a start the readers have not told yet where they are. */
void
journal_cut(struct qmgr *q)
{
	struct journal *j = q->journal;
	uint64_t keep = readers_oldest_file(q);

	if (keep > j->done)
		keep = j->done;
	if (keep <= j->cut)
		return;
	if (evlog_cut(q->log, keep) == 0)
		j->cut = keep;
}

/*
 * Older checkpoints, and what journal_cut() would find now. By the child, since
 * the removal of a file of a gigabyte takes a second on a busy disk: to it the
 * readers are where they were when it began, which is never too far.
 */
static void
older_remove(struct qmgr *q, uint64_t number)
{
	uint64_t keep = readers_oldest_file(q);

	checkpoint_cut(q->sio, number);
	evlog_cut(q->log, keep < number ? keep : number);
}

static void
checkpoint_done(struct qmgr *q, uint64_t number)
{
	q->journal->size = checkpoint_size(q->sio, number);
	q->journal->finished = true;
	q->journal->done = number;
	journal_cut(q);
	log_debug("checkpoint %llu", (unsigned long long)number);
}

/* It holds copies of the lock and of all channels, so it must not outlive its
 * parent: the peers and the next qmgr would wait for it. */
static void __attribute__((noreturn))
checkpoint_child(struct qmgr *q, pid_t parent)
{
	/* GCOVR_EXCL_BR_START: the parent would have to die just now */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
		/* GCOVR_EXCL_BR_STOP */
		_exit(1);
	if (checkpoint_write(q, q->journal->child_number, NULL) != 0)
		_exit(1);
	older_remove(q, q->journal->child_number);
	_exit(0);
}

void
journal_checkpoint(struct qmgr *q)
{
	struct journal *j = q->journal;
	pid_t parent = getpid();

	if (j->child != 0)
		return;
	/* a disk may stand still: the loop does not wait for it */
	j->wanted = offload_busy(j->thread);
	if (j->wanted)
		return;
	if (evlog_rotate(q->log) != 0) {
		log_warn_errno("no checkpoint: the event log has no new file");
		return;
	}
	j->last = evlog_position(q->log);
	j->finished = false;
	j->child_number = j->last.file;
	j->child = fork();
	if (j->child == 0)
		checkpoint_child(q, parent);
	if (j->child < 0) {
		log_warn_errno("no checkpoint: fork");
		j->child = 0;
	}
}

/* options: of waitpid */
static void
child_end(struct qmgr *q, int options)
{
	struct journal *j = q->journal;
	int status;

	if (j->child == 0 || waitpid(j->child, &status, options) != j->child)
		return;
	j->child = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		checkpoint_done(q, j->child_number);
	else
		log_warn("checkpoint %llu failed; the one before it stays",
		    (unsigned long long)j->child_number);
}

static void
on_sigchld(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	child_end(arg, WNOHANG);
}

/* Bytes of the log behind the last checkpoint. */
static uint64_t
log_grown(const struct qmgr *q)
{
	struct evlog_pos now = evlog_position(q->log), last = q->journal->last;

	return (now.file - last.file) * EVLOG_FILE_SIZE + now.offset -
	    last.offset;
}

static void
on_look(evutil_socket_t fd, short what, void *arg)
{
	struct qmgr *q = arg;
	uint64_t most = q->journal->size;

	(void)fd;
	(void)what;
	if (most < CHECKPOINT_BYTES)
		most = CHECKPOINT_BYTES;
	if (log_grown(q) > most)
		journal_checkpoint(q);
	journal_cut(q);
}

/* ---- start and end ---- */

void
journal_init(struct qmgr *q)
{
	struct journal *j = calloc(1, sizeof(*j));
	struct timeval look = { .tv_sec = CHECKPOINT_LOOK_S };
	struct event_base *base = q->role->base;

	if (j == NULL) /* GCOVR_EXCL_BR_LINE: memory */
		fatal("out of memory");
	q->journal = j;
	j->thread = offload_new(base);
	j->sync_timer = event_new(base, -1, 0, on_sync_timer, q);
	j->look_timer = event_new(base, -1, EV_PERSIST, on_look, q);
	j->sigchld = evsignal_new(base, SIGCHLD, on_sigchld, q);
	/* GCOVR_EXCL_BR_START: memory */
	if (j->sync_timer == NULL || j->look_timer == NULL ||
	    j->sigchld == NULL)
		/* GCOVR_EXCL_BR_STOP */
		fatal("out of memory");
	event_add(j->look_timer, &look);
	event_add(j->sigchld, NULL);
	j->last = evlog_position(q->log);
}

void
journal_close(struct qmgr *q)
{
	union ev_any stop = { .stop = {
	    .time_us = (uint64_t)clock_wall().us } };
	struct journal *j = q->journal;

	offload_wait(j->thread);
	child_end(q, 0);
	(void)sched_used_each(q->sched, on_used_log, q);
	journal_append(q, EV_STOP, &stop);
	if (evlog_sync(q->log) != 0)
		log_warn_errno("the last events are not durable");
	if (j->finished && log_grown(q) < STOP_BYTES)
		return;
	if (evlog_rotate(q->log) == 0 &&
	    checkpoint_write(q, evlog_position(q->log).file, &stop) == 0)
		older_remove(q, evlog_position(q->log).file);
}
