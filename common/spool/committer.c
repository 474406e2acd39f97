/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/base/msgid.h"
#include "common/spool/batch.h"
#include "common/spool/committer.h"
#include "common/sys/clock.h"
#include "common/sys/offload.h"

/*
 * A qmgr throws large files away that nobody has committed in its first hour
 * (upkeep.c): a body that was begun under the one before it must be done well
 * before that.
 */
#define LARGE_FOREIGN_MS (INT64_C(30) * 60 * 1000)

/* The next segment is asked for when this part of the current one is used. */
#define WANT_AT(size) ((size) / 4 * 3)

/* A segment that qmgr granted. It is freed when it was left and its last
 * batch is done. */
struct cseg {
	struct sio_file *file;
	uint64_t number, size;
	uint64_t next;        /* offset of the next record */
	uint64_t durable;     /* end of the last good batch */
	unsigned batches;     /* not done yet */
	bool failed;
	bool left;            /* takes no new records */
	bool foreign;         /* granted by a qmgr that is gone */
};

/* See committer_expect_set(). */
#define GATHER_US    1000
#define GATHER_RATIO 2

struct cbatch {
	struct batch batch;
	struct cseg *seg;
	struct commit_req *first, **last;
	size_t n;
	int err;              /* of batch_write() */
	uint64_t us;          /* it took */
	struct cbatch *next;
};

/* A frame that waits for credit, or for a channel. */
struct cframe {
	enum ipc_type type;   /* COMMIT or SEG_DONE */
	union {
		struct ipc_commit commit;
		struct ipc_seg_done seg_done;
	} u;
	char *env;
	struct cframe *next;
};

struct commit_large {
	uint64_t token, id;
	struct sio_file *file;   /* NULL: not granted yet */
	commit_large_fn *fn;     /* until it was called */
	void *arg;
	uint64_t length;
	uint32_t crc;
	bool failed;             /* a write failed, or no grant will come */
	unsigned epoch;          /* of the qmgr that was asked for it */
	struct commit_large *next; /* while it waits for its grant */
};

struct committer {
	struct event_base *base;
	struct event *ev_turn;
	struct chan *chan;
	struct cseg *cur, *spare;
	unsigned foreign;           /* such segments not finished */
	bool wanted;                /* a SEG_WANT is unanswered */
	struct cbatch *queue, **queue_tail; /* not begun */
	struct cbatch *queue_last;
	struct cbatch *running;     /* in the thread */
	struct commit_req *waiting, **waiting_tail; /* for a segment */
	struct commit_req *failed, **failed_tail;   /* to be told */
	struct cframe *frames, **frames_tail;
	size_t commits_waiting;     /* COMMITs among frames */
	struct commit_large *larges;/* waiting for their grant */
	uint64_t large_token;
	unsigned epoch;             /* counts the qmgrs */
	struct mono epoch_at;        /* when the last one came */
	size_t pending;
	char *refusal;              /* SPACE said so; or NULL */
	void (*on_ready)(void *arg);
	void *on_ready_arg;
	struct committer_stats stats;

	unsigned (*expect)(void *arg);
	void *expect_arg;
	struct event *ev_gather;    /* a batch has waited long enough */
	bool gathering, gathered;
	struct offload *thread;     /* runs batch_write() */
};

static void turn_end(struct committer *c);
static int batch_run(void *arg);
static void batch_start(struct committer *c);
static void on_batch_done(void *arg, int err);

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

/* ---- the thread ---- */

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

/* ---- frames to qmgr ---- */

static void
frame_free(struct cframe *f)
{
	free(f->env);
	free(f);
}

static void
frame_send(struct committer *c, const struct cframe *f)
{
	if (f->type == IPC_COMMIT)
		ipc_send_commit(c->chan, &f->u.commit);
	else
		ipc_send_seg_done(c->chan, &f->u.seg_done);
}

/* Sends waiting frames in order, as far as credit goes. */
static void
frames_drain(struct committer *c)
{
	while (c->chan != NULL && c->frames != NULL) {
		struct cframe *f = c->frames;

		if (f->type == IPC_COMMIT && !chan_credit_take(c->chan))
			return;
		/* Off the list first: sending can end the channel. */
		c->commits_waiting -= f->type == IPC_COMMIT;
		c->frames = f->next;
		if (c->frames == NULL)
			c->frames_tail = &c->frames;
		frame_send(c, f);
		frame_free(f);
	}
}

