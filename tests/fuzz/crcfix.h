/* SPDX-License-Identifier: ISC */
/*
 * Puts the CRCs of records right where the lengths in their headers allow it,
 * so that the fuzzer gets behind them; it cannot guess them.
 */
#ifndef TESTS_FUZZ_CRCFIX_H
#define TESTS_FUZZ_CRCFIX_H

#include <endian.h>
#include <string.h>

#include "common/base/crc32c.h"
#include "common/spool/segment.h"

static inline uint64_t
crcfix_get(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	while (n > 0)
		v = v << 8 | p[--n];
	return v;
}

static inline void
crcfix_put(uint8_t *p, uint32_t crc)
{
	for (unsigned i = 0; i < 4; i++)
		p[i] = (uint8_t)(crc >> 8 * i);
}

/* The part at *at of this length; false if it is not all there. */
static inline bool
crcfix_part(uint8_t *p, size_t n, size_t *at, uint64_t len, uint32_t seed,
    uint8_t *crc)
{
	if (len > n - *at)
		return false;
	crcfix_put(crc, crc32c(seed, p + *at, (size_t)len));
	*at += (size_t)len;
	return true;
}

/* A record at p: its length with padding, or 0 if it does not fit into n. */
static inline size_t
crcfix_record(uint8_t *p, size_t n, uint64_t segment)
{
	static const uint8_t head[] = { 0x50, 0x4e, 0x4d, 0x52, 1 };
	uint64_t number = htole64(segment), body;
	uint32_t seed = crc32c(0, &number, sizeof(number));
	size_t at = RECORD_HEADER;

	if (n < RECORD_HEADER)
		return 0;
	memcpy(p, head, sizeof(head));
	memcpy(p + 32, &number, sizeof(number));
	body = (p[5] & RECORD_LARGE) != 0 ? 0 : crcfix_get(p + 16, 8);
	if (!crcfix_part(p, n, &at, crcfix_get(p + 8, 4), seed, p + 56) ||
	    !crcfix_part(p, n, &at, crcfix_get(p + 12, 4), seed, p + 60) ||
	    (body > 0 && !crcfix_part(p, n, &at, body, seed, p + 64)) ||
	    (body == 0 && (p[5] & RECORD_LARGE) == 0 &&
	    !crcfix_part(p, n, &at, 0, seed, p + 64)))
		at = 0;
	crcfix_put(p + 68, crc32c(seed, p, 68));
	return (at + RECORD_ALIGN - 1) & ~(size_t)(RECORD_ALIGN - 1);
}

#endif
