/* SPDX-License-Identifier: ISC */
#include <sys/socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/sys/clock.h"
#include "common/sys/conn.h"

#define READ_CHUNK 16384  /* most commands come in one read of this size */
/* Of a peer that goes on sending, so much is read before it is reset. */
#define LINGER_BYTES (4u << 20)

struct conn {
	struct event_base *base;
	struct event *ev_read, *ev_write, *ev_timer;
	const struct conn_ops *ops;
	void *arg;
	int fd;
	struct buf in, out;
	struct mono deadline;     /* us 0: none */
	struct mono timer_at;     /* when ev_timer fires; us 0: not pending */
	int error;                /* to be reported by on_close */
	bool connecting, paused, write_pending;
	bool eof;                 /* read; nothing more comes in */
	bool lingering;           /* the owner has let go */
	size_t wasted;            /* bytes read while lingering */
	bool failed;              /* on_close was or will be called */
	bool busy;                /* in a callback */
	bool free_me;
};

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);
static void on_timer(evutil_socket_t fd, short what, void *arg);

static void
conn_destroy(struct conn *c)
{
	if (c->ev_read != NULL)
		event_free(c->ev_read);
	if (c->ev_write != NULL)
		event_free(c->ev_write);
	if (c->ev_timer != NULL)
		event_free(c->ev_timer);
	close(c->fd);
	buf_fini(&c->in);
	buf_fini(&c->out);
	free(c);
}

static struct conn *
conn_make(struct event_base *base, int fd, const struct conn_ops *ops,
    void *arg, size_t in_cap, size_t out_cap)
{
	struct conn *c = calloc(1, sizeof(*c));
	int one = 1;

	if (c == NULL) {
		close(fd);
		return NULL;
	}
	c->base = base;
	c->fd = fd;
	c->ops = ops;
	c->arg = arg;
	buf_init(&c->in, in_cap);
	buf_init(&c->out, out_cap);
	evutil_make_socket_nonblocking(fd);
	/* fails on sockets that are not TCP, which is fine */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->ev_read = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, c);
	c->ev_write = event_new(base, fd, EV_WRITE, on_writable, c);
	c->ev_timer = event_new(base, -1, 0, on_timer, c);
	if (c->ev_read == NULL || c->ev_write == NULL || c->ev_timer == NULL) {
		conn_destroy(c);
		errno = ENOMEM;
		return NULL;
	}
	return c;
}

struct conn *
conn_new(struct event_base *base, int fd, const struct conn_ops *ops,
    void *arg, size_t in_cap, size_t out_cap)
{
	struct conn *c = conn_make(base, fd, ops, arg, in_cap, out_cap);

	if (c != NULL)
		event_add(c->ev_read, NULL);
	return c;
}

struct conn *
conn_connect(struct event_base *base, const struct sockaddr *to,
    unsigned to_len, const struct sockaddr *source, unsigned source_len,
    const struct conn_ops *ops, void *arg, size_t in_cap, size_t out_cap)
{
	int fd = socket(to->sa_family,
	    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct conn *c;

	if (fd < 0)
		return NULL;
	if ((source != NULL && bind(fd, source, source_len) != 0) ||
	    (connect(fd, to, to_len) != 0 && errno != EINPROGRESS)) {
		int err = errno;

		close(fd);
		errno = err;
		return NULL;
	}
	c = conn_make(base, fd, ops, arg, in_cap, out_cap);
	if (c == NULL)
		return NULL;
	c->connecting = true;
	c->write_pending = true;
	event_add(c->ev_write, NULL);
	return c;
}

void
conn_free(struct conn **cp)
{
	struct conn *c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	c->free_me = true;
	event_del(c->ev_read);
	event_del(c->ev_write);
	event_del(c->ev_timer);
	if (!c->busy)
		conn_destroy(c);
}

void
conn_reset(struct conn **cp)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	/* fails on sockets that are not TCP, which have nothing to hold */
	if (*cp != NULL)
		(void)setsockopt((*cp)->fd, SOL_SOCKET, SO_LINGER, &now,
		    sizeof(now));
	conn_free(cp);
}

