/* SPDX-License-Identifier: ISC */
#include <sys/mman.h>
#include <sys/stat.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/base/mem.h"
#include "common/ipc/heartbeat.h"
#include "common/ipc/role.h"
#include "common/sys/evmem.h"
#include "common/sys/log.h"
#include "common/sys/priv.h"
#include "common/sys/sandbox.h"

/* What the master gives to whom, see role.h. */
static const struct {
	enum ipc_role role;
	struct sandbox_dir dirs[4];
} role_dirs[] = {
	{ R_QMGR, { { ROLE_FD_SPOOL, true }, { -1, false }, { -1, false },
	    { -1, false } } },
	{ R_ACCT, { { ROLE_FD_EVENTS, false }, { ROLE_FD_OFFSETS, true },
	    { ROLE_FD_LOGS, true }, { -1, false } } },
	{ R_BOUNCE, { { ROLE_FD_EVENTS, false }, { ROLE_FD_OFFSETS, true },
	    { -1, false }, { -1, false } } },
	{ R_PICKUP, { { ROLE_FD_EVENTS, false }, { ROLE_FD_OFFSETS, true },
	    { ROLE_FD_PICKUP, true }, { ROLE_FD_BAD, true } } },
};

/* The one of this process; static, so that at the end everything that hangs on
 * it is still in use and not a leak. */
static struct role self_role;

unsigned role_qmgr_wait_s = ROLE_QMGR_WAIT_S;

static void
on_conf(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_conf *m = msg;
	struct role *r = arg;
	int fd = chan_take_fd(c);
	struct stat st;
	void *p;

	if (fstat(fd, &st) != 0 || st.st_size == 0)
		fatal_errno("cannot read the configuration");
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		fatal_errno("cannot map the configuration");
	close(fd);
	r->generation = m->generation;
	r->ops->conf(r, sv_make(p, (size_t)st.st_size));
	munmap(p, (size_t)st.st_size);
	ipc_send_ready(c, &(struct ipc_ready){ .generation = m->generation });
}

static void
on_peer(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_peer *m = msg;
	struct role *r = arg;

	if (m->role == R_QMGR) {
		r->has_qmgr = true;
		event_del(r->qmgr_missing);
	}
	r->ops->peer(r, (enum ipc_role)m->role, m->index, chan_take_fd(c));
}

static void
on_listener(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_listener *m = msg;
	struct role *r = arg;

	if (r->ops->listener != NULL)
		r->ops->listener(r, m->id, m->address, m->source,
		    chan_take_fd(c));
}

static void
on_listener_close(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_listener_close *m = msg;
	struct role *r = arg;

	(void)c;
	if (r->ops->listener_close != NULL)
		r->ops->listener_close(r, m->id);
}

static void
on_start(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_start *m = msg;
	struct role *r = arg;

	(void)c;
	if (r->ops->start != NULL)
		r->ops->start(r, m->workers);
}

static void
on_master_reply(struct chan *c, void *arg, const void *msg)
{
	struct role *r = arg;

	(void)c;
	if (r->ops->master_reply != NULL)
		r->ops->master_reply(r, msg);
}

static void
on_child(struct chan *c, void *arg, const void *msg)
{
	struct role *r = arg;

	(void)c;
	if (r->ops->child != NULL)
		r->ops->child(r, msg);
}

static void
on_log(struct chan *c, void *arg, const void *msg)
{
	(void)arg;
	(void)msg;
	log_take_fd(chan_take_fd(c));
}

static void
role_stop(struct role *r, uint32_t drain_ms)
{
	struct timeval tv = {
		.tv_sec = drain_ms / 1000,
		.tv_usec = (suseconds_t)(drain_ms % 1000) * 1000,
	};

	if (r->stopping)
		return;
	r->stopping = true;
	/* qmgr goes after all others: they tell it their last words */
	if (r->self == R_QMGR)
		tv.tv_sec += ROLE_QMGR_EXTRA_S;
	event_base_loopexit(r->base, &tv);
	if (r->ops->stop != NULL)
		r->ops->stop(r, drain_ms);
	else
		role_exit(r);
}

static void
on_stop(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_stop *m = msg;

	(void)c;
	role_stop(arg, m->drain_ms);
}

static void
on_master_close(struct chan *c, void *arg, const char *why)
{
	struct role *r = arg;

	(void)c;
	log_warn("the master is gone: %s", why);
	chan_free(&r->master);
	if (r->ops->master_gone != NULL)
		r->ops->master_gone(r);
	if (r->self != R_QMGR && !r->has_qmgr)
		role_orphan_stop(r);
}

