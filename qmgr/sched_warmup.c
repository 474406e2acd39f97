/* SPDX-License-Identifier: ISC */
/*
 * Warmup: so many deliveries a day, by plan. A plan of one VMTA is a scope on
 * the path of its queues; its only limit is a rate whose step is set anew with
 * each token that is taken: the time that is left of the day, divided by what
 * is left of the day's plan.
 *
 * A place of the day is taken when a recipient is handed out and given back
 * when its delivery ends; what was delivered, or may have been, counts for
 * good. Both for the day of the handing out.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "qmgr/sched_private.h"

#define NS_PER_US   1000
#define DAY_US      (86400 * US_PER_SEC)
#define BURST_NS    (100 * US_PER_MS * NS_PER_US)
#define CATCH_UP    8    /* of the even rate, when the day was quiet so far */
#define SEEN_LEAST_US (60 * US_PER_SEC)

/* ---- days ---- */

static int64_t
local_us(const struct swarmup *w, int64_t wall_us)
{
	return wall_us + w->conf->time_zone * 60 * US_PER_SEC;
}

/* Since 1970-01-01. */
static int32_t
day_of(const struct swarmup *w, int64_t wall_us)
{
	int64_t us = local_us(w, wall_us);

	return us < 0 ? 0 : (int32_t)(us / DAY_US);
}

/* Of w->day; monotonic. It may be over, or far off, until warmups_turn() sees
 * that the wall clock was set. */
static int64_t
day_end(const struct sched *s, const struct swarmup *w)
{
	return sched_mono(s) + (w->day + (int64_t)1) * DAY_US -
	    local_us(w, s->now.wall.us);
}

static struct swday *
day_find(struct swarmup *w, int32_t day)
{
	/* it is one of the last ones nearly always */
	for (uint32_t i = w->ndays; i-- > 0 && w->days[i].day >= day;)
		if (w->days[i].day == day)
			return &w->days[i];
	return NULL;
}

/* The oldest goes if there are too many. */
static struct swday *
day_get(struct swarmup *w, int32_t day)
{
	struct swday *d = day_find(w, day);
	uint32_t i;

	if (d != NULL)
		return d;
	if (w->ndays == WARMUP_DAYS_KEPT)
		memmove(w->days, w->days + 1, --w->ndays * sizeof(*d));
	for (i = w->ndays++; i > 0 && w->days[i - 1].day > day; i--)
		w->days[i] = w->days[i - 1];
	w->days[i] = (struct swday){ .day = day };
	return &w->days[i];
}

/* Which day of the plan it is, from 0; negative before the first. */
static int64_t
plan_index(const struct swarmup *w, int32_t day)
{
	return (int64_t)day - w->start - w->behind;
}

static bool
plan_has(const struct swarmup *w, int64_t index)
{
	return w->conf != NULL && index >= 0 && index < w->conf->nplan;
}

/* The plan limits nothing any more. */
static bool
is_over(const struct swarmup *w)
{
	return w->conf == NULL ||
	    plan_index(w, w->day) >= (int64_t)w->conf->nplan;
}

static uint32_t
day_left(const struct swday *d)
{
	uint64_t used;

	if (d == NULL)
		return 0;
	used = (uint64_t)d->done + d->inflight;
	return used < d->plan ? (uint32_t)(d->plan - used) : 0;
}

/* ---- the pace ---- */

static int64_t
larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* After a restart: as it was behind the last one. */
static void
pace_restore(const struct sched *s, const struct swarmup *w, struct srate *r,
    int64_t end, uint32_t left)
{
	int64_t last = w->last_us - s->now.wall.us + sched_mono(s);

	if (r->tat_ns != 0 || w->last_us == 0)
		return;
	if (last > sched_mono(s))
		last = sched_mono(s);
	if (end - last <= DAY_US)
		r->tat_ns = (last + (end - last) / left) * NS_PER_US;
}

static void
pace_set(struct srate *r, int64_t now_ns, int64_t end_ns, uint32_t plan,
    uint32_t left)
{
	int64_t least = larger(DAY_US * NS_PER_US / plan / CATCH_UP, 1), base;

	/* It was used up, and something came back. */
	if (r->tat_ns >= end_ns)
		r->tat_ns = now_ns + larger((end_ns - now_ns) / left, least);
	base = larger(r->tat_ns, now_ns);
	r->step_ns = larger((end_ns - base) / left, least);
	r->slack_ns = (larger(BURST_NS / r->step_ns, 1) - 1) * r->step_ns;
	r->most = left;
}

