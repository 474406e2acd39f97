/* SPDX-License-Identifier: ISC */
/* The commands that change something. */
#include <stdlib.h>
#include <string.h>

#include "common/base/msgid.h"
#include "common/base/str.h"
#include "common/mail/smtp_cmd.h"
#include "common/sys/log.h"
#include "qmgr/control.h"

#define DEFAULT_VMTA "{default}"

static bool
is_exact(struct sv v)
{
	return v.n > 0 && sv_find(v, '*') < 0;
}

/* What an operator sets of a queue; the event has the whole. */
enum knob { KNOB_PAUSED, KNOB_BACKOFF };

static void
queue_set(struct qmgr *q, struct sv domain, struct sv vmta, enum knob knob,
    bool on)
{
	const struct squeue *sq = sched_queue_find(q->sched, domain, vmta);
	struct sched_queue_state st = { .paused = false };
	char name[EV_NAME_MAX];
	struct str s;

	if (sq != NULL)
		sched_queue_state(sq, &st);
	if (knob == KNOB_PAUSED)
		st.paused = on;
	else /* by hand: nothing ends it by itself, and normal is all */
		st = (struct sched_queue_state){ .paused = st.paused,
			.backoff = on };
	STR_ON(&s, name);
	str_addf(&s, "%.*s/%.*s", SV_FMT(domain), SV_FMT(vmta));
	journal_queue_set(q, str_sv(&s), &st);
	if (!sched_queue_state_set(q->sched, qmgr_now(), domain, vmta, &st))
		fatal("no memory for the state of a queue");
}

/* A setting may come before the mail, for a queue that mail can make. */
static bool
queue_may_be(const struct qmgr *q, struct sv domain, struct sv vmta)
{
	return domain_is_valid(domain, true) &&
	    (sv_eq(vmta, SV(DEFAULT_VMTA)) ||
	    conf_vmta_find(q->conf, vmta) != NULL);
}

/* done: "paused". */
static void
knob_run(struct client *cl, const struct selector *sel, enum knob knob, bool on,
    const char *done)
{
	struct qmgr *q = cl->q;
	struct selector s = *sel;
	struct sv domain, vmta;
	char **names;
	size_t n;

	if (!s.given) {
		client_end(cl, 2, "which queue? domain/vmta");
		return;
	}
	n = names_collect(q, &s, &names);
	for (size_t i = 0; i < n; i++) {
		name_split(names[i], &domain, &vmta);
		queue_set(q, domain, vmta, knob, on);
	}
	names_free(names, n);
	if (n == 0 && on && is_exact(s.domain)) {
		if (!is_exact(s.vmta))
			s.vmta = SV(DEFAULT_VMTA);
		if (!queue_may_be(q, s.domain, s.vmta)) {
			client_end(cl, 2, "there can be no such queue");
			return;
		}
		queue_set(q, s.domain, s.vmta, knob, true);
		n = 1;
	}
	log_info("control: %zu queues %s by user %u", n, done,
	    (unsigned)cl->uid);
	client_end(cl, n > 0 ? 0 : 1, "%zu queues %s", n, done);
}

void
cmd_pause(struct client *cl, const struct words *w)
{
	struct selector s;

	if (selector_parse(cl, w, &s))
		knob_run(cl, &s, KNOB_PAUSED, true, "paused");
}

void
cmd_resume(struct client *cl, const struct words *w)
{
	struct selector s;

	if (selector_parse(cl, w, &s))
		knob_run(cl, &s, KNOB_PAUSED, false, "resumed");
}

