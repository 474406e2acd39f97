/* SPDX-License-Identifier: ISC */
/*
 * loadgen: sends many messages over many connections to one SMTP server and
 * says how fast they were taken. One epoll loop per process; with pipelining
 * a message costs one write (its end together with the next envelope) and one
 * read. Every message has an ID and a checksum that the receiver verifies;
 * with --ledger every 250 is written down in the turn in which it came.
 *
 * README.md has the options and the format of the ledger.
 */
#include <bsd/string.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/crc32c.h"
#include "common/base/sv.h"
#include "common/base/timeval.h"

#define POOL_BYTES    (1024 * 1024) /* text that bodies are cut from */
#define LINE_BYTES    78            /* of a line of it, with CRLF */
#define READ_BYTES    (64 * 1024)
#define EVENTS        256
#define RCPTS_MAX     1000
#define BACKOFF_MS    20   /* first pause after a failure of a connection */
#define BACKOFF_MAX   1000
#define STOP_GRACE_MS 10000 /* for outstanding replies after SIGTERM */
#define BUCKETS       1024

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

static struct options {
	const char *to, *sender_domain, *rcpt_domain, *helo, *ledger, *run_id;
	uint64_t connections, messages, size, domains, users, rcpts;
	uint64_t per_connection, processes, first_id, duration_ms;
	uint64_t give_up_ms, timeout_ms;
	double rate;
	bool pipelining, retry;
} opt = { .sender_domain = "sender.test", .rcpt_domain = "test",
	.helo = "loadgen.test", .connections = 20, .messages = 1000,
	.size = 4096, .domains = 100, .users = 1000, .rcpts = 1,
	.processes = 1, .give_up_ms = 30000, .timeout_ms = 120000,
	.pipelining = true };

static struct addrinfo *target;
static char *pool;
static struct stats *stats;
static struct conn *conns;
static uint64_t next_number, end_number;
static struct message_list again = STAILQ_HEAD_INITIALIZER(again);
static STAILQ_HEAD(, conn) touched = STAILQ_HEAD_INITIALIZER(touched);
static struct buf ledger;
static int ledger_fd = -1, epoll_fd;
static struct mono now, began, progress_at, stop_at;
static bool stopping, someone_idle, gave_up;
static char date[64];
static volatile sig_atomic_t want_stop;

static void conn_open(struct conn *c);

static void
on_signal(int sig)
{
	(void)sig;
	want_stop = 1;
}

static void
must(int rv)
{
	if (rv != 0)
		errx(111, "out of memory");
}

static void
read_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now.us = ts.tv_sec * US_PER_SEC + ts.tv_nsec / 1000;
}

/* Latencies: 32 buckets for each doubling, so 3 % of error. */

static size_t
bucket_of(uint64_t us)
{
	unsigned shift = 0;

	if (us > UINT32_MAX)
		us = UINT32_MAX;
	while (us >> shift >= 64)
		shift++;
	return shift == 0 ? us : 32u * shift + (us >> shift);
}

static double
bucket_ms(size_t b)
{
	if (b < 64)
		return (double)b / 1000;
	return (double)((b % 32 + 32) << (b / 32 - 1)) / 1000;
}

static double
percentile(const struct stats *s, double p)
{
	uint64_t seen = 0, want = (uint64_t)((double)s->accepted * p);

	for (size_t b = 0; b < BUCKETS; b++) {
		seen += s->latency[b];
		if (seen > want)
			return bucket_ms(b);
	}
	return 0;
}

static void
count_latency(struct mono since)
{
	uint64_t us = (uint64_t)(now.us - since.us);

	if (us > stats->max_latency)
		stats->max_latency = us;
	stats->latency[bucket_of(us)]++;
}

/* Names */

static void
put_rcpt(struct buf *b, const struct message *m, unsigned i)
{
	uint64_t n = m->number * opt.rcpts + m->rcpts[i].index;

	must(buf_addf(b, "u%ju@d%ju.%s", n / opt.domains % opt.users,
	    n % opt.domains, opt.rcpt_domain));
}

static void
put_id(struct buf *b, const struct message *m)
{
	must(buf_addf(b, "%s-%ju", opt.run_id, m->number));
}

