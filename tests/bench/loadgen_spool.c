/* SPDX-License-Identifier: ISC */
/*
 * loadgen --spool: writes a spool that holds the messages as if they had been
 * accepted long ago: sealed segments and a checkpoint, through the spool's own
 * code. It is a generator, not a measurement: ten million messages take a
 * minute instead of an hour.
 */
#include <err.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/msgid.h"
#include "common/mail/envelope.h"
#include "common/spool/checkpoint.h"
#include "common/spool/evlog.h"
#include "common/spool/segment.h"
#include "common/spool/segtab.h"
#include "tests/bench/loadgen.h"

#define WRITE_BLOCK ((size_t)1 << 20)

struct spool {
	int fd;                /* of the directory */
	struct sio *sio;
	struct segtab *segtab;
	struct checkpoint *cp;
	struct sio_file *file; /* of the segment being filled, or NULL */
	uint64_t number, at;   /* its number; where `out` goes */
	struct buf out;
	struct buf text, after, rcpt, env; /* of one message */
};

static void
must(bool ok, const char *what)
{
	if (!ok)
		err(111, "%s: %s", opt.spool, what);
}

static void
out_write(struct spool *sp)
{
	if (buf_len(&sp->out) == 0)
		return;
	must(sio_pwrite(sp->file, buf_data(&sp->out), buf_len(&sp->out),
	    sp->at) == 0, "cannot write a segment");
	sp->at += buf_len(&sp->out);
	buf_clear(&sp->out);
}

static void
segment_end(struct spool *sp)
{
	union ev_any ev;

	if (sp->file == NULL)
		return;
	out_write(sp);
	must(sio_fdatasync(sp->file) == 0, "cannot sync a segment");
	sio_close(&sp->file);
	ev.seg_end = (struct ev_seg_end){ sp->number, sp->at };
	must(checkpoint_add(sp->cp, EV_SEG_END, &ev) == 0, "no checkpoint");
}

static void
segment_begin(struct spool *sp)
{
	must(segtab_grant(sp->segtab, 0, &sp->number) == 0, "no segment");
	sp->file = segtab_writer_open(sp->segtab, sp->number);
	must(sp->file != NULL, "no segment");
	sp->at = SEGMENT_HEADER;
}

/* The envelope of m, with recipients in the order of their numbers. */
static void
envelope_make(struct spool *sp, const struct message *m)
{
	struct env_rcpt rcpts[RCPTS_MAX];
	struct envelope e = { .rcpts = rcpts, .nrcpts = m->nrcpts,
		.src_type = SV("smtp"), .helo = sv_from(opt.helo),
		.client_ip = SV("127.0.0.1") };
	size_t ends[RCPTS_MAX], begin;
	struct wr w;

	buf_clear(&sp->rcpt);
	kit_must(buf_addf(&sp->rcpt, "s%ju@%s", m->number % opt.users,
	    opt.sender_domain));
	begin = buf_len(&sp->rcpt);
	for (unsigned i = 0; i < m->nrcpts; i++) {
		message_rcpt_put(&sp->rcpt, m, i);
		ends[i] = buf_len(&sp->rcpt);
	}
	e.sender = sv_head(buf_sv(&sp->rcpt), begin);
	for (unsigned i = 0; i < m->nrcpts; i++) {
		rcpts[i] = (struct env_rcpt){ .addr = sv_from_at(
		    sv_head(buf_sv(&sp->rcpt), ends[i]), begin) };
		begin = ends[i];
	}
	buf_clear(&sp->env);
	wr_init_buf(&w, &sp->env);
	envelope_encode(&w, &e);
	must(!w.failed, "an envelope exceeds the limits");
}

/* The text as the server keeps it: the one doubled dot is single. */
static size_t
text_make(struct spool *sp, const struct message *m, struct iovec body[4])
{
	struct iovec pool;
	struct sv head;
	const char *dots;

	buf_clear(&sp->text);
	buf_clear(&sp->after);
	text_put(m, &sp->text, &pool, &sp->after);
	head = buf_sv(&sp->text);
	dots = memmem(head.p, head.n, "\r\n..", 4);
	body[0] = (struct iovec){ sp->text.mem + sp->text.head,
		(size_t)(dots - head.p) + 3 };
	body[1] = (struct iovec){ (char *)body[0].iov_base +
		body[0].iov_len + 1, head.n - body[0].iov_len - 1 };
	body[2] = pool;
	body[3] = (struct iovec){ sp->after.mem + sp->after.head,
		buf_len(&sp->after) };
	return 4;
}

