/* SPDX-License-Identifier: ISC */
/* An event of arbitrary bytes and an arbitrary record-fields list: whatever
 * decodes becomes exactly one line without control bytes. */
#include <stdlib.h>

#include "acct/columns.h"
#include "tests/fuzz/fuzz.h"

static void
line_check(struct sv v)
{
	if (v.n == 0 || v.p[v.n - 1] != '\n')
		abort();
	for (size_t i = 0; i + 1 < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];

		if (c < 0x20 || c == 0x7f)
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t types[] = { CONF_REC_D, CONF_REC_B, CONF_REC_T };
	struct acct_style style = { .iso_times = (size & 1) != 0 };
	struct acct_record rec = { .dlv_type = SV("smtp") };
	struct acct_columns c;
	union ev_any any;
	struct sv list, unknown;
	struct conf_svs fields = { &list, 1 };
	struct buf out;
	struct rd r;

	rd_init(&r, data, size);
	rec.type = types[rd_u8(&r) % 3];
	list = rd_bytes(&r, rd_u8(&r));
	acct_columns_make(&c, ACCT_ALL, &fields, &unknown);
	buf_init(&out, 4u << 20);
	if (ev_decode(EV_ATTEMPT, sv_make(r.p, r.n), &any)) {
		rec.attempt = &any.attempt;
	} else if (ev_decode(EV_QUEUE_FAIL, sv_make(r.p, r.n), &any)) {
		rec.type = CONF_REC_TQ;
		rec.queue_fail = &any.queue_fail;
	}
	if (!r.failed && (rec.attempt != NULL || rec.queue_fail != NULL) &&
	    acct_record_add(&out, &c, &style, &rec) == 0)
		line_check(buf_sv(&out));
	buf_fini(&out);
	return 0;
}
