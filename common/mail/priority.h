/* SPDX-License-Identifier: ISC */
/* priority: of a recipient in its queue, of a queue among others: from 0 to
 * 100 as in PowerMTA, a higher one goes first. */
#ifndef COMMON_MAIL_PRIORITY_H
#define COMMON_MAIL_PRIORITY_H

#define PRIORITY_MAX     100u
#define PRIORITY_DEFAULT 50u

#endif