/* One line of the ledger: WORD ID RECIPIENT TIME REST. */
static void
note(const char *word, const struct message *m, unsigned i, struct sv rest)
{
	struct timespec ts;

	if (ledger_fd < 0)
		return;
	clock_gettime(CLOCK_REALTIME, &ts);
	must(buf_addf(&ledger, "%s ", word));
	put_id(&ledger, m);
	must(buf_add(&ledger, " ", 1));
	put_rcpt(&ledger, m, i);
	must(buf_addf(&ledger, " %jd.%06ld %.*s\n", (intmax_t)ts.tv_sec,
	    ts.tv_nsec / 1000, SV_FMT(rest)));
}

static void
ledger_write(void)
{
	while (buf_len(&ledger) > 0) {
		ssize_t n = write(ledger_fd, buf_data(&ledger),
		    buf_len(&ledger));

		if (n < 0 && errno != EINTR)
			err(111, "%s", opt.ledger);
		if (n > 0)
			buf_consume(&ledger, (size_t)n);
	}
}

/* Messages */

static bool
allowance(void)
{
	double seconds = (double)(now.us - began.us) / (double)US_PER_SEC;

	return opt.rate <= 0 || (double)stats->started <= seconds * opt.rate;
}

/* The next message to send, or NULL; *later_r: there may be one later. */
static struct message *
message_next(bool *later_r)
{
	struct message *m = STAILQ_FIRST(&again);

	*later_r = false;
	if (stopping)
		return NULL;
	if (m == NULL && next_number >= end_number)
		return NULL;
	if (!allowance()) {
		*later_r = true;
		return NULL;
	}
	if (m != NULL) {
		STAILQ_REMOVE_HEAD(&again, next);
		return m;
	}
	m = calloc(1, sizeof(*m) + opt.rcpts * sizeof(m->rcpts[0]));
	if (m == NULL)
		errx(111, "out of memory");
	m->number = next_number++;
	m->nrcpts = (uint16_t)opt.rcpts;
	for (uint16_t i = 0; i < m->nrcpts; i++)
		m->rcpts[i].index = i;
	stats->started++;
	return m;
}

static void
rcpt_refused(const struct message *m, unsigned i, int code, struct sv reply)
{
	if (code >= 500)
		stats->refused_5xx++;
	else if (code >= 400)
		stats->refused_4xx++;
	else
		stats->lost++;
	note(code >= 400 ? "refused" : "lost", m, i, reply);
}

/*
 * Ends a message: rcpts[i].code says how for each. Those that failed for now
 * (4xx, or 0 for no answer) go back on the list with --retry.
 */
static void
message_end(struct message *m, struct sv reply)
{
	uint16_t left = 0;

	for (uint16_t i = 0; i < m->nrcpts; i++) {
		int code = m->rcpts[i].code;

		if (code >= 200 && code < 300)
			continue;
		if (!opt.retry || code >= 500 || stopping) {
			rcpt_refused(m, i, code, reply);
			continue;
		}
		stats->resends++;
		note("resend", m, i,
		    code == 0 && m->in_doubt ? SV("in-doubt") : SV("refused"));
		m->rcpts[left] = m->rcpts[i];
		m->rcpts[left++].code = 0;
	}
	if (left == 0) {
		free(m);
		return;
	}
	m->nrcpts = left;
	m->resend = true;
	m->in_doubt = false;
	STAILQ_INSERT_TAIL(&again, m, next);
}

static void
message_accepted(struct conn *c, struct message *m, struct sv reply)
{
	unsigned good = 0;

	for (unsigned i = 0; i < m->nrcpts; i++) {
		if (m->rcpts[i].code < 200 || m->rcpts[i].code > 299)
			continue;
		good++;
		note("ok", m, i, reply);
	}
	stats->rcpts_accepted += good;
	stats->accepted += good > 0;
	stats->last_us = now.us;
	progress_at = now;
	count_latency(c->dot_at);
}

/* The reply to the final dot (code 0: the connection was lost). */
static void
message_answered(struct conn *c, int code, struct sv reply)
{
	struct message *m = c->sent;

	c->sent = NULL;
	m->in_doubt = code == 0;
	if (m->in_doubt)
		stats->in_doubt++;
	if (code >= 200 && code < 300)
		message_accepted(c, m, reply);
	else
		for (unsigned i = 0; i < m->nrcpts; i++)
			if (m->rcpts[i].code < 300)
				m->rcpts[i].code = code;
	message_end(m, reply);
}

/* Writing */

static void
conn_touch(struct conn *c)
{
	if (c->touched)
		return;
	c->touched = true;
	STAILQ_INSERT_TAIL(&touched, c, touched_next);
}

