/* SPDX-License-Identifier: ISC */
/*
 * Preloaded into one program: raises a signal when a call that CRASH_CALL
 * names (pread, memchr or memcpy) has bytes before it that hold CRASH_ON. So
 * a program crashes, or with CRASH_SIGNAL=0 turns in a circle for ever, or with
 * -N takes N ms longer, in the middle of its work on one message, and nothing
 * in it knows. With CRASH_MOST only so many calls are slow, or only so many
 * lives end: each adds a byte to the file CRASH_COUNT.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static const char *call, *magic;
static size_t magic_n;
static int signo = SIGSEGV;
static long most = -1, slow;

static void __attribute__((constructor)) init(void)
{
	const char *s = getenv("CRASH_SIGNAL");

	call = getenv("CRASH_CALL");
	magic = getenv("CRASH_ON");
	if (call == NULL || magic == NULL)
		magic = NULL;
	else
		magic_n = strlen(magic);
	if (s != NULL)
		signo = atoi(s);
	s = getenv("CRASH_MOST");
	if (s != NULL)
		most = atol(s);
}

static int
is_in(const unsigned char *p, size_t n)
{
	for (size_t i = 0; n >= magic_n && i <= n - magic_n; i++) {
		size_t k = 0;

		while (k < magic_n && p[i + k] == (unsigned char)magic[k])
			k++;
		if (k == magic_n)
			return 1;
	}
	return 0;
}

static void
end(void)
{
	const char *path = getenv("CRASH_COUNT");
	int fd;

	if (signo < 0) {
		if (most < 0 || slow++ < most)
			usleep((useconds_t)-signo * 1000);
		return;
	}
	fd = path == NULL ? -1 : open(path, O_RDWR | O_CREAT | O_APPEND, 0600);
	if (fd >= 0 && most >= 0 && lseek(fd, 0, SEEK_END) >= most) {
		close(fd);
		magic = NULL;
		return;
	}
	if (fd >= 0)
		(void)!write(fd, "x", 1);
	while (signo == 0)
		continue;
	raise(signo);
}

static void
look(const char *name, const void *p, size_t n)
{
	if (magic != NULL && strcmp(call, name) == 0 && is_in(p, n))
		end();
}

ssize_t
pread(int fd, void *p, size_t n, off_t at)
{
	static ssize_t (*next)(int, void *, size_t, off_t);
	ssize_t got;

	if (next == NULL)
		next = (ssize_t(*)(int, void *, size_t, off_t))dlsym(
		    RTLD_NEXT, "pread");
	got = next(fd, p, n, at);
	if (got > 0)
		look("pread", p, (size_t)got);
	return got;
}

void *
memchr(const void *p, int c, size_t n)
{
	const unsigned char *b = p;

	look("memchr", p, n);
	for (size_t i = 0; i < n; i++) {
		if (b[i] == (unsigned char)c)
			return (void *)(b + i);
	}
	return NULL;
}

void *
memcpy(void *to, const void *from, size_t n)
{
	unsigned char *t = to;
	const volatile unsigned char *f = from;

	look("memcpy", from, n);
	for (size_t i = 0; i < n; i++)
		t[i] = f[i];
	return to;
}