/* Sends at once or keeps a copy. */
static void
frame_out(struct committer *c, const struct cframe *frame)
{
	struct cframe *f;

	if (c->chan != NULL && c->frames == NULL &&
	    (frame->type != IPC_COMMIT || chan_credit_take(c->chan))) {
		frame_send(c, frame);
		return;
	}
	if (c->chan == NULL && frame->type == IPC_COMMIT)
		return;
	f = calloc(1, sizeof(*f));
	if (f == NULL)
		abort();
	*f = *frame;
	f->next = NULL;
	if (f->type == IPC_COMMIT) {
		f->env = sv_dup(f->u.commit.env);
		f->u.commit.env.p = f->env;
		c->commits_waiting++;
	}
	*c->frames_tail = f;
	c->frames_tail = &f->next;
}

/* Without a channel, or for a new one: the next qmgr reads the segments. */
static void
commits_forget(struct committer *c)
{
	struct cframe **at = &c->frames;

	while (*at != NULL) {
		struct cframe *f = *at;

		if (f->type == IPC_COMMIT) {
			*at = f->next;
			frame_free(f);
		} else {
			at = &f->next;
		}
	}
	c->frames_tail = at;
	c->commits_waiting = 0;
}

/* ---- segments ---- */

static void
seg_want(struct committer *c)
{
	static const struct ipc_seg_want nothing;

	if (c->chan == NULL || c->wanted || c->foreign > 0 || c->spare != NULL)
		return;
	if (c->cur != NULL && c->cur->next < WANT_AT(c->cur->size))
		return;
	c->wanted = true;
	ipc_send_seg_want(c->chan, &nothing);
}

/* Tells qmgr and forgets it, if it was left and nothing is under way. */
static void
seg_finish(struct committer *c, struct cseg *seg)
{
	struct cframe f = { .type = IPC_SEG_DONE };

	if (!seg->left || seg->batches > 0)
		return;
	f.u.seg_done = (struct ipc_seg_done){ seg->number, seg->durable };
	frame_out(c, &f);
	c->foreign -= seg->foreign;
	sio_close(&seg->file);
	free(seg);
}

static void
seg_leave(struct committer *c, struct cseg **segp)
{
	struct cseg *seg = *segp;

	*segp = NULL;
	if (seg == NULL)
		return;
	seg->left = true;
	seg_finish(c, seg);
}

