/* SPDX-License-Identifier: ISC */
/* view: fields of rows, for the files that print them. */
#ifndef CTL_VIEW_H
#define CTL_VIEW_H

#include <jansson.h>

#include "common/base/sv.h"

/* "" if it is not there or no text. */
struct sv text_of(const json_t *row, const char *key);
/* A number from the row, or from an object in it: "queue", "rcp". */
long long num_of(const json_t *row, const char *outer, const char *key);
/* "2026-01-31T14:05:09Z" in local time; without the day if it is today; "" if
 * it is no time. */
const char *local_time(struct sv text, bool full, char out[32]);
/* "2d03h", "3h04m", "5m06s", "7s" */
struct str;
void add_age(struct str *out, long long s);
/* Text from outside, escaped; lines stay lines. */
void print_text(struct sv text);
/* What may hold anything, within a line. */
void print_safe(struct sv text);

#endif
