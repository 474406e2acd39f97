/* SPDX-License-Identifier: ISC */
#include <sys/socket.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "common/base/mem.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "delivery/smtp.h"

#define QUIT_WAIT_MS   10000  /* for the answer to QUIT; nobody cares for it */
#define LINGER_MS      5000
/* What is asked for without a number: RFC 5321 4.5.3.2. */
#define CONNECT_MS     60000
#define GREETING_MS    300000
#define COMMAND_MS     300000
#define DATA_MS        180000
#define FINAL_MS       600000
#define IDLE_MS        5000
#define SESSION_MS     7200000 /* as smtp-session-timeout */
/* The route of one session and what hangs on it. */
#define SESSION_ARENA_MAX ((size_t)1 << 20)

static void session_step(struct session *s);

/* ---- finding ---- */

static uint64_t
id_hash(uint64_t id)
{
	return id * UINT64_C(0x9e3779b97f4a7c15); /* ids come from qmgr */
}

static uint64_t
entry_hash(const void *entry)
{
	return id_hash(((const struct session *)entry)->id);
}

static bool
entry_match(const void *entry, const void *key)
{
	return ((const struct session *)entry)->id == *(const uint64_t *)key;
}

struct session *
session_find(const struct worker *w, uint64_t id)
{
	if (w->by_id.hash == NULL)
		return NULL;
	return htab_find(&w->by_id, id_hash(id), entry_match, &id);
}

void
session_mark(struct session *s)
{
	if (s->dirty)
		return;
	s->dirty = true;
	TAILQ_INSERT_TAIL(&s->w->dirty, s, dirty_link);
}

void
session_run_dirty(struct worker *w)
{
	struct session *s;

	while ((s = TAILQ_FIRST(&w->dirty)) != NULL) {
		TAILQ_REMOVE(&w->dirty, s, dirty_link);
		s->dirty = false;
		if (s->state == SESSION_TALKING)
			session_step(s);
	}
}

static void
slot_wait_end(struct session *s)
{
	if (s->wants_slots)
		TAILQ_REMOVE(&s->w->slot_waiters, s, slot_link);
	s->wants_slots = false;
}

void
session_wake_slot_waiters(struct worker *w)
{
	struct session *s;

	if (TAILQ_EMPTY(&w->slot_waiters) ||
	    w->intents.nfree == w->intents.nreserved)
		return;
	/* all of them: one that has no use for a slot any more must not be
	 * the only one that hears of it */
	while ((s = TAILQ_FIRST(&w->slot_waiters)) != NULL) {
		slot_wait_end(s);
		session_mark(s);
	}
	event_active(w->ev_dirty, EV_WRITE, 0);
}

/* ---- the end ---- */

static void
queue_drop(struct session *s)
{
	struct delivery *d;

	while ((d = STAILQ_FIRST(&s->queue)) != NULL) {
		STAILQ_REMOVE_HEAD(&s->queue, link);
		delivery_free(d);
	}
}

/* qmgr does not know the session from here on. */
static void
session_forget(struct session *s)
{
	queue_drop(s);
	if (s->id != 0)
		(void)htab_remove(&s->w->by_id, s);
	s->id = 0;
}

void
session_free(struct session *s)
{
	struct worker *w = s->w;

	session_forget(s);
	trace_end(s, true);
	conn_free(&s->conn);
	if (s->dirty)
		TAILQ_REMOVE(&w->dirty, s, dirty_link);
	slot_wait_end(s);
	TAILQ_REMOVE(&w->sessions, s, link);
	w->nsessions--;
	arena_fini(&s->arena);
	free(s);
	worker_check_exit(w);
}

static void
session_report_end(struct session *s, enum session_end why, uint16_t code,
    struct sv status, struct sv text)
{
	uint64_t id = s->id != 0 ? s->id : s->quit_id;
	struct ipc_session_end m = {
		.session = id,
		.why = (uint8_t)why,
		.code = code,
		.status = status,
		.text = text,
		.host = sv_from(s->host_name),
		.host_ip = sv_from(s->host_ip),
		.source_ip = sv_from(s->source_ip),
	};

