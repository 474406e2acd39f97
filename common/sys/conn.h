/* SPDX-License-Identifier: ISC */
/*
 * conn: a non-blocking stream connection with an input and an output buffer
 * and one deadline, on an event base. Protocol code consumes conn_in() and
 * adds to conn_out(); it never sees the socket.
 *
 * What a callback added to the output is sent when the callback returns, in
 * one write. Outside callbacks call conn_flush().
 *
 * Every callback may call conn_free() on its own connection.
 */
#ifndef COMMON_SYS_CONN_H
#define COMMON_SYS_CONN_H

#include "common/base/buf.h"

struct event_base;
struct conn;

struct conn_ops {
	/* connect() succeeded (conn_connect only). */
	void (*on_connected)(struct conn *c, void *arg);
	/* Input has grown. Unconsumed bytes stay; if the input is full, reading
	 * stops until some are consumed and conn_resume() is called. */
	void (*on_data)(struct conn *c, void *arg);
	/* The output is empty again after it could not be written at once. May
	 * be NULL. */
	void (*on_drain)(struct conn *c, void *arg);
	/* The peer sends no more, but may still read: the owner may go on
	 * writing and then ends with conn_linger() or conn_free(). NULL: this
	 * is on_close with err 0. */
	void (*on_eof)(struct conn *c, void *arg);
	/* End of file (err 0) or an error (errno). No more callbacks follow; the
	 * owner calls conn_free(). Input not yet consumed may be looked at. */
	void (*on_close)(struct conn *c, void *arg, int err);
	/* The deadline passed. It is off now. */
	void (*on_timeout)(struct conn *c, void *arg);
};

/* Takes fd, a connected socket. in_cap and out_cap bound the buffers, in
 * bytes. NULL without memory (fd is closed then). */
struct conn *conn_new(struct event_base *base, int fd,
    const struct conn_ops *ops, void *arg, size_t in_cap, size_t out_cap);
struct sockaddr;
/*
 * Starts a connect; answers with on_connected, on_close or, if a deadline is
 * set, on_timeout. source may be NULL. NULL with errno on immediate failure.
 */
struct conn *conn_connect(struct event_base *base, const struct sockaddr *to,
    unsigned to_len, const struct sockaddr *source, unsigned source_len,
    const struct conn_ops *ops, void *arg, size_t in_cap, size_t out_cap);
/* Closes, frees, sets NULL. Unsent output is lost. */
void conn_free(struct conn **c);
/* The same with a reset: what the peer has not taken is thrown away. Else a
 * peer that reads nothing holds the kernel's copy of it, and the connection,
 * for as long as it likes. */
void conn_reset(struct conn **c);
struct buf *conn_in(struct conn *c);
struct buf *conn_out(struct conn *c);
int conn_fd(const struct conn *c);
/* Acknowledges at once what was read, where no answer will do so: a peer with
 * Nagle's algorithm holds the end of its message back until then. */
void conn_ack_now(struct conn *c);
/* Sends what the socket takes. Errors arrive as on_close, later. */
void conn_flush(struct conn *c);
/* Stop and go on reading; conn_resume() also offers input that is there
 * already, from the event loop. */
void conn_pause(struct conn *c);
void conn_resume(struct conn *c);
/* ms from now; 0 turns it off. Cheap to call for every command. */
void conn_deadline_set(struct conn *c, int64_t ms);
/* Closes once the output is sent or after ms; the owner has let go of it: no
 * more callbacks. What the peer goes on sending is thrown away until then,
 * since closing on it would reset the connection and might cost the peer our
 * last words. Sets NULL. */
void conn_linger(struct conn **c, int64_t ms);

#endif
