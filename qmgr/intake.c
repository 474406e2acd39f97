/* SPDX-License-Identifier: ISC */
/*
 * Messages from the writers: granting segments, COMMITs, and what a writer
 * that died had committed without saying so.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/msgid.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "qmgr/qmgr.h"

#define BOUNCE_WRITER (WRITERS_MAX - 1)
#define PICKUP_WRITER (WRITERS_MAX - 2)

unsigned
writer_id(const struct writer *w)
{
	return (unsigned)(w - w->q->writers);
}

/* ---- one message ---- */

#define REROUTES_MAX 8 /* one after the other: more are a loop */

/* NULL if the envelope is not one. The list is in the envelope's arena. */
static struct sv *
domains_list(struct qmgr *q, const struct envelope *e)
{
	struct sv *list = arena_alloc(&q->env_arena,
	    e->nrcpts * sizeof(*list));

	if (list == NULL) /* GCOVR_EXCL_BR_LINE: memory */
		return NULL;
	for (uint32_t i = 0; i < e->nrcpts; i++)
		list[i] = addr_domain(e->rcpts[i].addr);
	return list;
}

/* A VMTA, one of a pool's, or else the default. */
static struct sv
vmta_choose(struct qmgr *q, struct sv want)
{
	const struct conf_vmta *v = conf_vmta_find(q->conf, want);

	/* a pool names only what there is, and "" is the default */
	if (v == NULL)
		v = conf_vmta_find(q->conf, pool_pick(q, want));
	return v->name;
}

/* queue-to: the queue of another domain. */
static void
domains_map(const struct qmgr *q, struct sv vmta, struct sv *list, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct conf_domain *c = conf_domain_find(q->conf, vmta,
		    list[i]);

		if (c->queue_to.n > 0)
			list[i] = c->queue_to;
	}
}

/* reroute-to-virtual-mta of the first recipient's domain. A loop ends
 * somewhere in it. */
static struct sv
vmta_reroute(struct qmgr *q, struct sv vmta, struct sv domain)
{
	for (int i = 0; i < REROUTES_MAX; i++) {
		struct sv to = conf_domain_find(q->conf, vmta,
		    domain)->reroute_to_virtual_mta;

		if (to.n == 0)
			break;
		vmta = vmta_choose(q, to);
	}
	return vmta;
}

void
intake_originals_finish(struct qmgr *q, uint64_t dsn_id,
    const struct envelope *e)
{
	struct smsg *m = sched_msg_find(q->sched, e->dsn_for);
	union ev_any ev = { .bounced = {
		.id = e->dsn_for, .dsn_id = dsn_id,
		.rcpts = { .array = e->dsn_rcpts, .n = e->dsn_nrcpts },
	} };

	q->bounce.moved = clock_mono();
	journal_append(q, EV_BOUNCED, &ev);
	for (uint32_t i = 0; m != NULL && i < e->dsn_nrcpts; i++) {
		uint32_t idx = e->dsn_rcpts[i];

		if (idx >= smsg_nrcpts(m) ||
		    smsg_rcpt_state(m, idx) != SR_BOUNCING)
			continue;
		q->count.bounced++;
		sched_final(q->sched, qmgr_now(), m, idx, SR_DONE);
		m = sched_msg_find(q->sched, e->dsn_for);
	}
}

/* Writers are trusted less than we are: nothing they write may stop us. */
static bool
place_is_sane(const struct sched_msg *m)
{
	if (m->offset < SEGMENT_HEADER) /* GCOVR_EXCL_BR_LINE: known before */
		return false;
	return m->id != 0 && m->offset % 8 == 0 && m->offset < SEGMENT_SIZE &&
	    m->length % 8 == 0 && m->length >= RECORD_HEADER &&
	    m->length <= SEGMENT_SIZE - m->offset &&
	    m->body_len <= RECORD_LARGE_MAX;
}

/* Only bounce ends messages by a DSN. Who wrote a segment of a qmgr before us
 * is not known. */
static bool
may_report(const struct qmgr *q, uint64_t segment)
{
	struct seg_info info;

	/* GCOVR_EXCL_BR_START: it was found there, or looked up */
	if (!segtab_info(q->segtab, segment, &info))
		/* GCOVR_EXCL_BR_STOP */
		return true;
	return info.state != SEG_GRANTED || info.writer == BOUNCE_WRITER;
}

