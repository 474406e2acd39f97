/* SPDX-License-Identifier: ISC */
/* The segments and what is live in them, from their opening to the checkpoint
 * and the release. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/spool/segtab_private.h"

#define SEG_SUFFIX   ".seg"
#define FREE_PREFIX  "free."
#define TRIM_MOST    8

/* ---- arrays ---- */

void *
segtab_grow(void *list, size_t n, size_t *room, size_t each)
{
	if (n < *room)
		return list;
	*room = *room == 0 ? 16 : *room * 2;
	list = reallocarray(list, *room, each);
	if (list == NULL) /* GCOVR_EXCL_BR_LINE: memory */
		mem_exhausted(); /* a few dozen bytes per 64 MiB of mail */
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

struct seg *
segtab_seg_add(struct segtab *t, uint64_t n, enum seg_state state)
{
	size_t i = seg_index(t, n);

	t->segs = segtab_grow(t->segs, t->nsegs, &t->segs_room,
	    sizeof(*t->segs));
	memmove(t->segs + i + 1, t->segs + i,
	    (t->nsegs - i) * sizeof(*t->segs));
	t->nsegs++;
	t->segs[i] = (struct seg){ .info = {
		.number = n, .state = state, .known = SEGMENT_HEADER } };
	return &t->segs[i];
}

void
segtab_free_add(struct segtab *t, uint64_t n)
{
	t->frees = segtab_grow(t->frees, t->nfrees, &t->frees_room,
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

const char *
segtab_seg_path(char out[SIO_PATH_MAX], uint64_t n)
{
	return sio_path(out, SEGTAB_FOLDER, n, SEG_SUFFIX);
}

const char *
segtab_free_path(char out[SIO_PATH_MAX], uint64_t n)
{
	int len = snprintf(out, SIO_PATH_MAX, "%s/%s%010llu", SEGTAB_FOLDER,
	    FREE_PREFIX, (unsigned long long)n);

	if (len < 0 || len >= SIO_PATH_MAX) /* GCOVR_EXCL_BR_LINE: it fits */
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
		segtab_seg_add(t, n, SEG_ADOPTED);
		raise_to(&t->highest, n);
	} else if (strncmp(name, FREE_PREFIX, strlen(FREE_PREFIX)) == 0 &&
	    sio_number(name + strlen(FREE_PREFIX), "", &n)) {
		segtab_free_add(t, n);
		raise_to(&t->highest, n);
	}
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
	    segtab_larges_load(t) != 0) {
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

/* ---- segments ---- */

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
		g->reader = sio_open(t->s, segtab_seg_path(path, number),
		    SIO_READ);
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
	if (g->info.state == SEG_SEALED && g->info.live == 0 && !g->skipped) {
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
segtab_skipped_set(struct segtab *t, uint64_t segment, bool skipped)
{
	struct seg *g = seg_find(t, segment);

	if (g == NULL)
		return;
	g->skipped = skipped;
	seg_check_empty(t, g);
}

bool
segtab_is_unread(const struct segtab *t)
{
	for (size_t i = 0; i < t->nsegs; i++) {
		if (t->segs[i].info.state == SEG_ADOPTED || t->segs[i].skipped)
			return true;
	}
	return false;
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

/* Unlinks all but free_max, at least one, of the free files, lowest first: the
 * highest number that was ever granted must stay a name. A few at a time, since
 * each may take the disk a while: segtab_release() comes again. */
static void
frees_trim(struct segtab *t)
{
	for (int n = 0; n < TRIM_MOST && t->nfrees > t->free_max; n++) {
		char path[SIO_PATH_MAX];
		size_t low = 0;

		for (size_t i = 1; i < t->nfrees; i++) {
			if (t->frees[i] < t->frees[low])
				low = i;
		}
		(void)sio_unlink(t->s, segtab_free_path(path, t->frees[low]));
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
		segtab_free_add(t, g->info.number);
		t->empties--;
		n++;
	}
	t->nsegs = kept;
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
		    segtab_seg_path(from, g->info.number),
		    segtab_free_path(to, g->info.number)) != 0) {
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

int
segtab_release(struct segtab *t, struct evlog_pos durable)
{
	int n = 0, rc = 0;

	if (t->empties > 0)
		n = segs_release(t, durable);
	if (t->endings > 0)
		rc = segtab_larges_release(t, durable);
	frees_trim(t);
	return n < 0 || rc != 0 ? -1 : n;
}

bool
segtab_compact_pick(const struct segtab *t, uint64_t *number_r)
{
	for (size_t i = 0; i < t->nsegs; i++) {
		const struct seg_info *g = &t->segs[i].info;

		if (g->state == SEG_SEALED && g->live > 0 &&
		    !t->segs[i].skipped &&
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
		if (checkpoint_add(cp, type, &any) != 0) /* GCOVR_EXCL_BR_LINE:
							  * memory */
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

/* ---- space ---- */

bool
segtab_space_ok(struct segtab *t, uint64_t min_free_bytes)
{
	struct sio_space sp;

	/* A segment and a log file may have to be made at any time. */
	return sio_space(t->s, &sp) == 0 && sp.free_bytes >= min_free_bytes &&
	    sp.free_inodes >= 16; /* GCOVR_EXCL_BR_LINE: no end */
}
