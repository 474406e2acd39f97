/* SPDX-License-Identifier: ISC */
/* What a file system in memory holds: contents, files, names, and changes of
 * names. */
#include <stdlib.h>
#include <string.h>

#include "common/base/sv.h"
#include "common/spool/sio_mem_private.h"

/* ---- contents ---- */

struct content *
content_ref(struct content *c)
{
	if (c != NULL)
		c->refs++;
	return c;
}

void
content_unref(struct content *c)
{
	if (c != NULL && --c->refs == 0)
		free(c);
}

const unsigned char *
content_sector(const struct content *c, size_t k)
{
	static const unsigned char zeros[SECTOR];

	return c == NULL || k * SECTOR >= c->room ? zeros :
	    c->bytes + k * SECTOR;
}

/* One that nobody else has, with room for size bytes. */
void
content_own(struct content **cp, size_t size)
{
	struct content *c = *cp, *o;
	size_t room = c == NULL ? 0 : c->room;

	if (c != NULL && c->refs == 1 && size <= room)
		return;
	if (size > room)
		room = size < 4096 ? 4096 : size * 2;
	room = (room + SECTOR - 1) / SECTOR * SECTOR;
	o = sio_mem_need(malloc(sizeof(*o) + room));
	o->refs = 1;
	o->room = room;
	if (c != NULL)
		memcpy(o->bytes, c->bytes, c->room);
	memset(o->bytes + (c == NULL ? 0 : c->room), 0,
	    room - (c == NULL ? 0 : c->room));
	content_unref(c);
	*cp = o;
}

/* ---- inodes and names ---- */

struct inode *
inode_new(struct sio_mem *fs)
{
	struct inode *i = sio_mem_need(calloc(1, sizeof(*i)));

	i->fs = fs;
	return i;
}

struct inode *
inode_ref(struct inode *i)
{
	/* Callers have found or made it; without memory that aborts.
	 * NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
	i->refs++;
	return i;
}

void
inode_unref(struct inode *i)
{
	if (i == NULL || --i->refs > 0)
		return;
	if (i->charged > UINT64_MAX - i->fs->free_bytes)
		i->fs->free_bytes = UINT64_MAX;
	else
		i->fs->free_bytes += i->charged;
	content_unref(i->cur);
	content_unref(i->dur);
	free(i->sectors);
	free(i);
}

void
inode_room(struct inode *i, size_t size)
{
	content_own(&i->cur, size);
	i->hash = 0;
}

static size_t
sectors_of(size_t size)
{
	return (size + SECTOR - 1) / SECTOR;
}

/* Written: what an earlier sync lost is there again for the next one. */
void
inode_dirty(struct inode *i, size_t from, size_t to)
{
	size_t n = sectors_of(to);

	if (from >= to)
		return;
	if (n > i->nsectors) {
		i->sectors = sio_mem_need(realloc(i->sectors, n));
		memset(i->sectors + i->nsectors, 0, n - i->nsectors);
		i->nsectors = n;
	}
	memset(i->sectors + from / SECTOR, SECTOR_DIRTY, n - from / SECTOR);
}

static uint32_t
path_hash(const char *path)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (; *path != '\0'; path++)
		h = (h ^ (unsigned char)*path) * 16777619u;
	return h;
}

struct name *
names_find(const struct names *l, const char *path)
{
	uint32_t h = path_hash(path);

	for (size_t i = 0; i < l->n; i++) {
		if (l->list[i].hash == h && strcmp(l->list[i].path, path) == 0)
			return &l->list[i];
	}
	return NULL;
}

void
path_copy(char out[SIO_PATH_MAX], const char *path)
{
	if (!sv_to_cstr(sv_from(path), out, SIO_PATH_MAX))
		abort();
}

void
names_set(struct names *l, const char *path, struct inode *ino)
{
	struct name *e = names_find(l, path);

	inode_ref(ino);
	if (e != NULL) {
		/* Each name has a reference of its own.
		 * NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		inode_unref(e->ino);
		e->ino = ino;
		return;
	}
	if (l->n == l->room) {
		l->room = l->room == 0 ? 32 : l->room * 2;
		l->list = sio_mem_need(reallocarray(l->list, l->room,
		    sizeof(*l->list)));
	}
	path_copy(l->list[l->n].path, path);
	l->list[l->n].hash = path_hash(path);
	l->list[l->n++].ino = ino;
}

static void
names_unset(struct names *l, const char *path)
{
	struct name *e = names_find(l, path);

	if (e == NULL)
		return;
	inode_unref(e->ino);
	*e = l->list[--l->n];
}

void
names_fini(struct names *l)
{
	for (size_t i = 0; i < l->n; i++)
		inode_unref(l->list[i].ino);
	free(l->list);
	*l = (struct names){ .list = NULL };
}

bool
in_folder(const char *path, const char *folder)
{
	size_t n = strlen(folder);

	if (n == 0)
		return strchr(path, '/') == NULL;
	return strncmp(path, folder, n) == 0 && path[n] == '/';
}

bool
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

bool
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

/* A file has one name: with a rename that stays, whatever name it has is
 * gone, also one that an earlier lost rename left to it. */
static void
rename_apply(struct names *l, const struct change *c)
{
	inode_ref(c->ino);
	for (size_t i = 0; i < l->n; i++) {
		if (l->list[i].ino == c->ino) {
			names_unset(l, l->list[i].path);
			break;
		}
	}
	names_set(l, c->to, c->ino);
	inode_unref(c->ino);
}

void
change_apply(struct names *l, const struct change *c)
{
	switch (c->kind) {
	case CH_CREATE:
		names_set(l, c->path, c->ino);
		break;
	case CH_UNLINK:
		names_unset(l, c->path);
		break;
	case CH_RENAME:
		rename_apply(l, c);
		break;
	}
}

void
change_add(struct sio_mem *m, enum change_kind kind, const char *path,
    const char *to, struct inode *ino)
{
	struct change *c;

	if (m->nchanges == m->changes_room) {
		m->changes_room = m->changes_room == 0 ? 16 :
		    m->changes_room * 2;
		m->changes = sio_mem_need(reallocarray(m->changes,
		    m->changes_room, sizeof(*m->changes)));
	}
	c = &m->changes[m->nchanges++];
	*c = (struct change){ .kind = kind };
	path_copy(c->path, path);
	path_copy(c->to, to);
	c->ino = ino == NULL ? NULL : inode_ref(ino);
	change_apply(&m->cur, c);
}
