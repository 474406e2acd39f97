/* SPDX-License-Identifier: ISC */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/spool/event.h"
#include "tests/unit/qmgr/fakeworld.h"

static void
on_resolve(void *arg, struct squeue *q, struct sv domain, struct sv vmta,
    const struct conf_domain *conf)
{
	struct world *w = arg;

	(void)domain;
	(void)vmta;
	ck_assert_ptr_nonnull(conf);
	ck_assert_uint_lt(w->nresolving, 256);
	w->resolving[w->nresolving++] = q;
}

static void
on_session_open(void *arg, const struct sched_session *se)
{
	struct world *w = arg;

	ck_assert_uint_lt(w->nse, WORLD_SESSIONS);
	w->se[w->nse].id = se->id;
	w->se[w->nse].up = w->se[w->nse].closing = false;
	w->se[w->nse].source = se->source;
	w->se[w->nse].may = se->targets == NULL ? ~0u : 0;
	for (uint32_t i = 0; i < se->ntargets; i++)
		w->se[w->nse].may |= 1u << (se->targets[i].host * 4 +
		    se->targets[i].addr);
	w->se[w->nse++].q = (struct squeue *)(uintptr_t)se->queue;
}

static void
on_deliver(void *arg, const struct sched_session *se, const struct smsg *m,
    const uint32_t *idx, uint32_t n)
{
	struct world *w = arg;
	struct wdeliver *d = &w->d[w->nd++];

	ck_assert_uint_lt(w->nd, WORLD_DELIVERS);
	ck_assert_uint_le(n, 8);
	d->session = se->id;
	d->id = m->id;
	d->n = n;
	memcpy(d->idx, idx, n * sizeof(*idx));
	for (uint32_t i = 0; i < n; i++)
		ck_assert_int_eq(smsg_rcpt_state(m, idx[i]), SR_INFLIGHT);
	for (uint32_t j = 0; w->random && j + 1 < w->nd; j++) {
		for (uint32_t i = 0; i < n * w->d[j].n; i++)
			ck_assert(w->d[j].id != m->id ||
			    w->d[j].idx[i / n] != idx[i % n]);
	}
}

static void
on_session_close(void *arg, uint64_t session, unsigned worker)
{
	struct world *w = arg;

	(void)worker;
	for (uint32_t i = 0; i < w->nse; i++) {
		if (w->se[i].id == session)
			w->se[i].closing = true;
	}
}

static void
on_give_up(void *arg, struct smsg *m, uint32_t idx,
    const struct sched_why *why)
{
	struct world *w = arg;

	snprintf(w->last_status, sizeof(w->last_status), "%.*s",
	    SV_FMT(why->status));
	snprintf(w->last_diag, sizeof(w->last_diag), "%.*s",
	    SV_FMT(why->diag));
	if (w->keep_give_up)
		return;
	w->given_up++;
	sched_final(w->s, w->now, m, idx, SR_DONE);
}

static void
on_queue_deferred(void *arg, const struct squeue *q, struct wall next,
    uint32_t failures, const struct sched_why *why)
{
	struct world *w = arg;

	(void)q;
	(void)failures;
	(void)why;
	ck_assert_int_gt(next.us, w->now.wall.us);
	w->deferrals++;
}

static void
on_msg_done(void *arg, const struct smsg *m)
{
	(void)m;
	((struct world *)arg)->done++;
}

/* a.test goes by smtp-hosts */
static const struct route *
on_route(void *arg, const struct squeue *q, bool *relay_r)
{
	struct world *w = arg;

	*relay_r = sv_eq(squeue_domain(q), SV("a.test"));
	return w->route.nhosts == 0 ? NULL : &w->route;
}

static const struct sched_ops ops = {
	.resolve = on_resolve, .route = on_route,
	.session_open = on_session_open,
	.deliver = on_deliver, .session_close = on_session_close,
	.give_up = on_give_up, .queue_deferred = on_queue_deferred,
	.msg_done = on_msg_done,
};

struct conf *
conf_of(const char *text)
{
	struct conf_report rep;
	struct conf *c;

	conf_report_init(&rep);
	c = conf_parse("test", sv_from(text), &rep);
	if (c == NULL)
		ck_abort_msg("%s", rep.errors[0]);
	conf_report_fini(&rep);
	return c;
}

