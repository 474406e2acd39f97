/* SPDX-License-Identifier: ISC */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/str.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "smtpd/verbs.h"

static void session_run(struct session *s);

/* ---- life and death ---- */

void
txn_expect(struct session *s, bool expected)
{
	struct server *srv = s->srv;
	struct txn *t = &s->txn;

	(void)server_expected(srv); /* to this tick */
	if (t->expected && srv->expect_tick - t->expect_tick < 2)
		srv->expected[srv->expect_tick - t->expect_tick]--;
	t->expected = expected;
	if (!expected)
		return;
	t->expect_tick = srv->expect_tick;
	srv->expected[0]++;
}

void
txn_reset(struct session *s)
{
	struct txn *t = &s->txn;
	struct arena arena;
	struct buf env;

	txn_expect(s, false);
	body_clear(&t->body, &s->srv->pool);
	committer_large_drop(s->srv->committer, &t->large);
	arena_reset(&t->arena);
	buf_clear(&t->env);
	buf_trim(&t->env, COMMAND_MAX);
	/* everything else by one assignment, so that nothing is forgotten */
	arena = t->arena;
	env = t->env;
	*t = (struct txn){ .arena = arena, .env = env, .fail = NO_REPLY };
}

static void
conn_ended(struct session *s)
{
	struct server *srv = s->srv;

	if (s->src->log_connections)
		log_info("disconnect [%s] after %u messages, %u errors",
		    s->client_ip, s->messages, s->errors);
	if (srv->on_conn_end != NULL)
		srv->on_conn_end(srv, &s->ip);
	if (s->state == S_ACCEPT_WAIT)
		TAILQ_REMOVE(&srv->waiting, s, wait_link);
	/* the committer still has the transaction */
	if (s->state != S_COMMIT)
		s->state = S_DEAD;
}

/* Frees s if it has ended. */
static void
turn_end(struct session *s)
{
	struct server *srv = s->srv;

	if (s->state != S_DEAD)
		return;
	txn_reset(s);
	arena_fini(&s->txn.arena);
	buf_fini(&s->txn.env);
	TAILQ_REMOVE(&srv->sessions, s, link);
	settings_release(&s->settings);
	free(s);
	server_session_gone(srv);
	if (srv->nsessions == 0 && srv->on_empty != NULL)
		srv->on_empty(srv);
}

void
session_abort(struct session *s)
{
	if (s->conn == NULL)
		return;
	conn_free(&s->conn);
	conn_ended(s);
}

void
session_close(struct session *s, enum reply r)
{
	if (s->conn == NULL)
		return;
	if (reply_put(conn_out(s->conn), r) != 0) {
		session_abort(s);
		return;
	}
	if (reply_code(r) != 221)
		log_info("client [%s] closed: %.*s", s->client_ip,
		    SV_FMT(reply_text(r)));
	conn_linger(&s->conn, LINGER_MS);
	conn_ended(s);
}

void
session_command_wait(struct session *s)
{
	s->state = S_COMMAND;
	conn_deadline_set(s->conn, s->src->smtp_command_timeout_ms);
}

/* ---- answers ---- */

static void
error_count(struct session *s)
{
	uint32_t limit = s->src->max_errors_per_session;

	s->errors++;
	if (limit == 0)
		return;
	if (s->errors >= limit) {
		session_close(s, REPLY_TOO_MANY_ERRS);
	} else if (s->errors > limit / 2 && s->state == S_COMMAND) {
		s->state = S_DELAY;
		conn_deadline_set(s->conn, DELAY_MS);
	}
}

static int
reply_out(struct session *s, enum reply r)
{
	if (r != REPLY_PATTERN)
		return reply_put(conn_out(s->conn), r);
	return buf_addf(conn_out(s->conn), "%u %.*s %.*s\r\n", reply_code(r),
	    SV_FMT(reply_status(r)), SV_FMT(s->refusal));
}

void
session_reply(struct session *s, enum reply r)
{
	if (s->conn == NULL)
		return;
	if (reply_out(s, r) != 0) {
		session_abort(s);
		return;
	}
	/* a long list sent ahead is no attack: RFC 5321 4.5.3.1.10 */
	if (reply_code(r) >= 400 && r != REPLY_TOO_MANY_RCPTS)
		error_count(s);
}

struct sv
session_suffix(const struct session *s)
{
	/* a stranger's "user" is nobody we know */
	if (!s->src->auto_qualify_domain || !s->src->always_allow_relaying)
		return SV("");
	return conf_global(s->settings->conf)->domain_suffix;
}

