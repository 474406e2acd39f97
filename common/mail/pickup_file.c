/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "common/base/str.h"
#include "common/mail/pickup_file.h"
#include "common/mail/smtp_cmd.h"

#define PIECE 4096u /* of a long line */

struct parser {
	struct arena *a;
	struct pickup_file *f;
	uint32_t rcpts_size;
	struct sv envid;
	struct sv sender;
	bool has_sender, utf8;
};

/* A line without its end. */
static struct sv
line_next(struct sv *rest)
{
	struct sv line = sv_cut(rest, '\n');

	if (line.n > 0 && line.p[line.n - 1] == '\r')
		line.n--;
	return line;
}

static bool
is_command_text(struct sv v)
{
	if (v.n == 0 || v.n > PICKUP_COMMAND_MAX)
		return false;
	for (size_t i = 0; i < v.n; i++)
		if ((unsigned char)v.p[i] < ' ' || v.p[i] == 0x7f)
			return false;
	return true;
}

/* RFC 5321 2.3.8: a CR that ends no line is none of ours to mend. */
static bool
has_bare_cr(struct sv v)
{
	const char *end = v.p + v.n;

	for (const char *p = v.p; v.n > 0 &&
	    (p = memchr(p, '\r', (size_t)(end - p))) != NULL; p++)
		if (p + 1 == end || p[1] != '\n')
			return true;
	return false;
}

static const char *
rcpt_add(struct parser *p, struct sv text)
{
	struct pickup_file *f = p->f;

	if (f->nrcpts == ENV_RCPTS_MAX)
		return "has too many recipients";
	if (f->nrcpts == p->rcpts_size) {
		uint32_t size = p->rcpts_size == 0 ? 16 : p->rcpts_size * 2;
		struct sv *v = arena_alloc(p->a, size * sizeof(*v));

		if (v == NULL)
			return "takes too much memory";
		if (f->nrcpts > 0)
			memcpy(v, f->rcpts, f->nrcpts * sizeof(*v));
		f->rcpts = v;
		p->rcpts_size = size;
	}
	f->rcpts[f->nrcpts++] = text;
	return NULL;
}

/* ---- x-sender: ... ---- */

/* "prefix<address>suffix"; p is NULL without memory. */
static struct sv
path_make(struct parser *p, const char *prefix, struct sv address,
    const char *suffix)
{
	char mem[PICKUP_COMMAND_MAX + 1];
	struct str s;

	STR_ON(&s, mem);
	str_addf(&s, "%s<%.*s>%s", prefix, SV_FMT(address), suffix);
	return s.truncated ? sv_make(NULL, 0) : arena_sv(p->a, str_sv(&s));
}

/* Without the brackets that it may have. */
static bool
address_take(struct parser *p, struct sv *v)
{
	enum cmd_result res;
	struct addr addr;

	if (v->n >= 2 && v->p[0] == '<' && v->p[v->n - 1] == '>')
		*v = sv_from_at(sv_head(*v, v->n - 1), 1);
	if (v->n == 0)
		return true;
	res = addr_parse(*v, true, &addr);
	p->utf8 |= res == CMD_OK && addr.utf8;
	return res == CMD_OK || (res == CMD_UNQUALIFIED &&
	    sv_find(*v, '>') < 0 && sv_find(*v, ' ') < 0);
}

static const char *
on_sender(struct parser *p, struct sv v)
{
	p->sender = v;
	p->has_sender = true;
	return address_take(p, &p->sender) ? NULL :
	    "has an x-sender that is not an address";
}

static const char *
on_receiver(struct parser *p, struct sv v)
{
	struct sv text;

	if (!address_take(p, &v) || v.n == 0)
		return "has an x-receiver that is not an address";
	text = path_make(p, "TO:", v, "");
	return text.p == NULL ? "takes too much memory" : rcpt_add(p, text);
}

static const char *
on_envid(struct parser *p, struct sv v)
{
	p->envid = v;
	return NULL;
}

static const char *
on_job(struct parser *p, struct sv v)
{
	p->f->job = v;
	return is_command_text(v) ? NULL : "has an x-job that is none";
}

