/* SPDX-License-Identifier: ISC */
/* The peers of the queue manager, played by the test. */
#include <sys/socket.h>
#include <sys/un.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/msgid.h"
#include "tests/unit/qmgr/qrig.h"

static void
text_copy(char *out, size_t size, struct sv v)
{
	ck_assert(sv_to_cstr(v, out, size));
}

/* ---- writers ---- */

static void
on_grant(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_seg_grant *m = msg;
	struct qpeer *p = arg;

	p->grants++;
	if (p->seg_fd >= 0)
		close(p->seg_fd);
	p->seg_fd = chan_take_fd(c);
	p->segment = m->segment;
	p->at = m->offset;
}

static void
on_large(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_large_grant *m = msg;
	struct qpeer *p = arg;

	p->larges++;
	if (p->large_fd >= 0)
		close(p->large_fd);
	p->large_fd = chan_take_fd(c);
	p->large_id = m->large_id;
}

static void
on_space(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_space *m = msg;
	struct qpeer *p = arg;

	(void)c;
	p->spaces++;
	p->refused = !m->open;
	text_copy(p->reason, sizeof(p->reason), m->reason);
}

void
qpeer_write(struct qpeer *p, const struct envelope *e, uint64_t large_id,
    struct ipc_commit *m_r)
{
	static char text[] = "Hello.\r\n";
	struct iovec body = {.iov_base = text, .iov_len = sizeof(text) - 1};
	unsigned char header[RECORD_HEADER];
	struct record_parts parts = {
	    .id = msgid_make(p->segment, p->at),
	    .segment = p->segment,
	    .arrival_us = (uint64_t)clock_wall().us,
	    .head = SV("Subject: x\r\n\r\n"),
	    .body = &body,
	    .nbody = large_id == 0,
	    .large_id = large_id,
	    .large_len = large_id == 0 ? 0 : 5,
	};
	struct iovec iov[8];
	uint64_t at = p->at;
	struct buf b;
	struct wr w;
	size_t n;

	buf_init(&b, RECORD_ENV_MAX);
	wr_init_buf(&w, &b);
	envelope_encode(&w, e);
	ck_assert(!w.failed);
	parts.env = buf_sv(&b);
	n = record_build(&parts, header, iov);
	ck_assert_uint_gt(n, 0);
	ck_assert_int_eq(pwritev(p->seg_fd, iov, (int)n, (off_t)at),
	    (ssize_t)record_length(&parts));
	buf_fini(&b);
	p->at += record_length(&parts);
	*m_r = (struct ipc_commit){.id = parts.id,
	    .segment = p->segment,
	    .offset = at,
	    .length = record_length(&parts),
	    .body_len = large_id == 0 ? body.iov_len : 5,
	    .large_id = large_id,
	    .arrival_us = parts.arrival_us};
}

void
qpeer_commit(
    struct qpeer *p, const struct ipc_commit *m, const struct envelope *e)
{
	struct ipc_commit commit = *m;
	struct buf b;
	struct wr w;

	buf_init(&b, RECORD_ENV_MAX);
	wr_init_buf(&w, &b);
	envelope_encode(&w, e);
	commit.env = buf_sv(&b);
	ipc_send_commit(p->chan, &commit);
	buf_fini(&b);
}

void
qpeer_seg_done(struct qpeer *p, const struct ipc_commit *last)
{
	ipc_send_seg_done(
	    p->chan, &(struct ipc_seg_done){.segment = last->segment,
			 .end = last->offset + last->length});
}

uint64_t
qrig_submit(struct qrig *r, const char *sender, const char *rcpt)
{
	struct env_rcpt rcpts = {.addr = sv_from(rcpt)};
	struct envelope e = {.sender = sv_from(sender),
	    .rcpts = &rcpts,
	    .nrcpts = 1,
	    .job = SV("j1"),
	    .vmta = sv_from(r->vmta == NULL ? "" : r->vmta),
	    .src_type = SV("smtp"),
	    .helo = SV("client.test"),
	    .client_ip = SV("192.0.2.9")};
	struct ipc_commit m;

	qpeer_write(&r->smtpd, &e, 0, &m);
	qpeer_commit(&r->smtpd, &m, &e);
	return m.id;
}

