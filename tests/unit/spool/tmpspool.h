/* SPDX-License-Identifier: ISC */
/* A spool in a temporary directory, for tests. */
#ifndef TESTS_UNIT_SPOOL_TMPSPOOL_H
#define TESTS_UNIT_SPOOL_TMPSPOOL_H

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/spool/sio.h"

struct tmpspool {
	char path[256];
	int dirfd;
	struct sio *sio;
};

static inline void
tmpspool_make(struct tmpspool *t)
{
	const char *base = getenv("TMPDIR");

	snprintf(t->path, sizeof(t->path), "%s/spool.XXXXXX",
	    base != NULL ? base : "/tmp");
	if (mkdtemp(t->path) == NULL)
		abort();
	t->dirfd = open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	t->sio = sio_os_new(t->dirfd);
	if (t->dirfd < 0 || t->sio == NULL || sio_spool_create(t->sio) != 0)
		abort();
}

struct tmpspool_folder {
	struct tmpspool *t;
	const char *name;
};

static inline int
tmpspool_remove(const char *name, void *arg)
{
	const struct tmpspool_folder *f = arg;
	char path[SIO_PATH_MAX * 2];

	snprintf(path, sizeof(path), "%s%s%s", f->name,
	    f->name[0] == '\0' ? "" : "/", name);
	if (unlinkat(f->t->dirfd, path, 0) != 0 && f->name[0] == '\0') {
		struct tmpspool_folder sub = { f->t, path };

		(void)sio_list(f->t->sio, path, tmpspool_remove, &sub);
		(void)unlinkat(f->t->dirfd, path, AT_REMOVEDIR);
	}
	return 0;
}

static inline void
tmpspool_drop(struct tmpspool *t)
{
	struct tmpspool_folder top = { t, "" };

	(void)sio_list(t->sio, "", tmpspool_remove, &top);
	sio_free(&t->sio);
	close(t->dirfd);
	(void)rmdir(t->path);
}

#endif
