/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "common/base/msgid.h"

/* Digits and consonants: no ID spells a word. */
static const char alphabet[33] = "0123456789bcdfghjklmnopqrstvwxyz";

uint64_t
msgid_make(uint64_t segment, uint64_t offset)
{
	return segment << MSGID_OFFSET_BITS | offset >> 3;
}

uint64_t
msgid_segment(uint64_t id)
{
	return id >> MSGID_OFFSET_BITS;
}

uint64_t
msgid_offset(uint64_t id)
{
	return (id & (((uint64_t)1 << MSGID_OFFSET_BITS) - 1)) << 3;
}

const char *
msgid_format(uint64_t id, char out[MSGID_TEXT])
{
	for (int i = 12; i >= 0; i--) {
		out[i] = alphabet[id & 31];
		id >>= 5;
	}
	out[13] = '\0';
	return out;
}

bool
msgid_parse(struct sv v, uint64_t *id_r)
{
	uint64_t id = 0;

	if (v.n != 13)
		return false;
	for (size_t i = 0; i < v.n; i++) {
		const char *at = memchr(alphabet, v.p[i], 32);

		if (at == NULL || id >> 59 != 0)
			return false;
		id = id << 5 | (uint64_t)(at - alphabet);
	}
	*id_r = id;
	return id != 0;
}
