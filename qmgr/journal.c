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
 * bounds what a start has to replay to about a second of work. */
#define CHECKPOINT_BYTES   (UINT64_C(128) << 20)
#define CHECKPOINT_LOOK_S  5
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
	bool failing;            /* the last write or sync failed: said once */
	struct evlog_pos last;   /* of the last checkpoint */
	uint64_t files;          /* event files begun since then */
	struct ended *ended;     /* of this turn */
	size_t nended, ended_size;
	pid_t child;             /* writes the checkpoint */
	uint64_t child_number;
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
	if (evlog_append(q->log, type, e) != 0)
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
		if (j->ended == NULL)
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
	int rc = evlog_sync_done(q->log, &q->journal->sync, err);

	if (err != 0)
		errno = err;
	sync_note(q, err != 0 || rc != 0, "synced");
	if (evlog_pos_cmp(evlog_durable(q->log), evlog_position(q->log)) < 0)
		sync_plan(q);
	upkeep_durable(q);
	readers_log_at(q);
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
		sync_note(q, false, "written");
	}
}

/* ---- checkpoints ---- */

static bool
rcpt_is_fresh(const struct smsg *m, uint32_t i)
{
	enum srcpt_state s = smsg_rcpt_state(m, i);

	return (s == SR_READY || s == SR_INFLIGHT) &&
	    smsg_rcpt_attempts(m, i) == 0;
}

static enum ev_rcpt_state
rcpt_state_saved(enum srcpt_state s)
{
	switch (s) {
	case SR_HELD:
		return EVR_HELD;
	case SR_BOUNCING:
		return EVR_BOUNCING;
	case SR_DONE:
		return EVR_DONE;
	case SR_READY:
	case SR_RETRY:
	case SR_INFLIGHT:
	case SR_STATES:
	default:
		return EVR_WAITING;
	}
}

static int
message_save(const struct smsg *m, struct checkpoint *cp, struct sv *domains,
    uint32_t ndomains)
{
	uint32_t n = smsg_nrcpts(m), open = 0;
	struct sched_msg info;
	union ev_any e;

	if (n > ndomains)
		return -1;
	smsg_info(m, &info);
	/* recipients that are done have no queue any more: any other's does */
	while (open + 1 < n && smsg_rcpt_state(m, open) == SR_DONE)
		open++;
	for (uint32_t i = 0; i < n; i++)
		domains[i] = squeue_domain(smsg_rcpt_queue(m,
		    smsg_rcpt_state(m, i) == SR_DONE ? open : i));
	e.accept = (struct ev_accept){
		.id = info.id, .segment = info.segment,
		.offset = info.offset, .length = info.length,
		.body_len = info.body_len, .large_id = info.large_id,
		.arrival_us = (uint64_t)info.arrival_us,
		.vmta = squeue_vmta(smsg_rcpt_queue(m, open)),
		.dsn_for = info.dsn_for,
		.domains = { .array = domains, .n = n },
	};
	if (checkpoint_add(cp, EV_ACCEPT, &e) != 0)
		return -1;
	for (uint32_t i = 0; i < n; i++) {
		if (rcpt_is_fresh(m, i))
			continue;
		e.rcpt = (struct ev_rcpt){
			.id = info.id, .rcpt_idx = i,
			.state = (uint8_t)rcpt_state_saved(
			    smsg_rcpt_state(m, i)),
			.attempts = smsg_rcpt_attempts(m, i),
			.next_us = (uint64_t)smsg_rcpt_next_us(m, i),
		};
		if (checkpoint_add(cp, EV_RCPT, &e) != 0)
			return -1;
	}
	return 0;
}

static int
queues_save(const struct sched *s, struct checkpoint *cp)
{
	struct sched_queue_info info;
	struct sched_now now = qmgr_now();
	struct squeue *sq;
	size_t at = 0;

	while ((sq = sched_queue_next(s, &at)) != NULL) {
		union ev_any e;

		sched_queue_info(s, now, sq, &info);
		if (!info.paused && !info.backoff)
			continue;
		e.queue_set = (struct ev_queue_set){ .queue = info.name,
			.paused = info.paused, .backoff = info.backoff };
		if (checkpoint_add(cp, EV_QUEUE_SET, &e) != 0)
			return -1;
	}
	return 0;
}