/* By what is left of the day and of its plan. */
static void
warmup_pace(const struct sched *s, struct swarmup *w)
{
	struct srate *r = &w->scope.msg_rate.rate;
	const struct swday *d;
	int64_t end;

	if (w->day == 0)
		return; /* warmups_turn() comes first */
	if (is_over(w)) {
		*r = (struct srate){ 0 };
		return;
	}
	end = day_end(s, w) * NS_PER_US;
	d = day_find(w, w->day);
	if (day_left(d) > 0) {
		pace_restore(s, w, r, end / NS_PER_US, day_left(d));
		pace_set(r, sched_mono(s) * NS_PER_US, end, d->plan,
		    day_left(d));
		return;
	}
	*r = (struct srate){ .step_ns = DAY_US * NS_PER_US, .tat_ns = end,
		.most = 1 };
}

static void
warmup_pace_wake(struct sched *s, struct swarmup *w)
{
	warmup_pace(s, w);
	limit_wake(s, &w->scope.msg_rate);
}

/* ---- a new day ---- */

static void
warmup_tell(const struct sched *s, struct swarmup *w,
    enum sched_warmup_event what)
{
	struct sched_warmup_day d;

	if (s->ops->warmup_changed == NULL)
		return;
	(void)sched_warmup_day(s, w, w->day, &d);
	s->ops->warmup_changed(s->arg, w, what, &d);
}

static void
replies_forget(struct swarmup *w)
{
	memset(&w->replies, 0, sizeof(w->replies));
	memset(&w->deferrals, 0, sizeof(w->deferrals));
}

/* The wall clock may go back, too: then to what that day has used. */
static void
day_begin(struct sched *s, struct swarmup *w, int32_t today)
{
	bool was_known = w->day != 0, was_over = was_known && is_over(w);
	const struct swday *d;

	/* what was held is as far as it was */
	if (was_known && today > w->day &&
	    (d = day_find(w, w->day)) != NULL && d->held)
		w->behind++;
	w->day = today;
	replies_forget(w);
	if (plan_has(w, plan_index(w, today))) {
		warmup_day_plan(w);
		warmup_tell(s, w, WARMUP_DAY);
	} else if (was_known && !was_over && is_over(w)) {
		warmup_tell(s, w, WARMUP_OVER);
	}
}

/* Today's number, by the plan of now. */
void
warmup_day_plan(struct swarmup *w)
{
	int64_t index = plan_index(w, w->day);

	if (plan_has(w, index))
		day_get(w, w->day)->plan = w->conf->plan[index];
}

/* A plan without a date begins when it is first seen. If that was with a clock
 * that went far ahead, it begins anew. */
static void
start_set(struct swarmup *w, int32_t today)
{
	if (w->conf->start_date != 0) {
		w->start = (int32_t)w->conf->start_date;
	} else if (w->start == 0 || today < w->start - 1) {
		w->start = today;
		w->behind = 0;
	}
}

static void
warmup_roll(struct sched *s, struct swarmup *w)
{
	int32_t today;

	if (w->conf != NULL) {
		today = day_of(w, s->now.wall.us);
		start_set(w, today);
		if (today != w->day)
			day_begin(s, w, today);
		warmup_day_plan(w);
	}
	warmup_pace_wake(s, w);
}

void
warmups_turn(struct sched *s)
{
	struct swarmup *w;
	int64_t end;

	if (sched_mono(s) < s->warmup_at)
		return;
	s->warmup_at = TAILQ_EMPTY(&s->warmups) ? NEVER :
	    sched_mono(s) + EXPIRE_CHECK_US;
	TAILQ_FOREACH(w, &s->warmups, link) {
		warmup_roll(s, w);
		if (w->conf != NULL && (end = day_end(s, w)) < s->warmup_at)
			s->warmup_at = end;
	}
}

/* ---- settings ---- */

static struct svmta *
vmta_find(const struct sched *s, struct sv name)
{
	struct svmta *vm;

	TAILQ_FOREACH(vm, &s->vmtas, link)
		if (sv_ieq(vm->name, name))
			return vm;
	return NULL;
}

