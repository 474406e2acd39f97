/* SPDX-License-Identifier: ISC */
#include <sys/mman.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include <bsd/string.h>

#include "common/spool/poison.h"

#define FILE_BYTES (sizeof(struct poison_item) * (POISON_ITEMS + 1))

static void
kind_set(struct poison_item *i, enum poison_kind kind)
{
	atomic_store_explicit(&i->kind, (uint32_t)kind, memory_order_release);
}

static enum poison_kind
kind_get(const struct poison_item *i)
{
	return (enum poison_kind)atomic_load_explicit(
	    &i->kind, memory_order_relaxed);
}

int
poison_open(struct poison *p, struct sio *s, const char *path)
{
	struct sio_file *f =
	    sio_open(s, path, SIO_READ | SIO_WRITE | SIO_CREATE);
	void *mem = MAP_FAILED;
	int err = 0;

	*p = (struct poison){.n = 0};
	/* with its blocks, or a full disk is a SIGBUS */
	if (f != NULL && sio_allocate(f, FILE_BYTES) == 0 &&
	    sio_ftruncate(f, FILE_BYTES) == 0)
		mem = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
		    sio_fd(f), 0);
	sio_close(&f);
	if (mem == MAP_FAILED) {
		err = errno;
		mem = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	}
	if (mem == MAP_FAILED) /* GCOVR_EXCL_BR_LINE: memory */
		return -1;
	p->mark = mem;
	p->items = p->mark + 1;
	for (uint32_t i = 0; i < POISON_ITEMS; i++) {
		/* who wrote it last was crashing: trust no text */
		p->items[i].why[POISON_TEXT - 1] = '\0';
		if (kind_get(&p->items[i]) != POISON_NONE)
			p->n = i + 1;
	}
	errno = err;
	return err == 0 ? 0 : -1;
}

void
poison_close(struct poison *p)
{
	if (p->mark != NULL)
		munmap(p->mark, FILE_BYTES);
	*p = (struct poison){.n = 0};
}

void
poison_mark(struct poison *p, enum poison_kind kind, uint64_t a, uint64_t b)
{
	struct poison_item *m = p->mark;

	if (m == NULL)
		return;
	kind_set(m, POISON_NONE);
	atomic_signal_fence(memory_order_seq_cst);
	m->a = a;
	m->b = b;
	kind_set(m, kind);
	/* what is done next is not done before the mark stands */
	atomic_signal_fence(memory_order_seq_cst);
}

void
poison_clear(struct poison *p)
{
	atomic_signal_fence(memory_order_seq_cst);
	if (p->mark != NULL)
		kind_set(p->mark, POISON_NONE);
}

static struct poison_item *
item_find(const struct poison *p, enum poison_kind kind, uint64_t a, uint64_t b)
{
	for (uint32_t i = 0; i < p->n; i++) {
		struct poison_item *it = &p->items[i];

		if (kind_get(it) == kind && it->a == a && it->b == b)
			return it;
	}
	return NULL;
}

/* An empty place, or that of the one blamed longest ago. */
static struct poison_item *
item_new(struct poison *p)
{
	struct poison_item *oldest = &p->items[0];

	for (uint32_t i = 0; i < POISON_ITEMS; i++) {
		struct poison_item *it = &p->items[i];

		if (kind_get(it) == POISON_NONE) {
			if (i >= p->n)
				p->n = i + 1;
			return it;
		}
		if (it->turn < oldest->turn)
			oldest = it;
	}
	return oldest;
}

const struct poison_item *
poison_blame(struct poison *p, enum poison_kind kind, uint64_t a, uint64_t b,
    const char *why)
{
	struct poison_item *it;
	uint64_t turn = 0;

	if (p->mark == NULL)
		return NULL;
	for (uint32_t i = 0; i < p->n; i++) {
		if (p->items[i].turn > turn)
			turn = p->items[i].turn;
	}
	it = item_find(p, kind, a, b);
	if (it == NULL) {
		it = item_new(p);
		kind_set(it, POISON_NONE);
		it->a = a;
		it->b = b;
		it->crashes = 0;
	}
	it->crashes++;
	it->turn = turn + 1;
	(void)strlcpy(it->why, why, sizeof(it->why));
	kind_set(it, kind);
	return it;
}

const struct poison_item *
poison_blame_marked(struct poison *p, const char *why)
{
	struct poison_item m;
	enum poison_kind kind;

	if (p->mark == NULL)
		return NULL;
	kind = kind_get(p->mark);
	if (kind == POISON_NONE)
		return NULL;
	m.a = p->mark->a;
	m.b = p->mark->b;
	poison_clear(p);
	return poison_blame(p, kind, m.a, m.b, why);
}

const struct poison_item *
poison_find(
    const struct poison *p, enum poison_kind kind, uint64_t a, uint64_t b)
{
	return item_find(p, kind, a, b);
}

bool
poison_is(const struct poison *p, enum poison_kind kind, uint64_t a, uint64_t b)
{
	const struct poison_item *it = item_find(p, kind, a, b);

	return it != NULL && it->crashes >= POISON_LIMIT;
}

void
poison_forget(struct poison *p, enum poison_kind kind, uint64_t a, uint64_t b)
{
	struct poison_item *it = item_find(p, kind, a, b);

	if (it == NULL)
		return;
	kind_set(it, POISON_NONE);
	while (p->n > 0 && kind_get(&p->items[p->n - 1]) == POISON_NONE)
		p->n--;
}
