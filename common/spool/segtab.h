/* SPDX-License-Identifier: ISC */
/*
 * segtab: qmgr's table of segments and large files: who writes them, what is
 * live in them, when they can be used again. All I/O through sio.
 *
 * Numbers are never used twice: the highest one ever granted is always the
 * name of a file in segments/, as NNN.seg or as free.NNN.
 *
 * A sealed segment without live messages is recycled only by
 * segtab_release(), when the event log is durable past the place at which its
 * last message ended.
 */
#ifndef COMMON_SPOOL_SEGTAB_H
#define COMMON_SPOOL_SEGTAB_H

#include "common/spool/checkpoint.h"
#include "common/spool/evlog.h"
#include "common/spool/segment.h"

#define SEGTAB_FOLDER   "segments"
#define SEGTAB_FREE_MAX 4u    /* free files kept by default */
#define SEGTAB_COMPACT_PERCENT 25u

enum seg_state {
	SEG_FREE,      /* a file without a number in use */
	SEG_GRANTED,   /* a writer has it */
	SEG_ADOPTED,   /* was granted by a qmgr that died; its writer may live */
	SEG_SEALED,    /* nobody writes */
	SEG_EMPTY,     /* sealed, nothing live; waits for the log */
	SEG_STATES
};

struct seg_info {
	uint64_t number;
	enum seg_state state;
	unsigned writer;       /* of a granted one */
	uint64_t known;        /* all messages before this offset are known */
	uint64_t live_bytes;
	uint32_t live;         /* messages */
};

struct segtab;

struct segtab_conf {
	uint64_t epoch;        /* never used before: the event file that this
	                        * start begins, recover_stats.end.file + 1 */
	unsigned free_max;     /* files kept for use again; 0: the default */
	uint64_t segment_size; /* 0: SEGMENT_SIZE; smaller for tests */
};

/*
 * Reads segments/ and large/. All segments come up as SEG_ADOPTED with known
 * at SEGMENT_HEADER. Then: segtab_on_event() for every event of recovery,
 * segtab_ref() and segtab_large_ref() for every message that is live after it,
 * segtab_recovered(). Because of epoch it is opened after a first pass over
 * the log, or with epoch 0 before it and segtab_epoch_set() later. NULL with
 * errno.
 */
struct segtab *segtab_open(struct sio *s, const struct segtab_conf *conf);
void segtab_epoch_set(struct segtab *t, uint64_t epoch);
void segtab_free(struct segtab **t);

/* ---- granting ---- */

/* A segment for writer: taken from the free files or made. -1 with errno.
 * Waits for the disk. */
int segtab_grant(struct segtab *t, unsigned writer, uint64_t *number_r);
/* A new write-only descriptor of it; the caller's. -1 with errno. */
struct sio_file *segtab_writer_open(struct segtab *t, uint64_t number);
/* Read-only; the table's own until the segment is recycled. NULL with
 * errno. */
struct sio_file *segtab_reader(struct segtab *t, uint64_t number);
/* The writer is through with it, or gone. */
void segtab_seal(struct segtab *t, uint64_t number, uint64_t end,
    struct evlog_pos at);
bool segtab_info(const struct segtab *t, uint64_t number,
    struct seg_info *info_r);
/* Walks all, in order of number; *at starts at 0. */
bool segtab_next(const struct segtab *t, size_t *at, struct seg_info *info_r);
uint64_t segtab_segment_size(const struct segtab *t);
unsigned segtab_free_count(const struct segtab *t);

/*
 * Files for later, written full so that commits into them change no metadata.
 * begin in the loop, run anywhere, done in the loop.
 */
struct segtab_fill;
/* NULL: enough are there (or errno). */
struct segtab_fill *segtab_fill_begin(struct segtab *t);
int segtab_fill_run(struct segtab_fill *f);
void segtab_fill_done(struct segtab *t, struct segtab_fill **f, int result);

/* ---- live messages ---- */

/* A live message stands there. False if there is no such segment. */
bool segtab_ref(struct segtab *t, uint64_t segment, uint64_t offset,
    uint64_t length);
/* It ended (or moved) by the event in front of position at. */
void segtab_unref(struct segtab *t, uint64_t segment, uint64_t length,
    struct evlog_pos at);
/* Raises known. */
void segtab_known(struct segtab *t, uint64_t segment, uint64_t offset);
/* It was skipped (skipped.h), or has been read by now: until then it is neither
 * recycled nor compacted, and no large file of earlier starts is removed. */
void segtab_skipped_set(struct segtab *t, uint64_t segment, bool skipped);
/* Recycles what may be, now that the log is durable up to there. Number of
 * segments, or -1 with errno (the rest is tried again next time). */
int segtab_release(struct segtab *t, struct evlog_pos durable);
/* The oldest sealed segment with less than a quarter of it live; false: none.
 * The caller moves its messages (record_build with the old id, MOVE events). */
bool segtab_compact_pick(const struct segtab *t, uint64_t *number_r);
/* Writes SEG_END and SEG_AT for every segment: before anything else of a
 * checkpoint. */
int segtab_checkpoint(const struct segtab *t, struct checkpoint *cp);
/* ACCEPT, MOVE, SEG_AT, SEG_END raise known and seal; refs are not counted. */
void segtab_on_event(struct segtab *t, enum ev_type type,
    const union ev_any *m);
/* All live messages are counted: what is sealed and has none is empty from at,
 * the end of the log, on. */
void segtab_recovered(struct segtab *t, struct evlog_pos at);

/* ---- large files ---- */

/* Makes one, its name durable. NULL with errno; the file is the caller's. */
struct sio_file *segtab_large_create(struct segtab *t, uint64_t *large_id_r);
/* Read-only, the caller's; NULL with errno. */
struct sio_file *segtab_large_open(struct segtab *t, uint64_t large_id);
/* Out of this folder to a path in another one, durably, for a message that is
 * quarantined. 0 or -1 with errno. */
int segtab_large_move(struct segtab *t, uint64_t large_id, const char *folder,
    const char *to);
/* A live message uses it. */
bool segtab_large_ref(struct segtab *t, uint64_t large_id);
/* It ended by the event in front of at; unlinked by segtab_release(). */
void segtab_large_unref(struct segtab *t, uint64_t large_id,
    struct evlog_pos at);
/* A writer gave it up. A record that names it may stand in a segment that the
 * writer gave up before, so its SEG_END, in front of at, has to be durable. */
void segtab_large_drop(struct segtab *t, uint64_t large_id,
    struct evlog_pos at);
/* Its writer, a number of the caller's; until then nobody's. */
void segtab_large_owner_set(struct segtab *t, uint64_t large_id,
    unsigned writer);
/* That writer is dead. */
void segtab_larges_gone(struct segtab *t, unsigned writer);
/* As segtab_large_drop(), by the next segtab_larges_drop(). */
void segtab_large_drop_later(struct segtab *t, uint64_t large_id);
/*
 * What dead writers committed has been read: those of their files that no
 * message uses are given up, as by segtab_large_drop(). None is while a segment
 * of an earlier qmgr is not read to its end, or was skipped: a record in it may
 * name one.
 */
void segtab_larges_drop(struct segtab *t, struct evlog_pos at);
/*
 * Removes files of earlier starts that no live message uses. Only when no
 * writer of an earlier qmgr can still hold one: at once if all processes were
 * started anew, else an hour later.
 */
int segtab_large_sweep(struct segtab *t);

/* ---- space ---- */

/* False if less is free, or it cannot be told. */
bool segtab_space_ok(struct segtab *t, uint64_t min_free_bytes);

#endif
