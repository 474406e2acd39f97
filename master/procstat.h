/* SPDX-License-Identifier: ISC */
/*
 * procstat: what the kernel says of a process in /proc/PID/stat.
 */
#ifndef MASTER_PROCSTAT_H
#define MASTER_PROCSTAT_H

#include <sys/types.h>

struct procstat {
	char state;                 /* 'R', 'D', 'T', 'Z' ...; see proc(5) */
	unsigned long long started; /* ticks since the machine's start */
};

/* 0, or -1 if there is no such process or it cannot be read. */
int procstat_read(pid_t pid, struct procstat *p_r);

#endif
