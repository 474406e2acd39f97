/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/sys/log.h"
#include "delivery/smtp.h"

#define SCRATCH_KEEP 65536 /* more than that only for very many recipients */

/* A RESULT that qmgr has not acknowledged, as it was encoded. */
struct result {
	TAILQ_ENTRY(result) link;
	uint64_t seq;
	uint32_t slot;       /* first intent slot, INTENT_NONE */
	size_t n;
	unsigned char bytes[];
};

bool
result_none_waiting(const struct worker *w)
{
	return TAILQ_EMPTY(&w->results);
}

/* ---- intents ---- */

static uint32_t
indices_of(const struct smtp_txn *t, bool accepted_only, uint32_t *out)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < t->nrcpts; i++)
		if (t->rcpts[i].accepted || !accepted_only)
			out[n++] = t->rcpts[i].idx;
	return n;
}

void
intent_write(struct delivery *d)
{
	struct worker *w = d->session->w;
	uint32_t few[INTENT_RCPTS], *idx = few;
	uint32_t n;

	if (d->txn.nrcpts > INTENT_RCPTS)
		idx = reallocarray(NULL, d->txn.nrcpts, sizeof(*idx));
	if (idx == NULL)
		mem_exhausted();
	n = indices_of(&d->txn, true, idx);
	intent_unreserve(&w->intents, d->reserved);
	d->reserved = 0;
	d->slot = intent_take(&w->intents, d->id, idx, n);
	if (d->slot == INTENT_NONE)
		log_warn("no intent slot for %u recipients", n);
	if (idx != few)
		free(idx);
}

/* ---- reporting ---- */

static void
rcpts_encode(struct buf *b, const struct smtp_txn *t, bool peer_has_dsn)
{
	struct wr w;

	buf_clear(b);
	wr_init_buf(&w, b);
	for (uint32_t i = 0; i < t->nrcpts; i++) {
		const struct smtp_rcpt *r = &t->rcpts[i];
		struct rcpt_result res = {
			.idx = r->idx,
			.outcome = r->outcome,
			.notify = r->notify,
			.relayed_no_dsn =
			    r->outcome == OUT_DELIVERED && !peer_has_dsn,
			.code = r->code,
			.addr = r->addr,
			.orcpt = r->orcpt,
			.status = r->status,
			.text = r->text,
		};

		rcpt_result_put(&w, &res);
	}
	if (w.failed)
		fatal("the recipients of a result do not encode");
}

/* The slots of what was delivered or is in doubt stay until qmgr has recorded
 * it; first of all, so that they speak for us if the rest fails. */
static uint32_t
slot_settle(struct delivery *d)
{
	struct intent_map *map = &d->session->w->intents;
	uint32_t slot = d->slot;
	bool delivered = false, doubt = false;

	d->slot = INTENT_NONE;
	for (uint32_t i = 0; i < d->txn.nrcpts; i++) {
		unsigned o = d->txn.rcpts[i].outcome;

		delivered = delivered || o == OUT_DELIVERED;
		doubt = doubt || o == OUT_IN_DOUBT;
	}
	if (slot != INTENT_NONE && delivered)
		intent_delivered(map, slot);
	if (delivered || doubt)
		return slot;
	intent_release(map, slot);
	return INTENT_NONE;
}

/* One that were dropped would leave its recipients in flight for good. */
static struct result *
result_new(struct worker *w, const struct ipc_result *m, struct buf *b)
{
	struct result *r;
	struct wr wr;

	buf_clear(b);
	wr_init_buf(&wr, b);
	ipc_result_encode(&wr, m);
	if (wr.failed)
		fatal("a result does not encode");
	r = malloc(sizeof(*r) + buf_len(b));
	if (r == NULL)
		mem_exhausted();
	r->seq = m->seq;
	r->n = buf_len(b);
	memcpy(r->bytes, buf_data(b), r->n);
	TAILQ_INSERT_TAIL(&w->results, r, link);
	return r;
}

static const char *
source_mta(const struct envelope *e, char *out, size_t out_size)
{
	struct str s;

	str_init(&s, out, out_size);
	str_add(&s, e->client_name.n > 0 ? e->client_name : e->helo);
	if (e->client_ip.n > 0) {
		str_adds(&s, s.n > 0 ? " (" : "(");
		str_add(&s, e->client_ip);
		str_addc(&s, ')');
	}
	return out;
}

/* What the message asked for, VMTA or pool; all of these recipients are in one
 * queue. */
static struct sv
vmta_asked(const struct delivery *d)
{
	return d->nidx == 0 ? d->env.vmta : envelope_vmta(&d->env, d->idx[0]);
}

