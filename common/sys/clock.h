/* SPDX-License-Identifier: ISC */
/* The two clocks of the machine. Only I/O code calls these; pure code is
 * given the time. */
#ifndef COMMON_SYS_CLOCK_H
#define COMMON_SYS_CLOCK_H

#include "common/base/timeval.h"

struct mono clock_mono(void);
struct wall clock_wall(void);

#endif