static void
put_envelope_step(struct conn *c, struct buf *b, unsigned step)
{
	struct message *m = c->env;

	if (step == 0) {
		must(buf_addf(b, "MAIL FROM:<s%ju@%s>\r\n",
		    m->number % opt.users, opt.sender_domain));
	} else if (step <= m->nrcpts) {
		must(buf_add(b, "RCPT TO:<", 9));
		put_rcpt(b, m, step - 1);
		must(buf_add(b, ">\r\n", 3));
	} else {
		must(buf_add(b, "DATA\r\n", 6));
	}
}

/* Takes the next message and writes its envelope (or its first command). */
static void
start_envelope(struct conn *c, struct buf *b)
{
	bool later;

	if (opt.per_connection > 0 && c->done >= opt.per_connection)
		return;
	c->env = message_next(&later);
	if (later)
		someone_idle = true;
	if (c->env == NULL)
		return;
	c->done++;
	c->step = 0;
	c->written = 0;
	c->mail_code = 0;
	do
		put_envelope_step(c, b, c->written++);
	while (c->pipelining && c->written < c->env->nrcpts + 2u);
}

/* The header; its checksum stays blank and is written where the return value
 * points, as 8 digits. */
static size_t
put_header(struct conn *c, const struct message *m)
{
	struct buf *b = &c->before;

	must(buf_addf(b, "From: <s%ju@%s>\r\nTo: ",
	    m->number % opt.users, opt.sender_domain));
	put_rcpt(b, m, 0);
	must(buf_addf(b, "\r\nSubject: message %ju\r\nDate: %s\r\n"
	    "Message-ID: <%s-%ju@%s>\r\nX-Bench-ID: %s-%ju\r\n"
	    "X-Bench-Sum: 00000000\r\n\r\n", m->number, date, opt.run_id,
	    m->number, opt.sender_domain, opt.run_id, m->number));
	return buf_len(b) - 12;
}

/*
 * Prepares the text of a message of opt.size bytes: header, two lines of its
 * own, of which one begins with a dot (sent doubled), and a piece of the pool
 * with a CRLF behind it.
 */
static void
put_text(struct conn *c, const struct message *m)
{
	struct buf *b = &c->before;
	const char *dot;
	char lines[160], sum[9];
	size_t begin, want, nlines, at, had = buf_len(b);
	uint32_t crc;

	at = put_header(c, m);
	nlines = (size_t)snprintf(lines, sizeof(lines),
	    "message %.60s-%ju\r\n.a line with a dot\r\n", opt.run_id,
	    m->number);
	want = buf_len(b) - had + nlines + 2;
	want = opt.size > want ? opt.size - want : 0;
	want -= want % LINE_BYTES == LINE_BYTES - 1; /* not between CR and LF */
	begin = (size_t)(m->number * 7919 % (POOL_BYTES / LINE_BYTES)) *
	    LINE_BYTES;
	c->body = (struct iovec){ pool + begin, want };
	crc = crc32c(crc32c(0, lines, nlines), pool + begin, want);
	crc = crc32c(crc, "\r\n", 2);
	snprintf(sum, sizeof(sum), "%08x", crc);
	memcpy(b->mem + b->head + at, sum, 8);
	dot = memmem(lines, nlines, "\r\n.", 3);
	must(buf_add(b, lines, (size_t)(dot - lines) + 3));
	must(buf_add(b, dot + 2, nlines - (size_t)(dot - lines) - 2));
	must(buf_add(&c->after, "\r\n", 2));
}

/* The text goes out, and with pipelining the next envelope behind it. */
static void
start_text(struct conn *c, bool empty)
{
	struct message *m = c->env;

	c->sent = m;
	c->env = NULL;
	if (!empty)
		put_text(c, m);
	must(buf_add(&c->after, ".\r\n", 3));
	c->dot_at = now;
	if (c->pipelining)
		start_envelope(c, &c->after);
}

static void
conn_watch(struct conn *c, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = c };

	if (c->watched == events)
		return;
	c->watched = events;
	epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &ev);
}

static size_t
min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

