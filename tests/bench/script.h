/* SPDX-License-Identifier: ISC */
/*
 * script: rules that make the receiver answer badly on purpose. One rule a
 * line; README.md has the grammar. The rules are read once into a list and
 * asked at each stage of a session; the asking does no I/O. Chances come from
 * a generator with a fixed seed, so that a run can be repeated.
 */
#ifndef TESTS_BENCH_SCRIPT_H
#define TESTS_BENCH_SCRIPT_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/sv.h"

enum script_stage {
	STAGE_CONNECT, /* before the greeting; subject: the client's address */
	STAGE_EHLO,    /* subject: the name given */
	STAGE_MAIL,    /* subject: the sender */
	STAGE_RCPT,    /* subject: the recipient */
	STAGE_DATA,    /* before the 354; subjects: the recipients */
	STAGE_DOT,     /* after the final dot; subjects: the recipients */
	STAGE_RSET,
	STAGE_QUIT,
	STAGES
};

enum script_drop {
	DROP_NO,
	DROP_BEFORE, /* close instead of the reply */
	DROP_AFTER   /* close behind the reply */
};

/* What the rules say for one stage. */
struct script_answer {
	int code;            /* 0: the usual reply */
	const char *enh;     /* enhanced code or ""; lives with the script */
	const char *text;    /* may hold \n for several lines */
	int64_t delay_us;    /* wait before the reply */
	int64_t dribble_us;  /* pause behind each byte of the reply; 0: none */
	enum script_drop drop;
};

struct script;

/* An empty script: every answer is the usual one. */
struct script *script_new(uint64_t seed);
void script_free(struct script **sp);
/* Adds the rule in line (blank lines and # comments add none). 0, or -1 with
 * a sentence in err. */
int script_add(struct script *s, struct sv line, char *err, size_t errsize);
/* Adds all rules of a file; -1 with "file:line: sentence" in err. */
int script_load(struct script *s, const char *path, char *err,
    size_t errsize);
/*
 * Asks the rules at a stage. subjects are nsubjects texts, each with a NUL
 * behind it, one after the other at p. elapsed_us is the time since the start.
 */
void script_ask(struct script *s, enum script_stage stage, const char *p,
    size_t nsubjects, int64_t elapsed_us, struct script_answer *answer_r);

#endif
