/* SPDX-License-Identifier: ISC */
/*
 * trace: lines of a session as they come, until it is over or the user has
 * seen enough. For programs one document at the end, whichever it is.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "common/base/str.h"
#include "ctl/ctl.h"
#include "ctl/view.h"

struct watch {
	const struct ctl *ctl;
	struct event_base *base;
	struct ctl_reply reply;  /* rows: what is kept, for programs */
	bool over;               /* with an answer, or by the user */
	char why[256];           /* if not */
};

static void
line_print(const json_t *row)
{
	struct sv what = text_of(row, "what");

	if (json_object_get(row, "lost") != NULL) {
		printf("--- %lld lines left out\n", num_of(row, NULL, "lost"));
		return;
	}
	fputs(sv_eq(what, SV("received")) ? ">>> " :
	    sv_eq(what, SV("sent")) ? "<<< " : "--- ", stdout);
	print_safe(text_of(row, "text"));
	puts("");
}

static bool
on_row(void *arg, json_t *row)
{
	struct watch *w = arg;

	/* only to show that the daemon is there */
	if (json_object_get(row, "waiting") != NULL)
		return true;
	if (w->ctl->form != FORM_TEXT) {
		ctl_reply_row(&w->reply, json_incref(row));
		return true;
	}
	line_print(row);
	if (fflush(stdout) != 0) /* whoever read it is gone */
		event_base_loopbreak(w->base);
	return true;
}

static void
on_answer(void *arg, struct ctl_reply *r)
{
	struct watch *w = arg;

	w->reply.status = r->status;
	ctl_reply_text(&w->reply, "%s", r->text);
	w->over = true;
	event_base_loopbreak(w->base);
}

static void
on_lost(void *arg, const char *why)
{
	struct watch *w = arg;
	struct str s;

	STR_ON(&s, w->why);
	str_adds(&s, why);
	event_base_loopbreak(w->base);
}

static void
on_signal(evutil_socket_t signo, short what, void *arg)
{
	struct watch *w = arg;

	(void)signo;
	(void)what;
	ctl_reply_text(&w->reply, "interrupted");
	w->over = true;
	event_base_loopbreak(w->base);
}

static const struct ctl_link_ops ops = { .answer = on_answer,
	.lost = on_lost, .row = on_row };

static void
watch(struct watch *w, struct ctl_link *l)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct event *ev[3];

	for (size_t i = 0; i < 3; i++) {
		ev[i] = evsignal_new(w->base, signals[i], on_signal, w);
		if (ev[i] == NULL || event_add(ev[i], NULL) != 0)
			abort();
	}
	ctl_link_ask(l, w->ctl->words, w->ctl->nwords);
	event_base_dispatch(w->base);
	for (size_t i = 0; i < 3; i++)
		event_free(ev[i]);
}

int
run_trace(const struct ctl *ctl, const struct ctl_command *cmd)
{
	struct watch w = { .ctl = ctl, .base = event_base_new() };
	char path[CTL_PATH_MAX];
	struct ctl_link *l;
	int rc = CTL_UNREACHABLE;

	if (w.base == NULL)
		abort();
	if (!ctl_words_fit(ctl->words, ctl->nwords) ||
	    !ctl_socket_path(ctl, path, sizeof(path)))
		return CTL_MISUSE;
	l = ctl_link_open(w.base, path, ctl->timeout_s, &ops, &w);
	if (l == NULL) {
		ctl_complain("cannot reach the daemon at %s: %s", path,
		    strerror(errno));
	} else {
		ctl_reply_init(&w.reply);
		watch(&w, l);
		ctl_link_close(&l);
		if (w.over)
			rc = ctl_print(ctl, cmd, &w.reply);
		else
			ctl_complain("%s", w.why);
		ctl_reply_fini(&w.reply);
	}
	event_base_free(w.base);
	return rc;
}
