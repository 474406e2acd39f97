/* SPDX-License-Identifier: ISC */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <bsd/string.h>

#include "common/base/str.h"
#include "common/base/timeval.h"
#include "tests/bench/idset.h"
#include "tests/bench/script.h"

#define WORD_MAX_BYTES 512 /* of one word or quoted text in a rule */

struct rule {
	STAILQ_ENTRY(rule) next;
	enum script_stage stage;
	char glob[WORD_MAX_BYTES]; /* "" matches all */
	bool decides;              /* has a reply, a drop or `accept` */
	struct script_answer answer;
	char enh[16];
	char text[WORD_MAX_BYTES];
	uint64_t first, after, every; /* 0: no such condition */
	double rate;                  /* 1: always */
	int64_t from_us, until_us;    /* until 0: for ever */
	bool overall; /* first and after count all subjects together */
	uint64_t hits;
	struct idset seen;
};

struct script {
	STAILQ_HEAD(, rule) rules;
	uint64_t random;
};

static const char *const stage_names[STAGES] = { "connect", "ehlo", "mail",
	"rcpt", "data", "dot", "rset", "quit" };

struct script *
script_new(uint64_t seed)
{
	struct script *s = calloc(1, sizeof(*s));

	if (s == NULL)
		abort();
	STAILQ_INIT(&s->rules);
	s->random = seed;
	return s;
}

void
script_free(struct script **sp)
{
	struct rule *r;

	if (*sp == NULL)
		return;
	while ((r = STAILQ_FIRST(&(*sp)->rules)) != NULL) {
		STAILQ_REMOVE_HEAD(&(*sp)->rules, next);
		idset_fini(&r->seen);
		free(r);
	}
	free(*sp);
	*sp = NULL;
}

