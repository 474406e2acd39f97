/* SPDX-License-Identifier: ISC */
/*
 * faultlib: a library for LD_PRELOAD that lets a test make calls fail in a
 * process that runs. The environment names a file ($FAULTLIB), which is
 * mapped before main(); from then on only that memory is touched, so that it
 * works behind a chroot and a sandbox. The test writes into the same file:
 * tests/fault/faults.py has the other side of struct page, whose layout is
 * fixed: 64-bit words.
 *
 * A rule belongs to a call. It lets `skip` calls pass and then hits `hits` of
 * them: waits delay_us, then fails with `error`, or, with error 0, cuts a
 * transfer to `limit` bytes. A call with EINTR fails without having happened.
 * Rules of the allocator also note the stack of the last hit.
 */
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAGIC	   UINT64_C(0x31424c544c554146) /* "FAULTLB1" */
#define STACK_MAX  24
#define PAGE_SIZE_ 8192

enum call {
	C_MALLOC,
	C_FDATASYNC,
	C_FSYNC,
	C_PWRITEV,
	C_PREAD,
	C_OPENAT,
	C_ACCEPT,
	C_SOCKET,
	C_SENDMSG,
	C_RECVMSG,
	C_WRITE,
	C_READ,
	C_WRITEV,
	C_READV,
	C_FALLOCATE,
	C_FTRUNCATE,
	C_RENAMEAT,
	C_UNLINKAT,
	C_DUPFD,
	C_FORK,
	C_SOCKETPAIR,
	C_MMAP,
	C_CONNECT,
	C_SEND,
	C_RECV,
	CALLS
};

struct rule {
	_Atomic int64_t skip; /* calls that pass first */
	_Atomic int64_t hits; /* calls still to be hit; 0: none */
	int64_t error;	      /* errno, 0: none */
	int64_t limit;	      /* bytes, with error 0; 0: no limit */
	int64_t delay_us;
	int64_t only_fd;       /* -1: any */
	_Atomic int64_t calls; /* seen since the test set it to 0 */
	_Atomic int64_t done;  /* hit since then */
};

struct page {
	uint64_t magic;
	_Atomic int64_t pid;
	_Atomic int64_t wall_us; /* added to CLOCK_REALTIME */
	int64_t nstack;
	int64_t library;          /* the last hit came from libseccomp */
	_Atomic int64_t resynced; /* syncs of what had failed to sync */
	uint64_t stack[STACK_MAX];
	struct rule rules[CALLS];
};

_Static_assert(sizeof(struct page) <= PAGE_SIZE_, "fits its file");

static struct page *page;
static int sleeper = -1; /* an epoll descriptor without events */
/* Descriptors whose fdatasync failed, and that are still open; -1: free. A
 * race between threads would cost a finding, not make one. */
static _Atomic int unsynced[16];
/* In the allocator or its notes: no rule for what they call. */
static __thread int inside;

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t each);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_memalign(size_t align, size_t n);

