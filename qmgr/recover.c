/* SPDX-License-Identifier: ISC */
/*
 * From the spool to the scheduler: the checkpoint and the log as events, the
 * tails of segments as found messages.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/msgid.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "qmgr/qmgr.h"

/* A found message, kept until the log can be written. */
struct found {
	struct found *next;
	struct sched_msg msg;
	struct sv env;
	char bytes[];
};

struct recovery {
	struct qmgr *q;
	struct found *found, **found_end;
	struct sv *domains;    /* room for one ACCEPT's */
};

static void
accept_replay(struct recovery *rec, const struct ev_accept *e)
{
	struct sched_msg m = {
		.id = e->id, .segment = e->segment, .offset = e->offset,
		.length = e->length, .large_id = e->large_id,
		.body_len = e->body_len,
		.arrival_us = (int64_t)e->arrival_us, .dsn_for = e->dsn_for,
	};
	struct rd r;

	if (e->domains.n == 0 || e->domains.n > ENV_RCPTS_MAX)
		return;
	rd_init(&r, e->domains.enc.p, e->domains.enc.n);
	for (uint32_t i = 0; i < e->domains.n; i++)
		rec->domains[i] = svs_next(&r);
	/* NULL: known already, from the checkpoint */
	(void)sched_msg_add(rec->q->sched, qmgr_now(), &m, e->vmta,
	    rec->domains, e->domains.n);
}

static void
rcpt_replay(struct qmgr *q, uint64_t id, uint32_t idx, enum srcpt_state state,
    uint32_t attempts, uint64_t next_us)
{
	struct smsg *m = sched_msg_find(q->sched, id);

	if (m == NULL || idx >= smsg_nrcpts(m))
		return;
	sched_rcpt_restore(q->sched, qmgr_now(), m, idx, state, attempts,
	    (int64_t)next_us);
}

static void
rcpts_replay(struct qmgr *q, uint64_t id, const struct u32s *rcpts,
    enum srcpt_state state)
{
	for (uint32_t i = 0; i < rcpts->n; i++) {
		struct smsg *m = sched_msg_find(q->sched, id);
		uint32_t idx = u32s_get(rcpts, i);

		if (m == NULL || idx >= smsg_nrcpts(m))
			continue;
		rcpt_replay(q, id, idx, state, smsg_rcpt_attempts(m, idx),
		    (uint64_t)smsg_rcpt_next_us(m, idx));
	}
}

static void
attempt_replay(struct qmgr *q, const struct ev_attempt *e)
{
	enum srcpt_state state = SR_RETRY;

	if (e->action != ACT_DEFERRED)
		state = e->wants_dsn ? SR_BOUNCING : SR_DONE;
	rcpt_replay(q, e->id, e->rcpt_idx, state, e->attempts, e->next_us);
}

static void
rcpt_state_replay(struct qmgr *q, const struct ev_rcpt *e)
{
	static const enum srcpt_state states[] = {
		[EVR_WAITING] = SR_RETRY, [EVR_BOUNCING] = SR_BOUNCING,
		[EVR_DONE] = SR_DONE, [EVR_HELD] = SR_HELD,
	};

	if (e->state > EVR_HELD)
		return;
	rcpt_replay(q, e->id, e->rcpt_idx, states[e->state], e->attempts,
	    e->next_us);
}

static void
queue_replay(struct qmgr *q, const struct ev_queue_set *e)
{
	ptrdiff_t slash = sv_rfind(e->queue, '/');

	if (slash < 0)
		return;
	sched_queue_pause(q->sched, qmgr_now(),
	    sv_head(e->queue, (size_t)slash),
	    sv_from_at(e->queue, (size_t)slash + 1), e->paused);
}

static void
move_replay(struct qmgr *q, const struct ev_move *e)
{
	struct smsg *m = sched_msg_find(q->sched, e->id);

	if (m != NULL)
		sched_msg_moved(q->sched, m, e->segment, e->offset,
		    e->length);
}

