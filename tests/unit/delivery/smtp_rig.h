/* SPDX-License-Identifier: ISC */
/*
 * For tests: the real pinnace-smtp as a process. The test is its master and its
 * qmgr, on socketpairs, with a real segment file and intent file.
 */
#ifndef TESTS_UNIT_DELIVERY_SMTP_RIG_H
#define TESTS_UNIT_DELIVERY_SMTP_RIG_H

#include <sys/types.h>

#include "common/ipc/ipc.h"
#include "common/spool/intent.h"
#include "tests/unit/delivery/sink.h"

#define WAIT_S      10
#define SEGMENT     7u
#define SLOTS       16u

struct seen_result {
	uint64_t seq, session, id;
	unsigned n;
	uint32_t idx[8];
	uint8_t outcome[8];
	uint16_t code[8];
	char text[8][128];
	bool relayed_no_dsn;
};

struct fx {
	struct event_base *base;
	struct chan *master, *qmgr;
	pid_t pid;
	int seg_fd, large_fd, intent_fd;
	uint64_t seg_end;
	uint32_t idle_ms;
	unsigned char *intents;
	bool ready, closed;
	unsigned nup, nquit, nend, nresync, nresync_end;
	struct ipc_session_end end;
	char end_text[256];
	uint64_t resync_id;
	uint32_t resync_n;
	unsigned nresults;
	struct seen_result *results;
	uint32_t flags;             /* of the sessions that are opened */
	struct buf trace;           /* of all TRACEs */
	unsigned ntrace, ntrace_end;
	uint64_t ntrace_lost;
};

struct where {
	uint64_t id, offset, length, large_id;
};

void fx_start(struct fx *f);
void fx_stop(struct fx *f);
/* A qmgr's channel: PEER, INTENT, SEG_OPEN. */
void fx_qmgr(struct fx *f);
/* Runs the loop until *counter has reached want. */
void fx_wait(struct fx *f, const unsigned *counter, unsigned want);

/* Appends a record; with large the body goes to f->large_fd. */
struct where record_put(struct fx *f, unsigned nrcpts, struct sv body,
    bool large);
void open_session_to(struct fx *f, uint64_t id, const struct sink *const *sinks,
    unsigned nsinks, uint32_t max_msgs, uint32_t final_ms);
void open_session(struct fx *f, uint64_t id, const struct sink *sink);
void deliver(struct fx *f, uint64_t session, const struct where *at,
    unsigned nrcpts);
unsigned slots_in_state(const struct fx *f, enum intent_state state);

#endif
