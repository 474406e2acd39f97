/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/msgid.h"
#include "common/mail/envelope.h"
#include "common/spool/checkpoint.h"
#include "common/spool/evlog.h"
#include "common/spool/idset.h"
#include "common/spool/live.h"
#include "common/spool/recover.h"
#include "common/spool/segment.h"
#include "common/spool/skipped.h"
#include "common/spool/spoolcheck.h"

#define SEGMENTS    "segments"
#define SEG_SUFFIX  ".seg"
#define LARGE       "large"
#define LARGE_BLOCK ((size_t)1 << 20)
#define ENV_ARENA   ((size_t)64 << 20) /* 100,000 recipients fit */
#define REBUILD_HOLD 1u /* number of its hold order: there is no other */

static void say(struct spool_report *r, bool problem, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void
say(struct spool_report *r, bool problem, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	r->problems += problem;
	if (r->line == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	r->line(r->arg, problem, text);
}

/* ---- check ---- */

struct check {
	struct sio *s;
	struct spool_report *r;
	struct live *live;
	struct idset *good;    /* places, as IDs, of good records */
	struct idset *larges;  /* that live messages use */
	uint64_t segment;      /* being scanned */
};

static void
on_event(void *arg, enum ev_type type, const union ev_any *m,
    struct evlog_pos at)
{
	struct check *c = arg;

	(void)at;
	live_event(c->live, type, m);
}

static void
on_found(void *arg, const struct record *rec)
{
	struct check *c = arg;

	c->r->found++;
	if (rec->large_id != 0)
		idset_add(c->larges, rec->large_id);
}

static void
on_problem(void *arg, const char *text)
{
	struct check *c = arg;

	say(c->r, true, "%s", text);
}

static int
on_record(void *arg, const struct record *rec)
{
	struct check *c = arg;

	c->r->records++;
	idset_add(c->good, msgid_make(rec->segment, rec->offset));
	return 0;
}

static void
on_damage(void *arg, uint64_t offset, uint64_t length)
{
	struct check *c = arg;

	c->r->damaged++;
	say(c->r, true, "segment %llu: %llu damaged bytes at %llu",
	    (unsigned long long)c->segment, (unsigned long long)length,
	    (unsigned long long)offset);
}

static const struct segment_scan_ops check_ops = {
	.on_record = on_record,
	.on_damage = on_damage,
	.search = true,
};

/* Every record of every segment. */
static int
segments_walk(struct sio *s, struct spool_report *r,
    const struct segment_scan_ops *ops, void *arg, uint64_t *current,
    int (*ended)(void *arg, uint64_t segment, uint64_t end))
{
	uint64_t *list;
	size_t n;
	int rc = 0;

	if (sio_numbers(s, SEGMENTS, SEG_SUFFIX, &list, &n) != 0)
		return -1;
	for (size_t i = 0; rc == 0 && i < n; i++) {
		char path[SIO_PATH_MAX];
		struct sio_file *f;
		uint64_t end;

		*current = list[i];
		f = sio_open(s, sio_path(path, SEGMENTS, list[i], SEG_SUFFIX),
		    SIO_READ);
		r->segments++;
		if (f == NULL || segment_scan(f, list[i], SEGMENT_HEADER,
			UINT64_MAX, ops, arg, &end) != 0)
			say(r, true, "segment %llu: %s",
			    (unsigned long long)list[i], strerror(errno));
		else if (ended != NULL)
			rc = ended(arg, list[i], end);
		sio_close(&f);
	}
	free(list);
	return rc;
}

static bool
large_good(struct sio *s, const struct record *rec)
{
	unsigned char *mem = malloc(LARGE_BLOCK);
	char path[SIO_PATH_MAX];
	struct sio_file *f;
	uint64_t at = 0;
	uint32_t crc = record_large_crc(rec->large_id, 0, 0, "", 0);
	ssize_t n = 0;

	snprintf(path, sizeof(path), LARGE "/%020llu",
	    (unsigned long long)rec->large_id);
	f = mem == NULL ? NULL : sio_open(s, path, SIO_READ);
	while (f != NULL &&
	    (n = sio_read_all(f, mem, LARGE_BLOCK, at)) > 0) {
		crc = record_large_crc(rec->large_id, crc, at, mem, (size_t)n);
		at += (uint64_t)n;
	}
	free(mem);
	if (f == NULL)
		return false;
	sio_close(&f);
	return n == 0 && at == rec->body_len && crc == rec->crc_body;
}

/* Reads the record of one live message again, for its large body. */
static bool
live_large_good(struct check *c, const struct live_msg *m)
{
	char path[SIO_PATH_MAX];
	struct sio_file *f;
	struct record rec;
	struct buf b;
	bool ok;

	f = sio_open(c->s, sio_path(path, SEGMENTS, m->segment, SEG_SUFFIX),
	    SIO_READ);
	if (f == NULL)
		return false;
	buf_init(&b, RECORD_MAX);
	ok = record_read(f, m->segment, m->offset, m->length, &b, &rec) ==
	    RECORD_OK && large_good(c->s, &rec);
	buf_fini(&b);
	sio_close(&f);
	return ok;
}

static void
live_check(struct check *c)
{
	struct live_msg *m;
	size_t at = 0;

	while ((m = live_next(c->live, &at)) != NULL) {
		char id[MSGID_TEXT];
		bool ok = idset_has(c->good,
		    msgid_make(m->segment, m->offset));

		c->r->live++;
		if (m->large_id != 0) {
			idset_add(c->larges, m->large_id);
			ok = ok && live_large_good(c, m);
		}
		if (ok)
			continue;
		c->r->unreadable++;
		say(c->r, true, "message %s is not readable in segment %llu "
		    "at %llu", msgid_format(m->id, id),
		    (unsigned long long)m->segment,
		    (unsigned long long)m->offset);
	}
}

static int
large_check(const char *name, void *arg)
{
	struct check *c = arg;
	uint64_t id;

	c->r->large++;
	if (sio_number(name, "", &id) && id != 0 && idset_has(c->larges, id))
		return 0;
	c->r->large_orphans++;
	say(c->r, false, "large file %s belongs to no message", name);
	return 0;
}

static int
check_all(struct check *c)
{
	static const struct recover_ops ops = {
		.on_event = on_event,
		.on_found = on_found,
		.on_problem = on_problem,
	};
	struct recover_stats st;

	if (spool_recover(c->s, &ops, c, &st) != 0 ||
	    segments_walk(c->s, c->r, &check_ops, c, &c->segment, NULL) != 0)
		return -1;
	live_check(c);
	if (sio_list(c->s, LARGE, large_check, c) != 0)
		return -1;
	say(c->r, false, "%llu records in %llu segments, %llu live messages, "
	    "%llu in tails, %llu problems",
	    (unsigned long long)c->r->records,
	    (unsigned long long)c->r->segments,
	    (unsigned long long)c->r->live, (unsigned long long)c->r->found,
	    (unsigned long long)c->r->problems);
	return 0;
}

int
spool_check(struct sio *s, struct spool_report *r)
{
	struct check c = { .s = s, .r = r };
	int rc = -1;

	c.live = live_new();
	c.good = idset_new();
	c.larges = idset_new();
	if (c.good != NULL && c.larges != NULL)
		rc = check_all(&c);
	live_free(&c.live);
	idset_free(&c.good);
	idset_free(&c.larges);
	return rc;
}

/* ---- rebuild ---- */

struct rebuild {
	struct spool_report *r;
	struct checkpoint *cp;
	struct idset *seen, *read; /* messages; segments */
	uint64_t segment;
	bool held;            /* REBUILD_HOLD is written */
	bool failed;          /* the checkpoint cannot be written */
};

static void
event_add(struct rebuild *b, enum ev_type type, const union ev_any *e)
{
	if (!b->failed)
		b->failed = checkpoint_add(b->cp, type, e) != 0;
}

/* Which pattern-list it was is in no event any more: one reason for all. */
static void
hold_add(struct rebuild *b, uint64_t id, uint32_t rcpt)
{
	union ev_any e = { .hold = { .id = id, .held = 1,
	    .order = REBUILD_HOLD, .rcpts = { .array = &rcpt, .n = 1 } } };
	union ev_any order = { .hold_order = { .number = REBUILD_HOLD,
	    .reason = SV("held by a pattern-list before the rebuild"),
	    .who = SV("spool rebuild") } };

	if (!b->held)
		event_add(b, EV_HOLD_ORDER, &order);
	b->held = true;
	event_add(b, EV_HOLD, &e);
}

/* What some of the recipients have for themselves. */
static void
groups_add(struct rebuild *b, uint64_t id, const struct envelope *e)
{
	for (uint32_t i = 0; e->ngroups > 0 && i < e->nrcpts; i++) {
		struct sv vmta = envelope_vmta(e, i);
		union ev_any any = { .rebind = { .id = id, .vmta = vmta,
		    .rcpts = { .array = &i, .n = 1 }, .who = SV("") } };
		union ev_any priority = { .priority = { .id = id,
		    .priority = (uint8_t)envelope_priority(e, i),
		    .rcpts = { .array = &i, .n = 1 }, .who = SV("") } };

		if (!sv_eq(vmta, e->vmta))
			event_add(b, EV_REBIND, &any);
		if (envelope_hold(e, i).n > 0)
			hold_add(b, id, i);
		if (priority.priority.priority != PRIORITY_DEFAULT)
			event_add(b, EV_PRIORITY, &priority);
	}
}

/* The events of a record. False if its envelope is unreadable. */
static bool
accept_add(struct rebuild *b, const struct record *rec, struct arena *a)
{
	struct envelope e;
	union ev_any any;
	struct sv *domains;

	if (!envelope_decode(rec->env, a, &e))
		return false;
	domains = arena_alloc(a, sizeof(*domains) * e.nrcpts);
	if (domains == NULL)
		return false;
	for (uint32_t i = 0; i < e.nrcpts; i++)
		domains[i] = addr_domain(e.rcpts[i].addr);
	any.accept = (struct ev_accept){
		.id = rec->id,
		.segment = rec->segment,
		.offset = rec->offset,
		.length = rec->length,
		.body_len = rec->body_len,
		.large_id = rec->large_id,
		.arrival_us = rec->arrival_us,
		.vmta = e.vmta,
		.dsn_for = e.dsn_for,
		.domains = { .array = domains, .n = e.nrcpts },
	};
	event_add(b, EV_ACCEPT, &any);
	groups_add(b, rec->id, &e);
	return true;
}

static int
rebuild_record(void *arg, const struct record *rec)
{
	struct rebuild *b = arg;
	char id[MSGID_TEXT];
	struct arena a;

	b->r->records++;
	if (!idset_add(b->seen, rec->id))
		return 0; /* a moved copy */
	arena_init(&a, ENV_ARENA);
	if (accept_add(b, rec, &a)) {
		b->r->live++;
	} else {
		b->r->unreadable++;
		say(b->r, true, "message %s: its envelope cannot be read",
		    msgid_format(rec->id, id));
	}
	arena_fini(&a);
	return b->failed ? -1 : 0;
}

static void
rebuild_damage(void *arg, uint64_t offset, uint64_t length)
{
	struct rebuild *b = arg;

	b->r->damaged++;
	say(b->r, true, "segment %llu: %llu damaged bytes at %llu",
	    (unsigned long long)b->segment, (unsigned long long)length,
	    (unsigned long long)offset);
}

static int
rebuild_ended(void *arg, uint64_t segment, uint64_t end)
{
	struct rebuild *b = arg;
	union ev_any any;

	idset_add(b->read, segment);
	any.seg_end = (struct ev_seg_end){ segment, end };
	return checkpoint_add(b->cp, EV_SEG_END, &any);
}

static const struct segment_scan_ops rebuild_ops = {
	.on_record = rebuild_record,
	.on_damage = rebuild_damage,
	.search = true,
};

/* A number above all checkpoints and event files. */
static int
number_next(struct sio *s, uint64_t *number_r)
{
	static const char *const where[][2] = {
		{ EVLOG_FOLDER, EVLOG_SUFFIX }, { CHECKPOINT_FOLDER, "" },
	};

	*number_r = 1;
	for (size_t i = 0; i < 2; i++) {
		uint64_t *list;
		size_t n;

		if (sio_numbers(s, where[i][0], where[i][1], &list, &n) != 0)
			return -1;
		if (n > 0 && list[n - 1] >= *number_r)
			*number_r = list[n - 1] + 1;
		free(list);
	}
	return 0;
}

/* All that could be read is in the queue. */
static int
skipped_forget(struct sio *s, const struct rebuild *b)
{
	uint64_t *list;
	size_t n;
	int rc = 0;

	if (skipped_list(s, &list, &n) != 0)
		return -1;
	for (size_t i = 0; i < n && rc == 0; i++) {
		if (idset_has(b->read, list[i]))
			rc = skipped_remove(s, list[i]);
	}
	free(list);
	return rc;
}

static int
rebuild_write(struct sio *s, struct rebuild *b)
{
	if (segments_walk(s, b->r, &rebuild_ops, b, &b->segment,
		rebuild_ended) != 0 || b->failed) {
		checkpoint_abort(&b->cp);
		return -1;
	}
	return checkpoint_commit(&b->cp) == 0 ? skipped_forget(s, b) : -1;
}

int
spool_rebuild(struct sio *s, struct spool_report *r)
{
	struct rebuild b = { .r = r };
	struct evlog *l = NULL;
	uint64_t number;
	int rc = -1;

	if (number_next(s, &number) != 0)
		return -1;
	/* The event file first: a checkpoint is valid only with its own. */
	l = evlog_open(s, (struct evlog_pos){ number - 1, 0 });
	b.seen = idset_new();
	b.read = idset_new();
	b.cp = l == NULL || b.seen == NULL || b.read == NULL ? NULL :
	    checkpoint_begin(s, number);
	if (b.cp != NULL)
		rc = rebuild_write(s, &b);
	evlog_free(&l);
	idset_free(&b.seen);
	idset_free(&b.read);
	if (rc == 0)
		say(r, false, "%llu messages are in the new queue; those that "
		    "were delivered before may be sent again",
		    (unsigned long long)r->live);
	return rc;
}
