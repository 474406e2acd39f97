/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/sv.h"
#include "common/spool/sio_mem.h"

#define SECTOR 512u /* what a disk writes whole or not at all */

/* A file. cur is what reads see, dur what a power cut leaves at least. */
struct inode {
	unsigned refs;        /* names, durable names, pending changes, opens */
	unsigned char *cur, *dur;
	size_t room;          /* of both */
	size_t cur_size, dur_size;
	size_t dirty_from, dirty_to; /* written since the last sync */
};

struct name {
	char path[SIO_PATH_MAX];
	struct inode *ino;
};

struct names {
	struct name *list;
	size_t n, room;
};

enum change_kind { CH_CREATE, CH_RENAME, CH_UNLINK };

/* A change of names that is not durable yet. */
struct change {
	enum change_kind kind;
	char path[SIO_PATH_MAX], to[SIO_PATH_MAX];
	struct inode *ino;    /* CH_CREATE */
};

struct sio_mem {
	struct sio sio;
	struct names cur, dur;
	struct change *changes;
	size_t nchanges, changes_room;
	char (*folders)[SIO_PATH_MAX];
	size_t nfolders;
	uint64_t calls;
	uint64_t fail_at;     /* absolute; 0: never */
	int fail_err;
	bool fail_sticky;
	size_t short_max;
	uint64_t free_bytes;
	void (*on_call)(void *arg);
	void *on_call_arg;
};

static struct sio_mem *
mem_of(struct sio *s)
{
	return (struct sio_mem *)(void *)s;
}

static const struct sio_mem *
mem_const(const struct sio *s)
{
	return (const struct sio_mem *)(const void *)s;
}

static void *
need(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

/* ---- inodes and names ---- */

static struct inode *
inode_ref(struct inode *i)
{
	i->refs++;
	return i;
}

static void
inode_unref(struct inode *i)
{
	if (i == NULL || --i->refs > 0)
		return;
	free(i->cur);
	free(i->dur);
	free(i);
}

static void
inode_room(struct inode *i, size_t size)
{
	size_t room = i->room == 0 ? 4096 : i->room;

	if (size <= i->room)
		return;
	while (room < size)
		room *= 2;
	i->cur = need(realloc(i->cur, room));
	i->dur = need(realloc(i->dur, room));
	memset(i->cur + i->room, 0, room - i->room);
	memset(i->dur + i->room, 0, room - i->room);
	i->room = room;
}

static void
inode_dirty(struct inode *i, size_t from, size_t to)
{
	if (i->dirty_from == i->dirty_to) {
		i->dirty_from = from;
		i->dirty_to = to;
		return;
	}
	if (from < i->dirty_from)
		i->dirty_from = from;
	if (to > i->dirty_to)
		i->dirty_to = to;
}

static struct name *
name_find(const struct names *l, const char *path)
{
	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(l->list[i].path, path) == 0)
			return &l->list[i];
	}
	return NULL;
}

static void
path_copy(char out[SIO_PATH_MAX], const char *path)
{
	if (!sv_to_cstr(sv_from(path), out, SIO_PATH_MAX))
		abort();
}

static void
name_set(struct names *l, const char *path, struct inode *ino)
{
	struct name *e = name_find(l, path);

	inode_ref(ino);
	if (e != NULL) {
		inode_unref(e->ino);
		e->ino = ino;
		return;
	}
	if (l->n == l->room) {
		l->room = l->room == 0 ? 16 : l->room * 2;
		l->list = need(reallocarray(l->list, l->room,
		    sizeof(*l->list)));
	}
	path_copy(l->list[l->n].path, path);
	l->list[l->n++].ino = ino;
}

static void
name_unset(struct names *l, const char *path)
{
	struct name *e = name_find(l, path);

	if (e == NULL)
		return;
	inode_unref(e->ino);
	*e = l->list[--l->n];
}

static void
names_fini(struct names *l)
{
	for (size_t i = 0; i < l->n; i++)
		inode_unref(l->list[i].ino);
	free(l->list);
	*l = (struct names){ .list = NULL };
}

static bool
in_folder(const char *path, const char *folder)
{
	size_t n = strlen(folder);

	if (n == 0)
		return strchr(path, '/') == NULL;
	return strncmp(path, folder, n) == 0 && path[n] == '/';
}