void
cmd_set_queue(struct client *cl, const struct words *w)
{
	struct selector s;

	if (!selector_parse(cl, w, &s))
		return;
	if (!s.mode_set)
		client_end(cl, 2, "which mode? --mode=normal or backoff");
	else
		knob_run(cl, &s, KNOB_BACKOFF, s.backoff, s.backoff ?
		    "in mode backoff" : "in mode normal");
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

/* ---- delete, release ---- */

bool
victim_is_wanted(struct client *cl, const struct smsg *m, uint32_t idx)
{
	const struct selector *s = &cl->sel;
	struct sched_msg info;
	struct envelope e;

	smsg_info(m, &info);
	if (s->id != 0 && s->id != info.id)
		return false;
	if (s->order != 0 && s->order != smsg_rcpt_order(m, idx))
		return false;
	if (s->older_than_ms > 0 && qmgr_now().wall.us - info.arrival_us <
	    s->older_than_ms * US_PER_MS)
		return false;
	if (!selector_reads(s))
		return true;
	return envelope_read(cl->q, m, &e) && idx < e.nrcpts &&
	    selector_wants(s, &e, idx);
}

bool
victim_is_open(const struct smsg *m, uint32_t idx)
{
	enum srcpt_state state = smsg_rcpt_state(m, idx);

	return state != SR_DONE && state != SR_BOUNCING;
}

uint32_t
group_change(struct client *cl, struct smsg *m, uint32_t idx,
    change_fn *change, uint32_t v[GROUP_MAX])
{
	const struct squeue *sq = smsg_rcpt_queue(m, idx);
	uint32_t n = 0;

	while (idx < smsg_nrcpts(m) && n < GROUP_MAX &&
	    smsg_rcpt_queue(m, idx) == sq && change(cl, m, idx))
		v[n++] = idx++;
	cl->count += n;
	return n;
}

struct sv
client_who(const struct client *cl, char mem[32])
{
	struct str s;

	str_init(&s, mem, 32);
	str_addf(&s, "uid %u", (unsigned)cl->uid);
	return str_sv(&s);
}

/* False, and nothing is deleted, if another client has just filled the trash or
 * the deletion has come to its end already. */
static bool
victim_trash(struct client *cl, struct smsg *m, uint32_t idx)
{
	if (cl->deletion == 0 && !trash_has_room(cl->q))
		return false;
	if (cl->deletion == 0)
		cl->deletion = trash_begin(cl);
	return trash_put(cl->q, m, idx, cl->deletion);
}

static bool
victim_delete(struct client *cl, struct smsg *m, uint32_t idx)
{
	struct qmgr *q = cl->q;
	struct sched_msg info;
	char who[32];
	union ev_any ev;

	if (!cl->sel.no_trash && smsg_rcpt_state(m, idx) != SR_BOUNCING)
		return victim_trash(cl, m, idx);
	smsg_info(m, &info);
	ev.delete = (struct ev_delete){ .id = info.id,
		.time_us = (uint64_t)qmgr_now().wall.us,
		.rcpts = { .array = &idx, .n = 1 },
		.who = client_who(cl, who) };
	journal_append(q, EV_DELETE, &ev);
	sched_final(q->sched, qmgr_now(), m, idx, SR_DONE);
	return true;
}

/* It fails for good; its sender is told. */
static bool
victim_bounce(struct client *cl, struct smsg *m, uint32_t idx)
{
	char text[512];
	struct sched_why why = { .status = SV("5.3.0") };
	struct str s;

	STR_ON(&s, text);
	str_adds(&s, "bounced by the administrator");
	if (cl->sel.reason.n > 0)
		str_addf(&s, ": %.*s", SV_FMT(cl->sel.reason));
	why.diag = str_sv(&s);
	return outcome_from_record(cl->q, m, idx, OUT_PERMANENT, &why);
}

#define SAMPLE_MAX 5

static void
victim_sample(struct client *cl, const struct smsg *m, uint32_t idx)
{
	struct envelope e;
	bool ok;

	if (cl->sample == NULL)
		cl->sample = json_array();
	if (json_array_size(cl->sample) >= SAMPLE_MAX)
		return;
	ok = envelope_read(cl->q, m, &e);
	json_array_append_new(cl->sample, rcpt_row(cl->q, m, idx,
	    ok ? &e : NULL));
}

/* take: false if it could not be done. */
static void
victim_take(struct client *cl, struct smsg *m, uint32_t idx,
    bool (*take)(struct client *cl, struct smsg *m, uint32_t idx))
{
	if (!victim_is_wanted(cl, m, idx))
		return;
	if (smsg_rcpt_state(m, idx) == SR_INFLIGHT)
		cl->inflight++; /* a worker has it */
	else if (!cl->sel.yes)
		victim_sample(cl, m, idx), cl->count++;
	else if (take(cl, m, idx))
		cl->count++;
}

static bool
delete_rcpt(struct client *cl, struct smsg *m, uint32_t idx)
{
	victim_take(cl, m, idx, victim_delete);
	return true;
}

static bool
bounce_rcpt(struct client *cl, struct smsg *m, uint32_t idx)
{
	/* else its sender is about to be told */
	if (smsg_rcpt_state(m, idx) != SR_BOUNCING)
		victim_take(cl, m, idx, victim_bounce);
	return true;
}

/* flag: the field of the row; done: "deleted". */
static void
victims_end(struct client *cl, const char *flag)
{
	unsigned long long n = cl->count;
	bool yes = cl->sel.yes;
	json_t *o = json_object();

	if (yes)
		log_info("control: %llu recipients %s by user %u", n, flag,
		    (unsigned)cl->uid);
	json_object_set_new(o, "rcp", json_integer((json_int_t)cl->count));
	json_object_set_new(o, "inflight",
	    json_integer((json_int_t)cl->inflight));
	json_object_set_new(o, flag, json_boolean(yes));
	if (cl->deletion != 0)
		json_object_set_new(o, "deletion",
		    json_integer(cl->deletion));
	if (cl->sample != NULL)
		json_object_set_new(o, "sample", cl->sample);
	cl->sample = NULL;
	client_row(cl, o);
	client_end(cl, 0, yes ? "%llu recipients %s" :
	    "%llu recipients would be %s; --yes does it", n, flag);
}

static void
delete_end(struct client *cl)
{
	victims_end(cl, "deleted");
}

static void
bounce_end(struct client *cl)
{
	victims_end(cl, "bounced");
}

/* All that was selected. */
static void
victims_walk(struct client *cl, const struct walk_ops *ops)
{
	char **names;
	size_t n;

	cl->count = 0;
	cl->most = UINT64_MAX;
	n = names_collect(cl->q, &cl->sel, &names);
	walk_start(cl, ops, names, n);
}

/* False after an answer; the words must select something. */
static bool
victims_select(struct client *cl, const struct words *w, const char *verb)
{
	if (!selector_parse(cl, w, &cl->sel))
		return false;
	if (!cl->sel.given)
		client_end(cl, 2, "%s wants --queue, --jobId, --envId or --id",
		    verb);
	return cl->sel.given;
}

void
select_walk(struct client *cl, const struct words *w, const char *verb,
    const struct walk_ops *ops)
{
	if (victims_select(cl, w, verb))
		victims_walk(cl, ops);
}

/* Of what comes only queue and job are known. */
static const char *
standing_cannot(const struct selector *s)
{
	return s->id != 0 || s->order != 0 || s->orig.n > 0 || s->rcpt.n > 0 ||
	    s->envid.n > 0 || s->older_than_ms > 0 ?
	    "a standing order is for queues and jobs only" : NULL;
}

/* False after an answer. The order comes before its first recipient. */
static bool
standing_begin(struct client *cl, bool bounce)
{
	const char *why = standing_cannot(&cl->sel);
	char who[32];

	if (why == NULL) {
		cl->order = hold_order_new(cl->q, cl->sel.reason,
		    client_who(cl, who));
		why = standing_new(cl->q, cl->order, &cl->sel, bounce);
	}
	if (why != NULL)
		client_end(cl, 1, "%s", why);
	else
		log_info("control: standing order %u by user %u", cl->order,
		    (unsigned)cl->uid);
	return why == NULL;
}

/* False after an answer: who says until when must not get for ever. */
static bool
for_is_right(struct client *cl)
{
	if (cl->sel.for_ms == 0 || cl->sel.standing)
		return true;
	client_end(cl, 2, "--for is for standing orders: --standing --for=4h");
	return false;
}

/* Without --yes it only tells what it would do. */
void
cmd_delete(struct client *cl, const struct words *w)
{
	static const struct walk_ops ops = { .rcpt = delete_rcpt,
		.end = delete_end };

	cl->inflight = 0;
	cl->order = cl->deletion = 0;
	if (!victims_select(cl, w, "delete"))
		return;
	if (conf_global(cl->q->conf)->trash_ttl_ms == 0)
		cl->sel.no_trash = true;
	if (cl->sel.yes && !cl->sel.no_trash && !trash_has_room(cl->q))
		client_end(cl, 1, "the trash has too many deletions; "
		    "--no-trash deletes for good");
	else
		victims_walk(cl, &ops);
}

/* The same; senders get a DSN. */
void
cmd_bounce(struct client *cl, const struct words *w)
{
	static const struct walk_ops ops = { .rcpt = bounce_rcpt,
		.end = bounce_end };

	cl->inflight = 0;
	cl->order = cl->deletion = 0;
	if (!victims_select(cl, w, "bounce") || !for_is_right(cl))
		return;
	if (!cl->sel.standing || !cl->sel.yes || standing_begin(cl, true))
		victims_walk(cl, &ops);
}

/* ---- hold, release ---- */

/* The order is logged with its first recipient. */
static void
victim_hold(struct client *cl, struct smsg *m, uint32_t idx)
{
	struct qmgr *q = cl->q;
	struct sched_msg info;
	char who[32];
	union ev_any ev;

	if (cl->order == 0)
		cl->order = hold_order_new(q, cl->sel.reason,
		    client_who(cl, who));
	smsg_info(m, &info);
	ev.hold = (struct ev_hold){ .id = info.id, .held = 1,
		.order = cl->order, .rcpts = { .array = &idx, .n = 1 } };
	journal_append(q, EV_HOLD, &ev);
	sched_rcpt_hold(q->sched, qmgr_now(), m, idx, true, cl->order);
}

/* By an order or in quarantine; not if it only waits for what the master says
 * of a worker's end. */
static bool
is_on_hold(const struct qmgr *q, const struct smsg *m, uint32_t idx)
{
	struct sched_msg info;

	smsg_info(m, &info);
	return smsg_rcpt_state(m, idx) == SR_HELD &&
	    (smsg_rcpt_order(m, idx) != 0 || !suspect_is_open(q, info.id));
}

static bool
hold_rcpt(struct client *cl, struct smsg *m, uint32_t idx)
{
	if (smsg_rcpt_state(m, idx) == SR_BOUNCING ||
	    is_on_hold(cl->q, m, idx) || !victim_is_wanted(cl, m, idx))
		return true;
	cl->count++;
	victim_hold(cl, m, idx);
	return true;
}

static void
hold_end(struct client *cl)
{
	log_info("control: %llu recipients put on hold by user %u",
	    (unsigned long long)cl->count, (unsigned)cl->uid);
	if (cl->sel.standing)
		client_end(cl, 0, "%llu recipients put on hold, and what "
		    "comes: standing order %u",
		    (unsigned long long)cl->count, cl->order);
	else
		client_end(cl, 0, "%llu recipients put on hold",
		    (unsigned long long)cl->count);
}

/* What is being delivered goes on hold if it comes back. */
static const struct walk_ops hold_ops = { .rcpt = hold_rcpt, .end = hold_end };

void
cmd_hold(struct client *cl, const struct words *w)
{
	cl->order = 0;
	if (victims_select(cl, w, "hold") && for_is_right(cl) &&
	    (!cl->sel.standing || standing_begin(cl, false)))
		victims_walk(cl, &hold_ops);
}

/* A standing order to hold it, which is found by its job. */
void
cmd_pause_job(struct client *cl, const struct words *w)
{
	uint32_t number;

	if (w->n != 1 || w->v[0].n == 0) {
		client_end(cl, 2, "which job?");
		return;
	}
	cl->sel = (struct selector){ .job = w->v[0], .standing = true,
		.given = true, .reason = SV("the job is paused") };
	if (standing_of_job(cl->q, w->v[0], &number))
		client_end(cl, 0, "paused already: standing order %u", number);
	else if (standing_begin(cl, false))
		victims_walk(cl, &hold_ops);
}

static bool
release_rcpt(struct client *cl, struct smsg *m, uint32_t idx)
{
	if (victim_is_wanted(cl, m, idx) && suspect_release(cl->q, m, idx))
		cl->count++;
	return true;
}

static void
release_end(struct client *cl)
{
	log_info("control: %llu recipients released by user %u",
	    (unsigned long long)cl->count, (unsigned)cl->uid);
	client_end(cl, 0, "%llu recipients released",
	    (unsigned long long)cl->count);
}

static const struct walk_ops release_ops = { .rcpt = release_rcpt,
	.end = release_end };

/* What is on hold is tried again, at once; an order ends. */
void
cmd_release(struct client *cl, const struct words *w)
{
	if (!victims_select(cl, w, "release"))
		return;
	if (cl->sel.order != 0)
		(void)standing_end(cl->q, (uint32_t)cl->sel.order);
	victims_walk(cl, &release_ops);
}

/* ---- undo ---- */

static bool
undo_rcpt(struct client *cl, struct smsg *m, uint32_t idx)
{
	if (smsg_rcpt_deletion(m, idx) != cl->deletion)
		return true;
	trash_take(cl->q, m, idx);
	cl->count++;
	return true;
}

static void
undo_end(struct client *cl)
{
	trash_undone(cl->q, cl->deletion);
	log_info("control: %llu recipients brought back by user %u",
	    (unsigned long long)cl->count, (unsigned)cl->uid);
	client_end(cl, 0, "%llu recipients brought back",
	    (unsigned long long)cl->count);
}

/* undo [ID]: without one the last deletion. */
void
cmd_undo(struct client *cl, const struct words *w)
{
	static const struct walk_ops ops = { .rcpt = undo_rcpt,
		.end = undo_end, .trash = true };
	uint64_t number = trash_last(cl->q);

	if (w->n > 1 || (w->n == 1 &&
	    (!sv_to_u64(w->v[0], UINT32_MAX, &number) || number == 0))) {
		client_end(cl, 2, "undo wants the number of a deletion; "
		    "show trash has it");
		return;
	}
	if (!trash_is_open(cl->q, (uint32_t)number)) {
		client_end(cl, 1, w->n == 0 ? "the trash is empty" :
		    "that deletion is not in the trash");
		return;
	}
	cl->deletion = (uint32_t)number;
	cl->sel = (struct selector){ .given = true };
	victims_walk(cl, &ops);
}

void
cmd_resume_job(struct client *cl, const struct words *w)
{
	uint32_t number = 0;

	if (w->n != 1 || !standing_of_job(cl->q, w->v[0], &number)) {
		client_end(cl, w->n != 1 ? 2 : 1, w->n != 1 ? "which job?" :
		    "no such job is paused");
		return;
	}
	(void)standing_end(cl->q, number);
	cl->sel = (struct selector){ .given = true, .order = number };
	victims_walk(cl, &release_ops);
}
