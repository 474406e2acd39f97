/* SPDX-License-Identifier: ISC */
/*
 * What a client may say in header fields, where its <source> allows it: VMTA,
 * job, envelope ID. The fields are looked for in the first BODY_CHUNK bytes.
 * Fields that are not retained are removed there before the message is
 * written. From a client that may not steer, they are left alone and mean
 * nothing.
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

	if (src->process_x_virtual_mta && !src->retain_x_virtual_mta)
		s->ctl_drop |= 1u << CTL_VMTA;
	if (src->process_x_job && !src->retain_x_job)
		s->ctl_drop |= 1u << CTL_JOB;
	if (src->process_x_envid)
		s->ctl_drop |= 1u << CTL_ENVID;
	if (src->add_date_header == CONF_ADD_DATE_OVERRIDE)
		s->ctl_drop |= 1u << CTL_DATE;
	s->ctl_look = s->ctl_drop != 0 || src->process_x_virtual_mta ||
	    src->process_x_job || src->add_message_id_header ||
	    src->add_date_header != CONF_ADD_DATE_NO;
}

enum reply
control_take(struct session *s)
{
	struct txn *t = &s->txn;
	unsigned char *mem;
	struct sv vmta;
	char text[256];
	size_t n;

	t->ctl_done = true;
	mem = s->ctl_look ? body_first(&t->body, &n) : NULL;
	if (mem == NULL)
		return NO_REPLY;
	body_first_cut(&t->body, ctl_headers_take(mem, n, s->ctl_drop,
	    &t->ctl));
	vmta = ctl_value(&t->ctl, CTL_VMTA);
	if (!s->src->process_x_virtual_mta || vmta.n == 0 ||
	    conf_vmta_find(s->settings->conf, vmta) != NULL ||
	    conf_pool_find(s->settings->conf, vmta) != NULL)
		return NO_REPLY;
	log_info("client [%s] names an unknown virtual MTA: %s", s->client_ip,
	    log_safe(vmta, text, sizeof(text)));
	t->ctl.value[CTL_VMTA][0] = '\0';
	return s->src->reject_invalid_virtual_mta ? REPLY_BAD_VMTA : NO_REPLY;
}

/* RFC 3461 4: xtext of v in the transaction's memory; empty if too long. */
static struct sv
xtext_make(struct arena *a, struct sv v)
{
	char mem[ENV_ENVID_MAX + 1];
	struct str s;

	STR_ON(&s, mem);
	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];

		if (c < '!' || c > '~' || c == '+' || c == '=')
			str_addf(&s, "+%02X", c);
		else
			str_addc(&s, (char)c);
	}
	if (s.truncated)
		return SV("");
	v = arena_sv(a, str_sv(&s));
	return v.p == NULL ? SV("") : v;
}

void
control_apply(struct session *s, struct envelope *e)
{
	const struct conf_source *src = s->src;
	struct txn *t = &s->txn;
	struct sv envid = ctl_value(&t->ctl, CTL_ENVID);

	e->vmta = src->default_virtual_mta;
	if (src->process_x_virtual_mta && t->ctl.value[CTL_VMTA][0] != '\0')
		e->vmta = ctl_value(&t->ctl, CTL_VMTA);
	if (src->process_x_job)
		e->job = ctl_value(&t->ctl, CTL_JOB);
	/* what the envelope says goes before what the header says */
	if (src->process_x_envid && e->envid.n == 0 && envid.n > 0)
		e->envid = xtext_make(&t->arena, envid);
	if ((e->flags & (ENV_RET_FULL | ENV_RET_HDRS)) == 0 &&
	    src->dsn_return_default == CONF_DSN_RETURN_FULL)
		e->flags |= ENV_RET_FULL;
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
	if (!src->add_message_id_header || t->ctl.seen[CTL_MESSAGE_ID])
		return 0;
	return buf_addf(head, "Message-ID: <%.*s@%.*s>\r\n", SV_FMT(id),
	    SV_FMT(host));
}
