/* SPDX-License-Identifier: ISC */
/*
 * From DATA to the committer's answer. Data goes through the one decoder into
 * chunks; a message over LARGE_THRESHOLD, or one that comes while memory for
 * bodies is short, goes on into a file of its own. A message that will be
 * refused is read to its end first.
 */
#include <errno.h>

#include "common/base/msgid.h"
#include "common/mail/received.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "smtpd/session.h"

#define ROOM_MIN 64u /* bytes left in a chunk that are worth using */
/* A body has at most so many chunks before it goes to a file. */
#define LARGE_CHUNKS (2 * LARGE_THRESHOLD / BODY_CHUNK)

static int64_t
now_ms(void)
{
	return clock_mono().us / US_PER_MS;
}

/* ---- the end of a transaction ---- */

/* The only exit: answers, forgets the transaction, waits for commands. */
static void
data_finish(struct session *s, enum reply r)
{
	session_command_wait(s);
	txn_reset(s);
	session_reply(s, r);
}

static void
data_refuse(struct session *s, enum reply r)
{
	session_log_refusal(s, "message", SV("end of data"), r);
	data_finish(s, r);
}

/* The message will be refused at its end; what there is of it goes. */
static void
data_fail(struct session *s, enum reply why)
{
	struct txn *t = &s->txn;

	if (t->fail == NO_REPLY)
		t->fail = why;
	body_clear(&t->body, &s->srv->pool);
	committer_large_drop(s->srv->committer, &t->large);
}

/* ---- commit ---- */

/* Only on wish: the accounting file is the record of what was accepted. */
static void
log_accepted(const struct session *s, uint64_t id)
{
	char text[MSGID_TEXT], sender[4 * ENV_ADDR_MAX + 1];

	if (!s->src->log_commands)
		return;
	log_info("accepted %s from [%s]: sender <%s>, %u recipients, "
	    "%llu bytes", msgid_format(id, text), s->client_ip,
	    log_safe(s->txn.sender, sender, sizeof(sender)), s->txn.nrcpts,
	    (unsigned long long)s->txn.dec.bytes);
}

static void
on_done(struct commit_req *req, enum commit_result result, uint64_t id,
    void *arg)
{
	static const enum reply replies[COMMIT_RESULTS] = {
		[COMMIT_OK] = REPLY_QUEUED,
		[COMMIT_NO_SPACE] = REPLY_NO_SPACE,
		[COMMIT_IO_ERROR] = REPLY_COMMIT_FAILED,
		[COMMIT_TOO_LARGE] = REPLY_TOO_BIG,
		[COMMIT_SHUTDOWN] = REPLY_SHUTDOWN,
	};
	struct session *s = arg;
	char text[MSGID_TEXT];

	(void)req;
	if (s->conn == NULL) {
		/* nobody to answer; if it is durable it will be delivered */
		s->state = S_DEAD;
		session_resume(s);
		return;
	}
	if (result == COMMIT_SHUTDOWN) {
		s->state = S_COMMAND;
		session_close(s, REPLY_SHUTDOWN);
	} else if (result != COMMIT_OK) {
		data_refuse(s, replies[result]);
	} else {
		log_accepted(s, id);
		s->messages++;
		s->junk = 0;
		session_command_wait(s);
		txn_reset(s);
		msgid_format(id, text);
		if (reply_put_extra(conn_out(s->conn), REPLY_QUEUED,
		    sv_make(text, MSGID_TEXT - 1)) != 0)
			session_abort(s);
	}
	session_resume(s);
}

static int
make_head(const struct commit_req *req, uint64_t id, struct buf *head,
    void *arg)
{
	struct session *s = arg;
	const struct txn *t = &s->txn;
	char text[MSGID_TEXT];
	struct received r = {
		.helo = sv_from(s->helo),
		.client_ip = s->src->hide_message_source ? SV("") :
		    sv_from(s->client_ip),
		.host = conf_hostname(s->settings->conf),
		.esmtp = s->esmtp,
		.utf8 = (t->flags & ENV_SMTPUTF8) != 0,
		.when = t->arrival,
	};

	(void)req;
	if (s->local != NULL && !s->local->on_id(s->local->arg, id,
	    t->arrival.us))
		return -1;
	msgid_format(id, text);
	r.id = sv_make(text, MSGID_TEXT - 1);
	/* RFC 5321 7.2: more than one would tell of blind copies */
	if (t->nrcpts == 1)
		r.rcpt = t->rcpts[0].addr;
	if (s->src->add_received_header && received_put(head, &r) != 0)
		return -1;
	return control_head(s, r.id, head);
}

static bool
envelope_make(struct session *s)
{
	struct txn *t = &s->txn;
	struct envelope e = {
		.flags = t->flags,
		.sender = t->sender,
		.envid = t->envid,
		.src_type = s->local != NULL ? s->local->src_type : SV("smtp"),
		.helo = sv_from(s->helo),
		.client_ip = sv_from(s->client_ip),
		.rcpts = t->rcpts,
		.nrcpts = t->nrcpts,
	};
	struct wr w;

	if (!control_apply(s, &e))
		return false;
	wr_init_buf(&w, &t->env);
	envelope_encode(&w, &e);
	return !w.failed;
}

