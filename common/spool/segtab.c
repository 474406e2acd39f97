/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/spool/segtab.h"

#define LARGE_FOLDER "large"
#define SEG_SUFFIX   ".seg"
#define FREE_PREFIX  "free."
#define FILL_BLOCK   ((size_t)1 << 20)

struct seg {
	struct seg_info info;
	struct evlog_pos ended;   /* where its last message ended */
	struct sio_file *reader;  /* or NULL */
	bool renamed;             /* to free.N, not durable yet */
};

struct large {
	uint64_t id;
	uint32_t refs;
	bool ending;              /* unlinked when `ended` is durable */
	bool old;                 /* of an earlier start */
	struct evlog_pos ended;
};

/* Both arrays are sorted by number. */
struct segtab {
	struct sio *s;
	uint64_t epoch, seq;      /* make the names of large files */
	uint64_t highest;         /* segment number */
	uint64_t size;            /* of a segment */
	unsigned free_max;
	struct seg *segs;
	size_t nsegs, segs_room;
	struct large *larges;
	size_t nlarges, larges_room;
	uint64_t *frees;          /* numbers in names free.N */
	size_t nfrees, frees_room;
	unsigned empties, endings;
	bool filling;
};

struct segtab_fill {
	struct sio_file *file;
	uint64_t number, size;
};

/* ---- arrays ---- */

static void *
grow(void *list, size_t n, size_t *room, size_t each)
{
	if (n < *room)
		return list;
	*room = *room == 0 ? 16 : *room * 2;
	list = reallocarray(list, *room, each);
	if (list == NULL)
		abort(); /* a few dozen bytes per 64 MiB of mail */
	return list;
}

