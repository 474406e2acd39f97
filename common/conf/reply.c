/* SPDX-License-Identifier: ISC */
/* The lines of <smtp-pattern-list>. */
#include "common/conf/store.h"

#define T_MAX     (365 * T_DAY)
#define COUNT_MAX 100000u

/* What stands beside the actions; the bits above those. */
enum option {
	OPT_REENABLE = 1 << 16,
	OPT_FOR = 1 << 17,
	OPT_AFTER = 1 << 18
};
#define ACTIONS (OPT_REENABLE - 1u)

const char *
rule_cut_regex(struct sv *v, struct sv *re)
{
	struct sv all = sv_trim(*v);
	size_t n = 1;

	if (all.n < 2 || all.p[0] != '/')
		return "is not a regular expression between slashes";
	for (; n < all.n; n++) {
		if (all.p[n] == '\\')
			n++;
		else if (all.p[n] == '/' && (n + 1 == all.n ||
		    all.p[n + 1] == ' ' || all.p[n + 1] == '\t'))
			break;
	}
	if (n >= all.n)
		return "is not a regular expression between slashes";
	*re = sv_head(all, n + 1);
	*v = sv_trim(sv_from_at(all, n + 1));
	return NULL;
}

/* ---- values of actions ---- */

static const char *
get_time(struct sv v, int64_t *r)
{
	return conf_parse_time(v, T_SEC, T_MAX, r) == NULL ? NULL :
	    "has an action whose value is not a time such as 30m";
}

static const char *
get_defer(struct sv v, struct conf_reply *r)
{
	return get_time(v, &r->defer_ms);
}

static const char *
get_reenable(struct sv v, struct conf_reply *r)
{
	return get_time(v, &r->reenable_after_ms);
}

static const char *
get_for(struct sv v, struct conf_reply *r)
{
	return get_time(v, &r->for_ms);
}

static const char *
get_retry(struct sv v, struct conf_reply *r)
{
	return get_time(v, &r->retry_after_ms);
}

static const char *
get_max_smtp_out(struct sv v, struct conf_reply *r)
{
	uint64_t n;

	if (!sv_to_u64(v, COUNT_MAX, &n) || n == 0)
		return "has a set-max-smtp-out that is not a number of 1 to "
		       "100000";
	r->max_smtp_out = (uint32_t)n;
	return NULL;
}

static const char *
get_max_msg_rate(struct sv v, struct conf_reply *r)
{
	if (conf_parse_rate(v, &r->max_msg_rate) != NULL ||
	    r->max_msg_rate.period_ms == 0)
		return "has a set-max-msg-rate that is not a rate such as "
		       "10/m";
	return NULL;
}

/* "3/1h", "3/h" */
static const char *
get_after(struct sv v, struct conf_reply *r)
{
	static const char why[] = "has an after= that is not a number and a "
				  "time such as 3/1h";
	struct sv num = sv_cut(&v, '/');
	uint64_t n;
	struct conf_rate rate;

	if (!sv_to_u64(num, COUNT_MAX, &n) || n == 0 || v.p == NULL)
		return why;
	r->after_n = (uint32_t)n;
	if (get_time(v, &r->after_ms) == NULL)
		return NULL;
	/* The period alone, as in a rate. */
	if (conf_parse_rate(sv_make(num.p, num.n + 1 + v.n), &rate) != NULL)
		return why;
	r->after_ms = rate.period_ms;
	return NULL;
}

/* ---- actions ---- */

typedef const char *get_fn(struct sv v, struct conf_reply *r);

