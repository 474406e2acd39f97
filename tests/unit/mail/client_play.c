/* SPDX-License-Identifier: ISC */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/mail/client_play.h"

/* ---- the server ---- */

static void
server_say(struct server *v, const char *special, const char *usual)
{
	unsigned at = v->ntxn > 0 ? v->ntxn - 1 : 0;
	bool about = v->s->to == 0 || (at >= v->s->from && at < v->s->to);
	const char *text = about && special != NULL ? special : usual;
	size_t n = strlen(text);

	if (strcmp(text, "~") == 0)
		v->silent = true;
	if (v->silent || v->closed)
		return;
	if (text[n - 1] == '!') {
		v->closed = true;
		n--;
	}
	ck_assert_int_eq(buf_add(&v->out, text, n), 0);
	if (n > 0)
		ck_assert_int_eq(buf_add(&v->out, "\r\n", 2), 0);
}

static void
server_data(struct server *v)
{
	char seen[8];

	snprintf(seen, sizeof(seen), "354");
	server_say(v, v->s->data, "354 go");
	/* it believes itself that it said 354 */
	v->in_data = !v->closed &&
	    (v->s->data == NULL || strncmp(v->s->data, seen, 3) == 0 ||
	        (v->s->to != 0 && v->ntxn > v->s->to));
}

static void
server_command(struct server *v, struct sv line)
{
	const struct script *s = v->s;

	strncat(v->log, line.p, line.n < 200 ? line.n : 200);
	strcat(v->log, "|");
	if (sv_istarts(line, SV("EHLO"))) {
		server_say(v, s->ehlo, "250-hi\r\n250-SIZE 0\r\n"
		                       "250 PIPELINING");
	} else if (sv_istarts(line, SV("HELO"))) {
		server_say(v, s->helo, "250 hi");
	} else if (sv_istarts(line, SV("MAIL FROM:<"))) {
		v->ntxn++;
		server_say(v, s->mail, "250 ok");
	} else if (sv_istarts(line, SV("RCPT TO:<"))) {
		server_say(v, s->rcpt[line.p[9] - 'a'], "250 ok");
	} else if (sv_ieq(line, SV("DATA"))) {
		server_data(v);
	} else if (sv_ieq(line, SV("RSET"))) {
		server_say(v, s->rset, "250 ok");
	} else if (sv_ieq(line, SV("QUIT"))) {
		server_say(v, s->quit, "221 bye!");
	} else {
		ck_abort_msg("unknown command in %s", v->log);
	}
}

static void
server_run(struct server *v)
{
	while (!v->closed) {
		struct sv all = buf_sv(&v->in), line;
		ptrdiff_t at = sv_find(all, '\n');

		if (at < 0)
			return;
		ck_assert(at > 0 && all.p[at - 1] == '\r');
		line = sv_head(all, (size_t)at - 1);
		if (!v->in_data) {
			server_command(v, line);
		} else if (sv_eq(line, SV("."))) {
			v->in_data = false;
			v->nmessages++;
			server_say(v, v->s->dot, "250 2.0.0 taken");
		}
		buf_consume(&v->in, (size_t)at + 1);
	}
}

/* ---- the client's owner ---- */

static void
on_up(void *arg)
{
	((struct owner *)arg)->nup++;
}

static struct smtp_txn *
on_next(void *arg)
{
	struct owner *o = arg;

	return o->next < o->s->nmsgs ? &o->txns[o->next++] : NULL;
}

static void
on_dot(void *arg, struct smtp_txn *t)
{
	ck_assert_uint_gt(t->naccepted, 0);
	((struct owner *)arg)->ndots++;
}

static void
on_done(void *arg, struct smtp_txn *t)
{
	struct owner *o = arg;

	o->returned[t - o->txns]++;
	for (uint32_t i = 0; i < t->nrcpts; i++) {
		ck_assert(t->rcpts[i].decided);
		ck_assert_uint_gt(t->rcpts[i].text.n, 0);
		ck_assert_uint_gt(t->rcpts[i].status.n, 0);
	}
}

static void
on_untried(void *arg, struct smtp_txn *t)
{
	struct owner *o = arg;

	o->returned[t - o->txns]++;
	o->untried[t - o->txns] = true;
}

static ssize_t
on_read(void *arg, struct smtp_txn *t, uint64_t at, void *p, size_t n)
{
	(void)arg;
	(void)t;
	(void)at;
	(void)p;
	(void)n;
	return -1;
}

const struct smtp_client_ops play_ops = {
	.on_up = on_up,
	.txn_next = on_next,
	.body_read = on_read,
	.before_dot = on_dot,
	.txn_done = on_done,
	.txn_untried = on_untried,
};

void
owner_init(struct owner *o, const struct script *s)
{
	static const char *const names[RCPTS] = { "a@x", "b@x", "c@x" };

	memset(o, 0, sizeof(*o));
	o->s = s;
	arena_init(&o->arena, 1 << 20);
	for (unsigned i = 0; i < MSGS; i++) {
		struct smtp_txn *t = &o->txns[i];

		t->sender = SV("s@x");
		t->head = SV("Received: x\r\n");
		t->body = SV("Subject: x\r\n\r\n.\r\nRSET\r\n");
		t->body_len = t->body.n;
		t->rcpts = o->rcpts[i];
		t->nrcpts = RCPTS;
		t->arena = &o->arena;
		for (unsigned k = 0; k < RCPTS; k++)
			t->rcpts[k].addr = sv_from(names[k]);
	}
}

char
letter(const struct smtp_rcpt *r)
{
	static const char letters[OUTCOMES + 1] = "DTPLIUN";

	return r->decided ? letters[r->outcome] : '?';
}

static void
pump(struct buf *from, struct buf *to, size_t max)
{
	size_t room = to->cap - buf_len(to);

	if (max > room)
		max = room;
	if (max > buf_len(from))
		max = buf_len(from);
	ck_assert_int_eq(buf_add(to, buf_data(from), max), 0);
	buf_consume(from, max);
}

/* Plays one session to its end. */
void
play(const struct script *s, size_t piece, struct owner *o, struct server *v,
    struct smtp_client *c)
{
	struct buf in, out;

	owner_init(o, s);
	memset(v, 0, sizeof(*v));
	v->s = s;
	buf_init(&v->in, 1 << 20);
	buf_init(&v->out, 1 << 20);
	buf_init(&in, SMTP_CLIENT_IN_CAP);
	buf_init(&out, SMTP_CLIENT_OUT_CAP);
	smtp_client_init(c, SV("here.test"), s->flags, &play_ops, o);
	server_say(v, s->greeting, "220 hi");
	for (;;) {
		bool quiet = buf_len(&v->out) == 0;

		pump(&v->out, &in, piece);
		if (!smtp_client_run(c, &in, &out))
			break;
		quiet = quiet && buf_len(&out) == 0;
		pump(&out, &v->in, SIZE_MAX);
		server_run(v);
		if (!quiet || buf_len(&v->out) > 0)
			continue;
		if (v->closed) {
			smtp_client_lost(c, 0, false, SV("reset"));
			break;
		}
		if (smtp_client_is_idle(c) && !c->want_quit) {
			smtp_client_quit(c);
			continue;
		}
		smtp_client_lost(c, 0, true, SV(""));
		break;
	}
	buf_fini(&in);
	buf_fini(&out);
}

void
play_end(struct owner *o, struct server *v)
{
	buf_fini(&v->in);
	buf_fini(&v->out);
	arena_fini(&o->arena);
}
