/* SPDX-License-Identifier: ISC */
#include <stdlib.h>
#include <string.h>

#include "common/net/dnspkt.h"

#define HEADER_BYTES 12
#define LABEL_MAX 63
#define WNAME_MAX 255     /* RFC 1035 3.1 */
#define POINTERS_MAX 32   /* in one name; honest packers need one or two */
#define CNAMES_MAX 16     /* looked at in one answer */
#define RRS_SEEN_MAX 8192 /* more do not fit a packet of honest records */

#define FLAG_QR 0x8000u
#define FLAG_OPCODE 0x7800u
#define FLAG_AA 0x0400u
#define FLAG_TC 0x0200u
#define FLAG_RD 0x0100u
#define FLAG_RA 0x0080u
#define FLAG_AD 0x0020u
#define FLAG_RCODE 0x000fu

/* A name without compression, in lower case. */
struct wname {
	unsigned char b[WNAME_MAX];
	size_t n;
};

/* A place in a packet. Sticky: after a failure everything reads as 0. */
struct cursor {
	const unsigned char *p;
	size_t n;
	size_t at;
	bool failed;
};

struct rr {
	struct wname owner;
	uint16_t type, class, rdlen;
	uint32_t ttl;
	size_t rdata; /* offset */
};

struct cname {
	struct wname owner, target;
	uint32_t ttl;
};

/* What one walk over the packet gathers. */
struct walk {
	uint16_t flags;
	struct cname cnames[CNAMES_MAX];
	unsigned ncnames;
	struct wname soa;      /* owner */
	uint32_t soa_ttl_s;
	bool has_soa, has_ns;
	unsigned ext_rcode;
};

static uint16_t
get16(struct cursor *c)
{
	uint16_t v;

	if (c->failed || c->n - c->at < 2) {
		c->failed = true;
		return 0;
	}
	v = (uint16_t)(c->p[c->at] << 8 | c->p[c->at + 1]);
	c->at += 2;
	return v;
}

static uint32_t
get32(struct cursor *c)
{
	uint32_t hi = get16(c);

	return hi << 16 | get16(c);
}

static bool
wname_add_label(struct wname *w, const unsigned char *label, size_t n)
{
	if (n + 1 > sizeof(w->b) - w->n)
		return false;
	w->b[w->n++] = (unsigned char)n;
	for (size_t i = 0; i < n; i++)
		w->b[w->n++] = (unsigned char)ascii_lower((char)label[i]);
	return true;
}

/*
 * Reads the name at c->at, with its compression, and moves behind it. Every
 * pointer must point before the place where the part in hand began: so each
 * jump goes strictly backwards and no loop is possible.
 */
static bool
get_name(struct cursor *c, struct wname *w)
{
	size_t at = c->at, end = 0, part = at;
	unsigned pointers = 0;

	w->n = 0;
	while (!c->failed && at < c->n) {
		unsigned char len = c->p[at];

		if (len == 0) {
			if (!wname_add_label(w, NULL, 0))
				break;
			c->at = end != 0 ? end : at + 1;
			return true;
		}
		if (len <= LABEL_MAX) {
			if (len > c->n - at - 1 ||
			    !wname_add_label(w, c->p + at + 1, len))
				break;
			at += len + 1u;
			continue;
		}
		if (len < 0xc0 || c->n - at < 2 || ++pointers > POINTERS_MAX)
			break;
		if (end == 0)
			end = at + 2;
		at = (size_t)(len & 0x3f) << 8 | c->p[at + 1];
		if (at < HEADER_BYTES || at >= part)
			break;
		part = at;
	}
	c->failed = true;
	return false;
}

static bool
wname_eq(const struct wname *a, const struct wname *b)
{
	return a->n == b->n && memcmp(a->b, b->b, a->n) == 0;
}

