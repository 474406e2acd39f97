/* SPDX-License-Identifier: ISC */
/*
 * The control socket: commands, one after the other, answered in rows of JSON
 * (doc/commands.md). Long answers are made in slices, so that no operator
 * stops the queue. Only root and the owner of the process may speak.
 */
#include <sys/socket.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <jansson.h>

#include "common/base/msgid.h"
#include "common/base/str.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "qmgr/control.h"

#define CLIENTS_MAX   64
#define ROWS_DEFAULT  100
#define CLIENT_TIME_S 300
#define REFUSED_LOG_MS 1000

struct control {
	struct event *listen_ev, *pause_ev;
	int fd;
	struct client *clients;
	unsigned nclients;
	uint64_t next_token;
	unsigned refused;             /* and not logged */
	struct mono refused_logged;
};

static void on_request(struct chan *c, void *arg, const void *msg);
static void on_client_close(struct chan *c, void *arg, const char *why);

static const struct chan_ops client_ops = {
	.on = { [IPC_CTL_REQUEST] = on_request },
	.on_close = on_client_close,
};

/* ---- clients ---- */

static void
texts_free(struct client *cl)
{
	for (unsigned i = 0; i < cl->ntexts; i++)
		free(cl->texts[i]);
	cl->ntexts = 0;
}

void
client_lives(struct client *cl)
{
	event_add(cl->timer, &(struct timeval){ .tv_sec = CLIENT_TIME_S });
}

static void
client_free(struct client *cl)
{
	struct control *ct = cl->q->control;
	struct client **at = &ct->clients;

	while (*at != cl)
		at = &(*at)->next;
	*at = cl->next;
	ct->nclients--;
	if (cl->audited == AUDIT_YES ||
	    (cl->audited == AUDIT_IF_YES && cl->sel.yes))
		audit_note(cl, 1, SV("the client did not wait for its end"));
	walk_free(cl);
	trace_free(cl);
	json_decref(cl->sample);
	figures_free(cl);
	sums_free(cl);
	jobs_free(cl);
	pick_free(cl);
	free(cl->target);
	texts_free(cl);
	chan_free(&cl->chan);
	event_free(cl->timer);
	free(cl);
}

static void
on_client_close(struct chan *c, void *arg, const char *why)
{
	(void)c;
	(void)why;
	client_free(arg);
}

static void
on_client_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	client_free(arg);
}

static bool
peer_is_allowed(int fd, uid_t *uid_r)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
		return false;
	*uid_r = cred.uid;
	return cred.uid == 0 || cred.uid == geteuid();
}

/* One line a second: whoever may not speak may not fill the log either. */
static void
client_refuse(struct control *ct, int fd, uid_t uid, const char *why)
{
	struct mono now = clock_mono();

	close(fd);
	ct->refused++;
	if (ct->refused_logged.us != 0 &&
	    mono_diff_ms(now, ct->refused_logged) < REFUSED_LOG_MS)
		return;
	log_warn("control: %u refused, the last one of user %u: %s",
	    ct->refused, (unsigned)uid, why);
	ct->refused = 0;
	ct->refused_logged = now;
}

static void
client_new(struct qmgr *q, int fd, uid_t uid)
{
	struct client *cl = calloc(1, sizeof(*cl));
	struct timeval tv = { .tv_sec = CLIENT_TIME_S };

	if (cl == NULL) {
		close(fd);
		return;
	}
	cl->q = q;
	cl->uid = uid;
	cl->chan = chan_new(q->role->base, fd, R_QMGR, R_CTL, 0, &client_ops,
	    cl);
	cl->timer = event_new(q->role->base, -1, 0, on_client_timer, cl);
	if (cl->timer == NULL)
		fatal("out of memory");
	event_add(cl->timer, &tv);
	cl->next = q->control->clients;
	q->control->clients = cl;
	q->control->nclients++;
}

/* Without descriptors the listener stays readable: do not spin. */
static void
accept_pause(struct control *ct)
{
	log_warn_errno("control: no connection can be taken");
	event_del(ct->listen_ev);
	event_add(ct->pause_ev, &(struct timeval){ .tv_sec = 1 });
}

