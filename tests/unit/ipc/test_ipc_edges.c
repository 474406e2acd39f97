/* SPDX-License-Identifier: ISC */
/*
 * Channels whose peer is slow, gone or broken, and owners that free them at
 * the worst moment; lists at their limits.
 */
#include <sys/socket.h>
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/ipc/chan.h"
#include "tests/unit/ipc/chanloop.h"

struct side {
	struct chan *c;
	int frames, batches, closes;
	bool free_in_handler;
	uint64_t last;
};

static struct side qmgr;
static int raw; /* the other end */

static void
on_commit(struct chan *c, void *arg, const void *msg)
{
	struct side *s = arg;
	const struct ipc_commit *m = msg;

	(void)c;
	s->frames++;
	s->last = m->id;
	if (s->free_in_handler)
		chan_free(&s->c);
}

static void
on_close(struct chan *c, void *arg, const char *why)
{
	struct side *s = arg;

	(void)c;
	ck_assert_uint_gt(strlen(why), 0);
	s->closes++;
	chan_free(&s->c);
}

static void
on_batch_end(struct chan *c, void *arg)
{
	(void)c;
	((struct side *)arg)->batches++;
}

static const struct chan_ops qmgr_ops = {
    .on = {[IPC_COMMIT] = on_commit},
    .on_close = on_close,
    .on_batch_end = on_batch_end,
};

static int
fds_open(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

static int
null_fd(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void
setup(void)
{
	int sp[2];

	base = event_base_new();
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sp), 0);
	qmgr = (struct side){.frames = 0};
	qmgr.c = chan_new(base, sp[0], R_QMGR, R_SMTPD, 3, &qmgr_ops, &qmgr);
	raw = sp[1];
}

static void
teardown(void)
{
	chan_free(&qmgr.c);
	if (raw >= 0)
		close(raw);
	event_base_free(base);
}

/* A COMMIT as bytes. */
static size_t
commit_bytes(unsigned char *out, size_t size, uint64_t id)
{
	struct ipc_commit m = {.id = id, .env = SV("e")};
	struct wr w;

	wr_init(&w, out + 8, size - 8);
	ipc_commit_encode(&w, &m);
	ck_assert(!w.failed);
	out[0] = (unsigned char)(w.n + 8);
	out[1] = out[2] = out[3] = 0;
	out[4] = IPC_COMMIT;
	out[5] = out[6] = out[7] = 0;
	return w.n + 8;
}

/* Bytes with n descriptors that are all the same file. */
static void
send_fds(const void *p, size_t size, int n)
{
	union {
		struct cmsghdr align;
		char mem[CMSG_SPACE(sizeof(int) * 253)];
	} control;
	struct iovec iov = {.iov_len = size};
	struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.mem,
	    .msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)n)};
	struct cmsghdr *cm;

	memcpy(&iov.iov_base, &p, sizeof(p));
	memset(&control, 0, sizeof(control));
	cm = CMSG_FIRSTHDR(&msg);
	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)n);
	for (int i = 0; i < n; i++)
		memcpy(
		    CMSG_DATA(cm) + (size_t)i * sizeof(int), &raw, sizeof(int));
	ck_assert_int_eq(sendmsg(raw, &msg, 0), (ssize_t)size);
}

START_TEST(test_chan_knows_its_peer)
{
	ck_assert_uint_eq(chan_peer_index(qmgr.c), 3);
	ck_assert_int_eq(chan_peer_role(qmgr.c), R_SMTPD);
	ck_assert(chan_is_open(qmgr.c));
	ck_assert(!chan_credit_take(qmgr.c));
}
END_TEST

START_TEST(test_chan_freed_by_its_own_handler_hears_no_more)
{
	unsigned char b[256];
	size_t n = commit_bytes(b, sizeof(b), 1);

	n += commit_bytes(b + n, sizeof(b) - n, 2);
	qmgr.free_in_handler = true;
	ck_assert_int_eq(write(raw, b, n), (ssize_t)n);
	spin();
	ck_assert_int_eq(qmgr.frames, 1);
	ck_assert_int_eq(qmgr.batches, 0);
	ck_assert_int_eq(qmgr.closes, 0);
}
END_TEST

START_TEST(test_chan_handlers_can_be_exchanged)
{
	struct side other = {.frames = 0};
	unsigned char b[256];
	size_t n = commit_bytes(b, sizeof(b), 7);

	chan_ops_set(qmgr.c, &qmgr_ops, &other);
	ck_assert_int_eq(write(raw, b, n), (ssize_t)n);
	spin();
	ck_assert_int_eq(qmgr.frames, 0);
	ck_assert_int_eq(other.frames, 1);
	ck_assert_uint_eq(other.last, 7);
}
END_TEST