struct buf *
conn_in(struct conn *c)
{
	return &c->in;
}

struct buf *
conn_out(struct conn *c)
{
	return &c->out;
}

int
conn_fd(const struct conn *c)
{
	return c->fd;
}

void
conn_ack_now(struct conn *c)
{
	int one = 1;

	/* fails on sockets that are not TCP, which is fine */
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof(one));
}

/* Remembers the error; on_close is called from the event loop. */
static void
conn_fail_later(struct conn *c, int err)
{
	if (c->failed)
		return;
	c->failed = true;
	c->error = err;
	event_del(c->ev_read);
	event_active(c->ev_write, EV_WRITE, 0);
}

/* Calls back; true if the connection is still there afterwards. */
static bool
conn_call(struct conn *c, void (*fn)(struct conn *c, void *arg))
{
	bool outer = c->busy;

	c->busy = true;
	fn(c, c->arg);
	c->busy = outer;
	if (c->free_me && !outer) {
		conn_destroy(c);
		return false;
	}
	return !c->free_me;
}

static void
conn_closed(struct conn *c)
{
	c->busy = true;
	c->failed = true;
	event_del(c->ev_read);
	event_del(c->ev_write);
	event_del(c->ev_timer);
	if (c->lingering)
		c->free_me = true;
	else
		c->ops->on_close(c, c->arg, c->error);
	c->busy = false;
	if (c->free_me)
		conn_destroy(c);
}

void
conn_flush(struct conn *c)
{
	while (!c->failed && !c->connecting && buf_len(&c->out) > 0) {
		ssize_t n = send(c->fd, buf_data(&c->out), buf_len(&c->out),
		    MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			if (!c->write_pending)
				event_add(c->ev_write, NULL);
			c->write_pending = true;
			return;
		}
		if (n < 0) {
			conn_fail_later(c, errno);
			return;
		}
		buf_consume(&c->out, (size_t)n);
	}
	buf_trim(&c->out, 0); /* 10,000 idle ones need no room */
}

static void
conn_connect_done(struct conn *c)
{
	int err = 0;
	socklen_t len = sizeof(err);

	c->connecting = false;
	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0)
		err = errno;
	if (err != 0 || (c->lingering && buf_len(&c->out) == 0)) {
		c->error = err;
		conn_closed(c);
		return;
	}
	if (!c->paused)
		event_add(c->ev_read, NULL);
	if (!c->lingering && c->ops->on_connected != NULL &&
	    !conn_call(c, c->ops->on_connected))
		return;
	conn_flush(c);
}

/* All is sent. With input unread, close() would be a reset. */
static void
linger_drain(struct conn *c)
{
	char byte;

	shutdown(c->fd, SHUT_WR);
	if (recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0)
		conn_closed(c);
	else
		event_add(c->ev_read, NULL);
}

static void
linger_read(struct conn *c)
{
	char waste[4096];
	ssize_t n = read(c->fd, waste, sizeof(waste));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == 0 && buf_len(&c->out) > 0) {
		/* half closed: it may still read our last words */
		c->eof = true;
		event_del(c->ev_read);
		return;
	}
	if (n <= 0 || (c->wasted += (size_t)n) > LINGER_BYTES)
		conn_closed(c);
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	bool drained;

	(void)fd;
	(void)what;
	c->write_pending = false;
	if (c->failed) {
		conn_closed(c);
		return;
	}
	if (c->connecting) {
		conn_connect_done(c);
		return;
	}
	conn_flush(c);
	drained = !c->failed && buf_len(&c->out) == 0;
	if (drained && c->lingering) {
		linger_drain(c);
		return;
	}
	if (drained && c->ops->on_drain != NULL &&
	    conn_call(c, c->ops->on_drain))
		conn_flush(c);
}

static void
conn_ended(struct conn *c)
{
	c->eof = true;
	if (c->ops->on_eof == NULL) {
		c->error = 0;
		conn_closed(c);
		return;
	}
	event_del(c->ev_read);
	if (conn_call(c, c->ops->on_eof))
		conn_flush(c);
}