/* True if name is top or below it. */
static bool
wname_is_below(const struct wname *name, const struct wname *top)
{
	size_t at = 0;

	while (name->n - at > top->n)
		at += name->b[at] + 1u;
	return name->n - at == top->n &&
	    memcmp(name->b + at, top->b, top->n) == 0;
}

static bool
is_host_char(char c)
{
	return ascii_is_alnum(c) || c == '-' || c == '_';
}

/* False if it is no host name; the root is "". */
static bool
wname_text(const struct wname *w, char out[DNSPKT_NAME_SIZE])
{
	size_t n = 0;

	for (size_t at = 0; w->b[at] != 0; at += w->b[at] + 1u) {
		if (n > 0)
			out[n++] = '.';
		for (size_t i = 1; i <= w->b[at]; i++) {
			char c = (char)w->b[at + i];

			if (!is_host_char(c))
				return false;
			out[n++] = c;
		}
	}
	out[n] = '\0';
	return true;
}

bool
dnspkt_name_parse(struct sv text, char *out)
{
	size_t label = 0, n = 0;

	if (text.n > 1 && text.p[text.n - 1] == '.')
		text.n--;
	if (text.n == 0 || text.n > WNAME_MAX - 2)
		return false;
	for (; n < text.n; n++) {
		char c = text.p[n];

		if (c == '.') {
			if (label == 0)
				return false;
			label = 0;
		} else if (!is_host_char(c) || ++label > LABEL_MAX) {
			return false;
		}
		out[n] = ascii_lower(c);
	}
	out[n] = '\0';
	return label > 0;
}

static void
put16(struct dnspkt_query *q, unsigned v)
{
	q->wire[q->len++] = (unsigned char)(v >> 8);
	q->wire[q->len++] = (unsigned char)v;
}

/* RFC 6891 6.1.2: of the root, with our size for its class */
static void
put_opt(struct dnspkt_query *q)
{
	q->wire[q->len++] = 0;
	put16(q, DNS_OPT);
	put16(q, DNSPKT_EDNS_BYTES);
	put16(q, 0); /* extended code, version */
	put16(q, 0);
	put16(q, 0); /* no options */
}

/* False if it is none. */
static bool
wname_from(const char *name, struct wname *w)
{
	size_t n;

	w->n = 0;
	for (const char *p = name; *p != '\0'; p += n + (p[n] == '.')) {
		n = strcspn(p, ".");
		if (n == 0 || n > LABEL_MAX ||
		    !wname_add_label(w, (const unsigned char *)p, n))
			return false;
	}
	return w->n > 0 && wname_add_label(w, NULL, 0);
}

bool
dnspkt_query_make(const char *name, enum dns_type type, uint16_t id,
    bool edns, struct dnspkt_query *q_r)
{
	struct wname w;

	if (!wname_from(name, &w))
		return false;
	q_r->id = id;
	q_r->type = (uint16_t)type;
	q_r->len = 0;
	put16(q_r, id);
	/* RFC 6840 5.7: we understand the AD bit of the answer. */
	put16(q_r, edns ? FLAG_RD | FLAG_AD : FLAG_RD);
	put16(q_r, 1);
	put16(q_r, 0);
	put16(q_r, 0);
	put16(q_r, edns ? 1 : 0);
	memcpy(q_r->wire + q_r->len, w.b, w.n);
	q_r->len += w.n;
	put16(q_r, (unsigned)type);
	put16(q_r, 1);
	q_r->qlen = q_r->len - HEADER_BYTES;
	if (edns)
		put_opt(q_r);
	return true;
}

/* The question stands in the packet as we sent it, in any case of letters. */
static bool
question_matches(const struct dnspkt_query *q, const unsigned char *p,
    size_t n)
{
	size_t name = q->qlen - 4;

	if (n - HEADER_BYTES < q->qlen)
		return false;
	p += HEADER_BYTES;
	/* Length bytes are below 64 and so not touched by lower case. */
	for (size_t i = 0; i < name; i++) {
		if (ascii_lower((char)p[i]) !=
		    ascii_lower((char)q->wire[HEADER_BYTES + i]))
			return false;
	}
	return memcmp(p + name, q->wire + HEADER_BYTES + name, 4) == 0;
}

