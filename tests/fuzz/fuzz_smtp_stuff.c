/* SPDX-License-Identifier: ISC */
/*
 * What leaves: any body, in pieces, as it goes on the wire. Oracles: pieces do
 * not matter; our own decoder, which only knows CR LF . CR LF, finds exactly
 * one message that ends with the last byte, without a bare CR or LF; it is the
 * body with its line ends made CR LF.
 */
#include <stdlib.h>
#include <string.h>

#include "common/mail/data_dec.h"
#include "common/mail/smtp_stuff.h"
#include "tests/fuzz/fuzz.h"

static void
stuff(struct buf *out, struct sv in, size_t step)
{
	struct smtp_stuff s;

	smtp_stuff_init(&s);
	while (in.n > 0) {
		struct sv piece = sv_head(in, step);

		must(smtp_stuff_add(&s, out, piece) == 0);
		in = sv_from_at(in, piece.n);
	}
	must(smtp_stuff_end(&s, out) == 0);
}

static size_t
normalise(struct sv in, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < in.n; i++) {
		if (in.p[i] != '\r' && in.p[i] != '\n') {
			out[n++] = in.p[i];
			continue;
		}
		if (in.p[i] == '\r' && i + 1 < in.n && in.p[i + 1] == '\n')
			i++;
		out[n++] = '\r';
		out[n++] = '\n';
	}
	if (n > 0 && out[n - 1] != '\n') {
		out[n++] = '\r';
		out[n++] = '\n';
	}
	return n;
}

static void
decode_check(struct sv wire, struct sv in)
{
	unsigned char *room;
	char *want = malloc(2 * in.n + 2);
	struct data_dec d;
	size_t n, want_n;

	data_dec_init(&d, DATA_REJECT, 0);
	room = malloc(data_dec_room(&d, wire.n));
	must(room != NULL && want != NULL);
	must(data_dec_feed(&d, wire, room, &n) == wire.n);
	must(data_dec_is_done(&d));
	must(d.error == DATA_FINE || d.error == DATA_NUL ||
	    d.error == DATA_LINE_LONG);
	want_n = normalise(in, want);
	if (d.error == DATA_FINE)
		must(n == want_n && memcmp(room, want, n) == 0);
	else
		must(d.error != DATA_NUL || memchr(in.p, 0, in.n) != NULL);
	free(room);
	free(want);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole, split;
	struct sv in;

	if (size < 1)
		return 0;
	in = sv_make(data + 1, size - 1);
	buf_init(&whole, 1u << 22);
	buf_init(&split, 1u << 22);
	stuff(&whole, in, SIZE_MAX);
	stuff(&split, in, data[0] % 16 + 1u);
	must(sv_eq(buf_sv(&whole), buf_sv(&split)));
	decode_check(buf_sv(&whole), in);
	buf_fini(&whole);
	buf_fini(&split);
	return 0;
}
