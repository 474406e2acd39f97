/* SPDX-License-Identifier: ISC */
#include <sys/file.h>
#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <jansson.h>

#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "qmgr/qmgr.h"

/* The qmgr before us may be draining: as long as an orphan does, and more. */
#define LOCK_WAIT_MS (ROLE_ORPHAN_DRAIN_MS * 4)
/* No slice of new settings takes that long. */
#define OLD_CONF_MS  60000

struct sched_now
qmgr_now(void)
{
	return (struct sched_now){ .mono = clock_mono(),
		.wall = clock_wall() };
}

/* ---- the end of a turn ---- */

static void
sched_timer_set(struct qmgr *q, bool more)
{
	struct mono next = sched_next(q->sched);
	struct timeval tv = { 0 };
	int64_t us;

	if (more) {
		event_active(q->sched_timer, EV_TIMEOUT, 0);
		return;
	}
	if (next.us == INT64_MAX) {
		event_del(q->sched_timer);
		return;
	}
	us = next.us - clock_mono().us;
	if (us < 1000)
		us = 1000;
	tv.tv_sec = us / US_PER_SEC;
	tv.tv_usec = us % US_PER_SEC;
	event_add(q->sched_timer, &tv);
}

void
qmgr_turn_end(struct qmgr *q)
{
	bool more = false;

	if (!q->recovered)
		return;
	if (!q->running && q->started_peers && q->resync_wait == 0)
		qmgr_run(q);
	/* what could not be recorded is not begun */
	if (q->running && !q->stopping && journal_is_well(q))
		more = sched_run(q->sched, qmgr_now());
	if (journal_write(q))
		workers_ack(q);
	if (q->running && !q->stopping && journal_is_well(q))
		sched_timer_set(q, more);
}

static void
on_sched_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	qmgr_turn_end(arg);
}

/* Every worker that outlived the last qmgr has told what it still has. */
void
qmgr_run(struct qmgr *q)
{
	q->running = true;
	event_del(q->resync_timer);
	workers_old_intents(q);
	log_info("running");
}

static void
on_resync_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct qmgr *q = arg;

	(void)fd;
	(void)what;
	log_warn("%u delivery processes did not say what they still have",
	    q->resync_wait);
	q->resync_wait = 0;
	qmgr_turn_end(q);
}

/* ---- the role ---- */

static void
spool_lock(void)
{
	struct mono until = mono_add_ms(clock_mono(), LOCK_WAIT_MS);
	int fd = openat(ROLE_FD_SPOOL, "lock",
	    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		fatal_errno("cannot open the spool's lock");
	while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK || clock_mono().us > until.us)
			fatal_errno("the spool is in use");
		usleep(50000);
	}
}

static void
on_init(struct role *r)
{
	static struct qmgr qmgr;
	struct qmgr *q = &qmgr;

	umask(027);
	/* or it would look for /dev/urandom at its first object */
	json_object_seed((size_t)arc4random() | 1);
	r->arg = q;
	q->role = r;
	q->started = clock_wall();
	arena_init(&q->env_arena, ENV_ARENA_MAX);
	buf_init(&q->record, RECORD_MAX);
	q->sched_timer = event_new(r->base, -1, 0, on_sched_timer, q);
	q->resync_timer = event_new(r->base, -1, 0, on_resync_timeout, q);
	if (q->sched_timer == NULL || q->resync_timer == NULL)
		fatal("out of memory");
	spool_lock();
	q->sio = sio_os_new(ROLE_FD_SPOOL);
	if (q->sio == NULL || sio_spool_create(q->sio) != 0)
		fatal_errno("cannot use the spool");
	suspects_init(q);
	routes_init(q);
	workers_init(q);
}

static void
conf_retire(struct qmgr *q, struct conf *conf)
{
	struct old_conf *o = malloc(sizeof(*o));

	if (o == NULL)
		fatal("out of memory");
	*o = (struct old_conf){ .next = q->old_confs, .conf = conf,
		.replaced = clock_mono() };
	q->old_confs = o;
}

void
qmgr_confs_forget(struct qmgr *q)
{
	struct old_conf **at = &q->old_confs, *o;

	while ((o = *at) != NULL) {
		if (mono_diff_ms(clock_mono(), o->replaced) < OLD_CONF_MS) {
			at = &o->next;
			continue;
		}
		*at = o->next;
		conf_free(&o->conf);
		free(o);
	}
}

