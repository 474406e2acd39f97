/* SPDX-License-Identifier: ISC */
/* Any bytes as an encoded configuration. */
#include "common/conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf *c = conf_decode(sv_make(data, size));

	if (c != NULL)
		(void)conf_domain_find(c, SV("v"), SV("mail.a.org"));
	conf_free(&c);
	return 0;
}
