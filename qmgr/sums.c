/* SPDX-License-Identifier: ISC */
/*
 * show domains, show vmtas: the queues of a domain or VMTA, added up. The names
 * are sorted so that those of one come together; a row is sent when the next
 * one begins. If the largest are to come first, all of them are kept until the
 * last is known.
 */
#include <stdlib.h>
#include <string.h>

#include "common/sys/log.h"
#include "qmgr/control.h"

struct sum {
	char *key;
	uint64_t queues, paused, backoff;
	uint64_t ready, retry, inflight, held, bouncing, kb, conns;
	double arrived, delivered, deferred, failed;
	int64_t oldest_us;
};

struct sums {
	bool by_vmta, largest_first;
	struct sum at_hand;      /* queues 0: none */
	struct sum *kept;
	size_t nkept, size, shown;
};

static struct sv
key_of(const struct sums *s, const struct squeue *sq)
{
	return s->by_vmta ? squeue_vmta(sq) : squeue_domain(sq);
}

void
sums_free(struct client *cl)
{
	struct sums *s = cl->sums;

	cl->sums = NULL;
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->nkept; i++)
		free(s->kept[i].key);
	free(s->kept);
	free(s->at_hand.key);
	free(s);
}

static uint64_t
sum_rcpts(const struct sum *s)
{
	return s->ready + s->retry + s->inflight + s->held + s->bouncing;
}

static json_t *
sum_row(const struct sum *s)
{
	json_t *o = json_object();
	int64_t now = qmgr_now().wall.us;

	json_object_set_new(o, "name", json_sv(sv_from(s->key)));
	json_object_set_new(o, "queues", json_u64(s->queues));
	json_object_set_new(o, "rcp", json_u64(sum_rcpts(s)));
	json_object_set_new(o, "ready", json_u64(s->ready));
	json_object_set_new(o, "retry", json_u64(s->retry));
	json_object_set_new(o, "inflight", json_u64(s->inflight));
	json_object_set_new(o, "hold", json_u64(s->held));
	json_object_set_new(o, "bounce", json_u64(s->bouncing));
	json_object_set_new(o, "kb", json_u64(s->kb));
	json_object_set_new(o, "conn", json_u64(s->conns));
	json_object_set_new(o, "paused", json_u64(s->paused));
	json_object_set_new(o, "backoff", json_u64(s->backoff));
	json_object_set_new(o, "oldest_s", json_integer(s->oldest_us == 0 ?
	    0 : (now - s->oldest_us) / US_PER_SEC));
	json_object_set_new(o, "arrivedPerHour", json_real(s->arrived));
	json_object_set_new(o, "deliveredPerHour", json_real(s->delivered));
	json_object_set_new(o, "deferredPerHour", json_real(s->deferred));
	json_object_set_new(o, "failedPerHour", json_real(s->failed));
	return o;
}

static void
sum_keep(struct sums *s)
{
	if (s->nkept == s->size) {
		s->size = s->size == 0 ? 64 : s->size * 2;
		s->kept = reallocarray(s->kept, s->size, sizeof(*s->kept));
		if (s->kept == NULL)
			fatal("out of memory");
	}
	s->kept[s->nkept++] = s->at_hand;
	s->at_hand.key = NULL;
}

static void
sums_flush(struct client *cl)
{
	struct sums *s = cl->sums;

	if (s->at_hand.queues == 0)
		return;
	cl->count++;
	if (s->largest_first) {
		sum_keep(s);
	} else if (cl->left > 0) {
		cl->left--;
		client_row(cl, sum_row(&s->at_hand));
	}
	free(s->at_hand.key);
	s->at_hand = (struct sum){ .key = NULL };
}

static void
sum_add(struct sum *s, const struct sched_queue_info *i,
    const struct sched_queue_why *why)
{
	s->queues++;
	s->paused += i->paused;
	s->backoff += i->backoff;
	s->ready += i->nready;
	s->retry += i->nretry;
	s->inflight += i->ninflight;
	s->held += i->nheld;
	s->bouncing += i->nbouncing;
	s->kb += i->kb;
	s->conns += i->nsessions;
	s->arrived += why->arrived_per_hour;
	s->delivered += why->delivered_per_hour;
	s->deferred += why->deferred_per_hour;
	s->failed += why->failed_per_hour;
	if (i->oldest_us != 0 &&
	    (s->oldest_us == 0 || i->oldest_us < s->oldest_us))
		s->oldest_us = i->oldest_us;
}

