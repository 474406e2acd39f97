/* SPDX-License-Identifier: ISC */
/*
 * sched: the scheduler of the queue manager as a pure library. It makes no
 * system call and reads no clock: events and the time go in, decisions come
 * out through struct sched_ops. It owns the in-memory queue: messages,
 * recipients, queues, sessions, limits. It knows nothing of IPC, files, or
 * addresses: a recipient is an index into the envelope on disk.
 *
 * A queue is `domain/vmta`. A queue that has ready recipients opens sessions
 * while every limit on its way lets it; when one does not, the queue parks on
 * that limit and is woken by it. Nothing ever walks all queues or all messages.
 *
 * Decisions are made in sched_run() only; inputs just record. Two callbacks
 * come from inputs: msg_done (whatever ends a recipient) and queue_deferred
 * (sched_session_end, sched_route). Callbacks must not call inputs back,
 * except where said.
 *
 * Memory: at most 160 bytes per queued single-recipient message, its hash slot
 * included.
 */
#ifndef QMGR_SCHED_H
#define QMGR_SCHED_H

#include "common/base/sv.h"
#include "common/base/timeval.h"
#include "common/mail/outcome.h"
#include "common/mail/priority.h"
#include "common/mail/route.h"

struct conf;
struct conf_domain;
struct sched;
struct conf_warmup;
struct smsg;    /* a queued message with its recipients */
struct squeue;
struct swarmup; /* a plan of a VMTA, see doc/scheduler.md */
struct sched_warmup_day;

struct sched_now {
	struct mono mono; /* for intervals, rates, deadlines in this process */
	struct wall wall; /* for what must survive a restart */
};

/* What a message needs to be found again. */
struct sched_msg {
	uint64_t id, segment, offset, length, large_id, body_len;
	int64_t arrival_us;   /* wall clock */
	uint64_t dsn_for;     /* not 0: a DSN */
	uint64_t tell;        /* OR of enum sched_tell */
};

/* What one of its recipients wants its sender to hear of a delay. */
enum sched_tell {
	TELL_ASKED = 1,   /* NOTIFY=DELAY */
	TELL_UNASKED = 2, /* no NOTIFY: up to notify-of-delay-unasked */
};

enum srcpt_state {
	SR_READY,      /* in its queue's ready list */
	SR_RETRY,      /* waits for next_us */
	SR_INFLIGHT,   /* held by a session, or by a worker after a restart */
	SR_HELD,       /* on hold by an operator */
	SR_BOUNCING,   /* outcome final, DSN not made yet */
	SR_TRASHED,    /* deleted, and may come back */
	SR_DONE,
	SR_STATES
};

/* Why a queue does not deliver more right now. Time spent is integrated. */
enum sched_wait {
	WAIT_NOTHING,     /* no mail due */
	WAIT_PAUSED,
	WAIT_RETRY,       /* queue-level retry after a failure */
	WAIT_DNS,
	WAIT_CONNECTING,
	WAIT_REMOTE,      /* all windows full: the remote's latency */
	WAIT_CONN_QUEUE,  /* max-smtp-out of the queue */
	WAIT_CONN_VMTA,
	WAIT_CONN_GLOBAL,
	WAIT_CONN_RATE,   /* max-connect-rate */
	WAIT_MSG_RATE,    /* max-msg-rate of the queue */
	WAIT_VMTA_RATE,
	WAIT_WORKERS,     /* no delivery process */
	WAIT_CONN_POOL,
	WAIT_POOL_RATE,   /* messages of the pool */
	WAIT_VOLUME,      /* data volume, of whichever scope */
	WAIT_WARMUP,      /* the day's plan, or its pace */
	WAIT_SOURCES,     /* all source addresses are disabled */
	WAIT_CONN_SOURCE, /* source-ip-max-smtp-out of those that are not */
	WAIT_CONN_SITE,   /* max-smtp-out of all domains with these hosts */
	WAIT_SITE_RATE,   /* their messages */
	WAIT_CONN_HOST,   /* mx-connection-limit */
	WAIT_CONN_NET,    /* ip-connection-limit */
	WAIT_CONN_RELAY,  /* max-conn-per-relay */
	WAIT_SOURCE_RATE, /* source-ip-max-msg-rate of those with room */
	SCHED_WAITS
};

