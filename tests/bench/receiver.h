/* SPDX-License-Identifier: ISC */
/*
 * receiver: what the files of the receiver share. One epoll loop (receiver.c)
 * over sessions (receiver_session.c) that read commands (receiver_verbs.c) and
 * messages (receiver_message.c).
 */
#ifndef TESTS_BENCH_RECEIVER_H
#define TESTS_BENCH_RECEIVER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "tests/bench/idset.h"
#include "tests/bench/kit.h"
#include "tests/bench/script.h"

#define LINE_BYTES   4096        /* longest command line taken */
#define HEADER_BYTES (64 * 1024) /* of a header that is looked into */

enum mode {
	MODE_COMMAND,
	MODE_DATA
};

struct session {
	int fd;
	uint32_t watched; /* epoll events asked for */
	enum mode mode;
	bool greeted, has_sender;
	bool closing;      /* close when `out` is empty */
	bool broken;       /* close now */
	bool dirty;        /* on the list of this turn */
	bool at_line_start; /* in DATA: the last bytes were CRLF */
	bool in_header;    /* in DATA: blank line not seen yet */
	size_t nrcpts;
	struct buf sender; /* text and NUL */
	struct buf rcpts;  /* accepted ones, each with a NUL */
	struct buf args;   /* for --mbox-dir: MAIL's and RCPTs' parameters */
	struct buf in;     /* read and not yet consumed */
	struct buf out;    /* replies */
	struct buf held;   /* replies that wait for held_until */
	bool held_close;   /* close behind the held replies */
	bool is_held;
	int64_t held_until; /* monotonic, us */
	int64_t dribble_us;
	struct buf header;
	struct buf whole;  /* for --mbox-dir */
	uint32_t crc;      /* of the body so far */
	uint64_t bytes;    /* of the message so far */
	char peer[INET6_ADDRSTRLEN + 1];
	TAILQ_ENTRY(session) all_next, held_next;
	STAILQ_ENTRY(session) dirty_next;
};

struct totals {
	uint64_t messages, recipients, bytes, duplicates;
	uint64_t bad_checksum, no_checksum, no_id;
	uint64_t connections, open, max_open, dropped;
	uint64_t replies_4xx, replies_5xx;
	uint64_t early; /* commands sent ahead without leave */
	struct wall first, last;
};

struct options {
	const char *ids, *script, *mbox_dir, *hostname;
	uint64_t expect, quit_after, size, seed;
	bool pipelining, eightbit, offer_size, enhanced, dsn;
	char offers[512]; /* further EHLO lines, each "250-X\r\n" */
};

struct receiver {
	struct totals totals;
	struct script *script;
	struct idset ids, pairs;
	struct kit_ledger ledger;
	int epoll_fd;
	struct mono started, now;
	struct wall now_wall;
	TAILQ_HEAD(, session) all, held;
	STAILQ_HEAD(, session) dirty; /* have something to write */
};

extern struct options opt;
extern struct receiver rv;

/* receiver_options.c: fills opt and rv.script; listens where it is told. */
void options_take(int argc, char **argv);

/* receiver.c */
void listen_on(const char *where);

/* receiver_session.c */
struct session *session_new(int fd, const char *peer);
void session_greet(struct session *s);
/* It is flushed at the end of the turn. */
void session_mark(struct session *s);
void session_readable(struct session *s);
/* Releases what is due of the held replies; one byte at a time if dribbling. */
void session_release(struct session *s);
void session_flush(struct session *s);
void txn_reset(struct session *s);
void reply(struct session *s, int code, const char *enh, const char *text);
/* The replies that fit no delay and no script, without a printf. */
void reply_fast(struct session *s, struct sv with_enh, struct sv without);
#define REPLY_OK(s, enh, text)                                                 \
	reply_fast(s, SV("250 " enh " " text "\r\n"), SV("250 " text "\r\n"))
void ask(enum script_stage stage, const char *subjects, size_t n,
    struct script_answer *a);
/*
 * Carries out what the script says: 0 if the caller gives its usual reply
 * now, 1 if the script gave a reply that refuses (or none), 2 if the script
 * gave one that accepts. usual is what an accepting caller would say; it is
 * needed when the reply is delayed.
 */
int obey(struct session *s, const struct script_answer *a, int usual,
    const char *usual_enh, const char *usual_text);

/* receiver_verbs.c */
void session_command(struct session *s, struct sv line);

/* receiver_message.c */
void mbox_open(void);
/* Consumes bytes of a message; returns how many. */
size_t session_data(struct session *s, const unsigned char *p, size_t n);

#endif
