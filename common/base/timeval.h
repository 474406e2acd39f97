/* SPDX-License-Identifier: ISC */
/*
 * Two clocks that cannot be mixed. `mono` only ever goes forward and is for
 * intervals and deadlines; `wall` is for headers, logs and lifetimes that must
 * survive a restart. Both count microseconds.
 */
#ifndef COMMON_BASE_TIMEVAL_H
#define COMMON_BASE_TIMEVAL_H

#include <stdint.h>

struct mono {
	int64_t us;
};

struct wall {
	int64_t us; /* since 1970-01-01 00:00:00 UTC */
};

#define US_PER_MS ((int64_t)1000)
#define US_PER_SEC ((int64_t)1000000)

static inline struct mono
mono_add_ms(struct mono t, int64_t ms)
{
	return (struct mono){ t.us + ms * US_PER_MS };
}

/* a - b in milliseconds, rounded towards zero. */
static inline int64_t
mono_diff_ms(struct mono a, struct mono b)
{
	return (a.us - b.us) / US_PER_MS;
}

#endif
