/* SPDX-License-Identifier: ISC */
/*
 * htab: open-addressing table from a 64-bit hash to a pointer. The table does
 * not own what it points to and does not know the keys: for text keys the
 * caller hashes with siphash24() and gives a match function. Entries are
 * aligned to 8 bytes and at least 8 long. 8 bytes a slot plus the pointer's
 * own; at most 3/4 full; grows in small steps so that no single insert pays for
 * the whole table.
 */
#ifndef COMMON_BASE_HTAB_H
#define COMMON_BASE_HTAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Hash of an entry, asked for when the table grows. */
typedef uint64_t htab_hash_fn(const void *entry);
/* True if entry has this key. */
typedef bool htab_match_fn(const void *entry, const void *key);

struct htab {
	void **slots;
	size_t nslots;      /* a power of two, or 0 */
	size_t used;
	void **old;         /* the table being left, or NULL */
	size_t old_nslots;
	size_t old_at;      /* slots below this were moved */
	size_t old_used;
	htab_hash_fn *hash;
};

void htab_init(struct htab *t, htab_hash_fn *hash);
void htab_fini(struct htab *t);
size_t htab_count(const struct htab *t);
void *htab_find(const struct htab *t, uint64_t hash, htab_match_fn *match,
    const void *key);
/* 0, or -1 without memory. The caller knows that the key is not there. */
int htab_insert(struct htab *t, void *entry)
    __attribute__((warn_unused_result));
/* Room for n entries in all, so that none of them makes the table grow. Only
 * while it is empty. 0, or -1 without memory. */
int htab_reserve(struct htab *t, size_t n) __attribute__((warn_unused_result));
/* Removes this very entry; false if it was not there. */
bool htab_remove(struct htab *t, const void *entry);
/* Walks all entries: start with *at = 0; NULL at the end. No change of the
 * table during the walk. */
void *htab_next(const struct htab *t, size_t *at);

#endif
