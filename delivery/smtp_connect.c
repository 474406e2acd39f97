/* SPDX-License-Identifier: ISC */
#include <sys/socket.h>
#include <netinet/in.h>
#include <bsd/stdlib.h>
#include <bsd/string.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/str.h"
#include "common/sys/sockaddr.h"
#include "delivery/smtp.h"

static void
targets_shuffle(struct target *t, unsigned n)
{
	for (unsigned i = n; i > 1; i--) {
		unsigned k = arc4random_uniform(i);
		struct target swap = t[i - 1];

		t[i - 1] = t[k];
		t[k] = swap;
	}
}

static bool
source_allows(const struct session *s, const struct route_addr *a)
{
	return !s->has_source || s->source.family == a->family;
}

/* The addresses of one family, shuffled. */
static unsigned
family_targets(const struct session *s, uint8_t host, uint8_t family,
    struct target *out)
{
	const struct route_host *h = &s->route.hosts[host];
	unsigned n = 0;

	for (uint8_t i = 0; i < h->naddrs; i++)
		if (h->addrs[i].family == family &&
		    source_allows(s, &h->addrs[i]))
			out[n++] = (struct target){ host, i };
	targets_shuffle(out, n);
	return n;
}

/* IPv6 and IPv4 take turns, so that a family that does not work from here
 * cannot use up all attempts. */
static void
host_targets(struct session *s, uint8_t host)
{
	struct target six[ROUTE_ADDRS_MAX], four[ROUTE_ADDRS_MAX];
	unsigned n6 = family_targets(s, host, 6, six);
	unsigned n4 = family_targets(s, host, 4, four);

	for (unsigned i = 0; i < n6 || i < n4; i++) {
		if (i < n6)
			s->targets[s->ntargets++] = six[i];
		if (i < n4)
			s->targets[s->ntargets++] = four[i];
	}
}

bool
connect_plan(struct session *s)
{
	struct target hosts[ROUTE_HOSTS_MAX];
	unsigned n = s->route.nhosts, from = 0, total = 0;

	for (unsigned i = 0; i < n; i++) {
		hosts[i] = (struct target){ (uint8_t)i, 0 };
		total += s->route.hosts[i].naddrs;
	}
	s->targets = arena_alloc(&s->arena,
	    (total + 1) * sizeof(*s->targets));
	if (s->targets == NULL)
		return false;
	/* equal preferences in random order: RFC 5321 5.1 */
	for (unsigned i = 1; i <= n; i++) {
		if (i < n && s->route.hosts[i].preference ==
		        s->route.hosts[from].preference)
			continue;
		targets_shuffle(hosts + from, i - from);
		from = i;
	}
	for (unsigned i = 0; i < n; i++)
		host_targets(s, hosts[i].host);
	return true;
}

/*
 * The end that is reported is that of the last host, but what is permanent at
 * one host counts only if it is so at all of them.
 */
void
connect_failed(struct session *s, enum session_end why, uint16_t code,
    struct sv status, struct sv text)
{
	struct session_failure *f = &s->failure;
	struct str b;

	if (f->any && f->why != END_GREETING_PERM && why == END_GREETING_PERM)
		return;
	f->any = true;
	f->why = why;
	f->code = code;
	STR_ON(&b, f->status);
	str_add(&b, status);
	STR_ON(&b, f->text);
	str_add(&b, text);
	strlcpy(f->host, s->host_name, sizeof(f->host));
	strlcpy(f->host_ip, s->host_ip, sizeof(f->host_ip));
}

void
connect_failed_errno(struct session *s, int err)
{
	char mem[512];
	struct str b;

	STR_ON(&b, mem);
	str_adds(&b, "connect to ");
	str_add_escaped(&b, sv_from(s->host_name));
	str_addf(&b, "[%s]: %s", s->host_ip, strerror(err));
	trace_event(s, "%s", mem);
	connect_failed(s, END_CONNECT, 0, SV("4.4.1"), str_sv(&b));
}

void
connect_skip_host(struct session *s)
{
	unsigned last = s->next_target - 1;

	while (s->next_target < s->ntargets &&
	    s->targets[s->next_target].host == s->targets[last].host)
		s->next_target++;
}

/* No way to such an address from this machine: costs no attempt. */
static bool
is_local_failure(int err)
{
	return err == ENETUNREACH || err == EAFNOSUPPORT ||
	    err == EADDRNOTAVAIL;
}

static struct conn *
target_connect(struct session *s, const struct route_addr *a)
{
	struct sockaddr_storage to, from;
	socklen_t to_len = sockaddr_make(a, s->host->port, &to);
	socklen_t from_len = 0;

	if (s->has_source)
		from_len = sockaddr_make(&s->source, 0, &from);
	return conn_connect(s->w->role->base, (struct sockaddr *)&to, to_len,
	    s->has_source ? (struct sockaddr *)&from : NULL, from_len,
	    &session_conn_ops, s, SMTP_CLIENT_IN_CAP, SMTP_CLIENT_OUT_CAP);
}

bool
connect_next(struct session *s)
{
	const struct session_failure *f = &s->failure;

	while (s->next_target < s->ntargets &&
	    s->attempts < s->max_attempts && !session_is_overdue(s)) {
		struct target t = s->targets[s->next_target++];
		const struct route_addr *a;
		struct str name;

		s->host = &s->route.hosts[t.host];
		a = &s->host->addrs[t.addr];
		STR_ON(&name, s->host_name);
		str_add(&name, s->host->name);
		route_addr_format(a, s->host_ip);
		s->state = SESSION_CONNECTING;
		trace_event(s, "connecting to %s[%s]:%u", s->host_name,
		    s->host_ip, s->host->port);
		s->conn = target_connect(s, a);
		if (s->conn != NULL) {
			s->attempts++;
			session_deadline_set(s, s->connect_ms);
			return true;
		}
		if (!is_local_failure(errno))
			s->attempts++;
		connect_failed_errno(s, errno);
	}
	if (f->any)
		session_fail(s, f->why, f->code, sv_from(f->status),
		    sv_from(f->text));
	else
		session_fail(s, END_ROUTE, 0, SV("4.4.4"),
		    SV("no address to connect to"));
	return false;
}
