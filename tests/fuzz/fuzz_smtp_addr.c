/* SPDX-License-Identifier: ISC */
/*
 * Any bytes as an address, bare and in the path of a command. Oracles: the
 * domain is what stands behind the last '@' that is not quoted, found by a
 * scanner of its own; bare and in a path mean the same; the printed form
 * parses to the same; no control byte gets through; UTF-8 only where allowed.
 */
#include <string.h>

#include "common/mail/smtp_cmd.h"
#include "tests/fuzz/fuzz.h"

/* The '@' that counts, or SIZE_MAX. */
static size_t
at_find(struct sv v)
{
	size_t at = SIZE_MAX;
	bool quoted = false;

	for (size_t i = 0; i < v.n; i++) {
		if (quoted && v.p[i] == '\\')
			i++;
		else if (v.p[i] == '"')
			quoted = !quoted;
		else if (v.p[i] == '@' && !quoted)
			at = i;
	}
	return at;
}

static bool
same(const struct addr *a, const struct addr *b)
{
	return a->n == b->n && a->local_n == b->local_n &&
	    a->utf8 == b->utf8 && memcmp(a->text, b->text, a->n + 1u) == 0;
}

static void
addr_check(struct sv v, const struct addr *a, bool utf8)
{
	struct addr again;
	bool high = false;

	must(a->n == v.n && a->n <= ENV_ADDR_MAX && a->text[a->n] == '\0');
	must(a->local_n > 0 && a->local_n == at_find(v));
	must(memcmp(a->text, v.p, a->local_n + 1u) == 0);
	for (size_t i = 0; i < a->n; i++) {
		unsigned char c = (unsigned char)a->text[i];

		must(c >= ' ' && c != 0x7f);
		must(i <= a->local_n || c < 'A' || c > 'Z');
		must(i <= a->local_n || (c != '@' && c != ' ' && c != '<' &&
		    c != '>' && c != '"' && c != '\\'));
		high = high || c > 0x7f;
	}
	must(high == a->utf8 && (utf8 || !high));
	must(!high || utf8_is_valid(addr_text(a)));
	must(addr_parse(addr_text(a), utf8, &again) == CMD_OK);
	must(same(a, &again));
	must(sv_eq(addr_domain(addr_text(a)),
	    sv_from_at(addr_text(a), a->local_n + 1u)));
}

/* In "TO:<" v ">". */
static void
path_check(struct sv v, bool utf8, enum cmd_result bare,
    const struct addr *a)
{
	char mem[1100];
	struct smtp_rcpt r;
	struct smtp_mail m;

	if (v.n == 0 || v.n > 1000)
		return;
	memcpy(mem, "TO:<", 4);
	memcpy(mem + 4, v.p, v.n);
	mem[4 + v.n] = '>';
	if (smtp_rcpt_parse(sv_make(mem, v.n + 5), utf8, &r) == CMD_OK) {
		if (r.postmaster)
			must(sv_ieq(v, SV("postmaster")) && r.to.n == 0);
		else if (v.p[0] != '@')
			must(bare == CMD_OK && same(a, &r.to));
		else
			addr_check(sv_make(v.p + (v.n - r.to.n), r.to.n),
			    &r.to, utf8);
	} else {
		must(bare != CMD_OK);
	}
	memcpy(mem, "FROM:<", 6);
	memcpy(mem + 6, v.p, v.n);
	memcpy(mem + 6 + v.n, "> SMTPUTF8", 10);
	if (smtp_mail_parse(sv_make(mem, v.n + (utf8 ? 16 : 7)), utf8, &m) ==
	    CMD_OK && v.p[0] != '@')
		must(bare == CMD_OK && same(a, &m.from));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sv v = sv_make(data, size);

	for (int utf8 = 0; utf8 <= 1; utf8++) {
		struct addr a, q;
		enum cmd_result res = addr_parse(v, utf8, &a);

		if (res == CMD_OK)
			addr_check(v, &a, utf8);
		else
			must(a.n == 0);
		path_check(v, utf8, res, &a);
		if (addr_qualify(v, SV("d.test"), utf8, &q) == CMD_OK)
			must(sv_eq(addr_domain(addr_text(&q)), SV("d.test")));
	}
	return 0;
}
