/* SPDX-License-Identifier: ISC */
/* set priority: which recipients of a queue go first. */
#include "common/sys/log.h"
#include "qmgr/control.h"

static bool
rcpt_change(struct client *cl, struct smsg *m, uint32_t idx)
{
	if (!victim_is_open(m, idx) || smsg_rcpt_deletion(m, idx) != 0 ||
	    smsg_rcpt_priority(m, idx) == cl->priority ||
	    !victim_is_wanted(cl, m, idx))
		return false;
	sched_rcpt_prioritize(cl->q->sched, qmgr_now(), m, idx, cl->priority);
	return true;
}

static bool
priority_rcpt(struct client *cl, struct smsg *m, uint32_t idx)
{
	uint32_t v[GROUP_MAX], n = group_change(cl, m, idx, rcpt_change, v);
	struct sched_msg info;
	union ev_any ev;
	char who[32];

	if (n == 0)
		return true;
	smsg_info(m, &info);
	ev.priority = (struct ev_priority){ .id = info.id,
		.time_us = (uint64_t)qmgr_now().wall.us,
		.priority = (uint8_t)cl->priority,
		.rcpts = { .array = v, .n = n },
		.who = client_who(cl, who) };
	journal_append(cl->q, EV_PRIORITY, &ev);
	return true;
}

static void
priority_end(struct client *cl)
{
	log_info("control: %llu recipients got priority %u by user %u",
	    (unsigned long long)cl->count, cl->priority, (unsigned)cl->uid);
	client_end(cl, 0, "%llu recipients have priority %u now",
	    (unsigned long long)cl->count, cl->priority);
}

/* set priority WHICH N */
void
cmd_set_priority(struct client *cl, const struct words *w)
{
	static const struct walk_ops ops = { .rcpt = priority_rcpt,
		.end = priority_end };
	struct words which = *w;
	uint64_t n;

	if (w->n == 0 || !sv_to_u64(w->v[w->n - 1], PRIORITY_MAX, &n)) {
		client_end(cl, 2, "which priority? 0 to %u, as the last word",
		    PRIORITY_MAX);
		return;
	}
	which.n--;
	cl->priority = (unsigned)n;
	select_walk(cl, &which, "set priority", &ops);
}
