/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "bounce/engine.h"
#include "common/base/mem.h"
#include "common/base/msgid.h"
#include "common/base/str.h"
#include "common/ipc/role.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"

#define OFFSET_NAME "bounce"
#define POISON_NAME "bounce.suspects"
#define GATHER_MS   100    /* failures of so long make one DSN per message */
#define RETRY_MS    5000   /* after a failure */
#define SAVE_MS     5000   /* a restart reads at most so much again */
#define RUN_EVENTS  2000   /* per turn of the loop */
#define BURST_US    (100 * US_PER_MS) /* of max-dsn-rate, as of all rates */
#define BODY_LOOK   (DSN_RETURN_MAX + 1) /* of a large body */

static void
work_in(struct engine *e, int64_t ms)
{
	struct mono due = mono_add_ms(clock_mono(), ms);
	struct timeval tv = {
		.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000 * 1000),
	};

	if (e->scheduled && mono_diff_ms(e->due, due) <= 0)
		return;
	e->scheduled = true;
	e->due = due;
	event_add(e->work, &tv);
}

static void
failed(struct engine *e, const char *what)
{
	if (!e->failing)
		log_warn_errno("%s: trying again every few seconds", what);
	e->failing = true;
	work_in(e, RETRY_MS);
}

/* ---- the place in the log ---- */

/* Everything before this is finished. */
static struct evlog_pos
finished(const struct engine *e)
{
	const struct job *first = TAILQ_FIRST(&e->jobs);

	return first != NULL ? first->first :
	    evlog_reader_position(e->reader);
}

static void
tell(struct engine *e)
{
	if (e->qmgr == NULL || e->saved.file == 0 ||
	    evlog_pos_cmp(e->saved, e->told) == 0)
		return;
	ipc_send_reader_at(e->qmgr, &(struct ipc_reader_at){
	    .file = e->saved.file, .offset = e->saved.offset });
	e->told = e->saved;
}

/* Stores the place if it is another one and the last time is long ago. */
static void
save(struct engine *e, bool now)
{
	struct evlog_pos at;

	if (e->reader == NULL)
		return;
	at = finished(e);
	if (at.file == 0 || evlog_pos_cmp(at, e->saved) == 0)
		return;
	/* the first place in a file is told at once: qmgr keeps those before
	 * it until then */
	if (!now && e->saved.file == at.file &&
	    mono_diff_ms(clock_mono(), e->saved_at) < SAVE_MS) {
		work_in(e, SAVE_MS);
		return;
	}
	e->saved_at = clock_mono();
	if (offset_save(&e->store, at, SV("")) != 0) {
		failed(e, "the offset cannot be stored");
		return;
	}
	e->saved = at;
	tell(e);
}

static bool
reader_open(struct engine *e)
{
	struct buf none;
	int got;

	buf_init(&none, OFFSET_SLOT_SIZE);
	got = offset_open(&e->store, e->offsets, OFFSET_NAME, &e->saved,
	    &none);
	buf_fini(&none);
	if (got != 0)
		return false;
	e->reader = evlog_reader_open(e->events, "", e->saved);
	if (e->reader == NULL)
		offset_close(&e->store);
	return e->reader != NULL;
}

/* ---- asking qmgr ---- */

/* max-dsn-rate: true if it is the turn of one more, else comes back then. */
static bool
rate_take(struct engine *e)
{
	const struct conf_rate *rate = &conf_global(e->conf)->max_dsn_rate;
	int64_t now = clock_mono().us;

	if (rate->period_ms == 0 || rate->n == 0)
		return true;
	if (e->dsn_next.us < now - BURST_US)
		e->dsn_next.us = now - BURST_US;
	if (e->dsn_next.us > now) {
		work_in(e, (e->dsn_next.us - now) / US_PER_MS + 1);
		return false;
	}
	e->dsn_next.us += (int64_t)((uint64_t)rate->period_ms * US_PER_MS /
	    rate->n);
	return true;
}

