/* SPDX-License-Identifier: ISC */
/* What the tests of the operator's commands share. */
#ifndef TESTS_UNIT_QMGR_QRIG_CTL_H
#define TESTS_UNIT_QMGR_QRIG_CTL_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qmgr/qmgr.h"
#include "tests/unit/qmgr/qrig.h"

#define has(text, part)                                                        \
	ck_assert_msg(strstr(text, part) != NULL, "no %s in:\n%s", part, text)
#define hasnt(text, part)                                                      \
	ck_assert_msg(strstr(text, part) == NULL, "%s in:\n%s", part, text)
/* How a command ends: its text, its status. */
#define says(command, text)                                                    \
	do {                                                                   \
		qrig_ctl(&rig, command);                                       \
		ck_assert_str_eq(rig.ctl_text, text);                          \
	} while (0)
#define ends(command, status)                                                  \
	do {                                                                   \
		qrig_ctl(&rig, command);                                       \
		ck_assert_uint_eq(rig.ctl_status, status);                     \
	} while (0)

#define RATE_CONF \
	QRIG_CONF "<domain there.test>\nmax-msg-rate 10/h\n" \
	"max-connect-rate 20/h\n</domain>\n"

/* Three recipients in two queues that do not move. */
void three_waiting(uint64_t ids[3]);
unsigned lines_of(const char *rows);
long long view_of(const char *view);
void submit_one(const char *rcpt);

#endif