/* ---- readers of records, delivery workers ---- */

static void
on_seg_open(struct chan *c, void *arg, const void *m)
{
	(void)c;
	(void)m;
	((struct qpeer *)arg)->seg_opens++;
}

static void
on_seg_close(struct chan *c, void *arg, const void *m)
{
	(void)c;
	(void)m;
	((struct qpeer *)arg)->seg_closes++;
}

static void
on_large_open(struct chan *c, void *arg, const void *m)
{
	(void)c;
	(void)m;
	((struct qpeer *)arg)->large_opens++;
}

static void
on_intent(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_intent *m = msg;
	struct qpeer *p = arg;
	int fd = chan_take_fd(c);

	ck_assert_int_eq(intent_map_open(&p->intent, fd, m->slots), 0);
	close(fd);
}

static void
on_session_open(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_session_open *m = msg;
	struct qpeer *p = arg;
	unsigned i = p->nopens++;

	(void)c;
	ck_assert_uint_lt(i, QRIG_LISTS);
	p->opens[i].session = m->session;
	p->opens[i].route_n = m->route.n;
	p->opens[i].flags = m->flags;
	text_copy(p->opens[i].queue, sizeof(p->opens[i].queue), m->queue);
	text_copy(p->opens[i].helo, sizeof(p->opens[i].helo), m->helo);
	text_copy(
	    p->opens[i].source_ip, sizeof(p->opens[i].source_ip), m->source_ip);
}

static void
on_deliver(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_deliver *m = msg;
	struct qpeer *p = arg;
	unsigned i = p->ndelivers++;

	(void)c;
	ck_assert_uint_lt(i, QRIG_LISTS);
	p->delivers[i].session = m->session;
	p->delivers[i].id = m->id;
	p->delivers[i].segment = m->segment;
	p->delivers[i].offset = m->offset;
	p->delivers[i].length = m->length;
	p->delivers[i].large_id = m->large_id;
	p->delivers[i].n = m->rcpts.n;
	for (uint32_t k = 0; k < m->rcpts.n && k < 8; k++)
		p->delivers[i].idx[k] = u32s_get(&m->rcpts, k);
}

static void
on_session_close(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_session_close *m = msg;

	((struct qpeer *)arg)->ncloses++;
	ipc_send_session_end(c, &(struct ipc_session_end){.session = m->session,
				    .why = END_IDLE,
				    .status = SV(""),
				    .text = SV(""),
				    .host = SV(""),
				    .host_ip = SV(""),
				    .source_ip = SV("")});
}

static void
on_result_ack(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_result_ack *m = msg;

	(void)c;
	((struct qpeer *)arg)->acked = m->seq;
}

/* ---- the resolver ---- */

static void
route_answer(struct chan *c, uint64_t token)
{
	struct route_addr a = {4, {127, 0, 0, 1}};
	struct route_host h = {
	    .port = 25, .name = SV("mx.test"), .addrs = &a, .naddrs = 1};
	struct route route = {&h, 1};
	unsigned char mem[512];
	struct wr w;

	wr_init(&w, mem, sizeof(mem));
	route_encode(&w, &route);
	ipc_send_route(c, &(struct ipc_route){.token = token,
			      .status = ROUTE_OK,
			      .ttl_s = 3600,
			      .text = SV(""),
			      .route = sv_make(mem, w.n)});
}

static void
on_resolve(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_resolve *m = msg;
	struct qpeer *p = arg;
	unsigned i = p->nresolves++ % QRIG_LISTS;

	p->resolves[i].token = m->token;
	text_copy(
	    p->resolves[i].domain, sizeof(p->resolves[i].domain), m->domain);
	if (p->answers)
		route_answer(c, m->token);
}

/* ---- readers of the log ---- */

static void
on_log_at(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_log_at *m = msg;
	struct qpeer *p = arg;

	(void)c;
	p->log_ats++;
	p->log_at = (struct evlog_pos){m->file, m->offset};
}

static void
on_bounce_go(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_bounce_go *m = msg;
	struct qpeer *p = arg;

	(void)c;
	p->goes++;
	p->go_id = m->id;
	p->go_n = m->rcpts.n;
}

/* ---- coming and going ---- */

