/* SPDX-License-Identifier: ISC */
/*
 * data_dec: the one decoder of message data (what follows 354). Nothing else
 * in Pinnace decides where a message ends or what a line is.
 *
 * Only CR LF . CR LF ends a message (at its very start: . CR LF). A leading
 * dot behind CR LF is removed. A CR without LF and an LF without CR are, by
 * policy, an error (the message is swallowed to its real end and then
 * refused) or made a CR LF; neither can ever end a message. A line made by
 * normalising keeps its leading dot. NUL is always an error.
 *
 * Incremental: any split of the input gives the same output and result. Does
 * no I/O and no allocation; the caller gives the room.
 */
#ifndef COMMON_MAIL_DATA_DEC_H
#define COMMON_MAIL_DATA_DEC_H

#include "common/base/sv.h"

/*
 * Bytes of a line without CR LF. RFC 5321 4.5.3.1.6 asks for at least 998 and
 * for more where possible; generators of HTML mail do send more. 64 KiB bounds
 * what any line reader behind us has to hold.
 */
#define DATA_LINE_MAX 65536u

enum data_policy {
	DATA_REJECT,     /* bare CR or LF: refuse the message */
	DATA_NORMALIZE,  /* make it CR LF: for trusted local programs */
};

enum data_error {
	DATA_FINE,
	DATA_BARE_CR,
	DATA_BARE_LF,
	DATA_NUL,
	DATA_LINE_LONG,
	DATA_TOO_BIG,
};

struct data_dec {
	enum data_policy policy;
	enum data_error error;  /* the least of those seen; no output after */
	uint64_t max_bytes;     /* of the decoded message; 0: no limit */
	uint64_t bytes;         /* decoded so far */
	uint64_t swallowed;     /* input consumed after an error */
	size_t line;            /* bytes of the current line so far */
	unsigned received;      /* header fields named Received */
	bool in_header;         /* no empty line seen yet */
	bool leading_dot;       /* a decoded line begins with a dot */
	bool eight_bit;         /* a byte over 127 was seen */
	bool not_received;      /* this line is not a Received field */
	uint8_t state;
};

void data_dec_init(struct data_dec *d, enum data_policy policy,
    uint64_t max_bytes);
bool data_dec_is_done(const struct data_dec *d);
/* Room that data_dec_feed() needs for n bytes of input. */
size_t data_dec_room(const struct data_dec *d, size_t n);
/*
 * Decodes in to out, which has data_dec_room(d, in.n) bytes; *out_n_r is what
 * was written. Returns the bytes of in that belong to the message: all, or up
 * to its end.
 */
size_t data_dec_feed(struct data_dec *d, struct sv in, unsigned char *out,
    size_t *out_n_r);

#endif
