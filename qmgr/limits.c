/* SPDX-License-Identifier: ISC */
/*
 * show limits: each limit that is in force, by which line of the configuration,
 * what of it is used, and how many queues wait for it. Those that VMTAs share
 * come first, then those of queues and of their sites.
 */
#include <stdlib.h>
#include <string.h>

#include "qmgr/control.h"

/* Of whom the limit at hand is. */
struct limit_at {
	struct client *cl;
	const struct squeue *sq; /* NULL: see its scope */
};

/* "queue", and whose: the kinds of scopes have marks before their names. */
static void
whose_put(json_t *o, const struct sched_limit *l)
{
	static const struct {
		struct sv mark;
		const char *kind;
	} kinds[] = {
		{ { "///", 3 }, "warmup" }, { { "//", 2 }, "pool" },
		{ { "/", 1 }, "vmta" }, { { "=", 1 }, "site" },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (!sv_starts(l->scope, kinds[i].mark))
			continue;
		json_object_set_new(o, "kind", json_string(kinds[i].kind));
		json_object_set_new(o, "of", json_sv(sv_from_at(l->scope,
		    kinds[i].mark.n)));
		return;
	}
	if (l->dest_kind != NULL) {
		json_object_set_new(o, "kind", json_string(l->dest_kind));
		json_object_set_new(o, "of", json_sv(l->dest));
		return;
	}
	json_object_set_new(o, "kind", json_string(l->scope.n == 0 ? "all" :
	    "queue"));
	json_object_set_new(o, "of", json_sv(l->scope));
}

static json_t *
limit_row(const struct limit_at *at, const struct sched_limit *l)
{
	const struct limit_of of = { .scope = l->scope, .setting = l->setting,
		.source = l->source, .dest_kind = l->dest_kind,
		.dest = l->dest };
	json_t *o = json_object();

	whose_put(o, l);
	if (l->vmta.n > 0)
		json_object_set_new(o, "vmta", json_sv(l->vmta));
	json_object_set_new(o, "setting", json_string(l->setting == NULL ?
	    "" : l->setting));
	if (l->setting != NULL)
		rule_put(at->cl->q, at->sq, &of, o);
	if (l->per_hour > 0)
		json_object_set_new(o, "perHour", json_real(l->per_hour));
	if (l->per_hour <= 0 || l->vmta.n > 0) {
		json_object_set_new(o, "used", json_u64(l->used));
		json_object_set_new(o, "most", json_u64(l->cap));
	}
	json_object_set_new(o, "next", json_time(l->next_us));
	json_object_set_new(o, "waiting", json_u64(l->nparked));
	return o;
}

static void
on_limit(void *arg, const struct sched_limit *l)
{
	const struct limit_at *at = arg;
	struct client *cl = at->cl;

	if (cl->sel.waiting && l->nparked == 0)
		return;
	cl->count++;
	if (cl->left == 0)
		return;
	cl->left--;
	client_row(cl, limit_row(at, l));
}

/* A site is told with the first of its queues that are meant. */
static bool
is_first_of_site(const struct client *cl, const struct squeue *sq)
{
	while ((sq = sched_site_prev(sq)) != NULL) {
		if (selector_matches(&cl->sel, sq))
			return false;
	}
	return true;
}

static bool
limits_queue(struct client *cl, struct squeue *sq)
{
	struct limit_at at = { .cl = cl, .sq = sq };
	const struct sched *sched = cl->q->sched;

	sched_queue_limits(sched, qmgr_now(), sq, false, on_limit, &at);
	if (is_first_of_site(cl, sq))
		sched_queue_limits(sched, qmgr_now(), sq, true, on_limit,
		    &at);
	return true;
}

static void
limits_end(struct client *cl)
{
	client_end(cl, 0, "%llu of %llu limits",
	    (unsigned long long)(cl->sel.maxitems - cl->left),
	    (unsigned long long)cl->count);
}

/* Whatever domain is meant, these may be what it waits for. */
static void
on_shared(void *arg, const struct sched_limit *l)
{
	const struct limit_at *at = arg;
	const struct selector *sel = &at->cl->sel;
	struct sv vmta = l->vmta;

	if (vmta.n == 0 && sv_starts(l->scope, SV("/")) &&
	    !sv_starts(l->scope, SV("//")))
		vmta = sv_from_at(l->scope, 1);
	if (sel->vmta.n > 0 && vmta.n > 0 && !glob_matches(sel->vmta, vmta))
		return;
	on_limit(arg, l);
}

static int
name_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void
cmd_show_limits(struct client *cl, const struct words *w)
{
	static const struct walk_ops ops = { .queue = limits_queue,
		.end = limits_end };
	struct limit_at at = { .cl = cl };
	char **names;
	size_t n;

	if (!selector_parse(cl, w, &cl->sel))
		return;
	cl->left = cl->sel.maxitems;
	sched_shared_limits(cl->q->sched, qmgr_now(), on_shared, &at);
	n = names_collect(cl->q, &cl->sel, &names);
	if (n > 0)
		qsort(names, n, sizeof(*names), name_cmp);
	walk_start(cl, &ops, names, n);
}