static void
conn_offer(struct conn *c)
{
	if (!conn_call(c, c->ops->on_data))
		return;
	buf_trim(&c->in, 0);
	conn_flush(c);
}

/*
 * Reads into the buffer. By way of the stack while little waits there, so that
 * a connection that has sent half a command costs no more than that. As
 * read(), ENOMEM too.
 */
static ssize_t
conn_read(struct conn *c, size_t room)
{
	unsigned char mem[READ_CHUNK], *at;
	size_t want = room < c->in.size ? room : c->in.size;
	ssize_t n;

	if (c->in.size > READ_CHUNK) {
		at = buf_reserve(&c->in, want);
		n = at == NULL ? -1 : read(c->fd, at, want);
		if (at == NULL)
			errno = ENOMEM;
		if (n > 0)
			buf_commit(&c->in, (size_t)n);
		return n;
	}
	n = read(c->fd, mem, room < sizeof(mem) ? room : sizeof(mem));
	if (n > 0 && buf_add(&c->in, mem, (size_t)n) != 0) {
		errno = ENOMEM;
		return -1;
	}
	return n;
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	size_t room = c->in.cap - buf_len(&c->in);
	ssize_t n;

	(void)fd;
	if (c->lingering) {
		linger_read(c);
		return;
	}
	if ((what & EV_READ) != 0 && (what & EV_TIMEOUT) != 0) {
		/* woken by conn_resume() */
		if (buf_len(&c->in) > 0)
			conn_offer(c);
		return;
	}
	if (room == 0) {
		conn_pause(c);
		return;
	}
	n = conn_read(c, room);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == 0) {
		conn_ended(c);
		return;
	}
	if (n < 0) {
		c->error = errno;
		conn_closed(c);
		return;
	}
	conn_offer(c);
}

void
conn_pause(struct conn *c)
{
	c->paused = true;
	event_del(c->ev_read);
}

void
conn_resume(struct conn *c)
{
	if (c->failed)
		return;
	c->paused = false;
	if (c->connecting)
		return;
	if (!c->eof)
		event_add(c->ev_read, NULL);
	if (buf_len(&c->in) > 0)
		event_active(c->ev_read, EV_READ | EV_TIMEOUT, 0);
}

static void
timer_start(struct conn *c)
{
	int64_t us = c->deadline.us - clock_mono().us;
	struct timeval tv;

	if (us < 1000)
		us = 1000;
	tv.tv_sec = us / US_PER_SEC;
	tv.tv_usec = us % US_PER_SEC;
	c->timer_at = c->deadline;
	event_add(c->ev_timer, &tv);
}

/*
 * Deadlines move with every command, so the timer is left alone while it
 * fires early, and set again for the rest when it does.
 */
void
conn_deadline_set(struct conn *c, int64_t ms)
{
	if (ms == 0) {
		c->deadline.us = 0;
		return;
	}
	c->deadline = mono_add_ms(clock_mono(), ms);
	if (c->timer_at.us == 0 || c->timer_at.us > c->deadline.us)
		timer_start(c);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd;
	(void)what;
	c->timer_at.us = 0;
	if (c->deadline.us == 0 || c->failed)
		return;
	if (c->deadline.us > clock_mono().us) {
		timer_start(c);
		return;
	}
	c->deadline.us = 0;
	if (c->lingering) {
		conn_closed(c);
		return;
	}
	if (conn_call(c, c->ops->on_timeout))
		conn_flush(c);
}

void
conn_linger(struct conn **cp, int64_t ms)
{
	struct conn *c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	c->lingering = true;
	conn_flush(c);
	if (c->failed)
		return; /* on_writable will close it */
	conn_deadline_set(c, ms);
	if (buf_len(&c->out) == 0)
		event_active(c->ev_write, EV_WRITE, 0);
	else if (!c->paused && !c->eof)
		event_add(c->ev_read, NULL);
}
