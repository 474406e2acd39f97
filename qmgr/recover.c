/* SPDX-License-Identifier: ISC */
/*
 * From the spool to the scheduler: the checkpoint and the log as events, the
 * tails of segments as found messages.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/msgid.h"
#include "common/ipc/heartbeat.h"
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

/* REBIND, HOLD or PRIORITY of a message whose ACCEPT is still to come: see
 * intake.c. */
struct early {
	struct early *next;
	enum ev_type type;
	uint32_t order;        /* of HOLD */
	unsigned priority;     /* of PRIORITY */
	char *vmta;            /* of REBIND, owned; else NULL */
	uint32_t n;
	uint32_t rcpts[];
};

struct recovery {
	struct qmgr *q;
	struct sched_now now;  /* one moment for all that is replayed */
	struct found *found, **found_end;
	struct sv *domains;    /* room for one ACCEPT's */
	uint64_t saved;        /* events of the checkpoint so far */
	struct early *early, **early_end; /* all of one message, */
	uint64_t early_id;                /* this one */
	bool stopped;          /* the last event is that of a stop */
	uint64_t *dsns;        /* messages that report on others */
	size_t ndsns, dsns_size;
};

static void
dsn_note(struct recovery *rec, uint64_t id)
{
	if (rec->ndsns == rec->dsns_size) {
		size_t n = rec->dsns_size == 0 ? 64 : rec->dsns_size * 2;

		rec->dsns = reallocarray(rec->dsns, n, sizeof(*rec->dsns));
		if (rec->dsns == NULL) /* GCOVR_EXCL_BR_LINE: memory */
			fatal("out of memory");
		rec->dsns_size = n;
	}
	rec->dsns[rec->ndsns++] = id;
}

static void
early_forget(struct recovery *rec)
{
	while (rec->early != NULL) {
		struct early *x = rec->early;

		rec->early = x->next;
		free(x->vmta);
		free(x);
	}
	rec->early_end = &rec->early;
}

/* What belongs to its type is for the caller to fill in. */
static struct early *
early_keep(struct recovery *rec, uint64_t id, const struct u32s *rcpts,
    enum ev_type type)
{
	struct early *x = calloc(1, sizeof(*x) +
	    rcpts->n * sizeof(x->rcpts[0]));

	if (x == NULL) /* GCOVR_EXCL_BR_LINE: memory */
		fatal("out of memory");
	if (rec->early_id != id)
		early_forget(rec);
	rec->early_id = id;
	x->type = type;
	x->n = rcpts->n;
	for (uint32_t i = 0; i < x->n; i++)
		x->rcpts[i] = u32s_get(rcpts, i);
	*rec->early_end = x;
	rec->early_end = &x->next;
	return x;
}

static void
early_apply_one(struct recovery *rec, struct smsg *m, const struct early *x,
    uint32_t idx)
{
	struct sched *s = rec->q->sched;

	if (x->type == EV_HOLD)
		sched_rcpt_hold(s, rec->now, m, idx, true, x->order);
	else if (x->type == EV_PRIORITY)
		sched_rcpt_prioritize(s, rec->now, m, idx, x->priority);
	else
		(void)sched_rcpt_move(s, rec->now, m, idx, sv_from(x->vmta));
}

static void
early_apply(struct recovery *rec, struct smsg *m)
{
	struct sched_msg info;

	smsg_info(m, &info);
	if (info.id != rec->early_id)
		return;
	for (const struct early *x = rec->early; x != NULL; x = x->next)
		for (uint32_t i = 0; i < x->n; i++) {
			if (x->rcpts[i] < smsg_nrcpts(m))
				early_apply_one(rec, m, x, x->rcpts[i]);
		}
}

static void
accept_replay(struct recovery *rec, const struct ev_accept *e)
{
	struct smsg *added;
	struct sched_msg m = {
		.id = e->id, .segment = e->segment, .offset = e->offset,
		.length = e->length, .large_id = e->large_id,
		.body_len = e->body_len,
		.arrival_us = (int64_t)e->arrival_us, .dsn_for = e->dsn_for,
		.tell = e->tell,
	};
	struct rd r;

	if (e->domains.n == 0)
		return;
	if (e->domains.n > ENV_RCPTS_MAX) /* GCOVR_EXCL_BR_LINE: decoder */
		return;
	rd_init(&r, e->domains.enc.p, e->domains.enc.n);
	for (uint32_t i = 0; i < e->domains.n; i++)
		rec->domains[i] = svs_next(&r);
	/* NULL: known already, from the checkpoint; but one that is left out
	 * for want of memory would not be in the next checkpoint */
	errno = 0;
	added = sched_msg_add(rec->q->sched, rec->now, &m, e->vmta,
	    rec->domains, e->domains.n);
	if (added != NULL) {
		early_apply(rec, added);
		if (m.dsn_for != 0)
			dsn_note(rec, m.id);
	} else if (errno == ENOMEM) { /* GCOVR_EXCL_BR_LINE: memory */
		fatal("out of memory for the queue");
	}
}

