/* SPDX-License-Identifier: ISC */
/*
 * world: a scheduler in a simulated world, for simulate.c and the scenarios of
 * the tests: a virtual clock, delivery workers, name servers and remote hosts
 * that behave as told. It keeps a record of everything that happened, or tells
 * of it. Without memory, or if the scheduler breaks its promises, it aborts.
 */
#ifndef QMGR_WORLD_H
#define QMGR_WORLD_H

#include "common/base/htab.h"
#include "common/conf/conf.h"
#include "qmgr/sched.h"

#define WORLD_NAME  400 /* of a queue */
#define WORLD_WALL0 (INT64_C(1900000000) * US_PER_SEC)

enum what {           /* a kind of thing that happens, see world.c */
	W_DISPATCHED, /* recipients */
	W_DELIVERS,   /* DELIVERs */
	W_DELIVERED,
	W_DEFERRED,
	W_FAILED,     /* by a reply, or expired in a reply */
	W_GIVEN_UP,
	W_OPENED,     /* sessions */
	W_CLOSED,
	W_UP,
	W_ENDED,
	W_RESOLVED,   /* look-ups */
	W_QFAIL,      /* queue_deferred */
	W_UNREAD,     /* give_up()s in vain, see remote.unread */
	W_REACHED,    /* an address begins to be connected to, n is 1, or is */
	W_LEFT,       /* left; source is an index into world.peers */
	W_WHATS
};

struct happening {
	int64_t t;       /* since the start */
	uint64_t id;     /* of the message, or 0 */
	uint32_t queue;  /* index into world.names */
	uint32_t source; /* W_DISPATCHED: index into world.sources */
	uint32_t n;      /* how many; W_QFAIL: failures so far */
	uint8_t what;
};

enum dns { DNS_OK, DNS_TEMPORARY, DNS_NO_DOMAIN, DNS_NULL_MX, DNS_UNUSABLE,
	DNS_SELF, DNS_AGAIN };

#define WORLD_HOST_ADDRS 4

struct whost {          /* of a domain */
	char name[64];
	uint16_t preference;
	bool down;              /* nobody can connect to it */
	struct route_addr addrs[WORLD_HOST_ADDRS];
	unsigned naddrs;
};

/* How the hosts of a domain behave. */
struct remote {
	char domain[128];
	int64_t latency, connect_latency, dns_latency, ttl;
	int64_t until;          /* then as the default; 0: for ever */
	unsigned reply;         /* to the message */
	unsigned fail_first;    /* tries of each message that get 451 */
	unsigned limit;         /* 421 after so many in one connection; 0 */
	unsigned max_sessions;  /* more cannot connect; 0 */
	unsigned drop;          /* every nth message loses the connection */
	unsigned doubt;         /* every nth: no answer to the final dot */
	unsigned unread;        /* messages 1 to n cannot be given up */
	int connect;            /* enum session_end, or -1: works */
	enum dns dns;
	unsigned count;         /* messages so far */
	float defer, refuse;    /* by chance: of the answers, 4xx and 5xx */
	char say[64];           /* in its replies */
	unsigned hosts;         /* 0: one; the first bad ones of them behave */
	unsigned bad_hosts;     /* like that, the others take all */
	unsigned skipped;       /* hosts, since the last look-up */
	char site[64];          /* "" if it has none */
	struct whost mx[8];     /* none: what it connects to is not told */
	unsigned nmx;
	bool relay;             /* by smtp-hosts */
};

struct spec {           /* of `add` */
	char vmta[WORLD_NAME];
	struct sv *domains;
	uint32_t ndomains, rcpts;
	unsigned priority;
	bool together;
};

struct wmsg {
	const struct spec *spec;
	uint32_t i;
};

struct wsource {        /* a source address, of all queues */
	char ip[46];
	uint32_t opened, now, max;
};

struct wpeer {          /* who connects to what */
	uint32_t source;        /* index into sources */
	char host[64];
	struct route_addr ip;
};

struct world {
	struct sched *s;
	struct conf *conf;
	bool borrowed;          /* conf */
	uint64_t seed;
	int64_t t;              /* since the start */
	int64_t wall_off;       /* clock jumps */
	struct remote *remotes;
	uint32_t nremotes;
	struct wevent *events;  /* heap */
	size_t nevents, events_size;
	uint64_t seq;
	struct wsession **sessions;
	struct htab by_id;      /* the same */
	uint32_t nsessions, sessions_size;
	char (*names)[WORLD_NAME];     /* of queues */
	struct htab by_name;    /* struct wname */
	uint32_t nnames;
	/* told of what happens, which is not kept then; NULL: it is in log */
	void (*told)(void *arg, const struct happening *h);
	/* NULL, or told of a queue that is about to be freed */
	void (*gone)(void *arg, const struct squeue *q);
	void *told_arg;
	struct remote **own;    /* by queue; NULL: that of the domain */
	struct happening *log;
	size_t nlog, log_size;
	struct wmsg *msgs;      /* by id - 1 */
	size_t nmsgs, msgs_size;
	uint64_t added, done;
	uint32_t *max_sessions; /* by queue */
	uint32_t *now_sessions;
	uint32_t max_all, max_group;
	char last_status[32], last_diag[600];
	bool in_run;
	struct wsource sources[64];
	uint32_t nsources;
	struct wpeer *peers;
	uint32_t npeers;
	struct route_host route_hosts[8];
	struct route route;     /* that was told last */
};

void world_init(struct world *w);
void world_fini(struct world *w);
struct sched_now world_now(const struct world *w);
/* Takes conf; starts the scheduler at the first time. */
void world_conf(struct world *w, struct conf *conf);
/* The same once, with what the caller keeps and frees after world_fini(). */
void world_conf_borrow(struct world *w, const struct conf *conf);
struct remote *world_remote(struct world *w, const char *domain);
/* The one of this queue alone. It stays where it is. */
struct remote *world_queue_remote(struct world *w, uint32_t queue);
void world_add(struct world *w, const struct spec *spec, int64_t age);
void world_worker_kill(struct world *w, unsigned number);
/* A new scheduler from the state of the old one. keep: the workers live on
 * with their sessions. */
void world_restart(struct world *w, bool keep);
/* Lets everything happen up to and at t. */
void world_until(struct world *w, int64_t t);
uint32_t world_queue(struct world *w, struct sv name);

#endif
