/* SPDX-License-Identifier: ISC */
/*
 * For tests: runs a reader of the event log (pinnace-acct, pinnace-bounce) as
 * a process of its own and plays master and qmgr for it.
 */
#ifndef TESTS_UNIT_ACCT_PROC_H
#define TESTS_UNIT_ACCT_PROC_H

#include <sys/types.h>

#include "common/conf/conf.h"
#include "common/ipc/chan.h"

struct proc {
	pid_t pid;
	struct event_base *base;
	struct chan *master, *qmgr;
	bool gone;          /* a channel was closed */
};

/* A directory below the system's temporary one with these folders (NULL ends
 * them), as descriptors. name_r has room for 64. */
void proc_dirs(char *name_r, const char *const *folders, int *fds_r);
/* Removes it with everything in it. */
void proc_dirs_remove(const char *name);
/* Starts it; descriptors 4.. are fds. qmgr_ops with qmgr_arg are for what the
 * process sends to qmgr. Aborts on any failure. */
void proc_start(struct proc *p, const char *program, enum ipc_role role,
    const int *fds, size_t nfds, const struct conf *conf,
    const struct chan_ops *qmgr_ops, void *qmgr_arg);
/* Runs the event loop until *done, or at most ms. */
void proc_run(struct proc *p, const bool *done, int64_t ms);
/* SIGKILL, and everything of it is freed. */
void proc_kill(struct proc *p);
/* An orderly stop; returns the exit status, or -1 if a signal ended it. */
int proc_stop(struct proc *p);
/* A channel was closed; for the qmgr_ops: arg is not looked at. */
void proc_on_close(struct chan *c, void *arg, const char *why);

#endif