static void
accept_add(struct spool *sp, const struct message *m,
    const struct record_parts *p, uint64_t offset, uint64_t body_len)
{
	struct sv domains[RCPTS_MAX], addresses = buf_sv(&sp->rcpt);
	union ev_any ev;

	(void)sv_cut(&addresses, '@'); /* the sender's name */
	addresses = sv_from_at(addresses, strlen(opt.sender_domain));
	for (unsigned i = 0; i < m->nrcpts; i++) {
		ptrdiff_t at = sv_find(addresses, '@'), end;

		addresses = sv_from_at(addresses, (size_t)at + 1);
		/* "dN.NAME" and the next address, which begins with u */
		end = (ptrdiff_t)strspn(addresses.p + 1, "0123456789") + 2 +
		    (ptrdiff_t)strlen(opt.rcpt_domain);
		domains[i] = sv_head(addresses, (size_t)end);
		addresses = sv_from_at(addresses, (size_t)end);
	}
	ev.accept = (struct ev_accept){ .id = p->id, .segment = p->segment,
		.offset = offset, .length = record_length(p),
		.body_len = body_len, .arrival_us = p->arrival_us,
		.vmta = SV("{default}"),
		.domains = { .array = domains, .n = m->nrcpts } };
	must(checkpoint_add(sp->cp, EV_ACCEPT, &ev) == 0, "no checkpoint");
	for (uint32_t i = 0; opt.deferred_ms > 0 && i < m->nrcpts; i++) {
		ev.rcpt = (struct ev_rcpt){ .id = p->id, .rcpt_idx = i,
			.state = EVR_WAITING, .attempts = 1,
			.next_us = p->arrival_us + opt.deferred_ms * 1000 };
		must(checkpoint_add(sp->cp, EV_RCPT, &ev) == 0,
		    "no checkpoint");
	}
}

static void
message_add(struct spool *sp, const struct message *m)
{
	unsigned char header[RECORD_HEADER];
	struct iovec body[4], iov[8];
	struct record_parts p = { .flags = RECORD_DOTS, .head = SV(""),
		.arrival_us = (uint64_t)kit_wall().us, .body = body };
	uint64_t length, offset, body_len = 0;
	size_t n;

	envelope_make(sp, m);
	p.env = buf_sv(&sp->env);
	p.nbody = text_make(sp, m, body);
	for (size_t i = 0; i < p.nbody; i++)
		body_len += body[i].iov_len;
	length = record_length(&p);
	must(length > 0, "a message exceeds the limits");
	if (sp->file != NULL && sp->at + buf_len(&sp->out) + length >
	    SEGMENT_SIZE)
		segment_end(sp);
	if (sp->file == NULL)
		segment_begin(sp);
	offset = sp->at + buf_len(&sp->out);
	p.segment = sp->number;
	p.id = msgid_make(p.segment, offset);
	n = record_build(&p, header, iov);
	for (size_t i = 0; i < n; i++)
		kit_must(buf_add(&sp->out, iov[i].iov_base, iov[i].iov_len));
	if (buf_len(&sp->out) >= WRITE_BLOCK)
		out_write(sp);
	accept_add(sp, m, &p, offset, body_len);
}

static void
spool_begin(struct spool *sp)
{
	struct evlog *log;
	struct sio *s;

	sp->fd = open(opt.spool, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	s = sp->sio = sp->fd < 0 ? NULL : sio_os_new(sp->fd);
	must(s != NULL && sio_spool_create(s) == 0, "not a spool");
	sp->segtab = segtab_open(s, &(struct segtab_conf){ .epoch = 1 });
	log = evlog_open(s, (struct evlog_pos){ 0, 0 });
	must(sp->segtab != NULL && log != NULL, "not an empty spool");
	sp->cp = checkpoint_begin(s, evlog_position(log).file);
	must(sp->cp != NULL, "no checkpoint");
	evlog_free(&log);
	buf_init(&sp->out, SEGMENT_SIZE);
	buf_init(&sp->text, SEGMENT_SIZE);
	buf_init(&sp->after, SEGMENT_SIZE);
	buf_init(&sp->rcpt, SEGMENT_SIZE);
	buf_init(&sp->env, SEGMENT_SIZE);
}

static void
spool_end(struct spool *sp)
{
	segment_end(sp);
	must(checkpoint_commit(&sp->cp) == 0, "the checkpoint failed");
	segtab_free(&sp->segtab);
	sio_free(&sp->sio);
	close(sp->fd);
	buf_fini(&sp->out);
	buf_fini(&sp->text);
	buf_fini(&sp->after);
	buf_fini(&sp->rcpt);
	buf_fini(&sp->env);
}

void
spool_make(void)
{
	struct spool sp = { 0 };
	struct message *m = calloc(1, sizeof(*m) +
	    opt.rcpts * sizeof(m->rcpts[0]));

	if (m == NULL)
		errx(111, "out of memory");
	spool_begin(&sp);
	m->nrcpts = (uint16_t)opt.rcpts;
	for (uint16_t i = 0; i < m->nrcpts; i++)
		m->rcpts[i].index = i;
	for (uint64_t i = 0; i < opt.messages; i++) {
		m->number = opt.first_id + i;
		message_add(&sp, m);
	}
	spool_end(&sp);
	free(m);
}
