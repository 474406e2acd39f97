/* SPDX-License-Identifier: ISC */
/* What a crash leaves of a file system in memory. */
#include <stdlib.h>
#include <string.h>

#include "common/base/crc32c.h"
#include "common/spool/sio_mem_private.h"

/* How much of one effect stays. */
enum stay {
	STAY_NOT,
	STAY_WHOLE,
	STAY_PART,   /* a size: up to the last sector that stayed */
};

enum effect_kind { EFFECT_NAME, EFFECT_SIZE, EFFECT_SECTOR };

struct effect {
	enum effect_kind kind;
	struct inode *ino;    /* of a size or a sector */
	size_t at;            /* number of the sector, or of the change */
};

struct effects {
	struct effect *list;
	size_t n, room;
};

static void
effect_add(struct effects *e, enum effect_kind kind, struct inode *ino,
    size_t at)
{
	if (e->n == e->room) {
		e->room = e->room == 0 ? 32 : e->room * 2;
		e->list = sio_mem_need(reallocarray(e->list, e->room,
		    sizeof(*e->list)));
	}
	e->list[e->n++] = (struct effect){ kind, ino, at };
}

static size_t
size_max(const struct inode *i)
{
	return i->cur_size > i->dur_size ? i->cur_size : i->dur_size;
}

static void
inode_effects(struct effects *e, struct inode *i)
{
	if (i->cur_size != i->dur_size)
		effect_add(e, EFFECT_SIZE, i, 0);
	if (i->cur == i->dur)
		return;
	for (size_t k = 0; k * SECTOR < size_max(i); k++) {
		if (memcmp(content_sector(i->cur, k),
		    content_sector(i->dur, k), SECTOR) != 0)
			effect_add(e, EFFECT_SECTOR, i, k);
	}
}

static bool
has_inode(const struct effects *e, const struct inode *i)
{
	for (size_t k = 0; k < e->n; k++) {
		if (e->list[k].ino == i)
			return true;
	}
	return false;
}

/* In an order that depends on the file system only. */
static void
effects_make(struct effects *e, const struct sio_mem *m)
{
	*e = (struct effects){ .n = 0 };
	for (size_t i = 0; i < m->nchanges; i++)
		effect_add(e, EFFECT_NAME, NULL, i);
	for (size_t i = 0; i < m->dur.n; i++)
		inode_effects(e, m->dur.list[i].ino);
	for (size_t i = 0; i < m->nchanges; i++) {
		struct inode *ino = m->changes[i].ino;

		if (ino != NULL && !has_inode(e, ino))
			inode_effects(e, ino);
	}
}

/* ---- making what is left ---- */

static struct inode *
inode_like(struct sio_mem *fs, const struct inode *i)
{
	struct inode *o = inode_new(fs);

	o->cur = content_ref(i->dur);
	o->cur_size = i->dur_size;
	if (i->cur == i->dur && i->cur_size == i->dur_size)
		o->hash = i->hash;
	return o;
}

/* The rest of the effects of one file, beginning with e[k]. */
static void
inode_apply(struct inode *o, const struct effects *e, const enum stay *stays,
    size_t k)
{
	const struct inode *i = e->list[k].ino;
	size_t last = 0, size = i->dur_size;
	enum stay how = STAY_WHOLE;

	if (e->list[k].kind == EFFECT_SIZE)
		how = stays[k++];
	inode_room(o, size_max(i));
	for (; k < e->n && e->list[k].ino == i; k++) {
		if (stays[k] == STAY_NOT)
			continue;
		last = (e->list[k].at + 1) * SECTOR;
		memcpy(o->cur->bytes + last - SECTOR,
		    content_sector(i->cur, e->list[k].at), SECTOR);
	}
	if (how == STAY_WHOLE)
		size = i->cur_size;
	else if (how == STAY_PART && last > size)
		size = last < i->cur_size ? last : i->cur_size;
	o->cur_size = size;
	if (o->cur->room > size)
		memset(o->cur->bytes + size, 0, o->cur->room - size);
}

/* Copies of inodes, so that one with two names stays one. */
struct inode_map {
	struct inode **from, **to;
	size_t n, room;
};

static struct inode *
map_find(const struct inode_map *map, const struct inode *i)
{
	for (size_t k = 0; k < map->n; k++) {
		if (map->from[k] == i)
			return map->to[k];
	}
	return NULL;
}

