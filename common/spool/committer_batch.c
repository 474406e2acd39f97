/* SPDX-License-Identifier: ISC */
/* Batches: gathered in the loop, written and synced in the thread, one at a
 * time; then everyone in them is told. */
#include <errno.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/spool/committer_private.h"

/* See committer_expect_set(). */
#define GATHER_US    1000
#define GATHER_RATIO 2
/* Who is expected may never come: a crowd of idle transactions. After a wait
 * in which a batch did not double, so many batches do not wait, twice as many
 * after the next vain one. */
#define GATHER_SKIP_MAX 64u

static int
batch_run(void *arg)
{
	struct committer *c = arg;
	struct cbatch *b = c->running;
	struct mono start = clock_mono();

	b->err = batch_write(&b->batch);
	b->us = (uint64_t)(clock_mono().us - start.us);
	return b->err;
}

struct cbatch *
committer_batch_open(struct committer *c)
{
	struct cbatch *b = c->queue_last;

	if (c->queue != NULL && b->seg == c->cur)
		return b;
	b = calloc(1, sizeof(*b));
	if (b == NULL) /* GCOVR_EXCL_BR_LINE: memory */
		mem_exhausted();
	b->seg = c->cur;
	b->seg->batches++;
	b->last = &b->first;
	batch_init(&b->batch, b->seg->file, b->seg->next);
	*c->queue_tail = b;
	c->queue_tail = &b->next;
	c->queue_last = b;
	return b;
}

/* More messages are about to come than are worth a sync without them. */
static bool
batch_gathers(struct committer *c, const struct cbatch *b)
{
	static const struct timeval most = { .tv_usec = GATHER_US };

	if (c->expect == NULL || c->gathered || b->next != NULL ||
	    c->gather_skip > 0 ||
	    b->n >= GATHER_RATIO * c->expect(c->expect_arg))
		return false;
	if (!c->gathering) {
		event_add(c->ev_gather, &most);
		c->gather_from = b->n;
	}
	c->gathering = true;
	return true;
}

/* A wait is over, or none was made: what the next ones do. */
static void
gather_learn(struct committer *c, const struct cbatch *b)
{
	if (!c->gathering && !c->gathered) {
		if (c->gather_skip > 0)
			c->gather_skip--;
		return;
	}
	if (b->n >= 2 * c->gather_from) {
		c->gather_vain = 0;
		return;
	}
	c->gather_vain = c->gather_vain == 0 ? 1 : 2 * c->gather_vain;
	if (c->gather_vain > GATHER_SKIP_MAX)
		c->gather_vain = GATHER_SKIP_MAX;
	c->gather_skip = c->gather_vain;
}

void
committer_on_gathered(evutil_socket_t fd, short what, void *arg)
{
	struct committer *c = arg;

	(void)fd;
	(void)what;
	c->gathering = false;
	c->gathered = true;
	committer_batch_start(c);
}

static void
commit_send(struct committer *c, const struct commit_req *req)
{
	struct cframe f = { .type = IPC_COMMIT };

	f.u.commit = (struct ipc_commit){
		.id = req->id,
		.segment = req->segment,
		.offset = req->offset,
		.length = req->length,
		.body_len = req->body_len,
		.large_id = req->large != NULL ? req->large->id : 0,
		.arrival_us = req->arrival_us,
		.env = req->env,
	};
	committer_frame_out(c, &f);
}

static void
batch_free(struct committer *c, struct cbatch *b)
{
	struct cseg *seg = b->seg;

	batch_fini(&b->batch);
	free(b);
	seg->batches--;
	committer_seg_finish(c, seg);
}

