/* SPDX-License-Identifier: ISC */
/*
 * What the parts of test_session share: test_session.c (commits),
 * test_session_dialogs.c, test_session_limits.c, test_session_control.c,
 * test_session_model.c, test_session_pattern.c, test_session_alias.c.
 */
#ifndef TESTS_UNIT_SMTPD_SESSION_TESTS_H
#define TESTS_UNIT_SMTPD_SESSION_TESTS_H

#include <check.h>
#include <stdio.h>

#include "tests/unit/smtpd/harness.h"

#define LOCAL "127.0.0.1"
#define CONF HARNESS_CONF \
	"<source 127.0.0.1>\nalways-allow-relaying yes\n" \
	"max-message-size 600000\nmax-rcpt-per-message 100\n</source>\n"
#define M "MAIL FROM:<s@x.example>\r\n"
#define R "RCPT TO:<r@relay.example>\r\n"

/* ---- the fixture: a session from LOCAL, its greeting read ---- */

extern struct harness H;
extern char reply_mem[600];     /* the last reply */

void session_setup(void);
void session_teardown(void);
void say(const char *text);
/* The next reply begins so. */
void expect(const char *want);
/* Up to the answer to DATA. */
void begin(void);

/* ---- the parts ---- */

void session_tests_dialogs(Suite *s);
void session_tests_limits(Suite *s);
void session_tests_control(Suite *s);
void session_tests_model(Suite *s);
void session_tests_pattern(Suite *s);
void session_tests_alias(Suite *s);

#endif
