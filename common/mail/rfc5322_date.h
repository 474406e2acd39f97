/* SPDX-License-Identifier: ISC */
/*
 * The date of RFC 5322 3.3, always in UTC: "Sat, 31 Jan 2026 14:05:09 +0000".
 * No time zone of the host plays a part, so it works in an empty root.
 */
#ifndef COMMON_MAIL_RFC5322_DATE_H
#define COMMON_MAIL_RFC5322_DATE_H

#include "common/base/timeval.h"

#define RFC5322_DATE 40   /* the text, for years up to 9999, and a NUL */

/* Writes into out, which it returns. Times outside 1970..9999 are clipped. */
const char *rfc5322_date(struct wall t, char out[RFC5322_DATE]);

#endif
