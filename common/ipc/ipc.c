/* SPDX-License-Identifier: ISC */
#include "common/ipc/ipc.h"

#define IPC_DEFINE(NAME, tag, from, to, fds)                                  \
	FIELDS_CODEC(ipc_##tag, IPC_##NAME##_FIELDS)                          \
	static bool any_##tag##_decode(struct rd *r, union ipc_any *m)        \
	{                                                                     \
		return ipc_##tag##_decode(r, &m->tag);                        \
	}
IPC_MESSAGES(IPC_DEFINE)

#define IPC_ROW(NAME, tag, from, to, fds) \
	[IPC_##NAME] = { #NAME, from, to, fds, any_##tag##_decode },
static const struct ipc_info table[IPC_TYPES] = { IPC_MESSAGES(IPC_ROW) };

const struct ipc_info *
ipc_info(unsigned type)
{
	return type > IPC_NONE && type < IPC_TYPES ? &table[type] : NULL;
}

const char *
ipc_role_name(unsigned role)
{
	switch (role) {
	case R_MASTER:
		return "master";
	case R_SMTPD:
		return "smtpd";
	case R_QMGR:
		return "qmgr";
	case R_SMTP:
		return "smtp";
	case R_RESOLVER:
		return "resolver";
	case R_BOUNCE:
		return "bounce";
	case R_ACCT:
		return "acct";
	case R_CTL:
		return "ctl";
	case R_PICKUP:
		return "pickup";
	default:
		return "?";
	}
}
