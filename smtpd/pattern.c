/* SPDX-License-Identifier: ISC */
/*
 * The <pattern-list> of a client's <source>: asked at RCPT for what can be
 * refused there, and at the end of data for each recipient. What it looks at of
 * a message is a copy of its first bytes, so that it does not matter where the
 * rest has gone by then. An expression that takes too many steps decides
 * nothing: the message is put off.
 */
#include <string.h>

#include "common/sys/log.h"
#include "smtpd/session.h"

/* Lines that look at the message, which is not there at RCPT. */
#define AT_MESSAGE (1u << CONF_PAT_HEADER | 1u << CONF_PAT_BODY | \
    1u << CONF_PAT_SIZE)
#define AT_TEXT    (1u << CONF_PAT_HEADER | 1u << CONF_PAT_BODY)

struct field {
	struct sv name, value;    /* unfolded, trimmed */
};

/* What the lines are asked about. */
struct asked {
	struct session *s;
	struct sv rcpt;
	const struct field *fields;
	uint32_t nfields;
	struct sv body;
	bool too_hard;
};

void
pattern_init(struct session *s)
{
	if (s->src->pattern_list.n > 0)
		s->patterns = conf_pattern_list_find(s->settings->conf,
		    s->src->pattern_list);
}

/* ---- one line ---- */

static bool
regex_matches(struct asked *a, const struct conf_pattern *p, struct sv text)
{
	enum conf_match m = conf_regex_match(a->s->settings->conf, p->re,
	    text);

	if (m == CONF_MATCH_TOO_HARD && !a->too_hard) {
		a->too_hard = true;
		log_warn("%.*s:%u: this expression takes too many steps: mail "
		    "from [%s] is put off", SV_FMT(p->file), p->line,
		    a->s->client_ip);
	}
	return m == CONF_MATCH_YES;
}

static bool
header_matches(struct asked *a, const struct conf_pattern *p)
{
	for (uint32_t i = 0; i < a->nfields; i++) {
		if (sv_ieq(a->fields[i].name, p->header) &&
		    regex_matches(a, p, a->fields[i].value))
			return true;
	}
	return false;
}

static bool
line_matches(struct asked *a, const struct conf_pattern *p)
{
	const struct txn *t = &a->s->txn;

	switch ((enum conf_pattern_what)p->what) {
	case CONF_PAT_HEADER:
		return header_matches(a, p);
	case CONF_PAT_MAIL_FROM:
		return regex_matches(a, p, t->sender);
	case CONF_PAT_RCPT_TO:
		return regex_matches(a, p, a->rcpt);
	case CONF_PAT_BODY:
		return regex_matches(a, p, a->body);
	case CONF_PAT_SIZE:
		return t->dec.bytes > p->size_bytes;
	case CONF_PAT_ANY:
		break;
	}
	return true;
}

/* ---- at RCPT ---- */

enum early {
	EARLY_NONE,      /* no line matches */
	EARLY_LINE,      /* this one does */
	EARLY_LATER      /* that depends on the message */
};

static enum early
early_run(struct asked *a, const struct conf_pattern_list *l,
    const struct conf_pattern **line_r)
{
	for (uint32_t i = 0; i < l->n; i++) {
		const struct conf_pattern *p = &l->v[i];
		enum early e;

		if ((1u << p->what & AT_MESSAGE) != 0)
			return EARLY_LATER;
		if (!line_matches(a, p))
			continue;
		*line_r = p;
		if (p->list == NULL)
			return EARLY_LINE;
		e = early_run(a, p->list, line_r);
		if (e != EARLY_NONE)
			return e;
	}
	return EARLY_NONE;
}

static enum reply
refuse(struct session *s, const struct conf_pattern *p)
{
	s->refusal = p->reject; /* the session holds the configuration */
	return REPLY_PATTERN;
}

enum reply
pattern_rcpt(struct session *s, struct sv rcpt)
{
	struct asked a = { .s = s, .rcpt = rcpt };
	const struct conf_pattern *p;
	enum early e;

	if (s->patterns == NULL || !s->patterns->rejects)
		return NO_REPLY;
	e = early_run(&a, s->patterns, &p);
	if (a.too_hard)
		return REPLY_LOCAL_ERROR;
	return e == EARLY_LINE && p->reject.n > 0 ? refuse(s, p) : NO_REPLY;
}

/* ---- at the end of data ---- */

