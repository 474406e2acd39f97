/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <stdlib.h>

#include "common/base/crc32c.h"
#include "common/base/msgid.h"
#include "common/base/rw.h"
#include "common/spool/segtab.h"
#include "common/spool/skipped.h"

#define MAGIC     0x504b5350u /* "PSKP" */
#define TMP       ".skipped-tmp"
#define BYTES_MAX ((size_t)1 << 31)
#define HEAD      32u

int
skipped_list(struct sio *s, uint64_t **list_r, size_t *n_r)
{
	return sio_numbers(s, SEGTAB_FOLDER, SKIPPED_SUFFIX, list_r, n_r);
}

/* Numbers only grow: a copy stands in a later segment than its original. */
static bool
may_stand_in(uint64_t id, uint64_t segment)
{
	return msgid_segment(id) <= segment;
}

static void
skipped_encode(struct wr *w, const struct skipped *k)
{
	uint64_t n = 0, id;
	size_t at = 0;

	while ((id = idset_next(k->ids, &at)) != 0)
		n += may_stand_in(id, k->segment);
	wr_u32(w, MAGIC);
	wr_u32(w, 0);
	wr_u64(w, k->segment);
	wr_u64(w, k->upto);
	wr_u64(w, n);
	at = 0;
	while ((id = idset_next(k->ids, &at)) != 0) {
		if (may_stand_in(id, k->segment))
			wr_u64(w, id);
	}
}

static int
file_save(struct sio *s, const char *path, const struct buf *b)
{
	struct sio_file *f = sio_open(s, path,
	    SIO_WRITE | SIO_CREATE | SIO_TRUNC);
	int rc = f == NULL ? -1 : 0;

	if (rc == 0)
		rc = sio_pwrite(f, buf_data(b), buf_len(b), 0);
	if (rc == 0)
		rc = sio_fdatasync(f);
	sio_close(&f);
	return rc;
}

int
skipped_save(struct sio *s, const struct skipped *k)
{
	char from[SIO_PATH_MAX], to[SIO_PATH_MAX];
	struct buf b;
	struct wr w;
	int rc = -1;

	sio_path(from, SEGTAB_FOLDER, k->segment, TMP);
	sio_path(to, SEGTAB_FOLDER, k->segment, SKIPPED_SUFFIX);
	buf_init(&b, BYTES_MAX);
	wr_init_buf(&w, &b);
	skipped_encode(&w, k);
	wr_u32(&w, crc32c(0, buf_data(&b), buf_len(&b)));
	errno = ENOMEM;
	if (!w.failed && file_save(s, from, &b) == 0 &&
	    sio_rename(s, from, to) == 0)
		rc = sio_fsync_dir(s, SEGTAB_FOLDER);
	buf_fini(&b);
	return rc;
}

static bool
skipped_decode(struct sv mem, struct skipped *k)
{
	uint64_t n, id;
	struct rd r;

	if (mem.n < HEAD + 4)
		return false;
	rd_init(&r, mem.p + mem.n - 4, 4);
	if (rd_u32(&r) != crc32c(0, mem.p, mem.n - 4))
		return false;
	rd_init(&r, mem.p, mem.n - 4);
	if (rd_u32(&r) != MAGIC || rd_u32(&r) != 0 || rd_u64(&r) != k->segment)
		return false;
	k->upto = rd_u64(&r);
	n = rd_u64(&r);
	if (r.n % 8 != 0 || n != r.n / 8)
		return false;
	for (; n > 0; n--) {
		id = rd_u64(&r);
		if (id == 0)
			return false;
		idset_add(k->ids, id);
	}
	return true;
}

static int
file_load(struct sio *s, uint64_t segment, struct buf *b)
{
	char path[SIO_PATH_MAX];
	struct sio_file *f = sio_open(s, sio_path(path, SEGTAB_FOLDER, segment,
	    SKIPPED_SUFFIX), SIO_READ);
	uint64_t size;
	unsigned char *p;
	ssize_t n;
	int rc;

	if (f == NULL)
		return -1;
	rc = sio_size(f, &size);
	/* a larger one was not written by skipped_save(): it is damaged */
	if (rc == 0 && size < BYTES_MAX) {
		errno = ENOMEM;
		p = buf_reserve(b, (size_t)size + 1);
		n = p == NULL ? -1 : sio_read_all(f, p, (size_t)size, 0);
		if (n > 0)
			buf_commit(b, (size_t)n);
		rc = n < 0 ? -1 : 0;
	}
	sio_close(&f);
	return rc;
}

int
skipped_load(struct sio *s, uint64_t segment, struct skipped *k_r,
    bool *whole_r)
{
	struct buf b;
	int rc = -1;

	*k_r = (struct skipped){ .segment = segment, .upto = UINT64_MAX };
	buf_init(&b, BYTES_MAX);
	k_r->ids = idset_new();
	if (k_r->ids != NULL)
		rc = file_load(s, segment, &b);
	*whole_r = rc == 0 && skipped_decode(buf_sv(&b), k_r);
	buf_fini(&b);
	if (rc == 0 && !*whole_r) {
		k_r->upto = UINT64_MAX;
		idset_free(&k_r->ids);
		k_r->ids = idset_new();
	}
	if (k_r->ids == NULL) {
		errno = ENOMEM;
		return -1;
	}
	if (rc != 0)
		idset_free(&k_r->ids);
	return rc;
}

int
skipped_remove(struct sio *s, uint64_t segment)
{
	char path[SIO_PATH_MAX];

	if (sio_unlink(s, sio_path(path, SEGTAB_FOLDER, segment,
	    SKIPPED_SUFFIX)) != 0 && errno != ENOENT)
		return -1;
	return sio_fsync_dir(s, SEGTAB_FOLDER);
}
