/* SPDX-License-Identifier: ISC */
/* Anything may happen to the scheduler, in any order. */
#include <check.h>

#include "tests/unit/qmgr/fakeworld.h"
#include "tests/unit/qmgr/knobs.h"

#define RANDOM_CONF \
    "total-max-smtp-out 6\n" \
    "mx-connection-limit *.test 3\nmx-connection-limit mx2.test 1\n" \
    "ip-connection-limit 203.0.113.0/25 4\nmax-conn-per-relay 2\n" \
    "<domain *>\nbounce-after 12h\nretry-after 1m-2m\n" \
    "retry-recipients-after 1m-5m\nconnection-idle-timeout 5s\n" \
    "retry-after-dns-error 10s\nmax-retries 5\n</domain>\n" \
    "<domain a.test>\nmax-smtp-out 2\n</domain>\n" \
    "<domain b.test>\nmax-msg-rate 5/s\nnotify-of-delay-every 1m\n" \
    "notify-of-delay-unasked yes\n</domain>\n" \
    "<domain c.test>\nmax-connect-rate 6/m\nmax-msg-per-connection 3\n" \
    "</domain>\n" \
    "<domain d.test>\nmax-rcpt-per-transaction 2\n" \
    "notify-of-delay-every 0\n</domain>\n" \
    "<domain s.rollup>\nmax-smtp-out 1\nmax-msg-rate 20/s\n</domain>\n" \
    "<domain e.test>\nsource-ip-max-smtp-out 1\n" \
    "source-ip-max-msg-rate 0/0 20/m\n</domain>\n" \
    "<domain d.test>\nsource-ip-max-connect-rate 192.0.2.0/24 10/m\n" \
    "source-ip-max-data-volume-rate 192.0.2.0/24 30k/m\n</domain>\n" \
    "<virtual-mta v3>\nsmtp-source-host 192.0.2.1 a.test\n" \
    "smtp-source-host 192.0.2.2 b.test\n</virtual-mta>\n" \
    "<virtual-mta v1>\nmax-smtp-out 3\n</virtual-mta>\n" \
    "<virtual-mta v2>\nmax-smtp-msg-rate 30/m\n</virtual-mta>\n" \
    "<warmup g>\nvirtual-mta v1\ndomain e.test\nday-list 40,80,4000\n" \
    "max-deferral-percent 40\ndeferral-sample 5\non-deferral step-back\n" \
    "</warmup>\n" \
    "<warmup h>\nvirtual-mta v1\nvirtual-mta v2\nfrom 700\nto 9000\n" \
    "days 9\n</warmup>\n"
static const char random_conf[] = RANDOM_CONF
    "<domain b.test>\nqueue-priority 80\n</domain>\n"
    "<domain c.test>\nqueue-priority 20\n</domain>\n";
static const char random_other_conf[] = RANDOM_CONF
    "<domain b.test>\nqueue-priority 50\n</domain>\n"
    "<domain e.test>\nqueue-priority 81\n</domain>\n"
    "<domain a.test>\nqueue-priority 0\n"
    "allow-priority-interruption no\n</domain>\n";
static const struct route_addr random_addrs[] = {
	{ 4, { 203, 0, 113, 1 } }, { 4, { 203, 0, 113, 2 } },
	{ 4, { 203, 0, 113, 200 } } };
static const struct route_host random_hosts[] = {
	{ 10, 25, { "mx1.test", 8 }, &random_addrs[0], 2 },
	{ 10, 25, { "mx2.test", 8 }, &random_addrs[0], 2 },
	{ 20, 25, { "mx3.test", 8 }, &random_addrs[2], 1 } };
static const char free_conf[] = "<domain *>\nbounce-after 20d\n"
    "retry-recipients-after 1m\nretry-after 1m\nmax-retries 0\n</domain>\n";

static uint32_t
rnd(struct world *w, uint32_t n)
{
	w->rng = w->rng * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(w->rng >> 33) % n;
}

static const char *const random_domains[] = { "a.test", "b.test", "c.test",
	"d.test", "e.test" };
static const char *const random_vmtas[] = { "v1", "v2", "v3" };

static uint32_t
random_add(struct world *w, uint64_t id)
{
	struct sched_msg m = { .id = id, .segment = id >> 20, .length = 80,
		.arrival_us = w->now.wall.us - rnd(w, 100) * US_PER_SEC,
		.tell = rnd(w, 4) };
	uint32_t n = 1 + rnd(w, 6);
	struct sv domains[8];
	struct smsg *added;

	for (uint32_t i = 0; i < n; i++)
		domains[i] = i > 0 && rnd(w, 2) == 0 ? domains[i - 1] :
		    sv_from(random_domains[rnd(w, 5)]);
	added = sched_msg_add(w->s, w->now, &m,
	    sv_from(random_vmtas[rnd(w, 3)]), domains, n);
	ck_assert_ptr_nonnull(added);
	for (uint32_t i = 0; i < n && rnd(w, 2) == 0; i++)
		sched_rcpt_prioritize(w->s, w->now, added, i, rnd(w, 101));
	return n;
}

