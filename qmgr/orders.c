/* SPDX-License-Identifier: ISC */
/*
 * Standing orders: hold, or bounce, whatever comes for some queues or of some
 * job, until a time or until the order is ended. Each has the number of a hold
 * order (holds.c), which has its reason and who gave it. They are few, and each
 * new message is compared with all of them. Kept by events and checkpoints;
 * what is found at a start is compared as well.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/str.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "qmgr/control.h"

#define ORDERS_MAX 64u

struct standing {
	uint32_t number;
	bool bounce;
	char *domain, *vmta, *job; /* globs, "": any */
	int64_t until_us;          /* wall; 0: until it is ended */
	uint64_t taken;            /* recipients, since then */
};

struct orders {
	struct standing v[ORDERS_MAX];
	unsigned n;
};

static void
standing_clear(struct standing *o)
{
	free(o->domain);
	free(o->vmta);
	free(o->job);
}

/* Its place, or NULL. */
static struct standing *
standing_find(const struct qmgr *q, uint32_t number)
{
	struct orders *all = q->orders;

	for (unsigned i = 0; all != NULL && i < all->n; i++) {
		if (all->v[i].number == number)
			return &all->v[i];
	}
	return NULL;
}

static void
standing_remove(struct qmgr *q, struct standing *o)
{
	struct orders *all = q->orders;

	standing_clear(o);
	*o = all->v[--all->n];
}

/* False: there are too many. */
static bool
standing_set(struct qmgr *q, const struct ev_standing *e)
{
	struct standing *o = standing_find(q, e->number);

	if (e->what == STANDING_ENDED) {
		if (o != NULL)
			standing_remove(q, o);
		return true;
	}
	if (q->orders == NULL)
		q->orders = calloc(1, sizeof(*q->orders));
	if (q->orders == NULL) /* GCOVR_EXCL_BR_LINE: memory */
		fatal("out of memory");
	if (o == NULL && q->orders->n == ORDERS_MAX)
		return false;
	if (o == NULL)
		o = &q->orders->v[q->orders->n++];
	else
		standing_clear(o);
	*o = (struct standing){ .number = e->number,
		.bounce = e->what == STANDING_BOUNCE,
		.domain = sv_dup(e->domain), .vmta = sv_dup(e->vmta),
		.job = sv_dup(e->job), .until_us = (int64_t)e->until_us,
		.taken = e->taken };
	return true;
}

void
standing_free(struct qmgr *q)
{
	for (unsigned i = 0; q->orders != NULL && i < q->orders->n; i++)
		standing_clear(&q->orders->v[i]);
	free(q->orders);
	q->orders = NULL;
}

void
standing_replay(struct qmgr *q, const struct ev_standing *e)
{
	if (!standing_set(q, e))
		log_warn("a standing order too many in the log");
}

static struct ev_standing
standing_event(const struct standing *o)
{
	return (struct ev_standing){ .number = o->number,
		.what = o->bounce ? STANDING_BOUNCE : STANDING_HOLD,
		.until_us = (uint64_t)o->until_us, .taken = o->taken,
		.domain = sv_from(o->domain), .vmta = sv_from(o->vmta),
		.job = sv_from(o->job) };
}

int
standing_save(struct qmgr *q, struct checkpoint *cp)
{
	for (unsigned i = 0; q->orders != NULL && i < q->orders->n; i++) {
		const struct standing *o = &q->orders->v[i];
		union ev_any e = { .standing = standing_event(o) };

		hold_order_use(q, o->number);
		if (checkpoint_add(cp, EV_STANDING, &e) != 0)
			return -1;
	}
	return 0;
}

const char *
standing_new(struct qmgr *q, uint32_t number, const struct selector *s,
    bool bounce)
{
	union ev_any e = { .standing = { .number = number,
	    .what = bounce ? STANDING_BOUNCE : STANDING_HOLD,
	    .domain = s->domain, .vmta = s->vmta, .job = s->job } };

	if (s->for_ms > 0)
		e.standing.until_us = (uint64_t)(clock_wall().us +
		    s->for_ms * US_PER_MS);
	if (!standing_set(q, &e.standing))
		return "there are 64 standing orders already";
	journal_append(q, EV_STANDING, &e);
	return NULL;
}

bool
standing_end(struct qmgr *q, uint32_t number)
{
	struct standing *o = standing_find(q, number);
	union ev_any e = { .standing = { .number = number,
	    .what = STANDING_ENDED, .domain = SV(""), .vmta = SV(""),
	    .job = SV("") } };

	if (o == NULL)
		return false;
	journal_append(q, EV_STANDING, &e);
	standing_remove(q, o);
	return true;
}

bool
standing_of_job(const struct qmgr *q, struct sv job, uint32_t *number_r)
{
	for (unsigned i = 0; q->orders != NULL && i < q->orders->n; i++) {
		const struct standing *o = &q->orders->v[i];

		if (o->bounce || o->domain[0] != '\0' || o->vmta[0] != '\0' ||
		    !sv_eq(sv_from(o->job), job))
			continue;
		*number_r = o->number;
		return true;
	}
	return false;
}

