/* SPDX-License-Identifier: ISC */
/*
 * upstream: what smtpd and pickup have in common: a server with its committer
 * and the channel to qmgr that they live by.
 */
#ifndef SMTPD_UPSTREAM_H
#define SMTPD_UPSTREAM_H

#include "common/ipc/role.h"
#include "smtpd/server.h"

struct upstream {
	struct role *role;
	struct server srv;       /* srv.arg is this */
	struct chan *qmgr;       /* NULL: there is none now */
	void (*on_log_at)(struct upstream *u, uint64_t file, uint64_t offset);
	void *arg;               /* of the owner */
};

void upstream_init(struct upstream *u, struct role *r);
/* The first one must decode. */
void upstream_conf(struct upstream *u, struct sv bytes);
void upstream_peer(struct upstream *u, enum ipc_role peer, unsigned index,
    int fd);
/* Ends the process once the event loop is back. */
void upstream_end(struct upstream *u);

#endif