	if (id == 0)
		return;
	s->quit_id = 0;
	log_debug("session %llu to %s[%s]: %s", (unsigned long long)id,
	    s->host_name, s->host_ip, session_end_name(why));
	trace_event(s, "the session is over: %s%s%.*s", session_end_name(why),
	    text.n > 0 ? ": " : "", SV_FMT(text));
	if (s->w->qmgr != NULL)
		ipc_send_session_end(s->w->qmgr, &m);
	session_forget(s);
}

void
session_fail(struct session *s, enum session_end why, uint16_t code,
    struct sv status, struct sv text)
{
	if (s->failure.any) {
		memcpy(s->host_name, s->failure.host, sizeof(s->host_name));
		memcpy(s->host_ip, s->failure.host_ip, sizeof(s->host_ip));
	}
	session_report_end(s, why, code, status, text);
	session_free(s);
}

/* The machine has ended: try the next address, or report. s is gone. */
static void
session_over(struct session *s)
{
	struct smtp_client *c = &s->client;

	if (s->state == SESSION_QUITTING) {
		conn_free(&s->conn);
		session_report_end(s, s->quit_why, 0, SV(""), SV(""));
		session_free(s);
		return;
	}
	if (c->polite)
		conn_linger(&s->conn, LINGER_MS);
	else if (c->why == END_IDLE)
		conn_free(&s->conn);
	else
		conn_reset(&s->conn);
	if (c->up || s->id == 0) {
		session_report_end(s, c->why, c->end_code,
		    sv_from(c->end_status), sv_from(c->end_text));
		session_free(s);
		return;
	}
	connect_failed(s, c->why, c->end_code, sv_from(c->end_status),
	    sv_from(c->end_text));
	if (c->end_code != 0)
		connect_skip_host(s);
	(void)connect_next(s);
}

/* ---- what the protocol asks for ---- */

static void
on_up(void *arg)
{
	struct session *s = arg;
	struct ipc_session_up m = {
		.session = s->id,
		.host = sv_from(s->host_name),
		.host_ip = sv_from(s->host_ip),
		.source_ip = sv_from(s->source_ip),
	};

	m.esmtp = sv_from(smtp_ehlo_format(&s->client.ehlo, s->esmtp,
	    sizeof(s->esmtp)));
	if (s->w->qmgr != NULL)
		ipc_send_session_up(s->w->qmgr, &m);
}

/* ---- how long it may take ---- */

static int64_t
ms_since(struct mono since)
{
	return mono_diff_ms(clock_mono(), since);
}

/* Of session_ms: for setting the connection up, then for each message. */
static int64_t
session_left_ms(const struct session *s)
{
	const struct smtp_client *c = &s->client;
	const struct smtp_txn *t = c->dotted != NULL ? c->dotted : c->txn;
	struct mono since = s->opened;

	if (s->state == SESSION_QUITTING)
		return INT64_MAX;
	if (s->state == SESSION_TALKING && c->up) {
		if (t == NULL)
			return INT64_MAX;
		since = ((const struct delivery *)t->owner)->begun;
	}
	return (int64_t)s->session_ms - ms_since(since);
}

bool
session_is_overdue(const struct session *s)
{
	return session_left_ms(s) <= 0;
}

void
session_deadline_set(struct session *s, int64_t ms)
{
	int64_t left = session_left_ms(s);

	if (ms > left)
		ms = left > 0 ? left : 1;
	conn_deadline_set(s->conn, ms);
}

static bool
limit_reached(const struct session *s)
{
	return (s->max_msgs != 0 && s->nmsgs >= s->max_msgs) ||
	    ms_since(s->opened) >= s->session_ms;
}

/* Slots are promised before MAIL is sent: once the server waits for the
 * body it is too late to wait. */
static bool
slots_reserve(struct session *s, struct delivery *d)
{
	struct worker *w = s->w;
	uint32_t n = intent_slots_for(d->nidx);

	if (n > w->intents.n)
		n = w->intents.n; /* rcpts_limit() cuts the recipients */
	if (n > 0 && intent_reserve(&w->intents, n)) {
		d->reserved = n;
		slot_wait_end(s);
		return true;
	}
	if (!s->wants_slots) {
		s->wants_slots = true;
		TAILQ_INSERT_TAIL(&w->slot_waiters, s, slot_link);
	}
	return false;
}

