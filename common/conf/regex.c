/* SPDX-License-Identifier: ISC */
/* The regular expressions of relay-address, compiled once. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <stdlib.h>

#include "common/conf/store.h"

/* Strangers choose the text: far above what a sane expression needs. */
#define MATCH_STEPS_MAX 20000u

struct relay_regexes {
	pcre2_match_context *mc;
	pcre2_match_data *md;
	uint32_t n;
	pcre2_code *codes[];
};

static bool
is_regex(struct sv v)
{
	return v.n >= 2 && v.p[0] == '/';
}

static pcre2_code *
compile(struct sv v)
{
	PCRE2_SIZE off;
	int err;

	return pcre2_compile((PCRE2_SPTR)(const void *)(v.p + 1), v.n - 2,
	    PCRE2_CASELESS, &err, &off, NULL);
}

bool
regexes_make(struct conf *c)
{
	const struct conf_svs *list = &c->global.relay_address;
	struct relay_regexes *r = calloc(1, sizeof(*r) +
	    list->n * sizeof(r->codes[0]));

	if (r == NULL)
		return false;
	c->regexes = r;
	r->mc = pcre2_match_context_create(NULL);
	r->md = pcre2_match_data_create(1, NULL);
	if (r->mc == NULL || r->md == NULL)
		return false;
	pcre2_set_match_limit(r->mc, MATCH_STEPS_MAX);
	for (uint32_t i = 0; i < list->n; i++) {
		if (!is_regex(list->v[i]))
			continue;
		r->codes[r->n] = compile(list->v[i]);
		if (r->codes[r->n] == NULL)
			return false;
		r->n++;
	}
	return true;
}

void
regexes_free(struct relay_regexes **rp)
{
	struct relay_regexes *r = *rp;

	*rp = NULL;
	if (r == NULL)
		return;
	for (uint32_t i = 0; i < r->n; i++)
		pcre2_code_free(r->codes[i]);
	pcre2_match_data_free(r->md);
	pcre2_match_context_free(r->mc);
	free(r);
}

bool
regexes_match(const struct relay_regexes *r, struct sv text)
{
	for (uint32_t i = 0; i < r->n; i++)
		if (pcre2_match(r->codes[i],
		    (PCRE2_SPTR)(const void *)text.p, text.n, 0, 0, r->md,
		    r->mc) >= 0)
			return true;
	return false;
}
