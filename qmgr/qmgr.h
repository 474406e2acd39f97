/* SPDX-License-Identifier: ISC */
/*
 * qmgr: the thin I/O around the pure scheduler: frames and spool records in,
 * scheduler inputs out, and the other way round. One file for each activity:
 *
 *	main.c      the role: start, stop, configuration, peers
 *	recover.c   spool to scheduler at start
 *	intake.c    COMMIT from the writers, their segments, what they left
 *	deliver.c   the scheduler's decisions to the delivery workers
 *	outcome.c   RESULTs and what is logged of them
 *	worker.c    delivery workers: intent files, RESYNC, death
 *	routes.c    RESOLVE and ROUTE
 *	readers.c   acct and bounce: LOG_AT, READER_AT, BOUNCE_TAKE
 *	journal.c   event log: append, write, sync in a thread, checkpoints
 *	trash.c     what was deleted and may come back
 *	delays.c    senders hear of what waits long
 *	suspects.c  what processes crash on
 *	children.c  how the processes fare
 *	trace.c     sessions that an operator looks on at
 *	warmup.c    plans for new addresses
 *	cold.c      the same as PowerMTA has it
 *	upkeep.c    free space, compaction, recycling
 *	control.c   the operator's commands
 *
 * Order that matters: an event is handed to write() before any frame that
 * tells of it leaves, because frames leave at the end of the turn and
 * qmgr_turn_end() comes before that.
 */
#ifndef QMGR_QMGR_H
#define QMGR_QMGR_H

#include "common/base/arena.h"
#include "common/base/htab.h"
#include "common/conf/conf.h"
#include "common/ipc/role.h"
#include "common/mail/envelope.h"
#include "common/mail/route.h"
#include "common/spool/checkpoint.h"
#include "common/spool/event.h"
#include "common/spool/evlog.h"
#include "common/spool/intent.h"
#include "common/spool/poison.h"
#include "common/spool/recover.h"
#include "common/spool/segment.h"
#include "common/spool/segtab.h"
#include "common/spool/skipped.h"
#include "common/spool/sio.h"
#include "qmgr/sched.h"

#define WORKERS_MAX     64
#define WRITERS_MAX     66      /* smtpd processes, pickup and bounce */
#define WRITER_CREDITS  4096u   /* COMMITs that may be under way */
#define INTENT_SLOTS    16384u  /* 2 MiB per worker */
#define SYNC_EVERY_MS   10      /* bound of what a power cut may repeat */
#define RESYNC_WAIT_MS  10000   /* for workers that outlived a qmgr */
#define CHILDREN_SHOWN  256     /* CHILDREN_MAX of the master */
#define ENV_ARENA_MAX   (64u << 20)

/* A process that writes segments. */
struct writer {
	struct qmgr *q;
	struct chan *chan;          /* NULL: not there */
	enum ipc_role role;
	unsigned index;
	uint32_t owed;              /* credits to be given back */
	bool wants;                 /* a SEG_WANT that could not be met */
};

/* A process that reads segments. */
struct reader {
	struct chan *chan;
	uint64_t *open;             /* segments it has, sorted */
	size_t nopen, open_size;
};

struct worker {
	struct qmgr *q;
	struct reader reader;
	unsigned index;
	uint64_t intent;            /* number of its intent file */
	char intent_path[SIO_PATH_MAX];
	struct sio_file *intent_file; /* open: descriptors may be short */
	uint64_t acked;             /* highest seq recorded */
	bool ack_due;
	bool resynced;              /* told what it has, or is gone */
	bool told;                  /* this very process has told it */
	uint64_t suspect;           /* it died at this message; how, is not
	                             * known yet. 0: none */
	uint8_t ended;              /* enum ipc_ended, once it is known */
	char ended_why[POISON_TEXT];
	bool wants_intent;          /* its file could not be made */
};

struct tail_reader {                /* acct, bounce, pickup */
	struct chan *chan;
	struct evlog_pos at;        /* it is done with all before this */
	struct mono moved;          /* when it did something last, came, or
	                             * had nothing to do */
	bool known;
};

