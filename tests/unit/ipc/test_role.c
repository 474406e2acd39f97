/* SPDX-License-Identifier: ISC */
/*
 * The skeleton of every role: a process without a purpose, the test is its
 * master.
 */
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/ipc/heartbeat.h"
#include "common/ipc/role.h"
#include "common/sys/clock.h"

/* What the process saw; in memory that it shares with the test. */
struct seen {
	_Atomic int confs, peers, listeners, closed, starts, replies, children,
	    stops;
	_Atomic unsigned index, workers, drain_ms;
};

static struct seen *seen;
static struct event_base *base;
static struct chan *master;
static const struct heartbeat *heartbeat;
static pid_t pid;
static int ready;
static bool gone;

/* ---- the process ---- */

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

static void
r_init(struct role *r)
{
	static const struct timeval hour = {.tv_sec = 3600};

	seen->index = r->index;
	/* a loop with nothing to wait for would end */
	event_base_once(r->base, -1, EV_TIMEOUT, on_timer, NULL, &hour);
}

static void
r_conf(struct role *r, struct sv bytes)
{
	(void)r;
	seen->confs += sv_eq(bytes, SV("conf"));
}

static void
r_peer(struct role *r, enum ipc_role peer, unsigned index, int fd)
{
	(void)r;
	(void)peer;
	(void)index;
	close(fd);
	seen->peers++;
}

static void
r_listener(
    struct role *r, uint32_t id, struct sv address, struct sv source, int fd)
{
	(void)r;
	(void)id;
	(void)address;
	(void)source;
	close(fd);
	seen->listeners++;
}

static void
r_listener_close(struct role *r, uint32_t id)
{
	(void)r;
	seen->closed += id == 7;
}

static void
r_start(struct role *r, uint32_t workers)
{
	(void)r;
	seen->workers = workers;
	seen->starts++;
}

static void
r_reply(struct role *r, const struct ipc_master_reply *m)
{
	(void)r;
	(void)m;
	seen->replies++;
}

static void
r_child(struct role *r, const struct ipc_child *m)
{
	(void)r;
	(void)m;
	seen->children++;
}

static void
r_stop(struct role *r, uint32_t drain_ms)
{
	seen->drain_ms = drain_ms;
	if (++seen->stops == 1 && drain_ms != 1)
		role_exit(r);
}

static const struct role_ops full = {
    .self = R_QMGR,
    .name = "full",
    .init = r_init,
    .conf = r_conf,
    .peer = r_peer,
    .listener = r_listener,
    .listener_close = r_listener_close,
    .start = r_start,
    .master_reply = r_reply,
    .child = r_child,
    .stop = r_stop,
};
/* all that may be left out */
static const struct role_ops bare = {
    .self = R_SMTPD,
    .name = "bare",
    .init = r_init,
    .conf = r_conf,
    .peer = r_peer,
};
static const struct role_ops bare_qmgr = {
    .self = R_QMGR,
    .name = "bare",
    .init = r_init,
    .conf = r_conf,
    .peer = r_peer,
};

/* ---- the test ---- */

static void
on_ready(struct chan *c, void *arg, const void *m)
{
	(void)c;
	(void)arg;
	ready += (int)((const struct ipc_ready *)m)->generation;
}

static void
on_close(struct chan *c, void *arg, const char *why)
{
	(void)c;
	(void)arg;
	(void)why;
	chan_free(&master);
	gone = true;
}

static const struct chan_ops master_ops = {
    .on = {[IPC_READY] = on_ready},
    .on_close = on_close,
};

