/* SPDX-License-Identifier: ISC */
/*
 * Messages: the table, and what a recovery or an operator does to recipients.
 */
#include <stdlib.h>

#include "qmgr/sched_private.h"

struct msg_key {
	uint64_t id;
};

static bool
msg_match(const void *entry, const void *key)
{
	return ((const struct smsg *)entry)->id ==
	    ((const struct msg_key *)key)->id;
}

struct smsg *
sched_msg_find(const struct sched *s, uint64_t id)
{
	struct msg_key k = { id };

	return htab_find(&s->msgs, id, msg_match, &k);
}

struct smsg *
sched_msg_next(const struct sched *s, size_t *at)
{
	return htab_next(&s->msgs, at);
}

/* ---- places: kept small, see struct smsg ---- */

static bool
place_fits(uint64_t segment, uint64_t offset, uint64_t length)
{
	return segment >> SEGMENT_BITS == 0 && offset % 8 == 0 &&
	    offset / 8 >> PLACE_BITS == 0 &&
	    (length + 7) / 8 >> LENGTH_BITS == 0;
}

static void
place_set(struct smsg *m, uint64_t segment, uint64_t offset, uint64_t length)
{
	m->segment = segment & ((1ull << SEGMENT_BITS) - 1);
	m->place = (offset / 8) & ((1ull << PLACE_BITS) - 1);
	m->length8 = ((length + 7) / 8) & ((1u << LENGTH_BITS) - 1);
}

void
smsg_info(const struct smsg *m, struct sched_msg *info_r)
{
	const struct smsg_rare *rare = (const void *)(m->rcpts + m->nrcpts);

	*info_r = (struct sched_msg){ .id = m->id, .segment = m->segment,
		.offset = (uint64_t)m->place * 8,
		.length = (uint64_t)m->length8 * 8,
		.body_len = m->body_len, .arrival_us = m->arrival_us,
		.tell = m->tell };
	if (m->rare) {
		info_r->large_id = rare->large_id;
		info_r->dsn_for = rare->dsn_for;
	}
}

void
sched_msg_moved(struct sched *s, struct smsg *m, uint64_t segment,
    uint64_t offset, uint64_t length)
{
	(void)s;
	if (place_fits(segment, offset, length))
		place_set(m, segment, offset, length);
}

/* ---- adding ---- */

bool
sched_reserve(struct sched *s, uint64_t messages)
{
	return htab_reserve(&s->msgs, messages) == 0;
}

static struct smsg *
msg_new(const struct sched_msg *in, uint32_t n)
{
	bool rare = in->large_id != 0 || in->dsn_for != 0;
	struct smsg *m;

	if (n == 0 || n >> NRCPTS_BITS != 0 || in->id == 0 ||
	    in->body_len >> BODY_BITS != 0 ||
	    !place_fits(in->segment, in->offset, in->length))
		return NULL;
	m = calloc(1, sizeof(*m) + n * sizeof(m->rcpts[0]) +
	    (rare ? sizeof(struct smsg_rare) : 0));
	if (m == NULL)
		return NULL;
	m->id = in->id;
	place_set(m, in->segment, in->offset, in->length);
	m->body_len = in->body_len & ((1ull << BODY_BITS) - 1);
	m->arrival_us = in->arrival_us;
	m->tell = in->tell & (TELL_ASKED | TELL_UNASKED);
	m->nrcpts = n & ((1u << NRCPTS_BITS) - 1);
	m->nopen = n & ((1u << NRCPTS_BITS) - 1);
	m->rare = rare;
	if (rare)
		*(struct smsg_rare *)(m->rcpts + n) = (struct smsg_rare){
			.large_id = in->large_id, .dsn_for = in->dsn_for };
	return m;
}

/* New mail ends the wait of a queue, if so configured. */
static void
new_mail(struct sched *s, struct squeue *q)
{
	if (q->retry_at > sched_mono(s) &&
	    queue_conf(s, q)->retry_upon_new_mail)
		q->retry_at = 0;
}

/* All queues first: no recipient is added unless all can be. */
static bool
msg_queues(struct sched *s, struct smsg *m, struct sv vmta,
    const struct sv *domains)
{
	for (uint32_t i = 0; i < m->nrcpts; i++) {
		struct srcpt *r = &m->rcpts[i];

		r->idx = i & ((1u << NRCPTS_BITS) - 1);
		if (i > 0 && sv_eq(domains[i], domains[i - 1]))
			r->q = m->rcpts[i - 1].q;
		else
			r->q = queue_get(s, domains[i], vmta);
		if (r->q == NULL)
			return false;
	}
	return true;
}