/* Recipients of a message that have the same group in its envelope. */
struct part {
	uint32_t first;       /* the first of them, */
	uint32_t *idx;        /* all, */
	uint32_t n;           /* and how many */
	struct sv vmta;       /* that they go to */
	uint32_t order;       /* that they are on hold by, 0: none */
	unsigned priority;
};

struct parts {
	struct part *v;       /* by group; in the envelope's arena */
	uint32_t n;
	struct sv vmta;       /* that of ACCEPT */
};

/* False without memory. */
static bool
parts_make(struct qmgr *q, const struct envelope *e, struct parts *p)
{
	uint32_t *idx = arena_alloc(&q->env_arena, e->nrcpts * sizeof(*idx));

	p->n = e->ngroups + 1u;
	p->v = arena_alloc(&q->env_arena, p->n * sizeof(*p->v));
	if (idx == NULL || p->v == NULL) /* GCOVR_EXCL_BR_LINE: memory */
		return false;
	for (uint32_t i = e->nrcpts; i-- > 0;) {
		struct part *part = &p->v[e->rcpts[i].group];

		part->first = i;
		part->n++;
	}
	for (uint32_t i = 0; i < p->n; i++) {
		p->v[i].idx = idx;
		idx += p->v[i].n;
		p->v[i].n = 0;
	}
	for (uint32_t i = 0; i < e->nrcpts; i++) {
		struct part *part = &p->v[e->rcpts[i].group];

		part->idx[part->n++] = i;
	}
	return true;
}

/* The VMTA of some recipients. Their domains become those of their queues. */
static struct sv
vmta_place(struct qmgr *q, struct sv want, struct sv *domains, uint32_t n,
    const struct conf_warmup **full_r)
{
	struct sv vmta = vmta_reroute(q, vmta_choose(q, want), domains[0]);

	domains_map(q, vmta, domains, n);
	vmta = cold_pick(q, vmta, domains[0]);
	return warmup_overflow(q, vmta, domains, n, full_r);
}

static bool
part_place(struct qmgr *q, const struct envelope *e, struct part *part,
    struct sv *domains)
{
	struct sv *own = domains, list = envelope_hold(e, part->first);
	const struct conf_warmup *full;

	if (part->n < e->nrcpts) {
		own = arena_alloc(&q->env_arena, part->n * sizeof(*own));
		if (own == NULL) /* GCOVR_EXCL_BR_LINE: memory */
			return false;
		for (uint32_t i = 0; i < part->n; i++)
			own[i] = domains[part->idx[i]];
	}
	part->vmta = vmta_place(q, envelope_vmta(e, part->first), own,
	    part->n, &full);
	for (uint32_t i = 0; own != domains && i < part->n; i++)
		domains[part->idx[i]] = own[i];
	part->priority = envelope_priority(e, part->first);
	if (list.n > 0)
		part->order = hold_order_of_list(q, list);
	else if (full != NULL)
		part->order = warmup_order(q, full);
	return true;
}

static bool
parts_place(struct qmgr *q, const struct envelope *e, struct sv *domains,
    struct parts *p)
{
	if (!parts_make(q, e, p)) /* GCOVR_EXCL_BR_LINE: memory */
		return false;
	for (uint32_t i = 0; i < p->n; i++) {
		/* GCOVR_EXCL_BR_START: memory */
		if (p->v[i].n > 0 && !part_place(q, e, &p->v[i], domains))
			/* GCOVR_EXCL_BR_STOP */
			return false;
	}
	p->vmta = p->v[e->rcpts[0].group].vmta;
	return true;
}

/*
 * What sets recipients apart stands in the log before the ACCEPT that it is of:
 * no crash leaves the message there without it, to be sent by another VMTA or
 * although it is on hold. See recover.c.
 */
