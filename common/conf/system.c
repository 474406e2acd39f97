/* SPDX-License-Identifier: ISC */
/*
 * What the machine knows and the file does not say. Done once, by the process
 * that reads the file; the others get the result as settings like all others.
 */
#include <sys/socket.h>
#include <sys/types.h>

#include <netinet/in.h>

#include <ifaddrs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/str.h"
#include "common/conf/store.h"

#define RESOLV_CONF "/etc/resolv.conf"

static bool
has_setting(const struct conf *c, const char *name)
{
	const struct conf_row *row = row_find(SCOPE_GLOBAL, sv_from(name));

	for (struct setting *s = c->blocks[0]->first; s != NULL; s = s->next)
		if (s->row == row)
			return true;
	return false;
}

static bool
add_global(struct conf *c, const char *name, struct sv value,
    struct place at)
{
	const struct conf_row *row = row_find(SCOPE_GLOBAL, sv_from(name));
	union conf_any scratch;

	if (row_parse(row, value, &scratch) != NULL)
		return true;
	return store_setting(c, 0, row, value, false, at);
}

static bool
add_host_name(struct conf *c)
{
	struct place at = { STORE_NONE, 0 };
	char name[256];

	if (has_setting(c, "host-name"))
		return true;
	if (gethostname(name, sizeof(name)) == -1)
		return true;
	name[sizeof(name) - 1] = '\0';
	return store_file(c, SV("(system)"), &at.file) &&
	    add_global(c, "host-name", sv_from(name), at);
}

static bool
add_name_servers(struct conf *c)
{
	struct place at = { STORE_NONE, 0 };
	char line[1024];
	bool ok, any = false;
	FILE *f;

	if (has_setting(c, "name-server"))
		return true;
	if (!store_file(c, SV(RESOLV_CONF), &at.file))
		return false;
	ok = true;
	f = fopen(RESOLV_CONF, "re");
	while (ok && f != NULL && fgets(line, sizeof(line), f) != NULL) {
		struct sv rest = sv_from(line), word;

		at.line++;
		rest.n = strcspn(line, "\r\n");
		if (!sv_eq(text_word(&rest), SV("nameserver")))
			continue;
		word = text_word(&rest);
		any |= sv_find(word, '%') < 0;
		ok = add_global(c, "name-server", word, at);
	}
	if (f != NULL)
		fclose(f);
	/* As resolv.conf(5) has it. */
	if (ok && !any)
		ok = add_global(c, "name-server", SV("127.0.0.1"), at);
	return ok;
}

/* ---- ranges of smtp-source-host ---- */

static bool
address_of(const struct ifaddrs *i, struct route_addr *r)
{
	*r = (struct route_addr){ 0 };
	if (i->ifa_addr == NULL)
		return false;
	if (i->ifa_addr->sa_family == AF_INET) {
		struct sockaddr_in sin;

		memcpy(&sin, i->ifa_addr, sizeof(sin));
		r->family = 4;
		memcpy(r->ip, &sin.sin_addr, 4);
		return true;
	}
	if (i->ifa_addr->sa_family == AF_INET6) {
		struct sockaddr_in6 sin6;

		memcpy(&sin6, i->ifa_addr, sizeof(sin6));
		r->family = 6;
		memcpy(r->ip, &sin6.sin6_addr, 16);
		return true;
	}
	return false;
}

/* "ADDRESS NAME" in the store. */
static bool
source_text(struct conf *c, const struct route_addr *ip, struct sv name,
    struct sv *out)
{
	char text[46], mem[320];
	struct str s;

	STR_ON(&s, mem);
	str_adds(&s, route_addr_format(ip, text));
	str_addc(&s, ' ');
	str_add(&s, name);
	return store_sv(c, str_sv(&s), out);
}

static bool
insert_after(struct conf *c, struct block *b, struct setting **at,
    struct sv value)
{
	struct setting *s = store_alloc(c, sizeof(*s));

	if (s == NULL)
		return false;
	*s = **at;
	s->value = value;
	(*at)->next = s;
	if (s->next == NULL)
		b->last = &s->next;
	*at = s;
	c->nsettings++;
	return true;
}

/* Replaces the range in s by our addresses in it. */
static bool
expand_source(struct conf *c, struct conf_report *rep, struct block *b,
    struct setting *s, const struct conf_cidr *cidr, struct sv name,
    const struct ifaddrs *all)
{
	struct route_addr ip;
	struct sv text;
	bool any = false;

	for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
		if (!address_of(i, &ip) || !conf_cidr_has(cidr, &ip))
			continue;
		if (!source_text(c, &ip, name, &text))
			return false;
		if (any && !insert_after(c, b, &s, text))
			return false;
		s->value = text;
		any = true;
	}
	if (!any)
		report_error(rep, place_file(c, s->at), s->at.line,
		    "smtp-source-host: this host has no address in %.*s",
		    SV_FMT(s->value));
	return true;
}

static bool
expand_block(struct conf *c, struct conf_report *rep, struct block *b,
    const struct ifaddrs *all)
{
	struct setting *next;

	for (struct setting *s = b->first; s != NULL; s = next) {
		struct sv rest = s->value, word = text_word(&rest);
		struct conf_cidr cidr;

		next = s->next;
		if (s->row->type != CONF_T_SOURCES || s->clear ||
		    conf_parse_cidr(word, &cidr) != NULL || cidr.bits == 0 ||
		    cidr.bits == (cidr.ip.family == 4 ? 32 : 128))
			continue;
		if (!expand_source(c, rep, b, s, &cidr, text_unquote(rest),
		    all))
			return false;
	}
	return true;
}

static bool
expand_sources(struct conf *c, struct conf_report *rep)
{
	struct ifaddrs *all = NULL;
	bool ok = true;

	if (getifaddrs(&all) == -1)
		return true;
	for (uint32_t i = 0; ok && i < c->nblocks; i++)
		ok = expand_block(c, rep, c->blocks[i], all);
	freeifaddrs(all);
	return ok;
}

bool
system_defaults(struct conf *c, struct conf_report *rep)
{
	if (add_host_name(c) && add_name_servers(c) && expand_sources(c, rep))
		return true;
	report_error(rep, SV(""), 0, "the configuration is too large");
	return false;
}
