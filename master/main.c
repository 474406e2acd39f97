/* SPDX-License-Identifier: ISC */
#include <sys/file.h>
#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <linux/capability.h>

#include "common/base/str.h"
#include "common/sys/evmem.h"
#include "common/sys/log.h"
#include "common/sys/priv.h"
#include "common/sys/sandbox.h"
#include "master/master.h"
#include "master/notify.h"

#define LOCK_TRIES  20
#define LOCK_TRY_US 100000

static void
usage(void)
{
	fprintf(stderr,
	    "usage: pinnaced [-fSUv] [-c CONFIG] [-L BUILDDIR]\n"
	    "  -c  configuration file (default %s/pinnace/config)\n"
	    "  -f  stay in the foreground\n"
	    "  -L  take the other programs from this build tree\n"
	    "  -S  no sandbox, for debuggers\n"
	    "  -U  run everything as the calling user, without chroot\n"
	    "  -v  log debug lines\n", PINNACE_SYSCONFDIR);
	exit(100);
}

static void
options(struct master *m, int argc, char **argv)
{
	int opt;

	while ((opt = getopt(argc, argv, "c:fL:SUv")) != -1) {
		switch (opt) {
		case 'c':
			m->conf_path = optarg;
			break;
		case 'f':
			m->foreground = true;
			break;
		case 'L':
			m->build_dir = optarg;
			break;
		case 'S':
			m->no_sandbox = true;
			break;
		case 'U':
			m->keep_user = true;
			break;
		case 'v':
			m->debug = true;
			break;
		default:
			usage();
		}
	}
	if (optind != argc)
		usage();
	if (geteuid() != 0)
		m->keep_user = true;
}

/* Prints what is wrong where the caller sees it and ends. */
static void __attribute__((noreturn))
refuse(struct buf *text)
{
	fprintf(stderr, "%.*s", SV_FMT(buf_sv(text)));
	exit(1);
}

/* One master per run directory: the lock lives as long as the process. */
static void
pid_lock(struct master *m, struct buf *text)
{
	char path[4096];
	struct str s;

	STR_ON(&s, path);
	str_add(&s, conf_global(m->conf)->run_directory);
	mkdir(path, 0755);
	str_adds(&s, "/pinnaced.pid");
	m->pid_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (m->pid_fd < 0) {
		buf_sayf(text, "%s: %s\n", path, strerror(errno));
		refuse(text);
	}
	/* a killed master's child holds it until its exec */
	for (unsigned i = 0; i < LOCK_TRIES; i++) {
		if (flock(m->pid_fd, LOCK_EX | LOCK_NB) == 0)
			return;
		usleep(LOCK_TRY_US);
	}
	buf_sayf(text, "another pinnaced runs with %s\n", path);
	refuse(text);
}

/* A reload and the restart of a child find their files from "/", too. */
static void
path_absolute(const char **path)
{
	char *p = *path == NULL ? NULL : realpath(*path, NULL);

	if (p != NULL)
		*path = p;
}

/* A daemon holds no terminal and no pipe of its starter. */
static void
background(struct master *m)
{
	int fd;

	path_absolute(&m->conf_path);
	path_absolute(&m->build_dir);
	if (daemon(0, 1) != 0)
		fatal_errno("cannot go into the background");
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		fatal_errno("/dev/null");
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	close(fd);
}

static void
pid_write(struct master *m)
{
	if (ftruncate(m->pid_fd, 0) == 0)
		dprintf(m->pid_fd, "%d\n", (int)getpid());
}

static void
on_sigchld(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	children_reap(arg);
}

static void
on_sighup(evutil_socket_t fd, short what, void *arg)
{
	struct buf text;

	(void)fd;
	(void)what;
	buf_init(&text, 60000);
	if (!master_reload(arg, &text))
		log_warn("reload refused: %.*s", SV_FMT(buf_sv(&text)));
	buf_fini(&text);
}

static void
on_sigterm(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	master_stop(arg);
}

static void
on_stop_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct master *m = arg;

	(void)fd;
	(void)what;
	log_warn("%u processes did not stop in time: killing them",
	    children_running(m));
	children_kill(m, SIGKILL);
}