/* A process, as the master tells. */
struct child_state {
	uint32_t role, index, pid;
	uint32_t restarts, crashes, delay_ms;
	int64_t ended_us;
	bool ready;
	char reason[POISON_TEXT];
};

/* The scheduler gives queues their new settings in slices, so what was
 * replaced stays for a while. */
struct old_conf {
	struct old_conf *next;
	struct conf *conf;
	struct mono replaced;
};

/* upto: where its writer said it ends; UINT64_MAX: it did not. */
struct unread {
	uint64_t segment, upto;
};

/* A hold because of a warmup: see qmgr/warmup.c. */
#define WARMUP_ORDERS 32
struct warmup_order {
	char plan[129];
	int64_t day;
	uint32_t number;
};

struct qmgr {
	struct role *role;
	struct conf *conf;
	struct old_conf *old_confs;
	struct sched *sched;
	struct sio *sio;
	struct segtab *segtab;
	struct evlog *log;
	struct arena env_arena;     /* for one envelope at a time */
	struct buf record;          /* for one record at a time */

	struct writer writers[WRITERS_MAX];
	struct worker workers[WORKERS_MAX];
	struct reader bounce_reader;
	struct chan *resolver;
	struct tail_reader acct, bounce, pickup;
	struct evlog_pos pickup_from; /* behind what the one before it wrote */
	struct journal *journal;
	struct routes *routes;
	struct control *control;
	struct trace *traces;          /* NULL: nobody looks on */
	struct audit *audit;           /* NULL: not opened yet */
	struct mismatch *mismatch;     /* NULL: no unknown VMTA was named */
	struct pools *pools;           /* NULL: none was asked for yet */
	struct orders *orders;         /* NULL: none was ever given */
	struct holds *holds;           /* NULL: nothing was ever held */
	struct colds *colds;           /* NULL: there was nothing cold yet */
	struct warmup_order warmup_orders[WARMUP_ORDERS];
	unsigned warmup_orders_at;
	struct trash *trash;           /* NULL: nothing was ever there */
	struct upkeep *upkeep;
	struct delays *delays;         /* NULL: nobody wanted to hear of one */

	struct poison poison;       /* what processes crashed on */
	struct child_state children[CHILDREN_SHOWN];
	unsigned nchildren;

	/* segments whose writer is through with them and whose end could not
	 * be read: there may be messages in it, so they stay open */
	struct unread *unread;
	size_t nunread, unread_size;
	/* whole segments that the start could not read */
	struct skipped_seg *skipped;
	size_t nskipped;
	uint64_t first_intent;      /* lower ones are of a life before */
	uint64_t next_intent;
	bool recovered;
	bool started_peers;         /* START came */
	bool running;               /* dispatching */
	bool stopping, stopped;
	unsigned resync_wait;       /* workers whose RESYNC_END is awaited */
	bool clean_start;
	struct wall started, counted; /* counted: since when count does */
	struct event *sched_timer, *resync_timer, *stop_timer;
	struct counters {
		uint64_t in_msgs, in_rcpts, in_bytes;
		uint64_t out_msgs, out_rcpts, out_bytes;
		uint64_t bounced, in_doubt, dropped_dsn, corrupt;
	} count;
};

struct sched_now qmgr_now(void);
/* Frees configurations that were replaced long ago. */
void qmgr_confs_forget(struct qmgr *q);
/* Writes what was logged, lets the scheduler decide, sets its timer. Called at
 * the end of every batch of frames and every timer. */
void qmgr_turn_end(struct qmgr *q);
void qmgr_run(struct qmgr *q);
/* All peers have gone or the drain is over: last sync, then exit. */
void qmgr_stop_check(struct qmgr *q);

/* skipped.c */
/* After recovery, before segtab_recovered(). */
void skipped_init(struct qmgr *q);
/* What is not to be taken from this segment; NULL: it was not skipped. */
struct idset *skipped_ids(const struct qmgr *q, uint64_t segment);
/* Once a second. */
void skipped_look(struct qmgr *q);

