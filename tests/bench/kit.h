/* SPDX-License-Identifier: ISC */
/*
 * kit: the few things that both load generator and receiver need. Both end
 * the program on what cannot be helped: 100 for wrong usage, 111 for the rest.
 */
#ifndef TESTS_BENCH_KIT_H
#define TESTS_BENCH_KIT_H

#include <getopt.h>
#include <netdb.h>

#include "common/base/buf.h"
#include "common/base/timeval.h"

/* Lines gathered in memory and appended to a file when the caller says. */
struct kit_ledger {
	const char *path; /* NULL: there is none */
	int fd;           /* -1: there is none */
	struct buf lines;
};

/* For buffers: ends the program unless rc is 0. */
void kit_must(int rc);
struct mono kit_mono(void);
struct wall kit_wall(void);
/* path may be NULL: then nothing is kept and nothing written. */
void kit_ledger_open(struct kit_ledger *l, const char *path);
void kit_ledger_write(struct kit_ledger *l);
/* "ADDRESS:PORT" or "[ADDRESS]:PORT"; NULL if it is neither. flags as in
 * getaddrinfo's hints. */
struct addrinfo *kit_address(const char *where, int flags);
/* The number that word is, from min to max. */
uint64_t kit_number(const char *word, uint64_t min, uint64_t max);
/* Says how the program is used and ends it. */
void kit_usage(const char *text, const struct option *options)
    __attribute__((noreturn));

#endif
