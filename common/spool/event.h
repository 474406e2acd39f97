/* SPDX-License-Identifier: ISC */
/*
 * event: the structs and codecs of event.def: struct ev_accept with
 * ev_accept_encode() and ev_accept_decode(), and so on.
 */
#ifndef COMMON_SPOOL_EVENT_H
#define COMMON_SPOOL_EVENT_H

#include "common/ipc/fields.h"
#include "common/spool/event.def"

enum ev_type {
	EV_NONE,
#define EV_ENUM(NAME, tag) EV_##NAME,
	EV_RECORDS(EV_ENUM)
#undef EV_ENUM
	EV_TYPES
};

enum ev_action {
	ACT_DELIVERED,  /* done; "relayed" in a DSN */
	ACT_DEFERRED,   /* tried again at next_us */
	ACT_FAILED,     /* for good: 5xx, expired, too many tries */
};

enum ev_standing_what { STANDING_ENDED, STANDING_HOLD, STANDING_BOUNCE };

enum ev_rcpt_state {
	EVR_WAITING,    /* to be tried (again) at next_us */
	EVR_BOUNCING,   /* failed, or delivered and to be reported; DSN not
	                 * made yet */
	EVR_DONE,
	EVR_HELD,
};

#define EV_DECLARE(NAME, tag) FIELDS_STRUCT(ev_##tag, EV_##NAME##_FIELDS)
EV_RECORDS(EV_DECLARE)
#undef EV_DECLARE

union ev_any {
#define EV_MEMBER(NAME, tag) struct ev_##tag tag;
	EV_RECORDS(EV_MEMBER)
#undef EV_MEMBER
};

/* "ATTEMPT"; NULL for a number that is no type. */
const char *ev_name(unsigned type);
/* False if type is unknown or the bytes are not exactly such a record. */
bool ev_decode(unsigned type, struct sv bytes, union ev_any *m_r)
    __attribute__((warn_unused_result));
void ev_encode(struct wr *w, enum ev_type type, const union ev_any *m);

#endif
