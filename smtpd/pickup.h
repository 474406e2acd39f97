/* SPDX-License-Identifier: ISC */
/*
 * pickup: takes in the files of the pickup directory, each through a session of
 * its own in this process, so that all that holds for SMTP holds for them.
 * doc/pickup.md has the design: a file whose message gets an ID is named after
 * it before the message can become durable, and what such a name means after a
 * crash is read in the event log.
 */
#ifndef SMTPD_PICKUP_H
#define SMTPD_PICKUP_H

#include "common/spool/evlog.h"
#include "smtpd/server.h"

struct pickup;

struct pickup_ops {
	/* Everything before this is done with, durably. */
	void (*at)(void *arg, struct evlog_pos at);
	/* It was told to stop, and nothing is under way. */
	void (*idle)(void *arg);
};

/* The descriptors are open directories: files, bad files, event log, offsets.
 * Aborts without memory. */
struct pickup *pickup_new(struct server *srv, const int fds[4],
    const struct pickup_ops *ops, void *arg);
/* The server has another configuration. */
void pickup_conf(struct pickup *p);
/* The event log can be read up to here. Until the first one no file is
 * taken. */
void pickup_log_at(struct pickup *p, struct evlog_pos at);
/* A new qmgr: tells ops->at() again, if there is something to tell. */
void pickup_tell(struct pickup *p);
void pickup_stop(struct pickup *p);
void pickup_free(struct pickup **p);

#endif