static bool
has_folder(const struct sio_mem *m, const char *folder)
{
	if (folder[0] == '\0')
		return true;
	for (size_t i = 0; i < m->nfolders; i++) {
		if (strcmp(m->folders[i], folder) == 0)
			return true;
	}
	return false;
}

static bool
parent_there(const struct sio_mem *m, const char *path)
{
	const char *slash = strchr(path, '/');
	char folder[SIO_PATH_MAX];

	if (slash == NULL)
		return true;
	return sv_to_cstr(sv_make(path, (size_t)(slash - path)), folder,
	    sizeof(folder)) && has_folder(m, folder);
}

/* ---- changes of names ---- */

static void
change_apply(struct names *l, const struct change *c)
{
	struct name *e;

	switch (c->kind) {
	case CH_CREATE:
		name_set(l, c->path, c->ino);
		break;
	case CH_UNLINK:
		name_unset(l, c->path);
		break;
	case CH_RENAME:
		e = name_find(l, c->path);
		if (e == NULL)
			break;
		name_set(l, c->to, e->ino);
		name_unset(l, c->path);
		break;
	}
}

static void
change_add(struct sio_mem *m, enum change_kind kind, const char *path,
    const char *to, struct inode *ino)
{
	struct change *c;

	if (m->nchanges == m->changes_room) {
		m->changes_room = m->changes_room == 0 ? 16 :
		    m->changes_room * 2;
		m->changes = need(reallocarray(m->changes, m->changes_room,
		    sizeof(*m->changes)));
	}
	c = &m->changes[m->nchanges++];
	*c = (struct change){ .kind = kind };
	path_copy(c->path, path);
	path_copy(c->to, to);
	c->ino = ino == NULL ? NULL : inode_ref(ino);
	change_apply(&m->cur, c);
}

/* ---- calls ---- */

/* 0, or -1 with errno if this call is to fail. */
static int
call(struct sio_mem *m)
{
	if (m->on_call != NULL)
		m->on_call(m->on_call_arg);
	m->calls++;
	if (m->fail_at == 0 || m->calls < m->fail_at ||
	    (m->calls > m->fail_at && !m->fail_sticky))
		return 0;
	errno = m->fail_err;
	return -1;
}

static int
mem_open(struct sio *s, const char *path, unsigned flags, struct sio_file *f)
{
	struct sio_mem *m = mem_of(s);
	struct name *e = name_find(&m->cur, path);
	struct inode *i = e == NULL ? NULL : e->ino;

	if ((flags & (SIO_CREATE | SIO_TRUNC)) != 0 && call(m) != 0)
		return -1;
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
		i = need(calloc(1, sizeof(*i)));
		change_add(m, CH_CREATE, path, "", i);
	} else if ((flags & SIO_TRUNC) != 0 && i->cur_size > 0) {
		memset(i->cur, 0, i->cur_size);
		inode_dirty(i, 0, i->cur_size);
		i->cur_size = 0;
	}
	f->mem = inode_ref(i);
	return 0;
}

static void
mem_close(struct sio_file *f)
{
	inode_unref(f->mem);
}

static ssize_t
mem_pread(struct sio_file *f, void *p, size_t n, uint64_t at)
{
	const struct inode *i = f->mem;

	if (at >= i->cur_size)
		return 0;
	if (n > i->cur_size - at)
		n = (size_t)(i->cur_size - at);
	memcpy(p, i->cur + at, n);
	return (ssize_t)n;
}

/* How much of n bytes at `at` the disk and the limit take. */
static size_t
write_room(struct sio_mem *m, const struct inode *i, size_t n, uint64_t at)
{
	size_t more;

	if (m->short_max != 0 && n > m->short_max)
		n = m->short_max;
	more = at + n > i->cur_size ? (size_t)(at + n - i->cur_size) : 0;
	if (more > m->free_bytes) {
		size_t over = more - (size_t)m->free_bytes;

		n = over < n ? n - over : 0;
		more = (size_t)m->free_bytes;
	}
	m->free_bytes -= more;
	return n;
}

