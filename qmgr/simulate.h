/* SPDX-License-Identifier: ISC */
/*
 * simulate: what would become of today's queues under a configuration: the
 * scheduler itself on a virtual clock, with remote hosts that answer as those
 * of each queue have of late. Pure, and the same for the same input.
 *
 * What it does not know: a host that takes more or less when it is sent more;
 * the size of messages, so that limits of data volume never bind; when what
 * waits for a retry would have been tried (all is ready at the start).
 * Arrivals are even.
 */
#ifndef QMGR_SIMULATE_H
#define QMGR_SIMULATE_H

#include "common/conf/conf.h"
#include "qmgr/sched.h"

#define SIM_HOURS_MAX    720u
#define SIM_MESSAGES_MAX 3000000u /* 500 MB; some seconds */

struct sim_queue {
	struct sv domain, vmta;
	uint64_t waiting;             /* recipients */
	int64_t oldest_ms;
	double arrived;               /* recipients an hour */
	double delivered, deferred, failed; /* answers an hour: their ratio */
	int64_t took_us[SCHED_TIMES]; /* 0: not known, some usual time */
	bool paused, backoff;
	bool down;                    /* nobody can connect */
};

enum sim_end {
	SIM_IDLE,     /* there was never anything */
	SIM_DRAINS,   /* at drained_us: no more waits than comes in a minute */
	SIM_LATER,    /* not within the time, but it shrinks */
	SIM_STEADY,   /* it stays as it is: less than comes in an hour */
	SIM_NEVER,    /* it does not shrink */
	SIM_PAUSED,
	SIM_ENDS
};

struct sim_result {
	enum sim_end end;
	uint64_t delivered, failed, left, peak;  /* recipients */
	double per_hour;         /* delivered, until drained if that takes more
	                          * than a minute */
	int64_t drained_us;      /* since the start */
	int64_t later_us;        /* SIM_LATER: about when, at that rate */
	uint32_t sessions;       /* most at a time */
	uint64_t wait_ms[SCHED_WAITS];
	enum sched_wait most;    /* what it waited for most */
};

const char *sim_end_name(enum sim_end e);
/* Messages that a run would have: more than SIM_MESSAGES_MAX are too many. */
double sim_messages(const struct sim_queue *q, size_t n, unsigned hours);
/* One result for each queue. Queues are told apart by name. Aborts without
 * memory. */
void sim_run(const struct conf *conf, const struct sim_queue *q, size_t n,
    unsigned hours, uint64_t seed, struct sim_result *out);

/* A limit that somebody has set and that bound no queue in a run, but for
 * moments. */
struct sim_unreached {
	struct sv name, value, file;         /* live as the configuration */
	uint32_t line;
	uint32_t most;     /* max-smtp-out: connections that there were */
	bool never;        /* a lower one above it: whatever comes */
};
typedef void sim_unreached_fn(void *arg, const struct sim_unreached *u);
/* Each of them once, with the results of sim_run(). Limits of queues only. */
void sim_unreached_each(const struct conf *conf, const struct sim_queue *q,
    const struct sim_result *r, size_t n, sim_unreached_fn *fn, void *arg);

#endif
