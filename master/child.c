/* SPDX-License-Identifier: ISC */
#include <sys/socket.h>
#include <sys/wait.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bsd/string.h>
#include <event2/event.h>

#include "common/base/str.h"
#include "common/ipc/heartbeat.h"
#include "common/ipc/role.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "master/master.h"

#define CHILD_FDS 9            /* 0..8 */
#define CHROOT_DIR "/var/lib/pinnace/empty"

static const struct child_kind kinds[] = {
	{ .role = R_QMGR, .program = "pinnace-qmgr", .build_dir = "qmgr",
	    .user = "pinnace-queue", .wants_spool = true,
	    .is_large = true },
	{ .role = R_RESOLVER, .program = "pinnace-resolver",
	    .build_dir = "delivery", .user = "pinnace-dns" },
	{ .role = R_SMTP, .program = "pinnace-smtp", .build_dir = "delivery",
	    .user = "pinnace-send" },
	{ .role = R_ACCT, .program = "pinnace-acct", .build_dir = "acct",
	    .user = "pinnace-acct", .wants_events = true,
	    .wants_logs = true },
	{ .role = R_BOUNCE, .program = "pinnace-bounce",
	    .build_dir = "bounce", .user = "pinnace-bounce",
	    .wants_events = true },
	{ .role = R_SMTPD, .program = "pinnace-smtpd", .build_dir = "smtpd",
	    .user = "pinnace-smtpd",
	    .wants_listeners = true },
	{ .role = R_PICKUP, .program = "pinnace-pickup", .build_dir = "smtpd",
	    .user = "pinnace-pickup", .wants_events = true,
	    .wants_pickup = true },
};

static void on_ready(struct chan *c, void *arg, const void *msg);
static void on_command(struct chan *c, void *arg, const void *msg);
static void on_chan_close(struct chan *c, void *arg, const char *why);

static const struct chan_ops child_ops = {
	.on = {
		[IPC_READY] = on_ready,
		[IPC_MASTER_CMD] = on_command,
	},
	.on_close = on_chan_close,
};

static void
on_restart(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	child_start(arg);
}

static void
child_add(struct master *m, const struct child_kind *kind, unsigned index)
{
	struct child *c;

	if (m->nchildren == CHILDREN_MAX)
		return;
	c = &m->children[m->nchildren++];
	*c = (struct child){ .master = m, .kind = kind, .index = index };
	c->restart = event_new(m->base, -1, 0, on_restart, c);
	c->beat_fd = heartbeat_make();
	if (c->beat_fd >= 0)
		c->beat = heartbeat_map(c->beat_fd);
	if (c->restart == NULL || c->beat == NULL)
		fatal_errno("cannot make what a child needs");
}

static unsigned
kind_count(const struct master *m, const struct child_kind *k)
{
	const struct conf_global *g = conf_global(m->conf);
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	uint32_t want = 0;

	if (k->role == R_SMTPD)
		want = g->smtpd_processes;
	else if (k->role == R_SMTP)
		want = g->smtp_processes;
	else if (k->role == R_PICKUP)
		return g->pickup.n > 0;
	else
		return 1;
	if (want != 0)
		return want;
	if (cores < 1)
		return 1;
	return cores > 32 ? 32 : (unsigned)cores;
}

void
children_init(struct master *m)
{
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		unsigned n = kind_count(m, &kinds[k]);

		for (unsigned i = 0; i < n; i++)
			child_add(m, &kinds[k], i);
	}
}

struct child *
child_find(struct master *m, enum ipc_role role, unsigned index)
{
	for (unsigned i = 0; i < m->nchildren; i++) {
		struct child *c = &m->children[i];

		if (c->kind->role == role && c->index == index)
			return c;
	}
	return NULL;
}

static struct chan *
qmgr_chan(struct master *m)
{
	const struct child *c = child_find(m, R_QMGR, 0);

	return c == NULL ? NULL : c->chan;
}

unsigned
children_running(const struct master *m)
{
	unsigned n = 0;

	for (unsigned i = 0; i < m->nchildren; i++)
		n += m->children[i].pid != 0;
	return n;
}

/* ---- starting ---- */

/*
 * Puts descriptors at their fixed numbers. All sources are moved out of the
 * way first, because one's source may be another's place.
 */
static void
fds_place(int want[CHILD_FDS])
{
	for (int i = 0; i < CHILD_FDS; i++) {
		if (want[i] < 0)
			continue;
		want[i] = fcntl(want[i], F_DUPFD, CHILD_FDS);
		if (want[i] < 0)
			_exit(111);
	}
	for (int i = 0; i < CHILD_FDS; i++) {
		if (want[i] < 0)
			(void)close(i);
		else if (dup2(want[i], i) < 0)
			_exit(111);
	}
	if (close_range(CHILD_FDS, ~0u, 0) != 0)
		_exit(111);
}

