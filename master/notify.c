/* SPDX-License-Identifier: ISC */
#include <sys/socket.h>
#include <sys/un.h>
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/str.h"
#include "common/base/sv.h"
#include "common/base/timeval.h"
#include "common/sys/log.h"
#include "master/notify.h"

static struct {
	struct sockaddr_un to;
	socklen_t len; /* 0: nobody listens */
	int64_t watchdog_ms;
	bool failed; /* said once */
} self;

/* A path, or '@' and a name in the abstract space, which begins with NUL. */
static bool
address_set(const char *name)
{
	size_t n = strlen(name);

	if ((name[0] != '/' && name[0] != '@') || n < 2 ||
	    n >= sizeof(self.to.sun_path))
		return false;
	self.to.sun_family = AF_UNIX;
	memcpy(self.to.sun_path, name, n);
	if (name[0] == '@')
		self.to.sun_path[0] = '\0';
	self.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
	return true;
}

static void
watchdog_set(const char *usec, const char *pid)
{
	uint64_t us, who;

	if (usec == NULL || !sv_to_u64(sv_from(usec), INT64_MAX, &us) ||
	    us == 0)
		return;
	/* meant for another process */
	if (pid != NULL && (!sv_to_u64(sv_from(pid), INT32_MAX, &who) ||
			       (pid_t)who != getpid()))
		return;
	/* half of it is what sd_watchdog_enabled(3) asks for; a third leaves
	 * room for one that came late */
	self.watchdog_ms = (int64_t)us / US_PER_MS / 3;
	if (self.watchdog_ms == 0)
		self.watchdog_ms = 1;
}

void
notify_init(void)
{
	const char *name = getenv("NOTIFY_SOCKET");

	if (name != NULL && !address_set(name))
		log_warn("NOTIFY_SOCKET is not a path and not @NAME");
	if (self.len != 0)
		watchdog_set(getenv("WATCHDOG_USEC"), getenv("WATCHDOG_PID"));
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

int64_t
notify_watchdog_ms(void)
{
	return self.watchdog_ms;
}

void
notify_send(const char *fmt, ...)
{
	char text[1024];
	struct str s;
	va_list ap;
	int fd;

	if (self.len == 0)
		return;
	STR_ON(&s, text);
	va_start(ap, fmt);
	str_vaddf(&s, fmt, ap);
	va_end(ap);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && sendto(fd, text, s.n, MSG_NOSIGNAL | MSG_DONTWAIT,
			   (const struct sockaddr *)&self.to, self.len) >= 0)
		self.failed = false;
	else if (!self.failed) {
		self.failed = true;
		log_warn_errno("the service manager cannot be told");
	}
	if (fd >= 0)
		close(fd);
}