/* Reads the fixed part; the cursor then stands at the rdata's start. */
static bool
get_rr(struct cursor *c, struct rr *r)
{
	if (!get_name(c, &r->owner))
		return false;
	r->type = get16(c);
	r->class = get16(c);
	r->ttl = get32(c);
	r->rdlen = get16(c);
	r->rdata = c->at;
	if (c->failed || r->rdlen > c->n - c->at)
		return false;
	/* RFC 2181 8: the sign bit makes it 0. */
	if (r->ttl > INT32_MAX)
		r->ttl = 0;
	return true;
}

/* A name that fills the rdata from skip on exactly. */
static bool
rdata_name(const struct cursor *c, const struct rr *r, size_t skip,
    struct wname *w)
{
	struct cursor in = { .p = c->p, .n = r->rdata + r->rdlen,
		.at = r->rdata + skip };

	if (r->rdlen < skip + 1)
		return false;
	return get_name(&in, w) && in.at == in.n;
}

static bool
soa_read(const struct cursor *c, const struct rr *r, struct walk *w)
{
	struct cursor in = { .p = c->p, .n = r->rdata + r->rdlen,
		.at = r->rdata };
	struct wname unused;
	uint32_t minimum;

	if (!get_name(&in, &unused) || !get_name(&in, &unused))
		return false;
	for (int i = 0; i < 4; i++)
		get32(&in);
	minimum = get32(&in);
	if (in.failed || in.at != in.n)
		return false;
	w->soa = r->owner;
	w->has_soa = true;
	w->soa_ttl_s = r->ttl < minimum ? r->ttl : minimum;
	if (w->soa_ttl_s > DNSPKT_NEG_MAX)
		w->soa_ttl_s = DNSPKT_NEG_MAX;
	return true;
}

static bool
cname_read(const struct cursor *c, const struct rr *r, struct walk *w)
{
	struct cname *cn;

	if (w->ncnames == CNAMES_MAX)
		return false;
	cn = &w->cnames[w->ncnames];
	if (!rdata_name(c, r, 0, &cn->target))
		return false;
	cn->owner = r->owner;
	cn->ttl = r->ttl;
	w->ncnames++;
	return true;
}

enum section {
	ANSWER,
	AUTHORITY,
	ADDITIONAL,
};

static bool
walk_rr(const struct cursor *c, const struct rr *r, enum section s,
    struct walk *w)
{
	if (s == ADDITIONAL) {
		if (r->type == DNS_OPT)
			w->ext_rcode = r->ttl >> 24;
		return true;
	}
	if (r->class != 1)
		return true;
	if (s == ANSWER && r->type == DNS_CNAME)
		return cname_read(c, r, w);
	if (s == AUTHORITY && r->type == DNS_NS)
		w->has_ns = true;
	if (s == AUTHORITY && r->type == DNS_SOA && !w->has_soa)
		return soa_read(c, r, w);
	return true;
}

/* Checks the shape of the whole packet and gathers all but the records that
 * were asked for. c stands behind the question. */
static bool
walk(struct cursor c, const uint16_t counts[3], struct walk *w)
{
	struct rr r;

	for (unsigned s = ANSWER; s <= ADDITIONAL; s++) {
		if (counts[s] > RRS_SEEN_MAX)
			return false;
		for (unsigned i = 0; i < counts[s]; i++) {
			if (!get_rr(&c, &r) ||
			    !walk_rr(&c, &r, (enum section)s, w))
				return false;
			c.at = r.rdata + r.rdlen;
		}
	}
	return true;
}

static void
ttl_lower(struct dnspkt_answer *a, uint32_t ttl)
{
	if (ttl < a->ttl_s)
		a->ttl_s = ttl;
}