/* An address of the route. */
struct sched_target {
	uint8_t host, addr;
};

struct sched_session {
	uint64_t id;
	unsigned worker;
	const struct squeue *queue;
	const struct conf_domain *conf; /* effective settings */
	struct sv domain, vmta;
	uint32_t window;                /* messages that may be outstanding */
	uint32_t source;                /* index of its smtp-source-host */
	const struct sched_target *targets; /* in session_open(): to none else
	                                 * may it connect; NULL: to all */
	uint32_t ntargets;
};

/* A source address that is disabled. */
struct sched_source {
	struct sv domain, vmta;  /* "*": any */
	struct route_addr ip;    /* family 0: the one that the system chooses */
	int64_t until_us;        /* wall clock; 0: until it is enabled */
	int64_t since_us;        /* wall clock */
	struct sv reason, who;
};

struct sched_why {       /* of a failure, for logs and DSNs */
	struct sv status;    /* "4.4.1" */
	struct sv diag;
	struct sv host, host_ip, source_ip;
	bool said;           /* diag is what a host said */
};

enum sched_warmup_event {
	WARMUP_DAY,       /* a new day of the plan */
	WARMUP_HELD,      /* too many deferrals: tomorrow as today */
	WARMUP_STEP_BACK, /* too many deferrals: as yesterday */
	WARMUP_OVER       /* it limits nothing any more */
};

/* Decisions. */
struct sched_ops {
	/* Look up where domain's mail goes; answer with sched_route(). */
	void (*resolve)(void *arg, struct squeue *q, struct sv domain,
	    struct sv vmta, const struct conf_domain *conf);
	/* Where the queue's mail goes, as it was found last; valid until the
	 * next call. NULL: not known, then what limits hosts and networks does
	 * not hold. *relay_r: by smtp-hosts. May be NULL. */
	const struct route *(*route)(void *arg, const struct squeue *q,
	    bool *relay_r);
	/* Open a session; answer sched_session_up() / _end(). */
	void (*session_open)(void *arg, const struct sched_session *se);
	/* Deliver msg to these recipients in the session; each is answered
	 * by sched_result(), or given back by sched_session_end(). */
	void (*deliver)(void *arg, const struct sched_session *se,
	    const struct smsg *msg, const uint32_t *idx, uint32_t n);
	/* No more work for it. */
	void (*session_close)(void *arg, uint64_t session, unsigned worker);
	/* This recipient is over without an attempt: expired, no such domain,
	 * too many tries. The callee logs it and calls sched_final(). */
	void (*give_up)(void *arg, struct smsg *msg, uint32_t idx,
	    const struct sched_why *why);
	/* The queue waits until next (logged as a tq record). */
	void (*queue_deferred)(void *arg, const struct squeue *q,
	    struct wall next, uint32_t failures, const struct sched_why *why);
	/* A reply, or time, changed the mode or the limits of a queue: what
	 * sched_queue_state() tells is to be kept. rule is NULL if none did.
	 * May be NULL. */
	void (*queue_changed)(void *arg, const struct squeue *q,
	    const char *what, const struct conf_reply *rule, struct sv reply);
	/* A reply says that this host is not to be used for the queue until
	 * its route is looked up again. False if there is no other: then it is
	 * as without that. May be NULL. */
	bool (*mx_skipped)(void *arg, const struct squeue *q, struct sv host,
	    const struct conf_reply *rule, struct sv reply);
	/* The last recipient is done. The message is freed on return. */
	void (*msg_done)(void *arg, const struct smsg *msg);
	/* The queue was empty for a while (or the scheduler ends) and is freed
	 * on return: whoever keeps something for it lets go. May be NULL. */
	void (*queue_gone)(void *arg, struct squeue *q);
	/* Where a warmup stands: day is to be kept, but for WARMUP_OVER. Comes
	 * from sched_run(), sched_result() and sched_warmup_full(). May be
	 * NULL. */
	void (*warmup_changed)(void *arg, const struct swarmup *w,
	    enum sched_warmup_event what, const struct sched_warmup_day *day);
	/* A reply has disabled a source address of a queue, which is to be
	 * kept: sched_source_disable() at the next start. May be NULL. */
	void (*source_disabled)(void *arg, const struct sched_source *so,
	    const struct conf_reply *rule);
};