static void
job_ask(struct engine *e, struct job *j)
{
	int64_t wait = j->why_none != NULL ? 0 :
	    mono_diff_ms(j->retry_at, clock_mono());
	uint32_t list[JOB_RCPTS_MAX];

	/* said again: an earlier turn has taken the place of that one */
	if (wait > 0)
		work_in(e, wait + 1);
	if (wait > 0 || e->qmgr == NULL || (j->why_none == NULL &&
	    (!committer_can_accept(e->committer) || !rate_take(e))))
		return;
	for (uint32_t i = 0; i < j->nrcpts; i++)
		list[i] = j->rcpts[i].idx;
	j->token = ++e->next_token;
	j->state = JOB_ASKED;
	ipc_send_bounce_take(e->qmgr, &(struct ipc_bounce_take){
	    .token = j->token, .id = j->id,
	    .rcpts = { .array = list, .n = j->nrcpts },
	    .delayed = j->delayed });
}

static void
job_end(struct engine *e, struct job *j)
{
	TAILQ_REMOVE(&e->jobs, j, link);
	e->njobs--;
	job_free(&j);
	work_in(e, 0);
}

/* Those that GO named get no DSN. qmgr may die with our word unread, and they
 * would wait for ever: so it is asked again, until it names nobody. */
static void
job_drop(struct engine *e, struct job *j, const char *why)
{
	uint32_t list[JOB_RCPTS_MAX], n = 0;
	char mem[MSGID_TEXT];

	for (uint32_t i = 0; i < j->nrcpts; i++) {
		if (j->rcpts[i].wanted)
			list[n++] = j->rcpts[i].idx;
	}
	log_info("%s: no DSN: %s", msgid_format(j->id, mem), why);
	if (j->delayed) { /* they wait for something else */
		job_end(e, j);
		return;
	}
	if (e->qmgr != NULL && n > 0)
		ipc_send_bounce_drop(e->qmgr, &(struct ipc_bounce_drop){
		    .id = j->id, .rcpts = { .array = list, .n = n },
		    .reason = sv_from(why) });
	j->why_none = why;
	j->state = JOB_READY;
	work_in(e, 0);
}

/* ---- reading the log ---- */

static struct job *
job_gathering(struct engine *e, uint64_t id, bool delayed)
{
	struct job *j;

	TAILQ_FOREACH_REVERSE(j, &e->jobs, job_list, link) {
		if (j->id == id && j->delayed == delayed &&
		    j->state == JOB_GATHERING)
			return j;
	}
	return NULL;
}

static void
job_insert(struct engine *e, struct job *j)
{
	j->engine = e;
	TAILQ_INSERT_TAIL(&e->jobs, j, link);
	e->njobs++;
}

/* A recipient that gets no DSN, whatever else the event says. */
static void
none_take(struct engine *e, const struct evlog_record *ev, const char *why)
{
	struct ev_attempt a = { .id = ev->any.attempt.id,
		.rcpt_idx = ev->any.attempt.rcpt_idx };
	struct job *j = job_new(&a, ev->at);

	(void)job_add(j, &a, (struct wall){ 0 });
	j->why_none = why;
	j->state = JOB_READY;
	job_insert(e, j);
}

static void
facts_take(struct engine *e, const struct ev_attempt *a,
    const struct evlog_record *ev, struct wall retry_until)
{
	struct job *j = job_gathering(e, a->id, a->action == ACT_DEFERRED);

	if (j != NULL && job_add(j, a, retry_until))
		return;
	if (j != NULL)
		j->state = JOB_READY;
	j = job_new(a, ev->at);
	if (ev->type == EV_DELAYED)
		j->said_us = ev->any.delayed.time_us;
	(void)job_add(j, a, retry_until);
	job_insert(e, j);
}

static bool
is_for_us(const struct evlog_record *ev)
{
	return ev->type == EV_DELAYED ||
	    (ev->type == EV_ATTEMPT && ev->any.attempt.wants_dsn != 0 &&
	    ev->any.attempt.action != ACT_DEFERRED);
}