static const struct cname *
cname_of(const struct walk *w, const struct wname *name)
{
	for (unsigned i = 0; i < w->ncnames; i++) {
		if (wname_eq(&w->cnames[i].owner, name))
			return &w->cnames[i];
	}
	return NULL;
}

/* From *name along the CNAMEs; false if there are too many of them. */
static bool
follow(const struct walk *w, struct wname *name, struct dnspkt_answer *a)
{
	const struct cname *cn;

	while ((cn = cname_of(w, name)) != NULL) {
		if (++a->hops > DNSPKT_HOPS_MAX)
			return false;
		*name = cn->target;
		ttl_lower(a, cn->ttl);
	}
	return true;
}

/* The place for one more record: when full, that of the worst MX if pref is
 * better; NULL if there is none. */
static struct dnspkt_rr *
rr_place(struct dnspkt_answer *a, uint16_t pref)
{
	struct dnspkt_rr *worst = &a->rrs[0];

	if (a->n < DNSPKT_RRS_MAX)
		return &a->rrs[a->n++];
	for (unsigned i = 1; i < a->n; i++) {
		if (a->rrs[i].pref > worst->pref)
			worst = &a->rrs[i];
	}
	return worst->pref > pref ? worst : NULL;
}

static bool
take_mx(const struct cursor *c, const struct rr *r, struct dnspkt_answer *a)
{
	char text[DNSPKT_NAME_SIZE];
	struct dnspkt_rr *place;
	struct wname w;
	uint16_t pref;

	/* Two bytes of preference and at least the root. */
	if (r->rdlen < 3 || !rdata_name(c, r, 2, &w))
		return false;
	pref = (uint16_t)(c->p[r->rdata] << 8 | c->p[r->rdata + 1]);
	if (!wname_text(&w, text)) {
		a->nbad++;
		return true;
	}
	place = rr_place(a, pref);
	if (place == NULL)
		return true;
	memset(place, 0, sizeof(*place));
	place->pref = pref;
	memcpy(place->name, text, strlen(text) + 1);
	return true;
}

static bool
take_ip(const struct cursor *c, const struct rr *r, size_t want,
    struct dnspkt_answer *a)
{
	struct dnspkt_rr *place;

	if (r->rdlen != want)
		return false;
	place = rr_place(a, 0);
	if (place == NULL)
		return true;
	memset(place, 0, sizeof(*place));
	memcpy(place->ip, c->p + r->rdata, want);
	return true;
}

/* The records of name and type in the answer section; *stray_r: there are
 * records, and none of them is about name. */
static bool
take(struct cursor c, unsigned count, uint16_t type, const struct wname *name,
    struct dnspkt_answer *a, bool *stray_r)
{
	struct rr r;
	bool ok = true;

	*stray_r = count > 0;
	for (unsigned i = 0; ok && i < count; i++) {
		if (!get_rr(&c, &r))
			return false;
		c.at = r.rdata + r.rdlen;
		if (r.class != 1 || !wname_eq(&r.owner, name))
			continue;
		*stray_r = false;
		if (r.type != type)
			continue;
		ttl_lower(a, r.ttl);
		if (type == DNS_MX)
			ok = take_mx(&c, &r, a);
		else
			ok = take_ip(&c, &r, type == DNS_A ? 4 : 16, a);
	}
	return ok;
}

static enum dnspkt_result
broken(struct dnspkt_answer *a, const char *why)
{
	a->why = why;
	return DNSPKT_BROKEN;
}

/* No record of the type: a negative answer, a chain to be followed further,
 * or a server that does not do recursion for us. */
static enum dnspkt_result
conclude_empty(const struct walk *w, const struct wname *name,
    struct dnspkt_answer *a)
{
	bool soa = w->has_soa && wname_is_below(name, &w->soa);

