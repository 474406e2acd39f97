/* SPDX-License-Identifier: ISC */
/*
 * The real pinnace-smtp: the test is its master and its qmgr, on socketpairs,
 * with a real segment file; the other side is a small scripted server in a
 * process of its own.
 */
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
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
#include "common/spool/intent.h"
#include "common/spool/segment.h"

#define WAIT_S      10
#define SEGMENT     7u
#define MAX_RESULTS 4096
#define SLOTS       16u

/* ---- the server ---- */

enum sink_mode {
	SINK_GOOD,
	SINK_REFUSE_RCPT_B,  /* 550 to b@ */
	SINK_REFUSE_ALL,     /* 550 to each RCPT */
	SINK_DROP_AT_DOT,    /* reads the message, then closes */
	SINK_HANG_AT_DOT,    /* reads the message, says nothing */
	SINK_GREETING_450,
	SINK_GREETING_554,
	SINK_NO_EHLO,        /* 500 to EHLO: HELO, and no extension */
	SINK_WAIT_AT_DOT,    /* answers the dot after a byte on the gate */
};

struct sink {
	int fd, port;
	pid_t pid;
	int messages;  /* read end: what was received, dot-unstuffed */
	int gate;      /* write end */
};

struct sink_io {
	FILE *in, *out;
	int mode, messages, gate;
};

static bool
sink_body(struct sink_io *io)
{
	char line[65536];
	char *text = NULL;
	size_t n = 0;
	FILE *mem = open_memstream(&text, &n);
	uint32_t len;

	for (;;) {
		const char *p = line;

		if (fgets(line, sizeof(line), io->in) == NULL)
			_exit(1);
		if (strcmp(line, ".\r\n") == 0)
			break;
		if (line[0] == '.')
			p++;
		fputs(p, mem);
	}
	fclose(mem);
	len = (uint32_t)n;
	if (write(io->messages, &len, 4) != 4 ||
	    write(io->messages, text, n) != (ssize_t)n)
		_exit(1);
	free(text);
	return true;
}

static void
sink_say(struct sink_io *io, const char *text)
{
	fputs(text, io->out);
	fputs("\r\n", io->out);
	fflush(io->out);
}

/* False: close. */
static bool
sink_data(struct sink_io *io)
{
	char go;

	sink_say(io, "354 go on");
	sink_body(io);
	if (io->mode == SINK_DROP_AT_DOT)
		return false;
	if (io->mode == SINK_HANG_AT_DOT)
		pause();
	if (io->mode == SINK_WAIT_AT_DOT && read(io->gate, &go, 1) != 1)
		return false;
	sink_say(io, "250 2.0.0 taken");
	return true;
}

static bool
sink_command(struct sink_io *io, const char *line)
{
	if (strncmp(line, "EHLO", 4) == 0) {
		sink_say(io, io->mode == SINK_NO_EHLO ? "500 what?" :
		    "250-sink.test hello\r\n250-PIPELINING\r\n250-DSN\r\n"
		    "250 SIZE 1000000");
	} else if ((strncmp(line, "RCPT TO:<b@", 11) == 0 &&
	               io->mode == SINK_REFUSE_RCPT_B) ||
	    (strncmp(line, "RCPT", 4) == 0 && io->mode == SINK_REFUSE_ALL)) {
		sink_say(io, "550 5.1.1 no such user");
	} else if (strncmp(line, "DATA", 4) == 0) {
		return sink_data(io);
	} else if (strncmp(line, "QUIT", 4) == 0) {
		sink_say(io, "221 bye");
		return false;
	} else {
		sink_say(io, "250 2.0.0 ok");
	}
	return true;
}

static void
sink_session(int fd, int mode, int messages, int gate)
{
	struct sink_io io = { fdopen(fd, "r"), fdopen(dup(fd), "w"), mode,
		messages, gate };
	char line[4096];
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (mode == SINK_GREETING_450) {
		sink_say(&io, "450 4.3.2 not now");
	} else if (mode == SINK_GREETING_554) {
		sink_say(&io, "554 5.7.1 not you");
	} else {
		sink_say(&io, "220 sink.test");
		while (fgets(line, sizeof(line), io.in) != NULL)
			if (!sink_command(&io, line))
				break;
	}
	fclose(io.in);
	fclose(io.out);
}