static void
on_pause_end(evutil_socket_t fd, short what, void *arg)
{
	struct control *ct = arg;

	(void)fd;
	(void)what;
	if (ct->listen_ev != NULL)
		event_add(ct->listen_ev, NULL);
}

static void
on_accept(evutil_socket_t listen_fd, short what, void *arg)
{
	struct qmgr *q = arg;
	uid_t uid = 0;
	int fd;

	(void)what;
	fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
			accept_pause(q->control);
		return;
	}
	if (!peer_is_allowed(fd, &uid))
		client_refuse(q->control, fd, uid, "not allowed");
	else if (q->control->nclients >= CLIENTS_MAX)
		client_refuse(q->control, fd, uid, "too many clients");
	else
		client_new(q, fd, uid);
}

void
control_init(struct qmgr *q)
{
	q->control = calloc(1, sizeof(*q->control));
	if (q->control == NULL)
		fatal("out of memory");
	q->control->fd = -1;
	q->control->pause_ev = event_new(q->role->base, -1, 0, on_pause_end,
	    q->control);
	if (q->control->pause_ev == NULL)
		fatal("out of memory");
}

void
control_listener(struct qmgr *q, int fd)
{
	struct control *ct = q->control;

	if (ct->listen_ev != NULL) {
		event_free(ct->listen_ev);
		close(ct->fd);
	}
	ct->fd = fd;
	ct->listen_ev = event_new(q->role->base, fd, EV_READ | EV_PERSIST,
	    on_accept, q);
	if (ct->listen_ev == NULL || event_add(ct->listen_ev, NULL) != 0)
		fatal("out of memory");
}

/* ---- answers ---- */

/* Takes the object. */
void
client_row(struct client *cl, json_t *row)
{
	char *text = json_dumps(row, JSON_COMPACT | JSON_ENSURE_ASCII);

	if (text != NULL)
		ipc_send_ctl_row(cl->chan,
		    &(struct ipc_ctl_row){ .json = sv_from(text) });
	free(text);
	json_decref(row);
}

/* With what --yes would do, nothing was done. */
static void
answer(struct client *cl, unsigned status, struct sv text)
{
	enum audited how = cl->audited;

	cl->audited = AUDIT_NO;
	if (how == AUDIT_YES || (how == AUDIT_IF_YES && cl->sel.yes))
		audit_note(cl, status, text);
	ipc_send_ctl_end(cl->chan, &(struct ipc_ctl_end){
	    .status = (uint8_t)status, .text = text });
}

void
client_end(struct client *cl, unsigned status, const char *fmt, ...)
{
	char text[1024];
	struct str s;
	va_list ap;

	STR_ON(&s, text);
	va_start(ap, fmt);
	str_vaddf(&s, fmt, ap);
	va_end(ap);
	answer(cl, status, str_sv(&s));
}

/* A JSON string of bytes that may be anything. */
json_t *
json_sv(struct sv v)
{
	char text[2048];
	json_t *j = json_stringn(v.p == NULL ? "" : v.p, v.n);
	struct str s;

	if (j != NULL)
		return j;
	STR_ON(&s, text);
	str_add_escaped(&s, v);
	return json_string(text);
}

/* ---- requests ---- */

