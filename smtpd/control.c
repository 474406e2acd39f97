/* SPDX-License-Identifier: ISC */
/*
 * What a client may say in header fields, where its <source> allows it: VMTA,
 * job, envelope ID; and what becomes of that and of its pattern list. The
 * fields are looked for in the first BODY_CHUNK bytes. Fields that are not
 * retained are removed there before the message is written. From a client that
 * may not steer, they are left alone and mean nothing.
 */
#include <string.h>

#include "common/base/str.h"
#include "common/mail/rfc5322_date.h"
#include "common/sys/log.h"
#include "smtpd/session.h"

void
control_init(struct session *s)
{
	const struct conf_source *src = s->src;
	struct ctl_rules *r = &s->ctl_rules;

	*r = (struct ctl_rules){ .vmta = src->virtual_mta_header,
		.job = src->jobid_header, .remove = src->remove_header };
	if (src->process_x_virtual_mta && !src->retain_x_virtual_mta)
		r->drop |= 1u << CTL_VMTA;
	if (src->process_x_job && !src->retain_x_job)
		r->drop |= 1u << CTL_JOB;
	if (src->process_x_envid)
		r->drop |= 1u << CTL_ENVID;
	if (src->add_date_header == CONF_ADD_DATE_OVERRIDE)
		r->drop |= 1u << CTL_DATE;
	s->ctl_look = r->drop != 0 || r->remove.n > 0 ||
	    src->process_x_virtual_mta ||
	    src->process_x_job || src->add_message_id_header ||
	    src->add_date_header != CONF_ADD_DATE_NO;
}

static bool
vmta_is_known(const struct conf *conf, struct sv name)
{
	return conf_vmta_find(conf, name) != NULL ||
	    conf_pool_find(conf, name) != NULL;
}

/* The header names a VMTA that does not exist: refused, or sent by another,
 * as configured; it is counted either way. */
static enum reply
vmta_unknown(struct session *s, struct sv name)
{
	struct sv other = conf_global(s->settings->conf)->
	    invalid_virtual_mta_fallback;
	enum vmta_taken how = VMTA_FALLBACK;
	char text[256];

	if (other.n == 0)
		how = s->src->reject_invalid_virtual_mta ? VMTA_REFUSED :
		    VMTA_DEFAULT;
	log_info("client [%s] names an unknown virtual MTA: %s", s->client_ip,
	    log_safe(name, text, sizeof(text)));
	if (s->srv->on_vmta_unknown != NULL)
		s->srv->on_vmta_unknown(s->srv, name, sv_from(s->client_ip),
		    how);
	s->txn.ctl.value[CTL_VMTA][0] = '\0';
	s->txn.vmta_fallback = how == VMTA_FALLBACK;
	return how == VMTA_REFUSED ? REPLY_BAD_VMTA : NO_REPLY;
}

enum reply
control_take(struct session *s)
{
	struct txn *t = &s->txn;
	unsigned char *mem;
	struct sv vmta;
	size_t n;

	t->ctl_done = true;
	mem = s->ctl_look ? body_first(&t->body, &n) : NULL;
	if (mem == NULL)
		return NO_REPLY;
	body_first_cut(&t->body, ctl_headers_take(mem, n, &s->ctl_rules,
	    &t->ctl));
	vmta = ctl_value(&t->ctl, CTL_VMTA);
	if (!s->src->process_x_virtual_mta || !t->ctl.seen[CTL_VMTA])
		return NO_REPLY;
	if (vmta.n == 0 ? s->src->allow_empty_x_virtual_mta :
	    vmta_is_known(s->settings->conf, vmta))
		return NO_REPLY;
	return vmta_unknown(s, vmta);
}

/* RFC 3461 4: xtext of v in the transaction's memory; empty if too long. */
static struct sv
xtext_make(struct arena *a, struct sv v)
{
	char mem[ENV_ENVID_MAX + 1];
	struct str s;

	STR_ON(&s, mem);
	xtext_add(&s, v);
	if (s.truncated)
		return SV("");
	v = arena_sv(a, str_sv(&s));
	return v.p == NULL ? SV("") : v;
}

/* The VMTA that the client named, or the one for a name that is none. False: it
 * said nothing, or nothing that counts. */
static bool
vmta_named(const struct session *s, struct sv *vmta_r)
{
	const struct txn *t = &s->txn;

	*vmta_r = conf_global(s->settings->conf)->
	    invalid_virtual_mta_fallback;
	if (t->vmta_fallback)
		return true;
	*vmta_r = ctl_value(&t->ctl, CTL_VMTA);
	return s->src->process_x_virtual_mta && vmta_r->n > 0;
}

/* ---- recipients that come apart ---- */

struct grouping {
	struct sv named;              /* by the client, or the source's */
	bool is_named;
	struct env_group *v;
	const struct conf_pattern **lines; /* that made each */
	uint16_t n;
};

static struct env_group
group_of(const struct grouping *g, const struct conf_pattern *line)
{
	struct env_group own = { g->named, SV(""), PRIORITY_DEFAULT };

	if (line != NULL && line->vmta.n > 0 && !g->is_named)
		own.vmta = line->vmta;
	if (line != NULL && line->hold)
		own.hold = line->in;
	if (line != NULL && line->has_priority)
		own.priority = line->priority;
	return own;
}

