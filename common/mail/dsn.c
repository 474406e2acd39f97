/* SPDX-License-Identifier: ISC */
#include <inttypes.h>
#include <string.h>

#include "common/base/siphash.h"
#include "common/base/str.h"
#include "common/mail/dsn.h"
#include "common/mail/envelope.h"
#include "common/mail/rfc5322_date.h"
#include "common/mail/status.h"
#include "common/mail/utf8.h"

#define LINE_MAX_BYTES 998  /* RFC 5322 2.1.1 */
#define FOLD_AT        76   /* RFC 5322 2.1.1: SHOULD be no more than 78 */
#define TOKEN_MAX      900  /* a longer word is broken */
#define BOUNDARY_MAX   64

/* The three parts are made first, so that the boundary can be chosen not to
 * occur in them. */
struct parts {
	struct buf human, status, original;
	bool full;          /* the original is returned whole */
	bool failed;        /* something did not fit */
};

struct action_words {
	const char *name;   /* RFC 3464 2.3.3 */
	char class;         /* of a status that fits */
	const char *status; /* where none is known */
	const char *subject;
	const char *intro;
	const char *intro_many;
};

static const struct action_words actions[DSN_ACTIONS] = {
	[DSN_FAILED] = { "failed", '5', "5.0.0",
	    "Delivery Status Notification (Failure)",
	    "Your message could not be delivered to this address:",
	    "Your message could not be delivered to these addresses:" },
	[DSN_DELAYED] = { "delayed", '4', "4.0.0",
	    "Delivery Status Notification (Delay)",
	    "Your message has not been delivered to this address yet. "
	    "Nothing needs to be done: it will be tried again.",
	    "Your message has not been delivered to these addresses yet. "
	    "Nothing needs to be done: it will be tried again." },
	[DSN_DELIVERED] = { "delivered", '2', "2.0.0",
	    "Delivery Status Notification (Success)",
	    "Your message was delivered to this address:",
	    "Your message was delivered to these addresses:" },
	[DSN_RELAYED] = { "relayed", '2', "2.0.0",
	    "Delivery Status Notification (Relay)",
	    "Your message was handed on to a system that sends no further "
	    "notifications, for this address:",
	    "Your message was handed on to systems that send no further "
	    "notifications, for these addresses:" },
};

/* ---- text from outside ---- */

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool
xtext_decode(struct sv v, char *mem, size_t size, struct sv *out_r)
{
	size_t n = 0;

	for (size_t i = 0; i < v.n; i++) {
		int c = (unsigned char)v.p[i];

		if (c == '+') {
			int hi = i + 1 < v.n ? hex_digit(v.p[i + 1]) : -1;
			int lo = i + 2 < v.n ? hex_digit(v.p[i + 2]) : -1;

			if (hi < 0 || lo < 0)
				return false;
			c = hi << 4 | lo;
			i += 2;
		}
		if (c < 0x20 || c == 0x7f || n >= size)
			return false;
		mem[n++] = (char)c;
	}
	*out_r = sv_make(mem, n);
	return true;
}

static bool
is_ascii(struct sv v)
{
	for (size_t i = 0; i < v.n; i++) {
		if ((unsigned char)v.p[i] > 0x7f)
			return false;
	}
	return true;
}

/*
 * As much of v as has room in s, made safe: control bytes become "?"; bytes
 * over 127 stay where utf8 allows it and they are UTF-8, else they become \xNN.
 * Returns the bytes of v that were used; no character is cut.
 */
static size_t
safe_add(struct str *s, struct sv v, bool utf8)
{
	size_t i = 0;

	while (i < v.n && s->size - s->n > 4) {
		unsigned char c = (unsigned char)v.p[i];
		size_t n = 1;

		if (c < 0x20 || c == 0x7f) {
			str_addc(s, '?');
		} else if (c < 0x7f) {
			str_addc(s, (char)c);
		} else if (utf8 && (n = utf8_len(sv_from_at(v, i))) > 0) {
			str_add(s, sv_make(v.p + i, n));
		} else {
			str_addf(s, "\\x%02X", c);
			n = 1;
		}
		i += n;
	}
	return i;
}

/* ---- building a part ---- */

static void
put(struct parts *p, struct buf *b, struct sv v)
{
	if (buf_add_sv(b, v) != 0)
		p->failed = true;
}

static void
puts_(struct parts *p, struct buf *b, const char *s)
{
	put(p, b, sv_from(s));
}

