/* SPDX-License-Identifier: ISC */
/* Values that name a block: it must be there. */
#include "common/base/str.h"
#include "common/conf/store.h"

#define NEEDS_MAX 600u /* two names of 128, and tags */

static bool
block_is_there(const struct conf *c, struct sv tag, struct sv name)
{
	enum conf_scope scope = scope_find(tag);

	/* A block that is skipped is taken to be there. */
	if (scope == SCOPES)
		return true;
	/* PowerMTA's own sources, such as {auth}, need no block. */
	if (scope == SCOPE_SOURCE)
		return name.p[0] == '{' || source_node(c, name) != NULL;
	return name_find(c, scope, name) != STORE_NONE;
}

/* Is one of the blocks there? If not, needs says which could be. */
static bool
ref_ok(const struct conf *c, const char *tags, struct sv name,
    struct str *needs)
{
	struct sv rest = sv_from(tags);

	while (rest.p != NULL) {
		struct sv tag = sv_cut(&rest, '|');

		if (sv_starts(tag, SV("="))) {
			if (sv_ieq(sv_from_at(tag, 1), name))
				return true;
			continue;
		}
		if (block_is_there(c, tag, name))
			return true;
		if (str_sv(needs).n > 0)
			str_adds(needs, " or ");
		str_addf(needs, "<%.*s %.*s>", SV_FMT(tag), SV_FMT(name));
	}
	return false;
}

static void
block_refs(const struct conf *c, struct conf_report *rep,
    const struct block *b)
{
	char mem[NEEDS_MAX];
	struct str needs;

	for (const struct setting *s = b->first; s != NULL; s = s->next) {
		if (s->clear || s->value.n == 0 || s->row->arg == NULL ||
		    (s->row->type != CONF_T_NAME &&
		    s->row->type != CONF_T_NAMES))
			continue;
		STR_ON(&needs, mem);
		if (!ref_ok(c, s->row->arg, s->value, &needs))
			report_error(rep, place_file(c, s->at), s->at.line,
			    "%s: there is no %.*s", s->row->name,
			    SV_FMT(str_sv(&needs)));
	}
}

void
refs_check(const struct conf *c, struct conf_report *rep)
{
	for (uint32_t i = 0; i < c->nblocks; i++)
		block_refs(c, rep, c->blocks[i]);
}
