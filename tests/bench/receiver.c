/* SPDX-License-Identifier: ISC */
/*
 * receiver: an SMTP server that takes every message, checks it, counts it and
 * throws it away; or answers by a script. It is the sink of the benchmark, of
 * the system tests and of the quick start. One process, one epoll loop: per
 * connection and turn one read, and one write for all replies. What it counts
 * is written to the ledger (--ids) before the 250 leaves.
 *
 * README.md has the options and the rules of the script.
 */
#include <bsd/string.h>
#include <err.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/receiver.h"

#define EVENTS    256
#define LISTENERS 64

struct receiver rv;
static int listeners[LISTENERS];
static size_t nlisteners;
static volatile sig_atomic_t want_totals, want_stop, want_reload;

static void
on_signal(int sig)
{
	if (sig == SIGUSR1)
		want_totals = 1;
	else if (sig == SIGHUP)
		want_reload = 1;
	else
		want_stop = 1;
}

static void
read_clocks(void)
{
	rv.now = kit_mono();
	rv.now_wall = kit_wall();
}

static void
print_totals(void)
{
	const struct totals *t = &rv.totals;
	uint64_t missing = opt.expect > rv.pairs.used ?
	    opt.expect - rv.pairs.used : 0;

	printf("{\"messages\": %ju, \"recipients\": %ju, \"bytes\": %ju, "
	       "\"ids\": %zu, \"pairs\": %zu, \"duplicates\": %ju, "
	       "\"missing\": %ju, \"bad_checksum\": %ju, "
	       "\"no_checksum\": %ju, \"no_id\": %ju, "
	       "\"connections\": %ju, \"max_open\": %ju, \"dropped\": %ju, "
	       "\"replies_4xx\": %ju, \"replies_5xx\": %ju, "
	       "\"early_commands\": %ju, "
	       "\"first\": %.6f, \"last\": %.6f}\n",
	    t->messages, t->recipients, t->bytes, rv.ids.used, rv.pairs.used,
	    t->duplicates, missing, t->bad_checksum, t->no_checksum, t->no_id,
	    t->connections, t->max_open, t->dropped, t->replies_4xx,
	    t->replies_5xx, t->early,
	    (double)t->first.us / (double)US_PER_SEC,
	    (double)t->last.us / (double)US_PER_SEC);
	fflush(stdout);
}

static void
accept_all(int fd)
{
	struct sockaddr_storage sa;
	char peer[INET6_ADDRSTRLEN];

	for (;;) {
		socklen_t len = sizeof(sa);
		int c = accept4(fd, (struct sockaddr *)&sa, &len,
		    SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (c < 0)
			return;
		setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 },
		    sizeof(int));
		if (getnameinfo((struct sockaddr *)&sa, len, peer,
		    sizeof(peer), NULL, 0, NI_NUMERICHOST) != 0)
			strlcpy(peer, "unknown", sizeof(peer));
		session_greet(session_new(c, peer));
	}
}

/* Milliseconds until the next hold ends; -1 without one. */
static int
run_holds(void)
{
	struct session *s, *next;
	int64_t wait = -1, ms;

	for (s = TAILQ_FIRST(&rv.held); s != NULL; s = next) {
		next = TAILQ_NEXT(s, held_next);
		if (s->held_until <= rv.now.us)
			session_release(s);
	}
	TAILQ_FOREACH(s, &rv.held, held_next) {
		ms = (s->held_until - rv.now.us) / US_PER_MS + 1;
		if (ms < 0)
			ms = 0;
		if (wait < 0 || ms < wait)
			wait = ms;
	}
	return wait > 60000 ? 60000 : (int)wait;
}

static void
load_script(void)
{
	struct script *fresh = script_new(opt.seed);
	char why[512];

	if (opt.script != NULL &&
	    script_load(fresh, opt.script, why, sizeof(why)) != 0) {
		if (rv.script == NULL)
			errx(100, "%s", why);
		warnx("%s; the old rules stay", why);
		script_free(&fresh);
		return;
	}
	script_free(&rv.script);
	rv.script = fresh;
}

