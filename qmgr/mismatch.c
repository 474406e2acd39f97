/* SPDX-License-Identifier: ISC */
/*
 * VMTAs that clients name and that do not exist: what looks like a stuck queue
 * and comes from the submitter. Counted since the start, for `show status`;
 * by name for those named last.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/str.h"
#include "common/mail/ctl_headers.h"
#include "common/sys/clock.h"
#include "qmgr/control.h"
#include "qmgr/qmgr.h"

#define NAMES 16u

struct mismatch_name {
	char name[128], client_ip[46];
	uint64_t count;
	int64_t last_us;       /* 0: free */
};

struct mismatch {
	uint64_t taken[VMTA_TAKEN];
	struct mismatch_name names[NAMES];
};

/* Its place, or that of the one that was named longest ago. */
static struct mismatch_name *
name_place(struct mismatch *m, struct sv name)
{
	struct mismatch_name *old = &m->names[0];

	for (unsigned i = 0; i < NAMES; i++) {
		struct mismatch_name *n = &m->names[i];

		if (n->last_us != 0 && sv_ieq(sv_from(n->name), name))
			return n;
		if (n->last_us < old->last_us)
			old = n;
	}
	*old = (struct mismatch_name){ .count = 0 };
	return old;
}

static void
text_keep(char *out, size_t size, struct sv v)
{
	struct str s;

	str_init(&s, out, size);
	str_add(&s, v);
}

void
mismatch_note(struct qmgr *q, const struct ipc_vmta_unknown *m)
{
	struct sv name = sv_head(m->name, sizeof(((struct mismatch_name *)0)
	    ->name) - 1);
	struct mismatch_name *n;

	if (m->taken >= VMTA_TAKEN)
		return;
	if (q->mismatch == NULL)
		q->mismatch = calloc(1, sizeof(*q->mismatch));
	if (q->mismatch == NULL)
		return;
	q->mismatch->taken[m->taken]++;
	n = name_place(q->mismatch, name);
	text_keep(n->name, sizeof(n->name), name);
	text_keep(n->client_ip, sizeof(n->client_ip), m->client_ip);
	n->count++;
	n->last_us = clock_wall().us;
}

void
mismatch_free(struct qmgr *q)
{
	free(q->mismatch);
	q->mismatch = NULL;
}

uint64_t
mismatch_count(const struct qmgr *q, struct sv *last_r, int64_t *last_us_r)
{
	const struct mismatch *m = q->mismatch;
	int64_t last = 0;
	uint64_t n = 0;

	*last_r = SV("");
	for (unsigned i = 0; m != NULL && i < VMTA_TAKEN; i++)
		n += m->taken[i];
	for (unsigned i = 0; m != NULL && i < NAMES; i++) {
		if (m->names[i].last_us <= last)
			continue;
		last = m->names[i].last_us;
		*last_r = sv_from(m->names[i].name);
	}
	*last_us_r = last;
	return n;
}

static json_t *
names_rows(const struct mismatch *m)
{
	json_t *list = json_array();

	for (unsigned i = 0; m != NULL && i < NAMES; i++) {
		const struct mismatch_name *n = &m->names[i];
		json_t *o;

		if (n->last_us == 0)
			continue;
		o = json_object();
		json_object_set_new(o, "name", json_sv(sv_from(n->name)));
		json_object_set_new(o, "count", json_u64(n->count));
		json_object_set_new(o, "last", json_time(n->last_us));
		json_object_set_new(o, "client", json_string(n->client_ip));
		json_array_append_new(list, o);
	}
	return list;
}

json_t *
mismatch_row(const struct qmgr *q)
{
	static const struct mismatch none;
	const struct mismatch *m = q->mismatch != NULL ? q->mismatch : &none;
	json_t *o = json_object();

	json_object_set_new(o, "refused", json_u64(m->taken[VMTA_REFUSED]));
	json_object_set_new(o, "toDefault", json_u64(m->taken[VMTA_DEFAULT]));
	json_object_set_new(o, "toFallback", json_u64(m->taken[VMTA_FALLBACK]));
	json_object_set_new(o, "names", names_rows(m));
	return o;
}