static void
on_event(void *arg, enum ev_type type, const union ev_any *e,
    struct evlog_pos at)
{
	struct recovery *rec = arg;
	struct qmgr *q = rec->q;

	(void)at;
	segtab_on_event(q->segtab, type, e);
	if (type == EV_ACCEPT)
		accept_replay(rec, &e->accept);
	else if (type == EV_ATTEMPT)
		attempt_replay(q, &e->attempt);
	else if (type == EV_BOUNCED)
		rcpts_replay(q, e->bounced.id, &e->bounced.rcpts, SR_DONE);
	else if (type == EV_DELETE)
		rcpts_replay(q, e->delete.id, &e->delete.rcpts, SR_DONE);
	else if (type == EV_HOLD)
		rcpts_replay(q, e->hold.id, &e->hold.rcpts,
		    e->hold.held ? SR_HELD : SR_RETRY);
	else if (type == EV_MOVE)
		move_replay(q, &e->move);
	else if (type == EV_QUEUE_SET)
		queue_replay(q, &e->queue_set);
	else if (type == EV_RCPT)
		rcpt_state_replay(q, &e->rcpt);
}

static void
found_info(const struct record *r, struct sched_msg *m_r)
{
	*m_r = (struct sched_msg){
		.id = r->id, .segment = r->segment, .offset = r->offset,
		.length = r->length, .large_id = r->large_id,
		.body_len = r->body_len,
		.arrival_us = (int64_t)r->arrival_us,
	};
}

static void
on_found_start(void *arg, const struct record *r)
{
	struct recovery *rec = arg;
	struct found *f = malloc(sizeof(*f) + r->env.n);

	if (f == NULL)
		fatal("out of memory");
	found_info(r, &f->msg);
	memcpy(f->bytes, r->env.p, r->env.n);
	f->env = sv_make(f->bytes, r->env.n);
	f->next = NULL;
	*rec->found_end = f;
	rec->found_end = &f->next;
}

static void
on_problem(void *arg, const char *text)
{
	(void)arg;
	log_warn("spool: %s", text);
}

static const struct recover_ops start_ops = {
	.on_event = on_event,
	.on_found = on_found_start,
	.on_problem = on_problem,
};

/* Live messages hold their segments; from here on msg_done releases. */
static void
refs_take(struct qmgr *q)
{
	struct sched_msg info;
	const struct smsg *m;
	char id[MSGID_TEXT];
	size_t at = 0;

	while ((m = sched_msg_next(q->sched, &at)) != NULL) {
		smsg_info(m, &info);
		if (!segtab_ref(q->segtab, info.segment, info.offset,
		    info.length)) {
			q->count.corrupt++;
			log_warn("%s: its segment %llu is not there",
			    msgid_format(info.id, id),
			    (unsigned long long)info.segment);
		}
		if (info.large_id != 0)
			segtab_large_ref(q->segtab, info.large_id);
	}
}

static bool
is_bouncing(const struct qmgr *q, uint64_t id)
{
	const struct smsg *m = sched_msg_find(q->sched, id);

	for (uint32_t i = 0; m != NULL && i < smsg_nrcpts(m); i++) {
		if (smsg_rcpt_state(m, i) == SR_BOUNCING)
			return true;
	}
	return false;
}

static void
dsn_check(struct qmgr *q, uint64_t id)
{
	const struct smsg *m = sched_msg_find(q->sched, id);
	struct envelope e;

	if (m != NULL && envelope_read(q, m, &e) && e.dsn_for != 0)
		intake_originals_finish(q, id, &e);
}

/*
 * A DSN that is in the log without the end of what it reports: qmgr was killed
 * between the two. Few, as the others' originals are gone.
 */
