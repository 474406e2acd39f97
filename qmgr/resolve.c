/* SPDX-License-Identifier: ISC */
/*
 * resolve: where the mail of a queue goes, by the look-up that delivery would
 * make: the same settings, the same resolver, its cache.
 */
#include <stdlib.h>

#include "common/base/str.h"
#include "common/mail/smtp_cmd.h"
#include "qmgr/control.h"

static const struct {
	const char *name, *action;
} statuses[ROUTE_STATUSES] = {
	[ROUTE_OK] = { "ok", "deliver" },
	[ROUTE_NO_DOMAIN] = { "no-domain", "bounce" },
	[ROUTE_NULL_MX] = { "null-mx", "bounce" },
	[ROUTE_UNUSABLE] = { "unusable", "bounce" },
	[ROUTE_SELF] = { "self", "bounce" },
	[ROUTE_TEMPORARY] = { "temporary", "retry" },
	[ROUTE_AGAIN] = { "again", "retry" },
};

static void
put(json_t *o, const char *key, json_t *value)
{
	json_object_set_new(o, key, value);
}

/* ---- the question ---- */

/* What the word stands for, NULL after an answer. */
static const struct conf_vmta *
queue_word(struct client *cl, struct sv word, struct sv *domain_r)
{
	ptrdiff_t slash = sv_rfind(word, '/');
	struct sv vmta = slash < 0 ? SV("") :
	    sv_from_at(word, (size_t)slash + 1);
	const struct conf_vmta *v = conf_vmta_find(cl->q->conf, vmta);

	*domain_r = slash < 0 ? word : sv_head(word, (size_t)slash);
	if (v == NULL)
		client_end(cl, 1, "there is no <virtual-mta %.*s>",
		    SV_FMT(vmta));
	if (v == NULL || domain_is_valid(*domain_r, true))
		return v;
	client_end(cl, 2, "which domain? resolve domain[/vmta]");
	return NULL;
}

/* As the queue that its mail would come into is called. */
static char *
queue_name(struct sv domain, struct sv vmta)
{
	char mem[IPC_NAME_MAX * 2], *name;
	struct str s;

	STR_ON(&s, mem);
	str_addf(&s, "%.*s/%.*s", SV_FMT(domain), SV_FMT(vmta));
	name = sv_dup(str_sv(&s));
	for (size_t i = 0; i < domain.n; i++)
		name[i] = ascii_lower(name[i]);
	return name;
}

void
cmd_resolve(struct client *cl, const struct words *w)
{
	const struct conf_domain *own;
	const struct conf_vmta *v;
	struct sv domain, vmta;

	if (w->n != 1 || sv_starts(w->v[0], SV("-"))) {
		client_end(cl, 2, "which domain? resolve domain[/vmta]");
		return;
	}
	v = queue_word(cl, w->v[0], &domain);
	if (v == NULL)
		return;
	own = conf_domain_find(cl->q->conf, v->name, domain);
	cl->target = queue_name(own->queue_to.n > 0 ? own->queue_to : domain,
	    v->name);
	name_split(cl->target, &domain, &vmta);
	if (!routes_ask(cl->q, client_ask(cl, ASKS_RESOLVER), domain, vmta)) {
		cl->token = 0;
		client_end(cl, 1, "the resolver does not run; it is started "
		    "again");
	}
}

/* ---- the answer ---- */

static json_t *
host_row(struct qmgr *q, struct sv domain, struct sv vmta,
    const struct route_host *h)
{
	json_t *o = json_object(), *list = json_array();
	char ip[46];

	put(o, "preference", json_integer(h->preference));
	put(o, "name", json_sv(h->name));
	put(o, "port", json_integer(h->port));
	for (unsigned i = 0; i < h->naddrs; i++)
		json_array_append_new(list,
		    json_string(route_addr_format(&h->addrs[i], ip)));
	put(o, "addresses", list);
	put(o, "leftOut",
	    json_boolean(routes_leaves_out(q, domain, vmta, h->name)));
	return o;
}

static void
hosts_put(struct qmgr *q, struct sv domain, struct sv vmta, struct sv bytes,
    json_t *o)
{
	char site[ROUTES_SITE_MAX] = "";
	json_t *list = json_array();
	bool rollup = false;
	struct route r;

	arena_reset(&q->env_arena);
	if (route_decode(bytes, &q->env_arena, &r)) {
		for (unsigned i = 0; i < r.nhosts; i++)
			json_array_append_new(list,
			    host_row(q, domain, vmta, &r.hosts[i]));
		rollup = routes_site(q, domain, vmta, &r, site);
	}
	put(o, "site", json_sv(sv_from(site)));
	put(o, "rollup", json_boolean(rollup));
	put(o, "hosts", list);
}

/* From where delivery would connect, and as whom. */
static json_t *
sources_row(const struct qmgr *q, const struct conf_vmta *v)
{
	const struct conf_srchosts *s = &v->smtp_source_host;
	json_t *list = json_array();
	char ip[46];

	for (uint32_t i = 0; i < s->n || i == 0; i++) {
		const struct conf_srchost *h = i < s->n ? &s->v[i] : NULL;
		struct sv helo = v->host_name.n > 0 ? v->host_name :
		    conf_hostname(q->conf);
		json_t *o = json_object();

		if (h != NULL && h->helo.n > 0)
			helo = h->helo;
		put(o, "ip", json_string(h != NULL && h->ip.family != 0 ?
		    route_addr_format(&h->ip, ip) : ""));
		put(o, "helo", json_sv(helo));
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *
route_row(struct qmgr *q, const char *queue, enum route_status status,
    const struct ipc_route *m)
{
	json_t *o = json_object();
	struct sv domain, vmta;
	const struct conf_vmta *v;

	name_split(queue, &domain, &vmta);
	v = conf_vmta_find(q->conf, vmta);
	put(o, "queue", json_string(queue));
	put(o, "status", json_string(statuses[status].name));
	put(o, "action", json_string(statuses[status].action));
	put(o, "code", json_string(status == ROUTE_OK ? "" :
	    route_status_code(status)));
	put(o, "text", json_sv(m->text));
	put(o, "validity_s", json_integer(m->ttl_s));
	put(o, "smtpHosts", json_sv(conf_domain_find(q->conf, vmta,
	    domain)->smtp_hosts));
	hosts_put(q, domain, vmta, status == ROUTE_OK ? m->route : SV(""), o);
	put(o, "sources", v != NULL ? sources_row(q, v) : json_array());
	return o;
}

void
control_route(struct qmgr *q, uint64_t token, enum route_status status,
    const struct ipc_route *m)
{
	struct client *cl = client_asked(q, token);

	if (cl == NULL)
		return;
	client_row(cl, route_row(q, cl->target, status, m));
	if (status == ROUTE_OK)
		client_end(cl, 0, "%s", "");
	else if (statuses[status].action[0] == 'b')
		client_end(cl, 1, "mail for it is returned with %s",
		    route_status_code(status));
	else
		client_end(cl, 1, "mail for it waits and is tried again");
	chan_flush(cl->chan);
}
