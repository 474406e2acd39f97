/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include "common/base/htab.h"
#include "common/base/mem.h"
#include "common/spool/live.h"

struct live {
	struct htab tab;
};

static uint64_t
id_hash(uint64_t id)
{
	id *= UINT64_C(0x9e3779b97f4a7c15);
	return id ^ id >> 32;
}

static uint64_t
msg_hash(const void *entry)
{
	return id_hash(((const struct live_msg *)entry)->id);
}

static bool
msg_match(const void *entry, const void *key)
{
	return ((const struct live_msg *)entry)->id == *(const uint64_t *)key;
}

struct live *
live_new(void)
{
	struct live *l = calloc(1, sizeof(*l));

	if (l == NULL) /* GCOVR_EXCL_BR_LINE: memory */
		mem_exhausted();
	htab_init(&l->tab, msg_hash);
	return l;
}

void
live_free(struct live **lp)
{
	struct live *l = *lp;
	struct live_msg *m;
	size_t at = 0;

	*lp = NULL;
	if (l == NULL)
		return;
	while ((m = htab_next(&l->tab, &at)) != NULL)
		free(m);
	htab_fini(&l->tab);
	free(l);
}

uint64_t
live_count(const struct live *l)
{
	return htab_count(&l->tab);
}

struct live_msg *
live_find(const struct live *l, uint64_t id)
{
	return htab_find(&l->tab, id_hash(id), msg_match, &id);
}

struct live_msg *
live_next(const struct live *l, size_t *at)
{
	return htab_next(&l->tab, at);
}

static void
on_accept(struct live *l, const struct ev_accept *e)
{
	struct live_msg *m;

	if (live_find(l, e->id) != NULL)
		return;
	m = calloc(1, sizeof(*m) + e->domains.n);
	if (m == NULL) /* GCOVR_EXCL_BR_LINE: memory */
		mem_exhausted();
	m->id = e->id;
	m->segment = e->segment;
	m->offset = e->offset;
	m->length = e->length;
	m->large_id = e->large_id;
	m->body_len = e->body_len;
	m->arrival_us = e->arrival_us;
	m->nrcpts = e->domains.n;
	if (htab_insert(&l->tab, m) != 0) /* GCOVR_EXCL_BR_LINE: memory */
		mem_exhausted();
}

static void
rcpt_done(struct live *l, struct live_msg **mp, uint32_t idx)
{
	struct live_msg *m = *mp;

	if (m == NULL || idx >= m->nrcpts || m->done[idx] != 0)
		return;
	m->done[idx] = 1;
	if (++m->ndone < m->nrcpts)
		return;
	htab_remove(&l->tab, m);
	free(m);
	*mp = NULL;
}

static void
rcpts_done(struct live *l, uint64_t id, const struct u32s *rcpts)
{
	struct live_msg *m = live_find(l, id);

	for (uint32_t i = 0; i < rcpts->n; i++)
		rcpt_done(l, &m, u32s_get(rcpts, i));
}

void
live_event(struct live *l, enum ev_type type, const union ev_any *e)
{
	struct live_msg *m;

	switch (type) {
	case EV_ACCEPT:
		on_accept(l, &e->accept);
		break;
	case EV_ATTEMPT:
		m = live_find(l, e->attempt.id);
		if (e->attempt.action != ACT_DEFERRED && !e->attempt.wants_dsn)
			rcpt_done(l, &m, e->attempt.rcpt_idx);
		break;
	case EV_BOUNCED:
		rcpts_done(l, e->bounced.id, &e->bounced.rcpts);
		break;
	case EV_DELETE:
		rcpts_done(l, e->delete.id, &e->delete.rcpts);
		break;
	case EV_RCPT:
		m = live_find(l, e->rcpt.id);
		if (e->rcpt.state == EVR_DONE)
			rcpt_done(l, &m, e->rcpt.rcpt_idx);
		break;
	case EV_MOVE:
		m = live_find(l, e->move.id);
		if (m == NULL)
			break;
		m->segment = e->move.segment;
		m->offset = e->move.offset;
		m->length = e->move.length;
		break;
	default:
		break;
	}
}