static const struct command {
	const char *words;   /* the command's words, split by a blank */
	unsigned nwords;
	enum audited audited;
	void (*run)(struct client *cl, const struct words *w);
} commands[] = {
	{ "show status", 2, AUDIT_NO, cmd_show_status },
	{ "show queues", 2, AUDIT_NO, cmd_show_queues },
	{ "show topqueues", 2, AUDIT_NO, cmd_show_queues },
	{ "show domains", 2, AUDIT_NO, cmd_show_domains },
	{ "show topdomains", 2, AUDIT_NO, cmd_show_topdomains },
	{ "show vmtas", 2, AUDIT_NO, cmd_show_vmtas },
	{ "show jobs", 2, AUDIT_NO, cmd_show_jobs },
	{ "show limits", 2, AUDIT_NO, cmd_show_limits },
	{ "show ips", 2, AUDIT_NO, cmd_show_ips },
	{ "show config", 2, AUDIT_NO, cmd_show_config },
	{ "show version", 2, AUDIT_NO, cmd_show_version },
	{ "show audit", 2, AUDIT_NO, cmd_show_audit },
	{ "show orders", 2, AUDIT_NO, cmd_show_orders },
	{ "show trash", 2, AUDIT_NO, cmd_show_trash },
	{ "show warmup", 2, AUDIT_NO, cmd_show_warmup },
	{ "show disabled sources", 3, AUDIT_NO, cmd_show_disabled },
	{ "show message", 2, AUDIT_NO, cmd_show_message },
	{ "list", 1, AUDIT_NO, cmd_list },
	{ "diagnose", 1, AUDIT_NO, cmd_diagnose },
	{ "simulate", 1, AUDIT_NO, cmd_simulate },
	{ "explain queue", 2, AUDIT_NO, cmd_explain_queue },
	{ "explain message", 2, AUDIT_NO, cmd_explain_message },
	{ "pause queue", 2, AUDIT_YES, cmd_pause },
	{ "resume queue", 2, AUDIT_YES, cmd_resume },
	{ "pause job", 2, AUDIT_YES, cmd_pause_job },
	{ "resume job", 2, AUDIT_YES, cmd_resume_job },
	{ "set queue", 2, AUDIT_YES, cmd_set_queue },
	{ "set priority", 2, AUDIT_YES, cmd_set_priority },
	{ "schedule", 1, AUDIT_YES, cmd_schedule },
	{ "delete", 1, AUDIT_IF_YES, cmd_delete },
	{ "undo", 1, AUDIT_YES, cmd_undo },
	{ "hold", 1, AUDIT_YES, cmd_hold },
	{ "bounce", 1, AUDIT_IF_YES, cmd_bounce },
	{ "release", 1, AUDIT_YES, cmd_release },
	{ "disable source", 2, AUDIT_YES, cmd_disable_source },
	{ "enable source", 2, AUDIT_YES, cmd_enable_source },
	{ "rebind", 1, AUDIT_IF_YES, cmd_rebind },
	{ "reset counters", 2, AUDIT_YES, cmd_reset_counters },
	{ "reload", 1, AUDIT_YES, cmd_master },
	{ "stop", 1, AUDIT_YES, cmd_master },
	{ "resolve", 1, AUDIT_NO, cmd_resolve },
	{ "trace", 1, AUDIT_NO, cmd_trace },
	{ "rotate log", 2, AUDIT_YES, cmd_rotate_log },
	{ "rotate acct", 2, AUDIT_YES, cmd_rotate_acct },
};

static bool
command_matches(const struct command *c, const struct words *w)
{
	struct sv rest = sv_from(c->words);

	if (w->n < c->nwords)
		return false;
	for (unsigned i = 0; i < c->nwords; i++) {
		if (!sv_eq(sv_cut(&rest, ' '), w->v[i]))
			return false;
	}
	return true;
}

/* What the command before has left. */
static void
client_reset(struct client *cl)
{
	texts_free(cl);
	cl->sel = (struct selector){ .yes = false };
	cl->count = cl->inflight = 0;
	cl->order = cl->deletion = 0;
	json_decref(cl->sample);
	cl->sample = NULL;
	free(cl->target);
	cl->target = NULL;
}

static void
on_request(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_ctl_request *m = msg;
	struct client *cl = arg;
	struct words w = { .n = m->words.n };
	struct words rest;

	(void)c;
	if (cl->walk != NULL || cl->token != 0 || cl->trace != NULL) {
		ipc_send_ctl_end(cl->chan, &(struct ipc_ctl_end){
		    .status = 1, .text = SV("one command at a time") });
		return;
	}
	/* a command that goes on in slices needs its words longer */
	client_reset(cl);
	for (unsigned i = 0; i < w.n; i++) {
		if (sv_find(svs_get(&m->words, i), '\0') >= 0) {
			client_end(cl, 2, "a word has a zero byte");
			return;
		}
		cl->texts[cl->ntexts] = sv_dup(svs_get(&m->words, i));
		w.v[i] = sv_from(cl->texts[cl->ntexts++]);
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		const struct command *cmd = &commands[i];

		if (!command_matches(cmd, &w))
			continue;
		cl->audited = cmd->audited;
		rest.name = w.v[0];
		rest.n = w.n - cmd->nwords;
		memcpy(rest.v, w.v + cmd->nwords,
		    rest.n * sizeof(rest.v[0]));
		cmd->run(cl, &rest);
		qmgr_turn_end(cl->q);
		return;
	}
	client_end(cl, 2, "unknown command");
}

