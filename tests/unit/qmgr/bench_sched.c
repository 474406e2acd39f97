/* SPDX-License-Identifier: ISC */
/*
 * bench_sched [ELSEWHERE]: nanoseconds of the scheduler for each message that
 * is added, dispatched, answered and done, to 100 domains in batches of 50,
 * first alone, then with ELSEWHERE (1,000,000) messages waiting in other
 * queues: ready in paused ones, and for their retries.
 *
 * bench_sched queues: nanoseconds of the scheduler for each of 1,000,000
 * messages that wait in 100 queues, and in 100,000 (1,000 VMTAs, each with 100
 * of 10,000 domains), until all are delivered over at most 1,200 connections;
 * of the latter also what a pause, a resume and a move of 100,000 messages take.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/conf/conf.h"
#include "qmgr/sched.h"
#include "tests/unit/qmgr/knobs.h"

#define DOMAINS 100
#define BATCH   50
#define ROUNDS  20000
#define MAX_OUT 65536

#define MANY_VMTAS   1000u
#define MANY_DOMAINS 10000u
#define MANY_QUEUES  100000u
#define MANY         1000000u

struct bench {
	struct sched *s;
	struct squeue *resolving[MANY_QUEUES];
	unsigned nresolving;
	struct { uint64_t session, id; } out[MAX_OUT];
	unsigned nout;
	uint64_t opened[MAX_OUT];
	unsigned nopened;
	uint64_t closed[MAX_OUT];
	unsigned nclosed;
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

	if (b->nopened == MAX_OUT)
		abort();
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
	struct bench *b = arg;

	(void)worker;
	if (b->nclosed == MAX_OUT)
		abort();
	b->closed[b->nclosed++] = session;
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
add_to(struct bench *b, uint64_t id, const char *prefix, unsigned domain,
    struct sv vmta)
{
	char name[64];
	struct sched_msg m = { .id = id, .segment = id >> 20, .length = 4096,
		.body_len = 4096, .arrival_us = now().wall.us };
	struct sv d;

	d = sv_make(name, (size_t)snprintf(name, sizeof(name), "%s%u.test",
	    prefix, domain));
	if (sched_msg_add(b->s, now(), &m, vmta, &d, 1) == NULL)
		abort();
}

static void
add(struct bench *b, uint64_t id, const char *prefix, unsigned domain)
{
	add_to(b, id, prefix, domain, SV("v1"));
}

static void
settle(struct bench *b)
{
	struct sched_result res = { .outcome = OUT_DELIVERED };
	struct sched_decision d;

	while (sched_run(b->s, now()) || b->nresolving > 0 ||
	    b->nopened > 0 || b->nout > 0 || b->nclosed > 0) {
		while (b->nresolving > 0)
			sched_route(b->s, now(),
			    b->resolving[--b->nresolving], ROUTE_OK, 3600000,
			    NULL);
		while (b->nopened > 0)
			sched_session_up(b->s, now(),
			    b->opened[--b->nopened], SV(""), SV(""));
		for (unsigned i = 0; i < b->nout; i++) {
			sched_result(b->s, now(), b->out[i].session,
			    sched_msg_find(b->s, b->out[i].id), 0, &res, &d);
			sched_deliver_done(b->s, now(), b->out[i].session,
			    b->out[i].id);
		}
		b->nout = 0;
		while (b->nclosed > 0)
			sched_session_end(b->s, now(),
			    b->closed[--b->nclosed], END_IDLE, 0, NULL);
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

/* ---- many queues ---- */

static struct sv
vmta_named(char name[16], unsigned n)
{
	return sv_make(name, (size_t)snprintf(name, 16, "v%u", n));
}

/* Its queues are nvmtas times ndomains of the 10,000. */
static void
many_fill(struct bench *b, unsigned nqueues)
{
	unsigned nvmtas = nqueues < MANY_VMTAS ? 1 : MANY_VMTAS;
	unsigned each = nqueues / nvmtas;
	char name[16];

	for (uint64_t i = 0; i < MANY; i++) {
		unsigned q = (unsigned)(i % nqueues), v = q % nvmtas;

		add_to(b, i + 1, "d", (v * each + q / nvmtas) % MANY_DOMAINS,
		    vmta_named(name, v));
	}
}

