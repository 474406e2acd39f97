/* SPDX-License-Identifier: ISC */
/*
 * When a master is killed its children work on. The next master finds their
 * qmgr behind the control socket and tells it to stop; the others follow it.
 * Whoever of them is still there some seconds later hangs, or hangs on one
 * that does, and is killed: their ports and the spool's lock are wanted.
 *
 * Who they are stands in run-directory/children, a line each: pid, when it was
 * started (field 22 of /proc/PID/stat: a pid is used again, the two are not),
 * program. Written anew whenever a child is started.
 */
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bsd/string.h>

#include "common/base/rw.h"
#include "common/base/str.h"
#include "common/ipc/role.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "master/master.h"
#include "master/procstat.h"

#define ANSWER_WAIT_S 5
/* Their drain, and what qmgr takes for its last checkpoint. */
#define LEAVE_WAIT_MS (ROLE_ORPHAN_DRAIN_MS + ROLE_QMGR_EXTRA_S * 1000)
#define KILL_WAIT_MS  2000
#define RECORD_BYTES  (CHILDREN_MAX * 64)

/* ---- telling qmgr ---- */

/* A CTL_REQUEST as a frame: see common/ipc/chan.c for its header. */
static size_t
stop_frame(unsigned char *mem, size_t size)
{
	struct sv word = SV("stop");
	struct ipc_ctl_request m = {.words = {.array = &word, .n = 1}};
	struct wr w, head;

	wr_init(&w, mem + 8, size - 8);
	ipc_ctl_request_encode(&w, &m);
	wr_init(&head, mem, 8);
	wr_u32(&head, (uint32_t)w.n + 8);
	wr_u16(&head, IPC_CTL_REQUEST);
	wr_u16(&head, 0);
	return w.failed ? 0 : w.n + 8;
}

/* False if it is there and does not answer. */
static bool
qmgr_tell(const char *control_path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct timeval tv = {.tv_sec = ANSWER_WAIT_S};
	unsigned char mem[256];
	size_t n = stop_frame(mem, sizeof(mem));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ssize_t got = 0;

	if (fd < 0)
		return true;
	strlcpy(un.sun_path, control_path, sizeof(un.sun_path));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0 &&
	    write(fd, mem, n) == (ssize_t)n) {
		log_info("stopping the processes of a master that died");
		do
			got = read(fd, mem, sizeof(mem));
		while (got > 0);
	}
	close(fd);
	return got == 0;
}

/* ---- who they are ---- */

static bool
record_path(const struct master *m, char *mem, size_t size)
{
	struct str s;

	str_init(&s, mem, size);
	str_add(&s, conf_global(m->conf)->run_directory);
	str_adds(&s, "/children");
	return !s.truncated;
}

/* When a process was started, in ticks since the machine's; 0: not there. A
 * zombie is nobody: of a dead master it is gone in a moment. */
static unsigned long long
started_at(pid_t pid)
{
	struct procstat st;

	return procstat_read(pid, &st) != 0 || st.state == 'Z' ? 0 :
	    st.started;
}

void
orphans_record(const struct master *m)
{
	char path[4096], mem[RECORD_BYTES];
	struct str s;
	int fd;

	STR_ON(&s, mem);
	for (unsigned i = 0; i < m->nchildren; i++) {
		const struct child *c = &m->children[i];

		if (c->pid != 0)
			str_addf(&s, "%d %llu %s\n", (int)c->pid,
			    started_at(c->pid), c->kind->program);
	}
	if (!record_path(m, path, sizeof(path)))
		return;
	fd = open(
	    path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0 || write(fd, mem, s.n) != (ssize_t)s.n)
		log_warn_errno("%s cannot be written", path);
	if (fd >= 0)
		close(fd);
}

/* One line of the record; 0 if that process is not there any more. */
static pid_t
orphan_parse(char *line)
{
	unsigned long long pid, began;
	char *end;

	pid = strtoull(line, &end, 10);
	if (pid < 2 || pid > INT32_MAX || *end != ' ')
		return 0;
	began = strtoull(end, NULL, 10);
	return began != 0 && started_at((pid_t)pid) == began ? (pid_t)pid : 0;
}

/* How many of them live, of those that run this program ("": any); kills
 * them with signo if not 0. */
static unsigned
orphans_look(const char *record, const char *program, int signo)
{
	char mem[RECORD_BYTES], *line, *rest = mem;
	unsigned n = 0;

	strlcpy(mem, record, sizeof(mem));
	while ((line = strsep(&rest, "\n")) != NULL) {
		pid_t pid = orphan_parse(line);

		if (pid == 0 || strstr(line, program) == NULL)
			continue;
		n++;
		if (signo == 0)
			continue;
		log_warn("process %d of the master that died does not leave: "
			 "killing it",
		    (int)pid);
		kill(pid, signo);
	}
	return n;
}

static bool
orphans_wait(const char *record, int64_t ms)
{
	struct mono until = mono_add_ms(clock_mono(), ms);

	while (orphans_look(record, "", 0) > 0) {
		if (clock_mono().us > until.us)
			return false;
		usleep(50000);
	}
	return true;
}

void
orphans_stop(const struct master *m)
{
	char path[4096], record[RECORD_BYTES];
	bool answered = qmgr_tell(m->control_path);
	ssize_t n = 0;
	int fd;

	if (!record_path(m, path, sizeof(path)))
		return;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return;
	n = read(fd, record, sizeof(record) - 1);
	close(fd);
	record[n > 0 ? n : 0] = '\0';
	/* the others leave when it is gone */
	if (!answered)
		(void)orphans_look(record, "qmgr", SIGKILL);
	if (orphans_wait(record, LEAVE_WAIT_MS))
		return;
	(void)orphans_look(record, "", SIGKILL);
	(void)orphans_wait(record, KILL_WAIT_MS);
}
