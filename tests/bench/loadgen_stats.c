/* SPDX-License-Identifier: ISC */
#include <stdio.h>

#include "tests/bench/loadgen.h"

/* Latencies: 32 buckets for each doubling, so 3 % of error. */

static size_t
bucket_of(uint64_t us)
{
	unsigned shift = 0;

	if (us > UINT32_MAX)
		us = UINT32_MAX;
	while (us >> shift >= 64)
		shift++;
	return shift == 0 ? us : 32u * shift + (us >> shift);
}

static double
bucket_ms(size_t b)
{
	if (b < 64)
		return (double)b / 1000;
	return (double)((b % 32 + 32) << (b / 32 - 1)) / 1000;
}

static double
percentile(const struct stats *s, double p)
{
	uint64_t seen = 0, want = (uint64_t)((double)s->accepted * p);

	for (size_t b = 0; b < BUCKETS; b++) {
		seen += s->latency[b];
		if (seen > want)
			return bucket_ms(b);
	}
	return 0;
}

void
stats_latency_add(struct stats *s, int64_t us)
{
	if ((uint64_t)us > s->max_latency)
		s->max_latency = (uint64_t)us;
	s->latency[bucket_of((uint64_t)us)]++;
}

void
stats_add(struct stats *sum, const struct stats *s)
{
	sum->accepted += s->accepted;
	sum->rcpts_accepted += s->rcpts_accepted;
	sum->refused_4xx += s->refused_4xx;
	sum->refused_5xx += s->refused_5xx;
	sum->lost += s->lost;
	sum->resends += s->resends;
	sum->in_doubt += s->in_doubt;
	sum->reconnects += s->reconnects;
	sum->connect_failures += s->connect_failures;
	sum->started += s->started;
	if (sum->first_us == 0 || s->first_us < sum->first_us) {
		sum->first_us = s->first_us;
		sum->wall_us = s->wall_us;
	}
	if (s->last_us > sum->last_us)
		sum->last_us = s->last_us;
	if (s->max_latency > sum->max_latency)
		sum->max_latency = s->max_latency;
	for (size_t b = 0; b < BUCKETS; b++)
		sum->latency[b] += s->latency[b];
}

void
stats_print(const struct stats *s)
{
	double seconds = (double)(s->last_us - s->first_us) /
	    (double)US_PER_SEC;

	printf("{\"accepted\": %ju, \"recipients_accepted\": %ju, "
	       "\"refused_4xx\": %ju, \"refused_5xx\": %ju, \"lost\": %ju, "
	       "\"refused\": %ju, \"resends\": %ju, \"in_doubt\": %ju, "
	       "\"reconnects\": %ju, \"connect_failures\": %ju, "
	       "\"started\": %ju, \"first\": %.6f, \"seconds\": %.3f, "
	       "\"rate\": %.1f, "
	       "\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, "
	       "\"run_id\": \"%s\"}\n",
	    s->accepted, s->rcpts_accepted, s->refused_4xx, s->refused_5xx,
	    s->lost, s->refused_4xx + s->refused_5xx + s->lost, s->resends,
	    s->in_doubt, s->reconnects, s->connect_failures, s->started,
	    (double)s->wall_us / (double)US_PER_SEC, seconds,
	    seconds > 0 ? (double)s->accepted / seconds : 0,
	    percentile(s, 0.5), percentile(s, 0.99),
	    (double)s->max_latency / 1000, opt.run_id);
}
