/* SPDX-License-Identifier: ISC */
#include <string.h>

#include <idn2.h>

#include "common/base/str.h"
#include "delivery/resolver_hosts.h"

#define NAME_BYTES_MAX 1024 /* of UTF-8 */

static bool
is_ascii(struct sv v)
{
	for (size_t i = 0; i < v.n; i++) {
		if ((unsigned char)v.p[i] >= 0x80)
			return false;
	}
	return true;
}

bool
rhost_name(struct sv text, char *out)
{
	char utf8[NAME_BYTES_MAX], *ascii = NULL;
	bool ok;

	if (is_ascii(text))
		return dnspkt_name_parse(text, out);
	/* RFC 6531 3.2: U-labels become A-labels before any look-up. */
	if (!sv_to_cstr(text, utf8, sizeof(utf8)) ||
	    idn2_to_ascii_8z(utf8, &ascii,
		IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
		return false;
	ok = dnspkt_name_parse(sv_from(ascii), out);
	idn2_free(ascii);
	return ok;
}

static bool
host_addr(struct sv ip, struct rhost *h)
{
	char text[46];
	struct str s;

	if (!route_addr_parse(ip, &h->addr))
		return false;
	h->kind = RHOST_ADDR;
	STR_ON(&s, h->name);
	route_addr_format(&h->addr, text);
	str_addf(&s, "[%s]", text);
	return true;
}

/* What stands in the brackets. */
static bool
host_literal(struct sv in, struct rhost *h)
{
	if (!sv_istarts(in, SV("IPv6:")))
		return host_addr(in, h);
	return host_addr(sv_from_at(in, 5), h) && h->addr.family == 6;
}

bool
rhost_literal(struct sv text, struct rhost *h_r)
{
	if (text.n < 3 || text.p[0] != '[' || text.p[text.n - 1] != ']')
		return false;
	return host_literal(sv_make(text.p + 1, text.n - 2), h_r);
}

static bool
host_port(struct sv text, struct rhost *h)
{
	uint64_t port;

	if (!sv_to_u64(text, UINT16_MAX, &port) || port == 0)
		return false;
	h->port = (uint16_t)port;
	return true;
}

/* "[192.0.2.1]:25", "[mail.example.org]" */
static bool
host_bracket(struct sv text, struct rhost *h)
{
	ptrdiff_t end = sv_find(text, ']');
	struct sv in, rest;

	if (end < 0)
		return false;
	in = sv_make(text.p + 1, (size_t)end - 1);
	rest = sv_from_at(text, (size_t)end + 1);
	if (rest.n > 0 && (rest.p[0] != ':' ||
	    !host_port(sv_from_at(rest, 1), h)))
		return false;
	if (host_literal(in, h))
		return true;
	h->kind = RHOST_NAME;
	return rhost_name(in, h->name);
}

static bool
host_parse(struct sv text, struct rhost *h)
{
	const struct sv lookup = SV("lookup-mx:");
	ptrdiff_t colon;

	h->kind = RHOST_NAME;
	if (sv_istarts(text, lookup)) {
		text = sv_trim(sv_from_at(text, lookup.n));
		h->kind = RHOST_MX;
	} else if (text.n > 0 && text.p[0] == '[') {
		return host_bracket(text, h);
	} else if (host_addr(text, h)) {
		return true;
	}
	colon = sv_rfind(text, ':');
	if (colon >= 0) {
		if (!host_port(sv_from_at(text, (size_t)colon + 1), h))
			return false;
		text = sv_head(text, (size_t)colon);
	}
	if (h->kind == RHOST_NAME && host_addr(text, h))
		return h->addr.family == 4; /* IPv6 with a port: brackets */
	return rhost_name(text, h->name);
}

size_t
rhosts_parse(struct sv text, uint16_t port, struct rhost *list, size_t max,
    struct sv *bad_r)
{
	uint16_t level = 0;
	size_t n = 0;

	while (text.p != NULL && level < UINT16_MAX) {
		struct sv group = sv_cut(&text, ';');

		while (group.p != NULL) {
			struct sv one = sv_trim(sv_cut(&group, ','));
			struct rhost h = { .level = level, .port = port };

			if (one.n == 0)
				continue;
			if (!host_parse(one, &h)) {
				*bad_r = one;
				return 0;
			}
			if (n < max)
				list[n++] = h;
		}
		level++;
	}
	if (n == 0)
		*bad_r = text;
	return n;
}
