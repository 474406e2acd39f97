/* SPDX-License-Identifier: ISC */
#include "common/mail/envelope.h"

#define VERSION_PLAIN  1
#define VERSION_GROUPS 2 /* each recipient has a group, */
#define VERSION_PRIO   3 /* and each group a priority */

struct sv
addr_domain(struct sv addr)
{
	ptrdiff_t at = sv_rfind(addr, '@');

	return at < 0 ? SV("") : sv_from_at(addr, (size_t)at + 1);
}

static bool
text_is_clean(struct sv v)
{
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] == '\0' || v.p[i] == '\r' || v.p[i] == '\n')
			return false;
	}
	return true;
}

static void
text_put(struct wr *w, struct sv v, size_t max)
{
	if (!text_is_clean(v))
		w->failed = true;
	wr_sv(w, v, max);
}

static struct sv
text_get(struct rd *r, size_t max)
{
	struct sv v = rd_sv(r, max);

	if (!text_is_clean(v))
		r->failed = true;
	return v;
}

static const struct env_group *
group_of(const struct envelope *e, uint32_t rcpt)
{
	uint16_t group = rcpt < e->nrcpts ? e->rcpts[rcpt].group : 0;

	return group == 0 || group > e->ngroups ? NULL :
	    &e->groups[group - 1];
}

struct sv
envelope_vmta(const struct envelope *e, uint32_t rcpt)
{
	const struct env_group *g = group_of(e, rcpt);

	return g == NULL ? e->vmta : g->vmta;
}

struct sv
envelope_hold(const struct envelope *e, uint32_t rcpt)
{
	const struct env_group *g = group_of(e, rcpt);

	return g == NULL ? SV("") : g->hold;
}

unsigned
envelope_priority(const struct envelope *e, uint32_t rcpt)
{
	const struct env_group *g = group_of(e, rcpt);

	return g == NULL ? PRIORITY_DEFAULT : g->priority;
}

/* The oldest version that can say what is to be said. */
static uint8_t
version_for(const struct envelope *e)
{
	for (uint16_t i = 0; i < e->ngroups; i++) {
		if (e->groups[i].priority != PRIORITY_DEFAULT)
			return VERSION_PRIO;
	}
	return e->ngroups > 0 ? VERSION_GROUPS : VERSION_PLAIN;
}

static void
groups_encode(struct wr *w, const struct envelope *e, uint8_t version)
{
	wr_u16(w, e->ngroups);
	for (uint16_t i = 0; i < e->ngroups; i++) {
		text_put(w, e->groups[i].vmta, ENV_NAME_MAX);
		text_put(w, e->groups[i].hold, ENV_NAME_MAX);
		if (version >= VERSION_PRIO)
			wr_u8(w, e->groups[i].priority);
		if (e->groups[i].priority > PRIORITY_MAX)
			w->failed = true;
	}
}

void
envelope_encode(struct wr *w, const struct envelope *e)
{
	uint8_t version = version_for(e);
	bool grouped = e->ngroups > 0;

	wr_u8(w, version);
	wr_u32(w, e->flags);
	text_put(w, e->sender, ENV_ADDR_MAX);
	text_put(w, e->envid, ENV_ENVID_MAX);
	text_put(w, e->vmta, ENV_NAME_MAX);
	text_put(w, e->job, ENV_NAME_MAX);
	text_put(w, e->src_type, ENV_NAME_MAX);
	text_put(w, e->helo, ENV_NAME_MAX);
	text_put(w, e->client_ip, ENV_NAME_MAX);
	text_put(w, e->client_name, ENV_NAME_MAX);
	text_put(w, e->user, ENV_NAME_MAX);
	wr_u64(w, e->dsn_for);
	wr_u32(w, e->dsn_nrcpts);
	for (uint32_t i = 0; i < e->dsn_nrcpts; i++)
		wr_u32(w, e->dsn_rcpts[i]);
	if (grouped)
		groups_encode(w, e, version);
	wr_u32(w, e->nrcpts);
	if (e->nrcpts == 0 || e->nrcpts > ENV_RCPTS_MAX ||
	    e->dsn_nrcpts > ENV_RCPTS_MAX)
		w->failed = true;
	for (uint32_t i = 0; i < e->nrcpts; i++) {
		text_put(w, e->rcpts[i].addr, ENV_ADDR_MAX);
		text_put(w, e->rcpts[i].orcpt, ENV_ORCPT_MAX);
		wr_u8(w, e->rcpts[i].notify);
		if (grouped)
			wr_u16(w, e->rcpts[i].group);
		if (e->rcpts[i].group > e->ngroups)
			w->failed = true;
	}
}