static void
conn_write(struct conn *c)
{
	struct iovec iov[3] = {
		{ c->before.mem + c->before.head, buf_len(&c->before) },
		c->body,
		{ c->after.mem + c->after.head, buf_len(&c->after) },
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 3 };
	size_t all = iov[0].iov_len + iov[1].iov_len + iov[2].iov_len, part;
	ssize_t n;

	if (all == 0)
		return;
	n = sendmsg(c->fd, &msg, MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		c->broken = true;
		return;
	}
	if (n > 0) {
		size_t sent = (size_t)n;

		all -= sent;
		part = min_size(sent, buf_len(&c->before));
		buf_consume(&c->before, part);
		sent -= part;
		part = min_size(sent, c->body.iov_len);
		c->body.iov_base = (char *)c->body.iov_base + part;
		c->body.iov_len -= part;
		buf_consume(&c->after, sent - part);
	}
	conn_watch(c, all > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/* Reading */

/* The envelope comes to nothing: code 421, or 0 for a lost connection. */
static void
envelope_lost(struct conn *c, int code, struct sv reply)
{
	struct message *m = c->env;

	c->env = NULL;
	for (unsigned i = 0; i < m->nrcpts; i++)
		if (m->rcpts[i].code < 400)
			m->rcpts[i].code = code;
	message_end(m, reply);
}

static void
conn_close(struct conn *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->broken = false;
	if (c->sent != NULL)
		message_answered(c, 0, SV("connection lost"));
	if (c->env != NULL)
		envelope_lost(c, 0, SV("connection lost"));
	buf_clear(&c->in);
	buf_clear(&c->before);
	buf_clear(&c->after);
	c->body.iov_len = 0;
	c->rsets = 0;
	c->done = 0;
	c->pipelining = false;
}

/* Opens again at once after an orderly end, else after a pause. */
static void
conn_restart(struct conn *c, bool orderly)
{
	conn_close(c);
	if (!orderly) {
		stats->reconnects++;
		c->backoff_ms = c->backoff_ms == 0 ? BACKOFF_MS :
		    c->backoff_ms * 2;
		if (c->backoff_ms > BACKOFF_MAX)
			c->backoff_ms = BACKOFF_MAX;
	}
	c->retry_at = mono_add_ms(now, orderly ? 0 : c->backoff_ms);
	c->wait = WAIT_RETRY;
}

/* All that an idle connection can do: the next message, or the end. */
static void
conn_next(struct conn *c)
{
	if (c->sent != NULL || c->env != NULL)
		return;
	start_envelope(c, &c->before);
	if (c->env != NULL) {
		c->wait = WAIT_REPLIES;
		return;
	}
	c->wait = WAIT_IDLE;
	if (opt.per_connection > 0 && c->done >= opt.per_connection) {
		must(buf_add(&c->before, "QUIT\r\n", 6));
		c->wait = WAIT_QUIT;
	}
}

/* The envelope is through: code is DATA's reply. */
static void
envelope_end(struct conn *c, int code, struct sv reply)
{
	struct message *m = c->env;
	unsigned good = 0, mail_good = c->mail_code < 300;

	for (unsigned i = 0; i < m->nrcpts; i++)
		good += m->rcpts[i].code < 300;
	if (code == 354) {
		start_text(c, good == 0);
		return;
	}
	c->env = NULL;
	for (unsigned i = 0; i < m->nrcpts; i++) {
		if (!mail_good)
			m->rcpts[i].code = c->mail_code;
		else if (m->rcpts[i].code < 300)
			m->rcpts[i].code = code;
	}
	message_end(m, reply);
	if (mail_good) {
		must(buf_add(&c->before, "RSET\r\n", 6));
		c->rsets++;
	}
	if (c->pipelining || !mail_good)
		conn_next(c);
}

static void
envelope_reply(struct conn *c, int code, struct sv reply)
{
	struct message *m = c->env;
	unsigned step = c->step++, good = 0;

	if (step == 0)
		c->mail_code = code;
	else if (step <= m->nrcpts)
		m->rcpts[step - 1].code = code;
	else {
		envelope_end(c, code, reply);
		return;
	}
	if (c->pipelining)
		return;
	for (unsigned i = 0; i < m->nrcpts; i++)
		good += i >= step || m->rcpts[i].code < 300;
	if (code >= 300 && (step == 0 || good == 0))
		envelope_end(c, code, reply);
	else
		put_envelope_step(c, &c->before, c->written++);
}

/* A line of the reply to EHLO. */
static void
note_offer(struct conn *c, struct sv line)
{
	if (opt.pipelining && sv_ieq(sv_trim(line), SV("PIPELINING")))
		c->pipelining = true;
}

static void
conn_reply(struct conn *c, int code, struct sv text)
{
	c->active_at = now;
	if (c->wait == WAIT_GREETING) {
		if (code == 220) {
			must(buf_addf(&c->before, "EHLO %s\r\n", opt.helo));
			c->wait = WAIT_EHLO;
			return;
		}
		stats->connect_failures++;
		c->broken = true;
	} else if (c->wait == WAIT_EHLO) {
		note_offer(c, text);
		c->backoff_ms = code == 250 ? 0 : c->backoff_ms;
		c->broken = code != 250;
		c->wait = WAIT_IDLE;
		if (!c->broken)
			conn_next(c);
	} else if (code == 421 || c->wait == WAIT_QUIT) {
		if (c->sent != NULL)
			message_answered(c, code, text);
		else if (c->env != NULL)
			envelope_lost(c, code, text);
		c->broken = true;
	} else if (c->sent != NULL) {
		message_answered(c, code, text);
		conn_next(c);
	} else if (c->rsets > 0) {
		c->rsets--;
		conn_next(c);
	} else if (c->env != NULL) {
		envelope_reply(c, code, text);
	} else {
		c->broken = true; /* a reply to nothing */
	}
}

static void
conn_consume(struct conn *c)
{
	while (!c->broken) {
		struct sv all = buf_sv(&c->in), line;
		ptrdiff_t nl = sv_find(all, '\n');
		uint64_t code;

		if (nl < 0)
			break;
		line = sv_head(all, (size_t)nl);
		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		if (line.n < 3 || !sv_to_u64(sv_head(line, 3), 599, &code))
			c->broken = true;
		else if (line.n > 3 && line.p[3] == '-' &&
		    c->wait == WAIT_EHLO)
			note_offer(c, sv_from_at(line, 4));
		else if (line.n == 3 || line.p[3] != '-')
			conn_reply(c, (int)code, sv_from_at(line, 4));
		buf_consume(&c->in, (size_t)nl + 1);
	}
}

static void
conn_readable(struct conn *c)
{
	unsigned char *at = buf_reserve(&c->in, READ_BYTES);
	ssize_t n;

	if (at == NULL) {
		c->broken = true;
		return;
	}
	n = read(c->fd, at, READ_BYTES);
	if (n <= 0) {
		c->broken = n == 0 || (errno != EAGAIN && errno != EINTR);
		return;
	}
	buf_commit(&c->in, (size_t)n);
	conn_consume(c);
}

static void
conn_connected(struct conn *c)
{
	int e = 0;
	socklen_t len = sizeof(e);

	getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &len);
	if (e != 0) {
		stats->connect_failures++;
		c->broken = true;
		return;
	}
	c->wait = WAIT_GREETING;
	conn_watch(c, EPOLLIN);
}

static void
conn_open(struct conn *c)
{
	struct epoll_event ev = { .events = EPOLLOUT, .data.ptr = c };

	c->fd = socket(target->ai_family,
	    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		err(111, "socket");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	c->wait = WAIT_CONNECT;
	c->watched = EPOLLOUT;
	c->active_at = now;
	if (connect(c->fd, target->ai_addr, target->ai_addrlen) != 0 &&
	    errno != EINPROGRESS) {
		stats->connect_failures++;
		conn_restart(c, false);
		return;
	}
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &ev) != 0)
		err(111, "epoll_ctl");
}

