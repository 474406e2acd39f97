/* SPDX-License-Identifier: ISC */
/*
 * Messages that processes crash on.
 *
 * A delivery worker marks in its intent file which message it is at. When its
 * channel closes with a mark set, that message is put on hold, quietly, until
 * the master says how the worker ended (CHILD comes before the successor's
 * PEER): by a crash, then it is counted; anything else, then it goes on. The
 * count outlives qmgr in the spool (common/spool/poison.h). At the second
 * crash the whole message goes on hold for good, by an event of the log: an
 * operator looks at it, and releases or deletes it.
 *
 * Our own crashes: what is taken in or replayed is marked in the same way. A
 * record that cost two lives is copied to corrupt/ and left out. So is the
 * message whose RESULT is looked at: when the worker tells it to the third
 * life, the message goes on hold instead.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/msgid.h"
#include "common/base/str.h"
#include "common/sys/log.h"
#include "qmgr/qmgr.h"

#define SUSPECTS_PATH "intent/suspects"

void
suspects_init(struct qmgr *q)
{
	if (poison_open(&q->poison, q->sio, SUSPECTS_PATH) != 0)
		log_warn_errno("%s: what crashes us is not remembered over "
			       "our own end",
		    SUSPECTS_PATH);
}

/* ---- hold and release ---- */

/* To be held or freed by us: what an operator holds is his to release. */
static bool
is_ours(const struct smsg *m, uint32_t i)
{
	enum srcpt_state s = smsg_rcpt_state(m, i);

	return (s == SR_READY || s == SR_RETRY || s == SR_INFLIGHT ||
	    s == SR_HELD) && smsg_rcpt_order(m, i) == 0;
}

static void
message_hold(struct qmgr *q, struct smsg *m, bool hold)
{
	for (uint32_t i = 0; i < smsg_nrcpts(m); i++) {
		if (is_ours(m, i))
			sched_rcpt_hold(q->sched, qmgr_now(), m, i, hold, 0);
	}
}

static void
hold_log(struct qmgr *q, const struct smsg *m)
{
	uint32_t *list = calloc(smsg_nrcpts(m), sizeof(*list)), n = 0;
	union ev_any ev = {.hold = {.held = 1}};
	struct sched_msg info;

	if (list == NULL)
		fatal("out of memory");
	for (uint32_t i = 0; i < smsg_nrcpts(m); i++) {
		if (is_ours(m, i))
			list[n++] = i;
	}
	smsg_info(m, &info);
	ev.hold.id = info.id;
	ev.hold.rcpts = (struct u32s){.array = list, .n = n};
	journal_append(q, EV_HOLD, &ev);
	free(list);
}

bool
suspect_release(struct qmgr *q, struct smsg *m, uint32_t idx)
{
	union ev_any ev = {
	    .hold = {.held = 0, .rcpts = {.array = &idx, .n = 1}}};
	struct sched_msg info;

	if (smsg_rcpt_state(m, idx) != SR_HELD)
		return false;
	smsg_info(m, &info);
	ev.hold.id = info.id;
	journal_append(q, EV_HOLD, &ev);
	suspect_forget(q, info.id);
	sched_rcpt_hold(q->sched, qmgr_now(), m, idx, false, 0);
	return true;
}

struct sv
suspect_reason(const struct qmgr *q, uint64_t id, char out[128])
{
	const struct poison_item *it =
	    poison_find(&q->poison, POISON_RESULT, id, 0);
	struct str s;

	if (it == NULL)
		it = poison_find(&q->poison, POISON_MESSAGE, id, 0);
	str_init(&s, out, 128);
	if (it != NULL)
		str_addf(&s, "%u crashes, the last: %s", it->crashes, it->why);
	else
		str_adds(&s, "put on hold");
	return str_sv(&s);
}

void
suspect_forget(struct qmgr *q, uint64_t id)
{
	if (q->poison.n == 0)
		return;
	poison_forget(&q->poison, POISON_MESSAGE, id, 0);
	poison_forget(&q->poison, POISON_RESULT, id, 0);
}

/* ---- delivery workers ---- */

static void
message_blame(struct qmgr *q, struct smsg *m, uint64_t id, const char *why)
{
	const struct poison_item *it =
	    poison_blame(&q->poison, POISON_MESSAGE, id, 0, why);
	char text[MSGID_TEXT];

	(void)msgid_format(id, text);
	if (it != NULL && it->crashes >= POISON_LIMIT) {
		message_hold(q, m, true);
		hold_log(q, m);
		log_warn(
		    "%s: quarantined: delivery crashed on it %u times, "
		    "the last: %s; \"pinnace release --id=%s\" tries again, "
		    "\"pinnace delete --id=%s\" removes it",
		    text, it->crashes, it->why, text, text);
		return;
	}
	log_warn("%s: delivery crashed on it, %s; one more and it is "
		 "quarantined",
	    text, why);
	message_hold(q, m, false);
}

