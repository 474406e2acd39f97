/* SPDX-License-Identifier: ISC */
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/sys/clock.h"
#include "tests/unit/acct/proc.h"

#define must(cond) do { if (!(cond)) { perror(#cond); abort(); } } while (0)
#define FD_ABOVE 20 /* descriptors are parked here before the exec */

void
proc_dirs(char *name_r, const char *const *folders, int *fds_r)
{
	int top;

	snprintf(name_r, 64, "/tmp/pinnace-test-XXXXXX");
	must(mkdtemp(name_r) != NULL);
	top = open(name_r, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(top >= 0);
	for (size_t i = 0; folders[i] != NULL; i++) {
		must(mkdirat(top, folders[i], 0700) == 0);
		fds_r[i] = openat(top, folders[i],
		    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		must(fds_r[i] >= 0);
	}
	close(top);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void
proc_dirs_remove(const char *name)
{
	nftw(name, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void
proc_on_close(struct chan *c, void *arg, const char *why)
{
	(void)c;
	(void)arg;
	(void)why;
}

static void
on_ready(struct chan *c, void *arg, const void *m)
{
	(void)c;
	(void)arg;
	(void)m;
}

static void
on_master_close(struct chan *c, void *arg, const char *why)
{
	struct proc *p = arg;

	(void)c;
	(void)why;
	p->gone = true;
}

static const struct chan_ops master_ops = {
	.on = { [IPC_READY] = on_ready },
	.on_close = on_master_close,
};

static int
conf_fd(const struct conf *conf)
{
	int fd = memfd_create("conf", MFD_CLOEXEC);
	struct buf b;

	buf_init(&b, CONF_ENCODED_MAX);
	must(fd >= 0 && conf_encode(conf, &b) == 0);
	must(write(fd, buf_data(&b), buf_len(&b)) == (ssize_t)buf_len(&b));
	buf_fini(&b);
	return fd;
}

static void __attribute__((noreturn))
child(const char *program, int master, const int *fds, size_t nfds)
{
	char *argv[] = { strdup(program), NULL };
	char *env[] = { NULL };

	must(dup2(master, FD_ABOVE) >= 0);
	for (size_t i = 0; i < nfds; i++)
		must(dup2(fds[i], FD_ABOVE + 1 + (int)i) >= 0);
	for (size_t i = 0; i <= nfds; i++)
		must(dup2(FD_ABOVE + (int)i, 3 + (int)i) >= 0);
	close_range(4 + (unsigned)nfds, ~0u, 0);
	execve(program, argv, env);
	_exit(127);
}

void
proc_start(struct proc *p, const char *program, enum ipc_role role,
    const int *fds, size_t nfds, const struct conf *conf,
    const struct chan_ops *qmgr_ops, void *qmgr_arg)
{
	int m[2], q[2];

	*p = (struct proc){ .base = event_base_new() };
	must(p->base != NULL);
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, m) == 0);
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, q) == 0);
	p->pid = fork();
	must(p->pid >= 0);
	if (p->pid == 0)
		child(program, m[1], fds, nfds);
	close(m[1]);
	p->master = chan_new(p->base, m[0], R_MASTER, role, 0, &master_ops, p);
	p->qmgr = chan_new(p->base, q[0], R_QMGR, role, 0, qmgr_ops, qmgr_arg);
	ipc_send_conf(p->master, &(struct ipc_conf){ .generation = 1 },
	    conf_fd(conf));
	ipc_send_peer(p->master, &(struct ipc_peer){ .role = R_QMGR }, q[1]);
	ipc_send_start(p->master, &(struct ipc_start){ .workers = 1 });
}

void
proc_run(struct proc *p, const bool *done, int64_t ms)
{
	struct mono end = mono_add_ms(clock_mono(), ms);

	while (!p->gone && (done == NULL || !*done)) {
		int64_t left = mono_diff_ms(end, clock_mono());
		struct timeval tv = {
			.tv_usec = (suseconds_t)(left > 5 ? 5000 : 1000),
		};

		if (left <= 0)
			return;
		event_base_loopexit(p->base, &tv);
		event_base_loop(p->base, EVLOOP_ONCE);
	}
}

static void
proc_free(struct proc *p)
{
	chan_free(&p->master);
	chan_free(&p->qmgr);
	event_base_free(p->base);
}

void
proc_kill(struct proc *p)
{
	int status;

	kill(p->pid, SIGKILL);
	must(waitpid(p->pid, &status, 0) == p->pid);
	proc_free(p);
}

int
proc_stop(struct proc *p)
{
	int status;

	ipc_send_stop(p->master, &(struct ipc_stop){ .drain_ms = 5000 });
	proc_run(p, &p->gone, 10000);
	must(waitpid(p->pid, &status, 0) == p->pid);
	proc_free(p);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
