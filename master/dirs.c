/* SPDX-License-Identifier: ISC */
/*
 * The directories of an instance. Started as root they belong to the users
 * of the processes; the group pinnace (the primary group of all of them) is
 * what lets the readers see the event log.
 */
#include <sys/stat.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/str.h"
#include "common/sys/log.h"
#include "master/master.h"

#define GROUP "pinnace"

static const struct spool_dir {
	const char *name;
	mode_t mode;
} spool_dirs[] = {
	{ "segments", 0700 }, { "large", 0700 }, { "events", 02750 },
	{ "checkpoint", 0700 }, { "offsets", 03770 }, { "intent", 0700 },
	{ "corrupt", 0700 },
};

/* Makes path and what is missing above it. */
static int
mkdir_parents(const char *path, mode_t mode)
{
	char part[4096];
	size_t n = strlen(path);

	if (n >= sizeof(part)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	for (size_t i = 1; i <= n; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, i == n ? mode : 0755) != 0 && errno != EEXIST)
			return -1;
	}
	return 0;
}

static int
dir_open(const char *path, struct buf *text)
{
	int fd = -1;

	if (mkdir_parents(path, 0750) == 0)
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		buf_sayf(text, "%s: cannot make or open this "
		    "directory: %s\n", path, strerror(errno));
	return fd;
}

static bool
dir_is_empty(int fd)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	unsigned n = 0;

	if (d == NULL) {
		if (copy >= 0)
			close(copy);
		return false;
	}
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n <= 2;
}

/*
 * Gives a directory that is new to its user. One that somebody uses is left
 * alone: the configuration may name /var/log.
 */
static bool
dir_own(const struct master *m, int fd, const char *path, const char *user,
    mode_t mode, struct buf *text)
{
	struct passwd *pw;
	struct group *gr;
	struct stat st;

	if (m->keep_user)
		return true;
	pw = getpwnam(user);
	gr = getgrnam(GROUP);
	if (pw == NULL || gr == NULL) {
		buf_sayf(text, "there is no user %s or no group %s\n", user,
		    GROUP);
		return false;
	}
	if (fstat(fd, &st) != 0 ||
	    (st.st_uid != pw->pw_uid && !dir_is_empty(fd))) {
		buf_sayf(text, "%s: this directory must belong to the user "
		    "%s, or be empty\n", path, user);
		return false;
	}
	if (fchown(fd, pw->pw_uid, gr->gr_gid) == 0 && fchmod(fd, mode) == 0)
		return true;
	buf_sayf(text, "%s: cannot be given to the user %s: %s\n", path, user,
	    strerror(errno));
	return false;
}

static bool
spool_dirs_make(struct master *m, struct buf *text)
{
	size_t n = sizeof(spool_dirs) / sizeof(spool_dirs[0]);

	for (size_t i = 0; i < n; i++) {
		const struct spool_dir *d = &spool_dirs[i];
		int fd;

		fd = -1;
		if (mkdirat(m->spool_fd, d->name, d->mode) == 0 ||
		    errno == EEXIST)
			fd = openat(m->spool_fd, d->name, O_RDONLY |
			    O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0) {
			buf_sayf(text, "spool/%s: %s\n", d->name,
			    strerror(errno));
			return false;
		}
		if (!dir_own(m, fd, d->name, "pinnace-queue", d->mode, text))
			return false;
		if (strcmp(d->name, "events") == 0)
			m->events_fd = fd;
		else if (strcmp(d->name, "offsets") == 0)
			m->offsets_fd = fd;
		else
			close(fd);
	}
	return true;
}

/*
 * The accounting files of one instance stand in one directory, that of the
 * first acct-file; acct holds its descriptor and may open nothing else.
 */
static bool
logs_open(struct master *m, struct buf *text)
{
	char *path, *slash;
	bool ok;

	m->logs_fd = -1;
	if (conf_naccts(m->conf) == 0)
		return true;
	path = sv_dup(conf_acct(m->conf, 0)->path);
	slash = strrchr(path, '/');
	if (slash != NULL && slash != path)
		*slash = '\0';
	else
		memcpy(path, slash == NULL ? "." : "/", 2);
	m->logs_fd = dir_open(path, text);
	ok = m->logs_fd >= 0 && dir_own(m, m->logs_fd, path, "pinnace-acct",
	    0750, text);
	free(path);
	return ok;
}

/*
 * Who may put files there is the operator's to say: the two directories are
 * made if they are missing and given to the user of the process if they are
 * new, but never taken from somebody.
 */
static bool
pickup_dir_open(const struct master *m, struct sv dir, int *fd_r,
    struct buf *text)
{
	char *path = sv_dup(dir);
	struct stat st;
	bool ok;

	*fd_r = dir_open(path, text);
	ok = *fd_r >= 0 && fstat(*fd_r, &st) == 0;
	if (ok && dir_is_empty(*fd_r) && st.st_uid == 0)
		ok = dir_own(m, *fd_r, path, "pinnace-pickup", 0770, text);
	free(path);
	return ok;
}

static bool
pickup_open(struct master *m, struct buf *text)
{
	struct sv dir, bad;
	struct stat a, b;

	if (!conf_pickup(m->conf, &dir, &bad))
		return true;
	if (!pickup_dir_open(m, dir, &m->pickup_fd, text) ||
	    !pickup_dir_open(m, bad, &m->bad_fd, text))
		return false;
	if (fstat(m->pickup_fd, &a) == 0 && fstat(m->bad_fd, &b) == 0 &&
	    a.st_dev == b.st_dev && a.st_ino != b.st_ino)
		return true;
	buf_sayf(text, "pickup: the two directories are not two on one file "
	    "system\n");
	return false;
}

bool
dirs_open(struct master *m, struct buf *text)
{
	char *spool = sv_dup(conf_global(m->conf)->spool);
	bool ok;

	m->spool_fd = dir_open(spool, text);
	ok = m->spool_fd >= 0 && dir_own(m, m->spool_fd, spool,
	    "pinnace-queue", 0750, text);
	free(spool);
	return ok && spool_dirs_make(m, text) && logs_open(m, text) &&
	    pickup_open(m, text);
}
