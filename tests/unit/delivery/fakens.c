/* SPDX-License-Identifier: ISC */
#include <sys/socket.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bsd/string.h>
#include <event2/event.h>
#include <ldns/ldns.h>

#include "common/sys/conn.h"
#include "tests/unit/delivery/fakens.h"

#define SCRIPTS_MAX 32
#define TCP_MAX 16
#define SEEN_MAX 1000

struct script {
	char name[256];
	char actions[256];
	char *at;
};

struct fakens {
	struct event_base *base;
	int udp, tcp, other;
	struct event *ev_udp, *ev_tcp;
	uint16_t port;
	unsigned nudp, ntcp;
	ldns_rr_list *zone;
	struct script scripts[SCRIPTS_MAX];
	size_t nscripts;
	char tcp_action[32];
	uint16_t ports[SEEN_MAX], ids[SEEN_MAX];
	struct conn *conns[TCP_MAX];
};

static int
sock_at(int type, uint16_t port)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
		.sin_port = htons(port) };
	int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&in, sizeof(in)) != 0 ||
	    (type == SOCK_STREAM && listen(fd, 16) != 0)) {
		close(fd);
		return -1;
	}
	return fd;
}

static uint16_t
sock_port(int fd)
{
	struct sockaddr_in in;
	socklen_t len = sizeof(in);

	getsockname(fd, (struct sockaddr *)&in, &len);
	return ntohs(in.sin_port);
}

/* The next action of the script for name, "answer" without one. */
static void
script_next(struct fakens *ns, const char *name, char *out, size_t size)
{
	strlcpy(out, "answer", size);
	for (size_t i = 0; i < ns->nscripts; i++) {
		struct script *s = &ns->scripts[i];
		size_t n = strcspn(s->at, " ");

		if (strcmp(s->name, name) != 0 || n == 0)
			continue;
		if (s->at[n - 1] == '*') {
			strlcpy(out, s->at, n < size ? n : size);
			return;
		}
		strlcpy(out, s->at, n + 1 < size ? n + 1 : size);
		s->at += n;
		s->at += strspn(s->at, " ");
		return;
	}
}

/* Adds the records of name and type; the number of them. */
static size_t
answer_add(struct fakens *ns, ldns_pkt *pkt, const ldns_rdf *name,
    ldns_rr_type type)
{
	size_t n = 0;

	for (size_t i = 0; i < ldns_rr_list_rr_count(ns->zone); i++) {
		ldns_rr *rr = ldns_rr_list_rr(ns->zone, i);

		if (ldns_rr_get_type(rr) != type ||
		    ldns_dname_compare(ldns_rr_owner(rr), name) != 0)
			continue;
		ldns_pkt_push_rr(pkt, LDNS_SECTION_ANSWER, ldns_rr_clone(rr));
		n++;
	}
	return n;
}

static const ldns_rr *
cname_at(struct fakens *ns, const ldns_rdf *name)
{
	for (size_t i = 0; i < ldns_rr_list_rr_count(ns->zone); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(ns->zone, i);

		if (ldns_rr_get_type(rr) == LDNS_RR_TYPE_CNAME &&
		    ldns_dname_compare(ldns_rr_owner(rr), name) == 0)
			return rr;
	}
	return NULL;
}

static bool
name_exists(struct fakens *ns, const ldns_rdf *name)
{
	for (size_t i = 0; i < ldns_rr_list_rr_count(ns->zone); i++) {
		const ldns_rdf *owner =
		    ldns_rr_owner(ldns_rr_list_rr(ns->zone, i));

		if (ldns_dname_compare(owner, name) == 0 ||
		    ldns_dname_is_subdomain(owner, name))
			return true;
	}
	return false;
}

