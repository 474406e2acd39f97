/* SPDX-License-Identifier: ISC */
/*
 * heat: how long the next start of a child has to wait. Pure: the caller
 * tells of each end and gives the time.
 *
 * Every crash (a fatal signal, a hang, an exit that nobody asked for) heats by
 * one, every HEAT_COOL_MS of life cools by one. Above HEAT_FREE starts are
 * slowed: 1, 2, 4 ... HEAT_DELAY_MAX_MS. So the first crashes cost nothing,
 * three a minute for ever cost nothing either, and a child that dies ten
 * seconds after each start is soon started every half a minute; some minutes
 * of life and all is forgiven. Apart from that a child that dies within
 * HEAT_SETTLED_MS, however it ended, is never started at once twice in a row:
 * that one would take a whole processor.
 *
 * Killed from outside (SIGKILL, SIGTERM) is no crash: it says nothing of the
 * program, and whoever does it wants to see it back.
 */
#ifndef MASTER_HEAT_H
#define MASTER_HEAT_H

#include <stdbool.h>

#include "common/base/timeval.h"

#define HEAT_COOL_MS      20000 /* more than three crashes a minute heat */
#define HEAT_FREE         5     /* that many at once are bad luck */
#define HEAT_MAX          13    /* so that it is cold again in 4 minutes */
#define HEAT_DELAY_MAX_MS 30000 /* mail of that kind waits no longer */
#define HEAT_SETTLED_MS   500   /* a crash at start is quicker */

struct heat {
	int64_t heat_ms;       /* heat * HEAT_COOL_MS */
	unsigned quick;        /* ends within HEAT_SETTLED_MS, in a row */
	unsigned crashes;      /* since it was cold */
	struct mono first;     /* of them */
};

/* It lived from started to ended. Returns how long to wait, in ms. */
int64_t heat_ended(struct heat *h, struct mono started, struct mono ended,
    bool crashed);
/* Its starts are slowed because of crashes. */
bool heat_is_hot(const struct heat *h);
/* It has lived since started and is cold again by now: counts anew. */
bool heat_cooled(struct heat *h, struct mono started, struct mono now);

#endif
