/* SPDX-License-Identifier: ISC */
/*
 * The ledger: what was promised to whom, kept where no crash reaches it, and
 * the invariants that a recovered spool must hold against it:
 *
 *  I1  what was acknowledged and did not surely end is there
 *  I2  nothing is there that nobody submitted; no recipient is done that was
 *      never tried
 *  I4  every message is whole, as it was submitted; I5 its envelope too
 *  I3  a recipient whose end was durable does not come back
 *  I6  at most one DSN for a recipient; one whose DSN is still to be made is
 *      in front of bounce's durable place, so that it will be made
 *  I8  recovery comes up, and the log is not damaged
 *  I9  a reader of the log goes on at its durable place and misses nothing
 *  I7  after all mail is delivered no file is left over
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/msgid.h"
#include "tests/unit/spool/crash.h"

static uint64_t compared;

uint64_t
ledger_compared(void)
{
	return compared;
}

uint64_t
rnd(struct world *w, uint64_t n)
{
	uint64_t z = w->rng += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (z ^ z >> 31) % n;
}

/* ---- what a message looks like ---- */

const unsigned char *
ledger_body(unsigned idx)
{
	static unsigned char *bodies[MSGS];
	uint32_t v = idx * 2654435761u + 1;

	if (bodies[idx] != NULL)
		return bodies[idx];
	bodies[idx] = malloc(BODY_MAX);
	if (bodies[idx] == NULL)
		abort();
	for (unsigned i = 0; i < BODY_MAX; i++) {
		v = v * 1664525u + 1013904223u;
		bodies[idx][i] = (unsigned char)(v >> 24);
	}
	return bodies[idx];
}

struct sv
ledger_env(const struct world *w, unsigned idx, char out[ENV_MAX])
{
	const struct msg *m = &w->msgs[idx];
	int n = snprintf(out, ENV_MAX, "env %u %u %u %u", idx, m->nrcpts,
	    m->is_dsn ? m->orig + 1 : 0, m->orig_rcpt);

	return sv_make(out, (size_t)n);
}

/* Whole records as they were written, so that most need no CRC again. */
static struct raw {
	uint64_t segment, offset;
	size_t n;
	unsigned char bytes[RAW_MAX];
} raws[MSGS];

void
ledger_raw_keep(const struct world *w, unsigned idx, const struct iovec *iov,
    size_t n)
{
	struct raw *r = &raws[idx];

	*r = (struct raw){ .segment = w->msgs[idx].segment,
		.offset = w->msgs[idx].offset };
	for (size_t i = 0; i < n; i++) {
		MUST(iov[i].iov_len <= RAW_MAX - r->n, "too long to keep");
		memcpy(r->bytes + r->n, iov[i].iov_base, iov[i].iov_len);
		r->n += iov[i].iov_len;
	}
}

int
ledger_find(const struct world *w, uint64_t id)
{
	static uint16_t cache[4096];
	uint16_t *at = &cache[(id * UINT64_C(0x9e3779b97f4a7c15)) >> 52];

	if (*at < w->nmsgs && w->msgs[*at].id == id)
		return *at;
	for (unsigned i = 0; i < w->nmsgs; i++) {
		if (w->msgs[i].id == id) {
			*at = (uint16_t)i;
			return (int)i;
		}
	}
	return -1;
}

uint64_t
ledger_attempt(struct world *w)
{
	MUST(w->nattempts + 1 < ATTEMPTS, "the ledger is full");
	w->attempts[++w->nattempts] = (struct attempt){ .lost = false };
	return w->nattempts;
}

/* ---- a recovered spool ---- */

static void
bouncing_set(struct view *v, uint64_t id, uint32_t rcpt, bool on)
{
	int idx = ledger_find(v->w, id);

	if (idx < 0 || rcpt >= RCPTS)
		return;
	if (on)
		v->bouncing[idx] |= (uint8_t)(1u << rcpt);
	else
		v->bouncing[idx] &= (uint8_t) ~(1u << rcpt);
}

static void
on_event(void *arg, enum ev_type type, const union ev_any *m,
    struct evlog_pos at)
{
	struct view *v = arg;