static void
soa_add(struct fakens *ns, ldns_pkt *pkt, const ldns_rdf *name)
{
	for (size_t i = 0; i < ldns_rr_list_rr_count(ns->zone); i++) {
		ldns_rr *rr = ldns_rr_list_rr(ns->zone, i);

		if (ldns_rr_get_type(rr) != LDNS_RR_TYPE_SOA ||
		    (ldns_dname_compare(ldns_rr_owner(rr), name) != 0 &&
			!ldns_dname_is_subdomain(name, ldns_rr_owner(rr))))
			continue;
		ldns_pkt_push_rr(pkt, LDNS_SECTION_AUTHORITY,
		    ldns_rr_clone(rr));
		return;
	}
}

static void
answer_fill(struct fakens *ns, ldns_pkt *pkt, const ldns_rr *question)
{
	const ldns_rdf *name = ldns_rr_owner(question);
	ldns_rr_type type = ldns_rr_get_type(question);
	const ldns_rr *cn;

	for (int hops = 0; hops < 12; hops++) {
		if (answer_add(ns, pkt, name, type) > 0)
			return;
		cn = cname_at(ns, name);
		if (cn == NULL)
			break;
		ldns_pkt_push_rr(pkt, LDNS_SECTION_ANSWER, ldns_rr_clone(cn));
		name = ldns_rr_rdf(cn, 0);
		if (!name_exists(ns, name) && ldns_pkt_ancount(pkt) > 0 &&
		    cname_at(ns, name) == NULL) {
			soa_add(ns, pkt, name);
			if (ldns_pkt_nscount(pkt) > 0)
				ldns_pkt_set_rcode(pkt, LDNS_RCODE_NXDOMAIN);
			return;
		}
	}
	soa_add(ns, pkt, name);
	if (!name_exists(ns, name))
		ldns_pkt_set_rcode(pkt, LDNS_RCODE_NXDOMAIN);
}

static ldns_pkt *
reply_new(const ldns_pkt *query)
{
	ldns_pkt *pkt = ldns_pkt_new();

	ldns_pkt_set_id(pkt, ldns_pkt_id(query));
	ldns_pkt_set_qr(pkt, true);
	ldns_pkt_set_rd(pkt, true);
	ldns_pkt_set_ra(pkt, true);
	ldns_pkt_push_rr(pkt, LDNS_SECTION_QUESTION,
	    ldns_rr_clone(ldns_rr_list_rr(ldns_pkt_question(query), 0)));
	return pkt;
}

static void
lame_fill(ldns_pkt *pkt)
{
	ldns_rr *rr = NULL;

	ldns_pkt_set_ra(pkt, false);
	ldns_rr_new_frm_str(&rr, "test. 60 IN NS ns.elsewhere.", 0, NULL, NULL);
	ldns_pkt_push_rr(pkt, LDNS_SECTION_AUTHORITY, rr);
}

static void
reply_fill(struct fakens *ns, ldns_pkt *pkt, const ldns_pkt *query,
    const char *action)
{
	bool edns = ldns_pkt_edns_udp_size(query) > 0;

	if (strcmp(action, "servfail") == 0)
		ldns_pkt_set_rcode(pkt, LDNS_RCODE_SERVFAIL);
	else if (strcmp(action, "refused") == 0)
		ldns_pkt_set_rcode(pkt, LDNS_RCODE_REFUSED);
	else if (strcmp(action, "formerr") == 0 ||
	    (strcmp(action, "noedns") == 0 && edns))
		ldns_pkt_set_rcode(pkt, LDNS_RCODE_FORMERR);
	else if (strcmp(action, "lame") == 0)
		lame_fill(pkt);
	else if (strncmp(action, "tc", 2) == 0)
		ldns_pkt_set_tc(pkt, true);
	else
		answer_fill(ns, pkt, ldns_rr_list_rr(ldns_pkt_question(query),
		    0));
	if (strncmp(action, "tc", 2) == 0)
		strlcpy(ns->tcp_action, action + 2, sizeof(ns->tcp_action));
}

static void
udp_reply(int fd, const struct sockaddr_in *to, const uint8_t *p, size_t n)
{
	ck_assert_int_eq(sendto(fd, p, n, 0, (const struct sockaddr *)to,
	    sizeof(*to)), (ssize_t)n);
}

