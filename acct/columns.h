/* SPDX-License-Identifier: ISC */
/*
 * columns: the columns of the accounting file: their names and order
 * (PowerMTA 5.0), which of them a file has, and one line of it made from an
 * event. Pure. Lines end with LF; quoting as in RFC 4180. What came from
 * outside is valid UTF-8 in the file and has no control bytes: others appear
 * as \xNN, so that a record is always one line.
 */
#ifndef ACCT_COLUMNS_H
#define ACCT_COLUMNS_H

#include <sys/types.h>
#include <time.h>

#include "common/base/buf.h"
#include "common/conf/value.h"
#include "common/spool/event.h"

#define ACCT_ALL (CONF_REC_D | CONF_REC_B | CONF_REC_T | CONF_REC_TQ)
#define ACCT_DBT (CONF_REC_D | CONF_REC_B | CONF_REC_T)

/* X(name, types that have it by default, types that can have it) */
#define ACCT_COLUMNS(X) \
	X(type,               ACCT_ALL, ACCT_ALL) \
	X(timeLogged,         ACCT_ALL, ACCT_ALL) \
	X(timeQueued,         ACCT_DBT, ACCT_DBT) \
	X(orig,               ACCT_DBT, ACCT_DBT) \
	X(rcpt,               ACCT_DBT, ACCT_DBT) \
	X(orcpt,              ACCT_DBT, ACCT_DBT) \
	X(dsnAction,          ACCT_DBT, ACCT_DBT) \
	X(dsnStatus,          ACCT_ALL, ACCT_ALL) \
	X(dsnDiag,            ACCT_ALL, ACCT_ALL) \
	X(dsnMta,             ACCT_ALL, ACCT_ALL) \
	X(bounceCat,          ACCT_DBT, ACCT_DBT) \
	X(srcType,            ACCT_DBT, ACCT_DBT) \
	X(srcMta,             ACCT_DBT, ACCT_DBT) \
	X(dlvType,            ACCT_ALL, ACCT_ALL) \
	X(dlvSourceIp,        ACCT_ALL, ACCT_ALL) \
	X(dlvDestinationIp,   ACCT_ALL, ACCT_ALL) \
	X(dlvEsmtpAvailable,  ACCT_DBT, ACCT_DBT) \
	X(dlvSize,            ACCT_DBT, ACCT_DBT) \
	X(vmta,               ACCT_ALL, ACCT_ALL) \
	X(jobId,              ACCT_DBT, ACCT_DBT) \
	X(envId,              ACCT_DBT, ACCT_DBT) \
	X(queue,              ACCT_ALL, ACCT_ALL) \
	X(vmtaPool,           ACCT_DBT, ACCT_DBT) \
	X(totalSecondsQueued, 0,        ACCT_DBT) \
	X(userString,         0,        ACCT_ALL)

enum acct_column {
#define X(name, def, can) ACCT_COL_##name,
	ACCT_COLUMNS(X)
#undef X
	ACCT_NCOLUMNS
};

struct acct_columns {
	uint8_t col[ACCT_NCOLUMNS];   /* enum acct_column, in file order */
	uint32_t types[ACCT_NCOLUMNS];/* CONF_REC_* that fill it */
	size_t n;
};

/* One event as a line; the views live as the event does. */
struct acct_record {
	uint32_t type;                /* one CONF_REC_* bit */
	const struct ev_attempt *attempt;       /* D, B, T */
	const struct ev_queue_fail *queue_fail; /* TQ */
	struct sv dlv_type;           /* "smtp" */
};

/* A formatted second, kept because many records share it. */
struct acct_time {
	bool valid;
	time_t second;
	char text[32];
	size_t n;
};

struct acct_style {
	bool iso_times;
	struct sv user_string;
	struct acct_time logged, queued;
};

/*
 * The columns of a file with these record types (those we do not know are
 * left out). fields: lines "TYPES LIST" of record-fields. unknown_r, if not
 * NULL, gets the first column name that is none, or the empty view.
 */
void acct_columns_make(struct acct_columns *c, uint32_t records,
    const struct conf_svs *fields, struct sv *unknown_r);
/* The header line. 0, or -1 if it does not fit. */
int acct_header_add(struct buf *b, const struct acct_columns *c)
    __attribute__((warn_unused_result));
/* One record. 0, or -1 if it does not fit; then b is as before. */
int acct_record_add(struct buf *b, const struct acct_columns *c,
    struct acct_style *style, const struct acct_record *r)
    __attribute__((warn_unused_result));

#endif
