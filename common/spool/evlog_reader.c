/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/spool/evframe.h"
#include "common/spool/evlog.h"

#define BLOCK ((size_t)256 << 10)

struct evlog_reader {
	struct sio *s;
	const char *folder;       /* the caller's */
	struct sio_file *file;    /* of pos.file; NULL: not open */
	struct evlog_pos pos;
	uint64_t asked;           /* limit.file when `end` was looked up */
	uint64_t end;             /* where the file ends, by the header of its
	                           * successor; UINT64_MAX: not known */
	unsigned char *mem;       /* bytes [base, base + n) of the file */
	size_t size, n;
	uint64_t base;
};

struct evlog_reader *
evlog_reader_open(struct sio *s, const char *folder, struct evlog_pos from)
{
	struct evlog_reader *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->folder = folder;
	r->size = BLOCK;
	r->mem = malloc(r->size);
	if (r->mem == NULL) {
		free(r);
		return NULL;
	}
	r->s = s;
	r->pos = from;
	r->end = UINT64_MAX;
	if (r->pos.offset < EVLOG_FILE_START)
		r->pos.offset = EVLOG_FILE_START;
	return r;
}

void
evlog_reader_close(struct evlog_reader **rp)
{
	struct evlog_reader *r = *rp;

	*rp = NULL;
	if (r == NULL)
		return;
	sio_close(&r->file);
	free(r->mem);
	free(r);
}

struct evlog_pos
evlog_reader_position(const struct evlog_reader *r)
{
	return r->pos;
}

bool
evlog_reader_has_file(const struct evlog_reader *r)
{
	return r->file != NULL;
}

/* Opens a file and checks its header. NULL: errno is ENOENT if it is not
 * there, or if its header never became whole: then nothing is in it. */
static struct sio_file *
log_open(struct evlog_reader *r, uint64_t number, struct evframe_file *info_r)
{
	unsigned char head[EVFRAME_FILE_HEADER];
	char path[SIO_PATH_MAX];
	struct sio_file *f;
	ssize_t n;

	f = sio_open(r->s, sio_path(path, r->folder, number, EVLOG_SUFFIX),
	    SIO_READ);
	if (f == NULL)
		return NULL;
	n = sio_read_all(f, head, sizeof(head), 0);
	if (n == (ssize_t)sizeof(head) &&
	    evframe_header_check(head, EVFRAME_LOG, info_r) &&
	    info_r->number == number)
		return f;
	sio_close(&f);
	errno = n < 0 ? EIO : ENOENT;
	return NULL;
}

/* To the start of file number. */
static void
go_to(struct evlog_reader *r, uint64_t number)
{
	sio_close(&r->file);
	r->pos = (struct evlog_pos){ number, EVLOG_FILE_START };
	r->end = UINT64_MAX;
	r->asked = 0;
	r->n = 0;
}

/* The position has no file, or the file has no successor: goes to the next
 * file that there is. EVLOG_END if there is none. */
static enum evlog_next
gap_skip(struct evlog_reader *r)
{
	struct evframe_file info;
	uint64_t *list, next = 0;
	size_t n;

	if (sio_numbers(r->s, r->folder, EVLOG_SUFFIX, &list, &n) != 0)
		return EVLOG_ERROR;
	for (size_t i = 0; i < n && next == 0; i++) {
		struct sio_file *f;

		if (list[i] <= r->pos.file)
			continue;
		f = log_open(r, list[i], &info);
		if (f != NULL)
			next = list[i];
		else if (errno != ENOENT)
			next = UINT64_MAX; /* not to be passed over */
		sio_close(&f);
	}
	free(list);
	if (next == 0)
		return EVLOG_END;
	if (next == UINT64_MAX)
		return EVLOG_ERROR;
	go_to(r, next);
	return EVLOG_MISSING;
}

static int
oldest(struct evlog_reader *r)
{
	uint64_t *list;
	size_t n;

	if (sio_numbers(r->s, r->folder, EVLOG_SUFFIX, &list, &n) != 0)
		return -1;
	if (n > 0)
		r->pos.file = list[0];
	free(list);
	return 0;
}

/* Makes the file open and its end known as far as it can be. EVLOG_RECORD if
 * there is something to read from. */
