/* SPDX-License-Identifier: ISC */
/* The real program between a fake master and a fake qmgr. */
#include <check.h>
#include <poll.h>

#include "tests/unit/smtpd/fake_parent.h"

#define PROGRAM "smtpd/pinnace-smtpd"
#define CONF "host-name mx.example.org\n" \
	"max-smtp-in-per-address 3\n" \
	"smtpd-processes 1\n" \
	"<source 127.0.0.1>\nalways-allow-relaying yes\n</source>\n"
#define TXN "MAIL FROM:<s@x.example>\r\nRCPT TO:<r@y.example>\r\nDATA\r\n"

static struct fake_parent P;

struct client {
	int fd;
	bool eof;
	struct buf in;
	struct event *ev;
};

static void
on_client(evutil_socket_t fd, short what, void *arg)
{
	struct client *c = arg;
	unsigned char *at = buf_reserve(&c->in, 4096);
	ssize_t n = recv(fd, at, 4096, MSG_DONTWAIT);

	(void)what;
	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		c->eof = true;
		event_del(c->ev);
	} else if (n > 0) {
		buf_commit(&c->in, (size_t)n);
	}
}

/* From 127.0.0.last. */
static void
client_open_from(struct client *c, uint32_t last)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
		.sin_port = htons(P.port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in from = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + last) };

	memset(c, 0, sizeof(*c));
	buf_init(&c->in, 1u << 20);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(c->fd, 0);
	ck_assert_int_eq(bind(c->fd, (struct sockaddr *)&from, sizeof(from)),
	    0);
	ck_assert_int_eq(connect(c->fd, (struct sockaddr *)&in, sizeof(in)),
	    0);
	c->ev = event_new(P.base, c->fd, EV_READ | EV_PERSIST, on_client, c);
	event_add(c->ev, NULL);
}

static void
client_open(struct client *c)
{
	client_open_from(c, 1);
}

static void
client_close(struct client *c)
{
	event_free(c->ev);
	close(c->fd);
	buf_fini(&c->in);
}

static void
say(struct client *c, const char *text)
{
	size_t n = strlen(text);

	ck_assert_int_eq(send(c->fd, text, n, MSG_NOSIGNAL), (ssize_t)n);
}

/* The next whole reply begins with want. */
static void
expect(struct client *c, const char *want)
{
	for (;;) {
		struct sv all = buf_sv(&c->in);
		ptrdiff_t lf = sv_find(all, '\n');

		if (lf >= 4 && all.p[3] == '-') {
			buf_consume(&c->in, (size_t)lf + 1);
			continue;
		}
		if (lf >= 0 || c->eof) {
			ck_assert_msg(sv_starts(all, sv_from(want)),
			    "want %s, got %.*s", want, SV_FMT(all));
			buf_consume(&c->in, (size_t)lf + 1);
			return;
		}
		event_base_loop(P.base, EVLOOP_ONCE);
	}
}

static void
expect_eof(struct client *c)
{
	while (!c->eof)
		event_base_loop(P.base, EVLOOP_ONCE);
	ck_assert_uint_eq(buf_len(&c->in), 0);
}

static void
hello(struct client *c)
{
	client_open(c);
	expect(c, "220 mx.example.org");
	say(c, "EHLO c\r\n");
	expect(c, "250 DSN");
}

static void
txn(struct client *c)
{
	say(c, TXN);
	expect(c, "250 2.1.0");
	expect(c, "250 2.1.5");
	expect(c, "354");
}

static void
setup(void)
{
	fake_start(&P, PROGRAM, CONF);
	ck_assert(P.ready);
}

static void
teardown(void)
{
	int status;

	/* without master and qmgr it stops by itself */
	chan_free(&P.master);
	chan_free(&P.qmgr);
	status = fake_wait(&P);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	fake_end(&P);
}

static struct record
record_get(struct buf *b)
{
	struct record r = { 0 };
	int fd = fake_file(&P, "seg", P.last.segment, O_RDONLY);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(record_read_fd(fd, P.last.segment, P.last.offset,
	    P.last.length, b, &r), RECORD_OK);
	close(fd);
	return r;
}

