/* SPDX-License-Identifier: ISC */
/*
 * evlog: the event log: one writer (qmgr), many readers. Files of 64 MiB in
 * one folder, named by number; layout in doc/spool.md.
 *
 * Appending buffers. evlog_write() hands the buffer to the system: that
 * survives the death of the process. evlog_sync_*() makes it durable: the
 * middle one may run in a thread. A file gets its successor only when all of
 * it is durable, so a later record is never there without an earlier one.
 *
 * When a sync or a write fails for another reason than a full disk, the file
 * is given up at its last durable position and what came behind is written
 * anew to the next one; nothing is synced twice.
 */
#ifndef COMMON_SPOOL_EVLOG_H
#define COMMON_SPOOL_EVLOG_H

#include "common/spool/event.h"
#include "common/spool/sio.h"

#define EVLOG_FOLDER      "events"
#define EVLOG_SUFFIX      ".log"
#define EVLOG_FILE_SIZE   (UINT64_C(64) << 20)
#define EVLOG_FILE_START  40u /* offset of the first record of a file */

struct evlog_pos {
	uint64_t file;    /* 0: none */
	uint64_t offset;
};

static inline int
evlog_pos_cmp(struct evlog_pos a, struct evlog_pos b)
{
	if (a.file != b.file)
		return a.file < b.file ? -1 : 1;
	return (a.offset > b.offset) - (a.offset < b.offset);
}

/* ---- writer ---- */

struct evlog;

/* A sync under way. */
struct evlog_sync {
	struct sio_file *file;
	struct evlog_pos upto;
};

/*
 * Goes on behind end (where recovery found the valid end of the log; file 0
 * for a new log) in a new file. NULL with errno.
 */
struct evlog *evlog_open(struct sio *s, struct evlog_pos end);
/* Writes and syncs nothing. Not while a sync is under way. */
void evlog_free(struct evlog **l);
/* 0, or -1 if the record exceeds a limit or there is no memory; then nothing
 * was added. May change to the next file. */
int evlog_append(struct evlog *l, enum ev_type type, const union ev_any *m)
    __attribute__((warn_unused_result));
/* 0, or -1 with errno: what is left is tried again with the next call. */
int evlog_write(struct evlog *l);
/* Behind the last appended record. */
struct evlog_pos evlog_position(const struct evlog *l);
/* Everything before this is durable. */
struct evlog_pos evlog_durable(const struct evlog *l);
/* False if there is nothing to sync, or a sync is under way. Writes first. */
bool evlog_sync_begin(struct evlog *l, struct evlog_sync *sync_r);
/* In any thread: 0 or an errno. */
int evlog_sync_run(const struct evlog_sync *sync);
/* With what evlog_sync_run() gave. -1 if the sync failed and the records
 * could not be written anew either; they stay for the next call. */
int evlog_sync_done(struct evlog *l, const struct evlog_sync *sync, int err);
/* All three. 0, or -1. */
int evlog_sync(struct evlog *l);
/* Syncs and begins a new file, whose number a checkpoint can have. 0 or -1;
 * waits for the disk. Not while a sync is under way. */
int evlog_rotate(struct evlog *l);
/* Removes files with numbers below file. */
int evlog_cut(struct evlog *l, uint64_t file);
/* Syncs that failed since the start. */
uint64_t evlog_failures(const struct evlog *l);

/* ---- reader ---- */

enum evlog_next {
	EVLOG_RECORD,
	EVLOG_END,      /* the limit, or the end of what is there */
	EVLOG_MISSING,  /* a file is not there; the next call goes on in the
	                 * next one that is */
	EVLOG_DAMAGED,  /* something unreadable in the middle was skipped;
	                 * the next call goes on behind it */
	EVLOG_ERROR,    /* errno */
};

struct evlog_record {
	enum ev_type type;
	struct evlog_pos at, next; /* its place, and the one behind it */
	union ev_any any;          /* views live until the next call */
};

#define EVLOG_NO_LIMIT ((struct evlog_pos){ UINT64_MAX, UINT64_MAX })

struct evlog_reader;

/* folder: where the files are: EVLOG_FOLDER in a spool, "" where s is the
 * directory of events itself; outlives the reader. from: offset 0 is the start
 * of that file; file 0 the oldest there is. NULL without memory. */
struct evlog_reader *evlog_reader_open(struct sio *s, const char *folder,
    struct evlog_pos from);
void evlog_reader_close(struct evlog_reader **r);
/* Reads only what stands before limit. After EVLOG_END it may be called again
 * with a higher limit. */
enum evlog_next evlog_reader_next(struct evlog_reader *r,
    struct evlog_pos limit, struct evlog_record *rec_r);
/* The file at the position is there. */
bool evlog_reader_has_file(const struct evlog_reader *r);
/* Where the next record stands. */
struct evlog_pos evlog_reader_position(const struct evlog_reader *r);
/* True if that is in a file behind limit, the log's end: then this is another
 * log, and it is read from its start (without memory, the next time). */
bool evlog_reader_anew(struct evlog_reader **r, struct evlog_pos limit);

#endif
