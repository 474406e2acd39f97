/* SPDX-License-Identifier: ISC */
/*
 * sched_private: the structs of the scheduler, for qmgr/sched*.c only.
 *
 * Time: everything in here that ends in _at or is called due is monotonic
 * microseconds. Lifetimes are counted on s->clock, the wall clock with its
 * jumps taken out (sched_clock_advance).
 *
 * A recipient (struct srcpt) is always in exactly one place for its state:
 *   READY     fresh or due list of one of its queue's levels
 *   RETRY     retry heap of its queue
 *   INFLIGHT  a delivery (struct sdeliv) of a session or of a worker
 *   HELD, BOUNCING   nothing but the queue's aside list
 *   TRASHED          nothing but the queue's trash list
 *   DONE      nowhere, q is NULL
 * and, unless done, in one of the queue's two lists of all recipients: live
 * (ordered by arrival, for expiry) or aside (held, bouncing: never expire).
 * Only the rcpt_ functions of sched_rcpt.c change a state.
 *
 * A queue is active when something happened to it and its turn has not come
 * yet; queue_turn() looks at everything again and either gives out work or
 * leaves the queue waiting for an event, for its timer, or parked on a limit.
 */
#ifndef QMGR_SCHED_PRIVATE_H
#define QMGR_SCHED_PRIVATE_H

#include <sys/queue.h>
#include <assert.h>

#include "common/base/htab.h"
#include "common/conf/conf.h"
#include "qmgr/sched.h"

#define SCHED_WINDOW       4    /* messages outstanding in a session: the next
                                 * MAIL goes with the final dot, and one more
                                 * waits for the slower of two processes */
#define TURN_QUANTUM       16   /* recipients a queue may send in its turn */
#define VMTA_QUANTUM       64   /* and a VMTA */
#define RUN_TURNS          2000 /* turns in one sched_run() */
#define RUN_TIMERS         2000
#define RUN_GIVE_UPS       200
#define RUN_CONF_QUEUES    500  /* queues that get new settings per run */
#define PROMOTE_SLICE      256  /* retries made ready in one turn */
#define RUN_PROMOTIONS     4096 /* and in one sched_run(): some 2 ms */
#define YIELD_MSGS         100  /* a session gives its slot up after so many, */
#define YIELD_US           (60 * US_PER_SEC) /* or so long, if others wait */
#define QUEUE_KEEP_US      (600 * US_PER_SEC) /* an empty queue is kept */
#define EXPIRE_CHECK_US    (300 * US_PER_SEC) /* clocks may have been set */
#define RATE_IDLE_US       (2 * US_PER_SEC) /* idle until the next token: not
                                          * worth keeping from others */
#define LOST_DELAY_US      (10 * US_PER_SEC) /* after the first lost one */
#define LOST_ENDS_MAX      3    /* sessions lost without a delivery */
#define OPEN_HOLD_US       (60 * US_PER_SEC) /* no more sessions, see
                                              * session_failed() */
#define CLOCK_JUMP_US      (3600 * US_PER_SEC) /* greater: a jump */
#define NO_MEMORY_US       US_PER_SEC  /* try again after that */
#define ROUTE_LEAST_MS     1000 /* an answer holds at least so long */
#define QUEUE_NAME_MAX     600
#define QUEUE_ERROR_MAX    256

#define NEVER INT64_MAX
#define NS_PER_HOUR 3600e9

/* ---- timers: one heap for all queues and limits ---- */

enum timer_kind { TIMER_QUEUE, TIMER_LIMIT, TIMER_SOURCE, TIMER_SITE,
	TIMER_PACE };

struct stimer {
	int64_t due;
	uint32_t pos;      /* in the heap, from 1; 0: not set */
	uint8_t kind;      /* enum timer_kind: what it is embedded in */
};

struct timers {
	struct stimer **heap;
	uint32_t n, size;
};

/* ---- limits ---- */

/*
 * A rate as GCRA: token k may be used when the theoretical arrival time is
 * not later than now + (burst - 1) intervals. The burst is what the rate yields
 * in 100 ms, at most one and a hundredth of its N; a message takes at most one
 * and a two hundredth of N at once. The interval is a period/N' where N' is N
 * less what both may go beyond it: so no window of a period sees more than N
 * used, and N' is more than 98 % of N.
 */
struct srate {
	int64_t step_ns;   /* per token; 0: no limit */
	int64_t slack_ns;  /* (burst - 1) steps */
	int64_t tat_ns;
	int64_t period_ns;
	uint32_t most;     /* tokens that one message may take at once */
};

enum limit_kind { LIMIT_CONNS, LIMIT_RATE };

TAILQ_HEAD(squeues, squeue);

/*
 * Queues of one priority that are parked on a limit; those of one VMTA, if
 * several share it. Each queue has brought a group along: one is in use, the
 * others are its spares, and whoever leaves takes one of them.
 */
struct sgroup {
	struct squeues queues;
	TAILQ_ENTRY(sgroup) link;  /* slimit.groups, if it has queues */
	struct sgroup *next;       /* of svmta.groups, or of the spares */
	struct sgroup *spares;
	uint32_t n;                /* queues */
	uint8_t priority;
};
TAILQ_HEAD(sgroups, sgroup);

enum shared_limit {    /* limits that several VMTAs share */
	SHARED_CONNS,
	SHARED_WORKERS,
	SHARED_LIMITS,
	NOT_SHARED = SHARED_LIMITS
};

/*
 * A node on which queues park. Whenever queues are parked there is no room:
 * room that appears is granted at once to the first ones. A grant is room
 * reserved until the queue's turn, so that nobody overtakes.
 */