/* The end of a batch, with every request told. */
static void
batch_end(struct committer *c, struct cbatch *b, enum commit_result result)
{
	struct commit_req *req = b->first, *next;
	bool tell = c->chan != NULL && !b->seg->foreign;

	if (result == COMMIT_OK) {
		b->seg->durable = b->batch.end;
		for (; tell && req != NULL; req = req->next)
			commit_send(c, req);
	}
	b->seg->batches++; /* the callbacks may leave the segment */
	for (req = b->first; req != NULL; req = next) {
		next = req->next;
		committer_req_done(c, req, result);
	}
	b->seg->batches--;
	batch_free(c, b);
}

/* What is queued for a failed segment goes with it. */
static void
queue_fail(struct committer *c, const struct cseg *seg,
    enum commit_result result)
{
	struct cbatch *list = c->queue, *b, *gone = NULL, **gone_tail = &gone;

	c->queue = NULL;
	c->queue_tail = &c->queue;
	c->queue_last = NULL;
	for (b = list; b != NULL; b = list) {
		list = b->next;
		b->next = NULL;
		if (b->seg == seg) {
			*gone_tail = b;
			gone_tail = &b->next;
		} else {
			*c->queue_tail = b;
			c->queue_tail = &b->next;
			c->queue_last = b;
		}
	}
	for (b = gone; b != NULL; b = gone) {
		gone = b->next;
		batch_end(c, b, result);
	}
}

static void
stats_add(struct committer_stats *s, const struct cbatch *b)
{
	s->batches++;
	s->records += b->n;
	s->bytes += b->batch.end - b->batch.offset;
	s->syncs++;
	s->large_syncs += b->batch.nlarges;
	s->failures += b->err != 0;
	s->sync_us += b->us;
	if (b->n > s->batch_max)
		s->batch_max = b->n;
	if (b->us > s->sync_max_us)
		s->sync_max_us = b->us;
}

static void
batch_complete(struct committer *c)
{
	struct cbatch *b = c->running;
	struct cseg *seg = b->seg;
	enum commit_result result = COMMIT_OK;

	c->running = NULL;
	stats_add(&c->stats, b);
	if (b->err == ENOSPC || b->err == EDQUOT)
		result = COMMIT_NO_SPACE;
	else if (b->err != 0)
		result = COMMIT_IO_ERROR;
	if (result == COMMIT_OK) {
		committer_batch_start(c); /* the disk first, then the answers */
		batch_end(c, b, result);
		return;
	}
	seg->batches++;
	if (c->cur == seg)
		committer_seg_next(c);
	/* Before the LARGE_DROPs of its requests: until qmgr has logged its
	 * end, a record in it may be found, and wants its body. */
	committer_seg_tell(c, seg);
	batch_end(c, b, result);
	queue_fail(c, seg, result);
	seg->batches--;
	committer_seg_finish(c, seg);
	committer_batch_start(c);
}

static void
on_batch_done(void *arg, int err)
{
	struct committer *c = arg;

	(void)err; /* the batch has it */
	batch_complete(c);
	committer_turn_end(c);
}

void
committer_batch_start(struct committer *c)
{
	struct cbatch *b = c->queue;

	if (c->running != NULL || b == NULL || batch_gathers(c, b))
		return;
	gather_learn(c, b);
	if (c->gathering)
		event_del(c->ev_gather);
	c->gathering = c->gathered = false;
	c->queue = b->next;
	if (c->queue == NULL) {
		c->queue_tail = &c->queue;
		c->queue_last = NULL;
	}
	b->next = NULL;
	c->running = b;
	offload_start(c->thread, batch_run, on_batch_done, c);
}

void
committer_batches_end(struct committer *c)
{
	struct cbatch *b = c->running;

	if (b != NULL) {
		c->running = NULL;
		if (b->err != 0)
			committer_seg_tell(c, b->seg); /* as always, first */
		batch_end(c, b, b->err == 0 ? COMMIT_OK : COMMIT_IO_ERROR);
	}
	while (c->queue != NULL) {
		b = c->queue;
		c->queue = b->next;
		batch_end(c, b, COMMIT_SHUTDOWN);
	}
}
