/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include <event2/event.h>

#include "common/base/mem.h"
#include "common/sys/evmem.h"

static void *
evmem_malloc(size_t n)
{
	void *p = malloc(n);

	if (p == NULL && n != event_get_struct_event_size())
		mem_exhausted();
	return p;
}

static void *
evmem_realloc(void *p, size_t n)
{
	void *q = realloc(p, n);

	if (q == NULL && n > 0)
		mem_exhausted();
	return q;
}

void
evmem_init(void)
{
	event_set_mem_functions(evmem_malloc, evmem_realloc, free);
}
