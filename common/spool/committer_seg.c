/* SPDX-License-Identifier: ISC */
/* The segments that qmgr granted: the current one, a spare one, and those that
 * were left and have batches under way. */
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/spool/committer_private.h"

/* The next segment is asked for when this part of the current one is used. */
#define WANT_AT(size) ((size) / 4 * 3)

void
committer_seg_want(struct committer *c)
{
	static const struct ipc_seg_want nothing;

	if (c->chan == NULL || c->wanted || c->foreign > 0 || c->spare != NULL)
		return;
	if (c->cur != NULL && c->cur->next < WANT_AT(c->cur->size))
		return;
	c->wanted = true;
	ipc_send_seg_want(c->chan, &nothing);
}

void
committer_seg_tell(struct committer *c, struct cseg *seg)
{
	struct cframe f = { .type = IPC_SEG_DONE };

	if (seg->told)
		return;
	f.u.seg_done = (struct ipc_seg_done){ seg->number, seg->durable };
	committer_frame_out(c, &f);
	seg->told = true;
}

void
committer_seg_finish(struct committer *c, struct cseg *seg)
{
	if (!seg->left || seg->batches > 0)
		return;
	committer_seg_tell(c, seg);
	c->foreign -= seg->foreign;
	sio_close(&seg->file);
	free(seg);
}

void
committer_seg_leave(struct committer *c, struct cseg **segp)
{
	struct cseg *seg = *segp;

	*segp = NULL;
	if (seg == NULL)
		return;
	seg->left = true;
	committer_seg_finish(c, seg);
}

void
committer_seg_next(struct committer *c)
{
	committer_seg_leave(c, &c->cur);
	c->cur = c->spare;
	c->spare = NULL;
}

static void
foreign_leave(struct committer *c, struct cseg **segp)
{
	if (*segp == NULL)
		return;
	c->foreign += !(*segp)->foreign;
	(*segp)->foreign = true;
	committer_seg_leave(c, segp);
}

/* Segments that were left earlier but have batches under way. */
static void
foreign_mark(struct committer *c, struct cbatch *b)
{
	for (; b != NULL; b = b->next) {
		if (!b->seg->foreign) {
			b->seg->foreign = true;
			c->foreign++;
		}
	}
}

void
committer_segs_foreign_mark(struct committer *c)
{
	foreign_mark(c, c->running);
	foreign_mark(c, c->queue);
}

void
committer_segs_foreign_leave(struct committer *c)
{
	foreign_leave(c, &c->cur);
	foreign_leave(c, &c->spare);
}

void
committer_on_seg_grant(struct committer *c, struct chan *ch,
    const struct ipc_seg_grant *m)
{
	struct cseg *seg;
	int fd;

	if (c == NULL)
		return;
	seg = calloc(1, sizeof(*seg));
	fd = chan_take_fd(ch);
	if (seg == NULL) /* GCOVR_EXCL_BR_LINE: memory */
		mem_exhausted();
	seg->file = sio_wrap(fd);
	if (seg->file == NULL) /* GCOVR_EXCL_BR_LINE: memory */
		mem_exhausted();
	seg->number = m->segment;
	seg->size = m->size;
	seg->next = seg->durable = m->offset;
	c->wanted = false;
	if (c->cur == NULL)
		c->cur = seg;
	else if (c->spare == NULL)
		c->spare = seg;
	else
		committer_seg_leave(c, &seg);
	event_active(c->ev_turn, EV_TIMEOUT, 0);
}
