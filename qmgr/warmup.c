/* SPDX-License-Identifier: ISC */
/*
 * Warmup outside the scheduler: where the plans stand goes to the log and to
 * checkpoints, mail that a day has no room for goes elsewhere, and `show
 * warmup` tells of all of it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/str.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "qmgr/control.h"

#define KEPT_PERCENT 98 /* of a day's plan: it is kept */
#define US_PER_HOUR  3600e6
#define DAY_MAX      1000000 /* in the year 4707 */

enum { FLAG_HELD = 1, FLAG_STEPPED = 2 };

/* ---- kept over a restart ---- */

static union ev_any
day_event(const struct sched_warmup_day *d)
{
	return (union ev_any){ .warmup = { .plan = d->name, .vmta = d->vmta,
	    .day = (uint32_t)d->day, .start = (uint32_t)d->start,
	    .behind = d->behind, .planned = d->plan, .done = d->done,
	    .last_us = (uint64_t)d->last_us,
	    .flags = (uint8_t)((d->held ? FLAG_HELD : 0) |
	    (d->stepped ? FLAG_STEPPED : 0)) } };
}

static int
on_day_save(void *arg, const struct sched_warmup_day *d)
{
	union ev_any e = day_event(d);

	return checkpoint_add(arg, EV_WARMUP, &e);
}

int
warmups_save(const struct qmgr *q, struct checkpoint *cp)
{
	return sched_warmup_each(q->sched, on_day_save, cp);
}

void
warmup_replay(struct qmgr *q, struct sched_now now, const struct ev_warmup *e)
{
	if (e->day > DAY_MAX || e->start > DAY_MAX || e->behind > DAY_MAX)
		return;
	sched_warmup_restore(q->sched, now, &(struct sched_warmup_day){
	    .name = e->plan, .vmta = e->vmta, .day = (int32_t)e->day,
	    .start = (int32_t)e->start, .behind = e->behind,
	    .plan = e->planned, .done = e->done,
	    .last_us = (int64_t)e->last_us,
	    .held = (e->flags & FLAG_HELD) != 0,
	    .stepped = (e->flags & FLAG_STEPPED) != 0 });
}

void
warmup_attempt_replay(struct qmgr *q, struct sched_now now,
    const struct ev_attempt *e)
{
	ptrdiff_t slash = sv_rfind(e->queue, '/');

	if (slash < 0 || (e->outcome != OUT_DELIVERED &&
	    e->outcome != OUT_IN_DOUBT))
		return;
	sched_warmup_tried(q->sched, now, sv_head(e->queue, (size_t)slash),
	    sv_from_at(e->queue, (size_t)slash + 1), (int64_t)e->time_us);
}

/* ---- what the scheduler tells ---- */

/* Which day of its plan it is, from 1. */
static long long
day_number(const struct sched_warmup_day *d)
{
	return (long long)d->day - d->start - d->behind + 1;
}

void
warmup_changed(void *arg, const struct swarmup *w,
    enum sched_warmup_event what, const struct sched_warmup_day *d)
{
	struct qmgr *q = arg;
	struct sched_warmup i;
	union ev_any e = day_event(d);

	if (what == WARMUP_OVER) {
		log_info("warmup %.*s of %.*s is over: it limits nothing any "
		    "more", SV_FMT(d->name), SV_FMT(d->vmta));
		return;
	}
	journal_append(q, EV_WARMUP, &e);
	if (what == WARMUP_DAY) {
		log_info("warmup %.*s of %.*s: day %lld, %u planned",
		    SV_FMT(d->name), SV_FMT(d->vmta), day_number(d), d->plan);
		return;
	}
	sched_warmup(q->sched, qmgr_now(), w, &i);
	log_warn("warmup %.*s of %.*s: %llu of %llu replies of the last hour "
	    "were deferrals: %s, %u planned today", SV_FMT(d->name),
	    SV_FMT(d->vmta), (unsigned long long)i.deferrals,
	    (unsigned long long)i.replies, what == WARMUP_HELD ?
	    "tomorrow is planned as today" : "a day back", d->plan);
}

/* ---- new mail ---- */

/* The first plan that the message is too much for. */
static const struct conf_warmup *
plan_full(struct qmgr *q, struct sv vmta, const struct sv *domains,
    uint32_t n)
{
	const struct conf_warmup *c = NULL;
	uint32_t from = 0;

	for (uint32_t i = 1; i <= n && c == NULL; i++) {
		if (i < n && sv_ieq(domains[i], domains[from]))
			continue;
		c = sched_warmup_full(q->sched, qmgr_now(), vmta,
		    domains[from], i - from);
		from = i;
	}
	return c;
}

struct sv
warmup_overflow(struct qmgr *q, struct sv vmta, const struct sv *domains,
    uint32_t n, const struct conf_warmup **hold_r)
{
	const struct conf_warmup *c = NULL;
	const struct conf_vmta *v;

	*hold_r = NULL;
	if (conf_nwarmups(q->conf) > 0)
		c = plan_full(q, vmta, domains, n);
	if (c == NULL || c->overflow.kind == CONF_OVERFLOW_WAIT)
		return vmta;
	if (c->overflow.kind == CONF_OVERFLOW_HOLD) {
		*hold_r = c;
		return vmta;
	}
	v = conf_vmta_find(q->conf, c->overflow.name);
	if (v == NULL)
		v = conf_vmta_find(q->conf, pool_pick(q, c->overflow.name));
	return v == NULL ? vmta : v->name;
}