static bool
is_recent(const struct sched *s, int64_t arrival_us, unsigned clock)
{
	int64_t ago = s->clock - (arrival_us - s->skew[clock]);

	return ago <= CLOCK_JUMP_US && ago >= -CLOCK_JUMP_US;
}

/* Which clock the arrival is on. The clock may have jumped between the writer's
 * look at it and now. */
static unsigned
arrival_clock(const struct sched *s, int64_t arrival_us)
{
	unsigned now = s->nskew;

	if (now > 0 && !is_recent(s, arrival_us, now) &&
	    is_recent(s, arrival_us, now - 1))
		return now - 1;
	return now;
}

struct smsg *
sched_msg_add(struct sched *s, struct sched_now now,
    const struct sched_msg *in, struct sv vmta, const struct sv *domains,
    uint32_t n)
{
	struct smsg *m;

	sched_clock_advance(s, now);
	if (sched_msg_find(s, in->id) != NULL)
		return NULL;
	m = msg_new(in, n);
	if (m == NULL)
		return NULL;
	if (!msg_queues(s, m, vmta, domains) || htab_insert(&s->msgs, m) != 0) {
		free(m);
		return NULL;
	}
	m->clock = arrival_clock(s, in->arrival_us) & (CLOCKS - 1);
	delays_count(s, m, true);
	for (uint32_t i = 0; i < n; i++) {
		new_mail(s, m->rcpts[i].q);
		rcpt_add(s, m->rcpts[i].q, &m->rcpts[i]);
		queue_arrived(s, m->rcpts[i].q, m);
	}
	return m;
}

/* ---- views ---- */

uint32_t
smsg_nrcpts(const struct smsg *m)
{
	return m->nrcpts;
}

uint32_t
smsg_first_open(const struct smsg *m)
{
	return m->first;
}

enum srcpt_state
smsg_rcpt_state(const struct smsg *m, uint32_t idx)
{
	return (enum srcpt_state)m->rcpts[idx].state;
}

bool
smsg_rcpt_is_held(const struct smsg *m, uint32_t idx)
{
	const struct srcpt *r = &m->rcpts[idx];

	return r->state == SR_HELD ||
	    (r->state == SR_INFLIGHT && (r->flags & RF_HOLD) != 0);
}

uint32_t
smsg_rcpt_attempts(const struct smsg *m, uint32_t idx)
{
	return m->rcpts[idx].attempts;
}

int64_t
smsg_rcpt_next_us(const struct smsg *m, uint32_t idx)
{
	const struct srcpt *r = &m->rcpts[idx];
	const struct sched_now *now;

	if (r->state != SR_RETRY)
		return 0;
	now = &r->q->s->now;
	return r->u.retry.due - now->mono.us + now->wall.us;
}

uint32_t
smsg_rcpt_order(const struct smsg *m, uint32_t idx)
{
	const struct srcpt *r = &m->rcpts[idx];

	return smsg_rcpt_is_held(m, idx) ? r->u.held.order : 0;
}

uint32_t
smsg_rcpt_deletion(const struct smsg *m, uint32_t idx)
{
	const struct srcpt *r = &m->rcpts[idx];

	return r->state == SR_TRASHED ? r->u.trash.number : 0;
}

enum srcpt_state
smsg_rcpt_before(const struct smsg *m, uint32_t idx, int64_t *next_us_r,
    uint32_t *order_r)
{
	const struct srcpt *r = &m->rcpts[idx];
	const struct sched_now *now = &r->q->s->now;
	int64_t due = r->u.trash.due;

	*next_us_r = due > 0 ? due - now->mono.us + now->wall.us : 0;
	*order_r = due < 0 ? (uint32_t)(-due - 1) : 0;
	return due > 0 ? SR_RETRY : due < 0 ? SR_HELD : SR_READY;
}

unsigned
smsg_rcpt_priority(const struct smsg *m, uint32_t idx)
{
	return m->rcpts[idx].priority;
}

const struct squeue *
smsg_rcpt_queue(const struct smsg *m, uint32_t idx)
{
	return m->rcpts[idx].q;
}

/* ---- changes from outside ---- */

