/* SPDX-License-Identifier: ISC */
/* The commands that only look. Rows as in doc/commands.md. */
#include <sys/resource.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/msgid.h"
#include "common/base/str.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "config.h"
#include "qmgr/control.h"

json_t *
json_u64(uint64_t v)
{
	return json_integer((json_int_t)v);
}

json_t *
json_time(int64_t us)
{
	time_t sec = (time_t)(us / US_PER_SEC);
	char text[40];
	struct tm tm;

	if (us <= 0)
		return json_null();
	gmtime_r(&sec, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_string(text);
}

static void
put(json_t *o, const char *key, json_t *value)
{
	json_object_set_new(o, key, value);
}

void
cmd_show_version(struct client *cl, const struct words *w)
{
	json_t *o = json_object();

	(void)w;
	put(o, "name", json_string("Pinnace"));
	put(o, "version", json_string(PACKAGE_VERSION));
	client_row(cl, o);
	client_end(cl, 0, "%s", "");
}

/* ---- status ---- */

static json_t *
traffic(uint64_t rcpts, uint64_t msgs, uint64_t bytes)
{
	json_t *o = json_object();

	put(o, "rcp", json_u64(rcpts));
	put(o, "msg", json_u64(msgs));
	put(o, "kb", json_u64(bytes / 1024));
	return o;
}

static json_t *
status_queue(const struct sched_totals *t)
{
	json_t *o = json_object();

	put(o, "rcp", json_u64(t->rcpts));
	put(o, "msg", json_u64(t->messages));
	put(o, "dom", json_u64(t->queues));
	put(o, "submission", json_integer(0));
	put(o, "delivery", json_u64(t->ready + t->inflight));
	put(o, "retry", json_u64(t->retry));
	put(o, "bounce", json_u64(t->bouncing));
	put(o, "hold", json_u64(t->held));
	put(o, "inflight", json_u64(t->inflight));
	return o;
}

static json_t *
status_spool(const struct qmgr *q)
{
	json_t *o = json_object();
	uint64_t states[SEG_STATES] = { 0 };
	struct evlog_pos at = journal_durable(q);
	struct sio_space space;
	struct seg_info info;
	size_t i = 0;

	while (segtab_next(q->segtab, &i, &info))
		states[info.state]++;
	put(o, "segmentsWriting", json_u64(states[SEG_GRANTED] +
	    states[SEG_ADOPTED]));
	put(o, "segmentsSealed", json_u64(states[SEG_SEALED]));
	put(o, "segmentsEmpty", json_u64(states[SEG_EMPTY]));
	put(o, "segmentsRecycled",
	    json_u64(segtab_free_count(q->segtab)));
	put(o, "eventFile", json_u64(at.file));
	put(o, "eventOffset", json_u64(at.offset));
	if (sio_space(q->sio, &space) == 0)
		put(o, "freeKb", json_u64(space.free_bytes / 1024));
	return o;
}

void
cmd_show_status(struct client *cl, const struct words *w)
{
	const struct qmgr *q = cl->q;
	const struct counters *n = &q->count;
	json_t *o = json_object(), *tr = json_object(), *co = json_object();
	struct sched_totals t;

	(void)w;
	sched_totals(q->sched, &t);
	put(o, "status", json_string(q->stopping ? "stopping" :
	    q->running ? "running" : "starting"));
	put(o, "version", json_string(PACKAGE_VERSION));
	put(o, "hostName", json_sv(conf_hostname(q->conf)));
	put(o, "started", json_time(q->started.us));
	put(o, "countersSince", json_time(q->counted.us != 0 ? q->counted.us :
	    q->started.us));
	put(o, "now", json_time(clock_wall().us));
	put(o, "uptime_s",
	    json_integer((clock_wall().us - q->started.us) / US_PER_SEC));
	put(tr, "in", traffic(n->in_rcpts, n->in_msgs, n->in_bytes));
	put(tr, "out", traffic(n->out_rcpts, n->out_msgs, n->out_bytes));
	put(o, "traffic", tr);
	put(co, "smtpOut", json_u64(t.sessions));
	put(co, "smtpOutConnecting", json_u64(t.connecting));
	put(o, "conn", co);
	put(o, "queue", status_queue(&t));
	put(o, "spool", status_spool(q));
	put(o, "delivered", json_u64(t.delivered));
	put(o, "deferred", json_u64(t.deferred));
	put(o, "failed", json_u64(t.failed));
	put(o, "bounced", json_u64(n->bounced));
	put(o, "inDoubt", json_u64(n->in_doubt));
	put(o, "corrupt", json_u64(n->corrupt));
	put(o, "unknownVmta", mismatch_row(q));
	put(o, "processes", children_rows(q));
	client_row(cl, o);
	client_end(cl, 0, "%s", "");
}

/* The counters of show status; nothing that decides anything. */
void
cmd_reset_counters(struct client *cl, const struct words *w)
{
	struct qmgr *q = cl->q;

	(void)w;
	memset(&q->count, 0, sizeof(q->count));
	sched_totals_reset(q->sched);
	mismatch_free(q);
	q->counted = clock_wall();
	client_end(cl, 0, "%s", "the counters begin at 0");
}

/* ---- queues ---- */

static json_t *
waits_row(const struct sched_queue_info *i)
{
	json_t *o = json_object();

	for (unsigned k = 0; k < SCHED_WAITS; k++) {
		if (i->wait_ms[k] > 0)
			put(o, sched_wait_name((enum sched_wait)k),
			    json_u64(i->wait_ms[k]));
	}
	return o;
}

static json_t *
queue_row(const struct sched_queue_info *i, struct sched_now now)
{
	json_t *o = json_object();

	put(o, "name", json_sv(i->name));
	put(o, "domain", json_sv(i->domain));
	put(o, "vmta", json_sv(i->vmta));
	put(o, "site", json_sv(i->site));
	put(o, "rcp", json_u64((uint64_t)i->nready + i->nretry +
	    i->ninflight + i->nheld + i->nbouncing));
	put(o, "ready", json_u64(i->nready));
	put(o, "retry", json_u64(i->nretry));
	put(o, "bounce", json_u64(i->nbouncing));
	put(o, "hold", json_u64(i->nheld));
	put(o, "inflight", json_u64(i->ninflight));
	put(o, "kb", json_u64(i->kb));
	put(o, "conn", json_u64(i->nsessions));
	put(o, "paused", json_boolean(i->paused));
	put(o, "mode", json_string(i->backoff ? "backoff" : "normal"));
	put(o, "retryTime", json_time(i->retry_us));
	put(o, "oldest_s", json_integer(i->oldest_us == 0 ? 0 :
	    (now.wall.us - i->oldest_us) / US_PER_SEC));
	put(o, "rate1m", json_real(i->rate_1m));
	put(o, "rate1h", json_real(i->rate_1h));
	put(o, "delivered", json_u64(i->delivered));
	put(o, "deferred", json_u64(i->deferred));
	put(o, "failed", json_u64(i->failed));
	put(o, "why", json_string(sched_wait_name(i->wait)));
	put(o, "waits_ms", waits_row(i));
	put(o, "lastError", json_sv(i->last_error));
	put(o, "lastErrorTime", json_time(i->last_error_us));
	return o;
}

static bool
show_queue(struct client *cl, struct squeue *sq)
{
	struct sched_queue_info info;

	sched_queue_info(cl->q->sched, qmgr_now(), sq, &info);
	client_row(cl, queue_row(&info, qmgr_now()));
	cl->left++;
	return true;
}

static void
show_queues_end(struct client *cl)
{
	client_end(cl, 0, "%llu of %llu matching queues",
	    (unsigned long long)cl->left, (unsigned long long)cl->count);
}

void
cmd_show_queues(struct client *cl, const struct words *w)
{
	static const struct walk_ops ops = { .queue = show_queue,
		.end = show_queues_end };

	if (!selector_parse(cl, w, &cl->sel))
		return;
	cl->left = 0;
	pick_start(cl, &ops, cl->sel.sort, cl->sel.maxitems);
}

/* ---- messages ---- */

const char *
rcpt_state_name(enum srcpt_state s)
{
	static const char *const names[SR_STATES] = { "ready", "retry",
		"inflight", "hold", "bounce", "trash", "done" };

	return s < SR_STATES ? names[s] : "?";
}

void
reason_put(const struct qmgr *q, json_t *o, const struct smsg *m, uint32_t idx)
{
	struct hold_order order = { .reason = SV(""), .who = SV("") };
	struct sched_msg info;
	char why[128];

	smsg_info(m, &info);
	if (smsg_rcpt_state(m, idx) == SR_HELD && !hold_order_find(q,
	    smsg_rcpt_order(m, idx), &order))
		order.reason = suspect_reason(q, info.id, why);
	put(o, "reason", json_sv(order.reason));
	put(o, "heldBy", json_sv(order.who));
	put(o, "heldAt", json_time((int64_t)order.time_us));
}

json_t *
rcpt_row(const struct qmgr *q, const struct smsg *m, uint32_t idx,
    const struct envelope *e)
{
	const struct squeue *sq = smsg_rcpt_queue(m, idx);
	json_t *o = json_object();
	struct sched_msg info;
	char id[MSGID_TEXT];

	smsg_info(m, &info);
	put(o, "id", json_string(msgid_format(info.id, id)));
	put(o, "rcpt", json_sv(e != NULL && idx < e->nrcpts ?
	    e->rcpts[idx].addr : SV("")));
	put(o, "orig", json_sv(e != NULL ? e->sender : SV("")));
	put(o, "queue", json_sv(squeue_name(sq)));
	put(o, "state", json_string(rcpt_state_name(smsg_rcpt_state(m, idx))));
	put(o, "attempts", json_u64(smsg_rcpt_attempts(m, idx)));
	put(o, "nextTry", json_time(smsg_rcpt_state(m, idx) == SR_RETRY ?
	    smsg_rcpt_next_us(m, idx) : 0));
	put(o, "queued", json_time(info.arrival_us));
	put(o, "size", json_u64(info.body_len));
	put(o, "jobId", json_sv(e != NULL ? e->job : SV("")));
	put(o, "envId", json_sv(e != NULL ? e->envid : SV("")));
	put(o, "priority", json_u64(smsg_rcpt_priority(m, idx)));
	reason_put(q, o, m, idx);
	return o;
}

static void
message_rows(struct client *cl, const struct smsg *m)
{
	struct envelope e;
	bool ok = envelope_read(cl->q, m, &e);

	for (uint32_t i = 0; i < smsg_nrcpts(m); i++) {
		json_t *o;

		if (smsg_rcpt_state(m, i) == SR_DONE)
			continue;
		o = rcpt_row(cl->q, m, i, ok ? &e : NULL);
		put(o, "client", json_sv(ok ? e.client_ip : SV("")));
		put(o, "helo", json_sv(ok ? e.helo : SV("")));
		client_row(cl, o);
	}
}

struct smsg *
message_word(struct client *cl, const struct words *w)
{
	struct smsg *m;
	uint64_t id;

	if (w->n != 1 || !msgid_parse(w->v[0], &id)) {
		client_end(cl, 2, "%.*s message wants a queue ID of 13 "
		    "characters", SV_FMT(w->name));
		return NULL;
	}
	m = sched_msg_find(cl->q->sched, id);
	if (m == NULL)
		client_end(cl, 1, "no such message in the queue; the "
		    "accounting file knows what became of it");
	return m;
}

void
cmd_show_message(struct client *cl, const struct words *w)
{
	const struct smsg *m = message_word(cl, w);

	if (m == NULL)
		return;
	message_rows(cl, m);
	client_end(cl, 0, "%s", "");
}

static bool
list_rcpt(struct client *cl, struct smsg *m, uint32_t idx)
{
	struct envelope e;
	bool ok;

	if (cl->left == 0)
		return false;
	ok = envelope_read(cl->q, m, &e);
	if (ok && !selector_wants(&cl->sel, &e, idx))
		return true;
	client_row(cl, rcpt_row(cl->q, m, idx, ok ? &e : NULL));
	return --cl->left > 0;
}

static void
list_end(struct client *cl)
{
	client_end(cl, 0, "%llu recipients",
	    (unsigned long long)(cl->sel.maxitems - cl->left));
}

void
cmd_list(struct client *cl, const struct words *w)
{
	static const struct walk_ops ops = { .rcpt = list_rcpt,
		.end = list_end };
	const struct selector *s = &cl->sel;

	if (!selector_parse(cl, w, &cl->sel))
		return;
	cl->left = s->maxitems;
	/* without a filter there is no need to look further */
	cl->most = selector_reads(s) ? UINT64_MAX : s->maxitems;
	pick_start(cl, &ops, SORT_NAME, UINT64_MAX);
}

/* ---- configuration ---- */

static void
on_show(void *arg, struct sv scope, struct sv name, struct sv value,
    struct sv file, uint32_t line)
{
	json_t *o = json_object();

	put(o, "scope", json_sv(scope));
	put(o, "name", json_sv(name));
	put(o, "value", json_sv(value));
	put(o, "file", json_sv(file));
	put(o, "line", json_integer(line));
	client_row(arg, o);
}

void
cmd_show_config(struct client *cl, const struct words *w)
{
	bool defaults = w->n > 0 && sv_eq(w->v[0], SV("--defaults"));

	conf_show(cl->q->conf, defaults, on_show, cl);
	client_end(cl, 0, "%s", "");
}