/* The whole backlog comes, in order, when the peer reads at last. */
START_TEST(test_chan_slow_peer_gets_all_of_it)
{
	static char text[4000];
	struct ipc_space m = {.open = 1, .reason = sv_make(text, sizeof(text))};
	static unsigned char in[65536];
	size_t want, got = 0;
	ssize_t n;

	for (int i = 0; i < 1000; i++)
		ipc_send_space(qmgr.c, &m);
	want = chan_backlog(qmgr.c);
	ck_assert_uint_gt(want, 4000000);
	spin();
	/* more than the socket holds waits; a flush does not help */
	ck_assert_uint_gt(chan_backlog(qmgr.c), 0);
	chan_flush(qmgr.c);
	while (got < want) {
		n = recv(raw, in, sizeof(in), MSG_DONTWAIT);
		if (n > 0)
			got += (size_t)n;
		else
			ck_assert_int_eq(errno, EAGAIN);
		spin();
	}
	ck_assert_uint_eq(got, want);
	ck_assert_uint_eq(chan_backlog(qmgr.c), 0);
	ck_assert_int_eq(qmgr.closes, 0);
}
END_TEST

START_TEST(test_chan_closed_one_closes_descriptors_sent_to_it)
{
	static char huge[IPC_TEXT_MAX + 1];
	struct ipc_space m = {.reason = sv_make(huge, sizeof(huge))};
	int before = fds_open(), fd = null_fd();

	ipc_send_space(qmgr.c, &m); /* too large: it closes */
	ck_assert(!chan_is_open(qmgr.c));
	ipc_send_seg_grant(qmgr.c, &(struct ipc_seg_grant){.segment = 1}, fd);
	ck_assert_int_eq(fds_open(), before);
	spin();
	ck_assert_int_eq(qmgr.closes, 1);
}
END_TEST

START_TEST(test_chan_descriptors_not_sent_yet_end_with_it)
{
	int before = fds_open();

	for (int i = 0; i < 20; i++)
		ipc_send_seg_grant(
		    qmgr.c, &(struct ipc_seg_grant){.segment = 1}, null_fd());
	ck_assert_int_eq(fds_open(), before + 20);
	chan_free(&qmgr.c);
	ck_assert_int_eq(fds_open(), before - 1); /* and its own */
}
END_TEST

/* As the child that writes a checkpoint holds it. */
START_TEST(test_chan_end_is_seen_in_spite_of_copies)
{
	struct side s = {.frames = 0};
	int sp[2], copy;
	char byte;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sp), 0);
	copy = dup(sp[0]);
	s.c = chan_new(base, sp[0], R_QMGR, R_SMTPD, 3, &qmgr_ops, &s);
	ipc_send_credit(s.c, &(struct ipc_credit){.n = 1});
	chan_flush(s.c);
	chan_free(&s.c);
	/* what was sent before is there, and then the end */
	while (recv(sp[1], &byte, 1, MSG_DONTWAIT) == 1)
		s.frames++;
	ck_assert_int_gt(s.frames, 8);
	ck_assert_int_eq(recv(sp[1], &byte, 1, MSG_DONTWAIT), 0);
	close(copy);
	close(sp[1]);
}
END_TEST

START_TEST(test_chan_peer_gone_drops_what_was_to_be_sent)
{
	int before = fds_open();

	for (int i = 0; i < 20; i++)
		ipc_send_seg_grant(
		    qmgr.c, &(struct ipc_seg_grant){.segment = 1}, null_fd());
	close(raw);
	raw = -1;
	chan_flush(qmgr.c);
	ck_assert_int_eq(fds_open(), before - 1);
	ck_assert_uint_eq(chan_backlog(qmgr.c), 0);
	/* and what is sent now goes nowhere */
	ipc_send_seg_grant(
	    qmgr.c, &(struct ipc_seg_grant){.segment = 1}, null_fd());
	ck_assert_int_eq(fds_open(), before - 1);
	spin();
	ck_assert_int_eq(qmgr.closes, 1);
}
END_TEST

START_TEST(test_chan_unwanted_descriptors_are_closed_with_it)
{
	unsigned char b[256];
	size_t n = commit_bytes(b, sizeof(b), 1);
	int before = fds_open();

	/* a COMMIT has none: they wait for a frame that never comes */
	send_fds(b, n, 5);
	spin();
	ck_assert_int_eq(qmgr.frames, 1);
	chan_free(&qmgr.c);
	ck_assert_int_eq(fds_open(), before - 1);
}
END_TEST