/* An address or name, never folded; what is longer than any can be is cut. */
static void
put_exact(struct parts *p, struct buf *b, struct sv v, bool utf8)
{
	char mem[TOKEN_MAX];
	struct str s;

	STR_ON(&s, mem);
	safe_add(&s, v, utf8);
	put(p, b, str_sv(&s));
}

/*
 * Adds text word by word, with CRLF and indent where the line, which has *col
 * bytes already, would get longer than FOLD_AT. A very long word is broken.
 */
static void
put_folded(struct parts *p, struct buf *b, struct sv text, size_t *col,
    const char *indent, bool utf8)
{
	bool first = true;

	while (text.n > 0) {
		char mem[TOKEN_MAX];
		ptrdiff_t blank = sv_find(text, ' ');
		struct sv word = blank < 0 ? text :
		    sv_head(text, (size_t)blank);
		struct str s;

		if (word.n == 0) {
			text = sv_from_at(text, 1);
			continue;
		}
		STR_ON(&s, mem);
		text = sv_from_at(text, safe_add(&s, word, utf8));
		if (*col > strlen(indent) && *col + 1 + s.n > FOLD_AT) {
			puts_(p, b, "\r\n");
			puts_(p, b, indent);
			*col = strlen(indent);
		} else if (!first) {
			puts_(p, b, " ");
			*col += 1;
		}
		put(p, b, str_sv(&s));
		*col += s.n;
		first = false;
	}
}

/* "Name: prefix text", folded. */
static void
put_field(struct parts *p, struct buf *b, const char *name,
    const char *prefix, struct sv text, bool utf8)
{
	size_t col = strlen(name) + 2 + strlen(prefix);

	puts_(p, b, name);
	puts_(p, b, ": ");
	puts_(p, b, prefix);
	put_folded(p, b, text, &col, "    ", utf8);
	puts_(p, b, "\r\n");
}

/* "Name: prefix address" in one line. */
static void
put_address(struct parts *p, struct buf *b, const char *name,
    const char *prefix, struct sv addr, bool utf8)
{
	puts_(p, b, name);
	puts_(p, b, ": ");
	puts_(p, b, prefix);
	put_exact(p, b, addr, utf8);
	puts_(p, b, "\r\n");
}

static void
put_date(struct parts *p, struct buf *b, const char *name, struct wall t)
{
	char mem[RFC5322_DATE];

	if (t.us > 0)
		put_field(p, b, name, "",
		    sv_from(rfc5322_date(t, mem)), false);
}

/* ---- facts of a recipient ---- */

static struct sv
rcpt_status(const struct dsn_rcpt *r)
{
	const struct action_words *a = &actions[r->action];

	if (status_is_valid(r->status) && r->status.p[0] == a->class)
		return r->status;
	/* gave up on something temporary: its status tells more than 5.0.0 */
	if (status_is_valid(r->status) && r->action == DSN_FAILED &&
	    r->status.p[0] == '4')
		return r->status;
	return sv_from(a->status);
}

static bool
is_smtp_reply(struct sv diag)
{
	return diag.n >= 3 && diag.p[0] >= '2' && diag.p[0] <= '5' &&
	    ascii_is_digit(diag.p[1]) && ascii_is_digit(diag.p[2]) &&
	    (diag.n == 3 || diag.p[3] == ' ' || diag.p[3] == '-');
}

/* ---- the part for people ---- */

static void
human_rcpt(struct parts *p, const struct dsn_rcpt *r)
{
	struct buf *b = &p->human;
	size_t col = 4;
	char date[RFC5322_DATE];

	puts_(p, b, "\r\n<");
	put_exact(p, b, r->addr, true);
	puts_(p, b, ">\r\n    ");
	col = 4;
	put_folded(p, b, status_words(rcpt_status(r)), &col, "    ", true);
	puts_(p, b, " (");
	put(p, b, rcpt_status(r));
	puts_(p, b, ")\r\n");
	if (r->diag.n > 0) {
		puts_(p, b, "    ");
		col = 4;
		if (is_smtp_reply(r->diag) && r->mta.n > 0) {
			put_folded(p, b, r->mta, &col, "    ", true);
			puts_(p, b, " said:\r\n    ");
			col = 4;
		}
		put_folded(p, b, r->diag, &col, "    ", true);
		puts_(p, b, "\r\n");
	}
	if (r->action == DSN_DELAYED && r->retry_until.us > 0) {
		puts_(p, b, "    It will be tried until ");
		puts_(p, b, rfc5322_date(r->retry_until, date));
		puts_(p, b, ".\r\n");
	}
}

