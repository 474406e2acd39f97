/* SPDX-License-Identifier: ISC */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/str.h"
#include "master/procstat.h"

#define FIELD_STATE   3
#define FIELD_STARTED 22

static ssize_t
stat_read(pid_t pid, char *mem, size_t size)
{
	struct str s;
	ssize_t n;
	int fd;

	str_init(&s, mem, size);
	str_addf(&s, "/proc/%d/stat", (int)pid);
	fd = open(mem, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = read(fd, mem, size - 1);
	close(fd);
	return n;
}

int
procstat_read(pid_t pid, struct procstat *p_r)
{
	char mem[1024], *p;
	ssize_t n = stat_read(pid, mem, sizeof(mem));

	if (n <= 0)
		return -1;
	mem[n] = '\0';
	/* the name is field 2, in parentheses, and may hold some itself */
	p = strrchr(mem, ')');
	if (p == NULL || p[1] != ' ' || p[2] == '\0')
		return -1;
	p_r->state = p[2];
	for (int field = FIELD_STATE; p != NULL && field <= FIELD_STARTED;
	    field++)
		p = strchr(p + 1, ' ');
	if (p == NULL)
		return -1;
	p_r->started = strtoull(p + 1, NULL, 10);
	return 0;
}
