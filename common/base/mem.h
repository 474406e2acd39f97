/* SPDX-License-Identifier: ISC */
/*
 * mem: what is done where an allocation of a few bytes fails and nothing can
 * be given up instead. The process ends with status 111, as with fatal(), and
 * no core; what it had under way is taken up again from the spool. What
 * strangers can make large (messages, envelopes, frames) has limits and
 * returns errors instead.
 */
#ifndef COMMON_BASE_MEM_H
#define COMMON_BASE_MEM_H

#include <stddef.h>

#define MEM_SMALL ((size_t)1 << 20)

/* What tables, buffers and arenas do from now on when less than MEM_SMALL
 * cannot be had: end the process. For processes that are better started again
 * than left with half of what they know; smtpd and the master turn work away
 * instead. */
void mem_vital_set(void);
/* An allocation of n bytes failed; comes back if that is the caller's
 * business. */
void mem_failed(size_t n);
/* How often mem_failed() came back: tells a lack of memory from a cap. */
unsigned mem_failures(void);
void mem_exhausted(void) __attribute__((noreturn));
/* tell writes to the log first and may end the process itself. */
void mem_exhausted_tell(void (*tell)(void));

#endif