/* All of one VMTA have one source address, but for v3. */
static uint32_t
source_number(const struct world *w, uint32_t i)
{
	return !sv_eq(squeue_vmta(w->se[i].q), SV("v3")) ? 0 :
	    1 + w->se[i].source;
}

/* What connects counts wherever it may come to. */
static void
random_hosts_hold(const struct world *w)
{
	uint32_t host[3][3] = { 0 }, net[3] = { 0 }, relay[3] = { 0 };

	for (uint32_t i = 0; i < w->nse; i++) {
		uint32_t from = source_number(w, i);
		bool is_relay = sv_eq(squeue_domain(w->se[i].q), SV("a.test"));
		uint32_t may = w->se[i].may;

		for (int h = 0; h < 3; h++) {
			host[from][h] += (may >> h * 4 & 15) != 0;
			relay[h] += is_relay && (may >> h * 4 & 15) != 0;
		}
		net[from] += (may & 0x33) != 0;
	}
	for (int from = 0; from < 3; from++) {
		ck_assert_uint_le(host[from][0], 3);
		ck_assert_uint_le(host[from][1], 1);
		ck_assert_uint_le(host[from][2], 3);
		ck_assert_uint_le(net[from], 4);
		ck_assert_uint_le(relay[from], 2);
	}
}

static void
random_limits_hold(struct world *w)
{
	uint32_t v1 = 0, a[3] = { 0 }, e3[2] = { 0 };

	ck_assert_uint_le(w->nse, 6);
	for (uint32_t i = 0; i < w->nse; i++) {
		struct sv vmta = squeue_vmta(w->se[i].q);

		v1 += sv_eq(vmta, SV("v1"));
		if (sv_eq(squeue_domain(w->se[i].q), SV("a.test")))
			a[vmta.p[1] - '1']++;
		if (sv_eq(squeue_name(w->se[i].q), SV("e.test/v3")))
			e3[w->se[i].source]++;
	}
	random_hosts_hold(w);
	ck_assert_uint_le(e3[0], 1);
	ck_assert_uint_le(e3[1], 1);
	ck_assert_uint_le(v1, 3);
	for (int i = 0; i < 3; i++)
		ck_assert_uint_le(a[i], 2);
}

static void
random_route(struct world *w)
{
	static const enum route_status st[] = { ROUTE_OK, ROUTE_OK, ROUTE_OK,
		ROUTE_OK, ROUTE_TEMPORARY, ROUTE_NO_DOMAIN };
	static const char *const sites[] = { "", "mx1", "mx2", "s.rollup" };
	uint32_t i, site = rnd(w, 4);

	if (w->nresolving == 0)
		return;
	i = rnd(w, w->nresolving);
	sched_site(w->s, w->now, w->resolving[i], sv_from(sites[site]),
	    site == 3);
	sched_route(w->s, w->now, w->resolving[i], st[rnd(w, 6)],
	    (int64_t)rnd(w, 100000), NULL);
	w->resolving[i] = w->resolving[--w->nresolving];
}

static void
random_session(struct world *w)
{
	uint32_t i;

	if (w->nse == 0)
		return;
	i = rnd(w, w->nse);
	if (rnd(w, 4) != 0 && !w->se[i].up) {
		session_up(w, i, rnd(w, 32));
	} else if (w->se[i].up && rnd(w, 8) == 0) {
		session_quits(w, i);
	} else if (w->se[i].closing || rnd(w, 4) == 0) {
		session_drop(w, i, w->se[i].closing ? END_IDLE :
		    (enum session_end)rnd(w, SESSION_ENDS));
	}
}

/* The old configuration goes away at once. */
static void
random_reload(struct world *w)
{
	struct conf *old = w->conf;

	w->conf = conf_of(rnd(w, 2) == 0 ? random_conf : random_other_conf);
	sched_conf_set(w->s, w->now, w->conf);
	conf_free(&old);
}

static void
random_final(struct world *w)
{
	struct smsg *m = sched_msg_find(w->s, 1 + rnd(w, 500));

	if (m != NULL)
		sched_final(w->s, w->now, m, rnd(w, smsg_nrcpts(m)),
		    rnd(w, 2) == 0 ? SR_BOUNCING : SR_DONE);
}