void
session_log_refusal(const struct session *s, const char *what, struct sv arg,
    enum reply r)
{
	char text[COMMAND_MAX], helo[512], sender[512];
	struct sv why = r == REPLY_PATTERN ? s->refusal : SV("");

	log_info("refused %s from [%s] helo \"%s\" sender <%s>: %s: %.*s%s%.*s",
	    what, s->client_ip,
	    log_safe(sv_from(s->helo), helo, sizeof(helo)),
	    log_safe(s->txn.sender, sender, sizeof(sender)),
	    log_safe(arg, text, sizeof(text)), SV_FMT(reply_text(r)),
	    why.n > 0 ? ": " : "", SV_FMT(why));
}

/* ---- commands ---- */

/* A line without end: thrown away up to its end, within bounds. */
static bool
line_skip(struct session *s, struct sv in, const char *lf)
{
	size_t n = lf != NULL ? (size_t)(lf - in.p) + 1 : in.n;

	s->skipping = true;
	s->skipped += n;
	buf_consume(conn_in(s->conn), n);
	if (s->skipped > SKIP_MAX) {
		session_close(s, REPLY_TOO_MANY_ERRS);
		return false;
	}
	if (lf == NULL)
		return false;
	s->skipping = false;
	s->skipped = 0;
	session_command_wait(s);
	session_reply(s, REPLY_LINE_LONG);
	return true;
}

/* A bare CR or LF, or a NUL, is no command; nobody guesses what was meant. */
static bool
line_is_clean(struct sv line)
{
	return memchr(line.p, '\r', line.n) == NULL &&
	    memchr(line.p, '\0', line.n) == NULL;
}

/* Takes one command; false if there is none or it cannot go on now. */
static bool
command_next(struct session *s)
{
	struct buf *in = conn_in(s->conn);
	struct sv v = buf_sv(in);
	const char *lf = memchr(v.p, '\n', v.n);
	size_t n = lf != NULL ? (size_t)(lf - v.p) + 1 : v.n;
	char line[COMMAND_MAX];

	if (s->skipping || n > COMMAND_MAX)
		return line_skip(s, v, lf);
	if (lf == NULL)
		return false;
	session_command_wait(s);
	/* a copy, since the buffer may move or go under the verb */
	memcpy(line, v.p, n);
	buf_consume(in, n);
	if (n < 2 || line[n - 2] != '\r' ||
	    !line_is_clean(sv_make(line, n - 2))) {
		session_reply(s, REPLY_BAD_LINE);
		return true;
	}
	verb_run(s, sv_make(line, n - 2));
	return true;
}

/* True if answers pile up that the client does not read. */
static bool
out_is_full(struct session *s)
{
	if (buf_len(conn_out(s->conn)) <= OUT_SOFT)
		return false;
	conn_flush(s->conn);
	return buf_len(conn_out(s->conn)) > OUT_SOFT;
}

/* Input that waits for a large file may hold the end of the message; the dot
 * itself may have been taken already. */
static bool
has_end_of_data(struct sv in)
{
	return sv_starts(in, SV("\r")) || sv_starts(in, SV("\n")) ||
	    memmem(in.p, in.n, ".\r\n", 3) != NULL;
}

/* At the end of input: nothing of it is left that could still be used. */
static bool
is_starved(struct session *s)
{
	struct sv in = buf_sv(conn_in(s->conn));

	switch (s->state) {
	case S_COMMIT:
		return false;
	case S_COMMAND:
		return in.n == 0 || !out_is_full(s);
	case S_DELAY:
		return in.n == 0;
	case S_LARGE_WAIT:
		return in.n == 0 || !has_end_of_data(in);
	case S_ACCEPT_WAIT:
	case S_DATA:
	case S_DEAD:
		break;
	}
	return true;
}

/* What was answered is sent, and that is the end. */
static void
session_leave(struct session *s)
{
	if (s->txn.active)
		log_debug("client [%s] left in a transaction: end of file",
		    s->client_ip);
	conn_linger(&s->conn, LINGER_MS);
	conn_ended(s);
}

static void
session_run(struct session *s)
{
	bool was_full = buf_len(conn_in(s->conn)) >= SESSION_IN;

	while (s->conn != NULL && buf_len(conn_in(s->conn)) > 0 &&
	    !out_is_full(s)) {
		if (s->state == S_COMMAND) {
			if (!command_next(s))
				break;
		} else if (s->state == S_DATA) {
			data_read(s);
		} else {
			break;
		}
	}
	if (s->conn != NULL && s->srv->stopping)
		session_stop(s);
	if (s->conn != NULL && s->eof && is_starved(s))
		session_leave(s);
	if (s->conn != NULL && was_full &&
	    buf_len(conn_in(s->conn)) < SESSION_IN)
		conn_resume(s->conn);
}