struct slimit {
	uint8_t kind;      /* enum limit_kind */
	uint8_t cause;     /* enum sched_wait */
	uint8_t shared;    /* enum shared_limit */
	uint32_t cap;      /* connections; UINT32_MAX: no limit */
	uint32_t used;
	uint32_t granted;
	uint32_t nparked;
	uint32_t leaving;  /* connections that are being closed */
	struct srate rate;
	struct sgroups groups; /* the highest priority first, then in turn */
	struct stimer timer; /* rate: when the next token comes */
};

/* The limits of one scope: queue, site, VMTA, pool, warmup, all. A queue's path
 * is the scopes that it is in; volume is counted in KiB. */
struct sscope {
	struct slimit conns, connect_rate, msg_rate, volume;
};
/* One is for the site that a queue joins while it has sessions. */
#define SCOPES_MAX (CONF_VMTA_POOLS_MAX + 6)

struct spath {
	uint8_t n;
	struct sscope *scope[SCOPES_MAX];
};

/* ---- messages ---- */

#define NRCPTS_BITS  17   /* over ENV_RCPTS_MAX */

struct srcpt {
	struct squeue *q;              /* NULL when done */
	TAILQ_ENTRY(srcpt) all;        /* live, aside or trash */
	union {
		TAILQ_ENTRY(srcpt) ready;
		struct {
			int64_t due;
			uint32_t pos;  /* in the queue's heap */
		} retry;
		struct sdeliv *deliv;
		struct {       /* HELD, or INFLIGHT with RF_HOLD */
			struct sdeliv *deliv;
			uint32_t order;
			uint32_t vmta; /* INFLIGHT with RF_MOVE: number of
			                * the VMTA that it goes to */
		} held;
		struct {       /* due 0: was ready; > 0: waited until then;
				* < 0: was on hold, by order -due - 1 */
			int64_t due;
			uint32_t number;
		} trash;
	} u;
	uint32_t idx : NRCPTS_BITS,    /* in its message */
	    priority : 7;
	uint16_t attempts;             /* stops at the end */
	uint8_t state;                 /* enum srcpt_state */
	uint8_t flags;
};
TAILQ_HEAD(srcpts, srcpt);

enum rcpt_flags {
	RF_DUE = 1,    /* was a retry: READY means the due list */
	RF_LOST = 2,   /* the last attempt ended in a lost connection */
	RF_HOLD = 4,   /* in flight, to be held if it comes back */
	RF_MOVE = 8,   /* in flight, to be moved to u.held.vmta */
	RF_ASTRAY = 16,/* ready, in squeue.level whatever its priority: there
			* was no memory for another */
};

/*
 * The ready recipients of one priority. A queue has one level in itself, for
 * the priority that comes first; others come and go with their recipients.
 */
struct slevel {
	TAILQ_ENTRY(slevel) link;      /* squeue.levels, if not empty */
	struct srcpts fresh, due;
	int16_t due_credit;            /* of retries against fresh mail */
	uint8_t priority;
};
TAILQ_HEAD(slevels, slevel);

#define SEGMENT_BITS 36   /* of 64 MiB each */
#define PLACE_BITS   28   /* units of 8: segments up to 2 GiB */
#define BODY_BITS    36
#define CLOCKS       256  /* jumps of the clock that are told apart */
#define LENGTH_BITS  28   /* the same */

/* What few messages have; stands behind the recipients. */
struct smsg_rare {
	uint64_t large_id;
	uint64_t dsn_for;
};

struct smsg {
	uint64_t id;
	uint64_t segment : SEGMENT_BITS, place : PLACE_BITS;
	uint64_t body_len : BODY_BITS, nrcpts : NRCPTS_BITS,
	    clock : 8,         /* which of sched.skew arrival_us is on */
	    tell : 2;          /* OR of enum sched_tell */
	int64_t arrival_us;
	uint64_t length8 : LENGTH_BITS, /* of the record, in units of 8 */
	    nopen : NRCPTS_BITS,       /* recipients that are not done, */
	    first : NRCPTS_BITS,       /* and the first of them */
	    rare : 1;                  /* there is a smsg_rare */
	struct srcpt rcpts[];
};

/*
 * 160 bytes per queued single-recipient message: the chunk of the allocator
 * (8 bytes of its own, rounded up to 16) and at most 32 bytes for slots of
 * the table, in the moment when it has just doubled (3 * 8 / 0.75); 10.7 to
 * 21.3 otherwise. A waiting one adds 8 to 12 for the retry heap. What is left
 * is for the queues: about 2 KB each.
 */
#define CHUNK(n) (((n) + 8 + 15) / 16 * 16)
static_assert(sizeof(struct srcpt) == 48, "recipient grew");
static_assert(sizeof(struct smsg) == 40, "message grew");
static_assert(CHUNK(sizeof(struct smsg) + sizeof(struct srcpt)) + 32 + 12 <=
    140, "more than 140 bytes per message");

static inline struct smsg *
rcpt_msg(const struct srcpt *r)
{
	return (struct smsg *)((uintptr_t)(r - r->idx) -
	    offsetof(struct smsg, rcpts));
}

/* ---- sessions ---- */

/* One DELIVER that has not come to its end. */
struct sdeliv {
	TAILQ_ENTRY(sdeliv) link;      /* session or worker */
	struct ssession *se;          /* one of these two: kept_by for what a */
	struct sworker *kept_by;       /* worker kept over a restart of qmgr */
	struct smsg *msg;              /* valid while open is not 0 */
	uint64_t id;
	uint32_t n, open;              /* recipients; without result yet */
	uint32_t kib;                  /* of the message */
	int64_t sent_at;
	bool delivered;                /* to one of them at least */
	bool paced;                    /* taken of the session's pace, too */
	struct spath path;             /* whose volume rates it was taken of */
	struct swarmup *warmup;        /* it has places in, or NULL; */
	int32_t warmup_day;            /* and on which day */
	struct ssite *site;            /* on the path, or NULL */
	uint32_t idx[];
};
TAILQ_HEAD(sdelivs, sdeliv);