static int
checkpoint_write(struct qmgr *q, uint64_t number)
{
	static const uint32_t max = ENV_RCPTS_MAX;
	struct sv *domains = calloc(max, sizeof(*domains));
	struct checkpoint *cp = checkpoint_begin(q->sio, number);
	const struct smsg *m;
	size_t at = 0;
	int rc = -1;

	if (cp == NULL || domains == NULL)
		goto out;
	rc = segtab_checkpoint(q->segtab, cp);
	while (rc == 0 && (m = sched_msg_next(q->sched, &at)) != NULL)
		rc = message_save(m, cp, domains, max);
	if (rc == 0)
		rc = queues_save(q->sched, cp);
	if (rc == 0)
		rc = checkpoint_commit(&cp);
out:
	if (cp != NULL)
		checkpoint_abort(&cp);
	free(domains);
	return rc;
}

/* Older checkpoints and event files go when nobody needs them. */
static void
checkpoint_done(struct qmgr *q, uint64_t number)
{
	uint64_t keep = readers_oldest_file(q);

	checkpoint_cut(q->sio, number);
	evlog_cut(q->log, keep < number ? keep : number);
	log_debug("checkpoint %llu", (unsigned long long)number);
}

/* It holds copies of the lock and of all channels, so it must not outlive its
 * parent: the peers and the next qmgr would wait for it. */
static void __attribute__((noreturn))
checkpoint_child(struct qmgr *q, pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
		_exit(1);
	_exit(checkpoint_write(q, q->journal->child_number) == 0 ? 0 : 1);
}

void
journal_checkpoint(struct qmgr *q)
{
	struct journal *j = q->journal;
	pid_t parent = getpid();

	if (j->child != 0)
		return;
	offload_wait(j->thread);
	if (evlog_rotate(q->log) != 0) {
		log_warn_errno("no checkpoint: the event log has no new file");
		return;
	}
	j->last = evlog_position(q->log);
	j->child_number = j->last.file;
	j->child = fork();
	if (j->child == 0)
		checkpoint_child(q, parent);
	if (j->child < 0) {
		log_warn_errno("no checkpoint: fork");
		j->child = 0;
	}
}

static void
on_sigchld(evutil_socket_t fd, short what, void *arg)
{
	struct qmgr *q = arg;
	struct journal *j = q->journal;
	int status;

	(void)fd;
	(void)what;
	if (j->child == 0 || waitpid(j->child, &status, WNOHANG) != j->child)
		return;
	j->child = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		checkpoint_done(q, j->child_number);
	else
		log_warn("checkpoint %llu failed; the one before it stays",
		    (unsigned long long)j->child_number);
}

static void
on_look(evutil_socket_t fd, short what, void *arg)
{
	struct qmgr *q = arg;
	struct evlog_pos now = evlog_position(q->log), last = q->journal->last;
	uint64_t grown = (now.file - last.file) * EVLOG_FILE_SIZE + now.offset;

	(void)fd;
	(void)what;
	if (grown > last.offset + CHECKPOINT_BYTES)
		journal_checkpoint(q);
}

/* ---- start and end ---- */

void
journal_init(struct qmgr *q)
{
	struct journal *j = calloc(1, sizeof(*j));
	struct timeval look = { .tv_sec = CHECKPOINT_LOOK_S };
	struct event_base *base = q->role->base;

	if (j == NULL)
		fatal("out of memory");
	q->journal = j;
	j->thread = offload_new(base);
	j->sync_timer = event_new(base, -1, 0, on_sync_timer, q);
	j->look_timer = event_new(base, -1, EV_PERSIST, on_look, q);
	j->sigchld = evsignal_new(base, SIGCHLD, on_sigchld, q);
	if (j->sync_timer == NULL || j->look_timer == NULL ||
	    j->sigchld == NULL)
		fatal("out of memory");
	event_add(j->look_timer, &look);
	event_add(j->sigchld, NULL);
	j->last = evlog_position(q->log);
}

void
journal_close(struct qmgr *q)
{
	struct journal *j = q->journal;

	offload_wait(j->thread);
	if (j->child != 0)
		waitpid(j->child, NULL, 0);
	if (evlog_sync(q->log) != 0)
		log_warn_errno("the last events are not durable");
	if (evlog_rotate(q->log) == 0 &&
	    checkpoint_write(q, evlog_position(q->log).file) == 0)
		checkpoint_done(q, evlog_position(q->log).file);
}
