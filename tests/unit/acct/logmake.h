/* SPDX-License-Identifier: ISC */
/* For tests: an event log of numbered attempts in a directory. */
#ifndef TESTS_UNIT_ACCT_LOGMAKE_H
#define TESTS_UNIT_ACCT_LOGMAKE_H

#include "common/spool/evlog.h"

/* An attempt with all texts filled in; n stands in job. */
struct ev_attempt logmake_attempt(uint32_t n, char job[16]);
/* Appends numbers from..to-1 and syncs. Every third is deferred, every fifth
 * failed. Aborts on any failure. */
void logmake_append(struct evlog *l, uint32_t from, uint32_t to);

#endif