static void
human_group(struct parts *p, const struct dsn *d, enum dsn_action action)
{
	uint32_t n = 0;
	size_t col = 0;

	for (uint32_t i = 0; i < d->nrcpts; i++)
		n += d->rcpts[i].action == action;
	if (n == 0)
		return;
	puts_(p, &p->human, "\r\n");
	put_folded(p, &p->human, sv_from(n == 1 ? actions[action].intro :
	    actions[action].intro_many), &col, "", true);
	puts_(p, &p->human, "\r\n");
	for (uint32_t i = 0; i < d->nrcpts; i++) {
		if (d->rcpts[i].action == action)
			human_rcpt(p, &d->rcpts[i]);
	}
}

static void
human_build(struct parts *p, const struct dsn *d)
{
	struct buf *b = &p->human;
	char date[RFC5322_DATE];

	puts_(p, b, "This is the mail system at host ");
	put_exact(p, b, d->host, true);
	puts_(p, b, ".\r\n");
	for (unsigned a = 0; a < DSN_ACTIONS; a++)
		human_group(p, d, (enum dsn_action)a);
	puts_(p, b, "\r\n");
	if (d->arrival.us > 0) {
		puts_(p, b, "The message arrived here on ");
		puts_(p, b, rfc5322_date(d->arrival, date));
		puts_(p, b, "\r\n");
	}
	if (d->queue_id.n > 0) {
		puts_(p, b, "and is known to this system as ");
		put_exact(p, b, d->queue_id, true);
		puts_(p, b, ".\r\n");
	}
	if (!d->has_original)
		puts_(p, b, "It could not be read again, so that nothing of "
		    "it is returned here.\r\n");
	else if (p->full)
		puts_(p, b, "A copy of it follows.\r\n");
	else
		puts_(p, b, "Its headers follow.\r\n");
}

/* ---- the part for programs: RFC 3464 2 ---- */

/* "type; address" from ORCPT; nothing if it does not decode. */
static void
status_orcpt(struct parts *p, const struct dsn_rcpt *r, bool utf8)
{
	char mem[ENV_ORCPT_MAX], prefix[64];
	struct sv rest = r->orcpt, type = sv_cut(&rest, ';'), addr;
	struct str s;

	if (type.n == 0 || type.n > sizeof(prefix) - 3 || rest.n == 0 ||
	    !xtext_decode(rest, mem, sizeof(mem), &addr))
		return;
	for (size_t i = 0; i < type.n; i++) {
		if (!ascii_is_alnum(type.p[i]) && type.p[i] != '-')
			return;
	}
	STR_ON(&s, prefix);
	str_add(&s, type);
	str_adds(&s, "; ");
	put_address(p, &p->status, "Original-Recipient", prefix, addr, utf8);
}

/* "name (ip)" without the address; only the address if there is no name. */
static void
status_mta(struct parts *p, const char *field, struct sv mta, bool utf8)
{
	struct sv name = mta;
	ptrdiff_t at = sv_find(mta, '(');

	if (at >= 0)
		name = sv_trim(sv_head(mta, (size_t)at));
	if (name.n == 0)
		name = mta;
	if (name.n > 0)
		put_address(p, &p->status, field, "dns; ", name, utf8);
}

static void
status_rcpt(struct parts *p, const struct dsn_rcpt *r, bool utf8)
{
	struct buf *b = &p->status;

	puts_(p, b, "\r\n");
	status_orcpt(p, r, utf8);
	put_address(p, b, "Final-Recipient",
	    is_ascii(r->addr) ? "rfc822; " : "utf-8; ", r->addr, utf8);
	put_field(p, b, "Action", "", sv_from(actions[r->action].name),
	    false);
	put_field(p, b, "Status", "", rcpt_status(r), false);
	/* RFC 3464 2.3.5: only where a remote host spoke */
	if (r->mta.n > 0)
		status_mta(p, "Remote-MTA", r->mta, utf8);
	if (r->diag.n > 0)
		put_field(p, b, "Diagnostic-Code", is_smtp_reply(r->diag) ?
		    "smtp; " : "x-pinnace; ", r->diag, utf8);
	put_date(p, b, "Last-Attempt-Date", r->last_attempt);
	/* RFC 3464 2.3.8 */
	if (r->action == DSN_DELAYED)
		put_date(p, b, "Will-Retry-Until", r->retry_until);
}

