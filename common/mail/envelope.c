/* SPDX-License-Identifier: ISC */
#include "common/mail/envelope.h"

#define ENVELOPE_VERSION 1

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

void
envelope_encode(struct wr *w, const struct envelope *e)
{
	wr_u8(w, ENVELOPE_VERSION);
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
	wr_u32(w, e->nrcpts);
	if (e->nrcpts == 0 || e->nrcpts > ENV_RCPTS_MAX ||
	    e->dsn_nrcpts > ENV_RCPTS_MAX)
		w->failed = true;
	for (uint32_t i = 0; i < e->nrcpts; i++) {
		text_put(w, e->rcpts[i].addr, ENV_ADDR_MAX);
		text_put(w, e->rcpts[i].orcpt, ENV_ORCPT_MAX);
		wr_u8(w, e->rcpts[i].notify);
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
	struct rd r;

	rd_init(&r, bytes.p, bytes.n);
	if (rd_u8(&r) != ENVELOPE_VERSION)
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
	if (!dsn_rcpts_decode(&r, a, &e) || !rcpts_decode(&r, a, &e))
		return false;
	if (!rd_done(&r))
		return false;
	*e_r = e;
	return true;
}
