/* SPDX-License-Identifier: ISC */
/*
 * killpoint: a library to preload into a program of Pinnace. It counts the
 * program's system calls, each name for itself, in memory that it shares with
 * the test (the file $KILLPOINT, a struct killpoint), and kills the process in
 * front of, in the middle of, or behind the call that the test has armed.
 * Behind its constructor it opens nothing, so that it works inside a sandbox
 * and behind a chroot. test_kill_points builds it, and reads the names out of
 * the list below. Calls that libc makes for itself are not seen.
 */
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* clang-format off */
#define FILL_BYTES (64u << 10)

#define NAMES(X) \
	X(write) X(pwrite) X(pwritev) X(send) X(sendmsg) X(read) X(pread) \
	X(recv) X(recvmsg) X(fsync) X(fdatasync) X(ftruncate) X(fallocate) \
	X(renameat) X(renameat2) X(unlinkat) X(unlink) X(mkdirat) X(mkdir) \
	X(open) X(openat) X(close) X(mmap) X(accept4) X(connect) X(socket) \
	X(bind) X(listen) X(shutdown) X(socketpair) X(memfd_create) \
	X(flock) X(waitpid) X(fork) \
	X(fill)
/* clang-format on */

enum call {
#define X(name) C_##name,
	NAMES(X)
#undef X
	NCALLS
};

enum mode { OFF, BEFORE, HALF, AFTER };

/* In the machine's order; test_kill_points knows the layout. */
struct killpoint {
	_Atomic uint32_t mode, call, fired, unused;
	_Atomic uint64_t at;            /* the count of `call` that is hit */
	_Atomic uint64_t count[64];     /* of enum call */
};

_Static_assert(NCALLS <= 64, "room for all calls");

static struct killpoint *kp;
static pid_t (*real_fork)(void);

