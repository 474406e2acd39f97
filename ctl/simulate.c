/* SPDX-License-Identifier: ISC */
/* `pinnace simulate`: today's queues under the configuration that runs and
 * under another one. The daemon only tells its figures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/str.h"
#include "common/conf/conf.h"
#include "ctl/ctl.h"
#include "ctl/table.h"
#include "ctl/view.h"
#include "qmgr/simulate.h"

#define HOURS_DEFAULT 24u
#define EARLY_MS      600000 /* what was seen for less says little */

struct wanted {
	unsigned hours;
	uint64_t seed;
	const char *words[CTL_WORDS_MAX]; /* for the daemon */
	unsigned nwords;
};

struct figures {
	struct conf *running, *next;
	struct sim_queue *q;       /* views into the reply */
	size_t n, early;           /* queues; known for a short time only */
	struct sim_result *before, *after;
};

/* ---- words ---- */

static bool
number_word(const char *word, const char *name, uint64_t max, uint64_t *out,
    bool *bad)
{
	size_t n = strlen(name);

	if (strncmp(word, name, n) != 0)
		return false;
	if (sv_to_u64(sv_from(word + n), max, out) && *out > 0)
		return true;
	ctl_complain("%s needs a number, 1 to %llu", name,
	    (unsigned long long)max);
	*bad = true;
	return true;
}

/* --hours=N, --hours N, --seed=N; the rest says which queues. */
static bool
words_parse(const struct ctl *ctl, struct wanted *w)
{
	uint64_t hours = HOURS_DEFAULT;
	bool bad = false;

	*w = (struct wanted){ .seed = 1 };
	w->words[w->nwords++] = "simulate";
	for (unsigned i = 1; i < ctl->nwords && !bad; i++) {
		const char *word = ctl->words[i];

		if (strcmp(word, "--hours") == 0 && i + 1 < ctl->nwords)
			bad = !sv_to_u64(sv_from(ctl->words[++i]),
			    SIM_HOURS_MAX, &hours) || hours == 0;
		else if (!number_word(word, "--hours=", SIM_HOURS_MAX, &hours,
		    &bad) && !number_word(word, "--seed=", UINT32_MAX,
		    &w->seed, &bad))
			w->words[w->nwords++] = word;
	}
	w->hours = (unsigned)hours;
	if (bad)
		ctl_complain("simulate [queues] [--hours=N] [--seed=N], N up "
		    "to %u hours", SIM_HOURS_MAX);
	return !bad;
}

/* ---- figures ---- */

static int
digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' :
	    c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool
unhex(struct sv hex, struct buf *b)
{
	for (size_t i = 0; i + 1 < hex.n; i += 2) {
		int hi = digit(hex.p[i]), lo = digit(hex.p[i + 1]);
		unsigned char c = (unsigned char)(hi * 16 + lo);

		if (hi < 0 || lo < 0 || buf_add(b, &c, 1) != 0)
			return false;
	}
	return hex.n % 2 == 0;
}

static double
real_of(const json_t *row, const char *key)
{
	double v = json_number_value(json_object_get(row, key));

	return v > 0 ? v : 0;
}

static int64_t
took_of(const json_t *row, const char *key)
{
	return (int64_t)(real_of(row, key) * US_PER_MS);
}

static struct sim_queue
queue_of(const json_t *row)
{
	return (struct sim_queue){ .domain = text_of(row, "domain"),
		.vmta = text_of(row, "vmta"),
		.waiting = (uint64_t)real_of(row, "waiting"),
		.oldest_ms = (int64_t)real_of(row, "oldest_ms"),
		.arrived = real_of(row, "arrived"),
		.delivered = real_of(row, "delivered"),
		.deferred = real_of(row, "deferred"),
		.failed = real_of(row, "failed"),
		.took_us = { [TIME_DNS] = took_of(row, "dns_ms"),
			[TIME_CONNECT] = took_of(row, "connect_ms"),
			[TIME_ANSWER] = took_of(row, "answer_ms") },
		.paused = json_is_true(json_object_get(row, "paused")),
		.backoff = json_is_true(json_object_get(row, "backoff")),
		.down = json_is_true(json_object_get(row, "down")) };
}

static int
sv_cmp(struct sv a, struct sv b)
{
	int c = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);

	return c != 0 ? c : a.n < b.n ? -1 : a.n > b.n;
}

/* The same order however the daemon has it: the same result. */
static int
queue_cmp(const void *a, const void *b)
{
	const struct sim_queue *x = a, *y = b;
	int c = sv_cmp(x->domain, y->domain);

	return c != 0 ? c : sv_cmp(x->vmta, y->vmta);
}