static ssize_t
mem_pwritev(struct sio_file *f, const struct iovec *iov, int n, uint64_t at)
{
	struct sio_mem *m = mem_of(f->sio);
	struct inode *i = f->mem;
	size_t total = 0, done = 0;

	if (call(m) != 0)
		return -1;
	for (int k = 0; k < n; k++)
		total += iov[k].iov_len;
	if (total == 0)
		return 0;
	total = write_room(m, i, total, at);
	if (total == 0) {
		errno = ENOSPC;
		return -1;
	}
	inode_room(i, (size_t)at + total);
	for (int k = 0; k < n && done < total; k++) {
		size_t now = iov[k].iov_len;

		if (now > total - done)
			now = total - done;
		if (now > 0)
			memcpy(i->cur + at + done, iov[k].iov_base, now);
		done += now;
	}
	inode_dirty(i, (size_t)at, (size_t)at + done);
	if (at + done > i->cur_size)
		i->cur_size = (size_t)at + done;
	return (ssize_t)done;
}

static int
mem_ftruncate(struct sio_file *f, uint64_t size)
{
	struct sio_mem *m = mem_of(f->sio);
	struct inode *i = f->mem;
	size_t old = i->cur_size;

	if (call(m) != 0)
		return -1;
	inode_room(i, (size_t)size);
	if (size < old) {
		memset(i->cur + size, 0, old - (size_t)size);
		inode_dirty(i, (size_t)size, old);
	}
	i->cur_size = (size_t)size;
	return 0;
}

static int
mem_fdatasync(struct sio_file *f)
{
	struct inode *i = f->mem;
	int rc = call(mem_of(f->sio));

	if (rc == 0) {
		if (i->dirty_to > i->dirty_from)
			memcpy(i->dur + i->dirty_from, i->cur + i->dirty_from,
			    i->dirty_to - i->dirty_from);
		i->dur_size = i->cur_size;
	}
	/* Also after a failure: the kernel takes the pages for clean. */
	i->dirty_from = i->dirty_to = 0;
	return rc;
}

static int
mem_allocate(struct sio_file *f, uint64_t size)
{
	(void)f;
	(void)size;
	errno = EOPNOTSUPP;
	return -1;
}

static int
mem_size(struct sio_file *f, uint64_t *size_r)
{
	const struct inode *i = f->mem;

	*size_r = i->cur_size;
	return 0;
}

static int
mem_fsync_dir(struct sio *s, const char *folder)
{
	struct sio_mem *m = mem_of(s);
	size_t kept = 0;

	if (call(m) != 0)
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
	struct sio_mem *m = mem_of(s);

	if (call(m) != 0)
		return -1;
	if (name_find(&m->cur, from) == NULL || !parent_there(m, to)) {
		errno = ENOENT;
		return -1;
	}
	change_add(m, CH_RENAME, from, to, NULL);
	return 0;
}

static int
mem_unlink(struct sio *s, const char *path)
{
	struct sio_mem *m = mem_of(s);
	struct name *e;

	if (call(m) != 0)
		return -1;
	e = name_find(&m->cur, path);
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
	struct sio_mem *m = mem_of(s);

	if (call(m) != 0)
		return -1;
	if (has_folder(m, path)) {
		errno = EEXIST;
		return -1;
	}
	m->folders = need(reallocarray(m->folders, m->nfolders + 1,
	    sizeof(*m->folders)));
	path_copy(m->folders[m->nfolders++], path);
	return 0;
}

static int
mem_list(struct sio *s, const char *folder, sio_list_fn *fn, void *arg)
{
	const struct sio_mem *m = mem_of(s);
	size_t skip = folder[0] == '\0' ? 0 : strlen(folder) + 1;
	int rc = 0;

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
	space_r->free_bytes = mem_of(s)->free_bytes;
	space_r->total_bytes = UINT64_MAX;
	space_r->free_inodes = UINT64_MAX;
	return 0;
}

static void
mem_destroy(struct sio *s)
{
	struct sio_mem *m = mem_of(s);

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
	struct sio_mem *m = need(calloc(1, sizeof(*m)));

	m->sio.ops = &mem_ops;
	m->free_bytes = UINT64_MAX;
	return &m->sio;
}

/* ---- crashes ---- */

