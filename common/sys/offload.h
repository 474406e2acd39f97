/* SPDX-License-Identifier: ISC */
/*
 * offload: one thread that runs one blocking job at a time (an fdatasync) and
 * reports to the event loop when it is done. The job touches nothing that the
 * loop may touch meanwhile, and allocates nothing: the loop may fork, and the
 * child must not find a lock that is held by a thread that it does not have.
 */
#ifndef COMMON_SYS_OFFLOAD_H
#define COMMON_SYS_OFFLOAD_H

#include <stdbool.h>

struct event_base;
struct offload;

/* In the thread; its value is given to the done function. */
typedef int offload_run_fn(void *arg);
/* In the loop. */
typedef void offload_done_fn(void *arg, int value);

/* Starts the thread. Aborts if that fails: at start only. */
struct offload *offload_new(struct event_base *base);
/* Waits for the job under way; its done function is not called any more. */
void offload_free(struct offload **o);
bool offload_busy(const struct offload *o);
/* Not while busy. */
void offload_start(struct offload *o, offload_run_fn *run,
    offload_done_fn *done, void *arg);
/* Waits for the job under way, if any, and calls its done function. */
void offload_wait(struct offload *o);

#endif