	(void)at;
	live_event(v->live, type, m);
	if (v->tab != NULL)
		segtab_on_event(v->tab, type, m);
	if (type == EV_ATTEMPT) {
		uint64_t seq = m->attempt.time_us;

		MUST(seq > 0 && seq < ATTEMPTS, "an ATTEMPT of nobody");
		v->seen[seq / 8] |= (uint8_t)(1u << seq % 8);
		if (m->attempt.wants_dsn)
			bouncing_set(v, m->attempt.id, m->attempt.rcpt_idx,
			    true);
	} else if (type == EV_RCPT && m->rcpt.state == EVR_BOUNCING) {
		bouncing_set(v, m->rcpt.id, m->rcpt.rcpt_idx, true);
	} else if (type == EV_BOUNCED) {
		for (uint32_t i = 0; i < m->bounced.rcpts.n; i++)
			bouncing_set(v, m->bounced.id,
			    u32s_get(&m->bounced.rcpts, i), false);
	}
}

static void
on_found(void *arg, const struct record *r)
{
	struct view *v = arg;

	MUST(v->nfound < MSGS, "more was found than was ever written");
	v->found[v->nfound++] = (struct found){ r->id, r->segment, r->offset,
		r->length, r->large_id };
}

static void
on_problem(void *arg, const char *text)
{
	struct view *v = arg;

	if (v->problems++ == 0 && getenv("CRASH_VERBOSE") != NULL)
		printf("%s (%s): %s\n", crash_phase, enum_where(), text);
}

int
view_recover(struct sio *s, struct view *v, const struct world *w,
    struct segtab *tab)
{
	static const struct recover_ops ops = { .on_event = on_event,
		.on_found = on_found, .on_problem = on_problem };

	v->nfound = v->problems = 0;
	memset(v->bouncing, 0, sizeof(v->bouncing));
	memset(v->seen, 0, sizeof(v->seen));
	v->w = w;
	v->tab = tab;
	v->live = live_new();
	return spool_recover(s, &ops, v, &v->st);
}

void
view_free(struct view *v)
{
	live_free(&v->live);
}

