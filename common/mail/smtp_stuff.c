/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "common/mail/smtp_stuff.h"

void
smtp_stuff_init(struct smtp_stuff *s)
{
	*s = (struct smtp_stuff){ 0 };
}

/*
 * The length of the front of v, at the beginning of a line, that can go out
 * as it is and ends with CRLF: the usual case is all of it.
 */
static size_t
clean_lines(struct sv v)
{
	size_t good = 0;

	while (good < v.n && v.p[good] != '.') {
		const char *line = v.p + good;
		const char *nl = memchr(line, '\n', v.n - good);
		size_t n;

		if (nl == NULL)
			break;
		n = (size_t)(nl - line);
		if (n == 0 || line[n - 1] != '\r' ||
		    memchr(line, '\r', n - 1) != NULL)
			break;
		good += n + 1;
	}
	return good;
}

/* Bytes up to the next CR or LF. */
static size_t
plain_bytes(struct sv v)
{
	size_t n = 0;

	while (n < v.n && v.p[n] != '\r' && v.p[n] != '\n')
		n++;
	return n;
}

static int
line_break(struct smtp_stuff *s, struct buf *out)
{
	s->in_line = false;
	s->cr = false;
	return buf_add(out, "\r\n", 2);
}

int
smtp_stuff_add(struct smtp_stuff *s, struct buf *out, struct sv v)
{
	while (v.n > 0) {
		size_t n;

		if (s->cr) {
			if (line_break(s, out) != 0)
				return -1;
			v = sv_from_at(v, v.p[0] == '\n' ? 1 : 0);
			continue;
		}
		n = s->in_line ? 0 : clean_lines(v);
		if (n == 0 && !s->in_line && v.p[0] == '.' &&
		    buf_add(out, ".", 1) != 0)
			return -1;
		if (n == 0) {
			n = plain_bytes(v);
			s->in_line = s->in_line || n > 0;
		}
		if (buf_add(out, v.p, n) != 0)
			return -1;
		v = sv_from_at(v, n);
		if (v.n == 0 || (v.p[0] != '\r' && v.p[0] != '\n'))
			continue;
		if (v.p[0] == '\r')
			s->cr = true;
		else if (line_break(s, out) != 0)
			return -1;
		v = sv_from_at(v, 1);
	}
	return 0;
}

int
smtp_stuff_end(struct smtp_stuff *s, struct buf *out)
{
	if ((s->cr || s->in_line) && line_break(s, out) != 0)
		return -1;
	return buf_add(out, ".\r\n", 3);
}
