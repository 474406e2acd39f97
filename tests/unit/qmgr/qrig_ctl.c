/* SPDX-License-Identifier: ISC */
#include "tests/unit/qmgr/qrig_ctl.h"

/* Three recipients in two queues that do not move. */
void
three_waiting(uint64_t ids[3])
{
	ends("pause queue a.test", 0);
	qrig_ctl(&rig, "pause queue b.test/{default}");
	ids[0] = qrig_submit(&rig, "s1@here.test", "one@a.test");
	ids[1] = qrig_submit(&rig, "s2@here.test", "two@a.test");
	ids[2] = qrig_submit(&rig, "s1@here.test", "three@b.test");
	QWAIT(&rig, (qrig_ctl(&rig, "show status"),
			qrig_number(&rig, "delivery") == 3));
}

unsigned
lines_of(const char *rows)
{
	unsigned n = 0;

	for (; *rows != '\0'; rows++)
		n += *rows == '\n';
	return n;
}

long long
view_of(const char *view)
{
	qrig_ctl(&rig, "show status");
	return qrig_number(&rig, view);
}

void
submit_one(const char *rcpt)
{
	(void)qrig_submit(&rig, "s@here.test", rcpt);
}
