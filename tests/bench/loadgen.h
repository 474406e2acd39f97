/* SPDX-License-Identifier: ISC */
/*
 * loadgen: what the files of the load generator share. One epoll loop per
 * process (loadgen.c) over connections (loadgen_conn.c) that carry messages
 * (loadgen_message.c, loadgen_text.c).
 */
#ifndef TESTS_BENCH_LOADGEN_H
#define TESTS_BENCH_LOADGEN_H

#include <stdbool.h>
#include <sys/queue.h>
#include <sys/uio.h>

#include "tests/bench/kit.h"

#define POOL_BYTES (1024 * 1024) /* the largest message */
#define RCPTS_MAX  1000
#define BUCKETS    1024

/* One message on its way, with the recipients that still want it. */
struct message {
	uint64_t number;
	bool resend;
	bool in_doubt; /* its final dot was sent once, without an answer */
	uint16_t nrcpts;
	STAILQ_ENTRY(message) next;
	struct {
		uint16_t index;
		int code; /* reply to RCPT, or 0 */
	} rcpts[];
};

STAILQ_HEAD(message_list, message);

enum wait {
	WAIT_CONNECT,
	WAIT_GREETING,
	WAIT_EHLO,
	WAIT_REPLIES, /* to what `sent` and `env` say */
	WAIT_IDLE,    /* nothing outstanding: no allowance or no message */
	WAIT_QUIT,
	WAIT_RETRY,   /* no connection; opens one at retry_at */
	WAIT_END      /* nothing more to do */
};

struct conn {
	int fd; /* -1 without a connection */
	enum wait wait;
	uint32_t watched;
	struct message *sent; /* its final dot was sent */
	struct message *env;  /* its envelope was sent */
	unsigned step;        /* next reply of env: MAIL, RCPTs, DATA */
	unsigned written;     /* without pipelining: commands sent of env */
	int mail_code;
	unsigned rsets;       /* replies to RSET that come before env's */
	uint64_t done;        /* messages on this connection */
	struct mono dot_at, retry_at, active_at;
	int64_t backoff_ms;
	struct buf in;
	struct buf before; /* commands, header and first lines */
	struct iovec body; /* of the pool */
	struct buf after;  /* the final dot and the next envelope */
	STAILQ_ENTRY(conn) touched_next;
	bool touched, broken;
	bool pipelining; /* wanted and offered */
};

struct stats {
	uint64_t accepted; /* messages */
	uint64_t rcpts_accepted;
	uint64_t refused_4xx, refused_5xx; /* recipients */
	uint64_t lost;      /* recipients without an answer, given up */
	uint64_t resends, in_doubt, reconnects, connect_failures;
	uint64_t started;
	int64_t first_us, last_us; /* monotonic */
	int64_t wall_us;           /* clock time of first_us */
	uint64_t max_latency;
	uint64_t latency[BUCKETS];
};

struct options {
	const char *to, *sender_domain, *rcpt_domain, *helo, *ledger, *run_id;
	const char *spool;
	uint64_t connections, messages, size, domains, users, rcpts;
	uint64_t per_connection, processes, first_id, duration_ms;
	uint64_t give_up_ms, timeout_ms, deferred_ms;
	double rate;
	bool pipelining, retry, stamp;
};

/* One process. */
struct loadgen {
	struct addrinfo *target;
	struct stats *stats; /* of this process, shared with the first */
	struct conn *conns;
	uint64_t next_number, end_number;
	struct message_list again;
	STAILQ_HEAD(, conn) touched;
	struct kit_ledger ledger;
	int epoll_fd;
	struct mono now, began, progress_at, stop_at;
	bool stopping, someone_idle, gave_up;
};

extern struct options opt;
extern struct loadgen lg;

/* loadgen_options.c: fills opt and lg.target, or ends the program. */
void options_take(int argc, char **argv);

/* loadgen_stats.c */
void stats_latency_add(struct stats *s, int64_t us);
void stats_add(struct stats *sum, const struct stats *s);
/* One line of JSON. */
void stats_print(const struct stats *s);

/* loadgen_message.c */
void message_rcpt_put(struct buf *b, const struct message *m, unsigned i);
/* The next message to send, or NULL; *later_r: there may be one later. */
struct message *message_next(bool *later_r);
/*
 * Ends a message: rcpts[i].code says how for each. Those that failed for now
 * (4xx, or 0 for no answer) go back on the list with --retry.
 */
void message_end(struct message *m, struct sv reply);
/* The reply to the final dot (code 0: the connection was lost). */
void message_answered(struct conn *c, int code, struct sv reply);
/* The envelope comes to nothing: code 421, or 0 for a lost connection. */
void message_envelope_lost(struct conn *c, int code, struct sv reply);
bool message_work_left(void);

/* loadgen_text.c */
void text_init(void);
/*
 * Prepares the text of a message of opt.size bytes: header, two lines of its
 * own, of which one begins with a dot (sent doubled), and a piece of the pool
 * with a CRLF behind it.
 */
void text_put(const struct message *m, struct buf *before,
    struct iovec *body_r, struct buf *after);

/* loadgen_spool.c: writes a spool instead of sending. */
void spool_make(void);

/* loadgen_conn.c */
void conn_init(struct conn *c);
void conn_open(struct conn *c);
void conn_close(struct conn *c);
/* All that an idle connection can do: the next message, or the end. */
void conn_next(struct conn *c);
/* Something happened to it: it is settled at the end of the turn. */
void conn_touch(struct conn *c);
void conn_settle(struct conn *c);
void conn_event(struct conn *c, uint32_t events);

#endif
