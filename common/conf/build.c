/* SPDX-License-Identifier: ISC */
/* From blocks and settings to structs and indexes. */
#include <stdlib.h>

#include "common/base/str.h"
#include "common/conf/store.h"

#define DOMAIN_NODES_MAX 1000000u

struct builder {
	struct conf *c;
	struct conf_report *rep;
	uint32_t nnodes;
	/* of the <domain> being expanded */
	const struct block *block;
	uint32_t owner;           /* as in struct node */
};

#define error_of(b, bl, ...) report_error((b)->rep, \
    place_file((b)->c, (bl)->at), (bl)->at.line, __VA_ARGS__)

static bool
too_large(struct builder *b)
{
	report_error(b->rep, SV(""), 0, "the configuration is too large");
	return false;
}

/* ---- global and spool ---- */

static bool
build_global(struct builder *b)
{
	struct conf *c = b->c;

	conf_global_defaults(&c->global);
	block_apply(c->blocks[0], &c->global);
	if (!block_lists(c, c->blocks[0], &c->global))
		return too_large(b);
	c->hostname = c->global.host_name.n > 0 ? c->global.host_name.v[0] :
						  SV("localhost");
	return true;
}

static void
build_spool(struct builder *b)
{
	struct conf *c = b->c;
	const struct block *first = NULL;

	scope_defaults(SCOPE_SPOOL, &c->spool);
	c->spool.min_free_space_bytes = c->global.spool_min_free_space_bytes;
	for (uint32_t i = 1; i < c->nblocks; i++) {
		const struct block *bl = c->blocks[i];

		if (bl->scope != SCOPE_SPOOL)
			continue;
		if (first != NULL) {
			report_warning(b->rep, place_file(c, bl->at),
			    bl->at.line, "several spools are not implemented: "
			    "the one of line %u is used", first->at.line);
			continue;
		}
		first = bl;
		c->global.spool = bl->arg;
		block_apply(bl, &c->spool);
		c->global.spool_min_free_space_bytes =
		    c->spool.min_free_space_bytes;
	}
}

/* ---- listeners ---- */

static bool
listener_add(struct builder *b, struct sv text, struct sv source,
    struct place at)
{
	struct conf *c = b->c;
	struct conf_listener *l = &c->listeners[c->nlisteners];
	struct conf_server s = { 0 };
	struct str str;
	char ip[46], mem[64];

	*l = (struct conf_listener){ .port = 0 };
	scope_defaults(SCOPE_LISTENER, l);
	(void)conf_parse_server(text, 25, &s);
	l->ip = s.ip;
	l->port = s.port;
	l->source = source;
	STR_ON(&str, mem);
	str_addf(&str, s.ip.family == 6 ? "[%s]:%u" : "%s:%u",
	    route_addr_format(&s.ip, ip), s.port);
	if (!store_sv(c, str_sv(&str), &l->address))
		return too_large(b);
	for (size_t i = 0; i < c->nlisteners; i++) {
		if (!sv_eq(c->listeners[i].address, l->address))
			continue;
		report_error(b->rep, place_file(c, at), at.line,
		    "smtp-listener %.*s stands here for the second time",
		    SV_FMT(l->address));
		return false;
	}
	c->nlisteners++;
	return true;
}

/* "ADDR:PORT [source=NAME]" */
static bool
listener_line(struct builder *b, const struct setting *s)
{
	struct sv rest = s->value, addr = text_word(&rest);

	return listener_add(b, addr, rest.n > 0 ? sv_from_at(rest, 7) : rest,
	    s->at);
}

static bool
listener_block(struct builder *b, const struct block *bl)
{
	if (!listener_add(b, bl->arg, SV(""), bl->at))
		return false;
	block_apply(bl, &b->c->listeners[b->c->nlisteners - 1]);
	return true;
}

static bool
build_listeners(struct builder *b)
{
	struct conf *c = b->c;
	size_t n = blocks_count(c, SCOPE_LISTENER) +
	    c->global.smtp_listener.n + 1;
	const struct conf_row *row = row_find(SCOPE_GLOBAL,
	    SV("smtp-listener"));
	bool ok = true;

	c->listeners = store_alloc(c, n * sizeof(*c->listeners));
	if (c->listeners == NULL)
		return too_large(b);
	for (struct setting *s = c->blocks[0]->first; s != NULL; s = s->next) {
		if (s->row != row)
			continue;
		if (s->clear)
			c->nlisteners = 0;
		else
			ok &= listener_line(b, s);
	}
	for (uint32_t i = 1; i < c->nblocks; i++)
		if (c->blocks[i]->scope == SCOPE_LISTENER)
			ok &= listener_block(b, c->blocks[i]);
	if (ok && c->nlisteners == 0)
		ok = listener_add(b, SV("0.0.0.0:25"), SV(""),
		    (struct place){ STORE_NONE, 0 });
	return ok;
}