static void
event_take(struct engine *e, const struct evlog_record *ev)
{
	struct wall until = { 0 };
	struct ev_attempt a;

	if (!is_for_us(ev))
		return;
	if (ev->type == EV_DELAYED) {
		a = job_delayed(&ev->any.delayed);
		until.us = (int64_t)ev->any.delayed.until_us;
	} else {
		a = ev->any.attempt;
	}
	if (job_is_for(&a))
		facts_take(e, &a, ev, until);
	else if (ev->type == EV_ATTEMPT)
		none_take(e, ev, "the sender wants none");
}

/* As event_take(), but for what two lives have ended on. */
static void
event_see(struct engine *e, const struct evlog_record *ev)
{
	if (poison_is(&e->poison, POISON_EVENT, ev->at.file, ev->at.offset)) {
		log_warn("the event %s at %llu:%llu is left out: bounce "
		    "crashes on it", ev_name(ev->type),
		    (unsigned long long)ev->at.file,
		    (unsigned long long)ev->at.offset);
		if (ev->type == EV_ATTEMPT && is_for_us(ev))
			none_take(e, ev, "bounce crashes on it");
		return;
	}
	poison_mark(&e->poison, POISON_EVENT, ev->at.file, ev->at.offset);
	event_take(e, ev);
	poison_clear(&e->poison);
}

static size_t
bytes_held(const struct engine *e)
{
	const struct job *j;
	size_t n = 0;

	TAILQ_FOREACH(j, &e->jobs, link)
		n += job_bytes(j);
	return n;
}

enum read_end {
	READ_ALL,   /* up to the limit, or nothing can be read now */
	READ_MORE,  /* there is more */
	READ_FULL,  /* there may be more; jobs must end first */
};

static enum read_end
log_read(struct engine *e)
{
	size_t bytes = bytes_held(e);

	for (unsigned i = 0; i < RUN_EVENTS; i++) {
		struct evlog_record ev;

		if (e->njobs > ENGINE_JOBS_MAX || bytes > ENGINE_BYTES_MAX)
			return READ_FULL;
		switch (evlog_reader_next(e->reader, e->limit, &ev)) {
		case EVLOG_RECORD:
			event_see(e, &ev);
			if (is_for_us(&ev))
				bytes += (size_t)(ev.next.offset -
				    ev.at.offset);
			break;
		case EVLOG_END:
			return READ_ALL;
		case EVLOG_MISSING:
		case EVLOG_DAMAGED:
			log_warn("a part of the event log is missing or "
			    "damaged: going on behind it");
			break;
		case EVLOG_ERROR:
			failed(e, "the event log cannot be read");
			return READ_ALL;
		}
	}
	return READ_MORE;
}

/* The newest one may get more recipients if there is more to read. */
static void
jobs_ask(struct engine *e, enum read_end end)
{
	struct job *j;

	TAILQ_FOREACH(j, &e->jobs, link) {
		if (j->state == JOB_GATHERING &&
		    (end == READ_ALL || TAILQ_NEXT(j, link) != NULL))
			j->state = JOB_READY;
		if (j->state == JOB_READY)
			job_ask(e, j);
	}
}

static void
on_work(evutil_socket_t fd, short what, void *arg)
{
	struct engine *e = arg;
	enum read_end end = READ_ALL;

	(void)fd;
	(void)what;
	e->scheduled = false;
	if (e->conf == NULL || e->stopping)
		return;
	if (e->reader == NULL && !reader_open(e)) {
		failed(e, "the offset cannot be read");
		return;
	}
	e->failing = false;
	/* without qmgr a null sender's recipients could not be let go */
	if (e->qmgr != NULL && e->limit.file != 0) {
		if (evlog_reader_anew(&e->reader, e->limit))
			log_warn("the event log was made anew: reading it "
			    "from its start");
		end = log_read(e);
	}
	jobs_ask(e, end);
	tell(e);
	save(e, false);
	if (end == READ_MORE)
		work_in(e, 0);
}