static void
status_build(struct parts *p, const struct dsn *d, bool utf8)
{
	struct buf *b = &p->status;
	char mem[ENV_ENVID_MAX];
	struct sv envid;

	if (d->envid.n > 0 &&
	    xtext_decode(d->envid, mem, sizeof(mem), &envid))
		put_address(p, b, "Original-Envelope-Id", "", envid, utf8);
	put_address(p, b, "Reporting-MTA", "dns; ", d->host, utf8);
	if (d->from_mta.n > 0)
		status_mta(p, "Received-From-MTA", d->from_mta, utf8);
	put_date(p, b, "Arrival-Date", d->arrival);
	for (uint32_t i = 0; i < d->nrcpts; i++)
		status_rcpt(p, &d->rcpts[i], utf8);
}

/* ---- the original ---- */

/* Can v go out as it is: CRLF line ends only, no NUL, no long line? */
static bool
is_clean(struct sv v)
{
	size_t line = 0;

	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] == '\0' || v.p[i] == '\n')
			return false;
		if (v.p[i] == '\r') {
			if (i + 1 >= v.n || v.p[i + 1] != '\n')
				return false;
			i++;
			line = 0;
		} else if (++line > LINE_MAX_BYTES) {
			return false;
		}
	}
	return true;
}

/* Else the first line of what follows would go on in its last one. */
static bool
is_whole_lines(struct sv v)
{
	return v.n == 0 || v.p[v.n - 1] == '\n';
}

/* One header line without its end; too long ones are folded by force. */
static void
header_line(struct parts *p, struct sv line)
{
	struct buf *b = &p->original;

	while (line.n > 0) {
		struct sv piece = sv_head(line, LINE_MAX_BYTES - 1);
		size_t start = buf_len(b);

		put(p, b, piece);
		if (p->failed)
			return;
		for (size_t i = start; i < buf_len(b); i++) {
			unsigned char *c = b->mem + b->head + i;

			if (*c == '\0' || *c == '\r')
				*c = '?';
		}
		line = sv_from_at(line, piece.n);
		puts_(p, b, line.n > 0 ? "\r\n " : "\r\n");
	}
}

/* Header lines up to the first empty one or the cap. */
static void
headers_add(struct parts *p, struct sv v)
{
	while (v.n > 0 && !p->failed) {
		struct sv line = sv_cut(&v, '\n');

		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		if (line.n == 0 ||
		    buf_len(&p->original) + line.n > DSN_RETURN_MAX)
			return;
		header_line(p, line);
	}
}

static bool
has_failure(const struct dsn *d)
{
	for (uint32_t i = 0; i < d->nrcpts; i++) {
		if (d->rcpts[i].action == DSN_FAILED)
			return true;
	}
	return false;
}

/* RFC 3461 4.3: RET is for failures; else only headers are returned. */
static void
original_build(struct parts *p, const struct dsn *d)
{
	if (!d->has_original)
		return;
	p->full = d->full && has_failure(d) &&
	    d->head.n <= DSN_RETURN_MAX && d->body.n <= DSN_RETURN_MAX &&
	    d->head.n + d->body.n <= DSN_RETURN_MAX &&
	    is_whole_lines(d->head) && is_clean(d->head) && is_clean(d->body);
	if (!p->full) {
		headers_add(p, d->head);
		headers_add(p, d->body);
		return;
	}
	put(p, &p->original, d->head);
	put(p, &p->original, d->body);
	if (d->body.n > 0 && d->body.p[d->body.n - 1] != '\n')
		puts_(p, &p->original, "\r\n");
}

/* ---- putting it together ---- */

static bool
contains(const struct buf *b, struct sv needle)
{
	struct sv v = buf_sv(b);

	return v.n > 0 && memmem(v.p, v.n, needle.p, needle.n) != NULL;
}

static void
boundary_choose(const struct parts *p, const struct dsn *d, struct str *s)
{
	uint64_t key[2] = { d->unique, (uint64_t)d->now.us };

	for (uint64_t try = 0;; try++) {
		s->n = 0;
		/* "=_" occurs neither in quoted-printable nor in base64 */
		str_addf(s, "=_pinnace_%016" PRIx64,
		    siphash24(key, &try, sizeof(try)));
		if (!contains(&p->human, str_sv(s)) &&
		    !contains(&p->status, str_sv(s)) &&
		    !contains(&p->original, str_sv(s)))
			return;
	}
}

static const char *
cte(const struct buf *b)
{
	return is_ascii(buf_sv(b)) ? "7bit" : "8bit";
}

static void
put_part(struct parts *p, struct buf *out, struct sv boundary,
    const char *description, const char *type, const struct buf *content)
{
	puts_(p, out, "\r\n--");
	put(p, out, boundary);
	puts_(p, out, "\r\nContent-Description: ");
	puts_(p, out, description);
	puts_(p, out, "\r\nContent-Type: ");
	puts_(p, out, type);
	puts_(p, out, "\r\nContent-Transfer-Encoding: ");
	puts_(p, out, cte(content));
	puts_(p, out, "\r\n\r\n");
	put(p, out, buf_sv(content));
}

