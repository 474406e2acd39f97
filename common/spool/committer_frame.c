/* SPDX-License-Identifier: ISC */
/* Frames to qmgr: what waits for credit, or for a channel. */
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/spool/committer_private.h"

static void
frame_free(struct cframe *f)
{
	free(f->env);
	free(f);
}

static void
frame_send(struct committer *c, const struct cframe *f)
{
	if (f->type == IPC_COMMIT)
		ipc_send_commit(c->chan, &f->u.commit);
	else if (f->type == IPC_SEG_DONE)
		ipc_send_seg_done(c->chan, &f->u.seg_done);
	else
		ipc_send_large_drop(c->chan, &f->u.large_drop);
}

void
committer_frames_drain(struct committer *c)
{
	while (c->chan != NULL && c->frames != NULL) {
		struct cframe *f = c->frames;

		if (f->type == IPC_COMMIT && !chan_credit_take(c->chan))
			return;
		/* Off the list first: sending can end the channel. */
		c->commits_waiting -= f->type == IPC_COMMIT;
		c->frames = f->next;
		if (c->frames == NULL)
			c->frames_tail = &c->frames;
		frame_send(c, f);
		frame_free(f);
	}
}

void
committer_frame_out(struct committer *c, const struct cframe *frame)
{
	struct cframe *f;

	if (c->chan != NULL && c->frames == NULL &&
	    (frame->type != IPC_COMMIT || chan_credit_take(c->chan))) {
		frame_send(c, frame);
		return;
	}
	if (c->chan == NULL && frame->type != IPC_SEG_DONE)
		return;
	f = calloc(1, sizeof(*f));
	if (f == NULL) /* GCOVR_EXCL_BR_LINE: memory */
		mem_exhausted();
	*f = *frame;
	f->next = NULL;
	if (f->type == IPC_COMMIT) {
		f->env = sv_dup(f->u.commit.env);
		f->u.commit.env.p = f->env;
		c->commits_waiting++;
	}
	*c->frames_tail = f;
	c->frames_tail = &f->next;
}

void
committer_commits_forget(struct committer *c)
{
	struct cframe **at = &c->frames;

	while (*at != NULL) {
		struct cframe *f = *at;

		if (f->type == IPC_COMMIT) {
			*at = f->next;
			frame_free(f);
		} else {
			at = &f->next;
		}
	}
	c->frames_tail = at;
	c->commits_waiting = 0;
}

void
committer_frames_free(struct committer *c)
{
	while (c->frames != NULL) {
		struct cframe *f = c->frames;

		c->frames = f->next;
		frame_free(f);
	}
}