static void
child_fds(const struct child *c, int chan_fd, int want[CHILD_FDS])
{
	const struct master *m = c->master;
	const struct child_kind *k = c->kind;

	for (int i = 0; i < CHILD_FDS; i++)
		want[i] = -1;
	want[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
	want[1] = want[0];
	want[2] = STDERR_FILENO;
	want[ROLE_FD_MASTER] = chan_fd;
	want[ROLE_FD_BEAT] = c->beat_fd;
	if (k->wants_spool)
		want[ROLE_FD_SPOOL] = m->spool_fd;
	if (k->wants_events) {
		want[ROLE_FD_EVENTS] = m->events_fd;
		want[ROLE_FD_OFFSETS] = m->offsets_fd;
	}
	if (k->wants_logs)
		want[ROLE_FD_LOGS] = m->logs_fd;
	if (k->wants_pickup) {
		want[ROLE_FD_PICKUP] = m->pickup_fd;
		want[ROLE_FD_BAD] = m->bad_fd;
	}
}

static void __attribute__((noreturn))
child_exec(const struct child *c, int chan_fd)
{
	const struct master *m = c->master;
	char path[4096], index[16], user[64];
	char opt_i[] = "-i", opt_u[] = "-u", opt_d[] = "-d", opt_v[] = "-v",
	    opt_s[] = "-S";
	char chroot_dir[] = CHROOT_DIR;
	/* With a long queue each message lies on a page of its own; glibc asks
	 * for large ones (madvise) if told to. */
	char large_pages[] = "GLIBC_TUNABLES=glibc.malloc.hugetlb=1";
	char *argv[11];
	char *envp[] = { c->kind->is_large ? large_pages : NULL, NULL };
	int want[CHILD_FDS], n = 0;
	struct str s;
	sigset_t none;

	STR_ON(&s, path);
	if (m->build_dir != NULL)
		str_addf(&s, "%s/%s/", m->build_dir, c->kind->build_dir);
	else
		str_addf(&s, "%s/", PINNACE_LIBEXECDIR);
	str_adds(&s, c->kind->program);
	STR_ON(&s, index);
	str_addf(&s, "%u", c->index);
	argv[n++] = path;
	argv[n++] = opt_i;
	argv[n++] = index;
	if (!m->keep_user) {
		argv[n++] = opt_u;
		strlcpy(user, c->kind->user, sizeof(user));
		argv[n++] = user;
		argv[n++] = opt_d;
		argv[n++] = chroot_dir;
	}
	if (m->debug)
		argv[n++] = opt_v;
	if (m->no_sandbox)
		argv[n++] = opt_s;
	argv[n] = NULL;
	child_fds(c, chan_fd, want);
	fds_place(want);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(path, argv, envp);
	fprintf(stderr, "cannot run %s: %s\n", path, strerror(errno));
	_exit(111);
}

void
child_start(struct child *c)
{
	struct master *m = c->master;
	int sp[2];
	pid_t pid;

	if (m->stopping || c->pid != 0)
		return;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sp) != 0) {
		log_warn_errno("no channel for %s", c->kind->program);
		event_add(c->restart, &(struct timeval){ .tv_sec = 1 });
		return;
	}
	pid = fork();
	if (pid == 0)
		child_exec(c, sp[1]);
	close(sp[1]);
	if (pid < 0) {
		log_warn_errno("cannot fork %s", c->kind->program);
		close(sp[0]);
		event_add(c->restart, &(struct timeval){ .tv_sec = 1 });
		return;
	}
	c->pid = pid;
	c->started = c->beaten = clock_mono();
	c->ready = c->hung = c->disk_wait = false;
	c->chan = chan_new(m->base, sp[0], R_MASTER, c->kind->role, c->index,
	    &child_ops, c);
	log_debug("%s[%u] started, pid %d", c->kind->program, c->index,
	    (int)pid);
	child_introduce(c);
	orphans_record(m);
}

/* ---- ending ---- */

/* Which of the signals say that the program is at fault. */
static bool
is_crash_signal(int signo)
{
	return signo == SIGSEGV || signo == SIGABRT || signo == SIGBUS ||
	    signo == SIGILL || signo == SIGFPE || signo == SIGSYS ||
	    signo == SIGTRAP;
}

static void
ended_note(struct child *c, int status)
{
	struct str s;

	STR_ON(&s, c->reason);
	c->ended = ENDED_EXIT;
	if (c->hung) {
		c->ended = ENDED_CRASH;
		str_adds(&s, "hung");
	} else if (WIFSIGNALED(status)) {
		c->ended = is_crash_signal(WTERMSIG(status)) ? ENDED_CRASH :
		    ENDED_OUTSIDE;
		str_addf(&s, "signal %d", WTERMSIG(status));
	} else {
		str_addf(&s, "status %d", WEXITSTATUS(status));
	}
	c->ended_at = clock_wall();
	c->restarts++;
	c->crashes += c->ended == ENDED_CRASH;
}