/* Everything that a blind attacker may try. */
static void
spoofs_send(struct fakens *ns, const struct sockaddr_in *to, uint8_t *p,
    size_t n)
{
	udp_reply(ns->other, to, p, n);      /* another port */
	p[0] ^= 1;
	udp_reply(ns->udp, to, p, n);        /* another id */
	p[0] ^= 1;
	p[13] ^= 3;
	udp_reply(ns->udp, to, p, n);        /* another question */
	p[13] ^= 3;
	p[2] ^= 0x80;
	udp_reply(ns->udp, to, p, n);        /* a question itself */
	p[2] ^= 0x80;
	udp_reply(ns->udp, to, p, 11);
	udp_reply(ns->udp, to, p, 0);
}

static void
udp_answer(struct fakens *ns, const ldns_pkt *query,
    const struct sockaddr_in *to)
{
	ldns_rr *question = ldns_rr_list_rr(ldns_pkt_question(query), 0);
	char *name = ldns_rdf2str(ldns_rr_owner(question)), action[32];
	ldns_pkt *pkt = reply_new(query);
	uint8_t *wire = NULL;
	size_t n = 0;

	name[strlen(name) - 1] = '\0';
	script_next(ns, name, action, sizeof(action));
	if (strcmp(action, "drop") != 0) {
		reply_fill(ns, pkt, query, action);
		ck_assert_int_eq(ldns_pkt2wire(&wire, pkt, &n), 0);
		if (strcmp(action, "spoof") == 0)
			spoofs_send(ns, to, wire, n);
		if (strcmp(action, "broken") == 0)
			n--;
		udp_reply(ns->udp, to, wire, n);
	}
	free(wire);
	free(name);
	ldns_pkt_free(pkt);
}

static void
on_udp(evutil_socket_t fd, short what, void *arg)
{
	struct fakens *ns = arg;
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	uint8_t buf[4096];
	ldns_pkt *query;
	ssize_t n;

	(void)what;
	n = recvfrom((int)fd, buf, sizeof(buf), 0, (struct sockaddr *)&from,
	    &len);
	if (n < 0)
		return;
	ck_assert_int_eq(ldns_wire2pkt(&query, buf, (size_t)n), 0);
	if (ns->nudp < SEEN_MAX) {
		ns->ports[ns->nudp] = ntohs(from.sin_port);
		ns->ids[ns->nudp] = ldns_pkt_id(query);
	}
	ns->nudp++;
	udp_answer(ns, query, &from);
	ldns_pkt_free(query);
}

static void
on_tcp_close(struct conn *c, void *arg, int err)
{
	struct fakens *ns = arg;

	(void)err;
	for (int i = 0; i < TCP_MAX; i++) {
		if (ns->conns[i] == c)
			conn_free(&ns->conns[i]);
	}
}

static void
on_tcp_data(struct conn *c, void *arg)
{
	const unsigned char *p = buf_data(conn_in(c));
	struct fakens *ns = arg;
	ldns_pkt *query, *pkt;
	uint8_t *wire = NULL, len[2];
	size_t n = 0, want;

	if (buf_len(conn_in(c)) < 2)
		return;
	want = (size_t)p[0] << 8 | p[1];
	if (buf_len(conn_in(c)) < want + 2)
		return;
	ns->ntcp++;
	ck_assert_int_eq(ldns_wire2pkt(&query, p + 2, want), 0);
	pkt = reply_new(query);
	reply_fill(ns, pkt, query, ns->tcp_action[0] != '\0' ?
	    ns->tcp_action : "answer");
	ck_assert_int_eq(ldns_pkt2wire(&wire, pkt, &n), 0);
	if (strcmp(ns->tcp_action, "wrong") == 0)
		wire[0] ^= 1;
	len[0] = (uint8_t)(n >> 8);
	len[1] = (uint8_t)n;
	ck_assert_int_eq(buf_add(conn_out(c), len, 2), 0);
	ck_assert_int_eq(buf_add(conn_out(c), wire, n), 0);
	buf_consume(conn_in(c), want + 2);
	free(wire);
	ldns_pkt_free(pkt);
	ldns_pkt_free(query);
	if (strcmp(ns->tcp_action, "close") == 0) {
		buf_clear(conn_out(c));
		on_tcp_close(c, ns, 0);
	}
}

