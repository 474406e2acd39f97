/* SPDX-License-Identifier: ISC */
/* The lines above the table of `show top`: what there is, and how fast it
 * moves. What does not fit into the width is left out, from the right. */
#include <string.h>

#include "common/base/str.h"
#include "ctl/table.h"
#include "ctl/top.h"
#include "ctl/view.h"

#define RATES_US     (60 * US_PER_SEC)
#define SAMPLE_US    (US_PER_SEC * 11 / 10) /* answers may come faster */
#define LABEL_WIDTH  11

/* ---- rates ---- */

static void
counters_get(const json_t *status, long long count[TOP_COUNTERS])
{
	const json_t *traffic = json_object_get(status, "traffic");

	count[TOP_IN_RCPTS] = num_of(traffic, "in", "rcp");
	count[TOP_IN_MSGS] = num_of(traffic, "in", "msg");
	count[TOP_DELIVERED] = num_of(status, NULL, "delivered");
	count[TOP_DEFERRED] = num_of(status, NULL, "deferred");
	count[TOP_FAILED] = num_of(status, NULL, "failed");
}

/* The daemon has started again, or somebody has reset the counters. */
static bool
went_back(const struct top_sample *a, const struct top_sample *b)
{
	for (int i = 0; i < TOP_COUNTERS; i++) {
		if (b->count[i] < a->count[i])
			return true;
	}
	return false;
}

static void
oldest_drop(struct top_rates *t)
{
	t->n--;
	memmove(t->v, t->v + 1, t->n * sizeof(t->v[0]));
}

void
top_rates_add(struct top_rates *t, struct mono now, const json_t *status)
{
	struct top_sample s = { .at_us = now.us };

	counters_get(status, s.count);
	if (t->n > 0 && went_back(&t->v[t->n - 1], &s))
		t->n = 0;
	/* of several within a second one stands, so that a minute of them
	 * fits */
	if (t->n > 1 && s.at_us - t->v[t->n - 2].at_us < SAMPLE_US)
		t->n--;
	if (t->n == TOP_SAMPLES)
		oldest_drop(t);
	t->v[t->n++] = s;
	while (t->n > 2 && s.at_us - t->v[1].at_us >= RATES_US)
		oldest_drop(t);
}

double
top_rates_span(const struct top_rates *t)
{
	if (t->n < 2)
		return 0;
	return (double)(t->v[t->n - 1].at_us - t->v[0].at_us) / US_PER_SEC;
}

double
top_rate(const struct top_rates *t, enum top_counter c)
{
	double span = top_rates_span(t);

	return span <= 0 ? 0 :
	    (double)(t->v[t->n - 1].count[c] - t->v[0].count[c]) / span;
}

/* ---- lines ---- */

struct line {
	struct str s;
	unsigned width;
	bool full;
};

static void
line_start(struct line *l, char out[TOP_LINE_MAX], unsigned width,
    const char *label)
{
	str_init(&l->s, out, TOP_LINE_MAX);
	l->width = width < TOP_LINE_MAX ? width : TOP_LINE_MAX - 1;
	l->full = false;
	if (label != NULL && l->width > LABEL_WIDTH)
		str_addf(&l->s, "%*s", LABEL_WIDTH, label);
}

/* Whole or not at all. */
static void __attribute__((format(printf, 2, 3)))
line_add(struct line *l, const char *fmt, ...)
{
	char mem[TOP_LINE_MAX], safe[TOP_LINE_MAX];
	struct str s, t;
	va_list ap;

	STR_ON(&s, mem);
	va_start(ap, fmt);
	str_vaddf(&s, fmt, ap);
	va_end(ap);
	STR_ON(&t, safe);
	table_add_safe(&t, str_sv(&s));
	if (l->s.n > 0 && l->s.n + 2 + t.n > l->width)
		l->full = true;
	if (l->full)
		return;
	if (l->s.n > 0)
		str_adds(&l->s, "  ");
	str_add(&l->s, sv_head(str_sv(&t), l->width - l->s.n));
}

/* At the right end, if there is room. */
static void
line_add_right(struct line *l, const struct str *text)
{
	size_t gap;

	if (l->s.n + 2 + text->n > l->width)
		return;
	gap = l->width - l->s.n - text->n;
	str_addf(&l->s, "%*s%s", (int)gap, "", text->p);
}

static void
line_title(struct line *l, const json_t *status)
{
	char now[32], mem[80];
	struct str s;

	line_add(l, "Pinnace %.*s on %.*s, %.*s",
	    SV_FMT(text_of(status, "version")),
	    SV_FMT(text_of(status, "hostName")),
	    SV_FMT(text_of(status, "status")));
	STR_ON(&s, mem);
	str_addf(&s, "%s  up ", local_time(text_of(status, "now"), true, now));
	add_age(&s, num_of(status, NULL, "uptime_s"));
	line_add_right(l, &s);
}

static void
line_totals(struct line *l, const json_t *status)
{
	long long opening = num_of(status, "conn", "smtpOutConnecting");

	line_add(l, "rcpts %lld", num_of(status, "queue", "rcp"));
	line_add(l, "messages %lld", num_of(status, "queue", "msg"));
	line_add(l, "queues %lld", num_of(status, "queue", "dom"));
	line_add(l, "connections %lld (%lld opening)",
	    num_of(status, "conn", "smtpOut"), opening);
	line_add(l, "free %lld MB", num_of(status, "spool", "freeKb") / 1024);
}

static void
line_views(struct line *l, const json_t *status)
{
	static const char *const views[] = { "delivery", "retry", "bounce",
		"hold", "inflight", "submission" };

	for (size_t i = 0; i < sizeof(views) / sizeof(views[0]); i++)
		line_add(l, "%s %lld", views[i],
		    num_of(status, "queue", views[i]));
}

static void
line_rates(struct line *l, const struct top_rates *t)
{
	static const struct {
		const char *name;
		enum top_counter c;
	} v[] = {
		{ "in", TOP_IN_RCPTS }, { "delivered", TOP_DELIVERED },
		{ "deferred", TOP_DEFERRED }, { "failed", TOP_FAILED },
	};
	double span = t == NULL ? 0 : top_rates_span(t);

	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		double r = span > 0 ? top_rate(t, v[i].c) : 0;

		if (span <= 0)
			line_add(l, "%s -", v[i].name);
		else
			line_add(l, "%s %.*f/s", v[i].name,
			    r > 0 && r < 99.95 ? 1 : 0, r);
	}
	if (span <= 0)
		return;
	line_add(l, "(of %.0f s)", span);
	line_add(l, "messages in %.1f/s", top_rate(t, TOP_IN_MSGS));
}

void
top_head_format(const json_t *status, const struct top_rates *t,
    unsigned width, struct top_head *h)
{
	struct line l;

	line_start(&l, h->line[0], width, NULL);
	line_title(&l, status);
	line_start(&l, h->line[1], width, "Queue");
	line_totals(&l, status);
	line_start(&l, h->line[2], width, "Views");
	line_views(&l, status);
	line_start(&l, h->line[3], width, "Last minute");
	line_rates(&l, t);
}