static void
parts_log(struct qmgr *q, uint64_t id, const struct parts *p)
{
	for (uint32_t i = 0; i < p->n; i++) {
		const struct part *part = &p->v[i];
		struct u32s rcpts = { .array = part->idx, .n = part->n };
		union ev_any rebind = { .rebind = { .id = id,
		    .time_us = (uint64_t)qmgr_now().wall.us,
		    .vmta = part->vmta, .rcpts = rcpts,
		    .who = SV("pattern-list") } };
		union ev_any priority = { .priority = { .id = id,
		    .time_us = (uint64_t)qmgr_now().wall.us,
		    .priority = (uint8_t)part->priority, .rcpts = rcpts,
		    .who = SV("pattern-list") } };
		union ev_any hold = { .hold = { .id = id, .held = 1,
		    .order = part->order, .rcpts = rcpts } };

		if (part->n > 0 && !sv_eq(part->vmta, p->vmta))
			journal_append(q, EV_REBIND, &rebind);
		if (part->n > 0 && part->order != 0)
			journal_append(q, EV_HOLD, &hold);
		if (part->n > 0 && part->priority != PRIORITY_DEFAULT)
			journal_append(q, EV_PRIORITY, &priority);
	}
}

static void
parts_apply(struct qmgr *q, struct smsg *m, const struct parts *p)
{
	for (uint32_t i = 0; i < p->n; i++) {
		const struct part *part = &p->v[i];

		for (uint32_t k = 0; k < part->n; k++) {
			/* GCOVR_EXCL_BR_START: memory */
			if (!sv_eq(part->vmta, p->vmta) &&
			    !sched_rcpt_move(q->sched, qmgr_now(), m,
			    part->idx[k], part->vmta))
				/* GCOVR_EXCL_BR_STOP */
				fatal("out of memory for the queue");
			sched_rcpt_prioritize(q->sched, qmgr_now(), m,
			    part->idx[k], part->priority);
			if (part->order != 0)
				sched_rcpt_hold(q->sched, qmgr_now(), m,
				    part->idx[k], true, part->order);
		}
	}
}

static bool
message_take(struct qmgr *q, const struct sched_msg *info, struct sv env)
{
	struct sched_msg sm = *info;
	struct parts parts;
	struct smsg *m;
	struct envelope e;
	union ev_any ev;
	struct sv *domains;

	arena_reset(&q->env_arena);
	if (!place_is_sane(info) ||
	    !envelope_decode(env, &q->env_arena, &e))
		return false;
	if (!may_report(q, info->segment))
		e.dsn_for = 0;
	domains = domains_list(q, &e);
	if (domains == NULL) /* GCOVR_EXCL_BR_LINE: memory */
		return false;
	/* GCOVR_EXCL_BR_START: it is not behind what is known of the segment */
	if (sched_msg_find(q->sched, sm.id) != NULL)
		/* GCOVR_EXCL_BR_STOP */
		return true;
	/* GCOVR_EXCL_BR_START: memory */
	if (!parts_place(q, &e, domains, &parts))
		/* GCOVR_EXCL_BR_STOP */
		return false;
	parts_log(q, sm.id, &parts);
	sm.dsn_for = e.dsn_for;
	sm.tell = delays_tell(&e);
	ev.accept = (struct ev_accept){
		.id = sm.id, .segment = sm.segment, .offset = sm.offset,
		.length = sm.length, .body_len = sm.body_len,
		.large_id = sm.large_id,
		.arrival_us = (uint64_t)sm.arrival_us, .vmta = parts.vmta,
		.dsn_for = sm.dsn_for,
		.domains = { .array = domains, .n = e.nrcpts },
		.tell = (uint8_t)sm.tell,
	};
	journal_append(q, EV_ACCEPT, &ev);
	/* GCOVR_EXCL_BR_START: it was found there, or looked up */
	if (!segtab_ref(q->segtab, sm.segment, sm.offset, sm.length))
		/* GCOVR_EXCL_BR_STOP */
		log_warn("a message in a segment that is not in the table");
	if (sm.large_id != 0)
		segtab_large_ref(q->segtab, sm.large_id);
	m = sched_msg_add(q->sched, qmgr_now(), &sm, parts.vmta, domains,
	    e.nrcpts);
	if (m == NULL) /* GCOVR_EXCL_BR_LINE: memory */
		fatal("out of memory for the queue");
	parts_apply(q, m, &parts);
	q->count.in_msgs++;
	q->count.in_rcpts += e.nrcpts;
	q->count.in_bytes += sm.body_len;
	if (e.dsn_for != 0)
		intake_originals_finish(q, sm.id, &e);
	standing_apply(q, sm.id, domains, e.nrcpts, e.job);
	return true;
}

