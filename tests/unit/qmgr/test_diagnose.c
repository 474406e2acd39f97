/* SPDX-License-Identifier: ISC */
/* Each pattern on both sides of its thresholds. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qmgr/diagnose.h"

#define MINUTE INT64_C(60000)
#define MOST   64

static struct dg_queue queues[MOST];
static struct dg_finding found[DG_FINDINGS_MAX];
static struct dg_input in;
static char names[MOST][3][64];

static void
setup(void)
{
	memset(queues, 0, sizeof(queues));
	memset(found, 0, sizeof(found));
	in = (struct dg_input){ .queues = queues, .slow_ms = DG_SLOW_MS,
		.unknown_name = SV("") };
}

/* A queue that is doing well. */
static struct dg_queue *
queue(const char *domain, const char *vmta)
{
	struct dg_queue *q = &queues[in.nqueues];
	char (*n)[64] = names[in.nqueues++];

	snprintf(n[0], 64, "%s/%s", domain, vmta);
	snprintf(n[1], 64, "%s", domain);
	snprintf(n[2], 64, "%s", vmta);
	*q = (struct dg_queue){ .name = sv_from(n[0]),
		.domain = sv_from(n[1]), .vmta = sv_from(n[2]),
		.error = SV(""), .rule = SV(""), .ready = 20,
		.oldest_ms = 2000, .arrived = 1000, .delivered = 1000,
		.seen_ms = 60 * MINUTE };
	return q;
}

/* One that stands. */
static struct dg_queue *
stuck(const char *domain, const char *vmta, enum sched_wait w)
{
	struct dg_queue *q = queue(domain, vmta);

	q->ready = 500;
	q->oldest_ms = 60 * MINUTE;
	q->delivered = 10;
	q->share[w] = 0.9F;
	q->share[WAIT_NOTHING] = 0.1F;
	return q;
}

/* One whose mail is refused for now, again and again. */
static struct dg_queue *
retried(const char *domain, const char *vmta)
{
	struct dg_queue *q = stuck(domain, vmta, WAIT_NOTHING);

	q->ready = 10;
	q->retry = 490;
	q->deferred = 900;
	q->error = SV("451 4.7.1 later");
	return q;
}

/* "AC": the patterns found. */
static const char *
patterns(void)
{
	static char text[DG_FINDINGS_MAX + 1];
	unsigned n = dg_judge(&in, found);

	for (unsigned i = 0; i < n; i++)
		text[i] = found[i].pattern;
	text[n] = '\0';
	return text;
}

static bool
has(const char *text, const char *part)
{
	return strstr(text, part) != NULL;
}

START_TEST(test_healthy_whatever_its_size)
{
	struct dg_queue *q;

	ck_assert_str_eq(patterns(), "");
	q = queue("a.test", "v1");
	ck_assert_str_eq(patterns(), "");
	/* much, but it flows */
	q->ready = 1000000;
	q->oldest_ms = 20 * MINUTE;
	q->delivered = 3000000;
	ck_assert_str_eq(patterns(), "");
	/* retries as usual */
	q->ready = 0;
	q->retry = 50;
	q->deferred = 30;
	q->delivered = 2000;
	ck_assert_str_eq(patterns(), "");
}
END_TEST

START_TEST(test_slow_has_three_sides)
{
	struct dg_queue *q = stuck("a.test", "v1", WAIT_REMOTE);

	queue("b.test", "v1");
	ck_assert_str_eq(patterns(), "A");
	q = &queues[0];
	q->oldest_ms = DG_SLOW_MS - 1;
	ck_assert_str_eq(patterns(), "");
	q->oldest_ms = DG_SLOW_MS;
	q->ready = 9;
	ck_assert_str_eq(patterns(), "");
	q->ready = 10;
	q->delivered = 21;
	ck_assert_str_eq(patterns(), "");
	q->delivered = 19;
	ck_assert_str_eq(patterns(), "A");
	in.slow_ms = DG_SLOW_MS + 1;
	ck_assert_str_eq(patterns(), "");
	in.slow_ms = DG_SLOW_MS;
	q->seen_ms = DG_SLOW_MS; /* after a restart the rates are unknown */
	ck_assert_str_eq(patterns(), "A");
	q->seen_ms = DG_SLOW_MS - 1;
	ck_assert_str_eq(patterns(), "");
}
END_TEST

