/* SPDX-License-Identifier: ISC */
/*
 * show jobs: the recipients of each job, added up. Nothing in memory knows a
 * job: the envelope of each message is read, in the slices of a walk over all
 * recipients, then a second walk shows the rows. Jobs are named by whoever
 * submits: so many are told apart, and the table's key is secret.
 */
#include <stdlib.h>
#include <string.h>

#include <bsd/stdlib.h>

#include "common/base/htab.h"
#include "common/base/siphash.h"
#include "common/base/str.h"
#include "common/sys/log.h"
#include "qmgr/control.h"

#define JOBS_MAX 100000u /* some 20 MB */

struct job {
	uint64_t hash;
	char *name;
	uint64_t count[SR_STATES], bytes;
	int64_t oldest_us;
};

struct jobs {
	uint64_t key[2];
	struct htab table;
	struct job **v;
	size_t n, size, shown;
	uint64_t without, beyond, unreadable; /* recipients: of no job, of one
	                                       * too many, of who knows */
	/* the message at hand */
	uint64_t id;
	const struct squeue *queue;
	struct job *job;                 /* NULL: see why */
	uint64_t *why;
};

static uint64_t
job_hash(const void *entry)
{
	return ((const struct job *)entry)->hash;
}

static bool
job_match(const void *entry, const void *key)
{
	return strcmp(((const struct job *)entry)->name, key) == 0;
}

void
jobs_free(struct client *cl)
{
	struct jobs *all = cl->jobs;

	cl->jobs = NULL;
	if (all == NULL)
		return;
	for (size_t i = 0; i < all->n; i++) {
		free(all->v[i]->name);
		free(all->v[i]);
	}
	free(all->v);
	htab_fini(&all->table);
	free(all);
}

/* ---- counting ---- */

/* Takes the name. */
static struct job *
job_new(struct jobs *all, char *name, uint64_t hash)
{
	struct job *j = calloc(1, sizeof(*j));

	if (j == NULL)
		fatal("out of memory");
	j->name = name;
	j->hash = hash;
	if (all->n == all->size) {
		all->size = all->size == 0 ? 64 : all->size * 2;
		all->v = reallocarray(all->v, all->size, sizeof(*all->v));
		if (all->v == NULL)
			fatal("out of memory");
	}
	if (htab_insert(&all->table, j) != 0)
		fatal("out of memory");
	all->v[all->n++] = j;
	return j;
}

/* NULL: one too many. */
static struct job *
job_get(struct jobs *all, struct sv name)
{
	uint64_t hash = siphash24(all->key, name.p, name.n);
	char *text = sv_dup(name);
	struct job *j = htab_find(&all->table, hash, job_match, text);

	if (j != NULL || all->n == JOBS_MAX) {
		free(text);
		return j;
	}
	return job_new(all, text, hash);
}

static void
message_begin(struct client *cl, const struct smsg *m)
{
	struct jobs *all = cl->jobs;
	struct envelope e;

	all->job = NULL;
	if (!envelope_read(cl->q, m, &e)) {
		all->why = &all->unreadable;
	} else if (e.job.n == 0 || (cl->sel.job.n > 0 &&
	    !glob_matches(cl->sel.job, e.job))) {
		all->why = &all->without;
	} else {
		all->why = &all->beyond;
		all->job = job_get(all, e.job);
	}
}

/* A message counts once in each of its queues, as in show queues. */
static bool
jobs_rcpt(struct client *cl, struct smsg *m, uint32_t idx)
{
	const struct squeue *sq = smsg_rcpt_queue(m, idx);
	struct jobs *all = cl->jobs;
	struct sched_msg info;
	struct job *j;

	smsg_info(m, &info);
	if (all->queue == NULL || all->id != info.id)
		message_begin(cl, m);
	j = all->job;
	if (j == NULL) {
		++*all->why;
	} else {
		j->count[smsg_rcpt_state(m, idx)]++;
		if (all->queue != sq || all->id != info.id)
			j->bytes += info.body_len;
		if (j->oldest_us == 0 || info.arrival_us < j->oldest_us)
			j->oldest_us = info.arrival_us;
	}
	all->id = info.id;
	all->queue = sq;
	return true;
}

/* ---- showing ---- */

static uint64_t
job_rcpts(const struct job *j)
{
	uint64_t n = 0;

	for (int i = 0; i < SR_DONE; i++)
		n += j->count[i];
	return n;
}