static const struct action {
	struct sv name;
	uint32_t bit;
	bool bare;       /* may stand without a value */
	get_fn *get;     /* NULL: takes no value */
} actions[] = {
	{ SV("mode=normal"), CONF_ACT_NORMAL, true, NULL },
	{ SV("mode=backoff"), CONF_ACT_BACKOFF, true, NULL },
	{ SV("skip-mx"), CONF_ACT_SKIP_MX, true, NULL },
	{ SV("bounce-queue"), CONF_ACT_BOUNCE_QUEUE, true, NULL },
	{ SV("bounce-rcpt"), CONF_ACT_BOUNCE_RCPT, true, NULL },
	{ SV("disable-source-ip"), CONF_ACT_DISABLE_SOURCE_IP, true, NULL },
	{ SV("defer-queue"), CONF_ACT_DEFER_QUEUE, true, get_defer },
	{ SV("set-max-smtp-out"), CONF_ACT_MAX_SMTP_OUT, false,
	    get_max_smtp_out },
	{ SV("set-max-msg-rate"), CONF_ACT_MAX_MSG_RATE, false,
	    get_max_msg_rate },
	{ SV("retry-after"), CONF_ACT_RETRY_AFTER, false, get_retry },
	{ SV("reenable-after"), OPT_REENABLE, false, get_reenable },
	{ SV("for"), OPT_FOR, false, get_for },
	{ SV("after"), OPT_AFTER, false, get_after },
};

static const char *
parse_action(struct sv v, struct conf_reply *r, uint32_t *seen)
{
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		const struct action *a = &actions[i];
		bool bare = sv_ieq(v, a->name);

		if (!bare && (a->get == NULL || !sv_istarts(v, a->name) ||
		    v.p[a->name.n] != '='))
			continue;
		if (bare && !a->bare)
			return "has an action without its value";
		if ((*seen & a->bit) != 0)
			return "has an action twice";
		*seen |= a->bit;
		return bare ? NULL : a->get(sv_from_at(v, a->name.n + 1), r);
	}
	return "has an action that is none of mode=normal, mode=backoff, "
	       "skip-mx, bounce-queue, bounce-rcpt, disable-source-ip, "
	       "reenable-after=T, defer-queue, defer-queue=T, "
	       "set-max-smtp-out=N, set-max-msg-rate=R, retry-after=T, for=T, "
	       "after=N/T";
}

#define BOTH(a, b) "has both " a " and " b ", which exclude each other"

static const struct {
	uint32_t a, b;
	const char *why;
} conflicts[] = {
	{ CONF_ACT_NORMAL, CONF_ACT_BACKOFF,
	    BOTH("mode=normal", "mode=backoff") },
	{ CONF_ACT_NORMAL, CONF_ACT_MAX_SMTP_OUT,
	    BOTH("mode=normal", "set-max-smtp-out") },
	{ CONF_ACT_NORMAL, CONF_ACT_MAX_MSG_RATE,
	    BOTH("mode=normal", "set-max-msg-rate") },
	{ CONF_ACT_BOUNCE_QUEUE, CONF_ACT_DEFER_QUEUE,
	    BOTH("bounce-queue", "defer-queue") },
	{ CONF_ACT_BOUNCE_QUEUE, CONF_ACT_SKIP_MX,
	    BOTH("bounce-queue", "skip-mx") },
	{ CONF_ACT_BOUNCE_QUEUE, CONF_ACT_BOUNCE_RCPT,
	    BOTH("bounce-queue", "bounce-rcpt") },
	{ CONF_ACT_BOUNCE_QUEUE, CONF_ACT_RETRY_AFTER,
	    BOTH("bounce-queue", "retry-after") },
	{ CONF_ACT_DEFER_QUEUE, CONF_ACT_SKIP_MX,
	    BOTH("defer-queue", "skip-mx") },
	{ CONF_ACT_BOUNCE_RCPT, CONF_ACT_RETRY_AFTER,
	    BOTH("bounce-rcpt", "retry-after") },
};

static const char *
check_together(uint32_t seen)
{
	for (size_t i = 0; i < sizeof(conflicts) / sizeof(conflicts[0]); i++)
		if ((seen & conflicts[i].a) != 0 &&
		    (seen & conflicts[i].b) != 0)
			return conflicts[i].why;
	if ((seen & OPT_REENABLE) != 0 &&
	    (seen & CONF_ACT_DISABLE_SOURCE_IP) == 0)
		return "has reenable-after, but not disable-source-ip";
	if ((seen & OPT_FOR) != 0 && (seen & (CONF_ACT_BACKOFF |
	    CONF_ACT_MAX_SMTP_OUT | CONF_ACT_MAX_MSG_RATE)) == 0)
		return "has for, but neither mode=backoff, set-max-smtp-out "
		       "nor set-max-msg-rate";
	if ((seen & ACTIONS) == 0)
		return "has no action";
	return NULL;
}

