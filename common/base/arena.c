/* SPDX-License-Identifier: ISC */
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/mem.h"

#define ARENA_CHUNK 4000 /* a page less malloc's own words */
#define ARENA_FIRST 448  /* one transaction of a few short addresses */

struct arena_chunk {
	struct arena_chunk *next;
	size_t size;
	size_t used;
	alignas(max_align_t) unsigned char mem[];
};

void
arena_init(struct arena *a, size_t cap)
{
	*a = (struct arena){ .cap = cap };
}

static void
chunks_free(struct arena_chunk *c)
{
	while (c != NULL) {
		struct arena_chunk *next = c->next;

		free(c);
		c = next;
	}
}

void
arena_reset(struct arena *a)
{
	struct arena_chunk *c = a->chunks;

	a->used = 0;
	if (c == NULL)
		return;
	chunks_free(c->next);
	c->next = NULL;
	c->used = 0;
	if (c->size > ARENA_CHUNK) {
		free(c);
		a->chunks = NULL;
	}
}

void
arena_fini(struct arena *a)
{
	chunks_free(a->chunks);
	*a = (struct arena){ .cap = a->cap };
}

void *
arena_alloc(struct arena *a, size_t n)
{
	size_t align = alignof(max_align_t);
	struct arena_chunk *c = a->chunks;
	void *p;

	if (n > a->cap - a->used)
		return NULL;
	if (n > SIZE_MAX - align - sizeof(*c))
		return NULL;
	n = (n + align - 1) / align * align;
	if (c == NULL || n > c->size - c->used) {
		size_t size = c == NULL ? ARENA_FIRST : ARENA_CHUNK;

		if (size < n)
			size = n;
		c = malloc(sizeof(*c) + size);
		if (c == NULL) {
			mem_failed(size);
			return NULL;
		}
		*c = (struct arena_chunk){ .next = a->chunks, .size = size };
		a->chunks = c;
	}
	p = c->mem + c->used;
	c->used += n;
	a->used = n > a->cap - a->used ? a->cap : a->used + n;
	memset(p, 0, n);
	return p;
}

struct sv
arena_sv(struct arena *a, struct sv v)
{
	char *p = v.n == SIZE_MAX ? NULL : arena_alloc(a, v.n + 1);

	if (p == NULL)
		return sv_make(NULL, 0);
	if (v.n > 0)
		memcpy(p, v.p, v.n);
	return sv_make(p, v.n);
}