/* Index of the first with a number of at least n. */
static size_t
seg_index(const struct segtab *t, uint64_t n)
{
	size_t lo = 0, hi = t->nsegs;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (t->segs[mid].info.number < n)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct seg *
seg_find(const struct segtab *t, uint64_t n)
{
	size_t i = seg_index(t, n);

	return i < t->nsegs && t->segs[i].info.number == n ? &t->segs[i] :
	    NULL;
}

static struct seg *
seg_add(struct segtab *t, uint64_t n, enum seg_state state)
{
	size_t i = seg_index(t, n);

	t->segs = grow(t->segs, t->nsegs, &t->segs_room, sizeof(*t->segs));
	memmove(t->segs + i + 1, t->segs + i,
	    (t->nsegs - i) * sizeof(*t->segs));
	t->nsegs++;
	t->segs[i] = (struct seg){ .info = {
		.number = n, .state = state, .known = SEGMENT_HEADER } };
	return &t->segs[i];
}

static struct large *
large_find(const struct segtab *t, uint64_t id)
{
	size_t lo = 0, hi = t->nlarges;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (t->larges[mid].id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < t->nlarges && t->larges[lo].id == id ? &t->larges[lo] :
	    NULL;
}

/* Ids only grow, so it goes to the end. */
static void
large_add(struct segtab *t, uint64_t id, bool old)
{
	t->larges = grow(t->larges, t->nlarges, &t->larges_room,
	    sizeof(*t->larges));
	t->larges[t->nlarges++] = (struct large){ .id = id, .old = old };
}

static void
free_add(struct segtab *t, uint64_t n)
{
	t->frees = grow(t->frees, t->nfrees, &t->frees_room,
	    sizeof(*t->frees));
	t->frees[t->nfrees++] = n;
}

static void
raise_to(uint64_t *v, uint64_t n)
{
	if (*v < n)
		*v = n;
}

/* ---- names ---- */

static const char *
seg_path(char out[SIO_PATH_MAX], uint64_t n)
{
	return sio_path(out, SEGTAB_FOLDER, n, SEG_SUFFIX);
}

static const char *
free_path(char out[SIO_PATH_MAX], uint64_t n)
{
	int len = snprintf(out, SIO_PATH_MAX, "%s/%s%010llu", SEGTAB_FOLDER,
	    FREE_PREFIX, (unsigned long long)n);

	if (len < 0 || len >= SIO_PATH_MAX)
		abort();
	return out;
}

static const char *
large_path(char out[SIO_PATH_MAX], uint64_t id)
{
	int len = snprintf(out, SIO_PATH_MAX, "%s/%020llu", LARGE_FOLDER,
	    (unsigned long long)id);

	if (len < 0 || len >= SIO_PATH_MAX)
		abort();
	return out;
}

/* ---- opening ---- */

static int
on_name(const char *name, void *arg)
{
	struct segtab *t = arg;
	uint64_t n;

	if (sio_number(name, SEG_SUFFIX, &n)) {
		seg_add(t, n, SEG_ADOPTED);
		raise_to(&t->highest, n);
	} else if (strncmp(name, FREE_PREFIX, strlen(FREE_PREFIX)) == 0 &&
	    sio_number(name + strlen(FREE_PREFIX), "", &n)) {
		free_add(t, n);
		raise_to(&t->highest, n);
	}
	return 0;
}

static int
larges_load(struct segtab *t)
{
	uint64_t *list;
	size_t n;

	if (sio_numbers(t->s, LARGE_FOLDER, "", &list, &n) != 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		large_add(t, list[i], true);
	free(list);
	return 0;
}

struct segtab *
segtab_open(struct sio *s, const struct segtab_conf *conf)
{
	struct segtab *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->s = s;
	t->epoch = conf->epoch;
	t->free_max = conf->free_max != 0 ? conf->free_max : SEGTAB_FREE_MAX;
	t->size = conf->segment_size != 0 ? conf->segment_size : SEGMENT_SIZE;
	if (sio_list(s, SEGTAB_FOLDER, on_name, t) != 0 ||
	    larges_load(t) != 0) {
		int err = errno;

		segtab_free(&t);
		errno = err;
	}
	return t;
}

void
segtab_epoch_set(struct segtab *t, uint64_t epoch)
{
	t->epoch = epoch;
}

void
segtab_free(struct segtab **tp)
{
	struct segtab *t = *tp;

	*tp = NULL;
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->nsegs; i++)
		sio_close(&t->segs[i].reader);
	free(t->segs);
	free(t->larges);
	free(t->frees);
	free(t);
}

/* ---- granting ---- */

/* A new file of full size, not filled. */
static int
fresh_make(struct segtab *t)
{
	uint64_t n = t->highest + 1;
	char path[SIO_PATH_MAX];
	struct sio_file *f = sio_open(t->s, free_path(path, n),
	    SIO_WRITE | SIO_CREATE | SIO_EXCL);
	int rc;

	if (f == NULL)
		return -1;
	t->highest = n;
	rc = sio_ftruncate(f, t->size);
	/* Better no room now than in the middle of a batch. */
	if (rc == 0 && sio_allocate(f, t->size) != 0 && errno != EOPNOTSUPP)
		rc = -1;
	sio_close(&f);
	if (rc != 0) {
		int err = errno;

		(void)sio_unlink(t->s, path);
		errno = err;
		return -1;
	}
	free_add(t, n);
	return 0;
}

/* The header first, then the name: a file NNN.seg always has a good one. */
static int
renumber(struct segtab *t, uint64_t old, uint64_t number)
{
	unsigned char head[SEGMENT_HEADER];
	char from[SIO_PATH_MAX], to[SIO_PATH_MAX];
	struct sio_file *f = sio_open(t->s, free_path(from, old), SIO_WRITE);
	int rc;

	if (f == NULL)
		return -1;
	segment_header_make(head, number, t->size);
	rc = sio_pwrite(f, head, sizeof(head), 0);
	if (rc == 0)
		rc = sio_fdatasync(f);
	sio_close(&f);
	if (rc != 0 || sio_rename(t->s, from, seg_path(to, number)) != 0)
		return -1;
	return sio_fsync_dir(t->s, SEGTAB_FOLDER);
}

int
segtab_grant(struct segtab *t, unsigned writer, uint64_t *number_r)
{
	uint64_t old, number;
	struct seg *g;

	if (t->nfrees == 0 && fresh_make(t) != 0)
		return -1;
	old = t->frees[--t->nfrees];
	number = ++t->highest;
	/* After a failure the file is not synced again, and left under
	 * whichever name it has until the next start: its old number may be
	 * the highest there is. */
	if (renumber(t, old, number) != 0)
		return -1;
	g = seg_add(t, number, SEG_GRANTED);
	g->info.writer = writer;
	*number_r = number;
	return 0;
}

struct sio_file *
segtab_writer_open(struct segtab *t, uint64_t number)
{
	char path[SIO_PATH_MAX];

	return sio_open(t->s, seg_path(path, number), SIO_WRITE);
}

struct sio_file *
segtab_reader(struct segtab *t, uint64_t number)
{
	struct seg *g = seg_find(t, number);
	char path[SIO_PATH_MAX];

	if (g == NULL || g->renamed) {
		errno = ENOENT;
		return NULL;
	}
	if (g->reader == NULL)
		g->reader = sio_open(t->s, seg_path(path, number), SIO_READ);
	return g->reader;
}

uint64_t
segtab_segment_size(const struct segtab *t)
{
	return t->size;
}

static void
seg_check_empty(struct segtab *t, struct seg *g)
{
	if (g->info.state == SEG_SEALED && g->info.live == 0) {
		g->info.state = SEG_EMPTY;
		t->empties++;
	}
}

void
segtab_seal(struct segtab *t, uint64_t number, uint64_t end,
    struct evlog_pos at)
{
	struct seg *g = seg_find(t, number);

	if (g == NULL || g->info.state == SEG_EMPTY)
		return;
	g->info.state = SEG_SEALED;
	raise_to(&g->info.known, end);
	if (evlog_pos_cmp(g->ended, at) < 0)
		g->ended = at;
	seg_check_empty(t, g);
}

bool
segtab_info(const struct segtab *t, uint64_t number, struct seg_info *info_r)
{
	const struct seg *g = seg_find(t, number);

	if (g == NULL)
		return false;
	*info_r = g->info;
	return true;
}

bool
segtab_next(const struct segtab *t, size_t *at, struct seg_info *info_r)
{
	if (*at >= t->nsegs)
		return false;
	*info_r = t->segs[(*at)++].info;
	return true;
}

unsigned
segtab_free_count(const struct segtab *t)
{
	return (unsigned)t->nfrees;
}

/* ---- filling ---- */

struct segtab_fill *
segtab_fill_begin(struct segtab *t)
{
	struct segtab_fill *f;
	char path[SIO_PATH_MAX];

	errno = 0;
	if (t->filling || t->nfrees >= t->free_max)
		return NULL;
	f = calloc(1, sizeof(*f));
	if (f == NULL)
		return NULL;
	f->number = t->highest + 1;
	f->size = t->size;
	f->file = sio_open(t->s, free_path(path, f->number),
	    SIO_WRITE | SIO_CREATE | SIO_EXCL);
	if (f->file == NULL) {
		free(f);
		return NULL;
	}
	t->highest = f->number;
	t->filling = true;
	return f;
}

int
segtab_fill_run(struct segtab_fill *f)
{
	size_t block = f->size < FILL_BLOCK ? (size_t)f->size : FILL_BLOCK;
	unsigned char *zeros = calloc(1, block);
	int rc = 0;

	if (zeros == NULL)
		return -1;
	for (uint64_t at = 0; rc == 0 && at < f->size; at += block) {
		if (f->size - at < block)
			block = (size_t)(f->size - at);
		rc = sio_pwrite(f->file, zeros, block, at);
	}
	free(zeros);
	return rc == 0 ? sio_fdatasync(f->file) : -1;
}

void
segtab_fill_done(struct segtab *t, struct segtab_fill **fp, int result)
{
	struct segtab_fill *f = *fp;
	char path[SIO_PATH_MAX];

	*fp = NULL;
	t->filling = false;
	sio_close(&f->file);
	if (result == 0)
		free_add(t, f->number);
	else
		(void)sio_unlink(t->s, free_path(path, f->number));
	free(f);
}

/* ---- live messages ---- */

bool
segtab_ref(struct segtab *t, uint64_t segment, uint64_t offset,
    uint64_t length)
{
	struct seg *g = seg_find(t, segment);

	if (g == NULL || g->renamed)
		return false;
	if (g->info.state == SEG_EMPTY) {
		g->info.state = SEG_SEALED;
		t->empties--;
	}
	g->info.live++;
	g->info.live_bytes += length;
	raise_to(&g->info.known, offset + length);
	return true;
}

void
segtab_unref(struct segtab *t, uint64_t segment, uint64_t length,
    struct evlog_pos at)
{
	struct seg *g = seg_find(t, segment);

	if (g == NULL || g->info.live == 0)
		return;
	g->info.live--;
	g->info.live_bytes -= length < g->info.live_bytes ? length :
	    g->info.live_bytes;
	if (evlog_pos_cmp(g->ended, at) < 0)
		g->ended = at;
	seg_check_empty(t, g);
}

void
segtab_known(struct segtab *t, uint64_t segment, uint64_t offset)
{
	struct seg *g = seg_find(t, segment);

	if (g != NULL)
		raise_to(&g->info.known, offset);
}

void
segtab_recovered(struct segtab *t, struct evlog_pos at)
{
	for (size_t i = 0; i < t->nsegs; i++) {
		if (evlog_pos_cmp(t->segs[i].ended, at) < 0)
			t->segs[i].ended = at;
		seg_check_empty(t, &t->segs[i]);
	}
}

/* Unlinks all but free_max of the free files, lowest first: the highest number
 * that was ever granted must stay a name. */
static void
frees_trim(struct segtab *t)
{
	while (t->nfrees > t->free_max && t->nfrees > 1) {
		char path[SIO_PATH_MAX];
		size_t low = 0;

		for (size_t i = 1; i < t->nfrees; i++) {
			if (t->frees[i] < t->frees[low])
				low = i;
		}
		(void)sio_unlink(t->s, free_path(path, t->frees[low]));
		t->frees[low] = t->frees[--t->nfrees];
	}
}

/* Those that were renamed durably are free files now. */
static int
renamed_take(struct segtab *t)
{
	size_t kept = 0;
	int n = 0;

	for (size_t i = 0; i < t->nsegs; i++) {
		struct seg *g = &t->segs[i];

		if (!g->renamed) {
			t->segs[kept++] = *g;
			continue;
		}
		sio_close(&g->reader);
		free_add(t, g->info.number);
		t->empties--;
		n++;
	}
	t->nsegs = kept;
	frees_trim(t);
	return n;
}

static int
segs_release(struct segtab *t, struct evlog_pos durable)
{
	unsigned renamed = 0;
	int rc = 0;

	for (size_t i = 0; i < t->nsegs; i++) {
		struct seg *g = &t->segs[i];
		char from[SIO_PATH_MAX], to[SIO_PATH_MAX];

		if (g->info.state != SEG_EMPTY ||
		    evlog_pos_cmp(g->ended, durable) > 0)
			continue;
		if (!g->renamed && sio_rename(t->s,
		    seg_path(from, g->info.number),
		    free_path(to, g->info.number)) != 0) {
			rc = -1;
			continue;
		}
		g->renamed = true;
		renamed++;
	}
	if (renamed == 0)
		return rc;
	/* A checkpoint names those that are not durably renamed. */
	if (sio_fsync_dir(t->s, SEGTAB_FOLDER) != 0)
		return -1;
	renamed = (unsigned)renamed_take(t);
	return rc == 0 ? (int)renamed : -1;
}

static int
larges_release(struct segtab *t, struct evlog_pos durable)
{
	size_t kept = 0;
	int rc = 0;

	for (size_t i = 0; i < t->nlarges; i++) {
		struct large *l = &t->larges[i];
		char path[SIO_PATH_MAX];

		if (!l->ending || l->refs > 0 ||
		    evlog_pos_cmp(l->ended, durable) > 0) {
			t->larges[kept++] = *l;
			continue;
		}
		t->endings--;
		if (sio_unlink(t->s, large_path(path, l->id)) != 0 &&
		    errno != ENOENT)
			rc = -1; /* the next start's sweep gets it */
	}
	t->nlarges = kept;
	return rc;
}

int
segtab_release(struct segtab *t, struct evlog_pos durable)
{
	int n = 0, rc = 0;

	if (t->empties > 0)
		n = segs_release(t, durable);
	if (t->endings > 0)
		rc = larges_release(t, durable);
	return n < 0 || rc != 0 ? -1 : n;
}

bool
segtab_compact_pick(const struct segtab *t, uint64_t *number_r)
{
	for (size_t i = 0; i < t->nsegs; i++) {
		const struct seg_info *g = &t->segs[i].info;

		if (g->state == SEG_SEALED && g->live > 0 &&
		    g->live_bytes < t->size / 100 * SEGTAB_COMPACT_PERCENT) {
			*number_r = g->number;
			return true;
		}
	}
	return false;
}

int
segtab_checkpoint(const struct segtab *t, struct checkpoint *cp)
{
	for (size_t i = 0; i < t->nsegs; i++) {
		const struct seg_info *g = &t->segs[i].info;
		union ev_any any;
		enum ev_type type = EV_SEG_AT;

		if (g->state == SEG_SEALED || g->state == SEG_EMPTY) {
			type = EV_SEG_END;
			any.seg_end = (struct ev_seg_end){ g->number,
				g->known };
		} else {
			any.seg_at = (struct ev_seg_at){ g->number,
				g->known };
		}
		if (checkpoint_add(cp, type, &any) != 0)
			return -1;
	}
	return 0;
}

void
segtab_on_event(struct segtab *t, enum ev_type type, const union ev_any *m)
{
	struct seg *g;

	switch (type) {
	case EV_ACCEPT:
		segtab_known(t, m->accept.segment,
		    m->accept.offset + m->accept.length);
		break;
	case EV_MOVE:
		segtab_known(t, m->move.segment,
		    m->move.offset + m->move.length);
		break;
	case EV_SEG_AT:
		segtab_known(t, m->seg_at.segment, m->seg_at.offset);
		break;
	case EV_SEG_END:
		segtab_known(t, m->seg_end.segment, m->seg_end.end);
		g = seg_find(t, m->seg_end.segment);
		if (g != NULL && g->info.state == SEG_ADOPTED)
			g->info.state = SEG_SEALED;
		break;
	default:
		break;
	}
}

/* ---- large files ---- */

struct sio_file *
segtab_large_create(struct segtab *t, uint64_t *large_id_r)
{
	uint64_t id = t->epoch << 32 | ++t->seq;
	char path[SIO_PATH_MAX];
	struct sio_file *f = sio_open(t->s, large_path(path, id),
	    SIO_WRITE | SIO_CREATE | SIO_EXCL);

	if (f == NULL)
		return NULL;
	if (sio_fsync_dir(t->s, LARGE_FOLDER) != 0) {
		int err = errno;

		sio_close(&f);
		(void)sio_unlink(t->s, path);
		errno = err;
		return NULL;
	}
	large_add(t, id, false);
	*large_id_r = id;
	return f;
}

struct sio_file *
segtab_large_open(struct segtab *t, uint64_t large_id)
{
	char path[SIO_PATH_MAX];

	return sio_open(t->s, large_path(path, large_id), SIO_READ);
}

bool
segtab_large_ref(struct segtab *t, uint64_t large_id)
{
	struct large *l = large_find(t, large_id);

	if (l == NULL)
		return false;
	t->endings -= l->ending;
	l->ending = false;
	l->refs++;
	return true;
}

void
segtab_large_unref(struct segtab *t, uint64_t large_id, struct evlog_pos at)
{
	struct large *l = large_find(t, large_id);

	if (l == NULL || l->refs == 0 || --l->refs > 0)
		return;
	l->ending = true;
	l->ended = at;
	t->endings++;
}

void
segtab_large_drop(struct segtab *t, uint64_t large_id)
{
	struct large *l = large_find(t, large_id);

	if (l == NULL || l->refs > 0 || l->ending)
		return;
	l->ending = true;
	l->ended = (struct evlog_pos){ 0, 0 };
	t->endings++;
}

int
segtab_large_sweep(struct segtab *t)
{
	for (size_t i = 0; i < t->nlarges; i++) {
		if (t->larges[i].old)
			segtab_large_drop(t, t->larges[i].id);
	}
	return larges_release(t, (struct evlog_pos){ 0, 0 });
}

/* ---- space ---- */

bool
segtab_space_ok(struct segtab *t, uint64_t min_free_bytes)
{
	struct sio_space sp;

	/* A segment and a log file may have to be made at any time. */
	return sio_space(t->s, &sp) == 0 && sp.free_bytes >= min_free_bytes &&
	    sp.free_inodes >= 16;
}
