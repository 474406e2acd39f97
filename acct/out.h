/* SPDX-License-Identifier: ISC */
/*
 * out: one <acct-file>: the series of files acct-YYYY-MM-DD-NNNN.csv in the
 * log directory, of which at most one is open, and where it stood when the
 * reader's offset was stored. Everything behind that place is cut off when it
 * is opened again, so that a record is never there twice.
 *
 * A new file may get its first byte only after its name was stored with
 * length 0: see out_begin().
 */
#ifndef ACCT_OUT_H
#define ACCT_OUT_H

#include "acct/columns.h"
#include "common/base/timeval.h"
#include "common/conf/conf.h"

#define OUT_NAME_MAX  192      /* of a file, with NUL */
#define OUT_STEM_MAX  128      /* without date and number */
#define OUT_FILES_MAX 32       /* <acct-file> blocks that are written */

/* A place in the series. */
struct out_mark {
	char name[OUT_NAME_MAX]; /* of the newest file; "" before the first */
	uint64_t len;            /* bytes of it that count */
	uint64_t begun_us;
	uint32_t header_crc;     /* of its header line */
	bool open;               /* more records go into it */
};

struct out {
	int dirfd;               /* the caller's */
	char stem[OUT_STEM_MAX]; /* "acct" */
	char ext[32];            /* ".csv" */
	char *dir;               /* of the configured path */
	char *move_to;           /* "" if files stay */
	char *user_string;
	uint32_t records;        /* CONF_REC_* */
	struct acct_columns columns;
	struct acct_style style;
	uint32_t header_crc;
	uint64_t max_size_bytes;
	int64_t delete_after_ms, move_interval_ms;
	mode_t mode;
	bool sync;               /* at the end of each batch */
	struct out_mark saved;   /* as stored with the offset */
	struct out_mark live;
	int fd;                  /* of live, or -1 */
	struct buf buf;          /* records not yet written */
	bool dirty;              /* written and not synced */
	bool move_warned;
};

/* False if c is nothing that we can write (a pipe, no name); why_r is the
 * rest of a sentence. */
bool out_init(struct out *o, int dirfd, const struct conf_acct *c,
    const char **why_r);
void out_fini(struct out *o);

/* Goes back to the saved mark: cuts the file. 0, or -1 with errno. */
int out_recover(struct out *o);
/* Is there no open file for a record of this day, or is it full, old, or of
 * other columns? today is "YYYY-MM-DD". */
bool out_must_begin(const struct out *o, const char *today, struct wall now);
/* The open file is of a day before, or is to be moved: let go of it. */
bool out_must_end(const struct out *o, const char *today, struct wall now);
/*
 * Ends the file and names the next one. Everything must be synced and saved
 * before; the new mark must be saved before out_add(). 0, or -1.
 */
int out_begin(struct out *o, const char *today, struct wall now);
/* Is it meant by this name: "acct.csv", that of the open file, either of them
 * behind its folder, or ""? */
bool out_is_called(const struct out *o, struct sv name);
/* Ends the file; the mark is to be saved then. */
void out_end(struct out *o);
/* Adds a record. 0, or -1 with errno. */
int out_add(struct out *o, const struct acct_record *r);
/* Hands everything to the system; makes it durable. 0, or -1 with errno. */
int out_write(struct out *o);
int out_sync(struct out *o);
/* Moves or deletes what is finished and old enough by the time now. Never the
 * newest file. */
void out_tidy(struct out *o, struct wall now);

#endif
