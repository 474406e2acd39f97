/* SPDX-License-Identifier: ISC */
/* Source addresses that are disabled: the commands, and what is kept of them
 * over a restart. */
#include <string.h>

#include "common/base/str.h"
#include "common/mail/smtp_cmd.h"
#include "common/sys/log.h"
#include "qmgr/control.h"

#define REASON_MAX 256
#define WHO_MAX    64

/* The address that the system chooses, where none is configured. */
#define SYSTEM_IP "system"

static bool
ip_parse(struct sv text, struct route_addr *ip_r)
{
	*ip_r = (struct route_addr){ .family = 0 };
	return sv_ieq(text, SV(SYSTEM_IP)) || route_addr_parse(text, ip_r);
}

struct sv
source_ip_text(const struct route_addr *ip, char out[46])
{
	return ip->family == 0 ? SV(SYSTEM_IP) :
	    sv_from(route_addr_format(ip, out));
}

static struct sv
any_if_empty(struct sv v)
{
	return v.n == 0 ? SV("*") : v;
}

/* ---- the log and checkpoints ---- */

static union ev_any
source_event(const struct sched_source *so, bool disabled,
    char name[EV_NAME_MAX], char ip[46])
{
	struct str s;

	str_init(&s, name, EV_NAME_MAX);
	str_addf(&s, "%.*s/%.*s", SV_FMT(any_if_empty(so->domain)),
	    SV_FMT(any_if_empty(so->vmta)));
	return (union ev_any){ .source = { .queue = str_sv(&s),
	    .ip = source_ip_text(&so->ip, ip), .disabled = disabled,
	    .until_us = (uint64_t)so->until_us,
	    .time_us = (uint64_t)so->since_us,
	    .reason = sv_head(so->reason, REASON_MAX),
	    .who = sv_head(so->who, WHO_MAX) } };
}

static void
source_log(struct qmgr *q, const struct sched_source *so, bool disabled)
{
	char name[EV_NAME_MAX], ip[46];
	union ev_any e = source_event(so, disabled, name, ip);

	journal_append(q, EV_SOURCE, &e);
}

int
sources_save(const struct qmgr *q, struct checkpoint *cp)
{
	struct sched_source so;
	const void *at = NULL;

	while (sched_source_next(q->sched, &at, &so)) {
		char name[EV_NAME_MAX], ip[46];
		union ev_any e = source_event(&so, true, name, ip);

		if (checkpoint_add(cp, EV_SOURCE, &e) != 0)
			return -1;
	}
	return 0;
}

void
source_replay(struct qmgr *q, struct sched_now now, const struct ev_source *e)
{
	ptrdiff_t slash = sv_rfind(e->queue, '/');
	struct sched_source so = { .until_us = (int64_t)e->until_us,
		.since_us = (int64_t)e->time_us, .reason = e->reason,
		.who = e->who };

	if (slash < 0 || !ip_parse(e->ip, &so.ip))
		return;
	so.domain = sv_head(e->queue, (size_t)slash);
	so.vmta = sv_from_at(e->queue, (size_t)slash + 1);
	if (!e->disabled)
		(void)sched_source_enable(q->sched, now, so.domain, so.vmta,
		    &so.ip);
	else if (!sched_source_disable(q->sched, now, &so))
		log_warn("the source address %.*s is in use again for %.*s: "
		    "too many are disabled", SV_FMT(e->ip), SV_FMT(e->queue));
}

void
sources_by_reply(void *arg, const struct sched_source *so,
    const struct conf_reply *rule)
{
	char ip[46];

	source_log(arg, so, true);
	log_info("%.*s/%.*s: source address %.*s disabled by %.*s:%u: %.*s",
	    SV_FMT(so->domain), SV_FMT(so->vmta), SV_FMT(source_ip_text(&so->ip, ip)),
	    SV_FMT(rule->file), rule->line, SV_FMT(so->reason));
}

/* ---- commands ---- */

/* A star stands for a whole name or for nothing. */
static bool
side_is_plain(struct sv v)
{
	return sv_find(v, '*') < 0 || sv_eq(v, SV("*"));
}

/* Takes the address out of the words. */
static bool
ip_take(const struct words *w, struct words *rest_r, struct route_addr *ip_r)
{
	bool found = false;

	*rest_r = *w;
	rest_r->n = 0;
	for (unsigned i = 0; i < w->n; i++) {
		if (!found && ip_parse(w->v[i], ip_r))
			found = true;
		else
			rest_r->v[rest_r->n++] = w->v[i];
	}
	return found;
}

static bool
source_words(struct client *cl, const struct words *w, struct selector *sel_r,
    struct sched_source *so_r)
{
	struct words rest;