static struct inode *
map_add(struct inode_map *map, struct inode *i, struct inode *o)
{
	if (map->n == map->room) {
		map->room = map->room == 0 ? 32 : map->room * 2;
		map->from = sio_mem_need(reallocarray(map->from, map->room,
		    sizeof(*map->from)));
		map->to = sio_mem_need(reallocarray(map->to, map->room,
		    sizeof(*map->to)));
	}
	map->from[map->n] = i;
	map->to[map->n++] = inode_ref(o);
	return o;
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
	struct sio_mem *o = sio_mem_of(sio_mem_new());

	o->free_bytes = m->free_bytes;
	o->nfolders = m->nfolders;
	o->folders = sio_mem_need(reallocarray(NULL, m->nfolders + 1,
	    sizeof(*o->folders)));
	if (m->nfolders > 0)
		memcpy(o->folders, m->folders,
		    m->nfolders * sizeof(*o->folders));
	return o;
}

static struct inode *
inode_after(struct inode_map *map, struct sio_mem *o, struct inode *i,
    const struct effects *e, const enum stay *stays)
{
	struct inode *n = map_find(map, i);

	if (n != NULL)
		return n;
	n = map_add(map, i, inode_like(o, i));
	for (size_t k = 0; k < e->n; k++) {
		if (e->list[k].ino == i) {
			inode_apply(n, e, stays, k);
			break;
		}
	}
	n->dur = content_ref(n->cur);
	n->dur_size = n->cur_size;
	n->charged = n->cur_size;
	return n;
}

static struct sio *
crash_make(const struct sio_mem *m, const struct effects *e,
    const enum stay *stays)
{
	struct sio_mem *o = mem_like(m);
	struct names names = { .n = 0 };
	struct inode_map map = { .n = 0 };

	for (size_t i = 0; i < m->dur.n; i++)
		names_set(&names, m->dur.list[i].path, m->dur.list[i].ino);
	for (size_t k = 0; k < e->n && e->list[k].kind == EFFECT_NAME; k++) {
		if (stays[k] != STAY_NOT)
			change_apply(&names, &m->changes[e->list[k].at]);
	}
	for (size_t i = 0; i < names.n; i++) {
		struct inode *ino = inode_after(&map, o, names.list[i].ino, e,
		    stays);

		names_set(&o->dur, names.list[i].path, ino);
		names_set(&o->cur, names.list[i].path, ino);
	}
	names_fini(&names);
	map_fini(&map);
	return &o->sio;
}

/* ---- which effects stay ---- */

