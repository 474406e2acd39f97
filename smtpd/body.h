/* SPDX-License-Identifier: ISC */
/*
 * body: a message's decoded bytes in memory, in chunks from a pool of the
 * process. The pool counts what is in use, so that the owner can move bodies
 * to files before memory runs out.
 */
#ifndef SMTPD_BODY_H
#define SMTPD_BODY_H

#include <sys/uio.h>
#include <stdbool.h>
#include <stddef.h>

#define BODY_CHUNK     16384u        /* holds most messages */
#define BODY_POOL_KEEP 256u          /* free chunks kept: 4 MiB */
#define BODY_BUDGET    (64u << 20)   /* bytes in chunks, of one process */

struct body_chunk;

struct body_pool {
	struct body_chunk *free;
	size_t nfree, nused;
};

struct body {
	struct body_chunk *first, *last;
	size_t nchunks;
	size_t bytes;
};

void body_pool_fini(struct body_pool *pool);
bool body_pool_is_over(const struct body_pool *pool);
/* Room for at least min bytes (at most BODY_CHUNK) at the end; NULL without
 * memory. */
unsigned char *body_room(struct body *b, struct body_pool *pool, size_t min,
    size_t *room_r);
void body_commit(struct body *b, size_t n);
/* The first chunk's bytes, *n_r of them; NULL if there is none. */
unsigned char *body_first(struct body *b, size_t *n_r);
/* It has only n bytes now. */
void body_first_cut(struct body *b, size_t n);
/* Gives all chunks back. */
void body_clear(struct body *b, struct body_pool *pool);
/* Fills iov, which has b->nchunks entries. */
void body_iov(const struct body *b, struct iovec *iov);

#endif