/* seed makes jitter and shuffles repeatable. conf is the caller's, may be
 * exchanged by sched_conf_set(). Aborts without memory at creation. */
struct sched *sched_new(const struct sched_ops *ops, void *arg,
    const struct conf *conf, uint64_t seed);
void sched_free(struct sched **s);
/* New settings for all queues; sessions under way keep the old ones. */
void sched_conf_set(struct sched *s, struct sched_now now,
    const struct conf *conf);

/* ---- messages ---- */

/* So many messages are about to be added, to an empty scheduler. False
 * without memory. */
bool sched_reserve(struct sched *s, uint64_t messages);
/* A new message, all recipients ready at once; one domain for each. NULL
 * without memory, or if the id is known already. */
struct smsg *sched_msg_add(struct sched *s, struct sched_now now,
    const struct sched_msg *m, struct sv vmta, const struct sv *domains,
    uint32_t n);
struct smsg *sched_msg_find(const struct sched *s, uint64_t id);
uint32_t smsg_nrcpts(const struct smsg *m);
void smsg_info(const struct smsg *m, struct sched_msg *info_r);
/* The first recipient that is not done. */
uint32_t smsg_first_open(const struct smsg *m);
enum srcpt_state smsg_rcpt_state(const struct smsg *m, uint32_t idx);
/* On hold, or will be when what is under way comes back. */
bool smsg_rcpt_is_held(const struct smsg *m, uint32_t idx);
uint32_t smsg_rcpt_attempts(const struct smsg *m, uint32_t idx);
int64_t smsg_rcpt_next_us(const struct smsg *m, uint32_t idx);
/* By which order it is on hold; 0: ours, or it is not. */
uint32_t smsg_rcpt_order(const struct smsg *m, uint32_t idx);
/* By which deletion it is in the trash; 0: it is not. */
uint32_t smsg_rcpt_deletion(const struct smsg *m, uint32_t idx);
/* What it was before: SR_READY, SR_RETRY with *next_us_r, or SR_HELD with
 * *order_r. Of one that is in the trash. */
enum srcpt_state smsg_rcpt_before(const struct smsg *m, uint32_t idx,
    int64_t *next_us_r, uint32_t *order_r);
unsigned smsg_rcpt_priority(const struct smsg *m, uint32_t idx);
/* NULL when the recipient is done: ask before the result. */
const struct squeue *smsg_rcpt_queue(const struct smsg *m, uint32_t idx);
/* Its record stands somewhere else now. */
void sched_msg_moved(struct sched *s, struct smsg *m, uint64_t segment,
    uint64_t offset, uint64_t length);
/* Recovery: what a recipient was before the restart. May end the message
 * (msg_done is called and the message gone, like in sched_final). */
void sched_rcpt_restore(struct sched *s, struct sched_now now, struct smsg *m,
    uint32_t idx, enum srcpt_state state, uint32_t attempts, int64_t next_us);
/* A worker still has it (RESYNC after a restart of qmgr): not to be
 * dispatched until sched_result() or sched_worker_remove(). False without
 * memory: then it may be dispatched, and arrive twice. */
bool sched_rcpt_held_by(struct sched *s, struct smsg *m, uint32_t idx,
    unsigned worker);
/*
 * What a rate has used up: it is as good as new at until_us (wall clock).
 * queue is "domain/vmta", "/vmta" for a rate of a VMTA, "//pool" of a pool,
 * "=KEY/vmta" of a site, "@IP=domain/vmta" of a queue from that source address
 * ("system": the system chooses it).
 */
