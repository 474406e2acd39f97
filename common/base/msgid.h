/* SPDX-License-Identifier: ISC */
/*
 * Queue IDs: 64 bits, the segment number and the offset (in units of 8 bytes)
 * at which the record was first committed; printed as 13 characters of base 32.
 * An ID is never reused, and 0 is no ID.
 */
#ifndef COMMON_BASE_MSGID_H
#define COMMON_BASE_MSGID_H

#include "common/base/sv.h"

#define MSGID_TEXT 14            /* 13 characters and a NUL */
#define MSGID_OFFSET_BITS 23     /* a segment is 64 MiB = 2^23 units of 8 */

uint64_t msgid_make(uint64_t segment, uint64_t offset);
uint64_t msgid_segment(uint64_t id);
uint64_t msgid_offset(uint64_t id);
/* Writes into out, which it returns, for use in a printf. */
const char *msgid_format(uint64_t id, char out[MSGID_TEXT]);
/* False unless v is exactly 13 characters of the alphabet and not 0. */
bool msgid_parse(struct sv v, uint64_t *id_r);

#endif
