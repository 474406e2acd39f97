/* SPDX-License-Identifier: ISC */
#include <stdbool.h>
#include <unistd.h>

#include "common/base/mem.h"

static void (*exhausted_tell)(void);
static bool vital;
static unsigned failures;

void
mem_exhausted_tell(void (*tell)(void))
{
	exhausted_tell = tell;
}

void
mem_exhausted(void)
{
	if (exhausted_tell != NULL)
		exhausted_tell();
	_exit(111);
}

void
mem_vital_set(void)
{
	vital = true;
}

void
mem_failed(size_t n)
{
	if (vital && n < MEM_SMALL)
		mem_exhausted();
	failures++;
}

unsigned
mem_failures(void)
{
	return failures;
}
