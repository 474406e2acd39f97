/* SPDX-License-Identifier: ISC */
/*
 * live: which messages are live, from events alone: the least that a replay
 * must know. For spool_check() and tests; qmgr has its scheduler for this.
 */
#ifndef COMMON_SPOOL_LIVE_H
#define COMMON_SPOOL_LIVE_H

#include "common/spool/event.h"

struct live;

struct live_msg {
	uint64_t id, segment, offset, length, large_id, body_len;
	uint64_t arrival_us;
	uint32_t nrcpts, ndone;
	uint8_t done[];       /* one for each recipient */
};

/* Aborts without memory. */
struct live *live_new(void);
void live_free(struct live **l);
/* Bears an event over a state that has it already. */
void live_event(struct live *l, enum ev_type type, const union ev_any *m);
uint64_t live_count(const struct live *l);
struct live_msg *live_find(const struct live *l, uint64_t id);
/* Walks all; *at starts at 0; NULL at the end. No changes meanwhile. */
struct live_msg *live_next(const struct live *l, size_t *at);

#endif
