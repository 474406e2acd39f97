/* SPDX-License-Identifier: ISC */
/*
 * What became of recipients: RESULTs of the workers, and outcomes that have no
 * RESULT. Both end in one ATTEMPT event and one input of the scheduler.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/msgid.h"
#include "common/base/str.h"
#include "common/sys/log.h"
#include "qmgr/qmgr.h"

/* RFC 3461 4.1, 6.2: a failure is reported unless NEVER, or other
 * conditions only, were asked for. Never to the null sender. */
static bool
wants_failure_dsn(struct sv sender, uint8_t notify)
{
	return sender.n > 0 && (notify == 0 || (notify & NOTIFY_FAILURE) != 0);
}

static bool
wants_success_dsn(struct sv sender, uint8_t notify)
{
	return sender.n > 0 && (notify & NOTIFY_SUCCESS) != 0;
}

#define STATUS_MAX 16 /* as in EV_ATTEMPT_FIELDS */

/* Whatever a worker says, it can be logged. */
static void
attempt_cut(struct ev_attempt *e)
{
	e->sender = sv_head(e->sender, EV_NAME_MAX);
	e->rcpt = sv_head(e->rcpt, EV_NAME_MAX);
	e->orcpt = sv_head(e->orcpt, EV_NAME_MAX);
	e->envid = sv_head(e->envid, 128);
	e->job = sv_head(e->job, 256);
	e->pool = sv_head(e->pool, 256);
	e->src_type = sv_head(e->src_type, 256);
	e->src_mta = sv_head(e->src_mta, EV_NAME_MAX);
	e->status = sv_head(e->status, STATUS_MAX);
	e->diag = sv_head(e->diag, EV_TEXT_MAX);
	e->source_ip = sv_head(e->source_ip, 64);
	e->dest_ip = sv_head(e->dest_ip, 64);
	e->esmtp = sv_head(e->esmtp, EV_NAME_MAX);
}

/* Fills what the decision and the message know, and logs. */
static void
attempt_log(struct qmgr *q, struct ev_attempt *e,
    const struct sched_decision *d, const struct sched_msg *info)
{
	union ev_any ev;
	char hard[STATUS_MAX];

	attempt_cut(e);
	if (d->hardened && e->status.n > 0) {
		memcpy(hard, e->status.p, e->status.n);
		hard[0] = '5';
		e->status = sv_make(hard, e->status.n);
	}
	e->action = d->action;
	e->wants_dsn = d->bouncing;
	e->next_us = (uint64_t)d->next_us;
	e->attempts = d->attempts;
	e->volume_kib = d->volume_kib;
	e->queued_us = (uint64_t)info->arrival_us;
	ev.attempt = *e;
	journal_append(q, EV_ATTEMPT, &ev);
	if (e->outcome == OUT_IN_DOUBT) {
		char id[MSGID_TEXT], rcpt[400];
		struct str s;

		q->count.in_doubt++;
		log_safe(e->rcpt, rcpt, sizeof(rcpt));
		if (e->rcpt.n == 0) { /* its record cannot be read */
			STR_ON(&s, rcpt);
			str_addf(&s, "#%u", e->rcpt_idx);
		}
		log_warn("%s: in doubt to=%s: the final dot was sent and not "
		    "answered; it will be sent again",
		    msgid_format(e->id, id), rcpt);
	}
}

/* What the message asked for, if that is a pool. */
static struct sv
pool_named(const struct qmgr *q, struct sv asked)
{
	const struct conf_pool *p = asked.n == 0 ? NULL :
	    conf_pool_find(q->conf, asked);

	return p == NULL ? SV("") : p->name;
}

/* ---- RESULT ---- */

