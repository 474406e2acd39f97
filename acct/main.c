/* SPDX-License-Identifier: ISC */
/*
 * pinnace-acct: tails the event log and writes the accounting files. It is
 * told by qmgr how far the log is durable (LOG_AT), reads no further, and tells
 * qmgr how far it is itself (READER_AT). What goes wrong here is tried again
 * every few seconds and holds up nobody.
 */
#include <sys/stat.h>
#include <time.h>

#include <event2/event.h>

#include "acct/writer.h"
#include "common/ipc/role.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"

#define GATHER_MS  50     /* records of so long are written together */
#define COMMIT_MS  1000   /* synced at most so often, unless there is much */
#define RETRY_MS   5000   /* after a failure */
#define TIDY_MS    30000  /* looks for midnight and old files */
#define RUN_EVENTS 2000   /* events per turn of the loop */

struct acct {
	struct role *role;
	struct chan *qmgr;
	struct event *work, *tidy;
	struct writer writer;
	struct conf *conf;
	struct evlog_pos limit, told;
	struct mono committed, due;
	bool ready;           /* writer_recover() has succeeded */
	bool scheduled;
};

/* The next turn is in ms, or when it was to be anyway if that is earlier. */
static void
work_in(struct acct *a, int64_t ms)
{
	struct mono due = mono_add_ms(clock_mono(), ms);
	struct timeval tv = {
		.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000 * 1000),
	};

	if (a->scheduled && mono_diff_ms(a->due, due) <= 0)
		return;
	a->scheduled = true;
	a->due = due;
	event_add(a->work, &tv);
}

/* While something has failed, only the retry timer counts. */
static void
work_soon(struct acct *a)
{
	if (!a->writer.failing || !a->scheduled)
		work_in(a, GATHER_MS);
}

static void
tell(struct acct *a)
{
	struct evlog_pos at = a->writer.saved;

	if (a->qmgr == NULL || at.file == 0 ||
	    evlog_pos_cmp(at, a->told) == 0)
		return;
	ipc_send_reader_at(a->qmgr, &(struct ipc_reader_at){
	    .file = at.file, .offset = at.offset });
	a->told = at;
}

static void
fall_back(struct acct *a)
{
	a->ready = false;
	if (a->role->stopping)
		role_exit(a->role);
	else
		work_in(a, RETRY_MS);
}

static bool
wants_sync(const struct acct *a)
{
	for (size_t i = 0; i < a->writer.nouts; i++) {
		if (a->writer.outs[i].sync)
			return true;
	}
	return false;
}

/* Is it time to make durable what was written? Says when, if not. */
static bool
commit_is_due(const struct acct *a, enum writer_result r, int64_t *in_ms_r)
{
	int64_t since = mono_diff_ms(clock_mono(), a->committed);

	*in_ms_r = since >= COMMIT_MS ? 0 : COMMIT_MS - since;
	return *in_ms_r == 0 || a->writer.uncommitted >= WRITER_COMMIT_BYTES ||
	    (r == WRITER_IDLE && (a->role->stopping || wants_sync(a) ||
		writer_is_files_behind(&a->writer)));
}

static void
on_work(evutil_socket_t fd, short what, void *arg)
{
	struct acct *a = arg;
	enum writer_result r;
	int64_t in_ms = 0;

	(void)fd;
	(void)what;
	a->scheduled = false;
	if (a->conf == NULL)
		return;
	if (!a->ready && writer_recover(&a->writer) != 0) {
		fall_back(a);
		return;
	}
	a->ready = true;
	tell(a);
	writer_clock(&a->writer, clock_mono(), clock_wall());
	r = writer_run(&a->writer, a->limit, RUN_EVENTS, clock_wall());
	if (r != WRITER_FAILED && writer_is_dirty(&a->writer) &&
	    commit_is_due(a, r, &in_ms)) {
		if (writer_commit(&a->writer) != 0)
			r = WRITER_FAILED;
		a->committed = clock_mono();
	}
	if (r == WRITER_FAILED) {
		fall_back(a);
		return;
	}
	tell(a);
	if (r == WRITER_MORE)
		work_in(a, 0);
	else if (a->role->stopping)
		role_exit(a->role);
	else if (writer_is_dirty(&a->writer))
		work_in(a, in_ms > GATHER_MS ? in_ms : GATHER_MS);
}

static void
on_tidy(evutil_socket_t fd, short what, void *arg)
{
	struct acct *a = arg;

	(void)fd;
	(void)what;
	writer_clock(&a->writer, clock_mono(), clock_wall());
	if (a->ready && writer_tidy(&a->writer, clock_wall()) != 0)
		fall_back(a);
}

/* ---- frames of qmgr ---- */

