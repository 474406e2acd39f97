/* SPDX-License-Identifier: ISC */
/*
 * SipHash-2-4 for hash tables whose keys strangers choose (domain names).
 */
#ifndef COMMON_BASE_SIPHASH_H
#define COMMON_BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t siphash24(const uint64_t key[2], const void *p, size_t n);

#endif
