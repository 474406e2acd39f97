/* SPDX-License-Identifier: ISC */
/*
 * A whole spool made by a script and then damaged, and what recovery makes of
 * it. The input is a list of steps of three bytes; EVENT takes more. Oracles:
 * recovering twice gives the same; undamaged, or with only events and
 * checkpoints damaged, no message is lost that was committed and is not done;
 * checking and rebuilding end, and what was rebuilt recovers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/msgid.h"
#include "common/base/rw.h"
#include "common/mail/envelope.h"
#include "common/spool/batch.h"
#include "common/spool/live.h"
#include "common/spool/recover.h"
#include "common/spool/segtab.h"
#include "common/spool/sio_mem.h"
#include "common/spool/spoolcheck.h"
#include "tests/fuzz/fuzz.h"

#define SEG_SIZE UINT64_C(32768)
#define MSGS     64

enum step {
	S_COMMIT, S_ACCEPT, S_ATTEMPT, S_EVENT, S_SYNC, S_CHECKPOINT, S_SEAL,
	/* from here on nothing more is written */
	S_FLIP, S_CUT, S_SMEAR, S_UNLINK, STEPS
};

struct msg {
	uint64_t id, segment, offset, length;
	bool accepted;
	unsigned done;   /* a bit for each of two recipients */
};

struct spool {
	struct sio *sio;
	struct evlog *log;
	struct segtab *tab;
	struct sio_file *writer;
	uint64_t segment, place;
	struct msg msgs[MSGS];
	size_t nmsgs;
	bool strange;    /* events of the input's own were written */
	bool hurt;       /* a segment was damaged */
};

struct result {
	struct live *live;
	uint64_t found[MSGS + 8];
	size_t nfound;
	struct recover_stats st;
};

/* ---- writing ---- */

static void
segment_begin(struct spool *p)
{
	sio_close(&p->writer);
	must(segtab_grant(p->tab, 0, &p->segment) == 0);
	p->writer = segtab_writer_open(p->tab, p->segment);
	must(p->writer != NULL);
	p->place = SEGMENT_HEADER;
}

static void
spool_open(struct spool *p)
{
	struct segtab_conf conf = { .epoch = 1, .segment_size = SEG_SIZE,
		.free_max = 2 };

	memset(p, 0, sizeof(*p));
	p->sio = sio_mem_new();
	must(sio_spool_create(p->sio) == 0);
	p->log = evlog_open(p->sio, (struct evlog_pos){ 0, 0 });
	p->tab = segtab_open(p->sio, &conf);
	must(p->log != NULL && p->tab != NULL);
	segment_begin(p);
}

static void
do_commit(struct spool *p, uint8_t fill, uint8_t len)
{
	unsigned char env[256], header[RECORD_HEADER], body[256];
	struct env_rcpt rcpts[2] = { { .addr = SV("a@x.test") },
		{ .addr = SV("b@y.test") } };
	struct envelope e = { .sender = SV("s@z.test"), .rcpts = rcpts,
		.nrcpts = 2, .src_type = SV("smtp") };
	struct iovec iov = { body, len };
	struct record_parts parts = { .id = msgid_make(p->segment, p->place),
		.segment = p->segment, .body = &iov, .nbody = 1 };
	struct msg *m = &p->msgs[p->nmsgs];
	struct batch b;
	struct wr w;

	if (p->nmsgs == MSGS || p->place + 1024 > SEG_SIZE)
		return;
	memset(body, fill, sizeof(body));
	wr_init(&w, env, sizeof(env));
	envelope_encode(&w, &e);
	parts.env = sv_make(env, w.n);
	batch_init(&b, p->writer, p->place);
	*m = (struct msg){ parts.id, p->segment, p->place,
		batch_add(&b, &parts, header), false, 0 };
	must(batch_write(&b) == 0);
	p->place = b.end;
	p->nmsgs++;
	batch_fini(&b);
}

static void
accept_any(const struct msg *m, union ev_any *any, struct sv domains[2])
{
	domains[0] = SV("x.test");
	domains[1] = SV("y.test");
	memset(any, 0, sizeof(*any));
	any->accept = (struct ev_accept){ .id = m->id,
		.segment = m->segment, .offset = m->offset,
		.length = m->length,
		.domains = { .array = domains, .n = 2 } };
}

/* In order, as COMMITs come. */
static void
do_accept(struct spool *p)
{
	struct sv domains[2];
	union ev_any any;

	for (size_t i = 0; i < p->nmsgs; i++) {
		struct msg *m = &p->msgs[i];

		if (m->accepted)
			continue;
		accept_any(m, &any, domains);
		must(evlog_append(p->log, EV_ACCEPT, &any) == 0);
		must(segtab_ref(p->tab, m->segment, m->offset, m->length));
		m->accepted = true;
		return;
	}
}