static void
data_submit(struct session *s)
{
	struct txn *t = &s->txn;
	struct iovec *iov = arena_alloc(&t->arena,
	    (t->body.nchunks + 1) * sizeof(*iov));

	t->arrival = clock_wall();
	if (iov == NULL || !envelope_make(s)) {
		data_refuse(s, REPLY_LOCAL_ERROR);
		return;
	}
	body_iov(&t->body, iov);
	t->req = (struct commit_req){
		.env = buf_sv(&t->env),
		.make_head = make_head,
		.body = iov,
		.nbody = t->body.nchunks,
		.flags = (uint8_t)((t->dec.leading_dot ? RECORD_DOTS : 0) |
		    (t->dec.eight_bit ? RECORD_8BIT : 0)),
		.arrival_us = (uint64_t)t->arrival.us,
		.large = t->large,
		.done = on_done,
		.arg = s,
	};
	t->large = NULL;
	s->state = S_COMMIT;
	txn_expect(s, false);
	conn_deadline_set(s->conn, 0);
	committer_submit(s->srv->committer, &t->req);
}

/* ---- large files ---- */

static void
large_write(struct session *s)
{
	struct txn *t = &s->txn;
	struct iovec iov[LARGE_CHUNKS];
	bool failed = false;

	if (t->body.nchunks > LARGE_CHUNKS) {
		data_fail(s, REPLY_LOCAL_ERROR);
		return;
	}
	body_iov(&t->body, iov);
	for (size_t i = 0; i < t->body.nchunks && !failed; i++)
		failed = commit_large_write(t->large, iov[i].iov_base,
		    iov[i].iov_len) != 0;
	if (failed)
		data_fail(s, errno == ENOSPC || errno == EDQUOT ?
		    REPLY_NO_SPACE : REPLY_COMMIT_FAILED);
	else
		body_clear(&t->body, &s->srv->pool);
}

static void
data_wait_more(struct session *s)
{
	s->state = S_DATA;
	conn_deadline_set(s->conn, s->src->smtp_data_timeout_ms);
}

static void
on_large(struct commit_large *l, bool ok, void *arg)
{
	struct session *s = arg;

	(void)l;
	if (!ok) {
		s->txn.large = NULL;
		data_fail(s, REPLY_COMMIT_FAILED);
	} else {
		large_write(s);
	}
	data_wait_more(s);
	session_resume(s);
}

static void
large_begin(struct session *s)
{
	struct txn *t = &s->txn;

	t->large = committer_large_open(s->srv->committer, on_large, s);
	if (t->large == NULL) {
		data_fail(s, REPLY_NO_SPACE);
		return;
	}
	s->state = S_LARGE_WAIT;
	conn_deadline_set(s->conn, WAIT_MS);
}

/* ---- reading ---- */

static enum reply
data_verdict(const struct session *s)
{
	static const enum reply errors[] = {
		[DATA_FINE] = NO_REPLY,
		[DATA_BARE_CR] = REPLY_BARE_NEWLINE,
		[DATA_BARE_LF] = REPLY_BARE_NEWLINE,
		[DATA_NUL] = REPLY_HAS_NUL,
		[DATA_LINE_LONG] = REPLY_DATA_LINE_LONG,
		[DATA_TOO_BIG] = REPLY_TOO_BIG,
	};
	const struct txn *t = &s->txn;

	/* a permanent refusal goes before a temporary one */
	if (t->dec.error != DATA_FINE)
		return errors[t->dec.error];
	if (t->dec.received > s->src->max_message_hops)
		return REPLY_LOOP;
	return t->fail;
}

/* The control fields, before any of it leaves memory. */
static void
data_header(struct session *s)
{
	enum reply r;

	if (s->txn.ctl_done || s->txn.fail != NO_REPLY ||
	    s->txn.dec.error != DATA_FINE)
		return;
	r = control_take(s);
	if (r != NO_REPLY)
		data_fail(s, r);
}

static void
data_end(struct session *s)
{
	enum reply r;

	data_header(s);
	if (s->txn.large != NULL && s->txn.fail == NO_REPLY)
		large_write(s);
	r = data_verdict(s);
	if (r == NO_REPLY)
		r = pattern_decide(s);
	if (r != NO_REPLY)
		data_refuse(s, r);
	else
		data_submit(s);
}

