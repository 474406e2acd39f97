/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include "smtpd/body.h"

struct body_chunk {
	struct body_chunk *next;
	size_t n;
	unsigned char mem[BODY_CHUNK];
};

void
body_pool_fini(struct body_pool *pool)
{
	while (pool->free != NULL) {
		struct body_chunk *c = pool->free;

		pool->free = c->next;
		free(c);
	}
	pool->nfree = 0;
}

bool
body_pool_is_over(const struct body_pool *pool)
{
	return pool->nused >= BODY_BUDGET / BODY_CHUNK;
}

static struct body_chunk *
chunk_get(struct body_pool *pool)
{
	struct body_chunk *c = pool->free;

	if (c != NULL) {
		pool->free = c->next;
		pool->nfree--;
	} else {
		c = malloc(sizeof(*c));
		if (c == NULL)
			return NULL;
	}
	c->next = NULL;
	c->n = 0;
	pool->nused++;
	return c;
}

static void
chunk_put(struct body_pool *pool, struct body_chunk *c)
{
	pool->nused--;
	if (pool->nfree >= BODY_POOL_KEEP) {
		free(c);
		return;
	}
	c->next = pool->free;
	pool->free = c;
	pool->nfree++;
}

unsigned char *
body_room(struct body *b, struct body_pool *pool, size_t min, size_t *room_r)
{
	struct body_chunk *c = b->last;

	if (c == NULL || BODY_CHUNK - c->n < min) {
		c = chunk_get(pool);
		if (c == NULL)
			return NULL;
		if (b->last != NULL)
			b->last->next = c;
		else
			b->first = c;
		b->last = c;
		b->nchunks++;
	}
	*room_r = BODY_CHUNK - c->n;
	return c->mem + c->n;
}

void
body_commit(struct body *b, size_t n)
{
	b->last->n += n;
	b->bytes += n;
}

unsigned char *
body_first(struct body *b, size_t *n_r)
{
	if (b->first == NULL)
		return NULL;
	*n_r = b->first->n;
	return b->first->mem;
}

void
body_first_cut(struct body *b, size_t n)
{
	b->bytes -= b->first->n - n;
	b->first->n = n;
}

void
body_clear(struct body *b, struct body_pool *pool)
{
	while (b->first != NULL) {
		struct body_chunk *c = b->first;

		b->first = c->next;
		chunk_put(pool, c);
	}
	*b = (struct body){ 0 };
}

void
body_iov(const struct body *b, struct iovec *iov)
{
	struct body_chunk *c = b->first;

	for (; c != NULL; c = c->next, iov++) {
		iov->iov_base = c->mem;
		iov->iov_len = c->n;
	}
}
