/* SPDX-License-Identifier: ISC */
/* Every event record: what decodes encodes to the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "common/spool/event.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	union ev_any m;
	unsigned type;
	struct buf b;
	struct wr w;

	if (size == 0)
		return 0;
	type = data[0] % (EV_TYPES + 1u);
	if (!ev_decode(type, sv_make(data + 1, size - 1), &m))
		return 0;
	buf_init(&b, 1u << 20);
	wr_init_buf(&w, &b);
	ev_encode(&w, (enum ev_type)type, &m);
	/* one of an earlier version lacks fields at its end: they are 0 */
	if (w.failed || buf_len(&b) < size - 1 ||
	    (size > 1 && memcmp(buf_data(&b), data + 1, size - 1) != 0))
		abort();
	for (size_t i = size - 1; i < buf_len(&b); i++)
		if (buf_data(&b)[i] != 0)
			abort();
	buf_fini(&b);
	return 0;
}
