/* SPDX-License-Identifier: ISC */
/* The inside of pickup: pickup.c (which file when), pickup_take.c (one file by
 * SMTP), pickup_names.c (names and what they mean after a crash). */
#ifndef SMTPD_PICKUP_PRIVATE_H
#define SMTPD_PICKUP_PRIVATE_H

#include <bsd/sys/queue.h>

#include <limits.h>

#include <event2/event.h>

#include "common/mail/pickup_file.h"
#include "common/spool/offset.h"
#include "smtpd/pickup.h"
#include "smtpd/session.h"

#define TAKERS        16u          /* files at once, for one sync */
#define FILE_MAX      (256u << 20) /* bytes of one file */
#define MEMORY_MAX    (64u << 20)  /* of all; one alone may have more */
#define NAME_KEEP_MAX 200u         /* the rest of NAME_MAX is for the ID */
#define SCAN_MAX      1000u        /* names of one look into the directory */
#define STUCK_MAX     1000u
#define TAKEN         ".taken-"    /* and ID, arrival, name */

enum taker_state {
	T_FREE,
	T_GREETING, T_HELO, T_MAIL, T_RCPT, T_DATA,
	T_BODY,       /* the message is being sent */
	T_END         /* for the last answer */
};

enum taken {
	TAKEN_OK,
	TAKEN_LATER,  /* a temporary failure: try again */
	TAKEN_BAD     /* never */
};

struct taker {
	struct pickup *p;
	enum taker_state state;
	struct conn *conn;
	struct session_local local;
	char name[NAME_KEEP_MAX + 1];  /* as it came */
	char now[NAME_MAX + 1];        /* as it is called now */
	bool rename_failed;
	struct buf text;
	struct arena arena;
	struct pickup_file file;
	struct pickup_feed feed;
	uint32_t next_rcpt;
	struct evlog_pos began;        /* the log's end at that time */
};

/* A file with an ID whose message may be in the spool. */
struct doubt {
	SLIST_ENTRY(doubt) link;
	uint64_t id;
	int64_t arrival_us;
	bool accepted;
	char now[NAME_MAX + 1];
};

/* A file that is bad and cannot be put aside. */
struct stuck {
	SLIST_ENTRY(stuck) link;
	char name[NAME_KEEP_MAX + 1];
};

struct pickup {
	struct server *srv;
	const struct pickup_ops *ops;
	void *arg;
	int dir, bad;
	struct sio *events, *offsets;
	struct event *timer;
	struct conf_source src;        /* that of {pickup}, and what files may */
	bool remove_dot;
	struct taker takers[TAKERS];
	unsigned nbusy;
	size_t bytes;                  /* of the texts of all */
	SLIST_HEAD(, doubt) doubts;
	SLIST_HEAD(, stuck) stuck;     /* left alone; at most STUCK_MAX */
	unsigned nstuck;
	bool resolved;                 /* there are no doubts */
	bool stopping;
	bool waits;                    /* for better times */
	bool complained;               /* of the directory */
	struct evlog_pos limit;        /* of the log; file 0: not known */
	struct offset_store store;
	bool store_open;
	struct evlog_pos saved;
	int64_t saved_ms;
	uint32_t left;                 /* taken, but not removable */
};

/* ---- pickup_names.c ---- */

/* ".taken-ID-ARRIVAL-NAME"; false if it does not fit. */
bool taken_name(char *out, size_t size, uint64_t id, int64_t arrival_us,
    const char *name);
/* Where the name behind it begins, NULL if it is no such name. */
const char *taken_parse(const char *now, uint64_t *id_r, int64_t *arrival_r);
/* Renames to that name, or to NAME.1, NAME.2 and so on: no file is replaced. 0, or
 * -1 with errno. */
int name_give(int from_dir, const char *from, int to_dir, const char *name);
/* Notes the names of files that were under way. False: not now. */
bool doubts_find(struct pickup *p);
/* Looks them up in the log and removes those that were accepted; the others
 * get their names back. False: not now. */
bool doubts_resolve(struct pickup *p);
void doubts_free(struct pickup *p);

/* ---- pickup_take.c ---- */

/* Begins with a file. False: it is not to be begun now. */
bool taker_start(struct taker *t, const char *name);
void taker_fini(struct taker *t);

/* ---- pickup.c ---- */

/* The file is through. why: for the log, of a bad one or a failure. */
void taker_done(struct taker *t, enum taken how, struct sv why);

#endif