static const struct conn_ops tcp_ops = {
	.on_data = on_tcp_data,
	.on_close = on_tcp_close,
};

static void
on_accept(evutil_socket_t fd, short what, void *arg)
{
	struct fakens *ns = arg;
	int client = accept4((int)fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)what;
	if (client < 0)
		return;
	for (int i = 0; i < TCP_MAX; i++) {
		if (ns->conns[i] != NULL)
			continue;
		ns->conns[i] = conn_new(ns->base, client, &tcp_ops, ns, 65537,
		    131072);
		return;
	}
	ck_abort_msg("too many TCP connections");
}

struct fakens *
fakens_new(struct event_base *base)
{
	struct fakens *ns = calloc(1, sizeof(*ns));

	ns->base = base;
	ns->zone = ldns_rr_list_new();
	ns->other = sock_at(SOCK_DGRAM, 0);
	/* Until both have the same port. */
	for (int tries = 0; tries < 100; tries++) {
		ns->udp = sock_at(SOCK_DGRAM, 0);
		ns->port = sock_port(ns->udp);
		ns->tcp = sock_at(SOCK_STREAM, ns->port);
		if (ns->tcp >= 0)
			break;
		close(ns->udp);
	}
	ck_assert_int_ge(ns->tcp, 0);
	ns->ev_udp = event_new(base, ns->udp, EV_READ | EV_PERSIST, on_udp,
	    ns);
	ns->ev_tcp = event_new(base, ns->tcp, EV_READ | EV_PERSIST, on_accept,
	    ns);
	event_add(ns->ev_udp, NULL);
	event_add(ns->ev_tcp, NULL);
	return ns;
}

void
fakens_free(struct fakens **nsp)
{
	struct fakens *ns = *nsp;

	*nsp = NULL;
	if (ns == NULL)
		return;
	for (int i = 0; i < TCP_MAX; i++)
		conn_free(&ns->conns[i]);
	event_free(ns->ev_udp);
	event_free(ns->ev_tcp);
	close(ns->udp);
	close(ns->tcp);
	close(ns->other);
	ldns_rr_list_deep_free(ns->zone);
	free(ns);
}

uint16_t
fakens_port(const struct fakens *ns)
{
	return ns->port;
}

void
fakens_zone(struct fakens *ns, const char *text)
{
	char *copy = strdup(text), *line, *rest = copy;

	while ((line = strsep(&rest, "\n")) != NULL) {
		ldns_rr *rr = NULL;

		if (line[0] == '\0')
			continue;
		if (ldns_rr_new_frm_str(&rr, line, 300, NULL, NULL) != 0)
			ck_abort_msg("bad record: %s", line);
		ldns_rr_list_push_rr(ns->zone, rr);
	}
	free(copy);
}

void
fakens_script(struct fakens *ns, const char *name, const char *actions)
{
	struct script *s = &ns->scripts[ns->nscripts++];

	ck_assert_uint_le(ns->nscripts, SCRIPTS_MAX);
	strlcpy(s->name, name, sizeof(s->name));
	strlcpy(s->actions, actions, sizeof(s->actions));
	s->at = s->actions;
}

unsigned
fakens_udp(const struct fakens *ns)
{
	return ns->nudp;
}

unsigned
fakens_tcp(const struct fakens *ns)
{
	return ns->ntcp;
}

static unsigned
distinct(const uint16_t *list, unsigned n)
{
	unsigned found = 0;

	n = n < SEEN_MAX ? n : SEEN_MAX;
	for (unsigned i = 0; i < n; i++) {
		unsigned k = 0;

		while (list[k] != list[i])
			k++;
		found += k == i;
	}
	return found;
}

unsigned
fakens_ports(const struct fakens *ns)
{
	return distinct(ns->ports, ns->nudp);
}

unsigned
fakens_ids(const struct fakens *ns)
{
	return distinct(ns->ids, ns->nudp);
}