struct sworker {
	TAILQ_ENTRY(sworker) link;
	unsigned number;
	uint32_t nsessions;
	TAILQ_HEAD(, ssession) sessions;
	struct sdelivs kept;
};

enum se_state { SE_CONNECTING, SE_UP, SE_CLOSING };

struct ssession {
	uint64_t id;
	struct squeue *q;
	struct sworker *worker;
	TAILQ_ENTRY(ssession) wlink, qlink, vm_idle, all_idle;
	struct sdelivs delivs;
	struct spath path;             /* of the queue when it was opened */
	int64_t opened_at, up_at;
	int64_t answered_at;           /* the last delivery; 0: none */
	uint32_t outstanding;
	uint32_t handed, max_msgs;     /* 0: no limit */
	uint32_t delivered, errors;
	uint8_t state;                 /* enum se_state */
	uint8_t place;                 /* which q->sessions list */
	bool idle;
	struct route_addr source;      /* its address, */
	uint32_t source_index;         /* and which it was when it opened */
	struct sip *ip;                /* NULL: not counted */
	struct spacing *pace;            /* NULL: its address has no rates */
	bool dry;                      /* waits for them, in pace.dry */
	TAILQ_ENTRY(ssession) dry_link;
	struct sdest **held;           /* where it counts */
	uint32_t nheld;
	bool relay;
	char *host;                    /* NULL: not known; else host_name */
	struct sv host_name;
	struct route_addr host_ip;
};
TAILQ_HEAD(ssessions, ssession);

/* The rates of a queue from one source address, see sched_pace.c. */
struct spacing {
	TAILQ_ENTRY(spacing) link;
	struct squeue *q;
	struct route_addr ip;
	struct srate rate[SCHED_RATES];
	int64_t until[SCHED_RATES];    /* used up, from before a restart; until
	                                * there is such a rate */
	uint32_t nsessions, nconnecting;
	struct ssessions dry;          /* sessions that have to wait */
	struct stimer timer;           /* when one may go on, or be opened */
};

/* ---- what sessions connect to, see sched_dest.c ---- */

enum dest_kind { DEST_HOST, DEST_NET, DEST_RELAY, DEST_KINDS };

struct sdest {
	struct sched *s;
	uint8_t kind;                  /* enum dest_kind */
	struct route_addr source;      /* of a relay all zero: it is for all */
	struct sv name;                /* in small letters, in text[] */
	uint32_t cap, used, granted, nwaits;
	TAILQ_HEAD(, sdwait) waits;
	char text[];
};

/* q waits for room in dest. */
struct sdwait {
	TAILQ_ENTRY(sdwait) of_dest, of_queue;
	struct squeue *q;
	struct sdest *dest;
	uint32_t mark;                 /* q->dmark when that was seen last */
};

/* An address that a queue may connect to. */
struct starget {
	struct sched_target at;        /* in its route */
	uint16_t preference;
	struct route_addr ip;
	struct sv name;                /* of the host, in small letters */
	const struct conf_cidr_num *net; /* that it is in, or NULL */
	uint32_t cap[DEST_KINDS];      /* 0: no limit */
};

struct stargets {
	uint32_t n;
	bool relay;                    /* hosts of smtp-hosts */
	bool limited;                  /* one of them is */
	struct starget v[];            /* in the order of the route; names */
};

/* ---- queues ---- */

#define RING_SLOTS 12
struct sring {         /* events of the last RING_SLOTS slots of time */
	int64_t slot;  /* number of the newest slot */
	uint32_t n[RING_SLOTS];
};
#define RING_MINUTE_US (5 * US_PER_SEC)
#define RING_HOUR_US   (300 * US_PER_SEC)

/* As large as what there is to say: many queues have one. */
struct qerror {
	int64_t at_us;                 /* wall clock */
	struct sv status, text, host, ip; /* in mem[] */
	char mem[];
};

struct svpool {
	struct sv name, path_name;     /* "//name" */
	struct sscope scope;
	TAILQ_ENTRY(svpool) link;
};

/* See sched_warmup.c. */
#define WARMUP_DAYS_KEPT 128   /* CONF_DAYS_MAX, and some that were held */
struct swday {
	int32_t day;                   /* since 1970-01-01 */
	uint32_t plan, done, inflight;
	bool held, stepped;
};

struct swarmup {
	struct sv name, path_name;     /* "///name", in text[] */
	struct svmta *vm;
	const struct conf_warmup *conf;/* NULL: no longer configured */
	TAILQ_ENTRY(swarmup) link, vm_link;
	struct sscope scope;           /* only its msg_rate */
	int32_t day;                   /* today; 0: not known yet */
	int32_t start;                 /* first day of the plan; 0: as day */
	uint32_t behind;               /* days that the plan is late */
	int64_t last_us;               /* the last one, wall clock; 0: none */
	uint64_t nrcpts;               /* in its queues, not done */
	uint32_t ndays;
	struct swday days[WARMUP_DAYS_KEPT]; /* sorted */
	struct sring replies, deferrals, hour; /* hour: delivered */
	int64_t born_at;
	char text[];
};

/* See sched_site.c. */
struct ssite {
	struct svmta *vm;
	struct sv path_name, key;      /* "=KEY/vmta", in text[] */
	struct squeues queues;
	struct sscope *scope;          /* NULL: one queue alone */
	bool rollup;                   /* it has settings of its own: KEY is
	                                * the domain that has them */
	uint32_t conf_gen;             /* that these are of: */
	uint32_t most;
	struct conf_rate connects, msgs, volume;
	uint32_t ndelivs;              /* that have it on their path */
	int64_t until[SCHED_RATES];    /* used up, from before a restart; until
	                                * its limits are known */
	struct stimer timer;           /* without queues: when it goes */
	TAILQ_ENTRY(ssite) link;
	char text[];
};

