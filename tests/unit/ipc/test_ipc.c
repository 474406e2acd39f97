/* SPDX-License-Identifier: ISC */
#include <sys/socket.h>
#include <sys/wait.h>
#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/ipc/chan.h"
#include "common/ipc/heartbeat.h"
#include "tests/unit/ipc/chanloop.h"

struct side {
	struct chan *c;
	int commits, grants, closes, credits;
	uint64_t last_id;
	char env[32];
	int fd;
};

static void
on_commit(struct chan *c, void *arg, const void *msg)
{
	struct side *s = arg;
	const struct ipc_commit *m = msg;

	(void)c;
	s->commits++;
	s->last_id = m->id;
	ck_assert(sv_to_cstr(m->env, s->env, sizeof(s->env)));
}

static void
on_grant(struct chan *c, void *arg, const void *msg)
{
	struct side *s = arg;

	(void)msg;
	s->grants++;
	s->fd = chan_take_fd(c);
}

static void
on_close(struct chan *c, void *arg, const char *why)
{
	struct side *s = arg;

	(void)c;
	ck_assert_ptr_nonnull(why);
	s->closes++;
	chan_free(&s->c);
}

static void
on_credit(struct chan *c, void *arg)
{
	(void)c;
	((struct side *)arg)->credits++;
}

static const struct chan_ops qmgr_ops = {
	.on = { [IPC_COMMIT] = on_commit },
	.on_close = on_close,
};
static const struct chan_ops smtpd_ops = {
	.on = { [IPC_SEG_GRANT] = on_grant },
	.on_close = on_close,
	.on_credit = on_credit,
};

static struct side qmgr, smtpd;

static void
setup(void)
{
	int sp[2];

	base = event_base_new();
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sp), 0);
	qmgr = (struct side){ .fd = -1 };
	smtpd = (struct side){ .fd = -1 };
	qmgr.c = chan_new(base, sp[0], R_QMGR, R_SMTPD, 0, &qmgr_ops, &qmgr);
	smtpd.c =
	    chan_new(base, sp[1], R_SMTPD, R_QMGR, 0, &smtpd_ops, &smtpd);
}

static void
teardown(void)
{
	chan_free(&qmgr.c);
	chan_free(&smtpd.c);
	event_base_free(base);
}

START_TEST(test_chan_batch_of_commits_arrives_whole)
{
	for (uint64_t i = 1; i <= 1000; i++) {
		ipc_send_commit(smtpd.c,
		    &(struct ipc_commit){ .id = i, .env = SV("envelope") });
	}
	spin();
	ck_assert_int_eq(qmgr.commits, 1000);
	ck_assert_uint_eq(qmgr.last_id, 1000);
	ck_assert_str_eq(qmgr.env, "envelope");
}
END_TEST

START_TEST(test_chan_descriptors_go_with_their_frames)
{
	int p[2];
	char c;

	ck_assert_int_eq(pipe(p), 0);
	chan_credit_grant(qmgr.c, 5);
	for (int i = 0; i < 3; i++) {
		ipc_send_seg_grant(qmgr.c, &(struct ipc_seg_grant){ 1, 2, 3 },
		    dup(p[1]));
		chan_credit_grant(qmgr.c, 1);
	}
	spin();
	ck_assert_int_eq(smtpd.grants, 3);
	ck_assert_uint_eq(chan_credits(smtpd.c), 8);
	ck_assert_int_eq(smtpd.credits, 4);
	ck_assert_int_eq(write(smtpd.fd, "x", 1), 1);
	ck_assert_int_eq(read(p[0], &c, 1), 1);
	ck_assert(chan_credit_take(smtpd.c));
	ck_assert_uint_eq(chan_credits(smtpd.c), 7);
}
END_TEST

START_TEST(test_chan_frame_from_wrong_sender_closes)
{
	/* qmgr may not send COMMIT */
	ipc_send_commit(qmgr.c, &(struct ipc_commit){ .id = 1 });
	spin();
	ck_assert_int_eq(smtpd.closes, 1);
	ck_assert_int_eq(smtpd.commits, 0);
}
END_TEST

static void
raw_frame(const char *bytes, size_t n)
{
	int sp[2];

	chan_free(&qmgr.c);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sp), 0);
	qmgr.c = chan_new(base, sp[0], R_QMGR, R_SMTPD, 0, &qmgr_ops, &qmgr);
	ck_assert_int_eq(write(sp[1], bytes, n), (ssize_t)n);
	spin();
	close(sp[1]);
}

START_TEST(test_chan_malformed_frames_close_only_the_channel)
{
	static const struct {
		const char *name;
		const char *bytes;
		size_t n;
	} t[] = {
		{ "length too small", "\x07\0\0\0\x01\0\0\0", 8 },
		{ "length too large", "\xff\xff\xff\xff\x01\0\0\0", 8 },
		{ "unknown type", "\x08\0\0\0\xff\x7f\0\0", 8 },
		{ "type zero", "\x08\0\0\0\0\0\0\0", 8 },
		{ "credit with a missing byte", "\x0b\0\0\0\x01\0\0\0\1\0\0", 11 },
		{ "credit with a byte too many",
		    "\x0d\0\0\0\x01\0\0\0\1\0\0\0\0", 13 },
		{ "descriptor promised, none sent",
		    "\x0c\0\0\0\x01\0\1\0\1\0\0\0", 12 },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		int before = qmgr.closes;

		raw_frame(t[i].bytes, t[i].n);
		ck_assert_msg(qmgr.closes == before + 1, "%s", t[i].name);
	}
}
END_TEST

