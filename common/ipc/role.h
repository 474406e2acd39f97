/* SPDX-License-Identifier: ISC */
/*
 * role: the one skeleton of every child process. The master starts it as
 *
 *	pinnace-smtpd -i INDEX [-u USER -d CHROOT] [-Sv]
 *
 * with an empty environment and these descriptors:
 *
 *	2  the log file; another one with each LOG
 *	3  channel to the master
 *	4  qmgr: the spool directory; acct, bounce, pickup: spool/events,
 *	   read-only
 *	5  acct, bounce, pickup: spool/offsets
 *	6  acct: the log directory; pickup: the pickup directory
 *	7  the page of common/ipc/heartbeat.h
 *	8  pickup: the directory for bad files
 *
 * role_main() drops privileges and files, calls init, drops system calls (-S:
 * neither files nor calls, for debuggers) and runs the event loop: no byte of
 * another process is read before. Configuration, channels to other processes,
 * listeners, start and stop arrive as callbacks.
 *
 * When the master dies the roles work on as orphans: mail flows, only nobody
 * starts again what dies. A new master tells the orphaned qmgr to stop, over
 * the control socket; when an orphan's qmgr is gone it stops too, with a drain
 * of ROLE_ORPHAN_DRAIN_MS.
 */
#ifndef COMMON_IPC_ROLE_H
#define COMMON_IPC_ROLE_H

#include "common/ipc/chan.h"

#define ROLE_FD_MASTER  3
#define ROLE_FD_SPOOL   4
#define ROLE_FD_EVENTS  4
#define ROLE_FD_OFFSETS 5
#define ROLE_FD_LOGS    6
#define ROLE_FD_PICKUP  6
#define ROLE_FD_BEAT    7
#define ROLE_FD_BAD     8
#define ROLE_ORPHAN_DRAIN_MS 5000
/* Longer than the master's longest wait before it starts a qmgr. A channel
 * that broke between two living processes is mended by starting one of them
 * again. */
#define ROLE_QMGR_WAIT_S  45
extern unsigned role_qmgr_wait_s; /* that; tests have less time */
#define ROLE_QMGR_EXTRA_S 5 /* for its last sync and checkpoint */

struct role {
	enum ipc_role self;
	unsigned index;
	struct event_base *base;
	struct chan *master;   /* NULL once the master is gone */
	void *arg;             /* the role's own */
	const struct role_ops *ops;
	uint32_t generation;   /* of the last configuration */
	bool stopping;
	bool has_qmgr;         /* a channel to it is open */
	struct event *qmgr_missing; /* fires when it is not for too long */
};

struct role_ops {
	enum ipc_role self;
	const char *name;
	/* Once, before anything else arrives; what is not in the role's set
	 * of system calls (common/sys/sandbox.def) is done here. */
	void (*init)(struct role *r);
	/* A configuration (bytes for conf_decode()); the view ends with the
	 * call. The first one comes before any peer or listener. The skeleton
	 * answers READY. */
	void (*conf)(struct role *r, struct sv bytes);
	/* A channel to another process; fd is the role's now. It replaces an
	 * open one to the same role and index. */
	void (*peer)(struct role *r, enum ipc_role peer, unsigned index,
	    int fd);
	/* May be NULL. */
	void (*listener)(struct role *r, uint32_t id, struct sv address,
	    struct sv source, int fd);
	void (*listener_close)(struct role *r, uint32_t id);
	void (*start)(struct role *r, uint32_t workers);
	void (*master_reply)(struct role *r,
	    const struct ipc_master_reply *m);
	/* How another process fares, or, before the first conf, the one
	 * before this one. May be NULL. */
	void (*child)(struct role *r, const struct ipc_child *m);
	/* It was killed; r->master is NULL. NULL: nothing more to do. */
	void (*master_gone)(struct role *r);
	/* Finish what is under way, then call role_exit(). After drain_ms the
	 * skeleton exits anyway. NULL: exits at once. */
	void (*stop)(struct role *r, uint32_t drain_ms);
};

int role_main(int argc, char **argv, const struct role_ops *ops);
/* Every role but qmgr calls this when its channel to qmgr is gone. */
void role_qmgr_gone(void);
/* An orphaned qmgr was told to stop, or has nobody left. */
void role_orphan_stop(struct role *r);
/* Ends the event loop after this turn: exit status 0. */
void role_exit(struct role *r);

#endif
