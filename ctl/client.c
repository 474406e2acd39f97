/* SPDX-License-Identifier: ISC */
/* The way to the daemon: requests over the control socket, one after the
 * other. */
#include <sys/socket.h>
#include <sys/un.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/base/str.h"
#include "common/conf/conf.h"
#include "common/ipc/chan.h"
#include "ctl/ctl.h"

struct ctl_link {
	const struct ctl_link_ops *ops;
	void *arg;
	struct chan *chan;
	struct event *timer;     /* runs while an answer is waited for */
	struct timeval timeout;
	struct ctl_reply reply;
	bool asked;
	bool known;              /* it has answered once */
	bool over;               /* the owner has been told that it is lost */
};

void
ctl_reply_init(struct ctl_reply *r)
{
	*r = (struct ctl_reply){ .rows = json_array(),
		.text = sv_dup(SV("")) };
	if (r->rows == NULL)
		abort();
}

void
ctl_reply_fini(struct ctl_reply *r)
{
	json_decref(r->rows);
	free(r->text);
	*r = (struct ctl_reply){ 0 };
}

void
ctl_reply_row(struct ctl_reply *r, json_t *row)
{
	if (row == NULL || json_array_append_new(r->rows, row) != 0)
		abort();
}

void
ctl_reply_text(struct ctl_reply *r, const char *fmt, ...)
{
	char mem[1024];
	struct str s;
	va_list ap;

	STR_ON(&s, mem);
	va_start(ap, fmt);
	str_vaddf(&s, fmt, ap);
	va_end(ap);
	free(r->text);
	r->text = sv_dup(str_sv(&s));
}

/* ---- a connection ---- */

/* The owner may have closed it when this returns. */
static void
lose(struct ctl_link *l, const char *why)
{
	if (l->over)
		return;
	l->over = true;
	l->ops->lost(l->arg, why);
}

static void
on_row(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_ctl_row *m = msg;
	struct ctl_link *l = arg;
	json_t *row;

	(void)c;
	/* Frames of one read are all handled, after a bad one as well. */
	if (l->over || !l->asked)
		return;
	evtimer_add(l->timer, &l->timeout);
	row = json_loadb(m->json.p, m->json.n, JSON_REJECT_DUPLICATES, NULL);
	if (row == NULL || !json_is_object(row)) {
		json_decref(row);
		lose(l, "the answer is not JSON");
		return;
	}
	if (l->ops->row != NULL && l->ops->row(l->arg, row)) {
		json_decref(row);
		return;
	}
	if (json_array_size(l->reply.rows) >= CTL_ROWS_MAX) {
		json_decref(row);
		lose(l, "the answer is too long: ask for less");
		return;
	}
	ctl_reply_row(&l->reply, row);
}

static void
on_end(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_ctl_end *m = msg;
	struct ctl_link *l = arg;
	struct ctl_reply r;

	(void)c;
	if (l->over || !l->asked)
		return;
	r = l->reply;
	l->reply = (struct ctl_reply){ .rows = NULL };
	l->asked = false;
	l->known = true;
	evtimer_del(l->timer);
	r.status = m->status <= CTL_MISUSE ? m->status : CTL_FAILED;
	free(r.text);
	r.text = sv_dup(m->text);
	l->ops->answer(l->arg, &r);
	ctl_reply_fini(&r);
}

static void
on_close(struct chan *c, void *arg, const char *why)
{
	struct ctl_link *l = arg;

	(void)c;
	(void)why;
	lose(l, l->known ? "the daemon closed the connection" :
	    "the daemon closed the connection; only root and the user it "
	    "runs as may use its control socket");
}

static const struct chan_ops link_chan_ops = {
	.on = { [IPC_CTL_ROW] = on_row, [IPC_CTL_END] = on_end },
	.on_close = on_close,
};

static void
on_timeout(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	lose(arg, "the daemon does not answer");
}

/* A connected socket, or -1 with errno. */
static int
connect_socket(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd, e;

	if (!sv_to_cstr(sv_from(path), sun.sun_path, sizeof(sun.sun_path))) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return -1;
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == -1) {
		e = errno;
		close(fd);
		errno = e;
		return -1;
	}
	return fd;
}

struct ctl_link *
ctl_link_open(struct event_base *base, const char *path, unsigned timeout_s,
    const struct ctl_link_ops *ops, void *arg)
{
	struct ctl_link *l;
	int fd = connect_socket(path);

	if (fd == -1)
		return NULL;
	l = calloc(1, sizeof(*l));
	if (l == NULL)
		abort();
	l->ops = ops;
	l->arg = arg;
	l->timeout.tv_sec = timeout_s;
	l->timer = evtimer_new(base, on_timeout, l);
	l->chan = chan_new(base, fd, R_CTL, R_QMGR, 0, &link_chan_ops, l);
	if (l->timer == NULL)
		abort();
	return l;
}

