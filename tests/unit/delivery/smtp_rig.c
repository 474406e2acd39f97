/* SPDX-License-Identifier: ISC */
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/base/msgid.h"
#include "common/ipc/chan.h"
#include "common/mail/envelope.h"
#include "common/mail/outcome.h"
#include "common/mail/route.h"
#include "common/spool/segment.h"
#include "tests/unit/delivery/smtp_rig.h"

#define MAX_RESULTS 4096

/* ---- the worker ---- */

static void
on_ready(struct chan *c, void *arg, const void *m)
{
	(void)c;
	(void)m;
	((struct fx *)arg)->ready = true;
}

static void
on_chan_close(struct chan *c, void *arg, const char *why)
{
	(void)c;
	(void)why;
	((struct fx *)arg)->closed = true;
}

static void
on_up(struct chan *c, void *arg, const void *msg)
{
	(void)c;
	(void)msg;
	((struct fx *)arg)->nup++;
}

static void
on_quit(struct chan *c, void *arg, const void *msg)
{
	(void)c;
	(void)msg;
	((struct fx *)arg)->nquit++;
}

static void
on_end(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_session_end *m = msg;
	struct fx *f = arg;

	(void)c;
	f->nend++;
	f->end = *m;
	snprintf(f->end_text, sizeof(f->end_text), "%.*s", SV_FMT(m->text));
}

static void
on_result(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_result *m = msg;
	struct fx *f = arg;
	struct seen_result *s = &f->results[f->nresults];
	struct rcpt_result r;
	struct rd rd;

	(void)c;
	ck_assert_uint_lt(f->nresults, MAX_RESULTS);
	f->nresults++;
	memset(s, 0, sizeof(*s));
	s->seq = m->seq;
	s->session = m->session;
	s->id = m->id;
	rd_init(&rd, m->rcpts.p, m->rcpts.n);
	while (rcpt_result_next(&rd, &r)) {
		ck_assert_uint_lt(s->n, 8);
		s->idx[s->n] = r.idx;
		s->outcome[s->n] = r.outcome;
		s->code[s->n] = r.code;
		s->relayed_no_dsn = r.relayed_no_dsn;
		snprintf(s->text[s->n], 128, "%.*s", SV_FMT(r.text));
		s->n++;
	}
	ck_assert(!rd.failed);
}

static void
on_resync(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_resync *m = msg;
	struct fx *f = arg;

	(void)c;
	f->nresync++;
	f->resync_id = m->id;
	f->resync_n = m->rcpts.n;
}

static void
on_resync_end(struct chan *c, void *arg, const void *msg)
{
	(void)c;
	(void)msg;
	((struct fx *)arg)->nresync_end++;
}

static void
on_trace(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_trace *m = msg;
	struct fx *f = arg;

	(void)c;
	ck_assert_uint_eq(m->session, 1);
	ck_assert_uint_eq(f->ntrace_end, 0);
	ck_assert_int_eq(buf_add_sv(&f->trace, m->text), 0);
	f->ntrace++;
	f->ntrace_end += m->end;
	f->ntrace_lost += m->lost;
}

static const struct chan_ops master_ops = {
	.on = { [IPC_READY] = on_ready },
	.on_close = on_chan_close,
};

static const struct chan_ops qmgr_ops = {
	.on = {
		[IPC_SESSION_UP] = on_up,
		[IPC_SESSION_QUIT] = on_quit,
		[IPC_SESSION_END] = on_end,
		[IPC_RESULT] = on_result,
		[IPC_RESYNC] = on_resync,
		[IPC_RESYNC_END] = on_resync_end,
		[IPC_TRACE] = on_trace,
	},
	.on_close = on_chan_close,
};

static void
on_late(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	*(bool *)arg = true;
}