/* mismatch.c */
void mismatch_free(struct qmgr *q);
void mismatch_note(struct qmgr *q, const struct ipc_vmta_unknown *m);

/* intake.c */
extern const struct chan_ops smtpd_chan_ops;
struct writer *writer_attach(struct qmgr *q, enum ipc_role role,
    unsigned index);
void writer_seg_want(struct chan *c, void *arg, const void *m);
void writer_seg_done(struct chan *c, void *arg, const void *m);
void writer_large_want(struct chan *c, void *arg, const void *m);
void writer_large_drop(struct chan *c, void *arg, const void *m);
void writer_commit(struct chan *c, void *arg, const void *m);
void writer_vmta_unknown(struct chan *c, void *arg, const void *m);
/* What every writer's channel hands to its writer, for chan_ops.on. */
#define WRITER_HANDLERS				\
	[IPC_SEG_WANT] = writer_seg_want,	\
	[IPC_SEG_DONE] = writer_seg_done,	\
	[IPC_LARGE_WANT] = writer_large_want,	\
	[IPC_LARGE_DROP] = writer_large_drop,	\
	[IPC_COMMIT] = writer_commit
void writer_gone(struct writer *w);
/* chan_ops.on_batch_end of a channel whose owner is a writer. */
void writer_batch_end(struct chan *c, void *arg);
void writers_space_send(struct qmgr *q, bool open, const char *reason);
unsigned writer_id(const struct writer *w);
/* Reads on in segments whose writer is not known. */
void intake_adopted_look(struct qmgr *q, bool read);
void intake_adopted_finish(struct qmgr *q);
/* Closes segments whose end could not be read before. */
void intake_unread_retry(struct qmgr *q);
/* There is space again: who asked for a segment in vain gets one; bounce only
 * if not all. */
void intake_wants_retry(struct qmgr *q, bool all);
/* A message whose record is durable. known: it was ACCEPTed in the log. */
bool intake_message(struct qmgr *q, const struct sched_msg *m, struct sv env);
/* The DSN is durable: what it reports is over. */
void intake_originals_finish(struct qmgr *q, uint64_t dsn_id,
    const struct envelope *e);

/* deliver.c */
extern const struct sched_ops qmgr_sched_ops;
void reader_attach(struct reader *r, struct chan *c);
void reader_detach(struct reader *r);
/* The reader gets the descriptors it needs for this record. False if the
 * spool has it no more. */
bool reader_give(struct qmgr *q, struct reader *r, uint64_t segment,
    uint64_t large_id);
/* The segment is about to be recycled or unlinked. */
void readers_segment_close(struct qmgr *q, uint64_t segment);

/* outcome.c */
void on_result(struct chan *c, void *arg, const void *m);
/* An outcome that has no RESULT: expiry, in doubt after a worker's death, a
 * DSN that cannot be made. Reads the envelope from the record. False if it
 * cannot be read now and so nothing was done: a failure for good has to
 * wait. */
bool outcome_from_record(struct qmgr *q, struct smsg *m, uint32_t idx,
    uint8_t outcome, const struct sched_why *why);
/* "name (ip)" of the host that a message came from, or "". */
void outcome_src_mta(char out[EV_NAME_MAX], const struct envelope *e);
/* What stands in q->record goes to corrupt/ID, for a person to look at. */
void corrupt_save(struct qmgr *q, uint64_t msg_id, const char *why);
/* Reads a message's envelope; the result lives until the next call. */
bool envelope_read(struct qmgr *q, const struct smsg *m,
    struct envelope *e_r);

/* worker.c */
void workers_init(struct qmgr *q);
void worker_attach(struct qmgr *q, unsigned index, int fd);
void workers_old_intents(struct qmgr *q);
void workers_ack(struct qmgr *q);
void workers_intents_retry(struct qmgr *q);
unsigned workers_count(const struct qmgr *q);