static void __attribute__((constructor))
killpoint_init(void)
{
	const char *path = getenv("KILLPOINT");
	int fd = path == NULL ? -1 :
	    (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
	void *f = dlsym(RTLD_NEXT, "fork");
	long p;

	memcpy(&real_fork, &f, sizeof(real_fork));
	if (fd < 0)
		return;
	p = syscall(SYS_mmap, NULL, sizeof(*kp), PROT_READ | PROT_WRITE,
	    MAP_SHARED, fd, 0);
	syscall(SYS_close, fd);
	if (p != -1)
		kp = (struct killpoint *)p;
	unsetenv("KILLPOINT");
	unsetenv("LD_PRELOAD");
}

static void __attribute__((noreturn))
die(void)
{
	atomic_store(&kp->fired, 1);
	for (;;)
		syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
}

/* Counts; what is to happen at this very call. */
static enum mode
enter(enum call c)
{
	uint64_t n;

	if (kp == NULL)
		return OFF;
	n = atomic_fetch_add(&kp->count[c], 1) + 1;
	if (atomic_load(&kp->mode) == OFF || atomic_load(&kp->call) != c ||
	    atomic_load(&kp->at) != n)
		return OFF;
	if (atomic_load(&kp->mode) == BEFORE)
		die();
	return (enum mode)atomic_load(&kp->mode);
}

static long
leave(enum mode m, long got)
{
	if (m != OFF)
		die();
	return got;
}

/* ---- calls that write: there is a middle ---- */

/* at < 0: where the descriptor stands */
static void
half(enum mode m, int f, const void *p, size_t n, off_t at)
{
	if (m != HALF || n < 2)
		return;
	if (at < 0)
		syscall(SYS_write, f, p, n / 2);
	else
		syscall(SYS_pwrite64, f, p, n / 2, at);
	die();
}

static void
half_iov(enum mode m, int f, const struct iovec *v, size_t n, off_t at)
{
	size_t all = 0, i = 0;
	unsigned char *mem;

	if (m != HALF)
		return;
	for (size_t k = 0; k < n; k++)
		all += v[k].iov_len;
	mem = malloc(all + 1);
	for (size_t k = 0; mem != NULL && k < n; k++) {
		memcpy(mem + i, v[k].iov_base, v[k].iov_len);
		i += v[k].iov_len;
	}
	if (mem != NULL)
		half(m, f, mem, all, at);
	free(mem);
}

ssize_t
write(int f, const void *p, size_t n)
{
	enum mode m = enter(C_write);

	half(m, f, p, n, -1);
	return leave(m, syscall(SYS_write, f, p, n));
}

ssize_t
pwrite(int f, const void *p, size_t n, off_t at)
{
	enum mode m = enter(C_pwrite);

	half(m, f, p, n, at);
	return leave(m, syscall(SYS_pwrite64, f, p, n, at));
}

/* A free segment is filled with zeros by many writes of this size: they are
 * counted apart, as one would hide the others. */
static bool
is_fill(const struct iovec *v, int n)
{
	return n == 1 && v[0].iov_len >= FILL_BYTES &&
	    *(const unsigned char *)v[0].iov_base == 0;
}

ssize_t
pwritev(int f, const struct iovec *v, int n, off_t at)
{
	enum mode m = enter(is_fill(v, n) ? C_fill : C_pwritev);

	half_iov(m, f, v, (size_t)n, at);
	return leave(m, syscall(SYS_pwritev, f, v, n, at, 0));
}

ssize_t
send(int f, const void *p, size_t n, int flags)
{
	enum mode m = enter(C_send);

	half(m, f, p, n, -1);
	return leave(m, syscall(SYS_sendto, f, p, n, flags, NULL, 0));
}

ssize_t
sendmsg(int f, const struct msghdr *msg, int flags)
{
	enum mode m = enter(C_sendmsg);

	if (msg->msg_controllen == 0)
		half_iov(m, f, msg->msg_iov, msg->msg_iovlen, -1);
	return leave(m, syscall(SYS_sendmsg, f, msg, flags));
}

/* ---- the others ---- */

#define DEFINE(ret, name, params, ...) \
	ret name params \
	{ \
		enum mode m_ = enter(C_##name); \
\
		return (ret)leave(m_, syscall(__VA_ARGS__)); \
	}

DEFINE(ssize_t, read, (int f, void *p, size_t n), SYS_read, f, p, n)
DEFINE(ssize_t, pread, (int f, void *p, size_t n, off_t at), SYS_pread64, f,
    p, n, at)
DEFINE(ssize_t, recv, (int f, void *p, size_t n, int fl), SYS_recvfrom, f, p,
    n, fl, NULL, NULL)
DEFINE(ssize_t, recvmsg, (int f, struct msghdr *m, int fl), SYS_recvmsg, f, m,
    fl)
DEFINE(int, fsync, (int f), SYS_fsync, f)
DEFINE(int, fdatasync, (int f), SYS_fdatasync, f)
DEFINE(int, ftruncate, (int f, off_t n), SYS_ftruncate, f, n)
DEFINE(int, fallocate, (int f, int how, off_t at, off_t n), SYS_fallocate, f,
    how, at, n)
/* The call that libc would make: a sandbox may know no other. */
#ifdef SYS_renameat
DEFINE(int, renameat, (int a, const char *p, int b, const char *q),
    SYS_renameat, a, p, b, q)
#else
DEFINE(int, renameat, (int a, const char *p, int b, const char *q),
    SYS_renameat2, a, p, b, q, 0)
#endif
DEFINE(int, renameat2, (int a, const char *p, int b, const char *q,
    unsigned fl), SYS_renameat2, a, p, b, q, fl)
DEFINE(int, unlinkat, (int d, const char *p, int fl), SYS_unlinkat, d, p, fl)
#ifdef SYS_unlink
DEFINE(int, unlink, (const char *p), SYS_unlink, p)
#else
DEFINE(int, unlink, (const char *p), SYS_unlinkat, AT_FDCWD, p, 0)
#endif
DEFINE(int, mkdirat, (int d, const char *p, mode_t m), SYS_mkdirat, d, p, m)
#ifdef SYS_mkdir
DEFINE(int, mkdir, (const char *p, mode_t m), SYS_mkdir, p, m)
#else
DEFINE(int, mkdir, (const char *p, mode_t m), SYS_mkdirat, AT_FDCWD, p, m)
#endif
DEFINE(int, close, (int f), SYS_close, f)
DEFINE(void *, mmap, (void *a, size_t n, int pr, int fl, int f, off_t at),
    SYS_mmap, a, n, pr, fl, f, at)
DEFINE(int, accept4, (int f, struct sockaddr *a, socklen_t *n, int fl),
    SYS_accept4, f, a, n, fl)
DEFINE(int, connect, (int f, const struct sockaddr *a, socklen_t n),
    SYS_connect, f, a, n)
DEFINE(int, socket, (int d, int t, int p), SYS_socket, d, t, p)
DEFINE(int, bind, (int f, const struct sockaddr *a, socklen_t n), SYS_bind, f,
    a, n)
DEFINE(int, listen, (int f, int n), SYS_listen, f, n)
DEFINE(int, shutdown, (int f, int how), SYS_shutdown, f, how)
DEFINE(int, socketpair, (int d, int t, int p, int sp[2]), SYS_socketpair, d,
    t, p, sp)
DEFINE(int, memfd_create, (const char *p, unsigned fl), SYS_memfd_create, p,
    fl)
DEFINE(int, flock, (int f, int how), SYS_flock, f, how)
DEFINE(pid_t, waitpid, (pid_t p, int *st, int fl), SYS_wait4, p, st, fl, NULL)

static int
open_at(enum call c, int d, const char *path, int how, va_list ap)
{
	mode_t mode = (how & (O_CREAT | O_TMPFILE)) != 0 ?
	    va_arg(ap, mode_t) : 0;
	enum mode m = enter(c);

	return (int)leave(m, syscall(SYS_openat, d, path, how, mode));
}

int
open(const char *path, int how, ...)
{
	va_list ap;
	int fd;

	va_start(ap, how);
	fd = open_at(C_open, AT_FDCWD, path, how, ap);
	va_end(ap);
	return fd;
}

int
openat(int d, const char *path, int how, ...)
{
	va_list ap;
	int fd;

	va_start(ap, how);
	fd = open_at(C_openat, d, path, how, ap);
	va_end(ap);
	return fd;
}

/* A child (the writer of a checkpoint) counts with its parent: an armed call
 * kills whichever of the two makes it. */
pid_t
fork(void)
{
	enum mode m = enter(C_fork);
	pid_t pid = real_fork();

	return pid == 0 ? pid : (pid_t)leave(m, pid);
}
