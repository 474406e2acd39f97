/* SPDX-License-Identifier: ISC */
/* The way to the daemon: one request over the control socket. */
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

struct client {
	struct event_base *base;
	struct event *timer;
	struct chan *chan;
	struct timeval timeout;
	struct ctl_reply *reply;
	bool ended;
	bool lost;
	char why[256];           /* if lost */
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

static void
lose(struct client *cl, const char *why)
{
	struct str s;

	if (cl->lost || cl->ended)
		return;
	cl->lost = true;
	STR_ON(&s, cl->why);
	str_adds(&s, why);
	event_base_loopbreak(cl->base);
}

static void
on_row(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_ctl_row *m = msg;
	struct client *cl = arg;
	json_t *row;

	(void)c;
	evtimer_add(cl->timer, &cl->timeout);
	row = json_loadb(m->json.p, m->json.n, JSON_REJECT_DUPLICATES, NULL);
	if (row == NULL || !json_is_object(row)) {
		json_decref(row);
		lose(cl, "the answer is not JSON");
		return;
	}
	if (json_array_size(cl->reply->rows) >= CTL_ROWS_MAX) {
		json_decref(row);
		lose(cl, "the answer is too long: ask for less");
		return;
	}
	ctl_reply_row(cl->reply, row);
}

static void
on_end(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_ctl_end *m = msg;
	struct client *cl = arg;

	(void)c;
	/* Frames of one read are all handled, after a bad one as well. */
	if (cl->lost)
		return;
	cl->reply->status = m->status <= CTL_MISUSE ? m->status : CTL_FAILED;
	free(cl->reply->text);
	cl->reply->text = sv_dup(m->text);
	cl->ended = true;
	event_base_loopbreak(cl->base);
}

static void
on_close(struct chan *c, void *arg, const char *why)
{
	(void)c;
	(void)why;
	lose(arg, "the daemon closed the connection; only root and the user "
	    "it runs as may use its control socket");
}

static const struct chan_ops client_ops = {
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

/* The socket's path; false if it is too long for one. */
static bool
socket_path(const struct ctl *ctl, char *out, size_t size)
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
	c = conf_load(ctl->config, &rep);
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

/* A connected socket, or -1 with errno; path is for the complaint. */
static int
connect_socket(const struct ctl *ctl, struct sockaddr_un *sun)
{
	int fd;

	memset(sun, 0, sizeof(*sun));
	sun->sun_family = AF_UNIX;
	if (!socket_path(ctl, sun->sun_path, sizeof(sun->sun_path))) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return -1;
	if (connect(fd, (struct sockaddr *)sun, sizeof(*sun)) == -1) {
		int e = errno;

		close(fd);
		errno = e;
		return -1;
	}
	return fd;
}

static void
send_request(struct client *cl, const char *const *words, unsigned n)
{
	struct sv v[CTL_WORDS_MAX + 1];
	struct ipc_ctl_request m = { .words = { .array = v, .n = n } };

	for (unsigned i = 0; i < n; i++)
		v[i] = sv_from(words[i]);
	ipc_send_ctl_request(cl->chan, &m);
}

static void
talk(struct client *cl, int fd, const char *const *words, unsigned n)
{
	cl->base = event_base_new();
	if (cl->base == NULL)
		abort();
	cl->timer = evtimer_new(cl->base, on_timeout, cl);
	cl->chan = chan_new(cl->base, fd, R_CTL, R_QMGR, 0, &client_ops, cl);
	if (cl->timer == NULL || evtimer_add(cl->timer, &cl->timeout) == -1)
		abort();
	send_request(cl, words, n);
	if (!cl->lost)
		event_base_dispatch(cl->base);
	chan_free(&cl->chan);
	event_free(cl->timer);
	event_base_free(cl->base);
}

static bool
words_fit(const char *const *words, unsigned n)
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
	struct client cl = { .reply = r,
		.timeout = { .tv_sec = ctl->timeout_s } };
	struct sockaddr_un sun;
	int fd;

	if (!words_fit(words, n))
		return -1;
	fd = connect_socket(ctl, &sun);
	if (fd == -1) {
		ctl_complain("cannot reach the daemon at %.*s: %s",
		    (int)sizeof(sun.sun_path), sun.sun_path, strerror(errno));
		return -1;
	}
	ctl_reply_init(r);
	talk(&cl, fd, words, n);
	if (cl.ended)
		return 0;
	ctl_complain("%s", cl.why);
	ctl_reply_fini(r);
	return -1;
}
