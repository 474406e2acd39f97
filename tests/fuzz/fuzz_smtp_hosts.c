/* SPDX-License-Identifier: ISC */
/* The value of smtp-hosts, domains and address literals. */
#include <stdlib.h>
#include <string.h>

#include "delivery/resolver_hosts.h"
#include "tests/fuzz/fuzz.h"

static void
check_name(const char *name)
{
	char again[DNSPKT_NAME_SIZE];

	if (!dnspkt_name_parse(sv_from(name), again) ||
	    strcmp(name, again) != 0)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sv text = sv_make(data, size), bad = SV("");
	char name[DNSPKT_NAME_SIZE];
	struct rhost list[8];
	size_t n = rhosts_parse(text, 25, list, 8, &bad);

	for (size_t i = 0; i < n; i++) {
		if (list[i].port == 0)
			abort();
		if (list[i].kind != RHOST_ADDR)
			check_name(list[i].name);
		else if (list[i].addr.family != 4 && list[i].addr.family != 6)
			abort();
	}
	if (rhost_name(text, name))
		check_name(name);
	(void)rhost_literal(text, &list[0]);
	return 0;
}