/* ---- what other processes are asked ---- */

uint64_t
client_ask(struct client *cl, enum control_asks who)
{
	cl->token = ++cl->q->control->next_token;
	cl->asks = who;
	return cl->token;
}

struct client *
client_asked(struct qmgr *q, uint64_t token)
{
	struct client *cl = q->control->clients;

	while (cl != NULL && (token == 0 || cl->token != token))
		cl = cl->next;
	if (cl != NULL)
		cl->token = 0;
	return cl;
}

static void orphan_answer(struct client *cl, bool stop);

void
control_peer_gone(struct qmgr *q, enum control_asks who)
{
	struct client *cl, *next;

	for (cl = q->control == NULL ? NULL : q->control->clients; cl != NULL;
	    cl = next) {
		next = cl->next;
		if (cl->token == 0 || cl->asks != who)
			continue;
		cl->token = 0;
		if (who == ASKS_MASTER)
			orphan_answer(cl, cl->wants_stop);
		else if (who == ASKS_ACCT)
			client_end(cl, 1, "the accounting process has ended; "
			    "whether it closed its files is not known");
		else
			client_end(cl, 1, "the resolver has ended; it is "
			    "started again");
	}
}

/* ---- what only the master can do ---- */

static void
orphan_answer(struct client *cl, bool stop)
{
	client_end(cl, stop ? 0 : 1, stop ? "stopping" :
	    "the master is gone");
	chan_flush(cl->chan);
	if (stop)
		role_orphan_stop(cl->q->role);
}

static void
master_ask(struct client *cl, struct sv command)
{
	struct ipc_master_cmd m = { .command = command };

	cl->wants_stop = sv_eq(command, SV("stop"));
	if (cl->q->role->master == NULL) {
		orphan_answer(cl, cl->wants_stop);
		return;
	}
	log_info("control: %.*s by user %u", SV_FMT(command),
	    (unsigned)cl->uid);
	m.token = client_ask(cl, ASKS_MASTER);
	ipc_send_master_cmd(cl->q->role->master, &m);
}

void
cmd_master(struct client *cl, const struct words *w)
{
	master_ask(cl, w->name);
}

void
cmd_rotate_log(struct client *cl, const struct words *w)
{
	if (w->n > 0)
		client_end(cl, 2, "rotate log takes no words");
	else
		master_ask(cl, SV("rotate log"));
}

void
control_master_reply(struct qmgr *q, const struct ipc_master_reply *m)
{
	struct client *cl = client_asked(q, m->token);

	if (cl == NULL)
		return;
	answer(cl, m->ok ? 0 : 1, m->text);
	chan_flush(cl->chan);
}

void
control_master_gone(struct qmgr *q)
{
	control_peer_gone(q, ASKS_MASTER);
}

/* ---- what only acct can do ---- */

void
cmd_rotate_acct(struct client *cl, const struct words *w)
{
	struct ipc_rotate m = { .file = w->n > 0 ? w->v[0] : SV("") };

	if (w->n > 1) {
		client_end(cl, 2, "rotate acct takes one file");
	} else if (m.file.n > IPC_NAME_MAX) {
		client_end(cl, 2, "no accounting file has so long a name");
	} else if (cl->q->acct.chan == NULL) {
		client_end(cl, 1, "the accounting process does not run");
	} else {
		m.token = client_ask(cl, ASKS_ACCT);
		ipc_send_rotate(cl->q->acct.chan, &m);
	}
}

void
control_rotated(struct qmgr *q, const struct ipc_rotated *m)
{
	struct client *cl = client_asked(q, m->token);

	if (cl == NULL)
		return;
	for (uint32_t i = 0; i < m->files.n; i++) {
		json_t *row = json_object();

		json_object_set_new(row, "closed",
		    json_sv(svs_get(&m->files, i)));
		client_row(cl, row);
	}
	if (!m->ok)
		client_end(cl, 1, "%.*s", SV_FMT(m->text));
	else if (m->files.n == 0)
		client_end(cl, 0, "no accounting file is open");
	else
		client_end(cl, 0, "%u closed; the next record begins a new "
		    "one", m->files.n);
	chan_flush(cl->chan);
}