enum sched_rate { RATE_MSGS, RATE_CONNECTS, RATE_VOLUME, SCHED_RATES };
struct sched_used {
	struct sv queue;
	enum sched_rate rate;
	int64_t until_us;
};
typedef int sched_used_fn(void *arg, const struct sched_used *u);
/* All rates that have something used up (fast ones: for a second or more);
 * stops at what is not 0. */
int sched_used_each(const struct sched *s, sched_used_fn *fn, void *arg);
/* Recovery: back to that. Creates the queue. */
void sched_used_restore(struct sched *s, struct sched_now now,
    const struct sched_used *u);
/* Recovery: this recipient was tried at at_us (wall clock), which counts for
 * the rates; volume_kib as in the decision; source: from where, NULL if that
 * is not known. Before its new state is restored. */
void sched_rcpt_tried(struct sched *s, struct sched_now now, struct smsg *m,
    uint32_t idx, int64_t at_us, uint32_t volume_kib,
    const struct route_addr *source);
/* Recovery after a crash: connections may have been opened just before, so
 * each rate of connections begins with a pause of one interval. */
void sched_connects_unknown(struct sched *s, struct sched_now now);
/* Walks all messages; start with *at = 0. No changes during the walk. */
struct smsg *sched_msg_next(const struct sched *s, size_t *at);

/* ---- routes, sessions, results ---- */

/* The answer to resolve(): until is how long it holds. Failures other than
 * temporary make the queue's recipients give_up()s in slices. */
void sched_route(struct sched *s, struct sched_now now, struct squeue *q,
    enum route_status status, int64_t ttl_ms, const struct sched_why *why);
/*
 * Queues of a VMTA with the same key are a site: their mail goes to the same
 * hosts, and they share their limits, the highest that one of them has. If
 * rollup, key is a name as in conf_rolled_find(). "": no site. To be
 * called before sched_route(), each time. Without memory there is none.
 */
void sched_site(struct sched *s, struct sched_now now, struct squeue *q,
    struct sv key, bool rollup);
/* False without memory. */
bool sched_worker_add(struct sched *s, unsigned worker);
/* Its sessions are gone; what they held is ready again. In-doubt ones must
 * have had their sched_result() before. */
void sched_worker_remove(struct sched *s, struct sched_now now,
    unsigned worker);
/* One of the recipients that are in flight with it; false if there is none. */
bool sched_worker_rcpt(struct sched *s, unsigned worker, struct smsg **m_r,
    uint32_t *idx_r);
/* It is up, with this host at this address; "": not known. */
void sched_session_up(struct sched *s, struct sched_now now, uint64_t session,
    struct sv host, struct sv host_ip);
/* It takes no more, what it has is ready again. It counts for its limits until
 * its end. */
void sched_session_quits(struct sched *s, struct sched_now now,
    uint64_t session);
void sched_session_end(struct sched *s, struct sched_now now, uint64_t session,
    enum session_end end, uint16_t code, const struct sched_why *why);

struct sched_result {
	enum outcome outcome;
	uint16_t code;
	struct sv status, text;
	struct sv host, host_ip; /* that said it, or "" */
	bool dsn_on_failure;  /* a failure is to be reported: bounce does it */
	bool dsn_on_success;
	bool keep;            /* never the end of it: nobody could be told */
};

struct sched_decision {
	uint8_t action;       /* enum ev_action: delivered, deferred, failed */
	int64_t next_us;      /* wall clock of the next try, if deferred */
	uint32_t attempts;    /* including this one */
	uint32_t volume_kib;  /* counted for rates of data volume; 0 if another
	                       * recipient of the transaction was */
	bool bouncing;        /* waits for its DSN now */
	bool expired;         /* failed because of lifetime or tries */
	bool hardened;        /* failed because a pattern says so: 4.x.x is
	                       * to be told as 5.x.x */
};

/*
 * The outcome of one recipient of a DELIVER. Unknown sessions are fine (the
 * result of a worker that outlived a qmgr); session 0 is for what the caller
 * knows without a session (intents of a dead worker). OUT_UNTRIED gives false:
 * nothing to log, the recipient is first in line again. May end the message.
 * Answers with what is to be logged. False if that recipient is over already.
 */
