/* SPDX-License-Identifier: ISC */
/* What `pinnace simulate` begins with: the configuration that runs, and the
 * figures of each queue. The simulation itself is the client's work. */
#include <stdlib.h>

#include "common/sys/log.h"
#include "qmgr/control.h"

#define CONF_MAX   ((size_t)16 << 20)
#define CONF_CHUNK 65536u
#define DOWN_SHARE 0.9F   /* of ten minutes in queue-level retry */

/* ---- the configuration ---- */

/* Bytes as hexadecimal digits. */
static json_t *
json_hex(struct sv v)
{
	static const char digits[] = "0123456789abcdef";
	char *text = malloc(2 * v.n + 1);
	json_t *j;

	if (text == NULL) /* GCOVR_EXCL_BR_LINE: memory */
		fatal("out of memory");
	for (size_t i = 0; i < v.n; i++) {
		text[2 * i] = digits[(unsigned char)v.p[i] >> 4];
		text[2 * i + 1] = digits[(unsigned char)v.p[i] & 15];
	}
	j = json_stringn(text, 2 * v.n);
	free(text);
	return j;
}

/* In pieces that fit a row. False if it is larger than anybody has. */
static bool
conf_rows(struct client *cl)
{
	struct buf b;
	struct sv rest;
	bool ok;

	buf_init(&b, CONF_MAX);
	ok = conf_encode(cl->q->conf, &b) == 0;
	rest = ok ? sv_make((const char *)buf_data(&b), buf_len(&b)) : SV("");
	while (rest.n > 0) {
		size_t n = rest.n < CONF_CHUNK ? rest.n : CONF_CHUNK;
		json_t *o = json_object();

		json_object_set_new(o, "conf", json_hex(sv_head(rest, n)));
		client_row(cl, o);
		rest = sv_from_at(rest, n);
	}
	buf_fini(&b);
	return ok;
}

/* ---- queues ---- */

/* Nobody answers there: no answer within the hour, and it waits for that. */
static bool
is_down(const struct sched_queue_info *i, const struct sched_queue_why *why)
{
	return i->retry_us != 0 && why->delivered_per_hour <= 0 &&
	    why->deferred_per_hour <= 0 && why->failed_per_hour <= 0 &&
	    why->share[WINDOW_10M][WAIT_RETRY] >= DOWN_SHARE;
}

static json_t *
queue_row(const struct sched_queue_info *i, const struct sched_queue_why *why,
    int64_t now_us)
{
	static const char *const took[SCHED_TIMES] = { "dns_ms", "connect_ms",
		"answer_ms" };
	json_t *o = json_object();
	int64_t age = i->oldest_live_us == 0 ? 0 : now_us - i->oldest_live_us;

	json_object_set_new(o, "domain", json_sv(i->domain));
	json_object_set_new(o, "vmta", json_sv(i->vmta));
	json_object_set_new(o, "waiting", json_u64((uint64_t)i->nready +
	    i->nretry + i->ninflight));
	json_object_set_new(o, "oldest_ms", json_integer(age / US_PER_MS));
	json_object_set_new(o, "seen_ms", json_integer(why->seen_ms));
	json_object_set_new(o, "arrived", json_real(why->arrived_per_hour));
	json_object_set_new(o, "delivered",
	    json_real(why->delivered_per_hour));
	json_object_set_new(o, "deferred", json_real(why->deferred_per_hour));
	json_object_set_new(o, "failed", json_real(why->failed_per_hour));
	for (int k = 0; k < SCHED_TIMES; k++)
		json_object_set_new(o, took[k], json_real(why->took_ms[k]));
	json_object_set_new(o, "paused", json_boolean(i->paused));
	json_object_set_new(o, "backoff", json_boolean(i->backoff));
	json_object_set_new(o, "down", json_boolean(is_down(i, why)));
	return o;
}

/* Those that nothing waits in and nothing comes for are left out. */
static bool
figures_tell(struct client *cl, struct squeue *sq)
{
	struct sched_now now = qmgr_now();
	struct sched_queue_info i;
	struct sched_queue_why why;

	sched_queue_info(cl->q->sched, now, sq, &i);
	sched_queue_why(cl->q->sched, now, sq, &why);
	if (i.nready + i.nretry + i.ninflight == 0 &&
	    why.arrived_per_hour <= 0)
		return true;
	cl->count++;
	client_row(cl, queue_row(&i, &why, now.wall.us));
	return true;
}

static void
figures_end(struct client *cl)
{
	client_end(cl, 0, "%llu queues", (unsigned long long)cl->count);
}

void
cmd_simulate(struct client *cl, const struct words *w)
{
	static const struct walk_ops ops = { .queue = figures_tell,
		.end = figures_end };
	char **names;
	size_t n;

	if (!selector_parse(cl, w, &cl->sel))
		return;
	if (!conf_rows(cl)) {
		client_end(cl, 1, "the configuration is too large");
		return;
	}
	cl->count = 0;
	n = names_collect(cl->q, &cl->sel, &names);
	walk_start(cl, &ops, names, n);
}
