/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/spool/evframe.h"
#include "common/spool/evlog.h"

/* What may wait for a disk that takes nothing: minutes at full rate. */
#define FRAMES_MAX   ((size_t)512 << 20)
#define FRAMES_KEEP  ((size_t)4 << 20)

/*
 * frames holds everything of the current file from `durable` on, so that it
 * can be written to another file when a sync fails.
 */
struct evlog {
	struct sio *s;
	struct sio_file *file;    /* NULL: to be made by evlog_write() */
	uint64_t number;          /* of the current file */
	uint64_t durable;         /* offset in it */
	struct evlog_pos prev;    /* valid end of the file before */
	struct evlog_pos told;    /* what evlog_durable() says: durable, but for
	                           * records that moved to a new file */
	struct buf frames;
	size_t nwritten;          /* of frames, handed to the system */
	uint64_t failures;
	bool syncing;
	bool broken;              /* a write failed: leave the file */
};

/* ---- writer ---- */

/* Leaves the current file at its durable end; what is behind goes to the next
 * one. After that nothing is ever added to the old one, whose end stands in
 * the header of the next, which may be on disk at any time. */
static void
file_leave(struct evlog *l)
{
	sio_close(&l->file);
	l->prev = (struct evlog_pos){ l->number, l->durable };
	l->number++;
	l->durable = EVLOG_FILE_START;
	l->nwritten = 0;
	l->broken = false;
	evframe_renumber(&l->frames, l->number);
}

/* The records that move here come before the header, which ends the old file:
 * a kill in between forgets none of them. */
static int
file_start(struct evlog *l, struct sio_file *f)
{
	unsigned char head[EVFRAME_FILE_HEADER];
	struct evframe_file info = { l->number, l->prev.file, l->prev.offset };
	struct sv frames = buf_sv(&l->frames);

	evframe_header_make(head, EVFRAME_LOG, &info);
	if (frames.n > 0 &&
	    sio_pwrite(f, frames.p, frames.n, EVLOG_FILE_START) != 0)
		return -1;
	if (sio_pwrite(f, head, sizeof(head), 0) != 0 ||
	    sio_fdatasync(f) != 0 || sio_fsync_dir(l->s, EVLOG_FOLDER) != 0)
		return -1;
	l->nwritten = frames.n;
	return 0;
}

static int
file_make(struct evlog *l)
{
	char path[SIO_PATH_MAX];
	struct sio_file *f;
	int err;

	sio_path(path, EVLOG_FOLDER, l->number, EVLOG_SUFFIX);
	f = sio_open(l->s, path, SIO_WRITE | SIO_CREATE | SIO_TRUNC);
	if (f == NULL)
		return -1;
	/* So that outcomes can be recorded on a disk that became full; where
	 * it cannot be done it is done without. */
	(void)sio_allocate(f, EVLOG_FILE_SIZE);
	if (file_start(l, f) == 0) {
		l->file = f;
		/* nothing waits: else told stays at what was synced last */
		if (buf_len(&l->frames) == 0)
			l->told = (struct evlog_pos){ l->number, l->durable };
		return 0;
	}
	err = errno;
	sio_close(&f);
	/* A new file the next time: this one is not synced again. */
	(void)sio_unlink(l->s, path);
	errno = err;
	return -1;
}

struct evlog *
evlog_open(struct sio *s, struct evlog_pos end)
{
	struct evlog *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->s = s;
	l->prev = end;
	l->number = end.file + 1;
	l->durable = EVLOG_FILE_START;
	buf_init(&l->frames, FRAMES_MAX);
	if (file_make(l) != 0)
		evlog_free(&l);
	return l;
}

void
evlog_free(struct evlog **lp)
{
	struct evlog *l = *lp;
	int err = errno;

	*lp = NULL;
	if (l == NULL)
		return;
	sio_close(&l->file);
	buf_fini(&l->frames);
	free(l);
	errno = err;
}