static void
sink_start(struct sink *s, enum sink_mode mode)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);
	int messages[2], gate[2];

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(s->fd, (struct sockaddr *)&a, len), 0);
	ck_assert_int_eq(listen(s->fd, 64), 0);
	ck_assert_int_eq(getsockname(s->fd, (struct sockaddr *)&a, &len), 0);
	s->port = ntohs(a.sin_port);
	ck_assert_int_eq(pipe(messages), 0);
	ck_assert_int_eq(pipe(gate), 0);
	s->pid = fork();
	ck_assert_int_ge(s->pid, 0);
	if (s->pid == 0) {
		int fd;

		signal(SIGCHLD, SIG_IGN);
		close(gate[1]);
		while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
			if (fork() == 0) {
				alarm(WAIT_S * 3);
				sink_session(fd, (int)mode, messages[1],
				    gate[0]);
				_exit(0);
			}
			close(fd);
		}
		_exit(0);
	}
	close(messages[1]);
	close(gate[0]);
	s->messages = messages[0];
	s->gate = gate[1];
}

static void
sink_stop(struct sink *s)
{
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	close(s->fd);
	close(s->messages);
	close(s->gate);
}

/* The next message received; the caller frees. */
static char *
sink_message(struct sink *s, size_t *n_r)
{
	uint32_t len;
	size_t got = 0;
	char *text;

	ck_assert_int_eq(read(s->messages, &len, 4), 4);
	text = malloc(len + 1);
	while (got < len) {
		ssize_t n = read(s->messages, text + got, len - got);

		ck_assert_int_gt(n, 0);
		got += (size_t)n;
	}
	text[len] = '\0';
	*n_r = len;
	return text;
}

/* ---- the worker ---- */

struct seen_result {
	uint64_t seq, session, id;
	unsigned n;
	uint32_t idx[8];
	uint8_t outcome[8];
	uint16_t code[8];
	char text[8][128];
	bool relayed_no_dsn;
};

struct fx {
	struct event_base *base;
	struct chan *master, *qmgr;
	pid_t pid;
	int seg_fd, large_fd, intent_fd;
	uint64_t seg_end;
	uint32_t idle_ms;
	unsigned char *intents;
	bool ready, closed;
	unsigned nup, nend, nresync, nresync_end;
	struct ipc_session_end end;
	char end_text[256];
	uint64_t resync_id;
	uint32_t resync_n;
	unsigned nresults;
	struct seen_result *results;
};

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

static const struct chan_ops master_ops = {
	.on = { [IPC_READY] = on_ready },
	.on_close = on_chan_close,
};

static const struct chan_ops qmgr_ops = {
	.on = {
		[IPC_SESSION_UP] = on_up,
		[IPC_SESSION_END] = on_end,
		[IPC_RESULT] = on_result,
		[IPC_RESYNC] = on_resync,
		[IPC_RESYNC_END] = on_resync_end,
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
static void
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
static void
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

static void
fx_start(struct fx *f)
{
	int sp[2], conf = temp_file(8);

	signal(SIGPIPE, SIG_IGN);
	memset(f, 0, sizeof(*f));
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

static void
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
}

/* ---- records and orders ---- */

struct where {
	uint64_t id, offset, length, large_id;
};

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
static struct where
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

static void
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
		.idle_ms = f->idle_ms != 0 ? f->idle_ms : 60000 });
}

static void
open_session(struct fx *f, uint64_t id, const struct sink *sink)
{
	open_session_to(f, id, &sink, 1, 0, 0);
}

static void
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

static unsigned
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

/* ---- the tests ---- */

START_TEST(test_deliver_good_server_arrives_byte_for_byte)
{
	struct fx f;
	struct sink sink;
	struct where at;
	size_t n;
	char *text;

	sink_start(&sink, SINK_GOOD);
	fx_start(&f);
	at = record_put(&f, 1, SV("Subject: x\r\n\r\n.dot\r\n..\r\nend\r\n"),
	    false);
	open_session(&f, 1, &sink);
	deliver(&f, 1, &at, 1);
	fx_wait(&f, &f.nresults, 1);
	ck_assert_uint_eq(f.nup, 1);
	ck_assert_uint_eq(f.results[0].outcome[0], OUT_DELIVERED);
	ck_assert_uint_eq(f.results[0].code[0], 250);
	ck_assert_str_eq(f.results[0].text[0], "250 2.0.0 taken");
	ck_assert(!f.results[0].relayed_no_dsn);
	ck_assert_uint_eq(slots_in_state(&f, INTENT_DELIVERED), 1);
	text = sink_message(&sink, &n);
	ck_assert_str_eq(text, "Received: by test\r\nSubject: x\r\n\r\n.dot"
	                       "\r\n..\r\nend\r\n");
	free(text);
	ipc_send_result_ack(f.qmgr, &(struct ipc_result_ack){ .seq = 1 });
	ipc_send_session_close(f.qmgr,
	    &(struct ipc_session_close){ .session = 1 });
	fx_wait(&f, &f.nend, 1);
	ck_assert_uint_eq(f.end.why, END_IDLE);
	ck_assert_uint_eq(slots_in_state(&f, INTENT_DELIVERED), 0);
	fx_stop(&f);
	sink_stop(&sink);
}
END_TEST

