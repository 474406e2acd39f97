/* SPDX-License-Identifier: ISC */
/*
 * control: what the control socket and the commands behind it share.
 */
#ifndef QMGR_CONTROL_H
#define QMGR_CONTROL_H

#include <sys/types.h>

#include <jansson.h>

#include "qmgr/qmgr.h"

/* How queues are sorted: by name, or by a figure, the greatest first. */
enum queue_sort {
	SORT_RCPT,
	SORT_NAME,
	SORT_SIZE,
	SORT_OLDEST,
	SORT_RATE,
	SORT_CONN,
	QUEUE_SORTS
};

/*
 * Which queues a command means: `domain`, `domain/vmta`, `domain=D`,
 * `vmta=V`, `--queue=domain/vmta`; `*` on either side is any.
 */
struct selector {
	struct sv domain, vmta;     /* "*" or "" is any */
	struct sv match;            /* show: a part of the queue's name */
	struct sv orig, rcpt, job, envid; /* delete, list: globs; "" is any */
	uint64_t id;                /* 0: any */
	uint64_t maxitems;
	int64_t older_than_ms;      /* 0: any age */
	bool yes, given;            /* --yes; something was selected */
	bool waiting;               /* show limits: those that bind */
	bool priority;              /* list: shows it */
	bool errors, paused_set, paused, retry_rcpts;
	bool mode_set, backoff;
	bool connected_set, connected; /* has sessions */
	struct sv reason;           /* hold, bounce */
	bool standing;              /* also for what comes, */
	int64_t for_ms;             /* for so long; 0: until it is ended */
	uint64_t order;             /* release: on hold by it; 0: any */
	bool no_trash;
	bool sort_set;
	enum queue_sort sort;
	int64_t reenable_ms;        /* disable source; 0: never */
};

/* The words of a command behind its name. */
struct words {
	struct sv name;
	struct sv v[64];
	unsigned n;
};

struct walk;
struct figures;
struct jobs;
struct pick;
struct sums;
struct trace;

struct client {
	struct client *next;
	struct qmgr *q;
	struct chan *chan;
	struct event *timer;
	uid_t uid;
	uint64_t token;      /* of a question to another process, 0: none */
	enum control_asks asks; /* which */
	bool wants_stop;     /* the question to the master */
	char *texts[64];     /* of the command's words */
	unsigned ntexts;
	/* of a command that goes on in slices */
	struct walk *walk;   /* NULL: none */
	struct selector sel; /* views into texts */
	uint64_t most;       /* recipients of a queue that it may look at */
	uint64_t left;       /* rows that it may still show */
	uint64_t count, inflight;
	char *target;        /* rebind: the VMTA; resolve: the queue; or NULL */
	uint32_t order;      /* of a hold, 0: not given yet */
	unsigned priority;   /* set priority */
	enum audited { AUDIT_NO, AUDIT_YES, AUDIT_IF_YES } audited;
	uint32_t deletion;   /* of a delete, the same */
	json_t *sample; /* of a dry run; NULL: nothing yet */
	struct figures *figures; /* of diagnose; NULL: none */
	struct sums *sums;   /* of show domains and vmtas; NULL: none */
	struct jobs *jobs;   /* of show jobs; NULL: none */
	struct pick *pick;   /* of show queues and list; NULL: none */
	struct trace *trace; /* NULL: none */
};

