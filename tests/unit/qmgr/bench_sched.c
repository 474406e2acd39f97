/* SPDX-License-Identifier: ISC */
/*
 * bench_sched [ELSEWHERE]: nanoseconds of the scheduler for each message that
 * is added, dispatched, answered and done, to 100 domains in batches of 50,
 * first alone, then with ELSEWHERE (1,000,000) messages waiting in other
 * queues: ready in paused ones, and for their retries.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/conf/conf.h"
#include "qmgr/sched.h"
#include "tests/unit/qmgr/knobs.h"

#define DOMAINS 100
#define BATCH   50
#define ROUNDS  20000
#define MAX_OUT 65536

struct bench {
	struct sched *s;
	struct squeue *resolving[DOMAINS];
	unsigned nresolving;
	struct { uint64_t session, id; } out[MAX_OUT];
	unsigned nout;
	uint64_t opened[MAX_OUT];
	unsigned nopened;
	uint64_t done;
};

static int64_t
nanoseconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * (int64_t)1000000000 + ts.tv_nsec;
}

static struct sched_now
now(void)
{
	int64_t us = nanoseconds() / 1000;

	return (struct sched_now){ { us }, { us } };
}

static void
on_resolve(void *arg, struct squeue *q, struct sv domain, struct sv vmta,
    const struct conf_domain *conf)
{
	struct bench *b = arg;

	(void)domain;
	(void)vmta;
	(void)conf;
	b->resolving[b->nresolving++] = q;
}

static void
on_open(void *arg, const struct sched_session *se)
{
	struct bench *b = arg;

	b->opened[b->nopened++] = se->id;
}

static void
on_deliver(void *arg, const struct sched_session *se, const struct smsg *m,
    const uint32_t *idx, uint32_t n)
{
	struct bench *b = arg;
	struct sched_msg info;

	(void)idx;
	(void)n;
	smsg_info(m, &info);
	b->out[b->nout].session = se->id;
	b->out[b->nout++].id = info.id;
}

static void
on_close(void *arg, uint64_t session, unsigned worker)
{
	(void)arg;
	(void)session;
	(void)worker;
}

static void
on_give_up(void *arg, struct smsg *m, uint32_t idx,
    const struct sched_why *why)
{
	struct bench *b = arg;

	(void)why;
	sched_final(b->s, now(), m, idx, SR_DONE);
}

static void
on_deferred(void *arg, const struct squeue *q, struct wall next,
    uint32_t failures, const struct sched_why *why)
{
	(void)arg;
	(void)q;
	(void)next;
	(void)failures;
	(void)why;
}

static void
on_done(void *arg, const struct smsg *m)
{
	(void)m;
	((struct bench *)arg)->done++;
}

static void
add(struct bench *b, uint64_t id, const char *prefix, unsigned domain)
{
	char name[64];
	struct sched_msg m = { .id = id, .segment = id >> 20, .length = 4096,
		.body_len = 4096, .arrival_us = now().wall.us };
	struct sv d;

	d = sv_make(name, (size_t)snprintf(name, sizeof(name), "%s%u.test",
	    prefix, domain));
	if (sched_msg_add(b->s, now(), &m, SV("v1"), &d, 1) == NULL)
		abort();
}

static void
settle(struct bench *b)
{
	struct sched_result res = { .outcome = OUT_DELIVERED };
	struct sched_decision d;

	while (sched_run(b->s, now()) || b->nresolving > 0 ||
	    b->nopened > 0 || b->nout > 0) {
		while (b->nresolving > 0)
			sched_route(b->s, now(),
			    b->resolving[--b->nresolving], ROUTE_OK, 3600000,
			    NULL);
		while (b->nopened > 0)
			sched_session_up(b->s, now(),
			    b->opened[--b->nopened]);
		for (unsigned i = 0; i < b->nout; i++) {
			sched_result(b->s, now(), b->out[i].session,
			    sched_msg_find(b->s, b->out[i].id), 0, &res, &d);
			sched_deliver_done(b->s, now(), b->out[i].session,
			    b->out[i].id);
		}
		b->nout = 0;
	}
}

static void
measure(struct bench *b, const char *what, uint64_t *id)
{
	int64_t start;

	for (unsigned i = 0; i < 1000; i++)
		add(b, ++*id, "d", i % DOMAINS);
	settle(b);
	start = nanoseconds();
	for (unsigned r = 0; r < ROUNDS; r++) {
		for (unsigned i = 0; i < BATCH; i++)
			add(b, ++*id, "d", (r * 7 + i) % DOMAINS);
		settle(b);
	}
	printf("%-28s %6.0f ns per message\n", what,
	    (double)(nanoseconds() - start) / (ROUNDS * BATCH));
}

/* Half of them ready in 1,000 paused queues, half waiting for a retry. */
static void
fill(struct bench *b, uint64_t n, uint64_t *id)
{
	struct mallinfo2 was = mallinfo2(), is;
	struct smsg *m;

	for (unsigned i = 0; i < 1000; i++) {
		char name[32];

		(void)queue_pause(b->s, now(), sv_make(name,
		    (size_t)snprintf(name, sizeof(name), "p%u.test", i)),
		    SV("v1"), true);
	}
	for (uint64_t i = 0; i < n; i++) {
		add(b, ++*id, i % 2 == 0 ? "p" : "r", (unsigned)(i % 1000));
		m = sched_msg_find(b->s, *id);
		if (i % 2 == 1)
			sched_rcpt_restore(b->s, now(), m, 0, SR_RETRY, 1,
			    now().wall.us + 3600 * US_PER_SEC);
	}
	is = mallinfo2();
	printf("%-28s %6.1f bytes per message\n", "memory",
	    (double)(is.uordblks + is.hblkhd - was.uordblks - was.hblkhd) /
	    (double)n);
}

int
main(int argc, char **argv)
{
	static const struct sched_ops ops = { .resolve = on_resolve,
		.session_open = on_open, .deliver = on_deliver,
		.session_close = on_close, .give_up = on_give_up,
		.queue_deferred = on_deferred, .msg_done = on_done };
	uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000, id = 0;
	struct bench *b = calloc(1, sizeof(*b));
	struct conf_report rep;
	struct conf *conf;
	int64_t start;

	if (b == NULL)
		abort();
	conf_report_init(&rep);
	conf = conf_parse("bench", SV("total-max-smtp-out 5000\n"), &rep);
	if (conf == NULL)
		abort();
	b->s = sched_new(&ops, b, conf, 1);
	sched_worker_add(b->s, 0);
	sched_worker_add(b->s, 1);
	measure(b, "alone", &id);
	start = nanoseconds();
	fill(b, n, &id);
	printf("%-28s %6.0f ns per message\n", "filling",
	    (double)(nanoseconds() - start) / (double)n);
	measure(b, "with others queued", &id);
	sched_free(&b->s);
	conf_free(&conf);
	conf_report_fini(&rep);
	free(b);
	return 0;
}
