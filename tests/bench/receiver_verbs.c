/* SPDX-License-Identifier: ISC */
#include <string.h>
#include <stdio.h>

#include "tests/bench/receiver.h"

static void
verb_ehlo(struct session *s, struct sv name, bool extended)
{
	struct script_answer a;
	char c[256];
	struct buf text;

	if (!sv_to_cstr(sv_head(name, sizeof(c) - 1), c, sizeof(c)))
		c[0] = '\0';
	txn_reset(s);
	s->greeted = true;
	buf_init(&text, LINE_BYTES);
	kit_must(buf_addf(&text, "%s", opt.hostname));
	if (extended) {
		kit_must(buf_addf(&text, "%s%s%s%s%s",
		    opt.pipelining ? "\nPIPELINING" : "",
		    opt.eightbit ? "\n8BITMIME" : "",
		    opt.enhanced ? "\nENHANCEDSTATUSCODES" : "",
		    opt.dsn ? "\nDSN" : "", opt.offers));
		if (opt.offer_size)
			kit_must(buf_addf(&text, "\nSIZE %ju", opt.size));
	}
	kit_must(buf_add(&text, "", 1));
	ask(STAGE_EHLO, c, 1, &a);
	if (obey(s, &a, 250, "", (const char *)buf_data(&text)) == 0)
		reply(s, 250, "", (const char *)buf_data(&text));
	buf_fini(&text);
}

/* "FROM:<address> parameters" without the word; false if that is not it. */
static bool
cut_path(struct sv arg, struct sv *address_r, struct sv *params_r)
{
	ptrdiff_t end;

	arg = sv_trim(arg);
	if (arg.n < 2 || arg.p[0] != '<')
		return false;
	end = sv_find(arg, '>');
	if (end < 0)
		return false;
	*address_r = sv_make(arg.p + 1, (size_t)end - 1);
	*params_r = sv_trim(sv_from_at(arg, (size_t)end + 1));
	return memchr(address_r->p, '\0', address_r->n) == NULL;
}

static bool
declares_too_much(struct sv params)
{
	uint64_t n;

	while (params.p != NULL) {
		struct sv word = sv_cut(&params, ' ');

		if (sv_istarts(word, SV("SIZE=")) &&
		    sv_to_u64(sv_from_at(word, 5), UINT64_MAX, &n) &&
		    n > opt.size)
			return true;
	}
	return false;
}

static void
verb_mail(struct session *s, struct sv arg)
{
	struct script_answer a;
	struct sv address, params;
	int said;

	if (!s->greeted || s->has_sender) {
		reply(s, 503, "5.5.1", "bad sequence of commands");
		return;
	}
	if (!sv_istarts(arg, SV("FROM:")) ||
	    !cut_path(sv_from_at(arg, 5), &address, &params)) {
		reply(s, 501, "5.5.4", "syntax: MAIL FROM:<address>");
		return;
	}
	if (opt.offer_size && declares_too_much(params)) {
		reply(s, 552, "5.3.4", "message too big");
		return;
	}
	kit_must(buf_add_sv(&s->sender, address));
	kit_must(buf_add(&s->sender, "", 1));
	ask(STAGE_MAIL, (const char *)buf_data(&s->sender), 1, &a);
	said = obey(s, &a, 250, "2.1.0", "sender ok");
	if (said == 1) {
		buf_clear(&s->sender);
		return;
	}
	s->has_sender = true;
	if (opt.mbox_dir != NULL)
		kit_must(buf_addf(&s->args, "X-Envelope-From: <%.*s> %.*s\r\n",
		    SV_FMT(address), SV_FMT(params)));
	if (said == 0)
		REPLY_OK(s, "2.1.0", "sender ok");
}

static void
verb_rcpt(struct session *s, struct sv arg)
{
	struct script_answer a;
	struct sv address, params;
	size_t before = buf_len(&s->rcpts);
	int said;

	if (!s->has_sender) {
		reply(s, 503, "5.5.1", "bad sequence of commands");
		return;
	}
	if (!sv_istarts(arg, SV("TO:")) ||
	    !cut_path(sv_from_at(arg, 3), &address, &params) ||
	    address.n == 0) {
		reply(s, 501, "5.5.4", "syntax: RCPT TO:<address>");
		return;
	}
	kit_must(buf_add_sv(&s->rcpts, address));
	kit_must(buf_add(&s->rcpts, "", 1));
	ask(STAGE_RCPT, (const char *)buf_data(&s->rcpts) + before, 1, &a);
	said = obey(s, &a, 250, "2.1.5", "recipient ok");
	if (said == 1) {
		s->rcpts.tail = s->rcpts.head + before;
		return;
	}
	s->nrcpts++;
	if (opt.mbox_dir != NULL)
		kit_must(buf_addf(&s->args, "X-Envelope-To: <%.*s> %.*s\r\n",
		    SV_FMT(address), SV_FMT(params)));
	if (said == 0)
		REPLY_OK(s, "2.1.5", "recipient ok");
}

static void
verb_data(struct session *s)
{
	struct script_answer a;
	int said;

	if (s->nrcpts == 0) {
		reply(s, s->has_sender ? 554 : 503, "5.5.1",
		    "no valid recipients");
		return;
	}
	ask(STAGE_DATA, (const char *)buf_data(&s->rcpts), s->nrcpts, &a);
	said = obey(s, &a, 354, "", "end data with <CR><LF>.<CR><LF>");
	if (said == 1) {
		txn_reset(s);
		return;
	}
	if (said == 0)
		kit_must(buf_add_sv(&s->out, SV("354 go ahead\r\n")));
	s->mode = MODE_DATA;
	s->at_line_start = true;
	s->in_header = true;
	s->crc = 0;
	s->bytes = 0;
}

static void
verb_end(struct session *s, enum script_stage stage)
{
	struct script_answer a;
	bool quit = stage == STAGE_QUIT;

	ask(stage, "", 1, &a);
	if (obey(s, &a, quit ? 221 : 250, "2.0.0", quit ? "bye" : "ok") == 0)
		reply(s, quit ? 221 : 250, "2.0.0", quit ? "bye" : "ok");
	if (!quit)
		txn_reset(s);
	else if (s->is_held)
		s->held_close = true;
	else
		s->closing = true;
}

void
session_command(struct session *s, struct sv line)
{
	struct sv rest = line, verb = sv_cut(&rest, ' ');

	if (sv_ieq(verb, SV("MAIL")))
		verb_mail(s, rest);
	else if (sv_ieq(verb, SV("RCPT")))
		verb_rcpt(s, rest);
	else if (sv_ieq(verb, SV("DATA")))
		verb_data(s);
	else if (sv_ieq(verb, SV("EHLO")))
		verb_ehlo(s, rest, true);
	else if (sv_ieq(verb, SV("HELO")))
		verb_ehlo(s, rest, false);
	else if (sv_ieq(verb, SV("RSET")))
		verb_end(s, STAGE_RSET);
	else if (sv_ieq(verb, SV("QUIT")))
		verb_end(s, STAGE_QUIT);
	else if (sv_ieq(verb, SV("NOOP")))
		reply(s, 250, "2.0.0", "ok");
	else
		reply(s, 502, "5.5.1", "not here");
}
