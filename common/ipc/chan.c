/* SPDX-License-Identifier: ISC */
#include <sys/socket.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/ipc/chan.h"

/*
 * Frame header: u32 length of all, u16 type, u16 descriptors. The largest
 * frame is a RESULT for 100,000 recipients.
 */
#define FRAME_HEAD   8
#define FRAME_MAX    (65u << 20)
#define OUT_MAX      (256u << 20) /* a peer that lets this pile up is broken */
#define READ_CHUNK   65536
#define FDS_PER_READ 64           /* descriptors of one recvmsg */
#define FDS_WAITING  256          /* received, their frame not complete yet */

/* A descriptor waits for the byte of the stream that it goes with. */
struct out_fd {
	uint64_t at;   /* stream offset of its frame */
	int fd;
};

struct chan {
	struct event_base *base;
	struct event *ev_read, *ev_write, *ev_flush;
	const struct chan_ops *ops;
	void *arg;
	int fd;
	enum ipc_role self, peer;
	unsigned peer_index;
	struct buf in, out;
	uint64_t out_at;         /* stream offset of the first byte in out */
	struct out_fd *out_fds;
	size_t out_nfds, out_fds_size;
	int in_fds[FDS_WAITING];
	size_t in_nfds;
	int frame_fd;            /* of the frame being handled */
	uint32_t credits;
	bool write_pending, flush_pending;
	bool busy;               /* in a handler */
	bool mute;               /* the peer takes nothing any more */
	bool dead;               /* closed; why: on_close is not called yet */
	const char *why;
	bool free_me;            /* chan_free() came during a handler */
};

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);

static void
chan_destroy(struct chan *c)
{
	event_free(c->ev_read);
	event_free(c->ev_write);
	event_free(c->ev_flush);
	for (size_t i = 0; i < c->out_nfds; i++)
		close(c->out_fds[i].fd);
	for (size_t i = 0; i < c->in_nfds; i++)
		close(c->in_fds[i]);
	if (c->frame_fd >= 0)
		close(c->frame_fd);
	/* a child that writes a checkpoint has copies of all channels: the
	 * other end must not hear of it only when that child is through */
	(void)shutdown(c->fd, SHUT_RDWR);
	close(c->fd);
	free(c->out_fds);
	buf_fini(&c->in);
	buf_fini(&c->out);
	free(c);
}

struct chan *
chan_new(struct event_base *base, int fd, enum ipc_role self,
    enum ipc_role peer, unsigned peer_index, const struct chan_ops *ops,
    void *arg)
{
	struct chan *c = calloc(1, sizeof(*c));

	if (c == NULL)
		mem_exhausted();
	c->base = base;
	c->fd = fd;
	c->self = self;
	c->peer = peer;
	c->peer_index = peer_index;
	c->ops = ops;
	c->arg = arg;
	c->frame_fd = -1;
	buf_init(&c->in, (size_t)FRAME_MAX + READ_CHUNK);
	buf_init(&c->out, OUT_MAX);
	evutil_make_socket_nonblocking(fd);
	c->ev_read = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, c);
	c->ev_write = event_new(base, fd, EV_WRITE, on_writable, c);
	c->ev_flush = event_new(base, -1, 0, on_writable, c);
	if (c->ev_read == NULL || c->ev_write == NULL || c->ev_flush == NULL)
		mem_exhausted();
	event_add(c->ev_read, NULL);
	return c;
}

void
chan_free(struct chan **cp)
{
	struct chan *c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	c->dead = true;
	c->free_me = true;
	event_del(c->ev_read);
	event_del(c->ev_write);
	event_del(c->ev_flush);
	if (!c->busy)
		chan_destroy(c);
}

unsigned
chan_peer_index(const struct chan *c)
{
	return c->peer_index;
}

enum ipc_role
chan_peer_role(const struct chan *c)
{
	return c->peer;
}

bool
chan_is_open(const struct chan *c)
{
	return !c->dead;
}

void
chan_ops_set(struct chan *c, const struct chan_ops *ops, void *arg)
{
	c->ops = ops;
	c->arg = arg;
}