START_TEST(test_deliver_many_pipelined_all_arrive_in_order)
{
	struct fx f;
	struct sink sink;
	struct where at;

	sink_start(&sink, SINK_GOOD);
	fx_start(&f);
	open_session(&f, 1, &sink);
	for (unsigned i = 0; i < 50; i++) {
		char body[64];
		int n = snprintf(body, sizeof(body), "number %u\r\n", i);

		at = record_put(&f, 2, sv_make(body, (size_t)n), false);
		deliver(&f, 1, &at, 2);
	}
	/* 16 slots only: the acknowledgements let it go on */
	for (unsigned i = 1; i <= 50; i++) {
		size_t n;
		char want[32], *text;

		fx_wait(&f, &f.nresults, i);
		ipc_send_result_ack(f.qmgr,
		    &(struct ipc_result_ack){ .seq = i });
		text = sink_message(&sink, &n);
		snprintf(want, sizeof(want), "number %u\r\n", i - 1);
		ck_assert_ptr_nonnull(strstr(text, want));
		free(text);
		ck_assert_uint_eq(f.results[i - 1].n, 2);
		ck_assert_uint_eq(f.results[i - 1].outcome[1], OUT_DELIVERED);
	}
	fx_stop(&f);
	sink_stop(&sink);
}
END_TEST

START_TEST(test_deliver_one_recipient_refused_each_own_outcome)
{
	struct fx f;
	struct sink sink;
	struct where at;

	sink_start(&sink, SINK_REFUSE_RCPT_B);
	fx_start(&f);
	at = record_put(&f, 3, SV("x\r\n"), false);
	open_session(&f, 1, &sink);
	deliver(&f, 1, &at, 3);
	fx_wait(&f, &f.nresults, 1);
	ck_assert_uint_eq(f.results[0].n, 3);
	ck_assert_uint_eq(f.results[0].outcome[0], OUT_DELIVERED);
	ck_assert_uint_eq(f.results[0].outcome[1], OUT_PERMANENT);
	ck_assert_uint_eq(f.results[0].code[1], 550);
	ck_assert_uint_eq(f.results[0].outcome[2], OUT_DELIVERED);
	fx_stop(&f);
	sink_stop(&sink);
}
END_TEST

START_TEST(test_deliver_large_body_streams_whole)
{
	size_t size = (size_t)3 << 20, n;
	char *body = malloc(size), *text;
	struct fx f;
	struct sink sink;
	struct where at;

	for (size_t i = 0; i < size; i++)
		body[i] = i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' :
		    i % 64 == 0 && i % 128 == 0 ? '.' : 'x';
	sink_start(&sink, SINK_NO_EHLO);
	fx_start(&f);
	at = record_put(&f, 1, sv_make(body, size), true);
	open_session(&f, 1, &sink);
	ipc_send_large_open(f.qmgr, &(struct ipc_large_open){ .large_id = 99 },
	    f.large_fd);
	deliver(&f, 1, &at, 1);
	chan_flush(f.qmgr);
	text = sink_message(&sink, &n);
	fx_wait(&f, &f.nresults, 1);
	ck_assert_uint_eq(f.results[0].outcome[0], OUT_DELIVERED);
	ck_assert(f.results[0].relayed_no_dsn);
	ck_assert_uint_eq(n, size + strlen("Received: by test\r\n"));
	ck_assert_int_eq(memcmp(text + n - size, body, size), 0);
	free(text);
	free(body);
	fx_stop(&f);
	sink_stop(&sink);
}
END_TEST

