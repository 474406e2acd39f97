/* SPDX-License-Identifier: ISC */
#include <time.h>

#include "common/sys/clock.h"

static int64_t
clock_us(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return t.tv_sec * US_PER_SEC + t.tv_nsec / 1000;
}

struct mono
clock_mono(void)
{
	return (struct mono){ clock_us(CLOCK_MONOTONIC) };
}

struct wall
clock_wall(void)
{
	return (struct wall){ clock_us(CLOCK_REALTIME) };
}
