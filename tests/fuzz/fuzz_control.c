/* SPDX-License-Identifier: ISC */
/*
 * The control socket: qmgr's commands on a small queue. First byte, bit 0:
 * what follows is a raw stream; else commands, one a line, words split at
 * blanks. Oracles: every answer is a row of valid JSON or an end with a status
 * of 0 to 2; every whole command gets one end, but a trace; whatever is to be
 * logged can be encoded; nothing is deleted without --yes; the scheduler stays
 * consistent; the client is gone at the end.
 */
#include <sys/socket.h>
#include <sys/un.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/spool/sio_mem.h"
#include "common/sys/clock.h"
#include "qmgr/control.h"
#include "qmgr/sched_private.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/logstub.h"

#define MSGS 6

static struct role role;
static struct qmgr qmgr;
static int listen_fd = -1;
static struct sockaddr_un listen_un;
static socklen_t listen_len;

/* ---- the rest of qmgr ---- */

struct sched_now
qmgr_now(void)
{
	return (struct sched_now){ .mono = clock_mono(),
		.wall = clock_wall() };
}

void
qmgr_turn_end(struct qmgr *q)
{
	(void)sched_run(q->sched, qmgr_now());
}

void
journal_append(struct qmgr *q, enum ev_type type, const union ev_any *e)
{
	union ev_any again;
	struct buf b;
	struct wr w;

	(void)q;
	buf_init(&b, 1u << 20);
	wr_init_buf(&w, &b);
	ev_encode(&w, type, e);
	must(!w.failed && ev_decode(type, buf_sv(&b), &again));
	buf_fini(&b);
}

void
journal_queue_set(struct qmgr *q, struct sv name,
    const struct sched_queue_state *st)
{
	union ev_any ev = { .queue_set = { .queue = name,
	    .paused = st->paused, .backoff = st->backoff } };

	journal_append(q, EV_QUEUE_SET, &ev);
}

struct evlog_pos
journal_durable(const struct qmgr *q)
{
	(void)q;
	return (struct evlog_pos){ 1, 40 };
}

bool
envelope_read(struct qmgr *q, const struct smsg *m, struct envelope *e_r)
{
	static const struct env_rcpt rcpts[] = { { .addr = SV("a@x.test") },
		{ .addr = SV("\"\xff\x1b\"@y.test") } };
	struct sched_msg info;

	(void)q;
	smsg_info(m, &info);
	memset(e_r, 0, sizeof(*e_r));
	e_r->sender = SV("s\x80@z.test");
	e_r->job = SV("job1");
	e_r->rcpts = rcpts;
	e_r->nrcpts = 2;
	return info.id % 3 != 0;
}

bool
suspect_release(struct qmgr *q, struct smsg *m, uint32_t idx)
{
	if (smsg_rcpt_state(m, idx) != SR_HELD)
		return false;
	sched_rcpt_hold(q->sched, qmgr_now(), m, idx, false, 0);
	return true;
}

bool
suspect_is_open(const struct qmgr *q, uint64_t id)
{
	(void)q;
	return id % 3 == 0;
}

bool
outcome_from_record(struct qmgr *q, struct smsg *m, uint32_t idx,
    uint8_t outcome, const struct sched_why *why)
{
	(void)outcome;
	(void)why;
	sched_final(q->sched, qmgr_now(), m, idx, SR_BOUNCING);
	return true;
}

struct sv
suspect_reason(const struct qmgr *q, uint64_t id, char out[128])
{
	(void)q;
	(void)out;
	return id % 2 == 0 ? SV("a reason \x01\xff") : SV("");
}

void
role_orphan_stop(struct role *r)
{
	(void)r;
}

/* ---- look-ups: answered at once ---- */

bool
routes_ask(const struct qmgr *q, uint64_t token, struct sv domain,
    struct sv vmta)
{
	static const struct route_addr ip = { 4, { 192, 0, 2, 1 } };
	static const struct route_host host = { 10, 25, SV("mx\xff.test"),
		&ip, 1 };
	struct ipc_route m = { .ttl_s = 60, .text = domain };
	unsigned char mem[256];
	struct wr w;

	(void)vmta;
	wr_init(&w, mem, sizeof(mem));
	route_encode(&w, &(struct route){ &host, 1 });
	m.route = sv_make(mem, w.n);
	if (domain.n % 8 != 7)
		control_route(&qmgr, token,
		    (enum route_status)(domain.n % ROUTE_STATUSES), &m);
	(void)q;
	return domain.n % 8 != 7;
}

