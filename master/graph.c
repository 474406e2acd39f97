/* SPDX-License-Identifier: ISC */
/*
 * Who talks to whom: a star around qmgr. Every other child has one channel to
 * qmgr, made here, each time one of the two has been started.
 */
#include <sys/socket.h>
#include <fcntl.h>
#include <unistd.h>

#include "common/sys/log.h"
#include "master/master.h"

static void
pair_connect(struct child *qmgr, struct child *other)
{
	int sp[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sp) != 0) {
		log_warn_errno("socketpair");
		return;
	}
	ipc_send_peer(qmgr->chan,
	    &(struct ipc_peer){ .role = other->kind->role,
	    .index = other->index }, sp[0]);
	ipc_send_peer(other->chan,
	    &(struct ipc_peer){ .role = R_QMGR, .index = 0 }, sp[1]);
}

void
graph_connect(struct child *c)
{
	struct master *m = c->master;
	struct child *qmgr = child_find(m, R_QMGR, 0);

	if (c != qmgr) {
		if (qmgr->chan != NULL)
			pair_connect(qmgr, c);
		return;
	}
	for (unsigned i = 0; i < m->nchildren; i++) {
		if (&m->children[i] != qmgr && m->children[i].chan != NULL)
			pair_connect(qmgr, &m->children[i]);
	}
}

static uint32_t
workers_alive(const struct master *m)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < m->nchildren; i++) {
		const struct child *c = &m->children[i];

		n += c->kind->role == R_SMTP && c->chan != NULL;
	}
	return n;
}

/* Gives a new child all that it needs, in order. */
void
child_introduce(struct child *c)
{
	struct master *m = c->master;
	int conf_fd = fcntl(m->conf_fd, F_DUPFD_CLOEXEC, 0);

	/* about the one before it, first of all */
	if (c->restarts > 0)
		child_tell(c, c->chan);
	ipc_send_conf(c->chan,
	    &(struct ipc_conf){ .generation = m->generation }, conf_fd);
	graph_connect(c);
	if (c->kind->wants_listeners) {
		for (unsigned i = 0; i < m->nlisteners; i++)
			listener_send(&m->listeners[i], c);
	}
	if (c->kind->role == R_QMGR) {
		struct listener control = { .fd = m->control_fd,
			.address = m->control_path, .source = NULL };

		listener_send(&control, c);
		for (unsigned i = 0; i < m->nchildren; i++)
			child_tell(&m->children[i], c->chan);
	}
	ipc_send_start(c->chan,
	    &(struct ipc_start){ .workers = workers_alive(m) });
}