void
ctl_link_close(struct ctl_link **lp)
{
	struct ctl_link *l = *lp;

	*lp = NULL;
	if (l == NULL)
		return;
	chan_free(&l->chan);
	event_free(l->timer);
	ctl_reply_fini(&l->reply);
	free(l);
}

void
ctl_link_ask(struct ctl_link *l, const char *const *words, unsigned n)
{
	struct sv v[CTL_WORDS_MAX];
	struct ipc_ctl_request m = { .words = { .array = v, .n = n } };

	for (unsigned i = 0; i < n; i++)
		v[i] = sv_from(words[i]);
	ctl_reply_fini(&l->reply);
	ctl_reply_init(&l->reply);
	l->asked = true;
	if (evtimer_add(l->timer, &l->timeout) == -1)
		abort();
	ipc_send_ctl_request(l->chan, &m);
}

/* ---- which socket ---- */

/*
 * The run-directory of a file that does not load: an operator who mends a
 * broken configuration still wants to reach the daemon that runs. "" if the
 * file does not name one by itself.
 */
static struct sv
run_directory_guess(const char *path, char *line, size_t size)
{
	static const struct sv name = { "run-directory", 13 };
	struct sv found = SV("");
	FILE *f = fopen(path, "r");

	if (f == NULL)
		return found;
	while (found.n == 0 && fgets(line, (int)size, f) != NULL) {
		struct sv v = sv_from(line);

		v = sv_cut(&v, '\n');
		v = sv_trim(sv_cut(&v, '#'));
		if (sv_istarts(v, name) && v.n > name.n &&
		    (v.p[name.n] == ' ' || v.p[name.n] == '\t'))
			found = sv_trim(sv_from_at(v, name.n));
	}
	fclose(f);
	return found;
}

bool
ctl_socket_path(const struct ctl *ctl, char *out, size_t size)
{
	struct conf_global defaults;
	struct conf_report rep;
	struct conf *c = NULL;
	struct sv dir;
	char line[4096];
	struct str s;

	str_init(&s, out, size);
	if (ctl->socket != NULL) {
		str_adds(&s, ctl->socket);
		return !s.truncated;
	}
	conf_report_init(&rep);
	c = conf_load(ctl->config, ctl->rules, &rep);
	conf_global_defaults(&defaults);
	dir = c != NULL ? conf_global(c)->run_directory :
	    run_directory_guess(ctl->config, line, sizeof(line));
	str_add(&s, dir.n > 0 ? dir : defaults.run_directory);
	str_adds(&s, "/control.sock");
	if (c == NULL)
		ctl_complain("%s\npinnace: using %s", rep.errors[0], out);
	conf_free(&c);
	conf_report_fini(&rep);
	return !s.truncated;
}

/* ---- one question ---- */

struct question {
	struct event_base *base;
	struct ctl_reply *reply;
	bool answered;
	char why[256];           /* if it is not */
};

static void
question_answer(void *arg, struct ctl_reply *r)
{
	struct question *q = arg;

	*q->reply = *r;
	*r = (struct ctl_reply){ .rows = NULL };
	q->answered = true;
	event_base_loopbreak(q->base);
}

static void
question_lost(void *arg, const char *why)
{
	struct question *q = arg;
	struct str s;

	STR_ON(&s, q->why);
	str_adds(&s, why);
	event_base_loopbreak(q->base);
}

static const struct ctl_link_ops question_ops = { .answer = question_answer,
	.lost = question_lost };

bool
ctl_words_fit(const char *const *words, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (strlen(words[i]) <= SVS_TEXT_MAX)
			continue;
		ctl_complain("a word is longer than %d bytes", SVS_TEXT_MAX);
		return false;
	}
	return true;
}

int
ctl_ask(const struct ctl *ctl, const char *const *words, unsigned n,
    struct ctl_reply *r)
{
	struct question q = { .reply = r };
	char path[CTL_PATH_MAX];
	struct ctl_link *l;

	if (!ctl_words_fit(words, n))
		return -1;
	if (!ctl_socket_path(ctl, path, sizeof(path))) {
		ctl_complain("the name of the daemon's socket is too long");
		return -1;
	}
	q.base = event_base_new();
	if (q.base == NULL)
		abort();
	l = ctl_link_open(q.base, path, ctl->timeout_s, &question_ops, &q);
	if (l == NULL) {
		ctl_complain("cannot reach the daemon at %s: %s", path,
		    strerror(errno));
	} else {
		ctl_link_ask(l, words, n);
		event_base_dispatch(q.base);
		ctl_link_close(&l);
		if (!q.answered)
			ctl_complain("%s", q.why);
	}
	event_base_free(q.base);
	return q.answered ? 0 : -1;
}
