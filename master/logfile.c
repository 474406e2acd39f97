/* SPDX-License-Identifier: ISC */
/*
 * The log file, which all processes hold open as descriptor 2. A new one is
 * opened aside, takes the place of the old one, and is handed to every child:
 * what a child writes until it has it goes to the old one, so no line is lost.
 */
#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/base/str.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "master/master.h"

#define LOOK_S 60 /* a clock that is set is not noticed later */

static int
file_open(const struct master *m, const char *path, int flags)
{
	return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC |
	    O_NOFOLLOW | flags,
	    conf_global(m->conf)->log_file_world_readable ? 0644 : 0640);
}

bool
logfile_open(struct master *m, struct buf *text)
{
	struct sv path = conf_global(m->conf)->log_file;
	int fd;

	if (path.n == 0)
		return true;
	m->log_path = sv_dup(path);
	fd = file_open(m, m->log_path, 0);
	if (fd < 0) {
		buf_sayf(text, "%s: cannot open this log file: %s\n",
		    m->log_path, strerror(errno));
		return false;
	}
	log_take_fd(fd);
	return true;
}

/* ---- a new one ---- */

struct path {
	char p[4200]; /* of a configuration at most 4,000 */
};

static const char *
old_name(const struct master *m, unsigned n, struct path *mem)
{
	(void)snprintf(mem->p, sizeof(mem->p), "%s.%u", m->log_path, n);
	return mem->p;
}

/* FILE.1 becomes FILE.2 and so on; those above the limit go. */
static void
old_shift(const struct master *m, unsigned keep)
{
	struct path from, to;

	for (unsigned n = keep - 1; n >= 1; n--)
		(void)rename(old_name(m, n, &from), old_name(m, n + 1, &to));
	for (unsigned n = keep + 1; unlink(old_name(m, n, &from)) == 0; n++)
		;
}

/* The file becomes FILE.1 and what stands aside takes its name. 0, or -1 with
 * errno: it has its name still. */
static int
replace(const struct master *m, const char *aside, unsigned keep)
{
	struct path first;
	int e;

	old_shift(m, keep);
	/* somebody may have moved it away */
	if (rename(m->log_path, old_name(m, 1, &first)) != 0 &&
	    errno != ENOENT)
		return -1;
	if (rename(aside, m->log_path) == 0)
		return 0;
	e = errno;
	(void)rename(first.p, m->log_path);
	errno = e;
	return -1;
}

/* A new file in its place, or, if old ones are not ours to keep, whatever has
 * its name now. -1 with errno. */
static int
next_open(const struct master *m, unsigned keep)
{
	struct path aside;
	int fd, e;

	if (keep == 0)
		return file_open(m, m->log_path, 0);
	(void)snprintf(aside.p, sizeof(aside.p), "%s.new", m->log_path);
	(void)unlink(aside.p);
	fd = file_open(m, aside.p, O_EXCL);
	if (fd < 0 || replace(m, aside.p, keep) == 0)
		return fd;
	e = errno;
	(void)unlink(aside.p);
	close(fd);
	errno = e;
	return -1;
}

/* A child that gets none writes to the old one: nothing is lost. */
static void
hand_out(struct master *m, int fd)
{
	static const struct ipc_log nothing;

	for (unsigned i = 0; i < m->nchildren; i++) {
		struct child *c = &m->children[i];
		int copy = c->chan == NULL ? -1 :
		    fcntl(fd, F_DUPFD_CLOEXEC, 0);

		if (copy >= 0)
			ipc_send_log(c->chan, &nothing, copy);
		else if (c->chan != NULL)
			log_warn_errno("%s[%u] keeps the old log file",
			    c->kind->program, c->index);
	}
	log_take_fd(fd);
}

bool
logfile_rotate(struct master *m, struct buf *text)
{
	unsigned keep = conf_global(m->conf)->log_rotate;
	int fd;

	if (m->log_path == NULL) {
		buf_sayf(text, "there is no log-file\n");
		return false;
	}
	fd = next_open(m, keep);
	if (fd < 0) {
		buf_sayf(text, "%s: no new log file: %s\n", m->log_path,
		    strerror(errno));
		return false;
	}
	log_info(keep > 0 ? "the log goes on in a new file" :
	    "the log file is opened again");
	hand_out(m, fd);
	if (keep > 0)
		buf_sayf(text, "%s is closed and is %s.1 now\n", m->log_path,
		    m->log_path);
	else
		buf_sayf(text, "%s was opened again\n", m->log_path);
	return true;
}

/* ---- at midnight ---- */

/* Seconds to the next local midnight; the day of the month in *day_r. */
static long
to_midnight(int *day_r)
{
	time_t now = (time_t)(clock_wall().us / US_PER_SEC);
	struct tm tm;

	if (localtime_r(&now, &tm) == NULL)
		return LOOK_S;
	*day_r = tm.tm_mday;
	return 86400 - (tm.tm_hour * 3600L + tm.tm_min * 60 + tm.tm_sec);
}

static void
rotate_by_itself(struct master *m)
{
	const struct conf_global *g = conf_global(m->conf);
	struct stat st;
	struct buf text;
	struct sv line;

	if (!g->log_auto_rotation || g->log_rotate == 0 ||
	    fstat(STDERR_FILENO, &st) != 0 || st.st_size == 0)
		return;
	buf_init(&text, 60000);
	if (!logfile_rotate(m, &text)) {
		line = buf_sv(&text);
		line = sv_cut(&line, '\n');
		log_warn("%.*s", SV_FMT(line));
	}
	buf_fini(&text);
}

static void
on_log_timer(evutil_socket_t fd, short what, void *arg)
{
	struct master *m = arg;
	int day = m->log_day;
	long s = to_midnight(&day);

	(void)fd;
	(void)what;
	event_add(m->log_timer, &(struct timeval){
	    .tv_sec = s < LOOK_S ? s : LOOK_S });
	if (day == m->log_day)
		return;
	m->log_day = day;
	rotate_by_itself(m);
}

void
logfile_watch(struct master *m)
{
	if (m->log_path == NULL)
		return;
	m->log_timer = event_new(m->base, -1, 0, on_log_timer, m);
	if (m->log_timer == NULL)
		fatal("out of memory");
	(void)to_midnight(&m->log_day);
	on_log_timer(-1, 0, m);
}