/* A source address that is disabled. q: for this one; NULL: see domain and
 * vmta. Wall clock; texts in text[]. */
struct soff {
	TAILQ_ENTRY(soff) all, of;     /* of: q's, or sched.off_wide */
	struct squeue *q;
	struct sip *counted;           /* of q; NULL: not counted */
	struct route_addr ip;
	struct stimer timer;           /* when it is enabled again */
	int64_t since_us, until_us;
	struct sv domain, vmta, reason, who;
	char text[];
};
TAILQ_HEAD(soffs, soff);

/* See sched_ip.c. */
struct sip {
	TAILQ_ENTRY(sip) link;
	struct svmta *vm;
	struct route_addr ip;
	bool configured;
	uint32_t nsessions;
	uint32_t noff;                 /* queues that it is disabled for */
	struct sring count[IP_COUNTS]; /* in the hour's slots */
};

struct svmta {
	struct sv name, path_name;     /* "/name", in text[] */
	struct sched *s;
	struct sscope scope;
	struct sgroup *groups[SHARED_LIMITS]; /* of its parked queues */
	TAILQ_HEAD(, ssession) idle;
	TAILQ_HEAD(, swarmup) warmups; /* those of the file in its order */
	struct squeues active;
	TAILQ_ENTRY(svmta) active_link, link;
	int64_t deficit;
	uint32_t nqueues;
	uint32_t number;               /* in order of making */
	uint8_t npools;
	struct svpool *pools[CONF_VMTA_POOLS_MAX];
	bool active_on;
	const struct conf_srchosts *sources; /* NULL: the system chooses */
	TAILQ_HEAD(, sip) ips;
	char text[];
};

/* A limit set for a time; every_us 0: none. */
struct stemp {
	int64_t at;                    /* when it is raised next, or NEVER */
	int64_t every_us;              /* between later raises */
};

struct sreact {
	int64_t backoff_until;         /* NEVER: until something ends it */
	struct stemp conns, rate;
	uint32_t max_out;
	struct conf_rate max_rate;
	struct smatch *matches;
};

/* See sched_adapt.c. */
struct sadapt {
	int64_t began, at;             /* the interval, its verdict */
	uint32_t ok, bad;              /* replies to recipients in it */
	bool cut;                      /* there was one in it */
	double before;                 /* delivered a minute in the last one */
	uint32_t conns;                /* that are allowed now */
	struct conf_rate rate;         /* period_ms 0: none but the usual */
	uint64_t step;                 /* of rate.n */
	int64_t changed_at;
};

/* See sched_wait.c. acc_us: since folded_at, without what is going on. */
struct swaits {
	int64_t born_at, folded_at;
	uint32_t acc_us[SCHED_WAITS];
	float share[SCHED_WINDOWS][SCHED_WAITS];
};

struct squeue {
	struct sched *s;
	struct svmta *vm;
	struct sv name, domain, vmta;  /* in text[] */
	const struct conf_domain *conf;/* use queue_conf() */
	uint32_t conf_gen;

	struct slevel level;           /* READY */
	struct slevels levels;         /* the highest priority first */
	struct srcpt **heap;           /* RETRY, from [0] */
	uint32_t heap_size;
	uint32_t promote;              /* retries to be made ready now */
	struct srcpts live, aside, trash;
	struct srcpt *expire_next;     /* of live: where queue_expire() goes
	                                * on; NULL: at its head */
	bool unsorted;                 /* live is not in order of arrival */
	uint8_t priority;              /* queue-priority */
	uint32_t count[SR_STATES];
	uint64_t bytes;

	struct ssessions sessions[SCHED_WINDOW + 1]; /* by outstanding; last:
	                                 * those that take nothing now */
	uint32_t nsessions, nconnecting, nup;
	uint32_t lost_ends;
	int64_t open_hold_at;

	struct sscope scope;
	struct spath path;
	struct swarmup *warmup;        /* NULL: none; use queue_warmup_set() */
	struct ssite *site;            /* NULL: none */
	TAILQ_ENTRY(squeue) site_link;
	struct slimit *parked, *grant;
	struct sgroup *group;          /* that it is parked in; else a spare */
	TAILQ_ENTRY(squeue) park;

	bool paused;
	bool backoff;                  /* mode */
	const struct conf_reply_list *replies; /* NULL: none */
	struct sreact *react;          /* NULL: nothing out of the ordinary */
	struct sadapt *adapt;          /* NULL: its limits are as configured */
	bool doomed;                   /* its ready recipients are given up */
	uint32_t failures, dns_failures;
	int64_t retry_at;             /* queue-level retry, if later than now */
	struct qerror *error;

	bool resolving;
	TAILQ_ENTRY(squeue) resolve_link;
	enum route_status route;
	int64_t route_until;           /* 0: not known */
	int64_t asked_at;              /* the resolver, while resolving */
	float took_us[SCHED_TIMES];    /* moving means */

	struct stimer timer;
	int64_t expire_at, gc_at, poke_at;
	TAILQ_ENTRY(squeue) active_link, link;
	int64_t deficit;
	bool active;

	enum sched_wait wait;
	int64_t wait_since;
	int64_t wait_us[SCHED_WAITS];
	struct swaits waits;
	uint64_t delivered, deferred, failed;
	struct sring minute, hour;     /* delivered */
	struct sring arrived;          /* in the hour's slots */
	struct sring put_off, refused; /* attempts, in the hour's slots */
	void *user;