bool
intake_message(struct qmgr *q, const struct sched_msg *info, struct sv env)
{
	bool ok;

	/* GCOVR_EXCL_BR_START: nor is it in the queue, see message_take() */
	if (poison_is(&q->poison, POISON_MESSAGE, info->id, 0) &&
	    place_is_sane(info) &&
	    sched_msg_find(q->sched, info->id) == NULL) {
		/* GCOVR_EXCL_BR_STOP */
		suspect_record_save(q, info);
		return true;
	}
	poison_mark(&q->poison, POISON_MESSAGE, info->id, 0);
	ok = message_take(q, info, env);
	poison_clear(&q->poison);
	return ok;
}

/* ---- frames ---- */

/* The writer may speak of this segment: it was granted to it, or by a qmgr
 * before this one. */
static bool
segment_is_of(const struct writer *w, uint64_t segment, struct seg_info *i_r)
{
	if (!segtab_info(w->q->segtab, segment, i_r))
		return false;
	if (i_r->state == SEG_GRANTED)
		return i_r->writer == writer_id(w);
	return i_r->state == SEG_ADOPTED;
}

void
writer_commit(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_commit *m = msg;
	struct writer *w = arg;
	struct qmgr *q = w->q;
	char id[MSGID_TEXT];
	struct seg_info info;
	struct sched_msg sm = {
		.id = m->id, .segment = m->segment, .offset = m->offset,
		.length = m->length, .large_id = m->large_id,
		.body_len = m->body_len,
		.arrival_us = (int64_t)m->arrival_us,
	};

	(void)c;
	w->owed++;
	if (segtab_info(q->segtab, m->segment, &info) &&
	    m->offset < info.known)
		return; /* found by reading the segment already */
	if (!segment_is_of(w, m->segment, &info) || !place_is_sane(&sm) ||
	    m->id != msgid_make(m->segment, m->offset)) {
		log_warn("%s[%u] told of a message that cannot be",
		    ipc_role_name(w->role), w->index);
		return;
	}
	/* A COMMIT may have gone to a qmgr that was dead already. If what it
	 * told of cannot be read now, this one is found with it later. */
	if (m->offset > info.known &&
	    !recover_tail(q, m->segment, m->offset))
		return;
	segtab_known(q->segtab, m->segment, m->offset + m->length);
	if (!intake_message(q, &sm, m->env)) {
		q->count.corrupt++;
		log_warn("message %s: its envelope does not decode",
		    msgid_format(m->id, id));
	}
}

static struct unread *
unread_find(struct qmgr *q, uint64_t segment)
{
	for (size_t i = 0; i < q->nunread; i++) {
		if (q->unread[i].segment == segment)
			return &q->unread[i];
	}
	return NULL;
}

static void
unread_put(struct qmgr *q, uint64_t segment, uint64_t upto)
{
	struct unread *u = unread_find(q, segment);

	if (u != NULL) {
		u->upto = upto;
		return;
	}
	if (q->nunread == q->unread_size) {
		size_t n = q->unread_size == 0 ? 16 : q->unread_size * 2;

		q->unread = reallocarray(q->unread, n, sizeof(*q->unread));
		if (q->unread == NULL) /* GCOVR_EXCL_BR_LINE: memory */
			fatal("out of memory");
		q->unread_size = n;
	}
	q->unread[q->nunread++] = (struct unread){ segment, upto };
}

/* What its writer refused stands behind the end that it told, and may have
 * lost its large body: nobody reads on there. */
static uint64_t
unread_limit(struct qmgr *q, uint64_t segment, uint64_t upto)
{
	const struct unread *u = unread_find(q, segment);

	return u != NULL && u->upto < upto ? u->upto : upto;
}

static void
unread_forget(struct qmgr *q, uint64_t segment)
{
	struct unread *u = unread_find(q, segment);

	if (u != NULL)
		*u = q->unread[--q->nunread];
}