START_TEST(test_smtpd_message_in_segment_and_committed)
{
	struct client c;
	struct record r;
	struct arena a;
	struct envelope e;
	struct buf b;

	hello(&c);
	txn(&c);
	say(&c, "Subject: x\r\n\r\n..y\r\n.\r\nQUIT\r\n");
	expect(&c, "250 2.0.0 queued as ");
	expect(&c, "221");
	expect_eof(&c);
	while (P.commits == 0)
		event_base_loop(P.base, EVLOOP_ONCE);
	buf_init(&b, RECORD_MAX);
	r = record_get(&b);
	ck_assert(sv_eq(r.body, SV("Subject: x\r\n\r\n.y\r\n")));
	ck_assert(sv_starts(r.head, SV("Received: from c ([127.0.0.1])")));
	ck_assert_int_eq(r.flags, RECORD_DOTS);
	arena_init(&a, 65536);
	ck_assert(envelope_decode(P.last.env, &a, &e));
	ck_assert(sv_eq(e.rcpts[0].addr, SV("r@y.example")));
	arena_fini(&a);
	buf_fini(&b);
	client_close(&c);
}
END_TEST

START_TEST(test_smtpd_large_message_in_file)
{
	struct client c;
	char line[1000];

	memset(line, 'x', sizeof(line));
	memcpy(line + 997, "\r\n", 3);
	hello(&c);
	txn(&c);
	for (int i = 0; i < 1000; i++) {
		say(&c, line);
		event_base_loop(P.base, EVLOOP_NONBLOCK);
	}
	say(&c, ".\r\n");
	expect(&c, "250 2.0.0");
	while (P.commits == 0)
		event_base_loop(P.base, EVLOOP_ONCE);
	ck_assert_uint_eq(P.larges, 1);
	ck_assert_uint_eq(P.last.large_id, 1);
	ck_assert_uint_eq(P.last.body_len, 999000);
	client_close(&c);
}
END_TEST

START_TEST(test_smtpd_qmgr_restart_sessions_live_on)
{
	struct client c;

	hello(&c);
	txn(&c);
	say(&c, "x\r\n.\r\n");
	expect(&c, "250 2.0.0");
	say(&c, "MAIL FROM:<s@x.example>\r\nRCPT TO:<r@y.example>\r\n");
	expect(&c, "250");
	expect(&c, "250");
	fake_qmgr_start(&P, 1000);
	say(&c, "DATA\r\n");
	expect(&c, "354");
	say(&c, "x\r\n.\r\n");
	expect(&c, "250 2.0.0");
	while (P.commits < 2)
		event_base_loop(P.base, EVLOOP_ONCE);
	client_close(&c);
}
END_TEST

START_TEST(test_smtpd_no_space_452_until_open)
{
	struct client c;

	hello(&c);
	ipc_send_space(P.qmgr, &(struct ipc_space){ .reason = SV("full") });
	/* frames and mail go different ways: until it is heard, 250 */
	for (;;) {
		say(&c, "MAIL FROM:<s@x.example>\r\nRSET\r\n");
		while (sv_find(buf_sv(&c.in), '\n') < 0)
			event_base_loop(P.base, EVLOOP_ONCE);
		if (sv_starts(buf_sv(&c.in), SV("452 4.3.1")))
			break;
		expect(&c, "250 2.1.0");
		expect(&c, "250 2.0.0");
	}
	client_close(&c);
}
END_TEST

START_TEST(test_smtpd_too_many_from_one_address_421)
{
	struct client c[4];

	for (int i = 0; i < 3; i++)
		hello(&c[i]);
	client_open(&c[3]);
	expect(&c[3], "421 4.7.0");
	expect_eof(&c[3]);
	client_close(&c[3]);
	say(&c[0], "QUIT\r\n");
	expect(&c[0], "221");
	expect_eof(&c[0]);
	client_close(&c[0]);
	hello(&c[0]);
	for (int i = 0; i < 3; i++)
		client_close(&c[i]);
}
END_TEST

