/* SPDX-License-Identifier: ISC */
#include <string.h>

#include "common/base/msgid.h"
#include "common/conf/value.h"
#include "qmgr/control.h"

#define MAXITEMS_DEFAULT 100

/* Two places to come back to are enough: the last star wins. */
bool
glob_matches(struct sv pattern, struct sv text)
{
	size_t p = 0, t = 0, star = SIZE_MAX, back = 0;

	while (t < text.n) {
		if (p < pattern.n && pattern.p[p] == '*') {
			star = p++;
			back = t;
		} else if (p < pattern.n && ascii_lower(pattern.p[p]) ==
		    ascii_lower(text.p[t])) {
			p++;
			t++;
		} else if (star != SIZE_MAX) {
			p = star + 1;
			t = ++back;
		} else {
			return false;
		}
	}
	while (p < pattern.n && pattern.p[p] == '*')
		p++;
	return p == pattern.n;
}

static void
queue_set(struct selector *s, struct sv name)
{
	ptrdiff_t slash = sv_rfind(name, '/');

	s->given = true;
	if (slash < 0) {
		s->domain = name;
		return;
	}
	s->domain = sv_head(name, (size_t)slash);
	s->vmta = sv_from_at(name, (size_t)slash + 1);
}

static bool
option_value(struct sv word, struct sv name, struct sv *value_r)
{
	if (sv_starts(word, SV("--")))
		word = sv_from_at(word, 2);
	if (!sv_istarts(word, name) || word.n == name.n ||
	    word.p[name.n] != '=')
		return false;
	*value_r = sv_from_at(word, name.n + 1);
	return true;
}

static bool
age_parse(struct sv v, int64_t *ms_r)
{
	return conf_parse_time(v, 0, INT64_MAX / 2, ms_r) == NULL;
}

static bool
mode_parse(struct selector *s, struct sv v)
{
	s->mode_set = true;
	s->backoff = sv_ieq(v, SV("backoff"));
	return s->backoff || sv_ieq(v, SV("normal"));
}

static bool
paused_parse(struct selector *s, struct sv v)
{
	s->paused_set = true;
	s->paused = sv_ieq(v, SV("yes"));
	return s->paused || sv_ieq(v, SV("no"));
}

static bool
connected_parse(struct selector *s, struct sv v)
{
	s->connected_set = true;
	s->connected = sv_ieq(v, SV("yes"));
	return s->connected || sv_ieq(v, SV("no"));
}

static bool
sort_parse(struct selector *s, struct sv v)
{
	static const char *const names[QUEUE_SORTS] = { "rcpt", "name",
		"size", "oldest", "rate", "conn" };

	s->sort_set = true;
	for (int i = 0; i < QUEUE_SORTS; i++) {
		s->sort = (enum queue_sort)i;
		if (sv_ieq(v, sv_from(names[i])))
			return true;
	}
	return false;
}

