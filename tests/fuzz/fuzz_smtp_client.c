/* SPDX-License-Identifier: ISC */
/*
 * A server that says anything at all. The first bytes choose flags and sizes,
 * the rest is what it says, in pieces cut at 0xff bytes; at the end it hangs
 * up. Every transaction must come back once, every recipient decided, and
 * nothing that the client sends may hold a bare CR or LF.
 */
#include <stdlib.h>
#include <string.h>

#include "common/mail/smtp_client.h"

#define MSGS  4
#define RCPTS 3

struct owner {
	struct smtp_txn txns[MSGS];
	struct smtp_rcpt rcpts[MSGS][RCPTS];
	struct arena arena;
	unsigned next, back;
	bool abandoned;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
on_up(void *arg)
{
	(void)arg;
}

static struct smtp_txn *
on_next(void *arg)
{
	struct owner *o = arg;

	return o->next < MSGS ? &o->txns[o->next++] : NULL;
}

static ssize_t
on_read(void *arg, struct smtp_txn *t, uint64_t at, void *p, size_t n)
{
	(void)arg;
	if (n > t->body_len - at)
		n = (size_t)(t->body_len - at);
	memset(p, '.', n);
	return (ssize_t)n;
}

static void
on_dot(void *arg, struct smtp_txn *t)
{
	(void)arg;
	if (t->naccepted == 0 || t->phase == TXN_DOT)
		abort();
}

static void
on_done(void *arg, struct smtp_txn *t)
{
	struct owner *o = arg;

	o->back++;
	for (uint32_t i = 0; i < t->nrcpts; i++) {
		const struct smtp_rcpt *r = &t->rcpts[i];

		if (!r->decided || r->outcome >= OUTCOMES)
			abort();
		if (r->outcome == OUT_DELIVERED &&
		    (!r->accepted || t->dot_at == 0))
			abort();
		if (r->outcome == OUT_IN_DOUBT && t->dot_at == 0)
			abort();
	}
}

static void
on_untried(void *arg, struct smtp_txn *t)
{
	struct owner *o = arg;

	for (uint32_t i = 0; i < t->nrcpts; i++)
		if (t->rcpts[i].decided && !o->abandoned)
			abort();
	o->back++;
}

static const struct smtp_client_ops ops = {
	.on_up = on_up,
	.txn_next = on_next,
	.body_read = on_read,
	.before_dot = on_dot,
	.txn_done = on_done,
	.txn_untried = on_untried,
};

static void
owner_init(struct owner *o, uint8_t how)
{
	memset(o, 0, sizeof(*o));
	arena_init(&o->arena, 1 << 20);
	for (unsigned i = 0; i < MSGS; i++) {
		struct smtp_txn *t = &o->txns[i];

		t->sender = SV("s@x");
		t->head = SV("Received: x\r\n");
		t->body = SV("a\r\n.\r\nb\rc\nd");
		t->body_len = t->body.n;
		t->has_8bit = (how & 1) != 0 && i == 1;
		t->flags = (how & 2) != 0 && i == 2 ? ENV_SMTPUTF8 : 0;
		if ((how & 4) != 0 && i == 3) {
			t->body = SV("");
			t->body_len = 70000;
		}
		t->rcpts = o->rcpts[i];
		t->nrcpts = RCPTS;
		t->arena = &o->arena;
		for (unsigned k = 0; k < RCPTS; k++)
			t->rcpts[k].addr = SV("r@x");
	}
}

/* The output: CR and LF only together. */
static void
out_check(struct buf *out, bool *cr)
{
	struct sv v = buf_sv(out);

	for (size_t i = 0; i < v.n; i++) {
		if (*cr != (v.p[i] == '\n'))
			abort();
		*cr = v.p[i] == '\r';
	}
	buf_clear(out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smtp_client c;
	struct buf in, out;
	struct owner o;
	bool alive = true, cr = false;

	if (size < 2 || size > 65536)
		return 0;
	owner_init(&o, data[0]);
	buf_init(&in, SMTP_CLIENT_IN_CAP);
	buf_init(&out, SMTP_CLIENT_OUT_CAP);
	smtp_client_init(&c, SV("h"), data[1] & 0x0f, &ops, &o);
	for (size_t i = 2; i < size && alive;) {
		const uint8_t *cut = memchr(data + i, 0xff, size - i);
		size_t n = cut != NULL ? (size_t)(cut - data) - i : size - i;

		if (n > in.cap - buf_len(&in))
			break;
		if (buf_add(&in, data + i, n) != 0)
			abort();
		i += n + 1;
		alive = smtp_client_run(&c, &in, &out);
		out_check(&out, &cr);
		if (i > 200)
			smtp_client_quit(&c);
	}
	o.abandoned = (data[0] & 0x40) != 0;
	if (o.abandoned)
		(void)smtp_client_abandon(&c);
	smtp_client_lost(&c, 0, (data[0] & 0x80) != 0, SV("gone"));
	if (!c.ended || o.back != o.next || c.txn != NULL || c.dotted != NULL)
		abort();
	buf_fini(&in);
	buf_fini(&out);
	arena_fini(&o.arena);
	return 0;
}
