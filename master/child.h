/* SPDX-License-Identifier: ISC */
/*
 * child: the processes that the master starts and watches. A child that ends
 * without having been told to is started again, when master/heat.h says; one
 * that hangs is killed (master/watch.c). How they all fare is told to qmgr,
 * for `pinnace show status`.
 */
#ifndef MASTER_CHILD_H
#define MASTER_CHILD_H

#include <sys/types.h>

#include "common/base/timeval.h"
#include "common/ipc/chan.h"
#include "master/heat.h"

#define CHILDREN_MAX 256

struct heartbeat;
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
	bool wants_pickup;     /* descriptors 6 and 8 */
	bool wants_listeners;  /* the SMTP ones */
	bool is_large;         /* holds the queue: memory in large pages */
};

struct child {
	struct master *master;
	const struct child_kind *kind;
	unsigned index;
	pid_t pid;             /* 0: not running */
	struct chan *chan;     /* NULL: not running */
	struct mono started;
	struct event *restart; /* timer */
	/* how the ones before it ended */
	struct heat heat;
	bool slowed;           /* said so */
	int64_t delay_ms;      /* before the next start */
	uint32_t restarts, crashes;
	enum ipc_ended ended;
	struct wall ended_at;
	char reason[64];       /* "signal 11" */
	/* watch.c */
	int beat_fd;           /* the page, for all lives of this child */
	struct heartbeat *beat;
	uint64_t beats;
	struct mono beaten;    /* when it last did */
	struct mono aborted;
	bool hung;             /* SIGABRT was sent */
	bool disk_wait;        /* said so */
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
/* CHILD about c, to qmgr or, before it starts, to c itself. */
void child_tell(const struct child *c, struct chan *to);
struct child *child_find(struct master *m, enum ipc_role role, unsigned index);

#endif
