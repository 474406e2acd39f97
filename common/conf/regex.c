/* SPDX-License-Identifier: ISC */
/* Regular expressions, compiled once. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <stdlib.h>

#include "common/conf/store.h"

struct conf_regex {
	pcre2_code *code;
	struct conf_regex *next;
};

struct regexes {
	pcre2_match_context *mc;
	pcre2_match_data *md;
	struct conf_regex *first;     /* all, to be freed */
	const struct conf_regex **relay;
	uint32_t nrelay;
};

struct regexes *
regexes_new(void)
{
	struct regexes *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->mc = pcre2_match_context_create(NULL);
	r->md = pcre2_match_data_create(1, NULL);
	if (r->mc == NULL || r->md == NULL) {
		regexes_free(&r);
		return NULL;
	}
	pcre2_set_depth_limit(r->mc, CONF_REGEX_DEPTH_MAX);
	return r;
}

void
regexes_free(struct regexes **rp)
{
	struct regexes *r = *rp;

	*rp = NULL;
	if (r == NULL)
		return;
	for (const struct conf_regex *e = r->first; e != NULL; e = e->next)
		pcre2_code_free(e->code);
	pcre2_match_data_free(r->md);
	pcre2_match_context_free(r->mc);
	free(r);
}

const struct conf_regex *
regex_add(struct conf *c, struct sv text)
{
	struct conf_regex *e = store_alloc(c, sizeof(*e));
	PCRE2_SIZE off;
	int err;

	if (e == NULL || text.n < 2)
		return NULL;
	e->code = pcre2_compile((PCRE2_SPTR)(const void *)(text.p + 1),
	    text.n - 2, PCRE2_CASELESS, &err, &off, NULL);
	if (e->code == NULL)
		return NULL;
	e->next = c->regexes->first;
	c->regexes->first = e;
	return e;
}

static uint32_t
steps_for(size_t n)
{
	uint64_t steps = CONF_REGEX_STEPS_MAX;

	if (n > CONF_REGEX_TEXT)
		steps = steps * CONF_REGEX_TEXT / n;
	return steps < CONF_REGEX_STEPS_MIN ? CONF_REGEX_STEPS_MIN :
	    (uint32_t)steps;
}

enum conf_match
conf_regex_match(const struct conf *c, const struct conf_regex *re,
    struct sv text)
{
	int rc;

	pcre2_set_match_limit(c->regexes->mc, steps_for(text.n));
	rc = pcre2_match(re->code,
	    (PCRE2_SPTR)(const void *)(text.n == 0 ? "" : text.p), text.n, 0,
	    0, c->regexes->md, c->regexes->mc);

	if (rc >= 0)
		return CONF_MATCH_YES;
	return rc == PCRE2_ERROR_NOMATCH ? CONF_MATCH_NO :
					   CONF_MATCH_TOO_HARD;
}

/* ---- relay-address ---- */

bool
relay_regexes_make(struct conf *c)
{
	const struct conf_svs *list = &c->global.relay_address;
	struct regexes *r = c->regexes;

	r->relay = store_alloc(c, (list->n + 1) * sizeof(r->relay[0]));
	if (r->relay == NULL)
		return false;
	for (uint32_t i = 0; i < list->n; i++) {
		if (!sv_starts(list->v[i], SV("/")))
			continue;
		r->relay[r->nrelay] = regex_add(c, list->v[i]);
		if (r->relay[r->nrelay++] == NULL)
			return false;
	}
	return true;
}

bool
relay_regexes_match(const struct conf *c, struct sv text)
{
	const struct regexes *r = c->regexes;

	for (uint32_t i = 0; i < r->nrelay; i++)
		if (conf_regex_match(c, r->relay[i], text) == CONF_MATCH_YES)
			return true;
	return false;
}
