/* SPDX-License-Identifier: ISC */
/* The text behind the tags of blocks. */
#include "common/conf/store.h"

struct sv
text_word(struct sv *v)
{
	struct sv all = sv_trim(*v);
	size_t n = 0;

	while (n < all.n && all.p[n] != ' ' && all.p[n] != '\t')
		n++;
	*v = sv_trim(sv_from_at(all, n));
	return sv_head(all, n);
}

struct sv
text_unquote(struct sv v)
{
	if (v.n >= 2 && v.p[0] == '"' && v.p[v.n - 1] == '"')
		return sv_from_at(sv_head(v, v.n - 1), 1);
	return v;
}

static const char *
check_domains(struct sv arg)
{
	const char *why;

	if (arg.n == 0)
		return "needs a domain, such as <domain example.org>";
	while (arg.n > 0) {
		struct sv word = text_unquote(text_word(&arg));

		/* With a macro in it, it is checked when expanded. */
		if (sv_find(word, '$') >= 0)
			continue;
		if ((why = conf_check_pattern(word)) != NULL)
			return why;
	}
	return NULL;
}

static const char *
check_source(struct sv arg)
{
	struct conf_cidr cidr;

	if (arg.n == 0)
		return "needs a network or a name, such as <source 10/8>";
	if (sv_find(arg, '/') >= 0 || sv_find(arg, ':') >= 0)
		return conf_parse_cidr(arg, &cidr);
	return conf_check_name(arg);
}

static const char *
check_own_name(struct sv arg)
{
	if (sv_find(arg, '{') >= 0)
		return "is a reserved name: no { or } in names";
	return conf_check_name(arg);
}

static const char *
check_path(struct sv arg)
{
	if (arg.n == 0 || arg.p[0] != '/')
		return "is not an absolute path: start it with /";
	if (arg.n > 4000)
		return "is too long";
	return NULL;
}

const char *
block_arg_check(enum conf_scope scope, enum conf_scope in, struct sv arg)
{
	struct conf_server server;

	switch (scope) {
	case SCOPE_DOMAIN:
		return check_domains(arg);
	case SCOPE_SOURCE:
		return check_source(arg);
	case SCOPE_VMTA:
		return check_own_name(arg);
	case SCOPE_LISTENER:
		return conf_parse_server(arg, 25, &server);
	case SCOPE_SPOOL:
	case SCOPE_ACCT:
		return check_path(arg);
	case SCOPE_ALIASES:
		return arg.n == 0 ? NULL : "is too much: the block has no name";
	case SCOPE_GLOBAL:
		return "cannot be a block";
	default:
		/* A list in a list needs no name. */
		if (arg.n == 0 && in != SCOPE_GLOBAL)
			return NULL;
		if (scope_infos[scope].as == AS_NAMED)
			return check_own_name(arg);
		return arg.n == 0 ? NULL : "is too much: the block has no name";
	}
}

static bool
all_rollups(struct sv arg)
{
	while (arg.n > 0) {
		struct sv word = text_unquote(text_word(&arg));

		if (!sv_iends(word, SV(".rollup")) ||
		    sv_find(word, '*') >= 0 || sv_find(word, '$') >= 0)
			return false;
	}
	return true;
}

const char *
block_rule_check(enum conf_scope scope, enum conf_scope in, struct sv arg)
{
	if (in != SCOPE_GLOBAL)
		return "cannot stand in a block";
	if (scope == SCOPE_REPLIES)
		return sv_starts(arg, SV("{")) ? conf_check_name(arg) :
		    "is not a name in { and }: others are the operator's";
	if (scope == SCOPE_DOMAIN && !all_rollups(arg))
		return "is not a name that ends in .rollup";
	if (scope != SCOPE_DOMAIN && scope != SCOPE_ROLLUP)
		return "cannot stand in receiver rules";
	return block_arg_check(scope, in, arg);
}

bool
block_may_nest(enum conf_scope scope, enum conf_scope parent)
{
	if (scope == SCOPE_GLOBAL)
		return false;
	if (scope == SCOPE_PATTERNS && parent == SCOPE_PATTERNS)
		return true;
	return parent == SCOPE_GLOBAL ||
	    (scope == SCOPE_DOMAIN && (parent == SCOPE_VMTA ||
	    parent == SCOPE_POOL));
}