/* NULL, or what is wrong with it. */
static const char *
word_take(struct selector *s, struct sv w)
{
	struct sv v;

	/* a shell's empty variable must not mean all queues */
	if (w.n == 0 || sv_find(w, '=') == (ptrdiff_t)w.n - 1)
		return "an empty word selects nothing; * is any";
	if (sv_eq(w, SV("--yes")))
		s->yes = true;
	else if (sv_eq(w, SV("--standing")))
		s->standing = true;
	else if (sv_eq(w, SV("--no-trash")))
		s->no_trash = true;
	else if (sv_eq(w, SV("--waiting")))
		s->waiting = true;
	else if (sv_eq(w, SV("--priority")))
		s->priority = true;
	else if (sv_eq(w, SV("--errors")))
		s->errors = true;
	else if (sv_eq(w, SV("--retry-recipients")))
		s->retry_rcpts = true;
	else if (option_value(w, SV("queue"), &v))
		queue_set(s, v);
	else if (option_value(w, SV("domain"), &v))
		s->domain = v, s->given = true;
	else if (option_value(w, SV("vmta"), &v))
		s->vmta = v, s->given = true;
	else if (option_value(w, SV("orig"), &v))
		s->orig = v;
	else if (option_value(w, SV("rcpt"), &v))
		s->rcpt = v;
	else if (option_value(w, SV("jobId"), &v))
		s->job = v, s->given = true;
	else if (option_value(w, SV("envId"), &v))
		s->envid = v, s->given = true;
	else if (option_value(w, SV("reason"), &v))
		s->reason = v;
	else if (option_value(w, SV("match"), &v))
		s->match = v;
	else if (option_value(w, SV("sort"), &v))
		return sort_parse(s, v) ? NULL : "--sort is rcpt, name, size, "
		    "oldest, rate or conn";
	else if (option_value(w, SV("connected"), &v))
		return connected_parse(s, v) ? NULL :
		    "--connected is yes or no";
	else if (option_value(w, SV("paused"), &v))
		return paused_parse(s, v) ? NULL : "--paused is yes or no";
	else if (option_value(w, SV("mode"), &v))
		return mode_parse(s, v) ? NULL :
		    "--mode is normal or backoff";
	else if (option_value(w, SV("maxitems"), &v))
		return sv_to_u64(v, 100000000, &s->maxitems) ? NULL :
		    "--maxitems wants a number";
	else if (option_value(w, SV("older-than"), &v))
		return age_parse(v, &s->older_than_ms) ? NULL :
		    "--older-than wants a time such as 4h";
	else if (option_value(w, SV("for"), &v))
		return age_parse(v, &s->for_ms) && s->for_ms > 0 ? NULL :
		    "--for wants a time such as 4h";
	else if (option_value(w, SV("order"), &v))
		return s->given = sv_to_u64(v, UINT32_MAX, &s->order) &&
		    s->order > 0, s->given ? NULL :
		    "--order wants the number of an order";
	else if (option_value(w, SV("id"), &v))
		return s->given = msgid_parse(v, &s->id), s->given ? NULL :
		    "--id wants a queue ID";
	else if (option_value(w, SV("reenable-after"), &v))
		return conf_parse_time(v, 1, INT64_MAX / 2000,
		    &s->reenable_ms) == NULL ? NULL :
		    "--reenable-after wants a time such as 4h";
	else if (sv_starts(w, SV("-")))
		return "unknown option";
	else
		queue_set(s, w);
	return NULL;
}

/* Whoever narrows down what is to be deleted by these must not find that all
 * of it was. */
static bool
only_shows(const struct selector *s)
{
	return s->match.n > 0 || s->sort_set || s->connected_set ||
	    s->paused_set || s->errors || s->waiting;
}

bool
selector_parse(struct client *cl, const struct words *w,
    struct selector *s_r)
{
	struct selector s = { .maxitems = MAXITEMS_DEFAULT };

	for (unsigned i = 0; i < w->n; i++) {
		const char *why = word_take(&s, w->v[i]);

		if (why != NULL) {
			client_end(cl, 2, "%.*s: %s", SV_FMT(w->v[i]), why);
			return false;
		}
	}
	if (only_shows(&s) && !sv_eq(w->name, SV("show"))) {
		client_end(cl, 2, "--match, --sort, --connected, --paused, "
		    "--errors and --waiting are for show");
		return false;
	}
	if (s.priority && !sv_eq(w->name, SV("list"))) {
		client_end(cl, 2, "--priority is for list");
		return false;
	}
	*s_r = s;
	return true;
}

/* Is part somewhere in text? Case does not matter. */
static bool
has_part(struct sv text, struct sv part)
{
	while (text.n >= part.n) {
		if (sv_istarts(text, part))
			return true;
		text = sv_from_at(text, 1);
	}
	return false;
}

bool
selector_matches(const struct selector *s, const struct squeue *q)
{
	if (s->match.n > 0 && !has_part(squeue_name(q), s->match))
		return false;
	if (s->domain.n > 0 && !glob_matches(s->domain, squeue_domain(q)))
		return false;
	return s->vmta.n == 0 || glob_matches(s->vmta, squeue_vmta(q));
}

bool
selector_reads(const struct selector *s)
{
	return s->orig.n > 0 || s->rcpt.n > 0 || s->job.n > 0 ||
	    s->envid.n > 0;
}

static bool
is_wanted(struct sv glob, struct sv text)
{
	return glob.n == 0 || glob_matches(glob, text);
}

bool
selector_wants(const struct selector *s, const struct envelope *e,
    uint32_t idx)
{
	return is_wanted(s->orig, e->sender) && is_wanted(s->job, e->job) &&
	    is_wanted(s->envid, e->envid) && (s->rcpt.n == 0 ||
	    (idx < e->nrcpts && glob_matches(s->rcpt, e->rcpts[idx].addr)));
}