int
chan_take_fd(struct chan *c)
{
	int fd = c->frame_fd;

	c->frame_fd = -1;
	return fd;
}

size_t
chan_backlog(const struct chan *c)
{
	return buf_len(&c->out);
}

/*
 * Stops all traffic. The owner is told by the event loop, never from within a
 * send: whoever sends may be in the middle of anything.
 */
static void
chan_fail(struct chan *c, const char *why)
{
	if (c->dead)
		return;
	c->dead = true;
	c->why = why;
	event_del(c->ev_read);
	event_del(c->ev_write);
	event_active(c->ev_flush, EV_WRITE, 0);
}

static void
chan_close_tell(struct chan *c)
{
	const char *why = c->why;

	if (why == NULL)
		return;
	c->why = NULL;
	c->busy = true;
	c->ops->on_close(c, c->arg, why);
	c->busy = false;
	if (c->free_me)
		chan_destroy(c);
}

/*
 * A process that has no memory for its channel is of no use: it ends and is
 * started again. The master does not end; it starts the peer anew. before:
 * mem_failures() then.
 */
static void
chan_fail_or_exhausted(struct chan *c, unsigned before, const char *why)
{
	if (c->self != R_MASTER && mem_failures() != before)
		mem_exhausted();
	chan_fail(c, why);
}

/* ---- sending ---- */

static void
out_fd_push(struct chan *c, int fd)
{
	if (c->out_nfds == c->out_fds_size) {
		size_t n = c->out_fds_size == 0 ? 8 : c->out_fds_size * 2;

		c->out_fds = reallocarray(c->out_fds, n, sizeof(*c->out_fds));
		if (c->out_fds == NULL)
			mem_exhausted();
		c->out_fds_size = n;
	}
	c->out_fds[c->out_nfds++] =
	    (struct out_fd){ c->out_at + buf_len(&c->out), fd };
}

static void
flush_later(struct chan *c)
{
	if (c->write_pending || c->flush_pending)
		return;
	c->flush_pending = true;
	event_active(c->ev_flush, EV_WRITE, 0);
}

void
chan_send(struct chan *c, enum ipc_type type, const void *m,
    void (*encode)(struct wr *w, const void *m), int fd)
{
	unsigned failures = mem_failures();
	size_t start;
	struct wr w, head;

	if (c->dead || c->mute) {
		if (fd >= 0)
			close(fd);
		return;
	}
	if (buf_reserve(&c->out, FRAME_HEAD) == NULL) {
		if (fd >= 0)
			close(fd);
		chan_fail_or_exhausted(c, failures,
		    "the peer does not read its channel");
		return;
	}
	if (fd >= 0)
		out_fd_push(c, fd);
	start = buf_len(&c->out);
	buf_commit(&c->out, FRAME_HEAD);
	wr_init_buf(&w, &c->out);
	encode(&w, m);
	if (w.failed || w.n > FRAME_MAX - FRAME_HEAD) {
		chan_fail_or_exhausted(c, failures,
		    "a frame to the peer is too large");
		return;
	}
	wr_init(&head, c->out.mem + c->out.head + start, FRAME_HEAD);
	wr_u32(&head, (uint32_t)(w.n + FRAME_HEAD));
	wr_u16(&head, (uint16_t)type);
	wr_u16(&head, fd >= 0 ? 1 : 0);
	flush_later(c);
}

/*
 * One sendmsg: up to the next descriptor's frame, or, when that frame is at
 * the front, from it up to the one after, with the descriptor.
 */
