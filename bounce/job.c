/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "bounce/job.h"
#include "common/base/mem.h"
#include "common/base/msgid.h"
#include "common/base/siphash.h"
#include "common/mail/envelope.h"

#define ENV_ARENA_MAX (32u << 20) /* a decoded envelope of 100,000 */

static bool
is_null(struct sv sender)
{
	return sender.n == 0 || sv_eq(sender, SV("<>"));
}

struct ev_attempt
job_delayed(const struct ev_delayed *e)
{
	return (struct ev_attempt){
		.id = e->id, .rcpt_idx = e->rcpt_idx, .action = ACT_DEFERRED,
		.time_us = e->tried_us, .queued_us = e->queued_us,
		.sender = e->sender, .rcpt = e->rcpt, .orcpt = e->orcpt,
		.notify = e->notify, .envid = e->envid, .src_mta = e->src_mta,
		.status = e->status, .diag = e->diag, .mta = e->mta,
	};
}

bool
job_is_for(const struct ev_attempt *a)
{
	if (is_null(a->sender) || (a->notify & NOTIFY_NEVER) != 0)
		return false;
	switch (a->action) {
	case ACT_FAILED:
		return a->notify == 0 || (a->notify & NOTIFY_FAILURE) != 0;
	case ACT_DEFERRED:
		return a->notify == 0 || (a->notify & NOTIFY_DELAY) != 0;
	case ACT_DELIVERED:
		return (a->notify & NOTIFY_SUCCESS) != 0;
	default:
		return false;
	}
}

struct job *
job_new(const struct ev_attempt *a, struct evlog_pos at)
{
	struct job *j = calloc(1, sizeof(*j));

	if (j == NULL)
		mem_exhausted();
	arena_init(&j->arena, JOB_BYTES_MAX);
	j->state = JOB_GATHERING;
	j->id = a->id;
	j->delayed = a->action == ACT_DEFERRED;
	j->first = at;
	j->arrival.us = (int64_t)a->queued_us;
	j->sender = arena_sv(&j->arena, a->sender);
	j->envid = arena_sv(&j->arena, a->envid);
	j->from_mta = arena_sv(&j->arena, a->src_mta);
	return j;
}

void
job_free(struct job **jp)
{
	struct job *j = *jp;

	*jp = NULL;
	if (j == NULL)
		return;
	arena_fini(&j->arena);
	buf_fini(&j->body);
	buf_fini(&j->env);
	free(j->rcpts);
	free(j);
}

size_t
job_bytes(const struct job *j)
{
	return sizeof(*j) + j->arena.used + j->size * sizeof(*j->rcpts) +
	    j->body.size + j->env.size;
}

static enum dsn_action
action_of(const struct ev_attempt *a)
{
	if (a->action == ACT_DEFERRED)
		return DSN_DELAYED;
	/* wanted after a delivery: the next host had no DSNs of its own */
	return a->action == ACT_DELIVERED ? DSN_RELAYED : DSN_FAILED;
}

static struct job_rcpt *
rcpt_slot(struct job *j, uint32_t idx)
{
	for (uint32_t i = 0; i < j->nrcpts; i++) {
		if (j->rcpts[i].idx == idx)
			return &j->rcpts[i];
	}
	if (j->nrcpts == JOB_RCPTS_MAX)
		return NULL;
	if (j->nrcpts == j->size) {
		j->size = j->size == 0 ? 4 : j->size * 2;
		j->rcpts = reallocarray(j->rcpts, j->size, sizeof(*j->rcpts));
		if (j->rcpts == NULL)
			mem_exhausted();
	}
	return &j->rcpts[j->nrcpts++];
}

bool
job_add(struct job *j, const struct ev_attempt *a, struct wall retry_until)
{
	struct dsn_rcpt f = {
		.action = action_of(a),
		.last_attempt = { (int64_t)a->time_us },
		.retry_until = retry_until,
	};
	struct job_rcpt *r;

	if (j->arena.used > JOB_BYTES_MAX / 2)
		return false;
	f.addr = arena_sv(&j->arena, a->rcpt);
	f.orcpt = arena_sv(&j->arena, a->orcpt);
	f.status = arena_sv(&j->arena, a->status);
	f.diag = arena_sv(&j->arena, a->diag);
	f.mta = arena_sv(&j->arena, a->mta);
	r = rcpt_slot(j, a->rcpt_idx);
	if (r == NULL)
		return false;
	*r = (struct job_rcpt){ .idx = a->rcpt_idx, .facts = f };
	return true;
}

void
job_want(struct job *j, const struct u32s *list)
{
	for (uint32_t i = 0; i < j->nrcpts; i++)
		j->rcpts[i].wanted = false;
	for (uint32_t k = 0; k < list->n; k++) {
		for (uint32_t i = 0; i < j->nrcpts; i++) {
			if (j->rcpts[i].idx == u32s_get(list, k))
				j->rcpts[i].wanted = true;
		}
	}
}

/* ---- building ---- */