/* The loop */

static bool
work_left(void)
{
	if (stopping)
		return false;
	return next_number < end_number || !STAILQ_EMPTY(&again);
}

static void
conn_settle(struct conn *c)
{
	bool quitting = c->wait == WAIT_QUIT;

	if (c->fd >= 0 && !c->broken)
		conn_write(c);
	if (c->broken)
		conn_restart(c, quitting);
}

/* Looks at every connection: deadlines, pauses that ended, idle ones. */
static void
look_around(void)
{
	someone_idle = false;
	for (uint64_t i = 0; i < opt.connections; i++) {
		struct conn *c = &conns[i];

		if (c->wait == WAIT_RETRY && now.us >= c->retry_at.us &&
		    work_left())
			conn_open(c);
		else if (c->wait == WAIT_IDLE)
			conn_next(c);
		else if (c->fd >= 0 && mono_diff_ms(now, c->active_at) >
		    (int64_t)opt.timeout_ms)
			c->broken = true;
		conn_touch(c);
	}
}

static bool
outstanding(void)
{
	for (uint64_t i = 0; i < opt.connections; i++)
		if (conns[i].sent != NULL || conns[i].env != NULL)
			return true;
	return false;
}

/* True when the run is over. */
static bool
check_end(void)
{
	if (!stopping && (want_stop != 0 || (opt.duration_ms > 0 &&
	    mono_diff_ms(now, began) >= (int64_t)opt.duration_ms))) {
		stopping = true;
		stop_at = now;
	}
	if (mono_diff_ms(now, progress_at) > (int64_t)opt.give_up_ms) {
		gave_up = true;
		return true;
	}
	if (stopping && mono_diff_ms(now, stop_at) > STOP_GRACE_MS)
		return true;
	return !work_left() && !outstanding();
}