/* One line for each end, until there are too many: then one for all. */
static void
ended_log(struct child *c, int status)
{
	const struct heat *h = &c->heat;

	if (c->slowed && heat_is_hot(h))
		return;
	c->slowed = heat_is_hot(h);
	if (c->slowed)
		log_warn("%s[%u] crashed %u times in %lld s, the last time by "
		    "%s: from now on it is started more and more slowly, down "
		    "to once in %d s, until it lives", c->kind->program,
		    c->index, h->crashes, (long long)mono_diff_ms(clock_mono(),
		    h->first) / 1000, c->reason, HEAT_DELAY_MAX_MS / 1000);
	else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		log_warn("%s[%u] broke its sandbox; starting it again",
		    c->kind->program, c->index);
	else if (WIFSIGNALED(status))
		log_warn("%s[%u] was killed by signal %d%s; starting it "
		    "again", c->kind->program, c->index, WTERMSIG(status),
		    c->hung ? " because it hung" : "");
	else
		log_warn("%s[%u] ended with status %d; starting it again",
		    c->kind->program, c->index, WEXITSTATUS(status));
}

static void
child_restart_plan(struct child *c)
{
	struct timeval tv;

	c->delay_ms = heat_ended(&c->heat, c->started, clock_mono(),
	    c->ended != ENDED_OUTSIDE);
	tv = (struct timeval){ .tv_sec = c->delay_ms / 1000,
		.tv_usec = (suseconds_t)(c->delay_ms % 1000 * 1000) };
	event_add(c->restart, &tv);
}

static void
child_ended(struct child *c, int status)
{
	struct master *m = c->master;

	c->pid = 0;
	c->ready = false;
	chan_free(&c->chan);
	if (m->stopping) {
		if (children_running(m) == 0)
			event_base_loopexit(m->base, NULL);
		return;
	}
	ended_note(c, status);
	child_restart_plan(c);
	ended_log(c, status);
	/* qmgr knows of an end before it hears of the successor */
	child_tell(c, qmgr_chan(m));
}

void
child_tell(const struct child *c, struct chan *to)
{
	if (to == NULL)
		return;
	ipc_send_child(to, &(struct ipc_child){
	    .role = c->kind->role, .index = c->index,
	    .pid = (uint32_t)c->pid, .ready = c->ready,
	    .ended = (uint8_t)c->ended, .restarts = c->restarts,
	    .crashes = c->crashes, .ended_us = (uint64_t)c->ended_at.us,
	    .delay_ms = c->pid != 0 ? 0 : (uint32_t)c->delay_ms,
	    .reason = sv_from(c->reason) });
}

void
children_reap(struct master *m)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (unsigned i = 0; i < m->nchildren; i++) {
			if (m->children[i].pid == pid) {
				child_ended(&m->children[i], status);
				break;
			}
		}
	}
}

void
children_stop(struct master *m, uint32_t drain_ms)
{
	for (unsigned i = 0; i < m->nchildren; i++) {
		struct child *c = &m->children[i];

		event_del(c->restart);
		/* qmgr and the readers go last: see children_reap */
		if (c->chan != NULL)
			ipc_send_stop(c->chan,
			    &(struct ipc_stop){ .drain_ms = drain_ms });
	}
}

void
children_kill(struct master *m, int signo)
{
	for (unsigned i = 0; i < m->nchildren; i++) {
		if (m->children[i].pid != 0)
			kill(m->children[i].pid, signo);
	}
}

/* ---- frames from children ---- */

static void
on_ready(struct chan *chan, void *arg, const void *msg)
{
	const struct ipc_ready *m = msg;
	struct child *c = arg;

	(void)chan;
	c->ready = true;
	c->generation = m->generation;
	child_tell(c, qmgr_chan(c->master));
	report_check(c->master);
}

static void
on_command(struct chan *chan, void *arg, const void *msg)
{
	const struct ipc_master_cmd *cmd = msg;
	struct child *c = arg;
	struct ipc_master_reply reply = { .token = cmd->token };
	struct buf text;

	buf_init(&text, 60000);
	if (sv_eq(cmd->command, SV("reload"))) {
		reply.ok = master_reload(c->master, &text);
	} else if (sv_eq(cmd->command, SV("rotate log"))) {
		reply.ok = logfile_rotate(c->master, &text);
	} else if (sv_eq(cmd->command, SV("stop"))) {
		reply.ok = 1;
		buf_sayf(&text, "stopping\n");
	} else {
		buf_sayf(&text, "the master does not know that\n");
	}
	reply.text = buf_sv(&text);
	ipc_send_master_reply(chan, &reply);
	chan_flush(chan);
	buf_fini(&text);
	if (sv_eq(cmd->command, SV("stop")))
		master_stop(c->master);
}

/*
 * A child that broke its channel is of no use, and one that died is reaped by
 * SIGCHLD: kill covers the first and does not hurt the second.
 */
static void
on_chan_close(struct chan *chan, void *arg, const char *why)
{
	struct child *c = arg;

	(void)chan;
	log_debug("channel to %s[%u]: %s", c->kind->program, c->index, why);
	chan_free(&c->chan);
	if (c->pid != 0 && !c->master->stopping)
		kill(c->pid, SIGKILL);
}