	struct soffs off;              /* sources that it may not use */
	uint32_t source_turn;          /* which is next */
	uint64_t none_left;            /* sched.sources_gen when it had none, */
	uint64_t all_full;             /* or no room in those it had, */
	enum sched_wait full_wait;     /* and what it waited for then */
	TAILQ_HEAD(, spacing) paces;
	bool paced;                    /* its settings name rates of them */
	struct spacing **pace_at;      /* some of paces, by source */
	uint32_t npace_at;
	bool chooses;                  /* it waits for an address, or for what
	                                * it connects to */
	struct stargets *targets;      /* NULL: none is limited */
	uint32_t targets_gen;          /* of the configuration; 0: not known */
	TAILQ_HEAD(, sdwait) dwaits;
	uint32_t ndwaits, dmark;
	struct sdest *dgrant;          /* has a place for it in this turn */
	const struct spacing *pace_first; /* the first that has room again */
	bool sources_check;            /* sessions may have to be closed */
	bool sourceless;               /* waits for one */
	TAILQ_ENTRY(squeue) sourceless_link;
	char text[];
};

/* See sched_delay.c. Times are on sched.clock. */
struct sdelays {
	uint64_t nasked, nunasked;     /* messages, by their tell */
	int64_t every_ms;              /* the least of the queues'; 0: none */
	int64_t since, upto;           /* began: the walk before, this one */
	struct squeue *q;              /* at hand, in order of all_queues */
	bool in;                       /* next is of its live list; NULL: at
	                                * its end */
	struct srcpt *next;
};

/* What goes on over all queues in slices. */
struct sched_walk {
	TAILQ_ENTRY(sched_walk) link;
	struct sched *s;
	struct squeue *next;
};

struct sched {
	const struct sched_ops *ops;
	void *arg;
	const struct conf *conf;
	uint32_t conf_gen;
	struct squeue *conf_walk;      /* next queue that gets new settings */
	uint64_t seed, hash_key[2];
	uint64_t next_session;

	struct sched_now now;
	int64_t clock;                 /* for lifetimes: wall clock without
	                                * its jumps */
	int64_t skew[CLOCKS];          /* what the wall clock was ahead of it,
	                                * after each jump */
	uint8_t nskew;                 /* the one of now */
	bool started;                  /* clock is set */
	int64_t unknown_at;            /* connections before that: who knows */

	struct htab msgs, queues, sessions, sites, dests;
	TAILQ_HEAD(, ssite) all_sites;
	struct squeue *last_queue;     /* found last: mail comes in runs */
	struct squeues all_queues, resolving;
	TAILQ_HEAD(, sched_walk) walks;
	TAILQ_HEAD(, svmta) vmtas, active;
	uint32_t nvmtas;
	TAILQ_HEAD(, svpool) pools;
	TAILQ_HEAD(, swarmup) warmups;
	int64_t warmup_at;             /* warmups_turn() has something to do */
	TAILQ_HEAD(, sworker) workers;
	TAILQ_HEAD(, ssession) idle;
	struct sscope scope;
	struct slimit worker_limit;
	struct sgroup *last[SHARED_LIMITS][PRIORITY_MAX + 1]; /* of each
	                                * priority in their groups */
	struct timers timers;

	uint64_t count[SR_STATES], nrcpts;
	uint64_t nsessions, nconnecting;
	uint64_t delivered, deferred, failed, in_doubt;
	uint32_t give_ups_left;        /* in this run */
	uint32_t promotions_left;
	uint64_t finals;               /* counts, to see that give_up() did */

	struct soffs off_all, off_wide;/* disabled sources; for more than one
	                                * queue */
	uint32_t noff, noff_wide;
	uint64_t sources_gen;          /* counts what enables sources */
	struct squeues sourceless;     /* queues without any, */
	uint32_t nsourceless;
	uint32_t sources_wake;         /* so many of them are to look again */

	struct sdelays delays;
};

/* When m arrived, on s->clock. */
static inline int64_t
msg_arrived(const struct sched *s, const struct smsg *m)
{
	return m->arrival_us - s->skew[m->clock];
}

/* sched.c */
void sched_clock_advance(struct sched *s, struct sched_now now);
static inline int64_t
sched_mono(const struct sched *s)
{
	return s->now.mono.us;
}
/* A repeatable number in lo..hi from key. */
int64_t sched_jitter(const struct sched *s, uint64_t key, int64_t lo,
    int64_t hi);

/* sched_delay.c */
/* A message comes or goes. */
void delays_count(struct sched *s, const struct smsg *m, bool comes);
/* The queue has new settings. */
void delays_conf(struct sched *s, const struct squeue *q);
/* r leaves the queue's live list, and is still in it. */
void delays_leave(struct sched *s, const struct srcpt *r);
void delays_queue_gone(struct sched *s, const struct squeue *q);

/* sched_heap.c */
void timers_fini(struct timers *t);
/* due == NEVER clears it. False without memory (then it was not set). */
bool timer_set(struct timers *t, struct stimer *tm, int64_t due);
struct stimer *timers_first(const struct timers *t);
/* False without memory. */
bool retry_heap_push(struct squeue *q, struct srcpt *r);
void retry_heap_remove(struct squeue *q, struct srcpt *r);

/* sched_limit.c */
void rate_set(struct srate *r, const struct conf_rate *c, int64_t now);
bool rate_ok(const struct srate *r, int64_t now);
int64_t rate_next(const struct srate *r);
uint32_t rate_tokens(const struct srate *r, int64_t now);
/* n tokens are used at now. */
void rate_take(struct srate *r, int64_t now, uint32_t n);
/* n tokens come back. */
void rate_give(struct srate *r, uint32_t n);
void scope_init(struct sscope *sc, enum sched_wait conns,
    enum sched_wait connect_rate, enum sched_wait msg_rate);
void limit_init(struct slimit *l, enum limit_kind kind, enum sched_wait cause);
void limit_cap(struct sched *s, struct slimit *l, uint32_t cap);
void limit_rate(struct sched *s, struct slimit *l, const struct conf_rate *c);
/* c is in bytes. */
void limit_volume(struct sched *s, struct slimit *l,
    const struct conf_rate *c);