static void
handle_signals(void)
{
	if (want_totals != 0) {
		want_totals = 0;
		print_totals();
	}
	if (want_reload != 0) {
		want_reload = 0;
		load_script();
	}
}

static void
handle_event(const struct epoll_event *ev)
{
	struct session *s = ev->data.ptr;

	for (size_t i = 0; i < nlisteners; i++) {
		if (ev->data.ptr == &listeners[i]) {
			accept_all(listeners[i]);
			return;
		}
	}
	if (s->is_held) {
		/* Only errors are told now: the client has gone. */
		s->broken = (ev->events & (EPOLLHUP | EPOLLERR)) != 0;
		session_mark(s);
	} else if (s->watched == EPOLLOUT) {
		session_mark(s);
	} else {
		session_readable(s);
	}
}

static void
run(void)
{
	struct epoll_event ev[EVENTS];
	struct session *s;
	sigset_t none;
	int wait = -1;

	sigemptyset(&none);
	while (want_stop == 0) {
		int n = epoll_pwait(rv.epoll_fd, ev, EVENTS, wait, &none);

		read_clocks();
		handle_signals();
		for (int i = 0; i < n; i++)
			handle_event(&ev[i]);
		wait = run_holds();
		kit_ledger_write(&rv.ledger);
		while ((s = STAILQ_FIRST(&rv.dirty)) != NULL) {
			STAILQ_REMOVE_HEAD(&rv.dirty, dirty_next);
			s->dirty = false;
			session_flush(s);
		}
		if (opt.quit_after > 0 && rv.pairs.used >= opt.quit_after)
			break;
	}
}

static void
print_listening(int fd)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	char host[INET6_ADDRSTRLEN], port[8];

	if (getsockname(fd, (struct sockaddr *)&sa, &len) != 0 ||
	    getnameinfo((struct sockaddr *)&sa, len, host, sizeof(host), port,
	    sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		err(111, "getsockname");
	if (sa.ss_family == AF_INET6)
		printf("listening [%s]:%s\n", host, port);
	else
		printf("listening %s:%s\n", host, port);
	fflush(stdout);
}

void
listen_on(const char *where)
{
	struct addrinfo *ai = kit_address(where,
	    AI_NUMERICHOST | AI_PASSIVE);
	struct epoll_event ev = { .events = EPOLLIN };
	int fd;

	if (ai == NULL || nlisteners == LISTENERS)
		errx(100, "%s: want ADDRESS:PORT", where);
	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
	    0);
	if (fd < 0)
		err(111, "socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 ||
	    listen(fd, 4096) != 0)
		err(111, "%s", where);
	freeaddrinfo(ai);
	listeners[nlisteners] = fd;
	ev.data.ptr = &listeners[nlisteners++];
	if (epoll_ctl(rv.epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0)
		err(111, "epoll_ctl");
	print_listening(fd);
}

static void
catch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };
	static const int signals[] = { SIGUSR1, SIGHUP, SIGINT, SIGTERM };
	sigset_t blocked;

	/* Only epoll_pwait lets them in, so that none comes just before it. */
	sigemptyset(&blocked);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		sigaction(signals[i], &sa, NULL);
		sigaddset(&blocked, signals[i]);
	}
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	signal(SIGPIPE, SIG_IGN);
}

int
main(int argc, char **argv)
{
	catch_signals();
	rv.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	TAILQ_INIT(&rv.all);
	TAILQ_INIT(&rv.held);
	STAILQ_INIT(&rv.dirty);
	idset_init(&rv.ids);
	idset_init(&rv.pairs);
	read_clocks();
	rv.started = rv.now;
	options_take(argc, argv);
	if (rv.script == NULL)
		load_script();
	if (opt.mbox_dir != NULL)
		mbox_open();
	kit_ledger_open(&rv.ledger, opt.ids);
	for (; optind < argc; optind++)
		listen_on(argv[optind]);
	if (nlisteners == 0)
		listen_on("127.0.0.1:0");
	run();
	print_totals();
	return 0;
}
