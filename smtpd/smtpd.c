/* SPDX-License-Identifier: ISC */
/*
 * pinnace-smtpd: receives mail by SMTP and writes it to the spool. It may
 * open nothing: listeners and segments are given to it.
 */
#include <stdlib.h>

#include "common/sys/log.h"
#include "smtpd/listener.h"
#include "smtpd/session.h"
#include "smtpd/upstream.h"

struct smtpd {
	struct upstream up;
	struct listeners *listeners;
};

static void
smtpd_init(struct role *r)
{
	struct smtpd *d = calloc(1, sizeof(*d));

	if (d == NULL)
		fatal("out of memory");
	r->arg = d;
	upstream_init(&d->up, r);
	d->listeners = listeners_new(&d->up.srv);
}

static void
smtpd_conf(struct role *r, struct sv bytes)
{
	struct smtpd *d = r->arg;

	upstream_conf(&d->up, bytes);
}

static void
smtpd_peer(struct role *r, enum ipc_role peer, unsigned index, int fd)
{
	struct smtpd *d = r->arg;

	upstream_peer(&d->up, peer, index, fd);
}

static void
smtpd_listener(struct role *r, uint32_t id, struct sv address,
    struct sv source, int fd)
{
	struct smtpd *d = r->arg;
	char text[128];

	log_debug("listening on %s", log_safe(address, text, sizeof(text)));
	listeners_add(d->listeners, id, fd, source);
}

static void
smtpd_listener_close(struct role *r, uint32_t id)
{
	struct smtpd *d = r->arg;

	listeners_close(d->listeners, id);
}

/* The last session is gone and we are told to stop. */
static void
on_empty(struct server *srv)
{
	upstream_end(srv->arg);
}

static void
smtpd_stop(struct role *r, uint32_t drain_ms)
{
	struct smtpd *d = r->arg;

	(void)drain_ms;
	listeners_close_all(d->listeners);
	if (d->up.srv.nsessions == 0) {
		on_empty(&d->up.srv);
		return;
	}
	d->up.srv.on_empty = on_empty;
	server_stop(&d->up.srv);
}

static const struct role_ops smtpd_ops = {
	.self = R_SMTPD,
	.name = "smtpd",
	.init = smtpd_init,
	.conf = smtpd_conf,
	.peer = smtpd_peer,
	.listener = smtpd_listener,
	.listener_close = smtpd_listener_close,
	.stop = smtpd_stop,
};

int
main(int argc, char **argv)
{
	return role_main(argc, argv, &smtpd_ops);
}