static uint64_t
random_next(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* Sectors of one file, [from, to) of the list: a first or a last part. */
static void
part_choose(enum stay *stays, size_t from, size_t to, bool first,
    uint64_t *seed)
{
	size_t cut = from + (size_t)(random_next(seed) % (to - from + 1));

	for (size_t k = from; k < to; k++)
		stays[k] = (k < cut) == first ? STAY_WHOLE : STAY_NOT;
}

static void
parts_choose(const struct effects *e, bool first, uint64_t *seed,
    enum stay *stays)
{
	for (size_t k = 0, to; k < e->n; k = to) {
		for (to = k + 1; to < e->n &&
		    e->list[to].kind == e->list[k].kind &&
		    e->list[to].ino == e->list[k].ino; to++)
			;
		if (e->list[k].kind == EFFECT_SECTOR)
			part_choose(stays, k, to, first, seed);
		else if (e->list[k].kind == EFFECT_SIZE)
			stays[k] = first ? STAY_PART : STAY_WHOLE;
	}
}

static void
random_choose(const struct effects *e, size_t names, uint64_t *seed,
    enum stay *stays)
{
	bool subset = (random_next(seed) & 1) != 0;
	size_t prefix = (size_t)(random_next(seed) % (names + 1));

	for (size_t k = 0; k < e->n; k++) {
		uint64_t bits = random_next(seed);

		if (e->list[k].kind == EFFECT_NAME && !subset)
			stays[k] = k < prefix ? STAY_WHOLE : STAY_NOT;
		else if (e->list[k].kind == EFFECT_SIZE)
			stays[k] = (enum stay)(bits % 3);
		else
			stays[k] = (bits & 1) != 0 ? STAY_WHOLE : STAY_NOT;
	}
}

static void
stays_choose(const struct sio_mem *m, const struct effects *e,
    enum sio_crash how, uint64_t seed, enum stay *stays)
{
	for (size_t k = 0; k < e->n; k++) {
		bool name = e->list[k].kind == EFFECT_NAME;

		stays[k] = how == SIO_CRASH_LOSE ||
		    (how == SIO_CRASH_NAMES && !name) ||
		    (how == SIO_CRASH_DATA && name) ? STAY_NOT : STAY_WHOLE;
	}
	if (how == SIO_CRASH_TORN || how == SIO_CRASH_REORDER)
		parts_choose(e, how == SIO_CRASH_TORN, &seed, stays);
	else if (how == SIO_CRASH_RANDOM)
		random_choose(e, m->nchanges, &seed, stays);
}

struct sio *
sio_mem_crash(const struct sio *s, enum sio_crash how, uint64_t seed)
{
	const struct sio_mem *m = sio_mem_of_const(s);
	struct effects e;
	enum stay *stays;
	struct sio *o;

	if (how == SIO_CRASH_KILL)
		return sio_mem_clone(s);
	effects_make(&e, m);
	stays = sio_mem_need(calloc(e.n + 1, sizeof(*stays)));
	stays_choose(m, &e, how, seed, stays);
	o = crash_make(m, &e, stays);
	free(stays);
	free(e.list);
	return o;
}

size_t
sio_mem_effects(const struct sio *s)
{
	struct effects e;

	effects_make(&e, sio_mem_of_const(s));
	free(e.list);
	return e.n;
}

struct sio *
sio_mem_crash_some(const struct sio *s, const bool *stays, size_t n)
{
	const struct sio_mem *m = sio_mem_of_const(s);
	struct effects e;
	enum stay *list;
	struct sio *o;

	effects_make(&e, m);
	list = sio_mem_need(calloc(e.n + 1, sizeof(*list)));
	for (size_t k = 0; k < e.n && k < n; k++)
		list[k] = stays[k] ? STAY_WHOLE : STAY_NOT;
	o = crash_make(m, &e, list);
	free(list);
	free(e.list);
	return o;
}

/* ---- the death of processes ---- */

static struct inode *
inode_clone(struct inode_map *map, struct sio_mem *o, struct inode *i)
{
	struct inode *n = map_find(map, i);

	if (n != NULL)
		return n;
	n = map_add(map, i, inode_new(o));
	n->cur = content_ref(i->cur);
	n->dur = content_ref(i->dur);
	n->cur_size = i->cur_size;
	n->dur_size = i->dur_size;
	n->charged = i->charged;
	n->hash = i->hash;
	n->nsectors = i->nsectors;
	if (i->nsectors > 0) {
		n->sectors = sio_mem_need(malloc(i->nsectors));
		memcpy(n->sectors, i->sectors, i->nsectors);
	}
	return n;
}

struct sio *
sio_mem_clone(const struct sio *s)
{
	const struct sio_mem *m = sio_mem_of_const(s);
	struct sio_mem *o = mem_like(m);
	struct inode_map map = { .n = 0 };

	for (size_t i = 0; i < m->dur.n; i++) {
		struct inode *ino = inode_clone(&map, o, m->dur.list[i].ino);

		names_set(&o->dur, m->dur.list[i].path, ino);
		names_set(&o->cur, m->dur.list[i].path, ino);
	}
	for (size_t i = 0; i < m->nchanges; i++) {
		const struct change *c = &m->changes[i];

		change_add(o, c->kind, c->path, c->to, c->ino == NULL ? NULL :
		    inode_clone(&map, o, c->ino));
	}
	map_fini(&map);
	return &o->sio;
}

/* ---- looking at it ---- */

static uint64_t
mix(uint64_t z)
{
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static uint64_t
inode_hash(struct inode *i)
{
	size_t there = i->cur == NULL ? 0 : i->cur->room;
	uint32_t a, b;

	if (i->hash != 0)
		return i->hash;
	if (there > i->cur_size)
		there = i->cur_size;
	a = crc32c(1, there > 0 ? i->cur->bytes : NULL, there);
	b = crc32c(2, there > 8 ? i->cur->bytes + 8 : NULL,
	    there > 8 ? there - 8 : 0);
	i->hash = mix((uint64_t)a << 32 ^ b ^ (uint64_t)i->cur_size << 20) | 1;
	return i->hash;
}

uint64_t
sio_mem_hash(const struct sio *s)
{
	const struct sio_mem *m = sio_mem_of_const(s);
	uint64_t sum = 0;

	for (size_t i = 0; i < m->cur.n; i++) {
		const char *path = m->cur.list[i].path;

		sum += mix(inode_hash(m->cur.list[i].ino) ^
		    (uint64_t)crc32c(0, path, strlen(path)) << 17);
	}
	return sum;
}

bool
sio_mem_is_durable(const struct sio *s, const char *path, uint64_t from,
    uint64_t to)
{
	const struct sio_mem *m = sio_mem_of_const(s);
	const struct name *e = names_find(&m->cur, path);

	if (e == NULL || to > e->ino->dur_size)
		return false;
	for (uint64_t at = from; at < to;) {
		uint64_t k = at / SECTOR, end = (k + 1) * SECTOR;
		size_t skip = (size_t)(at % SECTOR);

		if (end > to)
			end = to;
		if (memcmp(content_sector(e->ino->cur, (size_t)k) + skip,
		    content_sector(e->ino->dur, (size_t)k) + skip,
		    (size_t)(end - at)) != 0)
			return false;
		at = end;
	}
	return true;
}
