/* SPDX-License-Identifier: ISC */
/*
 * Delays that senders hear of (RFC 3461 4.1: NOTIFY=DELAY). Now and then a pass
 * in slices, between which mail goes on, finds the recipients that have waited
 * for another notify-of-delay-every since the pass before, reads their
 * envelopes and logs a DELAYED event for each that wants it. bounce makes the
 * DSNs of that. Where the last pass stood is kept by an event and in
 * checkpoints, so that the first one after a start finds what came meanwhile.
 */
#include <stdlib.h>

#include <event2/event.h>

#include "common/base/str.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "qmgr/qmgr.h"

/* A pass so often in each notify-of-delay-every, and at least so often: told
 * is told no more than that too late. */
#define PASS_PARTS  16
#define PASS_MOST_MS (15 * 60 * INT64_C(1000))
/* What a slice may take from the mail, and from the disk, and how often. */
#define SLICE_US    2000
#define SLICE_READS 64
#define SLICE_EVERY_MS 10
#define UNWELL_MS   1000   /* no space for warnings: wait */

struct delays {
	struct event *timer;   /* the next slice */
	bool going;
	struct mono began;     /* the last pass; 0: none yet */
	uint64_t told, unread; /* recipients of this pass */
};

/* The message at hand, read once for all of its recipients. */
struct slice {
	uint64_t id;           /* 0: none yet */
	bool readable;
	unsigned reads;
	struct envelope env;
};

/* ---- who wants to hear ---- */

static unsigned
tell_of(uint8_t notify)
{
	if (notify == 0)
		return TELL_UNASKED;
	return (notify & (NOTIFY_DELAY | NOTIFY_NEVER)) == NOTIFY_DELAY ?
	    TELL_ASKED : 0;
}

unsigned
delays_tell(const struct envelope *e)
{
	unsigned tell = 0;

	for (uint32_t i = 0; e->sender.n > 0 && i < e->nrcpts; i++)
		tell |= tell_of(e->rcpts[i].notify);
	return tell;
}

static bool
rcpt_wants(const struct envelope *e, uint32_t idx,
    const struct conf_domain *c)
{
	unsigned tell;

	if (e->sender.n == 0 || idx >= e->nrcpts)
		return false;
	tell = tell_of(e->rcpts[idx].notify);
	return tell == TELL_ASKED ||
	    (tell == TELL_UNASKED && c->notify_of_delay_unasked);
}

/* ---- a slice ---- */

/* Why it waits: the last error of its queue since it came. */
static void
why_set(const struct squeue *sq, const struct sched_msg *info,
    char mta[EV_NAME_MAX], struct ev_delayed *e)
{
	struct str s;
	struct sched_error err;

	e->status = SV("4.4.7");
	e->diag = SV("it is waiting for its delivery");
	str_init(&s, mta, EV_NAME_MAX);
	if (!squeue_error(sq, &err) || err.at_us < info->arrival_us)
		return;
	if (err.status.n > 0)
		e->status = sv_head(err.status, 16);
	e->diag = sv_head(err.text, EV_TEXT_MAX);
	e->tried_us = (uint64_t)err.at_us;
	if (err.host.n > 0)
		str_addf(&s, "%.*s (%.*s)", SV_FMT(err.host),
		    SV_FMT(err.host_ip));
}

static void
delayed_log(struct qmgr *q, const struct squeue *sq, uint32_t idx,
    const struct sched_msg *info, const struct envelope *env)
{
	int64_t life = squeue_conf(sq)->bounce_after_ms * US_PER_MS;
	const struct env_rcpt *r = &env->rcpts[idx];
	char src_mta[EV_NAME_MAX] = "", mta[EV_NAME_MAX];
	union ev_any ev = { .delayed = {
		.id = info->id, .rcpt_idx = idx,
		.time_us = (uint64_t)clock_wall().us,
		.queued_us = (uint64_t)info->arrival_us,
		.until_us = (uint64_t)(info->arrival_us + life),
		.sender = env->sender, .rcpt = r->addr, .orcpt = r->orcpt,
		.notify = r->notify, .envid = env->envid,
	} };

	why_set(sq, info, mta, &ev.delayed);
	ev.delayed.mta = sv_from(mta);
	outcome_src_mta(src_mta, env);
	ev.delayed.src_mta = sv_from(src_mta);
	journal_append(q, EV_DELAYED, &ev);
	q->delays->told++;
}

