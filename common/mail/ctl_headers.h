/* SPDX-License-Identifier: ISC */
/*
 * ctl_headers: the header fields by which a trusted client steers its message
 * (x-virtual-mta, x-job, x-envid), taken out of a header in memory; whether
 * Date and Message-ID are there; and fields that are to be removed. Nothing
 * else of the header changes.
 */
#ifndef COMMON_MAIL_CTL_HEADERS_H
#define COMMON_MAIL_CTL_HEADERS_H

#include "common/base/sv.h"

#define CTL_VALUE_MAX 128u /* longer values are cut; as the log's columns */

enum ctl_field {
	CTL_VMTA,        /* x-virtual-mta */
	CTL_JOB,         /* x-job */
	CTL_ENVID,       /* x-envid */
	CTL_DATE,        /* date */
	CTL_MESSAGE_ID,  /* message-id */
	CTL_FIELDS
};

struct ctl_headers {
	bool seen[CTL_FIELDS];
	/* of the first one, unfolded and trimmed, no control byte, NUL behind;
	 * kept for the first three only */
	char value[CTL_ENVID + 1][CTL_VALUE_MAX + 1];
};

/* What became of a message that names a VMTA that does not exist. */
enum vmta_taken {
	VMTA_REFUSED,
	VMTA_DEFAULT,    /* default-virtual-mta of its source */
	VMTA_FALLBACK,   /* invalid-virtual-mta-fallback */
	VMTA_TAKEN
};

struct ctl_rules {
	struct sv vmta, job; /* other names of these fields; "": the usual */
	struct sv remove;    /* names, separated by commas: fields to remove */
	unsigned drop;       /* 1 << ctl_field: to remove as well */
};

/*
 * mem holds n bytes of a message from its start. Looks at the complete fields
 * of its header; those that are to go are removed and the bytes behind them
 * moved up. Returns the bytes left.
 */
size_t ctl_headers_take(unsigned char *mem, size_t n,
    const struct ctl_rules *rules, struct ctl_headers *h_r);
/* Cuts the first field off a header: its name, and what stands behind the
 * colon, line ends included. A line that is no field has an empty name. False at the
 * end of the header, or if what is left is no complete field. */
bool ctl_field_next(struct sv *header, struct sv *name_r, struct sv *value_r);
struct sv ctl_value(const struct ctl_headers *h, enum ctl_field f);

#endif
