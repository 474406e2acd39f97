/* SPDX-License-Identifier: ISC */
/*
 * One session of the receiver: its life, its replies (at once, later, byte by
 * byte), its reads and writes.
 */
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <bsd/string.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/receiver.h"

#define READ_BYTES    (512 * 1024) /* one read takes at most this */
#define PENDING_BYTES (READ_BYTES + LINE_BYTES)
#define REPLY_BYTES   (1024 * 1024)

static unsigned char read_buffer[PENDING_BYTES];

void
session_mark(struct session *s)
{
	if (s->dirty)
		return;
	s->dirty = true;
	STAILQ_INSERT_TAIL(&rv.dirty, s, dirty_next);
}

struct session *
session_new(int fd, const char *peer)
{
	struct session *s = calloc(1, sizeof(*s));
	struct epoll_event ev = { .events = EPOLLIN };

	if (s == NULL)
		errx(111, "out of memory");
	s->fd = fd;
	strlcpy(s->peer, peer, sizeof(s->peer));
	buf_init(&s->sender, LINE_BYTES);
	buf_init(&s->rcpts, 16 * 1024 * 1024);
	buf_init(&s->args, 16 * 1024 * 1024);
	buf_init(&s->in, PENDING_BYTES);
	buf_init(&s->out, REPLY_BYTES);
	buf_init(&s->held, REPLY_BYTES);
	buf_init(&s->header, HEADER_BYTES + PENDING_BYTES);
	buf_init(&s->whole, opt.size + PENDING_BYTES);
	TAILQ_INSERT_TAIL(&rv.all, s, all_next);
	s->watched = EPOLLIN;
	ev.data.ptr = s;
	if (epoll_ctl(rv.epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0)
		err(111, "epoll_ctl");
	rv.totals.connections++;
	if (++rv.totals.open > rv.totals.max_open)
		rv.totals.max_open = rv.totals.open;
	return s;
}

static void
session_free(struct session *s)
{
	if (s->is_held)
		TAILQ_REMOVE(&rv.held, s, held_next);
	TAILQ_REMOVE(&rv.all, s, all_next);
	close(s->fd);
	rv.totals.open--;
	buf_fini(&s->sender);
	buf_fini(&s->rcpts);
	buf_fini(&s->args);
	buf_fini(&s->in);
	buf_fini(&s->out);
	buf_fini(&s->held);
	buf_fini(&s->header);
	buf_fini(&s->whole);
	free(s);
}

static void
session_watch(struct session *s, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = s };

	if (s->watched == events)
		return;
	s->watched = events;
	epoll_ctl(rv.epoll_fd, EPOLL_CTL_MOD, s->fd, &ev);
}

void
txn_reset(struct session *s)
{
	s->mode = MODE_COMMAND;
	s->has_sender = false;
	s->nrcpts = 0;
	buf_clear(&s->sender);
	buf_clear(&s->rcpts);
	buf_clear(&s->args);
	buf_clear(&s->header);
	buf_clear(&s->whole);
}

/* ---- replies ---- */

static void
put_reply(struct buf *to, int code, const char *enh, struct sv text)
{
	struct sv line;
	bool more;

	if (code >= 500)
		rv.totals.replies_5xx++;
	else if (code >= 400)
		rv.totals.replies_4xx++;
	if (!opt.enhanced || code == 354 || code < 200)
		enh = "";
	do {
		line = sv_cut(&text, '\n');
		more = text.p != NULL;
		kit_must(buf_addf(to, "%d%c%s%s%.*s\r\n", code,
		    more ? '-' : ' ', enh, *enh != '\0' ? " " : "",
		    SV_FMT(line)));
	} while (more);
}

void
reply(struct session *s, int code, const char *enh, const char *text)
{
	put_reply(&s->out, code, enh, sv_from(text));
	if (code == 421)
		s->closing = true;
}

void
reply_fast(struct session *s, struct sv with_enh, struct sv without)
{
	kit_must(buf_add_sv(&s->out, opt.enhanced ? with_enh : without));
}

static void
hold(struct session *s, const struct script_answer *a)
{
	s->held_until = rv.now.us + a->delay_us;
	s->dribble_us = a->dribble_us;
	s->is_held = true;
	TAILQ_INSERT_TAIL(&rv.held, s, held_next);
}

int
obey(struct session *s, const struct script_answer *a, int usual,
    const char *usual_enh, const char *usual_text)
{
	bool later = a->delay_us > 0 || a->dribble_us > 0;
	struct buf *to = later ? &s->held : &s->out;
	int code = a->code != 0 ? a->code : usual;
	bool close_after = a->drop != DROP_NO || code == 421;

	if (a->code == 0 && a->drop == DROP_NO && !later)
		return 0;
	if (a->drop == DROP_BEFORE)
		rv.totals.dropped++;
	else if (a->code != 0)
		put_reply(to, code, a->enh, sv_from(a->text));
	else
		put_reply(to, code, usual_enh, sv_from(usual_text));
	if (a->drop == DROP_AFTER)
		rv.totals.dropped++;
	if (later) {
		s->held_close = close_after;
		hold(s, a);
	} else if (close_after) {
		s->closing = true;
	}
	/* "dot 250 drop" takes the message and loses the reply. */
	return code >= 400 || (a->drop == DROP_BEFORE && a->code == 0) ? 1 : 2;
}

