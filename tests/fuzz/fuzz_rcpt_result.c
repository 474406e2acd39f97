/* SPDX-License-Identifier: ISC */
/* The recipients' outcomes in a RESULT frame: what decodes encodes to the same
 * bytes, and walking ends. */
#include <stdlib.h>

#include "common/mail/outcome.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rcpt_result res;
	struct buf b;
	struct wr w;
	struct rd r;

	rd_init(&r, data, size);
	buf_init(&b, 1u << 20);
	wr_init_buf(&w, &b);
	while (rcpt_result_next(&r, &res)) {
		if (res.outcome >= OUTCOMES)
			abort();
		rcpt_result_put(&w, &res);
	}
	if (w.failed || (rd_done(&r) &&
	    !sv_eq(buf_sv(&b), sv_make(data, size))))
		abort();
	buf_fini(&b);
	return 0;
}