static void
role_start(const struct role_ops *ops, const char *option, const char *value)
{
	char name[] = "role", i[] = "-i", five[] = "5", s[] = "-S";
	char *argv[] = {name, i, five, s, NULL, NULL, NULL};
	int sp[2], beat = heartbeat_make();

	heartbeat = heartbeat_map(beat);
	ck_assert_ptr_nonnull(heartbeat);
	if (option != NULL)
		argv[4] = strdup(option);
	if (value != NULL)
		argv[5] = strdup(value);
	ready = 0;
	gone = false;
	base = event_base_new();
	seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(seen, MAP_FAILED);
	ck_assert_int_eq(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sp), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		if (dup2(null, 1) < 0 || dup2(null, 2) < 0 ||
		    dup2(sp[1], 20) < 0 || dup2(beat, 21) < 0 ||
		    dup2(20, ROLE_FD_MASTER) < 0 || dup2(21, ROLE_FD_BEAT) < 0)
			_exit(99);
		close_range(ROLE_FD_MASTER + 1, ROLE_FD_BEAT - 1, 0);
		close_range(ROLE_FD_BEAT + 1, ~0u, 0);
		optind = 1;
		exit(role_main(
		    4 + (option != NULL) + (value != NULL), argv, ops));
	}
	for (int k = 4; k < 6; k++)
		free(argv[k]);
	close(sp[1]);
	close(beat);
	master =
	    chan_new(base, sp[0], R_MASTER, ops->self, 0, &master_ops, NULL);
}