/* Its number from 1 on; 0: there are too many. */
static uint16_t
group_number(struct grouping *g, const struct conf_pattern *line)
{
	for (uint16_t i = 0; i < g->n; i++) {
		if (g->lines[i] == line)
			return i + 1;
	}
	if (g->n == ENV_GROUPS_MAX)
		return 0;
	g->lines[g->n] = line;
	g->v[g->n] = group_of(g, line);
	return ++g->n;
}

static bool
is_same(const struct env_group *a, const struct env_group *b)
{
	return sv_ieq(a->vmta, b->vmta) && sv_eq(a->hold, b->hold) &&
	    a->priority == b->priority;
}

/* One group for each line that decided on somebody. */
static bool
groups_make(struct txn *t, struct grouping *g)
{
	uint32_t max = t->nrcpts < ENV_GROUPS_MAX ? t->nrcpts :
	    ENV_GROUPS_MAX;

	g->v = arena_alloc(&t->arena, max * sizeof(*g->v));
	g->lines = arena_alloc(&t->arena, max * sizeof(*g->lines));
	if (g->v == NULL || g->lines == NULL)
		return false;
	for (uint32_t i = 0; i < t->nrcpts; i++) {
		t->rcpts[i].group = group_number(g, t->decided[i]);
		if (t->rcpts[i].group == 0)
			return false;
	}
	return true;
}

/* The envelope without groups if they say the same of all recipients. */
static bool
groups_apply(struct txn *t, struct grouping *g, struct envelope *e)
{
	bool same = true;

	if (!groups_make(t, g))
		return false;
	for (uint16_t i = 1; i < g->n; i++)
		same = same && is_same(&g->v[0], &g->v[i]);
	e->vmta = g->v[0].vmta;
	if (!same || g->v[0].hold.n > 0 ||
	    g->v[0].priority != PRIORITY_DEFAULT) {
		e->groups = g->v;
		e->ngroups = g->n;
	}
	for (uint32_t i = 0; e->ngroups == 0 && i < t->nrcpts; i++)
		t->rcpts[i].group = 0;
	t->vmta = e->vmta;
	for (uint16_t i = 1; i < g->n; i++)
		if (!sv_ieq(g->v[i].vmta, e->vmta))
			t->vmta = SV("");
	return true;
}

/* VMTA: the client's, else the pattern list's, else the source's. */
static bool
vmtas_apply(struct session *s, struct envelope *e)
{
	struct txn *t = &s->txn;
	struct grouping g = { .n = 0 };

	g.is_named = vmta_named(s, &g.named);
	if (!g.is_named)
		g.named = s->src->default_virtual_mta;
	e->vmta = t->vmta = g.named;
	return t->decided == NULL || groups_apply(t, &g, e);
}

/* The client's job behind the prefix; without one it is in no job. */
static struct sv
job_make(struct txn *t, struct sv prefix)
{
	struct sv job = ctl_value(&t->ctl, CTL_JOB);
	char mem[CTL_VALUE_MAX + 1];
	struct str s;

	/* of nobody who is authenticated */
	if (sv_ieq(prefix, SV("{auth}")))
		prefix = SV("");
	if (job.n == 0 || prefix.n == 0)
		return job;
	STR_ON(&s, mem); /* cut as the value is */
	str_add(&s, prefix);
	str_add(&s, job);
	job = arena_sv(&t->arena, str_sv(&s));
	return job.p == NULL ? SV("") : job;
}

bool
control_apply(struct session *s, struct envelope *e)
{
	const struct conf_source *src = s->src;
	struct txn *t = &s->txn;
	struct sv envid = ctl_value(&t->ctl, CTL_ENVID);

	if (!vmtas_apply(s, e))
		return false;
	if (src->process_x_job)
		e->job = job_make(t, src->jobid_prefix);
	/* what the envelope says goes before what the header says */
	if (src->process_x_envid && e->envid.n == 0 && envid.n > 0)
		e->envid = xtext_make(&t->arena, envid);
	if ((e->flags & (ENV_RET_FULL | ENV_RET_HDRS)) == 0 &&
	    src->dsn_return_default == CONF_DSN_RETURN_FULL)
		e->flags |= ENV_RET_FULL;
	return true;
}

/* The VMTA or pool that was chosen, if one was for all. */
static int
vmta_add(const struct session *s, struct buf *head)
{
	struct sv vmta = s->txn.vmta;

	return vmta.n == 0 ? 0 : buf_addf(head, "x-virtual-mta: %.*s\r\n",
	    SV_FMT(vmta));
}

int
control_head(const struct session *s, struct sv id, struct buf *head)
{
	const struct conf_source *src = s->src;
	const struct txn *t = &s->txn;
	struct sv host = conf_hostname(s->settings->conf);
	char date[RFC5322_DATE];

	if (src->add_date_header == CONF_ADD_DATE_OVERRIDE ||
	    (src->add_date_header == CONF_ADD_DATE_YES &&
	    !t->ctl.seen[CTL_DATE])) {
		if (buf_addf(head, "Date: %s\r\n",
		    rfc5322_date(t->arrival, date)) != 0)
			return -1;
	}
	if (src->add_x_virtual_mta_header && vmta_add(s, head) != 0)
		return -1;
	if (!src->add_message_id_header || t->ctl.seen[CTL_MESSAGE_ID])
		return 0;
	return buf_addf(head, "Message-ID: <%.*s@%.*s>\r\n", SV_FMT(id),
	    SV_FMT(host));
}
