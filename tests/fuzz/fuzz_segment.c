/* SPDX-License-Identifier: ISC */
/*
 * Any bytes as a segment: parsing, reading and scanning must end, stay within
 * the bytes, and agree with each other. First byte: so many records have their
 * CRCs put right.
 */
#include <stdlib.h>

#include "common/spool/sio_mem.h"
#include "tests/fuzz/crcfix.h"
#include "tests/fuzz/fuzz.h"

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
	struct segment_scan_ops ops = { .on_record = on_record,
		.search = search };
	struct seen s = { .size = size };
	uint64_t end;

	if (segment_scan(f, 1, 0, UINT64_MAX, &ops, &s, &end) != 0 ||
	    end != s.last)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sio *s;
	struct sio_file *f;
	struct record r;
	uint8_t *p;
	size_t at = 0, n = 1;

	if (size < 1)
		return 0;
	size--;
	p = malloc(size > 0 ? size : 1);
	if (p == NULL)
		abort();
	memcpy(p, data + 1, size);
	for (uint8_t i = 0; i < data[0] && n > 0 && at < size; i++) {
		n = crcfix_record(p + at, size - at, 1);
		at += n;
	}
	s = sio_mem_new();
	f = sio_open(s, "seg", SIO_READ | SIO_WRITE | SIO_CREATE);
	if (f == NULL || (size > 0 && sio_pwrite(f, p, size, 0) != 0))
		abort();
	if (record_parse(p, size, 1, 0, &r) == RECORD_OK &&
	    r.length > size)
		abort();
	scan(f, false, size);
	scan(f, true, size);
	sio_close(&f);
	sio_free(&s);
	free(p);
	return 0;
}