/* Where the body goes when memory is not the place for it any more. */
static void
data_place(struct session *s)
{
	struct txn *t = &s->txn;

	if (t->fail != NO_REPLY || t->dec.error != DATA_FINE) {
		data_fail(s, REPLY_LOCAL_ERROR);
		return;
	}
	if (s->ctl_look && (!t->dec.in_header || t->body.nchunks > 1))
		data_header(s);
	if (t->fail != NO_REPLY)
		return;
	if (t->large != NULL) {
		if (t->body.bytes >= BODY_CHUNK - ROOM_MIN)
			large_write(s);
	} else if (t->body.bytes > LARGE_THRESHOLD ||
	    (t->body.nchunks > 1 && body_pool_is_over(&s->srv->pool))) {
		large_begin(s);
	}
}

/* The average since 354, as PowerMTA's rates: n per period. */
static bool
data_is_slow(const struct session *s)
{
	const struct conf_rate *rate = &s->src->min_data_rate;
	int64_t ms = now_ms() - s->txn.data_start_ms;

	if (rate->period_ms == 0 || ms < RATE_GRACE_MS)
		return false;
	return (double)s->txn.data_in * (double)rate->period_ms <
	    (double)rate->n * (double)ms;
}

/* A client that sends on and on what will be refused. */
static bool
data_is_endless(const struct session *s)
{
	const struct txn *t = &s->txn;

	if (t->fail != NO_REPLY && t->dec.max_bytes == 0)
		return t->data_in > SWALLOW_MAX;
	return t->dec.swallowed > SWALLOW_MAX;
}

/* Decodes what fits into one chunk; bytes of input used, 0 on failure. */
static size_t
data_decode(struct session *s, struct sv in)
{
	struct txn *t = &s->txn;
	size_t room, n;
	unsigned char *at = body_room(&t->body, &s->srv->pool, ROOM_MIN,
	    &room);

	if (at == NULL) {
		session_close(s, REPLY_NO_MEMORY);
		return 0;
	}
	while (data_dec_room(&t->dec, in.n) > room)
		in.n = t->dec.policy == DATA_NORMALIZE ? (room - 2) / 2 :
		    room - 2;
	in.n = data_dec_feed(&t->dec, in, at, &n);
	body_commit(&t->body, n);
	pattern_feed(s, at, n);
	t->data_in += in.n;
	return in.n;
}

void
data_read(struct session *s)
{
	struct txn *t = &s->txn;
	struct buf *in = conn_in(s->conn);

	while (buf_len(in) > 0 && s->state == S_DATA) {
		size_t used = data_decode(s, buf_sv(in));

		if (s->conn == NULL)
			return;
		buf_consume(in, used);
		if (data_dec_is_done(&t->dec)) {
			data_end(s);
			return;
		}
		data_place(s);
	}
	if (s->state != S_DATA)
		return;
	conn_deadline_set(s->conn, s->src->smtp_data_timeout_ms);
	conn_ack_now(s->conn);
	if (data_is_slow(s))
		session_close(s, REPLY_TOO_SLOW);
	else if (data_is_endless(s))
		session_close(s, REPLY_TOO_MUCH_DATA);
}

/* ---- the start ---- */

static void
data_go(struct session *s)
{
	struct txn *t = &s->txn;

	data_dec_init(&t->dec, s->src->bare_newline_policy ==
	    CONF_NEWLINE_NORMALIZE ? DATA_NORMALIZE : DATA_REJECT,
	    s->src->max_message_size_bytes);
	t->data_start_ms = now_ms();
	data_wait_more(s);
	if (buf_add_sv(conn_out(s->conn),
	    SV("354 End data with <CR><LF>.<CR><LF>\r\n")) != 0)
		session_abort(s);
}

void
data_begin(struct session *s)
{
	/*
	 * RFC 2920 3.1: DATA is the last of a group. Whoever goes on sending
	 * has not waited for 354 and might mean anything by it.
	 */
	if (buf_len(conn_in(s->conn)) > 0) {
		session_close(s, REPLY_EARLY_DATA);
		return;
	}
	if (committer_can_accept(s->srv->committer)) {
		data_go(s);
		return;
	}
	if (committer_refusal(s->srv->committer).n > 0) {
		data_refuse(s, REPLY_NO_SPACE);
		return;
	}
	s->state = S_ACCEPT_WAIT;
	TAILQ_INSERT_TAIL(&s->srv->waiting, s, wait_link);
	conn_deadline_set(s->conn, WAIT_MS);
}

void
data_on_ready(struct session *s)
{
	TAILQ_REMOVE(&s->srv->waiting, s, wait_link);
	if (buf_len(conn_in(s->conn)) > 0) {
		s->state = S_COMMAND;
		session_close(s, REPLY_EARLY_DATA);
	} else {
		data_go(s);
	}
	session_resume(s);
}

/* The spool does not answer. */
void
data_on_wait_timeout(struct session *s)
{
	if (s->state == S_ACCEPT_WAIT) {
		TAILQ_REMOVE(&s->srv->waiting, s, wait_link);
		data_refuse(s, REPLY_COMMIT_FAILED);
		return;
	}
	data_fail(s, REPLY_COMMIT_FAILED);
	data_wait_more(s);
}
