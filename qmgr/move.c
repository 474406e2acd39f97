/* SPDX-License-Identifier: ISC */
/* rebind: waiting recipients go to another VMTA. */
#include <stdlib.h>

#include "common/base/str.h"
#include "common/sys/log.h"
#include "qmgr/control.h"

/* It goes, or would. */
static bool
is_to_go(struct client *cl, const struct smsg *m, uint32_t idx)
{
	return victim_is_open(m, idx) && !sv_eq(smsg_rcpt_vmta(m, idx), sv_from(cl->target)) &&
	    victim_is_wanted(cl, m, idx);
}

static bool
rcpt_go(struct client *cl, struct smsg *m, uint32_t idx)
{
	bool flies = smsg_rcpt_state(m, idx) == SR_INFLIGHT;

	if (!is_to_go(cl, m, idx) || !sched_rcpt_move(cl->q->sched,
	    qmgr_now(), m, idx, sv_from(cl->target)))
		return false;
	cl->inflight += flies;
	return true;
}

static void
group_rebind(struct client *cl, struct smsg *m, uint32_t idx)
{
	uint32_t v[GROUP_MAX], n = group_change(cl, m, idx, rcpt_go, v);
	struct qmgr *q = cl->q;
	struct sched_msg info;
	union ev_any ev;
	char who[32];

	if (n == 0)
		return;
	smsg_info(m, &info);
	ev.rebind = (struct ev_rebind){ .id = info.id,
		.time_us = (uint64_t)qmgr_now().wall.us,
		.vmta = sv_from(cl->target), .rcpts = { .array = v, .n = n },
		.who = client_who(cl, who) };
	journal_append(q, EV_REBIND, &ev);
}

static bool
rebind_rcpt(struct client *cl, struct smsg *m, uint32_t idx)
{
	if (!is_to_go(cl, m, idx))
		return true;
	if (cl->sel.yes) {
		group_rebind(cl, m, idx);
		return true;
	}
	cl->count++;
	cl->inflight += smsg_rcpt_state(m, idx) == SR_INFLIGHT;
	return true;
}

static void
rebind_end(struct client *cl)
{
	unsigned long long n = cl->count;
	json_t *o = json_object();

	if (cl->sel.yes)
		log_info("control: %llu recipients moved to %s by user %u",
		    n, cl->target, (unsigned)cl->uid);
	json_object_set_new(o, "rcp", json_u64(n));
	json_object_set_new(o, "inflight", json_u64(cl->inflight));
	json_object_set_new(o, "rebound", json_boolean(cl->sel.yes));
	client_row(cl, o);
	client_end(cl, 0, cl->sel.yes ? "%llu recipients moved to %s" :
	    "%llu recipients would be moved to %s; --yes does it", n,
	    cl->target);
}

/* Takes --vmta=V, which is the new one here, out of the words. */
static struct sv
target_take(const struct words *w, struct words *rest_r)
{
	struct sv target = SV("");

	*rest_r = *w;
	rest_r->n = 0;
	for (unsigned i = 0; i < w->n; i++) {
		if (sv_istarts(w->v[i], SV("--vmta=")))
			target = sv_from_at(w->v[i], sizeof("--vmta=") - 1);
		else
			rest_r->v[rest_r->n++] = w->v[i];
	}
	return target;
}

/* Without --yes it only tells what it would do. */
void
cmd_rebind(struct client *cl, const struct words *w)
{
	static const struct walk_ops ops = { .rcpt = rebind_rcpt,
		.end = rebind_end };
	const struct conf_vmta *vmta;
	struct sv target;
	struct words rest;

	target = target_take(w, &rest);
	vmta = target.n == 0 ? NULL : conf_vmta_find(cl->q->conf, target);
	if (vmta == NULL) {
		client_end(cl, 2, target.n == 0 ?
		    "to which VMTA? --vmta=NAME" : "there is no such VMTA");
		return;
	}
	cl->inflight = 0;
	/* as it is spelt in the configuration, which may be another one when
	 * the walk has come to its end */
	free(cl->target);
	cl->target = sv_dup(vmta->name);
	select_walk(cl, &rest, "rebind", &ops);
}
