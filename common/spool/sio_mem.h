/* SPDX-License-Identifier: ISC */
/*
 * sio_mem: a pessimistic POSIX file system in memory. Reads see every write at
 * once. Durable are only: data and size of a file at its last fdatasync, and
 * the names of a folder at its last fsync_dir. sio_mem_crash() makes what a
 * power cut may leave of the rest.
 */
#ifndef COMMON_SPOOL_SIO_MEM_H
#define COMMON_SPOOL_SIO_MEM_H

#include "common/spool/sio.h"

enum sio_crash {
	SIO_CRASH_KILL,    /* the process died: everything stays */
	SIO_CRASH_LOSE,    /* power: nothing that was not synced stays */
	SIO_CRASH_KEEP,    /* power: everything happens to be on disk */
	SIO_CRASH_TORN,    /* power: names stay; of each file's unsynced
	                    * sectors a first part stays */
	SIO_CRASH_REORDER, /* power: as TORN, but a last part stays */
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

/* Calls so far that change something: opening with CREATE or TRUNC, writing,
 * truncating, syncing, renaming, unlinking. */
uint64_t sio_mem_calls(const struct sio *s);
/* Of these calls the nth from now (1 is the next) fails with err, and all
 * after it if sticky; 0 for none. What a failed sync should have made durable
 * never becomes durable, unless it is written again. */
void sio_mem_fail(struct sio *s, uint64_t n, int err, bool sticky);
/* Called before each of these calls. */
void sio_mem_on_call(struct sio *s, void (*fn)(void *arg), void *arg);
/* Writes take at most so many bytes; 0: no limit. */
void sio_mem_short(struct sio *s, size_t max);
/* What sio_space() says; writes past free_bytes give ENOSPC. */
void sio_mem_space(struct sio *s, uint64_t free_bytes);
/* Flips one bit; false if there is no such file or byte. */
bool sio_mem_flip(struct sio *s, const char *path, uint64_t at);

#endif
