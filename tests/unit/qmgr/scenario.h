/* SPDX-License-Identifier: ISC */
/*
 * What scenario.c (the script and its commands) and scenario_expect.c (its
 * expectations) share.
 */
#ifndef TESTS_UNIT_QMGR_SCENARIO_H
#define TESTS_UNIT_QMGR_SCENARIO_H

#include "qmgr/world.h"

#define WORDS_MAX 32
#define SPECS_MAX 64

struct script {
	const char *file;
	char *text, *at;        /* at: the next line */
	int line;
	int failures;
	int64_t t;              /* of this line */
	struct sv rules;        /* receiver rules for conf, or "" */
	struct world w;
	struct spec *specs[SPECS_MAX];
	uint32_t nspecs;
	char *words[WORDS_MAX];
	int nwords;
};

/* This line is not fulfilled. */
void wrong(struct script *sc, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* A script that cannot be read is of no use. */
void syntax(struct script *sc, const char *what);

/* Word i of the line; it has to be there. */
const char *word(struct script *sc, int i);
int64_t time_of(struct script *sc, const char *s);
uint32_t number_of(struct script *sc, const char *s);
/* The queue DOMAIN/VMTA, or NULL. */
struct squeue *queue_named(struct script *sc, const char *name,
    struct sv *domain, struct sv *vmta);

/* ---- scenario_expect.c ---- */

void do_expect(struct script *sc);

#endif