START_TEST(test_a_names_the_destination_and_what_to_do)
{
	struct dg_queue *q = stuck("a.test", "v1", WAIT_RETRY);

	queue("b.test", "v1");
	q->error = SV("421 4.7.0 too many connections");
	ck_assert_str_eq(patterns(), "A");
	ck_assert_str_eq(found[0].subject, "a.test");
	ck_assert(has(found[0].evidence, "500 wait in a.test/v1"));
	ck_assert(has(found[0].evidence, "421 4.7.0 too many"));
	ck_assert_str_eq(found[0].command,
	    "pinnace set queue a.test/v1 --mode=backoff");
	queues[0].error = SV("554 5.7.1 blocked");
	ck_assert_str_eq(patterns(), "A");
	ck_assert_str_eq(found[0].command, "pinnace pause queue a.test/v1");
	queues[0].error = SV("connect to mx.a.test: timed out");
	ck_assert_str_eq(patterns(), "A");
	ck_assert_str_eq(found[0].command, "pinnace explain queue a.test/v1");
	/* hardly the reason */
	memset(queues[0].share, 0, sizeof(queues[0].share));
	queues[0].share[WAIT_DNS] = 0.09F;
	ck_assert_str_eq(patterns(), "A");
	ck_assert_str_eq(found[0].command, "pinnace explain queue a.test/v1");
	queues[0].share[WAIT_DNS] = 0.95F;
	ck_assert_str_eq(patterns(), "A");
	ck_assert_str_eq(found[0].command, "dig a.test MX");
}
END_TEST

/* Half of the domains are slow: five of them are told, the worst first. */
START_TEST(test_a_several)
{
	char domain[16];

	for (unsigned i = 0; i < 14; i++) {
		snprintf(domain, sizeof(domain), "d%02u.test", i);
		if (i % 2 == 0)
			stuck(domain, "v1", WAIT_REMOTE)->ready = 100 + i;
		else
			queue(domain, "v1");
	}
	ck_assert_str_eq(patterns(), "AAAAA");
	ck_assert_str_eq(found[0].subject, "d12.test");
	ck_assert_str_eq(found[4].subject, "d04.test");
}
END_TEST

START_TEST(test_b_all_of_them)
{
	stuck("a.test", "v1", WAIT_DNS);
	stuck("b.test", "v1", WAIT_DNS);
	ck_assert_str_eq(patterns(), "AA"); /* two are not all */
	stuck("c.test", "v1", WAIT_DNS);
	queue("d.test", "v1");
	queue("e.test", "v1");
	ck_assert_str_eq(patterns(), "B"); /* 3 of 5 */
	ck_assert(has(found[0].evidence, "3 of 5 active domains"));
	ck_assert(has(found[0].evidence, "name server"));
	ck_assert(has(found[0].command, "name-server"));
	queue("f.test", "v1");
	ck_assert_str_eq(patterns(), "AAA"); /* 3 of 6 */
}
END_TEST

START_TEST(test_b_reasons)
{
	static const struct { enum sched_wait wait; const char *word; } t[] = {
		{ WAIT_CONN_GLOBAL, "total-max-smtp-out" },
		{ WAIT_WORKERS, "pinnace show status" },
		{ WAIT_RETRY, "--errors" }, { WAIT_CONNECTING, "--errors" },
		{ WAIT_REMOTE, "--errors" },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		setup();
		stuck("a.test", "v1", t[i].wait);
		stuck("b.test", "v1", t[i].wait);
		stuck("c.test", "v1", t[i].wait);
		ck_assert_str_eq(patterns(), "B");
		ck_assert_msg(has(found[0].command, t[i].word), "%s",
		    found[0].command);
	}
}
END_TEST

START_TEST(test_c_retries)
{
	struct dg_queue *q = retried("a.test", "v1");

	queue("b.test", "v1");
	ck_assert_str_eq(patterns(), "C");
	ck_assert_str_eq(found[0].command,
	    "pinnace set queue a.test/v1 --mode=backoff");
	q = &queues[0];
	q->retry = 301;
	q->ready = 199;
	ck_assert_str_eq(patterns(), "C");
	q->retry = 300;
	q->ready = 200; /* too much in line */
	ck_assert_str_eq(patterns(), "A");
	q->ready = 0;
	q->deferred = 9; /* hardly tried */
	ck_assert_str_eq(patterns(), "A");
	q->delivered = 50;
	q->deferred = 50;
	ck_assert_str_eq(patterns(), "A");
	/* all of them, it is still this */
	setup();
	retried("a.test", "v1");
	retried("b.test", "v1");
	retried("c.test", "v1");
	ck_assert_str_eq(patterns(), "CCC");
}
END_TEST

