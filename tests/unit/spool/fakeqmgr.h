/* SPDX-License-Identifier: ISC */
/* For tests of the committer: a qmgr at the other end of its channel, messages
 * to submit, and the loop of both. */
#ifndef TESTS_UNIT_SPOOL_FAKEQMGR_H
#define TESTS_UNIT_SPOOL_FAKEQMGR_H

#include <sys/socket.h>
#include <check.h>
#include <errno.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/base/msgid.h"
#include "common/spool/committer.h"
#include "tests/unit/spool/tmpspool.h"

#define SEGS 16

/* A qmgr that grants segments of its own size and notes what it is told. */
struct fake_qmgr {
	struct chan *chan;
	uint64_t seg_size;
	int bad_grants;        /* so many grants are read-only descriptors */
	unsigned wants, commits, larges, drops;
	uint64_t last_segment, last_offset, last_length, last_large;
	uint64_t done_segment[SEGS], done_end[SEGS];
	unsigned dones, dones_at_drop;
	bool bad_larges;       /* read-only, too */
	bool slow_larges;      /* grants none until it is asked to */
	uint64_t last_token;
	char first_frame[16];
};

static struct event_base *base;
static struct tmpspool spool;
static struct fake_qmgr qmgr;
static struct committer *committer;
static struct chan *writer_chan;
static uint64_t next_segment;

static inline void
note_first(const char *name)
{
	if (qmgr.first_frame[0] == '\0')
		snprintf(qmgr.first_frame, sizeof(qmgr.first_frame), "%s",
		    name);
}

static inline void
grant(struct chan *c)
{
	char path[SIO_PATH_MAX];
	struct ipc_seg_grant m = { .segment = next_segment++,
		.offset = SEGMENT_HEADER, .size = qmgr.seg_size };
	bool bad = qmgr.bad_grants > 0;
	int fd;

	sio_path(path, "segments", m.segment, ".seg");
	fd = openat(spool.dirfd, path,
	    O_CREAT | O_CLOEXEC | (bad ? O_RDONLY : O_WRONLY), 0600);
	ck_assert_int_ge(fd, 0);
	qmgr.bad_grants -= bad;
	ipc_send_seg_grant(c, &m, fd);
}

static inline void
on_seg_want(struct chan *c, void *arg, const void *m)
{
	(void)arg;
	(void)m;
	note_first("SEG_WANT");
	qmgr.wants++;
	if (qmgr.seg_size > 0)
		grant(c);
}

static inline void
on_seg_done(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_seg_done *m = msg;

	(void)c;
	(void)arg;
	note_first("SEG_DONE");
	ck_assert_uint_lt(qmgr.dones, SEGS);
	qmgr.done_segment[qmgr.dones] = m->segment;
	qmgr.done_end[qmgr.dones++] = m->end;
}

static inline void
on_commit(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_commit *m = msg;

	(void)c;
	(void)arg;
	note_first("COMMIT");
	qmgr.commits++;
	qmgr.last_segment = m->segment;
	qmgr.last_offset = m->offset;
	qmgr.last_length = m->length;
	qmgr.last_large = m->large_id;
}

static inline void
grant_large(struct chan *c, uint64_t token)
{
	char path[SIO_PATH_MAX];
	int fd = openat(spool.dirfd, sio_path(path, "large", 77, ""),
	    O_CREAT | O_CLOEXEC | (qmgr.bad_larges ? O_RDONLY : O_WRONLY),
	    0600);

	ipc_send_large_grant(c,
	    &(struct ipc_large_grant){ .token = token, .large_id = 77 }, fd);
}

static inline void
on_large_want(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_large_want *m = msg;

	(void)arg;
	qmgr.larges++;
	qmgr.last_token = m->token;
	if (!qmgr.slow_larges)
		grant_large(c, m->token);
}

static inline void
on_large_drop(struct chan *c, void *arg, const void *m)
{
	(void)c;
	(void)arg;
	(void)m;
	qmgr.drops++;
	qmgr.dones_at_drop = qmgr.dones;
}

static inline void
on_qmgr_close(struct chan *c, void *arg, const char *why)
{
	(void)c;
	(void)arg;
	(void)why;
	chan_free(&qmgr.chan);
}

static const struct chan_ops qmgr_ops = {
	.on = { [IPC_SEG_WANT] = on_seg_want, [IPC_SEG_DONE] = on_seg_done,
	    [IPC_COMMIT] = on_commit, [IPC_LARGE_WANT] = on_large_want,
	    [IPC_LARGE_DROP] = on_large_drop },
	.on_close = on_qmgr_close,
};

static inline void
on_seg_grant(struct chan *c, void *arg, const void *m)
{
	(void)arg;
	committer_on_seg_grant(committer, c, m);
}

static inline void
on_large_grant(struct chan *c, void *arg, const void *m)
{
	(void)arg;
	committer_on_large_grant(committer, c, m);
}

