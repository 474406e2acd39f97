/* SPDX-License-Identifier: ISC */
/* Every frame: what decodes encodes to the same bytes. First byte: type. */
#include <stdlib.h>
#include <string.h>

#include "common/ipc/ipc.h"
#include "tests/fuzz/fuzz.h"

#define IPC_CASE(NAME, tag, from, to, fds)                                    \
	case IPC_##NAME:                                                      \
		ipc_##tag##_encode(&w, &m.tag);                               \
		break;

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct ipc_info *info;
	union ipc_any m;
	struct buf b;
	struct wr w;
	struct rd r;

	if (size == 0)
		return 0;
	info = ipc_info(data[0] % (IPC_TYPES + 1u));
	if (info == NULL)
		return 0;
	memset(&m, 0, sizeof(m));
	rd_init(&r, data + 1, size - 1);
	if (!info->decode(&r, &m))
		return 0;
	buf_init(&b, 1u << 20);
	wr_init_buf(&w, &b);
	switch (data[0] % (IPC_TYPES + 1u)) {
	IPC_MESSAGES(IPC_CASE)
	default:
		break;
	}
	if (w.failed || buf_len(&b) != size - 1 ||
	    (size > 1 && memcmp(buf_data(&b), data + 1, size - 1) != 0))
		abort();
	buf_fini(&b);
	return 0;
}
