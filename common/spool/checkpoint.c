/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crc32c.h"
#include "common/ipc/heartbeat.h"
#include "common/spool/checkpoint.h"
#include "common/spool/evframe.h"

#define TRAILER     0xffffu /* type of the last frame: count, CRC of heads */
#define WRITE_BLOCK ((size_t)256 << 10)
#define READ_BLOCK  ((size_t)256 << 10)
#define TMP         ".tmp"

struct checkpoint {
	struct sio *s;
	struct sio_file *file;
	uint64_t number, at;    /* at: written so far */
	uint64_t count;
	uint32_t crc;
	struct buf out;
};

/* ---- writing ---- */

struct checkpoint *
checkpoint_begin(struct sio *s, uint64_t number)
{
	unsigned char head[EVFRAME_FILE_HEADER];
	struct evframe_file info = { .number = number };
	struct checkpoint *c = calloc(1, sizeof(*c));
	char path[SIO_PATH_MAX];

	if (c == NULL)
		return NULL;
	c->s = s;
	c->number = number;
	buf_init(&c->out, (size_t)EVFRAME_PAYLOAD_MAX + WRITE_BLOCK * 2);
	evframe_header_make(head, EVFRAME_CHECKPOINT, &info);
	c->file = sio_open(s, sio_path(path, CHECKPOINT_FOLDER, number, TMP),
	    SIO_WRITE | SIO_CREATE | SIO_TRUNC);
	if (c->file == NULL || buf_add(&c->out, head, sizeof(head)) != 0)
		checkpoint_abort(&c);
	return c;
}

static int
out_write(struct checkpoint *c)
{
	size_t n = buf_len(&c->out);

	if (sio_pwrite(c->file, buf_data(&c->out), n, c->at) != 0)
		return -1;
	c->at += n;
	buf_clear(&c->out);
	return 0;
}

/* Ends the frame that begins at start. */
static int
frame_end(struct checkpoint *c, size_t start, unsigned type)
{
	/* GCOVR_EXCL_BR_START: memory */
	if (evframe_end(&c->out, start, c->number, type) != 0) {
		/* GCOVR_EXCL_BR_STOP */
		errno = EOVERFLOW;
		return -1;
	}
	c->crc = crc32c(c->crc, buf_data(&c->out) + start, EVFRAME_HEAD);
	if (buf_len(&c->out) >= WRITE_BLOCK)
		return out_write(c);
	return 0;
}

int
checkpoint_add(struct checkpoint *c, enum ev_type type, const union ev_any *m)
{
	size_t start = evframe_begin(&c->out);
	struct wr w;

	if (start == SIZE_MAX) /* GCOVR_EXCL_BR_LINE: memory */
		return -1;
	wr_init_buf(&w, &c->out);
	ev_encode(&w, type, m);
	if (w.failed) {
		errno = EOVERFLOW;
		return -1;
	}
	c->count++;
	return frame_end(c, start, (unsigned)type);
}

static int
trailer_add(struct checkpoint *c)
{
	size_t start = evframe_begin(&c->out);
	struct wr w;

	if (start == SIZE_MAX) /* GCOVR_EXCL_BR_LINE: memory */
		return -1;
	wr_init_buf(&w, &c->out);
	wr_u64(&w, c->count);
	wr_u32(&w, c->crc);
	/* GCOVR_EXCL_BR_START: memory */
	if (w.failed || frame_end(c, start, TRAILER) != 0)
		/* GCOVR_EXCL_BR_STOP */
		return -1;
	return out_write(c);
}

int
checkpoint_commit(struct checkpoint **cp)
{
	struct checkpoint *c = *cp;
	char from[SIO_PATH_MAX], to[SIO_PATH_MAX];

	sio_path(from, CHECKPOINT_FOLDER, c->number, TMP);
	sio_path(to, CHECKPOINT_FOLDER, c->number, "");
	if (trailer_add(c) != 0 || sio_fdatasync(c->file) != 0 ||
	    sio_rename(c->s, from, to) != 0 ||
	    sio_fsync_dir(c->s, CHECKPOINT_FOLDER) != 0) {
		checkpoint_abort(cp);
		return -1;
	}
	*cp = NULL;
	sio_close(&c->file);
	buf_fini(&c->out);
	free(c);
	return 0;
}

void
checkpoint_abort(struct checkpoint **cp)
{
	struct checkpoint *c = *cp;
	char path[SIO_PATH_MAX];
	int err = errno;

	*cp = NULL;
	if (c == NULL)
		return;
	if (c->file != NULL)
		(void)sio_unlink(c->s, sio_path(path, CHECKPOINT_FOLDER,
		    c->number, TMP));
	sio_close(&c->file);
	buf_fini(&c->out);
	free(c);
	errno = err;
}

uint64_t
checkpoint_size(struct sio *s, uint64_t number)
{
	char path[SIO_PATH_MAX];
	struct sio_file *f = sio_open(s, sio_path(path, CHECKPOINT_FOLDER,
	    number, ""), SIO_READ);
	uint64_t size = 0;

	if (f != NULL && sio_size(f, &size) != 0)
		size = 0;
	sio_close(&f);
	return size;
}