/* ---- descriptors from qmgr ---- */

static void
on_seg_open(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_seg_open *m = msg;
	struct engine *e = arg;

	for (size_t i = 0; i < e->nsegs; i++) {
		if (e->segs[i].number == m->segment) {
			close(e->segs[i].fd);
			e->segs[i].fd = chan_take_fd(c);
			return;
		}
	}
	if (e->nsegs == e->segs_size) {
		e->segs_size = e->segs_size == 0 ? 16 : e->segs_size * 2;
		e->segs = reallocarray(e->segs, e->segs_size,
		    sizeof(*e->segs));
		if (e->segs == NULL)
			mem_exhausted();
	}
	e->segs[e->nsegs++] = (struct seg_fd){ m->segment, chan_take_fd(c) };
}

static void
on_seg_close(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_seg_close *m = msg;
	struct engine *e = arg;

	(void)c;
	for (size_t i = 0; i < e->nsegs; i++) {
		if (e->segs[i].number != m->segment)
			continue;
		close(e->segs[i].fd);
		e->segs[i] = e->segs[--e->nsegs];
		return;
	}
}

static void
on_large_open(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_large_open *m = msg;
	struct engine *e = arg;

	for (size_t i = 0; i < ENGINE_LARGE_MAX; i++) {
		if (e->large[i].fd < 0) {
			e->large[i].number = m->large_id;
			e->large[i].fd = chan_take_fd(c);
			return;
		}
	}
}

static int
large_take(struct engine *e, uint64_t large_id)
{
	for (size_t i = 0; i < ENGINE_LARGE_MAX; i++) {
		if (e->large[i].fd >= 0 && e->large[i].number == large_id) {
			int fd = e->large[i].fd;

			e->large[i].fd = -1;
			return fd;
		}
	}
	return -1;
}

/* What came with GO is not looked at. */
static void
large_close(struct engine *e, uint64_t large_id)
{
	int fd = large_id != 0 ? large_take(e, large_id) : -1;

	if (fd >= 0)
		close(fd);
}

static void
descriptors_close(struct engine *e)
{
	for (size_t i = 0; i < e->nsegs; i++)
		close(e->segs[i].fd);
	e->nsegs = 0;
	for (size_t i = 0; i < ENGINE_LARGE_MAX; i++) {
		if (e->large[i].fd >= 0)
			close(e->large[i].fd);
		e->large[i].fd = -1;
	}
}

/* ---- GO: the DSN is made ---- */

static void
on_committed(struct commit_req *req, enum commit_result result, uint64_t id,
    void *arg)
{
	struct job *j = arg;
	struct engine *e = j->engine;
	char mem[MSGID_TEXT], dsn[MSGID_TEXT];

	(void)req;
	switch (result) {
	case COMMIT_OK:
		e->made++;
		log_info("%s: DSN %s for %u %srecipients",
		    msgid_format(j->id, mem), msgid_format(id, dsn),
		    j->nrcpts, j->delayed ? "delayed " : "");
		job_end(e, j);
		return;
	case COMMIT_TOO_LARGE:
		job_drop(e, j, "it would be too large");
		return;
	default:
		log_warn("%s: DSN not committed (%s): trying again",
		    msgid_format(j->id, mem), commit_result_text(result));
		j->state = JOB_READY;
		j->retry_at = mono_add_ms(clock_mono(), RETRY_MS);
		work_in(e, RETRY_MS + 1);
	}
}

/* What can be read of the original; views into rec and large. */
static void
original_read(struct engine *e, const struct ipc_bounce_go *m,
    struct buf *rec, struct buf *large, struct job_original *o_r)
{
	int fd = -1, lfd = m->large_id != 0 ? large_take(e, m->large_id) : -1;
	struct record r;
	ssize_t n;