/* max-smtp-in-per-address is of all processes: this one gives its part of it,
 * rounded up, to each address. */
static const struct {
	unsigned limit, processes, each;
} parts[] = {
	{ 3, 1, 3 }, { 4, 2, 2 }, { 3, 2, 2 }, { 10, 4, 3 }, { 2, 3, 1 },
	{ 1, 8, 1 },
};

START_TEST(test_smtpd_limit_per_address_is_divided_among_processes)
{
	struct client c[8], other, late;
	unsigned each = parts[_i].each;
	char text[256];

	snprintf(text, sizeof(text), "host-name mx.example.org\n"
	    "max-smtp-in-per-address %u\nsmtpd-processes %u\n",
	    parts[_i].limit, parts[_i].processes);
	fake_start(&P, PROGRAM, text);
	for (unsigned i = 0; i < each; i++)
		hello(&c[i]);
	client_open(&late);
	expect(&late, "421 4.7.0");
	expect_eof(&late);
	client_close(&late);
	/* others have a part of their own */
	client_open_from(&other, 2);
	expect(&other, "220");
	client_close(&other);
	/* and who leaves makes room for one */
	say(&c[0], "QUIT\r\n");
	expect(&c[0], "221");
	expect_eof(&c[0]);
	client_close(&c[0]);
	hello(&c[0]);
	client_open(&late);
	expect(&late, "421 4.7.0");
	client_close(&late);
	for (unsigned i = 0; i < each; i++)
		client_close(&c[i]);
	teardown();
}
END_TEST

START_TEST(test_smtpd_stop_idle_421_busy_finishes)
{
	struct client idle, busy;
	struct sockaddr_in in = { .sin_family = AF_INET,
		.sin_port = htons(P.port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	hello(&idle);
	hello(&busy);
	txn(&busy);
	ipc_send_stop(P.master, &(struct ipc_stop){ .drain_ms = 20000 });
	expect(&idle, "421 4.3.2");
	expect_eof(&idle);
	ck_assert_int_ne(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	say(&busy, "x\r\n.\r\n");
	expect(&busy, "250 2.0.0");
	expect(&busy, "421 4.3.2");
	expect_eof(&busy);
	while (P.qmgr != NULL)
		event_base_loop(P.base, EVLOOP_ONCE);
	ck_assert_uint_eq(P.commits, 1);
	ck_assert_uint_ge(P.dones, 1);
	close(fd);
	client_close(&idle);
	client_close(&busy);
}
END_TEST

START_TEST(test_smtpd_no_segment_354_waits_for_grant)
{
	struct client c;

	/* a new qmgr that grants nothing at first */
	P.hold_grants = true;
	hello(&c);
	fake_qmgr_start(&P, 0);
	while (P.wants < 1)
		event_base_loop(P.base, EVLOOP_ONCE);
	P.hold_grants = false;
	fake_grant(&P);
	chan_credit_grant(P.qmgr, 10);
	txn(&c);
	say(&c, "x\r\n.\r\n");
	expect(&c, "250 2.0.0");
	client_close(&c);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("smtpd_process");
	TCase *t = tcase_create("all"), *limits = tcase_create("limits");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_smtpd_message_in_segment_and_committed);
	tcase_add_test(t, test_smtpd_large_message_in_file);
	tcase_add_test(t, test_smtpd_qmgr_restart_sessions_live_on);
	tcase_add_test(t, test_smtpd_no_space_452_until_open);
	tcase_add_test(t, test_smtpd_too_many_from_one_address_421);
	tcase_add_test(t, test_smtpd_stop_idle_421_busy_finishes);
	tcase_add_test(t, test_smtpd_no_segment_354_waits_for_grant);
	tcase_set_timeout(limits, 60);
	tcase_add_loop_test(limits,
	    test_smtpd_limit_per_address_is_divided_among_processes, 0,
	    sizeof(parts) / sizeof(parts[0]));
	suite_add_tcase(s, t);
	suite_add_tcase(s, limits);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