START_TEST(test_deliver_corrupt_records_unreadable)
{
	struct fx f;
	struct sink sink;
	struct where at, large, gone;
	int fd;

	sink_start(&sink, SINK_GOOD);
	fx_start(&f);
	at = record_put(&f, 1, SV("some body\r\n"), false);
	large = record_put(&f, 1, SV("another body\r\n"), true);
	fd = dup(f.large_fd);
	gone = large;
	gone.offset += 8;
	ck_assert_int_eq(pwrite(f.seg_fd, "X", 1,
	                     (off_t)(at.offset + RECORD_HEADER + 100)), 1);
	ck_assert_int_eq(pwrite(fd, "X", 1, 3), 1);
	close(fd);
	open_session(&f, 1, &sink);
	deliver(&f, 1, &at, 1);
	deliver(&f, 1, &gone, 1);
	ipc_send_large_open(f.qmgr, &(struct ipc_large_open){ .large_id = 99 },
	    f.large_fd);
	deliver(&f, 1, &large, 1);
	fx_wait(&f, &f.nresults, 3);
	for (int i = 0; i < 3; i++)
		ck_assert_uint_eq(f.results[i].outcome[0], OUT_UNREADABLE);
	fx_stop(&f);
	sink_stop(&sink);
}
END_TEST

START_TEST(test_deliver_lost_after_dot_in_doubt)
{
	struct fx f;
	struct sink sink;
	struct where at;

	sink_start(&sink, SINK_DROP_AT_DOT);
	fx_start(&f);
	at = record_put(&f, 1, SV("x\r\n"), false);
	open_session(&f, 1, &sink);
	deliver(&f, 1, &at, 1);
	deliver(&f, 1, &at, 1);
	fx_wait(&f, &f.nend, 1);
	ck_assert_uint_eq(f.nresults, 1);
	ck_assert_uint_eq(f.results[0].outcome[0], OUT_IN_DOUBT);
	ck_assert_uint_eq(f.end.why, END_LOST);
	ck_assert_uint_eq(slots_in_state(&f, INTENT_DOT_SENT), 1);
	fx_stop(&f);
	sink_stop(&sink);
}
END_TEST

START_TEST(test_deliver_no_answer_to_dot_in_doubt_after_timeout)
{
	const struct sink *to;
	struct fx f;
	struct sink sink;
	struct where at;

	sink_start(&sink, SINK_HANG_AT_DOT);
	fx_start(&f);
	at = record_put(&f, 1, SV("x\r\n"), false);
	to = &sink;
	open_session_to(&f, 1, &to, 1, 0, 300);
	deliver(&f, 1, &at, 1);
	fx_wait(&f, &f.nend, 1);
	ck_assert_uint_eq(f.nresults, 1);
	ck_assert_uint_eq(f.results[0].outcome[0], OUT_IN_DOUBT);
	ck_assert_ptr_nonnull(strstr(f.results[0].text[0], "timeout"));
	fx_stop(&f);
	sink_stop(&sink);
}
END_TEST

START_TEST(test_killed_after_dot_intent_says_so)
{
	struct fx f;
	struct sink sink;
	struct where at;
	size_t n;

	sink_start(&sink, SINK_HANG_AT_DOT);
	fx_start(&f);
	at = record_put(&f, 1, SV("x\r\n"), false);
	open_session(&f, 1, &sink);
	deliver(&f, 1, &at, 1);
	chan_flush(f.qmgr);
	free(sink_message(&sink, &n));
	kill(f.pid, SIGKILL);
	waitpid(f.pid, NULL, 0);
	ck_assert_uint_eq(slots_in_state(&f, INTENT_DOT_SENT), 1);
	chan_free(&f.master);
	chan_free(&f.qmgr);
	event_base_free(f.base);
	free(f.results);
	sink_stop(&sink);
}
END_TEST

START_TEST(test_open_failing_hosts_next_is_used)
{
	struct fx f;
	struct sink dead, busy, good;
	const struct sink *to[] = { &dead, &busy, &good };
	struct where at;

	sink_start(&dead, SINK_GOOD);
	sink_stop(&dead); /* nobody listens there any more */
	sink_start(&busy, SINK_GREETING_450);
	sink_start(&good, SINK_GOOD);
	fx_start(&f);
	at = record_put(&f, 1, SV("x\r\n"), false);
	open_session_to(&f, 1, to, 3, 0, 0);
	deliver(&f, 1, &at, 1);
	fx_wait(&f, &f.nresults, 1);
	ck_assert_uint_eq(f.results[0].outcome[0], OUT_DELIVERED);
	ck_assert_uint_eq(f.nend, 0);
	fx_stop(&f);
	sink_stop(&busy);
	sink_stop(&good);
}
END_TEST

