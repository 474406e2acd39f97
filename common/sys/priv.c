/* SPDX-License-Identifier: ISC */
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include "common/sys/log.h"
#include "common/sys/priv.h"

static void
root_change(const char *dir)
{
	struct stat st;

	if (stat(dir, &st) != 0)
		fatal_errno("cannot chroot to %s", dir);
	if (st.st_uid != 0 || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		fatal("%s must belong to root and be writable by nobody", dir);
	if (chroot(dir) != 0)
		fatal_errno("cannot chroot to %s", dir);
	if (chdir("/") != 0)
		fatal_errno("cannot chdir to the new root");
}

void
priv_drop(const char *user, const char *dir)
{
	if (user != NULL) {
		struct passwd *pw = getpwnam(user);

		if (pw == NULL)
			fatal("there is no user %s", user);
		if (setgroups(1, &pw->pw_gid) != 0)
			fatal_errno("setgroups");
		if (dir != NULL)
			root_change(dir);
		if (setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) != 0)
			fatal_errno("setresgid to %s", user);
		if (setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) != 0)
			fatal_errno("setresuid to %s", user);
		if (setuid(0) == 0)
			fatal("the change to user %s did not hold", user);
		if (prctl(PR_SET_DUMPABLE, 0) != 0)
			fatal_errno("PR_SET_DUMPABLE");
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		fatal_errno("PR_SET_NO_NEW_PRIVS");
}

void
priv_raise_nofile(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) != 0)
		return;
	rl.rlim_cur = rl.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &rl) != 0)
		log_warn_errno("cannot raise the limit of descriptors");
}