/* splitmix64: short, and the same everywhere. */
static double
next_chance(struct script *s)
{
	uint64_t z = s->random += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return (double)((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}

/* Cuts the next word, or the text between quotes; false at the end. Quotes
 * know \", \\ and \n. */
static bool
next_word(struct sv *rest, char *out, size_t size, bool *quoted_r)
{
	struct str w;

	str_init(&w, out, size);
	*rest = sv_trim(*rest);
	*quoted_r = rest->n > 0 && rest->p[0] == '"';
	if (rest->n == 0 || rest->p[0] == '#')
		return false;
	if (!*quoted_r) {
		while (rest->n > 0 && rest->p[0] != ' ' && rest->p[0] != '\t') {
			str_addc(&w, rest->p[0]);
			*rest = sv_from_at(*rest, 1);
		}
		return true;
	}
	for (*rest = sv_from_at(*rest, 1); rest->n > 0 && rest->p[0] != '"';
	     *rest = sv_from_at(*rest, 1)) {
		if (rest->p[0] == '\\' && rest->n > 1) {
			*rest = sv_from_at(*rest, 1);
			str_addc(&w, rest->p[0] == 'n' ? '\n' : rest->p[0]);
		} else {
			str_addc(&w, rest->p[0]);
		}
	}
	*rest = sv_from_at(*rest, 1);
	return true;
}

/* "200ms", "3s", "2m"; a bare number is seconds. */
static bool
parse_duration(const char *word, int64_t *us_r)
{
	char *end;
	double v = strtod(word, &end);

	if (end == word || v < 0 || v > 1e6)
		return false;
	if (strcmp(end, "ms") == 0)
		v /= 1000;
	else if (strcmp(end, "m") == 0)
		v *= 60;
	else if (strcmp(end, "s") != 0 && *end != '\0')
		return false;
	*us_r = (int64_t)(v * (double)US_PER_SEC);
	return true;
}

static bool
parse_count(const char *word, uint64_t *n_r)
{
	return sv_to_u64(sv_from(word), UINT32_MAX, n_r) && *n_r > 0;
}

static bool
parse_rate(const char *word, double *rate_r)
{
	char *end;

	*rate_r = strtod(word, &end);
	return end != word && *end == '\0' && *rate_r >= 0 && *rate_r <= 1;
}

static void
set_reply(struct rule *r, int code, const char *enh, const char *text)
{
	r->decides = true;
	r->answer.code = code;
	strlcpy(r->enh, enh, sizeof(r->enh));
	strlcpy(r->text, text, sizeof(r->text));
}

/* Words that stand alone; false if this is none of them. */
static bool
parse_plain(struct rule *r, const char *w)
{
	if (strcmp(w, "tempfail") == 0)
		set_reply(r, r->stage == STAGE_CONNECT ? 421 : 451, "4.3.0",
		    "try again later");
	else if (strcmp(w, "reject") == 0)
		set_reply(r, r->stage == STAGE_CONNECT ? 554 : 550, "5.7.1",
		    "refused by the script");
	else if (strcmp(w, "accept") == 0)
		r->decides = true;
	else if (strcmp(w, "overall") == 0)
		r->overall = true;
	else if (strcmp(w, "drop") == 0)
		r->answer.drop = DROP_BEFORE, r->decides = true;
	else if (strcmp(w, "drop-after") == 0)
		r->answer.drop = DROP_AFTER, r->decides = true;
	else
		return false;
	return true;
}

/* Words with an argument: 1 taken, 0 not one of them, -1 bad argument. */
static int
parse_with_arg(struct rule *r, const char *w, const char *arg)
{
	bool ok;

	if (strcmp(w, "delay") == 0)
		ok = parse_duration(arg, &r->answer.delay_us);
	else if (strcmp(w, "dribble") == 0)
		ok = parse_duration(arg, &r->answer.dribble_us);
	else if (strcmp(w, "from") == 0)
		ok = parse_duration(arg, &r->from_us);
	else if (strcmp(w, "until") == 0)
		ok = parse_duration(arg, &r->until_us);
	else if (strcmp(w, "first") == 0)
		ok = parse_count(arg, &r->first);
	else if (strcmp(w, "after") == 0)
		ok = parse_count(arg, &r->after);
	else if (strcmp(w, "every") == 0)
		ok = parse_count(arg, &r->every);
	else if (strcmp(w, "rate") == 0)
		ok = parse_rate(arg, &r->rate);
	else
		return 0;
	return ok ? 1 : -1;
}

static bool
is_code(const char *w)
{
	return strlen(w) == 3 && w[0] >= '2' && w[0] <= '5' &&
	    ascii_is_digit(w[1]) && ascii_is_digit(w[2]);
}

static bool
is_enhanced(const char *w)
{
	return ascii_is_digit(w[0]) && w[1] == '.' && strlen(w) < 12 &&
	    strspn(w, "0123456789.") == strlen(w);
}

static int
parse_words(struct rule *r, struct sv rest, char *err, size_t errsize)
{
	char w[WORD_MAX_BYTES], arg[WORD_MAX_BYTES];
	bool quoted, arg_quoted, first_word = true;
	struct sv ahead;
	int got;

	for (; next_word(&rest, w, sizeof(w), &quoted); first_word = false) {
		ahead = rest;
		if (!next_word(&ahead, arg, sizeof(arg), &arg_quoted))
			arg[0] = '\0';
		if (quoted) {
			strlcpy(r->text, w, sizeof(r->text));
		} else if (first_word && strpbrk(w, "@*?") != NULL) {
			strlcpy(r->glob, w, sizeof(r->glob));
		} else if (is_code(w)) {
			set_reply(r, (w[0] - '0') * 100 + (w[1] - '0') * 10 +
			    w[2] - '0', "", "by the script");
		} else if (is_enhanced(w)) {
			strlcpy(r->enh, w, sizeof(r->enh));
		} else if (!parse_plain(r, w)) {
			got = parse_with_arg(r, w, arg);
			if (got <= 0) {
				snprintf(err, errsize, got < 0 ?
				    "\"%.40s\" wants another argument" :
				    "unknown word \"%.40s\"", w);
				return -1;
			}
			rest = ahead;
		}
	}
	return 0;
}

int
script_add(struct script *s, struct sv line, char *err, size_t errsize)
{
	char w[WORD_MAX_BYTES];
	struct rule *r;
	bool quoted;
	int stage;

	if (!next_word(&line, w, sizeof(w), &quoted))
		return 0;
	for (stage = 0; stage < STAGES; stage++)
		if (strcmp(w, stage_names[stage]) == 0)
			break;
	if (stage == STAGES) {
		snprintf(err, errsize, "unknown stage \"%.40s\"", w);
		return -1;
	}
	r = calloc(1, sizeof(*r));
	if (r == NULL)
		abort();
	r->stage = (enum script_stage)stage;
	r->rate = 1;
	idset_init(&r->seen);
	if (parse_words(r, line, err, errsize) != 0) {
		free(r);
		return -1;
	}
	r->answer.enh = r->enh;
	r->answer.text = r->text;
	STAILQ_INSERT_TAIL(&s->rules, r, next);
	return 0;
}

int
script_load(struct script *s, const char *path, char *err, size_t errsize)
{
	FILE *f = fopen(path, "re");
	char *line = NULL, why[200];
	size_t cap = 0, number = 0;
	ssize_t n;
	int rv = 0;

	if (f == NULL) {
		snprintf(err, errsize, "%s: cannot be opened", path);
		return -1;
	}
	while (rv == 0 && (n = getline(&line, &cap, f)) > 0) {
		number++;
		while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
			n--;
		rv = script_add(s, sv_make(line, (size_t)n), why, sizeof(why));
	}
	if (rv != 0)
		snprintf(err, errsize, "%s:%zu: %s", path, number, why);
	free(line);
	fclose(f);
	return rv;
}

/* Classic backtracking over the last star; ASCII case does not matter. */
static bool
glob_matches(const char *g, const char *t)
{
	const char *star = NULL, *back = NULL;

	while (*t != '\0') {
		if (*g == '*') {
			star = g++;
			back = t;
		} else if (*g == '?' || ascii_lower(*g) == ascii_lower(*t)) {
			g++;
			t++;
		} else if (star != NULL) {
			g = star + 1;
			t = ++back;
		} else {
			return false;
		}
	}
	while (*g == '*')
		g++;
	return *g == '\0';
}

/* The first subject that the rule's glob matches, or NULL. */
static const char *
matching_subject(const struct rule *r, const char *p, size_t n)
{
	if (r->glob[0] == '\0')
		return n > 0 ? p : "";
	for (; n > 0; n--, p += strlen(p) + 1)
		if (glob_matches(r->glob, p))
			return p;
	return NULL;
}

static bool
conditions_hold(struct script *s, struct rule *r, const char *subject,
    int64_t elapsed_us)
{
	uint64_t nth;

	if (elapsed_us < r->from_us)
		return false;
	if (r->until_us != 0 && elapsed_us >= r->until_us)
		return false;
	r->hits++;
	if (r->every != 0 && r->hits % r->every != 0)
		return false;
	if (r->first != 0 || r->after != 0) {
		nth = r->overall ? r->hits : idset_add(&r->seen,
		    idset_hash(1, sv_from(subject)));
		if (r->first != 0 && nth > r->after + r->first)
			return false;
		if (nth <= r->after)
			return false;
	}
	return r->rate >= 1 || next_chance(s) < r->rate;
}

void
script_ask(struct script *s, enum script_stage stage, const char *p,
    size_t nsubjects, int64_t elapsed_us, struct script_answer *answer_r)
{
	int64_t delay = 0, dribble = 0;
	const char *subject;
	struct rule *r;

	*answer_r = (struct script_answer){ .enh = "", .text = "" };
	STAILQ_FOREACH(r, &s->rules, next) {
		if (r->stage != stage)
			continue;
		subject = matching_subject(r, p, nsubjects);
		if (subject == NULL ||
		    !conditions_hold(s, r, subject, elapsed_us))
			continue;
		delay += r->answer.delay_us;
		if (r->answer.dribble_us > dribble)
			dribble = r->answer.dribble_us;
		if (r->decides) {
			*answer_r = r->answer;
			break;
		}
	}
	answer_r->delay_us = delay;
	answer_r->dribble_us = dribble;
}