/* routes.c */
void routes_init(struct qmgr *q);
void routes_chan_set(struct qmgr *q, int fd);
void routes_resolve(void *arg, struct squeue *sq, struct sv domain,
    struct sv vmta, const struct conf_domain *conf);
void routes_queue_gone(void *arg, struct squeue *sq);
/* struct sched_ops.mx_skipped */
bool routes_skip(void *arg, const struct squeue *sq, struct sv host,
    const struct conf_reply *rule, struct sv reply);
/* Of a RESOLVE that no queue waits for. */
#define ROUTES_ASKED (UINT64_C(1) << 63)
/* The look-up of such a queue, for a command: control_route() gets what it
 * finds. False: there is no resolver. */
bool routes_ask(const struct qmgr *q, uint64_t token, struct sv domain,
    struct sv vmta);
/* Hosts in the name of a site; more are a hash. */
#define ROUTES_SITE_HOSTS 3
#define ROUTES_SITE_MAX (ROUTES_SITE_HOSTS * (ROUTE_NAME_MAX + 1) + 40)
/* The site of such a queue with this route, "" if it has none. True: it is a
 * rollup. */
bool routes_site(const struct qmgr *q, struct sv domain, struct sv vmta,
    const struct route *r, char name_r[ROUTES_SITE_MAX]);
/* This host is one of the queue's route and is not used for a while. */
bool routes_leaves_out(struct qmgr *q, struct sv domain, struct sv vmta,
    struct sv host);
/* "5.1.2" */
const char *route_status_code(enum route_status s);
/* struct sched_ops.route */
const struct route *routes_of(void *arg, const struct squeue *sq,
    bool *relay_r);
/* The route encoded, of se's targets only; in b. */
struct sv routes_left(struct qmgr *q, const struct sched_session *se,
    struct buf *b);
/* "" if there is none. */
struct sv routes_find(struct qmgr *q, struct sv domain, struct sv vmta);

/* readers.c */
void acct_attach(struct qmgr *q, int fd);
void bounce_attach(struct qmgr *q, int fd);
void pickup_attach(struct qmgr *q, int fd);
void readers_log_at(struct qmgr *q);
/* The oldest event file that somebody still needs. */
uint64_t readers_oldest_file(const struct qmgr *q);

/* journal.c */
void journal_init(struct qmgr *q);
void journal_append(struct qmgr *q, enum ev_type type,
    const union ev_any *e);
void journal_queue_set(struct qmgr *q, struct sv name,
    const struct sched_queue_state *st);
/* False if something could not be handed to the system: nothing may be told
 * of it, the next call tries again. */
bool journal_write(struct qmgr *q);
/* The last write and the last sync went well. */
bool journal_is_well(const struct qmgr *q);
/* The record there is not needed once what is logged in this turn is
 * durable. */
void journal_ended(struct qmgr *q, const struct sched_msg *m);
struct evlog_pos journal_durable(const struct qmgr *q);
void journal_checkpoint(struct qmgr *q);
/* Removes the event files that nobody needs; called often for nothing. */
void journal_cut(struct qmgr *q);
/* Writes, syncs, checkpoints, blocking: at the end of the process. */
void journal_close(struct qmgr *q);

/* upkeep.c */
void upkeep_init(struct qmgr *q);
void upkeep_durable(struct qmgr *q);
/* Gives up the space that is kept for a full disk; false if there is none. */
bool upkeep_reserve_drop(struct qmgr *q);
/* False: what is free is needed for the event log. */
bool upkeep_has_reserve(const struct qmgr *q);
/* Something could not be made: new mail is refused for a while. */
void upkeep_space_lost(struct qmgr *q);
/* False: there is no room for new mail. */
bool upkeep_takes_mail(const struct qmgr *q);
/* A new writer is told if there is no space. */
void upkeep_space_tell(const struct qmgr *q, struct chan *c);
/* Prepares segments for later, in a thread. */
void upkeep_fill(struct qmgr *q);

/* recover.c */
void recover_spool(struct qmgr *q);
/* Takes records of a segment up to there that no COMMIT told of. False if it
 * could not be read. */
