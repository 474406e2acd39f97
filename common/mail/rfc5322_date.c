/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <time.h>

#include "common/mail/rfc5322_date.h"

#define LAST_SECOND INT64_C(253402300799) /* of year 9999 */

const char *
rfc5322_date(struct wall t, char out[RFC5322_DATE])
{
	static const char days[7][4] = {
		"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"
	};
	static const char months[12][4] = {
		"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep",
		"Oct", "Nov", "Dec"
	};
	int64_t s = t.us < 0 ? 0 : t.us / US_PER_SEC;
	time_t when = (time_t)(s > LAST_SECOND ? LAST_SECOND : s);
	struct tm tm;

	gmtime_r(&when, &tm);
	/* strftime() would use the locale's names */
	snprintf(out, RFC5322_DATE, "%s, %02u %s %04u %02u:%02u:%02u +0000",
	    days[tm.tm_wday % 7], (unsigned)tm.tm_mday % 100u,
	    months[tm.tm_mon % 12], (unsigned)(tm.tm_year + 1900) % 10000u,
	    (unsigned)tm.tm_hour % 100u, (unsigned)tm.tm_min % 100u,
	    (unsigned)tm.tm_sec % 100u);
	return out;
}