static void
handle_event(struct conn *c, uint32_t events)
{
	if (c->wait == WAIT_CONNECT)
		conn_connected(c);
	else if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
		conn_readable(c);
	conn_touch(c);
}

static void
run(void)
{
	struct epoll_event ev[EVENTS];
	struct mono looked = { 0 };
	struct conn *c;

	do {
		int n = epoll_wait(epoll_fd, ev, EVENTS, someone_idle ? 1 : 10);

		read_clock();
		for (int i = 0; i < n; i++)
			handle_event(ev[i].data.ptr, ev[i].events);
		if (someone_idle || mono_diff_ms(now, looked) >= 10) {
			look_around();
			looked = now;
		}
		while ((c = STAILQ_FIRST(&touched)) != NULL) {
			STAILQ_REMOVE_HEAD(&touched, touched_next);
			c->touched = false;
			conn_settle(c);
		}
		ledger_write();
	} while (!check_end());
}

/* What is still unanswered at the end is lost; then a polite goodbye. */
static void
finish(void)
{
	struct message *m;

	stopping = true;
	for (uint64_t i = 0; i < opt.connections; i++) {
		struct conn *c = &conns[i];

		if (c->fd >= 0 && c->wait == WAIT_IDLE)
			(void)!send(c->fd, "QUIT\r\n", 6, MSG_NOSIGNAL);
		conn_close(c);
	}
	while ((m = STAILQ_FIRST(&again)) != NULL) {
		STAILQ_REMOVE_HEAD(&again, next);
		message_end(m, SV("given up"));
	}
	ledger_write();
}

static int
child_run(uint64_t k)
{
	uint64_t share = opt.messages / opt.processes;
	uint64_t extra = opt.messages % opt.processes;
	struct timespec ts;

	stats += k;
	next_number = opt.first_id + share * k + (k < extra ? k : extra);
	end_number = next_number + share + (k < extra);
	if (opt.messages == 0) { /* without end: far apart */
		next_number = opt.first_id + (k << 40);
		end_number = next_number + ((uint64_t)1 << 40);
	}
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	conns = calloc(opt.connections, sizeof(*conns));
	if (epoll_fd < 0 || conns == NULL)
		err(111, "start");
	buf_init(&ledger, SIZE_MAX / 2);
	read_clock();
	began = progress_at = now;
	stats->first_us = stats->last_us = now.us;
	clock_gettime(CLOCK_REALTIME, &ts);
	stats->wall_us = ts.tv_sec * US_PER_SEC + ts.tv_nsec / 1000;
	for (uint64_t i = 0; i < opt.connections; i++) {
		buf_init(&conns[i].in, 4 * READ_BYTES);
		buf_init(&conns[i].before, SIZE_MAX / 2);
		buf_init(&conns[i].after, SIZE_MAX / 2);
		conns[i].fd = -1;
		conns[i].wait = WAIT_RETRY;
		conns[i].retry_at = now;
	}
	look_around();
	run();
	finish();
	return gave_up ? 1 : 0;
}

static void
add_stats(struct stats *sum, const struct stats *s)
{
	sum->accepted += s->accepted;
	sum->rcpts_accepted += s->rcpts_accepted;
	sum->refused_4xx += s->refused_4xx;
	sum->refused_5xx += s->refused_5xx;
	sum->lost += s->lost;
	sum->resends += s->resends;
	sum->in_doubt += s->in_doubt;
	sum->reconnects += s->reconnects;
	sum->connect_failures += s->connect_failures;
	sum->started += s->started;
	if (sum->first_us == 0 || s->first_us < sum->first_us) {
		sum->first_us = s->first_us;
		sum->wall_us = s->wall_us;
	}
	if (s->last_us > sum->last_us)
		sum->last_us = s->last_us;
	if (s->max_latency > sum->max_latency)
		sum->max_latency = s->max_latency;
	for (size_t b = 0; b < BUCKETS; b++)
		sum->latency[b] += s->latency[b];
}