static void
random_source(struct world *w)
{
	struct sched_source so = { .ip = { .family = 4,
		.ip = { 192, 0, 2, (unsigned char)(1 + rnd(w, 2)) } },
		.domain = sv_from(random_domains[rnd(w, 5)]),
		.vmta = sv_from(random_vmtas[rnd(w, 3)]) };

	if (rnd(w, 4) == 0)
		so.ip = (struct route_addr){ .family = 0 };
	if (rnd(w, 4) == 0)
		so.domain = SV("*");
	if (rnd(w, 4) == 0)
		so.vmta = SV("*");
	if (rnd(w, 2) == 0)
		so.until_us = w->now.wall.us + rnd(w, 100) * US_PER_SEC;
	if (rnd(w, 3) == 0)
		(void)sched_source_enable(w->s, w->now, so.domain, so.vmta,
		    &so.ip);
	else
		ck_assert(sched_source_disable(w->s, w->now, &so));
}

static void
random_sources_enable(struct world *w)
{
	struct sched_source so;
	const void *at = NULL;

	while (sched_source_next(w->s, &at, &so)) {
		(void)sched_source_enable(w->s, w->now, SV("*"), SV("*"),
		    &(struct route_addr){ .family = so.ip.family,
		    .ip = { so.ip.ip[0], so.ip.ip[1], so.ip.ip[2],
		    so.ip.ip[3] } });
		at = NULL;
	}
}

static void
random_move(struct world *w)
{
	struct smsg *m = sched_msg_find(w->s, 1 + rnd(w, 500));
	struct sv vmta = sv_from(random_vmtas[rnd(w, 3)]);
	uint32_t idx;

	if (m == NULL)
		return;
	idx = rnd(w, smsg_nrcpts(m));
	if (sched_rcpt_move(w->s, w->now, m, idx, vmta))
		ck_assert(sv_eq(smsg_rcpt_vmta(m, idx), vmta));
}

static void
random_prioritize(struct world *w)
{
	struct smsg *m = sched_msg_find(w->s, 1 + rnd(w, 500));
	uint32_t idx;

	if (m == NULL)
		return;
	idx = rnd(w, smsg_nrcpts(m));
	sched_rcpt_prioritize(w->s, w->now, m, idx, rnd(w, 5) * 25);
	ck_assert(smsg_rcpt_state(m, idx) == SR_DONE ||
	    smsg_rcpt_priority(m, idx) % 25 == 0);
}

static void
random_operator(struct world *w)
{
	struct sv domain = sv_from(random_domains[rnd(w, 5)]);
	struct sv vmta = sv_from(random_vmtas[rnd(w, 3)]);
	struct squeue *q = sched_queue_find(w->s, domain, vmta);
	const struct smsg *m;
	const void *at = NULL;
	uint32_t idx;

	switch (rnd(w, 13)) {
	case 11:
	case 12:
		random_prioritize(w);
		return;
	case 0:
		(void)queue_pause(w->s, w->now, domain, vmta,
		    rnd(w, 3) == 0);
		return;
	case 1:
		if (q != NULL)
			sched_queue_schedule(w->s, w->now, q, rnd(w, 2) == 0);
		return;
	case 2:
	case 3:
		for (uint32_t i = rnd(w, 10); q != NULL &&
		    sched_queue_rcpt_next(q, &at, &m, &idx); i--) {
			if (i == 0)
				break;
		}
		if (at != NULL)
			sched_rcpt_hold(w->s, w->now,
			    sched_msg_find(w->s, m->id), idx,
			    rnd(w, 3) == 0, 0);
		return;
	case 4:
		if (rnd(w, 20) == 0)
			w->now.wall.us += ((int64_t)rnd(w, 400) - 200) *
			    86400 * US_PER_SEC;
		return;
	case 8:
		for (uint32_t i = rnd(w, 10); q != NULL &&
		    sched_queue_rcpt_next(q, &at, &m, &idx); i--) {
			if (i == 0)
				break;
		}
		if (at != NULL && smsg_rcpt_deletion(m, idx) != 0)
			(void)sched_rcpt_untrash(w->s, w->now,
			    sched_msg_find(w->s, m->id), idx);
		else if (at != NULL)
			(void)sched_rcpt_trash(w->s, w->now,
			    sched_msg_find(w->s, m->id), idx, 1 + rnd(w, 5));
		return;
	case 5:
		if (rnd(w, 10) == 0)
			random_reload(w);
		return;
	case 6:
		random_final(w);
		return;
	case 7:
		if (rnd(w, 3) == 0)
			random_source(w);
		else if (rnd(w, 8) == 0)
			random_sources_enable(w);
		return;
	case 10:
		random_move(w);
		return;
	default:
		if (rnd(w, 5) == 0) {
			for (uint32_t i = w->nse; i-- > 0; )
				w->se[i] = w->se[--w->nse];
			w->nd = 0;
			sched_worker_remove(w->s, w->now, 0);
		}
		sched_worker_add(w->s, 0);
		return;
	}
}

