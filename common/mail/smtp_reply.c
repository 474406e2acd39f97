/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "common/base/str.h"
#include "common/mail/smtp_reply.h"

static const struct {
	const char *word;
	unsigned cap;
} caps[] = {
	{ "PIPELINING", CAP_PIPELINING },
	{ "SIZE", CAP_SIZE },
	{ "8BITMIME", CAP_8BITMIME },
	{ "SMTPUTF8", CAP_SMTPUTF8 },
	{ "DSN", CAP_DSN },
	{ "ENHANCEDSTATUSCODES", CAP_ENHANCEDSTATUSCODES },
	{ "CHUNKING", CAP_CHUNKING },
	{ "STARTTLS", CAP_STARTTLS },
};

#define NCAPS (sizeof(caps) / sizeof(caps[0]))

void
smtp_reply_init(struct smtp_reply *r)
{
	r->code = 0;
	r->status[0] = '\0';
	r->text[0] = '\0';
	r->text_n = 0;
	r->lines = 0;
	r->done = false;
	r->ehlo = NULL;
}

unsigned
smtp_reply_class(const struct smtp_reply *r)
{
	return r->code / 100u;
}

/* One to three digits; how many, or 0. */
static size_t
digits_scan(struct sv v)
{
	size_t n = 0;

	while (n < v.n && ascii_is_digit(v.p[n]))
		n++;
	return n <= 3 ? n : 0;
}

size_t
smtp_status_scan(struct sv v, unsigned class)
{
	size_t subject, detail, n;

	if (v.n < 5 || (v.p[0] != '2' && v.p[0] != '4' && v.p[0] != '5') ||
	    v.p[1] != '.')
		return 0;
	if (class != 0 && (unsigned)(v.p[0] - '0') != class)
		return 0;
	subject = digits_scan(sv_from_at(v, 2));
	n = 2 + subject;
	if (subject == 0 || n >= v.n || v.p[n] != '.')
		return 0;
	detail = digits_scan(sv_from_at(v, n + 1));
	n += 1 + detail;
	if (detail == 0 || (n < v.n && v.p[n] != ' '))
		return 0;
	return n;
}

void
smtp_ehlo_line(struct smtp_ehlo *e, struct sv line)
{
	struct sv rest = sv_trim(line), word = sv_cut(&rest, ' ');

	for (size_t i = 0; i < NCAPS; i++) {
		if (!sv_ieq(word, sv_from(caps[i].word)))
			continue;
		e->caps |= caps[i].cap;
		/* RFC 1870 3: 0 or no number means no fixed limit */
		if (caps[i].cap == CAP_SIZE &&
		    !sv_to_u64(sv_trim(rest), UINT64_MAX, &e->size_max))
			e->size_max = 0;
		return;
	}
}

const char *
smtp_ehlo_format(const struct smtp_ehlo *e, char *out, size_t out_size)
{
	struct str s;

	str_init(&s, out, out_size);
	for (size_t i = 0; i < NCAPS; i++) {
		if ((e->caps & caps[i].cap) == 0)
			continue;
		if (s.n > 0)
			str_addc(&s, ',');
		str_adds(&s, caps[i].word);
	}
	return out;
}

/* Printable ASCII stays, everything else becomes a question mark. */
static void
text_add(struct smtp_reply *r, struct sv v)
{
	size_t room = SMTP_REPLY_TEXT_MAX - r->text_n;

	if (v.n > room)
		v.n = room;
	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];

		if (c == '\t')
			c = ' ';
		r->text[r->text_n++] =
		    c < 0x20 || c > 0x7e ? '?' : (char)c;
	}
	r->text[r->text_n] = '\0';
}

static bool
code_parse(struct sv line, uint16_t *code_r)
{
	if (line.n < 3 || line.p[0] < '2' || line.p[0] > '5' ||
	    !ascii_is_digit(line.p[1]) || !ascii_is_digit(line.p[2]))
		return false;
	*code_r = (uint16_t)((line.p[0] - '0') * 100 +
	    (line.p[1] - '0') * 10 + (line.p[2] - '0'));
	return true;
}

/* The first line's text is kept whole, with its enhanced code; later lines
 * lose the code that they repeat. */
static void
line_keep(struct smtp_reply *r, struct sv line, struct sv text)
{
	size_t n = smtp_status_scan(text, smtp_reply_class(r));

	if (r->lines == 0) {
		text_add(r, sv_head(line, 3));
		if (n > 0 && n < sizeof(r->status)) {
			memcpy(r->status, text.p, n);
			r->status[n] = '\0';
		}
	} else if (n > 0 &&
	    sv_eq(sv_head(text, n), sv_from(r->status))) {
		text = sv_trim(sv_from_at(text, n));
	}
	if (text.n > 0) {
		text_add(r, SV(" "));
		text_add(r, text);
	}
	if (r->lines > 0 && r->ehlo != NULL)
		smtp_ehlo_line(r->ehlo, text);
	r->lines++;
}

/*
 * The lines of one reply should have one code (RFC 5321 4.2.1). Where they
 * differ the last one counts, as long as it means the same.
 */
static enum smtp_reply_result
line_take(struct smtp_reply *r, struct sv line)
{
	uint16_t code;

	if (!code_parse(line, &code))
		return SMTP_REPLY_BAD;
	if (line.n > 3 && line.p[3] != ' ' && line.p[3] != '-')
		return SMTP_REPLY_BAD;
	if (r->lines > 0 && code / 100 != r->code / 100)
		return SMTP_REPLY_BAD;
	if (r->lines == SMTP_REPLY_LINES_MAX)
		return SMTP_REPLY_TOO_LONG;
	r->code = code;
	line_keep(r, line, sv_trim(sv_from_at(line, 4)));
	if (line.n > 3 && line.p[3] == '-')
		return SMTP_REPLY_MORE;
	r->done = true;
	return SMTP_REPLY_DONE;
}

enum smtp_reply_result
smtp_reply_read(struct smtp_reply *r, struct buf *in)
{
	enum smtp_reply_result res = SMTP_REPLY_MORE;

	if (r->done)
		smtp_reply_init(r);
	while (res == SMTP_REPLY_MORE) {
		struct sv all = buf_sv(in), line;
		const char *nl;
		size_t used;

		nl = all.n == 0 ? NULL :
		    memchr(all.p, '\n', all.n);
		used = nl == NULL ? all.n : (size_t)(nl - all.p) + 1;
		if (used > SMTP_REPLY_LINE_MAX)
			return SMTP_REPLY_TOO_LONG;
		if (nl == NULL)
			return SMTP_REPLY_MORE;
		line = sv_head(all, used - 1);
		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		res = line_take(r, line);
		buf_consume(in, used);
	}
	return res;
}
