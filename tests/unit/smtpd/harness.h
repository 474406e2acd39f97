/* SPDX-License-Identifier: ISC */
/*
 * A session on a socketpair with a stub committer: what the client sends goes
 * in, what the server answers comes out, and the test is in charge of time
 * between.
 */
#ifndef TESTS_UNIT_SMTPD_HARNESS_H
#define TESTS_UNIT_SMTPD_HARNESS_H

#include <sys/socket.h>
#include <fcntl.h>
#include <unistd.h>

#include <event2/event.h>

#include "smtpd/session.h"
#include "tests/unit/smtpd/stub_committer.h"

#define HARNESS_CONF \
	"host-name mx.example.org\n" \
	"relay-domain relay.example\n"

struct harness {
	struct event_base *base;
	struct server srv;
	struct committer committer;
	int client;
	bool eof;                 /* the server has closed */
	struct buf in;            /* answers, not looked at yet */
	bool hold;                /* pump() leaves commits alone */
	bool hold_large;
	bool large_ok;
	enum commit_result result;
};

static inline struct conf *
harness_conf(const char *text)
{
	struct conf_report rep;
	struct conf *conf;

	conf_report_init(&rep);
	conf = conf_parse("test", sv_from(text), &rep);
	if (conf == NULL) {
		fprintf(stderr, "%s\n", rep.nerrors > 0 ? rep.errors[0] :
		    "no configuration");
		abort();
	}
	conf_report_fini(&rep);
	return conf;
}

static inline void
harness_init(struct harness *h, const char *conf)
{
	memset(h, 0, sizeof(*h));
	h->base = event_base_new();
	if (h->base == NULL)
		abort();
	stub_init(&h->committer);
	server_init(&h->srv, h->base);
	h->srv.committer = &h->committer;
	server_conf_set(&h->srv, harness_conf(conf));
	h->client = -1;
	h->large_ok = true;
	h->result = COMMIT_OK;
	buf_init(&h->in, 64u << 20);
}

static inline void
harness_connect(struct harness *h, const char *ip)
{
	struct route_addr addr;
	int sp[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sp) != 0 ||
	    !route_addr_parse(sv_from(ip), &addr))
		abort();
	h->client = sp[0];
	h->eof = false;
	buf_clear(&h->in);
	session_start(&h->srv, sp[1], &addr, SV(""));
}

static inline void
harness_disconnect(struct harness *h)
{
	if (h->client >= 0)
		close(h->client);
	h->client = -1;
}

/* Reads what has come; true if something has. */
static inline bool
harness_read(struct harness *h)
{
	unsigned char *at = buf_reserve(&h->in, 65536);
	ssize_t n;

	if (h->client < 0 || h->eof || at == NULL)
		return false;
	n = recv(h->client, at, 65536, 0);
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		h->eof = true;
	if (n <= 0)
		return false;
	buf_commit(&h->in, (size_t)n);
	return true;
}

/* Runs until nothing moves any more. */
static inline void
harness_pump(struct harness *h)
{
	for (int idle = 0; idle < 3;) {
		bool moved;

		event_base_loop(h->base, EVLOOP_NONBLOCK);
		moved = harness_read(h);
		if (!h->hold && stub_answer(&h->committer, h->result))
			moved = true;
		if (!h->hold_large && stub_grant(&h->committer, h->large_ok))
			moved = true;
		idle = moved ? 0 : idle + 1;
	}
}

/* Sends in pieces of step bytes, running after each. */
static inline void
harness_send(struct harness *h, struct sv v, size_t step)
{
	while (v.n > 0 && !h->eof) {
		ssize_t n = send(h->client, v.p, v.n < step ? v.n : step,
		    MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			return;
		if (n > 0)
			v = sv_from_at(v, (size_t)n);
		harness_pump(h);
	}
	harness_pump(h);
}

/* The next whole reply's last line, without CR LF; empty if none. Copied. */
static inline struct sv
harness_reply(struct harness *h, char *mem, size_t size)
{
	struct sv all = buf_sv(&h->in);
	size_t used = 0;

	while (all.n > 0) {
		ptrdiff_t lf = sv_find(all, '\n');
		struct sv line;

		if (lf < 4)
			break;
		line = sv_head(all, (size_t)lf - 1);
		used += (size_t)lf + 1;
		all = sv_from_at(all, (size_t)lf + 1);
		if (line.p[3] == '-')
			continue;
		if (line.n >= size)
			line.n = size - 1;
		memcpy(mem, line.p, line.n);
		buf_consume(&h->in, used);
		return sv_make(mem, line.n);
	}
	return SV("");
}

static inline void
harness_fini(struct harness *h)
{
	harness_disconnect(h);
	h->hold = false;
	harness_pump(h);
	settings_release(&h->srv.settings);
	body_pool_fini(&h->srv.pool);
	event_base_free(h->base);
	stub_fini(&h->committer);
	buf_fini(&h->in);
}

#endif
