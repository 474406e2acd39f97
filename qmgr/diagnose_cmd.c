/* SPDX-License-Identifier: ISC */
/* The figures for `pinnace diagnose`, taken in slices, and its answer. */
#include <stdlib.h>
#include <string.h>

#include "common/base/str.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "qmgr/control.h"
#include "qmgr/diagnose.h"

#define TEXTS_MAX ((size_t)256 << 20)

/* What was taken so far; names and texts are copies, since a queue may be gone
 * before the end. */
struct figures {
	struct arena texts;
	struct dg_queue *v;
	size_t n, size;
};

void
figures_free(struct client *cl)
{
	struct figures *f = cl->figures;

	cl->figures = NULL;
	if (f == NULL)
		return;
	arena_fini(&f->texts);
	free(f->v);
	free(f);
}

static struct dg_queue *
figures_add(struct figures *f)
{
	if (f->n == f->size) {
		f->size = f->size == 0 ? 256 : f->size * 2;
		f->v = reallocarray(f->v, f->size, sizeof(*f->v));
		if (f->v == NULL) /* GCOVR_EXCL_BR_LINE: memory */
			fatal("out of memory");
	}
	return &f->v[f->n++];
}

static struct sv
text_copy(struct figures *f, struct sv v)
{
	struct sv copy = arena_sv(&f->texts, v);

	return copy.p == NULL ? SV("") : copy;
}

/* "max-msg-rate (/etc/pinnace/pinnace.conf:12)" */
static struct sv
rule_text(struct client *cl, struct figures *f, const struct squeue *sq,
    const struct sched_queue_why *why)
{
	json_t *o = json_object();
	const char *file;
	char mem[512];
	struct str s;

	STR_ON(&s, mem);
	if (why->limited && why->setting != NULL) {
		why_rule_put(cl->q, sq, why, o);
		str_adds(&s, why->setting);
		file = json_string_value(json_object_get(o, "file"));
		if (file != NULL && file[0] != '\0')
			str_addf(&s, " (%s:%lld)", file, (long long)
			    json_integer_value(json_object_get(o, "line")));
	}
	json_decref(o);
	return text_copy(f, str_sv(&s));
}

static bool
figures_take(struct client *cl, struct squeue *sq)
{
	struct sched_now now = qmgr_now();
	struct figures *f = cl->figures;
	struct sched_queue_info i;
	struct sched_queue_why why;
	struct dg_queue *d;

	sched_queue_info(cl->q->sched, now, sq, &i);
	sched_queue_why(cl->q->sched, now, sq, &why);
	if (i.nready + i.nretry + i.ninflight == 0 &&
	    why.delivered_per_hour <= 0)
		return true;
	d = figures_add(f);
	*d = (struct dg_queue){ .name = text_copy(f, i.name),
		.domain = text_copy(f, i.domain),
		.vmta = text_copy(f, i.vmta),
		.error = text_copy(f, i.last_error),
		.rule = rule_text(cl, f, sq, &why),
		.ready = i.nready, .retry = i.nretry,
		.inflight = i.ninflight, .paused = i.paused,
		.seen_ms = why.seen_ms, .arrived = why.arrived_per_hour,
		.delivered = why.delivered_per_hour,
		.deferred = why.deferred_per_hour,
		.failed = why.failed_per_hour };
	if (i.oldest_live_us != 0)
		d->oldest_ms = (now.wall.us - i.oldest_live_us) / US_PER_MS;
	memcpy(d->share, why.share[WINDOW_10M], sizeof(d->share));
	memcpy(d->took_ms, why.took_ms, sizeof(d->took_ms));
	return true;
}

static json_t *
finding_row(const struct dg_finding *f)
{
	char pattern[2] = { f->pattern, '\0' };
	json_t *o = json_object();

	json_object_set_new(o, "pattern", json_string(pattern));
	json_object_set_new(o, "title", json_string(f->title));
	json_object_set_new(o, "subject", json_sv(sv_from(f->subject)));
	json_object_set_new(o, "evidence", json_sv(sv_from(f->evidence)));
	json_object_set_new(o, "command", json_sv(sv_from(f->command)));
	return o;
}

static void
figures_judge(struct client *cl)
{
	struct dg_finding found[DG_FINDINGS_MAX];
	struct qmgr *q = cl->q;
	struct figures *f = cl->figures;
	struct sched_totals t;
	struct dg_input in = { .queues = f->v, .nqueues = f->n,
		.slow_ms = cl->sel.older_than_ms > 0 ? cl->sel.older_than_ms :
		DG_SLOW_MS, .bounce_behind_ms = -1 };
	int64_t unknown_us;
	unsigned n;

	sched_totals(q->sched, &t);
	in.bouncing = t.bouncing;
	if (q->bounce.chan != NULL)
		in.bounce_behind_ms = mono_diff_ms(clock_mono(),
		    q->bounce.moved);
	in.unknown_vmta = mismatch_count(q, &in.unknown_name, &unknown_us);
	in.unknown_ago_ms = (qmgr_now().wall.us - unknown_us) / US_PER_MS;
	n = dg_judge(&in, found);
	for (unsigned i = 0; i < n; i++)
		client_row(cl, finding_row(&found[i]));
	client_end(cl, 0, n == 0 ? "healthy: %zu queues looked at" :
	    "%zu queues looked at", f->n);
	figures_free(cl);
}

static bool
figures_queue(struct client *cl, struct squeue *sq)
{
	return figures_take(cl, sq);
}

void
cmd_diagnose(struct client *cl, const struct words *w)
{
	static const struct walk_ops ops = { .queue = figures_queue,
		.end = figures_judge };
	char **names;
	size_t n;

	if (!selector_parse(cl, w, &cl->sel))
		return;
	cl->figures = calloc(1, sizeof(*cl->figures));
	if (cl->figures == NULL)
		fatal("out of memory");
	arena_init(&cl->figures->texts, TEXTS_MAX);
	n = names_collect(cl->q, &cl->sel, &names);
	walk_start(cl, &ops, names, n);
}