static enum evlog_next
prepare(struct evlog_reader *r, struct evlog_pos limit)
{
	struct evframe_file info;

	if (r->pos.file == 0 && oldest(r) != 0)
		return EVLOG_ERROR;
	if (r->pos.file == 0 || evlog_pos_cmp(r->pos, limit) >= 0)
		return EVLOG_END;
	if (r->file == NULL) {
		r->file = log_open(r, r->pos.file, &info);
		if (r->file == NULL)
			return errno == ENOENT ? gap_skip(r) : EVLOG_ERROR;
	}
	if (r->end == UINT64_MAX && limit.file > r->pos.file &&
	    r->asked != limit.file) {
		struct sio_file *next = log_open(r, r->pos.file + 1, &info);

		if (next == NULL && errno != ENOENT)
			return EVLOG_ERROR;
		r->asked = limit.file;
		if (next != NULL && info.prev_file == r->pos.file)
			r->end = info.prev_end;
		sio_close(&next);
	}
	return EVLOG_RECORD;
}

/* Bytes at the position, at least want unless the file ends; -1. */
static ssize_t
fill(struct evlog_reader *r, size_t want)
{
	size_t have = 0;
	ssize_t got;

	if (r->pos.offset >= r->base && r->pos.offset - r->base <= r->n)
		have = r->n - (size_t)(r->pos.offset - r->base);
	if (have >= want)
		return (ssize_t)have;
	if (want > r->size) {
		unsigned char *mem = realloc(r->mem, want);

		if (mem == NULL)
			return -1;
		r->mem = mem;
		r->size = want;
	}
	/* Bytes seen before are read again: a live file may have changed
	 * behind the limit of that time. */
	r->base = r->pos.offset;
	r->n = 0;
	got = sio_read_all(r->file, r->mem, r->size, r->base);
	if (got > 0)
		r->n = (size_t)got;
	return got;
}

/* 1 and a frame, 0 if none is whole there, -1 with errno. */
static int
frame_get(struct evlog_reader *r, struct evframe *f_r)
{
	size_t need = EVFRAME_HEAD;

	for (;;) {
		ssize_t n = fill(r, need);
		size_t had = need;
		int rc;

		if (n < 0)
			return -1;
		/* A live file can have been read while its end was written:
		 * what looks bad is read again once. */
		rc = evframe_parse(r->mem + (r->pos.offset - r->base),
		    (size_t)n, r->pos.file, f_r, &need);
		if (rc < 0 && r->base != r->pos.offset) {
			r->n = 0;
			need = EVFRAME_HEAD;
			continue;
		}
		if (rc != 0)
			return rc > 0 ? 1 : 0;
		if (need <= had)
			return 0;
	}
}

enum evlog_next
evlog_reader_next(struct evlog_reader *r, struct evlog_pos limit,
    struct evlog_record *rec_r)
{
	for (;;) {
		enum evlog_next rc = prepare(r, limit);
		struct evframe f;
		uint64_t end = r->end;
		bool bounded;
		int got;

		if (rc != EVLOG_RECORD)
			return rc;
		if (r->pos.offset >= r->end) {
			go_to(r, r->pos.file + 1);
			continue;
		}
		bounded = end != UINT64_MAX || limit.file == r->pos.file;
		if (limit.file == r->pos.file && limit.offset < end)
			end = limit.offset;
		got = frame_get(r, &f);
		if (got < 0)
			return EVLOG_ERROR;
		if (got == 0 || f.length > end - r->pos.offset) {
			/* The torn end of a log without successor, or damage
			 * in front of a known end. */
			if (!bounded)
				return gap_skip(r);
			r->pos.offset = end;
			return EVLOG_DAMAGED;
		}
		rec_r->at = r->pos;
		r->pos.offset += f.length;
		rec_r->next = r->pos;
		rec_r->type = (enum ev_type)f.type;
		if (!ev_decode(f.type, f.payload, &rec_r->any))
			return EVLOG_DAMAGED;
		return EVLOG_RECORD;
	}
}

bool
evlog_reader_anew(struct evlog_reader **rp, struct evlog_pos limit)
{
	struct evlog_reader *r;

	if ((*rp)->pos.file <= limit.file)
		return false;
	r = evlog_reader_open((*rp)->s, (*rp)->folder,
	    (struct evlog_pos){ 0, 0 });
	if (r == NULL)
		return true;
	evlog_reader_close(rp);
	*rp = r;
	return true;
}
