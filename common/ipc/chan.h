/* SPDX-License-Identifier: ISC */
/*
 * chan: one end of a channel between two Pinnace processes, on an event base.
 *
 * Sending queues a frame; all frames of one turn of the event loop leave
 * together. Receiving calls one function per message type from a table of the
 * owner. Before a handler runs, the frame was checked: known type, this peer
 * may send it and this role may get it, number of descriptors, exact decoding.
 * Anything else closes the channel and calls on_close, as end of file does.
 *
 * Descriptors given to a send belong to the channel from then on. Descriptors
 * of a received frame belong to the channel until the handler takes them.
 */
#ifndef COMMON_IPC_CHAN_H
#define COMMON_IPC_CHAN_H

#include "common/ipc/ipc.h"

struct event_base;
struct chan;

/* m points to the decoded struct of the message's type; its views end with
 * the call. */
typedef void chan_handler_fn(struct chan *c, void *arg, const void *m);

struct chan_ops {
	chan_handler_fn *on[IPC_TYPES]; /* NULL: not accepted here */
	/* The channel is unusable; why is a sentence. The owner calls
	 * chan_free(), now or later. Comes from the event loop, never from
	 * within a send; sends before it do nothing. */
	void (*on_close)(struct chan *c, void *arg, const char *why);
	/* Credits came; may be NULL. */
	void (*on_credit)(struct chan *c, void *arg);
	/* All frames of one read have been handled; may be NULL. */
	void (*on_batch_end)(struct chan *c, void *arg);
};

/* self and peer: one enum ipc_role bit each. Takes fd. ops stays the
 * caller's and must outlive the channel. Aborts without memory. */
struct chan *chan_new(struct event_base *base, int fd, enum ipc_role self,
    enum ipc_role peer, unsigned peer_index, const struct chan_ops *ops,
    void *arg);
/* Frees and sets NULL; safe inside a handler of this very channel. */
void chan_free(struct chan **c);
unsigned chan_peer_index(const struct chan *c);
enum ipc_role chan_peer_role(const struct chan *c);
bool chan_is_open(const struct chan *c);
/* Replaces handlers and argument. */
void chan_ops_set(struct chan *c, const struct chan_ops *ops, void *arg);

/* The descriptor of the frame being handled, now the caller's; -1 if taken. */
int chan_take_fd(struct chan *c);

/* Bytes queued and not yet written. */
size_t chan_backlog(const struct chan *c);
/* Sends what is queued without waiting for the end of the turn, as far as the
 * socket takes it. */
void chan_flush(struct chan *c);

/* Lets the peer send n more frames that cost a credit. */
void chan_credit_grant(struct chan *c, uint32_t n);
/* Credits left for sending. */
uint32_t chan_credits(const struct chan *c);
/* Takes one; false if there is none. */
bool chan_credit_take(struct chan *c);

/*
 * ipc_send_commit(c, &m) and so on, one for each message; for messages with a
 * descriptor: ipc_send_peer(c, &m, fd). On a closed channel they do nothing
 * but close fd.
 */
void chan_send(struct chan *c, enum ipc_type type, const void *m,
    void (*encode)(struct wr *w, const void *m), int fd);

#define IPC_SENDER_0(NAME, tag) \
	void ipc_send_##tag(struct chan *c, const struct ipc_##tag *m);
#define IPC_SENDER_1(NAME, tag) \
	void ipc_send_##tag(struct chan *c, const struct ipc_##tag *m, int fd);
#define IPC_SENDER(NAME, tag, from, to, fds) IPC_SENDER_##fds(NAME, tag)
IPC_MESSAGES(IPC_SENDER)
#undef IPC_SENDER
#undef IPC_SENDER_0
#undef IPC_SENDER_1

#endif
