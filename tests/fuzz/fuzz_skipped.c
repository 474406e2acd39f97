/* SPDX-License-Identifier: ISC */
/*
 * Any bytes as the file of a skipped segment; with an odd first byte their CRC
 * is put right. Oracles: it loads, whole or as "all of it, no IDs"; what is
 * saved is loaded again; with a bit flipped it is not whole.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/msgid.h"
#include "common/spool/sio_mem.h"
#include "common/spool/skipped.h"
#include "tests/fuzz/crcfix.h"
#include "tests/fuzz/fuzz.h"

#define NUMBER 7
#define PATH   "segments/0000000007.skipped"

static void
file_write(struct sio *s, const uint8_t *data, size_t n, bool right)
{
	struct sio_file *f = sio_open(s, PATH, SIO_WRITE | SIO_CREATE);
	uint8_t *copy = malloc(n + 1);

	must(f != NULL && copy != NULL);
	memcpy(copy, data, n);
	if (right && n >= 4)
		crcfix_put(copy + n - 4, crc32c(0, copy, n - 4));
	must(n == 0 || sio_pwrite(f, copy, n, 0) == 0);
	free(copy);
	sio_close(&f);
}

/* Those of b that can stand in the segment are in a. */
static void
has_all(const struct idset *a, const struct idset *b)
{
	uint64_t id;
	size_t at = 0;

	while ((id = idset_next(b, &at)) != 0)
		must(msgid_segment(id) > NUMBER || idset_has(a, id));
}

static void
saved_check(struct sio *s, const struct skipped *k)
{
	struct skipped got;
	bool whole;

	must(skipped_save(s, k) == 0);
	must(skipped_load(s, NUMBER, &got, &whole) == 0 && whole);
	must(got.segment == NUMBER && got.upto == k->upto);
	has_all(got.ids, k->ids);
	has_all(k->ids, got.ids);
	idset_free(&got.ids);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct skipped k;
	struct sio *s;
	bool whole;

	if (size < 2)
		return 0;
	s = sio_mem_new();
	must(sio_spool_create(s) == 0);
	file_write(s, data + 2, size - 2, data[0] % 2 == 1);
	must(skipped_load(s, NUMBER, &k, &whole) == 0);
	must(whole || (k.upto == UINT64_MAX && idset_count(k.ids) == 0));
	saved_check(s, &k);
	idset_free(&k.ids);
	/* magic to the number of IDs: all of it is there */
	must(sio_mem_flip(s, PATH, data[1] % 32u));
	must(skipped_load(s, NUMBER, &k, &whole) == 0 && !whole);
	idset_free(&k.ids);
	must(skipped_remove(s, NUMBER) == 0 && skipped_remove(s, NUMBER) == 0);
	sio_free(&s);
	return 0;
}
