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
names_free(char **names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(names[i]);
	free(names);
}

static void
name_split(const char *name, struct sv *domain_r, struct sv *vmta_r)
{
	struct sv v = sv_from(name);
	size_t slash = (size_t)sv_rfind(v, '/');

	*domain_r = sv_head(v, slash);
	*vmta_r = sv_from_at(v, slash + 1);
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

struct victim {
	uint64_t id;
	uint32_t idx;
};

struct victims {
	struct victim *v;
	size_t n, size;
	uint64_t inflight;   /* passed over: a worker has them */
};

static void
victim_add(struct victims *vs, uint64_t id, uint32_t idx)
{
	if (vs->n == vs->size) {
		vs->size = vs->size == 0 ? 256 : vs->size * 2;
		vs->v = reallocarray(vs->v, vs->size, sizeof(*vs->v));
		if (vs->v == NULL)
			fatal("out of memory");
	}
	vs->v[vs->n++] = (struct victim){ id, idx };
}

static bool
victim_is_wanted(struct qmgr *q, const struct selector *s,
    const struct smsg *m, uint32_t idx, const struct sched_msg *info)
{
	struct envelope e;

	if (s->id != 0 && s->id != info->id)
		return false;
	if (s->older_than_ms > 0 && qmgr_now().wall.us - info->arrival_us <
	    s->older_than_ms * US_PER_MS)
		return false;
	if (s->orig.n == 0 && s->rcpt.n == 0 && s->job.n == 0)
		return true;
	if (!envelope_read(q, m, &e) || idx >= e.nrcpts)
		return false;
	return (s->orig.n == 0 || glob_matches(s->orig, e.sender)) &&
	    (s->job.n == 0 || glob_matches(s->job, e.job)) &&
	    (s->rcpt.n == 0 || glob_matches(s->rcpt, e.rcpts[idx].addr));
}

static void
victims_collect(struct qmgr *q, const struct selector *s, struct victims *vs)
{
	struct squeue *sq;
	size_t at = 0;

	while ((sq = sched_queue_next(q->sched, &at)) != NULL) {
		const struct smsg *m;
		const void *it = NULL;
		uint32_t idx;

		if (!selector_matches(s, sq))
			continue;
		while (sched_queue_rcpt_next(sq, &it, &m, &idx)) {
			struct sched_msg info;

			smsg_info(m, &info);
			if (!victim_is_wanted(q, s, m, idx, &info))
				continue;
			if (smsg_rcpt_state(m, idx) == SR_INFLIGHT)
				vs->inflight++;
			else
				victim_add(vs, info.id, idx);
		}
	}
}

static void
victim_delete(struct client *cl, const struct victim *v)
{
	struct qmgr *q = cl->q;
	struct smsg *m = sched_msg_find(q->sched, v->id);
	char who[32];
	struct str s;
	union ev_any ev;

	if (m == NULL)
		return;
	STR_ON(&s, who);
	str_addf(&s, "uid %u", (unsigned)cl->uid);
	ev.delete = (struct ev_delete){ .id = v->id,
		.time_us = (uint64_t)qmgr_now().wall.us,
		.rcpts = { .array = &v->idx, .n = 1 }, .who = str_sv(&s) };
	journal_append(q, EV_DELETE, &ev);
	sched_final(q->sched, qmgr_now(), m, v->idx, SR_DONE);
}

/* Without --yes it only tells what it would do. */
void
cmd_delete(struct client *cl, const struct words *w)
{
	struct victims vs = { .n = 0 };
	struct selector s;
	json_t *o;

	if (!selector_parse(cl, w, &s))
		return;
	if (!s.given) {
		client_end(cl, 2, "delete wants --queue, --jobId or --id");
		return;
	}
	victims_collect(cl->q, &s, &vs);
	if (s.yes) {
		for (size_t i = 0; i < vs.n; i++)
			victim_delete(cl, &vs.v[i]);
		log_info("control: %zu recipients deleted by user %u", vs.n,
		    (unsigned)cl->uid);
	}
	o = json_object();
	json_object_set_new(o, "rcp", json_integer((json_int_t)vs.n));
	json_object_set_new(o, "inflight",
	    json_integer((json_int_t)vs.inflight));
	json_object_set_new(o, "deleted", json_boolean(s.yes));
	client_row(cl, o);
	free(vs.v);
	client_end(cl, 0, s.yes ? "%zu recipients deleted" :
	    "%zu recipients would be deleted; --yes does it", vs.n);
}
