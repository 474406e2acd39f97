/* SPDX-License-Identifier: ISC */
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <linux/netlink.h>
#include <seccomp.h>

#include "common/sys/landlock.h"
#include "common/sys/log.h"
#include "common/sys/sandbox.h"

/* ---- the table ---- */

enum group {
#define SANDBOX_GROUP(group) GROUP_##group,
#include "common/sys/sandbox.def"
};

/* Sets of groups. */
enum {
#define SANDBOX_GROUP(group) SANDBOX_##group = 1 << GROUP_##group,
#include "common/sys/sandbox.def"
};

#define TESTS_MAX 3

/* The process itself: known only when the filter is made. */
#define SANDBOX_SELF      UINT64_MAX
#define SANDBOX_SOCK_TYPE (~(uint64_t)(SOCK_NONBLOCK | SOCK_CLOEXEC))
#define SANDBOX_IS(arg, value) { (arg), SCMP_CMP_EQ, (value), 0 }
#define SANDBOX_BITS(arg, mask, value) \
	{ (arg), SCMP_CMP_MASKED_EQ, (mask), (value) }
#define NTESTS(...) (sizeof((struct scmp_arg_cmp[]){ __VA_ARGS__ }) / \
	sizeof(struct scmp_arg_cmp))

static const struct rule {
	unsigned groups;
	int call;
	uint16_t error;   /* 0: allowed */
	unsigned ntests;
	struct scmp_arg_cmp tests[TESTS_MAX];
} rules[] = {
#define SANDBOX_CALL(group, call) \
	{ SANDBOX_##group, SCMP_SYS(call), 0, 0, { { 0, 0, 0, 0 } } },
#define SANDBOX_CALL_IF(group, call, ...) \
	{ SANDBOX_##group, SCMP_SYS(call), 0, NTESTS(__VA_ARGS__), \
	    { __VA_ARGS__ } },
#define SANDBOX_ERROR(group, call, error) \
	{ SANDBOX_##group, SCMP_SYS(call), (error), 0, { { 0, 0, 0, 0 } } },
#include "common/sys/sandbox.def"
};

static const struct profile {
	const char *role;
	rlim_t data_mib;  /* 0: no limit */
	rlim_t files;     /* 0: as it is */
	bool spawns;
	unsigned groups;
} profiles[] = {
#define SANDBOX_ROLE(role, data_mib, files, spawns, groups) \
	{ #role, (data_mib), (files), (spawns), (groups) },
#include "common/sys/sandbox.def"
};

#define NRULES    (sizeof(rules) / sizeof(rules[0]))
#define NPROFILES (sizeof(profiles) / sizeof(profiles[0]))

static const struct profile *
profile_find(const char *role)
{
	for (size_t i = 0; i < NPROFILES; i++) {
		if (strcmp(profiles[i].role, role) == 0)
			return &profiles[i];
	}
	fatal("there is no sandbox for %s", role);
}

bool
sandbox_has_call(const char *role, int call)
{
	const struct profile *p = profile_find(role);

	for (size_t i = 0; i < NRULES; i++) {
		if (rules[i].call == call && rules[i].error == 0 &&
		    (rules[i].groups & p->groups) != 0)
			return true;
	}
	return false;
}

/* The numbers of the table have 64 bits. */
static bool
has_filters(void)
{
	return sizeof(void *) >= sizeof(uint64_t) &&
	    prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0;
}

void
sandbox_report(void)
{
	if (landlock_abi() == 0)
		log_warn("the kernel has no Landlock: files are guarded by "
		    "users and system calls only");
#ifdef PINNACE_INSTRUMENTED
	log_warn("instrumented build: system calls are free");
#endif
	if (!has_filters())
		log_warn("this system has no filter of system calls");
}

/* ---- limits ---- */

static void
limit_set(int what, const char *name, rlim_t value)
{
	struct rlimit rl;

	if (getrlimit(what, &rl) != 0)
		fatal_errno("cannot read the limit of %s", name);
	if (rl.rlim_max < value)
		value = rl.rlim_max;
	rl.rlim_cur = value;
	rl.rlim_max = value;
	if (setrlimit(what, &rl) != 0)
		fatal_errno("cannot set the limit of %s", name);
}

/* ---- files ---- */

#ifdef PINNACE_INSTRUMENTED
/* What its runtime reads (symbols, maps) or writes (counters). */
static void
runtime_allow(int rules_fd, int abi)
{
	int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 ||
	    landlock_beneath(rules_fd, abi, fd, PINNACE_INSTRUMENTED) != 0)
		fatal_errno("cannot allow files to the runtime");
	close(fd);
}
#endif

static void
dir_allow(int rules_fd, int abi, const struct sandbox_dir *d)
{
	uint64_t rights = LANDLOCK_READ | (d->change ? LANDLOCK_CHANGE : 0);
	struct stat st;

	if (fstat(d->fd, &st) != 0 || !S_ISDIR(st.st_mode))
		return;
	if (landlock_beneath(rules_fd, abi, d->fd, rights) != 0)
		fatal_errno("cannot allow the directory %d", d->fd);
}

void
sandbox_files(const char *role, const struct sandbox_dir *dirs, size_t n)
{
	const struct profile *p = profile_find(role);
	bool connects = (p->groups & SANDBOX_CONNECT) != 0;
	int abi = landlock_abi(), fd;

	limit_set(RLIMIT_CORE, "core files", 0);
	if (p->files != 0)
		limit_set(RLIMIT_NOFILE, "descriptors", p->files);
	if (abi == 0)
		return;
	fd = landlock_rules_new(abi, connects);
	if (fd < 0)
		fatal_errno("landlock_create_ruleset");
	for (size_t i = 0; i < n; i++)
		dir_allow(fd, abi, &dirs[i]);
#ifdef PINNACE_INSTRUMENTED
	runtime_allow(fd, abi);
#endif
	if (landlock_enter(fd) != 0)
		fatal_errno("landlock_restrict_self");
	close(fd);
}

/* ---- system calls ---- */

#ifndef PINNACE_INSTRUMENTED
static int
rule_add(scmp_filter_ctx ctx, const struct rule *r)
{
	uint32_t action = r->error == 0 ? SCMP_ACT_ALLOW :
	    SCMP_ACT_ERRNO(r->error);
	struct scmp_arg_cmp tests[TESTS_MAX];

	for (unsigned i = 0; i < r->ntests; i++) {
		tests[i] = r->tests[i];
		if (tests[i].datum_a == SANDBOX_SELF)
			tests[i].datum_a = (scmp_datum_t)getpid();
	}
	return seccomp_rule_add_array(ctx, action, r->call, r->ntests, tests);
}

static void
filter_load(const struct profile *p)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int rc;

	if (ctx == NULL)
		fatal("out of memory");
	rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH,
	    SCMP_ACT_KILL_PROCESS);
	if (rc == 0)
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	for (size_t i = 0; i < NRULES && rc == 0; i++) {
		if ((rules[i].groups & p->groups) != 0)
			rc = rule_add(ctx, &rules[i]);
	}
	if (rc == 0)
		rc = seccomp_load(ctx);
	seccomp_release(ctx);
	errno = -rc;
	if (rc != 0)
		fatal_errno("cannot limit the system calls of %s", p->role);
}
#endif

void
sandbox_calls(const char *role)
{
	const struct profile *p = profile_find(role);

#ifdef PINNACE_INSTRUMENTED
	(void)p;
#else
	/* no thread or child: what could start one is not in the filter */
	if (!p->spawns)
		limit_set(RLIMIT_NPROC, "processes", 0);
	if (p->data_mib != 0)
		limit_set(RLIMIT_DATA, "data", p->data_mib << 20);
	if (has_filters())
		filter_load(p);
#endif
}