void
standing_look(struct qmgr *q)
{
	int64_t now = clock_wall().us;

	for (unsigned i = q->orders == NULL ? 0 : q->orders->n; i-- > 0;) {
		const struct standing *o = &q->orders->v[i];
		uint32_t number = o->number;

		if (o->until_us == 0 || o->until_us > now)
			continue;
		log_info("standing order %u has ended", number);
		(void)standing_end(q, number);
	}
}

/* ---- new messages ---- */

static bool
is_meant(struct sv glob, struct sv text)
{
	return glob.n == 0 || glob_matches(glob, text);
}

static struct standing *
standing_for(const struct qmgr *q, struct sv domain, struct sv vmta,
    struct sv job, int64_t now)
{
	for (unsigned i = 0; i < q->orders->n; i++) {
		struct standing *o = &q->orders->v[i];

		if ((o->until_us == 0 || o->until_us > now) &&
		    is_meant(sv_from(o->domain), domain) &&
		    is_meant(sv_from(o->vmta), vmta) &&
		    is_meant(sv_from(o->job), job))
			return o;
	}
	return NULL;
}

static void
rcpt_hold_by(struct qmgr *q, struct smsg *m, uint64_t id, uint32_t idx,
    uint32_t number)
{
	union ev_any ev = { .hold = { .id = id, .held = 1, .order = number,
	    .rcpts = { .array = &idx, .n = 1 } } };

	journal_append(q, EV_HOLD, &ev);
	sched_rcpt_hold(q->sched, qmgr_now(), m, idx, true, number);
}

static void
rcpt_bounce_by(struct qmgr *q, struct smsg *m, uint32_t idx, uint32_t number)
{
	struct sched_why why = { .status = SV("5.3.0") };
	struct hold_order order;
	char text[512];
	struct str s;

	STR_ON(&s, text);
	str_adds(&s, "bounced by the administrator");
	if (hold_order_find(q, number, &order) && order.reason.n > 0)
		str_addf(&s, ": %.*s", SV_FMT(order.reason));
	why.diag = str_sv(&s);
	(void)outcome_from_record(q, m, idx, OUT_PERMANENT, &why);
}

/* One recipient; the message may end with it. */
static void
standing_take(struct qmgr *q, uint64_t id, uint32_t idx, uint32_t number)
{
	struct smsg *m = sched_msg_find(q->sched, id);
	const struct standing *o = standing_find(q, number);

	if (m == NULL || o == NULL || smsg_rcpt_state(m, idx) != SR_READY)
		return;
	if (o->bounce)
		rcpt_bounce_by(q, m, idx, number);
	else
		rcpt_hold_by(q, m, id, idx, number);
}

/* domains and job may be gone when the first recipient is taken. */
void
standing_apply(struct qmgr *q, uint64_t id, const struct sv *domains,
    uint32_t n, struct sv job)
{
	const struct smsg *m = sched_msg_find(q->sched, id);
	int64_t now = clock_wall().us;
	uint32_t *numbers;

	if (q->orders == NULL || q->orders->n == 0 || m == NULL)
		return;
	numbers = calloc(n, sizeof(*numbers));
	if (numbers == NULL) /* GCOVR_EXCL_BR_LINE: memory */
		fatal("out of memory");
	for (uint32_t i = 0; i < n; i++) {
		struct standing *o = standing_for(q, domains[i],
		    smsg_rcpt_vmta(m, i), job, now);

		if (o == NULL)
			continue;
		o->taken++;
		numbers[i] = o->number;
	}
	for (uint32_t i = 0; i < n; i++) {
		if (numbers[i] != 0)
			standing_take(q, id, i, numbers[i]);
	}
	free(numbers);
}

/* ---- show orders ---- */

static json_t *
standing_row(const struct qmgr *q, const struct standing *o)
{
	struct hold_order order = { .reason = SV(""), .who = SV("") };
	json_t *row = json_object();

	(void)hold_order_find(q, o->number, &order);
	json_object_set_new(row, "order", json_integer(o->number));
	json_object_set_new(row, "action", json_string(o->bounce ? "bounce" :
	    "hold"));
	json_object_set_new(row, "domain", json_sv(sv_from(o->domain)));
	json_object_set_new(row, "vmta", json_sv(sv_from(o->vmta)));
	json_object_set_new(row, "job", json_sv(sv_from(o->job)));
	json_object_set_new(row, "since",
	    json_time((int64_t)order.time_us));
	json_object_set_new(row, "until", json_time(o->until_us));
	json_object_set_new(row, "taken", json_u64(o->taken));
	json_object_set_new(row, "reason", json_sv(order.reason));
	json_object_set_new(row, "who", json_sv(order.who));
	return row;
}

void
cmd_show_orders(struct client *cl, const struct words *w)
{
	const struct orders *all = cl->q->orders;
	unsigned n = all == NULL ? 0 : all->n;

	(void)w;
	for (unsigned i = 0; i < n; i++)
		client_row(cl, standing_row(cl->q, &all->v[i]));
	client_end(cl, 0, "%u standing orders", n);
}
