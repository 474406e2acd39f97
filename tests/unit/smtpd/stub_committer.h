/* SPDX-License-Identifier: ISC */
/*
 * A committer that commits to nothing, for tests of sessions; its calls, in
 * stub_committer.c, take the place of libspool's. The test decides when and how
 * it answers.
 */
#ifndef TESTS_UNIT_SMTPD_STUB_COMMITTER_H
#define TESTS_UNIT_SMTPD_STUB_COMMITTER_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/msgid.h"
#include "common/spool/committer.h"

struct commit_large {
	struct committer *c;
	commit_large_fn *fn;
	void *arg;
	struct buf data;
};

struct committer {
	bool closed;               /* committer_can_accept() is false */
	bool no_large;
	int large_errno;           /* of commit_large_write() */
	const char *refusal;
	struct commit_req *pending[1000];
	size_t npending;
	struct commit_large *opening;
	uint64_t next;
	/* the last message */
	struct buf env, head, body;
	uint8_t flags;
	uint64_t id;
	size_t nlarge;             /* open large files */
	size_t submitted;
};

static inline void
stub_init(struct committer *c)
{
	memset(c, 0, sizeof(*c));
	c->next = 1;
	buf_init(&c->env, 16u << 20);
	buf_init(&c->head, 1u << 20);
	buf_init(&c->body, 64u << 20);
}

static inline void
stub_fini(struct committer *c)
{
	buf_fini(&c->env);
	buf_fini(&c->head);
	buf_fini(&c->body);
}

static inline void
stub_large_free(struct commit_large *l)
{
	l->c->nlarge--;
	if (l->c->opening == l)
		l->c->opening = NULL;
	buf_fini(&l->data);
	free(l);
}

static inline void
stub_keep(struct committer *c, struct commit_req *req)
{
	buf_clear(&c->env);
	buf_clear(&c->head);
	buf_clear(&c->body);
	c->flags = req->flags;
	if (buf_add_sv(&c->env, req->env) != 0)
		abort();
	if (req->make_head != NULL &&
	    req->make_head(req, c->id, &c->head, req->arg) != 0)
		abort();
	for (size_t i = 0; i < req->nbody; i++) {
		if (buf_add(&c->body, req->body[i].iov_base,
		    req->body[i].iov_len) != 0)
			abort();
	}
	if (req->large != NULL) {
		if (buf_add_sv(&c->body, buf_sv(&req->large->data)) != 0)
			abort();
		stub_large_free(req->large);
	}
}

/* Answers everything that was submitted; true if there was something. */
static inline bool
stub_answer(struct committer *c, enum commit_result result)
{
	size_t n = c->npending;
	struct commit_req *list[1000];

	memcpy(list, c->pending, n * sizeof(*list));
	c->npending = 0;
	for (size_t i = 0; i < n; i++) {
		c->id = msgid_make(1, 64 + 8 * c->next++);
		stub_keep(c, list[i]);
		list[i]->done(list[i], result, c->id, list[i]->arg);
	}
	return n > 0;
}

/* Answers a wish for a large file. */
static inline bool
stub_grant(struct committer *c, bool ok)
{
	struct commit_large *l = c->opening;
	commit_large_fn *fn;
	void *arg;

	if (l == NULL)
		return false;
	c->opening = NULL;
	fn = l->fn;
	arg = l->arg;
	fn(l, ok, arg);
	if (!ok)
		stub_large_free(l);
	return true;
}

#endif