static void
on_log_at(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_log_at *m = msg;
	struct acct *a = arg;

	(void)c;
	a->limit = (struct evlog_pos){ m->file, m->offset };
	work_soon(a);
}

/* Closes files; false after an answer. What waits to be written goes into them
 * still, as far as it takes no time. */
static bool
rotate(struct acct *a, const struct ipc_rotate *m, struct writer_rotation *r)
{
	struct ipc_rotated no = { .token = m->token,
		.text = SV("accounting waits because of a failure: see the "
		    "log") };

	if (a->conf == NULL || a->writer.failing ||
	    (!a->ready && writer_recover(&a->writer) != 0)) {
		ipc_send_rotated(a->qmgr, &no);
		return false;
	}
	a->ready = true;
	writer_clock(&a->writer, clock_mono(), clock_wall());
	if (writer_run(&a->writer, a->limit, RUN_EVENTS, clock_wall()) ==
	    WRITER_FAILED || writer_rotate(&a->writer, m->file, r) != 0) {
		ipc_send_rotated(a->qmgr, &no);
		fall_back(a);
		return false;
	}
	return true;
}

static void
on_rotate(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_rotate *m = msg;
	struct acct *a = arg;
	struct writer_rotation r;
	struct sv files[OUT_FILES_MAX];
	struct ipc_rotated yes = { .token = m->token, .ok = 1,
		.files.array = files };

	if (!rotate(a, m, &r))
		return;
	for (; yes.files.n < r.n; yes.files.n++)
		files[yes.files.n] = sv_from(r.closed[yes.files.n]);
	yes.ok = r.found > 0;
	if (r.found == 0)
		yes.text = SV("there is no such accounting file");
	ipc_send_rotated(c, &yes);
	tell(a);
	work_soon(a);
}

static void
on_qmgr_close(struct chan *c, void *arg, const char *why)
{
	struct acct *a = arg;

	(void)c;
	log_debug("channel to qmgr: %s", why);
	chan_free(&a->qmgr);
	role_qmgr_gone();
}

static const struct chan_ops qmgr_ops = {
	.on = { [IPC_LOG_AT] = on_log_at, [IPC_ROTATE] = on_rotate },
	.on_close = on_qmgr_close,
};

/* ---- the role ---- */

static int
log_dir(void)
{
	struct stat st;

	if (fstat(ROLE_FD_LOGS, &st) != 0 || !S_ISDIR(st.st_mode))
		return -1;
	return ROLE_FD_LOGS;
}

static void
acct_init(struct role *r)
{
	struct timeval tv = { .tv_sec = TIDY_MS / 1000 };
	static struct acct acct;
	struct acct *a = &acct;

	a->role = r;
	r->arg = a;
	a->work = event_new(r->base, -1, 0, on_work, a);
	a->tidy = event_new(r->base, -1, EV_PERSIST, on_tidy, a);
	if (a->work == NULL || a->tidy == NULL)
		fatal("out of memory");
	event_add(a->tidy, &tv);
	writer_init(&a->writer, ROLE_FD_EVENTS, ROLE_FD_OFFSETS, log_dir());
}

static void
acct_conf(struct role *r, struct sv bytes)
{
	struct acct *a = r->arg;
	struct conf *conf = conf_decode(bytes), *old = a->conf;

	if (conf == NULL)
		fatal("the configuration does not decode");
	a->conf = conf;
	writer_conf_set(&a->writer, conf, clock_wall());
	conf_free(&old);
	a->ready = false;
	work_soon(a);
}

static void
acct_peer(struct role *r, enum ipc_role peer, unsigned index, int fd)
{
	struct acct *a = r->arg;

	if (peer != R_QMGR)
		fatal("a channel to a process that acct does not talk to");
	chan_free(&a->qmgr);
	a->qmgr = chan_new(r->base, fd, R_ACCT, R_QMGR, index, &qmgr_ops, a);
	a->told = (struct evlog_pos){ 0, 0 };
	work_soon(a);
}

static void
acct_child(struct role *r, const struct ipc_child *m)
{
	struct acct *a = r->arg;

	if (m->ended == ENDED_CRASH)
		writer_blame(&a->writer, m->reason);
}

static void
acct_stop(struct role *r, uint32_t drain_ms)
{
	struct acct *a = r->arg;

	(void)drain_ms;
	work_in(a, 0);
}

static const struct role_ops ops = {
	.self = R_ACCT,
	.name = "acct",
	.init = acct_init,
	.conf = acct_conf,
	.peer = acct_peer,
	.child = acct_child,
	.stop = acct_stop,
};

int
main(int argc, char **argv)
{
	return role_main(argc, argv, &ops);
}
