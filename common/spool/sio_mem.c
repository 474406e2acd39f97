/* SPDX-License-Identifier: ISC */
/* The calls of a file system in memory, and how they fail. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/spool/sio_mem_private.h"

struct sio_mem *
sio_mem_of(struct sio *s)
{
	return (struct sio_mem *)(void *)s;
}

const struct sio_mem *
sio_mem_of_const(const struct sio *s)
{
	return (const struct sio_mem *)(const void *)s;
}

void *
sio_mem_need(void *p)
{
	if (p == NULL)
		abort(); /* only tests use this module */
	return p;
}

/* ---- calls ---- */

/* 0; -1 with errno if this call is to fail; 1 if it is to be a short write. */
static int
call(struct sio_mem *m, enum sio_mem_op op)
{
	struct sio_mem_fault *f = &m->fault;

	if ((op & SIO_OPS_CHANGE) != 0) {
		if (m->on_call != NULL)
			m->on_call(m->on_call_arg);
		m->calls++;
	}
	if ((f->ops & op) == 0 || f->count == 0)
		return 0;
	if (f->after > 0) {
		f->after--;
		return 0;
	}
	f->count -= f->count != UINT64_MAX;
	m->failed_at = m->calls;
	errno = f->err;
	return f->err == 0 ? 1 : -1;
}

/* Takes from what is free for a file of that size; as much as is left. */
static size_t
space_take(struct inode *i, size_t size)
{
	uint64_t more = size > i->charged ? size - i->charged : 0;

	if (more > i->fs->free_bytes)
		more = i->fs->free_bytes;
	i->fs->free_bytes -= more;
	i->charged += more;
	return size < i->charged ? size : (size_t)i->charged;
}

static void
size_set(struct inode *i, size_t size)
{
	if (size < i->cur_size) {
		inode_room(i, i->cur_size);
		memset(i->cur->bytes + size, 0, i->cur_size - size);
		inode_dirty(i, size, i->cur_size);
	}
	i->cur_size = size;
	i->hash = 0;
}

static int
mem_open(struct sio *s, const char *path, unsigned flags, struct sio_file *f)
{
	struct sio_mem *m = sio_mem_of(s);
	struct inode *i;
	struct name *e;

	if (call(m, (flags & (SIO_CREATE | SIO_TRUNC)) != 0 ? SIO_OP_CREATE :
	    SIO_OP_OPEN) != 0)
		return -1;
	e = names_find(&m->cur, path);
	i = e == NULL ? NULL : e->ino;
	if ((flags & SIO_EXCL) != 0 && i != NULL) {
		errno = EEXIST;
		return -1;
	}
	if (i == NULL &&
	    ((flags & SIO_CREATE) == 0 || !parent_there(m, path))) {
		errno = ENOENT;
		return -1;
	}
	if (i == NULL) {
		i = inode_new(m);
		change_add(m, CH_CREATE, path, "", i);
	} else if ((flags & SIO_TRUNC) != 0) {
		size_set(i, 0);
	}
	f->mem = inode_ref(i);
	return 0;
}

static void
mem_close(struct sio_file *f)
{
	struct inode *i = f->mem;

	if (i->failed == f)
		i->failed = NULL;
	inode_unref(i);
}

static ssize_t
mem_pread(struct sio_file *f, void *p, size_t n, uint64_t at)
{
	const struct inode *i = f->mem;
	size_t there;

	if (call(sio_mem_of(f->sio), SIO_OP_READ) != 0)
		return -1;
	if (at >= i->cur_size)
		return 0;
	if (n > i->cur_size - at)
		n = (size_t)(i->cur_size - at);
	there = i->cur == NULL || at >= i->cur->room ? 0 :
	    i->cur->room - (size_t)at;
	if (there > n)
		there = n;
	if (there > 0)
		memcpy(p, i->cur->bytes + at, there);
	memset((char *)p + there, 0, n - there);
	return (ssize_t)n;
}

/* How much of n bytes at `at` the disk and the limit take. */
static size_t
write_room(struct sio_mem *m, struct inode *i, size_t n, uint64_t at)
{
	size_t end;

	if (m->short_max != 0 && n > m->short_max)
		n = m->short_max;
	if (at + n <= i->cur_size)
		return n;
	end = space_take(i, (size_t)at + n);
	if (end < i->cur_size)
		end = i->cur_size;
	return end > at ? end - (size_t)at : 0;
}

static void
bytes_write(struct inode *i, const struct iovec *iov, int n, size_t total,
    size_t at)
{
	size_t done = 0;

	inode_room(i, at + total);
	for (int k = 0; k < n && done < total; k++) {
		size_t now = iov[k].iov_len;

		if (now > total - done)
			now = total - done;
		if (now > 0)
			memcpy(i->cur->bytes + at + done, iov[k].iov_base,
			    now);
		done += now;
	}
	inode_dirty(i, at, at + done);
	if (at + done > i->cur_size)
		i->cur_size = at + done;
}