static uint64_t
mix(uint64_t z)
{
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint64_t
view_digest(const struct view *v)
{
	const struct live_msg *l;
	uint64_t sum = 0;
	size_t at = 0;

	while ((l = live_next(v->live, &at)) != NULL) {
		uint64_t bits = 1;

		for (uint32_t k = 0; k < l->nrcpts; k++)
			bits = bits << 1 | l->done[k];
		sum += mix(l->id ^ mix(l->segment << 32 ^ l->offset << 8 ^
		    bits ^ l->length << 44));
	}
	for (unsigned i = 0; i < v->nfound; i++)
		sum += mix(v->found[i].id ^ mix(v->found[i].segment << 32 ^
		    v->found[i].offset << 8));
	return sum;
}

static bool
is_found(const struct view *v, uint64_t id)
{
	for (unsigned i = 0; i < v->nfound; i++) {
		if (v->found[i].id == id)
			return true;
	}
	return false;
}

static bool
is_there(const struct view *v, const struct msg *m)
{
	return live_find(v->live, m->id) != NULL || is_found(v, m->id);
}

/* ---- records: I2, I4, I5 ---- */

static void
large_verify(struct sio *s, const struct msg *m, unsigned idx)
{
	unsigned char got[BODY_MAX + 1];
	char path[SIO_PATH_MAX];
	struct sio_file *f;

	snprintf(path, sizeof(path), "large/%020llu",
	    (unsigned long long)m->large_id);
	f = sio_open(s, path, SIO_READ);
	MUST(f != NULL, "message %u: its large file is gone", idx);
	MUST(sio_read_all(f, got, sizeof(got), 0) == (ssize_t)m->size &&
	    memcmp(got, ledger_body(idx), m->size) == 0,
	    "message %u: its large file is not what was submitted", idx);
	sio_close(&f);
}

static void
record_compare(const struct world *w, struct sio_file *f, unsigned idx,
    const struct found *at)
{
	const struct msg *m = &w->msgs[idx];
	char env[ENV_MAX];
	struct record rec;
	struct buf b;
	enum record_result got;

	buf_init(&b, RECORD_MAX);
	got = record_read(f, at->segment, at->offset, at->length, &b, &rec);
	MUST(got == RECORD_OK, "message %u at %llu/%llu: %s", idx,
	    (unsigned long long)at->segment, (unsigned long long)at->offset,
	    record_result_text(got));
	MUST(rec.id == m->id && rec.large_id == m->large_id &&
	    sv_eq(rec.env, ledger_env(w, idx, env)),
	    "message %u: another envelope", idx);
	MUST(m->large_id != 0 || (rec.body.n == m->size &&
	    memcmp(rec.body.p, ledger_body(idx), m->size) == 0),
	    "message %u: another body", idx);
	buf_fini(&b);
}

static void
record_verify(const struct world *w, struct sio *s, const struct found *at)
{
	int idx = ledger_find(w, at->id);
	unsigned char bytes[RAW_MAX];
	char path[SIO_PATH_MAX];
	const struct raw *r;
	struct sio_file *f;

	MUST(idx >= 0, "a message that nobody submitted");
	r = &raws[idx];
	f = sio_open(s, sio_path(path, "segments", at->segment, ".seg"),
	    SIO_READ);
	MUST(f != NULL, "message %d: its segment %llu is gone", idx,
	    (unsigned long long)at->segment);
	if (r->segment != at->segment || r->offset != at->offset ||
	    r->n != at->length ||
	    sio_pread(f, bytes, r->n, at->offset) != (ssize_t)r->n ||
	    memcmp(bytes, r->bytes, r->n) != 0)
		record_compare(w, f, (unsigned)idx, at);
	sio_close(&f);
	if (w->msgs[idx].large_id != 0)
		large_verify(s, &w->msgs[idx], (unsigned)idx);
	compared++;
}

static void
records_verify(const struct world *w, struct sio *s, const struct view *v)
{
	const struct live_msg *l;
	size_t at = 0;

	while ((l = live_next(v->live, &at)) != NULL)
		record_verify(w, s, &(struct found){ l->id, l->segment,
		    l->offset, l->length, l->large_id });
	for (unsigned i = 0; i < v->nfound; i++)
		record_verify(w, s, &v->found[i]);
}

/* ---- messages: I1, I2, I3 ---- */

struct safe {
	struct evlog_pos at;  /* events in front of it survived surely */
};

static bool
done_surely(const struct msg *m, unsigned k, struct safe safe)
{
	return m->st[k] == RCPT_DONE && evlog_pos_cmp(m->at[k], safe.at) <= 0;
}

static bool
maybe_gone(const struct msg *m)
{
	for (unsigned k = 0; k < m->nrcpts; k++) {
		if (m->st[k] != RCPT_DONE)
			return false;
	}
	return true;
}

static void
message_verify(const struct world *w, const struct view *v, unsigned idx,
    struct safe safe)
{
	const struct msg *m = &w->msgs[idx];
	const struct live_msg *l = live_find(v->live, m->id);
	bool found = is_found(v, m->id), surely_gone = true;

	for (unsigned k = 0; k < m->nrcpts; k++) {
		bool surely = done_surely(m, k, safe);

		surely_gone = surely_gone && surely;
		if (l == NULL)
			continue;
		MUST(l->done[k] == 0 || m->st[k] == RCPT_DONE,
		    "message %u: recipient %u is done, and was never tried",
		    idx, k);
		MUST(l->done[k] != 0 || !surely,
		    "message %u: the durable end of recipient %u is forgotten",
		    idx, k);
	}
	MUST(l == NULL || !found, "message %u is found and live", idx);
	MUST(!m->acked || maybe_gone(m) || l != NULL || found,
	    "message %u (at %llu/%llu) was acknowledged and is lost", idx,
	    (unsigned long long)m->segment, (unsigned long long)m->offset);
	MUST(!surely_gone || (l == NULL && !found),
	    "message %u was finished and came back", idx);
}

/* ---- readers of the log, and DSNs: I6, I9 ---- */

static void
reader_follow(const struct world *w, struct sio *s, struct evlog_pos pos,
    uint64_t last, struct safe safe)
{
	struct evlog_reader *r = evlog_reader_open(s, EVLOG_FOLDER, pos);
	struct evlog_record rec;
	enum evlog_next got;
	uint64_t seq = last;

	while ((got = evlog_reader_next(r, EVLOG_NO_LIMIT, &rec)) ==
	    EVLOG_RECORD) {
		if (rec.type != EV_ATTEMPT)
			continue;
		MUST(rec.any.attempt.time_us > seq,
		    "a reader is given attempt %llu after %llu",
		    (unsigned long long)rec.any.attempt.time_us,
		    (unsigned long long)seq);
		while (++seq < rec.any.attempt.time_us)
			MUST(w->attempts[seq].lost ||
			    evlog_pos_cmp(w->attempts[seq].at, safe.at) > 0,
			    "a reader misses attempt %llu",
			    (unsigned long long)seq);
	}
	MUST(got == EVLOG_END, "a reader finds the log %s at %llu/%llu",
	    got == EVLOG_MISSING ? "cut" : "damaged",
	    (unsigned long long)pos.file, (unsigned long long)pos.offset);
	while (++seq <= w->nattempts)
		MUST(w->attempts[seq].lost ||
		    evlog_pos_cmp(w->attempts[seq].at, safe.at) > 0,
		    "a reader misses attempt %llu at the end",
		    (unsigned long long)seq);
	evlog_reader_close(&r);
}

/* Number of the last attempt that the reader has durably taken. */
static uint64_t
reader_verify(const struct world *w, struct sio *s, const char *name,
    struct safe safe)
{
	struct offset_store o;
	struct evlog_pos pos;
	struct buf b;
	uint64_t last = 0;

	buf_init(&b, OFFSET_BYTES_MAX);
	MUST(offset_open(&o, s, name, &pos, &b) == 0, "no offset file");
	if (buf_len(&b) >= sizeof(last))
		memcpy(&last, buf_data(&b), sizeof(last));
	offset_close(&o);
	buf_fini(&b);
	reader_follow(w, s, pos, last, safe);
	return last;
}

static void
dsn_verify(const struct world *w, const struct view *v, uint64_t bounce_last)
{
	uint8_t made[MSGS] = { 0 };

	for (unsigned i = 0; i < w->nmsgs; i++) {
		const struct msg *m = &w->msgs[i];
		uint8_t bit = (uint8_t)(1u << m->orig_rcpt);

		if (!m->is_dsn ||
		    !(is_there(v, m) || (m->acked && maybe_gone(m))))
			continue;
		MUST((made[m->orig] & bit) == 0 || w->faulty,
		    "message %u is the second DSN for %u/%u", i, m->orig,
		    m->orig_rcpt);
		made[m->orig] |= bit;
	}
	for (unsigned i = 0; i < w->nmsgs; i++) {
		const struct msg *m = &w->msgs[i];
		const struct live_msg *l = live_find(v->live, m->id);

		for (unsigned k = 0; k < m->nrcpts; k++) {
			bool is_made = (made[i] >> k & 1) != 0;

			if (l == NULL || l->done[k] != 0) {
				/* not one that is only found again */
				MUST(m->failed_seq[k] == 0 || is_made ||
				    is_found(v, m->id) || !m->acked ||
				    m->st[k] == RCPT_OPEN,
				    "message %u/%u ended without its DSN", i,
				    k);
				continue;
			}
			MUST((v->bouncing[i] >> k & 1) == 0 || is_made ||
			    bounce_last < m->failed_seq[k],
			    "message %u/%u: nobody will make its DSN", i, k);
		}
	}
}

void
ledger_verify(const struct world *w, struct sio *s, const struct view *v,
    bool kill)
{
	struct safe safe = { kill ? w->written : w->durable };
	struct sio *copy = sio_mem_clone(s);
	uint64_t last;

	MUST(!v->st.rescanned, "the log is taken for damaged");
	records_verify(w, s, v);
	for (unsigned i = 0; i < w->nmsgs; i++)
		message_verify(w, v, i, safe);
	(void)reader_verify(w, copy, "acct", safe);
	last = reader_verify(w, copy, "bounce", safe);
	dsn_verify(w, v, last);
	sio_free(&copy);
}

bool
ledger_has_unfinished(const struct world *w, const struct view *v)
{
	for (unsigned i = 0; i < w->nmsgs; i++) {
		const struct msg *m = &w->msgs[i];

		if (m->is_dsn && live_find(v->live, m->id) != NULL &&
		    (v->bouncing[m->orig] >> m->orig_rcpt & 1) != 0)
			return true;
	}
	return false;
}

/* ---- after a start ---- */

static void
message_adopt(struct world *w, const struct view *v, unsigned idx)
{
	struct msg *m = &w->msgs[idx];
	const struct live_msg *l = live_find(v->live, m->id);

	if (l != NULL) {
		m->accepted = true;
		m->gone = false;
		m->segment = l->segment;
		m->offset = l->offset;
		m->length = l->length;
	} else if (m->acked && maybe_gone(m) && !is_found(v, m->id)) {
		m->gone = m->accepted = true;
	} else {
		m->gone = m->accepted = false;
	}
	for (unsigned k = 0; l != NULL && k < m->nrcpts; k++) {
		m->at[k] = (struct evlog_pos){ 0, 0 };
		m->st[k] = l->done[k] != 0 ? RCPT_DONE :
		    (v->bouncing[idx] >> k & 1) != 0 ? RCPT_BOUNCING :
		    RCPT_OPEN;
		if (m->st[k] == RCPT_OPEN)
			m->failed_seq[k] = 0;
	}
}

void
ledger_adopt(struct world *w, const struct view *v)
{
	for (unsigned i = 0; i < w->nmsgs; i++)
		message_adopt(w, v, i);
	for (uint64_t seq = 1; seq <= w->nattempts; seq++) {
		struct attempt *a = &w->attempts[seq];

		if ((v->seen[seq / 8] >> seq % 8 & 1) == 0 &&
		    a->at.file >= v->st.checkpoint)
			a->lost = true;
	}
}

/* ---- I7 ---- */

struct count {
	const char *prefix;
	unsigned n;
};

static int
on_name(const char *name, void *arg)
{
	struct count *c = arg;

	c->n += strncmp(name, c->prefix, strlen(c->prefix)) == 0;
	return 0;
}

static unsigned
names_count(struct world *w, const char *folder, const char *prefix)
{
	struct count c = { .prefix = prefix };

	MUST(sio_list(w->sio, folder, on_name, &c) == 0, "no %s", folder);
	return c.n;
}

void
ledger_verify_drained(struct world *w)
{
	uint8_t made[MSGS][RCPTS] = { { 0 } };
	unsigned frees = names_count(w, "segments", "free."), n;

	for (unsigned i = 0; i < w->nmsgs; i++) {
		const struct msg *m = &w->msgs[i];

		MUST(!m->acked || m->gone, "message %u never ends", i);
		if (m->is_dsn && m->acked)
			made[m->orig][m->orig_rcpt]++;
	}
	for (unsigned i = 0; i < w->nmsgs; i++) {
		for (unsigned k = 0; k < RCPTS; k++)
			MUST(made[i][k] <= 1 || w->faulty,
			    "message %u/%u: %u DSNs", i, k, made[i][k]);
	}
	MUST(frees <= 3, "%u free files", frees);
	n = names_count(w, "segments", "");
	MUST(n == frees, "%u segments without mail", n - frees);
	n = names_count(w, "large", "");
	MUST(n == 0, "%u large files of nobody", n);
	n = names_count(w, "checkpoint", "");
	MUST(n == 1, "%u files in checkpoint/", n);
	n = names_count(w, "events", "");
	MUST(n <= 2, "%u event files", n);
	n = names_count(w, "corrupt", "");
	MUST(n == 0, "%u corrupt files", n);
}
