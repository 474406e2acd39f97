/* SPDX-License-Identifier: ISC */
/*
 * What the service manager is told: READY=1 when every child has taken its
 * configuration (qmgr has recovered the spool by then, and the listeners have
 * been open since before the first child), RELOADING=1 and READY=1 around a
 * reload, STOPPING=1.
 */
#include <unistd.h>

#include "common/sys/clock.h"
#include "master/master.h"
#include "master/notify.h"

static bool
all_follow(const struct master *m)
{
	for (unsigned i = 0; i < m->nchildren; i++) {
		const struct child *c = &m->children[i];

		if (!c->ready || c->generation != m->generation)
			return false;
	}
	return true;
}

void
report_check(struct master *m)
{
	if (m->stopping || (m->announced && !m->reloading) || !all_follow(m))
		return;
	m->announced = true;
	m->reloading = false;
	notify_send("READY=1\nMAINPID=%d\nSTATUS=%u processes, configuration "
		    "%u",
	    (int)getpid(), m->nchildren, m->generation);
}

void
report_reload(struct master *m)
{
	if (!m->announced)
		return; /* READY=1 will come with this one */
	m->reloading = true;
	notify_send("RELOADING=1\nMONOTONIC_USEC=%lld\nSTATUS=reloading",
	    (long long)clock_mono().us);
}

/* Nothing has changed. */
void
report_refused(struct master *m)
{
	if (!m->announced)
		return;
	notify_send("%sSTATUS=the last reload was refused, see the "
		    "log; %u processes, configuration %u",
	    m->reloading ? "" : "READY=1\n", m->nchildren, m->generation);
}

void
report_stopping(struct master *m)
{
	notify_send(
	    "STOPPING=1\nSTATUS=stopping %u processes", children_running(m));
}
