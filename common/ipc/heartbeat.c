/* SPDX-License-Identifier: ISC */
#include <sys/mman.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/ipc/heartbeat.h"
#include "common/sys/log.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static struct heartbeat *own;

int
heartbeat_make(void)
{
	int fd =
	    memfd_create("pinnace-heartbeat", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -1;
	if (ftruncate(fd, sizeof(struct heartbeat)) != 0 ||
	    fcntl(fd, F_ADD_SEALS, SEALS) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

struct heartbeat *
heartbeat_map(int fd)
{
	void *p = mmap(NULL, sizeof(struct heartbeat), PROT_READ | PROT_WRITE,
	    MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

uint64_t
heartbeat_count(const struct heartbeat *h)
{
	return atomic_load_explicit(&h->beats, memory_order_relaxed);
}

void
heartbeat_take(int fd)
{
	if (fcntl(fd, F_GET_SEALS) != SEALS)
		return;
	own = heartbeat_map(fd);
	if (own == NULL)
		log_warn_errno("no heartbeat");
	close(fd);
}

void
heartbeat_beat(void)
{
	/* one writer: no locked instruction is needed */
	if (own != NULL)
		atomic_store_explicit(&own->beats, heartbeat_count(own) + 1,
		    memory_order_relaxed);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	heartbeat_beat();
}

void
heartbeat_start(struct event_base *base)
{
	struct timeval tv = {.tv_sec = HEARTBEAT_MS / 1000};
	struct event *ev;

	if (own == NULL)
		return;
	ev = event_new(base, -1, EV_PERSIST, on_timer, NULL);
	if (ev == NULL || event_add(ev, &tv) != 0)
		fatal("out of memory");
	heartbeat_beat();
}
