/* SPDX-License-Identifier: ISC */
/* spool check and spool rebuild: on a spool that no daemon uses. */
#include <sys/file.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/conf/conf.h"
#include "common/spool/spoolcheck.h"
#include "ctl/ctl.h"

static void
on_line(void *arg, bool problem, const char *text)
{
	json_t *row = json_object();
	json_t *j = json_string(text);

	if (row == NULL || json_object_set_new(row, "kind",
	    json_string(problem ? "problem" : "line")) != 0 ||
	    json_object_set_new(row, "text",
	    j != NULL ? j : json_string("(not UTF-8)")) != 0)
		abort();
	ctl_reply_row(arg, row);
}

static void
add_counts(struct ctl_reply *r, const struct spool_report *rep)
{
	json_t *row = json_object();
	const struct {
		const char *name;
		uint64_t n;
	} counts[] = {
		{ "segments", rep->segments }, { "records", rep->records },
		{ "damaged", rep->damaged }, { "live", rep->live },
		{ "unreadable", rep->unreadable }, { "found", rep->found },
		{ "large", rep->large },
		{ "large_orphans", rep->large_orphans },
		{ "problems", rep->problems },
	};

	if (row == NULL ||
	    json_object_set_new(row, "kind", json_string("counts")) != 0)
		abort();
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		if (json_object_set_new(row, counts[i].name,
		    json_integer((json_int_t)counts[i].n)) != 0)
			abort();
	ctl_reply_row(r, row);
	ctl_reply_text(r, "%llu segments, %llu records, %llu messages in the "
	    "queue, %llu problems", (unsigned long long)rep->segments,
	    (unsigned long long)rep->records, (unsigned long long)rep->live,
	    (unsigned long long)rep->problems);
}

/* The spool's directory; the caller frees. NULL after a complaint. */
static char *
spool_dir(const struct ctl *ctl)
{
	struct conf_report rep;
	struct conf *c;
	char *dir = NULL;

	if (ctl->nwords > 2)
		return sv_dup(sv_from(ctl->words[2]));
	conf_report_init(&rep);
	c = conf_load(ctl->config, ctl->rules, &rep);
	if (c != NULL)
		dir = sv_dup(conf_global(c)->spool);
	else
		ctl_complain("%s", rep.errors[0]);
	conf_free(&c);
	conf_report_fini(&rep);
	return dir;
}

static int
run_on(const struct ctl *ctl, const struct ctl_command *cmd, int dirfd,
    bool rebuild)
{
	struct ctl_reply r;
	struct spool_report rep = { .line = on_line, .arg = &r };
	struct sio *sio = sio_os_new(dirfd);
	int rc;

	if (sio == NULL)
		abort();
	ctl_reply_init(&r);
	rc = rebuild ? spool_rebuild(sio, &rep) : spool_check(sio, &rep);
	if (rc == -1) {
		r.status = CTL_FAILED;
		ctl_reply_text(&r, "the spool cannot be read: %s",
		    strerror(errno));
	} else {
		r.status = rep.problems == 0 ? CTL_OK : CTL_FAILED;
		add_counts(&r, &rep);
	}
	rc = ctl_print(ctl, cmd, &r);
	ctl_reply_fini(&r);
	sio_free(&sio);
	return rc;
}

/* May it be done? If not, that was said. */
static bool
is_wanted(const struct ctl *ctl, bool rebuild)
{
	if (!rebuild || ctl->yes || ctl_confirm("Messages that were "
	    "delivered already may be sent again. Rebuild the queue?"))
		return true;
	ctl_complain("nothing was changed; messages that were delivered "
	    "already may be sent again: --yes does it");
	return false;
}

/* Root becomes the owner of the spool: what it makes must be qmgr's. */
static bool
become_owner(int dirfd)
{
	struct stat st;

	if (geteuid() != 0)
		return true;
	return fstat(dirfd, &st) == 0 && (st.st_uid == 0 ||
	    (setgroups(0, NULL) == 0 && setgid(st.st_gid) == 0 &&
	    setuid(st.st_uid) == 0));
}

/* qmgr's lock. A spool that no qmgr ever had has none, and it is not made
 * here: this may be another user. */
static bool
take_lock(int dirfd)
{
	int fd = openat(dirfd, "lock", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd == -1)
		return errno == ENOENT;
	/* Held to the end of the process. */
	return flock(fd, LOCK_EX | LOCK_NB) == 0;
}

/* The directory, or -1 after a complaint. */
static int
spool_open(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd != -1 && become_owner(fd) && take_lock(fd))
		return fd;
	if (errno == EWOULDBLOCK)
		ctl_complain("%s is in use: pinnace stop first", dir);
	else
		ctl_complain("%s: %s", dir, strerror(errno));
	if (fd != -1)
		close(fd);
	return -1;
}

int
local_spool(const struct ctl *ctl, const struct ctl_command *cmd)
{
	bool rebuild = strcmp(ctl->words[1], "rebuild") == 0;
	char *dir;
	int fd, rc;

	if (ctl->nwords > 3) {
		ctl_complain("spool %s takes one directory", ctl->words[1]);
		return CTL_MISUSE;
	}
	if (!is_wanted(ctl, rebuild) || (dir = spool_dir(ctl)) == NULL)
		return CTL_FAILED;
	fd = spool_open(dir);
	free(dir);
	if (fd == -1)
		return CTL_FAILED;
	rc = run_on(ctl, cmd, fd, rebuild);
	close(fd);
	return rc;
}
