/* SPDX-License-Identifier: ISC */
/*
 * A record of a segment. First byte, bit 0: its CRCs are put right. Oracles: a
 * record that parses lies within the bytes that were given, has the flags that
 * its large body wants, and, built anew from its parts, is the same.
 */
#include <stdlib.h>

#include "tests/fuzz/crcfix.h"
#include "tests/fuzz/fuzz.h"

static void
within(struct sv v, const uint8_t *data, size_t size)
{
	const uint8_t *p = (const uint8_t *)v.p;

	must(v.n == 0 || (p >= data && p + v.n <= data + size));
}

static void
build_check(const struct record *r, const uint8_t *data)
{
	unsigned char header[RECORD_HEADER];
	struct record_parts parts;
	struct iovec body, iov[5];
	size_t n, at = 0;

	record_parts_of(r, 1, &body, &parts);
	must(record_length(&parts) == r->length);
	n = record_build(&parts, header, iov);
	must(n > 0 && n <= 5);
	for (size_t i = 0; i < n; i++) {
		must(at + iov[i].iov_len <= r->length);
		/* what pads is not looked at */
		if (at + iov[i].iov_len < r->length ||
		    iov[i].iov_len >= RECORD_ALIGN)
			must(memcmp(data + at, iov[i].iov_base,
			    iov[i].iov_len) == 0);
		at += iov[i].iov_len;
	}
	must(at == r->length);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned char header[SEGMENT_HEADER];
	uint64_t number, bytes;
	struct record r;
	uint8_t *p;

	if (size < 1)
		return 0;
	size--;
	p = malloc(size > 0 ? size : 1);
	must(p != NULL);
	memcpy(p, data + 1, size);
	if ((data[0] & 1) != 0)
		(void)crcfix_record(p, size, 1);
	if (record_parse(p, size, 1, 64, &r) == RECORD_OK) {
		within(r.env, p, size);
		within(r.head, p, size);
		within(r.body, p, size);
		must(((r.flags & RECORD_LARGE) != 0) == (r.large_id != 0));
		must(r.length % RECORD_ALIGN == 0);
		/* a longer large body is read, and refused by intake */
		if (r.length <= size && (r.large_id == 0 ||
		    r.body_len <= RECORD_LARGE_MAX))
			build_check(&r, p);
	}
	if (size >= sizeof(header))
		(void)segment_header_check(p, &number, &bytes);
	free(p);
	return 0;
}
