/* SPDX-License-Identifier: ISC */
/*
 * CRC-32C (Castagnoli), as in RFC 3720 B.4. `crc` is 0 for a fresh sum, or the
 * result over the bytes before, or any seed. Uses the processor's instruction
 * where there is one.
 */
#ifndef COMMON_BASE_CRC32C_H
#define COMMON_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t crc, const void *p, size_t n);

#endif
