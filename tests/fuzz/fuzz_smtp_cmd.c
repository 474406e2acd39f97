/* SPDX-License-Identifier: ISC */
/* Command lines, addresses, parameters. Oracle: what was accepted is within
 * its limits, has no control byte, and parses again to the same. */
#include <stdlib.h>
#include <string.h>

#include "common/mail/smtp_cmd.h"
#include "tests/fuzz/fuzz.h"

static void
addr_check(const struct addr *a, bool utf8)
{
	struct addr again;

	if (a->n == 0)
		return;
	if (a->n > ENV_ADDR_MAX || a->local_n >= a->n ||
	    a->text[a->local_n] != '@')
		abort();
	for (size_t i = 0; i < a->n; i++) {
		if ((unsigned char)a->text[i] < ' ' || a->text[i] == 0x7f)
			abort();
	}
	if (addr_parse(addr_text(a), utf8, &again) != CMD_OK ||
	    !sv_eq(addr_text(a), addr_text(&again)) ||
	    a->local_n != again.local_n)
		abort();
	/* the same domain for all who look */
	if (!sv_eq(addr_domain(addr_text(a)),
	    sv_from_at(addr_text(a), a->local_n + 1u)))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sv line = sv_make(data, size), arg;
	struct smtp_mail m;
	struct smtp_rcpt r;
	struct addr a;

	(void)smtp_verb_parse(line, &arg);
	for (int utf8 = 0; utf8 <= 1; utf8++) {
		if (smtp_mail_parse(arg, utf8, &m) == CMD_OK) {
			addr_check(&m.from, (m.flags & ENV_SMTPUTF8) != 0);
			if (m.envid.n > ENV_ENVID_MAX)
				abort();
		}
		if (smtp_rcpt_parse(arg, utf8, &r) == CMD_OK) {
			addr_check(&r.to, utf8);
			if (r.orcpt.n > ENV_ORCPT_MAX ||
			    r.postmaster != (r.to.n == 0))
				abort();
		}
		if (addr_parse(line, utf8, &a) == CMD_OK)
			addr_check(&a, utf8);
	}
	return 0;
}