static bool
figures_take(struct figures *f, const struct ctl_reply *r)
{
	size_t i, size = json_array_size(r->rows) + 1;
	const json_t *row;
	struct buf conf;
	bool ok = true;

	f->q = calloc(size, sizeof(*f->q));
	f->before = calloc(size, sizeof(*f->before));
	f->after = calloc(size, sizeof(*f->after));
	if (f->q == NULL || f->before == NULL || f->after == NULL)
		abort();
	buf_init(&conf, CONF_ENCODED_MAX);
	json_array_foreach(r->rows, i, row) {
		struct sv hex = text_of(row, "conf");

		if (hex.n > 0)
			ok = ok && unhex(hex, &conf);
		else
			f->q[f->n++] = queue_of(row);
		f->early += hex.n == 0 &&
		    num_of(row, NULL, "seen_ms") < EARLY_MS;
	}
	qsort(f->q, f->n, sizeof(*f->q), queue_cmp);
	if (ok)
		f->running = conf_decode(sv_make((const char *)
		    buf_data(&conf), buf_len(&conf)));
	buf_fini(&conf);
	if (f->running == NULL)
		ctl_complain("what the daemon says of its configuration cannot "
		    "be read: is it of another version?");
	return f->running != NULL;
}

static void
figures_fini(struct figures *f)
{
	conf_free(&f->running);
	conf_free(&f->next);
	free(f->q);
	free(f->before);
	free(f->after);
}

/* ---- rows ---- */

static json_t *
result_row(const struct sim_result *r)
{
	json_t *o = json_pack("{s:f,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:s}",
	    "perHour", r->per_hour, "end", sim_end_name(r->end),
	    "drained_s", (json_int_t)((r->end == SIM_LATER ? r->later_us :
	    r->drained_us) / US_PER_SEC),
	    "peak", (json_int_t)r->peak, "left", (json_int_t)r->left,
	    "delivered", (json_int_t)r->delivered,
	    "failed", (json_int_t)r->failed,
	    "connections", (json_int_t)r->sessions,
	    "waitsFor", sched_wait_name(r->most));

	if (o == NULL)
		abort();
	return o;
}

static void
add_queue(struct ctl_reply *out, const struct figures *f, size_t i)
{
	const struct sim_queue *q = &f->q[i];
	bool known = conf_vmta_find(f->next, q->vmta) != NULL;
	char name[600];
	struct str s;
	json_t *o;

	STR_ON(&s, name);
	str_addf(&s, "%.*s/%.*s", SV_FMT(q->domain), SV_FMT(q->vmta));
	o = json_pack("{s:s,s:s%,s:I,s:f,s:b,s:o,s:o}", "kind", "queue",
	    "queue", s.p, s.n, "waiting", (json_int_t)q->waiting,
	    "arrivedPerHour", q->arrived, "vmtaKnown", known,
	    "running", result_row(&f->before[i]),
	    "new", result_row(&f->after[i]));
	if (o == NULL)
		abort();
	ctl_reply_row(out, o);
}

static void
on_unreached(void *arg, const struct sim_unreached *u)
{
	ctl_reply_row(arg, json_pack("{s:s,s:s%,s:s%,s:s%,s:I,s:b,s:I}",
	    "kind", "unreached", "name", u->name.p, u->name.n,
	    "value", u->value.p, u->value.n, "file", u->file.p, u->file.n,
	    "line", (json_int_t)u->line, "never", (int)u->never,
	    "most", (json_int_t)u->most));
}

static void
run_both(struct figures *f, const struct wanted *w, struct ctl_reply *out)
{
	char mem[256];
	struct str s;

	sim_run(f->running, f->q, f->n, w->hours, w->seed, f->before);
	sim_run(f->next, f->q, f->n, w->hours, w->seed, f->after);
	for (size_t i = 0; i < f->n; i++)
		add_queue(out, f, i);
	sim_unreached_each(f->next, f->q, f->after, f->n, on_unreached, out);
	STR_ON(&s, mem);
	str_addf(&s, "%zu queues, %u hours", f->n, w->hours);
	if (!conf_diff(f->running, f->next, NULL, NULL))
		str_adds(&s, "; the new configuration is what runs");
	if (f->early > 0)
		str_addf(&s, "; what comes to %zu of them was seen for less "
		    "than 10 minutes: a guess", f->early);
	ctl_reply_text(out, "%.*s", SV_FMT(str_sv(&s)));
}

/* ---- text ---- */

static void
add_span(struct table *t, long long s)
{
	if (s >= 2 * 86400)
		table_cellf(t, "%.1f d", (double)s / 86400);
	else if (s >= 2 * 3600)
		table_cellf(t, "%.1f h", (double)s / 3600);
	else if (s >= 120)
		table_cellf(t, "%lld min", s / 60);
	else
		table_cellf(t, "%lld s", s);
}

