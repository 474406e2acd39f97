/* SPDX-License-Identifier: ISC */
/*
 * form: rows of an answer for programs, as XML and as the "dom" lines of
 * PowerMTA:
 *
 *	<rsp><data><queue><name>a.org/v</name>...</data><succ/></rsp>
 *	queue[0].name="a.org/v"
 *
 * Both are ASCII: what is not, or would move a terminal's cursor, is escaped.
 * XML cannot say some characters at all; these become U+FFFD. null and "" look
 * the same; an array is its elements, so that an empty one is nothing.
 */
#ifndef CTL_FORM_H
#define CTL_FORM_H

#include <stdio.h>

#include <jansson.h>

/* What stands below data: the rows, as elements of this name; the one row of
 * "status" under the names of PowerMTA. The caller's. Aborts without memory. */
json_t *form_tree(json_t *rows, const char *name);
/* status: "success", "failed", "misuse"; message may be empty. */
void form_xml(FILE *out, json_t *tree, const char *status,
    const char *message);
void form_dom(FILE *out, json_t *tree, const char *status,
    const char *message);

#endif
