/* SPDX-License-Identifier: ISC */
/*
 * trace: the dialogue of the next session of some queue, mirrored by the
 * delivery process to whoever asked for it. A client that does not read loses
 * lines; nobody waits for it. As long as there is no trace, nothing of this is
 * looked at but q->traces.
 */
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "common/base/str.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "qmgr/control.h"

#define TRACES_MAX  8
#define BACKLOG_MAX ((size_t)256 << 10) /* rows that a client may owe us */
#define ALIVE_S     20                  /* a word so often */

struct trace {
	struct trace *next;
	struct client *cl;          /* its selector says which queues */
	struct event *alive;
	char source_ip[46];         /* "": any */
	bool data;
	uint64_t session;           /* 0: waits for one */
	unsigned worker;
	uint64_t lines, lost;       /* lost: said to the client, and not yet */
	uint64_t lost_untold;
};

/* ---- rows ---- */

static bool
has_room(const struct trace *t)
{
	return chan_backlog(t->cl->chan) <= BACKLOG_MAX;
}

static void
row_send(struct trace *t, json_t *row)
{
	client_row(t->cl, row);
	client_lives(t->cl);
}

static void
lost_tell(struct trace *t)
{
	json_t *row = json_object();

	json_object_set_new(row, "lost", json_u64(t->lost_untold));
	t->lost_untold = 0;
	row_send(t, row);
}

static void
lines_lost(struct trace *t, uint64_t n)
{
	t->lost += n;
	t->lost_untold += n;
}

/* ">>> " and so on, then the text. */
static void
line_tell(struct trace *t, struct sv line)
{
	json_t *row;

	if (!has_room(t)) {
		lines_lost(t, 1);
		return;
	}
	if (t->lost_untold > 0)
		lost_tell(t);
	row = json_object();
	json_object_set_new(row, "time", json_time(clock_wall().us));
	json_object_set_new(row, "what", json_string(
	    sv_starts(line, SV(">")) ? "received" :
	    sv_starts(line, SV("<")) ? "sent" : "event"));
	json_object_set_new(row, "text", json_sv(sv_from_at(line, 4)));
	t->lines++;
	row_send(t, row);
}

static void
text_tell(struct trace *t, struct sv text)
{
	while (text.n > 0)
		line_tell(t, sv_cut(&text, '\n'));
}

/* Both ends see that the other one is there. */
static void
on_alive(evutil_socket_t fd, short what, void *arg)
{
	struct trace *t = arg;
	json_t *row;

	(void)fd;
	(void)what;
	if (!has_room(t))
		return;
	row = json_object();
	json_object_set_new(row, "waiting", json_boolean(t->session == 0));
	row_send(t, row);
}

/* ---- the command ---- */

/* The words that are no queue's; the others in rest_r. False after an
 * answer. */
static bool
words_take(struct client *cl, const struct words *w, struct trace *t,
    struct words *rest_r)
{
	*rest_r = (struct words){ .name = w->name };
	for (unsigned i = 0; i < w->n; i++) {
		struct route_addr a;

		if (sv_eq(w->v[i], SV("--log-data"))) {
			t->data = true;
		} else if (!sv_starts(w->v[i], SV("--source-ip="))) {
			rest_r->v[rest_r->n++] = w->v[i];
		} else if (route_addr_parse(sv_from_at(w->v[i], 12), &a)) {
			(void)route_addr_format(&a, t->source_ip);
		} else {
			client_end(cl, 2, "--source-ip wants an address");
			return false;
		}
	}
	return true;
}

static bool
has_place(const struct qmgr *q)
{
	unsigned n = 0;

	for (const struct trace *t = q->traces; t != NULL; t = t->next)
		n++;
	return n < TRACES_MAX;
}

void
cmd_trace(struct client *cl, const struct words *w)
{
	struct timeval every = { .tv_sec = ALIVE_S };
	struct trace given = { .cl = cl }, *t;
	struct words rest;

	if (!words_take(cl, w, &given, &rest) ||
	    !selector_parse(cl, &rest, &cl->sel))
		return;
	if (!cl->sel.given) {
		client_end(cl, 2, "which queue? domain/vmta");
		return;
	}
	if (!has_place(cl->q)) {
		client_end(cl, 1, "there are %d traces already", TRACES_MAX);
		return;
	}
	t = malloc(sizeof(*t));
	if (t == NULL)
		fatal("out of memory");
	*t = given;
	t->alive = event_new(cl->q->role->base, -1, EV_PERSIST, on_alive, t);
	if (t->alive == NULL)
		fatal("out of memory");
	event_add(t->alive, &every);
	t->next = cl->q->traces;
	cl->q->traces = t;
	cl->trace = t;
	text_tell(t, SV("--- waits for the next session"));
}

/* ---- the end ---- */

static bool
is_watched(const struct qmgr *q, uint64_t session)
{
	const struct trace *t = q->traces;

	while (t != NULL && t->session != session)
		t = t->next;
	return t != NULL;
}

void
trace_free(struct client *cl)
{
	struct trace *t = cl->trace, **at = &cl->q->traces;
	struct chan *worker;

	if (t == NULL)
		return;
	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	worker = cl->q->workers[t->worker].reader.chan;
	if (t->session != 0 && worker != NULL &&
	    !is_watched(cl->q, t->session))
		ipc_send_trace_stop(worker,
		    &(struct ipc_trace_stop){ t->session });
	event_free(t->alive);
	free(t);
	cl->trace = NULL;
}

static void
trace_over(struct trace *t, const char *why)
{
	struct client *cl = t->cl;
	uint64_t lines = t->lines, lost = t->lost;

	t->session = 0;
	trace_free(cl);
	if (lost == 0)
		client_end(cl, 0, "%s: %llu lines", why,
		    (unsigned long long)lines);
	else
		client_end(cl, 0, "%s: %llu lines, %llu left out", why,
		    (unsigned long long)lines, (unsigned long long)lost);
	chan_flush(cl->chan);
}

/* ---- sessions ---- */

uint32_t
trace_session(struct qmgr *q, const struct sched_session *se,
    struct sv source_ip)
{
	uint32_t flags = 0;

	for (struct trace *t = q->traces; t != NULL; t = t->next) {
		if (t->session != 0 ||
		    !selector_matches(&t->cl->sel, se->queue) ||
		    (t->source_ip[0] != '\0' &&
		    !sv_eq(source_ip, sv_from(t->source_ip))))
			continue;
		t->session = se->id;
		t->worker = se->worker;
		flags |= SESSION_TRACE | (t->data ? SESSION_TRACE_DATA : 0);
	}
	return flags;
}

void
trace_lines(struct qmgr *q, unsigned worker, const struct ipc_trace *m)
{
	struct trace *t, *next;

	for (t = q->traces; t != NULL; t = next) {
		next = t->next;
		if (t->session != m->session || t->worker != worker)
			continue;
		if (m->lost > 0)
			lines_lost(t, m->lost);
		text_tell(t, m->text);
		if (m->end)
			trace_over(t, "the session is over");
	}
}

void
trace_worker_gone(struct qmgr *q, unsigned worker)
{
	struct trace *t, *next;

	for (t = q->traces; t != NULL; t = next) {
		next = t->next;
		if (t->session != 0 && t->worker == worker)
			trace_over(t, "the delivery process has ended");
	}
}
