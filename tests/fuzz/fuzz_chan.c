/* SPDX-License-Identifier: ISC */
/*
 * A channel between any two roles, fed by a hostile peer. First byte: which
 * channel and end. Second byte, bit 0: what follows are whole frames (type,
 * descriptors, u16 length, payload), else pieces of a raw stream (u16 length,
 * descriptors, bytes). Oracles: only frames that this peer may send to this
 * role reach a handler, and what they hold encodes to the same bytes; the
 * first bad frame closes, once, and nothing is handled after it; pieces of
 * one byte give the same; no descriptor is left open.
 */
#include <sys/socket.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/ipc/chan.h"
#include "tests/fuzz/fuzz.h"

#define FDS 3

static const struct {
	enum ipc_role self, peer;
} ends[] = {
	{ R_MASTER, R_SMTPD }, { R_SMTPD, R_MASTER },
	{ R_MASTER, R_QMGR }, { R_QMGR, R_MASTER },
	{ R_MASTER, R_SMTP }, { R_SMTP, R_MASTER },
	{ R_MASTER, R_RESOLVER }, { R_RESOLVER, R_MASTER },
	{ R_MASTER, R_BOUNCE }, { R_BOUNCE, R_MASTER },
	{ R_MASTER, R_ACCT }, { R_ACCT, R_MASTER },
	{ R_QMGR, R_SMTPD }, { R_SMTPD, R_QMGR },
	{ R_QMGR, R_SMTP }, { R_SMTP, R_QMGR },
	{ R_QMGR, R_RESOLVER }, { R_RESOLVER, R_QMGR },
	{ R_QMGR, R_BOUNCE }, { R_BOUNCE, R_QMGR },
	{ R_QMGR, R_ACCT }, { R_ACCT, R_QMGR },
	{ R_QMGR, R_CTL }, { R_CTL, R_QMGR },
	{ R_QMGR, R_PICKUP }, { R_PICKUP, R_QMGR },
	{ R_MASTER, R_PICKUP }, { R_PICKUP, R_MASTER },
};

struct run {
	struct event_base *base;
	struct chan *chan;
	enum ipc_role self, peer;
	int fd;             /* ours */
	struct buf seen;    /* what the handlers got, encoded again */
	uint64_t credits;
	unsigned closed;
	bool take;
};

#define HANDLER(NAME, tag, from, to, fds)                                     \
	static void on_##tag(struct chan *c, void *arg, const void *m)        \
	{                                                                     \
		struct run *r = arg;                                          \
		struct wr w;                                                  \
		int fd = r->take ? chan_take_fd(c) : -1;                      \
		must(r->closed == 0);                                         \
		must(((from) & (unsigned)r->peer) != 0 &&                     \
		    ((to) & (unsigned)r->self) != 0);                         \
		must(!r->take || (fd >= 0) == ((fds) == 1));                  \
		if (fd >= 0)                                                  \
			close(fd);                                            \
		wr_init_buf(&w, &r->seen);                                    \
		wr_u16(&w, IPC_##NAME);                                       \
		ipc_##tag##_encode(&w, m);                                    \
		must(!w.failed);                                              \
	}
IPC_MESSAGES(HANDLER)

static void
on_close(struct chan *c, void *arg, const char *why)
{
	struct run *r = arg;

	(void)c;
	must(why != NULL && why[0] != '\0');
	r->closed++;
}

#define ROW(NAME, tag, from, to, fds) [IPC_##NAME] = on_##tag,
static const struct chan_ops ops = {
	.on = { IPC_MESSAGES(ROW) },
	.on_close = on_close,
};

static void
pump(struct run *r)
{
	for (int i = 0; i < 3; i++)
		event_base_loop(r->base, EVLOOP_NONBLOCK);
}

static unsigned
fds_count(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void
piece_send(struct run *r, const void *p, size_t n, unsigned nfds)
{
	union {
		struct cmsghdr align;
		char mem[CMSG_SPACE(sizeof(int) * FDS)];
	} control = { .mem = { 0 } };
	struct iovec iov = { (void *)(uintptr_t)p, n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (nfds > 0) {
		struct cmsghdr *cm;

		msg.msg_control = control.mem;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
		cm = CMSG_FIRSTHDR(&msg);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		for (unsigned i = 0; i < nfds; i++)
			memcpy(CMSG_DATA(cm) + i * sizeof(int),
			    &(int){ STDERR_FILENO }, sizeof(int));
	}
	if (n > 0)
		(void)!sendmsg(r->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	pump(r);
}

static void
bytes_send(struct run *r, struct sv v, unsigned nfds, bool split)
{
	size_t most = split ? 1 : v.n;

	for (size_t i = 0; i < v.n && i < 64 && split; i++) {
		piece_send(r, v.p + i, 1, i == 0 ? nfds : 0);
		most = i + 1;
	}
	if (!split)
		piece_send(r, v.p, v.n, nfds);
	else
		piece_send(r, v.p + most, v.n - most, 0);
}

static void
feed(struct run *r, struct rd *in, bool frames, bool split)
{
	while (in->n > 0 && !in->failed) {
		unsigned char mem[8 + 65536];
		unsigned type = frames ? rd_u8(in) : 0;
		unsigned nfds = rd_u8(in) % (FDS + 1u);
		struct sv v = rd_bytes(in, rd_u16(in));
		struct wr w;

		if (in->failed)
			return;
		if (!frames) {
			if (v.n > 0)
				bytes_send(r, v, nfds, split);
			continue;
		}
		wr_init(&w, mem, sizeof(mem));
		wr_u32(&w, (uint32_t)v.n + 8);
		wr_u16(&w, (uint16_t)type);
		wr_u16(&w, (uint16_t)nfds);
		wr_bytes(&w, v.p, v.n);
		bytes_send(r, sv_make(mem, w.n), nfds, split);
	}
}

static void
run_all(struct run *r, const uint8_t *data, size_t size, bool split)
{
	struct rd in;
	unsigned before = fds_count();
	int sp[2];

	memset(r, 0, sizeof(*r));
	r->self = ends[data[0] % (sizeof(ends) / sizeof(ends[0]))].self;
	r->peer = ends[data[0] % (sizeof(ends) / sizeof(ends[0]))].peer;
	r->take = (data[1] & 2) != 0;
	buf_init(&r->seen, 1u << 24);
	r->base = event_base_new();
	must(r->base != NULL);
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sp) == 0);
	r->fd = sp[0];
	r->chan = chan_new(r->base, sp[1], r->self, r->peer, 0, &ops, r);
	rd_init(&in, data + 2, size - 2);
	feed(r, &in, (data[1] & 1) != 0, split);
	must(r->closed <= 1 && (r->closed == 0) == chan_is_open(r->chan));
	r->credits = chan_credits(r->chan);
	close(r->fd);
	pump(r);
	must(r->closed == 1);
	chan_free(&r->chan);
	event_base_free(r->base);
	must(fds_count() == before);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run whole, split;

	if (size < 3 || size > 16384)
		return 0;
	run_all(&whole, data, size, false);
	run_all(&split, data, size, true);
	must(sv_eq(buf_sv(&whole.seen), buf_sv(&split.seen)));
	must(whole.credits == split.credits);
	buf_fini(&whole.seen);
	buf_fini(&split.seen);
	return 0;
}
