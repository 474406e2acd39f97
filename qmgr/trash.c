/* SPDX-License-Identifier: ISC */
/*
 * What the command delete has removed stays in the trash for trash-ttl: in its
 * queue, in a state of its own. Each command that deletes is a deletion with a
 * number, until when it can be undone, and a list of what it took, so that its
 * end needs no search. Deletions are kept by events and by checkpoints.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/str.h"
#include "common/sys/log.h"
#include "qmgr/control.h"

#define DELETIONS_MAX 256
#define WORDS_MAX     512
/* Ended in a second: some milliseconds of work. */
#define ENDS_MAX      4000

struct place {
	uint64_t id;
	uint32_t idx;
};

struct deletion {
	uint32_t number;
	int64_t time_us, until_us;
	uint64_t rcpts;          /* in the trash by it */
	char who[HOLD_WHO_MAX + 1], words[WORDS_MAX + 1];
	struct place *v;         /* what it took; undone or not */
	size_t n, size, at;      /* before at: ended */
};

/* The oldest first. */
struct trash {
	struct deletion v[DELETIONS_MAX];
	unsigned n;
	uint32_t last;           /* highest number */
};

static struct deletion *
deletion_find(const struct qmgr *q, uint32_t number)
{
	struct trash *t = q->trash;

	for (unsigned i = 0; t != NULL && i < t->n; i++) {
		if (t->v[i].number == number)
			return &t->v[i];
	}
	return NULL;
}

static void
place_add(struct deletion *d, uint64_t id, uint32_t idx)
{
	if (d->n == d->size) {
		d->size = d->size == 0 ? 64 : d->size * 2;
		d->v = reallocarray(d->v, d->size, sizeof(*d->v));
		if (d->v == NULL)
			fatal("out of memory");
	}
	d->v[d->n++] = (struct place){ id, idx };
}

static void
deletion_remove(struct qmgr *q, struct deletion *d)
{
	struct trash *t = q->trash;
	size_t behind;

	if (t == NULL)
		return; /* d would be none of it */
	behind = (size_t)(&t->v[t->n] - (d + 1));
	free(d->v);
	memmove(d, d + 1, behind * sizeof(*d));
	t->n--;
}

static void
deletion_end(struct qmgr *q, struct deletion *d)
{
	union ev_any e = { .deletion = { .number = d->number } };

	journal_append(q, EV_DELETION, &e);
	deletion_remove(q, d);
}

/* ---- kept ---- */

static union ev_any
deletion_event(const struct deletion *d)
{
	return (union ev_any){ .deletion = { .number = d->number,
	    .time_us = (uint64_t)d->time_us,
	    .until_us = (uint64_t)d->until_us, .who = sv_from(d->who),
	    .words = sv_from(d->words) } };
}

void
deletion_replay(struct qmgr *q, const struct ev_deletion *e)
{
	struct deletion *d = deletion_find(q, e->number), new = {
		.number = e->number, .time_us = (int64_t)e->time_us,
		.until_us = (int64_t)e->until_us };

	if (e->until_us == 0 && d != NULL)
		deletion_remove(q, d);
	if (e->until_us == 0 || d != NULL || e->number == 0)
		return;
	if (q->trash == NULL)
		q->trash = calloc(1, sizeof(*q->trash));
	if (q->trash == NULL)
		fatal("out of memory");
	if (q->trash->n == DELETIONS_MAX ||
	    !sv_to_cstr(e->who, new.who, sizeof(new.who)) ||
	    !sv_to_cstr(e->words, new.words, sizeof(new.words)))
		return;
	q->trash->v[q->trash->n++] = new;
	if (q->trash->last < e->number)
		q->trash->last = e->number;
}

static void
rcpt_put(struct qmgr *q, struct sched_now now, struct smsg *m, uint32_t idx,
    struct deletion *d)
{
	struct sched_msg info;

	if (!sched_rcpt_trash(q->sched, now, m, idx, d->number))
		return;
	smsg_info(m, &info);
	place_add(d, info.id, idx);
	d->rcpts++;
}

static void
rcpt_take(struct qmgr *q, struct sched_now now, struct smsg *m, uint32_t idx)
{
	struct deletion *d = deletion_find(q, smsg_rcpt_deletion(m, idx));

	if (sched_rcpt_untrash(q->sched, now, m, idx) && d != NULL)
		d->rcpts--;
}

/* A deletion that is not known took nothing: rather too much mail than too
 * little. */
void
trash_replay(struct qmgr *q, struct sched_now now, const struct ev_trash *e)
{
	struct smsg *m = sched_msg_find(q->sched, e->id);
	struct deletion *d = deletion_find(q, e->number);

	for (uint32_t i = 0; m != NULL && i < e->rcpts.n; i++) {
		uint32_t idx = u32s_get(&e->rcpts, i);

		if (idx >= smsg_nrcpts(m))
			continue;
		if (!e->trashed)
			rcpt_take(q, now, m, idx);
		else if (d != NULL)
			rcpt_put(q, now, m, idx, d);
	}
}

int
deletions_save(const struct qmgr *q, struct checkpoint *cp)
{
	const struct trash *t = q->trash;

	for (unsigned i = 0; t != NULL && i < t->n; i++) {
		union ev_any e = deletion_event(&t->v[i]);

		if (checkpoint_add(cp, EV_DELETION, &e) != 0)
			return -1;
	}
	return 0;
}

