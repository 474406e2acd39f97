/* SPDX-License-Identifier: ISC */
/* How the processes fare, as the master tells it, for `show status`. */
#include <stdlib.h>
#include <string.h>

#include "common/base/str.h"
#include "common/sys/log.h"
#include "qmgr/control.h"

void
children_note(struct qmgr *q, const struct ipc_child *m)
{
	struct child_state *c = q->children;
	unsigned i = 0;
	struct str s;

	while (i < q->nchildren &&
	       (c[i].role != m->role || c[i].index != m->index))
		i++;
	if (i == CHILDREN_SHOWN)
		return;
	if (i == q->nchildren)
		q->nchildren++;
	c = &c[i];
	*c = (struct child_state){.role = m->role,
	    .index = m->index,
	    .pid = m->pid,
	    .ready = m->ready,
	    .restarts = m->restarts,
	    .crashes = m->crashes,
	    .delay_ms = m->delay_ms,
	    .ended_us = (int64_t)m->ended_us};
	STR_ON(&s, c->reason);
	str_add(&s, m->reason);
}

json_t *
children_rows(const struct qmgr *q)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < q->nchildren; i++) {
		const struct child_state *c = &q->children[i];
		json_t *o = json_object();

		json_object_set_new(
		    o, "name", json_string(ipc_role_name(c->role)));
		json_object_set_new(o, "index", json_integer(c->index));
		json_object_set_new(o, "pid", json_integer(c->pid));
		json_object_set_new(o, "state",
		    json_string(c->ready      ? "running"
				: c->pid != 0 ? "starting"
					      : "waiting"));
		json_object_set_new(o, "restarts", json_integer(c->restarts));
		json_object_set_new(o, "crashes", json_integer(c->crashes));
		json_object_set_new(o, "delay_ms", json_integer(c->delay_ms));
		json_object_set_new(o, "lastEnd", json_string(c->reason));
		json_object_set_new(o, "lastEndTime", json_time(c->ended_us));
		json_array_append_new(list, o);
	}
	return list;
}