bool
routes_site(const struct qmgr *q, struct sv domain, struct sv vmta,
    const struct route *r, char name[ROUTES_SITE_MAX])
{
	(void)q;
	(void)domain;
	(void)vmta;
	name[0] = '\0';
	return r->nhosts > 1;
}

bool
routes_leaves_out(struct qmgr *q, struct sv domain, struct sv vmta,
    struct sv host)
{
	(void)q;
	(void)vmta;
	return host.n > domain.n;
}

const char *
route_status_code(enum route_status s)
{
	return s == ROUTE_NO_DOMAIN ? "5.1.2" : "4.4.3";
}

/* ---- the scheduler's world: nothing is ever sent ---- */

static void
on_resolve(void *arg, struct squeue *q, struct sv domain, struct sv vmta,
    const struct conf_domain *conf)
{
	(void)arg;
	(void)q;
	(void)domain;
	(void)vmta;
	must(conf != NULL);
}

static void
on_msg_done(void *arg, const struct smsg *m)
{
	(void)arg;
	(void)m;
}

static const struct sched_ops sched_ops = {
	.resolve = on_resolve,
	.msg_done = on_msg_done,
};

static void
queue_fill(struct qmgr *q)
{
	for (uint64_t i = 1; i <= MSGS; i++) {
		struct sched_msg m = { .id = i << 30, .segment = 1,
			.offset = 64 * i, .length = 64, .body_len = 99,
			.arrival_us = clock_wall().us };
		struct sv domains[2] = { SV("x.test"), SV("y.test") };
		struct smsg *s = sched_msg_add(q->sched, qmgr_now(), &m,
		    i % 2 == 0 ? SV("v1") : SV(""), domains, 2);

		must(s != NULL);
		if (i == 4)
			sched_rcpt_hold(q->sched, qmgr_now(), s, 1, true, 0);
		if (i == 3)
			sched_rcpt_restore(q->sched, qmgr_now(), s, 0,
			    SR_RETRY, 2, clock_wall().us + 1000000);
	}
}

static void
listener_make(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
	    0);

	/* an abstract name that the system chooses */
	listen_un.sun_family = AF_UNIX;
	listen_len = sizeof(listen_un);
	must(fd >= 0 && bind(fd, (struct sockaddr *)&listen_un,
	    offsetof(struct sockaddr_un, sun_path)) == 0);
	must(listen(fd, 8) == 0);
	must(getsockname(fd, (struct sockaddr *)&listen_un,
	    &listen_len) == 0);
	role.base = event_base_new();
	must(role.base != NULL);
	qmgr.role = &role;
	control_init(&qmgr);
	control_listener(&qmgr, fd);
	listen_fd = fd;
}

static void
qmgr_begin(struct qmgr *q)
{
	static const char text[] = "host-name mx.test\n"
	    "<virtual-mta v1>\nsmtp-source-host 127.0.0.1 a.test\n"
	    "</virtual-mta>\n"
	    "<warmup w>\nvirtual-mta v1\nday-list 5,9\n</warmup>\n";
	struct segtab_conf sc = { .epoch = 1, .segment_size = 32768 };
	struct conf_report rep;

	conf_report_init(&rep);
	q->conf = conf_parse("fuzz", sv_from(text), &rep);
	conf_report_fini(&rep);
	must(q->conf != NULL);
	q->sio = sio_mem_new();
	must(sio_spool_create(q->sio) == 0);
	q->segtab = segtab_open(q->sio, &sc);
	q->sched = sched_new(&sched_ops, q, q->conf, 1);
	must(q->segtab != NULL && q->sched != NULL);
	queue_fill(q);
}

static void
qmgr_end(struct qmgr *q)
{
	audit_close(q);
	standing_free(q);
	sched_free(&q->sched);
	segtab_free(&q->segtab);
	sio_free(&q->sio);
	conf_free(&q->conf);
}

/* ---- the client ---- */