static void
on_close(struct chan *c, void *arg, const char *why)
{
	struct qpeer *p = arg;

	(void)c;
	(void)why;
	p->closed = true;
	chan_free(&p->chan);
}

static void
on_rotate(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_rotate *m = msg;
	struct qpeer *p = arg;

	(void)c;
	p->rotates++;
	p->rotate_token = m->token;
	text_copy(p->rotate_file, sizeof(p->rotate_file), m->file);
}

static void
on_trace_stop(struct chan *c, void *arg, const void *msg)
{
	(void)c;
	(void)msg;
	((struct qpeer *)arg)->trace_stops++;
}

static const struct chan_ops ops = {
    .on =
	{
	    [IPC_SEG_GRANT] = on_grant,
	    [IPC_LARGE_GRANT] = on_large,
	    [IPC_SPACE] = on_space,
	    [IPC_SEG_OPEN] = on_seg_open,
	    [IPC_SEG_CLOSE] = on_seg_close,
	    [IPC_LARGE_OPEN] = on_large_open,
	    [IPC_INTENT] = on_intent,
	    [IPC_SESSION_OPEN] = on_session_open,
	    [IPC_DELIVER] = on_deliver,
	    [IPC_SESSION_CLOSE] = on_session_close,
	    [IPC_RESULT_ACK] = on_result_ack,
	    [IPC_RESOLVE] = on_resolve,
	    [IPC_ROTATE] = on_rotate,
	    [IPC_TRACE_STOP] = on_trace_stop,
	    [IPC_LOG_AT] = on_log_at,
	    [IPC_BOUNCE_GO] = on_bounce_go,
	},
    .on_close = on_close,
};

void
qpeer_join(struct qrig *r, struct qpeer *p, enum ipc_role role)
{
	int sp[2];

	qpeer_leave(p);
	*p = (struct qpeer){.r = r, .role = role, .seg_fd = -1, .large_fd = -1};
	ck_assert_int_eq(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sp), 0);
	p->chan = chan_new(r->base, sp[0], role, R_QMGR, 0, &ops, p);
	ipc_send_peer(r->master, &(struct ipc_peer){.role = role}, sp[1]);
}

void
qpeer_leave(struct qpeer *p)
{
	if (p->r == NULL)
		return;
	if (p->chan != NULL)
		chan_flush(p->chan);
	chan_free(&p->chan);
	intent_map_close(&p->intent);
	if (p->seg_fd >= 0)
		close(p->seg_fd);
	if (p->large_fd >= 0)
		close(p->large_fd);
	p->r = NULL;
}

void
qrig_peers(struct qrig *r)
{
	qpeer_join(r, &r->smtpd, R_SMTPD);
	qpeer_join(r, &r->smtp, R_SMTP);
	qpeer_join(r, &r->resolver, R_RESOLVER);
	r->resolver.answers = true;
	ipc_send_seg_want(r->smtpd.chan, &(struct ipc_seg_want){});
	ipc_send_resync_end(r->smtp.chan, &(struct ipc_resync_end){});
	QWAIT(r, r->smtpd.grants == 1 && r->smtp.intent.slots != NULL);
}

/* ---- deliveries ---- */

void
qrig_session_up(struct qrig *r)
{
	ck_assert_uint_gt(r->smtp.nopens, 0);
	r->smtp.nups = r->smtp.nopens;
	ipc_send_session_up(r->smtp.chan,
	    &(struct ipc_session_up){
		.session = r->smtp.opens[r->smtp.nopens - 1].session,
		.host = SV("mx.test"),
		.host_ip = SV("127.0.0.1"),
		.source_ip = SV(""),
		.esmtp = SV("")});
}