static void
do_attempt(struct spool *p, uint8_t which, uint8_t how)
{
	struct msg *m = &p->msgs[which % MSGS];
	union ev_any any;

	if (which % MSGS >= p->nmsgs || !m->accepted ||
	    (m->done & (1u << (how & 1))) != 0)
		return;
	memset(&any, 0, sizeof(any));
	any.attempt.id = m->id;
	any.attempt.rcpt_idx = how & 1;
	any.attempt.action = (how & 2) != 0 ? ACT_DEFERRED : ACT_DELIVERED;
	must(evlog_append(p->log, EV_ATTEMPT, &any) == 0);
	if ((how & 2) != 0)
		return;
	m->done |= 1u << (how & 1);
	if (m->done == 3)
		segtab_unref(p->tab, m->segment, m->length,
		    evlog_position(p->log));
}

static void
do_event(struct spool *p, uint8_t type, struct sv bytes)
{
	union ev_any any;

	type = (uint8_t)(type % (EV_TYPES + 1u));
	if (!ev_decode(type, bytes, &any))
		return;
	must(evlog_append(p->log, (enum ev_type)type, &any) == 0);
	p->strange = true;
}

static void
checkpoint_msg(struct checkpoint *c, const struct msg *m)
{
	struct sv domains[2];
	union ev_any any;

	if (!m->accepted || m->done == 3)
		return;
	accept_any(m, &any, domains);
	must(checkpoint_add(c, EV_ACCEPT, &any) == 0);
	for (unsigned k = 0; k < 2; k++) {
		if ((m->done & (1u << k)) == 0)
			continue;
		memset(&any, 0, sizeof(any));
		any.rcpt = (struct ev_rcpt){ .id = m->id, .rcpt_idx = k,
			.state = EVR_DONE };
		must(checkpoint_add(c, EV_RCPT, &any) == 0);
	}
}

static void
do_checkpoint(struct spool *p, bool cut)
{
	struct checkpoint *c;
	uint64_t number;

	must(evlog_rotate(p->log) == 0);
	number = evlog_position(p->log).file;
	c = checkpoint_begin(p->sio, number);
	must(c != NULL && segtab_checkpoint(p->tab, c) == 0);
	for (size_t i = 0; i < p->nmsgs; i++)
		checkpoint_msg(c, &p->msgs[i]);
	must(evlog_sync(p->log) == 0);
	must(checkpoint_commit(&c) == 0);
	if (cut)
		must(evlog_cut(p->log, number) == 0);
}

/* As for a SEG_DONE: every message in it is known by then. */
static void
do_seal(struct spool *p)
{
	union ev_any any;

	for (size_t i = 0; i < p->nmsgs; i++)
		do_accept(p);
	memset(&any, 0, sizeof(any));
	any.seg_end = (struct ev_seg_end){ p->segment, p->place };
	must(evlog_append(p->log, EV_SEG_END, &any) == 0);
	segtab_seal(p->tab, p->segment, p->place, evlog_position(p->log));
	segment_begin(p);
}

/* ---- damage ---- */

struct pick {
	char path[SIO_PATH_MAX];
	const char *folder;
	unsigned left;
};

static int
on_name(const char *name, void *arg)
{
	struct pick *k = arg;

	if (k->left-- > 0)
		return 0;
	if ((size_t)snprintf(k->path, sizeof(k->path), "%s/%s", k->folder,
	    name) >= sizeof(k->path))
		abort();
	return 1;
}

static void
do_damage(struct spool *p, enum step step, uint8_t a, uint8_t b)
{
	static const char *const folders[] = { "events", "checkpoint",
		"segments" };
	struct pick k = { .folder = folders[a % 3], .left = a / 3 % 4 };
	unsigned char mem[64];
	struct sio_file *f;
	uint64_t size = 0;

	if (sio_list(p->sio, k.folder, on_name, &k) != 1)
		return;
	f = sio_open(p->sio, k.path, SIO_READ | SIO_WRITE);
	must(f != NULL && sio_size(f, &size) == 0);
	p->hurt = p->hurt || a % 3 == 2;
	/* most of a segment is zeros behind the records */
	size = size > 4096 ? 4096 : size;
	if (step == S_FLIP && size > 0) {
		must(sio_mem_flip(p->sio, k.path, (a / 12u + b * 16u) % size));
	} else if (step == S_CUT) {
		must(sio_ftruncate(f, b * size / 255) == 0);
	} else if (step == S_SMEAR) {
		memset(mem, b, sizeof(mem));
		must(sio_pwrite(f, mem, sizeof(mem), b * size / 255) == 0);
	} else if (step == S_UNLINK) {
		must(sio_unlink(p->sio, k.path) == 0);
	}
	sio_close(&f);
}