	if (soa) {
		ttl_lower(a, w->soa_ttl_s);
		a->cacheable = true;
		return DNSPKT_ANSWER;
	}
	if (a->rcode == DNS_NOERROR && a->hops > 0) {
		a->open = true;
		return DNSPKT_ANSWER;
	}
	if (a->rcode == DNS_NOERROR && !(w->flags & FLAG_AA) &&
	    (w->has_ns || !(w->flags & FLAG_RA)))
		return broken(a, "a referral instead of an answer");
	ttl_lower(a, 0);
	return DNSPKT_ANSWER;
}

static enum dnspkt_result
conclude(const struct dnspkt_query *q, struct cursor c,
    const uint16_t counts[3], const struct walk *w, struct dnspkt_answer *a)
{
	struct cursor at_name = { .p = q->wire, .n = q->len,
		.at = HEADER_BYTES };
	struct wname name;
	bool stray = false;

	a->ttl_s = DNSPKT_TTL_MAX;
	if (!get_name(&at_name, &name))
		return DNSPKT_IGNORE; /* not a query of ours */
	if (!follow(w, &name, a))
		return broken(a, "a loop or too long a chain of CNAMEs");
	if (!wname_text(&name, a->name) || a->name[0] == '\0')
		return broken(a, "a CNAME to what is not a host name");
	if (a->rcode == DNS_NOERROR &&
	    !take(c, counts[ANSWER], q->type, &name, a, &stray))
		return broken(a, "a malformed record");
	/* a negative answer has no records: this is none, and says nothing */
	if (stray && a->hops == 0)
		return broken(a, "records of another name");
	if (a->n == 0 && a->nbad == 0)
		return conclude_empty(w, &name, a);
	a->cacheable = true;
	return DNSPKT_ANSWER;
}

enum dnspkt_result
dnspkt_answer_parse(const struct dnspkt_query *q, const void *bytes, size_t n,
    bool tcp, struct dnspkt_answer *a_r)
{
	struct cursor c = { .p = bytes, .n = n };
	struct walk w = { 0 };
	uint16_t id, qdcount, counts[3];

	memset(a_r, 0, sizeof(*a_r));
	id = get16(&c);
	w.flags = get16(&c);
	qdcount = get16(&c);
	for (int s = ANSWER; s <= ADDITIONAL; s++)
		counts[s] = get16(&c);
	if (c.failed || id != q->id || !(w.flags & FLAG_QR) ||
	    (w.flags & FLAG_OPCODE) != 0 || qdcount != 1 ||
	    !question_matches(q, bytes, n))
		return DNSPKT_IGNORE;
	a_r->rcode = w.flags & FLAG_RCODE;
	if ((w.flags & FLAG_TC) != 0 && !tcp)
		return DNSPKT_TRUNCATED;
	c.at += q->qlen;
	if (!walk(c, counts, &w))
		return broken(a_r, "a malformed packet");
	a_r->rcode = (uint16_t)(a_r->rcode | w.ext_rcode << 4);
	a_r->ad = (w.flags & FLAG_AD) != 0;
	if (a_r->rcode != DNS_NOERROR && a_r->rcode != DNS_NXDOMAIN)
		return DNSPKT_ANSWER;
	return conclude(q, c, counts, &w, a_r);
}

const char *
dnspkt_type_name(unsigned type)
{
	switch (type) {
	case DNS_A:
		return "A";
	case DNS_CNAME:
		return "CNAME";
	case DNS_MX:
		return "MX";
	case DNS_AAAA:
		return "AAAA";
	default:
		return "?";
	}
}

const char *
dnspkt_rcode_name(unsigned rcode)
{
	switch (rcode) {
	case DNS_NOERROR:
		return "NOERROR";
	case DNS_FORMERR:
		return "FORMERR";
	case DNS_SERVFAIL:
		return "SERVFAIL";
	case DNS_NXDOMAIN:
		return "NXDOMAIN";
	case DNS_NOTIMP:
		return "NOTIMP";
	case DNS_REFUSED:
		return "REFUSED";
	default:
		return "RCODE";
	}
}