START_TEST(test_chan_too_many_descriptors_close_it)
{
	unsigned char b[256];
	size_t n = commit_bytes(b, sizeof(b), 1);
	int before = fds_open();

	for (int i = 0; i < 6 && qmgr.closes == 0; i++) {
		send_fds(b, n, 60);
		spin();
	}
	ck_assert_int_eq(qmgr.closes, 1);
	ck_assert_int_le(qmgr.frames, 5);
	ck_assert_int_eq(fds_open(), before - 1);
}
END_TEST

START_TEST(test_chan_more_descriptors_than_one_read_takes_close_it)
{
	unsigned char b[256];
	size_t n = commit_bytes(b, sizeof(b), 1);
	int before = fds_open();

	send_fds(b, n, 200);
	spin();
	ck_assert_int_eq(qmgr.closes, 1);
	ck_assert_int_eq(qmgr.frames, 0);
	ck_assert_int_eq(fds_open(), before - 1);
}
END_TEST

START_TEST(test_chan_other_control_data_is_no_descriptor)
{
	unsigned char b[256];
	size_t n = commit_bytes(b, sizeof(b), 9);
	int one = 1, sp[2];

	chan_free(&qmgr.c);
	close(raw);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sp), 0);
	ck_assert_int_eq(
	    setsockopt(sp[0], SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)), 0);
	qmgr.c = chan_new(base, sp[0], R_QMGR, R_SMTPD, 3, &qmgr_ops, &qmgr);
	raw = sp[1];
	ck_assert_int_eq(write(raw, b, n), (ssize_t)n);
	spin();
	ck_assert_int_eq(qmgr.frames, 1);
	ck_assert_uint_eq(qmgr.last, 9);
}
END_TEST

START_TEST(test_chan_frame_of_a_type_not_expected_here_closes)
{
	/* smtpd may send it to qmgr, but this owner has no handler */
	static const unsigned char want[] = {8, 0, 0, 0, IPC_SEG_WANT, 0, 0, 0};

	ck_assert_int_eq(write(raw, want, sizeof(want)), sizeof(want));
	spin();
	ck_assert_int_eq(qmgr.closes, 1);
}
END_TEST

START_TEST(test_chan_send_on_a_broken_socket_closes)
{
	int sp[2];

	chan_free(&qmgr.c);
	/* not connected: ENOTCONN, which no peer's end explains */
	ck_assert_int_eq(pipe(sp), 0);
	qmgr.c = chan_new(base, socket(AF_UNIX, SOCK_STREAM, 0), R_QMGR,
	    R_SMTPD, 3, &qmgr_ops, &qmgr);
	chan_credit_grant(qmgr.c, 1);
	chan_flush(qmgr.c);
	ck_assert(!chan_is_open(qmgr.c));
	spin();
	ck_assert_int_eq(qmgr.closes, 1);
	close(sp[0]);
	close(sp[1]);
}
END_TEST

START_TEST(test_chan_credits_do_not_overflow)
{
	unsigned char credit[] = {
	    12, 0, 0, 0, IPC_CREDIT, 0, 0, 0, 0xff, 0xff, 0xff, 0xff};

	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(
		    write(raw, credit, sizeof(credit)), sizeof(credit));
	spin();
	ck_assert_uint_eq(chan_credits(qmgr.c), UINT32_MAX);
	ck_assert(chan_credit_take(qmgr.c));
}
END_TEST

/* ---- lists, names ---- */

START_TEST(test_fields_numbers_keep_their_limits)
{
	static const uint32_t array[] = {5, 6, 7};
	struct u32s in = {.array = array, .n = 3}, out;
	unsigned char mem[64];
	struct wr w;
	struct rd r;

	ck_assert_uint_eq(u32s_get(&in, 2), 7);
	ck_assert_uint_eq(u32s_get(&in, 3), 0);
	wr_init(&w, mem, sizeof(mem));
	wr_u32s(&w, &in, 2);
	ck_assert(w.failed);
	wr_init(&w, mem, sizeof(mem));
	wr_u32s(&w, &in, 3);
	ck_assert(!w.failed);
	rd_init(&r, mem, w.n);
	out = rd_u32s(&r, 2);
	ck_assert(r.failed);
	ck_assert_uint_eq(out.n, 0);
	rd_init(&r, mem, w.n - 1);
	out = rd_u32s(&r, 3);
	ck_assert(r.failed);
	ck_assert_uint_eq(out.n, 0);
	rd_init(&r, mem, w.n);
	out = rd_u32s(&r, 3);
	ck_assert(rd_done(&r));
	ck_assert_uint_eq(u32s_get(&out, 1), 6);
	ck_assert_uint_eq(u32s_get(&out, 3), 0);
}
END_TEST

