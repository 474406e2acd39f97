/* SPDX-License-Identifier: ISC */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/kit.h"

void
kit_must(int rc)
{
	if (rc != 0)
		errx(111, "out of memory");
}

static int64_t
clock_us(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * US_PER_SEC + ts.tv_nsec / 1000;
}

struct mono
kit_mono(void)
{
	return (struct mono){ clock_us(CLOCK_MONOTONIC) };
}

struct wall
kit_wall(void)
{
	return (struct wall){ clock_us(CLOCK_REALTIME) };
}

void
kit_ledger_open(struct kit_ledger *l, const char *path)
{
	*l = (struct kit_ledger){ .path = path, .fd = -1 };
	buf_init(&l->lines, SIZE_MAX / 2);
	if (path == NULL)
		return;
	l->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (l->fd < 0)
		err(111, "%s", path);
}

void
kit_ledger_write(struct kit_ledger *l)
{
	while (buf_len(&l->lines) > 0) {
		ssize_t n = write(l->fd, buf_data(&l->lines),
		    buf_len(&l->lines));

		if (n < 0 && errno != EINTR)
			err(111, "%s", l->path);
		if (n > 0)
			buf_consume(&l->lines, (size_t)n);
	}
}

struct addrinfo *
kit_address(const char *where, int flags)
{
	struct addrinfo *ai, hints = { .ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV | flags };
	struct sv v = sv_from(where), host;
	ptrdiff_t colon = sv_rfind(v, ':');
	char h[256];

	if (colon <= 0)
		return NULL;
	host = sv_head(v, (size_t)colon);
	if (host.p[0] == '[' && host.n > 2)
		host = sv_make(host.p + 1, host.n - 2);
	if (!sv_to_cstr(host, h, sizeof(h)) ||
	    getaddrinfo(h, where + colon + 1, &hints, &ai) != 0)
		return NULL;
	return ai;
}

uint64_t
kit_number(const char *word, uint64_t min, uint64_t max)
{
	uint64_t n;

	if (!sv_to_u64(sv_from(word), max, &n) || n < min)
		errx(100, "\"%s\" is not a number from %ju to %ju", word, min,
		    max);
	return n;
}

void
kit_usage(const char *text, const struct option *options)
{
	fputs(text, stderr);
	for (const struct option *o = options; o->name != NULL; o++)
		fprintf(stderr, "  --%s%s\n", o->name,
		    o->has_arg == required_argument ? " ..." : "");
	exit(100);
}