/* A piece of a walk, which may be given up. */
static void
random_delays(struct world *w)
{
	uint32_t n = rnd(w, 4), idx;
	struct sched_msg info;
	struct smsg *m;

	if (rnd(w, 50) == 0)
		sched_delays_begin(w->s, w->now);
	while (n-- > 0) {
		if (sched_delays_next(w->s, w->now, &m, &idx) != DELAYS_ONE)
			continue;
		ck_assert(smsg_rcpt_state(m, idx) <= SR_INFLIGHT);
		smsg_info(m, &info);
		ck_assert((info.tell & (sv_eq(squeue_domain(smsg_rcpt_queue(m,
		    idx)), SV("b.test")) ? 3 : TELL_ASKED)) != 0);
		/* d.test's is 0, but for where it has those of s.rollup */
		ck_assert_int_gt(squeue_conf(smsg_rcpt_queue(m,
		    idx))->notify_of_delay_every_ms, 0);
	}
}

static void
random_step(struct world *w, uint64_t *next_id, uint64_t *rcpts)
{
	static const enum outcome outs[] = { OUT_DELIVERED, OUT_DELIVERED,
		OUT_TEMPORARY, OUT_PERMANENT, OUT_LOST, OUT_IN_DOUBT,
		OUT_UNREADABLE, OUT_UNTRIED };

	if (rnd(w, 3) == 0)
		random_delays(w);
	switch (rnd(w, 8)) {
	case 0:
		if (*next_id < 100000)
			*rcpts += random_add(w, ++*next_id);
		return;
	case 1:
		random_route(w);
		return;
	case 2:
	case 3:
		random_session(w);
		return;
	case 4:
	case 5:
		if (w->nd > 0)
			result(w, rnd(w, w->nd), outs[rnd(w, 8)]);
		return;
	case 6:
		pass(w, rnd(w, 30) == 0 ? 600 * US_PER_SEC :
		    (int64_t)rnd(w, 2000000));
		return;
	default:
		random_operator(w);
		return;
	}
}

static void
random_bounces_done(struct world *w)
{
	struct smsg *m;

	for (uint64_t id = 1; id < 100000; id++) {
		for (uint32_t i = 0; (m = sched_msg_find(w->s, id)) != NULL &&
		    i < smsg_nrcpts(m); i++) {
			if (smsg_rcpt_state(m, i) == SR_BOUNCING)
				sched_final(w->s, w->now, m, i, SR_DONE);
		}
	}
}

/* Nothing is stuck: freed of all limits, everything comes to its end. */
static void
random_drain(struct world *w)
{
	struct conf *old = w->conf;
	struct sched_totals t;
	const struct smsg *m;
	size_t at = 0;

	sched_worker_add(w->s, 0);
	w->conf = conf_of(free_conf);
	sched_conf_set(w->s, w->now, w->conf);
	conf_free(&old);
	for (int d = 0; d < 5; d++) {
		for (int v = 0; v < 3; v++)
			(void)queue_pause(w->s, w->now,
			    sv_from(random_domains[d]),
			    sv_from(random_vmtas[v]), false);
	}
	while ((m = sched_msg_next(w->s, &at)) != NULL) {
		for (uint32_t i = 0; i < m->nrcpts; i++) {
			struct smsg *own = sched_msg_find(w->s, m->id);

			(void)sched_rcpt_untrash(w->s, w->now, own, i);
			sched_rcpt_hold(w->s, w->now, own, i, false, 0);
		}
	}
	random_bounces_done(w);
	random_sources_enable(w);
	for (int i = 0; ; i++) {
		run(w);
		answer_routes(w);
		sessions_up(w);
		while (w->nd > 0)
			result(w, 0, OUT_DELIVERED);
		for (uint32_t k = w->nse; k-- > 0; ) {
			if (w->se[k].closing)
				session_drop(w, k, END_IDLE);
		}
		sched_totals(w->s, &t);
		if (t.rcpts == 0)
			return;
		ck_assert_int_lt(i, 2000);
		pass(w, 30 * US_PER_SEC);
	}
}

START_TEST(test_random_sequence_invariants_hold)
{
	struct world *w = world_new(random_conf, (uint64_t)_i);
	uint64_t next_id = 0, rcpts = 0;

	w->random = true;
	w->route = (struct route){ .hosts = random_hosts, .nhosts = 3 };
	w->rng = (uint64_t)_i * 77 + 1;
	for (int i = 0; i < 6000; i++) {
		random_step(w, &next_id, &rcpts);
		(void)sched_run(w->s, w->now);
		sched_check(w->s);
		random_limits_hold(w);
	}
	ck_assert_uint_gt(w->delivered_rcpts, 20);
	random_drain(w);
	ck_assert_uint_eq(w->done, next_id);
	world_free(w);
}
END_TEST

void
sched_tests_random(TCase *tc)
{
	tcase_add_loop_test(tc, test_random_sequence_invariants_hold, 0, 12);
}
