/* SPDX-License-Identifier: ISC */
/* The names of blocks: each stands once in its scope. Names ignore case. */
#include <string.h>

#include "common/base/siphash.h"
#include "common/conf/store.h"

#define KEY_MAX 128u /* conf_check_name() allows no more */

/* Names in the index come from the operator's file: no key is needed. */
static const uint64_t hash_key[2] = { 5, 6 };

struct named {
	enum conf_scope scope;
	uint32_t index;
	struct sv name;    /* as written */
};

uint64_t
named_hash(const void *p)
{
	const struct named *n = p;
	char mem[KEY_MAX + 1];
	size_t len = n->name.n < KEY_MAX ? n->name.n : KEY_MAX;

	mem[0] = (char)n->scope;
	for (size_t i = 0; i < len; i++)
		mem[i + 1] = ascii_lower(n->name.p[i]);
	return siphash24(hash_key, mem, len + 1);
}

static bool
named_match(const void *entry, const void *key)
{
	const struct named *a = entry, *b = key;

	return a->scope == b->scope && sv_ieq(a->name, b->name);
}

uint32_t
name_find(const struct conf *c, enum conf_scope scope, struct sv name)
{
	struct named key = { .scope = scope, .name = name };
	const struct named *n = htab_find(&c->names, named_hash(&key),
	    named_match, &key);

	return n == NULL ? STORE_NONE : n->index;
}

static bool
name_add(struct conf *c, enum conf_scope scope, struct sv name,
    uint32_t index)
{
	struct named *n = store_alloc(c, sizeof(*n));

	if (n == NULL)
		return false;
	*n = (struct named){ scope, index, name };
	return htab_insert(&c->names, n) == 0;
}

size_t
blocks_count(const struct conf *c, enum conf_scope scope)
{
	size_t n = 0;

	for (uint32_t i = 0; i < c->nblocks; i++)
		n += c->blocks[i]->scope == scope;
	return n;
}

static bool
has_name(const struct block *b)
{
	if (b->parent != 0 && b->arg.n == 0)
		return false; /* a list in a list */
	return b->scope == SCOPE_VMTA ||
	    scope_infos[b->scope].as != AS_OWN;
}

static struct sv
name_of(const struct conf *c, const struct block *b)
{
	return b->scope == SCOPE_ROLLUP && store_is_rule(c, b) ?
	    STORE_RULES_LIST : b->arg;
}

static bool
is_new(struct conf *c, struct conf_report *rep, const struct block *b)
{
	if (name_find(c, b->scope, name_of(c, b)) == STORE_NONE)
		return true;
	report_error(rep, place_file(c, b->at), b->at.line,
	    "there is a <%s%s%.*s> already", scope_infos[b->scope].tag,
	    b->arg.n > 0 ? " " : "", SV_FMT(b->arg));
	return false;
}

static bool
too_large(struct conf_report *rep)
{
	report_error(rep, SV(""), 0, "the configuration is too large");
	return false;
}

static bool
counts_ok(struct conf_report *rep, const uint32_t *counts)
{
	bool ok = true;

	for (unsigned s = 0; s < SCOPES; s++) {
		const struct scope_info *info = &scope_infos[s];

		if (info->most == 0 || counts[s] <= info->most)
			continue;
		report_error(rep, SV(""), 0, "there are more than %u of <%s>",
		    info->most, info->tag);
		ok = false;
	}
	return ok;
}

bool
names_make(struct conf *c, struct conf_report *rep)
{
	uint32_t counts[SCOPES] = { 0 };
	bool ok = true;

	/* {default} is there without a block. */
	if (!name_add(c, SCOPE_VMTA, SV("{default}"), counts[SCOPE_VMTA]++))
		return too_large(rep);
	for (uint32_t i = 1; i < c->nblocks; i++) {
		struct block *b = c->blocks[i];

		b->index = counts[b->scope]++;
		if (!has_name(b))
			continue;
		if (!is_new(c, rep, b))
			ok = false;
		else if (!name_add(c, b->scope, name_of(c, b),
		    b->index))
			return too_large(rep);
	}
	return counts_ok(rep, counts) && ok;
}