/* Runs the loop until *counter has reached want. */
void
fx_wait(struct fx *f, const unsigned *counter, unsigned want)
{
	bool late = false;
	struct event *ev = event_new(f->base, -1, 0, on_late, &late);
	struct timeval tv = { WAIT_S, 0 };

	event_add(ev, &tv);
	while (*counter < want && !late)
		event_base_loop(f->base, EVLOOP_ONCE);
	event_free(ev);
	ck_assert_msg(!late, "nothing came");
}

static int
temp_file(size_t size)
{
	char name[] = "/tmp/pinnace-test-XXXXXX";
	int fd = mkstemp(name);

	ck_assert_int_ge(fd, 0);
	unlink(name);
	ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
	return fd;
}

/* A qmgr's channel: PEER, INTENT, SEG_OPEN. */
void
fx_qmgr(struct fx *f)
{
	int sp[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
	                     sp), 0);
	f->intent_fd = temp_file(SLOTS * INTENT_SLOT_BYTES);
	f->intents = mmap(NULL, SLOTS * INTENT_SLOT_BYTES, PROT_READ,
	    MAP_SHARED, f->intent_fd, 0);
	ck_assert_ptr_ne(f->intents, MAP_FAILED);
	ipc_send_peer(f->master, &(struct ipc_peer){ .role = R_QMGR }, sp[1]);
	f->qmgr = chan_new(f->base, sp[0], R_QMGR, R_SMTP, 0, &qmgr_ops, f);
	ipc_send_intent(f->qmgr, &(struct ipc_intent){ .slots = SLOTS },
	    dup(f->intent_fd));
	ipc_send_seg_open(f->qmgr, &(struct ipc_seg_open){ .segment = SEGMENT },
	    dup(f->seg_fd));
	fx_wait(f, &f->nresync_end, f->nresync_end + 1);
}

void
fx_start(struct fx *f)
{
	int sp[2], conf = temp_file(8);

	signal(SIGPIPE, SIG_IGN);
	memset(f, 0, sizeof(*f));
	buf_init(&f->trace, 16u << 20);
	f->results = calloc(MAX_RESULTS, sizeof(*f->results));
	f->base = event_base_new();
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
	                     sp), 0);
	f->pid = fork();
	ck_assert_int_ge(f->pid, 0);
	if (f->pid == 0) {
		dup2(sp[1], 3);
		execl("delivery/pinnace-smtp", "pinnace-smtp", "-i", "0",
		    (char *)NULL);
		_exit(127);
	}
	close(sp[1]);
	f->master = chan_new(f->base, sp[0], R_MASTER, R_SMTP, 0, &master_ops,
	    f);
	ipc_send_conf(f->master, &(struct ipc_conf){ .generation = 1 }, conf);
	f->seg_fd = temp_file(0);
	f->seg_end = SEGMENT_HEADER;
	fx_qmgr(f);
}

void
fx_stop(struct fx *f)
{
	int status;

	ipc_send_stop(f->master, &(struct ipc_stop){ .drain_ms = 5000 });
	chan_flush(f->master);
	/* acknowledge what is left, or it would wait for it */
	if (f->qmgr != NULL) {
		ipc_send_result_ack(f->qmgr,
		    &(struct ipc_result_ack){ .seq = UINT64_MAX });
		chan_flush(f->qmgr);
	}
	ck_assert_int_eq(waitpid(f->pid, &status, 0), f->pid);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
	chan_free(&f->master);
	chan_free(&f->qmgr);
	event_base_free(f->base);
	munmap(f->intents, SLOTS * INTENT_SLOT_BYTES);
	close(f->seg_fd);
	close(f->intent_fd);
	free(f->results);
	buf_fini(&f->trace);
}

/* ---- records and orders ---- */

static struct sv
envelope_make(struct buf *b, unsigned nrcpts)
{
	static const char *const names[] = { "a@sink.test", "b@sink.test",
		"c@sink.test", "d@sink.test" };
	struct env_rcpt rcpts[4] = { 0 };
	struct envelope e = { .sender = SV("from@here.test"),
		.src_type = SV("smtp"), .rcpts = rcpts, .nrcpts = nrcpts };
	struct wr w;

	for (unsigned i = 0; i < nrcpts; i++)
		rcpts[i].addr = sv_from(names[i]);
	wr_init_buf(&w, b);
	envelope_encode(&w, &e);
	ck_assert(!w.failed);
	return buf_sv(b);
}

