/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/msgid.h"
#include "common/ipc/heartbeat.h"
#include "common/spool/checkpoint.h"
#include "common/spool/recover.h"
#include "common/spool/skipped.h"

#define SEGMENTS   "segments"
#define SEG_SUFFIX ".seg"
#define REWRITE_BLOCK ((size_t)1 << 20)

/* What the events say of one segment. */
struct tail {
	uint64_t number, known;
	bool sealed;
	bool failed;            /* it could not be read, after damage */
};

struct place {
	uint64_t offset, length;
};

struct recovery {
	struct sio *s;
	const struct recover_ops *ops;
	void *arg;
	struct recover_stats st;
	struct tail *tails;     /* by number, of the segments that exist */
	size_t ntails;
	size_t last;            /* index of the one found last */
	struct idset *ids;      /* not to be taken: all that events name, and
	                         * what was found; NULL: the log is whole */
	bool quiet;             /* second pass: nothing is told */
	/* of the tail being scanned */
	const struct tail *at;
	struct sio_file *file;
	struct place *places;   /* of the records to be taken */
	size_t nplaces, places_size;
	bool unsynced;          /* they could not be made durable */
};

static void problem(struct recovery *v, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
problem(struct recovery *v, const char *fmt, ...)
{
	int err = errno;
	char text[256];
	va_list ap;

	if (v->quiet)
		return;
	v->st.problems++;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (v->ops->on_problem != NULL)
		v->ops->on_problem(v->arg, text);
	errno = err;
}

/* ---- what events say ---- */

static struct tail *
tail_find(struct recovery *v, uint64_t number)
{
	size_t lo = 0, hi = v->ntails;

	if (v->last < v->ntails && v->tails[v->last].number == number)
		return &v->tails[v->last];
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (v->tails[mid].number < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == v->ntails || v->tails[lo].number != number)
		return NULL;
	v->last = lo;
	return &v->tails[lo];
}

static void
tail_known(struct recovery *v, uint64_t number, uint64_t known, bool sealed)
{
	struct tail *t = tail_find(v, number);

	if (t == NULL)
		return;
	if (t->known < known)
		t->known = known;
	if (sealed)
		t->sealed = true;
}

static void
event_note(struct recovery *v, enum ev_type type, const union ev_any *m)
{
	switch (type) {
	case EV_ACCEPT:
		tail_known(v, m->accept.segment,
		    m->accept.offset + m->accept.length, false);
		if (v->ids != NULL)
			idset_add(v->ids, m->accept.id);
		break;
	case EV_MOVE:
		tail_known(v, m->move.segment,
		    m->move.offset + m->move.length, false);
		break;
	case EV_SEG_AT:
		tail_known(v, m->seg_at.segment, m->seg_at.offset, false);
		break;
	case EV_SEG_END:
		tail_known(v, m->seg_end.segment, m->seg_end.end, true);
		break;
	default:
		break;
	}
}

static void
event_take(struct recovery *v, enum ev_type type, const union ev_any *m,
    struct evlog_pos at)
{
	heartbeat_beat();
	event_note(v, type, m);
	if (v->quiet)
		return;
	v->st.events++;
	v->ops->on_event(v->arg, type, m, at);
}

static int
on_checkpoint(void *arg, enum ev_type type, const union ev_any *m)
{
	struct recovery *v = arg;

	event_take(v, type, m, (struct evlog_pos){ 0, v->st.checkpoint });
	return 0;
}

/* ---- checkpoint and log ---- */

/*
 * The names as they are now are taken for true by all that follows: a segment
 * that was renamed to a free file and not synced would be missing from the
 * next checkpoint, and could be back after it.
 */
static int
tails_load(struct recovery *v)
{
	uint64_t *list;
	size_t n;

	if (sio_fsync_dir(v->s, SEGMENTS) != 0) {
		problem(v, "%s/ cannot be synced: %s", SEGMENTS,
		    strerror(errno));
		return -1;
	}
	if (sio_numbers(v->s, SEGMENTS, SEG_SUFFIX, &list, &n) != 0)
		return -1;
	v->tails = calloc(n + 1, sizeof(*v->tails));
	for (size_t i = 0; v->tails != NULL && i < n; i++) {
		v->tails[i].number = list[i];
		v->tails[i].known = SEGMENT_HEADER;
	}
	v->ntails = n;
	free(list);
	return v->tails == NULL ? -1 : 0;
}

/* Chooses the newest whole checkpoint; 0 if there is none. */
static int
checkpoint_choose(struct recovery *v)
{
	uint64_t *list, messages = 0;
	size_t n;
	int rc = 0;

	if (checkpoint_list(v->s, &list, &n) != 0)
		return -1;
	while (n > 0 && v->st.checkpoint == 0 && rc == 0) {
		uint64_t number = list[--n];

		if (checkpoint_check(v->s, number, &messages))
			v->st.checkpoint = number;
		else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
			rc = -1; /* nothing is known about it */
		else
			problem(v, "checkpoint %llu is damaged",
			    (unsigned long long)number);
	}
	free(list);
	if (v->st.checkpoint != 0 && v->ops->on_checkpoint != NULL)
		v->ops->on_checkpoint(v->arg, messages);
	return rc;
}

/* True if the log begins where the checkpoint, or the spool, does. */
static int
log_begins(struct recovery *v, bool *ok_r)
{
	uint64_t first = v->st.checkpoint != 0 ? v->st.checkpoint : 1;
	uint64_t *list;
	size_t n;

	if (sio_numbers(v->s, EVLOG_FOLDER, EVLOG_SUFFIX, &list, &n) != 0)
		return -1;
	/* Nothing at all is a new spool. */
	*ok_r = v->st.checkpoint == 0 && n == 0 && v->ntails == 0;
	for (size_t i = 0; i < n; i++)
		*ok_r = *ok_r || list[i] == first;
	free(list);
	return 0;
}

static int
log_read(struct recovery *v, struct evlog_reader *r)
{
	struct evlog_record rec;

	for (;;) {
		enum evlog_next got = evlog_reader_next(r, EVLOG_NO_LIMIT,
		    &rec);

		switch (got) { /* GCOVR_EXCL_BR_LINE: no other value */
		case EVLOG_RECORD:
			event_take(v, rec.type, &rec.any, rec.at);
			v->st.end = rec.next;
			break;
		case EVLOG_END:
			if (evlog_reader_has_file(r))
				v->st.end = evlog_reader_position(r);
			return 0;
		case EVLOG_MISSING:
		case EVLOG_DAMAGED:
			problem(v, "event log is damaged in front of file "
			    "%llu offset %llu",
			    (unsigned long long)evlog_reader_position(r).file,
			    (unsigned long long)
				evlog_reader_position(r).offset);
			v->st.rescanned = true;
			break;
		case EVLOG_ERROR:
			return -1;
		}
	}
}

static int
events_read(struct recovery *v)
{
	struct evlog_reader *r;
	struct evlog_pos from = { v->st.checkpoint, 0 };
	int rc;

	if (v->st.checkpoint != 0 && checkpoint_read(v->s, v->st.checkpoint,
		on_checkpoint, v) != 0)
		return -1;
	/* The log goes on behind the checkpoint even if its file is lost. */
	v->st.end = (struct evlog_pos){
		v->st.checkpoint > 0 ? v->st.checkpoint - 1 : 0, 0 };
	r = evlog_reader_open(v->s, EVLOG_FOLDER, from);
	if (r == NULL)
		return -1;
	rc = log_read(v, r);
	evlog_reader_close(&r);
	return rc;
}

/* Copies [from, to) of a file onto itself. */
static int
file_rewrite(struct sio_file *f, uint64_t from, uint64_t to)
{
	unsigned char *mem = malloc(REWRITE_BLOCK);
	int rc = mem == NULL ? -1 : 0;

	while (rc == 0 && from < to) {
		size_t n = to - from < REWRITE_BLOCK ? (size_t)(to - from) :
		    REWRITE_BLOCK;

		if (sio_read_all(f, mem, n, from) != (ssize_t)n ||
		    sio_pwrite(f, mem, n, from) != 0)
			rc = -1;
		from += n;
	}
	free(mem);
	return rc;
}

/*
 * The process that died may have written the last file only as far as the
 * kernel, or have seen its sync fail, after which the kernel takes the pages
 * for clean: so it is written anew. What follows is built on all of it being
 * durable, so a failure ends recovery.
 */
static int
log_sync(struct recovery *v)
{
	char path[SIO_PATH_MAX];
	struct sio_file *f;
	int rc;

	if (v->st.end.offset == 0)
		return 0; /* there is none */
	f = sio_open(v->s, sio_path(path, EVLOG_FOLDER, v->st.end.file,
	    EVLOG_SUFFIX), SIO_READ | SIO_WRITE);
	if (f == NULL)
		return -1;
	rc = file_rewrite(f, 0, v->st.end.offset);
	if (rc == 0)
		rc = sio_fdatasync(f);
	if (rc == 0)
		rc = sio_fsync_dir(v->s, EVLOG_FOLDER);
	sio_close(&f);
	if (rc != 0)
		problem(v, "event log %llu cannot be synced: %s",
		    (unsigned long long)v->st.end.file, strerror(errno));
	return rc;
}

/* ---- tails of segments ---- */

/* The writer may have seen its sync fail, and then the kernel takes the pages
 * for clean: only bytes written anew are made durable by the next sync. */
static int
record_rewrite(struct sio_file *f, const struct record *r)
{
	return sio_pwrite(f, r->env.p - RECORD_HEADER, (size_t)r->length,
	    r->offset);
}

static int
place_add(struct recovery *v, const struct record *r)
{
	if (v->nplaces == v->places_size) {
		size_t n = v->places_size == 0 ? 64 : v->places_size * 2;
		struct place *p = reallocarray(v->places, n, sizeof(*p));

		if (p == NULL) /* GCOVR_EXCL_BR_LINE: memory */
			return -1;
		v->places = p;
		v->places_size = n;
	}
	v->places[v->nplaces++] = (struct place){ r->offset, r->length };
	return 0;
}

static int
on_tail_record(void *arg, const struct record *r)
{
	struct recovery *v = arg;

	if (v->ids != NULL) {
		/* The log was damaged: whatever it does not name. */
		if (idset_has(v->ids, r->id))
			return 0;
	} else if (r->id != msgid_make(r->segment, r->offset)) {
		/* A copy whose MOVE was not logged: the original is there. */
		return 0;
	}
	if (record_rewrite(v->file, r) != 0) {
		v->unsynced = true;
		return -1;
	}
	return place_add(v, r);
}

static void
on_tail_damage(void *arg, uint64_t offset, uint64_t length)
{
	struct recovery *v = arg;

	problem(v, "segment %llu: a damaged record of %llu bytes at %llu",
	    (unsigned long long)v->at->number, (unsigned long long)length,
	    (unsigned long long)offset);
}

static const struct segment_scan_ops tail_ops = {
	.on_record = on_tail_record,
	.on_damage = on_tail_damage,
};

static const struct segment_scan_ops live_ops = {
	.on_record = on_tail_record,
	.live = true,
};

/* What stands at the places is durable: the owner is told. */
static int
places_take(struct recovery *v)
{
	struct record r;
	struct buf b;
	size_t i;

	buf_init(&b, RECORD_MAX);
	for (i = 0; i < v->nplaces; i++) {
		if (record_read(v->file, v->at->number, v->places[i].offset,
		    v->places[i].length, &b, &r) != RECORD_OK)
			break;
		v->st.found++;
		if (v->ids != NULL)
			idset_add(v->ids, r.id);
		v->ops->on_found(v->arg, &r);
	}
	buf_fini(&b);
	return i == v->nplaces ? 0 : -1;
}

/*
 * The writer may have died before its sync, or have seen it fail. What is
 * built on a record (its ACCEPT; of a DSN, the end of what it reports) may be
 * durable before it, so nothing is taken that is not.
 */
static int
tail_read(struct recovery *v, uint64_t limit, uint64_t *end_r)
{
	/* after damage of the log nobody reads again */
	bool live = v->ops->live && !v->st.rescanned;
	int rc = segment_scan(v->file, v->at->number, v->at->known, limit,
	    live ? &live_ops : &tail_ops, v, end_r);

	if (v->nplaces > 0 && !v->unsynced && sio_fdatasync(v->file) != 0)
		v->unsynced = true;
	if (v->unsynced) {
		problem(v, "segment %llu cannot be synced: %s",
		    (unsigned long long)v->at->number, strerror(errno));
		return -1;
	}
	return places_take(v) == 0 ? rc : -1;
}

static int
tail_scan(struct recovery *v, const struct tail *t, uint64_t limit,
    uint64_t *end_r)
{
	char path[SIO_PATH_MAX];
	int rc, err;

	*end_r = t->known;
	v->nplaces = 0;
	v->unsynced = false;
	v->at = t;
	sio_path(path, SEGMENTS, t->number, SEG_SUFFIX);
	v->file = sio_open(v->s, path, SIO_READ | SIO_WRITE);
	if (v->file == NULL)
		return -1;
	rc = tail_read(v, limit, end_r);
	err = errno;
	sio_close(&v->file);
	errno = err;
	v->st.segments++;
	v->st.tail_bytes += *end_r - t->known;
	return rc;
}

/* One that another start has skipped. 0, or -1 with errno. */
static int
skipped_read(struct recovery *v, uint64_t segment, struct skipped *k_r)
{
	bool whole;

	if (skipped_load(v->s, segment, k_r, &whole) != 0) {
		problem(v, "segment %llu was skipped, and what is known of it "
		    "cannot be read: %s", (unsigned long long)segment,
		    strerror(errno));
		return -1;
	}
	if (!whole)
		problem(v, "segment %llu was skipped, and what was known of it "
		    "is damaged", (unsigned long long)segment);
	return 0;
}

/*
 * All of a segment after damage, but for what another start has skipped, which
 * its owner reads later. What cannot be read or synced: see skipped_note().
 */
static int
tail_scan_whole(struct recovery *v, struct tail *t, uint64_t from)
{
	struct tail whole = { .number = t->number, .known = from };
	uint64_t end;

	if (tail_scan(v, &whole, UINT64_MAX, &end) == 0)
		return 0;
	if (v->unsynced)
		return -1;
	t->failed = true;
	problem(v, "segment %llu cannot be read: %s",
	    (unsigned long long)t->number, strerror(errno));
	return 0;
}

/* A tail that cannot be read or synced now is left: qmgr tries the segment
 * again before it closes it. */
static void
tail_scan_end(struct recovery *v, const struct tail *t)
{
	uint64_t end;

	if (!t->sealed && tail_scan(v, t, UINT64_MAX, &end) != 0)
		problem(v, "segment %llu cannot be read: %s",
		    (unsigned long long)t->number, strerror(errno));
}

/* With the messages that are not to be taken from it. */
static int
tail_scan_skipped(struct recovery *v, struct tail *t)
{
	struct idset *all = v->ids;
	struct skipped k;
	int rc = 0;

	if (skipped_read(v, t->number, &k) != 0)
		return -1;
	if (all != NULL) {
		rc = k.upto == UINT64_MAX ? 0 : tail_scan_whole(v, t, k.upto);
	} else {
		v->ids = k.ids;
		tail_scan_end(v, t);
		v->ids = NULL;
	}
	idset_free(&k.ids);
	return rc;
}

/* Nobody would look for what is missing from it any more: the next checkpoint
 * hides the damage. 0, or -1 with errno. */
static int
skipped_note(struct recovery *v, const struct tail *t, bool again)
{
	struct skipped k = { .segment = t->number, .upto = t->known };
	struct idset *old = NULL;
	uint64_t id;
	size_t at = 0;
	int rc;

	if (again) {
		if (skipped_read(v, t->number, &k) != 0)
			return -1;
		old = k.ids;
		if (k.upto < t->known)
			k.upto = t->known;
		while ((id = idset_next(old, &at)) != 0)
			idset_add(v->ids, id);
	}
	k.ids = v->ids;
	rc = skipped_save(v->s, &k);
	idset_free(&old);
	if (rc != 0)
		problem(v, "segment %llu: it cannot be noted that it was "
		    "skipped: %s", (unsigned long long)t->number,
		    strerror(errno));
	return rc;
}

static bool
has_number(const uint64_t *list, size_t n, uint64_t number)
{
	for (size_t i = 0; i < n; i++) {
		if (list[i] == number)
			return true;
	}
	return false;
}

static int
tails_each(struct recovery *v, const uint64_t *skipped, size_t n)
{
	int rc = 0;

	for (size_t i = 0; i < v->ntails && rc == 0; i++) {
		struct tail *t = &v->tails[i];

		heartbeat_beat();
		if (has_number(skipped, n, t->number))
			rc = tail_scan_skipped(v, t);
		else if (v->st.rescanned)
			rc = tail_scan_whole(v, t, SEGMENT_HEADER);
		else
			tail_scan_end(v, t);
	}
	for (size_t i = 0; i < v->ntails && rc == 0; i++) {
		if (v->tails[i].failed)
			rc = skipped_note(v, &v->tails[i],
			    has_number(skipped, n, v->tails[i].number));
	}
	return rc;
}

static int
tails_scan(struct recovery *v)
{
	uint64_t *list;
	size_t n;
	int rc, err;

	if (skipped_list(v->s, &list, &n) != 0)
		return -1;
	rc = tails_each(v, list, n);
	err = errno;
	free(list);
	errno = err;
	return rc;
}

/* After damage: which messages the rest of the log names. */
static int
ids_collect(struct recovery *v)
{
	int rc;

	v->ids = idset_new();
	if (v->ids == NULL)
		return -1;
	v->quiet = true;
	rc = events_read(v);
	v->quiet = false;
	return rc;
}

static int
recover(struct recovery *v)
{
	bool whole;

	if (tails_load(v) != 0 || checkpoint_choose(v) != 0 ||
	    log_begins(v, &whole) != 0)
		return -1;
	if (!whole) {
		problem(v, "the event log does not begin at file %llu",
		    (unsigned long long)(v->st.checkpoint != 0 ?
			v->st.checkpoint : 1));
		v->st.rescanned = true;
	}
	if (events_read(v) != 0)
		return -1;
	if (log_sync(v) != 0)
		return -1;
	if (v->st.rescanned && ids_collect(v) != 0)
		return -1;
	return tails_scan(v);
}

int
spool_recover(struct sio *s, const struct recover_ops *ops, void *arg,
    struct recover_stats *stats_r)
{
	struct recovery v = { .s = s, .ops = ops, .arg = arg };
	int rc = recover(&v);

	free(v.tails);
	free(v.places);
	idset_free(&v.ids);
	*stats_r = v.st;
	return rc;
}

int
spool_recover_tail(struct sio *s, uint64_t segment, uint64_t known,
    uint64_t end, struct idset *ids, const struct recover_ops *ops, void *arg,
    uint64_t *end_r)
{
	struct recovery v = { .s = s, .ops = ops, .arg = arg, .ids = ids };
	struct tail t = { .number = segment, .known = known };
	int rc = tail_scan(&v, &t, end, end_r), err = errno;

	free(v.places);
	errno = err;
	return rc;
}