static bool
dsn_rcpts_decode(struct rd *r, struct arena *a, struct envelope *e)
{
	uint32_t *list;

	e->dsn_nrcpts = rd_u32(r);
	if (r->failed || e->dsn_nrcpts > ENV_RCPTS_MAX ||
	    e->dsn_nrcpts > r->n / 4)
		return false;
	list = arena_alloc(a, (size_t)e->dsn_nrcpts * sizeof(*list));
	if (list == NULL)
		return false;
	for (uint32_t i = 0; i < e->dsn_nrcpts; i++)
		list[i] = rd_u32(r);
	e->dsn_rcpts = list;
	return !r->failed;
}

static bool
groups_decode(struct rd *r, struct arena *a, uint8_t version,
    struct envelope *e)
{
	struct env_group *list;

	e->ngroups = rd_u16(r);
	/* two lengths is the least that a group takes */
	if (r->failed || e->ngroups == 0 || e->ngroups > r->n / 8)
		return false;
	list = arena_alloc(a, e->ngroups * sizeof(*list));
	if (list == NULL)
		return false;
	for (uint16_t i = 0; i < e->ngroups; i++) {
		list[i].vmta = text_get(r, ENV_NAME_MAX);
		list[i].hold = text_get(r, ENV_NAME_MAX);
		list[i].priority = version >= VERSION_PRIO ? rd_u8(r) :
		    PRIORITY_DEFAULT;
		if (list[i].priority > PRIORITY_MAX)
			return false;
	}
	e->groups = list;
	/* an envelope has one encoding */
	return !r->failed && version_for(e) == version;
}

static bool
rcpts_decode(struct rd *r, struct arena *a, struct envelope *e)
{
	struct env_rcpt *list;

	e->nrcpts = rd_u32(r);
	/* 9 bytes is the least that a recipient takes */
	if (r->failed || e->nrcpts == 0 || e->nrcpts > ENV_RCPTS_MAX ||
	    e->nrcpts > r->n / 9)
		return false;
	list = arena_alloc(a, (size_t)e->nrcpts * sizeof(*list));
	if (list == NULL)
		return false;
	for (uint32_t i = 0; i < e->nrcpts; i++) {
		list[i].addr = text_get(r, ENV_ADDR_MAX);
		list[i].orcpt = text_get(r, ENV_ORCPT_MAX);
		list[i].notify = rd_u8(r);
		if (e->ngroups > 0)
			list[i].group = rd_u16(r);
		if (list[i].group > e->ngroups)
			return false;
		if (addr_domain(list[i].addr).n == 0)
			return false;
	}
	e->rcpts = list;
	return !r->failed;
}

bool
envelope_decode(struct sv bytes, struct arena *a, struct envelope *e_r)
{
	struct envelope e = { 0 };
	uint8_t version;
	struct rd r;

	rd_init(&r, bytes.p, bytes.n);
	version = rd_u8(&r);
	if (version < VERSION_PLAIN || version > VERSION_PRIO)
		return false;
	e.flags = rd_u32(&r);
	e.sender = text_get(&r, ENV_ADDR_MAX);
	e.envid = text_get(&r, ENV_ENVID_MAX);
	e.vmta = text_get(&r, ENV_NAME_MAX);
	e.job = text_get(&r, ENV_NAME_MAX);
	e.src_type = text_get(&r, ENV_NAME_MAX);
	e.helo = text_get(&r, ENV_NAME_MAX);
	e.client_ip = text_get(&r, ENV_NAME_MAX);
	e.client_name = text_get(&r, ENV_NAME_MAX);
	e.user = text_get(&r, ENV_NAME_MAX);
	e.dsn_for = rd_u64(&r);
	if (!dsn_rcpts_decode(&r, a, &e) ||
	    (version >= VERSION_GROUPS &&
	    !groups_decode(&r, a, version, &e)) ||
	    !rcpts_decode(&r, a, &e))
		return false;
	if (!rd_done(&r))
		return false;
	*e_r = e;
	return true;
}