	*o_r = (struct job_original){ .readable = false };
	for (size_t i = 0; i < e->nsegs; i++) {
		if (e->segs[i].number == m->segment)
			fd = e->segs[i].fd;
	}
	if (fd >= 0 && record_read_fd(fd, m->segment, m->offset, m->length,
	    rec, &r) == RECORD_OK && r.id == m->id) {
		*o_r = (struct job_original){
			.readable = true, .env = r.env, .head = r.head,
			.body = r.body, .whole = true,
		};
	}
	if (o_r->readable && (r.flags & RECORD_LARGE) != 0) {
		n = lfd < 0 || buf_reserve(large, BODY_LOOK) == NULL ? -1 :
		    pread(lfd, large->mem + large->tail, BODY_LOOK, 0);
		o_r->readable = n >= 0;
		o_r->body = sv_make(large->mem, n > 0 ? (size_t)n : 0);
		o_r->whole = n >= 0 && (uint64_t)n == r.body_len;
	}
	if (lfd >= 0)
		close(lfd);
}

/* Looking at it has cost two lives: it counts as unreadable. */
static void
original_skip(struct engine *e, const struct ipc_bounce_go *m,
    struct job_original *o_r)
{
	char id[MSGID_TEXT];

	large_close(e, m->large_id);
	*o_r = (struct job_original){ .readable = false };
	log_warn("%s: its DSN is made without looking at it: bounce crashes "
	    "on it", msgid_format(m->id, id));
}

static bool
job_is_hopeless(const struct engine *e, const struct job *j)
{
	const struct poison_item *it = poison_find(&e->poison,
	    POISON_MESSAGE, j->id, 0);

	return it != NULL && it->crashes > POISON_LIMIT;
}

static struct job *
job_asked(struct engine *e, uint64_t token)
{
	struct job *j;

	TAILQ_FOREACH(j, &e->jobs, link) {
		if (j->token == token && j->state == JOB_ASKED)
			break;
	}
	return j;
}

static void
job_make(struct engine *e, struct job *j, const struct ipc_bounce_go *m)
{
	struct job_original o;
	struct buf rec, large;
	enum job_build built;

	buf_init(&rec, RECORD_MAX);
	buf_init(&large, BODY_LOOK);
	if (poison_is(&e->poison, POISON_MESSAGE, m->id, 0))
		original_skip(e, m, &o);
	else
		original_read(e, m, &rec, &large, &o);
	built = job_build(j, &o, conf_hostname(e->conf), clock_wall());
	buf_fini(&rec);
	buf_fini(&large);
	switch (built) {
	case JOB_BUILT:
		j->state = JOB_COMMITTING;
		j->req.done = on_committed;
		j->req.arg = j;
		committer_submit(e->committer, &j->req);
		break;
	case JOB_NOBODY:
		job_end(e, j);
		break;
	case JOB_IMPOSSIBLE:
		job_drop(e, j, "the sender's address is not usable");
		break;
	}
}

static void
on_go(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_bounce_go *m = msg;
	struct engine *e = arg;
	struct job *j = job_asked(e, m->token);

	(void)c;
	if (j == NULL || m->id != j->id || m->rcpts.n == 0) {
		large_close(e, m->large_id);
		if (j != NULL)
			job_end(e, j);
		return;
	}
	job_want(j, &m->rcpts);
	if (j->why_none == NULL && job_is_hopeless(e, j))
		j->why_none = "bounce crashes on it";
	if (j->why_none != NULL) {
		large_close(e, m->large_id);
		job_drop(e, j, j->why_none);
		return;
	}
	poison_mark(&e->poison, POISON_MESSAGE, m->id, 0);
	job_make(e, j, m);
	poison_clear(&e->poison);
}

/* ---- other frames, and the channel ---- */

static void
on_log_at(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_log_at *m = msg;
	struct engine *e = arg;

	(void)c;
	e->limit = (struct evlog_pos){ m->file, m->offset };
	if (!e->failing)
		work_in(e, GATHER_MS);
}

static void
on_seg_grant(struct chan *c, void *arg, const void *msg)
{
	struct engine *e = arg;

	committer_on_seg_grant(e->committer, c, msg);
}