bool sched_result(struct sched *s, struct sched_now now, uint64_t session,
    struct smsg *m, uint32_t idx, const struct sched_result *res,
    struct sched_decision *d_r);
/* All recipients of one DELIVER have had their result: the session's window
 * opens by one. */
void sched_deliver_done(struct sched *s, struct sched_now now,
    uint64_t session, uint64_t id);
/* From give_up(), after a DSN, or by an operator: bouncing or done. May end
 * the message. */
void sched_final(struct sched *s, struct sched_now now, struct smsg *m,
    uint32_t idx, enum srcpt_state bouncing_or_done);

/* ---- time ---- */

/* Does all that is due and makes all decisions. Bounded work per call: true
 * if there is more to do at once. */
bool sched_run(struct sched *s, struct sched_now now);
/* When sched_run() is to be called next if nothing happens; INT64_MAX us:
 * never. */
struct mono sched_next(const struct sched *s);

/* ---- delays that senders are told of ---- */

/* Messages of which somebody may want to hear. */
uint64_t sched_delays_count(const struct sched *s);
/* The shortest notify-of-delay-every of a queue; 0: none has one. */
int64_t sched_delays_every_ms(const struct sched *s);
/* When the last walk that came to its end began (wall clock); 0: none did. */
int64_t sched_delays_since_us(const struct sched *s);
/* Recovery: back to that. */
void sched_delays_restore(struct sched *s, struct sched_now now,
    int64_t since_us);
/* A walk over all that wait for their delivery; one that is not at its end is
 * given up. Anything may change while it goes on. */
void sched_delays_begin(struct sched *s, struct sched_now now);
enum sched_delays {
	DELAYS_MORE,      /* nothing in this piece of it */
	DELAYS_ONE,
	DELAYS_END,
};
/*
 * The next recipient with a multiple of its notify-of-delay-every between the
 * beginning of the last walk and that of this one, whose message wants to tell
 * (smsg_info). Looks at a bounded number. One that is put on hold, moved or the
 * like just then may be left out or come twice.
 */
enum sched_delays sched_delays_next(struct sched *s, struct sched_now now,
    struct smsg **m_r, uint32_t *idx_r);

/* ---- the operator ---- */

struct sched_queue_info {
	struct sv name, domain, vmta;        /* views that live as the queue */
	struct sv site;                      /* "" if it is in none */
	uint32_t nready, nretry, ninflight, nheld, nbouncing;
	uint32_t nsessions, nconnecting;
	uint64_t kb;
	bool paused, backoff;
	int64_t retry_us;                    /* wall; 0 if not in retry */
	int64_t oldest_us;                  /* arrival of the oldest, wall; 0 */
	int64_t oldest_live_us;             /* not on hold, not bouncing */
	enum sched_wait wait;
	uint64_t wait_ms[SCHED_WAITS];       /* integrated */
	uint64_t delivered, deferred, failed;/* since start, attempts */
	double rate_1m, rate_1h;             /* delivered per minute / hour */
	struct sv last_error;                /* "" if none */
	int64_t last_error_us;
};

enum sched_window { WINDOW_1M, WINDOW_10M, WINDOW_1H, SCHED_WINDOWS };

/* What takes time outside, as a mean of the last dozen or so. */
enum sched_time { TIME_DNS, TIME_CONNECT, TIME_ANSWER, SCHED_TIMES };

