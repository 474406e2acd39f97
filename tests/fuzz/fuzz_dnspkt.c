/* SPDX-License-Identifier: ISC */
/* DNS answers. The first byte chooses the question; id and question of the
 * packet are put right, so that the fuzzer need not guess them. */
#include <stdlib.h>
#include <string.h>

#include "common/net/dnspkt.h"
#include "tests/fuzz/fuzz.h"

static void
check(const struct dnspkt_answer *a, enum dns_type type)
{
	if (a->n > DNSPKT_RRS_MAX || a->hops > DNSPKT_HOPS_MAX ||
	    a->ttl_s > DNSPKT_TTL_MAX)
		abort();
	if (a->rcode != DNS_NOERROR && a->n > 0)
		abort();
	for (unsigned i = 0; i < a->n; i++) {
		const char *name = a->rrs[i].name;
		char again[DNSPKT_NAME_SIZE];

		if (memchr(name, '\0', DNSPKT_NAME_SIZE) == NULL)
			abort();
		if (type != DNS_MX && name[0] != '\0')
			abort();
		if (name[0] != '\0' &&
		    (!dnspkt_name_parse(sv_from(name), again) ||
			strcmp(name, again) != 0))
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum dns_type types[] = { DNS_MX, DNS_A, DNS_AAAA };
	struct dnspkt_answer a;
	struct dnspkt_query q;
	enum dns_type type;
	uint8_t *p;

	if (size == 0 || size > 65536)
		return 0;
	type = types[data[0] % 3];
	if (!dnspkt_query_make("d.test", type, 0x1234, true, &q))
		return 0;
	size--;
	p = malloc(size > 0 ? size : 1);
	if (p == NULL)
		return 0;
	memcpy(p, data + 1, size);
	if (size >= 12 + q.qlen) {
		memcpy(p, q.wire, 2);
		p[2] |= 0x80;
		p[4] = 0;
		p[5] = 1;
		memcpy(p + 12, q.wire + 12, q.qlen);
	}
	if (dnspkt_answer_parse(&q, p, size, data[0] & 0x80, &a) ==
	    DNSPKT_ANSWER)
		check(&a, type);
	free(p);
	return 0;
}
