/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "common/mail/reply.h"

static const struct {
	unsigned code;
	struct sv status;
	struct sv line;   /* with CR LF */
} rows[] = {
#define ROW(name, code, status, text) \
	{ code, { status, sizeof(status) - 1 }, \
	    { #code " " status " " text "\r\n", \
	    sizeof(#code " " status " " text "\r\n") - 1 } },
	SMTP_REPLIES(ROW)
#undef ROW
};

unsigned
reply_code(enum reply r)
{
	return rows[r].code;
}

struct sv
reply_status(enum reply r)
{
	return rows[r].status;
}

struct sv
reply_text(enum reply r)
{
	return sv_head(rows[r].line, rows[r].line.n - 2);
}

int
reply_put(struct buf *out, enum reply r)
{
	return buf_add_sv(out, rows[r].line);
}

int
reply_put_extra(struct buf *out, enum reply r, struct sv extra)
{
	struct sv text = reply_text(r);
	unsigned char *at = buf_reserve(out, text.n + extra.n + 3);

	if (at == NULL)
		return -1;
	memcpy(at, text.p, text.n);
	at[text.n] = ' ';
	memcpy(at + text.n + 1, extra.p, extra.n);
	memcpy(at + text.n + 1 + extra.n, "\r\n", 2);
	buf_commit(out, text.n + extra.n + 3);
	return 0;
}
