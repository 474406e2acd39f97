/* SPDX-License-Identifier: ISC */
/*
 * For tests: the whole queue manager as a process of its own (forked, its
 * main() linked in), with a spool in a temporary directory. The test is the
 * master and every peer: it writes records into granted segments, answers
 * look-ups, takes DELIVERs and gives RESULTs, and asks over the control
 * socket. Calls on the spool can be made to fail from here.
 */
#ifndef TESTS_UNIT_QMGR_QRIG_H
#define TESTS_UNIT_QMGR_QRIG_H

#include <sys/types.h>
#include <check.h>

#include <event2/event.h>

#include "common/ipc/role.h"
#include "common/mail/envelope.h"
#include "common/mail/outcome.h"
#include "common/mail/route.h"
#include "common/spool/evlog.h"
#include "common/spool/intent.h"
#include "common/spool/segment.h"
#include "common/sys/clock.h"

#ifdef __SANITIZE_ADDRESS__
#define QRIG_WAIT_MS 200000 /* the leak sanitizer at qmgr's end is slow */
#else
#define QRIG_WAIT_MS 60000 /* for what comes within a second; busy machines */
#endif
#define QRIG_LISTS   64

enum qfault {
	QF_OPEN,   /* with CREATE */
	QF_REOPEN, /* of what is there */
	QF_LIST,
	QF_SIZE,
	QF_FORK, /* the folder is "" */
	QF_READ,
	QF_WRITE,
	QF_TRUNCATE,
	QF_SYNC,
	QF_ALLOCATE,
	QF_SYNC_DIR,
	QF_RENAME,
	QF_UNLINK,
	QF_SPACE,
	QF_SAVE, /* a record of a checkpoint; the folder is its name */
	QFAULTS
};

/* An end of a channel to qmgr; everything that came over it. */
struct qpeer {
	struct qrig *r;
	struct chan *chan;
	enum ipc_role role;
	bool closed; /* by qmgr */

	/* writers */
	unsigned grants, larges, spaces;
	uint64_t segment, at; /* the segment and its next free offset */
	int seg_fd;
	uint64_t large_id;
	int large_fd;
	bool refused; /* the last SPACE */
	char reason[128];
	/* readers of records */
	unsigned seg_opens, seg_closes, large_opens;
	/* delivery workers */
	struct intent_map intent;
	unsigned nopens, nups, ndelivers, ncloses;
	struct {
		uint64_t session;
		char queue[128], helo[128], source_ip[64];
		uint32_t flags;
		size_t route_n;
	} opens[QRIG_LISTS];
	struct {
		uint64_t session, id, segment, offset, length, large_id;
		uint32_t idx[8], n;
	} delivers[QRIG_LISTS];
	uint64_t seq, acked;
	const char *from; /* the source address in results; NULL: none */
	/* the resolver */
	unsigned nresolves;
	struct {
		uint64_t token;
		char domain[128];
	} resolves[QRIG_LISTS];
	bool answers; /* each at once, with one host */
	/* readers of the log */
	unsigned log_ats;
	struct evlog_pos log_at;
	unsigned trace_stops;
	unsigned rotates;
	char rotate_file[128];
	uint64_t rotate_token;
	unsigned goes;
	uint64_t go_id;
	uint32_t go_n;
};

struct qrig {
	char dir[64];
	int spool; /* descriptor of the spool's directory */
	pid_t pid;
	struct event_base *base;
	struct event *tick;
	struct chan *master;
	bool ready, gone;
	const char *crash; /* what the qmgr before ended of, or NULL */
	char command[64];  /* the last MASTER_CMD */
	uint64_t command_token;
	int listen_fd;
	const char *vmta; /* of what is submitted; NULL: none is named */
	struct qpeer smtpd, smtp, resolver, acct, bounce;
	/* the last command */
	struct chan *ctl;
	struct buf rows;
	bool ctl_end, ctl_closed;
	unsigned ctl_status, ctl_ends;
	bool ctl_refused; /* one of several was */
	char ctl_text[1024];
};

void qrig_init(struct qrig *r);
/* Stops the process if it runs, which must go well, removes the spool. */
void qrig_fini(struct qrig *r);

/* Starts the process, configures it, waits until it has recovered. */
void qrig_start(struct qrig *r, const char *conf);
/* Starts it and does not configure it. */
void qrig_spawn(struct qrig *r);
/* It is to end with exit status 111, and these words in its log. */
void qrig_start_fails(struct qrig *r, const char *words);
/* Timers of 500 ms and more run so many times faster (4 as a rule) in processes
 * that are started from now on. */