START_TEST(test_open_all_hosts_fail_end_says_why)
{
	struct fx f;
	struct sink dead, busy, never;
	const struct sink *to[] = { &busy, &never, &dead };

	sink_start(&dead, SINK_GOOD);
	sink_stop(&dead);
	sink_start(&busy, SINK_GREETING_450);
	sink_start(&never, SINK_GREETING_554);
	fx_start(&f);
	open_session_to(&f, 1, to + 2, 1, 0, 0);
	fx_wait(&f, &f.nend, 1);
	ck_assert_uint_eq(f.end.why, END_CONNECT);
	ck_assert_ptr_nonnull(strstr(f.end_text, "refused"));
	open_session_to(&f, 2, to + 1, 1, 0, 0);
	fx_wait(&f, &f.nend, 2);
	ck_assert_uint_eq(f.end.why, END_GREETING_PERM);
	ck_assert_uint_eq(f.end.code, 554);
	/* permanent at one host only is not permanent */
	open_session_to(&f, 3, to, 2, 0, 0);
	fx_wait(&f, &f.nend, 3);
	ck_assert_uint_eq(f.end.why, END_GREETING_TEMP);
	ck_assert_str_eq(f.end_text, "450 4.3.2 not now");
	open_session_to(&f, 4, to, 0, 0, 0);
	fx_wait(&f, &f.nend, 4);
	ck_assert_uint_eq(f.end.why, END_ROUTE);
	fx_stop(&f);
	sink_stop(&busy);
	sink_stop(&never);
}
END_TEST

START_TEST(test_session_max_msgs_ends_with_limit)
{
	const struct sink *to;
	struct fx f;
	struct sink sink;
	struct where at;

	sink_start(&sink, SINK_GOOD);
	fx_start(&f);
	at = record_put(&f, 1, SV("x\r\n"), false);
	to = &sink;
	open_session_to(&f, 1, &to, 1, 2, 0);
	for (int i = 0; i < 3; i++)
		deliver(&f, 1, &at, 1);
	fx_wait(&f, &f.nend, 1);
	ck_assert_uint_eq(f.end.why, END_LIMIT);
	ck_assert_uint_eq(f.nresults, 2);
	fx_stop(&f);
	sink_stop(&sink);
}
END_TEST

START_TEST(test_session_without_work_ends_idle)
{
	const struct sink *to;
	struct fx f;
	struct sink sink;

	sink_start(&sink, SINK_GOOD);
	fx_start(&f);
	to = &sink;
	f.idle_ms = 50;
	open_session_to(&f, 1, &to, 1, 0, 0);
	fx_wait(&f, &f.nend, 1);
	ck_assert_uint_eq(f.nup, 1);
	ck_assert_uint_eq(f.end.why, END_IDLE);
	fx_stop(&f);
	sink_stop(&sink);
}
END_TEST

START_TEST(test_no_slots_left_waiting_session_goes_on)
{
	struct fx f;
	struct sink refuses, good;
	struct where at;

	sink_start(&refuses, SINK_REFUSE_ALL);
	sink_start(&good, SINK_GOOD);
	fx_start(&f);
	at = record_put(&f, 1, SV("x\r\n"), false);
	/* all slots but one are taken by results without acknowledgement */
	open_session(&f, 1, &good);
	for (unsigned i = 0; i < SLOTS - 1; i++)
		deliver(&f, 1, &at, 1);
	fx_wait(&f, &f.nresults, SLOTS - 1);
	/* two sessions share the last; what is refused gives it back */
	open_session(&f, 2, &refuses);
	open_session(&f, 3, &refuses);
	for (unsigned i = 0; i < 10; i++) {
		deliver(&f, 2, &at, 1);
		deliver(&f, 3, &at, 1);
	}
	fx_wait(&f, &f.nresults, SLOTS - 1 + 20);
	ck_assert_uint_eq(f.results[SLOTS + 5].outcome[0], OUT_PERMANENT);
	fx_stop(&f);
	sink_stop(&refuses);
	sink_stop(&good);
}
END_TEST

