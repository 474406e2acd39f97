/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "common/base/str.h"
#include "common/mail/received.h"
#include "common/mail/rfc5322_date.h"

#define LINE_SOFT 78 /* RFC 5322 2.1.1 */

static void
add_name(struct str *s, struct sv v)
{
	if (v.n > 255)
		v.n = 255;
	if (v.n == 0)
		str_adds(s, "unknown");
	for (size_t i = 0; i < v.n; i++) {
		char c = v.p[i];

		if (ascii_is_alnum(c) ||
		    (c != '\0' && strchr(".-_:[]", c) != NULL))
			str_addc(s, c);
		else
			str_addc(s, '?');
	}
}

static void
add_from(struct str *s, const struct received *r)
{
	struct sv literal = SV("");

	if (r->client_ip.n == 0)
		return;
	str_adds(s, "from ");
	add_name(s, r->helo);
	/* RFC 5321 4.4: a literal of version 6 has a tag */
	if (sv_find(r->client_ip, ':') >= 0)
		literal = SV("IPv6:");
	str_adds(s, s->n + r->client_name.n + r->client_ip.n + 12 > LINE_SOFT ?
	    "\r\n\t(" : " (");
	if (r->client_name.n > 0) {
		add_name(s, r->client_name);
		str_addc(s, ' ');
	}
	str_addc(s, '[');
	str_add(s, literal);
	add_name(s, r->client_ip);
	str_adds(s, "])\r\n\t");
}

int
received_put(struct buf *out, const struct received *r)
{
	char mem[RECEIVED_MAX], date[RFC5322_DATE];
	size_t line;
	struct str s;

	STR_ON(&s, mem);
	str_adds(&s, "Received: ");
	add_from(&s, r);
	str_adds(&s, "by ");
	add_name(&s, r->host);
	/* RFC 6531 4.3, RFC 3848 */
	str_adds(&s, r->utf8 ? " with UTF8SMTP" :
	    r->esmtp ? " with ESMTP" : " with SMTP");
	str_adds(&s, " id ");
	str_add(&s, r->id);
	str_adds(&s, "\r\n\t");
	line = s.n;
	if (r->rcpt.n > 0) {
		/* a checked address: a quoted blank in it does not fold */
		str_adds(&s, "for <");
		str_add(&s, r->rcpt);
		str_adds(&s, ">; ");
		if (s.n - line + 8 + strlen("Sat, 31 Jan 2026 00:00:00 +0000")
		    > LINE_SOFT) {
			s.n--; /* the blank becomes a fold */
			str_adds(&s, "\r\n\t");
		}
	} else {
		s.n -= 3;
		str_adds(&s, ";\r\n\t");
	}
	str_adds(&s, rfc5322_date(r->when, date));
	str_adds(&s, "\r\n");
	if (s.truncated)
		return -1;
	return buf_add_sv(out, str_sv(&s));
}
