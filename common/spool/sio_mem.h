/* SPDX-License-Identifier: ISC */
/*
 * sio_mem: a pessimistic POSIX file system in memory. Reads see every write at
 * once. Durable are only: data and size of a file at its last fdatasync, and
 * the names of a folder at its last fsync_dir. The rest is a set of effects,
 * each of which a power cut keeps or loses by itself:
 *
 *  - every changed sector of 512 bytes of every file (so writes are torn),
 *  - every changed size of a file,
 *  - every name made, renamed or removed, in any order.
 *
 * After a failed fdatasync the written sectors are taken for clean, as Linux
 * does: reads see them, no later sync makes them durable, only writing them
 * again and syncing that. A folder's sync that failed may be tried again: names
 * are in the file system's journal, which takes no more after an error.
 */
#ifndef COMMON_SPOOL_SIO_MEM_H
#define COMMON_SPOOL_SIO_MEM_H

#include "common/spool/sio.h"

enum sio_crash {
	SIO_CRASH_KILL,    /* the processes died: everything stays */
	SIO_CRASH_LOSE,    /* power: nothing that was not synced stays */
	SIO_CRASH_KEEP,    /* power: everything happens to be on disk */
	SIO_CRASH_TORN,    /* power: names stay; of each file's unsynced
	                    * sectors a first part stays */
	SIO_CRASH_REORDER, /* power: as TORN, but a last part stays */
	SIO_CRASH_NAMES,   /* power: names stay, data and sizes do not */
	SIO_CRASH_DATA,    /* power: data and sizes stay, names do not */
	SIO_CRASH_RANDOM,  /* power: any sectors, any prefix or subset of name
	                    * changes, by seed */
	SIO_CRASHES
};

/* Aborts without memory, as all of this module. */
struct sio *sio_mem_new(void);
/* The same file system with all that is pending, without open files. */
struct sio *sio_mem_clone(const struct sio *s);
/* A new file system: what is found after the crash. Open files of s stay
 * usable on s. */
struct sio *sio_mem_crash(const struct sio *s, enum sio_crash how,
    uint64_t seed);

/* How many effects are pending, and what a power cut leaves if the k-th of the
 * n stays where stays[k] is true. */
size_t sio_mem_effects(const struct sio *s);
struct sio *sio_mem_crash_some(const struct sio *s, const bool *stays,
    size_t n);

/* A hash of names and bytes as reads see them. */
uint64_t sio_mem_hash(const struct sio *s);
/* Bytes [from, to) of the file, and its size if it ends there, are durable;
 * not its name. */
bool sio_mem_is_durable(const struct sio *s, const char *path, uint64_t from,
    uint64_t to);
/* Syncs that were tried again: they succeeded through the descriptor through
 * which one had failed, with data of that time not written anew. */
uint64_t sio_mem_resyncs(const struct sio *s);

/* ---- faults ---- */

enum sio_mem_op {
	SIO_OP_CREATE = 1,     /* opening with CREATE or TRUNC */
	SIO_OP_WRITE = 2,      /* also truncating and reserving */
	SIO_OP_SYNC = 4,
	SIO_OP_SYNC_DIR = 8,
	SIO_OP_RENAME = 16,
	SIO_OP_UNLINK = 32,
	SIO_OP_MKDIR = 64,
	SIO_OPS_CHANGE = 127,
	SIO_OP_OPEN = 128,     /* what is there */
	SIO_OP_READ = 256,     /* also a size */
	SIO_OP_LIST = 512,
	SIO_OPS_ALL = 1023,
};

struct sio_mem_fault {
	unsigned ops;          /* concerned; 0: no fault */
	uint64_t after;        /* so many of these calls are good first */
	uint64_t count;        /* then so many fail */
	int err;               /* 0: a write takes half of its bytes */
};

/* Replaces the one before, and returns what was left of that. A sync that
 * fails loses what it was to make durable; a write that fails with EIO has
 * written a part. */
struct sio_mem_fault sio_mem_fault(struct sio *s, struct sio_mem_fault f);
/* The nth changing call from now (1 is the next) fails with err, and all after
 * it if sticky; 0 for none. */
void sio_mem_fail(struct sio *s, uint64_t n, int err, bool sticky);
/* What sio_mem_calls() said when a call failed last; 0: none did. */
uint64_t sio_mem_failed_at(const struct sio *s);

/* Calls so far that change something: SIO_OPS_CHANGE. */
uint64_t sio_mem_calls(const struct sio *s);
/* Called before each of these calls. */
void sio_mem_on_call(struct sio *s, void (*fn)(void *arg), void *arg);
/* Writes take at most so many bytes; 0: no limit. */
void sio_mem_short(struct sio *s, size_t max);
/* What is free from now on. Growing files and sio_allocate() take of it, with
 * ENOSPC at the end; files that are gone give it back. */
void sio_mem_space(struct sio *s, uint64_t free_bytes);
/* Flips one bit; false if there is no such file or byte. */
bool sio_mem_flip(struct sio *s, const char *path, uint64_t at);

#endif