static void
script_run(struct spool *p, struct rd *r)
{
	bool closed = false;

	while (r->n >= 3 && !r->failed) {
		enum step step = (enum step)(rd_u8(r) % STEPS);
		uint8_t a = rd_u8(r), b = rd_u8(r);

		if (step >= S_FLIP) {
			must(evlog_write(p->log) == 0);
			closed = true;
			do_damage(p, step, a, b);
		} else if (closed) {
			continue;
		} else if (step == S_COMMIT) {
			do_commit(p, a, b);
		} else if (step == S_ACCEPT) {
			do_accept(p);
		} else if (step == S_ATTEMPT) {
			do_attempt(p, a, b);
		} else if (step == S_EVENT) {
			do_event(p, a, rd_bytes(r, b));
		} else if (step == S_SYNC) {
			must(evlog_sync(p->log) == 0);
		} else if (step == S_CHECKPOINT) {
			do_checkpoint(p, (b & 1) != 0);
		} else if (step == S_SEAL) {
			do_seal(p);
		}
	}
	if (!closed)
		must(evlog_write(p->log) == 0);
}

/* ---- recovery ---- */

static void
on_event(void *arg, enum ev_type type, const union ev_any *m,
    struct evlog_pos at)
{
	(void)at;
	live_event(((struct result *)arg)->live, type, m);
}

static void
on_found(void *arg, const struct record *r)
{
	struct result *res = arg;

	must(res->nfound < sizeof(res->found) / sizeof(res->found[0]));
	res->found[res->nfound++] = r->id;
}

static void
on_problem(void *arg, const char *text)
{
	(void)arg;
	must(text[0] != '\0');
}

static void
recover(struct sio *s, struct result *r)
{
	static const struct recover_ops ops = { .on_event = on_event,
		.on_found = on_found, .on_problem = on_problem };

	memset(r, 0, sizeof(*r));
	r->live = live_new();
	must(spool_recover(s, &ops, r, &r->st) == 0);
}

static bool
was_found(const struct result *r, uint64_t id)
{
	for (size_t i = 0; i < r->nfound; i++) {
		if (r->found[i] == id)
			return true;
	}
	return false;
}

static void
results_compare(const struct result *a, const struct result *b)
{
	struct live_msg *m, *n;
	size_t at = 0;

	must(live_count(a->live) == live_count(b->live));
	while ((m = live_next(a->live, &at)) != NULL) {
		n = live_find(b->live, m->id);
		must(n != NULL && n->ndone == m->ndone &&
		    n->nrcpts == m->nrcpts && n->offset == m->offset &&
		    n->segment == m->segment);
	}
	must(a->nfound == b->nfound);
	for (size_t i = 0; i < a->nfound; i++)
		must(was_found(b, a->found[i]));
	must(a->st.checkpoint == b->st.checkpoint);
}

static void
nothing_lost(const struct spool *p, const struct result *r)
{
	for (size_t i = 0; i < p->nmsgs; i++) {
		const struct msg *m = &p->msgs[i];

		must(m->done == 3 || live_find(r->live, m->id) != NULL ||
		    was_found(r, m->id));
	}
}

static void
on_line(void *arg, bool problem, const char *text)
{
	(void)arg;
	(void)problem;
	must(text[0] != '\0');
}

static void
tools_run(struct spool *p)
{
	struct spool_report rep = { .line = on_line };
	struct result r;

	(void)spool_check(p->sio, &rep);
	rep = (struct spool_report){ .line = on_line };
	if (spool_rebuild(p->sio, &rep) != 0)
		return;
	recover(p->sio, &r);
	live_free(&r.live);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct result one, two;
	struct spool p;
	struct rd r;

	if (size < 3 || size > 4096)
		return 0;
	spool_open(&p);
	rd_init(&r, data, size);
	script_run(&p, &r);
	sio_close(&p.writer);
	evlog_free(&p.log);
	segtab_free(&p.tab);
	recover(p.sio, &one);
	recover(p.sio, &two);
	results_compare(&one, &two);
	if (!p.strange && !p.hurt)
		nothing_lost(&p, &one);
	live_free(&one.live);
	live_free(&two.live);
	tools_run(&p);
	sio_free(&p.sio);
	return 0;
}