const char *
conf_parse_reply(struct sv v, struct conf_reply *r)
{
	struct conf_reply got = { .after_n = 1 };
	const char *why = rule_cut_regex(&v, &got.regex);
	uint32_t seen = 0;

	if (why != NULL)
		return why;
	if (v.n == 0)
		return "has no action";
	while (why == NULL && v.p != NULL)
		why = parse_action(sv_trim(sv_cut(&v, ',')), &got, &seen);
	if (why == NULL)
		why = check_together(seen);
	if (why != NULL)
		return why;
	got.actions = seen & ACTIONS;
	*r = got;
	return NULL;
}

const char *
conf_parse_sample(struct sv v, struct sv *r)
{
	if (v.n < 3 || v.p[0] != '"' || v.p[v.n - 1] != '"')
		return "is not a text in quotes";
	*r = text_unquote(v);
	return NULL;
}

/* ---- samples ---- */

struct maker {
	struct conf *c;
	struct conf_report *rep;
	struct conf_reply *v;
	uint32_t n;
};

#define error_of(m, s, ...) report_error((m)->rep, \
    place_file((m)->c, (s)->at), (s)->at.line, __VA_ARGS__)

/* The text is for the last line and for none before it. */
static void
check_sample(struct maker *m, const struct setting *s)
{
	const struct conf_reply *last;
	struct sv text;
	enum conf_match match;

	if (m->n == 0) {
		error_of(m, s, "sample: there is no reply line before it");
		return;
	}
	if (conf_parse_sample(s->value, &text) != NULL)
		return;
	last = &m->v[m->n - 1];
	for (const struct conf_reply *r = m->v; r < last; r++) {
		if (conf_regex_match(m->c, r->re, text) != CONF_MATCH_YES)
			continue;
		error_of(m, s, "sample: the reply of line %u comes first and "
		    "matches this text", r->line);
		return;
	}
	match = conf_regex_match(m->c, last->re, text);
	if (match == CONF_MATCH_NO)
		error_of(m, s, "sample: the reply of line %u does not match "
		    "this text", last->line);
	else if (match == CONF_MATCH_TOO_HARD)
		error_of(m, s, "sample: the reply of line %u takes too many "
		    "steps to match this text", last->line);
}

static bool
add_reply(struct maker *m, const struct setting *s)
{
	struct conf_reply *r = &m->v[m->n];

	if (conf_parse_reply(s->value, r) != NULL)
		return false;
	r->re = regex_add(m->c, r->regex);
	r->file = place_file(m->c, s->at);
	r->line = s->at.line;
	m->n++;
	return r->re != NULL;
}

static bool
list_make(struct maker *m, const struct block *b, struct conf_reply_list *l)
{
	m->n = 0;
	if (l->reply + l->sample > CONF_RULES_MAX)
		return true; /* was reported */
	m->v = store_alloc(m->c, (l->reply + 1) * sizeof(*m->v));
	if (m->v == NULL)
		return false;
	for (const struct setting *s = b->first; s != NULL; s = s->next) {
		if (s->row->type == CONF_T_SAMPLE)
			check_sample(m, s);
		else if (!add_reply(m, s))
			return false;
	}
	l->v = m->v;
	l->n = m->n;
	return true;
}

bool
replies_make(struct conf *c, struct conf_report *rep)
{
	struct maker m = { .c = c, .rep = rep };
	struct conf_reply_list *lists = c->made[SCOPE_REPLIES].v;

	for (uint32_t i = 1; i < c->nblocks; i++) {
		const struct block *b = c->blocks[i];

		if (b->scope == SCOPE_REPLIES &&
		    !list_make(&m, b, &lists[b->index]))
			return false;
	}
	return true;
}

const struct conf_reply *
conf_reply_find(const struct conf *c, const struct conf_reply_list *l,
    struct sv text)
{
	for (uint32_t i = 0; i < l->n; i++)
		if (conf_regex_match(c, l->v[i].re, text) == CONF_MATCH_YES)
			return &l->v[i];
	return NULL;
}