static double
many_drain(struct bench *b)
{
	int64_t start = nanoseconds();

	settle(b);
	if (b->done != MANY)
		abort();
	return (double)(nanoseconds() - start) / MANY;
}

/* What a command does to the queues of a tenth of the messages, one after the
 * other; the daemon does it in slices. */
static void
many_commands(struct bench *b)
{
	char to[16];
	struct squeue *q;
	size_t at = 0;
	unsigned n = 0;
	int64_t start = nanoseconds();

	for (int on = 1; on >= 0; on--) {
		for (at = 0, n = 0; n < MANY_QUEUES / 10 &&
		    (q = sched_queue_next(b->s, &at)) != NULL; n++)
			(void)queue_pause(b->s, now(), squeue_domain(q),
			    squeue_vmta(q), on == 1);
		printf("%-28s %6.0f ms, %u queues of 100,000 messages\n",
		    on == 1 ? "pause" : "resume",
		    (double)(nanoseconds() - start) / 1e6, n);
		start = nanoseconds();
	}
	for (uint64_t id = 1; id <= MANY / 10; id++) {
		struct smsg *m = sched_msg_find(b->s, id);
		struct sv vmta = squeue_vmta(smsg_rcpt_queue(m, 0));
		unsigned v = (unsigned)strtoul(vmta.p + 1, NULL, 10);

		if (!sched_rcpt_move(b->s, now(), m, 0,
		    vmta_named(to, (v + 1) % MANY_VMTAS)))
			abort();
	}
	printf("%-28s %6.0f ms, 100,000 messages\n", "move",
	    (double)(nanoseconds() - start) / 1e6);
}

static double
many(const struct sched_ops *ops, const struct conf *conf, unsigned nqueues,
    bool commands)
{
	struct bench *b = calloc(1, sizeof(*b));
	double ns;

	if (b == NULL)
		abort();
	b->s = sched_new(ops, b, conf, 1);
	sched_worker_add(b->s, 0);
	sched_worker_add(b->s, 1);
	many_fill(b, nqueues);
	if (commands) {
		many_commands(b);
		ns = 0;
	} else {
		ns = many_drain(b);
		printf("%-28s %6.0f ns per message\n", nqueues == MANY_QUEUES ?
		    "100,000 queues" : "100 queues", ns);
	}
	sched_free(&b->s);
	free(b);
	return ns;
}

static struct conf *
many_conf(void)
{
	struct conf_report rep;
	struct conf *conf;
	size_t size = 64 + MANY_VMTAS * 48, n;
	char *text = malloc(size);

	if (text == NULL)
		abort();
	n = (size_t)snprintf(text, size, "total-max-smtp-out 1200\n");
	for (unsigned i = 0; i < MANY_VMTAS; i++)
		n += (size_t)snprintf(text + n, size - n,
		    "<virtual-mta v%u>\n</virtual-mta>\n", i);
	conf_report_init(&rep);
	conf = conf_parse("bench", sv_make(text, n), &rep);
	if (conf == NULL)
		abort();
	conf_report_fini(&rep);
	free(text);
	return conf;
}

static void
measure_many(const struct sched_ops *ops)
{
	struct conf *conf = many_conf();
	double few = 0, lots = 0;

	/* by turns: the machine's noise falls on both; the least counts */
	for (int i = 0; i < 5; i++) {
		double a = many(ops, conf, DOMAINS, false);
		double b = many(ops, conf, MANY_QUEUES, false);

		few = i == 0 || a < few ? a : few;
		lots = i == 0 || b < lots ? b : lots;
	}
	printf("%-28s %6.2f\n", "the least, of that with 100", lots / few);
	(void)many(ops, conf, MANY_QUEUES, true);
	conf_free(&conf);
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
	if (argc > 1 && strcmp(argv[1], "queues") == 0) {
		free(b);
		measure_many(&ops);
		return 0;
	}
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