static void
result_rcpt(struct qmgr *q, const struct ipc_result *m, struct smsg *msg,
    const struct rcpt_result *r)
{
	char queue[EV_NAME_MAX], mta[EV_NAME_MAX];
	struct sched_now now = qmgr_now();
	struct sched_decision d;
	struct sched_msg info;
	struct str s;
	struct sched_result res = {
		.outcome = (enum outcome)r->outcome, .code = r->code,
		.status = r->status, .text = r->text,
		.host = m->host, .host_ip = m->host_ip,
		.dsn_on_failure = wants_failure_dsn(m->sender, r->notify),
		.dsn_on_success = r->relayed_no_dsn &&
		    wants_success_dsn(m->sender, r->notify),
		/* the worker could not read who is to be told */
		.keep = r->outcome == OUT_UNREADABLE && r->addr.n == 0,
	};
	struct ev_attempt e = {
		.id = m->id, .rcpt_idx = r->idx, .outcome = r->outcome,
		.time_us = (uint64_t)now.wall.us, .size = m->size,
		.sender = m->sender, .rcpt = r->addr, .orcpt = r->orcpt,
		.notify = r->notify, .envid = m->envid, .ret = m->ret,
		.job = m->job, .pool = pool_named(q, m->vmta),
		.src_type = m->src_type, .src_mta = m->src_mta,
		.status = r->status, .diag = r->text,
		.source_ip = m->source_ip, .dest_ip = m->host_ip,
		.esmtp = m->esmtp,
	};

	if (r->idx >= smsg_nrcpts(msg))
		return;
	/* the queue's name may end with the message: copied */
	STR_ON(&s, queue);
	str_add(&s, squeue_name(smsg_rcpt_queue(msg, r->idx)));
	e.queue = str_sv(&s);
	STR_ON(&s, mta);
	if (m->host.n > 0)
		str_addf(&s, "%.*s (%.*s)", SV_FMT(m->host),
		    SV_FMT(m->host_ip));
	e.mta = str_sv(&s);
	smsg_info(msg, &info);
	if (!sched_result(q->sched, now, m->session, msg, r->idx, &res, &d))
		return; /* nothing new, or nothing came of it */
	if (d.action == ACT_DELIVERED) {
		q->count.out_rcpts++;
		q->count.out_bytes += m->size;
	}
	attempt_log(q, &e, &d, &info);
}

static bool message_quarantine(struct qmgr *q, struct smsg *m, uint32_t idx);

static void
result_take(struct worker *w, const struct ipc_result *m)
{
	struct qmgr *q = w->q;
	struct rcpt_result res;
	struct smsg *sm;
	struct rd r;

	rd_init(&r, m->rcpts.p, m->rcpts.n);
	while (rcpt_result_next(&r, &res)) {
		/* the last recipient ends the message */
		sm = sched_msg_find(q->sched, m->id);
		if (sm == NULL)
			break;
		if (res.outcome == OUT_UNREADABLE &&
		    message_quarantine(q, sm, res.idx))
			continue;
		result_rcpt(q, m, sm, &res);
	}
	if (r.failed)
		log_warn("smtp[%u]: a result does not decode", w->index);
}

void
on_result(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_result *m = msg;
	struct worker *w = arg;
	struct qmgr *q = w->q;

	(void)c;
	w->acked = m->seq;
	w->ack_due = true;
	if (poison_is(&q->poison, POISON_RESULT, m->id, 0)) {
		suspect_result(q, m->id, m->session);
	} else {
		poison_mark(&q->poison, POISON_RESULT, m->id, 0);
		result_take(w, m);
		poison_clear(&q->poison);
	}
	q->count.out_msgs++;
	sched_deliver_done(q->sched, qmgr_now(), m->session, m->id);
}

/* ---- outcomes without a RESULT ---- */

static enum record_result
message_read(struct qmgr *q, const struct smsg *m, struct record *rec_r)
{
	struct sched_msg info;
	struct sio_file *f;

	smsg_info(m, &info);
	f = segtab_reader(q->segtab, info.segment);
	if (f == NULL)
		return RECORD_ERROR;
	return record_read(f, info.segment, info.offset, info.length,
	    &q->record, rec_r);
}

/* RECORD_ERROR is an error of the disk, and of now; anything else but
 * RECORD_OK is for good. */
static enum record_result
envelope_load(struct qmgr *q, const struct smsg *m, struct envelope *e_r)
{
	enum record_result rc;
	struct record rec;

	rc = message_read(q, m, &rec);
	if (rc != RECORD_OK && rc != RECORD_DAMAGED)
		return rc;
	arena_reset(&q->env_arena);
	return envelope_decode(rec.env, &q->env_arena, e_r) ? RECORD_OK :
	    RECORD_DAMAGED;
}

bool
envelope_read(struct qmgr *q, const struct smsg *m, struct envelope *e_r)
{
	return envelope_load(q, m, e_r) == RECORD_OK;
}

/* ---- records that are damaged for good ---- */

void
corrupt_save(struct qmgr *q, uint64_t msg_id, const char *why)
{
	char path[SIO_PATH_MAX], id[MSGID_TEXT];
	struct sio_file *f;
	struct str s;

	STR_ON(&s, path);
	str_addf(&s, "corrupt/%s", msgid_format(msg_id, id));
	f = sio_open(q->sio, path, SIO_WRITE | SIO_CREATE | SIO_EXCL);
	if (f == NULL && errno == EEXIST)
		return; /* another recipient's turn did it */
	q->count.corrupt++;
	if (f == NULL ||
	    sio_pwrite(f, buf_data(&q->record), buf_len(&q->record), 0) != 0 ||
	    sio_fdatasync(f) != 0 || sio_fsync_dir(q->sio, "corrupt") != 0)
		log_warn_errno("%s cannot be written", path);
	log_warn("%s: %s; what there is of it is in spool/%s", id, why, path);
	sio_close(&f);
}

