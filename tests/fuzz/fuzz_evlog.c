/* SPDX-License-Identifier: ISC */
/*
 * Any bytes as an event log file and as a checkpoint: reading must end, and
 * positions only grow. First byte, bit 0: what follows are frames (type, u16
 * length, payload) that get their headers and CRCs.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/rw.h"
#include "common/spool/checkpoint.h"
#include "common/spool/evframe.h"
#include "common/spool/evlog.h"
#include "common/spool/sio_mem.h"
#include "tests/fuzz/fuzz.h"

static void
file_make(struct sio *s, const char *path, const uint8_t *data, size_t size)
{
	struct sio_file *f = sio_open(s, path, SIO_WRITE | SIO_CREATE);

	if (f == NULL || (size > 0 && sio_pwrite(f, data, size, 0) != 0))
		abort();
	sio_close(&f);
}

static void
frames_make(struct buf *b, const char *magic, struct rd r)
{
	unsigned char header[EVFRAME_FILE_HEADER];
	struct evframe_file file = { .number = 1 };

	evframe_header_make(header, magic, &file);
	if (buf_add(b, header, sizeof(header)) != 0)
		abort();
	while (r.n > 0) {
		size_t start = evframe_begin(b);
		unsigned type = rd_u8(&r);
		struct sv v = rd_bytes(&r, rd_u16(&r));

		if (buf_add_sv(b, v) != 0 ||
		    evframe_end(b, start, 1, type) != 0)
			abort();
		if (r.failed)
			return;
	}
}

static void
files_make(struct sio *s, const uint8_t *data, size_t size)
{
	struct buf b;
	struct rd r;

	if (size == 0 || (data[0] & 1) == 0) {
		file_make(s, "events/0000000001.log", data, size);
		file_make(s, "checkpoint/0000000001", data, size);
		return;
	}
	rd_init(&r, data + 1, size - 1);
	buf_init(&b, 1u << 22);
	frames_make(&b, EVFRAME_LOG, r);
	file_make(s, "events/0000000001.log", buf_data(&b), buf_len(&b));
	buf_clear(&b);
	frames_make(&b, EVFRAME_CHECKPOINT, r);
	file_make(s, "checkpoint/0000000001", buf_data(&b), buf_len(&b));
	buf_fini(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sio *s = sio_mem_new();
	struct evlog_reader *r;
	struct evlog_record rec;
	struct evlog_pos last = { 0, 0 };
	enum evlog_next got;
	uint64_t messages;

	if (sio_spool_create(s) != 0)
		abort();
	files_make(s, data, size);
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
	(void)checkpoint_check(s, 1, &messages);
	sio_free(&s);
	return 0;
}