void
result_report(struct delivery *d)
{
	struct session *s = d->session;
	struct worker *w = s->w;
	const struct envelope *e = &d->env;
	bool has_dsn = (s->client.ehlo.caps & CAP_DSN) != 0 &&
	    (s->flags & SESSION_NO_DSN) == 0;
	char src[SMTP_NAME_MAX];
	struct buf encoded;
	struct result *r;
	uint32_t slot;

	rcpts_encode(&w->scratch, &d->txn, has_dsn);
	struct ipc_result m = {
		.seq = ++w->seq,
		.session = s->id,
		.id = d->id,
		.size = d->record.head_len + d->record.body_len,
		.sender = e->sender,
		.envid = e->envid,
		.ret = (uint8_t)(e->flags & (ENV_RET_FULL | ENV_RET_HDRS)),
		.job = sv_head(e->job, 128),
		.vmta = sv_head(vmta_asked(d), 256),
		.src_type = sv_head(e->src_type, 16),
		.src_mta = sv_from(source_mta(e, src, sizeof(src))),
		.host = sv_from(s->host_name),
		.host_ip = sv_from(s->host_ip),
		.source_ip = sv_from(s->source_ip),
		.esmtp = sv_from(s->esmtp),
		.rcpts = buf_sv(&w->scratch),
	};
	buf_init(&encoded, (size_t)128 << 20);
	slot = slot_settle(d);
	r = result_new(w, &m, &encoded);
	buf_fini(&encoded);
	r->slot = slot;
	if (w->qmgr != NULL && w->synced)
		ipc_send_result(w->qmgr, &m);
	buf_clear(&w->scratch);
	buf_trim(&w->scratch, SCRATCH_KEEP);
}

void
result_ack(struct worker *w, uint64_t seq)
{
	struct result *r;

	while ((r = TAILQ_FIRST(&w->results)) != NULL && r->seq <= seq) {
		TAILQ_REMOVE(&w->results, r, link);
		intent_release(&w->intents, r->slot);
		free(r);
	}
	session_wake_slot_waiters(w);
}

/* ---- a new qmgr ---- */

/* Slots in the new file for what this result says was delivered, or is in
 * doubt. */
static uint32_t
slot_again(struct worker *w, const struct ipc_result *m)
{
	uint32_t *idx = NULL, slot;
	size_t n = 0, size = 0;
	struct rcpt_result res;
	bool delivered = false;
	struct rd rd;

	rd_init(&rd, m->rcpts.p, m->rcpts.n);
	while (rcpt_result_next(&rd, &res)) {
		if (res.outcome != OUT_DELIVERED &&
		    res.outcome != OUT_IN_DOUBT)
			continue;
		delivered = delivered || res.outcome == OUT_DELIVERED;
		if (n == size) {
			size = size == 0 ? 16 : size * 2;
			idx = reallocarray(idx, size, sizeof(*idx));
			if (idx == NULL)
				mem_exhausted();
		}
		idx[n++] = res.idx;
	}
	slot = n == 0 ? INTENT_NONE :
	    intent_take(&w->intents, m->id, idx, (uint32_t)n);
	if (slot != INTENT_NONE && delivered)
		intent_delivered(&w->intents, slot);
	free(idx);
	return slot;
}

/* Numbered anew; the old session means nothing to the new qmgr. */
static void
results_again(struct worker *w)
{
	struct result *r;

	w->seq = 0;
	TAILQ_FOREACH(r, &w->results, link) {
		struct ipc_result m = { 0 };
		struct rd rd;

		rd_init(&rd, r->bytes, r->n);
		if (!ipc_result_decode(&rd, &m))
			fatal("an own result does not decode");
		r->seq = ++w->seq;
		r->slot = slot_again(w, &m);
		m.seq = r->seq;
		m.session = 0;
		ipc_send_result(w->qmgr, &m);
	}
}

static void
resync_dotted(struct worker *w, struct delivery *d)
{
	uint32_t *idx;
	struct ipc_resync m = { .id = d->id };

	intent_write(d);
	idx = reallocarray(NULL, d->nidx + 1, sizeof(*idx));
	if (idx == NULL)
		mem_exhausted();
	m.rcpts.n = indices_of(&d->txn, false, idx);
	m.rcpts.array = idx;
	ipc_send_resync(w->qmgr, &m);
	free(idx);
}

void
resync(struct worker *w, uint32_t slots, int fd)
{
	const struct ipc_resync_end end;
	struct intent_map old = w->intents;
	struct session *s;

	/* without slots nothing can be sent, ever */
	if (intent_map_open(&w->intents, fd, slots) != 0)
		fatal_errno("cannot map the intent file");
	close(fd);
	TAILQ_FOREACH(s, &w->sessions, link)
		if (s->client.dotted != NULL)
			resync_dotted(w, s->client.dotted->owner);
	results_again(w);
	intent_map_wipe(&old);
	intent_map_close(&old);
	ipc_send_resync_end(w->qmgr, &end);
	w->synced = true;
}
