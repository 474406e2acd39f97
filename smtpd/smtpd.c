/* SPDX-License-Identifier: ISC */
/*
 * pinnace-smtpd: receives mail by SMTP and writes it to the spool. It may
 * open nothing: listeners and segments are given to it.
 */
#include <stdlib.h>

#include <event2/event.h>

#include "common/ipc/role.h"
#include "common/sys/log.h"
#include "smtpd/listener.h"
#include "smtpd/session.h"

struct smtpd {
	struct role *role;
	struct server srv;
	struct listeners *listeners;
	struct chan *qmgr;
};

/* ---- qmgr ---- */

static void
on_seg_grant(struct chan *c, void *arg, const void *m)
{
	struct smtpd *d = arg;

	committer_on_seg_grant(d->srv.committer, c, m);
}

static void
on_large_grant(struct chan *c, void *arg, const void *m)
{
	struct smtpd *d = arg;

	committer_on_large_grant(d->srv.committer, c, m);
}

static void
on_space(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_space *m = msg;
	struct smtpd *d = arg;
	char text[256];

	(void)c;
	log_info("new mail is %s%s%s", m->open ? "accepted" : "refused",
	    m->reason.n > 0 ? ": " : "",
	    log_safe(m->reason, text, sizeof(text)));
	committer_on_space(d->srv.committer, m);
}

static void
on_credit(struct chan *c, void *arg)
{
	struct smtpd *d = arg;

	(void)c;
	committer_on_credit(d->srv.committer);
}

/* For `show status`: it looks like a stuck queue, and is not one. */
static void
on_vmta_unknown(struct server *srv, struct sv name, struct sv client_ip,
    enum vmta_taken how)
{
	struct smtpd *d = srv->arg;

	if (d->qmgr != NULL)
		ipc_send_vmta_unknown(d->qmgr, &(struct ipc_vmta_unknown){
		    .name = name, .client_ip = client_ip,
		    .taken = (uint8_t)how });
}

static void
on_qmgr_close(struct chan *c, void *arg, const char *why)
{
	struct smtpd *d = arg;

	(void)c;
	log_warn("the channel to qmgr is gone: %s", why);
	committer_chan_set(d->srv.committer, NULL);
	chan_free(&d->qmgr);
	role_qmgr_gone();
}

static const struct chan_ops qmgr_ops = {
	.on = {
		[IPC_SEG_GRANT] = on_seg_grant,
		[IPC_LARGE_GRANT] = on_large_grant,
		[IPC_SPACE] = on_space,
	},
	.on_close = on_qmgr_close,
	.on_credit = on_credit,
};

/* ---- the master ---- */

static void
smtpd_init(struct role *r)
{
	struct smtpd *d = calloc(1, sizeof(*d));

	if (d == NULL)
		fatal("out of memory");
	d->role = r;
	r->arg = d;
	server_init(&d->srv, r->base);
	d->srv.arg = d;
	d->srv.on_vmta_unknown = on_vmta_unknown;
	d->srv.committer = committer_new(r->base);
	committer_on_ready_set(d->srv.committer, server_on_ready, &d->srv);
	committer_expect_set(d->srv.committer, server_expected, &d->srv);
	d->listeners = listeners_new(&d->srv);
}

static void
smtpd_conf(struct role *r, struct sv bytes)
{
	struct smtpd *d = r->arg;
	struct conf *conf = conf_decode(bytes);

	if (conf != NULL)
		server_conf_set(&d->srv, conf);
	else if (d->srv.settings == NULL)
		fatal("the configuration does not decode");
	else
		log_warn("a configuration does not decode: the old one stays");
}

static void
smtpd_peer(struct role *r, enum ipc_role peer, unsigned index, int fd)
{
	struct smtpd *d = r->arg;

	if (peer != R_QMGR)
		fatal("a channel to %s is not expected", ipc_role_name(peer));
	if (d->qmgr != NULL) {
		committer_chan_set(d->srv.committer, NULL);
		chan_free(&d->qmgr);
	}
	d->qmgr = chan_new(r->base, fd, r->self, peer, index, &qmgr_ops, d);
	committer_chan_set(d->srv.committer, d->qmgr);
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
on_end(evutil_socket_t fd, short what, void *arg)
{
	struct smtpd *d = arg;

	(void)fd;
	(void)what;
	committer_free(&d->srv.committer);
	if (d->qmgr != NULL)
		chan_flush(d->qmgr);
	role_exit(d->role);
}

/* From the event loop, since a session may end in the committer's call. */
static void
on_empty(struct server *srv)
{
	static const struct timeval now;

	event_base_once(srv->base, -1, EV_TIMEOUT, on_end, srv->arg, &now);
}

static void
smtpd_stop(struct role *r, uint32_t drain_ms)
{
	struct smtpd *d = r->arg;

	(void)drain_ms;
	listeners_close_all(d->listeners);
	if (d->srv.nsessions == 0) {
		on_empty(&d->srv);
		return;
	}
	d->srv.on_empty = on_empty;
	server_stop(&d->srv);
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