static void
rcpt_replay(struct recovery *rec, uint64_t id, uint32_t idx,
    enum srcpt_state state, uint32_t attempts, uint64_t next_us)
{
	struct smsg *m = sched_msg_find(rec->q->sched, id);

	if (m == NULL || idx >= smsg_nrcpts(m))
		return;
	sched_rcpt_restore(rec->q->sched, rec->now, m, idx, state, attempts,
	    (int64_t)next_us);
}

static void
rcpts_replay(struct recovery *rec, uint64_t id, const struct u32s *rcpts,
    enum srcpt_state state)
{
	for (uint32_t i = 0; i < rcpts->n; i++) {
		struct smsg *m = sched_msg_find(rec->q->sched, id);
		uint32_t idx = u32s_get(rcpts, i);

		if (m == NULL || idx >= smsg_nrcpts(m))
			continue;
		rcpt_replay(rec, id, idx, state, smsg_rcpt_attempts(m, idx),
		    (uint64_t)smsg_rcpt_next_us(m, idx));
	}
}

static bool
is_held(const struct qmgr *q, uint64_t id, uint32_t idx)
{
	const struct smsg *m = sched_msg_find(q->sched, id);

	return m != NULL && idx < smsg_nrcpts(m) &&
	    smsg_rcpt_state(m, idx) == SR_HELD;
}

static void
hold_replay(struct recovery *rec, const struct ev_hold *e)
{
	struct smsg *m = sched_msg_find(rec->q->sched, e->id);

	if (m == NULL && e->held)
		early_keep(rec, e->id, &e->rcpts, EV_HOLD)->order = e->order;
	rcpts_replay(rec, e->id, &e->rcpts, e->held ? SR_HELD : SR_RETRY);
	for (uint32_t i = 0; m != NULL && e->order != 0 && i < e->rcpts.n; i++)
		sched_rcpt_hold(rec->q->sched, rec->now, m,
		    u32s_get(&e->rcpts, i), true, e->order);
}

static void
attempt_replay(struct recovery *rec, const struct ev_attempt *e)
{
	struct smsg *m = sched_msg_find(rec->q->sched, e->id);
	enum srcpt_state state = SR_RETRY;
	struct route_addr source;
	bool from = route_addr_parse(e->source_ip, &source);

	/* not what was given up without a try */
	if (m != NULL && e->dest_ip.n > 0)
		sched_rcpt_tried(rec->q->sched, rec->now, m, e->rcpt_idx,
		    (int64_t)e->time_us, e->volume_kib,
		    from ? &source : NULL);
	warmup_attempt_replay(rec->q, rec->now, e);
	if (e->action != ACT_DEFERRED)
		state = e->wants_dsn ? SR_BOUNCING : SR_DONE;
	else if (is_held(rec->q, e->id, e->rcpt_idx))
		state = SR_HELD; /* it was under way when it was put there */
	rcpt_replay(rec, e->id, e->rcpt_idx, state, e->attempts, e->next_us);
}

static void
rcpt_state_replay(struct recovery *rec, const struct ev_rcpt *e)
{
	static const enum srcpt_state states[] = {
		[EVR_WAITING] = SR_RETRY, [EVR_BOUNCING] = SR_BOUNCING,
		[EVR_DONE] = SR_DONE, [EVR_HELD] = SR_HELD,
	};

	if (e->state > EVR_HELD)
		return;
	rcpt_replay(rec, e->id, e->rcpt_idx, states[e->state], e->attempts,
	    e->next_us);
}

