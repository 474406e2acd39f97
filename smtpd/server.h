/* SPDX-License-Identifier: ISC */
/*
 * server: what all sessions of one smtpd process share. The settings are kept
 * per generation: a session holds the one it began with until it ends.
 */
#ifndef SMTPD_SERVER_H
#define SMTPD_SERVER_H

#include <bsd/sys/queue.h>

#include "common/conf/conf.h"
#include "common/mail/ctl_headers.h"
#include "common/spool/committer.h"
#include "smtpd/body.h"

#define EXPECT_US 20000

struct session;
struct listeners;
TAILQ_HEAD(session_list, session);

/* One generation of the configuration and how many hold it. */
struct settings {
	struct conf *conf;
	unsigned refs;
};

struct server {
	struct event_base *base;
	struct committer *committer;
	struct body_pool pool;
	struct settings *settings;       /* of new sessions */
	struct session_list sessions;
	struct session_list waiting;     /* DATA, not answered yet */
	unsigned nsessions;
	/* Transactions that were not submitted yet, by when they began: in
	 * this tick of EXPECT_US and in the one before. Older ones are not
	 * about to come: a crowd keeps thousands open. */
	unsigned expected[2];
	int64_t expect_tick;
	unsigned most_sessions;          /* since memory was given back */
	bool stopping;
	/* A session's connection has ended; its address may be counted down. */
	void (*on_conn_end)(struct server *srv, const struct route_addr *ip);
	/* A message names a VMTA that does not exist. */
	void (*on_vmta_unknown)(struct server *srv, struct sv name,
	    struct sv client_ip, enum vmta_taken how);
	/* The last session is gone. */
	void (*on_empty)(struct server *srv);
	void *arg;                       /* of the owner */
	struct listeners *listeners;
};

void server_init(struct server *srv, struct event_base *base);
/* Takes conf. */
void server_conf_set(struct server *srv, struct conf *conf);
struct settings *settings_hold(struct settings *st);
void settings_release(struct settings **st);
/* Idle sessions end now, the others after their transaction. */
void server_stop(struct server *srv);
/* How many messages are about to come. */
unsigned server_expected(void *arg);
/* A session has ended: after a crowd its memory goes back to the system. */
void server_session_gone(struct server *srv);
/* The committer may accept again. */
void server_on_ready(void *arg);

#endif
