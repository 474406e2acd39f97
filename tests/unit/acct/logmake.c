/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/acct/logmake.h"

struct ev_attempt
logmake_attempt(uint32_t n, char job[16])
{
	int len = snprintf(job, 16, "job%u", n);

	return (struct ev_attempt){
		.id = 77 + n, .rcpt_idx = 0,
		.action = n % 5 == 0 ? ACT_FAILED :
		    n % 3 == 0 ? ACT_DEFERRED : ACT_DELIVERED,
		.time_us = UINT64_C(1769868309000000) + n * 1000,
		.queued_us = UINT64_C(1769868308000000),
		.attempts = 1, .size = 18234,
		.queue = SV("dest.example/vmtaA"),
		.sender = SV("b-7@bnc.example.org"),
		.rcpt = SV("u1@dest.example"),
		.src_type = SV("smtp"), .src_mta = SV("app1 (10.0.0.4)"),
		.status = n % 5 == 0 ? SV("5.1.1") :
		    n % 3 == 0 ? SV("4.2.2") : SV("2.0.0"),
		.diag = n % 5 == 0 ? SV("550 5.1.1 no such user") :
		    n % 3 == 0 ? SV("452 4.2.2 full, later") : SV("250 ok"),
		.mta = SV("mx1.dest.example (192.0.2.9)"),
		.source_ip = SV("198.51.100.7"), .dest_ip = SV("192.0.2.9"),
		.esmtp = SV("PIPELINING,SIZE"),
		.job = sv_make(job, (size_t)len),
	};
}

void
logmake_append(struct evlog *l, uint32_t from, uint32_t to)
{
	for (uint32_t n = from; n < to; n++) {
		union ev_any any;
		char job[16];

		any.attempt = logmake_attempt(n, job);
		if (evlog_append(l, EV_ATTEMPT, &any) != 0)
			abort();
	}
	if (evlog_sync(l) != 0)
		abort();
}
