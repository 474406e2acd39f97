/* SPDX-License-Identifier: ISC */
/*
 * A master and a qmgr for one real pinnace-smtpd: starts the program with its
 * descriptors, sends configuration, channel and listener, grants segments in
 * a temporary directory and notes what is committed.
 */
#ifndef TESTS_UNIT_SMTPD_FAKE_PARENT_H
#define TESTS_UNIT_SMTPD_FAKE_PARENT_H

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/conf/conf.h"
#include "common/ipc/role.h"
#include "common/mail/envelope.h"
#include "common/spool/segment.h"

#define FAKE_SEG_SIZE (UINT64_C(64) << 20)

struct fake_parent {
	struct event_base *base;
	char dir[256];
	struct chan *master, *qmgr;
	pid_t pid;
	uint16_t port;
	bool ready;
	bool hold_grants;
	uint64_t next_segment, next_large;
	unsigned commits, wants, dones, larges;
	struct buf env;            /* of the last COMMIT, with its place */
	struct ipc_commit last;
};

static inline int
fake_file(struct fake_parent *p, const char *kind, uint64_t n, int flags)
{
	char path[320];

	snprintf(path, sizeof(path), "%s/%s.%llu", p->dir, kind,
	    (unsigned long long)n);
	return open(path, flags | O_CLOEXEC, 0600);
}

static inline void
fake_grant(struct fake_parent *p)
{
	struct ipc_seg_grant m = { .segment = p->next_segment++,
		.offset = SEGMENT_HEADER, .size = FAKE_SEG_SIZE };
	int fd = fake_file(p, "seg", m.segment, O_CREAT | O_WRONLY);

	if (fd < 0)
		abort();
	ipc_send_seg_grant(p->qmgr, &m, fd);
}

static inline void
fake_on_seg_want(struct chan *c, void *arg, const void *m)
{
	struct fake_parent *p = arg;

	(void)c;
	(void)m;
	p->wants++;
	if (!p->hold_grants)
		fake_grant(p);
}

static inline void
fake_on_seg_done(struct chan *c, void *arg, const void *m)
{
	struct fake_parent *p = arg;

	(void)c;
	(void)m;
	p->dones++;
}

static inline void
fake_on_large_want(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_large_want *m = msg;
	struct fake_parent *p = arg;
	uint64_t id = p->next_large++;

	p->larges++;
	ipc_send_large_grant(c, &(struct ipc_large_grant){ .token = m->token,
	    .large_id = id }, fake_file(p, "large", id, O_CREAT | O_WRONLY));
}

static inline void
fake_on_large_drop(struct chan *c, void *arg, const void *m)
{
	(void)c;
	(void)arg;
	(void)m;
}

static inline void
fake_on_commit(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_commit *m = msg;
	struct fake_parent *p = arg;

	p->commits++;
	p->last = *m;
	buf_clear(&p->env);
	if (buf_add_sv(&p->env, m->env) != 0)
		abort();
	p->last.env = buf_sv(&p->env);
	chan_credit_grant(c, 1);
}

static inline void
fake_on_qmgr_close(struct chan *c, void *arg, const char *why)
{
	struct fake_parent *p = arg;

	(void)c;
	(void)why;
	chan_free(&p->qmgr);
}

static inline void
fake_on_ready(struct chan *c, void *arg, const void *m)
{
	struct fake_parent *p = arg;

	(void)c;
	(void)m;
	p->ready = true;
}

static inline void
fake_on_master_close(struct chan *c, void *arg, const char *why)
{
	struct fake_parent *p = arg;

	(void)c;
	(void)why;
	chan_free(&p->master);
}

static const struct chan_ops fake_qmgr_ops = {
	.on = { [IPC_SEG_WANT] = fake_on_seg_want,
	    [IPC_SEG_DONE] = fake_on_seg_done,
	    [IPC_COMMIT] = fake_on_commit,
	    [IPC_LARGE_WANT] = fake_on_large_want,
	    [IPC_LARGE_DROP] = fake_on_large_drop },
	.on_close = fake_on_qmgr_close,
};

static const struct chan_ops fake_master_ops = {
	.on = { [IPC_READY] = fake_on_ready },
	.on_close = fake_on_master_close,
};

