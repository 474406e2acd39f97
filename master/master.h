/* SPDX-License-Identifier: ISC */
/*
 * master: reads the configuration, opens what must be opened with privileges,
 * starts the other processes and watches them. It parses nothing that came
 * from the network.
 */
#ifndef MASTER_MASTER_H
#define MASTER_MASTER_H

#include "common/base/buf.h"
#include "common/conf/conf.h"
#include "master/child.h"

#define LISTENERS_MAX 64

struct listener {
	uint32_t id;
	int fd;
	char *address;  /* "127.0.0.1:25" */
	char *source;
	bool keep;      /* during a reload */
};

struct master {
	struct event_base *base;
	const char *conf_path;
	const char *rules_path; /* receiver rules that come with it */
	const char *build_dir;  /* programs from the build tree, or NULL */
	bool keep_user;         /* run everything as the calling user */
	bool foreground;
	bool debug;
	bool no_sandbox;        /* for debuggers */
	struct conf *conf;
	uint32_t generation;
	int conf_fd;            /* sealed memory file with the encoded conf */
	int spool_fd, events_fd, offsets_fd, logs_fd, pickup_fd, bad_fd;
	struct listener listeners[LISTENERS_MAX];
	unsigned nlisteners;
	uint32_t next_listener_id;
	uint32_t committed_listener_id; /* higher ones are new */
	int control_fd;
	char control_path[108];
	int pid_fd;
	struct child children[CHILDREN_MAX];
	unsigned nchildren;
	struct mono last_qmgr_start;
	bool stopping;
	bool announced;         /* READY=1 was sent */
	bool reloading;         /* RELOADING=1 was, not all have followed */
	struct event *sigs[4];
	struct event *stop_timer;
	char *log_path;         /* NULL: standard error */
	struct event *log_timer;
	int log_day;            /* of the month, in which it was begun */
};

/* conf.c: loads and validates; on errors prints or collects them and keeps
 * the old one. text_r gets one line per problem. */
bool master_conf_load(struct master *m, struct buf *text_r);
/* Validates the whole new configuration, opens new listeners, then tells
 * everybody. False: nothing was changed; text_r says why. */
bool master_reload(struct master *m, struct buf *text_r);
int master_conf_memfd(const struct conf *c);

/* logfile.c */
/* At the start: log lines go to the file of the configuration from now on. */
bool logfile_open(struct master *m, struct buf *text_r);
/* Begins a new one; the old one becomes FILE.1. False: nothing was changed.
 * text_r says what became of it, or why not. */
bool logfile_rotate(struct master *m, struct buf *text_r);
/* From now on there is a new one each day. */
void logfile_watch(struct master *m);

/* listen.c */
bool listeners_open(struct master *m, const struct conf *conf,
    struct buf *text_r);
/* Takes back what listeners_open() added. */
void listeners_undo(struct master *m);
/* Closes those that the new configuration does not have. */
void listeners_commit(struct master *m);
void listeners_close(struct master *m);
/* Removes the control socket. */
void control_close(struct master *m);
bool control_open(struct master *m, struct buf *text_r);
void listener_send(const struct listener *l, struct child *c);

/* orphans.c: children of a master that was killed. orphans_stop() before
 * the control socket is made anew: ends them, one way or the other. */
void orphans_stop(const struct master *m);
/* Writes down who they would be. */
void orphans_record(const struct master *m);

/* watch.c: from now on children that hang are killed. */
void watch_start(struct master *m);

/* report.c: what the service manager is told; see master/notify.h. Called
 * when a child has become ready, or a reload has begun or was refused. */
void report_check(struct master *m);
void report_reload(struct master *m);
void report_refused(struct master *m);
void report_stopping(struct master *m);

/* dirs.c: makes the directories of the spool with the right owners. */
bool dirs_open(struct master *m, struct buf *text_r);

/* graph.c */
void graph_connect(struct child *c);
void child_introduce(struct child *c);

void master_stop(struct master *m);

#endif
