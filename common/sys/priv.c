/* SPDX-License-Identifier: ISC */
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <unistd.h>

#include <linux/capability.h>

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

static uint64_t
caps_have(void)
{
	struct __user_cap_header_struct h = {
		.version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	if (syscall(SYS_capget, &h, d) != 0)
		fatal_errno("capget");
	return d[0].permitted | (uint64_t)d[1].permitted << 32;
}

static void
caps_set(uint64_t caps)
{
	uint32_t lo = (uint32_t)caps, hi = (uint32_t)(caps >> 32);
	struct __user_cap_header_struct h = {
		.version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2] = {
		{ .effective = lo, .permitted = lo },
		{ .effective = hi, .permitted = hi },
	};

	if (syscall(SYS_capset, &h, d) != 0)
		fatal_errno("capset");
}

/* What an exec could give back, also to root. Ordinary users may not do this,
 * and have nothing to get back. */
static void
caps_bound(uint64_t keep)
{
	if ((caps_have() >> CAP_SETPCAP & 1) == 0)
		return;
	for (int c = 0; prctl(PR_CAPBSET_READ, c, 0, 0, 0) >= 0; c++) {
		if ((keep >> c & 1) == 0 &&
		    prctl(PR_CAPBSET_DROP, c, 0, 0, 0) != 0)
			fatal_errno("PR_CAPBSET_DROP");
	}
}

void
priv_caps_keep(const int *keep, size_t n)
{
	uint64_t want = 0;

	for (size_t i = 0; i < n; i++)
		want |= (uint64_t)1 << keep[i];
	caps_bound(want);
	caps_set(caps_have() & want);
}

void
priv_conceal(void)
{
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		fatal_errno("PR_SET_DUMPABLE");
}

void
priv_drop(const char *user, const char *dir)
{
	caps_bound(0);
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
	}
	caps_set(0);
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
