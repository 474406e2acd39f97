/* SPDX-License-Identifier: ISC */
/*
 * child: the processes that the master starts and watches. A child that ends
 * without having been told to is started again: at once the first time, then
 * after 1, 2, 4 ... CHILD_BACKOFF_MAX_S seconds; half a second of life
 * resets that.
 */
#ifndef MASTER_CHILD_H
#define MASTER_CHILD_H

#include <sys/types.h>

#include "common/base/timeval.h"
#include "common/ipc/chan.h"

#define CHILDREN_MAX      256
#define CHILD_BACKOFF_MAX_S 30

struct master;

/* One row per program: what role_main() on the other side expects. */
struct child_kind {
	enum ipc_role role;
	const char *program;   /* under libexec */
	const char *build_dir; /* where the build tree has it */
	const char *user;
	bool wants_spool;      /* descriptor 4: the spool directory */
	bool wants_events;     /* descriptors 4 and 5: events, offsets */
	bool wants_logs;       /* descriptor 6 */
	bool wants_listeners;  /* the SMTP ones */
};

struct child {
	struct master *master;
	const struct child_kind *kind;
	unsigned index;
	pid_t pid;             /* 0: not running */
	struct chan *chan;     /* NULL: not running */
	struct mono started;
	unsigned failures;     /* in a row */
	struct event *restart; /* timer */
	bool ready;
	uint32_t generation;   /* of the configuration it confirmed */
};

/* Makes the table of children: one per kind, or per core. */
void children_init(struct master *m);
void child_start(struct child *c);
/* SIGCHLD: takes all ended children and plans their restart. */
void children_reap(struct master *m);
/* How many run. */
unsigned children_running(const struct master *m);
void children_stop(struct master *m, uint32_t drain_ms);
void children_kill(struct master *m, int signo);
struct child *child_find(struct master *m, enum ipc_role role, unsigned index);

#endif
