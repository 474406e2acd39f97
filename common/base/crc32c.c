/* SPDX-License-Identifier: ISC */
#include <stdbool.h>
#include <string.h>

#include "common/base/crc32c.h"

#define POLY 0x82f63b78u /* 0x1edc6f41 with its bits reversed */

static uint32_t
crc_bitwise(uint32_t crc, const unsigned char *p, size_t n)
{
	while (n-- > 0) {
		crc ^= *p++;
		for (int k = 0; k < 8; k++)
			crc = (crc >> 1) ^ (POLY & (0u - (crc & 1)));
	}
	return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t
crc_sse42(uint32_t crc, const unsigned char *p, size_t n)
{
	uint64_t c = crc;

	while (n >= 8) {
		uint64_t v;

		memcpy(&v, p, 8);
		c = __builtin_ia32_crc32di(c, v);
		p += 8;
		n -= 8;
	}
	while (n-- > 0)
		c = __builtin_ia32_crc32qi((uint32_t)c, *p++);
	return (uint32_t)c;
}

static bool
has_sse42(void)
{
	return __builtin_cpu_supports("sse4.2");
}
#else
static bool
has_sse42(void)
{
	return false;
}

static uint32_t
crc_sse42(uint32_t crc, const unsigned char *p, size_t n)
{
	return crc_bitwise(crc, p, n);
}
#endif

uint32_t
crc32c(uint32_t crc, const void *p, size_t n)
{
	crc = ~crc;
	crc = has_sse42() ? crc_sse42(crc, p, n) : crc_bitwise(crc, p, n);
	return ~crc;
}
