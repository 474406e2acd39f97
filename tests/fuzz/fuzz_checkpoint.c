/* SPDX-License-Identifier: ISC */
/*
 * A checkpoint made of any records. Input: the place of one bit, then pieces
 * of type, length, bytes; those that decode as a record are written. Oracles:
 * it is whole, and reading gives the same records in order; with that bit
 * flipped, or cut there, it is not whole, or reads the same (padding).
 */
#include <string.h>

#include "common/base/rw.h"
#include "common/spool/checkpoint.h"
#include "common/spool/sio_mem.h"
#include "tests/fuzz/fuzz.h"

#define NUMBER 7
#define PATH   "checkpoint/0000000007"

static bool
is_whole(struct sio *s)
{
	uint64_t messages;

	return checkpoint_check(s, NUMBER, &messages);
}

static int
on_record(void *arg, enum ev_type type, const union ev_any *m)
{
	struct wr w;

	wr_init_buf(&w, arg);
	wr_u16(&w, (uint16_t)type);
	ev_encode(&w, type, m);
	must(!w.failed);
	return 0;
}

static void
read_check(struct sio *s, const struct buf *want)
{
	struct buf got;

	buf_init(&got, 1u << 24);
	must(checkpoint_read(s, NUMBER, on_record, &got) == 0);
	must(sv_eq(buf_sv(&got), buf_sv(want)));
	buf_fini(&got);
}

static void
write_all(struct sio *s, struct rd *r, struct buf *want)
{
	struct checkpoint *c = checkpoint_begin(s, NUMBER);

	must(c != NULL);
	while (r->n > 0 && !r->failed) {
		unsigned type = rd_u8(r) % (EV_TYPES + 1u);
		struct sv bytes = rd_bytes(r, rd_u16(r));
		union ev_any m;

		if (r->failed || !ev_decode(type, bytes, &m))
			continue;
		must(checkpoint_add(c, (enum ev_type)type, &m) == 0);
		(void)on_record(want, (enum ev_type)type, &m);
	}
	must(checkpoint_commit(&c) == 0);
}

static void
damage_check(struct sio *s, const struct buf *want, uint32_t place)
{
	struct sio_file *f = sio_open(s, PATH, SIO_READ | SIO_WRITE);
	uint64_t size = 0;

	must(f != NULL && sio_size(f, &size) == 0 && size > 0);
	must(sio_mem_flip(s, PATH, place % (size * 8) / 8));
	if (is_whole(s))
		read_check(s, want);
	must(sio_mem_flip(s, PATH, place % (size * 8) / 8));
	must(is_whole(s));
	must(sio_ftruncate(f, place % size) == 0);
	must(!is_whole(s));
	sio_close(&f);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sio *s;
	struct buf want;
	struct rd r;
	uint32_t place;

	if (size < 4 || size > 65536)
		return 0;
	s = sio_mem_new();
	must(sio_spool_create(s) == 0);
	rd_init(&r, data, size);
	place = rd_u32(&r);
	buf_init(&want, 1u << 24);
	write_all(s, &r, &want);
	must(is_whole(s));
	read_check(s, &want);
	damage_check(s, &want, place);
	buf_fini(&want);
	sio_free(&s);
	return 0;
}