static void __attribute__((constructor)) faultlib_start(void)
{
	const char *path = getenv("FAULTLIB");
	void *warm[4], *p;
	int fd;

	if (path == NULL)
		return;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	p = mmap(NULL, PAGE_SIZE_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	/* its first call loads a library */
	(void)backtrace(warm, 4);
	/* the programs are told to have no environment */
	unsetenv("LD_PRELOAD");
	unsetenv("FAULTLIB");
	if (p == MAP_FAILED || ((struct page *)p)->magic != MAGIC)
		return;
	for (size_t i = 0; i < sizeof(unsynced) / sizeof(unsynced[0]); i++)
		unsynced[i] = -1;
	sleeper = epoll_create1(EPOLL_CLOEXEC);
	((struct page *)p)->pid = getpid();
	/* failures of the allocator belong to one life of the process */
	if (((struct page *)p)->rules[C_MALLOC].done > 0)
		((struct page *)p)->rules[C_MALLOC].hits = 0;
	atomic_thread_fence(memory_order_seq_cst);
	page = p;
}

/* The stack goes to the page, for the test's report. */
static void
stack_note(void)
{
	void *at[STACK_MAX];
	int n;

	inside++;
	n = backtrace(at, STACK_MAX);
	page->library = 0;
	for (int i = 0; i < n; i++) {
		Dl_info of;

		if (dladdr(at[i], &of) != 0 && of.dli_fname != NULL &&
		    strstr(of.dli_fname, "libseccomp") != NULL)
			page->library = 1;
	}
	for (int i = 0; i < n; i++)
		page->stack[i] = (uint64_t)(uintptr_t)at[i];
	page->nstack = n;
	inside--;
}

/* By the one call that waits and that no sandbox forbids. */
static void
pause_us(int64_t us)
{
	struct epoll_event e;

	if (us > 0)
		(void)epoll_wait(sleeper, &e, 1, (int)((us + 999) / 1000));
}

/* Whether this call is hit. */
static int
hit(enum call c, int fd)
{
	struct rule *r;
	int64_t n;

	if (page == NULL || inside != 0)
		return 0;
	r = &page->rules[c];
	if (r->only_fd >= 0 && r->only_fd != fd)
		return 0;
	n = atomic_fetch_add(&r->calls, 1);
	if (r->hits <= 0)
		return 0;
	if (n < r->skip)
		return 0;
	if (atomic_fetch_sub(&r->hits, 1) <= 0)
		return 0;
	atomic_fetch_add(&r->done, 1);
	return 1;
}

/* The rule that hits this call, when it has waited; NULL: none does. */
static const struct rule *
struck(enum call c, int fd)
{
	const struct rule *r;

	if (!hit(c, fd))
		return NULL;
	r = &page->rules[c];
	pause_us(r->delay_us);
	return r;
}

/* 1: fail, errno is set. */
static int
errs(const struct rule *r)
{
	if (r == NULL || r->error == 0)
		return 0;
	errno = (int)r->error;
	return 1;
}

/* 1: fail, errno is set. */
static int
fails(enum call c, int fd)
{
	return errs(struck(c, fd));
}

/* As fails(), and cuts *n. */
static int
fails_or_cuts(enum call c, int fd, size_t *n)
{
	const struct rule *r = struck(c, fd);

	if (errs(r))
		return 1;
	if (r != NULL && r->limit > 0 && *n > (size_t)r->limit)
		*n = (size_t)r->limit;
	return 0;
}

/* As fails(), and cuts a vector, whose copy is in v (at most 8 parts then). */
static int
fails_or_cuts_iov(
    enum call c, int fd, const struct iovec **iov, int *n, struct iovec v[8])
{
	const struct rule *r = struck(c, fd);
	size_t left;
	int i;

	if (errs(r))
		return 1;
	if (r == NULL || r->limit <= 0)
		return 0;
	left = (size_t)r->limit;
	for (i = 0; i < *n && i < 8 && left > 0; i++) {
		v[i] = (*iov)[i];
		if (v[i].iov_len > left)
			v[i].iov_len = left;
		left -= v[i].iov_len;
	}
	*iov = v;
	*n = i;
	return 0;
}

/* ---- the allocator ---- */

static int
no_memory(void)
{
	if (!hit(C_MALLOC, -1))
		return 0;
	stack_note();
	errno = ENOMEM;
	return 1;
}

void *
malloc(size_t n)
{
	return no_memory() ? NULL : __libc_malloc(n);
}

void *
calloc(size_t n, size_t each)
{
	return no_memory() ? NULL : __libc_calloc(n, each);
}

void *
realloc(void *p, size_t n)
{
	if (n > 0 && no_memory())
		return NULL;
	return __libc_realloc(p, n);
}

void *
reallocarray(void *p, size_t n, size_t each)
{
	size_t all;

	if (__builtin_mul_overflow(n, each, &all)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(p, all);
}

int
posix_memalign(void **p, size_t align, size_t n)
{
	void *got = no_memory() ? NULL : __libc_memalign(align, n);

	if (got == NULL)
		return ENOMEM;
	*p = got;
	return 0;
}

void *
aligned_alloc(size_t align, size_t n)
{
	return no_memory() ? NULL : __libc_memalign(align, n);
}

/* ---- system calls ---- */

#define NEXT(name)                                                             \
	static __typeof__(&name) next;                                         \
	if (next == NULL) {                                                    \
		void *p_;                                                      \
		inside++;                                                      \
		p_ = dlsym(RTLD_NEXT, #name);                                  \
		inside--;                                                      \
		memcpy(&next, &p_, sizeof(next));                              \
	}

/* The call `name`, which fails as the rules of c say. */
#define FAILS(c, fd, type, name, params, ...)                                  \
	type name params                                                       \
	{                                                                      \
		NEXT(name)                                                     \
		return fails(c, fd) ? (type)-1 : next(__VA_ARGS__);            \
	}

/* The same for one that transfers n bytes, or iov, a vector of n parts. */
#define CUTS(c, name, params, ...)                                             \
	ssize_t name params                                                    \
	{                                                                      \
		NEXT(name)                                                     \
		return fails_or_cuts(c, fd, &n) ? -1 : next(__VA_ARGS__);      \
	}
#define CUTS_IOV(c, name, params, ...)                                         \
	ssize_t name params                                                    \
	{                                                                      \
		struct iovec v[8];                                             \
		NEXT(name)                                                     \
		return fails_or_cuts_iov(c, fd, &iov, &n, v) ?                 \
		    -1 : next(__VA_ARGS__);                                    \
	}

static int
unsynced_find(int fd)
{
	for (size_t i = 0; i < sizeof(unsynced) / sizeof(unsynced[0]); i++) {
		if (unsynced[i] == fd)
			return (int)i;
	}
	return -1;
}

int
fdatasync(int fd)
{
	int at;
	NEXT(fdatasync)
	if (page != NULL && unsynced_find(fd) >= 0)
		atomic_fetch_add(&page->resynced, 1);
	if (!fails(C_FDATASYNC, fd))
		return next(fd);
	at = unsynced_find(-1);
	if (at >= 0)
		unsynced[at] = fd;
	return -1;
}

int
close(int fd)
{
	int at = fd < 0 ? -1 : unsynced_find(fd);
	NEXT(close)
	if (at >= 0)
		unsynced[at] = -1;
	return next(fd);
}

/* clang-format off */
FAILS(C_FSYNC, fd, int, fsync, (int fd), fd)
FAILS(C_ACCEPT, fd, int, accept4,
    (int fd, struct sockaddr *sa, socklen_t *len, int how), fd, sa, len, how)
FAILS(C_SOCKET, -1, int, socket, (int domain, int type, int proto), domain,
    type, proto)
FAILS(C_SOCKETPAIR, -1, int, socketpair,
    (int domain, int type, int proto, int sp[2]), domain, type, proto, sp)
FAILS(C_CONNECT, fd, int, connect,
    (int fd, const struct sockaddr *sa, socklen_t len), fd, sa, len)
FAILS(C_RECVMSG, fd, ssize_t, recvmsg, (int fd, struct msghdr *m, int how),
    fd, m, how)
FAILS(C_FALLOCATE, fd, int, fallocate, (int fd, int mode, off_t at, off_t n),
    fd, mode, at, n)
FAILS(C_FTRUNCATE, fd, int, ftruncate, (int fd, off_t n), fd, n)
FAILS(C_RENAMEAT, a, int, renameat,
    (int a, const char *from, int b, const char *to), a, from, b, to)
FAILS(C_UNLINKAT, dir, int, unlinkat, (int dir, const char *path, int how),
    dir, path, how)
FAILS(C_FORK, -1, pid_t, fork, (void), )
FAILS(C_MMAP, fd, void *, mmap,
    (void *at, size_t n, int prot, int how, int fd, off_t from), at, n, prot,
    how, fd, from)

CUTS(C_PWRITEV, pwrite, (int fd, const void *p, size_t n, off_t at), fd, p, n,
    at)
CUTS(C_PREAD, pread, (int fd, void *p, size_t n, off_t at), fd, p, n, at)
CUTS(C_READ, read, (int fd, void *p, size_t n), fd, p, n)
CUTS(C_SEND, send, (int fd, const void *p, size_t n, int how), fd, p, n, how)
CUTS(C_RECV, recv, (int fd, void *p, size_t n, int how), fd, p, n, how)
CUTS_IOV(C_PWRITEV, pwritev,
    (int fd, const struct iovec *iov, int n, off_t at), fd, iov, n, at)
CUTS_IOV(C_WRITEV, writev, (int fd, const struct iovec *iov, int n), fd, iov,
    n)
/* clang-format on */

ssize_t
write(int fd, const void *p, size_t n)
{
	NEXT(write)
	/* the log is the test's only witness */
	if (fd != STDERR_FILENO && fails_or_cuts(C_WRITE, fd, &n))
		return -1;
	return next(fd, p, n);
}

ssize_t
sendmsg(int fd, const struct msghdr *m, int how)
{
	struct msghdr cut = *m;
	const struct iovec *iov = m->msg_iov;
	int n = (int)m->msg_iovlen;
	struct iovec v[8];
	NEXT(sendmsg)
	if (fails_or_cuts_iov(C_SENDMSG, fd, &iov, &n, v))
		return -1;
	if (iov == v) {
		cut.msg_iov = v;
		cut.msg_iovlen = (size_t)n;
	}
	return next(fd, &cut, how);
}

static mode_t
mode_of(int how, va_list ap)
{
	return (how & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0;
}

int
openat(int dir, const char *path, int how, ...)
{
	mode_t mode;
	va_list ap;
	NEXT(openat)
	va_start(ap, how);
	mode = mode_of(how, ap);
	va_end(ap);
	return fails(C_OPENAT, dir) ? -1 : next(dir, path, how, mode);
}

int
open(const char *path, int how, ...)
{
	mode_t mode;
	va_list ap;
	NEXT(open)
	va_start(ap, how);
	mode = mode_of(how, ap);
	va_end(ap);
	return fails(C_OPENAT, -1) ? -1 : next(path, how, mode);
}

int
fcntl(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;
	NEXT(fcntl)
	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	if ((cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC) && fails(C_DUPFD, fd))
		return -1;
	return next(fd, cmd, arg);
}

/* ---- the wall clock ---- */

int
clock_gettime(clockid_t id, struct timespec *t)
{
	int64_t us, off;
	NEXT(clock_gettime)
	if (next(id, t) != 0)
		return -1;
	off = page == NULL ? 0 : page->wall_us;
	if (id != CLOCK_REALTIME || off == 0)
		return 0;
	us = t->tv_sec * INT64_C(1000000) + t->tv_nsec / 1000 + off;
	t->tv_sec = us / 1000000;
	t->tv_nsec = us % 1000000 * 1000;
	if (t->tv_nsec < 0) {
		t->tv_sec--;
		t->tv_nsec += 1000000000;
	}
	return 0;
}

int
gettimeofday(struct timeval *tv, void *zone)
{
	struct timespec t;

	(void)zone;
	if (clock_gettime(CLOCK_REALTIME, &t) != 0)
		return -1;
	tv->tv_sec = t.tv_sec;
	tv->tv_usec = t.tv_nsec / 1000;
	return 0;
}

time_t
time(time_t *t_r)
{
	struct timespec t;

	if (clock_gettime(CLOCK_REALTIME, &t) != 0)
		return -1;
	if (t_r != NULL)
		*t_r = t.tv_sec;
	return t.tv_sec;
}