/* The drain of the configuration, and as much again for the last syncs. */
void
master_stop(struct master *m)
{
	int64_t drain_ms = conf_global(m->conf)->drain_timeout_ms;
	int64_t limit_ms = drain_ms + 10000;
	struct timeval tv = { .tv_sec = limit_ms / 1000 };

	if (m->stopping)
		return;
	m->stopping = true;
	log_info("stopping");
	report_stopping(m);
	listeners_close(m);
	if (children_running(m) == 0) {
		event_base_loopexit(m->base, NULL);
		return;
	}
	children_stop(m, (uint32_t)drain_ms);
	m->stop_timer = event_new(m->base, -1, 0, on_stop_timeout, m);
	event_add(m->stop_timer, &tv);
}

static void
signals_set(struct master *m)
{
	static const struct {
		int signo;
		event_callback_fn fn;
	} sigs[] = {
		{ SIGCHLD, on_sigchld }, { SIGHUP, on_sighup },
		{ SIGTERM, on_sigterm }, { SIGINT, on_sigterm },
	};

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++) {
		m->sigs[i] = evsignal_new(m->base, sigs[i].signo, sigs[i].fn,
		    m);
		if (m->sigs[i] == NULL || event_add(m->sigs[i], NULL) != 0)
			fatal("cannot handle signals");
	}
}

/*
 * What a root master needs later: to start, kill and reach the processes of
 * other users, and for a reload to open ports and directories. Everything else
 * of root's is given up, for the children, too.
 */
static void
privileges_reduce(const struct master *m)
{
	static const int keep[] = { CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER,
		CAP_FSETID, CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_SETPCAP,
		CAP_NET_BIND_SERVICE, CAP_SYS_CHROOT };

	if (!m->keep_user)
		priv_caps_keep(keep, sizeof(keep) / sizeof(keep[0]));
}

static void
prepare(struct master *m)
{
	struct buf text;

	buf_init(&text, 60000);
	if (!master_conf_load(m, &text))
		refuse(&text);
	if (buf_len(&text) > 0) {
		fprintf(stderr, "%.*s", SV_FMT(buf_sv(&text)));
		buf_clear(&text);
	}
	pid_lock(m, &text);
	if (!dirs_open(m, &text) || !control_open(m, &text) ||
	    !listeners_open(m, m->conf, &text) || !logfile_open(m, &text))
		refuse(&text);
	buf_fini(&text);
}

int
main(int argc, char **argv)
{
	static struct master m = {
		.conf_path = PINNACE_SYSCONFDIR "/pinnace/config",
		.spool_fd = -1, .events_fd = -1, .offsets_fd = -1,
		.logs_fd = -1, .pickup_fd = -1, .bad_fd = -1,
		.control_fd = -1,
	};
	static char rules[4096];

	m.rules_path = conf_rules_path(rules, sizeof(rules));
	umask(027);
	/* it would end us as long as it is not a reload */
	signal(SIGHUP, SIG_IGN);
	notify_init();
	options(&m, argc, argv);
	priv_raise_nofile();
	privileges_reduce(&m);
	prepare(&m);
	if (!m.foreground)
		background(&m);
	pid_write(&m);
	log_init("master", 0, m.debug);
	evmem_init();
	m.base = event_base_new();
	if (m.base == NULL)
		fatal("no event base");
	m.generation = 1;
	m.conf_fd = master_conf_memfd(m.conf);
	if (m.conf_fd < 0)
		fatal_errno("cannot hand on the configuration");
	signals_set(&m);
	if (m.keep_user)
		log_info("running as one user, without chroot");
	if (m.no_sandbox)
		log_warn("running without sandbox");
	else
		sandbox_report();
	children_init(&m);
	watch_start(&m);
	logfile_watch(&m);
	listeners_commit(&m);
	for (unsigned i = 0; i < m.nchildren; i++)
		child_start(&m.children[i]);
	log_info("started, %u processes", m.nchildren);
	event_base_dispatch(m.base);
	orphans_record(&m);
	/* so late: were we killed while stopping, the next master would find
	 * the others by it */
	control_close(&m);
	log_info("stopped");
	return 0;
}