struct world *
world_new(const char *text, uint64_t seed)
{
	struct world *w = calloc(1, sizeof(*w));

	w->conf = conf_of(text);
	w->now.mono.us = 1000000;
	w->now.wall.us = WALL0;
	w->s = sched_new(&ops, w, w->conf, seed);
	sched_worker_add(w->s, 0);
	return w;
}

void
world_free(struct world *w)
{
	sched_free(&w->s);
	conf_free(&w->conf);
	free(w);
}

void
pass(struct world *w, int64_t us)
{
	w->now.mono.us += us;
	w->now.wall.us += us;
}

void
run(struct world *w)
{
	for (int i = 0; sched_run(w->s, w->now); i++)
		ck_assert_int_lt(i, 100000);
	sched_check(w->s);
}

struct smsg *
add(struct world *w, uint64_t id, const char *domain, uint32_t n)
{
	struct sv domains[8];
	struct sched_msg m = { .id = id, .segment = 1, .offset = 64,
		.length = 512, .body_len = 400,
		.arrival_us = w->now.wall.us };

	for (uint32_t i = 0; i < n; i++)
		domains[i] = sv_from(domain);
	return sched_msg_add(w->s, w->now, &m, SV("v1"), domains, n);
}

void
answer_routes(struct world *w)
{
	while (w->nresolving > 0)
		sched_route(w->s, w->now, w->resolving[--w->nresolving],
		    ROUTE_OK, 3600000, NULL);
	run(w);
}

/* With one of the addresses that it may connect to. */
void
session_up(struct world *w, uint32_t i, uint32_t first)
{
	struct sv host = SV(""), ip = SV("");
	char mem[46];

	w->se[i].up = true;
	for (uint32_t k = 0; w->route.nhosts > 0 && k < 32; k++) {
		uint32_t bit = (first + k) % 32;
		const struct route_host *h = &w->route.hosts[bit / 4];

		if ((w->se[i].may & 1u << bit) == 0 ||
		    bit / 4 >= w->route.nhosts || bit % 4 >= h->naddrs)
			continue;
		w->se[i].may = 1u << bit;
		host = h->name;
		ip = sv_from(route_addr_format(&h->addrs[bit % 4], mem));
		break;
	}
	sched_session_up(w->s, w->now, w->se[i].id, host, ip);
}

/* Brings everything up that connects. */
void
sessions_up(struct world *w)
{
	for (uint32_t i = 0; i < w->nse; i++) {
		if (!w->se[i].up) {
			session_up(w, i, 0);
		}
	}
	run(w);
}

void
run_up(struct world *w)
{
	run(w);
	answer_routes(w);
	sessions_up(w);
}

/* What it has is given back. */
static void
delivers_drop(struct world *w, uint64_t session)
{
	for (uint32_t j = 0; j < w->nd; ) {
		if (w->d[j].session == session)
			w->d[j] = w->d[--w->nd];
		else
			j++;
	}
}

void
session_quits(struct world *w, uint32_t i)
{
	delivers_drop(w, w->se[i].id);
	w->se[i].up = w->se[i].closing = true;
	sched_session_quits(w->s, w->now, w->se[i].id);
}

void
session_drop(struct world *w, uint32_t i, enum session_end end)
{
	uint64_t id = w->se[i].id;

	delivers_drop(w, id);
	w->se[i] = w->se[--w->nse];
	sched_session_end(w->s, w->now, id, end, 0, NULL);
}

/* The outcome for all recipients of delivery i. */
struct sched_decision
result(struct world *w, uint32_t i, enum outcome o)
{
	struct wdeliver d = w->d[i];
	struct sched_result res = { .outcome = o, .status = SV("4.0.0"),
		.text = SV("451 4.0.0 try again later") };
	struct sched_decision dec = { 0 };
	struct smsg *m;

	for (uint32_t k = 0; k < d.n; k++) {
		m = sched_msg_find(w->s, d.id);
		if (m == NULL)
			break;
		if (sched_result(w->s, w->now, d.session, m, d.idx[k], &res,
		    &dec) && dec.action == ACT_DELIVERED)
			w->delivered_rcpts++;
	}
	w->d[i] = w->d[--w->nd];
	sched_deliver_done(w->s, w->now, d.session, d.id);
	return dec;
}
