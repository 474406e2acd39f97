/* SPDX-License-Identifier: ISC */
/*
 * reply: every reply of the SMTP server, one row each: code, enhanced status
 * code (RFC 3463), text. Only the replies that RFC 2034 4 exempts (greeting,
 * HELO, EHLO, 354) stand elsewhere, in smtpd/. REPLY_QUEUED takes the queue ID
 * behind its text; REPLY_PATTERN has the configuration's text instead of its
 * own.
 */
#ifndef COMMON_MAIL_REPLY_H
#define COMMON_MAIL_REPLY_H

#include "common/base/buf.h"

#define SMTP_REPLIES(R) \
R(BYE,            221, "2.0.0", "Bye") \
R(RESET,          250, "2.0.0", "Ok") \
R(NOOP,           250, "2.0.0", "Ok") \
R(MAIL_OK,        250, "2.1.0", "Sender ok") \
R(RCPT_OK,        250, "2.1.5", "Recipient ok") \
R(QUEUED,         250, "2.0.0", "queued as") \
R(VRFY,           252, "2.5.0", "Cannot verify, but will try delivery") \
R(HELP,           214, "2.0.0", "See RFC 5321") \
R(SHUTDOWN,       421, "4.3.2", "Service is stopping, try again") \
R(TOO_MANY_CONNS, 421, "4.7.0", "Too many connections, try again later") \
R(NO_MEMORY,      421, "4.3.0", "Out of memory, try again later") \
R(TIMEOUT,        421, "4.4.2", "Timeout waiting for the client") \
R(TOO_SLOW,       421, "4.4.2", "Data is coming too slowly") \
R(TOO_MANY_ERRS,  421, "4.7.0", "Too many errors") \
R(TOO_MANY_CMDS,  421, "4.7.0", "Too many commands") \
R(TOO_MANY_MSGS,  421, "4.7.0", "Enough messages for one session") \
R(TOO_MUCH_DATA,  421, "4.3.2", "Too much data after a refused message") \
R(LOCAL_ERROR,    451, "4.3.0", "Local error, try again later") \
R(COMMIT_FAILED,  451, "4.3.0", "Message not stored, try again later") \
R(NO_SPACE,       452, "4.3.1", "Insufficient system storage") \
R(TOO_MANY_RCPTS, 452, "4.5.3", "Too many recipients") \
R(LINE_LONG,      500, "5.5.2", "Command line too long") \
R(BAD_LINE,       500, "5.5.2", "Bare CR, bare LF or NUL in a command") \
R(UNKNOWN,        500, "5.5.1", "Unknown command") \
R(SYNTAX,         501, "5.5.4", "Syntax error in arguments") \
R(HELO_ARG,       501, "5.5.4", "A host name is needed") \
R(SENDER_BAD,     501, "5.1.7", "Malformed sender address") \
R(RCPT_BAD,       501, "5.1.3", "Malformed recipient address") \
R(PARAM_BAD,      501, "5.5.4", "Malformed parameter") \
R(PARAM_TWICE,    501, "5.5.4", "A parameter was given twice") \
R(NOT_OFFERED,    502, "5.5.1", "Command not implemented") \
R(HELO_FIRST,     503, "5.5.1", "EHLO or HELO first") \
R(NESTED_MAIL,    503, "5.5.1", "Sender already given") \
R(MAIL_FIRST,     503, "5.5.1", "MAIL first") \
R(RCPT_FIRST,     503, "5.5.1", "RCPT first") \
R(NO_RCPTS,       554, "5.5.1", "No valid recipients") \
R(RELAY_DENIED,   550, "5.7.1", "Relaying denied") \
R(NO_UTF8,        553, "5.6.7", "A UTF-8 address needs SMTPUTF8") \
R(BARE_NEWLINE,   550, "5.6.11", "Message has a bare CR or LF") \
R(HAS_NUL,        550, "5.6.0", "Message has a NUL byte") \
R(DATA_LINE_LONG, 550, "5.6.0", "Message has a line that is too long") \
R(SENDER_LONG,    553, "5.1.7", "Sender address too long") \
R(RCPT_LONG,      553, "5.1.3", "Recipient address too long") \
R(UNQUALIFIED,    553, "5.1.3", "A full address is needed: user@domain") \
R(SENDER_UNQUAL,  553, "5.1.7", "A full address is needed: user@domain") \
R(BAD_VMTA,       550, "5.7.1", "No such virtual MTA") \
R(PATTERN,        550, "5.7.1", "Refused") \
R(TOO_BIG,        552, "5.3.4", "Message too big") \
R(LOOP,           554, "5.4.6", "Too many hops, mail is looping") \
R(ALIAS_LOOP,     554, "5.4.6", "This alias loops") \
R(ALIAS_LARGE,    554, "5.2.4", "This alias stands for too many addresses") \
R(NO_SERVICE,     554, "5.7.1", "No service for this client") \
R(EARLY_DATA,     503, "5.5.1", "Data was sent before 354") \
R(PARAM_UNKNOWN,  555, "5.5.4", "Unsupported parameter")

enum reply {
#define REPLY_ENUM(name, code, status, text) REPLY_##name,
	SMTP_REPLIES(REPLY_ENUM)
#undef REPLY_ENUM
	REPLY_COUNT
};

unsigned reply_code(enum reply r);
/* "2.1.0" */
struct sv reply_status(enum reply r);
/* "code status text", without CR LF. */
struct sv reply_text(enum reply r);
/* Adds the line; with extra, a blank and extra before its end. extra is ours
 * or checked. 0, or -1 if it does not fit. */
int reply_put(struct buf *out, enum reply r)
    __attribute__((warn_unused_result));
int reply_put_extra(struct buf *out, enum reply r, struct sv extra)
    __attribute__((warn_unused_result));

#endif