/* Would one more connection, or token, be too many for this queue? */
bool limit_blocks(struct sched *s, const struct slimit *l,
    const struct squeue *q);
/* There is none, whoever it may be granted to. */
bool limit_is_full(const struct sched *s, const struct slimit *l);
void limit_take(struct sched *s, struct slimit *l, struct squeue *q,
    uint32_t n);
void limit_release(struct sched *s, struct slimit *l);
void limit_wake(struct sched *s, struct slimit *l);
void queue_park(struct sched *s, struct squeue *q, struct slimit *l);
void queue_unpark(struct sched *s, struct squeue *q);
void queue_grant_end(struct sched *s, struct squeue *q);

/* sched_prio.c */
/* Into the list of its priority, or out of it. */
void ready_put(struct squeue *q, struct srcpt *r, bool at_head);
void ready_remove(struct squeue *q, struct srcpt *r);
/* At the end of all; the recipients may be gone. */
void levels_free(struct squeue *q);
/* The first level with a lower priority than that; NULL: none. */
struct slevel *level_below(const struct squeue *q, unsigned priority);
/* The group that q joins when it parks on l; as the first one in it. */
void group_join(struct sched *s, struct slimit *l, struct squeue *q,
    bool first);
void group_leave(struct sched *s, struct slimit *l, struct squeue *q);
/* It is behind those of the same priority now. */
void group_to_end(struct sched *s, struct slimit *l, struct sgroup *g);
/* Is another queue than q parked on l, of at least that priority? */
bool limit_is_wanted(const struct slimit *l, const struct squeue *q,
    unsigned priority);
/* Are there more that are parked on l with a higher priority than connections
 * that are about to be closed? */
bool limit_is_pressed(const struct slimit *l, unsigned priority);

/* sched_queue.c */
/* Waits between failures of the destination, of the mode. */
const struct conf_times *queue_retry_after(struct sched *s,
    struct squeue *q);
/* By its settings and its mode, without what a reply set for a time. */
void queue_usual_limits(const struct squeue *q, uint32_t *most,
    const struct conf_rate **rate);
void queue_limits_apply(struct sched *s, struct squeue *q);
/* smtp-out-rampup-interval */
struct conf_rate rampup_rate(const struct conf_domain *c);
/* The stricter one. */
const struct conf_rate *rate_lower(const struct conf_rate *a,
    const struct conf_rate *b);
/* sched_reply.c */
/* The line of the queue's list that acts on this reply, after it has acted on
 * the queue; what it does to the recipient is the caller's. source: of the
 * session that got it; NULL: not known. skipped: the host is left out now, the
 * next one is to be tried at once. */
const struct conf_reply *reply_act(struct sched *s, struct squeue *q,
    const struct sched_why *why, const struct route_addr *source,
    bool *skipped_r);
void reply_delivered(struct sched *s, struct squeue *q, struct sv reply,
    const struct route_addr *source);
/* The queue has no source address left. */
void react_sourceless(struct sched *s, struct squeue *q);
void react_conf(struct sched *s, struct squeue *q);
void react_limits(const struct squeue *q, uint32_t *most,
    const struct conf_rate **rate);
/* When react_turn() has something to do. */
int64_t react_next(const struct squeue *q);
void react_turn(struct sched *s, struct squeue *q);
/* Something is set that must not be forgotten. */
bool react_holds(const struct squeue *q);
void react_free(struct squeue *q);
struct squeue *queue_get(struct sched *s, struct sv domain, struct sv vmta);
/* NULL without memory. */
struct svmta *vmta_get(struct sched *s, struct sv name);
struct svmta *vmta_numbered(const struct sched *s, uint32_t number);
struct svpool *pool_get(struct sched *s, struct sv name);
void pools_conf(struct sched *s);
void pools_free(struct sched *s);
/* sched_info.c */
/* The queue is about to go. */
void walks_pass(struct sched *s, const struct squeue *q);
void walks_end(struct sched *s);
/* sched_bind.c */
/* The limit that it is parked on. */
void queue_limit_tell(const struct sched *s, const struct squeue *q,
    struct sched_queue_why *why);
/* sched_wait.c */
void waits_init(struct squeue *q, int64_t now);
void queue_wait_set(struct sched *s, struct squeue *q, enum sched_wait w);
void queue_arrived(struct sched *s, struct squeue *q, const struct smsg *m);
/* One look-up, connection or answer took so long. */
void queue_took(struct squeue *q, enum sched_time t, int64_t us);
/* sched_source.c */
bool source_is_off(const struct sched *s, const struct squeue *q,
    const struct route_addr *ip);
bool source_is_full(const struct squeue *q, const struct route_addr *ip);
/* WAIT_NOTHING, or why the queue can have none. */
enum sched_wait source_choose(struct sched *s, struct squeue *q,
    uint32_t *index_r);
/* The VMTA's addresses; at least one, which the system may choose. */
uint32_t sources_count(const struct squeue *q);
const struct route_addr *source_at(const struct squeue *q, uint32_t i);
bool addr_same(const struct route_addr *a, const struct route_addr *b);
void source_take(struct sched *s, struct squeue *q, struct ssession *se,
    uint32_t index);
void sourceless_set(struct sched *s, struct squeue *q, bool on);
void sources_changed(struct sched *s);
/* True if there is more to do at once. */
bool sources_wake(struct sched *s);
void source_timer(struct sched *s, struct stimer *t);
void source_react(struct sched *s, struct squeue *q,
    const struct conf_reply *rule, const struct route_addr *ip,
    struct sv reply);
