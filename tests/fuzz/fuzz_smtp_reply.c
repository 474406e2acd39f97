/* SPDX-License-Identifier: ISC */
/* Replies of a server: whole and byte by byte must give the same. */
#include <stdlib.h>
#include <string.h>

#include "common/mail/smtp_reply.h"
#include "tests/fuzz/fuzz.h"

static void
check(const struct smtp_reply *r)
{
	if (r->code < 200 || r->code > 599 || r->text_n < 3 ||
	    r->text_n > SMTP_REPLY_TEXT_MAX || r->text[r->text_n] != '\0')
		abort();
	for (size_t i = 0; i < r->text_n; i++)
		if (r->text[i] < 0x20 || r->text[i] > 0x7e)
			abort();
	if (r->status[0] != '\0' &&
	    (unsigned)(r->status[0] - '0') != smtp_reply_class(r))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smtp_ehlo ea = { 0 }, eb = { 0 };
	enum smtp_reply_result ra, rb = SMTP_REPLY_MORE;
	struct smtp_reply a, b;
	struct buf ba, bb;

	if (size > 100000)
		return 0;
	buf_init(&ba, 200000);
	buf_init(&bb, 200000);
	smtp_reply_init(&a);
	smtp_reply_init(&b);
	a.ehlo = &ea;
	b.ehlo = &eb;
	if (buf_add(&ba, data, size) != 0)
		abort();
	ra = smtp_reply_read(&a, &ba);
	for (size_t i = 0; i < size && rb == SMTP_REPLY_MORE; i++) {
		if (buf_add(&bb, data + i, 1) != 0)
			abort();
		rb = smtp_reply_read(&b, &bb);
	}
	if (ra != rb || ea.caps != eb.caps || ea.size_max != eb.size_max)
		abort();
	if (ra == SMTP_REPLY_DONE) {
		check(&a);
		if (a.code != b.code || strcmp(a.text, b.text) != 0 ||
		    strcmp(a.status, b.status) != 0)
			abort();
	}
	buf_fini(&ba);
	buf_fini(&bb);
	return 0;
}