static ssize_t
mem_pwritev(struct sio_file *f, const struct iovec *iov, int n, uint64_t at)
{
	struct sio_mem *m = sio_mem_of(f->sio);
	int rc = call(m, SIO_OP_WRITE), err = errno;
	struct inode *i = f->mem;
	size_t total = 0;

	for (int k = 0; k < n; k++)
		total += iov[k].iov_len;
	if (total == 0)
		return rc < 0 ? -1 : 0;
	if (rc < 0 && err != EIO) {
		errno = err;
		return -1;
	}
	total = write_room(m, i, total, at);
	if (rc != 0)
		total = total > 1 ? total / 2 : total;
	if (total > 0)
		bytes_write(i, iov, n, total, (size_t)at);
	errno = rc < 0 ? err : ENOSPC;
	return rc < 0 || total == 0 ? -1 : (ssize_t)total;
}

static int
mem_ftruncate(struct sio_file *f, uint64_t size)
{
	if (call(sio_mem_of(f->sio), SIO_OP_WRITE) < 0)
		return -1;
	size_set(f->mem, (size_t)size);
	return 0;
}

/* Dirty sectors reach the disk; lost ones do not, and stay lost. */
static void
inode_sync(struct inode *i, const struct sio_file *f)
{
	size_t lost = 0;

	for (size_t k = 0; k < i->nsectors; k++)
		lost += (i->sectors[k] & SECTOR_LOST) != 0;
	for (size_t k = 0; lost > 0 && k < i->nsectors; k++) {
		if ((i->sectors[k] & SECTOR_DIRTY) == 0)
			continue;
		content_own(&i->dur, (k + 1) * SECTOR);
		memcpy(i->dur->bytes + k * SECTOR, content_sector(i->cur, k),
		    SECTOR);
		i->sectors[k] = 0;
	}
	i->dur_size = i->cur_size;
	if (lost > 0) {
		i->fs->resyncs += i->failed == f;
		return;
	}
	content_unref(i->dur);
	i->dur = content_ref(i->cur);
	free(i->sectors);
	i->sectors = NULL;
	i->nsectors = 0;
}

static int
mem_fdatasync(struct sio_file *f)
{
	struct inode *i = f->mem;
	int rc = call(sio_mem_of(f->sio), SIO_OP_SYNC);

	if (rc == 0) {
		inode_sync(i, f);
		return 0;
	}
	i->failed = f;
	/* the kernel takes the pages for clean */
	for (size_t k = 0; k < i->nsectors; k++) {
		if (i->sectors[k] == SECTOR_DIRTY)
			i->sectors[k] = SECTOR_LOST;
	}
	return -1;
}

static int
mem_allocate(struct sio_file *f, uint64_t size)
{
	struct inode *i = f->mem;

	if (call(sio_mem_of(f->sio), SIO_OP_WRITE) < 0)
		return -1;
	if (size > i->charged && size - i->charged > i->fs->free_bytes) {
		errno = ENOSPC;
		return -1;
	}
	(void)space_take(i, (size_t)size);
	return 0;
}

static int
mem_size(struct sio_file *f, uint64_t *size_r)
{
	const struct inode *i = f->mem;

	if (call(sio_mem_of(f->sio), SIO_OP_READ) != 0)
		return -1;
	*size_r = i->cur_size;
	return 0;
}

static int
mem_fsync_dir(struct sio *s, const char *folder)
{
	struct sio_mem *m = sio_mem_of(s);
	size_t kept = 0;

	if (call(m, SIO_OP_SYNC_DIR) != 0)
		return -1;
	for (size_t i = 0; i < m->nchanges; i++) {
		struct change *c = &m->changes[i];

		if (!in_folder(c->path, folder)) {
			m->changes[kept++] = *c;
			continue;
		}
		change_apply(&m->dur, c);
		inode_unref(c->ino);
	}
	m->nchanges = kept;
	return 0;
}

static int
mem_rename(struct sio *s, const char *from, const char *to)
{
	struct sio_mem *m = sio_mem_of(s);
	struct name *e;

	if (call(m, SIO_OP_RENAME) != 0)
		return -1;
	e = names_find(&m->cur, from);
	if (e == NULL || !parent_there(m, to)) {
		errno = ENOENT;
		return -1;
	}
	change_add(m, CH_RENAME, from, to, e->ino);
	return 0;
}

static int
mem_unlink(struct sio *s, const char *path)
{
	struct sio_mem *m = sio_mem_of(s);
	struct name *e;

	if (call(m, SIO_OP_UNLINK) != 0)
		return -1;
	e = names_find(&m->cur, path);
	if (e == NULL) {
		errno = ENOENT;
		return -1;
	}
	change_add(m, CH_UNLINK, path, "", NULL);
	return 0;
}