static void
answers_read(int fd, struct buf *in, bool *eof)
{
	for (int i = 0; i < 4; i++) {
		unsigned char *at = buf_reserve(in, 65536);
		ssize_t n;

		event_base_loop(role.base, EVLOOP_NONBLOCK);
		must(at != NULL);
		n = recv(fd, at, 65536, MSG_DONTWAIT);
		*eof = *eof || n == 0;
		if (n > 0) {
			buf_commit(in, (size_t)n);
			i = 0;
		}
	}
}

static void
row_check(struct rd *body)
{
	struct ipc_ctl_row m;
	json_t *j;

	must(ipc_ctl_row_decode(body, &m));
	j = json_loadb(m.json.p, m.json.n, 0, NULL);
	must(json_is_object(j));
	json_decref(j);
}

/* The number of ends. */
static unsigned
answers_check(const struct buf *in)
{
	unsigned ends = 0;
	struct rd r;

	rd_init(&r, buf_data(in), buf_len(in));
	while (r.n > 0) {
		uint32_t len = rd_u32(&r);
		unsigned type = rd_u16(&r);
		struct ipc_ctl_end end;
		struct sv v;
		struct rd body;

		must(rd_u16(&r) == 0 && len >= 8);
		v = rd_bytes(&r, len - 8);
		must(!r.failed);
		rd_init(&body, v.p, v.n);
		if (type == IPC_CTL_ROW) {
			row_check(&body);
			continue;
		}
		must(type == IPC_CTL_END);
		must(ipc_ctl_end_decode(&body, &end) && end.status <= 2);
		ends++;
	}
	return ends;
}

/* One frame; false if it cannot be one. */
static bool
command_put(struct buf *out, struct sv line, bool *yes)
{
	struct sv words[64];
	struct ipc_ctl_request m = { .words = { .array = words } };
	size_t start = buf_len(out);
	struct wr w;

	while (line.p != NULL && m.words.n < 64) {
		struct sv word = sv_head(sv_cut(&line, ' '), SVS_TEXT_MAX);

		words[m.words.n++] = word;
		*yes = *yes || sv_eq(word, SV("--yes"));
	}
	must(buf_reserve(out, 8) != NULL);
	buf_commit(out, 8);
	wr_init_buf(&w, out);
	ipc_ctl_request_encode(&w, &m);
	must(!w.failed);
	wr_init(&w, out->mem + out->head + start, 8);
	wr_u32(&w, (uint32_t)(buf_len(out) - start));
	wr_u16(&w, IPC_CTL_REQUEST);
	wr_u16(&w, 0);
	return true;
}

static unsigned
commands_send(int fd, struct sv in, struct buf *answers, bool *yes, bool *eof)
{
	unsigned n = 0;
	struct buf out;

	buf_init(&out, 1u << 20);
	while (in.p != NULL && n < 20) {
		buf_clear(&out);
		n += command_put(&out, sv_cut(&in, '\n'), yes);
		must(send(fd, buf_data(&out), buf_len(&out),
		    MSG_NOSIGNAL) == (ssize_t)buf_len(&out));
		answers_read(fd, answers, eof);
	}
	buf_fini(&out);
	return n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sv in;
	struct sched_totals t;
	struct buf answers;
	bool yes = false, eof = false;
	unsigned sent, got;
	int fd;

	if (size < 2 || size > 8192)
		return 0;
	if (listen_fd < 0)
		listener_make();
	qmgr_begin(&qmgr);
	in = sv_make(data + 1, size - 1);
	buf_init(&answers, 1u << 26);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(fd >= 0 && connect(fd, (struct sockaddr *)&listen_un,
	    listen_len) == 0);
	if ((data[0] & 1) != 0) {
		yes = true; /* who knows */
		(void)!send(fd, in.p, in.n, MSG_NOSIGNAL);
		answers_read(fd, &answers, &eof);
		(void)answers_check(&answers);
	} else {
		sent = commands_send(fd, in, &answers, &yes, &eof);
		got = answers_check(&answers);
		/* a trace waits for a session that there is not */
		must(!eof && got + (qmgr.traces != NULL) == sent);
	}
	sched_check(qmgr.sched);
	sched_totals(qmgr.sched, &t);
	must(yes || t.rcpts == 2 * MSGS);
	close(fd);
	event_base_loop(role.base, EVLOOP_NONBLOCK);
	event_base_loop(role.base, EVLOOP_NONBLOCK);
	must(qmgr.traces == NULL);
	buf_fini(&answers);
	qmgr_end(&qmgr);
	return 0;
}
