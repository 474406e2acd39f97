/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/msgid.h"
#include "common/spool/committer_private.h"

static const char *const texts[COMMIT_RESULTS] = {
	[COMMIT_OK] = "",
	[COMMIT_NO_SPACE] = "452 4.3.1 Insufficient system storage",
	[COMMIT_IO_ERROR] = "451 4.3.0 Temporary error in the mail spool",
	[COMMIT_TOO_LARGE] = "552 5.3.4 Message exceeds a size limit",
	[COMMIT_SHUTDOWN] = "421 4.3.2 Service is closing down",
};

const char *
commit_result_text(enum commit_result r)
{
	return texts[r];
}

/* ---- requests ---- */

static void
req_append(struct commit_req ***tail, struct commit_req *req)
{
	req->next = NULL;
	**tail = req;
	*tail = &req->next;
}

static void
req_fail_later(struct committer *c, struct commit_req *req,
    enum commit_result result)
{
	req->result = result;
	req_append(&c->failed_tail, req);
}

void
committer_req_done(struct committer *c, struct commit_req *req,
    enum commit_result result)
{
	buf_fini(&req->head);
	if (req->large != NULL && result == COMMIT_OK) {
		committer_large_free(req->large);
		req->large = NULL;
	} else if (req->large != NULL) {
		committer_large_drop(c, &req->large);
	}
	c->pending--;
	req->done(req, result, result == COMMIT_OK ? req->id : 0, req->arg);
}

static void
parts_of(const struct commit_req *req, struct record_parts *p)
{
	*p = (struct record_parts){
		.flags = req->flags,
		.id = req->id,
		.segment = req->segment,
		.arrival_us = req->arrival_us,
		.env = req->env,
		.head = buf_sv(&req->head),
		.body = req->body,
		.nbody = req->nbody,
	};
	if (req->large != NULL) {
		p->large_id = req->large->id;
		p->large_len = req->large->length;
		p->large_crc = req->large->crc;
		if (p->large_len == 0)
			p->large_crc = record_large_crc(p->large_id, 0, 0, "",
			    0);
	}
}

/* Gives the request the next place in the current segment and its head.
 * False: it does not fit there. */
static bool
req_place(struct committer *c, struct commit_req *req,
    struct record_parts *p_r)
{
	unsigned failures = mem_failures();
	struct cseg *seg = c->cur;

	req->segment = seg->number;
	req->offset = seg->next;
	req->id = msgid_make(seg->number, seg->next);
	buf_clear(&req->head);
	req->result = COMMIT_OK;
	if (req->make_head != NULL &&
	    req->make_head(req, req->id, &req->head, req->arg) != 0)
		req->result = mem_failures() != failures ? COMMIT_IO_ERROR :
		    COMMIT_TOO_LARGE;
	parts_of(req, p_r);
	req->length = record_length(p_r);
	if (req->length == 0)
		req->result = COMMIT_TOO_LARGE;
	return req->result != COMMIT_OK ||
	    req->length <= seg->size - seg->next;
}

static uint64_t
inline_len(const struct commit_req *req)
{
	uint64_t n = 0;

	for (size_t i = 0; i < req->nbody; i++)
		n += req->body[i].iov_len;
	return n;
}

/* Puts the request into a batch. False: there is no segment now. */
static bool
req_enqueue(struct committer *c, struct commit_req *req)
{
	struct record_parts p;
	struct cbatch *b;

	while (c->cur != NULL && !req_place(c, req, &p))
		committer_seg_next(c);
	if (c->cur == NULL)
		return false;
	if (req->result != COMMIT_OK) {
		req_fail_later(c, req, req->result);
		return true;
	}
	b = committer_batch_open(c);
	batch_add(&b->batch, &p, req->header);
	if (req->large != NULL)
		batch_large(&b->batch, req->large->file);
	req->body_len = req->large != NULL ? req->large->length :
	    inline_len(req);
	c->cur->next += req->length;
	req_append(&b->last, req);
	b->n++;
	return true;
}

static void
waiting_enqueue(struct committer *c)
{
	while (c->waiting != NULL) {
		struct commit_req *req = c->waiting, *next = req->next;

		if (!req_enqueue(c, req))
			return;
		c->waiting = next;
		if (next == NULL)
			c->waiting_tail = &c->waiting;
	}
}

void
committer_submit(struct committer *c, struct commit_req *req)
{
	c->pending++;
	buf_init(&req->head, RECORD_HEAD_MAX);
	if (c->refusal != NULL)
		req_fail_later(c, req, COMMIT_NO_SPACE);
	else if (req->large != NULL && !committer_large_is_good(c, req->large))
		req_fail_later(c, req, COMMIT_IO_ERROR);
	else if (c->waiting != NULL || !req_enqueue(c, req))
		req_append(&c->waiting_tail, req);
	event_active(c->ev_turn, EV_TIMEOUT, 0);
}