static void
segment_finish(struct qmgr *q, uint64_t segment, uint64_t upto)
{
	struct seg_info info;
	union ev_any ev;

	upto = unread_limit(q, segment, upto);
	if (!recover_tail(q, segment, upto)) {
		unread_put(q, segment, upto);
		return;
	}
	unread_forget(q, segment);
	/* GCOVR_EXCL_BR_START: it is in the table, unread as it was */
	if (!segtab_info(q->segtab, segment, &info))
		/* GCOVR_EXCL_BR_STOP */
		return;
	if (info.state == SEG_SEALED || info.state == SEG_EMPTY)
		return;
	ev.seg_end = (struct ev_seg_end){ .segment = segment,
		.end = info.known };
	journal_append(q, EV_SEG_END, &ev);
	segtab_seal(q->segtab, segment, info.known, evlog_position(q->log));
}

void
writer_seg_want(struct chan *c, void *arg, const void *msg)
{
	struct writer *w = arg;
	struct qmgr *q = w->q;
	struct ipc_seg_grant g = { .offset = SEGMENT_HEADER,
		.size = SEGMENT_SIZE };
	struct sio_file *f;
	int fd;

	(void)msg;
	errno = ENOSPC;
	w->wants = !upkeep_has_reserve(q) ||
	    segtab_grant(q->segtab, writer_id(w), &g.segment) != 0;
	if (w->wants) {
		log_warn_errno("no new segment");
		upkeep_space_lost(q);
		return;
	}
	f = segtab_writer_open(q->segtab, g.segment);
	fd = f == NULL ? -1 : fcntl(sio_fd(f), F_DUPFD_CLOEXEC, 0);
	if (fd >= 0) {
		ipc_send_seg_grant(c, &g, fd);
	} else {
		log_warn_errno("segment %llu cannot be opened",
		    (unsigned long long)g.segment);
		segment_finish(q, g.segment, SEGMENT_HEADER);
		w->wants = true; /* intake_wants_retry() comes back */
	}
	sio_close(&f);
	upkeep_fill(q);
}

void
writer_seg_done(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_seg_done *m = msg;
	struct writer *w = arg;
	struct seg_info info = { .state = SEG_FREE };

	(void)c;
	/* or closed without it, after a start: it was very slow */
	if (segment_is_of(w, m->segment, &info) ||
	    ((info.state == SEG_SEALED || info.state == SEG_EMPTY) &&
	    info.known < m->end))
		segment_finish(w->q, m->segment, m->end);
}

void
writer_large_want(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_large_want *m = msg;
	struct writer *w = arg;
	struct ipc_large_grant g = { .token = m->token };
	struct sio_file *f = segtab_large_create(w->q->segtab, &g.large_id);
	int fd = f == NULL ? -1 : fcntl(sio_fd(f), F_DUPFD_CLOEXEC, 0);

	if (fd < 0) {
		log_warn_errno("no new large file");
		upkeep_space_lost(w->q);
	} else {
		segtab_large_owner_set(w->q->segtab, g.large_id,
		    writer_id(w));
		ipc_send_large_grant(c, &g, fd);
	}
	sio_close(&f);
}

void
writer_large_drop(struct chan *c, void *arg, const void *msg)
{
	const struct ipc_large_drop *m = msg;
	struct writer *w = arg;

	(void)c;
	/* A restart would read to its end a segment whose SEG_END could not
	 * be logged, and find a refused record that wants this body. */
	if (w->q->nunread > 0)
		segtab_large_drop_later(w->q->segtab, m->large_id);
	else
		segtab_large_drop(w->q->segtab, m->large_id,
		    evlog_position(w->q->log));
}

/* ---- coming and going ---- */

struct writer *
writer_attach(struct qmgr *q, enum ipc_role role, unsigned index)
{
	unsigned id = role == R_BOUNCE ? BOUNCE_WRITER :
	    role == R_PICKUP ? PICKUP_WRITER : index;
	struct writer *w;

	if (id >= WRITERS_MAX)
		return NULL;
	w = &q->writers[id];
	writer_gone(w);
	*w = (struct writer){ .q = q, .role = role, .index = index };
	return w;
}

