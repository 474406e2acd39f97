/* SPDX-License-Identifier: ISC */
/* A record that parses lies within the bytes that were given. */
#include <stdlib.h>

#include "common/spool/segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
within(struct sv v, const uint8_t *data, size_t size)
{
	const uint8_t *p = (const uint8_t *)v.p;

	if (v.n > 0 && (p < data || p + v.n > data + size))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned char header[SEGMENT_HEADER];
	uint64_t number, bytes;
	struct record r;

	if (record_parse(data, size, 1, 64, &r) == RECORD_OK) {
		within(r.env, data, size);
		within(r.head, data, size);
		within(r.body, data, size);
	}
	if (size >= sizeof(header))
		(void)segment_header_check(data, &number, &bytes);
	return 0;
}