static inline void
on_space(struct chan *c, void *arg, const void *m)
{
	(void)c;
	(void)arg;
	committer_on_space(committer, m);
}

static inline void
on_writer_credit(struct chan *c, void *arg)
{
	(void)c;
	(void)arg;
	committer_on_credit(committer);
}

static inline void
on_writer_close(struct chan *c, void *arg, const char *why)
{
	(void)c;
	(void)arg;
	(void)why;
	committer_chan_set(committer, NULL);
	chan_free(&writer_chan);
}

static const struct chan_ops writer_ops = {
	.on = { [IPC_SEG_GRANT] = on_seg_grant,
	    [IPC_LARGE_GRANT] = on_large_grant, [IPC_SPACE] = on_space },
	.on_close = on_writer_close,
	.on_credit = on_writer_credit,
};

/* A new qmgr comes up. */
static inline void
connect_qmgr(uint32_t credits)
{
	int sp[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
	    sp), 0);
	qmgr.chan = chan_new(base, sp[0], R_QMGR, R_SMTPD, 0, &qmgr_ops, NULL);
	writer_chan = chan_new(base, sp[1], R_SMTPD, R_QMGR, 0, &writer_ops,
	    NULL);
	if (credits > 0)
		chan_credit_grant(qmgr.chan, credits);
	committer_chan_set(committer, writer_chan);
}

static inline void
setup(void)
{
	tmpspool_make(&spool);
	base = event_base_new();
	qmgr = (struct fake_qmgr){ .seg_size = SEGMENT_SIZE };
	next_segment = 1;
	committer = committer_new(base);
	ck_assert(!committer_can_accept(committer));
}

static inline void
teardown(void)
{
	committer_free(&committer);
	chan_free(&writer_chan);
	chan_free(&qmgr.chan);
	event_base_free(base);
	tmpspool_drop(&spool);
}

/* ---- messages ---- */

struct msg {
	struct commit_req req;
	struct iovec body[2];
	enum commit_result result;
	uint64_t id;
	int calls;
};

static inline int
head_make(const struct commit_req *req, uint64_t id, struct buf *head,
    void *arg)
{
	char text[MSGID_TEXT];

	(void)req;
	(void)arg;
	return buf_addf(head, "Received: by x id %s\r\n",
	    msgid_format(id, text));
}

static inline void
on_done(struct commit_req *req, enum commit_result result, uint64_t id,
    void *arg)
{
	struct msg *m = arg;

	ck_assert_ptr_eq(req, &m->req);
	m->result = result;
	m->id = id;
	m->calls++;
}

static char part_a[] = "Subject: x\r\n\r\n", part_b[20000] = "body";

static inline void
submit(struct msg *m, size_t body)
{
	memset(m, 0, sizeof(*m));
	m->body[0] = (struct iovec){ part_a, sizeof(part_a) - 1 };
	m->body[1] = (struct iovec){ part_b, body };
	m->req.env = SV("envelope");
	m->req.make_head = head_make;
	m->req.body = m->body;
	m->req.nbody = 2;
	m->req.arrival_us = 5;
	m->req.done = on_done;
	m->req.arg = m;
	committer_submit(committer, &m->req);
	ck_assert_int_eq(m->calls, 0);
}

static inline void
run_until(const int *counter, int want)
{
	while (*counter < want)
		ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
}

/* Everything that is on its way between the two ends. */
static inline void
settle(void)
{
	for (int i = 0; i < 50; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

/* n messages of that size in one turn, until all are answered. */
static inline void
submit_all(struct msg *m, int n, size_t body)
{
	for (int i = 0; i < n; i++)
		submit(&m[i], body);
	for (int i = 0; i < n; i++)
		run_until(&m[i].calls, 1);
	settle();
}

/* ---- large bodies ---- */

static struct commit_large *granted;
static int large_calls, larges_gone;

static inline void
on_large(struct commit_large *l, bool ok, void *arg)
{
	(void)arg;
	granted = ok ? l : NULL;
	larges_gone += !ok;
	large_calls++;
}

static inline struct commit_large *
large_open(void)
{
	struct commit_large *l = committer_large_open(committer, on_large,
	    NULL);

	ck_assert_ptr_nonnull(l);
	return l;
}

static inline void
large_submit(struct msg *m, struct commit_large *l)
{
	memset(m, 0, sizeof(*m));
	m->req.env = SV("envelope");
	m->req.large = l;
	m->req.done = on_done;
	m->req.arg = m;
	committer_submit(committer, &m->req);
}

/* One that is granted. */
static inline struct commit_large *
large_get(void)
{
	large_calls = larges_gone = 0;
	(void)large_open();
	run_until(&large_calls, 1);
	ck_assert_ptr_nonnull(granted);
	return granted;
}

#endif