/* ---- the end of a turn ---- */

static void
failed_tell(struct committer *c)
{
	struct commit_req *req = c->failed, *next;

	c->failed = NULL;
	c->failed_tail = &c->failed;
	for (; req != NULL; req = next) {
		next = req->next;
		committer_req_done(c, req, req->result);
	}
}

void
committer_turn_end(struct committer *c)
{
	waiting_enqueue(c);
	committer_batch_start(c);
	failed_tell(c);
	committer_larges_tell(c);
	committer_seg_want(c);
	/* not only when it was false at the last turn's end: it may have been
	 * so meanwhile, and somebody waits */
	if (c->on_ready != NULL && committer_can_accept(c))
		c->on_ready(c->on_ready_arg);
}

static void
on_turn(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	committer_turn_end(arg);
}

/* ---- life ---- */

struct committer *
committer_new(struct event_base *base)
{
	struct committer *c = calloc(1, sizeof(*c));

	if (c == NULL) /* GCOVR_EXCL_BR_LINE: memory */
		mem_exhausted();
	c->base = base;
	c->queue_tail = &c->queue;
	c->waiting_tail = &c->waiting;
	c->failed_tail = &c->failed;
	c->frames_tail = &c->frames;
	c->ev_turn = event_new(base, -1, 0, on_turn, c);
	c->ev_gather = event_new(base, -1, 0, committer_on_gathered, c);
	if (c->ev_turn == NULL || /* GCOVR_EXCL_BR_LINE: memory */
	    c->ev_gather == NULL) /* GCOVR_EXCL_BR_LINE: memory */
		mem_exhausted();
	c->thread = offload_new(base);
	return c;
}

static void
waiting_fail(struct committer *c)
{
	while (c->waiting != NULL) {
		struct commit_req *req = c->waiting;

		c->waiting = req->next;
		committer_req_done(c, req, COMMIT_SHUTDOWN);
	}
}

void
committer_free(struct committer **cp)
{
	struct committer *c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	offload_free(&c->thread);
	committer_batches_end(c);
	waiting_fail(c);
	failed_tell(c);
	committer_larges_fail(c);
	committer_larges_tell(c);
	committer_seg_leave(c, &c->cur);
	committer_seg_leave(c, &c->spare);
	committer_frames_free(c);
	event_free(c->ev_turn);
	event_free(c->ev_gather);
	free(c->refusal);
	free(c);
}

/* ---- the channel ---- */

void
committer_chan_set(struct committer *c, struct chan *ch)
{
	if (c == NULL || ch == c->chan)
		return;
	c->chan = ch;
	c->wanted = false;
	committer_commits_forget(c);
	committer_larges_fail(c);
	if (ch != NULL) {
		c->epoch++;
		c->epoch_at = clock_mono();
		committer_segs_foreign_mark(c);
		committer_frames_drain(c);
		committer_segs_foreign_leave(c);
	}
	free(c->refusal); /* the new qmgr will say so again */
	c->refusal = NULL;
	event_active(c->ev_turn, EV_TIMEOUT, 0);
}

/* For a segment that may not come for hours: nobody waits that long for an
 * answer. */
static void
waiting_refuse(struct committer *c)
{
	while (c->waiting != NULL) {
		struct commit_req *req = c->waiting;

		c->waiting = req->next;
		req_fail_later(c, req, COMMIT_NO_SPACE);
	}
	c->waiting_tail = &c->waiting;
}

void
committer_on_space(struct committer *c, const struct ipc_space *m)
{
	if (c == NULL)
		return;
	if (!m->open)
		waiting_refuse(c);
	free(c->refusal);
	c->refusal = m->open ? NULL : sv_dup(m->reason);
	event_active(c->ev_turn, EV_TIMEOUT, 0);
}

void
committer_on_credit(struct committer *c)
{
	if (c == NULL)
		return;
	committer_frames_drain(c);
	event_active(c->ev_turn, EV_TIMEOUT, 0);
}

bool
committer_can_accept(const struct committer *c)
{
	return c->refusal == NULL && c->commits_waiting == 0 &&
	    c->waiting == NULL && c->cur != NULL;
}

struct sv
committer_refusal(const struct committer *c)
{
	return sv_from(c->refusal);
}

void
committer_expect_set(struct committer *c, unsigned (*fn)(void *arg),
    void *arg)
{
	c->expect = fn;
	c->expect_arg = arg;
}

void
committer_on_ready_set(struct committer *c, void (*fn)(void *arg), void *arg)
{
	c->on_ready = fn;
	c->on_ready_arg = arg;
}

size_t
committer_pending(const struct committer *c)
{
	return c->pending;
}

void
committer_stats(const struct committer *c, struct committer_stats *s_r)
{
	*s_r = c->stats;
}