START_TEST(test_d_bounces_stand)
{
	in.bouncing = 3;
	in.bounce_behind_ms = DG_BEHIND_MS - 1;
	ck_assert_str_eq(patterns(), "");
	in.bounce_behind_ms = DG_BEHIND_MS;
	ck_assert_str_eq(patterns(), "D");
	in.bouncing = 0;
	ck_assert_str_eq(patterns(), "");
	in.bouncing = 1;
	in.bounce_behind_ms = -1;
	ck_assert_str_eq(patterns(), "D");
	ck_assert(has(found[0].evidence, "not there"));
}
END_TEST

START_TEST(test_e_one_vmta)
{
	struct dg_queue *q;

	stuck("a.test", "sick", WAIT_RETRY)->delivered = 0;
	stuck("b.test", "sick", WAIT_RETRY)->delivered = 0;
	queue("a.test", "good");
	queue("b.test", "good");
	queue("c.test", "good");
	ck_assert_str_eq(patterns(), "E");
	ck_assert_str_eq(found[0].subject, "sick");
	ck_assert(has(found[0].evidence, "at 2 of 2 domains"));
	ck_assert_str_eq(found[0].command, "pinnace pause queue vmta=sick");
	/* well at most of what it shares: then it is the destination */
	setup();
	stuck("a.test", "sick", WAIT_RETRY)->delivered = 0;
	queue("b.test", "sick");
	queue("a.test", "good");
	queue("b.test", "good");
	ck_assert_str_eq(patterns(), "A");
	/* the others are no better off there */
	setup();
	stuck("a.test", "sick", WAIT_RETRY)->delivered = 0;
	stuck("a.test", "good", WAIT_RETRY)->delivered = 0;
	queue("b.test", "good");
	ck_assert_str_eq(patterns(), "A");
	/* too few to compare with */
	setup();
	stuck("a.test", "sick", WAIT_RETRY)->delivered = 0;
	q = queue("a.test", "good");
	q->delivered = 9;
	q->ready = 0;
	ck_assert_str_eq(patterns(), "A");
	q = &queues[0];
	ck_assert(sv_eq(q->vmta, SV("good")));
	q->delivered = 10;
	ck_assert_str_eq(patterns(), "E");
	/* a fifth of what the others deliver is not worse */
	queues[1].delivered = 2;
	ck_assert_str_eq(patterns(), "A");
}
END_TEST

START_TEST(test_n_never_drains_at_this_cap)
{
	struct dg_queue *q = stuck("a.test", "v1", WAIT_MSG_RATE);

	q->rule = SV("max-msg-rate (pinnace.conf:12)");
	ck_assert_str_eq(patterns(), "N");
	ck_assert_str_eq(found[0].subject, "a.test/v1");
	ck_assert_str_eq(found[0].command,
	    "raise max-msg-rate (pinnace.conf:12), then: pinnace reload");
	q->arrived = q->delivered;
	ck_assert_str_eq(patterns(), "A"); /* it drains, slowly */
	q->arrived = 1000;
	q->seen_ms = 10 * MINUTE - 1;
	ck_assert_str_eq(patterns(), "A");
	q->seen_ms = 10 * MINUTE;
	q->share[WAIT_MSG_RATE] = 0.49F;
	ck_assert_str_eq(patterns(), "A");
}
END_TEST

START_TEST(test_s_and_p)
{
	struct dg_queue *q = stuck("a.test", "v1", WAIT_PAUSED);

	q->paused = true;
	ck_assert_str_eq(patterns(), "P");
	ck_assert_str_eq(found[0].command, "pinnace resume queue a.test/v1");
	q->oldest_ms = 1000;
	ck_assert_str_eq(patterns(), "");
	in.unknown_vmta = 2;
	in.unknown_name = SV("nope");
	ck_assert_str_eq(patterns(), "S");
	ck_assert(has(found[0].evidence, "\"nope\""));
	in.unknown_ago_ms = DG_UNKNOWN_MS;
	ck_assert_str_eq(patterns(), "S");
	in.unknown_ago_ms = DG_UNKNOWN_MS + 1; /* mended since */
	ck_assert_str_eq(patterns(), "");
}
END_TEST