void qrig_hurry(int factor);
/* START: workers is the number of those whose RESYNC_END it waits for. */
void qrig_go(struct qrig *r, uint32_t workers);
void qrig_conf(struct qrig *r, const char *conf);
/* The next life of a process that runs, all three of them and all peers. */
enum again { FIRST, KILLED, STOPPED };
void qrig_again(struct qrig *r, enum again how, const char *conf);
/* SIGKILL; channels are freed, the spool stays. */
void qrig_kill(struct qrig *r);
/* An orderly stop, peers first; the exit status, -1 for a signal. */
int qrig_stop(struct qrig *r);
/* Waits for the end of the process. */
int qrig_wait_end(struct qrig *r);
void qrig_turn(struct qrig *r);
/* Turns until cond holds; fails the test after QRIG_WAIT_MS. */
#define QWAIT(r, cond)                                                         \
	do {                                                                   \
		struct mono until_ = mono_add_ms(clock_mono(), QRIG_WAIT_MS);  \
		while (!(cond)) {                                              \
			qrig_turn(r);                                          \
			if (clock_mono().us > until_.us)                       \
				qrig_fail(r, #cond, __LINE__);                 \
		}                                                              \
	} while (0)
void qrig_fail(struct qrig *r, const char *what, int line);
/* Turns for a while, to see that something does not happen. */
void qrig_pass(struct qrig *r, int64_t ms);
/* This text is in the log. */
bool qrig_logged(const struct qrig *r, const char *text);
unsigned qrig_logged_times(const struct qrig *r, const char *text);
/* This call fails with err below that folder ("": any), until err is 0. */
void qrig_fault(enum qfault call, const char *folder, int err);
/* The same, but so many of them go well first. */
void qrig_fault_after(int pass, enum qfault call, const char *folder, int err);
/* So many are left that go well. */
int qrig_fault_left(enum qfault call);
/* Once, behind so many that are good. */
void qrig_fault_once(int pass, enum qfault call, const char *folder, int err);
/* This call waits below that folder until qrig_release(); a sync only if it is
 * one of the thread's. */
void qrig_hold(enum qfault call, const char *folder);
void qrig_release(enum qfault call);
/* One waits. */
bool qrig_held(enum qfault call);
/* All files of that folder seem to be so large; 0: as they are. */
void qrig_size(const char *folder, uint64_t size);
/* Events of a type in the log so far; the last one's id in *id_r, which may be
 * NULL. */
unsigned qrig_events(const struct qrig *r, enum ev_type type, uint64_t *id_r);

/* The spool, past the faults; the caller frees it. */
struct sio *qrig_sio(const struct qrig *r);

/* Between two lives: events behind the end of the log. */
void qlog_begin(void);
void qlog_add(enum ev_type type, union ev_any e);
/* Of a message with one recipient. */
void qlog_commit(
    const struct ipc_commit *m, const struct sv *domain, uint64_t dsn_for);
/* The same at that place, at a.test. */
void qlog_accept(
    uint64_t segment, uint64_t offset, uint64_t length, uint64_t dsn_for);
/* Where the next one comes. */
struct evlog_pos qlog_at(void);
void qlog_end(void);
/* The file with which the last checkpoint goes on is lost. */
void qlog_lose(void);

/* ---- peers ---- */

/* A new process of that role; what an earlier one held is closed. */
void qpeer_join(struct qrig *r, struct qpeer *p, enum ipc_role role);
/* The process dies. */
void qpeer_leave(struct qpeer *p);
/* smtpd with a segment, smtp that has nothing, a resolver that answers. */
void qrig_peers(struct qrig *r);

/* Writes a record to the peer's segment; fills what a COMMIT says of it, but
 * for env, which has to be copied. */
void qpeer_write(struct qpeer *p, const struct envelope *e, uint64_t large_id,
    struct ipc_commit *m_r);
void qpeer_commit(
    struct qpeer *p, const struct ipc_commit *m, const struct envelope *e);
/* The segment of that message ends behind it. */
void qpeer_seg_done(struct qpeer *p, const struct ipc_commit *last);
/* Both, for one recipient; the message's id. */
uint64_t qrig_submit(struct qrig *r, const char *sender, const char *rcpt);

/* The worker has opened what it was told last and takes messages. */
void qrig_session_up(struct qrig *r);
/* Waits for the worker's nth DELIVER, opening what it is told to. */
void qrig_deliver_wait(struct qrig *r, unsigned n);
/* What became of the worker's nth DELIVER, for all its recipients. */
void qrig_result(struct qrig *r, unsigned n, enum outcome o, uint16_t code,
    const char *status, const char *text);
/* Submits, and runs it up to the DELIVER; its number. */
unsigned qrig_deliver(
    struct qrig *r, const char *sender, const char *rcpt, uint64_t *id_r);

/* ---- the control socket ---- */

/* Words are split by blanks. The rows, each on a line; status and text in
 * r. */
const char *qrig_ctl(struct qrig *r, const char *words);
/* Sends it and does not wait. */
void qrig_ctl_send(struct qrig *r, const char *words);
/* A number of the rows: the first one behind "key": */
long long qrig_number(struct qrig *r, const char *key);

/* ---- the parts of test_qmgr ---- */

#define QRIG_CONF                                                              \
	"host-name q.test\ntrash-ttl 0\n"                                     \
	"<domain *>\nmax-smtp-out 1\nretry-after 1s\n"                         \
	"retry-recipients-after 1s\n</domain>\n"

/* Of each test; started with QRIG_CONF and all peers. */
extern struct qrig rig;

void qrig_setup(void);
void qrig_teardown(void);
/* A test case with these two around each test. */
TCase *qrig_tcase(Suite *s, const char *name);
void qmgr_tests_spool(Suite *s);
void qmgr_tests_act(Suite *s);
void qmgr_tests_control(Suite *s);
void qmgr_tests_shown(Suite *s);
void qmgr_tests_intake(Suite *s);
void qmgr_tests_journal(Suite *s);
void qmgr_tests_outcome(Suite *s);
void qmgr_tests_recover(Suite *s);
void qmgr_tests_skipped(Suite *s);
void qmgr_tests_warmup(Suite *s);
void qmgr_tests_move(Suite *s);
void qmgr_tests_ask(Suite *s);
void qmgr_tests_priority(Suite *s);
void qmgr_tests_delays(Suite *s);

#endif