static bool
sums_queue(struct client *cl, struct squeue *sq)
{
	struct sched *sched = cl->q->sched;
	struct sums *s = cl->sums;
	struct sum *sum = &s->at_hand;
	struct sv key = key_of(s, sq);
	struct sched_queue_info i;
	struct sched_queue_why why;

	if (sum->queues > 0 && !sv_ieq(key, sv_from(sum->key)))
		sums_flush(cl);
	if (sum->queues == 0)
		sum->key = sv_dup(key);
	sched_queue_info(sched, qmgr_now(), sq, &i);
	sched_queue_why(sched, qmgr_now(), sq, &why);
	sum_add(sum, &i, &why);
	return true;
}

static void
sums_close(struct client *cl)
{
	const char *what = cl->sums->by_vmta ? "VMTAs" : "domains";
	uint64_t most = cl->sel.maxitems;

	client_end(cl, 0, "%llu of %llu matching %s",
	    (unsigned long long)(cl->count < most ? cl->count : most),
	    (unsigned long long)cl->count, what);
	sums_free(cl);
}

/* ---- the largest first ---- */

static int
sum_cmp_rcpts(const void *a, const void *b)
{
	const struct sum *x = a, *y = b;

	if (sum_rcpts(x) != sum_rcpts(y))
		return sum_rcpts(x) < sum_rcpts(y) ? 1 : -1;
	return strcmp(x->key, y->key);
}

static bool
kept_row(struct client *cl, const char *name)
{
	struct sums *s = cl->sums;

	(void)name;
	client_row(cl, sum_row(&s->kept[s->shown++]));
	return true;
}

static void
kept_show(struct client *cl)
{
	static const struct walk_ops ops = { .name = kept_row,
		.end = sums_close };
	struct sums *s = cl->sums;
	size_t n = cl->sel.maxitems < s->nkept ? (size_t)cl->sel.maxitems :
	    s->nkept;
	char **names = calloc(n + 1, sizeof(*names));

	if (names == NULL)
		fatal("out of memory");
	if (s->nkept > 0)
		qsort(s->kept, s->nkept, sizeof(*s->kept), sum_cmp_rcpts);
	for (size_t i = 0; i < n; i++)
		names[i] = sv_dup(sv_from(s->kept[i].key));
	walk_start(cl, &ops, names, n);
}

static void
sums_end(struct client *cl)
{
	sums_flush(cl);
	if (cl->sums->largest_first)
		kept_show(cl);
	else
		sums_close(cl);
}

/* ---- the commands ---- */

/* By VMTA: "vmta/domain". */
static const char *
vmta_part(const char *name)
{
	const char *slash = strrchr(name, '/');

	return slash == NULL ? name : slash + 1;
}

static int
name_cmp_domain(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int
name_cmp_vmta(const void *a, const void *b)
{
	const char *x = *(char *const *)a, *y = *(char *const *)b;

	return strcmp(vmta_part(x), vmta_part(y));
}

static void
sums_start(struct client *cl, const struct words *w, bool by_vmta,
    bool largest_first)
{
	static const struct walk_ops ops = { .queue = sums_queue,
		.end = sums_end };
	char **names;
	size_t n;

	if (!selector_parse(cl, w, &cl->sel))
		return;
	if (cl->sel.sort_set && cl->sel.sort != SORT_NAME &&
	    cl->sel.sort != SORT_RCPT) {
		client_end(cl, 2, "here --sort is name or rcpt");
		return;
	}
	cl->sums = calloc(1, sizeof(*cl->sums));
	if (cl->sums == NULL)
		fatal("out of memory");
	cl->sums->by_vmta = by_vmta;
	cl->sums->largest_first = cl->sel.sort_set ?
	    cl->sel.sort == SORT_RCPT : largest_first;
	cl->count = 0;
	cl->left = cl->sel.maxitems;
	n = names_collect(cl->q, &cl->sel, &names);
	if (n > 0)
		qsort(names, n, sizeof(*names), by_vmta ? name_cmp_vmta :
		    name_cmp_domain);
	walk_start(cl, &ops, names, n);
}

void
cmd_show_domains(struct client *cl, const struct words *w)
{
	sums_start(cl, w, false, false);
}

void
cmd_show_topdomains(struct client *cl, const struct words *w)
{
	sums_start(cl, w, false, true);
}

void
cmd_show_vmtas(struct client *cl, const struct words *w)
{
	sums_start(cl, w, true, false);
}
