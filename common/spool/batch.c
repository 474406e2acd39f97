/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/spool/batch.h"

void
batch_init(struct batch *b, struct sio_file *file, uint64_t offset)
{
	*b = (struct batch){ .file = file, .offset = offset, .end = offset };
}

void
batch_fini(struct batch *b)
{
	free(b->iov);
	free(b->larges);
	*b = (struct batch){ .file = NULL };
}

uint64_t
batch_add(struct batch *b, const struct record_parts *p,
    unsigned char header[RECORD_HEADER])
{
	uint64_t length = record_length(p);
	size_t need = b->niov + p->nbody + 4;

	if (length == 0)
		return 0;
	if (need > b->iov_size) {
		need = need < 64 ? 64 : need * 2;
		b->iov = reallocarray(b->iov, need, sizeof(*b->iov));
		if (b->iov == NULL) /* GCOVR_EXCL_BR_LINE: memory */
			mem_exhausted();
		b->iov_size = need;
	}
	b->niov += record_build(p, header, b->iov + b->niov);
	b->end += length;
	return length;
}

void
batch_large(struct batch *b, struct sio_file *large)
{
	if (b->nlarges == b->larges_size) {
		size_t n = b->larges_size == 0 ? 4 : b->larges_size * 2;

		b->larges = reallocarray(b->larges, n, sizeof(*b->larges));
		if (b->larges == NULL) /* GCOVR_EXCL_BR_LINE: memory */
			mem_exhausted();
		b->larges_size = n;
	}
	b->larges[b->nlarges++] = large;
}

int
batch_write(struct batch *b)
{
	for (size_t i = 0; i < b->nlarges; i++) {
		if (sio_fdatasync(b->larges[i]) != 0)
			return errno;
	}
	if (sio_write_all(b->file, b->iov, b->niov, b->offset) != 0)
		return errno;
	if (sio_fdatasync(b->file) != 0)
		return errno;
	return 0;
}