/* Why a queue does not move. Times are wall clock; 0: not known. */
struct sched_queue_why {
	enum sched_wait wait;
	int64_t since_us;
	float share[SCHED_WINDOWS][SCHED_WAITS]; /* of the time; sum is 1 */
	int64_t next_us;           /* when it moves, or the first of those
	                            * that are parked with it */
	double arrived_per_hour, delivered_per_hour;  /* recipients, */
	double deferred_per_hour, failed_per_hour;    /* attempts, */
	int64_t seen_ms;           /* of this time, at most an hour */
	double took_ms[SCHED_TIMES]; /* 0: not known */
	/* the limit that it is parked on */
	bool limited;
	struct sv scope;           /* "domain/vmta", "/vmta", "//pool", "" */
	const struct route_addr *source; /* the limit is for this address alone;
	                            * NULL: it is not */
	const char *dest_kind;     /* "host", "network", "relay": the limit is
	                            * for dest; else NULL */
	struct sv dest;
	const char *setting;       /* directive; NULL: a reply has set it */
	uint32_t used, cap;        /* connections, or recipients of a warmup's
	                            * day, or */
	double per_hour;           /* what the rate allows; KiB of volume */
	uint32_t nparked;
	unsigned priority;         /* of the queue */
	struct sv ahead;           /* one of a higher priority that waits for
	                            * the same, or "" */
	unsigned ahead_priority;
};
void sched_queue_why(const struct sched *s, struct sched_now now,
    const struct squeue *q, struct sched_queue_why *why_r);
/* Other queues that are parked on the same limit, at most max of them; how
 * many. */
uint32_t sched_queue_rivals(const struct squeue *q, const struct squeue **v,
    uint32_t max);

/* A limit that is in force. */
struct sched_limit {
	struct sv scope;           /* as in struct sched_queue_why, or
	                            * "=KEY/vmta": a site */
	struct sv vmta;            /* of a warmup */
	const struct route_addr *source; /* as above */
	const char *dest_kind;     /* as above */
	struct sv dest;
	const char *setting;       /* as above */
	uint32_t used, cap;        /* as above, */
	double per_hour;           /* but a warmup has all three */
	int64_t next_us;           /* a rate that is used up: until then */
	uint32_t nparked;
};
typedef void sched_limit_fn(void *arg, const struct sched_limit *l);
/* Those of the queue itself, or of its site. */
void sched_queue_limits(const struct sched *s, struct sched_now now,
    const struct squeue *q, bool site, sched_limit_fn *fn, void *arg);
/* The queue before it in its site; NULL: it is the first, or in none. */
const struct squeue *sched_site_prev(const struct squeue *q);
/* Those of all, of pools, VMTAs and warmups: few. */
void sched_shared_limits(const struct sched *s, struct sched_now now,
    sched_limit_fn *fn, void *arg);

/* Names of a queue; they live as long as it does. "" for NULL. */
/* Recipients in it that are not done. */
uint64_t squeue_rcpts(const struct squeue *q);
struct sv squeue_name(const struct squeue *q);
struct sv squeue_domain(const struct squeue *q);
/* The name that it is rolled up under, "" if it is not. */
struct sv squeue_rollup(const struct squeue *q);
struct sv squeue_vmta(const struct squeue *q);
/* Its effective settings. */
const struct conf_domain *squeue_conf(const struct squeue *q);
struct sched_error {
	int64_t at_us;                       /* wall clock */
	struct sv status, text;              /* until the next one */
	struct sv host, host_ip;             /* that said it, or "" */
};
/* Its last error; false if there was none. */
bool squeue_error(const struct squeue *q, struct sched_error *e_r);

struct sched_totals {
	uint64_t queues, messages, rcpts;
	uint64_t ready, retry, inflight, held, bouncing;
	uint64_t sessions, connecting;
	uint64_t delivered, deferred, failed, in_doubt;
};

/* What queues are sorted by, for less than sched_queue_info() costs. */
enum sched_figure {
	FIGURE_RCPTS,    /* not done */
	FIGURE_BYTES,    /* of their messages */
	FIGURE_AGE,      /* of the oldest of them, in us */
	FIGURE_RATE,     /* delivered in the last minute */
	FIGURE_SESSIONS
};
uint64_t sched_queue_figure(const struct squeue *q, struct sched_now now,
    enum sched_figure f);
/* Walks queues that hold recipients or state; *at starts at 0. */
struct squeue *sched_queue_next(const struct sched *s, size_t *at);
/*
 * A walk between whose steps anything may happen: a queue that is there from
 * its beginning to its end comes once. NULL without memory; NULL at the end.
 */
