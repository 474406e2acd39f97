/* SPDX-License-Identifier: ISC */
/*
 * The watchdog: a child whose loop has not beaten (common/ipc/heartbeat.h) for
 * watchdog-timeout is killed, by SIGABRT, so that there may be a core, and
 * WATCH_ABORT_MS later by SIGKILL (a stopped process takes no other). Then it
 * is started again like any that crashed.
 *
 * Time that the master itself did not see pass counts for nobody: if this
 * timer comes late, the machine was suspended, or everything was stopped or
 * starved, and the children could not beat either.
 *
 * A process in the kernel's uninterruptible sleep waits for the disk: no
 * signal reaches it and the next one of it would wait for the same disk. It
 * is said once and left alone.
 *
 * The same timer keeps the service manager's own watchdog quiet: as long as it
 * turns, the master does.
 */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/ipc/heartbeat.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "master/master.h"
#include "master/notify.h"
#include "master/procstat.h"

#define WATCH_TICK_MS	1000
#define WATCH_LATE_MS	(2 * WATCH_TICK_MS) /* later than that is a gap */
#define WATCH_LEAST_MS	3000		    /* three beats */
#define WATCH_ABORT_MS	5000		    /* for writing a core */
#define START_EXTEND_MS 10000 /* of the service manager's patience */

struct watch {
	struct event *timer;
	struct mono last; /* tick */
	struct mono told; /* WATCHDOG=1, or EXTEND_TIMEOUT_USEC */
};

static struct watch watch;

static void
child_hangs(struct child *c, struct mono now, int64_t silent_ms)
{
	struct procstat st;

	if (c->hung) {
		if (mono_diff_ms(now, c->aborted) >= WATCH_ABORT_MS)
			kill(c->pid, SIGKILL);
		return;
	}
	if (procstat_read(c->pid, &st) == 0 && st.state == 'D') {
		if (!c->disk_wait)
			log_warn("%s[%u] has waited for the disk for %lld s",
			    c->kind->program, c->index,
			    (long long)(silent_ms / 1000));
		c->disk_wait = true;
		c->beaten = now; /* and when it is back it gets its time */
		return;
	}
	log_warn("%s[%u] hangs: no sign of life for %lld s; killing it with "
		 "SIGABRT (pid %d)",
	    c->kind->program, c->index, (long long)(silent_ms / 1000),
	    (int)c->pid);
	c->hung = true;
	c->aborted = now;
	kill(c->pid, SIGABRT);
}

static void
child_watch(struct child *c, struct mono now, int64_t gap_us, int64_t limit_ms)
{
	uint64_t beats = heartbeat_count(c->beat);
	int64_t silent_ms;

	c->beaten.us += gap_us;
	if (beats != c->beats) {
		c->beats = beats;
		c->beaten = now;
		c->disk_wait = false;
	}
	if (heat_cooled(&c->heat, c->started, now) && c->slowed) {
		log_info("%s[%u] works again", c->kind->program, c->index);
		c->slowed = false;
	}
	silent_ms = mono_diff_ms(now, c->beaten);
	if (limit_ms != 0 && silent_ms >= limit_ms)
		child_hangs(c, now, silent_ms);
}

/* Some child cannot be started: waiting on is of no use. */
static bool
start_fails(const struct master *m)
{
	for (unsigned i = 0; i < m->nchildren; i++) {
		if (m->children[i].slowed)
			return true;
	}
	return false;
}

static void
manager_tell(struct master *m, struct mono now)
{
	int64_t since = mono_diff_ms(now, watch.told);

	if (!m->announced && !m->stopping && since >= START_EXTEND_MS &&
	    !start_fails(m)) {
		/* a large spool takes its time; a hang is ended above */
		notify_send("EXTEND_TIMEOUT_USEC=%lld",
		    (long long)START_EXTEND_MS * 3 * US_PER_MS);
		watch.told = now;
	}
	if (notify_watchdog_ms() != 0 && since >= notify_watchdog_ms()) {
		notify_send("WATCHDOG=1");
		watch.told = now;
	}
}

static int64_t
tick_ms(void)
{
	int64_t ms = notify_watchdog_ms();

	return ms != 0 && ms < WATCH_TICK_MS ? ms : WATCH_TICK_MS;
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct master *m = arg;
	int64_t limit_ms = conf_global(m->conf)->watchdog_timeout_ms;
	struct mono now = clock_mono();
	int64_t gap_us = now.us - watch.last.us - tick_ms() * US_PER_MS;

	(void)fd;
	(void)what;
	if (gap_us < WATCH_LATE_MS * US_PER_MS)
		gap_us = 0;
	watch.last = now;
	manager_tell(m, now);
	if (limit_ms != 0 && limit_ms < WATCH_LEAST_MS)
		limit_ms = WATCH_LEAST_MS;
	/* the end of a stop has a limit of its own */
	for (unsigned i = 0; i < m->nchildren && !m->stopping; i++) {
		if (m->children[i].pid != 0)
			child_watch(&m->children[i], now, gap_us, limit_ms);
	}
}

void
watch_start(struct master *m)
{
	int64_t ms = tick_ms();
	struct timeval tv = {
	    .tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	watch.last = watch.told = clock_mono();
	watch.timer = event_new(m->base, -1, EV_PERSIST, on_tick, m);
	if (watch.timer == NULL || event_add(watch.timer, &tv) != 0)
		fatal("out of memory");
	notify_send("WATCHDOG=1");
}