/* All that it had begun is read to the end and closed. */
void
writer_gone(struct writer *w)
{
	struct qmgr *q = w->q;
	struct seg_info info;
	size_t at = 0;

	if (q == NULL)
		return; /* nobody had this place before */
	chan_free(&w->chan);
	while (segtab_next(q->segtab, &at, &info)) {
		if (info.state == SEG_GRANTED &&
		    info.writer == writer_id(w))
			segment_finish(q, info.number, UINT64_MAX);
	}
	segtab_larges_gone(q->segtab, writer_id(w));
}

void
writers_space_send(struct qmgr *q, bool open, const char *reason)
{
	struct ipc_space m = { .open = open, .reason = sv_from(reason) };

	for (unsigned i = 0; i < WRITERS_MAX; i++) {
		/* DSNs must go on being written: they free space */
		if (q->writers[i].chan != NULL && i != BOUNCE_WRITER)
			ipc_send_space(q->writers[i].chan, &m);
	}
}

void
intake_unread_retry(struct qmgr *q)
{
	/* the last one takes the place of one that is through */
	for (size_t i = q->nunread; i-- > 0;)
		segment_finish(q, q->unread[i].segment, UINT64_MAX);
	/* all tails are read: nothing names what no message uses */
	if (q->nunread == 0)
		segtab_larges_drop(q->segtab, evlog_position(q->log));
}

void
intake_wants_retry(struct qmgr *q, bool all)
{
	for (unsigned i = 0; i < WRITERS_MAX; i++) {
		struct writer *w = &q->writers[i];

		if (w->wants && w->chan != NULL && (all || i == BOUNCE_WRITER))
			writer_seg_want(w->chan, w, NULL);
	}
}

/*
 * Whether a process may still write to it: a lease to read is granted only on
 * a file that nobody has open for writing. Where there are no leases, maybe.
 */
static bool
may_be_written(struct qmgr *q, uint64_t segment)
{
	struct sio_file *f = segtab_reader(q->segtab, segment);
	int fd = f == NULL ? -1 : sio_fd(f);

	if (fd < 0 || fcntl(fd, F_SETLEASE, F_RDLCK) != 0)
		return true;
	(void)fcntl(fd, F_SETLEASE, F_UNLCK);
	return false;
}

/* Closes the segments whose writers died with the last qmgr: their number must
 * not grow while qmgr is killed again and again. With read, also takes what an
 * orphan of a killed master accepts while it drains. */
void
intake_adopted_look(struct qmgr *q, bool read)
{
	struct seg_info info;
	size_t at = 0;

	while (segtab_next(q->segtab, &at, &info)) {
		if (info.state != SEG_ADOPTED)
			continue;
		if (!may_be_written(q, info.number))
			segment_finish(q, info.number, UINT64_MAX);
		else if (read)
			recover_live_tail(q, info.number,
			    unread_limit(q, info.number, UINT64_MAX));
	}
}

/* Segments that a qmgr before us had granted: their writers have told of
 * them, or are gone. */
void
intake_adopted_finish(struct qmgr *q)
{
	struct seg_info info;
	size_t at = 0;

	while (segtab_next(q->segtab, &at, &info)) {
		if (info.state == SEG_ADOPTED)
			segment_finish(q, info.number, UINT64_MAX);
	}
}

void
writer_vmta_unknown(struct chan *c, void *arg, const void *msg)
{
	const struct writer *w = arg;

	(void)c;
	mismatch_note(w->q, msg);
}

static void
on_close(struct chan *c, void *arg, const char *why)
{
	struct writer *w = arg;

	(void)c;
	log_debug("channel to %s[%u]: %s", ipc_role_name(w->role), w->index,
	    why);
	writer_gone(w);
	qmgr_turn_end(w->q);
	qmgr_stop_check(w->q);
}

void
writer_batch_end(struct chan *c, void *arg)
{
	struct writer *w = arg;

	qmgr_turn_end(w->q);
	/* GCOVR_EXCL_BR_START: a batch ends before its channel is closed */
	if (w->owed > 0 && chan_is_open(c))
		/* GCOVR_EXCL_BR_STOP */
		chan_credit_grant(c, w->owed);
	w->owed = 0;
}

const struct chan_ops smtpd_chan_ops = {
	.on = {
		WRITER_HANDLERS,
		[IPC_VMTA_UNKNOWN] = writer_vmta_unknown,
	},
	.on_close = on_close,
	.on_batch_end = writer_batch_end,
};