static ssize_t
send_some(struct chan *c)
{
	union {
		struct cmsghdr align;
		char mem[CMSG_SPACE(sizeof(int))];
	} control = { .mem = { 0 } };
	struct sv out = buf_sv(&c->out);
	struct iovec iov = { .iov_len = out.n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	size_t next = 0;
	ssize_t n;

	iov.iov_base = c->out.mem + c->out.head;
	if (c->out_nfds > 0 && c->out_fds[0].at == c->out_at) {
		struct cmsghdr *cm;

		msg.msg_control = control.mem;
		msg.msg_controllen = sizeof(control.mem);
		cm = CMSG_FIRSTHDR(&msg);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cm), &c->out_fds[0].fd, sizeof(int));
		next = 1;
	}
	if (c->out_nfds > next)
		iov.iov_len = (size_t)(c->out_fds[next].at - c->out_at);
	n = sendmsg(c->fd, &msg, MSG_NOSIGNAL);
	if (n > 0 && next == 1) {
		close(c->out_fds[0].fd);
		c->out_nfds--;
		memmove(c->out_fds, c->out_fds + 1,
		    c->out_nfds * sizeof(*c->out_fds));
	}
	return n;
}

static void
out_drop(struct chan *c)
{
	for (size_t i = 0; i < c->out_nfds; i++)
		close(c->out_fds[i].fd);
	c->out_nfds = 0;
	buf_fini(&c->out);
}

void
chan_flush(struct chan *c)
{
	while (!c->dead && buf_len(&c->out) > 0) {
		ssize_t n = send_some(c);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			if (!c->write_pending)
				event_add(c->ev_write, NULL);
			c->write_pending = true;
			return;
		}
		if (n < 0 && errno != EPIPE && errno != ECONNRESET) {
			chan_fail(c, strerror(errno));
			return;
		}
		if (n < 0) {
			/* what it sent before it went is still read; behind
			 * that comes the end of file */
			c->mute = true;
			out_drop(c);
			return;
		}
		buf_consume(&c->out, (size_t)n);
		c->out_at += (uint64_t)n;
	}
	buf_trim(&c->out, 1u << 20);
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct chan *c = arg;

	(void)fd;
	(void)what;
	c->write_pending = false;
	c->flush_pending = false;
	if (c->dead)
		chan_close_tell(c);
	else
		chan_flush(c);
}

/* ---- credits ---- */

void
chan_credit_grant(struct chan *c, uint32_t n)
{
	ipc_send_credit(c, &(struct ipc_credit){ .n = n });
}

uint32_t
chan_credits(const struct chan *c)
{
	return c->credits;
}

bool
chan_credit_take(struct chan *c)
{
	if (c->credits == 0)
		return false;
	c->credits--;
	return true;
}

/* ---- receiving ---- */

static bool
fds_receive(struct chan *c, struct msghdr *msg)
{
	struct cmsghdr *cm;
	bool ok = (msg->msg_flags & MSG_CTRUNC) == 0;

	for (cm = CMSG_FIRSTHDR(msg); cm != NULL; cm = CMSG_NXTHDR(msg, cm)) {
		size_t n;

		if (cm->cmsg_level != SOL_SOCKET ||
		    cm->cmsg_type != SCM_RIGHTS)
			continue;
		n = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cm) + i * sizeof(int),
			    sizeof(fd));
			if (c->in_nfds < FDS_WAITING) {
				c->in_fds[c->in_nfds++] = fd;
			} else {
				close(fd);
				ok = false;
			}
		}
	}
	return ok;
}

/* Bytes read, 0 for nothing now, -1 when the channel was closed. */
static ssize_t
read_some(struct chan *c)
{
	union {
		struct cmsghdr align;
		char mem[CMSG_SPACE(sizeof(int) * FDS_PER_READ)];
	} control;
	struct iovec iov = { .iov_len = READ_CHUNK };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.mem,
		.msg_controllen = sizeof(control.mem),
	};
	unsigned failures = mem_failures();
	ssize_t n;

	iov.iov_base = buf_reserve(&c->in, READ_CHUNK);
	if (iov.iov_base == NULL) {
		chan_fail_or_exhausted(c, failures, "out of memory");
		return -1;
	}
	do
		n = recvmsg(c->fd, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	if (n <= 0) {
		chan_fail(c, n == 0 ? "closed by the peer" : strerror(errno));
		return -1;
	}
	buf_commit(&c->in, (size_t)n);
	if (!fds_receive(c, &msg)) {
		chan_fail(c, "too many descriptors");
		return -1;
	}
	return n;
}

