/* SPDX-License-Identifier: ISC */
/* Large bodies: files that qmgr grants, one each. */
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/spool/committer_private.h"

/*
 * A qmgr throws large files away that nobody has committed in its first hour
 * (upkeep.c): a body that was begun under the one before it must be done well
 * before that.
 */
#define LARGE_FOREIGN_MS (INT64_C(30) * 60 * 1000)

void
committer_large_free(struct commit_large *l)
{
	sio_close(&l->file);
	free(l);
}

bool
committer_large_is_good(const struct committer *c,
    const struct commit_large *l)
{
	if (l->file == NULL || l->failed)
		return false;
	return l->epoch == c->epoch || (l->epoch + 1 == c->epoch &&
	    mono_diff_ms(clock_mono(), c->epoch_at) < LARGE_FOREIGN_MS);
}

void
committer_larges_fail(struct committer *c)
{
	for (struct commit_large *l = c->larges; l != NULL; l = l->next)
		l->failed = true;
}

void
committer_larges_tell(struct committer *c)
{
	struct commit_large **at = &c->larges, *gone = NULL, *l;

	while ((l = *at) != NULL) {
		if (l->failed) {
			*at = l->next;
			l->next = gone;
			gone = l;
		} else {
			at = &l->next;
		}
	}
	for (; (l = gone) != NULL;) {
		gone = l->next;
		l->fn(l, false, l->arg);
		committer_large_free(l);
	}
}

struct commit_large *
committer_large_open(struct committer *c, commit_large_fn *fn, void *arg)
{
	struct commit_large *l;

	if (c->chan == NULL || c->refusal != NULL)
		return NULL;
	l = calloc(1, sizeof(*l));
	if (l == NULL) /* GCOVR_EXCL_BR_LINE: memory */
		return NULL;
	l->token = ++c->large_token;
	l->epoch = c->epoch;
	l->fn = fn;
	l->arg = arg;
	l->next = c->larges;
	c->larges = l;
	ipc_send_large_want(c->chan, &(struct ipc_large_want){ l->token });
	return l;
}

void
committer_on_large_grant(struct committer *c, struct chan *ch,
    const struct ipc_large_grant *m)
{
	struct commit_large **at, *l;

	if (c == NULL)
		return;
	at = &c->larges;
	while (*at != NULL && (*at)->token != m->token)
		at = &(*at)->next;
	l = *at;
	if (l == NULL) { /* dropped meanwhile */
		ipc_send_large_drop(ch,
		    &(struct ipc_large_drop){ m->large_id });
		return;
	}
	*at = l->next;
	l->id = m->large_id;
	l->file = sio_wrap(chan_take_fd(ch));
	if (l->file == NULL) /* GCOVR_EXCL_BR_LINE: memory */
		mem_exhausted();
	l->fn(l, true, l->arg);
}

int
commit_large_write(struct commit_large *l, const void *p, size_t n)
{
	if (l->failed || sio_pwrite(l->file, p, n, l->length) != 0) {
		l->failed = true;
		return -1;
	}
	l->crc = record_large_crc(l->id, l->crc, l->length, p, n);
	l->length += n;
	return 0;
}

uint64_t
commit_large_length(const struct commit_large *l)
{
	return l->length;
}

void
committer_large_drop(struct committer *c, struct commit_large **lp)
{
	struct commit_large **at = &c->larges, *l = *lp;

	*lp = NULL;
	if (l == NULL)
		return;
	while (*at != NULL && *at != l)
		at = &(*at)->next;
	if (*at == l)
		*at = l->next;
	else
		committer_frame_out(c, &(struct cframe){ .type = IPC_LARGE_DROP,
		    .u.large_drop = { l->id } });
	committer_large_free(l);
}