static struct swarmup *
warmup_named(const struct svmta *vm, struct sv name)
{
	struct swarmup *w;

	TAILQ_FOREACH(w, &vm->warmups, vm_link)
		if (sv_ieq(w->name, name))
			return w;
	return NULL;
}

/* As everywhere in the long-lived parts: no memory, no process. Mail that a
 * plan is missing for would be too much for its address. */
static struct swarmup *
warmup_get(struct sched *s, struct sv name, struct svmta *vm)
{
	struct swarmup *w = vm == NULL ? NULL : warmup_named(vm, name);

	if (w != NULL)
		return w;
	w = vm == NULL ? NULL : calloc(1, sizeof(*w) + 3 + name.n);
	if (w == NULL)
		mem_exhausted();
	memcpy(w->text, "///", 3);
	memcpy(w->text + 3, name.p, name.n);
	w->path_name = sv_make(w->text, name.n + 3);
	w->name = sv_from_at(w->path_name, 3);
	w->vm = vm;
	w->born_at = sched_mono(s);
	scope_init(&w->scope, WAIT_WARMUP, WAIT_WARMUP, WAIT_WARMUP);
	TAILQ_INSERT_TAIL(&s->warmups, w, link);
	TAILQ_INSERT_TAIL(&vm->warmups, w, vm_link);
	return w;
}

static void
plan_use(struct sched *s, const struct conf_warmup *c, struct sv vmta)
{
	const struct conf_vmta *v = conf_vmta_find(s->conf, vmta);
	struct svmta *vm = v == NULL ? NULL : vmta_get(s, v->name);
	struct swarmup *w = warmup_get(s, c->name, vm);

	w->conf = c;
	/* in the order of the file */
	TAILQ_REMOVE(&vm->warmups, w, vm_link);
	TAILQ_INSERT_TAIL(&vm->warmups, w, vm_link);
}

/* A plan that is no longer configured limits nothing; what it has counted is
 * kept as long as the process lives. */
void
warmups_conf(struct sched *s)
{
	struct swarmup *w;

	TAILQ_FOREACH(w, &s->warmups, link)
		w->conf = NULL;
	for (size_t i = 0; i < conf_nwarmups(s->conf); i++) {
		const struct conf_warmup *c = conf_warmup(s->conf, i);

		for (uint32_t k = 0; k < c->virtual_mta.n; k++)
			plan_use(s, c, c->virtual_mta.v[k]);
	}
	s->warmup_at = INT64_MIN;
}

void
warmups_free(struct sched *s)
{
	struct swarmup *w;

	while ((w = TAILQ_FIRST(&s->warmups)) != NULL) {
		TAILQ_REMOVE(&s->warmups, w, link);
		(void)timer_set(&s->timers, &w->scope.msg_rate.timer, NEVER);
		free(w);
	}
}

struct swarmup *
warmup_of(const struct svmta *vm, struct sv domain)
{
	struct swarmup *w;

	TAILQ_FOREACH(w, &vm->warmups, vm_link)
		if (w->conf != NULL && conf_warmup_has(w->conf, domain))
			return w;
	return NULL;
}

/* That of a queue, which need not be there. Of many VMTAs there is no quick way
 * to one but by its queues. */
static struct swarmup *
warmup_of_queue(const struct sched *s, struct sv domain, struct sv vmta)
{
	const struct squeue *q = sched_queue_find(s, domain, vmta);
	const struct svmta *vm;

	if (q != NULL && q->conf_gen == s->conf_gen)
		return q->warmup;
	vm = q != NULL ? q->vm : vmta_find(s, vmta);
	return vm == NULL ? NULL : warmup_of(vm, domain);
}

void
queue_warmup_set(struct squeue *q, struct swarmup *w)
{
	if (q->warmup != NULL)
		q->warmup->nrcpts -= squeue_rcpts(q);
	q->warmup = w;
	if (w != NULL)
		w->nrcpts += squeue_rcpts(q);
}

/* ---- what is used ---- */

void
warmup_taken(const struct sched *s, struct sdeliv *d, struct swarmup *w,
    uint32_t n)
{
	struct swday *day;

	d->warmup = w;
	if (w == NULL)
		return;
	d->warmup_day = w->day;
	day = day_find(w, w->day);
	if (day != NULL)
		day->inflight += n;
	warmup_pace(s, w);
}

