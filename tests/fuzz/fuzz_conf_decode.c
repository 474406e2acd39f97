/* SPDX-License-Identifier: ISC */
/* Any bytes as an encoded configuration. The sum of the schema is put in, so
 * that the corpus lives on when a directive comes. */
#include <stdlib.h>
#include <string.h>

#include "common/conf/store.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t sum = schema_sum();
	uint8_t *p = malloc(size + 1);
	struct conf *c;

	if (p == NULL)
		abort();
	memcpy(p, data, size);
	for (size_t i = 4; i < size && i < 8; i++)
		p[i] = (uint8_t)(sum >> (8 * (i - 4)));
	c = conf_decode(sv_make(p, size));

	if (c != NULL)
		(void)conf_domain_find(c, SV("v"), SV("mail.a.org"));
	conf_free(&c);
	free(p);
	return 0;
}
