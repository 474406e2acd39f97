/* SPDX-License-Identifier: ISC */
/*
 * loadgen: sends many messages over many connections to one SMTP server and
 * says how fast they were taken. One epoll loop per process; with pipelining
 * a message costs one write (its end together with the next envelope) and one
 * read. Every message has an ID and a checksum that the receiver verifies;
 * with --ledger every 250 is written down in the turn in which it came.
 *
 * README.md has the options and the format of the ledger.
 */
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/loadgen.h"

#define EVENTS        256
#define STOP_GRACE_MS 10000 /* for outstanding replies after SIGTERM */

struct loadgen lg;
static volatile sig_atomic_t want_stop;

static void
on_signal(int sig)
{
	(void)sig;
	want_stop = 1;
}

/* Looks at every connection: deadlines, pauses that ended, idle ones. */
static void
look_around(void)
{
	lg.someone_idle = false;
	for (uint64_t i = 0; i < opt.connections; i++) {
		struct conn *c = &lg.conns[i];

		if (c->wait == WAIT_RETRY && lg.now.us >= c->retry_at.us &&
		    message_work_left())
			conn_open(c);
		else if (c->wait == WAIT_IDLE)
			conn_next(c);
		else if (c->fd >= 0 && mono_diff_ms(lg.now, c->active_at) >
		    (int64_t)opt.timeout_ms)
			c->broken = true;
		conn_touch(c);
	}
}

static bool
outstanding(void)
{
	for (uint64_t i = 0; i < opt.connections; i++)
		if (lg.conns[i].sent != NULL || lg.conns[i].env != NULL)
			return true;
	return false;
}

/* True when the run is over. */
static bool
check_end(void)
{
	if (!lg.stopping && (want_stop != 0 || (opt.duration_ms > 0 &&
	    mono_diff_ms(lg.now, lg.began) >= (int64_t)opt.duration_ms))) {
		lg.stopping = true;
		lg.stop_at = lg.now;
	}
	if (mono_diff_ms(lg.now, lg.progress_at) > (int64_t)opt.give_up_ms) {
		lg.gave_up = true;
		return true;
	}
	if (lg.stopping && mono_diff_ms(lg.now, lg.stop_at) > STOP_GRACE_MS)
		return true;
	return !message_work_left() && !outstanding();
}

static void
run(void)
{
	struct epoll_event ev[EVENTS];
	struct mono looked = { 0 };
	struct conn *c;

	do {
		int n = epoll_wait(lg.epoll_fd, ev, EVENTS,
		    lg.someone_idle ? 1 : 10);

		lg.now = kit_mono();
		for (int i = 0; i < n; i++)
			conn_event(ev[i].data.ptr, ev[i].events);
		if (lg.someone_idle || mono_diff_ms(lg.now, looked) >= 10) {
			look_around();
			looked = lg.now;
		}
		while ((c = STAILQ_FIRST(&lg.touched)) != NULL) {
			STAILQ_REMOVE_HEAD(&lg.touched, touched_next);
			c->touched = false;
			conn_settle(c);
		}
		kit_ledger_write(&lg.ledger);
	} while (!check_end());
}

/* What is still unanswered at the end is lost; then a polite goodbye. */
static void
finish(void)
{
	struct message *m;

	lg.stopping = true;
	for (uint64_t i = 0; i < opt.connections; i++) {
		struct conn *c = &lg.conns[i];

		if (c->fd >= 0 && c->wait == WAIT_IDLE)
			(void)!send(c->fd, "QUIT\r\n", 6, MSG_NOSIGNAL);
		conn_close(c);
	}
	while ((m = STAILQ_FIRST(&lg.again)) != NULL) {
		STAILQ_REMOVE_HEAD(&lg.again, next);
		message_end(m, SV("given up"));
	}
	kit_ledger_write(&lg.ledger);
}

static int
child_run(uint64_t k)
{
	uint64_t share = opt.messages / opt.processes;
	uint64_t extra = opt.messages % opt.processes;

	lg.stats += k;
	lg.next_number = opt.first_id + share * k + (k < extra ? k : extra);
	lg.end_number = lg.next_number + share + (k < extra);
	if (opt.messages == 0) { /* without end: far apart */
		lg.next_number = opt.first_id + (k << 40);
		lg.end_number = lg.next_number + ((uint64_t)1 << 40);
	}
	lg.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	lg.conns = calloc(opt.connections, sizeof(*lg.conns));
	if (lg.epoll_fd < 0 || lg.conns == NULL)
		err(111, "start");
	STAILQ_INIT(&lg.again);
	STAILQ_INIT(&lg.touched);
	lg.now = kit_mono();
	lg.began = lg.progress_at = lg.now;
	lg.stats->first_us = lg.stats->last_us = lg.now.us;
	lg.stats->wall_us = kit_wall().us;
	for (uint64_t i = 0; i < opt.connections; i++)
		conn_init(&lg.conns[i]);
	look_around();
	run();
	finish();
	return lg.gave_up ? 1 : 0;
}

int
main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct stats sum = { 0 };
	int status, rv = 0;

	options_take(argc, argv);
	text_init();
	if (opt.spool != NULL) {
		spool_make();
		return 0;
	}
	kit_ledger_open(&lg.ledger, opt.ledger);
	lg.stats = mmap(NULL, opt.processes * sizeof(*lg.stats),
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (lg.stats == MAP_FAILED)
		err(111, "mmap");
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (opt.processes == 1) {
		rv = child_run(0);
	} else {
		for (uint64_t k = 0; k < opt.processes; k++)
			if (fork() == 0)
				_exit(child_run(k));
		for (;;) {
			if (wait(&status) >= 0)
				rv |= status != 0;
			else if (errno != EINTR)
				break;
		}
	}
	for (uint64_t k = 0; k < opt.processes; k++)
		stats_add(&sum, &lg.stats[k]);
	stats_print(&sum);
	return rv;
}
