/* SPDX-License-Identifier: ISC */
/* Builds a DSN from arbitrary facts and an arbitrary original; every line of
 * the result must be fit for SMTP. */
#include <stdlib.h>

#include "common/base/rw.h"
#include "common/mail/dsn.h"
#include "tests/fuzz/fuzz.h"

static void
lines_check(struct sv v)
{
	size_t line = 0;

	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] == '\r' && i + 1 < v.n && v.p[i + 1] == '\n') {
			i++;
			line = 0;
			continue;
		}
		if (v.p[i] == '\r' || v.p[i] == '\n' || v.p[i] == '\0' ||
		    ++line > 998)
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dsn_rcpt rcpt = { .addr = SV("a@b") };
	struct dsn d = { .host = SV("h"), .rcpts = &rcpt, .nrcpts = 1 };
	uint32_t flags;
	struct buf out;
	struct rd r;

	rd_init(&r, data, size);
	rcpt.action = (enum dsn_action)(rd_u8(&r) % DSN_ACTIONS);
	d.full = rd_u8(&r) & 1;
	d.has_original = rd_u8(&r) & 1;
	d.to = rd_bytes(&r, rd_u8(&r));
	rcpt.addr = rd_bytes(&r, rd_u8(&r));
	rcpt.orcpt = rd_bytes(&r, rd_u8(&r));
	rcpt.status = rd_bytes(&r, rd_u8(&r));
	rcpt.mta = rd_bytes(&r, rd_u8(&r));
	rcpt.diag = rd_bytes(&r, rd_u8(&r));
	d.envid = rd_bytes(&r, rd_u8(&r));
	d.head = rd_bytes(&r, rd_u8(&r));
	d.body = rd_bytes(&r, r.n);
	if (r.failed)
		return 0;
	buf_init(&out, 1u << 20);
	if (dsn_build(&d, &out, &flags) == DSN_OK)
		lines_check(buf_sv(&out));
	buf_fini(&out);
	return 0;
}