void queue_sources_free(struct sched *s, struct squeue *q);
void sources_free(struct sched *s);
/* sched_pace.c */
/* The queue has new settings, or addresses. */
void pace_conf(struct sched *s, struct squeue *q);
/* Of its source number i. False without memory; NULL: it has no rates. */
bool pace_get(struct sched *s, struct squeue *q, uint32_t i,
    struct spacing **p_r);
/* WAIT_NOTHING, or why no session is to be opened from there now; then *due_r
 * is when it may, or NEVER. */
enum sched_wait pace_wait(struct sched *s, struct spacing *p, int64_t *due_r);
/* Takes the session aside if its address must send nothing now. */
bool pace_dries(struct sched *s, struct ssession *se);
void pace_opened(struct sched *s, struct ssession *se);
/* It no longer connects, or is about to close. */
void pace_connected(struct ssession *se);
void pace_closes(struct ssession *se);
void pace_ended(struct ssession *se);
void pace_take(struct sched *s, struct sdeliv *d);
/* Data volume that was not delivered. */
void pace_give(struct sched *s, const struct sdeliv *d);
void pace_timer(struct sched *s, struct stimer *t);
/* There was no memory for a timer. */
void pace_look_again(struct sched *s, struct squeue *q);
/* Closes an idle session that has to wait for long: another address could use
 * its place. */
void pace_reclaim(struct sched *s, struct squeue *q);
/* All of them. */
void pace_release_idle(struct sched *s, struct squeue *q);
/* Recovery: a try from there, or from who knows where (NULL). */
void pace_tried(struct sched *s, struct squeue *q,
    const struct route_addr *ip, int64_t at, uint32_t n, uint32_t kib);
/* Its rates remember something until then. */
int64_t pace_until(const struct squeue *q);
void paces_free(struct sched *s, struct squeue *q);
/* name: see struct sched_used. */
struct spacing *pace_named(struct sched *s, struct sv name);
void pace_until_set(struct sched *s, struct spacing *p, enum sched_rate rate,
    int64_t until);
/* The directive of the rate, and the cause that it is. */
enum sched_wait pace_cause(enum sched_rate rate);
const char *pace_setting(enum sched_rate rate);
/* The queue waits for these rates. */
void pace_tell(const struct squeue *q, struct sched_queue_why *why);
/* sched_dest.c */
uint64_t dest_hash(const void *entry);
void dests_free(struct sched *s);
void dests_conf(struct sched *s);
void dest_route_changed(struct squeue *q);
/* Around dest_wait() for each source: q waits for all that kept it from one, or
 * for nothing if it found one. */
void dest_choice_begin(struct squeue *q);
void dest_choice_end(struct squeue *q, bool found);
/* WAIT_NOTHING, or why the queue must not connect from there now;
 * WAIT_WORKERS: without memory that is not known. */
enum sched_wait dest_wait(struct sched *s, struct squeue *q, uint32_t source);
/* Takes its places; view says to what it may connect, with room for that in v.
 * False without memory. */
bool dest_opens(struct sched *s, struct squeue *q, struct ssession *se,
    struct sched_target *v, struct sched_session *view);
/* It is up there; "": not known. */
void dest_up(struct sched *s, struct ssession *se, struct sv host,
    struct sv ip);
void dest_ended(struct sched *s, struct ssession *se);
void dest_session_free(struct ssession *se);
bool dest_holds(const struct ssession *se, const struct sdest *d);
/* Another queue waits for a place that it has. */
bool dest_is_wanted(const struct ssession *se);
void dest_grant_end(struct sched *s, struct squeue *q);
void dest_turn_end(struct sched *s, struct squeue *q);
void dest_queue_free(struct sched *s, struct squeue *q);
/* The queue waits for such a limit. */
void dest_tell(const struct squeue *q, struct sched_queue_why *why);
uint32_t dest_rivals(const struct squeue *q, const struct squeue **v,
    uint32_t max);
void dests_tell(const struct sched *s, sched_limit_fn *fn, void *arg);
/* sched_adapt.c */
void adapt_conf(struct sched *s, struct squeue *q);
/* What the limits are now, for whom they are lower. */
void adapt_limits(const struct squeue *q, uint32_t *most,
    const struct conf_rate **rate);
/* A host refused a session, or a connection. */
void adapt_refused(struct sched *s, struct squeue *q, struct sv reply);
/* A recipient was delivered, or (bad) put off. */
void adapt_reply(struct sched *s, struct squeue *q, bool bad,
    struct sv reply);
/* When adapt_turn() has something to do. */
int64_t adapt_next(const struct squeue *q);
void adapt_turn(struct sched *s, struct squeue *q);
/* What was learned is kept until then, without mail as well. */
int64_t adapt_until(const struct squeue *q);
void adapt_state(const struct squeue *q, struct sched_queue_state *st_r);
void adapt_restore(struct sched *s, struct squeue *q,
    const struct sched_queue_state *st);
/* sched_ip.c */
/* NULL without memory. */
struct sip *ip_get(struct svmta *vm, const struct route_addr *ip);
void ips_conf(struct svmta *vm);
void ips_free(struct svmta *vm);
/* i may be NULL. */
void ip_count(const struct sched *s, struct sip *i, enum sched_ip_count c);
/* sched_site.c */
uint64_t site_hash(const void *entry);
void sites_free(struct sched *s);
void site_timer(struct sched *s, struct stimer *tm);
void site_leave(struct sched *s, struct squeue *q);
/* The queue has new settings. */
void site_conf(struct sched *s, struct squeue *q);
/* Made if it is not there; NULL without memory. */
struct ssite *site_named(struct sched *s, struct sv key, struct sv vmta);
/* Recovery: as used_set(). */
void site_until_set(struct sched *s, struct ssite *t, enum sched_rate rate,
    int64_t until);