/* Takes the object. */
void client_row(struct client *cl, json_t *row);
/* status: 0 done, 1 refused or failed, 2 misuse. */
void client_end(struct client *cl, unsigned status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
json_t *json_sv(struct sv v);
/* "2026-01-31T14:05:09Z"; null for 0. */
json_t *json_time(int64_t us);

/* The client has shown that it is there: its time begins anew. */
void client_lives(struct client *cl);

/* walk.c: what to do with each queue, or, without `queue`, with each recipient
 * that is not done; false: enough. Then end(), which answers. */
struct walk_ops {
	bool (*queue)(struct client *cl, struct squeue *sq);
	bool (*rcpt)(struct client *cl, struct smsg *m, uint32_t idx);
	/* instead of both, if the names are no queues' */
	bool (*name)(struct client *cl, const char *name);
	void (*end)(struct client *cl);
	bool trash; /* recipients in the trash only, else never these */
};
/* Takes the names of the queues. */
void walk_start(struct client *cl, const struct walk_ops *ops, char **names,
    size_t n);
/* Over all queues, whether they are selected or not: ops->queue. */
void walk_all_start(struct client *cl, const struct walk_ops *ops);
void walk_free(struct client *cl);
/* Of the queues that are selected; the caller frees with names_free(). */
size_t names_collect(struct qmgr *q, const struct selector *s,
    char ***names_r);
void names_free(char **names, size_t n);
void name_split(const char *name, struct sv *domain_r, struct sv *vmta_r);

/* pick.c */
/* Walks over the queues that are selected, in this order and at most so many;
 * cl->count is how many there are. */
void pick_start(struct client *cl, const struct walk_ops *ops,
    enum queue_sort sort, uint64_t most);
void pick_free(struct client *cl);

/* show.c */
void cmd_show_status(struct client *cl, const struct words *w);
void cmd_reset_counters(struct client *cl, const struct words *w);
void cmd_show_queues(struct client *cl, const struct words *w);
void cmd_show_config(struct client *cl, const struct words *w);
void cmd_show_version(struct client *cl, const struct words *w);
void cmd_show_message(struct client *cl, const struct words *w);
void cmd_list(struct client *cl, const struct words *w);
json_t *json_u64(uint64_t v);
const char *rcpt_state_name(enum srcpt_state s);
/* e: NULL if it cannot be read. */
json_t *rcpt_row(const struct qmgr *q, const struct smsg *m, uint32_t idx,
    const struct envelope *e);
/* Why, by whom and since when it is on hold. */
void reason_put(const struct qmgr *q, json_t *o, const struct smsg *m,
    uint32_t idx);
/* The message that is the command's only word; NULL after an answer. */
struct smsg *message_word(struct client *cl, const struct words *w);
/* audit.c */
/* The command's answer, for the audit log. */
void audit_note(struct client *cl, unsigned status, struct sv text);
void cmd_show_audit(struct client *cl, const struct words *w);
/* orders.c */
void cmd_show_orders(struct client *cl, const struct words *w);
/* sums.c */
void cmd_show_domains(struct client *cl, const struct words *w);
void cmd_show_topdomains(struct client *cl, const struct words *w);
void cmd_show_vmtas(struct client *cl, const struct words *w);
void sums_free(struct client *cl);
/* jobs.c */
void cmd_show_jobs(struct client *cl, const struct words *w);
void jobs_free(struct client *cl);
/* limits.c */
void cmd_show_limits(struct client *cl, const struct words *w);
/* diagnose_cmd.c */
void cmd_diagnose(struct client *cl, const struct words *w);
void figures_free(struct client *cl);
/* simulate_cmd.c */
void cmd_simulate(struct client *cl, const struct words *w);
/* explain.c */
/* What a limit is for, as in struct sched_queue_why. */
struct limit_of {
	struct sv scope;
	const char *setting;
	const struct route_addr *source;
	const char *dest_kind;
	struct sv dest;
};
/* value, scope, file and line of the setting that binds the queue. sq: NULL if
 * it is not of a queue nor a site. */
void rule_put(const struct qmgr *q, const struct squeue *sq,
    const struct limit_of *l, json_t *o);
/* The same with its name, of the limit that the queue waits for. */
void why_rule_put(const struct qmgr *q, const struct squeue *sq,
    const struct sched_queue_why *why, json_t *o);
void cmd_explain_queue(struct client *cl, const struct words *w);
void cmd_explain_message(struct client *cl, const struct words *w);
/* act.c */
void cmd_pause(struct client *cl, const struct words *w);
void cmd_resume(struct client *cl, const struct words *w);
void cmd_pause_job(struct client *cl, const struct words *w);
void cmd_resume_job(struct client *cl, const struct words *w);
void cmd_set_queue(struct client *cl, const struct words *w);
void cmd_schedule(struct client *cl, const struct words *w);
void cmd_delete(struct client *cl, const struct words *w);
void cmd_hold(struct client *cl, const struct words *w);
void cmd_bounce(struct client *cl, const struct words *w);
void cmd_release(struct client *cl, const struct words *w);
/* Who gave the command, for the log: "uid 0". */
struct sv client_who(const struct client *cl, char mem[32]);
/* Does something to all that the words select, which must select something. */
void select_walk(struct client *cl, const struct words *w, const char *verb,
    const struct walk_ops *ops);
/* Recipients of a message in one event. */
#define GROUP_MAX 64u
/* False: this one is not to be changed. */
typedef bool change_fn(struct client *cl, struct smsg *m, uint32_t idx);
/* Changes idx and, with it, what stands next to it in the message and in the same
 * queue: when the walk comes to those there is nothing left to do. Their
 * number. */
uint32_t group_change(struct client *cl, struct smsg *m, uint32_t idx,
    change_fn *change, uint32_t v[GROUP_MAX]);
/* It is still to be delivered, or may come back. */
bool victim_is_open(const struct smsg *m, uint32_t idx);
/* Is this recipient meant by cl->sel? */
bool victim_is_wanted(struct client *cl, const struct smsg *m, uint32_t idx);
/* priority.c */
void cmd_set_priority(struct client *cl, const struct words *w);
/* move.c */
void cmd_rebind(struct client *cl, const struct words *w);
/* sources.c */
void cmd_disable_source(struct client *cl, const struct words *w);
void cmd_enable_source(struct client *cl, const struct words *w);
void cmd_show_disabled(struct client *cl, const struct words *w);
/* "system": the one that the system chooses. */
struct sv source_ip_text(const struct route_addr *ip, char out[46]);
/* ips.c */
void cmd_show_ips(struct client *cl, const struct words *w);
/* warmup.c */
void cmd_show_warmup(struct client *cl, const struct words *w);
/* trash.c */
/* A new deletion by this client; its number. Ask for room first. */
uint32_t trash_begin(struct client *cl);
void cmd_show_trash(struct client *cl, const struct words *w);
void cmd_undo(struct client *cl, const struct words *w);
/* children.c */
json_t *children_rows(const struct qmgr *q);
/* mismatch.c */
json_t *mismatch_row(const struct qmgr *q);
/* Messages that named such a VMTA, which name was the last, and when (wall
 * clock; 0: never). */
uint64_t mismatch_count(const struct qmgr *q, struct sv *last_r,
    int64_t *last_us_r);
/* control.c */
void cmd_master(struct client *cl, const struct words *w);
void cmd_rotate_log(struct client *cl, const struct words *w);
void cmd_rotate_acct(struct client *cl, const struct words *w);
/* The token of a question to another process: the command's end is client_end()
 * of client_asked(). */
uint64_t client_ask(struct client *cl, enum control_asks who);
/* Who asked; NULL: he is gone. */
struct client *client_asked(struct qmgr *q, uint64_t token);
/* trace.c */
void cmd_trace(struct client *cl, const struct words *w);
void trace_free(struct client *cl);
/* resolve.c */
void cmd_resolve(struct client *cl, const struct words *w);

/* False after it has answered with what is wrong. */
bool selector_parse(struct client *cl, const struct words *w,
    struct selector *s_r);
bool selector_matches(const struct selector *s, const struct squeue *q);
/* Is there something that only the envelope tells? Does this one have it? */
bool selector_reads(const struct selector *s);
bool selector_wants(const struct selector *s, const struct envelope *e,
    uint32_t idx);
/* `*` in pattern stands for any text; case does not matter. */
bool glob_matches(struct sv pattern, struct sv text);

#endif
