/* SPDX-License-Identifier: ISC */
/* One file: read, parsed, and told to a session as a client would. */
#include <sys/socket.h>
#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/sys/log.h"
#include "smtpd/pickup_private.h"

#define IN_MAX     65536u   /* of answers */
#define OUT_MAX    131072u
#define OUT_WANT   65536u   /* of the message at once */
#define MEMORY_TXN (64u << 20)
#define ANSWER_MS  300000   /* RFC 5321 4.5.3.2.6 */

static void
later(struct taker *t, const char *why)
{
	taker_done(t, TAKEN_LATER, sv_from(why));
}

/* ---- the dialogue ---- */

static void
say(struct taker *t, enum taker_state next, const char *verb, struct sv arg)
{
	t->state = next;
	if (buf_addf(conn_out(t->conn), "%s%.*s\r\n", verb, SV_FMT(arg)) != 0) {
		taker_done(t, TAKEN_BAD, SV("a command is too long"));
		return;
	}
	conn_deadline_set(t->conn, ANSWER_MS);
	conn_flush(t->conn);
}

/* As much as the socket takes; on_drain() goes on. */
static void
body_send(struct taker *t)
{
	struct buf *out = conn_out(t->conn);

	do {
		if (pickup_feed_add(&t->feed, out, OUT_WANT) != 0) {
			taker_done(t, TAKEN_BAD, SV("a line is too long"));
			return;
		}
		conn_flush(t->conn);
	} while (!t->feed.ended && buf_len(out) == 0);
	if (t->feed.ended)
		t->state = T_END;
	conn_deadline_set(t->conn, ANSWER_MS);
}

static void
rcpt_say(struct taker *t)
{
	if (t->next_rcpt < t->file.nrcpts)
		say(t, T_RCPT, "RCPT ", t->file.rcpts[t->next_rcpt++]);
	else
		say(t, T_DATA, "DATA", SV(""));
}

static void
refused(struct taker *t, struct sv line)
{
	/* as many recipients as this will not fit the next time, either */
	bool bad = line.p[0] == '5' || sv_istarts(line, SV("452 4.5.3"));

	taker_done(t, bad ? TAKEN_BAD : TAKEN_LATER, line);
}

/* The last line of an answer. */
static void
answered(struct taker *t, struct sv line)
{
	bool yes = line.p[0] == (t->state == T_DATA ? '3' : '2');

	if (!yes) {
		refused(t, line);
		return;
	}
	switch (t->state) {
	case T_GREETING:
		say(t, T_HELO, "EHLO ", t->file.helo.n > 0 ? t->file.helo :
		    SV("localhost"));
		break;
	case T_HELO:
		say(t, T_MAIL, "MAIL ", t->file.mail);
		break;
	case T_MAIL:
	case T_RCPT:
		rcpt_say(t);
		break;
	case T_DATA:
		t->state = T_BODY;
		body_send(t);
		break;
	case T_END:
		taker_done(t, TAKEN_OK, line);
		break;
	case T_BODY:
	case T_FREE:
		refused(t, line);
		break;
	}
}

static void
on_data(struct conn *c, void *arg)
{
	struct taker *t = arg;
	char line[1024];

	(void)c;
	while (t->conn != NULL) {
		struct buf *in = conn_in(t->conn);
		struct sv v = buf_sv(in);
		ptrdiff_t lf = sv_find(v, '\n');
		size_t n;

		if (lf < 4)
			return;
		/* without CR */
		n = (size_t)lf - 1 < sizeof(line) ? (size_t)lf - 1 :
						    sizeof(line);
		memcpy(line, v.p, n);
		buf_consume(in, (size_t)lf + 1);
		if (line[3] != '-')
			answered(t, sv_make(line, n));
	}
}

static void
on_drain(struct conn *c, void *arg)
{
	struct taker *t = arg;

	(void)c;
	if (t->state == T_BODY)
		body_send(t);
}

static void
on_close(struct conn *c, void *arg, int err)
{
	(void)c;
	(void)err;
	later(arg, "the session ended");
}

/* The answer to the message is awaited for ever: before it nobody knows what
 * became of the file. */
static void
on_timeout(struct conn *c, void *arg)
{
	struct taker *t = arg;

	(void)c;
	if (t->state != T_END)
		later(t, "no answer");
}

static const struct conn_ops ops = {
	.on_data = on_data,
	.on_drain = on_drain,
	.on_close = on_close,
	.on_timeout = on_timeout,
};

