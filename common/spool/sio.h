/* SPDX-License-Identifier: ISC */
/*
 * sio: the spool's I/O. Two back ends: the operating system, below one
 * directory, and an in-memory model of a POSIX file system that knows what
 * was synced and can lose, tear and reorder the rest (see sio_mem.h).
 *
 * Paths are "name" or "folder/name". Calls return 0 or -1 with errno; no call
 * retries anything. Nothing is durable before sio_fdatasync() of the file (its
 * data and size) and sio_fsync_dir() of the folder (its names).
 *
 * A file may be written and synced by one thread while another works on other
 * files; the memory back end is for one thread.
 */
#ifndef COMMON_SPOOL_SIO_H
#define COMMON_SPOOL_SIO_H

#include <sys/types.h>
#include <sys/uio.h>
#include <stdbool.h>
#include <stdint.h>

#define SIO_PATH_MAX 64 /* with NUL: "checkpoint/", 20 digits, ".tmp" */

enum sio_flags {
	SIO_READ = 1,
	SIO_WRITE = 2,
	SIO_CREATE = 4,
	SIO_EXCL = 8,
	SIO_TRUNC = 16,
};

struct sio;

struct sio_file {
	struct sio *sio;
	int fd;            /* -1 in memory */
	void *mem;         /* the memory back end's own */
};

struct sio_space {
	uint64_t free_bytes;   /* for an ordinary user */
	uint64_t total_bytes;
	uint64_t free_inodes;
};

/* One call per name in the folder, without "." and "..". Not 0 stops. */
typedef int sio_list_fn(const char *name, void *arg);

struct sio_ops {
	int (*open)(struct sio *s, const char *path, unsigned flags,
	    struct sio_file *f);
	void (*close)(struct sio_file *f);
	ssize_t (*pread)(struct sio_file *f, void *p, size_t n, uint64_t at);
	ssize_t (*pwritev)(struct sio_file *f, const struct iovec *iov, int n,
	    uint64_t at);
	int (*ftruncate)(struct sio_file *f, uint64_t size);
	int (*fdatasync)(struct sio_file *f);
	int (*allocate)(struct sio_file *f, uint64_t size);
	int (*size)(struct sio_file *f, uint64_t *size_r);
	int (*fsync_dir)(struct sio *s, const char *folder);
	int (*rename)(struct sio *s, const char *from, const char *to);
	int (*unlink)(struct sio *s, const char *path);
	int (*mkdir)(struct sio *s, const char *path);
	int (*list)(struct sio *s, const char *folder, sio_list_fn *fn,
	    void *arg);
	int (*space)(struct sio *s, struct sio_space *space_r);
	void (*destroy)(struct sio *s);
};

/* Back ends embed this as their first member. */
struct sio {
	const struct sio_ops *ops;
};

/* Below dirfd, which stays the caller's and must outlive it. NULL without
 * memory. */
struct sio *sio_os_new(int dirfd);
void sio_free(struct sio **s);

/* NULL with errno. */
struct sio_file *sio_open(struct sio *s, const char *path, unsigned flags);
/* A descriptor from somewhere else; sio_close() closes it. NULL without
 * memory (fd is not closed then). */
struct sio_file *sio_wrap(int fd);
/* NULL is allowed. Sets it to NULL. */
void sio_close(struct sio_file **f);
/* To be passed to other processes; the file's own. -1 in memory. */
int sio_fd(const struct sio_file *f);

/* May be short, as the system's calls. */
ssize_t sio_pread(struct sio_file *f, void *p, size_t n, uint64_t at);
ssize_t sio_pwritev(struct sio_file *f, const struct iovec *iov, int n,
    uint64_t at);
/* All of it, or -1. iov is changed. A full disk gives ENOSPC. */
int sio_write_all(struct sio_file *f, struct iovec *iov, size_t n,
    uint64_t at);
/* Bytes read, less than n only at the end of the file, or -1. */
ssize_t sio_read_all(struct sio_file *f, void *p, size_t n, uint64_t at);
int sio_pwrite(struct sio_file *f, const void *p, size_t n, uint64_t at);
int sio_ftruncate(struct sio_file *f, uint64_t size);
int sio_fdatasync(struct sio_file *f);
/* Reserves blocks behind the data; the size stays. */
int sio_allocate(struct sio_file *f, uint64_t size);
int sio_size(struct sio_file *f, uint64_t *size_r);

/* folder "" is the spool directory itself. */
int sio_fsync_dir(struct sio *s, const char *folder);
int sio_rename(struct sio *s, const char *from, const char *to);
int sio_unlink(struct sio *s, const char *path);
int sio_mkdir(struct sio *s, const char *path);
/* What fn returned if not 0, else 0; -1 with errno if it cannot be read. */
int sio_list(struct sio *s, const char *folder, sio_list_fn *fn, void *arg);
int sio_space(struct sio *s, struct sio_space *space_r);

/* Makes the spool's folders where they are missing, durably. */
int sio_spool_create(struct sio *s);

/* "folder/NNNNNNNNNN.suffix" into out. */
const char *sio_path(char out[SIO_PATH_MAX], const char *folder,
    uint64_t number, const char *suffix);
/* True if name is a number of at least 10 digits followed by suffix. */
bool sio_number(const char *name, const char *suffix, uint64_t *number_r);
/* All numbers with this suffix in a folder, ascending; the caller frees
 * *list_r. */
int sio_numbers(struct sio *s, const char *folder, const char *suffix,
    uint64_t **list_r, size_t *n_r);

#endif