static void
on_large_grant(struct chan *c, void *arg, const void *msg)
{
	struct engine *e = arg;

	committer_on_large_grant(e->committer, c, msg);
}

static void
on_space(struct chan *c, void *arg, const void *msg)
{
	struct engine *e = arg;

	(void)c;
	committer_on_space(e->committer, msg);
}

static void
on_credit(struct chan *c, void *arg)
{
	struct engine *e = arg;

	(void)c;
	committer_on_credit(e->committer);
}

static void
on_ready(void *arg)
{
	work_in(arg, 0);
}

static void
detach(struct engine *e)
{
	struct job *j;

	if (e->qmgr == NULL)
		return;
	committer_chan_set(e->committer, NULL);
	chan_free(&e->qmgr);
	descriptors_close(e);
	TAILQ_FOREACH(j, &e->jobs, link) {
		if (j->state == JOB_ASKED)
			j->state = JOB_READY;
	}
}

static void
on_qmgr_close(struct chan *c, void *arg, const char *why)
{
	(void)c;
	log_debug("channel to qmgr: %s", why);
	detach(arg);
	role_qmgr_gone();
}

static const struct chan_ops qmgr_ops = {
	.on = {
		[IPC_LOG_AT] = on_log_at,
		[IPC_BOUNCE_GO] = on_go,
		[IPC_SEG_OPEN] = on_seg_open,
		[IPC_SEG_CLOSE] = on_seg_close,
		[IPC_LARGE_OPEN] = on_large_open,
		[IPC_SEG_GRANT] = on_seg_grant,
		[IPC_LARGE_GRANT] = on_large_grant,
		[IPC_SPACE] = on_space,
	},
	.on_close = on_qmgr_close,
	.on_credit = on_credit,
};

void
engine_init(struct engine *e, struct event_base *base, int events_fd,
    int offsets_fd)
{
	*e = (struct engine){ .base = base };
	TAILQ_INIT(&e->jobs);
	for (size_t i = 0; i < ENGINE_LARGE_MAX; i++)
		e->large[i].fd = -1;
	e->events = sio_os_new(events_fd);
	e->offsets = sio_os_new(offsets_fd);
	e->work = event_new(base, -1, 0, on_work, e);
	if (e->events == NULL || e->offsets == NULL || e->work == NULL)
		fatal("out of memory");
	if (poison_open(&e->poison, e->offsets, POISON_NAME) != 0)
		log_warn_errno("%s", POISON_NAME);
	e->committer = committer_new(base);
	committer_on_ready_set(e->committer, on_ready, e);
}

void
engine_blame(struct engine *e, struct sv why)
{
	const struct poison_item *it;
	char text[POISON_TEXT], id[MSGID_TEXT];
	struct str s;

	STR_ON(&s, text);
	str_add(&s, why);
	it = poison_blame_marked(&e->poison, text);
	if (it != NULL && it->kind == POISON_MESSAGE)
		log_warn("%s: the bounce before crashed on it, %s (%u times)",
		    msgid_format(it->a, id), it->why, it->crashes);
	else if (it != NULL)
		log_warn("the bounce before crashed on the event at "
		    "%llu:%llu, %s (%u times)", (unsigned long long)it->a,
		    (unsigned long long)it->b, it->why, it->crashes);
}

void
engine_conf_set(struct engine *e, struct conf *conf)
{
	conf_free(&e->conf);
	e->conf = conf;
	work_in(e, 0);
}

void
engine_attach(struct engine *e, int fd, unsigned index)
{
	detach(e);
	e->qmgr = chan_new(e->base, fd, R_BOUNCE, R_QMGR, index, &qmgr_ops,
	    e);
	e->told = (struct evlog_pos){ 0, 0 };
	committer_chan_set(e->committer, e->qmgr);
	work_in(e, 0);
}

void
engine_stop(struct engine *e)
{
	e->stopping = true;
	committer_free(&e->committer);
	save(e, true);
	if (e->qmgr != NULL)
		chan_flush(e->qmgr);
}