void
qrig_result(struct qrig *r, unsigned n, enum outcome o, uint16_t code,
    const char *status, const char *text)
{
	struct ipc_result m = {
	    .seq = ++r->smtp.seq,
	    .session = r->smtp.delivers[n].session,
	    .id = r->smtp.delivers[n].id,
	    .size = 100,
	    .sender = SV("s@here.test"),
	    .envid = SV(""),
	    .job = SV("j1"),
	    .src_type = SV("smtp"),
	    .src_mta = SV(""),
	    .host = SV("mx.test"),
	    .host_ip = SV("127.0.0.1"),
	    .source_ip = sv_from(r->smtp.from == NULL ? "" : r->smtp.from),
	    .esmtp = SV(""),
	};
	struct buf b;
	struct wr w;

	buf_init(&b, 100000);
	wr_init_buf(&w, &b);
	for (uint32_t i = 0; i < r->smtp.delivers[n].n; i++) {
		struct rcpt_result res = {.idx = r->smtp.delivers[n].idx[i],
		    .outcome = (uint8_t)o,
		    .code = code,
		    .addr = SV("r@there.test"),
		    .orcpt = SV(""),
		    .status = sv_from(status),
		    .text = sv_from(text)};

		rcpt_result_put(&w, &res);
	}
	m.rcpts = buf_sv(&b);
	ipc_send_result(r->smtp.chan, &m);
	buf_fini(&b);
}

void
qrig_deliver_wait(struct qrig *r, unsigned n)
{
	struct qpeer *p = &r->smtp;

	while (p->ndelivers < n) {
		QWAIT(r, p->nopens > p->nups || p->ndelivers >= n);
		if (p->nopens > p->nups)
			qrig_session_up(r);
	}
}

unsigned
qrig_deliver(
    struct qrig *r, const char *sender, const char *rcpt, uint64_t *id_r)
{
	unsigned before = r->smtp.ndelivers;
	uint64_t id = qrig_submit(r, sender, rcpt);

	qrig_deliver_wait(r, before + 1);
	ck_assert_uint_eq(r->smtp.delivers[before].id, id);
	if (id_r != NULL)
		*id_r = id;
	return before;
}

/* ---- the control socket ---- */

static void
on_row(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_ctl_row *m = msg;
	struct qrig *r = arg;

	(void)c;
	ck_assert_int_eq(buf_add_sv(&r->rows, m->json), 0);
	ck_assert_int_eq(buf_add(&r->rows, "\n", 1), 0);
}

static void
on_end(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_ctl_end *m = msg;
	struct qrig *r = arg;

	(void)c;
	r->ctl_end = true;
	r->ctl_ends++;
	r->ctl_refused |= m->status == 1;
	r->ctl_status = m->status;
	text_copy(r->ctl_text, sizeof(r->ctl_text), m->text);
}

static void
on_ctl_close(struct chan *c, void *arg, const char *why)
{
	struct qrig *r = arg;

	(void)c;
	(void)why;
	r->ctl_closed = true;
	chan_free(&r->ctl);
}

static const struct chan_ops ctl_ops = {
    .on = {[IPC_CTL_ROW] = on_row, [IPC_CTL_END] = on_end},
    .on_close = on_ctl_close,
};

void
qrig_ctl_send(struct qrig *r, const char *words)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct sv rest = sv_from(words), v[64];
	struct svs list = {.array = v};
	int fd;

	snprintf(un.sun_path, sizeof(un.sun_path), "%s/control", r->dir);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	chan_free(&r->ctl);
	buf_clear(&r->rows);
	r->ctl_end = r->ctl_closed = r->ctl_refused = false;
	r->ctl_ends = 0;
	r->ctl = chan_new(r->base, fd, R_CTL, R_QMGR, 0, &ctl_ops, r);
	while (rest.n > 0)
		v[list.n++] = sv_cut(&rest, ' ');
	ipc_send_ctl_request(r->ctl, &(struct ipc_ctl_request){list});
}

const char *
qrig_ctl(struct qrig *r, const char *words)
{
	qrig_ctl_send(r, words);
	QWAIT(r, r->ctl_end || r->ctl_closed);
	ck_assert_msg(r->ctl_end, "%s: closed", words);
	ck_assert_int_eq(buf_add(&r->rows, "", 1), 0);
	return (const char *)buf_data(&r->rows);
}

long long
qrig_number(struct qrig *r, const char *key)
{
	char want[64];
	const char *at;

	snprintf(want, sizeof(want), "\"%s\":", key);
	at = strstr((const char *)buf_data(&r->rows), want);
	ck_assert_msg(
	    at != NULL, "no %s in %s", key, (const char *)buf_data(&r->rows));
	return strtoll(at + strlen(want), NULL, 10);
}
