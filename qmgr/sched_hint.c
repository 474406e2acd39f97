/* SPDX-License-Identifier: ISC */
/*
 * "Try again in 15 minutes": how long a reply asks us to wait. A number, or
 * HH:MM:SS, behind one of a few words, and a unit. A reply that says anything
 * else ("at most 20 messages per 60 seconds") has no hint.
 */
#include "qmgr/sched_private.h"

#define HINT_LEAST    (60 * US_PER_SEC)
#define HINT_TRIES    3 /* so many attempts may be earlier than planned */
#define HINT_DIGITS   6
#define US_PER_MINUTE (60 * US_PER_SEC)
#define US_PER_HOUR   (3600 * US_PER_SEC)

/* Letters and digits at the start of v, and what is behind them. */
static struct sv
word_take(struct sv *v)
{
	size_t n = 0;
	struct sv word;

	while (v->n > 0 && !ascii_is_alnum(v->p[0]))
		*v = sv_from_at(*v, 1);
	while (n < v->n && ascii_is_alnum(v->p[n]))
		n++;
	word = sv_head(*v, n);
	*v = sv_from_at(*v, n);
	return word;
}

static bool
is_one_of(struct sv word, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (sv_ieq(word, sv_from(list[i])))
			return true;
	}
	return false;
}

static bool
asks_to_wait(struct sv word)
{
	static const char *const words[] = { "in", "after", "for", "wait",
		"least", "about", "within" };

	return is_one_of(word, words, sizeof(words) / sizeof(words[0]));
}

/* 0: no unit of time. */
static int64_t
unit_us(struct sv word)
{
	static const char *const s[] = { "s", "sec", "secs", "second",
		"seconds" };
	static const char *const m[] = { "m", "min", "mins", "minute",
		"minutes" };
	static const char *const h[] = { "h", "hr", "hrs", "hour", "hours" };

	if (is_one_of(word, s, sizeof(s) / sizeof(s[0])))
		return US_PER_SEC;
	if (is_one_of(word, m, sizeof(m) / sizeof(m[0])))
		return US_PER_MINUTE;
	return is_one_of(word, h, sizeof(h) / sizeof(h[0])) ? US_PER_HOUR : 0;
}

static bool
digits_take(struct sv *v, int64_t *n_r)
{
	size_t n = 0;

	*n_r = 0;
	while (n < v->n && v->p[n] >= '0' && v->p[n] <= '9') {
		*n_r = *n_r * 10 + (v->p[n] - '0');
		if (++n > HINT_DIGITS)
			return false;
	}
	*v = sv_from_at(*v, n);
	return n > 0;
}

/* HH:MM:SS or MM:SS, of which the first part was taken. */
static int64_t
clock_us(struct sv v, int64_t first)
{
	int64_t minutes = 0, seconds = 0;

	v = sv_from_at(v, 1);
	if (!digits_take(&v, &minutes))
		return 0;
	if (v.n == 0 || v.p[0] != ':')
		return first * US_PER_MINUTE + minutes * US_PER_SEC;
	v = sv_from_at(v, 1);
	if (!digits_take(&v, &seconds))
		return 0;
	return first * US_PER_HOUR + minutes * US_PER_MINUTE +
	    seconds * US_PER_SEC;
}

/* The time at the start of v. */
static int64_t
time_us(struct sv v)
{
	int64_t n;

	while (v.n > 0 && (v.p[0] == ' ' || v.p[0] == '\t'))
		v = sv_from_at(v, 1);
	if (!digits_take(&v, &n))
		return 0;
	if (v.n > 0 && v.p[0] == ':')
		return clock_us(v, n);
	return n * unit_us(word_take(&v));
}

int64_t
reply_hint(struct sv text)
{
	while (text.n > 0) {
		int64_t us;

		if (!asks_to_wait(word_take(&text)))
			continue;
		us = time_us(text);
		if (us > 0)
			return us;
	}
	return 0;
}

int64_t
hint_apply(struct sched *s, const struct conf_domain *c, int64_t hint,
    int64_t delay, uint32_t tries, uint64_t key)
{
	int64_t most = c->retry_hint_max_ms * US_PER_MS;

	if (hint <= 0 || most <= 0)
		return delay;
	if (hint < HINT_LEAST)
		hint = HINT_LEAST;
	if (hint > most)
		hint = most;
	/* one that always says "in a minute" is not asked each minute */
	if (hint < delay && tries > HINT_TRIES)
		return delay;
	/* not all of them in that same second */
	return sched_jitter(s, key, hint, hint + hint / 8);
}
