/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/msgid.h"
#include "common/sys/log.h"
#include "delivery/smtp.h"

/* Envelope, recipients and reply texts of one transaction. */
#define DELIVERY_ARENA_MAX ((size_t)64 << 20)
/* Records up to here keep their buffer for the next one. */
#define RECORD_KEEP 65536

/* ---- descriptors of the spool ---- */

static int
segment_fd(const struct worker *w, uint64_t segment)
{
	for (size_t i = w->nsegs; i > 0; i--)
		if (w->segs[i - 1].segment == segment)
			return w->segs[i - 1].fd;
	return -1;
}

void
segment_add(struct worker *w, uint64_t segment, int fd)
{
	segment_remove(w, segment);
	if (w->nsegs == w->segs_size) {
		size_t n = w->segs_size == 0 ? 16 : w->segs_size * 2;

		w->segs = reallocarray(w->segs, n, sizeof(*w->segs));
		if (w->segs == NULL)
			mem_exhausted();
		w->segs_size = n;
	}
	w->segs[w->nsegs++] = (struct segment_fd){ segment, fd };
}

void
segment_remove(struct worker *w, uint64_t segment)
{
	for (size_t i = 0; i < w->nsegs; i++) {
		if (w->segs[i].segment != segment)
			continue;
		close(w->segs[i].fd);
		w->segs[i] = w->segs[--w->nsegs];
		return;
	}
}

void
large_add(struct worker *w, uint64_t large_id, int fd)
{
	if (w->nlarges == w->larges_size) {
		size_t n = w->larges_size == 0 ? 16 : w->larges_size * 2;

		w->larges = reallocarray(w->larges, n, sizeof(*w->larges));
		if (w->larges == NULL)
			mem_exhausted();
		w->larges_size = n;
	}
	w->larges[w->nlarges++] = (struct large_fd){ large_id, fd };
}

static int
large_take(struct worker *w, uint64_t large_id)
{
	for (size_t i = 0; i < w->nlarges; i++) {
		int fd = w->larges[i].fd;

		if (w->larges[i].large_id != large_id)
			continue;
		w->larges[i] = w->larges[--w->nlarges];
		return fd;
	}
	return -1;
}

void
spool_forget(struct worker *w)
{
	while (w->nsegs > 0)
		close(w->segs[--w->nsegs].fd);
	while (w->nlarges > 0)
		close(w->larges[--w->nlarges].fd);
}

/* ---- deliveries ---- */

static struct delivery *
delivery_new(struct worker *w)
{
	struct delivery *d = STAILQ_FIRST(&w->spare);

	if (d != NULL) {
		STAILQ_REMOVE_HEAD(&w->spare, link);
		w->nspare--;
	} else {
		d = calloc(1, sizeof(*d));
		if (d == NULL)
			mem_exhausted();
		arena_init(&d->arena, DELIVERY_ARENA_MAX);
		buf_init(&d->bytes, RECORD_MAX);
	}
	d->large_fd = -1;
	d->slot = INTENT_NONE;
	d->reserved = 0;
	return d;
}

void
delivery_free(struct delivery *d)
{
	struct worker *w = d->session->w;

	if (d->large_fd >= 0)
		close(d->large_fd);
	intent_unreserve(&w->intents, d->reserved);
	session_wake_slot_waiters(w);
	if (w->nspare >= SMTP_SPARE_DELIVERIES) {
		arena_fini(&d->arena);
		buf_fini(&d->bytes);
		free(d);
		return;
	}
	arena_reset(&d->arena);
	buf_clear(&d->bytes);
	buf_trim(&d->bytes, RECORD_KEEP);
	STAILQ_INSERT_HEAD(&w->spare, d, link);
	w->nspare++;
}

void
delivery_accept(struct worker *w, const struct ipc_deliver *m)
{
	struct session *s = session_find(w, m->session);
	int large_fd = m->large_id != 0 ? large_take(w, m->large_id) : -1;
	struct delivery *d;

	/* ended meanwhile: its SESSION_END gives this one back, too */
	if (s == NULL) {
		if (large_fd >= 0)
			close(large_fd);
		return;
	}
	d = delivery_new(w);
	d->session = s;
	d->id = m->id;
	d->segment = m->segment;
	d->offset = m->offset;
	d->length = m->length;
	d->large_id = m->large_id;
	d->large_fd = large_fd;
	d->nidx = m->rcpts.n;
	d->idx = arena_alloc(&d->arena, d->nidx * sizeof(*d->idx) + 1);
	if (d->idx == NULL)
		mem_exhausted(); /* IPC_RCPTS_MAX fits */
	for (uint32_t i = 0; i < d->nidx; i++)
		d->idx[i] = u32s_get(&m->rcpts, i);
	STAILQ_INSERT_TAIL(&s->queue, d, link);
	session_mark(s);
}

/* ---- loading ---- */

