/* SPDX-License-Identifier: ISC */
/*
 * Any bytes as an event log file and as a checkpoint: reading must end, and
 * positions only grow.
 */
#include <stdlib.h>

#include "common/spool/checkpoint.h"
#include "common/spool/evlog.h"
#include "common/spool/sio_mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
file_make(struct sio *s, const char *path, const uint8_t *data, size_t size)
{
	struct sio_file *f = sio_open(s, path, SIO_WRITE | SIO_CREATE);

	if (f == NULL || (size > 0 && sio_pwrite(f, data, size, 0) != 0))
		abort();
	sio_close(&f);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sio *s = sio_mem_new();
	struct evlog_reader *r;
	struct evlog_record rec;
	struct evlog_pos last = { 0, 0 };
	enum evlog_next got;

	if (sio_spool_create(s) != 0)
		abort();
	file_make(s, "events/0000000001.log", data, size);
	file_make(s, "checkpoint/0000000001", data, size);
	r = evlog_reader_open(s, EVLOG_FOLDER, last);
	if (r == NULL)
		abort();
	while ((got = evlog_reader_next(r, EVLOG_NO_LIMIT, &rec)) !=
	    EVLOG_END) {
		if (got == EVLOG_ERROR ||
		    evlog_pos_cmp(evlog_reader_position(r), last) <= 0)
			abort();
		last = evlog_reader_position(r);
	}
	evlog_reader_close(&r);
	(void)checkpoint_check(s, 1);
	sio_free(&s);
	return 0;
}