/* A new qmgr: the old one's channel closes. */
static inline void
fake_qmgr_start(struct fake_parent *p, uint32_t credits)
{
	int sp[2];

	chan_free(&p->qmgr);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sp) != 0)
		abort();
	p->qmgr = chan_new(p->base, sp[0], R_QMGR, R_SMTPD, 0,
	    &fake_qmgr_ops, p);
	ipc_send_peer(p->master, &(struct ipc_peer){ .role = R_QMGR }, sp[1]);
	chan_credit_grant(p->qmgr, credits);
}

static inline void
fake_conf_send(struct fake_parent *p, const char *text)
{
	struct conf_report rep;
	struct conf *conf;
	struct buf b;
	int fd = memfd_create("conf", MFD_CLOEXEC);

	conf_report_init(&rep);
	conf = conf_parse("test", sv_from(text), &rep);
	if (conf == NULL) {
		fprintf(stderr, "%s\n", rep.nerrors > 0 ? rep.errors[0] : "?");
		abort();
	}
	conf_report_fini(&rep);
	buf_init(&b, CONF_ENCODED_MAX);
	if (fd < 0 || conf_encode(conf, &b) != 0 ||
	    write(fd, buf_data(&b), buf_len(&b)) != (ssize_t)buf_len(&b))
		abort();
	buf_fini(&b);
	conf_free(&conf);
	ipc_send_conf(p->master, &(struct ipc_conf){ .generation = 1 }, fd);
}

static inline void
fake_exec(const char *program, int fd, int log)
{
	char arg0[] = "pinnace-smtpd", arg1[] = "-i", arg2[] = "0";
	char *argv[] = { arg0, arg1, arg2, NULL };
	char *envp[] = { NULL };

	if (dup2(log, STDERR_FILENO) < 0)
		_exit(99);
	/* dup2 to itself would keep close-on-exec */
	if (fd == ROLE_FD_MASTER)
		fcntl(fd, F_SETFD, 0);
	else if (dup2(fd, ROLE_FD_MASTER) < 0)
		_exit(99);
	execve(program, argv, envp);
	_exit(99);
}

static inline void
fake_listen(struct fake_parent *p)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&in, len) != 0 ||
	    listen(fd, 1024) != 0 ||
	    getsockname(fd, (struct sockaddr *)&in, &len) != 0)
		abort();
	p->port = ntohs(in.sin_port);
	ipc_send_listener(p->master, &(struct ipc_listener){ .id = 1,
	    .address = SV("127.0.0.1"), .source = SV("") }, fd);
}

static inline void
fake_start(struct fake_parent *p, const char *program, const char *conf)
{
	const char *tmp = getenv("TMPDIR");
	int sp[2], log;

	memset(p, 0, sizeof(*p));
	p->next_segment = p->next_large = 1;
	buf_init(&p->env, IPC_ENV_MAX);
	snprintf(p->dir, sizeof(p->dir), "%s/smtpd.XXXXXX",
	    tmp != NULL ? tmp : "/tmp");
	p->base = event_base_new();
	if (p->base == NULL || mkdtemp(p->dir) == NULL ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sp) != 0)
		abort();
	log = fake_file(p, "log", 0, O_CREAT | O_WRONLY | O_APPEND);
	p->pid = fork();
	if (p->pid == 0)
		fake_exec(program, sp[1], log);
	close(sp[1]);
	close(log);
	p->master = chan_new(p->base, sp[0], R_MASTER, R_SMTPD, 0,
	    &fake_master_ops, p);
	fake_conf_send(p, conf);
	fake_qmgr_start(p, 1000);
	fake_listen(p);
	ipc_send_start(p->master, &(struct ipc_start){ .workers = 0 });
	while (!p->ready && p->master != NULL)
		event_base_loop(p->base, EVLOOP_ONCE);
}

/* Waits for the end; its wait status. */
static inline int
fake_wait(struct fake_parent *p)
{
	int status = -1;

	while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static inline void
fake_unlink(struct fake_parent *p, const char *kind, uint64_t from,
    uint64_t to)
{
	char path[320];

	for (uint64_t i = from; i < to; i++) {
		snprintf(path, sizeof(path), "%s/%s.%llu", p->dir, kind,
		    (unsigned long long)i);
		(void)unlink(path);
	}
}

static inline void
fake_end(struct fake_parent *p)
{
	chan_free(&p->qmgr);
	chan_free(&p->master);
	event_base_free(p->base);
	buf_fini(&p->env);
	fake_unlink(p, "seg", 1, p->next_segment);
	fake_unlink(p, "large", 1, p->next_large);
	fake_unlink(p, "log", 0, 1);
	(void)rmdir(p->dir);
}

#endif