/* One order for each plan and day, as long as it is known: see holds.c. */
uint32_t
warmup_order(struct qmgr *q, const struct conf_warmup *c)
{
	struct sv name = c->name;
	int64_t day = clock_wall().us / (86400 * US_PER_SEC);
	struct hold_order known;
	struct warmup_order *o;
	char reason[HOLD_REASON_MAX];
	struct str s;

	for (unsigned i = 0; i < WARMUP_ORDERS; i++) {
		const struct warmup_order *have = &q->warmup_orders[i];

		if (have->day == day && sv_eq(sv_from(have->plan), name) &&
		    hold_order_find(q, have->number, &known))
			return have->number;
	}
	o = &q->warmup_orders[q->warmup_orders_at++ % WARMUP_ORDERS];
	STR_ON(&s, reason);
	str_addf(&s, "warmup %.*s has no room today", SV_FMT(name));
	*o = (struct warmup_order){ .day = day,
		.number = hold_order_new(q, str_sv(&s), SV("warmup")) };
	(void)sv_to_cstr(name, o->plan, sizeof(o->plan));
	return o->number;
}

/* ---- show warmup ---- */

static json_t *
date_row(int32_t day)
{
	time_t at = (time_t)day * 86400;
	char text[16];
	struct tm tm;

	if (gmtime_r(&at, &tm) == NULL ||
	    strftime(text, sizeof(text), "%Y-%m-%d", &tm) == 0)
		return json_null();
	return json_string(text);
}

static uint64_t
forecast_of(const struct sched_warmup *i, const struct sched_warmup_day *d)
{
	uint64_t more;

	if (d->day > i->today)
		return d->plan;
	if (d->day < i->today)
		return d->done;
	more = (uint64_t)(i->per_hour * (double)i->left_us / US_PER_HOUR);
	return d->done + more < d->plan ? d->done + more :
	    d->plan > d->done ? d->plan : d->done;
}

static const char *
state_of(const struct sched_warmup *i, const struct sched_warmup_day *d)
{
	if (d->day > i->today)
		return "planned";
	if (d->stepped)
		return "step-back";
	if (d->held)
		return "held";
	if (d->day == i->today)
		return "today";
	return (uint64_t)d->done * 100 >= (uint64_t)d->plan * KEPT_PERCENT ?
	    "kept" : "short";
}

static void
day_row(struct client *cl, const struct sched_warmup *i,
    const struct sched_warmup_day *d)
{
	json_t *o = json_object();

	json_object_set_new(o, "warmup", json_sv(i->name));
	json_object_set_new(o, "vmta", json_sv(i->vmta));
	json_object_set_new(o, "day",
	    json_integer((int64_t)d->day - d->start + 1));
	json_object_set_new(o, "date", date_row(d->day));
	json_object_set_new(o, "plan", json_u64(d->plan));
	json_object_set_new(o, "actual", json_u64(d->done));
	json_object_set_new(o, "forecast", json_u64(forecast_of(i, d)));
	json_object_set_new(o, "state", json_string(state_of(i, d)));
	if (d->day == i->today) {
		json_object_set_new(o, "inflight", json_u64(d->inflight));
		json_object_set_new(o, "queued", json_u64(i->queued));
		json_object_set_new(o, "replies", json_u64(i->replies));
		json_object_set_new(o, "deferrals", json_u64(i->deferrals));
	}
	client_row(cl, o);
}

/* name: "plan/vmta". */
static bool
on_plan(struct client *cl, const char *name)
{
	const struct sched *s = cl->q->sched;
	const struct swarmup *w;
	struct sched_warmup_day d;
	struct sched_warmup i;
	struct sv plan, vmta;

	name_split(name, &plan, &vmta);
	w = sched_warmup_find(s, plan, vmta);
	if (w == NULL) /* GCOVR_EXCL_BR_LINE: they stay as long as we do */
		return true;
	sched_warmup(s, qmgr_now(), w, &i);
	for (int64_t day = i.first; i.today != 0 && day <= i.last; day++)
		if (sched_warmup_day(s, w, (int32_t)day, &d))
			day_row(cl, &i, &d);
	return true;
}

static void
on_end(struct client *cl)
{
	client_end(cl, 0, "%s", "");
}

/* "plan/vmta" of all that match. */
static char **
names_of(const struct qmgr *q, struct sv pattern, size_t *n_r)
{
	const struct swarmup *w = NULL;
	size_t n = 0, size = 0;
	char **names = NULL, text[300];
	struct sched_warmup i;

	while ((w = sched_warmup_next(q->sched, w)) != NULL) {
		sched_warmup(q->sched, qmgr_now(), w, &i);
		if (!glob_matches(pattern, i.name))
			continue;
		if (n == size) {
			size = size == 0 ? 16 : size * 2;
			names = reallocarray(names, size, sizeof(*names));
			if (names == NULL)
				fatal("out of memory");
		}
		snprintf(text, sizeof(text), "%.*s/%.*s", SV_FMT(i.name),
		    SV_FMT(i.vmta));
		names[n] = strdup(text);
		if (names[n++] == NULL)
			fatal("out of memory");
	}
	*n_r = n;
	return names;
}

/* show warmup [NAME]: a row for each day. */
void
cmd_show_warmup(struct client *cl, const struct words *w)
{
	static const struct walk_ops ops = { .name = on_plan, .end = on_end };
	struct sv name = w->n == 0 ? SV("*") : w->v[0];
	char **names;
	size_t n;

	if (w->n > 1) {
		client_end(cl, 2, "show warmup [NAME]");
		return;
	}
	names = names_of(cl->q, name, &n);
	if (n > 0)
		walk_start(cl, &ops, names, n);
	else if (w->n > 0)
		client_end(cl, 1, "there is no warmup %.*s", SV_FMT(name));
	else
		client_end(cl, 0, "no warmup is configured");
}
