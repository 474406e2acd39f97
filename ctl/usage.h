/* SPDX-License-Identifier: ISC */
/*
 * usage: what may follow a command, read from the usage text of its row, which
 * is the one place where that is said: help, the check of options and the
 * completions of shells are made from it.
 */
#ifndef CTL_USAGE_H
#define CTL_USAGE_H

#include <stdio.h>

#include "ctl/ctl.h"

struct usage_option {
	struct sv name;      /* "sort", of "--sort=a|b" or "sort=a|b" */
	bool dashes;         /* "--" stands in front of it */
	bool valued;         /* "=" behind it */
	struct sv values;    /* "a|b", or "" if it may be anything */
	const char *help;    /* NULL: there is none */
};

/* The next one in *rest, which begins as the whole text; false: no more. */
bool usage_option_next(struct sv *rest, struct usage_option *o_r);
/* Options of all commands, one after the other from i = 0. */
bool usage_global(size_t i, struct usage_option *o_r);
/* Its words name queues, in any spelling. */
bool usage_has_queues(const struct ctl_command *cmd);
/* Its words name a file or a directory. */
bool usage_has_files(const struct ctl_command *cmd);
/* False after a complaint of a word that the command does not know. */
bool usage_check(const struct ctl *ctl, const struct ctl_command *cmd);
/* All that there is to say. */
void usage_print(const struct ctl_command *cmd, FILE *out);

#endif