void
role_orphan_stop(struct role *r)
{
	if (r->master == NULL)
		role_stop(r, ROLE_ORPHAN_DRAIN_MS);
}

/* The master would have made a new channel long ago if qmgr had died. */
static void
on_qmgr_missing(evutil_socket_t fd, short what, void *arg)
{
	const struct role *r = arg;

	(void)fd;
	(void)what;
	if (!r->has_qmgr && r->master != NULL && !r->stopping)
		fatal("no channel to qmgr for %u s", role_qmgr_wait_s);
}

/* At the start, too: the master may have had no descriptors for one. */
static void
qmgr_await(struct role *r)
{
	struct timeval wait = { .tv_sec = role_qmgr_wait_s };

	event_add(r->qmgr_missing, &wait);
}

void
role_qmgr_gone(void)
{
	struct role *r = &self_role;

	if (r->ops == NULL)
		return; /* a test's role without a skeleton */
	r->has_qmgr = false;
	qmgr_await(r);
	role_orphan_stop(r);
}

static const struct chan_ops master_ops = {
	.on = {
		[IPC_CONF] = on_conf,
		[IPC_PEER] = on_peer,
		[IPC_LISTENER] = on_listener,
		[IPC_LISTENER_CLOSE] = on_listener_close,
		[IPC_START] = on_start,
		[IPC_STOP] = on_stop,
		[IPC_MASTER_REPLY] = on_master_reply,
		[IPC_CHILD] = on_child,
		[IPC_LOG] = on_log,
	},
	.on_close = on_master_close,
};

void
role_exit(struct role *r)
{
	event_base_loopexit(r->base, NULL);
}

/* Before anything of the role: threads that it starts are in it, too. */
static void
files_forbid(const struct role_ops *ops)
{
	const struct sandbox_dir *dirs = NULL;
	size_t n = 0;

	for (size_t i = 0; i < sizeof(role_dirs) / sizeof(role_dirs[0]); i++) {
		if (role_dirs[i].role == ops->self) {
			dirs = role_dirs[i].dirs;
			n = sizeof(role_dirs[i].dirs) / sizeof(dirs[0]);
		}
	}
	priv_conceal();
	sandbox_files(ops->name, dirs, n);
}

/* Behind a chroot there is no /etc; with TZ set nobody looks there again. */
static void
zone_load(void)
{
	if (setenv("TZ", ":/etc/localtime", 0) != 0)
		fatal("out of memory");
	tzset();
}

int
role_main(int argc, char **argv, const struct role_ops *ops)
{
	const char *user = NULL, *dir = NULL;
	struct role *r = &self_role;
	bool debug = false, sandbox = true;
	int opt;

	*r = (struct role){ .self = ops->self, .ops = ops };
	while ((opt = getopt(argc, argv, "i:u:d:Sv")) != -1) {
		switch (opt) {
		case 'i':
			r->index = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'u':
			user = optarg;
			break;
		case 'd':
			dir = optarg;
			break;
		case 'S':
			sandbox = false;
			break;
		case 'v':
			debug = true;
			break;
		default:
			return 100;
		}
	}
	log_init(ops->name, r->index, debug);
	evmem_init();
	if (ops->self != R_SMTPD && ops->self != R_PICKUP)
		mem_vital_set();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN); /* a terminal's ^C is the master's */
	signal(SIGHUP, SIG_IGN); /* as its end, and a reload */
	heartbeat_take(ROLE_FD_BEAT);
	priv_raise_nofile();
	zone_load();
	priv_drop(user, dir);
	if (sandbox)
		files_forbid(ops);
	r->base = event_base_new();
	if (r->base == NULL)
		fatal("no event base");
	heartbeat_start(r->base);
	r->qmgr_missing = event_new(r->base, -1, 0, on_qmgr_missing, r);
	if (r->qmgr_missing == NULL)
		fatal("out of memory");
	if (ops->self != R_QMGR)
		qmgr_await(r);
	ops->init(r);
	if (sandbox)
		sandbox_calls(ops->name);
	r->master = chan_new(r->base, ROLE_FD_MASTER, ops->self, R_MASTER, 0,
	    &master_ops, r);
	event_base_dispatch(r->base);
	if (r->master != NULL)
		chan_flush(r->master);
	/* behind a chroot exit handlers (a sanitizer's) find no /proc */
	if (dir != NULL)
		_exit(0);
	return 0;
}