static void
print_stats(const struct stats *s)
{
	double seconds = (double)(s->last_us - s->first_us) /
	    (double)US_PER_SEC;

	printf("{\"accepted\": %ju, \"recipients_accepted\": %ju, "
	       "\"refused_4xx\": %ju, \"refused_5xx\": %ju, \"lost\": %ju, "
	       "\"refused\": %ju, \"resends\": %ju, \"in_doubt\": %ju, "
	       "\"reconnects\": %ju, \"connect_failures\": %ju, "
	       "\"started\": %ju, \"first\": %.6f, \"seconds\": %.3f, "
	       "\"rate\": %.1f, "
	       "\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, "
	       "\"run_id\": \"%s\"}\n",
	    s->accepted, s->rcpts_accepted, s->refused_4xx, s->refused_5xx,
	    s->lost, s->refused_4xx + s->refused_5xx + s->lost, s->resends,
	    s->in_doubt, s->reconnects, s->connect_failures, s->started,
	    (double)s->wall_us / (double)US_PER_SEC, seconds,
	    seconds > 0 ? (double)s->accepted / seconds : 0,
	    percentile(s, 0.5), percentile(s, 0.99),
	    (double)s->max_latency / 1000, opt.run_id);
}

/* Start */

enum {
	OPT_TO = 256,
	OPT_CONNECTIONS,
	OPT_MESSAGES,
	OPT_SIZE,
	OPT_DOMAINS,
	OPT_USERS,
	OPT_RCPTS,
	OPT_PER_CONNECTION,
	OPT_PIPELINING,
	OPT_SENDER_DOMAIN,
	OPT_RCPT_DOMAIN,
	OPT_HELO,
	OPT_RATE,
	OPT_DURATION,
	OPT_LEDGER,
	OPT_RETRY,
	OPT_RUN_ID,
	OPT_FIRST_ID,
	OPT_PROCESSES,
	OPT_GIVE_UP,
	OPT_TIMEOUT
};

static const struct option long_options[] = {
	{ "to", required_argument, NULL, OPT_TO },
	{ "connections", required_argument, NULL, OPT_CONNECTIONS },
	{ "messages", required_argument, NULL, OPT_MESSAGES },
	{ "size", required_argument, NULL, OPT_SIZE },
	{ "domains", required_argument, NULL, OPT_DOMAINS },
	{ "users", required_argument, NULL, OPT_USERS },
	{ "rcpts-per-message", required_argument, NULL, OPT_RCPTS },
	{ "messages-per-connection", required_argument, NULL,
	    OPT_PER_CONNECTION },
	{ "pipelining", required_argument, NULL, OPT_PIPELINING },
	{ "sender-domain", required_argument, NULL, OPT_SENDER_DOMAIN },
	{ "rcpt-domain", required_argument, NULL, OPT_RCPT_DOMAIN },
	{ "helo", required_argument, NULL, OPT_HELO },
	{ "rate", required_argument, NULL, OPT_RATE },
	{ "duration", required_argument, NULL, OPT_DURATION },
	{ "ledger", required_argument, NULL, OPT_LEDGER },
	{ "retry", no_argument, NULL, OPT_RETRY },
	{ "run-id", required_argument, NULL, OPT_RUN_ID },
	{ "first-id", required_argument, NULL, OPT_FIRST_ID },
	{ "processes", required_argument, NULL, OPT_PROCESSES },
	{ "give-up", required_argument, NULL, OPT_GIVE_UP },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ NULL, 0, NULL, 0 },
};

static void
usage(void)
{
	fputs("usage: loadgen --to ADDRESS:PORT [options]\n", stderr);
	for (const struct option *o = long_options; o->name != NULL; o++)
		fprintf(stderr, "  --%s%s\n", o->name,
		    o->has_arg == required_argument ? " ..." : "");
	exit(100);
}

static uint64_t
number(uint64_t min, uint64_t max)
{
	uint64_t n;

	if (!sv_to_u64(sv_from(optarg), max, &n) || n < min)
		errx(100, "\"%s\" is not a number from %ju to %ju", optarg,
		    min, max);
	return n;
}

static bool
yes_or_no(void)
{
	if (strcmp(optarg, "yes") != 0 && strcmp(optarg, "no") != 0)
		errx(100, "\"%s\" is neither yes nor no", optarg);
	return optarg[0] == 'y';
}

static double
real(void)
{
	char *end;
	double v = strtod(optarg, &end);

	if (end == optarg || *end != '\0' || !(v >= 0 && v < 1e9))
		errx(100, "\"%s\" is not a number", optarg);
	return v;
}