struct sched_walk;
struct sched_walk *sched_walk_new(struct sched *s);
struct squeue *sched_walk_next(struct sched_walk *w);
void sched_walk_free(struct sched_walk **w);
/* Something of the caller's that goes with the queue (its route, say). */
void *sched_queue_user(const struct squeue *q);
void sched_queue_user_set(struct squeue *q, void *user);
struct squeue *sched_queue_find(const struct sched *s, struct sv domain,
    struct sv vmta);
void sched_queue_info(const struct sched *s, struct sched_now now,
    const struct squeue *q, struct sched_queue_info *info_r);
/* Walks the recipients of a queue in order of arrival; *at NULL to start;
 * false at the end. No changes during the walk. */
bool sched_queue_rcpt_next(struct squeue *q, const void **at,
    const struct smsg **msg_r, uint32_t *idx_r);
void sched_totals(const struct sched *s, struct sched_totals *t_r);
/* Delivered, deferred, failed, in doubt: from 0. Those of queues go on. */
void sched_totals_reset(struct sched *s);
const char *sched_wait_name(enum sched_wait w);

/* What of a queue outlives a restart. */
struct sched_queue_state {
	bool paused, backoff;
	int64_t backoff_until_us;     /* wall; 0: until something ends it */
	uint32_t max_out;             /* set for a time, if step is not 0 */
	int64_t max_out_until_us, max_out_step_us;
	struct conf_rate max_rate;
	int64_t max_rate_until_us, max_rate_step_us;
	uint32_t adapt_conns;         /* learned; 0: nothing was */
	struct conf_rate adapt_rate;
};
void sched_queue_state(const struct squeue *q,
    struct sched_queue_state *st_r);
/* Creates the queue if there is something to keep (a pause may come before the
 * mail). Mode backoff has limits and waits of its own (backoff-...). False
 * without memory, or if there can be no such queue. */
bool sched_queue_state_set(struct sched *s, struct sched_now now,
    struct sv domain, struct sv vmta, const struct sched_queue_state *st);
/* Ends queue-level retry; with rcpts, also the recipients' retries. */
void sched_queue_schedule(struct sched *s, struct sched_now now,
    struct squeue *q, bool rcpts);
/* order is kept with it while it is on hold. One that is in flight goes on
 * hold when it comes back. */
void sched_rcpt_hold(struct sched *s, struct sched_now now, struct smsg *m,
    uint32_t idx, bool hold, uint32_t order);
/*
 * No new session of these queues is opened from that address; those that are
 * open end with what they have under way. A queue that has no other address
 * waits. What was said before of the same queues is replaced. Creates the
 * queue if it is one. False without memory, or if there are too many.
 */
bool sched_source_disable(struct sched *s, struct sched_now now,
    const struct sched_source *so);
/* Ends all that was disabled for these queues, not what is for more than them;
 * the number of those. */
uint32_t sched_source_enable(struct sched *s, struct sched_now now,
    struct sv domain, struct sv vmta, const struct route_addr *ip);
/* Walks what is disabled; *at is NULL to start; false at the end. */
bool sched_source_next(const struct sched *s, const void **at,
    struct sched_source *so_r);
/* A source address of a VMTA that has had queues. */
enum sched_ip_count {
	IP_OPENED,          /* connections, */
	IP_CONNECT_FAILED,  /* of which no session came */
	IP_DELIVERED,       /* recipients, */
	IP_DEFERRED,        /* attempts */
	IP_FAILED,
	IP_COUNTS
};
struct sched_ip {
	struct sv vmta;
	struct route_addr ip;        /* family 0: the system chooses */
	bool configured;
	uint32_t sessions;
	uint64_t count[IP_COUNTS];   /* within an hour */
	bool disabled;               /* for all domains, */
	int64_t until_us;            /* wall clock; 0: until it is enabled */
	uint32_t disabled_for;       /* so many queues, or whole domains */
};
/* Walks, those of a VMTA behind each other; *at is NULL to start; false at the
 * end. */
