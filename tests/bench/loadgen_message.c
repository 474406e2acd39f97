/* SPDX-License-Identifier: ISC */
/*
 * The messages of loadgen: which comes next, what becomes of each, and the
 * ledger's line about it.
 */
#include <err.h>
#include <stdlib.h>

#include "tests/bench/loadgen.h"

void
message_rcpt_put(struct buf *b, const struct message *m, unsigned i)
{
	uint64_t n = m->number * opt.rcpts + m->rcpts[i].index;

	kit_must(buf_addf(b, "u%ju@d%ju.%s", n / opt.domains % opt.users,
	    n % opt.domains, opt.rcpt_domain));
}

static void
put_id(struct buf *b, const struct message *m)
{
	kit_must(buf_addf(b, "%s-%ju", opt.run_id, m->number));
}

/* One line of the ledger: WORD ID RECIPIENT TIME REST. */
static void
note(const char *word, const struct message *m, unsigned i, struct sv rest)
{
	struct wall now = kit_wall();

	if (lg.ledger.fd < 0)
		return;
	kit_must(buf_addf(&lg.ledger.lines, "%s ", word));
	put_id(&lg.ledger.lines, m);
	kit_must(buf_add(&lg.ledger.lines, " ", 1));
	message_rcpt_put(&lg.ledger.lines, m, i);
	kit_must(buf_addf(&lg.ledger.lines, " %jd.%06jd %.*s\n",
	    (intmax_t)(now.us / US_PER_SEC), (intmax_t)(now.us % US_PER_SEC),
	    SV_FMT(rest)));
}

static bool
allowance(void)
{
	double seconds = (double)(lg.now.us - lg.began.us) / (double)US_PER_SEC;

	return opt.rate <= 0 || (double)lg.stats->started <= seconds * opt.rate;
}

struct message *
message_next(bool *later_r)
{
	struct message *m = STAILQ_FIRST(&lg.again);

	*later_r = false;
	if (lg.stopping)
		return NULL;
	if (m == NULL && lg.next_number >= lg.end_number)
		return NULL;
	if (!allowance()) {
		*later_r = true;
		return NULL;
	}
	if (m != NULL) {
		STAILQ_REMOVE_HEAD(&lg.again, next);
		return m;
	}
	m = calloc(1, sizeof(*m) + opt.rcpts * sizeof(m->rcpts[0]));
	if (m == NULL)
		errx(111, "out of memory");
	m->number = lg.next_number++;
	m->nrcpts = (uint16_t)opt.rcpts;
	for (uint16_t i = 0; i < m->nrcpts; i++)
		m->rcpts[i].index = i;
	lg.stats->started++;
	return m;
}

static void
rcpt_refused(const struct message *m, unsigned i, int code, struct sv reply)
{
	if (code >= 500)
		lg.stats->refused_5xx++;
	else if (code >= 400)
		lg.stats->refused_4xx++;
	else
		lg.stats->lost++;
	note(code >= 400 ? "refused" : "lost", m, i, reply);
}

void
message_end(struct message *m, struct sv reply)
{
	uint16_t left = 0;

	for (uint16_t i = 0; i < m->nrcpts; i++) {
		int code = m->rcpts[i].code;

		if (code >= 200 && code < 300)
			continue;
		if (!opt.retry || code >= 500 || lg.stopping) {
			rcpt_refused(m, i, code, reply);
			continue;
		}
		lg.stats->resends++;
		note("resend", m, i,
		    code == 0 && m->in_doubt ? SV("in-doubt") : SV("refused"));
		m->rcpts[left] = m->rcpts[i];
		m->rcpts[left++].code = 0;
	}
	if (left == 0) {
		free(m);
		return;
	}
	m->nrcpts = left;
	m->resend = true;
	m->in_doubt = false;
	STAILQ_INSERT_TAIL(&lg.again, m, next);
}

static void
message_accepted(struct conn *c, struct message *m, struct sv reply)
{
	unsigned good = 0;

	for (unsigned i = 0; i < m->nrcpts; i++) {
		if (m->rcpts[i].code < 200 || m->rcpts[i].code > 299)
			continue;
		good++;
		note("ok", m, i, reply);
	}
	lg.stats->rcpts_accepted += good;
	lg.stats->accepted += good > 0;
	lg.stats->last_us = lg.now.us;
	lg.progress_at = lg.now;
	stats_latency_add(lg.stats, lg.now.us - c->dot_at.us);
}

void
message_answered(struct conn *c, int code, struct sv reply)
{
	struct message *m = c->sent;

	c->sent = NULL;
	m->in_doubt = code == 0;
	if (m->in_doubt)
		lg.stats->in_doubt++;
	if (code >= 200 && code < 300)
		message_accepted(c, m, reply);
	else
		for (unsigned i = 0; i < m->nrcpts; i++)
			if (m->rcpts[i].code < 300)
				m->rcpts[i].code = code;
	message_end(m, reply);
}

void
message_envelope_lost(struct conn *c, int code, struct sv reply)
{
	struct message *m = c->env;

	c->env = NULL;
	for (unsigned i = 0; i < m->nrcpts; i++)
		if (m->rcpts[i].code < 400)
			m->rcpts[i].code = code;
	message_end(m, reply);
}

bool
message_work_left(void)
{
	if (lg.stopping)
		return false;
	return lg.next_number < lg.end_number || !STAILQ_EMPTY(&lg.again);
}
