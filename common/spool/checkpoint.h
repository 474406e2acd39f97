/* SPDX-License-Identifier: ISC */
/*
 * checkpoint: the queue as of the start of one event file, as a file of event
 * records that makes it. Checkpoint N replaces all event files below N.
 *
 * Order for the writer: evlog_rotate() gives N; checkpoint_begin(N);
 * segtab_checkpoint() at once; then the messages, in slices or from a forked
 * child, while the queue goes on; then the log synced up to its position;
 * checkpoint_commit(). What happens meanwhile stands in file N as well:
 * replaying it over a younger state must do no harm.
 */
#ifndef COMMON_SPOOL_CHECKPOINT_H
#define COMMON_SPOOL_CHECKPOINT_H

#include "common/spool/event.h"
#include "common/spool/sio.h"

#define CHECKPOINT_FOLDER "checkpoint"

struct checkpoint;

/* NULL with errno. */
struct checkpoint *checkpoint_begin(struct sio *s, uint64_t number);
/* 0, or -1 with errno; then only checkpoint_abort() helps. */
int checkpoint_add(struct checkpoint *c, enum ev_type type,
    const union ev_any *m) __attribute__((warn_unused_result));
/* Durable under its name, or -1 and gone. Frees; waits for the disk. */
int checkpoint_commit(struct checkpoint **c);
void checkpoint_abort(struct checkpoint **c);
/* Removes checkpoints below number, and what was begun of such. */
int checkpoint_cut(struct sio *s, uint64_t number);

/* Not 0 stops. */
typedef int checkpoint_fn(void *arg, enum ev_type type,
    const union ev_any *m);
/* True if it is whole. *messages_r: how many it has. */
bool checkpoint_check(struct sio *s, uint64_t number, uint64_t *messages_r);
/* Bytes of its file; 0 if that cannot be told. */
uint64_t checkpoint_size(struct sio *s, uint64_t number);
/* Gives all records; 0, what fn returned, or -1. Check it first. */
int checkpoint_read(struct sio *s, uint64_t number, checkpoint_fn *fn,
    void *arg);
/* Numbers of what is there, ascending, whole or not; the caller frees. */
int checkpoint_list(struct sio *s, uint64_t **list_r, size_t *n_r);

#endif