/* ---- virtual MTAs ---- */

static bool
vmta_fill(struct builder *b, struct conf_vmta *v, const struct block *bl)
{
	struct conf *c = b->c;

	conf_vmta_defaults(v);
	if (bl != NULL) {
		v->name = bl->arg;
		block_apply(bl, v);
		if (!block_lists(c, bl, v))
			return too_large(b);
	}
	if (v->smtp_source_host.n == 0)
		v->smtp_source_host = c->global.smtp_source_host;
	if (v->host_name.n == 0)
		v->host_name = c->hostname;
	return true;
}

static bool
build_vmtas(struct builder *b)
{
	struct conf *c = b->c;
	size_t n = blocks_count(c, SCOPE_VMTA) + 1;

	c->vmtas = store_alloc(c, n * sizeof(*c->vmtas));
	if (c->vmtas == NULL)
		return too_large(b);
	if (!vmta_fill(b, &c->vmtas[c->nvmtas++], NULL))
		return false;
	for (uint32_t i = 1; i < c->nblocks; i++)
		if (c->blocks[i]->scope == SCOPE_VMTA &&
		    !vmta_fill(b, &c->vmtas[c->nvmtas++], c->blocks[i]))
			return false;
	return true;
}

static bool
build_blocks(struct builder *b)
{
	return (blocks_make(b->c, b->rep) && pools_make(b->c, b->rep)) ||
	    too_large(b);
}

/* ---- domains and sources ---- */

static bool
on_domain(void *arg, struct sv text, bool expanded)
{
	struct builder *b = arg;
	const char *why = conf_check_pattern(text);

	if (why != NULL) {
		error_of(b, b->block, "<domain>: \"%.*s\" %s",
		    SV_FMT(sv_head(text, 80)), why);
		return false;
	}
	if (++b->nnodes > DOMAIN_NODES_MAX ||
	    !domain_node_add(b->c, b->owner, text, b->block, expanded))
		return too_large(b);
	return true;
}

/* Whose <domain> blocks stand in this block. */
static uint32_t
owner_of(const struct conf *c, const struct block *bl)
{
	if (bl->scope == SCOPE_VMTA)
		return bl->index;
	return bl->scope == SCOPE_POOL ? (uint32_t)c->nvmtas + bl->index : 0;
}

static bool
build_domain(struct builder *b, const struct block *bl)
{
	struct sv arg = bl->arg;
	bool ok = true;

	b->block = bl;
	b->owner = store_is_rule(b->c, bl) ? STORE_RULES :
	    owner_of(b->c, b->c->blocks[bl->parent]);
	while (ok && arg.n > 0)
		ok = macro_expand(b->c, b->rep, bl->at,
		    text_unquote(text_word(&arg)), on_domain, b);
	return ok;
}

static bool
build_index(struct builder *b)
{
	struct conf *c = b->c;
	bool ok = true;

	for (uint32_t i = 1; i < c->nblocks; i++) {
		const struct block *bl = c->blocks[i];

		if (bl->scope == SCOPE_DOMAIN)
			ok &= build_domain(b, bl);
		else if (bl->scope == SCOPE_SOURCE && !source_node_add(c, bl))
			return too_large(b);
	}
	nodes_sort(c);
	return ok;
}

/* ---- relay-domain ---- */

struct relay_list {
	struct builder *b;
	struct sv *v;
	uint32_t n, size;
	struct place at;
};

static bool
on_relay_domain(void *arg, struct sv text, bool expanded)
{
	struct relay_list *l = arg;
	const char *why = conf_check_pattern(text);

	(void)expanded;
	if (why != NULL) {
		report_error(l->b->rep, place_file(l->b->c, l->at),
		    l->at.line, "relay-domain: \"%.*s\" %s",
		    SV_FMT(sv_head(text, 80)), why);
		return false;
	}
	if (l->n == l->size) {
		uint32_t size = l->size == 0 ? 16 : l->size * 2;
		struct sv *v = reallocarray(l->v, size, sizeof(*v));

		if (v == NULL)
			return too_large(l->b);
		l->v = v;
		l->size = size;
	}
	return store_sv(l->b->c, text, &l->v[l->n++]) || too_large(l->b);
}