static struct smtp_txn *
on_txn_next(void *arg)
{
	struct session *s = arg;
	struct delivery *d;

	while ((d = STAILQ_FIRST(&s->queue)) != NULL) {
		if (limit_reached(s) || s->w->role->stopping)
			return NULL;
		if (!slots_reserve(s, d))
			return NULL;
		STAILQ_REMOVE_HEAD(&s->queue, link);
		intent_mark(&s->w->intents, d->id);
		if (delivery_load(d)) {
			s->nmsgs++;
			d->begun = clock_mono();
			return &d->txn;
		}
		result_report(d);
		delivery_free(d);
	}
	return NULL;
}

static ssize_t
on_body_read(void *arg, struct smtp_txn *t, uint64_t at, void *p, size_t n)
{
	(void)arg;
	return delivery_body_read(t->owner, at, p, n);
}

static void
on_before_dot(void *arg, struct smtp_txn *t)
{
	(void)arg;
	intent_write(t->owner);
}

static void
on_txn_done(void *arg, struct smtp_txn *t)
{
	(void)arg;
	result_report(t->owner);
	delivery_free(t->owner);
}

static void
on_txn_untried(void *arg, struct smtp_txn *t)
{
	struct delivery *d = t->owner;

	(void)arg;
	intent_release(&d->session->w->intents, d->slot);
	delivery_free(d);
}

static const struct smtp_client_ops client_ops = {
	.on_up = on_up,
	.txn_next = on_txn_next,
	.body_read = on_body_read,
	.before_dot = on_before_dot,
	.txn_done = on_txn_done,
	.txn_untried = on_txn_untried,
};

static void
on_heard(void *arg, struct sv bytes)
{
	trace_heard(arg, bytes);
}

static void
on_said(void *arg, enum smtp_said what, struct sv bytes)
{
	trace_said(arg, what, bytes);
}

static const struct smtp_tap tap = { .heard = on_heard, .said = on_said };

/* ---- one step ---- */

static uint32_t
deadline_ms(const struct session *s)
{
	switch (smtp_client_waits_for(&s->client)) {
	case VERB_GREETING:
		return s->greeting_ms;
	case VERB_DATA:
		return s->data_ms;
	case VERB_DOT:
		return s->final_ms;
	case VERB_QUIT:
		return QUIT_WAIT_MS;
	case SMTP_VERBS:
		/* idle, or sending the body */
		return smtp_client_is_idle(&s->client) ? s->idle_ms :
		    s->data_ms;
	default:
		return s->command_ms;
	}
}

static bool
has_work(const struct session *s)
{
	return !STAILQ_EMPTY(&s->queue) || !smtp_client_is_idle(&s->client);
}

/* Runs the machine as long as the socket takes what it says. */
static bool
client_run(struct session *s)
{
	struct buf *out = conn_out(s->conn);
	bool full;

	do {
		if (!smtp_client_run(&s->client, conn_in(s->conn), out))
			return false;
		full = buf_len(out) >= SMTP_CLIENT_HIGH_WATER;
		conn_flush(s->conn);
	} while (full && buf_len(out) == 0);
	return true;
}

static bool
quit_due(const struct session *s)
{
	return s->client.up && !s->client.want_quit &&
	    (limit_reached(s) || s->w->role->stopping ||
	        (s->close_asked && !has_work(s)));
}

/*
 * If the worker crashes from here on, it is on this message: that whose answer
 * is read, or whose bytes are sent. With two under way the one whose answer
 * comes first; when the next one is begun, on_txn_next() marks that.
 */
static void
work_begin(struct session *s)
{
	const struct smtp_txn *t = s->client.dotted;

	if (t == NULL)
		t = s->client.txn;
	if (s->state == SESSION_TALKING && t != NULL)
		intent_mark(&s->w->intents,
		    ((const struct delivery *)t->owner)->id);
}

static void
work_end(struct worker *w)
{
	intent_mark(&w->intents, 0);
}