static bool
frame_fd_get(struct chan *c, unsigned nfds)
{
	c->frame_fd = -1;
	if (nfds == 0)
		return true;
	if (c->in_nfds == 0)
		return false;
	c->frame_fd = c->in_fds[0];
	c->in_nfds--;
	memmove(c->in_fds, c->in_fds + 1, c->in_nfds * sizeof(int));
	return true;
}

static void
frame_handle(struct chan *c, unsigned type, union ipc_any *m)
{
	if (type == IPC_CREDIT) {
		uint32_t room = UINT32_MAX - c->credits;

		c->credits += m->credit.n < room ? m->credit.n : room;
		if (c->ops->on_credit != NULL)
			c->ops->on_credit(c, c->arg);
	} else {
		c->ops->on[type](c, c->arg, m);
	}
	if (c->frame_fd >= 0)
		close(c->frame_fd);
	c->frame_fd = -1;
}

/* Checks and handles one frame; a sentence if it is not acceptable. */
static const char *
frame_take(struct chan *c, unsigned type, unsigned nfds, struct rd *body)
{
	const struct ipc_info *info = ipc_info(type);
	union ipc_any m;

	if (info == NULL)
		return "unknown frame type";
	if ((info->from & c->peer) == 0 || (info->to & c->self) == 0)
		return "a frame that this peer may not send";
	if (type != IPC_CREDIT && c->ops->on[type] == NULL)
		return "a frame that is not expected here";
	if (nfds != info->nfds || !frame_fd_get(c, nfds))
		return "a frame with a wrong number of descriptors";
	memset(&m, 0, sizeof(m));
	if (!info->decode(body, &m))
		return "a frame that does not decode";
	frame_handle(c, type, &m);
	return NULL;
}

/* Handles all complete frames. */
static void
frames_handle(struct chan *c)
{
	while (!c->dead) {
		struct rd r, body;
		uint32_t len;
		unsigned type, nfds;
		const char *why;

		rd_init(&r, buf_data(&c->in), buf_len(&c->in));
		len = rd_u32(&r);
		type = rd_u16(&r);
		nfds = rd_u16(&r);
		if (r.failed)
			return;
		if (len < FRAME_HEAD || len > FRAME_MAX) {
			chan_fail(c, "a frame of impossible length");
			return;
		}
		if (len > buf_len(&c->in))
			return;
		rd_init(&body, buf_data(&c->in) + FRAME_HEAD,
		    len - FRAME_HEAD);
		why = frame_take(c, type, nfds, &body);
		if (why != NULL) {
			chan_fail(c, why);
			return;
		}
		buf_consume(&c->in, len);
	}
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct chan *c = arg;

	(void)fd;
	(void)what;
	if (read_some(c) <= 0)
		return;
	c->busy = true;
	frames_handle(c);
	if (!c->dead && c->ops->on_batch_end != NULL)
		c->ops->on_batch_end(c, c->arg);
	c->busy = false;
	if (c->free_me) {
		chan_destroy(c);
		return;
	}
	if (!c->dead)
		buf_trim(&c->in, 1u << 20);
}

/* ---- the senders ---- */

#define IPC_SENDER_0(NAME, tag)                                               \
	void ipc_send_##tag(struct chan *c, const struct ipc_##tag *m)        \
	{                                                                     \
		chan_send(c, IPC_##NAME, m, tag##_encode_any, -1);            \
	}
#define IPC_SENDER_1(NAME, tag)                                               \
	void ipc_send_##tag(struct chan *c, const struct ipc_##tag *m, int fd) \
	{                                                                     \
		chan_send(c, IPC_##NAME, m, tag##_encode_any, fd);            \
	}
#define IPC_SENDER(NAME, tag, from, to, fds)                                  \
	static void tag##_encode_any(struct wr *w, const void *m)             \
	{                                                                     \
		ipc_##tag##_encode(w, m);                                     \
	}                                                                     \
	IPC_SENDER_##fds(NAME, tag)
IPC_MESSAGES(IPC_SENDER)