void
suspect_settle(struct worker *w)
{
	struct qmgr *q = w->q;
	uint64_t id = w->suspect;
	struct smsg *m = sched_msg_find(q->sched, id);
	char why[POISON_TEXT];
	struct str s;

	w->suspect = 0;
	if (m == NULL)
		return;
	if (w->ended == ENDED_CRASH) {
		STR_ON(&s, why);
		str_addf(&s, "smtp[%u]: %s", w->index, w->ended_why);
		message_blame(q, m, id, why);
	} else if (!poison_is(&q->poison, POISON_MESSAGE, id, 0)) {
		message_hold(q, m, false);
	}
}

bool
suspect_is_open(const struct qmgr *q, uint64_t id)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		if (q->workers[i].suspect == id)
			return !poison_is(&q->poison, POISON_MESSAGE, id, 0);
	}
	return false;
}

void
suspects_master_gone(struct qmgr *q)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		if (q->workers[i].suspect != 0)
			suspect_settle(&q->workers[i]);
	}
	qmgr_turn_end(q);
}

void
suspect_found(struct worker *w, uint64_t id)
{
	struct qmgr *q = w->q;
	struct smsg *m = sched_msg_find(q->sched, id);

	if (m == NULL)
		return;
	w->suspect = id;
	message_hold(q, m, true);
	/* without a master nobody will tell */
	if (w->ended != ENDED_NEVER || q->role->master == NULL)
		suspect_settle(w);
}

static void
worker_ended(struct qmgr *q, const struct ipc_child *m)
{
	struct worker *w;
	struct str s;

	/* the successor's frames tell of this end again */
	if (m->index >= WORKERS_MAX || m->pid != 0)
		return;
	w = &q->workers[m->index];
	w->ended = m->ended;
	STR_ON(&s, w->ended_why);
	str_add(&s, m->reason);
	if (w->suspect == 0)
		return;
	suspect_settle(w);
	qmgr_turn_end(q);
}

/* ---- ourselves ---- */

void
suspect_result(struct qmgr *q, uint64_t id, uint64_t session)
{
	static const struct sched_result untried = {.outcome = OUT_UNTRIED};
	const struct poison_item *it =
	    poison_find(&q->poison, POISON_RESULT, id, 0);
	struct smsg *m = sched_msg_find(q->sched, id);
	struct sched_decision d;
	char text[MSGID_TEXT];

	if (m == NULL || it == NULL)
		return;
	message_hold(q, m, true);
	/* what is in flight comes back, and is held then */
	for (uint32_t i = 0; i < smsg_nrcpts(m); i++)
		(void)sched_result(
		    q->sched, qmgr_now(), session, m, i, &untried, &d);
	hold_log(q, m);
	(void)msgid_format(id, text);
	log_warn("%s: quarantined: qmgr crashed on what became of its delivery "
		 "%u times, the last: %s; recipients on hold may have it; "
		 "\"pinnace release --id=%s\" sends it again, \"pinnace delete "
		 "--id=%s\" removes it",
	    text, it->crashes, it->why, text, text);
}

static void
own_end(struct qmgr *q, const struct ipc_child *m)
{
	const struct poison_item *it;
	char why[POISON_TEXT];
	struct str s;

	STR_ON(&s, why);
	str_addf(&s, "qmgr: %.*s", SV_FMT(m->reason));
	if (m->ended != ENDED_CRASH || q->recovered)
		return;
	it = poison_blame_marked(&q->poison, why);
	if (it != NULL && it->kind == POISON_EVENT)
		log_warn("the qmgr before crashed on the event at %llu:%llu, "
			 "%s (%u times)",
		    (unsigned long long)(it->a & ~POISON_CHECKPOINT),
		    (unsigned long long)it->b,
		    it->why, it->crashes);
	else if (it != NULL)
		log_warn("%s: the qmgr before crashed on it, %s (%u times)",
		    msgid_format(it->a, (char[MSGID_TEXT]){0}), it->why,
		    it->crashes);
}

void
suspects_child(struct qmgr *q, const struct ipc_child *m)
{
	if (m->role == R_SMTP)
		worker_ended(q, m);
	else if (m->role == R_QMGR)
		own_end(q, m);
}

/* The large file goes with its message: a sweep would take it for nobody's. */
static void
large_save(struct qmgr *q, uint64_t large_id, const char *id)
{
	char to[SIO_PATH_MAX];
	struct str s;

	STR_ON(&s, to);
	str_addf(&s, "corrupt/%s.large", id);
	if (segtab_large_move(q->segtab, large_id, "corrupt", to) != 0)
		log_warn_errno("its large file cannot be moved to %s", to);
}

void
suspect_record_save(struct qmgr *q, const struct sched_msg *m)
{
	struct sio_file *f = segtab_reader(q->segtab, m->segment);
	unsigned char *at;
	char id[MSGID_TEXT];

	(void)msgid_format(m->id, id);
	buf_clear(&q->record);
	at = buf_reserve(&q->record, (size_t)m->length);
	if (f == NULL || at == NULL ||
	    sio_read_all(f, at, (size_t)m->length, m->offset) !=
		(ssize_t)m->length) {
		log_warn_errno("%s: its record cannot be read", id);
		return;
	}
	buf_commit(&q->record, (size_t)m->length);
	corrupt_save(q, m->id, "qmgr crashes on it");
	if (m->large_id != 0)
		large_save(q, m->large_id, id);
}