static void
dsns_check(struct qmgr *q)
{
	uint64_t *list = NULL;
	struct sched_msg info;
	const struct smsg *m;
	size_t at = 0, n = 0, size = 0;

	while ((m = sched_msg_next(q->sched, &at)) != NULL) {
		smsg_info(m, &info);
		if (info.dsn_for == 0 || !is_bouncing(q, info.dsn_for))
			continue;
		if (n == size) {
			size = size == 0 ? 64 : size * 2;
			list = reallocarray(list, size, sizeof(*list));
			if (list == NULL)
				fatal("out of memory");
		}
		list[n++] = info.id;
	}
	for (size_t i = 0; i < n; i++)
		dsn_check(q, list[i]);
	free(list);
}

static void
found_take(struct recovery *rec)
{
	struct found *f = rec->found;

	while (f != NULL) {
		struct found *next = f->next;

		segtab_known(rec->q->segtab, f->msg.segment,
		    f->msg.offset + f->msg.length);
		if (!intake_message(rec->q, &f->msg, f->env))
			rec->q->count.corrupt++;
		free(f);
		f = next;
	}
}

void
recover_spool(struct qmgr *q)
{
	struct recovery rec = { .q = q };
	struct mono began = clock_mono();
	struct recover_stats stats;
	struct sched_totals t;

	rec.found_end = &rec.found;
	rec.domains = calloc(ENV_RCPTS_MAX, sizeof(*rec.domains));
	q->segtab = segtab_open(q->sio, &(struct segtab_conf){ .epoch = 0 });
	if (rec.domains == NULL || q->segtab == NULL)
		fatal_errno("cannot read the spool's segments");
	if (spool_recover(q->sio, &start_ops, &rec, &stats) != 0)
		fatal_errno("cannot recover the spool");
	q->log = evlog_open(q->sio, stats.end);
	if (q->log == NULL && errno == ENOSPC && upkeep_reserve_drop(q))
		q->log = evlog_open(q->sio, stats.end);
	if (q->log == NULL)
		fatal_errno("cannot open the event log");
	segtab_epoch_set(q->segtab, stats.end.file + 1);
	journal_init(q);
	refs_take(q);
	segtab_recovered(q->segtab, evlog_position(q->log));
	q->recovered = true;
	found_take(&rec);
	dsns_check(q);
	free(rec.domains);
	journal_append(q, EV_START, &(union ev_any){ .start = {
	    .time_us = (uint64_t)clock_wall().us } });
	journal_write(q);
	sched_totals(q->sched, &t);
	log_info("recovered: %llu messages, %llu recipients, %llu events, "
	    "%llu found in segments, %lld ms%s",
	    (unsigned long long)t.messages, (unsigned long long)t.rcpts,
	    (unsigned long long)stats.events,
	    (unsigned long long)stats.found,
	    (long long)mono_diff_ms(clock_mono(), began),
	    stats.rescanned ? "; the log was damaged, duplicates are possible"
	    : "");
}

/* ---- the tail of one segment, later ---- */

static void
on_found_later(void *arg, const struct record *r)
{
	struct qmgr *q = arg;
	struct sched_msg m;

	found_info(r, &m);
	segtab_known(q->segtab, m.segment, m.offset + m.length);
	if (!intake_message(q, &m, r->env))
		q->count.corrupt++;
}

static void
on_event_never(void *arg, enum ev_type type, const union ev_any *e,
    struct evlog_pos at)
{
	(void)arg;
	(void)type;
	(void)e;
	(void)at;
}

static const struct recover_ops tail_ops = {
	.on_event = on_event_never,
	.on_found = on_found_later,
	.on_problem = on_problem,
};

bool
recover_tail(struct qmgr *q, uint64_t segment, uint64_t upto)
{
	struct seg_info info;
	uint64_t end;

	if (!segtab_info(q->segtab, segment, &info) || info.known >= upto)
		return true;
	if (spool_recover_tail(q->sio, segment, info.known, upto, &tail_ops,
	    q, &end) != 0) {
		log_warn_errno("segment %llu cannot be read to its end",
		    (unsigned long long)segment);
		return false;
	}
	segtab_known(q->segtab, segment, end);
	return true;
}
