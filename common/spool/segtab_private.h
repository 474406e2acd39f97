/* SPDX-License-Identifier: ISC */
/*
 * What the files of the table share: segtab.c (segments and what is live in
 * them), segtab_grant.c (segments for writers), segtab_large.c (large files).
 */
#ifndef COMMON_SPOOL_SEGTAB_PRIVATE_H
#define COMMON_SPOOL_SEGTAB_PRIVATE_H

#include "common/spool/segtab.h"

struct seg {
	struct seg_info info;
	struct evlog_pos ended;   /* where its last message ended */
	struct sio_file *reader;  /* or NULL */
	bool renamed;             /* to free.N, not durable yet */
	bool skipped;             /* at a start, and not read yet */
};

struct large {
	uint64_t id;
	uint32_t refs;
	bool ending;              /* unlinked when `ended` is durable */
	bool old;                 /* of an earlier start */
	unsigned writer;          /* NOBODY: none that we know of */
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
	uint64_t kept, kept_as;   /* free.kept, or kept_as.seg: could not be
	                           * granted, goes with the next grant; 0: none */
	unsigned empties, endings;
	bool filling;
};

/* ---- segtab.c ---- */

/* A segment of an earlier qmgr is not read to its end, or was skipped: a record
 * in it may name any large file. */
bool segtab_is_unread(const struct segtab *t);

/* The array with room for one more of n. */
void *segtab_grow(void *list, size_t n, size_t *room, size_t each);
struct seg *segtab_seg_add(struct segtab *t, uint64_t n, enum seg_state state);
/* The file free.n is there. */
void segtab_free_add(struct segtab *t, uint64_t n);
const char *segtab_seg_path(char out[SIO_PATH_MAX], uint64_t n);
const char *segtab_free_path(char out[SIO_PATH_MAX], uint64_t n);

/* ---- segtab_large.c ---- */

/* Those of earlier starts. 0, or -1 with errno. */
int segtab_larges_load(struct segtab *t);
/* Unlinks what ended before that place. 0, or -1 with errno. */
int segtab_larges_release(struct segtab *t, struct evlog_pos durable);

#endif