static void
take_option(int o)
{
	switch (o) {
	case OPT_TO: opt.to = optarg; break;
	case OPT_CONNECTIONS: opt.connections = number(1, 1000000); break;
	case OPT_MESSAGES: opt.messages = number(0, INT64_MAX); break;
	case OPT_SIZE: opt.size = number(0, POOL_BYTES); break;
	case OPT_DOMAINS: opt.domains = number(1, 10000000); break;
	case OPT_USERS: opt.users = number(1, INT64_MAX); break;
	case OPT_RCPTS: opt.rcpts = number(1, RCPTS_MAX); break;
	case OPT_PER_CONNECTION: opt.per_connection = number(0, INT64_MAX);
		break;
	case OPT_PIPELINING: opt.pipelining = yes_or_no(); break;
	case OPT_SENDER_DOMAIN: opt.sender_domain = optarg; break;
	case OPT_RCPT_DOMAIN: opt.rcpt_domain = optarg; break;
	case OPT_HELO: opt.helo = optarg; break;
	case OPT_RATE: opt.rate = real(); break;
	case OPT_DURATION: opt.duration_ms = (uint64_t)(real() * 1000); break;
	case OPT_LEDGER: opt.ledger = optarg; break;
	case OPT_RETRY: opt.retry = true; break;
	case OPT_RUN_ID: opt.run_id = optarg; break;
	case OPT_FIRST_ID: opt.first_id = number(0, INT64_MAX); break;
	case OPT_PROCESSES: opt.processes = number(1, 256); break;
	case OPT_GIVE_UP: opt.give_up_ms = (uint64_t)(real() * 1000); break;
	case OPT_TIMEOUT: opt.timeout_ms = (uint64_t)(real() * 1000); break;
	default: usage();
	}
}

static void
find_target(void)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV };
	struct sv v = sv_from(opt.to), host;
	ptrdiff_t colon = sv_rfind(v, ':');
	char h[256];

	if (colon <= 0)
		usage();
	host = sv_head(v, (size_t)colon);
	if (host.p[0] == '[' && host.n > 2)
		host = sv_make(host.p + 1, host.n - 2);
	if (!sv_to_cstr(host, h, sizeof(h)) ||
	    getaddrinfo(h, opt.to + colon + 1, &hints, &target) != 0)
		errx(100, "%s: not an address and a port", opt.to);
}

/* Lines of letters that never begin with a dot, twice as long as a body may
 * be, so that one can begin at any line. */
static void
make_pool(void)
{
	static const char letters[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint64_t x = 88172645463325252; /* xorshift64, any seed but 0 */
	size_t size = 2 * POOL_BYTES;

	pool = malloc(size);
	if (pool == NULL)
		err(111, "malloc");
	for (size_t i = 0; i < size; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		pool[i] = letters[x % 64];
		if (i % LINE_BYTES == LINE_BYTES - 2)
			pool[i] = '\r';
		else if (i % LINE_BYTES == LINE_BYTES - 1)
			pool[i] = '\n';
	}
}

static void
prepare(void)
{
	static char id[64];
	time_t t = time(NULL);
	struct tm tm;

	if (opt.to == NULL)
		usage();
	find_target();
	make_pool();
	if (opt.run_id == NULL) {
		snprintf(id, sizeof(id), "%jx.%x", (intmax_t)t,
		    (unsigned)getpid());
		opt.run_id = id;
	}
	gmtime_r(&t, &tm);
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S +0000", &tm);
	stats = mmap(NULL, opt.processes * sizeof(*stats),
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (stats == MAP_FAILED)
		err(111, "mmap");
	if (opt.ledger == NULL)
		return;
	ledger_fd = open(opt.ledger, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
	    0666);
	if (ledger_fd < 0)
		err(111, "%s", opt.ledger);
}

int
main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct stats sum = { 0 };
	int o, status, rv = 0;

	while ((o = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		take_option(o);
	if (optind < argc)
		usage();
	prepare();
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (opt.processes == 1) {
		rv = child_run(0);
	} else {
		for (uint64_t k = 0; k < opt.processes; k++)
			if (fork() == 0)
				_exit(child_run(k));
		for (;;) {
			if (wait(&status) >= 0)
				rv |= status != 0;
			else if (errno != EINTR)
				break;
		}
	}
	for (uint64_t k = 0; k < opt.processes; k++)
		add_stats(&sum, &stats[opt.processes == 1 ? 0 : k]);
	print_stats(&sum);
	return rv;
}
