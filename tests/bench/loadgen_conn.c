/* SPDX-License-Identifier: ISC */
/*
 * One connection of loadgen: SMTP as a client, with or without pipelining.
 */
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/loadgen.h"

#define READ_BYTES  (64 * 1024)
#define BACKOFF_MS  20 /* first pause after a failure of a connection */
#define BACKOFF_MAX 1000

void
conn_init(struct conn *c)
{
	buf_init(&c->in, 4 * READ_BYTES);
	buf_init(&c->before, SIZE_MAX / 2);
	buf_init(&c->after, SIZE_MAX / 2);
	c->fd = -1;
	c->wait = WAIT_RETRY;
	c->retry_at = lg.now;
}

/* ---- writing ---- */

void
conn_touch(struct conn *c)
{
	if (c->touched)
		return;
	c->touched = true;
	STAILQ_INSERT_TAIL(&lg.touched, c, touched_next);
}

static void
put_envelope_step(struct conn *c, struct buf *b, unsigned step)
{
	struct message *m = c->env;

	if (step == 0) {
		kit_must(buf_addf(b, "MAIL FROM:<s%ju@%s>\r\n",
		    m->number % opt.users, opt.sender_domain));
	} else if (step <= m->nrcpts) {
		kit_must(buf_add(b, "RCPT TO:<", 9));
		message_rcpt_put(b, m, step - 1);
		kit_must(buf_add(b, ">\r\n", 3));
	} else {
		kit_must(buf_add(b, "DATA\r\n", 6));
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
		lg.someone_idle = true;
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

/* The text goes out, and with pipelining the next envelope behind it. */
static void
start_text(struct conn *c, bool empty)
{
	struct message *m = c->env;

	c->sent = m;
	c->env = NULL;
	if (!empty)
		text_put(m, &c->before, &c->body, &c->after);
	kit_must(buf_add(&c->after, ".\r\n", 3));
	c->dot_at = lg.now;
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
	epoll_ctl(lg.epoll_fd, EPOLL_CTL_MOD, c->fd, &ev);
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

/* ---- reading ---- */

void
conn_close(struct conn *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->broken = false;
	if (c->sent != NULL)
		message_answered(c, 0, SV("connection lost"));
	if (c->env != NULL)
		message_envelope_lost(c, 0, SV("connection lost"));
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
		lg.stats->reconnects++;
		c->backoff_ms = c->backoff_ms == 0 ? BACKOFF_MS :
		    c->backoff_ms * 2;
		if (c->backoff_ms > BACKOFF_MAX)
			c->backoff_ms = BACKOFF_MAX;
	}
	c->retry_at = mono_add_ms(lg.now, orderly ? 0 : c->backoff_ms);
	c->wait = WAIT_RETRY;
}

void
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
		kit_must(buf_add(&c->before, "QUIT\r\n", 6));
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
		kit_must(buf_add(&c->before, "RSET\r\n", 6));
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
	c->active_at = lg.now;
	if (c->wait == WAIT_GREETING) {
		if (code == 220) {
			kit_must(buf_addf(&c->before, "EHLO %s\r\n", opt.helo));
			c->wait = WAIT_EHLO;
			return;
		}
		lg.stats->connect_failures++;
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
			message_envelope_lost(c, code, text);
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
		lg.stats->connect_failures++;
		c->broken = true;
		return;
	}
	c->wait = WAIT_GREETING;
	conn_watch(c, EPOLLIN);
}

void
conn_open(struct conn *c)
{
	struct epoll_event ev = { .events = EPOLLOUT, .data.ptr = c };

	c->fd = socket(lg.target->ai_family,
	    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		err(111, "socket");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	c->wait = WAIT_CONNECT;
	c->watched = EPOLLOUT;
	c->active_at = lg.now;
	if (connect(c->fd, lg.target->ai_addr, lg.target->ai_addrlen) != 0 &&
	    errno != EINPROGRESS) {
		lg.stats->connect_failures++;
		conn_restart(c, false);
		return;
	}
	if (epoll_ctl(lg.epoll_fd, EPOLL_CTL_ADD, c->fd, &ev) != 0)
		err(111, "epoll_ctl");
}

void
conn_settle(struct conn *c)
{
	bool quitting = c->wait == WAIT_QUIT;

	if (c->fd >= 0 && !c->broken)
		conn_write(c);
	if (c->broken)
		conn_restart(c, quitting);
}

void
conn_event(struct conn *c, uint32_t events)
{
	if (c->wait == WAIT_CONNECT)
		conn_connected(c);
	else if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
		conn_readable(c);
	conn_touch(c);
}
