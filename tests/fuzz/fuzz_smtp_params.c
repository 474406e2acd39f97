/* SPDX-License-Identifier: ISC */
/*
 * Parameters of MAIL and RCPT. The first byte says which and whether UTF-8 is
 * in force; the rest stands behind the path. Oracle: what was taken, printed
 * in one fixed form, parses to the same; a parameter that is not offered, one
 * that comes twice and a control byte are refused.
 */
#include <string.h>

#include "common/base/str.h"
#include "common/mail/smtp_cmd.h"
#include "tests/fuzz/fuzz.h"

static void
text_check(struct sv v, bool utf8)
{
	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];

		must(c > ' ' && c != 0x7f && (utf8 || c < 0x7f));
	}
}

/* Words of the line; none may stand twice before its '='. */
static void
once_check(struct sv rest)
{
	struct sv keys[8], word;
	size_t n = 0;

	while (rest.n > 0) {
		ptrdiff_t eq;

		word = sv_cut(&rest, ' ');
		if (word.n == 0)
			continue;
		eq = sv_find(word, '=');
		word = eq < 0 ? word : sv_head(word, (size_t)eq);
		for (size_t i = 0; i < n; i++)
			must(!sv_ieq(keys[i], word));
		must(n < 8);
		keys[n++] = word;
	}
}

static void
mail_check(const struct smtp_mail *m, bool utf8)
{
	char mem[2048];
	struct smtp_mail again;
	struct str s;

	text_check(m->envid, false);
	must(m->envid.n <= ENV_ENVID_MAX);
	must(utf8 || (m->flags & ENV_SMTPUTF8) == 0);
	STR_ON(&s, mem);
	str_addf(&s, "FROM:<%.*s> SIZE=%llu", SV_FMT(addr_text(&m->from)),
	    (unsigned long long)m->size);
	if ((m->flags & ENV_8BITMIME) != 0)
		str_adds(&s, " BODY=8BITMIME");
	if ((m->flags & ENV_SMTPUTF8) != 0)
		str_adds(&s, " SMTPUTF8");
	if ((m->flags & ENV_RET_FULL) != 0)
		str_adds(&s, " RET=FULL");
	if ((m->flags & ENV_RET_HDRS) != 0)
		str_adds(&s, " RET=HDRS");
	if (m->envid.n > 0)
		str_addf(&s, " ENVID=%.*s", SV_FMT(m->envid));
	must(!s.truncated);
	must(smtp_mail_parse(str_sv(&s), utf8, &again) == CMD_OK);
	must(again.size == m->size && again.flags == m->flags &&
	    sv_eq(again.envid, m->envid) &&
	    sv_eq(addr_text(&again.from), addr_text(&m->from)));
}

static void
rcpt_check(const struct smtp_rcpt *r, bool utf8)
{
	static const char *const words[] = { "NEVER", "SUCCESS", "FAILURE",
		"DELAY" };
	char mem[2048];
	struct smtp_rcpt again;
	const char *sep = " NOTIFY=";
	struct str s;

	text_check(r->orcpt, utf8);
	must(r->orcpt.n <= ENV_ORCPT_MAX);
	must((r->notify & NOTIFY_NEVER) == 0 || r->notify == NOTIFY_NEVER);
	STR_ON(&s, mem);
	str_addf(&s, "TO:<%.*s>", SV_FMT(addr_text(&r->to)));
	for (unsigned i = 0; i < 4; i++) {
		if ((r->notify & (1u << i)) == 0)
			continue;
		str_adds(&s, sep);
		str_adds(&s, words[i]);
		sep = ",";
	}
	if (r->orcpt.n > 0) {
		str_adds(&s, " ORCPT=");
		str_add(&s, r->orcpt);
	}
	must(!s.truncated);
	must(smtp_rcpt_parse(str_sv(&s), utf8, &again) == CMD_OK);
	must(again.notify == r->notify && sv_eq(again.orcpt, r->orcpt) &&
	    sv_eq(addr_text(&again.to), addr_text(&r->to)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char mem[2100];
	struct sv path;
	struct smtp_mail m;
	struct smtp_rcpt r;
	bool utf8;

	if (size < 1 || size > 2000)
		return 0;
	utf8 = (data[0] & 1) != 0;
	path = (data[0] & 2) != 0 ? SV("TO:<a@b.test> ") :
	    SV("FROM:<a@b.test> ");
	memcpy(mem, path.p, path.n);
	memcpy(mem + path.n, data + 1, size - 1);
	path.n += size - 1;
	path.p = mem;
	if ((data[0] & 2) == 0 && smtp_mail_parse(path, utf8, &m) == CMD_OK) {
		once_check(sv_from_at(path, strlen("FROM:<a@b.test> ")));
		mail_check(&m, utf8);
	}
	if ((data[0] & 2) != 0 && smtp_rcpt_parse(path, utf8, &r) == CMD_OK) {
		once_check(sv_from_at(path, strlen("TO:<a@b.test> ")));
		rcpt_check(&r, utf8);
	}
	return 0;
}