/* ---- delete, undo ---- */

uint32_t
trash_begin(struct client *cl)
{
	struct qmgr *q = cl->q;
	int64_t ttl = conf_global(q->conf)->trash_ttl_ms;
	int64_t now = qmgr_now().wall.us;
	char words[WORDS_MAX], who[32];
	union ev_any e = { .deletion = {
		.number = q->trash == NULL ? 1 : q->trash->last + 1,
		.time_us = (uint64_t)now,
		.until_us = (uint64_t)(now + ttl * US_PER_MS),
		.who = client_who(cl, who) } };
	struct str s;

	STR_ON(&s, words);
	for (unsigned i = 0; i < cl->ntexts; i++) {
		str_adds(&s, i > 0 ? " " : "");
		str_adds(&s, cl->texts[i]);
	}
	e.deletion.words = str_sv(&s);
	deletion_replay(q, &e.deletion);
	journal_append(q, EV_DELETION, &e);
	return e.deletion.number;
}

bool
trash_has_room(const struct qmgr *q)
{
	return q->trash == NULL || q->trash->n < DELETIONS_MAX;
}

static void
trash_log(struct qmgr *q, const struct smsg *m, uint32_t idx, bool trashed,
    uint32_t number)
{
	union ev_any e = { .trash = { .trashed = trashed, .number = number,
	    .rcpts = { .array = &idx, .n = 1 } } };
	struct sched_msg info;

	smsg_info(m, &info);
	e.trash.id = info.id;
	journal_append(q, EV_TRASH, &e);
}

bool
trash_put(struct qmgr *q, struct smsg *m, uint32_t idx, uint32_t number)
{
	struct deletion *d = deletion_find(q, number);
	enum srcpt_state s = smsg_rcpt_state(m, idx);

	if (d == NULL || (s != SR_READY && s != SR_RETRY && s != SR_HELD))
		return false;
	trash_log(q, m, idx, true, number);
	rcpt_put(q, qmgr_now(), m, idx, d);
	return true;
}

void
trash_take(struct qmgr *q, struct smsg *m, uint32_t idx)
{
	trash_log(q, m, idx, false, smsg_rcpt_deletion(m, idx));
	rcpt_take(q, qmgr_now(), m, idx);
}

uint32_t
trash_last(const struct qmgr *q)
{
	const struct trash *t = q->trash;

	return t == NULL || t->n == 0 ? 0 : t->v[t->n - 1].number;
}

bool
trash_is_open(const struct qmgr *q, uint32_t number)
{
	const struct deletion *d = deletion_find(q, number);

	return d != NULL && d->until_us > qmgr_now().wall.us;
}

void
trash_undone(struct qmgr *q, uint32_t number)
{
	struct deletion *d = deletion_find(q, number);

	if (d != NULL && d->rcpts == 0)
		deletion_end(q, d);
}

/* ---- the end ---- */

static void
place_end(struct qmgr *q, const struct deletion *d, const struct place *p)
{
	struct smsg *m = sched_msg_find(q->sched, p->id);
	union ev_any ev = { .delete = { .id = p->id,
	    .time_us = (uint64_t)qmgr_now().wall.us,
	    .rcpts = { .array = &p->idx, .n = 1 },
	    .who = sv_from(d->who) } };

	/* undone since, and maybe deleted by another command */
	if (m == NULL || smsg_rcpt_deletion(m, p->idx) != d->number)
		return;
	journal_append(q, EV_DELETE, &ev);
	sched_final(q->sched, qmgr_now(), m, p->idx, SR_DONE);
}

void
trash_look(struct qmgr *q)
{
	int64_t now = qmgr_now().wall.us;
	struct trash *t = q->trash;
	unsigned left = ENDS_MAX;

	for (unsigned i = 0; t != NULL && i < t->n && left > 0;) {
		struct deletion *d = &t->v[i];

		if (d->until_us > now) {
			i++;
			continue;
		}
		for (; d->at < d->n && left > 0; left--)
			place_end(q, d, &d->v[d->at++]);
		if (d->at == d->n)
			deletion_end(q, d);
	}
}

/* ---- show trash ---- */

static json_t *
deletion_row(const struct deletion *d)
{
	json_t *o = json_object();

	json_object_set_new(o, "deletion", json_integer(d->number));
	json_object_set_new(o, "by", json_sv(sv_from(d->who)));
	json_object_set_new(o, "time", json_time(d->time_us));
	json_object_set_new(o, "until", json_time(d->until_us));
	json_object_set_new(o, "rcp", json_u64(d->rcpts));
	json_object_set_new(o, "command", json_sv(sv_from(d->words)));
	return o;
}

void
cmd_show_trash(struct client *cl, const struct words *w)
{
	const struct trash *t = cl->q->trash;
	unsigned n = t == NULL ? 0 : t->n;

	if (w->n > 0) {
		client_end(cl, 2, "show trash takes no words");
		return;
	}
	for (unsigned i = 0; i < n; i++)
		client_row(cl, deletion_row(&t->v[i]));
	client_end(cl, 0, "%u deletions that can be undone", n);
}