void
session_resume(struct session *s)
{
	if (s->conn != NULL)
		session_run(s);
	if (s->conn != NULL)
		conn_flush(s->conn);
	turn_end(s);
}

void
session_stop(struct session *s)
{
	if ((s->state == S_COMMAND || s->state == S_DELAY) &&
	    !s->txn.active)
		session_close(s, REPLY_SHUTDOWN);
}

/* ---- the connection ---- */

static void
on_data(struct conn *c, void *arg)
{
	struct session *s = arg;

	(void)c;
	session_run(s);
	turn_end(s);
}

static void
on_drain(struct conn *c, void *arg)
{
	on_data(c, arg);
}

/* RFC 5321 3.8 wants QUIT first; who only half closes gets his answers. */
static void
on_eof(struct conn *c, void *arg)
{
	struct session *s = arg;

	s->eof = true;
	on_data(c, arg);
}

static void
on_close(struct conn *c, void *arg, int err)
{
	struct session *s = arg;

	(void)c;
	if (err != 0 || s->txn.active)
		log_debug("client [%s] left%s: %s", s->client_ip,
		    s->txn.active ? " in a transaction" : "",
		    err != 0 ? strerror(err) : "end of file");
	session_abort(s);
	turn_end(s);
}

static void
on_timeout(struct conn *c, void *arg)
{
	struct session *s = arg;

	(void)c;
	switch (s->state) {
	case S_COMMAND:
	case S_DATA:
		session_close(s, REPLY_TIMEOUT);
		break;
	case S_DELAY:
		session_command_wait(s);
		session_run(s);
		break;
	case S_ACCEPT_WAIT:
	case S_LARGE_WAIT:
		data_on_wait_timeout(s);
		if (s->conn != NULL)
			session_run(s);
		break;
	case S_COMMIT:
	case S_DEAD:
		break;
	}
	turn_end(s);
}

static const struct conn_ops session_ops = {
	.on_data = on_data,
	.on_drain = on_drain,
	.on_eof = on_eof,
	.on_close = on_close,
	.on_timeout = on_timeout,
};

static struct session *
session_new(struct server *srv, int fd, const struct route_addr *ip,
    struct sv source, const struct session_local *local)
{
	struct session *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->conn = conn_new(srv->base, fd, &session_ops, s, SESSION_IN,
	    SESSION_OUT);
	if (s->conn == NULL) {
		free(s);
		return NULL;
	}
	s->srv = srv;
	s->ip = *ip;
	s->settings = settings_hold(srv->settings);
	s->local = local;
	if (local != NULL) {
		s->src = local->src;
	} else {
		route_addr_format(ip, s->client_ip);
		s->src = conf_source_get(s->settings->conf, ip, source);
	}
	control_init(s);
	pattern_init(s);
	arena_init(&s->txn.arena, TXN_MEMORY);
	buf_init(&s->txn.env, RECORD_ENV_MAX);
	s->txn.fail = NO_REPLY;
	TAILQ_INSERT_TAIL(&srv->sessions, s, link);
	if (++srv->nsessions > srv->most_sessions)
		srv->most_sessions = srv->nsessions;
	return s;
}

/* False: no service for this client. */
static bool
greet(struct session *s)
{
	struct sv host;
	bool served;

	host = conf_hostname(s->settings->conf);
	served = s->src->smtp_service;
	if (s->src->log_connections)
		log_info("connect [%s]", s->client_ip);
	session_command_wait(s);
	if (!served)
		session_close(s, REPLY_NO_SERVICE);
	else if (buf_addf(conn_out(s->conn), "220 %.*s ESMTP Pinnace\r\n",
	    SV_FMT(host)) != 0)
		session_abort(s);
	else
		conn_flush(s->conn);
	turn_end(s);
	return served;
}

bool
session_start(struct server *srv, int fd, const struct route_addr *ip,
    struct sv source)
{
	struct session *s = session_new(srv, fd, ip, source, NULL);

	if (s != NULL)
		return greet(s);
	if (srv->on_conn_end != NULL)
		srv->on_conn_end(srv, ip);
	return false;
}

bool
session_start_local(struct server *srv, int fd, const struct session_local *l)
{
	static const struct route_addr nowhere;
	struct session *s = session_new(srv, fd, &nowhere, SV(""), l);

	return s != NULL && greet(s);
}
