/* SPDX-License-Identifier: ISC */
/*
 * The table of the sandbox, and what it means: each case is a child that
 * enters the sandbox of a role and tries one thing.
 */
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <check.h>

#include "common/sys/landlock.h"
#include "common/sys/priv.h"
#include "common/sys/sandbox.h"

#define SMTPD    1u
#define QMGR     2u
#define SMTP     4u
#define RESOLVER 8u
#define BOUNCE   16u
#define ACCT     32u
#define ALL      63u
#define FILES    (QMGR | BOUNCE | ACCT)
#define CLIENTS  (SMTP | RESOLVER)

static const char *const roles[] = { "smtpd", "qmgr", "smtp", "resolver",
	"bounce", "acct" };

#define NROLES (sizeof(roles) / sizeof(roles[0]))
#define DIED   (-1)  /* by SIGSYS */

/* ---- what a child tries: 0, or an errno ---- */

static int
result(long rc)
{
	return rc < 0 ? errno : 0;
}

static int
try_open(void)
{
	return result(open("/etc/passwd", O_RDONLY));
}

static int
try_exec(void)
{
	char *argv[] = { NULL };

	return result(execve("/bin/true", argv, argv));
}

static int
try_ptrace(void)
{
	return result(ptrace(PTRACE_ATTACH, getppid(), 0, 0));
}

static int
try_vm_read(void)
{
	char byte;
	struct iovec here = { &byte, 1 }, there = { &byte, 1 };

	return result(process_vm_readv(1, &here, 1, &there, 1, 0));
}

static int
try_kill(void)
{
	return result(kill(1, 0));
}

static int
try_tcp(void)
{
	return result(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static int
try_tcp6(void)
{
	return result(socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0));
}

static int
try_udp(void)
{
	return result(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

static int
try_unix(void)
{
	return result(socket(AF_UNIX, SOCK_STREAM, 0));
}

static int
try_raw(void)
{
	return result(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
}

static int
try_route(void)
{
	return result(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC,
	    NETLINK_ROUTE));
}

static int
try_netfilter(void)
{
	return result(socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER));
}

/* The kernel would look at the lower half only. */
static int
try_high_bits(void)
{
	return result(syscall(SYS_socket, (uint64_t)1 << 32 | AF_INET,
	    SOCK_STREAM, 0));
}

static int
try_listen(void)
{
	return result(listen(0, 1));
}

static int
try_map_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? errno : 0;
}

static int
try_make_code(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? errno :
	    result(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}

static int
try_fork(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(7);
	if (pid < 0)
		return errno;
	return waitpid(pid, NULL, 0) == pid ? 0 : errno;
}

static void *
thread_run(void *arg)
{
	return arg;
}

static int
try_thread(void)
{
	pthread_t t;
	int rc = pthread_create(&t, NULL, thread_run, NULL);

	return rc != 0 ? rc : pthread_join(t, NULL);
}

static int
try_namespace(void)
{
	return result(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL,
	    NULL, 0));
}

static int
try_limit(void)
{
	struct rlimit rl = { 1, 1 };

	return result(syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &rl, NULL));
}

