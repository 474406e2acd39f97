/* SPDX-License-Identifier: ISC */
#include <errno.h>

#include "common/base/crc32c.h"
#include "common/base/rw.h"
#include "common/spool/offset.h"

#define OFFSET_MAGIC 0x46464f50u /* "POFF" */
#define SLOT_HEAD    8u          /* magic and length */
#define SLOT_FIXED   24u         /* generation, file, offset */

struct slot {
	uint64_t generation;
	struct evlog_pos pos;
	struct sv bytes;
};

static bool
slot_parse(struct sv mem, struct slot *s_r)
{
	struct rd r, body;
	uint32_t len, crc;
	struct sv all;

	rd_init(&r, mem.p, mem.n);
	if (rd_u32(&r) != OFFSET_MAGIC)
		return false;
	len = rd_u32(&r);
	if (len < SLOT_FIXED || len > SLOT_FIXED + OFFSET_BYTES_MAX)
		return false;
	all = rd_bytes(&r, len);
	crc = rd_u32(&r);
	if (r.failed || crc32c(0, mem.p, SLOT_HEAD + len) != crc)
		return false;
	rd_init(&body, all.p, all.n);
	s_r->generation = rd_u64(&body);
	s_r->pos.file = rd_u64(&body);
	s_r->pos.offset = rd_u64(&body);
	s_r->bytes = rd_bytes(&body, body.n);
	return s_r->generation > 0;
}

static int
slots_read(struct offset_store *o, struct evlog_pos *pos_r, struct buf *bytes)
{
	unsigned char mem[OFFSET_SLOT_SIZE];

	for (unsigned i = 0; i < 2; i++) {
		ssize_t n = sio_read_all(o->file, mem, sizeof(mem),
		    (uint64_t)i * OFFSET_SLOT_SIZE);
		struct slot s;

		if (n < 0)
			return -1;
		if (!slot_parse(sv_make(mem, (size_t)n), &s) ||
		    s.generation <= o->generation)
			continue;
		buf_clear(bytes);
		if (buf_add_sv(bytes, s.bytes) != 0) {
			errno = ENOMEM;
			return -1;
		}
		o->generation = s.generation;
		o->slot = 1 - i;
		*pos_r = s.pos;
	}
	return 0;
}

/*
 * The newest slot may be in the kernel only, if its writer was killed or its
 * sync failed: then the other slot is the durable one, and the next save would
 * go over it. So what is trusted is written again first.
 */
static int
slot_again(struct offset_store *o, struct evlog_pos pos,
    const struct buf *bytes)
{
	if (o->generation == 0)
		return 0;
	o->generation--;
	o->slot = 1 - o->slot;
	return offset_save(o, pos, buf_sv(bytes));
}

int
offset_open(struct offset_store *o, struct sio *s, const char *name,
    struct evlog_pos *pos_r, struct buf *bytes)
{
	*o = (struct offset_store){ .slot = 0 };
	*pos_r = (struct evlog_pos){ 0, 0 };
	buf_clear(bytes);
	o->file = sio_open(s, name, SIO_READ | SIO_WRITE | SIO_CREATE);
	if (o->file == NULL)
		return -1;
	if (sio_fsync_dir(s, "") != 0 || slots_read(o, pos_r, bytes) != 0 ||
	    slot_again(o, *pos_r, bytes) != 0) {
		int err = errno;

		offset_close(o);
		errno = err;
		return -1;
	}
	return 0;
}

int
offset_save(struct offset_store *o, struct evlog_pos pos, struct sv bytes)
{
	unsigned char mem[OFFSET_SLOT_SIZE];
	struct wr w;

	wr_init(&w, mem, sizeof(mem));
	wr_u32(&w, OFFSET_MAGIC);
	wr_u32(&w, (uint32_t)(SLOT_FIXED + bytes.n));
	wr_u64(&w, o->generation + 1);
	wr_u64(&w, pos.file);
	wr_u64(&w, pos.offset);
	wr_bytes(&w, bytes.p, bytes.n);
	if (w.failed || bytes.n > OFFSET_BYTES_MAX) {
		errno = EOVERFLOW;
		return -1;
	}
	wr_u32(&w, crc32c(0, mem, w.n));
	if (sio_pwrite(o->file, mem, w.n,
	    (uint64_t)o->slot * OFFSET_SLOT_SIZE) != 0 ||
	    sio_fdatasync(o->file) != 0)
		return -1;
	o->generation++;
	o->slot = 1 - o->slot;
	return 0;
}

void
offset_close(struct offset_store *o)
{
	sio_close(&o->file);
}
