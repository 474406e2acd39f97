/* SPDX-License-Identifier: ISC */
/*
 * table: rows of text in columns as wide as their widest cell, with a line of
 * dashes below the titles. Cells are escaped: nothing in them reaches the
 * terminal as a control sequence.
 */
#ifndef CTL_TABLE_H
#define CTL_TABLE_H

#include <stdio.h>

#include "common/base/sv.h"

struct str;

#define TABLE_COLUMNS_MAX 24u

struct table;

/* titles: split by '|'; one that starts with '>' stands to the right. */
struct table *table_new(const char *titles);
void table_free(struct table **t);
/* The cells of a row from left to right. */
void table_cell(struct table *t, struct sv text);
void table_cellf(struct table *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Adds text so that a terminal shows it as it is: bytes that are not printable
 * ASCII become \xNN. */
void table_add_safe(struct str *s, struct sv text);
void table_print(const struct table *t, FILE *out);

#endif