void
pattern_feed(struct session *s, const void *bytes, size_t n)
{
	struct txn *t = &s->txn;
	size_t room = PATTERN_TEXT - t->ntext;

	if (s->patterns == NULL || (s->patterns->looks & AT_TEXT) == 0 ||
	    room == 0)
		return;
	if (t->text == NULL)
		t->text = arena_alloc(&t->arena, PATTERN_TEXT);
	if (t->text == NULL)
		return; /* pattern_decide() puts it off */
	if (n > room)
		n = room;
	if (n > 0)
		memcpy(t->text + t->ntext, bytes, n);
	t->ntext += n;
}

/* In its own place: a line end goes, the blank behind it stays. */
static struct sv
unfold(char *text, size_t from, size_t n)
{
	size_t to = from;

	for (size_t i = from; i < from + n; i++) {
		if (text[i] != '\r' && text[i] != '\n')
			text[to++] = text[i];
	}
	return sv_trim(sv_make(text + from, to - from));
}

/* False without memory. */
static bool
fields_find(struct asked *a)
{
	struct txn *t = &a->s->txn;
	struct sv rest = sv_make(t->text, t->ntext), name, value;
	struct field *list;
	uint32_t n = 0;

	if (t->text == NULL)
		return (a->s->patterns->looks & AT_TEXT) == 0;
	for (struct sv v = rest; ctl_field_next(&v, &name, &value);)
		n++;
	list = arena_alloc(&t->arena, (n + 1) * sizeof(*list));
	if (list == NULL)
		return false;
	a->fields = list;
	while (a->nfields < n && ctl_field_next(&rest, &name, &value)) {
		list[a->nfields].name = name;
		list[a->nfields++].value = value.n == 0 ? value :
		    unfold(t->text, (size_t)(value.p - t->text), value.n);
	}
	if (sv_starts(rest, SV("\r\n")))
		a->body = sv_from_at(rest, 2);
	return true;
}

/* The recipients of set[0..n) that match go to its end; how many. */
static uint32_t
set_split(struct asked *a, const struct conf_pattern *p, uint32_t *set,
    uint32_t n)
{
	uint32_t left = 0;

	if (p->what != CONF_PAT_RCPT_TO)
		return line_matches(a, p) ? n : 0;
	for (uint32_t end = n; left < end;) {
		uint32_t idx = set[left];

		a->rcpt = a->s->txn.rcpts[idx].addr;
		if (!line_matches(a, p)) {
			left++;
			continue;
		}
		set[left] = set[--end];
		set[end] = idx;
	}
	return n - left;
}

/*
 * Asks the lines in order for the recipients in set[0..n); those that none of
 * them decides on are in front afterwards, and their number is returned. What
 * looks at the message is asked once for all of them.
 */
static uint32_t
list_run(struct asked *a, const struct conf_pattern_list *l, uint32_t *set,
    uint32_t n)
{
	struct txn *t = &a->s->txn;

	for (uint32_t i = 0; i < l->n && n > 0 && !a->too_hard; i++) {
		const struct conf_pattern *p = &l->v[i];
		uint32_t m = set_split(a, p, set, n);

		n -= m;
		if (m > 0 && p->list != NULL) {
			n += list_run(a, p->list, set + n, m);
			continue;
		}
		for (uint32_t k = n; k < n + m; k++)
			t->decided[set[k]] = p;
	}
	return n;
}

enum reply
pattern_decide(struct session *s)
{
	struct asked a = { .s = s };
	struct txn *t = &s->txn;
	uint32_t *set;

	if (s->patterns == NULL)
		return NO_REPLY;
	t->decided = arena_alloc(&t->arena, t->nrcpts * sizeof(*t->decided));
	set = arena_alloc(&t->arena, t->nrcpts * sizeof(*set));
	if (t->decided == NULL || set == NULL || !fields_find(&a))
		return REPLY_LOCAL_ERROR;
	for (uint32_t i = 0; i < t->nrcpts; i++)
		set[i] = i;
	(void)list_run(&a, s->patterns, set, t->nrcpts);
	if (a.too_hard)
		return REPLY_LOCAL_ERROR;
	for (uint32_t i = 0; i < t->nrcpts; i++) {
		if (t->decided[i] != NULL && t->decided[i]->reject.n > 0)
			return refuse(s, t->decided[i]);
	}
	return NO_REPLY;
}
