/* SPDX-License-Identifier: ISC */
/*
 * Who has waited so long that the sender is to hear of it: a walk over all
 * queues, a piece at a time. A queue's live list is in order of arrival, so
 * only those that have waited for the time once are looked at.
 */
#include "qmgr/sched_private.h"

#define DELAYS_STEPS 256  /* recipients and queues in one call */

void
delays_count(struct sched *s, const struct smsg *m, bool comes)
{
	uint64_t one = comes ? 1 : (uint64_t)-1;

	s->delays.nasked += (m->tell & TELL_ASKED) != 0 ? one : 0;
	s->delays.nunasked += (m->tell & TELL_UNASKED) != 0 ? one : 0;
}

void
delays_conf(struct sched *s, const struct squeue *q)
{
	int64_t every = q->conf->notify_of_delay_every_ms;
	struct sdelays *d = &s->delays;

	if (every > 0 && (d->every_ms == 0 || every < d->every_ms))
		d->every_ms = every;
}

void
delays_leave(struct sched *s, const struct srcpt *r)
{
	if (s->delays.next == r)
		s->delays.next = TAILQ_NEXT(r, all);
}

static void
queue_end(struct sdelays *d)
{
	d->q = TAILQ_NEXT(d->q, link);
	d->in = false;
	d->next = NULL;
}

void
delays_queue_gone(struct sched *s, const struct squeue *q)
{
	if (s->delays.q == q)
		queue_end(&s->delays);
}

uint64_t
sched_delays_count(const struct sched *s)
{
	return s->delays.nasked + s->delays.nunasked;
}

int64_t
sched_delays_every_ms(const struct sched *s)
{
	return s->delays.every_ms;
}

int64_t
sched_delays_since_us(const struct sched *s)
{
	return s->delays.since == 0 ? 0 : s->delays.since + s->skew[s->nskew];
}

/* A clock that was wrong then makes nothing wait. */
void
sched_delays_restore(struct sched *s, struct sched_now now, int64_t since_us)
{
	sched_clock_advance(s, now);
	since_us -= s->skew[s->nskew];
	s->delays.since = since_us < s->clock ? since_us : s->clock;
}

/* The clock may have gone back a little: nobody is told twice for that. */
void
sched_delays_begin(struct sched *s, struct sched_now now)
{
	struct sdelays *d = &s->delays;

	sched_clock_advance(s, now);
	if (d->since == 0)
		d->since = s->clock;
	d->upto = s->clock > d->since ? s->clock : d->since;
	d->q = TAILQ_FIRST(&s->all_queues);
	d->in = false;
	d->next = NULL;
}

/* What this queue tells of, if there is such mail at all. */
static unsigned
queue_tells(const struct sdelays *d, const struct conf_domain *c)
{
	unsigned tell = d->nasked > 0 ? TELL_ASKED : 0;

	if (c->notify_of_delay_every_ms == 0)
		return 0;
	if (c->notify_of_delay_unasked && d->nunasked > 0)
		tell |= TELL_UNASKED;
	return tell;
}

/* How often its time is over by then. */
static int64_t
times(const struct sched *s, const struct srcpt *r,
    const struct conf_domain *c, int64_t at)
{
	int64_t waited = at - msg_arrived(s, rcpt_msg(r));

	return waited < 0 ? 0 :
	    waited / (c->notify_of_delay_every_ms * US_PER_MS);
}

/* The next one to be told of, of the queue at hand; else NULL, and at the
 * queue's end the next one is at hand. */
static struct srcpt *
step(struct sched *s)
{
	struct sdelays *d = &s->delays;
	const struct conf_domain *c = queue_conf(s, d->q);
	unsigned tells = queue_tells(d, c);
	struct srcpt *r;
	int64_t n;

	if (tells != 0 && !d->in) {
		queue_sort(d->q);
		d->in = true;
		d->next = TAILQ_FIRST(&d->q->live);
	}
	r = tells != 0 ? d->next : NULL;
	/* younger ones follow */
	if (r == NULL || (n = times(s, r, c, d->upto)) == 0) {
		queue_end(d);
		return NULL;
	}
	d->next = TAILQ_NEXT(r, all);
	/* what is past its lifetime is given up, and told of then */
	return (rcpt_msg(r)->tell & tells) != 0 &&
	    n > times(s, r, c, d->since) && !rcpt_expired(s, r) ? r : NULL;
}

enum sched_delays
sched_delays_next(struct sched *s, struct sched_now now, struct smsg **m_r,
    uint32_t *idx_r)
{
	struct sdelays *d = &s->delays;

	sched_clock_advance(s, now);
	for (int i = 0; i < DELAYS_STEPS && d->q != NULL; i++) {
		struct srcpt *r = step(s);

		if (r != NULL) {
			*m_r = rcpt_msg(r);
			*idx_r = r->idx;
			return DELAYS_ONE;
		}
	}
	if (d->q != NULL)
		return DELAYS_MORE;
	d->since = d->upto;
	return DELAYS_END;
}