static uint64_t
random_next(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static bool
sector_differs(const struct inode *i, size_t at, size_t n)
{
	return memcmp(i->cur + at, i->dur + at, n) != 0;
}

/* Does the k-th of n changed sectors stay? pick: a random number of the file,
 * bits: of the sector. */
static bool
sector_stays(enum sio_crash how, size_t k, size_t n, uint64_t pick,
    uint64_t bits)
{
	switch (how) {
	case SIO_CRASH_TORN:
		return k < pick % (n + 1);
	case SIO_CRASH_REORDER:
		return k >= pick % (n + 1);
	case SIO_CRASH_RANDOM:
		return (bits & 1) != 0;
	default:
		return how != SIO_CRASH_LOSE;
	}
}

static size_t
size_after(const struct inode *i, enum sio_crash how, size_t last_kept,
    uint64_t pick)
{
	size_t lo = i->dur_size, hi = i->cur_size;

	if (how == SIO_CRASH_LOSE)
		return lo;
	if (how == SIO_CRASH_KEEP || how == SIO_CRASH_REORDER || hi < lo)
		return hi;
	if (how == SIO_CRASH_TORN)
		return last_kept < lo ? lo : (last_kept < hi ? last_kept : hi);
	return lo + (size_t)(pick % (hi - lo + 1));
}

static struct inode *
inode_crash(const struct inode *i, enum sio_crash how, uint64_t *seed)
{
	struct inode *o = need(calloc(1, sizeof(*o)));
	size_t top = i->cur_size > i->dur_size ? i->cur_size : i->dur_size;
	size_t changed = 0, k = 0, last_kept = 0;
	uint64_t pick = random_next(seed);

	inode_room(o, top);
	for (size_t at = 0; at < top; at += SECTOR)
		changed += sector_differs(i, at,
		    top - at < SECTOR ? top - at : SECTOR);
	for (size_t at = 0; at < top; at += SECTOR) {
		size_t n = top - at < SECTOR ? top - at : SECTOR;
		bool stays = true;

		if (sector_differs(i, at, n)) {
			stays = sector_stays(how, k++, changed, pick,
			    random_next(seed));
			if (stays)
				last_kept = at + n;
		}
		memcpy(o->cur + at, (stays ? i->cur : i->dur) + at, n);
	}
	o->cur_size = size_after(i, how, last_kept, pick >> 8);
	if (o->cur_size < top)
		memset(o->cur + o->cur_size, 0, top - o->cur_size);
	if (top > 0)
		memcpy(o->dur, o->cur, top);
	o->dur_size = o->cur_size;
	return o;
}

/* A process died: all is there, what was durable still is. */
static struct inode *
inode_copy(const struct inode *i)
{
	struct inode *o = need(calloc(1, sizeof(*o)));

	inode_room(o, i->room);
	if (i->room > 0) {
		memcpy(o->cur, i->cur, i->room);
		memcpy(o->dur, i->dur, i->room);
	}
	o->cur_size = i->cur_size;
	o->dur_size = i->dur_size;
	o->dirty_from = i->dirty_from;
	o->dirty_to = i->dirty_to;
	return o;
}

/* Copies of inodes, so that one with two names stays one. */
struct inode_map {
	const struct inode **from;
	struct inode **to;
	size_t n, room;
};

static struct inode *
map_get(struct inode_map *map, const struct inode *i, bool kill,
    enum sio_crash how, uint64_t *seed)
{
	for (size_t k = 0; k < map->n; k++) {
		if (map->from[k] == i)
			return map->to[k];
	}
	if (map->n == map->room) {
		map->room = map->room == 0 ? 16 : map->room * 2;
		map->from = need(reallocarray(map->from, map->room,
		    sizeof(*map->from)));
		map->to = need(reallocarray(map->to, map->room,
		    sizeof(*map->to)));
	}
	map->from[map->n] = i;
	map->to[map->n] = inode_ref(kill ? inode_copy(i) :
	    inode_crash(i, how, seed));
	return map->to[map->n++];
}

static void
map_fini(struct inode_map *map)
{
	for (size_t k = 0; k < map->n; k++)
		inode_unref(map->to[k]);
	free(map->from);
	free(map->to);
}

static struct sio_mem *
mem_like(const struct sio_mem *m)
{
	struct sio_mem *o = mem_of(sio_mem_new());

	o->free_bytes = m->free_bytes;
	o->nfolders = m->nfolders;
	o->folders = need(reallocarray(NULL, m->nfolders + 1,
	    sizeof(*o->folders)));
	if (m->nfolders > 0)
		memcpy(o->folders, m->folders,
		    m->nfolders * sizeof(*o->folders));
	return o;
}

struct sio *
sio_mem_clone(const struct sio *s)
{
	const struct sio_mem *m = mem_const(s);
	struct sio_mem *o = mem_like(m);
	struct inode_map map = { .n = 0 };
	uint64_t seed = 0;

	for (size_t i = 0; i < m->dur.n; i++)
		name_set(&o->dur, m->dur.list[i].path, map_get(&map,
		    m->dur.list[i].ino, true, SIO_CRASH_KILL, &seed));
	for (size_t i = 0; i < m->dur.n; i++)
		name_set(&o->cur, o->dur.list[i].path, o->dur.list[i].ino);
	for (size_t i = 0; i < m->nchanges; i++) {
		const struct change *c = &m->changes[i];

		change_add(o, c->kind, c->path, c->to, c->ino == NULL ? NULL :
		    map_get(&map, c->ino, true, SIO_CRASH_KILL, &seed));
	}
	map_fini(&map);
	return &o->sio;
}

/* Applies those pending changes of names that stay. */
static void
changes_crash(const struct sio_mem *m, struct names *names, enum sio_crash how,
    uint64_t *seed)
{
	bool subset = (random_next(seed) & 1) != 0;
	size_t prefix = (size_t)(random_next(seed) % (m->nchanges + 1));

	for (size_t i = 0; i < m->nchanges; i++) {
		bool stays = how != SIO_CRASH_LOSE;

		if (how == SIO_CRASH_RANDOM)
			stays = subset ? (random_next(seed) & 1) != 0 :
			    i < prefix;
		if (stays)
			change_apply(names, &m->changes[i]);
	}
}

struct sio *
sio_mem_crash(const struct sio *s, enum sio_crash how, uint64_t seed)
{
	const struct sio_mem *m = mem_const(s);
	struct sio_mem *o;
	struct names names = { .n = 0 };
	struct inode_map map = { .n = 0 };

	if (how == SIO_CRASH_KILL)
		return sio_mem_clone(s);
	o = mem_like(m);
	for (size_t i = 0; i < m->dur.n; i++)
		name_set(&names, m->dur.list[i].path, m->dur.list[i].ino);
	changes_crash(m, &names, how, &seed);
	for (size_t i = 0; i < names.n; i++) {
		struct inode *ino = map_get(&map, names.list[i].ino, false,
		    how, &seed);

		name_set(&o->dur, names.list[i].path, ino);
		name_set(&o->cur, names.list[i].path, ino);
	}
	names_fini(&names);
	map_fini(&map);
	return &o->sio;
}

/* ---- for tests ---- */

uint64_t
sio_mem_calls(const struct sio *s)
{
	return mem_const(s)->calls;
}

void
sio_mem_fail(struct sio *s, uint64_t n, int err, bool sticky)
{
	struct sio_mem *m = mem_of(s);

	m->fail_at = n == 0 ? 0 : m->calls + n;
	m->fail_err = err;
	m->fail_sticky = sticky;
}

void
sio_mem_on_call(struct sio *s, void (*fn)(void *arg), void *arg)
{
	mem_of(s)->on_call = fn;
	mem_of(s)->on_call_arg = arg;
}

void
sio_mem_short(struct sio *s, size_t max)
{
	mem_of(s)->short_max = max;
}

void
sio_mem_space(struct sio *s, uint64_t free_bytes)
{
	mem_of(s)->free_bytes = free_bytes;
}

bool
sio_mem_flip(struct sio *s, const char *path, uint64_t at)
{
	struct name *e = name_find(&mem_of(s)->cur, path);

	if (e == NULL || at >= e->ino->cur_size)
		return false;
	e->ino->cur[at] ^= 1;
	e->ino->dur[at] ^= 1;
	return true;
}
