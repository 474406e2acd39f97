/* SPDX-License-Identifier: ISC */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/mem.h"

#define BUF_FIRST 1024 /* smallest allocation; one SMTP line fits */

void
buf_init(struct buf *b, size_t cap)
{
	*b = (struct buf){ .cap = cap };
}

void
buf_fini(struct buf *b)
{
	free(b->mem);
	*b = (struct buf){ .cap = b->cap };
}

static int
buf_grow(struct buf *b, size_t need)
{
	size_t size = b->size == 0 ? BUF_FIRST : b->size;
	unsigned char *mem;

	while (size < need)
		size = size > SIZE_MAX / 2 ? need : size * 2;
	mem = realloc(b->mem, size);
	if (mem == NULL) {
		mem_failed(size);
		return -1;
	}
	b->mem = mem;
	b->size = size;
	return 0;
}

unsigned char *
buf_reserve(struct buf *b, size_t n)
{
	size_t len = buf_len(b);

	if (len > b->cap || n > b->cap - len)
		return NULL;
	if (b->mem != NULL && n <= b->size - b->tail)
		return b->mem + b->tail;
	if (b->head > 0) {
		/* With something in front there is memory.
		 * NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker) */
		memmove(b->mem, b->mem + b->head, len);
		b->head = 0;
		b->tail = len;
	}
	if (n > b->size - b->tail && buf_grow(b, len + n) != 0)
		return NULL;
	if (b->mem == NULL && buf_grow(b, BUF_FIRST) != 0)
		return NULL;
	return b->mem + b->tail;
}

void
buf_commit(struct buf *b, size_t n)
{
	assert(n <= b->size - b->tail);
	b->tail += n;
}

int
buf_add(struct buf *b, const void *p, size_t n)
{
	unsigned char *at = buf_reserve(b, n);

	if (at == NULL)
		return -1;
	if (n > 0)
		memcpy(at, p, n);
	b->tail += n;
	return 0;
}

int
buf_add_sv(struct buf *b, struct sv v)
{
	return buf_add(b, v.p, v.n);
}

static int buf_vaddf(struct buf *b, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

static int __attribute__((format(printf, 2, 0)))
buf_vaddf(struct buf *b, const char *fmt, va_list ap)
{
	unsigned char *at;
	va_list again;
	int n;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	at = n < 0 ? NULL : buf_reserve(b, (size_t)n + 1);
	if (at == NULL)
		return -1;
	vsnprintf((char *)at, (size_t)n + 1, fmt, ap);
	b->tail += (size_t)n;
	return 0;
}

int
buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = buf_vaddf(b, fmt, ap);
	va_end(ap);
	return rc;
}

void
buf_sayf(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)buf_vaddf(b, fmt, ap);
	va_end(ap);
}

void
buf_consume(struct buf *b, size_t n)
{
	assert(n <= buf_len(b));
	b->head += n;
	if (b->head == b->tail)
		b->head = b->tail = 0;
}

void
buf_clear(struct buf *b)
{
	b->head = b->tail = 0;
}

void
buf_trim(struct buf *b, size_t keep)
{
	if (buf_len(b) == 0 && b->size > keep)
		buf_fini(b);
}