void
sched_rcpt_restore(struct sched *s, struct sched_now now, struct smsg *m,
    uint32_t idx, enum srcpt_state state, uint32_t attempts, int64_t next_us)
{
	struct srcpt *r;
	int64_t wait, most;

	sched_clock_advance(s, now);
	if (idx >= m->nrcpts || m->rcpts[idx].state == SR_DONE)
		return;
	r = &m->rcpts[idx];
	r->attempts = attempts < UINT16_MAX ? (uint16_t)attempts : UINT16_MAX;
	if (attempts > 0 && r->state == SR_READY && state == SR_READY)
		return;
	switch (state) {
	case SR_RETRY:
		/* The clock may have been wrong then or be wrong now. */
		wait = next_us - now.wall.us;
		most = retry_longest(&queue_conf(s,
		    r->q)->retry_recipients_after);
		if (wait > most)
			wait = most;
		rcpt_retry(s, r, sched_mono(s) + (wait > 0 ? wait : 0));
		return;
	case SR_HELD:
		rcpt_hold(s, r, smsg_rcpt_order(m, idx));
		return;
	case SR_BOUNCING:
		rcpt_aside(s, r, state);
		return;
	case SR_DONE:
		(void)rcpt_done(s, r);
		return;
	default:
		if (r->state != SR_READY)
			rcpt_ready(s, r, false);
		return;
	}
}

void
sched_final(struct sched *s, struct sched_now now, struct smsg *m,
    uint32_t idx, enum srcpt_state bouncing_or_done)
{
	sched_clock_advance(s, now);
	if (idx >= m->nrcpts || m->rcpts[idx].state == SR_DONE)
		return;
	(void)rcpt_final(s, &m->rcpts[idx], bouncing_or_done == SR_BOUNCING);
}

void
sched_rcpt_hold(struct sched *s, struct sched_now now, struct smsg *m,
    uint32_t idx, bool hold, uint32_t order)
{
	struct srcpt *r;

	sched_clock_advance(s, now);
	if (idx >= m->nrcpts)
		return;
	r = &m->rcpts[idx];
	if (hold && r->state == SR_INFLIGHT) {
		r->flags |= RF_HOLD;
		r->u.held.order = order;
	} else if (!hold && r->state == SR_INFLIGHT)
		r->flags &= (uint8_t)~RF_HOLD;
	else if (hold && (r->state == SR_READY || r->state == SR_RETRY))
		rcpt_hold(s, r, order);
	else if (hold && r->state == SR_HELD)
		r->u.held.order = order;
	else if (!hold && r->state == SR_HELD)
		rcpt_ready(s, r, false);
}

struct sv
smsg_rcpt_vmta(const struct smsg *m, uint32_t idx)
{
	const struct srcpt *r = &m->rcpts[idx];
	const struct svmta *vm;

	if (r->q == NULL || (r->flags & RF_MOVE) == 0)
		return squeue_vmta(r->q);
	vm = vmta_numbered(r->q->s, r->u.held.vmta);
	return vm == NULL ? r->q->vmta : vm->name;
}

bool
sched_rcpt_move(struct sched *s, struct sched_now now, struct smsg *m,
    uint32_t idx, struct sv vmta)
{
	struct squeue *to;
	struct srcpt *r;

	sched_clock_advance(s, now);
	if (idx >= m->nrcpts)
		return false;
	r = &m->rcpts[idx];
	if (r->state == SR_DONE || r->state == SR_BOUNCING ||
	    r->state == SR_TRASHED ||
	    (to = queue_get(s, r->q->domain, vmta)) == NULL)
		return false;
	if (r->state != SR_INFLIGHT) {
		rcpt_move(s, r, to);
		return true;
	}
	r->flags &= (uint8_t)~RF_MOVE;
	if (to != r->q) {
		r->flags |= RF_MOVE;
		r->u.held.vmta = to->vm->number;
	}
	return true;
}

bool
sched_rcpt_trash(struct sched *s, struct sched_now now, struct smsg *m,
    uint32_t idx, uint32_t number)
{
	struct srcpt *r;

	sched_clock_advance(s, now);
	if (idx >= m->nrcpts)
		return false;
	r = &m->rcpts[idx];
	if (r->state != SR_READY && r->state != SR_RETRY &&
	    r->state != SR_HELD)
		return false;
	rcpt_trash(s, r, number);
	return true;
}

bool
sched_rcpt_untrash(struct sched *s, struct sched_now now, struct smsg *m,
    uint32_t idx)
{
	sched_clock_advance(s, now);
	if (idx >= m->nrcpts || m->rcpts[idx].state != SR_TRASHED)
		return false;
	rcpt_untrash(s, &m->rcpts[idx]);
	return true;
}
