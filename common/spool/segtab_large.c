/* SPDX-License-Identifier: ISC */
/* Large files: who writes them, which messages use them, when they go. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/spool/segtab_private.h"

#define LARGE_FOLDER "large"
#define NOBODY UINT_MAX
#define GONE   (UINT_MAX - 1)

/* ---- the table ---- */

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
	t->larges = segtab_grow(t->larges, t->nlarges, &t->larges_room,
	    sizeof(*t->larges));
	t->larges[t->nlarges++] = (struct large){ .id = id, .old = old,
		.writer = NOBODY };
}

static const char *
large_path(char out[SIO_PATH_MAX], uint64_t id)
{
	int len = snprintf(out, SIO_PATH_MAX, "%s/%020llu", LARGE_FOLDER,
	    (unsigned long long)id);

	if (len < 0 || len >= SIO_PATH_MAX) /* GCOVR_EXCL_BR_LINE: it fits */
		abort();
	return out;
}

int
segtab_larges_load(struct segtab *t)
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

int
segtab_larges_release(struct segtab *t, struct evlog_pos durable)
{
	size_t kept = 0;
	int rc = 0;

	for (size_t i = 0; i < t->nlarges; i++) {
		struct large *l = &t->larges[i];
		char path[SIO_PATH_MAX];

		if (!l->ending ||
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

/* ---- the calls of qmgr ---- */

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

int
segtab_large_move(struct segtab *t, uint64_t large_id, const char *folder,
    const char *to)
{
	char path[SIO_PATH_MAX];

	return sio_rename(t->s, large_path(path, large_id), to) == 0 &&
	    sio_fsync_dir(t->s, folder) == 0 &&
	    sio_fsync_dir(t->s, LARGE_FOLDER) == 0 ? 0 : -1;
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
segtab_large_drop(struct segtab *t, uint64_t large_id, struct evlog_pos at)
{
	struct large *l = large_find(t, large_id);

	if (l == NULL || l->refs > 0 || l->ending)
		return;
	l->ending = true;
	l->ended = at;
	t->endings++;
}

void
segtab_large_owner_set(struct segtab *t, uint64_t large_id, unsigned writer)
{
	struct large *l = large_find(t, large_id);

	if (l != NULL)
		l->writer = writer;
}

void
segtab_larges_gone(struct segtab *t, unsigned writer)
{
	for (size_t i = 0; i < t->nlarges; i++) {
		if (t->larges[i].writer == writer)
			t->larges[i].writer = GONE;
	}
}

void
segtab_large_drop_later(struct segtab *t, uint64_t large_id)
{
	segtab_large_owner_set(t, large_id, GONE);
}

void
segtab_larges_drop(struct segtab *t, struct evlog_pos at)
{
	if (segtab_is_unread(t))
		return;
	for (size_t i = 0; i < t->nlarges; i++) {
		if (t->larges[i].writer == GONE)
			segtab_large_drop(t, t->larges[i].id, at);
	}
}

int
segtab_large_sweep(struct segtab *t)
{
	static const struct evlog_pos none;

	if (segtab_is_unread(t))
		return 0; /* the next start's sweep gets them */
	for (size_t i = 0; i < t->nlarges; i++) {
		if (t->larges[i].old)
			segtab_large_drop(t, t->larges[i].id, none);
	}
	return segtab_larges_release(t, none);
}