int
evlog_append(struct evlog *l, enum ev_type type, const union ev_any *m)
{
	size_t start = evframe_begin(&l->frames);
	struct wr w;

	if (start == SIZE_MAX)
		return -1;
	wr_init_buf(&w, &l->frames);
	ev_encode(&w, type, m);
	if (w.failed) {
		l->frames.tail = l->frames.head + start;
		return -1;
	}
	return evframe_end(&l->frames, start, l->number, (unsigned)type);
}

/* Errors after which the same write can be tried again. */
static bool
is_passing(int err)
{
	return err == ENOSPC || err == EDQUOT || err == ENOMEM;
}

int
evlog_write(struct evlog *l)
{
	size_t n;

	if (l->broken && l->syncing) {
		errno = EIO;
		return -1;
	}
	if (l->broken)
		file_leave(l);
	if (l->file == NULL && file_make(l) != 0)
		return -1;
	n = buf_len(&l->frames) - l->nwritten;
	if (n == 0)
		return 0;
	if (sio_pwrite(l->file, buf_data(&l->frames) + l->nwritten, n,
		l->durable + l->nwritten) != 0) {
		if (!is_passing(errno)) {
			l->broken = true;
			l->failures++;
		}
		return -1;
	}
	l->nwritten += n;
	return 0;
}

struct evlog_pos
evlog_position(const struct evlog *l)
{
	return (struct evlog_pos){ l->number,
		l->durable + buf_len(&l->frames) };
}

struct evlog_pos
evlog_durable(const struct evlog *l)
{
	return l->told;
}

bool
evlog_sync_begin(struct evlog *l, struct evlog_sync *sync_r)
{
	if (l->syncing || buf_len(&l->frames) == 0)
		return false;
	if (evlog_write(l) != 0)
		return false;
	l->syncing = true;
	sync_r->file = l->file;
	sync_r->upto = evlog_position(l);
	return true;
}

int
evlog_sync_run(const struct evlog_sync *sync)
{
	return sio_fdatasync(sync->file) == 0 ? 0 : errno;
}

int
evlog_sync_done(struct evlog *l, const struct evlog_sync *sync, int err)
{
	size_t n = (size_t)(sync->upto.offset - l->durable);

	l->syncing = false;
	if (err != 0) {
		l->failures++;
		l->broken = true;
		return evlog_write(l);
	}
	buf_consume(&l->frames, n);
	buf_trim(&l->frames, FRAMES_KEEP);
	l->nwritten -= n;
	l->durable = sync->upto.offset;
	l->told = sync->upto;
	/* With a full file, the next one: now is when there is least to wait
	 * for. If it does not go, this one just becomes longer. */
	if (l->durable >= EVLOG_FILE_SIZE)
		(void)evlog_rotate(l);
	return 0;
}

int
evlog_sync(struct evlog *l)
{
	struct evlog_sync sync;
	int err;

	if (l->syncing) {
		errno = EBUSY;
		return -1;
	}
	while (buf_len(&l->frames) > 0) {
		if (!evlog_sync_begin(l, &sync))
			return -1;
		err = evlog_sync_run(&sync);
		if (evlog_sync_done(l, &sync, err) != 0)
			return -1;
	}
	return 0;
}

int
evlog_rotate(struct evlog *l)
{
	uint64_t number = l->number;

	if (l->syncing) {
		errno = EBUSY;
		return -1;
	}
	if (evlog_sync(l) != 0)
		return -1;
	/* else the sync did it, or an earlier try came that far */
	if (l->number == number && l->file != NULL)
		file_leave(l);
	return l->file == NULL ? file_make(l) : 0;
}

int
evlog_cut(struct evlog *l, uint64_t file)
{
	uint64_t *list;
	size_t n;
	int rc = 0;

	if (sio_numbers(l->s, EVLOG_FOLDER, EVLOG_SUFFIX, &list, &n) != 0)
		return -1;
	for (size_t i = 0; i < n && list[i] < file; i++) {
		char path[SIO_PATH_MAX];

		sio_path(path, EVLOG_FOLDER, list[i], EVLOG_SUFFIX);
		if (list[i] != l->number && sio_unlink(l->s, path) != 0)
			rc = -1;
	}
	free(list);
	return rc;
}

uint64_t
evlog_failures(const struct evlog *l)
{
	return l->failures;
}