/* s may be gone afterwards. */
/* The connection counts for qmgr until it is gone. */
static void
session_quits(struct session *s)
{
	s->quit_why = limit_reached(s) ? END_LIMIT : END_IDLE;
	if (s->id != 0 && s->w->qmgr != NULL) {
		s->quit_id = s->id;
		ipc_send_session_quit(s->w->qmgr,
		    &(struct ipc_session_quit){ s->id });
	}
	session_forget(s);
	s->state = SESSION_QUITTING;
}

static void
step(struct session *s)
{
	if (!client_run(s)) {
		session_over(s);
		return;
	}
	/* qmgr is gone, and the answer that was waited for is there */
	if (s->id == 0 && s->state == SESSION_TALKING &&
	    s->client.dotted == NULL) {
		session_free(s);
		return;
	}
	if (quit_due(s)) {
		smtp_client_quit(&s->client);
		if (!client_run(s)) {
			session_over(s);
			return;
		}
	}
	if (s->client.progress != s->progress || !has_work(s)) {
		s->progress = s->client.progress;
		session_deadline_set(s, deadline_ms(s));
	}
	if (s->client.quit_sent && s->state == SESSION_TALKING) {
		session_quits(s);
	}
}

/* After anything happened to the session; s may be gone afterwards. */
static void
session_step(struct session *s)
{
	struct worker *w = s->w;

	work_begin(s);
	step(s);
	work_end(w);
}

/* ---- what the connection tells ---- */

static void
source_learn(struct session *s)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	const void *ip = &((struct sockaddr_in *)&ss)->sin_addr;

	s->source_ip[0] = '\0';
	if (getsockname(conn_fd(s->conn), (struct sockaddr *)&ss, &len) != 0)
		return;
	if (ss.ss_family == AF_INET6)
		ip = &((struct sockaddr_in6 *)&ss)->sin6_addr;
	if (inet_ntop(ss.ss_family, ip, s->source_ip,
	        sizeof(s->source_ip)) == NULL)
		s->source_ip[0] = '\0';
}

static void
on_connected(struct conn *c, void *arg)
{
	struct session *s = arg;

	(void)c;
	source_learn(s);
	s->state = SESSION_TALKING;
	trace_event(s, "connected from %s", s->source_ip);
	smtp_client_init(&s->client, s->helo, s->flags, &client_ops, s);
	if (s->trace != NULL)
		s->client.tap = &tap;
	s->progress = s->client.progress;
	session_deadline_set(s, s->greeting_ms);
}

static void
on_data(struct conn *c, void *arg)
{
	(void)c;
	session_step(arg);
}

static void
on_drain(struct conn *c, void *arg)
{
	struct session *s = arg;

	s->client.progress++; /* bytes left: the deadline starts anew */
	(void)c;
	session_step(s);
}

/*
 * A server that has had enough says so and closes, and we may learn of the
 * closing first, when writing. Its words are still there to be read; only a
 * refusal counts, since what it answers may not have left here.
 */
static void
last_words(struct session *s)
{
	struct buf *in = conn_in(s->conn), *out = conn_out(s->conn);
	bool between = s->client.reply.lines == 0 || s->client.reply.done;
	unsigned char *at;
	ssize_t n;

	if (buf_len(in) > 0 || !between)
		return;
	at = buf_reserve(in, SMTP_CLIENT_IN_CAP);
	if (at == NULL)
		return;
	n = recv(conn_fd(s->conn), at, SMTP_CLIENT_IN_CAP, MSG_DONTWAIT);
	if (n <= 0)
		return;
	buf_commit(in, (size_t)n);
	if (at[0] == '4' || at[0] == '5')
		(void)smtp_client_run(&s->client, in, out);
}

static void
on_close(struct conn *c, void *arg, int err)
{
	struct session *s = arg;
	struct worker *w = s->w;

	if (s->state == SESSION_CONNECTING) {
		connect_failed_errno(s, err);
		conn_free(&s->conn);
		(void)connect_next(s);
		return;
	}
	work_begin(s);
	if (err != 0)
		last_words(s);
	smtp_client_lost(&s->client, buf_len(conn_out(c)), false,
	    sv_from(err != 0 ? strerror(err) : NULL));
	session_over(s);
	work_end(w);
}

