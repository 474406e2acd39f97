/* SPDX-License-Identifier: ISC */
/*
 * Any bytes as a segment: parsing, reading and scanning must end, stay within
 * the bytes, and agree with each other.
 */
#include <stdlib.h>

#include "common/spool/segment.h"
#include "common/spool/sio_mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
	uint64_t last, size;
};

static int
on_record(void *arg, const struct record *r)
{
	struct seen *s = arg;

	if (r->offset < s->last || r->offset + r->length > s->size)
		abort();
	s->last = r->offset + r->length;
	return 0;
}

static void
scan(struct sio_file *f, bool search, uint64_t size)
{
	struct segment_scan_ops ops = { on_record, NULL, search };
	struct seen s = { .size = size };
	uint64_t end;

	if (segment_scan(f, 1, 0, UINT64_MAX, &ops, &s, &end) != 0 ||
	    end != s.last)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sio *s = sio_mem_new();
	struct sio_file *f = sio_open(s, "seg",
	    SIO_READ | SIO_WRITE | SIO_CREATE);
	struct record r;

	if (f == NULL || (size > 0 && sio_pwrite(f, data, size, 0) != 0))
		abort();
	if (record_parse(data, size, 1, 0, &r) == RECORD_OK &&
	    r.length > size)
		abort();
	scan(f, false, size);
	scan(f, true, size);
	sio_close(&f);
	sio_free(&s);
	return 0;
}
