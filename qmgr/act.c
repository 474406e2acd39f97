/* SPDX-License-Identifier: ISC */
/* The commands that change something. */
#include <stdlib.h>
#include <string.h>

#include "common/base/msgid.h"
#include "common/base/str.h"
#include "common/sys/log.h"
#include "qmgr/control.h"

static bool
is_exact(struct sv v)
{
	return v.n > 0 && sv_find(v, '*') < 0;
}

static void
queue_pause(struct qmgr *q, struct sv domain, struct sv vmta, bool paused)
{
	char name[EV_NAME_MAX];
	union ev_any ev;
	struct str s;

	STR_ON(&s, name);
	str_addf(&s, "%.*s/%.*s", SV_FMT(domain), SV_FMT(vmta));
	ev.queue_set = (struct ev_queue_set){ .queue = str_sv(&s),
		.paused = paused };
	journal_append(q, EV_QUEUE_SET, &ev);
	sched_queue_pause(q->sched, qmgr_now(), domain, vmta, paused);
}

/*
 * Pausing may free an empty queue or make one, so the names are collected
 * before anything changes.
 */
static size_t
names_collect(struct qmgr *q, const struct selector *s, char ***names_r)
{
	char **names = NULL;
	size_t n = 0, size = 0, at = 0;
	struct squeue *sq;

	while ((sq = sched_queue_next(q->sched, &at)) != NULL) {
		if (!selector_matches(s, sq))
			continue;
		if (n == size) {
			size = size == 0 ? 64 : size * 2;
			names = reallocarray(names, size, sizeof(*names));
			if (names == NULL)
				fatal("out of memory");
		}
		names[n++] = sv_dup(squeue_name(sq));
	}
	*names_r = names;
	return n;
}

static void
pause_run(struct client *cl, const struct words *w, bool paused)
{
	struct qmgr *q = cl->q;
	struct sv domain, vmta;
	struct selector s;
	char **names;
	size_t n;

	if (!selector_parse(cl, w, &s))
		return;
	if (!s.given) {
		client_end(cl, 2, "which queue? domain/vmta");
		return;
	}
	n = names_collect(q, &s, &names);
	for (size_t i = 0; i < n; i++) {
		name_split(names[i], &domain, &vmta);
		queue_pause(q, domain, vmta, paused);
	}
	names_free(names, n);
	/* a pause may come before the mail */
	if (n == 0 && paused && is_exact(s.domain)) {
		queue_pause(q, s.domain, is_exact(s.vmta) ? s.vmta :
		    SV("{default}"), true);
		n = 1;
	}
	log_info("control: %s of %zu queues by user %u",
	    paused ? "pause" : "resume", n, (unsigned)cl->uid);
	client_end(cl, n > 0 ? 0 : 1, "%zu queues %s", n,
	    paused ? "paused" : "resumed");
}

void
cmd_pause(struct client *cl, const struct words *w)
{
	pause_run(cl, w, true);
}

void
cmd_resume(struct client *cl, const struct words *w)
{
	pause_run(cl, w, false);
}

void
cmd_schedule(struct client *cl, const struct words *w)
{
	struct qmgr *q = cl->q;
	struct sv domain, vmta;
	struct selector s;
	char **names;
	size_t n;

	if (!selector_parse(cl, w, &s))
		return;
	n = names_collect(q, &s, &names);
	for (size_t i = 0; i < n; i++) {
		struct squeue *sq;

		name_split(names[i], &domain, &vmta);
		sq = sched_queue_find(q->sched, domain, vmta);
		if (sq != NULL)
			sched_queue_schedule(q->sched, qmgr_now(), sq,
			    s.retry_rcpts);
	}
	names_free(names, n);
	client_end(cl, 0, "%zu queues scheduled", n);
}

/* ---- delete ---- */

static bool
victim_is_wanted(struct client *cl, const struct smsg *m, uint32_t idx)
{
	const struct selector *s = &cl->sel;
	struct sched_msg info;
	struct envelope e;

	smsg_info(m, &info);
	if (s->id != 0 && s->id != info.id)
		return false;
	if (s->older_than_ms > 0 && qmgr_now().wall.us - info.arrival_us <
	    s->older_than_ms * US_PER_MS)
		return false;
	if (s->orig.n == 0 && s->rcpt.n == 0 && s->job.n == 0)
		return true;
	if (!envelope_read(cl->q, m, &e) || idx >= e.nrcpts)
		return false;
	return (s->orig.n == 0 || glob_matches(s->orig, e.sender)) &&
	    (s->job.n == 0 || glob_matches(s->job, e.job)) &&
	    (s->rcpt.n == 0 || glob_matches(s->rcpt, e.rcpts[idx].addr));
}

static void
victim_delete(struct client *cl, struct smsg *m, uint32_t idx)
{
	struct qmgr *q = cl->q;
	struct sched_msg info;
	char who[32];
	struct str s;
	union ev_any ev;

	smsg_info(m, &info);
	STR_ON(&s, who);
	str_addf(&s, "uid %u", (unsigned)cl->uid);
	ev.delete = (struct ev_delete){ .id = info.id,
		.time_us = (uint64_t)qmgr_now().wall.us,
		.rcpts = { .array = &idx, .n = 1 }, .who = str_sv(&s) };
	journal_append(q, EV_DELETE, &ev);
	sched_final(q->sched, qmgr_now(), m, idx, SR_DONE);
}

static bool
delete_rcpt(struct client *cl, struct smsg *m, uint32_t idx)
{
	if (!victim_is_wanted(cl, m, idx))
		return true;
	if (smsg_rcpt_state(m, idx) == SR_INFLIGHT) {
		cl->inflight++; /* a worker has it */
		return true;
	}
	cl->count++;
	if (cl->sel.yes)
		victim_delete(cl, m, idx);
	return true;
}

static void
delete_end(struct client *cl)
{
	unsigned long long n = cl->count;
	bool yes = cl->sel.yes;
	json_t *o = json_object();

	if (yes)
		log_info("control: %llu recipients deleted by user %u", n,
		    (unsigned)cl->uid);
	json_object_set_new(o, "rcp", json_integer((json_int_t)cl->count));
	json_object_set_new(o, "inflight",
	    json_integer((json_int_t)cl->inflight));
	json_object_set_new(o, "deleted", json_boolean(yes));
	client_row(cl, o);
	client_end(cl, 0, yes ? "%llu recipients deleted" :
	    "%llu recipients would be deleted; --yes does it", n);
}

/* Without --yes it only tells what it would do. */
void
cmd_delete(struct client *cl, const struct words *w)
{
	static const struct walk_ops ops = { .rcpt = delete_rcpt,
		.end = delete_end };
	char **names;
	size_t n;

	if (!selector_parse(cl, w, &cl->sel))
		return;
	if (!cl->sel.given) {
		client_end(cl, 2, "delete wants --queue, --jobId or --id");
		return;
	}
	cl->count = cl->inflight = 0;
	cl->most = UINT64_MAX;
	n = names_collect(cl->q, &cl->sel, &names);
	walk_start(cl, &ops, names, n);
}
