/* SPDX-License-Identifier: ISC */
/*
 * Any bytes as a file of the pickup directory; the first says whether a last
 * dot goes. What it becomes is lines: no command has a line end, and behind
 * DATA there is one lone dot, at the end, and no bare CR or LF. In pieces it is
 * the same.
 */
#include <stdlib.h>
#include <string.h>

#include "common/mail/pickup_file.h"
#include "tests/fuzz/fuzz.h"

static void
command_check(struct sv v)
{
	must(v.n <= PICKUP_COMMAND_MAX);
	for (size_t i = 0; i < v.n; i++)
		must((unsigned char)v.p[i] >= ' ' && v.p[i] != 0x7f);
}

static void
wire_check(struct sv v)
{
	must(sv_iends(v, SV(".\r\n")));
	must(v.n == 3 || sv_iends(v, SV("\r\n.\r\n")));
	must(!sv_starts(v, SV(".\r\n")) || v.n == 3);
	for (size_t i = 0; i < v.n; i++) {
		must(v.p[i] != '\n' || (i > 0 && v.p[i - 1] == '\r'));
		must(v.p[i] != '\r' || (i + 1 < v.n && v.p[i + 1] == '\n'));
	}
	must(v.n < 5 || memmem(v.p, v.n - 1, "\r\n.\r\n", 5) == NULL);
}

static void
feed_all(const struct pickup_file *f, struct buf *out, size_t step)
{
	struct pickup_feed feed;

	pickup_feed_init(&feed, f);
	while (!feed.ended)
		must(pickup_feed_add(&feed, out, buf_len(out) + step) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pickup_file f;
	struct buf whole, split;
	struct arena a;

	if (size < 1)
		return 0;
	arena_init(&a, 16u << 20);
	buf_init(&whole, 16u << 20);
	buf_init(&split, 16u << 20);
	if (pickup_file_parse(sv_make(data + 1, size - 1),
	    (data[0] & 1) != 0, &a, &f) == NULL) {
		must(f.nrcpts > 0 && f.mail.n > 0);
		command_check(f.mail);
		command_check(f.helo);
		command_check(f.vmta);
		command_check(f.job);
		for (uint32_t i = 0; i < f.nrcpts; i++)
			command_check(f.rcpts[i]);
		feed_all(&f, &whole, 16u << 20);
		feed_all(&f, &split, 1 + data[0]);
		must(sv_eq(buf_sv(&whole), buf_sv(&split)));
		wire_check(buf_sv(&whole));
	}
	buf_fini(&whole);
	buf_fini(&split);
	arena_fini(&a);
	return 0;
}
