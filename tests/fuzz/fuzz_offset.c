/* SPDX-License-Identifier: ISC */
/*
 * Any bytes as a reader's offset file. The first byte: a bit that is flipped
 * later. Oracles: it opens; what is saved is read back; with one of the two
 * slots damaged the other one counts, never anything else.
 */
#include "common/spool/offset.h"
#include "common/spool/sio_mem.h"
#include "tests/fuzz/fuzz.h"

static void
open_check(struct sio *s, struct evlog_pos want, struct sv bytes)
{
	struct offset_store o;
	struct evlog_pos pos;
	struct buf b;

	buf_init(&b, OFFSET_BYTES_MAX);
	must(offset_open(&o, s, "acct", &pos, &b) == 0);
	must(evlog_pos_cmp(pos, want) == 0 && sv_eq(buf_sv(&b), bytes));
	offset_close(&o);
	buf_fini(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct evlog_pos pos, one = { 3, 40 }, two = { 3, 80 };
	struct sv bytes;
	struct sio *s;
	struct sio_file *f;
	struct offset_store o;
	struct buf b;

	if (size < 1 || size > 40000)
		return 0;
	bytes = sv_make(data + 1, size - 1);
	s = sio_mem_new();
	f = sio_open(s, "acct", SIO_READ | SIO_WRITE | SIO_CREATE);
	must(f != NULL);
	must(bytes.n == 0 || sio_pwrite(f, bytes.p, bytes.n, 0) == 0);
	sio_close(&f);
	buf_init(&b, OFFSET_BYTES_MAX);
	must(offset_open(&o, s, "acct", &pos, &b) == 0);
	bytes = sv_head(bytes, OFFSET_BYTES_MAX);
	must(offset_save(&o, one, SV("one")) == 0);
	must(offset_save(&o, two, bytes) == 0);
	open_check(s, two, bytes);
	/* the slot that was written last, in its header or behind it */
	must(sio_mem_flip(s, "acct", (1u - o.slot) * OFFSET_SLOT_SIZE +
	    data[0] % (32u + bytes.n)));
	open_check(s, one, SV("one"));
	offset_close(&o);
	buf_fini(&b);
	sio_free(&s);
	return 0;
}
