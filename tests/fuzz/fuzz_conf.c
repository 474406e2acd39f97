/* SPDX-License-Identifier: ISC */
/* Parses any text as a configuration, what stands behind a NUL as receiver
 * rules, shows it and sends it through the wire form, which must give the same
 * again. */
#include <stdlib.h>

#include "common/conf/conf.h"
#include "tests/fuzz/fuzz.h"

static void
use(void *arg, struct sv scope, struct sv name, struct sv value,
    struct sv file, uint32_t line)
{
	size_t *sum = arg;

	*sum += scope.n + name.n + value.n + file.n + line;
}

static void
aliases_use(const struct conf *c)
{
	struct sv v[CONF_ALIAS_MAX];
	struct arena a;
	uint32_t n;

	arena_init(&a, 1u << 20);
	if (conf_alias_expand(c, SV("a"), SV("a.org"), &a, v, &n) ==
	    CONF_EXPAND_NONE && conf_alias_has(c, SV("a"), SV("a.org")))
		abort();
	for (uint32_t i = 0; i < n; i++)
		if (sv_find(v[i], '@') <= 0)
			abort();
	arena_fini(&a);
}

static void
round_trip(const struct conf *c)
{
	struct conf *d;
	struct buf b;

	buf_init(&b, CONF_ENCODED_MAX);
	if (conf_encode(c, &b) == -1)
		abort();
	d = conf_decode(buf_sv(&b));
	if (d == NULL || conf_diff(c, d, NULL, NULL))
		abort();
	conf_free(&d);
	buf_fini(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct route_addr ip = { .family = 4, .ip = { 10, 1, 2, 3 } };
	struct sv rules = sv_make(data, size), text = sv_cut(&rules, '\0');
	struct conf_report rep;
	struct conf *c;
	size_t sum = 0;

	conf_report_init(&rep);
	c = rules.p == NULL ? conf_parse("fuzz", text, &rep) :
	    conf_parse_with("fuzz", text, "rules", rules, &rep);
	if ((c == NULL) != (rep.nerrors > 0))
		abort();
	if (c != NULL) {
		(void)conf_domain_find(c, SV("v"), SV("mail.a.org"));
		(void)conf_domain_find(c, SV(""), SV("[10.1.2.3]"));
		(void)conf_source_get(c, &ip, SV("n"));
		(void)conf_relay_allows_rcpt(c, SV("x"), SV("mail.a.org"));
		conf_show(c, true, use, &sum);
		conf_domain_show(c, SV("v"), SV("a.org"), SV(""), use, &sum);
		conf_domain_show(c, SV("v"), SV("a.org"), SV("a.rollup"), use,
		    &sum);
		(void)conf_rolled_find(c, SV("v"), SV("a.org"),
		    SV("a.rollup"));
		aliases_use(c);
		round_trip(c);
	}
	conf_free(&c);
	conf_report_fini(&rep);
	return 0;
}