static bool
rcpts_fill(struct delivery *d)
{
	struct smtp_txn *t = &d->txn;

	t->rcpts = arena_alloc(&d->arena, d->nidx * sizeof(*t->rcpts) + 1);
	if (t->rcpts == NULL)
		return false;
	t->nrcpts = d->nidx;
	for (uint32_t i = 0; i < d->nidx; i++) {
		const struct env_rcpt *e;

		t->rcpts[i].idx = d->idx[i];
		if (d->idx[i] >= d->env.nrcpts)
			return false;
		e = &d->env.rcpts[d->idx[i]];
		t->rcpts[i].addr = e->addr;
		t->rcpts[i].orcpt = e->orcpt;
		t->rcpts[i].notify = e->notify;
	}
	return true;
}

static enum record_result
record_load(struct delivery *d)
{
	int fd = segment_fd(d->session->w, d->segment);

	if (fd < 0) {
		errno = EBADF;
		return RECORD_ERROR;
	}
	return record_read_fd(fd, d->segment, d->offset, d->length, &d->bytes,
	    &d->record);
}

/* Everything is unreadable; without an envelope the recipients are known by
 * number only. */
static bool
load_failed(struct delivery *d, const char *why)
{
	struct smtp_txn *t = &d->txn;
	char id[MSGID_TEXT];

	log_warn("%s: cannot read the record at %llu:%llu: %s",
	    msgid_format(d->id, id), (unsigned long long)d->segment,
	    (unsigned long long)d->offset, why);
	t->rcpts = arena_alloc(&d->arena, d->nidx * sizeof(*t->rcpts) + 1);
	if (t->rcpts == NULL)
		mem_exhausted();
	t->nrcpts = d->nidx;
	for (uint32_t i = 0; i < d->nidx; i++) {
		t->rcpts[i].idx = d->idx[i];
		t->rcpts[i].decided = true;
		t->rcpts[i].outcome = OUT_UNREADABLE;
		t->rcpts[i].status = SV("4.3.0");
		t->rcpts[i].text =
		    SV("the message cannot be read from the spool");
	}
	d->env = (struct envelope){ 0 };
	return false;
}

/* More recipients than the session takes in one transaction are given back
 * at once. */
static void
rcpts_limit(struct delivery *d)
{
	struct smtp_txn *t = &d->txn;
	uint32_t max = d->session->max_rcpts;
	uint64_t slots = (uint64_t)d->session->w->intents.n * INTENT_RCPTS;

	if (max == 0 || max > slots)
		max = (uint32_t)(slots < IPC_RCPTS_MAX ? slots : IPC_RCPTS_MAX);
	for (uint32_t i = max; i < t->nrcpts; i++) {
		t->rcpts[i].decided = true;
		t->rcpts[i].outcome = OUT_UNTRIED;
		t->rcpts[i].status = SV("4.5.3");
		t->rcpts[i].text = SV("too many recipients for one "
		                      "transaction");
	}
}

bool
delivery_load(struct delivery *d)
{
	struct smtp_txn *t = &d->txn;
	enum record_result res;

	*t = (struct smtp_txn){ .owner = d, .arena = &d->arena };
	d->large_crc = 0;
	d->record = (struct record){ 0 };
	res = record_load(d);
	if (res != RECORD_OK)
		return load_failed(d, record_result_text(res));
	if (d->record.id != d->id)
		return load_failed(d, "it is another message's");
	if (d->record.large_id != d->large_id ||
	    (d->large_id != 0 && d->large_fd < 0))
		return load_failed(d, "its large file was not given");
	if (!envelope_decode(d->record.env, &d->arena, &d->env))
		return load_failed(d, "its envelope does not decode");
	if (!rcpts_fill(d))
		return load_failed(d, "it has not so many recipients");
	rcpts_limit(d);
	t->sender = d->env.sender;
	t->envid = d->env.envid;
	t->flags = d->env.flags;
	t->has_8bit = (d->record.flags & RECORD_8BIT) != 0;
	t->head = d->record.head;
	t->body = d->record.body;
	t->body_len = d->record.body_len;
	return true;
}

/* The CRC is complete with the last byte, before the final dot. */
ssize_t
delivery_body_read(struct delivery *d, uint64_t at, void *p, size_t n)
{
	uint64_t left = d->record.body_len - at;
	ssize_t got;

	if (n > left)
		n = (size_t)left;
	do
		got = pread(d->large_fd, p, n, (off_t)at);
	while (got < 0 && errno == EINTR);
	if (got <= 0)
		return -1;
	d->large_crc = record_large_crc(d->large_id, d->large_crc, at, p,
	    (size_t)got);
	if ((uint64_t)got == left && d->large_crc != d->record.crc_body) {
		char id[MSGID_TEXT];

		log_warn("%s: its large file does not match its CRC",
		    msgid_format(d->id, id));
		return -1;
	}
	return got;
}
