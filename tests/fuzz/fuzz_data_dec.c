/* SPDX-License-Identifier: ISC */
/* Message data. Oracle: the end is the first CR LF . CR LF and nothing else;
 * whole and in pieces agree; what is accepted has only CR LF and no NUL. */
#include <stdlib.h>
#include <string.h>

#include "common/mail/data_dec.h"
#include "tests/fuzz/fuzz.h"

struct result {
	struct data_dec d;
	unsigned char *out;
	size_t n, used;
};

static void
run(struct result *r, enum data_policy policy, struct sv in, size_t step)
{
	data_dec_init(&r->d, policy, 0);
	r->n = r->used = 0;
	r->out = malloc(2 * in.n + 16);
	if (r->out == NULL)
		abort();
	while (r->used < in.n && !data_dec_is_done(&r->d)) {
		struct sv part = sv_head(sv_from_at(in, r->used), step);
		unsigned char *room = malloc(data_dec_room(&r->d, part.n));
		size_t n;

		r->used += data_dec_feed(&r->d, part, room, &n);
		memcpy(r->out + r->n, room, n);
		r->n += n;
		free(room);
	}
}

static void
output_check(const struct result *r)
{
	for (size_t i = 0; i < r->n; i++) {
		if (r->out[i] == '\0' ||
		    (r->out[i] == '\n' && (i == 0 || r->out[i - 1] != '\r')) ||
		    (r->out[i] == '\r' && (i + 1 == r->n ||
		    r->out[i + 1] != '\n')))
			abort();
	}
	if (r->n >= 2 && memcmp(r->out + r->n - 2, "\r\n", 2) != 0)
		abort();
}

static void
end_check(const struct result *r, struct sv in)
{
	const char *end;

	if (in.n >= 3 && memcmp(in.p, ".\r\n", 3) == 0)
		end = in.p + 3;
	else if ((end = memmem(in.p, in.n, "\r\n.\r\n", 5)) != NULL)
		end += 5;
	if (data_dec_is_done(&r->d) != (end != NULL) ||
	    (end != NULL && r->used != (size_t)(end - in.p)))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sv in;
	size_t step;

	if (size < 2)
		return 0;
	step = data[0] % 16 + 1u;
	in = sv_make(data + 1, size - 1);
	for (int policy = DATA_REJECT; policy <= DATA_NORMALIZE; policy++) {
		struct result a, b;

		run(&a, (enum data_policy)policy, in, in.n);
		run(&b, (enum data_policy)policy, in, step);
		end_check(&a, in);
		end_check(&b, in);
		if (data_dec_is_done(&a.d) && (a.d.error != b.d.error ||
		    a.d.received != b.d.received ||
		    a.d.in_header != b.d.in_header))
			abort();
		if (data_dec_is_done(&a.d) && a.d.error == DATA_FINE) {
			if (a.n != b.n || memcmp(a.out, b.out, a.n) != 0 ||
			    a.d.bytes != a.n || b.d.bytes != a.n ||
			    a.d.leading_dot != b.d.leading_dot ||
			    a.d.eight_bit != b.d.eight_bit)
				abort();
			output_check(&a);
		}
		free(a.out);
		free(b.out);
	}
	return 0;
}