/*
 * A worker could not read the record. If it is damaged, trying again is of no
 * use: it is put aside and the recipient fails. False: an error of the disk
 * or the like; the recipient is tried again.
 */
static bool
message_quarantine(struct qmgr *q, struct smsg *m, uint32_t idx)
{
	struct sched_why why = { .status = SV("5.3.0"),
		.diag = SV("the message was damaged on our disk and cannot be "
		    "sent") };
	enum record_result rc;
	struct sched_msg info;
	struct record rec;

	if (idx >= smsg_nrcpts(m))
		return false;
	rc = message_read(q, m, &rec);
	if (rc == RECORD_OK || rc == RECORD_ERROR)
		return false;
	smsg_info(m, &info);
	corrupt_save(q, info.id, "its record is damaged");
	(void)outcome_from_record(q, m, idx, OUT_UNREADABLE, &why);
	return true;
}

void
outcome_src_mta(char out[EV_NAME_MAX], const struct envelope *e)
{
	struct str s;

	str_init(&s, out, EV_NAME_MAX);
	if (e->client_ip.n > 0)
		str_addf(&s, "%.*s (%.*s)",
		    SV_FMT(e->client_name.n > 0 ? e->client_name : e->helo),
		    SV_FMT(e->client_ip));
}

/* What the log wants to know of a message that no worker told about. */
static void
attempt_from_envelope(const struct qmgr *q, struct ev_attempt *a,
    const struct envelope *e,
    uint32_t idx, char src_mta[EV_NAME_MAX])
{
	if (idx >= e->nrcpts)
		return;
	outcome_src_mta(src_mta, e);
	a->src_mta = sv_from(src_mta);
	a->sender = e->sender;
	a->rcpt = e->rcpts[idx].addr;
	a->orcpt = e->rcpts[idx].orcpt;
	a->notify = e->rcpts[idx].notify;
	a->envid = e->envid;
	a->ret = (uint8_t)(e->flags & (ENV_RET_FULL | ENV_RET_HDRS));
	a->job = e->job;
	a->pool = pool_named(q, envelope_vmta(e, idx));
	a->src_type = e->src_type;
}

bool
outcome_from_record(struct qmgr *q, struct smsg *m, uint32_t idx,
    uint8_t outcome, const struct sched_why *why)
{
	char src_mta[EV_NAME_MAX] = "";
	char queue[EV_NAME_MAX], id[MSGID_TEXT];
	struct sched_now now = qmgr_now();
	struct envelope env = { 0 };
	enum record_result rc;
	struct sched_decision d = { .action = ACT_FAILED };
	struct sched_result res = { .outcome = (enum outcome)outcome,
		.status = why->status, .text = why->diag };
	struct sched_msg info;
	struct str s;
	struct ev_attempt e = {
		.rcpt_idx = idx, .outcome = outcome,
		.time_us = (uint64_t)now.wall.us,
		.status = sv_head(why->status, STATUS_MAX),
		.diag = sv_head(why->diag, EV_TEXT_MAX),
	};

	smsg_info(m, &info);
	e.id = info.id;
	STR_ON(&s, queue);
	str_add(&s, squeue_name(smsg_rcpt_queue(m, idx)));
	e.queue = str_sv(&s);
	rc = envelope_load(q, m, &env);
	if (rc == RECORD_ERROR && outcome == OUT_PERMANENT) {
		/* nobody would hear of it: give_up() comes again */
		log_warn_errno("%s: its record cannot be read, so it is not "
		    "given up now", msgid_format(info.id, id));
		return false;
	}
	if (rc == RECORD_OK) {
		attempt_from_envelope(q, &e, &env, idx, src_mta);
	} else if (rc == RECORD_ERROR) {
		log_warn_errno("%s: its record cannot be read",
		    msgid_format(info.id, id));
	} else {
		corrupt_save(q, info.id, "its record is damaged");
	}
	res.dsn_on_failure = wants_failure_dsn(e.sender, e.notify);
	/* its end is for give_up(), when the record can be read again */
	res.keep = rc == RECORD_ERROR;
	if (outcome == OUT_PERMANENT) {
		/* from give_up: nothing is decided any more */
		d.bouncing = res.dsn_on_failure;
		d.attempts = smsg_rcpt_attempts(m, idx);
		sched_final(q->sched, now, m, idx,
		    d.bouncing ? SR_BOUNCING : SR_DONE);
	} else {
		/* there is nothing left to be tried again */
		if (outcome == OUT_UNREADABLE)
			res.outcome = OUT_PERMANENT;
		if (!sched_result(q->sched, now, 0, m, idx, &res, &d))
			return true;
	}
	attempt_log(q, &e, &d, &info);
	return true;
}
