/* SPDX-License-Identifier: ISC */
/*
 * writer: reads the event log and keeps the accounting files and the stored
 * offset in step. No event loop and no channel: the owner says how far the log
 * may be read and when.
 *
 * Order: records are written, synced, and only then the offset is stored,
 * together with the length of each file. After any death the files are cut
 * back to those lengths and reading goes on at that offset: each record is
 * there exactly once.
 */
#ifndef ACCT_WRITER_H
#define ACCT_WRITER_H

#include "acct/out.h"
#include "common/spool/offset.h"
#include "common/spool/poison.h"

#define WRITER_COMMIT_BYTES (4u << 20) /* of records, or earlier by time */

enum writer_result {
	WRITER_MORE,   /* there is more to read now */
	WRITER_IDLE,   /* everything up to the limit is written */
	WRITER_FAILED, /* logged; call writer_recover() before anything else */
};

struct writer_rotation {
	unsigned found;          /* series of that name */
	unsigned n;
	const char *closed[OUT_FILES_MAX]; /* until the next writer_run() */
};

struct writer {
	struct sio *events, *offsets;
	int dirfd;               /* log directory, or -1 */
	struct conf *conf;       /* NULL before the first; the owner's */
	struct offset_store store;
	struct poison poison;    /* events that this program crashed on */
	struct evlog_reader *reader;
	struct out outs[OUT_FILES_MAX];
	size_t nouts;
	struct evlog_pos saved;  /* durable */
	uint64_t uncommitted;    /* bytes of records since then */
	char today[16];
	struct wall today_ends;
	struct wall ageing;      /* the time for delete-after, see below */
	int64_t ageing_skew_us;  /* that less the monotonic clock */
	int64_t skew_us;         /* wall clock less monotonic, last seen */
	struct sv queue;         /* of dlv_type and disabled; in queue_mem */
	char queue_mem[EV_NAME_MAX];
	struct sv dlv_type;
	uint32_t disabled;       /* CONF_REC_* not written for the queue */
	bool failing;            /* a failure was logged and not yet over */
	uint64_t records;        /* written, for the log */
};

/* Folders: the event directory and the offsets directory. dirfd may be -1 if
 * there are no files. Nothing is opened yet. */
void writer_init(struct writer *w, int events_fd, int offsets_fd, int dirfd);
void writer_fini(struct writer *w);
/* The process before this one crashed, as why tells: the event that it was at
 * is left out from the second time on. */
void writer_blame(struct writer *w, struct sv why);
/* A new configuration, which must outlive its use here: commits, takes over
 * the files. Follow with writer_recover(). */
void writer_conf_set(struct writer *w, struct conf *conf, struct wall now);
/* Goes (back) to what is stored: at start and after a failure. 0 or -1. */
int writer_recover(struct writer *w);
/*
 * Before writer_run() and writer_tidy(): the clocks. delete-after counts by the
 * wall clock as it was at the start; a jump of more than an hour does not
 * count, or a clock set ahead would delete what nobody has collected yet.
 */
void writer_clock(struct writer *w, struct mono mono, struct wall wall);
/* Reads at most max events before limit and writes their records. */
enum writer_result writer_run(struct writer *w, struct evlog_pos limit,
    unsigned max, struct wall now);
/* Makes everything durable and stores the offset. 0, or -1 (then recover). */
int writer_commit(struct writer *w);
/* Anything that writer_commit() would do? */
bool writer_is_dirty(const struct writer *w);
/* The saved place is in an earlier event file: qmgr keeps these for us. */
bool writer_is_files_behind(const struct writer *w);
/* Ends the open files of this name: that of an <acct-file>, or of the open file
 * itself, with or without its folder; "" is any. The next record begins a new
 * one. 0, or -1 (then recover). */
int writer_rotate(struct writer *w, struct sv name,
    struct writer_rotation *r_r);
/* Ends files of yesterday, moves and deletes old ones. 0 or -1 (recover). */
int writer_tidy(struct writer *w, struct wall now);

#endif
