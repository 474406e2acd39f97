/* SPDX-License-Identifier: ISC */
/*
 * status: enhanced status codes (RFC 3463 and its registry): their words, and
 * the bounce category that operators sort by. Pure; nothing is allocated.
 */
#ifndef COMMON_MAIL_STATUS_H
#define COMMON_MAIL_STATUS_H

#include "common/base/sv.h"

/* Is v class.subject.detail with class 2, 4 or 5 and no number over 999? */
bool status_is_valid(struct sv v);
/* "bad destination mailbox address"; for a status that has no words of its
 * own those of its subject, "undefined status" for anything else. */
struct sv status_words(struct sv status);
/*
 * PowerMTA's standard category of a failure: "bad-mailbox", ..., "other". The
 * text decides where it is plain (spam, virus, relaying) or the status says
 * nothing; else the status. Reads at most the first 4 KiB of text.
 */
struct sv status_category(struct sv status, struct sv text);

#endif