START_TEST(test_chan_byte_by_byte_is_the_same)
{
	static const char frame[] = "\x0c\0\0\0\x01\0\0\0\5\0\0\0";
	int sp[2];

	chan_free(&qmgr.c);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sp), 0);
	qmgr.c = chan_new(base, sp[0], R_QMGR, R_SMTPD, 0, &qmgr_ops, &qmgr);
	for (size_t i = 0; i < 12; i++) {
		ck_assert_int_eq(write(sp[1], frame + i, 1), 1);
		spin();
	}
	ck_assert_uint_eq(chan_credits(qmgr.c), 5);
	close(sp[1]);
}
END_TEST

START_TEST(test_chan_last_words_of_a_gone_peer_are_read)
{
	for (uint64_t i = 1; i <= 3; i++)
		ipc_send_commit(smtpd.c,
		    &(struct ipc_commit){ .id = i, .env = SV("envelope") });
	chan_flush(smtpd.c);
	chan_free(&smtpd.c);
	/* writing to it fails before its words are read */
	chan_credit_grant(qmgr.c, 1);
	chan_flush(qmgr.c);
	ck_assert_int_eq(qmgr.closes, 0);
	spin();
	ck_assert_int_eq(qmgr.commits, 3);
	ck_assert_int_eq(qmgr.closes, 1);
}
END_TEST

START_TEST(test_chan_failing_send_tells_the_owner_later)
{
	static char huge[IPC_TEXT_MAX + 1];
	struct ipc_space m = { .reason = sv_make(huge, sizeof(huge)) };

	ipc_send_space(qmgr.c, &m);
	ck_assert_int_eq(qmgr.closes, 0);
	ck_assert_ptr_nonnull(qmgr.c);
	ck_assert(!chan_is_open(qmgr.c));
	chan_credit_grant(qmgr.c, 1); /* does nothing, hurts nobody */
	spin();
	ck_assert_int_eq(qmgr.closes, 1);
	ck_assert_ptr_null(qmgr.c);
}
END_TEST

START_TEST(test_fields_lists_round_trip)
{
	struct sv words[] = { SV("show"), SV("queues"), SV("") };
	struct ipc_ctl_request in = { .words = { .array = words, .n = 3 } };
	struct ipc_ctl_request out;
	struct buf b;
	struct wr w;
	struct rd r;

	buf_init(&b, 1000);
	wr_init_buf(&w, &b);
	ipc_ctl_request_encode(&w, &in);
	ck_assert(!w.failed);
	rd_init(&r, buf_data(&b), buf_len(&b));
	ck_assert(ipc_ctl_request_decode(&r, &out));
	ck_assert_uint_eq(out.words.n, 3);
	ck_assert(sv_eq(svs_get(&out.words, 1), SV("queues")));
	ck_assert(sv_eq(svs_get(&out.words, 2), SV("")));
	for (size_t cut = 0; cut < buf_len(&b); cut++) {
		rd_init(&r, buf_data(&b), cut);
		ck_assert(!ipc_ctl_request_decode(&r, &out));
	}
	buf_fini(&b);
}
END_TEST

START_TEST(test_heartbeat_of_another_process_is_seen)
{
	int fd = heartbeat_make();
	struct heartbeat *h = heartbeat_map(fd);
	pid_t pid;

	ck_assert_ptr_nonnull(h);
	ck_assert_uint_eq(heartbeat_count(h), 0);
	heartbeat_beat(); /* without a page: nothing */
	pid = fork();
	if (pid == 0) {
		heartbeat_take(fd);
		heartbeat_beat();
		heartbeat_beat();
		_exit(fcntl(fd, F_GETFD) < 0 ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &(int){ 0 }, 0), pid);
	ck_assert_uint_eq(heartbeat_count(h), 2);
	/* nobody can make it shorter under the master */
	ck_assert_int_ne(ftruncate(fd, 0), 0);
	close(fd);
}
END_TEST

/* A descriptor that is something else is left alone. */
START_TEST(test_heartbeat_other_descriptor_is_not_taken)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	heartbeat_take(fd);
	heartbeat_beat();
	ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
	close(fd);
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("ipc");
	Suite *s = suite_create("ipc");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_chan_batch_of_commits_arrives_whole);
	tcase_add_test(tc, test_chan_descriptors_go_with_their_frames);
	tcase_add_test(tc, test_chan_frame_from_wrong_sender_closes);
	tcase_add_test(tc, test_chan_malformed_frames_close_only_the_channel);
	tcase_add_test(tc, test_chan_byte_by_byte_is_the_same);
	tcase_add_test(tc, test_chan_last_words_of_a_gone_peer_are_read);
	tcase_add_test(tc, test_chan_failing_send_tells_the_owner_later);
	tcase_add_test(tc, test_fields_lists_round_trip);
	tcase_add_test(tc, test_heartbeat_of_another_process_is_seen);
	tcase_add_test(tc, test_heartbeat_other_descriptor_is_not_taken);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