static void
on_timeout(struct conn *c, void *arg)
{
	struct session *s = arg;

	if (s->state == SESSION_CONNECTING) {
		connect_failed_errno(s, ETIMEDOUT);
		conn_free(&s->conn);
		(void)connect_next(s);
		return;
	}
	if (s->state == SESSION_TALKING && !has_work(s)) {
		smtp_client_quit(&s->client);
		session_step(s);
		return;
	}
	if (smtp_client_is_idle(&s->client) && s->state == SESSION_TALKING)
		return; /* waits for intent slots */
	smtp_client_lost(&s->client, buf_len(conn_out(c)), true,
	    session_is_overdue(s) ? SV("smtp-session-timeout") : SV(""));
	session_over(s);
}

const struct conn_ops session_conn_ops = {
	.on_connected = on_connected,
	.on_data = on_data,
	.on_drain = on_drain,
	.on_close = on_close,
	.on_timeout = on_timeout,
};

/* ---- orders ---- */

static uint32_t
or_default(uint32_t ms, uint32_t value)
{
	return ms != 0 ? ms : value;
}

/* False if the order makes no sense. */
static bool
session_fill(struct session *s, const struct ipc_session_open *m)
{
	struct sv route = arena_sv(&s->arena, m->route);

	s->helo = arena_sv(&s->arena, m->helo);
	s->max_msgs = m->max_msgs;
	s->max_rcpts = m->max_rcpts;
	s->max_attempts = m->attempts == 0 ? UINT32_MAX : m->attempts;
	s->flags = m->flags;
	s->idle_ms = or_default(m->idle_ms, IDLE_MS);
	s->connect_ms = or_default(m->connect_ms, CONNECT_MS);
	s->greeting_ms = or_default(m->greeting_ms, GREETING_MS);
	s->command_ms = or_default(m->command_ms, COMMAND_MS);
	s->data_ms = or_default(m->data_ms, DATA_MS);
	s->final_ms = or_default(m->final_ms, FINAL_MS);
	s->session_ms = or_default(m->session_ms, SESSION_MS);
	s->has_source = m->source_ip.n > 0;
	if (s->has_source && !route_addr_parse(m->source_ip, &s->source))
		return false;
	return route.p != NULL && s->helo.p != NULL &&
	    route_decode(route, &s->arena, &s->route) && connect_plan(s);
}

void
session_open(struct worker *w, const struct ipc_session_open *m)
{
	struct session *s;

	if (w->role->stopping || m->session == 0 ||
	    session_find(w, m->session) != NULL)
		return;
	if (w->by_id.hash == NULL)
		htab_init(&w->by_id, entry_hash);
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		mem_exhausted();
	s->w = w;
	s->id = m->session;
	s->opened = clock_mono();
	arena_init(&s->arena, SESSION_ARENA_MAX);
	STAILQ_INIT(&s->queue);
	TAILQ_INSERT_TAIL(&w->sessions, s, link);
	w->nsessions++;
	if (htab_insert(&w->by_id, s) != 0)
		mem_exhausted();
	if ((m->flags & SESSION_TRACE) != 0)
		trace_begin(s, (m->flags & SESSION_TRACE_DATA) != 0);
	if (!session_fill(s, m)) {
		session_fail(s, END_ROUTE, 0, SV("4.3.5"),
		    SV("the order for this session makes no sense"));
		return;
	}
	(void)connect_next(s);
}

void
session_orphan_all(struct worker *w)
{
	struct session *s, *next;

	TAILQ_FOREACH_SAFE(s, &w->sessions, link, next) {
		trace_end(s, false);
		if (s->state == SESSION_TALKING &&
		    smtp_client_abandon(&s->client))
			session_forget(s);
		else if (s->state != SESSION_QUITTING)
			session_free(s);
		else
			s->quit_id = 0;
	}
}

void
session_stop_all(struct worker *w)
{
	struct session *s, *next;

	TAILQ_FOREACH_SAFE(s, &w->sessions, link, next) {
		if (s->state == SESSION_TALKING && s->client.up)
			session_step(s);
		else if (s->state != SESSION_QUITTING)
			session_fail(s, END_IDLE, 0, SV(""),
			    SV("the worker stops"));
	}
}