static void
result_cells(struct table *t, const json_t *row, const char *key)
{
	const json_t *r = json_object_get(row, key);
	struct sv end = text_of(r, "end");

	table_cellf(t, "%.0f", json_number_value(json_object_get(r,
	    "perHour")));
	if (sv_eq(end, SV("drains")) || sv_eq(end, SV("later")))
		add_span(t, num_of(r, NULL, "drained_s"));
	else
		table_cell(t, end);
	table_cellf(t, "%lld", num_of(r, NULL, "peak"));
	table_cell(t, text_of(r, "waitsFor"));
}

static void
print_unreached(const json_t *row)
{
	char mem[2048];
	struct str s;

	STR_ON(&s, mem);
	str_addf(&s, "%.*s:%lld: %.*s %.*s ", SV_FMT(text_of(row, "file")),
	    num_of(row, NULL, "line"), SV_FMT(text_of(row, "name")),
	    SV_FMT(text_of(row, "value")));
	if (json_is_true(json_object_get(row, "never")))
		str_adds(&s, "can never be reached: a lower limit stands above "
		    "it");
	else
		str_adds(&s, "was not reached");
	if (num_of(row, NULL, "most") > 0)
		str_addf(&s, " (at most %lld)", num_of(row, NULL, "most"));
	print_text(str_sv(&s));
}

static void
print_unknown(const json_t *row)
{
	char mem[1024];
	struct str s;

	STR_ON(&s, mem);
	str_addf(&s, "%.*s: the new configuration has no such VMTA",
	    SV_FMT(text_of(row, "queue")));
	print_text(str_sv(&s));
}

void
view_simulate(const struct ctl_reply *r)
{
	struct table *t = table_new("queue|>waiting|>in/h|>now/h|>drained|"
	    ">peak|waits for|>new/h|>drained|>peak|waits for");
	const json_t *row;
	size_t i;

	json_array_foreach(r->rows, i, row) {
		if (!sv_eq(text_of(row, "kind"), SV("queue")))
			continue;
		table_cell(t, text_of(row, "queue"));
		table_cellf(t, "%lld", num_of(row, NULL, "waiting"));
		table_cellf(t, "%.0f", real_of(row, "arrivedPerHour"));
		result_cells(t, row, "running");
		result_cells(t, row, "new");
	}
	table_print(t, stdout);
	table_free(&t);
	json_array_foreach(r->rows, i, row) {
		if (sv_eq(text_of(row, "kind"), SV("unreached")))
			print_unreached(row);
		else if (json_is_false(json_object_get(row, "vmtaKnown")))
			print_unknown(row);
	}
}

/* ---- the command ---- */

static struct conf *
conf_new(const struct ctl *ctl)
{
	struct conf_report rep;
	struct conf *c;

	conf_report_init(&rep);
	c = conf_load(ctl->config, ctl->rules, &rep);
	for (uint32_t i = 0; i < conf_report_errors(&rep); i++)
		ctl_complain("%s", rep.errors[i]);
	conf_report_fini(&rep);
	return c;
}

static int
simulate(const struct ctl *ctl, const struct ctl_command *cmd,
    const struct wanted *w, struct figures *f, const struct ctl_reply *r)
{
	struct ctl_reply out;
	int rc;

	if (!figures_take(f, r))
		return CTL_FAILED;
	if (sim_messages(f->q, f->n, w->hours) > SIM_MESSAGES_MAX) {
		ctl_complain("%.0f messages in %u hours: at most %u can be "
		    "simulated; take fewer hours, or name some queues",
		    sim_messages(f->q, f->n, w->hours), w->hours,
		    SIM_MESSAGES_MAX);
		return CTL_FAILED;
	}
	ctl_reply_init(&out);
	run_both(f, w, &out);
	rc = ctl_print(ctl, cmd, &out);
	ctl_reply_fini(&out);
	return rc;
}

int
local_simulate(const struct ctl *ctl, const struct ctl_command *cmd)
{
	struct figures f = { .next = NULL };
	struct ctl_reply r;
	struct wanted w;
	int rc = CTL_FAILED;

	if (!words_parse(ctl, &w))
		return CTL_MISUSE;
	f.next = conf_new(ctl);
	if (f.next == NULL)
		return CTL_FAILED;
	if (ctl_ask(ctl, w.words, w.nwords, &r) == -1) {
		conf_free(&f.next);
		return CTL_UNREACHABLE;
	}
	if (r.status != CTL_OK)
		rc = ctl_print(ctl, cmd, &r);
	else
		rc = simulate(ctl, cmd, &w, &f, &r);
	figures_fini(&f);
	ctl_reply_fini(&r);
	return rc;
}