bool recover_tail(struct qmgr *q, uint64_t segment, uint64_t upto);
/* The same while its writer may be at work; what cannot be read now is for
 * later. */
void recover_live_tail(struct qmgr *q, uint64_t segment, uint64_t upto);
/* Of a segment that was skipped. False: not all of it could be read. */
bool recover_skipped(struct qmgr *q, struct skipped *k);

/* pools.c */
/* q->conf is about to be another one. */
void pools_forget(struct qmgr *q);
/* The VMTA of this pool whose turn it is; "" if there is no such pool. */
struct sv pool_pick(struct qmgr *q, struct sv name);

/* audit.c: of the control socket. */
void audit_close(struct qmgr *q);
/* orders.c */
struct selector;
/* NULL, or why there can be none. */
const char *standing_new(struct qmgr *q, uint32_t number,
    const struct selector *s, bool bounce);
/* False: there is no such order. */
bool standing_end(struct qmgr *q, uint32_t number);
/* The one that holds all of a job. */
bool standing_of_job(const struct qmgr *q, struct sv job, uint32_t *number_r);
void standing_free(struct qmgr *q);
void standing_replay(struct qmgr *q, const struct ev_standing *e);
/* Before hold_orders_save(). 0, or -1. */
int standing_save(struct qmgr *q, struct checkpoint *cp);
/* Once a second: ends those whose time is over. */
void standing_look(struct qmgr *q);
/* A message is new in the queue; it may be gone afterwards. */
void standing_apply(struct qmgr *q, uint64_t id, const struct sv *domains,
    uint32_t n, struct sv job);
/* holds.c */
#define HOLD_REASON_MAX 256
#define HOLD_WHO_MAX    64
struct hold_order {
	struct sv reason, who;       /* views that live until the next order */
	uint64_t time_us;
};
/* Its number, never 0. */
uint32_t hold_order_new(struct qmgr *q, struct sv reason, struct sv who);
/* That of what a pattern-list holds today. */
uint32_t hold_order_of_list(struct qmgr *q, struct sv list);
void hold_order_replay(struct qmgr *q, const struct ev_hold_order *e);
bool hold_order_find(const struct qmgr *q, uint32_t number,
    struct hold_order *o_r);
/* A recipient that is being saved has it. */
void hold_order_use(struct qmgr *q, uint32_t number);
/* Behind the recipients; 0 or -1. */
int hold_orders_save(const struct qmgr *q, struct checkpoint *cp);

/* warmup.c */
void warmup_changed(void *arg, const struct swarmup *w,
    enum sched_warmup_event what, const struct sched_warmup_day *day);
/* In a checkpoint; 0 or -1. */
int warmups_save(const struct qmgr *q, struct checkpoint *cp);
void warmup_replay(struct qmgr *q, struct sched_now now,
    const struct ev_warmup *e);
void warmup_attempt_replay(struct qmgr *q, struct sched_now now,
    const struct ev_attempt *e);
/* The VMTA of new recipients whose plan may have no room; or they are to be put
 * on hold because of *hold_r, if that is not NULL. */
struct sv warmup_overflow(struct qmgr *q, struct sv vmta,
    const struct sv *domains, uint32_t n, const struct conf_warmup **hold_r);
/* The hold order for that. */
uint32_t warmup_order(struct qmgr *q, const struct conf_warmup *c);

/* cold.c */
/* The VMTA for a new message that is for `vmta` and this domain. */
struct sv cold_pick(struct qmgr *q, struct sv vmta, struct sv domain);
void cold_replay(struct qmgr *q, const struct ev_cold *e);
/* In a checkpoint; 0 or -1. */
int colds_save(const struct qmgr *q, struct checkpoint *cp);

/* sources.c */
/* 0 or -1 */
int sources_save(const struct qmgr *q, struct checkpoint *cp);
void source_replay(struct qmgr *q, struct sched_now now,
    const struct ev_source *e);
