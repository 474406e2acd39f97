/* SPDX-License-Identifier: ISC */
#include <event2/event.h>

#include "common/sys/log.h"
#include "smtpd/upstream.h"

static void
on_seg_grant(struct chan *c, void *arg, const void *m)
{
	struct upstream *u = arg;

	committer_on_seg_grant(u->srv.committer, c, m);
}

static void
on_large_grant(struct chan *c, void *arg, const void *m)
{
	struct upstream *u = arg;

	committer_on_large_grant(u->srv.committer, c, m);
}

static void
on_space(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_space *m = msg;
	struct upstream *u = arg;
	char text[256];

	(void)c;
	log_info("new mail is %s%s%s", m->open ? "accepted" : "refused",
	    m->reason.n > 0 ? ": " : "",
	    log_safe(m->reason, text, sizeof(text)));
	committer_on_space(u->srv.committer, m);
}

static void
on_credit(struct chan *c, void *arg)
{
	struct upstream *u = arg;

	(void)c;
	committer_on_credit(u->srv.committer);
}

/* For `show status`: it looks like a stuck queue, and is not one. */
static void
on_vmta_unknown(struct server *srv, struct sv name, struct sv client_ip,
    enum vmta_taken how)
{
	struct upstream *u = srv->arg;

	if (u->qmgr != NULL)
		ipc_send_vmta_unknown(u->qmgr, &(struct ipc_vmta_unknown){
		    .name = name, .client_ip = client_ip,
		    .taken = (uint8_t)how });
}

static void
on_log_at(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_log_at *m = msg;
	struct upstream *u = arg;

	(void)c;
	if (u->on_log_at != NULL)
		u->on_log_at(u, m->file, m->offset);
}

static void
on_qmgr_close(struct chan *c, void *arg, const char *why)
{
	struct upstream *u = arg;

	(void)c;
	log_warn("the channel to qmgr is gone: %s", why);
	committer_chan_set(u->srv.committer, NULL);
	chan_free(&u->qmgr);
	role_qmgr_gone();
}

static const struct chan_ops qmgr_ops = {
	.on = {
		[IPC_SEG_GRANT] = on_seg_grant,
		[IPC_LARGE_GRANT] = on_large_grant,
		[IPC_SPACE] = on_space,
		[IPC_LOG_AT] = on_log_at,
	},
	.on_close = on_qmgr_close,
	.on_credit = on_credit,
};

void
upstream_init(struct upstream *u, struct role *r)
{
	u->role = r;
	server_init(&u->srv, r->base);
	u->srv.arg = u;
	u->srv.on_vmta_unknown = on_vmta_unknown;
	u->srv.committer = committer_new(r->base);
	committer_on_ready_set(u->srv.committer, server_on_ready, &u->srv);
	committer_expect_set(u->srv.committer, server_expected, &u->srv);
}

void
upstream_conf(struct upstream *u, struct sv bytes)
{
	struct conf *conf = conf_decode(bytes);

	if (conf != NULL)
		server_conf_set(&u->srv, conf);
	else if (u->srv.settings == NULL)
		fatal("the configuration does not decode");
	else
		log_warn("a configuration does not decode: the old one stays");
}

void
upstream_peer(struct upstream *u, enum ipc_role peer, unsigned index, int fd)
{
	if (peer != R_QMGR)
		fatal("a channel to %s is not expected", ipc_role_name(peer));
	if (u->qmgr != NULL) {
		committer_chan_set(u->srv.committer, NULL);
		chan_free(&u->qmgr);
	}
	u->qmgr = chan_new(u->role->base, fd, u->role->self, peer, index,
	    &qmgr_ops, u);
	committer_chan_set(u->srv.committer, u->qmgr);
}

static void
on_end(evutil_socket_t fd, short what, void *arg)
{
	struct upstream *u = arg;

	(void)fd;
	(void)what;
	committer_free(&u->srv.committer);
	if (u->qmgr != NULL)
		chan_flush(u->qmgr);
	role_exit(u->role);
}

/* From the event loop, since a session may end in the committer's call. */
void
upstream_end(struct upstream *u)
{
	static const struct timeval now;

	event_base_once(u->srv.base, -1, EV_TIMEOUT, on_end, u, &now);
}