/* Appends a record; with large the body goes to f->large_fd. */
struct where
record_put(struct fx *f, unsigned nrcpts, struct sv body, bool large)
{
	unsigned char header[RECORD_HEADER];
	struct iovec iov[8], chunk;
	struct buf env;
	struct where at = { .id = msgid_make(SEGMENT, f->seg_end),
		.offset = f->seg_end };
	struct record_parts p = { .id = at.id, .segment = SEGMENT,
		.head = SV("Received: by test\r\n") };
	size_t n;

	buf_init(&env, RECORD_ENV_MAX);
	p.env = envelope_make(&env, nrcpts);
	chunk.iov_base = (void *)(uintptr_t)body.p;
	chunk.iov_len = body.n;
	p.body = &chunk;
	p.nbody = 1;
	if (large) {
		f->large_fd = temp_file(0);
		ck_assert(write(f->large_fd, body.p, body.n) ==
		    (ssize_t)body.n);
		p.nbody = 0;
		p.flags = RECORD_LARGE;
		p.large_id = at.large_id = 99;
		p.large_len = body.n;
		p.large_crc = record_large_crc(99, 0, 0, body.p, body.n);
	}
	at.length = record_length(&p);
	n = record_build(&p, header, iov);
	ck_assert_uint_gt(n, 0);
	ck_assert(pwritev(f->seg_fd, iov, (int)n, (off_t)f->seg_end) ==
	    (ssize_t)at.length);
	f->seg_end += at.length;
	buf_fini(&env);
	return at;
}

void
open_session_to(struct fx *f, uint64_t id, const struct sink *const *sinks,
    unsigned nsinks, uint32_t max_msgs, uint32_t final_ms)
{
	struct route_addr addr = { .family = 4, .ip = { 127, 0, 0, 1 } };
	struct route_host hosts[4] = { 0 };
	struct route route = { hosts, (uint8_t)nsinks };
	unsigned char mem[4096];
	struct wr w;

	for (unsigned i = 0; i < nsinks; i++)
		hosts[i] = (struct route_host){ .preference = (uint16_t)i,
			.port = (uint16_t)sinks[i]->port,
			.name = SV("sink.test"), .addrs = &addr, .naddrs = 1 };
	wr_init(&w, mem, sizeof(mem));
	route_encode(&w, &route);
	ipc_send_session_open(f->qmgr, &(struct ipc_session_open){
		.session = id, .queue = SV("sink.test/v"),
		.helo = SV("here.test"), .route = sv_make(mem, w.n),
		.window = 4, .max_msgs = max_msgs, .final_ms = final_ms,
		.flags = f->flags,
		.idle_ms = f->idle_ms != 0 ? f->idle_ms : 60000 });
}

void
open_session(struct fx *f, uint64_t id, const struct sink *sink)
{
	open_session_to(f, id, &sink, 1, 0, 0);
}

void
deliver(struct fx *f, uint64_t session, const struct where *at,
    unsigned nrcpts)
{
	static const uint32_t idx[] = { 0, 1, 2, 3 };

	ipc_send_deliver(f->qmgr, &(struct ipc_deliver){
		.session = session, .id = at->id, .segment = SEGMENT,
		.offset = at->offset, .length = at->length,
		.large_id = at->large_id,
		.rcpts = { .array = idx, .n = nrcpts } });
}

unsigned
slots_in_state(const struct fx *f, enum intent_state state)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SLOTS; i++) {
		struct intent_entry e;

		n += intent_slot_read(f->intents + i * INTENT_SLOT_BYTES,
		         &e) && e.state == state;
	}
	return n;
}