static void
seg_next(struct committer *c)
{
	seg_leave(c, &c->cur);
	c->cur = c->spare;
	c->spare = NULL;
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

static void
large_free(struct commit_large *l)
{
	sio_close(&l->file);
	free(l);
}

/* The end of a request: it may be freed by its owner. */
static void
req_done(struct committer *c, struct commit_req *req,
    enum commit_result result)
{
	buf_fini(&req->head);
	if (req->large != NULL && result == COMMIT_OK) {
		large_free(req->large);
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

/* The batch that the next record of the current segment goes to. */
static struct cbatch *
batch_open(struct committer *c)
{
	struct cbatch *b = c->queue_last;

	if (c->queue != NULL && b->seg == c->cur)
		return b;
	b = calloc(1, sizeof(*b));
	if (b == NULL)
		abort();
	b->seg = c->cur;
	b->seg->batches++;
	b->last = &b->first;
	batch_init(&b->batch, b->seg->file, b->seg->next);
	*c->queue_tail = b;
	c->queue_tail = &b->next;
	c->queue_last = b;
	return b;
}

/* Gives the request the next place in the current segment and its head.
 * False: it does not fit there. */
static bool
req_place(struct committer *c, struct commit_req *req,
    struct record_parts *p_r)
{
	struct cseg *seg = c->cur;

	req->segment = seg->number;
	req->offset = seg->next;
	req->id = msgid_make(seg->number, seg->next);
	buf_clear(&req->head);
	req->result = COMMIT_OK;
	if (req->make_head != NULL &&
	    req->make_head(req, req->id, &req->head, req->arg) != 0)
		req->result = COMMIT_TOO_LARGE;
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
		seg_next(c);
	if (c->cur == NULL)
		return false;
	if (req->result != COMMIT_OK) {
		req_fail_later(c, req, req->result);
		return true;
	}
	b = batch_open(c);
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

/* Its file is there and will stay. */
static bool
large_is_good(const struct committer *c, const struct commit_large *l)
{
	if (l->file == NULL || l->failed)
		return false;
	return l->epoch == c->epoch || (l->epoch + 1 == c->epoch &&
	    mono_diff_ms(clock_mono(), c->epoch_at) < LARGE_FOREIGN_MS);
}

void
committer_submit(struct committer *c, struct commit_req *req)
{
	c->pending++;
	buf_init(&req->head, RECORD_HEAD_MAX);
	if (c->refusal != NULL)
		req_fail_later(c, req, COMMIT_NO_SPACE);
	else if (req->large != NULL && !large_is_good(c, req->large))
		req_fail_later(c, req, COMMIT_IO_ERROR);
	else if (c->waiting != NULL || !req_enqueue(c, req))
		req_append(&c->waiting_tail, req);
	event_active(c->ev_turn, EV_TIMEOUT, 0);
}

/* ---- batches ---- */

/* More messages are about to come than are worth a sync without them. */
static bool
batch_gathers(struct committer *c, const struct cbatch *b)
{
	static const struct timeval most = { .tv_usec = GATHER_US };

	if (c->expect == NULL || c->gathered || b->next != NULL ||
	    b->n >= GATHER_RATIO * c->expect(c->expect_arg))
		return false;
	if (!c->gathering)
		event_add(c->ev_gather, &most);
	c->gathering = true;
	return true;
}

static void
on_gathered(evutil_socket_t fd, short what, void *arg)
{
	struct committer *c = arg;

	(void)fd;
	(void)what;
	c->gathering = false;
	c->gathered = true;
	batch_start(c);
}

static void
batch_start(struct committer *c)
{
	struct cbatch *b = c->queue;

	if (c->running != NULL || b == NULL || batch_gathers(c, b))
		return;
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
	frame_out(c, &f);
}

static void
batch_free(struct committer *c, struct cbatch *b)
{
	struct cseg *seg = b->seg;

	batch_fini(&b->batch);
	free(b);
	seg->batches--;
	seg_finish(c, seg);
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
		req_done(c, req, result);
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
		batch_start(c); /* the disk first, then the answers */
		batch_end(c, b, result);
		return;
	}
	seg->failed = true;
	seg->batches++;
	if (c->cur == seg)
		seg_next(c);
	batch_end(c, b, result);
	queue_fail(c, seg, result);
	seg->batches--;
	seg_finish(c, seg);
	batch_start(c);
}

static void
on_batch_done(void *arg, int err)
{
	struct committer *c = arg;

	(void)err; /* the batch has it */
	batch_complete(c);
	turn_end(c);
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
		req_done(c, req, req->result);
	}
}

static void
larges_tell(struct committer *c)
{
	struct commit_large **at = &c->larges, *gone = NULL, *l;

	while ((l = *at) != NULL) {
		if (l->failed) {
			*at = l->next;
			l->next = gone;
			gone = l;
		} else {
			at = &l->next;
		}
	}
	for (; (l = gone) != NULL;) {
		gone = l->next;
		l->fn(l, false, l->arg);
		large_free(l);
	}
}

static void
turn_end(struct committer *c)
{
	waiting_enqueue(c);
	batch_start(c);
	failed_tell(c);
	larges_tell(c);
	seg_want(c);
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
	turn_end(arg);
}

/* ---- life ---- */

struct committer *
committer_new(struct event_base *base)
{
	struct committer *c = calloc(1, sizeof(*c));

	if (c == NULL)
		abort();
	c->base = base;
	c->queue_tail = &c->queue;
	c->waiting_tail = &c->waiting;
	c->failed_tail = &c->failed;
	c->frames_tail = &c->frames;
	c->ev_turn = event_new(base, -1, 0, on_turn, c);
	c->ev_gather = event_new(base, -1, 0, on_gathered, c);
	if (c->ev_turn == NULL || c->ev_gather == NULL)
		abort();
	c->thread = offload_new(base);
	return c;
}

static void
all_fail(struct committer *c)
{
	while (c->queue != NULL) {
		struct cbatch *b = c->queue;

		c->queue = b->next;
		batch_end(c, b, COMMIT_SHUTDOWN);
	}
	while (c->waiting != NULL) {
		struct commit_req *req = c->waiting;

		c->waiting = req->next;
		req_done(c, req, COMMIT_SHUTDOWN);
	}
	failed_tell(c);
}

void
committer_free(struct committer **cp)
{
	struct committer *c = *cp;
	struct cbatch *b;

	*cp = NULL;
	if (c == NULL)
		return;
	b = c->running;
	offload_free(&c->thread);
	if (b != NULL) {
		c->running = NULL;
		batch_end(c, b, b->err == 0 ? COMMIT_OK : COMMIT_IO_ERROR);
	}
	all_fail(c);
	for (struct commit_large *l = c->larges; l != NULL; l = l->next)
		l->failed = true;
	larges_tell(c);
	seg_leave(c, &c->cur);
	seg_leave(c, &c->spare);
	while (c->frames != NULL) {
		struct cframe *f = c->frames;

		c->frames = f->next;
		frame_free(f);
	}
	event_free(c->ev_turn);
	event_free(c->ev_gather);
	free(c->refusal);
	free(c);
}

/* ---- the channel ---- */

static void
foreign_leave(struct committer *c, struct cseg **segp)
{
	if (*segp == NULL)
		return;
	c->foreign += !(*segp)->foreign;
	(*segp)->foreign = true;
	seg_leave(c, segp);
}

/* Segments that were left earlier but have batches under way. */
static void
foreign_mark(struct committer *c, struct cbatch *b)
{
	for (; b != NULL; b = b->next) {
		if (!b->seg->foreign) {
			b->seg->foreign = true;
			c->foreign++;
		}
	}
}

void
committer_chan_set(struct committer *c, struct chan *ch)
{
	if (c == NULL || ch == c->chan)
		return;
	c->chan = ch;
	c->wanted = false;
	commits_forget(c);
	for (struct commit_large *l = c->larges; l != NULL; l = l->next)
		l->failed = true;
	if (ch != NULL) {
		c->epoch++;
		c->epoch_at = clock_mono();
		foreign_mark(c, c->running);
		foreign_mark(c, c->queue);
		frames_drain(c);
		foreign_leave(c, &c->cur);
		foreign_leave(c, &c->spare);
	}
	free(c->refusal); /* the new qmgr will say so again */
	c->refusal = NULL;
	event_active(c->ev_turn, EV_TIMEOUT, 0);
}

void
committer_on_seg_grant(struct committer *c, struct chan *ch,
    const struct ipc_seg_grant *m)
{
	struct cseg *seg;
	int fd;

	if (c == NULL)
		return;
	seg = calloc(1, sizeof(*seg));
	fd = chan_take_fd(ch);
	if (seg == NULL || (seg->file = sio_wrap(fd)) == NULL)
		abort();
	seg->number = m->segment;
	seg->size = m->size;
	seg->next = seg->durable = m->offset;
	c->wanted = false;
	if (c->cur == NULL)
		c->cur = seg;
	else if (c->spare == NULL)
		c->spare = seg;
	else
		seg_leave(c, &seg);
	event_active(c->ev_turn, EV_TIMEOUT, 0);
}

void
committer_on_space(struct committer *c, const struct ipc_space *m)
{
	if (c == NULL)
		return;
	free(c->refusal);
	c->refusal = m->open ? NULL : sv_dup(m->reason);
	event_active(c->ev_turn, EV_TIMEOUT, 0);
}

void
committer_on_credit(struct committer *c)
{
	if (c == NULL)
		return;
	frames_drain(c);
	event_active(c->ev_turn, EV_TIMEOUT, 0);
}

bool
committer_can_accept(const struct committer *c)
{
	return c->refusal == NULL && c->commits_waiting == 0 &&
	    c->waiting == NULL && (c->cur != NULL || c->spare != NULL);
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

/* ---- large bodies ---- */

struct commit_large *
committer_large_open(struct committer *c, commit_large_fn *fn, void *arg)
{
	struct commit_large *l;

	if (c->chan == NULL || c->refusal != NULL)
		return NULL;
	l = calloc(1, sizeof(*l));
	if (l == NULL)
		return NULL;
	l->token = ++c->large_token;
	l->epoch = c->epoch;
	l->fn = fn;
	l->arg = arg;
	l->next = c->larges;
	c->larges = l;
	ipc_send_large_want(c->chan, &(struct ipc_large_want){ l->token });
	return l;
}

void
committer_on_large_grant(struct committer *c, struct chan *ch,
    const struct ipc_large_grant *m)
{
	struct commit_large **at, *l;

	if (c == NULL)
		return;
	at = &c->larges;
	while (*at != NULL && (*at)->token != m->token)
		at = &(*at)->next;
	l = *at;
	if (l == NULL) { /* dropped meanwhile */
		ipc_send_large_drop(ch,
		    &(struct ipc_large_drop){ m->large_id });
		return;
	}
	*at = l->next;
	l->id = m->large_id;
	l->file = sio_wrap(chan_take_fd(ch));
	if (l->file == NULL)
		abort();
	l->fn(l, true, l->arg);
}

int
commit_large_write(struct commit_large *l, const void *p, size_t n)
{
	if (l->failed || sio_pwrite(l->file, p, n, l->length) != 0) {
		l->failed = true;
		return -1;
	}
	l->crc = record_large_crc(l->id, l->crc, l->length, p, n);
	l->length += n;
	return 0;
}

uint64_t
commit_large_length(const struct commit_large *l)
{
	return l->length;
}

void
committer_large_drop(struct committer *c, struct commit_large **lp)
{
	struct commit_large **at = &c->larges, *l = *lp;

	*lp = NULL;
	if (l == NULL)
		return;
	while (*at != NULL && *at != l)
		at = &(*at)->next;
	if (*at == l)
		*at = l->next;
	else if (c->chan != NULL)
		ipc_send_large_drop(c->chan, &(struct ipc_large_drop){ l->id });
	large_free(l);
}
