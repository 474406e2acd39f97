/* SPDX-License-Identifier: ISC */
/* What decodes as an envelope or a route encodes to the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "common/mail/envelope.h"
#include "common/mail/route.h"
#include "tests/fuzz/fuzz.h"

static void
same(struct wr *w, struct buf *b, const uint8_t *data, size_t size)
{
	if (w->failed || buf_len(b) != size ||
	    memcmp(buf_data(b), data, size) != 0)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct envelope e;
	struct arena a;
	struct route r;
	struct buf b;
	struct wr w;

	arena_init(&a, 1u << 20);
	buf_init(&b, 1u << 20);
	wr_init_buf(&w, &b);
	if (envelope_decode(sv_make(data, size), &a, &e)) {
		envelope_encode(&w, &e);
		same(&w, &b, data, size);
	} else if (route_decode(sv_make(data, size), &a, &r)) {
		route_encode(&w, &r);
		same(&w, &b, data, size);
	}
	buf_fini(&b);
	arena_fini(&a);
	return 0;
}
