/* SPDX-License-Identifier: ISC */
/*
 * diagnose: which of the known patterns the queues show, with the evidence and
 * the one command that fits. Pure: figures in, findings out.
 *
 *	A  one destination is backed up
 *	B  all destinations are slow: the reason is here
 *	C  mail is tried again and again, and deferred
 *	D  bounces are not worked off
 *	E  one VMTA fares worse than the others at the same destinations
 *	N  a limit lets out less than comes in: never drains
 *	S  clients name VMTAs that do not exist, within the last hour
 *	P  an operator has paused it
 *	W  a warmup goes by its plan
 *
 * A queue is slow if it has SLOW_RCPTS recipients or more, the oldest of them
 * has waited for slow_ms, and at the rate of the last hour they will take
 * SLOW_DRAIN_H more; a queue that was seen for less than slow_ms is not judged.
 * Everything else is healthy, whatever its size.
 */
#ifndef QMGR_DIAGNOSE_H
#define QMGR_DIAGNOSE_H

#include "common/conf/conf.h"
#include "qmgr/sched.h"

#define DG_FINDINGS_MAX 16
#define DG_SLOW_MS      300000  /* default of slow_ms */
#define DG_UNKNOWN_MS   3600000 /* so long a wrong name is news */
#define DG_BEHIND_MS    60000   /* bounces that stand for so long, or for
	                         * slow_ms if that is less */

struct dg_queue {
	struct sv name, domain, vmta; /* the caller's, as all views */
	struct sv error;              /* the last one, "" if none */
	struct sv rule;               /* "max-msg-rate (file:line)", or "" */
	uint64_t ready, retry, inflight;
	int64_t oldest_ms;
	double arrived, delivered, deferred, failed; /* recipients per hour */
	int64_t seen_ms;              /* of that hour, since the start */
	bool paused;
	float share[SCHED_WAITS];     /* of the last 10 minutes */
	double took_ms[SCHED_TIMES];  /* of late; 0: not known */
};

struct dg_input {
	struct dg_queue *queues;      /* those with mail or a rate; sorted by
	                               * dg_judge() */
	size_t nqueues;
	int64_t slow_ms;
	uint64_t bouncing;            /* recipients that wait for their DSN */
	int64_t bounce_behind_ms;     /* the bounce process has not moved; -1:
	                               * it is not there */
	uint64_t unknown_vmta;        /* messages since the start */
	int64_t unknown_ago_ms;       /* the last of them */
	struct sv unknown_name;       /* the last one */
};

struct dg_finding {
	char pattern;
	const char *title;
	char subject[300];            /* queue, domain or VMTA */
	char evidence[800];
	char command[400];
};

/* At most DG_FINDINGS_MAX, the worst first; 0: healthy. */
unsigned dg_judge(struct dg_input *in, struct dg_finding *out);

#endif