START_TEST(test_what_takes_long_is_told)
{
	struct dg_queue *q = stuck("a.test", "v1", WAIT_REMOTE);

	q->took_ms[TIME_DNS] = 999;
	q->took_ms[TIME_CONNECT] = 2500;
	ck_assert_str_eq(patterns(), "A");
	ck_assert(!has(found[0].evidence, "look-up"));
	ck_assert(has(found[0].evidence, "a connection takes 2.5 s"));
	ck_assert(!has(found[0].evidence, "an answer"));
	queues[0].took_ms[TIME_DNS] = 1000;
	ck_assert_str_eq(patterns(), "A");
	ck_assert(has(found[0].evidence, "a DNS look-up takes 1.0 s"));
	/* all of them: the mean */
	setup();
	stuck("a.test", "v1", WAIT_DNS)->took_ms[TIME_DNS] = 2000;
	stuck("b.test", "v1", WAIT_DNS)->took_ms[TIME_DNS] = 4000;
	stuck("c.test", "v1", WAIT_DNS)->took_ms[TIME_DNS] = 6000;
	ck_assert_str_eq(patterns(), "B");
	ck_assert(has(found[0].evidence, "a DNS look-up takes 4.0 s"));
}
END_TEST

START_TEST(test_a_limiting_host_says_what_it_bears)
{
	struct dg_queue *q = stuck("a.test", "v1", WAIT_NOTHING);

	q->error = SV("421 4.7.0 slow down");
	q->delivered = 100;
	ck_assert_str_eq(patterns(), "A");
	ck_assert(!has(found[0].evidence, "would bear"));
	queues[0].deferred = 50;
	ck_assert_str_eq(patterns(), "A");
	ck_assert(has(found[0].evidence, "max-msg-rate 90/h"));
	queues[0].delivered = 1; /* nothing to go by */
	ck_assert_str_eq(patterns(), "A");
	ck_assert(!has(found[0].evidence, "would bear"));
	queues[0].delivered = 100;
	queues[0].error = SV("550 5.7.1 go away");
	ck_assert_str_eq(patterns(), "A");
	ck_assert(!has(found[0].evidence, "would bear"));
}
END_TEST

/* What waits for its warmup is not slow, whoever else delivers there. */
START_TEST(test_w_warmup_is_no_fault)
{
	stuck("a.test", "cold", WAIT_WARMUP)->delivered = 0;
	stuck("b.test", "cold", WAIT_WARMUP)->delivered = 0;
	stuck("c.test", "cold", WAIT_WARMUP)->delivered = 0;
	queue("a.test", "warm");
	ck_assert_str_eq(patterns(), "WWW");
	ck_assert_str_eq(found[0].command, "pinnace show warmup");
	queues[0].oldest_ms = 1000;
	ck_assert_str_eq(patterns(), "WW");
	/* it has room, and still does not move */
	setup();
	stuck("a.test", "cold", WAIT_RETRY)->share[WAIT_WARMUP] = 0.1F;
	queue("b.test", "cold");
	ck_assert_str_eq(patterns(), "A");
}
END_TEST

/* More than can be told, and texts that are too long. */
START_TEST(test_many_and_long)
{
	static char long_text[2000];
	char domain[16];

	memset(long_text, 'x', sizeof(long_text) - 1);
	for (unsigned i = 0; i < 20; i++) {
		snprintf(domain, sizeof(domain), "d%02u.test", i);
		stuck(domain, "v1", WAIT_PAUSED)->paused = true;
		snprintf(domain, sizeof(domain), "e%02u.test", i);
		queue(domain, "v1");
	}
	for (unsigned i = 0; i < 6; i++) {
		snprintf(domain, sizeof(domain), "f%02u.test", i);
		stuck(domain, "v1", WAIT_REMOTE)->error = sv_from(long_text);
	}
	in.bouncing = in.unknown_vmta = 1;
	in.bounce_behind_ms = -1;
	in.unknown_name = sv_from(long_text);
	ck_assert_str_eq(patterns(), "AAAAADSPPP");
	ck_assert(strlen(found[0].evidence) < sizeof(found[0].evidence));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("diagnose");
	TCase *tc = tcase_create("diagnose");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, test_healthy_whatever_its_size);
	tcase_add_test(tc, test_slow_has_three_sides);
	tcase_add_test(tc, test_a_names_the_destination_and_what_to_do);
	tcase_add_test(tc, test_a_several);
	tcase_add_test(tc, test_b_all_of_them);
	tcase_add_test(tc, test_b_reasons);
	tcase_add_test(tc, test_c_retries);
	tcase_add_test(tc, test_d_bounces_stand);
	tcase_add_test(tc, test_e_one_vmta);
	tcase_add_test(tc, test_n_never_drains_at_this_cap);
	tcase_add_test(tc, test_s_and_p);
	tcase_add_test(tc, test_w_warmup_is_no_fault);
	tcase_add_test(tc, test_what_takes_long_is_told);
	tcase_add_test(tc, test_a_limiting_host_says_what_it_bears);
	tcase_add_test(tc, test_many_and_long);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