bool sched_ip_next(const struct sched *s, struct sched_now now,
    const void **at, struct sched_ip *ip_r);
/*
 * To the same domain's queue of another VMTA: its attempts, its times, its hold
 * stay. One that is in flight is moved when it comes back. False without
 * memory, or if it is over.
 */
bool sched_rcpt_move(struct sched *s, struct sched_now now, struct smsg *m,
    uint32_t idx, struct sv vmta);
/* The VMTA that it is with, or will be when it comes back; "": it is done. */
struct sv smsg_rcpt_vmta(const struct smsg *m, uint32_t idx);
/* Ready ones of a higher priority go before those of a lower one; it comes
 * behind those that have this one already. PRIORITY_DEFAULT when it is added;
 * more than PRIORITY_MAX is that. */
void sched_rcpt_prioritize(struct sched *s, struct sched_now now,
    struct smsg *m, uint32_t idx, unsigned priority);
/* Into the trash: neither delivered nor counted, it does not expire, and is
 * there. False for one that is in flight, bouncing or done. number is not 0. */
bool sched_rcpt_trash(struct sched *s, struct sched_now now, struct smsg *m,
    uint32_t idx, uint32_t number);
/* Back to what it was. False for one that is not in the trash. */
bool sched_rcpt_untrash(struct sched *s, struct sched_now now, struct smsg *m,
    uint32_t idx);
/* The resolver died: every queue that waits for it asks again. */
void sched_routes_forget(struct sched *s);

/* ---- warmup ---- */

/* A day of a plan in one VMTA. Days count from 1970-01-01, in the time zone of
 * the plan. */
struct sched_warmup_day {
	struct sv name, vmta;      /* views that live as the scheduler */
	int32_t day;
	uint32_t plan;
	uint32_t done;             /* delivered, or in doubt */
	uint32_t inflight;
	bool held, stepped;        /* on this day */
	int32_t start;             /* first day of the plan, */
	uint32_t behind;           /* and how much later it is by now */
	int64_t last_us;           /* when the plan's last one was delivered,
	                            * wall clock; 0: none was */
};
typedef int sched_warmup_fn(void *arg, const struct sched_warmup_day *d);
/* All days that are known of all plans; stops at what is not 0. */
int sched_warmup_each(const struct sched *s, sched_warmup_fn *fn, void *arg);
/* Recovery, in the order of the days: back to that. */
void sched_warmup_restore(struct sched *s, struct sched_now now,
    const struct sched_warmup_day *d);
/* Recovery: a recipient of that queue was delivered then (wall clock), or may
 * have been. */
void sched_warmup_tried(struct sched *s, struct sched_now now,
    struct sv domain, struct sv vmta, int64_t at_us);
/* The plan in which n more recipients in this queue are more than what is left
 * of the day; NULL if there is none. */
const struct conf_warmup *sched_warmup_full(struct sched *s,
    struct sched_now now, struct sv vmta, struct sv domain, uint32_t n);

struct sched_warmup {
	struct sv name, vmta;
	const struct conf_warmup *conf;   /* NULL: no longer configured */
	int32_t today;             /* 0: not known yet */
	int64_t index;             /* of today in the plan; may be outside */
	bool over;                 /* limits nothing */
	int32_t first, last;       /* days that there is something to say of */
	uint64_t queued;           /* recipients */
	uint64_t replies, deferrals;      /* of the last hour, to recipients */
	double per_hour;           /* delivered, by the last hour */
	int64_t left_us;           /* of today */
};
/* Walks; NULL to start, NULL at the end. */
const struct swarmup *sched_warmup_next(const struct sched *s,
    const struct swarmup *w);
/* NULL if there is none. */
const struct swarmup *sched_warmup_find(const struct sched *s, struct sv name,
    struct sv vmta);
void sched_warmup(const struct sched *s, struct sched_now now,
    const struct swarmup *w, struct sched_warmup *i_r);
/* False if nothing is planned for that day. */
bool sched_warmup_day(const struct sched *s, const struct swarmup *w,
    int32_t day, struct sched_warmup_day *d_r);

#endif