void
warmup_given_back(struct sched *s, const struct sdeliv *d)
{
	struct swday *day;

	if (d->warmup == NULL)
		return;
	day = day_find(d->warmup, d->warmup_day);
	if (day == NULL || day->inflight == 0)
		return;
	day->inflight--;
	if (d->warmup->day == d->warmup_day)
		warmup_pace_wake(s, d->warmup);
}

/* ---- deferrals ---- */

static bool
defers_too_much(const struct sched *s, const struct swarmup *w)
{
	uint64_t all, deferred;

	if (w->conf == NULL || w->conf->max_deferral_percent == 0)
		return false;
	all = ring_sum(&w->replies, sched_mono(s), RING_HOUR_US);
	deferred = ring_sum(&w->deferrals, sched_mono(s), RING_HOUR_US);
	return all >= w->conf->deferral_sample &&
	    deferred * 100 > all * w->conf->max_deferral_percent;
}

/* Once a day. */
static void
deferrals_judge(struct sched *s, struct swarmup *w)
{
	struct swday *day = day_find(w, w->day);
	bool back;

	if (day == NULL || day->held || !defers_too_much(s, w))
		return;
	back = w->conf->on_deferral == CONF_DEFERRAL_STEP_BACK &&
	    plan_index(w, w->day) > 0;
	day->held = true;
	day->stepped = back;
	if (back)
		w->behind++;
	warmup_day_plan(w);
	warmup_tell(s, w, back ? WARMUP_STEP_BACK : WARMUP_HELD);
	replies_forget(w);
	warmup_pace_wake(s, w);
}

static void
warmup_count(const struct sched *s, struct swarmup *w, int32_t on,
    enum outcome o)
{
	struct swday *day = day_find(w, on);

	if (o != OUT_DELIVERED && o != OUT_IN_DOUBT)
		return;
	if (day != NULL)
		day->done++;
	w->last_us = s->now.wall.us;
	ring_add(&w->hour, sched_mono(s), RING_HOUR_US);
}

void
warmup_result(struct sched *s, const struct srcpt *r, enum outcome o)
{
	const struct sdeliv *d = r->state == SR_INFLIGHT ? r->u.deliv : NULL;
	bool counted = d != NULL && d->warmup != NULL;
	struct swarmup *w = counted ? d->warmup : r->q->warmup;

	if (w == NULL)
		return;
	warmup_count(s, w, counted ? d->warmup_day : w->day, o);
	/* of an earlier life: its place was not taken */
	if (!counted)
		warmup_pace(s, w);
	if (o != OUT_DELIVERED && o != OUT_TEMPORARY && o != OUT_PERMANENT)
		return;
	ring_add(&w->replies, sched_mono(s), RING_HOUR_US);
	if (o != OUT_TEMPORARY)
		return;
	ring_add(&w->deferrals, sched_mono(s), RING_HOUR_US);
	deferrals_judge(s, w);
}

/* ---- new mail ---- */

const struct conf_warmup *
sched_warmup_full(struct sched *s, struct sched_now now, struct sv vmta,
    struct sv domain, uint32_t n)
{
	struct swarmup *w = warmup_of_queue(s, domain, vmta);
	const struct swday *day;

	sched_clock_advance(s, now);
	if (w == NULL)
		return NULL;
	warmups_turn(s);
	if (is_over(w))
		return NULL;
	day = day_find(w, w->day);
	return day == NULL || day->done + w->nrcpts + n > day->plan ?
	    w->conf : NULL;
}

/* ---- over a restart ---- */

int
sched_warmup_each(const struct sched *s, sched_warmup_fn *fn, void *arg)
{
	struct sched_warmup_day d;
	const struct swarmup *w;
	int rc = 0;

	TAILQ_FOREACH(w, &s->warmups, link)
		for (uint32_t i = 0; i < w->ndays && rc == 0; i++)
			if (sched_warmup_day(s, w, w->days[i].day, &d))
				rc = fn(arg, &d);
	return rc;
}

void
sched_warmup_restore(struct sched *s, struct sched_now now,
    const struct sched_warmup_day *d)
{
	/* it is ours to change */
	struct swarmup *w = (struct swarmup *)(uintptr_t)sched_warmup_find(s,
	    d->name, d->vmta);
	struct swday *day;

	sched_clock_advance(s, now);
	if (w == NULL || d->day <= 0)
		return;
	day = day_get(w, d->day);
	day->plan = d->plan;
	day->done = d->done;
	day->held = d->held;
	day->stepped = d->stepped;
	if (d->last_us > w->last_us)
		w->last_us = d->last_us;
	if (d->day < w->day)
		return;
	w->day = d->day;
	w->start = d->start;
	w->behind = d->behind;
}