void sources_by_reply(void *arg, const struct sched_source *so,
    const struct conf_reply *rule);

/* trash.c */
void deletion_replay(struct qmgr *q, const struct ev_deletion *e);
void trash_replay(struct qmgr *q, struct sched_now now,
    const struct ev_trash *e);
/* Before the recipients; 0 or -1. */
int deletions_save(const struct qmgr *q, struct checkpoint *cp);
bool trash_has_room(const struct qmgr *q);
/* False if that deletion has ended or the recipient cannot be in the trash: it
 * bounces, or is under way. */
bool trash_put(struct qmgr *q, struct smsg *m, uint32_t idx, uint32_t number);
/* A recipient that is in the trash is what it was. */
void trash_take(struct qmgr *q, struct smsg *m, uint32_t idx);
/* The deletion given last, 0: none. */
uint32_t trash_last(const struct qmgr *q);
/* It can be undone. */
bool trash_is_open(const struct qmgr *q, uint32_t number);
/* An undo is through. */
void trash_undone(struct qmgr *q, uint32_t number);
/* Deletes for good what has been there long enough; once a second. */
void trash_look(struct qmgr *q);

/* delays.c */
/* Of a new message: an OR of enum sched_tell. */
unsigned delays_tell(const struct envelope *e);
/* Begins a pass when it is time; once a second. */
void delays_look(struct qmgr *q);
/* In a checkpoint; 0 or -1. */
int delays_save(const struct qmgr *q, struct checkpoint *cp);

/* suspects.c */
void suspects_init(struct qmgr *q);
/* How a process ended. */
void suspects_child(struct qmgr *q, const struct ipc_child *m);
/* The worker is gone, and it was at this message. */
void suspect_found(struct worker *w, uint64_t id);
/* Decides by what is known of the worker's end. */
void suspect_settle(struct worker *w);
/* A worker died at this message, and it is not known yet how: the hold that it
 * is on is nobody's decision. */
bool suspect_is_open(const struct qmgr *q, uint64_t id);
/* Nobody will say any more how workers ended. */
void suspects_master_gone(struct qmgr *q);
/* An operator lets a recipient on hold go; false if it is not on hold. */
bool suspect_release(struct qmgr *q, struct smsg *m, uint32_t idx);
/* Why a message is on hold. */
struct sv suspect_reason(const struct qmgr *q, uint64_t id, char out[128]);
/* The message ended. */
void suspect_forget(struct qmgr *q, uint64_t id);
/* The RESULT of this message's delivery cost us two lives: nothing of it is
 * believed, all recipients go on hold. */
void suspect_result(struct qmgr *q, uint64_t id, uint64_t session);
/* Copies a record that cost us two lives to corrupt/, with its large file. */
void suspect_record_save(struct qmgr *q, const struct sched_msg *m);

/* trace.c */
/* Flags of a SESSION_OPEN that somebody waits for; only if q->traces. */
uint32_t trace_session(struct qmgr *q, const struct sched_session *se,
    struct sv source_ip);
void trace_lines(struct qmgr *q, unsigned worker, const struct ipc_trace *m);
void trace_worker_gone(struct qmgr *q, unsigned worker);

/* children.c */
void children_note(struct qmgr *q, const struct ipc_child *m);

/* control.c */
void control_init(struct qmgr *q);
void control_listener(struct qmgr *q, int fd);
void control_master_reply(struct qmgr *q, const struct ipc_master_reply *m);
/* Answers in its place what it was asked: it may have died over a stop. */
void control_master_gone(struct qmgr *q);
/* acct has closed files. */
void control_rotated(struct qmgr *q, const struct ipc_rotated *m);
/* What the resolver knows of a queue that a command asked for. */
void control_route(struct qmgr *q, uint64_t token, enum route_status status,
    const struct ipc_route *m);
/* Whom a command asks. */
enum control_asks { ASKS_MASTER, ASKS_ACCT, ASKS_RESOLVER };
/* It will not answer any more. */
void control_peer_gone(struct qmgr *q, enum control_asks who);

#endif
