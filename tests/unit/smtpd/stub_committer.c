/* SPDX-License-Identifier: ISC */
#include "tests/unit/smtpd/stub_committer.h"

bool
committer_can_accept(const struct committer *c)
{
	return !c->closed;
}

struct sv
committer_refusal(const struct committer *c)
{
	return sv_from(c->refusal);
}

void
committer_submit(struct committer *c, struct commit_req *req)
{
	if (c->npending == sizeof(c->pending) / sizeof(c->pending[0]))
		abort();
	c->pending[c->npending++] = req;
	c->submitted++;
}

struct commit_large *
committer_large_open(struct committer *c, commit_large_fn *fn, void *arg)
{
	struct commit_large *l;

	if (c->no_large || c->opening != NULL)
		return NULL;
	l = calloc(1, sizeof(*l));
	if (l == NULL)
		abort();
	l->c = c;
	l->fn = fn;
	l->arg = arg;
	buf_init(&l->data, 64u << 20);
	c->opening = l;
	c->nlarge++;
	return l;
}

int
commit_large_write(struct commit_large *l, const void *p, size_t n)
{
	if (l->c->large_errno != 0) {
		errno = l->c->large_errno;
		return -1;
	}
	return buf_add(&l->data, p, n);
}

void
committer_large_drop(struct committer *c, struct commit_large **l)
{
	(void)c;
	if (*l != NULL)
		stub_large_free(*l);
	*l = NULL;
}
