/* SPDX-License-Identifier: ISC */
/*
 * fakeworld: a world for test_sched. It remembers what the scheduler decided
 * and checks at once that nothing is dispatched twice and no limit is exceeded;
 * what happens then is for the test to say. (The world of the scenarios,
 * world.h, behaves by itself.)
 */
#ifndef TESTS_UNIT_QMGR_FAKEWORLD_H
#define TESTS_UNIT_QMGR_FAKEWORLD_H

#include <check.h>

#include "qmgr/sched_private.h"

#define WORLD_SESSIONS 4096
#define WORLD_DELIVERS 65536
#define WALL0 (INT64_C(1900000000) * US_PER_SEC)

struct wdeliver {
	uint64_t session, id;
	uint32_t idx[8], n;
};

struct world {
	struct sched *s;
	struct conf *conf;
	struct sched_now now;
	struct {
		uint64_t id;
		struct squeue *q;
		uint32_t source;
		bool up, closing;
		uint32_t may;   /* connect to these addresses, bits; up: is
		                 * there */
	} se[WORLD_SESSIONS];
	uint32_t nse;
	struct wdeliver d[WORLD_DELIVERS];
	uint32_t nd;
	struct squeue *resolving[256];
	uint32_t nresolving;
	uint64_t delivered_rcpts, given_up, done, deferrals;
	char last_status[16];
	char last_diag[512];
	bool keep_give_up;          /* give_up() does nothing */
	bool random;                /* few deliveries, checked closely */
	struct route route;         /* of all; without hosts: not told */
	uint64_t rng;
};

struct conf *conf_of(const char *text);
/* With worker 0. */
struct world *world_new(const char *text, uint64_t seed);
void world_free(struct world *w);
/* Both clocks go on. */
void pass(struct world *w, int64_t us);
/* The scheduler, until it has nothing to do; then all is checked. */
void run(struct world *w);
/* A message with n recipients there. */
struct smsg *add(struct world *w, uint64_t id, const char *domain,
    uint32_t n);
/* Everything that is asked has a route. */
void answer_routes(struct world *w);
/* Brings everything up that connects. */
void sessions_up(struct world *w);
void session_up(struct world *w, uint32_t i, uint32_t first);
/* All three. */
void run_up(struct world *w);
/* It has sent QUIT; its end comes. */
void session_quits(struct world *w, uint32_t i);
/* The end of session i. */
void session_drop(struct world *w, uint32_t i, enum session_end end);
/* The outcome for all recipients of delivery i. */
struct sched_decision result(struct world *w, uint32_t i, enum outcome o);

/* ---- test_sched_random.c ---- */

void sched_tests_random(TCase *tc);

/* ---- test_sched_delay.c ---- */

void sched_tests_delay(TCase *tc);

#endif