static int
try_dumpable(void)
{
	return result(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}

static int
try_memfd(void)
{
	return result(syscall(SYS_memfd_create, "x", 0));
}

static int
try_chmod(void)
{
	return result(fchmod(0, 0777));
}

static int
try_ioctl(void)
{
	return result(syscall(SYS_ioctl, 0, 0, 0));
}

static int
try_link(void)
{
	return result(syscall(SYS_symlinkat, "a", AT_FDCWD, "b"));
}

/* A new log file, and what could be made of that call. */
static int
try_log(void)
{
	return result(dup3(1, STDERR_FILENO, 0));
}

static int
try_dup(void)
{
	return result(dup3(2, 3, 0));
}

static int
try_dup_away(void)
{
	return result(dup3(1, STDERR_FILENO, O_CLOEXEC));
}

/* What any program may do at any time, as far as a libc is concerned. */
static int
try_usual(void)
{
	struct timespec ts = { 0, 1000 };
	time_t now = time(NULL);
	size_t big = (size_t)32 << 20;
	char *p = malloc(big), text[64];
	struct tm tm;

	if (p == NULL)
		return errno;
	memset(p, 1, big);
	p = realloc(p, big * 2);
	if (p == NULL || getrandom(p, 16, 0) != 16)
		return errno;
	free(p);
	localtime_r(&now, &tm);
	mktime(&tm);
	gmtime_r(&now, &tm);
	snprintf(text, sizeof(text), "%f %s", 1.5, strerror(EIO));
	nanosleep(&ts, NULL);
	return sysconf(_SC_OPEN_MAX) > 0 && fcntl(1, F_GETFL) >= 0 ? 0 : 99;
}

/* ---- the cases ---- */

static const struct attempt {
	const char *name;
	int (*fn)(void);
	unsigned may;       /* these may: 0 comes back */
	unsigned refused;   /* these get this errno ... */
	int error;
} attempts[] = {
	/* ... all others die */
	{ "usual", try_usual, ALL, 0, 0 },
	{ "new log", try_log, ALL, 0, 0 },
	{ "other descriptor", try_dup, 0, 0, 0 },
	{ "log until exec", try_dup_away, 0, 0, 0 },
	{ "open", try_open, 0, FILES, EACCES },
	{ "exec", try_exec, 0, 0, 0 },
	{ "ptrace", try_ptrace, 0, 0, 0 },
	{ "read memory", try_vm_read, 0, 0, 0 },
	{ "kill", try_kill, 0, 0, 0 },
	{ "TCP", try_tcp, CLIENTS, 0, 0 },
	{ "TCP on IPv6", try_tcp6, CLIENTS, 0, 0 },
	{ "UDP", try_udp, RESOLVER, 0, 0 },
	{ "Unix socket", try_unix, 0, 0, 0 },
	{ "raw socket", try_raw, 0, 0, 0 },
	{ "route netlink", try_route, RESOLVER, 0, 0 },
	{ "other netlink", try_netfilter, 0, 0, 0 },
	{ "high bits", try_high_bits, 0, 0, 0 },
	{ "listen", try_listen, 0, 0, 0 },
	{ "map code", try_map_code, 0, 0, 0 },
	{ "make code", try_make_code, 0, 0, 0 },
	{ "fork", try_fork, QMGR, 0, 0 },
	{ "thread", try_thread, QMGR, 0, 0 },
	{ "namespace", try_namespace, 0, 0, 0 },
	{ "limit", try_limit, 0, 0, 0 },
	{ "dumpable", try_dumpable, 0, 0, 0 },
	{ "memfd", try_memfd, 0, 0, 0 },
	{ "chmod", try_chmod, 0, 0, 0 },
	{ "ioctl", try_ioctl, 0, 0, 0 },
	{ "symlink", try_link, 0, 0, 0 },
};

#define NATTEMPTS (sizeof(attempts) / sizeof(attempts[0]))

/* In a child of its own; DIED, or what fn returned. */
static int
in_sandbox(const char *role, int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		setenv("TZ", ":/etc/localtime", 1);
		tzset();
		priv_drop(NULL, NULL);
		sandbox_files(role, NULL, 0);
		sandbox_calls(role);
		_exit(fn());
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGSYS ? DIED : -WTERMSIG(status);
	return WEXITSTATUS(status);
}

#ifndef PINNACE_INSTRUMENTED

START_TEST(test_each_role_may_what_it_needs_and_nothing_else)
{
	const struct attempt *a = &attempts[_i / NROLES];
	unsigned role = 1u << _i % NROLES;
	int want = DIED, got = in_sandbox(roles[_i % NROLES], a->fn);

	if ((a->may & role) != 0)
		want = 0;
	else if ((a->refused & role) != 0 && landlock_abi() > 0)
		want = a->error;
	else if ((a->refused & role) != 0)
		return; /* the chroot is all there is */
	ck_assert_msg(got == want, "%s by %s: %d instead of %d", a->name,
	    roles[_i % NROLES], got, want);
}
END_TEST

static int
do_abort(void)
{
	abort();
}

START_TEST(test_abort_is_no_violation)
{
	ck_assert_int_eq(in_sandbox("smtpd", do_abort), -SIGABRT);
}
END_TEST

#endif

/* ---- directories ---- */

static char dir[] = "/tmp/pinnace-sandbox-XXXXXX";

static int
try_in_dir(bool change, const char *name, int how)
{
	struct sandbox_dir d = { .change = change };
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		d.fd = open(dir, O_RDONLY | O_DIRECTORY);
		priv_drop(NULL, NULL);
		sandbox_files("acct", &d, 1);
		_exit(result(openat(d.fd, name, how, 0600)));
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

START_TEST(test_directory_read_only_or_to_change_and_nothing_beside)
{
#ifdef PINNACE_INSTRUMENTED
	static const bool may_change =
	    (PINNACE_INSTRUMENTED & LANDLOCK_CHANGE) != 0;
#else
	static const bool may_change = false;
#endif
	char path[64];
	int fd;

	if (landlock_abi() == 0)
		return;
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/a", dir);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	ck_assert_int_ge(fd, 0);
	close(fd);
	ck_assert_int_eq(try_in_dir(false, "a", O_RDONLY), 0);
	/* a coverage build may change files anywhere: it writes its counters */
	if (!may_change) {
		ck_assert_int_eq(try_in_dir(false, "a", O_RDWR), EACCES);
		ck_assert_int_eq(try_in_dir(false, "b", O_WRONLY | O_CREAT),
		    EACCES);
	}
	ck_assert_int_eq(try_in_dir(true, "a", O_RDWR), 0);
	ck_assert_int_eq(try_in_dir(true, "b", O_WRONLY | O_CREAT), 0);
#ifndef PINNACE_INSTRUMENTED
	ck_assert_int_eq(try_in_dir(true, "..", O_RDONLY), EACCES);
	ck_assert_int_eq(try_in_dir(true, "/etc/passwd", O_RDONLY), EACCES);
#endif
	unlink(path);
	snprintf(path, sizeof(path), "%s/b", dir);
	unlink(path);
	rmdir(dir);
}
END_TEST

/* ---- the table ---- */

START_TEST(test_no_role_has_a_call_that_leads_out)
{
	static const int never[] = { SYS_execve, SYS_execveat, SYS_ptrace,
		SYS_process_vm_readv, SYS_process_vm_writev,
		SYS_open_by_handle_at,
		SYS_socketpair, SYS_listen, SYS_setuid, SYS_setresuid,
		SYS_capset, SYS_chroot, SYS_mount, SYS_unshare, SYS_setns,
		SYS_bpf, SYS_keyctl, SYS_perf_event_open, SYS_io_uring_setup,
		SYS_userfaultfd, SYS_seccomp, SYS_pidfd_getfd, SYS_fchmod,
		SYS_fchown, SYS_linkat, SYS_symlinkat, SYS_mknodat, SYS_clone3,
		SYS_ioctl, SYS_dup2, SYS_memfd_create };

	for (size_t r = 0; r < NROLES; r++) {
		for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
			ck_assert_msg(!sandbox_has_call(roles[r], never[i]),
			    "%s has call %d", roles[r], never[i]);
	}
}
END_TEST

START_TEST(test_only_those_with_files_open_and_only_clients_make_sockets)
{
	for (size_t r = 0; r < NROLES; r++) {
		unsigned role = 1u << r;

		ck_assert(sandbox_has_call(roles[r], SYS_openat) ==
		    ((role & FILES) != 0));
		ck_assert(sandbox_has_call(roles[r], SYS_socket) ==
		    ((role & CLIENTS) != 0));
		ck_assert(sandbox_has_call(roles[r], SYS_connect) ==
		    ((role & CLIENTS) != 0));
		ck_assert(sandbox_has_call(roles[r], SYS_accept4) ==
		    ((role & (SMTPD | QMGR)) != 0));
		ck_assert(sandbox_has_call(roles[r], SYS_clone) ==
		    (role == QMGR));
	}
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("sandbox");
	Suite *s = suite_create("sandbox");
	SRunner *sr;
	int failed;

#ifndef PINNACE_INSTRUMENTED
	tcase_add_loop_test(tc,
	    test_each_role_may_what_it_needs_and_nothing_else, 0,
	    NATTEMPTS * NROLES);
	tcase_add_test(tc, test_abort_is_no_violation);
#else
	(void)attempts;
	(void)in_sandbox;
#endif
	tcase_add_test(tc,
	    test_directory_read_only_or_to_change_and_nothing_beside);
	tcase_add_test(tc, test_no_role_has_a_call_that_leads_out);
	tcase_add_test(tc,
	    test_only_those_with_files_open_and_only_clients_make_sockets);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