/* The worst news names the whole. */
static const char *
subject_of(const struct dsn *d)
{
	enum dsn_action worst = DSN_RELAYED;

	for (uint32_t i = 0; i < d->nrcpts; i++) {
		if (d->rcpts[i].action < worst)
			worst = d->rcpts[i].action;
	}
	return actions[worst].subject;
}

static void
header_build(struct parts *p, const struct dsn *d, struct buf *out,
    struct sv boundary, bool eight, bool utf8)
{
	puts_(p, out, "From: Mail Delivery System <mailer-daemon@");
	put_exact(p, out, d->host, true);
	puts_(p, out, ">\r\n");
	put_address(p, out, "To", "", d->to, true);
	put_field(p, out, "Subject", "", sv_from(subject_of(d)), false);
	put_date(p, out, "Date", d->now);
	if (buf_addf(out, "Message-ID: <dsn.%016" PRIx64 "@", d->unique) != 0)
		p->failed = true;
	put_exact(p, out, d->host, true);
	puts_(p, out, ">\r\n");
	/* RFC 3834 5 */
	puts_(p, out, "Auto-Submitted: auto-replied\r\n"
	    "MIME-Version: 1.0\r\nContent-Type: multipart/report; "
	    "report-type=");
	puts_(p, out, utf8 ? "global-delivery-status;\r\n" :
	    "delivery-status;\r\n");
	puts_(p, out, "    boundary=\"");
	put(p, out, boundary);
	puts_(p, out, "\"\r\nContent-Transfer-Encoding: ");
	puts_(p, out, eight ? "8bit" : "7bit");
	puts_(p, out, "\r\n\r\nThis is a MIME-encapsulated message.\r\n");
}

static bool
needs_utf8(const struct dsn *d)
{
	for (uint32_t i = 0; i < d->nrcpts; i++) {
		if (!is_ascii(d->rcpts[i].addr))
			return true;
	}
	return d->original_utf8 || !is_ascii(d->to);
}

static const char *
original_type(const struct parts *p, bool utf8)
{
	if (p->full)
		return utf8 ? "message/global" : "message/rfc822";
	return utf8 ? "message/global-headers" : "text/rfc822-headers";
}

static void
assemble(struct parts *p, const struct dsn *d, struct buf *out, bool utf8,
    uint32_t *env_flags_r)
{
	char mem[BOUNDARY_MAX];
	bool eight = !is_ascii(buf_sv(&p->human)) ||
	    !is_ascii(buf_sv(&p->status)) || !is_ascii(buf_sv(&p->original));
	struct str boundary;

	STR_ON(&boundary, mem);
	boundary_choose(p, d, &boundary);
	header_build(p, d, out, str_sv(&boundary), eight, utf8);
	put_part(p, out, str_sv(&boundary), "Notification",
	    "text/plain; charset=utf-8", &p->human);
	put_part(p, out, str_sv(&boundary), "Delivery report", utf8 ?
	    "message/global-delivery-status" : "message/delivery-status",
	    &p->status);
	if (d->has_original)
		put_part(p, out, str_sv(&boundary), p->full ?
		    "Undelivered message" : "Message headers",
		    original_type(p, utf8), &p->original);
	puts_(p, out, "\r\n--");
	put(p, out, str_sv(&boundary));
	puts_(p, out, "--\r\n");
	*env_flags_r = (eight ? ENV_8BITMIME : 0) |
	    (is_ascii(d->to) ? 0 : ENV_SMTPUTF8 | ENV_8BITMIME);
}

enum dsn_result
dsn_build(const struct dsn *d, struct buf *out, uint32_t *env_flags_r)
{
	bool utf8 = needs_utf8(d);
	struct parts p = { .full = false };

	*env_flags_r = 0;
	if (d->to.n == 0 || sv_eq(d->to, SV("<>")) || d->nrcpts == 0)
		return DSN_NULL_SENDER;
	buf_init(&p.human, out->cap);
	buf_init(&p.status, out->cap);
	buf_init(&p.original, out->cap);
	original_build(&p, d);
	human_build(&p, d);
	status_build(&p, d, utf8);
	if (!p.failed)
		assemble(&p, d, out, utf8, env_flags_r);
	buf_fini(&p.human);
	buf_fini(&p.status);
	buf_fini(&p.original);
	return p.failed ? DSN_TOO_BIG : DSN_OK;
}
