/* SPDX-License-Identifier: ISC */
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/str.h"
#include "common/mail/route.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "common/sys/sockaddr.h"
#include "master/master.h"

#define BACKLOG 1024
/* A master that was killed leaves children that hold the port until they have
 * drained; that long a new one waits for it. */
#define BIND_WAIT_MS 20000

static int
bind_patiently(int fd, const struct sockaddr_storage *ss, socklen_t len,
    int wait_ms)
{
	struct mono until = mono_add_ms(clock_mono(), wait_ms);

	while (bind(fd, (const struct sockaddr *)ss, len) != 0) {
		if (errno != EADDRINUSE || clock_mono().us > until.us)
			return -1;
		usleep(100000);
	}
	return 0;
}

static int
socket_listen(const struct route_addr *a, uint16_t port, int wait_ms)
{
	struct sockaddr_storage ss;
	socklen_t len = sockaddr_make(a, port, &ss);
	int one = 1, fd;

	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
	    0);
	if (fd < 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (a->family == 6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one,
		    sizeof(one));
	if (bind_patiently(fd, &ss, len, wait_ms) != 0 ||
	    listen(fd, BACKLOG) != 0) {
		int err = errno;

		close(fd);
		errno = err;
		return -1;
	}
	return fd;
}

static struct listener *
listener_find(struct master *m, const char *address)
{
	for (unsigned i = 0; i < m->nlisteners; i++) {
		if (strcmp(m->listeners[i].address, address) == 0)
			return &m->listeners[i];
	}
	return NULL;
}

static bool
listener_open(struct master *m, const struct conf_listener *cl,
    struct buf *text)
{
	char address[128];
	struct listener *l;

	if (!sv_to_cstr(cl->address, address, sizeof(address))) {
		buf_sayf(text, "the address of a listener is too long\n");
		return false;
	}
	l = listener_find(m, address);
	if (l != NULL) {
		l->keep = true;
		return true;
	}
	if (m->nlisteners == LISTENERS_MAX) {
		buf_sayf(text, "more than %d listeners\n",
		    LISTENERS_MAX);
		return false;
	}
	l = &m->listeners[m->nlisteners];
	/* only at the start: a running master does not stand still */
	*l = (struct listener){ .fd = socket_listen(&cl->ip, cl->port,
	    m->base == NULL ? BIND_WAIT_MS : 0) };
	if (l->fd < 0) {
		buf_sayf(text, "cannot listen on %s: %s\n", address,
		    strerror(errno));
		return false;
	}
	l->id = ++m->next_listener_id;
	l->address = sv_dup(sv_from(address));
	l->source = sv_dup(cl->source);
	l->keep = true;
	m->nlisteners++;
	return true;
}

static void
listener_drop(struct master *m, unsigned i)
{
	struct listener *l = &m->listeners[i];

	close(l->fd);
	free(l->address);
	free(l->source);
	*l = m->listeners[--m->nlisteners];
}

/* New ones get ids above committed_listener_id. */
bool
listeners_open(struct master *m, const struct conf *conf, struct buf *text)
{
	size_t n = conf_nlisteners(conf);
	bool ok = true;

	for (unsigned i = 0; i < m->nlisteners; i++)
		m->listeners[i].keep = false;
	for (size_t i = 0; i < n && ok; i++)
		ok = listener_open(m, conf_listener(conf, i), text);
	return ok;
}

void
listeners_undo(struct master *m)
{
	for (unsigned i = m->nlisteners; i > 0; i--) {
		if (m->listeners[i - 1].id > m->committed_listener_id)
			listener_drop(m, i - 1);
	}
}

static void
listener_announce(struct master *m, const struct listener *l, bool open)
{
	for (unsigned k = 0; k < m->nchildren; k++) {
		struct child *c = &m->children[k];

		if (!c->kind->wants_listeners || c->chan == NULL)
			continue;
		if (open)
			listener_send(l, c);
		else
			ipc_send_listener_close(c->chan,
			    &(struct ipc_listener_close){ .id = l->id });
	}
}

void
listeners_commit(struct master *m)
{
	for (unsigned i = m->nlisteners; i > 0; i--) {
		struct listener *l = &m->listeners[i - 1];

		if (!l->keep) {
			listener_announce(m, l, false);
			listener_drop(m, i - 1);
		} else if (l->id > m->committed_listener_id) {
			listener_announce(m, l, true);
		}
	}
	m->committed_listener_id = m->next_listener_id;
}

void
listeners_close(struct master *m)
{
	while (m->nlisteners > 0)
		listener_drop(m, m->nlisteners - 1);
}

void
control_close(struct master *m)
{
	if (m->control_fd >= 0) {
		unlink(m->control_path);
		close(m->control_fd);
		m->control_fd = -1;
	}
}

void
listener_send(const struct listener *l, struct child *c)
{
	struct ipc_listener f = {
		.id = l->id,
		.address = sv_from(l->address),
		.source = sv_from(l->source),
	};

	ipc_send_listener(c->chan, &f, fcntl(l->fd, F_DUPFD_CLOEXEC, 0));
}

bool
control_open(struct master *m, struct buf *text)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct str s;
	int fd;

	STR_ON(&s, m->control_path);
	str_add(&s, conf_global(m->conf)->run_directory);
	str_adds(&s, "/control.sock");
	if (s.truncated) {
		buf_sayf(text, "the path of the control socket is "
		    "longer than %zu bytes\n", sizeof(m->control_path) - 1);
		return false;
	}
	memcpy(un.sun_path, m->control_path, sizeof(un.sun_path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	orphans_stop(m);
	unlink(m->control_path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&un, sizeof(un)) != 0 ||
	    chmod(m->control_path, 0660) != 0 || listen(fd, 64) != 0) {
		buf_sayf(text, "%s: %s\n", m->control_path,
		    strerror(errno));
		if (fd >= 0)
			close(fd);
		return false;
	}
	m->control_fd = fd;
	return true;
}