static const char *
on_vmta(struct parser *p, struct sv v)
{
	p->f->vmta = v;
	return is_command_text(v) ? NULL : "has an x-virtual-mta that is none";
}

static const struct {
	struct sv name;
	const char *(*take)(struct parser *p, struct sv v);
} lines[] = {
	{ SV("x-sender:"), on_sender },
	{ SV("x-sender-override:"), on_sender },
	{ SV("x-receiver:"), on_receiver },
	{ SV("x-envid:"), on_envid },
	{ SV("x-job:"), on_job },
	{ SV("x-virtual-mta:"), on_vmta },
};

/* False: it is no line of ours. */
static bool
line_take(struct parser *p, struct sv line, const char **why)
{
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		if (!sv_istarts(line, lines[i].name))
			continue;
		*why = lines[i].take(p, sv_trim(sv_from_at(line,
		    lines[i].name.n)));
		return true;
	}
	return false;
}

static bool
is_8bit(struct sv v)
{
	for (size_t i = 0; i < v.n; i++)
		if ((unsigned char)v.p[i] > 0x7f)
			return true;
	return false;
}

static const char *
mail_make(struct parser *p)
{
	char mem[3 * ENV_ENVID_MAX + 80];
	struct str s;

	STR_ON(&s, mem);
	if (is_8bit(p->f->message))
		str_adds(&s, " BODY=8BITMIME");
	if (p->utf8)
		str_adds(&s, " SMTPUTF8");
	if (p->envid.n > 0) {
		str_adds(&s, " ENVID=");
		xtext_add(&s, p->envid);
	}
	str_addc(&s, '\0');
	if (s.truncated)
		return "has an x-envid that is too long";
	p->f->mail = path_make(p, "FROM:", p->sender, mem);
	return p->f->mail.p == NULL ? "takes too much memory" : NULL;
}

/* Its last line is a lone dot: of a program that has SMTP in mind. */
static struct sv
dot_remove(struct sv v)
{
	struct sv ends[] = { SV("\n.\r\n"), SV("\n.\n"), SV("\n.") };

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (sv_iends(v, ends[i]))
			return sv_head(v, v.n - ends[i].n + 1);
	return v;
}

static const char *
parse_plain(struct parser *p, struct sv text, bool remove_dot)
{
	const char *why = NULL;
	struct sv rest = text;

	while (why == NULL && text.n > 0 &&
	    line_take(p, line_next(&rest), &why))
		text = rest.p == NULL ? sv_head(text, 0) : rest;
	if (why != NULL)
		return why;
	if (!p->has_sender)
		return "has no x-sender";
	if (p->f->nrcpts == 0)
		return "has no x-receiver";
	p->f->message = remove_dot ? dot_remove(text) : text;
	return mail_make(p);
}

/* ---- HELO, MAIL, RCPT, DATA ---- */

/* The argument if the line is this command. */
static bool
is_command(struct sv line, struct sv verb, struct sv *arg)
{
	if (!sv_istarts(line, verb) || (line.n > verb.n &&
	    line.p[verb.n] != ' ' && line.p[verb.n] != '\t'))
		return false;
	*arg = sv_trim(sv_from_at(line, verb.n));
	return true;
}

/* What stands behind DATA, up to the lone dot. */
static const char *
take_message(struct parser *p, struct sv rest)
{
	struct sv all = rest, arg;

	while (rest.n > 0) {
		size_t at = all.n - rest.n;

		if (!sv_eq(line_next(&rest), SV(".")))
			continue;
		p->f->message = sv_head(all, at);
		p->f->stuffed = true;
		while (rest.n > 0) {
			struct sv line = line_next(&rest);

			if (line.n > 0 && !is_command(line, SV("QUIT"), &arg))
				return "has something behind its message";
		}
		return NULL;
	}
	return "has no final dot: it is not whole";
}

