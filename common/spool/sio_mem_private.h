/* SPDX-License-Identifier: ISC */
/* What sio_mem.c (calls), sio_mem_node.c (what there is) and sio_mem_crash.c
 * (what a crash leaves) share. */
#ifndef COMMON_SPOOL_SIO_MEM_PRIVATE_H
#define COMMON_SPOOL_SIO_MEM_PRIVATE_H

#include "common/spool/sio_mem.h"

#define SECTOR ((size_t)512) /* what a disk writes whole or not at all */

enum sector_state {
	SECTOR_DIRTY = 1,  /* written since the last sync */
	SECTOR_LOST = 2,   /* a sync of it failed: taken for clean, and is
	                    * not on disk */
};

/* Bytes that files share until one of them is written to. */
struct content {
	unsigned refs;
	size_t room;          /* whole sectors; zeros behind the size */
	unsigned char bytes[];
};

/* A file. cur is what reads see, dur what a power cut leaves at least; NULL is
 * an empty one. */
struct inode {
	unsigned refs;        /* names, durable names, pending changes, opens */
	struct sio_mem *fs;
	struct content *cur, *dur;
	size_t cur_size, dur_size;
	uint8_t *sectors;     /* enum sector_state */
	size_t nsectors;
	const struct sio_file *failed; /* whose sync failed last */
	uint64_t charged;     /* of the file system's free bytes */
	uint64_t hash;        /* of cur; 0: to be made */
};

struct name {
	char path[SIO_PATH_MAX];
	uint32_t hash;        /* of path: most begin alike */
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
	struct inode *ino;    /* what was made or renamed */
};

struct sio_mem {
	struct sio sio;
	struct names cur, dur;
	struct change *changes;
	size_t nchanges, changes_room;
	char (*folders)[SIO_PATH_MAX];
	size_t nfolders;
	uint64_t calls;           /* that change something */
	struct sio_mem_fault fault;
	uint64_t failed_at, resyncs;
	size_t short_max;
	uint64_t free_bytes;
	void (*on_call)(void *arg);
	void *on_call_arg;
};

struct sio_mem *sio_mem_of(struct sio *s);
const struct sio_mem *sio_mem_of_const(const struct sio *s);
/* p, unless it is NULL: then this is the end of the test. */
void *sio_mem_need(void *p);

struct content *content_ref(struct content *c);
void content_unref(struct content *c);
/* One that nobody else has, with room for size bytes. */
void content_own(struct content **cp, size_t size);
/* The sector with that number; zeros where there is none. */
const unsigned char *content_sector(const struct content *c, size_t k);

struct inode *inode_new(struct sio_mem *fs);
struct inode *inode_ref(struct inode *i);
void inode_unref(struct inode *i);
/* So that size bytes of cur can be written to. */
void inode_room(struct inode *i, size_t size);
/* Written: what an earlier sync lost is there again for the next one. */
void inode_dirty(struct inode *i, size_t from, size_t to);

void path_copy(char out[SIO_PATH_MAX], const char *path);
bool in_folder(const char *path, const char *folder);
bool has_folder(const struct sio_mem *m, const char *folder);
/* Its folder is there. */
bool parent_there(const struct sio_mem *m, const char *path);
struct name *names_find(const struct names *l, const char *path);
void names_set(struct names *l, const char *path, struct inode *ino);
void names_fini(struct names *l);
void change_apply(struct names *l, const struct change *c);
void change_add(struct sio_mem *m, enum change_kind kind, const char *path,
    const char *to, struct inode *ino);

#endif