	*so_r = (struct sched_source){ .since_us = qmgr_now().wall.us };
	if (!ip_take(w, &rest, &so_r->ip)) {
		client_end(cl, 2, "which source address?");
		return false;
	}
	if (!selector_parse(cl, &rest, sel_r))
		return false;
	so_r->domain = any_if_empty(sel_r->domain);
	so_r->vmta = any_if_empty(sel_r->vmta);
	if (side_is_plain(so_r->domain) && side_is_plain(so_r->vmta))
		return true;
	client_end(cl, 2, "here a star stands for a whole domain or VMTA");
	return false;
}

static bool
is_named(struct sv v)
{
	return !sv_eq(v, SV("*"));
}

/* A mistyped name would leave the address in use without a word. */
static const char *
names_wrong(const struct qmgr *q, const struct sched_source *so)
{
	if (is_named(so->domain) && !domain_is_valid(so->domain, true))
		return "there can be no such domain";
	if (is_named(so->vmta) && conf_vmta_find(q->conf, so->vmta) == NULL)
		return "there is no such VMTA";
	return NULL;
}

void
cmd_disable_source(struct client *cl, const struct words *w)
{
	struct qmgr *q = cl->q;
	struct sched_source so;
	struct selector sel;
	const char *wrong;
	char who[32], ip[46];

	if (!source_words(cl, w, &sel, &so))
		return;
	wrong = names_wrong(q, &so);
	if (wrong != NULL) {
		client_end(cl, 2, "%s", wrong);
		return;
	}
	if (sel.reenable_ms > 0)
		so.until_us = so.since_us + sel.reenable_ms * US_PER_MS;
	so.reason = sv_head(sel.reason, REASON_MAX);
	so.who = client_who(cl, who);
	if (!sched_source_disable(q->sched, qmgr_now(), &so)) {
		client_end(cl, 1, "too many are disabled");
		return;
	}
	source_log(q, &so, true);
	log_info("control: source address %.*s disabled for %.*s/%.*s by "
	    "user %u", SV_FMT(source_ip_text(&so.ip, ip)), SV_FMT(so.domain),
	    SV_FMT(so.vmta), (unsigned)cl->uid);
	client_end(cl, 0, "%.*s disabled for %.*s/%.*s",
	    SV_FMT(source_ip_text(&so.ip, ip)), SV_FMT(so.domain), SV_FMT(so.vmta));
}

void
cmd_enable_source(struct client *cl, const struct words *w)
{
	struct qmgr *q = cl->q;
	struct sched_source so;
	struct selector sel;
	char ip[46];
	uint32_t n;

	if (!source_words(cl, w, &sel, &so))
		return;
	n = sched_source_enable(q->sched, qmgr_now(), so.domain, so.vmta,
	    &so.ip);
	if (n == 0) {
		client_end(cl, 1, "it is not disabled for just these; see "
		    "\"show disabled sources\"");
		return;
	}
	source_log(q, &so, false);
	log_info("control: source address %.*s enabled for %.*s/%.*s by "
	    "user %u", SV_FMT(source_ip_text(&so.ip, ip)), SV_FMT(so.domain),
	    SV_FMT(so.vmta), (unsigned)cl->uid);
	client_end(cl, 0, "%u enabled", n);
}

static json_t *
source_row(const struct sched_source *so)
{
	json_t *o = json_object();
	char ip[46];

	json_object_set_new(o, "source", json_sv(source_ip_text(&so->ip, ip)));
	json_object_set_new(o, "domain", json_sv(any_if_empty(so->domain)));
	json_object_set_new(o, "vmta", json_sv(any_if_empty(so->vmta)));
	json_object_set_new(o, "since", json_time(so->since_us));
	json_object_set_new(o, "until", json_time(so->until_us));
	json_object_set_new(o, "reason", json_sv(so->reason));
	json_object_set_new(o, "disabledBy", json_sv(so->who));
	return o;
}

/* What is disabled for any is shown with each. */
static bool
source_is_wanted(const struct selector *s, const struct sched_source *so)
{
	return (s->domain.n == 0 || !is_named(so->domain) ||
	    glob_matches(s->domain, so->domain)) &&
	    (s->vmta.n == 0 || !is_named(so->vmta) ||
	    glob_matches(s->vmta, so->vmta));
}

void
cmd_show_disabled(struct client *cl, const struct words *w)
{
	unsigned long long n = 0, shown = 0;
	struct sched_source so;
	const void *at = NULL;
	struct selector sel;

	if (!selector_parse(cl, w, &sel))
		return;
	while (sched_source_next(cl->q->sched, &at, &so)) {
		if (!source_is_wanted(&sel, &so))
			continue;
		if (n++ >= sel.maxitems)
			continue;
		client_row(cl, source_row(&so));
		shown++;
	}
	client_end(cl, 0, "%llu of %llu disabled sources", shown, n);
}
