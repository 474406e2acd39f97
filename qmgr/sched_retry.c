/* SPDX-License-Identifier: ISC */
/*
 * When things are tried again, and when they are given up.
 */
#include "common/base/str.h"
#include "qmgr/sched_private.h"

/* Microseconds before try n + 1; n counts from 1, the last entry repeats. */
int64_t
retry_delay(const struct sched *s, const struct conf_times *list, uint32_t n,
    uint64_t key)
{
	const struct conf_range *t;

	if (list->n == 0)
		return 600 * US_PER_SEC;
	t = &list->t[n == 0 ? 0 : (n < list->n ? n : list->n) - 1];
	return sched_jitter(s, key + n, t->min_ms * US_PER_MS,
	    t->max_ms * US_PER_MS);
}

int64_t
retry_longest(const struct conf_times *list)
{
	int64_t longest = 0;

	for (unsigned i = 0; i < list->n; i++) {
		if (list->t[i].max_ms > longest)
			longest = list->t[i].max_ms;
	}
	return longest * US_PER_MS;
}

static bool
promotable(const struct sched *s, const struct squeue *q)
{
	return q->count[SR_RETRY] > 0 && (q->promote > 0 ||
	    q->heap[0]->u.retry.due <= sched_mono(s));
}

/* Retries whose time has come, or that an operator asked for, become ready,
 * behind what was due before. True if there are more. */
bool
retry_promote(struct sched *s, struct squeue *q)
{
	for (int i = 0; i < PROMOTE_SLICE && s->promotions_left > 0 &&
	    promotable(s, q); i++) {
		s->promotions_left--;
		if (q->promote > 0)
			q->promote--;
		rcpt_ready(s, q->heap[0], false);
	}
	if (q->count[SR_RETRY] == 0)
		q->promote = 0;
	return promotable(s, q);
}

bool
rcpt_expired(struct sched *s, const struct srcpt *r)
{
	int64_t life = queue_conf(s, r->q)->bounce_after_ms * US_PER_MS;

	return s->clock - msg_arrived(s, rcpt_msg(r)) >= life;
}

/*
 * Hands r to give_up(). False if nothing came of it (the log could not be
 * written, say): then the queue tries again a little later.
 */
static bool
give_up(struct sched *s, struct squeue *q, struct srcpt *r,
    const struct sched_why *why)
{
	uint64_t before = s->finals;

	s->give_ups_left--;
	s->ops->give_up(s->arg, rcpt_msg(r), r->idx, why);
	if (s->finals != before) {
		q->failed++;
		s->failed++;
		return true;
	}
	q->poke_at = sched_mono(s) + NO_MEMORY_US;
	return false;
}

/* Of give_up() in one round. */
struct tries {
	uint32_t good, bad;
};

/* Returns ok. */
static bool
tries_count(struct tries *n, bool ok)
{
	n->good += ok;
	n->bad += !ok;
	return ok;
}

/* Another round now would do as little. */
static bool
tries_are_vain(const struct tries *n)
{
	return n->bad > 0 && n->good == 0;
}

static struct sv
error_text(const struct squeue *q)
{
	if (q->error == NULL)
		return SV("none");
	return q->error->text;
}

/* "... lifetime is over after 259200 s; last error: ..." */
static struct sched_why
expired_why(struct squeue *q, struct str *text)
{
	str_adds(text, "message expired: not delivered within ");
	str_addf(text, "%lld s; last error: ",
	    (long long)(q->conf->bounce_after_ms / 1000));
	str_add(text, error_text(q));
	return (struct sched_why){ .status = SV("4.4.7"),
		.diag = str_sv(text) };
}

static void
expire_look(struct squeue *q, int64_t at)
{
	if (at < q->expire_at)
		q->expire_at = at;
}

