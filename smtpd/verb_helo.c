/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "smtpd/verbs.h"

/*
 * RFC 5321 4.1.4: what stands in the argument is never a reason to refuse.
 * RFC 5321 4.1.1.1: resets.
 */
static void
hello(struct session *s, struct sv arg, bool esmtp)
{
	txn_reset(s);
	s->greeted = true;
	s->esmtp = esmtp;
	if (arg.n > ENV_NAME_MAX)
		arg.n = ENV_NAME_MAX;
	memcpy(s->helo, arg.p, arg.n);
	s->helo[arg.n] = '\0';
}

void
verb_helo(struct session *s, struct sv arg)
{
	struct sv host = conf_hostname(s->settings->conf);

	hello(s, arg, false);
	if (buf_addf(conn_out(s->conn), "250 %.*s\r\n", SV_FMT(host)) != 0)
		session_abort(s);
}

void
verb_ehlo(struct session *s, struct sv arg)
{
	struct sv host = conf_hostname(s->settings->conf);

	hello(s, arg, true);
	/* RFC 1870 3: SIZE 0 is "no fixed limit" */
	if (buf_addf(conn_out(s->conn),
	    "250-%.*s\r\n"
	    "250-PIPELINING\r\n"
	    "250-SIZE %llu\r\n"
	    "250-8BITMIME\r\n"
	    "%s"
	    "250-ENHANCEDSTATUSCODES\r\n"
	    "250 DSN\r\n", SV_FMT(host),
	    (unsigned long long)s->src->max_message_size_bytes,
	    s->src->allow_smtputf8 ? "250-SMTPUTF8\r\n" : "") != 0)
		session_abort(s);
}