#define UNTIL(cond)                                                            \
	do {                                                                   \
		struct mono until_ = mono_add_ms(clock_mono(), 60000);         \
		while (!(cond)) {                                              \
			event_base_loop(base, EVLOOP_NONBLOCK);                \
			usleep(1000);                                          \
			ck_assert_msg(clock_mono().us < until_.us, #cond);     \
		}                                                              \
	} while (0)

static int
role_end(void)
{
	int status = 0;

	UNTIL(waitpid(pid, &status, WNOHANG) == pid);
	chan_free(&master);
	event_base_free(base);
	munmap(seen, sizeof(*seen));
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void
conf_send(const char *text)
{
	int fd = memfd_create("conf", MFD_CLOEXEC);

	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	ipc_send_conf(master, &(struct ipc_conf){.generation = 3}, fd);
}

static int
some_fd(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void
everything_send(void)
{
	ipc_send_child(
	    master, &(struct ipc_child){.role = R_SMTP, .reason = SV("")});
	conf_send("conf");
	ipc_send_peer(master, &(struct ipc_peer){.role = R_ACCT}, some_fd());
	ipc_send_listener(master,
	    &(struct ipc_listener){
		.id = 7, .address = SV("x"), .source = SV("")},
	    some_fd());
	ipc_send_listener_close(master, &(struct ipc_listener_close){.id = 7});
	ipc_send_start(master, &(struct ipc_start){.workers = 4});
}

START_TEST(test_role_hands_on_what_the_master_says)
{
	role_start(&full, "-v", NULL);
	everything_send();
	ipc_send_master_reply(
	    master, &(struct ipc_master_reply){.token = 1, .text = SV("")});
	UNTIL(seen->replies == 1 && ready == 3);
	ck_assert_uint_eq(seen->index, 5);
	UNTIL(heartbeat_count(heartbeat) >= 2); /* at its start, by a timer */
	ck_assert_int_eq(seen->children, 1);
	ck_assert_int_eq(seen->confs, 1);
	ck_assert_int_eq(seen->peers, 1);
	ck_assert_int_eq(seen->listeners, 1);
	ck_assert_int_eq(seen->closed, 1);
	ck_assert_uint_eq(seen->workers, 4);
	ipc_send_stop(master, &(struct ipc_stop){.drain_ms = 1500});
	UNTIL(gone);
	ck_assert_uint_eq(seen->drain_ms, 1500);
	ck_assert_int_eq(role_end(), 0);
}
END_TEST

START_TEST(test_role_what_it_does_not_want_is_dropped)
{
	role_start(&bare, NULL, NULL);
	everything_send();
	UNTIL(ready == 3);
	/* without a stop of its own it ends at once */
	ipc_send_stop(master, &(struct ipc_stop){.drain_ms = 60000});
	ck_assert_int_eq(role_end(), 0);
}
END_TEST

START_TEST(test_role_reply_without_a_handler_is_dropped)
{
	role_start(&bare_qmgr, NULL, NULL);
	ipc_send_master_reply(
	    master, &(struct ipc_master_reply){.token = 1, .text = SV("")});
	conf_send("conf");
	UNTIL(ready == 3);
	ipc_send_stop(master, &(struct ipc_stop){.drain_ms = 0});
	ck_assert_int_eq(role_end(), 0);
}
END_TEST

START_TEST(test_role_that_does_not_end_is_ended)
{
	struct mono began = clock_mono();

	role_start(&full, NULL, NULL);
	/* its stop does nothing for this one; a second is none */
	ipc_send_stop(master, &(struct ipc_stop){.drain_ms = 1});
	ipc_send_stop(master, &(struct ipc_stop){.drain_ms = 1});
	UNTIL(gone);
	ck_assert_int_eq(seen->stops, 1);
	ck_assert_int_ge(
	    mono_diff_ms(clock_mono(), began), ROLE_QMGR_EXTRA_S * 1000);
	ck_assert_int_eq(role_end(), 0);
}
END_TEST

START_TEST(test_role_orphan_without_a_qmgr_stops)
{
	role_start(&bare, NULL, NULL);
	conf_send("conf");
	UNTIL(ready == 3);
	chan_free(&master);
	ck_assert_int_eq(role_end(), 0);
}
END_TEST

START_TEST(test_role_orphan_with_a_qmgr_works_on)
{
	role_start(&bare, NULL, NULL);
	ipc_send_peer(master, &(struct ipc_peer){.role = R_QMGR}, some_fd());
	conf_send("conf");
	UNTIL(ready == 3);
	chan_free(&master);
	usleep(200000);
	ck_assert_int_eq(waitpid(pid, &(int){0}, WNOHANG), 0);
	kill(pid, SIGKILL);
	ck_assert_int_eq(role_end(), -1);
}
END_TEST

/* The master had no descriptors when it was to get one: another start is
 * another try. */
START_TEST(test_role_without_a_channel_to_qmgr_ends)
{
	role_qmgr_wait_s = 1;
	role_start(&bare, NULL, NULL);
	conf_send("conf");
	UNTIL(gone);
	ck_assert_int_gt(role_end(), 0);
	/* qmgr itself has none */
	role_start(&bare_qmgr, NULL, NULL);
	conf_send("conf");
	UNTIL(ready == 3);
	usleep(1500000);
	ck_assert_int_eq(waitpid(pid, &(int){0}, WNOHANG), 0);
	kill(pid, SIGKILL);
	ck_assert_int_eq(role_end(), -1);
	role_qmgr_wait_s = ROLE_QMGR_WAIT_S;
}
END_TEST

START_TEST(test_role_bad_starts_are_refused)
{
	static const struct {
		const char *option, *value;
		int status;
	} t[] = {
	    {"-x", NULL, 100}, /* no option */
	    {"-u", "no-such-user-here", 1},
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		int got;

		role_start(&full, t[i].option, t[i].value);
		got = role_end();
		ck_assert_msg(
		    got == t[i].status || (t[i].status == 1 && got > 0),
		    "%s: %d", t[i].option, got);
	}
}
END_TEST

START_TEST(test_role_empty_configuration_is_fatal)
{
	role_start(&full, NULL, NULL);
	conf_send("");
	ck_assert_int_gt(role_end(), 0);
}
END_TEST

int
main(void)
{
	TCase *tc = tcase_create("role");
	Suite *s = suite_create("role");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_role_hands_on_what_the_master_says);
	tcase_add_test(tc, test_role_what_it_does_not_want_is_dropped);
	tcase_add_test(tc, test_role_reply_without_a_handler_is_dropped);
	tcase_add_test(tc, test_role_that_does_not_end_is_ended);
	tcase_add_test(tc, test_role_orphan_without_a_qmgr_stops);
	tcase_add_test(tc, test_role_orphan_with_a_qmgr_works_on);
	tcase_add_test(tc, test_role_without_a_channel_to_qmgr_ends);
	tcase_add_test(tc, test_role_bad_starts_are_refused);
	tcase_add_test(tc, test_role_empty_configuration_is_fatal);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