/*
 * Gives up what is past its lifetime. live is in order of arrival, so only
 * expired ones and those in flight (which a session's limits bound) are seen.
 *
 * What cannot be given up now (its record cannot be read) stays where it is
 * and does not hold up the others: where a run may try no more, the next one
 * goes on behind it, until one has come to the end of what is expired. A run
 * that did nothing else is followed by another a second later, so that trying
 * them costs at most RUN_GIVE_UPS reads a second.
 */
bool
queue_expire(struct sched *s, struct squeue *q)
{
	char mem[QUEUE_ERROR_MAX + 128];
	struct str text;
	struct sched_why why;
	struct srcpt *r, *next;
	struct tries n = { 0, 0 };
	int64_t left, life = queue_conf(s, q)->bounce_after_ms * US_PER_MS;

	if (q->expire_at > sched_mono(s))
		return false;
	queue_sort(q);
	STR_ON(&text, mem);
	why = expired_why(q, &text);
	q->expire_at = NEVER;
	r = q->expire_next;
	q->expire_next = NULL;
	if (r != NULL) /* some are left before it */
		expire_look(q, sched_mono(s) + NO_MEMORY_US);
	else
		r = TAILQ_FIRST(&q->live);
	for (; r != NULL; r = next) {
		next = TAILQ_NEXT(r, all);
		left = msg_arrived(s, rcpt_msg(r)) + life - s->clock;
		if (left > 0) {
			expire_look(q, sched_mono(s) +
			    (left < EXPIRE_CHECK_US ? left : EXPIRE_CHECK_US));
			return false;
		}
		if (r->state == SR_INFLIGHT) {
			/* Its result decides; look again then. */
			expire_look(q, sched_mono(s) + US_PER_SEC);
			continue;
		}
		if (s->give_ups_left == 0) {
			q->expire_next = r;
			expire_look(q, tries_are_vain(&n) ? q->poke_at :
			    sched_mono(s));
			return !tries_are_vain(&n);
		}
		if (!tries_count(&n, give_up(s, q, r, &why)))
			expire_look(q, q->poke_at);
	}
	return false;
}

/* False: there are more than may be given up now. Those that could not be go
 * to the end, where they hold up nobody. */
static bool
list_doom(struct sched *s, struct squeue *q, struct srcpts *list,
    const struct sched_why *why, struct tries *n)
{
	struct srcpt *r, *next, *last = TAILQ_LAST(list, srcpts);

	for (r = TAILQ_FIRST(list); r != NULL; r = next) {
		next = r == last ? NULL : TAILQ_NEXT(r, u.ready);
		if (s->give_ups_left == 0)
			return false;
		if (tries_count(n, give_up(s, q, r, why)))
			continue;
		TAILQ_REMOVE(list, r, u.ready);
		TAILQ_INSERT_TAIL(list, r, u.ready);
	}
	return true;
}

/* The same; a level is gone with its last recipient. */
static bool
levels_doom(struct sched *s, struct squeue *q, const struct sched_why *why,
    struct tries *n)
{
	unsigned priority = PRIORITY_MAX + 1;
	struct slevel *lv;

	while ((lv = level_below(q, priority)) != NULL) {
		priority = lv->priority;
		if (!list_doom(s, q, &lv->fresh, why, n))
			return false;
		lv = level_below(q, priority + 1);
		if (lv != NULL && lv->priority == priority &&
		    !list_doom(s, q, &lv->due, why, n))
			return false;
	}
	return true;
}

/* A domain that does not exist, a host that does not want us: all that is
 * ready now fails with the queue's last error. */
bool
queue_doom(struct sched *s, struct squeue *q)
{
	struct sched_why why = { .status = SV("5.4.4"), .diag = SV("") };
	struct tries n = { 0, 0 };

	if (q->error != NULL) {
		why.status = q->error->status;
		why.diag = error_text(q);
	}
	if (!levels_doom(s, q, &why, &n))
		return !tries_are_vain(&n);
	/* what was refused comes again with poke_at */
	q->doomed = n.bad > 0;
	return false;
}
