/* SPDX-License-Identifier: ISC */
/*
 * ipc: the structs, codecs and table made from schema.def. struct ipc_commit
 * with ipc_commit_encode() and ipc_commit_decode(), and so on for each row.
 */
#ifndef COMMON_IPC_IPC_H
#define COMMON_IPC_IPC_H

#include "common/ipc/fields.h"
#include "common/ipc/schema.def"

/* Roles are bits, so that a row can name several. */
enum ipc_role {
	R_MASTER = 1,
	R_SMTPD = 2,
	R_QMGR = 4,
	R_SMTP = 8,
	R_RESOLVER = 16,
	R_BOUNCE = 32,
	R_ACCT = 64,
	R_CTL = 128,
	R_PICKUP = 256,
};

#define R_WRITER (R_SMTPD | R_BOUNCE | R_PICKUP)
#define R_READER (R_SMTP | R_BOUNCE)
#define R_TAIL   (R_ACCT | R_BOUNCE | R_PICKUP)
#define R_CHILD  (R_SMTPD | R_QMGR | R_SMTP | R_RESOLVER | R_BOUNCE | R_ACCT | \
    R_PICKUP)
#define R_ANY    (R_MASTER | R_CHILD | R_CTL)

/* How a process ended. Only a crash says something about what it was at:
 * SIGKILL, SIGTERM come from outside, an exit status tells of its
 * surroundings. */
enum ipc_ended {
	ENDED_NEVER,
	ENDED_EXIT,      /* with a status */
	ENDED_OUTSIDE,   /* killed by another's signal */
	ENDED_CRASH,     /* SIGSEGV and the like, or it hung */
};

enum ipc_type {
	IPC_NONE,
#define IPC_ENUM(NAME, tag, from, to, fds) IPC_##NAME,
	IPC_MESSAGES(IPC_ENUM)
#undef IPC_ENUM
	IPC_TYPES
};

#define IPC_DECLARE(NAME, tag, from, to, fds) \
	FIELDS_STRUCT(ipc_##tag, IPC_##NAME##_FIELDS)
IPC_MESSAGES(IPC_DECLARE)
#undef IPC_DECLARE

/* Room for any decoded message. */
union ipc_any {
#define IPC_MEMBER(NAME, tag, from, to, fds) struct ipc_##tag tag;
	IPC_MESSAGES(IPC_MEMBER)
#undef IPC_MEMBER
};

struct ipc_info {
	const char *name;   /* "COMMIT" */
	unsigned from, to;  /* enum ipc_role bits */
	unsigned nfds;
	bool (*decode)(struct rd *r, union ipc_any *m);
};

/* NULL for a number that is no type. */
const struct ipc_info *ipc_info(unsigned type);
/* "smtpd", for logs and process titles. */
const char *ipc_role_name(unsigned role);

#endif