static const char *
on_command(struct parser *p, struct sv line)
{
	struct sv arg;

	if (is_command(line, SV("XMRG"), &arg) ||
	    is_command(line, SV("XDFN"), &arg) ||
	    is_command(line, SV("XPRT"), &arg) ||
	    is_command(line, SV("XACK"), &arg))
		return "is a mail merge, which is not there";
	if (is_command(line, SV("HELO"), &p->f->helo) ||
	    is_command(line, SV("EHLO"), &p->f->helo))
		return is_command_text(p->f->helo) ? NULL :
		    "has a HELO without a name";
	if (is_command(line, SV("MAIL"), &arg)) {
		if (p->f->mail.n > 0)
			return "has MAIL twice";
		p->f->mail = arg;
		return is_command_text(arg) ? NULL : "has a MAIL that is none";
	}
	if (is_command(line, SV("RCPT"), &arg))
		return is_command_text(arg) ? rcpt_add(p, arg) :
		    "has a RCPT that is none";
	return "has a line that is none of HELO, EHLO, MAIL, RCPT and DATA";
}

static const char *
parse_bsmtp(struct parser *p, struct sv rest)
{
	const char *why = NULL;
	struct sv line, arg;

	while (why == NULL && rest.n > 0) {
		line = sv_trim(line_next(&rest));
		if (is_command(line, SV("DATA"), &arg))
			break;
		why = on_command(p, line);
	}
	if (why != NULL)
		return why;
	if (p->f->mail.n == 0)
		return "has no MAIL";
	if (p->f->nrcpts == 0)
		return "has no RCPT";
	return take_message(p, rest);
}

const char *
pickup_file_parse(struct sv text, bool remove_dot, struct arena *a,
    struct pickup_file *f_r)
{
	struct pickup_file f = { .helo = SV(""), .vmta = SV(""),
		.job = SV(""), .mail = SV(""), .message = SV("") };
	struct parser p = { .a = a, .f = &f, .envid = SV(""),
		.sender = SV("") };
	const char *why;

	if (text.n == 0)
		return "is empty";
	if (memchr(text.p, '\0', text.n) != NULL)
		return "has a NUL";
	if (has_bare_cr(text))
		return "has a CR that ends no line";
	why = sv_istarts(text, SV("x-")) ? parse_plain(&p, text, remove_dot) :
					   parse_bsmtp(&p, text);
	if (why == NULL)
		*f_r = f;
	return why;
}

/* ---- on the wire ---- */

void
pickup_feed_init(struct pickup_feed *f, const struct pickup_file *file)
{
	*f = (struct pickup_feed){ .file = file, .rest = file->message };
	smtp_stuff_init(&f->stuff);
}

static int
head_add(struct pickup_feed *f, struct buf *out)
{
	f->headed = true;
	if (f->file->vmta.n > 0 && buf_addf(out, "x-virtual-mta: %.*s\r\n",
	    SV_FMT(f->file->vmta)) == -1)
		return -1;
	if (f->file->job.n > 0 && buf_addf(out, "x-job: %.*s\r\n",
	    SV_FMT(f->file->job)) == -1)
		return -1;
	return 0;
}

/* A line, or a piece of a long one. */
static int
piece_add(struct pickup_feed *f, struct buf *out)
{
	const char *lf = memchr(f->rest.p, '\n', f->rest.n);
	struct sv piece = lf == NULL ? f->rest :
	    sv_head(f->rest, (size_t)(lf - f->rest.p) + 1);

	piece = sv_head(piece, piece.n < PIECE ? piece.n : PIECE);
	f->rest = sv_from_at(f->rest, piece.n);
	if (f->file->stuffed && !f->stuff.in_line && !f->stuff.cr &&
	    piece.p[0] == '.')
		piece = sv_from_at(piece, 1);
	return smtp_stuff_add(&f->stuff, out, piece);
}

int
pickup_feed_add(struct pickup_feed *f, struct buf *out, size_t want)
{
	if (!f->headed && head_add(f, out) == -1)
		return -1;
	while (f->rest.n > 0 && buf_len(out) < want)
		if (piece_add(f, out) == -1)
			return -1;
	if (f->rest.n > 0 || f->ended)
		return 0;
	f->ended = true;
	return smtp_stuff_end(&f->stuff, out);
}