START_TEST(test_stop_queued_given_back_and_begun_finished)
{
	struct fx f;
	struct sink wait;
	struct where at;
	size_t n;

	sink_start(&wait, SINK_WAIT_AT_DOT);
	fx_start(&f);
	at = record_put(&f, 1, SV("x\r\n"), false);
	open_session(&f, 1, &wait);
	for (int i = 0; i < 4; i++)
		deliver(&f, 1, &at, 1);
	chan_flush(f.qmgr);
	free(sink_message(&wait, &n));
	ipc_send_stop(f.master, &(struct ipc_stop){ .drain_ms = 5000 });
	chan_flush(f.master);
	/* the next one's MAIL left with the first one's dot: both go */
	ck_assert_int_eq(write(wait.gate, "gg", 2), 2);
	fx_wait(&f, &f.nend, 1);
	ck_assert_uint_le(f.nresults, 3);
	ck_assert_uint_ge(f.nresults, 1);
	for (unsigned i = 0; i < f.nresults; i++)
		ck_assert_uint_eq(f.results[i].outcome[0], OUT_DELIVERED);
	ck_assert_uint_eq(f.end.why, END_IDLE);
	fx_stop(&f);
	sink_stop(&wait);
}
END_TEST

START_TEST(test_qmgr_restart_waiting_and_unacknowledged_come_again)
{
	struct fx f;
	struct sink good, wait;
	struct where at, at2;
	size_t n;

	sink_start(&good, SINK_GOOD);
	sink_start(&wait, SINK_WAIT_AT_DOT);
	fx_start(&f);
	at = record_put(&f, 1, SV("x\r\n"), false);
	at2 = record_put(&f, 2, SV("y\r\n"), false);
	open_session(&f, 1, &good);
	deliver(&f, 1, &at, 1);
	fx_wait(&f, &f.nresults, 1);
	open_session(&f, 2, &wait);
	deliver(&f, 2, &at2, 2);
	chan_flush(f.qmgr);
	free(sink_message(&wait, &n));
	/* the worker has seen no acknowledgement of the first */
	chan_free(&f.qmgr);
	munmap(f.intents, SLOTS * INTENT_SLOT_BYTES);
	close(f.intent_fd);
	fx_qmgr(&f);
	ck_assert_uint_eq(f.nresync, 1);
	ck_assert_uint_eq(f.resync_id, at2.id);
	ck_assert_uint_eq(f.resync_n, 2);
	ck_assert_uint_eq(f.nresults, 2);
	ck_assert_uint_eq(f.results[1].id, at.id);
	ck_assert_uint_eq(f.results[1].seq, 1);
	ck_assert_uint_eq(slots_in_state(&f, INTENT_DOT_SENT), 1);
	ck_assert_uint_eq(slots_in_state(&f, INTENT_DELIVERED), 1);
	ck_assert_int_eq(write(wait.gate, "g", 1), 1);
	fx_wait(&f, &f.nresults, 3);
	ck_assert_uint_eq(f.results[2].id, at2.id);
	ck_assert_uint_eq(f.results[2].seq, 2);
	ck_assert_uint_eq(f.results[2].outcome[1], OUT_DELIVERED);
	/* and it works on for the new one */
	open_session(&f, 1, &good);
	deliver(&f, 1, &at, 1);
	fx_wait(&f, &f.nresults, 4);
	ck_assert_uint_eq(f.results[3].session, 1);
	fx_stop(&f);
	sink_stop(&good);
	sink_stop(&wait);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("smtp_process");
	TCase *t = tcase_create("process");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, WAIT_S * 3);
	tcase_add_test(t, test_deliver_good_server_arrives_byte_for_byte);
	tcase_add_test(t, test_deliver_many_pipelined_all_arrive_in_order);
	tcase_add_test(t, test_deliver_one_recipient_refused_each_own_outcome);
	tcase_add_test(t, test_deliver_large_body_streams_whole);
	tcase_add_test(t, test_deliver_corrupt_records_unreadable);
	tcase_add_test(t, test_deliver_lost_after_dot_in_doubt);
	tcase_add_test(t,
	    test_deliver_no_answer_to_dot_in_doubt_after_timeout);
	tcase_add_test(t, test_killed_after_dot_intent_says_so);
	tcase_add_test(t, test_open_failing_hosts_next_is_used);
	tcase_add_test(t, test_open_all_hosts_fail_end_says_why);
	tcase_add_test(t, test_session_max_msgs_ends_with_limit);
	tcase_add_test(t, test_session_without_work_ends_idle);
	tcase_add_test(t, test_no_slots_left_waiting_session_goes_on);
	tcase_add_test(t, test_stop_queued_given_back_and_begun_finished);
	tcase_add_test(t,
	    test_qmgr_restart_waiting_and_unacknowledged_come_again);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
