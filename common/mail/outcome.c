/* SPDX-License-Identifier: ISC */
#include "common/mail/envelope.h"
#include "common/mail/outcome.h"

const char *
outcome_name(enum outcome o)
{
	static const char *const names[OUTCOMES] = { "delivered", "temporary",
		"permanent", "lost", "in-doubt", "unreadable", "untried" };

	return o < OUTCOMES ? names[o] : "?";
}

const char *
session_end_name(enum session_end e)
{
	static const char *const names[SESSION_ENDS] = { "idle", "limit",
		"lost", "connect", "greeting-temporary", "greeting-permanent",
		"421", "route" };

	return e < SESSION_ENDS ? names[e] : "?";
}

void
rcpt_result_put(struct wr *w, const struct rcpt_result *r)
{
	wr_u32(w, r->idx);
	wr_u8(w, r->outcome);
	wr_u8(w, r->notify);
	wr_u8(w, r->relayed_no_dsn);
	wr_u16(w, r->code);
	wr_sv(w, r->addr, ENV_ADDR_MAX);
	wr_sv(w, r->orcpt, ENV_ORCPT_MAX);
	wr_sv(w, r->status, 16);
	wr_sv(w, sv_head(r->text, RCPT_TEXT_MAX), RCPT_TEXT_MAX);
}

bool
rcpt_result_next(struct rd *r, struct rcpt_result *res_r)
{
	if (r->failed || r->n == 0)
		return false;
	res_r->idx = rd_u32(r);
	res_r->outcome = rd_u8(r);
	res_r->notify = rd_u8(r);
	res_r->relayed_no_dsn = rd_u8(r);
	res_r->code = rd_u16(r);
	res_r->addr = rd_sv(r, ENV_ADDR_MAX);
	res_r->orcpt = rd_sv(r, ENV_ORCPT_MAX);
	res_r->status = rd_sv(r, 16);
	res_r->text = rd_sv(r, RCPT_TEXT_MAX);
	if (res_r->outcome >= OUTCOMES)
		r->failed = true;
	return !r->failed;
}
