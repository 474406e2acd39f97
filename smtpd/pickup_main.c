/* SPDX-License-Identifier: ISC */
/*
 * pinnace-pickup: takes in the files of the pickup directory. It hears nobody
 * and may open files beneath its directories only.
 */
#include <stdlib.h>

#include "common/sys/log.h"
#include "smtpd/pickup.h"
#include "smtpd/upstream.h"

struct picker {
	struct upstream up;
	struct pickup *pickup;
};

static void
on_log_at(struct upstream *u, uint64_t file, uint64_t offset)
{
	struct picker *d = u->arg;

	pickup_log_at(d->pickup, (struct evlog_pos){ file, offset });
}

static void
on_at(void *arg, struct evlog_pos at)
{
	struct picker *d = arg;

	if (d->up.qmgr != NULL)
		ipc_send_reader_at(d->up.qmgr, &(struct ipc_reader_at){
		    .file = at.file, .offset = at.offset });
}

static void
on_idle(void *arg)
{
	struct picker *d = arg;

	upstream_end(&d->up);
}

static const struct pickup_ops pickup_ops = { .at = on_at, .idle = on_idle };

static void
picker_init(struct role *r)
{
	static const int fds[4] = { ROLE_FD_PICKUP, ROLE_FD_BAD,
		ROLE_FD_EVENTS, ROLE_FD_OFFSETS };
	struct picker *d = calloc(1, sizeof(*d));

	if (d == NULL)
		fatal("out of memory");
	r->arg = d;
	upstream_init(&d->up, r);
	d->up.arg = d;
	d->up.on_log_at = on_log_at;
	d->pickup = pickup_new(&d->up.srv, fds, &pickup_ops, d);
}

static void
picker_conf(struct role *r, struct sv bytes)
{
	struct picker *d = r->arg;

	upstream_conf(&d->up, bytes);
	pickup_conf(d->pickup);
}

static void
picker_peer(struct role *r, enum ipc_role peer, unsigned index, int fd)
{
	struct picker *d = r->arg;

	upstream_peer(&d->up, peer, index, fd);
	pickup_tell(d->pickup);
}

static void
picker_stop(struct role *r, uint32_t drain_ms)
{
	struct picker *d = r->arg;

	(void)drain_ms;
	pickup_stop(d->pickup);
}

static const struct role_ops picker_ops = {
	.self = R_PICKUP,
	.name = "pickup",
	.init = picker_init,
	.conf = picker_conf,
	.peer = picker_peer,
	.stop = picker_stop,
};

int
main(int argc, char **argv)
{
	return role_main(argc, argv, &picker_ops);
}