START_TEST(test_fields_texts_keep_their_limits_and_pass_on)
{
	struct sv array[] = {SV("a"), SV(""), SV("ccc")};
	struct svs in = {.array = array, .n = 3}, out, again;
	unsigned char mem[128], copy[128];
	struct wr w, w2;
	struct rd r;

	ck_assert(sv_eq(svs_get(&in, 2), SV("ccc")));
	ck_assert_uint_eq(svs_get(&in, 3).n, 0);
	wr_init(&w, mem, sizeof(mem));
	wr_svs(&w, &in, 2);
	ck_assert(w.failed);
	wr_init(&w, mem, sizeof(mem));
	wr_svs(&w, &in, 3);
	rd_init(&r, mem, w.n);
	out = rd_svs(&r, 2);
	ck_assert(r.failed);
	ck_assert_uint_eq(out.n, 0);
	rd_init(&r, mem, w.n);
	out = rd_svs(&r, 3);
	ck_assert(rd_done(&r));
	/* a decoded list is encoded to the same bytes */
	wr_init(&w2, copy, sizeof(copy));
	wr_svs(&w2, &out, 3);
	ck_assert_uint_eq(w2.n, w.n);
	ck_assert_mem_eq(copy, mem, w.n);
	rd_init(&r, copy, w2.n);
	again = rd_svs(&r, 3);
	ck_assert(sv_eq(svs_get(&again, 0), SV("a")));
	ck_assert_uint_eq(svs_get(&again, 7).n, 0);
}
END_TEST

START_TEST(test_names_of_roles_and_types)
{
	static const struct {
		unsigned role;
		const char *name;
	} t[] = {
	    {R_MASTER, "master"},
	    {R_SMTPD, "smtpd"},
	    {R_QMGR, "qmgr"},
	    {R_SMTP, "smtp"},
	    {R_RESOLVER, "resolver"},
	    {R_BOUNCE, "bounce"},
	    {R_ACCT, "acct"},
	    {R_CTL, "ctl"},
	    {R_SMTPD | R_QMGR, "?"},
	    {0, "?"},
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		ck_assert_str_eq(ipc_role_name(t[i].role), t[i].name);
	ck_assert_ptr_null(ipc_info(IPC_NONE));
	ck_assert_ptr_null(ipc_info(IPC_TYPES));
	ck_assert_str_eq(ipc_info(IPC_COMMIT)->name, "COMMIT");
	ck_assert_uint_eq(ipc_info(IPC_PEER)->nfds, 1);
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("edges");
	Suite *s = suite_create("ipc");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_chan_knows_its_peer);
	tcase_add_test(tc, test_chan_freed_by_its_own_handler_hears_no_more);
	tcase_add_test(tc, test_chan_handlers_can_be_exchanged);
	tcase_add_test(tc, test_chan_slow_peer_gets_all_of_it);
	tcase_add_test(tc, test_chan_closed_one_closes_descriptors_sent_to_it);
	tcase_add_test(tc, test_chan_descriptors_not_sent_yet_end_with_it);
	tcase_add_test(tc, test_chan_end_is_seen_in_spite_of_copies);
	tcase_add_test(tc, test_chan_peer_gone_drops_what_was_to_be_sent);
	tcase_add_test(tc, test_chan_unwanted_descriptors_are_closed_with_it);
	tcase_add_test(tc, test_chan_too_many_descriptors_close_it);
	tcase_add_test(
	    tc, test_chan_more_descriptors_than_one_read_takes_close_it);
	tcase_add_test(tc, test_chan_other_control_data_is_no_descriptor);
	tcase_add_test(tc, test_chan_frame_of_a_type_not_expected_here_closes);
	tcase_add_test(tc, test_chan_send_on_a_broken_socket_closes);
	tcase_add_test(tc, test_chan_credits_do_not_overflow);
	tcase_add_test(tc, test_fields_numbers_keep_their_limits);
	tcase_add_test(tc, test_fields_texts_keep_their_limits_and_pass_on);
	tcase_add_test(tc, test_names_of_roles_and_types);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