void
sched_warmup_tried(struct sched *s, struct sched_now now, struct sv domain,
    struct sv vmta, int64_t at_us)
{
	struct swarmup *w = TAILQ_EMPTY(&s->warmups) ? NULL :
	    warmup_of_queue(s, domain, vmta);
	struct swday *day;

	sched_clock_advance(s, now);
	day = w == NULL ? NULL : day_find(w, day_of(w, at_us));
	if (day == NULL)
		return;
	day->done++;
	if (at_us > w->last_us)
		w->last_us = at_us;
}

/* ---- what the operator sees ---- */

const struct swarmup *
sched_warmup_next(const struct sched *s, const struct swarmup *w)
{
	return w == NULL ? TAILQ_FIRST(&s->warmups) : TAILQ_NEXT(w, link);
}

const struct swarmup *
sched_warmup_find(const struct sched *s, struct sv name, struct sv vmta)
{
	const struct svmta *vm = vmta_find(s, vmta);

	return vm == NULL ? NULL : warmup_named(vm, name);
}

/* Was it held, or is today's number that of tomorrow? */
static bool
is_held(const struct swarmup *w)
{
	const struct swday *d = day_find((struct swarmup *)(uintptr_t)w,
	    w->day);

	return d != NULL && d->held;
}

bool
sched_warmup_day(const struct sched *s, const struct swarmup *w, int32_t day,
    struct sched_warmup_day *d_r)
{
	/* looks only */
	const struct swday *d = day_find((struct swarmup *)(uintptr_t)w, day);
	int64_t index = plan_index(w, day) - (day > w->day && is_held(w));

	(void)s;
	*d_r = (struct sched_warmup_day){ .name = w->name,
		.vmta = w->vm->name, .day = day, .start = w->start,
		.behind = w->behind, .last_us = w->last_us };
	if (d != NULL) {
		d_r->plan = d->plan;
		d_r->done = d->done;
		d_r->inflight = d->inflight;
		d_r->held = d->held;
		d_r->stepped = d->stepped;
		return true;
	}
	if (!plan_has(w, index))
		return false;
	d_r->plan = w->conf->plan[index];
	return true;
}

void
warmup_used(const struct swarmup *w, uint32_t *used_r, uint32_t *plan_r)
{
	const struct swday *d = day_find((struct swarmup *)(uintptr_t)w,
	    w->day);

	*used_r = d == NULL ? 0 : d->done + d->inflight;
	*plan_r = d == NULL ? 0 : d->plan;
}

static void
days_shown(const struct swarmup *w, struct sched_warmup *i)
{
	int64_t last;

	i->first = w->start;
	if (w->ndays > 0 && (w->days[0].day < i->first ||
	    w->ndays == WARMUP_DAYS_KEPT))
		i->first = w->days[0].day;
	last = (int64_t)w->start + w->behind + is_held(w) +
	    (w->conf == NULL ? 0 : w->conf->nplan) - 1;
	if (w->ndays > 0 && w->days[w->ndays - 1].day > last)
		last = w->days[w->ndays - 1].day;
	i->last = (int32_t)last;
}

void
sched_warmup(const struct sched *s, struct sched_now now,
    const struct swarmup *w, struct sched_warmup *i)
{
	int64_t seen = now.mono.us - w->born_at;

	if (seen > RING_SLOTS * RING_HOUR_US)
		seen = RING_SLOTS * RING_HOUR_US;
	if (seen < SEEN_LEAST_US)
		seen = SEEN_LEAST_US;
	*i = (struct sched_warmup){ .name = w->name, .vmta = w->vm->name,
		.conf = w->conf, .today = w->day,
		.index = plan_index(w, w->day), .over = is_over(w),
		.queued = w->nrcpts,
		.replies = ring_sum(&w->replies, now.mono.us, RING_HOUR_US),
		.deferrals = ring_sum(&w->deferrals, now.mono.us,
		    RING_HOUR_US),
		.per_hour = (double)ring_sum(&w->hour, now.mono.us,
		    RING_HOUR_US) * 3600e6 / (double)seen };
	if (w->conf != NULL)
		i->left_us = day_end(s, w) - sched_mono(s);
	days_shown(w, i);
}