static int
cmp_name(const void *a, const void *b)
{
	return strcmp((*(struct job *const *)a)->name,
	    (*(struct job *const *)b)->name);
}

static int
cmp_rcpts(const void *a, const void *b)
{
	uint64_t x = job_rcpts(*(struct job *const *)a);
	uint64_t y = job_rcpts(*(struct job *const *)b);

	return x < y ? 1 : x > y ? -1 : cmp_name(a, b);
}

static int
cmp_size(const void *a, const void *b)
{
	uint64_t x = (*(struct job *const *)a)->bytes;
	uint64_t y = (*(struct job *const *)b)->bytes;

	return x < y ? 1 : x > y ? -1 : cmp_name(a, b);
}

static int
cmp_oldest(const void *a, const void *b)
{
	int64_t x = (*(struct job *const *)a)->oldest_us;
	int64_t y = (*(struct job *const *)b)->oldest_us;

	return x > y ? 1 : x < y ? -1 : cmp_name(a, b);
}

static int (*const compares[QUEUE_SORTS])(const void *a, const void *b) = {
	[SORT_RCPT] = cmp_rcpts, [SORT_NAME] = cmp_name,
	[SORT_SIZE] = cmp_size, [SORT_OLDEST] = cmp_oldest };

static bool
job_row(struct client *cl, const char *name)
{
	const struct job *j = cl->jobs->v[cl->jobs->shown++];
	json_t *o = json_object();
	uint32_t order;

	(void)name;
	json_object_set_new(o, "job", json_sv(sv_from(j->name)));
	json_object_set_new(o, "rcp", json_u64(job_rcpts(j)));
	for (int i = 0; i < SR_TRASHED; i++)
		json_object_set_new(o, rcpt_state_name((enum srcpt_state)i),
		    json_u64(j->count[i]));
	json_object_set_new(o, "kb", json_u64((j->bytes + 1023) / 1024));
	json_object_set_new(o, "oldest_s", json_integer(
	    (qmgr_now().wall.us - j->oldest_us) / US_PER_SEC));
	json_object_set_new(o, "paused", json_boolean(standing_of_job(cl->q,
	    sv_from(j->name), &order)));
	client_row(cl, o);
	return true;
}

static void
rest_add(struct str *s, uint64_t n, const char *what)
{
	if (n > 0)
		str_addf(s, "; %llu recipients %s", (unsigned long long)n,
		    what);
}

static void
rows_end(struct client *cl)
{
	const struct jobs *all = cl->jobs;
	char mem[256];
	struct str s;

	STR_ON(&s, mem);
	str_addf(&s, "%zu of %zu jobs", all->shown, all->n);
	rest_add(&s, all->without, cl->sel.job.n > 0 ? "of others" :
	    "of no job");
	rest_add(&s, all->beyond, "of more jobs");
	rest_add(&s, all->unreadable, "could not be read");
	jobs_free(cl);
	client_end(cl, 0, "%s", mem);
}

static void
jobs_end(struct client *cl)
{
	static const struct walk_ops ops = { .name = job_row,
		.end = rows_end };
	struct jobs *all = cl->jobs;
	size_t n = cl->sel.maxitems < all->n ? (size_t)cl->sel.maxitems :
	    all->n;
	char **names = calloc(n + 1, sizeof(*names));

	if (names == NULL)
		fatal("out of memory");
	if (all->n > 0)
		qsort(all->v, all->n, sizeof(struct job *),
		    compares[cl->sel.sort]);
	for (size_t i = 0; i < n; i++)
		names[i] = sv_dup(sv_from(all->v[i]->name));
	walk_start(cl, &ops, names, n);
}

void
cmd_show_jobs(struct client *cl, const struct words *w)
{
	static const struct walk_ops ops = { .rcpt = jobs_rcpt,
		.end = jobs_end };
	char **names;
	size_t n;

	if (!selector_parse(cl, w, &cl->sel))
		return;
	if (compares[cl->sel.sort] == NULL) {
		client_end(cl, 2, "here --sort is rcpt, name, size or "
		    "oldest");
		return;
	}
	cl->jobs = calloc(1, sizeof(*cl->jobs));
	if (cl->jobs == NULL)
		fatal("out of memory");
	arc4random_buf(cl->jobs->key, sizeof(cl->jobs->key));
	htab_init(&cl->jobs->table, job_hash);
	cl->most = UINT64_MAX;
	n = names_collect(cl->q, &cl->sel, &names);
	walk_start(cl, &ops, names, n);
}