static bool
build_relay(struct builder *b)
{
	struct conf *c = b->c;
	struct conf_svs *list = &c->global.relay_domain;
	struct relay_list l = { .b = b, .at = { STORE_NONE, 0 } };
	struct sv *v;
	bool ok = true;

	for (uint32_t i = 0; ok && i < list->n; i++)
		ok = macro_expand(c, b->rep, l.at, list->v[i],
		    on_relay_domain, &l);
	if (ok && l.n > 0) {
		v = store_alloc(c, l.n * sizeof(*v));
		for (uint32_t i = 0; v != NULL && i < l.n; i++)
			v[i] = l.v[i];
		*list = (struct conf_svs){ v, v == NULL ? 0 : l.n };
		ok = v != NULL || too_large(b);
	}
	free(l.v);
	return ok;
}

/* ---- accounting files ---- */

static bool
build_accts(struct builder *b)
{
	struct conf *c = b->c;
	size_t n = blocks_count(c, SCOPE_ACCT);

	c->accts = store_alloc(c, (n + 1) * sizeof(*c->accts));
	if (c->accts == NULL)
		return too_large(b);
	for (uint32_t i = 1; i < c->nblocks; i++) {
		const struct block *bl = c->blocks[i];
		struct conf_acct *a = &c->accts[c->naccts];

		if (bl->scope != SCOPE_ACCT)
			continue;
		for (size_t j = 0; j < c->naccts; j++) {
			if (!sv_eq(c->accts[j].path, bl->arg))
				continue;
			error_of(b, bl, "there is an <acct-file %.*s> already",
			    SV_FMT(bl->arg));
			return false;
		}
		conf_acct_defaults(a);
		a->path = bl->arg;
		block_apply(bl, a);
		if (!block_lists(c, bl, a))
			return too_large(b);
		c->naccts++;
	}
	return true;
}

/* ---- names that must exist ---- */

static void
check_default_vmta(struct builder *b, const struct block *bl)
{
	for (const struct setting *s = bl->first; s != NULL; s = s->next) {
		if (!sv_eq(sv_from(s->row->name), SV("default-virtual-mta")) ||
		    s->clear || conf_vmta_find(b->c, s->value) != NULL ||
		    conf_pool_find(b->c, s->value) != NULL)
			continue;
		report_warning(b->rep, place_file(b->c, s->at), s->at.line,
		    "default-virtual-mta: there is no <virtual-mta %.*s>: "
		    "messages that need it are refused", SV_FMT(s->value));
	}
}

static void
check_listener_sources(struct builder *b)
{
	struct conf *c = b->c;

	for (size_t i = 0; i < c->nlisteners; i++) {
		const struct conf_listener *l = &c->listeners[i];

		if (l->source.n > 0 && source_node(c, l->source) == NULL)
			report_error(b->rep, SV(""), 0,
			    "smtp-listener %.*s names the source \"%.*s\", "
			    "but there is no <source %.*s>",
			    SV_FMT(l->address), SV_FMT(l->source),
			    SV_FMT(l->source));
	}
}

static void
check_names(struct builder *b)
{
	for (uint32_t i = 1; i < b->c->nblocks; i++)
		if (b->c->blocks[i]->scope == SCOPE_SOURCE)
			check_default_vmta(b, b->c->blocks[i]);
	check_listener_sources(b);
	refs_check(b->c, b->rep);
}

bool
build(struct conf *c, struct conf_report *rep)
{
	struct builder b = { .c = c, .rep = rep };
	bool ok = names_make(c, rep) && build_global(&b) &&
	    macro_check(c, rep);

	if (ok) {
		build_spool(&b);
		ok = build_listeners(&b) && build_vmtas(&b) &&
		    build_blocks(&b) && build_index(&b) &&
		    build_relay(&b) && build_accts(&b);
	}
	if (ok && !(relay_regexes_make(c) && aliases_make(c, rep) &&
	    replies_make(c, rep) &&
	    patterns_make(c, rep) && warmups_make(c, rep)))
		ok = too_large(&b);
	if (ok)
		check_names(&b);
	return rep->nerrors == 0 && ok;
}
