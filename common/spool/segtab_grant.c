/* SPDX-License-Identifier: ISC */
/* Segments for writers: free files are taken, made, or written full ahead of
 * the need. */
#include <errno.h>
#include <stdlib.h>

#include "common/spool/segtab_private.h"

#define FILL_BLOCK ((size_t)1 << 20)

struct segtab_fill {
	struct sio_file *file;
	uint64_t number, size;
	size_t block;
	unsigned char zeros[];    /* of it */
};

/* A new file of full size, not filled. */
static int
fresh_make(struct segtab *t)
{
	uint64_t n = t->highest + 1;
	char path[SIO_PATH_MAX];
	struct sio_file *f = sio_open(t->s, segtab_free_path(path, n),
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
	segtab_free_add(t, n);
	return 0;
}

/* The header first, then the name: a file NNN.seg always has a good one. */
static int
renumber(struct segtab *t, uint64_t old, uint64_t number)
{
	unsigned char head[SEGMENT_HEADER];
	char from[SIO_PATH_MAX], to[SIO_PATH_MAX];
	struct sio_file *f = sio_open(t->s, segtab_free_path(from, old),
	    SIO_WRITE);
	int rc;

	if (f == NULL)
		return -1;
	segment_header_make(head, number, t->size);
	rc = sio_pwrite(f, head, sizeof(head), 0);
	if (rc == 0)
		rc = sio_fdatasync(f);
	sio_close(&f);
	if (rc != 0 || sio_rename(t->s, from, segtab_seg_path(to, number)) != 0)
		return -1;
	return sio_fsync_dir(t->s, SEGTAB_FOLDER);
}

/* Under whichever name it has. */
static void
grant_unlink(struct segtab *t, uint64_t old, uint64_t number)
{
	char path[SIO_PATH_MAX];

	if (sio_unlink(t->s, segtab_free_path(path, old)) != 0)
		(void)sio_unlink(t->s, segtab_seg_path(path, number));
}

static bool
is_highest_name(const struct segtab *t, uint64_t n)
{
	for (size_t i = 0; i < t->nsegs; i++) {
		if (t->segs[i].info.number > n)
			return false;
	}
	for (size_t i = 0; i < t->nfrees; i++) {
		if (t->frees[i] > n)
			return false;
	}
	return t->kept <= n;
}

static void
kept_remove(struct segtab *t)
{
	if (t->kept != 0)
		grant_unlink(t, t->kept, t->kept_as);
	t->kept = 0;
}

/* Removes it, unless its old number may be the highest that was ever granted,
 * which a start must see: then when a higher one is granted. */
static void
grant_undo(struct segtab *t, uint64_t old, uint64_t number, bool fresh)
{
	int err = errno;

	if (!fresh && is_highest_name(t, old)) {
		kept_remove(t);
		t->kept = old;
		t->kept_as = number;
	} else {
		grant_unlink(t, old, number);
	}
	errno = err;
}

int
segtab_grant(struct segtab *t, unsigned writer, uint64_t *number_r)
{
	bool fresh = t->nfrees == 0;
	uint64_t old, number;
	struct seg *g;

	if (fresh && fresh_make(t) != 0)
		return -1;
	old = t->frees[--t->nfrees];
	number = ++t->highest;
	/* After a failure the file is not synced again: it goes. */
	if (renumber(t, old, number) != 0) {
		grant_undo(t, old, number, fresh);
		return -1;
	}
	kept_remove(t);
	g = segtab_seg_add(t, number, SEG_GRANTED);
	g->info.writer = writer;
	*number_r = number;
	return 0;
}

struct sio_file *
segtab_writer_open(struct segtab *t, uint64_t number)
{
	char path[SIO_PATH_MAX];

	return sio_open(t->s, segtab_seg_path(path, number), SIO_WRITE);
}

/* ---- filling ---- */

struct segtab_fill *
segtab_fill_begin(struct segtab *t)
{
	size_t block = t->size < FILL_BLOCK ? (size_t)t->size : FILL_BLOCK;
	struct segtab_fill *f;
	char path[SIO_PATH_MAX];

	errno = 0;
	/* the empty ones are on their way to the free ones */
	if (t->filling || t->nfrees + t->empties >= t->free_max)
		return NULL;
	f = calloc(1, sizeof(*f) + block);
	if (f == NULL)
		return NULL;
	f->block = block;
	f->number = t->highest + 1;
	f->size = t->size;
	f->file = sio_open(t->s, segtab_free_path(path, f->number),
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
	size_t block = f->block;
	int rc = 0;

	for (uint64_t at = 0; rc == 0 && at < f->size; at += block) {
		if (f->size - at < block)
			block = (size_t)(f->size - at);
		rc = sio_pwrite(f->file, f->zeros, block, at);
	}
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
		segtab_free_add(t, f->number);
	else
		(void)sio_unlink(t->s, segtab_free_path(path, f->number));
	free(f);
}