/* The same DSN made twice has the same Message-ID; the next warning has not. */
static uint64_t
unique_of(const struct job *j, uint32_t nwanted)
{
	uint64_t h = nwanted + j->said_us;

	for (uint32_t i = 0; i < j->nrcpts; i++) {
		const struct job_rcpt *r = &j->rcpts[i];
		uint64_t key[2] = { j->id, h };
		uint64_t in[2] = { r->idx, r->facts.action };

		if (r->wanted)
			h = siphash24(key, in, sizeof(in));
	}
	return h;
}

static struct sv
addr_lowered(struct job *j)
{
	struct sv copy = arena_sv(&j->arena, j->sender), domain;
	char *p;

	if (copy.p == NULL)
		return j->sender;
	domain = addr_domain(copy);
	p = arena_alloc(&j->arena, copy.n + 1);
	if (p == NULL)
		return j->sender;
	memcpy(p, copy.p, copy.n);
	for (size_t i = copy.n - domain.n; i < copy.n; i++)
		p[i] = ascii_lower(p[i]);
	return sv_make(p, copy.n);
}

static bool
envelope_build(struct job *j, uint32_t flags, const uint32_t *reported,
    uint32_t nreported)
{
	struct env_rcpt rcpt = {
		.addr = addr_lowered(j),
		.notify = NOTIFY_NEVER, /* no DSN about a DSN */
	};
	struct envelope e = {
		.flags = flags, .src_type = SV("bounce"),
		.rcpts = &rcpt, .nrcpts = 1,
	};
	struct wr w;

	if (!j->delayed) { /* it is the end of these */
		e.dsn_for = j->id;
		e.dsn_rcpts = reported;
		e.dsn_nrcpts = nreported;
	}
	if (addr_domain(rcpt.addr).n == 0)
		return false;
	buf_fini(&j->env);
	buf_init(&j->env, IPC_ENV_MAX);
	wr_init_buf(&w, &j->env);
	envelope_encode(&w, &e);
	return !w.failed;
}

static void
original_set(struct dsn *d, const struct job_original *o)
{
	struct envelope e;
	struct arena a;

	if (!o->readable)
		return;
	d->has_original = true;
	d->head = o->head;
	d->body = o->body;
	arena_init(&a, ENV_ARENA_MAX);
	if (envelope_decode(o->env, &a, &e)) {
		d->full = (e.flags & ENV_RET_FULL) != 0 && o->whole;
		d->original_utf8 = (e.flags & ENV_SMTPUTF8) != 0;
	}
	arena_fini(&a);
}

static uint8_t
record_flags(struct sv body, uint32_t env_flags)
{
	unsigned flags = (env_flags & ENV_8BITMIME) ? RECORD_8BIT : 0;

	if (body.n > 0 && memmem(body.p, body.n, "\n.", 2) != NULL)
		flags |= RECORD_DOTS;
	return (uint8_t)flags;
}

static enum job_build
built(struct job *j, struct dsn *d, const uint32_t *reported)
{
	uint32_t env_flags;

	buf_fini(&j->body);
	buf_init(&j->body, DSN_FIXED_BYTES + 2 * DSN_RETURN_MAX +
	    (size_t)d->nrcpts * DSN_RCPT_BYTES);
	if (dsn_build(d, &j->body, &env_flags) != DSN_OK ||
	    buf_len(&j->body) > RECORD_BODY_MAX ||
	    !envelope_build(j, env_flags, reported, d->nrcpts))
		return JOB_IMPOSSIBLE;
	j->iov.iov_base = j->body.mem + j->body.head;
	j->iov.iov_len = buf_len(&j->body);
	j->req = (struct commit_req){
		.env = buf_sv(&j->env), .body = &j->iov, .nbody = 1,
		.flags = record_flags(buf_sv(&j->body), env_flags),
		.arrival_us = (uint64_t)d->now.us,
	};
	return JOB_BUILT;
}

enum job_build
job_build(struct job *j, const struct job_original *o, struct sv host,
    struct wall now)
{
	struct dsn_rcpt *facts = calloc(j->nrcpts + 1u, sizeof(*facts));
	uint32_t *reported = calloc(j->nrcpts + 1u, sizeof(*reported));
	char id[MSGID_TEXT];
	struct dsn d = {
		.host = host, .to = j->sender, .envid = j->envid,
		.from_mta = j->from_mta, .arrival = j->arrival, .now = now,
		.queue_id = sv_from(msgid_format(j->id, id)),
	};
	enum job_build result = JOB_NOBODY;

	if (facts == NULL || reported == NULL)
		mem_exhausted();
	for (uint32_t i = 0; i < j->nrcpts; i++) {
		if (!j->rcpts[i].wanted)
			continue;
		reported[d.nrcpts] = j->rcpts[i].idx;
		facts[d.nrcpts++] = j->rcpts[i].facts;
	}
	d.rcpts = facts;
	d.unique = unique_of(j, d.nrcpts);
	original_set(&d, o);
	if (d.nrcpts > 0)
		result = built(j, &d, reported);
	free(facts);
	free(reported);
	return result;
}