/* sched_used.c */
struct srate *scope_rate(struct sscope *sc, enum sched_rate rate);
/* It is as good as new then (monotonic), or later. */
void used_set(const struct sched *s, struct srate *r, int64_t until);
void volume_take(const struct squeue *q, int64_t at, uint32_t kib);
/* No state can be worse than a period's allowance used just now. */
void used_bound(const struct sched *s, struct srate *r);
void connects_unknown(struct sched *s, struct squeue *q);
/* Frees it if it is empty and has been so for a while. */
bool queue_collect(struct sched *s, struct squeue *q);
void queue_free(struct sched *s, struct squeue *q);
void vmtas_free(struct sched *s);
const struct conf_domain *queue_conf(struct sched *s, struct squeue *q);
/* Its path, or where its settings come from, has changed. */
void queue_conf_again(struct sched *s, struct squeue *q);
void vmta_conf(struct sched *s, struct svmta *vm);
void queue_activate(struct sched *s, struct squeue *q);
void queue_deactivate(struct sched *s, struct squeue *q);
void queue_error_set(struct sched *s, struct squeue *q,
    const struct sched_why *why);
/* A failure of the destination: the queue waits. */
void queue_fail(struct sched *s, struct squeue *q,
    const struct conf_times *list, uint32_t *failures,
    const struct sched_why *why);
void ring_add(struct sring *g, int64_t now, int64_t slot_us);
uint64_t ring_sum(const struct sring *g, int64_t now, int64_t slot_us);

/* sched_rcpt.c */
void rcpt_add(struct sched *s, struct squeue *q, struct srcpt *r);
void rcpt_ready(struct sched *s, struct srcpt *r, bool at_head);
void rcpt_retry(struct sched *s, struct srcpt *r, int64_t due);
void rcpt_inflight(struct sched *s, struct srcpt *r, struct sdeliv *d);
void rcpt_aside(struct sched *s, struct srcpt *r, enum srcpt_state state);
void rcpt_hold(struct sched *s, struct srcpt *r, uint32_t order);
/* To another queue, in the state that it is in; not one in flight. */
void rcpt_move(struct sched *s, struct srcpt *r, struct squeue *to);
void rcpt_trash(struct sched *s, struct srcpt *r, uint32_t number);
void rcpt_untrash(struct sched *s, struct srcpt *r);
/* May free the message: true then. */
bool rcpt_done(struct sched *s, struct srcpt *r);
bool rcpt_final(struct sched *s, struct srcpt *r, bool bouncing);
void queue_sort(struct squeue *q);

/* sched_hint.c */
/* How long a reply asks us to wait, in microseconds; 0: it does not say. */
int64_t reply_hint(struct sv text);
/* The delay that is planned, or what the hint makes of it within the bounds of
 * c; tries: how often it failed in a row. */
int64_t hint_apply(struct sched *s, const struct conf_domain *c, int64_t hint,
    int64_t delay, uint32_t tries, uint64_t key);

/* sched_retry.c */
int64_t retry_delay(const struct sched *s, const struct conf_times *list,
    uint32_t n, uint64_t key);
int64_t retry_longest(const struct conf_times *list);
bool rcpt_expired(struct sched *s, const struct srcpt *r);
/* All three are true if there is more to do at once. */
bool retry_promote(struct sched *s, struct squeue *q);
bool queue_expire(struct sched *s, struct squeue *q);
bool queue_doom(struct sched *s, struct squeue *q);

/* sched_session.c */
/* source: see source_choose(). */
struct ssession *session_open(struct sched *s, struct squeue *q,
    uint32_t source);
void session_place(struct sched *s, struct ssession *se);
void session_close(struct sched *s, struct ssession *se);
/* Sessions from addresses that are disabled now get no more work. */
void sessions_sources_check(struct sched *s, struct squeue *q);
struct ssession *session_pick(struct sched *s, struct squeue *q);
bool session_hand(struct sched *s, struct squeue *q, struct ssession *se,
    uint32_t most, uint32_t *n_r);
void session_reclaim(struct sched *s, struct slimit *l);
void session_reclaim_dest(struct sched *s, const struct sdest *d);
void sessions_release_idle(struct sched *s, struct squeue *q);
void workers_free(struct sched *s);
void deliv_detach(struct sched *s, struct srcpt *r);
/* A recipient was refused in it, and, if skipped, it is with a host that is left
 * out now: it may take no more. */
void session_had_error(struct sched *s, struct ssession *se, bool skipped);
struct ssession *session_find(const struct sched *s, uint64_t id);
/* Back in line, or on hold if that was asked for meanwhile. */
void rcpt_come_back(struct sched *s, struct srcpt *r, bool at_head);

/* sched_dispatch.c */
/* Gives q what it may have now; the number of recipients sent. *again: it
 * could use another turn at once. */
uint32_t queue_turn(struct sched *s, struct squeue *q, bool *again);

/* sched_warmup.c */
void warmups_conf(struct sched *s);
void warmups_free(struct sched *s);
void warmups_turn(struct sched *s);
/* The first plan of the VMTA that is for the domain, or NULL. */
struct swarmup *warmup_of(const struct svmta *vm, struct sv domain);
void queue_warmup_set(struct squeue *q, struct swarmup *w);
void warmup_day_plan(struct swarmup *w);
/* Of today. */
void warmup_used(const struct swarmup *w, uint32_t *used_r,
    uint32_t *plan_r);
/* n recipients are handed out; w may be NULL. */
void warmup_taken(const struct sched *s, struct sdeliv *d, struct swarmup *w,
    uint32_t n);
/* One of its recipients has left it. */
void warmup_given_back(struct sched *s, const struct sdeliv *d);
/* Before the recipient leaves its delivery. */
void warmup_result(struct sched *s, const struct srcpt *r, enum outcome o);

/* sched_check.c: aborts with a message if anything is inconsistent. For
 * tests: it walks everything. */
void sched_check(const struct sched *s);

#endif
