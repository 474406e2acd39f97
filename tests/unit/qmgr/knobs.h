/* SPDX-License-Identifier: ISC */
/* What an operator sets of a queue, one thing at a time. */
#ifndef TESTS_UNIT_QMGR_KNOBS_H
#define TESTS_UNIT_QMGR_KNOBS_H

#include "qmgr/sched.h"

/* False without memory. */
static inline bool
queue_pause(struct sched *s, struct sched_now now, struct sv domain,
    struct sv vmta, bool paused)
{
	const struct squeue *q = sched_queue_find(s, domain, vmta);
	struct sched_queue_state st = { .paused = false };

	if (q != NULL)
		sched_queue_state(q, &st);
	st.paused = paused;
	return sched_queue_state_set(s, now, domain, vmta, &st);
}

/* By hand: nothing ends it by itself, and normal ends what replies set. */
static inline bool
queue_backoff(struct sched *s, struct sched_now now, struct sv domain,
    struct sv vmta, bool backoff)
{
	const struct squeue *q = sched_queue_find(s, domain, vmta);
	struct sched_queue_state st = { .paused = false };

	if (q != NULL)
		sched_queue_state(q, &st);
	st = (struct sched_queue_state){ .paused = st.paused,
		.backoff = backoff };
	return sched_queue_state_set(s, now, domain, vmta, &st);
}

#endif