/* ---- the name ---- */

/* Before the message can become durable its file's name says what its ID
 * will be, and that is durable, too. */
static bool
on_id(void *arg, uint64_t id, int64_t arrival_us)
{
	struct taker *t = arg;
	char to[NAME_MAX + 1];

	if (taken_name(to, sizeof(to), id, arrival_us, t->name) &&
	    renameat(t->p->dir, t->now, t->p->dir, to) == 0) {
		memcpy(t->now, to, sizeof(to));
		if (fsync(t->p->dir) == 0)
			return true;
	}
	log_warn_errno("pickup: %s cannot be renamed", t->name);
	t->rename_failed = true;
	return false;
}

/* ---- the file ---- */

static const char *
slurp(int fd, struct buf *b, size_t size)
{
	while (buf_len(b) < size) {
		size_t want = size - buf_len(b) < 1u << 20 ?
		    size - buf_len(b) : 1u << 20;
		unsigned char *at = buf_reserve(b, want);
		ssize_t n = at == NULL ? -1 :
		    pread(fd, at, want, (off_t)buf_len(b));

		if (at == NULL)
			return "takes too much memory";
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return strerror(errno);
		if (n == 0)
			return "was cut while it was read";
		buf_commit(b, (size_t)n);
	}
	return NULL;
}

/* NULL, or why it is bad; *wait: not now. */
static const char *
file_read(struct taker *t, bool *wait)
{
	struct pickup *p = t->p;
	int fd = openat(p->dir, t->now, O_RDONLY | O_NOFOLLOW | O_NONBLOCK |
	    O_CLOEXEC);
	const char *why = NULL;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0)
		why = strerror(errno);
	else if (!S_ISREG(st.st_mode))
		why = "is not a file";
	else if (st.st_size > (off_t)FILE_MAX)
		why = "is larger than 256 MiB";
	else if (p->nbusy > 0 && p->bytes + (size_t)st.st_size > MEMORY_MAX)
		*wait = true;
	else
		why = slurp(fd, &t->text, (size_t)st.st_size);
	if (fd >= 0)
		close(fd);
	return why;
}

static const char *
file_take(struct taker *t, bool *wait)
{
	const char *why = file_read(t, wait);

	if (why != NULL || *wait)
		return why;
	return pickup_file_parse(buf_sv(&t->text), t->p->remove_dot,
	    &t->arena, &t->file);
}

/* False: there is no session now. */
static bool
session_open(struct taker *t)
{
	struct pickup *p = t->p;
	int sp[2];

	t->local = (struct session_local){ .src = &p->src,
		.src_type = SV("pickup"), .on_id = on_id, .arg = t };
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
	    sp) != 0)
		return false;
	t->conn = conn_new(p->srv->base, sp[0], &ops, t, IN_MAX, OUT_MAX);
	if (t->conn == NULL) {
		close(sp[0]);
		close(sp[1]);
		return false;
	}
	t->state = T_GREETING;
	conn_deadline_set(t->conn, ANSWER_MS);
	/* what it says comes by the event loop, also that it has ended */
	(void)session_start_local(p->srv, sp[1], &t->local);
	return true;
}

void
taker_fini(struct taker *t)
{
	if (t->conn != NULL)
		conn_free(&t->conn);
	arena_fini(&t->arena);
	buf_fini(&t->text);
	t->state = T_FREE;
}

bool
taker_start(struct taker *t, const char *name)
{
	struct pickup *p = t->p;
	const char *why;
	bool wait = false;

	memset(t->now, 0, sizeof(t->now));
	(void)snprintf(t->name, sizeof(t->name), "%s", name);
	(void)snprintf(t->now, sizeof(t->now), "%s", name);
	t->rename_failed = false;
	t->next_rcpt = 0;
	t->began = p->limit;
	buf_init(&t->text, FILE_MAX + 1);
	arena_init(&t->arena, MEMORY_TXN);
	why = file_take(t, &wait);
	if (wait) {
		taker_fini(t);
		return false;
	}
	p->nbusy++;
	p->bytes += buf_len(&t->text);
	if (why != NULL) {
		taker_done(t, TAKEN_BAD, sv_from(why));
		return true;
	}
	pickup_feed_init(&t->feed, &t->file);
	if (!session_open(t))
		later(t, "no session");
	return true;
}