static void
queue_replay(struct recovery *rec, const struct ev_queue_set *e)
{
	ptrdiff_t slash = sv_rfind(e->queue, '/');
	struct sv domain, vmta;

	if (slash < 0)
		return;
	domain = sv_head(e->queue, (size_t)slash);
	vmta = sv_from_at(e->queue, (size_t)slash + 1);
	/* GCOVR_EXCL_BR_START: memory; no name in the log is too long */
	if (!sched_queue_state_set(rec->q->sched, rec->now, domain, vmta,
	    &(struct sched_queue_state){
		/* GCOVR_EXCL_BR_STOP */
		.paused = e->paused, .backoff = e->backoff,
		.backoff_until_us = (int64_t)e->backoff_until_us,
		.max_out = e->max_out,
		.max_out_until_us = (int64_t)e->max_out_until_us,
		.max_out_step_us = (int64_t)e->max_out_step_us,
		.max_rate = { .n = e->rate_n,
		    .period_ms = (int64_t)e->rate_period_ms },
		.max_rate_until_us = (int64_t)e->rate_until_us,
		.max_rate_step_us = (int64_t)e->rate_step_us,
		.adapt_conns = e->adapt_conns,
		.adapt_rate = { .n = e->adapt_rate_n,
		    .period_ms = (int64_t)e->adapt_period_ms } }))
		fatal("no memory for the state of a queue");
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
rebind_replay(struct recovery *rec, const struct ev_rebind *e)
{
	struct smsg *m = sched_msg_find(rec->q->sched, e->id);

	if (m == NULL)
		early_keep(rec, e->id, &e->rcpts, EV_REBIND)->vmta =
		    sv_dup(e->vmta);
	for (uint32_t i = 0; m != NULL && i < e->rcpts.n; i++)
		(void)sched_rcpt_move(rec->q->sched, rec->now, m,
		    u32s_get(&e->rcpts, i), e->vmta);
}

static void
priority_replay(struct recovery *rec, const struct ev_priority *e)
{
	struct smsg *m = sched_msg_find(rec->q->sched, e->id);

	if (m == NULL)
		early_keep(rec, e->id, &e->rcpts, EV_PRIORITY)->priority =
		    e->priority;
	for (uint32_t i = 0; m != NULL && i < e->rcpts.n; i++)
		sched_rcpt_prioritize(rec->q->sched, rec->now, m,
		    u32s_get(&e->rcpts, i), e->priority);
}

static void
event_replay(struct recovery *rec, enum ev_type type, const union ev_any *e)
{
	struct qmgr *q = rec->q;

	segtab_on_event(q->segtab, type, e);
	rec->stopped = type == EV_STOP;
	if (type == EV_ACCEPT)
		accept_replay(rec, &e->accept);
	else if (type == EV_ATTEMPT)
		attempt_replay(rec, &e->attempt);
	else if (type == EV_BOUNCED)
		rcpts_replay(rec, e->bounced.id, &e->bounced.rcpts, SR_DONE);
	else if (type == EV_DELETE)
		rcpts_replay(rec, e->delete.id, &e->delete.rcpts, SR_DONE);
	else if (type == EV_HOLD)
		hold_replay(rec, &e->hold);
	else if (type == EV_HOLD_ORDER)
		hold_order_replay(q, &e->hold_order);
	else if (type == EV_STANDING)
		standing_replay(q, &e->standing);
	else if (type == EV_DELETION)
		deletion_replay(q, &e->deletion);
	else if (type == EV_TRASH)
		trash_replay(q, rec->now, &e->trash);
	else if (type == EV_MOVE)
		move_replay(q, &e->move);
	else if (type == EV_QUEUE_SET)
		queue_replay(rec, &e->queue_set);
	else if (type == EV_RCPT)
		rcpt_state_replay(rec, &e->rcpt);
	else if (type == EV_WARMUP)
		warmup_replay(q, rec->now, &e->warmup);
	else if (type == EV_COLD)
		cold_replay(q, &e->cold);
	else if (type == EV_RATE)
		sched_used_restore(q->sched, rec->now, &(struct sched_used){
		    .queue = e->rate.queue,
		    .rate = (enum sched_rate)e->rate.rate,
		    .until_us = (int64_t)e->rate.until_us });
	else if (type == EV_SOURCE)
		source_replay(q, rec->now, &e->source);
	else if (type == EV_REBIND)
		rebind_replay(rec, &e->rebind);
	else if (type == EV_PRIORITY)
		priority_replay(rec, &e->priority);
	else if (type == EV_DELAY_PASS)
		sched_delays_restore(q->sched, rec->now,
		    (int64_t)e->delay_pass.time_us);
}

/* Two lives ended here. What only this event knows is lost to the queue, but
 * for the message of an ACCEPT, which is kept aside. */
static void
event_skip(struct qmgr *q, enum ev_type type, const union ev_any *e,
    struct evlog_pos at)
{
	log_warn("the event %s at %llu:%llu is left out: qmgr crashes on it",
	    ev_name(type), (unsigned long long)(at.file & ~POISON_CHECKPOINT),
	    (unsigned long long)at.offset);
	if (type == EV_ACCEPT)
		suspect_record_save(q, &(struct sched_msg){
		    .id = e->accept.id, .segment = e->accept.segment,
		    .offset = e->accept.offset, .length = e->accept.length,
		    .large_id = e->accept.large_id });
}

static void
on_event(void *arg, enum ev_type type, const union ev_any *e,
    struct evlog_pos at)
{
	struct recovery *rec = arg;
	struct qmgr *q = rec->q;

	/* its number, too: the b-th event of the next one is another */
	if (at.file == 0)
		at = (struct evlog_pos){ POISON_CHECKPOINT | at.offset,
			++rec->saved };
	if (poison_is(&q->poison, POISON_EVENT, at.file, at.offset)) {
		event_skip(q, type, e, at);
		return;
	}
	poison_mark(&q->poison, POISON_EVENT, at.file, at.offset);
	event_replay(rec, type, e);
	poison_clear(&q->poison);
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

	if (f == NULL) /* GCOVR_EXCL_BR_LINE: memory */
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

static void
on_checkpoint(void *arg, uint64_t messages)
{
	const struct recovery *rec = arg;

	/* GCOVR_EXCL_BR_START: memory */
	if (!sched_reserve(rec->q->sched, messages))
		/* GCOVR_EXCL_BR_STOP */
		fatal("out of memory for the queue");
}

static const struct recover_ops start_ops = {
	.on_checkpoint = on_checkpoint,
	.on_event = on_event,
	.on_found = on_found_start,
	.on_problem = on_problem,
	.live = true,
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
		heartbeat_beat();
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

/*
 * A DSN that is in the log without the end of what it reports: qmgr was killed
 * between the two. Few, as the others' originals are gone.
 */
static void
dsns_check(struct recovery *rec)
{
	struct qmgr *q = rec->q;

	for (size_t i = 0; i < rec->ndsns; i++) {
		const struct smsg *m = sched_msg_find(q->sched, rec->dsns[i]);
		struct sched_msg info;
		struct envelope e;

		heartbeat_beat();
		if (m == NULL)
			continue;
		smsg_info(m, &info);
		if (is_bouncing(q, info.dsn_for) &&
		    envelope_read(q, m, &e) && e.dsn_for != 0)
			intake_originals_finish(q, info.id, &e);
	}
	free(rec->dsns);
}

static void
found_take(struct recovery *rec)
{
	struct found *f = rec->found;

	while (f != NULL) {
		struct found *next = f->next;

		heartbeat_beat();

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
	struct recovery rec = { .q = q, .now = qmgr_now() };
	struct mono began = clock_mono();
	struct recover_stats stats;
	struct sched_totals t;

	rec.found_end = &rec.found;
	rec.early_end = &rec.early;
	rec.domains = calloc(ENV_RCPTS_MAX, sizeof(*rec.domains));
	if (rec.domains == NULL) /* GCOVR_EXCL_BR_LINE: memory */
		fatal("out of memory");
	q->segtab = segtab_open(q->sio, &(struct segtab_conf){ .epoch = 0 });
	if (q->segtab == NULL)
		fatal_errno("cannot read the spool's segments");
	if (spool_recover(q->sio, &start_ops, &rec, &stats) != 0)
		fatal_errno("cannot recover the spool");
	early_forget(&rec);
	if (stats.events > 0 && !rec.stopped)
		sched_connects_unknown(q->sched, rec.now);
	q->log = evlog_open(q->sio, stats.end);
	if (q->log == NULL && errno == ENOSPC && upkeep_reserve_drop(q))
		q->log = evlog_open(q->sio, stats.end);
	if (q->log == NULL)
		fatal_errno("cannot open the event log");
	segtab_epoch_set(q->segtab, stats.end.file + 1);
	journal_init(q);
	refs_take(q);
	skipped_init(q);
	segtab_recovered(q->segtab, evlog_position(q->log));
	q->recovered = true;
	found_take(&rec);
	dsns_check(&rec);
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

static const struct recover_ops live_ops = {
	.on_event = on_event_never,
	.on_found = on_found_later,
	.on_problem = on_problem,
	.live = true,
};

static bool
tail_take(struct qmgr *q, uint64_t segment, uint64_t upto,
    const struct recover_ops *ops)
{
	struct seg_info info;
	uint64_t end;

	/* GCOVR_EXCL_BR_START: a writer has it, or had it */
	if (!segtab_info(q->segtab, segment, &info))
		/* GCOVR_EXCL_BR_STOP */
		return true;
	if (info.known >= upto)
		return true;
	if (spool_recover_tail(q->sio, segment, info.known, upto,
	    skipped_ids(q, segment), ops, q, &end) != 0) {
		log_warn_errno("segment %llu cannot be read to its end",
		    (unsigned long long)segment);
		return false;
	}
	segtab_known(q->segtab, segment, end);
	return true;
}

bool
recover_tail(struct qmgr *q, uint64_t segment, uint64_t upto)
{
	return tail_take(q, segment, upto, &tail_ops);
}

void
recover_live_tail(struct qmgr *q, uint64_t segment, uint64_t upto)
{
	(void)tail_take(q, segment, upto, &live_ops);
}

bool
recover_skipped(struct qmgr *q, struct skipped *k)
{
	uint64_t end;

	if (spool_recover_tail(q->sio, k->segment, SEGMENT_HEADER, k->upto,
	    k->ids, &tail_ops, q, &end) == 0)
		return true;
	log_warn_errno("segment %llu, which was skipped at a start, cannot be "
	    "read", (unsigned long long)k->segment);
	return false;
}