static void
rcpt_look(struct qmgr *q, struct slice *sl, const struct smsg *m,
    uint32_t idx)
{
	const struct squeue *sq = smsg_rcpt_queue(m, idx);
	struct sched_msg info;

	smsg_info(m, &info);
	if (sl->id != info.id) {
		sl->id = info.id;
		sl->reads++;
		sl->readable = envelope_read(q, m, &sl->env);
	}
	if (!sl->readable)
		q->delays->unread++;
	else if (rcpt_wants(&sl->env, idx, squeue_conf(sq)))
		delayed_log(q, sq, idx, &info, &sl->env);
}

static void
slice_wait(struct delays *d, int ms)
{
	event_add(d->timer, &(struct timeval){ .tv_sec = ms / 1000,
	    .tv_usec = ms % 1000 * 1000 });
}

/* Who could not be read hears of the next delay. */
static void
pass_end(struct qmgr *q)
{
	struct delays *d = q->delays;
	union ev_any ev = { .delay_pass = {
		.time_us = (uint64_t)sched_delays_since_us(q->sched) } };

	d->going = false;
	journal_append(q, EV_DELAY_PASS, &ev);
	if (d->told > 0)
		log_info("%llu recipients are delayed, and their senders are "
		    "told", (unsigned long long)d->told);
	if (d->unread > 0)
		log_warn("%llu recipients are delayed, and their senders are "
		    "not told: the records cannot be read",
		    (unsigned long long)d->unread);
}

static void
on_slice(evutil_socket_t fd, short what, void *arg)
{
	struct qmgr *q = arg;
	struct slice sl = { .id = 0 };
	struct mono began = clock_mono();
	enum sched_delays more;
	struct smsg *m;
	uint32_t idx;

	(void)fd;
	(void)what;
	if (q->stopping) {
		q->delays->going = false;
		return;
	}
	if (!journal_is_well(q) || !upkeep_takes_mail(q)) {
		slice_wait(q->delays, UNWELL_MS);
		return;
	}
	do {
		more = sched_delays_next(q->sched, qmgr_now(), &m, &idx);
		if (more == DELAYS_ONE)
			rcpt_look(q, &sl, m, idx);
	} while (more != DELAYS_END && sl.reads < SLICE_READS &&
	    clock_mono().us - began.us < SLICE_US);
	if (more == DELAYS_END)
		pass_end(q);
	else
		slice_wait(q->delays, SLICE_EVERY_MS);
	qmgr_turn_end(q);
}

/* ---- passes ---- */

static struct delays *
delays_get(struct qmgr *q)
{
	if (q->delays != NULL)
		return q->delays;
	q->delays = calloc(1, sizeof(*q->delays));
	if (q->delays == NULL ||
	    (q->delays->timer = event_new(q->role->base, -1, 0, on_slice,
	    q)) == NULL)
		fatal("out of memory");
	return q->delays;
}

/* With nothing to tell the passes go on: what is configured later does not
 * tell of all that was before. */
static int64_t
pass_every_ms(const struct qmgr *q)
{
	int64_t ms = sched_delays_every_ms(q->sched) / PASS_PARTS;

	return ms > 0 && ms < PASS_MOST_MS ? ms : PASS_MOST_MS;
}

void
delays_look(struct qmgr *q)
{
	struct delays *d;

	if (!q->running || q->stopping || sched_delays_count(q->sched) == 0)
		return;
	d = delays_get(q);
	if (d->going || (d->began.us != 0 &&
	    mono_diff_ms(clock_mono(), d->began) < pass_every_ms(q)))
		return;
	d->going = true;
	d->began = clock_mono();
	d->told = d->unread = 0;
	sched_delays_begin(q->sched, qmgr_now());
	slice_wait(d, 0);
}

/* ---- over a restart ---- */

int
delays_save(const struct qmgr *q, struct checkpoint *cp)
{
	union ev_any ev = { .delay_pass = {
		.time_us = (uint64_t)sched_delays_since_us(q->sched) } };

	return ev.delay_pass.time_us == 0 ? 0 :
	    checkpoint_add(cp, EV_DELAY_PASS, &ev);
}