void
ask(enum script_stage stage, const char *subjects, size_t n,
    struct script_answer *a)
{
	script_ask(rv.script, stage, subjects, n, rv.now.us - rv.started.us, a);
}

void
session_greet(struct session *s)
{
	struct script_answer a;
	char text[128];

	snprintf(text, sizeof(text), "%s ESMTP receiver", opt.hostname);
	ask(STAGE_CONNECT, s->peer, 1, &a);
	if (obey(s, &a, 220, "", text) == 0)
		reply(s, 220, "", text);
	session_mark(s);
}

/* ---- reading and writing ---- */

/* Consumes command lines and message bytes until more are needed. */
static size_t
session_consume(struct session *s, const unsigned char *p, size_t n)
{
	size_t done = 0;

	while (done < n && !s->closing && !s->is_held) {
		const unsigned char *nl;
		size_t len;

		if (s->mode == MODE_DATA) {
			len = session_data(s, p + done, n - done);
			done += len;
			if (s->mode == MODE_DATA)
				break;
			continue;
		}
		nl = memchr(p + done, '\n', n - done);
		if (nl == NULL && n - done < LINE_BYTES)
			break;
		if (nl == NULL) {
			reply(s, 421, "4.5.2", "line too long");
			break;
		}
		len = (size_t)(nl - (p + done));
		session_command(s, sv_make(p + done,
		    len > 0 && nl[-1] == '\r' ? len - 1 : len));
		done += len + 1;
		if (!opt.pipelining && done < n && s->mode == MODE_COMMAND)
			rv.totals.early++;
	}
	return done;
}

static void
session_keep(struct session *s, const unsigned char *p, size_t n)
{
	buf_clear(&s->in);
	if (n > 0)
		kit_must(buf_add(&s->in, p, n));
	buf_trim(&s->in, LINE_BYTES);
}

void
session_readable(struct session *s)
{
	size_t kept = buf_len(&s->in), done;
	ssize_t n;

	if (kept > 0)
		memcpy(read_buffer, buf_data(&s->in), kept);
	n = read(s->fd, read_buffer + kept,
	    sizeof(read_buffer) - kept < READ_BYTES ?
	    sizeof(read_buffer) - kept : READ_BYTES);
	session_mark(s);
	if (n <= 0) {
		s->broken = n == 0 || (errno != EAGAIN && errno != EINTR);
		return;
	}
	done = session_consume(s, read_buffer, kept + (size_t)n);
	session_keep(s, read_buffer + done, kept + (size_t)n - done);
	/* A client with Nagle's algorithm holds the rest of the message back
	 * until this much is acknowledged: do not let it wait 40 ms. */
	if (s->mode == MODE_DATA && s->bytes > 0)
		setsockopt(s->fd, IPPROTO_TCP, TCP_QUICKACK, &(int){ 1 },
		    sizeof(int));
}

/* A hold has ended: whatever the client sent meanwhile is looked at now. */
static void
session_resume(struct session *s)
{
	size_t n = buf_len(&s->in), done;

	s->is_held = false;
	TAILQ_REMOVE(&rv.held, s, held_next);
	if (s->held_close)
		s->closing = true;
	if (n == 0)
		return;
	memcpy(read_buffer, buf_data(&s->in), n);
	done = session_consume(s, read_buffer, n);
	session_keep(s, read_buffer + done, n - done);
}

void
session_release(struct session *s)
{
	size_t n = buf_len(&s->held);

	if (s->dribble_us > 0 && n > 0)
		n = 1;
	kit_must(buf_add(&s->out, buf_data(&s->held), n));
	buf_consume(&s->held, n);
	session_mark(s);
	if (buf_len(&s->held) == 0)
		session_resume(s);
	else
		s->held_until = rv.now.us + s->dribble_us;
}

void
session_flush(struct session *s)
{
	ssize_t n;

	if (!s->broken && buf_len(&s->out) > 0) {
		n = send(s->fd, buf_data(&s->out), buf_len(&s->out),
		    MSG_NOSIGNAL);
		if (n > 0)
			buf_consume(&s->out, (size_t)n);
		else if (errno != EAGAIN && errno != EINTR)
			s->broken = true;
	}
	if (s->broken || (s->closing && buf_len(&s->out) == 0)) {
		session_free(s);
		return;
	}
	session_watch(s, buf_len(&s->out) > 0 ? EPOLLOUT :
	    s->is_held ? 0 : EPOLLIN);
}
