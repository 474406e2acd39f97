/* SPDX-License-Identifier: ISC */
/*
 * show ips: how each source address of each VMTA has fared within an hour,
 * beside the others of its VMTA: they take turns in the same queues, so that
 * one that is put off more than they are is the reason, not the destinations.
 */
#include <stdlib.h>

#include "common/sys/log.h"
#include "qmgr/control.h"

/* The addresses of one VMTA. */
struct ips {
	struct sched_ip *v;
	size_t n, size;
	uint64_t sum[IP_COUNTS];
};

static uint64_t
attempts(const uint64_t count[IP_COUNTS])
{
	return count[IP_DELIVERED] + count[IP_DEFERRED] + count[IP_FAILED];
}

/* Of all attempts; null without any. */
static json_t *
percent(const uint64_t count[IP_COUNTS], enum sched_ip_count c)
{
	uint64_t all = attempts(count);

	return all == 0 ? json_null() :
	    json_real((double)count[c] * 100 / (double)all);
}

static json_t *
ip_row(const struct sched_ip *i, const uint64_t sum[IP_COUNTS])
{
	static const char *const names[IP_COUNTS] = { "opened",
		"connectFailed", "delivered", "deferred", "failed" };
	json_t *o = json_object();
	uint64_t others[IP_COUNTS];
	char ip[46];

	json_object_set_new(o, "source", json_sv(source_ip_text(&i->ip, ip)));
	json_object_set_new(o, "vmta", json_sv(i->vmta));
	json_object_set_new(o, "configured", json_boolean(i->configured));
	json_object_set_new(o, "conn", json_u64(i->sessions));
	for (int c = 0; c < IP_COUNTS; c++) {
		json_object_set_new(o, names[c], json_u64(i->count[c]));
		others[c] = sum[c] - i->count[c];
	}
	json_object_set_new(o, "deferredPercent", percent(i->count,
	    IP_DEFERRED));
	json_object_set_new(o, "othersDeferredPercent", percent(others,
	    IP_DEFERRED));
	json_object_set_new(o, "failedPercent", percent(i->count, IP_FAILED));
	json_object_set_new(o, "othersFailedPercent", percent(others,
	    IP_FAILED));
	json_object_set_new(o, "disabled", json_boolean(i->disabled));
	json_object_set_new(o, "disabledUntil", json_time(i->until_us));
	json_object_set_new(o, "disabledFor", json_u64(i->disabled_for));
	return o;
}

static void
ips_add(struct ips *all, const struct sched_ip *i)
{
	if (all->n == all->size) {
		all->size = all->size == 0 ? 16 : all->size * 2;
		all->v = reallocarray(all->v, all->size, sizeof(*all->v));
		if (all->v == NULL)
			fatal("out of memory");
	}
	all->v[all->n++] = *i;
	for (int c = 0; c < IP_COUNTS; c++)
		all->sum[c] += i->count[c];
}

static void
ips_flush(struct client *cl, struct ips *all)
{
	for (size_t k = 0; k < all->n; k++) {
		cl->count++;
		if (cl->left == 0)
			continue;
		cl->left--;
		client_row(cl, ip_row(&all->v[k], all->sum));
	}
	all->n = 0;
	for (int c = 0; c < IP_COUNTS; c++)
		all->sum[c] = 0;
}

void
cmd_show_ips(struct client *cl, const struct words *w)
{
	const struct selector *s = &cl->sel;
	struct ips all = { .n = 0 };
	const void *at = NULL;
	struct sched_ip i;

	if (!selector_parse(cl, w, &cl->sel))
		return;
	if (s->domain.n > 0) {
		client_end(cl, 2, "addresses are counted by VMTA: vmta=V");
		return;
	}
	cl->left = s->maxitems;
	while (sched_ip_next(cl->q->sched, qmgr_now(), &at, &i)) {
		if (all.n > 0 && !sv_eq(i.vmta, all.v[0].vmta))
			ips_flush(cl, &all);
		if (s->vmta.n == 0 || glob_matches(s->vmta, i.vmta))
			ips_add(&all, &i);
	}
	ips_flush(cl, &all);
	free(all.v);
	client_end(cl, 0, "%llu of %llu source addresses",
	    (unsigned long long)(s->maxitems - cl->left),
	    (unsigned long long)cl->count);
}