static int
names_cut(struct sio *s, uint64_t number, const char *suffix)
{
	uint64_t *list;
	size_t n;
	int rc = 0;

	if (sio_numbers(s, CHECKPOINT_FOLDER, suffix, &list, &n) != 0)
		return -1;
	for (size_t i = 0; i < n && list[i] < number; i++) {
		char path[SIO_PATH_MAX];

		if (sio_unlink(s, sio_path(path, CHECKPOINT_FOLDER, list[i],
			suffix)) != 0)
			rc = -1;
	}
	free(list);
	return rc;
}

int
checkpoint_cut(struct sio *s, uint64_t number)
{
	int rc = names_cut(s, number, "");

	return names_cut(s, number, TMP) == 0 ? rc : -1;
}

int
checkpoint_list(struct sio *s, uint64_t **list_r, size_t *n_r)
{
	return sio_numbers(s, CHECKPOINT_FOLDER, "", list_r, n_r);
}

/* ---- reading ---- */

struct reading {
	struct sio_file *file;
	uint64_t number, at;
	struct buf in;         /* bytes from at on */
	uint64_t count;
	uint32_t crc;          /* of all heads before `last` */
};

static void
reading_close(struct reading *r)
{
	sio_close(&r->file);
	buf_fini(&r->in);
}

/* More bytes behind those in the buffer: 1, 0 at the end, -1. */
static int
more(struct reading *r)
{
	unsigned char *p = buf_reserve(&r->in, READ_BLOCK);
	ssize_t n;

	if (p == NULL)
		return -1;
	n = sio_read_all(r->file, p, READ_BLOCK, r->at + buf_len(&r->in));
	if (n <= 0)
		return (int)n;
	buf_commit(&r->in, (size_t)n);
	return 1;
}

static int
reading_open(struct sio *s, uint64_t number, struct reading *r)
{
	struct evframe_file info;
	char path[SIO_PATH_MAX];

	*r = (struct reading){ .number = number };
	buf_init(&r->in, (size_t)EVFRAME_PAYLOAD_MAX + READ_BLOCK * 2);
	r->file = sio_open(s, sio_path(path, CHECKPOINT_FOLDER, number, ""),
	    SIO_READ);
	if (r->file == NULL)
		return -1;
	if (more(r) != 1 || buf_len(&r->in) < EVFRAME_FILE_HEADER ||
	    !evframe_header_check(buf_data(&r->in), EVFRAME_CHECKPOINT,
		&info) || info.number != number) {
		reading_close(r);
		errno = EBADMSG;
		return -1;
	}
	buf_consume(&r->in, EVFRAME_FILE_HEADER);
	r->at = EVFRAME_FILE_HEADER;
	return 0;
}

/* The next frame; its bytes stay until the next call. False: none is good. */
static bool
frame_next(struct reading *r, size_t *last, struct evframe *f_r)
{
	size_t need;
	int rc;

	if (*last > 0) {
		r->crc = crc32c(r->crc, buf_data(&r->in), EVFRAME_HEAD);
		buf_consume(&r->in, *last);
		r->at += *last;
	}
	for (;;) {
		rc = evframe_parse(buf_data(&r->in), buf_len(&r->in),
		    r->number, f_r, &need);
		if (rc != 0)
			break;
		if (more(r) != 1)
			return false;
	}
	if (rc < 0)
		return false;
	*last = f_r->length;
	return true;
}

/* 0 if whole, what fn returned, or -1. */
static int
walk(struct sio *s, uint64_t number, checkpoint_fn *fn, void *arg)
{
	struct reading r;
	struct evframe f;
	size_t last = 0;
	int rc = -1;

	if (reading_open(s, number, &r) != 0)
		return -1;
	errno = EBADMSG;
	while (frame_next(&r, &last, &f)) {
		union ev_any any;
		struct rd in;

		if (f.type == TRAILER) {
			rd_init(&in, f.payload.p, f.payload.n);
			if (rd_u64(&in) == r.count && rd_u32(&in) == r.crc &&
			    rd_done(&in))
				rc = 0;
			break;
		}
		r.count++;
		if (!ev_decode(f.type, f.payload, &any))
			break;
		if ((rc = fn(arg, (enum ev_type)f.type, &any)) != 0)
			break;
		rc = -1;
	}
	reading_close(&r);
	return rc;
}

static int
count_accept(void *arg, enum ev_type type, const union ev_any *m)
{
	uint64_t *n = arg;

	(void)m;
	heartbeat_beat(); /* a long one takes seconds to read */
	*n += type == EV_ACCEPT;
	return 0;
}

bool
checkpoint_check(struct sio *s, uint64_t number, uint64_t *messages_r)
{
	*messages_r = 0;
	return walk(s, number, count_accept, messages_r) == 0;
}

int
checkpoint_read(struct sio *s, uint64_t number, checkpoint_fn *fn, void *arg)
{
	return walk(s, number, fn, arg);
}