/* Folders are durable at once: they are made once, before there is mail. */
static int
mem_mkdir(struct sio *s, const char *path)
{
	struct sio_mem *m = sio_mem_of(s);

	if (call(m, SIO_OP_MKDIR) != 0)
		return -1;
	if (has_folder(m, path)) {
		errno = EEXIST;
		return -1;
	}
	m->folders = sio_mem_need(reallocarray(m->folders, m->nfolders + 1,
	    sizeof(*m->folders)));
	path_copy(m->folders[m->nfolders++], path);
	return 0;
}

static int
mem_list(struct sio *s, const char *folder, sio_list_fn *fn, void *arg)
{
	const struct sio_mem *m = sio_mem_of(s);
	size_t skip = folder[0] == '\0' ? 0 : strlen(folder) + 1;
	int rc = 0;

	if (call(sio_mem_of(s), SIO_OP_LIST) != 0)
		return -1;
	if (!has_folder(m, folder)) {
		errno = ENOENT;
		return -1;
	}
	for (size_t i = 0; rc == 0 && i < m->cur.n; i++) {
		if (in_folder(m->cur.list[i].path, folder))
			rc = fn(m->cur.list[i].path + skip, arg);
	}
	return rc;
}

static int
mem_space(struct sio *s, struct sio_space *space_r)
{
	if (call(sio_mem_of(s), SIO_OP_LIST) != 0)
		return -1;
	space_r->free_bytes = sio_mem_of(s)->free_bytes;
	space_r->total_bytes = UINT64_MAX;
	space_r->free_inodes = UINT64_MAX;
	return 0;
}

static void
mem_destroy(struct sio *s)
{
	struct sio_mem *m = sio_mem_of(s);

	for (size_t i = 0; i < m->nchanges; i++)
		inode_unref(m->changes[i].ino);
	free(m->changes);
	names_fini(&m->cur);
	names_fini(&m->dur);
	free(m->folders);
	free(m);
}

static const struct sio_ops mem_ops = {
	.open = mem_open,
	.close = mem_close,
	.pread = mem_pread,
	.pwritev = mem_pwritev,
	.ftruncate = mem_ftruncate,
	.fdatasync = mem_fdatasync,
	.allocate = mem_allocate,
	.size = mem_size,
	.fsync_dir = mem_fsync_dir,
	.rename = mem_rename,
	.unlink = mem_unlink,
	.mkdir = mem_mkdir,
	.list = mem_list,
	.space = mem_space,
	.destroy = mem_destroy,
};

struct sio *
sio_mem_new(void)
{
	struct sio_mem *m = sio_mem_need(calloc(1, sizeof(*m)));

	m->sio.ops = &mem_ops;
	m->free_bytes = UINT64_MAX;
	return &m->sio;
}

/* ---- for tests ---- */

uint64_t
sio_mem_calls(const struct sio *s)
{
	return sio_mem_of_const(s)->calls;
}

struct sio_mem_fault
sio_mem_fault(struct sio *s, struct sio_mem_fault f)
{
	struct sio_mem_fault before = sio_mem_of(s)->fault;

	sio_mem_of(s)->fault = f;
	return before;
}

void
sio_mem_fail(struct sio *s, uint64_t n, int err, bool sticky)
{
	struct sio_mem_fault f = { .ops = SIO_OPS_CHANGE, .after = n - 1,
		.count = sticky ? UINT64_MAX : 1, .err = err };

	if (n == 0)
		f.ops = 0;
	(void)sio_mem_fault(s, f);
}

uint64_t
sio_mem_failed_at(const struct sio *s)
{
	return sio_mem_of_const(s)->failed_at;
}

uint64_t
sio_mem_resyncs(const struct sio *s)
{
	return sio_mem_of_const(s)->resyncs;
}

void
sio_mem_on_call(struct sio *s, void (*fn)(void *arg), void *arg)
{
	sio_mem_of(s)->on_call = fn;
	sio_mem_of(s)->on_call_arg = arg;
}

void
sio_mem_short(struct sio *s, size_t max)
{
	sio_mem_of(s)->short_max = max;
}

void
sio_mem_space(struct sio *s, uint64_t free_bytes)
{
	sio_mem_of(s)->free_bytes = free_bytes;
}

bool
sio_mem_flip(struct sio *s, const char *path, uint64_t at)
{
	struct name *e = names_find(&sio_mem_of(s)->cur, path);
	struct inode *i;

	if (e == NULL || at >= e->ino->cur_size)
		return false;
	i = e->ino;
	inode_room(i, i->cur_size);
	i->cur->bytes[at] ^= 1;
	if (at < i->dur_size) {
		content_own(&i->dur, i->dur_size);
		i->dur->bytes[at] ^= 1;
	}
	return true;
}
