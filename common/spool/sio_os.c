/* SPDX-License-Identifier: ISC */
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/spool/sio.h"

struct sio_os {
	struct sio sio;
	int dirfd;
};

static int
dirfd_of(const struct sio *s)
{
	/* sio is the first member. */
	return ((const struct sio_os *)(const void *)s)->dirfd;
}

static int
os_open(struct sio *s, const char *path, unsigned flags, struct sio_file *f)
{
	int how = O_CLOEXEC | O_NOFOLLOW;

	if ((flags & SIO_READ) != 0 && (flags & SIO_WRITE) != 0)
		how |= O_RDWR;
	else
		how |= (flags & SIO_WRITE) != 0 ? O_WRONLY : O_RDONLY;
	how |= (flags & SIO_CREATE) != 0 ? O_CREAT : 0;
	how |= (flags & SIO_EXCL) != 0 ? O_EXCL : 0;
	how |= (flags & SIO_TRUNC) != 0 ? O_TRUNC : 0;
	f->fd = openat(dirfd_of(s), path, how, 0640);
	return f->fd < 0 ? -1 : 0;
}

static void
os_close(struct sio_file *f)
{
	close(f->fd);
}

static ssize_t
os_pread(struct sio_file *f, void *p, size_t n, uint64_t at)
{
	return pread(f->fd, p, n, (off_t)at);
}

static ssize_t
os_pwritev(struct sio_file *f, const struct iovec *iov, int n, uint64_t at)
{
	return pwritev(f->fd, iov, n, (off_t)at);
}

static int
os_ftruncate(struct sio_file *f, uint64_t size)
{
	return ftruncate(f->fd, (off_t)size);
}

static int
os_fdatasync(struct sio_file *f)
{
	return fdatasync(f->fd);
}

static int
os_allocate(struct sio_file *f, uint64_t size)
{
#ifdef FALLOC_FL_KEEP_SIZE
	return fallocate(f->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)size);
#else
	(void)f;
	(void)size;
	errno = EOPNOTSUPP;
	return -1;
#endif
}

static int
os_size(struct sio_file *f, uint64_t *size_r)
{
	struct stat st;

	if (fstat(f->fd, &st) != 0)
		return -1;
	*size_r = (uint64_t)st.st_size;
	return 0;
}

static int
folder_open(struct sio *s, const char *folder)
{
	if (folder[0] == '\0')
		folder = ".";
	return openat(dirfd_of(s), folder,
	    O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

static int
os_fsync_dir(struct sio *s, const char *folder)
{
	int fd = folder_open(s, folder), rc, err;

	if (fd < 0)
		return -1;
	rc = fsync(fd);
	err = errno;
	close(fd);
	errno = err;
	return rc;
}

static int
os_rename(struct sio *s, const char *from, const char *to)
{
	return renameat(dirfd_of(s), from, dirfd_of(s), to);
}

static int
os_unlink(struct sio *s, const char *path)
{
	return unlinkat(dirfd_of(s), path, 0);
}

static int
os_mkdir(struct sio *s, const char *path)
{
	return mkdirat(dirfd_of(s), path, 0700);
}

static int
os_list(struct sio *s, const char *folder, sio_list_fn *fn, void *arg)
{
	int fd = folder_open(s, folder), rc = 0, err;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (d == NULL) {
		err = errno;
		if (fd >= 0)
			close(fd);
		errno = err;
		return -1;
	}
	for (errno = 0; rc == 0 && (e = readdir(d)) != NULL; errno = 0) {
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			rc = fn(e->d_name, arg);
	}
	err = errno;
	closedir(d);
	errno = err;
	return rc == 0 && err != 0 ? -1 : rc;
}

static int
os_space(struct sio *s, struct sio_space *space_r)
{
	struct statvfs v;

	if (fstatvfs(dirfd_of(s), &v) != 0)
		return -1;
	space_r->free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
	space_r->total_bytes = (uint64_t)v.f_blocks * v.f_frsize;
	/* Some file systems have no fixed number of inodes and say 0. */
	space_r->free_inodes = v.f_files == 0 ? UINT64_MAX : v.f_favail;
	return 0;
}

static void
os_destroy(struct sio *s)
{
	free(s);
}

static const struct sio_ops os_ops = {
	.open = os_open,
	.close = os_close,
	.pread = os_pread,
	.pwritev = os_pwritev,
	.ftruncate = os_ftruncate,
	.fdatasync = os_fdatasync,
	.allocate = os_allocate,
	.size = os_size,
	.fsync_dir = os_fsync_dir,
	.rename = os_rename,
	.unlink = os_unlink,
	.mkdir = os_mkdir,
	.list = os_list,
	.space = os_space,
	.destroy = os_destroy,
};

/* For files that came as descriptors. */
static struct sio_os no_directory = { { &os_ops }, -1 };

struct sio *
sio_os_new(int dirfd)
{
	struct sio_os *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->sio.ops = &os_ops;
	s->dirfd = dirfd;
	return &s->sio;
}

struct sio_file *
sio_wrap(int fd)
{
	struct sio_file *f = calloc(1, sizeof(*f));

	if (f == NULL) {
		mem_failed(sizeof(*f));
		return NULL;
	}
	f->sio = &no_directory.sio;
	f->fd = fd;
	return f;
}
