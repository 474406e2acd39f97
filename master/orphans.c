/* SPDX-License-Identifier: ISC */
/*
 * When a master is killed its children work on. The next master finds their
 * qmgr behind the control socket and tells it to stop; the others follow it.
 * Ports and spool are free a few seconds later, which binding and qmgr's lock
 * wait for.
 */
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <string.h>
#include <unistd.h>

#include <bsd/string.h>

#include "common/base/rw.h"
#include "common/sys/log.h"
#include "master/master.h"

#define ANSWER_WAIT_S 5

/* A CTL_REQUEST as a frame: see common/ipc/chan.c for its header. */
static size_t
stop_frame(unsigned char *mem, size_t size)
{
	struct sv word = SV("stop");
	struct ipc_ctl_request m = { .words = { .array = &word, .n = 1 } };
	struct wr w, head;

	wr_init(&w, mem + 8, size - 8);
	ipc_ctl_request_encode(&w, &m);
	wr_init(&head, mem, 8);
	wr_u32(&head, (uint32_t)w.n + 8);
	wr_u16(&head, IPC_CTL_REQUEST);
	wr_u16(&head, 0);
	return w.failed ? 0 : w.n + 8;
}

void
orphans_stop(const char *control_path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct timeval tv = { .tv_sec = ANSWER_WAIT_S };
	unsigned char mem[256];
	size_t n = stop_frame(mem, sizeof(mem));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	strlcpy(un.sun_path, control_path, sizeof(un.sun_path));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0 &&
	    write(fd, mem, n) == (ssize_t)n) {
		log_info("stopping the processes of a master that died");
		while (read(fd, mem, sizeof(mem)) > 0)
			continue;
	}
	close(fd);
}