static void
on_conf(struct role *r, struct sv bytes)
{
	struct qmgr *q = r->arg;
	struct conf *conf = conf_decode(bytes), *old = q->conf;
	uint64_t seed;

	if (conf == NULL)
		fatal("the master's configuration does not decode");
	pools_forget(q);
	q->conf = conf;
	if (q->sched == NULL) {
		arc4random_buf(&seed, sizeof(seed));
		q->sched = sched_new(&qmgr_sched_ops, q, conf, seed);
		recover_spool(q);
		upkeep_init(q);
		control_init(q);
		/* what was replayed need not be replayed again */
		journal_checkpoint(q);
		return;
	}
	sched_conf_set(q->sched, qmgr_now(), conf);
	conf_retire(q, old);
	qmgr_turn_end(q);
}

static void
smtpd_attach(struct qmgr *q, unsigned index, int fd)
{
	struct writer *w = writer_attach(q, R_SMTPD, index);

	if (w == NULL) {
		close(fd);
		return;
	}
	w->chan = chan_new(q->role->base, fd, R_QMGR, R_SMTPD, index,
	    &smtpd_chan_ops, w);
	chan_credit_grant(w->chan, WRITER_CREDITS);
	upkeep_space_tell(q, w->chan);
}

static void
on_peer(struct role *r, enum ipc_role peer, unsigned index, int fd)
{
	struct qmgr *q = r->arg;

	if (peer == R_SMTPD)
		smtpd_attach(q, index, fd);
	else if (peer == R_SMTP)
		worker_attach(q, index, fd);
	else if (peer == R_RESOLVER)
		routes_chan_set(q, fd);
	else if (peer == R_ACCT)
		acct_attach(q, fd);
	else if (peer == R_BOUNCE)
		bounce_attach(q, fd);
	else if (peer == R_PICKUP)
		pickup_attach(q, fd);
	else
		close(fd);
	qmgr_turn_end(q);
}

static void
on_listener(struct role *r, uint32_t id, struct sv address, struct sv source,
    int fd)
{
	(void)id;
	(void)address;
	(void)source;
	control_listener(r->arg, fd);
}

static void
on_start(struct role *r, uint32_t workers)
{
	struct qmgr *q = r->arg;
	struct timeval tv = { .tv_sec = RESYNC_WAIT_MS / 1000 };

	/* some may have come and told already */
	for (unsigned i = 0; i < WORKERS_MAX && workers > 0; i++)
		workers -= q->workers[i].resynced;
	q->resync_wait = workers;
	q->started_peers = true;
	event_add(q->resync_timer, &tv);
	qmgr_turn_end(q);
}

static void
on_master_reply(struct role *r, const struct ipc_master_reply *m)
{
	control_master_reply(r->arg, m);
}

static void
on_child(struct role *r, const struct ipc_child *m)
{
	children_note(r->arg, m);
	suspects_child(r->arg, m);
}

/* Without peers nobody would ever tell us to stop, and the next qmgr waits for
 * our lock. */
static void
on_master_gone(struct role *r)
{
	control_master_gone(r->arg);
	suspects_master_gone(r->arg);
	qmgr_stop_check(r->arg);
}

/* ---- stop ---- */

static void
stop_now(struct qmgr *q)
{
	if (q->stopped)
		return;
	q->stopped = true;
	if (q->recovered) {
		journal_write(q);
		journal_close(q);
	}
	role_exit(q->role);
}

static unsigned
writers_count(const struct qmgr *q)
{
	unsigned n = 0;

	for (unsigned i = 0; i < WRITERS_MAX; i++)
		n += q->writers[i].chan != NULL;
	return n;
}

void
qmgr_stop_check(struct qmgr *q)
{
	if (writers_count(q) > 0 || workers_count(q) > 0)
		return;
	if (q->stopping)
		stop_now(q);
	else
		role_orphan_stop(q->role);
}

static void
on_stop_timeout(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	stop_now(arg);
}

/*
 * No new deliveries; what the workers have under way comes to its end. When
 * they and the writers are gone, or the time is over, the last word goes to
 * the disk.
 */
static void
on_stop(struct role *r, uint32_t drain_ms)
{
	struct qmgr *q = r->arg;
	struct timeval tv = { .tv_sec = drain_ms / 1000 };

	q->stopping = true;
	q->stop_timer = event_new(r->base, -1, 0, on_stop_timeout, q);
	if (q->stop_timer == NULL)
		fatal("out of memory");
	event_add(q->stop_timer, &tv);
	event_del(q->sched_timer);
	/* an orphan's peers have nobody to tell them but the end of qmgr */
	if (r->master == NULL)
		stop_now(q);
	else
		qmgr_stop_check(q);
}

static const struct role_ops ops = {
	.self = R_QMGR,
	.name = "qmgr",
	.init = on_init,
	.conf = on_conf,
	.peer = on_peer,
	.listener = on_listener,
	.start = on_start,
	.master_reply = on_master_reply,
	.child = on_child,
	.master_gone = on_master_gone,
	.stop = on_stop,
};

int
main(int argc, char **argv)
{
	return role_main(argc, argv, &ops);
}
