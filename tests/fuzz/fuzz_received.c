/* SPDX-License-Identifier: ISC */
/*
 * The trace header with what a client said about itself. Oracles: it always
 * fits; CR LF only together and only in front of a tab or at the end; plain
 * text; no line over 998; one more Received for the decoder that counts them.
 */
#include <string.h>

#include "common/base/rw.h"
#include "common/mail/data_dec.h"
#include "common/mail/received.h"
#include "common/mail/smtp_cmd.h"
#include "tests/fuzz/fuzz.h"

static void
header_check(struct sv v, bool utf8)
{
	size_t line = 0;

	must(v.n > 2 && v.n <= RECEIVED_MAX && sv_starts(v,
	    SV("Received: ")));
	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];

		if (c == '\r') {
			must(i + 1 < v.n && v.p[i + 1] == '\n');
			must(i + 2 == v.n || v.p[i + 2] == '\t');
			i++;
			line = 0;
			continue;
		}
		must((c >= ' ' && c < 0x7f) || c == '\t' ||
		    (utf8 && c > 0x7f));
		must(++line <= 998);
	}
	must(v.p[v.n - 1] == '\n');
}

static void
count_check(struct sv v)
{
	unsigned char room[RECEIVED_MAX + 64];
	struct data_dec d;
	size_t n;

	data_dec_init(&d, DATA_REJECT, 0);
	must(data_dec_feed(&d, v, room, &n) == v.n);
	must(d.received == 1 && d.in_header && d.error == DATA_FINE);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct received r = { .host = SV("h.test"), .id = SV("0123456789abc"),
		.client_ip = SV("192.0.2.1") };
	struct addr a;
	struct buf out;
	struct rd rd;

	rd_init(&rd, data, size);
	r.esmtp = (rd_u8(&rd) & 1) != 0;
	r.utf8 = (rd_u8(&rd) & 1) != 0;
	r.helo = rd_bytes(&rd, rd_u8(&rd));
	r.client_name = rd_bytes(&rd, rd_u8(&rd));
	r.when.us = (int64_t)(rd_u64(&rd) % INT64_C(250000000000000000));
	if (rd.failed)
		return 0;
	if (addr_parse(sv_make(rd.p, rd.n), r.utf8, &a) == CMD_OK)
		r.rcpt = addr_text(&a);
	buf_init(&out, 1u << 16);
	must(received_put(&out, &r) == 0);
	header_check(buf_sv(&out), r.utf8);
	count_check(buf_sv(&out));
	buf_fini(&out);
	return 0;
}
